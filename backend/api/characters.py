"""Characters: list, make, edit, copy, delete, bring in and hand out; and who is active."""

from __future__ import annotations

from typing import Annotated, Literal
from urllib.parse import quote

from fastapi import APIRouter, Depends, File, Form, Header, Path, Query, UploadFile
from fastapi.responses import FileResponse, Response

from backend.api.bodies import CharacterFields, DuplicateBody, SwitchBody
from backend.api.conversations import conversation_of
from backend.api.errors import FAILURES
from backend.api.state import Services, services
from backend.api.uploads import read_upload
from backend.contracts.entities import STAGE, Character, Conversation
from backend.contracts.errors import NotFoundError

router = APIRouter(prefix="/api", tags=["characters"], responses=FAILURES)

CARD_BYTES = 32 * 1024 * 1024
PICTURE_BYTES = 16 * 1024 * 1024

# A picture may be an SVG from a card: whatever it holds, it runs nothing.
PICTURE_CSP = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; sandbox"

Running = Annotated[Services, Depends(services)]
CharacterId = Annotated[str, Path(min_length=1, max_length=128)]


@router.get("/characters")
async def list_characters(running: Running) -> list[Character]:
    """All characters."""
    return await running.characters.list()


@router.get("/characters/{character_id}")
async def get_character(character_id: CharacterId, running: Running) -> Character:
    """One character."""
    return await running.characters.get(character_id)


@router.post("/characters", status_code=201)
async def create_character(body: CharacterFields, running: Running) -> Character:
    """Make a character; only a name is required."""
    await _check_rig(body, running)
    return await running.characters.create(body.given())


@router.patch("/characters/{character_id}")
async def update_character(
    character_id: CharacterId, body: CharacterFields, running: Running
) -> Character:
    """Change some fields of a character."""
    await _check_rig(body, running)
    return await running.characters.update(character_id, body.given())


@router.delete("/characters/{character_id}", status_code=204)
async def delete_character(character_id: CharacterId, running: Running) -> Response:
    """Delete a character; shipped ones stay. Where it was on, the default character takes over."""
    character = await running.characters.get(character_id)
    if not character.builtin:
        # First, so that no message comes to a conversation without anybody in it.
        heir = await running.characters.default()
        for conversation in await running.chat.conversations():
            if conversation.character_id == character_id:
                await running.chat.switch_character(conversation.id, heir.id)
    await running.characters.delete(character_id)
    running.avatar.release(character_id)
    return Response(status_code=204)


@router.post("/characters/{character_id}/duplicate", status_code=201)
async def duplicate_character(
    character_id: CharacterId, running: Running, body: DuplicateBody | None = None
) -> Character:
    """Copy a character; a copy of a shipped one can be deleted."""
    return await running.characters.duplicate(character_id, body.name if body else None)


@router.post("/characters/{character_id}/reset")
async def reset_character(character_id: CharacterId, running: Running) -> Character:
    """Bring a shipped character back to how it came."""
    return await running.characters.reset(character_id)


@router.post("/characters/import", status_code=201)
async def import_character(
    file: Annotated[UploadFile, File(description="A character card: PNG or JSON, V1 to V3.")],
    running: Running,
) -> Character:
    """Make a character from a SillyTavern character card."""
    data = await read_upload(file, CARD_BYTES)
    return await running.characters.import_card(data, file.filename or "")


@router.post("/characters/{character_id}/picture")
async def set_character_picture(
    character_id: CharacterId,
    file: Annotated[UploadFile, File(description="PNG, JPEG or WebP.")],
    running: Running,
    expression: Annotated[str, Form(max_length=64)] = "neutral",
) -> Character:
    """Give a character a picture for one expression."""
    data = await read_upload(file, PICTURE_BYTES)
    return await running.characters.set_picture(character_id, data, expression, file.filename or "")


@router.get(
    "/characters/{character_id}/export",
    response_class=Response,
    responses={
        200: {
            "description": "The card.",
            "content": {"image/png": {}, "application/json": {}},
        }
    },
)
async def export_character(
    character_id: CharacterId,
    running: Running,
    kind: Annotated[Literal["png", "json"], Query()] = "png",
    version: Annotated[Literal["v2", "v3"], Query()] = "v3",
) -> Response:
    """The character as a card file."""
    card = await running.characters.export_card(character_id, kind, version)
    return Response(
        card.data,
        media_type=card.media_type,
        headers={
            "Content-Disposition": f"attachment; filename*=UTF-8''{quote(card.filename, safe='')}"
        },
    )


@router.get(
    "/avatars/{character_id}/{expression}.png",
    response_class=FileResponse,
    responses={200: {"description": "The picture.", "content": {"image/png": {}}}},
)
async def avatar_picture(
    character_id: CharacterId,
    expression: Annotated[str, Path(min_length=1, max_length=64)],
    running: Running,
) -> FileResponse:
    """A character's face; an expression without a picture of its own shows the neutral one."""
    path = running.characters.avatar_path(character_id, expression)
    if path is None:
        raise NotFoundError(f"{character_id[:64]!r} has no picture.")
    return FileResponse(
        path,
        media_type="image/png",
        headers={"Cache-Control": "private, no-cache", "Content-Security-Policy": PICTURE_CSP},
    )


@router.post("/switch_character")
async def switch_character(
    body: SwitchBody,
    running: Running,
    x_client_uid: Annotated[str, Header(alias="X-Client-UID", max_length=128)] = "",
) -> Conversation:
    """Give a conversation to another character: the stated one, the client's own, or the stage."""
    conversation_id = body.conversation_id
    if conversation_id is None:
        conversation_id = STAGE
        if x_client_uid:
            own = await conversation_of(running, x_client_uid, character_id=body.character_id)
            conversation_id = own.id
    return await running.chat.switch_character(conversation_id, body.character_id)


async def _check_rig(body: CharacterFields, running: Services) -> None:
    """A rig is named that there is: what cannot be found would be noticed on stage only."""
    if body.rig:
        await running.rigs.refresh()
        running.rigs.check(body.rig)
