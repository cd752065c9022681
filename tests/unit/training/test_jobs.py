"""Jobs of voice training: real child processes that speak the trainer's protocol, a real database, real folders."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import psutil
import pytest

from backend.contracts.errors import ConflictError, EngineUnavailableError, NotFoundError
from backend.contracts.events import TrainingProgress, TurnFinished, TurnStarted
from backend.contracts.training import Job
from backend.core.bus import EventBus
from backend.core.workers import clean_environment
from backend.storage.database import Database
from backend.training import runner
from backend.training.jobs import STARTS_SLOWLY, Jobs, Line, Options, Run
from tests.fake_trainer import next_weights
from tests.fakes import Watch
from voice_trainer.protocol import (
    Budget,
    ClipSpec,
    JobSpec,
    read_control,
    read_job,
    write_clips,
)

FAKE = (sys.executable, "-m", "tests.fake_trainer")


@dataclass
class Train:
    """A Work that trains and keeps what it was told."""

    can_resume: bool = True
    lines: list[str] = field(default_factory=list)
    after: Any = None

    async def work(self, run: Run) -> dict[str, object]:
        result = await run.trainer("train")
        if self.after is not None:
            await self.after(run)
        return {"weights": result["weights"], "summary": "It speaks."}

    async def on_line(self, run: Run, line: Line) -> None:
        self.lines.append(str(line["kind"]))


@dataclass
class Bench:
    jobs: Jobs
    bus: EventBus
    seen: Watch
    work: Train
    database: Database

    async def start(self, *, steps: int = 20, **options: object) -> Job:
        spec = JobSpec(
            id="",
            command="train",
            name="mika",
            speaker="ann",
            budget=Budget(steps=steps),
            options={"voice": False, **options},
        )
        clips = [ClipSpec(uid=f"c{n}", path=f"{n}.wav", text="hi", duration_s=1.0) for n in (1, 2)]
        return await self.jobs.start(
            "train", spec, prepare=lambda folder: write_clips(folder, clips)
        )

    async def ended(self, job: Job, timeout_s: float = 30.0) -> Job:
        """Wait until nobody works on the job."""
        async with asyncio.timeout(timeout_s):
            while (run := self.jobs.running(job.id)) is not None:
                assert run.task is not None
                await asyncio.wait([run.task])
                await asyncio.sleep(0)
        return await self.jobs.get(job.id)

    async def reached(self, job: Job, **wanted: object) -> Job:
        """Wait until the job has these values."""
        async with asyncio.timeout(20):
            while True:
                now = await self.jobs.get(job.id)
                if all(getattr(now, name) == value for name, value in wanted.items()):
                    return now
                await self.another(job)

    async def step(self, job: Job, least: int) -> Job:
        async with asyncio.timeout(20):
            while (now := await self.jobs.get(job.id)).step < least:
                await self.another(job)
        return now

    async def another(self, job: Job) -> None:
        """Wait for the next event."""
        async with asyncio.timeout(20):
            self.seen._changed.clear()
            await self.seen._changed.wait()

    def states(self, job: Job) -> list[str]:
        return [
            event.state  # type: ignore[union-attr]  # of that type
            for event in self.seen.of("training.state")
            if event.job_id == job.id
        ]


@asynccontextmanager
async def bench(folder: Path, *, work: Train | None = None, **options: Any) -> AsyncIterator[Bench]:
    bus = EventBus()
    bus.bind(asyncio.get_running_loop())
    database = Database("", folder / "data")
    await database.open()
    options = {
        "folder": folder / "data" / "jobs",
        "environment": clean_environment(),
        "program": FAKE,
        "poll_s": 0.02,
        "quiet_s": 0.05,
        **options,
    }
    jobs = Jobs(database, bus, Options(**options))
    work = work or Train()
    jobs.register("train", work)
    jobs.register("doctor", replace(work, can_resume=False))
    try:
        async with Watch(bus) as seen:
            await jobs.open()
            yield Bench(jobs, bus, seen, work, database)
    finally:
        await jobs.close()
        await database.close()


def expected(steps: int) -> int:
    weights = 1234
    for step in range(1, steps + 1):
        weights = next_weights(weights, step, 1234, ["c1", "c2"])
    return weights


async def test_a_training_runs_through_its_states_and_ends_with_a_result(tmp_path: Path) -> None:
    async with bench(tmp_path) as at:
        job = await at.start()
        assert (job.state, job.name, job.speaker) == ("queued", "mika", "ann")
        done = await at.ended(job)
        assert (done.state, done.result["weights"]) == ("done", expected(20))
        assert (done.step, done.steps, done.progress) == (20, 20, 1.0)
        assert done.started_at is not None
        assert done.ended_at is not None
        assert not done.can_resume
        assert at.states(job) == ["preflight", "prepare", "train", "export", "verify", "done"]
        types = [event.type for event in at.seen.events if event.job_id == job.id]
        assert types[0] == "training.started"
        assert types[-1] == "training.completed"
        assert {"checkpoint", "sample", "scores", "picture"} <= set(at.work.lines)
        log = await at.jobs.log(job.id, 5)
        assert log[0] == f"train {job.id}"


async def test_a_training_whose_turn_it_is_says_that_it_starts(tmp_path: Path) -> None:
    async with bench(tmp_path) as at:
        job = await at.start(steps=1)
        told = await at.seen.until("training.progress")
        assert isinstance(told, TrainingProgress)
        assert (told.state, told.note) == ("queued", "Starting.")
        assert (await at.ended(job)).state == "done"


async def test_a_trainer_that_gets_no_computing_time_is_said_to_give_way(tmp_path: Path) -> None:
    starved = (sys.executable, "-c", "import time; time.sleep(60)")
    async with bench(tmp_path, program=starved, starts_s=0.05, stop_s=0.1) as at:
        job = await at.start()
        await at.reached(job, message=STARTS_SLOWLY)
        await at.jobs.stop(job.id)
        await at.ended(job)


async def test_the_trainer_learns_no_key_and_no_token(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("OPENAI_API_KEY", "LUMA_TOKEN", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "sk-secret")
    async with bench(tmp_path) as at:
        job = await at.start(steps=1)
        await at.ended(job)
        known = (await at.jobs.log(job.id, 5))[1].split()[1:]
        assert "PATH" in known
        assert not [name for name in known if "KEY" in name or "TOKEN" in name]


async def test_progress_is_told_at_most_four_times_a_second(tmp_path: Path) -> None:
    async with bench(tmp_path) as at:
        job = await at.start(steps=150, step_s=0.005, checkpoint_every=1000)
        done = await at.ended(job)
        told = at.seen.of("training.progress")
        assert done.started_at is not None
        assert done.ended_at is not None
        took_s = (done.ended_at - done.started_at).total_seconds()
        assert 2 <= len(told) <= took_s * 4.5 + 2


async def test_two_trainings_do_not_run_at_once_but_an_examination_runs_beside(
    tmp_path: Path,
) -> None:
    async with bench(tmp_path) as at:
        first = await at.start(steps=10_000)
        await at.step(first, 1)
        second = await at.start(steps=5)
        assert second.message == "Waits for the training of mika."
        spec = JobSpec(id="", command="train", budget=Budget(steps=5), options={"voice": False})
        third = await at.jobs.start("doctor", spec, prepare=lambda folder: write_clips(folder, []))
        assert (await at.ended(third)).state == "done"
        assert (await at.jobs.get(second.id)).state == "queued"
        await at.jobs.stop(first.id)
        assert (await at.ended(first)).state == "cancelled"
        assert (await at.ended(second)).state == "done"


async def test_a_pause_holds_the_training_and_resume_goes_on(tmp_path: Path) -> None:
    async with bench(tmp_path) as at:
        job = await at.start(steps=10_000)
        await at.step(job, 5)
        await at.jobs.pause(job.id)
        paused = await at.reached(job, state="paused")
        assert at.jobs.running(job.id) is not None
        await at.jobs.resume(job.id)
        await at.reached(job, state="train")
        assert (await at.step(job, paused.step + 1)).step > paused.step
        await at.jobs.stop(job.id)
        await at.ended(job)


async def test_a_stopped_training_is_cancelled_and_can_go_on_later(tmp_path: Path) -> None:
    async with bench(tmp_path) as at:
        job = await at.start(steps=300)
        await at.step(job, 20)
        await at.jobs.stop(job.id)
        stopped = await at.ended(job)
        assert (stopped.state, stopped.can_resume) == ("cancelled", True)
        again = await at.jobs.resume(job.id)
        assert again.state == "queued"
        done = await at.ended(job)
        assert (done.state, done.result["weights"]) == ("done", expected(300))


async def test_a_job_that_waits_is_cancelled_at_once(tmp_path: Path) -> None:
    async with bench(tmp_path) as at:
        first = await at.start(steps=10_000)
        second = await at.start()
        await at.jobs.stop(second.id)
        assert (await at.ended(second)).state == "cancelled"
        await at.jobs.stop(first.id)
        await at.ended(first)


async def test_a_trainer_that_does_not_obey_is_ended(tmp_path: Path) -> None:
    async with bench(tmp_path, stop_s=0.1) as at:
        job = await at.start(steps=100_000, deaf=True)
        await at.step(job, 1)
        process = at.jobs.running(job.id).process  # type: ignore[union-attr]  # it runs
        assert process is not None
        await at.jobs.stop(job.id)
        assert (await at.ended(job)).state == "cancelled"
        assert process.exit_code == -signal.SIGKILL


@pytest.mark.parametrize(
    ("how", "state", "words"),
    [
        ("error", "failed", "Too few clips: record more."),
        ("full", "interrupted", "Make room, then resume."),
        ("kill", "interrupted", "memory ran out"),
        ("trace", "failed", "ZeroDivisionError: division by zero"),
    ],
)
async def test_how_a_training_died_is_told_in_words_and_it_can_go_on(
    tmp_path: Path, how: str, state: str, words: str
) -> None:
    async with bench(tmp_path) as at:
        job = await at.start(steps=30, die_at=25, die_how=how)
        died = await at.ended(job)
        assert (died.state, died.can_resume) == (state, True)
        assert words in died.message
        failed = at.seen.of("training.failed")
        assert len(failed) == (1 if state == "failed" else 0)
        await at.jobs.resume(job.id)
        done = await at.ended(job)
        assert (done.state, done.result["weights"]) == ("done", expected(30))


async def test_a_program_that_cannot_be_started_fails_in_words(tmp_path: Path) -> None:
    async with bench(tmp_path, program=("/nowhere/python",)) as at:
        failed = await at.ended(await at.start())
        assert failed.state == "failed"
        assert "could not be started" in failed.message


async def test_a_trainer_that_says_nothing_is_told_of_once(tmp_path: Path) -> None:
    async with bench(tmp_path, silent_s=0.1, stop_s=0.1) as at:
        job = await at.start(silent=True)
        await at.seen.until("training.warning")
        await asyncio.wait_for(at.jobs.quiet(), 1)
        assert "said nothing" in (await at.jobs.get(job.id)).warnings[0]
        await at.jobs.stop(job.id)
        await at.ended(job)
        assert len(at.seen.of("training.warning")) == 1


async def test_a_turn_takes_the_trainers_threads_and_gives_them_back(tmp_path: Path) -> None:
    async with bench(tmp_path) as at:
        job = await at.start(steps=100_000)
        await at.step(job, 1)
        turn = {"turn_id": "t1", "number": 1, "conversation_id": "stage"}
        at.bus.publish(TurnStarted(**turn, origin="api", character_id="mika"))
        folder = at.jobs.folder(job)
        async with asyncio.timeout(5):
            while read_control(folder).threads != 1:
                await asyncio.sleep(0)
        at.bus.publish(TurnFinished(**turn, outcome="done", total_ms=1))
        await asyncio.wait_for(at.jobs.quiet(), 5)
        async with asyncio.timeout(5):
            while read_control(folder).threads != 0:
                await asyncio.sleep(0)
        await at.jobs.stop(job.id)
        await at.ended(job)


async def test_a_sample_and_a_checkpoint_are_made_when_asked_for(tmp_path: Path) -> None:
    async with bench(tmp_path) as at:
        job = await at.start(steps=100_000, checkpoint_every=1_000_000)
        await at.step(job, 1)
        await at.jobs.ask(job.id, "sample")
        await at.jobs.ask(job.id, "checkpoint")
        async with asyncio.timeout(10):
            while at.work.lines.count("sample") < 2 or at.work.lines.count("checkpoint") < 2:
                await asyncio.sleep(0.01)
        await at.jobs.stop(job.id)
        await at.ended(job)


async def test_after_closing_the_trainer_goes_on_and_is_followed_at_the_next_start(
    tmp_path: Path,
) -> None:
    async with bench(tmp_path) as at:
        job = await at.start(steps=400)
        await at.step(job, 5)
        run = at.jobs.running(job.id)
        assert run is not None
        assert run.process is not None
        pid = run.process.pid
        await at.jobs.close()
        assert psutil.pid_exists(pid)
    async with bench(tmp_path) as later:
        assert (await later.jobs.get(job.id)).state == "train"
        done = await later.ended(job)
        assert (done.state, done.result["weights"]) == ("done", expected(400))
        assert read_job(later.jobs.folder(job)).id == job.id
        assert len(later.seen.of("training.completed")) == 1


async def test_closing_can_stop_the_trainer_and_resume_goes_on(tmp_path: Path) -> None:
    async with bench(tmp_path, on_close="stop") as at:
        job = await at.start(steps=400)
        await at.step(job, 5)
        run = at.jobs.running(job.id)
        assert run is not None
        process = run.process
        assert process is not None
        await at.jobs.close()
        async with asyncio.timeout(10):
            while not process.has_ended():
                await asyncio.sleep(0.01)
    async with bench(tmp_path) as later:
        stopped = await later.ended(job)
        assert (stopped.state, stopped.can_resume) == ("interrupted", True)
        assert "when Luma closed" in stopped.message
        await later.jobs.resume(job.id)
        done = await later.ended(job)
        assert (done.state, done.result["weights"]) == ("done", expected(400))


async def test_a_job_whose_trainer_is_gone_at_the_next_start_is_interrupted(
    tmp_path: Path,
) -> None:
    async with bench(tmp_path) as at:
        job = await at.start(steps=100_000)
        waiting = await at.start(steps=3)
        await at.step(job, 12)
        run = at.jobs.running(job.id)
        assert run is not None
        process = run.process
        assert process is not None
        await at.jobs.close()
        process.kill()
        async with asyncio.timeout(10):
            while not process.has_ended():
                await asyncio.sleep(0.01)
    async with bench(tmp_path) as later:
        found = await later.ended(job)
        assert (found.state, found.can_resume) == ("interrupted", True)
        assert "Resume goes on from the last checkpoint" in found.message
        assert (await later.ended(waiting)).state == "done"


async def test_what_is_done_after_the_trainer_is_done_again_when_it_was_cut_short(
    tmp_path: Path,
) -> None:
    began = asyncio.Event()

    async def never(run: Run) -> None:
        began.set()
        await asyncio.Event().wait()

    async with bench(tmp_path, work=Train(after=never)) as at:
        job = await at.start(steps=3)
        await asyncio.wait_for(began.wait(), 20)
    finished: list[str] = []

    async def quickly(run: Run) -> None:
        finished.append(run.job.id)

    async with bench(tmp_path, work=Train(after=quickly)) as later:
        done = await later.ended(job)
        assert (done.state, finished) == ("done", [job.id])
        assert "preflight" not in later.states(job)  # the trainer was not started again


async def test_our_own_part_that_fails_fails_the_job_in_its_words(tmp_path: Path) -> None:
    async def refuse(run: Run) -> None:
        raise EngineUnavailableError("The voice has no sound.")

    async def stumble(run: Run) -> None:
        raise ZeroDivisionError

    async with bench(tmp_path) as at:
        at.work.after = refuse
        failed = await at.ended(await at.start(steps=1))
        assert (failed.state, failed.message) == ("failed", "The voice has no sound.")
        at.work.after = stumble
        failed = await at.ended(await at.start(steps=1))
        assert (failed.state, "inside Luma" in failed.message) == ("failed", True)


async def test_a_job_is_deleted_with_its_folder_but_not_while_it_runs(tmp_path: Path) -> None:
    async with bench(tmp_path) as at:
        job = await at.start(steps=10_000)
        await at.step(job, 1)
        with pytest.raises(ConflictError, match="Stop it first"):
            await at.jobs.delete(job.id)
        await at.jobs.stop(job.id)
        await at.ended(job)
        folder = at.jobs.folder(job)
        assert folder.is_dir()
        await at.jobs.delete(job.id)
        assert not folder.exists()
        with pytest.raises(NotFoundError):
            await at.jobs.get(job.id)


@pytest.mark.parametrize("job_id", ["", "../../etc", "a/b", "x" * 65, "Train-1", "nothing"])
async def test_an_id_that_is_none_finds_nothing(tmp_path: Path, job_id: str) -> None:
    async with bench(tmp_path) as at:
        with pytest.raises(NotFoundError):
            await at.jobs.get(job_id)


async def test_what_cannot_be_done_now_is_refused_in_words(tmp_path: Path) -> None:
    async with bench(tmp_path) as at:
        job = await at.ended(await at.start(steps=1))
        for action in (at.jobs.pause, at.jobs.resume, at.jobs.stop):
            with pytest.raises(ConflictError, match="mika"):
                await action(job.id)
        spec = JobSpec(id="", command="train", options={"die_at": 1, "die_how": "error"})
        examined = await at.jobs.start("doctor", spec, prepare=lambda f: write_clips(f, []))
        failed = await at.ended(examined)
        assert (failed.state, failed.can_resume) == ("failed", False)
        with pytest.raises(ConflictError, match="start it again"):
            await at.jobs.resume(failed.id)


async def test_a_folder_that_cannot_be_made_leaves_nothing(tmp_path: Path) -> None:
    async with bench(tmp_path) as at:

        def full(folder: Path) -> None:
            raise OSError(28, "No space left on device")

        with pytest.raises(Exception, match="No space left"):
            await at.jobs.start("train", JobSpec(id="", command="train"), prepare=full)
        assert not list(at.jobs.options.folder.glob("*"))
        assert await at.jobs.history() == []


def test_a_log_that_grew_too_long_keeps_its_end(tmp_path: Path) -> None:
    path = tmp_path / "trainer.log"
    with path.open("wb") as file:
        for n in range(500_000):
            file.write(b"line %d\n" % n)
    runner.bound_log(path)
    assert path.stat().st_size <= runner.KEPT_LOG_BYTES
    assert runner.log_tail(tmp_path, 2) == ["line 499998", "line 499999"]


def test_another_process_with_the_same_number_is_not_taken_for_the_trainer(tmp_path: Path) -> None:
    mine = psutil.Process(os.getpid())
    assert runner.find(tmp_path, mine.pid, mine.create_time()) is not None
    assert runner.find(tmp_path, mine.pid, mine.create_time() - 60) is None
    assert runner.find(tmp_path, 2**30, 0.0) is None
    (tmp_path / "process.json").write_text('{"pid": "many", "started_at": null}')
    assert runner.find(tmp_path) is None
