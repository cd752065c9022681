"""What was said in a conversation, as much of it as a prompt can use."""

from __future__ import annotations

from collections import deque

from backend.chat.prompt import Exchange

KEPT_EXCHANGES = 200
"""More than any context budget takes in practice, few enough that a long-lived conversation costs no memory."""


class History:
    """The newest exchanges of one conversation with one character, oldest first."""

    def __init__(self, exchanges: list[Exchange]) -> None:
        self._exchanges: deque[Exchange] = deque(exchanges, maxlen=KEPT_EXCHANGES)

    def append(self, exchange: Exchange) -> None:
        """Remember what was said and heard."""
        self._exchanges.append(exchange)

    def forget(self, turn_id: str) -> None:
        """Remember no more what was said in that turn."""
        kept = [one for one in self._exchanges if one.turn_id != turn_id]
        self._exchanges = deque(kept, maxlen=KEPT_EXCHANGES)

    def newest(self, limit: int = KEPT_EXCHANGES) -> list[Exchange]:
        """The last ``limit`` exchanges, oldest first."""
        return list(self._exchanges)[-limit:]

    def clear(self) -> None:
        """Forget everything."""
        self._exchanges.clear()
