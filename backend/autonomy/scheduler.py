"""Which trigger comes next: cooldowns, dice, quiet hours, priorities and waiting, on a clock and dice that are handed in.

Everything that sets a trigger off becomes a pending occasion; the dice are thrown once for each. One action at a time: what
`choose` gives runs until `end`. Who waits gains priority, so that nothing that is due waits for ever. Cooldowns and waits
count on the monotonic clock and survive any jump of the wall's; times of day and quiet hours count on the wall's clock, and
each of them happens once, whatever the clock does.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, tzinfo

from backend.autonomy import times
from backend.autonomy.triggers import duration, group_of, when_in_words
from backend.contracts.autonomy import (
    AtTime,
    Every,
    QuietHours,
    Readiness,
    Silence,
    Trigger,
    TriggerRules,
    TriggerState,
)

LATE_S = 600.0
"""A time of day that was missed by more (asleep, switched off) is left out."""
AGE_S = 6.0
"""Waiting so long counts as much as one step of priority: after 10 minutes the lowest goes before the highest."""
MOST_PENDING = 20
"""Occasions of one trigger; followers that come together are welcomed together."""
MOST_DONE = 200
"""Times of day that are remembered as done: days of the busiest trigger."""
RETRY_S = 5.0
"""What could not be done because somebody came first is tried again after this."""


@dataclass(frozen=True, slots=True)
class Moment:
    """Now, on both clocks; `wall` is aware."""

    mono_s: float
    wall: datetime


@dataclass(frozen=True, slots=True)
class Occasion:
    """What set a trigger off.

    Attributes:
        facts: By name ("viewer", "amount"), all of them other people's words.
        message_id: The message it was; empty = none.
    """

    facts: Mapping[str, str] = field(default_factory=dict)
    message_id: str = ""


@dataclass(frozen=True, slots=True)
class Chosen:
    """What is to be done.

    Attributes:
        why: What speaks for it, in words.
        until_s: Monotonic time after which it is out of place.
    """

    trigger: Trigger
    occasions: tuple[Occasion, ...]
    why: str
    until_s: float


@dataclass(slots=True)
class _Pending:
    occasion: Occasion
    since_s: float
    until_s: float | None


@dataclass(slots=True)
class _Armed:
    """One trigger at work."""

    trigger: Trigger
    when: str
    pending: deque[_Pending] = field(default_factory=lambda: deque(maxlen=MOST_PENDING))
    cool_until_s: float = float("-inf")
    next_s: float | None = None
    """When "every" comes."""
    period_s: float = 0.0
    tried_s: float = float("-inf")
    """From when silence counts for it, at least."""
    done: deque[str] = field(default_factory=lambda: deque(maxlen=MOST_DONE))
    between: tuple[datetime, datetime] | None = None
    """Moments between which no new time of day comes."""
    is_high: bool = False
    last_at: datetime | None = None
    fired: int = 0
    last: str = ""


class Scheduler:
    """Pure: told everything, asks nobody.

    Args:
        dice: Gives a number from 0 to below 1.
        zone: Of times of day; None = this machine's.
    """

    def __init__(self, dice: Callable[[], float], zone: tzinfo | None = None) -> None:
        self._dice = dice
        self.zone = zone
        self.gap_s = 45.0
        """Between two actions that no viewer set off."""
        self._armed: dict[str, _Armed] = {}
        self._quiet: tuple[QuietHours, ...] = ()
        self._heard_s = float("-inf")
        self._own_s = float("-inf")
        self._running: tuple[Chosen, _Armed, list[_Pending], float] | None = None

    # --- rules and state ---

    def use(self, rules: TriggerRules, now: Moment) -> None:
        """Go by other rules; a trigger that stays the same goes on where it was."""
        before, self._armed = self._armed, {}
        self._quiet = rules.quiet
        if self._heard_s == float("-inf"):
            self._heard_s = self._own_s = now.mono_s
        for trigger in rules.triggers:
            armed = before.get(trigger.id)
            if armed is None or armed.trigger.when != trigger.when:
                fresh = self._fresh(trigger, now)
                if armed is not None:
                    fresh.cool_until_s = armed.cool_until_s
                    fresh.last_at, fresh.fired, fresh.last = armed.last_at, armed.fired, armed.last
                armed = fresh
            armed.trigger = trigger
            armed.cool_until_s = min(armed.cool_until_s, now.mono_s + trigger.cooldown_s)
            self._armed[trigger.id] = armed

    def use_zone(self, zone: tzinfo | None) -> None:
        """Times of day are those of another zone."""
        self.zone = zone
        for armed in self._armed.values():
            armed.between = None

    def dump(self, now: Moment) -> dict[str, object]:
        """What must be known after a crash, as plain values."""
        return {
            "at": now.wall.astimezone(UTC).isoformat(),
            "own_s": _left(now.mono_s, self._own_s),
            "triggers": {
                armed.trigger.id: {
                    "cool_s": max(0.0, armed.cool_until_s - now.mono_s),
                    "next_s": None if armed.next_s is None else max(0.0, armed.next_s - now.mono_s),
                    "period_s": armed.period_s,
                    "done": list(armed.done),
                    "last_at": armed.last_at.isoformat() if armed.last_at else None,
                    "fired": armed.fired,
                    "last": armed.last,
                }
                for armed in self._armed.values()
            },
        }

    def load(self, kept: Mapping[str, object], now: Moment) -> None:
        """Go on where a run before stopped; what cannot be read is left out. Call it after `use`."""
        since_s = 0.0
        if (then := self.kept_at(kept)) is not None:
            since_s = max(0.0, (now.wall - then).total_seconds())  # the clock may have gone back
        own_s = _number(kept.get("own_s"))
        if own_s is not None:
            self._own_s = now.mono_s - own_s - since_s
        triggers = kept.get("triggers")
        for name, values in (triggers if isinstance(triggers, dict) else {}).items():
            armed = self._armed.get(name)
            if armed is None or not isinstance(values, dict):
                continue
            cool_s = (_number(values.get("cool_s")) or 0.0) - since_s
            if cool_s > 0:
                armed.cool_until_s = now.mono_s + min(cool_s, armed.trigger.cooldown_s)
            next_s = _number(values.get("next_s"))
            if isinstance(armed.trigger.when, Every) and next_s is not None:
                when = armed.trigger.when
                longest_s = when.minutes * 60 * (1 + when.jitter)
                if since_s - next_s <= LATE_S:  # else it was missed, and its time begins anew
                    armed.next_s = now.mono_s + min(max(0.0, next_s - since_s), longest_s)
                    armed.period_s = _number(values.get("period_s")) or armed.period_s
            done = values.get("done")
            if isinstance(armed.trigger.when, AtTime) and isinstance(done, list):
                armed.done = deque((str(key) for key in done), maxlen=MOST_DONE)
                armed.between = None
            if isinstance(last_at := values.get("last_at"), str):
                armed.last_at = _moment(last_at)
            armed.fired = int(_number(values.get("fired")) or 0)
            armed.last = str(values.get("last") or "")[:300]

    @staticmethod
    def kept_at(kept: Mapping[str, object]) -> datetime | None:
        """When what `dump` gave was so."""
        at = kept.get("at")
        return _moment(at) if isinstance(at, str) else None

    # --- what happens ---

    def heard(self, now: Moment) -> None:
        """Somebody, she included, said something: silence begins anew."""
        self._heard_s = max(self._heard_s, now.mono_s)
        for armed in self._armed.values():
            if isinstance(armed.trigger.when, Silence):
                armed.pending.clear()

    def set_off(self, trigger_id: str, occasion: Occasion, now: Moment) -> bool:
        """Something a trigger waits for has happened; False when the dice or its switch are against it."""
        armed = self._armed.get(trigger_id)
        if armed is None or not armed.trigger.is_on:
            return False
        return self._add(armed, occasion, now, now.mono_s + armed.trigger.stale_s)

    def forget(self, message_id: str) -> bool:
        """A message is taken back: nothing comes of it; True when something is being done because of it."""
        for armed in self._armed.values():
            if any(each.occasion.message_id == message_id for each in armed.pending):
                rest = [one for one in armed.pending if one.occasion.message_id != message_id]
                armed.pending = deque(rest, maxlen=MOST_PENDING)
        running = self._running
        return running is not None and any(
            one.message_id == message_id for one in running[0].occasions
        )

    def level(self, trigger_id: str, is_high: bool, occasion: Occasion, now: Moment) -> None:
        """How a condition stands; only its coming true sets the trigger off."""
        armed = self._armed.get(trigger_id)
        if armed is None:
            return
        was_high, armed.is_high = armed.is_high, is_high
        if is_high and not was_high:
            self.set_off(trigger_id, occasion, now)

    def tick(self, now: Moment) -> bool:
        """Let time pass: what is due becomes pending, what is out of place is forgotten; True when a crash must not undo it."""
        has_thrown = False
        for armed in self._armed.values():
            pending = armed.pending
            while pending and pending[0].until_s is not None and pending[0].until_s < now.mono_s:
                pending.popleft()
                armed.last = "came too late: something else was going on"
            trigger = armed.trigger
            if not trigger.is_on:
                pending.clear()
                continue
            match trigger.when:
                case Every():
                    assert armed.next_s is not None
                    if not pending and now.mono_s >= armed.next_s and not self._is_running(armed):
                        if not self._add(armed, Occasion(), now, None):
                            self._wind(armed, now)
                            has_thrown = True
                case Silence():
                    quiet_s = now.mono_s - max(self._heard_s, armed.tried_s)
                    if (
                        not pending
                        and quiet_s >= trigger.when.seconds
                        and not self._is_running(armed)
                    ):
                        facts = {"silence": duration(round(quiet_s))}
                        if not self._add(armed, Occasion(facts), now, None):
                            armed.tried_s = now.mono_s
                case AtTime():
                    has_thrown |= self._look_at_clock(armed, trigger.when, now)
        return has_thrown

    # --- choosing ---

    @property
    def running(self) -> Chosen | None:
        """What is being done."""
        return self._running[0] if self._running is not None else None

    def choose(
        self, now: Moment, against: Callable[[Trigger], str] = lambda trigger: ""
    ) -> Chosen | None:
        """The next thing to do, begun: it runs until `end`. None when nothing may be done.

        Args:
            now: The moment.
            against: What else speaks against a trigger, in words.
        """
        if self._running is not None:
            return None
        best: tuple[float, float, _Armed] | None = None
        for armed in self._armed.values():
            if not armed.pending or self._against(armed, now) or against(armed.trigger):
                continue
            since_s = armed.pending[0].since_s
            rank = armed.trigger.priority + (now.mono_s - since_s) / AGE_S
            if best is None or (rank, -since_s) > best[:2]:
                best = (rank, -since_s, armed)
        if best is None:
            return None
        armed = best[2]
        pending = list(armed.pending)
        chosen = self._as_chosen(armed, pending, now)
        armed.pending.clear()
        self._running = (chosen, armed, pending, armed.cool_until_s)
        armed.cool_until_s = now.mono_s + armed.trigger.cooldown_s
        return chosen

    def begin(self, chosen: Chosen, now: Moment) -> Chosen:
        """Begin what `example` gave: somebody wants it now."""
        armed = self._armed[chosen.trigger.id]
        assert self._running is None, "one thing at a time"
        self._running = (chosen, armed, [], armed.cool_until_s)
        armed.pending.clear()
        armed.cool_until_s = now.mono_s + armed.trigger.cooldown_s
        return chosen

    def end(self, now: Moment, *, is_done: bool, detail: str = "", again: bool = False) -> None:
        """What was chosen is over.

        Args:
            now: The moment.
            is_done: She did something.
            detail: What came of it, in words.
            again: Nothing was done because somebody came first: it is due again soon, unless it is out of place then.
        """
        if self._running is None:
            return
        (chosen, armed, pending, cool_until_s), self._running = self._running, None
        armed.last = detail[:300]
        if again and not is_done:
            armed.cool_until_s = max(cool_until_s, now.mono_s + RETRY_S)
            armed.pending.extendleft(
                each
                for each in reversed(pending)
                if each.until_s is None or each.until_s >= now.mono_s
            )
            if isinstance(chosen.trigger.when, Silence):
                armed.pending.clear()  # whoever came first has broken it
            return
        armed.tried_s = now.mono_s
        if isinstance(armed.trigger.when, Every):
            self._wind(armed, now)
        if is_done:
            armed.fired += 1
            armed.last_at = now.wall
            if group_of(chosen.trigger.when) != "viewers":
                self._own_s = now.mono_s

    def peek(
        self, now: Moment, against: Callable[[Trigger], str] = lambda trigger: ""
    ) -> Chosen | None:
        """What `choose` would give, without beginning it."""
        running = self._running
        if running is not None:
            return None
        kept = {
            name: (list(armed.pending), armed.cool_until_s) for name, armed in self._armed.items()
        }
        chosen = self.choose(now, against)
        self._running = None
        for name, (pending, cool_until_s) in kept.items():
            armed = self._armed[name]
            armed.pending = deque(pending, maxlen=MOST_PENDING)
            armed.cool_until_s = cool_until_s
        return chosen

    def example(self, trigger_id: str, now: Moment) -> Chosen | None:
        """One trigger as if it had been set off now."""
        armed = self._armed.get(trigger_id)
        if armed is None:
            return None
        pending = list(armed.pending) or [_Pending(Occasion(), now.mono_s, None)]
        return self._as_chosen(armed, pending, now)

    # --- telling ---

    def states(
        self, now: Moment, against: Callable[[Trigger], str] = lambda trigger: ""
    ) -> list[TriggerState]:
        """Every trigger and what is against it; those that come first stand first."""
        quiet = times.quiet_until(self._quiet, now.wall, self.zone)
        found = [
            self._state(armed, now, against(armed.trigger), quiet) for armed in self._armed.values()
        ]
        order: list[Readiness] = ["ready", "due", "coming", "resting", "quiet", "armed", "off"]
        found.sort(
            key=lambda one: (
                order.index(one.readiness),
                float("inf") if one.in_s is None else one.in_s,
                -one.priority,
            )
        )
        return found

    # --- inside ---

    def _fresh(self, trigger: Trigger, now: Moment) -> _Armed:
        armed = _Armed(trigger, when_in_words(trigger.when))
        if isinstance(trigger.when, Every):
            self._wind(armed, now)
        elif isinstance(trigger.when, AtTime):
            # What lies behind us when a trigger is made was not meant.
            newest = times.latest(trigger.when, now.wall, self.zone)
            if newest is not None:
                armed.done.append(newest[0])
        armed.tried_s = now.mono_s
        return armed

    def _wind(self, armed: _Armed, now: Moment) -> None:
        when = armed.trigger.when
        assert isinstance(when, Every)
        armed.period_s = when.minutes * 60 * (1 + when.jitter * (2 * self._dice() - 1))
        armed.next_s = now.mono_s + armed.period_s

    def _add(self, armed: _Armed, occasion: Occasion, now: Moment, until_s: float | None) -> bool:
        if self._dice() >= armed.trigger.probability:
            armed.last = f"left out by chance (probability {armed.trigger.probability:.0%})"
            return False
        armed.pending.append(_Pending(occasion, now.mono_s, until_s))
        return True

    def _look_at_clock(self, armed: _Armed, when: AtTime, now: Moment) -> bool:
        """Whether a time of day has come, done or left out."""
        if armed.between is not None and armed.between[0] <= now.wall < armed.between[1]:
            return False
        next_at = times.coming(when, now.wall, self.zone)
        newest = times.latest(when, now.wall, self.zone)
        if newest is None:
            armed.between = (now.wall, next_at)
            return False
        key, at = newest
        armed.between = (at, next_at)
        if key in armed.done:
            return False
        armed.done.append(key)
        late_s = (now.wall - at).total_seconds()
        if late_s > LATE_S:
            armed.last = f"missed by {duration(round(late_s))}"
            return True
        self._add(armed, Occasion({"time": key[-5:]}), now, now.mono_s + LATE_S - late_s)
        return True

    def _is_running(self, armed: _Armed) -> bool:
        return self._running is not None and self._running[1] is armed

    def _quiet_until(self, armed: _Armed, now: Moment) -> datetime | None:
        hours = (*self._quiet, *armed.trigger.quiet)
        return times.quiet_until(hours, now.wall, self.zone) if hours else None

    def _gap_left_s(self, armed: _Armed, now: Moment) -> float:
        if group_of(armed.trigger.when) == "viewers":
            return 0.0
        return max(0.0, self._own_s + self.gap_s - now.mono_s)

    def _against(self, armed: _Armed, now: Moment) -> bool:
        """Whether its own rules are against it; quick, for every tick."""
        return (
            not armed.trigger.is_on
            or now.mono_s < armed.cool_until_s
            or self._gap_left_s(armed, now) > 0
            or self._quiet_until(armed, now) is not None
        )

    def _as_chosen(self, armed: _Armed, pending: list[_Pending], now: Moment) -> Chosen:
        waited_s = now.mono_s - pending[0].since_s
        why = f"{armed.when}, priority {armed.trigger.priority}"
        if waited_s >= 1:
            why += f", due for {duration(round(waited_s))}"
        lasts = [now.mono_s + 30.0 if one.until_s is None else one.until_s for one in pending]
        return Chosen(armed.trigger, tuple(one.occasion for one in pending), why, max(lasts))

    def _state(
        self, armed: _Armed, now: Moment, other: str, quiet: datetime | None
    ) -> TriggerState:
        trigger = armed.trigger
        reasons: list[str] = []
        in_s, of_s = self._due_in(armed, now)
        readiness: Readiness = "armed" if in_s is None else "coming"
        is_due = bool(armed.pending) or in_s == 0
        cool_s = armed.cool_until_s - now.mono_s
        gap_s = self._gap_left_s(armed, now)
        if self._is_running(armed):
            reasons.append("it is being done now")
        elif not is_due:
            reasons.append(f"comes {armed.when}")
        if other:
            reasons.append(other)
        if gap_s > 0 and is_due:
            reasons.append(f"she said something of her own less than {self.gap_s:.0f} s ago")
            readiness, in_s, of_s = "due", gap_s, self.gap_s
        elif is_due:
            readiness, in_s = "due" if other or self._running is not None else "ready", 0.0
        if cool_s > 0:
            reasons.append(f"rests after the last time (cooldown {duration(trigger.cooldown_s)})")
            readiness = "resting"
            in_s, of_s = max(cool_s, in_s or 0.0), max(of_s or 0.0, trigger.cooldown_s)
        until = times.quiet_until(trigger.quiet, now.wall, self.zone) if trigger.quiet else None
        if quiet is not None:  # of all triggers: looked up once
            until = quiet if until is None else max(until, quiet)
        if until is not None:
            shown = times.local(until, self.zone)
            reasons.append(f"quiet hours until {shown:%H:%M}")
            readiness = "quiet"
            in_s = max((until - now.wall).total_seconds(), in_s or 0.0)
        if not trigger.is_on:
            readiness, in_s, of_s = "off", None, None
            reasons = ["switched off"]
        return TriggerState(
            id=trigger.id,
            title=trigger.name,
            when=armed.when,
            group=group_of(trigger.when),
            priority=trigger.priority,
            readiness=readiness,
            in_s=None if in_s is None else round(in_s, 1),
            of_s=None if of_s is None else round(of_s, 1),
            reasons=tuple(reasons),
            last_at=armed.last_at,
            fired=armed.fired,
            last=armed.last,
        )

    def _due_in(self, armed: _Armed, now: Moment) -> tuple[float | None, float | None]:
        """Seconds until it is due by itself, of how many."""
        match armed.trigger.when:
            case Every():
                assert armed.next_s is not None
                return max(0.0, armed.next_s - now.mono_s), armed.period_s
            case Silence() as when:
                quiet_s = now.mono_s - max(self._heard_s, armed.tried_s)
                return max(0.0, when.seconds - quiet_s), when.seconds
            case AtTime() as when:
                between = armed.between
                if between is None or not between[0] <= now.wall < between[1]:
                    next_at = times.coming(when, now.wall, self.zone)
                else:
                    next_at = between[1]
                left = next_at - now.wall
                return left / timedelta(seconds=1), 86_400.0
            case _:
                return None, None


def _left(now_s: float, then_s: float) -> float | None:
    return None if then_s == float("-inf") else max(0.0, now_s - then_s)


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    number = float(value)
    return number if number == number and abs(number) < 1e12 else None


def _moment(text: str) -> datetime | None:
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        return None
    return found if found.tzinfo is not None else None
