"""``python -m voice_trainer COMMAND JOB_FOLDER``: run one command on one job; see `voice_trainer.protocol` for the folder.

Exits 0 only after the line ``done``. One trainer per job: a second one is refused.
"""

from __future__ import annotations

import argparse
import errno
import importlib
import logging
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, cast

import psutil

from voice_trainer.loop import ENDING, Reporter, Stopped, TrainerError, cpu_threads, lower_priority
from voice_trainer.protocol import (
    LOCK,
    LOG,
    PROCESS,
    JobSpec,
    ProtocolError,
    State,
    read_job,
    read_json,
    write_json,
)

logger = logging.getLogger("voice_trainer")

Run = Callable[[Path, Reporter], None]

ON_SOUND = {"process": "voice_trainer.clips.process:run", "doctor": "voice_trainer.doctor:run"}
TRAINERS = {"quick": "voice_trainer.clone", "vits": "voice_trainer.vits.train"}
"""Modules with the functions prepare, train, export and evaluate, each a `Run`."""

COMMANDS = (*ON_SOUND, "prepare", "train", "export", "evaluate")

EXIT_FAILED, EXIT_USAGE, EXIT_STOPPED, EXIT_BUSY = 1, 2, 3, 4

THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "NUMBA_NUM_THREADS",
)


WAITING = {"OMP_WAIT_POLICY": "passive", "GOMP_SPINCOUNT": "1000", "KMP_BLOCKTIME": "0"}
"""Threads sleep while they wait for each other, after some microseconds. Spinning on, as OpenMP does by itself, takes the
processor from the stream; sleeping at once costs a fifth of the steps on two idle cores, which wake slowly."""


class BusyError(Exception):
    """Another trainer has this job."""


def main(arguments: list[str] | None = None) -> int:
    """Run one command; the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m voice_trainer", description="Luma's voice trainer."
    )
    parser.add_argument("command", choices=COMMANDS)
    parser.add_argument("folder", type=Path, help="the job folder: job.json lies in it")
    asked = parser.parse_args(arguments)
    folder: Path = asked.folder.absolute()
    try:
        spec = read_job(folder)
    except ProtocolError as error:
        print(error, file=sys.stderr)
        return EXIT_USAGE
    try:
        with locked(folder):
            return run(asked.command, folder, spec)
    except BusyError as error:
        print(error, file=sys.stderr)
        return EXIT_BUSY


WAITED_FOR = frozenset({"process", "doctor", "export", "evaluate"})
"""Seconds of work that somebody waits for; a training runs when nobody else wants the processor."""


def run(command: str, folder: Path, spec: JobSpec) -> int:
    """Run a command in this process, which holds the job's lock."""
    is_terminal = sys.stdout.isatty()
    _log_to(folder / LOG if is_terminal else None)
    # The doctor's matrices are small: a second thread makes it take three times as long.
    set_threads(1 if command == "doctor" else spec.threads)
    if spec.options.get("priority") != "normal":
        lower_priority(somebody_waits=command in WAITED_FOR)
    for name in ("SIGTERM", "SIGINT", "SIGBREAK"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), _end)
    reporter = Reporter(folder, echo=sys.stdout if is_terminal else None)
    try:
        me = psutil.Process()
        write_json(folder / PROCESS, {"pid": me.pid, "started_at": me.create_time()})
        _found(command, spec)(folder, reporter)
        if reporter.is_done:
            return 0
        reporter.error("trainer.failed", f"The command {command} ended without a result.")
    except Stopped as stopped:
        by_order = stopped.by == "order"
        reporter.state(State.CANCELLED if by_order else State.INTERRUPTED)
        return EXIT_STOPPED
    except Exception as error:
        if isinstance(error, TrainerError):
            logger.error("The command %s failed: %s", command, error)
        else:
            logger.exception("The command %s failed.", command)
        try:
            reporter.error(*in_words(error))
        except OSError as full:
            logger.error("That could not be written into the job: %s", full)
    finally:
        reporter.close()
    return EXIT_FAILED


def in_words(error: Exception) -> tuple[str, str]:
    """A stable code and what to tell the person who started the job."""
    if isinstance(error, TrainerError):
        return error.code, str(error)
    if isinstance(error, ProtocolError):
        return "job.broken", str(error)
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return "disk.full", "The disk is full. Make room, then resume: the last checkpoint is safe."
    if isinstance(error, MemoryError):
        return "memory.full", "There is not enough memory. Close other programs, then resume."
    if isinstance(error, ImportError):
        return (
            "package.missing",
            f"The trainer cannot start: {error}. Install what it needs: pip install -r requirements.txt",
        )
    what = f"{type(error).__name__}: {error}".rstrip(".: ")
    return (
        "trainer.failed",
        f"Something went wrong that should not ({what}). The job's log says where; resume tries again from the last checkpoint.",
    )


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the job's lock; the system releases it however this process ends.

    Raises:
        BusyError: Another process holds it.
    """
    with (folder / LOCK).open("ab") as file:
        try:
            _lock(file)
        except OSError as error:
            raise BusyError(
                f"Job {folder.name} is being worked on already{_by_whom(folder)}."
            ) from error
        yield


def set_threads(threads: int) -> None:
    """Limit the threads of numpy, torch and numba; must come before they are imported (torch's can be changed later)."""
    for name in THREAD_VARIABLES:
        os.environ[name] = str(cpu_threads(threads))  # noqa: TID251 - where those libraries look for it
    for name, value in WAITING.items():
        os.environ.setdefault(name, value)  # noqa: TID251 - as above


def _found(command: str, spec: JobSpec) -> Run:
    if command in ON_SOUND:
        module, _, function = ON_SOUND[command].partition(":")
    elif spec.trainer in TRAINERS:
        module, function = TRAINERS[spec.trainer], command
    else:
        raise TrainerError(
            "job.broken",
            f"There is no trainer {spec.trainer!r}; job.json may say {' or '.join(TRAINERS)}.",
        )
    return cast(Run, getattr(importlib.import_module(module), function))


def _lock(file: IO[bytes]) -> None:
    if sys.platform == "win32":
        import msvcrt

        file.seek(0)
        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
    else:
        import fcntl

        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _by_whom(folder: Path) -> str:
    try:
        return f" by process {int(read_json(folder / PROCESS)['pid'])}"
    except (ProtocolError, KeyError, TypeError, ValueError):
        return ""


def _log_to(path: Path | None) -> None:
    """Log to a file, or (None) to stderr, which whoever started this process keeps."""
    handler = logging.FileHandler(path, encoding="utf-8") if path else logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(level=logging.INFO, handlers=[handler])


def _end(number: int, frame: object) -> None:
    """A signal: the first asks the work to save and end, a second Ctrl-C ends it at once."""
    if ENDING.is_set() and number == signal.SIGINT:
        raise KeyboardInterrupt
    ENDING.set()


if __name__ == "__main__":
    sys.exit(main())
