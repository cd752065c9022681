"""Hearing: Whisper where there is a model, else the embedded recogniser; and a round trip through a voice."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from backend.audio import espeak
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
from tests.servers.wire import Request, Wire

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


class Fussy(SpeechServer):
    """Answers as some servers do: refuses a format, in plain text, or with an error that looks like success."""

    def __init__(self) -> None:
        super().__init__()
        self.refuses = b"no format"
        self.plain: str | None = None

    async def answer(self, request: Request, wire: Wire) -> None:
        if self.refuses in request.body:
            said = "response_format 'verbose_json' is not compatible with model 'gpt-4o-transcribe'. Use 'json' instead."
            await wire.json({"error": {"message": said}}, "400 Bad Request")
        elif self.plain is not None:
            await wire.whole("200 OK", self.plain.encode(), "text/plain; charset=utf-8")
        else:
            await super().answer(request, wire)


async def test_servers_of_every_kind_are_understood_and_their_errors_never_taken_for_speech(
    host: EngineHost,
) -> None:
    http = HttpClient()
    said = espeak.synthesize("Open the door.", "en-us")
    audio = Audio(said.pcm, said.rate_hz)
    async with Fussy() as server:

        def engine() -> STT:
            made = options.OpenAICompatibleOptions(http, host, f"{server.url}/v1", timeout_s=20)
            return RECOGNISERS.create("openai_compatible", made)

        server.transcript = {
            "text": "open the door",
            "language": "en",
            "segments": [
                {"text": "open", "start": 0, "end": 0.3, "avg_logprob": -0.2, "no_speech_prob": 0.1},
                {"text": "the door", "start": 0.3, "end": 0.9, "avg_logprob": -0.5, "no_speech_prob": 0.3,
                 "compression_ratio": 0.9},
            ],
        }  # fmt: skip
        told = await engine().transcribe(audio)
        assert (told.no_speech, told.log_probability, told.compression) == (0.3, -0.5, 0.9)
        server.transcript["segments"] = [{"text": "open the door", "start": 0, "end": 900_000_000}]
        told = await engine().transcribe(audio)
        assert (told.text, told.segments) == ("open the door", ())  # nanoseconds

        server.refuses = b"verbose_json"
        server.transcript = {"text": "open the door", "usage": {"type": "tokens"}}
        json_only = engine()
        for _ in range(2):
            told = await json_only.transcribe(audio)
            assert (told.text, told.log_probability) == ("open the door", None)
        asked = [b"verbose_json" in request.body for request in list(server.requests)[-3:]]
        assert asked == [True, False, False]  # it is not asked for what it refused again

        server.refuses = b"no format"
        server.plain = " Open the door, Zoë.\n"
        assert (await engine().transcribe(audio)).text == "Open the door, Zoë."
        for wrong in (
            "Internal Server Error",
            "error: model not loaded",
            "<html>busy</html>",
            '{"error": "busy"}',
            "words " * 200,
        ):
            server.plain = wrong
            with pytest.raises(ProviderError):
                await engine().transcribe(audio)
        server.plain = None
        server.transcript = {"text": "", "error": {"message": "out of memory"}}
        with pytest.raises(ProviderError, match="no transcript"):
            await engine().transcribe(audio)
    await http.close()


async def test_only_the_first_recogniser_that_can_read_is_loaded_ahead() -> None:
    warmed: list[str] = []

    class Reader(Broken):
        def __init__(self, name: str, lacks: str) -> None:
            super().__init__(EngineUnavailableError(lacks))
            self.name, self.lacks = name, lacks

        def warm(self) -> None:
            warmed.append(self.name)

        def missing(self) -> str:
            return self.lacks

    engines = (Reader("first", "a model"), Reader("second", ""), Reader("third", ""))
    RECOGNISERS.create("chain", options.ChainOptions(engines)).warm()
    assert warmed == ["first", "second"]
