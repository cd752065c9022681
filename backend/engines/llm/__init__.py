"""Every language model: one file each, listed here."""

from __future__ import annotations

from backend.core.registry import Registry
from backend.engines.llm.base import LLM

_COMPATIBLE = "backend.engines.llm.openai_compatible:OpenAICompatible"

LLMS: Registry[LLM] = Registry(
    "language model",
    {
        "openai": _COMPATIBLE,
        "openrouter": _COMPATIBLE,
        "ollama": _COMPATIBLE,
        "llamacpp": _COMPATIBLE,
        "lmstudio": _COMPATIBLE,
        "openai_compatible": _COMPATIBLE,
        "anthropic": "backend.engines.llm.anthropic:Anthropic",
        "persona": "backend.engines.llm.persona:Persona",
        "echo": "backend.engines.llm.echo:Echo",
        "fallback": "backend.engines.llm.fallback:Fallback",
    },
)
