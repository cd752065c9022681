"""The command ``process``: uploads to graded clips, and later (``{"phase": "check"}``) whether their texts fit.

    job.json options:  denoise: bool   min_clip_s, max_clip_s: seconds   phase: "cut" (default) | "check"

A job that was cut short goes on: files that were finished are left alone, clips that were told are not told again.
"""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

from voice_trainer.clips import check, transcripts
from voice_trainer.clips.cut import Order
from voice_trainer.clips.pool import PROCESSES, Pool, Result, sizes, usable_cores
from voice_trainer.clips.segment import Limits
from voice_trainer.loop import Reporter, Steering, TrainerError
from voice_trainer.protocol import (
    JobSpec,
    ProgressReader,
    State,
    UploadSpec,
    read_job,
    read_uploads,
)

CLIPS = "clips"
BYTES_PER_S = 96_000.0  # a guess for the share of the work, until files say how long they are


def run(folder: Path, reporter: Reporter) -> None:
    """Do what the job's options say.

    Raises:
        TrainerError: Nothing is left to cut, or an option makes no sense.
        Stopped: The work shall end.
        OSError: The disk is full.
    """
    spec = read_job(folder)
    phase = spec.options.get("phase", "cut")
    if phase == "check":
        check.run(folder, reporter)
    elif phase == "cut":
        cut(folder, reporter, spec)
    else:
        raise TrainerError(
            "job.broken", f"process knows the phases cut and check, not {str(phase)[:40]!r}."
        )


def cut(folder: Path, reporter: Reporter, spec: JobSpec) -> None:
    """Cut every upload that was not finished by an earlier run."""
    uploads = read_uploads(folder)
    if not uploads:
        raise TrainerError("data.none", "No files were given. Drop recordings on the window first.")
    steering = Steering(folder)
    reporter.state(State.PROCESS, f"{len(uploads)} files")
    earlier = _Earlier(folder)
    book = transcripts.read_all(uploads)
    for name, problem in book.problems.items():
        upload = next(one for one in uploads if one.id == name)
        if upload.id not in earlier.finished:
            reporter.line(
                "file",
                upload=upload.id,
                filename=upload.filename,
                problem=problem,
                seconds=0.0,
                clips=0,
            )
    target = folder / CLIPS
    target.mkdir(exist_ok=True)
    for left in target.glob(".clip-*"):  # half a clip of a run that was killed
        with contextlib.suppress(OSError):
            left.unlink()
    orders = [
        _order(upload, spec, book, target, earlier.clips.get(upload.id, frozenset()))
        for upload in uploads
        if upload.kind == "sound" and upload.id not in earlier.finished
    ]
    work = _Work(reporter, orders, earlier, len(uploads))
    with Pool(min(PROCESSES, usable_cores(), max(len(orders), 1))) as pool:
        pool.run(
            orders,
            on_clip=work.clip,
            on_seconds=work.seconds,
            on_result=work.result,
            obey=lambda: steering.obey(reporter),
            most=lambda: steering.threads,
        )
    _tell_transcripts(uploads, book, earlier, reporter)
    for line in book.unmatched():
        reporter.warning(line)
    if not work.clips_made:
        raise TrainerError("data.none", work.nothing())
    reporter.done(work.summary())


def _order(
    upload: UploadSpec,
    spec: JobSpec,
    book: transcripts.Book,
    target: Path,
    skip: frozenset[str],
) -> Order:
    entry = book.of(upload)
    text, text_from = upload.text, "prompt" if upload.is_prompt else "import"
    if entry is not None and not text:
        text = entry.text
    return Order(
        upload=upload.id,
        path=upload.path,
        name=upload.filename or Path(upload.path).name,
        folder=str(target),
        text=" ".join(text.split()),
        text_from=text_from,
        speaker=upload.speaker or (entry.speaker if entry else "") or spec.speaker,
        emotion=upload.emotion or (entry.emotion if entry else ""),
        language=upload.language or spec.language,
        is_whole=upload.is_prompt,
        cues=() if text else book.cues_of(upload),
        denoise=bool(spec.options.get("denoise", False)),
        limits=limits_of(spec.options),
        skip=skip,
    )


def limits_of(options: dict[str, Any]) -> Limits:
    """How long clips may be, from the job's options.

    Raises:
        TrainerError: They contradict each other.
    """
    usual = Limits()
    try:
        shortest_s = float(options.get("min_clip_s") or usual.shortest_s)
        longest_s = float(options.get("max_clip_s") or usual.longest_s)
    except (TypeError, ValueError) as error:
        raise TrainerError("job.broken", "min_clip_s and max_clip_s are seconds.") from error
    if not 0.5 <= shortest_s < longest_s <= usual.never_s:
        raise TrainerError(
            "job.broken",
            f"Clips of {shortest_s:g} to {longest_s:g} s cannot be made: from 0.5 up to {usual.never_s:g} s, shortest first.",
        )
    return Limits(shortest_s, longest_s, min(longest_s + 2.0, usual.never_s))


def _tell_transcripts(
    uploads: list[UploadSpec], book: transcripts.Book, earlier: _Earlier, reporter: Reporter
) -> None:
    """Lists of transcripts are files too: say what became of them."""
    for upload in uploads:
        is_told = upload.id in earlier.finished or upload.id in book.problems
        if upload.kind == "transcripts" and not is_told:
            reporter.line(
                "file",
                upload=upload.id,
                filename=upload.filename,
                problem="",
                seconds=0.0,
                clips=0,
                texts=book.texts_of(upload),
            )


class _Earlier:
    """What runs before this one have told: ends of files, and ids of clips per upload."""

    def __init__(self, folder: Path) -> None:
        self.finished: set[str] = set()
        self.clips_of: dict[str, set[str]] = {}
        self.seconds = 0.0
        self.grades = {"A": 0, "B": 0, "C": 0}
        for line in ProgressReader(folder).read():
            if line["kind"] == "file":
                self.finished.add(str(line.get("upload")))
                self.seconds += float(line.get("seconds") or 0.0)
            elif line["kind"] == "clip" and line.get("uid"):
                uids = self.clips_of.setdefault(str(line.get("upload")), set())
                if str(line["uid"]) not in uids and line.get("grade") in self.grades:
                    self.grades[line["grade"]] += 1
                uids.add(str(line["uid"]))

    @property
    def clips(self) -> dict[str, frozenset[str]]:
        """Ids of clips per upload."""
        return {upload: frozenset(uids) for upload, uids in self.clips_of.items()}


class _Work:
    """Counts and tells while files are cut."""

    def __init__(
        self, reporter: Reporter, orders: list[Order], earlier: _Earlier, files: int
    ) -> None:
        self._reporter = reporter
        self._files = files
        self._ended = files - len(orders)
        self._bytes = dict(sizes_of(orders))
        self._share: dict[str, float] = {}
        self._seen = {uid for uids in earlier.clips.values() for uid in uids}
        self.clips_made = len(self._seen)
        self._seconds = earlier.seconds
        self._grades = dict(earlier.grades)
        self._refused: list[str] = []

    def clip(self, line: dict[str, Any]) -> None:
        """A clip is finished."""
        if line["uid"] in self._seen:
            return
        self._seen.add(line["uid"])
        self.clips_made += 1
        self._grades[line["grade"]] += 1
        self._reporter.line("clip", **line)

    def seconds(self, order: Order, seconds: float) -> None:
        """So much of a file has been read."""
        size = self._bytes.get(order.upload, 0)
        self._share[order.upload] = min(seconds * BYTES_PER_S / max(size, 1), 0.95)
        total = sum(self._bytes.values()) or 1
        done = sum(self._bytes.get(one, 0) * share for one, share in self._share.items())
        self._reporter.progress(
            fraction=round(done / total, 4),
            message=f"{order.name[:60]}: {seconds / 60:.0f} min read, {self.clips_made} clips so far",
        )

    def result(self, result: Result) -> None:
        """A file is finished or refused."""
        self._ended += 1
        self._share[result.order.upload] = 1.0
        told = dict(result.told)
        seconds = float(told.pop("seconds", 0.0))
        self._seconds += seconds
        if result.problem:
            self._refused.append(result.problem)
        for line in told.get("warnings", ()):
            self._reporter.warning(line)
        self._reporter.line(
            "file",
            upload=result.order.upload,
            filename=result.order.name,
            problem=result.problem,
            seconds=seconds,
            clips=int(told.pop("clips", 0)),
            sha256=result.sha256,
            rate_hz=int(told.get("measures", {}).get("rate_hz", 0)),
            **told,
        )
        total = sum(self._bytes.values()) or 1
        done = sum(self._bytes.get(one, 0) * share for one, share in self._share.items())
        self._reporter.progress(
            fraction=round(done / total, 4),
            message=f"{self._ended} of {self._files} files, {self.clips_made} clips",
        )

    def nothing(self) -> str:
        """Why there is no clip at all, in words."""
        first = f" The first of {len(self._refused)}: {self._refused[0]}" if self._refused else ""
        return f"Not one clip could be made of {self._files} files.{first}"

    def summary(self) -> dict[str, Any]:
        """The result of the job."""
        return {
            "files": self._files,
            "refused": len(self._refused),
            "clips": self.clips_made,
            "seconds": round(self._seconds, 1),
            "grades": self._grades,
        }


def sizes_of(orders: list[Order]) -> dict[str, int]:
    """Bytes per upload."""
    return {order.upload: size for order, size in sizes(orders)}
