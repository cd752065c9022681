"""Who has the keyboard, and how a canvas shows that it has."""

from __future__ import annotations

import tkinter as tk

from frontend.theme import Theme


def focused(widget: tk.Misc) -> tk.Misc | None:
    """The widget of this program that has the keyboard.

    None also while one of Tk's own windows has it: its file dialog on X11 is made in Tcl, and tkinter's ``focus_get``
    raises KeyError for what it did not make.
    """
    try:
        return widget.focus_get()
    except KeyError:
        return None


def frame_ring(canvas: tk.Canvas, theme: Theme) -> None:
    """Mark a whole canvas as the one that has the keyboard; what it draws is tagged "ring"."""
    line = max(2, theme.px(2))
    canvas.create_rectangle(
        line // 2,
        line // 2,
        canvas.winfo_width() - line // 2 - 1,
        canvas.winfo_height() - line // 2 - 1,
        outline=theme.color("accent"),
        width=line,
        tags="ring",
    )
