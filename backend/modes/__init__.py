"""Who answers a turn: one file per mode, listed here; `switch.py` decides which of them does."""

from __future__ import annotations

from backend.core.registry import Registry
from backend.modes.base import BackendAdapter

ADAPTERS: Registry[BackendAdapter] = Registry(
    "backend mode",
    {
        "orphiq": "backend.modes.orphiq:Orphiq",
        "external-api": "backend.modes.external_api:ExternalApi",
        "autonomous": "backend.modes.autonomous:Autonomous",
    },
)
