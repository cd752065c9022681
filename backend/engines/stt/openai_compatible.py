"""Any server with ``POST /v1/audio/transcriptions``: OpenAI, Groq, faster-whisper servers, whisper.cpp, LocalAI.

They are asked for ``verbose_json``, which has the scores that guards need. Models that know no such thing
(gpt-4o-transcribe, Voxtral) refuse it and are asked for ``json``; servers that answer with plain text are understood.
"""

from __future__ import annotations

import asyncio
import math
import re
from collections.abc import Mapping
from typing import Any
from uuid import uuid4

import orjson

from backend.audio import wav
from backend.contracts.entities import Audio, Transcript, TranscriptSegment
from backend.contracts.errors import ProviderError
from backend.core.http import Fetched, Provider, Timeouts
from backend.engines.stt.options import OpenAICompatibleOptions

MAX_BYTES = 4 << 20
MAX_CHARS = 100_000
MOST_PER_S = 40  # letters in a second of sound; a longer plain text is no transcript

_ERROR = re.compile(
    r"(internal |server )*(error|exception|traceback|bad request|unauthori[sz]ed|forbidden|not found|service unavailable"
    r"|too many requests|rate limit|invalid|failed|no such|gateway)\b|[<{\[]",
    re.IGNORECASE,
)


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
        self._format = "verbose_json"
        options.http.trust(options.base_url)

    async def transcribe(self, audio: Audio, language: str | None = None) -> Transcript:
        options = self._options
        # Sent silence comes back as words, and costs money.
        heard = await options.host.call(
            "backend.audio.vad:has_speech", audio.pcm, audio.rate_hz, timeout_s=options.timeout_s
        )
        if not heard:
            return Transcript("", engine=self.name)
        try:
            fetched = await self._send(audio, language or options.language)
        except ProviderError as error:
            said = error.message.lower()
            is_format = "response_format" in said or self._format in said
            if error.kind != "request" or self._format == "json" or not is_format:
                raise
            self._format = "json"
            fetched = await self._send(audio, language or options.language)
        if fetched.headers.get("content-type", "").startswith("text/plain"):
            plain = _plain_text(fetched.body, audio.duration_s)
            if plain is not None:
                return Transcript(plain, engine=self.name)
        return self._read(fetched.body, audio.duration_s)

    async def _send(self, audio: Audio, language: str) -> Fetched:
        options = self._options
        fields = {"model": options.model, "response_format": self._format}
        if language:
            fields["language"] = language
        boundary = uuid4().hex
        headers = {"content-type": f"multipart/form-data; boundary={boundary}"}
        if options.api_key:
            headers["authorization"] = f"Bearer {options.api_key}"
        timeout_s = options.timeout_s
        try:
            async with asyncio.timeout(timeout_s):
                return await options.http.fetch(
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

    def warm(self) -> None:
        """A connection would close again before the first utterance."""

    async def close(self) -> None:
        """The HTTP client belongs to the backend."""

    def _read(self, body: bytes, duration_s: float) -> Transcript:
        try:
            told = orjson.loads(body)
            text = told["text"]
            if not isinstance(text, str) or len(text) > MAX_CHARS or told.get("error"):
                raise TypeError("text")
            parts = told.get("segments") or ()
            segments = tuple(_segment(part, "text") for part in parts)
            words = tuple(_segment(part, "word") for part in told.get("words") or ())
            no_speech = [
                score for part in parts if (score := _score(part, "no_speech_prob")) is not None
            ]
            sure = [score for part in parts if (score := _score(part, "avg_logprob")) is not None]
            packed = [
                score for part in parts if (score := _score(part, "compression_ratio")) is not None
            ]
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
        return Transcript(
            text.strip(),
            code,
            # some give nanoseconds or nonsense: no times are better than wrong ones
            segments if _are_within(segments, duration_s) else (),
            self.name,
            words if _are_within(words, duration_s) else (),
            no_speech=max(no_speech, default=None),
            log_probability=min(sure, default=None),
            compression=max(packed, default=None),
        )


def _plain_text(body: bytes, duration_s: float) -> str | None:
    """A transcript from a server that ignores the format asked for; None when it reads like anything else."""
    try:
        text = body.decode("utf-8").strip()
    except UnicodeDecodeError:
        return None
    if (
        len(text) > MOST_PER_S * max(duration_s, 1.0)
        or _ERROR.match(text)
        or not text.isprintable()
    ):
        return None
    return text


def _score(part: Mapping[str, Any], name: str) -> float | None:
    value = part.get(name)
    is_number = isinstance(value, (int, float)) and math.isfinite(value)
    return float(value) if is_number and value is not None else None


def _are_within(pieces: tuple[TranscriptSegment, ...], duration_s: float) -> bool:
    return all(0 <= piece.start_s <= piece.end_s <= duration_s + 30.0 for piece in pieces)


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
