"""What listening needs of a voice detector."""

from __future__ import annotations

from typing import Protocol


class VAD(Protocol):
    """Voice activity detection, frame by frame; keeps a little state, so one per stream of sound."""

    name: str
    """Registry name of what works right now ("silero")."""

    frame_samples: int
    """Samples per frame at 16 kHz."""

    async def probabilities(self, sound: bytes) -> list[float]:
        """How likely each frame is speech, 0-1; one call at a time.

        Args:
            sound: Whole frames of PCM16 mono at 16 kHz; a broken rest is left out.

        Raises:
            EngineUnavailableError: Its library or model is missing, with what to do.
            EngineFailedError: It ran and failed, or took too long.
        """
        ...

    def reset(self) -> None:
        """Forget the stream so far."""
        ...
