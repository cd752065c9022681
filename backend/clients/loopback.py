"""Hear back what the computer plays, where its sound system offers that: a monitor source, or a loopback device.

PulseAudio and PipeWire have a monitor of every output, which `parec` records; on Windows some builds of PortAudio list
"... [Loopback]" devices, and some sound cards a "Stereo Mix". Nothing is heard through the air: no microphone is opened.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import shutil
import sys
from dataclasses import dataclass, field

from backend.clients import portaudio

RATE_HZ = 22_050
ASK_S = 2.0
MOST_S = 15.0
"""Sound that is kept at most."""

LOOPBACK_NAMES = ("[loopback]", "stereo mix", "what u hear", "blackhole", "monitor of ")
"""What devices that give back the output are called, in lower case."""


@dataclass(slots=True)
class Recording:
    """What is being heard back.

    Attributes:
        source: Where from, for people.
        rate_hz: Of ``pcm``.
        pcm: PCM16 mono so far.
        is_muted: The system has muted the output, or turned it down to nothing; a monitor may hear it all the same.
    """

    source: str
    rate_hz: int
    pcm: bytearray = field(default_factory=bytearray)
    is_muted: bool = False
    _process: asyncio.subprocess.Process | None = None
    _reader: asyncio.Task[None] | None = None
    _stream: portaudio.InputStream | None = None
    _begun: asyncio.Event = field(default_factory=asyncio.Event)

    async def begun(self) -> bool:
        """Wait until sound arrives; whether it does within two seconds."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(ASK_S):
                await self._begun.wait()
        return self._begun.is_set()

    async def close(self) -> None:
        """Stop; what was heard stays."""
        process, self._process = self._process, None
        if process is not None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
        if self._reader is not None:
            self._reader.cancel()
            await asyncio.gather(self._reader, return_exceptions=True)
        stream, self._stream = self._stream, None
        if stream is not None:
            await asyncio.to_thread(stream.close)

    def _arrive(self, sound: bytes) -> None:
        self._begun.set()
        if len(self.pcm) < 2 * self.rate_hz * MOST_S:
            self.pcm += sound

    async def _read(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdout is not None
        while sound := await process.stdout.read(4096):
            self._arrive(sound)


async def listen(output: str) -> Recording | None:
    """Begin to hear back an output device; None where this computer has no way to.

    Args:
        output: Its name as PortAudio lists it; empty = the system's.
    """
    if sys.platform.startswith("linux"):
        monitor = await _monitor_of(output)
        if monitor:
            return await _from_monitor(monitor)
    return await _from_device(output)


async def _monitor_of(output: str) -> str:
    """Name of the monitor source of an output; empty when there is none."""
    if not shutil.which("parec") or not shutil.which("pactl"):
        return ""
    default = (await _pactl("get-default-sink")).strip()
    if not default:
        return ""
    # What PortAudio calls "default", "pulse" or "pipewire" is wherever the sound server sends it.
    if not output or output.lower() in ("default", "pulse", "pipewire", "sysdefault"):
        return f"{default}.monitor"
    for line in (await _pactl("list", "short", "sinks")).splitlines():
        name = [*line.split("\t"), ""][1]
        if name and name.lower() == output.lower():
            return f"{name}.monitor"
    name = ""
    for line in (await _pactl("list", "sinks")).splitlines():
        key, _, value = line.strip().partition(": ")
        if key == "Name":
            name = value
        elif key == "Description" and name and value and value in output:
            return f"{name}.monitor"
    return ""


async def _pactl(*words: str) -> str:
    try:
        async with asyncio.timeout(ASK_S):
            process = await asyncio.create_subprocess_exec(
                "pactl",
                *words,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.DEVNULL,
            )
            try:
                said, _ = await process.communicate()
            except BaseException:
                with contextlib.suppress(ProcessLookupError):
                    process.kill()
                await process.wait()
                raise
    except (OSError, TimeoutError):
        return ""
    return said.decode("utf-8", "replace") if process.returncode == 0 else ""


async def _from_monitor(monitor: str) -> Recording | None:
    try:
        process = await asyncio.create_subprocess_exec(
            "parec",
            f"--device={monitor}",
            "--format=s16le",
            "--channels=1",
            f"--rate={RATE_HZ}",
            "--latency-msec=20",
            "--raw",
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
        )
    except OSError:
        return None
    sink = monitor.removesuffix(".monitor")
    recording = Recording(f"the monitor of {sink}", RATE_HZ)
    volumes = re.findall(r"(\d+)%", await _pactl("get-sink-volume", sink))
    recording.is_muted = "yes" in await _pactl("get-sink-mute", sink) or (
        bool(volumes) and all(int(volume) == 0 for volume in volumes)
    )
    recording._process = process
    recording._reader = asyncio.create_task(recording._read(process), name="loopback")
    return recording


async def _from_device(output: str) -> Recording | None:
    loop = asyncio.get_running_loop()
    try:
        return await asyncio.to_thread(_open_loopback, output, loop)
    except Exception:  # noqa: BLE001  whatever the binding raises: it cannot be heard back
        return None


def _open_loopback(output: str, loop: asyncio.AbstractEventLoop) -> Recording | None:
    found = [
        device
        for device in portaudio.inputs()
        if any(name in device.name.lower() for name in LOOPBACK_NAMES)
    ]
    if not found:
        return None
    # Of several the one that belongs to the output.
    found.sort(key=lambda one: bool(output) and output.lower() not in one.name.lower())
    device = found[0]
    recording = Recording(device.name, device.rate_hz)

    def arrive(sound: bytes) -> None:
        with contextlib.suppress(RuntimeError):  # the loop has ended
            loop.call_soon_threadsafe(recording._arrive, sound)

    recording._stream = portaudio.InputStream(device, device.rate_hz, arrive, lambda: None)
    recording._stream.start()
    return recording
