"""Who wins: the expressions and motions of one character, arbitrated. No clock, no loop, no bus; `AvatarState` has them.

Expressions are held: of all that are valid the one with the highest priority is shown, of equals the newest; when it
ends, the next one that is still valid comes back. Motions are played: one at a time, to its end unless something more
important comes. Loops are held like expressions, and yield to what waits with the same or a higher priority.

Nothing waits for ever. A motion that waited `PATIENCE_S` is next whatever else waits, and one that could not be played
within `WAIT_S`, because a loop matters more, is dropped. Time is told with every call and never goes back; what was due
in between happens in the order and at the moments in which it was due, however late the call comes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from backend.contracts.avatar import CueKind, CueOutcome, Transition

MOST_EXPRESSIONS = 16
MOST_WAITING = 8
MOST_LOOPS = 8
PATIENCE_S = 10.0
"""After this long a waiting motion goes before more important ones; longer, and nobody knows what it answered."""

WAIT_S = 30.0
"""How long a motion may wait: behind a loop that matters more it would for ever."""

USUAL_S = 2.0
"""Length of a motion whose own is not known."""


@dataclass(slots=True, eq=False)
class Asked:
    """One request.

    Attributes:
        id: Of the request; lines of the timeline carry it.
        arrived: Its place among all requests; of equals the newer, which is the higher, wins.
        until_s: When an expression ends; None = until changed.
        duration_s: Length of a motion.
        started_s: When it was last begun to be shown; None = never.
    """

    id: int
    kind: CueKind
    name: str
    owner: str
    priority: int = 0
    turn_id: str | None = None
    sentence: int | None = None
    transition: Transition = "smooth"
    until_s: float | None = None
    group: str = ""
    index: int = 0
    duration_s: float = USUAL_S
    loop: bool = False
    asked_s: float = 0.0
    arrived: int = 0
    started_s: float | None = None

    @property
    def rank(self) -> tuple[int, int]:
        """Compares requests: the greater one wins."""
        return self.priority, self.arrived

    @property
    def ends_s(self) -> float | None:
        """When it ends by itself."""
        if self.kind == "expression":
            return self.until_s
        if self.loop or self.started_s is None:
            return None
        return self.started_s + self.duration_s


@dataclass(frozen=True, slots=True)
class Line:
    """Something became of a request."""

    asked: Asked
    outcome: CueOutcome
    at_s: float
    by: str = ""
    reason: str = ""
    is_final: bool = False


class Show:
    """One character.

    Args:
        tell: Called with every line of the timeline, in order.
    """

    def __init__(self, tell: Callable[[Line], None]) -> None:
        self._tell = tell
        self._arrivals = 0
        self._held: list[Asked] = []
        self._loops: list[Asked] = []
        self._waiting: list[Asked] = []
        self.face: Asked | None = None
        """What is shown; None = neutral."""
        self.motion: Asked | None = None
        """What plays; None = the rig idles."""

    @property
    def waiting(self) -> list[Asked]:
        """Motions that are still to come, next first; loops that yielded last."""
        loops = sorted(self._loops, key=lambda each: each.rank, reverse=True)
        queue = sorted(self._waiting, key=lambda each: (-each.priority, each.arrived))
        return [*queue, *(each for each in loops if each is not self.motion)]

    @property
    def is_empty(self) -> bool:
        """Whether nothing is asked for."""
        return not (self._held or self._loops or self._waiting or self.motion)

    @property
    def visible(self) -> tuple[object, ...]:
        """What can be seen; differs when somebody who draws it must do something."""
        motion = self.motion
        return (
            self.face.name if self.face is not None else None,
            (motion.id, motion.started_s) if motion is not None else None,
        )

    def next_s(self) -> float | None:
        """When something happens by itself; None = never."""
        times = [each.until_s for each in self._held if each.until_s is not None]
        times += [each.asked_s + WAIT_S for each in self._waiting]
        if self.motion is not None and (ends_s := self.motion.ends_s) is not None:
            times.append(ends_s)
        return min(times, default=None)

    def advance(self, now_s: float) -> None:
        """Let happen what is due."""
        while (due_s := self.next_s()) is not None and due_s <= now_s:
            self._happen(due_s)

    def express(self, asked: Asked, now_s: float) -> None:
        """Take a request for an expression."""
        self.advance(now_s)
        self._arrive(asked, now_s)
        if asked.until_s is None:
            self._replace(self._held, asked, now_s)
        self._held.append(asked)
        self._settle_face(now_s)
        self._bound(self._held, MOST_EXPRESSIONS, "expressions are held", now_s, _least)
        if asked in self._held and self.face is not asked:
            assert self.face is not None
            self._say(asked, "waiting", now_s, by=self.face.owner)

    def perform(self, asked: Asked, now_s: float) -> None:
        """Take a request for a motion."""
        self.advance(now_s)
        self._arrive(asked, now_s)
        if asked.loop:
            self._replace(self._loops, asked, now_s)
            self._loops.append(asked)
        else:
            self._waiting.append(asked)
        playing = self.motion
        if playing is not None and not playing.loop and asked.priority > playing.priority:
            self.motion = None
            self._say(playing, "preempted", now_s, by=asked.owner, reason=asked.name, final=True)
            self._settle_motion(now_s, is_fair=False)
        elif playing is None or playing.loop:
            self._settle_motion(now_s)
        self._bound(self._loops, MOST_LOOPS, "loops are held", now_s, _least)
        self._bound(self._waiting, MOST_WAITING, "motions wait", now_s, _last)
        if asked is not self.motion and (asked in self._waiting or asked in self._loops):
            assert self.motion is not None
            self._say(asked, "waiting", now_s, by=self.motion.owner)

    def release(
        self,
        now_s: float,
        *,
        owner: str | frozenset[str] | None = None,
        kind: CueKind | None = None,
        name: str | None = None,
    ) -> int:
        """End requests; return how many there were.

        Args:
            now_s: The time.
            owner: Whose, of one or of several; None = everybody's.
            kind: Which; None = expressions and motions.
            name: Of which expression or motion; None = any.
        """
        self.advance(now_s)
        owners = frozenset({owner}) if isinstance(owner, str) else owner

        def is_meant(each: Asked) -> bool:
            return (
                (owners is None or each.owner in owners)
                and (kind is None or each.kind == kind)
                and (name is None or each.name == name)
            )

        playing = self.motion
        ending = [each for each in (*self._held, *self._loops, *self._waiting) if is_meant(each)]
        if playing is not None and not playing.loop and is_meant(playing):
            ending.append(playing)
        self._held = [each for each in self._held if each not in ending]
        self._loops = [each for each in self._loops if each not in ending]
        self._waiting = [each for each in self._waiting if each not in ending]
        if playing in ending:
            self.motion = None
        for each in ending:
            self._say(each, "released", now_s, final=True)
        self._settle_face(now_s)
        if self.motion is None or self.motion.loop:
            self._settle_motion(now_s)
        return len(ending)

    # --- inside ---

    def _arrive(self, asked: Asked, now_s: float) -> None:
        self._arrivals += 1
        asked.arrived = self._arrivals
        asked.asked_s = now_s

    def _happen(self, due_s: float) -> None:
        """What is due at one moment."""
        over = [each for each in self._held if each.until_s is not None and each.until_s <= due_s]
        self._held = [each for each in self._held if each not in over]
        for each in over:
            unseen = "" if each.started_s is not None else "something else mattered more all along"
            self._say(each, "expired", due_s, reason=unseen, final=True)
        self._settle_face(due_s)
        playing = self.motion
        if playing is not None and playing.ends_s is not None and playing.ends_s <= due_s:
            self.motion = None
            self._say(playing, "finished", due_s, final=True)
            self._settle_motion(due_s)
        late = [each for each in self._waiting if each.asked_s + WAIT_S <= due_s]
        self._waiting = [each for each in self._waiting if each not in late]
        for each in late:
            self._say(each, "dropped", due_s, reason=f"it waited {WAIT_S:g} s", final=True)

    def _settle_face(self, now_s: float) -> None:
        best = max(self._held, key=lambda each: each.rank, default=None)
        before = self.face
        if best is before:
            return
        self.face = best
        if before is not None and before in self._held and best is not None:
            self._say(before, "preempted", now_s, by=best.owner, reason=best.name)
        if best is not None:
            self._start(best, now_s)

    def _settle_motion(self, now_s: float, *, is_fair: bool = True) -> None:
        before = self.motion
        best = self._next(now_s, is_fair=is_fair)
        if best is before:
            return
        self.motion = best
        if before is not None and before in self._loops and best is not None:
            self._say(before, "preempted", now_s, by=best.owner, reason=best.name)
        if best is not None:
            if not best.loop:
                self._waiting.remove(best)
            self._start(best, now_s)

    def _next(self, now_s: float, *, is_fair: bool) -> Asked | None:
        """Which motion has to play, when none does that must be played to its end."""
        loop = max(self._loops, key=lambda each: each.rank, default=None)
        able = [each for each in self._waiting if loop is None or each.priority >= loop.priority]
        if not able:
            return loop
        patient = [each for each in able if now_s - each.asked_s >= PATIENCE_S]
        if patient and is_fair:
            return min(patient, key=lambda each: each.arrived)
        return max(able, key=lambda each: (each.priority, -each.arrived))

    def _start(self, asked: Asked, now_s: float) -> None:
        outcome: CueOutcome = "shown" if asked.started_s is None else "resumed"
        asked.started_s = now_s
        self._say(asked, outcome, now_s)

    def _replace(self, held: list[Asked], asked: Asked, now_s: float) -> None:
        """What the same owner wanted until it is changed, it has changed now."""
        for each in list(held):
            if (
                each.owner == asked.owner
                and each.until_s is None
                and each.priority <= asked.priority
            ):
                held.remove(each)
                if each is self.motion:
                    self.motion = None
                self._say(each, "released", now_s, reason=f"changed to {asked.name}", final=True)

    def _bound(
        self,
        held: list[Asked],
        most: int,
        what: str,
        now_s: float,
        victim: Callable[[Iterable[Asked]], Asked],
    ) -> None:
        while len(held) > most:
            dropped = victim(each for each in held if each is not self.motion)
            held.remove(dropped)
            self._say(dropped, "dropped", now_s, reason=f"{most} {what} already", final=True)

    def _say(
        self,
        asked: Asked,
        outcome: CueOutcome,
        at_s: float,
        *,
        by: str = "",
        reason: str = "",
        final: bool = False,
    ) -> None:
        self._tell(Line(asked, outcome, at_s, by, reason, final))


def _least(held: Iterable[Asked]) -> Asked:
    """Who would come back last of all."""
    return min(held, key=lambda each: each.rank)


def _last(queue: Iterable[Asked]) -> Asked:
    """Who would be played last of all."""
    return min(queue, key=lambda each: (each.priority, -each.arrived))
