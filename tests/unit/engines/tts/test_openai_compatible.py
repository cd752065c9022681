"""Speech servers: what is asked, and what a bad answer becomes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from backend.contracts.entities import VoiceChoice
from backend.contracts.errors import ProviderError
from backend.core import clock
from backend.core.http import HttpClient
from backend.core.workers import EngineHost
from backend.engines.tts import VOICES
from backend.engines.tts.base import TTS
from backend.engines.tts.options import OpenAICompatibleOptions
from tests.servers.speech import FAULTS, SpeechServer

pytestmark = pytest.mark.asyncio(loop_scope="module")
KEY = "sk-speech-0123456789"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def host() -> AsyncIterator[EngineHost]:
    host = EngineHost()
    yield host
    await host.stop()


@pytest_asyncio.fixture(loop_scope="module")
async def http() -> AsyncIterator[HttpClient]:
    http = HttpClient()
    yield http
    await http.close()


@pytest_asyncio.fixture(loop_scope="module")
async def server() -> AsyncIterator[SpeechServer]:
    async with SpeechServer() as server:
        yield server


def engine(http: HttpClient, host: EngineHost, server: SpeechServer, **more: Any) -> TTS:
    return VOICES.create(
        "openai_compatible",
        OpenAICompatibleOptions(
            http, host, f"{server.url}/v1", **{"api_key": KEY, "timeout_s": 20.0, **more}
        ),
    )


async def test_the_request_says_what_was_chosen(
    http: HttpClient, host: EngineHost, server: SpeechServer
) -> None:
    speaking = engine(http, host, server, model="kokoro")
    await speaking.synthesize("Hello.", VoiceChoice(name="af_sky", rate=1.25))
    request = server.requests[-1]
    assert request.path == "/v1/audio/speech"
    assert request.headers["authorization"] == f"Bearer {KEY}"
    assert request.json == {
        "model": "kokoro",
        "input": "Hello.",
        "voice": "af_sky",
        "response_format": "wav",
        "speed": 1.25,
    }


@pytest.mark.parametrize("kind", ["wav", "pcm", "mp3", "opus", "flac"])
async def test_every_format_becomes_the_same_sound(
    http: HttpClient, host: EngineHost, server: SpeechServer, kind: str
) -> None:
    speech = await engine(http, host, server, response_format=kind).synthesize(
        "Hello.", VoiceChoice()
    )
    assert speech.audio.duration_s == pytest.approx(0.4, abs=0.08)
    assert speech.audio.rate_hz in (24000, 48000)


@pytest.mark.parametrize("how", sorted(FAULTS))
async def test_a_bad_answer_ends_in_time_says_why_and_the_next_works(
    http: HttpClient, host: EngineHost, server: SpeechServer, how: str
) -> None:
    slow = how in ("hang", "stall")
    server.how = how
    speaking = engine(http, host, server, timeout_s=0.3 if slow else 20.0)
    began_s = clock.monotonic_s()
    with pytest.raises(ProviderError) as caught:
        await speaking.synthesize("Hello.", VoiceChoice())
    assert clock.monotonic_s() - began_s < (2 if slow else 10)
    expected = {"hang": "stalled", "stall": "stalled", "cut": "server", "error 500": "server"}
    assert caught.value.kind == {**expected, "key refused": "key"}.get(how, "malformed")
    assert KEY not in caught.value.message
    server.how = "well"
    assert (
        await engine(http, host, server).synthesize("Hello.", VoiceChoice())
    ).audio.duration_s > 0.3


async def test_a_server_that_is_not_there_says_where_it_was_looked_for(
    http: HttpClient, host: EngineHost, server: SpeechServer
) -> None:
    await server.refuse()
    with pytest.raises(ProviderError, match=f"{server.port}") as caught:
        await engine(http, host, server).synthesize("Hello.", VoiceChoice())
    assert caught.value.kind == "unreachable"


async def test_the_key_is_no_part_of_what_is_shown_or_kept(
    http: HttpClient, host: EngineHost, server: SpeechServer
) -> None:
    speaking = engine(http, host, server)
    assert KEY not in speaking.cache_key(VoiceChoice())
    assert KEY not in repr(OpenAICompatibleOptions(http, host, api_key=KEY))
