"""ids of clips are given only once.

Revision 0004, after 0003, 2026-11-21.
"""

from __future__ import annotations

from alembic import op

revision = '0004'
down_revision = '0003'
branch_labels = None
depends_on = None


def upgrade() -> None:
    # A server's sequence never goes back. SQLite's can only be had by making the table anew; it goes on after the largest id.
    if op.get_bind().dialect.name != 'sqlite':
        return
    with op.batch_alter_table(
        'training_data', recreate='always', table_kwargs={'sqlite_autoincrement': True}
    ):
        pass
