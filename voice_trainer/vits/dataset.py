"""The clips of a job as the full trainer needs them: one file of samples, and a list of phoneme ids and places in it."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from backend.audio.errors import AudioError
from voice_trainer.dataset import Manifest, held_back, read_sound, write_manifest
from voice_trainer.dataset import digest as data_digest
from voice_trainer.loop import TrainerError
from voice_trainer.protocol import DATASET, ClipSpec, JobSpec, ProtocolError, read_json, write_json
from voice_trainer.text.phonemes import BEGIN, END, PAD, Phonemes, id_map, phonemize
from voice_trainer.vits.batches import Clip, Sounds, append_samples, why_left_out
from voice_trainer.vits.network import Quality

SAMPLES, LIST = "vits.pcm", "vits.json"
VERSION = 3
"""Of these files: raise it when they are made differently."""

HELD_BACK_SHARE, MOST_HELD_BACK = 0.05, 16

Tick = Callable[[float, str], None]
"""Told how far the work is (0-1) and what it does; may raise to end it."""


@dataclass(frozen=True, slots=True)
class Dataset:
    """What is trained on; neither side is empty.

    Attributes:
        learn: Clips to learn from, in the order of the job.
        check: Clips that are held back to check with; of a single clip, that one.
        left_out: Id of each other clip and why it is left out.
    """

    learn: tuple[Clip, ...]
    check: tuple[Clip, ...]
    left_out: tuple[tuple[str, str], ...]
    path: Path

    def sounds(self) -> Sounds:
        """The samples, mapped."""
        return Sounds(self.path)


def padded_ids(phonemes: Phonemes) -> tuple[int, ...]:
    """Ids as PiperVoice gives them to a voice: begin, a pad behind begin and behind each phoneme, end."""
    known = id_map()
    (pad,) = known[PAD]
    begin, *inner, end = phonemes.ids
    assert [begin, end] == [*known[BEGIN], *known[END]]
    padded = [begin, pad]
    for one in inner:
        padded += [one, pad]
    return (*padded, end)


def phoneme_ids(text: str, language: str) -> tuple[int, ...]:
    """`padded_ids` of a text.

    Raises:
        ValueError: There is no such language.
    """
    return padded_ids(phonemize(text, language))


def prepare(
    folder: Path,
    spec: JobSpec,
    wanted: Sequence[ClipSpec],
    digests: dict[str, str],
    quality: Quality,
    tick: Tick,
) -> Dataset:
    """Make the files, or take those of an earlier run when nothing changed, and write the manifest.

    Args:
        folder: The job folder.
        spec: Language and seed.
        wanted: Clips with absolute paths, from `voice_trainer.dataset.usable`.
        digests: SHA-256 of each one's file by uid, from there too.
        quality: Rate and shortest length.
        tick: Told of each clip.

    Raises:
        TrainerError: data.none: no clip fits.
    """
    target = folder / DATASET
    target.mkdir(parents=True, exist_ok=True)
    digest = _digest(wanted, digests, spec.language, quality)
    clips, left_out = _made_before(target, digest) or _make(
        target, digest, spec, wanted, quality, tick
    )
    if not clips:
        reason = f" The first one: {left_out[0][1]}." if left_out else ""
        raise TrainerError(
            "data.none",
            f"None of the {len(wanted)} clips can be trained on.{reason} Record or import some in the Voice tab.",
        )
    data = _split(clips, left_out, spec.seed, target / SAMPLES)
    samples = sum(clip.samples for clip in clips)
    write_manifest(
        folder,
        Manifest(
            trainer="vits",
            language=spec.language,
            rate_hz=quality.rate_hz,
            data_sha256=data_digest((digests[clip.uid], clip.text) for clip in clips),
            clips=len(clips),
            minutes=round(samples / quality.rate_hz / 60, 3),
            train=tuple(clip.uid for clip in data.learn),
            held_back=tuple(clip.uid for clip in data.check),
            left_out=dict(left_out),
        ),
    )
    return data


def _split(
    clips: Sequence[Clip], left_out: Sequence[tuple[str, str]], seed: int, path: Path
) -> Dataset:
    apart = {clip.uid for clip in clips}
    learn = list(clips)
    if len(clips) > 1:
        texts = [(clip.uid, clip.text) for clip in clips]
        apart = held_back(texts, seed, HELD_BACK_SHARE, MOST_HELD_BACK)
        learn = [clip for clip in clips if clip.uid not in apart]
    check = tuple(clip for clip in clips if clip.uid in apart)
    return Dataset(tuple(learn), check, tuple(left_out), path)


def _make(
    target: Path,
    digest: str,
    spec: JobSpec,
    wanted: Sequence[ClipSpec],
    quality: Quality,
    tick: Tick,
) -> tuple[list[Clip], list[tuple[str, str]]]:
    clips: list[Clip] = []
    left_out: list[tuple[str, str]] = []
    at = 0
    half = target / f".{SAMPLES}.half"
    with half.open("wb") as file:
        for number, one in enumerate(wanted):
            tick(number / len(wanted), f"clip {number + 1:,} of {len(wanted):,}")
            try:
                ids = phoneme_ids(one.text, one.language or spec.language)
                sound = read_sound(Path(one.path), quality.rate_hz)
            except (AudioError, ValueError) as error:
                left_out.append((one.uid, str(error).rstrip(".")))
                continue
            why = why_left_out(ids, sound.size, quality.rate_hz, quality.segment)
            if why:
                left_out.append((one.uid, why))
                continue
            count = append_samples(file, sound, quality.segment)
            clips.append(Clip(one.uid, one.text, ids, at, count))
            at += count
        file.flush()
        os.fsync(file.fileno())
    half.replace(target / SAMPLES)
    stored = {"digest": digest, "clips": [asdict(clip) for clip in clips], "left_out": left_out}
    write_json(target / LIST, stored)
    return clips, left_out


def _made_before(target: Path, digest: str) -> tuple[list[Clip], list[tuple[str, str]]] | None:
    try:
        stored = read_json(target / LIST)
        if stored["digest"] != digest:
            return None
        clips = [Clip(**{**one, "ids": tuple(one["ids"])}) for one in stored["clips"]]
        size = (target / SAMPLES).stat().st_size
    except (ProtocolError, OSError, KeyError, TypeError):
        return None
    if size != 2 * sum(clip.samples for clip in clips):
        return None
    return clips, [(uid, why) for uid, why in stored["left_out"]]


def _digest(
    clips: Sequence[ClipSpec], digests: dict[str, str], language: str, quality: Quality
) -> str:
    """Of everything that the files depend on."""
    content = [[one.uid, digests[one.uid], one.text, one.language] for one in clips]
    text = json.dumps([VERSION, language, quality.rate_hz, quality.segment, content])
    return hashlib.sha256(text.encode()).hexdigest()
