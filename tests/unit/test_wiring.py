"""From settings to engines: every name a setting allows becomes the engine of that name."""

from __future__ import annotations

from pathlib import Path

import pytest

from backend.contracts.entities import ServiceInfo
from backend.core.bus import EventBus
from backend.core.http import HttpClient
from backend.core.workers import EngineHost
from backend.wiring import Engines
from config import STT_ENGINES, Settings


@pytest.mark.parametrize("name", STT_ENGINES)
async def test_every_recogniser_that_can_be_chosen_is_the_one_that_reads(
    name: str, tmp_path: Path
) -> None:
    settings = Settings(
        stt_chain=(name,),
        stt_openai_url="http://127.0.0.1:9/v1",
        models_dir=tmp_path,
        data_dir=tmp_path,
    )
    http = HttpClient()
    engines = Engines(settings, bus=EventBus(), host=EngineHost(), http=http)
    assert list(engines.recognisers) == [name]
    assert engines.recognisers[name].name == name
    assert f"stt/{name}" not in engines.problems
    assert engines.hearing is not None
    await http.close()


async def health(chain: tuple[str, ...], folder: Path) -> tuple[ServiceInfo, list[ServiceInfo]]:
    """The row of the module that hears, and those of the recognisers."""
    settings = Settings(stt_chain=chain, models_dir=folder, data_dir=folder)
    http = HttpClient()
    engines = Engines(settings, bus=EventBus(), host=EngineHost(), http=http)
    rows = [row for row in await engines.health() if row.name.startswith("stt/")]
    await http.close()
    hear = ServiceInfo(name="hear", title="Speech to text", state="ready", detail="headset")
    return engines.seen_in([hear], rows)[0], rows


async def test_hearing_is_no_green_row_when_nothing_can_read(tmp_path: Path) -> None:
    hear, rows = await health(("whisper",), tmp_path)
    assert [row.state for row in rows] == ["failed"]
    assert "next engine" not in rows[0].detail
    assert hear.state == "degraded"
    assert "Whisper model" in hear.error


async def test_a_recogniser_without_its_model_is_only_off_where_another_reads(
    tmp_path: Path,
) -> None:
    hear, rows = await health(("whisper", "script"), tmp_path)
    assert [row.state for row in rows] == ["off", "ready"]
    assert hear.state == "ready"
