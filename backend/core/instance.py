"""One program per data folder, and where it listens.

The lock is the operating system's: it is gone when the process is, however that ended. ``backend.json`` tells scripts
and a second start where the backend is.
"""

from __future__ import annotations

import contextlib
import json
import os
import stat
import sys
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import IO

LOCK_NAME = "luma.lock"
ADDRESS_NAME = "backend.json"
OURS = (
    "luma.db",
    "audio",
    "avatars",
    "backups",
    "jobs",
    "training",
    "settings.yaml",
    "secrets.yaml",
    "window",
)
"""How the names of what we keep in a data folder begin."""


class AlreadyRunningError(Exception):
    """Another process uses the data folder; the message says which and where."""


@dataclass(frozen=True, slots=True)
class Address:
    """Where a backend listens, as written in ``backend.json``."""

    url: str
    pid: int
    started: str
    version: str


class Instance:
    """The right to use a data folder; a context manager.

    Raises (on entering):
        AlreadyRunningError: If another process has it.
        OSError: If the folder cannot be made or written.
    """

    def __init__(self, data_dir: Path) -> None:
        self.data_dir = data_dir
        self._file: IO[str] | None = None

    def __enter__(self) -> Instance:
        self.data_dir.mkdir(parents=True, exist_ok=True)
        path = self.data_dir / LOCK_NAME
        file = path.open("a+", encoding="utf-8")
        try:
            _lock(file)
        except OSError:
            file.close()
            raise AlreadyRunningError(_who_runs(self.data_dir)) from None
        self._file = file
        file.seek(0)
        file.truncate()
        file.write(f"{os.getpid()}\n")
        file.flush()
        (self.data_dir / ADDRESS_NAME).unlink(missing_ok=True)  # left behind by one that was killed
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        (self.data_dir / ADDRESS_NAME).unlink(missing_ok=True)
        if self._file is not None:
            # The file stays: removing it would let two starts lock two different files of one name.
            self._file.close()
            self._file = None

    def write_address(self, url: str, version: str) -> None:
        """Say where the backend listens; readers see the whole file or none."""
        started = datetime.now(UTC).isoformat(timespec="seconds")
        address = Address(url=url, pid=os.getpid(), started=started, version=version)
        new = self.data_dir / f".{ADDRESS_NAME}.new"
        new.write_text(json.dumps(asdict(address), indent=2) + "\n", encoding="utf-8")
        new.replace(self.data_dir / ADDRESS_NAME)


def make_private(data_dir: Path) -> None:
    """Take other users' rights from what is in the data folder, where an older start or a copy left them some.

    The folder itself stays as it is: somebody may have chosen one that others need.
    """
    for path in data_dir.iterdir():
        if not path.name.startswith(OURS) or path.is_symlink():
            continue
        with contextlib.suppress(OSError):
            mode = stat.S_IMODE(path.stat().st_mode)
            if mode & 0o077:
                path.chmod(mode & 0o700)


def read_address(data_dir: Path) -> Address | None:
    """Where the backend of a data folder listens; None when nobody says so."""
    try:
        found = json.loads((data_dir / ADDRESS_NAME).read_text("utf-8"))
        return Address(
            url=str(found["url"]),
            pid=int(found["pid"]),
            started=str(found["started"]),
            version=str(found["version"]),
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _who_runs(data_dir: Path) -> str:
    address = read_address(data_dir)
    where = f"at {address.url} (process {address.pid})" if address else "and is still starting"
    return (
        f"Luma already runs {where} with the data folder {data_dir}."
        " Use that one, attach a window with --connect, or choose another folder with --data-dir."
    )


if sys.platform == "win32":
    import msvcrt

    def _lock(file: IO[str]) -> None:
        file.seek(0x7FFF0000)  # far behind the text, which others must be able to read
        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)

else:
    import fcntl

    def _lock(file: IO[str]) -> None:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
