"""A microphone on a real device: PortAudio, ALSA and a PulseAudio whose microphone hears what the test plays."""

from __future__ import annotations

import asyncio
import json
import math
import os
import subprocess
import sys
import threading
import time
from array import array
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import main
from backend.clients import portaudio
from backend.clients.microphone import SILENT_S, ComputersMicrophones, Microphone
from backend.contracts.errors import EngineUnavailableError
from backend.sources.base import MicrophoneOptions, SourceState
from backend.sources.microphone import MicrophoneSource
from config import LoadedSettings, Settings
from tests.integration.virtual_sound import RATE_HZ, VirtualSound, missing

ROOT = Path(__file__).resolve().parents[2]

pytestmark = pytest.mark.skipif(
    bool(missing()), reason=f"needs a sound server of its own (not installed: {missing()})"
)


@pytest.fixture
def sound() -> Iterator[VirtualSound]:
    with VirtualSound() as running:
        with running.alsa.open("a") as config:
            for name, device in (
                ("headset", "device stage.monitor"),
                ("usb microphone", "device usb.monitor"),
                ("system", ""),
            ):
                config.write(
                    f'pcm."{name}" {{ type pulse server "{running.server}" {device} '
                    f'hint {{ show on description "{name}" }} }}\n'
                )
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


class Listener:
    """Gathers what a microphone hands over."""

    def __init__(self) -> None:
        self.pieces: list[bytes] = []
        self.problems: list[str] = []
        self.changed = asyncio.Event()

    async def open(self, name: str = "headset") -> Microphone:
        return await ComputersMicrophones().open(name, self.arrive, self.fail)

    def arrive(self, pcm: bytes) -> None:
        self.pieces.append(pcm)
        self.changed.set()

    def fail(self, problem: str) -> None:
        self.problems.append(problem)
        self.changed.set()

    @property
    def samples(self) -> array[int]:
        return array("h", b"".join(self.pieces))

    async def until_loud(self, seconds: float, rate_hz: int) -> array[int]:
        """What was heard between the first loud sample and ``seconds`` later."""
        async with asyncio.timeout(15):
            while True:
                samples = self.samples
                loud = next((n for n, value in enumerate(samples) if abs(value) > 2000), None)
                if loud is not None and len(samples) - loud > seconds * rate_hz:
                    return samples[loud : loud + round(seconds * rate_hz)]
                self.changed.clear()
                await self.changed.wait()


def tone(hz: float, seconds: float) -> array[int]:
    turn = 2 * math.pi * hz / RATE_HZ
    count = round(seconds * RATE_HZ)
    return array("h", (round(12_000 * math.sin(turn * n)) for n in range(count)))


def play(sound: VirtualSound, hz: float, seconds: float) -> subprocess.Popen[bytes]:
    """Somebody sings into the microphone."""
    samples = tone(hz, seconds)
    player = subprocess.Popen(
        f"pacat --server {sound.server} -d stage --format=s16le --channels=1 --rate={RATE_HZ}".split(),
        stdin=subprocess.PIPE,
    )
    assert player.stdin is not None
    player.stdin.write(samples.tobytes())
    player.stdin.close()
    return player


async def test_what_is_recorded_is_what_was_played(sound: VirtualSound) -> None:
    listener = Listener()
    microphone = await listener.open()
    player = await asyncio.to_thread(play, sound, 440.0, 2.0)
    heard = await listener.until_loud(0.8, microphone.rate_hz)
    await microphone.close()
    player.kill()
    player.wait()
    ups = sum(heard[n - 1] < 0 <= heard[n] for n in range(1, len(heard)))
    assert ups / 0.8 == pytest.approx(440, abs=4)
    count = len(listener.pieces)
    await asyncio.sleep(0)
    assert len(listener.pieces) == count
    assert listener.problems == []


async def test_an_unknown_microphone_lists_those_that_are_there(sound: VirtualSound) -> None:
    with pytest.raises(EngineUnavailableError, match="headset"):
        await Listener().open("Studio One")
    listed = await ComputersMicrophones().listed()
    assert "headset" in [one.name for one in listed]


async def test_a_microphone_that_dies_is_told_once_in_words(sound: VirtualSound) -> None:
    listener = Listener()
    microphone = await listener.open()
    async with asyncio.timeout(10):
        while not listener.pieces:
            listener.changed.clear()
            await listener.changed.wait()
    await asyncio.to_thread(sound.kill)
    async with asyncio.timeout(SILENT_S * 3):
        while not listener.problems:
            listener.changed.clear()
            await listener.changed.wait()
    await microphone.close()
    assert len(listener.problems) == 1
    assert "'headset'" in listener.problems[0]
    assert "Plug it in again" in listener.problems[0]


async def test_it_is_opened_and_closed_again_and_again_without_a_leak(sound: VirtualSound) -> None:
    for _ in range(8):
        microphone = await Listener().open()
        await microphone.close()
    assert portaudio._Library.open_streams == 0


class Hearing:
    """A source, what it hands over, and when it changes."""

    def __init__(self, device: str) -> None:
        self.source = MicrophoneSource(MicrophoneOptions(ComputersMicrophones(), device=device))
        self.states: list[SourceState] = []
        self.samples = array("h")
        self._changed = asyncio.Event()

    async def __aenter__(self) -> Hearing:
        self.source.start(self._frame, lambda level: None, self._state)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.source.stop()

    def _frame(self, frame: bytes) -> None:
        self.samples.frombytes(frame)
        self._changed.set()

    def _state(self, state: SourceState) -> None:
        self.states.append(state)
        self._changed.set()

    async def until(self, is_true: Callable[[], object], patience_s: float = 40.0) -> None:
        async with asyncio.timeout(patience_s):
            while not is_true():
                self._changed.clear()
                await self._changed.wait()

    async def hears(self, hz: float) -> None:
        """Wait for a quarter of a second of a tone."""
        await self.until(lambda: abs(pitch(self.samples[-4000:]) - hz) < 12)

    @property
    def problems(self) -> list[str]:
        return [state.problem for state in self.states if state.problem]


def pitch(samples: array[int]) -> float:
    """Of a loud tone at 16 kHz; 0 for anything quiet or too short."""
    if len(samples) < 4000 or min(max(samples[n : n + 200]) for n in range(0, 4000, 200)) < 2000:
        return 0.0
    ups = sum(samples[n - 1] < 0 <= samples[n] for n in range(1, len(samples)))
    return ups * 16_000 / len(samples)


@pytest.fixture
def singing(sound: VirtualSound, tmp_path: Path) -> Iterator[Callable[[float, str], None]]:
    """Plays a tone into a device for longer than the test lasts."""
    players: list[subprocess.Popen[bytes]] = []

    def sing(hz: float, sink: str) -> None:
        path = tmp_path / f"{hz}.raw"
        # 220 Hz and its multiples are whole turns in a second of samples.
        path.write_bytes(tone(hz, 1.0).tobytes() * 90)
        players.append(
            subprocess.Popen(
                f"pacat --server {sound.server} -d {sink} --format=s16le --channels=1"
                f" --rate={RATE_HZ} {path}".split()
            )
        )

    yield sing
    for player in players:
        player.kill()
        player.wait()


@pytest.mark.slow
async def test_a_microphone_that_is_unplugged_is_told_and_heard_again_when_it_is_back(
    sound: VirtualSound, singing: Callable[[float, str], None]
) -> None:
    """All devices are taken out of the running sound system (it would move the stream to another one), one comes back."""
    before = threading.active_count()
    sound.ask("load-module", "module-null-sink", "sink_name=usb", "rate=44100")
    await asyncio.to_thread(singing, 440.0, "usb")
    async with Hearing("usb microphone") as hearing:
        await hearing.hears(440)
        assert hearing.problems == []
        sound.ask("unload-module", "module-null-sink")
        await hearing.until(lambda: hearing.problems)
        hearing.samples = array("h")
        sound.ask("load-module", "module-null-sink", "sink_name=usb", "rate=48000")
        await asyncio.to_thread(singing, 660.0, "usb")
        await hearing.hears(660)
        assert hearing.source.state.problem == ""
        assert len(hearing.problems) == len(set(hearing.problems)) <= 2
        assert "usb microphone" in hearing.problems[0]
    assert portaudio.open_streams() == 0
    assert threading.active_count() <= before + 6


@pytest.mark.slow
async def test_a_sound_system_that_freezes_is_told_and_heard_again_when_it_goes_on(
    sound: VirtualSound, singing: Callable[[float, str], None]
) -> None:
    await asyncio.to_thread(singing, 440.0, "stage")
    async with Hearing("headset") as hearing:
        await hearing.hears(440)
        sound.freeze()
        try:
            await hearing.until(lambda: hearing.problems)
            hearing.samples = array("h")
        finally:
            sound.thaw()
        await hearing.hears(440)
        assert hearing.source.state.is_open
    await asyncio.to_thread(wait_for, lambda: portaudio.open_streams() == 0)


@pytest.mark.slow
async def test_the_systems_microphone_is_the_one_that_the_system_means_now(
    sound: VirtualSound, singing: Callable[[float, str], None]
) -> None:
    await asyncio.to_thread(singing, 440.0, "stage")
    await asyncio.to_thread(singing, 660.0, "other")
    sound.ask("set-default-source", "stage.monitor")
    async with Hearing("system") as hearing:
        await hearing.hears(440)
        sound.ask("set-default-source", "other.monitor")
        await hearing.hears(660)
        assert hearing.problems == []


@pytest.mark.slow
async def test_the_conversation_and_a_recording_listen_to_one_microphone(
    sound: VirtualSound, singing: Callable[[float, str], None]
) -> None:
    await asyncio.to_thread(singing, 440.0, "stage")
    async with Hearing("headset") as hearing:
        await hearing.hears(440)
        audio = await hearing.source.record(0.6)
        assert pitch(array("h", audio.pcm)[-4000:]) == pytest.approx(440, abs=12)
        hearing.samples = array("h")
        await hearing.hears(440)


def wait_for(is_true: Callable[[], bool]) -> None:
    end_s = time.monotonic() + 30
    while not is_true():
        assert time.monotonic() < end_s
        time.sleep(0.02)


async def test_a_microphone_plugged_in_while_another_is_open_is_listed(
    sound: VirtualSound,
) -> None:
    microphones = ComputersMicrophones()
    listener = Listener()
    microphone = await microphones.open("headset", listener.arrive, listener.fail)
    with sound.alsa.open("a") as config:
        config.write(
            f'pcm.camera {{ type pulse server "{sound.server}" device other.monitor '
            f'hint {{ show on description "camera" }} }}\n'
        )
    listed = [device.name for device in await microphones.listed()]
    assert {"headset", "camera"} <= set(listed)
    await microphone.close()


def test_the_program_lists_devices_as_json(sound: VirtualSound) -> None:
    listed = subprocess.run(
        [sys.executable, str(ROOT / "main.py"), "--devices", "--json"],
        capture_output=True,
        timeout=30,
        check=True,
    )
    found = json.loads(listed.stdout)
    assert "headset" in [device["name"] for device in found["inputs"]]
    assert "stage" in [device["name"] for device in found["outputs"]]
    assert set(found["inputs"][0]) == {"name", "host_api", "is_default", "rate_hz"}


def test_the_program_lists_devices_in_words(
    sound: VirtualSound, capsys: pytest.CaptureFixture[str]
) -> None:
    loaded = LoadedSettings.of(Settings(asr_input_device="Studio One"))
    assert main._list_devices(loaded, as_json=False) == 0
    words = capsys.readouterr().out
    assert "headset" in words
    assert "ASR_INPUT_DEVICE: Studio One" in words
    assert "Studio One is not there now" in words
