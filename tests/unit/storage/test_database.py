"""Writing, reading, closing, and what is said when it cannot be done."""

from __future__ import annotations

import asyncio
import sqlite3
import subprocess
import sys
import threading
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import Connection, text

from backend.contracts.errors import (
    BusyError,
    InvalidInputError,
    NotFoundError,
    StorageError,
    StorageFullError,
    StorageLockedError,
)
from backend.storage import database as database_module
from backend.storage import facts, sqlite
from backend.storage.database import Database


def put(name: str, value: str = "1"):
    return lambda connection: facts.put(connection, name, value)


def get(name: str):
    return lambda connection: facts.get(connection, name)


class Gate:
    """Holds the writer inside a write until it is opened."""

    def __init__(self) -> None:
        self.entered = threading.Event()
        self.opened = threading.Event()

    def __call__(self, connection: Connection) -> None:
        self.entered.set()
        assert self.opened.wait(10)


async def test_what_was_written_is_read_back(database: Database) -> None:
    await database.write(put("greeting", "おはよう"))
    assert await database.read(get("greeting")) == "おはよう"


async def test_an_answered_write_is_visible_to_another_program(database: Database) -> None:
    await database.write(put("a", "kept"))
    assert database.path is not None
    with closing(sqlite3.connect(database.path)) as other:
        found = other.execute("SELECT value FROM database_facts WHERE name='a'").fetchone()
    assert found == ("kept",)


async def test_writes_that_wait_together_share_one_transaction(database: Database) -> None:
    gate = Gate()
    held = asyncio.create_task(database.write(gate))
    await asyncio.to_thread(gate.entered.wait, 10)
    transactions = []
    waiting = [
        asyncio.create_task(
            database.write(lambda connection: transactions.append(connection.get_transaction()))
        )
        for _ in range(50)
    ]
    await asyncio.sleep(0)
    gate.opened.set()
    await asyncio.gather(held, *waiting)
    assert len(transactions) == 50
    assert len({id(each) for each in transactions}) == 1


async def test_a_failing_write_fails_alone(database: Database) -> None:
    gate = Gate()
    held = asyncio.create_task(database.write(gate))
    await asyncio.to_thread(gate.entered.wait, 10)

    def fails(connection: Connection) -> None:
        facts.put(connection, "half", "done")
        raise NotFoundError("There is no such thing.")

    writes = [put("before"), fails, put("after"), lambda c: c.execute(text("SELECT nonsense"))]
    waiting = [asyncio.create_task(database.write(each)) for each in writes]
    await asyncio.sleep(0)
    gate.opened.set()
    await held
    before, failed, after, refused = await asyncio.gather(*waiting, return_exceptions=True)
    assert before is None
    assert after is None
    assert isinstance(failed, NotFoundError)
    assert isinstance(refused, StorageError)
    assert await database.read(get("before")) == "1"
    assert await database.read(get("after")) == "1"
    assert await database.read(get("half")) is None


async def test_a_write_that_fails_on_its_own_leaves_nothing(database: Database) -> None:
    def fails(connection: Connection) -> None:
        facts.put(connection, "half", "done")
        raise NotFoundError("There is no such thing.")

    with pytest.raises(NotFoundError):
        await database.write(fails)
    assert await database.read(get("half")) is None


async def test_a_cancelled_write_still_happens(database: Database) -> None:
    gate = Gate()
    held = asyncio.create_task(database.write(gate))
    await asyncio.to_thread(gate.entered.wait, 10)
    cancelled = asyncio.create_task(database.write(put("decided")))
    await asyncio.sleep(0)
    cancelled.cancel()
    with pytest.raises(asyncio.CancelledError):
        await cancelled
    gate.opened.set()
    await held
    await database.write(put("later"))
    assert await database.read(get("decided")) == "1"


async def test_the_loop_and_readers_go_on_while_the_disk_is_slow(database: Database) -> None:
    gate = Gate()
    held = asyncio.create_task(database.write(gate))
    await asyncio.to_thread(gate.entered.wait, 10)
    assert await asyncio.wait_for(database.read(get("epoch")), 5) == database.epoch
    assert not held.done()
    gate.opened.set()
    await held


async def test_a_reader_cannot_write(database: Database) -> None:
    with pytest.raises(StorageError, match="cannot be written"):
        await database.read(put("sneaky"))


async def test_a_reader_sees_one_moment(database: Database) -> None:
    await database.write(put("n", "1"))
    first_read = threading.Event()
    written = threading.Event()

    def reads_twice(connection: Connection) -> tuple[str | None, str | None]:
        first = facts.get(connection, "n")
        first_read.set()
        assert written.wait(10)
        return first, facts.get(connection, "n")

    reading = asyncio.create_task(database.read(reads_twice))
    await asyncio.to_thread(first_read.wait, 10)
    await database.write(put("n", "2"))
    written.set()
    assert await reading == ("1", "1")
    assert await database.read(get("n")) == "2"


async def test_a_durable_write_reaches_the_disk_and_the_next_ones_need_not(
    database: Database,
) -> None:
    def level(connection: Connection) -> object:
        return connection.scalar(text("PRAGMA synchronous"))

    normal, full = 1, 2
    assert await database.write(level) == normal
    assert await database.write(level, durable=True) == full
    assert await database.write(level) == normal


async def test_too_many_waiting_writes_are_refused_not_queued(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database_module, "WAITING_LIMIT", 3)
    gate = Gate()
    waiting = [asyncio.create_task(database.write(gate))]
    waiting += [asyncio.create_task(database.write(put(str(n)))) for n in range(2)]
    await asyncio.sleep(0)
    with pytest.raises(BusyError, match="3 writes are waiting"):
        await database.write(put("one more"))
    gate.opened.set()
    await asyncio.gather(*waiting)
    await database.write(put("one more"))


async def test_a_full_disk_is_said_and_spoils_nothing(database: Database) -> None:
    await database.write(put("kept"))

    def allow(pages: int):
        return lambda connection: connection.scalar(text(f"PRAGMA max_page_count={pages}"))

    await database.write(allow(1))  # SQLite takes the present size as the least
    gate = Gate()
    held = asyncio.create_task(database.write(gate))
    await asyncio.to_thread(gate.entered.wait, 10)
    small = asyncio.create_task(database.write(put("small")))
    large = asyncio.create_task(database.write(put("large", "x" * 1_000_000)))
    await asyncio.sleep(0)
    gate.opened.set()
    await held
    with pytest.raises(StorageFullError, match="no room left"):
        await large
    await small
    await database.write(allow(1_000_000))
    await database.write(put("large", "x" * 1_000_000))
    assert await database.read(get("kept")) == "1"
    assert await database.read(get("small")) == "1"


async def test_a_lock_of_another_program_is_named_and_survived(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite, "LOCK_WAIT_MS", 20)
    database = Database("", tmp_path)
    await database.open()
    assert database.path is not None
    try:
        with closing(sqlite3.connect(database.path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises(StorageLockedError, match="locked by another program"):
                await database.write(put("a"))
        await database.write(put("a"))
    finally:
        await database.close()


async def test_a_second_luma_on_the_same_database_is_refused(
    database: Database, tmp_path: Path
) -> None:
    second = Database("", tmp_path)
    with pytest.raises(StorageLockedError, match="Another Luma is using the database"):
        await second.open()
    await database.write(put("still", "works"))
    await database.close()
    await second.open()
    assert await second.read(get("still")) == "works"
    await second.close()


async def test_closing_finishes_what_waits_and_refuses_what_comes(
    database: Database, tmp_path: Path
) -> None:
    gate = Gate()
    waiting = [asyncio.create_task(database.write(gate))]
    waiting += [asyncio.create_task(database.write(put(str(n)))) for n in range(20)]
    await asyncio.sleep(0)
    closing_task = asyncio.create_task(database.close())
    await asyncio.sleep(0)
    with pytest.raises(StorageError, match="closed"):
        await database.write(put("late"))
    gate.opened.set()
    await closing_task
    await asyncio.gather(*waiting)
    with pytest.raises(StorageError, match="closed"):
        await database.read(get("0"))
    await database.close()
    again = Database("", tmp_path)
    await again.open()
    assert [await again.read(get(str(n))) for n in range(20)] == ["1"] * 20
    assert not (tmp_path / "luma.db-wal").stat().st_size
    await again.close()


async def test_closing_what_was_never_opened_is_fine(tmp_path: Path) -> None:
    await Database("", tmp_path).close()


async def test_the_epoch_belongs_to_the_database(tmp_path: Path) -> None:
    epochs = []
    for folder in ("one", "one", "two"):
        database = Database("", tmp_path / folder)
        await database.open()
        epochs.append(database.epoch)
        await database.close()
    assert epochs[0] == epochs[1] != epochs[2]
    assert all(epochs)


async def test_any_folder_name_works(tmp_path: Path) -> None:
    folder = tmp_path / "my data? #1 100% 名前"
    for _ in range(2):
        database = Database("", folder)
        await database.open()
        await database.write(put("a"))
        assert await database.read(get("a")) == "1"
        await database.close()
    assert (folder / "luma.db").exists()
    assert database.notices == []


async def test_a_url_can_name_another_file(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path}/deep/other.db", tmp_path / "data")
    await database.open()
    assert database.path == tmp_path / "deep" / "other.db"
    await database.close()


@pytest.mark.parametrize(
    ("url", "error", "words"),
    [
        ("no url at all", InvalidInputError, "DATABASE_URL"),
        ("sqlite:///:memory:", InvalidInputError, "must name a file"),
        ("postgresql+nosuch://luma@host/luma", StorageError, "nosuch"),
        ("nosuch://host/luma", StorageError, "nosuch"),
    ],
)
async def test_a_wrong_url_says_what_is_wrong(
    tmp_path: Path, url: str, error: type[Exception], words: str
) -> None:
    database = Database(url, tmp_path)
    with pytest.raises(error, match=words):
        await database.open()
    await database.close()


async def test_a_password_in_the_url_is_not_told(tmp_path: Path) -> None:
    database = Database("postgresql+nosuch://luma:hunter2@host/luma", tmp_path)
    with pytest.raises(StorageError) as refused:
        await database.open()
    assert "hunter2" not in refused.value.message


async def test_a_folder_that_cannot_be_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    database = Database("", tmp_path / "file")
    with pytest.raises(StorageError, match=r"cannot be opened.*Check the folder"):
        await database.open()


def test_an_ordinary_start_needs_no_alembic(tmp_path: Path) -> None:
    program = (
        "import asyncio, sys, pathlib\n"
        "from backend.storage.database import Database\n"
        "async def main():\n"
        "    for _ in range(2):\n"
        "        database = Database('', pathlib.Path(sys.argv[1]))\n"
        "        await database.open()\n"
        "        await database.close()\n"
        "asyncio.run(main())\n"
        "print(sorted(name for name in sys.modules if name in ('alembic', 'numpy', 'fastapi')))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)], capture_output=True, text=True, check=False
    )
    assert (done.stdout, done.stderr) == ("[]\n", "")
