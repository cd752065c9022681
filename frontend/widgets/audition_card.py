"""Hear a voice say a text of one's own, at another speed, and give it to the character."""

from __future__ import annotations

import tkinter as tk
from collections.abc import Callable

from backend.contracts.entities import Character, VoiceChoice, VoiceInfo
from frontend.theme import Theme
from frontend.widgets.controls import RING, Button, Dropdown, Slider
from frontend.widgets.focus import focused
from frontend.widgets.panel import Panel
from frontend.widgets.popup import Choice
from frontend.widgets.voice_list import ENGINES, key_of, speaks_with

SAMPLE = "Good evening! The kettle is still angry at you about Tuesday. Shall we begin?"
LONGEST = 2_000
HEIGHT = 216
SLOWEST, FASTEST = 0.5, 2.0


class AuditionCard(Panel):
    """The card.

    Args:
        master: The widget it lies in.
        theme: Colours, fonts and sizes.
        play: Hear the current voice.
        stop: Stop what is heard.
        give: Give the current voice to the active character.
        text: What it says at first.
    """

    def __init__(
        self,
        master: tk.Misc,
        theme: Theme,
        *,
        play: Callable[[], None],
        stop: Callable[[], None],
        give: Callable[[], None],
        text: str = "",
    ) -> None:
        super().__init__(master, theme)
        self.voice: VoiceInfo | None = None
        self.character: Character | None = None
        self.is_playing = False
        self.said = ""
        self.trouble = ""
        self.rate = 1.0
        self.speaker: int | None = None
        self.text = tk.Text(
            self,
            height=3,
            wrap="word",
            font=theme.font("body"),
            borderwidth=0,
            highlightthickness=0,
            padx=theme.px(8),
            pady=theme.px(6),
            undo=True,
        )
        theme.tint(
            self.text,
            background="raised",
            foreground="text",
            insertbackground="accent",
            selectbackground="accent",
            selectforeground="on_accent",
        )
        self.text.insert("1.0", text[:LONGEST] or SAMPLE)
        self.text.bind("<Control-Return>", lambda event: self._started(play))
        for sequence in ("<FocusIn>", "<FocusOut>"):
            self.text.bind(sequence, lambda event: self.changed(), add="+")
        self.text.bind("<Tab>", lambda event: self._leave(1))
        self.text.bind("<Shift-Tab>", lambda event: self._leave(-1))
        self.playing = Button(
            self, theme, "Play", lambda: self._play_or_stop(play, stop), icon="play", kind="accent",
            height=30, width=96, surface="surface", tip="Hear it   Ctrl+Enter",
        )  # fmt: skip
        self.giving = Button(self, theme, "Use", give, icon="person", height=30, surface="surface")
        self.speed = Slider(
            self, theme, self._speed_changed, value=_place_of(1.0), width=110, surface="surface",
            label="Speed", tip="Speed",
        )  # fmt: skip
        self.speakers = Dropdown(
            self,
            theme,
            [],
            self._speaker_chosen,
            width=116,
            height=28,
            surface="surface",
            label="Speaker",
        )

    def show(self, voice: VoiceInfo | None) -> None:
        """Another voice is the current one."""
        if (voice and key_of(voice)) != (self.voice and key_of(self.voice)):
            self.said = self.trouble = ""
            self.speaker = None
            count = voice.speakers if voice else 1
            self.speakers.set_choices(
                [Choice(str(n), f"Speaker {n}") for n in range(min(count, 1_000))], "0"
            )
            self.voice = voice
            self.follow_character()
        self.voice = voice
        self.update_controls()

    def follow_character(self) -> None:
        """Her own voice is heard as she speaks: at her speed, with her speaker."""
        character, voice = self.character, self.voice
        if voice is not None and character is not None and speaks_with(character, voice):
            self.rate = character.voice.rate
            self.speaker = character.voice.speaker
            self.speed.set(_place_of(min(FASTEST, max(SLOWEST, self.rate))))
            self.speakers.set(str(self.speaker or 0))

    def update_controls(self) -> None:
        """Character, playing or voice has changed."""
        voice, character = self.voice, self.character
        usable = voice is not None and not voice.problem
        self.playing.set(
            "Stop" if self.is_playing else "Play", "stop" if self.is_playing else "play"
        )
        self.playing.enable(usable)
        name = character.name if character else "the character"
        is_own = voice is not None and speaks_with(character, voice)
        self.giving.set(f"Use for {name[:18]}")
        if is_own and character is not None:
            is_same = abs(character.voice.rate - self.rate) < 0.01
            is_same = is_same and (character.voice.speaker or 0) == (self.speaker or 0)
            self.giving.set(f"{name[:18]}'s voice" if is_same else f"Keep for {name[:18]}")
            self.giving.enable(not is_same)
        else:
            self.giving.enable(usable and character is not None)
        self.changed()

    def words(self) -> str:
        """What is to be said."""
        return self.text.get("1.0", "end").strip()[:LONGEST]

    def choice(self, voice: VoiceInfo) -> VoiceChoice:
        """The voice with the speed and speaker set here."""
        return VoiceChoice(
            engine=voice.engine, name=voice.name, rate=round(self.rate, 2), speaker=self.speaker
        )

    def paint(self) -> None:
        p, t = self.painter, self.theme
        width, height = p.width, p.height
        voice = self.voice
        p.card(0, 0, width, height)
        title = voice.title if voice else "Audition"
        p.text(16, 21, title, "bodyb", clip=width * 0.6)
        start = 26 + min(p.text_width(title, "bodyb"), width * 0.6)
        if voice is not None:
            parts = [ENGINES.get(voice.engine, voice.engine), voice.language]
            sub = "  \u00b7  ".join(part for part in parts if part)
            p.text(start, 21.5, sub, "small", "text3", clip=max(10.0, width - 16 - start))
        low = height - 78
        has_focus = focused(self) is self.text
        edge, line = ("accent", max(1, t.px(2))) if has_focus else ("line2", 1)
        p.box(16, 42, width - 32, low - 42, "raised", edge, 6, line)
        self.text.place(
            x=t.px(20), y=t.px(45), width=t.px(width - 40), height=max(1, t.px(low - 48))
        )
        # speed and speaker in one line, what was said in the next, buttons at the left
        y = low + 10
        self.playing.place(x=t.px(16 - RING), y=t.px(y + 28 - RING))
        at = 16 + self.playing.winfo_reqwidth() / t.scale - 2 * RING + 8
        self.giving.place(x=t.px(at - RING), y=t.px(y + 28 - RING))
        at += self.giving.winfo_reqwidth() / t.scale - 2 * RING + 14
        p.text(16, y + 10, "Speed", "small", "text2")
        self.speed.place(x=t.px(66 - RING), y=t.px(y + 1 - RING))
        p.text(184, y + 10, f"{self.rate:.2f} \u00d7".replace(".00", ".0"), "monos", "text2")
        if voice is not None and voice.speakers > 1:
            self.speakers.place(x=t.px(244 - RING), y=t.px(y - 4 - RING))
        else:
            self.speakers.place_forget()
        words, color = self.said, "text3"
        if self.trouble:
            words, color = self.trouble, "error"
        elif voice is not None and voice.problem:
            words, color = voice.problem, "warn"
        if words:
            room = width - 16 - at
            if room >= 120:
                p.text(at, y + 43, words, "cap", color, clip=room)
            else:
                at = 380 if voice is not None and voice.speakers > 1 else 244
                p.text(at, y + 10, words, "cap", color, clip=max(20.0, width - 16 - at))

    def _play_or_stop(self, play: Callable[[], None], stop: Callable[[], None]) -> None:
        if self.is_playing:
            stop()
        else:
            play()

    def _started(self, play: Callable[[], None]) -> str:
        play()
        return "break"

    def _leave(self, way: int) -> str:
        target = self.text.tk_focusNext() if way > 0 else self.text.tk_focusPrev()
        if target is not None:
            target.focus_set()
        return "break"

    def _speed_changed(self, place: float) -> None:
        self.rate = _rate_at(place)
        self.update_controls()

    def _speaker_chosen(self, value: str) -> None:
        self.speaker = int(value)
        self.update_controls()


def _rate_at(place: float) -> float:
    """Speed at a place of the slider; the middle is normal, the ends half and double."""
    rate = SLOWEST * (FASTEST / SLOWEST) ** place
    return 1.0 if abs(rate - 1) < 0.03 else round(rate, 2)


def _place_of(rate: float) -> float:
    from math import log

    return log(rate / SLOWEST) / log(FASTEST / SLOWEST)
