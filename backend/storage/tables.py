"""The tables. Plain SQLAlchemy, nothing that only SQLite knows: PostgreSQL stays possible through DATABASE_URL.

Times are UTC, aware on the way in and out whatever the database keeps. Rows become contract values in the file of their
table.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    DateTime,
    Float,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    TypeDecorator,
    text,
)

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(column_0_label)s",
        "uq": "uq_%(table_name)s_%(column_0_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
)


class Moment(TypeDecorator[datetime]):
    """A moment in UTC; SQLite keeps no time zone, so it is put on again when read."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Any) -> datetime | None:
        """Move the moment to UTC."""
        return None if value is None else value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Any) -> datetime | None:
        """Say that the moment is UTC."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


BigKey = BigInteger().with_variant(Integer, "sqlite")

database_facts = Table(
    "database_facts",
    metadata,
    Column("name", String(64), primary_key=True),
    Column("value", Text, nullable=False),
)

characters = Table(
    "characters",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("name", String(200), nullable=False),
    Column("profile", Text, nullable=False, default=""),
    Column("personality", JSON, nullable=False),
    Column("avatar_url", Text, nullable=False, default=""),
    Column("details", JSON, nullable=False),
    Column("builtin", Boolean, nullable=False, default=False),
    Column("created_at", Moment, nullable=False),
    Column("updated_at", Moment, nullable=False),
)

conversations = Table(
    "conversations",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("character_id", String(64), nullable=False),
    Column("client_uid", String(128), nullable=False, default=""),
    Column("title", String(200), nullable=False, default=""),
    Column("created_at", Moment, nullable=False),
    Column("updated_at", Moment, nullable=False),
)

turns = Table(
    "turns",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("conversation_id", String(64), nullable=False),
    Column("character_id", String(64), nullable=False),
    Column("number", Integer, nullable=False),
    Column("origin", String(32), nullable=False),
    Column("author", String(200), nullable=False),
    Column("outcome", String(16), nullable=False),
    Column("error", Text, nullable=False, default=""),
    Column("first_audio_ms", Float),
    Column("total_ms", Float, nullable=False),
    Column("spans", JSON, nullable=False),
    Column("sentences", JSON, nullable=False),
    Column("started_at", Moment, nullable=False, index=True),
    Index("ix_turns_conversation", "conversation_id", "number"),
)

chat_logs = Table(
    "chat_logs",
    metadata,
    Column("id", BigKey, primary_key=True, autoincrement=True),
    Column("turn_id", String(64), nullable=False, unique=True),
    Column("conversation_id", String(64), nullable=False),
    Column("character_id", String(64), nullable=False),
    Column("author", String(200), nullable=False, default=""),
    Column("user_message", Text, nullable=False),
    Column("character_response", Text, nullable=False),
    Column("audio_file", Text),
    Column("emotion", String(64), nullable=False, default=""),
    Column("timestamp", Moment, nullable=False),
    Index("ix_chat_logs_conversation", "conversation_id", "id"),
)

training_data = Table(
    "training_data",
    metadata,
    Column("id", BigKey, primary_key=True, autoincrement=True),
    Column("filename", Text, nullable=False),
    Column("transcript", Text, nullable=False, default=""),
    Column("duration", Float, nullable=False),
    Column("speaker", String(200), nullable=False, default=""),
    Column("emotion", String(64), nullable=False, default=""),
    Column("quality", String(16), nullable=False, default=""),
    Column("created_at", Moment, nullable=False),
    # Names the clip for ever; NULL in rows of a time before clips had files of ours.
    Column("uid", String(64), unique=True),
    Column("source", Text, nullable=False, default="", server_default=""),
    Column("start_s", Float, nullable=False, default=0.0, server_default="0"),
    Column("end_s", Float, nullable=False, default=0.0, server_default="0"),
    Column("status", String(16), nullable=False, default="new", server_default="new"),
    Column("language", String(32), nullable=False, default="", server_default=""),
    Column("text_from", String(16), nullable=False, default="", server_default=""),
    Column("reasons", JSON, nullable=False, default=list, server_default="[]"),
    Column("measures", JSON, nullable=False, default=dict, server_default="{}"),
    # What the table of clips is sorted by lies outside of the JSON too.
    Column("snr_db", Float),
    Column("loudness", Float),
    Column("match_cost", Float),
    Column("sha256", String(64), nullable=False, default="", server_default=""),
    Column("edited", Boolean, nullable=False, default=False, server_default=text("false")),
    Column("upload_id", String(64), nullable=False, default="", server_default=""),
    Column("job_id", String(64), nullable=False, default="", server_default=""),
    Column("prompt_id", String(64), nullable=False, default="", server_default=""),
    Column("deleted_at", Moment),
    Column("updated_at", Moment),
    Index("ix_training_data_speaker", "speaker", "id"),
    # An id is never given twice: whoever still holds that of a clip that is gone must not change another one.
    sqlite_autoincrement=True,
)

clip_models = Table(
    "clip_models",
    metadata,
    Column("model", String(200), primary_key=True),
    Column("clip_uid", String(64), primary_key=True, index=True),
)

speakers = Table(
    "speakers",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("name", String(200), nullable=False),
    Column("language", String(32), nullable=False),
    Column("consent", Text, nullable=False, default=""),
    Column("consent_at", Moment),
    Column("synthetic", Boolean, nullable=False, default=False),
    Column("created_at", Moment, nullable=False),
    Column("updated_at", Moment, nullable=False),
)

models = Table(
    "models",
    metadata,
    Column("id", String(128), primary_key=True),
    Column("name", String(200), nullable=False),
    Column("kind", String(32), nullable=False),
    Column("model_path", Text, nullable=False),
    Column("character_id", String(64)),
    Column("status", String(32), nullable=False),
    Column("epochs_trained", Integer, nullable=False, default=0),
    Column("loss", Float),
    Column("details", JSON, nullable=False),
    Column("created_at", Moment, nullable=False),
    Column("updated_at", Moment, nullable=False),
)

events = Table(
    "events",
    metadata,
    Column("seq", BigKey, primary_key=True, autoincrement=False),
    Column("id", String(64), nullable=False),
    Column("event_type", String(64), nullable=False, index=True),
    Column("message", Text, nullable=False),
    Column("data", JSON, nullable=False),
    Column("timestamp", Moment, nullable=False, index=True),
    Column("severity", String(16), nullable=False),
    Column("source", String(64), nullable=False, default=""),
    Column("turn_id", String(64), index=True),
    Column("job_id", String(64), index=True),
)

module_states = Table(
    "module_states",
    metadata,
    Column("name", String(64), primary_key=True),
    Column("enabled", Boolean, nullable=False),
)

training_jobs = Table(
    "training_jobs",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("kind", String(16), nullable=False),
    Column("state", String(16), nullable=False, index=True),
    Column("name", String(200), nullable=False, default=""),
    Column("speaker", String(200), nullable=False, default=""),
    Column("details", JSON, nullable=False),
    Column("memory", JSON, nullable=False),
    Column("created_at", Moment, nullable=False, index=True),
    Column("ended_at", Moment),
)

audience_messages = Table(
    "audience_messages",
    metadata,
    Column("seq", BigKey, primary_key=True, autoincrement=True),
    Column("message_id", String(128), nullable=False, unique=True),
    Column("platform", String(32), nullable=False),
    Column("channel", String(100), nullable=False, default=""),
    Column("viewer_id", String(128), nullable=False),
    Column("author", String(200), nullable=False),
    Column("role", String(16), nullable=False),
    Column("text", Text, nullable=False),
    Column("bits", Integer, nullable=False, default=0),
    Column("at", Moment, nullable=False),
    Column("disposition", String(16), nullable=False),
    Column("reason", Text, nullable=False, default=""),
    Column("rule", String(200), nullable=False, default=""),
    Column("into_id", String(128), nullable=False, default=""),
    Column("turn_id", String(64)),
    Column("decided_at", Moment, nullable=False, index=True),
    Index("ix_audience_messages_disposition", "disposition", "seq"),
    Index("ix_audience_messages_viewer", "platform", "viewer_id", "seq"),
)

chat_commands = Table(
    "chat_commands",
    metadata,
    Column("name", String(32), primary_key=True),
    Column("details", JSON, nullable=False),
    Column("uses", Integer, nullable=False, default=0),
    Column("updated_at", Moment, nullable=False),
)

__all__ = [
    "audience_messages",
    "characters",
    "chat_commands",
    "chat_logs",
    "clip_models",
    "conversations",
    "database_facts",
    "events",
    "metadata",
    "models",
    "module_states",
    "speakers",
    "training_data",
    "training_jobs",
    "turns",
]
