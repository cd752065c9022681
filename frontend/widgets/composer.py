"""Where a message is written: grows to six lines, remembers what was sent, Enter sends."""

from __future__ import annotations

import tkinter as tk
from collections import deque
from collections.abc import Callable

from frontend.draw import Painter
from frontend.microphone import Microphone
from frontend.theme import Theme
from frontend.widgets.controls import Button, Words
from frontend.widgets.talk import TalkButton

MOST_LINES = 6
KEPT = 100
LONGEST = 8_000
FOOT = 42
PAD = 14
HINT = "Enter sends    Shift+Enter new line    \u2191 earlier messages"
QUIET_MS = 5000
FADE = ((3800, 0.3), (4200, 0.5), (4600, 0.7))
"""Milliseconds after which a quiet line is paler, and by how much."""


class Composer(tk.Frame):
    """The box at the bottom of the chat.

    Args:
        master: Where it lives.
        theme: The window's theme.
        send: Called with the text; it returns True when the text was taken.
        microphone: What is heard; its button stands beside the one for files.
        stop: Stops the running reply.
        attach: Asks for an audio file.
        show_dropped: Shows what was said and not taken.
    """

    def __init__(
        self,
        master: tk.Misc,
        theme: Theme,
        microphone: Microphone,
        *,
        send: Callable[[str], bool],
        stop: Callable[[], object],
        attach: Callable[[], object],
        show_dropped: Callable[[tk.Misc], object],
    ) -> None:
        super().__init__(master)
        self._theme = theme
        self._send = send
        self._history: deque[str] = deque(maxlen=KEPT)
        self._at = 0
        self._written = ""
        self._focused = False
        self._dropping = False
        px = theme.px
        theme.tint(self, background="bg")
        self._canvas = tk.Canvas(self, highlightthickness=0, borderwidth=0, height=px(84))
        theme.tint(self._canvas, background="bg")
        self._canvas.pack(fill="x", padx=px(24), pady=(px(6), px(12)))
        self._painter = Painter(self._canvas, theme)
        self.text = tk.Text(
            self._canvas,
            height=1,
            wrap="word",
            relief="flat",
            borderwidth=0,
            highlightthickness=0,
            padx=0,
            pady=0,
            font=theme.font("body"),
            insertwidth=max(2, px(2)),
            undo=True,
            maxundo=200,
        )
        self.text.label = "Message"  # type: ignore[attr-defined]  # its name for people who cannot see it
        theme.tint(
            self.text,
            background="surface",
            foreground="text",
            insertbackground="accent",
            selectbackground="accent",
            selectforeground="on_accent",
        )
        self._ghost = tk.Label(
            self.text, text="", font=theme.font("body"), borderwidth=0, cursor="xterm", padx=0
        )
        theme.tint(self._ghost, background="surface", foreground="text3")
        self._ghost.bind("<ButtonPress-1>", lambda _: self.text.focus_set())
        self._foot = tk.Frame(self._canvas)
        theme.tint(self._foot, background="surface")
        self.attach_button = Button(
            self._foot,
            theme,
            icon="clip",
            kind="plain",
            surface="surface",
            height=28,
            icon_size=17,
            label="Transcribe an audio file",
            tip="Transcribe an audio file, or drop one here   Ctrl+O",
            command=attach,
        )
        self.attach_button.pack(side="left")
        self.talk_button = TalkButton(self._foot, theme, microphone)
        self.talk_button.pack(side="left")
        self.send_button = Button(
            self._foot,
            theme,
            "Send",
            self.submit,
            icon="send",
            kind="accent",
            surface="surface",
            height=28,
            tip="Send   Enter",
        )
        self.send_button.pack(side="right")
        self.stop_button = Button(
            self._foot, theme, "Stop", stop, icon="stop", key="Esc", surface="surface", height=28
        )
        self.dropped_button = Button(
            self._foot,
            theme,
            "0 not taken",
            lambda: show_dropped(self.dropped_button),
            kind="plain",
            color="text3",
            surface="surface",
            height=24,
            tip="What was said and not taken, and why",
        )
        self._hint = Words(self._foot, theme, HINT, "cap", "text3", "surface")
        self._hint.pack(side="left", fill="x", expand=True, padx=(px(8), px(8)))
        self._busy = ""
        self._quiet = ""
        self._dropped = 0
        self._fade_jobs: list[str] = []
        self.bind("<Destroy>", lambda _: self._end_fade(), add="+")
        canvas = self._canvas
        self._text_window = canvas.create_window(0, 0, window=self.text, anchor="nw")
        self._foot_window = canvas.create_window(0, 0, window=self._foot, anchor="nw")
        canvas.bind("<Configure>", lambda _: self._draw())
        canvas.bind("<ButtonPress-1>", lambda _: self.text.focus_set())
        theme.on_change(self, self._draw)
        self._bind_keys()
        self.set_placeholder("Write a message")
        self._changed()

    # --- what the tab does ----------------------------------------------------------------------------------------

    @property
    def words(self) -> str:
        """What is written."""
        return self.text.get("1.0", "end-1c")

    def set_placeholder(self, words: str) -> None:
        """Shown while nothing is written."""
        self._ghost.configure(text=words)
        self._changed()

    def put(self, words: str) -> None:
        """Replace what is written, cursor at the end."""
        self.text.delete("1.0", "end")
        self.text.insert("1.0", words)
        self.text.mark_set("insert", "end-1c")
        self.text.see("insert")
        self._changed()

    def add(self, words: str) -> None:
        """Put words behind what is written."""
        before = self.words.rstrip()
        self.put(f"{before} {words}".strip())

    def remember(self, messages: list[str]) -> None:
        """What was sent before, oldest first; Up brings it back."""
        self._history = deque(messages, maxlen=KEPT)
        self._at = len(self._history)

    def show_stop(self, running: bool) -> None:
        """Offer Stop while something is being said."""
        if running and not self.stop_button.winfo_manager():
            self.stop_button.pack(side="right", padx=(0, self._theme.px(4)), after=self.send_button)
        elif not running:
            self.stop_button.pack_forget()

    def show_work(self, words: str) -> None:
        """Say what is being done with a file; empty when done."""
        self._busy = words
        self._show_hint()

    def say_quietly(self, words: str) -> None:
        """A line that nobody has to read: it stands in the foot for a few seconds and fades."""
        self._end_fade()
        self._quiet = words
        self._show_hint()
        t = self._theme
        for at, share in FADE:
            color = t.mix("text2", "surface", share)
            self._fade_jobs.append(self.after(at, self._fade, color))
        self._fade_jobs.append(self.after(QUIET_MS, self._fade, ""))

    @property
    def hint(self) -> str:
        """What the foot says."""
        return str(self._hint.cget("text"))

    def count_dropped(self, count: int) -> None:
        """How much was said and not taken since somebody looked; a quiet line goes first."""
        self._dropped = count
        if count and not self._quiet:
            self.dropped_button.set(text=f"{min(count, 999)} not taken")
            if not self.dropped_button.winfo_manager():
                # Before the hint, which gives way.
                self.dropped_button.pack(
                    side="left", padx=(self._theme.px(4), 0), before=self._hint
                )
        else:
            self.dropped_button.pack_forget()

    def show_drop(self, over: bool) -> None:
        """Mark the box while a file is held over it."""
        if over != self._dropping:
            self._dropping = over
            self._draw()

    def submit(self) -> str:
        """Send what is written."""
        words = self.words.strip()
        if words and self._send(words[:LONGEST]):
            if not self._history or self._history[-1] != words:
                self._history.append(words)
            self._at = len(self._history)
            self._written = ""
            self.put("")
            self.text.edit_reset()
        return "break"

    # --- inside ---------------------------------------------------------------------------------------------------

    def _show_hint(self) -> None:
        words = self._busy or self._quiet or HINT
        self._hint.show(words, "accent" if self._busy else "text2" if self._quiet else "text3")

    def _fade(self, color: str) -> None:
        if color:
            if not self._busy:
                self._hint.show(self._quiet, color)
            return
        self._end_fade()
        self._quiet = ""
        self._show_hint()
        self.count_dropped(self._dropped)

    def _end_fade(self) -> None:
        for job in self._fade_jobs:
            self.after_cancel(job)
        self._fade_jobs = []

    def _bind_keys(self) -> None:
        text = self.text
        text.bind("<Return>", lambda _: self.submit())
        text.bind("<KP_Enter>", lambda _: self.submit())
        for sequence in ("<Shift-Return>", "<Control-Return>", "<Shift-KP_Enter>"):
            text.bind(sequence, lambda _: self._newline())
        text.bind("<Up>", lambda _: self._recall(-1))
        text.bind("<Down>", lambda _: self._recall(1))
        text.bind("<Tab>", lambda _: self._leave(text.tk_focusNext()))
        text.bind("<Shift-Tab>", lambda _: self._leave(text.tk_focusPrev()))
        if str(self.tk.call("tk", "windowingsystem")) == "x11":
            text.bind("<ISO_Left_Tab>", lambda _: self._leave(text.tk_focusPrev()))
        text.bind("<Control-a>", lambda _: self._select_all())
        text.bind("<<Modified>>", lambda _: self._modified())
        text.bind("<FocusIn>", lambda _: self._focus(True), add="+")
        text.bind("<FocusOut>", lambda _: self._focus(False), add="+")

    def _leave(self, to: tk.Misc | None) -> str:
        if to is not None:
            to.focus_set()
        return "break"

    def _select_all(self) -> str:
        self.text.tag_add("sel", "1.0", "end-1c")
        return "break"

    def _newline(self) -> str:
        self.text.insert("insert", "\n")
        self.text.see("insert")
        self._changed()
        return "break"

    def _recall(self, step: int) -> str | None:
        """Up in the first line and Down in the last one walk through what was sent."""
        edge = "1.0 lineend" if step < 0 else "end-1c linestart"
        on_edge = self.text.compare("insert", "<=" if step < 0 else ">=", edge)
        to = self._at + step
        if not on_edge or not 0 <= to <= len(self._history):
            return None
        if self._at == len(self._history):
            self._written = self.words
        self._at = to
        self.put(self._history[to] if to < len(self._history) else self._written)
        return "break"

    def _modified(self) -> None:
        if self.text.edit_modified():
            self.text.edit_modified(False)
            self._changed()

    def _changed(self) -> None:
        """Grow with the text, enable Send, show the placeholder."""
        empty = self.text.compare("end-1c", "==", "1.0")
        if empty:
            self._ghost.place(x=0, y=0)
        else:
            self._ghost.place_forget()
        self.send_button.enable(not empty)
        lines = 1
        if not empty:
            found = self.text.count("1.0", "end", "displaylines")
            lines = found[0] if isinstance(found, tuple) else int(found or 1)
        lines = max(1, min(MOST_LINES, lines))
        if lines != int(self.text.cget("height")):
            self.text.configure(height=lines)
            self._draw()

    def _focus(self, focused: bool) -> None:
        self._focused = focused
        self._draw()

    def _draw(self) -> None:
        t, p, canvas = self._theme, self._painter, self._canvas
        if canvas.winfo_width() <= 1:
            return
        lines = int(self.text.cget("height"))
        text_high = lines * t.font("body").metrics("linespace")
        high = t.px(PAD) + text_high + t.px(FOOT) + t.px(4)
        if int(canvas.cget("height")) != high:
            canvas.configure(height=high)
        p.clear("art")
        edge = "accent" if self._focused or self._dropping else "line2"
        width = canvas.winfo_width()
        fill = "accent_soft" if self._dropping else "surface"
        line = max(1, t.px(1.5)) if self._focused or self._dropping else 1
        p.box(0, 0, width / t.scale, high / t.scale, fill, edge, 10, line, "art")
        inner = width - 2 * t.px(PAD)
        canvas.coords(self._text_window, t.px(PAD + 2), t.px(PAD))
        canvas.itemconfigure(self._text_window, width=inner, height=text_high)
        canvas.coords(self._foot_window, t.px(8), t.px(PAD) + text_high + t.px(6))
        canvas.itemconfigure(self._foot_window, width=width - t.px(18), height=t.px(36))
