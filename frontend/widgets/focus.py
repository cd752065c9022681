"""Who has the keyboard."""

from __future__ import annotations

import tkinter as tk


def focused(widget: tk.Misc) -> tk.Misc | None:
    """The widget of this program that has the keyboard.

    None also while one of Tk's own windows has it: its file dialog on X11 is made in Tcl, and tkinter's ``focus_get``
    raises KeyError for what it did not make.
    """
    try:
        return widget.focus_get()
    except KeyError:
        return None
