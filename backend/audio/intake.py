"""Sound as it comes, made into what listening wants: 16 kHz mono in frames of one length, with gain and a meter.

A second of 48 kHz sound costs 1.2 ms in pieces of 20 ms, so it is done where the sound arrives. Making an `Intake` loads
numpy and soxr, which takes 50 ms and more: do that on a worker thread.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from backend.audio.levels import FloatArray, from_pcm16, to_pcm16

RATE_HZ = 16_000
CLIPPED = 32_700 / 32_768
METER_S = 0.05
SILENCE_DBFS = -120.0

QUALITY = "LQ"
"""soxr gives what it has in blocks: this one is up to 20 ms behind, the better ones 40 ms and more, which would be added
to every reply. Measured: within 0.3 dB up to 6 kHz, 3 dB down at 6.5 kHz, and what would fold back from 8.5 kHz and above is 85 dB
down."""


class Intake:
    """One stream of sound from its own rate to 16 kHz.

    Args:
        rate_hz: Of what comes in.
        frame_samples: Samples of a frame, at 16 kHz.
        gain_db: Added to it.
    """

    def __init__(self, rate_hz: int, frame_samples: int, gain_db: float = 0.0) -> None:
        self.frame_samples = frame_samples
        self.levels: list[tuple[float, float, bool]] = []
        """What the meter reads for each 50 ms, for whoever pushes to take and clear: dBFS of the RMS and of the largest
        sample, and whether the top was cut off, by the device or by the gain."""
        self._gain = 1.0
        self.set_gain(gain_db)
        self._resampler: Any = None
        if rate_hz != RATE_HZ:
            import soxr

            self._resampler = soxr.ResampleStream(
                rate_hz, RATE_HZ, 1, dtype="float32", quality=QUALITY
            )
        self._rest = bytearray()
        self._odd = b""
        self._power = 0.0
        self._peak = 0.0
        self._was_cut = False
        self._metered = 0

    def set_gain(self, gain_db: float) -> None:
        """Use another gain from the next piece on."""
        self._gain = 10 ** (gain_db / 20)

    def push(self, pcm: bytes) -> list[bytes]:
        """The whole frames there are with this piece of PCM16; a sample may be cut between two pieces."""
        if self._odd or len(pcm) % 2:
            pcm = self._odd + pcm
            whole = len(pcm) // 2 * 2
            pcm, self._odd = pcm[:whole], pcm[whole:]
        self._rest += self._converted(pcm)
        size = 2 * self.frame_samples
        count = len(self._rest) // size
        frames = [bytes(self._rest[n * size : (n + 1) * size]) for n in range(count)]
        del self._rest[: count * size]
        return frames

    def end(self) -> bytes:
        """What is left when nothing more comes, shorter than a frame or not."""
        if self._resampler is not None:
            self._rest += to_pcm16(
                self._resampler.resample_chunk(np.empty(0, np.float32), last=True)
            )
            self._resampler.clear()
        rest, self._odd = bytes(self._rest), b""
        self._rest.clear()
        return rest

    def _converted(self, pcm: bytes) -> bytes:
        samples = from_pcm16(pcm)
        if samples.size == 0:
            return b""
        if float(np.abs(samples).max()) >= CLIPPED:
            self._was_cut = True  # cut off by the device: the resampler would round it
        if self._gain == 1.0 and self._resampler is None:
            self._measure(samples)
            return pcm
        samples = samples * np.float32(self._gain)
        if self._resampler is not None:
            samples = np.asarray(self._resampler.resample_chunk(samples), dtype=np.float32)
        self._measure(samples)
        return to_pcm16(samples)

    def _measure(self, samples: FloatArray) -> None:
        """Note a reading for every 50 ms."""
        window = round(METER_S * RATE_HZ)
        start = 0
        while start < samples.size:
            piece = samples[start : start + window - self._metered]
            start += piece.size
            self._metered += piece.size
            self._power += float(np.dot(piece, piece))
            self._peak = max(self._peak, float(np.abs(piece).max()))
            if self._metered == window:
                self.levels.append(
                    (
                        _dbfs(self._power / window, 10),
                        _dbfs(self._peak, 20),
                        self._was_cut or self._peak >= CLIPPED,
                    )
                )
                self._power = self._peak = 0.0
                self._metered, self._was_cut = 0, False


def _dbfs(value: float, factor: int) -> float:
    return max(SILENCE_DBFS, factor * float(np.log10(value))) if value > 0 else SILENCE_DBFS
