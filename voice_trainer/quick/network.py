"""From phoneme ids to features, and the whole voice as one graph with Piper's inputs.

Public names:
`NetworkConfig`, `QuickNetwork(config)` (trainable), `Batch`, `losses(network, batch) -> Losses`,
`parameter_groups(network, reading_share)` (training),
`QuickNetwork.set_statistics(...)` (before training), `QuickNetwork.predict(...)` (listening during training),
`Voice(network, vocoder)` (the module to export: inputs `INPUT_NAMES`, outputs `OUTPUT_NAMES`).

The network is a feed-forward acoustic model with explicit durations (Ren et al. 2019, "FastSpeech"; its length regulator
here is a cumulative sum and a comparison) built from gated dilated convolutions (van den Oord et al. 2016, "WaveNet").
Normalisation is by frame (Zhang, Sennrich 2019, "RMSNorm"), so a clip gives the same result alone and in a batch.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from voice_trainer.quick.features import ENVELOPE_SIZE, GRIDS, SpeakerStatistics, grid
from voice_trainer.quick.vocoder import Vocoder

PAD_ID = 0
"""Piper puts this between all phonemes; the network never sees it."""

INPUT_NAMES = ("input", "input_lengths", "scales")
OUTPUT_NAMES = ("output", "durations")

NEUTRAL_NOISE_SCALE = 0.667
"""Piper's usual `noise_scale`: at this value the voice is as breathy as the recordings."""

WELL_HEARD_COEFFICIENTS = 25
"""The envelope's coarse shape counts double in the loss; the fine ripple above it is heard less."""

LOG_F0_RANGE = (math.log(50.0), math.log(800.0))
SHORTEST_END_FRAMES = 3.0


@dataclass(frozen=True, slots=True)
class NetworkConfig:
    """The shape of a network; saved with each checkpoint.

    Attributes:
        rates_hz: Rates it has an output head for; the first is the one it speaks at.
        symbols: Size of the phoneme table.
        channels: Width.
        kernel: Taps of each convolution.
        encoder_dilations: One block per entry, over phonemes.
        decoder_dilations: One block per entry, over frames.
        speakers: Rows of the speaker table.
        dropout: Share of a block's output dropped in training.
    """

    rates_hz: tuple[int, ...] = (22_050,)
    symbols: int = 256
    channels: int = 160
    kernel: int = 5
    encoder_dilations: tuple[int, ...] = (1, 2, 4, 1)
    decoder_dilations: tuple[int, ...] = (1, 2, 4, 8, 1, 2, 4, 8)
    speakers: int = 1
    dropout: float = 0.1

    def as_dict(self) -> dict[str, Any]:
        """For a JSON file."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> NetworkConfig:
        """The reverse of `as_dict`; unknown names raise TypeError, rates without a grid ValueError."""
        lists = {name: tuple(value) for name, value in values.items() if isinstance(value, list)}
        config = cls(**{**values, **lists})
        for rate_hz in config.rates_hz:
            grid(rate_hz)
        return config


@dataclass(frozen=True, slots=True)
class Batch:
    """Clips, padded with zeros at the end.

    Attributes:
        ids: Phoneme ids without `PAD_ID` inside a clip, int64, shape (batch, phonemes).
        durations: Frames of each phoneme, int64, shape (batch, phonemes); their sum is the clip's frames.
        targets: By rate: `Features.targets()` of each clip, float32, shape (batch, frames, width). A batch of one
            speaker's voice has one rate; a base learns two at once from the same frames.
        speakers: Row of the speaker table, int64, shape (batch,).
    """

    ids: Tensor
    durations: Tensor
    targets: dict[int, Tensor]
    speakers: Tensor


@dataclass(frozen=True, slots=True)
class Losses:
    """What a step minimises: `total` is the weighted sum, the others are the parts before weighting (scalars)."""

    total: Tensor
    envelope: Tensor
    aperiodicity: Tensor
    pitch: Tensor
    voicing: Tensor
    duration: Tensor


class _FrameNorm(nn.Module):
    """Scale each frame to unit power, then each channel by a learned gain."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.ones(channels, 1))

    def forward(self, x: Tensor) -> Tensor:  # (batch, channels, frames)
        power = torch.mean(x * x, dim=1, keepdim=True)
        scaled: Tensor = x * torch.rsqrt(power + 1e-5) * self.gain
        return scaled


class _GatedBlock(nn.Module):
    """Normalise, convolve, gate, and add to what came in; the mask keeps padding at zero."""

    def __init__(self, channels: int, kernel: int, dilation: int, dropout: float) -> None:
        super().__init__()
        margin = dilation * (kernel - 1) // 2
        self.norm = _FrameNorm(channels)
        self.spread = nn.Conv1d(channels, 2 * channels, kernel, padding=margin, dilation=dilation)
        self.join = nn.Conv1d(channels, channels, 1)
        self.drop = nn.Dropout(dropout)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:  # (batch, channels, frames)
        content, gate = self.spread(self.norm(x) * mask).chunk(2, dim=1)
        out: Tensor = x + self.drop(self.join(torch.tanh(content) * torch.sigmoid(gate)))
        return out


class _DurationHead(nn.Module):
    """Logarithm of (frames + 1) of each phoneme.

    Without dropout of its own: its noise in the logarithm lengthens the mean in training, so speech without it would be
    too fast.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = nn.Conv1d(channels, channels, 3, padding=1)
        self.second = nn.Conv1d(channels, channels, 3, padding=1)
        self.last = nn.Conv1d(channels, 1, 1)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:  # (batch, channels, phonemes)
        x = torch.relu(self.first(x * mask))
        x = torch.relu(self.second(x * mask))
        log_durations: Tensor = self.last(x)[:, 0]
        return log_durations


class QuickNetwork(nn.Module):
    """Phonemes to frames. Frames go in and out normalised by the speaker's statistics, which it carries as buffers."""

    def __init__(self, config: NetworkConfig) -> None:
        """Make a network with random weights (seed torch first) and neutral statistics."""
        super().__init__()
        self.config = config
        channels, dropout = config.channels, config.dropout
        self.phonemes = nn.Embedding(config.symbols, channels)
        nn.init.normal_(self.phonemes.weight, 0.0, 0.3)
        self.speakers = nn.Embedding(config.speakers, channels)
        nn.init.zeros_(self.speakers.weight)
        self.encoder = nn.ModuleList(
            _GatedBlock(channels, config.kernel, dilation, dropout)
            for dilation in config.encoder_dilations
        )
        self.duration = _DurationHead(channels)
        self.place = nn.Conv1d(4, channels, 1)
        self.decoder = nn.ModuleList(
            _GatedBlock(channels, config.kernel, dilation, dropout)
            for dilation in config.decoder_dilations
        )
        self.final_norm = _FrameNorm(channels)
        self.final = nn.Conv1d(channels, channels, 1)
        self.heads = nn.ModuleDict(
            {
                str(rate_hz): nn.Conv1d(channels, GRIDS[rate_hz].width, 1)
                for rate_hz in config.rates_hz
            }
        )
        for rate_hz in config.rates_hz:
            width = GRIDS[rate_hz].width
            self.register_buffer(f"mean_{rate_hz}", torch.zeros(config.speakers, width))
            self.register_buffer(f"std_{rate_hz}", torch.ones(config.speakers, width))
            self.register_buffer(f"spread_{rate_hz}", torch.ones(config.speakers, ENVELOPE_SIZE))

    @property
    def rate_hz(self) -> int:
        """The rate it speaks at."""
        return self.config.rates_hz[0]

    def set_statistics(
        self, statistics: SpeakerStatistics, *, speaker: int = 0, rate_hz: int | None = None
    ) -> None:
        """Store what a speaker's frames are like; do it before the first step, also after loading a base."""
        rate_hz = rate_hz or self.rate_hz
        for name in ("mean", "std", "spread"):
            values = torch.from_numpy(getattr(statistics, name))
            self.get_buffer(f"{name}_{rate_hz}")[speaker].copy_(values)

    def statistics(self, rate_hz: int, speakers: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Mean, standard deviation and spread of the speakers, each of shape (batch, 1, …)."""
        mean, std, spread = (
            self.get_buffer(f"{name}_{rate_hz}")[speakers][:, None]
            for name in ("mean", "std", "spread")
        )
        return mean, std, spread

    def encode(self, ids: Tensor, mask: Tensor, speakers: Tensor) -> Tensor:
        """Phonemes in context, shape (batch, channels, phonemes); ids (batch, phonemes), mask (batch, 1, phonemes)."""
        x: Tensor = self.phonemes(ids).transpose(1, 2) + self.speakers(speakers)[:, :, None]
        for block in self.encoder:
            x = block(x, mask)
        return x * mask

    def log_durations(self, encoded: Tensor, mask: Tensor) -> Tensor:
        """Logarithm of (frames + 1) of each phoneme, shape (batch, phonemes).

        Its gradient reaches the encoder at half strength: the sound matters more than the rhythm.
        """
        if self.training:
            encoded = 0.5 * encoded + 0.5 * encoded.detach()
        durations: Tensor = self.duration(encoded, mask)
        return durations

    def decode(self, encoded: Tensor, durations: Tensor, rate_hz: int | None = None) -> Tensor:
        """Normalised frames, the voicing as a logit; shape (batch, frames, width of the rate).

        Args:
            encoded: From `encode`.
            durations: Whole frames of each phoneme, shape (batch, phonemes), at least one frame per row.
            rate_hz: Which head; the network's own rate by default.
        """
        hidden = self.decode_hidden(encoded, durations)
        head = self.heads[str(rate_hz or self.rate_hz)]
        frames: Tensor = head(hidden)
        return frames.transpose(1, 2)

    def decode_hidden(self, encoded: Tensor, durations: Tensor) -> Tensor:
        """What the heads read, shape (batch, channels, frames)."""
        x, place, mask = regulate(encoded, durations)
        x = x + self.place(place)
        for block in self.decoder:
            x = block(x, mask)
        hidden: Tensor = torch.relu(self.final(self.final_norm(x)))
        return hidden

    def predict(
        self,
        ids: Tensor,
        speakers: Tensor,
        *,
        length_scale: Tensor | float = 1.0,
        rhythm_noise: Tensor | float = 0.0,
        sharpening: float = 0.7,
        durations: Tensor | None = None,
    ) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """Read phonemes out in the speaker's own units.

        Args:
            ids: Phoneme ids, `PAD_ID` only after the end, shape (batch, phonemes).
            speakers: Row of the speaker table, shape (batch,).
            length_scale: Above 1 is slower.
            rhythm_noise: Standard deviation of random changes of the log durations.
            sharpening: How far the envelope's spread is brought back to the speaker's, 0 to 1 (Toda, Tokuda 2007,
                "A speech parameter generation algorithm considering global variance"; here applied after the fact).
            durations: Whole frames of each phoneme to keep instead of its own rhythm, shape (batch, phonemes); for
                comparing it with a recording frame by frame.

        Returns:
            envelope (batch, frames, ENVELOPE_SIZE), aperiodicity in dB (batch, frames, bands), f0 in Hz
            (batch, frames), voiced as 0 or 1 (batch, frames), whole durations (batch, phonemes): what `Vocoder`
            takes, and the alignment.
        """
        mask = (ids != PAD_ID)[:, None].to(self.phonemes.weight.dtype)
        encoded = self.encode(ids, mask, speakers)
        if durations is None:
            log_frames = self.log_durations(encoded, mask)
            log_frames = log_frames + rhythm_noise * torch.randn_like(log_frames)
            lengths = torch.clamp(torch.exp(log_frames) - 1, min=0.0) * length_scale * mask[:, 0]
            durations = whole_durations(lengths, mask[:, 0])
        frames = self.decode(encoded, durations)
        mean, std, spread = self.statistics(self.rate_hz, speakers)
        inside = frame_mask(durations, frames.shape[1])[:, :, None].to(frames.dtype)
        envelope = sharpened(frames[..., :ENVELOPE_SIZE], inside, spread, sharpening)
        voiced = (frames[..., -1] > 0).to(frames.dtype)
        spoken = torch.cat([envelope, frames[..., ENVELOPE_SIZE:]], dim=-1) * std + mean
        return (
            spoken[..., :ENVELOPE_SIZE],
            spoken[..., ENVELOPE_SIZE:-2].clamp(-60.0, 0.0),
            torch.exp(spoken[..., -2].clamp(*LOG_F0_RANGE)),
            voiced,
            durations,
        )


def regulate(encoded: Tensor, durations: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Repeat each phoneme for its frames.

    Args:
        encoded: Shape (batch, channels, phonemes).
        durations: Whole frames, shape (batch, phonemes).

    Returns:
        Frames (batch, channels, frames), the place of each frame in its phoneme (batch, 4, frames) and the mask of
        frames that exist (batch, 1, frames).
    """
    durations = durations.to(torch.int64)
    ends = torch.cumsum(durations, dim=1)  # (batch, phonemes)
    total = ends[:, -1:]
    frame = _count_up(total.max())[None]  # (1, frames)
    exists = frame < total
    # The last frame stands in where there is none, so that every index is inside; the mask takes it out again.
    frame = torch.minimum(frame, total - 1)
    phoneme = (frame[:, :, None] >= ends[:, None]).to(torch.int64).sum(dim=2)  # (batch, frames)
    mask = exists[:, None].to(encoded.dtype)
    repeated = torch.gather(encoded, 2, phoneme[:, None].expand(-1, encoded.shape[1], -1))
    length = torch.gather(durations, 1, phoneme).to(torch.float32)
    start = torch.gather(ends - durations, 1, phoneme)
    since_start = (frame - start).to(torch.float32)
    share = (since_start + 0.5) / length.clamp(min=1.0)
    place = torch.stack(
        [share, 1 - share, torch.tanh(since_start / 8), torch.tanh((length - since_start) / 8)],
        dim=1,
    )
    return repeated * mask, place * mask, mask


def _count_up(end: Tensor) -> Tensor:
    """0, 1, … up to but without end, int64; the tensor goes in as it is, since a traced int would be frozen."""
    numbers: Tensor = torch.arange(end, device=end.device)  # type: ignore[call-overload]  # stubs know plain numbers only
    return numbers


def whole_durations(lengths: Tensor, mask: Tensor) -> Tensor:
    """Round lengths in frames so that their running sum stays true; the last phoneme gets `SHORTEST_END_FRAMES`.

    Args:
        lengths: At least 0, 0 where the mask is, shape (batch, phonemes).
        mask: 1 for phonemes, 0 after the end, shape (batch, phonemes).
    """
    after = torch.cat([mask[:, 1:], torch.zeros_like(mask[:, :1])], dim=1)
    is_last = mask * (1 - after)
    lengths = torch.maximum(lengths, is_last * SHORTEST_END_FRAMES)
    ends = torch.floor(torch.cumsum(lengths, dim=1) + 0.5)
    return torch.cat([ends[:, :1], ends[:, 1:] - ends[:, :-1]], dim=1)


def frame_mask(durations: Tensor, frames: int) -> Tensor:
    """Which frames belong to a clip, bool, shape (batch, frames)."""
    total = durations.sum(dim=1, keepdim=True)
    places = torch.cumsum(torch.ones_like(total).expand(-1, frames), dim=1) - 1
    return places < total


def sharpened(envelope: Tensor, mask: Tensor, spread: Tensor, strength: float) -> Tensor:
    """Give the envelope's movement back the spread that averaging took, its mean and first coefficient left alone.

    Args:
        envelope: Normalised, shape (batch, frames, ENVELOPE_SIZE).
        mask: Frames that exist, shape (batch, frames, 1).
        spread: The speaker's, shape (batch, 1, ENVELOPE_SIZE).
        strength: 0 changes nothing, 1 restores the spread.
    """
    count = mask.sum(dim=1, keepdim=True)
    mean = (envelope * mask).sum(dim=1, keepdim=True) / count
    variance = (((envelope - mean) * mask) ** 2).sum(dim=1, keepdim=True) / count
    gain = (spread / torch.sqrt(variance + 1e-5)).clamp(0.8, 2.0) ** strength
    moved = (envelope - mean) * gain + mean
    return torch.cat([envelope[..., :1], moved[..., 1:]], dim=-1)


def losses(network: QuickNetwork, batch: Batch) -> Losses:
    """One forward pass in training mode and its losses; run it under autocast if the CPU has bfloat16.

    L1 on normalised frames, cross-entropy on voicing, Poisson deviance on durations; parts are means over frames or phonemes.
    """
    mask = (batch.ids != PAD_ID)[:, None].to(torch.float32)
    encoded = network.encode(batch.ids, mask, batch.speakers)
    predicted_durations = network.log_durations(encoded, mask).float()
    hidden = network.decode_hidden(encoded, batch.durations)
    parts = [
        _frame_losses(network, hidden, batch, rate_hz, targets)
        for rate_hz, targets in batch.targets.items()
    ]
    envelope, aperiodicity, pitch, voicing = torch.stack(parts).mean(dim=0)
    # Poisson deviance of frames + 1: least at their mean. Huber on logarithms finds a median: speech was 18 %
    # too fast after 0.4 minutes of data, 9 % with this.
    wanted = batch.durations.float() + 1
    duration = torch.exp(predicted_durations) - wanted
    duration = duration - wanted * (predicted_durations - torch.log(wanted))
    duration = (duration * mask[:, 0]).sum() / mask.sum()
    total = envelope + 0.3 * aperiodicity + 0.5 * pitch + 0.3 * voicing + 0.5 * duration
    return Losses(total, envelope, aperiodicity, pitch, voicing, duration)


def _frame_losses(
    network: QuickNetwork, hidden: Tensor, batch: Batch, rate_hz: int, targets: Tensor
) -> Tensor:
    """Envelope, aperiodicity, pitch and voicing of one head, shape (4,)."""
    frames = network.heads[str(rate_hz)](hidden).transpose(1, 2).float()
    mean, std, _ = network.statistics(rate_hz, batch.speakers)
    wanted = (targets - mean) / std
    inside = frame_mask(batch.durations, frames.shape[1])[:, :, None].float()
    count = inside.sum()
    weights = torch.ones(ENVELOPE_SIZE, device=frames.device)
    weights[:WELL_HEARD_COEFFICIENTS] = 2.0
    distance = (frames - wanted).abs() * inside
    bands = frames.shape[2] - ENVELOPE_SIZE - 2
    voicing = F.binary_cross_entropy_with_logits(
        frames[..., -1:], targets[..., -1:], reduction="none"
    )
    return torch.stack(
        [
            (distance[..., :ENVELOPE_SIZE] * weights).sum() / count / ENVELOPE_SIZE,
            distance[..., ENVELOPE_SIZE:-2].sum() / count / bands,
            distance[..., -2].sum() / count,
            (voicing * inside).sum() / count,
        ]
    )


def parameter_groups(network: QuickNetwork, reading_share: float) -> list[dict[str, Any]]:
    """Weights for an optimizer: what speaks, and what reads (phonemes, encoder, durations).

    Args:
        network: Its weights, all of them.
        reading_share: Share of the learning rate for what reads; each group carries its own as "share". A base can read
            already, and little data would teach it worse.
    """
    reading: list[nn.Parameter] = []
    speaking: list[nn.Parameter] = []
    for name, parameter in network.named_parameters():
        reads = name.startswith(("phonemes.", "encoder.", "duration."))
        (reading if reads else speaking).append(parameter)
    return [{"params": speaking, "share": 1.0}, {"params": reading, "share": reading_share}]


class Voice(nn.Module):
    """Text (as phoneme ids) to sound with the inputs and outputs of a Piper voice; this is what is exported.

    `scales` are Piper's: `noise_scale` is the breathiness (`NEUTRAL_NOISE_SCALE` as recorded, consonants always in
    full), `length_scale` the slowness, `noise_w` the random variation of rhythm (a tenth of it in log durations).
    """

    def __init__(self, network: QuickNetwork, vocoder: Vocoder, *, sharpening: float = 0.7) -> None:
        """Join a network and the vocoder of its rate; call `.eval()` before speaking.

        Raises:
            ValueError: Their rates differ.
        """
        super().__init__()
        if network.rate_hz != vocoder.grid.rate_hz:
            raise ValueError(
                f"A network for {network.rate_hz} Hz cannot speak through a vocoder for "
                f"{vocoder.grid.rate_hz} Hz."
            )
        self.network = network
        self.vocoder = vocoder
        self.sharpening = sharpening

    def forward(
        self, input: Tensor, input_lengths: Tensor, scales: Tensor, sid: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Speak.

        Args:
            input: Phoneme ids with or without `PAD_ID` between them, int64, shape (batch, ids).
            input_lengths: Ids of each text, int64, shape (batch,).
            scales: noise_scale, length_scale, noise_w; float32, shape (3,).
            sid: Row of the speaker table, int64, shape (batch,); 0 if left out.

        Returns:
            Samples (batch, 1, samples) and the frames of each id, `PAD_ID` having none, float32, shape (batch, ids).
        """
        speakers = torch.zeros_like(input_lengths) if sid is None else sid
        place = torch.cumsum(torch.ones_like(input), dim=1) - 1
        is_phoneme = (input != PAD_ID) & (place < input_lengths[:, None])
        rank = torch.cumsum(is_phoneme.to(torch.int64), dim=1) - 1  # (batch, ids)
        ids = _without_pads(input, is_phoneme, rank)
        envelope, aperiodicity, f0_hz, voiced, durations = self.network.predict(
            ids,
            speakers,
            length_scale=scales[1],
            rhythm_noise=0.1 * scales[2],
            sharpening=self.sharpening,
        )
        breath = (scales[0] / NEUTRAL_NOISE_SCALE).clamp(0.0, 2.0)
        sound = self.vocoder(envelope, aperiodicity, f0_hz, voiced, breath)
        by_id = torch.gather(durations, 1, rank.clamp(min=0)) * is_phoneme.to(durations.dtype)
        return sound[:, None], by_id


def _without_pads(ids: Tensor, is_phoneme: Tensor, rank: Tensor) -> Tensor:
    """Move the phonemes of each row together, zeros after them; shape (batch, most phonemes of a row)."""
    most = rank[:, -1].max() + 1
    slots = _count_up(most)[None, :, None]
    # (batch, phonemes, ids): one 1 per phoneme, where it came from
    chosen = (rank[:, None] == slots) & is_phoneme[:, None]
    return (chosen.to(ids.dtype) * ids[:, None]).sum(dim=2)
