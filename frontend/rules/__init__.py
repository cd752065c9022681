"""The pages of the window of rules: one file each.

A page is a frame that loads itself by REST, shows what was entered wrongly at its place, and saves by its own button.
"""

from __future__ import annotations

from typing import Protocol

from pydantic import ValidationError

from frontend.audience import Audience
from frontend.owner import WindowOwner


class Owner(WindowOwner, Protocol):
    """What the window of rules and its pages need of the main window."""

    @property
    def audience(self) -> Audience:
        """Who writes, and what becomes of it."""


class Page(Protocol):
    """What the window calls on a page; a page is a tk.Frame with these."""

    def load(self) -> None:
        """Ask the backend, unless something was entered and not saved."""

    def show_item(self, item: str) -> None:
        """Go to one of what is listed."""

    @property
    def is_changed(self) -> bool:
        """Whether something was entered and not saved."""


def troubles_of(error: ValidationError) -> dict[str, str]:
    """What a contract says is wrong with values, by the name of the row it is about."""
    found: dict[str, str] = {}
    for one in error.errors():
        names = [str(part) for part in one["loc"] if not isinstance(part, int)]
        words = str(one["msg"]).removeprefix("Value error, ")
        found.setdefault(".".join(names), words[:1].upper() + words[1:] + ".")
    return found
