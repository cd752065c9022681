"""Do the transcripts fit? The alignment cost of every clip that has a text, and the grade with it.

Runs after speech recognition has written texts (``process`` with the option ``{"phase": "check"}``): reads clips.json,
tells every clip again with ``match`` among its measures.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

from backend.audio.clip_edit import remeasure
from backend.audio.clip_grade import grade
from backend.audio.errors import AudioError
from backend.audio.espeak import EspeakError
from backend.audio.levels import FloatArray, from_pcm16
from backend.audio.wav import read_wav
from voice_trainer.loop import Reporter, Steering, TrainerError
from voice_trainer.protocol import ClipSpec, State, read_clips, read_job

logger = logging.getLogger(__name__)

MatchCost = Callable[[str, FloatArray, int, str], float]


def run(folder: Path, reporter: Reporter) -> None:
    """Check every clip of clips.json that has a text.

    Raises:
        TrainerError: There are no clips.
        Stopped: The work shall end.
    """
    spec = read_job(folder)
    clips = read_clips(folder)
    if not clips:
        raise TrainerError("data.none", "There are no clips to check.")
    steering = Steering(folder)
    reporter.state(State.EXAMINE, f"{len(clips)} transcripts")
    cost = match_cost()
    grades = {"A": 0, "B": 0, "C": 0}
    doubtful = unreadable = 0
    for index, clip in enumerate(clips):
        steering.obey(reporter)
        try:
            line = checked(folder, clip, spec.language, cost)
        except AudioError as error:
            unreadable += 1
            reporter.warning(f"Clip {clip.uid} was not checked: {error}")
            continue
        grades[line["grade"]] += 1
        doubtful += "words differ" in line["reasons"]
        reporter.line("clip", **line)
        reporter.progress(
            fraction=(index + 1) / len(clips), message=f"{index + 1} of {len(clips)} transcripts"
        )
    reporter.done(
        {"clips": len(clips), "doubtful": doubtful, "unreadable": unreadable, "grades": grades}
    )


def checked(folder: Path, clip: ClipSpec, language: str, cost: MatchCost) -> dict[str, Any]:
    """The line of one clip.

    Raises:
        AudioError: Its file cannot be read.
    """
    path = folder / clip.path
    measures = dict(clip.measures) or dict(remeasure(str(path))["measures"])
    measures.pop("match", None)
    if clip.text.strip():
        try:
            pcm, rate_hz = read_wav(path.read_bytes())
        except OSError as error:
            raise AudioError(f"{path.name} cannot be read ({error.strerror}).") from error
        found = match(clip.text, from_pcm16(pcm), rate_hz, clip.language or language, cost)
        if found is not None:
            measures["match"] = found
    letter, reasons = grade(measures)
    return {
        "uid": clip.uid,
        "text": clip.text,
        "grade": letter,
        "reasons": list(reasons),
        "measures": measures,
        "duration_s": clip.duration_s,
    }


def match(
    text: str, samples: FloatArray, rate_hz: int, language: str, cost: MatchCost
) -> float | None:
    """Alignment cost of a text; None where it cannot be measured: the embedded voice does not speak the language."""
    try:
        return round(cost(text, samples, rate_hz, language), 4)
    except (EspeakError, ValueError) as error:
        logger.info("A transcript was not checked: %s", error)
        return None


def match_cost() -> MatchCost:
    """`voice_trainer.align.dtw.match_cost`; imported late, it brings a compiler."""
    from voice_trainer.align.dtw import match_cost as found

    return found
