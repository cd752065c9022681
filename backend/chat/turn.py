"""One chat turn, from the message to the last heard sentence.

Reads top to bottom: prompt, reply, sentences, voice, playback, memory. While it runs it publishes what happened; to
interrupt it, cancel its task. An error goes to the operator and is never spoken, stored as a reply or shown on stream.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Protocol

from backend.avatar.cues import Cues
from backend.avatar.mouths import MouthOf, told
from backend.chat import prompt
from backend.chat.ahead import Prepared
from backend.chat.moderation.moderator import Moderator, Released
from backend.chat.recital import Recital, recited
from backend.chat.reply import ReplyReader, cleaned
from backend.chat.sentences import speakable
from backend.chat.trace import Trace
from backend.contracts.avatar import MouthTime
from backend.contracts.entities import (
    STAGE,
    Audio,
    Character,
    Cue,
    PhonemeTime,
    Span,
    Speech,
    SpokenSentence,
    StageName,
    TurnOutcome,
    VoiceChoice,
)
from backend.contracts.errors import AppError, ProviderError
from backend.contracts.events import (
    ChatDelta,
    ChatSentence,
    ErrorOccurred,
    SpeechReady,
    TurnStage,
)
from backend.core.bus import EventBus
from backend.core.clock import monotonic_s
from backend.engines.llm.base import Prompt
from backend.modes.base import Mind, SpokenPart
from backend.playback.player import Performance, Player, SpokenPiece, join
from backend.playback.sounds import SoundStore

logger = logging.getLogger(__name__)

NEUTRAL = "neutral"
"""The face at rest, which every character has."""

BROUGHT = "server"
"""Name of the engine in what is told of a sentence that came with its sound; its voice says whose that is."""

SENTENCES_AHEAD = 64
"""Sentences that may wait for their voice: text goes on to the screen while the voice is behind."""

MOST_CUES: dict[str, int] = {"expression": 24, "motion": 12}
"""Faces and motions that one reply may ask for: whatever somebody has talked a model into, she does not twitch."""

LONGEST_REPLY_CHARS = 20_000
"""A reply is cut here whatever the provider does: nobody listens for half an hour."""


@dataclass(frozen=True, slots=True)
class Lead:
    """A wait before the message was there: from the end of speech to its text.

    Attributes:
        name: "endpointing" or "stt".
        stage: The group it is drawn in.
        detail: The setting or engine behind it ("ASR_SILENCE_MS=600").
        end_s: Monotonic time at which it was over.
    """

    name: str
    stage: StageName
    detail: str
    end_s: float


@dataclass(frozen=True, slots=True)
class Request:
    """One message to answer."""

    turn_id: str
    conversation_id: str
    number: int
    character: Character
    text: str
    author: str
    origin: str
    speak: bool
    on_stage: bool
    """Whether the stage's sink plays the reply; other clients play for themselves."""
    received_s: float
    """Monotonic time of its arrival; of spoken ones, of the end of speech."""
    lead: tuple[Lead, ...] = ()
    audience: Audience | None = None
    """Who hears it off stage."""
    prepared: Prepared | None = None
    """The reply, begun while it was not sure yet that this is the message."""
    is_recital: bool = False
    """``text`` is no message: she says it, word for word."""

    @property
    def is_viewers(self) -> bool:
        """Whether a viewer wrote it."""
        return self.origin.startswith(prompt.VIEWERS)


class Performer(Protocol):
    """Where the sentences of a reply become sound: the stage's player, or a client that plays for itself."""

    @property
    def where(self) -> str:
        """In words, for the trace ("AUDIO_SINK=speaker")."""
        ...

    def begin(self, turn_id: str, conversation_id: str) -> Performance:
        """Open a performance; `enqueue` its sentences, then `finish` or `stop` it."""
        ...

    async def enqueue(self, performance: Performance, piece: SpokenPiece) -> None:
        """Hand over the next sentence; may wait."""
        ...

    async def finish(self, performance: Performance) -> None:
        """Say that no more will come, and wait until all of it was heard."""
        ...

    async def stop(self, performance: Performance) -> None:
        """Fall silent now; afterwards ``performance.heard`` is final."""
        ...


class Audience(Protocol):
    """Whoever hears the replies of one conversation off stage."""

    def performer(self, request: Request) -> Performer | None:
        """Who performs the reply to this message; None when its sender fetches the sounds."""
        ...


@dataclass(frozen=True, slots=True)
class _Show:
    performer: Performer
    performance: Performance

    @classmethod
    def of(cls, request: Request, player: Performer) -> _Show | None:
        performer = player if request.on_stage else None
        if performer is None and request.audience is not None:
            performer = request.audience.performer(request)
        if performer is None:
            return None
        return cls(performer, performer.begin(request.turn_id, request.conversation_id))


@dataclass(slots=True)
class Answer:
    """What became of it; filled while the turn runs, so that an interruption finds what was done so far."""

    trace: Trace
    outcome: TurnOutcome = "failed"
    written: list[str] = field(default_factory=list)
    """Sentences of the reply, as shown."""
    spoken: list[SpokenSentence] = field(default_factory=list)
    heard: str | None = None
    """What left the stage's sink; None when nobody listens there."""
    emotion: str = ""
    error: str = ""
    first_audio_ms: float | None = None
    mind: Mind | None = None
    asked: Prompt | None = None
    """Who answers, and what was asked: for whoever tells them afterwards what was heard."""

    async def tell_heard(self, heard: str) -> None:
        """Tell whoever answered that the reply was cut short, and what was heard of it."""
        if self.mind is not None and self.asked is not None:
            await self.mind.interrupted(self.asked, heard)

    @property
    def reply(self) -> str:
        """The reply as it is remembered: only what was spoken when it was cut short."""
        if self.outcome == "interrupted":
            if self.heard is not None:
                return self.heard
            return join(sentence.text for sentence in self.spoken)
        return join(self.written)


class SpeechEngine(Protocol):
    """What a turn needs to speak; the chain of speech engines."""

    async def synthesize(self, text: str, voice: VoiceChoice) -> Speech:
        """Speak one sentence; engine "silence" when nothing could."""
        ...


async def _mouth_as_told(
    audio: Audio, phonemes: tuple[PhonemeTime, ...] = ()
) -> tuple[MouthTime, ...]:
    """From phonemes alone, for a backend without an engine host."""
    return told(audio, phonemes) if phonemes else ()


@dataclass(slots=True)
class _Sentence:
    n: int
    text: str
    cues: tuple[Cue, ...]
    audio: Audio | None = None
    """Its sound, when it came with one."""
    by: str = ""
    """Whose sound that is."""


@dataclass(slots=True)
class TurnRunner:
    """Answers one message after the other; holds no state between them.

    Args:
        bus: Where events go.
        mind: Who answers in a conversation; asked for every turn, so that a changed mode or setting takes effect.
        speech: Who speaks; None when the module "speak" is off.
        sounds: Where sounds are kept.
        player: The stage's sink.
        mouth_of: Works out the mouth of a sound that did not bring one.
        plain_speech: Who speaks off the stage, where no avatar moves and nobody waits for a mouth; None = `speech`.
        cues: What the avatar makes of cues; None = nobody shows them.
        moderator: Stands before everything public; None = everything may leave.
        manner: How she feels in a conversation just now, in our own words; empty = as she is.
        remembers: Whether the module "memory" is on; off, every message is answered as if it were the first.
        budget_tokens, reply_tokens, temperature: See the settings CONTEXT_TOKENS, LLM_MAX_TOKENS, LLM_TEMPERATURE.
    """

    bus: EventBus
    mind: Callable[[str], Mind]
    speech: Callable[[], SpeechEngine | None]
    sounds: SoundStore
    player: Player
    mouth_of: MouthOf = _mouth_as_told
    plain_speech: Callable[[], SpeechEngine | None] | None = None
    cues: Cues | None = None
    moderator: Moderator | None = None
    manner: Callable[[str], str] = lambda conversation_id: ""
    remembers: Callable[[], bool] = lambda: True
    budget_tokens: int = 4096
    reply_tokens: int = 512
    temperature: float = 0.8

    async def run(self, request: Request, history: list[prompt.Exchange], answer: Answer) -> None:
        """Answer ``request``, publish every step, and leave what became of it in ``answer``.

        Raises:
            asyncio.CancelledError: Interrupted; sound has stopped and ``answer`` is complete.
        """
        mind = Recital() if request.is_recital else self.mind(request.conversation_id)
        answer.mind = mind
        for one in request.lead:
            self._mark(request, answer, one.name, one.stage, one.detail, at_s=one.end_s)
        self._mark(request, answer, "queue", "wait", "one turn at a time per conversation")
        prepared = request.prepared
        if prepared is not None and not (
            prepared.is_usable
            and prepared.mind.is_like(mind)
            and prepared.asked
            == self._asked(
                request.character,
                history,
                prepared.text,
                request.author,
                request.conversation_id,
                is_viewers=request.is_viewers,
                manner=prepared.manner,
            )
        ):
            # The character, its memory or a setting is another one than when it was begun.
            prepared.cancel()
            prepared = None
        if prepared is not None:
            prepared.take()
            mind = answer.mind = prepared.mind
            asked = prepared.asked
        elif request.is_recital:
            asked = recited(request.text, request.conversation_id)
        else:
            asked = self._asked(
                request.character,
                history,
                request.text,
                request.author,
                request.conversation_id,
                is_viewers=request.is_viewers,
                manner=self.manner(request.conversation_id),
            )
        answer.asked = asked
        self._mark(
            request,
            answer,
            "prompt",
            "prompt",
            f"{len(asked.messages)} messages, CONTEXT_TOKENS={self.budget_tokens}",
        )
        show = _Show.of(request, self.player)
        sentences: asyncio.Queue[_Sentence | None] = asyncio.Queue(maxsize=SENTENCES_AHEAD)
        try:
            async with asyncio.TaskGroup() as both:
                both.create_task(self._write(request, answer, mind, asked, sentences, prepared))
                both.create_task(self._speak(request, answer, sentences, show, prepared))
            if show is not None:
                await show.performer.finish(show.performance)
                answer.heard = show.performance.heard_text
            answer.outcome = "failed" if answer.error else "done"
            await mind.played(asked)
        except asyncio.CancelledError:
            answer.outcome = "interrupted"
            if show is not None:
                await show.performer.stop(show.performance)
                answer.heard = show.performance.heard_text
            raise
        except BaseExceptionGroup:
            if show is not None:
                await show.performer.stop(show.performance)
            raise
        finally:
            if request.prepared is not None:
                request.prepared.cancel()
            if self.cues is not None:
                self.cues.end(request.turn_id)
            self._end_trace(request, answer, show)

    def prepare(
        self,
        text: str,
        author: str,
        *,
        character: Character,
        history: list[prompt.Exchange],
        conversation_id: str,
        speak: bool,
    ) -> Prepared | None:
        """Begin a reply that nobody sees until a request brings it back in `Request.prepared`.

        None where whoever answers would remember what was only thought.
        """
        mind = self.mind(conversation_id)
        if not mind.can_think_ahead:
            return None
        manner = self.manner(conversation_id)
        return Prepared(
            text=text,
            author=author,
            speak=speak,
            conversation_id=conversation_id,
            asked=self._asked(character, history, text, author, conversation_id, manner=manner),
            manner=manner,
            mind=mind,
            voice=self._voice(conversation_id) if speak else None,
            choice=character.voice,
            publish=self.bus.publish,
        )

    def _voice(self, conversation_id: str) -> SpeechEngine | None:
        if conversation_id == STAGE or self.plain_speech is None:
            return self.speech()
        return self.plain_speech()

    def hush(self, turn_id: str) -> None:
        """Let the sound of a turn fade now; its end, which follows, finds it silent."""
        self.player.hush(turn_id)

    def _asked(
        self,
        character: Character,
        history: list[prompt.Exchange],
        text: str,
        author: str,
        conversation_id: str,
        *,
        is_viewers: bool = False,
        manner: str = "",
    ) -> Prompt:
        messages = prompt.build(
            character,
            history if self.remembers() else [],
            message=text,
            author=author,
            budget_tokens=self.budget_tokens,
            reply_tokens=self.reply_tokens,
            vocabulary=self.cues.vocabulary(character) if self.cues is not None else None,
            is_viewers=is_viewers,
            manner=manner,
        )
        return Prompt(
            messages,
            character=character,
            author=author,
            conversation_id=conversation_id,
            max_tokens=self.reply_tokens,
            temperature=self.temperature,
        )

    async def _write(
        self,
        request: Request,
        answer: Answer,
        mind: Mind,
        asked: Prompt,
        out: asyncio.Queue[_Sentence | None],
        prepared: Prepared | None,
    ) -> None:
        """The reply as sentences; a provider's failure is told to the operator and ends the writing.

        Nothing of it is public before moderation has let it go: `ChatDelta`, which is told at once, is for the operator.
        """
        reader = ReplyReader()
        release = None
        if self.moderator is not None:
            release = self.moderator.release(
                turn_id=request.turn_id, conversation_id=request.conversation_id
            )
        asked_for = dict.fromkeys(MOST_CUES, 0)
        cues: list[Cue] = []
        count = 0
        length = 0
        by = ""

        async def take(found: list[str | Cue]) -> None:
            for text in found:
                if isinstance(text, Cue):
                    note(text)
                else:
                    await give(text)

        async def give(text: str, audio: Audio | None = None) -> None:
            nonlocal cues
            mine, cues = cues, []
            if release is None or not text:
                await public(text, audio, mine)
            else:
                await let_go(await release.take(text, audio, tuple(mine)))

        async def let_go(released: Released) -> None:
            for piece in released.pieces:
                await public(piece.text, piece.sound, piece.cues)

        async def public(text: str, audio: Audio | None, mine: Sequence[Cue]) -> None:
            nonlocal count
            count += 1
            if count == 1:
                self._mark_llm(request, answer, "first_sentence", mind.words(by), prepared)
            if text:
                answer.written.append(text)
                self.bus.publish(
                    ChatSentence(
                        text=text,
                        n=count,
                        emotion=answer.emotion,
                        turn_id=request.turn_id,
                        conversation_id=request.conversation_id,
                        character_id=request.character.id,
                    )
                )
            await out.put(_Sentence(count, text, self._coming(request, mine, count), audio, by))

        async def take_spoken(part: SpokenPart) -> None:
            """A sentence with its sound, whole as it came; what was written before it is complete."""
            nonlocal reader
            await take(reader.finish())
            reader = ReplyReader()
            for cue in part.cues:
                note(cue)
            text, found = cleaned(part.text)
            for cue in found:
                note(cue)
            if text or part.audio is not None:
                await give(text, part.audio)

        def took(text: str) -> None:
            nonlocal length
            if not length:
                self._mark_llm(request, answer, "llm_first_token", mind.words(by), prepared)
            length += max(1, len(text))
            if text:
                self.bus.publish(
                    ChatDelta(
                        text=text,
                        turn_id=request.turn_id,
                        conversation_id=request.conversation_id,
                    )
                )

        def note(part: Cue) -> None:
            asked_for[part.kind] += 1
            if asked_for[part.kind] > MOST_CUES[part.kind]:
                return
            found = self._read(part, request.character)
            if found is not None:
                cues.append(found)
            if part.kind == "expression":
                # Named as the character's pictures are, which the window shows; the rig may call it otherwise.
                felt = _known(part.name, request.character)
                if felt is None and found is not None and found.kind == "expression":
                    felt = found.name
                answer.emotion = felt or answer.emotion

        try:
            stream = mind.respond(asked) if prepared is None else prepared.stream()
            async with aclosing(stream) as parts:
                async for part in parts:
                    if isinstance(part, Cue):
                        note(part)
                        continue
                    by = part.by or by
                    if isinstance(part, SpokenPart):
                        took(part.text)
                        await take_spoken(part)
                    elif part.text:
                        took(part.text)
                        await take(reader.feed(part.text))
                    if length > LONGEST_REPLY_CHARS:
                        logger.warning(
                            "turn %s: reply cut at %d characters", request.turn_id, length
                        )
                        break
        except AppError as error:
            self._fail(request, answer, error)
        await take(reader.finish())
        if release is not None:
            await let_go(await release.end())
        if not count and not answer.error and not (release is not None and release.has_acted):
            self._fail(request, answer, _nothing_written(mind))
        if cues:
            await out.put(_Sentence(count + 1, "", self._coming(request, cues, count + 1)))
        await out.put(None)

    def _read(self, cue: Cue, character: Character) -> Cue | None:
        """A cue as the avatar understands it; None for what it cannot do."""
        if self.cues is not None:
            return self.cues.read(cue, character)
        if cue.kind == "motion":
            return cue
        expression = _known(cue.name, character)
        return Cue("expression", expression) if expression is not None else None

    def _coming(self, request: Request, cues: Sequence[Cue], sentence: int) -> tuple[Cue, ...]:
        """Cues of a sentence that was made; what is said in private moves nobody on stage."""
        if self.cues is None or not request.on_stage:
            return tuple(cues)
        desk = self.cues
        return tuple(
            desk.schedule(cue, request.character, request.turn_id, sentence) for cue in cues
        )

    async def _speak(
        self,
        request: Request,
        answer: Answer,
        sentences: asyncio.Queue[_Sentence | None],
        show: _Show | None,
        prepared: Prepared | None,
    ) -> None:
        """Each sentence as sound, in order, handed to the sink while the next one is being made."""
        while (sentence := await sentences.get()) is not None:
            speech = self._voice(request.conversation_id) if request.speak else None
            words = speakable(sentence.text)
            audio: Audio | None = None
            phonemes: tuple[PhonemeTime, ...] = ()
            mouth: tuple[MouthTime, ...] = ()
            url = ""
            if speech is not None and (words or sentence.audio is not None):
                started_s = monotonic_s()
                ahead = None
                if sentence.audio is not None:
                    ahead = Speech(sentence.audio, BROUGHT, sentence.by), 0.0
                elif prepared is not None and not answer.spoken:
                    ahead = await prepared.speech(words, speech)
                if ahead is not None:
                    made, elapsed_s = ahead
                else:
                    made = await speech.synthesize(words, request.character.voice)
                    elapsed_s = monotonic_s() - started_s
                if made.engine != "silence":
                    audio, phonemes = made.audio, made.phonemes
                    # What came with its own sound has not gone through the voice, which knows its mouth.
                    mouth = made.mouth
                    if not mouth and (request.on_stage or phonemes):
                        mouth = await self.mouth_of(audio, phonemes)
                    url = self.sounds.put(request.turn_id, sentence.n, audio)
                    self._heard_first(request, answer, made, prepared)
                    self.bus.publish(
                        SpeechReady(
                            n=sentence.n,
                            text=sentence.text,
                            url=url,
                            duration_s=round(audio.duration_s, 3),
                            engine=made.engine,
                            voice=made.voice,
                            elapsed_ms=round(elapsed_s * 1000, 1),
                            cached=made.cached,
                            mouth=mouth,
                            turn_id=request.turn_id,
                            conversation_id=request.conversation_id,
                        )
                    )
                if sentence.text:
                    answer.spoken.append(
                        SpokenSentence(
                            n=sentence.n,
                            text=sentence.text,
                            url=url or None,
                            duration_s=round(made.audio.duration_s, 3) if url else 0.0,
                            engine=made.engine,
                            voice=made.voice,
                        )
                    )
            elif sentence.text:
                answer.spoken.append(SpokenSentence(n=sentence.n, text=sentence.text))
            if show is not None:
                await show.performer.enqueue(
                    show.performance,
                    SpokenPiece(
                        sentence.n, sentence.text, audio, url, sentence.cues, phonemes, mouth
                    ),
                )

    def _heard_first(
        self, request: Request, answer: Answer, made: Speech, prepared: Prepared | None
    ) -> None:
        if answer.first_audio_ms is None:
            who = f"TTS_CHAIN: {made.engine}, voice {made.voice}"
            if made.engine == BROUGHT:
                who = f"voice: {made.voice}"
            self._mark(request, answer, "tts", "tts", who + _hidden(prepared, "tts"))
            answer.first_audio_ms = answer.trace.total_ms

    def _mark_llm(
        self, request: Request, answer: Answer, name: str, words: str, prepared: Prepared | None
    ) -> None:
        self._mark(request, answer, name, "llm", words + _hidden(prepared, name))

    def _mark(
        self,
        request: Request,
        answer: Answer,
        name: str,
        stage: StageName,
        detail: str,
        *,
        at_s: float | None = None,
    ) -> Span:
        span = answer.trace.mark(name, stage, detail, at_s=at_s)
        self.bus.publish(TurnStage(span=span, turn_id=request.turn_id))
        return span

    def _end_trace(self, request: Request, answer: Answer, show: _Show | None) -> None:
        first_sound_s = show.performance.first_sound_s if show is not None else None
        if show is not None and first_sound_s is not None:
            where = show.performer.where
            self._mark(request, answer, "first_audio", "playback", where, at_s=first_sound_s)
            answer.first_audio_ms = answer.trace.total_ms
            self._mark(request, answer, "speaking", "playback", where)
        elif answer.first_audio_ms is not None:
            self._mark(request, answer, "remaining_speech", "tts", "the sentences after the first")
        else:
            self._mark(request, answer, "writing", "llm", "no sound was made")

    def _fail(self, request: Request, answer: Answer, error: AppError) -> None:
        answer.error = error.message
        logger.warning("turn %s: %s", request.turn_id, error.message)
        self.bus.publish(
            ErrorOccurred(
                source="llm",
                code=error.code,
                reason=error.message,
                kind=error.kind if isinstance(error, ProviderError) else "",
                engine=error.provider if isinstance(error, ProviderError) else "",
                turn_id=request.turn_id,
                conversation_id=request.conversation_id,
            )
        )


def _known(name: str, character: Character) -> str | None:
    """The character's own spelling of an expression; None for one it does not have, as "[laughs]" or "[1:23]"."""
    if name.casefold() == NEUTRAL:
        return NEUTRAL
    for expression in character.expressions:
        if expression.casefold() == name.casefold():
            return expression
    return None


def _hidden(prepared: Prepared | None, name: str) -> str:
    """How much of it was done during the waits before, as a span says it."""
    hidden_ms = prepared.hidden_ms(name) if prepared is not None else 0.0
    return f"; {hidden_ms:.0f} ms more hidden by THINK_AHEAD" if hidden_ms >= 1 else ""


def _nothing_written(mind: Mind) -> ProviderError:
    return ProviderError(
        f"{mind.who} sent an empty reply. Try again, or choose another model in Settings (LLM_MODEL).",
        kind="malformed",
        provider=mind.who.partition(",")[0],
    )
