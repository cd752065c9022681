"""Sharpen alignments with the speaker's own sounds: a Gaussian per phoneme, and the likeliest path through each clip.

Public names: `refine(clips, rounds) -> Refined`, `Aligned`. Warping to another voice is right within a few frames; three
rounds of measuring what each phoneme sounds like in this voice and laying the clips out anew settle the rest.

Source: Viterbi training (segmental k-means) of Juang, Rabiner (1990), "The segmental k-means algorithm for estimating
parameters of hidden Markov models", IEEE Trans. ASSP 38, with one state per phoneme and a diagonal covariance.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from numba import njit

from voice_trainer.quick.features import Features
from voice_trainer.text.phonemes import SOUNDLESS, is_spoken

FloatArray = npt.NDArray[np.float32]
Float64Array = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

COEFFICIENTS = 25
"""Of the coded envelope: its coarse shape tells phonemes apart, the fine ripple above tells pitches."""
DELTA_WEIGHT, VOICING_WEIGHT = 2.0, 1.5
LEAST_VARIANCE = (
    0.05  # of features scaled to variance 1: a phoneme heard seldom must not be sure of itself
)
LEAST_FRAMES = 6  # of a phoneme, else it sounds like anything
IMPOSSIBLE = -1e18


@dataclass(frozen=True, slots=True)
class Aligned:
    """A clip and where its symbols lie.

    Attributes:
        symbols: As in `Phonemes`.
        durations: Frames of each symbol, int64, shape (symbols,); their sum is the features' length.
        features: The clip's frames.
    """

    symbols: tuple[str, ...]
    durations: IntArray
    features: Features


@dataclass(frozen=True, slots=True)
class Refined:
    """New durations.

    Attributes:
        durations: One array per clip, shapes and sums as before.
        likelihoods: Mean log-likelihood of a frame, one number per round; it does not fall by much once it settles.
    """

    durations: list[IntArray]
    likelihoods: list[float]


def refine(clips: list[Aligned], rounds: int = 3) -> Refined:
    """Lay every clip out anew, several times. A clip with more sounds than frames keeps its durations."""
    if not clips:
        return Refined([], [])
    names = sorted({symbol for clip in clips for symbol in clip.symbols})
    number = {name: index for index, name in enumerate(names)}
    states = [np.array([number[symbol] for symbol in clip.symbols]) for clip in clips]
    frames = _scaled([_observed(clip.features) for clip in clips])
    durations = [clip.durations.copy() for clip in clips]
    likelihoods = []
    for _ in range(rounds):
        mean, variance = _measure(frames, states, durations, len(names))
        total, counted = 0.0, 0
        for index, clip in enumerate(clips):
            kept = _timed(clip.symbols, durations[index])
            scores = _log_likelihood(frames[index], mean, variance)[:, states[index][kept]]
            if scores.shape[0] < scores.shape[1]:
                continue
            lengths, score = _best_path(np.ascontiguousarray(scores))
            durations[index] = np.zeros_like(durations[index])
            durations[index][kept] = lengths
            total += score
            counted += len(scores)
        likelihoods.append(total / max(counted, 1))
    return Refined(durations, likelihoods)


def _observed(features: Features) -> Float64Array:
    """What phonemes are told apart by, shape (frames, 2 * COEFFICIENTS + 1)."""
    shape = features.envelope[:, :COEFFICIENTS].astype(np.float64)
    slope = np.gradient(shape, axis=0) if len(shape) > 1 else np.zeros_like(shape)
    voicing = features.voiced[:, None].astype(np.float64)
    return np.concatenate([shape, DELTA_WEIGHT * slope, VOICING_WEIGHT * voicing], axis=1)


def _scaled(clips: list[Float64Array]) -> list[Float64Array]:
    """The first half to mean 0 and variance 1 over all clips, the slopes by the same measure."""
    count = sum(len(clip) for clip in clips)
    mean = np.sum([clip.sum(axis=0) for clip in clips], axis=0) / count
    variance = np.sum([((clip - mean) ** 2).sum(axis=0) for clip in clips], axis=0) / count
    std = np.sqrt(variance) + 1e-6
    return [(clip - mean) / std for clip in clips]


def _timed(symbols: tuple[str, ...], durations: IntArray) -> IntArray:
    """Places of the symbols that take time: every sound, and the pauses that were found."""
    return np.array(
        [
            place
            for place, symbol in enumerate(symbols)
            if is_spoken(symbol) or (durations[place] > 0 and symbol not in SOUNDLESS)
        ],
        dtype=np.int64,
    )


def _measure(
    frames: list[Float64Array], states: list[IntArray], durations: list[IntArray], count: int
) -> tuple[Float64Array, Float64Array]:
    """Mean and variance of each symbol's frames, shapes (symbols, features); of all frames where it has too few."""
    width = frames[0].shape[1]
    counts = np.zeros(count)
    sums, squares = np.zeros((count, width)), np.zeros((count, width))
    for clip, state, lengths in zip(frames, states, durations, strict=True):
        owner = np.repeat(state, lengths)
        counts += np.bincount(owner, minlength=count)
        np.add.at(sums, owner, clip)
        np.add.at(squares, owner, clip * clip)
    all_mean = sums.sum(axis=0) / counts.sum()
    all_variance = squares.sum(axis=0) / counts.sum() - all_mean**2
    enough = counts >= LEAST_FRAMES
    divisor = np.maximum(counts, 1)[:, None]
    mean = np.where(enough[:, None], sums / divisor, all_mean)
    variance = np.where(enough[:, None], squares / divisor - mean**2, all_variance)
    return mean, np.maximum(variance, LEAST_VARIANCE)


def _log_likelihood(
    frames: Float64Array, mean: Float64Array, variance: Float64Array
) -> Float64Array:
    """Of each frame under each symbol's Gaussian, up to a constant, shape (frames, symbols)."""
    precision = 1.0 / variance
    constant = (mean**2 * precision + np.log(variance)).sum(axis=1)
    crossed = frames @ (mean * precision).T
    return np.asarray(crossed - 0.5 * ((frames**2) @ precision.T + constant))


@njit(cache=True)
def _best_path(scores: Float64Array) -> tuple[IntArray, float]:
    """Frames of each state of the likeliest left-to-right path that visits all, and its score; (frames, states) in."""
    frames, states = scores.shape
    best = np.full(states, IMPOSSIBLE)
    best[0] = scores[0, 0]
    moved = np.zeros((frames, states), dtype=np.bool_)
    for frame in range(1, frames):
        for state in range(min(states, frame + 1) - 1, -1, -1):
            stay = best[state]
            step = best[state - 1] if state > 0 else IMPOSSIBLE
            moved[frame, state] = step > stay
            best[state] = max(stay, step) + scores[frame, state]
    lengths = np.zeros(states, dtype=np.int64)
    state = states - 1
    for frame in range(frames - 1, -1, -1):
        lengths[state] += 1
        if moved[frame, state]:
            state -= 1
    return lengths, best[states - 1]
