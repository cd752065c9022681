"""The part of faster-whisper that runs in its own process: loads a model's folder, reads speech, drops what was made up."""

from __future__ import annotations

import math
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from backend.contracts.errors import EngineFailedError, EngineUnavailableError
from backend.core.made_up import LEAST_LOGPROB, MOST_COMPRESSION, is_looping
from backend.engines.stt.whisper_reading import RATE_HZ, reading

if TYPE_CHECKING:
    from backend.audio.levels import FloatArray

FIRST = ("numpy",)  # imported before any call, by one thread
FULL_S = 30
FRAMES_PER_S = 100
ROOM_S = 2.5  # of silence after the speech, without which the decoder does not know where to stop
TEMPERATURES = (0.0, 0.4, 0.8)

_lock = threading.Lock()
_loaded: tuple[tuple[str, int, str], _Model] | None = None


def warm(folder: str, *, device: str = "auto") -> None:
    """Load a model."""
    with _lock:
        _model(Path(folder), device)


def transcribe(
    pcm: bytes,
    rate_hz: int,
    folder: str,
    *,
    language: str | None,
    device: str = "auto",
    words: bool = False,
    window_s: int = FULL_S,
) -> dict[str, Any]:
    """What was said in PCM16 mono, as `backend.engines.stt.whisper_reading.reading` tells it; no words for silence.

    Args:
        pcm: The sound.
        rate_hz: Its rate.
        folder: The model's.
        language: ISO 639-1 code, None to detect.
        device: "auto", "cpu" or "cuda".
        words: Also the times of words.
        window_s: Least sound the model sees. Below 30 the encoder works less and the model is outside of what it was
            trained on: it may misread or repeat itself, so a doubtful reading is read again with all 30.
    """
    with _lock:
        model = _model(Path(folder), device)

        def read(
            heard: FloatArray, language: str | None
        ) -> tuple[str, Sequence[Mapping[str, Any]]]:
            shortest_s = max(window_s, math.ceil(heard.size / RATE_HZ + ROOM_S))
            if shortest_s < FULL_S:
                found = model.read(heard, language, words, shortest_s, (0.0,))
                if not _is_doubtful(found[1]):
                    return found
            return model.read(heard, language, words, FULL_S, TEMPERATURES)

        return reading(pcm, rate_hz, language, read)


def _is_doubtful(segments: Sequence[Mapping[str, Any]]) -> bool:
    """Whether a reading through a short window has to be read again."""
    return not segments or any(
        part["avg_logprob"] < LEAST_LOGPROB
        or part["compression_ratio"] > MOST_COMPRESSION
        or is_looping(part["text"])
        for part in segments
    )


class _Model:
    """A loaded model; one caller at a time."""

    def __init__(self, folder: Path, device: str) -> None:
        from faster_whisper import WhisperModel

        # 0: as many as OMP_NUM_THREADS says, else at most four, which is the most one utterance gains from
        arguments: dict[str, Any] = {"cpu_threads": 0, "local_files_only": True}
        if device == "auto":
            import ctranslate2

            device = "cuda" if ctranslate2.get_cuda_device_count() else "cpu"
        arguments["compute_type"] = "float16" if device == "cuda" else "int8"
        self._whisper = WhisperModel(str(folder), device=device, **arguments)
        self._encode = self._whisper.encode
        self._whisper.encode = (
            self._encoded
        )  # the one door to the encoder, of reading and of finding the language
        self._frames = FULL_S * FRAMES_PER_S
        self._last: tuple[Any, Any] | None = None

    def read(
        self,
        heard: FloatArray,
        language: str | None,
        words: bool,
        window_s: int,
        temperatures: tuple[float, ...],
    ) -> tuple[str, list[dict[str, Any]]]:
        """Language and segments of samples at 16 kHz."""
        whisper = self._whisper
        self._frames = window_s * FRAMES_PER_S
        code = (language or "").lower().partition("-")[0]
        known = code if code in whisper.supported_languages else None
        try:
            segments, info = whisper.transcribe(
                heard,
                language=known or self._language(heard),
                beam_size=1,  # five beams take a third longer; a talk needs its answer soon
                best_of=1,
                temperature=temperatures,
                condition_on_previous_text=False,  # one bad segment must not spoil the next
                word_timestamps=words,
            )
            found = [_segment(part) for part in segments]
        except (RuntimeError, ValueError, IndexError) as error:
            raise EngineFailedError(
                f"faster-whisper failed to read: {type(error).__name__}: {str(error)[:200]}"
            ) from error
        finally:
            self._last = None
        return str(info.language), found

    def _language(self, heard: FloatArray) -> str:
        """The language of the first window. The library would encode it twice: with one frame more to find this."""
        from faster_whisper.audio import pad_or_trim

        whisper = self._whisper
        if not whisper.model.is_multilingual:
            return "en"
        features = whisper.feature_extractor(heard)
        window = pad_or_trim(features[..., : min(FULL_S * FRAMES_PER_S, features.shape[-1] - 1)])
        (likely, _), *_ = whisper.model.detect_language(whisper.encode(window))[0]
        return str(likely.strip("<|>"))

    def _encoded(self, features: Any) -> Any:
        import numpy as np

        if self._last is None or not np.array_equal(self._last[0], features):
            # what lies behind the window is the library's padding up to 30 s
            self._last = (features, self._encode(features[..., : self._frames]))
        return self._last[1]


def _segment(part: Any) -> dict[str, Any]:
    """A segment of the library as the other Whisper gives it."""
    return {
        "text": part.text,
        "start": part.start,
        "end": part.end,
        "avg_logprob": part.avg_logprob,
        "no_speech_prob": part.no_speech_prob,
        "compression_ratio": part.compression_ratio,
        "words": [
            {"word": word.word, "start": word.start, "end": word.end} for word in part.words or ()
        ],
    }


def _model(folder: Path, device: str) -> _Model:
    """The loaded model; the caller holds the lock."""
    global _loaded  # noqa: PLW0603 - one model at a time: a large one has 3 GB
    try:
        modified = (folder / "model.bin").stat().st_mtime_ns
    except OSError as error:
        raise EngineUnavailableError(f"The Whisper model {folder} is gone.") from error
    if not (folder / "tokenizer.json").is_file():
        raise EngineUnavailableError(
            f"The Whisper model {folder} has no tokenizer.json, and nothing is fetched for it. Copy it there again."
        )
    key = (str(folder), modified, device)
    if _loaded is None or _loaded[0] != key:
        _loaded = None
        try:
            model = _Model(folder, device)
        except ModuleNotFoundError:
            raise
        except (
            Exception
        ) as error:  # a damaged file fails in CTranslate2, in JSON or in the tokenizer
            raise EngineUnavailableError(
                f"{folder.name} is no model that faster-whisper can load ({type(error).__name__}: {str(error)[:200]}). "
                "Remove that folder; a .pt file of the model manager is converted again."
            ) from error
        _loaded = (key, model)
    return _loaded[1]
