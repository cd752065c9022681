"""A turn that a mode answers: sentences that come with their sound, and what the mode is told afterwards."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from backend.chat.trace import Trace
from backend.chat.turn import Answer, Request, TurnRunner
from backend.contracts.entities import Audio
from backend.contracts.events import ChatSentence, SpeechReady
from backend.core.clock import monotonic_s
from backend.outputs.none import NoSound
from backend.playback.player import Player
from backend.playback.sounds import SoundStore
from tests.fake_modes import House
from tests.fakes import Beeps, ManualSink, Watch, character

SOUND = Audio(b"\x20\x00" * 800, 8000)


class Stage:
    """A turn runner whose modes are moody."""

    def __init__(self, folder: Path, sink: NoSound | ManualSink) -> None:
        self.house = House()
        self.voice: Beeps | None = Beeps()
        self.cues: list[str] = []
        self.player = Player(
            self.house.bus, sink, lambda cue, turn_id, where: self.cues.append(cue.name)
        )
        self.sounds = SoundStore(folder, max_bytes=10**9, max_age_days=1)
        self.runner = TurnRunner(
            self.house.bus, self.house.modes.mind, lambda: self.voice, self.sounds, self.player
        )
        self.answer = Answer(Trace(monotonic_s()))

    async def run(self, *, speak: bool = True) -> Answer:
        request = Request(
            turn_id="ab" * 16,
            conversation_id="stage",
            number=1,
            character=character(expressions=("joy",)),
            text="hi [joy]",
            author="you",
            origin="test",
            speak=speak,
            on_stage=True,
            received_s=self.answer.trace.received_s,
        )
        await self.runner.run(request, [], self.answer)
        return self.answer

    @property
    def details(self) -> str:
        return " · ".join(span.detail for span in self.answer.trace.spans)


@asynccontextmanager
async def stage_in(folder: Path, sink: NoSound | ManualSink) -> AsyncIterator[Stage]:
    stage = Stage(folder, sink)
    await stage.house.modes.start("orphiq")
    stage.house.orphiq.speaks = SOUND
    yield stage
    await stage.sounds.close()
    await stage.house.modes.close()


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    async with stage_in(tmp_path, NoSound()) as made:
        yield made


async def test_a_sentence_that_comes_with_its_sound_is_played_as_it_is(stage: Stage) -> None:
    async with Watch(stage.house.bus) as seen:
        answer = await stage.run()
    assert (answer.outcome, answer.reply, answer.emotion) == ("done", "orphiq heard hi .", "joy")
    assert stage.voice is not None
    assert stage.voice.said == [], "it is spoken already"
    (ready,) = [event for event in seen.events if isinstance(event, SpeechReady)]
    assert (ready.engine, ready.voice, ready.duration_s) == ("server", "the server", 0.1)
    assert SOUND.pcm in await stage.sounds.get("ab" * 16, 1)
    assert "playback.started" in seen.types
    assert stage.cues == ["joy", "joy"], "one beside the sentence, one in its words"
    assert [e.text for e in seen.events if isinstance(e, ChatSentence)] == ["orphiq heard hi ."]
    assert "voice: the server" in stage.details
    assert "mode orphiq" in stage.details
    assert stage.house.orphiq.heard == [("hi [joy]", "all")]


async def test_without_its_sound_our_own_voice_speaks(stage: Stage) -> None:
    stage.house.orphiq.speaks = None
    answer = await stage.run()
    assert stage.voice is not None
    assert stage.voice.said == [answer.reply]


@pytest.mark.parametrize("is_off", [True, False])
async def test_a_mute_turn_is_mute_also_where_a_server_speaks(stage: Stage, is_off: bool) -> None:
    if is_off:
        stage.voice = None
    async with Watch(stage.house.bus) as seen:
        answer = await stage.run(speak=is_off)
    assert answer.reply == "orphiq heard hi ."
    assert "speech.ready" not in seen.types
    assert "playback.started" not in seen.types


async def test_an_interrupted_server_is_told_what_was_heard(tmp_path: Path) -> None:
    sink = ManualSink()
    async with stage_in(tmp_path, sink) as stage:
        turn = asyncio.create_task(stage.run())
        async with asyncio.timeout(5):
            await sink.playing.wait()
        await sink.advance(0.06)
        turn.cancel()
        with pytest.raises(asyncio.CancelledError):
            await turn
        assert stage.answer.outcome == "interrupted"
        await stage.answer.tell_heard("orphiq heard")
        assert stage.house.orphiq.heard == [("hi [joy]", "orphiq heard")]
        assert stage.house.orphiq.running == 0


async def test_when_the_server_is_away_our_own_mind_and_voice_answer(stage: Stage) -> None:
    stage.house.orphiq.mood = "down"
    answer = await stage.run()
    assert answer.reply == "external-api heard hi ."
    assert stage.voice is not None
    assert stage.voice.said == [answer.reply]
    assert "mode external-api" in stage.details
    assert stage.house.orphiq.heard == []
