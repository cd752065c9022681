"""What every registered speech recogniser keeps, whoever wrote it; those that ask a server ask the local one."""

from __future__ import annotations

import asyncio
import importlib.util
import random
import struct
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from backend.audio import espeak
from backend.contracts.entities import Audio
from backend.core.http import HttpClient
from backend.core.workers import EngineHost
from backend.engines.stt import RECOGNISERS, options
from backend.engines.stt.base import STT
from tests import tiny_models
from tests.servers.speech import SpeechServer

# one process per recogniser for all tests: torch alone takes seconds to import
pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.fixture(scope="module")
def models_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("whisper")
    tiny_models.whisper_saying(folder / "base.pt", "Open the door.")
    return folder


@pytest.fixture(scope="module")
def spoken() -> Audio:
    said = espeak.synthesize("Open the door.", "en-us")
    return Audio(said.pcm, said.rate_hz)


def _here(name: str) -> Any:
    """An engine whose library may be missing is skipped then; loading it beside the one it is like takes long."""
    if name != "faster_whisper":
        return pytest.param(name)
    lacks = importlib.util.find_spec("faster_whisper") is None
    marks = (pytest.mark.slow, pytest.mark.skipif(lacks, reason="not installed"))
    return pytest.param(name, marks=marks)


@pytest_asyncio.fixture(
    params=[_here(name) for name in RECOGNISERS.names],
    scope="module",
    loop_scope="module",
)
async def engine(request: pytest.FixtureRequest, models_folder: Path) -> AsyncIterator[STT]:
    host, http = EngineHost(), HttpClient()
    async with SpeechServer() as server:
        script = RECOGNISERS.create("script", options.ScriptOptions(("Open the door.",)))
        made: dict[str, Any] = {
            "script": options.ScriptOptions(("Open the door.",)),
            "sphinx": options.SphinxOptions(host, timeout_s=60),
            "whisper": options.WhisperOptions(host, models_folder, timeout_s=90),
            "faster_whisper": options.FasterWhisperOptions(
                host, models_folder / "converted", models_folder, timeout_s=90
            ),
            "openai_compatible": options.OpenAICompatibleOptions(http, host, f"{server.url}/v1"),
            "chain": options.ChainOptions((script,)),
        }
        engine = RECOGNISERS.create(request.param, made[request.param])
        yield engine
        await engine.close()
        await host.stop()
        await http.close()


def noise(seconds: float, loudness: float) -> Audio:
    chance = random.Random(7)
    count = int(seconds * 16000)
    return Audio(
        struct.pack(f"<{count}h", *(round(chance.gauss(0, loudness)) for _ in range(count))), 16000
    )


async def test_an_utterance_becomes_a_transcript(engine: STT, spoken: Audio) -> None:
    transcript = await engine.transcribe(spoken)
    assert transcript.engine in RECOGNISERS.names
    assert transcript.text
    assert transcript.text == transcript.text.strip()
    assert transcript.language == "en"
    assert transcript.no_speech is None or 0 <= transcript.no_speech <= 1
    assert transcript.log_probability is None or transcript.log_probability <= 0
    for segment in transcript.segments + transcript.words:
        assert 0 <= segment.start_s <= segment.end_s <= spoken.duration_s + 0.1


async def test_silence_is_no_words(engine: STT) -> None:
    for audio in (Audio(b"", 16000), Audio(bytes(20), 16000), Audio(bytes(64000), 16000)):
        transcript = await engine.transcribe(audio)
        assert transcript.text == ""
        assert transcript.segments == ()


async def test_noise_is_no_words(engine: STT) -> None:
    if engine.name in ("script", "chain"):
        pytest.skip("the script reads any sound")
    assert (await engine.transcribe(noise(2, 2000))).text == ""
    assert (await engine.transcribe(noise(2, 60))).text == ""


async def test_any_rate_is_read(engine: STT, spoken: Audio) -> None:
    for rate_hz in (8000, 48000):
        await engine.transcribe(Audio(spoken.pcm, rate_hz))


async def test_utterances_at_once_are_all_read(engine: STT, spoken: Audio) -> None:
    engine.warm()
    transcripts = await asyncio.gather(*(engine.transcribe(spoken, "en") for _ in range(3)))
    assert len({transcript.text for transcript in transcripts}) == 1
