"""The rail at the left: one entry per tab with its badge, and the menu, theme and settings buttons."""

from __future__ import annotations

import tkinter as tk
from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic

from frontend.draw import Painter
from frontend.theme import Theme
from frontend.widgets.controls import RING, Button, Control

WIDTH = 72
ENTRY = 60
UNKNOWN = -1.0
"""In place of a share nobody knows: a part of the bar moves to and fro."""
BAR, PART = 32.0, 10.0
MOVE_MS, WAY_S = 60, 1.4


@dataclass(frozen=True)
class RailTab:
    """One entry: the tab's NAME, TITLE and ICON, and its key."""

    name: str
    title: str
    icon: str
    key: str


class RailEntry(Control):
    """An entry: icon over a word; blue bar and tile when its tab is in front."""

    def __init__(
        self, master: tk.Misc, theme: Theme, tab: RailTab, command: Callable[[str], object]
    ) -> None:
        self.tab = tab
        self.active = False
        self.count = 0
        self.live = False
        self.progress: float | None = None
        self._part = 0
        self._move_job: str | None = None
        self.command = command
        super().__init__(
            master,
            theme,
            WIDTH - 1 - 2 * RING,
            ENTRY - 2 * RING,
            surface="rail",
            label=tab.title,
            tip=f"{tab.title}   {tab.key}",
        )
        self.configure(cursor="hand2")
        self.bind("<ButtonRelease-1>", lambda _: self.invoke())
        for sequence in ("<space>", "<Return>", "<KP_Enter>"):
            self.bind(sequence, lambda _: self.invoke())
        self.bind("<Up>", lambda _: self._neighbour(-1))
        self.bind("<Down>", lambda _: self._neighbour(1))

    def invoke(self) -> str:
        """Show the tab."""
        self.command(self.tab.name)
        return "break"

    def show(self, *, active: bool) -> None:
        """Whether its tab is in front."""
        if active != self.active:
            self.active = active
            self.redraw_soon()

    def set_badge(self, count: int, progress: float | None) -> None:
        """A number of unseen problems, a thin bar of a job's progress (0-1, or `UNKNOWN`)."""
        if (count, progress) != (self.count, self.progress):
            self.count, self.progress = count, progress
            self.redraw_soon()

    def ring_radius(self) -> float:
        return 10

    def paint(self, p: Painter, w: float, h: float) -> None:
        t = self.theme
        if self.active:
            tile = "accent_soft" if t.name == "dark" else "sel"
            p.box(8, RING, 56, h, tile, None, 8)
            p.box(0, RING + h / 2 - 14, 3, 28, "accent", None, 1.5)
        elif self.hovered:
            p.box(8, RING, 56, h, "hover", None, 8)
        color = "accent" if self.active else "text" if self.hovered else "text2"
        p.icon(36, RING + 19, self.tab.icon, 21, color)
        words = "text" if self.active or self.hovered else "text2"
        p.text(36, RING + 41, self.tab.title, "capb" if self.active else "cap", words, "center")
        if self.count:
            figure = str(self.count) if self.count < 100 else "99+"
            width = max(17, p.text_width(figure, "capb") + 9)
            p.box(58 - width / 2, RING + 2, width, 16, "error_soft", None, 8)
            p.text(58, RING + 10, figure, "capb", "error", "center")
        if self.progress is not None:
            p.box(20, RING + h - 3, BAR, 3, "line2", None, 1.5)
            if self.progress < 0:
                self._part = p.rect(20, RING + h - 3, PART, 3, "accent")
                self._move()
            elif self.progress > 0.04:
                p.box(20, RING + h - 3, BAR * min(1.0, self.progress), 3, "accent", None, 1.5)

    def _move(self) -> None:
        """Put the moving part where it is now; one item, four numbers."""
        if self._move_job is not None:
            self.after_cancel(self._move_job)
            self._move_job = None
        if self.progress is None or self.progress >= 0:
            return
        place = (monotonic() / WAY_S) % 2
        left = 20 + (BAR - PART) * (2 - place if place > 1 else place)
        px, top = self.theme.px, self.winfo_height() / self.theme.scale - RING - 3
        self.coords(self._part, px(left), px(top), px(left + PART), px(top + 3))
        self._move_job = self.after(MOVE_MS, self._move)

    def _stop(self) -> None:
        super()._stop()
        if self._move_job is not None:
            self.after_cancel(self._move_job)
            self._move_job = None

    def _neighbour(self, step: int) -> str:
        entries = [child for child in self.master.winfo_children() if isinstance(child, RailEntry)]
        entries[(entries.index(self) + step) % len(entries)].focus_set()
        return "break"


class Rail(tk.Frame):
    """The whole rail."""

    def __init__(
        self,
        master: tk.Misc,
        theme: Theme,
        tabs: list[RailTab],
        *,
        show_tab: Callable[[str], object],
        open_menu: Callable[[tk.Misc], object],
        switch_theme: Callable[[], object],
        open_settings: Callable[[], object],
    ) -> None:
        super().__init__(master, width=theme.px(WIDTH))
        self.pack_propagate(False)
        self._theme = theme
        theme.tint(self, background="rail")
        edge = tk.Frame(self, width=1)
        theme.tint(edge, background="line")
        edge.pack(side="right", fill="y")
        self.menu_button = Button(
            self,
            theme,
            icon="spark",
            kind="plain",
            color="accent",
            surface="rail",
            height=36,
            icon_size=24,
            label="Menu",
            tip="Menu   F10",
            command=lambda: open_menu(self.menu_button),
        )
        self.menu_button.pack(pady=(theme.px(4), theme.px(4)))
        self.entries: dict[str, RailEntry] = {}
        for tab in tabs:
            entry = self.entries[tab.name] = RailEntry(self, theme, tab, show_tab)
            entry.pack()
        settings = Button(
            self,
            theme,
            icon="gear",
            kind="plain",
            surface="rail",
            height=32,
            icon_size=19,
            label="Settings",
            tip="Settings   Ctrl+,",
            command=open_settings,
        )
        settings.pack(side="bottom", pady=(0, theme.px(6)))
        self._theme_button = Button(
            self,
            theme,
            icon="moon",
            kind="plain",
            surface="rail",
            height=32,
            icon_size=18,
            label="Dark or light",
            tip="Dark or light   Ctrl+T",
            command=switch_theme,
        )
        self._theme_button.pack(side="bottom")
        theme.on_change(self, self._show_theme)
        self._show_theme()

    def show(self, name: str) -> None:
        """Mark the tab in front."""
        for key, entry in self.entries.items():
            entry.show(active=key == name)

    def _show_theme(self) -> None:
        self._theme_button.set(icon="moon" if self._theme.name == "dark" else "sun")
