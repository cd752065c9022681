"""What both Whisper engines share: in their processes hear speech only, drop what was made up; outside, the transcript.

Whisper writes words into silence ("Thanks for watching!"). So it hears only stretches in which somebody speaks, and a
segment goes when its own scores or its text say that it was invented.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from backend.contracts.entities import Transcript, TranscriptSegment
from backend.core.made_up import kept

if TYPE_CHECKING:
    from backend.audio.levels import FloatArray

RATE_HZ = 16_000
JOIN_S = 2.0  # stretches closer than this are read together: whisper needs context

Read = Callable[["FloatArray", str | None], tuple[str, Sequence[Mapping[str, Any]]]]
"""Samples in [-1, 1] at 16 kHz and a language or None -> language and segments as Whisper gives them."""


def reading(pcm: bytes, rate_hz: int, language: str | None, read: Read) -> dict[str, Any]:
    """What was said in PCM16 mono.

    Returns:
        ``language``; ``segments`` and ``words`` as (text, start in s, end in s), none for silence; ``withheld``, what
        was read and not believed; ``no_speech``, ``log_probability``, ``compression`` of all that was read, the worst
        of each, or None.
    """
    from backend.audio.levels import from_pcm16
    from backend.audio.resample import resample
    from backend.audio.vad import speech_spans

    samples = resample(from_pcm16(pcm), rate_hz, RATE_HZ)
    told: dict[str, Any] = {"language": "", "segments": [], "words": []}
    withheld: list[str] = []
    figures: list[Mapping[str, Any]] = []
    for start_s, end_s in joined(speech_spans(samples, RATE_HZ)):
        heard = samples[round(start_s * RATE_HZ) : round(end_s * RATE_HZ)]
        found, segments = read(heard, language)
        told["language"] = told["language"] or found
        said = kept(segments, end_s - start_s)
        for segment in said:
            told["segments"].append(_placed(segment["text"], segment, start_s))
            for word in segment.get("words") or ():
                told["words"].append(_placed(word["word"], word, start_s))
        withheld += [str(segment["text"]).strip() for segment in segments if segment not in said]
        figures += said or segments
    told["withheld"] = " ".join(text for text in withheld if text)
    told["no_speech"] = max((float(part["no_speech_prob"]) for part in figures), default=None)
    told["log_probability"] = min((float(part["avg_logprob"]) for part in figures), default=None)
    told["compression"] = max((float(part["compression_ratio"]) for part in figures), default=None)
    return told


def transcript_of(told: Mapping[str, Any], engine: str) -> Transcript:
    """What `reading` tells, as a transcript."""
    segments = tuple(TranscriptSegment(text, start, end) for text, start, end in told["segments"])
    words = tuple(TranscriptSegment(text, start, end) for text, start, end in told["words"])
    text = " ".join(segment.text for segment in segments)
    return Transcript(
        text,
        told["language"] if text else "",
        segments,
        engine,
        words,
        no_speech=told["no_speech"],
        log_probability=told["log_probability"],
        compression=told["compression"],
        withheld=told["withheld"],
    )


def joined(spans: Iterable[tuple[float, float]]) -> list[tuple[float, float]]:
    """Stretches of speech with short pauses between them made one."""
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
