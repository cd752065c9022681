"""What all values that travel are built on."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Wire(BaseModel):
    """Base of what travels: frozen, unknown fields refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")
