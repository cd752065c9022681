"""What every window needs of the main window; each says beside itself what it needs more."""

from __future__ import annotations

import tkinter as tk
from typing import Protocol

from frontend.client import BackendClient
from frontend.tabs import Notice
from frontend.theme import Theme


class WindowOwner(Protocol):
    """The main window, as the windows over it see it."""

    @property
    def root(self) -> tk.Tk:
        """The main window."""

    @property
    def backend(self) -> BackendClient:
        """Line to the backend."""

    @property
    def theme(self) -> Theme:
        """Colours, fonts, sizes."""

    def notify(self, text: str, severity: Notice = "info") -> None:
        """Say something."""
