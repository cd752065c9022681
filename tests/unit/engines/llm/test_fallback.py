"""Trying again, moving on, and leaving alone what is down."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence

import pytest

from backend.contracts.errors import (
    AppError,
    EngineUnavailableError,
    ProviderError,
    ProviderFailure,
)
from backend.engines.llm.base import LLM, Delta, Message, Prompt
from backend.engines.llm.fallback import Fallback
from backend.engines.llm.options import FallbackOptions, RetryPolicy

PROMPT = Prompt((Message("user", "hello"),))


def failure(kind: ProviderFailure, wait_s: float | None = None) -> ProviderError:
    return ProviderError(f"it is {kind}.", kind=kind, provider="first", retry_after_s=wait_s)


class Scripted:
    """Plays one list per turn: words are said, errors are raised."""

    model = "m"

    def __init__(self, name: str, *turns: Sequence[str | AppError]) -> None:
        self.name = name
        self.turns = list(turns)
        self.asked = 0
        self.closed = False

    async def stream(self, prompt: Prompt) -> AsyncGenerator[Delta, None]:
        self.asked += 1
        for step in self.turns.pop(0) if self.turns else ["fine"]:
            if isinstance(step, AppError):
                raise step
            yield Delta(step)

    async def check(self) -> str:
        if self.turns and isinstance(self.turns[0][0], AppError):
            raise self.turns[0][0]
        return "ready"

    async def close(self) -> None:
        self.closed = True


class Bench:
    """A fallback with a clock that only waiting moves."""

    def __init__(self, *engines: LLM, **policy: float) -> None:
        self.now_s = 1000.0
        self.waits: list[float] = []
        self.told: list[tuple[str, str, str, float]] = []
        options = FallbackOptions(
            engines,
            RetryPolicy(**policy),  # type: ignore[arg-type]  # counts and seconds
            lambda engine, following, kind, reason, wait: self.told.append(
                (engine, following, kind, wait)
            ),
        )
        self.llm = Fallback(options, now_s=lambda: self.now_s, sleep=self.sleep, jitter=lambda: 1.0)

    async def sleep(self, seconds: float) -> None:
        self.waits.append(seconds)
        self.now_s += seconds

    async def say(self) -> str:
        return "".join([delta.text async for delta in self.llm.stream(PROMPT)])


async def test_the_first_engine_that_works_answers_and_says_who_it_is() -> None:
    first = Scripted("first", ["one ", "two"])
    bench = Bench(first, Scripted("second"))
    found = [delta async for delta in bench.llm.stream(PROMPT)]
    assert [(delta.text, delta.by) for delta in found] == [("one ", "first, model m"), ("two", "")]
    assert bench.told == []


async def test_a_failure_that_may_pass_is_tried_again_with_growing_waits() -> None:
    bench = Bench(Scripted("first", [failure("server")], [failure("unreachable")], ["back"]))
    assert await bench.say() == "back"
    assert bench.waits == [0.4, 0.8]
    assert bench.told == [("first", "first", "server", 0.4), ("first", "first", "unreachable", 0.8)]


async def test_waits_are_spread_by_the_dice() -> None:
    bench = Bench(Scripted("first", [failure("server")]))
    bench.llm._jitter = lambda: 0.0
    await bench.say()
    assert bench.waits == [0.2]


async def test_retries_are_bounded_and_then_the_next_engine_answers() -> None:
    first = Scripted("first", *[[failure("server")]] * 9)
    bench = Bench(first, Scripted("second", ["hi"]))
    assert await bench.say() == "hi"
    assert first.asked == 3
    assert bench.told[-1] == ("first", "second", "server", 0.0)


@pytest.mark.parametrize("kind", ["key", "quota", "request", "stalled"])
async def test_what_will_not_pass_moves_on_at_once(kind: ProviderFailure) -> None:
    first = Scripted("first", [failure(kind)])
    bench = Bench(first, Scripted("second", ["hi"]))
    assert await bench.say() == "hi"
    assert first.asked == 1
    assert bench.waits == []
    assert bench.told == [("first", "second", kind, 0.0)]


async def test_a_missing_key_moves_on_and_is_told() -> None:
    first = Scripted("first", [EngineUnavailableError("set KEY")])
    bench = Bench(first, Scripted("second", ["hi"]))
    assert await bench.say() == "hi"
    assert bench.told == [("first", "second", "unavailable", 0.0)]


async def test_retry_after_is_respected_up_to_a_cap() -> None:
    bench = Bench(Scripted("first", [failure("rate", 3.0)], ["ok"]))
    assert await bench.say() == "ok"
    assert bench.waits == [3.0]
    long = Bench(Scripted("first", [failure("rate", 60.0)]), Scripted("second", ["hi"]))
    assert await long.say() == "hi"
    assert long.waits == []


async def test_a_limited_engine_is_left_alone_until_its_time_has_come() -> None:
    first = Scripted("first", [failure("rate", 60.0)])
    bench = Bench(first, Scripted("second"))
    await bench.say()
    bench.now_s += 59
    await bench.say()
    assert first.asked == 1
    assert bench.told[-1][:3] == ("first", "second", "rate")
    bench.now_s += 2
    await bench.say()
    assert first.asked == 2


@pytest.mark.parametrize("kind", ["key", "quota"])
async def test_an_engine_without_key_or_credit_is_skipped_for_a_while(
    kind: ProviderFailure,
) -> None:
    first = Scripted("first", [failure(kind)])
    bench = Bench(first, Scripted("second"), key_pause_s=100.0)
    await bench.say()
    bench.now_s += 99
    await bench.say()
    assert first.asked == 1
    bench.now_s += 2
    await bench.say()
    assert first.asked == 2


async def test_an_engine_that_hangs_twice_is_not_waited_for_a_third_time() -> None:
    first = Scripted("first", *[[failure("stalled")]] * 3)
    bench = Bench(first, Scripted("second"))
    for _ in range(4):
        await bench.say()
    assert first.asked == 2
    bench.now_s += 31
    await bench.say()
    assert first.asked == 3


async def test_after_the_first_token_nothing_is_repeated() -> None:
    first = Scripted("first", ["one ", failure("server")])
    second = Scripted("second")
    bench = Bench(first, second)
    said: list[str] = []

    async def read() -> None:
        async for delta in bench.llm.stream(PROMPT):
            said.append(delta.text)

    with pytest.raises(ProviderError, match="it is server"):
        await read()
    assert said == ["one "]
    assert second.asked == 0
    assert bench.told == []


async def test_when_everything_fails_the_last_failure_rises() -> None:
    bench = Bench(Scripted("first", [failure("key")]), Scripted("second", [failure("quota")]))
    with pytest.raises(ProviderError, match="it is quota"):
        await bench.say()


async def test_when_everything_is_left_alone_the_one_that_is_free_first_is_asked() -> None:
    first = Scripted("first", [failure("key")])
    second = Scripted("second", [failure("rate", 10.0)])
    bench = Bench(first, second)
    with pytest.raises(ProviderError):
        await bench.say()
    assert await bench.say() == "fine"
    assert (first.asked, second.asked) == (1, 2)


async def test_a_reply_makes_an_engine_whole_again() -> None:
    first = Scripted("first", [failure("stalled")], ["ok"], [failure("stalled")], ["ok"])
    bench = Bench(first, Scripted("second"))
    assert [await bench.say() for _ in range(4)] == ["fine", "ok", "fine", "ok"]


async def test_check_says_who_answers_instead_and_why() -> None:
    bench = Bench(Scripted("first", [failure("key")]), Scripted("second"))
    assert await bench.llm.check() == "second answers instead (ready), because: it is key."


async def test_closing_closes_every_engine() -> None:
    first, second = Scripted("first"), Scripted("second")
    await Bench(first, second).llm.close()
    assert first.closed
    assert second.closed


async def test_cancelling_while_it_waits_ends_at_once() -> None:
    options = FallbackOptions([Scripted("first", *[[failure("server")]] * 5)])
    waiting = asyncio.Event()

    async def forever(_: float) -> None:
        waiting.set()
        await asyncio.Event().wait()

    llm = Fallback(options, sleep=forever)

    async def run() -> None:
        async for _ in llm.stream(PROMPT):
            pass

    task = asyncio.create_task(run())
    await waiting.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


def test_no_engine_at_all_is_refused() -> None:
    with pytest.raises(EngineUnavailableError, match="LLM_PROVIDER"):
        Fallback(FallbackOptions(()))
