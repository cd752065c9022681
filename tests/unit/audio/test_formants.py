"""Shapes of the mouth from the sound alone, held against phonemes whose times are known."""

from __future__ import annotations

import math
from array import array

import pytest

from backend.audio import espeak, formants
from backend.avatar.visemes import from_phonemes, from_shapes
from backend.contracts.avatar import MouthTime
from backend.contracts.entities import PhonemeTime

OPEN = {"aa", "E", "ih", "oh", "ou"}
VOICES = ["en-us+f1", "en-us+m1", "de+f5", "pl+f3"]
"""Timbres, and a language, that the table was not made from."""


def each_20_ms(mouth: tuple[MouthTime, ...], count: int) -> list[str]:
    return [
        next((one.viseme for one in mouth if one.start_s <= (n + 0.5) * 0.02 < one.end_s), "sil")
        for n in range(count)
    ]


def both_ways(voice: str, text: str) -> tuple[list[str], list[str]]:
    spoken = espeak.synthesize(text, voice)
    duration_s = len(spoken.pcm) / 2 / spoken.rate_hz
    told = from_phonemes([PhonemeTime(*one) for one in spoken.phonemes], duration_s)
    heard = from_shapes(formants.mouth(spoken.pcm, spoken.rate_hz), duration_s)  # type: ignore[arg-type]  # names of shapes
    count = int(duration_s / 0.02)
    return each_20_ms(told, count), each_20_ms(heard, count)


TEXT = {
    "en": "Maybe my brother bought a blue moped. Who saw the big bear? Pass me two apples, please.",
    "de": "Am Abend aßen meine Mutter und Peter Butterbrot. Bald kommt der Bus.",
    "pl": "Mama kupiła pomidory. Babcia piła herbatę z mlekiem.",
}


@pytest.mark.parametrize("voice", VOICES)
def test_an_unknown_voice_is_read_like_its_phonemes(voice: str) -> None:
    # Each rendering has noise of its own: what the reader can do shows in their mean.
    renderings = [both_ways(voice, TEXT[voice[:2]]) for _ in range(16)]
    pairs = [pair for told, heard in renderings for pair in zip(told, heard, strict=True)]
    agree = sum((a in OPEN) == (b in OPEN) for a, b in pairs) / len(pairs)
    vowels = [(a, b) for a, b in pairs if a in OPEN and b in OPEN]
    assert agree > 0.8, agree
    assert sum(a == b for a, b in vowels) / len(vowels) > 0.5  # of five: chance is 0.2
    lips = [b for a, b in pairs if a == "PP"]
    assert sum(b not in OPEN for b in lips) / len(lips) > 0.55


def test_open_vowels_in_a_row_of_syllables_are_found() -> None:
    told, heard = both_ways("it+m1", "pa pe pi po pu, pa pe pi po pu.")
    for vowel in ("aa", "E", "oh"):
        at = [b for a, b in zip(told, heard, strict=True) if a == vowel]
        assert at.count(vowel) > len(at) / 3, (vowel, at)


def test_silence_and_noise_floor_move_no_mouth() -> None:
    assert formants.mouth(bytes(44_100), 22_050) == []
    assert formants.mouth(array("h", [1, -1] * 11_025).tobytes(), 22_050) == []
    assert formants.mouth(b"", 22_050) == []
    assert formants.mouth(b"\1\2" * 50, 22_050) == []
    assert formants.mouth(bytes(1000), 4_000) == []


def test_a_hum_opens_the_mouth_while_it_sounds() -> None:
    rate = 16_000
    hum = [round(9000 * math.sin(2 * math.pi * 220 * n / rate)) for n in range(rate)]
    sound = array("h", [0] * rate + hum + [0] * rate)
    found = formants.mouth(sound.tobytes(), rate)
    assert found
    assert min(start for _, start, _, _ in found) == pytest.approx(1.0, abs=0.06)
    assert max(end for _, _, end, _ in found) == pytest.approx(2.0, abs=0.06)


@pytest.mark.parametrize("rate_hz", [8_000, 11_025, 16_000, 24_000, 48_000])
def test_it_reads_sound_of_any_rate(rate_hz: int) -> None:
    from backend.audio.resample import resample_pcm16

    spoken = espeak.synthesize(TEXT["en"], "en-us+m1")
    pcm = resample_pcm16(spoken.pcm, spoken.rate_hz, rate_hz)
    shapes = [shape for shape, _, _, _ in formants.mouth(pcm, rate_hz)]
    assert set(shapes) & OPEN
    assert {"PP", "DD", "SS", "FF"} & set(shapes)
