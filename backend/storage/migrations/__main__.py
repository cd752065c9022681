"""Write a new migration: ``python -m backend.storage.migrations "what changes"``. Read it before you commit it."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from alembic import command

from backend.storage import sqlite
from backend.storage.migrations import VERSIONS, revisions
from backend.storage.migrations.upgrade import configuration, upgrade


def write_migration(message: str, versions: Path) -> None:
    """Compare `tables` with the newest revision and write the difference as the next numbered file."""
    known = revisions(versions)
    number = f"{int(known[-1]) + 1 if known else 1:04d}"
    with tempfile.TemporaryDirectory() as folder:
        engine = sqlite.writer_engine(Path(folder) / "newest.db")
        with engine.begin() as connection:
            if known:
                upgrade(connection, versions)
            command.revision(
                configuration(connection, versions),
                message,
                autogenerate=True,
                rev_id=number,
                version_path=str(versions),
            )
        engine.dispose()


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit('usage: python -m backend.storage.migrations "what changes"')
    write_migration(sys.argv[1], VERSIONS)
