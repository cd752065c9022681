"""From clips.json to what a trainer learns from: features and phonemes of every clip, once, with a split that never changes.

Public names: `prepare(folder, spec, ...) -> Dataset` (quick trainer); `usable(...)`, `held_back(...)`, `digest(...)`,
`Manifest`, `write_manifest` (any trainer). Features are cached by what they depend on (sound and settings), so a killed
preparation goes on where it was and changed clips are seen. The alignment is made in one go and kept whole: the embedded
voice says nothing twice in quite the same way (its state goes on from sentence to sentence, in the order of the clips),
and a training that was interrupted must find what it had before.
"""

from __future__ import annotations

import hashlib
import json
import logging
import multiprocessing
import os
import threading
from collections.abc import Iterable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from backend.audio.decode import decode
from backend.audio.errors import AudioError
from backend.audio.levels import FloatArray, level_dbfs
from voice_trainer.config import TrainConfig
from voice_trainer.loop import Reporter, Steering, TrainerError
from voice_trainer.protocol import (
    DATASET,
    ClipSpec,
    JobSpec,
    ProtocolError,
    State,
    read_json,
    write_json,
)
from voice_trainer.quick.features import Features
from voice_trainer.text.phonemes import can_be_said

logger = logging.getLogger(__name__)

IntArray = npt.NDArray[np.int64]

VERSION = 2
"""Of the cached features: raise it when they are computed differently."""

MANIFEST, FEATURES, ALIGNMENT = "manifest.json", "features", "alignment.safetensors"

LEAST_CLIPS, LEAST_S = 4, 10.0
SHORTEST_S, LONGEST_S = 0.4, 20.0
"""Clips outside are left out: the first say nothing, the second make a step as slow as its longest clip."""

WRONG_ABOVE = 0.55
"""Of the alignment's cost: above, text and sound have nothing to do with each other, and learning it does harm."""

LEAD_S, TAIL_S = 0.05, 0.10
"""Silence kept around the speech of a clip: what the voice will wait before and after a sentence."""
SPEECH_DBFS = -23.0
"""Level that every clip is brought to, so that loudness is no property the network must learn."""

PARALLEL_FROM_S = 45.0
"""Seconds of sound from which more processes are started: each takes a second to start."""


@dataclass(frozen=True, slots=True)
class Clip:
    """One clip, ready to learn from.

    Attributes:
        symbols, ids: As in `Phonemes`.
        durations: Frames of each symbol, int64, shape (symbols,); their sum is the features' length.
        cost: How badly the text fits the sound, see `voice_trainer.align.dtw`.
    """

    uid: str
    text: str
    symbols: tuple[str, ...]
    ids: IntArray
    durations: IntArray
    features: Features
    cost: float


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a voice was made of; written beside the features and into the voice's card.

    Attributes:
        data_sha256: Digest of all sounds and texts.
        minutes: Of sound that is learned from or held back.
        train, held_back: uids.
        left_out: uid to why.
    """

    trainer: str
    language: str
    rate_hz: int
    data_sha256: str
    clips: int
    minutes: float
    train: tuple[str, ...]
    held_back: tuple[str, ...]
    left_out: dict[str, str]


@dataclass(frozen=True, slots=True)
class Dataset:
    """What the quick trainer learns from, and what it is measured with; neither is empty."""

    manifest: Manifest
    train: list[Clip]
    held_back: list[Clip]


@dataclass(frozen=True, slots=True)
class Task:
    """One clip to analyse, in whatever process.

    Attributes:
        cache: Where its features go; the name says what they depend on.
    """

    uid: str
    path: str
    text: str
    language: str
    rate_hz: int
    cache: str


def prepare(
    folder: Path,
    spec: JobSpec,
    clips: Sequence[ClipSpec],
    digests: dict[str, str],
    reporter: Reporter,
    steering: Steering,
    *,
    config: TrainConfig,
    threads: int = 1,
) -> Dataset:
    """Analyse and align every clip, and write the manifest.

    Args:
        folder: The job folder; the cache is its dataset/features.
        spec: Language and rate.
        clips: From `usable`.
        digests: SHA-256 of each clip's file by uid, from `usable`.
        reporter: Told of the states prepare and align.
        steering: Obeyed between clips.
        config: How many clips to hold back, and how often to lay them out anew.
        threads: Processes that analyse at once.

    Raises:
        TrainerError: Too few clips are left.
        Stopped: As asked.
    """
    reporter.state(State.PREPARE, f"{len(clips)} clips")
    cache = folder / DATASET / FEATURES
    cache.mkdir(parents=True, exist_ok=True)
    tasks = [_task(clip, spec, digests[clip.uid], folder, cache) for clip in clips]
    missing = [task for task in tasks if not _is_whole(Path(task.cache))]
    seconds = {clip.uid: clip.duration_s for clip in clips}
    problems = analyse_all(missing, seconds, threads, reporter, steering)
    analysed = [task for task in tasks if task.uid not in problems]
    reporter.state(State.ALIGN, f"{len(analysed)} clips")
    aligned = _aligned(folder, analysed, config.alignment_rounds, problems, reporter, steering)
    if problems:
        reporter.warning(_left_out(problems, clips))
    _check_enough([seconds[clip.uid] for clip in aligned], "that can be used")
    apart = held_back(
        [(clip.uid, clip.text) for clip in aligned],
        config.seed,
        config.held_back,
        config.most_held_back,
    )
    frame_s = frame_seconds(spec.rate_hz)
    manifest = Manifest(
        trainer="quick",
        language=spec.language,
        rate_hz=spec.rate_hz,
        data_sha256=digest((digests[clip.uid], clip.text) for clip in aligned),
        clips=len(aligned),
        minutes=round(sum(len(clip.features) for clip in aligned) * frame_s / 60, 3),
        train=tuple(clip.uid for clip in aligned if clip.uid not in apart),
        held_back=tuple(clip.uid for clip in aligned if clip.uid in apart),
        left_out=problems,
    )
    write_manifest(folder, manifest)
    return Dataset(
        manifest,
        [clip for clip in aligned if clip.uid not in apart],
        [clip for clip in aligned if clip.uid in apart],
    )


def usable(folder: Path, clips: Sequence[ClipSpec]) -> tuple[list[ClipSpec], dict[str, str], dict[str, str]]:  # fmt: skip
    """Which clips can be learned from, judged by their files and texts alone (about 1 ms per clip).

    Returns:
        The clips with absolute paths, the SHA-256 of each one's file by uid, and why the others are left out by uid.

    Raises:
        TrainerError: Not enough is left; the message says how much is needed.
    """
    good, digests, problems = [], {}, {}
    for clip in clips:
        path = folder / clip.path  # an absolute path stays as it is
        try:
            found = file_sha256(path)
        except OSError as error:
            problems[clip.uid] = f"its file cannot be read ({error.strerror})"
            continue
        if clip.sha256 and found != clip.sha256:
            problems[clip.uid] = "its file has changed since it was chosen"
        elif not clip.text.strip():
            problems[clip.uid] = "it has no text"
        elif not SHORTEST_S <= clip.duration_s <= LONGEST_S:
            problems[clip.uid] = (
                f"it is {clip.duration_s:.1f} s long ({SHORTEST_S:g} to {LONGEST_S:g} s can be used)"
            )
        elif not can_be_said(clip.text, clip.duration_s):
            problems[clip.uid] = (
                f"its text has {len(clip.text):,} letters for {clip.duration_s:.1f} s: nobody speaks so fast, so it is the "
                "text of something else"
            )
        else:
            good.append(ClipSpec(**{**asdict(clip), "path": str(path)}))
            digests[clip.uid] = found
    if not clips:
        raise TrainerError(
            "data.none", "The job has no clips. Accept some in the Voice training tab."
        )
    try:
        _check_enough([clip.duration_s for clip in good], "that can be used")
    except TrainerError as error:
        if problems:
            raise TrainerError(error.code, f"{error} {_left_out(problems, clips)}") from None
        raise
    return good, digests, problems


def held_back(clips: Sequence[tuple[str, str]], seed: int, share: float, most: int) -> set[str]:
    """Which clips are kept for validation: at least one and at most a third, always the same for the same clips.

    Clips with the same text stay on one side, else the trainer would be examined with what it was taught.

    Args:
        clips: (uid, text) of each, at least two.
        seed: Another one makes another choice.
        share: Of the clips.
        most: Clips at most.
    """
    wanted = max(1, min(round(len(clips) * share), most, len(clips) // 3))

    def key(text: str) -> str:
        return hashlib.sha256(f"{seed} {' '.join(text.casefold().split())}".encode()).hexdigest()

    groups: dict[str, list[str]] = {}
    for uid, text in clips:
        groups.setdefault(key(text), []).append(uid)
    if len(groups) == 1:
        groups = {key(uid): [uid] for uid, _ in clips}
    chosen: set[str] = set()
    for name in sorted(groups):
        if len(chosen) >= wanted:
            break
        if len(chosen) + len(groups[name]) < len(clips):
            chosen.update(groups[name])
    return chosen


def digest(clips: Iterable[tuple[str, str]]) -> str:
    """One SHA-256 for a set of (SHA-256 of the sound, text), whatever their order."""
    lines = sorted(f"{sound} {text}" for sound, text in clips)
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write dataset/manifest.json."""
    write_json(folder / DATASET / MANIFEST, {"version": VERSION, **asdict(manifest)})


def read_manifest(folder: Path) -> Manifest:
    """The manifest of a job that was prepared.

    Raises:
        ProtocolError: There is none, or it cannot be read.
    """
    path = folder / DATASET / MANIFEST
    found = read_json(path)
    try:
        names = {one.name for one in fields(Manifest)}
        values = {name: value for name, value in found.items() if name in names}
        lists = {name: tuple(values[name]) for name in ("train", "held_back")}
        return Manifest(**{**values, **lists})
    except (TypeError, KeyError, AttributeError) as error:
        raise ProtocolError(f"{path.name} of job {folder.name} is damaged: {error}") from error


def file_sha256(path: Path) -> str:
    """Digest of a file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_sound(path: Path, rate_hz: int) -> FloatArray:
    """A clip as it is learned from: at the voice's rate and `SPEECH_DBFS`, with little silence at its ends.

    Raises:
        AudioError: It is no sound, or silent.
    """
    from voice_trainer.align.dtw import speech_span

    samples = decode(path, rate_hz=rate_hz, max_s=LONGEST_S + 5).samples
    span = speech_span(samples, rate_hz)
    if span is None:
        raise AudioError("It is silent.")
    gain_db = SPEECH_DBFS - level_dbfs(samples[slice(*span)])
    begin = max(0, span[0] - int(LEAD_S * rate_hz))
    end = span[1] + int(TAIL_S * rate_hz)
    return np.asarray(samples[begin:end] * np.float32(10 ** (gain_db / 20)), dtype=np.float32)


def frame_seconds(rate_hz: int) -> float:
    """Time from frame to frame of the features."""
    from voice_trainer.quick.features import grid

    return grid(rate_hz).frame_ms / 1000


def analyse(task: Task) -> str:
    """Write one clip's features into the cache; why it cannot be used, empty when it can."""
    from safetensors.numpy import save

    from voice_trainer.quick.features import extract

    try:
        features = extract(read_sound(Path(task.path), task.rate_hz), task.rate_hz)
    except AudioError as error:
        return str(error)
    arrays = {
        "envelope": features.envelope,
        "aperiodicity": features.aperiodicity,
        "log_f0": features.log_f0,
        "voiced": features.voiced,
    }
    _replace(Path(task.cache), save(arrays))
    return ""


def analyse_all(
    tasks: Sequence[Task],
    seconds: dict[str, float],
    threads: int,
    reporter: Reporter,
    steering: Steering,
) -> dict[str, str]:
    """`analyse` every task; why some could not be used, by uid.

    Raises:
        TrainerError: The processes die, for want of memory most likely.
        Stopped: As asked; what was finished is kept.
    """
    problems: dict[str, str] = {}
    total, done = len(tasks), 0

    def finished(task: Task, problem: str) -> None:
        nonlocal done
        done += 1
        if problem:
            problems[task.uid] = problem
        reporter.progress(fraction=done / total, message=f"clip {done} of {total}")

    if threads < 2 or sum(seconds[task.uid] for task in tasks) < PARALLEL_FROM_S:
        for task in tasks:
            steering.obey(reporter)
            finished(task, analyse(task))
        return problems
    context = multiprocessing.get_context("spawn")  # torch and espeak do not survive a fork
    pool = ProcessPoolExecutor(threads, mp_context=context, initializer=_end_with_parent)
    try:
        waiting, running = list(reversed(tasks)), dict[Future[str], Task]()
        while waiting or running:
            steering.obey(reporter)
            most = steering.threads or threads + 1  # one more is handed over while the others work
            while waiting and len(running) < most:
                task = waiting.pop()
                running[pool.submit(analyse, task)] = task
            for future in wait(running, timeout=0.25, return_when=FIRST_COMPLETED).done:
                finished(running.pop(future), future.result())
    except BrokenProcessPool as error:
        raise TrainerError(
            "memory.full",
            "A process that analyses clips was ended from outside, most likely for want of memory. "
            "Close other programs, then resume.",
        ) from error
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
    return problems


def _end_with_parent() -> None:
    """Let a worker end when the trainer was killed; it would wait for work for ever."""
    parent = multiprocessing.parent_process()

    def watch() -> None:
        if parent is not None:
            parent.join()
            os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _task(clip: ClipSpec, spec: JobSpec, sound: str, folder: Path, cache: Path) -> Task:
    language = clip.language or spec.language
    settings = f"{VERSION} {spec.rate_hz} {LEAD_S} {TAIL_S} {SPEECH_DBFS}"
    key = hashlib.sha256(f"{sound} {settings}".encode()).hexdigest()[:40]
    path = cache / f"{key}.safetensors"
    return Task(clip.uid, str(folder / clip.path), clip.text, language, spec.rate_hz, str(path))


def _is_whole(path: Path) -> bool:
    """Whether a cached file can be read; one that a power cut left empty is removed."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as file:
            return bool(file.keys())
    except FileNotFoundError:
        return False
    except (SafetensorError, OSError):
        path.unlink(missing_ok=True)
        return False


def _features(task: Task) -> Features:
    from safetensors.numpy import load_file

    found = load_file(task.cache)
    return Features(
        rate_hz=task.rate_hz,
        envelope=found["envelope"],
        aperiodicity=found["aperiodicity"],
        log_f0=found["log_f0"],
        voiced=found["voiced"].astype(np.bool_),
    )


def _aligned(
    folder: Path,
    tasks: Sequence[Task],
    rounds: int,
    problems: dict[str, str],
    reporter: Reporter,
    steering: Steering,
) -> list[Clip]:
    """Every clip with its symbols and durations, from an earlier run if nothing changed; adds to ``problems``."""
    path = folder / DATASET / ALIGNMENT
    lines = [f"{Path(task.cache).stem} {task.language} {task.text}" for task in tasks]
    key = hashlib.sha256("\n".join([f"{VERSION} {rounds}", *lines]).encode()).hexdigest()
    made = _aligned_before(path, key, tasks, problems)
    if made is not None:
        return made
    found: list[Clip] = []
    unfit: dict[str, str] = {}
    for number, task in enumerate(tasks):
        steering.obey(reporter)
        clip = _align_one(task)
        if isinstance(clip, Clip):
            found.append(clip)
        else:
            unfit[task.uid] = clip
        reporter.progress(fraction=(number + 1) / len(tasks), message=f"clip {number + 1} of {len(tasks)}")  # fmt: skip
    found = _sharpened(found, rounds)
    _keep_alignment(path, key, found, unfit)
    problems.update(unfit)
    return found


def _align_one(task: Task) -> Clip | str:
    """A clip with its first alignment, or why it cannot be used."""
    from voice_trainer.align.dtw import align
    from voice_trainer.text.phonemes import is_spoken

    try:
        samples = read_sound(Path(task.path), task.rate_hz)
        found = align(task.text, samples, task.rate_hz, task.language)
    except (AudioError, ValueError) as error:
        return str(error)
    features = _features(task)
    frame_s = frame_seconds(task.rate_hz)
    sounds = sum(is_spoken(symbol) for symbol in found.phonemes.symbols)
    if not sounds:
        return "its text has nothing that can be spoken"
    if sounds + 2 > len(features):
        return f"it has {sounds} sounds in {len(features) * frame_s:.1f} s: its text is too long"
    if found.cost >= WRONG_ABOVE:
        return f"its text does not fit its sound ({found.cost:.2f}, right ones are near 0.35)"
    return Clip(
        task.uid,
        task.text,
        found.phonemes.symbols,
        np.array(found.phonemes.ids, dtype=np.int64),
        found.durations(len(features), frame_s),
        features,
        found.cost,
    )


def _sharpened(clips: list[Clip], rounds: int) -> list[Clip]:
    from voice_trainer.align.viterbi import Aligned, refine

    found = refine([Aligned(clip.symbols, clip.durations, clip.features) for clip in clips], rounds)
    logger.info("Log-likelihood of a frame by round of alignment: %s", found.likelihoods)
    return [
        replace(clip, durations=durations)
        for clip, durations in zip(clips, found.durations, strict=True)
    ]


def _keep_alignment(path: Path, key: str, clips: Sequence[Clip], unfit: dict[str, str]) -> None:
    from safetensors.numpy import save

    arrays: dict[str, np.ndarray[Any, Any]] = {"costs": np.array([one.cost for one in clips])}
    for number, clip in enumerate(clips):
        arrays[f"ids.{number}"] = clip.ids
        arrays[f"durations.{number}"] = clip.durations
    about = {
        "key": key,
        "unfit": json.dumps(unfit),
        "clips": json.dumps([[clip.uid, "".join(clip.symbols)] for clip in clips]),
    }
    _replace(path, save(arrays, metadata=about))


def _aligned_before(
    path: Path, key: str, tasks: Sequence[Task], problems: dict[str, str]
) -> list[Clip] | None:
    """What `_keep_alignment` kept, None when that was of other clips or is damaged."""
    from safetensors import SafetensorError, safe_open

    by_uid = {task.uid: task for task in tasks}
    try:
        with safe_open(path, framework="numpy") as file:
            about = file.metadata() or {}
            if about.get("key") != key:
                return None
            costs = file.get_tensor("costs")
            clips = []
            for number, (uid, symbols) in enumerate(json.loads(about["clips"])):
                task = by_uid[uid]
                ids, durations = (
                    file.get_tensor(f"{name}.{number}") for name in ("ids", "durations")
                )
                features = _features(task)
                clips.append(
                    Clip(
                        uid,
                        task.text,
                        tuple(symbols),
                        ids,
                        durations,
                        features,
                        float(costs[number]),
                    )
                )
            problems.update(json.loads(about["unfit"]))
            return clips
    except (FileNotFoundError, SafetensorError, OSError, ValueError, KeyError, IndexError) as error:
        if path.exists():
            logger.warning("The alignment of before is made anew: %s", error)
        return None


def _replace(path: Path, content: bytes) -> None:
    """Write a file of the cache. A power cut may leave it empty; it is checked when it is read."""
    half = path.with_name(f".{path.name}.{os.getpid()}.half")
    half.write_bytes(content)
    half.replace(path)


def _check_enough(seconds: Sequence[float], which: str) -> None:
    if len(seconds) < LEAST_CLIPS or sum(seconds) < LEAST_S:
        raise TrainerError(
            "data.too_little",
            f"There are {sum(seconds):.0f} s in {len(seconds)} clips {which}; at least {LEAST_S:g} s in "
            f"{LEAST_CLIPS} clips are needed, and 3 to 10 minutes make a good voice.",
        )


def _left_out(problems: dict[str, str], clips: Sequence[ClipSpec]) -> str:
    examples = "; ".join(f"{uid[:40]}: {problem}" for uid, problem in [*problems.items()][:3])
    more = f" and {len(problems) - 3} more" if len(problems) > 3 else ""
    return f"{len(problems)} of {len(clips)} clips are left out ({examples}{more})."
