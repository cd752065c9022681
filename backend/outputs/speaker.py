"""The computer's sound output, through PortAudio.

One thread owns the device and feeds it 5 ms at a time with blocking writes, never more than about 30 ms ahead: a new
volume is heard soon, a stop fades at once, and a busy event loop cannot make the sound stutter. A sentence that is there
before the one before it ends follows it with no sample between; else silence goes on for a while, then the device
rests, later it is freed. A sentence has ended when its last sample has left, not when it was handed over.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import queue
import threading
from array import array
from collections import deque
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

STUTTERS = 5
"""Times in one sentence from which a device holds as much as it may, at once."""

SMOOTH_S = 60.0
"""After so much sound without a stutter less is held again: it may have been another program that was busy."""

RUN_IN_S = 0.005
"""Silence before the first sound: PulseAudio was seen to swallow the first 1.5 ms after a start."""

FADE_PIECES = 2
"""A stop fades the sound out over so many pieces instead of cutting it with a click."""

FADES_BELOW_S = 0.06
"""A device that holds more than this is emptied on a stop: a late silence is worse than a click."""

GLIDE = 0.5
"""Change of volume in a piece: from full to silence in 10 ms, too slow to click."""

TAIL_S = 0.25
"""Silence goes on this long for a next sentence, then the device rests."""

IDLE_S = 20.0
"""The device is freed when nothing was played this long."""

NEVER_S = 1.0
"""A sound that has not left this long after it should have never will."""

HANGS_S = 2.5
"""A device that does not come back from 5 ms of sound this long after a stop hangs. PulseAudio's null sinks, which people stream
through, take sound once in 2 s (measured: 1.96 s) while nobody listens to them."""

MOST_HANGING = 3
"""Threads left behind in devices that still hang before no more are tried."""


ASKED_WITHIN_S = 0.002
ASKED_AGAIN = 3
"""What a device holds means nothing when the thread was put aside while it asked: it asks again."""


@dataclass(slots=True)
class _Job:
    """A sound on its way.

    Attributes:
        audio: As it is played.
        device: Name of the device.
        source: As it was handed over, to know it again.
        report: Told of the position; None as long as it was only announced.
        done: Seconds that were heard, when the last of them has left.
        left: Set when the thread has finished with it.
    """

    audio: Audio
    device: str
    source: Audio
    report: Callable[[float, float], None] | None = None
    done: Future[float] = field(default_factory=Future)
    stop: threading.Event = field(default_factory=threading.Event)
    left: threading.Event = field(default_factory=threading.Event)

    def fail(self, error: Exception) -> None:
        """It will not be heard."""
        self.left.set()
        if not self.done.done():
            self.done.set_exception(error)


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
        self._next: _Job | None = None
        self._hanging: list[threading.Thread] = []
        self._smooth_s = 0.0
        self._recent = Recent(PIECE_S)

    async def play(self, audio: Audio, progress: Progress) -> float:
        """Play one sound; see `Sink.play`."""
        announced, self._next = self._next, None
        if announced is not None and announced.source is audio:
            with contextlib.suppress(portaudio.RateRefusedError):
                return min(audio.duration_s, await self._hear(announced, progress))
        elif announced is not None:
            announced.stop.set()
        made = audio
        if (rate := self._rates.get(audio.rate_hz)) is not None:
            made = await self._at_rate(audio, rate)
        try:
            heard_s = await self._play(audio, made, progress)
        except portaudio.RateRefusedError as refused:
            logger.info("the sound output wants %d Hz, not %d", refused.rate_hz, made.rate_hz)
            self._rates[audio.rate_hz] = refused.rate_hz
            made = await self._at_rate(audio, refused.rate_hz)
            heard_s = await self._play(audio, made, progress)
        return min(audio.duration_s, heard_s)

    async def follow(self, audio: Audio) -> None:
        """Have ``audio`` begin with the sample after the last one of what plays; see `Sink.follow`."""
        current = self._current
        if current is None:
            return
        made = audio
        # One rate as long as one sound follows the other: opening the device anew would be a gap.
        if audio.rate_hz != current.audio.rate_hz:
            if self._convert is None:
                return
            made = await self._convert(audio, current.audio.rate_hz)
        if self._current is current and self._next is None and not current.stop.is_set():
            self._next = _Job(made, current.device, audio)
            self._jobs.put(self._next)

    def stop(self) -> None:
        """Fade out with the next piece; what was announced is not played."""
        for job in (self._next, self._current):
            if job is not None:
                job.stop.set()
        self._next = None

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

    async def _play(self, source: Audio, made: Audio, progress: Progress) -> float:
        await self._have_thread()
        job = _Job(made, self._device, source)
        heard = self._hear(job, progress)
        self._jobs.put(job)
        return await heard

    async def _hear(self, job: _Job, progress: Progress) -> float:
        loop = asyncio.get_running_loop()

        def report(position_s: float, level_dbfs: float) -> None:
            with contextlib.suppress(RuntimeError):  # the loop has ended: nobody listens
                loop.call_soon_threadsafe(arrive, position_s, level_dbfs)

        def arrive(position_s: float, level_dbfs: float) -> None:
            if self._current is job and not is_over:
                progress(position_s, level_dbfs)

        self._current = job
        job.report = report
        is_over = False
        try:
            return await asyncio.wrap_future(job.done)
        except BaseException:
            # Interrupted, or the device is lost: what was to follow does not.
            if self._current is job and self._next is not None:
                self._next.stop.set()
                self._next = None
            raise
        finally:
            is_over = True
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
        self._hanging = [thread for thread in self._hanging if thread.is_alive()]
        if len(self._hanging) >= MOST_HANGING:
            raise EngineFailedError(
                "The sound output hangs again and again. Choose another one in the Chat tab, or restart Luma."
            )
        if self._thread is not None:
            self._hanging.append(self._thread)
        logger.warning("the sound output hangs; it is opened anew")
        self._jobs.put(None)
        self._thread = None

    # --- on the speaker's thread ---

    def _run(self, jobs: _Jobs) -> None:
        line = _Line(self._recent)
        job: _Job | None = None
        try:
            while True:
                try:
                    if job is None:
                        job = _next(jobs, line)
                        if job is None:
                            line.drain()
                            return
                    if job.stop.is_set() or not job.done.set_running_or_notify_cancel():
                        job.left.set()
                        if not job.done.done():
                            job.done.set_result(0.0)
                    else:
                        line.open(job, self._latency_s)
                        self._adapt(self._feed(line, job), job.audio.duration_s)
                    job = None
                except Exception as error:  # noqa: BLE001  a device can fail in any way; the caller decides
                    failed = _unavailable(job.device if job else "", error)
                    # First: whoever hears of a failure may ask for the next sound at once.
                    _fail_announced(jobs, failed)
                    line.fail(failed)
                    if job is not None:
                        job.fail(failed)
                        job = None
        finally:
            line.close()

    def _feed(self, line: _Line, job: _Job) -> int:
        """Hand a sound over to its end or to a stop; return how often the device ran dry."""
        sound = _Sound(job, line.written)
        step = max(1, round(sound.rate_hz * PIECE_S))
        line.sounds.append(sound)
        dry = 0
        volume = self._volume if line.is_quiet else line.volume
        while sound.handed < len(sound.samples):
            if job.stop.is_set():
                line.end(sound, step, volume)
                return 0
            piece = sound.samples[sound.handed : sound.handed + step]
            before, volume = volume, _towards(volume, self._volume)
            out = piece if before == volume == 1.0 else scaled(piece, before, volume)
            sound.handed += len(piece)
            dry += line.write(out)
            line.volume = volume
        sound.ends_s = monotonic_s() + line.held_s() + NEVER_S
        return dry

    def _adapt(self, dry: int, length_s: float) -> None:
        """Hold more when a sound stuttered, less when none has for a while."""
        self._smooth_s = 0.0 if dry else self._smooth_s + length_s
        if self._smooth_s > SMOOTH_S and self._latency_s > LATENCY_S:
            self._smooth_s = 0.0
            self._latency_s = max(LATENCY_S, self._latency_s / 2)
        elif dry > 1 and self._latency_s < LONGEST_LATENCY_S:
            more_s = LONGEST_LATENCY_S if dry >= STUTTERS else self._latency_s * 2
            self._latency_s = min(LONGEST_LATENCY_S, more_s)
            logger.info(
                "the sound output ran dry; it holds %.0f ms from now on", self._latency_s * 1000
            )


class _Sound:
    """A job as the line sees it, counted in samples of the device.

    Attributes:
        start: Sample of the device with which it begins.
        handed: Its samples that were handed to the device.
        end: Sample of the device after its last one; known when it was stopped.
        ends_s: Monotonic time after which it will never end.
    """

    def __init__(self, job: _Job, start: int) -> None:
        self.job = job
        self.rate_hz = job.audio.rate_hz
        self.samples = memoryview(array("h", job.audio.pcm))
        self.start = start
        self.handed = 0
        self.end = start + len(self.samples)
        self.ends_s = math.inf
        self.is_told = False

    def tell(self, position: int, volume: float) -> None:
        """Report the place at the ear and the level there."""
        report = self.job.report
        if report is None:
            return
        self.is_told = True
        near = self.samples[position : position + round(self.rate_hz * PIECE_S)]
        level = level_dbfs(near) + (20 * math.log10(volume) if volume > 0 else -120.0)
        report(position / self.rate_hz, max(-120.0, level))


class _Line:
    """The open device and what is on its way through it; for the speaker's thread.

    Attributes:
        sounds: Sounds whose last sample has not left yet, oldest first.
        written: Samples handed to the device since it was opened, silence included.
        volume: Of the last sample of a sound.
    """

    def __init__(self, recent: Recent) -> None:
        self.sounds: deque[_Sound] = deque()
        self.written = 0
        self.volume = 1.0
        self._recent = recent
        self._stream: portaudio.OutputStream | None = None
        self._opened: tuple[str, int, float] = ("", 0, 0.0)
        self._pieces = 0
        self._silent = 0

    @property
    def is_running(self) -> bool:
        """Whether the device asks for sound."""
        return self._stream is not None and self._stream.is_running

    @property
    def is_quiet(self) -> bool:
        """Whether the last piece was silence: a new volume needs no glide."""
        return self._silent > 0

    @property
    def has_rested(self) -> bool:
        """Whether nothing came for so long that the device may rest."""
        return not self.sounds and self._silent * PIECE_S >= TAIL_S

    def open(self, job: _Job, latency_s: float) -> None:
        """Have the device that the job wants, running."""
        wanted = (job.device, job.audio.rate_hz, latency_s)
        # Opening it anew is a gap of up to 0.6 s: between two sentences only when it stutters all the time, else in a pause.
        if (
            self._stream is None
            or self._opened[:2] != wanted[:2]
            or self._opened[2] < latency_s == LONGEST_LATENCY_S
            or (self._opened != wanted and not self.sounds)
        ):
            self.drain()
            self.close()
            self._stream = _open(*wanted)
            self._recent.rested(reopened=True)
            self._opened = wanted
            self.written = 0
        if not self._stream.is_running:
            self._recent.rested()
            self._stream.start()
            self._stream.write(bytes(2 * round(self._stream.rate_hz * RUN_IN_S)))
            self.written += round(self._stream.rate_hz * RUN_IN_S)
            self._pieces = 0
            self._silent = 1

    def write(self, pcm: memoryview[int] | array[int]) -> bool:
        """Hand over a piece of a sound; return whether the device had run dry."""
        stream = self._stream
        assert stream is not None
        # The first piece finds a device that was idle, which is no fault.
        is_dry = stream.write(pcm) and self._pieces > 0
        self.written += len(pcm)
        self._silent = 0
        leaves_s = self._ends_s() - len(pcm) / stream.rate_hz
        self._recent.add(pcm, stream.rate_hz, leaves_s, ran_dry=is_dry)
        self._passed()
        return is_dry

    def silence(self) -> None:
        """Hand over a piece of silence, to keep the device going."""
        stream = self._stream
        assert stream is not None
        count = round(stream.rate_hz * PIECE_S)
        stream.write(bytes(2 * count))
        self.written += count
        self._silent += 1
        self._recent.silence(count)
        self._passed()

    def drain(self) -> None:
        """Wait until all sounds have left."""
        while self.sounds:
            self.silence()

    def _ends_s(self) -> float:
        """When the last sample that was handed over leaves, by a clock read close enough to the device's answer."""
        stream = self._stream
        assert stream is not None
        for _ in range(ASKED_AGAIN):
            before_s = monotonic_s()
            held = stream.held()
            if monotonic_s() - before_s < ASKED_WITHIN_S:
                break
        return before_s + held / stream.rate_hz

    def held_s(self) -> float:
        """Seconds that were handed over and have not left."""
        stream = self._stream
        return stream.held() / stream.rate_hz if stream is not None else 0.0

    def end(self, sound: _Sound, step: int, volume: float) -> None:
        """Stop a sound: fade it out, or empty a device that holds too much for that."""
        stream = self._stream
        assert stream is not None
        sound.end = sound.start + sound.handed
        if self.held_s() > FADES_BELOW_S:
            thrown_away = stream.held()
            stream.abort()
            self._recent.take_back(thrown_away)
            left = self.written - thrown_away
            while self.sounds:
                one = self.sounds.popleft()
                _heard(one, min(one.end, max(one.start, left)))
            return
        for n in range(FADE_PIECES):
            piece = sound.samples[sound.handed : sound.handed + step]
            sound.handed += len(piece)
            if not len(piece):
                break
            loud, soft = (volume * (1 - part / FADE_PIECES) for part in (n, n + 1))
            self.write(scaled(piece, loud, soft))
        sound.ends_s = monotonic_s() + self.held_s() + NEVER_S

    def rest(self) -> None:
        """Let the device play what it holds and stop."""
        try:
            if self._stream is not None:
                self._stream.stop()
        except Exception as error:  # noqa: BLE001  the next sound will say it, if there is one
            logger.debug("the sound output failed between two sounds: %s", error)
            if self._stream is not None:
                self._stream.abandon()

    def close(self) -> None:
        """Free the device."""
        stream, self._stream = self._stream, None
        if stream is not None:
            stream.close()
        self._fail_sounds(EngineFailedError("The sound output was closed."))

    def fail(self, error: Exception) -> None:
        """The device is lost, and what was on its way through it."""
        self._fail_sounds(error)
        self.close()

    def _fail_sounds(self, error: Exception) -> None:
        while self.sounds:
            self.sounds.popleft().job.fail(error)

    def _passed(self) -> None:
        """Tell what has left the device meanwhile."""
        self._pieces += 1
        if not self.sounds:
            return
        stream = self._stream
        assert stream is not None
        left = self.written - stream.held()
        while self.sounds and left >= self.sounds[0].end:
            one = self.sounds.popleft()
            _heard(one, one.end)
        if not self.sounds:
            return
        sound = self.sounds[0]
        if left >= sound.start and (not sound.is_told or self._pieces % PROGRESS_EVERY == 0):
            sound.tell(left - sound.start, self.volume)
        elif monotonic_s() > sound.ends_s:
            raise EngineFailedError("The sound output took a sound and does not play it.")


def _heard(sound: _Sound, end: int) -> None:
    sound.job.left.set()
    sound.job.done.set_result((end - sound.start) / sound.rate_hz)


def _towards(volume: float, wanted: float) -> float:
    return max(wanted, volume - GLIDE) if wanted < volume else min(wanted, volume + GLIDE)


def _next(jobs: _Jobs, line: _Line) -> _Job | None:
    """The next sound; None when it is time to end. Keeps a running device in silence for a while."""
    while line.is_running:
        with contextlib.suppress(queue.Empty):
            return jobs.get_nowait()
        if line.has_rested:
            line.rest()
        else:
            line.silence()
    try:
        return jobs.get(timeout=IDLE_S)
    except queue.Empty:
        return None


def _fail_announced(jobs: _Jobs, error: Exception) -> None:
    """What was to follow a sound whose device is lost is lost too."""
    with contextlib.suppress(queue.Empty):
        while True:
            job = jobs.get_nowait()
            if job is None:
                jobs.put(None)
                return
            job.fail(error)


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
        f"{name} cannot be played on{portaudio.why(error)}. Choose another one in the Chat tab, or set AUDIO_SINK=none."
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
