"""Steps that can be taken back, on disk: what clips were before, with their sound.

A step is a folder `undo/<number>/` with `step.json` and links to the files of before. A file of a clip is only ever
replaced as a whole, so that a link keeps the old content without copying it. A step is written before the change
itself; should the program die between the two, undoing it changes nothing.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
import shutil
from collections.abc import Collection
from dataclasses import asdict, dataclass
from dataclasses import fields as fields_of
from datetime import datetime
from pathlib import Path
from typing import Any

from backend.storage.training_data import ClipRow
from voice_trainer.protocol import ProtocolError, read_json, write_json

logger = logging.getLogger(__name__)

STEPS_KEPT = 200

_NUMBER = re.compile(r"\d{6,12}")
_MOMENTS = ("created_at", "deleted_at", "updated_at")


@dataclass(frozen=True, slots=True)
class Step:
    """One change.

    Attributes:
        what: In words ("trim of clip 41").
        before: The clips as they were.
        made: Uids of clips that the change made.
        files: Names of the files of before that the step keeps; a file of a clip in ``before`` that is not among them
            was not there. Empty when only rows were changed.
        fields: Fields of the rows that were changed; what else changed since stays. Empty = all.
    """

    number: int
    what: str
    before: tuple[ClipRow, ...]
    made: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    fields: tuple[str, ...] = ()

    @property
    def uids(self) -> set[str]:
        """Every clip it is about."""
        return {row.uid for row in self.before if row.uid} | set(self.made)


class Journal:
    """The steps, oldest first; every method blocks on the disk and is called by one thread at a time.

    Args:
        folder: Where they lie.
        keep: Steps kept; the oldest go.
    """

    def __init__(self, folder: Path, keep: int = STEPS_KEPT) -> None:
        self._folder = folder
        self._keep = keep
        self._steps: list[Step] = []

    @property
    def last(self) -> Step | None:
        """What an undo would take back; does not look at the disk."""
        return self._steps[-1] if self._steps else None

    @property
    def steps(self) -> tuple[Step, ...]:
        """All of them, oldest first."""
        return tuple(self._steps)

    @property
    def uids(self) -> set[str]:
        """Every clip that some step is about."""
        return set().union(*(step.uids for step in self._steps))

    def open(self) -> None:
        """Read the steps; what was cut short or cannot be read is removed."""
        self._folder.mkdir(parents=True, exist_ok=True)
        self._steps = []
        for path in sorted(self._folder.iterdir()):
            if not path.is_dir() or not _NUMBER.fullmatch(path.name):
                _remove(path)
                continue
            try:
                self._steps.append(_step(int(path.name), read_json(path / "step.json")))
            except (ProtocolError, ValueError, TypeError, KeyError) as error:
                logger.warning(
                    "the undo step %s cannot be read and is removed: %s", path.name, error
                )
                _remove(path)
        self._steps.sort(key=lambda step: step.number)

    def add(
        self,
        what: str,
        before: Collection[ClipRow],
        *,
        made: Collection[str] = (),
        files: Collection[Path] = (),
        fields: tuple[str, ...] = (),
    ) -> list[Step]:
        """Write a step down; returns the old ones that went to make room."""
        number = self._steps[-1].number + 1 if self._steps else 1
        kept = [path for path in files if path.is_file()]
        step = Step(
            number,
            what,
            tuple(before),
            tuple(made),
            tuple(path.name for path in kept),
            fields,
        )
        part = self._folder / f"{number:06d}.part"
        _remove(part)
        part.mkdir(parents=True)
        for path in kept:
            link(path, part / path.name)
        self._write(step, part)
        part.rename(self._place(step))
        self._steps.append(step)
        gone = self._steps[: max(0, len(self._steps) - self._keep)]
        for old in gone:
            self.drop(old)
        return gone

    def file(self, step: Step, name: str) -> Path | None:
        """A file of before that the step keeps; None when it was not there."""
        return self._place(step) / name if name in step.files else None

    def drop(self, step: Step) -> None:
        """Forget a step."""
        self._steps = [one for one in self._steps if one.number != step.number]
        _remove(self._place(step))

    def forget(self, uids: Collection[str]) -> None:
        """Remove every trace of these clips."""
        gone = set(uids)
        for step in list(self._steps):
            if not step.uids & gone:
                continue
            rest = Step(
                step.number,
                step.what,
                tuple(row for row in step.before if row.uid not in gone),
                tuple(uid for uid in step.made if uid not in gone),
                tuple(name for name in step.files if name.partition(".")[0] not in gone),
                step.fields,
            )
            if not rest.before and not rest.made:
                self.drop(step)
                continue
            self._write(rest, self._place(step))
            for name in set(step.files) - set(rest.files):
                (self._place(step) / name).unlink(missing_ok=True)
            self._steps = [rest if one.number == rest.number else one for one in self._steps]

    def _place(self, step: Step) -> Path:
        return self._folder / f"{step.number:06d}"

    def _write(self, step: Step, folder: Path) -> None:
        write_json(
            folder / "step.json",
            {
                "what": step.what,
                "before": [row_values(row) for row in step.before],
                "made": list(step.made),
                "files": list(step.files),
                "fields": list(step.fields),
            },
        )


def link(source: Path, target: Path) -> None:
    """Have the same content under a second name; copied where the disk knows no links."""
    try:
        os.link(source, target)
    except OSError:
        part = target.with_name(f"{target.name}.part")
        shutil.copyfile(source, part)
        part.replace(target)


def row_values(row: ClipRow) -> dict[str, Any]:
    """A clip as JSON."""
    values = asdict(row)
    for name in _MOMENTS:
        values[name] = values[name].isoformat() if values[name] else None
    return values


def row_of(values: Any) -> ClipRow:
    """A clip from what `row_values` made of it.

    Raises:
        ValueError, TypeError, KeyError: It is none.
    """
    if not isinstance(values, dict):
        raise ValueError("it is no object")
    names = {one.name for one in fields_of(ClipRow)}
    found = {name: value for name, value in values.items() if name in names}
    for name in _MOMENTS:
        found[name] = datetime.fromisoformat(found[name]) if found.get(name) else None
    if found["created_at"] is None:
        raise ValueError("a clip without a date")
    return ClipRow(**(found | {"reasons": tuple(found.get("reasons", ()))}))


def _step(number: int, found: Any) -> Step:
    if not isinstance(found, dict):
        raise ValueError("it holds no object")
    names = tuple(str(name) for name in found["files"])
    if any("/" in name or "\\" in name or name in (".", "..") for name in names):
        raise ValueError("it names files outside of its folder")
    checked = tuple(str(name) for name in found.get("fields", ()))
    if unknown := set(checked) - set(ClipRow.__slots__):
        raise ValueError(f"it changes fields that clips do not have: {unknown}")
    return Step(
        number,
        str(found["what"]),
        tuple(row_of(values) for values in found["before"]),
        tuple(str(uid) for uid in found["made"]),
        names,
        checked,
    )


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with contextlib.suppress(OSError):
            path.unlink()
