"""Every speech recogniser: one file each, listed here."""

from __future__ import annotations

from backend.core.registry import Registry
from backend.engines.stt.base import STT

RECOGNISERS: Registry[STT] = Registry("speech recogniser", {})
