"""How good a trained voice is: the quick trainer on voices its base has never heard, by minutes of data and seconds of training.

    python -m benchmarks.voice_quality WORK_FOLDER corpora              # flite must be installed
    python -m benchmarks.voice_quality WORK_FOLDER calibrate            # steps per second of this machine, idle
    python -m benchmarks.voice_quality WORK_FOLDER ceilings [--voice slt]
    python -m benchmarks.voice_quality WORK_FOLDER cell --voice slt --minutes 1.2 --seconds 90
    python -m benchmarks.voice_quality WORK_FOLDER grid [--voice slt] [--most 3]
    python -m benchmarks.voice_quality WORK_FOLDER table

Every figure is one line of results/voice_quality.jsonl, written at once; `grid` skips what is there, small cells first,
so it can be stopped and called again. A cell is trained by the shipped program (`python -m voice_trainer train`), with
its seconds turned into steps by results/voice_steps.json (2 idle cores), so other load on the machine changes nothing.
Speaker similarity needs `--eval-libs`, see `benchmarks.voice_scores`.

The voices: slt, rms and kal16 are flite's (16 kHz); the espeak ones use variants and parameters that are not in the
base (22.05 kHz). Texts: benchmarks/texts; nobody trains on the test sentences.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from backend.audio import espeak
from backend.audio.levels import from_pcm16
from backend.audio.wav import to_wav
from benchmarks.voice_scores import Sound, score, use_libraries
from voice_trainer.protocol import (
    PROGRESS,
    Budget,
    ClipSpec,
    JobSpec,
    write_clips,
    write_job,
)
from voice_trainer.quick import base
from voice_trainer.quick.features import extract

HERE = Path(__file__).resolve().parent
TEXTS = HERE / "texts"
RESULTS = HERE / "results" / "voice_quality.jsonl"
STEPS = HERE / "results" / "voice_steps.json"
TABLE = HERE / "results" / "voice_quality.md"

MINUTES = (0.4, 1.2, 4.0, 8.0)
SECONDS = (45, 90, 180, 300)
HELD_OUT_FROM = 215
"""Training sentences from here on are never trained on; they stand for the speaker."""


@dataclass(frozen=True, slots=True)
class Target:
    """A voice to be learned.

    Attributes:
        rate_hz: Of its clips and of the voice made of them.
        flite: Name of flite's voice, or empty.
        espeak: Name of espeak's voice with its variant, or empty.
        pitch, words_per_minute: Of espeak's.
    """

    name: str
    rate_hz: int
    flite: str = ""
    espeak: str = ""
    pitch: int = 50
    words_per_minute: int = 165


TARGETS = {
    one.name: one
    for one in (
        Target("slt", 16_000, flite="slt"),
        Target("rms", 16_000, flite="rms"),
        Target("kal16", 16_000, flite="kal16"),
        Target("espeak-linda", 22_050, espeak="en-us+linda", pitch=60, words_per_minute=150),
        Target("espeak-victor", 22_050, espeak="en-us+victor", pitch=30, words_per_minute=145),
    )
}


@dataclass(frozen=True, slots=True)
class Cell:
    """One training.

    Attributes:
        minutes: Of clips, in the order of the texts.
        seconds: Of training on 2 idle cores.
        base: "shipped" or "none" (from scratch).
    """

    voice: str
    minutes: float
    seconds: int
    base: str = "shipped"


GRID = [
    *(Cell("slt", minutes, seconds) for minutes in MINUTES for seconds in SECONDS),
    *(Cell(voice, *corner) for voice in TARGETS if voice != "slt" for corner in ((0.4, 45), (8.0, 300))),
]  # fmt: skip


def sentences(part: str) -> list[str]:
    """The texts of "train" or "test"."""
    return (TEXTS / f"english_{part}.txt").read_text(encoding="utf-8").strip().split("\n")


def make_corpora(work: Path, voices: Sequence[str]) -> None:
    """Render all texts in all voices; what is there stays."""
    for voice in voices:
        target = TARGETS[voice]
        for part in ("train", "test"):
            folder = work / "corpora" / voice / part
            folder.mkdir(parents=True, exist_ok=True)
            for number, text in enumerate(sentences(part)):
                path = folder / f"{number:04d}.wav"
                if not path.exists():
                    _render(target, text, path)
        print(f"{voice}: {len(sentences('train'))} and {len(sentences('test'))} clips")


def _render(target: Target, text: str, path: Path) -> None:
    half = path.with_suffix(".half.wav")
    if target.flite:
        subprocess.run(["flite", "-voice", target.flite, "-t", text, "-o", half], check=True)
    else:
        said = espeak.synthesize(
            text, target.espeak, words_per_minute=target.words_per_minute, pitch=target.pitch
        )
        half.write_bytes(to_wav(said.pcm, said.rate_hz))
    half.replace(path)


def clip(work: Path, voice: str, part: str, number: int) -> Sound:
    """One clip of a corpus."""
    import soundfile

    path = work / "corpora" / voice / part / f"{number:04d}.wav"
    samples, rate_hz = soundfile.read(path, dtype="float32")
    return Sound(samples, rate_hz)


def natural(work: Path, voice: str) -> list[Sound]:
    """The real voice saying the test sentences."""
    return [clip(work, voice, "test", number) for number in range(len(sentences("test")))]


def held_out(work: Path, voice: str) -> list[Sound]:
    """The real voice saying what nobody trains on."""
    numbers = range(HELD_OUT_FROM, len(sentences("train")))
    return [clip(work, voice, "train", number) for number in numbers]


def ceilings(work: Path, voice: str) -> None:
    """The rows above and below every training: nature, the vocoder on true features, the embedded engine."""
    test = sentences("test")
    real = natural(work, voice)

    def copied(sound: Sound) -> Sound:
        import torch

        from voice_trainer.quick.vocoder import Vocoder

        rate_hz = TARGETS[voice].rate_hz
        found = extract(sound.at(rate_hz), rate_hz)
        parts = (found.envelope, found.aperiodicity, np.exp(found.log_f0), found.voiced)
        tensors = [torch.from_numpy(np.asarray(part, dtype=np.float32))[None] for part in parts]
        with torch.no_grad():
            return Sound(Vocoder(rate_hz)(*tensors)[0].numpy(), rate_hz)

    def engine(text: str) -> Sound:
        said = espeak.synthesize(text)
        return Sound(from_pcm16(said.pcm), said.rate_hz)

    rows: dict[str, Callable[[], list[Sound]]] = {
        "natural": lambda: real,
        "copy synthesis": lambda: [copied(sound) for sound in real],
        "embedded engine": lambda: [engine(text) for text in test],
    }
    for name, make in rows.items():
        if not _is_done({"kind": name, "voice": voice}):
            found = score(make(), test, real, held_out(work, voice))
            _keep({"kind": name, "voice": voice, **asdict(found)})


def job(work: Path, cell: Cell, steps: int, *, options: dict[str, Any] | None = None) -> Path:
    """A job folder for a cell, made anew."""
    name = f"{cell.voice}-{cell.minutes:g}min-{cell.seconds}s-{cell.base}".replace(".", "_")
    folder = work / "jobs" / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    clips, seconds = [], 0.0
    for number, text in enumerate(sentences("train")[:HELD_OUT_FROM]):
        if seconds >= cell.minutes * 60:
            break
        sound = clip(work, cell.voice, "train", number)
        length_s = len(sound.samples) / sound.rate_hz
        path = (work / "corpora" / cell.voice / "train" / f"{number:04d}.wav").resolve()
        clips.append(ClipSpec(uid=f"{number:04d}", path=str(path), text=text, duration_s=length_s))
        seconds += length_s
    write_clips(folder, clips)
    spec = JobSpec(
        id=name,
        command="train",
        name=name,
        rate_hz=TARGETS[cell.voice].rate_hz,
        speaker=cell.voice,
        budget=Budget(steps=steps),
        threads=0,
        base="" if cell.base == "shipped" else "none",
        options=options or {},
    )
    write_job(folder, spec)
    return folder


def run(folder: Path) -> dict[str, Any]:
    """Train a job with the shipped program; its result.

    Raises:
        RuntimeError: It did not end well; the last line says why.
    """
    subprocess.run(
        [sys.executable, "-m", "voice_trainer", "train", str(folder)], cwd=HERE.parent, check=False
    )
    lines = (folder / PROGRESS).read_text(encoding="utf-8").splitlines()
    last = json.loads(lines[-1]) if lines else {}
    if last.get("kind") != "done":
        raise RuntimeError(f"The training in {folder} did not finish: {lines[-1:]}")
    result: dict[str, Any] = last["result"]
    return result


def train_cell(work: Path, cell: Cell) -> None:
    """Train a cell, speak the test sentences through PiperVoice, and keep the scores."""
    from piper import PiperVoice

    steps = steps_of(cell)
    folder = job(work, cell, steps)
    began = time.monotonic()
    result = run(folder)
    took_s = time.monotonic() - began
    model = folder / str(result["model"])
    voice = PiperVoice.load(model)
    list(voice.synthesize("Warm up."))
    spoken, synthesis_s = [], 0.0
    for text in sentences("test"):
        started = time.perf_counter()
        parts = [chunk.audio_float_array for chunk in voice.synthesize(text)]
        synthesis_s += time.perf_counter() - started
        spoken.append(Sound(np.concatenate(parts), voice.config.sample_rate))
    found = score(spoken, sentences("test"), natural(work, cell.voice), held_out(work, cell.voice))
    length_s = sum(len(sound.samples) / sound.rate_hz for sound in spoken)
    _keep(
        {
            "kind": "trained",
            **asdict(cell),
            "base_version": base.VERSION if cell.base == "shipped" else 0,
            "steps": steps,
            **asdict(found),
            "real_time_factor": synthesis_s / length_s,
            "model_mb": model.stat().st_size / 1e6,
            "wall_s": took_s,
        }
    )


def calibrate(work: Path) -> None:
    """Seconds of a step by minutes of data: the best pace the program tells of in 150 steps. Leave the machine alone."""
    found = {}
    for minutes in MINUTES:
        folder = job(work, Cell("slt", minutes, 0), 150)
        run(folder)
        lines = (folder / PROGRESS).read_text(encoding="utf-8").splitlines()
        paces = [float(json.loads(line).get("steps_per_s") or 0) for line in lines]
        found[f"{minutes:g}"] = round(1 / max(paces), 4)
        print(f"{minutes:g} min: {found[f'{minutes:g}']:.4f} s a step")
    STEPS.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


def steps_of(cell: Cell) -> int:
    """How many steps fit into a cell's seconds on 2 idle cores."""
    seconds: dict[str, float] = json.loads(STEPS.read_text(encoding="utf-8"))
    return round(cell.seconds / seconds[f"{cell.minutes:g}"])


def _rows() -> list[dict[str, Any]]:
    if not RESULTS.exists():
        return []
    return [json.loads(line) for line in RESULTS.read_text(encoding="utf-8").splitlines()]


def _is_done(wanted: dict[str, Any]) -> bool:
    return any(wanted.items() <= row.items() for row in _rows())


def _keep(row: dict[str, Any]) -> None:
    RESULTS.parent.mkdir(exist_ok=True)
    short = {k: round(v, 4) if isinstance(v, float) else v for k, v in row.items()}
    with RESULTS.open("a", encoding="utf-8") as file:
        file.write(json.dumps(short) + "\n")
    print(json.dumps(short), flush=True)


def is_done(cell: Cell) -> bool:
    """Whether the cell was trained on the base of this version."""
    version = base.VERSION if cell.base == "shipped" else 0
    return _is_done({"kind": "trained", **asdict(cell), "base_version": version})


def grid(work: Path, voice: str | None, most: int) -> None:
    """Train what is missing, the cheapest first."""
    cells = [cell for cell in GRID if voice in (None, cell.voice) and not is_done(cell)]
    cells.sort(key=lambda cell: (cell.seconds, cell.minutes))
    print(f"{len(cells)} of {len(GRID)} cells are missing")
    for cell in cells[:most]:
        train_cell(work, cell)
        write_table()


def write_table() -> None:
    """The newest result of each kind as a page."""
    newest: dict[tuple[Any, ...], dict[str, Any]] = {}
    for row in _rows():
        newest[tuple(row.get(k) for k in ("kind", "voice", "minutes", "seconds", "base"))] = row
    lines = [
        "# Voices of the quick trainer",
        "",
        "Generated by `python -m benchmarks.voice_quality WORK_FOLDER table` from voice_quality.jsonl. 30 unseen sentences;",
        "WER and identified sentences by pocketsphinx, MCD in dB, similarity by Resemblyzer; seconds are steps on 2 idle cores",
        "(voice_steps.json). README.md says what else was tried.",
        "",
        "| Voice | what | data, min | training, s | steps | WER | identified | MCD dB | similarity | RTF | MB |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    order = {"natural": 0, "copy synthesis": 1, "embedded engine": 2}

    def place(row: dict[str, Any]) -> tuple[Any, ...]:
        voices = [*TARGETS]
        return (
            voices.index(row["voice"]) if row["voice"] in voices else 99,
            order.get(row["kind"], 3),
            row.get("base", ""),
            row.get("minutes", 0),
            row.get("seconds", 0),
        )

    for row in sorted(newest.values(), key=place):
        what = row["kind"]
        if what == "trained":
            what = "base fine-tuned" if row["base"] == "shipped" else f"base {row['base']}"

        def text(name: str, form: str, row: dict[str, Any] = row) -> str:
            value = row.get(name)
            return "–" if value is None else format(value, form)

        cells = [
            row["voice"], what, text("minutes", "g"), text("seconds", "d"), text("steps", "d"), text("wer", ".2f"),
            text("identified", "d"), text("mcd_db", ".2f"), text("similarity", ".3f"),
            text("real_time_factor", ".4f"), text("model_mb", ".1f"),
        ]  # fmt: skip
        lines.append("| " + " | ".join(cells) + " |")
    TABLE.write_text("\n".join(lines) + "\n", encoding="utf-8")


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("work", type=Path, help="folder for corpora and jobs (1 GB)")
    parser.add_argument(
        "what", choices=("corpora", "calibrate", "ceilings", "cell", "grid", "table")
    )
    parser.add_argument("--voice", choices=[*TARGETS])
    parser.add_argument("--minutes", type=float, default=1.2)
    parser.add_argument("--seconds", type=int, default=90)
    parser.add_argument("--base", choices=("shipped", "none"), default="shipped")
    parser.add_argument("--most", type=int, default=len(GRID), help="cells in this call")
    parser.add_argument("--eval-libs", type=Path, help="folder that holds Resemblyzer")
    asked = parser.parse_args()
    if not use_libraries(asked.eval_libs):
        print("Resemblyzer is not there: similarity stays empty (see benchmarks/voice_scores.py).")
    voices = [asked.voice] if asked.voice else [*TARGETS]
    if asked.what == "corpora":
        make_corpora(asked.work, voices)
    elif asked.what == "calibrate":
        calibrate(asked.work)
    elif asked.what == "ceilings":
        for voice in voices:
            ceilings(asked.work, voice)
    elif asked.what == "cell":
        train_cell(asked.work, Cell(asked.voice or "slt", asked.minutes, asked.seconds, asked.base))
    elif asked.what == "grid":
        grid(asked.work, asked.voice, asked.most)
    write_table()


if __name__ == "__main__":
    main()
