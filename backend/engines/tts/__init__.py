"""Every speech engine: one file each, listed here."""

from __future__ import annotations

from typing import TYPE_CHECKING

from backend.core.registry import Registry

if TYPE_CHECKING:  # engine processes import this package and need neither pydantic nor its 20 MB
    from backend.engines.tts.base import TTS

VOICES: Registry[TTS] = Registry(
    "speech engine",
    {
        "cache": "backend.engines.tts.cache:Cache",
        "chain": "backend.engines.tts.chain:Chain",
        "embedded": "backend.engines.tts.embedded:Embedded",
        "openai_compatible": "backend.engines.tts.openai_compatible:OpenAICompatible",
        "piper": "backend.engines.tts.piper:Piper",
        "tone": "backend.engines.tts.tone:Tone",
    },
)
