"""Settings: what decides, what is refused, what is shown."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import yaml

import config
from config import Origin, Settings, SettingsError, load_settings


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty data folder, named by the environment like in a container."""
    folder = tmp_path / "data"
    folder.mkdir()
    monkeypatch.setenv("DATA_DIR", str(folder))
    monkeypatch.setenv("LUMA_ENV_FILE", str(tmp_path / ".env"))
    return folder


def problem_of(**overrides: object) -> str:
    with pytest.raises(SettingsError) as caught:
        load_settings(overrides)
    assert len(caught.value.lines) == 1
    assert "\n" not in caught.value.lines[0]
    return caught.value.lines[0]


def test_each_source_beats_the_one_below(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert load_settings().settings.api_port == 8765
    (data / "settings.yaml").write_text("api_port: 1001\n")
    assert load_settings().settings.api_port == 1001
    (tmp_path / ".env").write_text("API_PORT=1002\n")
    assert load_settings().settings.api_port == 1002
    monkeypatch.setenv("API_PORT", "1003")
    assert load_settings().settings.api_port == 1003
    assert load_settings({"api_port": 1004}).settings.api_port == 1004
    assert load_settings({"api_port": None}).settings.api_port == 1003


def test_it_tells_who_decided_and_what_is_locked(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (data / "settings.yaml").write_text("llm_model: x\n")
    (tmp_path / ".env").write_text("TTS_CHAIN=tone\n")
    monkeypatch.setenv("LLM_PROVIDER", "echo")
    loaded = load_settings({"log_level": "DEBUG"})
    assert loaded.locked("llm_provider") == "set by environment variable LLM_PROVIDER"
    assert loaded.locked("tts_chain") == "set by TTS_CHAIN in .env"
    assert loaded.locked("log_level") == "set by the command line"
    assert loaded.locked("llm_model") == ""
    assert loaded.origin("llm_model") is Origin.FILE
    assert loaded.origin("api_port") is Origin.DEFAULT
    assert loaded.locked("data_dir") == "set by environment variable DATA_DIR"
    monkeypatch.delenv("DATA_DIR")
    assert "--data-dir" in load_settings().locked("data_dir")


def test_another_settings_file_may_be_named(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mine.yaml").write_text("LLM_PROVIDER: echo\n")
    monkeypatch.setenv("LUMA_CONFIG", str(tmp_path / "mine.yaml"))
    assert load_settings().settings.llm_provider == "echo"


@pytest.mark.parametrize("text", ["piper, tone", '["piper", "tone"]', "piper,tone,"])
def test_lists_are_written_with_commas_or_as_json(
    data: Path, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    monkeypatch.setenv("TTS_CHAIN", text)
    assert load_settings().settings.tts_chain == ("piper", "tone")


def test_an_empty_value_counts_as_not_set(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("API_PORT", "")
    monkeypatch.setenv("OPENAI_API_KEY", "")
    (data / "settings.yaml").write_text("llm_memory_max_tokens: ''\nlog_level:\n")
    settings = load_settings().settings
    assert settings.api_port == 8765
    assert settings.openai_api_key is None
    assert settings.llm_memory_max_tokens is None


def test_a_wrong_value_is_one_line_with_name_value_source_and_range(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("API_PORT", "99999")
    line = problem_of()
    assert line == (
        "API_PORT is '99999' (from environment variable API_PORT),"
        " allowed is a whole number from 0 to 65535."
    )


def test_a_wrong_word_gets_the_choices_and_a_suggestion(data: Path) -> None:
    line = problem_of(llm_provider="openruter")
    assert "openrouter?" in line
    assert all(name in line for name in config.LLM_PROVIDERS)
    assert "tone?" in problem_of(tts_chain="piper, tne")
    assert "DEBUG, INFO, WARNING, ERROR" in problem_of(log_level="LOUD")


@pytest.mark.parametrize("value", ["a\nb", "\u2028", "x" * 300])
def test_a_wrong_value_never_breaks_the_line(data: Path, value: str) -> None:
    assert problem_of(api_port=value).startswith("API_PORT is ")


def test_every_wrong_value_gets_its_line(data: Path) -> None:
    with pytest.raises(SettingsError) as caught:
        load_settings({"api_port": "x", "channels": 9})
    assert [line.split()[0] for line in caught.value.lines] == ["API_PORT", "CHANNELS"]


def test_a_wildcard_origin_is_refused(data: Path) -> None:
    assert "wildcard" in problem_of(cors_origins="*")


def test_a_certificate_without_its_key_is_refused(data: Path) -> None:
    assert problem_of(tls_cert="cert.pem").startswith("TLS_KEY is missing")


def test_a_broken_settings_file_says_where(data: Path) -> None:
    (data / "settings.yaml").write_text("llm_provider: echo\nbroken: [1\n")
    line = problem_of()
    assert "settings.yaml" in line
    assert "in line 3" in line or "in line 2" in line
    (data / "settings.yaml").write_text("just words")
    assert "must hold lines like" in problem_of()


def test_an_unknown_name_is_a_notice_with_a_suggestion(data: Path) -> None:
    (data / "settings.yaml").write_text("llm_provder: echo\n")
    loaded = load_settings()
    assert loaded.settings.llm_provider == "auto"
    assert any("'llm_provder'; did you mean llm_provider?" in text for text in loaded.notices)


def test_relative_paths_start_where_they_are_written(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert load_settings({"data_dir": "here"}).settings.data_dir == tmp_path / "here"
    (data / "settings.yaml").write_text("models_dir: voices\n")
    assert load_settings().settings.models_dir == data / "voices"
    assert Settings(models_dir=Path("m")).models_dir == config.ROOT / "m"


def test_values_given_in_code_read_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("API_PORT", "1234")
    assert Settings().api_port == 8765


def test_a_role_falls_back_to_main_piece_by_piece() -> None:
    settings = Settings(
        llm_provider="openrouter",
        llm_model="main-model",
        llm_temperature=0.3,
        llm_memory_max_tokens=50,
        llm_vision_provider="openai",
        llm_internet_model="reader",
    )
    main = settings.llm_role("main")
    assert (main.provider, main.model, main.temperature) == ("openrouter", "main-model", 0.3)
    memory = settings.llm_role("memory")
    assert (memory.provider, memory.model, memory.max_tokens) == ("openrouter", "main-model", 50)
    vision = settings.llm_role("vision")
    # main's model is another provider's: the provider's own setting counts.
    assert (vision.provider, vision.model) == ("openai", settings.openai_model)
    assert vision.detail == f"LLM_VISION_PROVIDER=openai, model {settings.openai_model}"
    assert settings.llm_role("internet").model == "reader"


def test_every_setting_has_a_meaning_and_a_group() -> None:
    for name, info in Settings.model_fields.items():
        assert info.description, name
        assert info.description.endswith("."), name
        assert config.group_of(name), name
        assert config.allowed_in_words(name), name


def test_the_settings_of_the_plan_exist() -> None:
    plan = """API_HOST API_PORT DEBUG CORS_ORIGINS DATABASE_URL WHISPER_MODEL PIPER_MODEL_PATH SAMPLE_RATE CHANNELS
        AUDIO_SINK GPU_METRICS_INTERVAL_S LOG_LEVEL LOG_FILE OPENROUTER_API_KEY OPENROUTER_MODEL OPENAI_API_KEY
        OPENAI_MODEL ANTHROPIC_API_KEY ANTHROPIC_MODEL OLLAMA_URL LLM_PROVIDER LLM_MEMORY_PROVIDER
        LLM_VISION_PROVIDER LLM_INTERNET_PROVIDER LLM_AUTONOMY_PROVIDER"""
    assert {name.lower() for name in plan.split()} <= set(Settings.model_fields)


def test_keys_show_their_end_only_when_they_are_long() -> None:
    assert config.mask("sk-abcdefghijklmnop3f9c") == "••••3f9c"
    assert config.mask("short") == "••••"
    assert config.mask("") == ""


def test_a_wrong_key_is_not_printed(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (data / "settings.yaml").write_text(yaml.safe_dump({"openai_api_key": ["sk-very-secret-123"]}))
    assert "very-secret" not in problem_of()


def test_a_windows_made_env_file_is_read(data: Path, tmp_path: Path) -> None:
    (tmp_path / ".env").write_bytes("\ufeffLLM_PROVIDER=echo\r\nUSER_NAME=Jörg\r\n".encode())
    settings = load_settings().settings
    assert (settings.llm_provider, settings.user_name) == ("echo", "Jörg")


@pytest.mark.parametrize(
    ("host", "remote"),
    [
        ("127.0.0.1", False),
        ("localhost", False),
        ("::1", False),
        ("127.8.9.1", False),
        ("0.0.0.0", True),
        ("192.168.1.5", True),
        ("::", True),
        ("example.org", True),
    ],
)
def test_it_knows_which_addresses_others_can_reach(host: str, remote: bool) -> None:
    assert Settings(api_host=host).is_remote is remote


def test_the_environment_of_these_tests_is_clean() -> None:
    assert os.environ["LUMA_ENV_FILE"] == os.devnull
    assert not [name for name in os.environ if name.lower() in Settings.model_fields]
