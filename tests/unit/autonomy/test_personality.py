"""Moods: bounded, deterministic, back to rest, and telling in what they decide."""

from __future__ import annotations

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings

from backend.autonomy.personality import REACTIONS, TRAIT_EFFECTS, Happening, Temper
from backend.contracts.entities import Personality

CALM = Personality(mood="calm", energy=0.5)
PEOPLE = st.builds(
    Personality,
    traits=st.dictionaries(
        st.sampled_from([*TRAIT_EFFECTS, "formal", "purple"]), st.floats(-3, 3), max_size=6
    ),
    mood=st.sampled_from(["cheerful", "angry", "", "wibbly"]),
    energy=st.floats(0, 1),
)
EVENTS = st.lists(
    st.tuples(st.sampled_from(list(REACTIONS)), st.floats(-100, 1e6), st.integers(-5, 10**9)),
    max_size=40,
)


@given(PEOPLE, EVENTS)
@settings(max_examples=80, deadline=None)
def test_whatever_happens_she_stays_within_her_bounds_and_the_same_makes_the_same(
    personality: Personality, events: list[tuple[Happening, float, int]]
) -> None:
    def after() -> tuple[object, float]:
        temper, now_s = Temper(personality, 0.0), 0.0
        for what, passes_s, amount in events:
            now_s += passes_s  # it may even go back
            temper.react(what, now_s, amount)
            state = temper.state(now_s)
            assert -1 <= state.valence <= 1
            assert 0 <= state.energy <= 1
            assert 22.5 <= temper.gap_s(45) <= 90
        return temper.state(now_s), temper.gap_s(45)

    assert after() == after()


def test_a_raid_lifts_her_and_wears_off() -> None:
    temper = Temper(CALM, 0.0)
    at_rest = temper.state(0.0)
    temper.react("raid", 1.0, 100)
    lifted = temper.state(1.0)
    assert lifted.valence > at_rest.valence + 0.3
    assert lifted.energy > at_rest.energy + 0.2
    assert lifted.settles_s > 600
    later = temper.state(7200.0)
    assert later.valence == pytest.approx(at_rest.valence, abs=0.01)
    assert later.settles_s == 0


def test_insults_hurt_the_shy_more_than_the_bold() -> None:
    shy = Temper(Personality(traits={"shy": 1.0}), 0.0)
    bold = Temper(Personality(traits={"bold": 1.0}), 0.0)
    fell = []
    for temper in (shy, bold):
        before = temper.state(0.0).valence
        temper.react("insult", 0.0)
        fell.append(before - temper.state(0.0).valence)
    assert fell[0] > fell[1] > 0


def test_a_long_stream_and_silence_make_her_tired() -> None:
    temper = Temper(CALM, 0.0)
    assert temper.state(3600.0).energy == pytest.approx(0.5, abs=0.01)
    assert temper.state(9 * 3600.0).energy < 0.3
    for minute in range(10):
        temper.react("silence", 9 * 3600.0 + minute * 120)
    assert temper.state(9 * 3600.0 + 1200).words.endswith(("tired", "nearly asleep"))
    assert temper.style == "calm"


def test_how_she_is_decides_how_soon_and_how_she_speaks() -> None:
    lively = Temper(Personality(traits={"talkative": 1, "energetic": 1}, energy=0.9), 0.0)
    quiet = Temper(Personality(traits={"quiet": 1}, energy=0.2), 0.0)
    assert lively.gap_s(45) < 30 < 80 < quiet.gap_s(45)
    assert (lively.style, quiet.style) == ("excited", "calm")
    assert Temper(Personality(traits={"elegant": 0.9}, energy=0.5), 0.0).style == "formal"


def test_passing_time_in_one_step_or_in_many_is_the_same() -> None:
    one, many = Temper(CALM, 0.0), Temper(CALM, 0.0)
    for temper in (one, many):
        temper.react("raid", 0.0, 50)
    for second in range(0, 3600, 7):
        many.settle(second)
    assert many.state(3600.0) == one.state(3600.0)


def test_the_mood_is_kept_over_a_crash_and_rests_over_a_long_pause() -> None:
    temper = Temper(CALM, 0.0)
    temper.react("raid", 10.0, 1000)
    kept = temper.dump(20.0)
    soon, later = Temper(CALM, 5.0), Temper(CALM, 5.0)
    soon.load(kept, 5.0, 30.0)
    assert soon.state(5.0).valence == pytest.approx(temper.state(50.0).valence, abs=0.01)
    later.load(kept, 5.0, 12 * 3600.0)
    assert later.state(5.0) == Temper(CALM, 5.0).state(5.0)
    broken = Temper(CALM, 0.0)
    broken.load({"valence": "high", "energy": float("nan"), "streaming_s": None}, 0.0, -5)
    assert broken.state(0.0) == Temper(CALM, 0.0).state(0.0)
