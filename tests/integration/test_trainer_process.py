"""The trainer as a program: refused, steered, ended and resumed as whoever starts it relies on."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from safetensors.numpy import load_file

from tests.trainer_jobs import SHORT, prompts, speak_clips, write_quick_job
from voice_trainer.protocol import (
    PROCESS,
    Control,
    ProgressReader,
    State,
    read_json,
    write_control,
)

ROOT = Path(__file__).resolve().parents[2]
LONGEST_S = 500.0

pytestmark = pytest.mark.timeout(
    600
)  # it has all the time it needs beside other work: it yields to everything


def start(command: str, folder: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "voice_trainer", command, str(folder)],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def ran(command: str, folder: Path) -> tuple[int, str]:
    """Exit status, and what was printed."""
    child = start(command, folder)
    try:
        out, errors = child.communicate(timeout=LONGEST_S)
    finally:
        child.kill()
        child.communicate()
    return child.returncode, out + errors


def lines(folder: Path) -> list[dict[str, Any]]:
    return [*ProgressReader(folder).read()]


def states(folder: Path) -> list[str]:
    return [line["state"] for line in lines(folder) if line["kind"] == "state"]


def arrays_under(folder: Path) -> dict[str, np.ndarray]:
    """All arrays in files below a folder."""
    return {
        f"{path.name} {name}": array
        for path in sorted(folder.rglob("*.safetensors"))
        for name, array in load_file(path).items()
    }


class Follower:
    """Waits for what a running trainer writes."""

    def __init__(self, folder: Path, child: subprocess.Popen[str]) -> None:
        self.reader = ProgressReader(folder)
        self.child = child
        self.seen: list[dict[str, Any]] = []

    def until(self, kind: str, **wanted: Any) -> dict[str, Any]:
        """The next line of this kind with these values."""
        deadline = time.monotonic() + LONGEST_S
        while time.monotonic() < deadline:
            is_gone = self.child.poll() is not None
            for line in self.reader.read():
                self.seen.append(line)
                if line["kind"] == kind and wanted.items() <= line.items():
                    return line
            assert not is_gone, f"it ended: {self.seen[-3:]} {self.child.communicate()}"
            time.sleep(0.01)
        raise AssertionError(f"no {kind} {wanted} within {LONGEST_S:g} s: {self.seen[-3:]}")


@pytest.fixture
def following() -> Iterator[Any]:
    """Starts trainers and ends those that still run."""
    children: list[subprocess.Popen[str]] = []

    def follow(command: str, folder: Path) -> Follower:
        children.append(start(command, folder))
        return Follower(folder, children[-1])

    yield follow
    for child in children:
        if child.poll() is None:
            child.kill()
        child.communicate()


def test_a_job_that_is_worked_on_refuses_a_second_trainer(tmp_path: Path) -> None:
    from voice_trainer.__main__ import locked

    write_quick_job(tmp_path)
    (tmp_path / PROCESS).write_text(json.dumps({"pid": 4711, "started_at": 1.0}))

    with locked(tmp_path):
        code, printed = ran("train", tmp_path)

    assert code == 4
    assert "by process 4711" in printed
    assert lines(tmp_path) == []


def test_an_error_is_one_line_in_words_and_the_exit_status_says_so(tmp_path: Path) -> None:
    write_quick_job(tmp_path, trainer="magic")

    code, _ = ran("train", tmp_path)

    assert code == 1
    *_, last = lines(tmp_path)
    assert last["kind"] == "error"
    assert last["code"] == "job.broken"
    assert "quick or vits" in last["message"]
    assert read_json(tmp_path / PROCESS)["pid"] > 0


@pytest.mark.parametrize("content", [None, "{", "[]", '{"id": "x"}', '{"id": "x", "command": "train", "version": 99}'])  # fmt: skip
def test_a_folder_without_a_job_that_makes_sense_is_refused(
    tmp_path: Path, content: str | None
) -> None:
    if content is not None:
        (tmp_path / "job.json").write_text(content)

    code, printed = ran("train", tmp_path)

    assert code == 2
    assert "job.json" in printed or "newer Luma" in printed
    assert "Traceback" not in printed


@pytest.mark.slow
def test_a_training_leads_from_clips_to_a_voice_that_was_heard(tmp_path: Path) -> None:
    speak_clips(tmp_path, prompts("en-us", 16))
    write_quick_job(
        tmp_path, steps=120, threads=2, sample_every=60, options={"channels": 48, "precision": "auto"}
    )  # fmt: skip

    code, printed = ran("train", tmp_path)

    assert code == 0, (printed, lines(tmp_path)[-2:])
    wanted = ["preflight", "prepare", "align", "train", "export", "verify", "done"]
    assert states(tmp_path) == wanted
    found = lines(tmp_path)
    result = found[-1]["result"]
    assert found[-1]["kind"] == "done"
    assert (tmp_path / result["model"]).is_file()
    assert result["clips"] == 16
    assert len(result["data_sha256"]) == 64
    assert result["scores"]["similarity"] > max(0.6, result["narrator_similarity"])
    assert abs(result["scores"]["pitch_semitones"]) < 2
    assert result["has_phoneme_times"]
    assert result["real_time_factor"] < 0.3
    samples = [line["step"] for line in found if line["kind"] == "sample"]
    assert samples == [60, 120]
    losses = [line["loss"]["train"] for line in found if line["kind"] == "progress" and line.get("loss")]  # fmt: skip
    assert losses[-1] < losses[0] / 2
    per_second: dict[int, int] = {}
    for line in found:
        if line["kind"] == "progress":
            per_second[int(line["at"])] = per_second.get(int(line["at"]), 0) + 1
    assert max(per_second.values()) <= 5


@pytest.mark.slow
@pytest.mark.parametrize(
    ("language", "rate_hz"), [("en-us", 16_000), ("de", 22_050), ("es", 22_050), ("ja", 16_000)]
)
def test_a_voice_of_every_language_and_rate_speaks_it(
    tmp_path: Path, language: str, rate_hz: int
) -> None:
    from piper import PiperVoice

    speak_clips(tmp_path, prompts(language, 12), f"{language}+f2", pitch=60)
    write_quick_job(
        tmp_path,
        steps=120,
        language=language,
        rate_hz=rate_hz,
        threads=2,
        test_sentence="",
        options={"channels": 48},
    )

    code, _ = ran("train", tmp_path)

    assert code == 0, lines(tmp_path)[-1]
    voice = PiperVoice.load(tmp_path / lines(tmp_path)[-1]["result"]["model"])
    assert voice.config.sample_rate == rate_hz
    (text,) = prompts(language, 1)
    chunks = [*voice.synthesize(text, include_alignments=True)]
    sound = np.concatenate([chunk.audio_float_array.reshape(-1) for chunk in chunks])
    assert np.isfinite(sound).all()
    assert 0.8 < sound.size / rate_hz < 12
    assert np.sqrt(np.mean(sound**2)) > 0.02
    assert chunks[0].phoneme_alignments


@pytest.mark.slow
def test_a_paused_training_waits_obeys_and_ends_as_cancelled(
    tmp_path: Path, following: Any
) -> None:
    speak_clips(tmp_path, SHORT)
    write_quick_job(tmp_path, steps=100_000)
    trainer = following("train", tmp_path)

    trainer.until("state", state="train")
    trainer.until("progress", state="train")
    write_control(tmp_path, Control(order="pause"))
    trainer.until("state", state="paused")
    used = psutil.Process(trainer.child.pid).cpu_times().user
    saved = [line for line in trainer.seen if line["kind"] == "checkpoint"]
    time.sleep(1.0)  # what is measured: that a paused trainer does nothing
    assert psutil.Process(trainer.child.pid).cpu_times().user - used < 0.2
    write_control(tmp_path, Control(order="run", sample=1))
    trainer.until("state", state="train")
    trainer.until("sample")
    write_control(tmp_path, Control(order="stop", sample=1))

    assert trainer.child.wait(30) == 3
    assert saved
    assert states(tmp_path)[-1] == State.CANCELLED
    told = lines(tmp_path)
    made = [line["step"] for line in told if line["kind"] == "progress" and line.get("step")]
    kept = [line["step"] for line in told if line["kind"] == "checkpoint"]
    assert kept[-1] >= made[-1], "steps were lost"


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGTERM")
def test_a_trainer_that_is_asked_to_end_saves_and_can_be_resumed(
    tmp_path: Path, following: Any
) -> None:
    speak_clips(tmp_path, SHORT)
    write_quick_job(tmp_path, steps=100_000, options={"priority": "idle"})
    trainer = following("train", tmp_path)
    trainer.until("progress", state="train")
    nice = psutil.Process(trainer.child.pid).nice()
    threads = os.sched_getscheduler(trainer.child.pid) if sys.platform == "linux" else None

    trainer.child.send_signal(signal.SIGTERM)

    assert trainer.child.wait(60) == 3
    assert states(tmp_path)[-1] == State.INTERRUPTED
    (kept,) = [line for line in lines(tmp_path) if line["kind"] == "checkpoint"]
    assert kept["step"] > 0
    assert nice == 19
    if sys.platform == "linux":
        assert threads in (os.SCHED_IDLE, os.SCHED_OTHER)
    again = following("train", tmp_path)
    again.reader.offset = trainer.reader.offset
    line = again.until("progress", state="train")
    while line["step"] <= kept["step"]:
        line = again.until("progress", state="train")
    assert line["step"] > kept["step"]


@pytest.mark.slow
def test_two_processes_prepare_what_one_does_and_a_kill_leaves_none_behind(
    tmp_path: Path, following: Any
) -> None:
    one, two, killed = (tmp_path / name for name in ("one", "two", "killed"))
    speak_clips(one, prompts("en-us", 16))  # above 45 s, from where on it is worth it
    for folder, threads in ((one, 1), (two, 2), (killed, 2)):
        if folder != one:
            shutil.copytree(one, folder)
        write_quick_job(folder, threads=threads)

    trainer = following("prepare", killed)
    trainer.until("progress", state="prepare")
    workers = psutil.Process(trainer.child.pid).children(recursive=True)
    trainer.child.kill()
    _, alive = psutil.wait_procs(workers, timeout=20)
    codes = [ran("prepare", folder)[0] for folder in (one, two, killed)]

    assert len(workers) >= 2
    assert alive == []
    assert codes == [0, 0, 0]
    results = [lines(folder)[-1]["result"] for folder in (one, two, killed)]
    assert results[0] == results[1] == results[2]
    first, *others = (arrays_under(folder / "dataset") for folder in (one, two, killed))
    for other in others:
        assert other.keys() == first.keys()
        # Sums of two threads differ from those of one in the last bit; the alignment made of them does not.
        assert [name for name in first if not np.allclose(first[name], other[name], 1e-12)] == []


@pytest.mark.slow
def test_checkpoints_are_scored_and_exported_from_another_folder(tmp_path: Path) -> None:
    job, other = tmp_path / "job", tmp_path / "export"
    speak_clips(job, SHORT)
    write_quick_job(job, steps=6, options={"checkpoint_every": 3, "verify": False})
    assert ran("train", job)[0] == 0
    before = {path: path.stat().st_mtime_ns for path in job.rglob("*") if path.is_file()}

    other.mkdir()
    options = {"job": str(job), "checkpoint": "step-0000003", "verify": False}
    write_quick_job(other, command="export", name="early", options=options)
    code, _ = ran("export", other)
    result = lines(other)[-1]["result"]
    scoring = tmp_path / "scores"
    write_quick_job(scoring, command="evaluate", options={"job": str(job)})
    scored, _ = ran("evaluate", scoring)

    assert code == scored == 0
    assert result["checkpoint"] == "step-0000003"
    assert (other / "export" / "early.onnx").is_file()
    assert [*lines(scoring)[-1]["result"]["scores"]] == ["step-0000003", "step-0000006"]
    assert {path: path.stat().st_mtime_ns for path in job.rglob("*") if path.is_file()} == before
