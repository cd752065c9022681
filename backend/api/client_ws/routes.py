"""The socket of Open-LLM-VTuber clients, and the plain GETs and the upload that come with it."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, File, Path, UploadFile, WebSocket
from fastapi.responses import FileResponse
from pydantic import BaseModel

from backend.api.avatar import RIG_CSP
from backend.api.client_ws.backgrounds import picture
from backend.api.client_ws.client import Client
from backend.api.client_ws.models import listed
from backend.api.errors import FAILURES
from backend.api.state import Services, services, socket_services
from backend.api.uploads import read_upload
from backend.contracts.errors import ConflictError, NotFoundError
from backend.core.sound import decode_audio
from backend.core.workers import run_in_thread

router = APIRouter(tags=["compatible clients"], responses=FAILURES)

Running = Annotated[Services, Depends(services)]
Name = Annotated[str, Path(min_length=1, max_length=128)]

SOUND_BYTES = 32 * 1024 * 1024
LONGEST_S = 120.0

# Pages of these clients come from another port, and those of Electron from a file.
FOR_PAGES = {"Cross-Origin-Resource-Policy": "cross-origin", "Cache-Control": "private, no-cache"}


class Read(BaseModel):
    """Sound as text."""

    text: str


@router.websocket("/client-ws")
async def client_socket(socket: WebSocket) -> None:
    """Talk with a character of one's own, in the Open-LLM-VTuber protocol."""
    await Client(socket, socket_services(socket)).serve()


@router.post("/asr")
async def read_sound(
    file: Annotated[UploadFile, File(description="WAV, 16 kHz mono at best.")], running: Running
) -> Read:
    """Read a sound file, as Open-LLM-VTuber clients ask for it; POST /api/stt says more."""
    if not running.hearing.is_on:
        raise ConflictError('The module "hear" is switched off; switch it on to have sound read.')
    data = await read_upload(file, SOUND_BYTES)
    audio = await decode_audio(
        running.host, data, name=(file.filename or "the file")[:200], max_s=LONGEST_S
    )
    return Read(text=(await running.engines.hearing.transcribe(audio, None)).text)


@router.get("/live2d-models/info")
async def models(running: Running) -> dict[str, Any]:
    """Live2D models that clients can show: the user's rigs of that kind."""
    await running.rigs.refresh()
    return await run_in_thread(listed, running.rigs)


@router.get(
    "/live2d-models/{rig_id}/{path:path}",
    response_class=FileResponse,
    responses={200: {"description": "The file.", "content": {"application/octet-stream": {}}}},
)
async def model_part(
    rig_id: Name, path: Annotated[str, Path(min_length=1, max_length=512)], running: Running
) -> FileResponse:
    """A file of a Live2D model."""
    await running.rigs.refresh()
    running.rigs.live2d(rig_id)
    found, media_type = await running.rigs.file(rig_id, path)
    return FileResponse(
        found, media_type=media_type, headers={**FOR_PAGES, "Content-Security-Policy": RIG_CSP}
    )


@router.get(
    "/bg/{name}",
    response_class=FileResponse,
    responses={200: {"description": "The picture.", "content": {"image/jpeg": {}}}},
)
async def background(name: Name, running: Running) -> FileResponse:
    """A picture to show behind the character."""
    found = picture(running.clients.backgrounds, name)
    if found is None:
        raise NotFoundError(f"There is no background {name[:80]!r}.")
    path, media = found
    return FileResponse(path, media_type=media, headers=FOR_PAGES)


@router.get(
    "/avatars/{name}",
    response_class=FileResponse,
    responses={200: {"description": "The picture.", "content": {"image/png": {}}}},
)
async def avatar(name: Name, running: Running) -> FileResponse:
    """A character's face beside what it says: its id and ".png"."""
    path = running.characters.avatar_path(name.removesuffix(".png"))
    if path is None or not name.endswith(".png"):
        raise NotFoundError(f"There is no picture {name[:80]!r}.")
    return FileResponse(path, media_type="image/png", headers=FOR_PAGES)
