"""Sound that overlay pages play: the sink keeps the time, the pages fetch and play what `playback.started` names.

Pages come with a token that reads only, so nobody reports what was heard: a sentence sounds in real time whether a page plays it,
several do, or none. A page needs a moment to fetch and decode the first sentence; it is announced that long before it begins, and the
next ones while the one before sounds, so that they follow without a gap.
"""

from __future__ import annotations

import asyncio
from array import array
from collections.abc import Awaitable, Callable

from backend.audio import wav
from backend.contracts.entities import Audio
from backend.core.clock import monotonic_s
from backend.outputs.base import OutputDevice, OverlayOptions, Progress, Sounding
from backend.outputs.recent import Recent

STARTS_S = 0.15
"""From `playback.started` to the first sample: the event, fetching, decoding, and one buffer of the page's own output. Without a page
that plays, nobody waits for it."""

TICK_S = 0.05
"""Positions come 20 times a second."""

AHEAD_S = 0.05
"""What is about to sound is known this long before, as it is of a loudspeaker."""

SHORTEST_S = 0.001
"""A wait; what is left of a sound can be too little for a clock to see."""

LEVEL_S = 0.02


class Overlay:
    """Plays on connected overlay pages; for the backend's loop."""

    name = "overlay"

    def __init__(self, options: OverlayOptions | None = None) -> None:
        options = options or OverlayOptions()
        self._listeners = options.listeners
        self._played_for = options.played_for
        self._now_s: Callable[[], float] = options.now_s or monotonic_s
        self._wait: Callable[[asyncio.Event, float], Awaitable[None]] = options.wait or _wait
        self._volume = 1.0
        self._stop: asyncio.Event | None = None
        self._next: Audio | None = None
        self._ended_s: float | None = None
        self._recent = Recent(TICK_S)

    async def play(self, audio: Audio, progress: Progress) -> float:
        """Let pages play one sound; see `Sink.play`."""
        if self._stop is not None:  # whoever was cancelled a moment ago has not ended yet
            self._stop.set()
        stop = self._stop = asyncio.Event()
        follows = self._next is audio and self._ended_s is not None
        begins_s = self._now_s()
        count = self._listeners()
        if follows and self._ended_s is not None:
            begins_s = self._ended_s
        elif count:
            begins_s += STARTS_S
        self._next = self._ended_s = None
        self._played_for(count)
        fed = 0
        try:
            while (position_s := self._now_s() - begins_s) < audio.duration_s:
                fed = self._feed(audio, fed, position_s + AHEAD_S, begins_s)
                progress(position_s, self._level(audio, position_s))
                left_s = audio.duration_s - position_s
                # The first position after the announcement comes when the first sample does.
                next_s = -position_s if position_s < 0 else min(TICK_S, left_s)
                await self._wait(stop, max(SHORTEST_S, next_s))
                if stop.is_set():
                    return min(audio.duration_s, max(0.0, self._now_s() - begins_s))
            self._feed(audio, fed, audio.duration_s, begins_s)
            self._ended_s = begins_s + audio.duration_s
            return audio.duration_s
        finally:
            self._recent.rested()
            if self._stop is stop:
                self._stop = None

    async def follow(self, audio: Audio) -> None:
        """Begin it right where the one that plays ends; pages know of it by `playback.next`."""
        if self._stop is not None and not self._stop.is_set():
            self._next = audio

    def stop(self) -> None:
        """End what plays; pages fall silent with `playback.finished`."""
        self._next = self._ended_s = None
        if self._stop is not None:
            self._stop.set()

    def set_volume(self, volume: float) -> None:
        """0-1; pages are told by `playback.volume`."""
        self._volume = min(1.0, max(0.0, volume))

    def sounding(self, last_s: float = 3.0) -> list[Sounding]:
        """What pages play, by this sink's clock; see `Sink.sounding`."""
        return self._recent.sounding(last_s)

    async def set_device(self, name: str) -> None:
        """Nothing to choose: a page plays where its browser plays."""

    async def devices(self) -> list[OutputDevice]:
        """None of this computer's."""
        return []

    def warm(self) -> None:
        """Nothing to load."""

    async def close(self) -> None:
        """End what plays."""
        self.stop()

    def _feed(self, audio: Audio, fed: int, until_s: float, begins_s: float) -> int:
        """Note what sounds up to a position; returns how many samples were noted in all."""
        total = len(audio.pcm) // 2
        until = min(total, max(fed, round(until_s * audio.rate_hz)))
        # Nobody hears it without a page, and an echo guard must not look for it.
        if until > fed and self._listeners():
            piece = array("h")
            piece.frombytes(audio.pcm[2 * fed : 2 * until])
            if self._volume != 1.0:
                piece = array("h", map(int, map(self._volume.__mul__, piece)))
            self._recent.add(piece, audio.rate_hz, begins_s + fed / audio.rate_hz)
        return until

    def _level(self, audio: Audio, position_s: float) -> float:
        first = 2 * max(0, round(position_s * audio.rate_hz))
        if position_s < 0 or self._volume <= 0:
            return wav.SILENCE_DBFS
        level = wav.level_dbfs(audio.pcm[first : first + 2 * round(LEVEL_S * audio.rate_hz)])
        return max(wav.SILENCE_DBFS, level + wav.peak_dbfs(round(32768 * self._volume)))


async def _wait(stop: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await stop.wait()
    except TimeoutError:
        pass
