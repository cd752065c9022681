"""The doors to listening over a real server: REST, sound and orders on the event stream, transcripts and viewers' words."""

from __future__ import annotations

import asyncio
import contextlib
import math
import subprocess
import sys
from array import array
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import websockets

from backend.audio.wav import to_wav
from tests.integration.conftest import Served, serve
from tests.integration.test_stream import Line, line

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "talk_by_sound.py"
HEARD = "Hello there."


def voice(seconds: float, rate_hz: int = 16_000) -> bytes:
    """What the energy detector takes for speech: a hoarse tone that swells and falls four times a second."""
    turn = 2 * math.pi * 180 / rate_hz
    samples = (
        9_000 * math.sin(turn * n) * (0.55 + 0.45 * math.sin(2 * math.pi * 4 * n / rate_hz))
        + 2_500 * math.sin(turn * n * 7.3)
        for n in range(round(seconds * rate_hz))
    )
    return array("h", map(round, samples)).tobytes()


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("luma")
    path = folder / "microphone.wav"
    path.write_bytes(to_wav(voice(1.0, 48_000), 48_000))
    yield from serve(
        folder,
        asr_fake_audio=path,
        asr_vad="energy",
        asr_silence_ms=200,
    )


@pytest.fixture(autouse=True)
def off_afterwards(api: httpx.Client) -> Iterator[None]:
    yield
    api.post("/api/audio/input", json={"mode": "off", "muted": False, "device": "", "gain_db": 0})


async def listen(client: Line, **fields: Any) -> dict[str, Any]:
    await client.say({"do": "listen", "id": "listen", **fields})
    return await client.until("done", "listen")


# --- REST ---


def test_devices_tell_inputs_beside_outputs(api: httpx.Client) -> None:
    told = api.get("/api/devices").json()
    assert {"outputs", "output"} <= set(told)
    assert told["inputs"] == [{"name": "microphone.wav", "is_default": True, "host_api": "file"}]
    assert told["input"]["mode"] == "off"
    assert told["inputs_problem"] == ""


def test_the_microphone_is_set_and_remembered(api: httpx.Client) -> None:
    told = api.post(
        "/api/audio/input", json={"gain_db": 3.5, "muted": True, "device": "microphone.wav"}
    ).json()
    assert (told["gain_db"], told["muted"], told["device"]) == (3.5, True, "microphone.wav")
    assert api.get("/api/listening").json() == told
    values = {one["name"]: one["value"] for one in api.get("/api/config").json()}
    assert values["ASR_INPUT_DEVICE"] == "microphone.wav"
    assert float(values["ASR_GAIN_DB"]) == 3.5


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"device": "Studio One"}, 404),
        ({"gain_db": 41}, 422),
        ({"mode": "always"}, 422),
        ({"guard": ""}, 422),
        ({"volume": 1}, 422),
    ],
)
def test_a_wrong_wish_is_refused_and_changes_nothing(
    api: httpx.Client, body: dict[str, Any], status: int
) -> None:
    before = api.get("/api/listening").json()
    answer = api.post("/api/audio/input", json=body)
    assert answer.status_code == status
    assert answer.json()["message"]
    assert api.get("/api/listening").json() == before


def test_the_key_does_nothing_when_the_microphone_is_off(api: httpx.Client) -> None:
    answer = api.post("/api/listening/talk", json={"down": True})
    assert answer.status_code == 409
    assert "off" in answer.json()["message"]


async def test_what_the_microphone_hears_becomes_a_message_of_the_stage(
    served: Served, api: httpx.Client
) -> None:
    async with line(served, {"types": ["chat.message", "listening.level"]}) as client:
        await client.next()
        api.post("/api/audio/input", json={"mode": "open"})
        message = await client.until("type", "chat.message")
        level = await client.until("type", "listening.level")
    assert message["data"]["text"] == HEARD
    assert message["data"]["origin"] == "microphone"
    assert message["data"]["conversation_id"] == "stage"
    assert level["data"]["level_dbfs"] <= 0


def test_a_test_recording_can_be_fetched(api: httpx.Client) -> None:
    told = api.post("/api/audio/input/test", json={"seconds": 0.5}).json()
    sound = api.get(told["url"])
    assert sound.headers["content-type"] == "audio/wav"
    assert len(sound.content) == 44 + 16_000
    api.post("/api/audio/stop")


async def test_what_is_read_for_a_recording_of_voice_training_is_no_message(
    served: Served, api: httpx.Client
) -> None:
    async with line(served, {"types": ["chat.message", "utterance.*"]}) as client:
        await client.next()
        recorder = served.app.state.backend.voice_data.recorder
        loop = served.app.state.backend._loop
        noise = asyncio.run_coroutine_threadsafe(recorder.noise(), loop)
        while recorder._microphone is None:
            await asyncio.sleep(0.01)
        api.post("/api/audio/input", json={"mode": "open"})
        measured = await asyncio.wrap_future(noise)
        await client.say({"ping": 1})
        assert await client.next() == {"pong": 1}
    assert measured.noise_dbfs > -60


# --- transcripts and viewers ---


async def test_a_transcript_of_another_program_becomes_a_message(
    served: Served, api: httpx.Client
) -> None:
    async with line(served, {"types": ["utterance.partial", "chat.message"]}) as client:
        await client.next()
        first = api.post(
            "/api/ingest/asr", json={"text": "what", "is_final": False, "utterance_id": "u1"}
        ).json()
        last = api.post(
            "/api/ingest/asr",
            json={"text": "What time is it?", "is_final": True, "utterance_id": "u1"},
        ).json()
        partial, message = await client.events(2)
    assert (first["disposition"], first["turn_id"]) == ("partial", None)
    assert last["disposition"] in ("answering", "queued")
    assert (partial["data"]["text"], message["data"]["text"]) == ("what", "What time is it?")
    assert message["turn_id"] == last["turn_id"]


def test_an_empty_final_transcript_takes_it_back(api: httpx.Client) -> None:
    answer = api.post("/api/ingest/asr", json={"text": " ", "is_final": True}).json()
    assert (answer["disposition"], answer["turn_id"]) == ("taken_back", None)


@pytest.mark.parametrize(
    ("author", "shown"),
    [
        ("Ada", "Ada"),
        ("you", "you (twitch)"),
        (" Y o u ", "Y o u (twitch)"),
        ("\uff39\uff4f\uff55\u200d", "\uff39\uff4f\uff55\u200d (twitch)"),
        ("\x07", "a viewer"),
        ("x" * 100, "x" * 100),
    ],
)
async def test_a_viewer_is_never_taken_for_the_operator(
    served: Served, api: httpx.Client, author: str, shown: str
) -> None:
    conversation = api.post("/api/conversations", json={}).json()["id"]
    async with line(served, {"types": ["chat.message"]}) as client:
        await client.next()
        answer = api.post(
            "/api/ingest/chat",
            json={
                "message": "Hello!",
                "author": author,
                "platform": "twitch",
                "conversation_id": conversation,
            },
        )
        assert answer.status_code == 200, answer.text
        message = await client.until("type", "chat.message")
    assert message["turn_id"] == answer.json()["turn_id"]
    assert message["data"]["author"] == shown
    assert message["data"]["origin"] == "viewers:twitch"


def test_the_second_of_two_viewers_waits(api: httpx.Client) -> None:
    conversation = api.post("/api/conversations", json={}).json()["id"]
    told = [
        api.post(
            "/api/ingest/chat",
            json={
                "message": f"What about {n}? " + " ".join(f"thing{n}x{i}" for i in range(40)),
                "author": "Ada",
                "conversation_id": conversation,
            },
        ).json()["disposition"]
        for n in range(3)
    ]
    assert told[0] == "answering"
    assert told[2] == "queued"


@pytest.mark.parametrize("path", ["/api/ingest/asr", "/api/ingest/chat"])
def test_a_conversation_that_does_not_exist_is_said(api: httpx.Client, path: str) -> None:
    body: dict[str, Any] = {"conversation_id": "nowhere"}
    body |= {"text": "Hi", "is_final": True} if "asr" in path else {"message": "Hi", "author": "A"}
    assert api.post(path, json=body).status_code == 404


@pytest.mark.parametrize("platform", ["", "Twitch!", "a" * 25, "microphone\n"])
def test_a_platform_is_a_plain_name(api: httpx.Client, platform: str) -> None:
    body = {"message": "Hi", "author": "A", "platform": platform}
    assert api.post("/api/ingest/chat", json=body).status_code == 422


# --- sound on the event stream ---


@pytest.mark.parametrize("rate_hz", [16_000, 48_000])
async def test_sound_becomes_a_message_of_the_sockets_own_conversation(
    served: Served, rate_hz: int
) -> None:
    async with line(served, {"types": ["chat.message", "turn.finished"]}) as client:
        await client.next()
        # All at once, without waiting for an answer: frames keep their place among the orders.
        await client.say({"do": "listen", "id": 1, "rate_hz": rate_hz})
        pcm = voice(1.0, rate_hz) + bytes(2 * rate_hz)
        for start in range(0, len(pcm), 2 * (rate_hz // 25)):
            await client.socket.send(pcm[start : start + 2 * (rate_hz // 25)])
        told = await client.until("done", 1)
        message = await client.until("type", "chat.message")
        finished = await client.until("type", "turn.finished")
    assert message["data"]["text"] == HEARD
    assert message["data"]["origin"] == "ws"
    assert message["data"]["conversation_id"] == told["conversation_id"] != "stage"
    assert finished["turn_id"] == message["turn_id"]


async def test_listen_end_reads_what_was_said_without_waiting(served: Served) -> None:
    async with line(served, {"types": []}) as client:
        await client.next()
        await listen(client, auto_end=False)
        await client.socket.send(voice(1.0))
        await client.say({"do": "listen_end", "id": 2})
        assert (await client.until("done", 2))["turn_id"]
        await client.say({"do": "listen_end", "id": 3})
        nothing = await client.until("done", 3)
    assert nothing["turn_id"] is None
    assert nothing["detail"]


async def test_a_language_set_while_it_runs_is_the_one_that_is_read(
    served: Served, api: httpx.Client
) -> None:
    wanted = {"types": ["utterance.transcribed"]}
    try:
        async with line(served, wanted) as client:
            await client.next()
            await listen(client, rate_hz=16_000)
            for language in ("fr", "ja"):
                set_to = {"values": {"STT_LANGUAGE": language}}
                assert api.post("/api/config", json=set_to).status_code == 200
                await client.socket.send(voice(0.6))
                await client.say({"do": "listen_end", "id": language})
                read = await client.until("type", "utterance.transcribed")
                assert read["data"]["language"] == language
    finally:
        api.post("/api/config", json={"values": {"STT_LANGUAGE": None}})


async def test_frames_and_orders_keep_their_order(served: Served) -> None:
    """What is sent after an end belongs to the next message, although nobody has waited for an answer."""
    async with line(served, {"types": ["utterance.transcribed"]}) as client:
        await client.next()
        await client.say({"do": "listen", "id": 1, "auto_end": False})
        await client.socket.send(voice(1.0))
        await client.say({"do": "listen_end", "id": 2})
        await client.socket.send(voice(0.5))
        await client.say({"do": "listen_end", "id": 3})
        lengths = [event["data"]["duration_s"] for event in await client.events(2)]
    assert lengths == [pytest.approx(1.0, abs=0.1), pytest.approx(0.5, abs=0.1)]


async def test_after_listen_stop_nobody_listens(served: Served) -> None:
    async with line(served, {"types": []}) as client:
        await client.next()
        await listen(client)
        await client.say({"do": "listen_stop", "id": 2})
        await client.until("done", 2)
        await client.socket.send(bytes(640))
        assert (await client.next())["code"] == "listen.off"
        await client.say({"do": "listen_end", "id": 3})
        assert (await client.until("failed", 3))["code"] == "listen.off"


async def test_a_socket_that_closes_is_not_listened_to_any_more(served: Served) -> None:
    hearing = served.app.state.backend.hearing
    async with line(served, {"types": []}) as client:
        await client.next()
        await listen(client)
        assert any(not ear.is_closed for ear in hearing._ears)
    async with asyncio.timeout(10):
        while any(not ear.is_closed for ear in hearing._ears):
            await asyncio.sleep(0.01)


async def test_microphone_and_key_are_worked_by_a_socket(served: Served) -> None:
    async with line(served, {"types": []}) as client:
        await client.next()
        await client.say({"do": "microphone", "id": 1, "mode": "push_to_talk", "muted": False})
        assert (await client.until("done", 1))["mode"] == "push_to_talk"
        await client.say({"do": "talk", "id": 2, "down": True})
        assert (await client.until("done", 2))["is_talking"] is True
        await client.say({"do": "talk", "id": 3, "down": False})
        assert (await client.until("done", 3))["is_talking"] is False
        await client.say({"do": "microphone", "id": 4, "muted": True})
        assert (await client.until("done", 4))["muted"] is True
        await client.say({"do": "talk", "id": 5, "down": True})
        assert (await client.until("failed", 5))["code"] == "conflict"


# --- hostile ---


async def test_an_overlay_neither_listens_nor_sends_sound(served: Served) -> None:
    query = f"?token={served.overlay_token}"
    async with line(served, {}, query=query) as client:
        await client.next()
        await client.socket.send(bytes(640))
        assert (await client.next())["code"] == "auth.forbidden"
        for n, order in enumerate(("listen", "listen_end", "microphone", "talk")):
            await client.say({"do": order, "id": n})
            assert (await client.until("failed", n))["code"] == "auth.forbidden"


@pytest.mark.parametrize("pcm", [b"\x00" * 641, bytes(192_002), b"\x01"])
async def test_what_is_no_sound_is_refused_and_the_rest_is_heard(
    served: Served, pcm: bytes
) -> None:
    async with line(served, {"types": []}) as client:
        await client.next()
        await listen(client, auto_end=False)
        await client.socket.send(pcm)
        assert (await client.next())["code"] == "listen.malformed"
        await client.socket.send(voice(1.0))
        await client.say({"do": "listen_end", "id": 2})
        assert (await client.until("done", 2))["turn_id"]


@pytest.mark.parametrize(
    "order",
    [
        {"rate_hz": 0},
        {"rate_hz": 1_000_000},
        {"rate_hz": "fast"},
        {"conversation_id": "nowhere"},
        {"volume": 1},
    ],
)
async def test_a_wrong_order_to_listen_is_refused_and_its_frames_are_dropped(
    served: Served, order: dict[str, Any]
) -> None:
    async with line(served, {"types": []}) as client:
        await client.next()
        await client.say({"do": "listen", "id": 1, **order})
        await client.socket.send(bytes(640))
        failed = await client.until("failed", 1)
        assert failed["code"] in ("input.invalid", "not_found")
        await listen(client)


async def test_text_instead_of_sound_is_a_malformed_message(served: Served) -> None:
    async with line(served, {"types": []}) as client:
        await client.next()
        await listen(client)
        await client.socket.send("\x00" * 640)
        assert (await client.next())["code"] == "request.malformed"


async def test_sound_faster_than_speech_is_left_out_and_said_once_a_second(
    served: Served,
) -> None:
    """Two minutes of sound in one go: 30 s are taken, and nothing piles up."""
    async with line(served, {"types": []}) as client:
        await client.next()
        await listen(client, auto_end=False)
        piece = bytes(2 * 16_000)
        for _ in range(120):
            await client.socket.send(piece)
        await client.say({"ping": 1})
        told = []
        while "pong" not in (found := await client.next()):
            told.append(found["code"])
        assert set(told) == {"listen.too_fast"}
        assert len(told) <= 3
        waiting = max(ear._waiting_bytes for ear in served.app.state.backend.hearing._ears)
        assert waiting <= 32 * 32_000


async def test_a_thousand_frames_a_second_end_the_socket(served: Served) -> None:
    async with line(served, {"types": []}) as client:
        await client.next()
        await listen(client)

        with contextlib.suppress(websockets.ConnectionClosed):
            for _ in range(1200):
                await client.socket.send(bytes(32))
        with pytest.raises(websockets.ConnectionClosed):
            await client.until("never")
    assert client.socket.close_code in (1008, 1006)
    async with asyncio.timeout(10):
        while any(not ear.is_closed for ear in served.app.state.backend.hearing._ears):
            await asyncio.sleep(0.01)


# --- the example ---


def test_an_example_speaks_and_prints_the_reply(served: Served, tmp_path: Path) -> None:
    (tmp_path / "backend.json").write_text(f'{{"url": "{served.url}"}}')
    (tmp_path / "api_token").write_text(served.token)
    path = tmp_path / "question.wav"
    path.write_bytes(to_wav(voice(0.6, 22_050), 22_050))
    ended = subprocess.run(
        [sys.executable, str(EXAMPLE), str(path), "--data-dir", str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    lines = ended.stdout.splitlines()
    assert HEARD in lines[0]
    assert "turn 1 done" in lines[-1]
    path.write_bytes(to_wav(bytes(6_400), 16_000))
    silent = subprocess.run(
        [sys.executable, str(EXAMPLE), str(path), "--data-dir", str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert silent.returncode == 1
    assert "Traceback" not in silent.stderr
    assert silent.stderr.strip()
