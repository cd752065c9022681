"""The next step of the training page, for every state there is."""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from typing import Any, get_args

import pytest

from backend.contracts.training import JobState
from frontend.widgets.training.state import ENDED
from frontend.widgets.training.wizard import STEPS, Facts, plan

HEALTHY = Facts(files=3, clips=90, accepted=80, examined=True)
TRAINED = replace(HEALTHY, training="done", voice="mika-v1", samples=4, character="Hoshi")


def states(facts: Facts) -> list[str]:
    return [step.state for step in plan(facts).steps]


@pytest.mark.parametrize(
    ("facts", "action"),
    [
        (Facts(has_speaker=False, may_use=False), "speaker"),
        (Facts(may_use=False), "consent"),
        (Facts(), "record"),
        (Facts(files=2, waiting=2), "process"),
        (Facts(files=2, waiting=2, making=0.3), "wait"),
        (Facts(files=3, refused=3), "record"),
        (Facts(files=2, clips=20), "review"),
        (Facts(files=2, clips=20, accepted=15), "examine"),
        (Facts(files=4, waiting=1, clips=20, accepted=15), "process"),
        (Facts(files=4, clips=20, accepted=15, making=0.5), "examine"),
        (replace(HEALTHY, examining=True), "wait"),
        (replace(HEALTHY, outdated=True), "examine"),
        (replace(HEALTHY, problems=1), "doctor"),
        (replace(HEALTHY, problems=1, knows_problems=True), "train"),
        (replace(HEALTHY, hints=2), "train"),
        (HEALTHY, "train"),
        (replace(HEALTHY, training="cancelled"), "train"),
        (replace(HEALTHY, training="failed"), "train"),
        (replace(HEALTHY, training="failed", can_resume=True), "resume"),
        (replace(HEALTHY, training="interrupted", can_resume=True), "resume"),
        (replace(HEALTHY, training="paused"), "resume"),
        (replace(HEALTHY, training="queued"), "wait"),
        (replace(HEALTHY, training="train", samples=2), "listen"),
        (TRAINED, "listen"),
        (replace(TRAINED, listened=True), "use"),
        (replace(TRAINED, listened=True, given=True), "talk"),
        (replace(TRAINED, given=True), "talk"),
        (replace(TRAINED, may_use=False), "consent"),
    ],
)
def test_the_next_step_follows_from_what_is_there(facts: Facts, action: str) -> None:
    assert plan(facts).action == action


def test_the_line_looks_as_drawn_while_a_training_runs() -> None:
    """The picture the page was designed from."""
    facts = replace(
        HEALTHY, files=94, clips=94, accepted=86, hints=2, training="train", share=0.64, samples=3
    )
    made = plan(facts)
    assert [step.state for step in made.steps] == [
        "done",
        "done",
        "warning",
        "current",
        "todo",
        "todo",
    ]
    assert [step.result for step in made.steps] == [
        "94 files",
        "86 of 94",
        "2 hints",
        "64 %",
        "",
        "",
    ]
    assert made.label == "Listen to best"


def test_refused_files_are_a_warning_not_the_end() -> None:
    facts = Facts(files=3, refused=1, clips=12, accepted=12)
    assert states(facts)[0] == "warning"
    assert plan(facts).steps[0].result == "3 files, 1 refused"
    assert plan(facts).action == "examine"


def test_a_running_training_can_always_be_heard_or_waited_for_even_when_consent_was_taken_back() -> (
    None
):
    for state in get_args(JobState):
        if state not in ENDED:
            assert plan(replace(HEALTHY, may_use=False, training=state)).action in (
                "wait",
                "resume",
            )


def test_every_state_has_one_next_step_and_says_it() -> None:
    """All combinations of what decides: no state is without words, and none has two current steps that disagree."""
    some: dict[str, tuple[Any, ...]] = {
        "has_speaker": (True, False),
        "may_use": (True, False),
        "files": (0, 3),
        "waiting": (0, 1),
        "clips": (0, 9),
        "accepted": (0, 5),
        "making": (None, 0.4),
        "examined": (True, False),
        "problems": (0, 1),
        "training": ("", "train", "paused", "done", "failed"),
        "voice": ("", "v"),
        "listened": (True, False),
        "given": (True, False),
    }
    for values in product(*some.values()):
        made = plan(Facts(**dict(zip(some, values, strict=True))))
        assert made.label
        assert made.action
        assert [step.name for step in made.steps] == [name for name, _ in STEPS]


@pytest.mark.parametrize("phase", ["preflight", "prepare", "align", "export", "verify"])
def test_only_the_training_itself_is_told_in_per_cent(phase: str) -> None:
    def told(state: str) -> str:
        facts = replace(HEALTHY, training=state, share=1.0)
        return next(step.result for step in plan(facts).steps if step.name == "train")

    assert told("train") == "100 %"
    assert "%" not in told(phase)
    assert told(phase) != phase


def test_a_training_without_a_figure_yet_says_so_in_words() -> None:
    facts = replace(HEALTHY, training="train", share=None)
    assert "first steps" in [step.result for step in plan(facts).steps]
