"""Words that somebody else has chosen: a turn in which nobody writes, and she says what she was given."""

from __future__ import annotations

from collections.abc import AsyncGenerator

from backend.contracts.modes import ModeName
from backend.engines.llm.base import Delta, Message, Prompt
from backend.modes.base import Mind, Part

WHO = "word for word"


class Recital:
    """Gives the prompt's last line back, as a `Mind`."""

    mode: ModeName = "autonomous"  # it asks nobody and needs no network
    can_think_ahead = False
    who = WHO

    def words(self, by: str) -> str:
        """What answered, for a trace."""
        return f"POST /api/say: {WHO}"

    def is_like(self, other: Mind) -> bool:
        """Whether the other would say the same; nobody asks that of words that are given."""
        return isinstance(other, Recital)

    async def respond(self, prompt: Prompt) -> AsyncGenerator[Part, None]:
        """Yield the words."""
        yield Delta(prompt.messages[-1].text, finish="stop", by=WHO)

    async def played(self, prompt: Prompt) -> None:
        """Nobody waits for it."""

    async def interrupted(self, prompt: Prompt, heard: str) -> None:
        """Nobody keeps a history of it but us."""


def recited(text: str, conversation_id: str) -> Prompt:
    """A prompt that holds nothing but the words to say."""
    return Prompt((Message("assistant", text),), conversation_id=conversation_id)
