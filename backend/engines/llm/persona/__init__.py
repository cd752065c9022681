"""The built-in dialogue engine: no network, no model, nothing but the standard library.

It reads what is meant (`reading`), keeps what each person told (`people`), and says it in the character's manner
(`manner`, `grammar`, ``voices/*.txt``). A reply takes a few milliseconds whatever is thrown at it. It never pretends to be
a language model: asked, it says what it is and how to add one.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections import OrderedDict
from collections.abc import AsyncGenerator, Callable
from datetime import datetime
from random import Random, SystemRandom

from backend.contracts.entities import Character
from backend.core import clock
from backend.engines.llm.base import Delta, Message, Prompt, unquoted
from backend.engines.llm.options import PersonaOptions
from backend.engines.llm.persona.talk import Talk

logger = logging.getLogger(__name__)

NOBODY = Character(id="luma", name="Luma")
"""Who answers when a prompt names no character."""

_NAMED = re.compile(r"(?P<author>[^:\n]{1,40}): (?P<text>.*)", re.DOTALL)
_PIECES = re.compile(r"\S+\s*")
WORDS_PER_PIECE = 2


class Persona:
    """Plays a character by rules; remembers each conversation, the least recently used are forgotten."""

    name = "persona"
    model = ""

    def __init__(self, options: PersonaOptions) -> None:
        self._options = options
        self._seed = options.seed if options.seed is not None else SystemRandom().getrandbits(64)
        self._talks: OrderedDict[tuple[str, str], tuple[Character, Talk]] = OrderedDict()
        self._answered: dict[tuple[str, str], str] = {}
        """The message each conversation's last reply was for."""

    async def stream(self, prompt: Prompt) -> AsyncGenerator[Delta, None]:
        """Yield the reply a few words at a time."""
        reply = self.reply(prompt)
        pieces = _PIECES.findall(reply)
        for start in range(0, len(pieces), WORDS_PER_PIECE):
            if start >= prompt.max_tokens:  # a word is at least a token
                yield Delta(finish="length")
                return
            yield Delta("".join(pieces[start : start + WORDS_PER_PIECE]))
            await asyncio.sleep(0)  # others in the loop go first
        yield Delta(finish="stop")

    def reply(self, prompt: Prompt) -> str:
        """The whole reply at once, emotion tags included."""
        character = prompt.character or NOBODY
        said = [message for message in prompt.messages if message.role != "system"]
        message = said.pop().text if said and said[-1].role == "user" else ""
        if prompt.is_remembered:
            talk = self._talk(prompt.conversation_id, character, prompt.author, said)
            self._answered[prompt.conversation_id, character.id] = _bare(message)
        else:
            talk = self._told(Talk(character, Random(), self._now), prompt.author, said)  # noqa: S311 - variety, not secrets
        text = talk.reply(_without_author(message, prompt.author), prompt.author)
        for stop in prompt.stop:
            if stop:
                text = text.split(stop, 1)[0]
        return text

    def _talk(
        self, conversation_id: str, character: Character, author: str, earlier: list[Message]
    ) -> Talk:
        key = (conversation_id, character.id)
        known = self._talks.get(key)
        # A history that is empty again was cleared by somebody: what was told in it must be forgotten too.
        asked = [_bare(message.text) for message in earlier if message.role == "user"]
        # A reply that was thought ahead and thrown away was never given: it is not in the history.
        was_given = not asked or asked[-1] == self._answered.get(key, asked[-1])
        if (
            known is not None
            and known[0] == character
            and (earlier or known[1].turns == 0)
            and was_given
        ):
            self._talks.move_to_end(key)
            return known[1]
        talk = Talk(
            character,
            Random(f"{self._seed}/{conversation_id}/{character.id}"),  # noqa: S311 - variety, not secrets
            self._now,
        )
        self._talks[key] = (character, self._told(talk, author, earlier))
        while len(self._talks) > self._options.max_conversations:
            forgotten, _ = self._talks.popitem(last=False)
            self._answered.pop(forgotten, None)
        return talk

    @property
    def _now(self) -> Callable[[], datetime]:
        return self._options.now or _local_now

    def _told(self, talk: Talk, author: str, earlier: list[Message]) -> Talk:
        """The talk, with what was said in it before."""
        for message in earlier:
            if message.role == "assistant":
                talk.recall_reply(message.text)
            else:
                who, text = _author_of(message.text, author)
                talk.recall(text, who)
        return talk

    async def check(self) -> str:
        """Always works."""
        return "built in; needs no key, no model and no network"

    async def close(self) -> None:
        """Forget all conversations."""
        self._talks.clear()
        self._answered.clear()


def _bare(text: str) -> str:
    """A message without what is decided last of a spoken one: case, spaces, marks."""
    return "".join(mark for mark in text.casefold() if mark.isalnum())


def _without_author(text: str, author: str) -> str:
    """The message without the name a prompt puts before what others than the owner say."""
    if (said := unquoted(text)) is not None:
        return said[1]
    return text.removeprefix(f"{author}: ") if author not in ("", "you") else text


def _author_of(text: str, current: str) -> tuple[str, str]:
    """Who said an earlier line, and what. Lines without a name are the owner's."""
    if (said := unquoted(text)) is not None:
        return said
    if current not in ("", "you") and text.startswith(f"{current}: "):
        return current, text[len(current) + 2 :]
    match = _NAMED.fullmatch(text)
    if match and len(match["author"].split()) <= 2:
        return match["author"], match["text"]
    return "you", text


def _local_now() -> datetime:
    return clock.now().astimezone()
