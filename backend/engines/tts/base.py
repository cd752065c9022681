"""What a turn needs of a speech engine."""

from __future__ import annotations

from typing import Protocol

from backend.contracts.entities import Audio, Speech, VoiceChoice, VoiceInfo

PAUSE_S = 0.2


class TTS(Protocol):
    """Text to speech."""

    name: str
    """Registry name ("piper")."""

    async def synthesize(self, text: str, voice: VoiceChoice) -> Speech:
        """Speak one sentence. Empty or unspeakable text gives a short silence, never an error.

        Raises:
            EngineUnavailableError: Library, voice or key is missing, with what to do.
            EngineFailedError, ProviderError: It ran and failed, or took too long.
        """
        ...

    async def voices(self) -> list[VoiceInfo]:
        """Voices it can speak with now; one that is broken is listed with its problem."""
        ...

    def cache_key(self, voice: VoiceChoice) -> str:
        """Everything besides the text that changes the sound (voice file identity, scales, rate …), as one string."""
        ...

    def warm(self) -> None:
        """Have everything loaded soon, in the background; called once at start, never raises."""
        ...

    async def close(self) -> None:
        """Let go of models and connections."""
        ...


def is_speakable(text: str) -> bool:
    """Whether there is anything to say: a letter or digit of any script."""
    return any(mark.isalnum() for mark in text)


def silence(engine: str, voice: str, duration_s: float = PAUSE_S, rate_hz: int = 22050) -> Speech:
    """A pause."""
    return Speech(Audio(bytes(2 * round(duration_s * rate_hz)), rate_hz), engine, voice)
