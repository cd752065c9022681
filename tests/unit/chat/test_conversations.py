"""Conversations: separate memories, one turn at a time, nothing lost, and an interruption that ends in time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest
from sqlalchemy import Connection

from backend.chat import conversations
from backend.chat.characters import Characters
from backend.chat.conversations import QUEUE_LIMIT, Chat
from backend.chat.turn import TurnRunner
from backend.contracts.entities import STAGE, Turn
from backend.contracts.errors import BusyError, InvalidInputError, NotFoundError
from backend.core.bus import EventBus
from backend.modes.mind import alone
from backend.outputs.base import Sink
from backend.outputs.none import NoSound
from backend.playback.player import Player
from backend.playback.sounds import SoundStore
from backend.storage import turns as turn_rows
from backend.storage.database import Database
from tests.fakes import Beeps, Watch, WritesText


@dataclass
class House:
    """A chat over a real database and fake engines."""

    bus: EventBus
    database: Database
    characters: Characters
    chat: Chat
    llm: WritesText
    voice: Beeps
    sounds: SoundStore


async def build(folder: Path, sink: Sink | None = None) -> House:
    database = Database("", folder)
    await database.open()
    bus = EventBus()
    bus.bind(asyncio.get_running_loop())
    characters = Characters(database, bus, folder / "avatars")
    await characters.open()
    llm, voice = WritesText(["Hello there. ", "I am here."]), Beeps()
    sounds = SoundStore(folder / "turns", max_bytes=10**9, max_age_days=1)
    house: House
    player = Player(bus, sink or NoSound(), lambda cue, turn_id, conversation_id: None)
    runner = TurnRunner(bus, alone(lambda: house.llm), lambda: house.voice, sounds, player)
    chat = Chat(bus=bus, database=database, characters=characters, runner=runner)
    house = House(bus, database, characters, chat, llm, voice, sounds)
    await chat.start()
    return house


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    house = await build(tmp_path)
    yield house
    await house.chat.stop()
    await house.sounds.close()
    await house.database.close()


async def test_a_turn_is_stored_before_its_result_is_known(house: House) -> None:
    handle = await house.chat.send("hi", conversation_id=STAGE)
    turn = await handle.result()
    stored = await house.database.read(lambda c: turn_rows.get(c, handle.turn_id))
    assert stored is not None
    assert stored.reply == turn.reply == "Hello there. I am here."
    assert sum(s.duration_ms for s in stored.spans) == pytest.approx(stored.total_ms, abs=1)


async def test_messages_in_one_conversation_are_answered_one_after_the_other(house: House) -> None:
    house.llm = WritesText(["a ", 0.02, "b."])
    async with Watch(house.bus) as seen:
        handles = [await house.chat.send(f"m{n}", conversation_id=STAGE) for n in range(4)]
        turns = await asyncio.gather(*(handle.result() for handle in handles))
    assert [turn.number for turn in turns] == [1, 2, 3, 4]
    order = [
        (e.type, e.turn_id) for e in seen.events if e.type in ("turn.started", "turn.finished")
    ]
    expected = [(t, h.turn_id) for h in handles for t in ("turn.started", "turn.finished")]
    assert order == expected
    queued = [e for e in seen.of("chat.disposition") if e.disposition == "queued"]  # type: ignore[union-attr]
    assert len(queued) == 3


async def test_clients_share_no_memory(house: House) -> None:
    await (await house.chat.send("my secret is 42", client_uid="a")).result()
    await (await house.chat.send("what do you know", client_uid="b")).result()
    last = house.llm.prompts[-1]
    assert "42" not in " ".join(message.text for message in last.messages)
    await (await house.chat.send("again", client_uid="a")).result()
    assert "42" in " ".join(message.text for message in house.llm.prompts[-1].messages)


async def test_an_unknown_conversation_is_refused(house: House) -> None:
    with pytest.raises(NotFoundError):
        await house.chat.send("hi", conversation_id="nope")


@pytest.mark.parametrize("text", ["", "   ", "\x00\x07", "x" * 8001])
async def test_a_message_that_cannot_be_answered_is_refused(house: House, text: str) -> None:
    with pytest.raises(InvalidInputError):
        await house.chat.send(text)


async def test_a_full_queue_says_so_and_loses_nothing_taken(house: House) -> None:
    house.llm = WritesText([5.0, "late"])
    handles = [await house.chat.send("x", conversation_id=STAGE) for _ in range(QUEUE_LIMIT)]
    await asyncio.sleep(0)
    handles.append(await house.chat.send("x", conversation_id=STAGE))
    with pytest.raises(BusyError):
        await house.chat.send("one too many", conversation_id=STAGE)
    await house.chat.interrupt(STAGE, waiting_too=True)
    turns = await asyncio.gather(*(handle.result() for handle in handles))
    assert turns[0].outcome == "interrupted"
    assert {turn.outcome for turn in turns[1:]} == {"skipped"}


async def test_an_interruption_ends_the_turn_at_once_and_keeps_what_was_spoken(
    house: House,
) -> None:
    house.llm = WritesText(["First sentence. ", "Second", 30.0, " zanzibar."])
    async with Watch(house.bus) as seen:
        handle = await house.chat.send("tell me", conversation_id=STAGE)
        await seen.until("speech.ready")
        await seen.settle()
        began = asyncio.get_running_loop().time()
        assert await house.chat.interrupt(STAGE)
        assert asyncio.get_running_loop().time() - began < 10  # the model would take 30 s
        turn = await handle.result()
    assert turn.outcome == "interrupted"
    assert turn.reply == "First sentence."
    house.llm = WritesText(["Next."])
    assert (await (await house.chat.send("go on", conversation_id=STAGE)).result()).reply == "Next."
    told = [message.text for message in house.llm.prompts[0].messages]
    assert "First sentence." in told
    assert not any("zanzibar" in text for text in told)


async def test_what_a_client_says_was_heard_is_what_is_remembered(house: House) -> None:
    house.llm = WritesText(["One. Two. Three. ", 30.0, "Four."])
    async with Watch(house.bus) as seen:
        handle = await house.chat.send("count", client_uid="web")
        await seen.until("speech.ready", 3)
        await house.chat.interrupt(handle.conversation_id, heard="One. Tw")
        turn = await handle.result()
    assert turn.reply == "One. Tw"


async def test_each_character_keeps_its_own_memory_of_a_conversation(house: House) -> None:
    cast = await house.characters.list()
    await (await house.chat.send("I like plums", conversation_id=STAGE)).result()
    await house.chat.switch_character(STAGE, cast[1].id)
    await (await house.chat.send("hello", conversation_id=STAGE)).result()
    assert "plums" not in " ".join(m.text for m in house.llm.prompts[-1].messages)
    await house.chat.switch_character(STAGE, cast[0].id)
    await (await house.chat.send("hello", conversation_id=STAGE)).result()
    assert "plums" in " ".join(m.text for m in house.llm.prompts[-1].messages)


async def test_while_the_disk_is_full_talk_goes_on_is_told_once_and_is_stored_later(
    house: House,
) -> None:
    """The database itself refuses to grow, as it does on a full disk."""
    first = await (await house.chat.send("before", conversation_id=STAGE)).result()

    def pages(c: Connection, limit: int | None) -> int:
        used: int = c.exec_driver_sql("PRAGMA page_count").scalar_one()
        c.exec_driver_sql(f"PRAGMA max_page_count={limit or used}")
        return used

    await house.database.write(lambda c: pages(c, None))
    long = "x" * 8000
    async with Watch(house.bus) as seen:
        turns = [
            await (await house.chat.send(long, conversation_id=STAGE)).result() for _ in range(4)
        ]
    assert {turn.reply for turn in turns} == {first.reply}
    (told,) = seen.of("error.occurred")
    assert "no room left" in told.sentence()
    assert len(await house.database.read(lambda c: turn_rows.recent(c, 10))) == 1
    await house.database.write(lambda c: pages(c, 1_000_000))
    await (await house.chat.send("after", conversation_id=STAGE)).result()
    logs = await house.database.read(lambda c: turn_rows.recent(c, 10, STAGE))
    assert [turn.message for turn in reversed(logs)] == ["before", *[long] * 4, "after"]


async def test_a_conversation_goes_on_after_a_restart(tmp_path: Path) -> None:
    first = await build(tmp_path)
    await (await first.chat.send("remember the lantern", conversation_id=STAGE)).result()
    await first.chat.stop()
    await first.database.close()
    second = await build(tmp_path)
    turn = await (await second.chat.send("and now", conversation_id=STAGE)).result()
    assert turn.number == 2
    assert "lantern" in " ".join(m.text for m in second.llm.prompts[-1].messages)
    await second.chat.stop()
    await second.sounds.close()
    await second.database.close()


async def test_the_prompt_of_a_late_turn_is_no_larger_than_its_budget(house: House) -> None:
    for n in range(30):
        await (await house.chat.send(f"{n} " + "word " * 200, conversation_id=STAGE)).result()
    early = len(house.llm.prompts[15].messages)
    late = len(house.llm.prompts[-1].messages)
    assert late <= early + 1


async def test_clearing_forgets(house: House) -> None:
    await (await house.chat.send("my name is Rin", conversation_id=STAGE)).result()
    await house.chat.clear(STAGE)
    await (await house.chat.send("who am I", conversation_id=STAGE)).result()
    assert "Rin" not in " ".join(m.text for m in house.llm.prompts[-1].messages)


async def test_the_stage_cannot_be_deleted_and_others_can(house: House) -> None:
    other = await house.chat.create(client_uid="x")
    await house.chat.delete(other.id)
    with pytest.raises(NotFoundError):
        await house.chat.conversation(other.id)
    await house.chat.delete(STAGE)
    assert (await house.chat.conversation(STAGE)).id == STAGE


async def test_two_first_messages_of_a_client_begin_one_conversation(house: House) -> None:
    first, second = await asyncio.gather(
        house.chat.send("one", client_uid="new"), house.chat.send("two", client_uid="new")
    )
    assert first.conversation_id == second.conversation_id
    await asyncio.gather(first.result(), second.result())


async def test_a_message_that_waits_is_answered_by_the_character_that_was_switched_to(
    house: House,
) -> None:
    cast = await house.characters.list()
    house.llm = WritesText(["First. ", 30.0])
    async with Watch(house.bus) as seen:
        running = await house.chat.send("for the first one", conversation_id=STAGE)
        await seen.until("chat.sentence")
        waiting = await house.chat.send("for the second one", conversation_id=STAGE)
        house.llm = WritesText(["Second."])
        await house.chat.switch_character(STAGE, cast[1].id)
        old, new = await running.result(), await waiting.result()
    assert (old.character_id, old.outcome) == (cast[0].id, "interrupted")
    assert (new.character_id, new.outcome) == (cast[1].id, "done")
    asked = house.llm.prompts[-1]
    assert asked.character is not None
    assert asked.character.id == cast[1].id
    assert "for the first one" not in " ".join(message.text for message in asked.messages)


async def test_a_conversation_deleted_at_any_moment_leaves_nothing_behind(house: House) -> None:
    for moment in ("turn.started", "speech.ready", "turn.stage"):
        house.llm = WritesText(["Hello there. ", 30.0, "Bye."])
        async with Watch(house.bus) as seen:
            handles = [await house.chat.send(f"m{n}", client_uid=moment) for n in range(3)]
            await seen.until(moment)
            deleting = asyncio.create_task(house.chat.delete(handles[0].conversation_id))
            await asyncio.sleep(0)
            with pytest.raises(NotFoundError):
                await house.chat.send("too late", conversation_id=handles[0].conversation_id)
            await deleting
        outcomes = [(await handle.result()).outcome for handle in handles]
        assert outcomes == ["interrupted", "skipped", "skipped"]
        for handle in handles:
            assert await house.database.read(partial(turn_rows.get, turn_id=handle.turn_id)) is None
        with pytest.raises(NotFoundError):
            await house.chat.conversation(handles[0].conversation_id)
        assert not seen.of("error.occurred")


async def test_an_interruption_while_a_turn_is_being_stored_waits_for_it(house: House) -> None:
    async with Watch(house.bus) as seen:
        handle = await house.chat.send("hi", conversation_id=STAGE)
        await seen.until("turn.stage", 4)
        while house.chat.is_busy(STAGE):
            await house.chat.interrupt(STAGE)
            assert handle.done.done()
    stored = await house.database.read(lambda c: turn_rows.get(c, handle.turn_id))
    assert stored is not None


async def test_a_turn_is_stored_so_that_a_power_cut_keeps_it(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[bool] = []
    write = house.database.write

    async def watched(work: Callable[[Connection], object], *, durable: bool = False) -> object:
        asked.append(durable)
        return await write(work, durable=durable)

    monkeypatch.setattr(house.database, "write", watched)
    await (await house.chat.send("hi", conversation_id=STAGE)).result()
    assert asked == [True]


async def test_conversations_put_away_are_opened_again_and_the_stage_stays(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(conversations, "OPEN_LANES", 3)
    house.llm = WritesText(["Yes."])
    handles = [await house.chat.send(f"I am {n}", client_uid=str(n)) for n in range(8)]
    turns = await asyncio.gather(*(handle.result() for handle in handles))
    assert {turn.outcome for turn in turns} == {"done"}
    assert house.chat.active_character(STAGE)
    await (await house.chat.send("who am I?", client_uid="0")).result()
    assert "I am 0" in " ".join(message.text for message in house.llm.prompts[-1].messages)


async def test_a_turn_that_cannot_be_concluded_holds_nobody_up(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = house.chat._store

    async def broken(turn: Turn) -> None:
        if turn.message == "first":
            raise RuntimeError("a bug")
        await store(turn)

    monkeypatch.setattr(house.chat, "_store", broken)
    first = await house.chat.send("first", conversation_id=STAGE)
    second = await house.chat.send("second", conversation_id=STAGE)
    with pytest.raises(RuntimeError):
        await first.result()
    assert (await second.result()).outcome == "done"


async def test_a_conversation_is_renamed_for_good(house: House) -> None:
    own = await house.chat.create()
    async with Watch(house.bus) as seen:
        assert (await house.chat.rename(own.id, " About\n tea ")).title == "About tea"
    assert [event.type for event in seen.events] == ["conversation.changed"]
    await (await house.chat.send("hi", conversation_id=own.id, speak=False)).result()
    titles = {one.id: one.title for one in await house.chat.conversations()}
    assert titles[own.id] == "About tea"
    with pytest.raises(NotFoundError):
        await house.chat.rename("nobody", "x")


async def test_what_waits_is_known_by_its_turns(house: House) -> None:
    house.llm.pieces = [30.0]
    first = await house.chat.send("one", conversation_id=STAGE)
    second = await house.chat.send("two", conversation_id=STAGE)
    third = await house.chat.send("three", conversation_id=STAGE)
    while house.chat.running_turn() != first.turn_id:
        await asyncio.sleep(0)
    assert house.chat.waiting_turns() == [second.turn_id, third.turn_id]
    await house.chat.interrupt(waiting_too=True)
    assert house.chat.waiting_turns() == house.chat.waiting_turns("nobody") == []


async def test_words_that_are_given_are_said_as_they_are_and_remembered_as_hers(
    house: House,
) -> None:
    async with Watch(house.bus) as seen:
        handle = await house.chat.send(
            "[joy] Exactly this. Nothing else!",
            conversation_id=STAGE,
            origin="operator",
            is_recital=True,
        )
        turn = await handle.result()
    assert not house.llm.prompts, "nobody writes"
    assert house.voice.said == ["Exactly this.", "Nothing else!"]
    assert (turn.message, turn.reply) == ("", "Exactly this. Nothing else!")
    assert (turn.source, turn.outcome) == ("operator", "done")
    assert not seen.of("chat.message"), "nobody said anything to her"
    assert len(seen.of("chat.sentence")) == 2
    await (await house.chat.send("what did you say?", conversation_id=STAGE)).result()
    asked = [(m.role, m.text) for m in house.llm.prompts[0].messages[1:]]
    assert asked[0] == ("assistant", "Exactly this. Nothing else!")
    assert asked[1][0] == "user"


async def test_words_that_are_given_can_be_interrupted(house: House) -> None:
    house.voice = Beeps(seconds_per_char=0.2)
    async with Watch(house.bus) as seen:
        handle = await house.chat.send(
            "One sentence here. And one more there.", conversation_id=STAGE, is_recital=True
        )
        await seen.until("turn.started")
        await house.chat.interrupt()
        turn = await handle.result()
    assert turn.outcome == "interrupted"
    assert turn.message == ""
    assert turn.reply != "One sentence here. And one more there."


async def test_whatever_a_person_says_goes_before_viewers_who_wait(house: House) -> None:
    house.llm = WritesText(["a ", 0.02, "b."])
    said = [("viewers:twitch", "v1"), ("viewers:twitch", "v2"), ("window", "me"), ("api", "too")]
    handles = [
        await house.chat.send(text, origin=origin, conversation_id=STAGE) for origin, text in said
    ]
    turns = await asyncio.gather(*(handle.result() for handle in handles))
    order = [turn.message for turn in sorted(turns, key=lambda turn: turn.number)]
    assert order == ["me", "too", "v1", "v2"]


async def test_a_message_that_waits_can_be_taken_back(house: House) -> None:
    house.llm = WritesText(["a ", 0.05, "b."])
    first = await house.chat.send("one", conversation_id=STAGE)
    other = await house.chat.send("bad words", conversation_id=STAGE, is_followed=True)
    async with Watch(house.bus) as seen:
        assert await house.chat.withdraw(other.turn_id)
        assert not await house.chat.withdraw(other.turn_id)
        assert (await other.result()).outcome == "skipped"
        await first.result()
    assert seen.of("chat.disposition") == []
    assert len(house.llm.prompts) == 1


async def test_it_is_told_when_the_stage_may_be_free(house: House) -> None:
    free: list[bool] = []
    house.chat.when_free(lambda where: free.append(house.chat.is_free(where)))
    assert house.chat.is_free(STAGE)
    handle = await house.chat.send("hi", conversation_id=STAGE)
    assert not house.chat.is_free(STAGE)
    await handle.result()
    async with asyncio.timeout(5):
        while not free:
            await asyncio.sleep(0)
    assert free == [True]
    await house.chat.hold()
    assert not house.chat.is_free(STAGE)
    house.chat.let_go()
    assert free == [True, True]


async def test_what_is_withdrawn_while_its_turn_is_stored_is_not_remembered(house: House) -> None:
    works = Database.write
    storing, goes_on = asyncio.Event(), asyncio.Event()

    async def write(database: Database, fn: Callable[[Connection], None], **more: bool) -> None:
        await works(database, fn, **more)
        storing.set()
        await goes_on.wait()

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(Database, "write", write)
        handle = await house.chat.send("something bad", conversation_id=STAGE)
        await storing.wait()
        withdrawing = asyncio.create_task(house.chat.withdraw(handle.turn_id))
        await asyncio.sleep(0)
        goes_on.set()
        assert await withdrawing
    turn = await handle.result()
    assert (turn.message, turn.reply) == (conversations.WITHDRAWN, "")
    assert (await house.chat.turns(STAGE))[0].message == conversations.WITHDRAWN
    await (await house.chat.send("and now?", conversation_id=STAGE)).result()
    asked = " ".join(one.text for one in house.llm.prompts[-1].messages)
    assert "something bad" not in asked


async def test_whoever_listens_for_a_turn_may_take_its_message_back(house: House) -> None:
    def refuse(turn_id: str) -> None:
        raise LookupError(turn_id)

    async with Watch(house.bus) as seen:
        with pytest.raises(LookupError):
            await house.chat.send("something bad", conversation_id=STAGE, before=refuse)
        await seen.settle()
    assert seen.of("chat.message") == []
    assert house.chat.is_free(STAGE)
    assert (await (await house.chat.send("hi", conversation_id=STAGE)).result()).number == 1
