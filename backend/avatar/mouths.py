"""The mouth of every sentence, in time for its first sample.

A voice that tells its phonemes costs a fraction of a millisecond in the loop. For all others the sound is read in the engine host,
some milliseconds for a sentence, while nothing waits but that sentence; when it takes longer (its process has to start first) the
loudness of the sound moves the mouth instead, and the show goes on.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import replace
from typing import Protocol

from backend.audio import wav
from backend.avatar.visemes import LEVEL_S, from_levels, from_phonemes, from_shapes
from backend.contracts.avatar import MouthTime
from backend.contracts.entities import Audio, PhonemeTime, Speech, VoiceChoice
from backend.contracts.errors import AppError
from backend.core.clock import monotonic_s
from backend.core.workers import EngineHost, run_in_thread

logger = logging.getLogger(__name__)

HOST = "backend.audio.formants"

WAIT_S = 0.06
"""The longest a sentence waits for its mouth: one of 5 s takes 6 ms, of 30 s some 30; a process that starts takes 300."""
CALL_S = 10.0
"""Much longer than it ever takes: who waits too briefly restarts what is only slow."""

LEVEL_SAMPLES = 24
"""Of each 20 ms: within 2.5 dB of all of them for nine frames in ten, at a twentieth of the work."""
LONG_S = 20.0
"""Longer sentences are worked out on a thread: in the loop they would hold it up for some ms."""

WARM_AGAIN_S = 60.0


class Voice(Protocol):
    """What speaks; the chain of speech engines."""

    async def synthesize(self, text: str, voice: VoiceChoice) -> Speech:
        """Speak one sentence."""
        ...


class Mouths:
    """Works out mouths; for the backend's loop.

    Args:
        host: Where sound is read.
        wait_s: The longest a sentence waits for that.
    """

    def __init__(self, host: EngineHost, wait_s: float = WAIT_S) -> None:
        self._host = host
        self._wait_s = wait_s
        self._reads_sound = False
        self._warmed_s = float("-inf")
        self._with_mouth: WithMouth | None = None

    async def of(
        self, audio: Audio, phonemes: tuple[PhonemeTime, ...] = ()
    ) -> tuple[MouthTime, ...]:
        """Shapes in the time of a sound; empty for silence. Never fails and never takes long."""
        if phonemes:
            if audio.duration_s > LONG_S:
                return await run_in_thread(told, audio, phonemes)
            return told(audio, phonemes)
        self._reads_sound = True
        try:
            async with asyncio.timeout(self._wait_s):
                found = await self._host.call(
                    f"{HOST}:mouth", audio.pcm, audio.rate_hz, timeout_s=CALL_S
                )
            return from_shapes(found, audio.duration_s)
        except TimeoutError:
            logger.debug("a mouth came too late; the loudness moves it")
        except AppError as error:
            logger.debug("no mouth from the sound: %s", error.message)
        return await run_in_thread(_by_loudness, audio)

    def voice(self, inner: Voice) -> WithMouth:
        """The same voice, whose speech comes with its mouth; the same object as long as it is the same voice."""
        if self._with_mouth is None or self._with_mouth.inner is not inner:
            self._with_mouth = WithMouth(inner, self.of, self._warm)
        return self._with_mouth

    def _warm(self) -> None:
        """Have the process there before the sound is, where the sound was needed before."""
        if self._reads_sound and monotonic_s() - self._warmed_s > WARM_AGAIN_S:
            self._warmed_s = monotonic_s()
            self._host.warm([f"{HOST}:warm"])


class WithMouth:
    """A voice whose speech comes with its mouth.

    Args:
        inner: What speaks.
        mouth_of: Works out the mouth.
        begun: Called when a sentence begins to be spoken.
    """

    def __init__(
        self,
        inner: Voice,
        mouth_of: MouthOf,
        begun: Callable[[], None],
    ) -> None:
        self.inner = inner
        self._mouth_of = mouth_of
        self._begun = begun

    async def synthesize(self, text: str, voice: VoiceChoice) -> Speech:
        """Speak one sentence; as the inner voice does."""
        self._begun()
        speech = await self.inner.synthesize(text, voice)
        if speech.engine == "silence":
            return speech
        return replace(speech, mouth=await self._mouth_of(speech.audio, speech.phonemes))


class MouthOf(Protocol):
    """`Mouths.of`."""

    async def __call__(
        self, audio: Audio, phonemes: tuple[PhonemeTime, ...] = ()
    ) -> tuple[MouthTime, ...]:
        """Shapes in the time of a sound."""
        ...


def told(audio: Audio, phonemes: tuple[PhonemeTime, ...]) -> tuple[MouthTime, ...]:
    """The mouth of a sound whose phonemes are known."""
    return from_phonemes(phonemes, audio.duration_s, _levels(audio))


def _by_loudness(audio: Audio) -> tuple[MouthTime, ...]:
    return from_levels(_levels(audio), audio.duration_s)


def _levels(audio: Audio) -> list[float]:
    return wav.levels_dbfs(audio.pcm, audio.rate_hz, LEVEL_S, most=LEVEL_SAMPLES)
