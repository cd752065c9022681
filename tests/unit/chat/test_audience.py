"""Replies off the stage, performed by whoever attends their conversation."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from backend.chat.characters import Characters
from backend.chat.conversations import Chat
from backend.chat.turn import Request, TurnRunner
from backend.contracts.entities import STAGE
from backend.core.bus import EventBus
from backend.modes.mind import alone
from backend.outputs.none import NoSound
from backend.playback.player import Performance, Player, SpokenPiece
from backend.playback.sounds import SoundStore
from backend.storage.database import Database
from tests.fakes import Beeps, WritesText


class Hall:
    """An audience that says itself when it has heard everything."""

    where = "hall"

    def __init__(self, *, wants: bool = True) -> None:
        self.wants = wants
        self.heard: list[str] = []
        self.ended: list[str] = []
        self.complete = asyncio.Event()
        self.may_end = asyncio.Event()
        self.requests: list[Request] = []

    def performer(self, request: Request) -> Hall | None:
        self.requests.append(request)
        return self if self.wants else None

    def begin(self, turn_id: str, conversation_id: str) -> Performance:
        return Performance(turn_id, conversation_id)

    async def enqueue(self, performance: Performance, piece: SpokenPiece) -> None:
        self.heard.append(piece.text)
        performance.heard.append(piece.text)

    async def finish(self, performance: Performance) -> None:
        self.complete.set()
        await self.may_end.wait()
        self.ended.append("finished")

    async def stop(self, performance: Performance) -> None:
        performance.heard[:] = performance.heard[:1]
        self.ended.append("stopped")


@pytest.fixture
async def chat(tmp_path: Path) -> AsyncIterator[Chat]:
    database = Database("", tmp_path)
    await database.open()
    bus = EventBus()
    bus.bind(asyncio.get_running_loop())
    characters = Characters(database, bus, tmp_path / "avatars")
    await characters.open()
    sounds = SoundStore(tmp_path / "turns", max_bytes=10**9, max_age_days=1)
    player = Player(bus, NoSound(), lambda cue, turn_id, conversation_id: None)
    runner = TurnRunner(
        bus, alone(lambda: WritesText(["One. ", "Two. "])), lambda: Beeps(), sounds, player
    )
    chat = Chat(bus=bus, database=database, characters=characters, runner=runner)
    await chat.start()
    yield chat
    await chat.stop()
    await sounds.close()
    await database.close()


async def test_a_turn_lasts_until_its_audience_has_heard_it(chat: Chat) -> None:
    hall = Hall()
    own = await chat.create()
    chat.attend(own.id, hall)
    handle = await chat.send("hi", conversation_id=own.id)
    await hall.complete.wait()
    assert hall.heard == ["One.", "Two."]
    assert not handle.done.done()
    hall.may_end.set()
    assert (await handle.result()).reply == "One. Two."
    assert hall.ended == ["finished"]


async def test_an_interruption_while_it_is_played_keeps_what_was_heard(chat: Chat) -> None:
    hall = Hall()
    own = await chat.create()
    chat.attend(own.id, hall)
    first = await chat.send("hi", conversation_id=own.id)
    await hall.complete.wait()
    assert await chat.interrupt(own.id)
    assert (await first.result()).reply == "One."
    second = await chat.send("hi", conversation_id=own.id)
    await asyncio.wait_for(hall.complete.wait(), 5)
    while not chat.is_busy(own.id) or chat.running_turn(own.id) != second.turn_id:
        await asyncio.sleep(0)
    await chat.interrupt(own.id, heard="O")
    turn = await second.result()
    assert (turn.outcome, turn.reply) == ("interrupted", "O")


async def test_the_stage_and_other_conversations_have_another_audience(chat: Chat) -> None:
    hall = Hall()
    own, other = await chat.create(), await chat.create()
    chat.attend(own.id, hall)
    for conversation_id in (STAGE, other.id):
        await (await chat.send("hi", conversation_id=conversation_id)).result()
    assert hall.requests == []


async def test_who_left_hears_nothing_and_who_came_after_stays(chat: Chat) -> None:
    first, second = Hall(), Hall()
    second.may_end.set()
    own = await chat.create()
    chat.attend(own.id, first)
    chat.attend(own.id, second)
    chat.leave(own.id, first)
    await (await chat.send("hi", conversation_id=own.id)).result()
    assert (first.heard, second.heard) == ([], ["One.", "Two."])
    chat.leave(own.id, second)
    await (await chat.send("hi", conversation_id=own.id)).result()
    assert second.heard == ["One.", "Two."]


async def test_an_audience_may_leave_a_reply_to_its_sender(chat: Chat) -> None:
    hall = Hall(wants=False)
    own = await chat.create()
    chat.attend(own.id, hall)
    turn = await (await chat.send("hi", conversation_id=own.id, origin="api")).result()
    assert turn.reply == "One. Two."
    assert [request.origin for request in hall.requests] == ["api"]
    assert hall.heard == []
