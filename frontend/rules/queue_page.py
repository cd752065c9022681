"""The queue's rules: who is answered, in which order, and how much may wait."""

from __future__ import annotations

import tkinter as tk
from typing import Any

from pydantic import ValidationError

from backend.contracts.audience import QueueRules
from frontend.client import Failure
from frontend.rules import Owner, troubles_of
from frontend.widgets.controls import Button, Words
from frontend.widgets.form import Ask, Form
from frontend.widgets.scroll_frame import ScrollFrame

PATH = "/api/queue/rules"

WHO = (
    Ask("is_on", "Answer viewers", "switch", "Off: messages are read and shown, no more."),
    Ask(
        "answers", "Which messages", "choice",
        choices=(("all", "all of them"), ("addressed", "only those addressed to her")),
    ),
    Ask("mentions", "Mentions address her", "switch"),
    Ask("replies", "Replies to her do", "switch"),
    Ask("questions", "Questions do", "switch"),
    Ask("cheers", "Cheers do", "switch"),
    Ask("rewards", "Channel points do", "switch"),
    Ask("skip_wordless", "Pass over emotes alone", "switch", "Messages without a word need no answer."),
    Ask("writes_replies", "Write replies into the chat", "switch", "Besides saying them; needs a login."),
    Ask(
        "say_word_for_word", "!say word for word", "switch",
        "For moderators only; off, it is something to answer, as from anybody.",
    ),
)  # fmt: skip
LIMITS = (
    Ask("max_wait_s", "Too old after", "number", "What waits alone may wait three times as long.", "s"),
    Ask("max_wait_paid_answers", "Cheers and rewards wait for", "whole", "Longer than that, if need be.", "answers"),
    Ask("max_held_s", "Held ones after", "number", unit="s"),
    Ask("most_waiting", "Wait at once", "whole", "Then the one with the fewest points goes.", "messages"),
    Ask("most_held", "Held at once", "whole", unit="messages"),
    Ask("most_per_viewer", "Of one viewer at once", "whole", unit="messages"),
    Ask("per_viewer", "Of one viewer", "whole", "More of them are not taken in.", "messages"),
    Ask("per_viewer_s", "in", "number", unit="s"),
    Ask("merges", "Answer the same once", "switch", "Several viewers who write the same get one answer."),
    Ask(
        "merge_likeness", "Same means", "number",
        "Share of the words that two messages have in common, 0.5 to 1.",
    ),
    Ask("retries", "Again after a failure", "whole", unit="times"),
)  # fmt: skip
POINTS = (
    Ask("points.mention", "Mentions her", "number", unit="points"),
    Ask("points.reply", "Replies to her", "number", unit="points"),
    Ask("points.question", "Is a question", "number", unit="points"),
    Ask("points.cheer", "Cheers", "number", unit="points"),
    Ask("points.per_100_bits", "Every 100 bits", "number", unit="points"),
    Ask("points.most_bits", "For bits at most", "number", unit="points"),
    Ask("points.reward", "Channel points", "number", unit="points"),
    Ask("points.broadcaster", "From the broadcaster", "number", unit="points"),
    Ask("points.moderator", "From a moderator", "number", unit="points"),
    Ask("points.vip", "From a VIP", "number", unit="points"),
    Ask("points.subscriber", "From a subscriber", "number", unit="points"),
    Ask("points.first_time", "First message ever", "number", unit="points"),
    Ask("points.asked_again", "Each other who asks it", "number", unit="points"),
    Ask("points.most_asked_again", "For those at most", "number", unit="points"),
    Ask("points.per_second", "Every second it waits", "number", unit="points"),
    Ask(
        "points.just_answered", "Answered lately", "number",
        "Taken off for each recent answer to the same viewer: everybody gets a turn.", "points",
    ),
    Ask("forget_s", "Half forgotten after", "number", unit="s"),
)  # fmt: skip
SECTIONS = (
    ("Who is answered", WHO),
    ("Order: more points go first", POINTS),
    ("Limits", LIMITS),
)


class QueuePage(tk.Frame):
    """The page."""

    def __init__(self, master: tk.Misc, owner: Owner) -> None:
        super().__init__(master, borderwidth=0)
        self.is_changed = False
        self._owner = owner
        theme = self._theme = owner.theme
        px = theme.px
        theme.tint(self, background="bg")
        foot = tk.Frame(self)
        theme.tint(foot, background="bg")
        foot.pack(side="bottom", fill="x", pady=(px(8), 0))
        self.save_button = Button(
            foot, theme, "Save", self.save, icon="check", kind="accent", height=30
        )
        self.save_button.pack(side="left")
        self.undo_button = Button(foot, theme, "Undo", self.undo, icon="refresh", height=30)
        self.undo_button.pack(side="left")
        self.default_button = Button(
            foot, theme, "Defaults", self.defaults, kind="plain", height=30,
            tip="The rules Luma comes with; saved by Save",
        )  # fmt: skip
        self.default_button.pack(side="left")
        self.words = Words(foot, theme, "", "small", "text2")
        self.words.pack(side="left", fill="x", expand=True, padx=px(10))
        self._scroll = ScrollFrame(self, theme)
        self._scroll.pack(fill="both", expand=True)
        self.forms: list[Form] = []
        for title, asks in SECTIONS:
            self.forms.append(self._section(self._scroll.inner, title, asks))
        self._know(False)

    def load(self) -> None:
        """Ask for the rules in force."""
        if not self.is_changed:
            self._owner.backend.get(PATH, self._took, self._failed)

    def show_item(self, item: str) -> None:
        """There is only one set of rules."""

    def undo(self) -> None:
        """Show the rules in force again."""
        self.is_changed = False
        self.load()

    def defaults(self) -> None:
        """Show the rules Luma comes with."""
        self._show(QueueRules())
        self._know(True)

    def save(self) -> None:
        """Let these rules hold."""
        values: dict[str, Any] = {}
        troubles: dict[str, str] = {}
        for form in self.forms:
            some, wrong = form.values()
            points = {**values.get("points", {}), **some.get("points", {})}
            values |= some
            if points:
                values["points"] = points
            troubles |= wrong
        if not troubles:
            try:
                QueueRules.model_validate(values)
            except ValidationError as error:
                troubles = troubles_of(error)
        for form in reversed(self.forms):  # the keyboard ends at the first of them
            form.mark({name: words for name, words in troubles.items() if name in form.rows})
        if troubles:
            known = {name for form in self.forms for name in form.rows}
            rest = [words for name, words in troubles.items() if name not in known]
            count = len(troubles)
            words = "One value cannot be used" if count == 1 else f"{count} values cannot be used"
            self.words.show(rest[0] if rest else f"{words}; the reason stands below it.", "error")
            return
        self.words.show("Saving...", "text2")
        self._owner.backend.put(PATH, values, self._saved, self._failed)

    # --- inside

    def _section(self, body: tk.Misc, title: str, asks: tuple[Ask, ...]) -> Form:
        theme, px = self._theme, self._theme.px
        card = tk.Frame(body, highlightthickness=1)
        theme.tint(card, background="surface", highlightbackground="line", highlightcolor="line")
        card.pack(fill="x", padx=(0, px(8)), pady=(0, px(12)))
        Words(card, theme, title, "bodyb", "text", "surface").pack(
            fill="x", padx=px(16), pady=(px(12), px(8))
        )
        form = Form(card, theme, asks, lambda: self._know(True))
        form.pack(fill="x", padx=px(16), pady=(0, px(8)))
        return form

    def _show(self, rules: QueueRules) -> None:
        values = rules.model_dump(mode="json")
        for form in self.forms:
            form.show(values)

    def _took(self, value: Any) -> None:
        if not self.winfo_exists() or self.is_changed:
            return
        try:
            self._show(QueueRules.model_validate(value))
        except ValidationError:
            self.words.show(
                "The backend has rules that this window does not know. Update it.", "error"
            )
            return
        self._know(False)
        self.words.show("")

    def _saved(self, value: Any) -> None:
        if self.winfo_exists():
            self.is_changed = False
            self._took(value)
            self.words.show("Saved. The rules hold from the next message on.", "ok")

    def _failed(self, failure: Failure) -> None:
        if self.winfo_exists():
            words = (
                "This backend has no queue: update it."
                if failure.status == 404
                else failure.message
            )
            self.words.show(words, "error")

    def _know(self, is_changed: bool) -> None:
        self.is_changed = is_changed
        self.save_button.enable(is_changed)
        self.undo_button.enable(is_changed)
