"""The part of Whisper that runs in its own process: loads a model file, reads speech, drops what was made up."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from backend.contracts.errors import EngineFailedError, EngineUnavailableError
from backend.engines.stt.whisper_reading import reading

if TYPE_CHECKING:
    from backend.audio.levels import FloatArray

FIRST = ("numpy",)  # imported before any call, by one thread

_lock = threading.Lock()
_loaded: tuple[tuple[str, int, str], Any] | None = None


def warm(path: str, *, device: str = "auto") -> None:
    """Load a model."""
    with _lock:
        _model(Path(path), device)


def transcribe(
    pcm: bytes,
    rate_hz: int,
    path: str,
    *,
    language: str | None,
    device: str = "auto",
    words: bool = False,
) -> dict[str, Any]:
    """What was said in PCM16 mono, as `backend.engines.stt.whisper_reading.reading` tells it; no words for silence."""
    with _lock:
        model = _model(Path(path), device)

        def read(
            heard: FloatArray, language: str | None
        ) -> tuple[str, Sequence[Mapping[str, Any]]]:
            try:
                found = model.transcribe(
                    heard,
                    language=language,
                    word_timestamps=words,
                    condition_on_previous_text=False,  # one bad segment must not spoil the next
                    temperature=(0.0, 0.4, 0.8),
                    fp16=model.device.type == "cuda",
                    verbose=None,
                )
            except (RuntimeError, ValueError, IndexError) as error:
                raise EngineFailedError(
                    f"Whisper failed to read: {type(error).__name__}: {str(error)[:200]}"
                ) from error
            return str(found.get("language", "")), found["segments"]

        return reading(pcm, rate_hz, _known(model, language), read)


def _known(model: Any, language: str | None) -> str | None:
    """The language if this model reads it; English-only models read nothing else."""
    from whisper.tokenizer import LANGUAGES

    if not model.is_multilingual:
        return "en"
    code = (language or "").lower().partition("-")[0]
    return code if code in LANGUAGES else None


def _model(path: Path, device: str) -> Any:
    """The loaded model; the caller holds the lock."""
    global _loaded  # noqa: PLW0603 - one model at a time: a large one has 6 GB
    import torch
    import whisper

    try:
        mark = path.stat()
    except OSError as error:
        raise EngineUnavailableError(f"The Whisper model {path} is gone.") from error
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    key = (str(path), mark.st_mtime_ns, device)
    if _loaded is None or _loaded[0] != key:
        _loaded = None
        try:
            # By path: given a name, whisper would download. It reads weights only, no code.
            model = whisper.load_model(str(path), device=device)
        except (
            Exception
        ) as error:  # a damaged file fails in unpickling, in the zip or in the shapes
            raise EngineUnavailableError(
                f"{path.name} is no Whisper model that can be loaded ({type(error).__name__}: {str(error)[:200]}). "
                "Download it again."
            ) from error
        _encode_once(model)
        _loaded = (key, model)
    return _loaded[1]


def _encode_once(model: Any) -> None:
    """Keep the last encoding: every further temperature asks for the same one again.

    The encoder is most of the work for a short utterance: it always sees 30 s, and whisper has no option for less.
    Finding the language still costs one of its own: whisper pads the sound for it with silence, for reading with zeros.
    """
    import torch

    encode = model.encoder.forward
    last: list[Any] = [None, None]

    def forward(mel: Any) -> Any:
        if last[0] is None or last[0].shape != mel.shape or not torch.equal(last[0], mel):
            last[:] = mel, encode(mel)
        return last[1]

    model.encoder.forward = forward
