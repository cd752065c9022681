"""What an overlay page needs to be right at once, also when it connects in the middle of a sentence."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Request
from pydantic import BaseModel

from backend.api.avatar import told_to
from backend.api.errors import FAILURES
from backend.api.state import Services, services
from backend.avatar.rigs import pictures_of
from backend.contracts.avatar import AvatarShown, MouthTime, Rig, WordTime
from backend.contracts.entities import STAGE

router = APIRouter(tags=["avatar"], responses=FAILURES)


class OnStage(BaseModel):
    """Who is on stage."""

    id: str
    name: str


class NowPlaying(BaseModel):
    """The sentence that sounds, as `playback.started` told it, and how far it has come."""

    turn_id: str | None
    n: int
    text: str
    url: str
    position_s: float
    duration_s: float
    sink: str
    mouth: tuple[MouthTime, ...]
    words: tuple[WordTime, ...]


class OverlayState(BaseModel):
    """Everything an overlay shows.

    Attributes:
        pictures: What stands in where the rig cannot be shown; without expressions when there are none.
    """

    character: OnStage
    rig: Rig
    pictures: Rig
    shown: AvatarShown
    sink: str
    volume: float
    playing: NowPlaying | None


@router.get("/overlay/state")
async def overlay_state(
    request: Request, running: Annotated[Services, Depends(services)]
) -> OverlayState:
    """The stage's avatar, what it shows, and what it says right now; the overlay token may read it."""
    await running.rigs.refresh()
    character = await running.characters.get((await running.chat.conversation(STAGE)).character_id)
    playing = running.player.now_playing(STAGE)
    now = None
    if playing is not None:
        started = playing.started
        now = NowPlaying(
            turn_id=started.turn_id,
            n=started.n,
            text=started.text,
            url=started.url,
            position_s=round(playing.position_s, 3),
            duration_s=started.duration_s,
            sink=started.sink,
            mouth=started.mouth,
            words=started.words,
        )
    return OverlayState(
        character=OnStage(id=character.id, name=character.name),
        rig=told_to(request, running.rigs.of(character).rig),
        pictures=pictures_of(character),
        shown=running.avatar.shown(character.id),
        sink=running.player.sink.name,
        volume=round(running.player.heard_volume, 3),
        playing=now,
    )
