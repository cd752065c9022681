"""Scores of a synthetic voice against the natural one: words understood, sentences told apart, spectral distance, speaker.

Used by `benchmarks.voice_quality`. The recogniser is pocketsphinx (English, weak, which is what makes it a strict
listener). The speaker's likeness needs Resemblyzer, which is no part of the project:

    pip install --no-deps --target FOLDER resemblyzer webrtcvad-wheels      # then --eval-libs FOLDER
"""

from __future__ import annotations

import re
import sys
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from backend.audio.levels import FloatArray, to_pcm16
from backend.audio.resample import resample
from voice_trainer.quick.features import extract

RATE_HZ = 16_000
PEAK = 0.8
CEPSTRA = slice(1, 25)
"""Of WORLD's 60 envelope coefficients: without the level, and without the ripple that no ear follows."""
TO_DB = 10 / np.log(10) * np.sqrt(2) / 2
"""The usual mel-cepstral distance on coefficients of the log *power* spectrum (twice the usual log magnitude)."""


@dataclass(frozen=True, slots=True)
class Sound:
    """Mono samples in [-1, 1], shape (n_samples,), and their rate."""

    samples: FloatArray
    rate_hz: int

    def at(self, rate_hz: int) -> FloatArray:
        """At another rate, its peak at `PEAK`."""
        moved = resample(np.asarray(self.samples, dtype=np.float32), self.rate_hz, rate_hz)
        return np.asarray(moved * np.float32(PEAK / max(float(np.abs(moved).max()), 1e-6)))


@dataclass(frozen=True, slots=True)
class Scores:
    """Of one voice over all test sentences.

    Attributes:
        wer: Wrong words per word of the texts, as pocketsphinx hears them.
        identified: Sentences whose transcript is nearer (in letters) to their own text than to any other.
        mcd_db: Mel-cepstral distance to the natural speech along the best time alignment; None without a natural one.
        similarity: Cosine of Resemblyzer's embeddings, mean of these sentences against held-out natural clips; None
            where it is not installed.
    """

    wer: float
    identified: int
    mcd_db: float | None
    similarity: float | None


def score(
    spoken: Sequence[Sound],
    texts: Sequence[str],
    natural: Sequence[Sound] | None,
    held_out: Sequence[Sound],
) -> Scores:
    """Compare a voice's sentences with their texts and with the natural voice.

    Args:
        spoken: One sound per text.
        texts: What was to be said.
        natural: The real voice saying the same, for the distance.
        held_out: The real voice saying other things it was not trained on, for the speaker.
    """
    heard = [words(transcribe(sound)) for sound in spoken]
    wanted = [words(text) for text in texts]
    errors = sum(edits(one, other) for one, other in zip(heard, wanted, strict=True))
    lines = [" ".join(one) for one in wanted]
    identified = 0
    for number, one in enumerate(heard):
        distances = [edits(" ".join(one), line) / len(line) for line in lines]
        identified += int(np.argmin(distances)) == number
    distance = None
    if natural is not None:
        pairs = zip(spoken, natural, strict=True)
        distance = float(np.mean([mel_cepstral_distance(one, other) for one, other in pairs]))
    return Scores(
        wer=errors / sum(map(len, wanted)),
        identified=identified,
        mcd_db=distance,
        similarity=likeness(spoken, held_out),
    )


def words(text: str) -> list[str]:
    """Lower-case words without marks."""
    return re.sub(r"[^a-z' ]", "", text.lower().replace("-", " ")).split()


def edits(one: Sequence[object], other: Sequence[object]) -> int:
    """Insertions, deletions and replacements from one to the other (Levenshtein)."""
    row = list(range(len(other) + 1))
    for number, left in enumerate(one, 1):
        previous, row = row, [number]
        for place, right in enumerate(other):
            row.append(
                min(previous[place + 1] + 1, row[place] + 1, previous[place] + (left != right))
            )
    return row[-1]


@cache
def _decoder() -> Any:
    from pocketsphinx import Decoder

    return Decoder(samprate=RATE_HZ, loglevel="FATAL")


def transcribe(sound: Sound) -> str:
    """What pocketsphinx hears, 0.1 s of silence put around it."""
    decoder = _decoder()
    padded = np.pad(sound.at(RATE_HZ), (RATE_HZ // 10, RATE_HZ // 10))
    decoder.start_utt()
    decoder.process_raw(to_pcm16(padded), full_utt=True)
    decoder.end_utt()
    found = decoder.hyp()
    return found.hypstr if found else ""


def mel_cepstral_distance(one: Sound, other: Sound) -> float:
    """In dB, along the best time alignment.

    Source: Kubichek (1993), "Mel-cepstral distance measure for objective speech quality assessment".
    """
    first, second = (
        extract(sound.at(RATE_HZ), RATE_HZ).envelope[:, CEPSTRA] for sound in (one, other)
    )
    return float(TO_DB) * _mean_along_best_path(first.astype(np.float64), second.astype(np.float64))


def _mean_along_best_path(one: npt.NDArray[np.float64], other: npt.NDArray[np.float64]) -> float:
    import librosa

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        _, path = librosa.sequence.dtw(one.T, other.T)
    return float(np.mean(np.linalg.norm(one[path[:, 0]] - other[path[:, 1]], axis=1)))


@cache
def _encoder() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from resemblyzer import VoiceEncoder

        return VoiceEncoder("cpu", verbose=False)


def use_libraries(folder: Path | None) -> bool:
    """Put a folder with Resemblyzer in it within reach; whether it is there."""
    if folder is not None:
        sys.path.append(str(folder))
    try:
        import resemblyzer  # noqa: F401 - only whether it is there
    except ImportError:
        return False
    return True


def likeness(spoken: Sequence[Sound], held_out: Sequence[Sound]) -> float | None:
    """Cosine of the mean embeddings; Wan et al. (2018), "Generalized end-to-end loss for speaker verification"."""
    try:
        from resemblyzer import preprocess_wav
    except ImportError:
        return None

    def mean(sounds: Sequence[Sound]) -> npt.NDArray[np.float64]:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = [_encoder().embed_utterance(preprocess_wav(one.at(RATE_HZ))) for one in sounds]
        vector = np.mean(found, axis=0)
        return np.asarray(vector / np.linalg.norm(vector), dtype=np.float64)

    return float(mean(spoken) @ mean(held_out))
