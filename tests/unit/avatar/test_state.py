"""What an avatar shows over time, on a clock that is moved by hand: the face, the motion, the timeline, the events."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import pytest

from backend.avatar.show import MOST_WAITING, USUAL_S, WAIT_S
from backend.avatar.state import AvatarState
from backend.contracts.avatar import AvatarShown, Motion
from backend.contracts.errors import InvalidInputError
from backend.contracts.events import AnyEvent, AvatarChanged, AvatarCue
from backend.core.bus import EventBus, Subscription

WAVE = Motion(group="gesture", index=0, name="wave", duration_ms=1000)
NOD = Motion(group="gesture", index=1, name="nod", duration_ms=500)
DANCE = Motion(group="dance", name="dance", duration_ms=4000)
SWAY = Motion(group="dance", index=1, name="sway", duration_ms=4000)


@dataclass
class _Timer:
    due_s: float
    call: Callable[[], None]
    is_on: bool = True

    def cancel(self) -> None:
        self.is_on = False


@dataclass
class Clock:
    """Moved by hand; what is due is called on the way."""

    now_s: float = 100.0
    timers: list[_Timer] = field(default_factory=list)

    def now(self) -> float:
        return self.now_s

    def call_later(self, delay_s: float, call: Callable[[], None]) -> _Timer:
        self.timers.append(timer := _Timer(self.now_s + delay_s, call))
        return timer

    def move(self, seconds: float) -> None:
        end_s = self.now_s + seconds
        while due := [timer for timer in self.timers if timer.is_on and timer.due_s <= end_s]:
            timer = min(due, key=lambda each: each.due_s)
            self.now_s = max(self.now_s, timer.due_s)
            timer.is_on = False
            timer.call()
        self.now_s = end_s
        self.timers = [timer for timer in self.timers if timer.is_on]


@pytest.fixture
def bus() -> EventBus:
    return EventBus()


@pytest.fixture
def seen(bus: EventBus) -> Iterator[Subscription]:
    with bus.subscribe() as subscription:
        yield subscription


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def state(bus: EventBus, clock: Clock) -> AvatarState:
    return AvatarState(bus, now_s=clock.now, call_later=clock.call_later)


async def told(seen: Subscription) -> list[AnyEvent]:
    return [item.event for item in await asyncio.wait_for(seen.take(), 5)]


async def changes(seen: Subscription) -> list[AvatarChanged]:
    return [event for event in await told(seen) if isinstance(event, AvatarChanged)]


def lines(state: AvatarState, character_id: str = "hoshi") -> list[str]:
    return [
        f"{line.owner} {line.name} {line.outcome}" + (f" by {line.by}" if line.by else "")
        for line in state.timeline(character_id)
    ]


def motion(shown: AvatarShown) -> str:
    return shown.motion.name if shown.motion is not None else ""


# --- expressions ---


async def test_an_expression_is_shown_and_told(state: AvatarState, seen: Subscription) -> None:
    state.show("hoshi", "joy", owner="chat", turn_id="t1", transition="instant")
    (event,) = await changes(seen)
    assert (event.expression, event.owner, event.character_id) == ("joy", "chat", "hoshi")
    assert event.turn_id == "t1"
    assert event.shown == state.shown("hoshi")
    assert state.shown("hoshi").transition == "instant"
    assert state.shown("sumi") == AvatarShown(character_id="sumi")


async def test_it_returns_to_neutral_when_its_time_is_over(
    state: AvatarState, clock: Clock, seen: Subscription
) -> None:
    shown = state.show("hoshi", "angry", owner="chat", duration_ms=1500)
    assert shown.until is not None
    clock.move(1.49)
    assert state.shown("hoshi").expression == "angry"
    clock.move(0.01)
    assert state.shown("hoshi") == AvatarShown(character_id="hoshi")
    assert [event.expression for event in await changes(seen)] == ["angry", "neutral"]
    assert not clock.timers


async def test_the_higher_priority_wins_and_of_equals_the_newer(state: AvatarState) -> None:
    state.show("hoshi", "joy", owner="api", priority=5)
    state.show("hoshi", "sad", owner="chat", priority=4)
    assert state.shown("hoshi").expression == "joy"
    state.show("hoshi", "angry", owner="chat", priority=5)
    assert state.shown("hoshi").expression == "angry"
    assert lines(state) == [
        "api joy shown",
        "chat sad waiting by api",
        "chat sad released",
        "api joy preempted by chat",
        "chat angry shown",
    ]


async def test_an_expired_expression_gives_back_to_the_next_that_is_still_valid(
    state: AvatarState, clock: Clock
) -> None:
    state.show("hoshi", "joy", owner="api")
    state.show("hoshi", "sad", owner="chat", duration_ms=1000, priority=1)
    state.show("hoshi", "angry", owner="command", duration_ms=3000, priority=2)
    clock.move(2)
    assert state.shown("hoshi").expression == "angry"
    clock.move(2)
    assert state.shown("hoshi").expression == "joy"
    assert lines(state)[-3:] == ["chat sad expired", "command angry expired", "api joy resumed"]


async def test_until_changed_means_that_the_same_owner_changes_it(state: AvatarState) -> None:
    state.show("hoshi", "joy", owner="api")
    state.show("hoshi", "sad", owner="autonomy")
    state.show("hoshi", "angry", owner="api")
    assert state.release("hoshi", owner="api") == 1
    assert state.shown("hoshi").expression == "sad"


async def test_a_late_timer_finds_what_happened_in_between_in_its_order(
    state: AvatarState, clock: Clock
) -> None:
    state.show("hoshi", "joy", owner="api", duration_ms=3000)
    state.show("hoshi", "sad", owner="chat", duration_ms=1000)
    clock.now_s += 10
    clock.move(0)
    assert lines(state)[-3:] == ["chat sad expired", "api joy resumed", "api joy expired"]
    expired, resumed, last = state.timeline("hoshi")[-3:]
    assert (last.at - expired.at).total_seconds() == pytest.approx(2, abs=0.05)
    assert (resumed.at - expired.at).total_seconds() == pytest.approx(0, abs=0.05)


async def test_only_what_its_owner_asked_for_is_released(state: AvatarState) -> None:
    state.show("hoshi", "love", owner="command")
    assert not state.release("hoshi", owner="chat")
    assert state.shown("hoshi").expression == "love"
    assert state.release("hoshi", owner="command")
    assert state.shown("hoshi").expression == "neutral"
    assert not state.release("sumi")


async def test_showing_the_same_again_is_not_told_twice(
    state: AvatarState, seen: Subscription
) -> None:
    state.show("hoshi", "joy", owner="chat")
    state.show("hoshi", "joy", owner="chat", duration_ms=60_000)
    assert len(await changes(seen)) == 1


async def test_what_is_asked_for_too_often_is_bounded(state: AvatarState) -> None:
    for n in range(30):
        state.show("hoshi", f"face{n}", owner="chat", duration_ms=60_000, priority=n % 3)
    dropped = [line for line in state.timeline("hoshi") if line.outcome == "dropped"]
    assert len(dropped) == 14
    assert {line.priority for line in dropped} == {0, 1}
    assert state.shown("hoshi").expression == "face29"


@pytest.mark.parametrize("duration", [-1, 1e12])
async def test_a_duration_that_makes_no_sense_is_refused(
    state: AvatarState, duration: float
) -> None:
    with pytest.raises(InvalidInputError, match="ms"):
        state.show("hoshi", "joy", owner="api", duration_ms=duration)


# --- motions ---


async def test_a_motion_plays_for_its_length_and_is_told(
    state: AvatarState, clock: Clock, seen: Subscription
) -> None:
    assert motion(state.play("hoshi", WAVE, owner="api")) == "wave"
    clock.move(0.99)
    assert motion(state.shown("hoshi")) == "wave"
    clock.move(0.01)
    assert state.shown("hoshi").motion is None
    assert [event.motion for event in await changes(seen)] == ["wave", ""]


async def test_motions_of_the_same_priority_wait_for_each_other_in_their_order(
    state: AvatarState, clock: Clock
) -> None:
    for each in (WAVE, NOD, WAVE):
        state.play("hoshi", each, owner="api")
    assert [each.name for each in state.shown("hoshi").waiting] == ["nod", "wave"]
    clock.move(1)
    assert motion(state.shown("hoshi")) == "nod"
    clock.move(1.5)
    assert state.shown("hoshi").motion is None
    assert [line.split()[2] for line in lines(state)].count("finished") == 3


async def test_a_more_important_motion_preempts_and_the_other_does_not_go_on(
    state: AvatarState, clock: Clock
) -> None:
    state.play("hoshi", DANCE, owner="chat")
    assert motion(state.play("hoshi", NOD, owner="api", priority=1)) == "nod"
    clock.move(0.5)
    assert state.shown("hoshi").motion is None
    first = state.timeline("hoshi")[1]
    assert (first.outcome, first.by, first.is_final) == ("preempted", "api", True)


async def test_a_loop_yields_to_what_matters_as_much_and_comes_back(
    state: AvatarState, clock: Clock
) -> None:
    state.play("hoshi", DANCE, owner="api", loop=True)
    clock.move(30)
    state.play("hoshi", WAVE, owner="chat")
    shown = state.shown("hoshi")
    assert motion(shown) == "wave"
    assert [each.name for each in shown.waiting] == ["dance"]
    clock.move(1)
    assert motion(state.shown("hoshi")) == "dance"
    assert lines(state) == [
        "api dance shown",
        "api dance preempted by chat",
        "chat wave shown",
        "chat wave finished",
        "api dance resumed",
    ]


async def test_what_waits_behind_a_more_important_loop_is_dropped_after_a_while(
    state: AvatarState, clock: Clock
) -> None:
    state.play("hoshi", DANCE, owner="api", loop=True, priority=5)
    state.play("hoshi", WAVE, owner="chat")
    clock.move(WAIT_S - 0.01)
    assert motion(state.shown("hoshi")) == "dance"
    assert len(state.shown("hoshi").waiting) == 1
    clock.move(0.01)
    assert not state.shown("hoshi").waiting
    assert lines(state)[-1] == "chat wave dropped"


async def test_a_motion_that_waited_long_goes_before_more_important_ones(
    state: AvatarState, clock: Clock
) -> None:
    state.play("hoshi", DANCE, owner="api", priority=3)
    state.play("hoshi", NOD, owner="chat")
    begun = []
    for _ in range(5):
        state.play("hoshi", DANCE, owner="api", priority=3)
        clock.move(4)
        begun.append(motion(state.shown("hoshi")))
    assert begun[2] == "nod"


async def test_what_cuts_a_patient_motion_short_plays_itself(
    state: AvatarState, clock: Clock
) -> None:
    state.play("hoshi", DANCE, owner="api", priority=3)
    state.play("hoshi", DANCE, owner="chat")
    state.play("hoshi", WAVE, owner="chat")
    for _ in range(3):
        state.play("hoshi", DANCE, owner="api", priority=3)
        clock.move(4)
    playing = state.shown("hoshi").motion
    assert playing is not None
    assert (playing.name, playing.owner) == ("dance", "chat")
    assert motion(state.play("hoshi", NOD, owner="command", priority=4)) == "nod"


async def test_another_loop_of_the_same_owner_takes_its_place(
    state: AvatarState, clock: Clock
) -> None:
    state.play("hoshi", DANCE, owner="api", loop=True)
    assert motion(state.play("hoshi", SWAY, owner="api", loop=True)) == "sway"
    assert not state.shown("hoshi").waiting
    assert state.release("hoshi", owner="api", kind="motion") == 1
    assert state.shown("hoshi").motion is None


async def test_too_many_motions_are_dropped_the_least_important_newest_first(
    state: AvatarState,
) -> None:
    state.play("hoshi", WAVE, owner="api", priority=9)
    for _ in range(MOST_WAITING):
        state.play("hoshi", NOD, owner="chat")
    state.play("hoshi", NOD, owner="viewer")
    state.play("hoshi", WAVE, owner="api", priority=9)
    dropped = [line for line in state.timeline("hoshi") if line.outcome == "dropped"]
    assert [line.owner for line in dropped] == ["viewer", "chat"]
    assert len(state.shown("hoshi").waiting) == MOST_WAITING


async def test_a_motion_of_unknown_length_is_given_the_usual_one(
    state: AvatarState, clock: Clock
) -> None:
    state.play("hoshi", Motion(group="x", name="sneeze"), owner="api")
    clock.move(USUAL_S - 0.01)
    assert motion(state.shown("hoshi")) == "sneeze"
    clock.move(0.01)
    assert state.shown("hoshi").motion is None


# --- what comes with a sentence, and the timeline ---


async def test_a_cue_is_scheduled_then_shown_under_the_same_number(
    bus: EventBus, clock: Clock, seen: Subscription
) -> None:
    position_s = [None, 0.25]
    state = AvatarState(
        bus, now_s=clock.now, call_later=clock.call_later, position_s=lambda: position_s.pop(0)
    )
    number = state.schedule("hoshi", "expression", "joy", owner="chat", turn_id="t1", sentence=3)
    state.show("hoshi", "joy", owner="chat", turn_id="t1", scheduled=number)
    first, second = [event.entry for event in await told(seen) if isinstance(event, AvatarCue)]
    assert (first.outcome, second.outcome) == ("scheduled", "shown")
    assert first.id == second.id == number
    assert (second.turn_id, second.sentence, second.playing_s) == ("t1", 3, 0.25)


async def test_a_cue_whose_sentence_was_never_heard_is_dropped_once(state: AvatarState) -> None:
    number = state.schedule("hoshi", "motion", "wave", owner="chat")
    state.drop(number, "its sentence was never heard")
    state.drop(number, "again")
    assert lines(state) == ["chat wave scheduled", "chat wave dropped"]
    assert state.timeline()[-1].is_final


async def test_the_timeline_is_asked_for_by_character_turn_and_number(state: AvatarState) -> None:
    for n in range(5):
        state.show("hoshi", "joy", owner="chat", turn_id=f"t{n}", duration_ms=60_000)
    state.refuse("sumi", "motion", "fly", owner="api", reason="there is none")
    assert {line.turn_id for line in state.timeline(turn_id="t3")} == {"t3"}
    assert [line.outcome for line in state.timeline("sumi")] == ["refused"]
    assert len(state.timeline(limit=2)) == 2
    newest = max(line.id for line in state.timeline())
    assert [line.name for line in state.timeline(after=newest - 1)] == ["fly"]


async def test_two_characters_have_nothing_to_do_with_each_other(
    state: AvatarState, clock: Clock
) -> None:
    state.show("hoshi", "joy", owner="api", duration_ms=1000)
    state.show("sumi", "sad", owner="api", duration_ms=3000)
    clock.move(2)
    assert state.shown("hoshi").expression == "neutral"
    assert state.shown("sumi").expression == "sad"
    state.close()
    assert not [timer for timer in clock.timers if timer.is_on]
