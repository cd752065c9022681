"""What a training has left behind so far: its checkpoints with samples and scores, its curve, its pictures.

Everything is read from the job's folder (``progress.jsonl`` and our own ``heard.json``), so it is the same while the
training runs, after it ended and after a crash. A `History` is read on worker threads.
"""

from __future__ import annotations

import json
import logging
import re
import shutil
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from backend.contracts.errors import NotFoundError
from backend.contracts.training import Checkpoint, CheckpointScores, LossPoint
from voice_trainer.protocol import (
    CHECKPOINTS,
    SAMPLES,
    ProgressReader,
    ProtocolError,
    read_json,
    write_json,
)

logger = logging.getLogger(__name__)

HEARD = "heard.json"
"""Ours, in the job's folder: path of a sample to the share of its words that a recogniser understood."""

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,79}")
SAMPLE_FILE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,119}\.wav")
BEFORE = "before"
"""Stands where a checkpoint's name does for what the base said; it is no checkpoint that could be asked for."""
MOST_POINTS = 4096
LONG_AGO = datetime.fromtimestamp(0, UTC)
LARGEST_PICTURE_BYTES = 8 << 20
LARGEST_STEP = 2**53


@dataclass(slots=True)
class Saved:
    """A checkpoint as its training told of it."""

    name: str
    step: int
    path: Path
    at: datetime
    is_best: bool = False
    size_bytes: int = 0
    loss: float | None = None
    scores: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Sample:
    """The test sentence, spoken."""

    step: int
    path: Path
    text: str
    checkpoint: str = ""
    at: datetime = LONG_AGO


class History:
    """A job's past, read on from where it was read last.

    Args:
        folder: The job's.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder.absolute()
        self.checkpoints: dict[str, Saved] = {}
        self.samples: list[Sample] = []
        self.target: Path | None = None
        self.made: Path | None = None
        self._points: list[LossPoint] = []
        self._reader = ProgressReader(self.folder)
        self._reading = threading.Lock()
        self._heard: dict[str, float] = {}

    def refresh(self) -> History:
        """Read what is new; blocks for some ms per thousand lines."""
        with self._reading:
            try:
                for line in self._reader.read():
                    try:
                        self._feed(line)
                    except (KeyError, TypeError, ValueError, OverflowError):
                        logger.warning("job %s: a line makes no sense", self.folder.name)
            except OSError as error:
                logger.warning("job %s: its past cannot be read: %s", self.folder.name, error)
            self._heard = _heard(self.folder)
            for name in [name for name, one in self.checkpoints.items() if not _exists(one.path)]:
                del self.checkpoints[name]
        return self

    def wire(self) -> list[Checkpoint]:
        """The checkpoints, the newest first; at the end what the base said before the first step, if it was kept."""
        ordered = sorted(self.checkpoints.values(), key=lambda one: (one.step, one.at))
        last = ordered[-1].name if ordered else ""
        found = [self._wire(one, is_last=one.name == last) for one in reversed(ordered)]
        first = next((one for one in self.samples if one.step == 0 and not one.checkpoint), None)
        if first is not None and not any(one.step == 0 for one in found):
            found.append(self._before_training(first))
        return found

    def losses(self, limit: int) -> list[LossPoint]:
        """The curve in at most ``limit`` points: each is the mean of its neighbours, at the step of the last of them."""
        with self._reading:
            points = [*self._points]
        while len(points) > max(2, limit):
            points = _halved(points)
        return points

    def known(self, name: str) -> Saved:
        """One checkpoint.

        Raises:
            NotFoundError: There is none of that name.
        """
        found = self.checkpoints.get(name)
        if found is None:
            raise NotFoundError(
                f"Job {self.folder.name} has no checkpoint {name[:80]!r}; old ones are removed to make room."
            )
        return found

    def hear(self, sample: Sample, share: float) -> None:
        """Keep how much of a sample was understood; blocks."""
        with self._reading:
            heard = _heard(self.folder) | {sample.path.name: share}
            write_json(self.folder / HEARD, heard)
            self._heard = heard

    def forget(self, name: str) -> None:
        """Delete a checkpoint's files; blocks.

        Raises:
            NotFoundError: There is none of that name.
        """
        saved = self.known(name)
        with self._reading:
            if saved.path.is_dir():
                shutil.rmtree(saved.path, ignore_errors=True)
            else:
                saved.path.unlink(missing_ok=True)
            self.checkpoints.pop(name, None)

    def _feed(self, line: Mapping[str, Any]) -> None:
        match line["kind"]:
            case "progress":
                self._feed_loss(line)
            case "checkpoint":
                self._feed_checkpoint(line)
            case "dropped":
                self.checkpoints.pop(str(line["id"]), None)
            case "sample":
                path = inside(self.folder / SAMPLES, self.folder, str(line["path"]))
                if path is not None and SAMPLE_FILE.fullmatch(path.name):
                    name = str(line.get("checkpoint") or "")
                    at = datetime.fromtimestamp(float(line["at"]), UTC)
                    text = str(line.get("text") or "")
                    self.samples.append(Sample(int(line["step"]), path, text, name, at))
            case "scores":
                saved = self.checkpoints.get(str(line["checkpoint"]))
                if saved is not None:
                    saved.scores = {
                        name: float(value)
                        for name, value in line.items()
                        if name in CheckpointScores.model_fields and isinstance(value, int | float)
                    }
            case "picture":
                self.target = inside(self.folder, self.folder, str(line["target"]))
                self.made = inside(self.folder, self.folder, str(line["made"]))

    def _feed_loss(self, line: Mapping[str, Any]) -> None:
        losses, step = line.get("loss"), line.get("step")
        if (
            not isinstance(losses, dict)
            or not isinstance(step, int)
            or not 0 <= step <= LARGEST_STEP
        ):
            return
        train, held = losses.get("train"), losses.get("validation")
        point = LossPoint(step=step, train=train, validation=held)
        # A resumed training begins again at its checkpoint: what came after it was lost.
        while self._points and self._points[-1].step >= step:
            self._points.pop()
        self._points.append(point)
        if len(self._points) > MOST_POINTS:
            self._points = _halved(self._points)

    def _feed_checkpoint(self, line: Mapping[str, Any]) -> None:
        name = str(line["id"])
        path = inside(self.folder / CHECKPOINTS, self.folder, str(line["path"]))
        if path is None or not NAME.fullmatch(name):
            return
        losses = line.get("loss")
        losses = losses if isinstance(losses, dict) else {}
        loss = losses.get("validation", losses.get("train"))
        is_best = bool(line.get("is_best"))
        if is_best:
            for other in self.checkpoints.values():
                other.is_best = False
        self.checkpoints[name] = Saved(
            name=name,
            step=int(line["step"]),
            path=path,
            at=datetime.fromtimestamp(float(line["at"]), UTC),
            is_best=is_best,
            size_bytes=int(line.get("size_bytes") or 0),
            loss=float(loss) if isinstance(loss, int | float) else None,
        )

    def sample_of(self, saved: Saved) -> Sample | None:
        """The newest test sentence spoken by a checkpoint: its own, or one of the same step."""
        for sample in reversed(self.samples):
            if sample.checkpoint == saved.name:
                return sample
            if not sample.checkpoint and sample.step == saved.step:
                return sample
        return None

    def _before_training(self, sample: Sample) -> Checkpoint:
        """Something to compare with; there are no weights to export or to go on from."""
        words = self._heard.get(sample.path.name)
        return Checkpoint(
            id=f"{self.folder.name}:{BEFORE}",
            job_id=self.folder.name,
            step=0,
            sample_url=sample_url(self.folder.name, sample.path.name),
            sample_text=sample.text,
            scores=CheckpointScores(clear_words=words),
            created_at=sample.at,
        )

    def _wire(self, saved: Saved, *, is_last: bool) -> Checkpoint:
        sample = self.sample_of(saved)
        scores: dict[str, float | None] = {"loss": saved.loss, **saved.scores}
        if sample is not None and sample.path.name in self._heard:
            scores["clear_words"] = self._heard[sample.path.name]
        return Checkpoint(
            id=f"{self.folder.name}:{saved.name}",
            job_id=self.folder.name,
            step=saved.step,
            is_best=saved.is_best,
            is_last=is_last,
            size_bytes=saved.size_bytes,
            sample_url=sample_url(self.folder.name, sample.path.name) if sample else "",
            sample_text=sample.text if sample else "",
            scores=CheckpointScores(**scores),
            created_at=saved.at,
        )


def sample_url(job_id: str, file: str) -> str:
    """Where a sample is heard."""
    return f"/api/voice/samples/{job_id}/{file}"


def inside(folder: Path, base: Path, told: str) -> Path | None:
    """The path that a line tells, relative to ``base``; None when it does not lie in ``folder``, links followed."""
    try:
        path = (base / told).resolve()
        return path if path.is_relative_to(folder.resolve()) and path != folder.resolve() else None
    except (OSError, ValueError, RuntimeError):
        return None


def decoded(raw: bytes) -> dict[str, Any] | None:
    """One line of progress.jsonl, None when it is none."""
    try:
        line = json.loads(raw)
    except (ValueError, RecursionError):
        return None
    return line if isinstance(line, dict) and isinstance(line.get("kind"), str) else None


def _heard(folder: Path) -> dict[str, float]:
    try:
        found = read_json(folder / HEARD)
    except ProtocolError:
        return {}
    if not isinstance(found, dict):
        return {}
    return {
        name: float(value)
        for name, value in found.items()
        if isinstance(value, int | float) and 0 <= value <= 1
    }


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:  # a name that no disk can hold
        return False


def _halved(points: list[LossPoint]) -> list[LossPoint]:
    """Two neighbours become one; the last point stays as it is."""
    *body, last = points
    return [_mean(body[n : n + 2]) for n in range(0, len(body), 2)] + [last]


def _mean(pair: list[LossPoint]) -> LossPoint:
    trained = [one.train for one in pair if one.train is not None]
    held = [one.validation for one in pair if one.validation is not None]
    return LossPoint(
        step=pair[-1].step,
        train=sum(trained) / len(trained) if trained else None,
        validation=sum(held) / len(held) if held else None,
    )
