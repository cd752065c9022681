"""What a turn needs of a language model."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from typing import Literal, Protocol

from backend.contracts.entities import Character, Usage

_MARK = re.compile(r"<(?=[\s/]{0,8}[^\W\d_])|<(?=[|<])|(?<=[|>])>")
"""What begins or ends a tag or a control word of a model; "<3" is none."""

_ORDER = re.compile(r"\[(?=/?(?:INST|SYS)\b)", re.IGNORECASE)

_QUOTED = re.compile(r'<viewer name="([^"<>\n]*)">\n(.*)\n</viewer>', re.DOTALL)


def quoted(author: str, text: str) -> str:
    """What somebody who is not trusted has written, so marked that it cannot pass for anything else.

    Whatever in it could end the quotation, open another one or be a control word of a model is made harmless.
    """
    name = " ".join(re.sub(r'[<>"|\[\]]', " ", author).split())[:60] or "somebody"
    inside = _ORDER.sub(
        "(", _MARK.sub(lambda found: "\u2039" if found[0] == "<" else "\u203a", text)
    )
    return f'<viewer name="{name}">\n{inside}\n</viewer>'


def unquoted(text: str) -> tuple[str, str] | None:
    """Author and text of what `quoted` made; None for anything else."""
    found = _QUOTED.fullmatch(text)
    return (found[1], found[2]) if found is not None else None


@dataclass(frozen=True, slots=True)
class Message:
    """One line of a conversation as a language model sees it."""

    role: Literal["system", "user", "assistant"]
    text: str


@dataclass(frozen=True, slots=True)
class Prompt:
    """Everything a reply is made from.

    Attributes:
        messages: System text first, then history, the message to answer last.
        character: Who answers; the persona engine plays it directly.
        author: Name of the person who is answered.
        conversation_id: Which conversation, for engines that keep state per conversation.
        max_tokens: Upper bound of the reply.
        temperature: 0-2.
        is_remembered: Whether it belongs to a conversation; else nothing of it may be kept by whoever answers.
    """

    messages: tuple[Message, ...]
    character: Character | None = None
    author: str = "you"
    conversation_id: str = ""
    max_tokens: int = 512
    temperature: float = 0.8
    stop: tuple[str, ...] = field(default=())
    is_remembered: bool = True


@dataclass(frozen=True, slots=True)
class Delta:
    """The next piece of a reply; ``usage`` and ``finish`` come with the last one when the provider sends them.

    Attributes:
        text: What is said, without thoughts; may be empty.
        usage: Tokens counted by the provider.
        finish: "stop", "length", "content_filter" …
        by: Engine and model that wrote it ("ollama, model llama3.2"), said once by an engine that chooses among others.
    """

    text: str = ""
    usage: Usage | None = None
    finish: str = ""
    by: str = ""


class LLM(Protocol):
    """A language model that writes a reply piece by piece."""

    name: str
    """Registry name ("openrouter", "persona")."""

    model: str
    """Name of the model it uses, for traces; empty when it has none."""

    def stream(self, prompt: Prompt) -> AsyncGenerator[Delta, None]:
        """Yield the reply's pieces in order; leave early only inside ``aclosing``.

        Raises:
            ProviderError: If the service refuses or fails, with its kind.
            EngineUnavailableError: If it is not set up (key or URL missing), with what to do.
        """
        ...

    async def check(self) -> str:
        """Ask cheaply whether it would work and say so in one line ("42 models, gpt-x is there").

        Raises:
            ProviderError, EngineUnavailableError: As for `stream`.
        """
        ...

    async def close(self) -> None:
        """Let go of connections."""
        ...
