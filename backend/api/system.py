"""How the backend is: services, settings, modules; and who may look at it."""

from __future__ import annotations

import asyncio
import re
from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Path, Request
from fastapi.responses import Response
from pydantic import BaseModel

from backend.api.bodies import ConfigBody, LoginLinkBody, ModuleBody
from backend.api.errors import FAILURES
from backend.api.state import Services, services
from backend.contracts.entities import STAGE, ServiceInfo
from backend.contracts.errors import ForbiddenError
from backend.contracts.events import SystemStatus
from backend.contracts.modes import ModeState
from backend.contracts.settings import SettingInfo, SettingsSaved

router = APIRouter(prefix="/api", tags=["system"], responses=FAILURES)

Running = Annotated[Services, Depends(services)]


class Health(BaseModel):
    """That the backend answers; nothing else, because anybody may ask."""

    status: Literal["ok"] = "ok"


class Status(BaseModel):
    """The backend at a glance."""

    version: str
    epoch: str
    seq: int
    events_published: int
    stage_character: str
    stage_busy: bool
    stage_queue: int
    speech: str
    mode: ModeState
    """Who answers everywhere, how each mode is, and the last changes."""
    services: list[ServiceInfo]
    """Modules and engines: state, last error, and what to do."""
    load: SystemStatus | None
    """CPU, memory, disk and GPU as last measured."""
    notices: list[str]


class LoginLink(BaseModel):
    """A link that logs one browser in."""

    url: str
    valid_s: int
    also: list[str] = []
    """The same link by the other names that this backend answers to, for a device elsewhere; one of them works, once."""


class OverlayLink(BaseModel):
    """What an overlay needs to connect."""

    token: str


@router.get("/health", responses={})
async def health() -> Health:
    """Whether the backend answers. The only route without a token."""
    return Health()


@router.get("/status")
async def status(request: Request, running: Running) -> Status:
    """Services, modules and engines with their state, last error and a fix."""
    stage = await running.chat.conversation(STAGE)
    engines = await running.engines.health()
    return Status(
        version=request.app.version,
        epoch=running.database.epoch,
        seq=running.bus.committed_seq,
        events_published=running.bus.published,
        stage_character=stage.character_id,
        stage_busy=running.chat.is_busy(STAGE),
        stage_queue=running.chat.queue_length(STAGE),
        speech=running.engines.speech.name,
        mode=await running.modes.state(),
        services=[
            *running.engines.seen_in(running.modules.list(), engines),
            *engines,
            *await running.monitor.advice(),
            *([clients] if (clients := running.clients.health()).enabled else []),
            *([pages] if (pages := running.listeners.health()).enabled else []),
        ],
        load=running.monitor.latest,
        notices=list(running.database.notices),
    )


@router.get("/config")
async def get_config(running: Running) -> list[SettingInfo]:
    """Every setting: value, meaning, range, where it comes from; secrets masked."""
    return await asyncio.to_thread(running.config.describe)


@router.post("/config")
async def save_config(body: ConfigBody, running: Running) -> SettingsSaved:
    """Save settings; all of them or, when one is wrong, none."""
    return await asyncio.to_thread(running.config.save, dict(body.values))


@router.get("/modules")
async def list_modules(running: Running) -> list[ServiceInfo]:
    """Modules that can be switched on and off, as they are now."""
    return running.modules.list()


@router.post("/modules/{name}")
async def switch_module(
    name: Annotated[str, Path(min_length=1, max_length=64)], body: ModuleBody, running: Running
) -> ServiceInfo:
    """Switch a module on or off; it stays so over a restart."""
    return await running.modules.set_enabled(name, body.enabled)


@router.post("/login-link", tags=["access"])
async def login_link(
    request: Request, running: Running, body: LoginLinkBody | None = None
) -> LoginLink:
    """A link that logs one browser in, once, within a minute or as long as it is to be valid.

    Only who has the API token makes one: a browser that is logged in cannot log others in.
    """
    if request.scope.get("luma.caller") != "operator":
        raise ForbiddenError("A login link is made with the API token, in Luma's window.")
    body = body or LoginLinkBody()
    code = running.access.login_code(body.page, body.valid_s)
    base = str(request.base_url).rstrip("/")
    hosts = [
        host if re.search(r":\d+$", host) else f"{host}:{request.scope['server'][1]}"
        for host in running.page_hosts()
    ]
    return LoginLink(
        url=f"{base}/login?code={code}",
        valid_s=body.valid_s,
        also=[f"{request.url.scheme}://{host}/login?code={code}" for host in hosts],
    )


@router.post("/logout", status_code=204, tags=["access"])
async def end_sessions(running: Running) -> Response:
    """Log every browser out."""
    running.access.end_sessions()
    return Response(status_code=204)


@router.get("/overlay-token", tags=["access"])
async def overlay_token(running: Running) -> OverlayLink:
    """The token for overlay and captions addresses; it reads what the audience may see, and writes nothing."""
    return OverlayLink(token=running.access.overlay_token)


@router.post("/overlay-token/rotate", tags=["access"])
async def rotate_overlay_token(running: Running) -> OverlayLink:
    """Replace the overlay token; overlays with the old one stop at once."""
    return OverlayLink(token=running.access.rotate_overlay_token())
