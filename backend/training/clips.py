"""Clips: rows, files and the manifest kept true to each other; every change is a step that can be taken back.

A clip is `clips/<uid>.wav` in the folder of training data, a row of `training_data`, and a line of `manifest.jsonl`. The
file comes first, then the row; a kill between the two leaves a file without a row, which the processing that made it
claims again. Changes are made one after the other: each writes down what was before (`backend.training.undo`), then
changes files, then rows, then tells.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import logging
import os
import re
import unicodedata
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any
from uuid import uuid4

from backend.contracts.errors import ConflictError, InvalidInputError, NotFoundError
from backend.contracts.events import ClipsChanged
from backend.contracts.training import Clip, ClipPage
from backend.core.bus import EventBus
from backend.core.clock import monotonic_s, now
from backend.core.workers import EngineHost
from backend.storage import training_data as rows
from backend.storage.database import Database
from backend.storage.training_data import ClipRow, SortedBy, Wanted
from backend.training.speakers import Speakers
from backend.training.undo import Journal, Step, link, row_of, row_values
from voice_trainer.protocol import ClipSpec

logger = logging.getLogger(__name__)

MANIFEST = "manifest.jsonl"
COMING = ".coming"
"""Ends the name of an empty file that stands for a clip from before it is in the folder until its row is stored."""
MOST_AT_ONCE = 20_000
LONGEST_TRANSCRIPT = 2000
IDS_IN_EVENT = 200
"""Who shows more clips than these asks for all of them again."""

EDIT_S = 60.0
"""Longest wait for one edit; denoising twelve seconds takes 0.1 s, its process may have to start first."""

MANIFEST_PAUSE_S = 0.5
RECOGNISER_REASON = "read by the basic recogniser"
MISSING_REASON = "its file is missing"

_JOINERS = "\u200c\u200d"
"""Persian, Hindi and some pictures are written with them."""
_UID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
_SOUND = ("duration_s", "start_s", "end_s", "sha256", "edited", "measures", "grade", "reasons")
_TEXT = ("transcript", "text_from", "measures", "grade", "reasons")
_EDIT = "backend.audio.clip_edit"


@dataclass(frozen=True, slots=True)
class Made:
    """A clip as the trainer hands it over.

    Attributes:
        before: The sound before it was denoised; None when it was not.
    """

    uid: str
    path: Path
    upload_id: str
    source: str
    start_s: float
    end_s: float
    duration_s: float
    text: str
    text_from: str
    speaker: str
    emotion: str
    language: str
    grade: str
    reasons: tuple[str, ...]
    measures: dict[str, float]
    prompt_id: str = ""
    before: Path | None = None


class Clips:
    """All clips; all methods are for the backend's loop.

    Args:
        bus: Told of every change.
        database: Holds the rows.
        host: Runs what needs arrays.
        speakers: Whose clips they are.
        folder: The folder of training data: ``clips/`` and ``undo/`` lie in it.
    """

    def __init__(
        self, bus: EventBus, database: Database, host: EngineHost, speakers: Speakers, folder: Path
    ) -> None:
        self._bus = bus
        self._database = database
        self._host = host
        self._speakers = speakers
        self._folder = folder / "clips"
        self._aside = folder / "aside"
        self._journal = Journal(folder / "undo")
        self._changing = asyncio.Lock()  # steps of undo are in the order of the changes
        self._writing = asyncio.Lock()
        self._closing = asyncio.Event()
        self._manifest_wanted = False
        self._manifest_task: asyncio.Task[None] | None = None
        self.on_new_text: Callable[[Sequence[ClipRow]], None] = lambda clips: None
        """Told of clips whose transcript a person changed, so that it is checked against the sound again."""

    # --- start and end ---

    async def open(self) -> list[str]:
        """Make files, rows and the manifest agree; returns notices in words."""
        await asyncio.to_thread(self._journal.open)
        await self._finish_last_step()
        stored = await self._database.read(lambda c: rows.list_all(c, deleted=True))
        by_uid = {row.uid: row for row in stored if row.uid}
        here, coming = await asyncio.to_thread(self._look)
        notices: list[str] = []
        found, strange = await asyncio.to_thread(self._adopt, here - by_uid.keys(), coming)
        if found:
            await self._put(found)
            notices.append(
                f"{len(found)} clips that the database had lost were taken back from the manifest of the clips."
            )
        if strange:
            notices.append(
                f"{len(strange)} files in {self._folder} belong to no clip ({', '.join(strange[:3])} …); they were put "
                f"aside in {self._aside}."
            )
        notices += await self._mark_missing(by_uid, here)
        await self._purge({row.uid for row in stored if row.uid and row.deleted_at is not None})
        self._want_manifest()
        return notices

    async def close(self) -> None:
        """Write what is still to be written."""
        self._closing.set()
        if self._manifest_task is not None:
            await asyncio.gather(self._manifest_task, return_exceptions=True)

    # --- reading ---

    async def page(
        self,
        wanted: Wanted,
        *,
        sort: SortedBy = "id",
        descending: bool = False,
        offset: int = 0,
        limit: int = 1000,
    ) -> ClipPage:
        """Clips that fit, and sums over all that fit."""
        last = self._journal.last

        def read(connection: Any) -> ClipPage:
            found = rows.page(
                connection, wanted, sort=sort, descending=descending, offset=offset, limit=limit
            )
            sums = rows.sums(connection, wanted)
            return ClipPage(
                clips=tuple(_wired(connection, found)),
                total=sums.total,
                accepted=sums.accepted,
                minutes=sums.minutes,
                grades=sums.grades,
                waiting=sums.waiting,
                can_undo=last.what if last else "",
            )

        # A thousand clips take 20 ms: that is the reader's time, not the loop's.
        return await self._database.read(read)

    async def get(self, clip_id: int) -> Clip:
        """One clip.

        Raises:
            NotFoundError: There is none of that id.
        """
        return (await self._wired(await self._rows([clip_id])))[0]

    async def row(self, clip_id: int) -> ClipRow:
        """One clip as stored.

        Raises:
            NotFoundError: There is none of that id.
        """
        return (await self._rows([clip_id]))[0]

    async def by_uids(self, uids: Collection[str]) -> list[ClipRow]:
        """Those of these clips that are there, as stored."""
        found = await self._database.read(lambda c: rows.by_uids(c, uids))
        return [row for row in found if row.deleted_at is None]

    async def of_job(self, job_id: str) -> list[ClipRow]:
        """Every clip that a processing made, as stored."""
        return await self._database.read(lambda c: rows.of_job(c, job_id))

    async def of_speaker(self, speaker: str) -> list[ClipRow]:
        """Every clip of a speaker, as stored."""
        return await self._database.read(lambda c: rows.of_speaker(c, speaker))

    def path(self, row: ClipRow, *, before: bool = False) -> Path:
        """Where a clip's sound lies; ``before`` asks for the sound from before it was edited.

        Raises:
            NotFoundError: It never had a file of ours, or was not edited.
        """
        if not row.uid or (before and not row.edited):
            what = "was not edited: there is no sound from before" if before else "has no sound"
            raise NotFoundError(f"Clip {row.id} {what}.")
        return self._folder / (f"{row.uid}.before.wav" if before else f"{row.uid}.wav")

    async def sound(self, clip_id: int, *, before: bool = False) -> bytes:
        """A clip as WAV.

        Raises:
            NotFoundError: There is none of that id, or its file is gone.
        """
        row = await self.row(clip_id)
        path = self.path(row, before=before)
        try:
            return await asyncio.to_thread(path.read_bytes)
        except OSError as error:
            raise NotFoundError(
                f"The sound of clip {clip_id} is not at {path.name} any more; delete the clip, or bring the file back."
            ) from error

    # --- for training ---

    async def for_training(
        self, speaker: str = "", clip_ids: Sequence[int] | None = None
    ) -> list[ClipSpec]:
        """The clips to train on: those named, or all accepted ones of a speaker that have a transcript.

        Raises:
            NotFoundError: A speaker or a clip is not there.
            ConflictError: Somebody whose voice it is has not agreed, or a file is not the one that was checked in.
            InvalidInputError: Nothing is left to train on, or a clip that was named has no transcript.
        """
        if clip_ids is not None:
            found = await self._rows(clip_ids)
            silent = [row for row in found if not row.transcript.strip()]
            if silent:
                raise InvalidInputError(
                    f"Clip {silent[0].id} has no transcript. Write what is said in it, or leave it out."
                )
        else:
            self._speakers.known(speaker)
            found = [
                row
                for row in await self.of_speaker(speaker)
                if row.status == "accepted" and row.transcript.strip()
            ]
        if not found:
            raise InvalidInputError(
                f"There is nothing to train on: no accepted clip of {speaker or 'this choice'} has a transcript. Record "
                "or import some, then accept them."
            )
        for whose in sorted({row.speaker for row in found}):
            self._speakers.check_consent(whose, "trained")
        changed = await asyncio.to_thread(self._changed_files, found)
        if changed:
            raise ConflictError(
                f"The file of clip {changed[0].id} is not the one that was checked in"
                f"{f' (and of {len(changed) - 1} more)' if len(changed) > 1 else ''}. Delete the clip, or put its file back: "
                f"{changed[0].filename}."
            )
        return [self._spec(row) for row in found]

    def specs(self, found: Iterable[ClipRow]) -> list[ClipSpec]:
        """Clips as the trainer is told of them, whatever state they are in."""
        return [self._spec(row) for row in found if row.uid]

    async def trained(self, model: str, uids: Collection[str]) -> None:
        """Remember that a voice was made of these clips."""
        await self._database.write(lambda c: rows.link(c, model, uids), durable=True)

    def _spec(self, row: ClipRow) -> ClipSpec:
        assert row.uid is not None
        return ClipSpec(
            uid=row.uid,
            path=str(self.path(row).absolute()),
            text=row.transcript,
            duration_s=row.duration_s,
            sha256=row.sha256,
            speaker=row.speaker,
            emotion=row.emotion,
            grade=row.grade,
            language=row.language,
            measures=dict(row.measures),
        )

    # --- changes by people ---

    async def change(
        self,
        clip_ids: Sequence[int],
        *,
        transcript: str | None = None,
        status: str | None = None,
        emotion: str | None = None,
        speaker: str | None = None,
        language: str | None = None,
    ) -> list[Clip]:
        """Set what is given on all of these clips, as one step of undo.

        Raises:
            NotFoundError: A clip or the speaker is not there; nothing is changed.
            InvalidInputError: Nothing is given.
        """
        if speaker is not None:
            self._speakers.known(speaker)
        values = (
            ("status", status),
            ("emotion", emotion),
            ("speaker", speaker),
            ("language", language),
        )
        given: dict[str, Any] = {name: value for name, value in values if value is not None}
        if transcript is None and not given:
            raise InvalidInputError(
                "Nothing is to be changed: give transcript, status, emotion, speaker or language."
            )
        async with self._changing:
            found = await self._rows(clip_ids)
            changed, names = await asyncio.to_thread(_changed, found, transcript, given)
            if changed:
                ids = {row.id for row in changed}
                before = [row for row in found if row.id in ids]
                what = _what_changed(names, status) + _of(before)
                fields = names | {"updated_at"}
                if "transcript" in names:
                    fields |= set(_TEXT)
                await self._step(what, before, fields=fields)
                await self._put(changed)
                self._tell([*before, *changed], what)
            texts = [row for row in changed if "transcript" in names]
        if texts:
            self.on_new_text(texts)
        return await self._wired(await self._rows(clip_ids))

    async def delete(self, clip_ids: Sequence[int]) -> None:
        """Take clips out; undo brings them back.

        Raises:
            NotFoundError: A clip is not there; nothing is changed.
        """
        async with self._changing:
            found = await self._rows(clip_ids)
            what = "deletion" + _of(found)
            await self._step(what, found, fields={"deleted_at", "updated_at"})
            moment = now()
            await self._put([replace(row, deleted_at=moment, updated_at=moment) for row in found])
            self._tell(found, what)

    async def trim(self, clip_id: int, start_s: float, end_s: float) -> Clip:
        """Keep what lies between two times of the clip.

        Raises:
            NotFoundError: There is none of that id.
            InvalidInputError: Too little would be left, or the file cannot be read.
        """

        async def edit(row: ClipRow, path: Path, target: Path) -> Mapping[str, Any]:
            if not 0 <= start_s < end_s:
                raise InvalidInputError(
                    f"A clip cannot begin at {start_s:g} s and end at {end_s:g} s."
                )
            told: Mapping[str, Any] = await self._host.call(
                f"{_EDIT}:trim",
                str(path),
                str(target),
                start_s,
                end_s,
                row.measures,
                timeout_s=EDIT_S,
            )
            return {
                **told,
                "start_s": row.start_s + start_s,
                "end_s": row.start_s + min(end_s, row.duration_s),
            }

        return await self._edit(clip_id, "trim", edit)

    async def denoise(self, clip_id: int) -> Clip:
        """Lower the steady noise of a clip; the sound from before is kept.

        Raises:
            NotFoundError: There is none of that id.
            InvalidInputError: The file cannot be read.
        """

        async def edit(row: ClipRow, path: Path, target: Path) -> Mapping[str, Any]:
            told: Mapping[str, Any] = await self._host.call(
                f"{_EDIT}:denoise", str(path), str(target), row.measures, timeout_s=EDIT_S
            )
            return told

        return await self._edit(clip_id, "denoising", edit)

    async def restore(self, clip_id: int) -> Clip:
        """Bring back the sound from before the clip was edited.

        Raises:
            NotFoundError: There is none of that id, or it was not edited.
        """
        async with self._changing:
            row = (await self._rows([clip_id]))[0]
            before = self.path(row, before=True)
            path = self.path(row)
            told = await self._host.call(
                f"{_EDIT}:remeasure", str(before), row.measures, timeout_s=EDIT_S
            )
            step = await self._step(
                f"restoring of clip {clip_id}",
                [row],
                fields={*_SOUND, "updated_at"},
                with_files=True,
            )
            await asyncio.to_thread(_swap, before, path)
            start_s = row.measures.get("before_start_s", row.start_s)
            values = {
                **told,
                "start_s": start_s,
                "end_s": row.measures.get("before_end_s", start_s + told["duration_s"]),
            }
            new = replace(_with_sound(row, values), edited=False)
            await self._put([new])
            self._tell([new], step)
        self._check_again(new)
        return await self.get(clip_id)

    async def split(
        self, clip_id: int, at_s: float, transcripts: Sequence[str] | None = None
    ) -> list[Clip]:
        """Make two clips of one; without transcripts both need one.

        Raises:
            NotFoundError: There is none of that id.
            InvalidInputError: A half would be too short, or the file cannot be read.
        """
        async with self._changing:
            row = (await self._rows([clip_id]))[0]
            path = self.path(row)
            uids = [uuid4().hex for _ in range(2)]
            targets = [self._folder / f"{uid}.wav" for uid in uids]
            step = await self._step(
                f"split of clip {clip_id}", [row], made=uids, fields={"deleted_at", "updated_at"}
            )
            try:
                told = await self._host.call(
                    f"{_EDIT}:split",
                    str(path),
                    str(targets[0]),
                    str(targets[1]),
                    at_s,
                    row.measures,
                    timeout_s=EDIT_S,
                )
                await asyncio.to_thread(_sync, targets)
            except BaseException:
                await asyncio.shield(self._drop_last(uids))
                raise
            middle_s = row.start_s + at_s
            times = ((row.start_s, middle_s), (middle_s, row.start_s + row.duration_s))
            moment = now()
            halves = []
            for uid, one, (start_s, end_s), text in zip(
                uids, told, times, transcripts or ("", ""), strict=True
            ):
                half = replace(
                    row,
                    id=None,
                    uid=uid,
                    filename=f"{uid}.wav",
                    transcript="",
                    text_from="",
                    edited=False,
                    created_at=moment,
                    prompt_id="",
                )
                half = replace(
                    _with_sound(half, {**one, "start_s": start_s, "end_s": end_s}), edited=False
                )
                halves.append(_with_text(half, text) if text.strip() else half)
            gone = replace(row, deleted_at=moment, updated_at=moment)

            def store(connection: Any) -> list[ClipRow]:
                rows.put(connection, gone)
                return [rows.put(connection, half) for half in halves]

            made = await self._database.write(store, durable=True)
            self._tell([row, *made], step)
        self.on_new_text([half for half in made if half.transcript])
        return await self._wired(made)

    async def undo(self) -> tuple[str, list[Clip]]:
        """Take the last change back; returns what it was, and the clips it was about that are there.

        Raises:
            ConflictError: There is nothing to take back.
        """
        async with self._changing:
            step = self._journal.last
            if step is None:
                raise ConflictError("There is nothing to undo.")
            restored = await self._take_back(step)
            await asyncio.to_thread(self._journal.drop, step)
            self._tell(restored or list(step.before), f"undid {step.what}")
        return step.what, await self._wired([row for row in restored if row.deleted_at is None])

    # --- changes by processing ---

    async def arrive(self, made: Made, job_id: str) -> ClipRow | None:
        """Take a clip that the trainer made; the same one again changes nothing.

        Returns:
            The new clip; None when it was there already, or was deleted since.

        Raises:
            InvalidInputError: It is not as it must be.
        """
        if not _UID.fullmatch(made.uid):
            raise InvalidInputError(f"{made.uid[:80]!r} cannot be a clip's name.")
        async with self._changing:
            uid, old = await self._place_for(made, job_id)
            if old is not None and (old.deleted_at is None or old.job_id == job_id):
                await asyncio.to_thread(_clear, made)
                return None
            target = self._folder / f"{uid}.wav"
            mark = self._folder / f".{uid}{COMING}"
            try:
                await asyncio.to_thread(mark.touch)
                if made.before is not None:
                    before = self._folder / f"{uid}.before.wav"
                    await asyncio.to_thread(_take_in, made.before, before)
                sha256 = await asyncio.to_thread(_take_in, made.path, target)
            except OSError as error:
                raise InvalidInputError(
                    f"The clip {made.path.name} of {made.source} could not be taken in ({error})."
                ) from error
            moment = now()
            row = ClipRow(
                id=old.id if old else None,
                uid=uid,
                filename=target.name,
                created_at=moment,
                updated_at=moment,
                duration_s=made.duration_s,
                transcript=made.text[:LONGEST_TRANSCRIPT],
                text_from=made.text_from if made.text else "",
                speaker=made.speaker,
                emotion=made.emotion,
                language=made.language,
                source=made.source,
                start_s=made.start_s,
                end_s=made.end_s,
                sha256=sha256,
                edited=made.before is not None,
                upload_id=made.upload_id,
                job_id=job_id,
                prompt_id=made.prompt_id,
            )
            row = judged(row, made.grade, made.reasons, made.measures)
            if made.before is not None:
                row.measures.update(before_start_s=made.start_s, before_end_s=made.end_s)
            row = await self._database.write(lambda c: rows.put(c, row))
            await asyncio.to_thread(_clear, made, mark)
            self._want_manifest()
        return row

    async def _place_for(self, made: Made, job_id: str) -> tuple[str, ClipRow | None]:
        """The uid that a clip gets, and what is there of it.

        The trainer names clips by what they are cut from. The same recording may have been brought in for somebody else
        by mistake: that one's clip keeps the name.
        """
        uid = made.uid
        for _ in range(2):
            known = await self._database.read(partial(rows.by_uids, uids=[uid]))
            if not known:
                return uid, None
            if known[0].speaker == made.speaker or known[0].job_id == job_id:
                return uid, known[0]
            uid = hashlib.sha256(f"{made.uid} {made.speaker}".encode()).hexdigest()[:20]
        return uid, known[0]

    async def hear(self, uid: str, text: str, text_from: str, language: str) -> ClipRow | None:
        """Give a clip the transcript that was heard in it, unless it has one by now."""
        async with self._changing:
            found = await self.by_uids([uid])
            if not found or found[0].transcript:
                return None
            row = replace(
                found[0],
                transcript=spoken(text)[:LONGEST_TRANSCRIPT],
                text_from=text_from,
                language=found[0].language or language,
                updated_at=now(),
            )
            row = judged(row, row.grade, row.reasons, row.measures)
            await self._put([row])
            return row

    async def judge(
        self,
        uid: str,
        grade: str,
        reasons: tuple[str, ...],
        measures: Mapping[str, float],
        text: str,
    ) -> ClipRow | None:
        """Keep what a check said of a clip, unless its transcript has changed since."""
        async with self._changing:
            found = await self.by_uids([uid])
            if not found or found[0].transcript != text:
                return None
            row = judged(found[0], grade, reasons, {**found[0].measures, **measures})
            row = replace(settled(row), updated_at=now())
            await self._put([row])
            return row

    async def settle(self, job_id: str) -> list[ClipRow]:
        """Accept what a processing made and nothing could be checked of: nobody speaks its language to compare with."""
        async with self._changing:
            found = await self.of_job(job_id)
            changed = [new for row in found if (new := settled(row)) != row]
            await self._put(changed)
            return changed

    def tell(self, changed: Sequence[ClipRow], what: str) -> None:
        """Say that these have changed."""
        self._tell(changed, what)

    # --- a speaker goes ---

    async def forget_speaker(self, speaker: str) -> tuple[int, list[str]]:
        """Remove every clip of a speaker for good, copies of undo too.

        Returns:
            How many there were, and the names of the voices that were made of them.
        """
        async with self._changing:
            found = await self._database.read(lambda c: rows.of_speaker(c, speaker, deleted=True))
            uids = {row.uid for row in found if row.uid}
            # A clip that was given to another speaker may have been this one's in a step of undo, and back.
            for step in self._journal.steps:
                uids |= {row.uid for row in step.before if row.uid and row.speaker == speaker} - {
                    row.uid for row in await self.by_uids(step.uids) if row.speaker != speaker
                }
            models = await self._database.read(lambda c: rows.models_of(c, uids))
            await asyncio.to_thread(self._journal.forget, uids)
            await asyncio.to_thread(self._remove_files, uids)

            def remove(connection: Any) -> None:
                rows.unlink(connection, uids)
                rows.delete(connection, [row.id for row in found if row.id is not None])

            await self._database.write(remove, durable=True)
            await self._write_manifest()
        if found:
            self._tell(found, f"all clips of {speaker} were removed")
        return (
            sum(row.deleted_at is None for row in found),
            sorted({name for names in models.values() for name in names}),
        )

    # --- inside ---

    async def _rows(self, clip_ids: Sequence[int]) -> list[ClipRow]:
        if len(clip_ids) > MOST_AT_ONCE:
            raise InvalidInputError(f"At most {MOST_AT_ONCE:,} clips at once.")
        wanted = list(dict.fromkeys(clip_ids))
        found = await self._database.read(lambda c: rows.by_ids(c, wanted))
        by_id = {row.id: row for row in found}
        for clip_id in wanted:
            if clip_id not in by_id:
                raise NotFoundError(f"There is no clip {clip_id}.")
        return [by_id[clip_id] for clip_id in wanted]

    async def _wired(self, found: Sequence[ClipRow]) -> list[Clip]:
        return await self._database.read(lambda c: _wired(c, found))

    async def _edit(
        self,
        clip_id: int,
        what: str,
        edit: Callable[[ClipRow, Path, Path], Any],
    ) -> Clip:
        """Change the sound of a clip: the edit writes a new file, which then takes the place of the old one."""
        async with self._changing:
            row = (await self._rows([clip_id]))[0]
            path = self.path(row)
            target = self._folder / f".{row.uid}.edit"
            try:
                told = await edit(row, path, target)
                step = await self._step(
                    f"{what} of clip {clip_id}",
                    [row],
                    fields={*_SOUND, "updated_at"},
                    with_files=True,
                )
                before = self._folder / f"{row.uid}.before.wav"
                await asyncio.to_thread(_replace_sound, target, path, before, keep=not row.edited)
            finally:
                await asyncio.to_thread(target.unlink, missing_ok=True)
            new = _with_sound(row, told)
            if not row.edited:
                new.measures.update(before_start_s=row.start_s, before_end_s=row.end_s)
            await self._put([new])
            self._tell([new], step)
        self._check_again(new)
        return await self.get(clip_id)

    def _check_again(self, row: ClipRow) -> None:
        if row.transcript:
            self.on_new_text([row])

    async def _step(
        self,
        what: str,
        before: Sequence[ClipRow],
        *,
        fields: Collection[str],
        made: Collection[str] = (),
        with_files: bool = False,
    ) -> str:
        """Write down a step of undo; returns what it is."""
        files = []
        if with_files:
            for row in before:
                files += [self._folder / f"{row.uid}.wav", self._folder / f"{row.uid}.before.wav"]
        gone = await asyncio.to_thread(
            self._journal.add,
            what,
            before,
            made=made,
            files=files,
            fields=tuple(sorted(fields)),
        )
        if gone:
            await self._purge(set().union(*(step.uids for step in gone)))
        return what

    async def _drop_last(self, made: Collection[str]) -> None:
        step = self._journal.last
        if step is not None:
            await asyncio.to_thread(self._journal.drop, step)
        await asyncio.to_thread(self._remove_files, made)

    async def _take_back(self, step: Step) -> list[ClipRow]:
        """Make everything as it was before a step."""
        if step.files:
            await asyncio.to_thread(self._restore_files, step)

        def store(connection: Any) -> list[ClipRow]:
            there = {
                row.uid: row
                for row in rows.by_uids(connection, [row.uid for row in step.before if row.uid])
            }
            restored = []
            for row in step.before:
                current = there.get(row.uid)
                if current is not None and step.fields:
                    values = {name: getattr(row, name) for name in step.fields}
                    row = replace(current, **values)
                if current is not None and self._speakers.find(row.speaker) is None:
                    # Who was removed meanwhile does not come back, nor gets anything.
                    row = replace(row, speaker=current.speaker)
                restored.append(rows.put_back(connection, row))
            made = rows.by_uids(connection, step.made)
            rows.delete(connection, [row.id for row in made if row.id is not None])
            rows.unlink(connection, step.made)
            return restored

        restored = await self._database.write(store, durable=True)
        await asyncio.to_thread(self._remove_files, step.made)
        return restored

    async def _finish_last_step(self) -> None:
        """A change that a kill cut short between its step and its rows is taken back."""
        step = self._journal.last
        if step is None:
            return
        uids = step.uids
        there = {row.uid: row for row in await self._database.read(lambda c: rows.by_uids(c, uids))}
        names = step.fields or tuple(_all_names())
        is_untouched = all(
            (current := there.get(row.uid)) is not None
            and all(getattr(current, name) == getattr(row, name) for name in names)
            for row in step.before
        )
        if is_untouched and not any(uid in there for uid in step.made):
            logger.info("the %s was cut short and is taken back", step.what)
            await self._take_back(step)
            await asyncio.to_thread(self._journal.drop, step)

    async def _put(self, changed: Sequence[ClipRow]) -> None:
        def store(connection: Any) -> None:
            for row in changed:
                rows.put(connection, row)

        await self._database.write(store, durable=True)
        self._want_manifest()

    async def _purge(self, uids: set[str]) -> None:
        """Remove deleted clips that no step of undo can bring back."""
        lost = uids - self._journal.uids
        found = await self._database.read(lambda c: rows.by_uids(c, lost))
        gone = [row for row in found if row.deleted_at is not None]
        if not gone:
            return
        await self._database.write(
            lambda c: rows.delete(c, [row.id for row in gone if row.id is not None])
        )
        await asyncio.to_thread(self._remove_files, [row.uid for row in gone if row.uid])

    async def _mark_missing(self, by_uid: Mapping[str, ClipRow], here: set[str]) -> list[str]:
        """Clips whose file is gone cannot be trained on; those whose file came back can be accepted again."""
        missing = [
            row
            for uid, row in by_uid.items()
            if uid not in here and row.deleted_at is None and MISSING_REASON not in row.reasons
        ]
        back = [row for uid, row in by_uid.items() if uid in here and MISSING_REASON in row.reasons]
        changed = [
            replace(row, status="rejected", reasons=(MISSING_REASON, *row.reasons))
            for row in missing
        ] + [
            replace(row, status="new", reasons=tuple(r for r in row.reasons if r != MISSING_REASON))
            for row in back
        ]
        if changed:
            await self._put(changed)
        if not missing:
            return []
        return [
            f"The files of {len(missing)} clips are gone (clip {missing[0].id} …); these clips were set to rejected. Put the "
            f"files back in {self._folder}, or delete the clips."
        ]

    def _tell(self, changed: Sequence[ClipRow], what: str) -> None:
        by_speaker: dict[str, list[int]] = {}
        for row in changed:
            ids = by_speaker.setdefault(row.speaker, [])
            if row.id is not None and row.id not in ids:
                ids.append(row.id)
        for speaker, ids in by_speaker.items():
            few = tuple(ids) if len(ids) <= IDS_IN_EVENT else ()
            self._bus.publish(ClipsChanged(speaker=speaker, ids=few, what=what))
        self._want_manifest()

    # --- the manifest ---

    def _want_manifest(self) -> None:
        """Have it written soon; a hundred changes in a moment are one file."""
        self._manifest_wanted = True
        if self._manifest_task is None or self._manifest_task.done():
            self._manifest_task = asyncio.create_task(self._write_manifests())

    async def _write_manifests(self) -> None:
        while self._manifest_wanted:
            self._manifest_wanted = False
            began_s = monotonic_s()
            try:
                await self._write_manifest()
            except Exception:
                logger.exception(
                    "the manifest of the clips could not be written; the next start does it"
                )
            with contextlib.suppress(TimeoutError):
                # Of thousands of clips it takes a third of a second: never more than a twentieth of the time.
                pause_s = max(MANIFEST_PAUSE_S, 20 * (monotonic_s() - began_s))
                async with asyncio.timeout(pause_s):
                    await self._closing.wait()

    async def _write_manifest(self) -> None:
        async with self._writing:
            stored = await self._database.read(rows.list_all)
            await asyncio.to_thread(_write_lines, self._folder / MANIFEST, stored)

    # --- files; on a worker thread ---

    def _look(self) -> tuple[set[str], set[str]]:
        """Uids of the files that are here, and of those that were on their way in; unfinished files are removed."""
        self._folder.mkdir(parents=True, exist_ok=True)
        here, coming = set(), set()
        for path in self._folder.iterdir():
            if path.name.startswith("."):
                if path.suffix == COMING:
                    coming.add(path.stem[1:])
                with contextlib.suppress(OSError):
                    path.unlink()
            elif path.suffix == ".wav" and not path.name.endswith(".before.wav"):
                here.add(path.stem)
        return here, coming

    def _adopt(self, strange: set[str], coming: set[str]) -> tuple[list[ClipRow], list[str]]:
        """Files without a row: those that the manifest knows are clips again, the others are put aside.

        What was on its way in, and still lies where it came from, is brought again by its job.
        """
        found: list[ClipRow] = []
        aside: list[str] = []
        listed = _read_lines(self._folder / MANIFEST) if strange else {}
        for uid in sorted(strange):
            path = self._folder / f"{uid}.wav"
            row = listed.get(uid)
            if row is not None and _sha256(path) == row.sha256:
                found.append(replace(row, id=None))
                continue
            if uid in coming and path.stat().st_nlink > 1:
                path.unlink()
                continue
            self._aside.mkdir(parents=True, exist_ok=True)
            path.replace(self._aside / path.name)
            aside.append(path.name)
        return found, aside

    def _remove_files(self, uids: Iterable[str]) -> None:
        for uid in uids:
            for name in (f"{uid}.wav", f"{uid}.before.wav"):
                (self._folder / name).unlink(missing_ok=True)
                (self._aside / name).unlink(missing_ok=True)

    def _restore_files(self, step: Step) -> None:
        for row in step.before:
            for name in (f"{row.uid}.wav", f"{row.uid}.before.wav"):
                kept = self._journal.file(step, name)
                if kept is None:
                    (self._folder / name).unlink(missing_ok=True)
                else:
                    part = self._folder / f".{name}.undo"
                    part.unlink(missing_ok=True)
                    link(kept, part)
                    part.replace(self._folder / name)

    def _changed_files(self, found: Sequence[ClipRow]) -> list[ClipRow]:
        return [row for row in found if not row.uid or _sha256(self.path(row)) != row.sha256]


def data_sha256(clips: Iterable[ClipSpec]) -> str:
    """Names a dataset: the same sounds with the same texts give the same digest, in any order."""
    lines = sorted(f"{clip.uid} {clip.sha256} {clip.text}" for clip in clips)
    return hashlib.sha256("\n".join(lines).encode("utf-8", "replace")).hexdigest()


def _wired(connection: Any, found: Sequence[ClipRow]) -> list[Clip]:
    models = rows.models_of(connection, [row.uid for row in found if row.uid])
    return [wire(row, models) for row in found]


def wire(row: ClipRow, models: Mapping[str, tuple[str, ...]]) -> Clip:
    """A clip as it travels."""
    return Clip.model_validate(
        {
            "id": row.id,
            "uid": row.uid or "",
            "speaker": row.speaker,
            "source": row.source or row.filename,
            "start_s": row.start_s,
            "end_s": row.end_s,
            "duration_s": row.duration_s,
            "transcript": row.transcript,
            "text_from": row.text_from,
            "language": row.language,
            "emotion": row.emotion,
            "grade": row.grade if row.grade in ("A", "B", "C") else "",
            "reasons": row.reasons,
            "status": row.status,
            "measures": row.measures,
            "sha256": row.sha256,
            "edited": row.edited,
            "models": models.get(row.uid or "", ()),
            "created_at": row.created_at,
            "updated_at": row.updated_at or row.created_at,
        }
    )


def judged(
    row: ClipRow, grade: str, reasons: tuple[str, ...], measures: Mapping[str, float]
) -> ClipRow:
    """A clip with a grade; what the basic recogniser read is right in two words of three, so it is no better than B."""
    reasons = tuple(one for one in reasons if one != RECOGNISER_REASON)
    if row.text_from == "recogniser" and row.transcript:
        grade = "B" if grade == "A" else grade
        reasons = (*reasons, RECOGNISER_REASON)
    return replace(row, grade=grade, reasons=reasons, measures=dict(measures))


def settled(row: ClipRow) -> ClipRow:
    """A clip that nobody has looked at is accepted when its sound is good and its words can be trusted."""
    is_trusted = row.transcript and row.text_from != "recogniser"
    if row.status == "new" and is_trusted and row.grade in ("A", "B"):
        return replace(row, status="accepted")
    return row


def _changed(
    found: Sequence[ClipRow], transcript: str | None, given: Mapping[str, Any]
) -> tuple[list[ClipRow], set[str]]:
    """Clips with what is given, those that it changes, and the names of all fields that it changes."""
    changed: list[ClipRow] = []
    names: set[str] = set()
    moment = now()
    for row in found:
        new = row
        if transcript is not None and spoken(transcript) != row.transcript:
            new = _with_text(new, transcript)
        elif transcript is not None and row.text_from != "user":
            # Somebody has looked at it and says that it is right.
            new = _reviewed(new)
        new = replace(new, **given)
        if new != row:
            names |= {name for name in _all_names() if getattr(new, name) != getattr(row, name)}
            changed.append(replace(new, updated_at=moment))
    return changed, names


def _with_text(row: ClipRow, text: str) -> ClipRow:
    """A clip with a transcript that a person wrote; how well it fits is to be measured again."""
    text = spoken(text)
    measures = {name: value for name, value in row.measures.items() if name != "match"}
    reasons = tuple(r for r in row.reasons if r not in (RECOGNISER_REASON, "words differ"))
    return replace(
        row,
        transcript=text,
        text_from="user" if text else "",
        measures=measures,
        reasons=reasons,
    )


def spoken(text: str) -> str:
    """A transcript without what nobody says and screens obey: control characters, half characters, marks of direction."""
    kept = "".join(
        " " if unicodedata.category(mark)[0] == "C" and mark not in _JOINERS else mark
        for mark in text
    )
    return " ".join(kept.split())


def _reviewed(row: ClipRow) -> ClipRow:
    return replace(
        row,
        text_from="user" if row.transcript else "",
        reasons=tuple(r for r in row.reasons if r != RECOGNISER_REASON),
    )


def _with_sound(row: ClipRow, told: Mapping[str, Any]) -> ClipRow:
    """A clip with another sound, as `backend.audio.clip_edit` describes it."""
    measures = {str(name): float(value) for name, value in told["measures"].items()}
    for name in ("before_start_s", "before_end_s"):
        if name in row.measures:
            measures[name] = row.measures[name]
    new = replace(
        row,
        sha256=str(told["sha256"]),
        duration_s=float(told["duration_s"]),
        start_s=round(float(told.get("start_s", row.start_s)), 4),
        end_s=round(float(told.get("end_s", row.end_s)), 4),
        edited=True,
        updated_at=now(),
    )
    return judged(new, str(told["grade"]), tuple(told["reasons"]), measures)


def _all_names() -> tuple[str, ...]:
    return tuple(name for name in ClipRow.__slots__ if name not in ("id", "updated_at"))


def _what_changed(names: set[str], status: str | None) -> str:
    if names == {"status"}:
        return {"accepted": "acceptance", "rejected": "rejection"}.get(status or "", "reopening")
    if "transcript" in names or names == {"text_from"}:
        return "new transcript"
    if names == {"speaker"}:
        return "new speaker"
    if names == {"emotion"}:
        return "new emotion"
    return "change"


def _of(found: Sequence[ClipRow]) -> str:
    return f" of clip {found[0].id}" if len(found) == 1 else f" of {len(found)} clips"


def _take_in(source: Path, target: Path) -> str:
    """Have a job's clip in our folder, on disk for good; returns its digest. The source stays until the row is there."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_file():
        part = target.with_name(f".{target.name}.part")
        part.unlink(missing_ok=True)
        link(source, part)
        _sync([part])
        part.replace(target)
    return _sha256(target) or _missing(target)


def _clear(made: Made, mark: Path | None = None) -> None:
    """What was taken in need not lie in the job's folder too, and is not on its way any more."""
    made.path.unlink(missing_ok=True)
    if mark is not None:
        mark.unlink(missing_ok=True)
    if made.before is not None:
        made.before.unlink(missing_ok=True)


def _missing(path: Path) -> str:
    raise FileNotFoundError(f"{path.name} is not there")


def _replace_sound(new: Path, path: Path, before: Path, *, keep: bool) -> None:
    if keep:
        before.unlink(missing_ok=True)
        link(path, before)
    _sync([new])
    new.replace(path)


def _swap(before: Path, path: Path) -> None:
    before.replace(path)


def _sync(paths: Iterable[Path]) -> None:
    for path in paths:
        with path.open("rb+") as file:
            os.fsync(file.fileno())


def _sha256(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return ""


def _write_lines(path: Path, found: Iterable[ClipRow]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.part")
    with part.open("w", encoding="utf-8") as file:
        for row in found:
            if row.uid:
                line = {"file": row.filename, **row_values(row)}
                file.write(json.dumps(line, ensure_ascii=False) + "\n")
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)


def _read_lines(path: Path) -> dict[str, ClipRow]:
    found: dict[str, ClipRow] = {}
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return found
    for line in text.splitlines():
        with contextlib.suppress(ValueError, TypeError, KeyError):
            row = row_of(json.loads(line))
            wire(replace(row, id=0), {})  # every value is of the kind that it must be
            if row.uid and _UID.fullmatch(row.uid):
                found[row.uid] = row
    return found
