"""What a Live2D model says that it can show, read from the text files around it; and whether it can be shown at all.

A model is a folder with a *.model3.json that names everything else: the .moc3 (its shapes), textures, expressions, motions.
To draw it the page needs the Cubism core, a program of Live2D Inc. that may not ship with Luma; the user puts it beside the
rigs. Folders come from strangers: nothing outside of them is read, and no file without a limit.

Source: Live2D Cubism file formats model3.json, exp3.json, motion3.json and cdi3.json, version 3.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from backend.avatar import bounded_json
from backend.avatar.naming import distinct, usable
from backend.avatar.rig_file import MOST_EXPRESSIONS, MOST_MOTIONS, NEUTRAL, RigMotion, RigParts
from backend.contracts.avatar import Viseme
from backend.contracts.errors import InvalidInputError

logger = logging.getLogger(__name__)

ENDING = ".model3.json"
CORE = "live2dcubismcore.min.js"
CORE_MARK = b"Live2DCubismCore"
CORE_BYTES = (1 << 10, 16 << 20)

MODEL_BYTES = 4 << 20
TEXT_BYTES = 8 << 20
ALL_TEXT_BYTES = 128 << 20
"""Of all motions and expressions together; those beyond are listed without their length."""

MOST_TEXTURES = 64
LONGEST_NAME = 200
LONGEST_MOTION_S = 3600.0

VISEMES: tuple[Viseme, ...] = (
    "sil", "PP", "FF", "TH", "DD", "kk", "CH", "SS", "nn", "RR", "aa", "E", "ih", "oh", "ou",
)  # fmt: skip
VOWELS = frozenset({"ParamA", "ParamI", "ParamU", "ParamE", "ParamO"})
OPEN_AND_FORM = frozenset({"ParamMouthOpenY", "ParamMouthForm"})
OLDER = {"PARAM_MOUTH_OPEN_Y": "ParamMouthOpenY", "PARAM_MOUTH_FORM": "ParamMouthForm"}
"""How models from before Cubism 3 spell them."""


@dataclass(frozen=True, slots=True)
class HitArea:
    """A part of the picture that can be tapped."""

    id: str
    name: str


@dataclass(frozen=True, slots=True)
class Model:
    """A model as its files describe it.

    Attributes:
        file: The model3.json, its name in the folder.
        expressions: Names as written, in the model's order; number n of a client is the nth.
        idle_group: Group of the motions to play when nothing else does; empty = there is none.
    """

    file: str
    expressions: tuple[str, ...]
    motions: tuple[RigMotion, ...]
    visemes: tuple[Viseme, ...]
    idle_group: str
    hit_areas: tuple[HitArea, ...]


def read(path: Path) -> RigParts:
    """What a model can show.

    Args:
        path: Its model3.json, or the folder that holds one.

    Raises:
        InvalidInputError: It is none, broken, or wants what is not in its folder.
    """
    model = look(path)
    return RigParts(
        file=model.file,
        title=model.file.removesuffix(ENDING)[:100],
        expressions=tuple(distinct([NEUTRAL, *model.expressions])[:MOST_EXPRESSIONS]),
        motions=model.motions,
        visemes=model.visemes,
    )


def look(path: Path) -> Model:
    """A model as its files describe it; raises as `read`."""
    file = model_file(path) if path.is_dir() else path
    folder = file.parent
    described = _parsed(file, MODEL_BYTES)
    references = _mapping(described.get("FileReferences"))
    if not references:
        raise InvalidInputError(f"{file.name} names no files; it is no Live2D model of version 3.")
    _check_moc(folder, references.get("Moc"), file.name)
    textures = _list(references.get("Textures"))
    if not textures or len(textures) > MOST_TEXTURES:
        raise InvalidInputError(
            f"{file.name} names {len(textures)} textures; there have to be 1 to {MOST_TEXTURES}."
        )
    for each in textures:
        if inside(folder, each) is None:
            raise InvalidInputError(
                f"{file.name} wants the texture {_words(each)[:100]!r}, which is not in its folder."
            )
    allowance = _Allowance(ALL_TEXT_BYTES)
    groups = _mapping(references.get("Motions"))
    return Model(
        file=file.name,
        expressions=tuple(_expressions(folder, references)),
        motions=tuple(_motions(folder, groups, allowance)),
        visemes=_visemes(folder, references, described),
        idle_group=next((_words(name) for name in groups if name.casefold() == "idle"), ""),
        hit_areas=tuple(_hit_areas(described)),
    )


def model_file(folder: Path) -> Path:
    """The folder's model3.json.

    Raises:
        InvalidInputError: There is none, or there are several.
    """
    found = sorted(each for each in folder.iterdir() if each.name.lower().endswith(ENDING))
    if len(found) != 1:
        raise InvalidInputError(
            f"There are {len(found)} files *{ENDING} in {folder}; there has to be exactly one."
        )
    return found[0]


def core_in(folder: Path) -> Path | None:
    """The Cubism core that the user has put into a folder, None when it is not there or something else."""
    path = folder / CORE
    try:
        if not path.is_file() or not CORE_BYTES[0] <= path.stat().st_size <= CORE_BYTES[1]:
            return None
        is_core = CORE_MARK in path.read_bytes()
    except OSError:
        return None
    if not is_core:
        logger.warning("%s is not the Cubism core: it never says Live2DCubismCore", path)
    return path if is_core else None


def without_core(folder: Path) -> str:
    """What to do where there is no core, in words."""
    return (
        f"Live2D avatars need the Cubism core, a program of Live2D Inc. that may not ship with Luma. Download the Cubism SDK"
        f" for Web from live2d.com, and put {CORE} from its folder Core into {folder}."
    )


def inside(folder: Path, name: object) -> Path | None:
    """A file that a model names; None when it is not there, or not below the model's folder."""
    if not isinstance(name, str) or not name or len(name) > 1000 or "\\" in name or "\0" in name:
        return None
    if any(part in ("", "..") or part[0] == "." for part in name.split("/")):
        return None
    try:
        root = folder.resolve(strict=True)
        found = (root / name).resolve(strict=True)
        return found if found.is_relative_to(root) and found.is_file() else None
    except (OSError, RuntimeError, ValueError):  # not there, a loop of links, a name too long
        return None


@dataclass(slots=True)
class _Allowance:
    """How much more is read."""

    left: int


def _check_moc(folder: Path, name: object, model: str) -> None:
    moc = inside(folder, name)
    if moc is None:
        raise InvalidInputError(
            f"{model} wants the shapes {_words(name)[:100]!r}, which are not in its folder. Copy the whole folder of the model."
        )
    try:
        with moc.open("rb") as file:
            start = file.read(4)
    except OSError as error:
        raise InvalidInputError(f"{moc.name} cannot be read: {error.strerror}.") from error
    if start != b"MOC3":
        raise InvalidInputError(
            f"{moc.name} is no file of Live2D shapes: it does not begin with MOC3."
        )


def _expressions(folder: Path, references: Mapping[str, object]) -> Iterator[str]:
    for each in _list(references.get("Expressions"))[:MOST_EXPRESSIONS]:
        entry = _mapping(each)
        name = _words(entry.get("Name"))
        if not usable(name):
            continue
        if inside(folder, entry.get("File")) is None:
            logger.warning("live2d %s: the expression %s has no file", folder.name, name)
            continue
        yield name


def _motions(
    folder: Path, groups: Mapping[str, object], allowance: _Allowance
) -> Iterator[RigMotion]:
    taken: set[str] = set()
    count = 0
    for group, entries in groups.items():
        if len(group) > 64 or not group.isprintable() or any(char in '<>"' for char in group):
            logger.warning("live2d %s: the motion group %r is left out", folder.name, group[:80])
            continue
        for index, each in enumerate(_list(entries)):
            file = inside(folder, _mapping(each).get("File"))
            if file is None or count >= MOST_MOTIONS:
                continue
            stem = usable(file.name.split(".")[0]).lower() or f"motion {count + 1}"
            count += 1
            yield RigMotion(
                group=group,
                index=index,
                name=_free(stem, usable(group).lower(), taken),
                duration_ms=_duration_s(file, allowance) * 1000,
            )


def _free(stem: str, group: str, taken: set[str]) -> str:
    """A name that no other motion has."""
    tries = [stem, f"{group} {stem}"[:64].strip()] if group else [stem]
    name = next((each for each in tries if each not in taken), "")
    number = 2
    while not name:
        wanted = f"{stem[:56]} {number}"
        name, number = ("" if wanted in taken else wanted), number + 1
    taken.add(name)
    return name


def _duration_s(file: Path, allowance: _Allowance) -> float:
    """Length of a motion; 0 when it does not say."""
    try:
        size = file.stat().st_size
        if size > min(TEXT_BYTES, allowance.left):
            return 0.0
        allowance.left -= size
        length = _mapping(_parsed(file, TEXT_BYTES).get("Meta")).get("Duration")
    except (InvalidInputError, OSError) as error:
        logger.warning("live2d: %s", error)
        return 0.0
    if isinstance(length, bool) or not isinstance(length, int | float) or not math.isfinite(length):
        return 0.0
    return min(max(0.0, float(length)), LONGEST_MOTION_S)


def _visemes(
    folder: Path, references: Mapping[str, object], described: Mapping[str, object]
) -> tuple[Viseme, ...]:
    """All shapes for a mouth that changes its form, none for one that only opens."""
    known = set()
    info = inside(folder, references.get("DisplayInfo"))
    if info is not None:
        try:
            listed = _list(_parsed(info, TEXT_BYTES).get("Parameters"))
            known = {_words(_mapping(each).get("Id")) for each in listed}
        except InvalidInputError as error:
            logger.warning("live2d: %s", error)
    for each in _list(described.get("Groups")):
        if _mapping(each).get("Name") == "LipSync":
            known |= {_words(name) for name in _list(_mapping(each).get("Ids"))}
    known = {OLDER.get(name, name) for name in known}
    return VISEMES if known >= VOWELS or known >= OPEN_AND_FORM else ()


def _hit_areas(described: Mapping[str, object]) -> Iterator[HitArea]:
    for each in _list(described.get("HitAreas"))[:32]:
        entry = _mapping(each)
        if name := _words(entry.get("Id")):
            yield HitArea(name, _words(entry.get("Name")))


def _parsed(file: Path, most: int) -> Mapping[str, object]:
    """A JSON file that holds an object."""
    try:
        size = file.stat().st_size
        if size > most:
            raise InvalidInputError(
                f"{file.name} has {size >> 20:,} MiB; at most {most >> 20} MiB are read."
            )
        # Some editors begin their files with a byte order mark.
        data = file.read_bytes().removeprefix(b"\xef\xbb\xbf")
    except OSError as error:
        raise InvalidInputError(f"{file.name} cannot be read: {error.strerror}.") from error
    found = bounded_json.loads(data, file.name)
    if not isinstance(found, dict):
        raise InvalidInputError(f"{file.name} is broken: it holds no object.")
    return found


def _mapping(value: object) -> Mapping[str, object]:
    return value if isinstance(value, dict) else {}


def _list(value: object) -> list[object]:
    return value if isinstance(value, list) else []


def _words(value: object) -> str:
    """Text as a person may read it; empty for everything else."""
    return " ".join(value[:LONGEST_NAME].split()) if isinstance(value, str) else ""
