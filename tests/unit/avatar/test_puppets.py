"""The puppets that ship: drawn by the script as they lie there, complete, small, and nothing but pictures."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, get_args

import pytest

from backend.avatar.rigs import BUILTIN
from backend.contracts.avatar import Viseme
from scripts import make_puppets

CAST = tuple(make_puppets.CAST)


def rig_of(character_id: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((BUILTIN / character_id / "rig.json").read_text())
    return found


@pytest.mark.parametrize("character_id", CAST)
def test_what_ships_is_what_the_script_draws(tmp_path: Path, character_id: str) -> None:
    make_puppets.save(character_id, make_puppets.CAST[character_id](), tmp_path)
    drawn = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    ships = {path.name: path.read_bytes() for path in (BUILTIN / character_id).iterdir()}
    assert sorted(drawn) == sorted(ships)
    assert [name for name in drawn if drawn[name] != ships[name]] == []


@pytest.mark.parametrize("character_id", CAST)
def test_a_puppet_names_files_states_and_parts_that_exist(character_id: str) -> None:
    rig = rig_of(character_id)
    puppet = rig["puppet"]
    parts = {part["name"]: part for part in puppet["parts"]}
    files = {
        image["file"]
        for part in puppet["parts"]
        for image in [part.get("image"), *part.get("states", {}).values()]
        if image
    }
    assert files == {path.name for path in (BUILTIN / character_id).glob("*.svg")}
    for part in puppet["parts"]:
        assert part.get("parent", "root") in parts
    for expression in puppet["expressions"].values():
        for name, change in expression.items():
            assert name in parts
            assert change.get("state", "") in {"", *parts[name].get("states", {})}
    for entry in puppet["idle"]:
        assert entry["part"] in parts
    for tracks in puppet["motions"].values():
        for key, track in tracks.items():
            assert key.split(".")[0] in parts
            assert [point[0] for point in track] == sorted(point[0] for point in track)
            rest = 1 if "scale" in key else 0
            assert track[0] == [0, rest]
            assert track[-1] == [1, rest]
    assert sorted(puppet["expressions"]) == sorted(rig["expressions"])
    assert sorted(puppet["motions"]) == sorted(motion["name"] for motion in rig["motions"])


@pytest.mark.parametrize("character_id", CAST)
def test_every_viseme_has_a_mouth(character_id: str) -> None:
    rig = rig_of(character_id)
    mouth = rig["puppet"]["mouth"]
    states = next(p for p in rig["puppet"]["parts"] if p["name"] == mouth["part"])["states"]
    assert set(mouth["visemes"]) == set(get_args(Viseme)) == set(rig["visemes"])
    assert len({shape for shape in mouth["visemes"].values() if shape}) >= 6
    for shape in mouth["visemes"].values():
        assert shape in {"", *states}
        for ending in mouth["voices"].values():
            assert not shape or f"{shape}.{ending}" in states


def test_the_four_are_small_and_hold_no_script_and_no_link() -> None:
    total = 0
    for character_id in CAST:
        for path in (BUILTIN / character_id).iterdir():
            total += path.stat().st_size
            if path.suffix == ".svg":
                text = path.read_text()
                text = text.replace('xmlns="http://www.w3.org/2000/svg"', "", 1)
                assert not re.search(r"<script|href|\bon\w+=|http", text), path
    assert total < 1_500_000
