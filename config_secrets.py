"""Keys typed in the window: kept in the system's keyring where there is one, else in a file only the user can read.

``<data-dir>/secrets.yaml`` holds the keys themselves (mode 0600), or only the names of those that the keyring holds: so
the keyring, which may be slow, locked or ask the user, is touched only by those who put something into it.
"""

from __future__ import annotations

import contextlib
import glob
import hashlib
import logging
import os
import tempfile
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

logger = logging.getLogger(__name__)

SERVICE = "luma"
KEYRING_TIMEOUT_S = 2.0
UNFINISHED = ".unfinished"
LEFTOVER_S = 10.0
"""A younger file may belong to another program that shares the settings and is about to rename it."""

T = TypeVar("T")


class SecretStore:
    """Keys by field name. Blocking; not for the event loop.

    Args:
        folder: The data folder; keys of another one are others.
        use_keyring: False keeps everything in the file.
        keyring_timeout_s: Longest wait for the system's keyring, which may ask the user.
    """

    def __init__(
        self,
        folder: Path,
        *,
        use_keyring: bool = True,
        keyring_timeout_s: float = KEYRING_TIMEOUT_S,
    ) -> None:
        self.path = folder / "secrets.yaml"
        self.uses_keyring = use_keyring
        self._timeout_s = keyring_timeout_s
        self._account = hashlib.sha256(os.fsencode(folder)).hexdigest()[:12]

    def load(self) -> tuple[dict[str, str], tuple[str, ...]]:
        """Every key that is kept, and what the user should know about those that could not be read."""
        held, in_file, notices = self._read_file()
        values = dict(in_file)
        for name in held:
            value = self._ask(partial(self._get, name))
            if value:
                values[name] = value
            else:
                notices.append(
                    f"The system's keyring did not give {name.upper()}; unlock it and start again, or type the key anew."
                )
        return values, tuple(notices)

    def save(self, name: str, value: str) -> str:
        """Keep a key and say where ("the system's keyring" or the file); an empty value forgets it.

        Raises:
            OSError: If the file cannot be written.
        """
        held, in_file, _ = self._read_file()
        if name in held:
            self._ask(lambda ring: ring.delete_password(SERVICE, self._name(name)))
            held.remove(name)
        in_file.pop(name, None)
        where = ""
        if value:
            where = "the system's keyring" if self._put(name, value) else str(self.path)
            if where == str(self.path):
                in_file[name] = value
            else:
                held.append(name)
        self._write_file(held, in_file)
        return where

    def _get(self, name: str, ring: Any) -> str:
        return str(ring.get_password(SERVICE, self._name(name)) or "")

    def _put(self, name: str, value: str) -> bool:
        def put(ring: Any) -> bool:
            ring.set_password(SERVICE, self._name(name), value)
            return bool(ring.get_password(SERVICE, self._name(name)) == value)

        return bool(self._ask(put))

    def _name(self, name: str) -> str:
        return f"{name}@{self._account}"

    def _ask(self, question: Callable[[Any], T]) -> T | None:
        """Ask the keyring on a thread of its own; None when there is none, it refuses, or it takes too long."""
        if not self.uses_keyring:
            return None
        answer: list[T] = []

        def work() -> None:
            try:
                import keyring

                ring = keyring.get_keyring()
                # fail and null mean "there is none"; null would even say that it kept the key.
                if getattr(ring, "priority", 0) > 0:
                    answer.append(question(ring))
            except Exception as error:  # noqa: BLE001 - backends raise whatever their system raises
                logger.warning("the system's keyring failed: %s", type(error).__name__)

        thread = threading.Thread(target=work, name="keyring", daemon=True)
        thread.start()
        thread.join(self._timeout_s)
        if thread.is_alive():
            logger.warning("the system's keyring did not answer within %g s", self._timeout_s)
        return answer[0] if answer else None

    def _read_file(self) -> tuple[list[str], dict[str, str], list[str]]:
        import yaml

        try:
            content = yaml.safe_load(self.path.read_text("utf-8"))
        except (FileNotFoundError, NotADirectoryError):
            return [], {}, []
        except (OSError, UnicodeDecodeError, yaml.YAMLError):
            return [], {}, [f"{self.path} cannot be read; type the keys again in the window."]
        if not isinstance(content, dict):
            return [], {}, []
        held = content.get("in_keyring")
        keys = content.get("keys")
        return (
            [str(name) for name in held] if isinstance(held, list) else [],
            {str(k): str(v) for k, v in keys.items()} if isinstance(keys, dict) else {},
            [],
        )

    def _write_file(self, held: list[str], in_file: dict[str, str]) -> None:
        import yaml

        content = {"in_keyring": sorted(set(held)), "keys": in_file}
        write_private(self.path, yaml.safe_dump(content, allow_unicode=True))


def remove_leftovers(path: Path) -> None:
    """Remove what writers of ``path`` left behind when they were killed; keys may be in it."""
    oldest = datetime.now(UTC).timestamp() - LEFTOVER_S
    for file in path.parent.glob(f".{glob.escape(path.name)}.*{UNFINISHED}"):
        with contextlib.suppress(OSError):
            if file.stat().st_mtime < oldest:
                file.unlink()


def write_private(path: Path, text: str) -> None:
    """Write a file that only this user can read; readers see the old text or the new one, never a part.

    Raises:
        OSError: If the folder or the file cannot be written; the old file is untouched then.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    remove_leftovers(path)
    handle, temporary = tempfile.mkstemp(
        dir=path.parent, prefix=f".{path.name}.", suffix=UNFINISHED
    )
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:  # mkstemp makes it 0600
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
