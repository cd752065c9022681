"""Batches of clips for VITS: which clips fit, in which order they come, and how they lie side by side.

All sound of a job is one file of 16-bit samples that is mapped, not read: an hour at 22,050 Hz takes 159 MB on disk and
next to nothing in memory. The order depends on seed and epoch alone, so that a resumed run goes on with the same batches.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np
import numpy.typing as npt
import torch

FloatArray = npt.NDArray[np.float32]

HOP = 256
MARGIN = 384
"""Samples of reflection at either end, so that a clip has one frame for every hop: (FFT size - hop) / 2."""

LONGEST_CLIP_S = 15.0
"""A longer one costs memory with its square in the alignment: one such clip ends a training that ran for hours."""
SHORTEST_CLIP_S = 0.2
MOST_IDS = 600
POOL_BATCHES = 8


@dataclass(frozen=True, slots=True)
class Clip:
    """A clip in the file of samples.

    Attributes:
        text: What is said in it.
        ids: Phoneme ids as PiperVoice will give them: begin, each phoneme followed by a pad, end.
        start: First sample.
        samples: How many.
    """

    uid: str
    text: str
    ids: tuple[int, ...]
    start: int
    samples: int

    @property
    def frames(self) -> int:
        """Frames of its spectrogram."""
        return self.samples // HOP


@dataclass(frozen=True, slots=True)
class Batch:
    """Clips side by side, the shorter ones padded at their end.

    Attributes:
        ids: Phoneme ids, int64, shape (batch, most ids).
        id_counts: int64, shape (batch,).
        audio: In [-1, 1], float32, shape (batch, MARGIN + most samples + MARGIN), each clip reflected at its own ends.
        frame_counts: Frames of each spectrogram, int64, shape (batch,).
    """

    ids: torch.Tensor
    id_counts: torch.Tensor
    audio: torch.Tensor
    frame_counts: torch.Tensor

    @property
    def size(self) -> int:
        """Clips in it."""
        return self.ids.shape[0]

    def to(self, device: torch.device) -> Batch:
        """The same on a device."""
        return Batch(
            self.ids.to(device, non_blocking=True),
            self.id_counts.to(device, non_blocking=True),
            self.audio.to(device, non_blocking=True),
            self.frame_counts.to(device, non_blocking=True),
        )


def why_left_out(ids: Sequence[int], samples: int, rate_hz: int, segment: int) -> str:
    """Why a clip cannot be trained on, in words; empty when it can.

    Args:
        ids: As in `Clip`.
        samples: Its length; one shorter than a segment gets silence behind it.
        rate_hz: Of its samples.
        segment: Samples that a step looks at.
    """
    seconds = samples / rate_hz
    if seconds > LONGEST_CLIP_S:
        return (
            f"it lasts {seconds:.1f} s, more than {LONGEST_CLIP_S:.0f}; split it in the Voice tab"
        )
    if seconds < SHORTEST_CLIP_S:
        return f"it lasts {seconds:.2f} s, less than {SHORTEST_CLIP_S}"
    if len(ids) <= 3:  # begin, pad, end
        return "its transcript has nothing that is spoken"
    if len(ids) > MOST_IDS:
        return f"its transcript has {len(ids) // 2} sounds, more than {MOST_IDS // 2}; split it in the Voice tab"
    if len(ids) > max(samples, segment) // HOP:
        return (
            f"its transcript has {len(ids) // 2} sounds in {seconds:.1f} s, more than anybody speaks;"
            " check the transcript"
        )
    return ""


def append_samples(file: IO[bytes], samples: FloatArray, segment: int) -> int:
    """Write a clip behind the others as 16-bit samples, with silence up to a segment; returns how many."""
    if samples.size < segment:
        samples = np.concatenate([samples, np.zeros(segment - samples.size, np.float32)])
    file.write((np.clip(samples, -1.0, 1.0) * 32767.0).round().astype("<i2").tobytes())
    return int(samples.size)


def order(clips: Sequence[Clip], batch_size: int, seed: int, epoch: int) -> list[list[int]]:
    """Places of the clips in each batch of an epoch; every clip comes once.

    Clips of like length share a batch, which leaves less to pad; within that the order is chance.
    """
    generator = np.random.default_rng([seed, epoch])
    shuffled = generator.permutation(len(clips))
    batches: list[list[int]] = []
    pool = batch_size * POOL_BATCHES
    for begin in range(0, len(shuffled), pool):
        alike = sorted(shuffled[begin : begin + pool].tolist(), key=lambda at: clips[at].samples)
        batches += [alike[at : at + batch_size] for at in range(0, len(alike), batch_size)]
    return [batches[at] for at in generator.permutation(len(batches))]


class Sounds:
    """The file of samples, mapped for reading; close it before the file is replaced."""

    def __init__(self, path: Path) -> None:
        self._samples: npt.NDArray[np.int16] = np.memmap(path, dtype="<i2", mode="r")

    @property
    def size(self) -> int:
        """Samples in the file."""
        return int(self._samples.size)

    def clip(self, clip: Clip) -> FloatArray:
        """A clip's sound, shape (samples,)."""
        part = self._samples[clip.start : clip.start + clip.samples]
        return part.astype(np.float32) / np.float32(32767.0)


def batch(clips: Iterable[Clip], sounds: Sounds) -> Batch:
    """The clips side by side."""
    chosen = list(clips)
    most_ids = max(len(clip.ids) for clip in chosen)
    most_samples = max(clip.samples for clip in chosen)
    ids = torch.zeros(len(chosen), most_ids, dtype=torch.int64)
    audio = np.zeros((len(chosen), most_samples + 2 * MARGIN), np.float32)
    for row, clip in enumerate(chosen):
        ids[row, : len(clip.ids)] = torch.tensor(clip.ids)
        audio[row, : clip.samples + 2 * MARGIN] = np.pad(sounds.clip(clip), MARGIN, mode="reflect")
    return Batch(
        ids,
        torch.tensor([len(clip.ids) for clip in chosen]),
        torch.from_numpy(audio),
        torch.tensor([clip.frames for clip in chosen]),
    )
