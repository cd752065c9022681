"""Styles by rules."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend.chat.styling import STYLES, Style, restyled

TEXT = "Hello, I am so glad you are here. It is going to be awesome!"


@pytest.mark.parametrize(
    ("style", "expected"),
    [
        ("casual", "Hey, I'm so glad you're here. It's gonna be awesome!"),
        ("formal", "Hello, I am so glad you are here. It is going to be excellent."),
        ("excited", "Wow! Hello, I am so glad you are here! It is going to be awesome!"),
        ("calm", "Hello, I am so glad you are here. It is going to be awesome."),
    ],
)
def test_each_style_says_it_in_its_own_way(style: Style, expected: str) -> None:
    assert restyled(TEXT, style) == expected


def test_formal_words_undo_casual_ones() -> None:
    assert (
        restyled("hey guys, I'm gonna win lol!!! 🎉", "formal")
        == "Hello everyone, I am going to win."
    )


def test_calm_does_not_shout() -> None:
    assert restyled("WHAT?! This is AMAZING!!!", "calm") == "What? This is Amazing."


def test_other_languages_change_their_marks_alone() -> None:
    assert restyled("Schön, dass du da bist!", "formal") == "Schön, dass du da bist."
    assert restyled("Schön, dass du da bist.", "excited") == "Wow! Schön, dass du da bist!"


@pytest.mark.parametrize("style", STYLES)
def test_addresses_and_quoted_words_are_left_alone(style: Style) -> None:
    for kept in ("https://do.not/hello.there", "“I am going to WIN!”", "me@do.not.example"):
        assert kept in restyled(f"See {kept} now.", style)


@given(st.text(alphabet=st.characters(exclude_characters='"`“”@:'), max_size=300))
def test_quiet_styles_leave_no_exclamation_mark_at_the_end_of_a_word(text: str) -> None:
    for style in ("calm", "formal"):
        assert not re.search(r"\w!(\s|$)", restyled(text, style))


@given(st.text(max_size=300), st.sampled_from(STYLES))
def test_a_style_takes_any_text_and_leaves_no_marks_of_its_own(text: str, style: Style) -> None:
    assert not set("\ue000\ue001") & set(restyled(text, style))
