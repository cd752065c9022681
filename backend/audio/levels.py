"""How loud a sound is."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float32]


def level_dbfs(samples: FloatArray) -> float:
    """Loudness of a sound.

    Args:
        samples: Mono, in [-1, 1], shape (n_samples,).

    Returns:
        RMS level in dB; a full-scale sine reads -3.01, digital silence and no samples -inf.

    Source: RMS re full-scale square wave; AES17 would read 3.01 higher.
    """
    if samples.size == 0:
        return float("-inf")
    mean_square = float(np.mean(np.square(samples, dtype=np.float64)))
    return 10 * float(np.log10(mean_square)) if mean_square > 0 else float("-inf")


def peak_dbfs(samples: FloatArray) -> float:
    """Level of the largest sample; -inf for silence."""
    peak = float(np.max(np.abs(samples))) if samples.size else 0.0
    return 20 * float(np.log10(peak)) if peak > 0 else float("-inf")


def frame_levels_dbfs(
    samples: FloatArray, frame_samples: int, hop_samples: int
) -> npt.NDArray[np.float64]:
    """RMS level of every whole frame, shape (n_frames,); -120 for silence."""
    if samples.size < frame_samples:
        return np.empty(0)
    total = np.concatenate(([0.0], np.cumsum(np.square(samples, dtype=np.float64))))
    starts = np.arange(0, samples.size - frame_samples + 1, hop_samples)
    mean_square = (total[starts + frame_samples] - total[starts]) / frame_samples
    return np.asarray(10 * np.log10(np.maximum(mean_square, 1e-12)))


def from_pcm16(pcm: bytes) -> FloatArray:
    """PCM16 bytes as float32 in [-1, 1), shape (n_samples,)."""
    whole = memoryview(pcm)[: len(pcm) // 2 * 2]
    return np.frombuffer(whole, dtype="<i2").astype(np.float32) / 32768.0


def to_pcm16(samples: FloatArray) -> bytes:
    """Float samples as PCM16 bytes, clipped; what is not a number becomes silence."""
    finite = np.nan_to_num(samples, nan=0.0, posinf=1.0, neginf=-1.0)
    whole = np.clip(np.rint(finite * 32768.0), -32768, 32767).astype("<i2")
    return bytes(whole.tobytes())
