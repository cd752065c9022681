"""A damaged database: put aside and kept, a new one begins, the user is told."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import text

from backend.contracts.errors import StorageDamagedError
from backend.storage import facts, sqlite
from backend.storage.database import Database


async def filled(folder: Path) -> Path:
    database = Database("", folder)
    await database.open()
    for n in range(200):
        await database.write(lambda c, n=n: facts.put(c, f"fact {n}", "x" * 500))
    await database.close()
    return folder / "luma.db"


def garbage(whole: bytes) -> bytes:
    return b"these are not the pages you are looking for" * 400


def truncated(whole: bytes) -> bytes:
    return whole[: len(whole) // 2]


def cut_inside_a_page(whole: bytes) -> bytes:
    return whole[:-1000]


def zero_filled(whole: bytes) -> bytes:
    return whole[: 4096 * 4] + bytes(len(whole) - 4096 * 4)


def all_zero(whole: bytes) -> bytes:
    return bytes(len(whole))


def scribbled(whole: bytes) -> bytes:
    middle = len(whole) // 2
    return whole[:middle] + b"\xff" * 8192 + whole[middle + 8192 :]


DAMAGES = [garbage, truncated, cut_inside_a_page, zero_filled, all_zero, scribbled]


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda each: each.__name__)
async def test_a_damaged_database_is_put_aside_and_a_new_one_begins(tmp_path: Path, damage) -> None:
    path = await filled(tmp_path)
    broken = damage(path.read_bytes())
    path.write_bytes(broken)
    (tmp_path / "luma.db-wal").write_bytes(b"log of the broken one")

    database = Database("", tmp_path)
    await database.open()
    assert await database.read(lambda c: facts.get(c, "fact 1")) is None
    await database.write(lambda c: facts.put(c, "new", "life"))
    await database.close()

    [aside] = (tmp_path / "backups").glob("damaged-*.db")
    assert aside.read_bytes() == broken
    assert (aside.parent / (aside.name + "-wal")).exists()
    [notice] = database.notices
    assert "damaged" in notice
    assert str(aside) in notice

    again = Database("", tmp_path)
    await again.open()
    assert again.notices == []
    assert await again.read(lambda c: facts.get(c, "new")) == "life"
    await again.close()


async def test_two_damaged_databases_are_both_kept(tmp_path: Path) -> None:
    for n in range(2):
        (tmp_path / "luma.db").write_bytes(b"broken %d" % n * 1000)
        database = Database("", tmp_path)
        await database.open()
        await database.close()
    assert len(list((tmp_path / "backups").glob("damaged-*.db"))) == 2


async def test_an_empty_file_becomes_a_database(tmp_path: Path) -> None:
    (tmp_path / "luma.db").touch()
    database = Database("", tmp_path)
    await database.open()
    assert database.notices == []
    await database.close()


async def test_what_lies_in_the_log_of_a_killed_program_is_found(tmp_path: Path) -> None:
    database = Database("", tmp_path / "running")
    await database.open()
    await database.write(lambda c: facts.put(c, "a", "kept"))
    killed = tmp_path / "killed"
    killed.mkdir()
    for name in ("luma.db", "luma.db-wal"):
        (killed / name).write_bytes((tmp_path / "running" / name).read_bytes())
    await database.close()
    assert (killed / "luma.db-wal").stat().st_size > 0

    found = Database("", killed)
    await found.open()
    assert found.notices == []
    assert await found.read(lambda c: facts.get(c, "a")) == "kept"
    await found.close()


async def test_damage_in_a_large_file_is_found_at_the_next_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = await filled(tmp_path)
    with closing(sqlite3.connect(path)) as look:
        [page] = (
            look.execute(
                "SELECT pageno FROM dbstat WHERE name='database_facts' AND pagetype='leaf'"
                " ORDER BY path LIMIT 1 OFFSET 5"
            ).fetchone()
            if _has_dbstat(look)
            else [None]
        )
    if page is None:
        pytest.skip("this SQLite was built without dbstat")
    whole = bytearray(path.read_bytes())
    whole[(page - 1) * 4096 : page * 4096] = bytes(4096)
    path.write_bytes(whole)
    monkeypatch.setattr(sqlite, "CHECK_WHOLE_BYTES", 0)  # as if it were too large to be read whole

    database = Database("", tmp_path)
    await database.open()
    assert database.notices == []
    with pytest.raises(StorageDamagedError, match="Restart Luma"):
        await database.read(lambda c: c.execute(text("SELECT * FROM database_facts")).all())
    await database.close()

    healed = Database("", tmp_path)
    await healed.open()
    assert len(healed.notices) == 1
    await healed.close()
    assert bytes(whole) == next((tmp_path / "backups").glob("damaged-*.db")).read_bytes()


def _has_dbstat(connection: sqlite3.Connection) -> bool:
    options = [name for (name,) in connection.execute("PRAGMA compile_options")]
    return "ENABLE_DBSTAT_VTAB" in options
