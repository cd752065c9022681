"""Sound on its way in and out: lists of floats to PCM16, sentences to what an `audio` message carries."""

from __future__ import annotations

import base64
from array import array
from dataclasses import dataclass
from sys import byteorder

from backend.audio.wav import to_wav, volumes
from backend.contracts.entities import Audio
from backend.core.workers import run_in_thread

RATE_HZ = 16_000
SLICE_S = 0.02

LONG_LIST = 8192
LONG_S = 4.0
"""Longer ones are made on a thread: here they would hold up the loop for more than a few ms."""

BURST_SAMPLES = 120 * RATE_HZ
"""Sound that may come at once: clients send a whole utterance when it is over."""
SAMPLES_PER_S = 2 * RATE_HZ


@dataclass(slots=True)
class Allowance:
    """How much sound a client may send: twice as much as it can hear, after a first burst."""

    left: float = BURST_SAMPLES
    at_s: float = 0.0

    def take(self, samples: int, now_s: float) -> bool:
        """Whether so much may come now."""
        self.left = min(BURST_SAMPLES, self.left + (now_s - self.at_s) * SAMPLES_PER_S)
        self.at_s = now_s
        if samples > self.left:
            return False
        self.left -= samples
        return True


async def pcm16(values: list[float]) -> bytes:
    """Samples from -1 to 1 as PCM16; louder ones are clipped."""
    if len(values) > LONG_LIST:
        return await run_in_thread(_pcm16, values)
    return _pcm16(values)


def _pcm16(values: list[float]) -> bytes:
    samples = array(
        "h", [32767 if v >= 1.0 else -32768 if v <= -1.0 else int(v * 32767) for v in values]
    )
    if byteorder == "big":
        samples.byteswap()
    return samples.tobytes()


async def packed(audio: Audio) -> tuple[str, list[float]]:
    """Base64 of a whole WAV file, and the loudness of each 20 ms, the loudest being 1."""
    if audio.duration_s > LONG_S:
        return await run_in_thread(_packed, audio)
    return _packed(audio)


def _packed(audio: Audio) -> tuple[str, list[float]]:
    wav = base64.b64encode(to_wav(audio.pcm, audio.rate_hz)).decode()
    return wav, volumes(audio.pcm, audio.rate_hz, SLICE_S)
