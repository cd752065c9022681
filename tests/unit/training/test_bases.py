"""Checkpoints in the models folder that a training can start from."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from backend.contracts.errors import NotFoundError
from backend.training.bases import digest, list_bases


def test_bases_are_the_checkpoints_in_their_folder(tmp_path: Path) -> None:
    assert list_bases(tmp_path) == []
    folder = tmp_path / "base"
    folder.mkdir()
    (folder / "en_US-lessac-medium.ckpt").write_bytes(b"12345")
    (folder / "notes.txt").write_text("x")
    (folder / "elsewhere.ckpt").symlink_to(tmp_path / "secret.ckpt")
    assert [(one.path, one.title, one.size_bytes) for one in list_bases(tmp_path)] == [
        ("base/en_US-lessac-medium.ckpt", "en US lessac medium", 5)
    ]


def test_the_digest_is_that_of_a_listed_file_only(tmp_path: Path) -> None:
    (tmp_path / "base").mkdir()
    (tmp_path / "base" / "mine.ckpt").write_bytes(b"abc")
    (tmp_path / "secret.ckpt").write_bytes(b"abc")
    assert digest(tmp_path, "base/mine.ckpt") == hashlib.sha256(b"abc").hexdigest()
    for path in ("secret.ckpt", "base/../secret.ckpt", "/etc/passwd"):
        with pytest.raises(NotFoundError):
            digest(tmp_path, path)
