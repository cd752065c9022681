"""Trainer, app or both are killed at any moment: the job is found again, goes on within one checkpoint, and what it has
learned in the end is what it would have learned undisturbed.

A run is repeated with ``LUMA_KILL_SEED``; ``LUMA_TRAINING_KILLS=50`` makes the long one longer.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from tests.fake_trainer import next_weights
from tests.integration.kill_harness import ROOT, new_seed

pytestmark = [
    pytest.mark.skipif(sys.platform == "win32", reason="kills with signals"),
    pytest.mark.timeout(1800),
]

PATIENCE_S = 30.0
CHECKPOINT_EVERY = 20
STEP_S = 0.004
VICTIMS = ("both", "trainer", "app")


class App:
    """The program, and a client that talks to it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        with (folder / "app.err").open("ab") as errors:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "tests.training_program", str(folder)],
                cwd=ROOT,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
            )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, (folder / "app.err").read_text()[-3000:]
        told = json.loads(line)
        self.http = httpx.Client(
            base_url=told["url"],
            headers={"Authorization": f"Bearer {told['token']}"},
            timeout=PATIENCE_S,
            trust_env=False,
        )

    def job(self, job_id: str) -> dict[str, Any]:
        found: dict[str, Any] = self.http.get(f"/api/voice/jobs/{job_id}").json()
        return found

    def until(self, job_id: str, *states: str, patience_s: float = PATIENCE_S) -> dict[str, Any]:
        """Wait for one of these states."""
        deadline = time.monotonic() + patience_s
        while (found := self.job(job_id))["state"] not in states:
            assert time.monotonic() < deadline, f"{found['state']}: {found['message']}"
            time.sleep(0.02)
        return found

    def start(self, name: str, steps: int) -> str:
        body = {
            "name": name,
            "speaker": "machine",
            "budget": {"steps": steps},
            "options": {"step_s": STEP_S, "checkpoint_every": CHECKPOINT_EVERY},
        }
        answer = self.http.post("/api/voice/train", json=body)
        assert answer.status_code == 202, answer.text
        return str(answer.json()["job_id"])

    def kill(self) -> None:
        self.process.kill()
        self.gone()

    def end(self) -> None:
        """Close it as a user does."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.gone()

    def gone(self) -> None:
        self.process.wait(PATIENCE_S)
        self.http.close()
        for pipe in (self.process.stdin, self.process.stdout):
            assert pipe is not None
            pipe.close()


@dataclass
class Scene:
    """An app that may be dead, and what was done to it."""

    folder: Path
    chance: random.Random
    app: App
    kills: Counter[str] = field(default_factory=Counter)

    def trainer(self, job_id: str) -> psutil.Process | None:
        """The job's trainer, if it lives."""
        try:
            told = json.loads((self.folder / "data" / "jobs" / job_id / "process.json").read_text())
            process = psutil.Process(told["pid"])
            alive = abs(process.create_time() - told["started_at"]) < 1 and process.is_running()
            return process if alive and process.status() != psutil.STATUS_ZOMBIE else None
        except (OSError, ValueError, psutil.Error):
            return None

    def strike(self, job_id: str, victim: str) -> None:
        if victim in ("trainer", "both") and (process := self.trainer(job_id)) is not None:
            process.send_signal(signal.SIGKILL)
            while self.trainer(job_id) is not None:  # it dies a moment later
                time.sleep(0.005)
        if victim in ("app", "both"):
            self.app.kill()
            self.app = App(self.folder)
        self.kills[victim] += 1

    def saved_step(self, job_id: str) -> int:
        """The newest checkpoint on the disk."""
        found = sorted((self.folder / "data" / "jobs" / job_id / "checkpoints").glob("step-*.json"))
        return int(found[-1].stem.removeprefix("step-")) if found else 0

    def steps_told(self, job_id: str) -> list[int]:
        """Steps of the lines of progress, in their order."""
        path = self.folder / "data" / "jobs" / job_id / "progress.jsonl"
        told = []
        for line in path.read_bytes().splitlines():
            try:
                step = json.loads(line).get("step")
            except ValueError:
                continue
            if step is not None:
                told.append(step)
        return told


@contextmanager
def scene(folder: Path) -> Iterator[Scene]:
    seed = int(os.environ.get("LUMA_KILL_SEED", "0")) or new_seed()
    found = Scene(folder, random.Random(seed), App(folder))
    try:
        yield found
    finally:
        found.app.end()
        for path in (folder / "data" / "jobs").glob("*"):
            if (process := found.trainer(path.name)) is not None:
                process.kill()


def expected(steps: int) -> int:
    """What a training learns that nobody disturbs."""
    weights = 1234
    uids = [f"machine-{n}" for n in range(4)]
    for step in range(1, steps + 1):
        weights = next_weights(weights, step, 1234, uids)
    return weights


def train_through(at: Scene, name: str, kills: int, longest_s: float) -> None:
    """One training, killed so many times, then left alone."""
    steps = round(kills * longest_s / STEP_S) + CHECKPOINT_EVERY
    job_id = at.app.start(name, steps)
    for n in range(kills):
        at.app.until(job_id, "train", "done")
        time.sleep(at.chance.uniform(0, longest_s))
        at.strike(job_id, VICTIMS[n % 3])
        saved = at.saved_step(job_id)
        lines = len(at.steps_told(job_id))
        found = at.app.until(job_id, "interrupted", "train", "done")
        if found["state"] == "train" and at.trainer(job_id) is None:
            # The row may still say what the app knew last; the killed trainer is noticed in a moment.
            found = at.app.until(job_id, "interrupted", "done")
        if found["state"] == "interrupted":
            assert found["can_resume"], found["message"]
            assert found["message"]
            assert at.app.http.post(f"/api/voice/jobs/{job_id}/resume").status_code == 200
            at.app.until(job_id, "train", "done")
            deadline = time.monotonic() + PATIENCE_S
            while len(told := at.steps_told(job_id)) <= lines:
                if at.app.job(job_id)["state"] == "done":
                    break  # the last checkpoint was the end: there was no step left to tell of
                assert time.monotonic() < deadline
                time.sleep(0.02)
            if len(told) > lines:
                assert told[lines] > saved - 1, (told[lines], saved)
    done = at.app.until(job_id, "done", "failed", "interrupted", patience_s=10 * PATIENCE_S)
    assert done["state"] == "done", done["message"]
    assert done["result"]["weights"] == expected(steps)
    assert done["result"]["voice"] == name
    check_voice(at, job_id, name)


def check_voice(at: Scene, job_id: str, name: str) -> None:
    """The voice is there once, with its card, and was told of before the training was complete."""
    assert at.app.http.get(f"/api/voice/cards/{name}").json()["job_id"] == job_id
    assert at.app.http.get("/api/voice/cards/" + name + "-2").status_code == 404
    listed = [one["name"] for one in at.app.http.get("/api/voices").json()]
    assert listed.count(name) == 1
    found = at.app.http.get("/api/events", params={"job_id": job_id, "limit": 500}).json()
    completed = [one for one in found if one["type"] == "training.completed"]
    assert len(completed) <= 1  # an app killed between the row and the event has told only the row


@pytest.mark.slow
def test_a_killed_trainer_and_a_killed_app_lose_nothing(tmp_path: Path) -> None:
    with scene(tmp_path) as at:
        train_through(at, "steady", kills=2, longest_s=0.3)
        assert at.kills == {"both": 1, "trainer": 1}


@pytest.mark.slow
def test_many_kills_lose_nothing(tmp_path: Path) -> None:
    kills = int(os.environ.get("LUMA_TRAINING_KILLS", "8"))
    began_s = time.monotonic()
    with scene(tmp_path) as at:
        train_through(at, "enduring", kills=kills, longest_s=0.4)
        sys.stdout.write(f"{at.kills.total()} kills in {time.monotonic() - began_s:.0f} s\n")


@pytest.mark.slow
def test_a_kill_while_the_voice_is_brought_home_makes_one_whole_voice(tmp_path: Path) -> None:
    with scene(tmp_path) as at:
        for n in range(int(os.environ.get("LUMA_TRAINING_KILLS", "8")) // 2):
            name = f"short-{n}"
            job_id = at.app.start(name, 2)
            at.app.until(job_id, "export", "verify", "done")
            time.sleep(at.chance.uniform(0, 0.8))
            at.strike(job_id, at.chance.choice(VICTIMS))
            found = at.app.until(job_id, "interrupted", "done")
            if found["state"] == "interrupted":
                assert at.app.http.post(f"/api/voice/jobs/{job_id}/resume").status_code == 200
            at.app.until(job_id, "done")
            check_voice(at, job_id, name)
