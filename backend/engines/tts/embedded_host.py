"""The part of the embedded voice that runs in its own process; imports no numpy, so that this stays at 23 MB."""

from __future__ import annotations

from backend.audio import espeak
from backend.contracts.errors import EngineFailedError, EngineUnavailableError


def warm() -> None:
    """Load library and the default voice."""
    espeak.synthesize("ready")


def synthesize(
    text: bytes, voice: str, *, words_per_minute: float, pitch: float, volume: float
) -> tuple[bytes, int, tuple[tuple[str, float, float], ...]]:
    """PCM16, its rate and the phonemes with their times in s; ``text`` is UTF-8."""
    try:
        spoken = espeak.synthesize(
            text.decode("utf-8", "replace"),
            voice,
            words_per_minute=words_per_minute,
            pitch=pitch,
            volume=volume,
        )
    except espeak.UnknownVoiceError as error:
        raise EngineUnavailableError(str(error)) from error
    except espeak.EspeakError as error:
        raise EngineFailedError(str(error)) from error
    return spoken.pcm, spoken.rate_hz, spoken.phonemes


def voices() -> list[tuple[str, str, str, bool]]:
    """(name, title, gender, is a variant) of all."""
    try:
        return [(v.name, v.title, v.gender, v.is_variant) for v in espeak.voices()]
    except espeak.EspeakError as error:
        raise EngineUnavailableError(str(error)) from error
