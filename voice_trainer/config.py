"""Every hyperparameter of the quick trainer, with its unit and where it comes from."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import Any, Literal

from voice_trainer.protocol import JobSpec

Precision = Literal["float32", "bfloat16"]

DEFAULT_STEPS = 1_500
"""When a job says neither steps nor seconds: 4 to 8 minutes on two cores of 2024; more gains little (benchmarks/results)."""

TEST_SENTENCES = {
    "de": "Hallo zusammen, schön, dass ihr da seid! So klingt meine neue Stimme.",
    "en": "Hello everyone, it is lovely to see you! This is what my new voice sounds like.",
    "es": "¡Hola a todos, qué alegría veros! Así suena mi nueva voz.",
    "fr": "Bonjour à tous, quel plaisir de vous voir ! Voici comment sonne ma nouvelle voix.",
    "it": "Ciao a tutti, che bello vedervi! Così suona la mia nuova voce.",
    "ja": "みなさん、こんにちは。これが、わたしのあたらしいこえです。",
    "nl": "Hallo allemaal, wat leuk dat jullie er zijn! Zo klinkt mijn nieuwe stem.",
    "pl": "Cześć wszystkim, miło was widzieć! Tak brzmi mój nowy głos.",
    "pt": "Olá a todos, que bom ver vocês! É assim que soa a minha nova voz.",
    "ru": "Всем привет, рада вас видеть! Так звучит мой новый голос.",
}
"""What checkpoints say when the job has no sentence of its own; by the first part of the language."""


@dataclass(frozen=True, slots=True)
class TrainConfig:
    """How the quick trainer learns; saved in every checkpoint, so that a resumed training goes on with the same.

    Attributes:
        seed: Of the weights, the dropout, the order of clips and the split.
        steps: Optimizer steps; None = no limit. The learning rate follows whichever limit is nearer its end.
        seconds: Time in steps; None = no limit.
        batch_size: Clips per step. 12 is what 2 cores do best (VOICE.md's experiments).
        learning_rate: Peak, per step (AdamW; Loshchilov, Hutter 2019).
        learning_rate_end: Share of the peak that is left at the end of the cosine (Loshchilov, Hutter 2017, "SGDR").
        reading_share: Share of the rate for what reads the text (phonemes, encoder, durations) when there is a base. On
            0.4 minutes 0.1 halves how much too fast the voice speaks, at the same spectral distance.
        warmup_steps: Steps of linear rise: the moments of a fresh AdamW are noise.
        beta1, beta2: Decay of AdamW's moments per step; 0.99 instead of 0.999 because trainings are short.
        weight_decay: Per step, times the learning rate.
        gradient_norm: Longer gradients are scaled down to this (Pascanu et al. 2013).
        average_decay: Of the exponential moving average of the weights, per step; that average is what speaks
            (Polyak, Juditsky 1992). Rises to this value as (step + 1) / (step + 20).
        precision: Of the forward pass; bfloat16 halves a step on CPUs that have it.
        validate_every: Steps between two measurements on the held-back clips.
        checkpoint_every: Steps between two checkpoints; 0 = with every sample.
        checkpoint_every_s: Seconds in steps after which one is written anyway: no more than this is lost.
        sample_every: Steps between two spoken test sentences; 0 = ``samples`` times, evenly over the budget.
        samples: How often when `sample_every` is 0: each costs two seconds with its scores.
        held_back: Share of the clips that is held back for validation.
        most_held_back: Clips held back at most: more would only take time.
        alignment_rounds: Of Viterbi training; errors against flite's own labels do not fall after the third.
    """

    seed: int = 1234
    steps: int | None = DEFAULT_STEPS
    seconds: float | None = None
    batch_size: int = 12
    learning_rate: float = 1e-3
    learning_rate_end: float = 0.03
    reading_share: float = 0.1
    warmup_steps: int = 50
    beta1: float = 0.9
    beta2: float = 0.99
    weight_decay: float = 0.01
    gradient_norm: float = 1.0
    average_decay: float = 0.998
    precision: Precision = "float32"
    validate_every: int = 25
    checkpoint_every: int = 0
    checkpoint_every_s: float = 60.0
    sample_every: int = 0
    samples: int = 8
    held_back: float = 0.05
    most_held_back: int = 12
    alignment_rounds: int = 3

    def as_dict(self) -> dict[str, Any]:
        """For a checkpoint."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> TrainConfig:
        """The reverse of `as_dict`; names of other versions are left out."""
        known = {one.name for one in fields(cls)}
        return cls(**{name: value for name, value in values.items() if name in known})

    @classmethod
    def of(cls, spec: JobSpec, precision: Precision) -> TrainConfig:
        """What a job asks for.

        Raises:
            ValueError: An option of the job is no number that can be used.
        """
        usual = cls()
        steps, seconds = spec.budget.steps, spec.budget.seconds
        if steps is None and seconds is None:
            steps = DEFAULT_STEPS
        for name, value in (("budget.steps", steps), ("budget.seconds", seconds)):
            if value is not None and not 0 < value < 1e9:
                raise ValueError(f"The job's {name} is {value}; it must be above 0.")
        batch_size = int(spec.options.get("batch_size") or usual.batch_size)
        if not 1 <= batch_size <= 256:
            raise ValueError(f"The job's batch_size is {batch_size}; 1 to 256 work.")
        often = min(
            steps / 25 if steps else usual.samples, seconds / 20 if seconds else usual.samples
        )
        return cls(
            seed=spec.seed,
            steps=steps,
            seconds=seconds,
            batch_size=batch_size,
            precision=precision,
            sample_every=spec.sample_every,
            samples=max(1, min(usual.samples, round(often))),
            checkpoint_every=int(spec.options.get("checkpoint_every") or 0),
        )

    def is_sample_due(self, step: int, before: float, share: float) -> bool:
        """Whether the test sentence is to be spoken after a step that brought the share of the budget from ``before``."""
        if self.sample_every:
            return step % self.sample_every == 0
        return int(share * self.samples) > int(before * self.samples)


def sentence_of(spec: JobSpec) -> str:
    """What the checkpoints of a job say."""
    tongue = spec.language.partition("-")[0].lower()
    return spec.test_sentence.strip() or TEST_SENTENCES.get(tongue, TEST_SENTENCES["en"])
