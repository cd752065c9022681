"""A microphone by name: the computer's through PortAudio, or a sound file that plays one.

Whoever listens gets mono PCM16 in pieces as it comes, in the loop. What can go wrong with a device (gone, busy, forbidden,
pulled out, silent for ever) becomes words; nothing of it raises later than `open_microphone`.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from backend.audio.wav import read_wav
from backend.clients import portaudio
from backend.contracts.errors import EngineUnavailableError
from backend.core.clock import monotonic_s

logger = logging.getLogger(__name__)

BEST_HZ = 48_000
"""Asked for first: what microphones give themselves, so that nobody resamples twice."""

SILENT_S = 3.0
"""A device that gives no sample for so long is gone, whatever the system says."""

PIECE_S = 0.02


@dataclass(frozen=True, slots=True)
class InputDevice:
    """A microphone by the name a person knows it under."""

    name: str
    is_default: bool
    host_api: str = ""


OnSound = Callable[[bytes], None]
"""Called in the loop with each piece of PCM16 mono."""

OnProblem = Callable[[str], None]
"""Called in the loop, once, when nothing more will come, with the reason in words."""


class Microphone(Protocol):
    """An open microphone."""

    rate_hz: int

    async def close(self) -> None:
        """Stop listening; nothing is handed over afterwards."""
        ...


class Microphones(Protocol):
    """Where microphones are."""

    async def listed(self) -> list[InputDevice]:
        """Those that are there, looked for anew unless something sounds."""
        ...

    async def open(self, name: str, on_sound: OnSound, on_problem: OnProblem) -> Microphone:
        """Listen to the microphone of a name; empty = the system's choice.

        Raises:
            EngineUnavailableError: It is not there, busy or forbidden, with what to do.
        """
        ...


class ComputersMicrophones:
    """The devices that PortAudio finds."""

    async def listed(self) -> list[InputDevice]:
        """See `Microphones`."""

        def look() -> list[InputDevice]:
            portaudio.refresh()
            return [
                InputDevice(device.name, device.is_default, device.host_api)
                for device in portaudio.inputs()
            ]

        return await asyncio.to_thread(look)

    async def open(self, name: str, on_sound: OnSound, on_problem: OnProblem) -> Microphone:
        """See `Microphones`."""
        listening = _Listening(name, on_sound, on_problem)
        try:
            await asyncio.to_thread(listening.open)
        except BaseException:
            await listening.close()
            raise
        listening.watch()
        return listening


class _Listening:
    """A stream of PortAudio, watched."""

    def __init__(self, name: str, on_sound: OnSound, on_problem: OnProblem) -> None:
        self.rate_hz = BEST_HZ
        self._name = name
        self._on_sound = on_sound
        self._on_problem = on_problem
        self._loop = asyncio.get_running_loop()
        self._stream: portaudio.InputStream | None = None
        self._last_s = monotonic_s()
        self._is_over = False
        self._watcher: asyncio.TimerHandle | None = None

    def open(self) -> None:
        """Open the device; when that fails, once more after looking for devices anew. On a worker thread."""
        try:
            try:
                self._open()
            except Exception as error:
                if not portaudio.refresh():
                    raise
                logger.debug("the microphone %r: %s; looking for devices anew", self._name, error)
                self._open()
        except EngineUnavailableError:
            raise
        except Exception as error:
            raise EngineUnavailableError(
                f"{self._title} cannot be listened to ({error}). Another program may hold it, or the system may forbid it: "
                "close the other program, allow Luma in the system's privacy settings, or choose another microphone."
            ) from error

    def watch(self) -> None:
        """Notice a device that falls silent for good."""
        self._last_s = monotonic_s()
        self._watcher = self._loop.call_later(SILENT_S / 3, self._look)

    async def close(self) -> None:
        """See `Microphone`."""
        self._is_over = True
        if self._watcher is not None:
            self._watcher.cancel()
        stream, self._stream = self._stream, None
        if stream is not None:
            # A device that hangs would hold up everything; it is left to its thread then.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(2):
                    await asyncio.to_thread(stream.close)

    @property
    def _title(self) -> str:
        return f"The microphone {self._name!r}" if self._name else "The system's microphone"

    def _open(self) -> None:
        device = portaudio.find_input(self._name)
        try:
            self._stream = self._stream_at(device, BEST_HZ)
        except portaudio.RateRefusedError as refused:
            self._stream = self._stream_at(device, refused.rate_hz)
        self.rate_hz = self._stream.rate_hz
        self._stream.start()

    def _stream_at(self, device: portaudio.Device, rate_hz: int) -> portaudio.InputStream:
        return portaudio.InputStream(device, rate_hz, self._hand_over, self._ended)

    def _hand_over(self, pcm: bytes) -> None:
        with contextlib.suppress(RuntimeError):  # the loop has ended: nobody listens
            self._loop.call_soon_threadsafe(self._arrive, pcm)

    def _ended(self) -> None:
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._fail, "stopped: it was pulled out or taken away")

    def _arrive(self, pcm: bytes) -> None:
        self._last_s = monotonic_s()
        if not self._is_over:
            self._on_sound(pcm)

    def _look(self) -> None:
        if monotonic_s() - self._last_s > SILENT_S:
            self._fail("gives no sound any more: it was pulled out, or the sound system hangs")
        elif not self._is_over:
            self._watcher = self._loop.call_later(SILENT_S / 3, self._look)

    def _fail(self, what: str) -> None:
        if not self._is_over:
            self._is_over = True
            self._on_problem(f"{self._title} {what}. Plug it in again, or choose another one.")


class FileMicrophones:
    """A sound file that plays the microphone, over and over: to try everything out without one.

    Args:
        path: Mono 16-bit WAV; read anew at every opening.
        speed: How much faster than a real microphone it is.
    """

    def __init__(self, path: Path, speed: float = 1.0) -> None:
        self._path = path
        self._speed = speed

    async def listed(self) -> list[InputDevice]:
        """See `Microphones`."""
        return [InputDevice(self._path.name, True, "file")]

    async def open(self, name: str, on_sound: OnSound, on_problem: OnProblem) -> Microphone:
        """See `Microphones`."""
        if name not in ("", self._path.name):
            raise EngineUnavailableError(
                f"The microphone {name!r} is not there; there is: {self._path.name}."
            )
        try:
            pcm, rate_hz = read_wav(await asyncio.to_thread(self._path.read_bytes))
        except (OSError, ValueError) as error:
            raise EngineUnavailableError(
                f"The file {self._path} cannot play the microphone: {error}"
            ) from error
        return _Playing(pcm, rate_hz, self._speed, on_sound)


class _Playing:
    def __init__(self, pcm: bytes, rate_hz: int, speed: float, on_sound: OnSound) -> None:
        self.rate_hz = rate_hz
        self._over = threading.Event()
        self._loop = asyncio.get_running_loop()
        self._on_sound = on_sound
        self._thread = threading.Thread(
            target=self._run, args=(pcm, speed), name="file microphone", daemon=True
        )
        self._thread.start()

    async def close(self) -> None:
        """See `Microphone`."""
        self._over.set()
        await asyncio.to_thread(self._thread.join, 2)

    def _run(self, pcm: bytes, speed: float) -> None:
        size = 2 * round(self.rate_hz * PIECE_S)
        pcm = pcm or bytes(size)
        position, sent, start_s = 0, 0, monotonic_s()
        while not self._over.is_set():
            piece = pcm[position : position + size]
            position = (position + size) if position + size < len(pcm) else 0
            with contextlib.suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._arrive, piece)
            sent += 1
            self._over.wait(max(0.0, start_s + sent * PIECE_S / speed - monotonic_s()))

    def _arrive(self, piece: bytes) -> None:
        if not self._over.is_set():
            self._on_sound(piece)
