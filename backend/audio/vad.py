"""Where somebody speaks in a clip; keeps recognisers from reading words into silence, noise and hum.

Speech swings (syllables), rises above the room, and is voiced for a good part of it. Steady noise and hum do not swing;
clicks are too short. Whispering counts when it swings like speech.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from backend.audio.levels import FloatArray, frame_levels_dbfs, from_pcm16
from backend.audio.resample import resample

IDLE_S = 120.0

RATE_HZ = 16_000
FRAME, HOP = 512, 160  # 32 and 10 ms
QUIETEST_PEAK = 0.004  # -48 dBFS
QUIETEST_DBFS = -70.0  # a frame, after emphasis
ABOVE_ROOM_DB = 8.0
STEADY_DB = 1.5  # white noise varies by 0.3 dB from frame to frame, hum by less
SWING_DB = 15.0
VOICED = 0.45
LEAST_VOICED_S = 0.08
LEAST_SWINGING_S = 0.3
JOIN_S = 0.4  # pauses inside a sentence
PADDING_S = 0.2


def speech_spans(samples: FloatArray, rate_hz: int) -> list[tuple[float, float]]:
    """Stretches of speech in seconds, in order, with a little room around each; empty when nobody speaks.

    Args:
        samples: Mono, in [-1, 1], shape (n_samples,).
        rate_hz: Samples per second.
    """
    samples = resample(samples, rate_hz, RATE_HZ)
    if samples.size < FRAME or float(np.max(np.abs(samples))) < QUIETEST_PEAK:
        return []
    # Emphasis flattens rumble, traffic and hum: they would look loud, and periodic at short lags.
    bright = np.diff(samples, prepend=samples[:1])
    levels = frame_levels_dbfs(bright, FRAME, HOP)
    room = float(np.percentile(levels, 10))
    loudest = float(np.percentile(levels, 98))
    threshold = max(min(room + ABOVE_ROOM_DB, loudest - 12.0), QUIETEST_DBFS)
    active = levels > threshold
    voiced = active & (_periodicity(bright, levels.size) > VOICED)
    swinging = loudest - room > SWING_DB
    spans = []
    for start, end in _runs(active, round(JOIN_S * RATE_HZ / HOP)):
        voiced_s = float(voiced[start:end].sum()) * HOP / RATE_HZ
        active_s = float(active[start:end].sum()) * HOP / RATE_HZ
        is_steady = float(np.std(levels[start:end])) < STEADY_DB
        is_voiced = voiced_s >= LEAST_VOICED_S
        if not is_steady and (is_voiced or (swinging and active_s >= LEAST_SWINGING_S)):
            start_s = max(start * HOP / RATE_HZ - PADDING_S, 0.0)
            end_s = min((end * HOP + FRAME) / RATE_HZ + PADDING_S, samples.size / RATE_HZ)
            spans.append((start_s, end_s))
    return spans


def has_speech(pcm: bytes, rate_hz: int) -> bool:
    """Whether anybody speaks in PCM16 mono; for the engine host."""
    return bool(speech_spans(from_pcm16(pcm), rate_hz))


def _periodicity(bright: FloatArray, frames: int) -> npt.NDArray[np.float64]:
    """How much each frame repeats itself at a voice's pitch (80-400 Hz), 0-1, shape (frames,)."""
    found = np.empty(frames)
    window = np.hanning(FRAME)
    shrink = np.fft.irfft(np.abs(np.fft.rfft(window, 2 * FRAME)) ** 2)[:FRAME]
    low, high = RATE_HZ // 400, RATE_HZ // 80
    for first in range(0, frames, 1000):  # 1,000 frames at once: 8 MB
        count = min(1000, frames - first)
        index = (first + np.arange(count))[:, None] * HOP + np.arange(FRAME)[None, :]
        spectrum = np.fft.rfft(bright[index] * window, 2 * FRAME)  # (count, FRAME + 1)
        same = np.fft.irfft(np.abs(spectrum) ** 2)[:, :FRAME]  # (count, lags)
        same = same / np.maximum(same[:, :1], 1e-12)
        found[first : first + count] = (same[:, low:high] / (shrink[low:high] / shrink[0])).max(1)
    return found


def _runs(active: npt.NDArray[np.bool_], join: int) -> list[tuple[int, int]]:
    """Runs of active frames as (start, end), joined over gaps up to ``join`` frames."""
    runs: list[tuple[int, int]] = []
    edges = np.flatnonzero(np.diff(np.concatenate(([0], active.astype(np.int8), [0]))))
    for start, end in zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True):
        if runs and start - runs[-1][1] <= join:
            runs[-1] = (runs[-1][0], end)
        else:
            runs.append((start, end))
    return runs
