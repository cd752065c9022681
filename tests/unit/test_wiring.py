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


def minds(**values: object) -> Engines:
    """Engines with these settings; nothing is asked."""
    settings = Settings(**values)  # type: ignore[arg-type]  # as the test wants them
    return Engines(settings, bus=EventBus(), host=EngineHost(), http=HttpClient())


def asked(engines: Engines, name: str) -> tuple[str, str, str]:
    """Key, address and model that a provider would be asked with."""
    value = engines._provider_values()[name]
    return value.key, value.url, value.model


def test_external_api_goes_before_the_provider_and_brings_its_own_key_address_and_model() -> None:
    engines = minds(
        llm_provider="ollama",
        llm_model="llama3",
        external_api_provider="anthropic",
        external_api_key="sk-mine",
        external_api_endpoint="https://proxy.example/v1",
        external_api_model="claude-x",
    )
    assert engines.minds == ["anthropic", "persona"]
    assert asked(engines, "anthropic") == ("sk-mine", "https://proxy.example/v1", "claude-x")
    assert engines.llm.model == "claude-x"


def test_a_providers_own_key_is_never_sent_to_another_endpoint() -> None:
    elsewhere = minds(
        openai_api_key="sk-openai",
        external_api_provider="openai",
        external_api_endpoint="https://proxy.example/v1",
    )
    assert asked(elsewhere, "openai")[0] == ""
    at_home = minds(
        openai_api_key="sk-openai",
        external_api_provider="openai",
        external_api_endpoint="https://api.openai.com/v1",
    )
    assert asked(at_home, "openai")[0] == "sk-openai"


def test_what_fails_names_the_settings_that_count() -> None:
    engines = minds(
        openai_compatible_url="http://127.0.0.1:1/v1",
        external_api_provider="custom",
        external_api_endpoint="http://127.0.0.1:9/v1",
        external_api_model="m1",
    )
    value = engines._provider_values()["openai_compatible"]
    provider = engines._options_of("openai_compatible", value).provider
    assert provider.url_setting == "EXTERNAL_API_ENDPOINT"
    assert provider.key_setting == "EXTERNAL_API_KEY"
    assert provider.model_setting == "EXTERNAL_API_MODEL"
    plain = minds(external_api_provider="openai", openai_api_key="sk-openai")
    value = plain._provider_values()["openai"]
    provider = plain._options_of("openai", value).provider
    assert (provider.key_setting, provider.model_setting) == ("OPENAI_API_KEY", "OPENAI_MODEL")


def test_the_model_of_another_provider_is_not_asked_for() -> None:
    engines = minds(llm_provider="ollama", llm_model="llama3", external_api_provider="openai")
    assert engines.settings.llm_role("main").model == "gpt-4o-mini"


def test_without_a_provider_the_mode_external_api_says_what_to_do() -> None:
    assert "LLM_PROVIDER" in minds().no_provider
    assert "OPENAI_COMPATIBLE_URL" in minds(llm_provider="openai_compatible").no_provider
    assert minds(llm_provider="echo").no_provider == ""
    # What comes after the persona would never be asked: the persona never fails.
    assert minds(llm_provider="persona", llm_fallbacks=("echo",)).no_provider != ""


def test_only_servers_on_this_machine_are_local_models() -> None:
    here = minds(ollama_url="http://192.168.1.20:11434/v1")
    assert [each.name for each in here._local_models()] == ["llamacpp", "lmstudio"]
