"""The window of rules: the queue, moderation, viewers' commands, and the triggers of autonomy; one page each."""

from __future__ import annotations

import tkinter as tk
from functools import partial

from frontend.rules import Owner, Page
from frontend.widgets.controls import Button, Chip, Words
from frontend.widgets.toplevel import OneWindow

SIZE = (860, 720)
SMALLEST = (560, 380)
PAGES = (
    ("queue", "Queue"),
    ("moderation", "Moderation"),
    ("commands", "Commands"),
    ("triggers", "Triggers"),
)


class RulesWindow(OneWindow):
    """The window; one at a time, `open` raises the one there is. Pages are built when first shown, and kept."""

    @classmethod
    def open(cls, owner: Owner, page: str = "", item: str = "") -> RulesWindow:
        """Show it, at a page and an item of it where they are named."""
        window = cls.one(lambda: cls(owner))
        window.focus_force()
        if page or not window.page:
            window.show_page(page or PAGES[0][0], item)
        return window

    def __init__(self, owner: Owner) -> None:
        super().__init__(owner.root, owner.theme, "Luma: rules")
        self._owner = owner
        self.pages: dict[str, Page] = {}
        self.page = ""
        theme, px = owner.theme, owner.theme.px
        head = tk.Frame(self)
        theme.tint(head, background="bg")
        head.pack(fill="x", padx=px(16), pady=(px(12), px(8)))
        Words(head, theme, "Rules", "h1").pack(side="left", padx=(0, px(12)))
        Button(head, theme, "Close", self.close, key="Esc", height=28).pack(side="right")
        self.chips: dict[str, Chip] = {}
        for name, words in PAGES:
            chip = Chip(head, theme, words, partial(self._chosen, name))
            chip.pack(side="left")
            self.chips[name] = chip
        self._body = tk.Frame(self)
        theme.tint(self._body, background="bg")
        self._body.pack(fill="both", expand=True, padx=(px(16), px(10)), pady=(0, px(12)))
        self.bind("<Control-s>", lambda _: self._save())
        self._appear(SIZE, SMALLEST)

    def show_page(self, name: str, item: str = "") -> None:
        """Bring a page to the front."""
        for key, chip in self.chips.items():
            chip.set(key == name)
        if name != self.page:
            for page in self.pages.values():
                self._frame(page).pack_forget()
            if name not in self.pages:
                self.pages[name] = self._make(name)
            self.page = name
            self._frame(self.pages[name]).pack(fill="both", expand=True)
        self.pages[name].load()
        if item:
            self.pages[name].show_item(item)

    def close(self) -> None:
        """Close; what was entered and not saved is gone, and said so."""
        names = [
            words for name, words in PAGES if name in self.pages and self.pages[name].is_changed
        ]
        if names:
            self._owner.notify(f"Not saved: {', '.join(names)}.", "warn")
        self.destroy()

    def _make(self, name: str) -> Page:
        # Imported here, so that a page costs nothing before it is looked at.
        if name == "moderation":
            from frontend.rules.moderation_page import ModerationPage

            return ModerationPage(self._body, self._owner)
        if name == "commands":
            from frontend.rules.commands_page import CommandsPage

            return CommandsPage(self._body, self._owner)
        if name == "triggers":
            from frontend.rules.triggers_page import TriggersPage

            return TriggersPage(self._body, self._owner)
        from frontend.rules.queue_page import QueuePage

        return QueuePage(self._body, self._owner)

    def _chosen(self, name: str, _on: bool) -> None:
        self.show_page(name)

    def _save(self) -> str:
        save = getattr(self.pages.get(self.page), "save", None)
        if callable(save):
            save()
        return "break"

    @staticmethod
    def _frame(page: Page) -> tk.Frame:
        assert isinstance(page, tk.Frame)
        return page
