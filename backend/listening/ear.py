"""One stream of 16 kHz sound of one conversation, from its frames to the message it becomes.

Each frame goes past the echo guard and the voice detector to the endpointing, whose signals are acted on here: events, ducking and
interrupting, reading along, in advance and for good, and what is said in the end. Sound and orders (key down, that was all) are taken
in the order in which they came. One reading at a time is under way; whoever feeds never waits.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, TypeAlias
from uuid import uuid4

from backend.audio.wav import level_dbfs
from backend.chat.turn import Lead
from backend.contracts.entities import Audio, Transcript
from backend.contracts.errors import AppError
from backend.contracts.events import (
    ErrorOccurred,
    UtteranceDropped,
    UtteranceEnded,
    UtterancePartial,
    UtteranceStarted,
    UtteranceTranscribed,
)
from backend.contracts.listening import DropReason
from backend.core.bus import EventBus
from backend.core.clock import monotonic_s
from backend.listening import guards
from backend.listening.arrival import Arrival
from backend.listening.barge_in import BargeIn
from backend.listening.echo import Echo, Verdict, says_the_same
from backend.listening.endpointing import (
    RATE_HZ,
    RELEASE,
    Began,
    Ended,
    Endpointer,
    Paused,
    Resumed,
    Signal,
    ending,
)
from backend.listening.options import ListeningOptions
from backend.listening.pace import Pace

if TYPE_CHECKING:
    from backend.audio.intake import Intake
    from backend.chat.ahead import Prepared
    from backend.chat.conversations import Chat, TurnHandle
    from backend.core.workers import EngineHost
    from backend.engines.stt.base import STT
    from backend.engines.vad.base import VAD
    from backend.playback.player import Player

logger = logging.getLogger(__name__)

Outcome: TypeAlias = "asyncio.Future[TurnHandle | None]"

BATCH_FRAMES = 16
"""Frames for one call of the detector when they have piled up: half a second."""
JUDGED_FRAMES = 4
"""Frames that the echo guard judges at once: 128 ms, as much as it looks at."""
WAITING_S = 30.0
"""Sound that may wait for its turn; more means that the machine is far behind, and the newest is dropped."""
WAITING_UTTERANCES = 8
LATE_FRAMES = 14
"""What was speech and not yet certain to be somebody's belongs to the utterance it turns out to begin: 450 ms."""
KEPT_FRAMES = 4 + LATE_FRAMES
"""Frames kept besides the pre-roll: speech is noticed with its second or third one."""
ECHOES_S = 1.0
"""Her words that sounded so long before an utterance may be in it."""
ECHO_MS = 250
"""Speech that it takes in addition to BARGE_IN_MS to interrupt her where her own voice comes back."""


@dataclass(frozen=True, slots=True)
class Parts:
    """What an ear works with."""

    bus: EventBus
    chat: Chat
    player: Player
    host: EngineHost
    recogniser: Callable[[], STT]
    detector: Callable[[], VAD]
    options: Callable[[], ListeningOptions]
    pace: Pace
    said: Callable[[float, float], str]
    """Which of her words sounded between two monotonic times."""


@dataclass(slots=True)
class _Reading:
    """What was read of an utterance, up to the last speech in it."""

    speech_end: int
    transcript: Transcript
    elapsed_ms: float
    ready_s: float


@dataclass(eq=False, slots=True)
class _Utterance:
    """One stretch of speech on its way to a message."""

    n: int
    id: str
    start: int
    began_s: float
    over_speech: bool
    draft: _Reading | None = None
    draft_wanted: tuple[int, bytes] | None = None
    along_wanted: bytes | None = None
    next_along_s: float = 0.0
    shown: str = ""
    ended: Ended | None = None
    ended_s: float = 0.0
    sound: bytes = b""
    dropped: bool = False
    ahead: asyncio.Task[Prepared | None] | None = None
    outcomes: list[Outcome] = field(default_factory=list)
    hers: int = 0
    """Frames of speech in it that were taken for hers."""
    theirs: int = 0

    @property
    def is_mostly_hers(self) -> bool:
        """Whether it is rather an echo than somebody."""
        return self.over_speech and self.hers > self.theirs


_Order = Literal["hold", "release", "end"]


class Ear:
    """Listens to one stream; made by `Hearing.open_ear`, closed by whoever opened it. All methods are for the backend's loop.

    Args:
        conversation_id: Where what is said goes.
        parts: What it works with.
        origin: Where the sound comes from, as the message will say.
        auto_end: Whether silence ends an utterance; else only `end` does, and everything in between belongs to it.
        is_open: Whether speech counts by itself; else only while `hold` is on.
        hears_her: Whether her voice from the loudspeaker may come back in this sound.
        intake: Makes 16 kHz frames of what is fed; None = it is 16 kHz already.

    Attributes:
        on_message: Called with each message that was made of speech.
        on_dropped: Called when speech led to no message: the reason and, in words, why.
        on_change: Called when `is_hearing` or `is_reading` may have changed.
        speech: Probability of speech in the last frame.
    """

    def __init__(
        self,
        conversation_id: str,
        parts: Parts,
        *,
        origin: str,
        auto_end: bool = True,
        is_open: bool = True,
        hears_her: bool = False,
        intake: Intake | None = None,
    ) -> None:
        self.conversation_id = conversation_id
        self.on_message: Callable[[TurnHandle], None] | None = None
        self.on_dropped: Callable[[DropReason, str], None] | None = None
        self.on_change: Callable[[], None] | None = None
        self.speech = 0.0
        self._parts = parts
        self._origin = origin
        self._auto_end = auto_end
        self._vad = parts.detector()
        self._intake = intake
        self._echo = Echo(parts.host, parts.player.sounding) if hears_her else None
        self._endpointer = Endpointer(parts.options().rules, is_open=is_open and auto_end)
        self._size = 2 * self._endpointer.rules.frame_samples
        self._barge_in = BargeIn(conversation_id, parts.player, parts.chat, parts.options)
        self._waiting: deque[bytes | tuple[_Order, Outcome | None]] = deque()
        self._waiting_bytes = 0
        self._rest = bytearray()
        self._is_behind = False
        self._is_deaf = False
        self._sound = bytearray()
        self._sound_from = 0
        self._fed = 0
        self._arrival = Arrival(RATE_HZ)
        self._where = (0, "")
        self._unsure = 0
        """Frames of speech in a row, up to now, that may turn out to be somebody's."""
        self._now: _Utterance | None = None
        self._ended: deque[_Utterance] = deque()
        self._told = (False, False)
        self._wake = asyncio.Event()
        self._read_wake = asyncio.Event()
        self._is_closed = False
        self._tasks = [
            asyncio.create_task(self._follow(), name=f"ear of {conversation_id}"),
            asyncio.create_task(self._read(), name=f"reading for {conversation_id}"),
        ]

    @property
    def is_hearing(self) -> bool:
        """Whether somebody speaks."""
        return self._now is not None

    @property
    def is_reading(self) -> bool:
        """Whether what was said is being read."""
        return bool(self._ended)

    @property
    def is_closed(self) -> bool:
        """Whether nothing is listened to any more."""
        return self._is_closed

    @property
    def detector(self) -> str:
        """Name of the voice detector that works."""
        return self._vad.name

    @property
    def waiting_s(self) -> float:
        """Sound that was fed and is not followed yet."""
        return self._waiting_bytes / 2 / RATE_HZ

    @property
    def kept_s(self) -> float:
        """Sound that is kept in case it belongs to an utterance."""
        return len(self._sound) / 2 / RATE_HZ

    # --- sound and orders ---

    def feed(self, pcm: bytes) -> None:
        """Take sound: PCM16 mono of the rate given at opening, in pieces of any size. Never waits and never raises."""
        if self._is_closed:
            return
        if self._waiting_bytes > WAITING_S * 2 * RATE_HZ:
            if not self._is_behind:
                self._is_behind = True
                logger.warning(
                    "conversation %s: %g s of sound wait already; what is said now is not heard",
                    self.conversation_id,
                    WAITING_S,
                )
            return
        self._is_behind = False
        for frame in self._framed(pcm):
            self._put(frame)
        self._arrival.note(self._fed, monotonic_s())
        self._wake.set()

    async def end(self) -> TurnHandle | None:
        """That was all: read what was said until now. Gives the message it became, None when it led to none."""
        if self._is_closed:
            return None
        outcome: Outcome = asyncio.get_running_loop().create_future()
        rest = self._intake.end() if self._intake is not None else bytes(self._rest)
        self._rest.clear()
        if rest:
            self._put(rest.ljust(self._size, b"\0"))
        self._order("end", outcome)
        return await outcome

    def hold(self) -> None:
        """A key went down: everything counts from a little before now on, and she is interrupted."""
        self._order("hold")

    def release(self) -> None:
        """The key went up: that was all."""
        self._order("release")

    def set_open(self, is_open: bool) -> None:
        """Whether speech counts by itself."""
        was_open, self._endpointer.is_open = self._endpointer.is_open, is_open and self._auto_end
        if was_open and not is_open and not self._endpointer.is_held:
            self.forget("cancelled", "The microphone was closed.")

    def set_deaf(self, is_deaf: bool) -> None:
        """Whether nothing counts at all: the microphone is muted."""
        was_deaf, self._is_deaf = self._is_deaf, is_deaf
        if is_deaf and not was_deaf:
            self.forget("muted", "The microphone was muted meanwhile.")

    def renew_detector(self) -> None:
        """Use the voice detector that is chosen now."""
        self._vad = self._parts.detector()

    def is_elsewhere(self) -> None:
        """It is another microphone, or her voice comes out of another output: nothing is known of the way between them."""
        if self._echo is not None:
            self._echo.forget()

    def forget(self, reason: DropReason, detail: str) -> None:
        """Let go of what is being said and read right now."""
        self._endpointer.cancel()
        for utterance in (*self._ended, self._now):
            if utterance is not None:
                self._drop(utterance, reason, detail)
        self._now = None
        self._tell()

    async def close(self) -> None:
        """Stop listening; what was not read yet is dropped."""
        if self._is_closed:
            return
        self._is_closed = True
        self.forget("cancelled", "Listening was stopped.")
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for item in self._waiting:
            if isinstance(item, tuple) and item[1] is not None and not item[1].done():
                item[1].set_result(None)
        self._waiting.clear()
        self._sound.clear()

    def _framed(self, pcm: bytes) -> list[bytes]:
        if self._intake is not None:
            frames = self._intake.push(pcm)
            self._intake.levels.clear()
            return frames
        self._rest += pcm
        whole = len(self._rest) // self._size * self._size
        frames = [bytes(self._rest[at : at + self._size]) for at in range(0, whole, self._size)]
        del self._rest[:whole]
        return frames

    def _put(self, frame: bytes) -> None:
        self._waiting.append(frame)
        self._waiting_bytes += len(frame)
        self._fed += len(frame) // 2

    def _order(self, order: _Order, outcome: Outcome | None = None) -> None:
        self._waiting.append((order, outcome))
        self._wake.set()

    # --- following ---

    async def _follow(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._waiting:
                try:
                    await self._follow_next()
                except Exception:
                    logger.exception(
                        "conversation %s: listening stumbled and goes on", self.conversation_id
                    )
                    self._parts.bus.publish(
                        ErrorOccurred(
                            source="listening",
                            code="listening.failed",
                            reason="What was said could not be followed; the log has the details. Say it again.",
                            conversation_id=self.conversation_id,
                        )
                    )

    async def _follow_next(self) -> None:
        item = self._waiting.popleft()
        if isinstance(item, tuple):
            self._obey(*item)
            return
        frames = [item]
        while len(frames) < BATCH_FRAMES and self._waiting and isinstance(self._waiting[0], bytes):
            one = self._waiting.popleft()
            assert isinstance(one, bytes)
            frames.append(one)
        self._waiting_bytes -= sum(map(len, frames))
        if not self._auto_end and not self._endpointer.is_held and not self._is_deaf:
            self._handle(self._endpointer.hold())
        probabilities, verdicts = await self._probabilities(frames)
        self._endpointer.rules = self._parts.options().rules
        for frame, probability, verdict in zip(frames, probabilities, verdicts, strict=True):
            self._sound += frame
            if self._is_deaf:
                self._endpointer.cancel()  # what is said now is no pre-roll of what is said later either
                probability = 0.0
            is_speech = probability >= self._endpointer.rules.threshold
            counts = verdict in ("free", "somebody")
            self._endpointer.reach = self._unsure * self._endpointer.rules.frame_samples
            self.speech = probability if counts else 0.0
            self._handle(self._endpointer.feed(self.speech, level_dbfs(frame)))
            may_be_theirs = is_speech and verdict in ("maybe", "late", "somebody")
            self._unsure = min(self._unsure + 1, LATE_FRAMES) if may_be_theirs else 0
            if self._now is not None and is_speech:
                self._now.theirs += counts
                self._now.hers += verdict == "hers"
        if self._endpointer.is_on:
            self._hear_over_her()
            self._read_along()
        self._trim()

    def _obey(self, order: _Order, outcome: Outcome | None) -> None:
        if order == "release":
            self._endpointer.release()
            return
        if order == "hold":
            if not self._is_deaf:
                self._handle(self._endpointer.hold())
                self._barge_in.meant()
            return
        assert outcome is not None
        utterance = self._now
        if utterance is None:
            outcome.set_result(None)
            return
        utterance.outcomes.append(outcome)
        self._handle(self._endpointer.end())

    async def _probabilities(self, frames: list[bytes]) -> tuple[list[float], list[Verdict]]:
        """Of speech, frame by frame, and whose it is."""
        free: list[Verdict] = ["free"] * len(frames)
        if self._is_deaf or not (self._endpointer.is_open or self._endpointer.is_on):
            return [0.0] * len(frames), free
        found = await self._vad.probabilities(b"".join(frames))
        if self._echo is None:
            return found, free
        options = self._parts.options()
        where = (self._arrival.streams, self._parts.player.device)
        if self._where != where:
            self._where = where
            self.is_elsewhere()
        verdicts: list[Verdict] = []
        for first in range(0, len(frames), JUDGED_FRAMES):
            stretch = slice(first, first + JUDGED_FRAMES)
            sound = b"".join(frames[stretch])
            fed = sum(map(len, frames[: first + JUDGED_FRAMES])) // 2
            end_s = self._at_s(self._endpointer.position + fed)
            verdict = await self._echo.judge(
                sound,
                len(frames[stretch]),
                end_s,
                options.guard,
                is_speech=max(found[stretch]) >= options.rules.threshold - RELEASE,
                is_sure=self._arrival.is_sure(end_s),
                late_s=monotonic_s() - end_s,
            )
            verdicts += [verdict] * len(frames[stretch])
        return found, verdicts

    def _hear_over_her(self) -> None:
        """Have speech interrupt her once there is enough of it; more is needed where she may hear herself."""
        utterance = self._now
        if utterance is None or utterance.is_mostly_hers:
            return
        hears_herself = self._echo is not None and self._echo.is_found and utterance.over_speech
        speech_ms = self._endpointer.speech_ms - (ECHO_MS if hears_herself else 0)
        self._barge_in.speech(speech_ms)

    def _handle(self, signals: list[Signal]) -> None:
        for signal in signals:
            match signal:
                case Began():
                    self._begin(signal)
                case Paused():
                    self._pause(signal)
                case Resumed():
                    self._resume()
                case Ended():
                    self._end(signal)
        if signals:
            self._tell()

    def _begin(self, began: Began) -> None:
        over_speech = self._barge_in.is_over_speech
        self._now = _Utterance(began.n, uuid4().hex, began.start, monotonic_s(), over_speech)
        self._parts.bus.publish(
            UtteranceStarted(
                utterance_id=self._now.id,
                origin=self._origin,
                over_speech=over_speech,
                conversation_id=self.conversation_id,
            )
        )
        self._barge_in.began()

    def _pause(self, paused: Paused) -> None:
        utterance = self._now
        assert utterance is not None
        rules = self._endpointer.rules
        if self._endpointer.speech_ms < rules.min_speech_ms and not self._endpointer.is_held:
            self._barge_in.nothing()  # a cough; should more follow, `again` takes it back
        elif self._parts.pace.is_in_advance_worth_it((paused.end - paused.start) / RATE_HZ):
            sound = self._between(paused.start, paused.end)
            utterance.draft_wanted = (self._endpointer.speech_end, sound)
            self._read_wake.set()

    def _resume(self) -> None:
        assert self._now is not None
        self._now.draft = self._now.draft_wanted = None
        _throw_away(self._now)
        self._barge_in.again()

    def _end(self, ended: Ended) -> None:
        utterance = self._now
        assert utterance is not None
        self._now = None
        utterance.ended, utterance.ended_s = ended, monotonic_s()
        utterance.draft_wanted = utterance.along_wanted = None
        duration_s = round((ended.end - ended.start) / RATE_HZ, 3)
        self._parts.bus.publish(
            UtteranceEnded(
                utterance_id=utterance.id,
                duration_s=duration_s,
                silence_ms=round(ended.silence_ms, 1),
                conversation_id=self.conversation_id,
            )
        )
        if ended.is_too_short:
            least = self._endpointer.rules.min_speech_ms
            detail = f"{ended.speech_ms:.0f} ms of speech, ASR_MIN_SPEECH_MS={least}"
            if not ended.speech_ms:
                detail = "nobody spoke"
            self._drop(utterance, "too_short", detail)
            return
        if len(self._ended) >= WAITING_UTTERANCES:
            detail = f"{WAITING_UTTERANCES} utterances wait for the recogniser already"
            self._drop(utterance, "recogniser", detail)
            return
        utterance.sound = self._between(ended.start, ended.end)
        self._ended.append(utterance)
        self._read_wake.set()

    def _read_along(self) -> None:
        """Have the utterance so far read while it goes on, where the recogniser is fast enough for that."""
        utterance, options = self._now, self._parts.options()
        if utterance is None or not options.reads_along or utterance.draft is not None:
            return
        start = self._endpointer.start
        every_s = self._parts.pace.along_after_s((self._endpointer.position - start) / RATE_HZ)
        now_s = monotonic_s()
        if every_s is None or now_s - utterance.began_s < every_s or now_s < utterance.next_along_s:
            return
        if self._endpointer.speech_ms >= self._endpointer.rules.min_speech_ms:
            utterance.next_along_s = now_s + every_s
            utterance.along_wanted = self._between(start, self._endpointer.position)
            self._read_wake.set()

    def _between(self, start: int, end: int) -> bytes:
        return bytes(self._sound[2 * (start - self._sound_from) : 2 * (end - self._sound_from)])

    def _trim(self) -> None:
        keep_from = self._endpointer.start - KEPT_FRAMES * self._endpointer.rules.frame_samples
        if (
            gone := keep_from - self._sound_from
        ) > RATE_HZ:  # once a second: it moves all that stays
            del self._sound[: 2 * gone]
            self._sound_from = keep_from

    def _at_s(self, sample: int) -> float:
        """Monotonic time at which a sample of the stream was heard."""
        now_s, at_s = monotonic_s(), self._arrival.at_s(sample)
        return now_s if at_s is None else min(now_s, at_s)

    def _tell(self) -> None:
        now = (self.is_hearing, self.is_reading)
        if now != self._told:
            self._told = now
            if self.on_change is not None:
                self.on_change()

    # --- reading ---

    async def _read(self) -> None:
        while True:
            await self._read_wake.wait()
            self._read_wake.clear()
            while self._ended or (self._now is not None and self._has_wishes(self._now)):
                # What was said in full comes before what is still being said.
                if self._ended:
                    utterance = self._ended[0]
                    try:
                        await self._finish(utterance)
                    except Exception:
                        logger.exception("utterance %s: reading failed", utterance.id)
                        self._drop(utterance, "recogniser", "The log has the details.")
                    if self._ended and self._ended[0] is utterance:
                        self._ended.popleft()
                    self._tell()
                elif self._now is not None:
                    await self._read_ahead(self._now)

    @staticmethod
    def _has_wishes(utterance: _Utterance) -> bool:
        return utterance.draft_wanted is not None or utterance.along_wanted is not None

    async def _read_ahead(self, utterance: _Utterance) -> None:
        """Read what was said so far, in a pause or along; what goes wrong is told when it is read for good."""
        draft, utterance.draft_wanted = utterance.draft_wanted, None
        along, utterance.along_wanted = utterance.along_wanted, None
        sound = draft[1] if draft is not None else along
        assert sound is not None
        try:
            reading = await self._transcribe(draft[0] if draft is not None else -1, sound)
        except AppError as error:
            logger.debug("utterance %s: not read ahead: %s", utterance.id, error.message)
            return
        if utterance.dropped:
            return
        utterance.draft = reading if draft is not None else None
        text = reading.transcript.text.strip()
        ended = utterance.ended
        speech_ms = ended.speech_ms if ended else self._endpointer.speech_ms
        level = ended.level_dbfs if ended else self._endpointer.level_dbfs
        if self._refused(utterance, reading.transcript, len(sound), speech_ms, level) is not None:
            return
        if utterance is self._now:
            if draft is not None:
                self._endpointer.read(utterance.n, text, reading.transcript.language)
            if not utterance.is_mostly_hers:
                self._barge_in.words(text)
        is_current = draft is not None and self._is_still(utterance, draft[0])
        if is_current and ending(text, reading.transcript.language) in ("finished", "open"):
            _throw_away(utterance)
            utterance.ahead = asyncio.create_task(
                self._parts.chat.prepare(text, conversation_id=self.conversation_id),
                name=f"thinking ahead of {utterance.id}",
            )
            utterance.ahead.add_done_callback(_heed)
        if text != utterance.shown and utterance.ended is None:
            utterance.shown = text
            self._parts.bus.publish(
                UtterancePartial(
                    source=f"stt/{reading.transcript.engine}",
                    utterance_id=utterance.id,
                    text=text,
                    origin=self._origin,
                    conversation_id=self.conversation_id,
                )
            )

    async def _finish(self, utterance: _Utterance) -> None:
        """Read an utterance for good and say it."""
        ended = utterance.ended
        assert ended is not None
        reading = utterance.draft
        if utterance.dropped:
            return
        if reading is None or reading.speech_end != ended.speech_end:
            try:
                reading = await self._transcribe(ended.speech_end, utterance.sound)
            except AppError as error:
                self._drop(utterance, "recogniser", error.message)
                return
        if utterance.dropped:  # muted while it was read
            return
        text = reading.transcript.text.strip()
        refused = self._refused(
            utterance, reading.transcript, len(utterance.sound), ended.speech_ms, ended.level_dbfs
        )
        if refused is not None:
            self._drop(utterance, *refused, text)
            return
        await self._say(utterance, ended, reading, text)

    async def _say(self, utterance: _Utterance, ended: Ended, reading: _Reading, text: str) -> None:
        transcript = reading.transcript
        self._parts.bus.publish(
            UtteranceTranscribed(
                source=f"stt/{transcript.engine}",
                text=text,
                language=transcript.language,
                engine=transcript.engine,
                duration_s=round((ended.end - ended.start) / RATE_HZ, 3),
                elapsed_ms=round(reading.elapsed_ms, 1),
                origin=self._origin,
                utterance_id=utterance.id,
                conversation_id=self.conversation_id,
            )
        )
        self._barge_in.words(text)
        await self._barge_in.settled()
        try:
            handle = await self._parts.chat.send(
                text,
                origin=self._origin,
                conversation_id=self.conversation_id,
                spoken_s=self._at_s(ended.speech_end),
                lead=(
                    Lead(
                        "endpointing",
                        "wait",
                        _wait_in_words(ended, self._endpointer),
                        utterance.ended_s,
                    ),
                    Lead("stt", "stt", transcript.engine, max(reading.ready_s, utterance.ended_s)),
                ),
                prepared=_prepared(utterance),
            )
        except AppError as error:
            self._drop(utterance, "cancelled", error.message, text)
            return
        if self._now is None:
            self._barge_in.nothing()
        for outcome in utterance.outcomes:
            if not outcome.done():
                outcome.set_result(handle)
        if self.on_message is not None:
            self.on_message(handle)

    async def _transcribe(self, speech_end: int, sound: bytes) -> _Reading:
        audio = Audio(sound, RATE_HZ)
        began_s = monotonic_s()
        language = self._parts.options().language or None
        transcript = await self._parts.recogniser().transcribe(audio, language)
        ready_s = monotonic_s()
        if transcript.text:
            # Silence is refused in no time and says nothing about the recogniser.
            self._parts.pace.note(audio.duration_s, ready_s - began_s)
        return _Reading(speech_end, transcript, (ready_s - began_s) * 1000, ready_s)

    def _refused(
        self,
        utterance: _Utterance,
        transcript: Transcript,
        size: int,
        speech_ms: float,
        level: float,
    ) -> tuple[DropReason, str] | None:
        """Why what was read is no message; None if it is one."""
        refused = guards.check(
            transcript,
            duration_s=size / 2 / RATE_HZ,
            speech_s=speech_ms / 1000,
            level_dbfs=level,
        )
        if refused is not None or self._echo is None:
            return refused
        is_meant = utterance.ended is not None and utterance.ended.by in ("key", "client")
        if utterance.is_mostly_hers and not is_meant:
            return "echo", "most of it is her own voice"
        since_s = self._at_s(utterance.start) - ECHOES_S
        until_s = self._at_s(utterance.ended.end if utterance.ended else self._endpointer.position)
        if says_the_same(transcript.text, self._parts.said(since_s, until_s)):
            return "echo", "they are her own words"
        return None

    def _is_still(self, utterance: _Utterance, speech_end: int) -> bool:
        """Whether nothing more was said in it since then."""
        if utterance.ended is not None:
            return utterance.ended.speech_end == speech_end
        return utterance is self._now and self._endpointer.speech_end == speech_end

    def _drop(self, utterance: _Utterance, reason: DropReason, detail: str, text: str = "") -> None:
        if utterance.dropped:
            return
        utterance.dropped = True
        _throw_away(utterance)
        if self._now is None or self._now is utterance:
            self._barge_in.nothing()
        ended = utterance.ended
        self._parts.bus.publish(
            UtteranceDropped(
                utterance_id=utterance.id,
                reason=reason,
                text=text,
                detail=detail,
                duration_s=round((ended.end - ended.start) / RATE_HZ, 3) if ended else 0.0,
                origin=self._origin,
                conversation_id=self.conversation_id,
            )
        )
        for outcome in utterance.outcomes:
            if not outcome.done():
                outcome.set_result(None)
        if self.on_dropped is not None:
            self.on_dropped(reason, detail)


def _throw_away(utterance: _Utterance) -> None:
    """Let go of the reply that was begun ahead: it is for something else than what was said."""
    task, utterance.ahead = utterance.ahead, None
    if task is None:
        return
    if not task.done():
        task.cancel()
    elif not task.cancelled() and task.exception() is None and (begun := task.result()) is not None:
        begun.cancel()


def _prepared(utterance: _Utterance) -> Prepared | None:
    """The reply that was begun ahead, when one was."""
    task = utterance.ahead
    if task is None or not task.done() or task.cancelled() or task.exception() is not None:
        _throw_away(utterance)
        return None
    return task.result()


def _heed(task: asyncio.Task[Prepared | None]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        logger.debug("not thought ahead: %s", error)


def _wait_in_words(ended: Ended, endpointer: Endpointer) -> str:
    """What the end of speech was waited for, with the setting that says how long."""
    match ended.by:
        case "key":
            return "until the key was let go"
        case "client":
            return "until the client said so"
        case "length":
            return f"ASR_MAX_UTTERANCE_S={endpointer.rules.longest_s:g}"
    how = f"ASR_SILENCE_MS={endpointer.rules.silence_ms}"
    if ended.patience < 1:
        return f"{how} x {ended.patience:g}, after a finished sentence"
    return f"{how} x {ended.patience:g}, more seemed to come" if ended.patience > 1 else how
