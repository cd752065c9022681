"""Who she speaks to now and what she says, with the way to skip it."""

from __future__ import annotations

import tkinter as tk
from typing import Protocol

from frontend.audience import Audience, plain
from frontend.pictures import Avatars
from frontend.stage import Stage
from frontend.theme import Theme
from frontend.widgets.panel import Panel

FACE = 52
HEIGHT = 132.0


class Owner(Protocol):
    """What the card needs of the window."""

    @property
    def stage(self) -> Stage:
        """Who is on, and whether she speaks."""

    @property
    def avatars(self) -> Avatars:
        """Her picture."""

    @property
    def audience(self) -> Audience:
        """Whom she answers."""

    @property
    def theme(self) -> Theme:
        """Colours, fonts, sizes."""


class SpeakingCard(Panel):
    """The card."""

    def __init__(self, master: tk.Misc, owner: Owner) -> None:
        super().__init__(master, owner.theme)
        self.label = "Now speaking"
        self._owner = owner
        self._ends = [
            owner.stage.listen(
                ("character", "answering", "expression", "sound", "panic"), self.changed
            ),
            owner.audience.listen(("queue",), self.changed),
        ]
        self.bind("<Destroy>", lambda _: self._release(), add="+")

    @property
    def needed(self) -> float:
        """Its height."""
        return HEIGHT

    def title(self) -> str:
        """Who speaks to whom."""
        stage, audience = self._owner.stage, self._owner.audience
        name = stage.character.name if stage.character else "She"
        line = audience.line(audience.answering) if audience.answering else None
        if stage.panic.is_on:
            return "Everything is stopped"
        if line is not None:
            return f"{name} answers {plain(line.message.viewer.name, 40)}"
        if stage.answering:
            return f"{name} speaks"
        return f"{name} is silent"

    def paint(self) -> None:
        p, stage, audience = self.painter, self._owner.stage, self._owner.audience
        p.card(0, 0, p.width, p.height)
        picture = self._owner.avatars.picture(stage.character_id, stage.expression, FACE)
        p.image(16, 14, picture)
        left = 16 + FACE + 14
        room = p.width - left - 14
        p.text(left, 24, self.title(), "bodyb", clip=room)
        is_busy = bool(stage.answering or audience.answering)
        line = audience.line(audience.answering) if audience.answering else None
        said = audience.said[1] if is_busy else ""
        if stage.panic.is_on:
            words, color = "Resume, at the top right, lets her go on.", "text2"
        elif said:
            words, color = said, "text"
        elif line is not None:
            words, color = f"\u201c{plain(line.message.text, 200)}\u201d", "text2"
        elif is_busy:
            words, color = "She thinks of what to say...", "text3"
        elif not audience.rules.is_on:
            words, color = (
                "Viewers are not answered: the queue's rules have it switched off.",
                "warn",
            )
        else:
            words, color = "The next message that is worth an answer goes to her.", "text3"
        self._two_lines(words, left, 44, room, color)
        third = (p.width - 32 - 10) / 2
        self.button(
            "skip", 16, p.height - 40, "Skip", self._skip if is_busy else None, icon="skip",
            width=third, hint="Esc", tip="Stop this answer and go on with the next",
        )  # fmt: skip
        self.button(
            "mute", 26 + third, p.height - 40, "Unmute" if stage.muted else "Mute",
            lambda: stage.set_muted(not stage.muted), icon="muted" if stage.muted else "volume",
            width=third, on=stage.muted, tip="Silence her voice; she goes on writing   Ctrl+M",
        )  # fmt: skip

    def _two_lines(self, words: str, x: float, y: float, room: float, color: str) -> None:
        """The newest two lines of what she says."""
        p = self.painter
        lines: list[str] = []
        for word in words.split():
            if lines and p.text_width(f"{lines[-1]} {word}", "small") <= room:
                lines[-1] += f" {word}"
            else:
                lines.append(word)
        for number, line in enumerate(lines[-2:]):
            p.text(x, y + 3 + number * 18, line, "small", color, clip=room)

    def _skip(self) -> None:
        audience = self._owner.audience
        if audience.answering:
            audience.skip(audience.answering)
        self._owner.stage.interrupt()

    def _release(self) -> None:
        for end in self._ends:
            end()
