"""Stored events: as published, in order, found again, bounded."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path

import orjson
import pytest
from sqlalchemy import Connection, text

from backend.contracts.events import ChatMessage, ChatSentence, Event, TurnFinished, TurnRetried
from backend.core.bus import EventBus, Published
from backend.storage import events, sqlite
from backend.storage.database import Database
from backend.storage.event_store import EventStore
from backend.storage.events import Filter

NOON = datetime(2026, 1, 31, 12, 0, 0, 123456, tzinfo=UTC)


@pytest.fixture
def bus() -> EventBus:
    return EventBus()


@pytest.fixture
async def store(database: Database, bus: EventBus) -> EventStore:
    made = EventStore(database, bus)
    bus.bind(asyncio.get_running_loop(), seq=await made.last_seq(), persist=made.persist)
    return made


def sentence(n: int, **changes: object) -> ChatSentence:
    return ChatSentence.model_validate(
        {"text": f"sentence {n}", "n": n, "conversation_id": "stage"} | changes
    )


async def test_an_event_comes_back_as_it_went_over_the_wire(
    store: EventStore, bus: EventBus
) -> None:
    sent = bus.publish(sentence(1, at=NOON, turn_id="t1", text='"quoted" 光 \\ \n'))
    await bus.flush()
    assert await store.since(0) == [orjson.loads(sent.wire)]


async def test_the_quick_way_into_sqlite_stores_what_sqlalchemy_stores(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stored(connection: Connection) -> list[object]:
        rows = connection.execute(text("SELECT * FROM events ORDER BY seq")).all()
        connection.execute(text("DELETE FROM events"))
        return [tuple(row) for row in rows]

    # 0.5 s exactly and another zone: where hand-made times go wrong.
    moments = [NOON, NOON.replace(microsecond=0), NOON.astimezone()]
    items = [
        Published(sentence(n, at=at, job_id="j", text="x\ud83d"), n)
        for n, at in enumerate(moments, 1)
    ]

    def through_sqlalchemy(connection: Connection) -> list[object]:
        with monkeypatch.context() as patch:
            patch.setattr(connection.dialect, "name", "another")
            events.insert(connection, items)
        return stored(connection)

    def quick(connection: Connection) -> list[object]:
        events.insert(connection, items)
        return stored(connection)

    assert await database.write(quick) == await database.write(through_sqlalchemy)


@pytest.mark.parametrize("count", [1, 2, 511, 512, 513, 1337])
async def test_any_number_of_events_is_stored_in_order(
    store: EventStore, bus: EventBus, count: int
) -> None:
    for n in range(1, count + 1):
        bus.publish(sentence(n))
    await bus.flush()
    found = await store.since(0, limit=2000)
    assert [each["seq"] for each in found] == list(range(1, count + 1))
    assert [each["data"]["n"] for each in found] == list(range(1, count + 1))


async def test_since_is_paged(store: EventStore, bus: EventBus) -> None:
    for n in range(1, 8):
        bus.publish(sentence(n))
    await bus.flush()
    assert [each["seq"] for each in await store.since(2, limit=3)] == [3, 4, 5]
    assert await store.since(7) == []


async def test_numbers_go_on_after_a_restart(tmp_path: Path) -> None:
    seen = []
    for _ in range(2):
        database, bus = Database("", tmp_path), EventBus()
        await database.open()
        store = EventStore(database, bus)
        bus.bind(asyncio.get_running_loop(), seq=await store.last_seq(), persist=store.persist)
        seen += [bus.publish(sentence(n)).seq for n in range(3)]
        await bus.flush()
        await database.close()
    assert seen == [1, 2, 3, 4, 5, 6]


async def test_events_are_found_by_what_is_asked(store: EventStore, bus: EventBus) -> None:
    minutes = [NOON + timedelta(minutes=n) for n in range(5)]
    published: list[Event] = [
        ChatMessage(
            text="Wo ist ÄRGER?", author="Ann", origin="api", conversation_id="a", at=minutes[0]
        ),
        sentence(1, turn_id="t1", at=minutes[1], text="100% sure_ly"),
        TurnRetried(
            engine="a", next_engine="b", kind="rate", reason="slow", turn_id="t1", at=minutes[2]
        ),
        TurnFinished(
            number=1, outcome="done", total_ms=5, conversation_id="a", turn_id="t1", at=minutes[3]
        ),
        sentence(2, job_id="j1", at=minutes[4], text="1000 surely"),
    ]
    for event in published:
        bus.publish(event)

    async def found(**wanted: object) -> list[int]:
        return [each["seq"] for each in await store.search(Filter(**wanted))]  # type: ignore[arg-type]

    assert await found() == [5, 4, 3, 2, 1]
    assert await found(types=("chat.sentence",)) == [5, 2]
    assert await found(types=("chat.*",)) == [5, 2, 1]
    assert await found(types=("turn.*", "chat.message")) == [4, 3, 1]
    assert await found(types=("c*at.message",)) == []
    assert await found(types=("chat_*",)) == []
    assert await found(severity="WARNING") == [3]
    assert await found(severity="DEBUG") == [5, 4, 3, 2, 1]
    assert await found(turn_id="t1") == [4, 3, 2]
    assert await found(turn_id="t1", types=("chat.*",)) == [2]
    assert await found(job_id="j1") == [5]
    assert await found(since=minutes[3]) == [5, 4]
    assert await found(until=minutes[1]) == [1]
    assert await found(text="ärger") == [1]
    assert await found(text="100%") == [2]
    assert await found(text="sure_") == [2]
    assert await found(text="NEXT_engine") == [3]  # in the data, not in the message
    assert await found(before_seq=3) == [2, 1]
    assert await found(after_seq=3) == [4, 5]
    page = await store.search(Filter(after_seq=1), limit=2)
    assert [each["seq"] for each in page] == [2, 3]


async def test_old_and_too_many_events_go_in_slices_and_the_newest_stays(
    database: Database, store: EventStore, bus: EventBus, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("backend.storage.event_store.PRUNE_SLICE", 7)
    monkeypatch.setattr("backend.core.clock.now", lambda: NOON + timedelta(days=100))
    for n in range(1, 101):
        bus.publish(sentence(n, at=NOON + timedelta(days=n)))
    await bus.flush()
    assert await store.prune(max_age_days=1000, max_rows=60) == 40
    assert (await store.first_seq(), await store.last_seq()) == (41, 100)
    assert await store.prune(max_age_days=20.5, max_rows=60) == 39
    assert await store.first_seq() == 80
    monkeypatch.setattr("backend.core.clock.now", lambda: NOON + timedelta(days=1000))
    assert await store.prune(max_age_days=1, max_rows=60) == 20
    assert (await store.first_seq(), await store.last_seq()) == (100, 100)
    assert await store.prune(max_age_days=1, max_rows=60) == 0


async def test_pruning_nothing_is_fine(store: EventStore) -> None:
    assert await store.prune(max_age_days=1, max_rows=10) == 0
    assert (await store.first_seq(), await store.last_seq()) == (0, 0)


async def test_writers_come_in_between_the_slices(
    database: Database, store: EventStore, bus: EventBus, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("backend.storage.event_store.PRUNE_SLICE", 10)
    for n in range(1, 501):
        bus.publish(sentence(n))
    await bus.flush()
    pruning = asyncio.create_task(store.prune(max_age_days=1000, max_rows=100))
    await asyncio.sleep(0)
    bus.publish(sentence(501))
    await bus.flush()
    assert not pruning.done()
    assert await pruning == 401
    assert (await store.first_seq(), await store.last_seq()) == (402, 501)


def test_a_stored_time_sorts_like_the_moment() -> None:
    times = [sqlite.stored_time(NOON + timedelta(milliseconds=250 * n)) for n in range(10)]
    assert times == sorted(times)
