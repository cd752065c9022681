"""The rigs there are: those that ship with Luma, the user's folders, and a character's expression pictures.

A folder is read again when something in it changed; what is broken stays in the list and says why. Files of rigs are
strangers' work: only kinds of files that a page draws or plays are handed out, and nothing from outside the folder.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any
from urllib.parse import quote

from pydantic import ValidationError

from backend.avatar import bounded_json, live2d
from backend.avatar.rig_file import NEUTRAL, RIG_FILE, RigFile, RigParts
from backend.contracts.avatar import Motion, Rig, RigKind
from backend.contracts.entities import Character
from backend.contracts.errors import AppError, InvalidInputError, NotFoundError
from backend.core.clock import monotonic_s
from backend.core.workers import run_in_thread

logger = logging.getLogger(__name__)

BUILTIN = Path(__file__).parent / "builtin"
ID = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
MOST_RIGS = 64
"""Folders of the user's that are read."""

MOST_ENTRIES = 512
"""Entries of a folder that are looked at."""

LONGEST_RIG_FILE = 1 << 20
LARGEST_MODEL = 256 << 20
LARGEST_FILE = 32 << 20
LOOK_AGAIN_S = 1.0

TYPES = {
    ".json": "application/json",
    ".png": "image/png",
    ".webp": "image/webp",
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".svg": "image/svg+xml",
    ".vrm": "model/gltf-binary",
    ".moc3": "application/octet-stream",
    ".wav": "audio/wav",
    ".mp3": "audio/mpeg",
    ".ogg": "audio/ogg",
}
"""What is handed out, by ending."""

MODELS = frozenset({".vrm", ".moc3"})


@dataclass(frozen=True, slots=True)
class Known:
    """A rig, and what only the backend needs of it.

    Attributes:
        folder: Where its files lie; None for a character's pictures.
        aliases: Other words for its expressions and motions.
        faces: Its expressions in the order of their numbers, by small name; the neutral one is last when it lists none.
        moves: Its motions, by small name.
    """

    rig: Rig
    folder: Path | None = None
    aliases: Mapping[str, str] = field(default_factory=dict)
    faces: Mapping[str, str] = field(init=False)
    moves: Mapping[str, Motion] = field(init=False)
    stems: dict[str, Any] = field(default_factory=dict, init=False, repr=False, compare=False)
    """What `cues` has made of the names, to find them in other forms; made when it is first looked for."""

    def __post_init__(self) -> None:
        faces = {face.casefold(): face for face in self.rig.expressions}
        faces.setdefault(NEUTRAL, NEUTRAL)
        object.__setattr__(self, "faces", faces)
        moves = {motion.name.casefold(): motion for motion in self.rig.motions}
        object.__setattr__(self, "moves", moves)


@dataclass(frozen=True, slots=True)
class _Read:
    stamp: tuple[object, ...]
    known: Known


class Rigs:
    """All rigs. For the backend's loop; folders are read in a thread.

    Args:
        own: Folder of the user's rigs; need not exist.
        builtin: Folder of those that ship.
    """

    def __init__(self, own: Path, builtin: Path = BUILTIN) -> None:
        self._own = own
        self._builtin = builtin
        self._read: dict[Path, _Read] = {}
        self._known: dict[str, Known] = {}
        self._looked_s: float | None = None

    async def refresh(self, *, now: bool = False) -> None:
        """Look again at the folders, unless that was done within the last second."""
        looked_s = monotonic_s()
        if not now and self._looked_s is not None and looked_s - self._looked_s < LOOK_AGAIN_S:
            return
        self._looked_s = looked_s
        self._read = await run_in_thread(_read_all, self._own, self._builtin, dict(self._read))
        # The user's come last and so before the shipped ones.
        known = {each.known.rig.id: each.known for each in self._read.values()}
        models = [each for each in known.values() if each.rig.kind == "live2d"]
        if models and await run_in_thread(live2d.core_in, self._own) is None:
            known |= {each.rig.id: _without_core(each, self._own) for each in models}
        self._known = known

    def of(self, character: Character) -> Known:
        """What shows a character: the rig it names, else the one of its own id, else its pictures."""
        wanted = character.rig or character.id
        found = self._known.get(wanted)
        if found is not None and (character.rig or not found.rig.problem):
            return found
        pictures = pictures_of(character)
        if not character.rig or character.rig == character.id:
            return Known(pictures)
        problem = f"There is no rig {character.rig!r}: put its folder into {self._own}, or choose another one."
        return Known(pictures.model_copy(update={"problem": problem}))

    def list(self, characters: Iterable[Character]) -> Sequence[Rig]:
        """Every rig, the shipped ones first; characters without one with their pictures."""
        found = [known.rig for known in self._known.values()]
        found.sort(key=lambda rig: (not rig.builtin, rig.title.casefold(), rig.id))
        rest = [self.of(each).rig for each in characters if each.id not in self._known]
        return [*found, *(rig for rig in rest if rig.id not in self._known)]

    def get(self, rig_id: str, characters: Iterable[Character]) -> Rig:
        """One rig by its id.

        Raises:
            NotFoundError: There is none; lists those there are.
        """
        rigs = self.list(characters)
        for rig in rigs:
            if rig.id == rig_id:
                return rig
        known = ", ".join([rig.id for rig in rigs][:20]) or "none"
        raise NotFoundError(f"There is no rig {rig_id[:64]!r}. Known: {known}.")

    def check(self, rig_id: str) -> None:
        """Whether a character may name it.

        Raises:
            InvalidInputError: There is no such folder; lists those there are.
        """
        if rig_id and rig_id not in self._known:
            known = ", ".join(sorted(self._known)) or "none"
            raise InvalidInputError(
                f"rig: there is no rig {rig_id[:64]!r}; there are {known}. Leave it empty for the character's own."
            )

    def all(self) -> Sequence[Known]:
        """Every rig that has a folder."""
        return list(self._known.values())

    def live2d(self, rig_id: str) -> Known:
        """A rig that is a Live2D model.

        Raises:
            NotFoundError: There is none of that id.
        """
        known = self._known.get(rig_id)
        if known is None or known.rig.kind != "live2d":
            raise NotFoundError(f"There is no Live2D model {rig_id[:64]!r}.")
        return known

    async def core(self) -> Path:
        """The user's copy of the Cubism core, which draws Live2D models.

        Raises:
            NotFoundError: It is not there; says where it belongs.
        """
        found = await run_in_thread(live2d.core_in, self._own)
        if found is None:
            raise NotFoundError(live2d.without_core(self._own))
        return found

    def folder(self, rig_id: str) -> Path:
        """Where the files of a rig lie.

        Raises:
            NotFoundError: There is none, or it consists of a character's pictures.
        """
        known = self._known.get(rig_id)
        if known is None or known.folder is None:
            raise NotFoundError(f"There is no rig {rig_id[:64]!r} with files of its own.")
        return known.folder

    async def file(self, rig_id: str, path: str) -> tuple[Path, str]:
        """A file of a rig, and its media type.

        Raises:
            NotFoundError: There is no such file, or none of a kind that is handed out.
        """
        return await run_in_thread(file_in, self.folder(rig_id), path)


def _without_core(known: Known, own: Path) -> Known:
    """A Live2D model that a page cannot draw; what is wrong with the model itself comes first."""
    problem = known.rig.problem or live2d.without_core(own)
    return replace(known, rig=known.rig.model_copy(update={"problem": problem}))


def pictures_of(character: Character) -> Rig:
    """The rig that a character's expression pictures are."""
    return Rig(
        id=character.id,
        kind="picture",
        title=character.name,
        url=f"/api/avatars/{quote(character.id, safe='')}/",
        expressions=character.expressions,
        builtin=character.builtin,
    )


def file_in(folder: Path, path: str) -> tuple[Path, str]:
    """A file below a folder of strangers, and its media type.

    Raises:
        NotFoundError: It is not there, hidden, of no kind that is handed out, too large, or outside.
    """
    missing = NotFoundError(f"The rig has no file {path[:100]!r}.")
    parts = path.split("/")
    if "\0" in path or "\\" in path or any(part in ("", "..") or part[0] == "." for part in parts):
        raise missing
    media_type = TYPES.get(Path(path).suffix.lower())
    if media_type is None:
        raise missing
    try:
        root = folder.resolve(strict=True)
        found = root.joinpath(*parts).resolve(strict=True)
        if not found.is_relative_to(root) or not found.is_file():
            raise missing
        size = found.stat().st_size
    except (OSError, RuntimeError, ValueError):  # not there, a loop of links, a name too long
        raise missing from None
    most = LARGEST_MODEL if found.suffix.lower() in MODELS else LARGEST_FILE
    if size > most:
        raise NotFoundError(
            f"The rig's file {path[:100]!r} has {size >> 20} MiB; at most {most >> 20} MiB are shown."
        )
    return found, media_type


# --- reading folders; in a thread ---


def _read_all(own: Path, builtin: Path, before: Mapping[Path, _Read]) -> dict[Path, _Read]:
    found: dict[Path, _Read] = {}
    for parent, is_builtin in ((builtin, True), (own, False)):
        try:
            folders = sorted(each for each in parent.iterdir() if ID.fullmatch(each.name))
        except OSError:
            continue  # nobody has made one
        for folder in folders[: None if is_builtin else MOST_RIGS]:
            try:
                if folder.is_dir():
                    found[folder] = _read_again(folder, is_builtin, before.get(folder))
            except OSError as error:
                logger.warning("rig %s cannot be looked at: %s", folder.name, error)
    return found


def _read_again(folder: Path, is_builtin: bool, before: _Read | None) -> _Read:
    names = sorted(each.name for each in folder.iterdir() if each.name[0] != ".")[:MOST_ENTRIES]
    stamp = tuple(_stamp(folder / name) for name in names)
    if before is not None and before.stamp == stamp:
        return before
    return _Read(stamp, read_folder(folder, names, is_builtin=is_builtin))


def _stamp(path: Path) -> tuple[object, ...]:
    try:
        state = path.stat()
    except OSError:  # a link to nowhere
        return (path.name,)
    return (path.name, state.st_mtime_ns, state.st_size)


def read_folder(folder: Path, names: Sequence[str], *, is_builtin: bool = False) -> Known:
    """What a folder shows; one that cannot be shown says why in its rig's ``problem``."""
    rig_id = folder.name
    file: RigFile | None = None
    kind: RigKind = "picture"
    try:
        if RIG_FILE in names:
            file = read_rig_file(folder)
            kind = file.kind
        elif any(name.lower().endswith(".vrm") for name in names):
            kind = "vrm"
        elif any(name.lower().endswith(".model3.json") for name in names):
            kind = "live2d"
        rig = _READERS[kind](folder, names, file)
        problem = ""
    except (AppError, ValueError, OSError) as error:
        problem = _in_words(error)
        rig = Rig(id=rig_id, kind=kind, title=file.title if file is not None else rig_id)
        logger.warning("rig %s: %s", rig_id, problem)
    settings_url = f"/api/rigs/{rig_id}/files/{RIG_FILE}" if file is not None else ""
    told = rig.model_copy(
        update={"builtin": is_builtin, "problem": problem, "settings_url": settings_url}
    )
    return Known(told, folder, dict(file.aliases) if file is not None else {})


def read_rig_file(folder: Path) -> RigFile:
    """The folder's rig.json.

    Raises:
        InvalidInputError: What is wrong with it.
    """
    path, _ = file_in(folder, RIG_FILE)
    size = path.stat().st_size
    if size > LONGEST_RIG_FILE:
        raise InvalidInputError(
            f"{RIG_FILE} has {size >> 10:,} KiB; at most {LONGEST_RIG_FILE >> 10:,} KiB are read."
        )
    try:
        return RigFile.model_validate(bounded_json.loads(path.read_bytes(), RIG_FILE))
    except ValidationError as error:
        raise InvalidInputError(f"{RIG_FILE}: {_first(error)}") from error


def _puppet(folder: Path, names: Sequence[str], file: RigFile | None) -> Rig:
    assert file is not None  # only a rig.json makes a folder a puppet
    if not file.puppet:
        raise InvalidInputError(f'{RIG_FILE} has no part "puppet", which says what is drawn.')
    return _rig(folder, file, url=_url(folder, RIG_FILE), expressions=file.expressions)


def _pictures(folder: Path, names: Sequence[str], file: RigFile | None) -> Rig:
    stems = [name.removesuffix(".png") for name in names if name.endswith(".png")]
    if NEUTRAL not in stems:
        raise InvalidInputError(
            f"There is nothing to show: put {NEUTRAL}.png and one PNG per expression, a .vrm, a .model3.json with its"
            f" files, or a {RIG_FILE} into {folder}."
        )
    listed = file.expressions if file is not None and file.expressions else ()
    lacking = [name for name in listed if name not in stems]
    if lacking:
        raise InvalidInputError(
            f"{RIG_FILE} lists {lacking[0]!r}, and there is no {lacking[0]}.png."
        )
    expressions = listed or (NEUTRAL, *(stem for stem in stems if stem != NEUTRAL))
    rig = RigParts(file=f"{NEUTRAL}.png", expressions=expressions)
    return _rig(folder, file, url=_url(folder, ""), expressions=rig.expressions)


def _model(
    kind: RigKind,
    ending: str,
    folder: Path,
    names: Sequence[str],
    file: RigFile | None,
) -> Rig:
    if file is not None and file.file:
        name = file.file
    else:
        found = [name for name in names if name.lower().endswith(ending)]
        if len(found) != 1:
            raise InvalidInputError(
                f"There are {len(found)} files *{ending} in {folder}; there has to be one, or a {RIG_FILE} that names"
                ' one in "file".'
            )
        name = found[0]
    path, _ = file_in(folder, name)
    parts = _reader(kind)(path)
    motions = tuple(each.motion() for each in parts.motions)
    if file is not None and file.motions:
        motions = tuple(each.motion() for each in file.motions)
    return Rig(
        id=folder.name,
        kind=kind,
        title=(file.title if file is not None else parts.title) or folder.name,
        url=_url(folder, name),
        expressions=(file.expressions if file is not None else ()) or parts.expressions,
        motions=motions,
        visemes=(file.visemes if file is not None else ()) or parts.visemes,
    )


_READERS: Mapping[RigKind, Callable[[Path, Sequence[str], RigFile | None], Rig]] = {
    "puppet": _puppet,
    "picture": _pictures,
    "vrm": partial(_model, "vrm", ".vrm"),
    "live2d": partial(_model, "live2d", ".model3.json"),
}


def _reader(kind: RigKind) -> Callable[[Path], RigParts]:
    """Who reads models of a kind; most people have none, so it is imported when there is one."""
    read: Callable[[Path], RigParts] = import_module(f"backend.avatar.{kind}").read
    return read


def _rig(folder: Path, file: RigFile | None, *, url: str, expressions: tuple[str, ...]) -> Rig:
    motions: tuple[Motion, ...] = ()
    if file is not None:
        motions = tuple(each.motion() for each in file.motions)
    return Rig(
        id=folder.name,
        kind=file.kind if file is not None else "picture",
        title=file.title if file is not None else folder.name,
        url=url,
        expressions=expressions,
        motions=motions,
        visemes=file.visemes if file is not None else (),
    )


def _url(folder: Path, name: str) -> str:
    return f"/api/rigs/{folder.name}/files/{quote(name)}"


def _in_words(error: Exception) -> str:
    if isinstance(error, AppError):
        return error.message
    if isinstance(error, ValidationError):
        return _first(error)
    return f"It cannot be read: {error}"[:500]


def _first(error: ValidationError) -> str:
    """The first thing that is wrong, in words."""
    found = error.errors(include_url=False)[0]
    where = ".".join(str(part) for part in found["loc"])
    return f"{where}: {found['msg']}"[:500] if where else str(found["msg"])[:500]
