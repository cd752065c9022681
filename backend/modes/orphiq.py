"""The mode in which a running server with the Open-LLM-VTuber protocol answers: text, sound and faces come from there.

Each conversation has a line of its own, so that the server never mixes two memories. What it says goes through our own
pipeline: our player plays its sound, and tells it what was heard.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections import OrderedDict
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Literal

from backend.clients.orphiq import SETTING, Line, Place, Waits, address_of
from backend.contracts.entities import Character, Cue
from backend.contracts.errors import AppError, EngineUnavailableError
from backend.contracts.modes import ModeName
from backend.core.background import Background
from backend.engines.llm.base import Delta, Prompt, unquoted
from backend.modes.base import ExpressionRequest, InHouse, MotionRequest, Part, SpokenPart
from backend.modes.options import OrphiqOptions

logger = logging.getLogger(__name__)

MOST_LINES = 32
"""Conversations whose place at the server is remembered; beyond it the one that rests longest is forgotten there."""

MOST_FORWARDED = 64
"""Commands on their way to the server at once."""

CHARS_PER_TOKEN = 4

NOT_SET = (
    f"{SETTING} is not set: give the address of a running Open-LLM-VTuber server, like"
    " ws://127.0.0.1:12393/client-ws."
)

_TAG = re.compile(r"\[[^\W\d_][\w' :-]*\]|<\s*(?:expression|emotion)\s*[:=]", re.IGNORECASE)


class Orphiq(InHouse):
    """A server at a URL, as a mode."""

    name: ModeName = "orphiq"
    can_think_ahead = False  # it would remember what was only thought

    def __init__(self, options: OrphiqOptions) -> None:
        super().__init__(options.body)
        self._options = options
        self._lines: OrderedDict[str, Line] = OrderedDict()
        self._said: dict[str, int] = {}
        """Replies that each line has given since its history there began."""
        self._writer: Line | None = None
        self._title = ""
        self._tasks = Background(logger)
        self._problem = NOT_SET
        if options.url:
            try:
                self._address = address_of(options.url)
                self._problem = ""
            except EngineUnavailableError as error:
                self._problem = error.message

    @property
    def setting(self) -> str:
        """Where the server is set."""
        return SETTING

    @property
    def who(self) -> str:
        """The server's character, once it is known, and where it is."""
        if self._problem:
            return self.name
        where = self._address.partition("?")[0]
        return f"{self._title} at {where}" if self._title else where

    @property
    def problem(self) -> str:
        """The setting that is missing or wrong."""
        return self._problem

    async def respond(self, prompt: Prompt) -> AsyncGenerator[Part, None]:
        """Yield the server's sentences with their sound.

        Raises:
            ProviderError, EngineUnavailableError: It cannot be reached, hangs, or says an error.
        """
        key = prompt.conversation_id
        line = self._line(key)
        if self._said.get(key) and not _has_history(prompt):
            # It was cleared here, or nothing is to be remembered: then not there either.
            self._said[key] = 0
            await line.forget()
        async with aclosing(line.turn(_asked(prompt))) as pieces:
            async for piece in pieces:
                self._title = line.configuration.name or self._title
                self._said[key] = self._said.get(key, 0) + 1
                # A tag in the text is the same face as the number beside it, and the more exact name of it.
                faces = () if _TAG.search(piece.text) else piece.faces
                yield SpokenPart(
                    text=piece.text.strip(),
                    audio=piece.sound,
                    cues=tuple(Cue("expression", face) for face in faces),
                    by=f"orphiq, {self._title or 'server'}",
                )

    async def generate_text(self, prompt: Prompt) -> AsyncGenerator[Delta, None]:
        """Yield a text that the server writes on demand, over a line on which nothing is remembered.

        Raises:
            EngineUnavailableError: The server does not know that.
            ProviderError: As for `respond`.
        """
        if self._writer is None:
            self._writer = Line(self._place(), keeps_history=False)
        lines = [{"role": each.role, "text": each.text} for each in prompt.messages[:-1]]
        options = {
            "max_length": prompt.max_tokens * CHARS_PER_TOKEN,
            "temperature": prompt.temperature,
        }
        writing = self._writer.generate(_asked(prompt), {"history": lines}, options)
        by = self.who
        async with aclosing(writing) as texts:
            async for text in texts:
                yield Delta(text, by=by)
                by = ""

    async def played(self, prompt: Prompt) -> None:
        """Tell the server, which waits for it."""
        if (line := self._lines.get(prompt.conversation_id)) is not None:
            await line.played()

    async def interrupted(self, prompt: Prompt, heard: str) -> None:
        """Tell the server what was heard: its memory keeps only that."""
        if (line := self._lines.get(prompt.conversation_id)) is not None:
            await line.interrupted(heard)

    async def trigger_expression(self, character: Character, request: ExpressionRequest) -> None:
        """Show it here, and have the server's clients see it where it knows such commands."""
        await super().trigger_expression(character, request)
        self._forward(
            "expression-command",
            expression_id=request.name,
            duration=request.duration_ms,
            priority=request.priority,
            transition=request.transition,
        )

    async def trigger_motion(self, character: Character, request: MotionRequest) -> None:
        """Make it here, and at the server where it knows such commands."""
        await super().trigger_motion(character, request)
        self._forward(
            "motion-command",
            motion_group=request.group or request.name,
            motion_index=request.index,
            loop=request.loop,
            priority=request.priority,
        )

    async def probe(self) -> str:
        """Have the server greet, and answer a heartbeat."""
        line = next((line for line in self._lines.values() if line.is_up), None)
        if line is not None:
            return await line.probe()
        line = Line(self._place(), keeps_history=False)
        try:
            found = await line.probe()
            self._title = line.configuration.name or self._title
            return found
        finally:
            await line.close()

    async def close(self) -> None:
        """Hang up everywhere."""
        lines = [*self._lines.values(), *([self._writer] if self._writer is not None else [])]
        self._lines.clear()
        self._writer = None
        await self._tasks.close()
        await asyncio.gather(*(line.close() for line in lines), return_exceptions=True)

    def _place(self) -> Place:
        if self._problem:
            raise EngineUnavailableError(self._problem)
        options = self._options
        waits = Waits(
            connect_s=options.connect_s, first_s=options.first_s, between_s=options.between_s
        )
        return Place(self._address, options.token, waits)

    def _line(self, conversation_id: str) -> Line:
        line = self._lines.get(conversation_id)
        if line is None:
            line = self._lines[conversation_id] = Line(self._place())
        self._lines.move_to_end(conversation_id)
        for key, other in [*self._lines.items()]:
            if len(self._lines) <= MOST_LINES:
                break
            if other is not line and not other.is_busy:
                del self._lines[key]
                self._said.pop(key, None)
                self._tasks.spawn(other.close(), "hanging up an orphiq line")
        return line

    def _forward(
        self, kind: Literal["expression-command", "motion-command"], **fields: object
    ) -> None:
        for line in self._lines.values():
            # Whoever is behind with so many is not sent more: what a face shows by then is another one.
            if line.is_up and len(self._tasks) < MOST_FORWARDED:
                self._tasks.spawn(_told(line, kind, fields), "forwarding a command")


async def _told(
    line: Line,
    kind: Literal["expression-command", "motion-command"],
    fields: dict[str, object],
) -> None:
    """Forward a command; its avatar is not ours, so what it refuses is no error here."""
    try:
        if not await line.command(kind, **fields):
            logger.debug("the orphiq server does not know %s", kind)
    except AppError as error:
        logger.debug("%s was not taken: %s", kind, error.message)


def _asked(prompt: Prompt) -> str:
    text = prompt.messages[-1].text if prompt.messages else ""
    # The server puts its own marks around what it is told.
    said = unquoted(text)
    return f"{said[0]}: {said[1]}" if said is not None else text


def _has_history(prompt: Prompt) -> bool:
    return any(message.role != "system" for message in prompt.messages[:-1])
