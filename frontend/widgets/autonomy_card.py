"""What she may do unasked: switch, mood, the next triggers as draining bars, and what she would do now, with the reason."""

from __future__ import annotations

import tkinter as tk
from collections.abc import Callable
from typing import Protocol

from backend.contracts.autonomy import DryRun, TriggerState
from frontend.audience import Audience, clock_words, plain
from frontend.client import Failure
from frontend.theme import Theme
from frontend.widgets.panel import Panel

ROW = 30
MOST_ROWS = 5
NARROW = 340
READINESS = {
    "ready": ("now", "ok"),
    "due": ("waits", "warn"),
    "armed": ("armed", "text3"),
    "resting": ("rests", "text3"),
    "quiet": ("quiet", "text3"),
    "off": ("off", "text3"),
}


class Owner(Protocol):
    """What the card needs of the window."""

    @property
    def audience(self) -> Audience:
        """How autonomy is."""

    @property
    def theme(self) -> Theme:
        """Colours, fonts, sizes."""


class AutonomyCard(Panel):
    """The card.

    Args:
        master: Where it lives.
        owner: The window.
        switch: Switches autonomy on or off.
        edit: Opens the triggers, at one where it is named.
    """

    def __init__(
        self,
        master: tk.Misc,
        owner: Owner,
        switch: Callable[[bool], object],
        edit: Callable[[str], object],
    ) -> None:
        super().__init__(master, owner.theme)
        self.label = "Autonomy"
        self.answer: DryRun | None = None
        self.trouble = ""
        self.is_asking = False
        self.most = MOST_ROWS
        """Triggers shown, the next first."""
        self._audience = owner.audience
        self._switch = switch
        self._edit = edit
        self._end = owner.audience.listen(("autonomy",), self.changed)
        self.bind("<Destroy>", lambda _: self._end(), add="+")

    @property
    def needed(self) -> float:
        """Height that shows all of it."""
        return self.height_with(self.most)

    def height_with(self, most: int) -> float:
        """Its height with so many triggers at most."""
        state = self._audience.autonomy
        if state is None:
            return 120.0
        rows = min(most, len(state.triggers))
        return 40 + 50 + 10 + max(1, rows) * ROW + 20 + 92

    @property
    def is_moving(self) -> bool:
        """Whether a bar drains now."""
        state = self._audience.autonomy
        return bool(state and state.is_on and any(one.in_s for one in state.triggers[: self.most]))

    def dry_run(self) -> None:
        """Ask what she would do now."""
        if not self.is_asking:
            self.is_asking, self.trouble = True, ""
            self.changed()
            self._audience.dry_run(self._took, self._not_taken)

    def paint(self) -> None:
        p, state = self.painter, self._audience.autonomy
        p.card(0, 0, p.width, p.height, "Autonomy")
        if state is None:
            words = self._audience.missing.get("autonomy") or "Asking how she is..."
            p.text(16, 50, words, "small", "text2", "nw", width=p.width - 32)
            return
        is_narrow = p.width < NARROW
        sub = "acts when nobody speaks" if state.is_on else "off: she waits to be spoken to"
        if is_narrow:
            sub = "when quiet" if state.is_on else "switched off"
        x = 26 + p.text_width("Autonomy", "bodyb")
        p.text(x, 20.5, sub, "small", "text3", clip=p.width - x - 110)
        self.switch(
            "switch", p.width - 56, 20, state.is_on, lambda: self._switch(not state.is_on),
            tip="Whether she does anything unasked",
        )  # fmt: skip
        self.button(
            "edit", p.width - 64, 7, "", lambda: self._edit(""), icon="edit", kind="plain",
            width=28, height=26, anchor="e", tip="Triggers: when she acts unasked, and what she does",
        )  # fmt: skip
        mood = state.mood
        settles = (
            f"calms in about {max(1, round(mood.settles_s / 60))} min"
            if mood.settles_s
            else "at rest"
        )
        for number, (title, share, color, words) in enumerate(
            (
                ("Mood", mood.pleasure, "ok" if mood.valence >= 0 else "warn", mood.words),
                ("Energy", mood.energy, "accent", settles),
            )
        ):
            y = 52 + number * 23
            p.text(16, y, title, "small", "text2")
            bar = 56.0 if is_narrow else min(104.0, p.width * 0.26)
            self.progress(76, y - 2, bar, share, color)
            left = 76 + bar + 14
            if not is_narrow:
                p.text(left + 32, y, f"{share:.0%}".replace("%", " %"), "small", "text2", "e")
                left += 46
            p.text(
                left, y, words, "small", "text" if number == 0 else "text3",
                clip=max(20.0, p.width - left - 14),
            )  # fmt: skip
        top = 100.0
        if not state.triggers:
            p.text(16, top + 14, "No triggers: she never acts unasked.", "small", "text3")
            self.link("add", p.width - 16, top + 14, "Add one", lambda: self._edit(""), "e")
            top += ROW
        for one in state.triggers[: self.most]:
            self._paint_trigger(one, top, state.is_on)
            top += ROW
        self._paint_dry_run(max(top + 12, p.height - 92))

    def _paint_trigger(self, one: TriggerState, y: float, is_on: bool) -> None:
        p = self.painter
        why = "; ".join(one.reasons) or one.last or "nothing is against it"
        self.add_row(
            f"trigger:{one.id}", 6, y, p.width - 12, ROW, lambda: self._edit(one.id),
            tip=f"{one.title}: {why}. Enter edits it.", radius=4,
        )  # fmt: skip
        since = self._audience.clock() - self._audience.autonomy_s
        left = max(0.0, one.in_s - since) if one.in_s is not None else None
        word, color = READINESS.get(one.readiness, (one.readiness, "text3"))
        if not is_on:
            word, color = "\u2013", "text3"
        elif left is not None and one.readiness in ("coming", "resting"):
            word, color = clock_words(left), "accent" if one.readiness == "coming" else "text3"
        middle = y + 12
        p.text(p.width - 16, middle, word, "mono", color, "e")
        when = p.text_width(one.when, "small")
        room = p.width * 0.38
        p.text(p.width - 72, middle, one.when, "small", "text3", "e", clip=min(when + 2, room))
        p.text(
            16, middle, plain(one.title, 80), "small", "text" if is_on else "text3",
            clip=max(30.0, p.width - 88 - min(when, room) - 10),
        )  # fmt: skip
        if left is not None and one.of_s and is_on and one.readiness == "coming":
            wide = p.width - 32
            p.rect(16, y + 24, wide, 2, "line")
            p.rect(16, y + 24, max(2.0, wide * min(1.0, left / one.of_s)), 2, "accent")

    def _paint_dry_run(self, y: float) -> None:
        p = self.painter
        p.line(1, y, p.width - 1, y)
        p.text(16, y + 20, "If it acted now", "smallb")
        self.button(
            "dry-run", p.width - 14, y + 7, "Asking..." if self.is_asking else "Dry run",
            None if self.is_asking else self.dry_run, icon="play", height=26, anchor="e",
            tip="What she would do at this moment, and why; nothing happens",
        )  # fmt: skip
        room = p.width - 32
        answer = self.answer
        if self.trouble:
            p.text(16, y + 36, self.trouble, "small", "error", "nw", width=room)
        elif answer is not None:
            would = plain(answer.would or "She would do nothing")
            p.text(16, y + 47, would[:1].upper() + would[1:], "small", "text", clip=room)
            p.text(
                16,
                y + 67,
                f"because {plain(answer.why)}" if answer.why else "",
                "cap",
                "text3",
                clip=room,
            )
            whole = "\n".join(
                part for part in (would, answer.text, answer.why, answer.feels) if part
            )
            self.zone("answer", 16, y + 38, room, 40, None, tip=plain(whole, 500), is_stop=False)
        else:
            acted = self._audience.acted
            words = (
                f"Last: {plain(acted)}" if acted else "Press Dry run: she says what she would do."
            )
            p.text(16, y + 47, words, "small", "text3", clip=room)

    def _took(self, answer: DryRun | None) -> None:
        self.is_asking, self.answer = False, answer
        if self.winfo_exists():
            self.changed()

    def _not_taken(self, failure: Failure) -> None:
        self.is_asking, self.trouble = False, failure.message
        if self.winfo_exists():
            self.changed()
