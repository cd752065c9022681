"""What each mode needs to know, made from plain values. Importable without importing any mode."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from backend.engines.llm.base import LLM
from backend.engines.llm.options import OnRetry, ignore_retry
from backend.modes.base import Body


@dataclass(frozen=True, slots=True)
class ExternalApiOptions:
    """Options of the mode that asks a provider of language models.

    Attributes:
        llm: Who writes: the chain of language models, asked for every reply so that a changed setting takes effect.
        who: Its first engine in words ("openrouter, model x").
        problem: Why it is not set up, and what to do; empty = it is.
        body: The avatars.
    """

    llm: Callable[[], LLM]
    who: Callable[[], str]
    problem: Callable[[], str]
    body: Body


@dataclass(frozen=True, slots=True)
class AutonomousOptions:
    """Options of the mode that needs no network.

    Attributes:
        persona: The built-in persona engine.
        local: Language models on this machine, in the order they are asked; empty = only the persona answers.
        personality: A built-in manner ("fox"), or traits ("playful, sweet"); empty = the character's own.
        cache_replies: Prompts whose replies by a language model are kept; 0 = none.
        body: The avatars.
        on_retry: Told when the persona takes over from a local model.
    """

    persona: LLM
    local: Sequence[LLM]
    body: Body
    personality: str = ""
    cache_replies: int = 256
    on_retry: OnRetry = ignore_retry
