"""Which conversations have a mode of their own."""

from __future__ import annotations

import json

from sqlalchemy import Connection, select

from backend.storage import facts
from backend.storage.tables import conversations

FACT = "conversation_modes"


def own(connection: Connection) -> dict[str, str]:
    """Conversation to mode, the oldest choice first; only of conversations that exist."""
    stored = facts.get(connection, FACT)
    if stored is None:
        return {}
    found = json.loads(stored)
    there = set(connection.scalars(select(conversations.c.id)))
    return {where: mode for where, mode in found if where in there}


def put(connection: Connection, choices: dict[str, str]) -> None:
    """Replace all of them."""
    facts.put(connection, FACT, json.dumps(list(choices.items())))
