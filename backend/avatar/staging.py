"""Tell overlays who is on stage: they may read what the audience sees (`avatar.*`), not what happens to characters."""

from __future__ import annotations

from collections.abc import Callable

from backend.contracts.entities import STAGE
from backend.contracts.events import AnyEvent, AvatarStaged, CharacterChanged, CharacterSwitched
from backend.core.bus import EventBus

MOST_WAITING = 1000


async def tell_of_stage(bus: EventBus, on_stage: Callable[[], str]) -> None:
    """Publish `avatar.staged` whenever another character goes on stage, or the one there was edited; runs until cancelled.

    Args:
        bus: Where characters are told of.
        on_stage: Id of the character on stage.
    """

    def concerns_characters(event: AnyEvent) -> bool:
        return isinstance(event, CharacterSwitched | CharacterChanged)

    with bus.subscribe(limit=MOST_WAITING, wanted=concerns_characters) as subscription:
        async for event in subscription:
            match event:
                case CharacterSwitched(conversation_id=conversation) if conversation == STAGE:
                    bus.publish(AvatarStaged(character_id=event.character_id, name=event.name))
                case CharacterChanged(change="updated") if event.character_id == on_stage():
                    bus.publish(AvatarStaged(character_id=event.character_id, name=event.name))
