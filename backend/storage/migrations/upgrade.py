"""Run the migrations. The only importer of Alembic, itself imported only when there is something to migrate."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection

HERE = Path(__file__).parent


def configuration(connection: Connection, versions: Path) -> Config:
    """Alembic's configuration for our scripts and this connection."""
    # A % in the path is Config's own placeholder sign.
    config = Config()
    config.set_main_option("script_location", str(HERE).replace("%", "%%"))
    config.set_main_option("path_separator", "newline")
    config.set_main_option("version_locations", str(versions).replace("%", "%%"))
    config.attributes["connection"] = connection
    return config


def upgrade(connection: Connection, versions: Path) -> None:
    """Bring the database to the newest revision inside the connection's present transaction."""
    command.upgrade(configuration(connection, versions), "head")
