"""A page with a list at the left and the form of the chosen one at the right; and the list itself."""

from __future__ import annotations

import tkinter as tk
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from frontend.client import Failure
from frontend.rules import Owner
from frontend.theme import Theme
from frontend.widgets.controls import Button, Words
from frontend.widgets.focus import focused
from frontend.widgets.form import Ask, Form
from frontend.widgets.row_list import RowList
from frontend.widgets.scroll_frame import ScrollFrame

LIST = 232
LABEL = 150.0
ROW_HEIGHT = 41


@dataclass(frozen=True, slots=True)
class Item:
    """A row of the list.

    Attributes:
        id: What it is known by.
        mark: A short word at its right.
    """

    id: str
    title: str
    sub: str = ""
    mark: str = ""
    is_on: bool = True


class ItemList(RowList):
    """The list; choosing a row asks `picked`, which says whether it may be."""

    row_height = float(ROW_HEIGHT)

    def __init__(
        self, master: tk.Misc, theme: Theme, label: str, picked: Callable[[str], bool], empty: str
    ) -> None:
        super().__init__(master, theme)
        self.label = label
        self.items: list[Item] = []
        self._picked = picked
        self._empty = empty

    def show(self, items: Sequence[Item], current: str) -> None:
        """Show other rows."""
        self.items = list(items)
        self.current = next((n for n, item in enumerate(items) if item.id == current), -1)
        if self.current >= 0:
            self.reveal(self.current)
        self.changed()

    def count(self) -> int:
        return len(self.items)

    def choose(self, number: int) -> None:
        if self._picked(self.items[number].id):
            super().choose(number)

    def fill_of(self, number: int) -> str | None:
        return "sel" if number == self.current else None

    def tip_of(self, number: int) -> str:
        item = self.items[number]
        return f"{item.title}: {item.sub}" if item.sub else item.title

    def paint_row(self, number: int, y: float, width: float) -> None:
        p, item = self.painter, self.items[number]
        right = width - 10
        if item.mark:
            p.text(right, y + 13, item.mark, "cap", "text3", "e")
            right -= p.text_width(item.mark, "cap") + 8
        color = "text" if item.is_on else "text3"
        p.text(12, y + 13, item.title, "smallb", color, clip=right - 12)
        p.text(12, y + 30, item.sub, "cap", "text3", clip=width - 22)

    def paint(self) -> None:
        chosen = self.current
        super().paint()
        self.current = chosen if chosen < len(self.items) else len(self.items) - 1
        if not self.items:
            p = self.painter
            p.text(p.width / 2, 20, self._empty, "small", "text3", "n", width=p.width - 24)

    def walk(self, by: int) -> str:
        if focused(self) is self and self.items:
            self.current = max(0, self.current)
        return super().walk(by)


class ListPage(tk.Frame, ABC):
    """Base of pages with a list.

    A subclass makes the form of an item in `build`, and says in `save`, `undo` and `remove` what happens.
    """

    LABEL = ""
    EMPTY = ""

    def __init__(self, master: tk.Misc, owner: Owner) -> None:
        super().__init__(master, borderwidth=0)
        self.is_changed = False
        self.current = ""
        self.owner = owner
        self.forms: list[Form] = []
        theme = self.theme = owner.theme
        px = theme.px
        theme.tint(self, background="bg")
        self.top = tk.Frame(self, borderwidth=0)
        theme.tint(self.top, background="bg")
        self.top.pack(fill="x")
        foot = tk.Frame(self)
        theme.tint(foot, background="bg")
        foot.pack(side="bottom", fill="x", pady=(px(8), 0))
        self.foot = foot
        self.save_button = Button(
            foot, theme, "Save", self.save, icon="check", kind="accent", height=30, tip="Ctrl+S"
        )
        self.save_button.pack(side="left")
        self.undo_button = Button(foot, theme, "Undo", self.undo, icon="refresh", height=30)
        self.undo_button.pack(side="left")
        self.remove_button = Button(
            foot, theme, "Delete", self.remove, icon="trash", height=30, color="error"
        )
        self.words = Words(foot, theme, "", "small", "text2")
        self.words.pack(side="left", fill="x", expand=True, padx=px(10))
        left = tk.Frame(self, width=px(LIST), highlightthickness=1)
        left.pack_propagate(False)
        theme.tint(left, background="surface", highlightbackground="line", highlightcolor="line")
        left.pack(side="left", fill="y")
        self.bar = tk.Frame(left)
        theme.tint(self.bar, background="surface")
        self.bar.pack(side="bottom", fill="x", padx=px(4), pady=px(4))
        self.list = ItemList(left, theme, self.LABEL, self.pick, self.EMPTY)
        self.list.pack(fill="both", expand=True, padx=px(2), pady=px(2))
        self.scroll = ScrollFrame(self, theme)
        self.scroll.pack(side="left", fill="both", expand=True, padx=(px(12), 0))
        self.know(False)

    # --- for subclasses

    @abstractmethod
    def load(self) -> None:
        """Ask the backend."""

    @abstractmethod
    def save(self) -> None:
        """Keep what was entered."""

    @abstractmethod
    def undo(self) -> None:
        """Show what holds again."""

    @abstractmethod
    def remove(self) -> None:
        """Delete the chosen one."""

    @abstractmethod
    def build(self, item: str) -> None:
        """Make the form of an item."""

    # --- what subclasses use

    def show_item(self, item: str) -> None:
        """Go to one of the list."""
        if self.pick(item):
            place = next((n for n, one in enumerate(self.list.items) if one.id == item), -1)
            self.list.current = place
            if place >= 0:
                self.list.reveal(place)

    def pick(self, item: str) -> bool:
        """Show another item; not while the one there has changes."""
        if self.is_changed and item != self.current:
            self.words.show("Save what you entered, or undo it, before going on.", "warn")
            return False
        if item != self.current or not self.forms:
            self.current = item
            self.clear()
            self.build(item)
            self.know(False)
            self.words.show("")
        return True

    def clear(self) -> None:
        """Take the form away."""
        self.forms = []
        for child in self.scroll.inner.winfo_children():
            child.destroy()
        self.scroll.to_top()

    def section(self, title: str, asks: Sequence[Ask], about: str = "") -> Form:
        """A card with a form in it."""
        theme, px = self.theme, self.theme.px
        card = tk.Frame(self.scroll.inner, highlightthickness=1)
        theme.tint(card, background="surface", highlightbackground="line", highlightcolor="line")
        card.pack(fill="x", padx=(0, px(8)), pady=(0, px(10)))
        Words(card, theme, title, "bodyb", "text", "surface").pack(
            fill="x", padx=px(14), pady=(px(10), px(2) if about else px(8))
        )
        if about:
            Words(card, theme, about, "small", "text2", "surface").pack(
                fill="x", padx=px(14), pady=(0, px(8))
            )
        form = Form(card, theme, asks, lambda: self.know(True), label=LABEL)
        form.pack(fill="x", padx=px(14), pady=(0, px(4)))
        self.forms.append(form)
        return form

    def entered(self) -> tuple[dict[str, Any], dict[str, str]]:
        """All that was entered, and what is wrong with it."""
        values: dict[str, Any] = {}
        troubles: dict[str, str] = {}
        for form in self.forms:
            some, wrong = form.values()
            for name, value in some.items():
                known = values.get(name)
                merges = isinstance(known, dict) and isinstance(value, dict)
                values[name] = {**known, **value} if merges and known else value
            troubles |= wrong
        return values, troubles

    def mark(self, troubles: Mapping[str, str]) -> None:
        """Show what is wrong where it is; what has no place, in the foot."""
        for form in reversed(self.forms):
            form.mark({name: words for name, words in troubles.items() if name in form.rows})
        known = {name for form in self.forms for name in form.rows}
        rest = [words for name, words in troubles.items() if name not in known]
        if rest:
            self.words.show(rest[0], "error")
        elif troubles:
            self.words.show("Something cannot be used; the reason stands below it.", "error")

    def know(self, is_changed: bool) -> None:
        """Whether something is not saved."""
        self.is_changed = is_changed
        self.save_button.enable(is_changed)
        self.undo_button.enable(is_changed)
        if is_changed:
            self.words.show("")

    def failed(self, failure: Failure) -> None:
        """Say why a request did not work."""
        if self.winfo_exists():
            words = failure.message
            if failure.status == 404 and not self.list.items:
                words = "This backend does not have it: it is older than this window. Update it."
            self.words.show(words, "error")
