"""What every registered speech engine keeps, whoever wrote it; those that ask a server ask the local one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from backend.audio import wav
from backend.contracts.entities import Speech, VoiceChoice
from backend.contracts.errors import AppError, EngineUnavailableError
from backend.core.http import HttpClient
from backend.core.workers import EngineHost
from backend.engines.tts import VOICES, options
from backend.engines.tts.base import TTS
from tests import tiny_models
from tests.servers.speech import SpeechServer

HOSTILE = [
    "<speak><break time='60s'/>hi</speak>",
    "\x01100s\x02 control",
    "[[h@loU]]",
    "a" * 100_000,
    "\ud800 lone surrogate",
    "日本語、そして العربية.",
    "9" * 3_000,
    "\u202e right to left \u0000",
    "%s%n%x ; rm -rf",
]
SILENT = ["", "   ", "\n", "...", "🙂", "\u200b", "--- !?"]


@pytest.fixture(scope="module")
def voices_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("piper")
    tiny_models.piper_voice(folder)
    return folder


@pytest.fixture(params=VOICES.names)
async def engine(
    request: pytest.FixtureRequest, voices_folder: Path, tmp_path: Path
) -> AsyncIterator[TTS]:
    host, http = EngineHost(), HttpClient()
    async with SpeechServer() as server:
        engine = VOICES.create(
            request.param, _options(request.param, host, http, server, voices_folder, tmp_path)
        )
        yield engine
        await engine.close()
        await host.stop()
        await http.close()


def _options(
    name: str, host: EngineHost, http: HttpClient, server: SpeechServer, voices: Path, folder: Path
) -> Any:
    tone = VOICES.create("tone", options.ToneOptions())
    embedded = options.EmbeddedOptions(host, timeout_s=20)
    return {
        "tone": options.ToneOptions(),
        "embedded": embedded,
        "piper": options.PiperOptions(host, voices, timeout_s=20),
        "openai_compatible": options.OpenAICompatibleOptions(
            http, host, f"{server.url}/v1", timeout_s=20
        ),
        "cache": options.CacheOptions(tone, folder),
        "chain": options.ChainOptions((VOICES.create("embedded", embedded), tone), timeout_s=20),
    }[name]


async def test_a_sentence_becomes_sound(engine: TTS) -> None:
    engine.warm()
    speech = await engine.synthesize("Hello world, this is Luma.", VoiceChoice())
    assert 0.3 < speech.audio.duration_s < 10
    assert wav.level_dbfs(speech.audio.pcm) > -40
    assert speech.engine
    assert speech.voice


async def test_phonemes_lie_inside_the_sound_in_order(engine: TTS) -> None:
    speech = await engine.synthesize("Hello world.", VoiceChoice())
    times = [moment for mark in speech.phonemes for moment in (mark.start_s, mark.end_s)]
    assert times == sorted(times)
    assert all(0 <= moment <= speech.audio.duration_s + 1e-6 for moment in times)
    assert all(mark.phoneme for mark in speech.phonemes)


async def test_nothing_to_say_is_a_short_silence(engine: TTS) -> None:
    for text in SILENT:
        speech = await engine.synthesize(text, VoiceChoice())
        assert speech.audio.duration_s < 1, repr(text)
        assert wav.level_dbfs(speech.audio.pcm) == wav.SILENCE_DBFS, repr(text)


async def test_hostile_text_is_only_text(engine: TTS) -> None:
    for text in HOSTILE:
        speech = await engine.synthesize(text, VoiceChoice())
        assert speech.audio.duration_s < 200, repr(text[:20])
    speech = await engine.synthesize("And now?", VoiceChoice())
    assert wav.level_dbfs(speech.audio.pcm) > -40


async def test_twice_the_rate_is_shorter_and_known_to_the_cache(engine: TTS) -> None:
    if engine.name == "openai_compatible":
        pytest.skip("the server decides about the length")
    text = "One sentence, said slowly and said fast."
    slow = await engine.synthesize(text, VoiceChoice())
    fast = await engine.synthesize(text, VoiceChoice(rate=2.0))
    assert fast.audio.duration_s < 0.75 * slow.audio.duration_s
    assert engine.cache_key(VoiceChoice()) != engine.cache_key(VoiceChoice(rate=2.0))


async def test_the_cache_key_is_stable(engine: TTS) -> None:
    assert engine.cache_key(VoiceChoice()) == engine.cache_key(VoiceChoice())


async def test_its_voices_can_be_chosen(engine: TTS) -> None:
    voices = await engine.voices()
    assert voices
    for info in voices[:3]:
        assert info.problem is None
        speech = await engine.synthesize("Hi.", VoiceChoice(engine=info.engine, name=info.name))
        assert speech.engine == info.engine
        assert speech.audio.pcm


async def test_an_unknown_voice_is_refused_in_words_or_replaced(engine: TTS) -> None:
    names = ["no-such-voice", "../../etc/passwd", "en-us+../x", "\0"]
    if engine.name in ("chain", "openai_compatible"):
        for name in names:
            assert (await engine.synthesize("Hello.", VoiceChoice(name=name))).audio.pcm
        return
    for name in names:
        with pytest.raises(EngineUnavailableError, match=r"\w{3,} .*\w{3,}"):
            await engine.synthesize("Hello.", VoiceChoice(name=name))


async def test_many_sentences_at_once_are_all_spoken(engine: TTS) -> None:
    speeches = await asyncio.gather(
        *(engine.synthesize(f"Sentence number {n}.", VoiceChoice()) for n in range(12))
    )
    assert all(speech.audio.duration_s > 0.1 for speech in speeches)


async def test_leaving_early_breaks_nothing(engine: TTS) -> None:
    leaving = asyncio.create_task(engine.synthesize("I will not be heard.", VoiceChoice()))
    await asyncio.sleep(0)
    leaving.cancel()
    await asyncio.gather(leaving, return_exceptions=True)
    assert (await engine.synthesize("But I will.", VoiceChoice())).audio.pcm


async def test_only_errors_meant_for_people_come_out(engine: TTS) -> None:
    wild = [
        VoiceChoice(speaker=99),
        VoiceChoice(rate=0.25, pitch=0, volume=0),
        VoiceChoice(rate=4, pitch=100),
        VoiceChoice(engine="elsewhere", name="x"),
    ]
    results = await asyncio.gather(
        *(engine.synthesize("Hello.", voice) for voice in wild), return_exceptions=True
    )
    for result in results:
        assert isinstance(result, Speech | AppError)
