"""Her own voice at the microphone: what comes out of the loudspeaker must not count as somebody who speaks.

While she sounds, and a little longer, every stretch that the voice detector takes for speech is compared with what left the output
(`backend.audio.echo`, in the engine host), and counts as hers unless it is certain that somebody else speaks, twice in a row. Where the
times of output and microphone are a guess (a busy computer: the output ran dry, sound was lost), only what is louder than she has lately
arrived here counts, so that with headphones she is interrupted all the same. What slips through and is read is her own text, which is
noticed by its words.
"""

from __future__ import annotations

import logging
import re
from collections import deque
from collections.abc import Callable
from difflib import SequenceMatcher
from itertools import pairwise
from typing import Literal

from backend.contracts.errors import AppError
from backend.contracts.listening import EchoGuard
from backend.core.workers import EngineHost
from backend.listening.endpointing import RATE_HZ
from backend.outputs.base import KEPT_S, Sounding

logger = logging.getLogger(__name__)

HOST = "backend.audio.echo"
STRETCH_S = 1.5
"""Sound at the microphone that is explained at once."""
LEAST_S = 0.25
"""Less sound is explained by anything."""
MOST_DELAY_S = 0.6
"""From the output to the sound's arrival here: two devices' buffers and a few metres."""
EARLY_S = 0.05
"""An output may be wrong about when a sound leaves it."""
ROOM_S = 0.3
"""What a room still gives back of a sound that has ended."""
NEWEST_MS = 128
EVERY_FRAMES = 2
"""A verdict stands for so many frames: it is 4-14 ms of work."""
IN_A_ROW = 2
"""Verdicts for somebody before one counts."""
QUIET_FRAMES = 8
"""Such a pause between two of them, and they are not in a row."""
CALL_S = 3.0
"""Longer than it ever takes: who waits too briefly restarts what is only slow. What is behind is not compared, see `BEHIND_S`."""
BEHIND_S = 0.8
"""Sound that is followed so late is not compared where she may be heard in it: it is hers."""
FORGOTTEN_S = KEPT_S - STRETCH_S - MOST_DELAY_S - ROOM_S
"""What was played before is not known any more."""
SHAKEN_S = 2.0
"""So long after the output ran dry or jumped a filter that is fitted to both sides of that says nothing."""

OBSERVE_FRAMES = 16
"""Every half second of her voice it is looked how much of it arrives."""
OBSERVATIONS = 24
LEAST_OBSERVATIONS = 3
QUARTER = 4
"""The quarter with the least shows how loud she arrives: in the others somebody spoke, too."""
CLEAR_OBSERVATIONS = 6
FOUND = 0.7
"""Levels so much like hers are her voice in this microphone."""

Verdict = Literal["free", "somebody", "maybe", "hers", "late"]
"""She does not sound; somebody else speaks; perhaps, it is not certain yet; it is hers or may be; it was not compared in time."""

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
        self._verdict: Verdict = "hers"
        self._row = 0
        self._quiet = 0
        self._is_warm = False
        self._judged = EVERY_FRAMES
        self._unobserved = 0
        self._observed: deque[tuple[list[float] | None, float]] = deque(maxlen=OBSERVATIONS)

    @property
    def is_found(self) -> bool:
        """Whether her voice was lately found in this microphone, or may be for all that is known."""
        if len(self._observed) < CLEAR_OBSERVATIONS:
            return True
        alike = [likeness >= FOUND for _, likeness in self._observed]
        return any(map(all, pairwise(alike)))  # one alone may be chance

    def forget(self) -> None:
        """It is another microphone."""
        self._observed.clear()
        self._heard.clear()
        self._row = 0

    async def judge(
        self,
        frames: bytes,
        count: int,
        end_s: float,
        guard: EchoGuard,
        *,
        is_speech: bool,
        is_sure: bool = True,
        late_s: float = 0.0,
    ) -> Verdict:
        """Whose voice it is; called with all sound, in order.

        Args:
            frames: The newest sound, PCM16 mono at 16 kHz.
            count: How many frames it is.
            end_s: Monotonic time of its end.
            guard: What is wanted.
            is_speech: Whether it sounds like speech; if not, nothing is compared.
            is_sure: Whether that time is known to some ms, now and in the last seconds, and nothing of the sound is missing.
            late_s: How long ago that time is.
        """
        self._heard += frames
        keep = 2 * round(STRETCH_S * RATE_HZ)
        if len(self._heard) > 2 * keep:
            del self._heard[:-keep]
        if guard == "headphones":
            return "free"
        since_s = end_s - STRETCH_S - MOST_DELAY_S
        first_s = end_s - len(frames) / 2 / RATE_HZ - MOST_DELAY_S - ROOM_S
        if late_s > FORGOTTEN_S:
            return "late"
        asked_s = max(0.0, late_s) + STRETCH_S + MOST_DELAY_S + ROOM_S
        sounding = [one for one in self._sounds(asked_s) if one.end_s > since_s]
        if not any(one.end_s > first_s and one.at_s < end_s for one in sounding):
            self._judged = EVERY_FRAMES
            self._row = 0
            return "free"
        if guard == "strict":
            return "hers"
        if not self._is_warm:
            # She has just begun: half a second until it computes, before anybody can have heard enough to object.
            self._is_warm = True
            self._host.warm([f"{HOST}:warm"])
        if late_s > BEHIND_S and self.is_found:
            # What is behind would get further behind.
            self._row = 0
            return "late" if is_speech else "free"
        heard = bytes(self._heard[-keep:])
        self._unobserved += count
        if self._unobserved >= OBSERVE_FRAMES and len(heard) == keep:
            self._unobserved = 0
            await self._observe(heard, sounding, end_s)
        if not is_speech:
            self._judged += count
            self._quiet += count
            if self._quiet >= QUIET_FRAMES:
                self._row = 0
            return "free"
        self._quiet = 0
        if self._judged + count > EVERY_FRAMES:
            self._judged = 0
            shaken = any(
                not one.is_sure and end_s - SHAKEN_S < one.at_s < end_s + EARLY_S
                for one in sounding
            )
            self._verdict = await self._compared(
                heard, sounding, end_s, is_sure=is_sure and not shaken
            )
        self._judged += count
        return self._verdict

    async def _compared(
        self, heard: bytes, sounding: list[Sounding], end_s: float, *, is_sure: bool
    ) -> Verdict:
        if len(heard) < 2 * RATE_HZ * LEAST_S:
            return "hers"
        stretches, extra = _stretches(heard, sounding, end_s)
        try:
            is_more = await self._host.call(
                f"{HOST}:judge",
                heard,
                stretches,
                extra,
                NEWEST_MS,
                self._arrives(),
                is_sure=is_sure,
                timeout_s=CALL_S,
            )
        except AppError as error:
            # Not to be interrupted for a moment is the smaller evil: else she would answer herself.
            logger.debug("not compared with her voice: %s", error.message)
            self._row = 0
            return "late"
        self._row = self._row + 1 if is_more else 0
        if not is_more:
            return "hers"
        return "somebody" if self._row >= IN_A_ROW else "maybe"

    async def _observe(self, heard: bytes, sounding: list[Sounding], end_s: float) -> None:
        stretches, extra = _stretches(heard, sounding, end_s)
        try:
            arrives, likeness = await self._host.call(
                f"{HOST}:observe", heard, stretches, extra, timeout_s=CALL_S
            )
        except AppError as error:
            logger.debug("not looked how loud she arrives: %s", error.message)
            return
        if arrives is not None:
            self._observed.append((arrives, likeness))

    def _arrives(self) -> list[float] | None:
        """How much of what is played arrives at most, in each band; None while that is not known."""
        found = sorted((one for one, _ in self._observed if one is not None), key=sum)
        return found[len(found) // QUARTER] if len(found) >= LEAST_OBSERVATIONS else None


def _stretches(
    heard: bytes, sounding: list[Sounding], end_s: float
) -> tuple[list[list[object]], int]:
    """What was played as the computing side takes it, and how much longer it is than what was heard."""
    since_s = end_s - len(heard) / 2 / RATE_HZ - MOST_DELAY_S
    stretches: list[list[object]] = []
    for one in sounding:
        first = max(0, round((since_s - one.at_s) * one.rate_hz))
        last = max(0, round((end_s + EARLY_S - one.at_s) * one.rate_hz))
        pcm = one.pcm[2 * first : 2 * last]
        if pcm:
            at_s = one.at_s + first / one.rate_hz - since_s
            stretches.append([pcm, one.rate_hz, round(at_s * RATE_HZ)])
    return stretches, round((MOST_DELAY_S + EARLY_S) * RATE_HZ)


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
