"""The clips of a job as the full trainer needs them: one file of samples, and a list of phoneme ids and places in it."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from backend.audio.decode import decode
from backend.audio.errors import AudioError
from voice_trainer.loop import TrainerError
from voice_trainer.protocol import (
    DATASET,
    ClipSpec,
    JobSpec,
    ProtocolError,
    read_clips,
    read_json,
    write_json,
)
from voice_trainer.text.phonemes import BEGIN, END, PAD, id_map, phonemize
from voice_trainer.vits.batches import Clip, Sounds, append_samples, why_left_out
from voice_trainer.vits.network import Quality

SAMPLES, LIST = "vits.pcm", "vits.json"
LONGEST_READ_S = 120.0

Tick = Callable[[float, str], None]
"""Told how far the work is (0-1) and what it does; may raise to end it."""


@dataclass(frozen=True, slots=True)
class Dataset:
    """What is trained on.

    Attributes:
        clips: Those that fit, in the order of the job.
        left_out: Id of each other clip and why it is left out.
    """

    clips: tuple[Clip, ...]
    left_out: tuple[tuple[str, str], ...]
    path: Path

    def sounds(self) -> Sounds:
        """The samples, mapped."""
        return Sounds(self.path)


def phoneme_ids(text: str, language: str) -> tuple[int, ...]:
    """Ids as PiperVoice gives them to a voice: begin, a pad behind begin and behind each phoneme, end.

    Raises:
        ValueError: There is no such language.
    """
    known = id_map()
    (pad,) = known[PAD]
    begin, *inner, end = phonemize(text, language).ids
    assert [begin, end] == [*known[BEGIN], *known[END]]
    padded = [begin, pad]
    for one in inner:
        padded += [one, pad]
    return (*padded, end)


def prepare(folder: Path, spec: JobSpec, quality: Quality, tick: Tick) -> Dataset:
    """Make the files, or take those of an earlier run when nothing changed.

    Raises:
        TrainerError: data.none (no clip fits), data.changed (a clip is not the file it was), text.language.
    """
    wanted = read_clips(folder)
    target = folder / DATASET
    digest = _digest(wanted, spec.language, quality)
    found = _made_before(target, digest)
    if found is not None:
        return found
    target.mkdir(parents=True, exist_ok=True)
    clips: list[Clip] = []
    left_out: list[tuple[str, str]] = []
    at = 0
    half = target / f".{SAMPLES}.half"
    with half.open("wb") as file:
        for number, one in enumerate(wanted):
            tick(number / len(wanted), f"clip {number + 1:,} of {len(wanted):,}")
            try:
                ids = phoneme_ids(one.text, spec.language)
            except ValueError as error:
                raise TrainerError("text.language", str(error)) from error
            try:
                sound = decode(
                    _checked(folder, one), rate_hz=quality.rate_hz, max_s=LONGEST_READ_S
                ).samples
            except AudioError as error:
                left_out.append((one.uid, str(error)))
                continue
            why = why_left_out(ids, max(sound.size, quality.segment), quality.rate_hz)
            why = why or why_left_out((1,) * 4, sound.size, quality.rate_hz)
            if why:
                left_out.append((one.uid, why))
                continue
            count = append_samples(file, sound, quality.segment)
            clips.append(Clip(one.uid, ids, at, count))
            at += count
        file.flush()
        os.fsync(file.fileno())
    if not clips:
        reason = f" The first one: {left_out[0][1]}." if left_out else ""
        raise TrainerError(
            "data.none",
            f"None of the {len(wanted)} clips can be trained on.{reason} Record or import some in the Voice tab.",
        )
    half.replace(target / SAMPLES)
    write_json(
        target / LIST,
        {"digest": digest, "clips": [asdict(clip) for clip in clips], "left_out": left_out},
    )
    return Dataset(tuple(clips), tuple(left_out), target / SAMPLES)


def _made_before(target: Path, digest: str) -> Dataset | None:
    try:
        stored = read_json(target / LIST)
        if stored["digest"] != digest:
            return None
        clips = tuple(
            Clip(one["uid"], tuple(one["ids"]), one["start"], one["samples"])
            for one in stored["clips"]
        )
        size = (target / SAMPLES).stat().st_size
    except (ProtocolError, OSError, KeyError, TypeError):
        return None
    if not clips or size != 2 * sum(clip.samples for clip in clips):
        return None
    left_out = tuple((uid, why) for uid, why in stored["left_out"])
    return Dataset(clips, left_out, target / SAMPLES)


def _checked(folder: Path, clip: ClipSpec) -> Path:
    path = folder / clip.path  # an absolute path stays one
    try:
        if clip.sha256 and clip.sha256 != _sha256(path):
            raise TrainerError(
                "data.changed",
                f"The clip {path.name} is not the recording it was when the training was ordered. Start a new"
                " training with the clips as they are now.",
            )
    except OSError as error:
        raise TrainerError(
            "data.changed",
            f"The clip {path.name} cannot be read ({error.strerror}). Start a new training with the clips that are"
            " there.",
        ) from error
    return path


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _digest(clips: list[ClipSpec], language: str, quality: Quality) -> str:
    """Of everything that the files depend on; 2: the way they are made."""
    content = [[one.uid, one.path, one.sha256, one.text] for one in clips]
    text = json.dumps([2, language, quality.rate_hz, quality.segment, content])
    return hashlib.sha256(text.encode()).hexdigest()
