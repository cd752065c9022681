"""Her own voice at the microphone: what comes out of the loudspeaker must not count as somebody who speaks.

While she sounds, and a little longer, every stretch that the voice detector takes for speech is compared with what left the output
(`backend.audio.echo`, in the engine host). Nothing else is asked: with headphones, or with her voice off, nothing is compared. What slips
through and is read is her own text, which is noticed by its words.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from difflib import SequenceMatcher

from backend.contracts.errors import AppError
from backend.contracts.listening import EchoGuard
from backend.core.workers import EngineHost
from backend.listening.endpointing import RATE_HZ
from backend.outputs.base import Sounding

logger = logging.getLogger(__name__)

HOST = "backend.audio.echo"
STRETCH_S = 1.5
"""Sound at the microphone that is explained at once."""
LEAST_S = 0.25
"""Less sound is explained by anything."""
MOST_DELAY_S = 0.4
"""From the output to the sound's arrival here: two devices' buffers and a few metres."""
EARLY_S = 0.05
"""An output may be wrong about when a sound leaves it."""
ROOM_S = 0.3
"""What a room still gives back of a sound that has ended."""
NEWEST_MS = 128
EVERY_FRAMES = 2
"""A verdict stands for so many frames: it is 4 ms of work."""
CALL_S = 1.0

SAME_WORDS = 0.8
LEAST_WORDS = 3

Sounds = Callable[[float], list[Sounding]]
"""What left the output in the last seconds, and what is about to."""


class Echo:
    """Judges one microphone.

    Args:
        host: Where it is computed.
        sounds: What is being played.
    """

    def __init__(self, host: EngineHost, sounds: Sounds) -> None:
        self._host = host
        self._sounds = sounds
        self._heard = bytearray()
        self._is_hers = False
        self._is_warm = False
        self._judged = EVERY_FRAMES

    async def counts(
        self, frames: bytes, count: int, end_s: float, guard: EchoGuard, *, is_speech: bool
    ) -> bool:
        """Whether what was heard may count as somebody who speaks; called with all sound, in order.

        Args:
            frames: The newest sound, PCM16 mono at 16 kHz.
            count: How many frames it is.
            end_s: Monotonic time of its end.
            guard: What is wanted.
            is_speech: Whether it sounds like speech; if not, nothing is compared.
        """
        self._heard += frames
        keep = 2 * round(STRETCH_S * RATE_HZ)
        if len(self._heard) > 2 * keep:
            del self._heard[:-keep]
        if guard == "headphones":
            return True
        since_s = end_s - STRETCH_S - MOST_DELAY_S
        first_s = end_s - len(frames) / 2 / RATE_HZ - MOST_DELAY_S - ROOM_S
        sounding = [one for one in self._sounds(STRETCH_S + 1.5) if one.end_s > since_s]
        if not any(one.end_s > first_s and one.at_s < end_s for one in sounding):
            self._judged = EVERY_FRAMES
            return True
        if guard == "strict":
            return False
        if not self._is_warm:
            # She has just begun: half a second until it computes, before anybody can have heard enough to object.
            self._is_warm = True
            self._host.warm([f"{HOST}:warm"])
        if not is_speech:
            self._judged += count
            return True
        if self._judged + count > EVERY_FRAMES:
            self._judged = 0
            self._is_hers = not await self._is_more(
                bytes(self._heard[-keep:]), sounding, since_s, end_s
            )
        self._judged += count
        return not self._is_hers

    async def _is_more(
        self, heard: bytes, sounding: list[Sounding], since_s: float, end_s: float
    ) -> bool:
        if len(heard) < 2 * RATE_HZ * LEAST_S:
            return False
        since_s = end_s - len(heard) / 2 / RATE_HZ - MOST_DELAY_S
        stretches: list[list[object]] = []
        for one in sounding:
            first = max(0, round((since_s - one.at_s) * one.rate_hz))
            last = max(0, round((end_s + EARLY_S - one.at_s) * one.rate_hz))
            pcm = one.pcm[2 * first : 2 * last]
            if pcm:
                at_s = one.at_s + first / one.rate_hz - since_s
                stretches.append([pcm, one.rate_hz, round(at_s * RATE_HZ)])
        try:
            found = await self._host.call(
                f"{HOST}:hears_more",
                heard,
                stretches,
                round((MOST_DELAY_S + EARLY_S) * RATE_HZ),
                NEWEST_MS,
                timeout_s=CALL_S,
            )
        except AppError as error:
            # Not to be interrupted for a moment is the smaller evil: else she would answer herself.
            logger.debug("not compared with her voice: %s", error.message)
            return False
        return bool(found)


def says_the_same(heard: str, said: str) -> bool:
    """Whether what was read are words that she has just said, misread ones left out of account."""
    ours, hers = _words(heard), _words(said)
    if len(ours) < LEAST_WORDS or not hers:
        return False
    same = sum(
        block.size for block in SequenceMatcher(None, ours, hers, False).get_matching_blocks()
    )
    return same >= SAME_WORDS * len(ours)


def _words(text: str) -> list[str]:
    return re.findall(r"\w+", text.casefold())
