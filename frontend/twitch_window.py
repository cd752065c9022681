"""The window of Twitch: join a channel, with or without a login, and log in by a code that is typed in the browser.

The code is made by the backend; this window shows it, waits, and says what came of it. No token ever comes here.
"""

from __future__ import annotations

import tkinter as tk
import webbrowser
from datetime import UTC, datetime
from functools import partial
from typing import Any, Protocol
from urllib.parse import urlsplit

from backend.contracts.twitch import TwitchLogin
from frontend.audience import Audience, clock_words, plain
from frontend.client import Failure
from frontend.owner import WindowOwner
from frontend.widgets.controls import Button, Radio, Words, picture_label
from frontend.widgets.field import Field
from frontend.widgets.toplevel import OneWindow

SIZE = (600, 620)
SMALLEST = (460, 360)
SECOND_MS = 1000
ASK_EVERY = 2
"""Seconds between two looks at a login that waits: events may be lost, and somebody is waiting."""
LOGIN = "/api/twitch/login"
NO_APPLICATION = "TWITCH_CLIENT_ID"
DOTS = {
    "off": "text3",
    "connecting": "warn",
    "joined": "ok",
    "reconnecting": "warn",
    "failed": "error",
}
TITLES = {
    "off": "Not connected",
    "connecting": "Connecting...",
    "joined": "Connected",
    "reconnecting": "Connecting again...",
    "failed": "Not connected",
}


class Owner(WindowOwner, Protocol):
    """What this window needs of the main window."""

    @property
    def audience(self) -> Audience:
        """How the channel and the login are."""

    def open_settings(self, field: str = "") -> None:
        """Open the settings window, scrolled to a setting."""


class TwitchWindow(OneWindow):
    """The window; closed while a login waits, the login goes on waiting."""

    @classmethod
    def open(cls, owner: Owner) -> TwitchWindow:
        """Show it."""
        window = cls.one(lambda: cls(owner))
        window.channel.entry.focus_force()
        return window

    def __init__(self, owner: Owner) -> None:
        super().__init__(owner.root, owner.theme, "Luma: Twitch")
        self._owner = owner
        self._audience = owner.audience
        self._seconds = 0
        self._is_asking = False
        self._login_shown: tuple[Any, ...] = ()
        self._id_button: Button | None = None
        theme = owner.theme
        foot = self._foot()
        Button(foot, theme, "Close", self.close, key="Esc", height=30).pack(side="right")
        Button(
            foot, theme, "Settings", partial(owner.open_settings, "TWITCH_CHANNEL"), icon="gear",
            kind="plain", height=30,
        ).pack(side="left")  # fmt: skip
        self._scroll = self._scrolled()
        body = self._scroll.inner
        Words(body, theme, "Twitch", "h1").pack(fill="x")
        self._build_state(body)
        self._build_channel(self._card(body, "Channel", "stream"))
        self._login_body = self._card(body, "Login", "key")
        self._ends = [self._audience.listen(("channel",), self._show)]
        self._show()
        self._appear(SIZE, SMALLEST)
        self._ask()
        self._count()

    # --- building

    def _card(self, body: tk.Misc, title: str, icon: str) -> tk.Frame:
        theme, px = self._theme, self._theme.px
        card = self._outlined(body)
        head = tk.Frame(card)
        theme.tint(head, background="surface")
        head.pack(fill="x", padx=px(16), pady=(px(12), px(6)))
        picture_label(head, theme, icon, 18, "text2", "surface").pack(side="left", padx=(0, px(8)))
        Words(head, theme, title, "bodyb", "text", "surface").pack(side="left")
        inner = tk.Frame(card)
        theme.tint(inner, background="surface")
        inner.pack(fill="x", padx=px(16), pady=(0, px(12)))
        return inner

    def _build_state(self, body: tk.Misc) -> None:
        theme, px = self._theme, self._theme.px
        line = tk.Frame(body)
        theme.tint(line, background="bg")
        line.pack(fill="x", pady=(px(4), px(2)))
        self._dot = tk.Label(line, text="\u25cf", font=theme.font("small"), borderwidth=0)
        theme.tint(self._dot, background="bg", foreground="text3")
        self._dot.pack(side="left", padx=(0, px(8)))
        self.state_words = Words(line, theme, "", "bodyb")
        self.state_words.pack(side="left", fill="x", expand=True)
        self.detail = self._label(body, "bg")
        self.detail.pack(fill="x", pady=(0, px(12)))

    def _label(self, master: tk.Misc, surface: str = "surface", color: str = "text2") -> tk.Label:
        theme = self._theme
        made = tk.Label(
            master, font=theme.font("small"), anchor="w", justify="left", borderwidth=0, padx=0
        )
        theme.tint(made, background=surface, foreground=color)
        made.bind(
            "<Configure>", lambda event: made.configure(wraplength=max(theme.px(120), event.width))
        )
        return made

    def _build_channel(self, body: tk.Frame) -> None:
        theme, px = self._theme, self._theme.px
        line = tk.Frame(body)
        theme.tint(line, background="surface")
        line.pack(fill="x")
        Words(line, theme, "twitch.tv/", "body", "text3", "surface").pack(side="left")
        self.connect_button = Button(
            line, theme, "Connect", self.connect, icon="stream", surface="surface", height=32
        )
        self.connect_button.pack(side="right")
        self.leave_button = Button(
            line, theme, "Leave", self._audience.disconnect, surface="surface", height=32
        )
        self.channel = Field(
            line, theme, placeholder="name of the channel", surface="surface",
            on_enter=lambda _: self.connect(), label="Name of the channel",
            on_change=lambda _: self._say_channel("", "text2"),
        )  # fmt: skip
        self.channel.pack(side="left", fill="x", expand=True, padx=px(6))
        ways = tk.Frame(body)
        theme.tint(ways, background="surface")
        ways.pack(fill="x", pady=(px(8), 0))
        self.ways: dict[str, Radio] = {}
        for way, words in (
            ("anonymous", "Read along without a login: nothing can be written there"),
            ("login", "With your login: she reads, writes, and sees follows and raids"),
        ):
            radio = Radio(ways, theme, words, partial(self._choose, way), on=way == "anonymous")
            radio.pack(anchor="w")
            self.ways[way] = radio
        self._is_chosen = False
        self.channel_trouble = self._label(body)
        self._say_channel("", "text2")

    # --- showing

    def _show(self) -> None:
        state, audience = self._audience.channel, self._audience
        if state is None:
            words = audience.missing.get("twitch", "Asking the backend how Twitch is...")
            self.state_words.show("Twitch")
            self.detail.configure(text=words)
        else:
            title = TITLES[state.state]
            if state.state == "joined":
                title = f"Connected to {plain(state.channel, 40)}"
                title += f" as {plain(state.user, 40)}" if state.user else ", reading only"
            self.state_words.show(title)
            self._theme.tint(self._dot, foreground=DOTS[state.state])
            self.detail.configure(text=plain(state.detail, 300))
            if state.channel and not self.channel.text:
                self.channel.set(state.channel)
        is_on = state is not None and state.state in ("joined", "connecting", "reconnecting")
        if is_on:
            self.leave_button.pack(side="right", before=self.connect_button)
        else:
            self.leave_button.pack_forget()
        is_in = self._login.state == "in"
        if not self._is_chosen or not is_in:
            for way, radio in self.ways.items():
                radio.set((way == "login") == is_in)
        self._show_connect()
        self.connect_button.enable(state is not None and not self._is_asking)
        self.ways["login"].enable(is_in)
        self._show_login()

    def _show_connect(self) -> None:
        """The next step is to connect, also when the channel is joined in the other way."""
        state = self._audience.channel
        is_on = state is not None and state.state in ("joined", "connecting", "reconnecting")
        way = "anonymous" if self.ways["anonymous"].on else "login"
        is_other = state is not None and state.state == "joined" and state.mode != way
        words = "Connect" if not is_on else "Use the login" if way == "login" else "Read only"
        self.connect_button.set(words if not is_on or is_other else "Connect again")
        is_next = (not is_on or is_other) and self._login.state != "waiting"
        self.connect_button.set(kind="accent" if is_next else "ghost")

    @property
    def _login(self) -> TwitchLogin:
        return self._audience.login or TwitchLogin()

    def _show_login(self) -> None:
        login = self._login
        key = (login.state, login.user, login.detail, login.code, login.missing)
        if key == self._login_shown:
            return
        self._login_shown = key
        for child in self._login_body.winfo_children():
            child.destroy()
        {
            "waiting": self._build_waiting,
            "in": self._build_in,
        }.get(login.state, self._build_out)(self._login_body, login)

    def _build_out(self, body: tk.Frame, login: TwitchLogin) -> None:
        px = self._theme.px
        words = {
            "none": "Log in so that she can write into the chat and sees who follows, subscribes and raids. "
            "Twitch shows a page that asks for a code; your password stays between you and Twitch.",
            "over": login.detail or "The login has ended. Log in again.",
            "failed": login.detail or "Logging in did not work. Try it again.",
        }[login.state if login.state in ("none", "over", "failed") else "none"]
        made = self._label(body, color="text2" if login.state == "none" else "warn")
        made.configure(text=plain(words, 500))
        made.pack(fill="x", pady=(0, px(8)))
        line = self._line(body)
        self.login_button = Button(
            line, self._theme, "Log in", self.begin, icon="key", surface="surface", height=32
        )
        self.login_button.pack(side="left")
        if login.state == "over":
            self._forget_button(line)
        self.login_trouble = self._label(body, color="error")

    def _build_waiting(self, body: tk.Frame, login: TwitchLogin) -> None:
        theme, px = self._theme, self._theme.px
        made = self._label(body)
        made.configure(text="1.  Open Twitch.   2.  Type this code there, and say yes.")
        made.pack(fill="x")
        line = self._line(body)
        line.pack_configure(pady=(px(8), px(8)))
        self.code = Words(line, theme, login.code, "big", "text", "surface")
        self.code.configure(font=theme.font("big"))
        self.code.pack(side="left", padx=(0, px(14)))
        Button(
            line, theme, "Copy", self._copy, icon="copy", surface="surface", height=32,
            tip="Copy the code",
        ).pack(side="left")  # fmt: skip
        Button(
            line, theme, "Open Twitch", self._browse, icon="open", kind="accent",
            surface="surface", height=32, tip="Opens the page in your browser, with the code in it",
        ).pack(side="left")  # fmt: skip
        below = self._line(body)
        self.left_words = Words(below, theme, "", "small", "text2", "surface")
        self.left_words.pack(side="left", fill="x", expand=True)
        Button(
            below, theme, "Cancel", self._cancel, kind="plain", surface="surface", height=28
        ).pack(side="right")
        self.login_trouble = self._label(body, color="error")
        self._show_left()

    def _build_in(self, body: tk.Frame, login: TwitchLogin) -> None:
        theme, px = self._theme, self._theme.px
        line = self._line(body)
        picture_label(line, theme, "check", 16, "ok", "surface").pack(side="left", padx=(0, px(8)))
        who = f"Logged in as {plain(login.user, 40)}" if login.user else "There is a login"
        Words(line, theme, who, "smallb", "text", "surface").pack(side="left")
        words = "" if login.detail.startswith("Logged in as") else login.detail
        if login.expires_at is not None:
            when = f"{login.expires_at.astimezone():%A %H:%M}"
            words = words or (
                f"It is good until {when}, and renewed by itself before."
                if login.is_renewable
                else f"It ends on {when}; then log in again."
            )
        if login.missing:
            words += f" Not allowed: {', '.join(login.missing)}. Log in again to allow it."
        made = self._label(body, color="warn" if login.missing else "text2")
        made.configure(text=plain(words, 500))
        made.pack(fill="x", pady=(px(4), px(8)))
        line = self._line(body)
        Button(
            line, theme, "Log in as somebody else", self.begin, icon="key", surface="surface",
            height=30,
        ).pack(side="left")  # fmt: skip
        self._forget_button(line)
        self.login_trouble = self._label(body, color="error")

    def _forget_button(self, line: tk.Frame) -> None:
        Button(
            line, self._theme, "Forget this login", self._forget, icon="trash", color="error",
            surface="surface", height=30, tip="Ends it at Twitch too, and keeps nothing of it",
        ).pack(side="left")  # fmt: skip

    def _line(self, body: tk.Frame) -> tk.Frame:
        line = tk.Frame(body)
        self._theme.tint(line, background="surface")
        line.pack(fill="x")
        return line

    def _show_left(self) -> None:
        login = self._login
        if login.state != "waiting" or not self.left_words.winfo_exists():
            return
        left = 0.0
        if login.code_ends_at is not None:
            left = (login.code_ends_at - datetime.now(UTC)).total_seconds()
        if login.code_ends_at is not None and left <= 0:
            self.left_words.show("The code has run out. Cancel, and log in again.", "warn")
        else:
            ends = f" The code is good for {clock_words(left)}." if login.code_ends_at else ""
            self.left_words.show(f"Waiting for you to say yes at Twitch...{ends}", "text2")

    # --- requests

    def connect(self) -> None:
        """Join the channel that is named."""
        name = channel_of(self.channel.text)
        if not name:
            self.channel.mark(True)
            self._say_channel("Give the name of a channel: what stands behind twitch.tv/.", "error")
            return
        self.channel.mark(False)
        self._is_asking = True
        self.connect_button.enable(False)
        self._say_channel(f"Joining {name}...", "text2")
        # While nobody has logged in it is read without a login anyway; who logs in later is to write at once.
        is_anonymous = self.ways["anonymous"].on and self._login.state != "none"
        self._audience.connect(
            name, anonymous=is_anonymous, then=self._joined, failed=self._not_joined
        )

    def begin(self) -> None:
        """Ask for a code."""
        self._say_login("")
        self._owner.backend.post(LOGIN, {}, self._took_login, self._login_failed)

    def _joined(self) -> None:
        self._is_asking = False
        if self._is_open:
            self._say_channel("", "text2")
            self._show()

    def _not_joined(self, failure: Failure) -> None:
        self._is_asking = False
        if self._is_open:
            self._say_channel(failure.message, "error")
            self._show()

    def _cancel(self) -> None:
        self._owner.backend.post(f"{LOGIN}/cancel", {}, self._took_login, self._login_failed)

    def _forget(self) -> None:
        self._owner.backend.delete(LOGIN, None, self._took_login, self._login_failed)

    def _took_login(self, value: Any) -> None:
        self._audience.took_login(value)
        if self._is_open:
            self._ask()

    def _login_failed(self, failure: Failure) -> None:
        if self._is_open:
            self._say_login(failure.message)

    def _ask(self) -> None:
        self._audience.load_channel()

    def _copy(self) -> None:
        self.clipboard_clear()
        self.clipboard_append(self._login.code)
        self.left_words.show("Copied. Now open Twitch and paste it there.", "text2")

    def _browse(self) -> None:
        url = self._login.url
        if urlsplit(url).scheme in ("https", "http"):  # nothing else is for a browser
            webbrowser.open(url)

    def _choose(self, way: str, _on: bool) -> None:
        self._is_chosen = True
        for name, radio in self.ways.items():
            radio.set(name == way)
        self._show_connect()

    def _say_channel(self, words: str, color: str) -> None:
        self.channel_trouble.configure(text=words)
        self._theme.tint(self.channel_trouble, foreground=color)
        if words:
            self.channel_trouble.pack(fill="x", pady=(self._theme.px(8), 0))
        else:
            self.channel_trouble.pack_forget()
            self.channel.mark(False)

    def _say_login(self, words: str) -> None:
        if self._id_button is not None:
            self._id_button.destroy()
            self._id_button = None
        self.login_trouble.configure(text=words)
        if not words:
            self.login_trouble.pack_forget()
            return
        self.login_trouble.pack(fill="x", pady=(self._theme.px(8), 0))
        if NO_APPLICATION in words:
            self._theme.tint(self.login_trouble, foreground="warn")
            self._id_button = Button(
                self._login_body,
                self._theme,
                "Enter the client id",
                partial(self._owner.open_settings, NO_APPLICATION),
                icon="gear",
                surface="surface",
                height=28,
            )
            self._id_button.pack(anchor="w", pady=(self._theme.px(4), 0))

    def _count(self) -> None:
        """Once a second: how long the code is good, and whether somebody has said yes."""
        self._job = self.after(SECOND_MS, self._count)
        if self._login.state == "waiting":
            self._seconds += 1
            self._show_left()
            if self._seconds % ASK_EVERY == 0:
                self._ask()


def channel_of(text: str) -> str:
    """A channel's name out of what was typed: a name, "@name", or the address of its page; empty = none."""
    text = text.strip().removeprefix("https://").removeprefix("http://").removeprefix("www.")
    text = text.removeprefix("twitch.tv/").strip("/@# ").lower()
    return text if text.isascii() and text.replace("_", "").isalnum() and len(text) <= 25 else ""
