"""A language model in forty lines: it answers with the message turned round; Luma need not run.

.venv/bin/python examples/write_a_plugin.py

Registered under a name, it would be chosen with ``LLM_PROVIDER=mirror``; here it is asked directly, as a turn asks it.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(
    0, str(Path(__file__).resolve().parent.parent)
)  # the program is run from its folder, not installed

from backend.engines.llm import LLMS
from backend.engines.llm.base import Delta, Message, Prompt


@dataclass(frozen=True, slots=True)
class MirrorOptions:
    """What the mirror needs to know: how many letters it writes at once."""

    piece_chars: int = 4


class Mirror:
    """Answers with the last message, backwards."""

    name = "mirror"
    model = ""

    def __init__(self, options: MirrorOptions) -> None:
        self._options = options

    async def stream(self, prompt: Prompt) -> AsyncGenerator[Delta, None]:
        """Write the reply piece by piece."""
        text = prompt.messages[-1].text[::-1]
        step = self._options.piece_chars
        for start in range(0, len(text), step):
            yield Delta(text[start : start + step])

    async def check(self) -> str:
        """It always works."""
        return "ready"

    async def close(self) -> None:
        """Nothing to let go of."""


async def main() -> None:
    """Register the plugin, make it by name, and ask it."""
    LLMS.paths["mirror"] = f"{__name__}:Mirror"
    engine = LLMS.create("mirror", MirrorOptions())
    async with aclosing(engine.stream(Prompt((Message("user", "desserts, please"),)))) as deltas:
        async for delta in deltas:
            print(delta.text, end="", flush=True)
    print()


if __name__ == "__main__":
    asyncio.run(main())
