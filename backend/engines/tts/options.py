"""What each speech engine is built with; filled by backend/app.py."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from backend.contracts.entities import VoiceChoice
from backend.contracts.errors import AppError

if TYPE_CHECKING:
    from backend.core.http import HttpClient
    from backend.core.workers import EngineHost
    from backend.engines.tts.base import TTS


@dataclass(frozen=True, slots=True)
class ToneOptions:
    """The fake: a hum as long as the text.

    Attributes:
        frequency_hz: What it hums.
        char_s: Length per character.
        rate_hz: Samples per second.
    """

    frequency_hz: float = 220.0
    char_s: float = 0.06
    rate_hz: int = 16000


@dataclass(frozen=True, slots=True)
class EmbeddedOptions:
    """The voice that is always there (espeak-ng).

    Attributes:
        host: Where it runs.
        voice: Language and variant when a character names none ("en-us+f3").
        timeout_s: Longest wait for one sentence.
    """

    host: EngineHost
    voice: str = "en-us"
    timeout_s: float = 5.0


@dataclass(frozen=True, slots=True)
class PiperOptions:
    """Piper voices on disk.

    Attributes:
        host: Where they run.
        folder: Searched for ``.onnx`` with ``.onnx.json``, sub-folders included.
        voice_path: One more voice file (PIPER_MODEL_PATH), the default when set.
        voice: Name of the default voice; empty = ``voice_path``, else the first by name.
        length_scale, noise_scale, noise_w_scale: Speed and variation; None = what the voice's own file says.
        use_gpu: Use the GPU when onnxruntime can.
        timeout_s: Longest wait for one sentence, loading included.
    """

    host: EngineHost
    folder: Path
    voice_path: Path | None = None
    voice: str = ""
    length_scale: float | None = None
    noise_scale: float | None = None
    noise_w_scale: float | None = None
    use_gpu: bool = True
    timeout_s: float = 5.0


@dataclass(frozen=True, slots=True)
class OpenAICompatibleOptions:
    """A server with ``POST /v1/audio/speech``: OpenAI, Kokoro servers, LocalAI and others.

    Attributes:
        http: The client all providers share.
        host: Where its answers are decoded.
        base_url: Up to and including ``/v1``.
        api_key: Empty for servers without one.
        model: Model name sent along.
        voice: Voice when a character names none.
        voices: Names to offer.
        response_format: What is asked for; whatever comes is recognised by its content.
        timeout_s: Longest wait for one sentence.
        pcm_rate_hz: Rate of answers without a header (``pcm``).
    """

    http: HttpClient
    host: EngineHost
    base_url: str = "https://api.openai.com/v1"
    api_key: str = field(default="", repr=False)
    model: str = "gpt-4o-mini-tts"
    voice: str = "alloy"
    voices: tuple[str, ...] = ()
    response_format: Literal["wav", "pcm", "mp3", "opus", "flac"] = "wav"
    timeout_s: float = 5.0
    pcm_rate_hz: int = 24000


@dataclass(frozen=True, slots=True)
class CacheOptions:
    """Sentences spoken before, kept on disk.

    Attributes:
        inner: The engine that speaks what is not there.
        folder: Where; a sub-folder per engine is made.
        limit_bytes: The longest unused go when there is more.
    """

    inner: TTS
    folder: Path
    limit_bytes: int = 200 << 20


@dataclass(frozen=True, slots=True)
class ChainOptions:
    """Engines tried in order, then silence.

    Attributes:
        engines: In order; each by its own ``name``.
        timeout_s: Longest wait for one sentence, all engines together.
        aliases: Names a character may use for a voice ("narrator" -> piper, en_GB-alba).
        on_failure: Told which engine failed and why, once a turn; in the loop, must not raise.
    """

    engines: tuple[TTS, ...]
    timeout_s: float = 5.0
    aliases: Mapping[str, VoiceChoice] = field(default_factory=dict)
    on_failure: Callable[[str, AppError], None] | None = None
