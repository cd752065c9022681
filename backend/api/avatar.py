"""What the avatars show, who wants what of them, and the rigs there are."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Path, Query, Request
from fastapi.responses import FileResponse

from backend.api.bodies import ExpressionBody, MotionBody, ReleaseBody
from backend.api.errors import FAILURES
from backend.api.owner import Owner
from backend.api.state import Services, services
from backend.contracts.avatar import AvatarShown, CueEntry, Rig, Transition
from backend.contracts.entities import STAGE, Character
from backend.contracts.errors import NotFoundError
from backend.modes.base import ExpressionRequest, MotionRequest

router = APIRouter(prefix="/api", tags=["avatar"], responses=FAILURES)

Running = Annotated[Services, Depends(services)]
RigId = Annotated[str, Path(min_length=1, max_length=128)]
WhoseId = Annotated[str | None, Query(max_length=128, description="Whose; none = who is on stage.")]

RIG_CSP = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; sandbox"
"""A rig's file opened by itself: a picture may have styles, and nothing in it runs."""

CANNOT_BE_SHOWN = "This avatar cannot be shown; Luma's window says why."
NO_RIG = "There is no such rig."


@router.post("/expression")
async def post_expression(body: ExpressionBody, running: Running, owner: Owner) -> AvatarShown:
    """Show an expression, for a while or until changed."""
    return await show_expression(running, body, owner=owner)


@router.post("/motion")
async def post_motion(body: MotionBody, running: Running, owner: Owner) -> AvatarShown:
    """Play a motion, once or again and again."""
    return await play_motion(running, body, owner=owner)


@router.post("/avatar/release")
async def post_release(running: Running, body: ReleaseBody | None = None) -> AvatarShown:
    """End what was asked for: of everybody, or of the owners named; what others still want is shown again."""
    return await release(running, body or ReleaseBody())


@router.get("/avatar/state")
async def avatar_state(running: Running, character_id: WhoseId = None) -> AvatarShown:
    """What a character shows now."""
    return running.cues.shown(await _whose(running, character_id))


@router.get("/avatar/timeline")
async def avatar_timeline(
    running: Running,
    character_id: Annotated[
        str | None, Query(max_length=128, description="Of whom; none = of everybody.")
    ] = None,
    limit: Annotated[int, Query(ge=1, le=2000, description="The newest so many lines.")] = 200,
    turn_id: Annotated[str | None, Query(max_length=64)] = None,
    after: Annotated[int, Query(ge=0, description="Only lines of requests with a greater id.")] = 0,
) -> list[CueEntry]:
    """What became of each request for an expression or motion, oldest first."""
    return running.avatar.timeline(character_id, limit=limit, turn_id=turn_id, after=after)


@router.get("/rigs")
async def list_rigs(running: Running) -> list[Rig]:
    """All rigs: the shipped ones, your own, and the pictures of characters without one."""
    await running.rigs.refresh()
    return list(running.rigs.list(await running.characters.list()))


@router.get("/rigs/{rig_id}")
async def get_rig(request: Request, rig_id: RigId, running: Running) -> Rig:
    """One rig; a character's id gives the pictures of one that has no rig of its id."""
    await running.rigs.refresh()
    try:
        return told_to(request, running.rigs.get(rig_id, await running.characters.list()))
    except NotFoundError:
        if is_overlay(request):
            raise NotFoundError(NO_RIG) from None
        raise


@router.get(
    "/rigs/{rig_id}/files/{path:path}",
    response_class=FileResponse,
    responses={200: {"description": "The file.", "content": {"application/octet-stream": {}}}},
)
async def rig_file(
    rig_id: RigId, path: Annotated[str, Path(min_length=1, max_length=512)], running: Running
) -> FileResponse:
    """A file of a rig."""
    found, media_type = await running.rigs.file(rig_id, path)
    return FileResponse(
        found,
        media_type=media_type,
        headers={"Cache-Control": "private, no-cache", "Content-Security-Policy": RIG_CSP},
    )


@router.get(
    "/rigs/live2d/live2dcubismcore.min.js",
    response_class=FileResponse,
    responses={200: {"description": "The script.", "content": {"text/javascript": {}}}},
)
async def cubism_core(running: Running) -> FileResponse:
    """The Cubism core that the user has put beside the rigs; Live2D avatars are drawn with it."""
    return FileResponse(
        await running.rigs.core(),
        media_type="text/javascript",
        headers={"Cache-Control": "private, no-cache"},
    )


def is_overlay(request: Request) -> bool:
    """Whether it comes from an overlay: what is wrong, and where things lie, is for the operator alone."""
    return request.scope.get("luma.caller") == "overlay"


def told_to(request: Request, rig: Rig) -> Rig:
    """A rig as whoever asks may know it."""
    if rig.problem and is_overlay(request):
        return rig.model_copy(update={"problem": CANNOT_BE_SHOWN})
    return rig


async def show_expression(running: Services, body: ExpressionBody, *, owner: str) -> AvatarShown:
    """Show an expression.

    Raises:
        InvalidInputError: The rig has no such expression; lists those it has.
        NotFoundError: There is no such character.
    """
    character = await _whose(running, body.character_id, body.conversation_id)
    # By way of the mode: a server that answers may have an avatar of its own to move along.
    await running.modes.adapter(body.conversation_id or STAGE).trigger_expression(
        character,
        ExpressionRequest(
            body.expression_id,
            duration_ms=body.duration or 0,
            priority=body.priority or 0,
            transition=transition_of(body.transition),
            owner=owner,
        ),
    )
    return running.cues.shown(character)


async def play_motion(running: Services, body: MotionBody, *, owner: str) -> AvatarShown:
    """Play a motion.

    Raises:
        InvalidInputError: The rig has no such motion; lists those it has.
        NotFoundError: There is no such character.
    """
    character = await _whose(running, body.character_id, body.conversation_id)
    await running.modes.adapter(body.conversation_id or STAGE).trigger_motion(
        character,
        MotionRequest(
            name=body.motion or "",
            group=body.motion_group or "",
            index=body.motion_index,
            loop=body.loop,
            priority=body.priority or 0,
            owner=owner,
        ),
    )
    return running.cues.shown(character)


async def release(running: Services, body: ReleaseBody) -> AvatarShown:
    """End what was asked for.

    Raises:
        NotFoundError: There is no such character.
    """
    character = await _whose(running, body.character_id, body.conversation_id)
    running.avatar.release(character.id, owner=_owners(body.owner), kind=body.kind, name=body.name)
    return running.cues.shown(character)


def _owners(named: str | list[str] | None) -> str | frozenset[str] | None:
    return frozenset(named) if isinstance(named, list) else named


def transition_of(value: Transition | float | None) -> Transition:
    """How a face gets there; older clients say in how many milliseconds."""
    return value if isinstance(value, str) else "smooth"


async def _whose(
    running: Services, character_id: str | None, conversation_id: str | None = None
) -> Character:
    if character_id is None:
        character_id = (await running.chat.conversation(conversation_id or STAGE)).character_id
    return await running.characters.get(character_id)
