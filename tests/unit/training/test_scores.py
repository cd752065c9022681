"""How many words a recogniser understood."""

from __future__ import annotations

import pytest

from backend.training.scores import clear_words, words


@pytest.mark.parametrize(
    ("said", "heard", "share"),
    [
        ("Hello, chat!", "hello chat", 1.0),
        ("one two three four", "one free three", 0.5),
        ("one two three four", "", 0.0),
        ("one two", "well one or maybe two of them", 1.0),
        ("one two three", "three two one", 1 / 3),
        ("It’s a dog's life", "it's a dogs life", 0.75),
        ("Ünïted STRASSE", "ünïted straße", 1.0),
    ],
)
def test_the_share_counts_words_that_came_through_in_order(
    said: str, heard: str, share: float
) -> None:
    assert clear_words(said, heard) == pytest.approx(share, abs=1e-3)


def test_nothing_to_say_has_no_share() -> None:
    assert clear_words("… ?!", "hello") is None


def test_a_language_without_spaces_is_compared_by_its_signs() -> None:
    assert words("こんにちは、世界") == list("こんにちは世界")
    assert clear_words("大家好，你好", "大家你好") == pytest.approx(4 / 5)


def test_words_that_were_only_added_cost_nothing_and_the_share_is_never_negative() -> None:
    assert clear_words("yes", " ".join(["no"] * 50)) == 0.0
    assert clear_words("yes", " ".join(["no"] * 50 + ["yes"])) == 1.0
