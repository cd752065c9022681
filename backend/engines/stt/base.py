"""What listening needs of a speech recogniser."""

from __future__ import annotations

from typing import Protocol

from backend.contracts.entities import Audio, Transcript


class STT(Protocol):
    """Speech to text."""

    name: str
    """Registry name ("whisper")."""

    async def transcribe(self, audio: Audio, language: str | None = None) -> Transcript:
        """Read one utterance (any rate; engines resample). Silence gives an empty text, never a made-up one.

        Args:
            audio: Mono sound.
            language: ISO 639-1 code to expect, None to detect.

        Raises:
            EngineUnavailableError: Library or model is missing, with what to do.
            EngineFailedError, ProviderError: It ran and failed, or took too long.
        """
        ...

    def warm(self) -> None:
        """Have everything loaded soon, in the background; called once at start, never raises."""
        ...

    async def close(self) -> None:
        """Let go of models and connections."""
        ...
