"""Where utterances begin and end: frames of probability in, signals out."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from backend.listening.endpointing import (
    PER_MS,
    Began,
    Ended,
    Endpointer,
    Paused,
    Resumed,
    Rules,
    Signal,
    ending,
)

FRAME_MS = 32
RULES = Rules(preroll_ms=320, min_speech_ms=192, silence_ms=640, longest_s=10)


def follow(
    ears: Endpointer, *parts: tuple[float, float], levels: Iterable[float] = ()
) -> list[Signal]:
    """Signals of stretches of (probability, seconds)."""
    found: list[Signal] = []
    loudness = iter(levels)
    for probability, seconds in parts:
        for _ in range(round(seconds * 1000 / FRAME_MS)):
            found += ears.feed(probability, next(loudness, -30.0))
    return found


def only(found: list[Signal], kind: type[Ended]) -> Ended:
    ended = [signal for signal in found if isinstance(signal, kind)]
    assert len(ended) == 1
    return ended[0]


def kinds(found: list[Signal]) -> list[str]:
    return [type(signal).__name__ for signal in found]


def test_a_sentence_begins_pauses_and_ends() -> None:
    ears = Endpointer(RULES)
    found = follow(ears, (0.0, 1.0), (0.9, 1.28), (0.0, 2.0))
    assert kinds(found) == ["Began", "Paused", "Ended"]
    ended = only(found, Ended)
    assert ended.by == "silence"
    assert ended.silence_ms == pytest.approx(640, abs=FRAME_MS)
    assert ended.speech_ms == pytest.approx(1280, abs=FRAME_MS)
    assert not ended.is_too_short
    assert not ears.is_on


def test_the_first_syllable_is_in_it() -> None:
    ears = Endpointer(RULES)
    found = follow(ears, (0.0, 0.992), (0.9, 1.0))
    began = found[0]
    assert isinstance(began, Began)
    first_speech = 31 * 512
    assert first_speech - began.start == pytest.approx(320 * PER_MS, abs=512)


def test_the_beginning_of_the_stream_is_not_undercut() -> None:
    assert follow(Endpointer(RULES), (0.9, 0.2))[0] == Began(1, 0)


def test_a_single_loud_frame_is_no_speech() -> None:
    assert follow(Endpointer(RULES), (0.0, 0.5), (0.95, 0.032), (0.0, 0.5)) == []


def test_speech_that_sinks_at_the_end_of_a_word_goes_on() -> None:
    """Down to 0.15 below the threshold; below that it is silence."""
    ears = Endpointer(RULES)
    found = follow(ears, (0.9, 0.5), (0.4, 1.0), (0.9, 0.5))
    assert kinds(found) == ["Began"]
    assert kinds(follow(ears, (0.3, 1.0))) == ["Paused", "Ended"]


def test_what_only_sounds_a_little_like_speech_does_not_begin_any() -> None:
    assert follow(Endpointer(RULES), (0.45, 3.0)) == []


def test_a_pause_shorter_than_the_silence_is_part_of_the_utterance() -> None:
    found = follow(Endpointer(RULES), (0.9, 0.5), (0.0, 0.5), (0.9, 0.5), (0.0, 1.0))
    assert kinds(found) == ["Began", "Paused", "Resumed", "Paused", "Ended"]
    assert isinstance(found[2], Resumed)
    assert found[2].n == 1


def test_what_is_read_in_the_pause_is_what_is_read_at_the_end() -> None:
    found = follow(Endpointer(RULES), (0.0, 1.0), (0.9, 1.0), (0.0, 1.0))
    paused = next(signal for signal in found if isinstance(signal, Paused))
    ended = only(found, Ended)
    assert (paused.start, paused.end) == (ended.start, ended.end)
    assert ended.end - ended.speech_end == 200 * PER_MS


def test_a_finished_sentence_ends_sooner_and_a_hanging_one_later() -> None:
    def silence_ms(text: str) -> float:
        ears = Endpointer(RULES)
        found = follow(ears, (0.9, 1.0), (0.0, 0.256))
        ears.read(1, text, "en")
        return only(found + follow(ears, (0.0, 3.0)), Ended).silence_ms

    assert silence_ms("What time is it?") == pytest.approx(0.6 * 640, abs=FRAME_MS)
    assert silence_ms("Let us go") == pytest.approx(640, abs=FRAME_MS)
    assert silence_ms("Well, I went to the shop,") == pytest.approx(1.6 * 640, abs=FRAME_MS)
    assert silence_ms("I stayed at home because") == pytest.approx(2 * 640, abs=FRAME_MS)


def test_what_was_read_before_the_speaker_went_on_decides_nothing() -> None:
    ears = Endpointer(RULES)
    follow(ears, (0.9, 1.0), (0.0, 0.256))
    ears.read(1, "That was it.")
    ears.read(2, "because")
    found = follow(ears, (0.9, 0.5), (0.0, 1.0))
    assert only(found, Ended).patience == 1


def test_a_cough_is_too_short_and_uses_up_nothing() -> None:
    ears = Endpointer(RULES)
    found = follow(ears, (0.0, 1.0), (0.9, 0.128), (0.0, 1.0))
    assert only(found, Ended).is_too_short
    began = follow(ears, (0.9, 0.5))[0]
    assert isinstance(began, Began)
    assert began.n == 2


def test_the_next_utterance_does_not_repeat_the_end_of_the_last() -> None:
    ears = Endpointer(Rules(preroll_ms=3000, silence_ms=320))
    first = only(follow(ears, (0.9, 1.0), (0.0, 0.4)), Ended)
    began = follow(ears, (0.9, 0.3))[0]
    assert isinstance(began, Began)
    assert began.start == first.end


def test_a_long_speech_is_cut_at_its_quietest_place_and_goes_on() -> None:
    ears = Endpointer(RULES)
    frames = 10_000 // FRAME_MS
    levels = [-20.0] * frames
    quiet = round(8.5 * 1000 / FRAME_MS)
    levels[quiet : quiet + 3] = [-45.0] * 3
    levels[100:103] = [-60.0] * 3  # quieter still, and too long ago
    found = follow(ears, (0.95, 10.2), levels=levels)
    assert kinds(found) == ["Began", "Ended", "Began"]
    ended, began = found[1], found[2]
    assert isinstance(ended, Ended)
    assert isinstance(began, Began)
    assert ended.by == "length"
    assert ended.end == began.start
    assert ended.end / 512 == pytest.approx(quiet + 2, abs=1)
    rest = only(follow(ears, (0.95, 0.5), (0.0, 1.0)), Ended)
    assert rest.start == ended.end
    assert ended.speech_ms + rest.speech_ms == pytest.approx(10_700, abs=3 * FRAME_MS)


def test_a_long_speech_whose_rest_is_silence_simply_ends() -> None:
    ears = Endpointer(Rules(silence_ms=5000, longest_s=3, preroll_ms=0))
    found = follow(ears, (0.95, 1.2), (0.0, 1.9))
    assert kinds(found) == ["Began", "Paused", "Ended"]
    assert not ears.is_on


def test_nothing_begins_by_itself_while_a_key_decides() -> None:
    assert follow(Endpointer(RULES, is_open=False), (0.9, 2.0)) == []


def test_a_held_key_takes_what_was_said_just_before_and_silence_does_not_end_it() -> None:
    ears = Endpointer(RULES, is_open=False)
    follow(ears, (0.9, 2.0))
    began = ears.hold()[0]
    assert isinstance(began, Began)
    assert ears.position - began.start == 320 * PER_MS
    found = follow(ears, (0.9, 1.0), (0.0, 3.0), (0.9, 0.5))
    assert kinds(found) == ["Paused", "Resumed"]
    ears.release()
    ended = only(follow(ears, (0.9, 0.064), (0.0, 0.5)), Ended)
    assert ended.by == "key"
    assert ended.end - began.start == pytest.approx((320 + 4500 + 120) * PER_MS, abs=2 * 512)


def test_the_touch_of_a_key_and_a_key_held_in_silence_are_nothing() -> None:
    ears = Endpointer(RULES, is_open=False)
    ears.hold()
    ears.release()
    assert only(follow(ears, (0.0, 0.3)), Ended).is_too_short
    ears.hold()
    follow(ears, (0.0, 2.0))
    ears.release()
    assert only(follow(ears, (0.0, 0.3)), Ended).is_too_short


def test_a_word_said_while_a_key_is_held_counts_however_short() -> None:
    ears = Endpointer(RULES, is_open=False)
    ears.hold()
    follow(ears, (0.0, 0.3), (0.9, 0.096), (0.0, 0.3))
    ears.release()
    assert not only(follow(ears, (0.0, 0.3)), Ended).is_too_short


def test_a_held_speech_that_is_too_long_is_cut_and_still_held() -> None:
    ears = Endpointer(RULES, is_open=False)
    ears.hold()
    found = follow(ears, (0.9, 10.1))
    assert kinds(found) == ["Ended", "Began"]
    assert ears.is_held
    assert kinds(follow(ears, (0.0, 3.0))) == ["Paused"]


def test_whoever_says_that_was_all_ends_it_at_once() -> None:
    ears = Endpointer(RULES)
    assert ears.end() == []
    follow(ears, (0.9, 1.0))
    ended = ears.end()[0]
    assert isinstance(ended, Ended)
    assert (ended.by, ended.end) == ("client", ears.position)


def test_what_is_cancelled_is_forgotten_with_what_came_before() -> None:
    ears = Endpointer(RULES)
    follow(ears, (0.9, 1.0))
    assert ears.cancel() == 1
    assert ears.cancel() is None
    position = ears.position
    began = follow(ears, (0.9, 0.3))[0]
    assert isinstance(began, Began)
    assert began.start == position


def test_the_level_is_that_of_the_speech_alone() -> None:
    ears = Endpointer(RULES)
    levels = [-30.0] * 31 + [-90.0] * 100
    found = follow(ears, (0.9, 0.992), (0.0, 1.0), levels=levels)
    assert only(found, Ended).level_dbfs == pytest.approx(-30, abs=0.2)


@pytest.mark.parametrize(
    ("text", "language", "expected"),
    [
        ("How are you?", "en", "finished"),
        ("Yes.", "en", "finished"),
        ("Go to the left", "en", "open"),
        ("I was thinking about", "en", "hanging"),
        ("I went there and", "en", "broken off"),
        ("I went there and.", "en", "hanging"),
        ("What is it for?", "en", "finished"),
        ("I know what it is.", "en", "finished"),
        ("So,", "en", "hanging"),
        ("I wonder ...", "en", "hanging"),
        ("“Stop!”", "en", "finished"),
        ("Ich glaube, dass", "de", "broken off"),
        ("Ich gehe nach", "de", "hanging"),
        ("Wie geht es dir?", "de", "finished"),
        ("Je pense que", "fr", "broken off"),
        ("Voy a la casa de", "es", "hanging"),
        ("Vorrei un", "it", "broken off"),
        ("Eu quero uma", "pt", "broken off"),
        ("Ik denk dat het", "nl", "broken off"),
        ("Myślę, że", "pl", "broken off"),
        ("Я думаю, что", "ru", "broken off"),
        ("そうですけど", "ja", "hanging"),
        ("今日は元気です。", "ja", "finished"),
        ("因为", "zh", "hanging"),
        ("and", "xx", "broken off"),
        ("", "en", "open"),
        ("!?", "en", "finished"),
    ],
)
def test_how_the_end_of_a_text_reads(text: str, language: str, expected: str) -> None:
    assert ending(text, language) == expected
