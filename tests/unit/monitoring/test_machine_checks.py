"""What a check-up looks at besides the live path, each with a break of its own."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from backend.contracts.entities import ModelInfo, ModelState, VoiceInfo
from backend.core import clock
from backend.monitoring import machine_checks
from backend.monitoring.doctor import Outcome
from backend.monitoring.gpu import GpuLoad
from backend.monitoring.machine_checks import Door
from backend.storage.checkup import DatabaseState, newest_event_at, try_out
from backend.storage.database import Database

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
GB = 1 << 30


def found(**changes: Any) -> Callable[[], Any]:
    fields: dict[str, Any] = {
        "write_ms": 9.0,
        "read_ms": 1.0,
        "is_same": True,
        "size_bytes": 4096,
        "damage": "",
        "newest_at": None,
    }
    state = DatabaseState(**fields | changes)

    async def answer() -> DatabaseState:
        return state

    return answer


async def test_a_database_is_tried_out_for_real(tmp_path: Path) -> None:
    database = Database("", tmp_path)
    await database.open()
    try:
        state = await try_out(database)
        assert state.is_same
        assert state.damage == ""
        assert state.size_bytes
        assert state.write_ms > 0
        assert await newest_event_at(database) is None
        outcome = await machine_checks.database(lambda: try_out(database))
        assert "whole" in outcome.detail
    finally:
        await database.close()


@pytest.mark.parametrize(
    ("changes", "state", "words"),
    [
        ({}, "green", "written to the disk in 9 ms"),
        ({"write_ms": 900.0}, "amber", "900 ms"),
        ({"is_same": False}, "red", "another one"),
        ({"damage": "row 3 missing"}, "red", "row 3 missing"),
        ({"damage": None, "size_bytes": 3 * 10**9}, "green", "3.0 GB, too large to look through"),
        ({"damage": "", "size_bytes": None}, "green", "read back"),
    ],
)
async def test_what_is_wrong_with_a_database(
    changes: dict[str, Any], state: str, words: str
) -> None:
    outcome = await machine_checks.database(found(**changes))
    assert outcome.state == state
    assert words in outcome.detail
    assert bool(outcome.fix) == (state != "green")


@pytest.mark.parametrize(
    ("free", "state"), [(60 * GB, "green"), (1 * GB, "amber"), (100 << 20, "red")]
)
def test_the_folder_with_the_least_room_counts(tmp_path: Path, free: int, state: str) -> None:
    folders = {"models": tmp_path / "models" / "not there yet", "logs": tmp_path}
    room = {tmp_path: free}
    outcome = machine_checks.disk(folders, lambda path: room[path])
    assert outcome.state == state
    assert bool(outcome.setting) == (state != "green")


def test_no_graphics_card_is_green_with_words() -> None:
    assert machine_checks.gpu(lambda: None).state == "green"
    assert "processor" in machine_checks.gpu(lambda: None).detail


def test_a_card_that_is_full_or_not_used_is_amber(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine_checks, "installed_torch", lambda: "2.13.0")
    assert machine_checks.gpu(lambda: GpuLoad("RTX", 0.4, 2 * GB, 12 * GB)).state == "green"
    assert machine_checks.gpu(lambda: GpuLoad("RTX", 0.4, 12 * GB, 12 * GB)).state == "amber"
    monkeypatch.setattr(machine_checks, "installed_torch", lambda: "2.13.0+cpu")
    outcome = machine_checks.gpu(lambda: GpuLoad("RTX", 0.4, 2 * GB, 12 * GB))
    assert outcome.state == "amber"
    assert "launch.py" in outcome.fix


@asynccontextmanager
async def listening(answer: bytes) -> AsyncIterator[int]:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        writer.close()
        await writer.wait_closed()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


OURS = b'HTTP/1.1 200 OK\r\n\r\n{"status":"ok"}'


async def test_the_own_port_answers_and_only_here() -> None:
    async with listening(OURS) as port:
        outcome = await machine_checks.door(Door("127.0.0.1", port, port, False, False))
    assert outcome.state == "green"
    assert "only this computer" in outcome.detail


async def test_a_port_that_moved_or_is_open_to_others_is_amber() -> None:
    async with listening(OURS) as port:
        moved = await machine_checks.door(Door("127.0.0.1", port, 8765, False, False))
        wide = await machine_checks.door(Door("127.0.0.1", port, port, True, False))
    assert (moved.state, moved.setting) == ("amber", "API_PORT")
    assert "8765 is taken" in moved.detail
    assert (wide.state, wide.setting) == ("amber", "API_HOST")


async def test_a_port_that_is_silent_or_a_strangers_is_red() -> None:
    async with listening(b"HTTP/1.1 200 OK\r\n\r\n<html>router</html>") as port:
        stranger = await machine_checks.door(Door("127.0.0.1", port, port, False, False))
    silent = await machine_checks.door(Door("127.0.0.1", port, port, False, False))
    assert (stranger.state, silent.state) == ("red", "red")
    assert "another program answers there" in stranger.detail
    assert (await machine_checks.door(Door(None, None, 0, False, False))).state == "left_out"


def model(state: ModelState, **more: Any) -> ModelInfo:
    return ModelInfo(
        id="m", kind="piper", title="Amy", licence="MIT", licence_url="", size_bytes=60_000_000, state=state, **more
    )  # fmt: skip


async def looked_at(models: list[ModelInfo], voices: list[VoiceInfo], in_use: str = "") -> Outcome:
    async def listed() -> list[ModelInfo]:
        return models

    async def spoken() -> list[VoiceInfo]:
        return voices

    return await machine_checks.models(listed, spoken, in_use)


async def test_models_that_are_whole_or_not_there_are_green() -> None:
    assert (await looked_at([model("absent")], [])).state == "green"
    assert "1 downloaded" in (await looked_at([model("ready")], [])).detail


async def test_half_a_model_and_a_broken_voice_are_named() -> None:
    outcome = await looked_at([model("partial", received_bytes=20_000_000)], [])
    assert outcome.state == "amber"
    assert "20.0 MB of 60.0 MB" in outcome.detail
    broken = VoiceInfo(engine="piper", name="kit", title="Kit", path="x", problem="no config")
    assert (await looked_at([], [broken])).state == "amber"
    mine = await looked_at([], [broken], "kit")
    assert (mine.state, mine.tab) == ("red", "voice")


@pytest.mark.parametrize(
    ("now", "newest", "state"),
    [
        (NOON, None, "green"),
        (NOON, NOON - timedelta(days=3), "green"),
        (NOON, NOON + timedelta(hours=2), "amber"),
        (datetime(1970, 1, 1, tzinfo=UTC), None, "red"),
    ],
)
def test_a_clock_that_cannot_be_right(
    monkeypatch: pytest.MonkeyPatch, now: datetime, newest: datetime | None, state: str
) -> None:
    monkeypatch.setattr(clock, "now", lambda: now)
    assert machine_checks.wall_clock(newest).state == state


def test_what_was_said_about_the_settings_leads_to_the_setting() -> None:
    assert machine_checks.settings([]).state == "green"
    outcome = machine_checks.settings(["The keyring did not give OPENAI_API_KEY; unlock it."])
    assert (outcome.state, outcome.setting) == ("amber", "OPENAI_API_KEY")


def test_libraries_are_compared_with_what_was_tried(tmp_path: Path) -> None:
    pins = tmp_path / "requirements.txt"
    pins.write_text(
        "# pins\ntorch==2.13.0\norjson==3.13\nuvloop==0.23.0; sys_platform != 'win32'\n"
    )
    there: dict[str, str | None] = {"torch": "2.13.0+cpu", "orjson": "3.13.0"}
    assert machine_checks.libraries(pins, there.get).state == "green"
    outcome = machine_checks.libraries(pins, ({**there, "orjson": "3.9"}).get)
    assert "orjson 3.9 instead of 3.13" in outcome.detail
    assert "torch is missing" in machine_checks.libraries(pins, {"orjson": "3.13"}.get).detail
    outcome = machine_checks.libraries(pins, ({**there, "pynvml": "11.5"}).get)
    assert "pip uninstall pynvml" in outcome.detail


def test_the_real_list_of_libraries_is_read() -> None:
    pins = Path(__file__).resolve().parents[3] / "requirements.txt"
    outcome = machine_checks.libraries(pins)
    assert re.search(r"\d\d libraries|instead of", outcome.detail), outcome.detail
    assert "numpy is missing" not in outcome.detail
