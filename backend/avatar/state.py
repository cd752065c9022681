"""What every avatar shows right now: one expression per character, who asked for it, and until when.

The last request wins. When its time is over, or its owner lets go, the face returns to neutral; a timer of an
expression that was replaced meanwhile does nothing.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import datetime, timedelta

from backend.contracts.errors import InvalidInputError
from backend.contracts.events import AvatarChanged
from backend.core import clock
from backend.core.bus import EventBus

NEUTRAL = "neutral"
MAX_DURATION_MS = 24 * 3600 * 1000


@dataclass(frozen=True, slots=True)
class Face:
    """What one character shows.

    Attributes:
        expression: Its name ("joy").
        owner: Who asked for it ("chat", "api", "command"); empty at rest.
        until: When it ends, UTC; None = until changed.
    """

    expression: str = NEUTRAL
    owner: str = ""
    until: datetime | None = None


AT_REST = Face()


class AvatarState:
    """The faces of all characters. Belongs to the backend's loop."""

    def __init__(self, bus: EventBus) -> None:
        self._bus = bus
        self._faces: dict[str, Face] = {}
        self._timers: dict[str, asyncio.TimerHandle] = {}

    def current(self, character_id: str) -> Face:
        """What the character shows now."""
        return self._faces.get(character_id, AT_REST)

    def show(
        self,
        character_id: str,
        expression: str,
        *,
        owner: str,
        duration_ms: float | None = None,
        turn_id: str | None = None,
    ) -> Face:
        """Show an expression, for a while or until changed.

        Args:
            character_id: Whose face.
            expression: Its name.
            owner: Who asks; only the same owner can release it early.
            duration_ms: How long; None or 0 = until changed.
            turn_id: The turn it belongs to, for the event.

        Raises:
            InvalidInputError: If the duration is negative or longer than a day.
        """
        if duration_ms is not None and not 0 <= duration_ms <= MAX_DURATION_MS:
            raise InvalidInputError(
                f"An expression cannot last {duration_ms:g} ms: give 0 (until changed) to {MAX_DURATION_MS} ms."
            )
        self._stop_timer(character_id)
        until = clock.now() + timedelta(milliseconds=duration_ms) if duration_ms else None
        face = Face(expression, owner if expression != NEUTRAL else "", until)
        self._become(character_id, face, turn_id)
        if duration_ms:
            self._timers[character_id] = asyncio.get_running_loop().call_later(
                duration_ms / 1000, self._expire, character_id
            )
        return face

    def release(self, character_id: str, *, owner: str, turn_id: str | None = None) -> bool:
        """Back to neutral, if ``owner`` is still the one who is shown; says whether it was."""
        if self.current(character_id).owner != owner or not owner:
            return False
        self._stop_timer(character_id)
        self._become(character_id, AT_REST, turn_id)
        return True

    def close(self) -> None:
        """Forget all timers."""
        for character_id in tuple(self._timers):
            self._stop_timer(character_id)

    def _expire(self, character_id: str) -> None:
        self._timers.pop(character_id, None)
        self._become(character_id, AT_REST, None)

    def _stop_timer(self, character_id: str) -> None:
        timer = self._timers.pop(character_id, None)
        if timer is not None:
            timer.cancel()

    def _become(self, character_id: str, face: Face, turn_id: str | None) -> None:
        before = self.current(character_id)
        if face == AT_REST:
            self._faces.pop(character_id, None)  # only faces that differ from rest are kept
        else:
            self._faces[character_id] = face
        if before.expression != face.expression:
            self._bus.publish(
                AvatarChanged(
                    expression=face.expression,
                    owner=face.owner,
                    character_id=character_id,
                    turn_id=turn_id,
                )
            )
