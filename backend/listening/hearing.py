"""The module "hear": the microphone with its modes, and an ear for everything else that is listened to.

Owns the sound source and the ear of the stage; hands ears to sockets; takes transcripts of outside programs. What is chosen here is
kept as a setting. The device's faults are the source's business, which recovers by itself; here they are shown.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar
from uuid import uuid4

from backend.chat.conversations import Chat, TurnHandle
from backend.contracts.entities import STAGE, Audio, ServiceInfo
from backend.contracts.errors import AppError, BusyError, ConflictError, InvalidInputError
from backend.contracts.events import (
    ListeningChanged,
    ListeningLevel,
    PlaybackFinished,
    PlaybackStarted,
    UtteranceDropped,
    UtterancePartial,
    UtteranceStarted,
)
from backend.contracts.listening import (
    EchoGuard,
    InputDeviceInfo,
    ListeningMode,
    ListeningState,
    ListeningStateName,
)
from backend.core.bus import EventBus
from backend.core.clock import monotonic_s
from backend.core.workers import EngineHost, run_in_thread
from backend.engines.stt.base import STT
from backend.engines.vad import DETECTORS
from backend.engines.vad.base import VAD
from backend.engines.vad.options import FRAME_SAMPLES, EnergyOptions, SileroOptions
from backend.listening.barge_in import BargeIn
from backend.listening.ear import Ear, Parts
from backend.listening.endpointing import KEY_TAIL_MS, RATE_HZ
from backend.listening.options import ListeningOptions
from backend.listening.pace import Pace
from backend.listening.spoken import Spoken
from backend.playback.player import Player, SpokenPiece
from backend.playback.sounds import SoundStore
from backend.sources.base import SoundLevel, SoundSource, SourceState

if TYPE_CHECKING:
    from backend.audio.intake import Intake

logger = logging.getLogger(__name__)

T = TypeVar("T")

MOST_EARS = 32
RATES_HZ = range(8_000, 96_001)
LONGEST_TEST_S = 15.0
AFTER_TEST_S = 1.0
"""What a room and a sound card still give when a sound has ended."""
LONGEST_HOLD_S = 120.0
"""A key that is held longer was forgotten, or whoever held it has gone."""
FORGET_INGESTED = 64
"""Utterances of outside programs of which the beginning is remembered."""

Keep = Callable[[dict[str, object]], Awaitable[None]]
"""Keeps settings by name; raises ConflictError for one that something higher decides."""


class Hearing:
    """Everything that listens; all methods are for the backend's loop.

    Args:
        bus: Where `listening.*` and `utterance.*` go.
        chat: What is said becomes a message there.
        player: Her voice: ducked, listened past, and asked to play a recording back.
        sounds: Where a test recording is kept.
        host: Where detectors and the echo guard compute.
        source: The microphone.
        recogniser: Who reads, asked every time.
        options: How it is listened.
        keep: Keeps what is chosen here.
        in_words: What reads, for the Status tab.
    """

    name = "hear"

    def __init__(
        self,
        *,
        bus: EventBus,
        chat: Chat,
        player: Player,
        sounds: SoundStore,
        host: EngineHost,
        source: SoundSource,
        recogniser: Callable[[], STT],
        options: ListeningOptions,
        keep: Keep,
        in_words: Callable[[], str],
    ) -> None:
        self.is_on = False
        self._bus = bus
        self._chat = chat
        self._player = player
        self._sounds = sounds
        self._host = host
        self._source = source
        self._recogniser = recogniser
        self._wanted = options
        self._options = options
        self._not_kept: dict[str, object] = {}
        self._keep = keep
        self._in_words = in_words
        self._pace = Pace()
        self._spoken = Spoken()
        self._parts = Parts(
            bus=bus,
            chat=chat,
            player=player,
            host=host,
            recogniser=recogniser,
            detector=self.detector,
            options=lambda: self._options,
            pace=self._pace,
            said=self._spoken.between,
        )
        self._ear: Ear | None = None
        self._ears: set[Ear] = set()
        self._is_talking = False
        self._tests = 0
        self._is_held = False
        self._hold_ends: asyncio.TimerHandle | None = None
        self._told = ListeningState()
        self._follows: asyncio.Task[None] | None = None
        self._outside: dict[str, tuple[str, BargeIn]] = {}

    # --- the module ---

    async def start(self) -> None:
        """Be on: ears may be opened, and the microphone is when its mode says so."""
        self.is_on = True
        self._follows = asyncio.create_task(self._follow_her(), name="what she says")
        await self._apply()

    async def stop(self) -> None:
        """Be off: the microphone is closed, and so is every ear."""
        self.is_on = False
        await self._close_microphone()
        await asyncio.gather(*(ear.close() for ear in [*self._ears]))
        self._ears.clear()
        if self._follows is not None:
            self._follows.cancel()
            await asyncio.gather(self._follows, return_exceptions=True)
            self._follows = None
        self._tell()

    def health(self) -> ServiceInfo:
        """How it is, and what reads."""
        now = self.state()
        if not self.is_on:
            detail = "switched off"
        elif now.mode == "off":
            detail = f"{self._in_words()}; the microphone is off"
        else:
            detail = f"{self._in_words()}; {now.device_now or 'no microphone'}"
        return ServiceInfo(
            name=self.name,
            title="Speech to text",
            enabled=self.is_on,
            state="off" if not self.is_on else "degraded" if now.problem else "ready",
            detail=detail,
            error=now.problem if self.is_on else "",
        )

    @property
    def options(self) -> ListeningOptions:
        """How it is listened now."""
        return self._options

    # --- the microphone ---

    def state(self) -> ListeningState:
        """How the microphone is."""
        options, source = self._options, self._source.state
        is_wanted = options.mode != "off" and self.is_on
        return ListeningState(
            state=self._state_name(source) if is_wanted else "off",
            mode=options.mode,
            is_talking=self._is_talking,
            muted=options.is_muted or self._is_held,
            device=options.device,
            device_now=source.device if is_wanted else "",
            rate_hz=source.rate_hz if is_wanted else 0,
            gain_db=options.gain_db,
            guard=options.guard,
            vad=self._ear.detector if self._ear is not None else "",
            problem=self._problem(source),
        )

    async def set(
        self,
        *,
        mode: ListeningMode | None = None,
        muted: bool | None = None,
        device: str | None = None,
        gain_db: float | None = None,
        guard: EchoGuard | None = None,
    ) -> ListeningState:
        """Change what is given, remember it, and return how the microphone is then.

        Raises:
            InvalidInputError: A value is out of its range.
        """
        chosen: dict[str, object] = {
            name: value
            for name, value in (
                ("asr_mode", mode),
                ("asr_muted", muted),
                ("asr_input_device", device),
                ("asr_gain_db", gain_db),
                ("asr_guard", guard),
            )
            if value is not None
        }
        for name, value in chosen.items():
            try:
                await self._keep({name: value})
                self._not_kept.pop(name, None)
            except ConflictError as error:
                # Set for good somewhere else: a microphone can be muted all the same, until the end of the program.
                logger.info("not remembered: %s", error.message)
                self._not_kept[name] = value
        await self.use(self._wanted)
        return self.state()

    async def use(self, options: ListeningOptions) -> None:
        """Listen like this from now on; called with every change of the settings."""
        self._wanted = options
        changes = {_FIELDS[name]: value for name, value in self._not_kept.items()}
        before, self._options = self._options, replace(options, **changes)  # type: ignore[arg-type]  # by name
        if before.detector != self._options.detector:
            for ear in self._all_ears():
                ear.renew_detector()
        await self._apply()

    def talk(self, down: bool) -> None:
        """Push-to-talk: the key went down, or up again.

        Raises:
            ConflictError: The microphone is off, muted or broken, with what to do.
        """
        if self._hold_ends is not None:
            self._hold_ends.cancel()
            self._hold_ends = None
        if down and self._ear is None:
            raise ConflictError(
                "The microphone is off. Choose push-to-talk or open microphone, and talk again."
            )
        if down and self._is_held:
            raise ConflictError("Everything is stopped by the panic. Resume, and talk again.")
        if down and self._options.is_muted:
            raise ConflictError("The microphone is muted. Unmute it and talk again.")
        if down and (problem := self._problem(self._source.state)):
            raise ConflictError(f"Nothing you say is heard. {problem}")
        if down != self._is_talking:
            self._is_talking = down
            if self._ear is not None:
                (self._ear.hold if down else self._ear.release)()
        if down:
            loop = asyncio.get_running_loop()
            self._hold_ends = loop.call_later(LONGEST_HOLD_S, self.talk, False)
        self._tell()

    async def devices(self) -> list[InputDeviceInfo]:
        """Microphones that are there.

        Raises:
            EngineUnavailableError: They cannot be listed, with what to do.
        """
        return await self._source.devices()

    async def record_test(self, seconds: float) -> str:
        """Record what the microphone hears, begin to play it back, and return where it can be fetched.

        Raises:
            InvalidInputError: It is too short or too long.
            ConflictError: She is speaking, or a test runs already.
            EngineUnavailableError: The microphone cannot be listened to, with what to do.
        """
        if not 0.5 <= seconds <= LONGEST_TEST_S:
            raise InvalidInputError(
                f"A test of {seconds:g} s is not possible: choose 0.5 to {LONGEST_TEST_S:g} s."
            )
        if self._player.is_playing:
            raise ConflictError("The character is speaking. Wait for the end, or stop her.")
        if self._tests:
            raise ConflictError("A test of the sound runs already. Wait for its end.")
        self._begin_test()
        try:
            # The meter moves by itself while the microphone is open.
            is_open = self._ear is not None
            audio = await self._source.record(seconds, None if is_open else self._level)
            turn_id = uuid4().hex
            url = self._sounds.put(turn_id, 1, audio)
            piece = SpokenPiece(1, "test recording", audio, url)
            self._player.play_again([piece], turn_id, STAGE)
        except BaseException:
            self._end_test()
            raise
        asyncio.get_running_loop().call_later(audio.duration_s + AFTER_TEST_S, self._end_test)
        return url

    async def record(self, seconds: float) -> Audio:
        """Sound of the microphone as it is listened to, whether it is on or not.

        Raises:
            EngineUnavailableError: It cannot be listened to, with what to do.
        """
        return await self._source.record(seconds)

    async def without_echo(self, play: Callable[[], Awaitable[T]]) -> T:
        """Run something that plays sound, while nothing that the microphone hears counts."""
        self._begin_test()
        try:
            return await play()
        finally:
            asyncio.get_running_loop().call_later(AFTER_TEST_S, self._end_test)

    def hears_somebody(self) -> bool:
        """Whether somebody speaks into the microphone, or what they said is still being read."""
        ear = self._ear
        return self._is_talking or (ear is not None and (ear.is_hearing or ear.is_reading))

    def pause(self) -> None:
        """Nothing that the microphone hears counts until `go_on`: somebody speaks into it for something else."""
        self._begin_test()

    def go_on(self) -> None:
        """What is heard counts again, unless another `pause` lasts."""
        self._end_test()

    def hold(self, is_held: bool) -> None:
        """Whether nothing that anybody says counts, on no stream and whatever the microphone is set to."""
        self._is_held = is_held
        self._update_ear()
        for ear in self._ears:
            ear.set_deaf(is_held)
        self._tell()

    # --- everything else that is listened to ---

    async def open_ear(
        self, conversation_id: str, *, origin: str, rate_hz: int, auto_end: bool = True
    ) -> Ear:
        """Listen to a stream of sound from somewhere else; close the ear when it ends.

        Args:
            conversation_id: Where what is said goes.
            origin: Where it comes from, as the message will say ("ws", "client-ws").
            rate_hz: Of the sound that will be fed.
            auto_end: Whether silence ends an utterance; else only `Ear.end` does.

        Raises:
            ConflictError: The module is off.
            InvalidInputError: That rate is not possible.
            BusyError: Too many are listened to already.
        """
        if not self.is_on:
            raise ConflictError("Speech to text is switched off. Switch it on in the Status tab.")
        if rate_hz not in RATES_HZ:
            raise InvalidInputError(
                f"Sound at {rate_hz} Hz is not taken; send 8,000 to 96,000 Hz, best 16,000."
            )
        self._ears = {ear for ear in self._ears if not ear.is_closed}
        if len(self._ears) >= MOST_EARS:
            raise BusyError(f"{MOST_EARS} streams of sound are listened to already.")
        intake = await run_in_thread(_intake, rate_hz)
        ear = Ear(
            conversation_id,
            self._parts,
            origin=origin,
            auto_end=auto_end,
            hears_her=conversation_id == STAGE,
            intake=intake,
        )
        ear.set_deaf(self._is_held)
        self._ears.add(ear)
        self.warm()
        return ear

    async def ingest(
        self,
        text: str,
        *,
        is_final: bool,
        conversation_id: str = STAGE,
        origin: str = "ingest",
        utterance_id: str = "",
        author: str = "you",
        language: str = "",
    ) -> TurnHandle | None:
        """Take a transcript that another program has read: a partial one ducks and interrupts like speech, a final one is said.

        Args:
            text: What was read; an empty final one takes the partial ones back.
            is_final: Whether it is complete.
            conversation_id: Where it goes.
            origin: Where it comes from.
            utterance_id: The same for all transcripts of one utterance; empty = the conversation's only one.
            author: Who speaks.
            language: ISO 639-1 code, when it is known.

        Raises:
            ConflictError: The module is off.
            AppError: As `Chat.send`.
        """
        if not self.is_on:
            raise ConflictError("Speech to text is switched off. Switch it on in the Status tab.")
        text = text.strip()
        key = f"{conversation_id}/{utterance_id}"
        if key not in self._outside:
            while len(self._outside) >= FORGET_INGESTED:
                _, (_, oldest) = self._outside.popitem()
                oldest.nothing()
            barge_in = BargeIn(conversation_id, self._player, self._chat, lambda: self._options)
            self._outside[key] = (utterance_id or uuid4().hex, barge_in)
            self._bus.publish(
                UtteranceStarted(
                    source=origin,
                    utterance_id=self._outside[key][0],
                    origin=origin,
                    over_speech=barge_in.is_over_speech,
                    conversation_id=conversation_id,
                )
            )
            barge_in.began()
        utterance_id, barge_in = self._outside[key]
        barge_in.words(text)
        if not is_final:
            self._bus.publish(
                UtterancePartial(
                    source=origin,
                    utterance_id=utterance_id,
                    text=text,
                    origin=origin,
                    conversation_id=conversation_id,
                )
            )
            return None
        del self._outside[key]
        await barge_in.settled()
        barge_in.nothing()
        if not text:
            self._bus.publish(
                UtteranceDropped(
                    source=origin,
                    utterance_id=utterance_id,
                    reason="no_words",
                    detail=f"{origin} sent an empty transcript.",
                    origin=origin,
                    conversation_id=conversation_id,
                )
            )
            return None
        return await self._chat.send(
            text, author=author, origin=origin, conversation_id=conversation_id
        )

    def detector(self) -> VAD:
        """A voice detector of one's own, as it is chosen; one for each stream."""
        energy = DETECTORS.create("energy", EnergyOptions())
        if self._options.detector == "energy":
            return energy
        try:
            return DETECTORS.create("silero", SileroOptions(self._host, instead=energy))
        except AppError as error:
            logger.warning("energy decides who speaks: %s", error.message)
            return energy

    def warm(self) -> None:
        """Have everything loaded that the first utterance needs, in the background; never raises."""
        self._recogniser().warm()

    def recogniser_changed(self) -> None:
        """Others read from now on."""
        self._pace.forget()
        if self.is_on and (self._options.mode != "off" or self._ears):
            self.warm()

    # --- inside ---

    async def _follow_her(self) -> None:
        wanted = PlaybackStarted | PlaybackFinished
        with self._bus.subscribe(wanted=lambda event: isinstance(event, wanted)) as heard:
            async for event in heard:
                if isinstance(event, PlaybackStarted):
                    self._spoken.began(event.text, event.duration_s, monotonic_s())
                elif isinstance(event, PlaybackFinished):
                    self._spoken.stopped(monotonic_s())

    def _all_ears(self) -> list[Ear]:
        return [*self._ears, *([self._ear] if self._ear is not None else [])]

    async def _apply(self) -> None:
        """Make device and ear what the options say."""
        options = self._options
        self._source.set_device(options.device)
        self._source.set_gain(options.gain_db)
        self._source.set_frame_ms(options.frame_ms)
        if options.mode == "off" or not self.is_on:
            await self._close_microphone()
        else:
            if self._ear is None:
                self._ear = Ear(
                    STAGE, self._parts, origin="microphone", is_open=False, hears_her=True
                )
                self._ear.on_change = self._tell
                self._source.start(self._ear.feed, self._level, self._source_is)
                self.warm()
            self._update_ear()
        self._tell()

    def _source_is(self, state: SourceState) -> None:
        if self._ear is not None and state.device != self._told.device_now:
            self._ear.is_elsewhere()
        if state.problem and self._is_talking and self._ear is not None:
            # What was said until now is read; a key waits a moment for the rest of a word, which does not come.
            self.talk(False)
            self._ear.feed(bytes(2 * RATE_HZ * 2 * KEY_TAIL_MS // 1000))
        self._tell()

    def _update_ear(self) -> None:
        if self._ear is not None:
            self._ear.set_open(self._options.mode == "open")
            self._ear.set_deaf(self._options.is_muted or self._is_held or self._tests > 0)

    async def _close_microphone(self) -> None:
        ear, self._ear = self._ear, None
        self._is_talking = False
        if self._hold_ends is not None:
            self._hold_ends.cancel()
            self._hold_ends = None
        if ear is not None:
            await asyncio.gather(self._source.stop(), ear.close())

    def _begin_test(self) -> None:
        self._tests += 1
        self._update_ear()

    def _end_test(self) -> None:
        self._tests -= 1
        self._update_ear()

    def _level(self, level: SoundLevel) -> None:
        speech = self._ear.speech if self._ear is not None else 0.0
        self._bus.publish(
            ListeningLevel(
                level_dbfs=round(level.level_dbfs, 1),
                peak_dbfs=round(level.peak_dbfs, 1),
                speech=round(speech, 2),
                clipped=level.clipped,
            )
        )

    def _state_name(self, source: SourceState) -> ListeningStateName:
        if source.problem:
            return "problem"
        if not source.is_open or self._ear is None:
            return "starting"
        if self._ear.is_hearing:
            return "hearing"
        return "reading" if self._ear.is_reading else "listening"

    def _problem(self, source: SourceState) -> str:
        if self._options.mode == "off":
            return ""
        if not self.is_on:
            return "Speech to text is switched off. Switch it on in the Status tab to be heard."
        return source.problem

    def _tell(self) -> None:
        now = self.state()
        if not self.is_on:
            # Off is no trouble: at start and stop it is passed through. Who asks is told what it means.
            now = now.model_copy(update={"problem": ""})
        if now != self._told:
            self._told = now
            self._bus.publish(
                ListeningChanged(severity="WARNING" if now.problem else "INFO", listening=now)
            )


def _intake(rate_hz: int) -> Intake:
    """Made on a worker thread: numpy and soxr are loaded for the first one."""
    from backend.audio.intake import Intake

    return Intake(rate_hz, FRAME_SAMPLES)


_FIELDS = {
    "asr_mode": "mode",
    "asr_muted": "is_muted",
    "asr_input_device": "device",
    "asr_gain_db": "gain_db",
    "asr_guard": "guard",
}
"""Settings that are set here, and the options they become."""
