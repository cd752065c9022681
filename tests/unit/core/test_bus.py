"""The bus: order, bounds, what is stored before it is shown, and the door for threads."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable

import orjson
import pytest

from backend.contracts.events import AnyEvent, ChatDelta, ChatSentence, parse_event
from backend.core import bus as bus_module
from backend.core.bus import EventBus, Published, Subscription


def durable(n: int, text: str = "") -> ChatSentence:
    return ChatSentence(text=text or f"sentence {n}", n=n, conversation_id="stage")


def live(n: int) -> ChatDelta:
    return ChatDelta(text=str(n), conversation_id="stage")


def names(items: list[Published]) -> list[str]:
    """ "d3" for the durable event with number 3, "l3" for the live one."""
    return [
        f"d{item.event.n}" if isinstance(item.event, ChatSentence) else f"l{item.event.text}"
        for item in items
        if isinstance(item.event, ChatSentence | ChatDelta)
    ]


class Disk:
    """Stores in memory, when it is let; fails while `broken`."""

    def __init__(self) -> None:
        self.stored: list[int] = []
        self.batches: list[int] = []
        self.free = asyncio.Event()
        self.free.set()
        self.asked = asyncio.Event()
        self.broken = False

    async def persist(self, items: list[Published]) -> None:
        self.asked.set()
        await self.free.wait()
        if self.broken:
            raise OSError("disk full")
        self.batches.append(len(items))
        self.stored += [item.seq for item in items if item.seq is not None]


class Reader:
    """Keeps everything a subscription gets, in a task of its own."""

    def __init__(self, subscription: Subscription) -> None:
        self.items: list[Published] = []
        self._subscription = subscription

    async def run(self) -> None:
        while items := await self._subscription.take():
            self.items += items


@pytest.fixture
async def disk() -> Disk:
    return Disk()


@pytest.fixture
async def bus(disk: Disk) -> EventBus:
    made = EventBus()
    made.bind(asyncio.get_running_loop(), persist=disk.persist)
    return made


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not condition():
            await asyncio.sleep(0)


# --- order --------------------------------------------------------------------------------------------------------


async def test_a_direct_reader_sees_events_at_once_and_in_order(bus: EventBus) -> None:
    with bus.subscribe() as reader:
        for n in range(3):
            bus.publish(durable(n))
            bus.publish(live(n))
        assert names(await reader.take()) == ["d0", "l0", "d1", "l1", "d2", "l2"]


async def test_a_committed_reader_sees_nothing_that_is_not_stored(
    bus: EventBus, disk: Disk
) -> None:
    disk.free.clear()
    with bus.subscribe(committed=True) as reader:
        bus.publish(live(0))
        assert names(await reader.take()) == ["l0"]  # nothing durable before it: at once
        bus.publish(durable(1))
        bus.publish(live(1))  # must not overtake
        flushing = asyncio.create_task(bus.flush())
        await disk.asked.wait()
        bus.publish(live(2))
        bus.publish(durable(2))
        taking = asyncio.create_task(reader.take())
        await asyncio.sleep(0)
        assert not taking.done()
        assert bus.committed_seq == 0
        disk.free.set()
        await flushing
        await bus.flush()
        seen = await taking + await reader.take()
        assert names(seen) == ["d1", "l1", "l2", "d2"]
        assert disk.stored == [1, 2]
        assert bus.committed_seq == bus.seq == 2


async def test_numbers_are_without_gap_and_go_on_from_where_they_were(disk: Disk) -> None:
    bus = EventBus()
    bus.bind(asyncio.get_running_loop(), seq=41, persist=disk.persist)
    assert [bus.publish(durable(0)).seq, bus.publish(live(0)).seq, bus.publish(durable(1)).seq] == [
        42,
        None,
        43,
    ]
    await bus.flush()
    assert disk.stored == [42, 43]


async def test_the_pump_stores_and_hands_on_by_itself(bus: EventBus, disk: Disk) -> None:
    pump = asyncio.create_task(bus.run())
    with bus.subscribe(committed=True) as reader:
        for n in range(3):
            bus.publish(durable(n))
            assert names(await asyncio.wait_for(reader.take(), 5)) == [f"d{n}"]
    pump.cancel()
    with pytest.raises(asyncio.CancelledError):
        await pump
    assert disk.stored == [1, 2, 3]


async def test_a_burst_reaches_a_quick_reader_whole(bus: EventBus, disk: Disk) -> None:
    with bus.subscribe(committed=True, limit=600) as subscription:
        reader = Reader(subscription)
        reading = asyncio.create_task(reader.run())
        for n in range(5000):
            bus.publish(durable(n))
        await bus.flush()
        await until(lambda: len(reader.items) == 5000)
        assert [item.seq for item in reader.items] == list(range(1, 5001))
        assert not subscription.overflowed
        assert max(disk.batches) <= bus_module.BATCH
        subscription.close()
        await reading


async def test_a_flush_waits_for_what_was_published_before_it_and_not_for_ever(
    bus: EventBus, disk: Disk
) -> None:
    bus.publish(durable(1))
    with bus.subscribe(committed=True) as subscription:

        async def answers() -> None:
            async for _ in subscription:
                bus.publish(durable(0))  # a fact for each fact: there is always one more waiting

        answering = asyncio.create_task(answers())
        await asyncio.wait_for(bus.flush(), 5)
        assert 1 in disk.stored
        answering.cancel()


async def test_a_cancelled_flush_loses_nothing(bus: EventBus, disk: Disk) -> None:
    disk.free.clear()
    with bus.subscribe(committed=True) as reader:
        pump = asyncio.create_task(bus.run())
        bus.publish(durable(1))
        await disk.asked.wait()
        pump.cancel()
        with pytest.raises(asyncio.CancelledError):
            await pump
        bus.publish(durable(2))
        disk.free.set()
        await bus.flush()
        assert names(await reader.take()) == ["d1", "d2"]
        assert disk.stored == [1, 2]


# --- bounds -------------------------------------------------------------------------------------------------------


async def test_live_events_go_first_when_a_reader_is_slow(bus: EventBus) -> None:
    with bus.subscribe(limit=6) as reader:
        for n in range(3):
            bus.publish(durable(n))
            bus.publish(live(n))
        bus.publish(durable(3))
        assert names(await reader.take()) == ["d0", "d1", "d2", "d3"]
        assert reader.dropped == 3
        assert not reader.overflowed


async def test_a_reader_that_missed_a_durable_event_is_ended(bus: EventBus) -> None:
    with bus.subscribe(limit=3) as slow, bus.subscribe(limit=100) as quick:
        for n in range(4):
            bus.publish(durable(n))
        assert slow.overflowed
        assert await slow.take() == []
        assert [event async for event in slow] == []
        bus.publish(durable(4))
        assert await slow.take() == []
        assert len(await quick.take()) == 5


async def test_a_full_batch_overflows_like_single_events(bus: EventBus) -> None:
    with bus.subscribe(limit=5, committed=True) as slow:
        for n in range(4):
            bus.publish(durable(n))
            bus.publish(live(n))
        await bus.flush()
        assert names(await slow.take()) == ["d0", "d1", "d2", "d3", "l3"]
        for n in range(6):
            bus.publish(durable(n))
        await bus.flush()
        assert slow.overflowed


async def test_a_live_flood_into_a_full_queue_stays_bounded(bus: EventBus) -> None:
    with bus.subscribe(limit=10) as reader:
        for n in range(1000):
            bus.publish(live(n))
        kept = names(await reader.take())
        assert len(kept) <= 10
        assert kept[-1] == "l999"
        assert reader.dropped == 1000 - len(kept)


async def test_a_hanging_disk_bounds_what_waits_and_makes_readers_resume(
    bus: EventBus, disk: Disk, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(bus_module, "WAITING_LIMIT", 5)
    disk.free.clear()
    with bus.subscribe(committed=True) as socket, bus.subscribe() as inside:
        for n in range(8):
            bus.publish(durable(n))
            bus.publish(live(n))
        assert bus.lost == 5
        assert socket.overflowed
        assert len(await inside.take()) == 16
    disk.free.set()
    await bus.flush()
    assert disk.stored == [1, 2, 3]
    assert [each.levelno for each in caplog.records if each.name == bus_module.__name__] == [
        logging.ERROR,
        logging.WARNING,
    ]


# --- failures -----------------------------------------------------------------------------------------------------


async def test_a_failing_disk_does_not_stop_the_stream_and_is_told_once(
    bus: EventBus, disk: Disk, caplog: pytest.LogCaptureFixture
) -> None:
    disk.broken = True
    with bus.subscribe(committed=True) as reader:
        for n in range(3):
            bus.publish(durable(n))
            await bus.flush()
        assert names(await reader.take()) == ["d0", "d1", "d2"]
        disk.broken = False
        bus.publish(durable(3))
        await bus.flush()
        assert names(await reader.take()) == ["d3"]
    assert (bus.lost, disk.stored) == (3, [4])
    said = [record.getMessage() for record in caplog.records]
    assert said == [
        "could not store events: disk full",
        "events are stored again; 3 were lost in all",
    ]


async def test_an_event_that_was_not_stored_is_told_without_its_number(
    bus: EventBus, disk: Disk
) -> None:
    """A client that goes on after a number nobody stored would miss the next event that gets it."""
    with bus.subscribe(committed=True) as reader:
        bus.publish(durable(1))
        await bus.flush()
        disk.broken = True
        bus.publish(durable(2))
        await bus.flush()
        assert bus.committed_seq == 1
        disk.broken = False
        bus.publish(durable(3))
        await bus.flush()
        assert [item.seq for item in await reader.take()] == [1, None, 3]
    assert (disk.stored, bus.committed_seq) == ([1, 3], 3)


async def test_a_broken_filter_ends_its_reader_and_nobody_else(
    bus: EventBus, caplog: pytest.LogCaptureFixture
) -> None:
    def breaks(event: AnyEvent) -> bool:
        raise ValueError(event.type)

    with bus.subscribe(wanted=breaks) as broken, bus.subscribe() as sound:
        bus.publish(durable(1))
        assert broken.overflowed
        assert names(await sound.take()) == ["d1"]
    assert "filter failed" in caplog.text


async def test_half_a_surrogate_pair_poisons_neither_wire_nor_table(bus: EventBus) -> None:
    item = bus.publish(durable(1, "half \ud83d pair"))
    assert orjson.loads(item.wire)["data"]["text"] == "half ? pair"
    assert orjson.loads(item.wire)["message"] == "sentence 1: half ? pair"
    item.data.encode()


# --- readers ------------------------------------------------------------------------------------------------------


async def test_a_filter_chooses(bus: EventBus) -> None:
    with (
        bus.subscribe(wanted=lambda event: event.durable) as direct,
        bus.subscribe(wanted=lambda event: not event.durable, committed=True) as committed,
    ):
        bus.publish(durable(1))
        bus.publish(live(1))
        await bus.flush()
        assert names(await direct.take()) == ["d1"]
        assert names(await committed.take()) == ["l1"]


async def test_leaving_the_loop_early_leaves_the_rest_pending(bus: EventBus) -> None:
    with bus.subscribe(limit=4) as reader:
        for n in range(3):
            bus.publish(live(n))
        async for _ in reader:
            break
        assert names(await reader.take()) == ["l1", "l2"]
        for n in range(4):
            bus.publish(durable(n))
        assert not reader.overflowed


async def test_a_closed_reader_gets_the_rest_and_nothing_new(bus: EventBus) -> None:
    with bus.subscribe() as reader:
        bus.publish(durable(1))
        bus.close()
        bus.publish(durable(2))
        assert [event.n async for event in reader if isinstance(event, ChatSentence)] == [1]


async def test_after_the_with_block_nothing_arrives(bus: EventBus) -> None:
    with bus.subscribe() as reader:
        pass
    bus.publish(durable(1))
    assert await reader.take() == []


# --- threads ------------------------------------------------------------------------------------------------------


async def test_a_burst_from_threads_arrives_whole_and_in_each_threads_order(bus: EventBus) -> None:
    start = threading.Barrier(4)

    def burst(thread: int) -> None:
        start.wait(5)
        for n in range(2000):
            bus.publish_from_thread(durable(thread * 10_000 + n))

    threads = [threading.Thread(target=burst, args=(k,)) for k in range(4)]
    with bus.subscribe(limit=10_000) as reader:
        for each in threads:
            each.start()
        await until(lambda: bus.published == 8000)
        for each in threads:
            each.join()
        seen = [item.event for item in await reader.take()]
    numbers = [event.n for event in seen if isinstance(event, ChatSentence)]
    for k in range(4):
        assert [n for n in numbers if n // 10_000 == k] == [k * 10_000 + n for n in range(2000)]


async def test_a_burst_from_a_thread_leaves_the_loop_room(bus: EventBus) -> None:
    threading.Thread(
        target=lambda: [bus.publish_from_thread(live(n)) for n in range(5000)], daemon=True
    ).start()
    turns_of_the_loop = 0
    async with asyncio.timeout(5):
        while bus.published < 5000:
            before = bus.published
            await asyncio.sleep(0)
            assert bus.published - before <= bus_module.BATCH
            turns_of_the_loop += 1
    assert turns_of_the_loop >= 5000 // bus_module.BATCH


def test_publishing_from_a_thread_without_a_loop_is_nothing() -> None:
    bus = EventBus()
    bus.publish_from_thread(durable(1))
    loop = asyncio.new_event_loop()
    bus.bind(loop)
    loop.close()
    bus.publish_from_thread(durable(1))
    assert bus.published == 0


# --- wire ---------------------------------------------------------------------------------------------------------


async def test_the_wire_is_made_once_and_reads_back(bus: EventBus) -> None:
    with bus.subscribe() as one, bus.subscribe() as other:
        sent = bus.publish(durable(7, "光"))
        [first], [second] = await one.take(), await other.take()
    assert first.wire is second.wire
    envelope = orjson.loads(sent.wire)
    assert envelope == sent.event.envelope(sent.seq)
    back = parse_event(envelope)
    assert back == sent.event.model_copy(update={"seq": 1, "at": back.at})
