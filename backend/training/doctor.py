"""What is wrong with a dataset, in words and figures: the trainer examines, the report is kept and told.

A report names clips by their uid on disk and by their id on the wire; it is outdated as soon as the clips it was about
are not the same any more.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, get_args

from backend.contracts.errors import InvalidInputError, NotFoundError
from backend.contracts.events import DoctorReported
from backend.contracts.training import DoctorReport, Finding, FindingSeverity
from backend.core.clock import now
from backend.storage.training_data import ClipRow
from backend.training.clips import Clips, data_sha256
from backend.training.jobs import Jobs, Run
from backend.training.speakers import Speakers
from voice_trainer.protocol import (
    JobSpec,
    ProgressReader,
    ProtocolError,
    read_clips,
    read_json,
    write_clips,
    write_json,
)

logger = logging.getLogger(__name__)

SEVERITIES = frozenset(get_args(FindingSeverity))


class Doctor:
    """The `Work` of examinations, their start and their reports; all methods are for the backend's loop.

    Args:
        jobs: Runs them.
        speakers, clips: What it works on.
        folder: Where reports are kept, one a speaker.
    """

    can_resume = True

    def __init__(self, jobs: Jobs, *, speakers: Speakers, clips: Clips, folder: Path) -> None:
        self._jobs = jobs
        self._speakers = speakers
        self._clips = clips
        self._folder = folder

    async def start(self, speaker_id: str) -> str:
        """Queue an examination of a speaker's clips; returns the job's id.

        Raises:
            NotFoundError: There is no such speaker.
            InvalidInputError: There are no clips.
        """
        speaker = self._speakers.known(speaker_id)
        rows = await self._examined(speaker_id)
        if not rows:
            raise InvalidInputError(
                f"{speaker.name} has no clips to examine. Record or import some first."
            )
        specs = self._clips.specs(rows)
        recorded = sorted({row.prompt_id for row in rows if row.prompt_id})
        job = await self._jobs.start(
            "doctor",
            JobSpec(
                id="",
                command="doctor",
                name=speaker.name,
                speaker=speaker_id,
                language=speaker.language,
                options={"recorded": recorded},
            ),
            prepare=lambda folder: write_clips(folder, specs),
        )
        return job.id

    async def report(self, speaker_id: str) -> DoctorReport:
        """The last report.

        Raises:
            NotFoundError: There is no such speaker, or nobody examined the clips.
        """
        speaker = self._speakers.known(speaker_id)
        found = await asyncio.to_thread(self._read, speaker_id)
        if found is None:
            raise NotFoundError(
                f"The clips of {speaker.name} were not examined yet. POST /api/voice/doctor does it."
            )
        rows = await self._clips.of_speaker(speaker_id)
        ids = {row.uid: row.id for row in rows if row.uid and row.id is not None}
        examined = self._clips.specs(await self._examined(speaker_id))
        try:
            return _wire(speaker_id, found, ids, data_sha256(examined))
        except (ValueError, TypeError, KeyError) as error:
            raise NotFoundError(
                f"The last report on {speaker.name} cannot be read ({error}). Examine the clips again."
            ) from error

    async def forget(self, speaker_id: str) -> None:
        """Remove the report on a speaker."""
        await asyncio.to_thread(self._place(speaker_id).unlink, missing_ok=True)

    # --- the work of a job ---

    async def work(self, run: Run) -> dict[str, object]:
        """Examine, keep the report, tell."""
        await run.trainer("doctor")
        found = await asyncio.to_thread(_collected, run.folder)
        specs = await asyncio.to_thread(read_clips, run.folder)
        found |= {"at": now().isoformat(), "data_sha256": data_sha256(specs)}
        speaker = run.job.speaker
        self._speakers.known(speaker)  # removed meanwhile: nothing of it is kept
        findings: Sequence[Mapping[str, Any]] = found["findings"]
        problems = sum(one["severity"] == "problem" for one in findings)
        warnings = sum(one["severity"] == "warning" for one in findings)
        found["verdict"] = found.get("verdict") or _verdict(problems, warnings)
        await asyncio.to_thread(write_json, self._place(speaker), found)
        run.publish(
            DoctorReported(
                speaker=speaker, problems=problems, warnings=warnings, verdict=found["verdict"]
            )
        )
        return {"summary": found["verdict"], "problems": problems, "warnings": warnings}

    async def on_line(self, run: Run, line: dict[str, Any]) -> None:
        """Findings are read when all are there."""

    # --- inside ---

    async def _examined(self, speaker_id: str) -> list[ClipRow]:
        """Accepted clips; while none is accepted, all that are not rejected."""
        rows = [row for row in await self._clips.of_speaker(speaker_id) if row.uid]
        accepted = [row for row in rows if row.status == "accepted"]
        return accepted or [row for row in rows if row.status != "rejected"]

    def _place(self, speaker_id: str) -> Path:
        return self._folder / f"{speaker_id}.json"

    def _read(self, speaker_id: str) -> dict[str, Any] | None:
        try:
            found = read_json(self._place(speaker_id))
        except ProtocolError:
            return None
        return found if isinstance(found, dict) else None


def _collected(folder: Path) -> dict[str, Any]:
    """Findings and figures of the last run in a job's folder."""
    findings: list[dict[str, Any]] = []
    report: dict[str, Any] = {}
    for line in ProgressReader(folder).read():
        if line["kind"] == "state" and line.get("state") == "examine":
            findings, report = [], {}
        elif line["kind"] == "finding" and line.get("severity") in SEVERITIES:
            findings.append(line)
        elif line["kind"] == "report":
            report = {key: value for key, value in line.items() if key not in ("kind", "at")}
    return {**report, "findings": findings}


def _verdict(problems: int, warnings: int) -> str:
    if problems:
        return f"{problems} problem{'s' if problems > 1 else ''} to solve before training."
    if warnings:
        return f"Good enough to train; {warnings} thing{'s' if warnings > 1 else ''} would make it better."
    return "Ready to train."


def _numbered(words: str, ids: Mapping[str, int]) -> str:
    """The same words with the clips' numbers, which people see, instead of their uids."""
    return re.sub(
        r"\b[0-9a-f]{20}\b",
        lambda found: f"clip {ids[found[0]]}" if found[0] in ids else found[0],
        words,
    )


def _wire(
    speaker_id: str, found: Mapping[str, Any], ids: Mapping[str, int], sha256: str
) -> DoctorReport:
    findings = tuple(
        Finding(
            code=str(one["code"]),
            severity=one["severity"],
            title=str(one["title"]),
            detail=_numbered(str(one.get("detail") or ""), ids),
            fix=str(one.get("fix") or ""),
            clips=tuple(ids[uid] for uid in one.get("clips") or () if uid in ids),
            value=one.get("value"),
        )
        for one in found["findings"]
    )
    lengths = tuple((float(a), float(b), int(n)) for a, b, n in found.get("lengths") or ())
    return DoctorReport(
        speaker=speaker_id,
        at=datetime.fromisoformat(found["at"]),
        outdated=found.get("data_sha256") != sha256,
        verdict=str(found["verdict"]),
        findings=findings,
        minutes={str(key): float(value) for key, value in (found.get("minutes") or {}).items()},
        lengths=lengths,
        coverage=float(found.get("coverage") or 0.0),
        missing=tuple(str(one) for one in found.get("missing") or ()),
        suggestions=tuple(str(one) for one in found.get("suggestions") or ()),
    )
