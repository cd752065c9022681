"""The computer's sound output, through PortAudio.

One thread owns the device and feeds it 5 ms at a time with blocking writes, never more than about 30 ms ahead: a new
volume is heard soon, a stop throws away what the device still holds, and a busy event loop cannot make the sound
stutter. Between two sentences it goes on with silence, so that they follow each other without a gap; after a while
without sound the device rests, later it is freed.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import queue
import threading
from array import array
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from operator import mul
from typing import Any

from backend.clients import portaudio
from backend.contracts.entities import Audio
from backend.contracts.errors import EngineFailedError, EngineUnavailableError
from backend.core.clock import monotonic_s
from backend.outputs.base import OutputDevice, Progress, Sounding, SpeakerOptions
from backend.outputs.recent import Recent

logger = logging.getLogger(__name__)

PIECE_S = 0.005
PROGRESS_EVERY = 12  # pieces: about 17 times a second, as a meter wants

LATENCY_S = 0.025
"""Sound the device holds ready. 9 ms ran dry all the time, 20 ms now and then; a new volume has to be heard within 50 ms."""

LONGEST_LATENCY_S = 0.12
"""On a computer that is too busy to keep up, whole sentences matter more than a quick volume."""

RUN_IN_S = 0.005
"""Silence before the first sound: PulseAudio was seen to swallow the first 1.5 ms after a start."""

LEAD_S = 0.02
"""A sound is over for its caller when this much of it is left, so that the next one is there before the device is dry."""

TAIL_S = 0.25
"""Silence goes on this long for a next sentence, then the device rests."""

IDLE_S = 20.0
"""The device is freed when nothing was played this long."""

HANGS_S = 0.5
"""A device that does not come back from 5 ms of sound this long after a stop hangs."""

MOST_HANGING = 3
"""Threads left behind in hanging devices before no more are tried."""


@dataclass(slots=True)
class _Job:
    audio: Audio
    device: str
    report: Callable[[float, float], None]
    done: Future[float] = field(default_factory=Future)
    stop: threading.Event = field(default_factory=threading.Event)
    left: threading.Event = field(default_factory=threading.Event)
    """Set when the thread has finished with it."""


_Jobs = queue.SimpleQueue[_Job | None]


class Speaker:
    """Plays on an output device; all methods are for the backend's loop."""

    name = "speaker"

    def __init__(self, options: SpeakerOptions | None = None) -> None:
        self._convert = (options or SpeakerOptions()).convert
        self._device = ""
        self._volume = 1.0
        self._latency_s = LATENCY_S
        self._rates: dict[int, int] = {}
        self._jobs: _Jobs = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._current: _Job | None = None
        self._hanging = 0
        self._recent = Recent(PIECE_S)

    async def play(self, audio: Audio, progress: Progress) -> float:
        """Play one sound; see `Sink.play`."""
        length_s = audio.duration_s
        if (rate := self._rates.get(audio.rate_hz)) is not None:
            audio = await self._at_rate(audio, rate)
        try:
            heard_s = await self._play(audio, progress)
        except portaudio.RateRefusedError as refused:
            logger.info("the sound output wants %d Hz, not %d", refused.rate_hz, audio.rate_hz)
            self._rates[audio.rate_hz] = refused.rate_hz
            heard_s = await self._play(await self._at_rate(audio, refused.rate_hz), progress)
        return min(length_s, heard_s)

    def stop(self) -> None:
        """Fall silent with the next piece."""
        if self._current is not None:
            self._current.stop.set()

    def set_volume(self, volume: float) -> None:
        """0-1; read by the thread for every piece."""
        self._volume = min(1.0, max(0.0, volume))

    def sounding(self, last_s: float = 3.0) -> list[Sounding]:
        """What left the device lately; see `Sink.sounding`."""
        return self._recent.sounding(last_s)

    async def set_device(self, name: str) -> None:
        """Use another device from the next sound on."""
        self._device = name
        self._rates.clear()

    async def devices(self) -> list[OutputDevice]:
        """What can be played on; looked for anew unless something plays."""
        return await asyncio.to_thread(_devices)

    def warm(self) -> None:
        """Start PortAudio in the background: the first time takes up to two seconds."""
        threading.Thread(target=_warm, name="starting PortAudio", daemon=True).start()

    async def close(self) -> None:
        """End the thread and free the device."""
        self.stop()
        thread, self._thread = self._thread, None
        if thread is not None:
            self._jobs.put(None)
            await asyncio.to_thread(thread.join, 2)

    async def _at_rate(self, audio: Audio, rate_hz: int) -> Audio:
        if self._convert is None:
            raise EngineUnavailableError(
                f"The sound output plays {rate_hz} Hz only, and the voice has {audio.rate_hz} Hz. Choose another one in"
                " the Chat tab."
            )
        return await self._convert(audio, rate_hz)

    async def _play(self, audio: Audio, progress: Progress) -> float:
        await self._have_thread()
        loop = asyncio.get_running_loop()

        def report(position_s: float, level_dbfs: float) -> None:
            with contextlib.suppress(RuntimeError):  # the loop has ended: nobody listens
                loop.call_soon_threadsafe(arrive, position_s, level_dbfs)

        def arrive(position_s: float, level_dbfs: float) -> None:
            if self._current is job:
                progress(position_s, level_dbfs)

        job = self._current = _Job(audio, self._device, report)
        self._jobs.put(job)
        try:
            return await asyncio.wrap_future(job.done)
        finally:
            job.stop.set()

    async def _have_thread(self) -> None:
        """A thread that takes the next sound; one that hangs in its device is left behind."""
        last = self._current
        if last is not None and not last.left.is_set() and self._thread is not None:
            last.stop.set()
            if not await asyncio.to_thread(last.left.wait, HANGS_S):
                self._leave_thread()
        if self._thread is None or not self._thread.is_alive():
            # One queue each: a thread that comes back from a hanging device must not take our sounds.
            self._jobs = queue.SimpleQueue()
            self._thread = threading.Thread(
                target=self._run, args=(self._jobs,), name="speaker", daemon=True
            )
            self._thread.start()

    def _leave_thread(self) -> None:
        if self._hanging >= MOST_HANGING:
            raise EngineFailedError(
                "The sound output hangs again and again. Choose another one in the Chat tab, or restart Luma."
            )
        self._hanging += 1
        logger.warning("the sound output hangs; it is opened anew")
        self._jobs.put(None)
        self._thread = None

    # --- on the speaker's thread ---

    def _run(self, jobs: _Jobs) -> None:
        stream: portaudio.OutputStream | None = None
        opened: tuple[str, int, float] | None = None
        try:
            while (job := _next(jobs, stream)) is not None:
                if not job.done.set_running_or_notify_cancel():
                    job.left.set()
                    continue
                try:
                    wanted = (job.device, job.audio.rate_hz, self._latency_s)
                    if stream is None or opened != wanted:
                        _close(stream)
                        stream = None
                        stream = _open(*wanted)
                        opened = wanted
                    heard_s = self._feed(stream, job)
                except Exception as error:  # noqa: BLE001  a device can fail in any way; the caller decides
                    _close(stream)
                    stream = None
                    job.left.set()
                    job.done.set_exception(_unavailable(job.device, error))
                else:
                    job.left.set()
                    job.done.set_result(heard_s)
        finally:
            _close(stream)

    def _feed(self, stream: portaudio.OutputStream, job: _Job) -> float:
        """Play a sound; return the seconds heard."""
        rate = job.audio.rate_hz
        samples = array("h", job.audio.pcm)
        view = memoryview(samples)
        step = max(1, round(rate * PIECE_S))
        written = count = dry = 0
        volume = self._volume
        if not stream.is_running:
            stream.start()
            stream.write(bytes(2 * round(rate * RUN_IN_S)))
        while written < len(samples) and not job.stop.is_set():
            piece = view[written : written + step]
            before, volume = volume, self._volume
            sound = piece if before == volume == 1.0 else scaled(piece, before, volume)
            # The first piece finds a device that was idle, which is no fault.
            dry += stream.write(sound) and written > 0
            written += len(piece)
            ends_s = monotonic_s() + stream.held() / rate
            self._recent.add(sound, rate, ends_s - len(piece) / rate)
            if count % PROGRESS_EVERY == 0:
                position = max(0, written - stream.held())
                job.report(position / rate, level_dbfs(sound))
            count += 1
        _wait_for_the_end(stream, job)
        if job.stop.is_set():
            thrown_away = stream.held()
            heard = max(0, written - thrown_away)
            stream.abort()
            self._recent.take_back(thrown_away)
        else:
            heard = written
        if dry > 1:
            self._hold_more(dry)
        return heard / rate

    def _hold_more(self, dry: int) -> None:
        if self._latency_s < LONGEST_LATENCY_S:
            self._latency_s = min(LONGEST_LATENCY_S, self._latency_s * 2)
            logger.info(
                "the sound output ran dry %d times; it holds %.0f ms from now on",
                dry,
                self._latency_s * 1000,
            )


def _next(jobs: _Jobs, stream: portaudio.OutputStream | None) -> _Job | None:
    """The next sound; None when it is time to end. Keeps a running device in silence for a while."""
    if stream is not None and stream.is_running:
        with contextlib.suppress(queue.Empty):
            return jobs.get(timeout=LEAD_S / 2)
        silence = bytes(2 * round(stream.rate_hz * PIECE_S))
        try:
            for _ in range(round(TAIL_S / PIECE_S)):
                stream.write(silence)
                with contextlib.suppress(queue.Empty):
                    return jobs.get_nowait()
            stream.stop()
        except Exception as error:  # noqa: BLE001  the next sound will say it, if there is one
            logger.debug("the sound output failed between two sounds: %s", error)
            stream.abandon()
    try:
        return jobs.get(timeout=IDLE_S)
    except queue.Empty:
        return None


def _wait_for_the_end(stream: portaudio.OutputStream, job: _Job) -> None:
    """Wait until no more than the lead is left to be heard, or for a stop."""
    lead = round(LEAD_S * stream.rate_hz)
    until_s = monotonic_s() + stream.waiting() / stream.rate_hz + 1.0
    while not job.stop.is_set() and stream.waiting() > max(0, lead - stream.beyond):
        if monotonic_s() > until_s:
            raise EngineFailedError("The sound output took a sound and does not play it.")
        job.stop.wait(0.004)
    if stream.beyond > lead:
        job.stop.wait((stream.beyond - lead) / stream.rate_hz)


def _close(stream: portaudio.OutputStream | None) -> None:
    if stream is not None:
        stream.close()


def _open(device: str, rate_hz: int, latency_s: float) -> portaudio.OutputStream:
    """Open a device; when that fails, once more after looking for devices anew."""
    try:
        return portaudio.OutputStream(portaudio.find_output(device), rate_hz, latency_s)
    except portaudio.RateRefusedError:
        raise
    except Exception as error:
        if not portaudio.refresh():
            raise
        logger.debug("the sound output %r: %s; looking for devices anew", device, error)
        return portaudio.OutputStream(portaudio.find_output(device), rate_hz, latency_s)


def _devices() -> list[OutputDevice]:
    portaudio.refresh()
    return [
        OutputDevice(device.name, device.is_default, device.host_api)
        for device in portaudio.outputs()
    ]


def _warm() -> None:
    try:
        portaudio.load()
    except EngineUnavailableError as error:
        logger.info("%s", error.message)


def _unavailable(device: str, error: Exception) -> Exception:
    if isinstance(error, EngineUnavailableError | EngineFailedError | portaudio.RateRefusedError):
        return error
    name = f"The sound output {device!r}" if device else "The system's sound output"
    return EngineUnavailableError(
        f"{name} cannot be played on ({error}). Choose another one in the Chat tab, or set AUDIO_SINK=none."
    )


def scaled(piece: memoryview[int] | array[int], before: float, after: float) -> array[int]:
    """PCM16 at volume ``after``, gliding there from ``before`` so that a change does not click."""
    if before == after:
        return array("h", map(int, map(after.__mul__, piece)))
    slope = (after - before) / len(piece)
    return array("h", (int(s * (before + slope * i)) for i, s in enumerate(piece)))


def level_dbfs(piece: Any) -> float:
    """RMS level of PCM16; -120 for silence."""
    power = sum(map(mul, piece, piece)) / max(1, len(piece))
    return 10 * math.log10(power / 32768**2) if power > 0 else -120.0
