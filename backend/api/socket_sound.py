"""The sound that one socket sends: an ear of its own, fed with what it sends between its orders.

Frames and orders ("listen", "that was all") come on one line, but an order takes its time: frames that came after one wait
for it. How much sound is taken is bounded by time, so that nobody fills the memory or is heard faster than anybody speaks.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from backend.contracts.errors import AppError, ConflictError, InvalidInputError
from backend.core.clock import monotonic_s

if TYPE_CHECKING:
    from backend.api.bodies import ListenBody
    from backend.api.state import Services
    from backend.chat.conversations import TurnHandle
    from backend.contracts.listening import DropReason
    from backend.listening.ear import Ear

ORIGIN = "ws"

BURST_S = 30.0
"""Sound that may come at once, as when an utterance is sent when it is over; as much as an ear lets wait."""

PACE = 1.25
"""Seconds of sound a second after that: clocks differ, and a stall is caught up with."""

LARGEST_FRAME_BYTES = 192_000
"""A second of 96 kHz, six of 16 kHz: the time it takes to look at one is time that nobody else has."""


NOTHING_SAID = "Nothing was said since the last message, or silence has ended it already."


class NotListeningError(ConflictError):
    """Sound came, and nobody listens to it."""

    code = "listen.off"


class BadSoundError(InvalidInputError):
    """What came is no PCM16."""

    code = "listen.malformed"


class TooMuchSoundError(AppError):
    """More sound came than time has passed."""

    code = "listen.too_fast"
    status = 429
    retryable = True


@dataclass(slots=True)
class Allowance:
    """How many seconds of sound may come."""

    left_s: float = BURST_S
    at_s: float = 0.0

    def take(self, seconds: float, now_s: float) -> bool:
        """Whether so much may come now."""
        self.left_s = min(BURST_S, self.left_s + (now_s - self.at_s) * PACE)
        self.at_s = now_s
        if seconds > self.left_s:
            return False
        self.left_s -= seconds
        return True


class SocketSound:
    """What one socket sends to be heard; all methods are for the backend's loop.

    Args:
        services: The running backend.
        now_s: The clock.
    """

    def __init__(self, services: Services, now_s: Callable[[], float] = monotonic_s) -> None:
        self._services = services
        self._now_s = now_s
        self._allowance = Allowance(at_s=now_s())
        self._ear: Ear | None = None
        self._rate_hz = 16_000
        self._own_conversation = ""
        self._drops = 0
        self._last_drop: tuple[DropReason, str] = ("no_words", NOTHING_SAID)
        self._waiting: deque[bytes | None] = deque()
        """Frames that came after an order that is not carried out yet; None stands for the order."""

    # --- frames ---

    def feed(self, pcm: bytes) -> None:
        """Take a frame: PCM16 mono at the rate that was agreed on.

        Raises:
            NotListeningError: Nothing is listened to.
            BadSoundError: It is half a sample too long, or much too long.
            TooMuchSoundError: More came than time has passed.
        """
        if self._ear is None and not self._waiting:
            raise NotListeningError(
                'Sound was sent, but nobody listens to this socket. Say {"do": "listen", "rate_hz": 16000} first.'
            )
        if len(pcm) % 2:
            raise BadSoundError(
                f"A frame of sound holds whole samples of two bytes, this one has {len(pcm):,} bytes. Send PCM16,"
                " little-endian, mono."
            )
        if len(pcm) > LARGEST_FRAME_BYTES:
            raise BadSoundError(
                f"A frame of sound holds at most {LARGEST_FRAME_BYTES:,} bytes, this one has {len(pcm):,}. Send pieces"
                " of 20 to 100 ms."
            )
        if not self._allowance.take(len(pcm) / 2 / self._rate_hz, self._now_s()):
            raise TooMuchSoundError(
                f"Sound comes faster than anybody speaks: after {BURST_S:g} s at once, at most {PACE:g} s a second are"
                " taken. This frame was left out."
            )
        if self._waiting:
            self._waiting.append(pcm)
        else:
            self._hear(pcm)

    def _hear(self, pcm: bytes) -> None:
        if self._ear is None:
            return  # the order to listen was refused, which was told
        if self._ear.is_closed:
            self._ear = None
            raise NotListeningError(
                "Speech to text was switched off, and this socket is not listened to any more. Switch it on in the"
                " Status tab and listen again."
            )
        self._ear.feed(pcm)

    # --- orders ---

    def expect_order(self) -> None:
        """An order came: the frames after it wait for it."""
        self._waiting.append(None)

    def begin_order(self) -> None:
        """The next order is carried out now; what came before it is heard before."""
        while self._waiting and (pcm := self._waiting[0]) is not None:
            self._waiting.popleft()
            if self._ear is not None:
                self._ear.feed(pcm)

    def end_order(self) -> None:
        """The order was carried out, or refused: what came after it is heard, up to the next one."""
        self._waiting.popleft()
        self.begin_order()

    async def listen(self, body: ListenBody) -> dict[str, Any]:
        """Open the ear; one that is open is closed before.

        Raises:
            AppError: There is no such conversation, or nothing can be listened to.
        """
        await self.close()
        conversation_id = body.conversation_id or await self._own()
        await self._services.chat.conversation(conversation_id)
        self._ear = await self._services.hearing.open_ear(
            conversation_id, origin=ORIGIN, rate_hz=body.rate_hz, auto_end=body.auto_end
        )
        self._ear.on_dropped = self._dropped
        self._rate_hz = body.rate_hz
        return {"conversation_id": conversation_id, "rate_hz": body.rate_hz}

    async def finish(self) -> Coroutine[Any, Any, dict[str, Any]]:
        """That was all: read what was said until now; gives the turn it became later, or why it became none.

        Raises:
            NotListeningError: Nothing is listened to.
        """
        if self._ear is None:
            raise NotListeningError(
                'Nobody listens to this socket. Say {"do": "listen", "rate_hz": 16000} first.'
            )
        ear, drops = self._ear, self._drops
        reading = asyncio.create_task(ear.end(), name="reading what a socket said")
        # It begins to run, and has its place among the frames then.
        await asyncio.sleep(0)
        return self._outcome(reading, drops)

    async def _outcome(
        self, reading: asyncio.Task[TurnHandle | None], drops: int
    ) -> dict[str, Any]:
        handle = await reading
        if handle is not None:
            return {"turn_id": handle.turn_id}
        reason, detail = self._last_drop if self._drops > drops else ("no_words", NOTHING_SAID)
        return {"turn_id": None, "reason": reason, "detail": detail}

    def _dropped(self, reason: DropReason, detail: str) -> None:
        self._drops += 1
        self._last_drop = (reason, detail)

    async def close(self) -> None:
        """Listen no more; what was not read yet is dropped."""
        ear, self._ear = self._ear, None
        if ear is not None:
            await ear.close()

    async def _own(self) -> str:
        if not self._own_conversation:
            conversation = await self._services.chat.create(title="Spoken over the event stream")
            self._own_conversation = conversation.id
        return self._own_conversation
