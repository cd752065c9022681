"""One file per tab, and what a tab may expect of the window that holds it.

A tab is a ``tk.Frame`` built as ``SomeTab(master, app)`` on its first showing and kept from then on. Only the Tk thread
calls it. It changes in `on_event`, writes to widgets in `flush` (once per drain of the inbox), and asks through
``app.backend``.
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal, Protocol

from backend.contracts.events import Event
from frontend.client import BackendClient, Failure
from frontend.pictures import Avatars
from frontend.stage import Stage
from frontend.theme import Theme

Notice = Literal["info", "ok", "warn", "error"]


class App(Protocol):
    """What the window offers its tabs."""

    @property
    def backend(self) -> BackendClient:
        """REST and events."""

    @property
    def theme(self) -> Theme:
        """Colours, fonts, sizes."""

    @property
    def state(self) -> dict[str, Any]:
        """What the window remembers over restarts; JSON values only, keys begin with the tab's NAME."""

    def show_tab(self, name: str) -> None:
        """Bring a tab to the front."""

    def open_turn(self, turn_id: str) -> None:
        """Show one turn with its stages in the Chat tab."""

    def notify(self, text: str, severity: Notice = "info") -> None:
        """Say something for a few seconds; errors stay until dismissed."""

    def set_badge(self, name: str, count: int = 0, *, progress: float | None = None) -> None:
        """Mark a tab's rail entry: a number of unseen errors, or the progress (0-1) of a job in it."""

    def open_settings(self, field: str = "") -> None:
        """Open the settings window, scrolled to a setting."""


class CastApp(App, Protocol):
    """What the window offers tabs that show who is on stage."""

    @property
    def stage(self) -> Stage:
        """Characters and who is on, settings, services, volume."""

    @property
    def avatars(self) -> Avatars:
        """Pictures of the characters."""

    def fail(self, failure: Failure) -> None:
        """Show why a request did not work."""


class Tab(Protocol):
    """What the window calls on a tab; a tab is a tk.Frame with these."""

    NAME: ClassVar[str]
    TITLE: ClassVar[str]
    ICON: ClassVar[str]

    def on_event(self, event: Event) -> None:
        """Something happened. Cheap: gather, do not draw. Also sees types this version does not know."""

    def flush(self) -> None:
        """Draw what was gathered; called once after each drain that had events."""

    def on_show(self) -> None:
        """The tab is in front now."""

    def on_hide(self) -> None:
        """Another tab is in front now."""

    def on_theme(self) -> None:
        """Colours changed; lengths did not (a change of scale builds the tabs anew)."""

    def on_connected(self) -> None:
        """The backend answers (again): load by REST what you show. Also after an event-stream reset."""
