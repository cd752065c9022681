"""PCM16 and WAV with the standard library alone: for the main process, which never loads numpy."""

from __future__ import annotations

import math
import struct
import sys
from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from operator import mul

from backend.audio.errors import AudioError

SILENCE_DBFS = -120.0
_FULL_SCALE = 32768.0
_PCM, _EXTENSIBLE = 1, 0xFFFE
_MOST_CHANNELS = 8
_RATES_HZ = range(1_000, 384_001)
_SIGNED = bytes(value ^ 0x80 for value in range(256))
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
    form, body = _parts(data)
    if form.kind not in (_PCM, _EXTENSIBLE) or form.channels != 1 or form.bits != 16:
        raise AudioError(
            f"Only mono 16-bit WAV is read here, not format {form.kind} with {form.channels} channels of"
            f" {form.bits} bits."
        )
    return body[: len(body) // 2 * 2], form.rate_hz


def read_linear_wav(data: bytes) -> tuple[bytes, int]:
    """Any linear PCM WAV file (8, 16, 24 or 32 bit, up to eight channels) as mono PCM16, and its rate.

    A second of 48 kHz stereo takes about 8 ms: call it in a worker thread.

    Raises:
        AudioError: It is something else, or holds no sound.
    """
    form, body = _parts(data)
    width = form.block // form.channels if form.channels else 0
    is_linear = form.kind == _PCM or (form.kind == _EXTENSIBLE and form.sub_kind == _PCM)
    if (
        not is_linear
        or not 1 <= form.channels <= _MOST_CHANNELS
        or width not in (1, 2, 3, 4)
        or width != (form.bits + 7) // 8
        or form.rate_hz not in _RATES_HZ
    ):
        raise AudioError(
            f"Only linear PCM is read here, not format {form.kind} with {form.channels} channels of {form.bits} bits"
            f" at {form.rate_hz} Hz."
        )
    body = body[: len(body) // form.block * form.block]
    if not body:
        raise AudioError("The WAV file holds no sound.")
    return _mono(_sixteen_bit(body, width), form.channels), form.rate_hz


@dataclass(frozen=True, slots=True)
class _Form:
    """What a WAV file says of its samples."""

    kind: int
    channels: int
    rate_hz: int
    block: int
    bits: int
    sub_kind: int


def _parts(data: bytes) -> tuple[_Form, bytes]:
    """The format of a WAV file and its samples; sizes in headers are not believed."""
    if len(data) < 12 or data[:4] != b"RIFF" or data[8:12] != b"WAVE":
        raise AudioError("This is not a WAV file.")
    position = 12
    form: _Form | None = None
    while position + 8 <= len(data):
        name, size = struct.unpack_from("<4sI", data, position)
        position += 8
        if name == b"fmt ":
            if size < 16 or position + 16 > len(data):
                raise AudioError("The WAV header is cut off.")
            kind, channels, rate_hz, _, block, bits = struct.unpack_from("<HHIIHH", data, position)
            if not rate_hz:
                raise AudioError("The WAV header says 0 samples a second.")
            is_long = size >= 26 and position + 26 <= len(data)
            sub_kind = struct.unpack_from("<H", data, position + 24)[0] if is_long else 0
            form = _Form(kind, channels, rate_hz, block, bits, sub_kind)
        elif name == b"data":
            if form is None:
                raise AudioError("The WAV file has no format before its data.")
            return form, data[position : position + size]
        position += size + size % 2
    raise AudioError("The WAV file holds no sound.")


def _sixteen_bit(body: bytes, width: int) -> bytes:
    """Samples of any width as 16-bit ones: their two upper bytes."""
    if width == 2:
        return body
    out = bytearray(len(body) // width * 2)
    if width == 1:  # unsigned, and the only width that is
        out[1::2] = body.translate(_SIGNED)
    else:
        out[0::2] = body[width - 2 :: width]
        out[1::2] = body[width - 1 :: width]
    return bytes(out)


def _mono(pcm: bytes, channels: int) -> bytes:
    """The mean of interleaved channels."""
    if channels == 1:
        return pcm
    samples = _samples(pcm)
    each = (samples[channel::channels] for channel in range(channels))
    mean = array("h", [sum(frame) // channels for frame in zip(*each, strict=True)])
    if sys.byteorder == "big":
        mean.byteswap()
    return mean.tobytes()


def level_dbfs(pcm: bytes) -> float:
    """RMS level; a full-scale sine reads -3.01, silence `SILENCE_DBFS`. 22,050 samples take 0.6 ms."""
    samples = _samples(pcm)
    if not samples:
        return SILENCE_DBFS
    return _dbfs(sum(map(mul, samples, samples)) / len(samples))


def peak_dbfs(sample: int) -> float:
    """Level of one int16 sample, the largest of a sound; `SILENCE_DBFS` for 0."""
    return _dbfs(float(sample) ** 2)


def levels_dbfs(
    pcm: bytes, rate_hz: int, slice_s: float = 0.02, most: int = _METER_SAMPLES
) -> list[float]:
    """The level of each slice, for meters: from about ``most`` evenly spread samples of it."""
    samples = _samples(pcm)
    step = max(1, round(rate_hz * slice_s))
    levels = []
    for start in range(0, len(samples), step):
        piece = samples[start : start + step : max(1, step // most)]
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
