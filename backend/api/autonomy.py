"""What she does unasked: how she feels, the triggers, and what she would do now."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends

from backend.api.bodies import ActBody, DryRunBody
from backend.api.errors import FAILURES
from backend.api.state import Services, services
from backend.contracts.autonomy import AutonomyState, DryRun, TriggerRules

router = APIRouter(prefix="/api", tags=["autonomy"], responses=FAILURES)

Running = Annotated[Services, Depends(services)]


@router.get("/autonomy")
async def get_autonomy(running: Running) -> AutonomyState:
    """How she feels, and what she may do next unasked: seconds, and what is against it."""
    return running.autonomy.state()


@router.post("/autonomy/dry-run")
async def dry_run(running: Running, body: DryRunBody | None = None) -> DryRun:
    """What she would do now, or one trigger would have her do, and why; nothing happens."""
    wanted = body or DryRunBody()
    return await running.autonomy.dry_run(wanted.trigger, write=wanted.write)


@router.post("/autonomy/act", status_code=202)
async def act(body: ActBody, running: Running) -> AutonomyState:
    """Have one trigger set off now, whatever the dice and its cooldown say; never over a person."""
    running.autonomy.act(body.trigger)
    return running.autonomy.state()


@router.get("/triggers")
async def get_triggers(running: Running) -> TriggerRules:
    """All triggers, and the hours in which nothing happens."""
    return running.autonomy.rules


@router.put("/triggers")
async def put_triggers(body: TriggerRules, running: Running) -> TriggerRules:
    """Go by these triggers from now on, in place of those before."""
    return await running.autonomy.set_rules(body)
