"""Microphones over a binding that the test speaks through: everywhere, without a sound system."""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import Callable, Iterator
from functools import partial
from types import SimpleNamespace
from typing import Any

import pytest

from backend.clients import microphone as module
from backend.clients import portaudio
from backend.clients.microphone import AnnouncedMicrophones, ComputersMicrophones, Microphone
from backend.contracts.errors import EngineUnavailableError


class PortAudioError(Exception):
    """As the binding's own: text, code."""


class Binding(SimpleNamespace):
    """Stands in for the module ``sounddevice``.

    Attributes:
        names: What is plugged in; the first is the system's.
        channels: What the devices take.
        rates: What they give.
        broken: Raised when a device is opened.
        gate: While cleared, opening, stopping and looking for devices hang.
    """

    def __init__(self) -> None:
        super().__init__(PortAudioError=PortAudioError)
        self.default = SimpleNamespace(device=(0, 0))
        self.names = ["Built-in", "USB"]
        self.rates = {48_000}
        self.channels = {1, 2}
        self.broken: Exception | None = None
        self.gate = threading.Event()
        self.gate.set()
        self.streams: list[Stream] = []
        self.looks = 0

    def query_hostapis(self) -> list[dict[str, Any]]:
        return [{"name": "ALSA"}]

    def query_devices(self) -> list[dict[str, Any]]:
        return [
            {"name": name, "hostapi": 0, "max_input_channels": 2, "default_samplerate": 44_100.0}
            for name in self.names
        ]

    def check_input_settings(self, *, channels: int, samplerate: int, **_: object) -> None:
        if samplerate not in self.rates or channels not in self.channels:
            raise PortAudioError("no", -9997)

    def RawInputStream(self, **options: Any) -> Stream:
        self.gate.wait(20)
        if self.broken is not None:
            raise self.broken
        if options["samplerate"] not in self.rates:
            raise PortAudioError("Invalid sample rate", -9997)
        if options["channels"] not in self.channels:
            raise PortAudioError("Invalid number of channels", -9998)
        self.streams.append(Stream(self, options))
        return self.streams[-1]

    def _terminate(self) -> None:
        self.looks += 1

    def _initialize(self) -> None:
        self.gate.wait(20)


class Stream:
    def __init__(self, binding: Binding, options: dict[str, Any]) -> None:
        self.options = options
        self.is_closed = False
        self._binding = binding

    def start(self) -> None:
        return None

    def abort(self) -> None:
        self._binding.gate.wait(20)

    def close(self) -> None:
        self.is_closed = True

    def give(self, data: bytes) -> None:
        """On PortAudio's thread."""
        thread = threading.Thread(target=self.options["callback"], args=(data, 0, None, None))
        thread.start()
        thread.join()

    def end(self) -> None:
        self.options["finished_callback"]()


class Ear:
    def __init__(self) -> None:
        self.pieces: list[bytes] = []
        self.problems: list[str] = []
        self.changed = asyncio.Event()

    def sound(self, pcm: bytes) -> None:
        self.pieces.append(pcm)
        self.changed.set()

    def problem(self, problem: str) -> None:
        self.problems.append(problem)
        self.changed.set()

    async def open(self, microphones: ComputersMicrophones, name: str = "") -> Microphone:
        return await microphones.open(name, self.sound, self.problem)

    async def until(self, is_true: Callable[[], object]) -> None:
        async with asyncio.timeout(10):
            while not is_true():
                self.changed.clear()
                await self.changed.wait()


@pytest.fixture
def binding(monkeypatch: pytest.MonkeyPatch) -> Iterator[Binding]:
    binding = Binding()
    monkeypatch.setitem(sys.modules, "sounddevice", binding)
    monkeypatch.setattr(portaudio._Library, "open_streams", 0)
    yield binding
    binding.gate.set()


async def test_what_the_device_gives_arrives_in_the_loop_in_order(binding: Binding) -> None:
    ear = Ear()
    microphone = await ear.open(ComputersMicrophones())
    for n in range(1, 50):
        binding.streams[0].give(bytes([n, 0]))
    await ear.until(lambda: len(ear.pieces) == 49)
    assert b"".join(ear.pieces)[::2] == bytes(range(1, 50))
    assert (microphone.device, microphone.rate_hz) == ("Built-in", 48_000)
    await microphone.close()
    assert portaudio.open_streams() == 0


async def test_many_pieces_wake_the_loop_once(
    binding: Binding, monkeypatch: pytest.MonkeyPatch
) -> None:
    ear = Ear()
    microphone = await ear.open(ComputersMicrophones())
    loop = asyncio.get_running_loop()
    wakes: list[object] = []
    wake = loop.call_soon_threadsafe

    def counted(callback: Any, *args: Any, **kwargs: Any) -> Any:
        wakes.append(callback)
        return wake(callback, *args, **kwargs)

    monkeypatch.setattr(loop, "call_soon_threadsafe", counted)
    for _ in range(200):
        binding.streams[0].give(bytes(640))
    await ear.until(lambda: len(ear.pieces) == 200)
    assert len(wakes) == 1
    await microphone.close()


async def test_a_loop_that_takes_nothing_does_not_fill_the_memory(
    binding: Binding, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MOST_WAITING", 10)
    ear = Ear()
    microphone = await ear.open(ComputersMicrophones())
    for n in range(25):
        binding.streams[0].give(bytes([n, 0]))
    await ear.until(lambda: ear.pieces)
    assert [piece[0] for piece in ear.pieces] == list(range(15, 25))
    await microphone.close()


async def test_a_stereo_device_gives_its_left_channel(binding: Binding) -> None:
    binding.channels = {2}
    ear = Ear()
    microphone = await ear.open(ComputersMicrophones())
    binding.streams[0].give(b"\x01\x02\x03\x04\x05\x06\x07\x08")
    await ear.until(lambda: ear.pieces)
    assert ear.pieces == [b"\x01\x02\x05\x06"]
    await microphone.close()


async def test_a_device_of_another_rate_is_opened_at_that_rate(binding: Binding) -> None:
    binding.rates = {44_100}
    microphone = await Ear().open(ComputersMicrophones())
    assert microphone.rate_hz == 44_100
    await microphone.close()


async def test_two_who_listen_to_one_device_share_it(binding: Binding) -> None:
    microphones = ComputersMicrophones()
    first, second = Ear(), Ear()
    one = await first.open(microphones)
    two = await second.open(microphones, "Built-in")
    assert len(binding.streams) == 1
    binding.streams[0].give(b"\x01\x00")
    await second.until(lambda: second.pieces)
    assert first.pieces == second.pieces == [b"\x01\x00"]
    await one.close()
    assert not binding.streams[0].is_closed
    binding.streams[0].give(b"\x02\x00")
    await second.until(lambda: len(second.pieces) == 2)
    assert len(first.pieces) == 1
    await two.close()
    assert binding.streams[0].is_closed
    assert portaudio.open_streams() == 0


async def test_all_who_share_a_device_are_told_once_that_it_is_gone(binding: Binding) -> None:
    microphones = ComputersMicrophones()
    ears = [Ear(), Ear()]
    lines = [await ear.open(microphones) for ear in ears]
    binding.streams[0].end()
    binding.streams[0].end()
    for ear in ears:
        await ear.until(partial(len, ear.problems))
    assert [len(ear.problems) for ear in ears] == [1, 1]
    assert "pulled out" in ears[0].problems[0]
    await lines[0].close()
    assert portaudio.open_streams() == 0
    again = await ears[0].open(microphones)
    assert len(binding.streams) == 2
    await lines[1].close()
    assert not binding.streams[1].is_closed
    await again.close()


async def test_a_device_that_gives_nothing_is_told_as_gone(
    binding: Binding, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SILENT_S", 0.05)
    ear = Ear()
    microphone = await ear.open(ComputersMicrophones(), "USB")
    await ear.until(lambda: ear.problems)
    assert ear.problems[0].startswith("The microphone 'USB' gives no sound any more")
    await microphone.close()
    assert binding.streams[0].is_closed


async def test_a_busy_or_forbidden_device_is_said_with_what_to_do(binding: Binding) -> None:
    binding.broken = PortAudioError("Device unavailable", -9985)
    with pytest.raises(EngineUnavailableError, match=r"Device unavailable.*privacy settings"):
        await Ear().open(ComputersMicrophones(), "USB")
    assert portaudio.open_streams() == 0
    assert binding.looks == 1


async def test_a_device_plugged_in_later_is_found(binding: Binding) -> None:
    microphones = ComputersMicrophones()
    with pytest.raises(EngineUnavailableError, match="Built-in, USB"):
        await Ear().open(microphones, "Studio")
    binding.names.append("Studio")
    microphone = await Ear().open(microphones, "Studio")
    assert microphone.device == "Studio"
    await microphone.close()


async def test_a_device_that_hangs_costs_three_threads_and_nobody_waits_for_it(
    binding: Binding, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PATIENCE_S", 0.02)
    monkeypatch.setattr(portaudio, "LOCK_PATIENCE_S", 0.01)
    microphones = ComputersMicrophones()
    before = threading.active_count()
    binding.gate.clear()
    said = set()
    for _ in range(12):
        with pytest.raises(EngineUnavailableError) as caught:
            await Ear().open(microphones)
        said.add(caught.value.message.split(".")[0])
    assert threading.active_count() <= before + module.MOST_HANGING
    assert any("hangs" in one for one in said)
    binding.gate.set()
    async with asyncio.timeout(10):
        while True:
            try:
                microphone = await Ear().open(microphones)
            except EngineUnavailableError:
                await asyncio.sleep(0.005)
            else:
                break
    await microphone.close()
    assert portaudio.open_streams() == 0
    assert all(stream.is_closed for stream in binding.streams)


async def test_a_device_that_hangs_when_it_is_closed_does_not_hold_up_the_others(
    binding: Binding, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "CLOSE_PATIENCE_S", 0.02)
    microphones = ComputersMicrophones()
    microphone = await Ear().open(microphones)
    binding.gate.clear()
    await microphone.close()
    names = [device.name for device in portaudio.inputs()]
    assert names == ["Built-in", "USB"]
    binding.gate.set()
    async with asyncio.timeout(10):
        while portaudio.open_streams():
            await asyncio.sleep(0.005)


async def test_the_systems_other_choice_is_followed_when_nothing_else_is_open(
    binding: Binding, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = "Built-in"

    async def ask() -> str:
        return now

    microphones = ComputersMicrophones(ask)
    microphone = await Ear().open(microphones)
    assert not await microphones.has_moved(microphone)
    now = "Headset"
    binding.names = ["Headset", "Built-in"]
    monkeypatch.setattr(portaudio._Library, "open_streams", 2)
    assert not await microphones.has_moved(microphone)
    monkeypatch.setattr(portaudio._Library, "open_streams", 1)
    assert await microphones.has_moved(microphone)
    await microphone.close()
    moved = await Ear().open(microphones)
    assert moved.device == "Headset"
    assert binding.looks == 1
    await moved.close()


async def test_somebody_is_told_while_a_microphone_is_open(binding: Binding) -> None:
    told: list[str] = []
    there = ComputersMicrophones()
    microphones = AnnouncedMicrophones(
        there, lambda: told.append("opened"), lambda: told.append("closed")
    )
    ear = Ear()
    microphone = await microphones.open("USB", ear.sound, ear.problem)
    assert told == ["opened"]
    assert (microphone.device, microphone.rate_hz) == ("USB", 48_000)
    await microphone.close()
    await microphone.close()
    assert told == ["opened", "closed"]
    with pytest.raises(EngineUnavailableError):
        await microphones.open("Studio", ear.sound, ear.problem)
    assert told == ["opened", "closed"] * 2


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        (
            "Error opening RawInputStream: Unanticipated host error [PaErrorCode -9999]: "
            "'Input/output error' [ALSA error -5]",
            " (Input/output error)",
        ),
        (
            "Error opening RawInputStream: Unanticipated host error [PaErrorCode -9999]: "
            "'' [<host API not found> error 0]",
            "",
        ),
        (
            "Error starting RawOutputStream: Device unavailable [PaErrorCode -9985]",
            " (Device unavailable)",
        ),
        ("Permission denied", " (Permission denied)"),
        ("", ""),
    ],
)
def test_what_portaudio_says_is_shown_without_the_names_of_its_parts(said: str, shown: str) -> None:
    assert portaudio.why(PortAudioError(said)) == shown
