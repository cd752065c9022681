"""What a language model is told of the avatar, within its budget."""

from __future__ import annotations

from backend.chat import prompt
from backend.contracts.entities import Character

MIKA = Character(id="mika", name="Mika", expressions=("neutral", "joy"))


def told(vocabulary: prompt.Vocabulary | None) -> str:
    messages = prompt.build(
        MIKA,
        [],
        message="hello",
        author="you",
        budget_tokens=2048,
        reply_tokens=256,
        vocabulary=vocabulary,
    )
    return messages[0].text


def test_a_model_is_told_which_feelings_and_movements_there_are() -> None:
    text = told((("happy", "sad"), ("wave", "high five")))
    assert "[happy] [sad]" in text
    assert "[wave] [high five]" in text
    assert "[joy]" not in text


def test_without_a_rig_the_characters_own_expressions_are_told() -> None:
    text = told(None)
    assert "[neutral] [joy]" in text
    assert "movement" not in text


def test_a_model_with_hundreds_of_faces_costs_no_more_than_its_share() -> None:
    names = tuple(f"expression number {n}" for n in range(256))
    text = told((names, names))
    assert "[expression number 0]" in text
    plain = told(((), ()))
    assert len(text) - len(plain) < 2 * prompt.TAGS_CHARS + 200


def test_how_she_feels_stands_last_in_the_system_text_and_has_a_bound() -> None:
    messages = prompt.build(
        MIKA,
        [],
        message="hello",
        author="Ann",
        budget_tokens=2048,
        reply_tokens=256,
        is_viewers=True,
        manner="You feel calm. " * 100,
    )
    before, _, manner = messages[0].text.rpartition("\n\n")
    assert manner.startswith("You feel calm.")
    assert len(manner) == prompt.MANNER_CHARS
    assert before.endswith(prompt.ABOUT_VIEWERS)
    assert [message.role for message in messages] == ["system", "user"]
