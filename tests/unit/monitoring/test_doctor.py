"""The check-up's runner: every check costs its own line and nothing else, a turn goes first, no secret gets out."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from backend.contracts.checkup import CheckupReport, report_text
from backend.contracts.errors import ConflictError, EngineUnavailableError
from backend.core.bus import EventBus
from backend.core.logs import REDACTOR
from backend.monitoring.doctor import Check, Doctor, Outcome
from tests.fakes import Watch

Run = Callable[[], Awaitable[Outcome]]


class World:
    """A doctor, what it publishes, and who wants the live path."""

    def __init__(self, seen: Watch, bus: EventBus) -> None:
        self.seen = seen
        self.wanted = ""
        self.doctor = Doctor(bus, is_wanted=lambda: self.wanted, about="1", total_s=5.0)

    async def check(self, *checks: Check, **more: dict[str, str]) -> dict[str, tuple[str, str]]:
        """Run and return state and detail by name."""
        self.doctor.start(checks, **more)
        return states(await self.doctor.wait())


def states(report: CheckupReport) -> dict[str, tuple[str, str]]:
    return {line.name: (line.state, line.detail) for line in report.lines}


@pytest.fixture
async def world() -> AsyncIterator[World]:
    bus = EventBus()
    bus.bind(asyncio.get_running_loop())
    async with Watch(bus) as seen:
        made = World(seen, bus)
        yield made
        await made.doctor.cancel()


def check(name: str, run: Run, **more: object) -> Check:
    return Check(name, name.title(), run, **more)  # type: ignore[arg-type]  # tests name what they change


async def fine() -> Outcome:
    return Outcome("green", "well")


async def for_ever() -> Outcome:
    await asyncio.Event().wait()
    raise AssertionError


async def test_lines_are_in_the_order_given_and_told_as_they_come(world: World) -> None:
    go = asyncio.Event()

    async def slow() -> Outcome:
        await go.wait()
        return Outcome("amber", "late", "hurry")

    world.doctor.start([check("a", slow), check("b", fine)])
    await world.seen.until("checkup.line", 3)
    assert [line.state for line in world.doctor.report.lines] == ["running", "green"]
    assert world.doctor.report.state == "running"
    go.set()
    report = await world.doctor.wait()
    assert [line.name for line in report.lines] == ["a", "b"]
    assert report.verdict == "Everything works; look at: A."
    finished = await world.seen.until("checkup.finished")
    assert (finished.green, finished.amber, finished.red) == (1, 1, 0)  # type: ignore[union-attr]
    assert finished.severity == "WARNING"


async def test_a_check_that_raises_costs_its_own_line(world: World) -> None:
    async def known() -> Outcome:
        raise EngineUnavailableError("No voice. Import one.")

    async def unknown() -> Outcome:
        raise ZeroDivisionError("oops")

    world.doctor.start(
        [check("a", known, setting="TTS_CHAIN"), check("b", unknown), check("c", fine)]
    )
    a, b, c = (await world.doctor.wait()).lines
    assert (a.state, a.detail, a.fix, a.setting) == ("red", "No voice.", "Import one.", "TTS_CHAIN")
    assert b.state == "red"
    assert "ZeroDivisionError: oops" in b.detail
    assert b.fix == "The log has the details."
    assert c.state == "green"


async def test_a_check_has_its_time_and_no_more(world: World) -> None:
    found = await world.check(check("a", for_ever, limit_s=0.02), check("b", fine))
    assert found == {"a": ("red", "It did not end within 0.02 s."), "b": ("green", "well")}


async def test_a_check_that_refuses_to_end_is_left_behind(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("backend.monitoring.doctor.UNWILLING_S", 0.01)
    release = asyncio.Event()

    async def stubborn() -> Outcome:
        while not release.is_set():
            try:
                await release.wait()
            except asyncio.CancelledError:
                continue
        raise RuntimeError("much too late")

    found = await world.check(check("a", stubborn, limit_s=0.01), check("b", fine))
    assert found["a"][0] == "red"
    assert found["b"][0] == "green"
    release.set()
    await world.seen.settle()


async def test_the_whole_has_its_time(world: World) -> None:
    doctor = world.doctor
    doctor._total_s = 0.02
    found = await world.check(check("a", for_ever), check("b", fine))
    assert found == {
        "a": ("left_out", "The check-up took too long as a whole."),
        "b": ("green", "well"),
    }


async def test_one_lane_runs_one_after_the_other_beside_the_rest(world: World) -> None:
    running = 0
    most = {"lane": 0}
    both = asyncio.Barrier(2)

    async def alone() -> Outcome:
        nonlocal running
        running += 1
        most["lane"] = max(most["lane"], running)
        await asyncio.sleep(0)
        running -= 1
        return Outcome("green", "")

    async def together() -> Outcome:
        await both.wait()
        return Outcome("green", "")

    found = await world.check(
        *(check(f"lane{n}", alone, lane="sound") for n in range(3)),
        *(check(f"free{n}", together) for n in range(2)),
    )
    assert {state for state, _ in found.values()} == {"green"}
    assert most["lane"] == 1


async def test_a_check_of_a_lane_that_hangs_does_not_stop_the_next_one(world: World) -> None:
    found = await world.check(
        check("a", for_ever, lane="sound", limit_s=0.01), check("b", fine, lane="sound")
    )
    assert [state for state, _ in found.values()] == ["red", "green"]


async def test_cancelling_keeps_what_was_found(world: World) -> None:
    ended = asyncio.Event()

    async def waits() -> Outcome:
        try:
            return await for_ever()
        finally:
            ended.set()

    world.doctor.start([check("a", fine), check("b", waits), check("c", fine, lane="x")])
    await world.seen.until("checkup.line", 5)
    report = await world.doctor.cancel()
    assert ended.is_set()
    assert report.state == "cancelled"
    assert states(report)["a"] == ("green", "well")
    assert states(report)["b"] == ("left_out", "The check-up was cancelled.")
    assert report.verdict == "Cancelled."
    assert (await world.doctor.cancel()).state == "cancelled", "twice does no harm"


async def test_it_refuses_while_a_turn_runs_and_while_it_runs_itself(world: World) -> None:
    world.wanted = "A turn is being answered."
    with pytest.raises(ConflictError, match="A turn is being answered"):
        world.doctor.start([check("a", fine)])
    assert world.doctor.report.state == "never"
    world.wanted = ""
    world.doctor.start([check("a", for_ever)])
    with pytest.raises(ConflictError, match="runs already"):
        world.doctor.start([check("a", fine)])


async def test_a_turn_that_begins_stops_what_would_disturb_it(world: World) -> None:
    ended = asyncio.Event()

    async def sounds() -> Outcome:
        world.wanted = "A turn is being answered."
        try:
            return await for_ever()
        finally:
            ended.set()

    found = await world.check(
        check("output", sounds, lane="sound", gives_way=True),
        check("next", fine, lane="sound", gives_way=True),
        check("disk", fine),
    )
    assert ended.is_set()
    assert found == {
        "output": ("left_out", "A turn is being answered."),
        "next": ("left_out", "A turn is being answered."),
        "disk": ("green", "well"),
    }


async def test_what_is_not_wanted_is_left_out_with_the_reason(world: World) -> None:
    found = await world.check(
        check("microphone", for_ever), check("b", fine), left_out={"microphone": "not asked for"}
    )
    assert found["microphone"] == ("left_out", "not asked for")
    assert world.doctor.report.verdict == "Everything works. 1 left out."


async def test_no_secret_is_in_report_text_or_events(world: World) -> None:
    key = "sk-live-3f9c1b77d2aa4e"
    odd = "hunter22-very-own-token"
    REDACTOR.add(odd)

    async def chatty() -> Outcome:
        return Outcome("red", f"refused key {key} at http://me:pass1234@host/?token=abcdef123", odd)

    async def raises() -> Outcome:
        raise RuntimeError(f"Authorization: Bearer {odd}")

    async def provider() -> Outcome:
        raise EngineUnavailableError(f"Key {key} is wrong. Type {odd} anew.")

    await world.check(check("a", chatty), check("b", raises), check("c", provider))
    await world.seen.until("checkup.finished")
    everything = report_text(world.doctor.report) + world.doctor.report.model_dump_json()
    everything += "".join(event.own_json() + event.sentence() for event in world.seen.events)
    for secret in (key, odd, "pass1234", "abcdef123"):
        assert secret not in everything
    assert "[hidden]" in everything


async def test_words_are_one_line_and_bounded(world: World) -> None:
    async def evil() -> Outcome:
        return Outcome("amber", "a\nb\u202ec\x1b[31m" + "W" * 5_000)

    found = await world.check(check("a", evil))
    assert found["a"][1].startswith("a b c [31mWWW")
    assert len(found["a"][1]) == 600


async def test_the_text_of_a_report_says_state_and_fix_in_words(world: World) -> None:
    async def bad() -> Outcome:
        return Outcome("red", "No room.", "Make room.")

    await world.check(check("disk", bad), check("clock", fine))
    text = report_text(world.doctor.report)
    assert "BROKEN      Disk: No room.\n            -> Make room.\n" in text
    assert "works       Clock: well" in text
    assert text.endswith("\nBroken: Disk.\n")
