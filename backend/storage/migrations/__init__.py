"""How the tables changed over time: one numbered file per change in ``versions``, run by Alembic.

A new one: ``python -m backend.storage.migrations "what changes"`` compares `tables` with the newest revision.
"""

from __future__ import annotations

from pathlib import Path

MIGRATIONS = Path(__file__).parent
VERSIONS = MIGRATIONS / "versions"


def revisions(versions: Path) -> list[str]:
    """Every revision the program knows, oldest first: a file ``NNNN_what.py`` is the revision NNNN."""
    return sorted(file.name.partition("_")[0] for file in versions.glob("[0-9]*_*.py"))
