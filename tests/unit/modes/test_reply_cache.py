"""Replies that are kept: for the same prompt only, several of each, and not for ever."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest

from backend.engines.llm.base import Message
from backend.modes.reply_cache import FRESH_S, MOST_USES, VARIANTS, ReplyCache, key_of
from tests.fake_modes import said


class Clock:
    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def ask(cache: ReplyCache, key: bytes, written: list[str], temperature: float = 0.8) -> str:
    """What she says: a kept reply, or the next one the model writes."""
    known = cache.find(key, temperature)
    if known is None:
        known = f"reply {len(written)}"
        written.append(known)
        cache.keep(key, known)
    return known


def test_a_prompt_collects_several_replies_that_take_turns() -> None:
    cache, written = ReplyCache(8), list[str]()
    key = key_of(said("hi"), "m")
    first = [ask(cache, key, written) for _ in range(VARIANTS)]
    assert len(set(first)) == VARIANTS
    again = [ask(cache, key, written) for _ in range(VARIANTS)]
    assert again == first
    assert (cache.hits, cache.misses) == (VARIANTS, VARIANTS)


def test_she_does_not_parrot() -> None:
    cache, written = ReplyCache(8), list[str]()
    key = key_of(said("hi"), "m")
    texts = [ask(cache, key, written) for _ in range(60)]
    assert max(texts.count(text) for text in texts) <= 1 + MOST_USES
    assert all(a != b for a, b in itertools.pairwise(texts))
    assert cache.hits > 25, "and the model is still spared"


def test_a_model_that_repeats_itself_is_not_asked_for_ever() -> None:
    cache = ReplyCache(8)
    key = key_of(said("hi"), "m")
    for _ in range(2 * VARIANTS):
        assert cache.find(key, 0.8) is None
        cache.keep(key, "The same.")
    assert cache.find(key, 0.8) == "The same."


def test_without_chance_one_reply_is_all_there_is() -> None:
    cache = ReplyCache(8)
    key = key_of(said("hi"), "m")
    cache.keep(key, "Four.")
    assert [cache.find(key, 0.0) for _ in range(9)] == ["Four."] * 9


def test_what_is_old_is_written_anew() -> None:
    clock = Clock()
    cache = ReplyCache(8, clock)
    key = key_of(said("hi"), "m")
    cache.keep(key, "Good morning.")
    clock.now_s = FRESH_S + 1
    assert cache.find(key, 0.0) is None


def test_the_prompt_asked_longest_ago_goes_first() -> None:
    cache = ReplyCache(3)
    keys = [key_of(said(str(n)), "m") for n in range(4)]
    for key in keys[:3]:
        cache.keep(key, "x")
    assert cache.find(keys[0], 0.0) == "x"
    cache.keep(keys[3], "x")
    assert len(cache) == 3
    assert [cache.find(key, 0.0) for key in keys] == ["x", None, "x", "x"]


def test_switched_off_it_keeps_and_counts_nothing() -> None:
    cache = ReplyCache(0)
    cache.keep(b"k", "x")
    assert cache.find(b"k", 0.0) is None
    assert (len(cache), cache.hits, cache.misses) == (0, 0, 0)


@pytest.mark.parametrize(
    "other",
    [
        replace(said("hi"), temperature=0.1),
        replace(said("hi"), max_tokens=7),
        replace(said("hi"), stop=("x",)),
        replace(said("hi"), character=None),
        replace(said("hi"), messages=(*said("hi").messages, Message("user", "again"))),
        replace(said("hi"), messages=(Message("user", "You are Mira."), Message("user", "hi"))),
        said("hi "),
    ],
)
def test_another_prompt_is_another_key(other: object) -> None:
    assert key_of(other, "m") != key_of(said("hi"), "m")  # type: ignore[arg-type]  # all are prompts


def test_the_conversation_is_no_part_of_the_key_and_the_model_is() -> None:
    assert key_of(said("hi", "a"), "m") == key_of(said("hi", "b"), "m")
    assert key_of(said("hi"), "m") != key_of(said("hi"), "n")
