"""Which turn the running task works for, so that callbacks deep in an engine can name it."""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class TurnContext:
    """The turn and conversation a task belongs to."""

    turn_id: str
    conversation_id: str


current_turn: ContextVar[TurnContext | None] = ContextVar("current_turn", default=None)
"""Set by the turn for itself and the tasks it starts."""
