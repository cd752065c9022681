"""Somebody speaks while she does: quieter at once, silent when it is speech, loud again when it was nothing.

Speech is what lasts BARGE_IN_MS or was read as a word; a cough is neither. A turn that is still being thought about counts as hers
too: whoever goes on speaking does not want the answer to half a sentence.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Literal, Protocol

from backend.listening.options import ListeningOptions

logger = logging.getLogger(__name__)


class Voice(Protocol):
    """Her voice, as far as somebody who speaks has to do with it; `backend.playback.player.Player` is it."""

    def is_speaking(self, conversation_id: str = ...) -> bool:
        """Whether a reply there is being spoken."""
        ...

    def duck(self, is_ducked: bool) -> None:
        """Go down, or up again."""
        ...


class Turns(Protocol):
    """The turns, likewise; `backend.chat.conversations.Chat` is it."""

    def is_busy(self, conversation_id: str = ...) -> bool:
        """Whether a turn runs there."""
        ...

    async def interrupt(self, conversation_id: str = ...) -> bool:
        """Stop it; return whether there was one."""
        ...


class BargeIn:
    """Decides for one conversation; one utterance at a time.

    Args:
        conversation_id: Where.
        voice: Ducked and asked whether she speaks.
        turns: Interrupted.
        options: Asked at each decision, so that a changed setting takes effect.
    """

    def __init__(
        self,
        conversation_id: str,
        voice: Voice,
        turns: Turns,
        options: Callable[[], ListeningOptions],
    ) -> None:
        self._conversation_id = conversation_id
        self._voice = voice
        self._turns = turns
        self._options = options
        self._state: Literal["nothing", "unsure", "interrupted"] = "nothing"
        self._is_on = False
        self._has_ducked = False
        self._task: asyncio.Task[bool] | None = None

    @property
    def is_over_speech(self) -> bool:
        """Whether she is speaking there."""
        return self._voice.is_speaking(self._conversation_id)

    @property
    def is_her_turn(self) -> bool:
        """Whether she speaks or is about to."""
        return self.is_over_speech or self._turns.is_busy(self._conversation_id)

    def began(self) -> None:
        """Something that sounds like speech began."""
        self._state = "nothing"
        self._is_on = True
        self._look()

    def again(self) -> None:
        """It goes on after a pause."""
        self._is_on = True
        self._look()

    def speech(self, speech_ms: float) -> None:
        """So much speech was heard of it so far; called with every frame."""
        if self._is_on:
            self._look()  # she may have begun to speak only after the person did
        if self._state == "unsure" and speech_ms >= self._options().barge_in_ms:
            self._interrupt(f"{speech_ms:.0f} ms of speech")

    def words(self, text: str) -> None:
        """This was read of it so far."""
        if not any(char.isalnum() for char in text):
            return
        self._look()
        if self._state == "unsure":
            self._interrupt("words")

    def meant(self) -> None:
        """Somebody wants to speak, whatever is heard: a held key, a message from another program."""
        self._look()
        if self._state == "unsure":
            self._interrupt("the key")

    def nothing(self) -> None:
        """It was nothing, or it is over."""
        self._state = "nothing"
        self._is_on = False
        self._unduck()

    async def settled(self) -> None:
        """Wait until an interruption that was begun is done: what is said next finds the turn ended."""
        if self._task is not None:
            await asyncio.wait([self._task])

    def _look(self) -> None:
        if not self._options().barge_in or self._state == "interrupted" or not self.is_her_turn:
            return
        self._state = "unsure"
        if self.is_over_speech and not self._has_ducked:
            self._has_ducked = True
            self._voice.duck(True)

    def _unduck(self) -> None:
        if self._has_ducked:
            self._has_ducked = False
            self._voice.duck(False)

    def _interrupt(self, why: str) -> None:
        self._state = "interrupted"
        # The end of what was being spoken undoes the ducking.
        self._has_ducked = False
        logger.debug("conversation %s: interrupted by %s", self._conversation_id, why)
        self._task = asyncio.create_task(
            self._turns.interrupt(self._conversation_id), name="interrupt by speech"
        )
        self._task.add_done_callback(_tell)


def _tell(task: asyncio.Task[bool]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        logger.error("could not interrupt", exc_info=error)
