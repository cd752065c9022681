"""Where a window of its own opens: over the main window, no larger than the screen."""

from __future__ import annotations

import tkinter as tk

from frontend.theme import Theme


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
