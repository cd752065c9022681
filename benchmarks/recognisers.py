"""How fast every recogniser reads, against openai-whisper called directly in the same run; how well the embedded one does.

One thread each: on a busy machine OpenMP's threads spin while they wait, which cost the same call of openai-whisper 3.0 s of
processor time on two threads and 0.7 s on one. `whisper` with a fixed language is the same library doing the same work as
the reference, so its ratio says how far ratios can be trusted: it has to be near 1.

Speed: models of the shapes of Whisper tiny and base with random weights, arranged so that they write a known sentence
of twelve words: the work is that of a real one for the same words, what they hear is not. Engines run as in a
conversation, in their processes; rounds alternate, and processor time counts besides the clock because other programs
share the machine. Words: sentences spoken by the embedded voice and, where installed, by flite, clean and with noise,
read by the embedded recogniser.

    python -m benchmarks.recognisers [speeds] [words] [--rounds 5] [--sentences 30]

Writes benchmarks/results/recognisers.md; each part is kept (recognisers.json) until it is measured anew.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import psutil

from backend.audio import espeak, wav
from backend.audio.levels import FloatArray, from_pcm16, to_pcm16
from backend.audio.resample import resample
from backend.contracts.entities import Audio
from backend.core.workers import EngineHost
from backend.engines.stt import RECOGNISERS, options
from backend.engines.stt.base import STT
from benchmarks.voice_scores import edits, words
from tests import tiny_models

RESULTS = Path(__file__).parent / "results" / "recognisers.md"
KEPT = RESULTS.with_suffix(".json")
TEXTS = Path(__file__).parent / "texts" / "english_test.txt"
RATE_HZ = 16_000
SHAPES = {"tiny": (384, 6, 4), "base": (512, 8, 6)}
SAYS = "I would like you to open the door for my friend now."
SPOKEN = "I would like you to open the door for my friend now, because she waits outside in the rain, and then we can all have tea."
LENGTHS_S = (1.5, 4.0, 8.0)
"""What a partial transcript is made of while somebody speaks, and an utterance."""
MIDDLE_S = 4.0
CONTROL = (0.8, 1.25)
"""Where the ratio of `whisper` has to lie: it does the reference's work. Outside, the machine was measured."""

WANTED_RATIO = 0.5
"""Processor time of faster-whisper by that of openai-whisper, language fixed, at most; set before anything was measured."""


@dataclass(slots=True)
class Row:
    """One way to read one length, measured over and over."""

    wall_ms: list[float] = field(default_factory=list)
    cpu_ms: list[float] = field(default_factory=list)

    def wall(self) -> float:
        """The median by the clock."""
        return statistics.median(self.wall_ms)

    def cpu(self) -> float:
        """The median of processor time."""
        return statistics.median(self.cpu_ms)


def speech(seconds: float) -> Audio:
    """The beginning of a sentence spoken by the embedded voice."""
    said = espeak.synthesize(SPOKEN, "en-us")
    samples = resample(from_pcm16(said.pcm), said.rate_hz, RATE_HZ)[: round(seconds * RATE_HZ)]
    return Audio(to_pcm16(samples), RATE_HZ)


def children_cpu_s() -> float:
    """Processor time of this process's children so far."""
    total = 0.0
    for child in psutil.Process().children(recursive=True):
        spent = child.cpu_times()
        total += spent.user + spent.system
    return total


async def timed(row: Row, read: Callable[[], Awaitable[object]]) -> None:
    """One reading in a child process."""
    cpu_s, began = children_cpu_s(), time.perf_counter()
    await read()
    row.wall_ms.append((time.perf_counter() - began) * 1000)
    row.cpu_ms.append((children_cpu_s() - cpu_s) * 1000)


class Direct:
    """openai-whisper as its readme calls it, in this process."""

    def __init__(self, path: Path) -> None:
        import whisper

        self._model = whisper.load_model(str(path), device="cpu")

    def read(self, row: Row, audio: Audio, language: str | None) -> None:
        """One reading; greedy, as the engines do."""
        samples = from_pcm16(audio.pcm)
        cpu_s, began = time.process_time(), time.perf_counter()
        self._model.transcribe(samples, language=language, temperature=0.0, fp16=False)
        row.wall_ms.append((time.perf_counter() - began) * 1000)
        row.cpu_ms.append((time.process_time() - cpu_s) * 1000)


Rows = dict[tuple[str, str, float], Row]


async def speeds(folder: Path, rounds: int) -> tuple[Rows, dict[str, str]]:
    """Every engine, shape and length; and what loading takes, in words."""
    rows: Rows = defaultdict(Row)
    loading: dict[str, str] = {}
    sounds = {seconds: speech(seconds) for seconds in LENGTHS_S}
    for name, shape in SHAPES.items():
        path = tiny_models.whisper_saying(
            folder / "whisper" / f"{name}.pt", SAYS, is_multilingual=True, shape=shape
        )
        direct = Direct(path)
        engines = _engines(folder, name)
        hosts: dict[str, EngineHost] = {}
        made: dict[str, STT] = {}
        for label, (engine, given) in engines.items():
            hosts[label] = EngineHost()
            made[label] = RECOGNISERS.create(engine, given(hosts[label]))
            cpu_s, began = children_cpu_s(), time.perf_counter()
            first = await made[label].transcribe(sounds[MIDDLE_S], "en")
            if first.text != SAYS and engine != "sphinx":
                raise SystemExit(f"{label} read {first.text!r}, not {SAYS!r}: nothing is measured")
            took = f"{time.perf_counter() - began:.1f} s ({children_cpu_s() - cpu_s:.1f} s of processor)"
            loading[f"{label}, {name}"] = f"{took}, {_largest_mb():.0f} MB"
        direct.read(Row(), sounds[MIDDLE_S], "en")
        for number in range(rounds):
            for seconds, sound in sounds.items():
                direct.read(rows["openai-whisper", name, seconds], sound, "en")
                for label, engine_made in made.items():
                    # the embedded one has no shapes
                    if label != "sphinx" or name == "base":
                        await timed(
                            rows[label, name, seconds],
                            lambda it=engine_made, of=sound: it.transcribe(of, "en"),  # type: ignore[misc]  # bound at once
                        )
            sound = sounds[MIDDLE_S]
            direct.read(rows["openai-whisper, language detected", name, MIDDLE_S], sound, None)
            for label in ("whisper", "faster_whisper"):
                if label in made:
                    row = rows[f"{label}, language detected", name, MIDDLE_S]
                    await timed(row, lambda it=made[label], of=sound: it.transcribe(of))  # type: ignore[misc]  # bound at once
            sys.stderr.write(f"{name}: round {number + 1} of {rounds}\n")
        for host in hosts.values():
            await host.stop()
    return rows, loading


def _engines(folder: Path, name: str) -> dict[str, tuple[str, Callable[[EngineHost], object]]]:
    """The engines that are installed, each with what it is built with."""
    models = folder / "whisper"

    def fast(window_s: int) -> Callable[[EngineHost], object]:
        return lambda host: options.FasterWhisperOptions(
            host, folder / "faster-whisper", models, name, window_s=window_s, timeout_s=120
        )

    engines: dict[str, tuple[str, Callable[[EngineHost], object]]] = {
        "whisper": (
            "whisper",
            lambda host: options.WhisperOptions(host, models, name, timeout_s=120),
        ),
        "sphinx": ("sphinx", lambda host: options.SphinxOptions(host, timeout_s=120)),
    }
    reader = RECOGNISERS.create("faster_whisper", fast(30)(EngineHost()))
    if not reader.missing():  # type: ignore[attr-defined]  # this recogniser can tell
        for window_s in (30, 10):
            label = "faster_whisper" + (f", window {window_s} s" if window_s < 30 else "")
            engines[label] = ("faster_whisper", fast(window_s))
    return engines


def _largest_mb() -> float:
    """Memory of the youngest child."""
    children = psutil.Process().children(recursive=True)
    newest = max(children, key=lambda child: child.create_time())
    return float(newest.memory_info().rss) / (1 << 20)


# --- words of the embedded recogniser ---


def voices() -> dict[str, Callable[[str, Path], FloatArray]]:
    """Voices that are here: text and scratch folder -> samples at 16 kHz."""

    def embedded(variant: str) -> Callable[[str, Path], FloatArray]:
        def speak(text: str, folder: Path) -> FloatArray:
            said = espeak.synthesize(text, variant)
            return resample(from_pcm16(said.pcm), said.rate_hz, RATE_HZ)

        return speak

    def flite(voice: str) -> Callable[[str, Path], FloatArray]:
        def speak(text: str, folder: Path) -> FloatArray:
            path = folder / "flite.wav"
            subprocess.run(["flite", "-voice", voice, "-t", text, "-o", str(path)], check=True)
            pcm, rate_hz = wav.read_wav(path.read_bytes())
            return resample(from_pcm16(pcm), rate_hz, RATE_HZ)

        return speak

    found = {"embedded en-us": embedded("en-us")}
    if shutil.which("flite"):
        found |= {f"flite {voice}": flite(voice) for voice in ("slt", "rms", "kal16")}
    return found


def with_noise(samples: FloatArray, snr_db: float | None, seed: int) -> FloatArray:
    """Pink noise over the sound and 0.3 s around it, so far below the speech; None = silence around it."""
    room = np.zeros(round(0.3 * RATE_HZ), np.float32)
    samples = np.concatenate([room, samples, room])
    if snr_db is None:
        return samples
    spectrum = np.fft.rfft(np.random.default_rng(seed).normal(size=samples.size))
    spectrum /= np.sqrt(np.maximum(np.arange(spectrum.size), 1.0))
    noise = np.fft.irfft(spectrum, samples.size)
    loud = float(np.sqrt(np.mean(np.square(samples[np.abs(samples) > 0.01]))))
    gain = loud / float(np.sqrt(np.mean(np.square(noise)))) * 10 ** (-snr_db / 20)
    mixed = samples + noise * gain
    return np.asarray(mixed / max(1.0, float(np.abs(mixed).max())), dtype=np.float32)


async def word_errors(
    sentences: Sequence[str], keep: Callable[[list[tuple[str, str, float, int]]], None]
) -> None:
    """Voice, noise, word error rate and words for the embedded recogniser, as it is used in a conversation.

    Args:
        sentences: What the voices say.
        keep: Given all that was found so far after each voice, so that an interruption costs one voice.
    """
    host = EngineHost()
    reader = RECOGNISERS.create("sphinx", options.SphinxOptions(host, timeout_s=120))
    found: list[tuple[str, str, float, int]] = []
    with tempfile.TemporaryDirectory() as folder:
        for voice, speak in voices().items():
            said = [speak(text, Path(folder)) for text in sentences]
            for label, snr_db in (("clean", None), ("20 dB", 20.0), ("10 dB", 10.0)):
                errors = count = 0
                for number, (text, samples) in enumerate(zip(sentences, said, strict=True)):
                    sound = with_noise(samples, snr_db, number)
                    heard = await reader.transcribe(Audio(to_pcm16(sound), RATE_HZ))
                    errors += edits(words(heard.text), words(text))
                    count += len(words(text))
                found.append((voice, label, errors / count, count))
                sys.stderr.write(f"{voice}, {label}: {errors / count:.2f}\n")
            keep(found)
    await host.stop()


# --- telling ---


def report(
    rows: Rows,
    loading: dict[str, str],
    errors: list[tuple[str, str, float, int]],
    load: str,
    rounds: int,
) -> str:
    """The page."""
    lines = [
        "# How fast and how well recognisers read",
        "",
        f"Generated by `python -m benchmarks.recognisers` on {datetime.now(UTC):%d %B %Y}; that page says how. Medians of "
        f"{rounds} rounds; {os.cpu_count()} cores, load {load} (other programs took the rest of the machine: believe processor",
        "time and ratios). Models have the shape of Whisper's and random weights, and write twelve words whatever they hear:",
        "their speed is that of real ones for a sentence of twelve words, what they read says nothing about quality.",
        "",
        f"## A sentence of {MIDDLE_S:g} s",
        "",
        "One thread each. `whisper` does the reference's work, so how far its ratio is from 1 is how far ratios can be trusted.",
        "",
        "x real time: processor time by length of the sound. Ratio: processor time against openai-whisper called directly.",
        "",
        "| Engine | shape | clock ms | processor ms | x real time | ratio |",
        "|---|---|---|---|---|---|",
    ]
    for (label, shape, seconds), row in rows.items():
        if seconds == MIDDLE_S:
            detected = ", language detected" if "detected" in label else ""
            reference = rows[f"openai-whisper{detected}", shape, seconds].cpu()
            shown = "–" if label == "sphinx" else shape
            lines.append(
                f"| {label} | {shown} | {row.wall():.0f} | {row.cpu():.0f} | {row.cpu() / seconds / 1000:.2f} "
                f"| {row.cpu() / reference:.2f} |"
            )
    lines += [
        "",
        "## A partial transcript",
        "",
        "Clock and processor ms to read what was said so far. Whisper always looks at 30 s; a smaller window of faster-whisper",
        "(WHISPER_WINDOW_S) looks at less, and misreads more.",
        "",
        f"| Engine | shape | {' | '.join(f'{seconds:g} s' for seconds in LENGTHS_S)} |",
        f"|---|---|{'---|' * len(LENGTHS_S)}",
    ]
    for label, shape in dict.fromkeys((label, shape) for label, shape, _ in rows):
        if "detected" not in label:
            cells = [rows[label, shape, seconds] for seconds in LENGTHS_S]
            shown = " | ".join(f"{cell.wall():.0f} / {cell.cpu():.0f}" for cell in cells)
            lines.append(f"| {label} | {'–' if label == 'sphinx' else shape} | {shown} |")
    lines += [
        "",
        "## The first sentence",
        "",
        "From nothing: the process, the library, the model (for faster-whisper its conversion too, once for each model), the sentence.",
        "Memory is that of the engine's process.",
        "",
        "| Engine, shape | took |",
        "|---|---|",
        *(f"| {label} | {took} |" for label, took in loading.items()),
        "",
        "## Words that the embedded recogniser misreads",
        "",
        "Share of wrong words; pink noise so many dB below the speech.",
        "",
        "| Voice | clean | 20 dB | 10 dB | words |",
        "|---|---|---|---|---|",
    ]
    for voice in dict.fromkeys(voice for voice, *_ in errors):
        rates = [f"{rate:.2f}" for of, _, rate, _ in errors if of == voice]
        count = next(count for of, _, _, count in errors if of == voice)
        lines.append(f"| {voice} | {' | '.join(rates)} | {count} |")
    return "\n".join(lines) + "\n"


def main() -> int:
    """Measure, tell and judge."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parts", nargs="*", choices=("speeds", "words"))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--sentences", type=int, default=30)
    asked = parser.parse_args()
    # before torch and CTranslate2 are loaded, here and in the engines' processes
    os.environ["OMP_NUM_THREADS"] = "1"  # noqa: TID251 - no setting: what native libraries read
    kept = json.loads(KEPT.read_text("utf-8")) if KEPT.is_file() else {}
    before = os.getloadavg()[0]
    if "speeds" in asked.parts or not asked.parts:
        with tempfile.TemporaryDirectory() as folder:
            rows, loading = asyncio.run(speeds(Path(folder), asked.rounds))
        kept["load"] = f"{before:.1f} to {os.getloadavg()[0]:.1f}"
        kept["rounds"], kept["loading"] = asked.rounds, loading
        kept["rows"] = [[*key, row.wall_ms, row.cpu_ms] for key, row in rows.items()]
        KEPT.write_text(json.dumps(kept, indent=1), "utf-8")
    if "words" in asked.parts or not asked.parts:
        texts = TEXTS.read_text("utf-8").splitlines()[: asked.sentences]

        def keep(found: list[tuple[str, str, float, int]]) -> None:
            kept["words"] = found
            KEPT.write_text(json.dumps(kept, indent=1), "utf-8")

        asyncio.run(word_errors(texts, keep))
    measured: Rows = defaultdict(Row)
    for label, shape, seconds, wall_ms, cpu_ms in kept.get("rows", []):
        measured[label, shape, seconds] = Row(wall_ms, cpu_ms)
    errors = [(voice, noise, rate, count) for voice, noise, rate, count in kept.get("words", [])]
    page = report(
        measured, kept.get("loading", {}), errors, kept.get("load", "?"), kept.get("rounds", 0)
    )
    sys.stdout.write(page)
    RESULTS.write_text(page, "utf-8")
    if ("faster_whisper", "base", MIDDLE_S) not in measured:
        return 0
    fast, control, usual = (
        measured[name, "base", MIDDLE_S].cpu()
        for name in ("faster_whisper", "whisper", "openai-whisper")
    )
    if not CONTROL[0] <= control / usual <= CONTROL[1]:
        sys.stdout.write(
            f"\nwhisper / openai-whisper: {control / usual:.2f}, not about 1: no verdict\n"
        )
        return 1
    verdict = "ok" if fast / usual <= WANTED_RATIO else f"more than the {WANTED_RATIO:g} wanted"
    sys.stdout.write(f"\nfaster_whisper / openai-whisper: {fast / usual:.2f}: {verdict}\n")
    return 0 if fast / usual <= WANTED_RATIO else 1


if __name__ == "__main__":
    sys.exit(main())
