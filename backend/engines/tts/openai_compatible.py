"""Any server with ``POST /v1/audio/speech``: OpenAI, Kokoro servers, LocalAI. What it answers is decoded in the host."""

from __future__ import annotations

import asyncio

from backend.contracts.entities import Audio, Speech, VoiceChoice, VoiceInfo
from backend.contracts.errors import InvalidInputError, ProviderError, TooLargeError
from backend.core.http import Fetched, Provider, Timeouts
from backend.core.sound import decode_audio
from backend.engines.tts.base import is_speakable, silence
from backend.engines.tts.options import OpenAICompatibleOptions

MAX_BYTES = 32 << 20
MAX_SECONDS = 180.0
MAX_CHARS = 4096  # OpenAI's own limit
SLOWEST, FASTEST = 0.25, 4.0
SHORTEST_S = 0.02


class OpenAICompatible:
    """Speaks through a server."""

    name = "openai_compatible"

    def __init__(self, options: OpenAICompatibleOptions) -> None:
        self._options = options
        self._url = options.base_url.rstrip("/") + "/audio/speech"
        self._provider = Provider(
            self.name,
            "The speech server",
            key_setting="TTS_OPENAI_KEY",
            url_setting="TTS_OPENAI_URL",
            model_setting="TTS_OPENAI_MODEL",
            secrets=(options.api_key,) if options.api_key else (),
        )
        options.http.trust(options.base_url)

    async def synthesize(self, text: str, voice: VoiceChoice) -> Speech:
        options = self._options
        name = voice.name or options.voice
        if not is_speakable(text):
            return silence(self.name, name)
        try:
            async with asyncio.timeout(options.timeout_s):
                fetched = await options.http.fetch(
                    self._provider,
                    "POST",
                    self._url,
                    headers={"authorization": f"Bearer {options.api_key}"}
                    if options.api_key
                    else {},
                    json={
                        "model": options.model,
                        "input": text[:MAX_CHARS].encode("utf-8", "replace").decode(),
                        "voice": name,
                        "response_format": options.response_format,
                        "speed": min(max(voice.rate, SLOWEST), FASTEST),
                    },
                    timeouts=Timeouts(
                        min(3.0, options.timeout_s),
                        options.timeout_s,
                        options.timeout_s,
                        options.timeout_s,
                    ),
                    max_bytes=MAX_BYTES,
                )
                audio = await self._audio(fetched)
        except TimeoutError:
            raise ProviderError(
                f"The speech server at {self._url} did not finish within {options.timeout_s:g} s. Raise TTS_TIMEOUT_S "
                "if it is only slow.",
                kind="stalled",
                provider=self.name,
            ) from None
        return Speech(audio, self.name, name)

    async def voices(self) -> list[VoiceInfo]:
        names = dict.fromkeys((self._options.voice, *self._options.voices))
        return [VoiceInfo(engine=self.name, name=name, title=name) for name in names if name]

    def cache_key(self, voice: VoiceChoice) -> str:
        options = self._options
        name = voice.name or options.voice
        kind = f"{options.response_format} {options.pcm_rate_hz}"
        return f"{self.name} 1 {self._url} {options.model} {name} {voice.rate:g} {kind}"

    def warm(self) -> None:
        """A connection would close again before the first sentence."""

    async def close(self) -> None:
        """The HTTP client belongs to the backend."""

    async def _audio(self, fetched: Fetched) -> Audio:
        body = fetched.body
        kind = fetched.headers.get("content-type", "").partition(";")[0].strip().lower()
        if not body:
            raise self._malformed("an empty answer")
        if kind.startswith("text/") or kind in ("application/json", "application/xml"):
            raise self._malformed(f"{kind} instead of sound")
        if self._options.response_format == "pcm" and not _has_header(body):
            audio = Audio(body[: len(body) // 2 * 2], self._options.pcm_rate_hz)
        else:
            try:
                audio = await decode_audio(
                    self._options.host,
                    body,
                    name="its answer",
                    max_s=MAX_SECONDS,
                    timeout_s=self._options.timeout_s,
                )
            except (InvalidInputError, TooLargeError) as error:
                raise self._malformed(f"something else than sound: {error.message}") from error
        if not SHORTEST_S <= audio.duration_s <= MAX_SECONDS:
            raise self._malformed(f"{audio.duration_s:.2f} s of sound")
        return audio

    def _malformed(self, what: str) -> ProviderError:
        return ProviderError(
            f"The speech server at {self._url} answered with {what}. Check TTS_OPENAI_URL and TTS_OPENAI_MODEL.",
            kind="malformed",
            provider=self.name,
        )


def _has_header(body: bytes) -> bool:
    return body[:4] in (b"RIFF", b"OggS", b"fLaC", b"ID3\x03", b"ID3\x04") or body[:1] in b"<{"
