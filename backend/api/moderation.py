"""Moderation: the rules in force, the profiles, and trying a text."""

from __future__ import annotations

import asyncio
from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Path
from pydantic import BaseModel

from backend.api.bodies import ModerationBody, ModerationTryBody
from backend.api.errors import FAILURES
from backend.api.state import Services, services
from backend.chat.moderation.profile import LISTS, Profile
from backend.contracts.audience import ModerationAction, Verdict
from backend.contracts.errors import ConflictError, InvalidInputError

router = APIRouter(prefix="/api", tags=["moderation"], responses=FAILURES)

Running = Annotated[Services, Depends(services)]
ProfileName = Annotated[str, Path(pattern=r"^[a-z0-9][a-z0-9_-]{0,39}$")]


class ProfileChoice(BaseModel):
    """A profile that can be chosen."""

    name: str
    title: str
    shipped: bool
    problem: str
    """Why it cannot be used; empty = it can."""


class ModerationState(BaseModel):
    """The rules in force."""

    profile: Profile
    family: bool
    """The family-friendly switch."""
    problem: str
    """Why the profile that is set is not in force; empty = it is."""
    profiles: list[ProfileChoice]
    lists: tuple[str, ...]
    """Word lists that ship, for rules of the kind "words"."""
    llm: Literal["off", "in", "out", "both"]


class ModerationFind(BaseModel):
    """What one rule found."""

    rule: str
    action: ModerationAction
    reason: str
    ranges: list[tuple[int, int]]
    """Characters from, to (exclusive); none = the whole text."""
    pieces: list[str]
    """What stands there."""


class ModerationTried(BaseModel):
    """What would become of a text."""

    verdict: Verdict
    found: list[ModerationFind]
    reads_as: str
    """How the rules read its beginning, without disguises."""
    held_tail: str
    """Its end, where she would wait for the next sentence before she says it."""
    profile: str


@router.get("/moderation")
async def get_moderation(running: Running) -> ModerationState:
    """The rules in force, and the profiles that can be chosen."""
    return await state(running)


@router.put("/moderation")
async def put_moderation(body: ModerationBody, running: Running) -> ModerationState:
    """Choose a profile, set the family switch, or write a profile of your own; in force when this answers."""
    return await change(running, body)


@router.get("/moderation/{name}")
async def get_profile(name: ProfileName, running: Running) -> Profile:
    """One profile, whether it is in force or not."""
    return await asyncio.to_thread(running.moderator.files.load, name)


@router.delete("/moderation/{name}")
async def delete_moderation(name: ProfileName, running: Running) -> ModerationState:
    """Delete a profile of your own; a shipped one of the same name shows again."""
    moderator = running.moderator
    is_used = name == moderator.profile.name
    shipped = {each.name for each in await asyncio.to_thread(moderator.files.shipped)}
    if is_used and name not in shipped:
        raise ConflictError(f"The profile {name!r} is in force; choose another one first.")
    await asyncio.to_thread(moderator.files.delete, name)
    if is_used:
        await moderator.change(name, is_family=moderator.is_family)
    return await state(running)


@router.post("/moderation/try")
async def post_try(body: ModerationTryBody, running: Running) -> ModerationTried:
    """What would become of a text, and why; nothing is counted, and nobody is told."""
    return await try_out(running, body)


async def change(running: Services, body: ModerationBody) -> ModerationState:
    """Change the rules.

    Raises:
        NotFoundError, InvalidInputError: There is no such profile, or it cannot be used.
        ConflictError: Something above the saved settings decides which profile it is.
    """
    moderator = running.moderator
    name = body.name or (body.profile.name if body.profile is not None else moderator.profile.name)
    family = moderator.is_family if body.family is None else body.family
    if body.profile is not None:
        if body.name is not None and body.name != body.profile.name:
            raise InvalidInputError(
                f"The profile is called {body.profile.name!r}, and {body.name!r} is to be chosen; leave one of them out."
            )
        await asyncio.to_thread(moderator.files.save, body.profile)
    compiled = await asyncio.to_thread(moderator.compiled, name, is_family=family)
    values: dict[str, object] = {}
    if name != moderator.profile.name:
        values["moderation_profile"] = name
    if family != moderator.is_family:
        values["moderation_family"] = family
    if values:
        await asyncio.to_thread(running.config.save, values)
    moderator.put(compiled)
    return await state(running)


async def try_out(running: Services, body: ModerationTryBody) -> ModerationTried:
    """What would become of a text."""
    moderator = running.moderator
    # Another profile is read from its file, and made ready; that is nothing for the loop.
    other = None
    if body.profile is not None and body.profile != moderator.profile.name:
        other = await asyncio.to_thread(
            moderator.compiled, body.profile, is_family=moderator.is_family
        )
    tried = moderator.try_out(body.text, body.direction, other)
    return ModerationTried(
        verdict=tried.verdict,
        found=[
            ModerationFind(
                rule=found.hit.rule,
                action=found.hit.action,
                reason=found.hit.reason,
                ranges=list(found.hit.ranges),
                pieces=list(found.pieces),
            )
            for found in tried.found
        ],
        reads_as=tried.reads_as,
        held_tail=tried.held_tail,
        profile=body.profile or moderator.profile.name,
    )


async def state(running: Services) -> ModerationState:
    """The rules in force."""
    moderator = running.moderator
    profiles = await asyncio.to_thread(moderator.profiles)
    return ModerationState(
        profile=moderator.profile,
        family=moderator.is_family,
        problem=moderator.problem,
        profiles=[
            ProfileChoice(
                name=each.name, title=each.title, shipped=each.is_shipped, problem=each.problem
            )
            for each in profiles
        ],
        lists=LISTS,
        llm=moderator.judge.options.asked if moderator.judge is not None else "off",
    )
