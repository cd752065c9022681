"""The fake speech engine that ships: it hums for as long as the text would take to say. No library, no process."""

from __future__ import annotations

import math
from array import array
from functools import lru_cache
from sys import byteorder

from backend.contracts.entities import Audio, PhonemeTime, Speech, VoiceChoice, VoiceInfo
from backend.contracts.errors import EngineUnavailableError
from backend.engines.tts.base import is_speakable, silence
from backend.engines.tts.options import ToneOptions

LONGEST_S = 60.0
AMPLITUDE = 8000


class Tone:
    """Hums."""

    name = "tone"

    def __init__(self, options: ToneOptions) -> None:
        self._options = options

    async def synthesize(self, text: str, voice: VoiceChoice) -> Speech:
        if voice.name not in ("", "hum"):
            raise EngineUnavailableError(f"The tone has no voice {voice.name!r}, only 'hum'.")
        if not is_speakable(text):
            return silence(self.name, "hum", rate_hz=self._options.rate_hz)
        rate_hz, char_s = self._options.rate_hz, self._options.char_s / voice.rate
        count = min(round(len(text) * char_s * rate_hz), round(LONGEST_S * rate_hz))
        # Pitch 50 is the set frequency; 0 and 100 are an octave below and above.
        frequency_hz = self._options.frequency_hz * 2 ** ((voice.pitch - 50) / 50)
        second = _second(frequency_hz, round(AMPLITUDE * voice.volume), rate_hz)
        pcm = (second * (count // rate_hz + 1))[: count * 2]
        phonemes = tuple(
            PhonemeTime(mark, n * char_s, (n + 1) * char_s)
            for n, mark in enumerate(text)
            if mark.isalnum() and (n + 1) * char_s <= LONGEST_S
        )
        return Speech(Audio(pcm, rate_hz), self.name, "hum", phonemes)

    async def voices(self) -> list[VoiceInfo]:
        return [VoiceInfo(engine=self.name, name="hum", title="Hum", rate_hz=self._options.rate_hz)]

    def cache_key(self, voice: VoiceChoice) -> str:
        return f"tone {self._options} {voice.rate:g} {voice.pitch:g} {voice.volume:g}"

    def warm(self) -> None:
        """Nothing to load."""

    async def close(self) -> None:
        """Nothing to let go of."""


@lru_cache(maxsize=16)
def _second(frequency_hz: float, amplitude: int, rate_hz: int) -> bytes:
    """About one second of the tone, a whole number of its periods, so that it can be repeated without a click."""
    periods = max(1, round(frequency_hz))
    count = round(periods * rate_hz / frequency_hz)
    count = rate_hz if abs(count - rate_hz) <= 1 else count
    step = 2 * math.pi * periods / count
    samples = array("h", (round(amplitude * math.sin(step * n)) for n in range(count)))
    if byteorder == "big":
        samples.byteswap()
    return samples.tobytes()
