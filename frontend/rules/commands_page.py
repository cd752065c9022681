"""Viewers' commands: those that come with Luma and those of the streamer's own."""

from __future__ import annotations

from typing import Any

from pydantic import ValidationError

from backend.contracts.audience import ROLES, CustomCommand, KnownCommand
from frontend.client import Failure
from frontend.rules import Owner, troubles_of
from frontend.rules.list_page import Item, ListPage
from frontend.stage import read_models
from frontend.widgets.controls import Button
from frontend.widgets.form import Ask

PATH = "/api/commands"
NEW = "!"
"""What a command is known by that has no name yet; no command can be called so."""

ROLE_WORDS = {
    "broadcaster": "the broadcaster",
    "moderator": "moderators",
    "vip": "VIPs",
    "subscriber": "subscribers",
    "viewer": "everybody",
}
ACTIONS = (
    ("say", "she says it"),
    ("prompt", "she is asked it"),
    ("text", "it is written into the chat"),
    ("expression", "she makes a face"),
    ("motion", "she makes a motion"),
    ("sound", "a sound is played"),
    ("scene", "a scene is asked for"),
)
WORDS = (
    Ask("name", "Name", "text", "The word behind the exclamation mark: a-z, 0-9, _.", placeholder="discord"),
    Ask("aliases", "Other words", "lines", "One per line.", placeholder="dc"),
    Ask("about", "For !help", "text", "One line."),
    Ask("is_on", "On", "switch"),
)  # fmt: skip
WHO = (
    Ask(
        "role", "Who may use it", "choice", "And those above them.",
        choices=tuple((role, ROLE_WORDS[role]) for role in ROLES),
    ),
    Ask("cooldown_s", "Rests", "number", "Until anybody may use it again.", "s"),
    Ask("user_cooldown_s", "For one viewer", "number", unit="s"),
)  # fmt: skip
WHAT = (
    Ask("action", "What happens", "choice", choices=ACTIONS),
    Ask(
        "value", "With", "long",
        "Words with {user} {args} {channel} {count} in them; the name of an expression or of a motion; "
        "a file of the sounds folder; the name of a scene.",
    ),
)  # fmt: skip


class CommandsPage(ListPage):
    """The page."""

    LABEL = "Commands"
    EMPTY = "No commands yet."

    def __init__(self, master: Any, owner: Owner) -> None:
        super().__init__(master, owner)
        self.known: dict[str, KnownCommand] = {}
        self._wanted = ""
        self._note = ""
        Button(
            self.bar, self.theme, "Add a command", self.add, icon="plus", kind="plain",
            surface="surface", height=28,
        ).pack(fill="x")  # fmt: skip

    def load(self) -> None:
        if not self.is_changed:
            self.owner.backend.get(PATH, self._took, self.failed)

    def add(self) -> None:
        """Begin a new command."""
        if self.pick(NEW):
            self.list.show(self._items(), "")
            self.forms[0].rows["name"].focus_in()

    def build(self, item: str) -> None:
        known = self.known.get(item)
        usage = f"Used {known.uses:,} times. {known.usage}" if known is not None else ""
        for title, asks in (
            ("Command", WORDS),
            ("What it does", WHAT),
            ("Who, and how often", WHO),
        ):
            self.section(title, asks, usage if title == "Command" else "")
        given = known.command if known else CustomCommand(name="x", action="say", value="x")
        values = given.model_dump(mode="json")
        if known is None:
            values |= {"name": "", "value": ""}
        for form in self.forms:
            form.show(values)
        if known is not None:
            self.forms[0].rows["name"].enable(False)
            if known.is_builtin:
                for row in self.forms[1].rows.values():
                    row.enable(False)
        self.remove_button.set("As it came" if known and known.is_builtin else "Delete")
        if known is not None:
            self.remove_button.pack(side="left", after=self.undo_button)
        else:
            self.remove_button.pack_forget()

    def save(self) -> None:
        values, troubles = self.entered()
        known = self.known.get(self.current)
        if known is not None:
            values["name"] = known.command.name
            if known.is_builtin:
                values |= {"action": known.command.action, "value": known.command.value}
        else:
            values["name"] = str(values.get("name", "")).lstrip("!").lower()
        if not troubles:
            try:
                CustomCommand.model_validate(values)
            except ValidationError as error:
                troubles = troubles_of(error)
                if "name" in troubles:
                    troubles["name"] = "Use one word of a-z, 0-9 and _, at most 32 letters."
                if "aliases" in troubles:
                    troubles["aliases"] = "Each is one word of a-z, 0-9 and _, at most 32 letters."
                if "value" in troubles:
                    troubles["value"] = "Say what it is about: 1 to 500 letters."
        if troubles:
            self.mark(troubles)
            return
        name = values.pop("name")
        self.words.show("Saving...", "text2")
        if known is None:
            self.owner.backend.post(PATH, {"name": name, **values}, self._saved, self._not_saved)
        else:
            self.owner.backend.put(f"{PATH}/{name}", values, self._saved, self._not_saved)

    def undo(self) -> None:
        self.know(False)
        item, self.current = self.current, ""
        self.pick(item if item in self.known else next(iter(self.known), NEW))
        self.list.show(self._items(), self.current)

    def remove(self) -> None:
        name = self.current
        if name in self.known:
            self.owner.backend.delete(
                f"{PATH}/{name}", None, lambda _: self._gone(name), self.failed
            )

    # --- inside

    def _items(self) -> list[Item]:
        words = dict(ACTIONS)
        return [
            Item(
                name,
                f"!{name}",
                one.command.about or words.get(one.command.action, one.command.action),
                "comes with Luma" if one.is_builtin else f"{one.uses:,}\u00d7" if one.uses else "",
                one.command.is_on,
            )
            for name, one in self.known.items()
        ]

    def _took(self, value: Any) -> None:
        if not self.winfo_exists() or self.is_changed:
            return
        found = read_models(KnownCommand, value, "commands", "items")
        self.known = {one.command.name: one for one in found}
        wanted = self._wanted or self.current
        self._wanted, self.current = "", ""
        if wanted not in self.known:
            wanted = next(iter(self.known), "")
        if wanted:
            self.pick(wanted)
        else:
            self.clear()
        self.list.show(self._items(), wanted)
        if self._note:
            self.words.show(self._note, "ok")
            self._note = ""

    def _saved(self, value: Any) -> None:
        if self.winfo_exists():
            saved = read_models(KnownCommand, [value])
            self._wanted = saved[0].command.name if saved else ""
            self.know(False)
            self._note = "Saved."
            self.load()

    def _not_saved(self, failure: Failure) -> None:
        if not self.winfo_exists():
            return
        if failure.status == 409 and self.current == NEW:
            words = failure.message.partition(";")[0].rstrip(".")
            self.mark({"name": f"{words}."})
            return
        place = "name" if failure.status == 409 else "value"
        self.mark(
            {place: failure.message} if failure.status in (400, 409, 422) else {"": failure.message}
        )

    def _gone(self, name: str) -> None:
        if self.winfo_exists():
            known = self.known.get(name)
            is_builtin = known is not None and known.is_builtin
            self.know(False)
            self._note = f"!{name} is as it came." if is_builtin else f"!{name} is deleted."
            self.load()
