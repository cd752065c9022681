"""Shapes of the mouth read off the sound, for voices that do not tell their phonemes.

Where the energy of a vowel lies (its formants) says how open and how round the mouth was: per 20 ms the energies of 14 mel bands,
relative to the speaker's own mean, are laid against what each shape looks like on average (a linear discriminant; its table comes
from `scripts/make_mouth_table.py`), and the likeliest path through the shapes is taken. Runs in an engine host.
"""

from __future__ import annotations

from functools import lru_cache
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from backend.audio.formant_table import BIAS, CLASSES, WEIGHTS
from backend.audio.levels import FloatArray, from_pcm16

FIRST = ("numpy",)
IDLE_S = 300.0

FRAME_S = 0.02
WINDOW_S = 0.032
BANDS = 14
LOWEST_HZ, HIGHEST_HZ = 120.0, 7200.0
FLOOR_DB = 40.0
"""What lies further below the loud part of a sentence is its silence, noise of its recording included."""
ACTIVE_DB = 25.0
SWITCH = 1.0
"""How much likelier another shape must be before the mouth changes to it. Tried from 0.3 to 4 on six voices that neither the table nor a
test knows: here the open and closed frames agree best with the phonemes (89.7 %), and shapes change as often as theirs (1.05 x)."""
OPEN = frozenset(("aa", "E", "ih", "oh", "ou"))
QUIET_DB, LOUD_DB = -30.0, -6.0
SILENCE = 1e-4
"""A sound that stays below this (-80 dBFS) holds nobody who speaks."""
MOST_S = 180.0

Float64Array = npt.NDArray[np.float64]


def mouth(pcm: bytes, rate_hz: int) -> list[tuple[str, float, float, float]]:
    """Shapes in order: (viseme, start in s, end in s, weight 0-1), without the silence between; empty when nobody speaks.

    Args:
        pcm: PCM16, mono; what is longer than `MOST_S` is cut.
        rate_hz: 8,000 or more; telephone sound has no more than vowels to tell.
    """
    samples = from_pcm16(pcm[: 2 * round(MOST_S * rate_hz)])
    if rate_hz < 8_000 or samples.size < FRAME_S * rate_hz or np.abs(samples).max() < SILENCE:
        return []
    seen, below_db = features(samples, rate_hz)
    path = _path(np.einsum("nf,fc->nc", seen, _weights()) + np.asarray(BIAS))
    opening = np.clip((below_db - QUIET_DB) / (LOUD_DB - QUIET_DB), 0.0, 1.0)
    length_s = samples.size / rate_hz
    edges = [0, *(np.flatnonzero(np.diff(path)) + 1).tolist(), len(path)]
    found: list[tuple[str, float, float, float]] = []
    for first, last in pairwise(edges):
        shape = CLASSES[int(path[first])]
        if shape == "sil":
            continue
        weight = 1.0 if shape in ("PP", "FF") else 0.65
        if shape in OPEN:
            weight = 0.3 + 0.7 * float(opening[first:last].mean())
        end_s = min(length_s, last * FRAME_S)
        found.append((shape, first * FRAME_S, end_s, round(weight, 2)))
    return found


def warm() -> None:
    """Load what the first call needs."""
    mouth(bytes(4 * 22_050), 22_050)


def features(samples: FloatArray, rate_hz: int) -> tuple[Float64Array, Float64Array]:
    """What is known of each frame: shape (frames, BANDS + 1), and its level in dB below the loud part, shape (frames,).

    Args:
        samples: Mono, in [-1, 1], shape (n_samples,).
        rate_hz: Samples per second.
    """
    window = int(WINDOW_S * rate_hz)
    count = int(samples.size / (FRAME_S * rate_hz))
    around = np.concatenate((np.zeros(window // 2), samples, np.zeros(window)))
    starts = ((np.arange(count) + 0.5) * FRAME_S * rate_hz).astype(np.intp)
    frames = around[starts[:, None] + np.arange(window)] * np.hanning(window)
    power = np.abs(np.fft.rfft(frames, axis=1)) ** 2  # (frames, window // 2 + 1)
    # Not "@": its library takes a thread for each core to this little work, at three times the cost on a busy machine.
    energies = np.einsum("fp,pb->fb", power, _bands(rate_hz, window))  # (frames, BANDS)
    levels = 10 * np.log10(energies.sum(axis=1) + 1e-12)
    loud = float(np.percentile(levels, 95))
    bands = 10 * np.log10(energies + 10 ** ((loud - FLOOR_DB) / 10) / BANDS)
    bands -= bands.mean(axis=1, keepdims=True)
    # Relative to the speaker: a microphone and a larynx colour all sounds alike.
    bands -= bands[levels > loud - ACTIVE_DB].mean(axis=0)
    below = np.clip(levels - loud, -60.0, 5.0)
    return np.column_stack((bands, below)), below


@lru_cache(maxsize=8)
def _bands(rate_hz: int, window: int) -> Float64Array:
    """Triangles on the mel scale, shape (window // 2 + 1, BANDS)."""
    places = _mel(np.fft.rfftfreq(window, 1 / rate_hz).astype(np.float64))[:, None]
    lowest, highest = _mel(np.array([LOWEST_HZ, HIGHEST_HZ]))
    edges = np.linspace(lowest, highest, BANDS + 2)
    rising = (places - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - places) / (edges[2:] - edges[1:-1])
    return np.asarray(np.maximum(0.0, np.minimum(rising, falling)))


def _mel(hz: Float64Array) -> Float64Array:
    return np.asarray(2595 * np.log10(1 + hz / 700))


@lru_cache(maxsize=1)
def _weights() -> Float64Array:
    return np.asarray(WEIGHTS)


def _path(scores: Float64Array) -> npt.NDArray[np.intp]:
    """The likeliest shapes when changing costs `SWITCH` (Viterbi), shape (frames,)."""
    count, shapes = scores.shape
    best = scores[0].copy()
    stays = np.empty((count, shapes), dtype=bool)
    came = np.zeros(count, dtype=np.intp)
    for n in range(1, count):
        top = int(best.argmax())
        changed = best[top] - SWITCH
        stays[n] = best >= changed
        came[n] = top
        best = np.maximum(best, changed) + scores[n]
    path = np.empty(count, dtype=np.intp)
    path[-1] = best.argmax()
    for n in range(count - 1, 0, -1):
        path[n - 1] = path[n] if stays[n, path[n]] else came[n]
    return path
