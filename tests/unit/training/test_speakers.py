"""Speakers: who agreed to what, in files and rows that agree."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from backend.contracts.errors import ConflictError, InvalidInputError
from tests.voice_data import studio

CONSENT = "This is my own voice; it may be trained."


async def test_a_consent_survives_the_database(tmp_path: Path) -> None:
    async with studio(tmp_path) as at:
        await at.data.speakers.add("Mio", "ja")
        await at.data.speakers.consent("mio", CONSENT)
    with closing(sqlite3.connect(tmp_path / "luma.db")) as database:
        database.execute("DELETE FROM speakers")
        database.commit()
    async with studio(tmp_path) as at:
        found = await at.data.speakers.get("mio")
        assert (found.name, found.language, found.consent) == ("Mio", "ja", CONSENT)
        assert found.consent_at is not None


async def test_a_lost_file_is_written_again(tmp_path: Path) -> None:
    async with studio(tmp_path) as at:
        await at.data.speakers.consent("ann", CONSENT)
        (at.training / "speakers" / "ann.json").unlink()
    async with studio(tmp_path) as at:
        told = json.loads((at.training / "speakers" / "ann.json").read_text())
        assert told["consent"] == CONSENT


@pytest.mark.parametrize(
    "content", ["", "[]", "{}", '{"name": "", "language": "de"}', '{"name": "x", "language": 1}']
)
async def test_a_file_that_is_none_is_said_and_left_out(tmp_path: Path, content: str) -> None:
    async with studio(tmp_path) as at:
        (at.training / "speakers" / "eve.json").write_text(content)
        (at.training / "speakers" / "..weird name.json").write_text(content)
    async with studio(tmp_path) as at:
        assert "eve.json" in at.notices[0]
        assert [one.id for one in await at.data.speakers.everybody()] == ["ann"]


@pytest.mark.parametrize(
    ("name", "slug"),
    [
        ("Ann B.", "ann-b"),
        ("Łukasz Źdźbło", "ukasz-zdzbo"),
        ("初音", "speaker"),
        ("CON", "speaker-con"),
        ("../../etc", "etc"),
        ("x" * 100, "x" * 40),
    ],
)
async def test_a_name_becomes_a_name_of_a_file(tmp_path: Path, name: str, slug: str) -> None:
    async with studio(tmp_path) as at:
        assert (await at.data.speakers.add(name, "en-us")).id == slug
        assert (await at.data.speakers.add(f"{name[:98]} 2", "en-us")).id != slug


async def test_nothing_is_trained_that_nobody_agreed_to(tmp_path: Path) -> None:
    async with studio(tmp_path) as at:
        await at.data.speakers.add("Mio", "ja")
        with pytest.raises(ConflictError, match="Nobody has agreed"):
            at.data.speakers.check_consent("mio", "trained")
        with pytest.raises(InvalidInputError):
            await at.data.speakers.consent("mio", "ok")
        await at.data.speakers.consent("mio", CONSENT)
        at.data.speakers.check_consent("mio", "trained")
        at.data.speakers.check_consent("ann", "trained")


async def test_recordings_of_nobody_named_are_one_persons(tmp_path: Path) -> None:
    async with studio(tmp_path) as at:
        first, second = [await at.data.label("", "de") for _ in range(2)]
        assert first == second
        assert at.data.speakers.known(first.speaker).name == "My voice"
        assert first.language == "de"
