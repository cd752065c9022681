"""Where each phoneme lies in a clip, without any model: dynamic time warping to the embedded voice saying the same.

Public names: `match_cost(text, samples, rate_hz, language) -> float` (does the transcript fit?), `align(...) -> Alignment`,
`log_mel(samples)`, `warp(reference, clip) -> Warp`. A clip of 5 s takes about 20 ms.

The rendering's phoneme times are known; the path that warps its log-mel frames onto the clip's carries them over. The
mean cost along the path tells right transcripts from wrong ones: `RIGHT_BELOW` divides.

Source: Sakoe, Chiba (1978), "Dynamic programming algorithm optimization for spoken word recognition", IEEE Trans. ASSP 26.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt
from numba import njit

from backend.audio import espeak
from backend.audio.levels import FloatArray, frame_levels_dbfs, from_pcm16
from backend.audio.resample import resample
from voice_trainer.text.phonemes import Phonemes, can_be_said, phonemize, starts_s

IntArray = npt.NDArray[np.int64]
Float64Array = npt.NDArray[np.float64]

RATE_HZ = 16_000
HOP, WINDOW, FFT_SIZE = 160, 400, 512  # samples: 10 ms, 25 ms
BANDS, LOWEST_HZ, HIGHEST_HZ = 40, 60.0, 7_600.0
FLOOR = 1e-4
"""Added to the power of a band before the logarithm: what is quieter is silence, in the clip as in the rendering."""

SPEECH_BELOW_PEAK_DB = 34.0
"""A 25 ms window this much quieter than the loudest one counts as silence at the ends of a clip."""

SILENCE_DBFS = -100.0  # below one step of 16 bits

LONGEST_S = 60.0
"""Above, the table of a path would take over 70 MB; clips have at most 12 s."""

NARRATORS = ("", "+f3")
"""Variants of the embedded voice that say the text; the one that fits better is used. Low and high voices need both:
a high one against the low one costs 0.42 where the transcript is right, against the high one 0.36."""

RIGHT_BELOW = 0.44
"""Right transcripts cost less (95 % below 0.40 for each of five synthetic voices of 30 clips), wrong and half ones more
(95 % above 0.48)."""

UNLIKE = 2.0
"""The greatest possible cost: nothing in common (or nothing said at all, or more text than anybody can say)."""


@dataclass(frozen=True, slots=True)
class Warp:
    """How the frames of a rendering lie on those of a clip.

    Attributes:
        edges: For the left edge of each rendering frame, and the right edge of the last: the place in the clip, in
            frames, not falling, shape (frames of the rendering + 1,).
        cost: Mean distance along the path: 0 is equal, 1 unrelated, 2 opposite.
    """

    edges: Float64Array
    cost: float


@dataclass(frozen=True, slots=True)
class Alignment:
    """One clip's text laid over its sound.

    Attributes:
        phonemes: The text.
        starts_s: When each symbol begins, shape (symbols,); `BEGIN` at 0. A symbol lasts until the next one begins.
        cost: As in `Warp`.
    """

    phonemes: Phonemes
    starts_s: Float64Array
    cost: float

    def durations(self, frames: int, frame_s: float) -> IntArray:
        """Whole frames of each symbol, at least 0, summing to ``frames``; frame i is centred on i * ``frame_s``."""
        edges = np.floor(self.starts_s / frame_s + 1.0).astype(np.int64)
        edges[0] = 0
        edges = np.minimum(np.maximum.accumulate(edges), frames)
        return np.diff(np.append(edges, frames))


def match_cost(text: str, samples: FloatArray, rate_hz: int, language: str) -> float:
    """How badly a transcript fits a clip.

    Right ones lie near 0.34, wrong ones near 0.53; no sound, or far more text than can be said in the time, is `UNLIKE`.

    Args:
        text: The transcript.
        samples: Mono, in [-1, 1], shape (n_samples,), at most `LONGEST_S`.
        rate_hz: Of the samples.
        language: espeak voice.

    Raises:
        UnknownVoiceError: There is no such language.
        ValueError: The clip is too long.
    """
    if not can_be_said(text, len(samples) / rate_hz):
        return UNLIKE
    found = _best(text, samples, rate_hz, language)
    return UNLIKE if found is None else found.warp.cost


def align(text: str, samples: FloatArray, rate_hz: int, language: str) -> Alignment:
    """Lay a transcript over a clip; arguments and errors as in `match_cost`."""
    phonemes = phonemize(text, language)
    count = len(phonemes.symbols)
    found = _best(text, samples, rate_hz, language)
    if found is None:
        length_s = samples.size / rate_hz
        return Alignment(phonemes, np.linspace(0.0, length_s, count, endpoint=False), UNLIKE)
    # Frame i is centred on i * HOP, so its left edge lies half a frame before.
    said_s = np.array(starts_s(phonemes, found.events)) - found.events[0][1]
    edges = found.warp.edges
    places = np.interp(said_s * RATE_HZ / HOP + 0.5, np.arange(len(edges)), edges)
    starts = np.maximum((places - 0.5) * HOP / RATE_HZ, 0.0) + found.lead_s
    starts[0] = 0.0
    return Alignment(phonemes, np.maximum.accumulate(starts), found.warp.cost)


def speech_span(samples: FloatArray, rate_hz: int) -> tuple[int, int] | None:
    """First and last sample that is louder than silence (`SPEECH_BELOW_PEAK_DB`); None when nothing is.

    Args:
        samples: Mono, shape (n_samples,).
        rate_hz: Of the samples.
    """
    window, hop = rate_hz * WINDOW // RATE_HZ, rate_hz * HOP // RATE_HZ
    levels = frame_levels_dbfs(samples, window, hop)
    if not levels.size or levels.max() <= SILENCE_DBFS:
        return None
    loud = np.flatnonzero(levels > levels.max() - SPEECH_BELOW_PEAK_DB)
    return int(loud[0]) * hop, int(loud[-1]) * hop + window


def log_mel(samples: FloatArray) -> FloatArray:
    """Frames to compare: logarithms of mel bands and their slopes, each with mean 0 and variance 1 over the clip.

    Args:
        samples: Mono at `RATE_HZ`, shape (n_samples,), not empty.

    Returns:
        Shape (n_samples // HOP + 1, 2 * BANDS): the bands, smoothed over three frames, and their slopes over five (they
        halve the overlap of right and wrong transcripts); frame i is centred on sample i * HOP.
    """
    margin = FFT_SIZE // 2
    padded = np.pad(samples.astype(np.float32), (margin, margin))
    count = samples.size // HOP + 1
    frames = np.lib.stride_tricks.sliding_window_view(padded, FFT_SIZE)[::HOP][:count]
    spectra = np.fft.rfft(frames * _window(), axis=1)
    power = spectra.real**2 + spectra.imag**2  # (frames, bins)
    bands = _unit_variance(np.log(power.astype(np.float32) @ _mel_filters() + np.float32(FLOOR)))
    around = np.pad(bands, ((2, 2), (0, 0)), mode="edge")
    smooth = (around[1:-3] + 2 * around[2:-2] + around[3:-1]) / 4
    around = np.pad(smooth, ((2, 2), (0, 0)), mode="edge")
    slopes = 2 * (around[4:] - around[:-4]) + around[3:-1] - around[1:-3]
    return np.concatenate([smooth, _unit_variance(slopes)], axis=1)


def warp(reference: FloatArray, clip: FloatArray) -> Warp:
    """The cheapest monotonic path from a rendering to a clip; distances are 1 - cosine.

    Args:
        reference: Shape (frames, 2 * BANDS).
        clip: Shape (frames, 2 * BANDS).

    Raises:
        ValueError: One is longer than `LONGEST_S`.
    """
    longest = int(LONGEST_S * RATE_HZ / HOP)
    if max(len(reference), len(clip)) > longest + 1:
        raise ValueError(f"A clip to align may be {LONGEST_S:g} s long; cut it into pieces.")
    distances = np.float32(1.0) - _unit(reference) @ _unit(clip).T
    cost, first, last = cheapest_path(distances)
    middles = (last[:-1] + first[1:] + 1) / 2
    return Warp(np.concatenate([[0.0], middles, [float(len(clip))]]), cost)


@njit(cache=True)
def cheapest_path(distances: FloatArray) -> tuple[float, IntArray, IntArray]:
    """Mean cost of the path, and for each row the first and the last column it visits."""
    rows, columns = distances.shape
    came_from = np.empty(
        (rows, columns), dtype=np.uint8
    )  # 0 diagonal, 1 from above, 2 from the left
    above = np.full(columns, np.inf)
    for row in range(rows):
        diagonal = 0.0 if row == 0 else np.inf
        left = np.inf
        for column in range(columns):
            best, origin = diagonal, 0
            if above[column] < best:
                best, origin = above[column], 1
            if left < best:
                best, origin = left, 2
            diagonal = above[column]
            left = best + distances[row, column]
            above[column] = left
            came_from[row, column] = origin
    total = above[columns - 1]
    first = np.zeros(rows, dtype=np.int64)
    last = np.zeros(rows, dtype=np.int64)
    row, column, steps = rows - 1, columns - 1, 1
    last[row] = column
    while row > 0 or column > 0:
        origin = came_from[row, column]
        if origin == 2:
            column -= 1
        else:
            first[row] = column
            row -= 1
            if origin == 0:
                column -= 1
            last[row] = column
        steps += 1
    return total / steps, first, last


@dataclass(frozen=True, slots=True)
class _Found:
    """The rendering that fits better: its phonemes, its path, and where speech begins in the clip."""

    events: tuple[tuple[str, float, float], ...]
    warp: Warp
    lead_s: float


def _best(text: str, samples: FloatArray, rate_hz: int, language: str) -> _Found | None:
    """Let each narrator say the text and keep the cheaper; None when nothing is said or heard."""
    heard = _prepared(samples, rate_hz)
    if heard is None:
        return None
    speech, lead_s = heard
    clip = log_mel(speech)
    best = None
    for variant in NARRATORS:
        rendering = espeak.synthesize(text, language + variant)
        events = rendering.phonemes
        if not events:
            return None
        sound = resample(from_pcm16(rendering.pcm), rendering.rate_hz, RATE_HZ)
        sound = sound[int(events[0][1] * RATE_HZ) : int(events[-1][2] * RATE_HZ) + 1]
        found = _Found(events, warp(log_mel(sound), clip), lead_s)
        if best is None or found.warp.cost < best.warp.cost:
            best = found
    return best


def _prepared(samples: FloatArray, rate_hz: int) -> tuple[FloatArray, float] | None:
    """A clip at `RATE_HZ` with its peak at 0.8 and without silence at its ends, and where that begins in s."""
    if samples.size > LONGEST_S * rate_hz:
        raise ValueError(f"A clip to align may be {LONGEST_S:g} s long; cut it into pieces.")
    sound = resample(samples, rate_hz, RATE_HZ)
    span = speech_span(sound, RATE_HZ)
    if span is None:
        return None
    speech = sound[slice(*span)]
    return speech * np.float32(0.8 / float(np.max(np.abs(speech)))), span[0] / RATE_HZ


def _unit_variance(frames: FloatArray) -> FloatArray:
    centred = frames - frames.mean(axis=0)
    return np.asarray(centred / (frames.std(axis=0) + 1e-5), dtype=np.float32)


def _unit(frames: FloatArray) -> FloatArray:
    lengths = np.sqrt((frames * frames).sum(axis=1, keepdims=True))
    return np.asarray(frames / np.maximum(lengths, 1e-6), dtype=np.float32)


@cache
def _window() -> FloatArray:
    """A periodic Hann window of `WINDOW` samples in the middle of `FFT_SIZE`."""
    window = np.zeros(FFT_SIZE, dtype=np.float32)
    begin = (FFT_SIZE - WINDOW) // 2
    window[begin : begin + WINDOW] = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(WINDOW) / WINDOW)
    return window


@cache
def _mel_filters() -> FloatArray:
    """Triangles on the mel scale of equal area, shape (bins, BANDS).

    Source of the scale: O'Shaughnessy (1987), "Speech communication": mel = 2595 log10(1 + f / 700).
    """

    def to_mel(hz: Float64Array | float) -> Float64Array:
        return np.asarray(2595.0 * np.log10(1.0 + np.asarray(hz) / 700.0))

    corners_mel = np.linspace(to_mel(LOWEST_HZ), to_mel(HIGHEST_HZ), BANDS + 2)
    corners = 700.0 * (10.0 ** (corners_mel / 2595.0) - 1.0)
    bins = np.fft.rfftfreq(FFT_SIZE, 1 / RATE_HZ)[:, None]
    rising = (bins - corners[:-2]) / (corners[1:-1] - corners[:-2])
    falling = (corners[2:] - bins) / (corners[2:] - corners[1:-1])
    triangles = np.maximum(0.0, np.minimum(rising, falling)) * 2.0 / (corners[2:] - corners[:-2])
    return np.asarray(triangles, dtype=np.float32)
