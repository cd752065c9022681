"""The finished voice: whose it is, what was agreed, from what it was made, how good it is, and who speaks with it."""

from __future__ import annotations

import tkinter as tk
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

from backend.contracts.training import VoiceCard
from frontend.client import Failure
from frontend.stage import read_models
from frontend.widgets.controls import RING, Button
from frontend.widgets.panel import Panel
from frontend.widgets.training.state import Cockpit

HEAD = 42
LABEL = 96.0


class MadeVoiceCard(Panel):
    """The card.

    Args:
        master: The widget it lies in.
        cockpit: What is known.
        use: Give the voice to the character and talk.
        listen: Hear the voice.
    """

    def __init__(
        self,
        master: tk.Misc,
        cockpit: Cockpit,
        *,
        use: Callable[[], object],
        listen: Callable[[], object],
    ) -> None:
        super().__init__(master, cockpit.app.theme)
        self.cockpit = cockpit
        self.card: VoiceCard | None = None
        self.trouble = ""
        self._asked = ""
        self.giving = Button(
            self, self.theme, "Use", use, icon="heart", kind="soft", height=30, surface="surface"
        )
        self.hearing = Button(
            self, self.theme, "Hear it", listen, icon="play", height=30, surface="surface"
        )
        cockpit.watch(("jobs", "character", "page"), lambda _: self.load())
        self.load()

    def load(self) -> None:
        """Ask for the card of the voice the looked-at training made."""
        name = self.cockpit.voice
        character = self.cockpit.character
        given = self.cockpit.is_given
        who = character.name[:16] if character is not None else "the character"
        self.giving.set(f"Talk with {who}" if given else f"Give to {who} and talk")
        self.giving.enable(bool(name) and character is not None)
        if name != self._asked:
            self._asked, self.card, self.trouble = name, None, ""
            if name:
                path = f"/api/voice/cards/{quote(name, safe='')}"
                self.cockpit.app.backend.get(path, self._took, self._failed)
        self.changed()

    def _took(self, answer: Any) -> None:
        for found in read_models(VoiceCard, [answer]):
            self.card = found
        self.changed()

    def _failed(self, failure: Failure) -> None:
        self.trouble, self._asked = failure.message, ""
        self.changed()

    def rows(self) -> list[tuple[str, str]]:
        """What the card says, line by line."""
        card = self.card
        if card is None:
            return []
        score = card.scores
        scores = [
            "" if score.clear_words is None else f"{score.clear_words * 100:.0f} % clear words",
            "" if score.mcd_db is None else f"MCD {score.mcd_db:.2f} dB",
            "" if score.similarity is None else f"likeness {score.similarity:.2f}",
        ]
        trainer = "full training" if card.trainer == "vits" else "quick clone"
        return [
            ("Speaker", card.speaker),
            ("Consent", card.consent),
            ("Licence", card.licence or "yours to decide"),
            ("Sound", f"{card.rate_hz / 1000:g} kHz, {card.language}"),
            ("Made from", f"{card.minutes:.1f} min in {card.clips:,} clips"),
            ("Trained", f"{trainer}, {card.steps:,} steps, {card.made_at.astimezone():%d %b %Y %H:%M}"),
            ("Scores", "  \u00b7  ".join(word for word in scores if word) or "not measured"),
            ("Data", card.data_sha256[:24] + "..." if card.data_sha256 else ""),
        ]  # fmt: skip

    def paint(self) -> None:
        p, t = self.painter, self.theme
        width, height = p.width, p.height
        p.card(0, 0, width, height)
        name = self.cockpit.voice
        p.text(16, 21, name or "The voice", "bodyb", clip=width - 150)
        if self.cockpit.is_given and self.cockpit.character is not None:
            p.chip(width - 14, 21, f"{self.cockpit.character.name[:18]} speaks with it", "ok", "ok_soft",
                   icon="check", anchor="e")  # fmt: skip
        if not name:
            for widget in (self.giving, self.hearing):
                widget.place_forget()
            middle = height / 2
            p.icon(width / 2, middle - 40, "heart", 24, "text3")
            words = "The finished voice appears here, with what it was made of. Train one first."
            p.text(
                width / 2, middle - 18, words, "small", "text2", "n", width=min(340.0, width - 40)
            )
            return
        y = float(HEAD)
        for label, value in self.rows():
            if y > height - 74 or not value:
                continue
            p.text(16, y + 10, label, "cap", "text3")
            item = p.text(
                16 + LABEL, y + 3, value[:240], "small", "text2", "nw", width=width - LABEL - 32
            )
            box = self.bbox(item)
            y = max(y + 23, (box[3] / t.scale if box else y) + 5)
        if self.card is None:
            words = self.trouble or "Reading its card..."
            p.text(
                16,
                y + 8,
                words,
                "small",
                "warn" if self.trouble else "text3",
                "nw",
                width=width - 32,
            )
        low = height - 40
        p.line(0, low - 8, width, low - 8)
        self.giving.place(x=t.px(16 - RING), y=t.px(low - RING))
        at = 16 + self.giving.winfo_reqwidth() / t.scale - 2 * RING + 8
        self.hearing.place(x=t.px(at - RING), y=t.px(low - RING))
