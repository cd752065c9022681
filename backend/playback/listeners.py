"""Pages that play the stage's sound for AUDIO_SINK=overlay: how many there are, and what to say when there is none."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from backend.contracts.entities import ServiceInfo
from backend.contracts.events import ErrorOccurred, ServiceChanged
from backend.core.bus import EventBus

logger = logging.getLogger(__name__)

NOBODY = "AUDIO_SINK is overlay, and no overlay page is connected: nobody hears the character."
FIX = "Open the overlay page (in OBS as a browser source, or in a browser), or set AUDIO_SINK=speaker."


class Listeners:
    """For the backend's loop.

    Args:
        bus: Told when the service changes, and once when something was played for nobody.
    """

    def __init__(self, bus: EventBus) -> None:
        self._bus = bus
        self._is_missed = False
        self.count = 0
        """Pages that play sound now."""

    @property
    def problem(self) -> str:
        """Why nothing is heard, and what to do; empty = somebody listens, or nothing was played for nobody."""
        return f"{NOBODY} {FIX}" if self._is_missed else ""

    @contextmanager
    def joined(self) -> Iterator[None]:
        """A page that plays sound is there as long as the ``with`` block is open."""
        self._change(1)
        try:
            yield
        finally:
            self._change(-1)

    def played_for(self, count: int) -> None:
        """A sound began with so many pages there; told once until somebody is there again."""
        is_missed = count == 0
        if is_missed == self._is_missed:
            return
        self._is_missed = is_missed
        self._tell()
        if is_missed:
            logger.warning("%s %s", NOBODY, FIX)
            self._bus.publish(
                ErrorOccurred(
                    source="playback",
                    severity="WARNING",
                    code="overlay.nobody",
                    reason=self.problem,
                )
            )

    def forget(self) -> None:
        """Another sink plays: nobody is missed any more."""
        self._is_missed = False

    def health(self) -> ServiceInfo:
        """How many listen, and what is wrong."""
        pages = f"{self.count} page{'s'[: self.count != 1]}"
        return ServiceInfo(
            name="overlay-sound",
            title="Sound of the overlay",
            kind="system",
            enabled=self.count > 0 or self._is_missed,
            state="ready" if self.count else "degraded" if self._is_missed else "off",
            detail=f"{pages} can play the stage" if self.count else "no overlay page is connected",
            error=NOBODY if self._is_missed else "",
            fix=FIX if self._is_missed else "",
        )

    def _change(self, by: int) -> None:
        self.count += by
        if self.count:
            self._is_missed = False
        self._tell()

    def _tell(self) -> None:
        self._bus.publish(ServiceChanged(service=self.health()))
