"""What the running task works for, a turn or a check-up, so that callbacks deep in an engine can tell the right one."""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass

from backend.contracts.events import AnyEvent


@dataclass(slots=True)
class TurnContext:
    """The turn and conversation a task belongs to.

    Attributes:
        held: Events of a reply that is thought ahead and may be thrown away, until it is taken; None = they are published.
    """

    turn_id: str
    conversation_id: str
    held: list[AnyEvent] | None = None


current_turn: ContextVar[TurnContext | None] = ContextVar("current_turn", default=None)
"""Set by the turn for itself and the tasks it starts."""

checkup_notes: ContextVar[list[str] | None] = ContextVar("checkup_notes", default=None)
"""Set by a check for itself: failures on the way are noted there, and not told as those of a turn."""
