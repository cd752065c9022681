"""Which files of the folder are backgrounds."""

from __future__ import annotations

from pathlib import Path

import pytest

from backend.api.client_ws.backgrounds import picture


@pytest.mark.parametrize(
    "name",
    ["\N{GRINNING FACE}" * 110 + ".png", "folder.png", "link.png", "gone.png", ".a.png", "a.svg"],
)
def test_what_is_no_picture_of_the_folder_is_none(tmp_path: Path, name: str) -> None:
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "a.svg").write_text("<svg/>")
    (tmp_path / ".a.png").write_bytes(b"x")
    (tmp_path / "link.png").symlink_to("/etc/hostname")
    assert picture(tmp_path, name) is None


def test_a_picture_has_its_media_type(tmp_path: Path) -> None:
    (tmp_path / "b.WEBP").write_bytes(b"x")
    assert picture(tmp_path, "b.WEBP") == (tmp_path / "b.WEBP", "image/webp")
