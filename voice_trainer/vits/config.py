"""Every setting of a full training, with its unit and where it comes from."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any, Literal, cast

from voice_trainer.loop import TrainerError
from voice_trainer.protocol import JobSpec

if TYPE_CHECKING:
    import torch

Precision = Literal["32", "bf16", "16"]

STEPS_FROM_BASE = 5_000
STEPS_FROM_SCRATCH = 50_000
"""When a job says neither steps nor seconds. Piper's guide: a fine-tuned voice needs thousands of batches, a new one
some hundred thousand; by then the plateau hint has long said what to do."""


@dataclass(frozen=True, slots=True)
class VitsConfig:
    """How a voice is trained; saved in every checkpoint.

    Attributes:
        quality: Name in `voice_trainer.vits.network.QUALITIES`.
        seed: Of the weights, the dropout, the noise and the order of clips.
        steps: Steps of both optimizers; None = no limit.
        seconds: Time in steps; None = no limit. No least number of steps goes with it as in a quick clone: what would be
            heard are thousands, hours more than was asked for.
        batch_size: Clips per step; halved when memory runs out.
        precision: Of the forward pass; losses are always computed in 32 bits.
        checkpoint_every: Steps between two checkpoints.
        checkpoint_every_s: Seconds in steps after which one is written anyway: no more than this is lost.
        sample_every: Steps between two spoken test sentences; each checkpoint speaks as well.
        rate_scale: Factor on piper's learning rates; halved each time the numbers run away.
    """

    quality: str
    seed: int = 1234
    steps: int | None = STEPS_FROM_BASE
    seconds: float | None = None
    batch_size: int = 4
    precision: Precision = "32"
    checkpoint_every: int = 500
    checkpoint_every_s: float = 300.0
    sample_every: int = 0
    rate_scale: float = 1.0

    def as_dict(self) -> dict[str, Any]:
        """For a checkpoint."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> VitsConfig:
        """The reverse of `as_dict`; names of other versions are left out."""
        known = {one.name for one in fields(cls)}
        return cls(**{name: value for name, value in values.items() if name in known})

    @classmethod
    def of(
        cls, spec: JobSpec, quality: str, device: torch.device, clips: int, *, has_base: bool
    ) -> VitsConfig:
        """What a job asks for; options: batch_size, precision, checkpoint_every.

        Raises:
            TrainerError: job.option: one of them cannot be used.
        """
        steps, seconds = spec.budget.steps, spec.budget.seconds
        if steps is None and seconds is None:
            steps = STEPS_FROM_BASE if has_base else STEPS_FROM_SCRATCH
        for name, value in (("budget.steps", steps), ("budget.seconds", seconds)):
            if value is not None and not 0 < value < 1e9:
                raise _wrong(name, value, "a number above 0")
        batch_size = _whole(spec, "batch_size", default_batch_size(device), 256)
        every = _whole(spec, "checkpoint_every", 500, 1_000_000)
        precision = str(spec.options.get("precision") or default_precision(device))
        if precision not in ("32", "bf16", "16"):
            raise _wrong("precision", precision, '"32", "bf16" or "16"')
        if precision == "16" and device.type == "cpu":
            raise _wrong("precision", precision, '"32" or "bf16" where there is no GPU')
        return cls(
            quality=quality,
            seed=spec.seed,
            steps=steps,
            seconds=seconds,
            batch_size=min(batch_size, clips),
            precision=cast(Precision, precision),
            checkpoint_every=every,
            sample_every=spec.sample_every,
        )


def default_batch_size(device: torch.device) -> int:
    """As many clips as the memory is likely to hold: piper's 32 take about 24 GB; fewer are tried when it was too many."""
    if device.type != "cuda":
        return 4
    import torch

    memory_gb = torch.cuda.get_device_properties(device).total_memory / 2**30
    return next(size for least_gb, size in ((30, 32), (14, 16), (7, 8), (0, 4)) if memory_gb >= least_gb)  # fmt: skip


def default_precision(device: torch.device) -> Precision:
    """Brain floats where the GPU has them, halves on older ones, 32 bits on CPUs (half of them are slower with less)."""
    if device.type != "cuda":
        return "32"
    import torch

    return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "16"


def _whole(spec: JobSpec, name: str, usual: int, most: int) -> int:
    value = spec.options.get(name) or usual
    if not isinstance(value, int) or not 1 <= value <= most:
        raise _wrong(name, value, f"a whole number from 1 to {most:,}")
    return value


def _wrong(name: str, value: object, wanted: str) -> TrainerError:
    return TrainerError("job.option", f"The job's {name} is {value!s:.80}; it must be {wanted}.")
