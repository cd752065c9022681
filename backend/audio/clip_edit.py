"""What a review does to one clip: trim, split, denoise, measure again. For the engine host: paths in, values out.

Clips are PCM16 mono WAV. A file is written whole or not at all; source and target may be the same. The caller keeps the
clip from before. Cuts get fades of 5 ms, and loudness is brought back to where every clip of a dataset is.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from backend.audio import denoise as spectral_gate
from backend.audio.clip_grade import grade
from backend.audio.clip_measures import measure
from backend.audio.errors import AudioError, AudioTooLargeError
from backend.audio.levels import FloatArray, from_pcm16, to_pcm16
from backend.audio.loudness import to_lufs
from backend.audio.wav import read_wav, to_wav

IDLE_S = 120.0

TARGET_LUFS = -23.0  # EBU R 128: speech with peaks 20 dB above it still needs no limiter
FADE_S = 0.005
SHORTEST_S = 0.3
MAX_BYTES = 32 << 20  # twelve minutes; clips have 10 s

# Seen only in the recording as it came: what was cut from it keeps them.
OF_THE_SOURCE = ("rate_hz", "bandwidth_hz", "clipped", "dc", "peak_dbfs", "source_lufs", "echo_s")


def trim(
    path: str,
    target: str,
    start_s: float,
    end_s: float,
    measures: Mapping[str, float] | None = None,
) -> dict[str, Any]:
    """Keep what lies between two times.

    Args:
        path: The clip.
        target: Where the shorter one goes.
        start_s: From here on.
        end_s: Up to here; clamped to the clip.
        measures: Of the clip so far; what only its source could tell is kept.

    Returns:
        ``{"path", "sha256", "duration_s", "measures", "grade", "reasons"}`` of the new clip. ``match`` is not among its
        measures: the transcript must be checked again.

    Raises:
        AudioError: The clip cannot be read, or less than 0.3 s would be left.
    """
    samples, rate_hz = _read(path)
    kept = _between(samples, rate_hz, start_s, end_s)
    return _keep(kept, rate_hz, target, measures)


def split(
    path: str, first: str, second: str, at_s: float, measures: Mapping[str, float] | None = None
) -> list[dict[str, Any]]:
    """Make two clips of one; `trim` says what is returned for each.

    Raises:
        AudioError: The clip cannot be read, or one half would have less than 0.3 s.
    """
    samples, rate_hz = _read(path)
    halves = (
        _between(samples, rate_hz, 0.0, at_s),
        _between(samples, rate_hz, at_s, samples.size / rate_hz),
    )
    return [
        _keep(half, rate_hz, target, measures)
        for half, target in zip(halves, (first, second), strict=True)
    ]


def denoise(path: str, target: str, measures: Mapping[str, float] | None = None) -> dict[str, Any]:
    """Lower the steady noise; `trim` says what is returned, and ``denoised`` is 1 among the measures.

    Raises:
        AudioError: The clip cannot be read.
    """
    samples, rate_hz = _read(path)
    told = _keep(spectral_gate.denoise(samples, rate_hz), rate_hz, target, measures)
    told["measures"]["denoised"] = 1.0
    return told


def remeasure(path: str, measures: Mapping[str, float] | None = None) -> dict[str, Any]:
    """Measure a clip as it lies there, without writing; `trim` says what is returned.

    Raises:
        AudioError: The clip cannot be read.
    """
    samples, rate_hz = _read(path)
    return _described(Path(path), samples, rate_hz, measures)


def write_clip(path: Path, samples: FloatArray, rate_hz: int) -> str:
    """Write PCM16 mono WAV, whole or not at all; returns its SHA-256."""
    data = to_wav(to_pcm16(samples), rate_hz)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=".clip-", suffix=".wav")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    return hashlib.sha256(data).hexdigest()


def faded(samples: FloatArray, rate_hz: int) -> FloatArray:
    """The sound with ends that begin and stop at zero, so that a cut makes no click."""
    count = min(round(FADE_S * rate_hz), samples.size // 2)
    if count < 1:
        return samples
    ramp = (0.5 - 0.5 * np.cos(np.pi * (np.arange(count) + 0.5) / count)).astype(np.float32)
    out = samples.copy()
    out[:count] *= ramp
    out[-count:] *= ramp[::-1]
    return out


def _between(samples: FloatArray, rate_hz: int, start_s: float, end_s: float) -> FloatArray:
    length_s = samples.size / rate_hz
    if not (np.isfinite(start_s) and np.isfinite(end_s)):
        raise AudioError("A clip is cut at times in seconds.")
    start_s, end_s = max(start_s, 0.0), min(end_s, length_s)
    if end_s - start_s < SHORTEST_S:
        raise AudioError(
            f"From {start_s:.2f} s to {end_s:.2f} s of {length_s:.2f} s leaves less than {SHORTEST_S:g} s of sound."
        )
    return faded(samples[round(start_s * rate_hz) : round(end_s * rate_hz)], rate_hz)


def _keep(
    samples: FloatArray, rate_hz: int, target: str, measures: Mapping[str, float] | None
) -> dict[str, Any]:
    samples, _ = to_lufs(samples, rate_hz, TARGET_LUFS)
    path = Path(target)
    write_clip(path, samples, rate_hz)
    return _described(path, samples, rate_hz, measures)


def _described(
    path: Path, samples: FloatArray, rate_hz: int, measures: Mapping[str, float] | None
) -> dict[str, Any]:
    found = measure(samples, rate_hz, clean=samples)
    for name in OF_THE_SOURCE:
        if measures is not None and name in measures:
            found[name] = float(measures[name])
    letter, reasons = grade(found)
    return {
        "path": str(path),
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        "duration_s": found["duration_s"],
        "measures": found,
        "grade": letter,
        "reasons": list(reasons),
    }


def _read(path: str) -> tuple[FloatArray, int]:
    file = Path(path)
    try:
        size = file.stat().st_size
        if size > MAX_BYTES:
            raise AudioTooLargeError(
                f"{file.name} has {size / 1e6:,.0f} MB; a clip has up to {MAX_BYTES / 1e6:,.0f}."
            )
        data = file.read_bytes()
    except OSError as error:
        raise AudioError(
            f"The clip {file.name} cannot be read ({error.strerror}). Was it moved or deleted?"
        ) from error
    pcm, rate_hz = read_wav(data)
    return from_pcm16(pcm), rate_hz
