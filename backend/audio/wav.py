"""PCM16 and WAV with the standard library alone: for the main process, which never loads numpy."""

from __future__ import annotations

import math
import struct
import sys
from array import array
from collections.abc import Sequence
from operator import mul

from backend.audio.errors import AudioError

SILENCE_DBFS = -120.0
_FULL_SCALE = 32768.0
_PCM, _EXTENSIBLE = 1, 0xFFFE
_METER_SAMPLES = (
    240  # per slice; a meter needs no more, and 60 s of sound are then measured in 30 ms
)


def to_wav(pcm: bytes, rate_hz: int, channels: int = 1) -> bytes:
    """A whole WAV file with its true size in the header.

    Args:
        pcm: Little-endian int16, channels interleaved.
        rate_hz: Samples per second.
        channels: How many are interleaved.
    """
    block = 2 * channels
    return (
        struct.pack(
            "<4sI4s4sIHHIIHH4sI",
            b"RIFF",
            36 + len(pcm),
            b"WAVE",
            b"fmt ",
            16,
            _PCM,
            channels,
            rate_hz,
            rate_hz * block,
            block,
            16,
            b"data",
            len(pcm),
        )
        + pcm
    )


def read_wav(data: bytes) -> tuple[bytes, int]:
    """The samples of a mono PCM16 WAV file, and their rate. Sizes in headers are not believed.

    Raises:
        AudioError: If it is something else; `backend.audio.decode` reads everything.
    """
    if len(data) < 12 or data[:4] != b"RIFF" or data[8:12] != b"WAVE":
        raise AudioError("This is not a WAV file.")
    position = 12
    rate_hz = 0
    while position + 8 <= len(data):
        name, size = struct.unpack_from("<4sI", data, position)
        position += 8
        if name == b"fmt ":
            if size < 16 or position + 16 > len(data):
                raise AudioError("The WAV header is cut off.")
            kind, channels, rate_hz, _, _, bits = struct.unpack_from("<HHIIHH", data, position)
            if kind not in (_PCM, _EXTENSIBLE) or channels != 1 or bits != 16 or not rate_hz:
                raise AudioError(
                    f"Only mono 16-bit WAV is read here, not format {kind} with {channels} channels of {bits} bits."
                )
        elif name == b"data":
            if not rate_hz:
                raise AudioError("The WAV file has no format before its data.")
            pcm = data[position : position + size]
            return pcm[: len(pcm) // 2 * 2], rate_hz
        position += size + size % 2
    raise AudioError("The WAV file holds no sound.")


def level_dbfs(pcm: bytes) -> float:
    """RMS level; a full-scale sine reads -3.01, silence `SILENCE_DBFS`. 22,050 samples take 0.6 ms."""
    samples = _samples(pcm)
    if not samples:
        return SILENCE_DBFS
    return _dbfs(sum(map(mul, samples, samples)) / len(samples))


def peak_dbfs(sample: int) -> float:
    """Level of one int16 sample, the largest of a sound; `SILENCE_DBFS` for 0."""
    return _dbfs(float(sample) ** 2)


def levels_dbfs(pcm: bytes, rate_hz: int, slice_s: float = 0.02) -> list[float]:
    """The level of each slice, for meters: from 100 to 200 evenly spread samples of it."""
    samples = _samples(pcm)
    step = max(1, round(rate_hz * slice_s))
    levels = []
    for start in range(0, len(samples), step):
        piece = samples[start : start + step : max(1, step // _METER_SAMPLES)]
        levels.append(_dbfs(sum(map(mul, piece, piece)) / len(piece)))
    return levels


def volumes(pcm: bytes, rate_hz: int, slice_s: float = 0.02) -> list[float]:
    """The RMS of each slice in 0-1, the loudest slice being 1; all 0 for silence."""
    levels = levels_dbfs(pcm, rate_hz, slice_s)
    loudest = max(levels, default=SILENCE_DBFS)
    if loudest <= SILENCE_DBFS:
        return [0.0] * len(levels)
    return [round(10 ** ((level - loudest) / 20), 4) for level in levels]


def _samples(pcm: bytes) -> Sequence[int]:
    samples = array("h")
    samples.frombytes(memoryview(pcm)[: len(pcm) // 2 * 2])
    if sys.byteorder == "big":
        samples.byteswap()
    return samples


def _dbfs(mean_square: float) -> float:
    if mean_square <= 0:
        return SILENCE_DBFS
    return max(10 * math.log10(mean_square / _FULL_SCALE**2), SILENCE_DBFS)
