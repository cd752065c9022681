"""The desk for viewers, over a real chat and a real database: everybody is told what became of what they wrote."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from random import Random

import pytest

from backend.chat.conversations import WITHDRAWN
from backend.chat.desk import MOST_ARRIVING, WRITES_WAITING, AudienceDesk, Outcome
from backend.contracts.audience import (
    FINAL,
    AudienceMessage,
    Emote,
    QueueRules,
    Verdict,
    Viewer,
    ViewerEvent,
)
from backend.contracts.entities import STAGE
from backend.contracts.errors import ConflictError, NotFoundError, StorageError
from backend.outputs.base import Sink
from backend.storage.audience import Filter
from backend.storage.database import Database
from tests.fakes import ManualSink, Watch, WritesText
from tests.unit.chat.test_conversations import House, build

AT = datetime(2026, 1, 1, tzinfo=UTC)
_numbers = count()


def message(text: str = "hello there", who: str = "ann", **more: object) -> AudienceMessage:
    values: dict[str, object] = {
        "id": f"m{next(_numbers)}",
        "platform": "twitch",
        "viewer": Viewer(platform="twitch", id=who, name=more.pop("name", who)),
        "text": text,
        "at": AT,
        **more,
    }
    return AudienceMessage(**values)


@dataclass
class Room:
    """A desk at work."""

    house: House
    desk: AudienceDesk
    seen: Watch
    speaks: bool = False

    def fates(self, message_id: str) -> list[str]:
        return [
            event.disposition  # type: ignore[union-attr]
            for event in self.seen.of("chat.disposition")
            if event.message_id == message_id  # type: ignore[union-attr]
        ]

    async def ended(self, message_id: str) -> list[str]:
        """Wait for its end; all that became of it."""
        async with asyncio.timeout(10):
            while not set(self.fates(message_id)) & FINAL:
                await asyncio.sleep(0.005)
        return self.fates(message_id)

    async def began(self, message_id: str) -> None:
        async with asyncio.timeout(10):
            while "answering" not in self.fates(message_id):
                await asyncio.sleep(0.005)


@asynccontextmanager
async def opened(folder: Path, sink: Sink | None = None) -> AsyncIterator[Room]:
    house = await build(folder, sink)
    room: Room
    desk = AudienceDesk(
        bus=house.bus,
        database=house.database,
        chat=house.chat,
        names=lambda: ("Luma",),
        operator=lambda: "Alex",
        person_speaks=lambda: room.speaks,
        shown_name=lambda viewer: "viewer" if "rude" in viewer.name else viewer.name,
    )
    async with Watch(house.bus) as seen:
        room = Room(house, desk, seen)
        await desk.open()
        yield room
        await desk.close()
    await house.chat.stop()
    await house.sounds.close()
    await house.database.close()


@pytest.fixture
async def room(tmp_path: Path) -> AsyncIterator[Room]:
    async with opened(tmp_path) as room:
        yield room


async def test_a_message_is_answered_and_its_turn_is_named(room: Room) -> None:
    said = message("how are you?")
    assert (await room.desk.take(said)).disposition == "queued"
    assert await room.ended(said.id) == ["queued", "answering", "answered"]
    (record,) = await room.desk.search(Filter(), 10)
    turn = await room.seen.until("turn.finished")
    assert (record.disposition, record.turn_id) == ("answered", turn.turn_id)
    told = [event.type for event in room.seen.events]
    assert told.index("audience.wrote") < told.index("chat.disposition")
    (asked,) = room.seen.of("chat.message")
    assert (asked.author, asked.origin) == ("ann", "viewers:twitch")  # type: ignore[union-attr]


async def test_what_comes_twice_is_taken_once(room: Room) -> None:
    said = message()
    first = await room.desk.take(said)
    assert await room.desk.take(said) == first
    await room.ended(said.id)
    assert len(room.seen.of("audience.wrote")) == 1
    assert len(await room.desk.search(Filter(), 10)) == 1


async def test_an_event_counts_once(room: Room) -> None:
    follow = ViewerEvent(
        id="e1",
        platform="twitch",
        kind="follow",
        viewer=Viewer(platform="twitch", id="a", name="a"),
        at=AT,
    )
    await room.desk.did(follow)
    await room.desk.did(follow)
    await room.seen.settle()
    assert len(room.seen.of("audience.did")) == 1


async def test_a_person_goes_before_viewers_who_wait(room: Room) -> None:
    room.house.llm = WritesText(["a ", 0.3, "b."])
    viewers = [message(f"thing {i} of mine", f"v{i}") for i in range(3)]
    for said in viewers:
        await room.desk.take(said)
    await room.began(viewers[0].id)
    handle = await room.house.chat.send("me first", conversation_id=STAGE)
    for said in viewers:
        await room.ended(said.id)
    assert (await handle.result()).number == 2


async def test_viewers_wait_while_a_person_speaks(room: Room) -> None:
    room.speaks = True
    said = message()
    await room.desk.take(said)
    await asyncio.sleep(0)
    await room.seen.until("queue.changed")
    assert room.fates(said.id) == ["queued"]
    room.speaks = False
    await room.ended(said.id)


async def test_a_message_deleted_while_it_waits_is_never_said(room: Room) -> None:
    room.desk.hold()
    said = message("something bad")
    await room.desk.take(said)
    assert room.desk.delete(message_id=said.id) == 1
    room.desk.release()
    assert await room.ended(said.id) == ["queued", "deleted"]
    assert room.house.llm.prompts == []


async def test_deleting_what_she_answers_cuts_it_and_forgets_it(room: Room) -> None:
    room.house.llm = WritesText(["One. ", 30.0, "Two."])
    said = message("something bad")
    await room.desk.take(said)
    await room.began(said.id)
    room.desk.delete(platform="twitch", viewer_id="ann")
    finished = await room.seen.until("turn.finished")
    assert finished.outcome == "interrupted"  # type: ignore[union-attr]
    assert room.fates(said.id) == ["queued", "answering", "deleted"]
    (turn,) = await room.house.chat.turns(STAGE)
    assert turn.message == WITHDRAWN
    room.house.llm = WritesText(["Fine."])
    await (await room.house.chat.send("and now?", conversation_id=STAGE)).result()
    asked = " ".join(one.text for one in room.house.llm.prompts[-1].messages)
    assert "something bad" not in asked


async def test_speech_is_cut_when_its_message_is_deleted_after_all_was_written(
    tmp_path: Path,
) -> None:
    sink = ManualSink()
    async with opened(tmp_path, sink) as room:
        said = message("something bad")
        await room.desk.take(said)
        async with asyncio.timeout(10):
            await sink.playing.wait()
        await room.seen.until(
            "speech.ready", 2
        )  # the reply has two sentences: nothing more is written
        room.desk.delete(message_id=said.id)
        finished = await room.seen.until("turn.finished")
        assert finished.outcome == "interrupted"  # type: ignore[union-attr]
        assert sink.stopped
        assert room.fates(said.id) == ["queued", "answering", "deleted"]
        assert [record.disposition for record in await room.desk.search(Filter(), 10)] == [
            "deleted"
        ]


async def test_those_joined_with_a_deleted_message_go_with_it_while_it_sounds(
    tmp_path: Path,
) -> None:
    sink = ManualSink()
    async with opened(tmp_path, sink) as room:
        said = message("what is your name", "ann")
        await room.desk.take(said)
        async with asyncio.timeout(10):
            await sink.playing.wait()
        same = message("what is your name?", "bob")
        assert (await room.desk.take(same)).disposition == "merged"
        room.desk.delete(everything=True)
        await room.seen.until("turn.finished")
        records = {one.message_id: one.disposition for one in await room.desk.search(Filter(), 10)}
        assert records == {said.id: "deleted", same.id: "deleted"}


async def test_a_message_deleted_in_the_moment_it_is_chosen_is_told_nowhere(room: Room) -> None:
    room.desk.hold()
    said = message("something bad")
    await room.desk.take(said)
    room.desk.release()
    room.desk._step()  # chosen: its answer begins with the next turn of the loop
    assert room.desk.queue.answering == said.id
    room.desk.delete(message_id=said.id)
    next_one = message("something good", "bob")
    await room.desk.take(next_one)
    await room.ended(next_one.id)
    assert room.fates(said.id) == ["queued", "deleted"]
    assert [one.text for one in room.seen.of("chat.message")] == ["something good"]  # type: ignore[union-attr]
    assert len(room.seen.of("turn.started")) == 1


class Slow:
    """Moderation and commands that take until `goes_on` is set."""

    def __init__(self) -> None:
        self.goes_on = asyncio.Event()
        self.begun = asyncio.Event()

    async def _later(self) -> Verdict:
        self.begun.set()
        await self.goes_on.wait()
        return Verdict()

    def check_in(
        self, text: str, viewer: Viewer, emotes: Sequence[Emote] = ()
    ) -> Awaitable[Verdict]:
        return self._later()

    def is_command(self, text: str) -> bool:
        return text.startswith("!")

    async def run(self, text: str, said: AudienceMessage) -> Outcome:
        await self._later()
        return Done("say", "asked her", answer="an answer", prompt=text[5:])


@dataclass
class Done:
    """What came of a command."""

    command: str
    text: str
    is_refused: bool = False
    answer: str = ""
    prompt: str = ""
    recital: str = ""


Deletes = Callable[[AudienceDesk, AudienceMessage], int]
DELETIONS: dict[str, Deletes] = {
    "message": lambda desk, said: desk.delete(message_id=said.id),
    "viewer": lambda desk, said: desk.delete(platform="twitch", viewer_id=said.viewer.id),
    "everything": lambda desk, said: desk.delete(platform="twitch", everything=True),
}


@pytest.mark.parametrize("deletes", DELETIONS.values(), ids=DELETIONS)
@pytest.mark.parametrize("when", ["moderation", "a command", "nothing yet"])
async def test_a_message_deleted_while_it_arrives_goes_nowhere(
    room: Room, when: str, deletes: Deletes
) -> None:
    slow = Slow()
    written: list[str] = []

    async def write(to: AudienceMessage, text: str) -> None:
        written.append(text)

    room.desk.set_writer(write)
    if when == "moderation":
        room.desk.moderator = slow
    else:
        room.desk.commands = slow
    said = message("!say something bad")
    coming = room.desk.take(said)
    if when == "nothing yet":
        assert deletes(room.desk, said) == 1
        taking = asyncio.create_task(coming)
    else:
        taking = asyncio.create_task(coming)
        await slow.begun.wait()
        assert deletes(room.desk, said) == 1
    slow.goes_on.set()
    assert (await taking).disposition == "deleted"
    after = message("something good", "bob")
    room.desk.moderator = None
    await room.desk.take(after)
    await room.ended(after.id)
    assert room.fates(said.id) == ["deleted"]
    assert (written, len(room.house.llm.prompts)) == ([], 1)


async def test_a_held_command_deleted_while_it_is_approved_goes_nowhere(room: Room) -> None:
    slow = Slow()
    room.desk.commands = slow
    room.desk.moderator = Says(Verdict(action="hold", rule="caps"))
    said = message("!say something bad")
    assert (await room.desk.take(said)).disposition == "held"
    approving = asyncio.create_task(room.desk.approve(said.id))
    await slow.begun.wait()
    room.desk.delete(message_id=said.id)
    slow.goes_on.set()
    assert (await approving).disposition == "deleted"
    assert not room.desk.queue.has_any


async def test_something_becomes_of_a_message_whose_sender_goes_away(room: Room) -> None:
    room.desk.moderator = Slow()
    said = message()
    taking = asyncio.create_task(room.desk.take(said))
    await room.seen.until("audience.wrote")
    taking.cancel()
    await asyncio.gather(taking, return_exceptions=True)
    await room.seen.settle()
    assert room.fates(said.id) == ["skipped"]


async def test_something_becomes_of_what_moderation_thinks_about_at_the_end(room: Room) -> None:
    slow = Slow()
    room.desk.moderator = slow
    said = message()
    taking = asyncio.create_task(room.desk.take(said))
    await slow.begun.wait()
    await room.desk.close()
    slow.goes_on.set()
    await taking
    (record,) = await room.desk.search(Filter(), 10)
    assert (record.disposition, record.reason) == ("skipped", "Luma was stopped")
    assert room.fates(said.id) == ["skipped"]


async def test_no_more_messages_are_looked_at_at_once_than_can_be_answered(room: Room) -> None:
    slow = Slow()
    room.desk.moderator = slow
    arriving = [room.desk.take(message(f"thing {n}", f"v{n}")) for n in range(MOST_ARRIVING)]
    one_more = await room.desk.take(message("one more", "z"))
    assert (one_more.disposition, one_more.rule) == ("queue-full", "moderation")
    slow.goes_on.set()
    await asyncio.gather(*arriving)
    assert (await room.desk.take(message("and now", "y"))).disposition != "queue-full"


async def test_a_name_that_may_not_be_shown_is_nowhere(room: Room) -> None:
    said = message("how are you?", name="a rude name")
    await room.desk.take(said)
    await room.ended(said.id)
    await room.desk.did(
        ViewerEvent(id="e", platform="twitch", kind="follow", viewer=said.viewer, at=AT)
    )
    await room.seen.settle()
    told = "".join(event.model_dump_json() for event in room.seen.events)
    asked = " ".join(one.text for one in room.house.llm.prompts[-1].messages)
    (record,) = await room.desk.search(Filter(), 10)
    assert "rude" not in told + asked + record.author
    assert (record.author, record.viewer_id) == ("viewer", "ann")


async def test_what_was_being_stored_when_luma_ends_is_stored(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    works = Database.write
    begun = asyncio.Event()

    async def hangs(database: Database, fn: object, **more: object) -> object:
        if getattr(fn, "keywords", {}).get("items") and not begun.is_set():
            begun.set()
            await asyncio.Event().wait()
        return await works(database, fn, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(Database, "write", hangs)
    room.desk.hold()
    said = message()
    await room.desk.take(said)
    async with asyncio.timeout(10):
        await begun.wait()
    await room.desk.close()
    (record,) = await room.desk.search(Filter(), 10)
    assert (record.message_id, record.disposition) == (said.id, "skipped")


class Says:
    """Moderation with one answer."""

    def __init__(self, verdict: Verdict | Exception) -> None:
        self.verdict = verdict

    def check_in(self, text: str, viewer: Viewer, emotes: Sequence[Emote] = ()) -> Verdict:
        if isinstance(self.verdict, Exception):
            raise self.verdict
        return self.verdict


async def test_what_moderation_stops_is_filtered_by_its_rule(room: Room) -> None:
    room.desk.moderator = Says(Verdict(action="ignore", rule="links", reason="has a link"))
    became = await room.desk.take(message("see example.org"))
    assert (became.disposition, became.rule, became.reason) == ("filtered", "links", "has a link")
    await room.seen.settle()
    (acted,) = room.seen.of("moderation.acted")
    assert acted.verdict.text == ""  # type: ignore[union-attr]


async def test_what_moderation_masks_is_answered_masked(room: Room) -> None:
    room.desk.moderator = Says(Verdict(action="mask", rule="words", text="you are ****"))
    said = message("you are evil")
    await room.desk.take(said)
    await room.ended(said.id)
    asked = " ".join(one.text for one in room.house.llm.prompts[-1].messages)
    assert "you are ****" in asked
    assert "evil" not in asked


@pytest.mark.parametrize("verdict", [Verdict(action="hold", rule="caps"), RuntimeError("broken")])
async def test_what_is_held_or_cannot_be_judged_waits_for_the_streamer(
    room: Room, verdict: Verdict | Exception
) -> None:
    room.desk.moderator = Says(verdict)
    said = message()
    assert (await room.desk.take(said)).disposition == "held"
    assert [one.message.id for one in room.desk.state().held] == [said.id]
    assert (await room.desk.approve(said.id)).disposition == "queued"
    assert (await room.ended(said.id))[-1] == "answered"
    with pytest.raises(NotFoundError):
        await room.desk.approve(said.id)


async def test_the_streamer_skips_and_chooses(room: Room) -> None:
    room.desk.hold()
    one, other = message("one thing", "a"), message("other thing", "b")
    await room.desk.take(one)
    await room.desk.take(other)
    room.desk.now(other.id)
    assert room.desk.state().waiting[0].message.id == other.id
    assert room.desk.skip(one.id).disposition == "skipped"
    for missing in (room.desk.skip, room.desk.now):
        with pytest.raises(NotFoundError):
            missing("nothing")


async def test_a_failed_turn_is_tried_again_and_then_given_up(room: Room) -> None:
    room.house.llm = WritesText([])
    said = message()
    await room.desk.take(said)
    fates = await room.ended(said.id)
    assert fates == ["queued", "answering", "queued", "answering", "failed"]


async def test_a_reply_is_written_back_where_it_came_from(room: Room) -> None:
    written: list[tuple[str, str]] = []
    done = asyncio.Event()

    async def write(to: AudienceMessage, text: str) -> None:
        written.append((to.id, text))
        done.set()

    room.desk.set_writer(write)
    await room.desk.set_rules(QueueRules(writes_replies=True))
    said = message()
    await room.desk.take(said)
    async with asyncio.timeout(10):
        await done.wait()
    assert written == [(said.id, "Hello there. I am here.")]


async def test_what_is_deleted_after_it_was_answered_is_not_remembered(room: Room) -> None:
    bad, fine, worse = (
        message("something bad", "bad"),
        message("something fine", "ann"),
        message("something worse", "bad"),
    )
    for said in (bad, fine, worse):
        await room.desk.take(said)
        await room.ended(said.id)
    room.desk.delete(message_id=bad.id)
    room.desk.delete(platform="twitch", viewer_id="bad")
    async with asyncio.timeout(10):
        while sum(turn.message == WITHDRAWN for turn in await room.house.chat.turns(STAGE)) < 2:
            await asyncio.sleep(0.005)
    await (await room.house.chat.send("and now?", conversation_id=STAGE)).result()
    asked = " ".join(one.text for one in room.house.llm.prompts[-1].messages)
    assert "something fine" in asked
    assert "something bad" not in asked
    assert "something worse" not in asked
    kept = {turn.message: turn.reply for turn in await room.house.chat.turns(STAGE)}
    assert kept[WITHDRAWN] == ""
    assert kept["something fine"]
    assert room.fates(bad.id)[-1] == "answered"  # it was, and its end stays its end
    told = [event.message_id for event in room.seen.of("moderation.acted")]  # type: ignore[union-attr]
    assert sorted(told) == sorted([bad.id, worse.id])  # once each: nobody quotes them any more
    room.desk.delete(everything=True)
    await room.seen.settle()
    assert len(await room.house.chat.turns(STAGE)) == 4


async def test_a_deletion_in_the_moment_in_which_the_answer_ended_is_not_lost(
    tmp_path: Path,
) -> None:
    sink = ManualSink()
    async with opened(tmp_path, sink) as room:
        works = room.house.chat.withdraw
        ended = asyncio.Event()

        async def late(turn_id: str, conversation_id: str = STAGE) -> bool:
            await room.seen.until("turn.finished")
            ended.set()
            return await works(turn_id, conversation_id)

        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(room.house.chat, "withdraw", late)
            said = message("something bad")
            await room.desk.take(said)
            await sink.playing.wait()
            room.desk.delete(message_id=said.id)
            await sink.advance(60)
            async with asyncio.timeout(20):
                await ended.wait()
                while (await room.house.chat.turns(STAGE))[0].message != WITHDRAWN:
                    await asyncio.sleep(0.005)
        assert room.fates(said.id)[-1] == "deleted"


@pytest.mark.parametrize("has_begun", [False, True])
async def test_a_reply_to_what_is_deleted_is_not_written(room: Room, has_begun: bool) -> None:
    written: list[str] = []
    goes_on, begun = asyncio.Event(), asyncio.Event()

    async def write(to: AudienceMessage, text: str) -> None:
        begun.set()
        await goes_on.wait()  # as Twitch's limit has it
        written.append(f"{to.viewer.id}: {text}")

    room.desk.set_writer(write)
    bad, good = message(who="bad"), message(who="ann")
    for said in (bad, good):
        assert room.desk.write(said, "hello")
    if has_begun:
        await begun.wait()
    room.desk.delete(platform="twitch", viewer_id="bad")
    goes_on.set()
    await room.seen.settle()
    assert written == ["ann: hello"]
    for _ in range(WRITES_WAITING):
        assert room.desk.write(good, "hello")  # no place is lost
    assert not room.desk.write(good, "hello")


async def test_rules_are_kept(room: Room) -> None:
    rules = QueueRules(answers="addressed", max_wait_s=99)
    await room.desk.set_rules(rules)
    again = AudienceDesk(bus=room.house.bus, database=room.house.database, chat=room.house.chat)
    await again.open()
    assert again.rules == rules
    await again.close()


async def test_her_name_in_a_message_mentions_her(room: Room) -> None:
    room.desk.hold()
    await room.desk.take(message("LUMA, sing!"))
    assert "mentions her +30" in room.desk.state().waiting[0].reasons


async def test_nobody_is_called_as_the_operator_is(room: Room) -> None:
    said = message(name="Al\u200bex")
    await room.desk.take(said)
    await room.seen.settle()
    (wrote,) = room.seen.of("audience.wrote")
    assert wrote.said.viewer.name == "Alex (twitch)"  # type: ignore[union-attr]


async def test_what_a_crash_left_open_gets_its_end_at_the_next_start(room: Room) -> None:
    room.desk.hold()
    said = message()
    await room.desk.take(said)
    await room.desk.stored()
    again = AudienceDesk(bus=room.house.bus, database=room.house.database, chat=room.house.chat)
    await again.open()
    (record,) = await again.search(Filter(), 10)
    assert (record.disposition, record.reason) == ("too-old", "Luma ended while it waited")
    assert (await again.take(said)).disposition == "skipped"
    await again.close()


async def test_at_the_end_everybody_who_waits_is_told(room: Room) -> None:
    room.desk.hold()
    said = [message(f"thing {i} of mine", f"v{i}") for i in range(3)]
    for one in said:
        await room.desk.take(one)
    await room.desk.close()
    records = await room.desk.search(Filter(), 10)
    assert {record.disposition for record in records} == {"skipped"}


async def test_a_full_disk_costs_no_message(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    works = Database.write
    is_full = True

    async def write(database: Database, fn: object, **more: object) -> object:
        if is_full and getattr(fn, "keywords", {}).get("items"):
            raise StorageError("The disk is full.")
        return await works(database, fn, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(Database, "write", write)
    room.desk.hold()
    one, other = message("one thing", "a"), message("other thing", "b")
    await room.desk.take(one)
    await room.desk.stored()
    await room.desk.take(other)
    room.desk.skip(one.id)
    await room.desk.stored()
    is_full = False
    records = {record.message_id: record for record in await room.desk.search(Filter(), 10)}
    assert {one.id: "skipped", other.id: "queued"} == {
        name: record.disposition for name, record in records.items()
    }


async def test_the_queue_is_told_at_most_four_times_a_second(room: Room) -> None:
    room.desk.hold()
    for i in range(200):
        await room.desk.take(message(f"thing {i} of mine", f"v{i}"))
        await asyncio.sleep(0)
    await room.seen.settle()
    assert len(room.seen.of("queue.changed")) <= 2
    last = await room.seen.until("queue.changed", len(room.seen.of("queue.changed")) + 1)
    assert last.total == 50  # type: ignore[union-attr]


async def test_old_messages_are_forgotten(room: Room) -> None:
    room.desk.hold()
    for i in range(5):
        await room.desk.take(message(f"thing {i} of mine", f"v{i}"))
    await room.desk.stored()
    assert await room.desk.prune(30, 2) == 3
    assert len(await room.desk.search(Filter(), 10)) == 2


@pytest.mark.parametrize("is_heard", [False, True])
async def test_an_answer_that_is_interrupted_has_an_end(tmp_path: Path, is_heard: bool) -> None:
    """As a mode switch, the streamer's interruption and the panic do it."""
    sink = ManualSink()
    async with opened(tmp_path, sink) as room:
        pieces: list[str | float | Exception] = ["One is here. ", "Two is here. ", 30.0, "Three."]
        room.house.llm = WritesText(pieces if is_heard else pieces[2:])
        said = message()
        await room.desk.take(said)
        await room.began(said.id)
        if is_heard:
            await room.seen.until("playback.started")
            await sink.advance(0.2)  # the first sentence and a part of the second
            await room.seen.until("playback.started", 2)
        else:
            await room.seen.until("turn.started")
        await room.house.chat.interrupt(STAGE)
        assert await room.ended(said.id) == [
            "queued",
            "answering",
            "answered" if is_heard else "skipped",
        ]


async def test_what_nobody_approves_is_too_old_in_the_end(room: Room) -> None:
    now_s = 1000.0
    desk = AudienceDesk(
        bus=room.house.bus,
        database=room.house.database,
        chat=room.house.chat,
        now_s=lambda: now_s,
    )
    await desk.open()
    desk.moderator = Says(Verdict(action="hold", rule="caps"))
    said = message()
    assert (await desk.take(said)).disposition == "held"
    now_s += desk.rules.max_held_s + 1
    assert await room.ended(said.id) == ["held", "too-old"]
    await desk.close()


@pytest.mark.parametrize("seed", range(3))
async def test_everybody_gets_one_end_whatever_happens(tmp_path: Path, seed: int) -> None:
    dice = Random(seed)
    kinds = [Verdict(), Verdict(), Verdict(), Verdict(action="hold"), Verdict(action="ignore")]

    class Moody:
        """Moderation that is sometimes slow and says anything."""

        async def _later(self, verdict: Verdict) -> Verdict:
            for _ in range(dice.randrange(20)):
                await asyncio.sleep(0)
            return verdict

        def check_in(
            self, text: str, viewer: Viewer, emotes: Sequence[Emote] = ()
        ) -> Verdict | Awaitable[Verdict]:
            verdict = dice.choice(kinds)
            return verdict if dice.random() < 0.5 else self._later(verdict)

        def is_command(self, text: str) -> bool:
            return text.startswith("!")

        async def run(self, text: str, said: AudienceMessage) -> Outcome | None:
            await self._later(Verdict())
            match dice.randrange(4):
                case 0:
                    return None
                case 1:
                    raise RuntimeError("a broken command")
                case 2:
                    return Done("say", "asked her", prompt=text)
            return Done("help", "wrote", answer="help")

    async with opened(tmp_path) as room:
        room.house.llm = WritesText(["Yes. ", 0.002, "No."])
        room.desk.moderator = room.desk.commands = Moody()
        sent: list[AudienceMessage] = []
        taking: list[asyncio.Task[object]] = []
        for _ in range(250):
            one = dice.choice(sent).id if sent else ""
            match dice.randrange(14):
                case 0:
                    room.desk.delete(message_id=one or "unknown")
                case 1:
                    room.desk.delete(platform="twitch", viewer_id=f"v{dice.randrange(30)}")
                case 2 if dice.random() < 0.2:
                    room.desk.delete(everything=True)
                case 3:
                    with suppress(NotFoundError):
                        room.desk.skip(one)
                case 4:
                    taking.append(asyncio.create_task(_approved(room.desk, one)))
                case 5:
                    with suppress(ConflictError, NotFoundError):
                        room.desk.now(one)
                case 6:
                    room.desk.hold()
                    room.desk.release()
                case 7:
                    await room.house.chat.interrupt(STAGE)
                case 8 if taking and dice.random() < 0.3:
                    dice.choice(taking).cancel()
                case _:
                    said = message(
                        dice.choice(["!say hi", "what is it?", f"thing {len(sent)}", "vote 1"]),
                        f"v{dice.randrange(30)}",
                    )
                    sent.append(said)
                    taking.append(asyncio.create_task(room.desk.take(said)))
            if dice.random() < 0.3:
                await asyncio.sleep(0.001)
        await room.desk.close()
        await asyncio.gather(*taking, return_exceptions=True)
        await room.seen.settle()
        stored = {one.message_id: one.disposition for one in await room.desk.search(Filter(), 999)}
        for said in sent:
            ends = [fate for fate in room.fates(said.id) if fate in FINAL]
            assert len(ends) == 1 or ends == ["merged", "deleted"], room.fates(said.id)
            assert stored[said.id] == ends[-1]


async def _approved(desk: AudienceDesk, message_id: str) -> None:
    with suppress(NotFoundError):
        await desk.approve(message_id)
