"""One program per data folder."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from backend.core.instance import AlreadyRunningError, Instance, make_private, read_address

HOLD = """
import sys
from pathlib import Path
from backend.core.instance import Instance
with Instance(Path(sys.argv[1])) as instance:
    instance.write_address("http://127.0.0.1:1234", "9.9")
    print("held", flush=True)
    sys.stdin.read()
"""


def test_it_says_where_it_listens_and_cleans_up(tmp_path: Path) -> None:
    with Instance(tmp_path / "new") as instance:
        instance.write_address("http://127.0.0.1:8765", "0.1.0")
        address = read_address(tmp_path / "new")
        assert address is not None
        assert (address.url, address.pid) == ("http://127.0.0.1:8765", os.getpid())
        assert set(json.loads((tmp_path / "new" / "backend.json").read_text())) == {
            "url",
            "pid",
            "started",
            "version",
        }
    assert read_address(tmp_path / "new") is None


def test_another_process_is_refused_until_the_first_has_ended(tmp_path: Path) -> None:
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(AlreadyRunningError) as caught, Instance(tmp_path):
            pass
        assert f"http://127.0.0.1:1234 (process {holder.pid})" in str(caught.value)
        assert read_address(tmp_path) is not None  # a refused start takes nothing away
        holder.kill()
    assert (tmp_path / "backend.json").exists()
    with Instance(tmp_path):
        assert read_address(tmp_path) is None  # what the killed one left is gone


@pytest.mark.parametrize("text", ["", "{", "[]", '{"url": "x"}', '{"url": 1, "pid": "x"}'])
def test_a_damaged_address_is_none(tmp_path: Path, text: str) -> None:
    (tmp_path / "backend.json").write_text(text)
    assert read_address(tmp_path) is None


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such modes")
def test_what_an_older_start_left_open_is_closed_and_the_rest_stays(tmp_path: Path) -> None:
    (tmp_path / "audio").mkdir(mode=0o755)
    for name in ("luma.db", "luma.db-wal", "settings.yaml", "holiday.png"):
        (tmp_path / name).touch(mode=0o644)
    elsewhere = tmp_path / "holiday.png"
    (tmp_path / "luma.db-link").symlink_to(elsewhere)
    make_private(tmp_path)
    modes = {path.name: path.stat().st_mode & 0o777 for path in tmp_path.iterdir()}
    assert modes.pop("holiday.png") == modes.pop("luma.db-link") == 0o644
    assert modes == {"audio": 0o700, "luma.db": 0o600, "luma.db-wal": 0o600, "settings.yaml": 0o600}
