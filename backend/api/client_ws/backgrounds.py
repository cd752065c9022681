"""Pictures that a client may show behind the character: the files of one folder, by name and nothing else."""

from __future__ import annotations

import re
from pathlib import Path

from backend.core.workers import run_in_thread

MEDIA = {
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".png": "image/png",
    ".gif": "image/gif",
    ".webp": "image/webp",
    ".avif": "image/avif",
}
MOST_LISTED = 500
_NAME = re.compile(r"[^/\\\x00-\x1f:.][^/\\\x00-\x1f:]{0,120}")


async def backgrounds(folder: Path) -> list[str]:
    """Names of the pictures, in order; none when there is no such folder."""
    return await run_in_thread(_names, folder)


def picture(folder: Path, name: str) -> tuple[Path, str] | None:
    """A picture and its media type; None when the folder holds none of that name."""
    path = folder / name
    media = MEDIA.get(path.suffix.lower())
    if media is None or not _NAME.fullmatch(name):
        return None
    try:
        if path.is_symlink() or not path.is_file():
            return None
    except OSError:  # a name that no disk takes: letters may have four bytes
        return None
    return path, media


def _names(folder: Path) -> list[str]:
    if not folder.is_dir():
        return []
    return sorted(path.name for path in folder.iterdir() if picture(folder, path.name))[
        :MOST_LISTED
    ]
