"""A card that holds controls: rounded, with a title line, and a body for widgets."""

from __future__ import annotations

import tkinter as tk

from frontend.draw import Painter
from frontend.theme import Theme
from frontend.widgets.controls import Words

HEAD = 40
PAD = 16


class Card(tk.Canvas):
    """Put widgets into `body`, and what belongs beside the title into the head with `add`.

    Its height is what its owner gives it; `needed` says what the widgets inside ask for.
    """

    def __init__(
        self,
        master: tk.Misc,
        theme: Theme,
        title: str = "",
        *,
        pad: float = PAD,
        behind: str = "bg",
    ) -> None:
        super().__init__(master, highlightthickness=0, borderwidth=0, width=1, height=1)
        self.theme = theme
        self._painter = Painter(self, theme)
        self._pad = pad
        theme.tint(self, background=behind)
        px = theme.px
        self.head = tk.Frame(self, height=px(HEAD - 6))
        theme.tint(self.head, background="surface")
        self.head.pack_propagate(False)
        self.title_words = Words(self.head, theme, title, "bodyb", "text", "surface")
        self.title_words.pack(side="left")
        self.sub_words = Words(self.head, theme, "", "small", "text3", "surface")
        self.sub_words.pack(side="left", fill="x", expand=True, padx=(px(10), px(6)))
        self.body = tk.Frame(self)
        theme.tint(self.body, background="surface")
        self._has_head = bool(title)
        self.bind("<Configure>", lambda _: self._draw())
        theme.on_change(self, self._draw)

    def add(self, widget: tk.Widget) -> None:
        """Put a widget to the right of the title, left of those that are there; the words give way."""
        widget.pack(side="right", before=self.sub_words)

    @property
    def needed(self) -> float:
        """Height in design pixels that shows all of it."""
        above = HEAD if self._has_head else self._pad * 0.75
        return above + self.body.winfo_reqheight() / self.theme.scale + self._pad * 0.75

    def _draw(self) -> None:
        wide, high = self.winfo_width(), self.winfo_height()
        if wide <= 1:
            return
        p, px = self._painter, self.theme.px
        p.clear("art")  # the widgets lie above it
        p.card(0, 0, p.width, p.height, tags="art")
        left = px(self._pad)
        top = px(self._pad * 0.75)
        if self._has_head:
            self.head.place(x=left, y=px(4), width=max(1, wide - left - px(8)))
            top = px(HEAD)
        self.body.place(
            x=left,
            y=top,
            width=max(1, wide - 2 * left),
            height=max(1, high - top - px(self._pad * 0.5)),
        )
