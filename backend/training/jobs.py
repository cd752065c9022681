"""Jobs of voice training: a queue, a folder and a row each, one child process at a time, followed until the end.

What a kind of job does is its `Work`, registered once at start: a plain coroutine that runs the trainer through its `Run`
and does its own part between the child's phases. Every job can be taken up again after a restart: `Run.trainer` finds the
child that still runs, or what it said before it ended, and a phase that is done is not done again. Lines may be told a
second time after a crash, so a Work must bear that (clips are known by their uid).

States of a job reach the disk before they are told. All methods are for the backend's loop.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import math
import os
import re
import shutil
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field, replace
from pathlib import Path
from secrets import token_hex
from typing import Any, Literal, Protocol, get_args

from backend.contracts.errors import AppError, ConflictError, InvalidInputError, NotFoundError
from backend.contracts.events import (
    AnyEvent,
    TrainingCompleted,
    TrainingFailed,
    TrainingProgress,
    TrainingStarted,
    TrainingState,
    TrainingWarning,
    TurnFinished,
    TurnStarted,
)
from backend.contracts.training import Job, JobKind, JobState
from backend.core.background import Background
from backend.core.bus import EventBus
from backend.core.clock import monotonic_s, now
from backend.storage import training_jobs as rows
from backend.storage.database import Database
from backend.storage.text import storable
from backend.storage.training_jobs import StoredJob
from backend.training import runner
from backend.training.runner import TrainerProcess
from voice_trainer.protocol import (
    Command,
    Control,
    JobSpec,
    ProgressReader,
    read_control,
    write_control,
    write_job,
)

logger = logging.getLogger(__name__)

ENDED: frozenset[JobState] = frozenset({"done", "failed", "cancelled", "interrupted"})
RESUMABLE: frozenset[JobState] = ENDED - {"done"}
STATES: frozenset[JobState] = frozenset(get_args(JobState))
MOST_WARNINGS = 20
LONGEST_MESSAGE = 2000
LARGEST_COUNT = 2**53
"""Steps: what every reader of JSON can hold."""
SAVE_EVERY_S = 2.0
KEEP_AGAIN_S = 5.0
LONGEST_TURN_S = 300.0
PROGRESS_EVERY_S = 0.25
STARTING = "Starting."
STARTS_SLOWLY = (
    "Starting. This computer is busy with other programs, and the trainer gives way to them."
)
LANES = ("train", "process", "doctor", "export")
"""One job at a time in each: a training, a processing and an examination may run side by side, two trainings may not."""

ID = re.compile(r"[a-z0-9][a-z0-9-]{0,63}")

Line = dict[str, Any]
Ending = Literal["failed", "cancelled", "interrupted"]


class JobEndsError(Exception):
    """The job cannot go on.

    Attributes:
        state: What becomes of it.
        code: Stable name of the reason.
        message: What happened and what to do.
    """

    def __init__(self, state: Ending, code: str, message: str) -> None:
        super().__init__(message)
        self.state = state
        self.code = code
        self.message = message


@dataclass(frozen=True, slots=True)
class Options:
    """How jobs are run.

    Attributes:
        folder: Where every job gets a folder of its own.
        environment: All that the trainer may know of ours.
        program: What is started; command and folder are added.
        on_close: What becomes of running jobs when Luma ends.
        poll_s: Pause between two looks at a job's files.
        stop_s: How long a trainer may take to save and end before the system asks it to; as long again, then it is killed.
        starts_s: A trainer that says its first word later than this is said to give way to other programs.
        silent_s: After so long without a line the user is told.
        quiet_s: So long after a turn the trainer gets its threads back.
    """

    folder: Path
    environment: Mapping[str, str] = field(default_factory=dict)
    program: Sequence[str] = runner.PROGRAM
    on_close: Literal["keep", "stop"] = "keep"
    poll_s: float = PROGRESS_EVERY_S
    stop_s: float = 30.0
    starts_s: float = 15.0
    silent_s: float = 600.0
    quiet_s: float = 3.0


class Work(Protocol):
    """What a kind of job does.

    Attributes:
        can_resume: Whether a job that was interrupted, failed or stopped can go on where it was.
    """

    can_resume: bool

    async def work(self, run: Run) -> dict[str, object]:
        """Do the whole job.

        Runs again from its beginning when the job is taken up after a restart or resumed.

        Returns:
            The job's result; "summary" in it is the sentence of `training.completed`.

        Raises:
            AppError: It failed; the message says what to do.
        """
        ...

    async def on_line(self, run: Run, line: Line) -> None:
        """A line of the trainer that is not a state, a progress, a warning or an end."""
        ...


class Run:
    """A job under way: what its `Work` may know, ask and tell."""

    def __init__(self, jobs: Jobs, stored: StoredJob) -> None:
        self._jobs = jobs
        self.job = stored.job
        self.memory = stored.memory
        """What must survive a restart (JSON); `save` keeps it. Names that begin with "_" are the queue's own."""
        self.folder = jobs.options.folder / self.job.id
        self.control = Control()
        self.process: TrainerProcess | None = None
        self.task: asyncio.Task[None] | None = None
        self.is_driven = asyncio.Event()
        self.is_stopping = False
        self._stop_asked_s = monotonic_s()
        self._is_starting = False
        self._control_writer: asyncio.Task[None] | None = None
        self._control_wanted = False
        self._last_state: str = ""
        self._ending: Line | None = None
        self._progress_told_s = float("-inf")
        self._progress_waits = False
        self._saved_s = float("-inf")
        self._began_s = monotonic_s()
        self._elapsed_before_s = self.job.elapsed_s
        self._silent_since_s = monotonic_s()
        self._told_silent = False

    @property
    def lane(self) -> str:
        """In which queue it waits."""
        return str(self.memory.get("_lane", self.job.kind))

    def begin(self) -> None:
        """It has left the queue: its time counts from now."""
        self._began_s = monotonic_s()

    # --- for its Work ---

    async def phase(self, state: JobState, message: str = "") -> None:
        """Another state, on disk before it is told."""
        changes: dict[str, object] = {
            "state": state,
            "message": storable(message)[:LONGEST_MESSAGE],
        }
        if state not in ENDED and state != "queued" and self.job.started_at is None:
            changes["started_at"] = now()
        if state != self.job.state and state not in ENDED and state != "paused":
            changes |= {"progress": None, "eta_s": None}
        if state in ENDED:
            changes["ended_at"] = now()
            changes["can_resume"] = state != "done" and self._jobs.is_resumable(self.job.kind)
        self.update(**changes)
        await self.save(durable=True)
        self._jobs.publish(
            TrainingState(
                job_id=self.job.id,
                kind=self.job.kind,
                state=state,
                reason=self.job.message,
                severity="WARNING" if state == "interrupted" else "INFO",
            )
        )

    def progress(self, fraction: float | None, message: str = "", **fields: object) -> None:
        """How far the job is; told at most four times a second, the newest figures always in the end.

        Args:
            fraction: 0-1, None when it cannot be known.
            message: What it does, in words.
            **fields: Further fields of the job.
        """
        self.update(progress=fraction, message=message[:LONGEST_MESSAGE], **fields)
        self._progress_waits = True
        self.tell_progress()

    def tell_progress(self) -> None:
        """Publish the figures if they are new and the last ones are old enough."""
        if (
            not self._progress_waits
            or monotonic_s() - self._progress_told_s < PROGRESS_EVERY_S * 0.9
        ):
            return
        self._progress_waits = False
        self._progress_told_s = monotonic_s()
        job = self.job
        self._jobs.publish(
            TrainingProgress(
                job_id=job.id,
                kind=job.kind,
                state=job.state,
                progress=job.progress,
                step=job.step,
                steps=job.steps,
                loss=job.loss,
                losses=job.losses,
                steps_per_s=job.steps_per_s,
                eta_s=job.eta_s,
                memory_mb=job.memory_mb,
                verdict=job.verdict,
                note=job.message,
            )
        )

    def warn(self, message: str) -> None:
        """Something the user should know; the job goes on."""
        message = storable(message)[:LONGEST_MESSAGE]
        if message in self.job.warnings:
            return
        self.update(warnings=(*self.job.warnings, message)[-MOST_WARNINGS:])
        self._jobs.publish(TrainingWarning(job_id=self.job.id, reason=message))

    def publish(self, event: AnyEvent) -> None:
        """Tell something else about this job."""
        self._jobs.publish(event.model_copy(update={"job_id": self.job.id}))

    def update(self, **fields: object) -> None:
        """Change fields of the job; kept with the next `save`."""
        self.job = self.job.model_copy(update=fields)

    async def save(self, *, durable: bool = False) -> None:
        """Keep job and memory; a database that cannot write is told by itself and does not end a training."""
        self._saved_s = monotonic_s()
        if not self.job.ended_at:
            self.update(elapsed_s=round(self._elapsed_before_s + monotonic_s() - self._began_s, 1))
        await self._jobs.keep(StoredJob(self.job, deepcopy(self.memory)), durable=durable)

    async def trainer(self, command: Command, *, phase: str = "") -> dict[str, Any]:
        """Run the trainer on this job to its end, or go on with what it did before a restart.

        Args:
            command: What it is to do.
            phase: Tells two calls with the same command apart; empty = the command.

        Returns:
            The result in its line "done".

        Raises:
            JobEndsError: It ended otherwise.
        """
        phase = phase or command
        done: dict[str, Any] = self.memory.setdefault("_done", {})
        if phase in done:
            found: dict[str, Any] = done[phase]
            return found
        process: TrainerProcess | None = None
        if self.memory.get("_phase") == phase:
            self._is_starting = True  # it may run: only the trainer itself can be stopped
            try:
                process = self.process = await asyncio.to_thread(
                    runner.find,
                    self.folder,
                    int(self.memory.get("_pid", 0)),
                    float(self.memory.get("_created_at", 0.0)),
                )
            finally:
                self._is_starting = False
            if process is not None:
                since_s = now().timestamp() - process.created_at
                self._elapsed_before_s = max(self._elapsed_before_s, since_s)
        else:
            self.memory |= {"_phase": phase, "_pid": 0}
            self._is_starting = True  # from here on only the trainer itself can be stopped
            try:
                await self.save(durable=True)
                await self._write_control()
                # Known at once: whoever stops the job from here on stops the trainer, not who follows it.
                process = self.process = await asyncio.to_thread(
                    runner.start,
                    command,
                    self.folder,
                    self._jobs.options.environment,
                    self._jobs.options.program,
                )
            except OSError as error:
                raise JobEndsError(
                    "failed", "trainer.start", f"The trainer could not be started: {error}."
                ) from error
            finally:
                self._is_starting = False
            self.memory |= {"_pid": process.pid, "_created_at": process.created_at}
            await self.save(durable=True)
            if self.is_stopping:  # asked for while it was started; the file may say something older
                await self.steer(order="stop")
        try:
            await self._follow(process)
        finally:
            self.process = None
        result = await self._result(process)
        done[phase] = result
        self.memory.pop("_phase", None)
        await self.save(durable=True)
        return result

    # --- following ---

    async def _follow(self, process: TrainerProcess | None) -> None:
        """Read what the trainer says until it has ended and everything is read."""
        reader = ProgressReader(self.folder, int(self.memory.get("_offset", 0)))
        self._ending = None
        self._last_state = ""
        self._silent_since_s = monotonic_s()
        while True:
            # First whether it lives, then what it said: its last lines are read after its end.
            has_ended = process is None or await asyncio.to_thread(process.has_ended)
            lines = await asyncio.to_thread(runner.read_some, reader)
            for line in lines:
                await self._take(line)
            self.memory["_offset"] = reader.offset
            if lines:
                self._silent_since_s = monotonic_s()
                self._told_silent = False
            self.tell_progress()
            if monotonic_s() - self._saved_s > SAVE_EVERY_S and lines:
                await self.save()
            if lines:
                if len(lines) == runner.LINES_AT_ONCE:
                    continue
            elif has_ended:
                return
            if process is not None and not has_ended:
                self._look_after(process)
                await asyncio.sleep(self._jobs.options.poll_s)

    def _look_after(self, process: TrainerProcess) -> None:
        """End a trainer that does not stop by itself; tell of one that says nothing."""
        options = self._jobs.options
        if self.is_stopping:
            waited_s = monotonic_s() - self._stop_asked_s
            if waited_s > 2 * options.stop_s:
                process.kill()
            elif waited_s > options.stop_s:
                process.terminate()
        silent_s = monotonic_s() - self._silent_since_s
        if silent_s > options.starts_s and self.job.message == STARTING:
            self.progress(None, STARTS_SLOWLY)
        if (
            silent_s > options.silent_s
            and not self._told_silent
            and self.job.state not in ("paused", "queued")
        ):
            self._told_silent = True
            self.warn(
                f"The trainer has said nothing for {silent_s / 60:.0f} minutes while in {self.job.state!r}"
                f" (step {self.job.step:,}). It may be busy or hang; if nothing changes, stop the job and"
                " resume it: it goes on from the last checkpoint."
            )

    async def _take(self, line: Line) -> None:
        match line["kind"]:
            case "state":
                await self._take_state(line)
            case "progress":
                self._take_progress(line)
            case "warning":
                self.warn(str(line.get("message", "")))
            case "done" | "error":
                self._ending = line
            case _:
                try:
                    await self._jobs.work_of(self.job.kind).on_line(self, line)
                except AppError as error:
                    self.warn(error.message)
                except (KeyError, TypeError, ValueError):
                    logger.exception(
                        "job %s: a line %r could not be read", self.job.id, line["kind"]
                    )

    async def _take_state(self, line: Line) -> None:
        state = str(line.get("state", ""))
        self._last_state = state
        # Its ends are told when the process has ended and our part is done.
        if state in STATES and state not in ENDED and state != self.job.state:
            await self.phase(state, str(line.get("message") or ""))

    def _take_progress(self, line: Line) -> None:
        fields: dict[str, object] = {}
        for name in ("step", "steps"):
            if (count := _number(line.get(name))) is not None and count <= LARGEST_COUNT:
                fields[name] = int(count)
        for name in ("steps_per_s", "eta_s", "memory_mb"):
            fields[name] = _number(line.get(name))
        losses = line.get("loss")
        if isinstance(losses, dict):
            numbers = {storable(str(name)): _finite(value) for name, value in losses.items()}
            fields["losses"] = {name: value for name, value in numbers.items() if value is not None}
            fields["loss"] = numbers.get("train")
        if isinstance(line.get("verdict"), str):
            fields["verdict"] = storable(line["verdict"])[:LONGEST_MESSAGE]
        fields["elapsed_s"] = round(self._elapsed_before_s + monotonic_s() - self._began_s, 1)
        fraction = _number(line.get("fraction"))
        self.update(
            progress=None if fraction is None else min(1.0, max(0.0, fraction)),
            message=storable(str(line.get("message") or ""))[:LONGEST_MESSAGE],
            **fields,
        )
        self._progress_waits = True

    async def _result(self, process: TrainerProcess | None) -> dict[str, Any]:
        """What the trainer's end means."""
        ending = self._ending
        if ending is not None and ending["kind"] == "done":
            result = ending.get("result")
            return result if isinstance(result, dict) else {}
        code = process.exit_code if process is not None else None
        resume = " Resume goes on from the last checkpoint." if self.job.step else ""
        if self.memory.pop("_closing", False) and self._last_state in ("cancelled", "interrupted"):
            raise JobEndsError("interrupted", "closed", f"It was stopped when Luma closed.{resume}")
        if self.is_stopping or self._last_state == "cancelled":
            raise JobEndsError("cancelled", "stopped", "Stopped.")
        if ending is not None:
            reason = str(ending.get("message") or "The trainer failed without a reason.")
            code_name = str(ending.get("code") or "trainer.failed")
            state: Ending = "interrupted" if code_name in CURABLE else "failed"
            raise JobEndsError(state, code_name, reason)
        tail = await asyncio.to_thread(runner.log_tail, self.folder, 5)
        tail = [line for line in tail if line.strip()]
        has_failed = code is not None and code > 0
        if await asyncio.to_thread(_is_full, self.folder) or (has_failed and _says_full(tail)):
            raise JobEndsError(
                "interrupted",
                "disk.full",
                f"The disk is full, so the trainer could not go on. Make room, then resume.{resume}",
            )
        words = runner.died_in_words(code)
        if code is None or code < 0 or self._last_state == "interrupted":
            raise JobEndsError("interrupted", "trainer.killed", words + resume)
        last = f" The last line of its log: {tail[-1].strip()[:300]}" if tail else ""
        raise JobEndsError("failed", "trainer.died", words + last)

    # --- steering ---

    async def steer(self, **changes: Any) -> None:
        """Change what is asked of the trainer; many changes in one moment are one file."""
        self.control = replace(self.control, **changes)
        self._control_wanted = True
        if self._control_writer is None or self._control_writer.done():
            self._control_writer = asyncio.create_task(self._write_controls())
        await asyncio.shield(self._control_writer)

    async def _write_controls(self) -> None:
        while self._control_wanted:
            self._control_wanted = False
            await self._write_control()

    async def _write_control(self) -> None:
        try:
            await asyncio.to_thread(write_control, self.folder, self.control)
        except OSError as error:
            self.warn(f"The trainer could not be told what to do ({error}); it goes on as it was.")

    async def stop(self) -> None:
        """Ask for the end; a trainer that does not obey is ended, however often it is asked."""
        if not self.is_stopping:
            self._stop_asked_s = monotonic_s()
        self.is_stopping = True
        if self.process is not None or self._is_starting:
            await self.steer(order="stop")
        elif self.task is not None:
            await self.is_driven.wait()  # a task that was never entered could not say how it ended
            self.task.cancel()


CURABLE = frozenset({"disk.full", "memory.full"})
"""Errors of the trainer after which nothing is lost: the job is interrupted, and resumed when there is room again."""


class Jobs:
    """All jobs.

    Args:
        database: Keeps their rows.
        bus: Hears of them.
        options: May be replaced while jobs run; what they began with, they keep.
    """

    def __init__(self, database: Database, bus: EventBus, options: Options) -> None:
        self._database = database
        self._bus = bus
        self.options = options
        self._works: dict[JobKind, Work] = {}
        self._runs: dict[str, Run] = {}
        self._lanes = {lane: asyncio.Semaphore() for lane in LANES}
        self._tasks = Background(logger)
        self._deleting: set[str] = set()
        self._unkept: dict[str, StoredJob] = {}
        self._keeper: asyncio.Task[None] | None = None
        self._turns: set[str] = set()
        self._quiet = asyncio.Event()
        self._quiet.set()
        self._is_closing = False

    # --- start and end of the program ---

    def register(self, kind: JobKind, work: Work) -> None:
        """Say what jobs of a kind do; call before `open`."""
        self._works[kind] = work

    def work_of(self, kind: JobKind) -> Work:
        """What jobs of this kind do."""
        return self._works[kind]

    def is_resumable(self, kind: JobKind) -> bool:
        """Whether jobs of this kind can go on after an interruption."""
        return kind in self._works and self._works[kind].can_resume

    async def open(self) -> None:
        """Take up what was under way when the program ended: follow what still runs, queue what waited."""
        self._tasks.spawn(self._watch_turns(), "turns, for the trainer's sake")
        open_states = sorted(STATES - ENDED)
        left = await self._database.read(lambda c: rows.in_states(c, open_states))
        for stored in sorted(left, key=lambda one: one.job.state == "queued"):
            if stored.job.kind in self._works:
                run = Run(self, stored)
                run.control = await asyncio.to_thread(read_control, run.folder)
                run.control = replace(run.control, threads=0)
                run.is_stopping = bool(run.memory.get("_stopping"))
                self._drive_soon(run)

    async def close(self) -> None:
        """Let go: children go on or are asked to stop, as the settings say; nobody waits for them."""
        self._is_closing = True
        runs = [(run, run.process) for run in self._runs.values() if run.process is not None]
        if self.options.on_close == "stop":
            for run, _ in runs:
                run.memory["_closing"] = True
                await run.steer(order="stop")
        elif runs:
            await asyncio.gather(*(run.steer(threads=0) for run, _ in runs if run.control.threads))
        await self._tasks.close()
        for run, process in runs:
            process.let_go()
            await run.save(durable=True)

    # --- for callers ---

    async def start(
        self,
        kind: JobKind,
        spec: JobSpec,
        *,
        prepare: Callable[[Path], None],
        character_id: str = "",
        lane: str = "",
        memory: Mapping[str, object] | None = None,
    ) -> Job:
        """Queue a new job.

        Args:
            kind: Whose `Work` does it.
            spec: For ``job.json``; its id is chosen here.
            prepare: Called on a worker thread with the new folder, to write what else the trainer needs.
            character_id: Who gets the voice in the end.
            lane: In which of `LANES` it waits; empty = that of its kind.
            memory: What the Work must know later (JSON).

        Raises:
            InvalidInputError: The folder cannot be prepared.
        """
        work = self._works[kind]
        moment = now()
        job_id = f"{kind}-{moment:%Y%m%d-%H%M%S}-{token_hex(3)}"
        folder = self.options.folder / job_id
        try:
            await asyncio.to_thread(_make, folder, replace(spec, id=job_id), prepare)
        except OSError as error:
            await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)
            raise InvalidInputError(
                f"The job's folder {folder} cannot be written ({error}). Make room, or check the data folder."
            ) from error
        except BaseException:
            await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)
            raise
        job = Job(
            id=job_id,
            kind=kind,
            name=spec.name,
            speaker=spec.speaker,
            trainer=spec.trainer if kind == "train" else None,
            character_id=character_id,
            state="queued",
            steps=spec.budget.steps,
            message=self._waits_for(lane or kind),
            export_of=str((memory or {}).get("export_of") or ""),
            created_at=moment,
        )
        stored = StoredJob(job, {**(memory or {}), "_lane": lane or kind})
        await self._database.write(lambda c: rows.put(c, stored), durable=True)
        self.publish(
            TrainingStarted(job_id=job_id, kind=kind, name=spec.name, speaker=spec.speaker)
        )
        logger.info("job %s: queued (%s)", job_id, type(work).__name__)
        run = Run(self, stored)
        self._drive_soon(run)
        return run.job

    async def history(self, kind: JobKind | None = None, speaker: str | None = None) -> list[Job]:
        """Every job, the newest first."""
        found = await self._database.read(lambda c: rows.list_all(c, kind, speaker))
        return [self._live(stored).job for stored in found]

    async def get(self, job_id: str) -> Job:
        """One job.

        Raises:
            NotFoundError: There is none of that id.
        """
        return (await self.stored(job_id)).job

    async def stored(self, job_id: str) -> StoredJob:
        """One job with its memory.

        Raises:
            NotFoundError: There is none of that id.
        """
        found = None
        if ID.fullmatch(job_id):
            found = await self._database.read(lambda c: rows.get(c, job_id))
        if found is None:
            raise NotFoundError(f"There is no job {job_id[:80]!r}.")
        return self._live(found)

    async def of_speaker(self, speaker: str) -> list[Job]:
        """Every job that works or worked with recordings of this speaker, among others or alone."""
        found = await self._database.read(lambda c: rows.of_speaker(c, speaker))
        return [self._live(stored).job for stored in found]

    def folder(self, job: Job) -> Path:
        """Where a job's files lie."""
        return self.options.folder / job.id

    def running(self, job_id: str) -> Run | None:
        """The job's run, None when it is not under way."""
        return self._runs.get(job_id)

    def runs_of(self, job_id: str) -> list[Run]:
        """Jobs under way that read another job's folder."""
        return [run for run in self._runs.values() if run.memory.get("export_of") == job_id]

    async def pause(self, job_id: str) -> Job:
        """Let the trainer wait before its next step.

        Raises:
            NotFoundError: There is no such job.
            ConflictError: It is not running.
        """
        run = await self._steerable(job_id, "paused")
        await run.steer(order="pause")
        return run.job

    async def resume(self, job_id: str) -> Job:
        """Go on after a pause, or after an interruption from the last checkpoint.

        Raises:
            NotFoundError: There is no such job.
            ConflictError: It has nothing to go on with.
        """
        await self._settled(job_id)
        run = self._runs.get(job_id)
        if run is not None and run.process is not None and not run.is_stopping:
            await run.steer(order="run")
            return run.job
        stored = await self.stored(job_id)
        if run is not None:
            raise ConflictError(
                f"{_title(stored.job)} is {stored.job.state}; there is nothing to resume."
            )
        return await self.restart(stored)

    async def restart(self, stored: StoredJob) -> Job:
        """Queue a job again that has ended; its trainer goes on from its last checkpoint.

        Raises:
            ConflictError: It is under way, or cannot go on.
        """
        job = stored.job
        can_go_on = job.state in RESUMABLE and self.is_resumable(job.kind)
        if job.id in self._runs or not can_go_on:
            raise ConflictError(
                f"{_title(job)} is {job.state} and cannot be resumed"
                + ("; start it again." if job.state in RESUMABLE else ".")
            )
        if not await asyncio.to_thread((self.options.folder / job.id).is_dir):
            raise ConflictError(f"{_title(job)}: its folder is gone, so it cannot go on.")
        if job.id in self._deleting:
            raise ConflictError(f"{_title(job)} is being deleted.")
        if job.id in self._runs:  # somebody else was quicker
            raise ConflictError(f"{_title(job)} is {self._runs[job.id].job.state}.")
        for name in ("_phase", "_closing", "_stopping"):
            stored.memory.pop(name, None)
        stored.memory["_done"] = {}
        run = Run(self, stored)
        run.update(ended_at=None, can_resume=False, eta_s=None, warnings=(), code="")
        self._runs[job.id] = run  # before the first await: two resumes must not both begin
        try:
            await run.phase("queued", self._waits_for(run.lane))
        except BaseException:
            del self._runs[job.id]
            raise
        self._drive_soon(run)
        return run.job

    async def stop(self, job_id: str) -> Job:
        """Save and end. Returns at once; the trainer is given half a minute.

        Raises:
            NotFoundError: There is no such job.
            ConflictError: It has ended.
        """
        run = self._runs.get(job_id)
        if run is None:
            job = await self.get(job_id)
            raise ConflictError(f"{_title(job)} is {job.state} already.")
        run.memory["_stopping"] = True
        await run.stop()
        return run.job

    async def ask(self, job_id: str, what: Literal["sample", "checkpoint"]) -> Job:
        """Have the running training speak its test sentence, or save, after this step.

        Raises:
            NotFoundError: There is no such job.
            ConflictError: It is not training.
        """
        run = await self._steerable(job_id, "asked for that")
        await run.steer(**{what: getattr(run.control, what) + 1})
        return run.job

    async def delete(self, job_id: str) -> None:
        """Forget an ended job and delete its folder.

        Raises:
            NotFoundError: There is no such job.
            ConflictError: It is under way.
        """
        await self._settled(job_id)
        job = await self.get(job_id)
        if job_id in self._runs or job.state not in ENDED:
            raise ConflictError(f"{_title(job)} is {job.state}. Stop it first.")
        if self.runs_of(job_id):
            raise ConflictError(f"A checkpoint of {job.name} is being exported. Wait for that.")
        self._deleting.add(job_id)  # from here on nobody resumes it
        try:
            self._unkept.pop(job_id, None)  # or it would be written again when there is room
            await self._database.write(lambda c: rows.delete(c, job_id), durable=True)
            await asyncio.to_thread(shutil.rmtree, self.options.folder / job_id, ignore_errors=True)
        finally:
            self._deleting.discard(job_id)

    async def log(self, job_id: str, tail: int) -> list[str]:
        """The last lines of what its trainer printed."""
        job = await self.get(job_id)
        return await asyncio.to_thread(runner.log_tail, self.folder(job), tail)

    async def quiet(self) -> None:
        """Wait until no turn runs: work that can wait does not disturb the stream."""
        await self._quiet.wait()

    # --- for runs ---

    def publish(self, event: AnyEvent) -> None:
        """Tell everybody."""
        self._bus.publish(event)

    async def keep(self, stored: StoredJob, *, durable: bool) -> None:
        """Write a job's row; one that cannot be written now (the disk is full) is written when it can be."""
        job_id = stored.job.id
        try:
            await self._database.write(lambda c: rows.put(c, stored), durable=durable)
        except AppError as error:
            if job_id not in self._unkept:
                logger.error("job %s: its state could not be kept: %s", job_id, error.message)
            self._unkept[job_id] = stored
            if self._keeper is None or self._keeper.done():
                self._keeper = self._tasks.spawn(
                    self._keep_later(), "keeping jobs when there is room"
                )
        else:
            self._unkept.pop(job_id, None)

    async def _keep_later(self) -> None:
        while self._unkept:
            await asyncio.sleep(KEEP_AGAIN_S)
            for stored in [*self._unkept.values()]:
                await self.keep(stored, durable=True)

    # --- driving ---

    def _drive_soon(self, run: Run) -> None:
        self._runs[run.job.id] = run
        run.task = self._tasks.spawn(self._drive(run), f"job {run.job.id}")

    async def _drive(self, run: Run) -> None:
        """A job from the queue to its end."""
        run.is_driven.set()
        try:
            async with self._lanes[run.lane]:
                run.begin()
                if run.job.state == "queued":  # its child needs seconds before it says something
                    run.progress(None, STARTING)
                try:
                    if self._turns:
                        run.control = replace(run.control, threads=1)
                    result = await self._works[run.job.kind].work(run)
                except JobEndsError as error:
                    await self._end(run, error.state, error.code, error.message)
                except AppError as error:
                    await self._end(run, "failed", error.code, error.message)
                else:
                    await self._finish(run, result)
        except asyncio.CancelledError:
            if self._is_closing or not run.is_stopping:
                raise
            await self._end(run, "cancelled", "stopped", "Stopped.")
        except Exception as error:
            logger.exception("job %s failed", run.job.id)
            await self._end(
                run,
                "failed",
                "internal",
                f"Something went wrong inside Luma ({type(error).__name__}). The log says what happened.",
            )
        finally:
            if not self._is_closing:
                self._runs.pop(run.job.id, None)

    async def _finish(self, run: Run, result: dict[str, object]) -> None:
        job = run.job
        run.update(result=result, progress=1.0, eta_s=None)
        summary = str(result.get("summary") or f"{_title(job)} is done.")
        await run.phase("done", summary)
        self.publish(
            TrainingCompleted(
                job_id=job.id, kind=job.kind, name=job.name, speaker=job.speaker, summary=summary
            )
        )

    async def _end(self, run: Run, state: Ending, code: str, message: str) -> None:
        run.update(eta_s=None, steps_per_s=None, code=code)
        await run.phase(state, message)
        if state == "failed":
            self.publish(
                TrainingFailed(
                    job_id=run.job.id, kind=run.job.kind, code=code, reason=run.job.message
                )
            )

    async def _settled(self, job_id: str) -> None:
        """A job whose end was just told may still be on its way out."""
        run = self._runs.get(job_id)
        if run is not None and run.job.state in ENDED and run.task is not None:
            await asyncio.wait([run.task])

    def _live(self, stored: StoredJob) -> StoredJob:
        """A job under way is newer than its row."""
        run = self._runs.get(stored.job.id)
        if run is not None:
            return StoredJob(run.job, run.memory)
        return self._unkept.get(stored.job.id, stored)

    async def _steerable(self, job_id: str, what: str) -> Run:
        run = self._runs.get(job_id)
        if run is None or run.process is None or run.is_stopping:
            job = await self.get(job_id)
            raise ConflictError(
                f"{_title(job)} is {job.state}; only a job whose trainer runs can be {what}."
            )
        return run

    def _waits_for(self, lane: str) -> str:
        others = [one.job for one in self._runs.values() if one.lane == lane]
        if not others:
            return ""
        title = _title(others[-1])
        return f"Waits for {title[0].lower()}{title[1:]}."

    # --- turns go first ---

    async def _watch_turns(self) -> None:
        def wanted(event: AnyEvent) -> bool:
            return isinstance(event, TurnStarted | TurnFinished)

        with self._bus.subscribe(wanted=wanted) as events:
            while True:
                # A turn whose end nobody told must not slow a training down for ever.
                wait_s = LONGEST_TURN_S if self._turns else self.options.quiet_s
                try:
                    async with asyncio.timeout(None if self._quiet.is_set() else wait_s):
                        items = await events.take()
                except TimeoutError:
                    self._turns.clear()
                    self._quiet.set()
                    await self._share(0)
                    continue
                for item in items:
                    if isinstance(item.event, TurnStarted):
                        self._turns.add(item.event.turn_id or "")
                    else:
                        self._turns.discard(item.event.turn_id or "")
                if not items:
                    return
                if self._turns and self._quiet.is_set():
                    self._quiet.clear()
                    await self._share(1)

    async def _share(self, threads: int) -> None:
        for run in [*self._runs.values()]:
            if run.process is not None:
                await run.steer(threads=threads)
            else:
                run.control = replace(run.control, threads=threads)


def _make(folder: Path, spec: JobSpec, prepare: Callable[[Path], None]) -> None:
    folder.mkdir(parents=True)
    write_job(folder, spec)
    prepare(folder)


def _title(job: Job) -> str:
    what = {"train": "The training", "process": "The processing", "doctor": "The examination"}
    whose = job.name or job.speaker
    return what[job.kind] + (f" of {whose}" if whose else "")


def _finite(value: object) -> float | None:
    """A number that the trainer told, None when it is none: JSON knows numbers that no float can hold."""
    if not isinstance(value, int | float) or isinstance(value, bool):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


def _number(value: object) -> float | None:
    """The same for what is never less than nothing: times, counts, sizes, shares."""
    number = _finite(value)
    return number if number is not None and number >= 0 else None


def _says_full(lines: Sequence[str]) -> bool:
    """Whether the last words of a program are of a file that could not be written."""
    words = [os.strerror(number) for number in (errno.ENOSPC, errno.EFBIG, errno.EDQUOT)]
    return any(word in line for line in lines for word in words)


def _is_full(folder: Path) -> bool:
    """Whether nothing more can be written there: a few blocks are kept for root on some systems."""
    try:
        return shutil.disk_usage(folder).free < 1 << 20
    except OSError:
        return False
