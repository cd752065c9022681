"""Every speech recogniser: one file each, listed here."""

from __future__ import annotations

from typing import TYPE_CHECKING

from backend.core.registry import Registry

if TYPE_CHECKING:  # engine processes import this package and need neither pydantic nor its 20 MB
    from backend.engines.stt.base import STT

RECOGNISERS: Registry[STT] = Registry(
    "speech recogniser",
    {
        "chain": "backend.engines.stt.chain:Chain",
        "faster_whisper": "backend.engines.stt.faster_whisper:FasterWhisper",
        "openai_compatible": "backend.engines.stt.openai_compatible:OpenAICompatible",
        "script": "backend.engines.stt.script:Script",
        "sphinx": "backend.engines.stt.sphinx:Sphinx",
        "whisper": "backend.engines.stt.whisper:Whisper",
    },
)
