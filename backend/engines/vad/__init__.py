"""Every voice detector: one file each, listed here."""

from __future__ import annotations

from typing import TYPE_CHECKING

from backend.core.registry import Registry

if TYPE_CHECKING:
    from backend.engines.vad.base import VAD

DETECTORS: Registry[VAD] = Registry(
    "voice detector",
    {
        "energy": "backend.engines.vad.energy:Energy",
        "silero": "backend.engines.vad.silero:Silero",
    },
)
"""What listening needs to know whether somebody speaks."""
