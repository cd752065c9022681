"""Several language models as one: tries again, then the next, and leaves alone for a while what is down.

Only before the first token. After it the reply has begun: a failure then rises, and the caller keeps what was written.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass, replace

from backend.contracts.errors import AppError, EngineUnavailableError, ProviderError
from backend.core import clock
from backend.engines.llm.base import Delta, Prompt
from backend.engines.llm.options import FallbackOptions


@dataclass(slots=True)
class _Health:
    """What is remembered of an engine between turns."""

    failed_turns: int = 0
    skip_until_s: float = 0.0
    reason: str = ""
    kind: str = ""


class Fallback:
    """Engines in the order they are tried.

    Args:
        options: The engines, when to try again, and whom to tell.
        now_s: Monotonic clock, for tests.
        sleep: How to wait, for tests.
        jitter: A number 0-1 for each wait, for tests.
    """

    name = "fallback"

    def __init__(
        self,
        options: FallbackOptions,
        *,
        now_s: Callable[[], float] = clock.monotonic_s,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        jitter: Callable[[], float] = random.random,  # spreads retries, guards nothing
    ) -> None:
        if not options.engines:
            raise EngineUnavailableError("No language model is set: choose one in LLM_PROVIDER.")
        self._options = options
        self._engines = list(options.engines)
        self._health = [_Health() for _ in self._engines]
        self._now_s = now_s
        self._sleep = sleep
        self._jitter = jitter

    @property
    def model(self) -> str:
        """Model of the first engine."""
        return self._engines[0].model

    async def stream(self, prompt: Prompt) -> AsyncGenerator[Delta, None]:
        """Yield the reply of the first engine that begins one; its first piece says whose it is (`Delta.by`).

        Raises:
            ProviderError, EngineUnavailableError: The last engine's failure, or one after the first token.
        """
        order = self._order()
        for place, index in enumerate(order):
            following = order[place + 1] if place + 1 < len(order) else None
            attempt = 0
            while True:
                try:
                    async with aclosing(self._begun(index, prompt)) as deltas:
                        async for delta in deltas:
                            yield delta
                    return
                except _LateFailureError as late:
                    self._note_failure(index, late.error)
                    raise late.error from late.error.__cause__
                except AppError as error:
                    wait_s = self._wait_s(error, attempt)
                    if wait_s is not None:
                        self._tell(index, index, error, wait_s)
                        await self._sleep(wait_s)
                        attempt += 1
                        continue
                    self._note_failure(index, error)
                    if following is None:
                        raise
                    self._tell(index, following, error, 0.0)
                    break

    def troubles(self) -> dict[str, str]:
        """Engines that are left alone right now, and why."""
        now_s = self._now_s()
        return {
            engine.name: health.reason
            for engine, health in zip(self._engines, self._health, strict=True)
            if health.skip_until_s > now_s
        }

    async def check(self) -> str:
        """Check the first engine that would be asked."""
        failure: AppError | None = None
        for engine in self._engines:
            try:
                found = await engine.check()
            except AppError as error:
                failure = failure or error
                continue
            if failure is None:
                return f"{engine.name}: {found}"
            return f"{engine.name} answers instead ({found}), because: {failure.message}"
        assert failure is not None
        raise failure

    async def close(self) -> None:
        """Close every engine."""
        for engine in self._engines:
            await engine.close()

    async def _begun(self, index: int, prompt: Prompt) -> AsyncGenerator[Delta, None]:
        """One attempt; failures after the first text are told apart by their type."""
        engine = self._engines[index]
        spoken = False
        stream = engine.stream(prompt)
        async with aclosing(stream):
            try:
                async for delta in stream:
                    if delta.text and not spoken:
                        spoken = True
                        by = engine.name + (f", model {engine.model}" if engine.model else "")
                        delta = replace(delta, by=delta.by or by)
                    yield delta
            except AppError as error:
                if spoken:
                    raise _LateFailureError(error) from error
                raise
        self._health[index] = _Health()

    def _order(self) -> list[int]:
        """Whom to ask: those not left alone, in order; when all are, the one that is free again first."""
        now_s = self._now_s()
        free = [i for i, health in enumerate(self._health) if health.skip_until_s <= now_s]
        if not free:
            return [min(range(len(self._health)), key=lambda i: self._health[i].skip_until_s)]
        for i in range(free[0]):
            health = self._health[i]
            left_s = health.skip_until_s - now_s
            self._options.on_retry(
                self._engines[i].name,
                self._engines[free[0]].name,
                health.kind,
                f"{health.reason} It is left alone for another {left_s:.0f} s.",
                0.0,
            )
        return free

    def _wait_s(self, error: AppError, attempt: int) -> float | None:
        """How long to wait before the same engine is asked again; None when it should not be."""
        policy = self._options.retry
        if attempt >= policy.retries or not isinstance(error, ProviderError):
            return None
        # What has hung once has used up the listener's patience.
        if not error.retryable or error.kind == "stalled":
            return None
        if error.retry_after_s is not None:
            return error.retry_after_s if error.retry_after_s <= policy.cap_s else None
        if error.kind == "rate" and attempt:
            return None
        longest_s = min(policy.cap_s, policy.base_s * 2**attempt)
        return float(longest_s * (0.5 + 0.5 * self._jitter()))

    def _note_failure(self, index: int, error: AppError) -> None:
        policy = self._options.retry
        health = self._health[index]
        health.failed_turns += 1
        health.reason = error.message
        health.kind = _kind(error)
        pause_s = 0.0
        if health.kind in ("key", "quota"):
            pause_s = policy.key_pause_s
        elif health.kind == "rate":
            asked_s = error.retry_after_s if isinstance(error, ProviderError) else None
            pause_s = policy.rate_pause_s if asked_s is None else asked_s
        elif health.kind in ("unreachable", "server", "stalled", "malformed"):
            pause_s = policy.down_pause_s if health.failed_turns >= policy.down_after else 0.0
        health.skip_until_s = self._now_s() + pause_s

    def _tell(self, index: int, following: int, error: AppError, wait_s: float) -> None:
        self._options.on_retry(
            self._engines[index].name,
            self._engines[following].name,
            _kind(error),
            error.message,
            wait_s,
        )


class _LateFailureError(Exception):
    """A failure after the first text."""

    def __init__(self, error: AppError) -> None:
        super().__init__(error.message)
        self.error = error


def _kind(error: AppError) -> str:
    return error.kind if isinstance(error, ProviderError) else "unavailable"
