"""Killed at any moment, the program loses nothing it has acknowledged, and its database opens again."""

from __future__ import annotations

import random
import shutil
import sqlite3
import sys
import time
from contextlib import closing
from pathlib import Path
from textwrap import dedent

import pytest

from backend.contracts.events import ChatSentence
from backend.core.bus import Published
from backend.storage import events, facts, migrations, turns
from backend.storage.database import Database
from tests.integration.kill_harness import kill_at_random, new_seed

CHILD = [sys.executable, "-m", "tests.integration.storage_child"]
SLOW_MIGRATION = """
    import sqlalchemy as sa
    from alembic import op

    revision = "0002"
    down_revision = "0001"

    def upgrade() -> None:
        with op.batch_alter_table("events") as batch:
            batch.add_column(sa.Column("note", sa.Text(), server_default="none"))
        op.create_table("second", sa.Column("n", sa.Integer(), primary_key=True))
        for n in range(150):
            op.execute(f"UPDATE events SET note = 'round {n}'")
"""
ROWS = 2000


async def check(folder: Path, promises: list[str]) -> dict[str, int]:
    """Nothing promised is missing and the file is whole; returns how many promises of each kind there were."""
    database = Database("", folder)
    await database.open()
    assert database.notices == []
    stored_events = {
        (each["seq"], each["id"])
        for each in await database.read(lambda c: events.since(c, 0, 10_000_000))
    }
    stored_turns = {turn.id for turn in await database.read(lambda c: turns.recent(c, 10_000_000))}
    setting = await database.read(lambda c: facts.get(c, "setting"))
    await database.close()
    counts: dict[str, int] = {}
    last_setting = None
    for promise in promises:
        kind, *rest = promise.split()
        counts[kind] = counts.get(kind, 0) + 1
        match kind:
            case "event":
                assert (int(rest[0]), rest[1]) in stored_events, promise
            case "turn":
                assert rest[0] in stored_turns, promise
            case "setting":
                last_setting = int(rest[0])
            case "epoch":
                assert rest[0] == database.epoch, promise
            case _:
                pytest.fail(promise)
    if last_setting is not None:
        assert int(setting or 0) >= last_setting
    seqs = sorted(seq for seq, _ in stored_events)
    assert seqs == list(range(1, len(seqs) + 1)), "a hole in the numbers"
    assert database.path is not None
    with closing(sqlite3.connect(database.path)) as look:
        assert look.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        halves = look.execute(
            "SELECT count(*) FROM turns LEFT JOIN chat_logs ON turn_id = turns.id"
            " WHERE chat_logs.id IS NULL"
        ).fetchone()
        assert halves == (0,), "a turn without its words"
    return counts


async def kill_while_writing(folder: Path, times: int) -> None:
    chance = random.Random(new_seed())
    total: dict[str, int] = {}
    kept: list[str] = []
    for n in range(times):
        killed = kill_at_random([*CHILD, "write", str(folder)], chance, longest_s=0.6)
        assert killed.alive, killed.errors
        # The file of the last round is the start of the next; now and then a fresh one, so that its making is hit too.
        kept += killed.promises
        counts = await check(folder, killed.promises)
        total = {kind: total.get(kind, 0) + counts.get(kind, 0) for kind in total | counts}
        if n % 5 == 4:
            await check(folder, [each for each in kept if not each.startswith("setting")])
            shutil.rmtree(folder)
            kept.clear()
    sys.stdout.write(f"{times} kills, promises kept: {total}\n")
    assert total["event"] > 20 * times
    assert total["turn"] > 5 * times
    assert total["setting"] > times


async def kill_while_migrating(tmp_path: Path, times: int) -> None:
    versions = tmp_path / "versions"
    shutil.copytree(migrations.VERSIONS, versions, ignore=shutil.ignore_patterns("__pycache__"))
    for newer in migrations.revisions(versions)[1:]:
        next(versions.glob(f"{newer}_*.py")).unlink()
    old = tmp_path / "old"
    database = Database("", old, versions=versions)
    await database.open()
    items = [
        Published(ChatSentence(text="x" * 200, n=n, conversation_id="stage"), n)
        for n in range(1, ROWS + 1)
    ]
    await database.write(lambda connection: events.insert(connection, items))
    await database.close()
    (versions / "0002_slow.py").write_text(dedent(SLOW_MIGRATION))
    shutil.copytree(old, tmp_path / "timed")
    database = Database("", tmp_path / "timed", versions=versions)
    begun = time.perf_counter()
    await database.open()
    whole_s = time.perf_counter() - begun
    await database.close()
    chance = random.Random(new_seed())
    hit = n = 0
    while n < times or (not hit and n < 5 * times):  # a busy machine may be late with all of them
        folder = tmp_path / f"data {n}"
        shutil.copytree(old, folder)
        # Every part of the migration gets its share of the kills.
        killed = kill_at_random(
            [*CHILD, "migrate", str(folder), str(versions)],
            chance,
            shortest_s=whole_s * (n % times) / times,
            longest_s=whole_s * (n % times + 1) / times,
        )
        assert not killed.errors, killed.errors
        hit += killed.alive and "migrated" not in killed.promises
        database = Database("", folder, versions=versions)
        await database.open()
        await database.close()
        assert database.notices == []
        with closing(sqlite3.connect(folder / "luma.db")) as look:
            assert look.execute("PRAGMA integrity_check").fetchone() == ("ok",)
            found = look.execute("SELECT note, count(*) FROM events GROUP BY note").fetchall()
            assert found == [("round 149", ROWS)]
        for backup in (folder / "backups").glob("luma-*.db"):
            with closing(sqlite3.connect(backup)) as look:
                assert look.execute("SELECT count(*) FROM events").fetchone() == (ROWS,)
        shutil.rmtree(folder)
        n += 1
    sys.stdout.write(
        f"{n} kills, {hit} of them in the middle of the migration of {whole_s:.2f} s\n"
    )
    assert hit


@pytest.mark.slow
async def test_killed_while_writing_nothing_acknowledged_is_lost(tmp_path: Path) -> None:
    """Five real programs are started and killed: 4 s."""
    await kill_while_writing(tmp_path / "data", 5)


@pytest.mark.slow
async def test_killed_while_migrating_the_next_start_opens(tmp_path: Path) -> None:
    """Three real programs are started and killed: 3 s."""
    await kill_while_migrating(tmp_path, 3)


@pytest.mark.slow
@pytest.mark.timeout(600)
async def test_a_hundred_kills_lose_nothing(tmp_path: Path) -> None:
    await kill_while_writing(tmp_path / "data", 80)
    await kill_while_migrating(tmp_path, 20)
