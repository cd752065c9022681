"""An output without sound: what is handed to it counts as heard at once. For servers, tests and machines without sound."""

from __future__ import annotations

from typing import Any

from backend.contracts.entities import Audio
from backend.outputs.base import OutputDevice, Progress, Sounding


class NoSound:
    """Plays nothing, in no time."""

    name = "none"

    def __init__(self, options: Any = None) -> None:
        del options

    async def play(self, audio: Audio, progress: Progress) -> float:
        """Say that all of it was heard."""
        del progress
        return audio.duration_s

    async def follow(self, audio: Audio) -> None:
        """Nothing to prepare."""

    def stop(self) -> None:
        """Nothing to stop."""

    def set_volume(self, volume: float) -> None:
        """Nothing to turn down."""

    def sounding(self, last_s: float = 3.0) -> list[Sounding]:
        """Nothing ever sounds."""
        del last_s
        return []

    async def set_device(self, name: str) -> None:
        """Nothing to choose."""

    async def devices(self) -> list[OutputDevice]:
        """There is none."""
        return []

    def warm(self) -> None:
        """Nothing to load."""

    async def close(self) -> None:
        """Nothing to let go of."""
