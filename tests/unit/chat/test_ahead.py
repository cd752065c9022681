"""Thinking ahead: unseen until it is the reply, gone without a trace when it is not."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from backend.chat import ahead as module
from backend.chat.ahead import Prepared, normalised
from backend.chat.characters import Characters
from backend.chat.conversations import Chat
from backend.chat.turn import Lead, TurnRunner
from backend.contracts.entities import STAGE, Speech, VoiceChoice
from backend.contracts.errors import ProviderError
from backend.contracts.events import TurnRetried
from backend.core.bus import EventBus
from backend.core.clock import monotonic_s
from backend.core.context import current_turn
from backend.engines.llm.base import Delta, Prompt
from backend.modes.mind import Alone, alone
from backend.playback.player import Player
from backend.playback.sounds import SoundStore
from backend.storage.database import Database
from tests.fakes import Beeps, ManualSink, Watch


class Writer:
    """A language model that writes its next piece when the test lets it."""

    name = "writer"
    model = "w-1"

    def __init__(self) -> None:
        self.prompts: list[Prompt] = []
        self.closed = 0
        self.pieces: list[str | Exception] = ["Hello there. ", "I am ", "here."]
        self.gate = asyncio.Semaphore(1000)

    async def stream(self, prompt: Prompt) -> AsyncGenerator[Delta, None]:
        self.prompts.append(prompt)
        try:
            for piece in list(self.pieces):
                await self.gate.acquire()
                if isinstance(piece, Exception):
                    raise piece
                yield Delta(piece)
        finally:
            self.closed += 1

    async def check(self) -> str:
        return "ready"

    async def close(self) -> None:
        return None


class Voice(Beeps):
    """Speaks when the test lets it."""

    def __init__(self) -> None:
        super().__init__(seconds_per_char=0.001)
        self.gate = asyncio.Event()
        self.gate.set()
        self.cancelled = 0

    async def synthesize(self, text: str, voice: VoiceChoice) -> Speech:
        try:
            made = await super().synthesize(text, voice)
            await self.gate.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        return made


@dataclass
class House:
    """A chat over a real database, with engines that the test holds."""

    bus: EventBus
    chat: Chat
    characters: Characters
    runner: TurnRunner
    llm: Writer
    voice: Voice
    sink: ManualSink

    async def prepare(self, text: str = "how are you") -> Prepared:
        prepared = await self.chat.prepare(text)
        assert prepared is not None
        return prepared

    async def first_spoken(self, count: int = 1) -> None:
        await until(lambda: len(self.voice.said) >= count)


async def until(is_true: Callable[[], object]) -> None:
    async with asyncio.timeout(5):
        while not is_true():
            await asyncio.sleep(0)


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    database = Database("", tmp_path)
    await database.open()
    bus = EventBus()
    bus.bind(asyncio.get_running_loop())
    characters = Characters(database, bus, tmp_path / "avatars")
    await characters.open()
    sounds = SoundStore(tmp_path / "turns", max_bytes=10**9, max_age_days=1)
    sink = ManualSink()
    await sink.advance(1000)
    llm, voice = Writer(), Voice()
    player = Player(bus, sink, lambda *_: None)
    runner = TurnRunner(bus, alone(lambda: llm), lambda: voice, sounds, player)
    chat = Chat(bus=bus, database=database, characters=characters, runner=runner)
    await chat.start()
    yield House(bus, chat, characters, runner, llm, voice, sink)
    await chat.stop()
    await sounds.close()
    await database.close()


async def test_what_is_thought_ahead_is_not_seen_heard_or_kept(house: House) -> None:
    async with Watch(house.bus) as seen:
        prepared = await house.prepare()
        await house.first_spoken()
        await seen.settle()
        assert seen.events == []
        assert not house.chat.is_busy()
        assert not house.sink.playing.is_set()
        await prepared.close()
        await seen.settle()
    assert seen.events == []
    assert (await house.chat.turns(STAGE)) == []
    assert house.llm.closed == 1


async def test_the_same_message_takes_what_is_there_and_asks_nobody_twice(house: House) -> None:
    prepared = await house.prepare("How are you")
    await house.first_spoken()
    async with Watch(house.bus) as seen:
        handle = await house.chat.send(
            " how are  you? ", conversation_id=STAGE, prepared=prepared, author="you"
        )
        turn = await handle.result()
    assert handle.turn_id == prepared.turn_id
    assert turn.reply == "Hello there. I am here."
    assert turn.message == "how are  you?"
    assert len(house.llm.prompts) == 1
    assert house.voice.said == ["Hello there.", "I am here."]
    assert [e.text for e in seen.of("chat.sentence")] == ["Hello there.", "I am here."]  # type: ignore[union-attr]
    assert "".join(e.text for e in seen.of("chat.delta")) == "Hello there. I am here."  # type: ignore[union-attr]
    assert len(seen.of("playback.started")) == 2
    assert {e.turn_id for e in seen.events} == {handle.turn_id}


async def test_what_still_comes_is_waited_for(house: House) -> None:
    house.llm.gate = asyncio.Semaphore(0)
    house.voice.gate.clear()
    prepared = await house.prepare()
    house.llm.gate.release()
    await house.first_spoken()
    async with Watch(house.bus) as seen:
        handle = await house.chat.send("How are you?", conversation_id=STAGE, prepared=prepared)
        await seen.until("chat.sentence")
        assert not seen.of("speech.ready")
        house.voice.gate.set()
        await seen.until("speech.ready")
        for _ in range(2):
            house.llm.gate.release()
        turn = await handle.result()
    assert turn.reply == "Hello there. I am here."
    assert house.voice.said == ["Hello there.", "I am here."]


async def test_a_first_sentence_is_taken_in_the_very_moment_in_which_it_is_made(
    house: House,
) -> None:
    house.voice.gate.clear()
    prepared = await house.prepare()
    await house.first_spoken()
    house.voice.gate.set()
    await until(lambda: prepared._made is not None and prepared._made.task.done())
    found = await prepared.speech("Hello there.", house.voice)
    assert found is not None
    assert found[1] > 0


async def test_another_message_throws_it_away(house: House) -> None:
    house.llm.gate = asyncio.Semaphore(1)
    house.voice.gate.clear()
    prepared = await house.prepare("how are")
    await house.first_spoken()
    house.voice.gate.set()
    house.llm.gate = asyncio.Semaphore(1000)
    handle = await house.chat.send("How are you?", conversation_id=STAGE, prepared=prepared)
    await handle.result()
    assert handle.turn_id != prepared.turn_id
    assert not prepared.is_usable
    await prepared.close()
    assert house.llm.closed == 2
    assert [p.messages[-1].text for p in house.llm.prompts] == ["how are", "How are you?"]


async def test_a_voice_in_the_middle_of_a_sentence_is_stopped_with_it(house: House) -> None:
    house.voice.gate.clear()
    prepared = await house.prepare()
    await house.first_spoken()
    await prepared.close()
    assert house.voice.cancelled == 1


async def test_a_changed_conversation_throws_it_away(house: House) -> None:
    prepared = await house.prepare()
    await house.first_spoken()
    await (await house.chat.send("something else", conversation_id=STAGE)).result()
    handle = await house.chat.send("how are you", conversation_id=STAGE, prepared=prepared)
    await handle.result()
    assert handle.turn_id != prepared.turn_id
    assert len(house.llm.prompts) == 3
    # Another character, or one that was edited.
    prepared = await house.prepare()
    await until(lambda: len(house.llm.prompts) == 4)
    other = next(c for c in await house.characters.list() if c.id != house.chat.active_character())
    await house.chat.switch_character(STAGE, other.id)
    await (await house.chat.send("how are you", conversation_id=STAGE, prepared=prepared)).result()
    assert len(house.llm.prompts) == 5
    assert house.llm.prompts[-1].character == other


async def test_a_changed_setting_throws_it_away(house: House) -> None:
    prepared = await house.prepare()
    await house.first_spoken()
    house.runner.temperature = 0.1
    await (await house.chat.send("how are you", conversation_id=STAGE, prepared=prepared)).result()
    assert [p.temperature for p in house.llm.prompts] == [0.8, 0.1]


async def test_a_mood_that_turns_meanwhile_does_not(house: House) -> None:
    moods = iter(("You feel calm.", "You feel excited."))
    house.runner.manner = lambda conversation_id: next(moods)
    prepared = await house.prepare()
    await house.first_spoken()
    handle = await house.chat.send(
        "how are you", conversation_id=STAGE, prepared=prepared, author="you"
    )
    await handle.result()
    assert handle.turn_id == prepared.turn_id
    assert [one.messages[0].text[-14:] for one in house.llm.prompts] == ["You feel calm."]


async def test_there_is_one_in_a_conversation(house: House) -> None:
    house.llm.gate = asyncio.Semaphore(0)
    first = await house.prepare("how are")
    assert await house.prepare("How are!") is first
    await until(lambda: house.llm.prompts)
    second = await house.prepare("how are you")
    assert second is not first
    assert not first.is_usable
    await until(lambda: house.llm.closed == 1)
    assert second.is_usable


async def test_it_is_never_beside_a_turn(house: House) -> None:
    house.llm.gate = asyncio.Semaphore(0)
    handle = await house.chat.send("one", conversation_id=STAGE)
    await until(lambda: house.llm.prompts)
    assert await house.chat.prepare("two") is None
    # One that is being interrupted is waited for, and what was heard of it is known.
    interrupting = asyncio.create_task(house.chat.interrupt(STAGE))
    await asyncio.sleep(0)
    prepared = await house.chat.prepare("two")
    await interrupting
    assert (await handle.result()).outcome == "interrupted"
    assert prepared is not None
    assert [m.text for m in prepared.asked.messages if m.role == "user"] == ["one", "two"]


async def test_it_ends_by_itself_when_nobody_takes_it(house: House) -> None:
    house.llm.gate = asyncio.Semaphore(0)
    asked = (await house.prepare()).asked
    one = Prepared(
        text="x",
        author="you",
        speak=True,
        conversation_id=STAGE,
        asked=asked,
        mind=Alone(house.llm),
        voice=house.voice,
        choice=VoiceChoice(),
        publish=house.bus.publish,
        waits_s=0.0,
    )
    await until(lambda: not one.is_usable)
    await one.close()


async def test_a_provider_that_fails_ahead_is_asked_again_by_the_turn(house: House) -> None:
    house.llm.pieces = [ProviderError("Busy.", kind="rate", provider="writer")]
    prepared = await house.prepare()
    await until(lambda: not prepared.is_usable)
    house.llm.pieces = ["Fine."]
    async with Watch(house.bus) as seen:
        turn = await (
            await house.chat.send("how are you", conversation_id=STAGE, prepared=prepared)
        ).result()
    assert turn.reply == "Fine."
    assert not seen.of("error.occurred")


async def test_one_that_fails_after_it_was_taken_is_told_like_any_other(house: House) -> None:
    house.llm.pieces = ["Fine. ", ProviderError("Gone.", kind="unreachable", provider="writer")]
    house.llm.gate = asyncio.Semaphore(1)
    prepared = await house.prepare()
    await house.first_spoken()
    async with Watch(house.bus) as seen:
        handle = await house.chat.send("how are you", conversation_id=STAGE, prepared=prepared)
        await seen.until("chat.sentence")
        house.llm.gate.release()
        turn = await handle.result()
        (told,) = seen.of("error.occurred")
    assert (turn.outcome, turn.reply) == ("failed", "Fine.")
    assert told.turn_id == handle.turn_id


async def test_what_happened_on_the_way_is_told_when_it_is_taken(house: House) -> None:
    class Stumbles(Writer):
        async def stream(self, prompt: Prompt) -> AsyncGenerator[Delta, None]:
            turn = current_turn.get()
            assert turn is not None
            assert turn.held is not None
            turn.held.append(
                TurnRetried(
                    engine="a",
                    next_engine="b",
                    kind="rate",
                    reason="busy",
                    turn_id=turn.turn_id,
                    conversation_id=STAGE,
                )
            )
            yield Delta("Fine.")

    writer = Stumbles()
    house.runner.mind = alone(lambda: writer)
    async with Watch(house.bus) as seen:
        prepared = await house.prepare()
        await house.first_spoken()
        await seen.settle()
        assert seen.events == []
        await (
            await house.chat.send("how are you", conversation_id=STAGE, prepared=prepared)
        ).result()
        (retried,) = seen.of("turn.retried")
    assert retried.turn_id == prepared.turn_id


async def test_a_reply_without_end_is_written_ahead_only_so_far(house: House) -> None:
    house.llm.pieces = ["word " * 20] * 500
    prepared = await house.prepare()
    await until(
        lambda: (
            sum(len(d.text) for d in prepared._parts if isinstance(d, Delta)) > module.AHEAD_CHARS
        )
    )
    for _ in range(50):
        await asyncio.sleep(0)
    assert (
        sum(len(d.text) for d in prepared._parts if isinstance(d, Delta))
        <= module.AHEAD_CHARS + 100
    )


async def test_an_interruption_ends_what_was_taken(house: House) -> None:
    house.llm.gate = asyncio.Semaphore(1)
    prepared = await house.prepare()
    await house.first_spoken()
    async with Watch(house.bus) as seen:
        handle = await house.chat.send("how are you", conversation_id=STAGE, prepared=prepared)
        await seen.until("playback.started")
        await house.chat.interrupt(STAGE)
        turn = await handle.result()
    assert turn.outcome == "interrupted"
    await until(lambda: house.llm.closed == 1)


async def test_the_setting_turns_it_off(house: House) -> None:
    house.chat.thinks_ahead = False
    assert await house.chat.prepare("how are you") is None
    assert house.llm.prompts == []


async def test_spans_say_what_was_hidden_and_still_sum_to_the_total(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    moment_s = monotonic_s()

    def moved() -> float:
        return moment_s

    for path in ("chat.ahead", "chat.trace", "chat.conversations", "playback.player"):
        monkeypatch.setattr(f"backend.{path}.monotonic_s", moved)
    house.llm.gate = asyncio.Semaphore(0)
    house.voice.gate.clear()
    spoken_s = moment_s
    moment_s += 0.2
    prepared = await house.prepare()
    moment_s += 0.3
    house.llm.gate.release()
    await house.first_spoken()
    moment_s += 0.1  # of the voice's 0.25 s
    lead = (Lead("endpointing", "wait", "ASR_SILENCE_MS=600", moment_s),)
    handle = await house.chat.send(
        "how are you", conversation_id=STAGE, prepared=prepared, spoken_s=spoken_s, lead=lead
    )
    async with Watch(house.bus) as seen:
        await seen.until("chat.sentence")
        moment_s += 0.15
        house.voice.gate.set()
        for _ in range(2):
            house.llm.gate.release()
        turn = await handle.result()
    spans = {span.name: span for span in turn.spans}
    assert list(spans) == [
        "endpointing",
        "queue",
        "prompt",
        "llm_first_token",
        "first_sentence",
        "tts",
        "first_audio",
        "speaking",
    ]
    assert spans["endpointing"].duration_ms == pytest.approx(600)
    assert spans["llm_first_token"].duration_ms == pytest.approx(0, abs=0.01)
    assert "LLM_PROVIDER" in spans["llm_first_token"].detail
    assert "300 ms more hidden by THINK_AHEAD" in spans["llm_first_token"].detail
    assert spans["tts"].duration_ms == pytest.approx(150)
    assert "100 ms more hidden by THINK_AHEAD" in spans["tts"].detail
    assert "hidden" not in spans["first_sentence"].detail
    assert sum(span.duration_ms for span in turn.spans) == pytest.approx(turn.total_ms)
    assert turn.total_ms == pytest.approx(750)


@pytest.mark.parametrize(
    ("one", "other", "is_same"),
    [
        ("How are you", " how  are you?", True),
        ("おはよう", "おはよう。", True),
        ("ja, klar", "ja klar", False),
        ("stop", "stop it", False),
    ],
)
def test_messages_are_the_same_but_for_what_a_recogniser_decides_last(
    one: str, other: str, is_same: bool
) -> None:
    assert (normalised(one) == normalised(other)) is is_same
