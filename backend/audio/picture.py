"""Pictures of a clip for the window: its waveform as numbers, its spectrogram as a grey PNG. For the engine host."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from backend.audio.decode import decode
from backend.audio.levels import FloatArray
from backend.audio.resample import resample

IDLE_S = 120.0

LARGEST = 4096  # columns or rows
LONGEST_S = 900.0
HIGHEST_HZ = 8_000
WINDOW_S = 0.03  # shows the pitch of high voices as lines, of low ones as strokes
RANGE_DB = 75.0

ByteArray = npt.NDArray[np.uint8]


def peaks(path: str, columns: int) -> dict[str, Any]:
    """The waveform in so many columns.

    Returns:
        ``{"low": […], "high": […], "duration_s"}``: lowest and highest sample of each column, in [-1, 1].

    Raises:
        AudioError: The file cannot be read.
    """
    sound = decode(Path(path), max_s=LONGEST_S)
    columns = min(max(columns, 1), LARGEST)
    edges = np.linspace(0, sound.samples.size, columns + 1).astype(int)
    starts = np.minimum(edges[:-1], max(sound.samples.size - 1, 0))
    # With fewer samples than columns some columns begin where the next one does: reduceat gives them that sample.
    return {
        "low": [round(float(one), 4) for one in np.minimum.reduceat(sound.samples, starts)],
        "high": [round(float(one), 4) for one in np.maximum.reduceat(sound.samples, starts)],
        "duration_s": round(sound.duration_s, 4),
    }


def spectrogram_png(path: str, width: int, height: int) -> bytes:
    """The spectrogram, 0 to 8 kHz with the low ones at the bottom; 8-bit grey PNG, the loudest white, 75 dB less black.

    Raises:
        AudioError: The file cannot be read.
    """
    sound = decode(Path(path), max_s=LONGEST_S)
    samples = resample(sound.samples, sound.rate_hz, 2 * HIGHEST_HZ)
    width, height = min(max(width, 1), LARGEST), min(max(height, 1), LARGEST)
    return to_png(spectrogram(samples, 2 * HIGHEST_HZ, width, height))


def spectrogram(samples: FloatArray, rate_hz: int, width: int, height: int) -> ByteArray:
    """Levels as grey values, shape (height, width); the first row is the highest frequency (half the rate)."""
    size = 1 << round(np.log2(WINDOW_S * rate_hz))
    window = np.hanning(size).astype(np.float32)
    padded = np.pad(samples.astype(np.float32, copy=False), size // 2)
    centres = np.linspace(0, max(samples.size - 1, 0), width).astype(int)
    power = np.empty((size // 2 + 1, width), np.float32)
    for first in range(0, width, 512):
        index = centres[first : first + 512, None] + np.arange(size)[None, :]
        padded_index = np.minimum(index, padded.size - 1)
        spectrum = np.fft.rfft(padded[padded_index] * window, axis=1)
        power[:, first : first + 512] = np.square(np.abs(spectrum)).T
    edges = np.linspace(0, len(power), height + 1)
    rows = np.maximum.reduceat(power, edges[:-1].astype(int), axis=0)[::-1]
    level = 10 * np.log10(np.maximum(rows, 1e-13))
    grey = (level - max(float(level.max()), -40.0) + RANGE_DB) / RANGE_DB * 255
    return np.clip(grey, 0, 255).astype(np.uint8)


def to_png(grey: ByteArray) -> bytes:
    """An 8-bit grey PNG of a picture of shape (height, width)."""
    height, width = grey.shape
    rows = np.zeros((height, width + 1), np.uint8)  # each row begins with its filter: none
    rows[:, 1:] = grey

    def chunk(name: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        )

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(rows.tobytes(), 6))
        + chunk(b"IEND", b"")
    )
