"""The embedded voice's binding."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from backend.audio import espeak
from backend.audio.levels import from_pcm16, level_dbfs
from backend.core.workers import ROOT

SAY = "Hello world, this is Luma."


def test_phonemes_are_ipa_in_order_without_holes_in_a_word() -> None:
    said = espeak.synthesize("Hello world")
    assert "".join(phoneme for phoneme, _, _ in said.phonemes) == "həl\u02c8oʊw\u02c8ɜ\u02d0ld"
    for (_, start_s, end_s), (_, next_s, _) in zip(said.phonemes, said.phonemes[1:], strict=False):
        assert start_s <= end_s == pytest.approx(next_s)
    assert said.phonemes[-1][2] <= len(said.pcm) / 2 / said.rate_hz


def test_rate_pitch_and_volume_do_what_they_say() -> None:
    normal = espeak.synthesize(SAY)
    assert len(espeak.synthesize(SAY, words_per_minute=350).pcm) < 0.65 * len(normal.pcm)
    assert len(espeak.synthesize(SAY, words_per_minute=90).pcm) > 1.5 * len(normal.pcm)
    assert espeak.synthesize(SAY, pitch=90).pcm != normal.pcm
    quiet = level_dbfs(from_pcm16(espeak.synthesize(SAY, volume=0.25).pcm))
    assert level_dbfs(from_pcm16(normal.pcm)) - quiet == pytest.approx(12, abs=1.5)
    assert espeak.synthesize(SAY, words_per_minute=1e9, pitch=-5, volume=7).pcm


def test_over_a_hundred_languages_and_variants_are_there_and_speak() -> None:
    voices = espeak.voices()
    names = {voice.name for voice in voices if not voice.is_variant}
    assert {"en-us", "en-gb", "de", "fr-fr", "es", "ja", "cmn"} <= names
    assert len(names) > 100
    assert {"f3", "m1", "whisper"} <= {voice.name for voice in voices if voice.is_variant}
    for name in [*sorted(names), "fr", "en", "es-419"]:
        assert espeak.synthesize("123", name).pcm, name


@pytest.mark.parametrize("name", ["xx-nope", "en-us+nope", "../x", "", "a" * 999, "gmw/en"])
def test_an_unknown_voice_is_refused(name: str) -> None:
    with pytest.raises(espeak.UnknownVoiceError):
        espeak.synthesize("hi", name)


def test_text_is_cut_at_a_word_and_cleaned() -> None:
    clean = espeak.speakable("word " * 1000)
    assert len(clean) <= espeak.MAX_CHARS
    assert clean.endswith("word")
    assert espeak.speakable("a\0b\x01\u200b\ud800\ne") == "a b e"


def test_markup_is_read_not_obeyed() -> None:
    plain = espeak.synthesize("hi")
    assert len(espeak.synthesize("<speak>hi</speak>").pcm) > 1.5 * len(plain.pcm)


def test_threads_share_it() -> None:
    alone = len(espeak.synthesize(SAY).pcm)
    lengths: list[int] = []
    threads = [
        threading.Thread(target=lambda: lengths.append(len(espeak.synthesize(SAY).pcm)))
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert len(lengths) == 8
    assert all(length == pytest.approx(alone, rel=0.01) for length in lengths)


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX links")
def test_it_finds_its_data_behind_a_very_long_path(tmp_path: Path) -> None:
    import espeakng_loader

    deep = tmp_path / ("ü" * 60) / ("deep" * 40)
    deep.mkdir(parents=True)
    (deep / "espeak-ng-data").symlink_to(espeakng_loader.get_data_path())
    assert len(os.fsencode(deep)) > 160
    code = (
        "import espeakng_loader, sys; espeakng_loader.get_data_path = lambda: sys.argv[1]\n"
        "from backend.audio import espeak; assert len(espeak.synthesize('hello').pcm) > 10000"
    )
    subprocess.run(
        [sys.executable, "-c", code, str(deep / "espeak-ng-data")],
        cwd=ROOT,
        check=True,
        env={**os.environ, "TMPDIR": str(tmp_path)},
    )
