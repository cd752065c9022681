"""Take away what lies below any voice: rumble, handling noise, a constant offset."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from backend.audio.levels import FloatArray
from backend.audio.loudness import fft_size

CUT_HZ = 60.0
ORDER = 4  # slope of the cascade, as of a fourth-order Butterworth run forwards and backwards
REACH_S = 0.15  # how far the filter looks to both sides; give it so much more sound than you keep


def highpass(samples: FloatArray, rate_hz: int, cut_hz: float = CUT_HZ) -> FloatArray:
    """The sound without what lies below ``cut_hz`` (-6 dB there, -48 dB an octave lower), nothing moved in time.

    Args:
        samples: Mono, shape (n_samples,); float32.
        rate_hz: Samples per second.
        cut_hz: A deep male voice starts at 75 Hz.

    Source: |Butterworth|^2, what filtering forwards and backwards gives (F. Gustafsson, "Determining the initial states in
    forward-backward filtering", 1996), applied by FFT with mirrored ends.
    """
    if samples.size == 0:
        return samples
    reach = min(round(REACH_S * rate_hz), samples.size - 1)
    # Mirrored through the end points: an offset continues as an offset, and makes no thump at the edges.
    before = 2 * samples[0] - samples[reach:0:-1]
    after = 2 * samples[-1] - samples[-2 : -reach - 2 : -1]
    whole = np.concatenate((before, samples, after))
    size = fft_size(whole.size + reach)
    spectrum = np.fft.rfft(whole.astype(np.float32, copy=False), size)
    spectrum *= _response(size, rate_hz, cut_hz)
    return np.asarray(np.fft.irfft(spectrum, size)[reach : reach + samples.size], dtype=np.float32)


@lru_cache(maxsize=24)
def _response(size: int, rate_hz: int, cut_hz: float) -> FloatArray:
    hz = np.fft.rfftfreq(size, 1 / rate_hz)
    ratio = (hz / cut_hz) ** (2 * ORDER)
    return np.asarray(ratio / (1 + ratio), dtype=np.float32)
