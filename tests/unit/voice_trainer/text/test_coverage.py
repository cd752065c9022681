"""What a set of transcripts holds of its language."""

from __future__ import annotations

import pytest

from voice_trainer.protocol import read_prompts
from voice_trainer.text import coverage


def test_sounds_come_without_stress_and_with_pauses_at_punctuation():
    assert coverage.phones("Yes, Anna.", "en-us") == ["#", "j", "ɛ", "s", "#", "æ", "n", "ə", "#"]


def test_a_long_vowel_is_one_sound():
    assert "iː" in coverage.phones("see", "en-us")


def test_tones_are_not_counted_as_vowels():
    assert "ɜ" not in coverage.phones("别着急，谁吃了？", "cmn")


def test_nothing_covers_nothing_and_the_whole_list_covers_everything():
    nothing = coverage.measure([], "de")
    everything = coverage.measure(read_prompts("de"), "de")
    assert nothing.phonemes == 0
    assert nothing.suggestions[0] == "de-1"
    assert everything.phonemes == 1
    assert everything.diphones == 1
    assert everything.missing == ()
    assert everything.suggestions == ()


def test_a_missing_sound_is_named_and_the_suggested_prompts_hold_it():
    lines = [line for line in read_prompts("en-us") if "ʒ" not in coverage.phones(line, "en-us")]
    found = coverage.measure(lines, "en-us")
    assert found.missing == ("ʒ",)
    number = int(found.suggestions[0].rpartition("-")[2])
    assert "ʒ" in coverage.phones(read_prompts("en-us")[number - 1], "en-us")


def test_every_suggestion_recorded_raises_the_coverage():
    lines = read_prompts("es")[30:]
    before = coverage.measure(lines, "es")
    more = [read_prompts("es")[int(one.rpartition("-")[2]) - 1] for one in before.suggestions]
    after = coverage.measure([*lines, *more], "es")
    assert after.phonemes > before.phonemes
    assert after.diphones > before.diphones + 0.1


def test_a_recorded_prompt_is_not_suggested_again_whatever_its_marks():
    text = read_prompts("fr")[0].upper().replace(",", "")
    assert "fr-1" not in coverage.measure([text], "fr", suggest=99).suggestions


def test_a_language_without_a_list_says_so():
    found = coverage.measure(["Terve kaikille."], "fi")
    assert not found.is_known


def test_text_without_words_is_silence():
    assert coverage.phones("…!?", "en-us") == [coverage.PAUSE]


@pytest.mark.parametrize("text", ["\x00\ud800", "😀 <speak>", "a" * 5000])
def test_odd_text_does_no_harm(text):
    assert coverage.phones(text, "en-us")[0] == coverage.PAUSE
