"""Who answers one turn: the modes in their order, one language model alone, or both as a language model."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import replace
from typing import Protocol

from backend.contracts.entities import Cue
from backend.contracts.errors import AppError, EngineFailedError, ProviderError
from backend.contracts.modes import ModeName
from backend.engines.llm.base import LLM, Delta, Prompt
from backend.engines.llm.options import OnRetry
from backend.modes.base import BackendAdapter, Mind, Part, SpokenPart, text_of

logger = logging.getLogger(__name__)

TELL_S = 0.5
"""Longest wait for a server to be told what was heard: the next turn waits behind it."""


class Watcher(Protocol):
    """Who is told how the modes do; `switch.Modes` is."""

    on_retry: OnRetry

    def using(self, adapter: BackendAdapter) -> None:
        """A reply of it begins."""
        ...

    def used(self, adapter: BackendAdapter) -> None:
        """A reply of it has ended, however."""
        ...

    def answered(self, adapter: BackendAdapter) -> None:
        """It gave a whole reply."""
        ...

    def failed(self, adapter: BackendAdapter, error: AppError) -> None:
        """It failed."""
        ...


class InOrder:
    """The modes that are asked for one turn, one after the other until one begins to answer."""

    def __init__(
        self,
        modes: Watcher,
        adapters: list[BackendAdapter],
        version: int,
        *,
        is_turn: bool = True,
    ) -> None:
        self._modes = modes
        self._adapters = adapters
        self._version = version
        self._is_turn = is_turn
        self._gave: BackendAdapter | None = None

    @property
    def _first(self) -> BackendAdapter:
        return self._gave or self._adapters[0]

    @property
    def mode(self) -> ModeName:
        return self._first.name

    @property
    def can_think_ahead(self) -> bool:
        return self._adapters[0].can_think_ahead

    @property
    def who(self) -> str:
        return self._first.who

    def words(self, by: str) -> str:
        adapter = self._first
        return f"{adapter.setting}: {by or adapter.who}; mode {adapter.name}"

    def is_like(self, other: Mind) -> bool:
        return (
            isinstance(other, InOrder)
            and other._version == self._version
            and len(other._adapters) == len(self._adapters)
            and all(a is b for a, b in zip(other._adapters, self._adapters, strict=True))
        )

    async def respond(self, prompt: Prompt) -> AsyncGenerator[Part, None]:
        for place, adapter in enumerate(self._adapters):
            following = self._adapters[place + 1] if place + 1 < len(self._adapters) else None
            self._modes.using(adapter)
            try:
                async with aclosing(self._one(adapter, prompt)) as parts:
                    async for part in parts:
                        yield part
                if self._is_turn:
                    self._modes.answered(adapter)
                return
            except AppError as error:
                if self._is_turn:
                    self._modes.failed(adapter, error)
                if following is None or self._gave is not None:
                    raise
                kind = error.kind if isinstance(error, ProviderError) else "unavailable"
                name = error.provider if isinstance(error, ProviderError) else adapter.name
                successor = following.who.partition(",")[0]
                self._modes.on_retry(name, successor, kind, error.message, 0.0)
            finally:
                self._modes.used(adapter)

    async def _one(self, adapter: BackendAdapter, prompt: Prompt) -> AsyncGenerator[Part, None]:
        """What one mode gives; cues wait for the first words, so that a failure leaves no face behind."""
        waiting: list[Part] = []
        try:
            stream: AsyncGenerator[Part, None]
            stream = adapter.respond(prompt) if self._is_turn else adapter.generate_text(prompt)
            async with aclosing(stream) as parts:
                async for part in parts:
                    if self._gave is None:
                        if isinstance(part, Cue):
                            waiting.append(part)
                            continue
                        if _says_something(part):
                            self._gave = adapter
                            for cue in waiting:
                                yield cue
                            if isinstance(part, Delta) and not part.by:
                                part = replace(part, by=adapter.who)
                    yield part
        except AppError:
            raise
        except Exception as error:  # a bug in one mode costs it this turn, not the message
            logger.exception("mode %s failed", adapter.name)
            raise EngineFailedError(
                f"The mode {adapter.name} failed inside Luma ({type(error).__name__}); the log says where."
            ) from error
        if self._gave is None:
            raise ProviderError(
                f"{adapter.who} sent an empty reply. Try again, or choose another model or mode.",
                kind="malformed",
                provider=adapter.who.partition(",")[0],
            )

    async def probe(self) -> str:
        return await self._first.probe()

    async def played(self, prompt: Prompt) -> None:
        if self._gave is not None:
            await _told(self._gave, self._gave.played(prompt))

    async def interrupted(self, prompt: Prompt, heard: str) -> None:
        if self._gave is not None:
            await _told(self._gave, self._gave.interrupted(prompt, heard))


class AsModel:
    """Modes as a language model."""

    model = ""

    def __init__(self, order: InOrder) -> None:
        self._order = order
        self.name = order.who.partition(",")[0]

    def stream(self, prompt: Prompt) -> AsyncGenerator[Delta, None]:
        return text_of(self._order.respond(prompt))

    async def check(self) -> str:
        return await self._order.probe()

    async def close(self) -> None:
        """The modes go on."""


class Alone:
    """One language model that answers, with nobody to stand in: for rehearsals, and runners without modes.

    Args:
        llm: Who writes.
    """

    mode: ModeName = "external-api"
    can_think_ahead = True

    def __init__(self, llm: LLM) -> None:
        self._llm = llm

    @property
    def who(self) -> str:
        """Its name and model."""
        return self._llm.name + (f", model {self._llm.model}" if self._llm.model else "")

    def words(self, by: str) -> str:
        """See `Mind`."""
        return f"LLM_PROVIDER: {by or self.who}"

    def is_like(self, other: Mind) -> bool:
        """See `Mind`."""
        return isinstance(other, Alone) and other._llm is self._llm

    def respond(self, prompt: Prompt) -> AsyncGenerator[Part, None]:
        """See `Mind`."""
        return self._llm.stream(prompt)

    async def played(self, prompt: Prompt) -> None:
        """Nobody is told."""
        return None

    async def interrupted(self, prompt: Prompt, heard: str) -> None:
        """Nobody is told."""
        return None


def alone(llm: Callable[[], LLM]) -> Callable[[str], Mind]:
    """What a turn asks for who answers, where there are no modes."""
    return lambda conversation_id: Alone(llm())


def _says_something(part: Part) -> bool:
    if isinstance(part, SpokenPart):
        return bool(part.text.strip()) or part.audio is not None
    return isinstance(part, Delta) and bool(part.text)


async def _told(adapter: BackendAdapter, telling: Awaitable[None]) -> None:
    try:
        async with asyncio.timeout(TELL_S):
            await telling
    except (AppError, TimeoutError) as error:
        logger.warning("mode %s was not told how its reply went: %s", adapter.name, error)
    except Exception:  # a bug in one mode must not cost the turn, which is whole and not stored yet
        logger.exception("mode %s failed when it was told how its reply went", adapter.name)
