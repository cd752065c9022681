"""Sentences leave early, whole, and unchanged."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend.chat.sentences import LONGEST_CHARS, SentenceSplitter, speakable


def split(text: str, *, by: int = 3, first_clause_chars: int = 10_000) -> list[str]:
    splitter = SentenceSplitter(first_clause_chars=first_clause_chars)
    found: list[str] = []
    for start in range(0, len(text), by):
        found += splitter.feed(text[start : start + by])
    return found + splitter.finish()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Hello there! How are you?", ["Hello there!", "How are you?"]),
        ("Dr. Smith met Mrs. Jones at 3.5 km.", ["Dr. Smith met Mrs. Jones at 3.5 km."]),
        ("It costs 1,000.50 dollars. Really.", ["It costs 1,000.50 dollars.", "Really."]),
        ("See https://a.io/b.c?d=1. Then go.", ["See https://a.io/b.c?d=1.", "Then go."]),
        ("Well... maybe. Wait, what?!", ["Well...", "maybe.", "Wait, what?!"]),
        ("I like e.g. tea, i.e. all of it. You?", ["I like e.g. tea, i.e. all of it.", "You?"]),
        ("J. R. R. Tolkien wrote it. I know.", ["J. R. R. Tolkien wrote it.", "I know."]),
        (
            'She said "Stop!" and left. Then "Bye."',
            ['She said "Stop!"', "and left.", 'Then "Bye."'],
        ),
        ("おはよう。元気ですか？はい！", ["おはよう。", "元気ですか？", "はい！"]),
        ("「行こう。」と言った。終わり", ["「行こう。」", "と言った。", "終わり"]),
        ("你好，世界。今天天气很好！", ["你好，世界。", "今天天气很好！"]),
        ("Great! 🎉 Next one.", ["Great! 🎉", "Next one."]),
        ("1. First thing\n2. Second thing", ["1. First thing", "2. Second thing"]),
        ("no end mark", ["no end mark"]),
        ("Am I? I am. U.S. news.", ["Am I?", "I am.", "U.S. news."]),
        ("", []),
        ("   \n ", []),
    ],
)
@pytest.mark.parametrize("by", [1, 3, 1000])
def test_sentences_end_where_a_reader_would_say(text: str, expected: list[str], by: int) -> None:
    if by == 1 and "🎉" in text:
        expected = [
            "Great!",
            "🎉 Next one.",
        ]  # nobody can know yet what follows; both keep the emoji
    found = split(text, by=by)
    if "🎉" in text:
        assert " ".join(found) == text
    else:
        assert found == expected


def test_the_first_clause_leaves_before_the_sentence_has_ended() -> None:
    splitter = SentenceSplitter()
    text = "Well, that is quite a story you have there, and I want to hear"
    assert splitter.feed(text) == ["Well, that is quite a story you have there,"]
    assert splitter.feed(" all of it, please, now. ") == [
        "and I want to hear all of it, please, now."
    ]


def test_an_endless_sentence_is_cut_at_a_space() -> None:
    found = split("word " * 200)
    assert all(len(piece) <= LONGEST_CHARS for piece in found)
    assert " ".join(found) == ("word " * 200).strip()


def test_an_endless_word_is_cut_too() -> None:
    found = split("a" * 5000, by=7)
    assert all(len(piece) <= LONGEST_CHARS for piece in found)
    assert "".join(found) == "a" * 5000


@given(st.text(alphabet="ab .,!?…。、\n\"'()🎉1é", max_size=400), st.integers(1, 9))
def test_nothing_is_lost_however_the_text_arrives(text: str, by: int) -> None:
    assert "".join("".join(split(text, by=by)).split()) == "".join(text.split())


def test_the_way_of_arriving_hardly_changes_the_sentences() -> None:
    rng = random.Random(7)
    text = "So. I went there, e.g. to Mr. Ito's shop! It was 3.5 km away... Then? We ate. " * 3
    whole = split(text, by=len(text))
    for _ in range(50):
        splitter = SentenceSplitter(first_clause_chars=10_000)
        found: list[str] = []
        rest = text
        while rest:
            cut = rng.randint(1, 12)
            found += splitter.feed(rest[:cut])
            rest = rest[cut:]
        assert found + splitter.finish() == whole


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("See https://a.io/x?y=1 now", "See link now"),
        ("**Bold** and `code`", "Bold and code"),
        ("A [link](https://x.io) here", "A link here"),
        ("Nice 🎉✨", "Nice"),
        ("🎉", ""),
        ("...", ""),
        ("zero\u200bwidth\u202e", "zerowidth"),
        ("<b>hi</b>", "b hi /b"),
    ],
)
def test_a_voice_is_given_words_only(text: str, expected: str) -> None:
    assert speakable(text) == expected
