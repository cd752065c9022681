"""From recordings to graded clips: the trainer cuts, we transcribe, the trainer checks words against sound.

A processing is a job (`backend.training.jobs`). Clips are taken in while the trainer still cuts, one by one, known by
their uid: whatever dies, the same line told again changes nothing. One bad file never stops the rest.
"""

from __future__ import annotations

import asyncio
import logging
import shutil
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import uuid4

from backend.contracts.entities import Audio, Transcript
from backend.contracts.errors import AppError, EngineUnavailableError, InvalidInputError
from backend.contracts.events import AudioProcessed
from backend.core.bus import EventBus
from backend.core.clock import monotonic_s
from backend.core.sound import decode_audio
from backend.core.workers import EngineHost
from backend.storage.training_data import ClipRow
from backend.training import runner
from backend.training.clips import Clips, Made
from backend.training.jobs import Jobs, Run
from backend.training.speakers import Speakers, checked_language
from backend.training.uploads import Label, Stored, Uploads
from voice_trainer.protocol import (
    ClipSpec,
    JobSpec,
    ProgressReader,
    write_clips,
    write_job,
    write_uploads,
)

logger = logging.getLogger(__name__)

MOST_FAILURES = 5
"""Transcripts that fail in a row before the rest is left to the user."""

TELL_EVERY_S = 1.0
CHECK_AFTER_S = 1.0
"""Pause after an edit before it is checked, so that a burst of edits is one check."""
LONGEST_CHECK_S = 300.0
POLL_S = 0.05

Line = Mapping[str, Any]


Hear = Callable[[Audio, str], Awaitable[Transcript]]
"""Reads one utterance in a language (ISO 639-1, empty = detect), on this machine: recordings of people stay here."""


class Processing:
    """The `Work` of jobs that make clips, and their start; all methods are for the backend's loop.

    Args:
        jobs: Runs them.
        bus: Told of files.
        host: Decodes clips for the recogniser where they are not plain.
        speakers, uploads, clips: What it works on.
        hear: Reads what has no transcript.
    """

    can_resume = True

    def __init__(
        self,
        jobs: Jobs,
        bus: EventBus,
        host: EngineHost,
        *,
        speakers: Speakers,
        uploads: Uploads,
        clips: Clips,
        hear: Hear,
    ) -> None:
        self._jobs = jobs
        self._bus = bus
        self._host = host
        self._speakers = speakers
        self._uploads = uploads
        self._clips = clips
        self._hear = hear
        self._fresh: dict[str, list[ClipRow]] = {}
        self._told_s: dict[str, float] = {}

    async def start(
        self,
        upload_ids: Sequence[str],
        label: Label,
        *,
        denoise: bool = False,
        transcribe: bool = True,
    ) -> str:
        """Queue the cutting of these recordings; returns the job's id.

        Args:
            upload_ids: Recordings, and lists of their transcripts.
            label: What holds for all of them; what is empty is as each upload says.
            denoise: Lower the steady noise of every clip; the sound from before is kept in the recording.
            transcribe: Have what has no transcript read by the recogniser.

        Raises:
            NotFoundError: An upload or the speaker is not there.
            InvalidInputError: No recording is among them, or they are of several speakers.
        """
        if label.speaker:
            self._speakers.known(label.speaker)
        if label.language:
            label = replace(label, language=checked_language(label.language))
        stored = [self._uploads.known(upload_id) for upload_id in dict.fromkeys(upload_ids)]
        if not any(one.kind == "sound" for one in stored):
            raise InvalidInputError(
                "There is no recording among these uploads, only lists of transcripts. Send them together."
            )
        specs = [self._uploads.spec(one, label) for one in stored]
        whose = {spec.speaker for spec in specs}
        if len(whose) > 1:
            raise InvalidInputError(
                f"These recordings are of {len(whose)} speakers ({', '.join(sorted(whose))}). Process those of one at a "
                "time, or say whose voice all of them are."
            )
        speaker = self._speakers.known(next(iter(whose)))
        language = label.language or next((one.language for one in stored if one.language), "")
        spec = JobSpec(
            id="",
            command="process",
            name=_title(stored),
            speaker=speaker.id,
            language=language or speaker.language,
            options=_options("cut", denoise=denoise),
        )
        job = await self._jobs.start(
            "process",
            spec,
            prepare=lambda folder: write_uploads(folder, specs),
            memory={
                "uploads": [one.id for one in stored],
                "transcribe": transcribe,
                "denoise": denoise,
                "language": spec.language,
            },
        )
        return job.id

    # --- the work of a job ---

    async def work(self, run: Run) -> dict[str, object]:
        """Cut, transcribe, check."""
        run.memory["phase"] = "cut"
        await self._job_file(run, "cut")
        cut = await run.trainer("process", phase="cut")
        await self._take_the_rest(run)
        await self._tell(run)
        if run.memory.get("transcribe", True):
            await self._transcribe(run)
        await self._check(run)
        self._clips.tell(await self._clips.settle(run.job.id), "clips accepted")
        return await self._result(run, cut)

    async def on_line(self, run: Run, line: Line) -> None:
        """A file that was read, or a clip that was cut or checked."""
        if line["kind"] == "file":
            await self._on_file(run, line)
        elif line["kind"] == "clip" and "path" not in line:
            text = str(line.get("text", ""))
            judged = await self._clips.judge(
                str(line["uid"]),
                str(line.get("grade", "")),
                _words(line.get("reasons")),
                _numbers(line.get("measures")),
                text,
            )
            await self._note(run, judged)
        elif line["kind"] == "clip":
            made = _made(run.folder, line, self._uploads.find(str(line.get("upload", ""))))
            await self._note(run, await self._clips.arrive(made, run.job.id))

    async def _take_the_rest(self, run: Run) -> None:
        """Take in what could not be taken in when it was told (a full disk): no clip is left behind in a job's folder.

        Raises:
            AppError: It still cannot be; the job fails and can be resumed.
        """
        left = await asyncio.to_thread(_left_behind, run.folder)
        for line in left:
            await self.on_line(run, line)

    async def _on_file(self, run: Run, line: Line) -> None:
        upload_id, problem = str(line.get("upload", "")), str(line.get("problem") or "")
        filename = str(line.get("filename", ""))
        files: dict[str, Any] = run.memory.setdefault("files", {})
        is_new = upload_id not in files
        files[upload_id] = {
            "filename": filename,
            "problem": problem,
            "clips": int(line.get("clips") or 0),
            "seconds": float(line.get("seconds") or 0.0),
        }
        await self._uploads.processed(upload_id, problem)
        if problem:
            run.warn(problem if filename and filename in problem else f"{filename}: {problem}")
        elif is_new:
            run.publish(
                AudioProcessed(
                    filename=filename,
                    duration_s=float(line.get("seconds") or 0.0),
                    rate_hz=int(line.get("rate_hz") or 0),
                )
            )

    async def _note(self, run: Run, row: ClipRow | None) -> None:
        if row is not None:
            self._fresh.setdefault(run.job.id, []).append(row)
            if monotonic_s() - self._told_s.get(run.job.id, 0.0) >= TELL_EVERY_S:
                await self._tell(run)

    async def _tell(self, run: Run) -> None:
        """Say which clips are new; once a second is often enough for a table."""
        self._told_s[run.job.id] = monotonic_s()
        fresh = self._fresh.pop(run.job.id, [])
        if fresh:
            phase = {"transcribe": "transcribed", "check": "checked"}.get(
                str(run.memory.get("phase")), "cut"
            )
            self._clips.tell(fresh, f"{_counted(len(fresh), 'clip')} {phase}")

    async def _transcribe(self, run: Run) -> None:
        """Have everything read that has no transcript; turns go first."""
        waiting = [row for row in await self._clips.of_job(run.job.id) if not row.transcript]
        if not waiting:
            return
        run.memory["phase"] = "transcribe"
        await run.phase("transcribe", f"Reading {len(waiting)} clips.")
        failures = 0
        for n, row in enumerate(waiting):
            run.progress(n / len(waiting), f"Reading clip {n + 1} of {len(waiting)}.")
            await self._jobs.quiet()
            try:
                await self._read(run, row)
                failures = 0
            except EngineUnavailableError as error:
                run.warn(f"{len(waiting) - n} clips need a transcript. {error.message}")
                break
            except AppError as error:
                failures += 1
                logger.info("job %s: clip %s was not read: %s", run.job.id, row.id, error.message)
                if failures >= MOST_FAILURES:
                    run.warn(
                        f"Reading stopped after {failures} failures in a row; {len(waiting) - n} clips need a transcript. "
                        f"The last one: {error.message}"
                    )
                    break
        run.progress(1.0, "")
        await self._tell(run)

    async def _read(self, run: Run, row: ClipRow) -> None:
        assert row.id is not None
        assert row.uid is not None
        data = await self._clips.sound(row.id)
        audio = await decode_audio(self._host, data, name=row.filename)
        tongue = (row.language or str(run.memory.get("language", ""))).partition("-")[0]
        found = await self._hear(audio, _ISO.get(tongue, tongue))
        text = " ".join(found.text.split())
        if text:
            text_from = "recogniser" if found.engine == "sphinx" else "whisper"
            heard = await self._clips.hear(row.uid, text, text_from, row.language)
            await self._note(run, heard)

    async def _check(self, run: Run) -> None:
        """Let the trainer compare words and sound of what was not compared yet."""
        rows = [
            row
            for row in await self._clips.of_job(run.job.id)
            if row.transcript and "match" not in row.measures
        ]
        done = run.memory.get("_done", {})
        if not rows and "check" not in done and run.memory.get("_phase") != "check":
            return
        run.memory["phase"] = "check"
        if run.memory.get("_phase") != "check":
            specs = self._clips.specs(rows)
            await asyncio.to_thread(write_clips, run.folder, specs)
            await self._job_file(run, "check")
        await run.trainer("process", phase="check")
        await self._tell(run)

    async def _job_file(self, run: Run, phase: str) -> None:
        spec = JobSpec(
            id=run.job.id,
            command="process",
            name=run.job.name,
            speaker=run.job.speaker,
            language=str(run.memory.get("language", "en-us")),
            options=_options(phase, denoise=bool(run.memory.get("denoise"))),
        )
        await asyncio.to_thread(write_job, run.folder, spec)

    async def _result(self, run: Run, cut: Mapping[str, Any]) -> dict[str, object]:
        rows = await self._clips.of_job(run.job.id)
        grades = {
            grade: count
            for grade in ("A", "B", "C")
            if (count := sum(row.grade == grade for row in rows))
        }
        silent = sum(not row.transcript for row in rows)
        files: dict[str, Any] = run.memory.get("files", {})
        refused = sum(bool(one["problem"]) for one in files.values())
        used = sum(bool(one["clips"]) for one in files.values())
        parts = ", ".join(f"{count} {grade}" for grade, count in grades.items())
        summary = f"{_counted(len(rows), 'clip')} from {_counted(used, 'file')}" + (
            f" ({parts})" if parts else ""
        )
        if silent:
            summary += f"; {_counted(silent, 'clip')} without a transcript"
        if refused:
            summary += f"; {_counted(refused, 'file')} could not be used"
        await asyncio.to_thread(_tidy, run.folder)
        self._told_s.pop(run.job.id, None)
        return {
            **cut,
            "summary": f"{summary}.",
            "clips": len(rows),
            "accepted": sum(row.status == "accepted" for row in rows),
            "grades": grades,
            "needs_text": silent,
            "files": list(files.values()),
        }


class Checks:
    """Compares transcripts that people wrote with the sound, in the background, a burst of edits at a time.

    Args:
        jobs: Says how the trainer is started, and when the stream is quiet.
        clips: Whose transcripts they are.
        folder: For the files of a check; emptied at start.
    """

    def __init__(self, jobs: Jobs, clips: Clips, speakers: Speakers, folder: Path) -> None:
        self._jobs = jobs
        self._clips = clips
        self._speakers = speakers
        self._folder = folder
        self._waiting: set[str] = set()
        self._task: asyncio.Task[None] | None = None
        self._changed = asyncio.Event()

    async def open(self) -> None:
        """Remove what a check left behind that was cut short."""
        await asyncio.to_thread(shutil.rmtree, self._folder, ignore_errors=True)

    def want(self, rows: Sequence[ClipRow]) -> None:
        """Have these checked soon."""
        self._waiting |= {row.uid for row in rows if row.uid}
        self._changed.set()
        if self._waiting and (self._task is None or self._task.done()):
            self._task = asyncio.get_running_loop().create_task(
                self._run(), name="checking transcripts"
            )

    async def close(self) -> None:
        """End what runs; an unchecked transcript is checked by the doctor."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def idle(self) -> None:
        """Wait until nothing is left to be checked."""
        if self._task is not None:
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        while self._waiting:
            self._changed.clear()
            try:
                async with asyncio.timeout(CHECK_AFTER_S):
                    await self._changed.wait()
                continue  # somebody still types
            except TimeoutError:
                pass
            await self._jobs.quiet()
            uids, self._waiting = self._waiting, set()
            try:
                await self._check([r for r in await self._clips.by_uids(uids) if r.transcript])
            except AppError as error:
                logger.info("transcripts could not be checked: %s", error.message)
            except Exception:
                logger.exception("transcripts could not be checked")

    async def _check(self, rows: Sequence[ClipRow]) -> None:
        by_language: dict[str, list[ClipRow]] = {}
        for row in rows:
            language = row.language
            if not language and self._speakers.find(row.speaker) is not None:
                language = self._speakers.known(row.speaker).language
            by_language.setdefault(language or "en-us", []).append(row)
        for language, some in by_language.items():
            specs = self._clips.specs(some)
            folder = self._folder / uuid4().hex
            await asyncio.to_thread(_prepare_check, folder, specs, language)
            try:
                await self._run_trainer(folder)
                lines = await asyncio.to_thread(_lines, folder)
            finally:
                await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)
            judged = []
            for line in lines:
                if line["kind"] == "clip":
                    judged.append(
                        await self._clips.judge(
                            str(line.get("uid", "")),
                            str(line.get("grade", "")),
                            _words(line.get("reasons")),
                            _numbers(line.get("measures")),
                            str(line.get("text", "")),
                        )
                    )
            self._clips.tell([row for row in judged if row is not None], "transcripts checked")

    async def _run_trainer(self, folder: Path) -> None:
        options = self._jobs.options
        try:
            process = await runner.start_or_end(
                "process", folder, options.environment, options.program
            )
        except OSError as error:
            raise InvalidInputError(f"The trainer could not be started: {error}.") from error
        try:
            async with asyncio.timeout(LONGEST_CHECK_S):
                while True:
                    if await asyncio.to_thread(process.has_ended):
                        return
                    await asyncio.sleep(POLL_S)
        except TimeoutError as error:
            raise InvalidInputError(f"The check took longer than {LONGEST_CHECK_S:g} s.") from error
        finally:
            if not process.has_ended():
                process.kill()
                await asyncio.to_thread(process.reap)


_ISO = {"cmn": "zh", "yue": "zh"}
"""Tongues that espeak and Whisper name differently."""


def _options(phase: str, *, denoise: bool) -> dict[str, Any]:
    """What the trainer is told besides the files."""
    return {"phase": phase, "denoise": denoise}


def _counted(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"


def _title(stored: Sequence[Stored]) -> str:
    sounds = [one.filename for one in stored if one.kind == "sound"]
    return sounds[0] if len(sounds) == 1 else f"{len(sounds)} recordings"


def _made(folder: Path, line: Line, upload: Stored | None) -> Made:
    """A clip from its line.

    Raises:
        InvalidInputError: It lies outside of its job's folder.
        KeyError, TypeError, ValueError: The line is not as it must be.
    """
    path = _inside(folder, str(line["path"]))
    before = str(line.get("before") or "")
    return Made(
        uid=str(line["uid"]),
        path=path,
        upload_id=str(line.get("upload", "")),
        source=upload.filename if upload else "",
        start_s=float(line.get("start_s") or 0.0),
        end_s=float(line.get("end_s") or 0.0),
        duration_s=float(line["duration_s"]),
        text=str(line.get("text") or ""),
        text_from=str(line.get("text_from") or ""),
        speaker=str(line.get("speaker") or (upload.speaker if upload else "")),
        emotion=str(line.get("emotion") or ""),
        language=str(line.get("language") or ""),
        grade=str(line.get("grade") or ""),
        reasons=_words(line.get("reasons")),
        measures=_numbers(line.get("measures")),
        prompt_id=upload.prompt_id if upload else "",
        before=_inside(folder, before) if before else None,
    )


def _inside(folder: Path, name: str) -> Path:
    path = (folder / name).resolve()
    if not path.is_relative_to(folder.resolve()):
        raise InvalidInputError(f"A clip lies outside of its job's folder: {name!r}.")
    return path


def _prepare_check(folder: Path, specs: list[ClipSpec], language: str) -> None:
    folder.mkdir(parents=True)
    write_clips(folder, specs)
    spec = JobSpec(
        id=folder.name, command="process", language=language, threads=1, options={"phase": "check"}
    )
    write_job(folder, spec)


def _lines(folder: Path) -> list[dict[str, Any]]:
    return list(ProgressReader(folder).read())


def _left_behind(folder: Path) -> list[dict[str, Any]]:
    """Clips that were told and still lie in the job's folder."""
    return [
        line
        for line in ProgressReader(folder).read()
        if line["kind"] == "clip" and "path" in line and (folder / str(line["path"])).is_file()
    ]


def _words(found: object) -> tuple[str, ...]:
    return tuple(str(one) for one in found) if isinstance(found, list) else ()


def _numbers(found: object) -> dict[str, float]:
    if not isinstance(found, Mapping):
        return {}
    return {
        str(name): float(value)
        for name, value in found.items()
        if isinstance(value, int | float) and not isinstance(value, bool)
    }


def _tidy(folder: Path) -> None:
    """What was handed over need not lie in the job's folder too."""
    shutil.rmtree(folder / "clips", ignore_errors=True)
