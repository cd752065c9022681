"""The messages of a conversation in one Text widget: fluent with thousands, native selection and copy.

A message is a `Message`; the view keeps the newest and can be built anew from them at any time (theme, resize of pictures).
Avatars reach over two lines of text as two half pictures, stage bars are pictures, actions are pictures with tags: no
widget per message, so scrolling costs one millisecond however many there are.
"""

from __future__ import annotations

import tkinter as tk
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from PIL import Image, ImageDraw, ImageTk

from backend.contracts.entities import Span
from frontend.draw import OVERSAMPLE, Painter, fit, icon, photo
from frontend.pictures import Avatars
from frontend.theme import Theme, rgb
from frontend.widgets.controls import Button, Scrollbar
from frontend.widgets.reply_text import ReplyText
from frontend.widgets.tooltip import Tooltip

KEPT = 500
LONGEST_SHOWN = 20_000  # characters of one message
COLUMN = 620
PAD = 24
INDENT = PAD + 46
RIGHT = 52  # words keep clear of the button in the upper right corner
AVATAR = 32
BAR = 200
BAR_MS = 1500  # a full stage bar
SMALLEST_COLUMN = 120
LONGEST_WORD = 60
LONGEST_WIDE = 30  # letters of Chinese and Japanese are twice as wide

ORIGINS = {
    "microphone": "from the microphone",
    "page": "typed on a web page",
    "ws": "spoken on a web page",
    "asr": "from a recogniser",
    "client-ws": "from a client",
}
"""Where a message came from, in words; others say their name."""

Action = Literal["play", "stop", "copy", "open"]
ACTIONS: tuple[tuple[Action, str, str], ...] = (
    ("play", "play", "Play again   Space"),
    ("copy", "copy", "Copy   C"),
    ("open", "open", "Open the turn   Enter"),
)


@dataclass
class Message:
    """One message as it is shown.

    Attributes:
        key: Unique in the view.
        turn_id: Its turn.
        kind: "user", "reply", "note" (a line in the middle), "strip" (something the operator should know).
        author: Who.
        at: When, local time.
        text: The words of a user, note or strip.
        origin: Where a user's message came from.
        character_id: Whose reply.
        emotion: Of a reply.
        reply: The words of a reply.
        state: What a running reply does ("Thinking"); empty when it is over.
        spans, first_audio_ms, total_ms, outcome: Of a finished turn.
        severity: Of a strip.
        live: What a user's message being spoken does ("speaking"); empty for one that was said.
    """

    key: str
    turn_id: str
    kind: Literal["user", "reply", "note", "strip"]
    author: str = ""
    at: datetime | None = None
    text: str = ""
    origin: str = ""
    character_id: str = ""
    emotion: str = ""
    reply: ReplyText = field(default_factory=ReplyText)
    state: str = ""
    spans: tuple[Span, ...] = ()
    first_audio_ms: float | None = None
    total_ms: float = 0.0
    outcome: str = ""
    severity: str = "warn"
    has_sound: bool = False
    live: str = ""

    @property
    def words(self) -> str:
        """What copying gives."""
        return self.reply.text if self.kind == "reply" else self.text


@dataclass
class _Shown:
    """What of a reply is in the widget right now."""

    number: int
    text: str = ""
    draft: str = ""
    held: list[ImageTk.PhotoImage] = field(default_factory=list)
    faces: list[ImageTk.PhotoImage] = field(default_factory=list)
    bars: ImageTk.PhotoImage | None = None
    strip: tk.Canvas | None = None


def came_from(origin: str) -> str:
    """Where a message came from, in words; what a recogniser adds behind a dot stays."""
    head, dot, rest = origin.partition("  \u00b7  ")
    return (ORIGINS.get(head) or f"from {head.removeprefix('viewers:')}") + dot + rest


class ConversationView(tk.Frame):
    """The messages.

    Args:
        master: Where it lives.
        theme: The window's theme.
        avatars: Pictures of the characters.
        act: Called with an action and the message.
        choose: Called with a message that was clicked or walked to.
        want_older: Called when the user has scrolled to the oldest.
    """

    def __init__(
        self,
        master: tk.Misc,
        theme: Theme,
        avatars: Avatars,
        *,
        act: Callable[[Action, Message], object],
        choose: Callable[[Message], object],
        want_older: Callable[[], object],
    ) -> None:
        super().__init__(master)
        self.messages: OrderedDict[str, Message] = OrderedDict()
        self.chosen = ""
        self.label = "Messages"
        self._theme = theme
        self._avatars = avatars
        self._act = act
        self._choose = choose
        self._want_older = want_older
        self._shown: dict[str, _Shown] = {}
        self._dirty: set[str] = set()
        self._width_job: str | None = None
        self._hovered: tuple[str, str] = ("", "")
        self._beat = 0
        self._unseen = 0
        self._level = 0.0
        self._made = 0
        self._sticks = True
        """Whether the newest line is kept in view: until the user scrolls away from it."""
        theme.tint(self, background="bg")
        self.text = tk.Text(
            self,
            wrap="word",
            state="disabled",
            font=theme.font("body"),
            relief="flat",
            borderwidth=0,
            highlightthickness=0,
            padx=0,
            pady=theme.px(8),
            cursor="arrow",
            insertwidth=0,
            exportselection=True,
            takefocus=1,
            undo=False,
        )
        self.text.label = "Messages"  # type: ignore[attr-defined]  # its name for people who cannot see it
        theme.tint(
            self.text,
            background="bg",
            foreground="text",
            selectbackground="accent_soft",
            inactiveselectbackground="accent_soft",
            selectforeground="text",
        )
        # How "+ n chars" counts an emoji differs between versions of Tk: ask this one.
        self.text.configure(state="normal")
        self.text.insert("1.0", "\U0001f98a.")
        self._emoji = 1 if self.text.get("1.0+1c") == "." else 2
        self.text.delete("1.0", "end")
        self.text.configure(state="disabled")
        bar = Scrollbar(self, theme, self._scroll)
        bar.pack(side="right", fill="y")
        self.text.pack(side="left", fill="both", expand=True)
        self._bar = bar
        self.text.configure(yscrollcommand=self._scrolled)
        self._tip = Tooltip(self.text, theme)
        self._newest = Button(
            self, theme, "Newest", self.to_end, icon="down", kind="soft", key="End", height=28
        )
        self._configure_tags()
        self._bind_keys()

    # --- messages -------------------------------------------------------------------------------------------------

    def add(self, message: Message) -> None:
        """Put a message at the end."""
        if message.key in self.messages:
            return
        with self._writing():
            self.messages[message.key] = message
            self._insert(message, "end-1c")
            while len(self.messages) > KEPT and self.at_end():
                self._drop(next(iter(self.messages)))
        if not self.at_end():
            self._unseen += message.kind in ("user", "reply")
            self._show_newest()

    def remove(self, key: str) -> None:
        """Take a message out, wherever it stands."""
        if key in self.messages:
            with self._writing():
                self._take_out(key, self.mark("b", key))

    def add_older(self, messages: list[Message]) -> None:
        """Put messages before all others; what is visible stays where it is."""
        fresh = [message for message in messages if message.key not in self.messages]
        if not fresh:
            return
        top = self.text.index("@0,0")
        before = int(float(self.text.index("end-1c")))
        first = next(iter(self.messages), None)
        with self._writing(stay=True):
            for message in reversed(fresh):
                self.messages[message.key] = message
                self.messages.move_to_end(message.key, last=False)
                self._insert(message, "1.0")
                if first is not None:  # the mark of the message below stayed at the top
                    self.text.mark_set(self.mark("b", first), self.mark("z", message.key))
                    self.text.mark_gravity(self.mark("b", first), "left")
                first = message.key
        added = int(float(self.text.index("end-1c"))) - before
        line, column = top.split(".")
        self.text.yview(f"{int(line) + added}.{column}")

    def show_all(self, messages: list[Message]) -> None:
        """Show these and nothing else, scrolled to the end."""
        with self._writing():
            self._empty()
            for message in messages[-KEPT:]:
                self.messages[message.key] = message
                self._insert(message, "end-1c")
        self.to_end()

    def clear(self) -> None:
        """Remove all messages."""
        with self._writing():
            self._empty()

    def rebuild(self) -> None:
        """Draw everything again, after a change of theme."""
        messages = list(self.messages.values())
        place = self.text.yview()[0]
        at_end = self.at_end()
        self._configure_tags()
        self.show_all(messages)
        if not at_end:
            self._sticks = False
            self.text.yview_moveto(place)

    def touch(self, key: str) -> None:
        """A message changed; it is drawn at the next `flush`."""
        if key in self.messages:
            self._dirty.add(key)

    def flush(self) -> None:
        """Draw what was touched, all in one go."""
        if not self._dirty:
            return
        dirty, self._dirty = self._dirty, set()
        with self._writing():
            for key in dirty:
                message = self.messages.get(key)
                if message is not None and message.kind == "reply":
                    self._update(message)
                elif message is not None and message.kind == "user":
                    self._write_spoken(message)

    def pulse(self, level: float) -> None:
        """The loudness (0-1) of what is heard, for the small bars beside "Speaking"."""
        self._level = level
        self._beat += 1
        speaking = [m for m in self.messages.values() if m.kind == "reply" and m.state]
        for message in speaking[-2:]:
            shown = self._shown.get(message.key)
            if shown is not None and shown.bars is not None:
                shown.bars.paste(self._bars_image())

    def at_end(self) -> bool:
        """Whether the newest line is in view and stays there."""
        return self._sticks

    def to_end(self) -> None:
        """Scroll to the newest message."""
        self._sticks = True
        self.text.yview_moveto(1.0)
        self._unseen = 0
        self._show_newest()

    def select(self, key: str) -> None:
        """Mark a message as the one shown in the inspector."""
        old, self.chosen = self.chosen, key
        for each in (old, key):
            if each in self.messages:
                self._mark_chosen(each)

    def see(self, key: str) -> None:
        """Scroll until a message is visible."""
        if key in self.messages:
            self.text.see(self.mark("b", key))
            self._scrolled_by_hand()

    def mark(self, kind: str, key: str) -> str:
        """Name of a mark of a shown message: b begin, t words, d draft, n end of words, e emotion, f g foot, z end.

        Numbered, because a key with a minus sign or a space would read as a calculation in an index.
        """
        return f"{kind}:{self._shown[key].number}"

    # --- inside ---------------------------------------------------------------------------------------------------

    def _configure_tags(self) -> None:
        t, text, px = self._theme, self.text, self._theme.px
        right = self._right_margin()
        gap = px(14)
        body = t.font("body")
        # 22 px from line to line, as in the design, whatever the font's own line box.
        lead = max(0, px(22) - body.metrics("linespace"))
        text.tag_configure(
            "head", lmargin1=px(PAD), lmargin2=px(INDENT), rmargin=px(PAD), spacing3=0
        )
        text.tag_configure("name", font=t.font("bodyb"), foreground=t.color("text"))
        text.tag_configure("meta", font=t.font("cap"), foreground=t.color("text3"))
        chip = t.mix("llm", "bg", 0.84 if t.name == "dark" else 0.93)
        text.tag_configure("chip", font=t.font("cap"), foreground=t.color("llm"), background=chip)
        text.tag_configure(
            "first", lmargin1=px(PAD), lmargin2=px(INDENT), rmargin=right, spacing2=lead
        )
        text.tag_configure(
            "more",
            lmargin1=px(INDENT),
            lmargin2=px(INDENT),
            rmargin=right,
            spacing1=lead,
            spacing2=lead,
        )
        text.tag_configure("wide", wrap="char")
        text.tag_configure("foot", lmargin1=px(INDENT), lmargin2=px(INDENT), spacing1=px(5))
        text.tag_configure("gap", font=("TkFixedFont", -2), spacing1=0, spacing3=gap)
        text.tag_configure(
            "note",
            justify="center",
            font=t.font("cap"),
            foreground=t.color("text3"),
            spacing1=px(2),
            spacing3=gap,
        )
        text.tag_configure("strip", lmargin1=px(INDENT), spacing1=px(2), spacing3=0)
        text.tag_configure("todo", foreground=t.color("text3"))
        text.tag_configure("draft", foreground=t.color("text3"))
        text.tag_configure("failed", foreground=t.color("text3"))
        text.tag_configure("live", font=t.font("cap"), foreground=t.color("text3"))
        text.tag_configure("figure", font=t.font("cap"), foreground=t.color("text2"))
        text.tag_configure("chosen", font=t.font("capb"), foreground=t.color("accent"))
        text.tag_raise("chosen")
        text.tag_raise("todo")
        text.tag_raise("draft")
        text.tag_raise("sel")

    def _bind_keys(self) -> None:
        text = self.text
        text.bind("<Configure>", self._resized)
        text.bind("<<WidgetViewSync>>", self._synced)
        for sequence in ("<Button-4>", "<Button-5>", "<MouseWheel>"):
            text.bind(sequence, self._wheel, add="+")
        text.bind("<ButtonRelease-1>", self._clicked, add="+")
        text.bind("<ButtonPress-1>", lambda _: text.focus_set(), add="+")
        text.bind("<Motion>", self._moved)
        text.bind("<Leave>", lambda _: self._unhover())
        text.bind("<Button-3>", self._menu)
        text.bind("<Button-2>", self._menu)
        for sequence, step in (("<Up>", -1), ("<Down>", 1)):
            text.bind(sequence, lambda _, step=step: self._walk(step))  # type: ignore[misc]  # a lambda that keeps its loop variable
        text.bind("<Home>", lambda _: self._edge(0.0))
        text.bind("<End>", lambda _: self._edge(1.0))
        text.bind("<Prior>", lambda _: self._page(-1))
        text.bind("<Next>", lambda _: self._page(1))
        text.bind("<Return>", lambda _: self._chosen_act("open"))
        text.bind("<space>", lambda _: self._chosen_act("play"))
        text.bind("<Key-c>", lambda _: self._chosen_act("copy"))
        text.bind("<Tab>", self._tab)
        text.bind("<Shift-Tab>", self._back_tab)
        text.bind("<ISO_Left_Tab>", self._back_tab) if self._has_left_tab() else None
        text.bind("<FocusIn>", lambda _: self._ring(True), add="+")
        text.bind("<FocusOut>", lambda _: self._ring(False), add="+")

    def _has_left_tab(self) -> bool:
        return str(self.tk.call("tk", "windowingsystem")) == "x11"

    def _scroll(self, *step: str | float) -> None:
        """The scroll bar was moved."""
        self.text.yview(*step)
        self._scrolled_by_hand()

    def _scrolled_by_hand(self) -> None:
        self._sticks = self.text.yview()[1] > 0.9995
        if self._sticks and self._unseen:
            self._unseen = 0
            self._show_newest()

    def _wheel(self, _event: object) -> None:
        self.after_idle(self._scrolled_by_hand)  # after Tk's own binding has scrolled

    def _synced(self, _event: object) -> None:
        """Tk measures long texts later: keep the end in view when it has."""
        if self._sticks:
            self.text.yview_moveto(1.0)

    def _count(self, words: str) -> int:
        """Characters as this Tk counts them in "+ n chars"."""
        extra = self._emoji - 1
        return len(words) + (extra and extra * sum(1 for letter in words if ord(letter) > 0xFFFF))

    def _ring(self, focused: bool) -> None:
        line = self._theme.px(2) if focused else 0
        color = self._theme.color("accent")
        self.configure(highlightthickness=line, highlightcolor=color, highlightbackground=color)

    def _tab(self, _event: object) -> str:
        found = self.text.tk_focusNext()
        if found is not None:
            found.focus_set()
        return "break"

    def _back_tab(self, _event: object) -> str:
        found = self.text.tk_focusPrev()
        if found is not None:
            found.focus_set()
        return "break"

    @contextmanager
    def _writing(self, *, stay: bool = False) -> Iterator[None]:
        """Let the widget be changed; afterwards the newest line is visible again if it was before."""
        self.text.configure(state="normal")
        try:
            yield
        finally:
            self.text.configure(state="disabled")
            if self._sticks and not stay:
                self.text.yview_moveto(1.0)

    def _empty(self) -> None:
        self.text.delete("1.0", "end")
        for name in self.text.mark_names():
            if name[:2] in ("b:", "t:", "d:", "n:", "e:", "f:", "g:", "z:"):
                self.text.mark_unset(name)
        for shown in self._shown.values():
            if shown.strip is not None:
                shown.strip.destroy()
        self._shown.clear()
        self.messages = OrderedDict()
        self._dirty.clear()
        self._unseen = 0

    def _drop(self, key: str) -> None:
        """Take the oldest message out."""
        self._take_out(key, "1.0")

    def _take_out(self, key: str, begin: str) -> None:
        self.text.delete(begin, self.mark("z", key))
        for kind in "btdnefgz":
            self.text.mark_unset(self.mark(kind, key))
        shown = self._shown.pop(key, None)
        if shown is not None and shown.strip is not None:
            shown.strip.destroy()
        del self.messages[key]

    def _insert(self, message: Message, where: str) -> None:
        """Write a message's lines at an index."""
        text, key = self.text, message.key
        self._made += 1
        shown = self._shown[key] = _Shown(self._made)
        # A cursor mark with right gravity walks along while the pieces are inserted before it.
        text.mark_set("at", where)
        text.mark_gravity("at", "right")
        text.mark_set(self.mark("b", key), where)
        text.mark_gravity(self.mark("b", key), "left")
        text.mark_set(self.mark("z", key), where)
        text.mark_gravity(self.mark("z", key), "right")
        if message.kind == "note":
            self._put(message.text + "\n", "note")
        elif message.kind == "strip":
            shown.strip = Strip(self.text, self._theme, message, lambda: self._act("open", message))
            shown.strip.fit(self._column())
            text.window_create("at", window=shown.strip)
            self._put("\n", "strip")
            text.tag_add("strip", self.mark("b", key), "at")
            self._put("\n", "gap")
        else:
            self._insert_words(message, shown)
        text.mark_gravity(self.mark("z", key), "left")

    def _insert_words(self, message: Message, shown: _Shown) -> None:
        text, key, t = self.text, message.key, self._theme
        pictures = self._faces(message, shown)
        self._picture(pictures[0], "bottom", ("head",))
        self._put(fit(t, message.author or "?", "bodyb", t.px(260)), "head", "name")
        when = f"   {message.at:%H:%M:%S}" if message.at is not None else ""
        if not message.live and message.origin not in ("", "window", "api"):
            when += f"   {came_from(message.origin)}"
        self._put(when, "head", "meta")
        text.mark_set(self.mark("e", key), "at")  # where the emotion goes, or what a speaker does
        text.mark_gravity(self.mark("e", key), "left")
        if message.live:
            self._put(f"   {message.live}", "head", "meta")
        self._put("\n", "head")
        self._picture(pictures[1], "top", ("first",))
        text.mark_set(self.mark("t", key), "at")
        text.mark_gravity(self.mark("t", key), "left")
        if message.kind == "user":
            shown.text, shown.draft = message.text, message.live
            self._put_body(message.text[:LONGEST_SHOWN], *(("draft",) if message.live else ()))
            self._put("\n", "more")
            if breaks_anywhere(message.text):
                text.tag_add("wide", f"{self.mark('t', key)} linestart", "at")
            self._put("\n", "gap")
            return
        for mark, gravity in (("d", "left"), ("n", "right")):  # around the draft
            text.mark_set(self.mark(mark, key), "at")
            text.mark_gravity(self.mark(mark, key), gravity)  # type: ignore[call-overload]  # typeshed knows fewer words than Tk
        text.mark_gravity(self.mark("n", key), "left")
        self._put("\n", "more")
        text.mark_gravity(self.mark("n", key), "right")
        for mark, gravity in (("f", "left"), ("g", "right")):  # around the foot
            text.mark_set(self.mark(mark, key), "at")
            text.mark_gravity(self.mark(mark, key), gravity)  # type: ignore[call-overload]  # typeshed knows fewer words than Tk
        text.mark_gravity(self.mark("g", key), "left")
        self._put("\n", "gap")
        text.mark_gravity(self.mark("g", key), "right")
        if message.emotion:
            self._chip(message, shown)
        self._write_reply(message, shown)

    def _faces(self, message: Message, shown: _Shown) -> list[ImageTk.PhotoImage]:
        """The avatar as two halves: one ends with the line of the name, one begins with the first line of words."""
        t = self._theme
        cut = min(t.font("bodyb").metrics("linespace"), t.px(AVATAR) - 1)
        shown.faces = [
            self._avatars.picture(
                message.character_id,
                message.emotion or "neutral",
                AVATAR,
                part,
                cut=cut,
                width=t.px(INDENT - PAD),
            )
            for part in ("top", "bottom")
        ]
        return shown.faces

    def _put(self, words: str, *tags: str) -> None:
        self.text.insert("at", words, tags)

    def _put_body(self, words: str, *tags: str) -> None:
        """A body of several lines: only the first shares its line with the avatar."""
        first, newline, rest = words.replace("\x00", "").partition("\n")
        self._put(first, "first", *tags)
        if newline:
            self._put(newline + rest, "more", *tags)

    def _picture(
        self,
        picture: ImageTk.PhotoImage,
        align: Literal["top", "bottom", "center"],
        tags: tuple[str, ...],
    ) -> None:
        self.text.image_create("at", image=picture, align=align)
        for tag in tags:
            self.text.tag_add(tag, "at-1c")

    def _chip(self, message: Message, shown: _Shown) -> None:
        """The emotion behind the time: words between two round ends."""
        text, t = self.text, self._theme
        where = self.mark("e", message.key)
        high = t.font("bodyb").metrics("linespace")
        fill = t.mix("llm", "bg", 0.84 if t.name == "dark" else 0.93)
        ends = [
            photo(t, ("chip", side, high, fill), lambda side=side: _chip_end(side, high, fill))  # type: ignore[misc]  # a lambda that keeps its loop variable
            for side in ("left", "right")
        ]
        shown.held += ends
        text.mark_set("at", where)
        text.mark_gravity("at", "right")
        text.mark_gravity(where, "left")
        self._put("   ", "head", "meta")
        self._picture(ends[0], "center", ("head",))
        self._put(message.emotion[:24], "head", "chip")
        self._picture(ends[1], "center", ("head",))

    def _update(self, message: Message) -> None:
        shown = self._shown.get(message.key)
        if shown is None:
            return
        at = self.mark("e", message.key)
        if message.emotion and self.text.get(at) == "\n":
            self._chip(message, shown)
            top, bottom = self._faces(message, shown)
            self.text.image_configure(self.mark("b", message.key), image=top)
            self.text.image_configure(f"{self.mark('t', message.key)}-1c", image=bottom)
        self._write_reply(message, shown)

    def _write_spoken(self, message: Message) -> None:
        """Bring a message that is being spoken up to date: what was read of it so far, dim."""
        shown = self._shown.get(message.key)
        if (
            shown is None
            or not message.live
            or (message.text, message.live)
            == (
                shown.text,
                shown.draft,
            )
        ):
            return
        text, key = self.text, message.key
        start, end = self.mark("t", key), f"{self.mark('z', key)}-2c"
        text.tag_remove("wide", f"{start} linestart", end)
        text.delete(start, end)
        text.mark_set("at", start)
        text.mark_gravity("at", "right")
        self._put_body(message.text[:LONGEST_SHOWN], "draft")
        text.mark_gravity(start, "left")
        if breaks_anywhere(message.text):
            text.tag_add("wide", f"{start} linestart", f"{self.mark('z', key)}-2c")
        if message.live != shown.draft:
            place = self.mark("e", key)
            text.delete(place, f"{place} lineend")
            text.mark_set("at", place)
            text.mark_gravity("at", "right")
            self._put(f"   {message.live}", "head", "meta")
        shown.text, shown.draft = message.text, message.live

    def _write_reply(self, message: Message, shown: _Shown) -> None:
        """Bring the words, what of them was heard, and the foot up to date."""
        text, key, reply = self.text, message.key, message.reply
        whole = reply.text[:LONGEST_SHOWN]
        draft = reply.draft if not reply.ended else ""
        if not whole and not draft and message.outcome == "failed":
            draft = "No reply."
        if not whole.startswith(shown.text):  # rewritten: interrupted or moderated
            text.delete(self.mark("t", key), self.mark("n", key))
            text.mark_set(self.mark("d", key), self.mark("t", key))
            shown.text = shown.draft = ""
        added = whole[len(shown.text) :]
        if added or draft != shown.draft:
            if shown.draft:
                text.delete(self.mark("d", key), self.mark("n", key))
            text.mark_set("at", self.mark("d", key))
            text.mark_gravity("at", "right")
            if added:
                if "\n" in shown.text:
                    self._put(added, "more")
                else:
                    self._put_body(added)
                text.mark_set(self.mark("d", key), "at")
            self._put(draft, "first" if "\n" not in whole else "more", "draft")
            text.mark_gravity(self.mark("d", key), "left")
            shown.text, shown.draft = whole, draft
        text.tag_remove("todo", self.mark("t", key), self.mark("d", key))
        heard = reply.heard_text()
        if len(heard) < len(whole):
            text.tag_add(
                "todo", f"{self.mark('t', key)}+{self._count(heard)}c", self.mark("d", key)
            )
        text.tag_remove("wide", f"{self.mark('t', key)} linestart", self.mark("n", key))
        if breaks_anywhere(whole + draft):
            text.tag_add("wide", f"{self.mark('t', key)} linestart", f"{self.mark('n', key)}+1c")
        self._write_foot(message, shown)

    def _write_foot(self, message: Message, shown: _Shown) -> None:
        text, key, t = self.text, message.key, self._theme
        start, end = self.mark("f", key), self.mark("g", key)
        text.delete(start, end)
        text.mark_set("at", start)
        text.mark_gravity("at", "right")
        if message.state:
            if shown.bars is None:
                shown.bars = ImageTk.PhotoImage(self._bars_image(), master=self)
            self._picture(shown.bars, "center", ("foot",))
            self._put(f"   {message.state}     ", "foot", "live")
            stop = icon(t, "stop", 14, "text2")
            shown.held = [*shown.held[:2], stop]
            self._picture(stop, "center", ("foot", "act", f"act:stop:{key}"))
        elif message.spans or message.outcome:
            parts: list[tuple[str, float]] = [
                (span.stage, span.duration_ms) for span in before_sound(message.spans)
            ]
            total = message.first_audio_ms or sum(ms for _, ms in parts)
            shown.bars = None
            key_of = ("bar", tuple(parts), t.scale, t.name)
            bar = photo(t, key_of, lambda: self._bar_image(parts))
            shown.held = [*shown.held[:2], bar]  # the chip's ends stay
            self._picture(bar, "center", ("foot", "act", f"act:open:{key}"))
            what = "first audio" if message.first_audio_ms is not None else "written in"
            if not message.spans:
                what, figure = message.outcome, ""
            else:
                figure = f" {seconds_in_words(total)}"
            self._put(f"   {what}{figure}", "foot", "figure", "act", f"act:open:{key}")
            count = len(parts)
            mark = "" if message.outcome in ("", "done") else f"   {message.outcome}"
            self._put(f"   {count} stages{mark}     " if count else "     ", "foot", "live")
            for action, name, _ in ACTIONS:
                if action == "play" and not message.has_sound:
                    continue
                picture = icon(t, name, 14, "text3")
                shown.held.append(picture)
                self._picture(picture, "center", ("foot", "act", f"act:{action}:{key}"))
                self._put("   ", "foot", "live")
        else:
            return
        self._put("\n", "foot")
        if key == self.chosen:
            self._mark_chosen(key)

    def _mark_chosen(self, key: str) -> None:
        """The foot of the chosen reply is tinted."""
        start = self.mark("f", key)
        try:
            line = self.text.index(f"{start} linestart")
        except tk.TclError:  # a user's message has no foot
            return
        if key == self.chosen and not self.messages[key].state:
            self.text.tag_add("chosen", line, f"{line} lineend")
        else:
            self.text.tag_remove("chosen", line, f"{line} lineend")

    def _bar_image(self, parts: list[tuple[str, float]]) -> Image.Image:
        """The stages of a turn up to its first sound, full at 1.5 s."""
        t = self._theme
        wide, high = t.px(BAR), t.px(6)
        image = Image.new("RGB", (wide, high), rgb(t.mix("line", "bg", 0.35)))
        pen = ImageDraw.Draw(image)
        total = max(BAR_MS, sum(ms for _, ms in parts))
        at = 0.0
        for stage, ms in parts:
            length = wide * ms / total
            if length >= 0.5:
                pen.rectangle(
                    (round(at), 0, max(round(at), round(at + length) - 2), high),
                    fill=t.color(stage),
                )
            at += length
        return image

    def _bars_image(self) -> Image.Image:
        """Five small bars that move with the sound."""
        t = self._theme
        wide, high = t.px(24), t.px(14)
        image = Image.new("RGB", (wide, high), rgb(t.color("bg")))
        pen = ImageDraw.Draw(image)
        for number in range(5):
            wave = (0.35, 0.8, 0.55, 1.0, 0.45)[(number + self._beat) % 5]
            size = max(t.px(3), round(high * (0.25 + 0.75 * self._level * wave)))
            x = number * t.px(5)
            top = (high - size) // 2
            pen.rectangle((x, top, x + t.px(3) - 1, top + size - 1), fill=t.color("accent"))
        return image

    def _column(self) -> int:
        """Width of the text column, real pixels."""
        width = self.text.winfo_width()
        t = self._theme
        return max(t.px(SMALLEST_COLUMN), min(t.px(COLUMN), width - t.px(INDENT + RIGHT)))

    def _right_margin(self) -> int:
        width = self.text.winfo_width()
        t = self._theme
        least = t.px(RIGHT)
        return max(least, width - t.px(INDENT) - t.px(COLUMN)) if width > 1 else least

    def _resized(self, _event: object) -> None:
        if self._width_job is None:
            self._width_job = self.after_idle(self._set_width)

    def _set_width(self) -> None:
        self._width_job = None
        right = self._right_margin()
        at_end = self.at_end()
        for tag in ("first", "more"):
            self.text.tag_configure(tag, rmargin=right)
        for shown in self._shown.values():
            if isinstance(shown.strip, Strip):
                shown.strip.fit(self._column())
        if at_end:
            self.text.yview_moveto(1.0)

    def _scrolled(self, first: str | float, last: str | float) -> None:
        self._bar.set(first, last)
        if float(first) <= 0.02 and float(last) < 1.0 and self.messages:
            self._want_older()

    def _show_newest(self) -> None:
        if self._unseen:
            self._newest.set(text=f"{self._unseen} new")
            self._newest.place(relx=0.5, rely=1.0, y=-self._theme.px(8), anchor="s")
            tk.Misc.tkraise(self._newest)  # a canvas' own lift raises items
        else:
            self._newest.place_forget()

    # --- pointer and keys -----------------------------------------------------------------------------------------

    def _at(self, x: int, y: int) -> tuple[str, str]:
        """Action and message key under the pointer; empty where there is none."""
        index = self.text.index(f"@{x},{y}")
        box = self.text.bbox(index)
        if box is None or not (box[0] <= x < box[0] + box[2] and box[1] <= y < box[1] + box[3]):
            return "", ""
        for tag in self.text.tag_names(index):
            if tag.startswith("act:"):
                _, action, key = tag.split(":", 2)
                return action, key
        return "", ""

    def _message_at(self, y: int) -> Message | None:
        index = self.text.index(f"@0,{y}")
        found: Message | None = None
        low, keys = 0, list(self.messages)
        high = len(keys)
        while low < high:  # block starts are in order
            middle = (low + high) // 2
            if self.text.compare(self.mark("b", keys[middle]), "<=", index):
                found = self.messages[keys[middle]]
                low = middle + 1
            else:
                high = middle
        return found

    def _clicked(self, event: tk.Event[tk.Misc]) -> None:
        if self.text.tag_ranges("sel"):
            return
        action, key = self._at(event.x, event.y)
        message = self.messages.get(key)
        if message is not None and action in ("play", "stop", "copy", "open"):
            self._act(action, message)  # type: ignore[arg-type]  # checked on this line's condition

    def _moved(self, event: tk.Event[tk.Misc]) -> None:
        found = self._at(event.x, event.y)
        if found == self._hovered:
            return
        self._hovered = found
        self._tip.hide()
        action = found[0]
        self.text.configure(cursor="hand2" if action else "xterm")
        tips: dict[str, str] = {name: tip for name, _, tip in ACTIONS}
        tips["stop"] = "Stop   Esc"
        self._tip.text = tips.get(action, "")
        if self._tip.text:
            x, y = self.text.winfo_rootx() + event.x, self.text.winfo_rooty() + event.y
            self.text.after(500, lambda: self._tip_if(found, x, y))

    def _tip_if(self, found: tuple[str, str], x: int, y: int) -> None:
        if found == self._hovered and found[0]:
            self._tip.show_at(x, y + self._theme.px(12))

    def _unhover(self) -> None:
        self._hovered = ("", "")

    def _menu(self, event: tk.Event[tk.Misc]) -> str:
        message = self._message_at(event.y)
        menu = tk.Menu(self.text, tearoff=False)
        if self.text.tag_ranges("sel"):
            menu.add_command(
                label="Copy the selection", command=lambda: self.text.event_generate("<<Copy>>")
            )
        if message is not None and message.words:
            menu.add_command(label="Copy the message", command=lambda: self._act("copy", message))
        if message is not None and message.has_sound:
            menu.add_command(label="Play again", command=lambda: self._act("play", message))
        if message is not None and message.kind == "reply":
            menu.add_command(label="Open the turn", command=lambda: self._act("open", message))
        if menu.index("end") is not None:
            menu.tk_popup(event.x_root, event.y_root)
        return "break"

    def _replies(self) -> list[Message]:
        return [message for message in self.messages.values() if message.kind in ("reply", "user")]

    def _walk(self, step: int) -> str:
        """Up and Down go from message to message."""
        rows = self._replies()
        if rows:
            keys = [row.key for row in rows]
            at = keys.index(self.chosen) if self.chosen in keys else len(keys)
            message = rows[max(0, min(len(rows) - 1, at + step))]
            self._choose(message)
            self.see(message.key)
        return "break"

    def _edge(self, place: float) -> str:
        if place == 1.0:
            self.to_end()
        else:
            self.text.yview_moveto(0.0)
            self._scrolled_by_hand()
        return "break"

    def _page(self, step: int) -> str:
        self.text.yview_scroll(step, "pages")
        self._scrolled_by_hand()
        return "break"

    def _chosen_act(self, action: Action) -> str:
        message = self.messages.get(self.chosen)
        if message is not None and (action != "play" or message.has_sound):
            self._act(action, message)
        return "break"


class Strip(tk.Canvas):
    """Something that went wrong, for the operator: an amber box with the words and a way to the details."""

    def __init__(
        self, master: tk.Misc, theme: Theme, message: Message, details: Callable[[], object]
    ) -> None:
        super().__init__(
            master, height=theme.px(40), highlightthickness=0, borderwidth=0, takefocus=0
        )
        self._theme = theme
        self._message = message
        self._details = details
        self._painter = Painter(self, theme)
        self.configure(cursor="hand2", background=theme.color("bg"))
        self.bind("<ButtonRelease-1>", lambda _: self._details())
        for sequence in ("<Button-4>", "<Button-5>", "<MouseWheel>"):
            self.bind(sequence, self._wheel)

    def fit(self, width: int) -> None:
        """Draw at a width in real pixels; the height follows the words."""
        t, p = self._theme, self._painter
        p.clear()
        color = self._message.severity
        words = width / t.scale - 120
        item = p.text(46, 11, self._message.text[:600], "small", "text", "nw", width=words)
        box = self.bbox(item)
        high = max(40.0, (box[3] - box[1]) / t.scale + 22)
        self.delete(item)
        self.configure(width=width, height=t.px(high))
        wide = width / t.scale
        p.box(0, 0, wide, high, f"{color}_soft", t.mix(color, "bg", 0.6), 8)
        p.icon(20, high / 2, "warn", 16, color)
        p.text(40, high / 2, self._message.text[:600], "small", "text", "w", width=words + 6)
        p.text(wide - 14, high / 2, "Details", "smallb", "accent", "e")

    def _wheel(self, event: tk.Event[tk.Misc]) -> str:
        up = event.num == 4 or event.delta > 0
        # The message list scrolls, as if the strip were text.
        self.master.event_generate("<Button-4>" if up else "<Button-5>")
        return "break"


def breaks_anywhere(text: str) -> bool:
    """Whether lines may break between any two letters: mostly Chinese and Japanese, or words too long for a line.

    Tk breaks at spaces only, so such a text would leave a hole behind the name and then break anywhere all the same.
    """
    wide = sum(1 for letter in text if "\u2e80" <= letter <= "\u9fff" or "\uff00" <= letter)
    if wide * 2 > len(text):
        return True
    first = text.split(maxsplit=1)[0] if text.strip() else ""
    if sum(1 for letter in first if letter >= "\u2e80") > LONGEST_WIDE:
        return True  # it would leave the line of the avatar empty, whatever follows
    # One long link in a message must not cut all its other words.
    return 2 * sum(len(word) for word in text.split() if len(word) > LONGEST_WORD) > len(text)


def before_sound(spans: Iterable[Span]) -> list[Span]:
    """The spans up to the first sound: what a listener waited for."""
    return [span for span in spans if span.name not in ("speaking", "remaining_speech")]


def seconds_in_words(ms: float) -> str:
    """How long somebody waited: "0.85 s", or "8 ms" where two digits of a second say nothing."""
    return f"{ms / 1000:.2f} s" if ms >= 100 else f"{ms:.0f} ms"


def _chip_end(side: str, high: int, fill: str) -> Image.Image:
    """One round end of a chip."""
    k = OVERSAMPLE
    wide = max(4, high // 2)
    image = Image.new("RGBA", (wide * k, high * k), (*rgb(fill), 0))
    left = 0 if side == "left" else -wide * k
    ImageDraw.Draw(image).rounded_rectangle(
        (left, 0, left + 2 * wide * k - 1, high * k - 1), wide * k, fill=fill
    )
    return image.resize((wide, high), Image.Resampling.LANCZOS)
