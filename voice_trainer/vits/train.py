"""Full training of a voice with piper's VITS: the commands prepare, train, export and evaluate of the trainer "vits".

The loop is ours and visible, not Lightning's: it can be paused between two steps, resumed to the bit on a CPU, asked for
a sample, and it lives through a full memory with half the batch. Piper's networks and losses stay what they are.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import torch

from backend.audio.levels import to_pcm16
from backend.audio.wav import to_wav
from voice_trainer import checkpoint as checkpoints
from voice_trainer.config import sentence_of
from voice_trainer.dataset import MANIFEST, read_sound
from voice_trainer.evaluate import compare, picture
from voice_trainer.export import Reference, verify
from voice_trainer.loop import Reporter, Steering, Stopped, Threads, TrainerError
from voice_trainer.preflight import LIBRARIES, check
from voice_trainer.protocol import (
    DATASET,
    EXPORT,
    SAMPLES,
    JobSpec,
    ProtocolError,
    State,
    read_clips,
    read_job,
    read_json,
)
from voice_trainer.text.phonemes import sentences
from voice_trainer.vits import dataset, step
from voice_trainer.vits import export as exporting
from voice_trainer.vits.base import Base, read_base
from voice_trainer.vits.batches import Batch, Sounds, batch, order
from voice_trainer.vits.config import VitsConfig
from voice_trainer.vits.meter import Meter, eta_s, fraction, verdict
from voice_trainer.vits.network import QUALITIES, Network, Quality, build, quality_of

logger = logging.getLogger(__name__)

VALIDATION_BATCH = 4
NEARLY_BEST = 1.02
"""The mel distance stops falling long before a voice stops getting clearer (the adversarial losses see to that): of
checkpoints this near to the lowest one the latest counts as the best."""
LEAST_OF_BASE = 0.5
MOST_RUNAWAYS = 3
MOST_SCORED = 3
"""Clips that are said and scored at a checkpoint: on a CPU each takes a second or two."""
MOST_NAMED = 20
BYTES_PER_WEIGHT = 12
"""In a checkpoint: the weight and two moments of AdamW, 4 bytes each."""
MEMORY_BYTES = 1_200 << 20  # torch, and the sound of a small batch on its way through the networks

Clock = Callable[[], float]


def prepare(folder: Path, reporter: Reporter) -> None:
    """Check the job and make its dataset."""
    job = _open(folder, reporter, Steering(folder))
    learn, check, left_out = job.data.learn, job.data.check, job.data.left_out
    reporter.done({"clips": len(learn), "held_back": len(check), "left_out": len(left_out)})


def train(folder: Path, reporter: Reporter) -> None:
    """Every phase that is missing, from the checks to a voice that speaks; goes on from the last checkpoint."""
    steering = Steering(folder)
    job = _open(folder, reporter, steering)
    training = Training(job, reporter, steering)
    training.run()
    chosen = best_of(training.store)
    reporter.done(_export(job.spec, job.spec, folder, folder, chosen, reporter, steering))


def export(folder: Path, reporter: Reporter) -> None:
    """A checkpoint as a voice; options: job (folder of the training), checkpoint (its id), verify."""
    spec, trained, source, chosen = _chosen(folder)
    steering = Steering(folder)
    reporter.done(_export(spec, trained, folder, source, chosen, reporter, steering))


def evaluate(folder: Path, reporter: Reporter) -> None:
    """Let a checkpoint say the test sentence and score it; options as of `export`."""
    spec, trained, source, chosen = _chosen(folder)
    reporter.state(State.VERIFY)
    stored = _stored(chosen)
    quality = _quality_in(stored)
    generator = exporting.speaking(stored.tensors, quality)
    text = sentence_of(trained if not spec.test_sentence else spec)
    sound = exporting.speak(generator, dataset.phoneme_ids(text, trained.language))
    path = _write_sample(folder, f"{chosen.id}.wav", sound, quality.rate_hz)
    duration_s = round(sound.size / quality.rate_hz, 3)
    reporter.sample(step=chosen.step, path=path, text=text, duration_s=duration_s, checkpoint=chosen.id)  # fmt: skip
    made, real = [], []
    for reference in _references(source)[:MOST_SCORED]:
        ids = dataset.phoneme_ids(reference.text, trained.language)
        made.append(exporting.speak(generator, ids))
        real.append(read_sound(Path(reference.path), quality.rate_hz))
    scores = compare(made, real, quality.rate_hz).as_dict() if made else {}
    if scores:
        reporter.scores(chosen.id, **scores)
    result = {"checkpoint": chosen.id, "step": chosen.step, "sample": path, "scores": scores}
    reporter.done(result)


@dataclass(frozen=True, slots=True)
class Job:
    """A job whose checks are passed and whose dataset lies ready."""

    folder: Path
    spec: JobSpec
    quality: Quality
    device: torch.device
    data: dataset.Dataset
    base: Base | None


def _open(folder: Path, reporter: Reporter, steering: Steering) -> Job:
    reporter.state(State.PREFLIGHT)
    spec = read_job(folder)
    device = _device(spec)
    (folder / DATASET).mkdir(parents=True, exist_ok=True)
    base = None
    if spec.base not in ("", "none"):
        base = read_base(
            Path(spec.base),
            folder / DATASET,
            sha256=spec.base_sha256,
            confirmed=spec.allow_unsafe_base,
        )
    quality = _quality(spec, base)
    weights = _weights_of(quality)
    # What lies there already needs no more room.
    own = sum(kept.size_bytes for kept in checkpoints.Checkpoints(folder).all())
    ready = check(
        folder,
        spec,
        reporter,
        rates_hz=(quality.rate_hz,),
        checkpoint_bytes=max(0, BYTES_PER_WEIGHT * weights - own // (spec.keep + 3)),
        libraries=(*LIBRARIES, "librosa"),
        least_memory_bytes=MEMORY_BYTES + 2 * BYTES_PER_WEIGHT * weights,
    )
    reporter.state(State.PREPARE, f"{len(ready.clips)} clips")

    def tick(share: float, what: str) -> None:
        steering.obey(reporter)
        reporter.progress(fraction=share, message=what)

    data = dataset.prepare(folder, spec, ready.clips, ready.digests, quality, tick)
    for uid, why in data.left_out[:MOST_NAMED]:
        reporter.warning(f"Clip {uid[:40]} is left out: {why}.")
    if len(data.left_out) > MOST_NAMED:
        reporter.warning(f"{len(data.left_out) - MOST_NAMED} more clips are left out.")
    return Job(folder, spec, quality, device, data, base)


class Training:
    """One run of the loop; owns the networks, the optimizers and the file of samples.

    Args:
        job: What to train.
        reporter: Told of everything.
        steering: Asked between two steps.
        clock: Seconds; for tests.
    """

    def __init__(
        self, job: Job, reporter: Reporter, steering: Steering, *, clock: Clock = time.monotonic
    ) -> None:
        self._job = job
        self._reporter = reporter
        self._steering = steering
        self._clock = clock
        self.store = checkpoints.Checkpoints(job.folder, job.spec.keep)
        self._clips, self._held_back = job.data.learn, job.data.check
        self._sounds: Sounds = job.data.sounds()
        self._meter = Meter()
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="batches")
        self.config = VitsConfig.of(
            job.spec, job.quality.name, job.device, len(self._clips), has_base=job.base is not None
        )
        self._runaways = 0
        self._text = sentence_of(job.spec)
        self._text_ids = dataset.phoneme_ids(self._text, job.spec.language)

    def run(self) -> None:
        """Train until the budget is used or somebody stops it; a checkpoint lies there afterwards.

        Raises:
            Stopped: By order or signal; everything is saved.
            TrainerError: memory.full or train.diverged.
        """
        self._reporter.state(State.TRAIN, self._in_words())
        try:
            self._begin()
            while not self._is_over():
                try:
                    self._steering.obey(self._reporter, before_pause=self._save_if_new)
                    self._one_step()
                except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
                    if not _is_full_memory(error):
                        raise
                    self._halve(error)
            self._save_if_new()
            self._tell()
        except Stopped:
            self._save_if_new()
            raise
        finally:
            self._pool.shutdown(cancel_futures=True)

    # --- one step after the other --------------------------------------------------------------------------------------

    def _begin(self) -> None:
        """Take up the last checkpoint that is whole, or start anew."""
        torch.manual_seed(self.config.seed)
        self.network: Network = build(self._job.quality)
        self.step = self.epoch = self._place = 0
        self.seconds = 0.0
        self.history: list[tuple[int, float]] = []
        self._saved_step, self._saved_s = -1, 0.0
        self._meter.restore({})
        self._ahead: Future[Batch] | None = None
        self._free = Threads(self._job.spec.threads)
        self._threads = -1
        last = self.store.last()
        if last is None and self._job.base is not None:
            self._warm_start(self._job.base)
        self.network.to(self._job.device)
        self.optimizers = step.optimizers(self.network, self._job.device, self.config.precision)
        if last is not None:
            self._restore(last)
        self.optimizers.set_rates(self.epoch, self.config.rate_scale)
        self._plan = order(self._clips, self.config.batch_size, self.config.seed, self.epoch)
        self._began_step = self.step
        _train_mode(self.network)

    def _one_step(self) -> None:
        self._limit_threads()
        if self._place >= len(self._plan):
            self._next_epoch()
        began = self._clock()
        found = step.update(
            self.network, self.optimizers, self._next_batch(), self.config.precision
        )
        self._place += 1
        self.step += 1
        is_first = self.step == self._began_step + 1
        spent = self._clock() - began
        self.seconds += spent
        # The first step of a run also compiles and allocates: it says nothing about the speed.
        self._meter.add(found, None if is_first else spent)
        if self._reporter.is_due():
            if not self._meter.read():
                self._diverged()
                return
            self._tell()
        if self._is_checkpoint_due():
            self._save()
        if self._is_sample_due():
            self._say_test_sentence("")

    def _next_epoch(self) -> None:
        self.epoch += 1
        self._place = 0
        self._plan = order(self._clips, self.config.batch_size, self.config.seed, self.epoch)
        self.optimizers.set_rates(self.epoch, self.config.rate_scale)

    def _next_batch(self) -> Batch:
        """This step's batch; the next one is laid together meanwhile."""
        ready = self._ahead or self._lay_together(self._place)
        self._ahead = (
            self._lay_together(self._place + 1) if self._place + 1 < len(self._plan) else None
        )
        return ready.result().to(self._job.device)

    def _lay_together(self, place: int) -> Future[Batch]:
        chosen = [self._clips[at] for at in self._plan[place]]
        return self._pool.submit(batch, chosen, self._sounds)

    def _is_over(self) -> bool:
        config = self.config
        return (config.steps is not None and self.step >= config.steps) or (
            config.seconds is not None and self.seconds >= config.seconds
        )

    def _limit_threads(self) -> None:
        """Fewer threads while a turn is spoken or others use the cores."""
        allowed = self._free.now(self._steering.threads)
        if allowed != self._threads:
            self._threads = allowed
            torch.set_num_threads(allowed)

    # --- checkpoints ---------------------------------------------------------------------------------------------------

    def _is_checkpoint_due(self) -> bool:
        return (
            self._steering.wants_checkpoint()
            or self.step % self.config.checkpoint_every == 0
            or self.seconds - self._saved_s >= self.config.checkpoint_every_s
        )

    def _save_if_new(self) -> None:
        if self.step != self._saved_step and self.step > 0:
            self._save()

    def _save(self) -> None:
        """Measure, write, tell, speak, make room."""
        if not self._meter.read():
            self._diverged()
            return
        held_back = self.validate()
        if not all(map(math.isfinite, held_back.values())):
            self._diverged()
            return
        self.history.append((self.step, held_back["mel"]))
        tensors, state = self._state()
        kept = self.store.save(self.step, tensors, state, score=held_back["mel"])
        self._saved_step, self._saved_s = self.step, self.seconds
        best = best_of(self.store)
        self._reporter.checkpoint(
            kept.id,
            step=kept.step,
            path=kept.path.relative_to(self._job.folder).as_posix(),
            loss={"train": self._meter.losses.get("mel", held_back["mel"]), **_said(held_back)},
            is_best=best.id == kept.id,
            size_bytes=kept.size_bytes,
        )
        self._say_test_sentence(kept.id)
        self._draw_and_score(kept.id)
        for id in self.store.prune():
            self._reporter.dropped(id)

    def _state(self) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
        generator, generator_rest = checkpoints.pack_optimizer(
            self.optimizers.generator, "optimizer_g"
        )
        discriminator, discriminator_rest = checkpoints.pack_optimizer(
            self.optimizers.discriminator, "optimizer_d"
        )
        random, random_rest = checkpoints.pack_rng()
        state = {
            "trainer": "vits",
            "config": self.config.as_dict(),
            "epoch": self.epoch,
            "place": self._place,
            "seconds": self.seconds,
            "history": self.history,
            "losses": self._meter.state(),
            "optimizer_g": generator_rest,
            "optimizer_d": discriminator_rest,
            "scaler": self.optimizers.scaler.state_dict(),
            "rng": random_rest,
        }
        return {**self.network.state(), **generator, **discriminator, **random}, state

    def _restore(self, kept: checkpoints.Kept) -> None:
        stored = checkpoints.read(kept.path)
        state = stored.state
        saved = VitsConfig.from_dict(state["config"])
        # What was learnt about this machine and these clips stays; the budget is what the job says now.
        self.config = replace(
            self.config,
            batch_size=min(saved.batch_size, self.config.batch_size),
            rate_scale=min(saved.rate_scale, self.config.rate_scale),
        )
        for module, part in (
            (self.network.generator, "model_g"),
            (self.network.discriminator, "model_d"),
        ):
            checkpoints.fill(module, stored.part(part), kept.path.name)
        checkpoints.unpack_optimizer(
            self.optimizers.generator, stored, state["optimizer_g"], "optimizer_g"
        )
        checkpoints.unpack_optimizer(
            self.optimizers.discriminator, stored, state["optimizer_d"], "optimizer_d"
        )
        if state["scaler"]:
            self.optimizers.scaler.load_state_dict(state["scaler"])
        self.step, self.epoch, self._place = kept.step, state["epoch"], state["place"]
        self.seconds = state["seconds"]
        self.history = [(int(at), float(loss)) for at, loss in state["history"]]
        self._meter.restore(state["losses"])
        self._saved_step, self._saved_s = self.step, self.seconds
        if self.config.batch_size != saved.batch_size:
            # Other batches than those it was in the middle of: the next epoch begins.
            self.epoch, self._place = self.epoch + 1, 0
        checkpoints.unpack_rng(stored, state["rng"])

    def _warm_start(self, base: Base) -> None:
        taken = self.network.warm_start(base.weights)
        if taken < LEAST_OF_BASE:
            raise TrainerError(
                "base.other",
                f"The base {Path(self._job.spec.base).name} is of another kind: only {taken:.0%} of its weights fit a"
                f" voice of the quality {self._job.quality.name!r}. Choose the quality it was made with, or no base.",
            )
        logger.info("%.1f %% of the weights come from the base.", 100 * taken)

    # --- what goes wrong -----------------------------------------------------------------------------------------------

    def _halve(self, error: Exception) -> None:
        """Go on from the last checkpoint with half the batch."""
        if self.config.batch_size == 1:
            where = "graphics card" if self._job.device.type == "cuda" else "computer"
            raise TrainerError(
                "memory.full",
                f"The memory of this {where} is too small even for one clip at a time. Choose the quality x_low, shorter"
                " clips, or the quick trainer.",
            ) from error
        size = self.config.batch_size // 2
        self._reporter.warning(
            f"The memory is full with {self.config.batch_size} clips at a time; going on with {size}."
        )
        self.config = replace(self.config, batch_size=size)
        self._start_over()

    def _diverged(self) -> None:
        """The numbers ran away: go on from the last checkpoint with half the learning rate."""
        self._runaways += 1
        if self._runaways > MOST_RUNAWAYS:
            raise TrainerError(
                "train.diverged",
                f"The training ran away {self._runaways} times in spite of a lower learning rate. Look at the clips in the"
                " dataset doctor: silence and noise do that. Then train from another base, or with precision 32.",
            )
        self._reporter.warning(
            f"The losses are no numbers any more at step {self.step:,}; going on from the last checkpoint with half the"
            " learning rate."
        )
        self.config = replace(self.config, rate_scale=self.config.rate_scale / 2)
        self._start_over()

    def _start_over(self) -> None:
        del self.network, self.optimizers
        self._ahead = None
        if self._job.device.type == "cuda":
            torch.cuda.empty_cache()
        self._begin()

    # --- what is heard and seen ----------------------------------------------------------------------------------------

    @torch.no_grad()
    def validate(self) -> dict[str, float]:
        """Mean losses on the clips that were held back, always with the same noise; the training does not notice."""
        device = self._job.device
        sums: dict[str, float] = {}
        clips = sorted(self._held_back, key=lambda clip: clip.samples)
        _speak_mode(self.network)
        try:
            with torch.random.fork_rng([device] if device.type == "cuda" else []):
                torch.manual_seed(self.config.seed)
                for at in range(0, len(clips), VALIDATION_BATCH):
                    some = clips[at : at + VALIDATION_BATCH]
                    made = batch(some, self._sounds).to(device)
                    found = step.losses(self.network, made, self.config.precision).values()
                    for name, value in found.items():
                        sums[name] = sums.get(name, 0.0) + value * len(some)
        finally:
            _train_mode(self.network)
        return {name: value / len(clips) for name, value in sums.items()}

    def _is_sample_due(self) -> bool:
        every = self.config.sample_every
        wanted = self._steering.wants_sample()
        return wanted or (every > 0 and self.step % every == 0 and self.step != self._saved_step)

    def _say_test_sentence(self, checkpoint: str) -> None:
        sound = self._spoken(self._text_ids)
        name = f"step-{self.step:07d}.wav"
        path = _write_sample(self._job.folder, name, sound, self._job.quality.rate_hz)
        self._reporter.sample(
            step=self.step,
            path=path,
            text=self._text,
            duration_s=round(sound.size / self._job.quality.rate_hz, 3),
            checkpoint=checkpoint,
        )

    def _draw_and_score(self, checkpoint: str) -> None:
        """What the voice makes of clips that were held back, beside the clips."""
        some = self._held_back[:MOST_SCORED]
        rate_hz = self._job.quality.rate_hz
        real = [self._sounds.clip(clip) for clip in some]
        made = [self._spoken(clip.ids) for clip in some]
        paths = {}
        for name, sound in (("target", real[0]), ("made", made[0])):
            file = self._job.folder / SAMPLES / f"step-{self.step:07d}-{name}.png"
            file.write_bytes(picture(sound, rate_hz))
            paths[name] = file.relative_to(self._job.folder).as_posix()
        self._reporter.picture(step=self.step, target=paths["target"], made=paths["made"])
        self._reporter.scores(checkpoint, **compare(made, real, rate_hz).as_dict())

    def _spoken(self, ids: tuple[int, ...]) -> exporting.FloatArray:
        _speak_mode(self.network)
        try:
            return exporting.speak(self.network.generator, ids)
        finally:
            _train_mode(self.network)

    def _tell(self) -> None:
        config, losses = self.config, self._meter.losses
        mel = losses.pop("mel", None)
        speed = self._meter.steps_per_s
        limits = {"step": self.step, "steps": config.steps, "spent_s": self.seconds}
        self._reporter.progress(
            fraction=fraction(**limits, seconds=config.seconds),  # type: ignore[arg-type]  # the dict mixes kinds
            step=self.step,
            steps=config.steps,
            epoch=self.epoch,
            loss={
                "train": mel,
                "validation": self.history[-1][1] if self.history else None,
                **losses,
            },
            steps_per_s=round(speed, 3) if speed else None,
            eta_s=eta_s(**limits, seconds=config.seconds, steps_per_s=speed),  # type: ignore[arg-type]  # as above
            memory_mb=_memory_mb(self._job.device),
            learning_rate=self.optimizers.generator.param_groups[0]["lr"],
            verdict=verdict(self.history),
        )

    def _in_words(self) -> str:
        where = (
            torch.cuda.get_device_name(self._job.device)
            if self._job.device.type == "cuda"
            else "CPU"
        )
        return (
            f"{len(self._clips)} clips, {len(self._held_back)} held back to check with; quality {self.config.quality}, "
            f"{self.config.batch_size} clips a step, on {where}"
        )


def best_of(store: checkpoints.Checkpoints) -> checkpoints.Kept:
    """The latest checkpoint whose distance of mels is next to the lowest.

    Raises:
        TrainerError: checkpoint.none.
    """
    found = store.all()
    scores = [one.score for one in found if one.score is not None]
    if not scores:
        raise TrainerError(
            "checkpoint.none",
            "This training has no checkpoint yet. Let it run a few minutes first.",
        )
    near = min(scores) * NEARLY_BEST
    return [one for one in found if one.score is not None and one.score <= near][-1]


def _export(
    spec: JobSpec,
    trained: JobSpec,
    folder: Path,
    source: Path,
    chosen: checkpoints.Kept,
    reporter: Reporter,
    steering: Steering,
) -> dict[str, Any]:
    """Write the voice into ``folder`` and let it speak in a fresh process; what is told with the line done."""
    reporter.state(State.EXPORT)
    stored = _stored(chosen)
    quality = _quality_in(stored)
    name = spec.name or trained.name or "voice"
    text = sentence_of(trained)
    target = folder / EXPORT
    target.mkdir(parents=True, exist_ok=True)
    done = exporting.export(
        stored.tensors,
        quality,
        target / f"{_file_name(name)}.onnx",
        language=trained.language,
        name=name,
        test_ids=dataset.padded_ids(sentences(text, trained.language)[0]),
    )
    result = {
        "model": done.path.relative_to(folder).as_posix(),
        "checkpoint": chosen.id,
        "step": chosen.step,
        "difference": done.difference,
        "size_bytes": done.size_bytes,
        "scores": {},
    }
    if spec.options.get("verify") is False and spec.command == "export":
        return result
    reporter.state(State.VERIFY)
    verdict = verify(
        folder,
        done.path,
        language=trained.language,
        rate_hz=quality.rate_hz,
        say=[text],
        references=_references(source),
        reporter=reporter,
        steering=steering,
    )
    reporter.scores(chosen.id, **verdict.scores.as_dict())
    return result | {
        "scores": verdict.scores.as_dict(),
        "narrator_similarity": verdict.narrator_similarity,
        "sentences": verdict.sentences,
        "real_time_factor": verdict.real_time_factor,
    }


def _references(source: Path) -> list[Reference]:
    """Recordings of the speaker that were held back, as far as they are still there."""
    try:
        apart = set(read_json(source / DATASET / MANIFEST)["held_back"])
        clips = read_clips(source)
    except (ProtocolError, KeyError, TypeError):
        return []
    found = [(clip, source / clip.path) for clip in clips if clip.uid in apart]
    return [Reference(clip.text, str(path)) for clip, path in found if path.is_file()]


def _stored(chosen: checkpoints.Kept) -> checkpoints.Checkpoint:
    try:
        return checkpoints.read(chosen.path)
    except checkpoints.CheckpointError as error:
        raise TrainerError("checkpoint.broken", str(error)) from error


def _quality_in(stored: checkpoints.Checkpoint) -> Quality:
    try:
        return QUALITIES[VitsConfig.from_dict(stored.state["config"]).quality]
    except (KeyError, TypeError) as error:
        raise TrainerError(
            "checkpoint.broken", "This checkpoint is none of the full trainer's."
        ) from error


def _chosen(folder: Path) -> tuple[JobSpec, JobSpec, Path, checkpoints.Kept]:
    """The job, the training's job and folder, and the checkpoint that is meant."""
    spec = read_job(folder)
    elsewhere = str(spec.options.get("job") or "")
    source = Path(elsewhere) if elsewhere else folder
    store = checkpoints.Checkpoints(source)
    id = str(spec.options.get("checkpoint") or "")
    try:
        chosen = store.named(id) if id else best_of(store)
    except checkpoints.CheckpointError as error:
        raise TrainerError("checkpoint.none", str(error)) from error
    return spec, read_job(source), source, chosen


def _device(spec: JobSpec) -> torch.device:
    has_gpu = torch.cuda.is_available()
    if spec.device == "cuda" and not has_gpu:
        raise TrainerError(
            "device.missing",
            "The job wants a graphics card, and torch finds none here. Choose the device auto or cpu, or install the"
            " driver and the CUDA build of torch.",
        )
    if spec.device not in ("auto", "cpu", "cuda"):
        raise TrainerError("job.option", f"The job's device is {spec.device[:40]!r}; it must be auto, cpu or cuda.")  # fmt: skip
    if not has_gpu or spec.device == "cpu":
        return torch.device("cpu")
    torch.backends.cuda.matmul.allow_tf32 = True  # as piper's trainer does
    torch.backends.cudnn.allow_tf32 = True
    return torch.device("cuda")


def _quality(spec: JobSpec, base: Base | None) -> Quality:
    wanted = str(spec.options.get("quality") or "")
    if wanted:
        if wanted not in QUALITIES:
            known = ", ".join(QUALITIES)
            raise TrainerError("job.option", f"There is no quality {wanted[:40]!r}; there are {known}.")  # fmt: skip
        return QUALITIES[wanted]
    of_base = quality_of(base.weights, spec.rate_hz) if base else None
    if of_base is not None:
        return of_base
    return QUALITIES["low" if spec.rate_hz == QUALITIES["low"].rate_hz else "medium"]


def _weights_of(quality: Quality) -> int:
    """How many weights both networks have, without making them."""
    with torch.device("meta"):
        return sum(one.numel() for one in build(quality).state().values())


def _is_full_memory(error: Exception) -> bool:
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    words = str(error)
    return "can't allocate memory" in words or "out of memory" in words


def _memory_mb(device: torch.device) -> int:
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device) / 2**20)
    return int(psutil.Process().memory_info().rss / 2**20)


def _said(losses: dict[str, float]) -> dict[str, float]:
    """Losses on the clips that were held back, as a checkpoint tells them."""
    return {"validation": losses["mel"], **{name: one for name, one in losses.items() if name != "mel"}}  # fmt: skip


def _write_sample(folder: Path, name: str, sound: exporting.FloatArray, rate_hz: int) -> str:
    """Write a WAV into samples/, as loud as PiperVoice would play it; its path relative to the job folder."""
    target = folder / SAMPLES
    target.mkdir(parents=True, exist_ok=True)
    loudest = float(np.abs(sound).max(initial=0.01))
    path = target / name
    path.write_bytes(to_wav(to_pcm16(sound / max(loudest, 0.01)), rate_hz))
    return path.relative_to(folder).as_posix()


def _file_name(name: str) -> str:
    kept = "".join(one if one.isascii() and (one.isalnum() or one in "-_") else "-" for one in name)
    return kept.strip("-")[:80] or "voice"


def _train_mode(network: Network) -> None:
    network.generator.train()
    network.discriminator.train()


def _speak_mode(network: Network) -> None:
    network.generator.eval()
    network.discriminator.eval()
