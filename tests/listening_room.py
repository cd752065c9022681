"""A room to listen in: a real chat and player, sounds made of loud and silent frames, a recogniser that reads a list."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from backend.chat.characters import Characters
from backend.chat.conversations import Chat
from backend.chat.turn import TurnRunner
from backend.contracts.entities import STAGE, Audio, Transcript
from backend.contracts.errors import AppError
from backend.core.bus import EventBus
from backend.core.workers import EngineHost
from backend.engines.vad.base import VAD
from backend.listening.ear import Ear, Parts
from backend.listening.endpointing import Rules
from backend.listening.options import ListeningOptions
from backend.listening.pace import Pace
from backend.modes.mind import alone
from backend.outputs.base import Sounding
from backend.playback.player import Player
from backend.playback.sounds import SoundStore
from backend.storage.database import Database
from tests.fakes import Beeps, ManualSink, WritesText

FRAME = 512
FRAME_MS = 32
LOUD = b"\xb8\x0b\x48\xf4" * (FRAME // 2)  # 3000, -3000: -21 dBFS
SILENT = bytes(2 * FRAME)


def speech(seconds: float) -> bytes:
    """What the detector takes for speech."""
    return LOUD * round(seconds * 1000 / FRAME_MS)


def silence(seconds: float) -> bytes:
    """What it does not."""
    return SILENT * round(seconds * 1000 / FRAME_MS)


class Loud:
    """A voice detector for which loud is speech."""

    frame_samples = FRAME

    def __init__(self, name: str = "loud") -> None:
        self.name = name

    async def probabilities(self, sound: bytes) -> list[float]:
        size = 2 * FRAME
        return [0.95 if sound[at] else 0.02 for at in range(0, len(sound) // size * size, size)]

    def reset(self) -> None:
        """Nothing is remembered."""


class Reads:
    """A recogniser that reads the next text of a list for every sound; an error in the list is raised.

    Attributes:
        heard: Seconds of each sound it was given.
        gate: Reading waits for it.
        most_at_once: Readings that were under way at the same time.
    """

    name = "reads"

    def __init__(self, *texts: str | AppError) -> None:
        self.texts: list[str | AppError] = list(texts)
        self.heard: list[float] = []
        self.sounds: list[bytes] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.begun = asyncio.Event()
        self.most_at_once = 0
        self.warmed = 0
        self._now = 0

    async def transcribe(self, audio: Audio, language: str | None = None) -> Transcript:
        self._now += 1
        self.most_at_once = max(self.most_at_once, self._now)
        self.heard.append(round(audio.duration_s, 3))
        self.sounds.append(audio.pcm)
        self.begun.set()
        try:
            text = self.texts.pop(0) if len(self.texts) > 1 else self.texts[0]
            await self.gate.wait()
        finally:
            self._now -= 1
        if isinstance(text, AppError):
            raise text
        return Transcript(text, language or "en", engine=self.name)

    def warm(self) -> None:
        self.warmed += 1

    async def close(self) -> None:
        """Nothing to let go of."""


class SoundingSink(ManualSink):
    """A sink that says what the test says it has played."""

    def __init__(self) -> None:
        super().__init__()
        self.left: list[Sounding] = []

    def sounding(self, last_s: float = 3.0) -> list[Sounding]:
        return self.left


@dataclass
class Room:
    """Everything an ear works with, and the ears opened in it."""

    bus: EventBus
    chat: Chat
    player: Player
    sink: SoundingSink
    llm: WritesText
    voice: Beeps
    sounds: SoundStore
    host: EngineHost
    reads: Reads
    options: ListeningOptions
    pace: Pace = field(default_factory=Pace)
    detector: Callable[[], VAD] = Loud
    said: str = ""
    words: Callable[[float, float], str] | None = None
    """Which of her words sounded when; None = all that was `said`."""
    ears: list[Ear] = field(default_factory=list)

    def use(self, **changes: object) -> None:
        """Listen otherwise from now on."""
        self.options = replace(self.options, **changes)  # type: ignore[arg-type]  # by name

    def ear(
        self,
        *,
        auto_end: bool = True,
        is_open: bool = True,
        hears_her: bool = False,
        conversation_id: str = STAGE,
    ) -> Ear:
        """An ear in this room, closed with it."""
        ear = Ear(
            conversation_id,
            Parts(
                bus=self.bus,
                chat=self.chat,
                player=self.player,
                host=self.host,
                recogniser=lambda: self.reads,
                detector=self.detector,
                options=lambda: self.options,
                pace=self.pace,
                said=self.words or (lambda since_s, until_s: self.said),
            ),
            origin="microphone",
            auto_end=auto_end,
            is_open=is_open,
            hears_her=hears_her,
        )
        self.ears.append(ear)
        return ear

    async def let_her_speak(self, text: str = "This is a long story.") -> None:
        """Have a turn spoken on the stage; the sink sounds when this returns."""
        self.llm.pieces = [text]
        await self.chat.send("tell me something", conversation_id=STAGE)
        await self.sink.playing.wait()
        await self.sink.advance(0.01)
        while not self.player.is_speaking(STAGE):
            await asyncio.sleep(0)


@asynccontextmanager
async def room_in(folder: Path, *texts: str | AppError) -> AsyncIterator[Room]:
    """A room; its recogniser reads the given texts."""
    database = Database("", folder)
    await database.open()
    bus = EventBus()
    bus.bind(asyncio.get_running_loop())
    characters = Characters(database, bus, folder / "avatars")
    await characters.open()
    sink = SoundingSink()
    player = Player(bus, sink, lambda cue, turn_id, conversation_id: None)
    sounds = SoundStore(folder / "turns", max_bytes=10**9, max_age_days=1)
    llm, voice = WritesText(["I see."]), Beeps(seconds_per_char=0.5)
    runner = TurnRunner(bus, alone(lambda: llm), lambda: voice, sounds, player)
    chat = Chat(bus=bus, database=database, characters=characters, runner=runner)
    await chat.start()
    host = EngineHost()
    room = Room(
        bus=bus,
        chat=chat,
        player=player,
        sink=sink,
        llm=llm,
        voice=voice,
        sounds=sounds,
        host=host,
        reads=Reads(*(texts or ("Hello there.",))),
        options=ListeningOptions(
            rules=Rules(preroll_ms=320, min_speech_ms=192, silence_ms=640, longest_s=10),
            barge_in_ms=320,
        ),
    )
    yield room
    for ear in room.ears:
        await ear.close()
    await host.stop()
    await chat.stop()
    await sounds.close()
    await database.close()
