"""Rigs in folders: what is read, what is refused and why, and that nothing outside a folder is handed out."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path

import pytest

from backend.avatar import rigs as module
from backend.avatar.rigs import BUILTIN, Rigs, file_in
from backend.contracts.entities import Character
from backend.contracts.errors import InvalidInputError, NotFoundError

PUPPET: dict[str, object] = {
    "format": 1,
    "title": "Mika",
    "kind": "puppet",
    "expressions": ["neutral", "joy"],
    "motions": [{"group": "gesture", "index": 0, "name": "Wave", "duration_ms": 1800}],
    "visemes": ["sil", "aa"],
    "aliases": {"Hello": "wave"},
    "puppet": {"layers": []},
}
MIKA = Character(id="mika", name="Mika", expressions=("neutral", "sad"))


def write(folder: Path, files: Mapping[str, object]) -> Path:
    folder.mkdir(parents=True)
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content if isinstance(content, str) else json.dumps(content))
    return folder


async def read(own: Path, builtin: Path | None = None) -> Rigs:
    rigs = Rigs(own, builtin or own / "none")
    await rigs.refresh(now=True)
    return rigs


async def test_a_puppet_is_read_from_its_file(tmp_path: Path) -> None:
    write(tmp_path / "mika", {"rig.json": PUPPET})
    rigs = await read(tmp_path)
    rig = rigs.get("mika", [])
    assert (rig.kind, rig.title, rig.problem) == ("puppet", "Mika", "")
    assert rig.url == rig.settings_url == "/api/rigs/mika/files/rig.json"
    assert rig.motions[0].name == "wave"
    assert dict(rigs.of(MIKA).aliases) == {"hello": "wave"}


async def test_pictures_need_no_file(tmp_path: Path) -> None:
    write(tmp_path / "mika", {"neutral.png": "", "joy.png": "", "a note.txt": ""})
    rig = (await read(tmp_path)).get("mika", [])
    assert (rig.kind, rig.expressions) == ("picture", ("neutral", "joy"))
    assert rig.url == "/api/rigs/mika/files/"
    assert not rig.settings_url


async def test_a_character_without_a_rig_shows_its_pictures(tmp_path: Path) -> None:
    rigs = await read(tmp_path)
    rig = rigs.of(MIKA).rig
    assert (rig.kind, rig.url) == ("picture", "/api/avatars/mika/")
    assert rig.expressions == MIKA.expressions
    assert rigs.list([MIKA]) == [rig]
    assert rigs.get("mika", [MIKA]) == rig


async def test_a_character_shows_the_rig_that_it_names(tmp_path: Path) -> None:
    write(tmp_path / "other", {"rig.json": PUPPET})
    rigs = await read(tmp_path)
    assert rigs.of(MIKA.model_copy(update={"rig": "other"})).rig.id == "other"
    gone = rigs.of(MIKA.model_copy(update={"rig": "gone"})).rig
    assert gone.expressions == MIKA.expressions
    assert "gone" in gone.problem
    rigs.check("other")
    rigs.check("")
    with pytest.raises(InvalidInputError, match="there are other"):
        rigs.check("gone")


async def test_the_users_rig_comes_before_the_shipped_one(tmp_path: Path) -> None:
    write(tmp_path / "shipped" / "mika", {"rig.json": PUPPET})
    rigs = await read(tmp_path / "own", tmp_path / "shipped")
    assert rigs.of(MIKA).rig.builtin
    write(tmp_path / "own" / "mika", {"rig.json": {**PUPPET, "title": "Mine"}})
    await rigs.refresh(now=True)
    assert rigs.of(MIKA).rig.title == "Mine"
    assert not rigs.of(MIKA).rig.builtin


async def test_a_changed_file_is_read_again(tmp_path: Path) -> None:
    folder = write(tmp_path / "mika", {"rig.json": "{"})
    rigs = await read(tmp_path)
    assert "rig.json" in rigs.get("mika", []).problem
    (folder / "rig.json").write_text(json.dumps(PUPPET))
    await rigs.refresh(now=True)
    assert not rigs.get("mika", []).problem


BROKEN = [
    ({"rig.json": "{"}, "rig.json"),
    ({"rig.json": {**PUPPET, "format": 2}}, "format"),
    ({"rig.json": {**PUPPET, "colour": 1}}, "colour"),
    ({"rig.json": {**PUPPET, "kind": "video"}}, "kind"),
    ({"rig.json": {**PUPPET, "expressions": ["joy", "Joy"]}}, "two of the expression 'joy'"),
    ({"rig.json": {**PUPPET, "expressions": ["<b>"]}}, "'<b>' is no name"),
    ({"rig.json": {**PUPPET, "aliases": {"hi": "fly"}}}, "'fly', which it does not have"),
    ({"rig.json": {**PUPPET, "visemes": ["oo"]}}, "visemes"),
    ({"rig.json": {**PUPPET, "puppet": {}}}, 'no part "puppet"'),
    ({"rig.json": {**PUPPET, "motions": [{"name": "a"}, {"name": "b"}]}}, "two of the motion"),
    ({"rig.json": {**PUPPET, "kind": "picture"}, "neutral.png": ""}, "no joy.png"),
    ({"rig.json": {**PUPPET, "kind": "vrm", "file": "../x.vrm"}}, "file"),
    ({"rig.json": {**PUPPET, "kind": "vrm", "file": "x.vrm"}}, "x.vrm"),
    ({"a.vrm": "", "b.vrm": ""}, "2 files"),
    ({"a.vrm": "no model"}, "a.vrm"),
    ({"joy.png": ""}, "neutral.png"),
    ({}, "nothing to show"),
]


@pytest.mark.parametrize(("files", "words"), BROKEN, ids=lambda value: str(value)[:40])
async def test_a_broken_rig_stays_in_the_list_and_says_why(
    tmp_path: Path, files: dict[str, object], words: str
) -> None:
    write(tmp_path / "mika", files)
    rigs = await read(tmp_path)
    (rig,) = rigs.list([MIKA])
    assert words in rig.problem
    assert not rig.url
    # The character is shown all the same.
    assert rigs.of(MIKA).rig.expressions == MIKA.expressions


async def test_a_file_that_is_too_long_is_not_read(tmp_path: Path) -> None:
    write(tmp_path / "mika", {"rig.json": " " * (1 << 20) + json.dumps(PUPPET)})
    assert "1,024 KiB" in (await read(tmp_path)).get("mika", []).problem


async def test_folders_that_are_no_rigs_are_left_alone(tmp_path: Path) -> None:
    for name in ("Mika", ".hidden", "a b", "x" * 65):
        write(tmp_path / name, {"rig.json": PUPPET})
    (tmp_path / "file").write_text("")
    rigs = await read(tmp_path)
    assert not rigs.list([])
    with pytest.raises(NotFoundError, match="no rig"):
        rigs.folder("Mika")


async def test_only_so_many_folders_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MOST_RIGS", 3)
    for n in range(5):
        write(tmp_path / f"rig{n}", {"rig.json": PUPPET})
    assert len((await read(tmp_path)).list([])) == 3


# --- files ---


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "secret.json").write_text("{}")
    return write(
        tmp_path / "rigs" / "mika",
        {
            "rig.json": PUPPET,
            "layers/eye.svg": "<svg/>",
            "page.html": "<script>",
            "code.js": "alert(1)",
            ".hidden.json": "{}",
            "deep/.git/x.json": "{}",
        },
    )


@pytest.mark.parametrize(
    ("path", "media_type"), [("rig.json", "application/json"), ("layers/eye.svg", "image/svg+xml")]
)
def test_files_of_a_rig_are_found(folder: Path, path: str, media_type: str) -> None:
    assert file_in(folder, path) == (folder / path, media_type)


@pytest.mark.parametrize(
    "path",
    [
        "",
        "gone.json",
        "page.html",
        "code.js",
        ".hidden.json",
        "deep/.git/x.json",
        "../../secret.json",
        "layers/../../../secret.json",
        "/etc/hosts.json",
        "..\\..\\secret.json",
        "layers",
        "layers//eye.svg",
        "./rig.json",
        "rig.json\0.png",
        "x" * 5000 + ".json",
    ],
)
def test_nothing_else_is_handed_out(folder: Path, path: str) -> None:
    with pytest.raises(NotFoundError):
        file_in(folder, path)


@pytest.mark.skipif(not hasattr(os, "symlink"), reason="links need a system that has them")
def test_a_link_does_not_lead_out_of_the_folder(folder: Path) -> None:
    (folder / "out.json").symlink_to(folder.parent.parent / "secret.json")
    (folder / "away").symlink_to(folder.parent.parent)
    (folder / "loop.json").symlink_to(folder / "loop.json")
    for path in ("out.json", "away/secret.json", "loop.json"):
        with pytest.raises(NotFoundError):
            file_in(folder, path)


def test_a_file_that_is_too_large_says_so(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LARGEST_FILE", 3)
    with pytest.raises(NotFoundError, match="at most"):
        file_in(folder, "rig.json")


@pytest.mark.parametrize("folder", sorted(BUILTIN.glob("*/rig.json")), ids=lambda f: f.parent.name)
async def test_every_rig_that_ships_can_be_shown(folder: Path) -> None:
    rigs = await read(Path("nowhere"), BUILTIN)
    rig = rigs.get(folder.parent.name, [])
    assert not rig.problem
    assert rig.builtin
    assert len(rig.expressions) >= 8
    assert len(rig.motions) >= 4
    assert len(rig.visemes) >= 6
