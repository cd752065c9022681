"""A person speaks into a virtual microphone, the answer comes out of a virtual speaker: as sound, and as text."""

from __future__ import annotations

import json
import os
import time
from array import array
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import httpx
import numpy as np
import pytest
import websockets.sync.client as socket_client

from backend.audio import espeak
from backend.clients import portaudio
from backend.contracts.errors import EngineUnavailableError
from tests.integration.conftest import Served, serve
from tests.integration.virtual_sound import RATE_HZ, Recorder, VirtualSound, missing

pytestmark = [
    pytest.mark.slow,  # it is spoken and heard in real time
    pytest.mark.skipif(
        bool(missing()), reason=f"needs a sound server of its own (not installed: {missing()})"
    ),
]

SAID = "Please read the last message again."
"""The embedded recogniser reads it right when this voice says it."""
VOICE = "en-us+f3"
SENTENCES = [f"Now comes sentence number {n}, and it goes on for a while." for n in range(1, 9)]
LONG = " ".join(SENTENCES)
SILENT_WITHIN_S = 0.15
"""From the decision to interrupt to silence at the speaker, as the product promises; plus what the recorder is late."""
RECORDER_S = 0.05


@pytest.fixture(scope="module")
def sound() -> Iterator[VirtualSound]:
    with VirtualSound() as running:
        running.add_room()
        before = {name: os.environ.get(name) for name in ("PULSE_SERVER", "ALSA_CONFIG_PATH")}
        os.environ.update(PULSE_SERVER=running.server, ALSA_CONFIG_PATH=str(running.alsa))
        try:
            portaudio.refresh()
            if "headset" not in [device.name for device in portaudio.inputs()]:
                pytest.skip("PortAudio does not see PulseAudio (libasound2-plugins is missing)")
            yield running
        except EngineUnavailableError as error:
            pytest.skip(error.message)
        finally:
            for name, value in before.items():
                if value is None:
                    del os.environ[name]
                else:
                    os.environ[name] = value
            portaudio.refresh()


@pytest.fixture(scope="module")
def served(sound: VirtualSound, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    yield from serve(
        tmp_path_factory.mktemp("luma"),
        stt_chain=("sphinx",),
        tts_chain=("embedded",),
        audio_sink="speaker",
        output_device="stage",
        asr_mode="open",
        asr_input_device="headset",
    )


@pytest.fixture(scope="module")
def recorder(sound: VirtualSound) -> Iterator[Recorder]:
    with sound.recorder("stage") as running:
        running.wait_for(lambda: running.pieces)
        yield running


class Stream:
    """What the backend tells, as it comes."""

    def __init__(self, socket: socket_client.ClientConnection) -> None:
        self._socket = socket
        self.events: list[dict[str, Any]] = []
        self.at_s: list[float] = []

    def until(self, is_it: Callable[[dict[str, Any]], bool], timeout_s: float = 20) -> dict[str, Any]:  # fmt: skip
        """Read on to the first event of which something is true."""
        end_s = time.monotonic() + timeout_s
        while True:
            with suppress(TimeoutError):
                found = json.loads(self._socket.recv(timeout=0.2))
                for event in found if isinstance(found, list) else [found]:
                    self.events.append(event)
                    self.at_s.append(time.monotonic())
                for event in found if isinstance(found, list) else [found]:
                    if is_it(event):
                        return dict(event)
            assert time.monotonic() < end_s, self.told()

    def told(self) -> str:
        """The last events, without those that come all the time."""
        dull = ("listening.level", "system.status", "playback.position", "turn.stage", "chat.delta")
        lines = [
            f"{event.get('type')}: {event.get('message')}"
            for event in self.events
            if event.get("type") not in dull
        ]
        return "\n".join(lines[-40:])

    def ask(self, message: str) -> None:
        """Have the stage answer a typed message."""
        self._socket.send(json.dumps({"do": "chat", "id": 1, "message": message, "conversation_id": "stage"}))  # fmt: skip

    def type(self, name: str, timeout_s: float = 20) -> dict[str, Any]:
        """Read on to the next event of a type."""
        return self.until(lambda event: event.get("type") == name, timeout_s)

    def of(self, name: str) -> list[dict[str, Any]]:
        """Those of a type so far."""
        return [event for event in self.events if event.get("type") == name]


@pytest.fixture
def stream(served: Served) -> Iterator[Stream]:
    # Without a bound: a full queue would keep the goodbye unread, and closing waits 10 s for it.
    with socket_client.connect(
        served.socket_url, additional_headers=served.bearer, max_queue=None
    ) as socket:
        socket.send(json.dumps({"hello": {"since": None}}))
        made = Stream(socket)
        made.until(lambda event: "hello" in event)
        with served.client() as client:
            client.post("/api/conversations/stage/interrupt", json={})
            wait_until_it_listens(client, "headset")
        yield made


def wait_until_it_listens(client: httpx.Client, device: str) -> None:
    end_s = time.monotonic() + 20
    while True:
        now = client.get("/api/listening").json()
        if now["state"] == "listening" and now["device_now"] == device:
            return
        assert time.monotonic() < end_s, now
        time.sleep(0.05)


def spoken(text: str, voice: str = VOICE) -> tuple[bytes, int]:
    made = espeak.synthesize(text, voice, words_per_minute=140)
    return made.pcm, made.rate_hz


def test_a_spoken_sentence_is_answered_aloud(
    sound: VirtualSound, served: Served, recorder: Recorder, stream: Stream
) -> None:
    words = SAID.lower().rstrip(".")
    for _ in range(
        3
    ):  # a busy machine's sound server loses sound, and with it a word; once whole is enough
        recorder.forget()
        sound.say(*spoken(SAID)).wait(10)
        heard = stream.type("utterance.transcribed")
        turn = stream.type("turn.finished")
        recorder.wait_for_silence()
        if heard["data"]["text"] == words:
            with served.client() as client:
                stored = client.get(f"/api/turns/{turn['turn_id']}").json()
                made = client.get(stored["sentences"][0]["url"]).content[44:]
            if (share := share_heard(made, recorder.samples)) > 0.9:
                break

    assert heard["data"]["text"] == words
    assert heard["data"]["origin"] == "microphone"
    assert turn["data"]["outcome"] == "done"
    finished = stream.of("playback.finished")[-1]
    assert finished["data"]["heard"] == heard["data"]["text"]  # the echo says what it heard
    assert share > 0.9
    names = [span["name"] for span in stored["spans"]]
    assert names[:2] == ["endpointing", "stt"]
    assert {"prompt", "llm_first_token", "first_audio", "speaking"} <= set(names)
    assert sum(span["duration_ms"] for span in stored["spans"]) == pytest.approx(
        stored["total_ms"], abs=1
    )
    assert "ASR_SILENCE_MS" in stored["spans"][0]["detail"]


def test_speaking_interrupts_her_at_once_and_she_remembers_what_was_heard(
    sound: VirtualSound, served: Served, recorder: Recorder, stream: Stream
) -> None:
    with served.client() as client:
        stream.ask(LONG)
        stream.until(lambda event: event.get("type") == "playback.started" and event["data"]["n"] == 2)  # fmt: skip
        voice = sound.say(*spoken(SAID))
        ducked = stream.type("playback.ducked")
        cut = stream.type("playback.finished")
        cut_s = stream.at_s[-1]
        voice.wait(10)
        heard = stream.type("utterance.transcribed")
        stream.until(lambda event: event.get("type") == "turn.finished" and event["data"]["outcome"] == "done")  # fmt: skip
        recorder.wait_for_silence()
        turns = client.get("/api/turns", params={"conversation_id": "stage", "limit": 5}).json()

    assert ducked["data"]["is_ducked"]
    assert cut["data"]["interrupted"]
    interrupted = next(turn for turn in turns if turn["outcome"] == "interrupted")
    assert interrupted["reply"] == cut["data"]["heard"]
    assert LONG.startswith(interrupted["reply"])
    assert "sentence number 1" in interrupted["reply"]
    assert "sentence number 8" not in interrupted["reply"]
    # What the small recogniser reads of it is tested above, in a quiet room.
    assert heard["data"]["text"]
    assert heard["data"]["origin"] == "microphone"
    before = [at for at, piece in recorder.pieces if at < cut_s + 1 and loud(piece)]
    assert max(before) < cut_s + SILENT_WITHIN_S + RECORDER_S


def test_her_own_voice_in_the_microphone_is_not_answered(
    served: Served, recorder: Recorder, stream: Stream
) -> None:
    with served.client() as client:
        client.post("/api/audio/input", json={"device": "desk"}).raise_for_status()
        wait_until_it_listens(client, "desk")
        try:
            stream.ask(" ".join(SENTENCES[:3]))
            first = stream.type("turn.finished", 90)
            recorder.wait_for_silence(1.5)
            turns = client.get("/api/turns", params={"conversation_id": "stage", "limit": 1}).json()
        finally:
            client.post("/api/audio/input", json={"device": "headset"}).raise_for_status()

    assert first["data"]["outcome"] == "done", stream.told()
    assert turns[0]["id"] == first["turn_id"]
    assert not stream.of("utterance.transcribed"), stream.told()


def loud(piece: array[int]) -> bool:
    return max(max(piece, default=0), -min(piece, default=0)) > 64


def share_heard(made: bytes, recorded: array[int]) -> float:
    """How much of a sound is in a recording, tenth of a second by tenth of a second; silence does not count."""
    import scipy.signal  # here: it takes most of a second to import

    part = np.frombuffer(made, "<i2").astype(np.float64)
    whole = np.array(recorded, np.float64)
    size = RATE_HZ // 10
    energy = np.cumsum(np.concatenate(([0.0], whole**2)))
    norms = np.sqrt(np.maximum(energy[size:] - energy[:-size], 1.0))
    found = []
    for first in range(0, part.size - size, size):
        piece = part[first : first + size]
        if np.sqrt(np.mean(piece**2)) > 300:
            likeness = scipy.signal.fftconvolve(whole, piece[::-1], "valid") / (
                norms * np.linalg.norm(piece)
            )
            found.append(likeness.max() > 0.9)
    return float(np.mean(found))
