"""What viewers wrote, as rows: stored together, found again, forgotten, and never left without an end."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import partial

from backend.contracts.audience import (
    FINAL,
    AudienceMessage,
    CustomCommand,
    Disposition,
    DispositionName,
    QueueRules,
    Viewer,
)
from backend.storage import audience as rows
from backend.storage import facts
from backend.storage.database import Database

AT = datetime(2026, 1, 1, tzinfo=UTC)


def kept(
    message_id: str, name: DispositionName = "queued", text: str = "hi", minutes: int = 0
) -> rows.Kept:
    at = AT + timedelta(minutes=minutes)
    said = AudienceMessage(
        id=message_id,
        platform="twitch",
        viewer=Viewer(platform="twitch", id="1", name="Ada_100%"),
        text=text,
        at=at,
    )
    return rows.Kept(Disposition(message_id=message_id, disposition=name, at=at), said)


async def put(database: Database, *items: rows.Kept) -> None:
    await database.write(partial(rows.put, items=items))


async def found(database: Database, **wanted: object) -> list[str]:
    given = rows.Filter(**wanted)  # type: ignore[arg-type]
    return [one.message_id for one in await database.read(lambda c: rows.search(c, given, 100))]


async def test_what_becomes_of_a_message_replaces_what_became_of_it(database: Database) -> None:
    await put(database, kept("a"), kept("b"))
    later = Disposition(message_id="a", disposition="answered", turn_id="t1", at=AT)
    await put(database, rows.Kept(later))
    record = await database.read(lambda c: rows.get(c, "a"))
    assert record is not None
    assert (record.disposition, record.turn_id, record.text) == ("answered", "t1", "hi")
    assert await found(database) == ["b", "a"]


async def test_a_message_that_comes_again_after_a_restart_keeps_one_row(database: Database) -> None:
    await put(database, kept("a"))
    await put(database, kept("a", "answered"), kept("b"))
    assert await found(database) == ["b", "a"]


async def test_messages_are_found_by_what_people_ask_for(database: Database) -> None:
    await put(
        database,
        kept("a", "too-old", "Straße frei?"),
        kept("b", "answered", "100_% sure"),
        kept("c", "too-old", "something", minutes=5),
    )
    assert await found(database, disposition="too-old") == ["c", "a"]
    assert await found(database, author="ADA_") == ["c", "b", "a"]
    assert await found(database, author="ADAx") == []
    assert await found(database, text="0_%") == ["b"]
    assert await found(database, since=AT + timedelta(minutes=1)) == ["c"]
    assert await found(database, platform="youtube") == []
    assert await found(database, after_seq=1) == ["b", "c"]


async def test_what_has_no_end_gets_one_and_says_why(database: Database) -> None:
    await put(database, kept("a"), kept("b", "answering"), kept("c", "held"), kept("d", "merged"))
    closed = await database.write(lambda c: rows.close_open(c, AT))
    assert {one: name for one, name, _ in closed} == {"a": "too-old", "b": "failed", "c": "too-old"}
    records = await database.read(lambda c: rows.search(c, rows.Filter(), 10))
    assert {record.disposition for record in records} <= FINAL
    assert await database.write(lambda c: rows.close_open(c, AT)) == []


async def test_old_and_surplus_messages_go_a_slice_at_a_time(database: Database) -> None:
    await put(database, *(kept(f"m{n}", "answered", minutes=n) for n in range(10)))
    gone = await database.write(lambda c: rows.prune(c, AT + timedelta(minutes=3), 100, 2))
    assert gone == 2
    gone = await database.write(lambda c: rows.prune(c, AT + timedelta(minutes=3), 100, 100))
    assert gone == 1
    gone = await database.write(lambda c: rows.prune(c, AT, 4, 100))
    assert gone == 3
    assert await found(database) == ["m9", "m8", "m7", "m6"]
    assert await database.write(lambda c: rows.prune(c, AT, 4, 100)) == 0


async def test_half_a_letter_is_stored_as_something(database: Database) -> None:
    await put(database, kept("a", text="x\ud800y\x00z"))
    record = await database.read(lambda c: rows.get(c, "a"))
    assert record is not None
    assert record.text == "x?yz"


async def test_rules_that_cannot_be_read_any_more_are_none(database: Database) -> None:
    assert await database.read(rows.rules) is None
    await database.write(lambda c: rows.put_rules(c, QueueRules(max_wait_s=9)))
    assert await database.read(rows.rules) == QueueRules(max_wait_s=9)
    await database.write(lambda c: facts.put(c, rows.RULES, '{"from": "later"}'))
    assert await database.read(rows.rules) is None


async def test_a_command_that_cannot_be_read_any_more_is_left_out(database: Database) -> None:
    hug = CustomCommand(name="hug", action="text", value="hi")
    await database.write(lambda c: rows.put_command(c, hug, AT))
    await database.write(
        lambda c: rows.put_command(c, hug.model_copy(update={"name": "x", "action": "fly"}), AT)
    )
    await database.write(lambda c: rows.put_uses(c, {"hug": 3}))
    assert await database.read(rows.commands) == [(hug, 3)]
    assert await database.write(lambda c: rows.delete_command(c, "hug"))
    assert not await database.write(lambda c: rows.delete_command(c, "hug"))
