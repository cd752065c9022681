"""Steps a second of the full trainer against ``piper.train`` run bare, on the same batches with the same configuration.

Bare means: piper's own model class, its losses and its optimizers in the plainest loop there is, without Lightning's
trainer, its logging or a progress line; its alignment search, which piper does not ship compiled, is ours in both. Both
begin with the same weights and draw the same noise before each step. Luma runs as in a job: its loop with orders looked
at, batches laid together meanwhile, losses gathered, progress lines written. Steps of both alternate; the median counts.

    python -m benchmarks.vits_speed [--quality x_low] [--steps 20] [--batch 2] [--threads 2] [--device auto]

Also measured: the share of the time that orders, losses and progress lines take.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from backend.audio import espeak
from backend.audio.wav import to_wav
from voice_trainer.loop import Reporter, Steering
from voice_trainer.protocol import Budget, ClipSpec, JobSpec, write_clips, write_job
from voice_trainer.vits import step as stepping
from voice_trainer.vits import train
from voice_trainer.vits.batches import HOP, MARGIN, Batch
from voice_trainer.vits.network import QUALITIES, Quality, quiet_piper

WANTED_RATIO = 1.0
CLOSE = 0.01
MOST_OVERHEAD = 0.01
SEED = 1234

SENTENCES = (
    "Good evening, everybody, and welcome back to the stream.",
    "The rain has stopped, and the street smells of tea.",
    "Let me read what you have written while I was away.",
    "That was close, and I would do it again at any time.",
    "My cat has found the keyboard, so there may be typing errors.",
    "We have ten minutes left, which is enough for one more round.",
    "Thank you for the kind words, they really make my day.",
    "I never understood why the lamp in this room is green.",
    "Tomorrow we go on with the second part of the story.",
    "If you hear a noise, it is only the washing machine.",
)


def write_the_job(folder: Path, quality: str, steps: int, batch_size: int, device: str) -> None:
    """A job with clips of the embedded voice."""
    clips = []
    for number, text in enumerate(SENTENCES):
        said = espeak.synthesize(text, "en-us")
        path = folder / f"clip-{number}.wav"
        path.write_bytes(to_wav(said.pcm, said.rate_hz))
        clips.append(ClipSpec(f"clip-{number}", str(path), text, len(said.pcm) / 2 / said.rate_hz))
    write_clips(folder, clips)
    spec = JobSpec(
        id="speed",
        command="train",
        name="speed",
        trainer="vits",
        rate_hz=QUALITIES[quality].rate_hz,
        budget=Budget(steps=steps),
        seed=SEED,
        threads=torch.get_num_threads(),
        device=device,
        options={
            "quality": quality,
            "batch_size": batch_size,
            "precision": "32",
            "checkpoint_every": 10**6,
        },
    )
    write_job(folder, spec)


@dataclass(slots=True)
class Seen:
    """Seconds of each step, and its losses by name."""

    seconds: list[float] = field(default_factory=list)
    losses: list[dict[str, float]] = field(default_factory=list)

    @property
    def typical_s(self) -> float:
        """Median without the first step, which also allocates."""
        return statistics.median(self.seconds[1:])


class Luma(train.Training):
    """The trainer's own loop, one step at a time."""

    def start(self) -> None:
        """Make the networks as `run` does."""
        self._begin()
        self.seen = Seen()
        self.in_update_s: list[float] = []

    def one_step(self, seed: int) -> Batch:
        """A step as `run` makes it, with noise that piper's run can draw as well; returns its batch."""
        update = stepping.update
        caught: list[tuple[Batch, stepping.Losses]] = []

        def kept(network: Any, optimizers: Any, batch: Batch, precision: Any) -> stepping.Losses:
            begun = time.perf_counter()
            found = update(network, optimizers, batch, precision)
            _wait(self._job.device)
            self.in_update_s.append(time.perf_counter() - begun)
            caught.append((batch, found))
            return found

        stepping.update = kept
        try:
            torch.manual_seed(seed)
            begun = time.perf_counter()
            self._steering.obey(self._reporter)
            self._one_step()
            _wait(self._job.device)
            self.seen.seconds.append(time.perf_counter() - begun)
        finally:
            stepping.update = update
        ((batch, found),) = caught
        self.seen.losses.append(found.values())
        return batch


class Bare:
    """Piper's own model, losses and optimizers in the plainest loop."""

    def __init__(self, quality: Quality, device: torch.device) -> None:
        with quiet_piper():
            from piper.train.vits.lightning import VitsModel

            torch.manual_seed(SEED)
            self.model = VitsModel(
                sample_rate=quality.rate_hz,
                mos_metric=None,
                segment_size=quality.segment,
                hidden_channels=quality.hidden,
                inter_channels=quality.inter,
                filter_channels=quality.filter_size,
                n_layers=quality.layers,
                upsample_initial_channel=quality.upsample_initial,
            )
        self.model.to(device).train()
        self.device = device
        (self.opt_g, self.opt_d), _ = self.model.configure_optimizers()
        self.seen = Seen()

    def one_step(self, seed: int, batch: Any) -> None:
        """A step as piper's ``training_step`` makes it, without its logging."""
        torch.manual_seed(seed)
        begun = time.perf_counter()
        loss_g, loss_d, parts = self.model._compute_loss(batch)
        self.opt_g.zero_grad()
        loss_g.backward()
        self.opt_g.step()
        self.opt_d.zero_grad()
        loss_d.backward()
        self.opt_d.step()
        _wait(self.device)
        self.seen.seconds.append(time.perf_counter() - begun)
        told = {"generator": loss_g, "discriminator": loss_d, "mel": parts["mel"], "kl": parts["kl"]}  # fmt: skip
        self.seen.losses.append({name: float(value.detach()) for name, value in told.items()})


def as_piper_has_it(batch: Batch, segment: int, rate_hz: int) -> Any:
    """The same clips with their spectrograms, as piper's cache and collate function hand them over; not timed."""
    from piper.train.vits import dataset
    from piper.train.vits.mel_processing import spectrogram_torch

    device = batch.audio.device
    most = max(segment, int(batch.frame_counts.max()) * HOP)
    audio = torch.zeros(batch.size, 1, batch.audio.shape[1] - 2 * MARGIN, device=device)
    spec = torch.zeros(batch.size, 513, most // HOP, device=device)
    for row in range(batch.size):
        samples = int(batch.frame_counts[row]) * HOP
        clip = batch.audio[row, MARGIN : -MARGIN or None]
        audio[row, 0] = clip
        # Frames of the whole clip, as Luma makes them: the reflection begins where the clip ends.
        margins = batch.audio[row : row + 1]
        frames = stepping.spectrogram(margins)[0][:, : samples // HOP]
        assert frames.shape[1] == spectrogram_torch(clip[None, :samples], 1024, rate_hz, HOP, 1024).shape[2]  # fmt: skip
        spec[row, :, : frames.shape[1]] = frames
        # Behind the end of a clip there is silence, not its reflection.
    lengths = batch.frame_counts * HOP
    return dataset.Batch(
        phoneme_ids=batch.ids,
        phoneme_lengths=batch.id_counts,
        spectrograms=spec,
        spectrogram_lengths=batch.frame_counts,
        audios=audio,
        audio_lengths=lengths,
    )


def progress_cost_s(folder: Path) -> float:
    """Seconds that one step spends on orders and on telling, lines included, with steps of 50 ms (20 a second)."""
    from voice_trainer.vits.meter import Meter

    now = [0.0]
    reporter = Reporter(folder, clock=lambda: now[0])
    steering = Steering(folder)
    meter = Meter()
    parts = [torch.rand(()) for _ in range(7)]
    count = 2_000
    begun = time.perf_counter()
    for number in range(count):
        now[0] += 0.05
        steering.obey(reporter)
        meter.add(stepping.Losses(*parts), 0.05)
        if reporter.is_due():
            meter.read()
            reporter.progress(
                fraction=number / count,
                step=number,
                steps=count,
                loss={"train": 0.5, "validation": 0.5, **meter.losses},
                steps_per_s=meter.steps_per_s,
                eta_s=1.0,
                memory_mb=train._memory_mb(torch.device("cpu")),
                verdict="still improving",
            )
    spent = (time.perf_counter() - begun) / count
    reporter.close()
    return spent


def told(losses: dict[str, float]) -> str:
    """The parts that both tell."""
    return ", ".join(f"{name} {losses[name]:.4g}" for name in ("generator", "discriminator", "mel", "kl"))  # fmt: skip


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def main() -> int:
    """Measure, print, and return 1 when something is missed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quality", default="x_low", choices=["x_low", "low", "medium"])
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--batch", type=int, default=2)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", default="auto")
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_the_job(folder, asked.quality, asked.steps, asked.batch, asked.device)
        reporter = Reporter(folder)
        steering = Steering(folder)
        job = train._open(folder, reporter, steering)
        luma = Luma(job, reporter, steering)
        luma.start()
        piper = Bare(job.quality, job.device)
        for number in range(asked.steps):
            made = luma.one_step(SEED + number)
            piper.one_step(
                SEED + number, as_piper_has_it(made, job.quality.segment, job.quality.rate_hz)
            )
        reporter.close()
        overhead_s = progress_cost_s(folder)
    ours, theirs = luma.seen.typical_s, piper.seen.typical_s
    pairs = [*zip(luma.seen.losses, piper.seen.losses, strict=True)]
    far = {
        name: float(np.mean([abs(a[name] - b[name]) / abs(b[name]) for a, b in pairs]))
        for name in piper.seen.losses[0]
    }
    around = (ours - statistics.median(luma.in_update_s[1:])) / ours
    print(f"{asked.quality}, batches of {asked.batch}, {asked.steps} steps, {asked.threads} threads, {job.device}")  # fmt: skip
    print(f"piper bare  {theirs:.3f} s a step, {1 / theirs:.3f} steps/s")
    print(f"Luma        {ours:.3f} s a step, {1 / ours:.3f} steps/s: {theirs / ours:.2f} x")
    print("losses differ by " + ", ".join(f"{name} {value:.3%}" for name, value in far.items()))
    print(f"last losses: Luma {told(pairs[-1][0])}; piper {told(pairs[-1][1])}")
    print(f"loop around the step {around:.2%}; orders, losses and progress lines {overhead_s * 1e6:.0f} us a step at 20 steps/s: {overhead_s / 0.05:.2%}")  # fmt: skip
    failed = theirs / ours < WANTED_RATIO or max(far.values()) > CLOSE or overhead_s / 0.05 > MOST_OVERHEAD  # fmt: skip
    print("missed" if failed else "reached")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
