"""Learn which directions tell voices apart, from the embedded engine's voices only: voice_trainer/speaker.safetensors.

    python scripts/make_speaker_space.py [--speakers 400]

A voice is a variant of the engine with a length of the vocal tract (the sound resampled) and a pitch; it says prompts in
several languages, at changing speed and pitch, through changing rooms of the spectrum and noise. What changes inside a
voice is what the space learns to overlook (linear discriminant analysis). The distances for the similarities 0.9 and 0.6
come from voices that had no part in it. Seeded; about a minute.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from backend.audio import espeak
from backend.audio.levels import FloatArray, from_pcm16
from backend.audio.resample import resample
from voice_trainer import speaker
from voice_trainer.protocol import read_prompts
from voice_trainer.speaker import CEPSTRA, Frames, Space, describe, frames

KINDS = 64
SHRINKAGE = 1.5
"""Of the variation within a voice towards equal in all directions, in units of its mean. Voices of another make (flite
awb, warped into eight people) were confused in 11 % of the pairs of clips with 0.1, in 7 % with 1.5."""
DIMENSIONS = 32
ROUNDS = 12  # of expectation and maximisation
CLIPS = 10
LANGUAGES = ("en-us", "de", "es", "fr", "it", "pt-br", "pl", "nl", "ru")
HELD_BACK = 0.2  # share of the variants that only set the distances
NOT_PEOPLE = (
    "whisper",
    "Demonic",
    "robosoft",
    "UniRobot",
    "anikaRobot",
    "kaukovalta",
    "croak",
    "fast",
    "Mr serious",
)
"""Variants that whisper, echo or buzz (a name holds one of these): no use as people."""


@dataclass(frozen=True, slots=True)
class Voice:
    """A made-up person.

    Attributes:
        tract: Length of the vocal tract, 1 = the engine's own; below 1 formants lie higher.
        pitch: The engine's, 0-100.
        language: What the person mostly speaks.
        tilt_db: Per octave; breathy voices fall off, pressed ones do not.
        bumps: The person's own curve over the spectrum: (dB, waves per octave, phase in radians).
    """

    variant: str
    tract: float
    pitch: float
    language: str
    tilt_db: float
    bumps: tuple[tuple[float, float, float], ...]


def main() -> None:
    """Make voices, learn, write the file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--speakers", type=int, default=400)
    count = parser.parse_args().speakers
    rng = np.random.default_rng(20)
    learned, held = people(count, rng)
    print(f"{len(learned)} voices to learn from, {len(held)} to set the distances")
    clips = {voice: recordings(voice, rng) for voice in [*learned, *held]}
    space = learn([clips[voice] for voice in learned], rng)
    write(calibrate([clips[voice] for voice in held], space))


def people(count: int, rng: np.random.Generator) -> tuple[list[Voice], list[Voice]]:
    """Voices to learn from and voices to set the distances with; they share no variant."""
    names = [
        voice.name
        for voice in espeak.voices()
        if voice.is_variant
        and not any(part in voice.name for part in NOT_PEOPLE)
        and " " not in voice.name
    ]
    names = list(rng.permutation(names))
    split = int(len(names) * HELD_BACK)

    def some(chosen: list[str], wanted: int) -> list[Voice]:
        return [
            Voice(
                str(chosen[one % len(chosen)]),
                float(rng.uniform(0.84, 1.18)),
                float(rng.uniform(15, 85)),
                str(rng.choice(LANGUAGES)),
                float(rng.normal(0, 1.2)),
                tuple(
                    (
                        float(rng.normal(0, 1.5)),
                        float(rng.uniform(0.3, 2)),
                        float(rng.uniform(0, 6.3)),
                    )
                    for _ in range(3)
                ),
            )
            for one in range(wanted)
        ]

    return some(names[split:], count), some(names[:split], count // 4)


def recordings(voice: Voice, rng: np.random.Generator) -> list[Frames]:
    """Different sentences by one voice, each a little different in pace, pitch, tone and noise."""
    found: list[Frames] = []
    while len(found) < CLIPS:
        language = voice.language if rng.random() < 0.85 else str(rng.choice(LANGUAGES))
        text = str(rng.choice(read_prompts(language)))
        said = espeak.synthesize(
            text,
            f"{language}+{voice.variant}",
            words_per_minute=float(rng.uniform(140, 200)),
            pitch=float(np.clip(voice.pitch + rng.normal(0, 5), 0, 100)),
        )
        samples = from_pcm16(said.pcm)
        samples = resample(samples, said.rate_hz, round(said.rate_hz * voice.tract))
        found.append(frames(filtered(samples, said.rate_hz, voice, rng), said.rate_hz))
    return found


def filtered(
    samples: FloatArray, rate_hz: int, voice: Voice, rng: np.random.Generator
) -> FloatArray:
    """The person's own curve, and another distance to the microphone: level, tilt of the spectrum, noise."""
    spectrum = np.fft.rfft(samples)
    hz = np.fft.rfftfreq(samples.size, 1 / rate_hz)
    octaves = np.log2(np.maximum(hz, 60) / 1000)
    gain_db = (voice.tilt_db + rng.normal(0, 0.4)) * octaves
    room = (float(rng.normal(0, 0.5)), float(rng.uniform(0.3, 2)), float(rng.uniform(0, 6.3)))
    for height_db, waves, phase in (*voice.bumps, room):
        gain_db = gain_db + height_db * np.sin(2 * np.pi * waves * octaves / 2 + phase)
    coloured = np.fft.irfft(spectrum * 10 ** (gain_db / 20), samples.size)
    noise = rng.normal(0, 1, coloured.size)
    if rng.random() < 0.5:
        noise = np.convolve(noise, [0.25, 0.5, 0.25], "same")
    snr_db = rng.uniform(22, 60)
    noisy = coloured + noise / noise.std() * coloured.std() * 10 ** (-snr_db / 20)
    return np.asarray(noisy * rng.uniform(0.1, 1.0), dtype=np.float32)


def learn(clips: list[list[Frames]], rng: np.random.Generator) -> Space:
    """The kinds of sound, then the directions."""
    every = np.concatenate([one.cepstra for person in clips for one in person])
    every = every[rng.choice(len(every), min(len(every), 60_000), replace=False)]
    means, variances, weights = mixture(every.astype(np.float64), rng)
    space = Space(
        means.astype(np.float32), variances.astype(np.float32), weights.astype(np.float32),
        np.zeros(1, np.float32), np.ones(1, np.float32), np.zeros((1, 1), np.float32), 1.0, 2.0,
    )  # fmt: skip
    raw = [np.stack([describe(one, space) for one in person]) for person in clips]
    everyone = np.concatenate(raw)
    centre, scale = everyone.mean(axis=0), everyone.std(axis=0) + 1e-4
    raw = [(one - centre) / scale for one in raw]
    projection = discriminants(raw)
    return Space(
        space.means, space.variances, space.weights,
        centre.astype(np.float32), scale.astype(np.float32), projection.astype(np.float32), 1.0, 2.0,
    )  # fmt: skip


def mixture(
    x: npt.NDArray[np.float64], rng: np.random.Generator
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """A Gaussian mixture with diagonal covariances by expectation and maximisation."""
    means = x[rng.choice(len(x), KINDS, replace=False)]
    variances = np.tile(x.var(axis=0), (KINDS, 1))
    weights = np.full(KINDS, 1 / KINDS)
    floor = 0.05 * x.var(axis=0)
    for _ in range(ROUNDS):
        odds = -0.5 * (
            np.square(x) @ (1 / variances).T
            - 2 * x @ (means / variances).T
            + (np.square(means) / variances).sum(axis=1)
            + np.log(variances).sum(axis=1)
        ) + np.log(weights)
        odds -= odds.max(axis=1, keepdims=True)
        shares = np.exp(odds)
        shares /= shares.sum(axis=1, keepdims=True)
        counts = shares.sum(axis=0) + 1e-6
        means = shares.T @ x / counts[:, None]
        variances = np.maximum(shares.T @ np.square(x) / counts[:, None] - np.square(means), floor)
        weights = counts / counts.sum()
    return means, variances, weights


def discriminants(raw: list[FloatArray]) -> npt.NDArray[np.float64]:
    """Directions in which voices differ most for how much one voice varies; each scaled to vary by 1 within a voice."""
    own = np.concatenate([one - one.mean(axis=0) for one in raw])
    within = own.T @ own / (len(own) - len(raw))
    within = within + SHRINKAGE * np.trace(within) / len(within) * np.eye(len(within))
    middles = np.stack([one.mean(axis=0) for one in raw])
    middles = middles - middles.mean(axis=0)
    values, vectors = np.linalg.eigh(within)
    white = vectors / np.sqrt(values)
    between = (middles @ white).T @ (middles @ white) / len(middles)
    strength, directions = np.linalg.eigh(between)
    best = np.argsort(strength)[::-1][:DIMENSIONS]
    return np.asarray(white @ directions[:, best])


def calibrate(clips: list[list[Frames]], space: Space) -> Space:
    """The space in units of the usual distance within a voice, with the distances for two similarities.

    0.9: three quarters of the pairs of one voice lie nearer. 0.6: 95 % of the pairs of two voices lie farther apart.
    """
    vectors = [
        [
            np.asarray(
                ((describe(one, space) - space.centre) / space.scale) @ space.projection, np.float32
            )
            for one in person
        ]
        for person in clips
    ]
    same = [
        speaker.distance(person[i], person[j])
        for person in vectors
        for i in range(len(person))
        for j in range(i)
    ]
    other = [
        speaker.distance(vectors[a][i], vectors[b][j])
        for a in range(len(vectors))
        for b in range(a)
        for i in (0, 3, 6)
        for j in (1, 4)
    ]
    unit = float(np.median(same))
    near, far = (float(one) / unit for one in (np.percentile(same, 75), np.percentile(other, 5)))
    print(f"one voice: 95 % below {np.percentile(same, 95) / unit:.2f}; 0.9 at {near:.2f}")
    print(
        f"two voices: median {np.median(other) / unit:.2f}, 95 % above {np.percentile(other, 5) / unit:.2f}; 0.6 at {far:.2f}"
    )
    return replace(space, projection=space.projection / np.float32(unit), near=near, far=far)


def write(space: Space) -> None:
    """Save; the projection as half floats."""
    from safetensors.numpy import save_file

    parts: dict[str, npt.NDArray[np.floating]] = {
        "means": space.means.astype(np.float32), "variances": space.variances.astype(np.float32),
        "weights": space.weights.astype(np.float32), "centre": space.centre.astype(np.float32),
        "scale": space.scale.astype(np.float32), "projection": space.projection.astype(np.float16),
        "near_far": np.array([space.near, space.far], dtype=np.float32),
    }  # fmt: skip
    save_file(parts, speaker.SPACE)
    print(f"{speaker.SPACE.name}: {speaker.SPACE.stat().st_size / 1024:.0f} KB, {CEPSTRA} cepstra")


if __name__ == "__main__":
    main()
