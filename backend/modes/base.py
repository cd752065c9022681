"""What answers a turn: one adapter per mode.

An adapter takes a prompt and gives the reply part by part, in order: text that our own pipeline cuts, cleans and speaks,
cues, or sentences that somebody else has spoken already. All methods are for the backend's loop.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass
from typing import Protocol

from backend.contracts.avatar import AvatarShown, Transition
from backend.contracts.entities import Audio, Character, Cue
from backend.contracts.modes import ModeHealth, ModeName
from backend.engines.llm.base import Delta, Prompt


@dataclass(frozen=True, slots=True)
class SpokenPart:
    """A sentence that comes with its sound: it is played as it is, and never spoken by our own voice.

    Attributes:
        text: As it was written; tags in it ("[joy]") are taken out and become cues by the turn.
        audio: None = the server spoke nothing; then our own voice does, if it is on.
        cues: What begins with its sound, besides those in the text.
        by: Who spoke it, for traces ("orphiq server").
    """

    text: str
    audio: Audio | None
    cues: tuple[Cue, ...] = ()
    by: str = ""


Part = Delta | Cue | SpokenPart
"""Text still being written; a request to the face or body; a sentence with its sound."""


@dataclass(frozen=True, slots=True)
class ExpressionRequest:
    """A face that a character shall show.

    Attributes:
        name: Name or number, as its rig has it.
        duration_ms: 0 = until changed.
        priority: Higher wins.
        owner: Who asks ("api", "chat", "client").
    """

    name: str | int
    duration_ms: float = 0.0
    priority: int = 0
    transition: Transition = "smooth"
    owner: str = "api"


@dataclass(frozen=True, slots=True)
class MotionRequest:
    """A motion that a character shall make: by name, or by group and index.

    Attributes:
        name: Empty = ``group`` and ``index`` say which.
    """

    name: str = ""
    group: str = ""
    index: int = 0
    loop: bool = False
    priority: int = 0
    owner: str = "api"


class Body(Protocol):
    """The avatars of this program, as an adapter moves them; `avatar.cues.Cues` does it."""

    def express(
        self,
        character: Character,
        wanted: int | str,
        *,
        owner: str,
        duration_ms: float | None = None,
        priority: int = 0,
        transition: Transition = "smooth",
    ) -> AvatarShown:
        """Show it, or raise an `AppError` that lists what there is."""
        ...

    def perform(
        self,
        character: Character,
        *,
        owner: str,
        group: str | None = None,
        index: int = 0,
        name: str | None = None,
        loop: bool = False,
        priority: int = 0,
    ) -> AvatarShown:
        """Play it, or raise an `AppError` that lists what there is."""
        ...

    def shown(self, character: Character) -> AvatarShown:
        """What is shown now."""
        ...


class BackendAdapter(Protocol):
    """Who answers in one mode."""

    name: ModeName

    can_think_ahead: bool
    """Whether a reply may be begun and thrown away without a trace; False where a server would remember it."""

    @property
    def setting(self) -> str:
        """The setting that decides who answers ("LLM_PROVIDER"), for traces."""
        ...

    @property
    def who(self) -> str:
        """Who would answer now ("openrouter, model x"), for traces and the window."""
        ...

    @property
    def problem(self) -> str:
        """Why it is not set up, and what to do; empty = it is. Asks nobody: whether it works is `probe`'s answer."""
        ...

    def respond(self, prompt: Prompt) -> AsyncGenerator[Part, None]:
        """Yield the reply; leave early only inside ``aclosing``: closing it stops the work at its source.

        It bounds its own waits: whoever hangs is raised as a failure.

        Raises:
            AppError: It cannot answer. Before the first text or sound the next mode answers in its place; later the
                reply ends there.
        """
        ...

    def generate_text(self, prompt: Prompt) -> AsyncGenerator[Delta, None]:
        """Text alone, piece by piece, that belongs to no conversation; its errors are those of `respond`.

        Pieces say who wrote them and what it took, where that is known.
        """
        ...

    async def played(self, prompt: Prompt) -> None:
        """All of the reply to this prompt has been heard, or nobody listens. Never raises `AppError`."""
        ...

    async def interrupted(self, prompt: Prompt, heard: str) -> None:
        """The reply to this prompt was cut short, its stream is closed; ``heard`` is what was heard of it.

        For servers that keep a history of their own. Never raises `AppError`.
        """
        ...

    async def trigger_expression(self, character: Character, request: ExpressionRequest) -> None:
        """Show a face.

        Raises:
            AppError: There is no such face; lists those that exist.
        """
        ...

    async def trigger_motion(self, character: Character, request: MotionRequest) -> None:
        """Make a motion.

        Raises:
            AppError: There is no such motion; lists those that exist.
        """
        ...

    async def get_character_state(self, character: Character) -> AvatarShown:
        """What the character shows now."""
        ...

    async def health(self) -> ModeHealth:
        """Whether it is set up and who would answer, with what is known of it; asks nobody.

        `Modes` adds what it knows of failures (`is_resting`, `next_probe_s`).
        """
        ...

    async def probe(self) -> str:
        """Ask cheaply whether it would work, and say so in one line.

        Raises:
            AppError: It would not; says why and what to do.
        """
        ...

    async def close(self) -> None:
        """Let go of connections; nothing of it runs any more."""
        ...


class InHouse(ABC):
    """What the modes share whose character is drawn by this program: the avatar calls, and plain answers to the rest."""

    name: ModeName
    can_think_ahead = True

    def __init__(self, body: Body) -> None:
        self._body = body

    @property
    def setting(self) -> str:
        """See `BackendAdapter`."""
        return "BACKEND_MODE"

    @property
    def who(self) -> str:
        """See `BackendAdapter`."""
        return self.name

    @property
    def problem(self) -> str:
        """See `BackendAdapter`."""
        return ""

    @abstractmethod
    def respond(self, prompt: Prompt) -> AsyncGenerator[Part, None]:
        """See `BackendAdapter`."""

    def generate_text(self, prompt: Prompt) -> AsyncGenerator[Delta, None]:
        """See `BackendAdapter`."""
        return text_of(self.respond(prompt))

    async def played(self, prompt: Prompt) -> None:
        """Nothing to tell: nobody waits for it."""
        return None

    async def interrupted(self, prompt: Prompt, heard: str) -> None:
        """Nothing to tell: the history that counts is ours."""
        return None

    async def trigger_expression(self, character: Character, request: ExpressionRequest) -> None:
        """See `BackendAdapter`."""
        self._body.express(
            character,
            request.name,
            owner=request.owner,
            duration_ms=request.duration_ms,
            priority=request.priority,
            transition=request.transition,
        )

    async def trigger_motion(self, character: Character, request: MotionRequest) -> None:
        """See `BackendAdapter`."""
        self._body.perform(
            character,
            owner=request.owner,
            group=request.group,
            index=request.index,
            name=request.name or None,
            loop=request.loop,
            priority=request.priority,
        )

    async def get_character_state(self, character: Character) -> AvatarShown:
        """See `BackendAdapter`."""
        return self._body.shown(character)

    async def health(self) -> ModeHealth:
        """See `BackendAdapter`."""
        return ModeHealth(
            mode=self.name, is_available=not self.problem, detail=self.problem or self.who
        )

    async def close(self) -> None:
        """Nothing is held."""
        return None


async def text_of(parts: AsyncGenerator[Part, None]) -> AsyncGenerator[Delta, None]:
    """The text of a reply's parts, piece by piece, with what is known of its writer; closes them."""
    async with aclosing(parts):
        async for part in parts:
            if isinstance(part, SpokenPart):
                yield Delta(part.text + " ", by=part.by)
            elif isinstance(part, Delta):
                yield part


class Mind(Protocol):
    """Whoever answers one turn: an adapter and those that take over when it fails; see `switch.Modes.mind`."""

    @property
    def mode(self) -> ModeName:
        """Whose reply it is, or would be now."""
        ...

    @property
    def can_think_ahead(self) -> bool:
        """Whether a reply may be begun and thrown away without a trace."""
        ...

    @property
    def who(self) -> str:
        """Who would answer now ("openrouter, model x")."""
        ...

    def words(self, by: str) -> str:
        """What answered, for a trace: its setting, who it was, and the mode."""
        ...

    def is_like(self, other: Mind) -> bool:
        """Whether ``other`` would be asked in the same order with the same settings."""
        ...

    def respond(self, prompt: Prompt) -> AsyncGenerator[Part, None]:
        """As `BackendAdapter.respond`; fails only when nobody is left who could take over."""
        ...

    async def played(self, prompt: Prompt) -> None:
        """All of the reply was heard; told to the one that gave it."""
        ...

    async def interrupted(self, prompt: Prompt, heard: str) -> None:
        """The reply was cut short; told to the one that gave it."""
        ...
