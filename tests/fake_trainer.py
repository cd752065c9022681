"""A trainer that learns a number: the whole protocol of a job folder, in milliseconds, for tests of whoever runs trainers.

``python -m tests.fake_trainer COMMAND FOLDER``. Its weights are one integer that every step hashes on with the clips and
the seed, so a training that was resumed right ends with the weights of one that was never interrupted. Checkpoints,
samples, pictures and the exported voice are real files. ``options`` of the job say what goes wrong:

    step_s           seconds a step takes (0.002)
    checkpoint_every steps between two checkpoints (10)
    die_at           step at which it dies, once, without a word: "exit", "kill", "error", "full" or "trace" in ``die_how``
    deaf             it does not obey control.json (true)
    silent           it says nothing more after the first step (true)
    voice            false: the export is no voice
"""

from __future__ import annotations

import hashlib
import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

from backend.audio.wav import to_wav
from voice_trainer.__main__ import BusyError, locked
from voice_trainer.loop import ENDING, Reporter, Steering, Stopped, TrainerError
from voice_trainer.protocol import (
    CHECKPOINTS,
    EXPORT,
    PROCESS,
    SAMPLES,
    JobSpec,
    State,
    read_clips,
    read_job,
    write_json,
)

STEPS = 60
RATE_HZ = 16_000
PNG = bytes.fromhex(
    "89504e470d0a1a0a0000000d49484452000000010000000108000000003a7e9b55"
    "0000000a4944415478da63640000000600023081d02f0000000049454e44ae426082"
)


def main() -> int:
    command, folder = sys.argv[1], Path(sys.argv[2])
    spec = read_job(folder)
    try:
        with locked(folder):
            return run(command, folder, spec)
    except BusyError as error:
        sys.stderr.write(f"{error}\n")
        return 4


def run(command: str, folder: Path, spec: JobSpec) -> int:
    import psutil

    signal.signal(signal.SIGTERM, lambda *_: ENDING.set())
    reporter = Reporter(folder)
    me = psutil.Process()
    write_json(folder / PROCESS, {"pid": me.pid, "started_at": me.create_time()})
    sys.stdout.write(f"{command} {spec.id}\n")
    sys.stdout.write("environment " + " ".join(sorted(os.environ)) + "\n")
    sys.stdout.flush()
    try:
        if command == "train":
            train(folder, spec, reporter)
        elif command == "export":
            export_other(folder, spec, reporter)
        else:
            process(folder, spec, reporter, command)
    except Stopped as stopped:
        reporter.state(State.CANCELLED if stopped.by == "order" else State.INTERRUPTED)
        return 3
    except TrainerError as error:
        reporter.error(error.code, str(error))
        return 1
    return 0


def process(folder: Path, spec: JobSpec, reporter: Reporter, command: str) -> None:
    reporter.state(State.PROCESS if command == "process" else State.EXAMINE)
    steering = Steering(folder)
    count = int(spec.options.get("steps", 3))
    for n in range(count):
        steering.obey(reporter)
        time.sleep(float(spec.options.get("step_s", 0.002)))
        reporter.progress(fraction=(n + 1) / count)
        reporter.line("clip", uid=f"clip{n}")
    misfortune(folder, spec, count, reporter)
    reporter.done({"clips": count})


def train(folder: Path, spec: JobSpec, reporter: Reporter) -> None:
    reporter.state(State.PREFLIGHT)
    clips = read_clips(folder)
    steering = Steering(folder)
    reporter.state(State.PREPARE, "Looking at the clips")
    for n, _ in enumerate(clips):
        steering.obey(reporter)
        reporter.progress(fraction=(n + 1) / len(clips))
    step, weights = newest(folder, spec)
    reporter.state(State.TRAIN)
    total = spec.budget.steps or STEPS
    every = int(spec.options.get("checkpoint_every", 10))
    pace_s = float(spec.options.get("step_s", 0.002))
    if step == 0:
        save(folder, spec, reporter, 0, weights)
    while step < total:
        if not spec.options.get("deaf"):
            steering.obey(reporter)
        step += 1
        weights = next_weights(weights, step, spec.seed, [clip.uid for clip in clips])
        time.sleep(pace_s)
        if spec.options.get("silent"):
            time.sleep(600)
        reporter.progress(
            fraction=step / total,
            step=step,
            steps=total,
            loss={"train": 1 / step, "validation": 1.1 / step},
            steps_per_s=1 / pace_s if pace_s else None,
            eta_s=(total - step) * pace_s,
            memory_mb=20.0,
            verdict="still improving",
            threads=steering.threads,
        )
        if step % every == 0 or steering.wants_checkpoint():
            save(folder, spec, reporter, step, weights)
        if steering.wants_sample():
            speak(folder, spec, reporter, step, f"asked-{step}.wav", "")
        misfortune(folder, spec, step, reporter)
    save(folder, spec, reporter, step, weights)
    reporter.state(State.EXPORT)
    export(folder, spec, weights)
    reporter.state(State.VERIFY)
    reporter.done(
        {
            "model": f"{EXPORT}/{spec.name}.onnx",
            "checkpoint": f"step-{step:06d}",
            "step": step,
            "weights": weights,
            "scores": {"similarity": 0.93, "mcd_db": 3.2},
        }
    )


def next_weights(weights: int, step: int, seed: int, uids: list[str]) -> int:
    text = f"{weights} {step} {seed} {' '.join(uids)}"
    return int(hashlib.sha256(text.encode()).hexdigest()[:12], 16)


def newest(folder: Path, spec: JobSpec) -> tuple[int, int]:
    found = sorted((folder / CHECKPOINTS).glob("step-*.json"))
    if not found:
        return 0, spec.seed
    saved = json.loads(found[-1].read_text())
    return saved["step"], saved["weights"]


def save(folder: Path, spec: JobSpec, reporter: Reporter, step: int, weights: int) -> None:
    name = f"step-{step:06d}"
    path = folder / CHECKPOINTS / f"{name}.json"
    if path.exists():
        return
    try:
        write_json(path, {"step": step, "weights": weights, "padding": "x" * 2000})
    except OSError as error:
        raise TrainerError("disk.full", f"The disk is full ({error}). Make room.") from error
    reporter.checkpoint(
        name,
        step=step,
        path=f"{CHECKPOINTS}/{path.name}",
        loss={"train": 1 / (step + 1)},
        is_best=True,
        size_bytes=path.stat().st_size,
    )
    speak(folder, spec, reporter, step, f"{name}.wav", name)
    reporter.scores(name, mcd_db=5 - step / 100, similarity=0.8)
    (folder / "pictures").mkdir(exist_ok=True)
    for which in ("target", "made"):
        (folder / "pictures" / f"{which}-{step}.png").write_bytes(PNG)
    reporter.picture(
        step=step, target=f"pictures/target-{step}.png", made=f"pictures/made-{step}.png"
    )


def speak(
    folder: Path, spec: JobSpec, reporter: Reporter, step: int, file: str, checkpoint: str
) -> None:
    (folder / SAMPLES).mkdir(exist_ok=True)
    (folder / SAMPLES / file).write_bytes(to_wav(b"\x00\x10\x00\xf0" * 800, RATE_HZ))
    reporter.sample(
        step=step,
        path=f"{SAMPLES}/{file}",
        text=spec.test_sentence or "one two three",
        duration_s=0.1,
        checkpoint=checkpoint,
    )


def export(folder: Path, spec: JobSpec, weights: int) -> None:
    (folder / EXPORT).mkdir(exist_ok=True)
    if spec.options.get("voice") is False:
        (folder / EXPORT / f"{spec.name}.onnx").write_bytes(b"no voice")
        (folder / EXPORT / f"{spec.name}.onnx.json").write_text('{"audio": {}}')
        return
    from tests import tiny_models

    tiny_models.piper_voice(folder / EXPORT, spec.name)


def export_other(folder: Path, spec: JobSpec, reporter: Reporter) -> None:
    reporter.state(State.EXPORT)
    source = Path(spec.options.get("job", folder))
    saved = json.loads((source / CHECKPOINTS / f"{spec.options['checkpoint']}.json").read_text())
    export(folder, spec, saved["weights"])
    misfortune(folder, spec, 1, reporter)
    reporter.done({"model": f"{EXPORT}/{spec.name}.onnx", "step": saved["step"]})


def misfortune(folder: Path, spec: JobSpec, step: int, reporter: Reporter) -> None:
    """Die as the job says, once."""
    mark = folder / "died"
    if step != spec.options.get("die_at") or mark.exists():
        return
    mark.touch()
    how: Any = spec.options.get("die_how")
    if how == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    elif how == "error":
        raise TrainerError("data.too_little", "Too few clips: record more.")
    elif how == "full":
        raise TrainerError("disk.full", "The disk is full. Make room, then resume.")
    elif how == "trace":
        sys.stderr.write(
            "Traceback (most recent call last):\nZeroDivisionError: division by zero\n"
        )
    os._exit(7)


if __name__ == "__main__":
    sys.exit(main())
