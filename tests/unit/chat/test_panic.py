"""The panic: silent at once, every turn stopped, nothing answered, and all as it was afterwards."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from backend.chat.conversations import HeldError
from backend.chat.panic import Panic
from backend.contracts.entities import STAGE
from backend.contracts.events import ChatMessage, PanicChanged, TurnFinished
from tests.fakes import Watch
from tests.listening_room import Room, room_in


class Ears:
    """All that listens, in short."""

    is_held = False

    def hold(self, is_held: bool) -> None:
        self.is_held = is_held


@asynccontextmanager
async def panicky(folder: Path) -> AsyncIterator[tuple[Room, Panic, Ears, list[bool]]]:
    async with room_in(folder) as room:
        ears, calmed = Ears(), list[bool]()
        yield room, Panic(room.bus, room.chat, room.player, ears, calmed.append), ears, calmed


async def test_a_panic_is_silent_before_anything_is_waited_for(tmp_path: Path) -> None:
    async with panicky(tmp_path) as (room, panic, ears, calmed):
        room.player.set_volume(0.5)
        task = asyncio.create_task(panic.begin("window"))
        await asyncio.sleep(0)
        assert room.sink.volume == 0.0
        assert ears.is_held
        assert calmed == [True]
        await task


async def test_a_panic_stops_the_turns_of_every_conversation_and_what_waits(
    tmp_path: Path,
) -> None:
    async with panicky(tmp_path) as (room, panic, _, _):
        room.llm.pieces = ["Hello there. ", 30.0, "Never."]
        own = await room.chat.create()
        async with Watch(room.bus) as seen:
            for where in (STAGE, own.id):
                await room.chat.send("hi", conversation_id=where)
                await room.chat.send("and?", conversation_id=where)
            await room.sink.playing.wait()
            await room.sink.advance(0.01)
            await seen.until("playback.started")
            state = await panic.begin("control")
            finished = [event for event in seen.events if isinstance(event, TurnFinished)]
        assert state.is_on
        assert state.by == "control"
        assert state.stopped == 2
        assert [event.outcome for event in finished] == ["interrupted", "interrupted"]
        assert room.chat.queue_length(STAGE) == room.chat.queue_length(own.id) == 0
        assert room.sink.stopped >= 1


async def test_nothing_is_answered_until_somebody_says_to_go_on(tmp_path: Path) -> None:
    async with panicky(tmp_path) as (room, panic, _, _):
        await panic.begin()
        async with Watch(room.bus) as seen:
            with pytest.raises(HeldError, match="Resume"):
                await room.chat.send("hello?", conversation_id=STAGE)
            assert await room.chat.prepare("hello?") is None
            assert not [event for event in seen.events if isinstance(event, ChatMessage)]
        panic.end()
        handle = await room.chat.send("hello?", conversation_id=STAGE, speak=False)
        assert (await handle.result()).outcome == "done"


async def test_going_on_brings_back_volume_and_muting_as_they_were_set(tmp_path: Path) -> None:
    async with panicky(tmp_path) as (room, panic, ears, calmed):
        room.player.set_volume(0.4)
        await panic.begin()
        room.player.set_volume(0.7)  # turned meanwhile: not heard, but kept
        assert room.sink.volume == 0.0
        assert not room.player.is_muted
        assert not panic.end("window").is_on
        assert room.sink.volume == pytest.approx(0.7)
        assert not ears.is_held
        assert calmed == [True, False]


async def test_muted_before_a_panic_is_muted_after_it(tmp_path: Path) -> None:
    async with panicky(tmp_path) as (room, panic, _, _):
        room.player.set_volume(1.0, muted=True)
        await panic.begin()
        panic.end()
        assert room.sink.volume == 0.0


async def test_a_panic_is_told_once_and_so_is_its_end(tmp_path: Path) -> None:
    async with panicky(tmp_path) as (room, panic, _, _), Watch(room.bus) as seen:
        await panic.begin("window")
        await panic.begin("control")
        panic.end("control")
        panic.end("control")
        await seen.settle()
        told = [event.panic for event in seen.events if isinstance(event, PanicChanged)]
    assert [(one.is_on, one.by) for one in told] == [(True, "window"), (False, "control")]
    assert panic.state.by == ""


async def test_what_was_heard_before_a_panic_is_all_that_is_remembered(tmp_path: Path) -> None:
    async with panicky(tmp_path) as (room, panic, _, _):
        room.llm.pieces = ["One two three four five six seven eight. "]
        handle = await room.chat.send("count", conversation_id=STAGE)
        await room.sink.playing.wait()
        await room.sink.advance(5.0)  # of 20: half a second a letter
        await panic.begin()
        turn = await handle.result()
    assert turn.outcome == "interrupted"
    assert turn.reply == "One two"
