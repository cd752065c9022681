"""One Tk for many windows: making one and loading its theme takes as long as all the rest of a window."""

from __future__ import annotations

import tkinter as tk
from typing import Any

CLASSES = ("all", "Luma", "Toplevel", "Text", "Entry", "Menu", "TEntry", "TCombobox", "TSpinbox")
"""Those whose keys the window changes; what a card binds to a class of its own goes with it."""
OURS = ("tkerror", "exit")
"""Commands that `tkinter.Tk` itself made."""


class SharedRoot(tk.Tk):
    """A root that is as new after `destroy`, and is not gone."""

    def __init__(self) -> None:
        super().__init__(className="Luma")
        self.withdraw()
        self._keys = {name: self._bound(name) for name in CLASSES}
        self._known_fonts = set(self.tk.splitlist(self.tk.call("font", "names")))

    def destroy(self) -> None:
        """Take everything away that a window has put there."""
        self.withdraw()
        for child in list(self.children.values()):
            child.destroy()
        for job in self.tk.splitlist(self.tk.call("after", "info")):
            self.tk.call("after", "cancel", job)
        for sequence in self._bound("."):
            self.tk.call("bind", ".", sequence, "")
        for name, keys in self._keys.items():
            for sequence, script in (dict.fromkeys(self._bound(name), "") | keys).items():
                self.tk.call("bind", name, sequence, script)
        self.protocol("WM_DELETE_WINDOW", "")
        self.minsize(1, 1)
        self.geometry("")
        self.title("Luma")
        self.option_clear()
        commands: list[str] = self._tclCommands  # type: ignore[attr-defined]  # as Tk.destroy itself does
        for name in commands:
            if name not in OURS:
                self.tk.deletecommand(name)
        commands[:] = [name for name in commands if name in OURS]
        self.__dict__.pop("report_callback_exception", None)
        for font in set(self.tk.splitlist(self.tk.call("font", "names"))) - self._known_fonts:
            self.tk.call("font", "delete", font)
        self.update()

    def _bound(self, name: str) -> dict[str, Any]:
        return {
            str(sequence): self.tk.call("bind", name, sequence)
            for sequence in self.tk.splitlist(self.tk.call("bind", name))
        }


_root: list[SharedRoot] = []


def shared_root() -> SharedRoot:
    """The root; empty."""
    if not _root:
        _root.append(SharedRoot())
    return _root[0]
