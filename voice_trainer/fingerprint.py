"""Which clips hold the same sound, whatever its level, coding, rate or place in the clip.

A clip becomes one 16-bit word per 10 ms: does the difference between two neighbouring bands rise or fall? Clips that share
words at one and the same offset are compared bit by bit. Time and memory grow with the minutes, not with the pairs.

Source: Haitsma, Kalker (2002), "A highly robust audio fingerprinting system", ISMIR.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from backend.audio.levels import FloatArray
from backend.audio.resample import resample

Words = npt.NDArray[np.uint16]

RATE_HZ = 8_000
HOP, WINDOW, FFT_SIZE = 80, 512, 512  # 10 ms; 64 ms so that a shift by half a hop changes few bits
LOWEST_HZ, HIGHEST_HZ, BITS = 200.0, 3_400.0, 16
SLOPE_FRAMES = 6
QUIET = np.uint16(0)
QUIET_DB = 35.0
"""A frame so far below the loudest has no word: all silences sound alike."""
SILENT_DB = -50.0
"""Power of a window in dB that is silence whatever the loudest is; a sine of -90 dBFS has that."""

LEAST_FRAMES = 40
LEAST_VOTES = 5
COMMON_WORD = 400
"""A word that occurs more often says nothing (and would cost the square of its number)."""
SAME_BELOW = 0.30
"""Share of bits that differ: the same sound 0.02 to 0.2, other sounds 0.42 to 0.55."""


def fingerprint(samples: FloatArray, rate_hz: int) -> Words:
    """One word per 10 ms, `QUIET` where it is quiet; shape (frames,).

    Args:
        samples: Mono, shape (n_samples,).
        rate_hz: Samples per second.
    """
    samples = resample(samples, rate_hz, RATE_HZ)
    if samples.size < WINDOW + HOP * (SLOPE_FRAMES + 1):
        return np.empty(0, np.uint16)
    views = np.lib.stride_tricks.sliding_window_view(samples, WINDOW)[::HOP]
    power = np.abs(np.fft.rfft(views * np.hanning(WINDOW).astype(np.float32), FFT_SIZE)) ** 2
    bands = np.log(power @ _bands() + 1e-10)  # (frames, BITS + 1)
    levels = 10 * np.log10(power.sum(axis=1) + 1e-12)
    steps = np.diff(bands, axis=1)
    rises = steps[SLOPE_FRAMES:] > steps[:-SLOPE_FRAMES]
    words = (rises * (1 << np.arange(BITS))).sum(axis=1).astype(np.uint16)
    middle = levels[SLOPE_FRAMES // 2 : SLOPE_FRAMES // 2 + len(words)]
    words = np.where(words == QUIET, np.uint16(1), words)
    loud = middle > max(float(levels.max()) - QUIET_DB, SILENT_DB)
    return np.where(loud, words, QUIET).astype(np.uint16)


def same_sounds(prints: Sequence[Words]) -> list[tuple[int, int]]:
    """Pairs of clips of which the shorter lies in the longer, as numbers in ``prints``, the first one smaller."""
    if not prints:
        return []
    owner = np.concatenate([np.full(len(one), i) for i, one in enumerate(prints)])
    place = np.concatenate([np.arange(len(one)) for one in prints])
    words = np.concatenate(prints).astype(np.int64)
    heard = words != QUIET
    owner, place, words = owner[heard], place[heard], words[heard]
    by_word = np.argsort(words, kind="stable")
    owner, place, words = owner[by_word], place[by_word], words[by_word]
    edges = np.flatnonzero(np.diff(words, prepend=-1, append=-1))
    votes: dict[tuple[int, int, int], int] = {}
    for begin, end in pairwise(edges.tolist()):
        if not 2 <= end - begin <= COMMON_WORD:
            continue
        first, second = np.triu_indices(end - begin, 1)
        one, other = owner[begin:end][first], owner[begin:end][second]
        offset = (place[begin:end][second] - place[begin:end][first]) // 2
        differ = one != other
        for key in zip(
            one[differ].tolist(), other[differ].tolist(), offset[differ].tolist(), strict=True
        ):
            votes[key] = votes.get(key, 0) + 1
    found: set[tuple[int, int]] = set()
    for (one, other, half), count in votes.items():
        pair = (min(one, other), max(one, other))
        if count < LEAST_VOTES or pair in found:
            continue
        near = range(2 * half - 1, 2 * half + 3)
        if min(_differing(prints[one], prints[other], offset) for offset in near) < SAME_BELOW:
            found.add(pair)
    return sorted(found)


def _differing(one: Words, other: Words, offset: int) -> float:
    """Share of the bits that differ where frame t of the one lies on frame t + offset of the other; 1 = hardly overlap."""
    begin, end = max(0, -offset), min(len(one), len(other) - offset)
    if end - begin < LEAST_FRAMES:
        return 1.0
    a, b = one[begin:end], other[begin + offset : end + offset]
    both = (a != QUIET) & (b != QUIET)
    shorter = min(int((one != QUIET).sum()), int((other != QUIET).sum()))
    if both.sum() < max(LEAST_FRAMES // 2, 0.7 * shorter):
        return 1.0
    differing = np.unpackbits((a[both] ^ b[both]).view(np.uint8)).mean()
    return float(differing)


@cache
def _bands() -> FloatArray:
    """Bands of equal width on a logarithmic scale, shape (FFT_SIZE // 2 + 1, BITS + 1)."""
    edges = np.geomspace(LOWEST_HZ, HIGHEST_HZ, BITS + 2)
    hz = np.linspace(0, RATE_HZ / 2, FFT_SIZE // 2 + 1)[:, None]
    half = (RATE_HZ / FFT_SIZE) / 2  # a band narrower than a bin still gets one
    return ((hz >= edges[:-1] - half) & (hz < edges[1:] + half)).astype(np.float32)
