"""what viewers write, and commands of the streamer's own.

Revision 0005, after 0004, 2026-11-21.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = '0005'
down_revision = '0004'
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table('audience_messages',
    sa.Column('seq', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), autoincrement=True, nullable=False),
    sa.Column('message_id', sa.String(length=128), nullable=False),
    sa.Column('platform', sa.String(length=32), nullable=False),
    sa.Column('channel', sa.String(length=100), nullable=False),
    sa.Column('viewer_id', sa.String(length=128), nullable=False),
    sa.Column('author', sa.String(length=200), nullable=False),
    sa.Column('role', sa.String(length=16), nullable=False),
    sa.Column('text', sa.Text(), nullable=False),
    sa.Column('bits', sa.Integer(), nullable=False),
    sa.Column('at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('disposition', sa.String(length=16), nullable=False),
    sa.Column('reason', sa.Text(), nullable=False),
    sa.Column('rule', sa.String(length=200), nullable=False),
    sa.Column('into_id', sa.String(length=128), nullable=False),
    sa.Column('turn_id', sa.String(length=64), nullable=True),
    sa.Column('decided_at', sa.DateTime(timezone=True), nullable=False),
    sa.PrimaryKeyConstraint('seq', name=op.f('pk_audience_messages')),
    sa.UniqueConstraint('message_id', name=op.f('uq_audience_messages_message_id'))
    )
    with op.batch_alter_table('audience_messages', schema=None) as batch_op:
        batch_op.create_index(batch_op.f('ix_audience_messages_decided_at'), ['decided_at'], unique=False)
        batch_op.create_index('ix_audience_messages_disposition', ['disposition', 'seq'], unique=False)
        batch_op.create_index('ix_audience_messages_viewer', ['platform', 'viewer_id', 'seq'], unique=False)

    op.create_table('chat_commands',
    sa.Column('name', sa.String(length=32), nullable=False),
    sa.Column('details', sa.JSON(), nullable=False),
    sa.Column('uses', sa.Integer(), nullable=False),
    sa.Column('updated_at', sa.DateTime(timezone=True), nullable=False),
    sa.PrimaryKeyConstraint('name', name=op.f('pk_chat_commands'))
    )
