"""A training from request to a voice that a character speaks with.

Checks at the edge, so that nothing is found out after an hour; follows the trainer's checkpoints and samples and has a
recogniser of this machine listen to them; and when the trainer has verified its export, brings the voice into the
library with its card, links it to the clips it was made from, and gives it to the character it was made for.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import math
import re
import shutil
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from backend.audio.errors import AudioError
from backend.audio.wav import read_wav
from backend.chat.characters import Characters
from backend.contracts.entities import Audio, Transcript, VoiceChoice
from backend.contracts.errors import AppError, ConflictError, InvalidInputError, NotFoundError
from backend.contracts.events import TrainingCheckpoint, TrainingSample
from backend.contracts.training import (
    Checkpoint,
    CheckpointScores,
    Job,
    LossPoint,
    TrainerName,
    VoiceCard,
)
from backend.core.clock import now
from backend.library.voices import VoiceLibrary, checked_name
from backend.storage.speakers import SpeakerRow
from backend.storage.text import storable
from backend.training import checkpoints as past
from backend.training import runner
from backend.training.bases import ENDINGS
from backend.training.checkpoints import History, Sample, inside, sample_url
from backend.training.clips import Clips, data_sha256
from backend.training.jobs import JobEndsError, Jobs, Line, Run
from backend.training.scores import clear_words
from backend.training.speakers import Speakers
from voice_trainer.protocol import (
    EXPORT,
    PROGRESS,
    SAMPLES,
    Budget,
    ClipSpec,
    JobSpec,
    ProgressReader,
    ProtocolError,
    read_clips,
    read_job,
    write_clips,
    write_job,
)

logger = logging.getLogger(__name__)

LEAST_CLIPS = 4
LEAST_SECONDS = 12.0
"""Less is not worth a start: the trainer holds clips back to measure with."""
RATES_HZ = (16_000, 22_050)
LONGEST_BUDGET_S = 14 * 86_400.0
MOST_STEPS = 10_000_000
LONGEST_TEXT = 500
LARGEST_OPTION = 1e15
MOST_WAITING_SAMPLES = 8
KEPT_HISTORIES = 8
KEPT_SAYINGS = 40
EXPORT_S = 300.0
SPEAK_S = 60.0

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,59}")
_LANGUAGE = re.compile(r"[A-Za-z]{2,8}(?:[-_+][A-Za-z0-9]{1,8}){0,3}")
_SHA256 = re.compile(r"[0-9a-f]{64}")

TEST_SENTENCES = {
    "en": "Hello everyone, this is my new voice, and today we are going to play something together.",
    "de": "Hallo zusammen, das ist meine neue Stimme, und heute spielen wir etwas gemeinsam.",
    "fr": "Bonjour tout le monde, voici ma nouvelle voix, et aujourd'hui nous allons jouer ensemble.",
    "es": "Hola a todos, esta es mi nueva voz, y hoy vamos a jugar a algo juntos.",
    "it": "Ciao a tutti, questa è la mia nuova voce, e oggi giochiamo a qualcosa insieme.",
    "pt": "Olá a todos, esta é a minha nova voz, e hoje vamos jogar alguma coisa juntos.",
    "nl": "Hallo allemaal, dit is mijn nieuwe stem, en vandaag gaan we samen iets spelen.",
    "pl": "Cześć wszystkim, to jest mój nowy głos, a dzisiaj zagramy w coś razem.",
    "ja": "みなさん、こんにちは。これがわたしの新しい声です。",
    "cmn": "大家好，这是我的新声音，今天我们一起玩吧。",
}
"""What every checkpoint says, by the first part of the language: some words that a recogniser knows."""

_CODES = {"cmn": "zh", "yue": "zh", "nb": "no"}
"""espeak's names of languages that ISO 639-1, and so the recognisers, call otherwise."""


@dataclass(frozen=True, slots=True)
class TrainRequest:
    """What somebody wants trained; see `POST /api/voice/train`."""

    name: str
    speaker: str = ""
    clip_ids: tuple[int, ...] = ()
    trainer: TrainerName = "quick"
    seconds: float | None = None
    steps: int | None = None
    character_id: str = ""
    rate_hz: int = 22_050
    language: str = ""
    base: str = ""
    base_sha256: str = ""
    allow_unsafe_base: str = ""
    seed: int = 1234
    test_sentence: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class TrainingOptions:
    """What trainings are told by the settings.

    Attributes:
        models_dir: Base checkpoints are looked for in it, nowhere else.
        threads: Of the trainer, 0 = as many as there are cores that nothing else uses.
        quick_s: Budget of a quick training when nobody says one.
        keep: Checkpoints kept beside the last and the best.
    """

    models_dir: Path
    threads: int = 0
    quick_s: float = 300.0
    keep: int = 5


Hear = Callable[[Audio, str], Awaitable[Transcript]]
"""Reads sound on this machine, given the language's ISO 639-1 code."""

SpeakWith = Callable[[VoiceChoice, str], Awaitable[None]]
"""Says a sentence with the engines in use and lets nobody hear it: the voice is then loaded."""

Synthesize = Callable[[Path, str], Awaitable[Audio]]
"""Speaks with a Piper voice that lies anywhere."""


class Trainings:
    """Starts trainings and does what jobs of the kind "train" need; all methods are for the backend's loop."""

    can_resume = True

    def __init__(
        self,
        jobs: Jobs,
        voices: VoiceLibrary,
        characters: Characters,
        clips: Clips,
        speakers: Speakers,
        *,
        options: TrainingOptions,
        hear: Hear,
        speak_with: SpeakWith,
        synthesize: Synthesize,
    ) -> None:
        self.jobs = jobs
        self.options = options
        self._voices = voices
        self._characters = characters
        self._clips = clips
        self._speakers = speakers
        self._hear = hear
        self._speak_with = speak_with
        self._synthesize = synthesize
        self._histories: dict[str, History] = {}
        self._samples: deque[tuple[str, str, Sample]] = deque(maxlen=MOST_WAITING_SAMPLES)
        self._listener: asyncio.Task[None] | None = None
        self._exports: dict[str, asyncio.Task[Path]] = {}
        self._exporting = asyncio.Semaphore()
        self._naming = asyncio.Lock()  # until the job is queued, nobody else asks for its name
        self._homecoming = (
            asyncio.Lock()
        )  # until a voice lies in the library, nobody else gets its name
        jobs.register("train", self)

    async def close(self) -> None:
        """Let go of what listens and exports."""
        tasks = [task for task in (self._listener, *self._exports.values()) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    # --- from a request ---

    async def start(self, wanted: TrainRequest) -> Job:
        """Check everything that can be checked, and queue the training.

        Raises:
            InvalidInputError: Something of the request cannot be, with what may.
            NotFoundError: There is no such speaker, clip or character.
            ConflictError: Nobody agreed, the name is taken, or there are too few clips.
        """
        async with self._naming:
            return await self._start(wanted)

    async def _start(self, wanted: TrainRequest) -> Job:
        name = await self._free_name(wanted.name)
        if wanted.rate_hz not in RATES_HZ:
            raise InvalidInputError(f"rate_hz is {wanted.rate_hz}; a voice has 16000 or 22050 Hz.")
        budget = self._budget(wanted)
        base = await asyncio.to_thread(self._base, wanted)
        if wanted.character_id:
            await self._characters.get(wanted.character_id)
        if not wanted.speaker and not wanted.clip_ids:
            raise InvalidInputError("Say whose clips to train on: `speaker`, or `clip_ids`.")
        clips, people = await self._chosen_clips(wanted)
        person = people[0]
        language = wanted.language or person.language
        if not _LANGUAGE.fullmatch(language):
            raise InvalidInputError(
                f"{language[:40]!r} is no language: use espeak's names such as en-us, de or ja."
            )
        options = _checked_options(wanted.options)
        spec = JobSpec(
            id="",
            command="train",
            name=name,
            trainer=wanted.trainer,
            language=language,
            rate_hz=wanted.rate_hz,
            speaker=person.id,
            budget=budget,
            seed=wanted.seed,
            threads=self.options.threads,
            base=base,
            base_sha256=_digest("base_sha256", wanted.base_sha256),
            allow_unsafe_base=_digest("allow_unsafe_base", wanted.allow_unsafe_base),
            test_sentence=wanted.test_sentence.strip()[:LONGEST_TEXT] or test_sentence(language),
            keep=self.options.keep,
            options=options,
        )
        return await self.jobs.start(
            "train",
            spec,
            prepare=lambda folder: write_clips(folder, clips),
            character_id=wanted.character_id,
            memory={
                "language": language,
                "consent": "; ".join(_consent(one) for one in people),
                "speakers": [one.id for one in people],
            },
        )

    async def _free_name(self, name: str) -> str:
        """The name, if a voice may be called so and none is or will be."""
        name = name.strip()
        if not _NAME.fullmatch(name):
            raise InvalidInputError(
                f"{name[:80]!r} cannot be a voice's name: use letters, digits, - and _, at most 60, and begin with a"
                " letter or digit."
            )
        checked_name(name)
        if await asyncio.to_thread(self._voices.exists, name):
            raise ConflictError(f"There is a voice {name!r} already. Give this one another name.")
        for job in await self.jobs.history("train"):
            is_open = job.state not in ("done", "failed", "cancelled", "interrupted")
            if is_open and job.name.casefold() == name.casefold():
                raise ConflictError(
                    f"A voice {name!r} is being trained already. Give this one another name."
                )
        return name

    def _budget(self, wanted: TrainRequest) -> Budget:
        seconds, steps = wanted.seconds, wanted.steps
        if seconds is not None and not (
            math.isfinite(seconds) and 1.0 <= seconds <= LONGEST_BUDGET_S
        ):
            raise InvalidInputError(
                f"budget.seconds is {seconds:g}; it may be 1 to {LONGEST_BUDGET_S:,.0f} (14 days)."
            )
        if steps is not None and not 1 <= steps <= MOST_STEPS:
            raise InvalidInputError(f"budget.steps is {steps:,}; it may be 1 to {MOST_STEPS:,}.")
        if seconds is None and steps is None and wanted.trainer == "quick":
            seconds = self.options.quick_s
        return Budget(steps=steps, seconds=seconds)

    def _base(self, wanted: TrainRequest) -> str:
        """The base checkpoint as the trainer reads it: a path only inside the models folder; looks at the disk."""
        if wanted.base in ("", "none"):
            return wanted.base
        models = self.options.models_dir
        path = inside(models, models, wanted.base)
        if path is None or path.suffix not in ENDINGS:
            raise InvalidInputError(
                f"The base {wanted.base[:120]!r} cannot be used: name a {', '.join(ENDINGS)} file inside the models"
                f" folder ({models}), relative to it."
            )
        if not _is_file(path):
            raise NotFoundError(f"There is no base checkpoint {wanted.base[:120]!r} in {models}.")
        return str(path)

    async def _chosen_clips(self, wanted: TrainRequest) -> tuple[list[ClipSpec], list[SpeakerRow]]:
        clips = await self._clips.for_training(wanted.speaker, wanted.clip_ids or None)
        names = sorted({clip.speaker for clip in clips})
        people = [self._speakers.check_consent(name, "trained") for name in names]
        seconds = sum(clip.duration_s for clip in clips)
        if len(clips) < LEAST_CLIPS or seconds < LEAST_SECONDS:
            raise ConflictError(
                f"There are {len(clips)} accepted clips with transcripts ({seconds:.0f} s); a training needs at least"
                f" {LEAST_CLIPS} clips and {LEAST_SECONDS:.0f} s. Record or import more, and accept clips in the review."
            )
        return clips, people

    # --- as a job ---

    async def work(self, run: Run) -> dict[str, object]:
        """Train (or export), then bring the voice home."""
        result = await run.trainer("export" if run.memory.get("export_of") else "train")
        return await self._bring_home(run, result)

    async def on_line(self, run: Run, line: Line) -> None:
        """Tell of checkpoints, samples, scores and pictures."""
        job_id = run.job.id
        match line["kind"]:
            case "checkpoint":
                run.publish(
                    TrainingCheckpoint(
                        checkpoint_id=f"{job_id}:{line['id']}",
                        step=int(line["step"]),
                        is_best=bool(line.get("is_best")),
                    )
                )
                await run.save(durable=True)
            case "dropped":
                run.publish(
                    TrainingCheckpoint(
                        checkpoint_id=f"{job_id}:{line['id']}", step=0, what="removed"
                    )
                )
            case "scores":
                saved = (await self.history_of(run.job)).checkpoints.get(str(line["checkpoint"]))
                if saved is not None:
                    run.publish(
                        TrainingCheckpoint(
                            checkpoint_id=f"{job_id}:{saved.name}",
                            step=saved.step,
                            is_best=saved.is_best,
                            what="scored",
                        )
                    )
            case "sample":
                await self._take_sample(run, line)
            case "picture":
                url = f"/api/voice/jobs/{job_id}/pictures"
                step = int(line["step"])
                run.update(
                    target_picture_url=f"{url}/target?step={step}",
                    made_picture_url=f"{url}/made?step={step}",
                )

    async def _take_sample(self, run: Run, line: Line) -> None:
        history = await self.history_of(run.job)
        path = inside(run.folder / SAMPLES, run.folder, str(line["path"]))
        sample = next((one for one in reversed(history.samples) if one.path == path), None)
        if sample is None:
            return
        run.publish(
            TrainingSample(
                checkpoint_id=f"{run.job.id}:{sample.checkpoint}" if sample.checkpoint else "",
                step=sample.step,
                url=sample_url(run.job.id, sample.path.name),
                text=sample.text,
            )
        )
        # A recogniser slower than the training falls behind: the oldest samples stay without a score.
        self._samples.append((run.job.id, str(run.memory.get("language", "")), sample))
        if self._listener is None or self._listener.done():
            self._listener = asyncio.create_task(self._listen(), name="listening to samples")

    # --- scores ---

    async def _listen(self) -> None:
        """Have the samples that wait read by a recogniser, while no turn runs."""
        while self._samples:
            await self.jobs.quiet()
            if not self._samples:
                return
            job_id, language, sample = self._samples.popleft()
            try:
                share = await self._understood(sample, language)
                if share is None:
                    continue
                history = self._histories.get(job_id) or History(self.jobs.options.folder / job_id)
                await asyncio.to_thread(history.hear, sample, share)
            except (AppError, AudioError, OSError) as error:
                logger.info("job %s: sample %s has no score: %s", job_id, sample.path.name, error)
                continue
            await asyncio.to_thread(history.refresh)
            for saved in history.checkpoints.values():
                if history.sample_of(saved) == sample:
                    self.jobs.publish(
                        TrainingCheckpoint(
                            job_id=job_id,
                            checkpoint_id=f"{job_id}:{saved.name}",
                            step=saved.step,
                            is_best=saved.is_best,
                            what="scored",
                        )
                    )

    async def _understood(self, sample: Sample, language: str) -> float | None:
        data = await asyncio.to_thread(sample.path.read_bytes)
        pcm, rate_hz = read_wav(data)
        heard = await self._hear(Audio(pcm, rate_hz), language_code(language))
        return clear_words(sample.text, heard.text)

    # --- the voice ---

    async def _bring_home(self, run: Run, result: dict[str, Any]) -> dict[str, object]:
        """The verified export becomes a voice of the library; safe to do again after a crash in the middle."""
        job = run.job
        model = await asyncio.to_thread(_exported, run.folder, result)
        clips = await asyncio.to_thread(read_clips, self._data_folder(run))
        async with self._homecoming:
            name = await self._settle_in(run, result, model, clips)
        summary = f"{name} is trained and ready to speak."
        if name != job.name and not run.memory.get("export_of"):
            summary += f" There was a voice {job.name} already, so it is called {name}."
        given = await self._give(run, name)
        return {**_plain(result), "voice": name, "character_id": given, "summary": summary}

    async def _settle_in(
        self, run: Run, result: dict[str, Any], model: Path, clips: Sequence[ClipSpec]
    ) -> str:
        """Bring the voice into the library unless it is there; returns its name."""
        job = run.job
        name = str(run.memory.get("voice") or "")
        is_home = bool(name) and await asyncio.to_thread(self._is_home, name, job.id)
        if not is_home:
            # A name that was chosen before a crash may have been given to another voice since.
            name = await asyncio.to_thread(self._name_that_is_free, name or job.name)
            run.memory["voice"] = name
            await run.save(durable=True)
            card = await self._card(run, name, result, clips)
            await self._clips.trained(name, [clip.uid for clip in clips])
            try:
                folder = await asyncio.to_thread(self._copy, model)
                await self._voices.bring_in(
                    folder / "voice.onnx",
                    folder / "voice.onnx.json",
                    name,
                    card=card.model_dump(mode="json"),
                    details={
                        "job_id": job.id,
                        "trainer": card.trainer,
                        "speaker": job.speaker,
                        "minutes": card.minutes,
                        "steps": card.steps,
                        "scores": card.scores.model_dump(),
                    },
                )
            except OSError as error:
                raise JobEndsError(
                    "interrupted",
                    "disk.full",
                    f"The voice is trained but cannot be kept ({error}). Make room, then resume.",
                ) from error
            except BaseException:
                await self._clips.trained(name, ())
                raise
        return name

    async def _give(self, run: Run, name: str) -> str:
        """Load the voice, and give it to the character it was made for; the id, empty when nobody got it."""
        choice = VoiceChoice(engine="piper", name=name)
        try:
            await self._speak_with(choice, run.job.name)
        except AppError as error:
            run.warn(f"{name} lies in the library but cannot be spoken with now: {error.message}")
        wanted = run.job.character_id
        if not wanted:
            return ""
        try:
            await self._characters.update(
                wanted, {"voice": {"engine": "piper", "name": name, "speaker": None}}
            )
        except AppError as error:
            run.warn(f"The voice could not be given to {wanted!r}: {error.message}")
            return ""
        return wanted

    async def _card(
        self, run: Run, name: str, result: Mapping[str, Any], clips: Sequence[ClipSpec]
    ) -> VoiceCard:
        spec = await asyncio.to_thread(_spec_of, run.folder)
        history = await self.history(str(run.memory.get("export_of") or run.job.id))
        wanted = str(result.get("checkpoint") or run.memory.get("checkpoint") or "")
        found = {one.id.partition(":")[2]: one for one in history.wire()}
        made_from = found.get(wanted) or next((one for one in found.values() if one.is_best), None)
        told = result.get("scores")
        scores = made_from.scores if made_from is not None else CheckpointScores()
        if isinstance(told, dict):
            known = {
                key: float(value)
                for key, value in told.items()
                if key in CheckpointScores.model_fields and isinstance(value, int | float)
            }
            scores = scores.model_copy(update=known)
        step = result.get("step")
        return VoiceCard(
            name=name,
            speaker=run.job.speaker,
            consent=str(run.memory.get("consent", "")),
            language=spec.language,
            rate_hz=spec.rate_hz,
            trainer=spec.trainer,
            job_id=run.job.id,
            clips=len(clips),
            minutes=round(sum(clip.duration_s for clip in clips) / 60, 2),
            data_sha256=data_sha256(clips),
            steps=step if isinstance(step, int) else made_from.step if made_from else run.job.step,
            scores=scores,
            made_at=now(),
        )

    def _data_folder(self, run: Run) -> Path:
        source = str(run.memory.get("export_of") or run.job.id)
        return self.jobs.options.folder / source

    def _name_that_is_free(self, name: str) -> str:
        if not self._voices.exists(name):
            return name
        n = 2
        while self._voices.exists(f"{name}-{n}"):
            n += 1
        return f"{name}-{n}"

    def _is_home(self, name: str, job_id: str) -> bool:
        """Whether this job's voice lies in the library already."""
        try:
            return self._voices.exists(name) and self._voices.card(name).job_id == job_id
        except NotFoundError:
            return False

    def _copy(self, model: Path) -> Path:
        folder = self._voices.new_upload()
        try:
            shutil.copyfile(model, folder / "voice.onnx")
            shutil.copyfile(f"{model}.json", folder / "voice.onnx.json")
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        return folder

    # --- what a training has left behind ---

    async def history(self, job_id: str) -> History:
        """A training's checkpoints, samples and curve.

        Raises:
            NotFoundError: There is no such job.
        """
        return await self.history_of(await self.jobs.get(job_id))

    async def history_of(self, job: Job) -> History:
        """A training's checkpoints, samples and curve, up to now."""
        found = self._histories.pop(job.id, None) or History(self.jobs.folder(job))
        self._histories[job.id] = found  # the one used last goes last
        while len(self._histories) > KEPT_HISTORIES:
            del self._histories[next(iter(self._histories))]
        return await asyncio.to_thread(found.refresh)

    async def losses(self, job_id: str, limit: int) -> list[LossPoint]:
        """The loss curve in at most so many points."""
        return (await self.history(job_id)).losses(limit)

    async def checkpoints(self, job_id: str = "") -> list[Checkpoint]:
        """Checkpoints of one training, or of all, the newest training first."""
        if job_id:
            return (await self.history(job_id)).wire()
        found: list[Checkpoint] = []
        for job in await self.jobs.history("train"):
            found += (await self.history_of(job)).wire()
        return found

    async def sample_path(self, job_id: str, file: str) -> Path:
        """A sample of a job.

        Raises:
            NotFoundError: There is none of that name.
        """
        job = await self.jobs.get(job_id)
        folder = self.jobs.folder(job) / SAMPLES
        path = inside(folder, folder, file) if past.SAMPLE_FILE.fullmatch(file) else None
        if path is None or not await asyncio.to_thread(path.is_file):
            raise NotFoundError(f"Job {job.id} has no sample {file[:80]!r}.")
        return path

    async def sample_sound(self, path: Path) -> Audio:
        """A sample as sound.

        Raises:
            NotFoundError: It cannot be read.
        """
        try:
            pcm, rate_hz = read_wav(await asyncio.to_thread(path.read_bytes))
        except (OSError, AudioError) as error:
            raise NotFoundError(f"The sample {path.name} cannot be read: {error}") from error
        return Audio(pcm, rate_hz)

    async def picture(self, job_id: str, which: str) -> bytes:
        """The newest spectrogram, "target" or "made", as PNG.

        Raises:
            NotFoundError: None was drawn yet.
        """
        history = await self.history(job_id)
        path = history.target if which == "target" else history.made
        try:
            if path is None:
                raise FileNotFoundError
            data = await asyncio.to_thread(_read_png, path)
        except OSError as error:
            raise NotFoundError(f"Job {job_id} has drawn no picture yet.") from error
        return data

    async def find_checkpoint(self, checkpoint_id: str) -> tuple[Job, History, past.Saved]:
        """A checkpoint by its id "<job>:<name>".

        Raises:
            NotFoundError: There is none.
        """
        job_id, _, name = checkpoint_id.partition(":")
        job = await self.jobs.get(job_id)
        history = await self.history_of(job)
        return job, history, history.known(name)

    async def say(self, checkpoint_id: str, text: str) -> tuple[str, Audio]:
        """Speak any text with a checkpoint: its URL and the sound.

        Raises:
            NotFoundError: There is no such checkpoint.
            AppError: It cannot be exported or spoken with.
        """
        text = text.strip()
        if not any(char.isalnum() for char in text) or len(text) > LONGEST_TEXT:
            raise InvalidInputError(
                f"The text to speak has {len(text)} characters; it may have 1 to {LONGEST_TEXT}, with a word among them."
            )
        job, _, saved = await self.find_checkpoint(checkpoint_id)
        model = await self._listenable(job, saved)
        audio = await self._synthesize(model, text)
        mark = hashlib.sha256(f"{saved.name}\n{text}".encode("utf-8", "replace")).hexdigest()[:16]
        file = f"say-{mark}.wav"
        await asyncio.to_thread(_keep_saying, self.jobs.folder(job) / SAMPLES, file, audio)
        return sample_url(job.id, file), audio

    async def _listenable(self, job: Job, saved: past.Saved) -> Path:
        """The checkpoint as a voice to listen to, exported once by a child; asked for twice, it is made once."""
        key = f"{job.id}:{saved.name}"
        task = self._exports.get(key)
        if task is None:
            task = asyncio.create_task(self._export_to_listen(job, saved), name=f"export of {key}")
            self._exports[key] = task
            task.add_done_callback(lambda ended: self._exported_one(key, ended))
        return await asyncio.shield(task)

    def _exported_one(self, key: str, task: asyncio.Task[Path]) -> None:
        self._exports.pop(key, None)
        if not task.cancelled() and (error := task.exception()) is not None:
            # Whoever asked is told too, unless he has left.
            logger.info("the export of %s failed: %s", key, error)

    async def _export_to_listen(self, job: Job, saved: past.Saved) -> Path:
        source = self.jobs.folder(job)
        folder = source / "listen" / saved.name
        if (done := await asyncio.to_thread(_ready_to_listen, folder, saved)) is not None:
            return done
        spec = await asyncio.to_thread(_spec_of, source)
        spec = replace(
            spec,
            command="export",
            options={
                **spec.options,
                "job": str(source),
                "checkpoint": saved.name,
                "verify": False,
            },
        )
        async with self._exporting:
            await self.jobs.quiet()
            await asyncio.to_thread(_fresh_folder, folder, spec)
            result = await self._run_child("export", folder)
        return await asyncio.to_thread(_exported, folder, result)

    async def _run_child(self, command: str, folder: Path) -> dict[str, Any]:
        """A short run of the trainer that is no job of its own."""
        options = self.jobs.options
        try:
            process = await runner.start_or_end(
                command, folder, options.environment, options.program
            )
        except OSError as error:
            raise ConflictError(f"The trainer could not be started: {error}.") from error
        reader = ProgressReader(folder)
        try:
            async with asyncio.timeout(EXPORT_S):
                while True:
                    has_ended = await asyncio.to_thread(process.has_ended)
                    for line in await asyncio.to_thread(runner.read_some, reader):
                        if line["kind"] == "done":
                            result = line.get("result")
                            return result if isinstance(result, dict) else {}
                        if line["kind"] == "error":
                            raise ConflictError(str(line.get("message") or "The export failed."))
                    if has_ended:
                        raise ConflictError(
                            f"The checkpoint cannot be heard. {runner.died_in_words(process.exit_code)}"
                        )
                    await asyncio.sleep(options.poll_s)
        except TimeoutError as error:
            raise ConflictError(
                f"The checkpoint could not be exported within {EXPORT_S:.0f} s. Try again when the computer has less to do."
            ) from error
        finally:
            # Said "done", it still writes nothing more; otherwise nobody waits for it.
            process.kill()
            await asyncio.to_thread(process.reap)

    async def export(self, checkpoint_id: str, name: str = "") -> Job:
        """Make a voice of a checkpoint: a job that exports, verifies and keeps it.

        Raises:
            NotFoundError: There is no such checkpoint.
            ConflictError: The name is taken.
        """
        async with self._naming:
            return await self._export(checkpoint_id, name)

    async def _export(self, checkpoint_id: str, name: str) -> Job:
        job, _, saved = await self.find_checkpoint(checkpoint_id)
        source = self.jobs.folder(job)
        stored = await self.jobs.stored(job.id)
        name = await self._free_name(name or f"{job.name[:48]}-{saved.step}")
        spec = await asyncio.to_thread(_spec_of, source)
        spec = replace(
            spec,
            command="export",
            name=name,
            options={**spec.options, "job": str(source), "checkpoint": saved.name},
        )
        kept = _inherited(stored.memory)
        return await self.jobs.start(
            "train",
            spec,
            prepare=lambda folder: None,
            lane="export",
            memory={**kept, "export_of": job.id, "checkpoint": saved.name},
        )

    async def restore(
        self, checkpoint_id: str, seconds: float | None = None, steps: int | None = None
    ) -> Job:
        """Train on from a checkpoint, as a new job: the old one and its later checkpoints stay as they are.

        Args:
            checkpoint_id: Where to go on.
            seconds: Another budget; None = the old one, of which what came before the checkpoint is used up.
            steps: The same in steps.

        Raises:
            NotFoundError: There is no such checkpoint.
            InvalidInputError: The budget cannot be.
            ConflictError: It is an export, which has nothing to go on with.
        """
        job, history, saved = await self.find_checkpoint(checkpoint_id)
        stored = await self.jobs.stored(job.id)
        source = self.jobs.folder(job)
        spec = await asyncio.to_thread(_spec_of, source)
        if seconds is not None or steps is not None:
            spec = replace(
                spec, budget=self._budget(TrainRequest(job.name, seconds=seconds, steps=steps))
            )
        kept = _inherited(stored.memory)
        return await self.jobs.start(
            "train",
            spec,
            prepare=lambda folder: _branch(source, folder, saved, history.folder),
            character_id=job.character_id,
            memory={**kept, "restored_from": f"{job.id}:{saved.name}"},
        )

    async def forget_checkpoint(self, checkpoint_id: str) -> None:
        """Delete a checkpoint.

        Raises:
            NotFoundError: There is no such checkpoint.
            ConflictError: The training needs it: the last and the best of one that is not done.
        """
        job, history, saved = await self.find_checkpoint(checkpoint_id)
        found = next(one for one in history.wire() if one.id == checkpoint_id)
        if self.jobs.running(job.id) is not None:
            raise ConflictError(
                f"{job.name} is still being trained: its checkpoints are the trainer's until it has ended."
            )
        if job.state != "done" and (found.is_last or found.is_best):
            raise ConflictError(
                f"The {'last' if found.is_last else 'best'} checkpoint of {job.name} is needed to resume it. Delete the"
                " job if you do not want to go on."
            )
        if any(run.memory.get("checkpoint") == saved.name for run in self.jobs.runs_of(job.id)):
            raise ConflictError("The checkpoint is being exported. Wait until that is done.")
        await asyncio.to_thread(history.forget, saved.name)
        await asyncio.to_thread(
            shutil.rmtree, history.folder / "listen" / saved.name, ignore_errors=True
        )


def test_sentence(language: str) -> str:
    """What a voice of this language says at every checkpoint; empty = the trainer takes one of the transcripts."""
    return TEST_SENTENCES.get(re.split("[-_+]", language.lower())[0], "")


def language_code(language: str) -> str:
    """ISO 639-1 of an espeak voice, as recognisers take it: "en-us" is "en"."""
    first = re.split("[-_+]", language.lower())[0]
    return _CODES.get(first, first)


def _consent(person: SpeakerRow) -> str:
    if person.synthetic and not person.consent:
        return f"{person.name}: recordings made by a machine"
    return f"{person.name}: {person.consent}"


def _digest(field_name: str, value: str) -> str:
    value = value.strip().lower()
    if value and not _SHA256.fullmatch(value):
        raise InvalidInputError(f"{field_name} is a SHA-256: 64 digits of 0-9 and a-f.")
    return value


def _checked_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """Options of the trainer that a request may set: plain values, never where it reads or writes."""
    if len(options) > 40:
        raise InvalidInputError("options has more than 40 entries.")
    for name, value in options.items():
        if name in ("job", "checkpoint", "verify") or not re.fullmatch(
            r"[a-z][a-z0-9_]{0,39}", name
        ):
            raise InvalidInputError(f"options.{name[:40]} cannot be set.")
        if not isinstance(value, str | int | float | bool | None) or (
            isinstance(value, str) and (len(value) > 200 or storable(value) != value)
        ):
            raise InvalidInputError(
                f"options.{name} must be a number, a short text, true or false."
            )
        if isinstance(value, int | float) and not abs(value) <= LARGEST_OPTION:
            raise InvalidInputError(f"options.{name} is larger than any number that is of use.")
    return dict(options)


def _exported(folder: Path, result: Mapping[str, Any]) -> Path:
    """The model that the trainer made, with its settings beside it."""
    told = result.get("model")
    path = inside(folder / EXPORT, folder, told) if isinstance(told, str) else None
    if path is None or not path.is_file() or not Path(f"{path}.json").is_file():
        raise JobEndsError(
            "failed",
            "export.missing",
            "The trainer says that it is done, but there is no voice in its folder. The job's log may say why; resume"
            " exports it again.",
        )
    return path


def _ready_to_listen(folder: Path, saved: past.Saved) -> Path | None:
    """The export made earlier, if the checkpoint has not been replaced since."""
    result: dict[str, Any] | None = None
    for line in ProgressReader(folder).read():
        if line["kind"] == "done" and isinstance(line.get("result"), dict):
            result = line["result"]
    if result is None:
        return None
    try:
        path = _exported(folder, result)
        return path if path.stat().st_mtime >= saved.at.timestamp() else None
    except (JobEndsError, OSError):
        return None


def _spec_of(folder: Path) -> JobSpec:
    """What a job was to do.

    Raises:
        ConflictError: Its file is damaged.
    """
    try:
        return read_job(folder)
    except ProtocolError as error:
        raise ConflictError(f"{error} Start a new training: this one cannot be used.") from error


def _is_file(path: Path) -> bool:
    """Whether there is such a file; a name that no disk can hold is none."""
    try:
        return path.is_file()
    except OSError:
        return False


def _fresh_folder(folder: Path, spec: JobSpec) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    write_job(folder, replace(spec, id=folder.name))


def _branch(source: Path, target: Path, saved: past.Saved, base: Path) -> None:
    """A job folder that stands where the other one stood when it saved the checkpoint."""
    ignored = shutil.ignore_patterns("*.tmp", ".*")
    for name in ("clips.json", "dataset"):
        if (source / name).is_dir():
            shutil.copytree(source / name, target / name, ignore=ignored)
        elif (source / name).is_file():
            shutil.copyfile(source / name, target / name)
    kept = target / saved.path.relative_to(base.resolve())  # its links are followed already
    kept.parent.mkdir(parents=True, exist_ok=True)
    if saved.path.is_dir():
        shutil.copytree(saved.path, kept)
    else:
        shutil.copyfile(saved.path, kept)
        for beside in saved.path.parent.glob(f"{saved.path.stem}.*"):
            if beside != saved.path and beside.is_file():
                shutil.copyfile(beside, kept.with_name(beside.name))
    _copy_past(source, target, saved)


def _copy_past(source: Path, target: Path, saved: past.Saved) -> None:
    """What was said up to the checkpoint; other checkpoints are not copied, nor told of."""
    lines = (source / PROGRESS).read_bytes().splitlines(keepends=True)
    told: list[bytes] = []
    for raw in lines:
        line = past.decoded(raw)
        if line is None:
            continue
        if line["kind"] == "progress" and "step" in line:
            told.append(raw)
        elif line["kind"] == "sample":
            path = inside(source / SAMPLES, source, str(line.get("path")))
            if path is not None and path.is_file():
                (target / SAMPLES).mkdir(exist_ok=True)
                shutil.copyfile(path, target / SAMPLES / path.name)
                told.append(raw)
        elif line["kind"] == "checkpoint" and line.get("id") == saved.name:
            told.append(raw)
            if line.get("step") == saved.step:
                break
    (target / PROGRESS).write_bytes(b"".join(told))


def _keep_saying(folder: Path, file: str, audio: Audio) -> None:
    from backend.audio.wav import to_wav

    folder.mkdir(parents=True, exist_ok=True)
    part = folder / f".{file}.part"
    part.write_bytes(to_wav(audio.pcm, audio.rate_hz))
    part.replace(folder / file)
    said = sorted(folder.glob("say-*.wav"), key=lambda path: path.stat().st_mtime)
    for old in said[:-KEPT_SAYINGS]:
        old.unlink(missing_ok=True)


def _read_png(path: Path) -> bytes:
    if path.stat().st_size > past.LARGEST_PICTURE_BYTES:
        raise FileNotFoundError(f"{path.name} is too large for a picture")
    data = path.read_bytes()
    if not data.startswith(b"\x89PNG\r\n\x1a\n"):
        raise FileNotFoundError(f"{path.name} is no PNG")
    return data


def _inherited(memory: Mapping[str, Any]) -> dict[str, object]:
    """What a job made from another one knows of the voice."""
    return {name: memory[name] for name in ("language", "consent", "speakers") if name in memory}


def _plain(result: Mapping[str, Any]) -> dict[str, object]:
    """What of the trainer's result is for everybody: no paths."""
    return {name: value for name, value in result.items() if name not in ("model", "path")}
