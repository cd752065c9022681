"""The microphone as listening wants it: 16 kHz mono in frames, with gain and a meter, open for as long as it is wanted.

One task owns the device. Whatever happens to it (missing, busy, forbidden, pulled out, silent, another rate) is told once
in words, and it is tried again with growing pauses until it is back.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from backend.clients.microphone import Microphone
from backend.contracts.entities import Audio
from backend.contracts.errors import AppError, EngineUnavailableError
from backend.contracts.listening import InputDeviceInfo
from backend.core.clock import monotonic_s
from backend.sources.base import (
    RATE_HZ,
    MicrophoneOptions,
    OnFrame,
    OnLevel,
    OnState,
    SoundLevel,
    SourceState,
)

if TYPE_CHECKING:
    from backend.audio.intake import Intake

logger = logging.getLogger(__name__)

FIRST_PAUSE_S = 1.0
LONGEST_PAUSE_S = 10.0

STEADY_S = 10.0
"""A device that worked for so long and breaks is tried again soon; one that breaks at once is not, or it would spin."""

MOVED_EVERY_S = 5.0
"""How often the system is asked whether its microphone is another one now, where it does not move streams itself."""

RECORD_PATIENCE_S = 5.0
"""How much longer than the recording itself is waited for its sound."""


@dataclass(slots=True)
class _Listener:
    on_frame: OnFrame
    on_level: OnLevel
    on_state: OnState


@dataclass(slots=True)
class _Line:
    """An open microphone and what becomes of its sound.

    Sound may come before the opening has returned, with it the rate that the sound has: it waits in ``early``.
    """

    on_frame: OnFrame
    on_level: OnLevel
    broken: asyncio.Event = field(default_factory=asyncio.Event)
    problem: str = ""
    microphone: Microphone | None = None
    intake: Intake | None = None
    early: list[bytes] = field(default_factory=list)
    is_over: bool = False

    def arrive(self, pcm: bytes) -> None:
        if self.intake is None:
            self.early.append(pcm)
            return
        for frame in self.intake.push(pcm):
            if self.is_over:
                return
            self.on_frame(frame)
        levels = self.intake.levels
        while levels and not self.is_over:
            self.on_level(SoundLevel(*levels.pop(0)))

    def fail(self, problem: str) -> None:
        self.problem = problem
        self.broken.set()

    def begin(self, intake: Intake) -> None:
        self.intake = intake
        early, self.early = self.early, []
        for pcm in early:
            self.arrive(pcm)

    async def close(self) -> None:
        self.is_over = True
        microphone, self.microphone = self.microphone, None
        if microphone is not None:
            await microphone.close()


class MicrophoneSource:
    """Listens to one microphone; see `backend.sources.base.SoundSource`."""

    name = "microphone"

    def __init__(self, options: MicrophoneOptions) -> None:
        self._microphones = options.microphones
        self._device = options.device
        self._gain_db = options.gain_db
        self._frame_ms = options.frame_ms
        self._state = SourceState()
        self._listener: _Listener | None = None
        self._line: _Line | None = None
        self._task: asyncio.Task[None] | None = None
        self._changed = asyncio.Event()
        """The device is another one now: what is open or waited for counts no more."""

    @property
    def state(self) -> SourceState:
        """See `SoundSource`."""
        return self._state

    def start(self, on_frame: OnFrame, on_level: OnLevel, on_state: OnState) -> None:
        """See `SoundSource`."""
        self._listener = _Listener(on_frame, on_level, on_state)
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._run(), name="microphone")
            self._task.add_done_callback(_ended)

    async def stop(self) -> None:
        """See `SoundSource`."""
        self._listener = None
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        if self._task is None:  # not started again meanwhile
            self._state = SourceState()

    def set_device(self, name: str) -> None:
        """See `SoundSource`."""
        if name != self._device:
            self._device = name
            self._changed.set()

    def set_gain(self, gain_db: float) -> None:
        """See `SoundSource`."""
        self._gain_db = gain_db
        if self._line is not None and self._line.intake is not None:
            self._line.intake.set_gain(gain_db)

    def set_frame_ms(self, frame_ms: int) -> None:
        """See `SoundSource`."""
        self._frame_ms = frame_ms
        if self._line is not None and self._line.intake is not None:
            self._line.intake.frame_samples = _samples(frame_ms)

    async def devices(self) -> list[InputDeviceInfo]:
        """See `SoundSource`."""
        return [
            InputDeviceInfo(name=one.name, is_default=one.is_default, host_api=one.host_api)
            for one in await self._microphones.listed()
        ]

    async def record(self, seconds: float, on_level: OnLevel | None = None) -> Audio:
        """See `SoundSource`."""
        wanted = 2 * round(seconds * RATE_HZ)
        sound = bytearray()
        enough = asyncio.Event()

        def gather(frame: bytes) -> None:
            sound.extend(frame)
            if len(sound) >= wanted:
                enough.set()

        line = _Line(gather, on_level or (lambda level: None))
        try:
            await self._open(line)
            breaks = asyncio.ensure_future(line.broken.wait())
            fills = asyncio.ensure_future(enough.wait())
            try:
                await asyncio.wait(
                    {breaks, fills},
                    timeout=seconds + RECORD_PATIENCE_S,
                    return_when=asyncio.FIRST_COMPLETED,
                )
            finally:
                breaks.cancel()
                fills.cancel()
        finally:
            await line.close()
        if len(sound) < wanted:
            raise EngineUnavailableError(
                line.problem
                or f"The microphone gave only {len(sound) / 2 / RATE_HZ:.1f} s of sound in {seconds + RECORD_PATIENCE_S:.0f}"
                " s: the sound system is too busy, or hangs. Choose another microphone."
            )
        return Audio(bytes(sound[:wanted]), RATE_HZ)

    # --- inside ---

    async def _run(self) -> None:
        pause_s = FIRST_PAUSE_S
        while True:
            self._changed.clear()
            begun_s = monotonic_s()
            problem = await self._listen()
            if problem is None:  # another device is wanted
                pause_s = FIRST_PAUSE_S
                continue
            self._tell(SourceState(problem=problem))
            if monotonic_s() - begun_s > STEADY_S:
                pause_s = FIRST_PAUSE_S
            await self._pause(pause_s)
            pause_s = min(LONGEST_PAUSE_S, pause_s * 2)

    async def _pause(self, seconds: float) -> None:
        """Wait before it is tried again; another device is tried at once."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._changed.wait()

    async def _listen(self) -> str | None:
        """Listen until something happens: what is wrong, in words; None when another device is to be opened."""
        line = self._line = _Line(self._on_frame, self._on_level)
        try:
            microphone = await self._open(line)
            if not self._state.problem:
                self._tell(SourceState(True, microphone.device, microphone.rate_hz))
            return await self._watch(line, microphone)
        except AppError as error:
            return error.message
        except Exception:
            # Whatever it was, to be deaf for good would be worse.
            logger.exception("the microphone failed")
            return "The microphone failed inside Luma; the log says how."
        finally:
            if self._line is line:
                self._line = None
            await line.close()

    async def _open(self, line: _Line) -> Microphone:
        device = self._device
        microphone = line.microphone = await self._microphones.open(device, line.arrive, line.fail)
        intake = await asyncio.to_thread(
            _intake, microphone.rate_hz, _samples(self._frame_ms), self._gain_db
        )
        intake.set_gain(self._gain_db)  # it may be another one by now
        line.begin(intake)
        return microphone

    async def _watch(self, line: _Line, microphone: Microphone) -> str | None:
        """Wait for the line to break, for another wish, or for the system's choice to move."""
        breaks = asyncio.ensure_future(line.broken.wait())
        changes = asyncio.ensure_future(self._changed.wait())
        try:
            while True:
                done, _ = await asyncio.wait(
                    {breaks, changes},
                    timeout=MOVED_EVERY_S,
                    return_when=asyncio.FIRST_COMPLETED,
                )
                if changes in done:
                    return None
                if breaks in done:
                    return line.problem
                if not self._device and await self._microphones.has_moved(microphone):
                    logger.info("the system's microphone is another one now")
                    return None
        finally:
            breaks.cancel()
            changes.cancel()

    def _on_frame(self, frame: bytes) -> None:
        if self._state.problem and self._line is not None and self._line.microphone is not None:
            # Only sound proves that it is back: a device may open and give nothing.
            microphone = self._line.microphone
            self._tell(SourceState(True, microphone.device, microphone.rate_hz))
        if self._listener is not None:
            self._listener.on_frame(frame)

    def _on_level(self, level: SoundLevel) -> None:
        if self._listener is not None:
            self._listener.on_level(level)

    def _tell(self, state: SourceState) -> None:
        if state == self._state:
            return
        if state.problem:
            level = logging.DEBUG if self._state.problem else logging.WARNING
            logger.log(level, "microphone: %s", state.problem)
        elif self._state.problem:
            logger.info("microphone: %s is back", state.device)
        self._state = state
        if self._listener is not None:
            self._listener.on_state(state)


def _samples(frame_ms: int) -> int:
    return round(frame_ms * RATE_HZ / 1000)


def _intake(rate_hz: int, frame_samples: int, gain_db: float) -> Intake:
    """Made on a worker thread: numpy and soxr are loaded for the first one."""
    from backend.audio.intake import Intake

    return Intake(rate_hz, frame_samples, gain_db)


def _ended(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        logger.error("the microphone stopped", exc_info=error)
