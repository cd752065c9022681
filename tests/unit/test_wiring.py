"""From settings to engines: every name a setting allows becomes the engine of that name."""

from __future__ import annotations

from pathlib import Path

import pytest

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
