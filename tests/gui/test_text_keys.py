"""Keys in text fields do what they do in other programs."""

from __future__ import annotations

import tkinter as tk
from collections.abc import Iterator

import pytest

from frontend.widgets.text_keys import teach_text_keys

pytestmark = pytest.mark.gui


@pytest.fixture
def root() -> Iterator[tk.Tk]:
    made = tk.Tk()
    teach_text_keys(made)
    yield made
    made.destroy()


@pytest.mark.parametrize("kind", [tk.Entry, tk.Text])
def test_ctrl_a_selects_all_and_a_paste_replaces_it(
    root: tk.Tk, kind: type[tk.Entry] | type[tk.Text]
) -> None:
    field = kind(root)
    field.pack()
    field.insert("end", "old words")
    root.clipboard_clear()
    root.clipboard_append("new")
    field.focus_force()
    root.update()
    field.event_generate("<Control-a>")
    field.event_generate("<<Paste>>")
    root.update()
    shown = field.get() if isinstance(field, tk.Entry) else field.get("1.0", "end-1c")
    assert shown == "new"
    field.event_generate("<<Paste>>")
    root.update()
    shown = field.get() if isinstance(field, tk.Entry) else field.get("1.0", "end-1c")
    assert shown == "newnew"
