"""Builders for tests. The fake engines that ship are plugins; these are the ones only a test needs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence

from backend.contracts.entities import Audio, Character, Speech, VoiceChoice
from backend.contracts.events import AnyEvent
from backend.core.bus import EventBus, Subscription
from backend.engines.llm.base import Delta, Prompt
from backend.outputs.base import OutputDevice, Progress, Sounding
from backend.outputs.none import NoSound

RATE_HZ = 8000


class WritesText:
    """A language model that writes given pieces; a number in the list is a pause in seconds, an error is raised."""

    def __init__(self, pieces: Sequence[str | float | Exception], name: str = "fake") -> None:
        self.pieces = pieces
        self.name = name
        self.model = "fake-1"
        self.prompts: list[Prompt] = []

    async def stream(self, prompt: Prompt) -> AsyncGenerator[Delta, None]:
        self.prompts.append(prompt)
        for piece in self.pieces:
            if isinstance(piece, Exception):
                raise piece
            if isinstance(piece, int | float):
                await asyncio.sleep(piece)
            else:
                yield Delta(piece)

    async def check(self) -> str:
        return "ready"

    async def close(self) -> None:
        return None


class Beeps:
    """A voice: 10 ms of quiet noise a character, and a list of what it said."""

    name = "beeps"

    def __init__(self, *, seconds_per_char: float = 0.01) -> None:
        self.said: list[str] = []
        self._seconds_per_char = seconds_per_char

    async def synthesize(self, text: str, voice: VoiceChoice) -> Speech:
        self.said.append(text)
        count = max(1, round(len(text) * self._seconds_per_char * RATE_HZ))
        return Speech(Audio(b"\x10\x00" * count, RATE_HZ), self.name, "beep")


class PlaysOn(NoSound):
    """A sink that plays the first sentence, heard so far, until it is told to stop."""

    name = "plays on"

    def __init__(self, heard_s: float = 0.1) -> None:
        super().__init__()
        self.heard_s = heard_s
        self.stopped = asyncio.Event()

    async def play(self, audio: Audio, progress: Progress) -> float:
        progress(self.heard_s, -20.0)
        await self.stopped.wait()
        return self.heard_s

    def stop(self) -> None:
        self.stopped.set()


class ManualSink:
    """A sink whose clock the test moves: nothing is heard until `advance` says so."""

    name = "manual"

    def __init__(self) -> None:
        self._changed = asyncio.Condition()
        self._available_s = 0.0
        self._played_s = 0.0
        self.stopped = 0
        self.announced: list[Audio] = []
        self.volume = 1.0
        self.playing = asyncio.Event()

    async def advance(self, seconds: float) -> None:
        async with self._changed:
            self._available_s += seconds
            self._changed.notify_all()

    async def play(self, audio: Audio, progress: Progress) -> float:
        start = self._played_s
        end = start + audio.duration_s
        self.playing.set()
        async with self._changed:
            while self._played_s < end:
                self._played_s = min(end, max(self._played_s, self._available_s))
                progress(self._played_s - start, -20.0)
                if self._played_s < end:
                    await self._changed.wait()
        return audio.duration_s

    async def follow(self, audio: Audio) -> None:
        self.announced.append(audio)

    def stop(self) -> None:
        self.stopped += 1

    def set_volume(self, volume: float) -> None:
        self.volume = volume

    def sounding(self, last_s: float = 3.0) -> list[Sounding]:
        return []

    async def set_device(self, name: str) -> None:
        return None

    async def devices(self) -> list[OutputDevice]:
        return [OutputDevice("Manual", True)]

    def warm(self) -> None:
        return None

    async def close(self) -> None:
        return None


class Watch:
    """Collects what a bus publishes: ``async with Watch(bus) as seen``."""

    def __init__(self, bus: EventBus) -> None:
        self.events: list[AnyEvent] = []
        self._bus = bus
        self._changed = asyncio.Event()

    async def __aenter__(self) -> Watch:
        self._context = self._bus.subscribe(limit=100_000)
        subscription = self._context.__enter__()
        self._task = asyncio.create_task(self._read(subscription))
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.settle()
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        self._context.__exit__(None, None, None)

    async def _read(self, subscription: Subscription) -> None:
        async for event in subscription:
            self.events.append(event)
            self._changed.set()

    async def settle(self) -> None:
        """Let what was published arrive."""
        for _ in range(5):
            await asyncio.sleep(0)

    async def until(self, type_: str, count: int = 1, timeout_s: float = 30.0) -> AnyEvent:
        """Wait for the ``count``-th event of a type."""
        async with asyncio.timeout(timeout_s):
            while len(found := [e for e in self.events if e.type == type_]) < count:
                self._changed.clear()
                await self._changed.wait()
        return found[count - 1]

    @property
    def types(self) -> list[str]:
        """Types in order, runs of the same type joined."""
        out: list[str] = []
        for event in self.events:
            if not out or out[-1] != event.type:
                out.append(event.type)
        return out

    def of(self, type_: str) -> list[AnyEvent]:
        """All events of a type."""
        return [event for event in self.events if event.type == type_]


def character(**fields: object) -> Character:
    """A character to talk to."""
    return Character.model_validate({"id": "mika", "name": "Mika", **fields})
