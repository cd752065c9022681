"""The computer's sound output, through PortAudio.

One thread owns the device and feeds it 20 ms at a time with blocking writes: a stop or a new volume is heard with the
next piece, and a busy event loop cannot make the sound stutter. The thread ends when nothing was played for a while, so
that an idle program holds no device.
"""

from __future__ import annotations

import asyncio
import logging
import math
import queue
import threading
from array import array
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

from backend.contracts.entities import Audio
from backend.contracts.errors import EngineUnavailableError
from backend.outputs.base import OutputDevice, Progress

logger = logging.getLogger(__name__)

PIECE_S = 0.02
IDLE_S = 20.0
PROGRESS_EVERY = 3  # pieces: about 17 times a second, as a meter wants
FALLBACK_RATES = (48_000, 44_100)


@dataclass(slots=True)
class _Job:
    audio: Audio
    device: str
    report: Callable[[float, float], None]
    done: Future[float]
    stop: threading.Event


class Speaker:
    """Plays on an output device; all methods are for the backend's loop."""

    name = "speaker"

    def __init__(self, options: Any = None) -> None:
        self._device = str(getattr(options, "device", "") or "")
        self._volume = 1.0
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._current: _Job | None = None

    async def play(self, audio: Audio, progress: Progress) -> float:
        """Play one sound; see `Sink.play`."""
        loop = asyncio.get_running_loop()

        def report(position_s: float, level_dbfs: float) -> None:
            loop.call_soon_threadsafe(progress, position_s, level_dbfs)

        job = _Job(audio, self._device, report, Future(), threading.Event())
        self._current = job
        if self._thread is None or not self._thread.is_alive():
            self._thread = threading.Thread(target=self._run, name="speaker", daemon=True)
            self._thread.start()
        self._jobs.put(job)
        try:
            return await asyncio.wrap_future(job.done)
        finally:
            job.stop.set()
            if self._current is job:
                self._current = None

    def stop(self) -> None:
        """Fade out the running sound within one piece."""
        if self._current is not None:
            self._current.stop.set()

    def set_volume(self, volume: float) -> None:
        """0-1; read by the thread for every piece."""
        self._volume = min(1.0, max(0.0, volume))

    async def set_device(self, name: str) -> None:
        """Use another device from the next sound on."""
        self._device = name

    async def devices(self) -> list[OutputDevice]:
        """The output devices PortAudio knows."""
        return await asyncio.to_thread(list_devices)

    async def close(self) -> None:
        """End the thread and free the device."""
        self.stop()
        if self._thread is not None:
            self._jobs.put(None)
            await asyncio.to_thread(self._thread.join, 2)
            self._thread = None

    # --- on the speaker's thread ---

    def _run(self) -> None:
        stream: Any = None
        opened: tuple[str, int] | None = None
        try:
            while True:
                try:
                    job = self._jobs.get(timeout=IDLE_S)
                except queue.Empty:
                    return
                if job is None:
                    return
                try:
                    wanted = (job.device, job.audio.rate_hz)
                    if stream is None or opened != wanted:
                        if stream is not None:
                            stream.close()
                            stream = None
                        stream = _open(job.device, job.audio.rate_hz)
                        opened = wanted
                    self._feed(stream, job)
                except Exception as error:  # noqa: BLE001  a device can fail in any way; the caller decides
                    if stream is not None:
                        _close(stream)
                        stream = None
                    if not job.done.cancelled():
                        job.done.set_exception(_unavailable(job.device, error))
        finally:
            if stream is not None:
                _close(stream)

    def _feed(self, stream: Any, job: _Job) -> None:
        rate = stream.samplerate
        samples = array("h", job.audio.pcm)
        if round(rate) != job.audio.rate_hz:
            samples = _stretch(samples, job.audio.rate_hz, rate)
        step = max(1, int(rate * PIECE_S))
        position = 0
        count = 0
        heard = 0
        while position < len(samples):
            piece = samples[position : position + step]
            is_last = job.stop.is_set()
            piece, level = _scaled(piece, self._volume, fade=is_last)
            stream.write(piece.tobytes())
            position += len(piece)
            heard = position
            if count % PROGRESS_EVERY == 0 or is_last:
                job.report(max(0.0, position / rate - stream.latency), level)
            count += 1
            if is_last:
                # What the device still holds would sound on for its whole latency: throw it away.
                heard = max(0, position - int(stream.latency * rate))
                stream.abort()
                stream.start()
                break
        else:
            # The last piece is written, not yet heard.
            job.stop.wait(stream.latency)
        if not job.done.cancelled():
            job.done.set_result(heard / rate)


def list_devices() -> list[OutputDevice]:
    """Names of what can be played on; empty without PortAudio. Takes up to a second: not for the loop.

    Raises:
        EngineUnavailableError: PortAudio is not installed.
    """
    sounddevice = _sounddevice()
    default = sounddevice.default.device[1]
    found: dict[str, OutputDevice] = {}
    for index, device in enumerate(sounddevice.query_devices()):
        if device["max_output_channels"] > 0 and device["name"] not in found:
            api = sounddevice.query_hostapis(device["hostapi"])["name"]
            found[device["name"]] = OutputDevice(device["name"], index == default, api)
    return list(found.values())


def _sounddevice() -> Any:
    try:
        import sounddevice
    except (ImportError, OSError) as error:
        raise EngineUnavailableError(
            "Sound output needs PortAudio: on Debian or Ubuntu run `apt install libportaudio2`."
        ) from error
    return sounddevice


def _open(device: str, rate_hz: int) -> Any:
    sounddevice = _sounddevice()
    last: Exception | None = None
    for rate in (rate_hz, *FALLBACK_RATES):
        try:
            stream = sounddevice.RawOutputStream(
                samplerate=rate,
                channels=1,
                dtype="int16",
                device=device or None,
                latency="low",
                blocksize=0,
            )
            stream.start()
        except (sounddevice.PortAudioError, ValueError) as error:
            last = error
            continue
        return stream
    assert last is not None
    raise last


def _close(stream: Any) -> None:
    try:
        stream.abort()
        stream.close()
    except Exception as error:  # noqa: BLE001  it is being thrown away
        logger.debug("closing the sound device: %s", error)


def _unavailable(device: str, error: Exception) -> EngineUnavailableError:
    if isinstance(error, EngineUnavailableError):
        return error
    name = f"The sound output {device!r}" if device else "The system's sound output"
    return EngineUnavailableError(
        f"{name} cannot be opened ({error}). Choose another one in the Chat tab, or set AUDIO_SINK=none."
    )


def _scaled(piece: array[int], volume: float, *, fade: bool) -> tuple[array[int], float]:
    """A piece at ``volume``, faded to silence if asked, and its level in dBFS (RMS)."""
    count = len(piece)
    if fade:
        piece = array("h", (int(s * volume * (1 - i / count)) for i, s in enumerate(piece)))
    elif volume != 1.0:
        piece = array("h", (int(s * volume) for s in piece))
    power = sum(s * s for s in piece[::4]) / max(1, len(piece[::4]))
    return piece, 10 * math.log10(power / 32768**2) if power > 0 else -120.0


def _stretch(samples: array[int], from_hz: float, to_hz: float) -> array[int]:
    """Linear interpolation, for the rare device that takes neither the sound's rate nor converts by itself."""
    ratio = from_hz / to_hz
    last = len(samples) - 1
    out = array("h", bytes(2 * int(len(samples) / ratio)))
    for i in range(len(out)):
        place = i * ratio
        left = int(place)
        right = min(last, left + 1)
        out[i] = int(samples[left] + (samples[right] - samples[left]) * (place - left))
    return out
