"""The line at the top of every tab: who is on, who answers, the microphone, how loud it is, and Stop."""

from __future__ import annotations

import tkinter as tk
from collections.abc import Callable

from frontend.draw import Painter
from frontend.microphone import Microphone
from frontend.pictures import Avatars
from frontend.stage import PROVIDER_TITLES, SILENCE_DB, Stage
from frontend.theme import Theme
from frontend.widgets.controls import RING, Button, Control, Meter, Slider, Words
from frontend.widgets.mic_chip import MicChip
from frontend.widgets.popup import Choice, Picker

HEIGHT = 52
EDIT = "\x00edit"
SETTINGS = "\x00settings"


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


class ProviderChip(Control):
    """Who answers, with a dot for how it is; opens the list of providers."""

    def __init__(
        self,
        master: tk.Misc,
        theme: Theme,
        stage: Stage,
        open_settings: Callable[[str], object],
    ) -> None:
        self._stage = stage
        self._open_settings = open_settings
        super().__init__(master, theme, 120, 28, label="Provider", tip="Who writes the replies")
        self.configure(cursor="hand2")
        self.bind("<ButtonPress-1>", lambda _: self.open())
        for sequence in ("<space>", "<Return>", "<KP_Enter>", "<Down>"):
            self.bind(sequence, lambda _: self.open())
        end = stage.listen(("provider",), self._changed)
        self.bind("<Destroy>", lambda _: end(), add="+")
        self._changed()

    def ring_radius(self) -> float:
        return 14 + RING

    def paint(self, p: Painter, w: float, h: float) -> None:
        p.box(RING, RING, w, h, "hover" if self.hovered else "surface", "line", h / 2)
        p.dot(RING + 14, RING + h / 2, 3.5, self._state())
        p.text(RING + 25, RING + h / 2 - 0.5, self._words(), "small", "text2", clip=w - 36)

    def open(self) -> str:
        """Show the providers."""
        setting = self._stage.settings.get("LLM_PROVIDER")
        if setting is None:
            return "break"
        choices = [
            Choice(name, PROVIDER_TITLES.get(name, name), icon="chat") for name in setting.choices
        ]
        choices.append(Choice(SETTINGS, "Keys and models...", icon="gear"))
        self.tooltip.hide()
        Picker(self, self.theme, choices, self._chosen, value=str(setting.value), width=240)
        return "break"

    def _chosen(self, value: str) -> None:
        if value == SETTINGS:
            self._open_settings("LLM_PROVIDER")
        else:
            self._stage.choose_provider(value)

    def _words(self) -> str:
        return self._stage.provider or "Starting"

    def _state(self) -> str:
        if self._stage.is_lost:
            return "text3"
        services = self._stage.services
        service = services.get("llm") or services.get("chat")
        if service is None or not self._stage.provider:
            return "text3" if not self._stage.provider else "ok"
        return {"ready": "ok", "degraded": "warn", "failed": "error"}.get(service.state, "text3")

    def _changed(self) -> None:
        self.redraw_soon()
        service = self._stage.services.get("llm")
        trouble = service.error or service.detail if service else ""
        self.tooltip.text = trouble or "Who writes the replies"
        width = min(220.0, 38 + self.theme.measure(self._words(), "small") / self.theme.scale)
        self.resize(width)


class Header(tk.Frame):
    """The whole line."""

    def __init__(
        self,
        master: tk.Misc,
        theme: Theme,
        stage: Stage,
        microphone: Microphone,
        avatars: Avatars,
        *,
        open_settings: Callable[[str], object],
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
        self.stop_button = Button(
            self, theme, "Stop", stop, icon="stop", key="Esc", height=30, tip="Stop speaking"
        )
        self.stop_button.pack(side="right", padx=(px(6), px(13)))
        self.stop_button.enable(False)
        self.provider = ProviderChip(self, theme, stage, open_settings)
        self.provider.pack(side="left", padx=(0, px(6)))
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
        self.bind(
            "<Destroy>",
            lambda _: (end_sound(), end_level(), end_answering(), end_ducked()),
            add="+",
        )
        self.bind("<Configure>", lambda event: self._arrange(event.width))
        self._show_sound()

    def _arrange(self, width: int) -> None:
        """What fits: first the level of the output goes, then the volume, then the level of the microphone."""
        px = self._theme.px
        room = sum(width >= px(least) for least in (720, 860, 1000))
        if room == self._room:
            return
        self._room = room
        self.microphone.show_meter(room >= 1)
        self.character.resize(204 if room >= 1 else 140)
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

    def _show_stop(self) -> None:
        self.stop_button.enable(bool(self._stage.answering))
