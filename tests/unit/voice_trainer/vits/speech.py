"""Clips for tests of the full trainer, made by the embedded engine: real phonemes, a few seconds."""

from __future__ import annotations

import io
from functools import cache
from pathlib import Path

import numpy as np

from backend.audio import espeak
from backend.audio.levels import from_pcm16
from backend.audio.resample import resample
from voice_trainer.vits import batches
from voice_trainer.vits.dataset import phoneme_ids

SENTENCES = (
    "The lamp is on.",
    "Rain fell all night.",
    "She sold seven shells.",
    "Good evening, friends.",
    "We play until ten.",
    "That was a fine jump.",
    "Look at the chat.",
    "My cat sleeps here.",
)


@cache
def spoken(text: str, rate_hz: int = 16_000) -> np.ndarray:
    """A sentence as the embedded engine says it, in [-1, 1]."""
    made = espeak.synthesize(text, "en-us")
    return resample(from_pcm16(made.pcm), made.rate_hz, rate_hz)


def ids(text: str) -> tuple[int, ...]:
    """Its phoneme ids as PiperVoice makes them."""
    return phoneme_ids(text, "en-us")


def sounds(
    folder: Path, count: int = 8, segment: int = 2048
) -> tuple[list[batches.Clip], batches.Sounds]:
    """Clips in a file of samples."""
    file = io.BytesIO()
    clips = []
    start = 0
    for number, text in enumerate(SENTENCES[:count]):
        samples = batches.append_samples(file, spoken(text), segment)
        clips.append(batches.Clip(f"clip-{number}", text, ids(text), start, samples))
        start += samples
    path = folder / "samples.pcm"
    path.write_bytes(file.getvalue())
    return clips, batches.Sounds(path)
