"""Viewers' commands: those that come with Luma and those of the streamer's own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from urllib.parse import quote

from pydantic import ValidationError

from backend.contracts.audience import ROLES, CustomCommand, KnownCommand, StageSound
from frontend.client import Failure
from frontend.rules import Owner, troubles_of
from frontend.rules.list_page import Item, ListPage
from frontend.stage import read_models
from frontend.widgets.controls import Button
from frontend.widgets.form import Ask

PATH = "/api/commands"
SOUNDS = "/api/sounds"
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
    ("scene", "a scene is called"),
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
ACTION = Ask("action", "What happens", "choice", choices=ACTIONS)
PLACES = "{user} {args} {channel} {count} are filled in."
WITH: dict[str, Ask] = {
    "say": Ask("value", "Words", "long", f"Said word for word. {PLACES}"),
    "prompt": Ask("value", "Words", "long", f"As if the viewer had written it. {PLACES}"),
    "text": Ask("value", "Words", "long", f"Written into the chat. {PLACES}"),
    "expression": Ask("value", "Face", "text", "Its name or number; {args} = what the viewer names.", placeholder="joy"),
    "motion": Ask("value", "Motion", "text", "Its name, or group and number; {args} = what the viewer names.", placeholder="wave"),
    "scene": Ask("value", "Scene", "text", "Told to programs outside, which switch to it.", placeholder="Kitchen"),
}  # fmt: skip
SOUND_ABOUT = "A file of the folder \u201csounds\u201d in the data folder: WAV, OGG, FLAC or MP3, at most 15 s."


def what(action: str, sounds: Sequence[StageSound], chosen: str) -> tuple[Ask, ...]:
    """What is asked for an action; of sounds, the files that are there."""
    if action != "sound":
        return (ACTION, WITH[action])
    names = {one.name: f"{one.name} (too large)" if one.problem else one.name for one in sounds}
    if chosen and chosen not in names:
        names[chosen] = f"{chosen} (is not there)"
    choices = tuple(names.items()) or (("", "no file is there yet"),)
    return (ACTION, Ask("value", "Sound", "choice", SOUND_ABOUT, choices=choices))


class CommandsPage(ListPage):
    """The page."""

    LABEL = "Commands"
    EMPTY = "No commands yet."

    def __init__(self, master: Any, owner: Owner) -> None:
        super().__init__(master, owner)
        self.known: dict[str, KnownCommand] = {}
        self.sounds: list[StageSound] = []
        self._action = ""
        self._wanted = ""
        self._note = ""
        Button(
            self.bar, self.theme, "Add a command", self.add, icon="plus", kind="plain",
            surface="surface", height=28,
        ).pack(fill="x")  # fmt: skip
        self.play_button = Button(
            self.foot, self.theme, "Play", self.play, icon="play", height=30,
            tip="Hear it on the stage, as soon as nothing is said there",
        )  # fmt: skip

    def load(self) -> None:
        if not self.is_changed:
            self.owner.backend.get(SOUNDS, self._took_sounds, lambda _: self._ask())

    def play(self) -> None:
        """Hear the sound that is chosen."""
        name = str(self.forms[1].rows["value"].value()[0]) if len(self.forms) > 1 else ""
        if self._action == "sound" and name:
            self.owner.backend.post(f"{SOUNDS}/{quote(name, safe='')}/play", {}, None, self.failed)

    def know(self, is_changed: bool) -> None:
        super().know(is_changed)
        # Another action asks for something else.
        if is_changed and len(self.forms) > 1:
            action = str(self.forms[1].rows["action"].value()[0])
            if action != self._action:
                values, _ = self.entered()
                if "sound" in (action, self._action):
                    values["value"] = ""
                self._build_forms(values | {"action": action})

    def add(self) -> None:
        """Begin a new command."""
        if self.pick(NEW):
            self.list.show(self._items(), "")
            self.forms[0].rows["name"].focus_in()

    def build(self, item: str) -> None:
        known = self.known.get(item)
        given = known.command if known else CustomCommand(name="x", action="say", value="x")
        values = given.model_dump(mode="json")
        if known is None:
            values |= {"name": "", "value": ""}
        self._build_forms(values)

    def _build_forms(self, values: dict[str, Any]) -> None:
        """The form with these values in it."""
        known = self.known.get(self.current)
        self.clear()
        self._action = str(values["action"])
        if self._action == "sound" and not values.get("value") and self.sounds:
            values = values | {"value": self.sounds[0].name}
        usage = f"Used {known.uses:,} times. {known.usage}" if known is not None else ""
        for title, asks in (
            ("Command", WORDS),
            ("What it does", what(self._action, self.sounds, str(values.get("value", "")))),
            ("Who, and how often", WHO),
        ):
            self.section(title, asks, usage if title == "Command" else "")
        for form in self.forms:
            form.show(values)
        if known is not None:
            self.forms[0].rows["name"].enable(False)
            if known.is_builtin:
                for row in self.forms[1].rows.values():
                    row.enable(False)
        if self._action == "sound":
            self.play_button.pack(side="left", after=self.undo_button)
        else:
            self.play_button.pack_forget()
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

    def _took_sounds(self, value: Any) -> None:
        self.sounds = read_models(StageSound, value, "sounds", "items")
        self._ask()

    def _ask(self) -> None:
        """The commands, once it is known which sounds there are; an older backend has none."""
        if self.winfo_exists():
            self.owner.backend.get(PATH, self._took, self.failed)

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
