"""Any server with ``POST /v1/audio/transcriptions``: OpenAI, faster-whisper servers, LocalAI."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Mapping
from typing import Any
from uuid import uuid4

import orjson

from backend.audio import wav
from backend.contracts.entities import Audio, Transcript, TranscriptSegment
from backend.contracts.errors import ProviderError
from backend.core.http import Provider, Timeouts
from backend.engines.stt.options import OpenAICompatibleOptions

MAX_BYTES = 4 << 20
MAX_CHARS = 100_000


class OpenAICompatible:
    """Reads speech through a server."""

    name = "openai_compatible"

    def __init__(self, options: OpenAICompatibleOptions) -> None:
        self._options = options
        self._url = options.base_url.rstrip("/") + "/audio/transcriptions"
        self._provider = Provider(
            self.name,
            "The transcription server",
            key_setting="STT_OPENAI_KEY",
            url_setting="STT_OPENAI_URL",
            model_setting="STT_OPENAI_MODEL",
            secrets=(options.api_key,) if options.api_key else (),
        )
        options.http.trust(options.base_url)

    async def transcribe(self, audio: Audio, language: str | None = None) -> Transcript:
        options = self._options
        # Sent silence comes back as words, and costs money.
        heard = await options.host.call(
            "backend.audio.vad:has_speech", audio.pcm, audio.rate_hz, timeout_s=options.timeout_s
        )
        if not heard:
            return Transcript("", engine=self.name)
        fields = {"model": options.model, "response_format": "verbose_json"}
        if language or options.language:
            fields["language"] = language or options.language
        boundary = uuid4().hex
        headers = {"content-type": f"multipart/form-data; boundary={boundary}"}
        if options.api_key:
            headers["authorization"] = f"Bearer {options.api_key}"
        timeout_s = options.timeout_s
        try:
            async with asyncio.timeout(timeout_s):
                fetched = await options.http.fetch(
                    self._provider,
                    "POST",
                    self._url,
                    headers=headers,
                    body=_form(boundary, fields, wav.to_wav(audio.pcm, audio.rate_hz)),
                    timeouts=Timeouts(min(3.0, timeout_s), timeout_s, timeout_s, timeout_s),
                    max_bytes=MAX_BYTES,
                )
        except TimeoutError:
            raise ProviderError(
                f"The transcription server at {self._url} did not finish within {timeout_s:g} s.",
                kind="stalled",
                provider=self.name,
            ) from None
        return self._read(fetched.body)

    def warm(self) -> None:
        """A connection would close again before the first utterance."""

    async def close(self) -> None:
        """The HTTP client belongs to the backend."""

    def _read(self, body: bytes) -> Transcript:
        try:
            told = orjson.loads(body)
            text = told["text"]
            if not isinstance(text, str) or len(text) > MAX_CHARS:
                raise TypeError("text")
            segments = tuple(_segment(part, "text") for part in told.get("segments") or ())
            words = tuple(_segment(part, "word") for part in told.get("words") or ())
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ProviderError(
                f"The transcription server at {self._url} answered with something that is no transcript. Check "
                "STT_OPENAI_URL and STT_OPENAI_MODEL.",
                kind="malformed",
                provider=self.name,
            ) from error
        language = told.get("language")
        language = language if isinstance(language, str) else ""
        code = _CODES.get(language.lower(), language if len(language) == 2 else "")
        return Transcript(text.strip(), code, segments, self.name, words)


# OpenAI names the language in English where everybody else gives its code.
_CODES = {
    "english": "en",
    "german": "de",
    "french": "fr",
    "spanish": "es",
    "italian": "it",
    "portuguese": "pt",
    "dutch": "nl",
    "polish": "pl",
    "russian": "ru",
    "ukrainian": "uk",
    "turkish": "tr",
    "arabic": "ar",
    "hindi": "hi",
    "japanese": "ja",
    "korean": "ko",
    "chinese": "zh",
}


def _segment(part: Mapping[str, Any], key: str) -> TranscriptSegment:
    start_s, end_s = float(part["start"]), float(part["end"])
    if not (math.isfinite(start_s) and math.isfinite(end_s)):
        raise ValueError("times")
    return TranscriptSegment(str(part[key]).strip(), start_s, end_s)


def _form(boundary: str, fields: Mapping[str, str], sound: bytes) -> bytes:
    """A multipart form with one file."""
    parts = [
        f'--{boundary}\r\ncontent-disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'
        for name, value in fields.items()
    ]
    file = (
        f'--{boundary}\r\ncontent-disposition: form-data; name="file"; filename="utterance.wav"\r\n'
        "content-type: audio/wav\r\n\r\n"
    )
    return b"".join(
        ("".join(parts).encode(), file.encode(), sound, f"\r\n--{boundary}--\r\n".encode())
    )
