"""The Train page of the Voice tab: wizard line, clips beside the chosen clip or the doctor, training beside checkpoints.

Wide, it is a cockpit with everything in sight; below 900 design pixels it shows one step at a time. What a step has no
use for yet takes no room: the upper cards have the whole height until something was trained.
"""

from __future__ import annotations

import tkinter as tk
from typing import Any

from backend.contracts.events import Event
from frontend.tabs import App
from frontend.widgets.scroll_page import ScrollPage, put
from frontend.widgets.training.state import Cockpit, Focus
from frontend.widgets.training.wizard import HEIGHT as WIZARD_HEIGHT
from frontend.widgets.training.wizard import Action, WizardLine

MARGIN = 16
GAP = 12
NARROW = 900
LEAST_UPPER = 280.0
LEAST_LOWER = 270.0
LOWER: tuple[Focus, ...] = ("train", "listen", "use")
"""Steps whose cards lie in the lower half."""


class TrainPage(tk.Frame):
    """The page.

    Args:
        master: The tab.
        app: The window.
        head: The tab's head; the speaker is chosen there.
    """

    def __init__(self, master: tk.Misc, app: App, head: tk.Frame) -> None:
        super().__init__(master, borderwidth=0, highlightthickness=0)
        self.app = app
        self.head = head
        t = self.theme = app.theme
        t.tint(self, background="bg")
        self.cockpit = Cockpit(app, self)
        self.scroll = ScrollPage(self, t, self._arrange)
        self.scroll.pack(fill="both", expand=True)
        body = self.scroll.body
        self.wizard = WizardLine(body, t, self.cockpit, self.act)
        self.cards: dict[Focus, tk.Widget] = {}
        """The card of each step: table of clips, chosen clip ("record"), doctor, training, checkpoints, the voice."""
        self.scroll.watch_wheel()
        self.cockpit.watch(
            ("page", "jobs", "speakers", "uploads"), lambda _: self.scroll.arrange_soon()
        )
        self.bind("<Destroy>", self._ended)

    # --- handled as a tab is

    def on_event(self, event: Event) -> None:
        """Follow what happens."""
        self.cockpit.on_event(event)

    def flush(self) -> None:
        """Let the cards draw what was gathered."""
        self.cockpit.flush()

    def on_show(self) -> None:
        """The page is in front."""

    def on_hide(self) -> None:
        """Another page is in front."""

    def on_theme(self) -> None:
        """Cards recolour themselves."""
        self.scroll.arrange_soon()

    def on_connected(self) -> None:
        """Load everything."""
        self.cockpit.load()

    def panes(self) -> list[tk.Misc]:
        """Where F6 goes."""
        return [self.wizard, *(card for card in self.cards.values() if card.winfo_ismapped())]

    def find(self) -> None:
        """Put the keyboard into the search field."""

    # --- the next step

    def act(self, action: Action) -> None:
        """Do what the wizard's button says."""
        cockpit = self.cockpit
        match action:
            case "examine":
                cockpit.look_at("doctor")
                cockpit.examine()
            case "review":
                cockpit.look_at("clips")
            case "doctor":
                cockpit.look_at("doctor")
            case "resume":
                if cockpit.training is not None:
                    cockpit.job_asks(cockpit.training.id, "resume")
            case "talk":
                self.app.show_tab("chat")

    # --- layout

    def _arrange(self, width: float, height: float) -> float:
        """Place what is in use; the rest is taken off the page."""
        t, room = self.theme, width - 2 * MARGIN
        put(t, self.wizard, MARGIN, 0, room, WIZARD_HEIGHT)
        top = float(WIZARD_HEIGHT + GAP)
        shown = self._narrow() if width < NARROW else self._wide()
        for card in self.cards.values():
            if not any(card in row for row in shown):
                card.place_forget()
        if not shown:
            return top
        free = height - top - GAP * len(shown)
        upper = max(LEAST_UPPER, free if len(shown) == 1 else round(free * 0.52))
        lower = max(LEAST_LOWER, free - upper)
        for row, high in zip(shown, (upper, lower), strict=False):
            left = MARGIN
            for number, card in enumerate(row):
                wide = room if len(row) == 1 else (room - GAP) * (0.555, 0.445)[number]
                put(t, card, left, top, wide, high)
                left += round(wide + GAP)
            top += high + GAP
        return top

    def _wide(self) -> list[list[tk.Widget]]:
        """Two rows of two cards."""
        focus = self.cockpit.focus
        beside: Focus = "doctor" if focus == "doctor" else "record"
        lower: Focus = "use" if focus == "use" else "listen"
        rows: list[tuple[Focus, ...]] = [("clips", beside)]
        if self.cockpit.training is not None or focus in LOWER:
            rows.append(("train", lower))
        found = [[self.cards[name] for name in row if name in self.cards] for row in rows]
        return [row for row in found if row]

    def _narrow(self) -> list[list[tk.Widget]]:
        """One step at a time; the clips with the chosen one below them."""
        focus = self.cockpit.focus
        rows: list[Focus] = ["clips", "record"] if focus in ("record", "clips") else [focus]
        return [[self.cards[name]] for name in rows if name in self.cards]

    def _ended(self, event: Any) -> None:
        if event.widget is self:
            self.cockpit.close()
