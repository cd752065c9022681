"""Sentences in order to one sink, with real positions, and the truth about what was heard.

The turn hands sentences over by call, because it must be able to stop the sound at once and to learn how much of the
text left the sink. Everything is for the backend's loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
from bisect import bisect_right
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field

from backend.contracts.avatar import MouthTime, WordTime
from backend.contracts.entities import STAGE, Audio, Cue, PhonemeTime
from backend.contracts.errors import AppError, BusyError, ConflictError, EngineFailedError
from backend.contracts.events import (
    ErrorOccurred,
    PlaybackDucked,
    PlaybackFinished,
    PlaybackNext,
    PlaybackPosition,
    PlaybackStarted,
    PlaybackVolume,
)
from backend.core.bus import EventBus
from backend.core.clock import monotonic_s
from backend.outputs.base import OutputDevice, Sink, Sounding
from backend.playback.alignment import word_ends

logger = logging.getLogger(__name__)

AHEAD = 6
"""Sentences that may wait for the sink; more would only be thrown away by an interruption."""

STUCK_S = 5.0
"""A sound that has not ended this long after its length never will."""

ENDS_S = 0.25
"""How long a stopped sink has to say what was heard; the silence itself does not wait for it."""

SILENT_DBFS = -120.0

EFFECTS_KNOWN = 32
"""Of those that were played, so that pages may fetch them."""

MOST_EFFECTS = 5
"""Sounds that may wait for her to be silent; a chat that hammers a command is no jukebox."""

LET_END_S = 3.0
"""A sound that ends this soon is heard to its end before a sentence begins; a longer one fades for her."""

RETRY_DEVICE_S = 10.0
"""After a device failed, sentences go unheard this long before it is tried again; text goes on meanwhile."""


@dataclass(slots=True)
class SpokenPiece:
    """One sentence on its way to the sink.

    Attributes:
        n: Its number in the reply.
        text: As it is shown.
        audio: None when no engine could speak it.
        url: Where its sound can be fetched.
        cues: Expressions and motions that begin with it.
        phonemes: What is said when, where the voice tells it.
        mouth: Shapes of the mouth in the time of its sound.
    """

    n: int
    text: str
    audio: Audio | None
    url: str
    cues: tuple[Cue, ...] = ()
    phonemes: tuple[PhonemeTime, ...] = ()
    mouth: tuple[MouthTime, ...] = ()


@dataclass(slots=True)
class Performance:
    """One turn's sentences on the sink.

    Attributes:
        first_sound_s: Monotonic time at which the sink began to sound, None before.
        heard: Texts of the sentences that were heard whole, and the heard words of one cut short.
    """

    turn_id: str
    conversation_id: str
    first_sound_s: float | None = None
    heard: list[str] = field(default_factory=list)
    pieces: asyncio.Queue[SpokenPiece | None] = field(
        default_factory=lambda: asyncio.Queue(maxsize=AHEAD)
    )
    task: asyncio.Task[None] | None = None
    is_effect: bool = False
    """It is a sound of the stage and nothing she says."""
    is_sounding: bool = False
    is_stopping: bool = False
    has_begun: asyncio.Event = field(default_factory=asyncio.Event)
    """Set while a sentence sounds: from then on the sink can be told of the next one."""

    @property
    def heard_text(self) -> str:
        """What was heard, as one text."""
        return join(self.heard)


@dataclass(frozen=True, slots=True)
class Playing:
    """The sentence that sounds now.

    Attributes:
        started: What was told when it began.
        position_s: How far its sound has come; negative while it is about to begin.
    """

    started: PlaybackStarted
    position_s: float


class Player:
    """Plays one performance at a time on the stage's sink.

    Args:
        bus: Where `playback.*` goes.
        sink: The output.
        on_cue: Called with cue, turn and conversation when the sentence with the cue starts to play.
        mouth_of: Works out the mouth of what is played again; None = it keeps still.
    """

    def __init__(
        self,
        bus: EventBus,
        sink: Sink,
        on_cue: Callable[[Cue, str, str], None],
        mouth_of: Callable[[Audio], Awaitable[tuple[MouthTime, ...]]] | None = None,
    ) -> None:
        self._bus = bus
        self._mouth_of = mouth_of
        self.sink = sink
        self._on_cue = on_cue
        self._volume = 1.0
        self._is_muted = False
        self._is_silenced = False
        self._told_volume = 1.0
        self._started: PlaybackStarted | None = None
        self._position_s = self._position_at_s = 0.0
        self._ducked_for: Performance | None = None
        self.duck_volume = 0.25
        self._failed_at_s: float | None = None
        self.device = ""
        self.problem = ""
        self._speaking: Performance | None = None
        self._live: Performance | None = None
        self._again: Performance | None = None
        self._again_feeder: asyncio.Task[None] | None = None
        self._effects: deque[tuple[str, SpokenPiece]] = deque()
        self._about_to_speak = False
        self._effect_ids: deque[str] = deque(maxlen=EFFECTS_KNOWN)

    @property
    def volume(self) -> float:
        """0-1, as set; muting leaves it alone."""
        return self._volume

    @property
    def where(self) -> str:
        """The sink in the words of its setting."""
        device = f", OUTPUT_DEVICE={self.device}" if self.device else ""
        return f"AUDIO_SINK={self.sink.name}{device}"

    @property
    def is_muted(self) -> bool:
        """Whether nothing is to be heard."""
        return self._is_muted

    def set_volume(self, volume: float | None = None, *, muted: bool | None = None) -> None:
        """Change volume (0-1) or muting; heard within 50 ms."""
        if volume is not None:
            self._volume = min(1.0, max(0.0, volume))
        if muted is not None:
            self._is_muted = muted
        heard = self.heard_volume
        self.sink.set_volume(heard)
        if heard != self._told_volume:
            self._told_volume = heard
            self._bus.publish(PlaybackVolume(volume=round(heard, 3)))

    @property
    def heard_volume(self) -> float:
        """0-1 as it is heard: muting, ducking and panic included."""
        share = 1.0 if self._ducked_for is None else self.duck_volume
        return 0.0 if self._is_muted or self._is_silenced else self._volume * share

    def now_playing(self, conversation_id: str = STAGE) -> Playing | None:
        """The sentence of a conversation that sounds now, and how far it is; None in silence."""
        started = self._started
        if started is None or started.conversation_id != conversation_id:
            return None
        position_s = self._position_s + monotonic_s() - self._position_at_s
        return Playing(started, min(started.duration_s, position_s))

    def silence(self, is_silenced: bool) -> None:
        """Let nothing be heard, whatever volume and muting say, until it is taken back; what sounds fades now."""
        self._is_silenced = is_silenced
        self.set_volume()
        if is_silenced:
            self.stop_playing_again()
            if self._live is not None:
                self.hush(self._live.turn_id)

    def duck(self, is_ducked: bool) -> None:
        """Go down to the share ``duck_volume`` of the volume because somebody speaks, or up again; heard within 50 ms.

        Nothing to do while nothing is being spoken; the end of what is spoken undoes it.
        """
        wanted = self._speaking if is_ducked else None
        if wanted is self._ducked_for:
            return
        told = wanted or self._ducked_for
        self._ducked_for = wanted
        self.set_volume()
        assert told is not None
        self._bus.publish(
            PlaybackDucked(
                is_ducked=wanted is not None,
                turn_id=told.turn_id,
                conversation_id=told.conversation_id,
            )
        )

    @property
    def is_ducked(self) -> bool:
        """Whether the sound is down because somebody speaks."""
        return self._ducked_for is not None

    def is_speaking(self, conversation_id: str = STAGE) -> bool:
        """Whether something sounds there: a reply from its first sound to its last, pauses between sentences included."""
        speaking = self._speaking
        return speaking is not None and speaking.conversation_id == conversation_id

    def is_saying(self, conversation_id: str = STAGE) -> bool:
        """The same for words alone: a sound of the stage is none of hers."""
        speaking = self._speaking
        return self.is_speaking(conversation_id) and speaking is not None and not speaking.is_effect

    def sounding(self, last_s: float = 3.0) -> list[Sounding]:
        """What left the sink in the last seconds and what is about to leave it; see `Sink.sounding`."""
        return self.sink.sounding(last_s)

    @property
    def is_playing(self) -> bool:
        """Whether something is being spoken, in whatever conversation."""
        return self._speaking is not None

    async def set_device(self, name: str) -> None:
        """Play on another device from the next sentence on."""
        await self.sink.set_device(name)
        self.device = name
        self._failed_at_s = None
        self.problem = ""

    async def devices(self) -> list[OutputDevice]:
        """What can be played on."""
        return await self.sink.devices()

    def begin(self, turn_id: str, conversation_id: str) -> Performance:
        """Open a performance; `enqueue` its sentences, then `finish` or `stop` it."""
        # A sound may go on while she thinks: her first sentence ends it.
        if self._again is None or not self._again.is_effect:
            self._stop_again()
        self._live = self._open(turn_id, conversation_id)
        return self._live

    def _open(self, turn_id: str, conversation_id: str, *, is_effect: bool = False) -> Performance:
        performance = Performance(turn_id, conversation_id, is_effect=is_effect)
        performance.task = asyncio.create_task(self._run(performance), name=f"playback {turn_id}")
        return performance

    async def enqueue(self, performance: Performance, piece: SpokenPiece) -> None:
        """Hand over the next sentence; waits while enough is waiting already."""
        await performance.pieces.put(piece)

    async def finish(self, performance: Performance) -> None:
        """Say that no more will come, and wait until all of it was heard."""
        await performance.pieces.put(None)
        assert performance.task is not None
        # Not awaited directly: an interruption is for the caller, who then says `stop`.
        await asyncio.wait([performance.task])

    def hush(self, turn_id: str) -> None:
        """Let what a turn speaks fade now; its `stop` follows, when what makes the sentences has ended."""
        live = self._live
        if live is not None and live.turn_id == turn_id:
            live.is_stopping = True  # what waits to be played is not begun any more
            if live.is_sounding:
                self.sink.stop()

    async def stop(self, performance: Performance) -> None:
        """Fall silent now; afterwards ``performance.heard`` is final."""
        task = performance.task
        assert task is not None
        performance.is_stopping = True
        if performance.is_sounding:
            # The sink knows best what was heard: it says so when it has fallen silent.
            self.sink.stop()
            await asyncio.wait([task], timeout=ENDS_S)
        if not task.done():
            task.cancel()
            await asyncio.wait([task], timeout=1)

    def play_again(self, pieces: list[SpokenPiece], turn_id: str, conversation_id: str) -> None:
        """Play sentences of an earlier turn, or a sample of a voice, in the background; the last one asked for wins.

        Raises:
            ConflictError: A turn is being spoken; what is live is never talked over.
        """
        if self._live is not None and self._live.task is not None and not self._live.task.done():
            raise ConflictError(
                "The character is speaking. Stop the turn first, or wait for its end."
            )
        self._stop_again()
        performance = self._open(turn_id, conversation_id)
        self._again = performance
        self._again_feeder = asyncio.create_task(self._feed_again(performance, pieces))

    def stop_playing_again(self) -> bool:
        """End what `play_again` and `play_effect` play and are to play; return whether there was something."""
        waited = bool(self._effects)
        self._effects.clear()
        return self._stop_again() or waited

    def _stop_again(self) -> bool:
        performance, self._again = self._again, None
        if performance is None or performance.task is None or performance.task.done():
            return False
        self.sink.stop()
        performance.task.cancel()
        if self._again_feeder is not None:
            self._again_feeder.cancel()
        return True

    def play_effect(self, audio: Audio, url: str, sound_id: str) -> None:
        """Play a sound on the stage as soon as nothing is said there; never over a sentence.

        Args:
            audio: The sound.
            url: Where it can be fetched.
            sound_id: What `playback.*` calls it, in place of a turn's id.

        Raises:
            ConflictError: Everything is stopped by the panic.
            BusyError: Too many sounds wait.
        """
        if self._is_silenced:
            raise ConflictError("Everything is stopped by the panic, and no sound is played.")
        if len(self._effects) >= MOST_EFFECTS:
            raise BusyError(f"{MOST_EFFECTS} sounds wait already. Try again when she is silent.")
        # Her mouth stays closed: where nothing is known of a mouth, pages move it with the level.
        closed = (MouthTime(viseme="sil", start_s=0.0, end_s=audio.duration_s),)
        self._effects.append((sound_id, SpokenPiece(1, "", audio, url, mouth=closed)))
        self._effect_ids.append(sound_id)
        self._next_effect()

    def is_effect(self, sound_id: str) -> bool:
        """Whether an id is that of a sound of the stage that was played lately, or waits."""
        return sound_id in self._effect_ids

    def _next_effect(self) -> None:
        """Begin the next sound, unless something else sounds."""
        again = self._again
        is_busy = again is not None and again.task is not None and not again.task.done()
        if not self._effects or self._speaking is not None or self._about_to_speak or is_busy:
            return
        sound_id, piece = self._effects.popleft()
        self._again = self._open(sound_id, STAGE, is_effect=True)
        self._again.pieces.put_nowait(piece)
        self._again.pieces.put_nowait(None)

    async def _end_effect(self) -> None:
        """Have a sound out of the way of her next sentence."""
        effect = self._again
        if effect is None or not effect.is_effect or effect.task is None or effect.task.done():
            return
        now = self.now_playing() if effect.is_sounding else None
        left_s = None if now is None else now.started.duration_s - now.position_s
        self._about_to_speak = True  # the sounds that wait wait on
        try:
            if left_s is None or left_s > LET_END_S:
                self._stop_again()
            await asyncio.wait([effect.task], timeout=LET_END_S + ENDS_S)
            if not effect.task.done():
                self._stop_again()
                await asyncio.wait([effect.task], timeout=ENDS_S)
        finally:
            self._about_to_speak = False

    async def _feed_again(self, performance: Performance, pieces: list[SpokenPiece]) -> None:
        for piece in pieces:
            if piece.audio is not None and not piece.mouth and self._mouth_of is not None:
                piece.mouth = await self._mouth_of(piece.audio)
            await self.enqueue(performance, piece)
        await self.finish(performance)

    async def _run(self, performance: Performance) -> None:
        interrupted = False
        sounded = False
        try:
            piece = await performance.pieces.get()
            while piece is not None:
                if performance.is_stopping:
                    interrupted = True
                    break
                if piece.audio is None or not self._device_works():
                    self._fire(performance, piece)
                    performance.heard.append(piece.text)
                    piece = await performance.pieces.get()
                    continue
                if not performance.is_effect:
                    await self._end_effect()
                    if performance.is_stopping:
                        interrupted = True
                        break
                sounded = True
                performance.has_begun.clear()
                upcoming = asyncio.create_task(self._announce(performance))
                try:
                    await self._play(performance, piece, piece.audio)
                except asyncio.CancelledError:
                    upcoming.cancel()
                    raise
                if performance.is_stopping:
                    upcoming.cancel()
                    interrupted = True
                    break
                piece = await upcoming
        except asyncio.CancelledError:
            interrupted = True
        finally:
            if self._ducked_for is performance:
                self.duck(False)
            if self._speaking is performance:
                self._speaking = None
            if self._again is performance:
                self._again = None
            if sounded:
                self._bus.publish(
                    PlaybackFinished(
                        heard=performance.heard_text,
                        interrupted=interrupted,
                        turn_id=performance.turn_id,
                        conversation_id=performance.conversation_id,
                    )
                )
            self._next_effect()

    async def _announce(self, performance: Performance) -> SpokenPiece | None:
        """The next sentence, as soon as it is there; the sink knows of it before it is its turn."""
        piece = await performance.pieces.get()
        if piece is not None and piece.audio is not None and self._device_works():
            await performance.has_begun.wait()
            self._bus.publish(
                PlaybackNext(
                    n=piece.n,
                    url=piece.url,
                    duration_s=round(piece.audio.duration_s, 3),
                    turn_id=performance.turn_id,
                    conversation_id=performance.conversation_id,
                )
            )
            with contextlib.suppress(AppError):  # then it is played when its turn has come
                await self.sink.follow(piece.audio)
        return piece

    def _fire(self, performance: Performance, piece: SpokenPiece) -> None:
        for cue in piece.cues:
            try:
                self._on_cue(cue, performance.turn_id, performance.conversation_id)
            except Exception:  # a face costs no sentence
                logger.exception("turn %s: cue %s", performance.turn_id, cue.name)

    def _device_works(self) -> bool:
        return self._failed_at_s is None or monotonic_s() - self._failed_at_s > RETRY_DEVICE_S

    async def _play(self, performance: Performance, piece: SpokenPiece, audio: Audio) -> None:
        """One sentence on the sink; what was heard of it is in ``performance.heard`` afterwards, whatever happens."""
        heard_s = told_s = 0.0
        has_begun = has_fired = False

        def begin(position: float) -> None:
            nonlocal has_begun
            has_begun = True
            performance.has_begun.set()
            if performance.first_sound_s is None:
                performance.first_sound_s = monotonic_s() - position
            started = PlaybackStarted(
                n=piece.n,
                text=piece.text,
                url=piece.url,
                duration_s=round(audio.duration_s, 3),
                sink=self.sink.name,
                mouth=piece.mouth,
                words=word_times(piece.text, audio.duration_s, piece.phonemes),
                starts_in_s=round(-position, 3),
                volume=round(self.heard_volume, 3),
                turn_id=performance.turn_id,
                conversation_id=performance.conversation_id,
            )
            self._started = started
            self._position_s, self._position_at_s = position, monotonic_s()
            self._bus.publish(started)

        def fire() -> None:
            nonlocal has_fired
            if not has_fired:
                has_fired = True
                self._fire(performance, piece)

        def progress(position: float, level: float) -> None:
            nonlocal heard_s, told_s
            if not has_begun:
                begin(position)
            if position < 0:  # it is announced, nothing sounds yet
                return
            fire()
            heard_s = told_s = position
            self._position_s, self._position_at_s = position, monotonic_s()
            self._bus.publish(
                PlaybackPosition(
                    n=piece.n,
                    position_s=round(position, 3),
                    duration_s=round(audio.duration_s, 3),
                    level_dbfs=round(level, 1),
                    turn_id=performance.turn_id,
                    conversation_id=performance.conversation_id,
                )
            )

        self._speaking = performance
        performance.is_sounding = True
        is_cut = False
        try:
            async with asyncio.timeout(audio.duration_s + STUCK_S):
                heard_s = await self.sink.play(audio, progress)
            # A sink that returns early for another reason (it was exchanged) has not interrupted anybody.
            is_cut = performance.is_stopping and heard_s < audio.duration_s
            if not has_begun and not is_cut:
                begin(0.0)
                fire()
            elif heard_s > told_s:
                progress(heard_s, SILENT_DBFS)
            self._works_again()
        except asyncio.CancelledError:
            is_cut = True
            raise
        except Exception as raised:
            fire()
            if isinstance(raised, AppError):
                self._failed(performance, raised)
            else:
                if not isinstance(raised, TimeoutError):
                    logger.exception("turn %s: the sound output failed", performance.turn_id)
                self._failed(performance, _stuck(self.device))
        finally:
            performance.is_sounding = False
            self._started = None
            # Also when it failed: whoever waits to announce the next one finds out there.
            performance.has_begun.set()
            said = piece.text
            if is_cut:
                said = heard_words(piece.text, heard_s, audio.duration_s, piece.phonemes)
            if said:
                performance.heard.append(said)

    def _failed(self, performance: Performance, error: AppError) -> None:
        """The show goes on without sound; the operator is told once, not at every sentence or try."""
        self._failed_at_s = monotonic_s()
        is_news = not self.problem
        self.problem = error.message
        logger.log(
            logging.WARNING if is_news else logging.DEBUG,
            "turn %s: %s",
            performance.turn_id,
            error.message,
        )
        if is_news:
            self._bus.publish(
                ErrorOccurred(
                    source="playback",
                    severity="WARNING",
                    code=error.code,
                    reason=error.message,
                    turn_id=performance.turn_id,
                    conversation_id=performance.conversation_id,
                )
            )

    def _works_again(self) -> None:
        if self.problem:
            logger.info("the sound is back")
        self._failed_at_s = None
        self.problem = ""


_NO_SPACE_AFTER = "。！？｡、，；：…"


def join(sentences: Iterable[str]) -> str:
    """Sentences as one text; no space after Japanese and Chinese marks."""
    text = ""
    for sentence in sentences:
        gap = "" if not text or _is_tight(text) else " "
        text += gap + sentence
    return text


def _is_tight(text: str) -> bool:
    return text[-1] in _NO_SPACE_AFTER


def _stuck(device: str) -> EngineFailedError:
    return EngineFailedError(
        f"The sound output {device or 'of the system'} took a sound and never finished it. Choose another one in the"
        " Chat tab, or set AUDIO_SINK=none."
    )


def heard_words(
    text: str, position_s: float, duration_s: float, phonemes: tuple[PhonemeTime, ...] = ()
) -> str:
    """The whole words of a sentence that were heard when it was cut at ``position_s``; a word counts when its end was.

    Without phonemes, words are taken to last as long as they have letters.
    """
    if duration_s <= 0 or position_s <= 0:
        return ""
    if position_s >= duration_s:
        return text
    times = word_times(text, duration_s, phonemes)
    count = bisect_right([word.end_s for word in times], position_s + 1e-6)
    # Languages without spaces: cut by characters.
    is_spaced = " " in text.strip()
    words = text.split() if is_spaced else list(text)
    return (" " if is_spaced else "").join(words[:count])


def word_times(
    text: str, duration_s: float, phonemes: tuple[PhonemeTime, ...] = ()
) -> tuple[WordTime, ...]:
    """Where each word of a spoken sentence ends; each character in a text without spaces.

    Without phonemes, words are taken to last as long as they have letters.
    """
    is_spaced = " " in text.strip()
    found = [(m.group(), m.end()) for m in re.finditer(r"\S+" if is_spaced else r"(?s).", text)]
    words = [word for word, _ in found]
    ends = word_ends(words, phonemes) if phonemes else []
    if not any(ends):
        letters = 0
        total = sum(len(word) + is_spaced for word in words)
        ends = [(letters := letters + len(word) + is_spaced) / total * duration_s for word in words]
    return tuple(
        WordTime(end=end, end_s=round(max(0.0, end_s), 3))
        for (_, end), end_s in zip(found, ends, strict=True)
    )
