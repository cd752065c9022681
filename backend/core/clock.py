"""The two clocks, in one place so that tests can move them."""

from __future__ import annotations

import time
from datetime import UTC, datetime


def now() -> datetime:
    """The date and time, UTC, aware."""
    return datetime.now(UTC)


def monotonic_s() -> float:
    """Seconds that only ever grow; for durations."""
    return time.monotonic()
