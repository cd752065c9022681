"""Wire values of the backend modes: who answers, why, and whether it would work."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import Field

from backend.contracts.entities import Wire

ModeName = Literal["orphiq", "external-api", "autonomous"]
"""A running Open-LLM-VTuber compatible server; a provider of language models; the built-in persona, no network."""

MODES: tuple[ModeName, ...] = ("orphiq", "external-api", "autonomous")
"""In the order in which one takes over from the other when it fails."""


class ModeHealth(Wire):
    """How one mode is.

    Attributes:
        is_available: It is set up and nothing is known against it.
        detail: Who would answer ("openrouter, model x"), or what is missing and what to do.
        is_resting: It failed and is left alone until a probe succeeds.
        next_probe_s: Seconds until it is tried again; None = no probe is due.
    """

    mode: ModeName
    is_available: bool
    detail: str = ""
    is_resting: bool = False
    next_probe_s: float | None = Field(None, ge=0)


class ModeChange(Wire):
    """One line of the history of modes.

    Attributes:
        conversation_id: Empty = everywhere.
        reason: Why, in words ("set in the window", "orphiq did not answer within 5 s").
        is_automatic: A fallback or a return, not somebody's choice.
    """

    at: datetime
    before: ModeName
    after: ModeName
    reason: str
    conversation_id: str = ""
    is_automatic: bool = False


class ModeState(Wire):
    """Who answers in one conversation, or everywhere.

    Attributes:
        mode: What answers now.
        chosen: What was chosen; differs from `mode` while a fallback stands in.
        is_own: The conversation has a choice of its own.
    """

    mode: ModeName
    chosen: ModeName
    reason: str = ""
    is_own: bool = False
    conversation_id: str = ""
    modes: tuple[ModeHealth, ...] = ()
    history: tuple[ModeChange, ...] = ()
