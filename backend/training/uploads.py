"""Files as they came: taken in piece by piece, recognised by their content, kept beside what is known of them.

An upload is a folder `uploads/<id>/` with the file and `upload.json`; it is made under another name and gets its own
when both are whole on disk, so that what is there was never cut short. What a file is called decides nothing: neither
where it lies nor what it is.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import hashlib
import logging
import os
import re
import shutil
import unicodedata
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from datetime import datetime
from pathlib import Path
from typing import Any, Literal
from uuid import uuid4

from backend.contracts.errors import InvalidInputError, NotFoundError, StorageFullError
from backend.contracts.training import Upload
from backend.core.clock import now
from backend.storage import training_data
from backend.storage.database import Database
from voice_trainer.protocol import ProtocolError, UploadSpec, read_json, write_json

logger = logging.getLogger(__name__)

Kind = Literal["sound", "transcripts"]

LONGEST_NAME_BYTES = 200
LARGEST_TRANSCRIPTS = 32 << 20
HEAD_BYTES = 8 << 10
"""What is looked at to tell sound from text; five thousand files of a folder may wait together."""
LOOK_EVERY_BYTES = 32 << 20
SPARE_BYTES = 256 << 20
"""Room that stays free on the disk: the database, the log and the clips need it."""

_ID = re.compile(r"[0-9a-f]{16}")
_COMING = ".coming-"
_ABOUT = "upload.json"
_SYSTEM_FILES = re.compile(r"(?i)\._.*|\.ds_store|thumbs\.db|desktop\.ini")


@dataclass(frozen=True, slots=True)
class Stored:
    """An upload as it is kept.

    Attributes:
        file: Name of the file in its folder: "sound.wav", "transcripts.txt".
        filename: What its sender called it, made harmless.
        text: What is said in all of it, when known.
        is_prompt: It was recorded from the prompt ``prompt_id``.
        processed: It has been cut into clips.
        problem: Why the last processing could not use it.
    """

    id: str
    file: str
    filename: str
    speaker: str
    kind: Kind
    size_bytes: int
    sha256: str
    created_at: datetime
    language: str = ""
    emotion: str = ""
    text: str = ""
    is_prompt: bool = False
    prompt_id: str = ""
    processed: bool = False
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Label:
    """What is known of a file before anybody looked into it."""

    speaker: str
    language: str = ""
    emotion: str = ""
    text: str = ""
    prompt_id: str = ""


class Incoming:
    """A file that is being received; for one worker thread at a time.

    Attributes:
        problem: Why it is not taken; what still comes of it is thrown away.
    """

    def __init__(self, folder: Path, filename: str, limit_bytes: int) -> None:
        self.filename = safe_filename(filename)
        self.problem = ""
        self.size_bytes = 0
        self._unlooked_bytes = 0
        self._limit_bytes = limit_bytes
        self.folder = folder
        folder.mkdir(parents=True)
        self.path = folder / "received"
        self._file = self.path.open("wb")
        self._hash = hashlib.sha256()
        self.head = b""

    def write(self, piece: bytes) -> None:
        """Take the next piece.

        Raises:
            StorageFullError: The disk is full.
        """
        self.size_bytes += len(piece)
        if self.problem:
            return
        if self.size_bytes > self._limit_bytes:
            self.problem = (
                f"{self.filename} is larger than {self._limit_bytes >> 20:,} MiB. Cut it into parts, save it as FLAC, or "
                "raise VOICE_UPLOAD_MB."
            )
            self._empty()
            return
        self._unlooked_bytes += len(piece)
        if (
            self._unlooked_bytes >= LOOK_EVERY_BYTES
        ):  # how much comes in all need not have been said
            self._unlooked_bytes = 0
            _check_room(self.folder, 0)
        try:
            self._file.write(piece)
        except OSError as error:
            raise _full(error, self.folder) from error
        self._hash.update(piece)
        if len(self.head) < HEAD_BYTES:
            self.head += piece[: HEAD_BYTES - len(self.head)]

    def close(self) -> None:
        """All of it came.

        Raises:
            StorageFullError: The disk is full.
        """
        try:
            self._file.flush()
            os.fsync(self._file.fileno())
        except OSError as error:
            raise _full(error, self.folder) from error
        finally:
            with contextlib.suppress(OSError):
                self._file.close()

    def discard(self) -> None:
        """Remove what came; safe at any time."""
        with contextlib.suppress(OSError):
            self._file.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def sha256(self) -> str:
        """Of what was written."""
        return self._hash.hexdigest()

    def _empty(self) -> None:
        self._file.truncate(0)


class Uploads:
    """The files that came; all methods are for the backend's loop, except where they say a worker thread.

    Args:
        database: Knows which of them have clips.
        folder: Where they lie.
        limit_bytes: Largest file.
    """

    def __init__(self, database: Database, folder: Path, limit_bytes: int) -> None:
        self._database = database
        self._folder = folder
        self.limit_bytes = limit_bytes
        self._uploads: dict[str, Stored] = {}

    async def open(self) -> list[str]:
        """Read what is there, remove what was cut short; returns notices."""
        self._uploads, notices = await asyncio.to_thread(self._read)
        return notices

    def listed(self, speaker: str = "") -> list[Upload]:
        """The uploads, or those of one speaker, oldest first."""
        found = sorted(self._uploads.values(), key=lambda one: (one.created_at, one.id))
        return [wire(one) for one in found if not speaker or one.speaker == speaker]

    def known(self, upload_id: str) -> Stored:
        """One upload.

        Raises:
            NotFoundError: There is none of that id.
        """
        stored = self._uploads.get(upload_id)
        if stored is None:
            raise NotFoundError(
                f"There is no upload {upload_id[:64]!r}. GET /api/voice/uploads lists them."
            )
        return stored

    def path(self, stored: Stored) -> Path:
        """Where its file lies."""
        return self._folder / stored.id / stored.file

    def spec(self, stored: Stored, label: Label) -> UploadSpec:
        """What the trainer is told of it; an empty value of ``label`` means its own."""
        return UploadSpec(
            id=stored.id,
            path=str(self.path(stored).absolute()),
            filename=stored.filename,
            text=stored.text,
            speaker=label.speaker or stored.speaker,
            emotion=label.emotion or stored.emotion,
            language=label.language or stored.language,
            kind=stored.kind,
            is_prompt=stored.is_prompt,
        )

    def check_room(self, expected_bytes: int) -> None:
        """Refuse what will not fit; on a worker thread.

        Raises:
            StorageFullError: There is too little room.
        """
        self._folder.mkdir(parents=True, exist_ok=True)
        _check_room(self._folder, expected_bytes)

    def receive(self, filename: str) -> Incoming:
        """A place for a file that comes; on a worker thread.

        Raises:
            StorageFullError: There is too little room.
        """
        self.check_room(0)
        return Incoming(self._folder / f"{_COMING}{uuid4().hex}", filename, self.limit_bytes)

    async def take(self, incoming: Incoming, label: Label) -> Upload:
        """Keep a received file, or say why not (`Upload.problem`); the same file again is recognised."""
        try:
            kind, suffix, problem = await asyncio.to_thread(_look, incoming)
            problem = incoming.problem or problem
            if problem:
                return Upload(
                    id=uuid4().hex[:16],
                    filename=incoming.filename,
                    speaker=label.speaker,
                    kind=kind,
                    size_bytes=incoming.size_bytes,
                    problem=problem,
                    created_at=now(),
                )
            if not label.text:
                same = self._same(incoming.sha256, label.speaker)
                if same is not None:
                    return await self._again(same)
            stored = Stored(
                id=uuid4().hex[:16],
                file=f"{kind}{suffix}",
                filename=incoming.filename,
                speaker=label.speaker,
                kind=kind,
                size_bytes=incoming.size_bytes,
                sha256=incoming.sha256,
                created_at=now(),
                language=label.language,
                emotion=label.emotion,
                text=label.text,
                is_prompt=bool(label.text),
                prompt_id=label.prompt_id,
            )
            await asyncio.to_thread(self._settle, incoming, stored)
            self._uploads[stored.id] = stored
            return wire(stored)
        finally:
            await asyncio.to_thread(incoming.discard)

    def find(self, upload_id: str) -> Stored | None:
        """One upload; None when there is none of that id."""
        return self._uploads.get(upload_id)

    async def processed(self, upload_id: str, problem: str = "") -> None:
        """Remember that it has been cut into clips, or why it could not be."""
        stored = self._uploads.get(upload_id)
        if stored is None:
            return
        new = replace(stored, processed=not problem, problem=problem)
        if new != stored:
            self._uploads[upload_id] = new
            await asyncio.to_thread(self._write, self._folder / stored.id, new)

    async def delete(self, upload_id: str) -> None:
        """Remove a file as it came; its clips stay.

        Raises:
            NotFoundError: There is none of that id.
        """
        stored = self.known(upload_id)
        del self._uploads[upload_id]
        await asyncio.to_thread(self._remove, stored.id)

    async def forget_speaker(self, speaker: str) -> None:
        """Remove everything that was recorded of a speaker."""
        for stored in [one for one in self._uploads.values() if one.speaker == speaker]:
            await self.delete(stored.id)

    def _same(self, sha256: str, speaker: str) -> Stored | None:
        for stored in self._uploads.values():
            if stored.sha256 == sha256 and stored.speaker == speaker and not stored.text:
                return stored
        return None

    async def _again(self, stored: Stored) -> Upload:
        """The upload that is there already; to be used again when it failed, or when nothing is left of its clips."""
        clips = await self._database.read(lambda c: training_data.of_uploads(c, [stored.id]))
        if not clips:
            stored = self._uploads[stored.id] = replace(stored, processed=False, problem="")
        return wire(stored).model_copy(update={"is_duplicate": True})

    # --- on a worker thread ---

    def _settle(self, incoming: Incoming, stored: Stored) -> None:
        try:
            incoming.path.rename(incoming.folder / stored.file)
            self._write(incoming.folder, stored)
            incoming.folder.rename(self._folder / stored.id)
        except OSError as error:
            raise _full(error, self._folder) from error

    def _write(self, folder: Path, stored: Stored) -> None:
        values = asdict(stored) | {"created_at": stored.created_at.isoformat()}
        write_json(folder / _ABOUT, values)

    def _remove(self, upload_id: str) -> None:
        # Renamed first: a removal that is cut short must not leave half an upload behind.
        going = self._folder / f"{_COMING}{upload_id}"
        with contextlib.suppress(FileNotFoundError):
            (self._folder / upload_id).rename(going)
        shutil.rmtree(going, ignore_errors=True)

    def _read(self) -> tuple[dict[str, Stored], list[str]]:
        found: dict[str, Stored] = {}
        notices: list[str] = []
        self._folder.mkdir(parents=True, exist_ok=True)
        for path in self._folder.iterdir():
            if path.name.startswith(_COMING):
                shutil.rmtree(path, ignore_errors=True)
            elif _ID.fullmatch(path.name) and path.is_dir():
                try:
                    stored = _stored(path.name, read_json(path / _ABOUT))
                    if not (path / stored.file).is_file():
                        raise ValueError(f"its file {stored.file} is not there")
                    found[path.name] = stored
                except (ProtocolError, ValueError, TypeError, KeyError) as error:
                    notices.append(f"The upload {path} cannot be read and is left out: {error}")
        return found, notices


def wire(stored: Stored) -> Upload:
    """An upload as it travels."""
    return Upload(
        id=stored.id,
        filename=stored.filename,
        speaker=stored.speaker,
        kind=stored.kind,
        size_bytes=stored.size_bytes,
        sha256=stored.sha256,
        problem=stored.problem,
        processed=stored.processed,
        created_at=stored.created_at,
    )


def safe_filename(name: str) -> str:
    """A sender's name of a file without folders, control characters and excess; for showing and for matching."""
    name = name.encode("utf-8", "ignore").decode().replace("\\", "/").rpartition("/")[2]
    name = "".join(c for c in name if not unicodedata.category(c).startswith("C"))
    name = " ".join(name.split()).strip()
    if name.strip(".") == "":
        return "recording"
    if len(name.encode()) <= LONGEST_NAME_BYTES:
        return name
    stem, dot, suffix = name.rpartition(".")
    if not dot or len(suffix) > 8:
        stem, suffix = name, ""
    room = LONGEST_NAME_BYTES - len((dot + suffix).encode()) - len("…".encode())
    return stem.encode()[:room].decode("utf-8", "ignore") + "…" + (dot + suffix if suffix else "")


def recognised(head: bytes) -> tuple[Kind, str] | None:
    """What a file is by its first bytes: kind and suffix; None when it is nothing that is read here."""
    starts: tuple[tuple[bytes, str], ...] = (
        (b"fLaC", ".flac"),
        (b"OggS", ".ogg"),
        (b"ID3", ".mp3"),
        (b"RF64", ".wav"),
        (b"\x1a\x45\xdf\xa3", ".webm"),
        (b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", ".wma"),
    )
    if head[:4] == b"RIFF" and head[8:12] == b"WAVE":
        return "sound", ".wav"
    if head[:4] == b"FORM" and head[8:12] in (b"AIFF", b"AIFC"):
        return "sound", ".aiff"
    if head[4:8] == b"ftyp":
        return "sound", ".m4a"
    for magic, suffix in starts:
        if head.startswith(magic):
            return "sound", suffix
    if len(head) >= 4 and head[0] == 0xFF and head[1] & 0xE0 == 0xE0:
        layer, rate = head[1] >> 1 & 3, head[2] >> 2 & 3
        if head[1] & 0xF6 == 0xF0:
            return "sound", ".aac"
        if layer in (1, 2) and head[1] >> 3 & 3 != 1 and head[2] >> 4 != 15 and rate != 3:
            return "sound", ".mp3"
    return ("transcripts", ".txt") if _is_text(head) else None


NEEDS_FFMPEG = frozenset({".m4a", ".webm", ".wma", ".aac"})
SOUND_NAMES = NEEDS_FFMPEG | {".wav", ".flac", ".ogg", ".opus", ".mp3", ".mp4", ".aiff", ".aif"}
"""Suffixes that promise a sound: text under such a name is no list of transcripts."""


def _is_text(head: bytes) -> bool:
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        encoding = "utf-16"
        head = head[: len(head) // 2 * 2]
    else:
        encoding = "utf-8-sig"
    try:
        text = head.decode(encoding)
    except UnicodeDecodeError as error:
        if error.start < len(head) - 4:  # a character cut off by the end of the probe is fine
            return False
        text = head[: error.start].decode(encoding, "ignore")
    return bool(text.strip()) and not any(
        unicodedata.category(c) == "Cc" and c not in "\t\r\n\f" for c in text
    )


def _look(incoming: Incoming) -> tuple[Kind, str, str]:
    """Kind, suffix, and why it cannot be taken; on a worker thread."""
    name = incoming.filename
    if incoming.problem:
        return "sound", "", ""
    if not incoming.size_bytes:
        return "sound", "", f"{name} is empty."
    found = None if _SYSTEM_FILES.fullmatch(name) else recognised(incoming.head)
    if found is None:
        return (
            "sound",
            "",
            f"{name} is no sound that is read here. Give WAV, FLAC, OGG or MP3 (M4A, MP4 and WEBM with ffmpeg), or "
            "transcripts as CSV, TSV, TXT or SRT.",
        )
    kind, suffix = found
    if kind == "transcripts" and Path(name).suffix.lower() in SOUND_NAMES:
        return (
            "sound",
            "",
            f"{name} has the name of a sound, but there is no sound in it. Export it again from the program that "
            "recorded it.",
        )
    if suffix in NEEDS_FFMPEG and shutil.which("ffmpeg") is None:
        return (
            kind,
            suffix,
            f"{name} is {suffix[1:].upper()}, which needs the program ffmpeg. Install it, or save the recording as WAV, "
            "FLAC, OGG or MP3.",
        )
    if kind == "transcripts" and incoming.size_bytes > LARGEST_TRANSCRIPTS:
        return (
            kind,
            suffix,
            f"{name} is a list of transcripts of more than {LARGEST_TRANSCRIPTS >> 20} MiB.",
        )
    return kind, suffix, ""


def _stored(upload_id: str, found: Any) -> Stored:
    if not isinstance(found, Mapping):
        raise ValueError("upload.json holds no object")
    names = {one.name for one in fields(Stored)}
    values = {name: value for name, value in found.items() if name in names}
    values |= {"id": upload_id, "created_at": datetime.fromisoformat(str(found["created_at"]))}
    stored = Stored(**values)
    if not re.fullmatch(r"(sound|transcripts)\.[a-z0-9]{1,8}", stored.file):
        raise ValueError(f"it names a file {stored.file!r}")
    return stored


def _check_room(folder: Path, expected_bytes: int) -> None:
    free = shutil.disk_usage(folder).free
    if free < expected_bytes + SPARE_BYTES:
        raise StorageFullError(
            f"The files have {expected_bytes / 2**20:,.0f} MiB and {folder} has {free / 2**20:,.0f} MiB free; "
            f"{SPARE_BYTES >> 20} MiB are kept free. Make room on that disk."
            if expected_bytes
            else f"{folder} has {free / 2**20:,.0f} MiB free; {SPARE_BYTES >> 20} MiB are kept free. Make room on that "
            "disk and send the files again."
        )


def _full(error: OSError, folder: Path) -> StorageFullError | InvalidInputError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return StorageFullError(f"The disk of {folder} is full. Make room and send the file again.")
    return InvalidInputError(f"The file could not be kept ({error.strerror}). Check {folder}.")
