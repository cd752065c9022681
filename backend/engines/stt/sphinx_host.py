"""The part of pocketsphinx that runs in its own process. Its English model comes inside the wheel; loads in 0.4 s."""

from __future__ import annotations

import re
import threading
from typing import Any

FIRST = ("numpy",)  # imported before any call, by one thread
RATE_HZ = 16_000
FRAMES_PER_S = 100
IDLE_S = 600.0

_lock = threading.Lock()
_decoder: Any = None


def warm() -> None:
    """Load the model."""
    with _lock:
        _loaded()


def transcribe(pcm: bytes, rate_hz: int) -> list[tuple[str, float, float]]:
    """The words of PCM16 mono with their times in s; none for silence."""
    from backend.audio.levels import from_pcm16, to_pcm16
    from backend.audio.resample import resample
    from backend.audio.vad import speech_spans

    samples = resample(from_pcm16(pcm), rate_hz, RATE_HZ)
    words: list[tuple[str, float, float]] = []
    for start_s, end_s in speech_spans(samples, RATE_HZ):
        heard = samples[round(start_s * RATE_HZ) : round(end_s * RATE_HZ)]
        with _lock:
            decoder = _loaded()
            decoder.start_utt()
            decoder.process_raw(to_pcm16(heard), full_utt=True)
            decoder.end_utt()
            for part in decoder.seg():
                # <sil>, [NOISE], ++breath++ are no words; "the(2)" is a second pronunciation
                word = re.sub(r"\(\d+\)$", "", part.word)
                if re.match(r"[\w']", word):
                    begins_s = start_s + part.start_frame / FRAMES_PER_S
                    ends_s = start_s + (part.end_frame + 1) / FRAMES_PER_S
                    words.append((word, round(begins_s, 3), round(ends_s, 3)))
    return words


def _loaded() -> Any:
    global _decoder  # noqa: PLW0603 - one decoder per process, 100 MB
    if _decoder is None:
        from pocketsphinx import Decoder

        _decoder = Decoder(samprate=RATE_HZ, loglevel="FATAL")
    return _decoder
