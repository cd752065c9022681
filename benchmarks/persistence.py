"""Events a second from the bus into the database, against one bare `executemany` in the same run.

Both write the same events into the same table with the same indexes. The reference is handed finished rows (JSON already text)
and writes them in one transaction with the bare driver; Luma publishes event objects, encodes them, stores them in groups
on its writer thread and hands every one to a reader that waits for the commit. Rounds alternate; the median counts.

    python -m benchmarks.persistence [--events 20000] [--rounds 5]
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import sqlite3
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from backend.contracts.events import ChatSentence
from backend.core.bus import EventBus, Published, Subscription
from backend.storage import sqlite
from backend.storage.database import Database
from backend.storage.event_store import EventStore

WANTED_RATIO = 0.5
BACKLOG = 10_000
"""Events that may wait while the next are published; the bus itself takes 50,000."""


def make_events(count: int) -> list[ChatSentence]:
    """Events as a stream makes them, built beforehand: building one is the publisher's work in both cases."""
    return [
        ChatSentence(
            text="The rain has stopped, and the street smells of tea.",
            n=n % 7,
            emotion="joy",
            conversation_id="stage",
            character_id="luma",
            turn_id=f"turn-{n // 12}",
        )
        for n in range(count)
    ]


async def through_luma(events: Sequence[ChatSentence]) -> float:
    """Events a second from publish to a reader that sees only what is committed."""
    with tempfile.TemporaryDirectory() as folder:
        database = Database("", Path(folder))
        await database.open()
        bus = EventBus()
        store = EventStore(database, bus)
        bus.bind(asyncio.get_running_loop(), seq=0, persist=store.persist)
        with bus.subscribe(committed=True, limit=len(events) + 1) as reader:
            async with asyncio.TaskGroup() as tasks:
                pump = tasks.create_task(bus.run())
                seen = tasks.create_task(count(reader, len(events)))
                gc.collect()  # what made the events is nobody's cost here
                begun = time.perf_counter()
                for n, event in enumerate(events):
                    bus.publish(event)
                    if n % 100 == 99:  # a burst, then the loop turns, as with a hundred sockets
                        await asyncio.sleep(0)
                        if bus.seq - bus.committed_seq > BACKLOG:
                            await bus.flush()
                await seen
                seconds = time.perf_counter() - begun
                pump.cancel()
        assert await store.last_seq() == len(events)
        await database.close()
    return len(events) / seconds


async def count(reader: Subscription, wanted: int) -> None:
    """Wait until that many events were seen, in order."""
    last = 0
    while last < wanted:
        items = await reader.take()
        assert items, "the reader overflowed"
        for item in items:
            assert item.seq == last + 1
            last = item.seq


def make_rows(events: Sequence[ChatSentence]) -> list[tuple[object, ...]]:
    """The events as finished rows, JSON already text."""
    return [
        (
            seq,
            event.id,
            event.type,
            event.sentence(),
            Published(event, seq).data,
            sqlite.stored_time(event.at),
            event.severity,
            event.source,
            event.turn_id,
            event.job_id,
        )
        for seq, event in enumerate(events, 1)
    ]


async def through_executemany(events: Sequence[ChatSentence]) -> tuple[float, float]:
    """Rows a second of one `executemany` in one transaction, with the same pragmas, table and indexes.

    Returns:
        With finished rows, and with the making of the rows counted in.
    """
    gc.collect()
    begun = time.perf_counter()
    rows = make_rows(events)
    making_s = time.perf_counter() - begun
    with tempfile.TemporaryDirectory() as folder:
        database = Database("", Path(folder))
        await database.open()
        await database.close()
        assert database.path is not None
        with closing(sqlite3.connect(database.path, isolation_level=None)) as connection:
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("PRAGMA synchronous=NORMAL")
            connection.execute("PRAGMA wal_autocheckpoint=4000")
            connection.execute("PRAGMA cache_size=-8000")
            gc.collect()
            begun = time.perf_counter()
            connection.execute("BEGIN")
            connection.executemany(
                f"INSERT INTO events VALUES ({', '.join('?' * 10)})",  # noqa: S608 (constant)
                rows,
            )
            connection.execute("COMMIT")
            seconds = time.perf_counter() - begun
    return len(events) / seconds, len(events) / (seconds + making_s)


async def commit_ms(samples: int) -> list[float]:
    """Milliseconds from publish to seen-as-committed for single events, one after the other."""
    [*events] = make_events(samples)
    found: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        database = Database("", Path(folder))
        await database.open()
        bus = EventBus()
        store = EventStore(database, bus)
        bus.bind(asyncio.get_running_loop(), seq=0, persist=store.persist)
        with bus.subscribe(committed=True) as reader:
            async with asyncio.TaskGroup() as tasks:
                pump = tasks.create_task(bus.run())
                for event in events:
                    begun = time.perf_counter()
                    bus.publish(event)
                    await reader.take()
                    found.append((time.perf_counter() - begun) * 1000)
                pump.cancel()
        await database.close()
    return sorted(found)


def main() -> int:
    """Print both rates, their ratio and the time to commit; 1 when the ratio is too low."""
    parser = argparse.ArgumentParser(description="Events a second against one executemany.")
    parser.add_argument("--events", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=5)
    asked = parser.parse_args()
    ours: list[float] = []
    bare: list[tuple[float, float]] = []
    for _ in range(asked.rounds):
        events = make_events(asked.events)
        ours.append(asyncio.run(through_luma(events)))
        bare.append(asyncio.run(through_executemany(events)))
    luma = statistics.median(ours)
    finished = statistics.median(rate for rate, _ in bare)
    from_events = statistics.median(rate for _, rate in bare)
    ratio = luma / finished
    waits = asyncio.run(commit_ms(1000))
    out = sys.stdout.write
    out(f"bus to table               {luma:>9,.0f} events/s\n")
    out(f"executemany                {finished:>9,.0f} rows/s\n")
    out(f"ratio                      {ratio:>9.2f} (at least {WANTED_RATIO})\n")
    out(f"executemany with encoding  {from_events:>9,.0f} rows/s\n")
    out(f"ratio to that              {luma / from_events:>9.2f}\n")
    out(f"commit p50                 {waits[len(waits) // 2]:>9.2f} ms\n")
    out(f"commit p99                 {waits[-len(waits) // 100]:>9.2f} ms\n")
    return 0 if ratio >= WANTED_RATIO else 1


if __name__ == "__main__":
    sys.exit(main())
