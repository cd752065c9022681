"""An engine that need not stay: its process ends when nothing was asked for a moment."""

from __future__ import annotations

import os

IDLE_S = 0.03


def pid() -> int:
    return os.getpid()
