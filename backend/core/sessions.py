"""Sessions of browsers, kept over a restart: a tablet that was logged in needs no new link because Luma was started again.

The file holds digests, never what a browser sends; it is worth nothing to whoever reads it. Sessions belong to one API token: with
another token none of them counts.
"""

from __future__ import annotations

import json
import logging
import os
from pathlib import Path

logger = logging.getLogger(__name__)


class SessionFile:
    """The file; a few hundred bytes, written at each login.

    Args:
        path: Where; readable by this user only.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def load(self, belongs_to: str) -> dict[str, float]:
        """Digest of each session and when it ends, as Unix time; empty when the file is missing, broken or of another token."""
        try:
            found = json.loads(self._path.read_text("utf-8"))
            if found["belongs_to"] != belongs_to:
                return {}
            return {str(digest): float(ends_at) for digest, ends_at in found["sessions"].items()}
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            logger.warning("%s cannot be read (%s): browsers log in again", self._path, error)
            return {}

    def save(self, belongs_to: str, sessions: dict[str, float]) -> None:
        """Replace what is kept; a disk that does not take it costs a login after the next start, no more."""
        new = self._path.with_name(f".{self._path.name}.new")
        text = json.dumps({"belongs_to": belongs_to, "sessions": sessions})
        try:
            handle = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                file.write(text)
            new.replace(self._path)
        except OSError as error:
            logger.warning("logins are not kept over a restart: %s", error)
