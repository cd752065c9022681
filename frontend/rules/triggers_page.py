"""The triggers of autonomy: when she does something unasked, what she does then, and a dry run of each."""

from __future__ import annotations

import re
from typing import Any, get_args

from pydantic import ValidationError

from backend.contracts.audience import ViewerEventKind
from backend.contracts.autonomy import (
    DAYS,
    AtTime,
    AutonomyState,
    ByViewer,
    ChatMood,
    Countable,
    DryRun,
    Every,
    Feeling,
    Keyword,
    Milestone,
    Rate,
    Silence,
    Style,
    Topic,
    Trigger,
    TriggerRules,
)
from frontend.rules import Owner, troubles_of
from frontend.rules.list_page import Item, ListPage
from frontend.stage import read_model
from frontend.widgets.controls import Button
from frontend.widgets.form import Ask

PATH = "/api/triggers"
NEW = "+"
ALL = "*"
"""What holds for all triggers is a row of its own; neither can be the id of a trigger."""

_QUIET = re.compile(r"^\s*(\d{1,2}:\d\d)\s*(?:-|\u2013|to)\s*(\d{1,2}:\d\d)\s*(.*)$")
KINDS = (
    ("every", "again and again"),
    ("at", "at times of day"),
    ("silence", "after silence"),
    ("viewer", "a viewer does something"),
    ("milestone", "a number is reached"),
    ("keyword", "somebody writes a word"),
    ("topic", "chat is about something"),
    ("rate", "chat gets faster or slower"),
    ("mood", "chat feels some way"),
)
DID = {
    "follow": "follows",
    "subscribe": "subscribes",
    "gift": "gives subscriptions",
    "raid": "raids",
    "cheer": "cheers",
    "redeem": "redeems channel points",
}
WHEN: dict[str, tuple[Ask, ...]] = {
    "every": (
        Ask("when.minutes", "Every", "number", unit="min"),
        Ask("when.jitter", "Earlier or later by", "number", "Share of that time, 0 to 0.9."),
    ),
    "at": (
        Ask("when.times", "At", "lines", "One per line, as 20:15.", placeholder="20:15"),
        Ask("when.days", "On", "flags", "None = every day.", choices=tuple((d, d) for d in DAYS)),
    ),
    "silence": (Ask("when.seconds", "Nobody speaks for", "number", unit="s"),),
    "viewer": (
        Ask("when.does", "A viewer", "choice", choices=tuple((k, DID[k]) for k in get_args(ViewerEventKind))),
        Ask("when.at_least", "At least", "whole", "Bits, months, viewers of a raid, gifts; 0 = any."),
        Ask("when.reward", "Reward", "text", "Only this one of the channel points; empty = every one."),
    ),
    "milestone": (
        Ask("when.of", "Number of", "choice", choices=tuple((k, k) for k in get_args(Countable))),
        Ask("when.at", "At", "lines", "One per line.", placeholder="100"),
        Ask("when.every", "And every", "whole", "0 = only those."),
    ),
    "keyword": (Ask("when.words", "Words", "lines", "One per line; whole words, in any case."),),
    "topic": (
        Ask("when.words", "Words", "lines", "One per line."),
        Ask("when.mentions", "So many messages", "whole"),
        Ask("when.within_s", "within", "number", unit="s"),
    ),
    "rate": (
        Ask("when.crossing", "Chat gets", "choice", choices=(("above", "faster than"), ("below", "slower than"))),
        Ask("when.per_minute", "Messages a minute", "number"),
    ),
    "mood": (Ask("when.mood", "Chat is", "choice", choices=tuple((k, k) for k in get_args(ChatMood))),),
}  # fmt: skip
FRESH: dict[str, dict[str, Any]] = {
    "every": Every(minutes=10).model_dump(mode="json"),
    "at": AtTime(times=("20:00",)).model_dump(mode="json"),
    "silence": Silence(seconds=90).model_dump(mode="json"),
    "viewer": ByViewer(does="follow").model_dump(mode="json"),
    "milestone": Milestone(of="followers", every=100).model_dump(mode="json"),
    "keyword": Keyword(words=("hello",)).model_dump(mode="json"),
    "topic": Topic(words=("music",)).model_dump(mode="json"),
    "rate": Rate(per_minute=60).model_dump(mode="json"),
    "mood": Feeling(mood="excited").model_dump(mode="json"),
}
"""What a kind begins with when it is chosen."""
NAME = (
    Ask("title", "Name", "text", placeholder="Raid welcome"),
    Ask("is_on", "On", "switch"),
)
KIND = (Ask("when.kind", "Occasion", "choice", choices=KINDS),)
WHAT = (
    Ask(
        "do.texts", "She says", "lines",
        "One per line, one of them is chosen; {viewer}, {amount} and the like are filled in.",
    ),
    Ask("do.prompt", "Or writes about", "long", "A language model writes it; the lines above stand in where it cannot."),
    Ask(
        "do.style", "Style", "choice",
        choices=(("", "as she feels"), *((style, style) for style in get_args(Style))),
    ),
    Ask("do.max_chars", "At most", "whole", unit="letters"),
    Ask("do.looks_at_chat", "May read the chat", "switch", "The newest lines go with what she writes about."),
    Ask("do.expression", "Face", "text", placeholder="joy"),
    Ask("do.motion", "Motion", "text", placeholder="wave"),
    Ask("do.scene", "Scene", "text", "For programs outside."),
)  # fmt: skip
OFTEN = (
    Ask("cooldown_s", "Rests for", "number", "Not again before that.", "s"),
    Ask("probability", "Happens", "number", "How often something comes of it, 0 to 1."),
    Ask("priority", "Priority", "whole", "0 to 100; higher goes first."),
    Ask("stale_s", "Forgotten after", "number", "What viewers did is old news then.", "s"),
    Ask("quiet", "Not between", "lines", "One per line: 23:00-08:00, with days where only those count: 23:00-08:00 sat sun."),
)  # fmt: skip
ALL_QUIET = (Ask("quiet", "Not between", "lines", OFTEN[-1].about, placeholder="23:00-08:00"),)


class TriggersPage(ListPage):
    """The page."""

    LABEL = "Triggers"
    EMPTY = "No triggers: she never acts unasked."

    def __init__(self, master: Any, owner: Owner) -> None:
        super().__init__(master, owner)
        self.rules: TriggerRules | None = None
        self._wanted = ""
        self._kind = ""
        Button(
            self.bar, self.theme, "Add a trigger", self.add, icon="plus", kind="plain",
            surface="surface", height=28,
        ).pack(fill="x")  # fmt: skip
        self.try_button = Button(
            self.foot, self.theme, "Dry run", self.dry_run, icon="play", height=30,
            tip="What would come of it now, and why; nothing happens",
        )  # fmt: skip

    def load(self) -> None:
        if not self.is_changed:
            self.owner.backend.get(PATH, self._took, self.failed)

    def show_item(self, item: str) -> None:
        if self.rules is None:
            self._wanted = item
        else:
            super().show_item(item)

    def add(self) -> None:
        """Begin a new trigger."""
        if self.rules is not None and self.pick(NEW):
            self.list.show(self._items(), "")
            self.forms[0].rows["title"].focus_in()

    def build(self, item: str) -> None:
        self.remove_button.pack_forget()
        self.try_button.pack_forget()
        if item == ALL:
            form = self.section(
                "Quiet hours", ALL_QUIET, "She does nothing unasked in these hours."
            )
            form.show({"quiet": quiet_lines(self._of_all())})
            return
        trigger = self._trigger(item)
        values = trigger.model_dump(mode="json") if trigger else self._fresh("every")
        self._build_form(values)
        if trigger is not None:
            self.remove_button.pack(side="left", after=self.undo_button)
            self.try_button.pack(side="left", after=self.remove_button)

    def save(self) -> None:
        if self.rules is None:
            return
        values, troubles = self.entered()
        try:
            values["quiet"] = quiet_of(values.get("quiet", []))
        except ValueError as error:
            troubles["quiet"] = str(error)
        triggers = [one.model_dump(mode="json") for one in self.rules.triggers]
        given = {
            "triggers": triggers,
            "quiet": [q.model_dump(mode="json") for q in self.rules.quiet],
        }
        if self.current == ALL:
            given["quiet"] = values.get("quiet", [])
        else:
            old = self._trigger(self.current)
            values["id"] = old.id if old else self._free_id(str(values.get("title", "")))
            self._tidy(values)
            if not troubles:
                try:
                    Trigger.model_validate(values)
                except ValidationError as error:
                    troubles = _without_kind(troubles_of(error))
            if not values.get("title"):
                troubles["title"] = "Give it a name."
            ids = [one["id"] for one in triggers]
            if old is not None:
                triggers[ids.index(old.id)] = values
            else:
                triggers.append(values)
            self._wanted = values["id"]
        if not troubles:
            try:
                TriggerRules.model_validate(given)
            except ValidationError as error:
                troubles = troubles_of(error)
        if troubles:
            self.mark(troubles)
            return
        self.words.show("Saving...", "text2")
        self.owner.backend.put(PATH, given, self._saved, self.failed)

    def undo(self) -> None:
        self.know(False)
        item, self.current = self.current, ""
        self.pick(item if item == ALL or self._trigger(item) else ALL)
        self.list.show(self._items(), self.current)

    def remove(self) -> None:
        if self.rules is None or self._trigger(self.current) is None:
            return
        rest = [one for one in self.rules.triggers if one.id != self.current]
        given = self.rules.model_copy(update={"triggers": tuple(rest)}).model_dump(mode="json")
        self.know(False)
        self._wanted = ALL
        self.owner.backend.put(PATH, given, self._saved, self.failed)

    def dry_run(self) -> None:
        """What this trigger would do now."""
        if self.is_changed:
            self.words.show("Save it first: the dry run goes by what is saved.", "warn")
            return
        self.words.show("Asking...", "text2")
        self.owner.backend.post(
            "/api/autonomy/dry-run", {"trigger": self.current}, self._would, self.failed
        )

    def know(self, is_changed: bool) -> None:
        super().know(is_changed)
        # Another kind of occasion asks for other things.
        forms = self.forms
        if is_changed and len(forms) > 1 and "when.kind" in forms[1].rows:
            kind = forms[1].rows["when.kind"].value()[0]
            if kind != self._kind:
                values, _ = self.entered()
                values["when"] = dict(FRESH[kind])
                values["quiet"] = values.get("quiet", [])
                self.clear()
                self._build_form(values)

    # --- inside

    def _build_form(self, values: dict[str, Any]) -> None:
        self._kind = values["when"]["kind"]
        for title, asks in (
            ("Trigger", NAME),
            ("When", (*KIND, *WHEN[self._kind])),
            ("What she does", WHAT),
            ("How often", OFTEN),
        ):
            self.section(title, asks)
        shown = dict(values)
        if shown.get("quiet") and not isinstance(shown["quiet"][0], str):
            shown["quiet"] = quiet_lines(shown["quiet"])
        for form in self.forms:
            form.show(shown)

    @staticmethod
    def _fresh(kind: str) -> dict[str, Any]:
        made = Trigger.model_validate(
            {"id": "new", "when": FRESH[kind], "do": {"texts": ["Hello, everybody!"]}}
        )
        return made.model_dump(mode="json")

    @staticmethod
    def _tidy(values: dict[str, Any]) -> None:
        """What the form says otherwise than the contract."""
        do, when = values.get("do", {}), values.get("when", {})
        do["style"] = do.get("style") or None
        if when.get("kind") == "milestone":
            when["at"] = [int(n) if n.isdigit() else n for n in when.get("at", [])]

    def _trigger(self, item: str) -> Trigger | None:
        found = self.rules.triggers if self.rules is not None else ()
        return next((one for one in found if one.id == item), None)

    def _of_all(self) -> list[dict[str, Any]]:
        found = self.rules.quiet if self.rules is not None else ()
        return [one.model_dump(mode="json") for one in found]

    def _free_id(self, title: str) -> str:
        base = re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-")[:40].strip("-") or "trigger"
        known = {one.id for one in self.rules.triggers} if self.rules is not None else set()
        number, made = 2, base
        while made in known:
            made, number = f"{base}-{number}", number + 1
        return made

    def _items(self) -> list[Item]:
        state: AutonomyState | None = self.owner.audience.autonomy
        when = {one.id: one.when for one in state.triggers} if state is not None else {}
        kinds = dict(KINDS)
        found = self.rules.triggers if self.rules is not None else ()
        quiet = ", ".join(quiet_lines(self._of_all())) or "none"
        return [
            Item(ALL, "Quiet hours", quiet),
            *(
                Item(
                    one.id,
                    one.name,
                    when.get(one.id) or kinds.get(one.when.kind, one.when.kind),
                    "" if one.is_on else "off",
                    one.is_on,
                )
                for one in found
            ),
        ]

    def _took(self, value: Any) -> None:
        if not self.winfo_exists() or self.is_changed:
            return
        rules = read_model(TriggerRules, value)
        if rules is None:
            self.words.show(
                "The backend has triggers that this window does not know. Update it.", "error"
            )
            return
        self.rules = rules
        wanted = self._wanted or self.current
        self._wanted, self.current = "", ""
        if wanted != ALL and self._trigger(wanted) is None:
            wanted = rules.triggers[0].id if rules.triggers else ALL
        self.pick(wanted)
        self.list.show(self._items(), wanted)

    def _saved(self, value: Any) -> None:
        if self.winfo_exists():
            self.know(False)
            self._took(value)
            self.owner.audience.load_autonomy()
            self.words.show("Saved.", "ok")

    def _would(self, value: Any) -> None:
        answer = read_model(DryRun, value)
        if self.winfo_exists() and answer is not None:
            why = f", because {answer.why}" if answer.why else ""
            would = answer.would or "nothing"
            feels = f". Told to who writes: {answer.feels}" if answer.feels else ""
            self.words.show(f"Now: {would}{why}{feels}", "text")


def _without_kind(troubles: dict[str, str]) -> dict[str, str]:
    """Names as the form has them: the contract names the kind of an occasion as well ("when.every.minutes")."""
    found: dict[str, str] = {}
    for name, words in troubles.items():
        parts = name.split(".")
        if parts[0] == "when" and len(parts) > 1:
            parts = ["when", parts[-1] if len(parts) > 2 else "kind"]
        if parts == ["do"]:
            parts = ["do", "texts"]
        found[".".join(parts)] = words
    return found


def quiet_lines(hours: list[dict[str, Any]]) -> list[str]:
    """Quiet hours as lines of text."""
    return [" ".join([f"{one['start']}-{one['until']}", *one.get("days", ())]) for one in hours]


def quiet_of(lines: list[Any]) -> list[dict[str, Any]]:
    """Quiet hours out of lines of text.

    Raises:
        ValueError: A line cannot be read, with the line.
    """
    found: list[dict[str, Any]] = []
    for line in lines:
        if isinstance(line, dict):
            found.append(line)
            continue
        match = _QUIET.match(line)
        days = re.split(r"[\s,]+", match[3].strip().lower()) if match and match[3].strip() else []
        if match is None or any(day not in DAYS for day in days):
            raise ValueError(
                f"\u201c{line[:40]}\u201d: write it as 23:00-08:00, or 23:00-08:00 sat sun."
            )
        start, until = (part.zfill(5) for part in (match[1], match[2]))
        if (
            any(int(part[:2]) > 23 or int(part[3:]) > 59 for part in (start, until))
            or start == until
        ):
            raise ValueError(
                f"\u201c{line[:40]}\u201d: give two different times between 00:00 and 23:59."
            )
        found.append({"start": start, "until": until, "days": days})
    return found
