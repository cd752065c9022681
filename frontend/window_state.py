"""What the window remembers over restarts: size, tab, theme, scale, and what tabs ask to keep."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

logger = logging.getLogger(__name__)

LARGEST_BYTES = 256 * 1024


def read_state(path: Path) -> dict[str, Any]:
    """What was remembered; empty when there is nothing or it cannot be read."""
    try:
        if path.stat().st_size > LARGEST_BYTES:
            raise ValueError(f"{path} is larger than {LARGEST_BYTES:,} bytes")
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        logger.warning("the window's memory is not used: %s", error)
        return {}
    return value if isinstance(value, dict) else {}


def write_state(path: Path, state: dict[str, Any]) -> None:
    """Remember; a crash in the middle leaves the old file."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        fresh = path.with_name(path.name + ".new")
        fresh.write_text(json.dumps(state, indent=1, ensure_ascii=False), encoding="utf-8")
        fresh.replace(path)
    except (OSError, TypeError, ValueError) as error:
        logger.warning("the window's state was not saved to %s: %s", path, error)
