"""The cache on disk: nothing is spoken twice, nothing damaged is played, the folder stays small."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from backend.contracts.entities import Speech, VoiceChoice
from backend.contracts.errors import EngineFailedError
from backend.engines.tts import VOICES
from backend.engines.tts.base import TTS
from backend.engines.tts.options import CacheOptions, ToneOptions
from backend.engines.tts.tone import Tone

SAY = VoiceChoice()


class Counting(Tone):
    """A tone that counts how often it is asked."""

    def __init__(self) -> None:
        super().__init__(ToneOptions(rate_hz=8000))
        self.asked: list[str] = []
        self.identity = "1"
        self.error: Exception | None = None

    async def synthesize(self, text: str, voice: VoiceChoice) -> Speech:
        self.asked.append(text)
        if self.error:
            raise self.error
        return await super().synthesize(text, voice)

    def cache_key(self, voice: VoiceChoice) -> str:
        return super().cache_key(voice) + self.identity


def cache(inner: TTS, folder: Path, limit_bytes: int = 1 << 20) -> TTS:
    return VOICES.create("cache", CacheOptions(inner, folder, limit_bytes))


async def test_what_was_said_is_not_spoken_again_even_after_a_restart(tmp_path: Path) -> None:
    inner = Counting()
    first = cache(inner, tmp_path)
    said = await first.synthesize("Hello there.", SAY)
    await first.close()
    again = await cache(inner, tmp_path).synthesize("Hello there.", SAY)
    assert inner.asked == ["Hello there."]
    assert (said.cached, again.cached) == (False, True)
    assert (again.audio, again.engine, again.voice) == (said.audio, "tone", "hum")
    assert again.phonemes == said.phonemes


async def test_other_text_other_voice_or_other_file_is_spoken_anew(tmp_path: Path) -> None:
    inner = Counting()
    engine = cache(inner, tmp_path)
    await engine.synthesize("Hello there.", SAY)
    await engine.synthesize("Hello there!", SAY)
    await engine.synthesize("Hello there.", VoiceChoice(rate=2))
    inner.identity = "2"
    await engine.synthesize("Hello there.", SAY)
    await engine.close()
    assert len(inner.asked) == 4


async def test_the_sidecar_tells_engine_voice_latency_and_phonemes(tmp_path: Path) -> None:
    engine = cache(Counting(), tmp_path)
    await engine.synthesize("Hi.", SAY)
    await engine.close()
    [sidecar] = (tmp_path / "tone").glob("*.json")
    facts = json.loads(sidecar.read_text("utf-8"))
    assert (facts["engine"], facts["voice"]) == ("tone", "hum")
    assert facts["latency_ms"] >= 0
    assert facts["phonemes"][0] == ["H", 0.0, 0.06]
    assert sidecar.with_suffix(".wav").stat().st_size > 44


@pytest.mark.parametrize("damage", ["wav", "json", "no wav", "zero"])
async def test_a_damaged_entry_is_removed_and_spoken_anew(tmp_path: Path, damage: str) -> None:
    inner = Counting()
    engine = cache(inner, tmp_path)
    said = await engine.synthesize("Hello there.", SAY)
    await engine.close()
    [sound] = (tmp_path / "tone").glob("*.wav")
    if damage == "wav":
        sound.write_bytes(sound.read_bytes()[:-100] + bytes(100))
    elif damage == "json":
        sound.with_suffix(".json").write_text('{"format": 1, "sha256":', "utf-8")
    elif damage == "zero":
        sound.with_suffix(".json").write_bytes(b"")
    else:
        sound.unlink()
    engine = cache(inner, tmp_path)
    again = await engine.synthesize("Hello there.", SAY)
    await engine.close()
    assert len(inner.asked) == 2
    assert again.audio == said.audio
    assert (await cache(inner, tmp_path).synthesize("Hello there.", SAY)).cached


async def test_the_longest_unused_go_when_it_is_full(tmp_path: Path) -> None:
    inner = Counting()
    size = len("sentence 0") * 0.06 * 8000 * 2 + 1500
    engine = cache(inner, tmp_path, limit_bytes=int(size * 3))
    for n in range(3):
        await engine.synthesize(f"sentence {n}", SAY)
        await engine.close()  # in order onto the disk
    await engine.synthesize("sentence 0", SAY)
    await engine.synthesize("sentence 3", SAY)
    await engine.close()
    kept = [(await engine.synthesize(f"sentence {n}", SAY)).cached for n in (0, 2, 3)]
    assert kept == [True, True, True]
    files = list((tmp_path / "tone").iterdir())
    assert sum(file.stat().st_size for file in files) <= size * 3
    assert not (await engine.synthesize("sentence 1", SAY)).cached
    await engine.close()


async def test_half_written_files_of_a_crash_are_swept_away(tmp_path: Path) -> None:
    folder = tmp_path / "tone"
    folder.mkdir()
    (folder / "abc.wav.part").write_bytes(b"half")
    (folder / "def.wav").write_bytes(b"no sidecar")
    engine = cache(Counting(), tmp_path)
    await engine.synthesize("Hi.", SAY)
    await engine.close()
    assert len(list(folder.iterdir())) == 2


async def test_a_failure_is_not_remembered(tmp_path: Path) -> None:
    inner = Counting()
    inner.error = EngineFailedError("down")
    engine = cache(inner, tmp_path)
    with pytest.raises(EngineFailedError):
        await engine.synthesize("Hello.", SAY)
    inner.error = None
    assert not (await engine.synthesize("Hello.", SAY)).cached
    await engine.close()


async def test_a_full_disk_costs_the_cache_not_the_sentence(tmp_path: Path) -> None:
    (tmp_path / "tone").write_text("a file where the folder should be", "utf-8")
    engine = cache(Counting(), tmp_path)
    assert (await engine.synthesize("Hello.", SAY)).audio.pcm
    await engine.close()


async def test_a_warm_cache_still_finds_what_an_earlier_run_kept(tmp_path: Path) -> None:
    inner = Counting()
    first = cache(inner, tmp_path)
    await first.synthesize("Hello there.", SAY)
    await first.close()
    warm = cache(inner, tmp_path)
    warm.warm()
    await warm.close()  # what runs in the background is over
    assert (await warm.synthesize("Hello there.", SAY)).cached
    assert not (await warm.synthesize("Something new.", SAY)).cached
