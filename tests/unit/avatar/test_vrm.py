"""Reading VRM files: what they can show, and what is told of those that cannot be used."""

from __future__ import annotations

import copy
import json
import struct
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from backend.avatar import vrm
from backend.avatar.rigs import BUILTIN
from backend.contracts.errors import InvalidInputError

ROOT = Path(__file__).resolve().parents[3]
NORI = BUILTIN / "nori" / "nori.vrm"
ONE_BONE = {"node": 0}

VERSION_1: dict[str, Any] = {
    "asset": {"version": "2.0"},
    "extensions": {
        "VRMC_vrm": {
            "specVersion": "1.0",
            "meta": {
                "name": " Mio  the Cat ",
                "authors": ["Ann", "Bo"],
                "licenseUrl": "https://vrm.dev/licenses/1.0/",
            },
            "humanoid": {"humanBones": dict.fromkeys(vrm.BONES, ONE_BONE)},
            "expressions": {
                "preset": {"happy": {}, "sad": {}, "aa": {}, "ih": {}, "blink": {}, "lookUp": {}},
                "custom": {"Wink!": {}, "ねこ": {}, "joy": {}, "<b>": {}, "***": {}},
            },
        }
    },
}
VERSION_0: dict[str, Any] = {
    "extensions": {
        "VRM": {
            "meta": {"title": "Old Mio", "author": "Ann", "licenseName": "CC0"},
            "humanoid": {"humanBones": [{"bone": bone, "node": 1} for bone in sorted(vrm.BONES)]},
            "blendShapeMaster": {
                "blendShapeGroups": [
                    {"name": "Joy", "presetName": "joy"},
                    {"name": "Sorrow", "presetName": "sorrow"},
                    {"name": "A", "presetName": "a"},
                    {"name": "Blink", "presetName": "blink"},
                    {"name": "Surprised", "presetName": "unknown"},
                ]
            },
        }
    }
}


def glb(head: object, *, data: bytes = b"\0" * 16) -> bytes:
    """A GLB file with that description."""
    text = head if isinstance(head, bytes) else json.dumps(head).encode()
    text += b" " * (-len(text) % 4)
    whole = 20 + len(text) + 8 + len(data)
    return (
        struct.pack("<4sIII4s", b"glTF", 2, whole, len(text), b"JSON")
        + text
        + struct.pack("<I4s", len(data), b"BIN\0")
        + data
    )


def written(folder: Path, content: bytes) -> Path:
    path = folder / "mio.vrm"
    path.write_bytes(content)
    return path


def test_the_figure_that_ships_shows_everything() -> None:
    parts = vrm.read(NORI)
    assert parts.title == "Nori"
    assert parts.expressions[:6] == ("neutral", "joy", "angry", "sad", "relaxed", "surprised")
    assert {"smug", "shy", "sleepy", "love", "thinking"} <= set(parts.expressions)
    assert len(parts.visemes) == 15
    assert [motion.name for motion in parts.motions] == [motion.name for motion in vrm.MOTIONS]
    assert NORI.stat().st_size < 300_000


def test_the_figure_that_ships_is_what_its_script_makes(tmp_path: Path) -> None:
    script = [sys.executable, str(ROOT / "scripts" / "make_vrm.py"), str(tmp_path / "nori.vrm")]
    subprocess.run(script, check=True, stdout=subprocess.DEVNULL)
    assert (tmp_path / "nori.vrm").read_bytes() == NORI.read_bytes()


def test_version_1_is_read(tmp_path: Path) -> None:
    path = written(tmp_path, glb(VERSION_1))
    parts = vrm.read(path)
    assert parts.file == "mio.vrm"
    assert parts.title == "Mio the Cat"
    # A name that VRM has comes first; one of the model's own that is the same is not listed twice.
    assert parts.expressions == ("neutral", "joy", "sad", "Wink_", "ねこ", "b_")
    assert parts.visemes[:2] == ("sil", "PP")
    assert "aa" in parts.visemes
    assert "oh" not in parts.visemes
    model = vrm.look(path)
    assert (model.version, model.authors) == ("1", "Ann, Bo")
    assert model.licence == "https://vrm.dev/licenses/1.0/"


def test_version_0_is_read(tmp_path: Path) -> None:
    path = written(tmp_path, glb(VERSION_0))
    parts = vrm.read(path)
    assert parts.title == "Old Mio"
    assert parts.expressions == ("neutral", "joy", "sad", "Surprised")
    assert set(parts.visemes) == {"sil", "PP", "aa"}
    model = vrm.look(path)
    assert (model.version, model.authors, model.licence) == ("0", "Ann", "CC0")


def without(*keys: str) -> Callable[[dict[str, Any]], None]:
    def change(head: dict[str, Any]) -> None:
        for key in keys[:-1]:
            head = head[key]
        del head[keys[-1]]

    return change


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (without("extensions"), "without an avatar"),
        (without("extensions", "VRMC_vrm", "humanoid"), "no whole figure"),
        (
            without("extensions", "VRMC_vrm", "humanoid", "humanBones", "head"),
            "it has no head",
        ),
        (lambda head: head.update(buffers=[{"uri": "../secret.bin"}]), r"secret\.bin"),
        (lambda head: head.update(images=[{"uri": "http://x.example/a.png"}]), "in itself"),
        (
            lambda head: head.update(extensionsRequired=["KHR_draco_mesh_compression"]),
            "without compression",
        ),
    ],
)
def test_what_cannot_be_shown_says_why(
    tmp_path: Path, change: Callable[[dict[str, Any]], None], words: str
) -> None:
    head = copy.deepcopy(VERSION_1)
    change(head)
    with pytest.raises(InvalidInputError, match=words):
        vrm.read(written(tmp_path, glb(head)))


WHOLE = glb(VERSION_1)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "no VRM file"),
        (b"PK\x03\x04" + WHOLE, "no VRM file"),
        (WHOLE[:4] + struct.pack("<I", 1) + WHOLE[8:], "version 1"),
        (WHOLE[:200], "cut off"),
        (WHOLE[:16] + b"BIN\0" + WHOLE[20:], "broken"),
        (WHOLE[:12] + struct.pack("<I", 2**32 - 1) + WHOLE[16:], "broken"),
        (glb(b"{nonsense"), "no JSON"),
        (glb(b"[" * 100_000), "no JSON"),
        (glb(b"[1, 2]"), "no object"),
    ],
)
def test_a_file_that_is_broken_is_refused(tmp_path: Path, content: bytes, words: str) -> None:
    with pytest.raises(InvalidInputError, match=words):
        vrm.read(written(tmp_path, content))


def test_a_description_without_end_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "mio.vrm"
    length = vrm.LONGEST_HEAD + 4
    with path.open("wb") as file:
        file.write(struct.pack("<4sIII4s", b"glTF", 2, 20 + length, length, b"JSON"))
        file.truncate(20 + length)
    with pytest.raises(InvalidInputError, match="32 MiB"):
        vrm.read(path)


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match="cannot be read"):
        vrm.read(tmp_path / "none.vrm")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=80) | st.floats(allow_nan=False),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
    max_leaves=12,
)  # fmt: skip
PLACES = st.sampled_from(
    [
        ("meta",), ("meta", "name"), ("meta", "authors"), ("humanoid",), ("humanoid", "humanBones"),
        ("expressions",), ("expressions", "preset"), ("expressions", "custom"),
        ("blendShapeMaster",), ("blendShapeMaster", "blendShapeGroups"),
    ]
)  # fmt: skip


@settings(
    max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(place=PLACES, value=JSON, version=st.sampled_from(["VRM", "VRMC_vrm"]))
def test_whatever_stands_in_a_file_it_is_read_or_refused(
    tmp_path: Path, place: tuple[str, ...], value: Any, version: str
) -> None:
    head = copy.deepcopy(VERSION_0 if version == "VRM" else VERSION_1)
    into = head["extensions"][version]
    for key in place[:-1]:
        into = into.setdefault(key, {})
    into[place[-1]] = value
    try:
        parts = vrm.read(written(tmp_path, glb(head)))
    except InvalidInputError:
        return
    assert parts.expressions[0] == "neutral"


@settings(
    max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(at=st.integers(0, 400), new=st.binary(min_size=1, max_size=8))
def test_whatever_bytes_are_changed_it_is_read_or_refused(
    tmp_path: Path, at: int, new: bytes
) -> None:
    content = WHOLE[:at] + new + WHOLE[at + len(new) :]
    with suppress(InvalidInputError):
        vrm.read(written(tmp_path, content))
