"""Everything the window can do by name: menu, palette, shortcuts and the keys page are made from this one list."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Command:
    """One thing the window can do.

    Attributes:
        name: Stable id ("tab.logs").
        title: What it does, in words.
        group: Menu it is in: "File", "Edit", "View", "Stage", "Stream", "Microphone",
            "Help".
        run: Does it.
        key: The shortcut as shown ("Ctrl+1"); empty = none.
        bind: Tk sequences that run it ("<Control-Key-1>").
        icon: Icon in the palette.
        anywhere: Its keys work in every window and over an open list, whatever has the focus.
    """

    name: str
    title: str
    group: str
    run: Callable[[], object]
    key: str = ""
    bind: Sequence[str] = ()
    icon: str = ""
    anywhere: bool = False


GROUPS = ("File", "Edit", "View", "Stage", "Stream", "Microphone", "Help")

OTHER_KEYS: Sequence[tuple[str, str, str]] = (
    ("Chat", "Enter", "Send the message"),
    ("Chat", "Shift+Enter", "New line"),
    ("Chat", "Up / Down", "Earlier and later messages of yours, at the edge of the text"),
    ("Chat", "End", "Newest message"),
    ("Lists", "Up / Down, Home / End", "Move through rows"),
    ("Lists", "Enter", "Open the chosen row"),
    ("Lists", "Space", "Play the chosen row"),
    ("Clips", "A / R", "Accept or reject the selected clips"),
    ("Clips", "E", "Edit the words of the clip; Enter keeps them"),
    ("Clips", "T / S", "Trim or split the clip; arrows move the handle, Enter does it"),
    ("Clips", "Shift or Ctrl", "Select several; Ctrl+A selects all"),
    ("Clips", "Delete / Ctrl+Z", "Delete, and take the last change back"),
    ("Clips", "+ / \u2212", "Zoom into the picture of the clip"),
    ("Timeline", "Left / Right", "Earlier and later bar; Enter opens its turn"),
    ("Timeline", "+ / \u2212, End", "Zoom; follow the newest"),
    ("Live chat", "Up / Down", "From line to line; why each was answered or not"),
    ("Live chat", "A / Delete", "Allow or drop what is held; Delete skips what waits"),
    ("Live chat", "N / Enter", "Answer now; open the turn of an answer"),
    ("Live chat", "End", "Follow the newest line"),
    ("Recording", "Space", "Start and stop"),
    ("Recording", "Enter / R / P", "Keep and go on, again, hear it"),
    ("Anywhere", "Tab / Shift+Tab", "Next and previous control"),
)
"""Keys that belong to one place; the keys page shows them after the commands."""
