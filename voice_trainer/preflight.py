"""Everything that could make a training fail late, looked at first: nothing heavy is loaded, it takes a second.

Public names: `check(folder, spec, ...) -> Ready`. What fails is a `TrainerError` in words; what only hurts is a warning.
"""

from __future__ import annotations

import importlib.util
import re
import shutil
from dataclasses import dataclass
from pathlib import Path

import psutil

from voice_trainer.dataset import usable
from voice_trainer.loop import Reporter, TrainerError
from voice_trainer.protocol import ClipSpec, JobSpec, State, read_clips
from voice_trainer.text.phonemes import check_language, phonemize

LEAST_MEMORY_BYTES = 1_200 << 20  # torch, a batch of 12 clips and AdamW's state; measured 0.9 GB
SPARE_DISK_BYTES = 300 << 20
FEATURE_BYTES_PER_S = 30_000  # 66 numbers of 4 bytes a hundred times a second, and the alignment
WELL_FED_S = 60.0
FULL_FED_S = 600.0
FROM_SCRATCH_S = 3_600.0
"""Less than that is said, for a quick clone, a full training from a base, and one from nothing."""

VOICE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,79}")
KANJI = re.compile("[\u3400-\u9fff]")

LIBRARIES = ("torch", "onnx", "onnxruntime", "piper", "safetensors", "soundfile", "soxr", "numba")


@dataclass(frozen=True, slots=True)
class Ready:
    """What the checks found, for the phases that follow.

    Attributes:
        clips: Those that can be used, with absolute paths.
        digests: SHA-256 of each one's file, by uid.
        left_out: Why the others cannot, by uid.
    """

    clips: list[ClipSpec]
    digests: dict[str, str]
    left_out: dict[str, str]


def check(
    folder: Path,
    spec: JobSpec,
    reporter: Reporter,
    *,
    rates_hz: tuple[int, ...],
    checkpoint_bytes: int,
    libraries: tuple[str, ...] = LIBRARIES,
    least_memory_bytes: int = LEAST_MEMORY_BYTES,
) -> Ready:
    """Look at everything the training will need.

    Args:
        folder: The job folder.
        spec: What is wanted.
        reporter: Told of the state, and of what only hurts.
        rates_hz: Rates this trainer makes voices of.
        checkpoint_bytes: Size of one checkpoint, for the room on the disk.
        libraries: Importable names that are needed.
        least_memory_bytes: Free memory needed.

    Raises:
        TrainerError: It cannot work; the message says what to do.
    """
    reporter.state(State.PREFLIGHT)
    missing = [name for name in libraries if importlib.util.find_spec(name) is None]
    if missing:
        raise TrainerError(
            "package.missing",
            f"The trainer needs {', '.join(missing)}: pip install -r requirements.txt",
        )
    if not VOICE_NAME.fullmatch(spec.name):
        raise TrainerError(
            "job.broken",
            f"{spec.name[:80]!r} cannot name a voice: use letters, digits, - and _, like hoshi-v4.",
        )
    if spec.rate_hz not in rates_hz:
        known = " or ".join(f"{rate:,}" for rate in rates_hz)
        raise TrainerError(
            "job.rate",
            f"This trainer makes voices of {known} samples per second, not {spec.rate_hz:,}.",
        )
    try:
        check_language(spec.language)
    except ValueError as error:
        raise TrainerError("text.language", str(error)) from error
    clips, digests, left_out = usable(folder, read_clips(folder))
    seconds = sum(clip.duration_s for clip in clips)
    _check_room(folder, seconds, checkpoint_bytes * (spec.keep + 3))
    _check_memory(least_memory_bytes)
    _warn(spec, clips, seconds, left_out, reporter)
    return Ready(clips, digests, left_out)


def _check_room(folder: Path, seconds: float, checkpoint_bytes: int) -> None:
    free = shutil.disk_usage(folder).free
    needed = SPARE_DISK_BYTES + int(seconds * FEATURE_BYTES_PER_S) + checkpoint_bytes
    if free < needed:
        raise TrainerError(
            "disk.full",
            f"The disk has {free / 1e9:.1f} GB free and the training needs {needed / 1e9:.1f} GB. "
            "Make room, or keep fewer checkpoints.",
        )


def _check_memory(needed: int) -> None:
    free = psutil.virtual_memory().available
    if free < needed:
        raise TrainerError(
            "memory.full",
            f"{free / 1e9:.1f} GB of memory are free and the training needs {needed / 1e9:.1f} GB. "
            "Close other programs.",
        )


def _scarce(spec: JobSpec, seconds: float) -> str:
    """What too little material means for this kind of training; empty when it is enough."""
    so_much = f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.1f} minutes"
    if spec.trainer == "quick":
        if seconds >= WELL_FED_S:
            return ""
        return f"There are only {so_much} of clips. The voice will be recognised, but 3 to 10 minutes make it clear."
    if spec.base in ("", "none"):
        if seconds >= FROM_SCRATCH_S:
            return ""
        return (
            f"There are only {so_much} of clips. From scratch the network has to learn speaking itself: with less than an "
            "hour it learns no words. Train from a base, or take the quick clone."
        )
    if seconds >= FULL_FED_S:
        return ""
    return (
        f"There are only {so_much} of clips. A full training is worth its hours from about 30 minutes on; the quick clone "
        "is made for less."
    )


def _warn(
    spec: JobSpec,
    clips: list[ClipSpec],
    seconds: float,
    left_out: dict[str, str],
    reporter: Reporter,
) -> None:
    if left_out:
        uid, why = next(iter(left_out.items()))
        more = f", and {len(left_out) - 1} more" if len(left_out) > 1 else ""
        reporter.warning(f"{len(left_out)} clips are left out ({uid[:40]}: {why}{more}).")
    if scarce := _scarce(spec, seconds):
        reporter.warning(scarce)
    if any(KANJI.search(clip.text) and (clip.language or spec.language) == "ja" for clip in clips):
        reporter.warning(
            "Some Japanese transcripts contain kanji, which the pronunciation used here cannot read. Write them in kana."
        )
    unknown: set[str] = set()
    for clip in clips[:200]:
        unknown |= phonemize(clip.text, clip.language or spec.language).unknown
    if unknown:
        marks = " ".join(sorted(unknown)[:8])
        reporter.warning(f"Sounds that voices have no sign for are left out of the text: {marks}")
