"""What listening is told; filled by backend/app.py from the settings ASR_… and BARGE_IN…."""

from __future__ import annotations

from dataclasses import dataclass, field

from backend.contracts.listening import EchoGuard, ListeningMode
from backend.listening.endpointing import Rules


@dataclass(frozen=True, slots=True)
class ListeningOptions:
    """How it is listened; the settings of the same names say more.

    Attributes:
        mode: Microphone off, heard while a key is held, or open.
        device: Microphone by name; empty = the system's.
        gain_db: Added to what it gives.
        is_muted: Nothing that is said counts.
        frame_ms: Sound handed on at a time.
        detector: Voice detector by registry name.
        rules: Where an utterance begins and ends.
        reads_along: Partial transcripts while somebody speaks.
        language: ISO 639-1 code to expect; empty = detect.
        guard: How her own voice is kept out.
        barge_in: Whether speaking interrupts her.
        barge_in_ms: Speech it takes.
    """

    mode: ListeningMode = "off"
    device: str = ""
    gain_db: float = 0.0
    is_muted: bool = False
    frame_ms: int = 32
    detector: str = "silero"
    rules: Rules = field(default_factory=Rules)
    reads_along: bool = True
    language: str = ""
    guard: EchoGuard = "guard"
    barge_in: bool = True
    barge_in_ms: int = 350
