"""Whatever modes do and people choose: every message gets one reply, from a mode that may answer, and nothing flaps."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from backend.contracts.modes import MODES, ModeChange, ModeName
from backend.modes import switch
from tests.fake_modes import House, Mood

T = TypeVar("T")

WHERE = ("stage", "c1", "c2")
MOODS: tuple[Mood, ...] = ("good", "down", "empty", "buggy", "liar", "refuses")
LONG_ENOUGH_S = 2_000.0
"""Longer than the longest rest and the rarest probe."""


class Evening(RuleBasedStateMachine):
    """An evening on stage: modes come and go, people choose, messages come in."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.count = 0
        self.own: dict[str, ModeName] = {}
        self.choice: switch.Choice = "auto"
        self.last: dict[str, ModeName] = {}
        self.last_seen: list[ModeChange] = []
        self.automatic: list[tuple[float, ModeChange]] = []
        self.forgiven_s = 0.0

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return self.loop.run_until_complete(work)

    @initialize()
    def open(self) -> None:
        async def made() -> House:
            house = House()
            await house.modes.start("auto")
            return house

        self.house = self.run(made())

    def teardown(self) -> None:
        if hasattr(self, "house"):
            for each in self.house.all:
                each.mood = "good"
            self.run(self.house.hours.pass_by(LONG_ENOUGH_S))
            for where in WHERE:
                state = self.run(self.house.modes.state(where))
                assert state.mode == state.chosen, "all are well again, and one is still left alone"
            self.run(self.house.modes.close())
        self.loop.close()

    # --- what happens ---

    @rule(mode=st.sampled_from(range(3)), mood=st.sampled_from(MOODS))
    def a_mode_changes_its_mood(self, mode: int, mood: Mood) -> None:
        # The persona has no bad day: it is this program itself.
        if MODES[mode] != "autonomous":
            self.house.all[mode].mood = mood

    @rule(where=st.sampled_from(WHERE))
    def a_message_comes(self, where: str) -> None:
        self.count += 1
        text = f"message {self.count}"
        before = [len(each.asked) for each in self.house.all]
        order = MODES[MODES.index(self.chosen(where)) :]
        reply = self.run(self.house.ask(text, where))
        asked = [
            each.name
            for each, count in zip(self.house.all, before, strict=True)
            if len(each.asked) > count
        ]
        giver = next(each for each in self.house.all if reply == f"{each.name} heard {text}.")
        assert asked[-1] == giver.name, "nobody is asked after a reply was given"
        assert set(asked) <= set(order), "nobody above the choice is asked"
        assert all(each.asked.count(text) <= 1 for each in self.house.all), "asked twice"

    @rule(seconds=st.sampled_from((0.5, 3.0, 10.0, 61.0, 700.0)))
    def time_goes_by(self, seconds: float) -> None:
        self.run(self.house.hours.pass_by(seconds))

    @rule(where=st.sampled_from(WHERE))
    def a_busy_while(self, where: str) -> None:
        for _ in range(12):
            self.a_message_comes(where)
            self.time_goes_by(9.0)
            self.changes_follow_on_each_other()

    @rule(mode=st.sampled_from(("auto", *MODES)))
    def somebody_chooses_for_everywhere(self, mode: switch.Choice) -> None:
        self.choice = mode
        self.run(self.house.modes.set(mode))
        self.forgive()

    @rule(mode=st.sampled_from(MODES), where=st.sampled_from(WHERE))
    def somebody_chooses_for_one(self, mode: ModeName, where: str) -> None:
        self.own[where] = mode
        self.run(self.house.modes.set(mode, conversation_id=where))
        self.forgive()

    @precondition(lambda self: self.own)
    @rule(data=st.data())
    def one_goes_with_the_others_again(self, data: st.DataObject) -> None:
        where = data.draw(st.sampled_from(sorted(self.own)))
        del self.own[where]
        self.run(self.house.modes.clear(where))
        self.changes_follow_on_each_other()
        self.last.pop(where, None)  # from here on it follows the changes for everywhere

    @rule(mode=st.sampled_from(MODES))
    def settings_are_saved(self, mode: ModeName) -> None:
        self.house.modes.settings_changed(self.choice, {mode: None})
        self.forgive()

    # --- what is always true ---

    @invariant()
    def who_answers_was_chosen_or_comes_after(self) -> None:
        if not hasattr(self, "house"):
            return
        for where in WHERE:
            state = self.run(self.house.modes.state(where))
            assert state.chosen == self.chosen(where)
            assert MODES.index(state.mode) >= MODES.index(state.chosen)
            resting = {each.mode for each in state.modes if each.is_resting}
            assert state.mode not in resting or state.mode == MODES[-1]
            assert "autonomous" not in resting
            skipped = MODES[MODES.index(state.chosen) : MODES.index(state.mode)]
            assert set(skipped) <= resting, "one that could answer is passed over"
            assert len(state.history) <= switch.HISTORY

    @invariant()
    def changes_follow_on_each_other(self) -> None:
        if not hasattr(self, "house"):
            return
        new = self.new_changes()
        now_s = self.house.hours.now_s
        self.automatic += [
            (now_s, change) for change in new if change.is_automatic and not change.conversation_id
        ]
        for change in new:
            before = self.last.get(change.conversation_id)
            assert before in (None, change.before), "a change begins where none ended"
            self.last[change.conversation_id] = change.after

    @invariant()
    def nothing_flaps(self) -> None:
        if not hasattr(self, "house"):
            return
        # Each fall is followed by a rest of 10 s at least, doubled by each relapse; two modes can fall.
        now_s = self.house.hours.now_s
        since_s = max(now_s - 600.0, self.forgiven_s)
        assert sum(at_s > since_s for at_s, _ in self.automatic) <= 2 * 2 * 7

    # --- the model's own ---

    def chosen(self, where: str) -> ModeName:
        mode = self.own.get(where, self.choice)
        return "external-api" if mode == "auto" else mode

    def forgive(self) -> None:
        """Somebody's act lets a mode be asked again at once; what follows from that is his."""
        self.forgiven_s = self.house.hours.now_s

    def new_changes(self) -> list[ModeChange]:
        history = list(self.house.modes.history)
        known = len(self.last_seen)
        found = history[known:] if history[:known] == self.last_seen else history
        self.last_seen = history
        return found


Evening.TestCase.settings = settings(
    max_examples=15,
    stateful_step_count=25,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
test_an_evening_with_moody_modes = Evening.TestCase
