"""Wire values of the panic: everything stops at once, and goes on when somebody says so."""

from __future__ import annotations

from datetime import datetime

from pydantic import Field

from backend.contracts.entities import Wire


class PanicState(Wire):
    """Whether everything is stopped.

    Attributes:
        by: Who said so ("window", "control", "api"); empty while nothing is stopped.
        since: When.
        stopped: Turns that were cut short by it.
    """

    is_on: bool = False
    by: str = ""
    since: datetime | None = None
    stopped: int = Field(0, ge=0)
