"""Commands that viewers type: !expression, !motion, !say, !help, and the streamer's own.

Strictly read: an exclamation mark (that one, no look-alike), a word of plain letters, digits and underscores, then the end or
a space. Whatever else is typed is a message. What a viewer types is data all the way: it fills places in templates once, is cut
to a length, and never raises.
"""

from __future__ import annotations

import logging
import re
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from backend.avatar.cues import Cues
from backend.chat.commands import COMMANDS, Refused
from backend.chat.conversations import clean
from backend.contracts.audience import (
    ROLES,
    AudienceMessage,
    CustomCommand,
    KnownCommand,
    Role,
    Verdict,
)
from backend.contracts.entities import Character
from backend.contracts.errors import AppError, ConflictError, InvalidInputError, NotFoundError
from backend.contracts.events import CommandScene, CommandsChanged
from backend.core import clock
from backend.core.bus import EventBus
from backend.core.clock import monotonic_s
from backend.storage import audience as rows
from backend.storage.database import Database

logger = logging.getLogger(__name__)

READ_CHARS = 600
"""Of what a viewer typed; platforms take 500."""
LONGEST_ANSWER = 450
"""A platform's message has 500 characters, and a reply names somebody before it."""
LONGEST_TEXT = 300
"""Of what came of a command, as it is told."""
MOST_COMMANDS = 500
COOLDOWNS_KEPT = 10_000
SOUND_SUFFIXES = (".wav", ".ogg", ".mp3", ".flac")

_WRITTEN = re.compile(r"!([A-Za-z0-9_]{1,32})(?=\s|\Z)")
_PLACE = re.compile(r"\{(user|args|channel|count)\}")
_FILE = re.compile(r"[\w][\w .()-]{0,120}")

BUILTIN: tuple[CustomCommand, ...] = (
    CustomCommand(
        name="expression",
        action="expression",
        value="{args}",
        cooldown_s=3,
        user_cooldown_s=10,
        about="her face",
    ),
    CustomCommand(
        name="motion",
        action="motion",
        value="{args}",
        cooldown_s=5,
        user_cooldown_s=15,
        about="a motion",
    ),
    CustomCommand(
        name="say",
        action="prompt",
        value="{args}",
        cooldown_s=0,
        user_cooldown_s=15,
        about="something to talk about",
    ),
    CustomCommand(
        name="help",
        action="text",
        value="{args}",
        cooldown_s=10,
        user_cooldown_s=30,
        about="this list",
    ),
)
"""What comes with Luma; role, aliases, cooldowns and whether they are on can be changed, what they do cannot."""

USAGE = {
    "expression": COMMANDS["expression"].usage,
    "motion": COMMANDS["motion"].usage,
    "say": "!say tell us about cats",
    "help": "!help",
}


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a command.

    Attributes:
        text: One short sentence, for the streamer.
        answer: To be written into the chat.
        prompt: To be answered by her.
        recital: To be said by her word for word.
    """

    command: str
    text: str
    is_refused: bool = False
    answer: str = ""
    prompt: str = ""
    recital: str = ""


class ViewerCommands:
    """What typed commands of viewers reach; all methods are for the backend's loop.

    Args:
        bus: Where `commands.changed` and `command.scene` go.
        database: Where the streamer's own commands are kept.
        cues: The avatars.
        character: Who is on stage.
        sounds: Folder of sounds that commands may play.
        may_recite: Whether moderators' !say is said word for word.
        can_write: Whether anything can be written into a platform's chat.
        check_out: What moderation says of words that a command has her say or write.
        play_sound: Plays a file; None = nothing mixes sounds into the stage.
        now_s: Seconds that only grow.
    """

    def __init__(
        self,
        *,
        bus: EventBus,
        database: Database,
        cues: Cues,
        character: Callable[[], Awaitable[Character]],
        sounds: Path,
        may_recite: Callable[[], bool] = lambda: False,
        can_write: Callable[[str], bool] = lambda platform: False,
        check_out: Callable[[str], Verdict | Awaitable[Verdict]] | None = None,
        play_sound: Callable[[Path], Awaitable[None]] | None = None,
        now_s: Callable[[], float] = monotonic_s,
    ) -> None:
        self.check_out = check_out
        self.play_sound = play_sound
        self._bus = bus
        self._database = database
        self._cues = cues
        self._character = character
        self._sounds = sounds
        self._may_recite = may_recite
        self._can_write = can_write
        self._now_s = now_s
        self._own: dict[str, CustomCommand] = {}
        self._uses: dict[str, int] = {}
        self._unstored_uses: set[str] = set()
        self._used_s: dict[str, float] = {}
        self._used_by: OrderedDict[tuple[str, str, str], float] = OrderedDict()

    async def open(self) -> None:
        """Read the streamer's own commands."""
        for command, uses in await self._database.read(rows.commands):
            self._own[command.name] = command
            self._uses[command.name] = uses

    async def close(self) -> None:
        """Keep how often commands were used."""
        await self._store_uses()

    # --- the list ---

    def all(self) -> list[KnownCommand]:
        """Every command, those that come with Luma first."""
        builtin = [self._own.get(each.name, each) for each in BUILTIN]
        own = [each for name, each in sorted(self._own.items()) if name not in USAGE]
        return [
            KnownCommand(
                command=each,
                is_builtin=each.name in USAGE,
                usage=USAGE.get(each.name, f"!{each.name}"),
                uses=self._uses.get(each.name, 0),
            )
            for each in (*builtin, *own)
        ]

    def get(self, name: str) -> KnownCommand:
        """One command.

        Raises:
            NotFoundError: There is none of that name.
        """
        for known in self.all():
            if known.command.name == name:
                return known
        raise NotFoundError(f"There is no command {name[:32]!r}.")

    async def put(self, command: CustomCommand) -> KnownCommand:
        """Keep a command, in place of the one of its name.

        Raises:
            ConflictError: One of its words belongs to another command, or there are too many.
            InvalidInputError: What it is about cannot be used.
        """
        words = {command.name, *command.aliases}
        if len(words) != 1 + len(command.aliases):
            raise InvalidInputError(f"!{command.name} names a word twice.")
        for known in self.all():
            other = known.command
            if other.name != command.name and words & {other.name, *other.aliases}:
                word = min(words & {other.name, *other.aliases})
                raise ConflictError(f"!{word} means !{other.name} already. Choose another word.")
        builtin = next((each for each in BUILTIN if each.name == command.name), None)
        if builtin is not None and (command.action, command.value) != (
            builtin.action,
            builtin.value,
        ):
            raise InvalidInputError(
                f"!{command.name} comes with Luma: its action stays {builtin.action!r} with the value"
                f" {builtin.value!r}; words, role and cooldowns can be changed."
            )
        if command.action == "sound":
            self._sound(command.value)
        if command.name not in self._own and len(self._own) >= MOST_COMMANDS:
            raise ConflictError(f"There are {MOST_COMMANDS} commands already; delete one first.")
        await self._database.write(
            lambda c: rows.put_command(c, command, clock.now()), durable=True
        )
        self._own[command.name] = command
        self._bus.publish(CommandsChanged(command=command.name, change="saved"))
        return self.get(command.name)

    async def delete(self, name: str) -> None:
        """Forget a command; one that comes with Luma is as it came again.

        Raises:
            NotFoundError: There is none of that name.
        """
        if name not in self._own:
            if name in USAGE:
                return
            raise NotFoundError(f"There is no command {name[:32]!r}.")
        await self._database.write(lambda c: rows.delete_command(c, name), durable=True)
        self._own.pop(name, None)
        self._uses.pop(name, None)
        self._unstored_uses.discard(name)
        self._used_s.pop(name, None)
        self._bus.publish(CommandsChanged(command=name, change="deleted"))

    # --- doing ---

    def is_command(self, text: str) -> bool:
        """Whether a text is written as a command, known or not."""
        return parse(text) is not None

    async def run(self, text: str, message: AudienceMessage) -> Outcome | None:
        """Do what a text commands; None when there is no such command.

        Args:
            text: What may be read of the message.
            message: Whose it is.
        """
        written = parse(text)
        command = None if written is None else self._find(written[0])
        if written is None or command is None:
            return None
        args = written[1]
        try:
            self._allow(command, message)
            outcome = await self._do(command, args, message)
        except (AppError, Refused) as error:
            said = error.message if isinstance(error, AppError) else str(error)
            return Outcome(command.name, said[:LONGEST_TEXT], is_refused=True)
        self._count(command, message)
        return outcome

    def _find(self, word: str) -> CustomCommand | None:
        for known in self.all():
            command = known.command
            if word == command.name or word in command.aliases:
                return command if command.is_on else None
        return None

    def _allow(self, command: CustomCommand, message: AudienceMessage) -> None:
        viewer = message.viewer
        if not may(viewer.role, command.role):
            raise Refused(f"!{command.name} is for {_plural(command.role)}.")
        if viewer.role in ("broadcaster", "moderator"):
            return
        now_s = self._now_s()
        last_s = self._used_s.get(command.name)
        if last_s is not None and (left_s := command.cooldown_s - (now_s - last_s)) > 0:
            raise Refused(f"!{command.name} rests for {left_s:.0f} s more.")
        own_s = self._used_by.get((command.name, viewer.platform, viewer.id))
        if own_s is not None and (left_s := command.user_cooldown_s - (now_s - own_s)) > 0:
            raise Refused(f"{viewer.name} may use !{command.name} again in {left_s:.0f} s.")

    def _count(self, command: CustomCommand, message: AudienceMessage) -> None:
        now_s, viewer = self._now_s(), message.viewer
        self._used_s[command.name] = now_s
        key = (command.name, viewer.platform, viewer.id)
        self._used_by[key] = now_s
        self._used_by.move_to_end(key)
        while len(self._used_by) > COOLDOWNS_KEPT:
            self._used_by.popitem(last=False)
        self._uses[command.name] = self._uses.get(command.name, 0) + 1
        if command.name in self._own:
            self._unstored_uses.add(command.name)

    async def _do(self, command: CustomCommand, args: str, message: AudienceMessage) -> Outcome:
        name = command.name
        if name == "help":
            return self._help(message)
        if name == "say" and not args:
            raise Refused(f"Say what? Write {USAGE['say']}.")
        if name == "say" and self._may_recite() and may(message.viewer.role, "moderator"):
            words = await self._checked(args)
            return Outcome(name, "she says it word for word", recital=words)
        filled = self._filled(command, args, message)
        match command.action:
            case "expression" | "motion":
                character = await self._character()
                done = COMMANDS[command.action].run(self._cues, character, filled)
                return Outcome(name, done[:LONGEST_TEXT])
            case "prompt":
                return Outcome(name, "asked her", prompt=filled)
            case "say":
                words = await self._checked(filled)
                return Outcome(name, "she says it", recital=words)
            case "text":
                return self._written(name, await self._checked(filled), message)
            case "sound":
                return await self._played(command)
            case "scene":
                scene = filled[:100]
                self._bus.publish(
                    CommandScene(scene=scene, viewer=message.viewer.name, message_id=message.id)
                )
                text = (
                    f"asked for the scene {scene}; it is noted, and nothing here changes scenes yet"
                )
                return Outcome(name, text[:LONGEST_TEXT])

    def _filled(self, command: CustomCommand, args: str, message: AudienceMessage) -> str:
        """The command's words with what the viewer typed, put in once: braces that were typed stay braces."""
        values = {
            "user": message.viewer.name,
            "args": args,
            "channel": message.channel,
            "count": str(self._uses.get(command.name, 0) + 1),
        }
        return _PLACE.sub(lambda found: values[found[1]], command.value)[:READ_CHARS].strip()

    async def _checked(self, text: str) -> str:
        if not text:
            raise Refused("Nothing is left to say.")
        if self.check_out is None:
            return text
        found = self.check_out(text)
        verdict = found if isinstance(found, Verdict) else await found
        if verdict.action in ("ignore", "hold") or not (text := verdict.text or text):
            raise Refused(f"Moderation stopped it: {verdict.reason or verdict.rule}.")
        return text

    def _written(self, name: str, text: str, message: AudienceMessage) -> Outcome:
        # What another program would take for its own command is none when we write it.
        answer = text[:LONGEST_ANSWER].lstrip("/.!$ ")
        if not answer:
            raise Refused("Nothing is left to write.")
        if self._can_write(message.platform):
            return Outcome(name, f"wrote: {answer}"[:LONGEST_TEXT], answer=answer)
        said = f"would write: {answer}"[: LONGEST_TEXT - 60]
        return Outcome(name, f"{said} (nothing can be written into {message.platform})")

    def _help(self, message: AudienceMessage) -> Outcome:
        usable = [
            known
            for known in self.all()
            if known.command.is_on and may(message.viewer.role, known.command.role)
        ]
        parts = [
            f"!{known.command.name}" + (f" ({known.command.about})" if known.command.about else "")
            for known in usable
        ]
        return self._written("help", f"Commands: {', '.join(parts)}", message)

    def _sound(self, file: str) -> Path:
        """A sound of the folder; nothing outside of it has a name here.

        Raises:
            InvalidInputError: There is no such sound.
        """
        path = self._sounds / file
        is_plain = _FILE.fullmatch(file) is not None and path.suffix.lower() in SOUND_SUFFIXES
        if not is_plain or not path.is_file() or path.is_symlink():
            raise InvalidInputError(
                f"There is no sound {file[:64]!r} in {self._sounds}. Put a file there"
                f" ({', '.join(SOUND_SUFFIXES)}) and name it without a folder."
            )
        return path

    async def _played(self, command: CustomCommand) -> Outcome:
        path = self._sound(command.value)
        if self.play_sound is None:
            raise Refused("Nothing here mixes sounds with her voice yet, so it was not played.")
        await self.play_sound(path)
        return Outcome(command.name, f"played {path.name}")

    async def _store_uses(self) -> None:
        uses = {name: self._uses[name] for name in self._unstored_uses if name in self._uses}
        self._unstored_uses.clear()
        if uses:
            await self._database.write(partial(rows.put_uses, uses=uses))


def parse(text: str) -> tuple[str, str] | None:
    """The word behind the exclamation mark, lower case, and what stands behind it; None for a message."""
    start = text[:READ_CHARS].strip()
    found = _WRITTEN.match(start)
    if found is None:
        return None
    return found[1].lower(), " ".join(clean(start[found.end() :]).split())


def may(role: Role, needed: Role) -> bool:
    """Whether somebody of a role may do what is for another one and those above it."""
    return ROLES.index(role) <= ROLES.index(needed)


def _plural(role: Role) -> str:
    return {
        "broadcaster": "the owner of the channel",
        "moderator": "moderators",
        "vip": "VIPs and moderators",
        "subscriber": "subscribers, VIPs and moderators",
        "viewer": "everybody",
    }[role]
