"""What a client sees of its conversations: those of its own in which something was said."""

from __future__ import annotations

from typing import Any

from backend.api.client_door import Identity
from backend.api.client_ws import messages
from backend.api.client_ws.turns import BY_ITSELF
from backend.api.state import Services
from backend.contracts.entities import Character, Conversation
from backend.contracts.errors import ConflictError
from backend.contracts.events import wire_time
from backend.storage import conversations as rows
from backend.storage import turns as turn_rows

MOST_LISTED = 100
MOST_TURNS = 200
MOST_KEPT = 1000
"""Conversations one client, or all from one place, may have."""


async def listed(running: Services, who: Identity, character: Character) -> list[dict[str, Any]]:
    """Its histories with this character, newest first, each with the last that was said."""
    found = await running.database.read(
        lambda c: rows.histories(c, who.owner, character.id, MOST_LISTED)
    )
    return [
        {
            "uid": conversation.id,
            "latest_message": (
                _message("ai", log.reply, wire_time(log.at), character)
                if log.reply
                else _message("human", log.message, wire_time(log.at), character, log.author)
            ),
            "timestamp": wire_time(log.at),
        }
        for conversation, log in found
    ]


async def owned(running: Services, who: Identity, conversation_id: str) -> Conversation | None:
    """One of its conversations; None when there is none of that id, or it is somebody else's."""
    found = await running.database.read(lambda c: rows.get(c, conversation_id))
    if found is None or not found.client_uid:
        return None
    is_theirs = (
        found.client_uid.startswith(who.owner)
        if who.owner.endswith("-")
        else found.client_uid == who.owner
    )
    return found if is_theirs else None


async def latest(running: Services, who: Identity) -> Conversation | None:
    """The conversation that its uid means on REST; None when it has none."""
    found = await running.database.read(lambda c: rows.list_all(c, who.uid))
    return found[0] if found else None


async def spoken(
    running: Services, conversation_id: str, character: Character
) -> list[dict[str, Any]]:
    """What was said, oldest first, as `human` and `ai`; what only asked her to speak by herself is left out."""
    turns = await running.database.read(
        lambda c: turn_rows.recent(c, MOST_TURNS, conversation_id=conversation_id)
    )
    said = []
    for turn in reversed(turns):
        at = wire_time(turn.started_at)
        if turn.source != BY_ITSELF and turn.message:
            said.append(_message("human", turn.message, at, character, turn.author, turn.id))
        if turn.reply:
            said.append(_message("ai", turn.reply, at, character, turn_id=turn.id))
    return said


async def check_room(running: Services, who: Identity) -> None:
    """See that another conversation may be made.

    Raises:
        ConflictError: There are too many.
    """
    count = await running.database.read(lambda c: rows.count_of(c, who.owner))
    if count >= MOST_KEPT:
        raise ConflictError(
            f"There are {count:,} conversations already, at most {MOST_KEPT:,} are kept. Delete some of them first."
        )


def _message(
    role: str,
    content: str,
    at: str,
    character: Character,
    author: str = "",
    turn_id: str = "",
) -> dict[str, Any]:
    told: dict[str, Any] = {"role": role, "timestamp": at, "content": content}
    if role == "ai":
        told |= {"name": character.name, "avatar": messages.avatar(character)}
    elif author:
        told["name"] = author
    if turn_id:
        told["id"] = f"{turn_id}-{role}"
    return told
