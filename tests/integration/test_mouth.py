"""The mouth through a whole turn: from the voice to what an overlay page is told, and the sound that pages play."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from backend.audio import espeak
from backend.audio.wav import to_wav
from backend.avatar.visemes import from_phonemes
from backend.contracts.avatar import MouthTime
from backend.contracts.entities import PhonemeTime
from tests.integration.conftest import Served, serve
from tests.integration.test_stream import Line, line
from tests.servers.thread import ServerThread
from tests.servers.tts import TtsServer
from tests.servers.wire import Request, Wire

OPEN = {"aa", "E", "ih", "oh", "ou"}
TEXT = "Maybe my brother bought a blue moped. Who saw the big bear?"


class Speaks(TtsServer):
    """A speech server that speaks, and tells no phonemes."""

    async def answer(self, request: Request, wire: Wire) -> None:
        spoken = espeak.synthesize(str(request.json["input"]), "en-us+m1")
        await wire.whole("200 OK", to_wav(spoken.pcm, spoken.rate_hz), "audio/wav")


@pytest.fixture(scope="module")
def server() -> Iterator[Speaks]:
    one = Speaks()
    with ServerThread(one):
        yield one


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory, server: Speaks) -> Iterator[Served]:
    yield from serve(
        tmp_path_factory.mktemp("mouth"),
        tts_chain=("embedded",),
        tts_openai_url=f"http://127.0.0.1:{server.port}/v1",
        tts_openai_key="none",
        audio_sink="overlay",
    )


@pytest.fixture
async def page(served: Served) -> AsyncIterator[Line]:
    """An overlay page that plays the stage."""
    async with line(served, {"plays": True}, query=f"?token={served.overlay_token}") as connected:
        await connected.until("hello")
        yield connected


async def ask(served: Served, method: str, path: str, **body: Any) -> Any:
    def send() -> httpx.Response:
        with served.client() as client:
            return client.request(method, path, json=body or None)

    answer = await asyncio.to_thread(send)
    assert answer.is_success, answer.text
    return answer.json()


def mouth_of(event: dict[str, Any]) -> list[MouthTime]:
    return [MouthTime.model_validate(one) for one in event["data"]["mouth"]]


def shapes(mouth: list[MouthTime]) -> list[str]:
    return [one.viseme for one in mouth]


@asynccontextmanager
async def spoken_on_stage(served: Served, text: str) -> AsyncIterator[None]:
    """A turn that runs meanwhile: the answer to the request comes when all of it was heard."""
    turn = asyncio.create_task(
        ask(served, "POST", "/api/chat", message=text, conversation_id="stage")
    )
    try:
        yield
    finally:
        await ask(served, "POST", "/api/conversations/stage/interrupt")
        await asyncio.wait([turn])


async def test_a_turn_tells_the_mouth_that_its_phonemes_make(served: Served, page: Line) -> None:
    async with line(served, {"types": ["speech.ready"]}) as operator:
        await operator.until("hello")
        async with spoken_on_stage(served, TEXT):
            ready = await operator.until("type", "speech.ready")
            started = await page.until("type", "playback.started")
    assert started["data"]["mouth"] == ready["data"]["mouth"]
    mouth = mouth_of(started)
    # The character's own voice once more, which tells its phonemes there.
    told = await ask(served, "POST", "/api/tts", text=started["data"]["text"])
    phonemes = [PhonemeTime(**one) for one in told["phonemes"]]
    wanted = from_phonemes(phonemes, told["duration_s"])
    assert shapes(mouth) == [one.viseme for one in wanted]
    assert [one.start_s for one in mouth] == pytest.approx(
        [one.start_s for one in wanted], abs=0.002
    )
    assert mouth[-1].end_s <= started["data"]["duration_s"] + 0.001


@pytest.mark.slow  # sounds in real time
async def test_pages_are_told_when_it_sounds_and_what_is_next(served: Served, page: Line) -> None:
    positions: list[tuple[float, float]] = []
    async with spoken_on_stage(served, TEXT):
        first = await page.until("type", "playback.started")
        following = None
        while (event := await page.until("type"))["type"] != "playback.started":
            if event["type"] == "playback.position":
                positions.append((datetime.now(UTC).timestamp(), event["data"]["position_s"]))
            elif event["type"] == "playback.next":
                following = event
    assert first["data"]["sink"] == "overlay"
    assert first["data"]["starts_in_s"] == pytest.approx(0.15, abs=0.01)
    assert first["data"]["volume"] == 1.0
    assert following is not None
    assert event["data"]["url"] == following["data"]["url"]
    assert abs(event["data"]["starts_in_s"]) < 0.1  # right behind the one before
    assert len(positions) >= 10 * first["data"]["duration_s"]
    # An event can be late, never early: the earliest says when the sound began, and so did the first one.
    began_s = min(arrived - position for arrived, position in positions)
    told_s = datetime.fromisoformat(first["at"]).timestamp() + first["data"]["starts_in_s"]
    assert began_s == pytest.approx(told_s, abs=0.04)


async def test_volume_reaches_the_pages_and_a_stop_silences_them(
    served: Served, page: Line
) -> None:
    async with spoken_on_stage(served, TEXT):
        await page.until("type", "playback.started")
        await ask(served, "POST", "/api/audio/output", volume=0.5)
        assert (await page.until("type", "playback.volume"))["data"]["volume"] == 0.5
        await ask(served, "POST", "/api/conversations/stage/interrupt")
        assert (await page.until("type", "playback.finished"))["data"]["interrupted"]
    await ask(served, "POST", "/api/audio/output", volume=1.0)


async def test_nobody_connected_is_said_and_the_show_goes_on(served: Served) -> None:
    async with line(served, {"types": ["playback.*", "error.*"]}) as operator:
        await operator.until("hello")
        async with spoken_on_stage(served, "Hi."):
            started = await operator.until("type", "playback.started")
            assert started["data"]["starts_in_s"] == pytest.approx(0, abs=0.01)
            finished = await operator.until("type", "playback.finished")
        assert not finished["data"]["interrupted"]
    output = (await ask(served, "GET", "/api/devices"))["output"]
    assert output["sink"] == "overlay"
    assert "no overlay page is connected" in output["problem"]
    services = (await ask(served, "GET", "/api/status"))["services"]
    (sound,) = (one for one in services if one["name"] == "overlay-sound")
    assert sound["state"] == "degraded"
    async with line(served, {"plays": True}) as page:
        await page.until("hello")
        services = (await ask(served, "GET", "/api/status"))["services"]
        (sound,) = (one for one in services if one["name"] == "overlay-sound")
        assert (sound["state"], sound["error"]) == ("ready", "")
        assert (await ask(served, "GET", "/api/devices"))["output"]["problem"] == ""


@pytest.mark.slow  # sounds in real time
async def test_an_old_turn_moves_the_mouth_again(served: Served, page: Line) -> None:
    async with spoken_on_stage(served, "Bob met Pam."):
        first = await page.until("type", "playback.started")
        await page.until("type", "playback.finished")
    await ask(served, "POST", f"/api/turns/{first['turn_id']}/play")
    again = await page.until("type", "playback.started")
    assert again["data"]["mouth"] == first["data"]["mouth"]
    await ask(served, "POST", "/api/audio/stop")


async def test_text_to_speech_gives_shapes_and_phonemes(served: Served) -> None:
    told = await ask(served, "POST", "/api/tts", text="Bob met Pam.")
    assert {one["viseme"] for one in told["visemes"]} >= {"PP", "aa", "E", "sil"}
    assert told["visemes"][-1]["end_s"] <= told["duration_s"] + 0.001
    assert "m" in [one["phoneme"] for one in told["phonemes"]]


async def test_a_voice_without_phonemes_moves_the_mouth_by_its_sound(
    served: Served, page: Line
) -> None:
    voice = {"engine": "openai_compatible", "name": "alloy"}
    await ask(served, "POST", "/api/config", values={"TTS_CHAIN": ["openai_compatible"]})
    told: dict[str, Any] = {}
    for _ in range(
        40
    ):  # its process starts with the first sentence; until then the loudness does it
        told = await ask(served, "POST", "/api/tts", text=TEXT, voice=voice)
        if len({one["viseme"] for one in told["visemes"]}) > 3:
            break
        await asyncio.sleep(0.1)
    assert (told["engine"], told["phonemes"]) == ("openai_compatible", [])
    agree: list[bool] = []
    for marks in ("", "!", "!!", "...", "?!", "!?", "??", "!!!"):
        # Each rendering has noise of its own, and the cache keeps one for each text: the mean of several says more.
        text = TEXT + marks
        told = await ask(served, "POST", "/api/tts", text=text, voice=voice)
        spoken = espeak.synthesize(text, "en-us+m1")
        wanted = from_phonemes([PhonemeTime(*one) for one in spoken.phonemes], told["duration_s"])
        found = [MouthTime.model_validate(one) for one in told["visemes"]]
        count = int(told["duration_s"] / 0.02)
        agree += [is_open(found, n) == is_open(wanted, n) for n in range(count)]
    assert sum(agree) / len(agree) > 0.8
    async with spoken_on_stage(served, TEXT):
        started = await page.until("type", "playback.started")
    assert len(OPEN & set(shapes(mouth_of(started)))) >= 2
    await ask(served, "POST", "/api/config", values={"TTS_CHAIN": ["embedded"]})


def is_open(mouth: Any, n: int) -> bool:
    at_s = (n + 0.5) * 0.02
    return any(one.start_s <= at_s < one.end_s and one.viseme in OPEN for one in mouth)
