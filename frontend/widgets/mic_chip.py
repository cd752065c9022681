"""The microphone in the header: how it is as shape, word and colour, how loud it is, and the way to change both."""

from __future__ import annotations

import tkinter as tk
from collections.abc import Callable

from backend.contracts.listening import ListeningMode
from frontend.draw import Painter
from frontend.microphone import MODE_TITLES, MUTE_KEY, Microphone
from frontend.stage import SILENCE_DB
from frontend.theme import Theme
from frontend.widgets.controls import RING
from frontend.widgets.popup import Choice, Picker
from frontend.widgets.split_chip import ARROW, SplitChip

BARS = 8
BAR = 5
MUTE = "\x00mute"
SOUND = "\x00sound"
STEADY_WORDS = ("Mic problem", "Hearing you", "Microphone", "Listening")
"""The chip is as wide as the widest of these, so the header stands still while somebody talks."""


class MicChip(SplitChip):
    """A chip with two parts: the left one mutes, the arrow opens the ways to listen.

    Where there is nothing to mute (off, a problem), both open the list.
    """

    def __init__(
        self,
        master: tk.Misc,
        theme: Theme,
        microphone: Microphone,
        open_sound: Callable[[], object],
    ) -> None:
        self._microphone = microphone
        self._open_sound = open_sound
        self._bars: list[int] = []
        self._lit = 0
        self._has_meter = True
        ends = (
            microphone.listen(("listening",), self._changed),
            microphone.listen(("level",), self._show_level),
        )
        super().__init__(master, theme, 150, label="Microphone", ends=ends)
        self._changed()

    @property
    def words(self) -> str:
        """What the chip says."""
        return self._microphone.look.word

    def show_meter(self, shown: bool) -> None:
        """Leave the level out where there is little room."""
        if shown != self._has_meter:
            self._has_meter = shown
            self._changed()

    def paint(self, p: Painter, w: float, h: float) -> None:
        look = self._microphone.look
        fill = "hover" if self.hovered else "surface"
        edge = "line"
        if look.color in ("warn", "error"):
            fill, edge = f"{look.color}_soft", look.color
        elif look.color == "accent":
            fill, edge = "accent_soft", "accent"
        p.box(RING, RING, w, h, fill, edge, h / 2)
        middle = RING + h / 2
        p.icon(RING + 16, middle, look.icon, 15, look.color)
        room = w - 30 - ARROW - (BARS * BAR + 6 if self._has_meter else 0)
        color = look.color if look.color in ("warn", "error", "accent") else "text2"
        p.text(RING + 28, middle - 0.5, look.word, "small", color, clip=room)
        self.paint_arrow(p, w, h)
        self._bars, self._lit = [], 0
        if self._has_meter:
            left = RING + w - ARROW - BARS * BAR - 2
            self._bars = [
                p.rect(left + number * BAR, middle - 5, BAR - 2, 10, self._color(number, False))
                for number in range(BARS)
            ]
            self._show_level()

    def press(self) -> str:
        """Mute or unmute; where there is nothing to mute, show the ways to listen."""
        microphone = self._microphone
        if microphone.is_known and microphone.now.mode != "off" and not microphone.now.problem:
            microphone.toggle_mute()
            return "break"
        return self.open()

    def open(self) -> str:
        """Show the ways to listen."""
        microphone = self._microphone
        self.tooltip.hide()
        if not microphone.is_known:
            return "break"
        now = microphone.now
        choices = []
        if now.problem:
            choices.append(Choice(SOUND, "What is wrong, and how to mend it", icon="warn"))
        choices += [
            Choice("off", MODE_TITLES["off"], "The microphone is closed.", "voice"),
            Choice(
                "push_to_talk",
                MODE_TITLES["push_to_talk"],
                f"Heard while you hold {microphone.key} or the microphone below.",
                "mic_on",
            ),
            Choice("open", MODE_TITLES["open"], "Heard whenever you speak.", "mic_live"),
        ]
        if now.mode != "off" or now.muted:
            words = "Unmute" if now.muted else "Mute"
            choices.append(Choice(MUTE, words, icon="mic_muted", hint=MUTE_KEY))
        choices.append(Choice(SOUND, "Microphone and sound...", icon="gear"))
        Picker(self, self.theme, choices, self._chosen, value=now.mode, width=410)
        return "break"

    def _chosen(self, value: str) -> None:
        modes: dict[str, ListeningMode] = {mode: mode for mode in MODE_TITLES}
        if value in modes:
            self._microphone.choose_mode(modes[value])
        elif value == MUTE:
            self._microphone.set_muted(not self._microphone.now.muted)
        else:
            self._open_sound()

    def _changed(self) -> None:
        t = self.theme
        words = (*STEADY_WORDS, f"Hold {self._microphone.key}")
        widest = max(t.measure(word, "small") for word in words) / t.scale
        self.resize(36 + widest + ARROW + (BARS * BAR + 6 if self._has_meter else 0))
        look = self._microphone.look
        self.label = f"Microphone: {look.word}"
        now = self._microphone.now
        can_mute = now.mode != "off" and not now.problem and not now.muted
        key = f"   {MUTE_KEY} mutes" if can_mute and self._microphone.is_known else ""
        self.tooltip.text = f"{look.sentence}{key}"
        self.redraw_soon()

    def _show_level(self) -> None:
        """Touch only the bars that change: twenty times a second this is all the header does."""
        share = 1 - self._microphone.level_db / SILENCE_DB
        lit = round(BARS * max(0.0, min(1.0, share)))
        if lit == self._lit or not self._bars:
            return
        for number in range(min(lit, self._lit), max(lit, self._lit)):
            self.itemconfigure(self._bars[number], fill=self._color(number, number < lit))
        self._lit = lit

    def _color(self, number: int, lit: bool) -> str:
        color = "error" if number >= BARS - 1 else "warn" if number >= BARS - 2 else "ok"
        if self._microphone.now.muted:
            color = "text3"
        return self.theme.color(color) if lit else self.theme.mix(color, "surface", 0.8)
