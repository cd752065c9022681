"""Where a performance goes: one file each, listed here."""

from __future__ import annotations

from backend.core.registry import Registry
from backend.outputs.base import Sink

SINKS: Registry[Sink] = Registry(
    "sound output",
    {
        "none": "backend.outputs.none:NoSound",
        "overlay": "backend.outputs.overlay:Overlay",
        "speaker": "backend.outputs.speaker:Speaker",
    },
)
