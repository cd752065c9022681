"""The whole program, killed at any moment: what it acknowledged is there at its next start, which needs no help.

A run is repeated with ``LUMA_KILL_SEED`` set to the seed it printed (the moments are the same, the machine's speed is not).
"""

from __future__ import annotations

import asyncio
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from textwrap import dedent

import psutil
import pytest

from backend.contracts.events import ChatSentence
from backend.core.bus import Published
from backend.storage import events, migrations
from backend.storage.database import Database
from tests.integration.kill_harness import new_seed
from tests.integration.program import PATIENCE_S, ROOT, Program
from tests.integration.program_load import (
    Client,
    Load,
    Promises,
    check_files,
    check_kept,
    start,
)

pytestmark = [
    pytest.mark.skipif(sys.platform == "win32", reason="kills process groups"),
    pytest.mark.timeout(900),
]

CHILDREN_END_S = 5.0
SLOW_MIGRATION = """
    import sqlalchemy as sa
    from alembic import op

    revision = "{new:04d}"
    down_revision = "{old}"

    def upgrade() -> None:
        with op.batch_alter_table("events") as batch:
            batch.add_column(sa.Column("note", sa.Text(), server_default="none"))
        for n in range(200):
            op.execute(f"UPDATE events SET note = 'round {{n}}'")
"""
ROWS = 2000


@dataclass(slots=True)
class Tally:
    """What a run of kills has seen."""

    kills: Counter[str] = field(default_factory=Counter)
    acknowledged: Counter[str] = field(default_factory=Counter)
    children: int = 0
    sounds_missing: int = 0

    def tell(self, seed: int, began_s: float) -> None:
        """One line for the record."""
        told = ", ".join(f"{count} {what}" for what, count in self.acknowledged.items())
        sys.stdout.write(
            f"seed {seed}: {self.kills.total()} kills {dict(self.kills)} in"
            f" {time.monotonic() - began_s:.0f} s; acknowledged and kept: {told}; {self.children} engine processes"
            f" ended with it; {self.sounds_missing} sounds were not on disk yet\n"
        )


def dice() -> tuple[int, random.Random]:
    """A seed and its chance."""
    given = os.environ.get("LUMA_KILL_SEED")
    seed = int(given) if given else new_seed()
    return seed, random.Random(seed)


def kill(program: Program, *, with_children: bool) -> int:
    """Kill it as a crash or the system would; return how many children it had, which have to be gone soon."""
    children = psutil.Process(program.process.pid).children(recursive=True)
    if with_children:
        os.killpg(program.process.pid, signal.SIGKILL)
    else:
        program.process.kill()
    assert program.process.wait(PATIENCE_S) == -signal.SIGKILL, program.said
    until_s = time.monotonic() + CHILDREN_END_S
    while left := [child for child in children if is_alive(child)]:
        assert time.monotonic() < until_s, f"still there: {left}"
        time.sleep(0.01)
    return len(children)


def is_alive(process: psutil.Process) -> bool:
    """Whether it still runs; one that nobody has collected yet does not."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


async def kill_while_talking(
    data_dir: Path, promises: Promises, chance: random.Random, tally: Tally, times: int
) -> None:
    for n in range(times):
        model = chance.choice(("echo", "persona"))
        with start(data_dir, {"LLM_PROVIDER": model}) as program:
            async with Client(program) as client:
                tally.sounds_missing += await check_kept(client, promises)
                load = Load(client, promises, chance)
                work = asyncio.create_task(load.run())
                done, _ = await asyncio.wait([work], timeout=chance.uniform(0.05, 2.0))
                if done:
                    work.result()
                load.is_over = True
                tally.children += kill(program, with_children=n % 3 != 2)
                async with asyncio.timeout(PATIENCE_S):
                    await work
        tally.kills["while talking"] += 1
        check_files(data_dir, promises, data_dir.parent / "look")


def kill_while_starting(
    folder: Path, used: Path, chance: random.Random, tally: Tally, times: int, start_s: float
) -> None:
    """Half of them on an empty folder, half on one that was used and then left by a kill."""
    for n in range(times):
        data_dir = used if n % 2 else folder / f"fresh {n}"
        with start(data_dir) as program:
            with pytest.raises(subprocess.TimeoutExpired):
                program.ended(chance.uniform(0, start_s * 1.2))
            tally.children += kill(program, with_children=bool(n % 4))
        tally.kills["while starting"] += 1
        if data_dir != used:
            with start(data_dir) as again:
                assert again.get("/api/status")[0] == 200
                kill(again, with_children=True)


async def make_old(folder: Path, new: Path) -> None:
    """A data folder of this version, and a program one migration newer."""
    for name in ("backend", "frontend", "voice_trainer"):
        shutil.copytree(ROOT / name, new / name)
    for file in ROOT.glob("*.py"):
        shutil.copy2(file, new)
    newest = migrations.revisions(migrations.VERSIONS)[-1]
    number = int(newest) + 1
    place = new / migrations.VERSIONS.relative_to(ROOT) / f"{number:04d}_slow.py"
    place.write_text(dedent(SLOW_MIGRATION.format(new=number, old=newest)))
    database = Database("", folder)
    await database.open()
    items = [
        Published(ChatSentence(text="x" * 200, n=n, conversation_id="stage"), n)
        for n in range(1, ROWS + 1)
    ]
    await database.write(lambda connection: events.insert(connection, items))
    await database.close()


def wait_for(program: Program, path: Path) -> None:
    """Until the program has made a file."""
    until_s = time.monotonic() + PATIENCE_S
    while not path.exists():
        assert program.process.poll() is None, program.said
        assert time.monotonic() < until_s, f"no {path}"
        time.sleep(0.002)


async def kill_while_migrating(
    folder: Path, chance: random.Random, tally: Tally, times: int
) -> None:
    old, new = folder / "old", folder / "newer program"
    await make_old(old, new)
    timed = folder / "timed"
    shutil.copytree(old, timed)
    with start(timed, folder=new) as program:
        wait_for(program, timed / "backups")
        begun_s = time.monotonic()
        program.ready()
        whole_s = time.monotonic() - begun_s
        kill(program, with_children=True)
    hit = 0
    for n in range(times):
        data_dir = folder / f"data {n}"
        shutil.copytree(old, data_dir)
        with start(data_dir, folder=new) as program:
            wait_for(program, data_dir / "backups")
            # Every part of the migration gets its share of the kills.
            await asyncio.sleep(whole_s * chance.uniform(n, n + 1) / times)
            hit += not (data_dir / "backend.json").exists()
            kill(program, with_children=True)
        tally.kills["while migrating"] += 1
        with start(data_dir, folder=new) as program:
            async with Client(program) as client:
                assert (await client.json("GET", "/api/status"))["notices"] == []
                stored = await client.events_after(0)
                assert [seq for seq, _ in stored] == list(range(1, len(stored) + 1))
                assert len(stored) >= ROWS
                tally.acknowledged["migrated events"] += ROWS
            kill(program, with_children=True)
        check_files(data_dir, Promises(), folder / "look")
        with closing(sqlite3.connect(data_dir / "luma.db")) as look:
            notes = look.execute(
                "SELECT note, count(*) FROM events WHERE seq <= ? GROUP BY note", (ROWS,)
            )
            assert notes.fetchall() == [("round 199", ROWS)]
        for backup in (data_dir / "backups").glob("luma-*.db"):
            with closing(sqlite3.connect(backup)) as look:
                assert look.execute("SELECT count(*) FROM events").fetchone() == (ROWS,)
        shutil.rmtree(data_dir)
    assert hit or times < 5, "no kill met the migration"  # a single one may come too late
    sys.stdout.write(f"{hit} of {times} hit the start with a migration of {whole_s:.2f} s\n")


async def kills(folder: Path, talking: int, starting: int, migrating: int) -> None:
    """Kill the program this often, and see that it kept every promise."""
    began_s = time.monotonic()
    seed, chance = dice()
    tally = Tally()
    promises = Promises()
    data_dir = folder / "data"
    await kill_while_talking(data_dir, promises, chance, tally, talking)
    begun_s = time.monotonic()
    with start(data_dir) as program:
        program.ready()
        start_s = time.monotonic() - begun_s
        kill(program, with_children=True)
    kill_while_starting(folder, data_dir, chance, tally, starting, start_s)
    await kill_while_migrating(folder / "migration", chance, tally, migrating)
    with start(data_dir) as program:
        async with Client(program) as client:
            await check_kept(client, promises, everything=True)
        assert program.stop()[0] == 0, program.said
    assert not (data_dir / "backend.json").exists()
    half = [file.name for file in data_dir.glob(".*.unfinished")]
    assert len(half) <= 4, f"half-written files pile up: {half}"  # the youngest may stay
    tally.acknowledged += promises.counts()
    tally.tell(seed, began_s)
    assert len(promises.turns) > talking
    assert len(promises.events) > 20 * talking
    assert promises.number.acknowledged > talking
    assert promises.key.acknowledged > talking


@pytest.mark.slow
async def test_killed_at_any_moment_it_keeps_what_it_acknowledged(tmp_path: Path) -> None:
    await kills(tmp_path, talking=2, starting=1, migrating=1)


@pytest.mark.slow
async def test_a_hundred_kills_lose_nothing(tmp_path: Path) -> None:
    await kills(tmp_path, talking=60, starting=20, migrating=20)
