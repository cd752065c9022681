"""What telling of a training costs: in the trainer per step, and in the backend per second that it follows one.

Trainer: the reporter's share of a loop whose steps take 50 ms, by the processor's time of a call. Backend: processor time
of a whole backend part (bus, database, jobs) that follows a trainer telling four times a second, less the same without a
job, over the same time.

    python -m benchmarks.training_events [--seconds 15]

Target: both under 1 %.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
import time
from pathlib import Path

from tests.unit.training.test_jobs import bench
from voice_trainer.loop import Reporter, Steering
from voice_trainer.protocol import State

WANTED = 0.01
STEP_S = 0.05
CALLS = 20_000


def per_step(folder: Path) -> float:
    """Seconds of processor time that a step spends on telling and looking, with four lines written a second."""
    clock_s = 0.0

    def clock() -> float:
        return clock_s

    reporter = Reporter(folder, clock=clock)
    reporter.state(State.TRAIN)
    steering = Steering(folder)
    began = time.process_time()
    for step in range(CALLS):
        clock_s += STEP_S
        steering.obey(reporter)
        reporter.progress(
            fraction=step / CALLS,
            step=step,
            steps=CALLS,
            loss={"train": 1.25, "validation": 1.5, "envelope": 0.5, "pitch": 0.25},
            steps_per_s=20.0,
            eta_s=100.0,
            memory_mb=800.0,
            learning_rate=0.001,
            verdict="still improving",
        )
    took = time.process_time() - began
    reporter.close()
    return took / CALLS


async def following(folder: Path, seconds: float) -> tuple[float, float, int]:
    """Processor seconds per second: idle, and following a trainer; and the events told."""
    async with bench(folder, poll_s=0.25) as at:
        await asyncio.sleep(1)
        began = time.process_time()
        await asyncio.sleep(seconds)
        idle = time.process_time() - began
        job = await at.start(steps=1_000_000, step_s=STEP_S, checkpoint_every=1_000_000)
        await at.step(job, 1)
        before = len(at.seen.events)
        began = time.process_time()
        await asyncio.sleep(seconds)
        busy = time.process_time() - began
        told = len(at.seen.events) - before
        await at.jobs.stop(job.id)
        await at.ended(job)
    return idle / seconds, busy / seconds, told


def main() -> int:
    """Measure and print; 1 when a target is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=15.0)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        step_s = per_step(Path(name) / "job")
        idle, busy, told = asyncio.run(following(Path(name) / "backend", asked.seconds))
    trainer, backend = step_s / STEP_S, busy - idle
    sys.stdout.write(
        f"trainer: {step_s * 1e6:.1f} us a step, {trainer:.3%} of steps of {STEP_S * 1000:.0f} ms\n"
        f"backend: {backend:.3%} of a core ({busy:.3%} following, {idle:.3%} idle),"
        f" {told / asked.seconds:.1f} events/s\n"
    )
    return 0 if max(trainer, backend) <= WANTED else 1


if __name__ == "__main__":
    sys.exit(main())
