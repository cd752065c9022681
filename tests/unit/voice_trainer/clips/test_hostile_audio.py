"""Files of strangers: none is run, none leads outside, none ends the work on the others, each is answered in words."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from tests.hostile_audio import Bait, Hostile, count, make, wav
from voice_trainer import protocol

ROOT = Path(__file__).resolve().parents[4]
MOST_BYTES = 1 << 30  # what one process may have held at most


WEIGHED = """
import pathlib, re, resource, runpy, sys
sys.argv = sys.argv[1:]
try:
    runpy.run_module("voice_trainer", run_name="__main__", alter_sys=True)
finally:
    peaks = [resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss]
    # Not RUSAGE_SELF: on Linux that begins with what the program held that started this one.
    status = pathlib.Path("/proc/self/status")
    if status.exists():
        peaks.append(int(re.search(r"VmHWM:\\s+(\\d+) kB", status.read_text())[1]))
    print("peak_kb", max(peaks), file=sys.stderr)
"""
"""The trainer's command, and at its end what it or any process it began has held at most."""


def process(folder: Path, files: list[Hostile], limit_s: float) -> tuple[list[dict], int]:
    """Run the command as the backend does; its lines, and the peak of the memory of its largest process in bytes."""
    folder.mkdir()
    uploads = [
        {"id": f"u{n}", "path": str(file.path), "filename": file.filename}
        for n, file in enumerate(files)
    ]
    # The protocol's writer refuses half a character in a name; whoever writes the file may not be so careful.
    (folder / protocol.UPLOADS).write_text(json.dumps(uploads))
    protocol.write_job(
        folder, protocol.JobSpec(id=folder.name, command="process", options={"priority": "normal"})
    )
    command = [sys.executable, "-c", WEIGHED, "voice_trainer", "process", str(folder)]
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=limit_s, check=False
    )
    assert done.returncode in (0, 1), done.stderr[-3000:]
    assert "Traceback" not in done.stderr, done.stderr[-3000:]
    peak_kb = int(done.stderr.rpartition("peak_kb ")[2])
    return list(protocol.ProgressReader(folder).read()), peak_kb * 1024


def check(tmp_path: Path, every: int, limit_s: float) -> None:
    bait = Bait(tmp_path / "outside" / "secret.wav", tmp_path / "trace")
    files = make(tmp_path / "files", bait, every=every)
    fine = tmp_path / "fine.wav"
    fine.write_bytes(wav(bytes(32_000)))
    files.append(Hostile(fine, "fine.wav", "fine"))
    os.utime(bait.secret, (1e9, 1e9))
    begun_s = time.monotonic()

    lines, peak_bytes = process(tmp_path / "job", files, limit_s)

    assert time.monotonic() - begun_s < limit_s
    assert not bait.trace.exists()
    assert bait.secret.stat().st_atime == 1e9
    told = {line["upload"]: line for line in lines if line["kind"] == "file"}
    assert len(told) == len(files)
    for n, file in enumerate(files):
        problem, clips = told[f"u{n}"]["problem"], told[f"u{n}"]["clips"]
        if clips and not problem:
            assert told[f"u{n}"]["seconds"] < 60, file
            continue  # a tone that broke off can pass for a voice
        # Every other file must be refused, in words about it, without our folders in them.
        assert problem, file
        assert str(tmp_path) not in problem, (file, problem)
        assert "crash" not in problem, (file, problem)
        assert "report this" not in problem, (file, problem)
        assert len(problem) < 600, (file, problem)
        assert problem.endswith("."), (file, problem)
    assert told[f"u{len(files) - 1}"]["problem"] == "Nobody speaks in fine.wav."
    made = [line for line in lines if line["kind"] == "clip"]
    assert len(made) <= len(files) / 10
    assert lines[-1]["kind"] == ("done" if made else "error")
    for line in made:
        path = (tmp_path / "job" / line["path"]).resolve()
        assert path.is_relative_to(tmp_path / "job" / "clips")
    assert peak_bytes < MOST_BYTES
    left = [one.name() for one in psutil.Process().children(recursive=True)]
    assert "ffmpeg" not in left
    outside = {one.name for one in tmp_path.iterdir()}
    assert outside == {"outside", "files", "fine.wav", "job"}


def test_there_are_more_than_300_of_them():
    assert count() >= 300


@pytest.mark.skipif(sys.platform == "win32", reason="links and pipes")
def test_a_sample_of_hostile_files_is_refused_in_words(tmp_path):
    check(tmp_path, every=23, limit_s=60.0)


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.skipif(sys.platform == "win32", reason="links and pipes")
def test_every_hostile_file_is_refused_in_words(tmp_path):
    check(tmp_path, every=1, limit_s=300.0)
