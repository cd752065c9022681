"""Reading Live2D models: what they can show, and what is told of those that cannot be used."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from backend.avatar import live2d
from backend.avatar.rigs import Rigs
from backend.contracts.entities import Character
from backend.contracts.errors import InvalidInputError, NotFoundError
from tests import live2d_model


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """The folder of a whole model."""
    live2d_model.write(tmp_path / "rigs" / "mimi")
    return tmp_path / "rigs" / "mimi"


def rewritten(model: Path, change: Callable[[dict[str, Any]], object]) -> None:
    described = live2d_model.described()
    change(described)
    (model / "mimi.model3.json").write_text(json.dumps(described), "utf-8")


def test_a_model_is_read(model: Path) -> None:
    parts = live2d.read(model)
    assert parts == live2d.read(model / "mimi.model3.json")
    assert (parts.file, parts.title) == ("mimi.model3.json", "mimi")
    assert parts.expressions == ("neutral", "Happy", "Narrow", "Gape")
    assert [(each.group, each.index, each.name, each.duration_ms) for each in parts.motions] == [
        ("Idle", 0, "idle_slow", 4000),
        ("Tap", 0, "wave", 1500),
        ("Tap", 1, "look", 1200),
    ]
    assert len(parts.visemes) == 15, "it lists an opening and a form of the mouth"
    found = live2d.look(model)
    assert found.idle_group == "Idle"
    assert found.hit_areas == (live2d.HitArea("HitAreaHead", "Head"),)


def test_a_mouth_that_only_opens_has_no_shapes(model: Path) -> None:
    (model / "mimi.cdi3.json").write_text('{"Parameters": [{"Id": "ParamMouthOpenY"}]}', "utf-8")
    assert live2d.read(model).visemes == ()
    (model / "mimi.cdi3.json").unlink()
    assert live2d.read(model).visemes == ()


def test_a_mouth_with_a_shape_for_each_vowel_has_all(model: Path) -> None:
    listed = [{"Id": name} for name in sorted(live2d.VOWELS)]
    (model / "mimi.cdi3.json").write_text(json.dumps({"Parameters": listed}), "utf-8")
    assert live2d.read(model).visemes == live2d.VISEMES


def test_a_mouth_of_an_older_model_has_its_shapes_too(model: Path) -> None:
    listed = [{"Id": "PARAM_MOUTH_OPEN_Y"}, {"Id": "PARAM_MOUTH_FORM"}]
    (model / "mimi.cdi3.json").write_text(json.dumps({"Parameters": listed}), "utf-8")
    assert live2d.read(model).visemes == live2d.VISEMES


def test_motions_of_one_name_are_told_apart(model: Path) -> None:
    same = {"File": "motions/wave.motion3.json"}
    rewritten(
        model,
        lambda told: told["FileReferences"].update(
            Motions={"": [same, same], "Tap": [same], "tap": [same]}
        ),
    )
    names = [each.name for each in live2d.read(model).motions]
    assert names == ["wave", "wave 2", "tap wave", "wave 3"]


def test_what_is_missing_beside_the_shapes_is_left_out(model: Path) -> None:
    (model / "expressions" / "Narrow.exp3.json").unlink()
    (model / "motions" / "wave.motion3.json").unlink()
    (model / "motions" / "look.motion3.json").write_bytes(b"\xff\xfe")
    parts = live2d.read(model)
    assert parts.expressions == ("neutral", "Happy", "Gape")
    # The place in its group is the model's own, so a missing one leaves a gap.
    assert [(each.name, each.index, each.duration_ms) for each in parts.motions] == [
        ("idle_slow", 0, 4000),
        ("look", 1, 0),
    ]


def test_a_length_that_is_no_time_is_not_known(model: Path) -> None:
    for length in ("-3", '"4"', "true", "null"):
        (model / "motions" / "wave.motion3.json").write_text(
            f'{{"Meta": {{"Duration": {length}}}}}', "utf-8"
        )
        assert live2d.read(model).motions[1].duration_ms == 0
    (model / "motions" / "wave.motion3.json").write_text('{"Meta": {"Duration": 1e30}}', "utf-8")
    assert live2d.read(model).motions[1].duration_ms == live2d.LONGEST_MOTION_S * 1000


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda told: told.pop("FileReferences"), "names no files"),
        (lambda told: told["FileReferences"].pop("Moc"), "the shapes"),
        (lambda told: told["FileReferences"].update(Moc="../../other/x.moc3"), "the shapes"),
        (lambda told: told["FileReferences"].update(Moc="/etc/passwd"), "the shapes"),
        (lambda told: told["FileReferences"].update(Moc="mimi.cdi3.json"), "MOC3"),
        (lambda told: told["FileReferences"].update(Textures=[]), "0 textures"),
        (lambda told: told["FileReferences"].update(Textures=["a.png"] * 65), "65 textures"),
        (
            lambda told: told["FileReferences"].update(Textures=["..\\secret.png"]),
            r"secret\.png",
        ),
    ],
)
def test_what_cannot_be_shown_says_why(
    model: Path, change: Callable[[dict[str, Any]], object], words: str
) -> None:
    rewritten(model, change)
    with pytest.raises(InvalidInputError, match=words):
        live2d.read(model)


@pytest.mark.parametrize(
    ("content", "words"),
    [(b"", "broken"), (b"[]", "no object"), (b"{" * 5000, "broken"), (b"\xff\xff", "broken")],
)
def test_a_description_that_is_broken_is_refused(model: Path, content: bytes, words: str) -> None:
    (model / "mimi.model3.json").write_bytes(content)
    with pytest.raises(InvalidInputError, match=words):
        live2d.read(model)


def test_a_description_with_a_byte_order_mark_is_read(model: Path) -> None:
    file = model / "mimi.model3.json"
    file.write_bytes(b"\xef\xbb\xbf" + file.read_bytes())
    assert live2d.read(model).title == "mimi"


def test_a_description_without_end_is_not_read(model: Path) -> None:
    with (model / "mimi.model3.json").open("r+b") as file:
        file.truncate(live2d.MODEL_BYTES + 1)
    with pytest.raises(InvalidInputError, match="at most 4 MiB"):
        live2d.read(model)


def test_a_folder_with_two_models_wants_one_named(model: Path) -> None:
    (model / "other.model3.json").write_bytes((model / "mimi.model3.json").read_bytes())
    with pytest.raises(InvalidInputError, match="2 files"):
        live2d.read(model)
    assert live2d.read(model / "other.model3.json").title == "other"


def test_links_that_lead_outside_are_not_followed(model: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside.moc3"
    outside.write_bytes(b"MOC3")
    (model / "mimi.moc3").unlink()
    (model / "mimi.moc3").symlink_to(outside)
    with pytest.raises(InvalidInputError, match="the shapes"):
        live2d.read(model)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=80) | st.floats(allow_nan=False),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
    max_leaves=12,
)  # fmt: skip
PLACES = st.sampled_from(
    [
        ("FileReferences",), ("FileReferences", "Moc"), ("FileReferences", "Textures"),
        ("FileReferences", "Expressions"), ("FileReferences", "Motions"), ("FileReferences", "Motions", "Tap"),
        ("FileReferences", "DisplayInfo"), ("Groups",), ("HitAreas",),
    ]
)  # fmt: skip


@settings(
    max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(place=PLACES, value=JSON)
def test_whatever_stands_in_a_description_it_is_read_or_refused(
    model: Path, place: tuple[str, ...], value: Any
) -> None:
    def change(into: dict[str, Any]) -> None:
        for key in place[:-1]:
            into = into[key]
        into[place[-1]] = value

    rewritten(model, change)
    try:
        parts = live2d.read(model)
    except InvalidInputError:
        return
    assert parts.expressions[0] == "neutral"
    names = [each.name for each in parts.motions]
    assert len(set(names)) == len(names)


# --- the core ---


async def test_without_the_core_a_model_says_what_to_do_and_pictures_are_shown(model: Path) -> None:
    rigs = Rigs(model.parent, model.parent / "none")
    await rigs.refresh(now=True)
    mimi = Character(id="mimi", name="Mimi")
    rig = rigs.get("mimi", [])
    assert "live2dcubismcore.min.js" in rig.problem
    assert str(model.parent) in rig.problem
    assert rig.expressions, "what it could show is known all the same"
    assert rigs.of(mimi).rig.kind == "picture"
    with pytest.raises(NotFoundError, match="Cubism SDK"):
        await rigs.core()

    live2d_model.put_core(model.parent)
    await rigs.refresh(now=True)
    assert rigs.get("mimi", []).problem == ""
    assert rigs.of(mimi).rig.kind == "live2d"
    assert await rigs.core() == model.parent / live2d.CORE


@pytest.mark.parametrize("content", [b"", b"alert(1);" * 500, b"Live2DCubismCore"])
def test_another_file_is_not_taken_for_the_core(tmp_path: Path, content: bytes) -> None:
    (tmp_path / live2d.CORE).write_bytes(content)
    assert live2d.core_in(tmp_path) is None


def test_a_broken_model_says_what_is_wrong_with_itself_first(model: Path) -> None:
    (model / "mimi.moc3").unlink()
    with pytest.raises(InvalidInputError) as caught:
        live2d.read(model)
    assert "mimi.moc3" in caught.value.message
