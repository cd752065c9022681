"""Moderation: the profile in force, the family switch, its rules with what follows from each, and a field to try a text."""

from __future__ import annotations

import re
import tkinter as tk
from functools import partial
from typing import Any
from urllib.parse import quote

from backend.contracts.audience import ROLES
from frontend.audience import reason_of
from frontend.client import Failure
from frontend.rules import Owner
from frontend.rules.commands_page import ROLE_WORDS
from frontend.rules.list_page import Item, ListPage
from frontend.widgets.controls import Button, Chip, Dropdown, Switch, Words
from frontend.widgets.field import Field
from frontend.widgets.form import Ask
from frontend.widgets.popup import Choice

PATH = "/api/moderation"
LIST_BUTTON = 214
ALL = "*"
NEW = "+"
"""What holds for the whole profile is a row of its own; neither can be the name of a rule."""

ACTIONS = (
    ("allow", "let it through"),
    ("mask", "cover the words"),
    ("replace", "say a safe line instead"),
    ("hold", "hold it for approval"),
    ("ignore", "stop it"),
)
INCOMING = tuple(pair for pair in ACTIONS if pair[0] != "replace")
OUTGOING = tuple(pair for pair in ACTIONS if pair[0] != "hold")
KINDS = {
    "words": "words and phrases, in every disguise",
    "links": "addresses of pages",
    "private": "personal data",
    "repetition": "the same again and again",
    "emotes": "too many emotes",
    "caps": "shouting",
    "length": "too long",
    "zalgo": "towers of accents",
    "language": "other languages",
    "pattern": "search expressions",
}
LISTS = ("slurs", "sexual", "profanity", "harassment")
PRIVATE = ("email", "phone", "iban", "card", "ip", "address")
ONE_WORD = "One per line. \u201cword\u201d stands alone, \u201cword*\u201d begins, \u201c*word*\u201d is anywhere."
FIELDS: dict[str, tuple[Ask, ...]] = {
    "words": (
        Ask("lists", "Lists of Luma", "flags", choices=tuple((name, name) for name in LISTS)),
        Ask("words", "Your words", "lines", ONE_WORD),
        Ask("exceptions", "But not", "lines", "Harmless words that one of these is part of."),
        Ask("digits_end", "Also with digits", "switch", "\u201cword123\u201d is the word."),
    ),
    "links": (Ask("allow", "May stay", "lines", "One per line; what lies under them may stay too."),),
    "private": (Ask("what", "Which", "flags", choices=tuple((name, name) for name in PRIVATE)),),
    "repetition": (
        Ask("most", "So often", "whole", "The same from one viewer."),
        Ask("seconds", "within", "number", unit="s"),
        Ask("copies", "Or viewers", "whole", "So many with one long text."),
        Ask("copy_chars", "Long is", "whole", unit="letters"),
    ),
    "emotes": (Ask("most", "At most", "whole", unit="emotes"),),
    "caps": (
        Ask("share", "More than", "number", "Share of the letters, 0 to 1."),
        Ask("least", "From", "whole", unit="letters"),
    ),
    "length": (Ask("most", "At most", "whole", unit="letters"),),
    "zalgo": (Ask("most", "At most", "whole", "Marks on one letter."),),
    "language": (
        Ask("languages", "Languages", "lines", "One per line, as en, de, ja."),
        Ask("share", "Others up to", "number", "Share of the letters, 0 to 1."),
        Ask("least", "From", "whole", unit="letters"),
    ),
    "pattern": (Ask("patterns", "Expressions", "lines", "One per line, in small letters."),),
}  # fmt: skip
FRESH: dict[str, dict[str, Any]] = {
    "words": {"lists": [], "words": [], "exceptions": [], "digits_end": True},
    "links": {"allow": []},
    "private": {"what": list(PRIVATE)},
    "repetition": {"most": 3, "seconds": 60.0, "copies": 4, "copy_chars": 60},
    "emotes": {"most": 15},
    "caps": {"share": 0.8, "least": 15},
    "length": {"most": 500},
    "zalgo": {"most": 3},
    "language": {"languages": ["en"], "share": 0.3, "least": 3},
    "pattern": {"patterns": []},
}
FOLLOWS = (
    Ask("on", "On", "switch"),
    Ask("incoming", "From a viewer", "choice", choices=INCOMING),
    Ask("outgoing", "From her", "choice", choices=OUTGOING),
    Ask("family", "Family only", "switch", "Looks only while the family-friendly switch is on."),
)
GENERAL = (
    Ask("title", "Name", "text"),
    Ask("description", "About", "long"),
    Ask(
        "exempt", "Not looked at", "flags", "No rule looks at messages of these.",
        choices=tuple((role, ROLE_WORDS[role]) for role in ROLES),
    ),
    Ask("safe_lines", "Safe lines", "lines", "One per line: what she says instead, one after the other."),
)  # fmt: skip
_PLACE = re.compile(
    r"^(?:profile\.)?rules\.(\d+)(?:\.[a-z]+)?\.([a-z_]+)(?:\.\d+)?[ :]+(.*)$", re.S
)
_GENERAL = re.compile(r"^profile\.([a-z_]+)(?:\.\d+)?[ :]+(.*)$", re.S)
VERDICTS = {
    "allow": ("goes through", "ok"),
    "mask": ("is covered", "warn"),
    "replace": ("is replaced by a safe line", "warn"),
    "hold": ("waits for your word", "warn"),
    "ignore": ("is stopped", "error"),
}


class ModerationPage(ListPage):
    """The page."""

    LABEL = "Rules of moderation"
    EMPTY = "No rules: everything goes through."

    def __init__(self, master: Any, owner: Owner) -> None:
        super().__init__(master, owner)
        self.state: dict[str, Any] = {}
        self.profile: dict[str, Any] = {}
        self._wanted = ""
        self._kind = "words"
        self._direction = "in"
        theme, px = self.theme, self.theme.px
        self._build_top()
        self.kinds = Dropdown(
            self.bar, theme, [Choice(kind, words) for kind, words in KINDS.items()], self._add,
            width=LIST_BUTTON, height=28, surface="surface", label="Add a rule", empty="Add a rule...",
        )  # fmt: skip
        self.kinds.pack(fill="x", padx=px(2))

    def _build_top(self) -> None:
        theme, px = self.theme, self.theme.px
        line = self._line()
        Words(line, theme, "Profile", "small", "text2").pack(side="left", padx=(0, px(6)))
        self.profiles = Dropdown(
            line, theme, (), self._choose, width=190, height=28, label="Profile",
            tip="Which rules are in force",
        )  # fmt: skip
        self.profiles.pack(side="left")
        self.family = Switch(
            line, theme, "Family-friendly", self._switch_family, surface="bg",
            tip="Rules marked for it look too: what is fit for adults only is covered or stopped",
        )  # fmt: skip
        self.family.pack(side="left", padx=px(10))
        self.shipped_button = Button(
            line, theme, "As it came", self._as_shipped, icon="refresh", kind="plain", height=28,
            tip="Forget your changes of this profile",
        )  # fmt: skip
        line = self._line()
        Words(line, theme, "Try", "small", "text2").pack(side="left", padx=(0, px(6)))
        self.ways: dict[str, Chip] = {}
        for way, words in (("in", "as a viewer"), ("out", "as her words")):
            chip = Chip(line, theme, words, partial(self._turn, way), on=way == "in")
            chip.pack(side="left")
            self.ways[way] = chip
        self.try_button = Button(line, theme, "Try", self.try_out, icon="play", height=28)
        self.try_button.pack(side="right")
        self.text = Field(
            line, theme, placeholder="a text to try the saved rules on", height=30,
            on_enter=lambda _: self.try_out(), label="Text to try",
        )  # fmt: skip
        self.text.pack(side="left", fill="x", expand=True, padx=px(6))
        self.verdict = Words(self.top, theme, "", "small", "text3")
        self.verdict.pack(fill="x", pady=(0, px(8)))

    def _line(self) -> tk.Frame:
        line = tk.Frame(self.top)
        self.theme.tint(line, background="bg")
        line.pack(fill="x", pady=(0, self.theme.px(4)))
        return line

    # --- what the window calls

    def load(self) -> None:
        if not self.is_changed:
            self.owner.backend.get(PATH, self._took, self.failed)

    def build(self, item: str) -> None:
        self.remove_button.pack_forget()
        if item == ALL:
            name = self.profile.get("name", "")
            self.section("Profile", GENERAL, f"File: {name}.yaml").show(self.profile)
            return
        rule = self._rule(item)
        kind = rule["kind"] if rule else self._kind
        about = KINDS.get(kind, kind)
        name = (Ask("name", "Name", "text", "Small letters, digits, spaces."),)
        asks = (*(() if rule else name), *FOLLOWS)
        first = self.section(
            f"Rule: {item if rule else 'new'}", asks, about[:1].upper() + about[1:]
        )
        values = rule or {
            "name": "", "on": True, "incoming": "ignore", "outgoing": "mask", "family": False,
            **FRESH[kind],
        }  # fmt: skip
        if FIELDS.get(kind):
            self.section("What it looks for", FIELDS[kind])
        for form in self.forms:
            form.show(values)
        if rule is not None:
            self.remove_button.pack(side="left", after=self.undo_button)
        else:
            first.rows["name"].focus_in()

    def save(self) -> None:
        values, troubles = self.entered()
        rules = [dict(rule) for rule in self.profile.get("rules", [])]
        given = {**self.profile, "rules": rules}
        if self.current == ALL:
            given |= values
            if not values.get("safe_lines"):
                troubles["safe_lines"] = "Give one line at least."
        elif self.current == NEW:
            name = str(values.get("name", "")).strip().lower()
            if not re.fullmatch(r"[a-z0-9][a-z0-9 _-]{0,39}", name):
                troubles["name"] = "Use small letters, digits, spaces, - and _, at most 40."
            elif self._rule(name) is not None:
                troubles["name"] = f"There is a rule {name} already."
            rules.append({"kind": self._kind, **values, "name": name})
            self._wanted = name
        else:
            place = next((n for n, one in enumerate(rules) if one["name"] == self.current), None)
            if place is not None:
                rules[place] |= values
            self._wanted = self.current
        if troubles:
            self.mark(troubles)
            return
        self._put(given)

    def undo(self) -> None:
        self.know(False)
        item, self.current = self.current, ""
        self.pick(item if item == ALL or self._rule(item) else ALL)
        self.list.show(self._items(), self.current)

    def remove(self) -> None:
        rules = [one for one in self.profile.get("rules", []) if one["name"] != self.current]
        self.know(False)
        self._wanted = ALL
        self._put({**self.profile, "rules": rules})

    def try_out(self) -> None:
        """Ask what would become of the text."""
        if not self.text.text:
            self.verdict.show("Write a text to try the rules on.", "text3")
            return
        body = {"text": self.text.text[:8000], "direction": self._direction}
        self.owner.backend.post(f"{PATH}/try", body, self._tried, self._not_tried)

    # --- inside

    def _add(self, kind: str) -> None:
        self.kinds.set("")
        if self.is_changed:
            self.words.show("Save what you entered, or undo it, before going on.", "warn")
            return
        self._kind = kind
        self.current = ""
        self.pick(NEW)
        self.list.show(self._items(), "")
        self.know(True)

    def _rule(self, name: str) -> dict[str, Any] | None:
        found = self.profile.get("rules", [])
        return next((one for one in found if one.get("name") == name), None)

    def _items(self) -> list[Item]:
        words = dict(ACTIONS)
        title = self.profile.get("title") or self.profile.get("name", "")
        lines = len(self.profile.get("safe_lines", []))
        return [
            Item(ALL, str(title), f"exempt roles, {lines} safe lines"),
            *(
                Item(
                    one["name"],
                    one["name"],
                    f"in: {words.get(one.get('incoming'), '')}; out: {words.get(one.get('outgoing'), '')}",
                    "off" if not one.get("on", True) else "family" if one.get("family") else "",
                    bool(one.get("on", True)),
                )
                for one in self.profile.get("rules", [])
            ),
        ]

    def _took(self, value: Any) -> None:
        if not self.winfo_exists() or self.is_changed or not isinstance(value, dict):
            return
        profile = value.get("profile")
        if not isinstance(profile, dict):
            return
        self.state, self.profile = value, profile
        choices = [
            Choice(
                one["name"],
                one.get("title") or one["name"],
                hint="" if not one.get("problem") else "broken",
            )
            for one in value.get("profiles", [])
        ]
        self.profiles.set_choices(choices, profile.get("name", ""))
        self.family.set(bool(value.get("family")))
        mine: dict[str, Any] = next(
            (o for o in value.get("profiles", []) if o["name"] == profile.get("name")), {}
        )
        if mine.get("shipped", True):
            self.shipped_button.pack_forget()
        else:
            self.shipped_button.pack(side="right")
        wanted = self._wanted or self.current
        self._wanted, self.current = "", ""
        if wanted != ALL and self._rule(wanted) is None:
            wanted = profile["rules"][0]["name"] if profile.get("rules") else ALL
        self.pick(wanted)
        self.list.show(self._items(), wanted)
        if value.get("problem"):
            self.words.show(str(value["problem"]), "warn")

    def _put(self, profile: dict[str, Any]) -> None:
        self.words.show("Saving...", "text2")
        self.owner.backend.put(
            PATH, {"profile": profile}, self._saved, partial(self._not_saved, profile)
        )

    def _saved(self, value: Any) -> None:
        if self.winfo_exists():
            self.know(False)
            self._took(value)
            self.words.show("Saved, and in force.", "ok")
            if self.text.text:
                self.try_out()

    def _not_saved(self, profile: dict[str, Any], failure: Failure) -> None:
        """Say what is wrong at its place: the backend names it as "profile.rules.3.words.most"."""
        if not self.winfo_exists():
            return
        troubles: dict[str, str] = {}
        for part in failure.message.split("; "):
            match = _PLACE.match(part)
            general = _GENERAL.match(part)
            if match is not None and int(match[1]) < len(profile.get("rules", [])):
                troubles[match[2]] = match[3][:1].upper() + match[3][1:]
            elif general is not None:
                troubles[general[1]] = general[2][:1].upper() + general[2][1:]
        self.know(True)
        self.mark(troubles or {"": failure.message})

    def _choose(self, name: str) -> None:
        if self.is_changed:
            self.profiles.set(self.profile.get("name", ""))
            self.words.show("Save what you entered, or undo it, before going on.", "warn")
            return
        self.owner.backend.put(PATH, {"name": name}, self._saved, self._not_chosen)

    def _not_chosen(self, failure: Failure) -> None:
        if self.winfo_exists():
            self.profiles.set(self.profile.get("name", ""))
            self.family.set(bool(self.state.get("family")))
            self.words.show(failure.message, "error")

    def _switch_family(self, is_on: bool) -> None:
        if self.is_changed:
            self.family.set(not is_on)
            self.words.show("Save what you entered, or undo it, before going on.", "warn")
            return
        self.owner.backend.put(PATH, {"family": is_on}, self._saved, self._not_chosen)

    def _as_shipped(self) -> None:
        name = quote(str(self.profile.get("name", "")), safe="")
        self.know(False)
        self.owner.backend.delete(f"{PATH}/{name}", None, lambda _: self.load(), self.failed)

    def _turn(self, way: str, _on: bool) -> None:
        self._direction = way
        for name, chip in self.ways.items():
            chip.set(name == way)
        if self.text.text:
            self.try_out()

    def _tried(self, value: Any) -> None:
        if not self.winfo_exists() or not isinstance(value, dict):
            return
        verdict = value.get("verdict") or {}
        words, color = VERDICTS.get(str(verdict.get("action")), ("", "text2"))
        line = f"It {words}"
        if verdict.get("rule"):
            reason = reason_of(str(verdict["rule"]), str(verdict.get("reason", "")))
            line += f" by the rule {verdict['rule']}: {reason}".rstrip(": ")
        if verdict.get("action") in ("mask", "replace"):
            line += f".  \u201c{str(verdict.get('text', ''))[:160]}\u201d"
        self.verdict.show(line, color)

    def _not_tried(self, failure: Failure) -> None:
        if self.winfo_exists():
            self.verdict.show(failure.message, "error")
