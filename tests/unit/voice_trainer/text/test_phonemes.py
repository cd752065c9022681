"""Phonemes are piper's, and their times are the embedded voice's."""

from __future__ import annotations

import pytest
from piper.phoneme_ids import phonemes_to_ids
from piper.phonemize_espeak import EspeakPhonemizer

from backend.audio import espeak
from voice_trainer.text.phonemes import check_language, phonemize, starts_s

SENTENCES = {
    "en-us": "Hello stream, welcome back!",
    "de": "Können Sie mich hören?",
    "es": "Buenos días, ¿cómo está usted?",
    "ja": "こんにちは、おげんきですか。",
}


@pytest.mark.parametrize("language", SENTENCES)
def test_the_ids_are_those_piper_speaks(language: str) -> None:
    (sentence,) = EspeakPhonemizer().phonemize(language, SENTENCES[language])
    spoken = [one for one in phonemes_to_ids(sentence) if one != 0]  # without its padding

    assert list(phonemize(SENTENCES[language], language).ids) == spoken


def test_the_sentences_of_a_clip_follow_each_other() -> None:
    symbols = "".join(phonemize("Hello. Good day.", "en-us").symbols)

    assert symbols == "^həlˈoʊ.ɡˈʊd dˈeɪ.$"


def test_symbols_the_id_map_lacks_are_left_out_and_named() -> None:
    found = phonemize("こんにちは", "ja")

    assert found.unknown
    assert not found.unknown & set(found.symbols)


@pytest.mark.parametrize("language", SENTENCES)
def test_every_symbol_has_a_time_and_none_goes_back(language: str) -> None:
    found = phonemize(SENTENCES[language], language)
    rendering = espeak.synthesize(SENTENCES[language], language)

    times = starts_s(found, rendering.phonemes)

    assert len(times) == len(found.symbols)
    assert times[0] == 0
    assert times == sorted(times)
    assert times[-1] == pytest.approx(rendering.phonemes[-1][2])


def test_sounds_begin_when_the_engine_says_them_and_a_pause_fills_the_gap() -> None:
    found = phonemize("Hi, you.", "en-us")
    events = (("h", 0.1, 0.2), ("ˈaɪ", 0.2, 0.4), ("j", 0.7, 0.8), ("uː", 0.8, 1.0))

    times = dict(zip(found.symbols, starts_s(found, events), strict=True))

    assert times["h"] == 0.1
    assert times["ˈ"] == times["a"] == 0.2
    assert times["ɪ"] == pytest.approx(0.3)
    assert times[","] == 0.4
    assert times[" "] == times["j"] == 0.7
    assert times["$"] == 1.0


@pytest.mark.parametrize("language", ["xx", "../en", "", "klingon-2000"])
def test_an_unknown_language_is_refused_with_names_that_work(language: str) -> None:
    with pytest.raises(ValueError, match="en-us"):
        check_language(language)
