"""The trainer as a process: started detached, found again after a restart, followed by reading files, ended when asked.

Everything here blocks for moments and belongs on a worker thread; `backend.training.jobs` decides in the loop. The child
gets our environment without keys and tokens, a session of its own (closing the app or its terminal does not end it), and
writes what it prints into ``trainer.log``.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import psutil

import backend
from voice_trainer.protocol import LOG, PROCESS, ProgressReader, ProtocolError, read_json

logger = logging.getLogger(__name__)

ROOT = Path(backend.__file__).resolve().parent.parent

PROGRAM = (sys.executable, "-m", "voice_trainer")

LINES_AT_ONCE = 400
"""Lines handled in one go: a few ms of the loop's time, also when a day's lines are read again."""
LONGEST_LOG_BYTES = 4 << 20
KEPT_LOG_BYTES = 1 << 20
TAIL_BYTES = 64 << 10
CLOCK_SLACK_S = 2.0  # start times are told in ticks of the system, and clocks are set


class TrainerProcess:
    """A trainer's process, ours by start or found by its process id and start time."""

    def __init__(self, process: psutil.Process, popen: subprocess.Popen[bytes] | None) -> None:
        self._process = process
        self._popen = popen
        self.pid = process.pid
        self.created_at = process.create_time()
        """When it started, in seconds since 1970."""
        self.exit_code: int | None = None
        """How it ended: negative is a signal; None while it runs, and for ever when another program started it."""

    def has_ended(self) -> bool:
        """Whether it is gone; `exit_code` is then known for one that we started."""
        if self._popen is not None:
            self.exit_code = self._popen.poll()
            return self.exit_code is not None
        try:
            return not self._process.is_running() or self._process.status() == psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            return True

    def let_go(self) -> None:
        """We end and it goes on: the system waits for it from now on."""
        if self._popen is not None and self._popen.poll() is None:
            self._popen.returncode = 0  # or Python would complain of a child left behind
            self._popen = None

    def reap(self) -> None:
        """Wait for the end of one that we started and killed."""
        if self._popen is not None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.exit_code = self._popen.wait(5.0)

    def terminate(self) -> None:
        """Ask the system to end it: it saves what it can."""
        with contextlib.suppress(psutil.Error, OSError):
            self._process.terminate()

    def kill(self) -> None:
        """End it and everything it started, at once."""
        with contextlib.suppress(psutil.Error, OSError):
            for child in (*self._process.children(recursive=True), self._process):
                with contextlib.suppress(psutil.Error):
                    child.kill()


def start(
    command: str, folder: Path, environment: Mapping[str, str], program: Sequence[str] = PROGRAM
) -> TrainerProcess:
    """Start the trainer on a job.

    Args:
        command: "process", "train" …
        folder: The job's.
        environment: All that the child may know.
        program: What to run; command and folder are its last arguments.

    Raises:
        OSError: It cannot be started.
    """
    log = folder / LOG
    bound_log(log)
    more: dict[str, Any] = {}
    if sys.platform == "win32":
        more["creationflags"] = (
            subprocess.DETACHED_PROCESS
            | subprocess.CREATE_NEW_PROCESS_GROUP
            | subprocess.IDLE_PRIORITY_CLASS
        )
    else:
        more["start_new_session"] = True
    with log.open("ab") as out:
        popen = subprocess.Popen(
            [*program, command, str(folder)],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            cwd=ROOT,
            env={**environment, "PYTHONUTF8": "1", "PYTHONUNBUFFERED": "1"},
            **more,
        )
    try:
        return TrainerProcess(psutil.Process(popen.pid), popen)
    except psutil.NoSuchProcess as error:  # cannot be: it is not waited for yet
        raise OSError(f"the trainer's process {popen.pid} was gone at once") from error


async def start_or_end(
    command: str, folder: Path, environment: Mapping[str, str], program: Sequence[str] = PROGRAM
) -> TrainerProcess:
    """`start` for one who waits for it; should he be cancelled meanwhile, what was started is ended again.

    Raises:
        OSError: It cannot be started.
    """
    starting = asyncio.ensure_future(
        asyncio.to_thread(start, command, folder, environment, program)
    )
    try:
        return await asyncio.shield(starting)
    except asyncio.CancelledError:
        with contextlib.suppress(OSError):
            process = await starting
            process.kill()
            await asyncio.to_thread(process.reap)
        raise


def find(folder: Path, pid: int = 0, created_at: float = 0.0) -> TrainerProcess | None:
    """The trainer that still runs on this job, None when there is none.

    Args:
        folder: The job's; its ``process.json`` says who runs it.
        pid: Another candidate, as we remember it.
        created_at: When that one started.
    """
    candidates = [(pid, created_at)] if pid else []
    try:
        told = read_json(folder / PROCESS)
        candidates.append((int(told["pid"]), float(told["started_at"])))
    except (ProtocolError, KeyError, TypeError, ValueError):
        pass
    for number, started_at in candidates:
        try:
            process = psutil.Process(number)
            # Asked so that a time that is no number (NaN) fits nobody.
            if not abs(process.create_time() - started_at) <= CLOCK_SLACK_S:
                continue  # the number was given to somebody else
            found = TrainerProcess(process, None)
        except (psutil.Error, ValueError, OverflowError):
            continue
        if not found.has_ended():
            return found
    return None


def read_some(reader: ProgressReader) -> list[dict[str, Any]]:
    """The next lines, few enough to be handled in one go; a full disk or a folder that is gone reads as nothing new."""
    with contextlib.suppress(OSError):
        return list(islice(reader.read(), LINES_AT_ONCE))
    return []


def bound_log(path: Path) -> None:
    """Keep the end of a log that has grown too long; its writer appends, so it goes on where the file ends now."""
    with contextlib.suppress(OSError):
        if path.stat().st_size <= LONGEST_LOG_BYTES:
            return
        with path.open("r+b") as file:
            file.seek(-KEPT_LOG_BYTES, os.SEEK_END)
            kept = file.read()
            file.seek(0)
            file.write(kept[kept.find(b"\n") + 1 :])
            file.truncate()


def log_tail(folder: Path, lines: int) -> list[str]:
    """The last lines of what the trainer printed."""
    try:
        with (folder / LOG).open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - TAIL_BYTES))
            text = file.read(TAIL_BYTES).decode("utf-8", "replace")
    except OSError:
        return []
    found = text.splitlines()
    if size > TAIL_BYTES:
        found = found[1:]
    return found[-lines:] if lines else []


def died_in_words(code: int | None) -> str:
    """How a process ended that said nothing itself."""
    if code is None:
        return "The trainer is gone and left no word: it was ended from outside, or the computer went off."
    if code == -signal.SIGTERM:
        return "The system asked the trainer to end (SIGTERM)."
    if sys.platform != "win32" and code == -signal.SIGKILL:
        return (
            "The system ended the trainer (SIGKILL), most likely because memory ran out: close other programs, or"
            " train on fewer or shorter clips."
        )
    if code < 0:
        try:
            name = signal.Signals(-code).name
        except ValueError:
            name = f"signal {-code}"
        return f"The trainer crashed ({name})."
    return f"The trainer ended with exit code {code}."
