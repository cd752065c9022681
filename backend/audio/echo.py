"""Whether a microphone hears more than what a loudspeaker plays: how much of its sound the played sound explains.

The loudspeaker, the room and the microphone are a linear filter of unknown delay, gain and reverberation. It is fitted to the last
second and a half, for each frequency over the frames of a short Fourier transform, with frames that fit badly counting less, because in
those somebody else speaks (the weights of weighted prediction error, Nakatani et al. 2010, doi:10.1109/TASL.2010.2052251). What
remains of the newest frames is not the loudspeaker's.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from backend.audio import bands
from backend.audio.levels import FloatArray, from_pcm16
from backend.audio.resample import resample

RATE_HZ = 16_000
WINDOW, HOP = 1024, 256  # 64 and 16 ms
LOW_HZ, HIGH_HZ = 200.0, 3600.0
TAPS = 8
"""Frames of the room's answer that are fitted: 128 ms, most of what a living room gives back."""
BEFORE = 1
"""Frames before the loudest path that are fitted too: the delay is found to a frame or so."""
ITERATIONS = 2
BIN_STEP = 2
"""The window makes neighbouring bins alike: every other one says as much at half the cost."""
QUIETEST_DBFS = -65.0
"""A remainder below is none, whatever it is compared with."""
LEAST_SHARE, LEAST_DB = 0.35, 8.0
"""What remains of an echo alone is less, measured in simulated rooms; see tests/unit/audio/test_echo.py."""
QUIET_PERCENT = 10
"""Of the frames are pauses, also where somebody speaks all the time: what remains in them is noise."""
SHORT_S, SHORT_TAPS = 0.5, 4
BEYOND = 0.6
"""Of the newest power, more than she can be at any delay: somebody else."""
LIKE = 0.7
"""Levels so much like hers are hers, however loud: somebody has turned her up."""
EXCESS = 0.5
"""Where the delay seems to jump the filter says nothing by itself: so much must be unexplained by the levels, too."""
TINY = 1e-12

ComplexArray: TypeAlias = npt.NDArray[np.complex64]

FIRST = ("numpy",)  # imported before any call, by one thread


@dataclass(frozen=True, slots=True)
class Remainder:
    """What of the newest sound is not the loudspeaker's.

    Attributes:
        share: Of its power, 0-1.
        above_db: How far it rises above what usually remains in this stretch.
        level_dbfs: Of the newest sound, all of it.
    """

    share: float
    above_db: float
    level_dbfs: float


def warm() -> None:
    """Load what computes."""
    judge(bytes(2 * RATE_HZ), [], RATE_HZ // 2, 100, None, is_sure=True)


def judge(
    heard: bytes,
    played: list[list[object]],
    extra: int,
    newest_ms: int,
    known: list[float] | None,
    *,
    is_sure: bool,
) -> bool:
    """Whether a microphone certainly hears more than what was played; for the engine host.

    Args:
        heard: PCM16 mono at 16 kHz.
        played: What was played: PCM16, its rate, and where it begins, in samples at 16 kHz from ``extra`` before ``heard``.
        extra: Samples of the most delay that is looked for.
        newest_ms: How much of the end is judged.
        known: How much of what is played arrives, from earlier times; see `observe`.
        is_sure: Whether the times of both are known to some ms, and nothing is missing.
    """
    y, x = _both(heard, played, extra)
    newest = newest_ms * bands.RATE_HZ // 1000 // bands.HOP
    found = bands.explained(bands.levels(y), bands.levels(x), newest, known)
    if found.beyond >= BEYOND and found.likeness < LIKE:
        return _is_loud(y, newest_ms)
    if not is_sure or (found.jumps and found.excess < EXCESS):
        return False
    return is_more(y, x, newest_ms)


def observe(
    heard: bytes, played: list[list[object]], extra: int
) -> tuple[list[float] | None, float]:
    """How much of what is played can arrive at most, and how much it is like what is heard (0-1); for the engine host."""
    heard_levels, played_levels = (bands.levels(one) for one in _both(heard, played, extra))
    found = bands.explained(heard_levels, played_levels, 1, None)
    return bands.arrives(heard_levels, played_levels), found.likeness


def _is_loud(y: FloatArray, newest_ms: int) -> bool:
    newest = y[-newest_ms * RATE_HZ // 1000 :]
    return float(np.mean(newest**2)) > 10 ** (QUIETEST_DBFS / 10)


def _both(heard: bytes, played: list[list[object]], extra: int) -> tuple[FloatArray, FloatArray]:
    y = from_pcm16(heard)
    x = np.zeros(y.size + extra, np.float32)
    for pcm, rate_hz, at in played:
        assert isinstance(pcm, bytes)
        assert isinstance(rate_hz, int)
        assert isinstance(at, int)
        sound = resample(from_pcm16(pcm), rate_hz, RATE_HZ)[max(-at, 0) :]
        at = max(at, 0)
        sound = sound[: max(x.size - at, 0)]
        x[at : at + sound.size] = sound
    return y, x


def is_more(y: FloatArray, x: FloatArray, newest_ms: int) -> bool:
    """Whether the newest sound at a microphone is more than what was played: somebody speaks, too.

    Args:
        y: Heard in the last one to two seconds, mono in [-1, 1] at 16 kHz, shape (n_samples,).
        x: Played in the same time and some before it, as much as the way from loudspeaker to microphone may take; silence
            where nothing was played.
        newest_ms: How much of the end is judged.
    """
    found = remainder(y, x, newest_ms)
    if found.level_dbfs < QUIETEST_DBFS or found.share < LEAST_SHARE or found.above_db < LEAST_DB:
        return False
    # A sound system that skips makes the long stretch two halves that no one filter explains; a short one is soon whole again.
    short = round(SHORT_S * RATE_HZ)
    if y.size > 2 * short:
        again = remainder(y[-short:], x[-(short + x.size - y.size) :], newest_ms, SHORT_TAPS)
        return again.share >= LEAST_SHARE
    return True


def remainder(y: FloatArray, x: FloatArray, newest_ms: int, taps: int = TAPS) -> Remainder:
    """What the best filter from the played sound ``x`` leaves of the heard ``y``; see `is_more`.

    Args:
        y: Mono in [-1, 1], shape (n_samples,).
        x: Likewise, and longer by the most delay that is looked for.
        newest_ms: How much of the end is judged.
        taps: Frames of the room's answer that are fitted.
    """
    extra = x.size - y.size
    delay = _delay(y, x, extra)
    # Frames of x are cut so that its loudest path lies on the frames of y, with `taps` frames around it.
    reach = (taps - 1 - BEFORE) * HOP
    padded = np.concatenate((np.zeros(reach, np.float32), x, np.zeros(BEFORE * HOP, np.float32)))
    first = extra - delay  # in ``padded``: x from ``reach`` before the loudest path
    played = _bins(padded[first : first + y.size + reach + BEFORE * HOP])
    heard = _bins(y)  # (frames, bins)
    frames = heard.shape[0]
    model = np.stack([played[n : n + frames] for n in range(taps)])  # (taps, frames, bins)
    power = (np.abs(heard) ** 2).sum(axis=1) + TINY  # (frames,)
    left = (np.abs(_remainder(heard, model)) ** 2).sum(axis=1) + TINY
    newest = min(max(1, newest_ms * RATE_HZ // 1000 // HOP), frames)
    newest_power = float(np.mean(y[-newest * HOP :] ** 2)) + TINY
    # From the power of bins to that of samples, by the newest ones themselves.
    scale = newest_power / float(power[-newest:].mean())
    usual = max(float(np.percentile(left, QUIET_PERCENT)) * scale, 10 ** (QUIETEST_DBFS / 10))
    return Remainder(
        share=min(float(left[-newest:].sum() / power[-newest:].sum()), 1.0),
        above_db=10 * float(np.log10(left[-newest:].mean() * scale / usual + TINY)),
        level_dbfs=10 * float(np.log10(newest_power)),
    )


def _delay(y: FloatArray, x: FloatArray, extra: int) -> int:
    """Samples from the played sound to its loudest copy in the heard one, by generalised cross-correlation."""
    size = 1 << (x.size + y.size - 1).bit_length()
    spectrum = np.fft.rfft(y, size) * np.conj(np.fft.rfft(x, size))
    frequency = np.fft.rfftfreq(size, 1 / RATE_HZ)
    spectrum[(frequency < LOW_HZ) | (frequency > HIGH_HZ)] = 0
    # Half way to a phase transform: sharp in a room, and not led astray by noise where nothing is played.
    found = np.fft.irfft(spectrum / (np.abs(spectrum) ** 0.5 + TINY), size)
    lags = np.arange(extra + 1) - extra  # y[n] is x[n + extra - delay]
    return int(lags[np.argmax(np.abs(found[lags]))]) + extra


def _bins(samples: FloatArray) -> ComplexArray:
    """Short Fourier transform within the band, shape (frames, bins)."""
    count = max((samples.size - WINDOW) // HOP + 1, 0)
    frames = np.lib.stride_tricks.sliding_window_view(samples, WINDOW)[::HOP][:count]
    low, high = round(LOW_HZ * WINDOW / RATE_HZ), round(HIGH_HZ * WINDOW / RATE_HZ)
    return np.fft.rfft(frames * np.hanning(WINDOW).astype(np.float32), axis=1)[
        :, low:high:BIN_STEP
    ].astype(np.complex64)


def _remainder(heard: ComplexArray, model: ComplexArray) -> ComplexArray:
    """What the best filter leaves, shape (frames, bins)."""
    taps, frames, _ = model.shape
    columns = model.transpose(2, 1, 0)  # (bins, frames, taps)
    wanted = heard.T[:, :, None]  # (bins, frames, 1)
    floor = float(np.mean(np.abs(heard) ** 2)) * 1e-3 + TINY
    weights = np.ones((1, frames, 1), np.float32)
    eye = np.eye(taps, dtype=np.complex64)
    rest = heard
    for _ in range(ITERATIONS):
        turned = np.conj(columns).transpose(0, 2, 1) * weights.transpose(0, 2, 1)
        normal = turned @ columns  # (bins, taps, taps)
        trace = np.trace(normal, axis1=1, axis2=2).real[:, None, None] / taps
        filters = np.linalg.solve(normal + (1e-3 * trace + TINY) * eye, turned @ wanted)
        rest = (wanted - columns @ filters)[:, :, 0].T
        left = np.mean(np.abs(rest) ** 2, axis=1)
        weights = (1 / (left + floor))[None, :, None].astype(np.float32)
    return rest
