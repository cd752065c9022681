"""The check-up of a running backend: all green when it is well, and each break turns exactly its own line."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest

from backend.clients import portaudio
from backend.contracts.checkup import CheckLine, CheckupReport, report_text
from backend.contracts.errors import EngineUnavailableError
from backend.engines.stt import RECOGNISERS
from backend.engines.stt.base import STT
from backend.engines.stt.options import ScriptOptions
from backend.monitoring import live_checks, machine_checks
from backend.monitoring.live_checks import CLIP, CLIP_WORDS
from backend.outputs.base import Progress
from tests.fakes import ManualSink
from tests.integration.conftest import Served, serve
from tests.integration.program import Program
from tests.integration.virtual_sound import VirtualSound, missing

KEY = "sk-or-v1-3f9c1b77d2aa4e0099aabbccddeeff00"
WELL: dict[str, Any] = {
    "llm_provider": "persona",
    "tts_chain": ("embedded",),
    "tts_timeout_s": 30.0,
    "stt_chain": ("script",),
    "asr_vad": "energy",
    "asr_fake_audio": CLIP,
    "audio_sink": "speaker",
}
"""What is always there, and quick on the busiest machine; a file plays the microphone."""
EMBEDDED: dict[str, Any] = {"stt_chain": ("sphinx",), "asr_vad": "silero", "stt_timeout_s": 30.0}
"""The embedded engines instead of the shipped fakes."""


class Heard(ManualSink):
    """A loudspeaker of the test's own, which plays at once."""

    name = "speaker"

    async def play(self, audio: Any, progress: Progress) -> float:
        progress(0.01, -20.0)
        return float(audio.duration_s)


def examined(api: httpx.Client, **asked: bool) -> CheckupReport:
    answer = api.post("/api/doctor", json=asked)
    assert answer.status_code == 200, answer.text
    return ended(api)


def ended(api: httpx.Client) -> CheckupReport:
    end_s = time.monotonic() + 40
    while time.monotonic() < end_s:
        report = CheckupReport.model_validate(api.get("/api/doctor").json())
        if report.state != "running":
            return report
        time.sleep(0.02)
    raise AssertionError("the check-up does not end")


def lines(report: CheckupReport) -> dict[str, CheckLine]:
    return {line.name: line for line in report.lines}


def not_green(report: CheckupReport) -> dict[str, str]:
    return {line.name: line.state for line in report.lines if line.state != "green"}


def _same(one: STT) -> STT:
    return one


@contextmanager
def backend(folder: Path, **changes: Any) -> Iterator[tuple[Served, httpx.Client]]:
    for served in serve(folder, **{**WELL, **changes}):
        running = served.app.state.backend
        running.player.sink = Heard()
        running.checkup.parts.free_bytes = lambda path: 60 << 30
        if running.engines.settings.stt_chain == ("script",):
            reads = RECOGNISERS.create("script", ScriptOptions((" ".join(CLIP_WORDS),)))
            running.checkup.parts.stt = partial(_same, reads)
        with served.client() as api:
            yield served, api


@pytest.fixture(autouse=True, scope="module")
def patience() -> Iterator[None]:
    """The machine that runs the tests may be busy; how fast the parts are is not what they are about."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(live_checks, "SLOW", 100.0)
        patch.setattr(live_checks, "SLOW_TOKEN_S", 100.0)
        patch.setattr(machine_checks, "SLOW_WRITE_MS", 60_000.0)
        yield


@pytest.fixture(scope="module")
def well(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Served, httpx.Client]]:
    with backend(tmp_path_factory.mktemp("well")) as made:
        yield made


def test_a_healthy_backend_is_green_line_by_line(well: tuple[Served, httpx.Client]) -> None:
    served, api = well
    assert api.get("/api/doctor").json()["state"] == "never"
    report = examined(api)
    assert not_green(report) == {}, report_text(report)
    assert report.verdict == "Everything works."
    assert report.elapsed_s < 30
    found = lines(report)
    assert "1.5 s of sound" in found["microphone"].detail
    assert found["vad"].detail.startswith("energy: ")
    assert found["llm"].detail.startswith("persona answers after")
    assert found["tts"].detail.startswith("embedded, voice")
    assert "it cannot be heard back here" in found["output"].detail
    assert f":{served.backend.port} answers" in found["port"].detail


@pytest.mark.slow
def test_the_embedded_engines_are_green(tmp_path: Path) -> None:
    with backend(tmp_path, **EMBEDDED) as (_, api):
        for _ in range(3):  # a busy machine may need more time than a check-up has
            report = examined(api)
            if not not_green(report):
                break
        assert not_green(report) == {}, report_text(report)
        found = lines(report)
        assert found["vad"].detail.startswith("silero: ")
        assert "sphinx read “one two three four" in found["stt"].detail


def test_nothing_of_it_becomes_a_message_a_turn_or_a_caption(
    well: tuple[Served, httpx.Client],
) -> None:
    _, api = well
    assert ended(api).state == "done", "the healthy one has run"
    events = api.get("/api/events", params={"limit": 500}).json()
    text = json.dumps(events)
    assert "checkup.finished" in text
    for name in ("chat.", "turn.", "playback.", "utterance.", "speech.ready"):
        assert f'"type": "{name}' not in text
    assert api.get("/api/turns").json() == []
    history = api.get("/api/conversations/stage/history")
    assert "Sound check" not in history.text


def test_microphone_and_sound_are_left_out_when_they_are_not_wanted(
    well: tuple[Served, httpx.Client],
) -> None:
    _, api = well
    report = examined(api, microphone=False, sound=False)
    assert not_green(report) == {"microphone": "left_out", "output": "left_out"}
    assert "no microphone was opened" in lines(report)["microphone"].detail


def test_two_do_not_run_at_once_and_one_can_be_cancelled(well: tuple[Served, httpx.Client]) -> None:
    _, api = well
    api.post("/api/doctor").raise_for_status()
    second = api.post("/api/doctor")
    assert (second.status_code, second.json()["code"]) == (409, "conflict")
    report = CheckupReport.model_validate(api.delete("/api/doctor").json())
    assert report.state == "cancelled"
    assert "waiting" not in {line.state for line in report.lines}


def test_it_needs_the_token_and_a_body_it_knows(well: tuple[Served, httpx.Client]) -> None:
    served, api = well
    with served.stranger() as stranger:
        assert stranger.post("/api/doctor").status_code == 401
        assert stranger.get("/api/doctor").status_code == 401
    assert api.post("/api/doctor", json={"loud": True}).status_code == 422
    overlay = httpx.get(
        f"{served.url}/api/doctor", params={"token": served.overlay_token}, trust_env=False
    )
    assert overlay.status_code in (401, 403)


@contextmanager
def changed(api: httpx.Client, **values: Any) -> Iterator[None]:
    """Other settings for a while."""
    before = {one["name"]: one["value"] for one in api.get("/api/config").json()}
    api.post("/api/config", json={"values": values}).raise_for_status()
    try:
        yield
    finally:
        back = {name: "" if name.endswith("_KEY") else before[name] for name in values}
        api.post("/api/config", json={"values": back}).raise_for_status()


def seeded(api: httpx.Client, name: str, state: str) -> CheckLine:
    """Exactly that line is so, and says what to do."""
    listens = name == "microphone"
    report = examined(api, microphone=listens)
    expected = {name: state} if listens else {"microphone": "left_out", name: state}
    assert not_green(report) == expected, report_text(report)
    line = lines(report)[name]
    assert line.fix, line.detail
    assert line.title in report.verdict
    return line


def test_a_full_disk_turns_its_line_red(well: tuple[Served, httpx.Client]) -> None:
    served, api = well
    parts = served.app.state.backend.checkup.parts
    before = parts.free_bytes
    parts.free_bytes = lambda path: 12 << 20
    try:
        line = seeded(api, "disk", "red")
    finally:
        parts.free_bytes = before
    assert "12.6 MB free" in line.detail


def test_a_missing_output_device_turns_its_line_red(well: tuple[Served, httpx.Client]) -> None:
    served, api = well

    class Gone(Heard):
        async def play(self, audio: Any, progress: Progress) -> float:
            raise EngineUnavailableError(
                "The sound output 'USB' is not there; there are: HDMI. Plug it in, or choose another one."
            )

    player = served.app.state.backend.player
    player.sink, before = Gone(), player.sink
    try:
        line = seeded(api, "output", "red")
    finally:
        player.sink = before
    assert line.detail == "The sound output 'USB' is not there; there are: HDMI."
    assert line.setting == "OUTPUT_DEVICE"


def test_no_recogniser_turns_its_line_red(well: tuple[Served, httpx.Client]) -> None:
    served, api = well
    running = served.app.state.backend
    parts = running.checkup.parts
    parts.stt, before = (lambda: running.engines.hearing), parts.stt  # it has no script to read
    try:
        line = seeded(api, "stt", "red")
    finally:
        parts.stt = before
    assert "“one two three four five” was said" in line.detail
    assert line.setting == "STT_CHAIN"


def test_no_voice_turns_its_line_red_and_leaves_nothing_to_play(
    well: tuple[Served, httpx.Client],
) -> None:
    _, api = well
    with changed(api, TTS_CHAIN=["piper"]):
        report = examined(api, microphone=False)
    left_out = {"microphone": "left_out", "output": "left_out"}
    assert not_green(report) == {"tts": "red"} | left_out, report_text(report)
    line = lines(report)["tts"]
    assert "She cannot speak." in line.detail
    assert "embedded" in line.fix


def test_a_microphone_that_is_not_there_turns_its_line(tmp_path: Path) -> None:
    with backend(tmp_path, asr_fake_audio=tmp_path / "none.wav") as (_, api):
        line = seeded(api, "microphone", "amber")
        assert "none.wav" in line.detail
        with changed(api, ASR_MODE="open"):
            seeded(api, "microphone", "red")


def test_a_provider_that_is_down_is_amber_and_its_key_stays_here(
    well: tuple[Served, httpx.Client],
) -> None:
    served, api = well
    provider = {
        "LLM_PROVIDER": "openai_compatible",
        "LLM_RETRIES": 0,
        "OPENAI_COMPATIBLE_URL": "http://127.0.0.1:9/v1",
        "OPENAI_COMPATIBLE_KEY": KEY,
        "OPENAI_COMPATIBLE_MODEL": "x",
    }
    with changed(api, **provider):
        line = seeded(api, "llm", "amber")
    assert line.detail.startswith("persona answers instead of openai_compatible.")
    assert "127.0.0.1:9" in line.detail or "refused" in line.detail
    everything = api.get("/api/doctor").text + report_text(ended(api))
    everything += api.get("/api/events", params={"limit": 500}).text
    assert KEY not in everything
    assert served.token not in everything
    assert "turn.retried" not in everything


def test_during_a_turn_it_is_refused(well: tuple[Served, httpx.Client]) -> None:
    served, api = well
    player = served.app.state.backend.player
    player.sink, before = ManualSink(), player.sink  # it never ends by itself
    message = {"message": "Hi", "conversation_id": "stage", "stream": True}
    try:
        with api.stream("POST", "/api/chat", json=message) as answer:
            next(answer.iter_lines())
            refused = api.post("/api/doctor")
            assert refused.status_code == 409
            assert "A turn is being answered." in refused.json()["message"]
        api.post("/api/conversations/stage/interrupt")
    finally:
        player.sink = before


def test_a_turn_that_begins_meanwhile_silences_the_test_sound(
    well: tuple[Served, httpx.Client],
) -> None:
    served, api = well

    class Long(Heard):
        async def play(self, audio: Any, progress: Progress) -> float:
            if (
                self.playing.is_set()
            ):  # the turn's own sentences, which last longer than the test sound
                while not self.stopped:
                    await asyncio.sleep(0.001)
                return await super().play(audio, progress)
            self.playing.set()
            await asyncio.Event().wait()
            raise AssertionError

    player = served.app.state.backend.player
    player.sink, before = Long(), player.sink
    try:
        api.post("/api/doctor", json={"microphone": False}).raise_for_status()
        end_s = time.monotonic() + 20
        while not player.sink.playing.is_set() and time.monotonic() < end_s:
            time.sleep(0.01)
        answer = api.post("/api/chat", json={"message": "Hi", "conversation_id": "stage"})
        assert answer.json()["outcome"] == "done"
        line = lines(ended(api))["output"]
        assert (line.state, line.detail) == ("left_out", "A turn is being answered.")
        assert player.sink.stopped >= 1
    finally:
        player.sink = before


@pytest.mark.slow
@pytest.mark.skipif(bool(missing()), reason=f"needs a sound server (not installed: {missing()})")
def test_on_a_real_sound_server_what_is_played_is_heard_back(
    tmp_path: Path,
) -> None:
    with VirtualSound() as sound, pytest.MonkeyPatch.context() as patch:
        patch.setenv("PULSE_SERVER", sound.server)
        patch.setenv("ALSA_CONFIG_PATH", str(sound.alsa))
        portaudio.refresh()
        if "stage" not in [device.name for device in portaudio.outputs()]:
            pytest.skip("PortAudio does not see PulseAudio (libasound2-plugins is missing)")
        for served in serve(tmp_path, **WELL):
            with served.client() as api:
                for _ in range(5):
                    line = lines(examined(api, microphone=False))["output"]
                    if "gaps" not in line.detail:  # a busy computer stutters, and is told so
                        break
                assert line.state == "green", line
                assert "heard back" in line.detail
                sound.ask("set-sink-mute", "stage", "1")
                line = lines(examined(api, microphone=False))["output"]
                assert line.state == "red", line
                assert "the system has muted it" in line.detail
    portaudio.refresh()


@pytest.mark.slow
@pytest.mark.skipif(bool(missing()), reason=f"needs a sound server (not installed: {missing()})")
def test_an_open_microphone_does_not_take_the_test_sound_for_speech(tmp_path: Path) -> None:
    with VirtualSound() as sound, pytest.MonkeyPatch.context() as patch:
        with sound.alsa.open("a") as config:
            config.write(
                f'pcm.headset {{ type pulse server "{sound.server}" device stage.monitor '
                f'hint {{ show on description "headset" }} }}\n'
            )
        patch.setenv("PULSE_SERVER", sound.server)
        patch.setenv("ALSA_CONFIG_PATH", str(sound.alsa))
        portaudio.refresh()
        if "headset" not in [device.name for device in portaudio.inputs()]:
            pytest.skip("PortAudio does not see PulseAudio (libasound2-plugins is missing)")
        # Headphones: nothing else keeps her own voice out.
        open_ = {"asr_mode": "open", "asr_input_device": "headset", "asr_guard": "headphones"}
        for served in serve(tmp_path, **{**WELL, "asr_fake_audio": None, **open_}):
            with served.client() as api:
                found = lines(examined(api))
                # The loopback is silent while nothing is played: what comes is digital silence.
                assert found["microphone"].detail.startswith("headset gives nothing but silence")
                assert "played on" in found["output"].detail
                time.sleep(2.5)  # longer than an utterance takes to end and to be read
                events = api.get("/api/events", params={"limit": 500}).text
                assert "chat.message" not in events
                assert "utterance." not in events, "not even one that nobody could read"
    portaudio.refresh()


@pytest.mark.slow
def test_from_the_terminal_with_and_without_a_running_backend(tmp_path: Path) -> None:
    environment = {
        "ASR_FAKE_AUDIO": str(CLIP),
        "STT_CHAIN": "sphinx",
        "OPENAI_API_KEY": KEY,
        "LLM_PROVIDER": "persona",
    }
    doctor = ("--doctor", "--port", "0")
    with Program(tmp_path / "data", *doctor, environment=environment) as alone:
        assert alone.ended(60) == 0, alone.said
        assert "Speech to text: sphinx read" in alone.said
        assert "Everything works" in alone.said
        assert "Traceback" not in alone.said
    with Program(tmp_path / "data", "--headless", "--port", "0", environment=environment) as host:
        host.ready()
        arguments = (*doctor, "--json", "--no-microphone")
        with Program(tmp_path / "data", *arguments, environment=environment) as asks:
            assert asks.ended(60) == 0, asks.said
            report = CheckupReport.model_validate_json(asks.said[asks.said.index("{") :])
        assert report.state == "done"
        assert f":{host.ready().rpartition(':')[2]} answers" in lines(report)["port"].detail
        assert json.loads(host.get("/api/doctor")[1])["id"] == report.id, (
            "the running one was asked"
        )
        assert KEY not in asks.said + alone.said


@pytest.mark.slow
def test_from_the_terminal_something_broken_is_exit_code_1(tmp_path: Path) -> None:
    environment = {"STT_CHAIN": "script", "LLM_PROVIDER": "persona"}
    arguments = ("--doctor", "--port", "0", "--no-microphone", "--no-sound")
    with Program(tmp_path / "data", *arguments, environment=environment) as program:
        assert program.ended(60) == 1, program.said
        assert "BROKEN      Speech to text" in program.said
        assert "Broken: Speech to text." in program.said
