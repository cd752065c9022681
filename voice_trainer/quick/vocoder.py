"""From features to sound in plain tensor operations: a source-filter vocoder that exports to ONNX and has no learned part.

Public names: `Vocoder(rate_hz)`; call it with features, get samples. All constants are exact: WORLD's decoders are affine
in the log domain and are stored as matrices, spectra are products with a fixed Fourier basis, and the minimum phase of a
log spectrum is one constant matrix (its discrete Hilbert transform).

Sources: the spectral model is WORLD's (Morise et al. 2016); the pulse train is the Dirichlet kernel, the sum of all
harmonics below half the rate in closed form (Stilson, Smith 1996, "Alias-free digital synthesis of classic analog
waveforms"); minimum phase through the folded cepstrum is Oppenheim, Schafer, "Discrete-time signal processing", ch. 13.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from voice_trainer.quick.features import ENVELOPE_SIZE, grid

Float64Array = npt.NDArray[np.float64]

NOISE_SECONDS = 2.0
"""Length of the stored noise, which repeats: long enough not to be heard as a rhythm inside a sentence."""

NOISE_SEED = 20_250_101

# 513 bins of one frame; a louder or quieter envelope than these (in nepers) is a mistake of the network, not speech.
LEAST_LOG_MAGNITUDE, GREATEST_LOG_MAGNITUDE = -20.0, 10.0


class Vocoder(nn.Module):
    """Speak features. Everything is differentiable except the choice of voicing.

    The noise is a fixed table, so the same features give the same samples, in torch and in ONNX alike.
    """

    def __init__(self, rate_hz: int) -> None:
        """Make the constants.

        Raises:
            ValueError: There is no grid for this rate.
        """
        super().__init__()
        self.grid = grid(rate_hz)
        self.window = 2 * self.grid.hop
        to_log_power, log_power_offset = envelope_map(rate_hz)
        to_noise_db, noise_db_offset = aperiodicity_map(rate_hz)
        analysis_cos, analysis_sin = _analysis_basis(self.window, self.grid.fft_size)
        synthesis_cos, synthesis_sin = _synthesis_basis(self.grid.fft_size)
        noise = np.random.default_rng(NOISE_SEED).standard_normal(int(NOISE_SECONDS * rate_hz))
        self.to_log_power = _constant(self, "to_log_power", to_log_power)
        self.log_power_offset = _constant(self, "log_power_offset", log_power_offset)
        self.to_noise_db = _constant(self, "to_noise_db", to_noise_db)
        self.noise_db_offset = _constant(self, "noise_db_offset", noise_db_offset)
        self.analysis_cos = _constant(self, "analysis_cos", analysis_cos[:, None])
        self.analysis_sin = _constant(self, "analysis_sin", analysis_sin[:, None])
        self.synthesis_cos = _constant(self, "synthesis_cos", synthesis_cos[:, None])
        self.synthesis_sin = _constant(self, "synthesis_sin", synthesis_sin[:, None])
        self.to_phase = _constant(self, "to_phase", minimum_phase_matrix(self.grid.fft_size))
        self.noise = _constant(self, "noise", noise)
        self.between = _constant(self, "between", np.arange(self.grid.hop) / self.grid.hop)

    def forward(
        self,
        envelope: Tensor,
        aperiodicity: Tensor,
        f0_hz: Tensor,
        voiced: Tensor,
        breath: Tensor | float = 1.0,
    ) -> Tensor:
        """Speak.

        Args:
            envelope: Coded as in `Features`, shape (batch, frames, ENVELOPE_SIZE).
            aperiodicity: In dB, shape (batch, frames, bands).
            f0_hz: Above 0 everywhere, also where nothing is voiced, shape (batch, frames).
            voiced: 1 or 0 (or between: a share), shape (batch, frames).
            breath: Gain of the noise inside voiced frames, 1 as analysed; consonants keep their noise.

        Returns:
            Samples, shape (batch, frames * hop).
        """
        hop, frames = self.grid.hop, f0_hz.shape[1]
        log_magnitude = 0.5 * (envelope @ self.to_log_power + self.log_power_offset)
        phase = log_magnitude @ self.to_phase
        magnitude = torch.exp(log_magnitude.clamp(LEAST_LOG_MAGNITUDE, GREATEST_LOG_MAGNITUDE))
        decibels = aperiodicity @ self.to_noise_db + self.noise_db_offset
        noisiness = torch.pow(10.0, decibels / 20).clamp(0.001, 0.9999)  # (batch, frames, bins)
        is_voiced = voiced[:, :, None]
        noise_gain = noisiness * is_voiced * breath + (1 - is_voiced)
        pulse_gain = torch.sqrt(1 - noisiness * noisiness) * is_voiced

        pulses = self._pulses(f0_hz)  # (batch, samples)
        noise = self._noise(pulses)
        pulse_re, pulse_im = self._analyse(pulses, frames)
        noise_re, noise_im = self._analyse(noise, frames)
        source_re = pulse_re * pulse_gain + noise_re * noise_gain  # (batch, frames, bins)
        source_im = pulse_im * pulse_gain + noise_im * noise_gain
        filter_re, filter_im = magnitude * torch.cos(phase), magnitude * torch.sin(phase)
        out_re = source_re * filter_re - source_im * filter_im
        out_im = source_re * filter_im + source_im * filter_re
        sound = F.conv_transpose1d(out_re.transpose(1, 2), self.synthesis_cos, stride=hop)
        sound = sound + F.conv_transpose1d(out_im.transpose(1, 2), self.synthesis_sin, stride=hop)
        begin = self.window // 2
        return sound[:, 0, begin : begin + frames * hop]

    def _pulses(self, f0_hz: Tensor) -> Tensor:
        """A band-limited pulse train of unit power, shape (batch, samples)."""
        rate_hz = self.grid.rate_hz
        f0 = self._between_frames(f0_hz)
        # In double: a float's 24 bits would drift audibly within a minute.
        cycles = torch.remainder(torch.cumsum(f0.double() / rate_hz, dim=1), 1.0).float()
        angle = 2 * math.pi * cycles
        f0 = f0.clamp(min=50.0)
        most = rate_hz / 2 / f0
        harmonics = torch.floor(most) - 1
        half = torch.sin(angle / 2)
        is_regular = half.abs() > 1e-4
        safe = torch.where(is_regular, half, torch.ones_like(half))
        kernel = torch.sin((harmonics + 0.5) * angle) / (2 * safe) - 0.5
        kernel = torch.where(is_regular, kernel, harmonics)
        # The highest harmonic fades in as the pitch falls; switched on at once it would click.
        kernel = kernel + (most - harmonics - 1) * torch.cos((harmonics + 1) * angle)
        return kernel * 2 * torch.sqrt(f0 / rate_hz)

    def _between_frames(self, values: Tensor) -> Tensor:
        """A value for each sample, in straight lines from the middle of a frame to that of the next."""
        following = torch.cat([values[:, 1:], values[:, -1:]], dim=1)
        lines = values[:, :, None] + (following - values)[:, :, None] * self.between
        return lines.flatten(1)

    def _noise(self, like: Tensor) -> Tensor:
        """White noise of unit power, as long as another signal, shape (batch, samples)."""
        places = torch.cumsum(torch.ones_like(like[:1], dtype=torch.int64), dim=1) - 1
        table = torch.index_select(self.noise, 0, torch.remainder(places[0], len(self.noise)))
        return table[None].expand_as(like)

    def _analyse(self, signal: Tensor, frames: int) -> tuple[Tensor, Tensor]:
        """Short-time spectrum, real and imaginary part, each of shape (batch, frames, bins)."""
        hop, margin = self.grid.hop, self.window // 2
        padded = F.pad(signal[:, None], (margin, margin))
        real = F.conv1d(padded, self.analysis_cos, stride=hop)[:, :, :frames]
        imaginary = F.conv1d(padded, self.analysis_sin, stride=hop)[:, :, :frames]
        return real.transpose(1, 2), imaginary.transpose(1, 2)


def envelope_map(rate_hz: int) -> tuple[Float64Array, Float64Array]:
    """WORLD's envelope decoder as log power = code @ matrix + offset; shapes (ENVELOPE_SIZE, bins) and (bins,)."""
    import pyworld

    frames = grid(rate_hz)
    codes = np.concatenate([np.zeros((1, ENVELOPE_SIZE)), np.eye(ENVELOPE_SIZE)])
    decoded = np.log(pyworld.decode_spectral_envelope(codes, rate_hz, frames.fft_size))
    return decoded[1:] - decoded[0], decoded[0]


def aperiodicity_map(rate_hz: int) -> tuple[Float64Array, Float64Array]:
    """WORLD's aperiodicity decoder as decibels = code @ matrix + offset; shapes (bands, bins) and (bins,).

    WORLD takes a mean above -0.5 dB for "unvoiced" and answers 0 dB everywhere; that branch is left to the voicing.
    """
    import pyworld

    frames = grid(rate_hz)
    step_db = -10.0
    codes = np.full((frames.bands + 1, frames.bands), step_db)
    codes[1:] += step_db * np.eye(frames.bands)
    decoded = 20 * np.log10(pyworld.decode_aperiodicity(codes, rate_hz, frames.fft_size))
    matrix = (decoded[1:] - decoded[0]) / step_db
    return matrix, decoded[0] - step_db * matrix.sum(axis=0)


def minimum_phase_matrix(fft_size: int) -> Float64Array:
    """The map from a log magnitude spectrum to its minimum phase in radians, shape (bins, bins): phase = log_mag @ map."""
    bins = fft_size // 2 + 1
    spectra = np.eye(bins)
    both_sides = np.concatenate([spectra, spectra[:, -2:0:-1]], axis=1)
    cepstra = np.fft.ifft(both_sides, axis=1).real
    cepstra[:, 1 : fft_size // 2] *= 2
    cepstra[:, fft_size // 2 + 1 :] = 0
    return np.asarray(np.fft.fft(cepstra, axis=1).imag[:, :bins], dtype=np.float64)


def _analysis_basis(window: int, fft_size: int) -> tuple[Float64Array, Float64Array]:
    """Rows of a Fourier matrix under a periodic Hann window, shape (bins, window) each; hop = half the window adds to 1."""
    places, bins = np.arange(window), np.arange(fft_size // 2 + 1)
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * places / window)
    angles = 2 * np.pi * np.outer(bins, places) / fft_size
    return hann * np.cos(angles), -hann * np.sin(angles)


def _synthesis_basis(fft_size: int) -> tuple[Float64Array, Float64Array]:
    """The inverse Fourier transform of a real signal from its non-negative frequencies, shape (bins, fft_size) each."""
    places, bins = np.arange(fft_size), np.arange(fft_size // 2 + 1)
    weights = np.full((len(bins), 1), 2.0)
    weights[0] = weights[-1] = 1.0  # 0 Hz and half the rate have no mirror image
    angles = 2 * np.pi * np.outer(bins, places) / fft_size
    return weights * np.cos(angles) / fft_size, -weights * np.sin(angles) / fft_size


def _constant(module: nn.Module, name: str, values: Float64Array) -> Tensor:
    """Register values as a buffer that checkpoints leave out (it is the same for ever)."""
    tensor = torch.tensor(values, dtype=torch.float32)
    module.register_buffer(name, tensor, persistent=False)
    return tensor
