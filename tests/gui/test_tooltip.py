"""Words beside a control: they come by pointer and by keyboard, and go again."""

from __future__ import annotations

import tkinter as tk
from collections.abc import Iterator
from time import monotonic

import pytest

from frontend.theme import Theme
from frontend.widgets import tooltip
from frontend.widgets.tooltip import Tooltip

pytestmark = pytest.mark.gui


@pytest.fixture
def root(monkeypatch: pytest.MonkeyPatch) -> Iterator[tk.Tk]:
    monkeypatch.setattr(tooltip, "DELAY_MS", 20)
    monkeypatch.setattr(tooltip, "FOCUS_MS", 150)
    made = tk.Tk()
    made.geometry("300x200+0+0")
    yield made
    made.destroy()


def labels(root: tk.Tk) -> list[str]:
    return [one["text"] for one in root.winfo_children() if isinstance(one, tk.Label)]


def run(root: tk.Tk, wanted: list[str], limit_s: float = 20.0) -> None:
    """Let the window work until these words are shown."""
    end = monotonic() + limit_s
    while labels(root) != wanted:
        assert monotonic() < end, labels(root)
        root.update()


def held(root: tk.Tk) -> tk.Frame:
    frame = tk.Frame(root, width=80, height=30, takefocus=1)
    frame.pack()
    Tooltip(frame, Theme(root, "dark", 1.0), "Save and end")
    root.update()
    return frame


def test_what_the_keyboard_showed_goes_by_itself(root: tk.Tk) -> None:
    frame = held(root)
    frame.event_generate("<FocusIn>")
    run(root, ["Save and end"])
    run(root, [])


def test_pointer_and_keyboard_together_leave_nothing_behind(root: tk.Tk) -> None:
    frame = held(root)
    frame.event_generate("<FocusIn>")
    run(root, ["Save and end"])
    frame.event_generate("<Enter>")
    end = monotonic() + 0.3
    while monotonic() < end:
        root.update()
        assert labels(root) in ([], ["Save and end"])
    frame.event_generate("<Leave>")
    run(root, [])


def test_words_that_change_while_they_are_shown_are_shown_anew(root: tk.Tk) -> None:
    frame = tk.Frame(root, width=80, height=30)
    frame.pack()
    tip = Tooltip(frame, Theme(root, "dark", 1.0), "The microphone is closed.")
    root.update()
    frame.event_generate("<Enter>")
    run(root, ["The microphone is closed."])
    tip.text = "Listening."
    assert labels(root) == ["Listening."]
    tip.text = ""
    assert labels(root) == []


def test_only_one_is_shown_at_a_time(root: tk.Tk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tooltip, "FOCUS_MS", 60_000)
    theme = Theme(root, "dark", 1.0)
    for words in ("first", "second"):
        frame = tk.Frame(root, width=80, height=30)
        frame.pack()
        Tooltip(frame, theme, words)
    root.update()
    first, second = (one for one in root.winfo_children() if isinstance(one, tk.Frame))
    first.event_generate("<FocusIn>")
    run(root, ["first"])
    second.event_generate("<Enter>")
    run(root, ["second"])
