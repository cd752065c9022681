"""What the routes may call: one typed place, filled by backend/app.py before the first request."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from fastapi import Request, WebSocket

if TYPE_CHECKING:
    from backend.chat.characters import Characters
    from backend.chat.conversations import Chat
    from backend.core.bus import EventBus
    from backend.storage.database import Database


@dataclass
class Services:
    """The running backend."""

    bus: EventBus
    database: Database
    characters: Characters
    chat: Chat


def services(request: Request) -> Services:
    """The running backend, for a route."""
    found: Services = request.app.state.services
    return found


def socket_services(socket: WebSocket) -> Services:
    """The running backend, for a socket."""
    found: Services = socket.app.state.services
    return found
