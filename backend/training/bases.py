"""Checkpoints in the models folder that a full training can start from: downloaded ones, and those people put there."""

from __future__ import annotations

import hashlib
from pathlib import Path

from backend.contracts.errors import NotFoundError
from backend.contracts.training import BaseFile

FOLDER = "base"
ENDINGS = (".safetensors", ".ckpt", ".pt")
MOST = 200
PIECE_BYTES = 4 << 20


def list_bases(models_dir: Path) -> list[BaseFile]:
    """What lies there, by name; blocks on the disk."""
    found = []
    try:
        files = sorted((models_dir / FOLDER).iterdir())
    except OSError:
        return []
    for path in files[:MOST]:
        if path.suffix in ENDINGS and path.is_file() and not path.is_symlink():
            title = path.stem.replace("_", " ").replace("-", " ")
            size = path.stat().st_size
            found.append(BaseFile(path=f"{FOLDER}/{path.name}", title=title, size_bytes=size))
    return found


def digest(models_dir: Path, path: str) -> str:
    """SHA-256 of one of them: what a person confirms who trusts a file of the old pickle format. Seconds for 850 MB.

    Raises:
        NotFoundError: It is none of those listed.
    """
    if path not in {one.path for one in list_bases(models_dir)}:
        raise NotFoundError(f"There is no base {path[:120]!r} in the models folder.")
    made = hashlib.sha256()
    with (models_dir / path).open("rb") as file:
        while piece := file.read(PIECE_BYTES):
            made.update(piece)
    return made.hexdigest()
