"""The Voice tab: one page trains a voice from recordings, the other holds the voices and models that are here."""

from __future__ import annotations

import tkinter as tk
from typing import ClassVar, Literal

from backend.contracts.events import Event
from frontend.tabs import App
from frontend.tabs.train import TrainPage
from frontend.tabs.voices import VoicesPage
from frontend.widgets.controls import RING, Chip

PageName = Literal["train", "voices"]
HEAD = 44
TITLES: dict[PageName, str] = {"train": "Train", "voices": "Voices"}


class VoiceTab(tk.Frame):
    """Two pages under one head; each is built when it is first looked at."""

    NAME: ClassVar[str] = "voice"
    TITLE: ClassVar[str] = "Voice"
    ICON: ClassVar[str] = "voice"

    def __init__(self, master: tk.Misc, app: App) -> None:
        super().__init__(master, borderwidth=0, highlightthickness=0)
        self.app = app
        t = self.theme = app.theme
        t.tint(self, background="bg")
        self._is_connected = app.backend.connection.state == "connected"
        self._is_front = False
        self.head = tk.Frame(self, height=t.px(HEAD), borderwidth=0, highlightthickness=0)
        t.tint(self.head, background="bg")
        self.head.pack(fill="x")
        self.head.pack_propagate(False)
        self.switch: dict[PageName, Chip] = {}
        for name, title in TITLES.items():
            chip = Chip(
                self.head, t, title, lambda on, name=name: self.show_page(name),  # type: ignore[misc]  # a lambda that keeps its loop variable
                height=28, tip="Train a voice from recordings" if name == "train" else "Voices that are here",
            )  # fmt: skip
            first = t.px(16 - RING) if name == "train" else 0
            chip.pack(side="left", padx=(first, 0), pady=(t.px(4), 0))
            self.switch[name] = chip
        self.pages: dict[PageName, TrainPage | VoicesPage] = {}
        self.page: PageName | None = None
        self.show_page("voices" if app.state.get("voice.page") == "voices" else "train")

    @property
    def train(self) -> TrainPage:
        """The page that trains; shown if it was not."""
        self.show_page("train")
        page = self.pages["train"]
        assert isinstance(page, TrainPage)
        return page

    @property
    def voices(self) -> VoicesPage:
        """The page of finished voices; shown if it was not."""
        self.show_page("voices")
        page = self.pages["voices"]
        assert isinstance(page, VoicesPage)
        return page

    def show_page(self, name: PageName) -> None:
        """Bring a page to the front."""
        for other, chip in self.switch.items():
            chip.set(other == name)
        if name == self.page:
            return
        if self.page is not None:
            old = self.pages[self.page]
            old.on_hide()
            old.pack_forget()
        if name not in self.pages:
            page = (
                TrainPage(self, self.app, self.head)
                if name == "train"
                else VoicesPage(self, self.app)
            )
            self.pages[name] = page
            if self._is_connected:
                page.on_connected()
        self.page = name
        self.app.state["voice.page"] = name
        self.pages[name].pack(fill="both", expand=True)
        if self._is_front:
            self.pages[name].on_show()

    # --- what the window calls

    def on_event(self, event: Event) -> None:
        """Both pages follow."""
        for page in self.pages.values():
            page.on_event(event)

    def flush(self) -> None:
        """Draw what was gathered."""
        for page in self.pages.values():
            page.flush()

    def on_show(self) -> None:
        """The tab is in front."""
        self._is_front = True
        if self.page is not None:
            self.pages[self.page].on_show()

    def on_hide(self) -> None:
        """Another tab is in front."""
        self._is_front = False
        if self.page is not None:
            self.pages[self.page].on_hide()

    def on_theme(self) -> None:
        """Colours changed."""
        for page in self.pages.values():
            page.on_theme()

    def on_connected(self) -> None:
        """Load what is shown."""
        self._is_connected = True
        for page in self.pages.values():
            page.on_connected()

    def panes(self) -> list[tk.Misc]:
        """Where F6 goes."""
        if self.page is None:
            return []
        return [self.switch[self.page], *self.pages[self.page].panes()]

    def find(self) -> None:
        """Put the keyboard into the search field."""
        if self.page is not None:
            self.pages[self.page].find()
