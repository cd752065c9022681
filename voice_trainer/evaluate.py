"""How near a voice is to its speaker: distances between what it says and what the speaker said, of the same texts.

Public names: `compare(made, real, rate_hz) -> Scores`, `mcd_db(a, b)`, `picture(samples, rate_hz)`. No recogniser is
needed; the share of clear words comes from outside the trainer.

Source of the cepstral distance: Kubichek (1993), "Mel-cepstral distance measure for objective speech quality assessment";
here over WORLD's 24 lowest coded coefficients without the level, along the cheapest warping path.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np

from backend.audio.levels import FloatArray
from backend.audio.resample import resample

COEFFICIENTS = slice(1, 25)
TO_DB = 10 / math.log(10) * math.sqrt(2) / 2
"""From differences of log power coefficients to decibels of the cepstral distance (a half, since it is power)."""

PICTURE_RATE_HZ = 16_000  # 0-8 kHz: where speech is
PICTURE_FFT, PICTURE_HOP = 512, 160
PICTURE_RANGE_DB = 70.0
PICTURE_HEIGHT = 128


@dataclass(frozen=True, slots=True)
class Scores:
    """Of several sentences; None = could not be measured.

    Attributes:
        mcd_db: Mel-cepstral distance, mean over sentences; lower is better, 0 is the recording itself.
        similarity: Of the speakers, 0-1 (`voice_trainer.speaker`).
        pitch_semitones: Median pitch of what was made minus that of the recordings.
        duration_ratio: Length of what was made by that of the recordings.
    """

    mcd_db: float | None = None
    similarity: float | None = None
    pitch_semitones: float | None = None
    duration_ratio: float | None = None

    def as_dict(self) -> dict[str, float | None]:
        """For a line or a file."""
        return asdict(self)


def compare(made: Sequence[FloatArray], real: Sequence[FloatArray], rate_hz: int) -> Scores:
    """Score sentences that a voice made against recordings of the same sentences.

    Args:
        made: Mono samples, one array per sentence; none may be empty.
        real: In the same order.
        rate_hz: Of all of them; 16,000 or 22,050.
    """
    from voice_trainer.quick.features import extract

    distances, own, wanted = [], [], []
    for one, other in zip(made, real, strict=True):
        spoken, recorded = extract(_level(one), rate_hz), extract(_level(other), rate_hz)
        distances.append(mcd_db(spoken.envelope, recorded.envelope))
        own.append(spoken.log_f0[spoken.voiced])
        wanted.append(recorded.log_f0[recorded.voiced])
    own_f0, wanted_f0 = np.concatenate(own), np.concatenate(wanted)
    pitch = None
    if own_f0.size and wanted_f0.size:
        pitch = 12 / math.log(2) * float(np.median(own_f0) - np.median(wanted_f0))
    return Scores(
        mcd_db=float(np.mean(distances)),
        similarity=similarity_of(made, real, rate_hz),
        pitch_semitones=pitch,
        duration_ratio=sum(one.size for one in made) / sum(one.size for one in real),
    )


def similarity_of(
    made: Sequence[FloatArray], real: Sequence[FloatArray], rate_hz: int
) -> float | None:
    """How alike two speakers are, 0-1; None when one says too little to tell."""
    from voice_trainer.speaker import TooLittleSpeechError, embed, mean_of, similarity

    described = []
    for clips in (made, real):
        found = []
        for clip in clips:
            try:
                found.append(embed(clip, rate_hz))
            except TooLittleSpeechError:
                continue
        if not found:
            return None
        described.append(mean_of(found))
    return similarity(*described)


def mcd_db(one: FloatArray, other: FloatArray) -> float:
    """Mel-cepstral distance of two sentences, given as `Features.envelope`, along the cheapest warping path."""
    from voice_trainer.align.dtw import cheapest_path

    a, b = one[:, COEFFICIENTS].astype(np.float64), other[:, COEFFICIENTS].astype(np.float64)
    squares = (a * a).sum(axis=1)[:, None] + (b * b).sum(axis=1) - 2 * a @ b.T
    cost, _, _ = cheapest_path(np.sqrt(np.maximum(squares, 0.0)).astype(np.float32))
    return float(cost) * TO_DB


def picture(samples: FloatArray, rate_hz: int) -> bytes:
    """A spectrogram as an 8-bit grey PNG: 0-8 kHz, low frequencies at the bottom, a column per 10 ms, white is loud."""
    import io

    from PIL import Image

    sound = resample(samples, rate_hz, PICTURE_RATE_HZ)
    padded = np.pad(sound, PICTURE_FFT // 2)
    windows = np.lib.stride_tricks.sliding_window_view(padded, PICTURE_FFT)[::PICTURE_HOP]
    hann = np.hanning(PICTURE_FFT + 1)[:-1].astype(np.float32)
    power = np.abs(np.fft.rfft(windows * hann, axis=1)) ** 2  # (frames, bins)
    # Two bins make a row: 256 bins, of which nobody sees more than 128 in the window.
    power = power[:, 1:].reshape(len(power), PICTURE_HEIGHT, -1).mean(axis=2)
    decibels = 10 * np.log10(power + 1e-12)
    share = np.clip((decibels - decibels.max()) / PICTURE_RANGE_DB + 1, 0, 1)
    grey = np.rint(share.T[::-1] * 255).astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(grey), mode="L").save(file, "PNG")
    return file.getvalue()


def _level(samples: FloatArray) -> FloatArray:
    """Peak at 1: the level is no part of the distance, but WORLD's floor is."""
    peak = float(np.max(np.abs(samples)))
    return np.asarray(samples / np.float32(max(peak, 1e-6)), dtype=np.float32)
