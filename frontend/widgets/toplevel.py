"""Windows of their own: where one opens, and what all of them do alike.

One at a time: who asks for a window that is there gets it raised.
"""

from __future__ import annotations

import tkinter as tk
from collections.abc import Callable
from typing import ClassVar, Self

from frontend.theme import Theme
from frontend.widgets.controls import Words
from frontend.widgets.scroll_frame import ScrollFrame


class OneWindow(tk.Toplevel):
    """A window of which there is one at a time, over the one it belongs to; hidden until `_appear`.

    Args:
        master: A widget of the window it lies over.
        theme: Its colours, fonts, sizes.
        title: What the system calls it.
        has_edge: Whether a line is drawn round it.
    """

    _current: ClassVar[OneWindow | None] = None

    @classmethod
    def current(cls) -> Self | None:
        """The one there is."""
        window = cls._current
        return window if isinstance(window, cls) and window.winfo_exists() else None

    @classmethod
    def one(cls, make: Callable[[], Self]) -> Self:
        """The one there is, else a new one; in front of all others."""
        window = cls.current()
        if window is None:
            window = make()
            cls._current = window
        window.lift()
        return window

    def __init__(
        self, master: tk.Misc, theme: Theme, title: str, *, has_edge: bool = False
    ) -> None:
        top = master.winfo_toplevel()
        super().__init__(top, highlightthickness=int(has_edge))
        self.withdraw()
        self._theme = theme
        self._is_open = True
        self._ends: list[Callable[[], object]] = []
        """What is called when it is gone: it listens no longer."""
        self._job: str | None = None
        """Of `after`, what is not done any more when it is gone."""
        self.title(title)
        if top.winfo_viewable():
            self.transient(top)
        theme.tint(self, background="bg", highlightbackground="line2", highlightcolor="line2")
        self.protocol("WM_DELETE_WINDOW", self.close)
        self.bind("<Escape>", lambda _: self._escape())

    def close(self) -> None:
        """Close."""
        self.destroy()

    # --- for those that are one

    def _appear(self, size: tuple[float, float], smallest: tuple[float, float]) -> None:
        """Be seen, once everything is built: at a size in design pixels, and at least that large."""
        self.bind("<Destroy>", self._destroyed, add="+")
        place_over(self, self._theme, size, smallest)
        self.deiconify()

    def _foot(self, padx: float = 13, pady: float = 8) -> tk.Frame:
        """The line at the bottom, for its buttons."""
        px = self._theme.px
        foot = tk.Frame(self)
        self._theme.tint(foot, background="bg")
        foot.pack(side="bottom", fill="x", padx=px(padx), pady=px(pady))
        return foot

    def _scrolled(self, right: float = 6, top: float = 14) -> ScrollFrame:
        """What fills the rest and scrolls."""
        px = self._theme.px
        made = ScrollFrame(self, self._theme)
        made.pack(fill="both", expand=True, padx=(px(16), px(right)), pady=(px(top), 0))
        return made

    def _outlined(self, master: tk.Misc, below: float = 12) -> tk.Frame:
        """A card: a surface with a line round it, as wide as the page."""
        theme, px = self._theme, self._theme.px
        card = tk.Frame(master, highlightthickness=1)
        theme.tint(card, background="surface", highlightbackground="line", highlightcolor="line")
        card.pack(fill="x", padx=(0, px(8)), pady=(0, px(below)))
        return card

    def _named_row(
        self,
        card: tk.Misc,
        title: str,
        size: tuple[float, float],
        pady: tuple[float, float],
    ) -> tk.Frame:
        """A line of a card: its name at the left in a room of that size, room for controls at the right."""
        theme, px = self._theme, self._theme.px
        line = tk.Frame(card)
        theme.tint(line, background="surface")
        line.pack(fill="x", padx=px(14), pady=(px(pady[0]), px(pady[1])))
        holder = tk.Frame(line, width=px(size[0]), height=px(size[1]))
        theme.tint(holder, background="surface")
        holder.pack(side="left", anchor="n")
        holder.pack_propagate(False)
        Words(holder, theme, title, "small", "text2", "surface").pack(fill="both", expand=True)
        right = tk.Frame(line)
        theme.tint(right, background="surface")
        right.pack(side="left", fill="x", expand=True)
        return right

    def _escape(self) -> None:
        self.close()

    def _gone(self) -> None:
        """It is destroyed: end what would go on without it."""

    def _destroyed(self, event: tk.Event[tk.Misc]) -> None:
        if event.widget is not self:
            return  # a widget in it
        if type(self)._current is self:
            type(self)._current = None
        self._is_open = False
        for end in self._ends:
            end()
        if self._job is not None:
            self.after_cancel(self._job)
        self._gone()


def place_over(
    window: tk.Toplevel, theme: Theme, size: tuple[float, float], smallest: tuple[float, float]
) -> None:
    """Put a window over the middle of the one it belongs to.

    Args:
        window: The window; its master's top level is what it lies over.
        theme: Turns design pixels into real ones.
        size: Width and height in design pixels, less where the screen is smaller.
        smallest: What it can be made at least, likewise.
    """
    top = window.master.winfo_toplevel()
    wide = min(theme.px(size[0]), window.winfo_screenwidth())
    high = min(theme.px(size[1]), window.winfo_screenheight())
    x = max(0, top.winfo_rootx() + max(0, (top.winfo_width() - wide) // 2))
    y = max(0, top.winfo_rooty() + max(0, (top.winfo_height() - high) // 2))
    window.geometry(f"{wide}x{high}+{x}+{y}")
    window.minsize(min(theme.px(smallest[0]), wide), min(theme.px(smallest[1]), high))
