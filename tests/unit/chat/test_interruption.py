"""An interruption is heard at once, whatever the rest of the turn still has to end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from pathlib import Path

from backend.chat.characters import Characters
from backend.chat.conversations import Chat
from backend.chat.turn import TurnRunner
from backend.contracts.entities import STAGE, Audio, Speech, VoiceChoice
from backend.core.bus import EventBus
from backend.engines.llm.base import Delta, Prompt
from backend.modes.mind import alone
from backend.playback.player import Player
from backend.playback.sounds import SoundStore
from backend.storage.database import Database
from tests.fakes import PlaysOn, Watch


class Lingers:
    """A provider whose connection takes long to close."""

    name = "lingers"
    model = ""

    def __init__(self) -> None:
        self.closing = asyncio.Event()
        self.may_close = asyncio.Event()

    async def stream(self, prompt: Prompt) -> AsyncGenerator[Delta, None]:
        try:
            yield Delta("One sentence that is spoken. Another that is not. ")
            await asyncio.Event().wait()
        finally:
            self.closing.set()
            await self.may_close.wait()

    async def check(self) -> str:
        return ""

    async def close(self) -> None:
        return None


class Speaks:
    """A voice that makes the first sentence at once and never ends the second."""

    def __init__(self) -> None:
        self.running = 0
        self.calls = 0

    async def synthesize(self, text: str, voice: VoiceChoice) -> Speech:
        self.calls += 1
        self.running += 1
        try:
            if self.calls > 1:
                await asyncio.Event().wait()
        finally:
            self.running -= 1
        return Speech(Audio(bytes(16_000), 8_000), "fake", "fake")


async def test_the_sound_fades_before_the_provider_has_closed_and_no_voice_works_on(
    tmp_path: Path,
) -> None:
    database = Database("", tmp_path)
    await database.open()
    bus = EventBus()
    bus.bind(asyncio.get_running_loop())
    characters = Characters(database, bus, tmp_path / "avatars")
    await characters.open()
    llm, voice, sink = Lingers(), Speaks(), PlaysOn(0.5)
    player = Player(bus, sink, lambda *_: None)
    sounds = SoundStore(tmp_path / "turns", max_bytes=10**9, max_age_days=1)
    runner = TurnRunner(bus, alone(lambda: llm), lambda: voice, sounds, player)
    chat = Chat(bus=bus, database=database, characters=characters, runner=runner)
    await chat.start()
    async with Watch(bus) as seen:
        handle = await chat.send("go", conversation_id=STAGE)
        await seen.until("playback.position")
        while voice.calls < 2:
            await asyncio.sleep(0)
        interrupting = asyncio.create_task(chat.interrupt(STAGE))
        await llm.closing.wait()
        assert sink.stopped.is_set()
        for _ in range(3):
            await asyncio.sleep(0)
        assert voice.running == 0
        finished = await seen.until("playback.finished")
        assert not handle.done.done()
        llm.may_close.set()
        assert await interrupting
        turn = await handle.result()
    assert finished.interrupted  # type: ignore[union-attr]
    assert turn.outcome == "interrupted"
    assert "One sentence that is spoken.".startswith(turn.reply)
    assert voice.calls == 2
    await chat.stop()
    await sounds.close()
    await database.close()
