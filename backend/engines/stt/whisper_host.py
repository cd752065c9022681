"""The part of Whisper that runs in its own process: loads a model file, reads speech, drops what was made up.

Whisper writes words into silence ("Thanks for watching!"). So it hears only stretches in which somebody speaks, and a
segment goes when its own scores or its text say that it was invented.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from backend.contracts.errors import EngineFailedError, EngineUnavailableError

FIRST = ("numpy",)  # imported before any call, by one thread
RATE_HZ = 16_000
LEAST_LOGPROB = -1.0  # whisper's own limits for trusting a segment
MOST_NO_SPEECH = 0.6
MOST_COMPRESSION = 2.4  # text that gzip shrinks more than this is a loop
SHORT_S = 1.2  # speech this short is where stock phrases come from
JOIN_S = 2.0  # stretches closer than this are read together

STOCK_PHRASES = frozenset(
    re.sub(r"\W+", " ", phrase).strip()
    for phrase in (
        "thanks for watching",
        "thank you for watching",
        "thank you so much for watching",
        "thank you very much",
        "thank you",
        "please subscribe",
        "like and subscribe",
        "see you next time",
        "see you in the next video",
        "bye",
        "you",
        "the end",
        "subtitles by the amara org community",
        "transcription by castingwords",
        "untertitel der amara org community",
        "untertitelung des zdf 2020",
        "sous titres réalisés para la communauté d amara org",
        "subtítulos realizados por la comunidad de amara org",
        "ご視聴ありがとうございました",
        "最後までご視聴ありがとうございました",
        "请不吝点赞 订阅 转发 打赏支持明镜与点点栏目",
    )
)

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
    """``language``, ``segments`` and ``words`` (text, start in s, end in s) of PCM16 mono; none for silence."""
    from backend.audio.levels import from_pcm16
    from backend.audio.resample import resample
    from backend.audio.vad import speech_spans

    samples = resample(from_pcm16(pcm), rate_hz, RATE_HZ)
    told: dict[str, Any] = {"language": "", "segments": [], "words": []}
    spans = joined(speech_spans(samples, RATE_HZ))
    if not spans:
        return told
    with _lock:
        model = _model(Path(path), device)
        language = _known(model, language)
        for start_s, end_s in spans:
            heard = samples[round(start_s * RATE_HZ) : round(end_s * RATE_HZ)]
            try:
                read = model.transcribe(
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
            told["language"] = told["language"] or str(read.get("language", ""))
            for segment in kept(read["segments"], end_s - start_s):
                told["segments"].append(_placed(segment["text"], segment, start_s))
                for word in segment.get("words", ()):
                    told["words"].append(_placed(word["word"], word, start_s))
    return told


def kept(segments: Iterable[Mapping[str, Any]], speech_s: float) -> list[Mapping[str, Any]]:
    """The segments that were said, not made up.

    Args:
        segments: As whisper gives them.
        speech_s: How long somebody spoke.
    """
    said = []
    for segment in segments:
        text = str(segment["text"]).strip()
        plain = re.sub(r"\W+", " ", text.lower()).strip()
        unsure = segment["avg_logprob"] < LEAST_LOGPROB
        silent = segment["no_speech_prob"] > MOST_NO_SPEECH
        looping = segment["compression_ratio"] > MOST_COMPRESSION
        doubtful = speech_s < SHORT_S or segment["no_speech_prob"] > MOST_NO_SPEECH / 3
        stock = plain in STOCK_PHRASES and doubtful and segment["avg_logprob"] < LEAST_LOGPROB / 4
        if plain and not (unsure or looping or stock or (silent and segment["avg_logprob"] < -0.5)):
            said.append(segment)
    return said


def joined(spans: Iterable[tuple[float, float]]) -> list[tuple[float, float]]:
    """Stretches of speech with short pauses between them made one: whisper needs context."""
    longer: list[tuple[float, float]] = []
    for start_s, end_s in spans:
        if longer and start_s - longer[-1][1] < JOIN_S:
            longer[-1] = (longer[-1][0], end_s)
        else:
            longer.append((start_s, end_s))
    return longer


def _placed(text: str, at: Mapping[str, Any], offset_s: float) -> tuple[str, float, float]:
    return (
        text.strip(),
        round(offset_s + float(at["start"]), 3),
        round(offset_s + float(at["end"]), 3),
    )


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
        _loaded = (key, model)
    return _loaded[1]
