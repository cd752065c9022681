"""The language model that repeats what it was told; for tests and for hearing a voice say something exact."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator

from backend.contracts.entities import Usage
from backend.engines.llm.base import Delta, Prompt
from backend.engines.llm.options import EchoOptions


class Echo:
    """Answers with the last message, word by word."""

    name = "echo"
    model = ""

    def __init__(self, options: EchoOptions) -> None:
        del options

    async def stream(self, prompt: Prompt) -> AsyncGenerator[Delta, None]:
        """Yield the last message of the user, a word at a time, within ``max_tokens`` words."""
        said = next((line.text for line in reversed(prompt.messages) if line.role == "user"), "")
        words = re.findall(r"\s*\S+", said)[: prompt.max_tokens]
        for word in words:
            yield Delta(word)
        sent = sum(len(line.text.split()) for line in prompt.messages)
        yield Delta(usage=Usage(sent, len(words)), finish="stop")

    async def check(self) -> str:
        """It always works."""
        return "repeats what it is told"

    async def close(self) -> None:
        """Nothing to let go of."""
