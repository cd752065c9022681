"""The scheduler against a model of its promises, and one example for each."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any
from zoneinfo import ZoneInfo

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from backend.autonomy import times
from backend.autonomy.scheduler import AGE_S, LATE_S, Chosen, Moment, Occasion, Scheduler
from backend.autonomy.triggers import checked, group_of
from backend.contracts.autonomy import AtTime, TriggerRules

ZONE = ZoneInfo("Europe/Berlin")
START = datetime(2026, 3, 28, 20, 0, tzinfo=UTC)
"""The evening before the clocks go forward."""


class Clocks:
    """Both clocks, moved by hand."""

    def __init__(self, wall: datetime = START) -> None:
        self.now = Moment(1000.0, wall)

    def go(self, seconds: float) -> Moment:
        self.now = Moment(self.now.mono_s + seconds, self.now.wall + timedelta(seconds=seconds))
        return self.now

    def jump(self, seconds: float) -> Moment:
        """The wall's clock alone is set."""
        self.now = Moment(self.now.mono_s, self.now.wall + timedelta(seconds=seconds))
        return self.now


def always() -> float:
    return 0.0


def trigger(name: str, when: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {"id": name, "when": when, "do": {"texts": ["Hi"]}, "cooldown_s": 0, **fields}


RAID = {"kind": "viewer", "does": "raid"}


def armed(
    *triggers: dict[str, Any], quiet: Any = (), clocks: Clocks | None = None
) -> tuple[Scheduler, Clocks]:
    clocks = clocks or Clocks()
    scheduler = Scheduler(always, ZONE)
    scheduler.gap_s = 0
    scheduler.use(checked({"triggers": list(triggers), "quiet": quiet}), clocks.now)
    return scheduler, clocks


def ids(scheduler: Scheduler, clocks: Clocks, step_s: float, steps: int) -> list[str]:
    """What is done when each thing is over at once."""
    found = []
    for _ in range(steps):
        now = clocks.go(step_s)
        scheduler.tick(now)
        if (chosen := scheduler.choose(now)) is not None:
            found.append(chosen.trigger.id)
            scheduler.end(now, is_done=True)
    return found


def test_every_so_often_comes_within_its_jitter() -> None:
    scheduler, clocks = armed(trigger("water", {"kind": "every", "minutes": 10, "jitter": 0.5}))
    at = []
    for second in range(3600):
        if ids(scheduler, clocks, 1, 1):
            at.append(second + 1)
    gaps = [after - before for before, after in zip([0, *at], at, strict=False)]
    assert len(gaps) == 12  # the dice always show the lowest: every 5 minutes
    assert all(300 <= gap <= 302 for gap in gaps)


def test_silence_is_broken_once_until_somebody_speaks_or_it_lasts_as_long_again() -> None:
    scheduler, clocks = armed(trigger("hush", {"kind": "silence", "seconds": 60}))
    assert ids(scheduler, clocks, 1, 59) == []
    scheduler.heard(clocks.now)
    assert ids(scheduler, clocks, 1, 59) == []
    assert ids(scheduler, clocks, 1, 59) == ["hush"]
    assert ids(scheduler, clocks, 1, 60) == ["hush"]


def test_silence_that_somebody_breaks_before_she_can_is_no_reason_any_more() -> None:
    scheduler, clocks = armed(trigger("hush", {"kind": "silence", "seconds": 60}))
    scheduler.tick(clocks.go(61))
    scheduler.heard(clocks.go(1))
    assert scheduler.choose(clocks.now) is None


def test_the_higher_priority_goes_first_and_followers_are_taken_together() -> None:
    scheduler, clocks = armed(
        trigger("low", {"kind": "viewer", "does": "follow"}, priority=10),
        trigger("high", RAID, priority=90),
    )
    for name in ("Ann", "Ben"):
        scheduler.set_off("low", Occasion({"viewer": name}), clocks.now)
    scheduler.set_off("high", Occasion(), clocks.now)
    first = scheduler.choose(clocks.now)
    assert first is not None
    assert first.trigger.id == "high"
    assert scheduler.choose(clocks.now) is None, "one at a time"
    scheduler.end(clocks.now, is_done=True)
    second = scheduler.choose(clocks.now)
    assert second is not None
    assert [one.facts["viewer"] for one in second.occasions] == ["Ann", "Ben"]


def test_what_viewers_did_too_long_ago_is_forgotten() -> None:
    scheduler, clocks = armed(trigger("raid", RAID, stale_s=30))
    scheduler.set_off("raid", Occasion(), clocks.now)
    assert ids(scheduler, clocks, 31, 1) == []
    assert scheduler.states(clocks.now)[0].last.startswith("came too late")


def test_what_somebody_came_before_is_tried_again_and_counts_for_no_cooldown() -> None:
    scheduler, clocks = armed(trigger("raid", RAID, cooldown_s=600))
    scheduler.set_off("raid", Occasion({"viewer": "Ann"}), clocks.now)
    assert scheduler.choose(clocks.now) is not None
    scheduler.end(clocks.go(2), is_done=False, detail="somebody came first", again=True)
    assert ids(scheduler, clocks, 1, 4) == []
    assert ids(scheduler, clocks, 1, 2) == ["raid"]


def test_quiet_hours_over_midnight_hold_and_end() -> None:
    quiet = [{"start": "23:00", "until": "08:00"}]
    scheduler, clocks = armed(
        trigger("water", {"kind": "every", "minutes": 30, "jitter": 0}), quiet=quiet
    )
    hours = []
    for _ in range(24 * 12):
        if ids(scheduler, clocks, 300, 1):
            hours.append(times.local(clocks.now.wall, ZONE).hour)
    assert hours, "it came at all"
    assert not {23, 0, 1, 2, 3, 4, 5, 6, 7} & set(hours)
    assert 8 in hours, "what was due in them comes when they end"


def test_a_time_of_day_comes_once_a_day_over_both_changes_of_the_clock() -> None:
    for wall, day in (
        (START, "2026-03-29"),
        (datetime(2026, 10, 24, 20, 0, tzinfo=UTC), "2026-10-25"),
    ):
        clocks = Clocks(wall)
        scheduler, _ = armed(trigger("night", {"kind": "at", "times": ["02:30"]}), clocks=clocks)
        shown = []
        for _ in range(3 * 24 * 60):
            if ids(scheduler, clocks, 60, 1):
                shown.append(times.local(clocks.now.wall, ZONE).strftime("%Y-%m-%d %H:%M"))
        assert len(shown) == 3
        # In spring there is no 02:30: the clock jumps over it, to half past three.
        assert shown[0] == f"{day} {'03:30' if '03-29' in day else '02:30'}"
        assert [one[-5:] for one in shown[1:]] == ["02:30", "02:30"]


def test_a_time_of_day_that_was_slept_through_is_left_out() -> None:
    scheduler, clocks = armed(trigger("night", {"kind": "at", "times": ["22:00"]}))
    scheduler.tick(clocks.now)
    clocks.jump(3600 + LATE_S + 5)  # asleep: only the wall's clock went on
    assert ids(scheduler, clocks, 1, 3) == []
    assert scheduler.states(clocks.now)[0].last.startswith("missed by")


def test_a_clock_that_is_set_back_repeats_no_time_of_day() -> None:
    scheduler, clocks = armed(trigger("night", {"kind": "at", "times": ["22:00"]}))
    clocks.go(3595)
    assert ids(scheduler, clocks, 1, 10) == ["night"]
    clocks.jump(-1800)
    assert ids(scheduler, clocks, 10, 400) == []


def test_the_dice_are_thrown_once_for_each_occasion() -> None:
    thrown = iter([0.9, 0.1])
    clocks = Clocks()
    scheduler = Scheduler(lambda: next(thrown), ZONE)
    scheduler.use(checked({"triggers": [trigger("raid", RAID, probability=0.5)]}), clocks.now)
    assert not scheduler.set_off("raid", Occasion(), clocks.now)
    assert ids(scheduler, clocks, 1, 5) == []
    assert scheduler.set_off("raid", Occasion(), clocks.now)
    assert ids(scheduler, clocks, 1, 5) == ["raid"]


def test_only_the_coming_true_of_a_condition_counts() -> None:
    scheduler, clocks = armed(trigger("fast", {"kind": "rate", "per_minute": 10}))
    for is_high in (True, True, False, True):
        scheduler.level("fast", is_high, Occasion(), clocks.now)
    chosen = scheduler.choose(clocks.now)
    assert chosen is not None
    assert len(chosen.occasions) == 2


def test_her_own_ideas_keep_their_distance_and_viewers_do_not_wait_for_it() -> None:
    scheduler, clocks = armed(
        trigger("one", {"kind": "every", "minutes": 0.25, "jitter": 0}), trigger("raid", RAID)
    )
    scheduler.gap_s = 100
    assert ids(scheduler, clocks, 1, 99) == []
    assert ids(scheduler, clocks, 1, 90) == ["one"]
    scheduler.set_off("raid", Occasion(), clocks.now)
    assert ids(scheduler, clocks, 1, 1) == ["raid"]


def test_cooldown_and_the_next_time_are_kept_over_a_crash() -> None:
    rules = [
        trigger("raid", RAID, cooldown_s=600),
        trigger("water", {"kind": "every", "minutes": 60, "jitter": 0}),
        trigger("night", {"kind": "at", "times": ["21:00"]}),
    ]
    scheduler, clocks = armed(*rules)
    clocks.go(5)
    scheduler.set_off("raid", Occasion(), clocks.now)
    assert ids(scheduler, clocks, 1, 1) == ["raid"]
    kept = scheduler.dump(clocks.now)

    clocks.go(400)  # 406 s later, another process: its monotonic clock begins anew
    fresh = Clocks(clocks.now.wall)
    again, _ = armed(*rules, clocks=fresh)
    again.load(kept, fresh.now)
    state = {one.id: one for one in again.states(fresh.now)}
    assert state["raid"].readiness == "resting"
    assert state["raid"].in_s == pytest.approx(200, abs=1)
    assert state["raid"].fired == 1
    assert state["water"].in_s == pytest.approx(3600 - 406, abs=1)


def test_what_comes_again_and_again_does_not_all_come_after_a_long_pause() -> None:
    rules = [
        trigger(f"every{n}", {"kind": "every", "minutes": n, "jitter": 0}) for n in range(5, 60, 5)
    ]
    scheduler, clocks = armed(*rules)
    kept = scheduler.dump(clocks.now)
    clocks.go(8 * 3600)
    fresh = Clocks(clocks.now.wall)
    again, _ = armed(*rules, clocks=fresh)
    again.load(kept, fresh.now)
    assert ids(again, fresh, 50, 5) == []
    assert ids(again, fresh, 10, 6) == ["every5"]


@pytest.mark.parametrize(
    "kept",
    [
        {},
        {"at": "yesterday", "triggers": 7},
        {"at": "2026-03-28T20:00:00", "triggers": {"raid": 3}},
        {"triggers": {"raid": {"cool_s": 1e300, "fired": "many", "done": "no"}}},
        {"triggers": {"raid": {"cool_s": float("nan"), "last_at": "?", "next_s": True}}},
    ],
)
def test_a_broken_memory_is_left_out(kept: dict[str, object]) -> None:
    scheduler, clocks = armed(trigger("raid", RAID, cooldown_s=10))
    scheduler.load(kept, clocks.now)
    scheduler.set_off("raid", Occasion(), clocks.now)
    assert ids(scheduler, clocks, 11, 1) == ["raid"]


def test_a_dry_run_changes_nothing() -> None:
    scheduler, clocks = armed(trigger("raid", RAID, cooldown_s=60))
    scheduler.set_off("raid", Occasion({"viewer": "Ann"}), clocks.now)
    before = scheduler.dump(clocks.now)
    for _ in range(3):
        assert scheduler.peek(clocks.now) is not None
    assert scheduler.dump(clocks.now) == before
    assert ids(scheduler, clocks, 1, 2) == ["raid"]


def test_edited_rules_keep_what_a_trigger_went_through() -> None:
    scheduler, clocks = armed(trigger("raid", RAID, cooldown_s=600))
    scheduler.set_off("raid", Occasion(), clocks.now)
    assert ids(scheduler, clocks, 1, 1) == ["raid"]
    scheduler.use(checked({"triggers": [trigger("raid", RAID, cooldown_s=60)]}), clocks.now)
    (state,) = scheduler.states(clocks.now)
    assert (state.readiness, state.fired) == ("resting", 1)
    assert state.in_s is not None
    assert state.in_s <= 60


# --- against a model ---

QUIET = st.lists(
    st.fixed_dictionaries(
        {
            "start": st.sampled_from(["23:00", "02:15", "12:00"]),
            "until": st.sampled_from(["08:00", "02:45", "03:10"]),
        }
    ),
    max_size=1,
)
WHEN = st.one_of(
    st.builds(
        lambda minutes, jitter: {"kind": "every", "minutes": minutes, "jitter": jitter},
        st.sampled_from([0.25, 3, 30]),
        st.sampled_from([0, 0.5]),
    ),
    st.builds(
        lambda shown: {"kind": "at", "times": shown},
        st.lists(
            st.sampled_from(["02:30", "03:00", "21:05", "23:59"]),
            min_size=1,
            max_size=3,
            unique=True,
        ),
    ),
    st.builds(lambda seconds: {"kind": "silence", "seconds": seconds}, st.sampled_from([10, 90])),
    st.just(RAID),
)
RULES = st.lists(
    st.builds(
        lambda when, **fields: {"when": when, "do": {"texts": ["Hi"]}, **fields},
        WHEN,
        cooldown_s=st.sampled_from([0, 20, 900]),
        probability=st.sampled_from([0.3, 1]),
        priority=st.sampled_from([0, 50, 100]),
        quiet=QUIET,
        stale_s=st.sampled_from([5, 600]),
    ),
    min_size=1,
    max_size=5,
)


class Promises(RuleBasedStateMachine):
    """Time passes and jumps, things happen, actions last; what the scheduler promises is checked at every choice."""

    @initialize(rules=RULES, quiet=QUIET, seed=st.integers(0, 999), gap_s=st.sampled_from([0, 45]))
    def begin(self, rules: list[dict[str, Any]], quiet: list[Any], seed: int, gap_s: float) -> None:
        self.clocks = Clocks()
        self.goes_by: TriggerRules = checked(
            {"triggers": [{"id": f"t{n}", **each} for n, each in enumerate(rules)], "quiet": quiet}
        )
        self.scheduler = Scheduler(Random(seed).random, ZONE)
        self.scheduler.gap_s = gap_s
        self.scheduler.use(self.goes_by, self.clocks.now)
        self.running: Chosen | None = None
        self.began: dict[str, float] = {}
        self.own_s = float("-inf")

    @rule(seconds=st.sampled_from([0.5, 5, 61, 1000, 40_000]))
    def time_passes(self, seconds: float) -> None:
        self.clocks.go(seconds)

    @rule(seconds=st.sampled_from([-90_000, -3600, -30, 30, 3600, 90_000]))
    def the_clock_is_set(self, seconds: float) -> None:
        self.clocks.jump(seconds)

    @rule(n=st.integers(0, 4))
    def a_raid_comes(self, n: int) -> None:
        self.scheduler.set_off(f"t{n}", Occasion({"viewer": "Ann"}), self.clocks.now)

    @rule()
    def somebody_speaks(self) -> None:
        self.scheduler.heard(self.clocks.now)

    @rule()
    def the_program_crashes(self) -> None:
        kept = self.scheduler.dump(self.clocks.now)
        gap_s = self.scheduler.gap_s
        self.scheduler = Scheduler(Random(1).random, ZONE)
        self.scheduler.gap_s = gap_s
        self.scheduler.use(self.goes_by, self.clocks.now)
        self.scheduler.load(kept, self.clocks.now)
        self.running = None

    @precondition(lambda self: self.running is not None)
    @rule(is_done=st.booleans(), again=st.booleans())
    def it_is_over(self, is_done: bool, again: bool) -> None:
        assert self.running is not None
        trigger = self.running.trigger
        if is_done or not again:
            if is_done and group_of(trigger.when) != "viewers":
                self.own_s = self.clocks.now.mono_s
        else:
            self.began.pop(trigger.id, None)  # nothing came of it: no cooldown
        self.scheduler.end(self.clocks.now, is_done=is_done, again=again)
        self.running = None

    @rule()
    def she_decides(self) -> None:
        now = self.clocks.now
        self.scheduler.tick(now)
        due = {one.id: one for one in self.scheduler.states(now) if one.readiness == "ready"}
        chosen = self.scheduler.choose(now)
        if self.running is not None:
            assert chosen is None, "one thing at a time"
            return
        assert (chosen is None) == (not due), "what is ready is done, and nothing else"
        if chosen is None:
            return
        trigger = chosen.trigger
        assert trigger.id in due
        last_s = self.began.get(trigger.id)
        assert last_s is None or now.mono_s - last_s >= trigger.cooldown_s, "cooldown"
        hours = (*self.goes_by.quiet, *trigger.quiet)
        assert times.quiet_until(hours, now.wall, ZONE) is None, "quiet hours"
        if group_of(trigger.when) != "viewers":
            assert now.mono_s - self.own_s >= self.scheduler.gap_s, "distance"
        self.began[trigger.id] = now.mono_s
        self.running = chosen

    @invariant()
    def nothing_grows(self) -> None:
        if hasattr(self, "scheduler"):
            assert (self.scheduler.running is None) == (self.running is None)
            for one in self.scheduler.states(self.clocks.now):
                assert one.in_s is None or one.in_s >= 0


TestPromises = Promises.TestCase
TestPromises.settings = settings(
    max_examples=40, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck)
)


def test_nothing_that_is_due_waits_for_ever_behind_what_is_more_important() -> None:
    loud = [trigger(f"loud{n}", {"kind": "viewer", "does": "raid"}, priority=100) for n in range(5)]
    scheduler, clocks = armed(
        *loud, trigger("meek", {"kind": "every", "minutes": 1, "jitter": 0}, priority=0)
    )
    found: list[str] = []
    for _ in range(1200):
        for n in range(5):
            scheduler.set_off(f"loud{n}", Occasion(), clocks.now)
        found += ids(scheduler, clocks, 1, 1)
    waited = found.index("meek")
    assert waited <= 60 + 100 * AGE_S + len(loud)


def test_each_time_of_a_day_is_found_once_looking_back_and_ahead() -> None:
    when = AtTime(times=("02:30", "12:00"), days=("sun",))
    sunday = datetime(2026, 3, 29, 9, 0, tzinfo=UTC)
    newest = times.latest(when, sunday, ZONE)
    assert newest is not None
    assert newest[0] == "2026-03-29 02:30"
    assert times.coming(when, sunday, ZONE) == datetime(2026, 3, 29, 10, 0, tzinfo=UTC)
    assert times.coming(when, datetime(2026, 3, 29, 10, 0, tzinfo=UTC), ZONE).day == 5
