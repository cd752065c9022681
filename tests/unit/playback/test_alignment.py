"""Words and phonemes: held against a voice that knows when each of its words begins, and cut at 20 places."""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass
from typing import Any

import pytest

from backend.audio import espeak
from backend.contracts.entities import PhonemeTime
from backend.playback.alignment import word_ends
from backend.playback.player import heard_words

SENTENCES = [
    ("en-us", "The lantern refused to go out. Every night a traveller leaned in to blow."),
    ("en-us", "I have 42 apples, Dr. Smith; isn't it 3:15 p.m. already?"),
    ("en-us", "Well, that depends on what you mean by tomorrow, because I never sleep."),
    ("en-us", "Although the thought was rather rough, enough of it was thorough to knight him."),
    ("en-us", "Oh! No way... you did what? In 1984, Chuck's USA trip cost $3.50."),
    ("en-us", "Hmm, let me think about that for a second: yes, I would love to."),
    ("de", "Ich habe 42 Äpfel gekauft, und das am 3. Oktober, obwohl es geregnet hat."),
    ("fr", "Qu'est-ce que vous voulez, mes amis ? Il y a beaucoup d'eau dans le château."),
    ("es", "¿Qué quieres hacer hoy? Mañana tengo que trabajar hasta las 5."),
]
LONGEST = (
    "Wednesday's queue was surprisingly short, whereas Thursday's was long and winding, like a snake that had eaten"
    " twelve rabbits and one very confused accountant from Leicester, who wondered how on earth he would explain that"
    " to his wife, his mother and the tax office."
)
WORD_EVENT = 1


@dataclass
class Spoken:
    """A sentence with the end of each of its words as the voice itself says it."""

    words: list[str]
    phonemes: tuple[PhonemeTime, ...]
    duration_s: float
    ends: dict[int, float]


@pytest.fixture(scope="module")
def spoken() -> list[Spoken]:
    """The voice's own events say where in the text and the sound each word begins."""
    engine = espeak._loaded()
    begun: list[tuple[int, float]] = []

    def take(wave: Any, count: int, events: Any) -> int:
        index = 0
        while events[index].type != espeak._EVENT_END:
            if events[index].type == WORD_EVENT:
                begun.append((events[index].text_position - 1, events[index].audio_position / 1000))
            index += 1
        return engine._take(wave, count, events)

    listener = espeak._Callback(take)
    engine._library.espeak_SetSynthCallback(listener)
    found = []
    for voice, text in SENTENCES:
        begun.clear()
        made = espeak.synthesize(text, voice)
        found.append(_spoken(text, [PhonemeTime(*one) for one in made.phonemes], list(begun), made))
    engine._library.espeak_SetSynthCallback(engine._callback)
    return found


def _spoken(
    text: str, phonemes: list[PhonemeTime], begun: list[tuple[int, float]], made: espeak.Rendering
) -> Spoken:
    words = text.split()
    ends: dict[int, float] = {}
    place = 0
    for n, word in enumerate(words):
        at = text.index(word, place)
        place = at + len(word)
        starts = [second for position, second in begun if at <= position < place]
        if n and starts:
            ends[n - 1] = max(p.end_s for p in phonemes if p.start_s < min(starts) - 0.004)
    ends[len(words) - 1] = phonemes[-1].end_s
    return Spoken(words, tuple(phonemes), len(made.pcm) / 2 / made.rate_hz, ends)


def test_words_end_where_the_voice_says_they_do(spoken: list[Spoken]) -> None:
    aligned, by_letters = [], []
    for one in spoken:
        found = word_ends(one.words, one.phonemes)
        letters = [len(word) + 1 for word in one.words]
        for n, end_s in one.ends.items():
            aligned.append(abs(found[n] - end_s))
            by_letters.append(abs(sum(letters[: n + 1]) / sum(letters) * one.duration_s - end_s))
    assert len(aligned) > 100
    assert statistics.median(aligned) < 0.005
    assert sorted(aligned)[round(0.9 * len(aligned))] < 0.06
    assert statistics.mean(aligned) < statistics.mean(by_letters) / 8


@pytest.mark.parametrize("cut", [n / 20 for n in range(1, 21)])
def test_at_20_cuts_the_heard_words_are_those_whose_sound_was_heard(
    spoken: list[Spoken], cut: float
) -> None:
    right = 0
    for one in spoken:
        at_s = cut * one.duration_s
        heard = heard_words(" ".join(one.words), at_s, one.duration_s, one.phonemes).split()
        truth = [n for n, end_s in one.ends.items() if end_s <= at_s]
        assert one.words[: len(heard)] == heard
        # Never more than a word off, and that rarely: a number, or a word the voice joins with the next.
        assert abs(len(heard) - len(truth)) <= 1 + len(one.words) - len(one.ends)
        right += len(heard) == len(truth)
    assert right >= len(spoken) - 3


def test_a_word_without_sound_goes_with_the_one_before() -> None:
    sounds = tuple(PhonemeTime(p, n / 10, (n + 1) / 10) for n, p in enumerate("hi"))
    assert word_ends(["🙂", "hi", "🎉"], sounds) == [0.0, 0.2, 0.2]


def test_a_script_without_letters_of_ours_is_spread_evenly() -> None:
    sounds = tuple(PhonemeTime(p, n / 10, (n + 1) / 10) for n, p in enumerate("kaminoki"))
    ends = word_ends(list("かみのき"), sounds)
    assert ends == pytest.approx([0.2, 0.4, 0.6, 0.8], abs=0.11)
    assert heard_words("かみのき", 0.45, 0.8, sounds) == "かみ"


@pytest.mark.parametrize(("words", "sounds"), [(1, 400), (60, 1), (0, 5), (5, 0)])
def test_text_and_sounds_that_do_not_match_at_all_are_no_error(words: int, sounds: int) -> None:
    phonemes = tuple(PhonemeTime("a", n / 10, (n + 1) / 10) for n in range(sounds))
    ends = word_ends(["word"] * words, phonemes)
    assert len(ends) == words
    assert ends == sorted(ends)


def test_the_longest_sentence_is_aligned_within_a_few_milliseconds() -> None:
    made = espeak.synthesize(LONGEST)
    phonemes = tuple(PhonemeTime(*one) for one in made.phonemes)
    times = []
    for _ in range(5):
        began_s = time.perf_counter()
        word_ends(LONGEST.split(), phonemes)
        times.append(time.perf_counter() - began_s)
    assert min(times) < 0.008
