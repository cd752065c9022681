"""The voice that is always there: espeak-ng from a wheel, over 100 languages, no download, in its own process."""

from __future__ import annotations

from backend.contracts.entities import Audio, PhonemeTime, Speech, VoiceChoice, VoiceInfo
from backend.contracts.errors import AppError
from backend.engines.tts.base import is_speakable, silence
from backend.engines.tts.options import EmbeddedOptions

HOST = "backend.engines.tts.embedded_host"
WORDS_PER_MINUTE = 175.0
RATE_HZ = 22050


class Embedded:
    """Speaks with espeak-ng in the engine host."""

    name = "embedded"

    def __init__(self, options: EmbeddedOptions) -> None:
        self._options = options

    async def synthesize(self, text: str, voice: VoiceChoice) -> Speech:
        name = voice.name or self._options.voice
        if not is_speakable(text):
            return silence(self.name, name, rate_hz=RATE_HZ)
        pcm, rate_hz, phonemes = await self._options.host.call(
            f"{HOST}:synthesize",
            text.encode("utf-8", "replace"),
            name,
            words_per_minute=WORDS_PER_MINUTE * voice.rate,
            pitch=voice.pitch,
            volume=voice.volume,
            timeout_s=self._options.timeout_s,
        )
        if not pcm:
            return silence(self.name, name, rate_hz=rate_hz)
        times = tuple(PhonemeTime(ipa, start_s, end_s) for ipa, start_s, end_s in phonemes)
        return Speech(Audio(pcm, rate_hz), self.name, name, times)

    async def voices(self) -> list[VoiceInfo]:
        default = self._options.voice
        try:
            listed = await self._options.host.call(
                f"{HOST}:voices", timeout_s=self._options.timeout_s
            )
        except AppError as error:
            return [VoiceInfo(engine=self.name, name=default, title=default, problem=error.message)]
        language = default.partition("+")[0]
        title = next((t for name, t, _, is_variant in listed if name == language), language)
        # A variant goes with every language; listing all 13,000 pairs would help nobody.
        return [
            VoiceInfo(
                engine=self.name,
                name=f"{language}+{name}" if is_variant else name,
                title=f"{title}, {its_title}" if is_variant else its_title,
                language=language if is_variant else name,
                rate_hz=RATE_HZ,
            )
            for name, its_title, _, is_variant in listed
        ]

    def cache_key(self, voice: VoiceChoice) -> str:
        name = voice.name or self._options.voice
        return f"embedded 1 {name} {voice.rate:g} {voice.pitch:g} {voice.volume:g}"

    def warm(self) -> None:
        self._options.host.warm([f"{HOST}:warm"])

    async def close(self) -> None:
        """The host owns the process."""
