"""The microphone's modes, what is remembered of them, its faults in words, push-to-talk, tests, and transcripts from outside."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from backend.contracts.entities import STAGE, Audio
from backend.contracts.errors import (
    BusyError,
    ConflictError,
    EngineUnavailableError,
    InvalidInputError,
)
from backend.contracts.events import (
    ChatMessage,
    ListeningChanged,
    ListeningLevel,
    TurnFinished,
    UtteranceDropped,
    UtteranceStarted,
)
from backend.contracts.listening import InputDeviceInfo
from backend.core.clock import monotonic_s
from backend.listening import hearing as hearing_module
from backend.listening.hearing import MOST_EARS, Hearing
from backend.listening.options import ListeningOptions
from backend.sources.base import OnFrame, OnLevel, OnState, SoundLevel, SourceState
from tests.fakes import Watch
from tests.listening_room import Loud, Room, room_in, silence, speech


class Device:
    """A microphone that the test speaks into and pulls out."""

    name = "microphone"

    def __init__(self) -> None:
        self.state = SourceState()
        self.device = ""
        self.gain_db = 0.0
        self.frame_ms = 32
        self.is_started = False
        self.recording: asyncio.Event | None = None
        self._on_frame: OnFrame = lambda frame: None
        self._on_level: OnLevel = lambda level: None
        self._on_state: OnState = lambda state: None

    def start(self, on_frame: OnFrame, on_level: OnLevel, on_state: OnState) -> None:
        self._on_frame, self._on_level, self._on_state = on_frame, on_level, on_state
        self.is_started = True

    async def stop(self) -> None:
        self.is_started = False
        self.state = SourceState()

    def be(self, state: SourceState) -> None:
        """Become so and tell it."""
        self.state = state
        self._on_state(state)

    def hear(self, sound: bytes) -> None:
        """Give sound."""
        self._on_frame(sound)

    def measure(self, level_dbfs: float) -> None:
        """Give a reading of the meter."""
        self._on_level(SoundLevel(level_dbfs, level_dbfs + 6, False))

    def set_device(self, name: str) -> None:
        self.device = name

    def set_gain(self, gain_db: float) -> None:
        self.gain_db = gain_db

    def set_frame_ms(self, frame_ms: int) -> None:
        self.frame_ms = frame_ms

    async def devices(self) -> list[InputDeviceInfo]:
        return [InputDeviceInfo(name="Headset", is_default=True)]

    async def record(self, seconds: float, on_level: OnLevel | None = None) -> Audio:
        if self.recording is not None:
            await self.recording.wait()
        if self.device == "gone":
            raise EngineUnavailableError("The microphone 'gone' is not there. Choose another one.")
        return Audio(b"\x00\x04" * round(seconds * 16_000), 16_000)


DETECTOR = Hearing.detector
READY = SourceState(True, "Headset", 48_000)


@dataclass
class Studio:
    """A hearing over a room and a device of the test's."""

    room: Room
    device: Device
    hearing: Hearing
    kept: dict[str, object] = field(default_factory=dict)
    locked: set[str] = field(default_factory=set)

    async def open(self, mode: str = "open") -> None:
        """Listen, with a device that works."""
        await self.hearing.set(mode=mode)  # type: ignore[arg-type]  # one of the modes
        self.device.be(READY)


@asynccontextmanager
async def studio_in(folder: Path, options: ListeningOptions | None = None) -> AsyncIterator[Studio]:
    async with room_in(folder) as room:
        studio: Studio

        async def keep(values: dict[str, object]) -> None:
            for name in values:
                if name in studio.locked:
                    raise ConflictError(f"{name.upper()} cannot be changed here: it is set.")
            studio.kept |= values
            names = hearing_module._FIELDS
            room.use(**{names[name]: value for name, value in values.items()})
            await studio.hearing.use(room.options)

        device = Device()
        hearing = Hearing(
            bus=room.bus,
            chat=room.chat,
            player=room.player,
            sounds=room.sounds,
            host=room.host,
            source=device,
            recogniser=lambda: room.reads,
            options=options or room.options,
            keep=keep,
            in_words=lambda: "reads",
        )
        studio = Studio(room, device, hearing)
        yield studio
        await hearing.stop()


@pytest.fixture
async def studio(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Studio]:
    monkeypatch.setattr(Hearing, "detector", lambda hearing: Loud(hearing._options.detector))
    async with studio_in(tmp_path) as studio:
        await studio.hearing.start()
        yield studio


def told(seen: Watch) -> list[str]:
    """States in the order in which they were told."""
    return [e.listening.state for e in seen.events if isinstance(e, ListeningChanged)]


async def test_nobodys_microphone_opens_before_a_click(studio: Studio) -> None:
    assert studio.hearing.is_on
    assert not studio.device.is_started
    assert studio.hearing.state().state == "off"
    assert studio.room.reads.warmed == 0
    assert "the microphone is off" in studio.hearing.health().detail


async def test_an_open_microphone_hears_and_says_how_it_is(studio: Studio) -> None:
    async with Watch(studio.room.bus) as seen:
        await studio.open()
        studio.device.hear(speech(1) + silence(1))
        await seen.until("chat.message")
        await seen.settle()
    assert studio.kept == {"asr_mode": "open"}
    assert studio.room.reads.warmed >= 1
    states = told(seen)
    assert states[:3] == ["starting", "listening", "hearing"]
    assert states[-1] == "listening"
    now = studio.hearing.state()
    assert (now.device_now, now.rate_hz, now.vad) == ("Headset", 48_000, "silero")
    assert studio.hearing.health().state == "ready"


async def test_closed_again_it_lets_go_of_the_device(studio: Studio) -> None:
    await studio.open()
    state = await studio.hearing.set(mode="off")
    assert state.state == "off"
    assert not studio.device.is_started
    async with Watch(studio.room.bus) as seen:
        studio.device.hear(speech(1) + silence(1))
        await seen.settle()
    assert not seen.of("utterance.started")


async def test_a_mode_of_the_settings_opens_it_at_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Hearing, "detector", lambda hearing: Loud(hearing._options.detector))
    async with studio_in(tmp_path, ListeningOptions(mode="open", device="Desk")) as studio:
        await studio.hearing.start()
        assert studio.device.is_started
        assert studio.device.device == "Desk"


async def test_a_device_in_trouble_is_told_with_the_fix_and_heard_again(studio: Studio) -> None:
    problem = "The microphone 'Headset' is not there. Plug it in, or choose another one."
    async with Watch(studio.room.bus) as seen:
        await studio.open()
        studio.device.be(SourceState(problem=problem))
        assert studio.hearing.state().state == "problem"
        assert studio.hearing.state().problem == problem
        assert studio.hearing.health().error == problem
        studio.device.be(READY)
        studio.device.hear(speech(1) + silence(1))
        await seen.until("chat.message")
    assert studio.hearing.state().problem == ""
    warned = [e for e in seen.events if isinstance(e, ListeningChanged) and e.severity == "WARNING"]
    assert len(warned) == 1


async def test_gain_device_and_guard_take_effect_at_once_and_are_kept(studio: Studio) -> None:
    state = await studio.hearing.set(device="Desk", gain_db=6.0, guard="headphones")
    assert (studio.device.device, studio.device.gain_db) == ("Desk", 6.0)
    assert (state.device, state.gain_db, state.guard) == ("Desk", 6.0, "headphones")
    assert studio.kept == {
        "asr_input_device": "Desk",
        "asr_gain_db": 6.0,
        "asr_guard": "headphones",
    }


async def test_a_microphone_can_be_muted_where_the_settings_are_locked(studio: Studio) -> None:
    await studio.open()
    studio.locked = {"asr_muted"}
    assert (await studio.hearing.set(muted=True)).muted
    await studio.hearing.use(studio.room.options)  # another setting is saved
    assert studio.hearing.state().muted
    async with Watch(studio.room.bus) as seen:
        studio.device.hear(speech(1) + silence(1))
        await seen.settle()
    assert not seen.of("utterance.started")


async def test_a_muted_microphone_still_shows_its_level(studio: Studio) -> None:
    await studio.open()
    await studio.hearing.set(muted=True)
    async with Watch(studio.room.bus) as seen:
        studio.device.measure(-30.0)
        level = await seen.until("listening.level")
    assert isinstance(level, ListeningLevel)
    assert (level.level_dbfs, level.peak_dbfs, level.speech) == (-30.0, -24.0, 0.0)


async def test_push_to_talk(studio: Studio) -> None:
    await studio.open("push_to_talk")
    async with Watch(studio.room.bus) as seen:
        studio.device.hear(speech(1) + silence(1))
        await seen.settle()
        assert not seen.of("utterance.started")
        studio.hearing.talk(True)
        studio.hearing.talk(True)  # a key repeats
        assert studio.hearing.state().is_talking
        studio.device.hear(speech(1) + silence(1))
        studio.hearing.talk(False)
        studio.device.hear(silence(0.3))
        await seen.until("chat.message")
    assert len(seen.of("utterance.started")) == 1
    assert not studio.hearing.state().is_talking


async def test_a_key_says_why_it_does_nothing(studio: Studio) -> None:
    with pytest.raises(ConflictError, match="is off"):
        studio.hearing.talk(True)
    studio.hearing.talk(False)
    await studio.open("push_to_talk")
    await studio.hearing.set(muted=True)
    with pytest.raises(ConflictError, match="Unmute"):
        studio.hearing.talk(True)
    await studio.hearing.set(muted=False)
    studio.device.be(SourceState(problem="The microphone is not there. Plug it in."))
    with pytest.raises(ConflictError, match="Plug it in"):
        studio.hearing.talk(True)
    assert not studio.hearing.state().is_talking
    studio.device.be(READY)
    studio.hearing.talk(True)


async def test_what_was_said_until_the_microphone_broke_is_answered_and_the_key_is_let_go(
    studio: Studio,
) -> None:
    await studio.open("push_to_talk")
    async with Watch(studio.room.bus) as seen:
        studio.hearing.talk(True)
        studio.device.hear(speech(1))
        await seen.settle()
        studio.device.be(SourceState(problem="The microphone is not there. Plug it in."))
        assert not studio.hearing.state().is_talking
        await seen.until("chat.message")


async def test_a_forgotten_key_is_let_go(studio: Studio, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hearing_module, "LONGEST_HOLD_S", 0.0)
    await studio.open("push_to_talk")
    async with Watch(studio.room.bus) as seen:
        studio.hearing.talk(True)
        await seen.until("listening.changed")
        while studio.hearing.state().is_talking:
            await asyncio.sleep(0)


async def test_another_detector_is_used_from_now_on(studio: Studio) -> None:
    await studio.open()
    assert studio.hearing.state().vad == "silero"
    studio.room.use(detector="energy")
    await studio.hearing.use(studio.room.options)
    assert studio.hearing.state().vad == "energy"


@pytest.mark.parametrize("name", ["silero", "energy"])
async def test_the_detectors_are_those_of_the_registry(studio: Studio, name: str) -> None:
    studio.room.use(detector=name)
    await studio.hearing.use(studio.room.options)
    detector = DETECTOR(studio.hearing)
    assert detector.name == name
    assert await detector.probabilities(silence(0.032)) == pytest.approx([0.0], abs=0.2)


async def test_a_test_is_recorded_played_back_and_said_to_nobody(studio: Studio) -> None:
    await studio.room.sink.advance(100)
    await studio.open()
    async with Watch(studio.room.bus) as seen:
        url = await studio.hearing.record_test(1.0)
        studio.device.hear(speech(1) + silence(1))  # the loudspeaker plays it
        await seen.until("playback.finished")
    assert not seen.of("utterance.started")
    turn_id, n = url.removeprefix("/api/audio/").split("/")
    assert len(await studio.room.sounds.get(turn_id, int(n))) == 44 + 32_000


async def test_a_test_that_cannot_be_made_says_why(studio: Studio) -> None:
    with pytest.raises(InvalidInputError):
        await studio.hearing.record_test(100)
    await studio.hearing.set(device="gone")
    with pytest.raises(EngineUnavailableError, match="not there"):
        await studio.hearing.record_test(1)
    await studio.hearing.set(device="")
    studio.device.recording = asyncio.Event()
    first = asyncio.create_task(studio.hearing.record_test(1))
    await asyncio.sleep(0)
    with pytest.raises(ConflictError, match="already"):
        await studio.hearing.record_test(1)
    studio.device.recording.set()
    await first
    studio.room.player.stop_playing_again()


async def test_nothing_counts_while_something_else_plays(studio: Studio) -> None:
    await studio.open()
    async with Watch(studio.room.bus) as seen:

        async def play() -> str:
            studio.device.hear(speech(1) + silence(1))
            await seen.settle()
            return "played"

        assert await studio.hearing.without_echo(play) == "played"
        await seen.settle()
    assert not seen.of("utterance.started")


async def test_a_stream_of_any_rate_is_listened_to(studio: Studio) -> None:
    ear = await studio.hearing.open_ear(STAGE, origin="ws", rate_hz=48_000)
    loud = b"\xb8\x0b" * 24 + b"\x48\xf4" * 24  # 1 kHz
    async with Watch(studio.room.bus) as seen:
        ear.feed(loud * 1_000 + bytes(2 * 48_000 * 2))
        message = await seen.until("chat.message")
    assert isinstance(message, ChatMessage)
    assert message.origin == "ws"
    assert studio.room.reads.heard[0] == pytest.approx(1.2, abs=0.1)


async def test_streams_that_cannot_be_listened_to_are_refused(studio: Studio) -> None:
    with pytest.raises(InvalidInputError, match="8,000"):
        await studio.hearing.open_ear(STAGE, origin="ws", rate_hz=1)
    ears = [
        await studio.hearing.open_ear(STAGE, origin="ws", rate_hz=16_000) for _ in range(MOST_EARS)
    ]
    with pytest.raises(BusyError):
        await studio.hearing.open_ear(STAGE, origin="ws", rate_hz=16_000)
    await ears[0].close()
    await studio.hearing.open_ear(STAGE, origin="ws", rate_hz=16_000)
    await studio.hearing.stop()
    assert all(ear.is_closed for ear in ears)
    with pytest.raises(ConflictError, match="switched off"):
        await studio.hearing.open_ear(STAGE, origin="ws", rate_hz=16_000)


async def test_a_transcript_from_outside_interrupts_with_its_first_word_and_is_said(
    studio: Studio,
) -> None:
    room = studio.room
    await room.let_her_speak()
    async with Watch(room.bus) as seen:
        assert await studio.hearing.ingest("wait", is_final=False, utterance_id="7") is None
        finished = await seen.until("turn.finished")
        await studio.hearing.ingest("wait a", is_final=False, utterance_id="7")
        handle = await studio.hearing.ingest(
            "Wait a moment.", is_final=True, utterance_id="7", author="Ann", origin="phone"
        )
    assert isinstance(finished, TurnFinished)
    assert finished.outcome == "interrupted"
    assert handle is not None
    message = seen.of("chat.message")[0]
    assert isinstance(message, ChatMessage)
    assert (message.text, message.author, message.origin) == ("Wait a moment.", "Ann", "phone")
    started = seen.of("utterance.started")
    assert len(started) == 1
    assert isinstance(started[0], UtteranceStarted)
    assert started[0].utterance_id == "7"
    assert len(seen.of("utterance.partial")) == 2


async def test_an_empty_final_transcript_takes_the_partial_ones_back(studio: Studio) -> None:
    await studio.room.let_her_speak()
    async with Watch(studio.room.bus) as seen:
        await studio.hearing.ingest("", is_final=False)
        assert studio.room.player.is_ducked
        assert await studio.hearing.ingest(" ", is_final=True) is None
        event = await seen.until("utterance.dropped")
    assert isinstance(event, UtteranceDropped)
    assert event.reason == "no_words"
    assert not studio.room.player.is_ducked
    assert studio.room.player.is_speaking(STAGE)


async def test_utterances_from_outside_that_never_end_are_forgotten(studio: Studio) -> None:
    for n in range(300):
        await studio.hearing.ingest("hm", is_final=False, utterance_id=str(n))
    assert len(studio.hearing._outside) <= hearing_module.FORGET_INGESTED


async def test_it_stops_in_time_whatever_is_under_way(studio: Studio) -> None:
    room = studio.room
    room.reads.gate.clear()
    await studio.open()
    studio.device.hear(speech(1) + silence(1))
    await room.reads.begun.wait()
    began_s = monotonic_s()
    await studio.hearing.stop()
    await studio.hearing.stop()
    assert monotonic_s() - began_s < 1
    assert not studio.device.is_started
    assert studio.hearing.state().state == "off"


async def test_held_it_hears_nobody_on_no_stream_and_shows_as_muted(studio: Studio) -> None:
    await studio.open()
    before = await studio.hearing.open_ear(STAGE, origin="ws", rate_hz=16_000)
    studio.hearing.hold(True)
    meanwhile = await studio.hearing.open_ear(STAGE, origin="ws", rate_hz=16_000)
    assert studio.hearing.state().muted
    with pytest.raises(ConflictError, match="Resume"):
        studio.hearing.talk(True)
    async with Watch(studio.room.bus) as seen:
        for hear in (studio.device.hear, before.feed, meanwhile.feed):
            hear(speech(1) + silence(1))
        await seen.settle()
        assert not seen.of("utterance.started")
        studio.hearing.hold(False)
        studio.device.hear(speech(1) + silence(1))
        await seen.until("chat.message")
    assert not studio.hearing.state().muted
    assert studio.kept == {"asr_mode": "open"}
