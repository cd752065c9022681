"""What waits to be sent to one client: in order, bounded, and nobody but this client's own turn waits for it."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from backend.api.errors import encode

FULL_BYTES = 8 << 20
"""From here on a turn waits with its next sentence: some three minutes of sound."""
MOST_BYTES = 32 << 20
MOST_FRAMES = 4000


@dataclass(frozen=True, slots=True)
class _Frame:
    text: str
    is_sound: bool


class Outbox:
    """Frames for one client. One task takes them.

    Attributes:
        is_over: More than may wait had to wait; what was there is gone and the client is to be dropped.
    """

    def __init__(self) -> None:
        self._frames: deque[_Frame] = deque()
        self._size = 0
        self._filled = asyncio.Event()
        self._drained = asyncio.Event()
        self.is_over = False

    def put(self, message: Mapping[str, Any]) -> None:
        """Send it after what waits already."""
        if self.is_over:
            return
        frame = _Frame(encode(message).decode(), message.get("type") == "audio")
        self._frames.append(frame)
        self._size += len(frame.text)
        self._filled.set()
        if self._size > MOST_BYTES or len(self._frames) > MOST_FRAMES:
            self.is_over = True
            self._frames.clear()
            self._size = 0
            self._drained.set()

    def drop_sound(self) -> None:
        """Forget the sentences that were not sent yet."""
        self._frames = deque(frame for frame in self._frames if not frame.is_sound)
        self._size = sum(len(frame.text) for frame in self._frames)
        self._drained.set()

    async def take(self) -> str | None:
        """The next frame; None when too much waited."""
        while not self._frames:
            if self.is_over:
                return None
            self._filled.clear()
            await self._filled.wait()
        frame = self._frames.popleft()
        self._size -= len(frame.text)
        self._drained.set()
        return frame.text

    async def room(self) -> None:
        """Wait while much waits; whoever reads too slowly is dropped by the one who takes."""
        while self._size > FULL_BYTES:
            self._drained.clear()
            await self._drained.wait()
