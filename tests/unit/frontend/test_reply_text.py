"""A reply while it is written and heard."""

from __future__ import annotations

import random

import pytest

from frontend.widgets.reply_text import ReplyText, after_sentence, join, shown_draft


def written(*pieces: str) -> ReplyText:
    reply = ReplyText()
    for piece in pieces:
        reply.add_delta(piece)
    return reply


def test_what_no_sentence_covers_yet_is_the_draft() -> None:
    reply = written("Hello there! How ", "are you?")
    assert reply.draft == "Hello there! How are you?"
    reply.add_sentence(1, "Hello there!")
    assert (reply.text, reply.draft) == ("Hello there!", " How are you?")
    reply.add_sentence(2, "How are you?")
    assert (reply.text, reply.draft) == ("Hello there! How are you?", "")


def test_tags_and_thoughts_never_show_even_while_they_are_written() -> None:
    whole = "[joy] Hi! <think>be [very] nice</think>*waves* Bye."
    for size in (1, 2, 3, 7):
        reply = ReplyText()
        for start in range(0, len(whole), size):
            reply.add_delta(whole[start : start + size])
            assert not set(reply.draft) & set("[]<>*"), reply.draft
            assert "nice" not in reply.draft
            assert "joy" not in reply.draft
        assert reply.draft.split() == ["Hi!", "Bye."]


def test_a_tag_cut_by_a_sentence_stays_hidden() -> None:
    reply = written("Hi! [jo")
    reply.add_sentence(1, "Hi!")
    reply.add_delta("y] Bye.")
    assert reply.draft == " Bye."


def test_a_tag_that_was_closed_hides_nothing_behind_it() -> None:
    reply = written("Hi! *waves* How")
    reply.add_sentence(1, "Hi!")
    reply.add_delta(" are you?")
    assert reply.draft.split() == ["How", "are", "you?"]


def test_any_reply_cut_anywhere_ends_with_no_draft() -> None:
    sentences = ["Hm.", "It is 3.14, says Dr. Owl!", "おはよう。", "Really?", "Yes: really."]
    rng = random.Random(7)
    for _ in range(200):
        chosen = [rng.choice(sentences) for _ in range(rng.randint(1, 5))]
        raw = " ".join(rng.choice(["[joy] ", "*nods* ", ""]) + text for text in chosen)
        reply = ReplyText()
        at = 0
        n = 0
        while at < len(raw):
            step = rng.randint(1, 9)
            reply.add_delta(raw[at : at + step])
            at += step
        for text in chosen:
            n += 1
            reply.add_sentence(n, text)
        assert reply.draft.strip() == "", (raw, reply.draft)


def test_a_sentence_that_moderation_changed_takes_as_much_of_the_draft() -> None:
    assert after_sentence("You utter fool. Bye.", "You utter ****.") == "Bye."


def test_chinese_and_japanese_sentences_are_joined_without_a_space() -> None:
    assert join("おはよう。", "元気？") == "元気？"
    assert join("Hello.", "Bye.") == " Bye."
    assert join("Tea 🍵", "Bye.") == " Bye."
    assert join("", "Bye.") == "Bye."


def test_the_same_sentence_twice_counts_once() -> None:
    reply = ReplyText()
    assert reply.add_sentence(1, "Hi!")
    assert not reply.add_sentence(1, "Hi!")
    assert reply.text == "Hi!"


def spoken() -> ReplyText:
    reply = ReplyText()
    reply.add_sentence(1, "One two three.")
    reply.add_sentence(2, "Four five six.")
    return reply


def test_nothing_is_heard_before_it_sounds() -> None:
    assert spoken().heard_text() == ""


def test_heard_words_end_at_the_end_of_a_word() -> None:
    reply = spoken()
    reply.play(1)
    reply.move(1, 0.8, 2.0)
    assert reply.heard_text() == "One two"


def test_the_next_sentence_begins_when_the_one_before_was_heard_whole() -> None:
    reply = spoken()
    reply.play(1)
    reply.play(2)
    assert reply.heard_text() == "One two three."
    reply.move(2, 2.0, 2.0)
    assert reply.heard_text() == "One two three. Four five six."


def test_a_position_of_another_sentence_changes_nothing() -> None:
    reply = spoken()
    reply.play(1)
    reply.move(2, 1.0, 2.0)
    assert reply.heard_text() == ""


def test_what_was_heard_never_shrinks() -> None:
    reply = spoken()
    reply.play(1)
    reply.move(1, 1.0, 2.0)
    before = reply.heard_text()
    reply.move(1, 0.2, 2.0)
    assert reply.heard_text() == before


@pytest.mark.parametrize("interrupted", [False, True])
def test_at_the_end_all_was_heard_unless_it_was_interrupted(interrupted: bool) -> None:
    reply = spoken()
    reply.add_delta("more")
    reply.play(1)
    reply.end(interrupted=interrupted)
    assert reply.draft == ""
    assert (reply.heard_text() == reply.text) is not interrupted


def test_an_endless_draft_is_bounded() -> None:
    reply = ReplyText()
    for _ in range(100):
        reply.add_delta("x" * 1000)
    assert len(reply.draft) <= 9000


def test_a_draft_keeps_plain_brackets_and_stars() -> None:
    assert shown_draft("2 * 3 is 6 (really)") == "2 "  # an open star waits for its end
    assert shown_draft("2 * 3 is 6, and\n4") == "2 * 3 is 6, and\n4"
