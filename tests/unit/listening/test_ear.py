"""From frames to messages: what is said, dropped, read in advance, interrupted and begun ahead."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from backend.chat.conversations import TurnHandle
from backend.contracts.entities import STAGE
from backend.contracts.errors import EngineUnavailableError
from backend.contracts.events import (
    ChatMessage,
    PlaybackDucked,
    TurnFinished,
    UtteranceDropped,
    UtteranceEnded,
    UtterancePartial,
    UtteranceStarted,
    UtteranceTranscribed,
)
from backend.core.clock import monotonic_s
from backend.listening import ear as ear_module
from backend.listening.echo import Verdict
from backend.listening.spoken import Spoken
from backend.outputs.base import Sounding
from tests.fakes import Watch
from tests.listening_room import FRAME, LOUD, Room, room_in, silence, speech


@pytest.fixture
async def room(tmp_path: Path) -> AsyncIterator[Room]:
    async with room_in(tmp_path) as room:
        yield room


async def dropped(seen: Watch, count: int = 1) -> UtteranceDropped:
    event = await seen.until("utterance.dropped", count)
    assert isinstance(event, UtteranceDropped)
    return event


async def followed(room: Room) -> None:
    """Everything that was fed has been followed."""
    for _ in range(20):
        await asyncio.sleep(0)
    del room


async def test_what_is_said_becomes_a_message(room: Room) -> None:
    await room.sink.advance(100)
    ear = room.ear()
    handles: list[TurnHandle] = []
    ear.on_message = handles.append
    async with Watch(room.bus) as seen:
        ear.feed(silence(1) + speech(1.28) + silence(1))
        message = await seen.until("chat.message")
        turn = await handles[0].result() if handles else None
    assert isinstance(message, ChatMessage)
    assert (message.text, message.origin, message.conversation_id) == (
        "Hello there.",
        "microphone",
        STAGE,
    )
    heard = [t for t in seen.types if t.startswith(("utterance.", "chat.message"))]
    assert heard[0] == "utterance.started"
    assert heard[-3:] == ["utterance.ended", "utterance.transcribed", "chat.message"]
    transcribed = seen.of("utterance.transcribed")[0]
    assert isinstance(transcribed, UtteranceTranscribed)
    assert transcribed.duration_s == pytest.approx(0.32 + 1.28 + 0.2, abs=0.04)
    assert turn is None or turn.message == "Hello there."


async def test_a_turn_tells_how_long_the_end_and_the_reading_took(room: Room) -> None:
    await room.sink.advance(100)
    ear = room.ear()
    done = asyncio.get_running_loop().create_future()
    ear.on_message = done.set_result
    ear.feed(speech(1) + silence(1))
    turn = await (await done).result()
    names = [span.name for span in turn.spans]
    assert names[:2] == ["endpointing", "stt"]
    assert turn.spans[0].detail == "ASR_SILENCE_MS=640"
    assert turn.spans[1].detail == "reads"


async def test_the_pause_is_read_and_the_end_need_not_be(room: Room) -> None:
    ear = room.ear()
    async with Watch(room.bus) as seen:
        ear.feed(speech(1) + silence(0.3))
        await seen.until("utterance.partial")
        ear.feed(silence(1))
        await seen.until("chat.message")
    assert len(room.reads.heard) == 1
    partial = seen.of("utterance.partial")[0]
    assert isinstance(partial, UtterancePartial)
    assert partial.text == "Hello there."


async def test_a_finished_sentence_read_in_the_pause_ends_it_sooner(room: Room) -> None:
    ear = room.ear()
    async with Watch(room.bus) as seen:
        ear.feed(speech(1) + silence(0.3))
        await seen.until("utterance.partial")
        await followed(room)
        ear.feed(silence(0.128))
        ended = await seen.until("utterance.ended")
    assert isinstance(ended, UtteranceEnded)
    assert ended.silence_ms == pytest.approx(0.6 * 640, abs=40)


async def test_who_goes_on_after_a_pause_is_read_again_as_a_whole(room: Room) -> None:
    room.reads.texts = ["I went to the shop", "I went to the shop and back."]
    ear = room.ear()
    async with Watch(room.bus) as seen:
        ear.feed(speech(1) + silence(0.3))
        await seen.until("utterance.partial")
        ear.feed(speech(1) + silence(1))
        message = await seen.until("chat.message")
    assert isinstance(message, ChatMessage)
    assert message.text == "I went to the shop and back."
    assert room.reads.heard[1] > room.reads.heard[0] + 1


async def test_one_reading_at_a_time_and_nothing_said_meanwhile_is_lost(room: Room) -> None:
    room.reads.texts = ["One.", "Two.", "Three."]
    room.reads.gate.clear()
    ear = room.ear()
    async with Watch(room.bus) as seen:
        ear.feed((speech(1) + silence(1)) * 3)
        await room.reads.begun.wait()
        await followed(room)
        room.reads.gate.set()
        await seen.until("chat.message", 3)
    assert room.reads.most_at_once == 1
    texts = [event.text for event in seen.events if isinstance(event, ChatMessage)]
    assert texts == ["One.", "Two.", "Three."]


async def test_a_recogniser_that_is_slow_is_not_asked_in_every_pause(room: Room) -> None:
    room.pace.note(1.0, 3.0)
    ear = room.ear()
    async with Watch(room.bus) as seen:
        ear.feed((speech(1) + silence(0.3)) * 3 + silence(1))
        await seen.until("chat.message")
    assert len(room.reads.heard) == 1


async def test_a_fast_recogniser_reads_along(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    now_s = 1000.0
    monkeypatch.setattr(ear_module, "monotonic_s", lambda: now_s)
    room.pace.note(2.0, 0.1)
    room.reads.texts = ["I went", "I went to the shop", "I went to the shop yesterday."]
    ear = room.ear()
    async with Watch(room.bus) as seen:
        for _ in range(3):
            ear.feed(speech(0.8))
            await followed(room)
            now_s += 0.8
        ear.feed(silence(1))
        await seen.until("chat.message")
    partials = [event.text for event in seen.events if isinstance(event, UtterancePartial)]
    assert partials[:2] == ["I went", "I went to the shop"]


async def test_nobody_reads_along_when_it_is_switched_off(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    now_s = 1000.0
    monkeypatch.setattr(ear_module, "monotonic_s", lambda: now_s)
    room.use(reads_along=False)
    room.pace.note(2.0, 0.1)
    ear = room.ear()
    for _ in range(3):
        ear.feed(speech(0.8))
        await followed(room)
        now_s += 0.8
    assert room.reads.heard == []


async def test_a_cough_is_no_message_and_is_not_read(room: Room) -> None:
    ear = room.ear()
    async with Watch(room.bus) as seen:
        ear.feed(silence(1) + speech(0.128) + silence(1))
        event = await dropped(seen)
    assert event.reason == "too_short"
    assert "ASR_MIN_SPEECH_MS=192" in event.detail
    assert room.reads.heard == []


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "no_words"),
        ("no no no no no no no no no no no no no", "repetition"),
        ("Subtitles by the Amara.org community", "phantom"),
        (EngineUnavailableError("No recogniser is here. Set STT_CHAIN."), "recogniser"),
    ],
)
async def test_what_was_not_said_is_not_answered(
    room: Room, text: str | EngineUnavailableError, reason: str
) -> None:
    room.reads.texts = [text]
    ear = room.ear()
    told = []
    ear.on_dropped = lambda why, detail: told.append((why, detail))
    async with Watch(room.bus) as seen:
        ear.feed(speech(1) + silence(1))
        event = await dropped(seen)
    assert event.reason == reason
    assert event.detail
    assert told == [(reason, event.detail)]
    assert not seen.of("chat.message")


async def test_a_key_decides_what_is_heard(room: Room) -> None:
    ear = room.ear(is_open=False)
    async with Watch(room.bus) as seen:
        ear.feed(speech(2) + silence(1))
        await followed(room)
        assert not seen.of("utterance.started")
        ear.hold()
        ear.feed(speech(1) + silence(2) + speech(1))
        ear.release()
        ear.feed(silence(0.3))
        await seen.until("chat.message")
    assert len(seen.of("utterance.started")) == 1
    ended = seen.of("utterance.ended")[0]
    assert isinstance(ended, UtteranceEnded)
    assert ended.duration_s == pytest.approx(0.32 + 4 + 0.12, abs=0.07)


async def test_a_client_says_itself_when_that_was_all(room: Room) -> None:
    await room.sink.advance(100)
    ear = room.ear(auto_end=False)
    ear.feed(speech(1) + silence(2) + speech(1))
    handle = await ear.end()
    assert handle is not None
    assert (await handle.result()).message == "Hello there."
    assert room.reads.heard[-1] == pytest.approx(4.0, abs=0.05)


async def test_that_was_all_after_nothing_was_said_is_nothing(room: Room) -> None:
    assert await room.ear().end() is None
    ear = room.ear(auto_end=False)
    told = []
    ear.on_dropped = lambda why, detail: told.append((why, detail))
    ear.feed(silence(2))
    assert await ear.end() is None
    assert told == [("too_short", "nobody spoke")]
    assert room.reads.heard == []


async def test_a_muted_microphone_hears_nothing_and_forgets_what_it_heard(room: Room) -> None:
    ear = room.ear()
    async with Watch(room.bus) as seen:
        ear.feed(speech(1))
        await followed(room)
        ear.set_deaf(True)
        ear.feed(speech(2) + silence(1))
        assert (await dropped(seen)).reason == "muted"
        await followed(room)
        ear.set_deaf(False)
        ear.feed(speech(0.64) + silence(1))
        await seen.until("chat.message")
    assert len(seen.of("utterance.started")) == 2
    # No pre-roll reaches back into what was said while it was muted.
    assert room.reads.heard[-1] == pytest.approx(0.64 + 0.2, abs=0.04)


async def test_what_is_being_read_when_the_microphone_is_muted_is_not_said(room: Room) -> None:
    room.reads.gate.clear()
    ear = room.ear()
    async with Watch(room.bus) as seen:
        ear.feed(speech(1) + silence(1))
        await room.reads.begun.wait()
        await followed(room)
        ear.set_deaf(True)
        room.reads.gate.set()
        await followed(room)
        assert (await dropped(seen)).reason == "muted"
        await room.ear().close()
    assert not seen.of("chat.message")


async def test_closing_ends_what_is_under_way_at_once(room: Room) -> None:
    room.reads.gate.clear()
    ear = room.ear(auto_end=False)
    ear.feed(speech(1))
    waiting = asyncio.create_task(ear.end())
    await room.reads.begun.wait()
    began_s = monotonic_s()
    await ear.close()
    assert await waiting is None
    assert monotonic_s() - began_s < 0.5
    ear.feed(speech(1))
    assert await ear.end() is None


async def test_a_very_long_speech_becomes_several_messages(room: Room) -> None:
    room.reads.texts = ["The first part", "The second part."]
    ear = room.ear()
    async with Watch(room.bus) as seen:
        ear.feed(speech(13) + silence(1))
        await seen.until("chat.message", 2)
    texts = [event.text for event in seen.events if isinstance(event, ChatMessage)]
    assert texts == ["The first part", "The second part."]
    sound = b"".join(room.reads.sounds)
    assert sound.count(LOUD) == pytest.approx(13_000 / 32, abs=1)  # nothing twice, nothing lost


async def test_sound_that_piles_up_is_bounded_and_the_program_goes_on(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ear_module, "WAITING_S", 2.0)
    ear = room.ear()
    for _ in range(1000):
        ear.feed(silence(0.32))
    assert ear.waiting_s <= 2.4
    async with Watch(room.bus) as seen:
        await followed(room)
        while ear.waiting_s:
            await asyncio.sleep(0)
        ear.feed(speech(1) + silence(1))
        await seen.until("chat.message")


async def test_an_hour_of_silence_keeps_no_sound(room: Room) -> None:
    ear = room.ear()
    for _ in range(60):
        ear.feed(silence(10))
        while ear.waiting_s:
            await asyncio.sleep(0)
    assert ear.kept_s < 3


async def test_frames_of_any_size_say_the_same(room: Room) -> None:
    ear = room.ear()
    sound = speech(1) + silence(1)
    for at in range(0, len(sound), 333):
        ear.feed(sound[at : at + 333])
    async with Watch(room.bus) as seen:
        await seen.until("chat.message")
    assert room.reads.heard[0] == pytest.approx(1.2, abs=0.04)


# --- while she speaks -----------------------------------------------------------------------------------------------


async def test_she_is_ducked_at_once_and_falls_silent_when_it_is_speech(room: Room) -> None:
    await room.let_her_speak()
    ear = room.ear()
    async with Watch(room.bus) as seen:
        ear.feed(speech(0.096))
        ducked = await seen.until("playback.ducked")
        assert isinstance(ducked, PlaybackDucked)
        assert ducked.is_ducked
        assert not seen.of("turn.finished")
        ear.feed(speech(0.32))
        finished = await seen.until("turn.finished")
        ear.feed(speech(0.5) + silence(1))
        message = await seen.until("chat.message")
    assert isinstance(finished, TurnFinished)
    assert finished.outcome == "interrupted"
    assert isinstance(message, ChatMessage)
    started = seen.of("utterance.started")[0]
    assert isinstance(started, UtteranceStarted)
    assert started.over_speech


async def test_a_cough_only_ducks_her(room: Room) -> None:
    await room.let_her_speak()
    ear = room.ear()
    async with Watch(room.bus) as seen:
        ear.feed(speech(0.096) + silence(1))
        assert (await dropped(seen)).reason == "too_short"
        await seen.until("playback.ducked", 2)
    states = [event.is_ducked for event in seen.events if isinstance(event, PlaybackDucked)]
    assert states == [True, False]
    assert room.player.is_speaking(STAGE)


async def test_a_word_interrupts_however_short_it_is(room: Room) -> None:
    room.use(barge_in_ms=5000)
    room.reads.texts = ["Stop!"]
    await room.let_her_speak()
    ear = room.ear()
    async with Watch(room.bus) as seen:
        ear.feed(speech(0.256) + silence(0.3))
        finished = await seen.until("turn.finished")
    assert isinstance(finished, TurnFinished)
    assert finished.outcome == "interrupted"


async def test_what_recognisers_make_up_interrupts_nobody(room: Room) -> None:
    room.use(barge_in_ms=5000)
    room.reads.texts = ["Subtitles by the Amara.org community"]
    await room.let_her_speak()
    ear = room.ear()
    async with Watch(room.bus) as seen:
        ear.feed(speech(0.5) + silence(1))
        assert (await dropped(seen)).reason == "phantom"
        await seen.until("playback.ducked", 2)
    assert room.player.is_speaking(STAGE)
    assert not room.player.is_ducked


async def test_a_held_key_interrupts_at_once(room: Room) -> None:
    await room.let_her_speak()
    ear = room.ear(is_open=False)
    async with Watch(room.bus) as seen:
        ear.hold()
        finished = await seen.until("turn.finished")
    assert isinstance(finished, TurnFinished)
    assert finished.outcome == "interrupted"


async def test_without_barge_in_the_message_waits_for_its_turn(room: Room) -> None:
    room.use(barge_in=False)
    await room.let_her_speak()
    ear = room.ear()
    async with Watch(room.bus) as seen:
        ear.feed(speech(1) + silence(1))
        await seen.until("chat.disposition")
        assert room.player.is_speaking(STAGE)
        await room.sink.advance(100)
        await seen.until("turn.finished", 2)
    outcomes = [event.outcome for event in seen.events if isinstance(event, TurnFinished)]
    assert outcomes == ["done", "done"]
    assert not seen.of("playback.ducked")


def sounding_now(room: Room) -> None:
    """Her voice left the output all the time lately, and does for a while."""
    room.sink.left = [Sounding(b"\x10\x20" * 16000 * 20, 16_000, monotonic_s() - 10)]


async def test_strict_hears_nothing_while_she_sounds(room: Room) -> None:
    room.use(guard="strict")
    ear = room.ear(hears_her=True)
    async with Watch(room.bus) as seen:
        sounding_now(room)
        ear.feed(speech(2) + silence(1))
        await followed(room)
        assert not seen.of("utterance.started")
        room.sink.left = []
        ear.feed(speech(1) + silence(1))
        await seen.until("chat.message")


async def test_headphones_hear_everything(room: Room) -> None:
    room.use(guard="headphones")
    sounding_now(room)
    ear = room.ear(hears_her=True)
    async with Watch(room.bus) as seen:
        ear.feed(speech(1) + silence(1))
        await seen.until("chat.message")


async def test_her_own_words_are_not_answered(room: Room) -> None:
    room.use(guard="headphones", barge_in=False)
    room.reads.texts = ["is a long story about bears"]
    room.said = "This is a long story about bears and honey."
    await room.let_her_speak()
    ear = room.ear(hears_her=True)
    async with Watch(room.bus) as seen:
        ear.feed(speech(1.5) + silence(1))
        assert (await dropped(seen)).reason == "echo"


async def test_words_that_she_said_before_may_be_said_to_her(room: Room) -> None:
    spoken = Spoken()
    spoken.began("Please read the last message again.", 2.0, monotonic_s() - 8)
    spoken.began("This is a long story about bears.", 2.0, monotonic_s() - 1)
    room.words = spoken.between
    room.use(guard="headphones", barge_in=False)
    room.reads.texts = ["please read the last message again"]
    ear = room.ear(hears_her=True)
    async with Watch(room.bus) as seen:
        ear.feed(speech(1.5) + silence(1))
        await seen.until("chat.message")
    assert not seen.of("utterance.dropped")


class Says:
    """An echo guard that finds what the test says, frame by frame; its last finding stays."""

    is_found = True

    def __init__(self, *runs: tuple[Verdict, int]) -> None:
        self.left = [verdict for verdict, count in runs for _ in range(count)]

    async def judge(self, frames: bytes, *_: object, **__: object) -> Verdict:
        count = len(frames) // 2 // FRAME
        found = self.left[:count]
        del self.left[: min(count, len(self.left) - 1)]
        return found[-1]

    def forget(self) -> None:
        """Nothing is remembered."""


async def hears_over_her(room: Room, says: Says, sound: bytes) -> Watch:
    """Have an ear follow a sound in pieces of one frame while she speaks."""
    await room.let_her_speak()
    ear = room.ear(hears_her=True)
    ear._echo = says  # type: ignore[assignment]  # the same methods
    async with Watch(room.bus) as seen:
        for at in range(0, len(sound), 2 * FRAME):
            ear.feed(sound[at : at + 2 * FRAME])
            while ear.waiting_s:
                await asyncio.sleep(0)
        await seen.settle()
        if seen.of("utterance.started"):
            await seen.until("utterance.ended")
            while ear.is_reading:
                await asyncio.sleep(0)
        await seen.settle()
    return seen


async def test_an_utterance_that_is_mostly_hers_is_an_echo_and_interrupts_nobody(
    room: Room,
) -> None:
    room.reads.texts = ["get on"]
    says = Says(("hers", 10), ("somebody", 12), ("hers", 20), ("free", 1))
    seen = await hears_over_her(room, says, speech(42 * 0.032) + silence(1))
    assert (await dropped(seen)).reason == "echo"
    assert room.player.is_speaking(STAGE)
    assert not seen.of("chat.message")


@pytest.mark.parametrize(("frames", "interrupts"), [(14, False), (24, True)])
async def test_more_speech_is_needed_where_she_hears_herself(
    room: Room, frames: int, interrupts: bool
) -> None:
    says = Says(("somebody", frames), ("free", 1))
    room.reads.texts = ["..."]
    await hears_over_her(room, says, speech(frames * 0.032) + silence(1))
    if interrupts:
        async with asyncio.timeout(5):
            while room.player.is_speaking(STAGE):
                await asyncio.sleep(0)
    assert room.player.is_speaking(STAGE) is not interrupts


async def test_what_was_judged_late_is_the_beginning_of_what_it_turns_out_to_be(
    room: Room,
) -> None:
    says = Says(("hers", 20), ("maybe", 8), ("somebody", 30), ("free", 1))
    await hears_over_her(room, says, speech(58 * 0.032) + silence(1))
    # The pre-roll, 8 frames that were not certain, 30 that were, and what is left on.
    assert room.reads.heard[-1] == pytest.approx(0.32 + 38 * 0.032 + 0.2, abs=0.07)


async def test_a_reply_is_begun_in_the_pause_and_taken_over(room: Room) -> None:
    room.reads.texts = ["What is the time"]
    ear = room.ear()
    async with Watch(room.bus) as seen:
        ear.feed(speech(1) + silence(0.3))
        await seen.until("utterance.partial")
        await followed(room)
        assert len(room.llm.prompts) == 1
        assert not seen.of("chat.message")
        ear.feed(silence(1))
        await seen.until("chat.message")
        await seen.until("chat.sentence")
    assert len(room.llm.prompts) == 1


async def test_a_reply_that_was_begun_is_thrown_away_when_more_is_said(room: Room) -> None:
    room.reads.texts = ["What is the time", "What is the time in Tokyo"]
    ear = room.ear()
    async with Watch(room.bus) as seen:
        ear.feed(speech(1) + silence(0.3))
        await seen.until("utterance.partial")
        await followed(room)
        ear.feed(speech(1) + silence(1))
        await seen.until("chat.sentence")
    assert room.llm.prompts[-1].messages[-1].text.endswith("What is the time in Tokyo")
    assert "What is the time" in room.llm.prompts[0].messages[-1].text


async def test_nothing_is_begun_for_a_sentence_that_hangs(room: Room) -> None:
    room.reads.texts = ["I went there because"]
    ear = room.ear()
    async with Watch(room.bus) as seen:
        ear.feed(speech(1) + silence(0.3))
        await seen.until("utterance.partial")
        await followed(room)
    assert room.llm.prompts == []


def test_a_frame_is_what_the_detectors_say() -> None:
    from backend.engines.vad.options import FRAME_SAMPLES

    assert FRAME == FRAME_SAMPLES
