"""A spoken sentence from a file that plays the microphone: heard, read, answered, and shown; everything real but the device."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import httpx
import pytest

from backend.audio import espeak
from backend.audio.wav import to_wav
from tests.integration.conftest import Served, serve

SAID = "Please read the last message again."
VOICE = "en-us+f3"


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("luma")
    said = espeak.synthesize(SAID, VOICE)
    second = bytes(2 * said.rate_hz)
    microphone = folder / "microphone.wav"
    microphone.write_bytes(to_wav(second + said.pcm + second * 20, said.rate_hz))
    yield from serve(
        folder, stt_chain=("sphinx",), llm_provider="persona", asr_fake_audio=microphone
    )


def until(api: httpx.Client, path: str, is_so: Callable[[httpx.Response], bool]) -> httpx.Response:
    end_s = time.monotonic() + 30
    while not is_so(found := api.get(path)):
        assert time.monotonic() < end_s, found.text
        time.sleep(0.05)
    return found


def test_a_sentence_spoken_into_the_microphone_is_answered(
    served: Served, api: httpx.Client
) -> None:
    backend = served.app.state.backend
    assert backend.hearing.state().state == "off"
    for count in (1, 2, 3):  # a busy machine loses frames, and with them a word
        assert api.post("/api/config", json={"values": {"ASR_MODE": "open"}}).status_code == 200
        turns = until(api, "/api/turns", lambda found, n=count: len(found.json()) == n).json()  # type: ignore[misc]  # mypy cannot type a default
        turn = turns[0]
        if count == 3 or turn["message"].endswith("again"):
            break
        api.post("/api/config", json={"values": {"ASR_MODE": "off"}})
        until(api, "/api/listening", lambda found: found.json()["state"] == "off")
    assert turn["message"]
    assert turn["reply"]
    names = [span["name"] for span in turn["spans"]]
    assert names[:2] == ["endpointing", "stt"]
    assert 100 < turn["spans"][0]["duration_ms"] < 2000
    state = backend.hearing.state()
    assert (state.state, state.device_now, state.vad) == ("listening", "microphone.wav", "silero")


def test_the_chosen_mode_is_remembered_and_can_be_taken_back(
    served: Served, api: httpx.Client
) -> None:
    backend = served.app.state.backend
    settings = served.app.state.backend.config
    assert settings.settings.asr_mode == "open"
    api.post("/api/config", json={"values": {"ASR_MODE": "off"}})
    end_s = time.monotonic() + 30
    while backend.hearing.state().state != "off":
        assert time.monotonic() < end_s
        time.sleep(0.02)


def test_the_module_switched_off_closes_the_microphone(served: Served, api: httpx.Client) -> None:
    backend = served.app.state.backend
    api.post("/api/config", json={"values": {"ASR_MODE": "open"}})
    end_s = time.monotonic() + 30
    while backend.hearing.state().state != "listening":
        assert time.monotonic() < end_s
        time.sleep(0.02)
    began_s = time.monotonic()
    assert api.post("/api/modules/hear", json={"enabled": False}).json()["state"] == "off"
    assert time.monotonic() - began_s < 2
    assert "switched off" in backend.hearing.state().problem
    api.post("/api/modules/hear", json={"enabled": True})
    assert backend.hearing.state().problem == ""
