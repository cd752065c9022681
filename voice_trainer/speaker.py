"""Whose voice it is: a small speaker embedding without anybody's weights.

`embed(samples, rate_hz)` describes a clip by 32 numbers, `similarity(a, b)` compares two of them. Text, loudness and
moderate noise hardly change them. What is measured: how the spectrum looks in each of some sixty kinds of sound (a
Gaussian mixture sorts the frames, so two clips with different words are compared sound by sound), how much it varies, and
the pitch. Which directions tell voices apart was learned by ``scripts/make_speaker_space.py`` from the embedded engine's
voices only; the result lies beside this file. About 8 ms for a clip of 5 s.

Sources: Reynolds, Quatieri, Dunn (2000), "Speaker verification using adapted Gaussian mixture models"; Campbell, Sturim,
Reynolds (2006), "Support vector machines using GMM supervectors"; within-class covariance normalisation: Hatch,
Kajarekar, Stolcke (2006).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import numpy.typing as npt

from backend.audio.levels import FloatArray
from backend.audio.resample import resample

Vector = npt.NDArray[np.float32]

SPACE = Path(__file__).parent / "speaker.safetensors"

RATE_HZ = 16_000
HOP, WINDOW, FFT_SIZE = 160, 400, 512  # 10 and 25 ms
BANDS, LOWEST_HZ, HIGHEST_HZ = 32, 80.0, 7_200.0
CEPSTRA = 20
FLOOR_DB = 55.0
"""Below the loudest band of the clip: what is quieter is the room, not the voice."""
ACTIVE_DB = 28.0
"""A frame counts as speech when it is at most this much quieter than the loud ones (95th percentile)."""
PITCH_HZ = (60.0, 450.0)
PITCH_FFT, PITCH_HOP = 1024, 320  # 64 ms hold four periods of 60 Hz
VOICED_ABOVE = 0.5
RELEVANCE = 12.0
"""Frames of a kind of sound that count as much as what all voices have in common (Reynolds' relevance factor)."""
LEAST_FRAMES = 20

LEAST_CLIPS = 6
FAR_OFF = 2.2
"""Times the median distance from the middle of a set: farther off is a stranger."""
APART = 6.0
"""Standard deviations between the middles of two groups, seen from the side that parts them best."""
APART_IN_SPACE = 0.8
"""Least distance of two groups' middles, in units of the space."""
SMALL_SET = 6.0
"""Clips; a set of so many asks for twice the distances: a few clips always fall into groups by chance."""
PRIOR_CLIPS = 200
"""Clips' worth of trust in what is usual, when the scatter of a set is estimated."""
LONGEST_S = 60.0


class TooLittleSpeechError(ValueError):
    """The clip holds no sound, or too little speech to know a voice by."""


@dataclass(frozen=True, slots=True)
class Frames:
    """What is measured in a clip before it is summed up.

    Attributes:
        cepstra: Of the frames with speech, without the level, shape (frames, CEPSTRA).
        log_f0: Natural logarithm of the pitch in Hz of the voiced frames, shape (voiced,).
        periodicity: Mean of the strongest repetition of the voiced frames, 0-1.
    """

    cepstra: FloatArray
    log_f0: FloatArray
    periodicity: float


@dataclass(frozen=True, slots=True)
class Space:
    """What was learned from many voices; see ``scripts/make_speaker_space.py``.

    Attributes:
        means, variances: Of the kinds of sound, shape (kinds, CEPSTRA).
        weights: How often each occurs, shape (kinds,).
        centre, scale: Of the raw description, shape (raw,).
        projection: From there to the embedding, in units of how much one voice varies, shape (raw, dimensions).
        near, far: Distances where the similarity is 0.9 and 0.6.
    """

    means: FloatArray
    variances: FloatArray
    weights: FloatArray
    centre: FloatArray
    scale: FloatArray
    projection: FloatArray
    near: float
    far: float


def embed(samples: FloatArray, rate_hz: int) -> Vector:
    """The voice of a clip as a vector.

    Args:
        samples: Mono, in [-1, 1], shape (n_samples,); one to ten seconds are best, of more than `LONGEST_S` the middle
            counts.
        rate_hz: Samples per second.

    Returns:
        Shape (dimensions,), float32. The distance of two clips of one voice is about 1 (see `distance`).

    Raises:
        TooLittleSpeechError: There is less than `LEAST_FRAMES` frames of speech.
    """
    space = _space()
    raw = describe(frames(samples, rate_hz), space)
    return np.asarray(((raw - space.centre) / space.scale) @ space.projection, dtype=np.float32)


def distance(one: Vector, other: Vector) -> float:
    """How far apart two embeddings are, in units of how far two clips of one voice usually are."""
    return float(np.sqrt(np.mean(np.square(one - other)) / 2))


def similarity(one: Vector, other: Vector) -> float:
    """How alike two voices are, 0-1: one voice lies above 0.9, two different ones below 0.6.

    The logarithm of the odds falls in a straight line with the distance; the two figures above fix the line.
    """
    space = _space()
    near, far = np.log(0.9 / 0.1), np.log(0.6 / 0.4)
    slope = (near - far) / (space.far - space.near)
    return float(1 / (1 + np.exp(-(near - slope * (distance(one, other) - space.near)))))


def mean_of(embeddings: list[Vector]) -> Vector:
    """One vector for several clips of a voice; the median of each number, so that a strange clip counts little."""
    return np.asarray(np.median(np.stack(embeddings), axis=0), dtype=np.float32)


def strangers(embeddings: Sequence[Vector]) -> list[int]:
    """Which clips of a set are of another voice than most of them.

    First what is usual in this set: how the nearer half scatters around its middle, mixed with what the space knows. Then
    what lies too far. Strangers that lie together show in which direction they differ; along it the sides are drawn again,
    so that a similar voice is found whole.

    Args:
        embeddings: Of the clips; fewer than `LEAST_CLIPS` tell nothing.

    Returns:
        Numbers in ``embeddings``, in order.

    Source: minimum covariance determinant, Rousseeuw, Van Driessen (1999), with a shrunken covariance.
    """
    if len(embeddings) < LEAST_CLIPS:
        return []
    x = np.stack(embeddings).astype(np.float64)
    far_off = FAR_OFF * (1 + SMALL_SET / len(x))
    inside = np.argsort(np.square(x - np.median(x, axis=0)).sum(axis=1))[: len(x) // 2 + 1]
    for _ in range(10):
        far = _distances(x, inside)
        nearer = np.argsort(far)[: len(x) // 2 + 1]
        if set(nearer) == set(inside):
            break
        inside = nearer
    limit = far_off * float(np.median(far))
    is_far = far > limit
    for _ in range(3):
        own = np.flatnonzero(~is_far)
        again = _distances(x, own)
        is_far = again > far_off * float(np.median(again[own]))
    # Side by side: a group that stands apart in one direction.
    sides = _two_sides(x, is_far)
    return sorted(np.flatnonzero(is_far if sides is None else sides).tolist())


def _distances(
    x: npt.NDArray[np.float64], inside: npt.NDArray[np.int64]
) -> npt.NDArray[np.float64]:
    """How far each row lies from the middle of some, in units of their scatter mixed with that of the space."""
    chosen = x[inside]
    middle = chosen.mean(axis=0)
    own = (chosen - middle).T @ (chosen - middle) / max(len(chosen) - 1, 1)
    usual = float(np.trace(own)) / len(own)
    share = len(chosen) / (len(chosen) + PRIOR_CLIPS)
    scatter = share * own + (1 - share) * usual * np.eye(len(own))
    away = x - middle
    return np.asarray(
        np.sqrt(np.einsum("ij,ij->i", away, np.linalg.solve(scatter, away.T).T) / x.shape[1])
    )


def _two_sides(
    x: npt.NDArray[np.float64], is_far: npt.NDArray[np.bool_]
) -> npt.NDArray[np.bool_] | None:
    """The smaller of two groups that stand apart; None when there are no two."""
    best: tuple[float, npt.NDArray[np.bool_]] | None = None
    centred = x - x.mean(axis=0)
    _, _, directions = np.linalg.svd(centred, full_matrices=False)
    apart_in_space = APART_IN_SPACE * (1 + SMALL_SET / len(x))
    starts = [is_far] if 2 <= is_far.sum() <= len(x) // 2 else []
    for direction in directions[:4]:
        along = centred @ direction
        for share in (0.08, 0.2, 0.35, 0.5):
            starts += [along > np.quantile(along, 1 - share), along < np.quantile(along, share)]
    for side in starts:
        for _ in range(15):
            if not 2 <= side.sum() <= len(x) - 2:
                break
            one, other = x[side], x[~side]
            away = np.concatenate([one - one.mean(axis=0), other - other.mean(axis=0)])
            scatter = away.T @ away / len(x)
            share = len(x) / (len(x) + PRIOR_CLIPS)
            scatter = share * scatter + (1 - share) * np.trace(scatter) / len(scatter) * np.eye(
                len(scatter)
            )
            direction = np.linalg.solve(scatter, one.mean(axis=0) - other.mean(axis=0))
            along = x @ direction
            middle = (along[side].mean() + along[~side].mean()) / 2
            new = along > middle
            if (new == side).all():
                break
            side = new
        if not 2 <= side.sum() <= len(x) - 2:
            continue
        spread = np.sqrt(
            (along[side].var() * side.sum() + along[~side].var() * (~side).sum()) / len(x)
        )
        apart = float(abs(along[side].mean() - along[~side].mean()) / max(spread, 1e-9))
        # How far the groups' middles lie apart in the space itself: many numbers let any set be split somewhere.
        one, other = x[side].mean(axis=0), x[~side].mean(axis=0)
        noise = np.sqrt(
            np.mean(x[side].var(axis=0)) / side.sum()
            + np.mean(x[~side].var(axis=0)) / (~side).sum()
        )
        space = float(np.sqrt(max(np.mean(np.square(one - other)) - noise**2, 0.0)))
        if apart > APART and space > apart_in_space and (best is None or space > best[0]):
            best = (space, side if side.sum() <= len(x) / 2 else ~side)
    return None if best is None else best[1]


def frames(samples: FloatArray, rate_hz: int) -> Frames:
    """Measure a clip; arguments and errors as in `embed`."""
    longest = int(LONGEST_S * rate_hz)
    if samples.size > longest:
        start = (samples.size - longest) // 2
        samples = samples[start : start + longest]
    samples = np.nan_to_num(np.asarray(samples, dtype=np.float32))
    samples = resample(samples, rate_hz, RATE_HZ)
    if samples.size < FFT_SIZE * 2:
        raise TooLittleSpeechError("The clip is too short to know a voice by.")
    samples = samples - samples.mean()
    windows = np.lib.stride_tricks.sliding_window_view(samples, WINDOW)[::HOP]
    power = np.abs(np.fft.rfft(windows * _hann(WINDOW), FFT_SIZE)).astype(np.float32) ** 2
    mel = power @ _mel_filters()  # (frames, bands)
    loudest = float(mel.max())
    if loudest <= 1e-9:
        raise TooLittleSpeechError("The clip is silent.")
    logs = np.log(np.maximum(mel, loudest * 10 ** (-FLOOR_DB / 10)))
    levels = 10 * np.log10(mel.sum(axis=1) + 1e-12)
    active = levels > np.percentile(levels, 95) - ACTIVE_DB
    if int(active.sum()) < LEAST_FRAMES:
        raise TooLittleSpeechError("There is hardly any speech in the clip.")
    cepstra = logs[active] @ _cosines()
    log_f0, periodicity = _pitch(samples)
    return Frames(cepstra.astype(np.float32), log_f0, periodicity)


def describe(found: Frames, space: Space) -> FloatArray:
    """The raw description: where each kind of sound lies, how much the whole varies, and the pitch, shape (raw,)."""
    x = found.cepstra
    precision = 1 / space.variances
    odds = -0.5 * (
        np.square(x) @ precision.T
        - 2 * x @ (space.means * precision).T
        + (np.square(space.means) * precision).sum(axis=1)
        + np.log(space.variances).sum(axis=1)
    ) + np.log(space.weights)
    odds -= odds.max(axis=1, keepdims=True)
    shares = np.exp(odds)
    shares /= shares.sum(axis=1, keepdims=True)  # (frames, kinds)
    counts = shares.sum(axis=0)
    sums = shares.T @ x
    shift = (sums - counts[:, None] * space.means) / (counts[:, None] + RELEVANCE)
    kinds = shift * np.sqrt(space.weights)[:, None] / np.sqrt(space.variances)
    whole = np.concatenate([x.mean(axis=0), x.std(axis=0)])
    return np.concatenate([kinds.ravel(), whole, _pitch_numbers(found)]).astype(np.float32)


def _pitch_numbers(found: Frames) -> FloatArray:
    if found.log_f0.size < 3:  # whispered: what is usual, so that the spectrum decides
        return np.array([5.0, 0.15, 0.0, 0.5], dtype=np.float32)
    low, middle, high = np.percentile(found.log_f0, [15, 50, 85])
    return np.array([middle, high - low, low, found.periodicity], dtype=np.float32)


def _pitch(samples: FloatArray) -> tuple[FloatArray, float]:
    """Log pitch of the voiced frames and how well they repeat themselves: the peak of the normalised autocorrelation."""
    windows = np.lib.stride_tricks.sliding_window_view(samples, PITCH_FFT)[::PITCH_HOP]
    loud = np.square(windows).sum(axis=1)
    windows = windows[loud > np.percentile(loud, 95) * 0.01]
    if not len(windows):
        return np.empty(0, np.float32), 0.0
    window = _hann(PITCH_FFT)
    power = np.abs(np.fft.rfft(windows * window, 2 * PITCH_FFT)) ** 2
    power[:, int(1500 / RATE_HZ * 2 * PITCH_FFT) :] = 0  # above, breath and hiss
    repeats = np.fft.irfft(power)[:, :PITCH_FFT]
    taper = np.fft.irfft(np.abs(np.fft.rfft(window, 2 * PITCH_FFT)) ** 2)[:PITCH_FFT]
    repeats = repeats / np.maximum(repeats[:, :1], 1e-12) / (taper / taper[0])
    shortest, longest = int(RATE_HZ / PITCH_HZ[1]), int(RATE_HZ / PITCH_HZ[0])
    found = repeats[:, shortest:longest]
    # The first peak that is nearly as high as the highest: twice the period repeats just as well.
    best = found.max(axis=1)
    first = np.argmax(found >= 0.92 * best[:, None], axis=1)
    reach = np.arange(8)
    near = np.minimum(first[:, None] + reach, found.shape[1] - 1)
    lags = near[np.arange(len(near)), np.argmax(np.take_along_axis(found, near, 1), axis=1)]
    voiced = best > VOICED_ABOVE
    if not voiced.any():
        return np.empty(0, np.float32), 0.0
    pitch = RATE_HZ / (lags[voiced] + shortest)
    return np.log(pitch).astype(np.float32), float(best[voiced].mean())


@cache
def _space() -> Space:
    from safetensors.numpy import load_file

    found = load_file(SPACE)
    near, far = (float(one) for one in found.pop("near_far"))
    parts = {name: value.astype(np.float32) for name, value in found.items()}
    return Space(**parts, near=near, far=far)


@cache
def _hann(size: int) -> FloatArray:
    return np.asarray(np.hanning(size), dtype=np.float32)


@cache
def _mel_filters() -> FloatArray:
    """Triangles on the mel scale, shape (FFT_SIZE // 2 + 1, BANDS)."""

    def mel(hz: float) -> float:
        return float(2595 * np.log10(1 + hz / 700))

    edges = 700 * (10 ** (np.linspace(mel(LOWEST_HZ), mel(HIGHEST_HZ), BANDS + 2) / 2595) - 1)
    hz = np.linspace(0, RATE_HZ / 2, FFT_SIZE // 2 + 1)[:, None]
    rising = (hz - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - hz) / (edges[2:] - edges[1:-1])
    return np.asarray(np.maximum(np.minimum(rising, falling), 0), dtype=np.float32)


@cache
def _cosines() -> FloatArray:
    """The cosine transform of the log bands without its first number, the level; shape (BANDS, CEPSTRA)."""
    index = np.arange(1, CEPSTRA + 1)
    places = (np.arange(BANDS)[:, None] + 0.5) * np.pi / BANDS
    return np.asarray(np.cos(places * index) * np.sqrt(2 / BANDS), dtype=np.float32)
