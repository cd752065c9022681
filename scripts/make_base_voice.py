"""Make the base of the quick trainer: a network that speaks many languages in the embedded engine's voices.

Everything it learns from is rendered here by espeak-ng from the sentences in scripts/base_texts; no recording of a person
and no foreign weights go in. The clips' phoneme times are the engine's own, so nothing needs to be aligned.

    python scripts/make_base_voice.py corpus WORK_FOLDER [--processes 2]
    python scripts/make_base_voice.py train WORK_FOLDER [--steps 6000] [--threads 2]
    python scripts/make_base_voice.py ship WORK_FOLDER

`train` continues where it stopped (a checkpoint every 200 steps); `ship` writes voice_trainer/quick/base.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import random
import sys
import time
import unicodedata
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

PROJECT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(PROJECT))

from voice_trainer.quick.features import (
    SpeakerStatistics,
    extract,
)

TEXTS = PROJECT / "scripts" / "base_texts"
SEED = 20_250_102
RATES_HZ = (22_050, 16_000)
FRAME_MS = 10.0
"""Both rates are analysed on one grid, so that one trunk learns both; 22.05 kHz voices later run on 9.977 ms."""

SILENT = frozenset(" .,!?;:")
WEIGHTLESS = frozenset("ˈˌʲ")
"""Marks that colour their neighbour and last no time themselves."""


@dataclass(frozen=True, slots=True)
class Speaker:
    """One row of the speaker table.

    Attributes:
        language: espeak voice, also that of the phonemes.
        variant: espeak variant, empty for the plain voice.
        pitch: 0-100 as espeak takes it.
        words_per_minute: Speed.
        clips: How many to render.
    """

    language: str
    variant: str
    pitch: int
    words_per_minute: int
    clips: int

    @property
    def voice(self) -> str:
        """As `backend.audio.espeak.synthesize` takes it."""
        return f"{self.language}+{self.variant}" if self.variant else self.language


ENGLISH = [
    ("en-us", "", 50, 165), ("en-us", "f2", 55, 160), ("en-us", "f5", 45, 150), ("en-us", "m3", 35, 170),
    ("en-us", "m7", 45, 155), ("en-us", "Annie", 50, 160), ("en-us", "Andy", 40, 165), ("en-us", "f3", 65, 175),
    ("en-gb-x-rp", "", 45, 160), ("en-gb-x-rp", "f4", 50, 165), ("en-gb-x-rp", "m2", 50, 155),
]  # fmt: skip
OTHERS = ("de", "es", "fr", "it", "pt-br", "nl", "pl", "ru", "tr", "sv", "ja")
SPEAKERS = [Speaker(*row, clips=75) for row in ENGLISH] + [
    Speaker(language, variant, pitch, speed, clips=45)
    for language in OTHERS
    for variant, pitch, speed in (("f2", 55, 160), ("m3", 40, 165))
]


def sentences(language: str, count: int, rng: random.Random) -> list[str]:
    """Sentences of a language: each of its own once, then new ones of its words in any order."""
    file = TEXTS / f"{language.split('-')[0] if language.startswith('en') else language}.txt"
    own = file.read_text(encoding="utf-8").split("\n")
    own = [line for line in own if line]
    words = [word.strip(".,!?¿¡") for line in own for word in line.split()]
    made = own.copy()
    rng.shuffle(made)
    while len(made) < count:
        chosen = rng.sample(words, rng.randint(5, 11))
        if rng.random() < 0.4:
            chosen[rng.randrange(2, len(chosen) - 1)] += ","
        made.append(" ".join(chosen).capitalize() + rng.choice("...?!"))
    return made[:count]


def place(
    tokens: list[str], phonemes: tuple[tuple[str, float, float], ...], frames: int
) -> list[int] | None:
    """Frames of each token of a clip whose phoneme times are known, `^` and `$` around them included.

    Args:
        tokens: As Piper's phonemizer gives them.
        phonemes: (IPA, start in s, end in s) as the engine gives them.
        frames: Of the whole clip.

    Returns:
        Whole frames that add up to `frames`, or None if the two sequences do not belong together.
    """
    starts: list[tuple[int, float, float]] = []  # token, begin and end in s
    at = 0
    for ipa, begin_s, end_s in phonemes:
        marks = [mark for mark in unicodedata.normalize("NFD", ipa) if mark not in SILENT]
        found = []
        for mark in marks:
            ahead = [k for k in range(at, min(at + 6, len(tokens))) if tokens[k] == mark]
            if ahead:
                found.append(ahead[0])
                at = ahead[0] + 1
        spoken = [
            k for k in found if tokens[k] not in WEIGHTLESS and not unicodedata.combining(tokens[k])
        ]
        for number, k in enumerate(spoken):
            step_s = (end_s - begin_s) / len(spoken)
            starts.append((k, begin_s + number * step_s, begin_s + (number + 1) * step_s))
    if len(starts) < 0.8 * sum(
        t not in SILENT and t not in WEIGHTLESS and not unicodedata.combining(t) for t in tokens
    ):
        return None
    edges = np.zeros(len(tokens) + 3)  # begin of each token with ^ and $, in frames
    edges[-1] = frames
    cursor, last = 0.0, 0
    begins = {k + 1: begin_s for k, begin_s, _ in starts}
    ends = {k + 1: end_s for k, _, end_s in starts}
    for k in range(1, len(tokens) + 2):
        if k in begins:
            cursor = max(cursor, begins[k] * 1000 / FRAME_MS)
        elif k - 1 in ends:
            # What follows a phoneme without time of its own (a space, a comma, the end) begins where that one ends.
            cursor = max(cursor, ends[k - 1] * 1000 / FRAME_MS)
        edges[k] = min(cursor, frames)
        last = k
    assert last == len(tokens) + 1
    whole = np.round(edges).astype(int)
    durations: list[int] = np.diff(whole).tolist()
    return durations


def render(task: tuple[int, Speaker, list[str]]) -> list[dict[str, npt.NDArray[np.float32]]]:
    """Clips of one speaker: ids, durations and the targets at each rate."""
    from piper.phoneme_ids import DEFAULT_PHONEME_ID_MAP
    from piper.phonemize_espeak import EspeakPhonemizer

    from backend.audio import espeak
    from backend.audio.levels import from_pcm16
    from backend.audio.resample import resample

    number, speaker, texts = task
    phonemizer = EspeakPhonemizer()
    clips = []
    for text in texts:
        parts = phonemizer.phonemize(speaker.language, text)
        if len(parts) != 1:
            continue
        tokens = [token for token in parts[0] if token in DEFAULT_PHONEME_ID_MAP]
        said = espeak.synthesize(
            text, speaker.voice, words_per_minute=speaker.words_per_minute, pitch=speaker.pitch
        )
        samples = from_pcm16(said.pcm)
        heard = np.flatnonzero(np.abs(samples) > 0.003)
        if not len(heard):
            continue
        samples = samples[: heard[-1] + said.rate_hz // 8]
        clip = {}
        count = int(len(samples) / said.rate_hz * 1000 / FRAME_MS) - 1
        for rate_hz in RATES_HZ:
            targets = extract(
                resample(samples, said.rate_hz, rate_hz), rate_hz, frame_ms=FRAME_MS
            ).targets()
            clip[str(rate_hz)] = targets[:count]
            count = min(count, len(targets))
        durations = place(tokens, said.phonemes, count)
        if durations is None or min(durations) < 0:
            continue
        ids = [DEFAULT_PHONEME_ID_MAP[token][0] for token in ("^", *tokens, "$")]
        clip["ids"] = np.array(ids, dtype=np.float32)
        clip["durations"] = np.array(durations, dtype=np.float32)
        clip["speaker"] = np.array([number], dtype=np.float32)
        clips.append(clip)
    return clips


def corpus(folder: Path, processes: int) -> None:
    """Render and analyse all clips into folder/corpus-N.npz, one file per speaker."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = random.Random(SEED)  # noqa: S311 - sentences, not secrets
    tasks = [
        (number, speaker, sentences(speaker.language, speaker.clips, rng))
        for number, speaker in enumerate(SPEAKERS)
    ]
    minutes = 0.0
    tasks = [task for task in tasks if not (folder / f"corpus-{task[0]}.npz").exists()]
    with ProcessPoolExecutor(processes) as pool:
        for task, clips in zip(tasks, pool.map(render, tasks), strict=True):
            flat: dict[str, Any] = {
                f"{k}.{name}": v for k, clip in enumerate(clips) for name, v in clip.items()
            }
            np.savez(folder / f"corpus-{task[0]}.npz", allow_pickle=False, **flat)
            frames = sum(len(clip[str(RATES_HZ[0])]) for clip in clips)
            minutes += frames * FRAME_MS / 60_000
            print(
                f"{task[1].voice:14} {len(clips):3} of {len(task[2])} clips, {minutes:6.1f} min so far",
                flush=True,
            )


def load_corpus(folder: Path) -> list[dict[str, npt.NDArray[np.float32]]]:
    """All clips, in a fixed order."""
    clips = []
    for number in range(len(SPEAKERS)):
        with np.load(folder / f"corpus-{number}.npz") as stored:
            names = sorted(stored.files, key=lambda name: int(name.split(".")[0]))
            speaker: dict[int, dict[str, npt.NDArray[np.float32]]] = {}
            for name in names:
                index, _, part = name.partition(".")
                speaker.setdefault(int(index), {})[part] = stored[name]
            clips += list(speaker.values())
    return clips


def train(
    folder: Path, steps: int, threads: int, batch_frames: int, rate: float, most: int
) -> None:
    """Train on the corpus, at most `most` steps now; continues from folder/state.pt."""
    import torch

    from voice_trainer.quick.network import Batch, NetworkConfig, QuickNetwork, losses

    torch.set_num_threads(threads)
    torch.manual_seed(SEED)
    clips = load_corpus(folder)
    network = QuickNetwork(NetworkConfig(rates_hz=RATES_HZ, speakers=len(SPEAKERS)))
    for number in range(len(SPEAKERS)):
        own = [clip for clip in clips if int(clip["speaker"][0]) == number]
        for rate_hz in RATES_HZ:
            about = SpeakerStatistics.of([clip[str(rate_hz)] for clip in own])
            network.set_statistics(about, speaker=number, rate_hz=rate_hz)
    order = sorted(range(len(clips)), key=lambda k: len(clips[k][str(RATES_HZ[0])]))
    batches: list[list[int]] = [[]]
    for k in order:
        length = len(clips[k][str(RATES_HZ[0])])
        if batches[-1] and (len(batches[-1]) + 1) * length > batch_frames:
            batches.append([])
        batches[-1].append(k)
    total_frames = sum(len(clip[str(RATES_HZ[0])]) for clip in clips)
    print(f"{len(clips)} clips, {total_frames / 6000:.1f} min, {len(batches)} batches", flush=True)

    def padded(values: list[npt.NDArray[np.float32]]) -> torch.Tensor:
        return torch.nn.utils.rnn.pad_sequence(
            [torch.from_numpy(v) for v in values], batch_first=True
        )

    def batch(numbers: list[int]) -> Batch:
        chosen = [clips[k] for k in numbers]
        return Batch(
            ids=padded([clip["ids"] for clip in chosen]).long(),
            durations=padded([clip["durations"] for clip in chosen]).long(),
            targets={
                rate_hz: padded([clip[str(rate_hz)] for clip in chosen]) for rate_hz in RATES_HZ
            },
            speakers=torch.tensor([int(clip["speaker"][0]) for clip in chosen]),
        )

    optimizer = torch.optim.AdamW(
        network.parameters(), lr=rate, betas=(0.9, 0.99), weight_decay=0.01
    )
    averaged = [parameter.detach().clone() for parameter in network.parameters()]
    done = 0
    state_path = folder / "state.pt"
    if state_path.exists():
        state = torch.load(state_path, weights_only=True)
        network.load_state_dict(state["network"])
        optimizer.load_state_dict(state["optimizer"])
        averaged, done = state["averaged"], state["step"]
    network.train()
    began, cpu_began, seen = time.perf_counter(), time.process_time(), []
    last = min(steps, done + most)
    while done < last:
        rng = random.Random(SEED + done // len(batches))  # noqa: S311 - order of batches
        epoch = rng.sample(batches, len(batches))
        chosen = epoch[done % len(batches)]
        warm = min(1.0, (done + 1) / 100)
        falling = 0.02 + 0.49 * (1 + math.cos(math.pi * done / steps))
        for group in optimizer.param_groups:
            group["lr"] = rate * warm * falling
        with torch.autocast("cpu", dtype=torch.bfloat16):
            loss = losses(network, batch(chosen))
        optimizer.zero_grad()
        loss.total.backward()  # type: ignore[no-untyped-call]  # torch's own method is untyped
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        done += 1
        keep = min(0.999, (done + 1) / (done + 20))
        torch._foreach_lerp_(averaged, [p.detach() for p in network.parameters()], 1 - keep)
        seen.append(
            [
                float(v.detach())
                for v in (loss.envelope, loss.aperiodicity, loss.pitch, loss.voicing, loss.duration)
            ]
        )
        if done % 50 == 0:
            mean = np.mean(seen[-50:], axis=0)
            pace = (time.perf_counter() - began) / len(seen)
            cpu = (time.process_time() - cpu_began) / len(seen)
            print(f"{done:6} envelope {mean[0]:.4f} noise {mean[1]:.3f} pitch {mean[2]:.3f} voicing {mean[3]:.3f} "
                  f"duration {mean[4]:.4f}  {pace:.3f} s, {cpu:.3f} CPU s a step", flush=True)  # fmt: skip
        if done % 200 == 0 or done == last:
            torch.save(
                {
                    "network": network.state_dict(),
                    "optimizer": optimizer.state_dict(),
                    "averaged": averaged,
                    "step": done,
                },
                state_path.with_suffix(".new"),
            )
            state_path.with_suffix(".new").replace(state_path)


def ship(folder: Path) -> None:
    """Write the averaged weights as half floats, and the card."""
    import torch
    from safetensors.torch import save_file

    from voice_trainer.quick import base
    from voice_trainer.quick.network import NetworkConfig, QuickNetwork

    state = torch.load(folder / "state.pt", weights_only=True)
    network = QuickNetwork(NetworkConfig(rates_hz=RATES_HZ, speakers=len(SPEAKERS)))
    network.load_state_dict(state["network"])
    for parameter, mean in zip(network.parameters(), state["averaged"], strict=True):
        parameter.data.copy_(mean)
    learned = {
        name: value.detach().half().contiguous() for name, value in network.named_parameters()
    }
    save_file(learned, str(base.WEIGHTS_PATH))
    clips = load_corpus(folder)
    minutes = sum(len(clip[str(RATES_HZ[0])]) for clip in clips) * FRAME_MS / 60_000
    card = {
        "version": base.VERSION,
        "sha256": hashlib.sha256(base.WEIGHTS_PATH.read_bytes()).hexdigest(),
        "made_by": "scripts/make_base_voice.py",
        "licence": "GPL-3.0-or-later",
        "data": "speech of espeak-ng (espeakng-loader 0.2.4), rendered from scripts/base_texts; no recordings, no foreign weights",
        "clips": len(clips),
        "minutes": round(minutes, 1),
        "steps": state["step"],
        "seed": SEED,
        "network": network.config.as_dict(),
        "speakers": [
            {
                "language": s.language,
                "variant": s.variant,
                "pitch": s.pitch,
                "words_per_minute": s.words_per_minute,
            }
            for s in SPEAKERS
        ],
    }
    base.CARD_PATH.write_text(
        json.dumps(card, indent=1, ensure_ascii=False) + "\n", encoding="utf-8"
    )
    print(f"{base.WEIGHTS_PATH.name}: {base.WEIGHTS_PATH.stat().st_size / 1e6:.2f} MB")


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=("corpus", "train", "ship"))
    parser.add_argument("folder", type=Path)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--steps", type=int, default=6000)
    parser.add_argument(
        "--most", type=int, default=10**9, help="stop after so many; call again to go on"
    )
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--batch-frames", type=int, default=6000)
    parser.add_argument("--rate", type=float, default=1e-3)
    asked = parser.parse_args()
    if asked.what == "corpus":
        corpus(asked.folder, asked.processes)
    elif asked.what == "train":
        train(asked.folder, asked.steps, asked.threads, asked.batch_frames, asked.rate, asked.most)
    else:
        ship(asked.folder)


if __name__ == "__main__":
    main()
