"""Migrations: the tables, old databases, newer ones, and those of others."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from functools import partial
from pathlib import Path
from textwrap import dedent

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import create_mock_engine, inspect, text

from backend.contracts.entities import Character
from backend.contracts.errors import StorageForeignError
from backend.core.clock import now
from backend.storage import characters, migrations, sqlite, tables, training_data
from backend.storage.database import Database
from backend.storage.migrations.__main__ import write_migration
from backend.storage.migrations.upgrade import upgrade

ADDS_A_COLUMN = """
    import sqlalchemy as sa
    from alembic import op

    revision = "0002"
    down_revision = "0001"

    def upgrade() -> None:
        with op.batch_alter_table("characters") as batch:
            batch.add_column(sa.Column("note", sa.Text(), server_default="none yet"))
        op.execute("UPDATE characters SET note = 'old friend'")
"""
FAILS_HALF_WAY = """
    from alembic import op

    revision = "0002"
    down_revision = "0001"

    def upgrade() -> None:
        op.drop_table("chat_logs")
        op.execute("SELECT nonsense")
"""


@pytest.fixture
def first_versions(tmp_path: Path) -> Path:
    """A copy of the migrations as they were at the first release."""
    folder = tmp_path / "100% versions"
    folder.mkdir()
    first = sorted(migrations.VERSIONS.glob("0001_*.py"))[0]
    shutil.copy(first, folder)
    return folder


def add_version(folder: Path, source: str) -> None:
    (folder / "0002_next.py").write_text(dedent(source))


async def old_database(folder: Path, versions: Path) -> None:
    """A database as the first release leaves it behind, made by its own migration, with a character in it."""
    folder.mkdir(exist_ok=True)
    engine = sqlite.writer_engine(folder / "luma.db")
    with engine.begin() as connection:
        upgrade(connection, versions)
        characters.put(connection, Character(id="luma", name="Luma"))
    engine.dispose()


def shape(path: Path) -> dict[str, object]:
    engine = sqlite.writer_engine(path)
    look = inspect(engine)
    found = {
        name: (
            [
                (each["name"], str(each["type"]), each["nullable"], each["primary_key"])
                for each in look.get_columns(name)
            ],
            sorted(
                (each["name"] or "", tuple(each["column_names"])) for each in look.get_indexes(name)
            ),
            sorted(
                (each["name"] or "", tuple(each["column_names"]))
                for each in look.get_unique_constraints(name)
            ),
        )
        for name in look.get_table_names()
    }
    engine.dispose()
    return found


async def test_the_migrations_lead_to_the_tables(tmp_path: Path) -> None:
    engine = sqlite.writer_engine(tmp_path / "migrated.db")
    with engine.begin() as connection:
        upgrade(connection, migrations.VERSIONS)
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, tables.metadata) == []
    engine.dispose()
    database = Database("", tmp_path)
    await database.open()
    await database.close()
    migrated, made = shape(tmp_path / "migrated.db"), shape(tmp_path / "luma.db")
    assert migrated == made
    assert set(tables.metadata.tables) < set(made)


async def test_clips_of_the_first_release_stay_valid(tmp_path: Path, first_versions: Path) -> None:
    await old_database(tmp_path, first_versions)
    with closing(sqlite3.connect(tmp_path / "luma.db")) as old:
        old.execute(
            "INSERT INTO training_data (filename, transcript, duration, speaker, emotion, quality, created_at)"
            " VALUES ('a.wav', 'hello', 1.5, 'ann', '', 'A', '2026-01-31 12:00:00'),"
            " ('b.wav', '', 2.5, 'ann', '', '', '2026-01-31 12:00:00')"
        )
        old.commit()
    database = Database("", tmp_path)
    await database.open()
    rows = await database.read(lambda c: training_data.of_speaker(c, "ann"))
    sums = await database.read(lambda c: training_data.sums(c, training_data.Wanted()))
    await database.close()
    assert [(row.uid, row.grade, row.status, row.reasons, row.measures) for row in rows] == [
        (None, "A", "new", (), {}),
        (None, "", "new", (), {}),
    ]
    assert [row.edited for row in rows] == [False, False]
    assert (sums.total, sums.waiting) == (2, 2)


async def test_ids_of_clips_go_on_after_a_migration_and_are_never_given_twice(
    tmp_path: Path, first_versions: Path
) -> None:
    await old_database(tmp_path, first_versions)
    with closing(sqlite3.connect(tmp_path / "luma.db")) as old:
        old.executemany(
            "INSERT INTO training_data (id, filename, transcript, duration, speaker, emotion, quality, created_at)"
            " VALUES (?, 'a.wav', '', 1.5, 'ann', '', '', '2026-01-31 12:00:00')",
            [(3,), (41,)],
        )
        old.commit()
    new = training_data.ClipRow(filename="new.wav", duration_s=1.0, created_at=now())
    database = Database("", tmp_path)
    await database.open()
    kept = [row.id for row in await database.read(lambda c: training_data.of_speaker(c, "ann"))]
    made = []
    for _ in range(3):
        row = await database.write(lambda c: training_data.put(c, new))
        made.append(row.id)
        await database.write(partial(training_data.delete, clip_ids=[row.id or 0]))
    await database.close()
    assert (kept, made) == ([3, 41], [42, 43, 44])


def test_file_names_say_the_revisions_in_order() -> None:
    config = Config()
    config.set_main_option("script_location", str(migrations.MIGRATIONS))
    config.set_main_option("path_separator", "newline")
    scripts = ScriptDirectory.from_config(config)
    in_order = [script.revision for script in scripts.walk_revisions()][::-1]
    assert migrations.revisions(migrations.VERSIONS) == in_order
    assert scripts.get_current_head() == in_order[-1]


async def test_an_old_database_is_backed_up_and_migrated(
    tmp_path: Path, first_versions: Path
) -> None:
    data = tmp_path / "data"
    await old_database(data, first_versions)
    add_version(first_versions, ADDS_A_COLUMN)
    for _ in range(2):
        database = Database("", data, versions=first_versions)
        await database.open()
        note = await database.read(lambda c: c.scalar(text("SELECT note FROM characters")))
        names = [each.name for each in await database.read(characters.list_all)]
        await database.close()
        assert (note, names) == ("old friend", ["Luma"])
    [backup] = (data / "backups").iterdir()
    assert backup.name.startswith("luma-0001-")
    with closing(sqlite3.connect(backup)) as old:
        assert old.execute("SELECT name FROM characters").fetchall() == [("Luma",)]
        assert old.execute("SELECT version_num FROM alembic_version").fetchall() == [("0001",)]


async def test_a_failing_migration_changes_nothing(tmp_path: Path, first_versions: Path) -> None:
    data = tmp_path / "data"
    await old_database(data, first_versions)
    before = shape(data / "luma.db")
    with_it = tmp_path / "with it"
    shutil.copytree(first_versions, with_it)
    add_version(with_it, FAILS_HALF_WAY)
    database = Database("", data, versions=with_it)
    with pytest.raises(Exception, match="nonsense"):
        await database.open()
    assert shape(data / "luma.db") == before
    database = Database("", data, versions=first_versions)
    await database.open()
    assert [each.name for each in await database.read(characters.list_all)] == ["Luma"]
    await database.close()


async def test_a_newer_database_is_refused_and_untouched(
    tmp_path: Path, first_versions: Path
) -> None:
    data = tmp_path / "data"
    await old_database(data, first_versions)
    with closing(sqlite3.connect(data / "luma.db", isolation_level=None)) as newer:
        newer.execute("UPDATE alembic_version SET version_num = '0099'")
    database = Database("", data, versions=first_versions)
    with pytest.raises(StorageForeignError, match=r"'0099'.*newer version: update Luma"):
        await database.open()
    with closing(sqlite3.connect(data / "luma.db")) as newer:
        assert newer.execute("SELECT version_num FROM alembic_version").fetchone() == ("0099",)
        assert newer.execute("SELECT name FROM characters").fetchone() == ("Luma",)
    assert not (data / "backups").exists()


async def test_another_programs_tables_are_left_alone(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "luma.db", isolation_level=None)) as other:
        other.execute("CREATE TABLE events (what TEXT)")
    database = Database("", tmp_path)
    with pytest.raises(StorageForeignError, match="did not make: events"):
        await database.open()
    with closing(sqlite3.connect(tmp_path / "luma.db")) as other:
        assert other.execute("SELECT name FROM sqlite_master").fetchall() == [("events",)]


def test_backups_are_bounded(tmp_path: Path) -> None:
    path = tmp_path / "luma.db"
    with closing(sqlite3.connect(path, isolation_level=None)) as made:
        made.execute("CREATE TABLE t (n)")
    places = [sqlite.back_up(path, tmp_path / "backups", "0001", 3) for _ in range(6)]
    assert sorted((tmp_path / "backups").iterdir()) == sorted(places[-3:])


def test_a_migration_written_now_has_nothing_to_change(
    tmp_path: Path, first_versions: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for file in migrations.VERSIONS.glob("[0-9]*_*.py"):
        shutil.copy(file, first_versions)
    count = len(migrations.revisions(first_versions))
    write_migration("nothing new", first_versions)
    written = first_versions / f"{count + 1:04d}_nothing_new.py"
    assert written.exists()
    assert "pass" in written.read_text()
    assert "op." not in written.read_text().partition("def upgrade")[2]


def test_the_tables_are_possible_in_postgresql() -> None:
    statements: list[str] = []
    engine = create_mock_engine(
        "postgresql://",
        lambda sql, *_args, **_kw: statements.append(str(sql.compile(dialect=engine.dialect))),
    )
    tables.metadata.create_all(engine, checkfirst=False)
    assert sum("CREATE TABLE" in each for each in statements) == len(tables.metadata.tables)
    assert "BIGSERIAL" in "".join(statements)
