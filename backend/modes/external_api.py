"""The mode that asks a provider of language models: the chain that LLM_PROVIDER and LLM_FALLBACKS name."""

from __future__ import annotations

from collections.abc import AsyncGenerator

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
    def setting(self) -> str:
        """LLM_PROVIDER or EXTERNAL_API_PROVIDER."""
        return self._options.setting()

    @property
    def who(self) -> str:
        """Its first engine and model."""
        return self._options.who()

    @property
    def problem(self) -> str:
        """What is missing."""
        return self._options.problem()

    def respond(self, prompt: Prompt) -> AsyncGenerator[Part, None]:
        """What the first engine writes that begins a reply.

        Raises:
            ProviderError, EngineUnavailableError: The last engine's failure, or one after the first token.
        """
        return self._options.llm().stream(prompt)

    async def probe(self) -> str:
        """Check the first engine that would be asked; another one of the chain that works is as good."""
        return await self._options.llm().check()
