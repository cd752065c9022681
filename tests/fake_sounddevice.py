"""The module ``sounddevice`` for tests: devices that keep what they are given, as fast as it comes."""

from __future__ import annotations

import threading
from array import array
from types import SimpleNamespace
from typing import Any

RATE_HZ = 16_000
BUFFER = 480


class PortAudioError(Exception):
    """As the binding's own: text, code."""


class Binding(SimpleNamespace):
    """Stands in for the module ``sounddevice``; a device takes sound as fast as it is given.

    Attributes:
        rates: What the devices play.
        broken: Raised when a device is opened.
        gate: While cleared, a write waits.
    """

    def __init__(self) -> None:
        super().__init__(PortAudioError=PortAudioError)
        self.default = SimpleNamespace(device=(0, 0))
        self.names = ["Built-in", "Headphones"]
        self.rates = {RATE_HZ, 48_000}
        self.channels = {1, 2}
        self.broken: Exception | None = None
        self.gate = threading.Event()
        self.gate.set()
        self.streams: list[Stream] = []
        self.starts = 0

    def query_hostapis(self) -> list[dict[str, Any]]:
        return [{"name": "ALSA"}]

    def query_devices(self) -> list[dict[str, Any]]:
        return [
            {"name": name, "hostapi": 0, "max_output_channels": 2, "default_samplerate": 48_000.0}
            for name in self.names
        ]

    def check_output_settings(self, *, samplerate: int, **_: object) -> None:
        if samplerate not in self.rates:
            raise PortAudioError("Invalid sample rate", -9997)

    def RawOutputStream(self, **wanted: Any) -> Stream:
        if self.broken is not None:
            raise self.broken
        if wanted["channels"] not in self.channels:
            raise PortAudioError("Invalid number of channels", -9998)
        self.check_output_settings(samplerate=wanted["samplerate"])
        stream = Stream(self, wanted)
        self.streams.append(stream)
        return stream

    def _terminate(self) -> None:
        pass

    def _initialize(self) -> None:
        self.starts += 1

    @property
    def played(self) -> array[int]:
        """Everything, without the silence at both ends."""
        whole = array("h", b"".join(bytes(stream.data) for stream in self.streams))
        loud = [i for i, value in enumerate(whole) if value]
        return whole[loud[0] : loud[-1] + 1] if loud else array("h")


class Stream:
    """What is written is kept; half a buffer is always still to be heard."""

    def __init__(self, binding: Binding, wanted: dict[str, Any]) -> None:
        self.wanted = wanted
        self.latency = BUFFER / wanted["samplerate"]
        self.data = bytearray()
        self.calls: list[str] = []
        self.dry = 0
        self._binding = binding

    @property
    def write_available(self) -> int:
        return BUFFER if not self.data else BUFFER - 240

    def start(self) -> None:
        self.calls.append("start")

    def write(self, pcm: Any) -> bool:
        self._binding.gate.wait(10)
        self.data += bytes(memoryview(pcm).cast("B"))
        is_dry = self.dry > 0 and any(memoryview(pcm).cast("B"))
        self.dry -= is_dry
        return is_dry

    def stop(self) -> None:
        self.calls.append("stop")

    def abort(self) -> None:
        self.calls.append("abort")

    def close(self) -> None:
        self.calls.append("close")
