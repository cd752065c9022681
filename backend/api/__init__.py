"""HTTP and WebSocket: unpack, call one thing, pack."""

from __future__ import annotations

from backend.api import (
    avatar,
    characters,
    chat,
    client_ws,
    conversations,
    doctor,
    events,
    library,
    listening,
    modes,
    on_demand,
    overlay,
    pages,
    panic,
    queue,
    speech,
    stream,
    system,
    training,
    voice_data,
    webui,
)

ROUTERS = (
    chat.router,
    conversations.router,
    characters.router,
    speech.router,
    listening.router,
    library.router,
    voice_data.router,
    training.router,
    avatar.router,
    modes.router,
    on_demand.router,
    events.router,
    system.router,
    doctor.router,
    panic.router,
    queue.router,
    overlay.router,
    pages.router,
    webui.router,
    stream.router,
    client_ws.router,
)
"""Every router, in the order of the docs page."""
