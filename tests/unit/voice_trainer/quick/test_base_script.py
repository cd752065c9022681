"""scripts/make_base_voice.py: the engine's phoneme times become whole frames of Piper's symbols."""

from __future__ import annotations

import random

from scripts import make_base_voice as script


def test_frames_follow_the_engines_times_and_add_up():
    tokens = ["h", "ə", "l", "ˈ", "o", "ʊ", "."]
    heard = (("h", 0.05, 0.10), ("ə", 0.10, 0.20), ("l", 0.20, 0.26), ("ˈoʊ", 0.26, 0.46))
    durations = script.place(tokens, heard, 60)
    #                     ^  h   ə  l  ˈ   o   ʊ  .   $
    assert durations == [5, 5, 10, 6, 0, 10, 10, 0, 14]


def test_a_clip_whose_phonemes_are_others_is_left_out():
    assert script.place(list("abcdef"), (("z", 0.0, 0.1), ("y", 0.1, 0.2)), 30) is None


def test_every_language_has_sentences_and_new_ones_use_its_words():
    for speaker in script.SPEAKERS:
        lines = script.sentences(speaker.language, 90, random.Random(1))
        assert len(lines) == 90
        assert lines == script.sentences(speaker.language, 90, random.Random(1))
        assert all(len(line.split()) >= 3 for line in lines)
