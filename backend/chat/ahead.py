"""Thinking ahead: a reply that is begun while it is not sure yet that its message is complete.

The mind writes and the first sentence is spoken into memory; nobody sees, hears or keeps any of it. When the
message turns out to be what was expected, the turn takes over what is there and what still comes; else all of it is
thrown away. What it costs when thrown away are the tokens written until then.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, Protocol
from uuid import uuid4

from backend.chat.reply import ReplyReader
from backend.chat.sentences import speakable
from backend.contracts.entities import Cue, Speech, VoiceChoice
from backend.contracts.errors import AppError
from backend.contracts.events import AnyEvent
from backend.core.clock import monotonic_s
from backend.core.context import TurnContext, current_turn
from backend.engines.llm.base import Delta, Prompt
from backend.modes.base import Mind, Part

logger = logging.getLogger(__name__)

WAITS_S = 3.0
"""A reply that nobody took by then is thrown away: the speaker went on."""

AHEAD_CHARS = 2_000
"""So much is written ahead; then the model waits for the reply to be taken."""

_LAST_MARKS = re.compile(r"[\s.!?…,;:。！？、]+$")
_SPACES = re.compile(r"\s+")


class Voice(Protocol):
    """What speaks; the chain of speech engines."""

    async def synthesize(self, text: str, voice: VoiceChoice) -> Speech:
        """Speak one sentence."""
        ...


def normalised(text: str) -> str:
    """A message without what a recogniser decides last: case, spaces, the final mark."""
    return _LAST_MARKS.sub("", _SPACES.sub(" ", text).strip()).casefold()


@dataclass(slots=True)
class _Times:
    """When it got how far, monotonic; None = not yet."""

    begun_s: float
    first_token_s: float | None = None
    first_sentence_s: float | None = None
    first_speech_s: float | None = None
    taken_s: float | None = None


@dataclass(slots=True)
class _Made:
    """The first sentence as sound."""

    words: str
    task: asyncio.Task[Speech]
    began_s: float


class Prepared:
    """A reply begun ahead; for the backend's loop. Whoever took or refused it says `close`.

    Args:
        text: The message as it is known so far.
        author: Who says it.
        speak: Whether the first sentence is spoken ahead.
        asked: What is asked.
        manner: How she felt then: a mood that has turned since is no other question.
        mind: Who answers.
        voice: What speaks; None when nothing does.
        may_say: What of a first sentence may be spoken; the rest is not even made into sound.
        publish: Told afterwards, when it was taken, what happened on the way (a provider that failed).
    """

    def __init__(
        self,
        *,
        text: str,
        author: str,
        speak: bool,
        conversation_id: str,
        asked: Prompt,
        mind: Mind,
        voice: Voice | None,
        choice: VoiceChoice,
        publish: Callable[[AnyEvent], object],
        manner: str = "",
        may_say: Callable[[str], str] = lambda sentence: sentence,
        waits_s: float = WAITS_S,
    ) -> None:
        self.turn_id = uuid4().hex
        self.text = text
        self.author = author
        self.speak = speak
        self.conversation_id = conversation_id
        self.asked = asked
        self.manner = manner
        self.mind = mind
        self._voice = voice
        self._choice = choice
        self._publish = publish
        self._may_say = may_say
        self._parts: list[Part] = []
        self._grown = asyncio.Event()
        self._taken = asyncio.Event()
        self._error: AppError | None = None
        self._has_ended = False
        self._is_thrown_away = False
        self._made: _Made | None = None
        self._times = _Times(monotonic_s())
        self._context = TurnContext(self.turn_id, conversation_id, held=[])
        self._task = asyncio.create_task(self._think(), name=f"thinking ahead {self.turn_id}")
        self._timer = asyncio.get_running_loop().call_later(waits_s, self.cancel)

    @property
    def is_usable(self) -> bool:
        """Whether it can still be taken: not thrown away, and nothing has failed."""
        return not (self._is_thrown_away or self._taken.is_set() or self._error is not None)

    def fits(self, text: str, author: str, *, speak: bool) -> bool:
        """Whether it answers this message."""
        same = normalised(text) == normalised(self.text)
        return same and author == self.author and speak == self.speak

    def take(self) -> None:
        """Make it the turn's reply: its events are told now, and it is not thrown away by itself any more."""
        self._timer.cancel()
        self._times.taken_s = monotonic_s()
        self._taken.set()
        held, self._context.held = self._context.held, None
        for event in held or ():
            self._publish(event)

    def cancel(self) -> None:
        """Throw it away; `close` waits until that is done."""
        self._is_thrown_away = True
        self._timer.cancel()
        self._task.cancel()
        if self._made is not None:
            self._made.task.cancel()

    async def close(self) -> None:
        """End what still runs of it."""
        self.cancel()
        running: set[asyncio.Task[Any]] = {self._task}
        if self._made is not None:
            running.add(self._made.task)
        await asyncio.wait(running)

    async def stream(self) -> AsyncGenerator[Part, None]:
        """What was written, then what still comes.

        Raises:
            ProviderError, EngineUnavailableError: As the mind's own reply.
        """
        given = 0
        while True:
            while given < len(self._parts):
                yield self._parts[given]
                given += 1
            if self._has_ended:
                break
            self._grown.clear()
            await self._grown.wait()
        if self._error is not None:
            raise self._error

    async def speech(self, words: str, voice: Voice) -> tuple[Speech, float] | None:
        """The first sentence as sound and the seconds it took, when it was spoken ahead by the same voice; else None."""
        made = self._made
        if made is None or made.words != words or voice is not self._voice:
            return None
        try:
            speech = await asyncio.shield(made.task)
        except AppError:
            return None
        except asyncio.CancelledError:
            if made.task.cancelled() and not _is_cancelling():
                return None
            raise
        assert self._times.first_speech_s is not None
        return speech, self._times.first_speech_s - made.began_s

    def hidden_ms(self, name: str) -> float:
        """How much of a span's work was done before the message was there ("llm_first_token", "first_sentence", "tts")."""
        times = self._times
        taken_s = times.taken_s
        if taken_s is None:
            return 0.0
        began_s, ended_s = {
            "llm_first_token": (times.begun_s, times.first_token_s),
            "first_sentence": (times.first_token_s, times.first_sentence_s),
            "tts": (self._made.began_s if self._made else None, times.first_speech_s),
        }[name]
        if began_s is None:
            return 0.0
        return max(0.0, min(taken_s, taken_s if ended_s is None else ended_s) - began_s) * 1000

    async def _think(self) -> None:
        current_turn.set(self._context)
        reader = ReplyReader()
        written = 0
        try:
            async with aclosing(self.mind.respond(self.asked)) as parts:
                async for part in parts:
                    self._parts.append(part)
                    self._grown.set()
                    if not isinstance(part, Delta) or not part.text:
                        continue
                    if self._times.first_token_s is None:
                        self._times.first_token_s = monotonic_s()
                    if self._times.first_sentence_s is None:
                        self._say_first(reader.feed(part.text))
                    written += len(part.text)
                    if written > AHEAD_CHARS:
                        await self._taken.wait()
            if self._times.first_sentence_s is None:
                self._say_first(reader.finish())
        except AppError as error:
            self._error = error
            logger.debug("thinking ahead failed: %s", error.message)
        except (
            Exception
        ) as error:  # a bug of ours costs what was thought ahead, the turn then says it
            logger.exception("thinking ahead failed")
            self._error = AppError(str(error))
        finally:
            self._has_ended = True
            self._grown.set()

    def _say_first(self, found: list[str | Cue]) -> None:
        sentence = next((one for one in found if isinstance(one, str)), None)
        if sentence is None:
            return
        self._times.first_sentence_s = monotonic_s()
        words = speakable(self._may_say(sentence))
        if self._voice is None or not self.speak or not words:
            return
        task = asyncio.create_task(self._speak_first(self._voice, words))
        task.add_done_callback(self._spoken)
        self._made = _Made(words, task, monotonic_s())

    async def _speak_first(self, voice: Voice, words: str) -> Speech:
        try:
            return await voice.synthesize(words, self._choice)
        finally:
            # Not in a callback: whoever waits for the task may be there before it.
            self._times.first_speech_s = monotonic_s()

    def _spoken(self, task: asyncio.Task[Speech]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.debug("speaking ahead failed: %s", error)


def _is_cancelling() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
