"""The Stream tab: the live chat with what became of each message, who is next, what she says, and what she may do unasked."""

from __future__ import annotations

import threading
import tkinter as tk
from functools import partial
from pathlib import Path
from tkinter import filedialog
from typing import Any, ClassVar, Protocol

from backend.contracts.audience import ChannelState, StreamState
from backend.contracts.events import Event
from frontend.audience import Audience, Group, plain, why
from frontend.client import Failure
from frontend.tabs import CastApp
from frontend.widgets.audience_plots import AudiencePlots
from frontend.widgets.autonomy_card import MOST_ROWS, AutonomyCard
from frontend.widgets.card import Card
from frontend.widgets.controls import Button, Chip, Dropdown, Words
from frontend.widgets.figure_row import FigureRow
from frontend.widgets.live_chat import LiveChat
from frontend.widgets.popup import Choice
from frontend.widgets.queue_list import QueueList
from frontend.widgets.say_box import SayBox
from frontend.widgets.scroll_page import ScrollPage, put
from frontend.widgets.speaking_card import SpeakingCard

MARGIN = 16
GAP = 12
LEAST_QUEUE = 138.0
ONE_COLUMN = 780
CHIPS_FROM = 690  # narrower, the filters of the chat are one list
DRAW_MS = 250  # figures change at most four times a second
STILL_MS = 1000
EXPORT = "/api/dispositions/export"
TO_PLOTS, TO_CHAT = "Messages, waiting times and topics as plots; export", "Back to the live chat"
GROUPS: tuple[tuple[Group, str], ...] = (
    ("all", "All"),
    ("answered", "Answered"),
    ("waiting", "Waiting"),
    ("not-answered", "Not answered"),
    ("held", "Held"),
)
STATES: dict[str, tuple[str, str]] = {
    "off": ("Twitch: off", "text3"),
    "connecting": ("Connecting...", "warn"),
    "joined": ("", "ok"),
    "reconnecting": ("Reconnecting...", "warn"),
    "failed": ("Twitch: not connected", "error"),
}
"""State of the channel to words and colour of its dot."""


class StreamApp(CastApp, Protocol):
    """What the Stream tab needs of the window beyond what every tab may use."""

    @property
    def audience(self) -> Audience:
        """Who writes, and what becomes of it."""

    def open_twitch(self) -> None:
        """Open the window of the Twitch login."""

    def open_rules(self, page: str = "", item: str = "") -> None:
        """Open the window of rules: queue, moderation, commands, triggers."""


class StreamTab(tk.Frame):
    """Figures and chat at the left; who speaks, the queue and autonomy at the right."""

    NAME: ClassVar[str] = "stream"
    TITLE: ClassVar[str] = "Stream"
    ICON: ClassVar[str] = "stream"

    def __init__(self, master: tk.Misc, app: StreamApp) -> None:
        super().__init__(master, borderwidth=0, highlightthickness=0)
        self.app = app
        self.audience = app.audience
        self._is_shown = False
        self._job: str | None = None
        self._drawn = -1
        self._exports = False
        theme = self._theme = app.theme
        theme.tint(self, background="bg")
        self.page = ScrollPage(self, theme, self._arrange)
        self.page.pack(fill="both", expand=True)
        body = self.page.body
        self.figures = FigureRow(body, theme, self.audience, self.toggle_plots)
        self.chat_card = self._build_chat(body)
        self.side = ScrollPage(body, theme, self._arrange_side)
        self.speaking = SpeakingCard(self.side.body, app)
        self.queue_card = self._build_queue(self.side.body)
        self.autonomy = AutonomyCard(
            self.side.body, app, self._switch_autonomy, partial(app.open_rules, "triggers")
        )
        self.side.watch_wheel()
        self.page.watch_wheel()
        self._ends = [
            self.audience.listen(("channel",), self._show_channel),
            self.audience.listen(("queue",), self._show_queue),
            self.audience.listen(("autonomy",), self.side.arrange_soon),
        ]
        self.bind("<Destroy>", self._gone, add="+")
        self._show_channel()
        self._show_queue()

    # --- what the window calls

    def on_event(self, event: Event) -> None:
        """The facts are gathered by `Audience`; nothing is left to do."""

    def flush(self) -> None:
        """Draw what came, at most four times a second."""
        if self._is_shown and self._job is None:
            self._job = self.after(1, self._tick)

    def on_show(self) -> None:
        """Draw again."""
        self._is_shown = True
        self._drawn = -1
        self.flush()
        self.focus_set()

    def on_hide(self) -> None:
        """Stop drawing."""
        self._is_shown = False

    def on_theme(self) -> None:
        """Drawn parts recolour themselves."""
        self.page.arrange_soon()

    def on_connected(self) -> None:
        """The window loads the audience."""

    def panes(self) -> list[tk.Misc]:
        """Where F6 goes."""
        shown = self.plots if self.plots.winfo_manager() else self.chat
        return [self.figures, shown, self.say.field.entry, self.speaking, self.queue, self.autonomy]

    def find(self) -> None:
        """Put the keyboard into the chat."""
        self.chat.focus_set()

    def focus_composer(self) -> None:
        """Write something: to her, aloud, or into the chat."""
        self.say.field.entry.focus_set()

    def toggle_plots(self) -> None:
        """Show the plots in place of the chat, or the chat again."""
        if self.plots.winfo_manager():
            self.plots.pack_forget()
            self._foot.pack(side="bottom", fill="x")
            self.chat.pack(fill="both", expand=True)
            self.chat.follow()
        else:
            self.chat.pack_forget()
            self._foot.pack_forget()
            self.plots.pack(fill="both", expand=True)
            self.plots.changed()
        is_plotted = bool(self.plots.winfo_manager())
        self.plot_button.set("Chat" if is_plotted else "Plots", "chat" if is_plotted else "status")
        self.plot_button.tooltip.text = TO_CHAT if is_plotted else TO_PLOTS

    # --- building

    def _build_chat(self, body: tk.Misc) -> Card:
        theme, px = self._theme, self._theme.px
        card = Card(body, theme, "Live chat", pad=8)
        card.title_words.pack_configure(padx=(px(8), 0))
        self.channel_button = Button(
            card.head, theme, "Twitch", self.app.open_twitch, icon="stream", kind="plain",
            surface="surface", height=26, tip="Connect, log in, leave   Ctrl+Shift+T",
        )  # fmt: skip
        self.plot_button = Button(
            card.head, theme, "Plots", self.toggle_plots, icon="status", surface="surface",
            height=26, tip=TO_PLOTS,
        )  # fmt: skip
        card.add(self.plot_button)
        card.add(self.channel_button)
        self._chips_line = tk.Frame(card.head)
        theme.tint(self._chips_line, background="surface")
        self.chips: dict[Group, Chip] = {}
        for group, words in GROUPS:
            chip = Chip(
                self._chips_line, theme, words, partial(self._show_group, group),
                on=group == "all", surface="surface", height=24,
            )  # fmt: skip
            chip.pack(side="left")
            self.chips[group] = chip
        self.filter = Dropdown(
            card.head, theme, [Choice(group, words) for group, words in GROUPS],
            lambda value: self._show_group(_group(value)), value="all", width=112, height=24,
            surface="surface", label="Which lines", tip="Which lines are shown",
        )  # fmt: skip
        self._has_chips: bool | None = None
        edge = tk.Frame(card.body, height=1)
        theme.tint(edge, background="line")
        edge.pack(side="top", fill="x")
        self.say = SayBox(card.body, self.app)
        self.say.pack(side="bottom", fill="x")
        self._foot = tk.Frame(card.body, height=px(32))
        theme.tint(self._foot, background="surface")
        self._foot.pack_propagate(False)  # the list keeps its height when the button comes
        self._foot.pack(side="bottom", fill="x")
        self.newest = Button(
            self._foot, theme, "", self._follow, icon="down", kind="soft", key="End",
            surface="surface", height=24, tip="Follow the newest line   End",
        )  # fmt: skip
        self.why_words = Words(self._foot, theme, "", "cap", "text2", "surface")
        self.why_words.pack(side="left", fill="x", expand=True, padx=px(8), pady=px(2))
        self.chat = LiveChat(
            card.body, theme, self.audience,
            opened=self.app.open_turn, moved=self._show_why, empty=self._nothing,
        )  # fmt: skip
        self.chat.pack(fill="both", expand=True)
        self.plots = AudiencePlots(card.body, theme, self.audience, self._ask_where)
        self.say.lift()  # Tab comes to it after the chat, as the eye does
        return card

    def _build_queue(self, body: tk.Misc) -> Card:
        theme = self._theme
        card = Card(body, theme, "Queue", pad=8)
        card.title_words.pack_configure(padx=(theme.px(8), 0))
        self.rules_button = Button(
            card.head, theme, "Rules", partial(self.app.open_rules, "queue"), icon="gear",
            surface="surface", height=26,
            tip="Who is answered and in which order; moderation, commands, triggers",
        )  # fmt: skip
        card.add(self.rules_button)
        self.queue = QueueList(card.body, theme, self.audience)
        self.queue.pack(fill="both", expand=True)
        return card

    # --- layout

    def _arrange(self, width: float, height: float) -> float:
        t = self._theme
        is_low = height < 600
        figures = 66.0 if is_low else 76.0
        if width < ONE_COLUMN:
            room = width - 2 * MARGIN
            figures = figures if room >= 470 else 2 * figures + GAP
            y = GAP + 0.0
            put(t, self.figures, MARGIN, y, room, figures)
            y += figures + GAP
            chat = max(300.0, height - figures - 3 * GAP)  # with its line to write in, in sight
            put(t, self.chat_card, MARGIN, y, room, chat)
            y += chat + GAP
            needed = self._side_height()
            put(t, self.side, MARGIN, y, room, needed)
            self._show_filters(room)
            return y + needed + GAP
        side = min(396.0, max(316.0, width * 0.33))
        left = width - side - 2 * MARGIN - GAP
        put(t, self.figures, MARGIN, GAP, left, figures)
        top = GAP + figures + GAP
        put(t, self.chat_card, MARGIN, top, left, height - top - GAP)
        put(t, self.side, MARGIN + left + GAP, GAP, side, height - 2 * GAP)
        self._show_filters(left)
        return height

    def _side_height(self) -> float:
        self.autonomy.most = MOST_ROWS
        return self.speaking.needed + GAP + 214 + GAP + self.autonomy.needed

    def _arrange_side(self, width: float, height: float) -> float:
        t = self._theme
        speaking = self.speaking.needed
        rest = height - speaking - LEAST_QUEUE - 2 * GAP
        # Fewer triggers rather than a page that scrolls, where that helps.
        fitting = (n for n in range(MOST_ROWS, 2, -1) if self.autonomy.height_with(n) <= rest)
        self.autonomy.most = next(fitting, MOST_ROWS)
        autonomy = self.autonomy.needed
        queue = max(LEAST_QUEUE, height - speaking - autonomy - 2 * GAP)
        total = speaking + autonomy + queue + 2 * GAP
        width -= 12 if total > height else 0  # room for the scroll bar
        put(t, self.speaking, 0, 0, width, speaking)
        put(t, self.queue_card, 0, speaking + GAP, width, queue)
        put(t, self.autonomy, 0, speaking + queue + 2 * GAP, width, autonomy)
        return total

    def _show_filters(self, width: float) -> None:
        has_chips = width >= CHIPS_FROM
        if has_chips == self._has_chips:
            return
        self._has_chips = has_chips
        shown: tk.Widget = self._chips_line if has_chips else self.filter
        hidden: tk.Widget = self.filter if has_chips else self._chips_line
        hidden.pack_forget()
        shown.pack(side="left", before=self.chat_card.sub_words, padx=(self._theme.px(8), 0))

    # --- showing

    def _tick(self) -> None:
        """One drawing; goes on while something moves by itself."""
        self._job = None
        if not self._is_shown:
            return
        is_new = self.audience.version != self._drawn
        self._drawn = self.audience.version
        self.figures.refresh()
        if self.plots.winfo_manager():
            if is_new:
                self.plots.changed()
        else:
            self.chat.refresh()
            self._show_why()
        if self.queue.rows:
            self.queue.changed()
        if self.autonomy.is_moving:
            self.autonomy.changed()
        self._job = self.after(DRAW_MS if is_new else STILL_MS, self._tick)

    def _show_queue(self) -> None:
        audience = self.audience
        self.queue.max_wait_s = audience.rules.max_wait_s
        self.queue.refresh()
        count = audience.total_waiting
        if self.app.stage.panic.is_on:
            words = "held by the panic"
        elif not audience.rules.is_on:
            words = "off: viewers are not answered"
        else:
            words = f"{count:,} waiting" if count else ""
        self.queue_card.sub_words.show(words)
        held = audience.held_count
        self.chips["held"].set_count(str(held) if held else "")
        self.app.set_badge("stream", held)

    def _show_channel(self) -> None:
        state = self.audience.channel
        words, color = channel_words(state)
        if state is None and "twitch" in self.audience.missing:
            words, color = "Twitch", "text3"
        self.channel_button.color = color
        self.channel_button.set(words[:34])
        lines = [state.detail if state is not None else "", stream_words(self.audience.stream)]
        lines.append("Connect, log in, leave   Ctrl+Shift+T")
        self.channel_button.tooltip.text = "\n".join(line for line in lines if line)
        self.channel_button.redraw_soon()
        self.chat.changed()

    def _show_group(self, group: Group, _on: bool = True) -> None:
        for name, chip in self.chips.items():
            chip.set(name == group)
        self.filter.set(group)
        if self.plots.winfo_manager():
            self.toggle_plots()
        self.chat.show_group(group)

    def _show_why(self) -> None:
        if not hasattr(self, "plots"):
            return
        chat, fresh = self.chat, self.chat.fresh
        if not chat.is_following:
            self.newest.set(f"{fresh:,} newer" if fresh else "Newest")
            self.newest.pack(side="right", before=self.why_words)
        else:
            self.newest.pack_forget()
        line = chat.line
        if line is not None and self.focus_displayof() is chat:
            keys = {"held": "  A allows, Delete drops.", "queued": "  N answers now, Delete skips."}
            self.why_words.show(why(line, self.audience) + keys.get(line.disposition or "", ""))
        else:
            self.why_words.show(
                "Arrow keys go from line to line and say why each was answered or not."
            )

    def _nothing(self) -> tuple[str, str, Any]:
        """What an empty chat says, and the next step."""
        audience, state = self.audience, self.audience.channel
        if self.chat.group != "all" and audience.lines:
            return "No such line among the newest.", "Show all", partial(self._show_group, "all")
        if "twitch" in audience.missing:
            return audience.missing["twitch"], "", None
        if state is None:
            return "Asking the backend how Twitch is...", "", None
        if state.state == "joined":
            return f"You are in {state.channel}. Nobody has written yet.", "", None
        if state.state in ("connecting", "reconnecting"):
            return state.detail or "Connecting to the chat...", "", None
        words = (
            "No chat yet. Give a channel's name and read along at once, without any login; "
            "log in so that she can write there too."
        )
        if state.state == "failed" and state.detail:
            words = state.detail
        return words, "Connect to Twitch", self.app.open_twitch

    def _follow(self) -> None:
        self.chat.follow()
        self._show_why()

    # --- requests

    def _switch_autonomy(self, is_on: bool) -> None:
        self.audience.switch_autonomy(is_on)

    def _ask_where(self) -> None:
        if self._exports:
            return
        chosen = filedialog.asksaveasfilename(
            parent=self, title="Export all messages", defaultextension=".csv",
            initialfile="audience.csv", filetypes=[("Table", "*.csv"), ("All files", "*")],
        )  # fmt: skip
        if chosen:
            self.export(Path(chosen))

    def export(self, path: Path) -> None:
        """Save all stored messages with what became of them."""
        self._exports = True
        self.plots.say("Asking for all messages...")
        self.app.backend.download(EXPORT, partial(self._write, path), self._export_failed)

    def _write(self, path: Path, data: bytes) -> None:
        """Write the file on a thread of its own: it may be large, and a disk slow."""

        def work() -> None:
            words = ""
            try:
                path.write_bytes(data)
            except OSError as error:
                words = f"{path.name} cannot be written: {error.strerror or error}."
            self.app.backend.call_later(partial(self._written, path.name), words)

        threading.Thread(target=work, name="gui-export", daemon=True).start()

    def _written(self, name: str, trouble: str) -> None:
        self._exports = False
        words = trouble or f"All messages are in {name}."
        self.app.notify(words, "error" if trouble else "ok")
        if self.winfo_exists():
            self.plots.say(words)

    def _export_failed(self, failure: Failure) -> None:
        self._written("", failure.message)

    def _gone(self, event: tk.Event[tk.Misc]) -> None:
        if event.widget is self:
            for end in self._ends:
                end()
            if self._job is not None:
                self.after_cancel(self._job)


def channel_words(state: ChannelState | None) -> tuple[str, str]:
    """The channel in a few words, and its colour."""
    if state is None:
        return "Twitch", "text3"
    words, color = STATES[state.state]
    if state.state == "joined":
        words = f"twitch.tv/{state.channel}" + (", reading" if not state.can_write else "")
    return words, color


def stream_words(stream: StreamState | None) -> str:
    """The stream in a line; empty where nobody tells of it."""
    if stream is None:
        return ""
    parts = [f"Live, {stream.viewers:,} watch" if stream.is_live else "Not live"]
    parts += [plain(text, 80) for text in (stream.title, stream.game) if text]
    if stream.followers is not None:
        parts.append(f"{stream.followers:,} followers")
    return " · ".join(parts)


def _group(value: str) -> Group:
    return next((group for group, _ in GROUPS if group == value), "all")
