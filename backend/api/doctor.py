"""The check-up of the live path: begin, look, cancel."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Request

from backend.api.bodies import CheckupBody
from backend.api.errors import FAILURES
from backend.api.state import Services, services
from backend.contracts.checkup import CheckupReport

router = APIRouter(prefix="/api/doctor", tags=["system"], responses=FAILURES)

Running = Annotated[Services, Depends(services)]


@router.post("")
async def check(
    request: Request, running: Running, body: CheckupBody | None = None
) -> CheckupReport:
    """Begin a check-up; its lines come as `checkup.line` events, and are all in the report. 409 while a turn runs.

    Opens the microphone for 1.5 s and plays one sentence on the stage's device unless told otherwise. Nothing of it
    enters a conversation, captions or overlays; the language model is asked for at most 24 tokens.
    """
    asked = body or CheckupBody()
    server = request.scope.get("server")
    host, port = server if server is not None and server[1] is not None else (None, None)
    return running.checkup.start(
        microphone=asked.microphone, sound=asked.sound, host=host, port=port
    )


@router.get("")
async def report(running: Running) -> CheckupReport:
    """What the running or last check-up has found; state "never" before the first one."""
    return running.checkup.report


@router.delete("")
async def cancel(running: Running) -> CheckupReport:
    """Stop the running check-up; what was found so far stays."""
    return await running.checkup.cancel()
