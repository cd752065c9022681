"""What each mode needs to know, made from plain values. Importable without importing any mode."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

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
        setting: The setting that decided who writes.
        body: The avatars.
    """

    llm: Callable[[], LLM]
    who: Callable[[], str]
    problem: Callable[[], str]
    setting: Callable[[], str]
    body: Body


@dataclass(frozen=True, slots=True)
class AutonomousOptions:
    """Options of the mode that needs no network.

    Attributes:
        persona: The built-in persona engine.
        local: Language models on this machine, in the order they are asked; empty = only the persona answers.
        personality: A built-in manner ("fox"), or traits ("playful, sweet"); empty = the character's own.
        triggers: What may make her speak unasked ("idle").
        cache_replies: Prompts whose replies by a language model are kept; 0 = none.
        body: The avatars.
        on_retry: Told when the persona takes over from a local model.
    """

    persona: LLM
    local: Sequence[LLM]
    body: Body
    personality: str = ""
    triggers: frozenset[str] = frozenset()
    cache_replies: int = 256
    on_retry: OnRetry = ignore_retry


@dataclass(frozen=True, slots=True)
class OrphiqOptions:
    """Options of the mode that asks a running server with the Open-LLM-VTuber protocol.

    Attributes:
        url: Its WebSocket; empty = the mode is not set up.
        body: The avatars.
        token: For servers that want one.
        connect_s: Longest wait for a connection.
        first_s: Longest wait for the first sentence of a reply.
        between_s: Longest wait for the next one.
    """

    url: str
    body: Body
    token: str = field(default="", repr=False)
    connect_s: float = 5.0
    first_s: float = 20.0
    between_s: float = 20.0
