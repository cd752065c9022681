"""What a VRM file says that it can show: faces, mouth shapes, who made it. Only its head is read, never the meshes.

A VRM is a binary glTF file: twelve bytes, then a chunk of JSON, then the data. Versions 0.x and 1.0 differ in where things
stand. Files come from strangers: every value is checked before it is used, and what cannot be shown says why.

Source: glTF 2.0 "GLB file format"; VRMC_vrm 1.0; VRM 0.x schema.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from backend.avatar import bounded_json
from backend.avatar.naming import distinct
from backend.avatar.rig_file import MOST_EXPRESSIONS, NEUTRAL, RigMotion, RigParts
from backend.contracts.avatar import Viseme
from backend.contracts.errors import InvalidInputError

LONGEST_HEAD = 32 << 20
"""Bytes of the JSON chunk; models with many meshes have about 1 MiB."""

LONGEST_WORDS = 200

MOTIONS = tuple(
    RigMotion(group="motion", index=index, name=name, duration_ms=duration_ms)
    for index, (name, duration_ms) in enumerate(
        (
            ("wave", 2400),
            ("nod", 1100),
            ("shake", 1300),
            ("jump", 1100),
            ("bow", 2200),
            ("cheer", 2000),
            ("dance", 4000),
            ("think", 3000),
        )
    )
)
"""What every VRM can do: the page moves its humanoid bones (web/avatar/vrm.js has the same list)."""

FACES = {
    "happy": "joy",
    "angry": "angry",
    "sad": "sad",
    "relaxed": "relaxed",
    "surprised": "surprised",
}
"""VRM's names for faces to ours."""

PRESETS_OF_0 = {
    "joy": "happy", "angry": "angry", "sorrow": "sad", "fun": "relaxed", "a": "aa", "i": "ih", "u": "ou", "e": "ee",
    "o": "oh", "blink": "blink", "blink_l": "blinkLeft", "blink_r": "blinkRight", "lookup": "lookUp",
    "lookdown": "lookDown", "lookleft": "lookLeft", "lookright": "lookRight", "neutral": "neutral",
}  # fmt: skip
"""Version 0.x's names for presets to those of 1.0."""

NEEDS: Mapping[Viseme, str] = {
    "aa": "aa", "E": "ee", "ih": "ih", "oh": "oh", "ou": "ou", "FF": "ih", "TH": "ih", "DD": "ih", "kk": "ih",
    "CH": "ou", "SS": "ee", "nn": "ih", "RR": "ou",
}  # fmt: skip
"""Mouth shape to the one of VRM's five that it is made of."""

BONES = frozenset(
    {"hips", "spine", "head"}
    | {
        f"{side}{bone}"
        for side in ("left", "right")
        for bone in ("UpperLeg", "LowerLeg", "Foot", "UpperArm", "LowerArm", "Hand")
    }
)
"""Those without which a figure cannot be moved."""

UNPACKED = frozenset(
    {"KHR_draco_mesh_compression", "EXT_meshopt_compression", "KHR_texture_basisu"}
)
"""Ways of packing that the page has no reader for."""


@dataclass(frozen=True, slots=True)
class Model:
    """What a file says of itself.

    Attributes:
        version: "0" or "1".
        authors: In words; empty when it does not say.
        licence: Name or address.
        presets: Expressions that VRM has a name for, by those of 1.0.
        custom: Names of all others, as written.
    """

    version: str
    title: str
    authors: str
    licence: str
    presets: frozenset[str]
    custom: tuple[str, ...]


def read(path: Path) -> RigParts:
    """What a model can show.

    Raises:
        InvalidInputError: It is no VRM, broken, or made in a way that the page cannot draw.
    """
    model = look(path)
    faces = [ours for preset, ours in FACES.items() if preset in model.presets]
    names = distinct([NEUTRAL, *faces, *model.custom])[:MOST_EXPRESSIONS]
    shapes: list[Viseme] = [viseme for viseme, vowel in NEEDS.items() if vowel in model.presets]
    return RigParts(
        file=path.name,
        title=model.title[:100].strip(),
        expressions=tuple(names),
        motions=MOTIONS,
        visemes=("sil", "PP", *shapes) if shapes else (),
    )


def look(path: Path) -> Model:
    """What a file says of itself; raises as `read`."""
    head = _head(path)
    _check_drawable(head, path.name)
    extensions = _mapping(head.get("extensions"))
    if "VRMC_vrm" in extensions:
        return _version_1(_mapping(extensions["VRMC_vrm"]), path.name)
    if "VRM" in extensions:
        return _version_0(_mapping(extensions["VRM"]), path.name)
    raise InvalidInputError(
        f"{path.name} is a 3D model without an avatar in it: neither VRMC_vrm (1.0) nor VRM (0.x) is there. Export it as VRM."
    )


def _head(path: Path) -> Mapping[str, object]:
    """The JSON of a GLB file."""
    try:
        with path.open("rb") as file:
            start = file.read(20)
            if len(start) < 20 or start[:4] != b"glTF":
                raise InvalidInputError(f"{path.name} is no VRM file: it does not begin like one.")
            version, whole, length, kind = struct.unpack("<III4s", start[4:])
            size = path.stat().st_size
            if version != 2:
                raise InvalidInputError(
                    f"{path.name} is a glTF file of version {version}; a VRM has version 2."
                )
            if whole > size:
                raise InvalidInputError(
                    f"{path.name} is cut off: it has {size:,} bytes and says {whole:,}. Copy it again."
                )
            if kind != b"JSON" or length > size - 20:
                raise InvalidInputError(
                    f"{path.name} is broken: its description is not where it has to be."
                )
            if length > LONGEST_HEAD:
                raise InvalidInputError(
                    f"The description in {path.name} has {length >> 20:,} MiB; at most {LONGEST_HEAD >> 20} MiB are read."
                )
            text = file.read(length)
    except OSError as error:
        raise InvalidInputError(f"{path.name} cannot be read: {error.strerror}.") from error
    found = bounded_json.loads(text, f"The description in {path.name}")
    if not isinstance(found, dict):
        raise InvalidInputError(f"{path.name} is broken: its description is no object.")
    return found


def _check_drawable(head: Mapping[str, object], name: str) -> None:
    packed = UNPACKED.intersection(
        each for each in _list(head.get("extensionsRequired")) if isinstance(each, str)
    )
    if packed:
        raise InvalidInputError(
            f"{name} is packed with {', '.join(sorted(packed))}, which Luma does not unpack. Export it without compression."
        )
    for kind in ("buffers", "images"):
        for each in _list(head.get(kind)):
            uri = _mapping(each).get("uri")
            if uri is not None and not (isinstance(uri, str) and uri.startswith("data:")):
                raise InvalidInputError(
                    f"{name} wants the file {_words(uri)[:80]!r}; a VRM has everything in itself. Export it again."
                )


def _version_1(vrm: Mapping[str, object], name: str) -> Model:
    meta = _mapping(vrm.get("meta"))
    _check_bones(_mapping(_mapping(vrm.get("humanoid")).get("humanBones")), name)
    expressions = _mapping(vrm.get("expressions"))
    authors = [_words(each) for each in _list(meta.get("authors"))[:10]]
    licences = (meta.get("otherLicenseUrl"), meta.get("licenseUrl"))
    return Model(
        version="1",
        title=_words(meta.get("name")),
        authors=", ".join(each for each in authors if each)[:LONGEST_WORDS],
        licence=next((words for each in licences if (words := _words(each))), ""),
        presets=frozenset(_mapping(expressions.get("preset"))),
        custom=tuple(_mapping(expressions.get("custom"))),
    )


def _version_0(vrm: Mapping[str, object], name: str) -> Model:
    meta = _mapping(vrm.get("meta"))
    bones = [_mapping(each) for each in _list(_mapping(vrm.get("humanoid")).get("humanBones"))]
    _check_bones({_words(each.get("bone")): each for each in bones}, name)
    presets, custom = set(), []
    for each in _list(_mapping(vrm.get("blendShapeMaster")).get("blendShapeGroups")):
        group = _mapping(each)
        preset = PRESETS_OF_0.get(_words(group.get("presetName")).lower())
        if preset is not None:
            presets.add(preset)
        else:
            custom.append(_words(group.get("name")))
    licences = (meta.get("otherLicenseUrl"), meta.get("licenseName"))
    return Model(
        version="0",
        title=_words(meta.get("title")),
        authors=_words(meta.get("author")),
        licence=next((words for each in licences if (words := _words(each))), ""),
        presets=frozenset(presets),
        custom=tuple(custom),
    )


def _check_bones(bones: Mapping[str, object], name: str) -> None:
    lacking = sorted(BONES - {bone for bone, each in bones.items() if "node" in _mapping(each)})
    if lacking:
        raise InvalidInputError(
            f"{name} is no whole figure: it has no {', '.join(lacking[:6])}. Give it these bones and export it again."
        )


def _mapping(value: object) -> Mapping[str, object]:
    return value if isinstance(value, dict) else {}


def _list(value: object) -> list[object]:
    return value if isinstance(value, list) else []


def _words(value: object) -> str:
    """Text as a person may read it; empty for everything else."""
    return " ".join(value[:LONGEST_WORDS].split()) if isinstance(value, str) else ""
