"""What runs from start to stop, and can be switched on and off while the program runs."""

from __future__ import annotations

from typing import Protocol

from backend.contracts.entities import ServiceInfo


class Service(Protocol):
    """A module with a clear start and end; all calls in the backend's loop."""

    name: str
    """Stable short name: "hear", "speak", "see", "memory", "avatar", "twitch", "autonomy" …"""

    async def start(self) -> None:
        """Begin; raise AppError when it cannot, with what to do."""
        ...

    async def stop(self) -> None:
        """End within 2 s; safe when not started."""
        ...

    def health(self) -> ServiceInfo:
        """How it is right now, without waiting for anything."""
        ...
