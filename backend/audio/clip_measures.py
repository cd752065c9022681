"""What can be measured of a recording: level, clipping, offset, noise, real bandwidth, echo.

Every figure is an estimate from the sound alone and is missing where the sound does not tell (echo without pauses).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from backend.audio.highpass import highpass
from backend.audio.levels import FloatArray, frame_levels_dbfs, peak_dbfs
from backend.audio.loudness import lufs

FloatArray64 = npt.NDArray[np.float64]

QUIETEST_DBFS = -120.0
FRAME_S, HOP_S = 0.032, 0.01
NOISE_PERCENTILE = 5.0  # even dense speech leaves the room that much of the time
LOUDEST_PERCENTILE = 95.0
ACTIVE_DB = 20.0  # below the loudest frames: still speech
HIGHEST_SNR_DB = 90.0

LONGEST_ROUND = (
    3  # from so many equal samples on, a top is looked at closer: round ones can have them too
)
QUIETEST_EXTREME = 100 / 32768  # below it every top is a step of the converter
NEAR_EXTREME = 0.98
ROUNDING = 1.5 / 32768
CORNER = 8 / 32768  # a round top has fallen by less than 6 roundings just outside of such a flat

BAND_HZ = 250.0
BELOW_LOUDEST_DB = 78.0  # resamplers and MP3 leave less than that above their edge
BAND_NOISE_DBFS = -113.0  # rounding to 16 bits lies here, in a band of 250 Hz at 48 kHz

DECAY_FRAMES = 8
DECAY_HOP_S = 0.005
LEAST_DECAYS = 6
DECAY_ABOVE_NOISE_DB = 12.0
STEEPEST_SHARE = 0.8


def measure(
    samples: FloatArray,
    rate_hz: int,
    *,
    clean: FloatArray | None = None,
    noise_dbfs: float | None = None,
    with_echo: bool = True,
) -> dict[str, float]:
    """Measures of one clip.

    Args:
        samples: Mono, in [-1, 1], shape (n_samples,); float32.
        rate_hz: Samples per second.
        clean: The same without rumble and offset, of which levels are read; None = made here.
        noise_dbfs: Level of the room where the clip comes from, when it is known from longer pauses; None = from the clip.
        with_echo: Look for echo too; one clip of a few seconds seldom tells.

    Returns:
        ``duration_s``; ``rate_hz``; ``peak_dbfs``; ``clipped``, share of samples in flat tops, 0-1; ``dc``, mean of the
        samples; ``lufs`` (BS.1770, one block when shorter than 0.4 s); ``noise_dbfs``, level of the quietest twentieth;
        ``snr_db``, of the speech over it (at most 90); ``bandwidth_hz``, up to where there is sound at all;
        ``echo_s``, how long the room takes to fall by 60 dB, only where enough pauses show it.
    """
    found = {
        "duration_s": round(samples.size / rate_hz, 4),
        "rate_hz": float(rate_hz),
        "peak_dbfs": round(max(peak_dbfs(samples), QUIETEST_DBFS), 2),
        "clipped": round(clipped_share(samples), 6),
        "dc": round(float(np.mean(samples)) if samples.size else 0.0, 6),
    }
    clean = highpass(samples, rate_hz) if clean is None else clean
    found["lufs"] = round(lufs(clean, rate_hz), 2)
    levels = frame_levels_dbfs(clean, round(FRAME_S * rate_hz), round(HOP_S * rate_hz))
    if levels.size == 0:
        levels = np.array([max(found["lufs"], QUIETEST_DBFS)])
    if noise_dbfs is None:
        noise_dbfs = float(np.percentile(levels, NOISE_PERCENTILE))
    found["noise_dbfs"] = round(max(noise_dbfs, QUIETEST_DBFS), 2)
    found["snr_db"] = round(snr_db(levels, noise_dbfs), 2)
    found["bandwidth_hz"] = round(bandwidth_hz(samples, rate_hz), 1)
    if with_echo:
        echo_s = reverberation_s(decay_rates(clean, rate_hz, noise_dbfs))
        if echo_s is not None:
            found["echo_s"] = round(echo_s, 3)
    return found


def snr_db(levels_dbfs: FloatArray64, noise_dbfs: float) -> float:
    """How far speech lies above the noise, from the levels of frames; 0 when nothing stands out.

    The power of frames within 20 dB of the loudest, less the noise in them, over the noise.
    """
    if levels_dbfs.size == 0:
        return 0.0
    loudest = float(np.percentile(levels_dbfs, LOUDEST_PERCENTILE))
    active = levels_dbfs[levels_dbfs >= max(loudest - ACTIVE_DB, noise_dbfs)]
    if active.size == 0:
        return 0.0
    noise = 10 ** (max(noise_dbfs, QUIETEST_DBFS) / 10)
    speech = float(np.mean(10 ** (active / 10))) - noise
    return float(np.clip(10 * np.log10(max(speech, noise) / noise), 0.0, HIGHEST_SNR_DB))


def clipped_share(samples: FloatArray) -> float:
    """Share of the samples that lie in flat tops, 0-1; see `flat_tops`."""
    return sum(length for _, length in flat_tops(samples)) / max(samples.size, 1)


def flat_tops(samples: FloatArray) -> list[tuple[int, int]]:
    """Where a converter or an amplifier could not follow, also when the sound was made quieter afterwards.

    A flat top is a run of equal samples at the extreme of the sound that ends in a corner. A single one does not count:
    every wave has one highest point.

    Args:
        samples: One channel as recorded, shape (n_samples,); a few seconds, so that they share one extreme.

    Returns:
        (first sample, samples) of each.
    """
    if samples.size < 8:
        return []
    found: list[tuple[int, int]] = []
    for side in (samples, -samples):
        extreme = float(side.max())
        if extreme < QUIETEST_EXTREME:
            continue
        high = side >= NEAR_EXTREME * extreme
        edges = np.flatnonzero(np.diff(np.concatenate(([0], high.astype(np.int8), [0]))))
        flats = []
        for start, end in zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True):
            if end - start < LONGEST_ROUND:
                continue
            run = side[start:end]
            flat = np.flatnonzero(run >= float(run.max()) - ROUNDING)
            first, last = start + int(flat[0]), start + int(flat[-1])
            length = last - first + 1
            if length < LONGEST_ROUND or length != flat.size:
                continue
            before = side[first - 1] if first else extreme
            after = side[last + 1] if last + 1 < side.size else extreme
            # The steeper side decides: a wave may leave its flat top on one side in a round shoulder.
            if max(side[first] - before, side[last] - after) > CORNER:
                flats.append((first, length))
        if len(flats) >= 2:
            found += flats
    return found


def bandwidth_hz(samples: FloatArray, rate_hz: int) -> float:
    """The highest frequency at which there is sound, whatever the file's rate says; 0 for silence.

    Per band of 250 Hz the level that only 5 % of the frames pass is compared with the loudest band and with what rounding
    to 16 bits leaves. Noise added after the sound was made narrow hides it; a careless resampler leaves images above.
    """
    size = 1 << max(int(rate_hz * 0.04).bit_length(), 8)
    if samples.size < size:
        samples = np.pad(samples, (0, size - samples.size))
    views = np.lib.stride_tricks.sliding_window_view(samples, size)[:: size // 2]
    if len(views) > 400:
        views = views[:: len(views) // 400 + 1]  # twenty seconds' worth say as much as an hour
    # Blackman: its side lobes (-58 dB, falling by 18 dB an octave) stay under what is looked for.
    window = np.blackman(size).astype(np.float32)
    spectrum = np.abs(np.fft.rfft(views * window, axis=1)) ** 2
    width = max(round(BAND_HZ * size / rate_hz), 1)
    bands = spectrum.shape[1] // width
    power = spectrum[:, : bands * width].reshape(len(views), bands, width).sum(axis=2)
    # Two-sided bins to mean square: of a window of that energy.
    power *= 2 / (size * float(np.sum(np.square(window, dtype=np.float64))))
    levels = 10 * np.log10(np.maximum(np.percentile(power, 95, axis=0), 1e-16))
    heard = np.flatnonzero(levels > max(float(levels.max()) - BELOW_LOUDEST_DB, BAND_NOISE_DBFS))
    if heard.size == 0:
        return 0.0
    return float(min((heard[-1] + 1) * width * rate_hz / size, rate_hz / 2))


def decay_rates(samples: FloatArray, rate_hz: int, noise_dbfs: float) -> list[float]:
    """How fast the sound falls, in dB/s, wherever it falls for 80 ms on end and stays above the noise."""
    # The low voice bar of a vowel decays slowly by itself: listen where rooms ring and speech stops at once.
    bright = np.diff(samples, prepend=samples[:1])
    hop = max(round(DECAY_HOP_S * rate_hz), 1)
    levels = frame_levels_dbfs(bright, 4 * hop, hop)
    if levels.size < 3 * DECAY_FRAMES:
        return []
    length = 2 * DECAY_FRAMES
    floor = max(float(np.percentile(levels, NOISE_PERCENTILE)), noise_dbfs - 40.0)
    views = np.lib.stride_tricks.sliding_window_view(levels, length)
    falling = (np.diff(views, axis=1) < 0.5).all(axis=1) & (
        views[:, -1] > floor + DECAY_ABOVE_NOISE_DB
    )
    time_s = (np.arange(length) - (length - 1) / 2) * hop / rate_hz
    slopes = views @ time_s / np.sum(np.square(time_s))
    rates: list[float] = []
    last = -length
    for index in np.flatnonzero(falling).tolist():
        rate = float(-slopes[index])
        if index - last < length:
            rates[-1] = max(rates[-1], rate)
        else:
            rates.append(rate)
            last = index
    return rates


def reverberation_s(rates_db_s: list[float]) -> float | None:
    """Reverberation time from decays; None when there are too few to tell.

    No sound in a room can fall faster than the room: the steep end of the observed decays shows it.

    Source: after R. Ratnam et al., "Blind estimation of reverberation time", JASA 114 (2003).
    """
    if len(rates_db_s) < LEAST_DECAYS:
        return None
    return 60.0 / max(float(np.quantile(rates_db_s, STEEPEST_SHARE)), 1.0)
