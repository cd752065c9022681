"""Everything about the data of voices, in one place: speakers, recordings, clips, and what is done with them."""

from __future__ import annotations

from pathlib import Path

from backend.clients.microphone import Microphones
from backend.contracts.errors import AppError, ConflictError
from backend.core.bus import EventBus
from backend.core.workers import EngineHost
from backend.storage.database import Database
from backend.training.clips import Clips
from backend.training.doctor import Doctor
from backend.training.jobs import ENDED, Jobs
from backend.training.pictures import Pictures
from backend.training.processing import Checks, Hear, Processing
from backend.training.prompts import Prompts
from backend.training.recording import Recorder
from backend.training.speakers import Speakers, checked_emotion, checked_language
from backend.training.uploads import Label, Uploads


class VoiceData:
    """The parts, made and opened in the order in which they need each other.

    Args:
        bus: Told of every change.
        database: Holds the rows.
        host: Runs what needs arrays.
        jobs: Runs what takes long.
        folder: The folder of training data.
        hear: Reads what has no transcript, on this machine.
        microphones: What is recorded from.
        upload_bytes: Largest file.
    """

    def __init__(
        self,
        bus: EventBus,
        database: Database,
        host: EngineHost,
        jobs: Jobs,
        folder: Path,
        *,
        hear: Hear,
        microphones: Microphones,
        upload_bytes: int,
    ) -> None:
        self._jobs = jobs
        self.speakers = Speakers(bus, database, folder / "speakers")
        self.uploads = Uploads(database, folder / "uploads", upload_bytes)
        self.clips = Clips(bus, database, host, self.speakers, folder)
        self.pictures = Pictures(self.clips, host)
        self.processing = Processing(
            jobs,
            bus,
            host,
            speakers=self.speakers,
            uploads=self.uploads,
            clips=self.clips,
            hear=hear,
        )
        self.checks = Checks(jobs, self.clips, self.speakers, folder / "checks")
        self.doctor = Doctor(
            jobs, speakers=self.speakers, clips=self.clips, folder=folder / "doctor"
        )
        self.prompts = Prompts(self.speakers, self.clips, self.doctor)
        self.recorder = Recorder(
            bus,
            host,
            microphones,
            folder / "takes",
            speakers=self.speakers,
            uploads=self.uploads,
            processing=self.processing,
            prompts=self.prompts,
        )
        jobs.register("process", self.processing)
        jobs.register("doctor", self.doctor)
        self.clips.on_new_text = self.checks.want

    async def open(self) -> list[str]:
        """Read what is there and make it agree; returns notices in words."""
        going, notices = await self.speakers.open()
        notices += await self.uploads.open()
        notices += await self.clips.open()
        await self.checks.open()
        await self.recorder.open()
        for speaker_id in going:
            try:
                await self._remove(speaker_id)
            except AppError as error:  # a job came in between: Luma starts all the same
                notices.append(
                    f"The removal of the speaker {speaker_id}, which was cut short, is not done yet, and the next start "
                    f"tries again: {error.message}"
                )
                continue
            notices.append(
                f"The removal of the speaker {speaker_id}, which was cut short, is done."
            )
        return notices

    async def close(self) -> None:
        """Finish what is under way."""
        await self.recorder.close()
        await self.checks.close()
        await self.clips.close()

    async def label(self, speaker: str, language: str = "", emotion: str = "") -> Label:
        """What is said of a recording; nobody named means the speaker that is there for that.

        Raises:
            NotFoundError: There is no such speaker.
            InvalidInputError: The language is none, or the emotion is no short word.
        """
        language = checked_language(language) if language else ""
        row = await self.speakers.or_default(speaker, language)
        emotion = checked_emotion(emotion)
        return Label(speaker=row.id, language=language or row.language, emotion=emotion)

    async def remove_speaker(self, speaker_id: str) -> tuple[int, list[str]]:
        """Remove a speaker with everything that was recorded, for good.

        Returns:
            How many clips there were, and the voices that were trained from them.

        Raises:
            NotFoundError: There is none of that id.
            ConflictError: A job works with these clips.
        """
        speaker = self.speakers.known(speaker_id)
        for job in await self._jobs.of_speaker(speaker_id):
            if job.state not in ENDED:
                raise ConflictError(
                    f"A job ({job.kind}, {job.state}) works with the clips of {speaker.name}. Stop it first."
                )
        await self.recorder.forget_speaker(speaker_id)
        await self.speakers.begin_removal(speaker_id)
        return await self._remove(speaker_id)

    async def _remove(self, speaker_id: str) -> tuple[int, list[str]]:
        await self.uploads.forget_speaker(speaker_id)
        await self.doctor.forget(speaker_id)
        # Their folders hold features, samples and weights made of the recordings.
        for job in await self._jobs.of_speaker(speaker_id):
            await self._jobs.delete(job.id)
        found = await self.clips.forget_speaker(speaker_id)
        await self.speakers.end_removal(speaker_id)
        return found
