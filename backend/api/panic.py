"""The big red button: everything stops at once, and goes on."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends

from backend.api.bodies import PanicBody
from backend.api.errors import FAILURES
from backend.api.state import Services, services
from backend.contracts.panic import PanicState

router = APIRouter(prefix="/api", tags=["panic"], responses=FAILURES)

Running = Annotated[Services, Depends(services)]


@router.get("/panic")
async def get_panic(running: Running) -> PanicState:
    """Whether everything is stopped."""
    return running.panic.state


@router.post("/panic")
async def panic(running: Running, body: PanicBody | None = None) -> PanicState:
    """Stop every turn, silence voice and microphone, and make every face neutral, until /api/resume."""
    return await running.panic.begin((body or PanicBody()).by)


@router.post("/resume")
async def resume(running: Running, body: PanicBody | None = None) -> PanicState:
    """Go on after a panic: voice, microphone and faces are as they were set."""
    return running.panic.end((body or PanicBody()).by)
