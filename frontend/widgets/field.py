"""A one-line text field in a drawn box, with a placeholder; the outline turns blue while it has the focus."""

from __future__ import annotations

import tkinter as tk
from collections.abc import Callable

from frontend.draw import Painter
from frontend.theme import FontName, Theme
from frontend.widgets.focus import focused


class Field(tk.Canvas):
    """A text field.

    Args:
        master: Where it lives.
        theme: The window's theme.
        placeholder: Shown while it is empty.
        on_change: Called with the text after each change by a person.
        on_enter: Called with the text on Enter.
        icon: Icon inside, at the left.
        secret: Show dots instead of letters.
    """

    def __init__(
        self,
        master: tk.Misc,
        theme: Theme,
        *,
        placeholder: str = "",
        on_change: Callable[[str], object] | None = None,
        on_enter: Callable[[str], object] | None = None,
        icon: str = "",
        width: float = 200,
        height: float = 32,
        surface: str = "bg",
        secret: bool = False,
        font: FontName = "small",
        label: str = "",
    ) -> None:
        super().__init__(
            master,
            width=theme.px(width),
            height=theme.px(height),
            highlightthickness=0,
            borderwidth=0,
        )
        self.theme = theme
        self.label = label or placeholder
        self.trouble = False
        self._painter = Painter(self, theme)
        self._icon = icon
        self._on_change = on_change
        self._quiet = False
        self._variable = tk.StringVar(self)
        self.entry = tk.Entry(
            self,
            textvariable=self._variable,
            font=theme.font(font),
            relief="flat",
            borderwidth=0,
            highlightthickness=0,
            show="\u2022" if secret else "",
        )
        self.entry.label = self.label  # type: ignore[attr-defined]  # its name for people who cannot see it
        self._window = self.create_window(0, 0, window=self.entry, anchor="nw")
        self._ghost = tk.Label(
            self.entry, text=placeholder, font=theme.font(font), borderwidth=0, cursor="xterm"
        )
        theme.tint(self, background=surface)
        theme.tint(
            self.entry,
            background="raised",
            foreground="text",
            insertbackground="accent",
            disabledbackground="surface",
            disabledforeground="text3",
            readonlybackground="surface",
            selectbackground="accent",
            selectforeground="on_accent",
        )
        theme.tint(self._ghost, background="raised", foreground="text3")
        theme.on_change(self, self._draw)
        self._ghost.bind("<ButtonPress-1>", lambda _: self.entry.focus_set())
        self._variable.trace_add("write", self._changed)
        self.bind("<Configure>", lambda _: self._draw())
        self.bind("<ButtonPress-1>", lambda _: self.entry.focus_set())
        for sequence in ("<FocusIn>", "<FocusOut>"):
            self.entry.bind(sequence, lambda _: self._draw(), add="+")
        if on_enter is not None:
            self.entry.bind("<Return>", lambda _: on_enter(self.text))
            self.entry.bind("<KP_Enter>", lambda _: on_enter(self.text))
        self._show_ghost()

    @property
    def text(self) -> str:
        """What was typed."""
        return self._variable.get()

    def set(self, text: str) -> None:
        """Put other text in, without calling ``on_change``."""
        self._quiet = True
        self._variable.set(text)
        self._quiet = False

    def set_placeholder(self, words: str) -> None:
        """Show other words while it is empty."""
        self._ghost.configure(text=words)

    def mark(self, trouble: bool) -> None:
        """Show by a red outline that the text cannot be used."""
        if trouble != self.trouble:
            self.trouble = trouble
            self._draw()

    def enable(self, enabled: bool) -> None:
        """Let it be edited or not."""
        self.entry.configure(state="normal" if enabled else "disabled")
        self._draw()

    def _changed(self, *_: object) -> None:
        self._show_ghost()
        if self._on_change is not None and not self._quiet:
            self._on_change(self.text)

    def _show_ghost(self) -> None:
        if self.text:
            self._ghost.place_forget()
        else:
            self._ghost.place(x=0, rely=0.5, anchor="w")

    def _draw(self) -> None:
        p, t = self._painter, self.theme
        if self.winfo_width() <= 1:
            return
        p.clear("art")  # the entry stays: taking it off the canvas would cost it the focus
        usable = self.entry.cget("state") == "normal"
        has_focus = focused(self) is self.entry if self.winfo_exists() else False
        outline = "error" if self.trouble else "accent" if has_focus else "line2"
        line = max(1, t.px(2)) if has_focus else 1
        p.box(0, 0, p.width, p.height, "raised" if usable else "surface", outline, 6, line, "art")
        left = 10.0
        if self._icon:
            p.icon(18, p.height / 2, self._icon, 15, "text3", tags="art")
            left = 32
        high = self.entry.winfo_reqheight()
        self.coords(self._window, t.px(left), (self.winfo_height() - high) // 2)
        width = max(1, self.winfo_width() - t.px(left + 10))
        self.itemconfigure(self._window, width=width, height=high)
