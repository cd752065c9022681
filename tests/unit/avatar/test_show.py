"""Who wins on an avatar, held against a model: every order of requests, releases and moments that hypothesis thinks of.

Times are whole quarters of a second, so that sums are exact.
"""

from __future__ import annotations

from dataclasses import dataclass

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from backend.avatar.show import (
    MOST_EXPRESSIONS,
    MOST_LOOPS,
    MOST_WAITING,
    PATIENCE_S,
    WAIT_S,
    Asked,
    Line,
    Show,
)

OWNERS = st.sampled_from(["chat", "api", "autonomy"])
PRIORITIES = st.integers(-1, 2)
LENGTHS = st.integers(1, 60).map(lambda quarters: quarters / 4)


@dataclass
class Wanted:
    """An expression, as the model remembers it."""

    id: int
    owner: str
    priority: int
    until_s: float | None


class Arbitration(RuleBasedStateMachine):
    """One show that is told the time with every request only, and one that is told it every quarter of a second."""

    def __init__(self) -> None:
        super().__init__()
        self.now_s = 0.0
        self.count = 0
        self.lines: list[Line] = []
        self.steady: list[Line] = []
        self.show = Show(self.tell)
        self.ticking = Show(self.steady.append)
        self.wanted: list[Wanted] = []
        self.priorities: dict[int, int] = {}
        self.asked: dict[int, Asked] = {}

    @initialize()
    def begin(self) -> None:
        assert self.show.is_empty

    def tell(self, line: Line) -> None:
        """Which of those that wait has its turn, and what may cut another one short."""
        asked = line.asked
        before = self.lines[-1] if self.lines else None
        was_cut = before is not None and before.outcome == "preempted" and before.is_final
        if line.outcome == "shown" and asked.kind == "motion" and not asked.loop:
            is_patient = line.at_s - asked.asked_s >= PATIENCE_S and not was_cut
            loop = max((a.priority for a in self.show._loops), default=asked.priority)
            for other in self.show.waiting:
                if other.loop or other.priority < loop:
                    continue
                if line.at_s - other.asked_s >= PATIENCE_S and not was_cut:
                    assert is_patient
                    assert asked.arrived < other.arrived
                elif not is_patient:
                    assert (asked.priority, -asked.arrived) > (other.priority, -other.arrived)
        if line.outcome == "preempted" and asked.kind == "motion" and not asked.loop:
            cutting = int(line.reason.removeprefix("move"))
            assert self.priorities[cutting] > asked.priority
        self.lines.append(line)

    def both(self) -> tuple[Show, Show]:
        return self.show, self.ticking

    def new_id(self) -> int:
        self.count += 1
        return self.count

    # --- what may happen ---

    @rule(owner=OWNERS, priority=PRIORITIES, length_s=st.none() | LENGTHS)
    def express(self, owner: str, priority: int, length_s: float | None) -> None:
        number = self.new_id()
        until_s = None if length_s is None else self.now_s + length_s
        for show in self.both():
            asked = Asked(number, "expression", f"face{number}", owner, priority, until_s=until_s)
            show.express(asked, self.now_s)
        self.asked[number] = asked
        self.forget_expired()
        if until_s is None:
            self.wanted = [
                each
                for each in self.wanted
                if each.owner != owner or each.until_s is not None or each.priority > priority
            ]
        self.wanted.append(Wanted(number, owner, priority, until_s))
        if len(self.wanted) > MOST_EXPRESSIONS:
            self.wanted.remove(min(self.wanted, key=lambda each: (each.priority, each.id)))

    @rule(
        owner=OWNERS,
        priority=PRIORITIES,
        length_s=st.sampled_from([0.25, 1.0, 3.0, 6.0, 12.0]),
        loop=st.sampled_from([False, False, False, True]),
    )
    def perform(self, owner: str, priority: int, length_s: float, loop: bool) -> None:
        number = self.new_id()
        self.priorities[number] = priority
        for show in self.both():
            asked = Asked(
                number, "motion", f"move{number}", owner, priority, loop=loop, duration_s=length_s
            )
            show.perform(asked, self.now_s)
        self.asked[number] = asked

    @rule(owner=OWNERS, kind=st.sampled_from([None, "expression", "motion"]))
    def release(self, owner: str, kind: str | None) -> None:
        for show in self.both():
            show.release(self.now_s, owner=owner, kind=kind)  # type: ignore[arg-type]  # two literals
        self.forget_expired()
        if kind != "motion":
            self.wanted = [each for each in self.wanted if each.owner != owner]

    @rule(quarters=st.sampled_from([1, 2, 4, 12, 30, 100]))
    def pass_time(self, quarters: int) -> None:
        for _ in range(quarters):
            self.now_s += 0.25
            self.ticking.advance(self.now_s)

    @precondition(lambda self: self.show.next_s() is not None)
    @rule()
    def be_called_in_time(self) -> None:
        due_s = self.show.next_s()
        assert due_s is not None
        while self.now_s < due_s:
            self.now_s += 0.25
            self.ticking.advance(self.now_s)
        self.show.advance(self.now_s)

    def forget_expired(self) -> None:
        self.wanted = [
            each for each in self.wanted if each.until_s is None or each.until_s > self.now_s
        ]

    # --- what is always true ---

    @invariant()
    def the_face_is_the_highest_that_is_valid(self) -> None:
        self.show.advance(self.now_s)
        self.forget_expired()
        best = max(self.wanted, key=lambda each: (each.priority, each.id), default=None)
        assert (self.show.face and self.show.face.id) == (best and best.id)
        assert sorted(each.id for each in self.show._held) == [each.id for each in self.wanted]

    @invariant()
    def the_motion_is_the_highest_that_is_due(self) -> None:
        playing = self.show.motion
        loops = [each for each in self.show.waiting if each.loop]
        queue = [each for each in self.show.waiting if not each.loop]
        if playing is None:
            assert not loops
            assert not queue
        elif playing.loop:
            assert all(each.rank < playing.rank for each in loops)
            assert all(each.priority < playing.priority for each in queue)
        else:
            assert playing.ends_s is not None
            assert playing.ends_s > self.now_s
            assert playing.started_s is not None
            was_patient = playing.started_s - playing.asked_s >= PATIENCE_S
            if not was_patient:
                assert all(each.priority <= playing.priority for each in (*loops, *queue))

    @invariant()
    def nothing_waits_for_ever_and_nothing_is_unbounded(self) -> None:
        queue = [each for each in self.show.waiting if not each.loop]
        assert all(self.now_s - each.asked_s < WAIT_S for each in queue)
        assert len(queue) <= MOST_WAITING
        assert len(self.show._loops) <= MOST_LOOPS
        assert len(self.show._held) <= MOST_EXPRESSIONS

    @invariant()
    def it_makes_no_difference_how_often_it_is_told_the_time(self) -> None:
        for show in self.both():
            show.advance(self.now_s)

        def told(lines: list[Line]) -> list[tuple[object, ...]]:
            return [
                (each.asked.id, each.outcome, each.at_s, each.by, each.is_final) for each in lines
            ]

        assert told(self.lines) == told(self.steady)
        times = [line.at_s for line in self.lines]
        assert times == sorted(times)

    @invariant()
    def every_request_has_at_most_one_end_and_nothing_after_it(self) -> None:
        ended: set[int] = set()
        for line in self.lines:
            assert line.asked.id not in ended
            if line.is_final:
                ended.add(line.asked.id)
        playing = {self.show.motion.id} if self.show.motion is not None else set()
        alive = {each.id for each in (*self.show._held, *self.show.waiting)} | playing
        assert alive == set(self.asked) - ended

    @invariant()
    def what_yields_comes_back_or_ends(self) -> None:
        self.show.advance(self.now_s)
        state: dict[int, str] = {}
        for line in self.lines:
            before = state.get(line.asked.id)
            match line.outcome:
                case "shown" | "waiting":
                    assert before in ((None, "waiting") if line.outcome == "shown" else (None,))
                case "resumed":
                    assert before == "preempted"
                case "preempted" | "finished":
                    assert before in ("shown", "resumed")
            state[line.asked.id] = line.outcome

    def teardown(self) -> None:
        for show in self.both():
            show.release(self.now_s)
            assert show.is_empty
            assert show.next_s() is None
        assert sorted(line.asked.id for line in self.lines if line.is_final) == sorted(self.asked)


TestArbitration = Arbitration.TestCase
TestArbitration.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
