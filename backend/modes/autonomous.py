"""The mode that needs nobody: a language model on this machine when one answers, else the built-in persona.

Whether one answers is asked beside the turns and remembered; no turn waits for it. A model that fails before its first
word is replaced by the persona within the same reply.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import replace

from backend.contracts.entities import Character
from backend.contracts.errors import AppError, ProviderError
from backend.contracts.modes import ModeHealth, ModeName
from backend.core import clock
from backend.engines.llm.base import LLM, Delta, Message, Prompt
from backend.modes.base import InHouse, Part
from backend.modes.options import AutonomousOptions
from backend.modes.reply_cache import ReplyCache, key_of

logger = logging.getLogger(__name__)

LOOK_AGAIN_S = 30.0
"""A language model that was started or stopped is noticed at the second message after this."""

LOOK_S = 2.0
"""Longest wait for a server on this machine to list its models."""

FAILED_S = 300.0
"""A model that lists itself and then fails is left out this long."""

STRENGTH = 0.9
"""How strong the traits of AUTONOMOUS_PERSONALITY are."""


class Autonomous(InHouse):
    """Persona or local model.

    Args:
        options: See there.
        now_s: Monotonic clock.
    """

    name: ModeName = "autonomous"

    def __init__(
        self, options: AutonomousOptions, *, now_s: Callable[[], float] = clock.monotonic_s
    ) -> None:
        super().__init__(options.body)
        self._options = options
        self._now_s = now_s
        self.cache = ReplyCache(options.cache_replies, now_s)
        self._found: LLM | None = None
        self._looked_s: float | None = None
        self._looking: asyncio.Task[str] | None = None
        self._left_out: dict[str, float] = {}

    @property
    def triggers(self) -> frozenset[str]:
        """What may make her speak unasked."""
        return self._options.triggers

    def as_played(self, character: Character) -> Character:
        """The character with AUTONOMOUS_PERSONALITY, where that is set."""
        traits = self._traits()
        return _made(character, traits) if traits else character

    @property
    def who(self) -> str:
        """The local model that was found, else the persona."""
        return _who(self._found or self._options.persona)

    async def respond(self, prompt: Prompt) -> AsyncGenerator[Part, None]:
        """Yield the reply; never fails before the first word but by the persona's fault."""
        prompt = self._in_character(prompt)
        self._look_again()
        local = self._found
        if local is not None:
            is_answered = False
            async with aclosing(self._from(local, prompt)) as deltas:
                try:
                    async for delta in deltas:
                        is_answered = is_answered or bool(delta.text)
                        yield delta
                except AppError as error:
                    self._leave_out(local, error)
                    if is_answered:
                        raise
                    self._tell(local, error)
            if is_answered:
                return
        persona = self._options.persona
        by = _who(persona)
        async with aclosing(persona.stream(prompt)) as deltas:
            async for delta in deltas:
                yield replace(delta, by=by) if delta.text else delta
                by = ""

    async def health(self) -> ModeHealth:
        """Always there; says who would answer, and what the cache has spared."""
        detail = self.who
        if asked := self.cache.hits + self.cache.misses:
            detail += f"; {self.cache.hits} of {asked} replies were kept ones"
        return ModeHealth(mode=self.name, is_available=True, detail=detail)

    async def probe(self) -> str:
        """Look for a language model on this machine; the persona is there in any case."""
        self._looked_s = self._now_s()
        local = [each for each in self._options.local if not self._is_left_out(each)]
        answers = await asyncio.gather(*(_answer(each) for each in local))
        found = next(
            ((each, words) for each, words in zip(local, answers, strict=True) if words), None
        )
        before, self._found = self._found, found[0] if found else None
        if self._found is not before:
            logger.info("autonomous mode: %s answers", self.who)
        if found is None:
            return f"persona: {await self._options.persona.check()}"
        return f"{found[0].name}: {found[1]}"

    async def close(self) -> None:
        """End the looking."""
        if self._looking is not None:
            self._looking.cancel()
            await asyncio.gather(self._looking, return_exceptions=True)

    async def _from(self, local: LLM, prompt: Prompt) -> AsyncGenerator[Delta, None]:
        """A kept reply, or what the model writes; a whole one is kept."""
        by = _who(local)
        key = key_of(prompt, by)
        if (known := self.cache.find(key, prompt.temperature)) is not None:
            yield Delta(known, finish="stop", by=f"{by} (a kept reply)")
            return
        written: list[str] = []
        finish = ""
        async with aclosing(local.stream(prompt)) as deltas:
            async for delta in deltas:
                finish = delta.finish or finish
                if not delta.text:
                    yield delta
                    continue
                yield delta if written else replace(delta, by=by)
                written.append(delta.text)
        if finish in ("", "stop"):
            self.cache.keep(key, "".join(written))

    def _in_character(self, prompt: Prompt) -> Prompt:
        """The prompt with AUTONOMOUS_PERSONALITY in it, for the persona and for a model."""
        traits = self._traits()
        if not traits or prompt.character is None:
            return prompt
        messages = prompt.messages
        if messages and messages[0].role == "system":
            told = f"{messages[0].text}\n\nRight now you are above all: {', '.join(traits)}."
            messages = (Message("system", told), *messages[1:])
        return replace(prompt, messages=messages, character=_made(prompt.character, traits))

    def _traits(self) -> list[str]:
        return [word.strip() for word in self._options.personality.split(",") if word.strip()]

    def _look_again(self) -> None:
        if not self._options.local or (self._looking is not None and not self._looking.done()):
            return
        if self._looked_s is None or self._now_s() - self._looked_s >= LOOK_AGAIN_S:
            self._looking = asyncio.create_task(self.probe(), name="looking for a local model")

    def _leave_out(self, local: LLM, error: AppError) -> None:
        logger.info("autonomous mode: %s is left out: %s", local.name, error.message)
        self._left_out[local.name] = self._now_s() + FAILED_S
        if self._found is local:
            self._found = None
            self._looked_s = None

    def _is_left_out(self, local: LLM) -> bool:
        return self._left_out.get(local.name, 0.0) > self._now_s()

    def _tell(self, local: LLM, error: AppError) -> None:
        kind = error.kind if isinstance(error, ProviderError) else "unavailable"
        self._options.on_retry(local.name, self._options.persona.name, kind, error.message, 0.0)


def _made(character: Character, traits: list[str]) -> Character:
    """The character as the persona engine shall play it: one word may name a built-in manner, others are traits."""
    personality = character.personality.model_copy(
        update={"traits": dict.fromkeys(traits, STRENGTH)}
    )
    style = traits[0] if len(traits) == 1 else "plain"
    return character.model_copy(update={"personality": personality, "persona_style": style})


async def _answer(engine: LLM) -> str:
    """What a server says of its models; empty when it does not."""
    try:
        async with asyncio.timeout(LOOK_S):
            return await engine.check()
    except (AppError, TimeoutError) as error:
        logger.debug("no local model at %s: %s", engine.name, error)
        return ""


def _who(llm: LLM) -> str:
    return llm.name + (f", model {llm.model}" if llm.model else "")
