"""A full disk interrupts a training in words; when there is room again it goes on and has lost no checkpoint.

Once with a file system that really is full, once with the system's limit on the size of a file, which needs no rights.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from tests.unit.training.test_jobs import Bench, bench, expected

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="mounts, and limits a process")

DISK_MB = 4
STEPS = 150


@dataclass
class Disk:
    """A place for jobs that can be filled and freed."""

    folder: Path
    fill: Callable[[int], None]
    free: Callable[[int], None]


@pytest.fixture(params=["full file system", "file size limit"])
def disk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Disk]:
    folder = tmp_path / "small"
    folder.mkdir()
    if request.param == "file size limit":
        yield Disk(folder, lambda pid: limit(pid, told(folder) + 200), lambda pid: None)
        return
    mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK_MB}m", "tmpfs", str(folder)]
    try:
        done = subprocess.run(mount, capture_output=True, check=False)
    except FileNotFoundError:
        pytest.skip("there is no mount here")
    if done.returncode:
        pytest.skip(f"may not mount here: {done.stderr.decode().strip()}")
    try:
        yield Disk(
            folder,
            lambda pid: ballast(folder / "ballast"),
            lambda pid: (folder / "ballast").unlink(),
        )
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def told(folder: Path) -> int:
    """How long the longest file of the job is: what the trainer has said so far."""
    return max(path.stat().st_size for path in folder.rglob("progress.jsonl"))


def limit(pid: int, size: int) -> None:
    """Files of the process may not grow beyond ``size`` bytes."""
    process = psutil.Process(pid)
    _, hard = process.rlimit(psutil.RLIMIT_FSIZE)
    process.rlimit(psutil.RLIMIT_FSIZE, (size, hard))


def ballast(path: Path) -> None:
    block = bytes(1 << 16)
    with path.open("wb", buffering=0) as file:
        while block:
            try:
                file.write(block)
            except OSError:
                block = block[: len(block) // 2]


async def test_a_full_disk_interrupts_and_with_room_again_it_goes_on(
    disk: Disk, tmp_path: Path
) -> None:
    async with bench(disk.folder) as at:
        job = await at.start(steps=STEPS, step_s=0.01)
        await at.step(job, 12)
        pid = pid_of(at, job.id)
        disk.fill(pid)
        found = await at.ended(job)
        assert (found.state, found.can_resume) == ("interrupted", True)
        assert "disk is full" in found.message
        assert "Make room" in found.message
        assert not at.seen.of("training.failed")
        assert [one.state for one in await at.jobs.history()] == ["interrupted"]
        disk.free(pid)
        await at.jobs.resume(job.id)
        done = await at.ended(job)
        assert (done.state, done.result["weights"]) == ("done", expected(STEPS))


def pid_of(at: Bench, job_id: str) -> int:
    run = at.jobs.running(job_id)
    assert run is not None
    assert run.process is not None
    return run.process.pid
