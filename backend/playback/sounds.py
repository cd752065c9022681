"""The sounds of replies: served at once from memory, kept on disk within bounds.

A sound can be fetched the moment its event is out; writing it to disk happens behind that. Oldest turns go first when
the folder is over its size or age.
"""

from __future__ import annotations

import asyncio
import logging
import re
import shutil
from collections import OrderedDict
from datetime import UTC, datetime, timedelta
from pathlib import Path

from backend.audio.wav import to_wav
from backend.contracts.entities import Audio
from backend.contracts.errors import NotFoundError

logger = logging.getLogger(__name__)

KEEP_IN_MEMORY = 64
KEEP_BYTES = 4 << 20
"""Of these: 90 s of sound. What is fetched late comes from the disk, where a few long sentences cost nothing."""
MOST_PASSING = 12
"""Twice as many as can wait and sound at once."""
_TURN_ID = re.compile(r"[0-9a-f]{8,64}")


class SoundStore:
    """WAV files at ``folder/<turn_id>/<n>.wav``.

    Args:
        folder: Where the sounds lie; made when first needed.
        max_bytes: Size at which the oldest turns are removed.
        max_age_days: Age at which they are removed.
    """

    def __init__(self, folder: Path, *, max_bytes: int, max_age_days: float) -> None:
        self._folder = folder
        self._max_bytes = max_bytes
        self._max_age = timedelta(days=max_age_days)
        self._recent: OrderedDict[tuple[str, int], bytes] = OrderedDict()
        self._passing: OrderedDict[str, bytes] = OrderedDict()
        self._bytes = 0
        self._writing: dict[asyncio.Task[None], tuple[str, int]] = {}

    def put(self, turn_id: str, n: int, audio: Audio) -> str:
        """Keep a sound and return its URL; it is on disk a little later."""
        data = to_wav(audio.pcm, audio.rate_hz)
        self._bytes += len(data) - len(self._recent.pop((turn_id, n), b""))
        self._recent[turn_id, n] = data
        task = asyncio.create_task(asyncio.to_thread(self._write, turn_id, n, data))
        self._writing[task] = (turn_id, n)
        task.add_done_callback(self._written)
        return f"/api/audio/{turn_id}/{n}"

    def pass_on(self, sound_id: str, audio: Audio) -> str:
        """Keep a sound in memory alone until it was played, and return its URL; it belongs to no turn."""
        self._passing[sound_id] = to_wav(audio.pcm, audio.rate_hz)
        while len(self._passing) > MOST_PASSING:
            self._passing.popitem(last=False)
        return f"/api/audio/{sound_id}/1"

    async def get(self, turn_id: str, n: int) -> bytes:
        """A sound as WAV.

        Raises:
            NotFoundError: It never was, or was removed to keep the folder within bounds.
        """
        if (data := self._recent.get((turn_id, n))) is not None:
            return data
        if n == 1 and (data := self._passing.get(turn_id)) is not None:
            return data
        if not _TURN_ID.fullmatch(turn_id):
            raise NotFoundError(f"{turn_id[:64]!r} is not the id of a turn.")
        path = self._folder / turn_id / f"{n}.wav"
        try:
            return await asyncio.to_thread(path.read_bytes)
        except OSError as error:
            raise NotFoundError(
                f"The sound of sentence {n} of turn {turn_id[:64]} is not kept any more."
            ) from error

    async def close(self) -> None:
        """Wait until everything is on disk."""
        if self._writing:
            await asyncio.wait(self._writing, timeout=2)

    async def prune(self) -> int:
        """Remove the oldest turns until the folder is within its bounds; return how many went."""
        return await asyncio.to_thread(self._prune)

    def _write(self, turn_id: str, n: int, data: bytes) -> None:
        folder = self._folder / turn_id
        folder.mkdir(parents=True, exist_ok=True)
        part = folder / f"{n}.part"
        part.write_bytes(data)
        part.replace(folder / f"{n}.wav")

    def _written(self, task: asyncio.Task[None]) -> None:
        del self._writing[task]
        self._forget_oldest()
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.warning("could not keep a sound on disk: %s", error)

    def _forget_oldest(self) -> None:
        unwritten = set(self._writing.values())
        for key in list(self._recent):
            if len(self._recent) <= KEEP_IN_MEMORY and self._bytes <= KEEP_BYTES:
                return
            if key not in unwritten:
                self._bytes -= len(self._recent.pop(key))

    def _prune(self) -> int:
        if not self._folder.is_dir():
            return 0
        oldest = datetime.now(UTC) - self._max_age
        turns: list[tuple[float, int, Path]] = []
        for folder in self._folder.iterdir():
            if folder.is_dir() and _TURN_ID.fullmatch(folder.name):
                size = sum(file.stat().st_size for file in folder.iterdir() if file.is_file())
                turns.append((folder.stat().st_mtime, size, folder))
        turns.sort()
        total = sum(size for _, size, _ in turns)
        removed = 0
        for changed, size, folder in turns:
            if total <= self._max_bytes and datetime.fromtimestamp(changed, UTC) >= oldest:
                break
            shutil.rmtree(folder, ignore_errors=True)
            total -= size
            removed += 1
        return removed
