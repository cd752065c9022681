"""Whose voice it is, and what that person agreed to.

A speaker is a file (`speakers/<slug>.json` in the folder of training data) and a row. The file holds the consent, so
that it lies beside the recordings it is about, whatever becomes of the database; whichever of the two is newer wins at
start. Nothing is recorded or trained without a consent, unless the recordings were made by a machine.
"""

from __future__ import annotations

import asyncio
import logging
import re
import unicodedata
from collections.abc import Mapping
from dataclasses import asdict, replace
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

from backend.contracts.errors import AppError, ConflictError, InvalidInputError, NotFoundError
from backend.contracts.events import SpeakerChanged
from backend.contracts.training import Speaker
from backend.core.bus import EventBus
from backend.core.clock import now
from backend.storage import speakers as rows
from backend.storage import training_data
from backend.storage.database import Database
from backend.storage.speakers import SpeakerRow
from backend.storage.training_data import Sums
from voice_trainer.protocol import ProtocolError, read_json, write_json

logger = logging.getLogger(__name__)

MOST_SPEAKERS = 500
LEAST_CONSENT_CHARS = 8
LONGEST_EMOTION = 64
LANGUAGE = re.compile(r"[A-Za-z]{2,8}(?:[-_+][A-Za-z0-9]{1,8}){0,3}")
"""An espeak voice: "en-us", "de", "zh-yue"."""

DEFAULT_NAME = "My voice"
"""Whose clips they are when nobody said it."""

_SLUG = re.compile(r"[a-z0-9][a-z0-9-]{0,59}")
_RESERVED = frozenset(
    {"con", "prn", "aux", "nul", *(f"{n}{i}" for n in ("com", "lpt") for i in range(10))}
)
_GOING = ".going"


class Speakers:
    """The speakers; all methods are for the backend's loop.

    Args:
        bus: Told of every change.
        database: Holds their rows.
        folder: Holds their files.
    """

    def __init__(self, bus: EventBus, database: Database, folder: Path) -> None:
        self._bus = bus
        self._database = database
        self._folder = folder
        self._rows: dict[str, SpeakerRow] = {}
        self._going: set[str] = set()
        self._writing = asyncio.Lock()  # what is written last is what was said last

    async def open(self) -> tuple[list[str], list[str]]:
        """Make files and rows agree; returns ids of speakers whose removal was cut short, and notices."""
        stored = {row.id: row for row in await self._database.read(rows.list_all)}
        files, going, notices = await asyncio.to_thread(self._read_files)
        for speaker_id, row in files.items():
            known = stored.get(speaker_id)
            if known is None or row.updated_at > known.updated_at:
                await self._database.write(partial(rows.put, speaker=row), durable=True)
                stored[speaker_id] = row
        for speaker_id, row in stored.items():
            if speaker_id not in going and files.get(speaker_id) != row:
                await asyncio.to_thread(self._write_file, row)
        self._rows = {key: row for key, row in stored.items() if key not in going}
        self._going = set(going)
        return going, notices

    async def everybody(self) -> list[Speaker]:
        """Everybody, by name, with how much there is of them."""
        sums = await self._database.read(training_data.sums_by_speaker)
        found = sorted(self._rows.values(), key=lambda row: (row.name.lower(), row.id))
        return [_wire(row, sums.get(row.id)) for row in found]

    async def get(self, speaker_id: str) -> Speaker:
        """One speaker.

        Raises:
            NotFoundError: There is none of that id.
        """
        row = self.known(speaker_id)
        sums = await self._database.read(training_data.sums_by_speaker)
        return _wire(row, sums.get(row.id))

    def find(self, speaker_id: str) -> SpeakerRow | None:
        """One speaker's own values; None when there is none of that id."""
        return self._rows.get(speaker_id)

    def known(self, speaker_id: str) -> SpeakerRow:
        """One speaker's own values.

        Raises:
            NotFoundError: There is none of that id.
        """
        row = self._rows.get(speaker_id)
        if row is None:
            there = ", ".join(sorted(self._rows)[:10]) or "none yet"
            raise NotFoundError(
                f"There is no speaker {speaker_id[:64]!r} (there are: {there}). POST /api/voice/speakers makes one."
            )
        return row

    def check_consent(self, speaker_id: str, what: str) -> SpeakerRow:
        """The speaker, if the person agreed or is a machine.

        Args:
            speaker_id: Who.
            what: What is to be done, for the message ("recorded", "trained").

        Raises:
            NotFoundError: There is none of that id.
            ConflictError: Nobody has agreed yet.
        """
        row = self.known(speaker_id)
        if not row.consent and not row.synthetic:
            raise ConflictError(
                f"Nobody has agreed yet that the voice of {row.name} is {what}. Ask, and write down what was agreed to "
                f"(POST /api/voice/speakers/{row.id}/consent)."
            )
        return row

    async def add(self, name: str, language: str, *, synthetic: bool = False) -> Speaker:
        """A new speaker.

        Raises:
            InvalidInputError: The name is empty or the language is none.
            ConflictError: There is one of that name, or there are too many.
        """
        name, language = _checked_name(name), checked_language(language)
        if any(row.name.casefold() == name.casefold() for row in self._rows.values()):
            raise ConflictError(f"There is a speaker {name!r} already. Give this one another name.")
        if len(self._rows) >= MOST_SPEAKERS:
            raise ConflictError(f"There are {MOST_SPEAKERS} speakers; remove one first.")
        moment = now()
        row = SpeakerRow(
            id=self._free_slug(name),
            name=name,
            language=language,
            synthetic=synthetic,
            created_at=moment,
            updated_at=moment,
        )
        await self._keep(row, "added")
        return _wire(row, None)

    async def or_default(self, speaker_id: str, language: str = "") -> SpeakerRow:
        """The speaker of that id; for none, the one that is made when nobody said whose voice it is.

        Raises:
            NotFoundError: An id is given, and there is none of it.
        """
        if speaker_id:
            return self.known(speaker_id)
        for row in self._rows.values():
            if row.name == DEFAULT_NAME:
                return row
        return self.known((await self.add(DEFAULT_NAME, language or "en-us")).id)

    async def change(
        self, speaker_id: str, *, name: str | None = None, language: str | None = None
    ) -> Speaker:
        """Another name or language; the id stays.

        Raises:
            NotFoundError, InvalidInputError, ConflictError: As for `add`.
        """
        row = self.known(speaker_id)
        if name is not None:
            name = _checked_name(name)
            others = (other for other in self._rows.values() if other.id != row.id)
            if any(other.name.casefold() == name.casefold() for other in others):
                raise ConflictError(f"There is a speaker {name!r} already.")
            row = replace(row, name=name)
        if language is not None:
            row = replace(row, language=checked_language(language))
        await self._keep(replace(row, updated_at=now()), "changed")
        return await self.get(speaker_id)

    async def consent(self, speaker_id: str, statement: str) -> Speaker:
        """Write down what the person agreed to.

        Raises:
            NotFoundError: There is none of that id.
            InvalidInputError: The statement says too little.
        """
        row = self.known(speaker_id)
        statement = _plain(statement)
        if len(statement) < LEAST_CONSENT_CHARS:
            raise InvalidInputError(
                "Say in a sentence what the person agreed to, for example: “This is my own voice; it may be recorded "
                "and trained.”"
            )
        moment = now()
        await self._keep(
            replace(row, consent=statement, consent_at=moment, updated_at=moment), "gave consent"
        )
        return await self.get(speaker_id)

    async def begin_removal(self, speaker_id: str) -> None:
        """From here on the speaker is gone, also after a crash; `end_removal` follows when the clips are."""
        self.known(speaker_id)
        row = self._rows.pop(speaker_id)  # before the first await: only one removes
        self._going.add(speaker_id)
        try:
            async with self._writing:
                await asyncio.to_thread(self._mark_going, speaker_id)
        except OSError:
            self._rows[speaker_id] = row
            self._going.discard(speaker_id)
            raise

    async def end_removal(self, speaker_id: str) -> None:
        """Nothing of the speaker is left."""
        await self._database.write(lambda c: rows.delete(c, speaker_id), durable=True)
        await asyncio.to_thread((self._folder / f"{speaker_id}{_GOING}").unlink, missing_ok=True)
        self._going.discard(speaker_id)
        self._bus.publish(SpeakerChanged(speaker=speaker_id, what="was removed"))

    async def _keep(self, row: SpeakerRow, what: str) -> None:
        self._rows[row.id] = row
        async with self._writing:
            newest = self._rows.get(row.id)
            if newest is None:
                return  # removed meanwhile: nothing of it is written again
            await asyncio.to_thread(self._write_file, newest)
            await self._database.write(lambda c: rows.put(c, newest), durable=True)
        self._bus.publish(SpeakerChanged(speaker=row.id, what=what))

    def _free_slug(self, name: str) -> str:
        plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode().lower()
        slug = re.sub(r"[^a-z0-9]+", "-", plain).strip("-")[:40].strip("-") or "speaker"
        if slug in _RESERVED:
            slug = f"speaker-{slug}"
        free, n = slug, 1
        while free in self._rows or free in self._going:
            n += 1
            free = f"{slug}-{n}"
        return free

    # --- files; on a worker thread ---

    def _write_file(self, row: SpeakerRow) -> None:
        values = asdict(row)
        for key, value in values.items():
            if isinstance(value, datetime):
                values[key] = value.isoformat()
        write_json(self._folder / f"{row.id}.json", values)

    def _mark_going(self, speaker_id: str) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        (self._folder / f"{speaker_id}{_GOING}").touch()
        (self._folder / f"{speaker_id}.json").unlink(missing_ok=True)

    def _read_files(self) -> tuple[dict[str, SpeakerRow], list[str], list[str]]:
        found: dict[str, SpeakerRow] = {}
        notices: list[str] = []
        self._folder.mkdir(parents=True, exist_ok=True)
        going = [
            path.stem for path in self._folder.glob(f"*{_GOING}") if _SLUG.fullmatch(path.stem)
        ]
        for path in sorted(self._folder.glob("*.json")):
            if not _SLUG.fullmatch(path.stem) or path.stem in going:
                continue
            try:
                found[path.stem] = _row(path.stem, read_json(path))
            except (AppError, ProtocolError, ValueError, TypeError, KeyError) as error:
                notices.append(
                    f"The file {path} of a speaker cannot be read and is left out: {error}"
                )
        return found, going, notices


def _row(speaker_id: str, found: Any) -> SpeakerRow:
    if not isinstance(found, Mapping):
        raise ValueError("it holds no object")
    at = found.get("consent_at")
    return SpeakerRow(
        id=speaker_id,
        name=_checked_name(str(found["name"])),
        language=checked_language(str(found["language"])),
        consent=str(found.get("consent", "")),
        consent_at=_moment(at) if at else None,
        synthetic=found.get("synthetic") is True,
        created_at=_moment(found["created_at"]),
        updated_at=_moment(found["updated_at"]),
    )


def _moment(text: Any) -> datetime:
    moment = datetime.fromisoformat(str(text))
    if moment.tzinfo is None:
        raise ValueError(f"{text} has no time zone")
    return moment


def _wire(row: SpeakerRow, sums: Sums | None) -> Speaker:
    return Speaker(
        id=row.id,
        name=row.name,
        language=row.language,
        consent=row.consent,
        consent_at=row.consent_at,
        synthetic=row.synthetic,
        clips=sums.total if sums else 0,
        accepted=sums.accepted if sums else 0,
        minutes=sums.minutes if sums else {},
    )


def _plain(text: str) -> str:
    """Without control characters and half characters, white space joined."""
    text = text.encode("utf-8", "ignore").decode()
    kept = "".join(" " if unicodedata.category(c).startswith("C") else c for c in text)
    return " ".join(kept.split())


def _checked_name(name: str) -> str:
    name = _plain(name)
    if not name or len(name) > 100:
        raise InvalidInputError("A speaker needs a name of 1 to 100 characters.")
    return name


def checked_emotion(emotion: str) -> str:
    """A feeling as a short word.

    Raises:
        InvalidInputError: It is longer than that.
    """
    emotion = _plain(emotion)
    if len(emotion) > LONGEST_EMOTION:
        raise InvalidInputError(
            f"The emotion has {len(emotion):,} characters; a word of at most {LONGEST_EMOTION} is taken."
        )
    return emotion


def checked_language(language: str) -> str:
    """An espeak voice as it is written here ("en-us").

    Raises:
        InvalidInputError: It does not look like one.
    """
    if not LANGUAGE.fullmatch(language):
        raise InvalidInputError(
            f"{language[:40]!r} is no language; write it like en-us, de or ja (a voice of espeak)."
        )
    return language.lower().replace("_", "-")
