"""Every speech engine: one file each, listed here."""

from __future__ import annotations

from backend.core.registry import Registry
from backend.engines.tts.base import TTS

VOICES: Registry[TTS] = Registry("speech engine", {})
