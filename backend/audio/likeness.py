"""Whether a recording holds a sound that was played: their loudness over time, laid over each other. Standard library only.

A room, a loudspeaker and a sound server change the waveform beyond recognition; when it is loud and when it is not they
leave alone.
"""

from __future__ import annotations

import math
import sys
from array import array
from dataclasses import dataclass
from operator import mul

STEP_S = 0.01
FLOOR_DB = -60.0


@dataclass(frozen=True, slots=True)
class Likeness:
    """How alike they are.

    Attributes:
        correlation: Of the loudness in dB at the best place, -1 to 1; speech against itself through a sound server gives
            more than 0.9, against noise or other speech less than 0.5.
        delay_s: Where in the recording the sound begins.
        level_dbfs: RMS of the recording there.
    """

    correlation: float
    delay_s: float
    level_dbfs: float


def find(played: bytes, played_hz: int, heard: bytes, heard_hz: int) -> Likeness:
    """Look for a sound in a recording; blocking, some 10 ms for 2 s in 5 s.

    Args:
        played: PCM16, mono.
        played_hz: Its rate.
        heard: PCM16, mono.
        heard_hz: Its rate.
    """
    wanted = envelope_db(played, played_hz)
    there = envelope_db(heard, heard_hz)
    if not wanted or len(there) < len(wanted) // 2:
        return Likeness(0.0, 0.0, FLOOR_DB)
    there = there + [FLOOR_DB] * max(0, len(wanted) - len(there))
    best, place = -1.0, 0
    for start in range(len(there) - len(wanted) + 1):
        found = _correlation(wanted, there[start : start + len(wanted)])
        if found > best:
            best, place = found, start
    piece = there[place : place + len(wanted)]
    power = sum(10 ** (level / 10) for level in piece) / len(piece)
    return Likeness(best, place * STEP_S, 10 * math.log10(power))


def envelope_db(pcm: bytes, rate_hz: int) -> list[float]:
    """Loudness of each 10 ms in dBFS, nothing below -60."""
    samples = array("h")
    samples.frombytes(pcm[: len(pcm) // 2 * 2])
    if sys.byteorder == "big":
        samples.byteswap()
    size = max(1, round(rate_hz * STEP_S))
    found = []
    for start in range(0, len(samples) - size + 1, size):
        piece = samples[start : start + size]
        power = sum(map(mul, piece, piece)) / size / 32768.0**2
        found.append(max(FLOOR_DB, 10 * math.log10(power)) if power > 0 else FLOOR_DB)
    return found


def _correlation(a: list[float], b: list[float]) -> float:
    mean_a, mean_b = sum(a) / len(a), sum(b) / len(b)
    a = [value - mean_a for value in a]
    b = [value - mean_b for value in b]
    power = sum(map(mul, a, a)) * sum(map(mul, b, b))
    return sum(map(mul, a, b)) / math.sqrt(power) if power > 0 else 0.0
