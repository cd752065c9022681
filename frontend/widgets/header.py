"""The line at the top of every tab: who is on, who answers, the microphone, how loud it is, Stop, and Panic."""

from __future__ import annotations

import tkinter as tk
from collections.abc import Callable

from frontend.draw import Painter
from frontend.microphone import Microphone
from frontend.modes import Modes
from frontend.pictures import Avatars
from frontend.stage import SILENCE_DB, Stage
from frontend.theme import Theme
from frontend.widgets.controls import RING, Button, Control, Meter, Slider, Words
from frontend.widgets.mic_chip import MicChip
from frontend.widgets.mode_chip import ModeChip
from frontend.widgets.popup import Choice, Picker

HEIGHT = 52
EDIT = "\x00edit"
PANIC_KEY = "F12"
STEPS = (860, 940, 1190)
"""Widths from which the levels and the long words are shown: microphone; volume; output and who answers in full."""


class CharacterButton(Control):
    """Avatar, name and mood of the character on stage; opens the list of characters."""

    def __init__(
        self,
        master: tk.Misc,
        theme: Theme,
        stage: Stage,
        avatars: Avatars,
        edit: Callable[[], object],
    ) -> None:
        self._stage = stage
        self._avatars = avatars
        self._edit = edit
        super().__init__(
            master, theme, 204, 38, label="Character", tip="Change the character   Ctrl+Shift+C"
        )
        self.configure(cursor="hand2")
        self.bind("<ButtonPress-1>", lambda _: self.open())
        for sequence in ("<space>", "<Return>", "<KP_Enter>", "<Down>"):
            self.bind(sequence, lambda _: self.open())
        end = stage.listen(("characters", "character", "expression"), self.redraw_soon)
        self.bind("<Destroy>", lambda _: end(), add="+")

    def ring_radius(self) -> float:
        return 8 + RING

    def paint(self, p: Painter, w: float, h: float) -> None:
        stage = self._stage
        p.box(RING, RING, w, h, "hover" if self.hovered else "surface", "line", 8)
        character = stage.character
        middle = RING + h / 2
        picture = self._avatars.picture(stage.character_id, stage.expression, 28)
        p.image(RING + 6, middle, picture, "w")
        name = character.name if character else "No character yet"
        mood = character.personality.mood.capitalize() if character else "Waiting for the backend"
        if character and stage.expression not in ("neutral", ""):
            mood = stage.expression.capitalize()
        elif character:
            mood += f"  \u00b7  energy {character.personality.energy:.0%}".replace("%", " %")
        room = w - 66
        p.text(RING + 42, middle - 8, name, "smallb", clip=room)
        p.text(RING + 42, middle + 8.5, mood, "cap", "text3", clip=room)
        p.icon(RING + w - 14, middle, "down", 14, "text3")

    def open(self) -> str:
        """Show all characters."""
        choices = [
            Choice(
                character.id,
                character.name,
                " ".join((character.profile or character.creator_notes).split())[:120],
                picture=self._avatars.picture(character.id, "neutral", 30),
            )
            for character in self._stage.characters
        ]
        if choices:
            self.tooltip.hide()
            choices.append(Choice(EDIT, "Make, edit and import characters...", icon="edit"))
            chosen = self._stage.character_id
            Picker(self, self.theme, choices, self._chosen, value=chosen, width=360)
        return "break"

    def _chosen(self, value: str) -> None:
        if value == EDIT:
            self._edit()
        else:
            self._stage.switch_character(value)


class Header(tk.Frame):
    """The whole line."""

    def __init__(
        self,
        master: tk.Misc,
        theme: Theme,
        stage: Stage,
        microphone: Microphone,
        avatars: Avatars,
        modes: Modes,
        *,
        open_settings: Callable[[str], object],
        open_modes: Callable[[], object],
        open_sound: Callable[[], object],
        edit_characters: Callable[[], object],
        stop: Callable[[], object],
    ) -> None:
        super().__init__(master, height=theme.px(HEIGHT))
        self.pack_propagate(False)
        self._theme = theme
        self._stage = stage
        self._microphone = microphone
        theme.tint(self, background="bg")
        line = tk.Frame(self, height=1)
        theme.tint(line, background="line")
        line.pack(side="bottom", fill="x")
        px = theme.px
        self.character = CharacterButton(self, theme, stage, avatars, edit_characters)
        self.character.pack(side="left", padx=(px(13), px(6)))
        self._places = tk.Frame(self)
        theme.tint(self._places, background="bg")
        self._places.pack(side="right", padx=(0, px(13)))
        self.panic = Button(
            self._places,
            theme,
            "Panic",
            stage.stop_everything,
            icon="hand",
            kind="danger",
            key=PANIC_KEY,
            height=30,
            tip="Stop every reply, her voice and the microphone at once   F12",
        )
        self.resume = Button(
            self._places,
            theme,
            "Resume",
            stage.go_on,
            icon="play",
            kind="accent",
            height=30,
            tip="Go on: voice, microphone and replies are as they were   Shift+F12",
        )
        # One place for both: neither moves anything else, and no click meant for one meets the other by surprise.
        widest = max(self.panic.winfo_reqwidth(), self.resume.winfo_reqwidth())
        for button in (self.panic, self.resume):
            button.configure(width=widest)
            button.grid(row=0, column=0, sticky="nsew")
        self.resume.grid_remove()
        self.stop_button = Button(
            self, theme, "Stop", stop, icon="stop", key="Esc", height=30, tip="Stop speaking   Esc"
        )
        self.stop_button.pack(side="right", padx=(px(6), px(2)))
        self.stop_button.enable(False)
        self.mode = ModeChip(
            self, theme, stage, modes, open_settings=open_settings, open_modes=open_modes
        )
        self.mode.pack(side="left", padx=(0, px(6)))
        self.microphone = MicChip(self, theme, microphone, open_sound)
        self.microphone.pack(side="left", padx=(0, px(6)))
        self.mute = Button(
            self,
            theme,
            icon="volume",
            kind="plain",
            height=28,
            icon_size=16,
            label="Mute",
            tip="Mute   Ctrl+M",
            command=lambda: stage.set_muted(not stage.muted),
        )
        self.mute.pack(side="left")
        self.volume = Slider(self, theme, stage.set_volume, width=84, label="Volume", tip="Volume")
        self.volume.pack(side="left")
        self.meter = Meter(self, theme, width=110)
        self.figure = Words(self, theme, "", "cap", "text3")
        self._room = -1
        end_ducked = microphone.listen(("ducked",), self._show_level)
        end_sound = stage.listen(("sound",), self._show_sound)
        end_level = stage.listen(("level",), self._show_level)
        end_answering = stage.listen(("answering",), self._show_stop)
        end_panic = stage.listen(("panic",), self._show_panic)
        self.bind(
            "<Destroy>",
            lambda _: (end_sound(), end_level(), end_answering(), end_ducked(), end_panic()),
            add="+",
        )
        self.bind("<Configure>", lambda event: self._arrange(event.width))
        self._show_sound()
        self._show_panic()

    def _arrange(self, width: int) -> None:
        """What fits: first the level of the output goes, then the volume, then the level of the microphone."""
        px = self._theme.px
        room = sum(width >= px(least) for least in STEPS)
        if room == self._room:
            return
        self._room = room
        self.microphone.show_meter(room >= 1)
        self.character.resize(204 if room >= 1 else 140)
        self.mode.shorten(room < 3)
        self.stop_button.set(text="Stop" if room >= 1 else "")
        for widget in (self.volume, self.meter, self.figure):
            widget.pack_forget()
        if room >= 2:
            self.volume.pack(side="left", after=self.mute)
        if room == 3:
            self.meter.pack(side="left", padx=(px(12), px(8)))
            self.figure.pack(side="left", fill="x", expand=True)

    def _show_sound(self) -> None:
        stage = self._stage
        self.mute.set(icon="muted" if stage.muted else "volume")
        self.mute.label = "Unmute" if stage.muted else "Mute"
        self.mute.tooltip.text = f"{self.mute.label}   Ctrl+M"
        self.volume.set(0.0 if stage.muted else stage.volume)
        self._show_level()

    def _show_level(self) -> None:
        level = self._stage.level_db
        self.meter.show(level)
        if self._stage.muted:
            self.figure.show("muted", "text3")
        elif self._microphone.is_ducked:
            self.figure.show("quieter: you speak", "accent")
        else:
            self.figure.show(f"\u2212{abs(level):.0f} dB" if level > SILENCE_DB else "", "text3")

    def _show_panic(self) -> None:
        """Resume stands in Panic's place while everything is stopped."""
        is_on = self._stage.panic.is_on
        shown, hidden = (self.resume, self.panic) if is_on else (self.panic, self.resume)
        had_focus = hidden.focused
        hidden.grid_remove()
        shown.grid()
        if had_focus:
            shown.focus_set()

    def _show_stop(self) -> None:
        self.stop_button.enable(bool(self._stage.answering))
