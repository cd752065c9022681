"""Waveform and spectrogram of clips, drawn in a process of their own and kept for the next look."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

from backend.core.workers import EngineHost
from backend.training.clips import Clips

KEPT = 128
"""Pictures in memory: 800 x 200 pixels are about 80 KB."""

DRAW_S = 30.0
"""A picture takes 10 ms; its process may have to start first."""

_PICTURE = "backend.audio.picture"


@dataclass(frozen=True, slots=True)
class Picture:
    """A PNG and the tag that names its content."""

    png: bytes
    etag: str


class Pictures:
    """Draws clips; all methods are for the backend's loop."""

    def __init__(self, clips: Clips, host: EngineHost) -> None:
        self._clips = clips
        self._host = host
        self._kept: OrderedDict[tuple[str, ...], Any] = OrderedDict()

    async def peaks(
        self, clip_id: int, columns: int, *, before: bool = False
    ) -> dict[str, list[float]]:
        """Lowest and highest sample of each column, in [-1, 1].

        Raises:
            NotFoundError: There is none of that id.
            InvalidInputError: Its file cannot be read.
        """
        key, path = await self._place(clip_id, before, "peaks", str(columns))
        if (found := self._known(key)) is None:
            told = await self._host.call(f"{_PICTURE}:peaks", path, columns, timeout_s=DRAW_S)
            found = self._keep(key, {"low": told["low"], "high": told["high"]})
        kept: dict[str, list[float]] = found
        return kept

    async def spectrogram(
        self, clip_id: int, width: int, height: int, *, before: bool = False
    ) -> Picture:
        """Grey PNG, 0 to 8 kHz with the low ones at the bottom.

        Raises:
            NotFoundError: There is none of that id.
            InvalidInputError: Its file cannot be read.
        """
        key, path = await self._place(clip_id, before, "spectrogram", str(width), str(height))
        if (found := self._known(key)) is None:
            png = await self._host.call(
                f"{_PICTURE}:spectrogram_png", path, width, height, timeout_s=DRAW_S
            )
            found = self._keep(key, Picture(png, f'"{_digest(key)}"'))
        picture: Picture = found
        return picture

    async def etag(self, clip_id: int, width: int, height: int, *, before: bool = False) -> str:
        """What the picture's tag would be, without drawing it.

        Raises:
            NotFoundError: There is none of that id.
        """
        key, _ = await self._place(clip_id, before, "spectrogram", str(width), str(height))
        return f'"{_digest(key)}"'

    async def _place(self, clip_id: int, before: bool, *what: str) -> tuple[tuple[str, ...], str]:
        row = await self._clips.row(clip_id)
        path = self._clips.path(row, before=before)
        # The sound from before has no digest of its own; while a clip is edited again, it stays the same.
        which = f"before {row.uid}" if before else row.sha256
        return (which, *what), str(path.absolute())

    def _known(self, key: tuple[str, ...]) -> Any:
        if key in self._kept:
            self._kept.move_to_end(key)
            return self._kept[key]
        return None

    def _keep(self, key: tuple[str, ...], value: Any) -> Any:
        self._kept[key] = value
        while len(self._kept) > KEPT:
            self._kept.popitem(last=False)
        return value


def _digest(key: tuple[str, ...]) -> str:
    return hashlib.sha256("\n".join(key).encode()).hexdigest()[:32]
