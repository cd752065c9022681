"""The quick clone from clips to a voice: preflight, prepare, align, train, export, verify, each only where it is missing.

Public names: the commands `prepare`, `train`, `export` and `evaluate`; `learn(...)`, the training loop itself. It reads
from top to bottom; what it needs of a step is in `voice_trainer.quick.network`, every figure in `voice_trainer.config`.
"""

from __future__ import annotations

import logging
import math
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import psutil
import torch
from torch import Tensor

from backend.audio.levels import to_pcm16
from backend.audio.wav import to_wav
from voice_trainer.checkpoint import (
    Checkpoint,
    CheckpointError,
    Checkpoints,
    Kept,
    fill,
    pack,
    pack_optimizer,
    pack_rng,
    read,
    unpack_optimizer,
    unpack_rng,
)
from voice_trainer.config import Precision, TrainConfig, sentence_of
from voice_trainer.dataset import Clip, Dataset, read_manifest, read_sound
from voice_trainer.dataset import prepare as prepare_dataset
from voice_trainer.evaluate import Scores, compare, picture
from voice_trainer.export import Reference, verify, write_quick
from voice_trainer.loop import Reporter, Steering, Stopped, Threads, TrainerError, cpu_threads
from voice_trainer.preflight import VOICE_NAME, Ready, check
from voice_trainer.protocol import (
    EXPORT,
    SAMPLES,
    ClipSpec,
    JobSpec,
    State,
    read_clips,
    read_job,
    read_prompts,
)
from voice_trainer.quick import base as shipped
from voice_trainer.quick.features import GRIDS, SpeakerStatistics
from voice_trainer.quick.network import (
    PAD_ID,
    Batch,
    Losses,
    NetworkConfig,
    QuickNetwork,
    Voice,
    losses,
    parameter_groups,
)
from voice_trainer.quick.vocoder import Vocoder
from voice_trainer.text.phonemes import sentences

logger = logging.getLogger(__name__)

FloatArray = npt.NDArray[np.float32]

LIBRARIES = (
    *("torch", "onnx", "onnxruntime", "piper", "safetensors", "soundfile", "soxr"),
    *("numba", "pyworld", "scipy", "PIL"),
)
CHECKPOINT_BYTES = 60 << 20  # weights, their average and two moments of 3.6 M parameters
DB_OF_LIKENESS = 25.0
"""What a speaker who is not at all alike weighs against the spectral distance: 0.01 of similarity as much as 0.25 dB."""

LEAST_STEPS = 60
"""A budget in seconds gives at least so many steps (or one for each of its seconds, where that is less)."""
SCORED_CLIPS = 4  # held-back clips a checkpoint speaks: more would cost more than a second
SAMPLE_SCALES = (0.667, 1.0, 0.0)  # piper's, without random rhythm: samples are to be compared
BFLOAT16_TESTS = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
"""Of torch.cpu: instructions that multiply bfloat16."""

PEAK = 0.9  # of a sample's WAV file
RECENT_STEPS = 25  # that the training loss on screen is the mean of


# --- commands ---------------------------------------------------------------------------------------------------------


def prepare(folder: Path, reporter: Reporter) -> None:
    """Check, analyse and align; nothing is trained."""
    spec = read_job(folder)
    steering = Steering(folder)
    config = _config(spec)
    ready = _preflight(folder, spec, reporter)
    dataset = _prepared(folder, spec, config, ready, reporter, steering)
    found = dataset.manifest
    reporter.done(
        {"clips": found.clips, "minutes": found.minutes, "data_sha256": found.data_sha256}
    )


def train(folder: Path, reporter: Reporter) -> None:
    """Everything that is missing, up to a voice that was heard to speak."""
    spec = read_job(folder)
    steering = Steering(folder)
    config = _config(spec)
    ready = _preflight(folder, spec, reporter)
    network = starting_network(spec, config)
    dataset = _prepared(folder, spec, config, ready, reporter, steering)
    learn(folder, spec, config, network, dataset, reporter, steering)
    best = Checkpoints(folder, spec.keep).best()
    if best is None:
        raise TrainerError("train.nothing", "No checkpoint was written; train at least one step.")
    _finish(folder, folder, spec, best, reporter, steering)


def export(folder: Path, reporter: Reporter) -> None:
    """Make a voice of a checkpoint, of this job or of the one that options name."""
    spec = read_job(folder)
    source = Path(spec.options.get("job") or folder)
    trained = read_job(source)
    store = Checkpoints(source, trained.keep)
    wanted = str(spec.options.get("checkpoint") or "")
    try:
        kept = store.named(wanted) if wanted else store.best()
    except CheckpointError as error:
        raise TrainerError("checkpoint.missing", str(error)) from error
    if kept is None:
        raise TrainerError(
            "checkpoint.missing", f"Job {source.name} has no checkpoint to make a voice of."
        )
    named = replace(
        trained, name=spec.name or trained.name, options={**trained.options, **spec.options}
    )
    _finish(folder, source, named, kept, reporter, Steering(folder))


def evaluate(folder: Path, reporter: Reporter) -> None:
    """Score every kept checkpoint on the held-back clips."""
    spec = read_job(folder)
    source = Path(spec.options.get("job") or folder)
    trained = read_job(source)
    steering = Steering(folder)
    references = _references(source)
    kept = Checkpoints(source).all()
    reporter.state(State.VERIFY, f"{len(kept)} checkpoints")
    results = {}
    for index, one in enumerate(kept):
        steering.obey(reporter)
        network = _speaking(one)
        scores = score(network, references, trained.language)
        reporter.scores(one.id, **scores.as_dict(), loss=one.score)
        results[one.id] = scores.as_dict()
        reporter.progress(fraction=(index + 1) / len(kept), message=one.id)
    reporter.done({"scores": results})


# --- before the first step --------------------------------------------------------------------------------------------


def starting_network(spec: JobSpec, config: TrainConfig) -> QuickNetwork:
    """The base that a job asks for, or random weights; the speaker's statistics are still neutral.

    Raises:
        TrainerError: base.missing, base.broken or base.changed.
    """
    torch.manual_seed(config.seed)
    if spec.base == "none":
        width = spec.options.get("channels")
        usual = NetworkConfig(rates_hz=(spec.rate_hz,))
        return QuickNetwork(replace(usual, channels=int(width)) if width else usual)
    try:
        if not spec.base:
            return shipped.load(spec.rate_hz, spec.language)
        return _base_at(Path(spec.base), spec)
    except FileNotFoundError as error:
        raise TrainerError(
            "base.missing",
            "The base that ships with Luma is not installed whole. Install Luma anew, or train from scratch.",
        ) from error
    except (CheckpointError, ValueError, KeyError, TypeError) as error:
        raise TrainerError("base.broken", f"The base cannot be used: {error}") from error


def network_of(checkpoint: Checkpoint) -> QuickNetwork:
    """The averaged network of a checkpoint, ready to speak.

    Raises:
        CheckpointError: Its weights do not fit its own description.
    """
    try:
        network = QuickNetwork(NetworkConfig.from_dict(checkpoint.state["network"]))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise CheckpointError(
            f"The checkpoint does not describe a network of the quick trainer ({error})."
        ) from error
    fill(network, checkpoint.part("average"), "The checkpoint")
    return network.eval()


def _base_at(path: Path, spec: JobSpec) -> QuickNetwork:
    """A checkpoint of another quick training as a base."""
    from voice_trainer.dataset import file_sha256

    if not path.is_file():
        raise TrainerError("base.missing", f"There is no base at {path}. Choose another, or none.")
    if spec.base_sha256 and file_sha256(path) != spec.base_sha256.lower():
        raise TrainerError(
            "base.changed", f"The base {path.name} is not the file it should be. Fetch it again."
        )
    network = network_of(read(path))
    if network.rate_hz != spec.rate_hz:
        raise TrainerError(
            "base.broken",
            f"The base {path.name} speaks at {network.rate_hz:,} Hz and the voice is to have {spec.rate_hz:,} Hz.",
        )
    return network


def _config(spec: JobSpec) -> TrainConfig:
    try:
        return TrainConfig.of(spec, precision_of(str(spec.options.get("precision") or "auto")))
    except (ValueError, TypeError) as error:
        raise TrainerError("job.broken", str(error)) from error


def precision_of(wanted: str) -> Precision:
    """What to compute in: bfloat16 where the processor multiplies it in hardware (else it is emulated, and slower).

    Raises:
        ValueError: There is no such precision.
    """
    if wanted == "auto":
        found = (getattr(torch.cpu, name, None) for name in BFLOAT16_TESTS)
        return "bfloat16" if any(has is not None and has() for has in found) else "float32"
    if wanted in ("bfloat16", "float32"):
        return wanted  # type: ignore[return-value]  # just looked
    raise ValueError(f"The job's precision is {wanted!r}; auto, float32 and bfloat16 are known.")


def _preflight(folder: Path, spec: JobSpec, reporter: Reporter) -> Ready:
    return check(
        folder,
        spec,
        reporter,
        rates_hz=tuple(GRIDS),
        checkpoint_bytes=CHECKPOINT_BYTES,
        libraries=LIBRARIES,
    )


def _prepared(
    folder: Path,
    spec: JobSpec,
    config: TrainConfig,
    ready: Ready,
    reporter: Reporter,
    steering: Steering,
) -> Dataset:
    return prepare_dataset(
        folder,
        spec,
        ready.clips,
        ready.digests,
        reporter,
        steering,
        config=config,
        threads=cpu_threads(spec.threads),
    )


# --- the training -----------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Progress:
    """Where a training is; everything that decides the next step beside weights, optimizer and random numbers.

    Attributes:
        step: Steps made.
        seconds: Time in them.
        epoch, index: Place in the order of batches.
        pieces: Parts a batch is cut into, because it did not fit into memory whole.
        validation: (step, loss on the held-back clips).
    """

    step: int = 0
    seconds: float = 0.0
    epoch: int = 0
    index: int = 0
    pieces: int = 1
    validation: list[tuple[int, float]] = field(default_factory=list)

    def share(self, config: TrainConfig) -> float:
        """How much of the budget is used up, 0-1."""
        shares = [0.0]
        if config.steps is not None:
            shares.append(self.step / config.steps)
        if config.seconds is not None:
            share = self.seconds / config.seconds
            # Beside a machine that is busy all over, 40 seconds were one step: then time alone ends nothing.
            least = min(LEAST_STEPS, int(config.seconds))
            shares.append(min(share, self.step / least) if least else share)
        return min(1.0, max(shares))


def learn(
    folder: Path,
    spec: JobSpec,
    config: TrainConfig,
    network: QuickNetwork,
    dataset: Dataset,
    reporter: Reporter,
    steering: Steering,
) -> Progress:
    """Train until the budget is used up, from the last checkpoint if there is one.

    The averaged weights are what is measured, heard and exported. Nothing but the steps themselves touches the random
    numbers, so that a training that was interrupted, watched or asked for samples ends with the same weights.

    Raises:
        Stopped: As asked; a checkpoint was written.
        TrainerError: A single clip does not fit into memory.
    """
    device = torch.device("cuda" if _wants_cuda(spec) else "cpu")
    network.set_statistics(SpeakerStatistics.of([one.features.targets() for one in dataset.train]))
    network.to(device).train()
    average = QuickNetwork(network.config).to(device).eval()
    average.load_state_dict(network.state_dict())
    optimizer = torch.optim.AdamW(
        parameter_groups(network, 1.0 if spec.base == "none" else config.reading_share),
        lr=config.learning_rate,
        betas=(config.beta1, config.beta2),
        weight_decay=config.weight_decay,
    )
    torch.manual_seed(config.seed)
    progress = Progress()
    store = Checkpoints(folder, spec.keep)
    _resume(store, network, average, optimizer, progress, dataset, reporter)
    clips = [_tensors(one, device) for one in dataset.train]
    held = collate([_tensors(one, device) for one in dataset.held_back])
    lengths = [len(one.features) for one in dataset.train]
    ear = Ear(folder, spec, dataset, reporter)
    meter = Meter(config, reporter)
    saved_at_s = progress.seconds

    def save() -> None:
        nonlocal saved_at_s
        _measure(progress, average, held)
        heard = ear.score(average)
        _save(store, network, average, optimizer, progress, config, dataset, reporter, heard)
        ear.tell(heard, progress)
        saved_at_s = progress.seconds

    reporter.state(State.TRAIN, _what_is_trained(dataset, config, spec))
    if progress.step == 0 and spec.base != "none":
        ear.listen(average, 0)  # the base in this voice's pitch: what there is to improve
    is_saved = True
    heard_at = threads = 0
    free = Threads(spec.threads)
    try:
        while progress.share(config) < 1.0:
            steering.obey(reporter, before_pause=None if is_saved else save)
            allowed = free.now(steering.threads)
            if allowed != threads:
                threads = allowed
                torch.set_num_threads(threads)
            batches = order(lengths, config.batch_size, config.seed, progress.epoch)
            chosen = [clips[index] for index in batches[progress.index]]

            begin = time.perf_counter()
            before = progress.share(config)
            rate = learning_rate(config, progress.step, before)
            for group in optimizer.param_groups:
                group["lr"] = rate * group["share"]
            try:
                found = _step(network, optimizer, chosen, progress.pieces, config, device)
            except (MemoryError, RuntimeError) as error:
                if not is_out_of_memory(error):
                    raise
                _cut_batches(progress, len(chosen), reporter, error)
                continue
            follow(average, network, average_decay(config, progress.step))
            took_s = time.perf_counter() - begin

            progress.step += 1
            progress.seconds += took_s
            progress.index += 1
            if progress.index == len(batches):
                progress.epoch, progress.index = progress.epoch + 1, 0
            is_saved = False
            if not math.isfinite(found["train"]):
                raise TrainerError(
                    "train.diverged",
                    f"The loss at step {progress.step:,} is no number. Resume goes on from the last checkpoint; "
                    "if it happens again, examine the clips with the doctor.",
                )
            if progress.step % config.validate_every == 0:
                progress.validation.append((progress.step, validate(average, held)))
            meter.tell(progress, found, took_s, rate)

            is_heard = config.is_sample_due(progress.step, before, progress.share(config))
            wants_sample, wants_checkpoint = steering.wants_sample(), steering.wants_checkpoint()
            every = config.checkpoint_every
            is_scheduled = progress.step % every == 0 if every else is_heard
            is_overdue = progress.seconds - saved_at_s >= config.checkpoint_every_s
            if is_scheduled or is_overdue or wants_checkpoint:
                save()
                is_saved = True
            if is_heard or wants_sample:
                ear.listen(average, progress.step)
                heard_at = progress.step
    except Stopped:
        if not is_saved:
            save()
        raise
    if not is_saved:
        save()
        if heard_at != progress.step:
            ear.listen(average, progress.step)
    return progress


def _step(
    network: QuickNetwork,
    optimizer: torch.optim.Optimizer,
    clips: Sequence[Tensors],
    pieces: int,
    config: TrainConfig,
    device: torch.device,
) -> dict[str, float]:
    """One update from one batch, computed in ``pieces`` parts; the losses by name."""
    optimizer.zero_grad(set_to_none=True)
    frames = sum(len(one.targets) for one in clips)
    sums: dict[str, float] = {}
    size = math.ceil(len(clips) / pieces)
    for start in range(0, len(clips), size):
        part = clips[start : start + size]
        share = sum(len(one.targets) for one in part) / frames
        with torch.autocast(
            device.type, dtype=torch.bfloat16, enabled=config.precision == "bfloat16"
        ):
            found = losses(network, collate(part))
        torch.autograd.backward(found.total * share)
        for name, value in _named(found).items():
            sums[name] = sums.get(name, 0.0) + share * value
    torch.nn.utils.clip_grad_norm_(network.parameters(), config.gradient_norm)
    optimizer.step()
    return sums


def learning_rate(config: TrainConfig, step: int, share: float) -> float:
    """Of the next step: a linear rise, then half a cosine over the budget down to a small rest."""
    rise = min(1.0, (step + 1) / config.warmup_steps)
    end = config.learning_rate_end
    fall = end + (1 - end) * 0.5 * (1 + math.cos(math.pi * share))
    return config.learning_rate * rise * fall


def average_decay(config: TrainConfig, step: int) -> float:
    """Of the moving average at a step: young averages forget faster."""
    return min(config.average_decay, (step + 1) / (step + 20))


@torch.no_grad()
def follow(average: QuickNetwork, network: QuickNetwork, decay: float) -> None:
    """Move the averaged weights towards the network's."""
    own: list[Tensor] = [*average.parameters()]
    towards: list[Tensor] = [*network.parameters()]
    torch._foreach_lerp_(own, towards, 1 - decay)


@torch.no_grad()
def validate(average: QuickNetwork, held: Batch) -> float:
    """Loss of the averaged network on the held-back clips."""
    return float(losses(average, held).total)


def order(lengths: Sequence[int], batch_size: int, seed: int, epoch: int) -> list[list[int]]:
    """The batches of an epoch: clips of like length together, since padding is wasted work, otherwise by chance.

    A pure function, so that a resumed training needs no more than its place in it.
    """
    chance = np.random.default_rng([seed, epoch])
    # A tenth of the length as noise mixes the neighbours anew each time.
    keys = np.asarray(lengths) * (1 + 0.1 * chance.standard_normal(len(lengths)))
    ranked = np.argsort(keys, kind="stable").tolist()
    batches = [ranked[start : start + batch_size] for start in range(0, len(ranked), batch_size)]
    return [batches[index] for index in chance.permutation(len(batches)).tolist()]


def verdict(validation: Sequence[tuple[int, float]]) -> str:
    """Whether going on is worth it, in plain words; empty while there is too little to say.

    Compares the best loss of the last fifth of the steps (at least 200) with the best before it: less than 1 % is flat.
    """
    if len(validation) < 4:
        return ""
    now = validation[-1][0]
    window = max(200, now // 5)
    before = [loss for step, loss in validation if step <= now - window]
    recent = [loss for step, loss in validation if step > now - window]
    if len(before) < 2 or not recent:
        return "learning the voice"
    best_before, best = min(before), min(recent)
    change = (best - best_before) / best_before
    if change < -0.01:
        return f"still improving: {100 * change:.0f} % in the last {window:,} steps".replace(
            "-", "\u2212"
        )
    lowest = min(loss for _, loss in validation)
    since = now - next(step for step, loss in validation if loss <= lowest * 1.01)
    if validation[-1][1] > lowest * 1.05:
        return f"getting worse for {since:,} steps: stop, the best checkpoint is kept"
    return f"flat for {since:,} steps: you can stop"


def is_out_of_memory(error: BaseException) -> bool:
    """Whether a step failed for want of memory."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    words = str(error).lower()
    return isinstance(error, RuntimeError) and (
        "not enough memory" in words or "can't allocate memory" in words or "out of memory" in words
    )


def _cut_batches(progress: Progress, clips: int, reporter: Reporter, error: BaseException) -> None:
    if progress.pieces >= clips:
        raise TrainerError(
            "memory.full",
            "There is not enough memory for a single clip. Close other programs, or leave out the longest clips, "
            "then resume.",
        ) from error
    progress.pieces *= 2
    reporter.warning(
        f"There is not enough memory for {clips} clips at once; going on with {math.ceil(clips / progress.pieces)}."
    )


# --- checkpoints ------------------------------------------------------------------------------------------------------


def _measure(progress: Progress, average: QuickNetwork, held: Batch) -> None:
    """Make sure that the current step has a validation loss."""
    if not progress.validation or progress.validation[-1][0] != progress.step:
        progress.validation.append((progress.step, validate(average, held)))


def _save(
    store: Checkpoints,
    network: QuickNetwork,
    average: QuickNetwork,
    optimizer: torch.optim.Optimizer,
    progress: Progress,
    config: TrainConfig,
    dataset: Dataset,
    reporter: Reporter,
    heard: Scores,
) -> None:
    moments, numbers = pack_optimizer(optimizer)
    chance, chance_numbers = pack_rng()
    score = progress.validation[-1][1] if progress.validation else None
    kept = store.save(
        progress.step,
        {
            **pack("model", network.state_dict()),
            **pack("average", average.state_dict()),
            **moments,
            **chance,
        },
        {
            "trainer": "quick",
            "seconds": progress.seconds,
            "epoch": progress.epoch,
            "index": progress.index,
            "pieces": progress.pieces,
            "validation": progress.validation,
            "config": config.as_dict(),
            "network": network.config.as_dict(),
            "optimizer": numbers,
            "rng": chance_numbers,
            "data_sha256": dataset.manifest.data_sha256,
            "language": dataset.manifest.language,
        },
        demerit(heard),
    )
    best = store.best()
    reporter.checkpoint(
        kept.id,
        step=kept.step,
        path=f"{store.folder.name}/{kept.path.name}",
        loss={} if score is None else {"validation": score},
        is_best=best is not None and best.id == kept.id,
        size_bytes=kept.size_bytes,
    )
    for id in store.prune():
        reporter.dropped(id)


def _resume(
    store: Checkpoints,
    network: QuickNetwork,
    average: QuickNetwork,
    optimizer: torch.optim.Optimizer,
    progress: Progress,
    dataset: Dataset,
    reporter: Reporter,
) -> None:
    """Go back to the last checkpoint that can be read; nothing happens when there is none."""
    for kept in reversed(store.all()):
        try:
            found = read(kept.path)
            state = found.state
            fill(network, found.part("model"), "The checkpoint")
            fill(average, found.part("average"), "The checkpoint")
            unpack_optimizer(optimizer, found, state["optimizer"])
            unpack_rng(found, state["rng"])
            progress.step, progress.seconds = int(state["step"]), float(state["seconds"])
            progress.epoch, progress.index = int(state["epoch"]), int(state["index"])
            progress.pieces = int(state["pieces"])
            progress.validation = [(int(step), float(loss)) for step, loss in state["validation"]]
        except (CheckpointError, KeyError, TypeError, ValueError) as error:
            reporter.warning(f"The checkpoint {kept.id} is passed over: {error}")
            continue
        if state.get("data_sha256") != dataset.manifest.data_sha256:
            progress.epoch, progress.index = progress.epoch + 1, 0
            reporter.warning(
                "The clips have changed since; the training goes on with the new ones."
            )
        return


def _speaking(kept: Kept) -> QuickNetwork:
    """The averaged network of a checkpoint on the disk."""
    try:
        return network_of(read(kept.path))
    except CheckpointError as error:
        raise TrainerError("checkpoint.broken", str(error)) from error


# --- batches ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Tensors:
    """One clip: ids and durations of shape (symbols,), targets of shape (frames, width)."""

    ids: Tensor
    durations: Tensor
    targets: Tensor
    rate_hz: int


def _tensors(clip: Clip, device: torch.device) -> Tensors:
    return Tensors(
        torch.from_numpy(clip.ids).to(device),
        torch.from_numpy(clip.durations).to(device),
        torch.from_numpy(clip.features.targets()).to(device),
        clip.features.rate_hz,
    )


def collate(clips: Sequence[Tensors]) -> Batch:
    """Clips of one speaker side by side, padded at the end."""

    def padded(values: list[Tensor], filling: float = 0.0) -> Tensor:
        return torch.nn.utils.rnn.pad_sequence(values, batch_first=True, padding_value=filling)

    return Batch(
        ids=padded([one.ids for one in clips], PAD_ID),
        durations=padded([one.durations for one in clips]),
        targets={clips[0].rate_hz: padded([one.targets for one in clips])},
        speakers=torch.zeros(len(clips), dtype=torch.int64, device=clips[0].ids.device),
    )


# --- telling and hearing ----------------------------------------------------------------------------------------------


class Meter:
    """Tells how the training goes, in figures and in words."""

    def __init__(self, config: TrainConfig, reporter: Reporter) -> None:
        self._config = config
        self._reporter = reporter
        self._recent: deque[dict[str, float]] = deque(maxlen=RECENT_STEPS)
        self._times: deque[float] = deque(maxlen=RECENT_STEPS)
        self._process = psutil.Process()
        self._memory_mb = 0.0
        self._verdict = ""

    def tell(self, progress: Progress, found: dict[str, float], took_s: float, rate: float) -> None:
        """After every step."""
        self._recent.append(found)
        self._times.append(took_s)
        if progress.step % RECENT_STEPS == 1:
            self._memory_mb = self._process.memory_info().rss / 1e6
        if progress.step % self._config.validate_every == 0:
            self._verdict = verdict(progress.validation)
        typical_s = sorted(self._times)[len(self._times) // 2]
        count = len(self._recent)
        loss = {name: sum(one[name] for one in self._recent) / count for name in found}
        if progress.validation:
            loss["validation"] = progress.validation[-1][1]
        self._reporter.progress(
            fraction=progress.share(self._config),
            step=progress.step,
            steps=self._config.steps,
            loss=loss,
            steps_per_s=1 / typical_s,
            eta_s=self._eta_s(progress, typical_s),
            memory_mb=self._memory_mb,
            learning_rate=rate,
            verdict=self._verdict,
        )

    def _eta_s(self, progress: Progress, typical_s: float) -> float | None:
        limits = []
        if self._config.steps is not None:
            limits.append((self._config.steps - progress.step) * typical_s)
        if self._config.seconds is not None:
            least = min(LEAST_STEPS, int(self._config.seconds))
            limits.append(
                max(self._config.seconds - progress.seconds, (least - progress.step) * typical_s)
            )
        return max(0.0, min(limits)) if limits else None


class Ear:
    """Lets checkpoints speak: the test sentence, pictures of a held-back clip, and scores against its recording."""

    def __init__(self, folder: Path, spec: JobSpec, dataset: Dataset, reporter: Reporter) -> None:
        self._folder = folder
        self._spec = spec
        self._reporter = reporter
        self._sentence = sentence_of(spec)
        self._shown = dataset.held_back[0]
        self._references = _references_of(dataset.manifest.held_back, read_clips(folder), folder)

    def listen(self, network: QuickNetwork, step: int) -> None:
        """Speak the test sentence, and draw a held-back clip beside its recording."""
        samples = speak(network, [self._sentence], self._spec.language)[0]
        rate_hz = network.rate_hz
        path = self._folder / SAMPLES / f"step-{step:07d}.wav"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(to_wav(to_pcm16(samples), rate_hz))
        self._reporter.sample(
            step=step,
            path=f"{SAMPLES}/{path.name}",
            text=self._sentence,
            duration_s=round(samples.size / rate_hz, 3),
            checkpoint=f"step-{step:07d}" if step else "",
        )
        real = read_sound(Path(self._references[0].path), rate_hz)
        pictures = {"target": real, "made": imitate(network, self._shown)}
        for name, sound in pictures.items():
            file = self._folder / SAMPLES / f"{name}-{step:07d}.png"
            file.write_bytes(picture(sound, rate_hz))
        self._reporter.picture(
            step=step,
            target=f"{SAMPLES}/target-{step:07d}.png",
            made=f"{SAMPLES}/made-{step:07d}.png",
        )

    def score(self, network: QuickNetwork) -> Scores:
        """Compare what the network says now with the held-back recordings."""
        return score(network, self._references[:SCORED_CLIPS], self._spec.language)

    def tell(self, scores: Scores, progress: Progress) -> None:
        """Report the scores of this step's checkpoint."""
        loss = progress.validation[-1][1] if progress.validation else None
        self._reporter.scores(f"step-{progress.step:07d}", **scores.as_dict(), loss=loss)


def speak(network: QuickNetwork, texts: Sequence[str], language: str) -> list[FloatArray]:
    """What a network says, one sound per text, as PiperVoice would; the random numbers of the training stay untouched."""
    device = next(network.parameters()).device
    voice = Voice(network, _vocoder(network.rate_hz, device)).eval()
    scales = torch.tensor(SAMPLE_SCALES, device=device)
    sounds = []
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        for text in texts:
            pieces = [np.zeros(network.rate_hz // 20, np.float32)]
            for one in sentences(text, language):
                ids = torch.tensor([one.ids], device=device)
                made, _ = voice(ids, torch.tensor([ids.shape[1]], device=device), scales)
                pieces.append(made[0, 0].cpu().numpy())
            sound = np.concatenate(pieces[1:] or pieces)
            peak = float(np.max(np.abs(sound)))
            sounds.append(np.asarray(sound * np.float32(PEAK / max(peak, 1e-6)), dtype=np.float32))
    return sounds


def imitate(network: QuickNetwork, clip: Clip) -> FloatArray:
    """A clip's text in the clip's own rhythm, so that pictures of both lie over each other."""
    device = next(network.parameters()).device
    with torch.no_grad():
        *frames, _ = network.predict(
            torch.from_numpy(clip.ids)[None].to(device),
            torch.zeros(1, dtype=torch.int64, device=device),
            durations=torch.from_numpy(clip.durations)[None].to(device),
        )
        sound: FloatArray = _vocoder(network.rate_hz, device)(*frames)[0].cpu().numpy()
    return sound


def score(network: QuickNetwork, references: Sequence[Reference], language: str) -> Scores:
    """How near a network comes to recordings of the same sentences."""
    made = speak(network, [one.text for one in references], language)
    real = [read_sound(Path(one.path), network.rate_hz) for one in references]
    return compare(made, real, network.rate_hz)


def demerit(heard: Scores) -> float | None:
    """What the best checkpoint has least of; None while nothing can be measured.

    By ear, not by loss: on 0.4 minutes the held-back loss is least after 49 of 474 steps, where pocketsphinx misses 0.51 of
    the words and Resemblyzer finds a similarity of 0.93; this chooses step 178 with 0.27 and 0.98 (all 474: the same).
    """
    if heard.mcd_db is None:
        return None
    likeness = heard.similarity if heard.similarity is not None else 1.0
    return heard.mcd_db + DB_OF_LIKENESS * (1.0 - likeness)


_vocoders: dict[tuple[int, str], Vocoder] = {}


def _vocoder(rate_hz: int, device: torch.device) -> Vocoder:
    """Its constants take half a second to make, and are always the same."""
    key = (rate_hz, str(device))
    if key not in _vocoders:
        _vocoders[key] = Vocoder(rate_hz).to(device)
    return _vocoders[key]


# --- after the last step ----------------------------------------------------------------------------------------------


def _finish(
    folder: Path,
    source: Path,
    spec: JobSpec,
    kept: Kept,
    reporter: Reporter,
    steering: Steering,
) -> None:
    """Export a checkpoint of ``source`` into ``folder``, let the voice prove itself, and end the job."""
    if not VOICE_NAME.fullmatch(spec.name):
        raise TrainerError("job.broken", f"{spec.name[:80]!r} cannot name a voice.")
    reporter.state(State.EXPORT, kept.id)
    steering.obey(reporter)
    network = _speaking(kept)
    references = _references(source)
    language = str(kept.state.get("language") or spec.language)
    model = folder / EXPORT / f"{spec.name}.onnx"
    texts = [sentence_of(spec), *(one.text for one in references[:3])]
    heard = [clip.text for clip in read_clips(source)[:200]]
    difference = write_quick(
        network,
        model,
        language=language,
        texts=texts,
        vocabulary=[*heard, *read_prompts(language)],
    )
    manifest = read_manifest(source)
    result: dict[str, Any] = {
        "model": f"{EXPORT}/{model.name}",
        "config": f"{EXPORT}/{model.name}.json",
        "checkpoint": kept.id,
        "step": kept.step,
        "seconds": round(float(kept.state.get("seconds", 0.0)), 1),
        "language": language,
        "rate_hz": network.rate_hz,
        "clips": manifest.clips,
        "minutes": manifest.minutes,
        "data_sha256": manifest.data_sha256,
        "size_bytes": model.stat().st_size,
        "onnx_difference": difference,
        "scores": {"loss": kept.score},
    }
    if spec.options.get("verify", True):
        reporter.state(State.VERIFY)
        proof = verify(
            folder,
            model,
            language=language,
            rate_hz=network.rate_hz,
            say=[sentence_of(spec)],
            references=references,
            reporter=reporter,
            steering=steering,
        )
        result["scores"] |= proof.scores.as_dict()
        result["narrator_similarity"] = proof.narrator_similarity
        result["sentences"] = proof.sentences
        result["real_time_factor"] = round(proof.real_time_factor, 4)
        result["has_phoneme_times"] = proof.has_phoneme_times
        reporter.scores(kept.id, **result["scores"])
    reporter.done(result)


def _references(source: Path) -> list[Reference]:
    """The held-back recordings of a prepared job."""
    found = _references_of(read_manifest(source).held_back, read_clips(source), source)
    if not found:
        raise TrainerError(
            "data.missing", f"The held-back clips of job {source.name} are not there any more."
        )
    return found


def _references_of(uids: Sequence[str], clips: Sequence[ClipSpec], folder: Path) -> list[Reference]:
    wanted = set(uids)
    return [
        Reference(clip.text, str(folder / clip.path))
        for clip in clips
        if clip.uid in wanted and (folder / clip.path).is_file()
    ]


# --- small things -----------------------------------------------------------------------------------------------------


def _named(found: Losses) -> dict[str, float]:
    return {
        "train": float(found.total.detach()),
        "envelope": float(found.envelope.detach()),
        "aperiodicity": float(found.aperiodicity.detach()),
        "pitch": float(found.pitch.detach()),
        "voicing": float(found.voicing.detach()),
        "duration": float(found.duration.detach()),
    }


def _wants_cuda(spec: JobSpec) -> bool:
    if spec.device == "cuda" and not torch.cuda.is_available():
        raise TrainerError(
            "device.missing",
            "There is no graphics card that torch can use. Train on the processor.",
        )
    return spec.device != "cpu" and torch.cuda.is_available()


def _what_is_trained(dataset: Dataset, config: TrainConfig, spec: JobSpec) -> str:
    base = {"": "from the shipped base", "none": "from scratch"}.get(spec.base, "from a base")
    limit = f"{config.steps:,} steps" if config.steps else f"{config.seconds:.0f} s"
    return (
        f"{len(dataset.train)} clips ({len(dataset.held_back)} held back), {dataset.manifest.minutes:.1f} minutes, "
        f"{base}, {limit}, {config.precision}"
    )
