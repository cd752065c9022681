"""One optimizer step of VITS: what `piper.train` computes, with half the work of the discriminator.

piper runs the discriminator four times a step and also works out its weights' gradients for the generator's loss, which
it then throws away. Here it runs twice; both losses are taken from the same pass, each towards its own weights only.
Losses and gradients are the same numbers.

Source: Kim, Kong, Son, 2021 (losses, equations 8 to 12); Mao et al., "Least Squares Generative Adversarial Networks",
2017.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import ClassVar

import torch
from torch import nn
from torch.nn import functional as F

from voice_trainer.vits.batches import MARGIN, Batch
from voice_trainer.vits.config import Precision
from voice_trainer.vits.network import FFT_SIZE, HOP, MEL_BANDS, WINDOW, Network, quiet_piper

with quiet_piper():
    from piper.train.vits.losses import feature_loss, generator_loss, kl_loss

MEL_WEIGHT = 45.0
KL_WEIGHT = 1.0
GENERATOR_RATE, GENERATOR_FALL = 2e-4, 0.999875
DISCRIMINATOR_RATE, DISCRIMINATOR_FALL = 1e-4, 0.9999


@dataclass(frozen=True, slots=True)
class Losses:
    """The parts of a step's losses, still on the device; `values` brings them over.

    Attributes:
        generator: What the generator minimises: all parts but ``discriminator``, weighted.
        mel: Distance of log-mels, mean of absolute differences, unweighted: the part that follows the quality best.
    """

    generator: torch.Tensor
    discriminator: torch.Tensor
    mel: torch.Tensor
    kl: torch.Tensor
    duration: torch.Tensor
    features: torch.Tensor
    adversarial: torch.Tensor

    NAMES: ClassVar = (
        "generator",
        "discriminator",
        "mel",
        "kl",
        "duration",
        "features",
        "adversarial",
    )

    def stacked(self) -> torch.Tensor:
        """All parts in the order of `NAMES`, shape (7,), on the device."""
        return torch.stack([getattr(self, name).detach().float() for name in self.NAMES])

    def values(self) -> dict[str, float]:
        """Each part by name."""
        return dict(zip(self.NAMES, self.stacked().tolist(), strict=True))


@dataclass(frozen=True, slots=True)
class Optimizers:
    """What moves the weights: an optimizer for either network, and the scale of half precision."""

    generator: torch.optim.AdamW
    discriminator: torch.optim.AdamW
    scaler: torch.amp.GradScaler

    def set_rates(self, epoch: int, scale: float = 1.0) -> None:
        """The learning rates of an epoch: they fall by a part of a per mille with each pass over the clips."""
        for optimizer, rate, falls in (
            (self.generator, GENERATOR_RATE, GENERATOR_FALL),
            (self.discriminator, DISCRIMINATOR_RATE, DISCRIMINATOR_FALL),
        ):
            for group in optimizer.param_groups:
                group["lr"] = rate * falls**epoch * scale


def optimizers(network: Network, device: torch.device, precision: Precision) -> Optimizers:
    """AdamW for both networks, set up as piper does."""
    return Optimizers(
        torch.optim.AdamW(
            network.generator.parameters(), lr=GENERATOR_RATE, betas=(0.8, 0.99), eps=1e-9
        ),
        torch.optim.AdamW(
            network.discriminator.parameters(), lr=DISCRIMINATOR_RATE, betas=(0.5, 0.9), eps=1e-9
        ),
        torch.amp.GradScaler(device.type, enabled=precision == "16"),
    )


def spectrogram(audio: torch.Tensor) -> torch.Tensor:
    """Magnitudes, shape (batch, bins, frames), of sound with a margin, shape (batch, MARGIN + samples + MARGIN)."""
    window = _window(audio.device)
    found = torch.stft(audio, FFT_SIZE, HOP, WINDOW, window, center=False, return_complex=True)
    # 1e-6: piper's own floor; without it the root has no slope at silence.
    return torch.sqrt(torch.view_as_real(found).pow(2).sum(-1) + 1e-6)


def losses(network: Network, batch: Batch, precision: Precision) -> Losses:
    """Run both networks over a batch; the graph leads to both, see `update`."""
    device = batch.audio.device
    rate_hz, segment = network.quality.rate_hz, network.quality.segment
    kind = torch.float16 if precision == "16" else torch.bfloat16
    mixed = torch.autocast(device.type, dtype=kind, enabled=precision != "32")
    with torch.autocast(device.type, enabled=False):
        spec = _until_its_end(spectrogram(batch.audio), batch)  # (batch, bins, frames)
    with mixed:
        made, duration, _, starts, _, mask, (_, z_p, m_p, logs_p, _, logs_q) = network.generator(
            batch.ids, batch.id_counts, spec, batch.frame_counts
        )
    real = _slice(batch.audio, MARGIN + starts * HOP, segment).unsqueeze(1)  # (batch, 1, samples)
    with mixed:
        real_scores, made_scores, real_maps, made_maps = network.discriminator(real, made)
    with torch.autocast(device.type, enabled=False):
        # Mel in full precision: half of it is not enough for quiet bands, and cuFFT knows no bf16.
        wanted = log_mel(_slice_frames(spec, starts, segment // HOP), rate_hz)
        margins = F.pad(made.float(), (MARGIN, MARGIN), mode="reflect")
        got = log_mel(spectrogram(margins.squeeze(1)), rate_hz)
        mel = F.l1_loss(wanted, got)
        kl = kl_loss(z_p, logs_q, m_p, logs_p, mask)  # type: ignore[no-untyped-call]  # piper says no types here
        features = feature_loss(real_maps, made_maps)  # type: ignore[no-untyped-call]  # as above
        adversarial, _ = generator_loss(made_scores)  # type: ignore[no-untyped-call]  # as above
        length = duration.float().sum()
        total = adversarial + features + mel * MEL_WEIGHT + length + kl * KL_WEIGHT
        discriminator = sum(
            ((1 - good.float()) ** 2).mean() + (bad.float() ** 2).mean()
            for good, bad in zip(real_scores, made_scores, strict=True)
        )
    assert isinstance(discriminator, torch.Tensor)
    return Losses(total, discriminator, mel, kl, length, features, adversarial)


def update(network: Network, optimizers: Optimizers, batch: Batch, precision: Precision) -> Losses:
    """Learn from a batch: the gradients of both losses at the same weights, then both moves."""
    found = losses(network, batch, precision)
    _gradients(found.generator, network.generator, optimizers, keep_graph=True)
    _gradients(found.discriminator, network.discriminator, optimizers, keep_graph=False)
    optimizers.scaler.step(optimizers.generator)
    optimizers.scaler.step(optimizers.discriminator)
    optimizers.scaler.update()
    return found


def _gradients(
    loss: torch.Tensor, module: nn.Module, optimizers: Optimizers, *, keep_graph: bool
) -> None:
    weights = [one for one in module.parameters() if one.requires_grad]
    for one in weights:
        one.grad = None
    # Towards these weights only: the other network's are passed through and not worked out.
    optimizers.scaler.scale(loss).backward(inputs=weights, retain_graph=keep_graph)  # type: ignore[no-untyped-call]  # torch's own stub


def _until_its_end(spec: torch.Tensor, batch: Batch) -> torch.Tensor:
    """Silence what lies behind each clip's end, as if it had been cut there."""
    frames = torch.arange(spec.shape[-1], device=spec.device)
    return spec * (frames[None, :] < batch.frame_counts[:, None]).unsqueeze(1)


def log_mel(spec: torch.Tensor, rate_hz: int) -> torch.Tensor:
    """Log-mels, shape (batch, MEL_BANDS, frames), of magnitudes."""
    return torch.log((_mel_filters(rate_hz, spec.device) @ spec).clamp_min(1e-5))


@cache
def _window(device: torch.device) -> torch.Tensor:
    return torch.hann_window(WINDOW, device=device)


@cache
def _mel_filters(rate_hz: int, device: torch.device) -> torch.Tensor:
    """Piper keeps them by device alone: a second rate in one process would get the first one's."""
    from librosa.filters import mel

    filters = mel(sr=rate_hz, n_fft=FFT_SIZE, n_mels=MEL_BANDS, fmin=0.0, fmax=None)
    return torch.from_numpy(filters).to(device)


def _slice(audio: torch.Tensor, starts: torch.Tensor, length: int) -> torch.Tensor:
    """``length`` samples of each row of (batch, samples) from its start; without a wait for the device."""
    places = starts[:, None] + torch.arange(length, device=audio.device)[None, :]
    return audio.gather(1, places)


def _slice_frames(spec: torch.Tensor, starts: torch.Tensor, length: int) -> torch.Tensor:
    """``length`` frames of each of (batch, bins, frames) from its start."""
    places = starts[:, None] + torch.arange(length, device=spec.device)[None, :]
    return spec.gather(2, places[:, None, :].expand(-1, spec.shape[1], -1))
