"""Where the streamer writes on the Stream tab: to her, aloud through her, or into the chat as the bot."""

from __future__ import annotations

import tkinter as tk
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, Protocol

from backend.contracts.audience import ChannelState
from backend.contracts.entities import STAGE
from frontend.audience import Audience
from frontend.client import BackendClient, Failure
from frontend.theme import Theme
from frontend.widgets.controls import Button, Dropdown
from frontend.widgets.field import Field
from frontend.widgets.popup import Choice

Way = Literal["ask", "say", "write"]

HEIGHT = 44.0
WRITE_S = 70.0
"""Twitch takes twenty messages in half a minute; what is over waits up to a minute in the backend."""
WHERE = "Ctrl+Shift+T"


@dataclass(frozen=True, slots=True)
class Words:
    """What a way is called.

    Attributes:
        title: In the list.
        detail: What becomes of the text.
        icon: Before the words.
        ghost: In the empty field.
        button: On the button.
    """

    title: str
    detail: str
    icon: str
    ghost: str
    button: str


WAYS: dict[Way, Words] = {
    "ask": Words("Ask her", "she answers on stage", "chat", "Ask or tell her something", "Ask"),
    "say": Words("Say aloud", "she says it word for word", "volume", "Words for her to say", "Say"),
    "write": Words("To chat", "written by the bot, not spoken", "stream", "Write to chat", "Send"),
}


class Owner(Protocol):
    """What the box needs of the window."""

    @property
    def backend(self) -> BackendClient:
        """Where the text goes."""

    @property
    def theme(self) -> Theme:
        """Colours, fonts, sizes."""

    @property
    def audience(self) -> Audience:
        """Whether the chat can be written into."""

    @property
    def state(self) -> dict[str, Any]:
        """Which way was used last."""

    def notify(self, text: str, severity: Literal["info", "ok", "warn", "error"] = "info") -> None:
        """Say why a text did not go."""


class SayBox(tk.Frame):
    """One line: which way, the text, and the button. Enter sends, Up and Down choose the way.

    Args:
        master: Where it lives.
        owner: The window.
        surface: What it lies on.
    """

    def __init__(self, master: tk.Misc, owner: Owner, surface: str = "surface") -> None:
        theme = owner.theme
        super().__init__(master, height=theme.px(HEIGHT), borderwidth=0, highlightthickness=0)
        self.pack_propagate(False)
        self._owner = owner
        theme.tint(self, background=surface)
        self.way: Way = _way(owner.state.get("stream.way"))
        self.ways = Dropdown(
            self, theme, [], lambda value: self.choose(_way(value)), value=self.way, width=116,
            height=32, surface=surface, label="What becomes of the text",
            tip="What becomes of the text   Up and Down in the field",
        )  # fmt: skip
        self.field = Field(
            self, theme, on_change=lambda _: self._enable(), on_enter=lambda _: self.submit(),
            surface=surface, label="Your words",
        )  # fmt: skip
        self.button = Button(
            self, theme, "Send", self.submit, icon="send", kind="soft", surface=surface, height=32,
            tip="Enter",
        )  # fmt: skip
        self.ways.pack(side="left", padx=(theme.px(4), 0))
        self.button.pack(side="right", padx=(0, theme.px(4)))
        self.field.pack(side="left", fill="x", expand=True, padx=theme.px(4))
        for key, step in (("<Up>", -1), ("<Down>", 1)):
            self.field.entry.bind(key, partial(self._walk, step))
        self._end = owner.audience.listen(("channel",), self._show)
        self.bind("<Destroy>", self._gone, add="+")
        self._show()

    @property
    def reason(self) -> str:
        """Why nothing can be written into the chat; empty when it can."""
        return why_not(self._owner.audience.channel)

    def choose(self, way: Way) -> None:
        """Send that way from now on."""
        self.way = self._owner.state["stream.way"] = way
        self._show()

    def submit(self) -> str:
        """Send what is written."""
        text, owner = self.field.text.strip(), self._owner
        if not text:
            return "break"
        if owner.backend.connection.state != "connected":
            owner.notify("Not connected to the backend: your words were kept.", "warn")
        elif self.way == "write" and self.reason:
            owner.notify(f"Not written into the chat. {self.reason}", "warn")
        else:
            self.field.set("")
            self._enable()
            self._hand_over(text)
        return "break"

    def _hand_over(self, text: str) -> None:
        backend, failed = self._owner.backend, partial(self._failed, text)
        if self.way == "ask":
            body = {"message": text, "conversation_id": STAGE, "origin": "window"}
            backend.command("chat", body, None, failed)
        elif self.way == "say":
            backend.post("/api/say", {"text": text}, None, failed)
        else:
            took: Callable[[Any], None] = partial(self._took, text)
            backend.post("/api/twitch/say", {"text": text}, took, failed, timeout_s=WRITE_S)

    def _took(self, text: str, value: Any) -> None:
        """Twitch has answered; that it was sent does not mean that it took it."""
        if isinstance(value, dict) and not value.get("is_sent", True):
            why = str(value.get("detail") or value.get("drop_reason") or "it gave no reason")
            self._keep(text)
            self._owner.notify(f"Twitch did not take it: {why}", "error")

    def _failed(self, text: str, failure: Failure) -> None:
        self._keep(text)
        self._owner.notify(f"Not sent: {failure.message}", "error")

    def _keep(self, text: str) -> None:
        """Nothing that was written gets lost."""
        if self.winfo_exists() and not self.field.text.strip():
            self.field.set(text)
            self._enable()

    def _walk(self, step: int, _event: object) -> str:
        ways = list(WAYS)
        self.choose(ways[(ways.index(self.way) + step) % len(ways)])
        return "break"

    def _show(self) -> None:
        channel, reason, words = self._owner.audience.channel, self.reason, WAYS[self.way]
        self.ways.set_choices(
            [
                Choice(
                    way, one.title, reason if way == "write" and reason else one.detail, one.icon
                )
                for way, one in WAYS.items()
            ],
            self.way,
        )
        ghost = words.ghost
        if self.way == "write":
            user = channel.user if channel is not None else ""
            ghost = reason or (f"{ghost} as {user}" if user else ghost)
        self.field.set_placeholder(ghost)
        self.button.set(words.button, words.icon if self.way == "say" else "send")
        self._enable()

    def _enable(self) -> None:
        reason = self.reason if self.way == "write" else ""
        self.button.enable(bool(self.field.text.strip()) and not reason)
        self.button.tooltip.text = reason or f"{WAYS[self.way].detail}   Enter"

    def _gone(self, event: tk.Event[tk.Misc]) -> None:
        if event.widget is self:
            self._end()


def why_not(channel: ChannelState | None) -> str:
    """Why nothing can be written into a chat and what to do; empty when it can."""
    if channel is None or channel.state != "joined":
        return f"Not connected to a chat: {WHERE} connects."
    if channel.mode != "login":
        return f"You read along without a login: {WHERE} logs in."
    if not channel.can_write:
        return channel.detail or f"The login may not write: {WHERE} logs in again."
    return ""


def _way(value: object) -> Way:
    return next((way for way in WAYS if way == value), "ask")
