"""Recordings to checked clips, without speech recognition: how many times faster than they sound.

    python -m benchmarks.preparation [--minutes 12] [--rounds 2]

The corpus is made here: four voices of the embedded engine with pauses of all lengths and a little room noise, 48 kHz, as
WAV, FLAC and MP3. Ours is the real command in its own process, from its start to its end, twice: ``process`` (decode,
measure, high-pass, cut, loudness, resample, write, grade) and ``process`` with the phase ``check`` (alignment of every
transcript). The reference reads the same files with soundfile, resamples them with soxr and writes WAV, in one process.

Two figures each: by the clock, and by processor time spread over two cores, which a busy machine does not change.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import soundfile
import soxr

from backend.audio import espeak
from backend.audio.levels import from_pcm16
from backend.audio.resample import resample
from voice_trainer.protocol import (
    ClipSpec,
    JobSpec,
    ProgressReader,
    UploadSpec,
    write_clips,
    write_job,
    write_uploads,
)

ROOT = Path(__file__).resolve().parent.parent
WANTED = 60.0
CORES = 2
RATE_HZ, CLIP_HZ = 48_000, 22_050
VOICES = (("en-us", 50), ("en-us+f3", 60), ("en-gb", 35), ("en-us+m3", 45))
KINDS = ("wav", "flac", "mp3", "wav")
SENTENCES = (
    "The lights in the harbour come on one by one, and the fog answers.",
    "Please call Stella, and ask her to bring these things with her from the store.",
    "Six spoons of fresh snow peas, five thick slabs of blue cheese, and maybe a snack for her brother.",
    "What do you think about that?",
    "Good evening everybody, and welcome to the stream; it will be a long one tonight.",
    "She turned the key, listened for a moment, and went in without a word.",
    "Nobody had expected the bridge to hold, least of all the people who built it.",
    "I will see you tomorrow.",
)


def corpus(
    folder: Path, minutes: float
) -> tuple[list[UploadSpec], dict[str, list[tuple[float, float, str]]], float]:
    """Files, what is said when in each, and seconds in all."""
    chance = np.random.default_rng(1)
    uploads, said, total_s = [], {}, 0.0
    for (voice, pitch), kind in zip(VOICES, KINDS, strict=True):
        parts, spans, size = [], [], 0
        while size < minutes * 60 / len(VOICES) * CLIP_HZ:
            text = SENTENCES[chance.integers(len(SENTENCES))]
            rate = float(chance.uniform(140, 200))
            spoken = from_pcm16(
                espeak.synthesize(text, voice, pitch=pitch, words_per_minute=rate).pcm
            )
            pause = np.zeros(round(chance.choice([0.2, 0.5, 1.0, 2.5]) * CLIP_HZ), np.float32)
            spans.append((size / CLIP_HZ, (size + spoken.size) / CLIP_HZ, text))
            parts += [spoken, pause]
            size += spoken.size + pause.size
        sound = resample(np.concatenate(parts), CLIP_HZ, RATE_HZ)
        sound += chance.standard_normal(sound.size).astype(np.float32) * 0.0007
        name = f"{voice}-{pitch}.{kind}"
        soundfile.write(folder / name, sound, RATE_HZ, format=kind.upper())
        uploads.append(UploadSpec(name, str(folder / name), name, language=voice.partition("+")[0]))
        said[name] = spans
        total_s += sound.size / RATE_HZ
    return uploads, said, total_s


def text_of(line: dict[str, object], spans: list[tuple[float, float, str]]) -> str:
    """What is said in a clip: every sentence of which more than half lies in it."""
    start_s, end_s = float(line["start_s"]), float(line["end_s"])  # type: ignore[arg-type]  # JSON numbers
    inside = [
        text
        for begin_s, stop_s, text in spans
        if min(end_s, stop_s) - max(start_s, begin_s) > (stop_s - begin_s) / 2
    ]
    return " ".join(inside)


def timed(command: list[str]) -> tuple[float, float]:
    """Wall and processor seconds of a program and all its children."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    begun_s = time.perf_counter()
    subprocess.run(command, cwd=ROOT, check=True, stderr=subprocess.DEVNULL)
    wall_s = time.perf_counter() - begun_s
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall_s, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def ours(
    folder: Path,
    uploads: list[UploadSpec],
    said: dict[str, list[tuple[float, float, str]]],
    denoise: bool,
) -> dict[str, float]:
    """Cut and check in a new job."""
    folder.mkdir()
    command = [sys.executable, "-m", "voice_trainer", "process", str(folder)]
    write_uploads(folder, uploads)
    options = {"priority": "normal", "denoise": denoise}
    spec = JobSpec(id=folder.name, command="process", threads=1, options=options)
    write_job(folder, spec)
    cut_s, cut_cpu_s = timed(command)
    lines = list(ProgressReader(folder).read())
    cut = [line for line in lines if line["kind"] == "clip"]
    write_clips(
        folder,
        [
            ClipSpec(
                line["uid"],
                line["path"],
                text_of(line, said[line["upload"]]),
                line["duration_s"],
                language=line["language"],
                measures=line["measures"],
            )
            for line in cut
        ],
    )
    spec.options["phase"] = "check"
    write_job(folder, spec)
    check_s, check_cpu_s = timed(command)
    checked = [line for line in ProgressReader(folder).read() if line["kind"] == "clip"][len(cut) :]
    matches = sorted(line["measures"]["match"] for line in checked if "match" in line["measures"])
    return {
        "cut_s": cut_s,
        "check_s": check_s,
        "wall_s": cut_s + check_s,
        "cpu_s": cut_cpu_s + check_cpu_s,
        "cut_cpu_s": cut_cpu_s,
        "check_cpu_s": check_cpu_s,
        "clips": len(cut),
        "checked": len(matches),
        "median_match": matches[len(matches) // 2],
        "grade_a": sum(line["grade"] == "A" for line in checked) / len(checked),
    }


def reference(folder: Path, uploads: list[UploadSpec]) -> float:
    """Seconds to read, resample and write the same files."""
    folder.mkdir(exist_ok=True)
    begun_s = time.process_time()
    for upload in uploads:
        sound, rate_hz = soundfile.read(upload.path, dtype="float32")
        soundfile.write(folder / "out.wav", soxr.resample(sound, rate_hz, CLIP_HZ, "HQ"), CLIP_HZ)
    return time.process_time() - begun_s


def main() -> int:
    """Measure and judge."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=12.0)
    parser.add_argument("--rounds", type=int, default=2, help="the best of them counts")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="luma-preparation-") as name:
        folder = Path(name)
        uploads, said, total_s = corpus(folder, asked.minutes)
        print(f"{total_s / 60:.1f} minutes in {len(uploads)} files, {os.cpu_count()} cores")
        read_s = min(reference(folder / "reference", uploads) for _ in range(asked.rounds))
        print(
            f"reference, read + resample + write: {total_s / read_s:,.0f} x real time on one core"
        )
        results = {}
        for denoise in (False, True):
            rounds = [
                ours(folder / f"job{number}{denoise}", uploads, said, denoise)
                for number in range(asked.rounds)
            ]
            best = min(rounds, key=lambda one: one["wall_s"])
            cpu_s = min(one["cpu_s"] for one in rounds)
            results["denoise" if denoise else "plain"] = best
            by_clock, by_cpu = total_s / best["wall_s"], total_s / (cpu_s / CORES)
            print(
                f"{'with denoising' if denoise else 'without denoising'}: {by_clock:.0f} x by the clock, {by_cpu:.0f} x by "
                f"processor time on {CORES} cores (wanted {WANTED:.0f}); cut {best['cut_s']:.1f} s ({best['cut_cpu_s']:.1f} s of "
                f"processor), check {best['check_s']:.1f} s ({best['check_cpu_s']:.1f}); {best['clips']} clips, {best['checked']} checked, "
                f"median match {best['median_match']:.3f}, {best['grade_a']:.0%} A; {cpu_s / read_s:.0f} x the work of the reference"
            )
        print(json.dumps({"seconds": total_s, "reference_s": read_s, **results}))
        return 0 if all(total_s / one["wall_s"] >= WANTED for one in results.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
