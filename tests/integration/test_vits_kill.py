"""The full trainer as a program: killed without warning and started again, it ends with the weights it would have had."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from tests.integration.kill_harness import ROOT
from tests.unit.voice_trainer.vits.test_train import job, lines
from voice_trainer import checkpoint as checkpoints

pytestmark = [
    pytest.mark.slow,  # three programs with torch
    pytest.mark.skipif(sys.platform == "win32", reason="kills with signals"),
    pytest.mark.timeout(600),
]

STEPS = 12
PATIENCE_S = 240.0


def start(folder: Path) -> subprocess.Popen[bytes]:
    with (folder / "trainer.log").open("ab") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "voice_trainer", "train", str(folder)],
            cwd=ROOT,
            stdout=log,
            stderr=log,
        )


def kill_after_checkpoints(folder: Path, count: int) -> None:
    """Kill the trainer as soon as it has told of so many checkpoints: mostly in the middle of a step."""
    process = start(folder)
    deadline = time.monotonic() + PATIENCE_S
    while len(lines(folder, "checkpoint")) < count:
        assert process.poll() is None, (folder / "trainer.log").read_text()[-3000:]
        assert time.monotonic() < deadline
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()


def test_a_killed_trainer_ends_with_the_weights_it_would_have_had(tmp_path: Path) -> None:
    for name in ("whole", "killed"):
        job(tmp_path / name, steps=STEPS, checkpoint_every=3)
    kill_after_checkpoints(tmp_path / "killed", 2)
    told = [one["step"] for one in lines(tmp_path / "killed", "checkpoint")]
    assert told == [3, 6]
    for name in ("whole", "killed"):
        process = start(tmp_path / name)
        assert process.wait(PATIENCE_S) == 1  # twelve steps make no voice, and that is said
        assert lines(tmp_path / name, "error")[-1]["code"] == "verify.failed"
    resumed = [one["step"] for one in lines(tmp_path / "killed", "checkpoint")]
    assert resumed[2] in (6, 9)  # within one checkpoint of where it was
    whole, killed = (
        checkpoints.read(tmp_path / name / "checkpoints" / f"step-{STEPS:07d}.safetensors")
        for name in ("whole", "killed")
    )
    for name, tensor in whole.tensors.items():
        assert torch.equal(tensor, killed.tensors[name]), name
