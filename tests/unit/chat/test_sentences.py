"""Sentences leave early, whole, and unchanged."""

import itertools
import random
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend.chat.sentences import (
    FIRST_CLAUSE_CHARS,
    LONGEST_CHARS,
    SHORTEST_LIMIT_CHARS,
    SentenceSplitter,
    speakable,
)


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
        ("Well... maybe. Wait, what?!", ["Well... maybe.", "Wait, what?!"]),
        ("Hmm... Okay! Let's go.", ["Hmm...", "Okay!", "Let's go."]),
        ("No. Never. See no. 5, or No. 6.", ["No.", "Never.", "See no. 5, or No. 6."]),
        ("Das ist z. B. gut, d. h. ja. Nein.", ["Das ist z. B. gut, d. h. ja.", "Nein."]),
        ("Am 3. Oktober um 18.30 Uhr. Ja.", ["Am 3. Oktober um 18.30 Uhr.", "Ja."]),
        ("The answer is 42. Yay!", ["The answer is 42.", "Yay!"]),
        ("At 5 p.m. Don't be late, i.e. run.", ["At 5 p.m.", "Don't be late, i.e. run."]),
        ("At 10 a.m. or later, usw. und so.", ["At 10 a.m. or later, usw. und so."]),
        ("'Why?' he asked. “Go.” She left.", ["'Why?' he asked.", "“Go.”", "She left."]),
        ("うん、ほんと！😊 よかった。", ["うん、ほんと！😊", "よかった。"]),
        ("Yes! 😂😂 😊 So good!! 🎉", ["Yes! 😂😂 😊", "So good!! 🎉"]),
        ("Look:\n```py\na = [1]. B\n```\nNice.", ["Look:", "```py\na = [1]. B\n```", "Nice."]),
        ("ok. sure. whatever.", ["ok.", "sure.", "whatever."]),
        ("क्या हाल है। ठीक है।", ["क्या हाल है।", "ठीक है।"]),
        ("I like e.g. tea, i.e. all of it. You?", ["I like e.g. tea, i.e. all of it.", "You?"]),
        ("J. R. R. Tolkien wrote it. I know.", ["J. R. R. Tolkien wrote it.", "I know."]),
        (
            'She said "Stop!" and left. Then "Bye."',
            ['She said "Stop!" and left.', 'Then "Bye."'],
        ),
        ("おはよう。元気ですか？はい！", ["おはよう。", "元気ですか？", "はい！"]),
        ("「行こう。」と言った。終わり", ["「行こう。」と言った。", "終わり"]),
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
    if by == 1 and "! " in text and not text.isascii():
        # Nobody waits for an emoji that may come: then it is in front of the next sentence.
        assert " ".join(split(text, by=by)) == text
    else:
        assert split(text, by=by) == expected


def test_a_sentence_is_complete_when_a_tag_follows_it() -> None:
    splitter = SentenceSplitter()
    assert splitter.feed("Oh... ") == []
    assert splitter.pause() == ["Oh..."]
    assert splitter.feed("I like Dr. ") == []
    assert splitter.pause() == []
    assert splitter.feed("Who") + splitter.finish() == ["I like Dr. Who"]


def test_the_first_clause_leaves_before_the_sentence_has_ended() -> None:
    splitter = SentenceSplitter()
    text = "Well, that is quite a story you have there, and I want to hear"
    assert splitter.feed(text) == ["Well, that is quite a story you have there,"]
    assert splitter.feed(" all of it, please, now. ") == [
        "and I want to hear all of it, please, now."
    ]


LONG = [
    (
        "Well, I think so myself, yes. And then we go home, because it is late and dark outside, and I am tired of"
        " all this walking around.",
        [
            "Well, I think so myself, yes.",
            "And then we go home, because it is late and dark outside,",
            "and I am tired of all this walking around.",
        ],
    ),
    (
        "Sure! I think that, given the circumstances, we should wait until the storm has passed, because nobody wants"
        " to get wet.",
        [
            "Sure!",
            "I think that, given the circumstances,",
            "we should wait until the storm has passed,",
            "because nobody wants to get wet.",
        ],
    ),
    (
        'She said "well, if you really want to know, I would not do that" and left the room before anybody answered.',
        [
            'She said "well, if you really want to know, I would not do that"',
            "and left the room before anybody answered.",
        ],
    ),
    (
        "On March 3, 2024, I bought apples, e.g., red ones, green ones and yellow ones for the house.",
        [
            "On March 3, 2024, I bought apples, e.g., red ones,",
            "green ones and yellow ones for the house.",
        ],
    ),
    (
        "The whole idea of building a house out of nothing but paper and glue seemed strange to everybody.",
        [
            "The whole idea of building a house out of nothing but paper",
            "and glue seemed strange to everybody.",
        ],
    ),
    ("It is (as far as I know, at least) not far, so let us go now.", None),
    ("Hello there, my friend.", ["Hello there, my friend."]),
    (
        "おはようございます、今日はとてもいい天気ですね、散歩に行きましょうか、それとも家でゆっくりしますか。",
        [
            "おはようございます、今日はとてもいい天気ですね、",
            "散歩に行きましょうか、それとも家でゆっくりしますか。",
        ],
    ),
    (
        "Ich weiß nicht genau, ob das so stimmt, aber ich glaube, dass wir es herausfinden können, wenn wir warten.",
        [
            "Ich weiß nicht genau, ob das so stimmt,",
            "aber ich glaube, dass wir es herausfinden können, wenn wir warten.",
        ],
    ),
]


@pytest.mark.parametrize(("text", "expected"), LONG)
def test_a_long_beginning_leaves_in_clauses_however_it_comes(
    text: str, expected: list[str] | None
) -> None:
    found = split(text, by=1, first_clause_chars=FIRST_CLAUSE_CHARS)
    for by in (2, 3, 7, 20, 1000):
        assert split(text, by=by, first_clause_chars=FIRST_CLAUSE_CHARS) == found
    if expected is not None:
        assert found == expected
    assert "".join("".join(found).split()) == "".join(text.split())


def test_a_bracket_is_not_torn_apart() -> None:
    found = split(LONG[5][0], first_clause_chars=FIRST_CLAUSE_CHARS)
    assert found[0].count("(") == found[0].count(")") == 1


def test_pieces_grow_until_the_voice_is_far_ahead() -> None:
    clause = "this is one more clause of it, "
    found = split(clause.capitalize() + clause * 30, first_clause_chars=FIRST_CLAUSE_CHARS)
    lengths = [len(piece) for piece in found]
    assert lengths[0] < 40
    # A voice that needs half a second for a second of sound: each piece is ready before the ones before it are heard.
    ready = heard = 0.5 * lengths[0]
    for length, following in itertools.pairwise(lengths):
        heard += length
        ready += 0.5 * following
        assert ready <= heard + 0.5 * SHORTEST_LIMIT_CHARS - 0.5 * lengths[0]
    assert max(lengths) > 200


def test_a_long_text_is_scanned_in_no_time() -> None:
    splitter = SentenceSplitter()
    splitter.feed("I see, so this is what it is like when it begins, you know. ")
    text = "word, " * 40 + "nothing but words " * 300
    began_s = time.thread_time()
    for start in range(0, len(text), 4):
        splitter.feed(text[start : start + 4])
    assert time.thread_time() - began_s < 0.5


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
        ("Read https://a.io/x?y=1, or www.b.de/c. Ok?", "Read link, or link. Ok?"),
        ("```py\nx = 2\n```", ""),
        ("- apples", "apples"),
        ("> so they said", "so they said"),
        ("xD that's fun :D <3", "that's fun"),
        ("(^_^) Hi! f(x) and (see 8)", "Hi! f(x) and (see 8)"),
        ("w/ you, w/o me", "with you, without me"),
        ("Ehehe~ so silly~!", "Ehehe, so silly !"),
        ("E = mc^2, and 2 * 3 = 6", "E = mc², and 2 × 3 = 6"),
        ("50% of $3.50 at 10:30, -5°C", "50% of $3.50 at 10:30, -5°C"),
        ("mail me@example.com", "mail me@example.com"),
        ("zero\u200bwidth\u202e", "zerowidth"),
        ("<b>hi</b>", "b hi /b"),
    ],
)
def test_a_voice_is_given_words_only(text: str, expected: str) -> None:
    assert speakable(text) == expected
