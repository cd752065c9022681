"""A trainer is killed again and again; each resume goes on from its last checkpoint, and the end is the same to the bit.

``--kills 50`` repeats what the figures of the documentation were taken with.
"""

from __future__ import annotations

import random
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch

from tests.trainer_jobs import SHORT, speak_clips, write_quick_job
from voice_trainer.checkpoint import Checkpoints, read
from voice_trainer.protocol import ProgressReader

ROOT = Path(__file__).resolve().parents[2]
STEPS, EVERY = 60, 5
LONGEST_S = 180.0


def start(folder: Path) -> subprocess.Popen[bytes]:
    with (folder / "trainer.log").open("ab") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "voice_trainer", "train", str(folder)],
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )


def kill(child: subprocess.Popen[bytes]) -> None:
    """End it and what it started, without a warning."""
    process = psutil.Process(child.pid)
    for one in (process, *process.children(recursive=True)):
        one.kill()
    child.wait()


def weights(folder: Path) -> dict[str, torch.Tensor]:
    kept = Checkpoints(folder).last()
    assert kept is not None
    assert kept.step == STEPS
    return read(kept.path).tensors


def told(folder: Path) -> list[dict[str, Any]]:
    return [*ProgressReader(folder).read()]


def make(folder: Path, clips: Path) -> Path:
    shutil.copytree(clips, folder)
    options = {"checkpoint_every": EVERY, "verify": False}
    write_quick_job(folder, steps=STEPS, sample_every=20, options=options)
    return folder


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_a_training_that_was_killed_ends_with_the_weights_of_one_that_was_not(
    tmp_path: Path, fault_seed: int, request: pytest.FixtureRequest
) -> None:
    wanted_kills = request.config.getoption("--kills")
    chance = random.Random(fault_seed)
    clips = tmp_path / "clips-only"
    clips.mkdir()
    speak_clips(clips, SHORT)
    begin = time.monotonic()
    whole = make(tmp_path / "whole", clips)
    assert start(whole).wait(LONGEST_S) == 0
    usual_s = time.monotonic() - begin
    expected = weights(whole)

    kills = finished = most_lost = 0
    folder = make(tmp_path / "job-0", clips)
    phases: dict[str, int] = {}
    while kills < wanted_kills or finished == 0:
        child = start(folder)
        patience_s = chance.uniform(0.0, usual_s) if kills < wanted_kills else LONGEST_S
        try:
            code = child.wait(patience_s)
        except subprocess.TimeoutExpired:
            before = told(folder)
            kill(child)
            kills += 1
            now = next((one["state"] for one in reversed(before) if one["kind"] == "state"), "none")
            phases[now] = phases.get(now, 0) + 1
            kept = Checkpoints(folder).last()
            steps = [one["step"] for one in before if one["kind"] == "progress" and "step" in one]
            if steps:
                most_lost = max(most_lost, steps[-1] - (kept.step if kept else 0))
            if told(folder)[-1:] == [] or told(folder)[-1]["kind"] != "done":
                continue
            code = 0  # it had just ended
        assert code == 0, (folder / "trainer.log").read_text()[-2000:]
        finished += 1
        given = weights(folder)
        assert given.keys() == expected.keys()
        different = [name for name in expected if not torch.equal(expected[name], given[name])]
        assert different == []
        lines = told(folder)
        assert [one["kind"] for one in lines].count("done") == 1
        assert lines[-1]["kind"] == "done"
        assert not [*(folder / "checkpoints").glob(".*")]
        folder = make(tmp_path / f"job-{finished}", clips)

    assert most_lost <= EVERY
    sys.stdout.write(
        f"{kills} kills in {phases}, {finished} trainings ended, at most {most_lost} steps lost\n"
    )
