"""What Alembic runs for every command: our tables, on the connection it was handed."""

from __future__ import annotations

from typing import Literal

from alembic import context
from alembic.autogenerate.api import AutogenContext

from backend.storage.tables import Moment, metadata


def render(kind: str, item: object, autogenerate: AutogenContext) -> str | Literal[False]:
    """Write our own column type as the type below it: a migration must not depend on today's code."""
    if kind == "type" and isinstance(item, Moment):
        return "sa.DateTime(timezone=True)"
    return False


context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    render_as_batch=True,  # SQLite cannot alter a column in place
    compare_type=True,
    render_item=render,
)
with context.begin_transaction():
    context.run_migrations()
