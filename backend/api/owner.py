"""Whose wish a request about the avatar is: the timeline tells them apart, and one side's release leaves the others' be.

Nobody says so in a body, where a page or a script could speak in another's name. The guard knows how somebody came in; among
those with the API token the window names itself by a header. It opens no door: with the token they may all do the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import Depends
from starlette.requests import HTTPConnection

CLIENT_HEADER = "x-luma-client"
"""What the window sends with everything it asks for: `window`. Other values mean nothing."""

WINDOW, PAGE, CLIENT, API = "window", "page", "client", "api"


def owner_of(connection: HTTPConnection) -> str:
    """Who asks: `page` (a browser that is logged in), `client` (a compatible one without token), `window` or `api`."""
    scope: Mapping[str, Any] = connection.scope
    match scope.get("luma.caller"):
        case "page":
            return PAGE
        case "client":
            return CLIENT
    return WINDOW if connection.headers.getlist(CLIENT_HEADER) == [WINDOW] else API


async def _owner(connection: HTTPConnection) -> str:
    """Async, or every request would go through a worker thread for it."""
    return owner_of(connection)


Owner = Annotated[str, Depends(_owner)]
"""The owner, for a route."""
