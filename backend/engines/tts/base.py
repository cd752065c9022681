"""What a turn needs of a speech engine."""

from __future__ import annotations

from typing import Protocol

from backend.contracts.entities import Speech, VoiceChoice, VoiceInfo


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

    async def close(self) -> None:
        """Let go of models and connections."""
        ...
