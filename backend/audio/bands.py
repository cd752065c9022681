"""Whether what a loudspeaker played explains how loud a microphone hears each of eight bands, wherever the two clocks stand.

Levels of 10 ms say less than the sound itself, but bear what a filter cannot: gaps in what was played, lost pieces of what was heard, a
delay that jumps. The played levels are laid along the heard ones by the path that fits best (dynamic programming over the delay, where a
jump costs something), and what rises above them is not the loudspeaker's.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from backend.audio.levels import FloatArray

RATE_HZ = 16_000
WINDOW, HOP = 512, 160  # 32 and 10 ms
EDGES_HZ = (200, 350, 550, 800, 1100, 1500, 2000, 2700, 3600)
BANDS = len(EDGES_HZ) - 1
QUIETEST_DBFS = -65.0
"""Of the whole sound: quieter is nothing."""
FLOOR = 10 ** (QUIETEST_DBFS / 10) / BANDS
JUMP_COST = 12.0
"""Of a jump of the delay, in frames that fit."""
FADES = 10 ** (-60 / 50 / 10)
"""A room holds a sound: down by 60 dB in half a second, in frames."""
NEAR = 2
"""Frames by which a path may be wrong."""
LOUDER = 4.0
"""What counts as explained may be louder than expected, 6 dB: levels of 10 ms scatter."""
LOUDEST_PERCENT = 60
"""Frames of hers above it tell how loud she arrives."""
LEAST_FRAMES = 5
NO_GAIN = 1e-12
ALL_LOUD_DBFS = -50.0
"""Less of hers says nothing about how loud she arrives."""

Levels: TypeAlias = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Explained:
    """How well the played sound explains the newest heard one.

    Attributes:
        likeness: Correlation of the levels along the best path, over the whole stretch.
        jumps: Times the delay changes along it.
        excess: Share of the newest sound's power that is more than the path explains, 0-1.
        beyond: Share that is more than explained by any delay at all, as loud as she is known to arrive; 0 when that is not known.
    """

    likeness: float
    jumps: int
    excess: float
    beyond: float


def levels(samples: FloatArray) -> Levels:
    """Mean power in each band and frame, shape (frames, bands)."""
    count = max((samples.size - WINDOW) // HOP + 1, 0)
    frames = np.lib.stride_tricks.sliding_window_view(samples, WINDOW)[::HOP][:count]
    window = np.hanning(WINDOW).astype(np.float32)
    power = np.abs(np.fft.rfft(frames * window, axis=1)) ** 2
    power *= 2 / (WINDOW * float(np.sum(window**2)))
    edges = [round(hz * WINDOW / RATE_HZ) for hz in EDGES_HZ]
    return np.add.reduceat(power[:, : edges[-1]], edges[:-1], axis=1).astype(np.float64)


def arrives(y: Levels, x: Levels) -> list[float] | None:
    """How much of what is played can arrive at most, as a factor of power for each band; None when too little was played.

    However late it came, what was played until ``x`` has ``extra`` frames left is in ``y`` (both as for `explained`).
    """
    extra = x.shape[0] - y.shape[0]
    played = x[extra : x.shape[0] - extra].sum(axis=0)
    if played.sum() / max(y.shape[0] - extra, 1) < 10 ** (ALL_LOUD_DBFS / 10):
        return None
    least = 10 ** (ALL_LOUD_DBFS / 10) / BANDS / 10 * (y.shape[0] - extra)
    return [float(g) for g in y.sum(axis=0) / np.maximum(played, least)]


def explained(y: Levels, x: Levels, newest: int, known: list[float] | None) -> Explained:
    """How well what was played explains what is heard.

    Args:
        y: Heard, shape (frames, bands).
        x: Played, longer by the frames of the most delay.
        newest: Frames of the end that are judged.
        known: How much arrives, from earlier times; see `arrives`.
    """
    frames, extra = y.shape[0], x.shape[0] - y.shape[0]
    held = _held(x)
    heard, played = _shape(y), _shape(x)
    # (frames, lags): lag n is x from n frames before its end on.
    at = np.arange(frames)[:, None] + np.arange(extra + 1)[None, :]
    fits = np.einsum("tb,tlb->tl", heard, played[at])
    path = _path(fits)
    along = np.arange(frames) + path
    norm = float(np.sqrt((heard**2).sum() * (played[along] ** 2).sum())) + NO_GAIN
    likeness = float((heard * played[along]).sum()) / norm
    gains = np.empty(BANDS)
    for band in range(BANDS):
        hers = x[along, band]
        loud = (hers > np.percentile(hers, LOUDEST_PERCENT)) & (hers > FLOOR)
        ratios = y[loud, band] / hers[loud]
        gains[band] = np.median(ratios) if ratios.size >= LEAST_FRAMES else NO_GAIN
    last = y[-newest:]
    total = float(last.sum()) + NO_GAIN
    excess = np.maximum(last - LOUDER * gains * held[along[-newest:]] - FLOOR, 0).sum() / total
    beyond = 0.0
    if known is not None:
        most = held[np.arange(frames - newest, frames)[:, None] + np.arange(extra + 1)].max(axis=1)
        ceiling = LOUDER * np.array(known) * most
        beyond = float(np.maximum(last - ceiling - FLOOR, 0).sum()) / total
    return Explained(likeness, int(np.count_nonzero(np.diff(path))), float(excess), beyond)


def _shape(power: Levels) -> Levels:
    """Levels in decades around their mean in each band."""
    shape = np.log10(power + FLOOR)
    return np.asarray(shape - shape.mean(axis=0))


def _held(x: Levels) -> Levels:
    """Played levels as a room and a slightly wrong path may show them."""
    wide = np.pad(x, ((NEAR, NEAR), (0, 0)))
    near: Levels = np.lib.stride_tricks.sliding_window_view(wide, 2 * NEAR + 1, axis=0).max(axis=-1)
    for frame in range(1, near.shape[0]):
        np.maximum(near[frame], near[frame - 1] * FADES, out=near[frame])
    return near


def _path(fits: Levels) -> npt.NDArray[np.intp]:
    """The lag of each frame that fits best in all, where a jump costs as much as some good frames bring."""
    frames, lags = fits.shape
    cost = JUMP_COST * float(np.abs(fits).max(axis=1).mean())
    best = fits[0].copy()
    stay = np.arange(lags)
    came = np.empty((frames, lags), np.intp)
    for frame in range(1, frames):
        top = int(best.argmax())
        jumps = best[top] - cost > best
        came[frame] = np.where(jumps, top, stay)
        best = np.where(jumps, best[top] - cost, best) + fits[frame]
    path = np.empty(frames, np.intp)
    path[-1] = int(best.argmax())
    for frame in range(frames - 1, 0, -1):
        path[frame - 1] = came[frame, path[frame]]
    return path
