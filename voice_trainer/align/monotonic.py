"""Monotonic alignment search: which frame belongs to which phoneme, the best of all ways that never go back.

Takes the place of the compiled module that ``piper.train`` expects and does not ship, so nothing needs a compiler: numba
where it works, plain numpy where not; both give the same paths.

Source: Kim et al., "Glow-TTS: A Generative Flow for Text-to-Speech via Monotonic Alignment Search", 2020, algorithm 1.
"""

from __future__ import annotations

import logging
import sys
import types
from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    import torch

logger = logging.getLogger(__name__)

FloatArray = npt.NDArray[np.float32]
IntArray = npt.NDArray[np.int32]
Search = Callable[[FloatArray, IntArray, IntArray], FloatArray]

UNREACHABLE = np.float32(-1e9)
PIPER_MODULE = "piper.train.vits.monotonic_align"


def install() -> None:
    """Let ``piper.train`` find its alignment search here; call it before its networks run."""
    module = types.ModuleType(PIPER_MODULE)
    module.maximum_path = maximum_path  # type: ignore[attr-defined]  # a module made on the spot
    sys.modules[PIPER_MODULE] = module


def maximum_path(neg_cent: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """The best path of every pair in a batch, as 0 and 1, with the device and type of ``neg_cent``.

    Args:
        neg_cent: Log-likelihood of a frame under a phoneme, shape (batch, frames, phonemes).
        mask: 1 where a pair has both, same shape; valid cells are at the start of each axis.

    Raises:
        ValueError: If a pair has fewer frames than phonemes: no path visits them all.
    """
    import torch

    values = neg_cent.detach().to("cpu", torch.float32).numpy()
    frames = mask.sum(1)[:, 0].to("cpu", torch.int32).numpy()
    phonemes = mask.sum(2)[:, 0].to("cpu", torch.int32).numpy()
    paths = best_paths(values, frames, phonemes)
    return torch.from_numpy(paths).to(device=neg_cent.device, dtype=neg_cent.dtype)


def best_paths(values: FloatArray, frames: IntArray, phonemes: IntArray) -> FloatArray:
    """The best monotonic path through each matrix; where two are equally good, the one that moves on later.

    Args:
        values: float32, shape (batch, most frames, most phonemes); not changed.
        frames: Frames of each pair, shape (batch,).
        phonemes: Phonemes of each pair, shape (batch,).

    Returns:
        float32 of 0 and 1, same shape as ``values``: exactly one 1 in each valid frame.

    Raises:
        ValueError: If a pair has no phoneme, or fewer frames than phonemes.
    """
    for pair, (some, ids) in enumerate(zip(frames, phonemes, strict=True)):
        if not 1 <= ids <= some:
            raise ValueError(f"Clip {pair} of the batch has {some} frames for {ids} phonemes.")
    values = np.ascontiguousarray(values, dtype=np.float32)
    return _search()(values, frames.astype(np.int32), phonemes.astype(np.int32))


def search_by_numpy(values: FloatArray, frames: IntArray, phonemes: IntArray) -> FloatArray:
    """`best_paths` one frame at a time, all pairs and phonemes at once."""
    batch, most_frames, most_phonemes = values.shape
    places = np.arange(most_phonemes)
    outside = places[None, :] >= phonemes[:, None]  # (batch, phonemes)
    best = np.full((batch, most_phonemes), UNREACHABLE, np.float32)
    best[:, 0] = values[:, 0, 0]
    moved = np.zeros((batch, most_frames, most_phonemes), np.bool_)
    before = np.full_like(best, UNREACHABLE)
    for frame in range(1, most_frames):
        before[:, 1:] = best[:, :-1]
        came = before > best
        moved[:, frame] = came
        best = np.where(came, before, best) + values[:, frame]
        # Kept from growing: what cannot be reached must not become likely by adding up.
        best[outside | (places > frame)[None, :]] = UNREACHABLE
    paths = np.zeros(values.shape, np.float32)
    pairs = np.arange(batch)
    at = phonemes.astype(np.int64) - 1
    for frame in range(most_frames - 1, -1, -1):
        inside = frame < frames
        paths[pairs[inside], frame, at[inside]] = 1.0
        back = inside & (at > 0) & (moved[pairs, frame, at] | (at == frame))
        at = np.where(back, at - 1, at)
    return paths


def _search_in_loops(values: FloatArray, frames: IntArray, phonemes: IntArray) -> FloatArray:
    """`best_paths` cell by cell: for numba, which compiles it."""
    never = np.float32(-1e9)
    paths = np.zeros(values.shape, np.float32)
    for pair in range(values.shape[0]):
        some, ids = frames[pair], phonemes[pair]
        best = values[pair].copy()
        for frame in range(1, some):
            # Only cells from which the last phoneme can still be reached.
            for place in range(max(0, ids + frame - some), min(ids, frame + 1)):
                stay = best[frame - 1, place] if place < frame else never
                move = best[frame - 1, place - 1] if place > 0 else never
                best[frame, place] += max(stay, move)
        place = ids - 1
        for frame in range(some - 1, -1, -1):
            paths[pair, frame, place] = 1.0
            if place > 0 and (
                place == frame or best[frame - 1, place] < best[frame - 1, place - 1]
            ):
                place -= 1
    return paths


@cache
def search_by_numba() -> Search | None:
    """The compiled search, or None where numba cannot be used."""
    try:
        import numba
    except (ImportError, RuntimeError, OSError) as error:
        logger.info("Alignment runs without numba: %s", error)
        return None
    options: dict[str, Any] = {"nogil": True}
    try:
        return numba.njit(cache=True, **options)(_search_in_loops)  # type: ignore[no-any-return]  # numba is untyped
    except RuntimeError:  # no folder to keep compiled code in
        return numba.njit(**options)(_search_in_loops)  # type: ignore[no-any-return]  # numba is untyped


@cache
def _search() -> Search:
    return search_by_numba() or search_by_numpy
