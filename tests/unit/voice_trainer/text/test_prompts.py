"""The sentences to read aloud: enough of them, speakable, balanced from the first on."""

from __future__ import annotations

from collections import Counter

import pytest

from voice_trainer.protocol import prompt_language, prompt_lists, read_prompts
from voice_trainer.text import coverage
from voice_trainer.text.prompts import prompts

LANGUAGES = ["cmn", "de", "en-us", "es", "fr", "it", "ja", "nl", "pl", "pt-br", "ru"]


def test_there_is_a_list_for_every_language_of_the_promise():
    assert list(prompt_lists()) == LANGUAGES


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_list_is_long_enough_and_holds_no_sentence_twice(language):
    lines = read_prompts(language)
    assert len(lines) >= (120 if language == "en-us" else 40)
    assert max(Counter(line.casefold() for line in lines).values()) == 1


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_sentence_is_one_breath_long(language):
    for line in read_prompts(language):
        assert 12 <= len(coverage.phones(line, language)) <= 80, line


@pytest.mark.parametrize("language", LANGUAGES)
def test_no_sentence_falls_back_to_spelling_letters_or_to_another_language(language):
    names_of_letters = ("tʃaɪn", "dʒap")
    for line in read_prompts(language):
        said = "".join(coverage.phones(line, language))
        assert not any(name in said for name in names_of_letters), line


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_first_twenty_hold_more_of_the_language_than_the_last_twenty(language):
    lines = read_prompts(language)
    first = coverage.measure(lines[:20], language)
    last = coverage.measure(lines[-20:], language)
    assert first.diphones > last.diphones
    assert first.phonemes > 0.7


@pytest.mark.parametrize("language", LANGUAGES)
def test_lists_lie_in_the_order_that_the_measure_gives_them(language):
    lines = read_prompts(language)
    assert coverage.order(lines, language) == lines


def test_a_near_language_is_served_by_the_list_of_its_tongue():
    assert prompt_language("en-gb") == "en-us"
    assert prompt_language("EN_US") == "en-us"
    assert prompt_language("zh") == "cmn"
    assert prompt_language("pt") == "pt-br"
    assert prompt_language("xx") == ""
    assert prompt_language("../../etc/passwd") == ""
    assert read_prompts("xx") == []


def test_the_id_of_a_prompt_names_its_line():
    found = prompts("de-at")
    assert found[4].id == "de-5"
    assert found[4].text == read_prompts("de")[4]
