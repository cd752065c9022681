"""The pages for the stream: links for OBS, captions and their looks, the pages for a browser, and where her voice plays.

A link holds the overlay token, so it is never shown, only copied; new links make the old ones stop at once.
"""

from __future__ import annotations

import tkinter as tk
import webbrowser
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal, Protocol
from urllib.parse import urlencode

from backend.contracts.events import ConfigChanged, Event, ServiceChanged
from frontend.client import BackendClient, Failure
from frontend.draw import Painter
from frontend.stage import Stage
from frontend.theme import FontName, Theme
from frontend.widgets.card import Card
from frontend.widgets.controls import Button, Dropdown, Switch, Words
from frontend.widgets.popup import Choice

SINK = "AUDIO_SINK"
PAGES_SERVICE = "overlay-sound"
SINKS = {
    "speaker": "on this computer",
    "overlay": "in the overlay",
    "none": "nowhere: text only",
}
SINK_NOTES = {
    "speaker": "OBS records this computer's sound.",
    "overlay": "In OBS tick \u201cControl audio via OBS\u201d there.",
    "none": "Replies are text only.",
}
PREVIEW = 74
GAME = "#3E5A6B"
"""Colour of the stand-in for what is behind the captions."""
PREVIEW_FONTS: Mapping[str, tuple[FontName, float]] = {
    "28": ("cap", 16.0),
    "": ("smallb", 19.0),
    "64": ("h1", 25.0),
}
"""Size in the address to font and height of a line here."""
SAMPLE = ("Every fox knows a ", "shortcut home.")
PAGES = (("/webui/chat", "Chat", "chat"), ("/webui/control", "Control", "panel"))


@dataclass(frozen=True)
class CaptionLook:
    """One way captions can look: its words, and what the address says about it."""

    words: str
    query: Mapping[str, str] = field(default_factory=dict)


STYLES: Mapping[str, tuple[CaptionLook, ...]] = {
    "Size": (
        CaptionLook("medium"),
        CaptionLook("small", {"size": "28"}),
        CaptionLook("large", {"size": "64"}),
    ),
    "Letters": (
        CaptionLook("white"),
        CaptionLook("yellow", {"colour": "ffe066"}),
        CaptionLook("black", {"colour": "111111", "outline_colour": "ffffff"}),
    ),
    "Behind": (
        CaptionLook("outline"),
        CaptionLook("dark box", {"background": "101018b0", "outline": "0"}),
        CaptionLook("light box", {"background": "ffffffd0", "outline": "0"}),
    ),
    "Place": (
        CaptionLook("bottom"),
        CaptionLook("middle", {"position": "middle"}),
        CaptionLook("top", {"position": "top"}),
    ),
}
"""What can be chosen here; the first of each is what an address without it gives. The page knows more (docs/overlay.md)."""


class Owner(Protocol):
    """What the card needs of the window."""

    @property
    def backend(self) -> BackendClient:
        """Line to the backend."""

    @property
    def theme(self) -> Theme:
        """Colours, fonts, sizes."""

    @property
    def stage(self) -> Stage:
        """Settings and services."""

    def notify(self, text: str, severity: Literal["info", "ok", "warn", "error"] = "info") -> None:
        """Say something."""

    def fail(self, failure: Failure) -> None:
        """Show why a request did not work."""

    def open_settings(self, field: str = "") -> None:
        """Open the settings window, scrolled to a setting."""


class OverlayCard(Card):
    """The card."""

    def __init__(self, master: tk.Misc, app: Owner) -> None:
        super().__init__(master, app.theme, "On stream")
        self.app = app
        self.chosen = {title: looks[0] for title, looks in STYLES.items()}
        theme, px = self.theme, self.theme.px
        body = self.body
        line = self._line(0)
        self.copy_overlay = self._button(
            line, "Copy overlay link", partial(self._copy, "/overlay"), "copy", "accent"
        )
        self.copy_overlay.pack(side="left")
        self.with_captions = Switch(line, theme, "captions", tip="Show what she says below her")
        self.with_captions.pack(side="left", padx=(px(6), 0))
        self._note("Paste it in OBS as a browser source.")
        line = self._line(8)
        self.copy_captions = self._button(
            line, "Copy captions link", partial(self._copy, "/captions"), "copy", "ghost"
        )
        self.copy_captions.pack(side="left")
        grid = tk.Frame(body)
        theme.tint(grid, background="surface")
        grid.pack(fill="x", pady=(px(2), 0))
        self.styles: dict[str, Dropdown] = {}
        for number, (title, looks) in enumerate(STYLES.items()):
            row, column = divmod(number, 2)
            Words(grid, theme, title, "cap", "text2", "surface").grid(
                row=row, column=2 * column, sticky="w", padx=(px(3), px(2))
            )
            choice = self.styles[title] = Dropdown(
                grid,
                theme,
                [Choice(look.words, look.words) for look in looks],
                partial(self._styled, title),
                value=looks[0].words,
                width=84,
                height=26,
                surface="surface",
                label=f"Captions: {title}",
            )
            choice.grid(row=row, column=2 * column + 1, sticky="ew")
            grid.columnconfigure(2 * column + 1, weight=1)
        self.preview = tk.Canvas(
            body, height=px(PREVIEW), highlightthickness=0, borderwidth=0, takefocus=0
        )
        self.preview.pack(fill="x", padx=px(3), pady=(px(4), px(2)))
        self._pen = Painter(self.preview, theme)
        self.preview.bind("<Configure>", lambda _: self._draw_preview())
        theme.on_change(self.preview, self._draw_preview)
        line = self._line(4)
        Words(line, theme, "Her voice", "small", "text2", "surface").pack(side="left", padx=px(3))
        self.sink = Dropdown(
            line,
            theme,
            (),
            self._choose_sink,
            width=150,
            height=28,
            surface="surface",
            label="Where her voice plays",
            empty="not known yet",
        )
        self.sink.pack(side="left", fill="x", expand=True)
        self.sink_note = self._note("")
        line = self._line(4)
        Words(line, theme, "In a browser", "small", "text2", "surface").pack(
            side="left", padx=(px(3), px(4))
        )
        self.pages: dict[str, Button] = {}
        for path, words, icon in PAGES:
            button = self._button(line, words, partial(self.open_page, path), icon, "ghost")
            button.tooltip.text = "Opens with a link that logs this browser in once"
            button.pack(side="left")
            self.pages[path] = button
        self._line_of_rotation = self._line(4)
        self.renew = self._button(
            self._line_of_rotation, "New links...", self._ask_renew, "key", "plain"
        )
        self.renew.pack(side="left")
        self._asked = tk.Frame(body)
        theme.tint(self._asked, background="surface")
        self._asked_words = tk.Label(
            self._asked,
            text="Every overlay and caption that is open now stops at once, and asks for the new link."
            " Do this when somebody has a link who should not.",
            font=theme.font("cap"),
            justify="left",
            anchor="w",
            wraplength=px(290),
            borderwidth=0,
        )
        theme.tint(self._asked_words, background="surface", foreground="warn")
        self._asked_words.pack(fill="x", padx=px(3))
        buttons = tk.Frame(self._asked)
        theme.tint(buttons, background="surface")
        buttons.pack(fill="x")
        self.renew_now = self._button(buttons, "Make new links", self._renew, "key", "danger")
        self.renew_now.pack(side="left")
        self._button(buttons, "Keep them", self._keep, "", "ghost").pack(side="left", padx=px(4))
        self._end = app.stage.listen(("provider",), self._show_state)
        self.bind("<Destroy>", lambda event: self._end() if event.widget is self else None, add="+")
        self._show_state()

    @property
    def first_stop(self) -> tk.Misc:
        """Where the keyboard comes in."""
        return self.copy_overlay

    # --- what others call

    def load(self) -> None:
        """Settings and services come with the stage; nothing of its own."""
        self._show_state()

    def on_event(self, event: Event) -> None:
        """Settings or services changed."""
        if isinstance(event, ConfigChanged | ServiceChanged):
            self._show_state()

    def open_page(self, path: str) -> None:
        """Open a page in the browser, logged in."""

        def took(value: Any) -> None:
            url = str(value.get("url", "")) if isinstance(value, dict) else ""
            if url and not webbrowser.open(url):
                self._put_on_clipboard(url)
                self.app.notify(
                    "No browser could be opened. The link was copied; it works once, within a minute.",
                    "warn",
                )

        self.app.backend.post("/api/login-link", {"page": path}, took, self.app.fail)

    def link(self, path: str, token: str) -> str:
        """The address of a page for OBS."""
        query: dict[str, str] = {"token": token}
        if path == "/captions" or self.with_captions.on:
            if path == "/overlay":
                query["captions"] = "1"
            for look in self.chosen.values():
                query |= look.query
        return f"{self.app.backend.base_url}{path}?{urlencode(query)}"

    # --- inside

    def _line(self, above: float) -> tk.Frame:
        line = tk.Frame(self.body)
        self.theme.tint(line, background="surface")
        line.pack(fill="x", pady=(self.theme.px(above), 0))
        return line

    def _note(self, words: str) -> Words:
        note = Words(self.body, self.theme, words, "cap", "text3", "surface")
        note.pack(fill="x", padx=self.theme.px(3))
        return note

    def _button(
        self,
        master: tk.Misc,
        words: str,
        command: Any,
        icon: str,
        kind: Literal["ghost", "accent", "danger", "plain", "soft"],
    ) -> Button:
        return Button(
            master, self.theme, words, command, icon=icon, kind=kind, surface="surface", height=28
        )

    def _copy(self, path: str) -> None:
        def took(value: Any) -> None:
            token = str(value.get("token", "")) if isinstance(value, dict) else ""
            if not token:
                self.app.notify("The backend gave no overlay token. Start it again.", "error")
                return
            self._put_on_clipboard(self.link(path, token))
            what = "overlay" if path == "/overlay" else "captions"
            self.app.notify(
                f"The {what} link was copied. In OBS: add a browser source, paste it as the URL, 1920 x 1080.",
                "ok",
            )

        self.app.backend.get("/api/overlay-token", took, self.app.fail)

    def _put_on_clipboard(self, text: str) -> None:
        self.clipboard_clear()
        self.clipboard_append(text)

    def _styled(self, title: str, words: str) -> None:
        self.chosen[title] = next(look for look in STYLES[title] if look.words == words)
        self._draw_preview()

    def _draw_preview(self) -> None:
        """The captions as they will look, on a stand-in for the game behind them."""
        p, canvas, theme = self._pen, self.preview, self.theme
        if canvas.winfo_width() <= 1:
            return
        p.clear()
        canvas.configure(background=theme.color("surface"))
        wide, high = p.width, p.height
        p.box(0, 0, wide, high, GAME, None, 6)
        p.box(wide * 0.55, high * 0.2, wide * 0.3, high * 0.6, "#5B7A6A", None, 6)
        query: dict[str, str] = {}
        for look in self.chosen.values():
            query |= look.query
        font, tall = PREVIEW_FONTS[query.get("size", "")]
        place = {"top": tall / 2 + 6, "middle": high / 2}.get(
            query.get("position", ""), high - tall / 2 - 6
        )
        heard, coming = SAMPLE
        total = p.text_width(heard + coming, font)
        left = max(8.0, (wide - total) / 2)
        color = f"#{query.get('colour', 'ffffff').upper()}"
        behind = query.get("background", "")
        under = GAME
        if behind:
            under = theme.mix(GAME, f"#{behind[:6].upper()}", int(behind[6:8], 16) / 255)
            p.box(left - 8, place - tall / 2 - 2, total + 16, tall + 4, under, None, 6)
        else:
            edge = f"#{query.get('outline_colour', '101018').upper()}"
            for dx, dy in ((-1, 0), (1, 0), (0, -1), (0, 1)):
                p.text(left + dx, place + dy, heard + coming, font, edge)
        p.text(left, place, heard, font, color)
        faint = theme.mix(color, under, 0.5)
        p.text(left + p.text_width(heard, font), place, coming, font, faint)

    def _show_state(self) -> None:
        stage = self.app.stage
        setting = stage.settings.get(SINK)
        value = str(setting.value) if setting is not None else ""
        if setting is not None:
            self.sink.set_choices(
                [Choice(name, SINKS.get(name, name), icon="volume") for name in setting.choices],
                value,
            )
        locked = setting.locked if setting is not None else ""
        self.sink.enable(setting is not None and not locked)
        note = f"Cannot be changed here: {locked}." if locked else SINK_NOTES.get(value, "")
        color = "warn" if locked else "text3"
        service = stage.services.get(PAGES_SERVICE)
        if service is not None and service.state in ("degraded", "failed"):
            note, color = service.error or service.detail, "warn"
        self.sink_note.show(note, color)
        # Only pages that play sound are counted: one that is read only tells nobody that it is there.
        is_there = service is not None and service.state == "ready"
        self.sub_words.show(service.detail if service is not None and is_there else "")

    def _choose_sink(self, value: str) -> None:
        def refused(failure: Failure) -> None:
            self.app.fail(failure)
            self._show_state()

        self.app.backend.post("/api/config", {"values": {SINK: value}}, None, refused)

    def _ask_renew(self) -> None:
        self._asked.pack(fill="x", pady=(self.theme.px(2), 0))
        self.renew.pack_forget()
        self._line_of_rotation.configure(height=1)
        self.renew_now.focus_set()

    def _keep(self) -> None:
        self._asked.pack_forget()
        self.renew.pack(side="left")
        self.renew.focus_set()

    def _renew(self) -> None:
        self._keep()
        self.app.backend.post(
            "/api/overlay-token/rotate",
            {},
            lambda _: self.app.notify("The old links stopped. Copy the new ones into OBS.", "ok"),
            self.app.fail,
        )
