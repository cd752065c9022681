"""Less steady noise (fan, hiss, hum) in a recording of speech: a spectral gate that learns the noise from the pauses.

It cannot take away what changes as fast as speech does: music, other voices, echo.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from backend.audio.levels import FloatArray

WINDOW_S = 0.032  # a pitch period of a deep voice fits three times
NOISE_SHARE = 0.1  # of the frames, the quietest: even in a dense clip that many lie in pauses
LEAST_NOISE_FRAMES = 6
FLOOR_DB = (
    -18.0
)  # noise is lowered so far, not to nothing: what is left covers the gate's own sounds
SMOOTHING = 0.96  # how slowly the gate follows: musical noise at 0.9, swallowed consonants at 0.99
OVERESTIMATE = 1.5  # of the noise, so that its upward swings stay under the gate

Spectrum = npt.NDArray[np.complex64]


def denoise(samples: FloatArray, rate_hz: int, noise: FloatArray | None = None) -> FloatArray:
    """The sound with its steady noise lowered by up to 18 dB, of the same length.

    Args:
        samples: Mono, shape (n_samples,).
        rate_hz: Samples per second.
        noise: Power of the noise per bin as `noise_power` gives it; None = learned from the quietest frames.

    Source: Y. Ephraim, D. Malah, "Speech enhancement using a minimum mean-square error short-time spectral amplitude
    estimator", 1984: Wiener gain from the decision-directed estimate of the signal-to-noise ratio.
    """
    size, hop = _sizes(rate_hz)
    if samples.size < size:
        return samples
    frames = _frames(samples, size, hop)
    power = np.square(frames.real) + np.square(frames.imag)  # (frames, bins)
    noise = _quiet_power(power) if noise is None else noise
    # Below 16-bit rounding there is nothing to lower, and dividing by zero helps nobody.
    expected = np.maximum(noise * np.float32(OVERESTIMATE), np.float32(1e-9))
    after = power / expected
    gain = np.empty_like(power)
    floor = np.float32(10 ** (FLOOR_DB / 20))
    ahead = np.maximum(after - 1, 0) * np.float32(1 - SMOOTHING)
    before = np.maximum(after[0] - 1, 0)
    for index in range(len(power)):
        expected_ratio = np.float32(SMOOTHING) * before + ahead[index]
        one = expected_ratio / (1 + expected_ratio)
        np.maximum(one, floor, out=gain[index])
        before = np.square(one) * after[index]
    return _whole(frames * gain, size, hop, samples.size)


def noise_power(samples: FloatArray, rate_hz: int) -> FloatArray | None:
    """Power of the noise per frequency bin, from a stretch where nobody speaks; None when it is too short to tell."""
    size, hop = _sizes(rate_hz)
    if samples.size < size + hop * LEAST_NOISE_FRAMES:
        return None
    frames = _frames(samples, size, hop)
    return np.asarray(np.mean(np.square(frames.real) + np.square(frames.imag), axis=0))


def _quiet_power(power: FloatArray) -> FloatArray:
    """Mean power of the quietest frames, shape (bins,)."""
    count = min(max(LEAST_NOISE_FRAMES, round(len(power) * NOISE_SHARE)), len(power))
    loudness = power.sum(axis=1)
    quietest = np.argpartition(loudness, count - 1)[:count]
    return np.asarray(power[quietest].mean(axis=0), dtype=np.float32)


def _sizes(rate_hz: int) -> tuple[int, int]:
    """Samples of a frame and from one to the next: four frames overlap."""
    hop = round(WINDOW_S * rate_hz / 4)
    return 4 * hop, hop


def _frames(samples: FloatArray, size: int, hop: int) -> Spectrum:
    """Windowed spectra, shape (n_frames, size // 2 + 1); the ends are padded so that every sample lies in four frames."""
    count = -(-(samples.size + 2 * size) // hop)
    padded = np.zeros(count * hop + size, np.float32)
    padded[size : size + samples.size] = samples
    views = np.lib.stride_tricks.sliding_window_view(padded, size)[::hop]
    return np.asarray(np.fft.rfft(views * _window(size), axis=1), dtype=np.complex64)


def _whole(frames: Spectrum, size: int, hop: int, length: int) -> FloatArray:
    """Overlap-add of what `_frames` took apart."""
    pieces = np.fft.irfft(frames, size, axis=1).astype(np.float32) * _window(size)
    total = np.zeros((len(pieces) + 3, hop), np.float32)
    for part in range(4):
        total[part : part + len(pieces)] += pieces[:, part * hop : (part + 1) * hop]
    # The squared periodic Hann window, four times overlapped, sums to 1.5.
    return np.asarray(total.ravel()[size : size + length] / np.float32(1.5))


def _window(size: int) -> FloatArray:
    return np.asarray(0.5 - 0.5 * np.cos(2 * np.pi * np.arange(size) / size), dtype=np.float32)
