"""Panic: everything stops at once, and stays still until somebody says to go on.

The sound goes first, without waiting for anything; turns end behind it. What a person had set (volume, muting, the
microphone's mode) is left alone underneath, so that going on needs to remember nothing and restores all of it. It is not kept
over a restart: a backend that was started again answers.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Protocol

from backend.chat.conversations import Chat
from backend.contracts.events import PanicChanged
from backend.contracts.panic import PanicState
from backend.core import clock
from backend.core.bus import EventBus
from backend.playback.player import Player

logger = logging.getLogger(__name__)


class Ears(Protocol):
    """All that listens."""

    def hold(self, is_held: bool) -> None:
        """Whether nothing that is heard counts, whatever the microphone is set to."""
        ...


class Viewers(Protocol):
    """The queue of those who write."""

    def hold(self) -> None:
        """Answer nobody until `release`."""
        ...

    def release(self) -> None:
        """Answer again."""
        ...


class Panic:
    """The one switch for everything; all methods are for the backend's loop.

    Args:
        bus: Where `panic.changed` goes.
        chat: Its turns are stopped, and nothing is answered meanwhile.
        player: Is silent meanwhile.
        ears: Hear nothing meanwhile.
        calm: Called with True to make every face neutral and end every motion, with False to give them back.
        viewers: Wait meanwhile.
    """

    def __init__(
        self,
        bus: EventBus,
        chat: Chat,
        player: Player,
        ears: Ears,
        calm: Callable[[bool], None],
        viewers: Viewers | None = None,
    ) -> None:
        self._bus = bus
        self._chat = chat
        self._player = player
        self._ears = ears
        self._calm = calm
        self._viewers = viewers
        self._state = PanicState()

    @property
    def state(self) -> PanicState:
        """How it is now."""
        return self._state

    async def begin(self, by: str = "api") -> PanicState:
        """Stop everything; once more when it is stopped already, for what began in the same moment."""
        self._player.silence(True)
        self._ears.hold(True)
        self._calm(True)
        if self._viewers is not None:
            self._viewers.hold()
        is_news = not self._state.is_on
        if is_news:
            self._state = PanicState(is_on=True, by=by, since=clock.now())
            logger.warning("panic by %s: everything stops", by)
        # Whoever plays sounds himself hears of it now, not when the last turn has been stored.
        self._tell(is_news)
        stopped = await self._chat.hold()
        if stopped and self._state.is_on:
            self._state = self._state.model_copy(update={"stopped": self._state.stopped + stopped})
            self._tell(True)
        return self._state

    def end(self, by: str = "api") -> PanicState:
        """Go on: voice, microphone and faces are as they were set."""
        if self._state.is_on:
            self._state = PanicState(by=by)
            self._chat.let_go()
            self._calm(False)
            self._ears.hold(False)
            self._player.silence(False)
            if self._viewers is not None:
                self._viewers.release()
            logger.info("%s says to go on after the panic", by)
            self._tell(True)
            self._state = PanicState()
        return self._state

    def _tell(self, is_news: bool) -> None:
        if is_news:
            severity = "WARNING" if self._state.is_on else "INFO"
            self._bus.publish(PanicChanged(panic=self._state, severity=severity))
