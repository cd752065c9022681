"""Which of her words sounded when."""

from __future__ import annotations

import pytest

from backend.listening.spoken import Spoken

TEXT = "aaaa bbbb cccc dddd eeee"  # half a second each


@pytest.mark.parametrize(
    ("since_s", "until_s", "expected"),
    [
        (90, 200, "first one. aaaa bbbb cccc dddd eeee"),
        (99, 100, "one."),
        (101.1, 101.9, "cccc dddd"),
        (102.6, 200, ""),
        (80, 97, ""),
        (102.1, 102.2, "eeee"),
    ],
)
def test_only_what_sounded_meanwhile_counts(since_s: float, until_s: float, expected: str) -> None:
    spoken = Spoken()
    spoken.began("first one.", 1.5, 98)
    spoken.began(TEXT, 2.5, 100)
    assert spoken.between(since_s, until_s) == expected


def test_what_an_interruption_left_unsaid_does_not_count() -> None:
    spoken = Spoken()
    spoken.began(TEXT, 2.5, 100)
    spoken.stopped(101.2)
    assert spoken.between(99, 110) == "aaaa bbbb cccc"
    assert spoken.between(101.3, 110) == ""


def test_a_sentence_that_is_followed_early_has_ended() -> None:
    spoken = Spoken()
    spoken.began(TEXT, 2.5, 100)
    spoken.began("next", 1, 101.1)
    assert spoken.between(100.9, 101.05) == "bbbb cccc"
