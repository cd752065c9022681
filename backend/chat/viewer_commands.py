"""Commands that viewers type: !expression, !motion, !say, !help, and the streamer's own.

Strictly read: an exclamation mark (that one, no look-alike), a word of plain letters, digits and underscores, then the end or
a space. Whatever else is typed is a message. What a viewer types is data all the way: it fills places in templates once, is cut
to a length, and never raises.
"""

from __future__ import annotations

import asyncio
import json
import logging
import re
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Protocol

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
from backend.contracts.events import CommandsChanged, SceneCalled
from backend.core import clock
from backend.core.background import Background
from backend.core.bus import EventBus
from backend.core.clock import monotonic_s
from backend.storage import audience as rows
from backend.storage import facts
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
STORED_COOLDOWN_S = 60.0
"""Shorter rests are over when a program that was killed is back."""
COOLDOWNS_STORED = 1_000
STORE_S = 1.0
"""How long uses gather before they are stored together."""
USED = "commands.used"

_WRITTEN = re.compile(r"!([A-Za-z0-9_]{1,32})(?=\s|\Z)")
_STAR = re.compile(r"\*(?=\S)|(?<=\S)\*")
_ANGLE = re.compile(r"<(?=[ /]{0,8}[A-Za-z])")
_PLACE = re.compile(r"\{(user|args|channel|count)\}")

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


class Sounds(Protocol):
    """What plays sounds on the stage; `backend.chat.command_sounds.CommandSounds` does it."""

    async def check(self, name: str) -> None:
        """See that there is such a sound; raises `InvalidInputError`."""
        ...

    async def play(self, name: str) -> float:
        """Play it as soon as she is silent; gives its length in seconds, raises `AppError`."""
        ...


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
        bus: Where `commands.changed` and `scene.called` go.
        database: Where the streamer's own commands are kept.
        cues: The avatars.
        character: Who is on stage.
        sounds: Plays sounds on the stage.
        may_recite: Whether moderators' !say is said word for word.
        can_write: Whether anything can be written into a platform's chat.
        check_out: What moderation says of words that a command has her say or write.
        now_s: Seconds that only grow.
        wall: The time of day, UTC: rests count on it over a restart.
    """

    def __init__(
        self,
        *,
        bus: EventBus,
        database: Database,
        cues: Cues,
        character: Callable[[], Awaitable[Character]],
        sounds: Sounds,
        may_recite: Callable[[], bool] = lambda: False,
        can_write: Callable[[str], bool] = lambda platform: False,
        check_out: Callable[[str], Verdict | Awaitable[Verdict]] | None = None,
        now_s: Callable[[], float] = monotonic_s,
        wall: Callable[[], datetime] = clock.now,
    ) -> None:
        self.check_out = check_out
        self._bus = bus
        self._database = database
        self._cues = cues
        self._character = character
        self._sounds = sounds
        self._may_recite = may_recite
        self._can_write = can_write
        self._now_s = now_s
        self._wall = wall
        self._own: dict[str, CustomCommand] = {}
        self._uses: dict[str, int] = {}
        self._unstored_uses: set[str] = set()
        self._used_s: dict[str, float] = {}
        self._used_by: OrderedDict[tuple[str, str, str], float] = OrderedDict()
        self._words: dict[str, CustomCommand] = {}
        self._changing = asyncio.Lock()
        self._tasks = Background(logger)
        self._storing: asyncio.Task[None] | None = None
        self._has_news = False
        self._index()

    async def open(self) -> None:
        """Read the streamer's own commands, and which of them rest."""
        for command, uses in await self._database.read(rows.commands):
            self._own[command.name] = command
            self._uses[command.name] = uses
        self._index()
        self._load(await self._database.read(lambda c: facts.get(c, USED)))

    async def close(self) -> None:
        """Keep how often commands were used, and when."""
        storing, self._storing = self._storing, None
        await self._tasks.close()
        if storing is not None:
            await self._store()

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
        async with self._changing:  # of two at once the second one sees the first
            return await self._put(command)

    async def _put(self, command: CustomCommand) -> KnownCommand:
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
            await self._sounds.check(command.value)
        if command.action == "scene":
            _check_scene(command.value)
        if command.name not in self._own and len(self._own) >= MOST_COMMANDS:
            raise ConflictError(f"There are {MOST_COMMANDS} commands already; delete one first.")
        await self._database.write(
            lambda c: rows.put_command(c, command, clock.now()), durable=True
        )
        self._own[command.name] = command
        self._index()
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
        async with self._changing:
            await self._database.write(lambda c: rows.delete_command(c, name), durable=True)
            self._own.pop(name, None)
            self._uses.pop(name, None)
            self._unstored_uses.discard(name)
            self._used_s.pop(name, None)
            self._index()
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
        except Refused as error:
            return Outcome(command.name, str(error)[:LONGEST_TEXT], is_refused=True)
        # Before it is done: moderation may take its time, and a second one must find it resting.
        before = self._rest(command, message)
        is_done = False
        try:
            outcome = await self._do(command, args, message)
            is_done = True
        except (AppError, Refused) as error:
            said = error.message if isinstance(error, AppError) else str(error)
            return Outcome(command.name, said[:LONGEST_TEXT], is_refused=True)
        finally:
            if not is_done:
                self._rest_no_more(command, message, before)
        self._count(command)
        return outcome

    def _find(self, word: str) -> CustomCommand | None:
        command = self._words.get(word)
        return command if command is not None and command.is_on else None

    def _index(self) -> None:
        """Each word with its command: what viewers type is looked up hundreds of times a second."""
        self._words = {}
        for known in self.all():
            for word in (known.command.name, *known.command.aliases):
                self._words.setdefault(word, known.command)

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

    def _rest(
        self, command: CustomCommand, message: AudienceMessage
    ) -> tuple[float | None, float | None, float]:
        """Have it rest from now on; gives since when it rested before, for everybody and for its user, and the moment."""
        now_s, key = self._now_s(), _key(command, message)
        before = self._used_s.get(command.name), self._used_by.get(key), now_s
        self._used_s[command.name] = self._used_by[key] = now_s
        self._used_by.move_to_end(key)
        while len(self._used_by) > COOLDOWNS_KEPT:
            self._used_by.popitem(last=False)
        return before

    def _rest_no_more(
        self,
        command: CustomCommand,
        message: AudienceMessage,
        before: tuple[float | None, float | None, float],
    ) -> None:
        """Nothing was done: it rests as long as it did, unless somebody else has used it meanwhile."""
        all_s, own_s, at_s = before
        key = _key(command, message)
        if self._used_s.get(command.name) == at_s:
            if all_s is None:
                del self._used_s[command.name]
            else:
                self._used_s[command.name] = all_s
        if self._used_by.get(key) == at_s:
            if own_s is None:
                del self._used_by[key]
            else:
                self._used_by[key] = own_s

    def _count(self, command: CustomCommand) -> None:
        self._uses[command.name] = self._uses.get(command.name, 0) + 1
        if command.name in self._own:
            self._unstored_uses.add(command.name)
        self._has_news = True
        if self._storing is None:
            self._storing = self._tasks.spawn(self._store_soon(), "keeping uses of commands")

    async def _do(self, command: CustomCommand, args: str, message: AudienceMessage) -> Outcome:
        name = command.name
        if name == "help":
            return self._help(message)
        if name == "say" and not args:
            raise Refused(f"Say what? Write {USAGE['say']}.")
        if name == "say" and self._may_recite() and may(message.viewer.role, "moderator"):
            words = await self._checked(uncued(args))
            return Outcome(name, "she says it word for word", recital=words)
        # What she says word for word may hold tags of the streamer's, and none that a viewer typed.
        filled = self._filled(command, args, message, is_said=command.action == "say")
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
                await self._sounds.play(command.value)
                return Outcome(name, f"plays {command.value}"[:LONGEST_TEXT])
            case "scene":
                _check_scene(command.value)
                self._bus.publish(
                    SceneCalled(
                        source="command",
                        scene=command.value,
                        by=f"!{name}",
                        viewer=message.viewer.name,
                        message_id=message.id,
                    )
                )
                return Outcome(name, f"called the scene {command.value}"[:LONGEST_TEXT])

    def _filled(
        self, command: CustomCommand, args: str, message: AudienceMessage, *, is_said: bool = False
    ) -> str:
        """The command's words with what the viewer typed, put in once: braces that were typed stay braces."""
        values = {
            "user": message.viewer.name,
            "args": args,
            "channel": message.channel,
            "count": str(self._uses.get(command.name, 0) + 1),
        }
        if is_said:
            values = {name: uncued(value) for name, value in values.items()}
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

    # --- keeping ---

    async def _store_soon(self) -> None:
        try:
            while self._has_news:
                await asyncio.sleep(STORE_S)
                self._has_news = False
                await self._store()
        finally:
            self._storing = None

    async def _store(self) -> None:
        unstored, self._unstored_uses = self._unstored_uses, set()
        uses = {name: self._uses[name] for name in unstored if name in self._uses}
        used = self._dump()

        def write(connection: Any) -> None:
            rows.put_uses(connection, uses)
            facts.put(connection, USED, json.dumps(used))

        is_stored = False
        try:
            await self._database.write(write)
            is_stored = True
        except AppError as error:
            logger.warning("how often commands were used could not be stored: %s", error.message)
        finally:
            if not is_stored:
                self._unstored_uses |= unstored

    def _dump(self) -> dict[str, Any]:
        """What rests for so long that it must rest on after a restart, newest last."""
        now_s = self._now_s()
        everybody: dict[str, float] = {}
        viewers: list[list[Any]] = []
        for command in set(self._words.values()):
            passed_s = now_s - self._used_s.get(command.name, float("-inf"))
            if max(STORED_COOLDOWN_S, passed_s) < command.cooldown_s:
                everybody[command.name] = passed_s
        for (name, platform, viewer_id), used_s in reversed(self._used_by.items()):
            known = self._words.get(name)
            passed_s = now_s - used_s
            if known is not None and max(STORED_COOLDOWN_S, passed_s) < known.user_cooldown_s:
                viewers.append([name, platform, viewer_id, passed_s])
                if len(viewers) == COOLDOWNS_STORED:
                    break
        return {"at": self._wall().isoformat(), "all": everybody, "viewers": viewers[::-1]}

    def _load(self, kept: str | None) -> None:
        """Have rest on what rested; what cannot be read is left out."""
        if kept is None:
            return
        now_s = self._now_s()
        try:
            value = json.loads(kept)
            at = datetime.fromisoformat(value["at"])
            # The clock may have gone back.
            since_s = max(0.0, (self._wall() - at.astimezone(UTC)).total_seconds())
            for name, passed_s in value["all"].items():
                self._used_s[str(name)] = now_s - since_s - float(passed_s)
            for name, platform, viewer_id, passed_s in value["viewers"]:
                key = str(name), str(platform), str(viewer_id)
                self._used_by[key] = now_s - since_s - float(passed_s)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            logger.warning("which commands rest could not be read: %s", error)


def parse(text: str) -> tuple[str, str] | None:
    """The word behind the exclamation mark, lower case, and what stands behind it; None for a message."""
    start = text[:READ_CHARS].strip()
    found = _WRITTEN.match(start)
    if found is None:
        return None
    return found[1].lower(), " ".join(clean(start[found.end() :]).split())


def uncued(text: str) -> str:
    """Words that move nobody: no tags, no stage directions, no marks of private thoughts."""
    # Stars first: one that goes may leave a tag behind.
    return _ANGLE.sub("(", _STAR.sub("", text)).replace("[", "(").replace("]", ")")


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


def _key(command: CustomCommand, message: AudienceMessage) -> tuple[str, str, str]:
    return command.name, message.viewer.platform, message.viewer.id


def _check_scene(scene: str) -> None:
    """A scene is named by the streamer: a viewer who could name one might show any.

    Raises:
        InvalidInputError: It has a place for what viewers type.
    """
    if _PLACE.search(scene):
        raise InvalidInputError(
            f"The scene {scene[:64]!r} has a place for what viewers type, who could call any scene then. Name one scene."
        )
