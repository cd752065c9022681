"""Every language model: one file each, listed here."""

from __future__ import annotations

from backend.core.registry import Registry
from backend.engines.llm.base import LLM

LLMS: Registry[LLM] = Registry("language model", {})
