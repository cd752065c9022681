"""What words mean to an avatar: tags and stage directions are read kindly, what it cannot do simply does not happen."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backend.avatar.cues import Cues, read_expression, read_motion, stem
from backend.avatar.rigs import Known, Rigs
from backend.avatar.state import AvatarState
from backend.contracts.avatar import Motion, Rig
from backend.contracts.entities import Character, Cue
from backend.core.bus import EventBus

KNOWN = Known(
    Rig(
        id="mika",
        kind="puppet",
        title="Mika",
        expressions=("Happy", "sad", "Angry"),
        motions=tuple(
            Motion(group="gesture", index=n, name=name)
            for n, name in enumerate(("wave", "nod", "bow", "shrug", "dance", "high five"))
        ),
    ),
    aliases={"greeting": "wave", "cat ears": "nod", "grumpy": "Angry"},
)


@pytest.mark.parametrize(
    ("words", "motion"),
    [
        ("wave", "wave"),
        ("waves", "wave"),
        ("waving happily", "wave"),
        ("waved", "wave"),
        ("Nods slowly", "nod"),
        ("nodding", "nod"),
        ("takes a deep bow", "bow"),
        ("bows", "bow"),
        ("shrugging", "shrug"),
        ("dances around", "dance"),
        ("high five", "high five"),
        ("cat ears", "nod"),
        ("greetings", "wave"),
        ("looks away", None),
        ("", None),
        ("*", None),
    ],
)
def test_a_stage_direction_is_a_motion_in_any_form(words: str, motion: str | None) -> None:
    found = read_motion(KNOWN, words)
    assert (found and found.name) == motion


@pytest.mark.parametrize(
    ("words", "expression"),
    [
        ("happy", "Happy"),
        ("joy", "Happy"),
        ("smiles", "Happy"),
        ("smiling brightly", "Happy"),
        ("sadness", "sad"),
        ("grumpy", "Angry"),
        ("neutral", "neutral"),
        ("love", None),
        ("wave", None),
    ],
)
def test_a_feeling_is_found_by_what_it_is_usually_called(
    words: str, expression: str | None
) -> None:
    assert read_expression(KNOWN, words) == expression


@given(st.text(max_size=80))
@settings(max_examples=200, deadline=None)
def test_any_words_are_read_without_trouble(words: str) -> None:
    read_motion(KNOWN, words)
    read_expression(KNOWN, words)
    assert len(stem(words)) <= len(words)


MIKA = Character(id="mika", name="Mika")


@pytest.fixture
async def cues(tmp_path: Path) -> Cues:
    folder = tmp_path / "mika"
    folder.mkdir()
    rig = {
        "format": 1,
        "title": "Mika",
        "kind": "puppet",
        "expressions": ["neutral", "joy"],
        "motions": [{"name": "wave"}, {"name": "joy", "index": 1}],
        "puppet": {"layers": []},
    }
    (folder / "rig.json").write_text(json.dumps(rig))
    rigs = Rigs(tmp_path, tmp_path / "none")
    await rigs.refresh(now=True)
    return Cues(AvatarState(EventBus()), rigs, {"mika": MIKA}.get)


def test_a_word_in_brackets_is_a_face_before_it_is_a_motion(cues: Cues) -> None:
    assert cues.read(Cue("expression", "joy"), MIKA) == Cue("expression", "joy")
    assert cues.read(Cue("motion", "joy"), MIKA) == Cue("motion", "joy")
    assert cues.read(Cue("expression", "wave"), MIKA) == Cue("motion", "wave")
    assert cues.read(Cue("motion", "smiles"), MIKA) == Cue("expression", "joy")


def test_what_a_rig_does_not_have_vanishes_without_a_warning(
    cues: Cues, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        assert cues.read(Cue("motion", "does a backflip"), MIKA) is None
        assert cues.read(Cue("expression", "1:23"), MIKA) is None
    assert not caplog.records


async def test_cues_that_were_not_heard_when_the_turn_ends_are_dropped(cues: Cues) -> None:
    heard = cues.schedule(Cue("motion", "wave"), MIKA, "t1", 1)
    cues.schedule(Cue("expression", "joy"), MIKA, "t1", 2)
    other = cues.schedule(Cue("expression", "joy"), MIKA, "t2", 1)
    cues.fire(heard, "t1", "mika")
    cues.end("t1")
    lines = [f"{line.name} {line.outcome}" for line in cues.avatar.timeline(turn_id="t1")]
    assert lines == ["wave scheduled", "joy scheduled", "wave shown", "joy dropped"]
    cues.fire(other, "t2", "mika")
    assert cues.shown(MIKA).expression == "joy"
    cues.avatar.close()


async def test_with_the_module_off_a_reply_moves_nothing_and_says_so(tmp_path: Path) -> None:
    cues = Cues(
        AvatarState(EventBus()), Rigs(tmp_path, tmp_path), {"mika": MIKA}.get, lambda: False
    )
    cues.fire(cues.schedule(Cue("expression", "neutral"), MIKA, "t1", 1), "t1", "mika")
    last = cues.avatar.timeline()[-1]
    assert (last.outcome, last.reason, last.is_final) == (
        "dropped",
        "the module avatar is off",
        True,
    )


async def test_cues_of_a_character_that_is_gone_are_dropped(cues: Cues) -> None:
    ghost = Character(id="ghost", name="Ghost")
    cues.fire(cues.schedule(Cue("expression", "neutral"), ghost, "t1", 1), "t1", "mika")
    assert cues.avatar.timeline()[-1].outcome == "dropped"
    cues.fire(Cue("expression", "joy"), "t1", "ghost")
    assert cues.shown(MIKA).expression == "neutral"


def test_other_forms_of_the_names_are_worked_out_once_for_each_rig() -> None:
    wave, nod = (Motion(group="m", index=n, name=name) for n, name in enumerate(("wave", "nod")))
    one, other = (
        Known(Rig(id="x", kind="puppet", title="X", expressions=("joy",), motions=(motion,)))
        for motion in (wave, nod)
    )
    for _ in range(2):
        assert read_motion(one, "waving") == wave
        assert read_motion(other, "waving") is None
        assert read_expression(one, "joys") == "joy"
    assert {id(made) for made in one.stems.values()}.isdisjoint(map(id, other.stems.values()))
    kept = dict(one.stems)
    read_motion(one, "dancing")
    assert all(one.stems[what] is made for what, made in kept.items())
