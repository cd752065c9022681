"""Pages that play the stage: counted, and missed once."""

from __future__ import annotations

import asyncio

from backend.core.bus import EventBus
from backend.playback.listeners import Listeners
from tests.fakes import Watch


def made() -> tuple[EventBus, Listeners]:
    bus = EventBus()
    bus.bind(asyncio.get_running_loop())
    return bus, Listeners(bus)


async def test_a_page_counts_as_long_as_it_is_there() -> None:
    _, listeners = made()
    with listeners.joined():
        with listeners.joined():
            assert listeners.count == 2
            assert "2 pages" in listeners.health().detail
        assert listeners.health().state == "ready"
        assert "1 page " in listeners.health().detail
    assert listeners.count == 0
    assert listeners.health().state == "off"


async def test_playing_for_nobody_is_told_once_with_what_to_do() -> None:
    bus, listeners = made()
    async with Watch(bus) as seen:
        for _ in range(3):
            listeners.played_for(0)
        await seen.settle()
    (told,) = seen.of("error.occurred")
    assert told.severity == "WARNING"
    assert "AUDIO_SINK=speaker" in listeners.problem
    assert listeners.health().state == "degraded"
    assert listeners.health().fix


async def test_the_trouble_is_over_when_a_page_comes_and_told_again_later() -> None:
    bus, listeners = made()
    async with Watch(bus) as seen:
        listeners.played_for(0)
        with listeners.joined():
            assert listeners.problem == ""
            listeners.played_for(1)
        listeners.played_for(0)
        await seen.settle()
    assert len(seen.of("error.occurred")) == 2
    listeners.forget()
    assert listeners.problem == ""
