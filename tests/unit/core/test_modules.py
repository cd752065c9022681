"""Modules are switched on and off while the program runs."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import pytest

from backend.contracts.entities import ServiceInfo
from backend.contracts.errors import EngineUnavailableError, NotFoundError
from backend.contracts.events import ServiceChanged
from backend.core.bus import EventBus
from backend.core.modules import Modules


class Kept:
    """What outlives a restart."""

    def __init__(self, states: Mapping[str, bool] = {}) -> None:
        self.states = dict(states)

    async def load(self) -> Mapping[str, bool]:
        return self.states

    async def keep(self, name: str, enabled: bool) -> None:
        self.states[name] = enabled


class Module:
    """A service whose behaviour a test decides."""

    def __init__(self, name: str, log: list[str] | None = None) -> None:
        self.name = name
        self.log = log if log is not None else []
        self.fails: Exception | None = None
        self.gate = asyncio.Event()
        self.gate.set()
        self.sick = False

    async def start(self) -> None:
        await self.gate.wait()
        if self.fails is not None:
            raise self.fails
        self.log.append(f"+{self.name}")

    async def stop(self) -> None:
        await self.gate.wait()
        self.log.append(f"-{self.name}")

    def health(self) -> ServiceInfo:
        if self.sick:
            raise RuntimeError("no idea")
        return ServiceInfo(name=self.name, title=self.name.title(), state="ready")


def build(
    *modules: Module, on: tuple[str, ...] = (), kept: Kept | None = None, timeout_s: float = 5.0
) -> tuple[Modules, EventBus]:
    bus = EventBus()
    bus.bind(asyncio.get_running_loop())
    kept = kept or Kept()
    made = Modules(
        bus,
        modules,
        initially_on=on,
        load=kept.load,
        keep=kept.keep,
        start_timeout_s=timeout_s,
        stop_timeout_s=timeout_s,
    )
    return made, bus


def states(modules: Modules) -> dict[str, str]:
    return {info.name: info.state for info in modules.list()}


async def test_the_settings_decide_until_somebody_switches() -> None:
    kept = Kept()
    modules, _ = build(Module("hear"), Module("speak"), on=("speak",), kept=kept)
    await modules.start()
    assert states(modules) == {"hear": "off", "speak": "ready"}
    await modules.set_enabled("hear", True)
    await modules.set_enabled("speak", False)
    assert kept.states == {"hear": True, "speak": False}

    again, _ = build(Module("hear"), Module("speak"), on=("speak",), kept=kept)
    await again.start()
    assert states(again) == {"hear": "ready", "speak": "off"}
    assert again.is_on("hear")


async def test_every_change_is_an_event() -> None:
    modules, bus = build(Module("hear"))
    await modules.start()
    with bus.subscribe(wanted=lambda event: isinstance(event, ServiceChanged)) as seen:
        await modules.set_enabled("hear", True)
        await modules.set_enabled("hear", True)
        await modules.set_enabled("hear", False)
        items = [item.event for item in await seen.take()]
    found = [event.service.state for event in items if isinstance(event, ServiceChanged)]
    assert found == ["starting", "ready", "off"]


async def test_one_that_fails_stops_no_other() -> None:
    bad, odd, good = Module("bad"), Module("odd"), Module("good")
    bad.fails = EngineUnavailableError("There is no microphone. Plug one in.")
    odd.fails = ZeroDivisionError("oops")
    modules, _ = build(bad, odd, good, on=("bad", "odd", "good"))
    await modules.start()
    by_name = {info.name: info for info in modules.list()}
    assert by_name["good"].state == "ready"
    assert (by_name["bad"].state, by_name["bad"].enabled) == ("failed", True)
    assert by_name["bad"].error == "There is no microphone. Plug one in."
    assert by_name["odd"].error == "ZeroDivisionError: oops"
    assert bad.log == ["-bad"]  # what it had got hold of is let go


async def test_a_failed_one_can_be_tried_again() -> None:
    module = Module("hear")
    module.fails = EngineUnavailableError("no microphone")
    modules, _ = build(module)
    assert (await modules.set_enabled("hear", True)).state == "failed"
    module.fails = None
    assert (await modules.set_enabled("hear", True)).state == "ready"
    assert (await modules.set_enabled("hear", False)).error == ""


async def test_a_failed_one_that_is_switched_off_is_off() -> None:
    module = Module("hear")
    module.fails = EngineUnavailableError("no microphone")
    modules, _ = build(module)
    await modules.set_enabled("hear", True)
    assert (await modules.set_enabled("hear", False)).state == "off"


async def test_one_that_hangs_is_given_up() -> None:
    slow, good = Module("slow"), Module("good")
    slow.gate.clear()
    modules, _ = build(slow, good, on=("slow", "good"), timeout_s=0.05)
    await modules.start()
    assert states(modules) == {"slow": "failed", "good": "ready"}
    assert "within 0.05 s" in modules.list()[0].error
    await modules.stop()
    assert states(modules)["good"] == "off"


async def test_switching_on_and_off_quickly_ends_as_asked_last() -> None:
    module = Module("hear")
    module.gate.clear()
    modules, _ = build(module)
    switches = [
        asyncio.create_task(modules.set_enabled("hear", on)) for on in (True, False, True, False)
    ]
    await asyncio.sleep(0)
    assert states(modules) == {"hear": "starting"}
    module.gate.set()
    await asyncio.gather(*switches)
    assert states(modules) == {"hear": "off"}
    assert module.log in ([], ["+hear", "-hear"])


async def test_one_that_cannot_tell_how_it_is_shows_as_failed() -> None:
    module = Module("hear")
    modules, _ = build(module, on=("hear",))
    await modules.start()
    module.sick = True
    assert modules.list()[0].state == "failed"


async def test_a_memory_that_fails_leaves_the_settings() -> None:
    class Broken(Kept):
        async def load(self) -> Mapping[str, bool]:
            raise OSError("disk")

    modules, _ = build(Module("hear"), on=("hear",), kept=Broken())
    await modules.start()
    assert states(modules) == {"hear": "ready"}


async def test_a_wrong_name_lists_the_names() -> None:
    modules, _ = build(Module("hear"), Module("speak"))
    with pytest.raises(NotFoundError, match="there are hear, speak"):
        await modules.set_enabled("smell", True)


async def test_stopping_forgets_no_switch() -> None:
    kept = Kept({"hear": True})
    module = Module("hear")
    modules, _ = build(module, kept=kept)
    await modules.start()
    await modules.stop()
    assert module.log == ["+hear", "-hear"]
    assert kept.states == {"hear": True}
