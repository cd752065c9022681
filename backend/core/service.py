"""What runs from start to stop, and can be switched on and off while the program runs."""

from __future__ import annotations

from collections.abc import Callable
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


class Switch:
    """The simplest service: something that others ask whether it is on.

    Args:
        name: Short name of the module.
        title: What it is called on screen.
        describe: What it does right now, in a few words, asked when somebody looks.
    """

    def __init__(self, name: str, title: str, describe: Callable[[], str]) -> None:
        self.name = name
        self._title = title
        self._describe = describe
        self.is_on = False

    async def start(self) -> None:
        """Be on."""
        self.is_on = True

    async def stop(self) -> None:
        """Be off."""
        self.is_on = False

    def health(self) -> ServiceInfo:
        """On and what it does, or off."""
        return ServiceInfo(
            name=self.name,
            title=self._title,
            enabled=self.is_on,
            state="ready" if self.is_on else "off",
            detail=self._describe() if self.is_on else "switched off",
        )
