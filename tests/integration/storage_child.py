"""Writes events and turns, or migrates, until it is killed; prints what was acknowledged. See kill_harness."""

from __future__ import annotations

import asyncio
import sys
from datetime import UTC, datetime
from pathlib import Path

from backend.contracts.entities import Turn
from backend.contracts.events import ChatSentence
from backend.core.bus import EventBus
from backend.storage import facts, turns
from backend.storage.database import Database
from backend.storage.event_store import EventStore


def say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


async def write_for_ever(folder: Path) -> None:
    """Four tasks at once: two publish, one stores turns, one settings; an event counts when a socket would see it."""
    database = Database("", folder)
    await database.open()
    for notice in database.notices:
        say(f"notice {notice}")
    bus = EventBus()
    store = EventStore(database, bus)
    bus.bind(asyncio.get_running_loop(), seq=await store.last_seq(), persist=store.persist)
    say(f"epoch {database.epoch}")

    async def publish(name: str) -> None:
        n = 0
        while True:
            n += 1
            bus.publish(ChatSentence(text=f"{name} {n}", n=n, conversation_id=name))
            await asyncio.sleep(0 if n % 7 else 0.001)

    async def watch() -> None:
        with bus.subscribe(committed=True, limit=100_000) as reader:
            while items := await reader.take():
                for item in items:
                    say(f"event {item.seq} {item.event.id}")

    async def talk() -> None:
        n = await database.read(lambda c: turns.latest_number(c, "stage"))
        while True:
            n += 1
            turn = Turn(
                id=f"{database.epoch}-{n}",
                conversation_id="stage",
                character_id="luma",
                number=n,
                author="you",
                source="test",
                message=f"message {n} " + "x" * (n % 50) * 100,
                reply=f"reply {n}",
                outcome="done",
                total_ms=1.0,
                started_at=datetime.now(UTC),
            )
            await database.write(lambda connection, turn=turn: turns.put(connection, turn))
            say(f"turn {turn.id}")

    async def save() -> None:
        n = 0
        while True:
            n += 1
            value = f"{n}"
            await database.write(
                lambda connection, value=value: facts.put(connection, "setting", value),
                durable=True,
            )
            say(f"setting {value}")
            await asyncio.sleep(0.002)

    async with asyncio.TaskGroup() as group:
        for work in (bus.run(), watch(), publish("one"), publish("two"), talk(), save()):
            group.create_task(work)


async def migrate(folder: Path, versions: Path) -> None:
    """Open, which migrates; the first line comes just before."""
    database = Database("", folder, versions=versions)
    say("opening")
    await database.open()
    say("migrated")
    await database.close()


if __name__ == "__main__":
    if sys.argv[1] == "write":
        asyncio.run(write_for_ever(Path(sys.argv[2])))
    else:
        # Imported before the first line, so that the kill falls into the migration and not into an import.
        import backend.storage.migrations.upgrade  # noqa: F401 - only imported

        asyncio.run(migrate(Path(sys.argv[2]), Path(sys.argv[3])))
