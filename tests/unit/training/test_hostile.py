"""What strangers, broken programs and two people at once do to voice training: nothing is lost, nothing comes back."""

from __future__ import annotations

import asyncio
import json
import math
import shutil
import sys
import threading
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest

from backend.contracts.errors import (
    AppError,
    ConflictError,
    InvalidInputError,
    NotFoundError,
    StorageFullError,
)
from backend.contracts.training import Job
from backend.core.clock import now
from backend.storage import training_jobs
from backend.storage.training_jobs import StoredJob
from backend.training import runner, trainings, uploads
from backend.training.checkpoints import History
from backend.training.trainings import TrainingOptions, TrainRequest
from tests.unit.training.test_jobs import bench
from tests.voice_data import studio
from voice_trainer.protocol import (
    PROCESS,
    PROGRESS,
    JobSpec,
    ProgressReader,
    ProtocolError,
    read_job,
    read_json,
)

LIAR = """
import sys, pathlib
folder = pathlib.Path(sys.argv[2])
(folder / "progress.jsonl").write_bytes((folder / "told").read_bytes())
"""


async def told(tmp_path: Path, *lines: str) -> tuple[Job, list[Any]]:
    """A job whose trainer says these lines, and the figures that were published."""
    raw = "\n".join([*lines, '{"kind": "done", "result": {"weights": 1}}', ""])

    def write(folder: Path) -> None:
        (folder / "told").write_text(raw)

    async with bench(tmp_path, program=(sys.executable, "-c", LIAR)) as at:
        job = await at.jobs.start(
            "train",
            JobSpec(id="", command="train", name="mika"),
            prepare=write,
        )
        return await at.ended(job), at.seen.of("training.progress")


async def test_figures_that_cannot_be_are_not_believed(tmp_path: Path) -> None:
    job, seen = await told(
        tmp_path,
        '{"kind": "progress", "state": "train", "fraction": 1e999, "step": -3, "eta_s": -5, "steps_per_s": NaN}',
        f'{{"kind": "progress", "state": "train", "fraction": {"9" * 400}, "eta_s": {"9" * 400}, "step": {"9" * 400}}}',
        '{"kind": "progress", "state": "train", "step": true, "loss": {"train": Infinity, "validation": 2}, "memory_mb": -1}',
    )
    assert (job.state, job.step) == ("done", 0)
    for event in seen:
        figures = (event.eta_s, event.steps_per_s, event.memory_mb, event.progress, event.loss)
        assert all(one is None or (math.isfinite(one) and one >= 0) for one in figures)
        assert all(math.isfinite(one) for one in event.losses.values())


async def test_words_that_no_encoding_knows_do_not_end_a_job(tmp_path: Path) -> None:
    job, _ = await told(
        tmp_path,
        '{"kind": "warning", "message": "half a sign \\ud800"}',
        '{"kind": "progress", "state": "train", "message": "\\udfff", "verdict": "\\ud800"}',
        '{"kind": "state", "state": "train", "message": "\\ud800"}',
        '{"kind": "state", "state": ["train"], "message": {}}',
    )
    assert job.state == "done"
    job.model_dump_json()


def test_a_line_that_is_only_brackets_is_passed_over(tmp_path: Path) -> None:
    (tmp_path / PROGRESS).write_text("[" * 200_000 + '\n{"kind": "warning"}\n')
    assert [line["kind"] for line in ProgressReader(tmp_path).read()] == ["warning"]
    (tmp_path / "job.json").write_text("[" * 200_000)
    with pytest.raises(ProtocolError):
        read_json(tmp_path / "job.json")


def test_a_start_time_that_is_no_number_names_no_process(tmp_path: Path) -> None:
    (tmp_path / PROCESS).write_text(
        json.dumps({"pid": psutil.Process().pid, "started_at": math.nan})
    )
    assert runner.find(tmp_path) is None


async def test_asking_again_and_again_does_not_spare_a_trainer_that_hangs(tmp_path: Path) -> None:
    async with bench(tmp_path, stop_s=0.15) as at:
        job = await at.start(steps=100_000, deaf=True)
        await at.step(job, 1)

        async def insist() -> None:
            while True:
                with suppress(ConflictError):
                    await at.jobs.stop(job.id)
                await asyncio.sleep(0.05)

        insisting = asyncio.create_task(insist())
        try:
            assert (await at.ended(job, timeout_s=5)).state == "cancelled"
        finally:
            insisting.cancel()


# --- a person who was removed is gone ---


async def test_undo_does_not_give_a_clip_back_to_somebody_who_was_removed(tmp_path: Path) -> None:
    async with studio(tmp_path) as at:
        await at.data.speakers.add("Bea", "de")
        clip = await at.clip("moved", speaker="bea")
        await at.data.clips.change([clip], speaker="ann")
        await at.data.remove_speaker("bea")
        with suppress(ConflictError):
            await at.data.clips.undo()
        assert (await at.data.clips.get(clip)).speaker == "ann"


async def test_every_job_of_a_removed_speaker_goes_however_many_and_whoever_comes_first(
    tmp_path: Path,
) -> None:
    async with studio(tmp_path) as at:
        await at.data.speakers.add("Bea", "de")

        def job_of(n: int, speaker: str, memory: dict[str, Any]) -> StoredJob:
            moment = now() - timedelta(days=n)
            return StoredJob(
                Job(
                    id=f"train-{n}", kind="train", speaker=speaker, state="done", created_at=moment
                ),
                memory,
            )

        some = [job_of(n, "bea", {}) for n in range(510)]
        some.append(job_of(600, "ann", {"speakers": ["ann", "bea"]}))
        some.append(job_of(601, "ann", {"speakers": ["ann"]}))

        def store(connection: Any) -> None:
            for one in some:
                training_jobs.put(connection, one)

        await at.database.write(store)
        for one in some:
            (tmp_path / "jobs" / one.job.id / "dataset").mkdir(parents=True)
        await at.data.remove_speaker("bea")
        assert [path.name for path in (tmp_path / "jobs").iterdir()] == ["train-601"]


async def test_a_training_of_two_people_holds_both_of_them(tmp_path: Path) -> None:
    async with studio(tmp_path) as at:
        await at.data.speakers.add("Bea", "de")
        moment = now()
        job = Job(id="train-1", kind="train", speaker="ann", state="queued", created_at=moment)
        await at.database.write(
            lambda c: training_jobs.put(c, StoredJob(job, {"speakers": ["ann", "bea"]}))
        )
        with pytest.raises(ConflictError, match="Stop it first"):
            await at.data.remove_speaker("bea")


async def test_two_who_remove_a_speaker_at_once_are_both_answered(tmp_path: Path) -> None:
    async with studio(tmp_path) as at:
        await at.data.speakers.add("Bea", "de")
        await at.clip("hers", speaker="bea")
        done = await asyncio.gather(
            *(at.data.remove_speaker("bea") for _ in range(3)), return_exceptions=True
        )
        assert sum(isinstance(one, tuple) for one in done) == 1
        assert all(isinstance(one, tuple | AppError) for one in done)


async def test_a_name_is_not_given_again_while_its_bearer_is_being_removed(tmp_path: Path) -> None:
    async with studio(tmp_path) as at:
        await at.data.speakers.add("Bea", "de")
        await at.data.speakers.begin_removal("bea")
        again = await at.data.speakers.add("Bea", "de")
        await at.data.speakers.end_removal("bea")
        assert again.id != "bea"
        assert (await at.data.speakers.get(again.id)).name == "Bea"


async def test_a_consent_that_comes_while_the_speaker_goes_leaves_no_file(tmp_path: Path) -> None:
    async with studio(tmp_path) as at:
        await at.data.speakers.add("Bea", "de")
        await asyncio.gather(
            at.data.speakers.consent("bea", "This is my own voice."),
            at.data.remove_speaker("bea"),
            return_exceptions=True,
        )
        assert not list((at.training / "speakers").glob("bea*"))


# --- what requests say ---


def test_a_base_whose_name_no_disk_knows_is_refused(tmp_path: Path) -> None:
    some = object.__new__(trainings.Trainings)
    some.options = TrainingOptions(models_dir=tmp_path)
    with pytest.raises((InvalidInputError, NotFoundError)):
        some._base(TrainRequest("v", base="a" * 290 + ".pt"))


@pytest.mark.parametrize("value", ["\ud800", "a\x00b", math.nan, math.inf, 10**400])
def test_options_that_no_file_can_hold_are_refused(value: Any) -> None:
    with pytest.raises(InvalidInputError, match="options"):
        trainings._checked_options({"precision": value})


async def test_a_transcript_holds_no_commands_for_screens(tmp_path: Path) -> None:
    async with studio(tmp_path) as at:
        clip = await at.clip("one")
        changed = await at.data.clips.change(
            [clip], transcript="a\x1b[31mb \u202etxt\x01 👩‍💻\u2066c\ufeff"
        )
        assert changed[0].transcript == "a [31mb txt 👩‍💻 c"


async def test_a_feeling_of_an_upload_is_a_short_word(tmp_path: Path) -> None:
    async with studio(tmp_path) as at:
        with pytest.raises(InvalidInputError, match="emotion"):
            await at.data.label("ann", "", "x" * 65)
        assert (await at.data.label("ann", "", "\x00joy\x1b")).emotion == "joy"


async def test_a_stream_of_unknown_length_leaves_room_on_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with studio(tmp_path) as at:
        incoming = at.data.uploads.receive("a.wav")
        monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=1 << 20))
        with pytest.raises(StorageFullError, match="free"):
            incoming.write(b"\x00" * uploads.LOOK_EVERY_BYTES)
        incoming.discard()
        with pytest.raises(StorageFullError, match="free"):
            at.data.uploads.receive("b.wav")


def test_a_branch_is_made_where_the_data_folder_is_a_link(tmp_path: Path) -> None:
    real = tmp_path / "real" / "job"
    (real / "checkpoints").mkdir(parents=True)
    (real / "checkpoints" / "step-1.safetensors").write_bytes(b"w")
    (real / "clips.json").write_text("[]")
    line = {
        "kind": "checkpoint",
        "id": "step-1",
        "step": 1,
        "path": "checkpoints/step-1.safetensors",
        "at": 1.0,
    }
    (real / PROGRESS).write_text(json.dumps(line) + "\n")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    source = tmp_path / "link" / "job"
    history = History(source).refresh()
    target = tmp_path / "link" / "branch"
    target.mkdir()
    trainings._branch(source, target, history.known("step-1"), history.folder)
    assert (target / "checkpoints" / "step-1.safetensors").read_bytes() == b"w"


# --- two at once ---


async def test_a_program_that_starts_while_nobody_waits_any_more_is_ended(tmp_path: Path) -> None:
    before = set(psutil.Process().children())
    starting = asyncio.create_task(
        runner.start_or_end(
            "x", tmp_path, {}, (sys.executable, "-c", "import time; time.sleep(60)")
        )
    )
    await asyncio.sleep(0)
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting
    assert set(psutil.Process().children()) == before


async def test_a_job_that_is_being_deleted_is_not_resumed(tmp_path: Path) -> None:
    async with bench(tmp_path) as at:
        job = await at.start(steps=30, die_at=25, die_how="kill")
        assert (await at.ended(job)).state == "interrupted"
        deleting = asyncio.create_task(at.jobs.delete(job.id))
        async with asyncio.timeout(20):
            while job.id not in at.jobs._deleting:
                await asyncio.sleep(0)
        with pytest.raises((ConflictError, NotFoundError)):
            await at.jobs.resume(job.id)
        await deleting
        with pytest.raises(NotFoundError):
            await at.ended(job)


# --- a damaged folder ---


@pytest.mark.parametrize(
    "content",
    [
        "[]",
        "{",
        "[" * 100_000,
        '{"id": 1, "command": "train"}',
        '{"id": "x", "command": "train", "options": []}',
        '{"id": "x", "command": "train", "name": {"a": 1}}',
        '{"id": "x", "command": "train", "rate_hz": "x"}',
        '{"id": "x", "command": "train", "budget": {"steps": "many"}}',
        '{"id": "x", "command": "train", "version": "new"}',
    ],
)
def test_a_damaged_job_file_is_said_to_be_damaged(tmp_path: Path, content: str) -> None:
    (tmp_path / "job.json").write_text(content)
    with pytest.raises(ProtocolError):
        read_job(tmp_path)
    with pytest.raises(ConflictError, match=r"job\.json"):
        trainings._spec_of(tmp_path)


def test_a_past_full_of_nonsense_still_tells_what_makes_sense(tmp_path: Path) -> None:
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / "good").write_bytes(b"w")
    long, huge = "a" * 300, "9" * 400
    lines = [
        '{"kind":"checkpoint","id":"good","path":"checkpoints/good","step":1,"at":1}',
        f'{{"kind":"checkpoint","id":"long","path":"checkpoints/{long}","step":1,"at":1}}',
        '{"kind":"checkpoint","id":"late","path":"checkpoints/good","step":1,"at":1e18}',
        f'{{"kind":"scores","checkpoint":"good","mcd_db":NaN,"similarity":{huge}}}',
        f'{{"kind":"progress","step":{huge},"loss":{{"train":1e999}}}}',
        '{"kind":"progress","step":5,"loss":{"train":"x"}}',
        f'{{"kind":"sample","path":"samples/{long}.wav","step":1}}',
    ]
    (tmp_path / PROGRESS).write_text("\n".join(lines) + "\n")
    (tmp_path / "heard.json").write_text(f'{{"a": NaN, "b": 1e999, "c": {huge}, "d": 0.5}}')
    history = History(tmp_path).refresh()
    assert [one.id.partition(":")[2] for one in history.wire()] == ["good"]
    assert all(one.step < 2**53 for one in history.losses(100))
    assert history._heard == {"d": 0.5}


async def test_a_stop_in_the_moment_of_the_start_leaves_no_trainer_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with bench(tmp_path) as at:
        keep = at.jobs.keep
        stopped: list[int] = []

        async def stop_when_it_has_just_started(stored: StoredJob, *, durable: bool) -> None:
            if stored.memory.get("_pid") and not stopped:
                stopped.append(int(stored.memory["_pid"]))
                await at.jobs.stop(stored.job.id)
            await keep(stored, durable=durable)

        monkeypatch.setattr(at.jobs, "keep", stop_when_it_has_just_started)
        job = await at.start(steps=100_000)
        assert (await at.ended(job)).state == "cancelled"
        assert stopped
        assert (
            not psutil.pid_exists(stopped[0])
            or runner.find(tmp_path / "data/jobs" / job.id) is None
        )


async def test_a_stop_while_a_running_trainer_is_looked_for_reaches_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with bench(tmp_path) as at:
        job = await at.start(steps=100_000)
        await at.step(job, 1)
    find = runner.find
    ran: list[runner.TrainerProcess | None] = []
    looking, go_on = asyncio.Event(), threading.Event()
    loop = asyncio.get_running_loop()

    def slowly(*told: Any) -> runner.TrainerProcess | None:
        ran.append(find(*told))
        loop.call_soon_threadsafe(looking.set)
        go_on.wait(10)
        return ran[0]

    monkeypatch.setattr(runner, "find", slowly)
    async with bench(tmp_path) as at:
        await looking.wait()
        stopping = asyncio.create_task(at.jobs.stop(job.id))
        await asyncio.sleep(0.05)
        go_on.set()
        await stopping
        assert (await at.ended(job)).state == "cancelled"
    assert ran[0] is not None
    assert ran[0].has_ended()
