"""What the avatar shows."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Depends, Query
from pydantic import BaseModel

from backend.api.bodies import ExpressionBody
from backend.api.errors import FAILURES
from backend.api.state import Services, services
from backend.contracts.entities import STAGE
from backend.contracts.errors import InvalidInputError

router = APIRouter(prefix="/api", tags=["avatar"], responses=FAILURES)

Running = Annotated[Services, Depends(services)]


class FaceShown(BaseModel):
    """What one character shows."""

    character_id: str
    expression: str
    owner: str
    until: datetime | None


@router.post("/expression")
async def post_expression(body: ExpressionBody, running: Running) -> FaceShown:
    """Show an expression, for a while or until changed."""
    return await show_expression(running, body)


@router.get("/avatar/state")
async def avatar_state(
    running: Running,
    character_id: Annotated[
        str | None, Query(max_length=128, description="Whose; none = who is on stage.")
    ] = None,
) -> FaceShown:
    """What a character shows now."""
    whose = character_id or (await running.chat.conversation(STAGE)).character_id
    await running.characters.get(whose)
    return _shown(running, whose)


async def show_expression(running: Services, body: ExpressionBody) -> FaceShown:
    """Show an expression.

    Raises:
        InvalidInputError: The character has no such expression; lists those it has.
        NotFoundError: There is no such character.
    """
    whose = body.character_id or (await running.chat.conversation(STAGE)).character_id
    character = await running.characters.get(whose)
    known = character.expressions or ("neutral",)
    wanted = body.expression_id
    if isinstance(wanted, int):
        if wanted >= len(known):
            raise InvalidInputError(
                f"{character.name} has {len(known)} expressions, numbered from 0; there is no number {wanted}."
            )
        name = known[wanted]
    elif wanted in known or wanted == "neutral":
        name = wanted
    else:
        raise InvalidInputError(
            f"{character.name} has no expression {wanted!r}; there are {', '.join(known)}."
        )
    running.avatar.show(whose, name, owner="api", duration_ms=body.duration)
    return _shown(running, whose)


def _shown(running: Services, character_id: str) -> FaceShown:
    face = running.avatar.current(character_id)
    return FaceShown(
        character_id=character_id, expression=face.expression, owner=face.owner, until=face.until
    )
