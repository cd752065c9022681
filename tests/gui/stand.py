"""A window that holds one tab: answers its requests from a table, feeds it events, takes its notices."""

from __future__ import annotations

import threading
import tkinter as tk
from collections import deque
from collections.abc import Callable, Mapping
from pathlib import Path
from time import monotonic
from typing import Any

from backend.contracts.events import Event
from frontend.client import BackendClient, Failed, Failure, Stream, Then
from frontend.theme import Theme, ThemeName
from tests.gui.root import shared_root

Answer = Any | Failure | Callable[[Any], Any]


class TableBackend(BackendClient):
    """Answers from `answers`: "GET /api/status" to a value, a `Failure`, or a function of the body.

    Requests are kept in `asked` as (method and path, body or parameters); answers come when `deliver` is called, as those
    of the real client come when the inbox is drained.
    """

    def __init__(self, answers: Mapping[str, Answer] | None = None) -> None:
        super().__init__("http://127.0.0.1:1", "token")
        self.answers: dict[str, Answer] = dict(answers or {})
        self.asked: list[tuple[str, Any]] = []
        self.streams: list[tuple[Stream, Callable[[str, Any], None], Failed | None]] = []
        """Answers that come piece by piece: the test hands the pieces over."""
        self._due: deque[tuple[Callable[[Any], None] | None, Any]] = deque()

    def _submit(
        self,
        method: str,
        path: str,
        then: Then | None,
        failed: Failed | None,
        timeout_s: float,
        body: Any = None,
        params: dict[str, str | int | float] | None = None,
    ) -> None:
        given = body if body is not None else params
        self._answer(f"{method} {path}", given, then, failed)

    def upload(
        self,
        path: str,
        files: list[tuple[str, Path]],
        fields: Mapping[str, str] | None = None,
        then: Then | None = None,
        failed: Failed | None = None,
        *,
        timeout_s: float = 300.0,
        sent: Callable[[int], None] | None = None,
        cancelled: threading.Event | None = None,
    ) -> None:
        self._answer(f"POST {path}", {"files": files, "fields": dict(fields or {})}, then, failed)

    def stream(
        self,
        path: str,
        body: Any,
        piece: Callable[[str, Any], None],
        failed: Failed | None = None,
        *,
        timeout_s: float = 30.0,
    ) -> Stream:
        self.asked.append((f"POST {path}", body))
        made = Stream()
        self.streams.append((made, piece, failed))
        return made

    def _answer(self, name: str, given: Any, then: Any, failed: Any) -> None:
        self.asked.append((name, given))
        answer = self.answers.get(name, Failure("not_found", f"{name} is not there.", 404))
        if callable(answer):
            answer = answer(given)
        self._due.append((failed if isinstance(answer, Failure) else then, answer))

    def deliver(self) -> int:
        """Hand over the answers that are due."""
        count = 0
        while self._due:
            callback, answer = self._due.popleft()
            count += 1
            if callback is not None:
                callback(answer)
        return count


class Stand:
    """The window's part of the bargain, for one tab."""

    def __init__(
        self,
        answers: Mapping[str, Answer] | None = None,
        *,
        theme: ThemeName = "dark",
        scale: float = 1.0,
        width: int = 1208,
        height: int = 722,
    ) -> None:
        self.root = shared_root()
        self.root.geometry(f"{width}x{height}+0+0")
        self.root.deiconify()
        self.backend = TableBackend(answers)
        self.theme = Theme(self.root, theme, scale)
        self.state: dict[str, Any] = {}
        self.notices: list[tuple[str, str]] = []
        self.badges: dict[str, tuple[int, float | None]] = {}
        self.shown: list[str] = []
        self.turns: list[str] = []
        self.settings: list[str] = []
        self.tab: Any = None

    def hold(self, make: Callable[[tk.Misc, Any], Any], *, connect: bool = True) -> Any:
        """Build a tab and bring it to the front."""
        self.tab = make(self.root, self)
        self.tab.pack(fill="both", expand=True)
        self.root.update()
        self.tab.on_show()
        if connect:
            self.tab.on_connected()
        self.settle()
        return self.tab

    def feed(self, *events: Event) -> None:
        """Give events to the tab as one drain of the inbox does."""
        for event in events:
            self.tab.on_event(event)
        self.tab.flush()

    def settle(self, until: Callable[[], bool] | None = None, limit_s: float = 30.0) -> None:
        """Run the window until a condition holds; without one, until everything due now is done."""
        end = monotonic() + limit_s
        self.backend.deliver()
        self.root.update()
        while until is not None and not until():
            assert monotonic() < end, "the window did not get there in time"
            self.backend.deliver()
            self.root.update()
        self.backend.deliver()
        self.root.update()

    def close(self) -> None:
        """Destroy the window."""
        self.root.destroy()

    # --- what a tab calls

    def show_tab(self, name: str) -> None:
        self.shown.append(name)

    def open_turn(self, turn_id: str) -> None:
        self.turns.append(turn_id)

    def notify(self, text: str, severity: str = "info") -> None:
        self.notices.append((text, severity))

    def set_badge(self, name: str, count: int = 0, *, progress: float | None = None) -> None:
        self.badges[name] = (count, progress)

    def open_settings(self, field: str = "") -> None:
        self.settings.append(field)


def words_on(canvas: tk.Canvas) -> list[str]:
    """Every text a canvas shows."""
    found = []
    for item in canvas.find_all():
        state = str(canvas.itemcget(item, "state"))  # type: ignore[no-untyped-call]
        if str(canvas.type(item)) == "text" and state != "hidden":
            found.append(str(canvas.itemcget(item, "text")))  # type: ignore[no-untyped-call]
    return found
