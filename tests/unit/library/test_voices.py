"""A voice is checked before it counts, and leaves nothing behind when it is refused."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from backend.contracts.entities import VoiceInfo
from backend.contracts.errors import ConflictError, InvalidInputError, NotFoundError
from backend.core.bus import EventBus
from backend.core.workers import EngineHost
from backend.library.voices import VoiceLibrary, checked_name
from backend.storage import models as rows
from backend.storage.database import Database
from tests import tiny_models
from tests.fakes import Watch


@dataclass
class Shelf:
    library: VoiceLibrary
    bus: EventBus
    database: Database
    folder: Path

    def upload(self, **options: object) -> tuple[Path, Path]:
        folder = self.library.new_upload()
        model = tiny_models.piper_voice(folder, "voice", **options)  # type: ignore[arg-type]
        return model, Path(f"{model}.json")

    @property
    def voices(self) -> list[str]:
        return sorted(path.name for path in (self.folder / "piper").glob("*"))


@pytest.fixture
async def shelf(tmp_path: Path) -> AsyncIterator[Shelf]:
    bus = EventBus()
    bus.bind(asyncio.get_running_loop())
    database = Database("", tmp_path / "data")
    await database.open()
    host = EngineHost()

    async def inspect(path: Path) -> VoiceInfo:
        facts = await host.call("backend.engines.tts.piper_host:inspect", str(path), timeout_s=60)
        return VoiceInfo(
            engine="piper", name=path.stem, title=path.stem, problem=facts.get("problem")
        )

    yield Shelf(
        VoiceLibrary(bus, database, tmp_path / "models", inspect),
        bus,
        database,
        tmp_path / "models",
    )
    await host.stop()
    await database.close()


async def test_a_good_voice_moves_in_with_its_settings_and_is_listed(shelf: Shelf) -> None:
    async with Watch(shelf.bus) as seen:
        info = await shelf.library.bring_in(*shelf.upload(), "hoshi-v1")
    assert info.name == "hoshi-v1"
    assert shelf.voices == ["hoshi-v1.onnx", "hoshi-v1.onnx.json"]
    assert list((shelf.folder / "downloads").iterdir()) == []
    assert [e.type for e in seen.events] == ["model.saved"]
    kept = await shelf.database.read(lambda c: rows.get(c, "piper-hoshi-v1"))
    assert kept is not None
    with pytest.raises(ConflictError):
        await shelf.library.bring_in(*shelf.upload(), "hoshi-v1")
    await shelf.library.delete("hoshi-v1")
    assert shelf.voices == []
    with pytest.raises(NotFoundError):
        await shelf.library.delete("hoshi-v1")


async def test_a_voice_that_reaches_outside_its_file_is_refused(shelf: Shelf) -> None:
    for options in ({"external": True}, {"domain": "com.evil"}):
        with pytest.raises(InvalidInputError):
            await shelf.library.bring_in(*shelf.upload(**options), "evil")
    assert shelf.voices == []
    assert list((shelf.folder / "downloads").iterdir()) == []


@pytest.mark.parametrize("settings", ["", "[]", "{}", "not json", "[" * 100_000])
async def test_settings_that_are_none_of_pipers_are_refused(shelf: Shelf, settings: str) -> None:
    model, path = shelf.upload()
    path.write_text(settings)
    with pytest.raises(InvalidInputError):
        await shelf.library.bring_in(model, path, "voice")
    assert shelf.voices == []


async def test_a_model_that_is_no_graph_is_refused(shelf: Shelf) -> None:
    model, path = shelf.upload()
    model.write_bytes(b"\x00" * 1000)
    with pytest.raises(InvalidInputError):
        await shelf.library.bring_in(model, path, "voice")
    assert shelf.voices == []


@pytest.mark.parametrize(
    "name",
    [
        "",
        "..",
        "../x",
        "a/b",
        "a\\b",
        "/etc/passwd",
        "CON",
        "nul.onnx",
        "a..b",
        ".hidden",
        "x" * 81,
        "ü",
        "a b",
    ],
)
def test_a_name_that_is_no_safe_file_name_is_refused(name: str) -> None:
    with pytest.raises(InvalidInputError):
        checked_name(name)


@pytest.mark.parametrize(
    "name", ["hoshi-v4", "en_US-amy-medium", "en_US-amy-medium.onnx", "a", "v1.2+b"]
)
def test_usual_names_are_taken(name: str) -> None:
    assert checked_name(name) == name.removesuffix(".onnx")


async def test_of_two_voices_of_one_name_at_once_the_first_stays(shelf: Shelf) -> None:
    pairs = [shelf.upload(), shelf.upload()]
    done = await asyncio.gather(
        *(shelf.library.bring_in(*pair, "twin") for pair in pairs), return_exceptions=True
    )
    assert sorted(type(one).__name__ for one in done) == ["ConflictError", "VoiceInfo"]
    assert shelf.voices == ["twin.onnx", "twin.onnx.json"]
