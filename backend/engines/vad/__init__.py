"""Every voice detector: one file each, listed here."""

from __future__ import annotations

from backend.core.registry import Registry
from backend.engines.vad.base import VAD

DETECTORS: Registry[VAD] = Registry("voice detector", {})
