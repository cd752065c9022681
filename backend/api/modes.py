"""Who answers: the backend modes."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Query
from pydantic import BaseModel

from backend.api.bodies import Id, ModeBody, ModeTestBody
from backend.api.errors import FAILURES
from backend.api.state import Services, services
from backend.contracts.modes import ModeName, ModeState
from backend.core.clock import monotonic_s

router = APIRouter(prefix="/api", tags=["modes"], responses=FAILURES)

Running = Annotated[Services, Depends(services)]
Where = Annotated[
    Id | None, Query(description="Whose; none = everywhere that has no mode of its own.")
]


class ModeTried(BaseModel):
    """A mode that works."""

    mode: ModeName
    detail: str
    """Who answered, in words."""
    elapsed_ms: float


@router.get("/mode")
async def get_mode(running: Running, conversation_id: Where = None) -> ModeState:
    """Who answers, in one conversation or everywhere; how each mode is, and what changed."""
    if conversation_id is not None:
        await running.chat.conversation(conversation_id)
    return await running.modes.state(conversation_id)


@router.put("/mode")
async def put_mode(body: ModeBody, running: Running) -> ModeState:
    """Choose who answers from the next turn on; a running turn finishes, or is cancelled."""
    return await set_mode(running, body)


@router.delete("/mode")
async def delete_mode(running: Running, conversation_id: Where = None) -> ModeState:
    """Take a conversation's own choice back; without one, the choice for everywhere ("auto" again)."""
    if conversation_id is not None:
        await running.chat.conversation(conversation_id)
    return await running.modes.clear(conversation_id)


@router.post("/mode/test", responses={502: {"description": "It does not work; says why."}})
async def test_mode(body: ModeTestBody, running: Running) -> ModeTried:
    """Try a mode now, whether it answers or not: nothing is said, and nothing is remembered."""
    began_s = monotonic_s()
    words = await running.modes.attempt(body.mode)
    return ModeTried(
        mode=body.mode, detail=words, elapsed_ms=round((monotonic_s() - began_s) * 1000, 1)
    )


async def set_mode(running: Services, body: ModeBody) -> ModeState:
    """Choose who answers.

    Raises:
        NotFoundError: There is no such conversation.
        InvalidInputError, ConflictError: As `Modes.set`.
    """
    if body.conversation_id is not None:
        await running.chat.conversation(body.conversation_id)
    return await running.modes.set(
        body.mode,
        conversation_id=body.conversation_id,
        running=body.running,
        reason=f"chosen by {body.by}",
    )
