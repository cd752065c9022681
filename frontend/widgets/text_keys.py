"""Text fields behave as everywhere else: Ctrl+A selects all, pasting replaces what is selected.

On X11 Tk keeps the habits of old terminals, where Ctrl+A goes to the start of the line and a paste leaves the selection
standing.
"""

from __future__ import annotations

import tkinter as tk


def teach_text_keys(root: tk.Misc) -> None:
    """Change the bindings of all text fields of the program; call once per Tk."""
    for kind in ("Text", "Entry", "TEntry"):
        root.bind_class(kind, "<Control-a>", _select_all)
    # Tk's own paste runs afterwards: it inserts where the selection was.
    pasted = {kind: root.bind_class(kind, "<<Paste>>") for kind in ("Text", "Entry")}
    for kind, own in pasted.items():
        script = "catch {%W delete sel.first sel.last}\n" + str(own)
        root.tk.call("bind", kind, "<<Paste>>", script)


def _select_all(event: tk.Event[tk.Misc]) -> str:
    widget = event.widget
    if isinstance(widget, tk.Text):
        widget.tag_add("sel", "1.0", "end-1c")
        widget.mark_set("insert", "end-1c")
    elif isinstance(widget, tk.Entry):
        widget.selection_range(0, "end")
        widget.icursor("end")
    return "break"
