"""The networks of a full training: piper's own VITS, in the sizes that Piper voices come in.

The classes are those of ``piper.train``, so that public checkpoints fit and an export is a usual Piper voice.

Source: Kim, Kong, Son: "Conditional Variational Autoencoder with Adversarial Learning for End-to-End Text-to-Speech",
2021; sizes: Piper's training guide.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.nn import functional as F

from voice_trainer.align import monotonic

if TYPE_CHECKING:
    from piper.train.vits.models import SynthesizerTrn

FFT_SIZE = WINDOW = 1024
HOP = 256
MEL_BANDS = 80
SYMBOLS = 256
SYMBOL_TABLE = "model_g.enc_p.emb.weight"


@dataclass(frozen=True, slots=True)
class Quality:
    """A size of the networks.

    Attributes:
        rate_hz: Sampling rate that goes with it.
        hidden: Channels of the text encoder and the flow; ``inter`` of the latent, ``filter_size`` of its feed-forward.
        layers: Of the text encoder.
        resblock: Kind of residual block in the generator ("1" large, "2" small).
        upsample_rates: Their product is the hop.
        upsample_initial: Channels where upsampling begins.
        segment: Samples of each clip that are turned into sound in a step; a multiple of the hop.
        is_small: With a small discriminator; for tests, not for voices.
    """

    name: str
    rate_hz: int
    hidden: int = 192
    inter: int = 192
    filter_size: int = 768
    layers: int = 6
    resblock: str = "2"
    resblock_kernels: tuple[int, ...] = (3, 5, 7)
    resblock_dilations: tuple[tuple[int, ...], ...] = ((1, 2), (2, 6), (3, 12))
    upsample_rates: tuple[int, ...] = (8, 8, 4)
    upsample_initial: int = 256
    upsample_kernels: tuple[int, ...] = (16, 16, 8)
    segment: int = 8192
    is_small: bool = False


MEDIUM = Quality("medium", 22_050)
QUALITIES = {
    "x_low": Quality("x_low", 16_000, hidden=96, inter=96, filter_size=384),
    "low": Quality("low", 16_000),
    "medium": MEDIUM,
    "high": replace(
        MEDIUM,
        name="high",
        resblock="1",
        resblock_kernels=(3, 7, 11),
        resblock_dilations=((1, 3, 5), (1, 3, 5), (1, 3, 5)),
        upsample_rates=(8, 8, 2, 2),
        upsample_initial=512,
        upsample_kernels=(16, 16, 4, 4),
    ),
    "tiny": Quality(
        "tiny",
        16_000,
        hidden=32,
        inter=32,
        filter_size=64,
        layers=2,
        upsample_initial=64,
        segment=2048,
        is_small=True,
    ),
}


@dataclass(frozen=True, slots=True)
class Network:
    """What is trained: the generator speaks, the discriminator tells its sound from the speaker's."""

    quality: Quality
    generator: SynthesizerTrn
    discriminator: nn.Module

    def to(self, device: torch.device) -> None:
        """Move both to a device."""
        self.generator.to(device)
        self.discriminator.to(device)

    def state(self) -> dict[str, torch.Tensor]:
        """All weights, named as in piper's checkpoints."""
        return {
            f"{prefix}.{name}": tensor
            for prefix, module in self._parts()
            for name, tensor in module.state_dict().items()
        }

    def load(self, state: dict[str, torch.Tensor]) -> None:
        """Take weights that `state` gave; raises RuntimeError when they are of another size."""
        for prefix, module in self._parts():
            start = f"{prefix}."
            module.load_state_dict(
                {name[len(start) :]: one for name, one in state.items() if name.startswith(start)}
            )

    def warm_start(self, state: dict[str, torch.Tensor]) -> float:
        """Take the weights of a base that fit by name and shape.

        Returns:
            The share of the generator's values that was taken, 0-1.
        """
        taken = 0
        with torch.no_grad():
            for name, own in self.state().items():
                given = state.get(name)
                if given is None:
                    continue
                if name == SYMBOL_TABLE and given.shape[1:] == own.shape[1:]:
                    # Old voices know fewer symbols; those they know have the same numbers.
                    given = torch.cat([given[: len(own)], own[len(given) :]])
                if given.shape == own.shape:
                    own.copy_(given)
                    taken += own.numel() if name.startswith("model_g.") else 0
        whole: int = sum(one.numel() for one in self.generator.state_dict().values())
        return taken / whole

    def _parts(self) -> tuple[tuple[str, nn.Module], tuple[str, nn.Module]]:
        return ("model_g", self.generator), ("model_d", self.discriminator)


def quality_of(weights: dict[str, torch.Tensor], rate_hz: int) -> Quality | None:
    """The size that a base has; None when it is none of ours. Its rate cannot be seen, so it is given."""
    table = weights.get(SYMBOL_TABLE)
    first = weights.get("model_g.dec.conv_pre.weight")
    if table is None or first is None or table.dim() != 2:
        return None
    has_large_blocks = any(name.startswith("model_g.dec.resblocks.0.convs1.") for name in weights)
    for quality in QUALITIES.values():
        if (quality.hidden, quality.upsample_initial, quality.resblock == "1", quality.rate_hz) == (
            table.shape[1],
            first.shape[0],
            has_large_blocks,
            rate_hz,
        ):
            return quality
    return None


def build(quality: Quality, symbols: int = SYMBOLS) -> Network:
    """New networks with random weights, from torch's global generator."""
    with quiet_piper():
        from piper.train.vits import modules
        from piper.train.vits.models import MultiPeriodDiscriminator, SynthesizerTrn

        monotonic.install()
        modules.fused_add_tanh_sigmoid_multiply = _gate  # type: ignore[attr-defined]  # a name it imported
        generator = SynthesizerTrn(
            n_vocab=symbols,
            spec_channels=FFT_SIZE // 2 + 1,
            segment_size=quality.segment // HOP,
            inter_channels=quality.inter,
            hidden_channels=quality.hidden,
            filter_channels=quality.filter_size,
            n_heads=2,
            n_layers=quality.layers,
            kernel_size=3,
            p_dropout=0.1,
            resblock=quality.resblock,
            resblock_kernel_sizes=quality.resblock_kernels,
            resblock_dilation_sizes=quality.resblock_dilations,
            upsample_rates=quality.upsample_rates,
            upsample_initial_channel=quality.upsample_initial,
            upsample_kernel_sizes=quality.upsample_kernels,
        )
        discriminator = SmallDiscriminator() if quality.is_small else MultiPeriodDiscriminator()  # type: ignore[no-untyped-call]  # piper says no types here
    return Network(quality, generator, discriminator)


def _gate(one: torch.Tensor, other: torch.Tensor, channels: torch.Tensor) -> torch.Tensor:
    """The gated unit of WaveNet, in place of piper's scripted one.

    TorchScript rewrites that after its first calls, with other roundings: a resumed training would not equal one that
    was never interrupted.
    """
    count = int(channels[0])
    both = one + other
    return torch.tanh(both[:, :count]) * torch.sigmoid(both[:, count:])


class SmallDiscriminator(nn.Module):
    """Answers like piper's, with 0.3 % of its 46.7 million weights: for tests."""

    def __init__(self, channels: int = 32) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            [
                nn.Conv1d(1, channels, 15, 4, padding=7),
                nn.Conv1d(channels, channels * 4, 15, 4, padding=7),
                nn.Conv1d(channels * 4, channels * 4, 5, 2, padding=2),
            ]
        )
        self.last = nn.Conv1d(channels * 4, 1, 3, padding=1)

    def forward(self, real: torch.Tensor, made: torch.Tensor) -> tuple[list[Any], ...]:
        """Scores of both sounds, then the features behind them, each a list over judges; here there is one."""
        real_score, real_features = self._judge(real)
        made_score, made_features = self._judge(made)
        return [real_score], [made_score], [real_features], [made_features]

    def _judge(self, sound: torch.Tensor) -> tuple[torch.Tensor, list[torch.Tensor]]:
        features = []
        for layer in self.layers:
            sound = F.leaky_relu(layer(sound), 0.1)
            features.append(sound)
        score = self.last(sound)
        features.append(score)
        return score.flatten(1), features


@contextmanager
def quiet_piper() -> Iterator[None]:
    """Without the notices that torch gives about parts that piper still uses (jit.script, old weight_norm)."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        warnings.simplefilter("ignore", FutureWarning)
        yield
