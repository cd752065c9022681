"""The mode that asks a provider of language models: the chain that LLM_PROVIDER and LLM_FALLBACKS name."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing

from backend.contracts.modes import ModeName
from backend.engines.llm.base import Prompt
from backend.modes.base import InHouse, Part
from backend.modes.options import ExternalApiOptions


class ExternalApi(InHouse):
    """The chain of language models as a mode; the persona is not in it, but the next mode."""

    name: ModeName = "external-api"

    def __init__(self, options: ExternalApiOptions) -> None:
        super().__init__(options.body)
        self._options = options

    @property
    def who(self) -> str:
        """Its first engine and model."""
        return self._options.who()

    @property
    def problem(self) -> str:
        """What is missing."""
        return self._options.problem()

    async def respond(self, prompt: Prompt) -> AsyncGenerator[Part, None]:
        """Yield what the first engine that begins a reply writes.

        Raises:
            ProviderError, EngineUnavailableError: The last engine's failure, or one after the first token.
        """
        async with aclosing(self._options.llm().stream(prompt)) as deltas:
            async for delta in deltas:
                yield delta

    async def probe(self) -> str:
        """Check the first engine that would be asked; another one of the chain that works is as good."""
        return await self._options.llm().check()
