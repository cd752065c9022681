"""What each speech recogniser is built with; filled by backend/app.py."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from backend.contracts.errors import AppError

if TYPE_CHECKING:
    from backend.core.http import HttpClient
    from backend.core.workers import EngineHost
    from backend.engines.stt.base import STT


@dataclass(frozen=True, slots=True)
class ScriptOptions:
    """The fake: it reads what it was told it would.

    Attributes:
        texts: Given in turn, over and over, whatever the sound; silence still gives nothing.
        language: Of all of them.
    """

    texts: tuple[str, ...] = ("Hello there.",)
    language: str = "en"


@dataclass(frozen=True, slots=True)
class WhisperOptions:
    """Whisper models on disk.

    Attributes:
        host: Where they run.
        folder: Holds ``<name>.pt``; nothing is downloaded from here.
        model: A name ("base") or the path of a ``.pt`` file (WHISPER_MODEL).
        language: ISO 639-1 code to expect, empty to detect.
        device: "auto" takes the GPU where there is one.
        words: Also give the times of single words; a third slower.
        timeout_s: Longest wait for an utterance; long ones get their own length on top.
    """

    host: EngineHost
    folder: Path
    model: str = "base"
    language: str = ""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    words: bool = False
    timeout_s: float = 30.0


@dataclass(frozen=True, slots=True)
class FasterWhisperOptions:
    """Whisper models read with CTranslate2.

    Attributes:
        host: Where they run.
        folder: Holds a folder per model (CTranslate2: model.bin, config.json, tokenizer.json, vocabulary.json).
        whisper_folder: Holds ``<name>.pt``; a model that is only there is converted into `folder` once.
        model: A name ("base"), or the path of a model's folder or of a ``.pt`` file (WHISPER_MODEL).
        language: ISO 639-1 code to expect, empty to detect.
        device: "auto" takes the GPU where there is one.
        words: Also give the times of single words.
        window_s: Sound the model sees at least, 30 = as it was trained; less is faster and less exact.
        timeout_s: Longest wait for an utterance; long ones get their own length on top.
    """

    host: EngineHost
    folder: Path
    whisper_folder: Path
    model: str = "base"
    language: str = ""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    words: bool = False
    window_s: int = 30
    timeout_s: float = 30.0


@dataclass(frozen=True, slots=True)
class SphinxOptions:
    """The embedded recogniser: English, basic.

    Attributes:
        host: Where it runs.
        timeout_s: Longest wait for an utterance; long ones get their own length on top.
    """

    host: EngineHost
    timeout_s: float = 30.0


@dataclass(frozen=True, slots=True)
class OpenAICompatibleOptions:
    """A server with ``POST /v1/audio/transcriptions``: OpenAI, faster-whisper servers, LocalAI and others.

    Attributes:
        http: The client all providers share.
        host: Where silence is told from speech, so that only speech is sent.
        base_url: Up to and including ``/v1``.
        api_key: Empty for servers without one.
        model: Model name sent along.
        language: ISO 639-1 code to expect, empty to detect.
        timeout_s: Longest wait for an utterance.
    """

    http: HttpClient
    host: EngineHost
    base_url: str = "https://api.openai.com/v1"
    api_key: str = field(default="", repr=False)
    model: str = "whisper-1"
    language: str = ""
    timeout_s: float = 30.0


@dataclass(frozen=True, slots=True)
class ChainOptions:
    """Recognisers tried in order.

    Attributes:
        engines: In order; each by its own ``name``.
        on_failure: Told which engine failed and why; in the loop, must not raise.
    """

    engines: tuple[STT, ...]
    on_failure: Callable[[str, AppError], None] | None = None
