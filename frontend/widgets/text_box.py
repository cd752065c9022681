"""A text field of several lines in a drawn box: it grows with its words, Tab leaves it, the outline shows the focus."""

from __future__ import annotations

import tkinter as tk
from collections.abc import Callable

from frontend.draw import Painter
from frontend.theme import FontName, Theme
from frontend.widgets.focus import focused

PAD, SIDE = 8, 10


class TextBox(tk.Canvas):
    """Several lines of text.

    Args:
        master: Where it lives.
        theme: The window's theme.
        on_change: Called with the text after each change by a person.
        label: What it is called, for people who cannot see it and for tests.
        placeholder: Shown while it is empty.
        lines: Its height when empty.
        most: It grows to this many lines, then it scrolls.
    """

    def __init__(
        self,
        master: tk.Misc,
        theme: Theme,
        on_change: Callable[[str], object],
        *,
        label: str,
        placeholder: str = "",
        lines: int = 2,
        most: int = 12,
        surface: str = "surface",
        font: FontName = "small",
    ) -> None:
        super().__init__(master, width=1, highlightthickness=0, borderwidth=0)
        self.theme = theme
        self.label = label
        self._painter = Painter(self, theme)
        self._on_change = on_change
        self._lines, self._most = lines, most
        self._font: FontName = font
        self._quiet = False
        self._job: str | None = None
        self.text = tk.Text(
            self,
            height=1,
            width=1,
            wrap="word",
            font=theme.font(font),
            borderwidth=0,
            highlightthickness=0,
            padx=0,
            pady=0,
            undo=True,
            maxundo=200,
        )
        self.text.label = label  # type: ignore[attr-defined]  # its name for people who cannot see it
        self._ghost = tk.Label(
            self.text, text=placeholder, font=theme.font(font), borderwidth=0, cursor="xterm"
        )
        theme.tint(self, background=surface)
        theme.tint(
            self.text,
            background="raised",
            foreground="text",
            insertbackground="accent",
            selectbackground="accent",
            selectforeground="on_accent",
        )
        theme.tint(self._ghost, background="raised", foreground="text3")
        theme.on_change(self, self._draw)
        self._window = self.create_window(0, 0, window=self.text, anchor="nw")
        self.configure(height=self._height(lines))
        for widget in (self, self._ghost):
            widget.bind("<ButtonPress-1>", lambda _: self.text.focus_set())
        self.bind("<Configure>", lambda _: self._measure_soon())
        self.bind("<Destroy>", lambda _: self._stop(), add="+")
        for sequence in ("<FocusIn>", "<FocusOut>"):
            self.text.bind(sequence, lambda _: self._draw(), add="+")
        self.text.bind("<<Modified>>", lambda _: self.report())
        self.text.bind("<Tab>", lambda _: self._leave(self.text.tk_focusNext()))
        for sequence in ("<Shift-Tab>", "<ISO_Left_Tab>"):
            try:
                self.text.bind(sequence, lambda _: self._leave(self.text.tk_focusPrev()))
            except tk.TclError:
                continue  # the second name exists on X11 only
        for sequence, way in (("<Button-4>", -1), ("<Button-5>", 1)):
            self.text.bind(sequence, lambda _, way=way: self._wheel(way))  # type: ignore[misc]  # a lambda that keeps its loop variable
        self.text.bind("<MouseWheel>", lambda event: self._wheel(-1 if event.delta > 0 else 1))
        self._show_ghost()

    @property
    def words(self) -> str:
        """What is written in it."""
        return self.text.get("1.0", "end-1c")

    def set(self, text: str) -> None:
        """Put other text in, without calling ``on_change``; the same text changes nothing."""
        if text == self.words:
            return
        self._quiet = True
        self.text.delete("1.0", "end")
        self.text.insert("1.0", text)
        self.text.edit_reset()
        self.text.edit_modified(False)
        self._quiet = False
        self._show_ghost()
        self._measure_soon()

    def report(self) -> None:
        """Report a change now; Tk tells of it only after the key's own handling."""
        if not self.text.edit_modified():
            return
        self.text.edit_modified(False)
        self._show_ghost()
        self._measure_soon()
        if not self._quiet:
            self._on_change(self.words)

    def _show_ghost(self) -> None:
        if self.text.compare("end-1c", "==", "1.0"):
            self._ghost.place(x=0, y=0, anchor="nw")
        else:
            self._ghost.place_forget()

    def _leave(self, target: tk.Misc | None) -> str:
        if target is not None:
            target.focus_set()
        return "break"

    def _wheel(self, way: int) -> str | None:
        """Scroll the words while there are more of them, then the page they lie on."""
        first, last = self.text.yview()
        if (way < 0 and first > 0.001) or (way > 0 and last < 0.999):
            self.text.yview_scroll(2 * way, "units")
            return "break"
        return None

    def _measure_soon(self) -> None:
        if self._job is None:
            self._job = self.after_idle(self._measure)

    def _measure(self) -> None:
        self._stop()
        self._draw()
        counted = self.text.count("1.0", "end", "displaylines")
        shown = counted[0] if isinstance(counted, tuple) else counted or 1
        high = self._height(max(self._lines, min(self._most, shown)))
        if high != int(self.cget("height")):
            self.configure(height=high)

    def _height(self, lines: int) -> int:
        return lines * self.theme.font(self._font).metrics("linespace") + 2 * self.theme.px(PAD)

    def _stop(self) -> None:
        if self._job is not None:
            self.after_cancel(self._job)
            self._job = None

    def _draw(self) -> None:
        p, t = self._painter, self.theme
        if self.winfo_width() <= 1:
            return
        p.clear("art")  # the text stays: taking it off the canvas would cost it the focus
        has_focus = focused(self) is self.text
        outline, line = ("accent", max(1, t.px(2))) if has_focus else ("line2", 1)
        p.box(0, 0, p.width, p.height, "raised", outline, 6, line, "art")
        side, edge = t.px(SIDE), t.px(PAD)
        self.coords(self._window, side, edge)
        self.itemconfigure(
            self._window,
            width=max(1, self.winfo_width() - 2 * side),
            height=max(1, self.winfo_height() - 2 * edge),
        )
