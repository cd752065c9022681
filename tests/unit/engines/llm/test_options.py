"""What "auto" means, and addresses as people write them."""

from __future__ import annotations

import pytest

from backend.core.http import HttpClient
from backend.engines.llm.options import (
    REMOTE,
    ProviderValues,
    first_configured,
    normal_base_url,
    options_for,
)
from config import Settings


def values_of(settings: Settings) -> dict[str, ProviderValues]:
    return {
        name: ProviderValues(
            url=getattr(settings, f"{name}_base_url", "") or getattr(settings, f"{name}_url", "")
        )
        for name in REMOTE
    }


def test_nothing_configured_means_persona() -> None:
    assert first_configured({}) == "persona"


def test_the_defaults_of_the_settings_configure_nobody() -> None:
    assert first_configured(values_of(Settings())) == "persona"


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("openai", ProviderValues(key="k")),
        ("anthropic", ProviderValues(key="k")),
        ("openai_compatible", ProviderValues(url="http://127.0.0.1:9/v1")),
        ("ollama", ProviderValues(model="llama3.2")),
        ("ollama", ProviderValues(url="http://box:11434")),
        ("lmstudio", ProviderValues(url="http://127.0.0.1:4321/v1")),
    ],
)
def test_a_key_an_address_or_a_model_configures_a_provider(
    name: str, values: ProviderValues
) -> None:
    assert first_configured({**values_of(Settings()), name: values}) == name


def test_a_usual_address_written_otherwise_configures_nobody() -> None:
    found = {"ollama": ProviderValues(url="http://127.0.0.1:11434/")}
    assert first_configured(found) == "persona"


def test_openrouter_comes_first() -> None:
    key = ProviderValues(key="k")
    assert first_configured({"openai": key, "openrouter": key}) == "openrouter"


@pytest.mark.parametrize(
    "written",
    [
        "http://h:1", "http://h:1/", "http://h:1/v1", " http://h:1/v1/ ",
        "http://h:1/v1/chat/completions", "http://h:1/v1/models",
    ],
)  # fmt: skip
def test_an_address_is_understood_however_it_is_written(written: str) -> None:
    assert normal_base_url(written) == "http://h:1/v1"


def test_a_path_of_its_own_is_kept() -> None:
    assert normal_base_url("https://h/api/v3") == "https://h/api/v3"


def test_a_key_with_spaces_around_it_is_hidden_without_them() -> None:
    options = options_for("openai", ProviderValues(key=" sk-x \n"), HttpClient())
    assert options.key == "sk-x"
    assert options.provider.secrets == ("sk-x",)
    assert "sk-x" not in repr(options)
