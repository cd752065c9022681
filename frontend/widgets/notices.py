"""Short messages in the lower right corner: they go by themselves, errors stay until dismissed."""

from __future__ import annotations

import tkinter as tk
from typing import Literal

from frontend.theme import Theme
from frontend.widgets.controls import Button, picture_label

Severity = Literal["info", "ok", "warn", "error"]

MOST = 4
SHOWN_MS = {"info": 4_000, "ok": 4_000, "warn": 8_000}
ICONS = {"info": "info", "ok": "check", "warn": "warn", "error": "warn"}
WIDTH = 380


class Notices:
    """The messages of one window, newest at the bottom."""

    def __init__(self, master: tk.Misc, theme: Theme, bottom: float) -> None:
        self._master = master
        self._theme = theme
        self._bottom = bottom
        self._cards: list[tuple[str, tk.Frame]] = []

    @property
    def texts(self) -> list[str]:
        """What is shown now."""
        return [text for text, _ in self._cards]

    def show(self, text: str, severity: Severity = "info") -> None:
        """Say something; the same words again replace the old ones."""
        text = text.strip()[:500]
        for old, card in list(self._cards):
            if old == text:
                self._close(card)
        while len(self._cards) >= MOST:
            self._close(self._cards[0][1])
        t = self._theme
        color = "accent" if severity == "info" else severity
        card = tk.Frame(self._master, highlightthickness=1)
        t.tint(card, background="surface", highlightbackground="line2")
        bar = tk.Frame(card, width=t.px(3))
        t.tint(bar, background=color)
        bar.pack(side="left", fill="y")
        mark = picture_label(card, t, ICONS[severity], 16, color, "surface")
        mark.pack(side="left", anchor="n", padx=(t.px(10), t.px(8)), pady=t.px(11))
        close = Button(
            card,
            t,
            icon="x",
            kind="plain",
            surface="surface",
            height=22,
            label="Dismiss",
            command=lambda: self._close(card),
        )
        close.pack(side="right", anchor="n", padx=t.px(4), pady=t.px(5))
        words = tk.Label(
            card,
            text=text,
            font=t.font("small"),
            justify="left",
            anchor="w",
            wraplength=t.px(WIDTH - 90),
            borderwidth=0,
        )
        t.tint(words, background="surface", foreground="text")
        words.pack(side="left", fill="x", expand=True, pady=t.px(10))
        self._cards.append((text, card))
        self._place()
        if severity in SHOWN_MS:
            card.after(SHOWN_MS[severity], lambda: self._close(card))

    def clear(self) -> None:
        """Take all away."""
        for _, card in list(self._cards):
            self._close(card)

    def _close(self, card: tk.Frame) -> None:
        if any(shown is card for _, shown in self._cards):
            self._cards = [pair for pair in self._cards if pair[1] is not card]
            card.destroy()
            self._place()

    def _place(self) -> None:
        t = self._theme
        y = -t.px(self._bottom + 12)
        for _, card in reversed(self._cards):
            card.place(relx=1.0, rely=1.0, x=-t.px(16), y=y, anchor="se", width=t.px(WIDTH))
            card.lift()
            card.update_idletasks()
            y -= card.winfo_reqheight() + t.px(8)
