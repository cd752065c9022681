"""What listening needs to know whether somebody speaks."""

from __future__ import annotations

from typing import Protocol


class VAD(Protocol):
    """Voice activity detection, frame by frame; keeps a little state, so one per stream."""

    frame_samples: int
    """Samples per frame at 16 kHz."""

    def speech_probability(self, frame: bytes) -> float:
        """0-1 for one frame of PCM16 mono at 16 kHz."""
        ...

    def reset(self) -> None:
        """Forget the stream so far."""
        ...
