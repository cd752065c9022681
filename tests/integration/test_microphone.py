"""A microphone on a real device: PortAudio, ALSA and a PulseAudio whose microphone hears what the test plays."""

from __future__ import annotations

import asyncio
import math
import os
import subprocess
from array import array
from collections.abc import Iterator

import pytest

from backend.clients import portaudio
from backend.clients.microphone import SILENT_S, ComputersMicrophones, Microphone
from backend.contracts.errors import EngineUnavailableError
from tests.integration.virtual_sound import RATE_HZ, VirtualSound, missing

pytestmark = pytest.mark.skipif(
    bool(missing()), reason=f"needs a sound server of its own (not installed: {missing()})"
)


@pytest.fixture
def sound() -> Iterator[VirtualSound]:
    with VirtualSound() as running:
        with running.alsa.open("a") as config:
            config.write(
                f'pcm.headset {{ type pulse server "{running.server}" device stage.monitor '
                f'hint {{ show on description "headset" }} }}\n'
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


def play(sound: VirtualSound, hz: float, seconds: float) -> subprocess.Popen[bytes]:
    """Somebody sings into the microphone."""
    turn = 2 * math.pi * hz / RATE_HZ
    samples = array(
        "h", (round(12_000 * math.sin(turn * n)) for n in range(round(seconds * RATE_HZ)))
    )
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
