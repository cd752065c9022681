"""Tokens."""

from __future__ import annotations

import stat
import sys
import threading
from pathlib import Path

import pytest

from backend.contracts.errors import InvalidInputError
from backend.core.auth_token import load_or_create_token, read_token, rotate_token


def test_the_first_start_makes_a_private_token_of_256_bits(tmp_path: Path) -> None:
    token = load_or_create_token(tmp_path / "data")
    assert len(token) >= 43  # 32 bytes in base 64
    path = tmp_path / "data" / "api_token"
    assert path.read_text() == token + "\n"
    if sys.platform != "win32":
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [entry.name for entry in path.parent.iterdir()] == ["api_token"]


def test_later_starts_keep_it(tmp_path: Path) -> None:
    assert load_or_create_token(tmp_path) == load_or_create_token(tmp_path)


def test_starts_at_once_agree_on_one(tmp_path: Path) -> None:
    found: list[str] = []
    threads = [
        threading.Thread(target=lambda: found.append(load_or_create_token(tmp_path)))
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8
    assert set(found) == {load_or_create_token(tmp_path)}


def test_a_token_file_left_empty_by_a_crash_is_filled(tmp_path: Path) -> None:
    (tmp_path / "api_token").touch()
    assert len(load_or_create_token(tmp_path)) >= 43


def test_a_token_of_your_own_must_be_long_and_plain(tmp_path: Path) -> None:
    path = tmp_path / "api_token"
    path.write_text("a" * 40 + "\n")
    assert load_or_create_token(tmp_path) == "a" * 40
    for bad in ("password", "ä" * 40, "a b " * 20):
        path.write_text(bad, encoding="utf-8")
        with pytest.raises(InvalidInputError, match="Delete the file"):
            load_or_create_token(tmp_path)


def test_rotating_makes_another_one(tmp_path: Path) -> None:
    old = load_or_create_token(tmp_path, "overlay_token")
    new = rotate_token(tmp_path, "overlay_token")
    assert new != old
    assert load_or_create_token(tmp_path, "overlay_token") == new


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match="nowhere"):
        read_token(tmp_path / "nowhere")
