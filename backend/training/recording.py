"""Guided recording: one sentence at a time from the microphone, listened to, kept or done again.

One recording at a time. The microphone's own thread only hands its pieces over; they are gathered in the loop, and what
is to say about a take is worked out in a process of its own. A take that was not kept is gone with the program.
"""

from __future__ import annotations

import asyncio
import logging
import shutil
from array import array
from collections.abc import Callable
from pathlib import Path
from uuid import uuid4

from backend.audio import wav
from backend.clients.microphone import SILENT_S, InputDevice, Microphone, Microphones
from backend.contracts.errors import (
    AppError,
    ConflictError,
    EngineUnavailableError,
    NotFoundError,
)
from backend.contracts.events import RecordingChanged, RecordingLevel
from backend.contracts.training import Recording, RecordingCheck, RoomNoise
from backend.core.bus import EventBus
from backend.core.clock import monotonic_s
from backend.core.workers import EngineHost
from backend.training.processing import Processing
from backend.training.prompts import Prompts
from backend.training.speakers import Speakers
from backend.training.uploads import Label, Uploads

logger = logging.getLogger(__name__)

LONGEST_S = 60.0
NOISE_S = 2.0
NOISE_PATIENCE_S = 6.0
LEVEL_EVERY_S = 0.05
CLIPPED = 32_700
CHECK_S = 30.0
"""Longest wait for what is to say about a take: 20 ms, its process may have to start first."""

_TAKE = "backend.audio.take"


class Recorder:
    """The recording; all methods are for the backend's loop.

    Args:
        bus: Told of levels and changes.
        host: Looks at takes.
        microphones: Where microphones are.
        folder: For takes; emptied at start.
    """

    def __init__(
        self,
        bus: EventBus,
        host: EngineHost,
        microphones: Microphones,
        folder: Path,
        *,
        speakers: Speakers,
        uploads: Uploads,
        processing: Processing,
        prompts: Prompts,
    ) -> None:
        self._bus = bus
        self._host = host
        self._microphones = microphones
        self._folder = folder
        self._speakers = speakers
        self._uploads = uploads
        self._processing = processing
        self._prompts = prompts
        self._now = Recording(state="idle")
        self._changing = asyncio.Lock()
        self._microphone: Microphone | None = None
        self._pieces: list[bytes] = []
        self._samples = 0
        self._meter = bytearray()
        self._level_told_s = 0.0
        self._problem = ""
        self._patience: asyncio.TimerHandle | None = None
        self._stopper: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Remove takes that nobody kept."""
        await asyncio.to_thread(shutil.rmtree, self._folder, ignore_errors=True)

    async def close(self) -> None:
        """Let go of the microphone."""
        await self._let_go()
        if self._stopper is not None:
            self._stopper.cancel()
            await asyncio.gather(self._stopper, return_exceptions=True)

    @property
    def now(self) -> Recording:
        """How it is."""
        return self._now

    async def devices(self) -> list[InputDevice]:
        """The microphones that are there.

        Raises:
            EngineUnavailableError: They cannot be listed, with the reason.
        """
        return await self._microphones.listed()

    async def start(self, speaker_id: str, prompt_id: str, device: str = "") -> Recording:
        """Listen; a take that waits to be kept is thrown away (that is how a sentence is done again).

        Raises:
            NotFoundError: There is no such speaker or prompt.
            ConflictError: Nobody agreed, or a recording runs.
            EngineUnavailableError: The microphone cannot be opened, with what to do.
        """
        self._speakers.check_consent(speaker_id, "recorded")
        prompt = await self._prompts.get(prompt_id)
        async with self._changing:
            self._refuse_while_recording()
            await self._throw_away()
            await self._listen(device)
            self._show(
                Recording(state="recording", speaker=speaker_id, prompt=prompt, device=device)
            )
        return self._now

    async def stop(self) -> Recording:
        """Stop listening and look at the take.

        Raises:
            ConflictError: Nothing is being recorded.
        """
        async with self._changing:
            if self._now.state != "recording":
                raise ConflictError(
                    self._now.problem or "Nothing is being recorded. Start with a sentence first."
                )
            return await self._finish()

    async def keep(self) -> tuple[str, str]:
        """Take the take as a recording of its prompt and cut it; returns ids of the upload and of the job.

        Raises:
            ConflictError: No take waits.
        """
        async with self._changing:
            recording = self._waiting()
            assert recording.prompt is not None
            speaker = self._speakers.check_consent(recording.speaker, "recorded")
            path = self._place(recording.take_id)
            label = Label(
                speaker=speaker.id,
                language=recording.prompt.language,
                text=recording.prompt.text,
                prompt_id=recording.prompt.id,
            )
            incoming = await asyncio.to_thread(self._uploads.receive, f"{recording.prompt.id}.wav")
            try:
                await asyncio.to_thread(_copy, path, incoming.write)
                await asyncio.to_thread(incoming.close)
            except BaseException:
                await asyncio.to_thread(incoming.discard)
                raise
            upload = await self._uploads.take(incoming, label)
            if upload.problem:
                raise ConflictError(upload.problem)
            await self._throw_away()
            self._show(Recording(state="idle", speaker=speaker.id))
        return upload.id, await self._processing.start([upload.id], Label(speaker=speaker.id))

    async def discard(self) -> Recording:
        """Throw the take away, or what is being recorded.

        Raises:
            ConflictError: There is nothing.
        """
        async with self._changing:
            if self._now.state == "idle":
                raise ConflictError("There is no take to discard.")
            await self._let_go()
            await self._throw_away()
            self._show(Recording(state="idle", speaker=self._now.speaker))
        return self._now

    async def take(self, take_id: str) -> bytes:
        """The take that waits, as WAV.

        Raises:
            NotFoundError: It is another one, or none.
        """
        if not take_id or take_id != self._now.take_id:
            raise NotFoundError(f"There is no take {take_id[:64]!r} any more.")
        try:
            return await asyncio.to_thread(self._place(take_id).read_bytes)
        except OSError as error:
            raise NotFoundError(f"The take {take_id[:64]} is gone.") from error

    async def noise(self, device: str = "") -> RoomNoise:
        """Listen to the room for two seconds.

        Raises:
            ConflictError: A recording runs.
            EngineUnavailableError: The microphone cannot be opened or gives nothing, with what to do.
        """
        async with self._changing:
            self._refuse_while_recording()
            await self._listen(device)
            try:
                pcm, rate_hz = await self._gather(NOISE_S)
            finally:
                await self._let_go()
            told = await self._host.call(f"{_TAKE}:room_noise", pcm, rate_hz, timeout_s=CHECK_S)
        return RoomNoise.model_validate(told)

    async def forget_speaker(self, speaker_id: str) -> None:
        """Throw away what is or was being recorded of a speaker."""
        async with self._changing:
            if self._now.speaker == speaker_id:
                await self._let_go()
                await self._throw_away()
                self._show(Recording(state="idle"))

    # --- inside ---

    def _refuse_while_recording(self) -> None:
        if self._now.state == "recording":
            raise ConflictError(
                f"{self._now.speaker} is being recorded. Stop or discard that recording first."
            )

    def _waiting(self) -> Recording:
        if self._now.state != "review":
            raise ConflictError("There is no take to keep. Record a sentence first.")
        return self._now

    def _show(self, recording: Recording) -> None:
        self._now = recording
        self._bus.publish(RecordingChanged(state=recording.state, problem=recording.problem))

    def _place(self, take_id: str) -> Path:
        return self._folder / f"{take_id}.wav"

    async def _listen(self, device: str) -> None:
        self._pieces, self._samples = [], 0
        self._meter.clear()
        self._level_told_s = monotonic_s()
        self._problem = ""
        self._microphone = await self._microphones.open(device, self._arrive, self._break_off)
        if self._problem:  # it ended while it was being opened
            await self._let_go()
            raise EngineUnavailableError(self._problem)
        self._patience = asyncio.get_running_loop().call_later(SILENT_S, self._expect_sound, device)

    def _expect_sound(self, device: str) -> None:
        """A microphone that has given nothing by now gives nothing; one that falls silent later says so itself."""
        if not self._samples:
            title = f"the microphone {device!r}" if device else "the system's microphone"
            self._break_off(
                f"Nothing arrives from {title}: not one sample in {SILENT_S:.0f} s. Is it muted by a switch or in the "
                "system's settings? Plug it in again, or choose another one."
            )

    async def _let_go(self) -> None:
        if self._patience is not None:
            self._patience.cancel()
        microphone, self._microphone = self._microphone, None
        if microphone is not None:
            await microphone.close()

    async def _throw_away(self) -> None:
        self._pieces, self._samples = [], 0
        if self._now.take_id:
            await asyncio.to_thread(self._place(self._now.take_id).unlink, missing_ok=True)

    def _arrive(self, pcm: bytes) -> None:
        """A piece of sound: 48,000 samples a second come in some fifty pieces of 0.1 ms work each."""
        microphone = self._microphone
        if microphone is None:
            return
        self._pieces.append(pcm)
        self._samples += len(pcm) // 2
        if self._now.state != "recording":
            return
        self._meter += pcm
        elapsed_s = self._samples / microphone.rate_hz
        moment_s = monotonic_s()
        if moment_s - self._level_told_s >= LEVEL_EVERY_S:
            self._level_told_s = moment_s
            self._tell_level(elapsed_s)
        if elapsed_s >= LONGEST_S and (self._stopper is None or self._stopper.done()):
            self._stopper = asyncio.get_running_loop().create_task(
                self._stop_by_itself(), name="ending a long recording"
            )

    def _tell_level(self, elapsed_s: float) -> None:
        pcm = bytes(self._meter)
        self._meter.clear()
        samples = array("h")
        samples.frombytes(pcm[: len(pcm) // 2 * 2])
        peak = max(max(samples, default=0), -min(samples, default=0))
        self._bus.publish(
            RecordingLevel(
                level_dbfs=round(wav.level_dbfs(pcm), 1),
                peak_dbfs=round(wav.peak_dbfs(peak), 1),
                elapsed_s=round(elapsed_s, 2),
                clipped=peak >= CLIPPED,
            )
        )

    def _break_off(self, problem: str) -> None:
        """The microphone is gone."""
        self._problem = problem
        if self._now.state == "recording":
            self._show(
                Recording(
                    state="idle",
                    speaker=self._now.speaker,
                    prompt=self._now.prompt,
                    device=self._now.device,
                    problem=problem,
                )
            )
        if self._stopper is None or self._stopper.done():
            self._stopper = asyncio.get_running_loop().create_task(
                self._let_go(), name="closing a microphone"
            )

    async def _stop_by_itself(self) -> None:
        async with self._changing:
            if self._now.state == "recording":
                try:
                    await self._finish()
                except AppError as error:
                    logger.info("a long recording could not be ended: %s", error.message)

    async def _finish(self) -> Recording:
        recording, microphone = self._now, self._microphone
        rate_hz = microphone.rate_hz if microphone else 0
        await self._let_go()
        if self._now is not recording:  # it broke off while it was being closed
            raise ConflictError(self._now.problem)
        pcm = b"".join(self._pieces)
        self._pieces = []
        prompt = recording.prompt
        take_id = uuid4().hex[:16]
        try:
            check = await self._host.call(
                f"{_TAKE}:check", pcm, rate_hz, prompt.text if prompt else "", timeout_s=CHECK_S
            )
            await asyncio.to_thread(self._write, take_id, wav.to_wav(pcm, rate_hz))
        except (AppError, OSError) as error:
            why = error.message if isinstance(error, AppError) else str(error)
            self._show(
                recording.model_copy(
                    update={"state": "idle", "problem": f"The take could not be kept: {why}"}
                )
            )
            raise EngineUnavailableError(self._now.problem) from error
        self._show(
            recording.model_copy(
                update={
                    "state": "review",
                    "take_id": take_id,
                    "take_url": f"/api/voice/record/takes/{take_id}",
                    "check": RecordingCheck.model_validate(check),
                }
            )
        )
        return self._now

    def _write(self, take_id: str, data: bytes) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        self._place(take_id).write_bytes(data)

    async def _gather(self, seconds: float) -> tuple[bytes, int]:
        microphone = self._microphone
        assert microphone is not None
        wanted = round(seconds * microphone.rate_hz)
        end_s = monotonic_s() + NOISE_PATIENCE_S
        while self._samples < wanted:
            if self._microphone is None or monotonic_s() > end_s:
                raise EngineUnavailableError(
                    self._problem
                    or "The microphone gives no sound. Is it muted in the system's settings, or is another one meant?"
                )
            await asyncio.sleep(LEVEL_EVERY_S)
        return b"".join(self._pieces)[: 2 * wanted], microphone.rate_hz


def _copy(path: Path, write: Callable[[bytes], None]) -> None:
    with path.open("rb") as file:
        while piece := file.read(1 << 20):
            write(piece)
