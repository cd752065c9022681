"""An engine that need not stay: its process ends when nothing was asked for a moment. One library is imported first."""

from __future__ import annotations

import os
import sys

IDLE_S = 0.03
FIRST = ("colorsys",)


def pid() -> int:
    return os.getpid()


def is_imported(name: str) -> bool:
    return name in sys.modules
