"""What Twitch tells, handed to the desk in its order: quickly where the machine is slow, and no deletion before its message."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine
from pathlib import Path
from typing import Any

import pytest

from backend.clients.twitch import Addresses, Frame, Waits, check_address
from backend.clients.twitch import EventSub as Socket
from backend.contracts.audience import AudienceMessage, ViewerEvent
from backend.contracts.errors import InvalidInputError
from backend.core.bus import EventBus
from backend.sources.base import TwitchOptions, TwitchSettings
from backend.sources.twitch import AT_ONCE, TwitchChat
from config_secrets import SecretStore
from tests.loop_turns import turns_during

CHAT, DELETE, BAN = (
    "channel.chat.message",
    "channel.chat.message_delete",
    "channel.chat.clear_user_messages",
)


class Desk:
    """Writes down in which order it learns of things; its work on a message takes until `goes_on` is set."""

    def __init__(self) -> None:
        self.order: list[str] = []
        self.goes_on = asyncio.Event()

    def take(self, message: AudienceMessage) -> Coroutine[Any, Any, object]:
        self.order.append(f"take {message.id}")
        return self._work()

    async def did(self, event: ViewerEvent) -> None:
        self.order.append(f"did {event.id}")

    async def _work(self) -> None:
        await self.goes_on.wait()

    def delete(self, *, message_id: str = "", viewer_id: str = "", **which: object) -> int:
        self.order.append(f"delete {message_id or viewer_id}")
        return 0

    def set_writer(self, write: Any, platform: str = "twitch") -> None:
        del write, platform


@pytest.fixture
async def chat(tmp_path: Path) -> AsyncIterator[tuple[TwitchChat, Desk]]:
    desk = Desk()
    made = TwitchChat(
        TwitchOptions(
            bus=EventBus(),
            audience=desk,
            store=SecretStore(tmp_path, use_keyring=False),
            settings=TwitchSettings(),
        )
    )
    yield made, desk
    await made.close()


async def tell(chat: TwitchChat, kind: str, event: dict[str, Any], n: int) -> None:
    """As the reader of the connection does it."""
    await chat._frame(Frame("notification", f"told-{kind}-{n}", "", kind, event), "kira")
    await chat._breathe()


def said(n: int, who: str = "ann") -> dict[str, Any]:
    return {"message_id": f"m{n}", "chatter_user_id": who, "message": {"text": f"number {n}"}}


async def test_no_deletion_comes_before_its_message_nor_waits_for_one_that_is_looked_at(
    chat: tuple[TwitchChat, Desk],
) -> None:
    made, desk = chat
    wanted: list[str] = []
    for n in range(300):
        await tell(made, CHAT, said(n, f"v{n}"), n)
        kind, event = DELETE, {"message_id": f"m{n}"}
        if n % 2:
            kind, event = BAN, {"target_user_id": f"v{n}"}
        await tell(made, kind, event, n)
        wanted += [f"take m{n}", f"delete {f'v{n}' if n % 2 else f'm{n}'}"]
    assert desk.order == wanted
    desk.goes_on.set()


async def test_a_burst_costs_fewer_turns_of_the_loop_than_it_has_messages(
    chat: tuple[TwitchChat, Desk],
) -> None:
    made, desk = chat

    async def burst() -> None:
        for n in range(100):
            made._turn_s = float("inf")  # the slice of time is never over
            await tell(made, CHAT, said(n), n)

    turns, _ = await turns_during(burst())
    assert len(desk.order) == 100
    assert 100 / AT_ONCE - 2 <= turns <= 100 / AT_ONCE + 2
    desk.goes_on.set()


async def test_who_reads_for_long_lets_the_others_have_a_turn(
    chat: tuple[TwitchChat, Desk],
) -> None:
    made, _ = chat

    async def long_read() -> None:
        for n in range(20):
            made._turn_s = 0.0  # much was read since the last turn
            await tell(made, DELETE, {"message_id": f"m{n}"}, n)

    turns, _ = await turns_during(long_read())
    assert turns >= 19


@pytest.mark.parametrize("url", ["wss://[", "wss://[::1", "ws://a:99999", "http://x", "", "wss://"])
def test_an_address_that_is_none_is_an_answer(url: str) -> None:
    with pytest.raises(InvalidInputError, match="TWITCH_EVENTSUB_URL"):
        check_address(url, "TWITCH_EVENTSUB_URL", ("wss", "ws"))


@pytest.mark.parametrize(
    "url",
    [
        "wss://[",
        "wss://evil.example/",
        "ws://eventsub.wss.twitch.tv/ws",
        "wss://eventsub.wss.twitch.tv.evil.example/",
        "wss://eviltwitch.tv/",
        "wss://eventsub.wss.twitch.tv@evil.example/",
        "javascript:1",
        "",
    ],
)
def test_a_move_to_what_is_not_twitch_is_not_made(url: str) -> None:
    assert Socket(Addresses().eventsub, Waits())._checked_move(url) == ""


def test_a_move_within_twitch_is_made() -> None:
    url = "wss://cell-a.eventsub.wss.twitch.tv/ws?challenge=1"
    assert Socket(Addresses().eventsub, Waits())._checked_move(url) == url
