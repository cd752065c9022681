"""What listening needs of a place where sound comes from.

Inside everything is mono PCM16 at 16 kHz in frames of one length; what the device gives is the source's own business.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from backend.clients.microphone import Microphones
from backend.contracts.entities import Audio
from backend.contracts.listening import InputDeviceInfo

RATE_HZ = 16_000


@dataclass(frozen=True, slots=True)
class SoundLevel:
    """How loud it is, after the gain.

    Attributes:
        level_dbfs: RMS; -120 for silence.
        peak_dbfs: The largest sample.
        clipped: The device or the gain has cut the sound off at the top.
    """

    level_dbfs: float
    peak_dbfs: float
    clipped: bool


@dataclass(frozen=True, slots=True)
class SourceState:
    """How the device is.

    Attributes:
        is_open: Sound comes in.
        device: What is really open; empty when nothing is.
        rate_hz: Of the device; 0 when nothing is open.
        problem: Why nothing comes in and what to do, in words; empty = nothing is wrong, or it is being opened. As long
            as it stands the device is tried again, with pauses that grow from 1 to 10 s.
    """

    is_open: bool = False
    device: str = ""
    rate_hz: int = 0
    problem: str = ""


OnFrame = Callable[[bytes], None]
"""Called in the loop with each whole frame of PCM16 mono at `RATE_HZ`."""

OnLevel = Callable[[SoundLevel], None]
"""Called in the loop, at most 20 times a second of sound."""

OnState = Callable[[SourceState], None]
"""Called in the loop with every change, and with nothing else: the same problem is told once."""


@dataclass(frozen=True, slots=True)
class MicrophoneOptions:
    """What the microphone is given.

    Attributes:
        microphones: Where microphones are.
        device: By name; empty = the system's, also when that changes.
        gain_db: Added to what the device gives.
        frame_ms: Length of a frame.
    """

    microphones: Microphones
    device: str = ""
    gain_db: float = 0.0
    frame_ms: int = 32


class SoundSource(Protocol):
    """A device that is listened to; all methods are for the backend's loop."""

    name: str

    @property
    def state(self) -> SourceState:
        """How it is now."""
        ...

    def start(self, on_frame: OnFrame, on_level: OnLevel, on_state: OnState) -> None:
        """Open the device in the background and keep it open until `stop`, whatever happens to it.

        Started twice, the second one counts.
        """
        ...

    async def stop(self) -> None:
        """Let go of the device; nothing is called afterwards. Safe when not started."""
        ...

    def set_device(self, name: str) -> None:
        """Listen to the device of that name from now on; empty = the system's."""
        ...

    def set_gain(self, gain_db: float) -> None:
        """Add so much from the next piece of sound on."""
        ...

    def set_frame_ms(self, frame_ms: int) -> None:
        """Hand over frames of that length from now on."""
        ...

    async def devices(self) -> list[InputDeviceInfo]:
        """What can be listened to now.

        Raises:
            EngineUnavailableError: The devices cannot be listed, with what to do.
        """
        ...

    async def record(self, seconds: float, on_level: OnLevel | None = None) -> Audio:
        """Sound of the device as listening gets it (16 kHz, with the gain), whether it is started or not.

        Raises:
            EngineUnavailableError: It cannot be opened, or gives nothing, with what to do.
        """
        ...
