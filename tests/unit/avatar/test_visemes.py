"""Phonemes and their times become shapes of the mouth."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend.audio import espeak
from backend.avatar import visemes
from backend.avatar.visemes import from_levels, from_phonemes, from_shapes, shapes_of
from backend.contracts.avatar import MouthTime
from backend.contracts.entities import PhonemeTime


def said(*spans: tuple[str, float, float]) -> tuple[PhonemeTime, ...]:
    return tuple(PhonemeTime(*span) for span in spans)


def row(*phonemes: str, each_s: float = 0.1, at_s: float = 0.0) -> tuple[PhonemeTime, ...]:
    return tuple(
        PhonemeTime(one, at_s + n * each_s, at_s + (n + 1) * each_s)
        for n, one in enumerate(phonemes)
    )


def names(mouth: tuple[MouthTime, ...]) -> list[str]:
    return [one.viseme for one in mouth]


def shapes(phoneme: str) -> list[str | None]:
    return [viseme for viseme, _, _ in shapes_of(phoneme)]


@pytest.mark.parametrize(
    ("phoneme", "expected"),
    [
        ("p", ["PP"]),
        ("b", ["PP"]),
        ("m̩", ["PP"]),
        ("ɓ", ["PP"]),
        ("f", ["FF"]),
        ("v", ["FF"]),
        ("θ", ["TH"]),
        ("ˈð", ["TH"]),
        ("t̪", ["DD"]),
        ("ʈʰ", ["DD"]),
        ("kʲ", ["kk"]),
        ("ŋ", ["kk"]),
        ("tʃ", ["CH"]),
        ("d͡ʒ", ["CH"]),
        ("t͡s", ["SS"]),
        ("ts̻", ["SS"]),
        ("tS", ["CH"]),
        ("s.", ["SS"]),
        ("n^", ["nn"]),
        ("l̩", ["nn"]),
        ("ɹ", ["RR"]),
        ("pf", ["PP", "FF"]),
        ("ˈɑː", ["aa"]),
        ("ɔ̃", ["oh"]),
        ("ˌaɪ", ["aa", "ih"]),
        ("ˈoʊ", ["oh", "ou"]),
        ("aɪə", ["aa", "ih", "E"]),
        ("ɔːɹ", ["oh", "RR"]),
        ("əl", ["E", "nn"]),
        ("ˈʔu", ["ou"]),  # noqa: RUF001 - IPA, not letters
        ("ɯᵝ", ["ih"]),
        ("w", ["ou"]),
        ("j", ["ih"]),
        ("h", [None]),
        ("ˈ", []),
        ("ː", []),
        ("1", []),
        ("˥˩", []),
        ("(en)", []),
        (",", []),
        ("б", ["PP"]),  # noqa: RUF001 - Cyrillic on purpose
        ("ф", ["FF"]),
        ("ш", ["CH"]),
        ("か", ["kk", "aa"]),
        ("한", ["aa", "nn"]),
        ("ب", ["PP"]),
        ("漢", ["E"]),
    ],
)
def test_a_phoneme_is_the_shapes_of_its_marks(phoneme: str, expected: list[str | None]) -> None:
    assert shapes(phoneme) == expected


def test_every_sound_of_every_language_of_the_embedded_voice_has_a_shape() -> None:
    text = "pa ta ka ba da ga ma na la ra sa za fa va ya wa cha sha nya xa qa ai au oi ei ou 42"
    languages = sorted({voice.name for voice in espeak.voices() if not voice.is_variant})[::3]
    for language in languages:
        spoken = espeak.synthesize(text, language)
        for ipa, _, _ in spoken.phonemes:
            if any(mark.isalpha() for mark in ipa.strip("ːʲ")) and not ipa.startswith("("):
                assert shapes_of(ipa), (language, ipa)
        mouth = from_phonemes(
            [PhonemeTime(*one) for one in spoken.phonemes], len(spoken.pcm) / 2 / spoken.rate_hz
        )
        # Faroese and two others come without a dictionary, and are silent.
        assert "PP" in names(mouth) or not spoken.phonemes, language


def test_a_sentence_opens_from_silence_and_closes_again() -> None:
    mouth = from_phonemes(said(("m", 0.2, 0.3), ("ɑː", 0.3, 0.6)), 1.0)
    assert names(mouth) == ["sil", "PP", "aa", "sil"]
    assert mouth[-1].start_s == 0.6
    assert mouth[-1].end_s == 1.0


def test_a_pause_shuts_the_mouth_and_a_gap_between_phonemes_does_not() -> None:
    assert names(from_phonemes(said(("a", 0, 0.2), ("i", 0.24, 0.4)), 0.4)) == ["aa", "ih"]
    assert names(from_phonemes(said(("a", 0, 0.2), ("i", 0.3, 0.4)), 0.4)) == ["aa", "sil", "ih"]


def test_a_length_mark_with_a_time_of_its_own_holds_the_sound_before_it() -> None:
    mouth = from_phonemes(said(("a", 0, 0.1), ("ː", 0.1, 0.25), ("n", 0.25, 0.4)), 0.4)
    assert names(mouth) == ["aa", "nn"]
    assert mouth[0].end_s > 0.2


def test_lips_are_early_and_never_by_more_than_40_ms() -> None:
    mouth = from_phonemes(row("a", "u", "i", "b", "a"), 0.5)
    starts = {one.viseme: one.start_s for one in mouth[1:4]}
    assert starts["ou"] == pytest.approx(0.1 - 0.04)
    assert starts["ih"] == pytest.approx(0.2 - 0.02)
    assert starts["PP"] == pytest.approx(0.3 - 0.02)


def test_a_short_closure_is_held_long_enough_to_be_seen() -> None:
    mouth = from_phonemes(said(("a", 0, 0.2), ("b", 0.2, 0.208), ("a", 0.208, 0.4)), 0.4)
    (closed,) = (one for one in mouth if one.viseme == "PP")
    assert closed.end_s - closed.start_s == pytest.approx(0.05)
    assert 0.16 <= closed.start_s <= 0.2
    assert closed.weight == 1.0


def test_what_is_too_short_to_be_seen_is_left_to_its_neighbours() -> None:
    mouth = from_phonemes(said(("a", 0, 0.2), ("ɾ", 0.2, 0.215), ("i", 0.215, 0.4)), 0.4)
    assert names(mouth) == ["aa", "ih"]


def test_h_shows_the_vowel_after_it() -> None:
    assert names(from_phonemes(row("h", "u", "h", "i"), 0.4)) == ["ou", "ih"]
    assert names(from_phonemes(row("h", "b"), 0.2))[-1] == "PP"


def test_diphthongs_spend_most_of_their_time_at_where_they_begin() -> None:
    first, second = from_phonemes(said(("aɪ", 0, 0.3)), 0.3)
    assert (first.viseme, second.viseme) == ("aa", "ih")
    assert first.end_s > 0.14


def test_loud_vowels_open_wider_and_closures_do_not_care() -> None:
    spoken = row("a", "b", "a", each_s=0.2)
    levels = [-12.0] * 10 + [-30.0] * 10 + [-36.0] * 10
    loud, closed, quiet = from_phonemes(spoken, 0.6, levels)
    assert loud.weight == 1.0
    assert closed.weight == 1.0
    assert 0.5 <= quiet.weight < 0.7
    silent = from_phonemes(spoken, 0.6, [-12.0] * 10 + [-80.0] * 20)
    assert silent[-1].weight == 0.2


def test_loudness_alone_opens_and_closes_the_mouth() -> None:
    levels = [-60.0] * 5 + [-12.0] * 10 + [-50.0] * 5 + [-25.0] * 10
    mouth = from_levels(levels, 0.6)
    assert names(mouth) == ["sil", "aa", "sil", "aa"]
    assert mouth[1].weight > mouth[3].weight
    assert from_levels([-100.0] * 30, 0.6) == ()
    assert from_levels([], 0.6) == ()


def test_shapes_from_the_sound_are_held_to_the_same_rules() -> None:
    mouth = from_shapes(
        [("aa", 0.1, 0.3, 0.8), ("PP", 0.3, 0.32, 1.0), ("ih", 0.32, 0.9, 0.5)], 0.5
    )
    assert names(mouth) == ["sil", "aa", "PP", "ih"]
    assert mouth[2].end_s - mouth[2].start_s == pytest.approx(0.05)
    assert mouth[-1].end_s == 0.5


PHONEMES = st.sampled_from(
    ["p", "b", "m", "f", "a", "ˈaɪ", "iː", "ə", "t", "tʃ", "s", "h", "u", "ɹ", "1", ""]
)


@given(
    phonemes=st.lists(
        st.tuples(
            st.one_of(PHONEMES, st.text(max_size=4)),
            st.floats(allow_nan=True, allow_infinity=True),
            st.floats(-1, 3),
        ),
        max_size=40,
    ),
    duration_s=st.one_of(st.floats(0, 3), st.sampled_from([math.nan, math.inf, -1.0, 1e-9])),
    levels=st.lists(st.floats(-120, 0), max_size=50),
)
def test_whatever_a_voice_says_the_mouth_covers_the_sound_in_order(
    phonemes: list[tuple[str, float, float]], duration_s: float, levels: list[float]
) -> None:
    mouth = from_phonemes(said(*phonemes), duration_s, levels)
    if not mouth:
        return
    assert mouth[0].start_s == 0
    assert duration_s - 0.001 <= mouth[-1].end_s <= duration_s
    assert all(one.end_s > one.start_s and 0 <= one.weight <= 1 for one in mouth)
    for before, after in pairwise(mouth):
        assert before.end_s == after.start_s
        assert before.viseme != after.viseme


@given(
    st.lists(
        st.tuples(PHONEMES.filter(bool), st.integers(5, 200), st.sampled_from([0, 0, 0, 30, 120])),
        min_size=1,
        max_size=30,
    )
)
def test_no_closure_is_ever_lost_and_nothing_leads_by_more_than_40_ms(
    parts: list[tuple[str, int, int]],
) -> None:
    at = 0
    spoken: list[PhonemeTime] = []
    for phoneme, length, gap in parts:
        at += gap
        spoken.append(PhonemeTime(phoneme, at / 1000, (at + length) / 1000))
        at += length
    mouth = from_phonemes(spoken, at / 1000)
    for one in spoken:
        if one.phoneme in ("p", "b", "m", "f"):
            shape = "FF" if one.phoneme == "f" else "PP"
            # It may be the end of a longer closure that gave way to the next shape.
            assert any(
                m.viseme == shape
                and m.start_s < one.end_s
                and m.end_s > one.start_s - visemes.MOST_LEAD_MS / 1000
                for m in mouth
            )
    for shown in mouth:
        if shown.viseme in ("PP", "FF"):
            marks = "f" if shown.viseme == "FF" else "pbm"
            first = min(
                one.start_s
                for one in spoken
                if one.phoneme in marks and one.end_s > shown.start_s and one.start_s < shown.end_s
            )
            assert shown.start_s >= first - visemes.MOST_LEAD_MS / 1000 - 1e-9


@given(st.lists(st.tuples(PHONEMES.filter(bool), st.integers(40, 200)), min_size=1, max_size=20))
def test_between_shapes_of_ordinary_length_a_closure_is_seen_for_at_least_40_ms(
    parts: list[tuple[str, int]],
) -> None:
    at = 0
    spoken: list[PhonemeTime] = []
    for phoneme, length in parts:
        spoken.append(PhonemeTime(phoneme, at / 1000, (at + length) / 1000))
        at += length
    for one in from_phonemes(spoken, at / 1000):
        if one.viseme in ("PP", "FF"):
            assert one.end_s - one.start_s >= 0.04 - 1e-9
