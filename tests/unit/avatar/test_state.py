"""Faces: who shows what, for how long."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from backend.avatar.state import AT_REST, AvatarState
from backend.contracts.errors import InvalidInputError
from backend.contracts.events import AnyEvent, AvatarChanged
from backend.core.bus import EventBus, Subscription


@pytest.fixture
def bus() -> EventBus:
    return EventBus()


@pytest.fixture
def seen(bus: EventBus) -> Iterator[Subscription]:
    with bus.subscribe() as subscription:
        yield subscription


async def changes(seen: Subscription) -> list[AnyEvent]:
    return [item.event for item in await asyncio.wait_for(seen.take(), 5)]


async def test_an_expression_is_shown_and_told(bus: EventBus, seen: Subscription) -> None:
    state = AvatarState(bus)
    state.show("hoshi", "joy", owner="chat", turn_id="t1")
    (event,) = await changes(seen)
    assert isinstance(event, AvatarChanged)
    assert (event.expression, event.owner, event.character_id) == ("joy", "chat", "hoshi")
    assert event.turn_id == "t1"
    assert state.current("hoshi").expression == "joy"
    assert state.current("sumi") == AT_REST


async def test_it_returns_to_neutral_when_its_time_is_over(
    bus: EventBus, seen: Subscription
) -> None:
    state = AvatarState(bus)
    state.show("hoshi", "angry", owner="chat", duration_ms=10)
    assert state.current("hoshi").until is not None
    await changes(seen)
    (event,) = await changes(seen)
    assert isinstance(event, AvatarChanged)
    assert event.expression == "neutral"
    assert state.current("hoshi") == AT_REST


async def test_the_timer_of_a_replaced_expression_does_nothing(
    bus: EventBus, seen: Subscription
) -> None:
    state = AvatarState(bus)
    state.show("hoshi", "angry", owner="chat", duration_ms=5)
    state.show("hoshi", "joy", owner="api")
    state.show("sumi", "sad", owner="chat", duration_ms=30)
    shown: list[str] = []
    while len(shown) < 4:  # sumi's return proves that hoshi's time has passed too
        shown += [
            f"{event.character_id} {event.expression}"
            for event in await changes(seen)
            if isinstance(event, AvatarChanged)
        ]
    assert shown == ["hoshi angry", "hoshi joy", "sumi sad", "sumi neutral"]
    assert state.current("hoshi").expression == "joy"


async def test_only_its_owner_can_release_an_expression(bus: EventBus) -> None:
    state = AvatarState(bus)
    state.show("hoshi", "love", owner="command")
    assert not state.release("hoshi", owner="chat")
    assert state.current("hoshi").expression == "love"
    assert state.release("hoshi", owner="command")
    assert state.current("hoshi") == AT_REST


async def test_showing_the_same_again_is_not_told_twice(bus: EventBus, seen: Subscription) -> None:
    state = AvatarState(bus)
    state.show("hoshi", "joy", owner="chat")
    state.show("hoshi", "joy", owner="chat", duration_ms=60_000)
    assert len(await changes(seen)) == 1
    state.close()


@pytest.mark.parametrize("duration", [-1, 1e12])
async def test_an_impossible_duration_is_refused(bus: EventBus, duration: float) -> None:
    with pytest.raises(InvalidInputError, match="cannot last"):
        AvatarState(bus).show("hoshi", "joy", owner="api", duration_ms=duration)
