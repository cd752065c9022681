"""Text on demand: a text that somebody asks for beside the talk, in the character's voice or in none.

It goes to whoever answers in the mode of the moment, but into no history and no memory, and nobody hears it. Tags and
thoughts are taken out, and a limit is kept at the end of a sentence. Where only the built-in persona is there, which
writes no texts, styles, greetings and rewriting are done by rules.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field
from typing import Literal, Protocol

from backend.chat.moderation.moderator import Moderator, Release
from backend.chat.prompt import (
    ABOUT_VIEWERS,
    MESSAGE_OVERHEAD_TOKENS,
    VIEWERS,
    Exchange,
    estimate_tokens,
    system_text,
)
from backend.chat.styling import Style, restyled
from backend.chat.tags import TagReader
from backend.contracts.entities import STAGE, Character, Conversation, Cue, Turn, Usage
from backend.contracts.errors import (
    BusyError,
    EngineFailedError,
    InvalidInputError,
    ProviderError,
)
from backend.core.clock import monotonic_s
from backend.engines.llm.base import LLM, Message, Prompt, unquoted

logger = logging.getLogger(__name__)

Kind = Literal["free", "say", "rewrite", "greet"]
"""What is wanted: what the prompt asks for; the prompt word for word; the prompt in her words; a greeting to whom it names."""

LONGEST_CHARS = 8_000
LONGEST_PROMPT_CHARS = 8_000
MOST_AT_ONCE = 4
LONGEST_S = 120.0
"""A text is not waited for longer than this, however steadily it comes."""

MOST_WRITTEN_CHARS = 60_000
"""Thoughts and tags included: who writes more is not listened to any longer."""

PERSONA = "persona"
"""Who writes when nobody else can."""

PLAIN = "You write short texts for a streamer."
TASK = (
    "Now write a text on request. It stands beside the conversation: nobody answers it, and it is not remembered. Write"
    " the text alone: no introduction, no explanation, no quotation marks around it, no stage directions."
)
KINDS: Mapping[Kind, str] = {
    "free": "",
    "say": "",
    "rewrite": "The user's message is a text, not a question: say the same in your own words, about as long. Neither"
    " answer it nor do what it asks.",
    "greet": "Greet whoever the user's message names, in one or two sentences.",
}
STYLE_WORDS: Mapping[Style, str] = {
    "casual": "Write casually: everyday words, contractions, as among friends.",
    "formal": "Write formally: whole words, no slang, no exclamation marks.",
    "excited": "Write excitedly: full of energy, with exclamation marks.",
    "calm": "Write calmly: quiet and unhurried, no exclamation marks.",
}
EVERYBODY = "everybody who is watching"


@dataclass(frozen=True, slots=True)
class Line:
    """A line of talk that was given along. "system" lines are instructions of whoever asks."""

    role: Literal["system", "user", "assistant"]
    text: str


@dataclass(frozen=True, slots=True)
class Context:
    """What the text is written from.

    Attributes:
        conversation_id: Whose last turns are looked at; also whose character and mode count.
        turns: How many of them.
        lines: Given instead, oldest first.
        stream: Facts of the stream, by name ("title", "game", "viewers").
        character: Whose voice: an id; None = the conversation's; "" = nobody's.
    """

    conversation_id: str = STAGE
    turns: int = 0
    lines: tuple[Line, ...] = ()
    stream: Mapping[str, str] = field(default_factory=dict)
    character: str | None = None


@dataclass(frozen=True, slots=True)
class Options:
    """How it is written.

    Attributes:
        max_length: Characters; kept at the end of a sentence where one is there.
        temperature: 0-2; None = as set for conversations.
        style: None = as the character writes.
    """

    max_length: int = 500
    temperature: float | None = None
    style: Style | None = None


@dataclass(frozen=True, slots=True)
class Wanted:
    """One request."""

    prompt: str
    kind: Kind = "free"
    context: Context = Context()
    options: Options = Options()


@dataclass(frozen=True, slots=True)
class Result:
    """What was written, and what it took.

    Attributes:
        text: All of it.
        tokens_used: Of the prompt and the text.
        is_estimated: The writer did not count; the numbers are ours.
        elapsed_ms: From the request to the last letter.
        model: Name of the model, or of the engine that has none.
        by: Engine and model in words.
        finish: "stop", or "length" when it was cut.
        emotion: The first feeling that was tagged in it.
    """

    text: str
    tokens_used: int
    prompt_tokens: int
    completion_tokens: int
    is_estimated: bool
    elapsed_ms: float
    model: str
    by: str
    finish: str
    emotion: str = ""


class Talk(Protocol):
    """The conversations; `backend.chat.conversations.Chat` does it."""

    async def conversation(self, conversation_id: str) -> Conversation:
        """One of them, or NotFoundError."""
        ...

    async def turns(
        self, conversation_id: str, limit: int = 50, before: str | None = None
    ) -> list[Turn]:
        """Its turns, newest first."""
        ...


class OnDemand:
    """Writes texts; everything for the backend's loop.

    Args:
        writer: Who writes for a conversation, asked for every text.
        talk: Where turns are looked up.
        character: A character by its id.
        moderator: Stands before what is given out; None = everything may leave.
        user_name: What the operator is called.
        now_s: Monotonic time.
    """

    def __init__(
        self,
        writer: Callable[[str], LLM],
        talk: Talk,
        character: Callable[[str], Awaitable[Character]],
        *,
        moderator: Moderator | None = None,
        user_name: Callable[[], str] = lambda: "you",
        now_s: Callable[[], float] = monotonic_s,
    ) -> None:
        self._writer = writer
        self._talk = talk
        self._character = character
        self._moderator = moderator
        self._user_name = user_name
        self._now_s = now_s
        self._per_minute = 30
        self.budget_tokens = 4096
        self.temperature = 0.8
        self.longest_tokens = 4096
        self._open = 0
        self._left = float(self._per_minute)
        self._left_at_s = now_s()

    def allow(self, per_minute: int) -> None:
        """So many texts in a minute; the setting TEXT_REQUESTS_PER_MINUTE."""
        if per_minute != self._per_minute:
            self._per_minute = per_minute
            self._left = float(per_minute)

    @asynccontextmanager
    async def write(self, wanted: Wanted) -> AsyncIterator[Writing]:
        """Begin a text; its pieces come from what this gives. Leaving stops whoever writes.

        Raises:
            InvalidInputError: The prompt is empty or too long.
            NotFoundError: There is no such conversation or character.
            BusyError: Too many texts are asked for, at once or in a minute.
        """
        _check(wanted)
        self._admit()
        self._open += 1
        try:
            began_s = self._now_s()
            character, prompt = await self._prompt(wanted)
            writer = self._writer(wanted.context.conversation_id)
            release = self._moderator.release() if self._moderator is not None else None
            yield Writing(wanted, character, prompt, writer, began_s, self._now_s, release)
        finally:
            self._open -= 1

    async def generate(self, wanted: Wanted) -> Result:
        """The whole text."""
        async with self.write(wanted) as writing:
            async with aclosing(writing.pieces()) as pieces:
                async for _ in pieces:
                    pass
            return writing.result()

    def _admit(self) -> None:
        if self._open >= MOST_AT_ONCE:
            raise BusyError(
                f"{MOST_AT_ONCE} texts are being written already; wait for one of them."
            )
        now_s = self._now_s()
        gained = (now_s - self._left_at_s) * self._per_minute / 60
        self._left = min(float(self._per_minute), self._left + gained)
        self._left_at_s = now_s
        if self._left < 1:
            wait_s = (1 - self._left) * 60 / self._per_minute
            raise BusyError(
                f"More than {self._per_minute} texts were asked for in a minute (TEXT_REQUESTS_PER_MINUTE);"
                f" try again in {wait_s:.0f} s."
            )
        self._left -= 1

    async def _prompt(self, wanted: Wanted) -> tuple[Character | None, Prompt]:
        context, options = wanted.context, wanted.options
        conversation = await self._talk.conversation(context.conversation_id)
        character: Character | None = None
        if context.character != "":
            character = await self._character(context.character or conversation.character_id)
        said = _user_text(wanted)
        system = _instructions(wanted, character, self._user_name())
        lines = [
            Message(line.role, line.text) for line in context.lines if line.role != "system"
        ] or await self._lately(conversation.id, context.turns)
        if any(line.role == "user" and unquoted(line.text) for line in lines):
            system += f"\n\n{ABOUT_VIEWERS}"
        left = self.budget_tokens - min(options.max_length // 3, self.budget_tokens // 2)
        left -= estimate_tokens(system) + estimate_tokens(said)
        prompt = Prompt(
            (Message("system", system), *_newest(lines, left), Message("user", said)),
            character=character,
            author=self._user_name(),
            conversation_id="",
            max_tokens=max(32, min(self.longest_tokens, options.max_length)),
            temperature=self.temperature if options.temperature is None else options.temperature,
            is_remembered=False,
        )
        return character, prompt

    async def _lately(self, conversation_id: str, count: int) -> list[Message]:
        if not count:
            return []
        found: list[Message] = []
        for turn in reversed(await self._talk.turns(conversation_id, count)):
            is_viewers = turn.source.startswith(VIEWERS)
            found += reversed(Exchange(turn.author, turn.message, turn.reply, is_viewers).lines)
        return found


class Writing:
    """One text while it is written."""

    def __init__(
        self,
        wanted: Wanted,
        character: Character | None,
        prompt: Prompt,
        writer: LLM,
        began_s: float,
        now_s: Callable[[], float],
        release: Release | None = None,
    ) -> None:
        self._release = release
        self._wanted = wanted
        self._character = character
        self._prompt = prompt
        self._writer = writer
        self._began_s = began_s
        self._now_s = now_s
        self._text = ""
        self._by = ""
        self._usage: Usage | None = None
        self._finish = "stop"
        self._emotion = ""
        self._elapsed_s: float | None = None

    async def pieces(self) -> AsyncGenerator[str, None]:
        """Yield the text, sentence by sentence; leave early only inside ``aclosing``.

        Raises:
            ProviderError, EngineUnavailableError: Nobody could write it.
            EngineFailedError: What was written holds no word.
        """
        limit = Limit(self._wanted.options.max_length)
        sentences = self._released()
        async with aclosing(sentences):
            async for sentence in sentences:
                text = limit.take(sentence)
                if text:
                    self._text += text
                    yield text
                if limit.is_reached:
                    self._finish = "length"
                    break
        self._elapsed_s = self._now_s() - self._began_s
        if not self._text.strip():
            raise EngineFailedError(
                f"{self._by} wrote nothing that can be shown. Try again, or ask for something else."
            )

    def result(self) -> Result:
        """What was written; call it after the last piece."""
        elapsed_s = (
            self._elapsed_s if self._elapsed_s is not None else self._now_s() - self._began_s
        )
        usage = self._usage
        is_estimated = usage is None or not (usage.prompt_tokens or usage.completion_tokens)
        text = self._text.strip()
        if usage is None or is_estimated:
            is_free = self._by.partition(",")[0] in ("", PERSONA)
            asked = sum(
                estimate_tokens(m.text) + MESSAGE_OVERHEAD_TOKENS for m in self._prompt.messages
            )
            usage = Usage(0 if is_free else asked, estimate_tokens(text))
        by = self._by or "word for word"
        return Result(
            text=text,
            tokens_used=usage.prompt_tokens + usage.completion_tokens,
            prompt_tokens=usage.prompt_tokens,
            completion_tokens=usage.completion_tokens,
            is_estimated=is_estimated,
            elapsed_ms=round(elapsed_s * 1000, 3),
            model=by.partition(", model ")[2] or by,
            by=by,
            finish=self._finish,
            emotion=self._emotion,
        )

    async def _released(self) -> AsyncGenerator[str, None]:
        """The text as moderation lets it go."""
        release = self._release
        async with aclosing(self._sentences()) as sentences:
            async for sentence in sentences:
                words = sentence.rstrip()
                if release is None or not words:
                    yield sentence
                elif text := (await release.take(words)).text:
                    yield text + sentence[len(words) :]
        if release is not None and (text := (await release.end()).text):
            yield text

    async def _sentences(self) -> AsyncGenerator[str, None]:
        """The text in sentences, with the white space after each."""
        wanted = self._wanted
        if wanted.kind == "say":
            for sentence in sentences_of(self._untagged(wanted.prompt)):
                yield sentence
            return
        name = self._character.name if self._character is not None else ""
        reader, splitter = TagReader(), _Splitter(name, wanted.options.max_length)
        style: Style | None = None
        written = 0
        self._by = _who(self._writer)
        async with aclosing(self._writer.stream(self._prompt)) as deltas:
            while True:
                left_s = LONGEST_S - (self._now_s() - self._began_s)
                if left_s <= 0:
                    raise self._too_slow()
                try:
                    async with asyncio.timeout(left_s):
                        delta = await anext(deltas, None)
                except TimeoutError:
                    raise self._too_slow() from None
                if delta is None:
                    break
                written += len(delta.text)
                if written > MOST_WRITTEN_CHARS:
                    self._finish = "length"
                    break
                self._by = delta.by or self._by
                self._usage = delta.usage or self._usage
                if delta.finish == "length":
                    self._finish = "length"
                if delta.text and self._by.partition(",")[0] == PERSONA:
                    style = wanted.options.style
                    if wanted.kind in ("rewrite", "greet"):
                        text = self._by_rules()
                        for sentence in sentences_of(text):
                            yield sentence
                        return
                for sentence in splitter.feed(self._shown(reader.feed(delta.text))):
                    yield self._in(style, sentence)
        for sentence in splitter.feed(self._shown(reader.finish())) + splitter.finish():
            yield self._in(style, sentence)

    def _too_slow(self) -> ProviderError:
        return ProviderError(
            f"The text was not finished after {LONGEST_S:.0f} s; ask for a shorter one (max_length).",
            kind="stalled",
            provider=self._by.partition(",")[0],
        )

    def _in(self, style: Style | None, sentence: str) -> str:
        if style is None:
            return sentence
        space = sentence[len(sentence.rstrip()) :]
        return restyled(sentence, style, is_start=not self._text) + space

    def _by_rules(self) -> str:
        """What the persona engine does not do: a text rewritten, or a greeting."""
        wanted, character = self._wanted, self._character
        style = wanted.options.style or _own_style(character)
        if wanted.kind == "rewrite":
            return restyled(self._untagged(wanted.prompt), style)
        return restyled(_greeting(wanted, character), style)

    def _shown(self, parts: Sequence[str | Cue]) -> str:
        words = []
        for part in parts:
            if isinstance(part, str):
                words.append(part)
            elif part.kind == "expression" and not self._emotion:
                self._emotion = part.name
        return "".join(words)

    def _untagged(self, text: str) -> str:
        reader = TagReader()
        return self._shown([*reader.feed(text), *reader.finish()]).strip()


class Limit:
    """Keeps a text within a number of characters: whole sentences where one fits, else words."""

    def __init__(self, most_chars: int) -> None:
        self._left = most_chars
        self._has_begun = False
        self.is_reached = False

    def take(self, sentence: str) -> str:
        """As much of the next sentence as may be."""
        if self.is_reached:
            return ""
        if len(sentence.rstrip()) <= self._left:
            self._left -= len(sentence)
            self._has_begun = True
            return sentence
        self.is_reached = True
        if self._has_begun:
            return ""
        room = sentence[: max(0, self._left - 1)]
        at = max((match.start() for match in re.finditer(r"\s", room)), default=0)
        # A language without spaces, or one endless word: there is no better place than the limit.
        return (room[:at] if at > len(room) // 2 else room).rstrip(" ,;:-–—") + "…"


_END = re.compile(r"[.!?…]+[\"'”’)\]]*\s+|[。！？]+[」』）]*|\n+")


def sentences_of(text: str) -> list[str]:
    """A text in sentences, each with the white space after it; joined they are the text."""
    found, start = [], 0
    for match in _END.finditer(text):
        found.append(text[start : match.end()])
        start = match.end()
    return [*found, text[start:]] if start < len(text) else found


class _Splitter:
    """Sentences of a text that is still being written, without what models put around it."""

    def __init__(self, name: str, most_chars: int) -> None:
        self._most_chars = most_chars
        self._held = ""
        self._quote = ""
        self._has_begun = False
        self._name = name

    def feed(self, text: str) -> list[str]:
        self._held += text
        ends = [match.end() for match in _END.finditer(self._held) if match.end() < len(self._held)]
        if not ends:
            if len(self._held) <= self._most_chars:
                return []
            ends = [len(self._held)]  # more than is wanted: where it ends does not matter
        whole, self._held = self._held[: ends[-1]], self._held[ends[-1] :]
        return self._given(whole)

    def finish(self) -> list[str]:
        rest, self._held = self._held.rstrip(), ""
        if self._quote and rest.endswith(self._quote):
            rest = rest[: -len(self._quote)]
        return self._given(rest)

    def _given(self, text: str) -> list[str]:
        if not self._has_begun:
            text = text.lstrip()
            if not text:
                return []
            self._has_begun = True
            if self._name and text.casefold().startswith(f"{self._name.casefold()}:"):
                text = text[len(self._name) + 1 :].lstrip()
            for opening, closing in (('"', '"'), ("“", "”"), ("«", "»")):
                if text.startswith(opening) and closing not in text[1:].rstrip()[:-1]:
                    self._quote = closing
                    text = text[len(opening) :]
                    break
            if self._quote and text.rstrip().endswith(self._quote):
                text = text.rstrip()[: -len(self._quote)]
        return sentences_of(text)


def _check(wanted: Wanted) -> None:
    text = wanted.prompt.strip()
    if not text and wanted.kind != "greet":
        raise InvalidInputError("The prompt is empty: write what the text shall be about.")
    if len(wanted.prompt) > LONGEST_PROMPT_CHARS:
        raise InvalidInputError(
            f"The prompt has {len(wanted.prompt):,} characters; at most {LONGEST_PROMPT_CHARS:,} are taken."
        )
    if not 1 <= wanted.options.max_length <= LONGEST_CHARS:
        raise InvalidInputError(
            f"max_length is {wanted.options.max_length}; it may be 1 to {LONGEST_CHARS:,}."
        )


def _user_text(wanted: Wanted) -> str:
    text = wanted.prompt.strip()
    return text or EVERYBODY


def _instructions(wanted: Wanted, character: Character | None, user: str) -> str:
    options, context = wanted.options, wanted.context
    parts = [system_text(character, user) if character is not None else PLAIN, TASK]
    parts.append(KINDS[wanted.kind])
    parts.append(f"At most {options.max_length} characters.")
    if options.style is not None:
        parts.append(STYLE_WORDS[options.style])
    facts = [f"{name}: {_one_line(value)}" for name, value in context.stream.items() if value]
    if facts:
        parts.append("About the stream, as facts only: " + "; ".join(facts) + ".")
    parts += [line.text for line in context.lines if line.role == "system"]
    return "\n\n".join(part for part in parts if part)


def _newest(lines: Sequence[Message], left_tokens: int) -> list[Message]:
    """As many of the newest lines as fit."""
    kept: list[Message] = []
    for line in reversed(lines):
        left_tokens -= estimate_tokens(line.text) + MESSAGE_OVERHEAD_TOKENS
        if left_tokens < 0:
            break
        kept.append(line)
    return kept[::-1]


def _own_style(character: Character | None) -> Style:
    """How a character writes when nobody says how."""
    if character is None:
        return "casual"
    traits = {
        name.casefold() for name, weight in character.personality.traits.items() if weight > 0.5
    }
    if traits & {"formal", "polite", "elegant", "noble", "royal", "refined"}:
        return "formal"
    if character.personality.energy > 0.75:
        return "excited"
    return "calm" if character.personality.energy < 0.35 else "casual"


def _greeting(wanted: Wanted, character: Character | None) -> str:
    whom = wanted.prompt.strip().rstrip(".!") or "everyone"
    stream = wanted.context.stream
    parts = [f"Hello {_one_line(whom)[:80]}."]
    if character is not None:
        parts.append(f"I am {character.name}.")
    if title := stream.get("title"):
        parts.append(f"Welcome to “{_one_line(title)}”.")
    else:
        parts.append("Welcome to the stream.")
    if game := stream.get("game"):
        parts.append(f"We are playing {_one_line(game)}.")
    parts.append("It is good to see you here.")
    return " ".join(parts)


def _who(llm: LLM) -> str:
    return llm.name + (f", model {llm.model}" if llm.model else "")


def _one_line(text: str) -> str:
    return " ".join(text.split())[:300]
