"""Hearing: Whisper where there is a model, else the embedded recogniser; and a round trip through a voice."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from backend.contracts.entities import Audio, Transcript, VoiceChoice
from backend.contracts.errors import (
    AppError,
    EngineFailedError,
    EngineUnavailableError,
    ProviderError,
)
from backend.core.http import HttpClient
from backend.core.workers import EngineHost
from backend.engines.stt import RECOGNISERS, options
from backend.engines.stt.base import STT
from backend.engines.tts import VOICES
from backend.engines.tts.options import EmbeddedOptions
from tests.servers.speech import FAULTS, SpeechServer

LOUD = Audio(b"\x00\x20\x00\xe0" * 8000, 16000)


class Broken:
    """A recogniser that fails."""

    name = "broken"

    def __init__(self, error: AppError) -> None:
        self.error = error

    async def transcribe(self, audio: Audio, language: str | None = None) -> Transcript:
        raise self.error

    def warm(self) -> None:
        return None

    async def close(self) -> None:
        return None


@pytest.fixture
async def host() -> AsyncIterator[EngineHost]:
    host = EngineHost()
    yield host
    await host.stop()


def script() -> STT:
    return RECOGNISERS.create("script", options.ScriptOptions(("one", "two")))


async def test_the_embedded_voice_is_understood_by_the_embedded_recogniser(
    host: EngineHost, tmp_path: Path
) -> None:
    """Whisper has no model here, so the chain reads with sphinx and says so."""
    voice = VOICES.create("embedded", EmbeddedOptions(host, timeout_s=20))
    hearing = RECOGNISERS.create(
        "chain",
        options.ChainOptions(
            (
                RECOGNISERS.create("whisper", options.WhisperOptions(host, tmp_path)),
                RECOGNISERS.create("sphinx", options.SphinxOptions(host, timeout_s=60)),
            )
        ),
    )
    said = "one two three four five six seven"
    speech = await voice.synthesize(said, VoiceChoice(rate=0.75))
    transcript = await hearing.transcribe(speech.audio)
    assert transcript.engine == "sphinx"
    right = set(said.split()) & set(transcript.text.split())
    assert len(right) >= 3, transcript.text
    assert transcript.segments[0].end_s <= speech.audio.duration_s + 0.1
    assert [word.text for word in transcript.words] == transcript.text.split()


async def test_a_failure_is_told_and_the_next_reads() -> None:
    told: list[str] = []
    chain = RECOGNISERS.create(
        "chain",
        options.ChainOptions(
            (
                Broken(EngineUnavailableError("no model")),
                Broken(EngineFailedError("boom")),
                script(),
            ),
            on_failure=lambda engine, error: told.append(f"{engine}: {error.message}"),
        ),
    )
    assert (await chain.transcribe(LOUD)).text == "one"
    assert told == ["broken: boom"]


async def test_when_nobody_can_read_the_failure_comes_before_what_is_missing() -> None:
    missing, failed = EngineUnavailableError("no model"), EngineFailedError("boom")
    both = options.ChainOptions((Broken(missing), Broken(failed)))
    with pytest.raises(EngineFailedError, match="boom"):
        await RECOGNISERS.create("chain", both).transcribe(LOUD)
    with pytest.raises(EngineUnavailableError, match="no model"):
        await RECOGNISERS.create("chain", options.ChainOptions((Broken(missing),))).transcribe(LOUD)
    with pytest.raises(EngineUnavailableError, match="STT_CHAIN"):
        await RECOGNISERS.create("chain", options.ChainOptions(())).transcribe(LOUD)


async def test_sphinx_says_that_it_reads_english_only(host: EngineHost) -> None:
    sphinx = RECOGNISERS.create("sphinx", options.SphinxOptions(host))
    with pytest.raises(EngineUnavailableError, match="English only, not 'de'"):
        await sphinx.transcribe(LOUD, "de")


async def test_a_transcription_server_is_sent_the_sound_and_its_answer_read(
    host: EngineHost,
) -> None:
    http = HttpClient()
    voice = VOICES.create("embedded", EmbeddedOptions(host, timeout_s=20))
    speech = await voice.synthesize("Open the door.", VoiceChoice())
    async with SpeechServer() as server:
        server.transcript["segments"] = [{"text": " open the door ", "start": 0, "end": 0.9}]
        engine = RECOGNISERS.create(
            "openai_compatible",
            options.OpenAICompatibleOptions(http, host, f"{server.url}/v1", "sk-1", timeout_s=20),
        )
        transcript = await engine.transcribe(speech.audio, "en")
        request = server.requests[-1]
        assert (transcript.text, transcript.language) == ("open the door", "en")
        assert transcript.segments[0].end_s == 0.9
        assert request.path == "/v1/audio/transcriptions"
        assert b"RIFF" in request.body
        assert b'name="language"\r\n\r\nen\r\n' in request.body
        before = len(server.requests)
        assert (await engine.transcribe(Audio(bytes(32000), 16000))).text == ""
        assert len(server.requests) == before  # silence is not sent
        for how in sorted(set(FAULTS) - {"hang", "stall", "endless"}):
            server.how = how
            with pytest.raises(ProviderError):
                await engine.transcribe(speech.audio)
        server.how = "well"
        wrongs: list[Any] = [[], {"text": 3}, {"text": "x", "segments": [{"start": "?"}]}]
        for wrong in wrongs:
            server.transcript = wrong
            with pytest.raises(ProviderError, match="no transcript"):
                await engine.transcribe(speech.audio)
    await http.close()
