"""Examine a dataset before the first step of training: what is wrong with it, in words and figures, and what to do.

Every clip is measured once (`examine`, about 25 ms for 5 s), then plain rules look at all of them (`findings`). Clips are
compared with each other where only that tells: level, voice, transcript. Run by ``python -m voice_trainer doctor FOLDER``.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np

from backend.audio.clip_measures import measure
from backend.audio.decode import decode
from backend.audio.errors import AudioError
from backend.audio.levels import FloatArray, frame_levels_dbfs
from voice_trainer import speaker
from voice_trainer.fingerprint import Words, fingerprint, same_sounds
from voice_trainer.loop import Reporter, Steering, TrainerError
from voice_trainer.protocol import (
    ClipSpec,
    State,
    prompt_language,
    read_clips,
    read_job,
    read_prompts,
)
from voice_trainer.text import coverage

logger = logging.getLogger(__name__)

Severity = Literal["ok", "hint", "warning", "problem"]

LONGEST_READ_S = 60.0

CLIPPED = 1e-4, 2e-3  # share of samples in flat tops: audible at all, crackles
DC = 0.01  # of full scale; high-passed clips have under 0.001, cheap sound cards 0.02 and more
SNR_DB = 28.0, 16.0
BANDWIDTH_HZ = 7_000.0, 4_500.0
EDGE_SILENCE_S = 0.8  # process leaves 0.2 s
INNER_SILENCE_S = 1.2
SILENCE_BELOW_DB = 38.0  # than the loud frames of the clip
LEVEL_OFF_DB = 5.0  # from the median of the clips
TOO_QUIET_LUFS = -40.0
TOO_SHORT_S, TOO_LONG_S = 1.0, 12.0
BUCKETS_S = (0.0, 1.0, 2.0, 4.0, 6.0, 8.0, 10.0, 12.0, 60.0)

COST_OFF = 0.10
"""A transcript costs so much more than the better quarter of its voice: wrong. Right ones spread by 0.02 to 0.05."""
COST_ALWAYS_WRONG = 0.48
"""Whatever the voice: wrong. Matters when most transcripts are wrong."""
COST_DOUBTFUL = 0.055
"""Above the better quarter, and outside of what is usual: perhaps a word differs."""
PACE = 3.0, 26.0  # phonemes per second of speech: slower or faster nobody speaks
PACE_RATIO = 1.7  # times the usual pace of the voice, either way

MINUTES_ENOUGH, MINUTES_LEAST = 5.0, 0.5
COVERAGE_ENOUGH = 0.85

# Letters that a language is written with, where the script tells it.
SCRIPTS = {"ru": "Ѐ-ӿ", "uk": "Ѐ-ӿ", "bg": "Ѐ-ӿ", "ja": "぀-ヿ一-鿿", "cmn": "一-鿿", "ko": "가-힯", "el": "Ͱ-Ͽ"}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing to say about a dataset; fields as in the protocol.

    Attributes:
        clips: Uids.
        value: The figure it is about, where there is one.
    """

    code: str
    severity: Severity
    title: str
    detail: str = ""
    fix: str = ""
    clips: tuple[str, ...] = ()
    value: float | None = None


@dataclass(frozen=True, slots=True)
class Examined:
    """One clip, measured.

    Attributes:
        measures: As in `backend.audio.clip_measures.measure`; empty when the file cannot be read.
        problem: Why it cannot be read.
        lead_s, tail_s, pause_s: Silence before, after, and the longest between words.
        speech_s: Time with speech.
        sound: Its fingerprint.
        voice: Its speaker embedding; None = too little speech.
        cost: How badly the transcript fits; None = no transcript, or not checked.
        phonemes: Of the transcript.
    """

    clip: ClipSpec
    measures: dict[str, float]
    problem: str = ""
    lead_s: float = 0.0
    tail_s: float = 0.0
    pause_s: float = 0.0
    speech_s: float = 0.0
    sound: Words | None = None
    voice: speaker.Vector | None = None
    cost: float | None = None
    phonemes: int = 0

    @property
    def has_text(self) -> bool:
        """There is something to say in the transcript."""
        return any(mark.isalnum() for mark in self.clip.text)


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """All that is said about a dataset."""

    findings: tuple[Finding, ...]
    verdict: str
    minutes: dict[str, float]
    lengths: tuple[tuple[float, float, int], ...]
    coverage: coverage.Coverage


Cost = Callable[[str, FloatArray, int, str], float]


def run(folder: Path, reporter: Reporter) -> None:
    """The command ``doctor``: examine the clips of a job, tell what was found.

    Raises:
        TrainerError: The job has no clips.
        Stopped: It was asked to stop.
    """
    spec = read_job(folder)
    clips = read_clips(folder)
    if not clips:
        raise TrainerError("data.none", "There are no clips to examine. Record or import some.")
    reporter.state(State.EXAMINE, f"Listening to {len(clips)} clips")
    steering = Steering(folder)
    examined = []
    for number, clip in enumerate(clips):
        steering.obey(reporter)
        reporter.progress(
            fraction=number / (len(clips) + 1), message=f"Clip {number + 1} of {len(clips)}"
        )
        examined.append(examine(folder, clip, spec.language))
    steering.obey(reporter)
    reporter.progress(fraction=len(clips) / (len(clips) + 1), message="Comparing the clips")
    recorded = spec.options.get("recorded")
    found = diagnose(
        examined, spec.language, recorded=recorded if isinstance(recorded, list) else ()
    )
    for one in found.findings:
        reporter.line(
            "finding",
            code=one.code,
            severity=one.severity,
            title=one.title,
            detail=one.detail,
            fix=one.fix,
            clips=list(one.clips),
            value=one.value,
        )
    reporter.line(
        "report",
        verdict=found.verdict,
        minutes=found.minutes,
        lengths=[list(one) for one in found.lengths],
        coverage=round(found.coverage.phonemes, 4),
        diphones=round(found.coverage.diphones, 4),
        missing=list(found.coverage.missing),
        suggestions=list(found.coverage.suggestions),
    )
    reporter.done({"verdict": found.verdict, "clips": len(clips)})


def examine(folder: Path, clip: ClipSpec, language: str, cost: Cost | None = None) -> Examined:
    """Measure one clip; a file that cannot be read is told in ``problem``.

    Args:
        folder: What relative paths are relative to.
        clip: The clip.
        language: espeak voice of the transcript.
        cost: How badly a transcript fits; None = `voice_trainer.align.dtw.match_cost`.
    """
    try:
        sound = decode(folder / clip.path, max_s=LONGEST_READ_S, name=clip.uid)
    except (AudioError, OSError) as error:
        return Examined(clip, {}, problem=str(error))
    samples, rate_hz = sound.samples, sound.rate_hz
    measures = measure(samples, rate_hz, with_echo=False)
    lead_s, tail_s, pause_s, speech_s = silences(samples, rate_hz)
    try:
        voice = speaker.embed(samples, rate_hz)
    except speaker.TooLittleSpeechError:
        voice = None
    found = Examined(
        clip,
        measures,
        "" if speech_s > 0 else "It is silent.",
        lead_s,
        tail_s,
        pause_s,
        speech_s,
        fingerprint(samples, rate_hz),
        voice,
    )
    if not found.has_text or found.problem:
        return found
    return replace(
        found,
        cost=_cost(cost, clip, samples, rate_hz, language),
        phonemes=_phonemes(clip.text, language),
    )


def silences(samples: FloatArray, rate_hz: int) -> tuple[float, float, float, float]:
    """Seconds of silence before and after, of the longest pause, and seconds of speech; no speech at all: all before."""
    hop = max(rate_hz // 100, 1)
    samples = samples - samples.mean() if samples.size else samples
    levels = frame_levels_dbfs(samples, 2 * hop, hop)
    if levels.size == 0 or float(levels.max()) < -70:
        return samples.size / rate_hz, 0.0, 0.0, 0.0
    loud = float(np.percentile(levels, 95))
    loud = max(loud, float(levels.max()) - 12)  # a clip that is mostly silence
    noise = float(np.percentile(levels, 5))
    threshold = max(loud - SILENCE_BELOW_DB, min(noise + 8.0, loud - 12.0))
    active = levels > threshold
    # A click of less than 40 ms is no speech.
    kernel = np.convolve(active, np.ones(4), "same") >= 3
    speech = np.flatnonzero(active & kernel)
    if speech.size == 0:
        return samples.size / rate_hz, 0.0, 0.0, 0.0
    gaps = np.diff(speech) - 1
    second = rate_hz / hop
    return (
        float(speech[0] / second),
        float((levels.size - 1 - speech[-1]) / second),
        float(gaps.max() / second) if gaps.size else 0.0,
        float((speech.size + gaps[gaps < 0.25 * second].sum()) / second),
    )


def diagnose(
    clips: Sequence[Examined], language: str, *, recorded: Collection[str] = ()
) -> Diagnosis:
    """What all clips together say.

    Args:
        clips: Measured.
        language: espeak voice of the transcripts.
        recorded: Ids of prompts that need no suggestion.
    """
    texts = [one.clip.text for one in clips if one.has_text and not one.problem]
    covered = _coverage(texts, language, recorded)
    good = [one for one in clips if not one.problem]
    found: list[Finding] = [
        *_unreadable(clips),
        *_clipping(good),
        *_noise(good),
        *_offset(good),
        *_silence(good),
        *_level(good),
        *_bandwidth(good),
        *_lengths(good),
        *_duplicates(good),
        *_voices(good),
        *_transcripts(good),
        *_scripts(good, language),
        *_emotions(good),
        *_sounds(covered, language),
        *_amount(good),
    ]
    order = {"problem": 0, "warning": 1, "hint": 2, "ok": 3}
    found.sort(key=lambda one: order[one.severity])
    return Diagnosis(tuple(found), verdict(found), _minutes(good), _histogram(good), covered)


def verdict(found: Sequence[Finding]) -> str:
    """One sentence: may training begin?"""
    problems = [one.title for one in found if one.severity == "problem"]
    warnings = [one.title for one in found if one.severity == "warning"]
    if problems:
        return f"Not yet: {_and(_small(one) for one in problems[:3])}."
    if warnings:
        return f"Works, better without this: {_and(_small(one) for one in warnings[:3])}."
    return "Ready to train."


# --- the rules ---


def _unreadable(clips: Sequence[Examined]) -> list[Finding]:
    bad = [one for one in clips if one.problem]
    if not bad:
        return []
    return [
        Finding(
            "unreadable",
            "problem",
            f"{_count(bad)} cannot be used",
            f"{bad[0].clip.uid}: {bad[0].problem}",
            "Remove them, or import their files again.",
            _uids(bad),
            len(bad),
        )
    ]


def _clipping(clips: Sequence[Examined]) -> list[Finding]:
    bad = _beyond(clips, "clipped", CLIPPED[0])
    if not bad:
        return [Finding("clipping", "ok", "No clipping")]
    worst = max(one.measures["clipped"] for one in bad)
    crackling = sum(one.measures["clipped"] > CLIPPED[1] for one in bad)
    return [
        Finding(
            "clipping",
            "problem" if crackling > len(clips) / 4 else "warning",
            f"{_count(bad)} clipped",
            f"Up to {worst:.2%} of the samples of a clip are cut off; {crackling} of them crackle. The voice learns it.",
            "Record again with the input level 6 dB lower; loud words should peak near -6 dBFS.",
            _uids(bad),
            worst,
        )
    ]


def _noise(clips: Sequence[Examined]) -> list[Finding]:
    bad = _beyond(clips, "snr_db", SNR_DB[0], below=True)
    middle = _median(one.measures["snr_db"] for one in clips)
    if not bad:
        return [Finding("noise", "ok", "Quiet room", f"Speech lies {middle:.0f} dB over the noise.", value=middle)]  # fmt: skip
    heavy = sum(one.measures["snr_db"] < SNR_DB[1] for one in bad)
    worst = min(one.measures["snr_db"] for one in bad)
    return [
        Finding(
            "noise",
            "problem" if heavy > len(clips) / 4 else "warning",
            f"{_count(bad)} noisy",
            f"The noise lies only {worst:.0f} dB under the speech in the worst one ({middle:.0f} dB in the middle of all; "
            f"{SNR_DB[0]:.0f} are good).",
            "Denoise them, or record again nearer to the microphone and with fans and computers off.",
            _uids(bad),
            worst,
        )
    ]


def _offset(clips: Sequence[Examined]) -> list[Finding]:
    bad = [one for one in clips if abs(one.measures["dc"]) > DC]
    if not bad:
        return [Finding("dc", "ok", "No offset")]
    worst = max(abs(one.measures["dc"]) for one in bad)
    return [
        Finding(
            "dc",
            "warning",
            f"{_count(bad)} off the middle line",
            f"A constant offset of up to {worst:.1%} of full scale lies under the sound.",
            "Process the recordings again: the high-pass takes it away.",
            _uids(bad),
            worst,
        )
    ]


def _silence(clips: Sequence[Examined]) -> list[Finding]:
    ends = [one for one in clips if max(one.lead_s, one.tail_s) > EDGE_SILENCE_S]
    inside = [one for one in clips if one.pause_s > INNER_SILENCE_S and one not in ends]
    bad = [*ends, *inside]
    if not bad:
        return [Finding("silence", "ok", "No long silences")]
    longest = max(max(one.lead_s, one.tail_s, one.pause_s) for one in bad)
    return [
        Finding(
            "silence",
            "warning",
            f"{_count(bad)} with long silence",
            f"{len(ends)} at the ends, {len(inside)} between words; the longest lasts {longest:.1f} s.",
            "Trim the ends, split at long pauses.",
            _uids(bad),
            longest,
        )
    ]


def _level(clips: Sequence[Examined]) -> list[Finding]:
    if not clips:
        return []
    middle = _median(one.measures["lufs"] for one in clips)
    bad = [
        one
        for one in clips
        if abs(one.measures["lufs"] - middle) > LEVEL_OFF_DB
        or one.measures["lufs"] < TOO_QUIET_LUFS
    ]
    spread = float(np.std([one.measures["lufs"] for one in clips]))
    if not bad:
        return [Finding("level", "ok", "Even loudness", f"{middle:.0f} LUFS, spread {spread:.1f} dB.", value=spread)]  # fmt: skip
    return [
        Finding(
            "level",
            "warning",
            f"{_count(bad)} much louder or quieter than the rest",
            f"The middle of all is {middle:.0f} LUFS; these lie more than {LEVEL_OFF_DB:.0f} dB away or are very quiet.",
            "Process the recordings again (it evens the loudness), or record them at one distance.",
            _uids(bad),
            spread,
        )
    ]


def _bandwidth(clips: Sequence[Examined]) -> list[Finding]:
    bad = _beyond(clips, "bandwidth_hz", BANDWIDTH_HZ[0], below=True)
    if not bad:
        return [Finding("bandwidth", "ok", "Full sound")]
    lowest = min(one.measures["bandwidth_hz"] for one in bad)
    return [
        Finding(
            "bandwidth",
            "problem" if len(bad) > len(clips) / 2 and lowest < BANDWIDTH_HZ[1] else "warning",
            f"{_count(bad)} sound dull",
            f"Above {lowest:,.0f} Hz there is nothing: a telephone, a headset over Bluetooth or strong compression.",
            "Use the original recording, or a microphone with a cable; leave these out when the others suffice.",
            _uids(bad),
            lowest,
        )
    ]


def _lengths(clips: Sequence[Examined]) -> list[Finding]:
    short = [one for one in clips if one.measures["duration_s"] < TOO_SHORT_S]
    long = [one for one in clips if one.measures["duration_s"] > TOO_LONG_S + 0.05]
    found = []
    if short:
        found.append(
            Finding(
                "too_short",
                "warning",
                f"{_count(short)} under {TOO_SHORT_S:g} s",
                "Single words teach little, and trainers leave out the shortest.",
                "Record whole sentences of 2 to 10 s.",
                _uids(short),
                len(short),
            )
        )
    if long:
        longest = max(one.measures["duration_s"] for one in long)
        found.append(
            Finding(
                "too_long",
                "warning",
                f"{_count(long)} over {TOO_LONG_S:g} s",
                f"The longest lasts {longest:.1f} s; long clips need much memory and are left out.",
                "Split them at pauses.",
                _uids(long),
                longest,
            )
        )
    return found or [Finding("lengths", "ok", "Good lengths")]


def _duplicates(clips: Sequence[Examined]) -> list[Finding]:
    prints = [one.sound if one.sound is not None else np.empty(0, np.uint16) for one in clips]
    pairs = same_sounds(prints)
    found = []
    if pairs:
        second = [clips[number] for number in sorted({pair[1] for pair in pairs})]
        examples = _and(f"{clips[a].clip.uid} and {clips[b].clip.uid}" for a, b in pairs[:3])
        found.append(
            Finding(
                "duplicates",
                "warning",
                f"{_count(second)} there twice",
                f"The same sound, perhaps louder, cut or coded otherwise: {examples}.",
                "Keep one of each: a clip that is learned and held back for the test makes figures too good.",
                _uids(second),
                len(second),
            )
        )
    same: dict[str, list[Examined]] = {}
    for one in clips:
        if one.has_text:
            same.setdefault(_plain(one.clip.text), []).append(one)
    again = [one for group in same.values() for one in group[1:]]
    if again:
        found.append(
            Finding(
                "same_text",
                "hint",
                f"{_count(again)} with a text that is there already",
                f"For example “{again[0].clip.text[:60]}”.",
                "Fine when they were said again; other sentences would teach more.",
                _uids(again),
                len(again),
            )
        )
    return found or [Finding("duplicates", "ok", "No clip is there twice")]


def _voices(clips: Sequence[Examined]) -> list[Finding]:
    known = [one for one in clips if one.voice is not None]
    if len(known) < speaker.LEAST_CLIPS:
        return []
    odd = [known[number] for number in speaker.strangers([one.voice for one in known if one.voice is not None])]  # fmt: skip
    if not odd:
        return [Finding("mixed_speakers", "ok", "One voice")]
    share = len(odd) / len(known)
    return [
        Finding(
            "mixed_speakers",
            "problem" if len(odd) >= 3 and share >= 0.05 else "warning",
            f"{_count(odd)} of another voice",
            f"They sound unlike the other {len(known) - len(odd)}: another person, an effect, or an acted voice.",
            "Listen to them; reject what is not this speaker.",
            _uids(odd),
            share,
        )
    ]


def _transcripts(clips: Sequence[Examined]) -> list[Finding]:
    found = []
    empty = [one for one in clips if not one.has_text]
    if empty:
        found.append(
            Finding(
                "missing_transcript",
                "problem" if len(empty) > len(clips) / 4 else "warning",
                f"{_count(empty)} without a transcript",
                "Training leaves them out.",
                "Write what is said, or let it be transcribed.",
                _uids(empty),
                len(empty),
            )
        )
    wrong, doubtful = judged_transcripts(clips)
    if wrong:
        worst = sorted(wrong, key=lambda one: -(one.cost or 0))[0]
        found.append(
            Finding(
                "wrong_transcript",
                "problem" if len(wrong) > len(clips) / 10 else "warning",
                f"{_count(wrong)} with a text that does not fit",
                f"The sound does not go with the words; worst {worst.clip.uid}: “{worst.clip.text[:60]}”.",
                "Listen and correct the text, or reject the clip.",
                _uids(wrong),
                len(wrong),
            )
        )
    if doubtful:
        found.append(
            Finding(
                "doubtful_transcript",
                "hint",
                f"{_count(doubtful)} where a word may differ",
                "They fit less well than the other clips of this voice.",
                "Listen to them when there is time.",
                _uids(doubtful),
                len(doubtful),
            )
        )
    if not found and any(one.cost is not None for one in clips):
        found.append(Finding("wrong_transcript", "ok", "Transcripts fit"))
    return found


def judged_transcripts(clips: Sequence[Examined]) -> tuple[list[Examined], list[Examined]]:
    """Clips whose transcript is wrong, and those where it may be: against what is usual for this voice."""
    checked = [one for one in clips if one.cost is not None and one.phonemes]
    if not checked:
        return [], []
    costs = np.array([one.cost for one in checked], dtype=np.float64)
    better, middle = (float(one) for one in np.percentile(costs, [25, 50]))
    spread = max(middle - better, 0.008)
    limit = min(better + max(COST_OFF, 6 * spread), COST_ALWAYS_WRONG)
    unsure = better + max(COST_DOUBTFUL, 5 * spread)
    paces = np.array([one.phonemes / max(one.speech_s, 0.1) for one in checked])
    fits = costs <= limit
    usual = float(np.median(paces[fits])) if fits.any() else float(np.median(paces))
    wrong, doubtful = [], []
    for one, cost, pace in zip(checked, costs, paces, strict=True):
        odd_pace = not usual / PACE_RATIO <= pace <= usual * PACE_RATIO
        if cost > limit or (one.phonemes >= 8 and not PACE[0] <= pace <= PACE[1]):
            wrong.append(one)
        elif cost > unsure or (odd_pace and one.phonemes >= 8):
            doubtful.append(one)
    return wrong, doubtful


def _scripts(clips: Sequence[Examined], language: str) -> list[Finding]:
    """Transcripts in letters of another language."""
    name = prompt_language(language) or language.split("-")[0]
    own = SCRIPTS.get(name)
    bad = []
    for one in clips:
        letters = [mark for mark in one.clip.text if mark.isalpha()]
        if not letters:
            continue
        if own:
            strange = sum(not re.match(f"[{own}]", mark) for mark in letters)
        else:
            strange = sum(any(re.match(f"[{marks}]", mark) for marks in SCRIPTS.values()) for mark in letters)  # fmt: skip
        if strange > len(letters) / 2:
            bad.append(one)
    if not bad:
        return []
    return [
        Finding(
            "language",
            "warning",
            f"{_count(bad)} with a text in another script",
            f"The voice speaks {language}; for example “{bad[0].clip.text[:40]}”.",
            "Reject them, or train another voice for that language.",
            _uids(bad),
            len(bad),
        )
    ]


def _first(prompts: Sequence[str], language: str) -> str:
    """The first of suggested prompts as it is read: nobody knows them by their ids."""
    if not prompts:
        return ""
    texts = read_prompts(prompt_language(language))
    return f", beginning with “{texts[int(prompts[0].rpartition('-')[2]) - 1]}”"


def _emotions(clips: Sequence[Examined]) -> list[Finding]:
    counts: dict[str, int] = {}
    for one in clips:
        if one.clip.emotion:
            counts[one.clip.emotion] = counts.get(one.clip.emotion, 0) + 1
    if len(counts) < 2:
        return []
    listed = ", ".join(f"{name} {count}" for name, count in sorted(counts.items()))
    return [
        Finding(
            "emotions",
            "hint",
            f"{len(counts)} emotions together",
            f"The voice will speak in the middle of them ({listed}).",
            "Train one voice per emotion, or only with the neutral clips, when it shall sound even.",
            value=len(counts),
        )
    ]


def _sounds(covered: coverage.Coverage, language: str) -> list[Finding]:
    if not covered.is_known:
        return [Finding("coverage", "hint", f"No prompts for {language}", "How complete its sounds are is not known.")]  # fmt: skip
    share = covered.phonemes
    detail = f"{share:.0%} of the phonemes and {covered.diphones:.0%} of the usual pairs are heard often enough."
    if share >= COVERAGE_ENOUGH:
        return [Finding("coverage", "ok", "All usual sounds are there", detail, value=share)]
    rare = " ".join(covered.missing[:12])
    return [
        Finding(
            "coverage",
            "hint" if share >= 0.6 else "warning",
            f"{len(covered.missing)} sounds hardly heard",
            f"{detail} Rare: {rare}.",
            "Record the suggested sentences" + _first(covered.suggestions, language) + ".",
            value=share,
        )
    ]


def _amount(clips: Sequence[Examined]) -> list[Finding]:
    minutes = sum(one.measures["duration_s"] for one in clips if one.has_text) / 60
    said = f"{minutes:.1f} minutes with text."
    if minutes < MINUTES_LEAST:
        return [Finding("too_little", "problem", "Too little to train", said, "Record at least half a minute; 5 to 10 minutes give a good voice.", value=minutes)]  # fmt: skip
    if minutes < 1.5:
        return [Finding("too_little", "warning", "Very little sound", f"{said} The colour of the voice will be right, words will be unclear.", "1.2 minutes are understood somewhat better, 8 minutes about as well as it gets.", value=minutes)]  # fmt: skip
    if minutes < MINUTES_ENOUGH:
        return [Finding("too_little", "hint", "More sound would help", f"{said} It works; up to about 8 minutes every minute makes words clearer.", "Record more prompts.", value=minutes)]  # fmt: skip
    return [Finding("too_little", "ok", "Enough sound", said, value=minutes)]


# --- words and figures ---


def _coverage(texts: list[str], language: str, recorded: Collection[str]) -> coverage.Coverage:
    wanted = 10
    found = coverage.measure(texts, language, suggest=wanted + len(recorded))
    left = tuple(one for one in found.suggestions if one not in recorded)[:wanted]
    return coverage.Coverage(found.phonemes, found.diphones, found.missing, left, found.is_known)


def _minutes(clips: Sequence[Examined]) -> dict[str, float]:
    found: dict[str, float] = {}
    for one in clips:
        found[one.clip.grade] = found.get(one.clip.grade, 0.0) + one.measures["duration_s"] / 60
    return {grade: round(minutes, 3) for grade, minutes in sorted(found.items())}


def _histogram(clips: Sequence[Examined]) -> tuple[tuple[float, float, int], ...]:
    counts, _ = np.histogram([one.measures["duration_s"] for one in clips], BUCKETS_S)
    return tuple(
        (BUCKETS_S[i], BUCKETS_S[i + 1], int(count)) for i, count in enumerate(counts.tolist())
    )


def _beyond(
    clips: Sequence[Examined], name: str, limit: float, *, below: bool = False
) -> list[Examined]:
    """Clips on the bad side of a limit, the worst first."""
    sign = -1 if below else 1
    bad = [one for one in clips if sign * one.measures[name] > sign * limit]
    return sorted(bad, key=lambda one: -sign * one.measures[name])


def _cost(
    cost: Cost | None, clip: ClipSpec, samples: FloatArray, rate_hz: int, language: str
) -> float | None:
    if cost is None:
        from voice_trainer.align.dtw import match_cost  # brings numba

        cost = match_cost
    from backend.audio.espeak import EspeakError

    try:
        return cost(clip.text, samples, rate_hz, language)
    except (EspeakError, ValueError) as error:
        logger.warning("The transcript of clip %s cannot be checked: %s", clip.uid, error)
        return None


def _phonemes(text: str, language: str) -> int:
    try:
        return sum(one != coverage.PAUSE for one in coverage.phones(text, language))
    except RuntimeError:
        return 0


def _median(values: Iterable[float]) -> float:
    found = list(values)
    return float(np.median(found)) if found else 0.0


def _uids(clips: Sequence[Examined]) -> tuple[str, ...]:
    return tuple(one.clip.uid for one in clips)


def _count(clips: Sequence[Examined]) -> str:
    return "1 clip" if len(clips) == 1 else f"{len(clips)} clips"


def _plain(text: str) -> str:
    return "".join(mark for mark in text.casefold() if mark.isalnum())


def _small(title: str) -> str:
    return title[:1].lower() + title[1:]


def _and(parts: Iterable[str]) -> str:
    listed = list(parts)
    if len(listed) < 2:
        return "".join(listed)
    return ", ".join(listed[:-1]) + " and " + listed[-1]
