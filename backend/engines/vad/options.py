"""What each voice detector is built with; filled by backend/app.py."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class EnergyOptions:
    """Loudness above the room.

    Attributes:
        frame_samples: Samples per frame at 16 kHz.
        quietest_dbfs: Nothing below is speech.
        above_room_db: How far above the room a frame is as likely speech as not.
    """

    frame_samples: int = 480
    quietest_dbfs: float = -50.0
    above_room_db: float = 9.0
