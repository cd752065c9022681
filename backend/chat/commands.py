"""What the operator types to make something happen instead of saying it: `!expression joy`, `!motion wave`.

One line per command in `COMMANDS`. A text that begins with an exclamation mark and names none of them is a message like
any other. Whatever is typed, the answer is a notice or nothing, never an error.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from backend.avatar.cues import Cues
from backend.contracts.entities import Character
from backend.contracts.errors import AppError

OWNER = "command"
LONGEST_NOTICE = 400

_COMMAND = re.compile(r"!([a-z]{1,32})(?:\s+(.*))?", re.IGNORECASE | re.DOTALL)
_NUMBER = re.compile(r"[0-9]{1,4}")
_QUOTED = re.compile(r"""(["'])(.*)\1""", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Notice:
    """What came of a command.

    Attributes:
        command: Its name.
        text: One short sentence.
        is_refused: Nothing was done.
    """

    command: str
    text: str
    is_refused: bool = False


class Refused(Exception):
    """A command that says something else than it can mean; its text is the notice."""


@dataclass(frozen=True, slots=True)
class Command:
    """One command.

    Attributes:
        usage: How it is written.
        run: Does it with what was written behind its name, and says what came of it; raises `Refused` or `AppError`.
    """

    usage: str
    run: Callable[[Cues, Character, str], str]


class Commands:
    """What typed commands reach.

    Args:
        cues: The avatars.
    """

    def __init__(self, cues: Cues) -> None:
        self._cues = cues

    def run(self, text: str, character: Character) -> Notice | None:
        """Do what a text commands for a character; None when it is no command."""
        name, rest = parse(text)
        if name is None:
            return None
        command = COMMANDS[name]
        try:
            done = command.run(self._cues, character, rest)
        except AppError as error:
            return Notice(name, error.message[:LONGEST_NOTICE], is_refused=True)
        except Refused as error:
            return Notice(name, f"{error} Write {command.usage}."[:LONGEST_NOTICE], is_refused=True)
        return Notice(name, done[:LONGEST_NOTICE])


def parse(text: str) -> tuple[str | None, str]:
    """The command that a text is, and what stands behind its name; None for a message."""
    found = _COMMAND.fullmatch(text.strip())
    name = found[1].lower() if found is not None else ""
    if found is None or name not in COMMANDS:
        return None, ""
    return name, (found[2] or "").strip()


def _expression(cues: Cues, character: Character, rest: str) -> str:
    wanted = _unquoted(rest)
    if not wanted:
        raise Refused("Which expression?")
    number = int(wanted) if _NUMBER.fullmatch(wanted) else None
    shown = cues.express(character, wanted if number is None else number, owner=OWNER)
    return f"{character.name} shows {shown.expression}."


def _motion(cues: Cues, character: Character, rest: str) -> str:
    if not rest:
        raise Refused("Which motion?")
    group, _, last = rest.rpartition(" ")
    # "high five 2" is the third of the group "high five"; a name that ends in a number is put in quotes.
    if group and _NUMBER.fullmatch(last):
        shown = cues.perform(character, owner=OWNER, group=_unquoted(group), index=int(last))
    else:
        shown = cues.perform(character, owner=OWNER, name=_unquoted(rest))
    waits = shown.waiting[-1].name if shown.waiting else ""
    playing = shown.motion.name if shown.motion is not None else waits
    return f"{character.name} plays {playing}." if not waits else f"{waits} waits for {playing}."


def _unquoted(text: str) -> str:
    found = _QUOTED.fullmatch(text.strip())
    return found[2] if found is not None else text.strip()


COMMANDS: dict[str, Command] = {
    "expression": Command("!expression joy, or !expression 1 (its number)", _expression),
    "motion": Command("!motion wave, or !motion gesture 0 (its group and number)", _motion),
}
"""By the word behind the exclamation mark."""
