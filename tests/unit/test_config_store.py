"""Saving settings and keys."""

from __future__ import annotations

import os
import stat
import sys
import threading
from pathlib import Path
from types import ModuleType

import pytest
import yaml

from backend.contracts.errors import ConflictError, InvalidInputError
from backend.contracts.settings import SettingInfo
from config import LoadedSettings, Settings, load_settings
from config_secrets import SecretStore, write_private
from config_store import SettingsStore

KEY = "sk-abcdefghijklmnopqrstuvw3f9c"


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return tmp_path / "data"


def store_in(data: Path, **overrides: object) -> SettingsStore:
    return SettingsStore(load_settings({"data_dir": data, **overrides}))


def shown(store: SettingsStore, name: str) -> SettingInfo:
    return next(info for info in store.describe() if info.name == name)


def test_what_is_saved_is_there_at_the_next_start(data: Path) -> None:
    saved = store_in(data).save({"LLM_PROVIDER": "echo", "tts_chain": ["tone"], "api_port": 9000})
    assert saved.changed == ("LLM_PROVIDER", "TTS_CHAIN", "API_PORT")
    assert saved.restart_needed == ("API_PORT",)
    settings = load_settings({"data_dir": data}).settings
    assert (settings.llm_provider, settings.tts_chain, settings.api_port) == (
        "echo",
        ("tone",),
        9000,
    )


def test_none_goes_back_to_the_default(data: Path) -> None:
    store = store_in(data)
    store.save({"llm_provider": "echo"})
    assert store.save({"llm_provider": None}).changed == ("LLM_PROVIDER",)
    assert "llm_provider" not in (data / "settings.yaml").read_text()
    assert store.settings.llm_provider == Settings().llm_provider


def test_a_value_that_changes_nothing_is_no_change(data: Path) -> None:
    assert store_in(data).save({"llm_provider": Settings().llm_provider}).changed == ()


def test_unknown_lines_and_edits_by_hand_survive(data: Path) -> None:
    data.mkdir()
    store = store_in(data)
    (data / "settings.yaml").write_text("from_the_future: 5\nuser_name: Ada\n")
    store.save({"llm_provider": "echo"})
    kept = yaml.safe_load((data / "settings.yaml").read_text())
    assert kept == {"from_the_future": 5, "user_name": "Ada", "llm_provider": "echo"}


def test_one_wrong_value_saves_nothing(data: Path) -> None:
    store = store_in(data)
    with pytest.raises(InvalidInputError, match="API_PORT is 'x'"):
        store.save({"llm_provider": "echo", "api_port": "x"})
    assert not (data / "settings.yaml").exists()
    assert store.settings.llm_provider == Settings().llm_provider


def test_an_unknown_setting_is_refused(data: Path) -> None:
    with pytest.raises(InvalidInputError, match="There is no setting 'NOPE'"):
        store_in(data).save({"nope": 1})


def test_a_locked_setting_is_refused_with_the_reason(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LLM_PROVIDER", "echo")
    store = store_in(data)
    with pytest.raises(ConflictError, match="set by environment variable LLM_PROVIDER"):
        store.save({"llm_provider": "persona"})
    assert shown(store, "LLM_PROVIDER").locked == "set by environment variable LLM_PROVIDER"
    with pytest.raises(ConflictError, match="command line"):
        store.save({"data_dir": "/elsewhere"})


def test_whoever_asked_is_told_of_changes(data: Path) -> None:
    seen: list[tuple[str, tuple[str, ...]]] = []
    store = SettingsStore(
        load_settings({"data_dir": data}),
        on_saved=lambda settings, names: seen.append((settings.llm_provider, names)),
    )
    store.save({"llm_provider": "echo"})
    store.save({"llm_provider": "echo"})
    assert seen == [("echo", ("llm_provider",))]


def test_keys_are_masked_kept_apart_and_private(data: Path) -> None:
    store = store_in(data)
    store.save({"OPENAI_API_KEY": f" {KEY}\n", "user_name": "Ada"})
    info = shown(store, "OPENAI_API_KEY")
    assert (info.value, info.secret, info.kind) == ("••••3f9c", True, "secret")
    assert KEY not in (data / "settings.yaml").read_text()
    assert KEY not in repr(store.describe())
    assert load_settings({"data_dir": data}).settings.secrets() == {"openai_api_key": KEY}
    if sys.platform != "win32":
        for name in ("settings.yaml", "secrets.yaml"):
            assert stat.S_IMODE((data / name).stat().st_mode) == 0o600


def test_an_emptied_key_is_forgotten(data: Path) -> None:
    store = store_in(data)
    store.save({"openai_api_key": KEY})
    store.save({"openai_api_key": ""})
    assert KEY not in (data / "secrets.yaml").read_text()
    assert shown(store, "OPENAI_API_KEY").value == ""


def test_a_password_in_a_database_address_is_not_shown(data: Path) -> None:
    store = store_in(data, database_url="postgresql://me:hunter22@db/luma")
    assert shown(store, "DATABASE_URL").value == "postgresql://me:••••@db/luma"


def test_every_setting_is_described_in_order(data: Path) -> None:
    assert [info.name for info in store_in(data).describe()] == [
        name.upper() for name in Settings.model_fields
    ]


def test_two_saves_at_once_lose_nothing(data: Path) -> None:
    store = store_in(data)
    values = {"user_name": "Ada", "llm_provider": "echo", "llm_retries": 5, "channels": 2}
    threads = [threading.Thread(target=store.save, args=({k: v},)) for k, v in values.items()]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert yaml.safe_load((data / "settings.yaml").read_text()) == values


def test_a_failed_write_leaves_the_old_file(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data.mkdir()
    path = data / "settings.yaml"
    path.write_text("old")

    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write_private(path, "new")
    assert path.read_text() == "old"
    assert [entry.name for entry in data.iterdir()] == ["settings.yaml"]


def test_what_a_killed_writer_left_goes_with_the_next_write(data: Path) -> None:
    data.mkdir()
    for name in (".secrets.yaml.abc123.unfinished", ".secrets.yaml.swp"):
        (data / name).write_text("half a key")
        os.utime(data / name, (0, 0))
    (data / ".secrets.yaml.now.unfinished").write_text("another program writes it")
    write_private(data / "secrets.yaml", "new")
    assert {entry.name for entry in data.iterdir()} == {
        "secrets.yaml",
        ".secrets.yaml.swp",
        ".secrets.yaml.now.unfinished",
    }


class Ring:
    """A keyring that works like a system's."""

    priority = 5

    def __init__(self) -> None:
        self.kept: dict[tuple[str, str], str] = {}

    def set_password(self, service: str, name: str, value: str) -> None:
        self.kept[service, name] = value

    def get_password(self, service: str, name: str) -> str | None:
        return self.kept.get((service, name))

    def delete_password(self, service: str, name: str) -> None:
        del self.kept[service, name]


def install_ring(monkeypatch: pytest.MonkeyPatch, ring: object) -> None:
    module = ModuleType("keyring")
    module.get_keyring = lambda: ring  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "keyring", module)


def test_a_working_keyring_holds_the_key(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ring = Ring()
    install_ring(monkeypatch, ring)
    store = SecretStore(data)
    assert store.save("openai_api_key", KEY) == "the system's keyring"
    assert KEY not in (data / "secrets.yaml").read_text()
    assert SecretStore(data).load() == ({"openai_api_key": KEY}, ())
    assert SecretStore(data.with_name("other")).load() == ({}, ())
    store.save("openai_api_key", "")
    assert ring.kept == {}


class Refusing(Ring):
    def set_password(self, service: str, name: str, value: str) -> None:
        raise RuntimeError("locked")


class Null(Ring):
    priority = -1


class Hanging(Ring):
    def __init__(self) -> None:
        super().__init__()
        self.release = threading.Event()

    def set_password(self, service: str, name: str, value: str) -> None:
        self.release.wait(10)


@pytest.mark.parametrize("kind", [Refusing, Null, Hanging])
def test_a_keyring_that_does_not_work_counts_as_none(
    data: Path, monkeypatch: pytest.MonkeyPatch, kind: type[Ring]
) -> None:
    ring = kind()
    install_ring(monkeypatch, ring)
    store = SecretStore(data, keyring_timeout_s=0.05)
    assert store.save("openai_api_key", KEY) == str(data / "secrets.yaml")
    assert store.load() == ({"openai_api_key": KEY}, ())
    if isinstance(ring, Hanging):
        ring.release.set()


def test_a_keyring_that_lost_a_key_says_which(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ring = Ring()
    install_ring(monkeypatch, ring)
    SecretStore(data).save("openai_api_key", KEY)
    ring.kept.clear()
    values, notices = SecretStore(data).load()
    assert values == {}
    assert "OPENAI_API_KEY" in notices[0]


def test_a_damaged_key_file_is_a_notice(data: Path) -> None:
    data.mkdir()
    (data / "secrets.yaml").write_text("keys: [")
    loaded = load_settings({"data_dir": data})
    assert "type the keys again" in loaded.notices[0]


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://luma:s3cret@db/luma",
        "postgresql://luma:s3cret/with@signs?@db:5432/luma",
        "postgresql://:s3cret@db/luma",
        "postgresql://db:5432/luma?user=luma&password=s3cret",
    ],
)
def test_the_databases_password_is_shown_to_nobody_and_known_to_the_redactor(
    tmp_path: Path, url: str
) -> None:
    loaded = LoadedSettings.of(Settings(data_dir=tmp_path, database_url=url))
    (shown,) = [one for one in SettingsStore(loaded).describe() if one.name == "DATABASE_URL"]
    assert "s3cret" not in str(shown.value)
    assert "db" in str(shown.value)
    assert loaded.settings.secrets()["database_url"].startswith("s3cret")


@pytest.mark.parametrize("url", ["sqlite:///C:/a/b.db", "postgresql://db:5432/luma", ""])
def test_an_address_without_a_password_is_shown_whole(tmp_path: Path, url: str) -> None:
    loaded = LoadedSettings.of(Settings(data_dir=tmp_path, database_url=url))
    (shown,) = [one for one in SettingsStore(loaded).describe() if one.name == "DATABASE_URL"]
    assert shown.value == url
    assert "database_url" not in loaded.settings.secrets()


def test_a_key_is_not_sent_to_another_server_than_it_was_given_for(data: Path) -> None:
    store = store_in(data)
    first = "ws://127.0.0.1:12393/client-ws"
    store.save({"orphiq_token": KEY})  # before its server is named: it is for the one that comes
    store.save({"orphiq_websocket_url": first})
    store.save({"orphiq_websocket_url": "ws://127.0.0.1:12393/another-path"})
    for elsewhere in (
        "ws://evil.example/client-ws",
        "ws://127.0.0.1:12394",
        "wss://127.0.0.1:12393",
        "",
        None,
    ):
        with pytest.raises(
            ConflictError, match=r"ORPHIQ_TOKEN was given for http://127\.0\.0\.1:12393"
        ):
            store.save({"orphiq_websocket_url": elsewhere})
    assert store.settings.orphiq_websocket_url.endswith("/another-path")
    store.save({"orphiq_websocket_url": "ws://other.example", "orphiq_token": "another-token"})
    store.save({"orphiq_websocket_url": "ws://third.example", "orphiq_token": None})
    store.save({"orphiq_websocket_url": "ws://fourth.example"})
    assert store.settings.orphiq_token is None


def test_the_key_of_the_external_api_stays_with_its_provider(data: Path) -> None:
    store = store_in(data)
    store.save({"external_api_provider": "openai", "external_api_key": KEY})
    for name, value in (
        ("external_api_provider", "anthropic"),
        ("external_api_endpoint", "https://evil.example/v1"),
        ("external_api_provider", None),
    ):
        with pytest.raises(ConflictError, match="EXTERNAL_API_KEY was given for openai"):
            store.save({name: value})
    store.save({"external_api_model": "gpt-x"})
    store.save({"external_api_provider": "anthropic", "external_api_key": "another"})
    assert store.settings.external_api_provider == "anthropic"


def test_a_key_of_the_environment_stays_with_its_server_too(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    store = store_in(data)
    with pytest.raises(ConflictError, match="change it there, it is set by"):
        store.save({"openai_base_url": "https://evil.example/v1"})
    assert store.settings.openai_base_url == Settings().openai_base_url
