"""What the player needs of a place where sound goes."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol

from backend.contracts.entities import Audio

KEPT_S = 12.0
"""What left a sink is known for so long: a busy computer hears its echo seconds later."""

Progress = Callable[[float, float], None]
"""Called in the backend's loop with the position (s) that has left the sink and the level (dBFS) there.

Negative, once and first: so long before the first sample sounds. Only from a sink that others play for, who need the time."""


@dataclass(frozen=True, slots=True)
class OutputDevice:
    """A place to play on, by the name a person knows it under."""

    name: str
    is_default: bool
    host_api: str = ""


@dataclass(frozen=True, slots=True)
class Sounding:
    """A stretch of sound that left the sink, as loud as it left it.

    Attributes:
        pcm: PCM16, mono.
        rate_hz: Its samples a second.
        at_s: Monotonic time at which its first sample left.
        is_sure: Whether it follows what was before it as these times say; not right after the device ran dry, jumped or was opened
            anew between two sounds: what the device did then is a guess.
    """

    pcm: bytes
    rate_hz: int
    at_s: float
    is_sure: bool = True

    @property
    def end_s(self) -> float:
        """Monotonic time at which its last sample left."""
        return self.at_s + len(self.pcm) / 2 / self.rate_hz


@dataclass(frozen=True, slots=True)
class SpeakerOptions:
    """What the computer's sound output is given."""

    convert: Callable[[Audio, int], Awaitable[Audio]] | None = None
    """Sound at another rate, for a device that plays no other."""


@dataclass(frozen=True, slots=True)
class OverlayOptions:
    """What the sink of overlay pages is given.

    Attributes:
        listeners: How many pages that play sound are connected.
        played_for: Told at the start of every sound how many that were.
        now_s: Its clock, monotonic; None = the computer's.
        wait: Waits for the event, no longer than the seconds; None = in real time.
    """

    listeners: Callable[[], int] = lambda: 0
    played_for: Callable[[int], None] = lambda _count: None
    now_s: Callable[[], float] | None = None
    wait: Callable[[asyncio.Event, float], Awaitable[None]] | None = None


class Sink(Protocol):
    """Plays one sound at a time."""

    name: str

    async def play(self, audio: Audio, progress: Progress) -> float:
        """Play to the end, or until `stop`; return the seconds that were heard, when the last of them has left.

        ``progress`` is called when the first of it sounds, then 10-20 times a second; never after the return.

        Raises:
            EngineUnavailableError: There is no such device, or it cannot be opened, with what to do.
        """
        ...

    async def follow(self, audio: Audio) -> None:
        """Have a sound begin right where the one that plays ends; the next `play` is called with it."""
        ...

    def stop(self) -> None:
        """Fall silent within 50 ms, without a click; what was to follow does not."""
        ...

    def set_volume(self, volume: float) -> None:
        """0-1, heard within 50 ms."""
        ...

    def sounding(self, last_s: float = 3.0) -> list[Sounding]:
        """What left the sink in the last seconds (`KEPT_S` are kept) and what is about to, oldest first; pauses are between them."""
        ...

    async def set_device(self, name: str) -> None:
        """Play on the device of that name from the next sound on; empty = the system's default."""
        ...

    async def devices(self) -> list[OutputDevice]:
        """What can be played on now."""
        ...

    def warm(self) -> None:
        """Have everything loaded soon, in the background; never raises."""
        ...

    async def close(self) -> None:
        """Let go of the device."""
        ...
