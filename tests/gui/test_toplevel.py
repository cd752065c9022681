"""What all windows over the main one do alike."""

from __future__ import annotations

import tkinter as tk
from collections.abc import Iterator

import pytest

from frontend.theme import Theme
from frontend.widgets.toplevel import OneWindow

pytestmark = pytest.mark.gui


class Plain(OneWindow):
    """One that notes what it was told."""

    def __init__(self, master: tk.Misc, theme: Theme, seen: list[str]) -> None:
        super().__init__(master, theme, "Plain")
        self.seen = seen
        self.inner = tk.Frame(self)
        self.inner.pack()
        self._ends = [lambda: seen.append("hears no more")]
        self.job = self._job = self.after(600_000, lambda: seen.append("went on without a window"))
        self._appear((300, 200), (100, 80))

    def _gone(self) -> None:
        self.seen.append("gone")


class Other(OneWindow):
    """Another kind."""


@pytest.fixture
def root() -> Iterator[tk.Tk]:
    made = tk.Tk()
    made.geometry("800x600+100+50")
    made.update()
    yield made
    made.destroy()


@pytest.fixture
def theme(root: tk.Tk) -> Theme:
    return Theme(root, "dark", 1.0)


def test_who_asks_twice_gets_the_window_that_is_there(root: tk.Tk, theme: Theme) -> None:
    first = Plain.one(lambda: Plain(root, theme, []))
    assert Plain.one(lambda: pytest.fail("a second one was made")) is first
    first.close()

    second = Plain.one(lambda: Plain(root, theme, []))
    assert second is not first
    second.close()


def test_windows_of_two_kinds_stand_side_by_side(root: tk.Tk, theme: Theme) -> None:
    plain = Plain.one(lambda: Plain(root, theme, []))
    other = Other.one(lambda: Other(root, theme, "Other"))
    other._appear((200, 100), (50, 50))
    assert (Plain.current(), Other.current()) == (plain, other)
    other.close()
    assert Plain.current() is plain
    plain.close()
    assert Plain.current() is None


def test_one_that_could_not_be_built_is_not_the_one_there_is(root: tk.Tk, theme: Theme) -> None:
    def fails() -> Plain:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        Plain.one(fails)
    assert Plain.current() is None


def test_it_lies_over_the_middle_of_the_main_window(root: tk.Tk, theme: Theme) -> None:
    window = Plain.one(lambda: Plain(root, theme, []))
    root.update()
    assert (window.winfo_width(), window.winfo_height()) == (300, 200)
    middle = window.winfo_rootx() + 150, window.winfo_rooty() + 100
    assert middle == (root.winfo_rootx() + 400, root.winfo_rooty() + 300)
    assert window.minsize() == (100, 80)
    window.close()


@pytest.mark.parametrize("how", ["escape", "the system", "the code"])
def test_closed_in_any_way_it_ends_all_that_it_began(root: tk.Tk, theme: Theme, how: str) -> None:
    seen: list[str] = []
    window = Plain.one(lambda: Plain(root, theme, seen))
    root.update()
    match how:
        case "escape":
            window.focus_force()
            root.update()
            window.event_generate("<Escape>")
        case "the system":
            root.tk.call(*root.tk.splitlist(window.protocol("WM_DELETE_WINDOW")))
        case "the code":
            window.destroy()

    assert seen == ["hears no more", "gone"]
    assert window.job not in root.tk.splitlist(root.tk.call("after", "info"))
    assert Plain.current() is None


def test_a_widget_that_goes_takes_no_window_with_it(root: tk.Tk, theme: Theme) -> None:
    seen: list[str] = []
    window = Plain.one(lambda: Plain(root, theme, seen))
    window.inner.destroy()
    root.update()
    assert seen == []
    assert Plain.current() is window
    window.close()
