"""The Logs tab: everything that happens, live, to filter, search, read and export.

Rows are gathered as events come and drawn a few times a second; whatever looks at all rows runs in slices of a few
milliseconds, so 100,000 rows and 1,000 events a second leave the window free.
"""

from __future__ import annotations

import logging
import tkinter as tk
from collections.abc import Callable, Iterator
from datetime import datetime
from heapq import merge
from pathlib import Path
from time import perf_counter
from tkinter import filedialog
from typing import Any, ClassVar, Literal

from backend.contracts.events import Event
from frontend.client import Failure
from frontend.tabs import App
from frontend.widgets.controls import RING, Button, Chip, Control, Dropdown, Words
from frontend.widgets.field import Field
from frontend.widgets.log_buffer import (
    LEVELS,
    LogBuffer,
    LogFilter,
    LogRow,
    LogView,
    PatternError,
    Search,
    export_lines,
)
from frontend.widgets.log_details import LogDetails
from frontend.widgets.log_histogram import HEIGHT as HISTOGRAM_HEIGHT
from frontend.widgets.log_histogram import LogHistogram
from frontend.widgets.log_list import LogList
from frontend.widgets.panel import Panel
from frontend.widgets.popup import Choice

logger = logging.getLogger(__name__)

MARGIN = 16
GAP = 12
DETAILS_WIDTH = 380
NARROW = 840
"""Below this width the details lie under the list."""
HEAD = 28
FOOT = 30
TAKE_S = 0.004
WORK_S = 0.004
TICK_MS = 50
COUNTS_MS = 250  # figures change at most four times a second
PLOT_MS = 500
PAGE = 300
CATCH_UP = 2_000
WAITING_LIMIT = 200_000
LEVEL_CHIPS = (
    (3, "Error", "error"),
    (2, "Warning", "warn"),
    (1, "Info", "accent"),
    (0, "Debug", "text3"),
)


class LogsTab(tk.Frame):
    """Live events and log lines."""

    NAME: ClassVar[str] = "logs"
    TITLE: ClassVar[str] = "Logs"
    ICON: ClassVar[str] = "logs"

    def __init__(self, master: tk.Misc, app: App) -> None:
        super().__init__(master, borderwidth=0, highlightthickness=0)
        self.app = app
        self.theme = app.theme
        self.theme.tint(self, background="bg")
        self.buffer = LogBuffer()
        self.view = LogView(self.buffer)
        self._waiting: list[Event] = []
        self._is_shown = False
        self._job: str | None = None
        self._search_job: str | None = None
        self._dirty = False
        self._counts_at = self._plot_at = 0.0
        self._loading: Literal["", "first", "older"] = ""
        self._has_older = True
        self._load_problem = ""
        self._export: Iterator[float] | None = None
        self._turn_id = ""
        self._flowed: tuple[bool, str, float] | None = None
        self._widths: tuple[int, ...] = ()
        self._build()
        self.bind("<Configure>", lambda event: self._lay_out())
        self.bind("<Destroy>", self._ended)
        self._apply_filter()

    # --- what the window calls

    def on_event(self, event: Event) -> None:
        """Gather an event; it becomes a row in `flush`."""
        if len(self._waiting) < WAITING_LIMIT:
            self._waiting.append(event)

    def flush(self) -> None:
        """Turn events into rows, for a few milliseconds, and draw soon."""
        self._take()
        self._later()

    def on_show(self) -> None:
        """Draw again."""
        self._is_shown = True
        self._dirty = True
        self._plot_at = self._counts_at = 0.0
        self.list.focus_quietly()
        self._later()

    def on_hide(self) -> None:
        """Stop drawing; rows are gathered all the same."""
        self._is_shown = False

    def on_theme(self) -> None:
        """Widgets recolour themselves."""
        self._lay_out()

    def on_connected(self) -> None:
        """Load what happened before."""
        if self.app.backend.connection.reset and self.buffer.newest_seq is not None:
            self._forget_stored()
        if self.buffer.newest_seq is None:
            self._has_older = True
            self._load("first")
            return
        params: dict[str, str | int | float] = {
            "after_seq": self.buffer.newest_seq,
            "limit": CATCH_UP,
        }
        self.app.backend.get("/api/events", self._caught_up, self._not_loaded, params=params)

    def _forget_stored(self) -> None:
        """The backend has another database: its sequence numbers begin anew, and its past is another one."""
        buffer = self.buffer
        live = [row for n in range(buffer.first, buffer.end) if (row := buffer[n]).seq is None]
        buffer.clear()
        self.view.cleared()
        self.list.selected = None
        for row in live:
            buffer.append(row)

    def _caught_up(self, answer: Any) -> None:
        """Add what was stored while the window could not keep up; what came meanwhile is held already."""
        for envelope in answer if isinstance(answer, list) else []:
            row_id = self.buffer.append(LogRow.of_envelope(envelope))
            if row_id is not None:
                self.view.appended(row_id)
        self._dirty = True
        self._later()

    # --- building

    def _build(self) -> None:
        t = self.theme
        self.search = Field(
            self,
            t,
            placeholder="Search",
            icon="search",
            on_change=lambda text: self._search_soon(),
            label="Search the log",
        )
        self.search.entry.bind("<Return>", lambda event: self.find_next(forward=True))
        self.search.entry.bind("<Shift-Return>", lambda event: self.find_next(forward=False))
        self.search.entry.bind("<Escape>", self._escaped)
        self.search.entry.bind("<Down>", lambda event: self.list.focus_set())
        self.regex = Chip(
            self,
            t,
            ".*",
            lambda on: self._search_now(),
            font="monob",
            tip="Search with a regular expression",
        )
        self.found = Words(self, t, "", "small", "text2")
        self.previous = Button(
            self, t, icon="up", kind="plain", command=lambda: self.find_next(forward=False),
            tip="Previous match   Shift+F3",
        )  # fmt: skip
        self.next = Button(
            self, t, icon="down", kind="plain", command=lambda: self.find_next(forward=True),
            tip="Next match   F3",
        )  # fmt: skip
        self.only = Chip(
            self,
            t,
            "Matches",
            self._show_only_matches,
            tip="Show only rows that match",
        )
        off = self.app.state.get("logs.levels_off")
        off = off if isinstance(off, list) else []
        self.levels = {
            level: Chip(
                self,
                t,
                title,
                lambda on: self._apply_filter(),
                on=LEVELS[level] not in off,
                dot=dot,
                height=26,
                tip=f"Show or hide {title.lower()} rows",
            )
            for level, title, dot in LEVEL_CHIPS
        }
        self.source = Dropdown(
            self, t, [Choice("", "All sources")], lambda value: self._apply_filter(),
            width=128, height=32, label="Source",
        )  # fmt: skip
        self.type = Dropdown(
            self, t, [Choice("", "All types")], lambda value: self._apply_filter(),
            width=128, height=32, label="Type",
        )  # fmt: skip
        self.turn = Chip(
            self, t, "turn", lambda on: self.only_turn(""), on=True, tip="Show all turns again"
        )
        self.trouble = Words(self, t, "", "small", "error")
        self.histogram = LogHistogram(self, t, self.buffer, self._jump_to)
        self.card = _ListCard(self, self)
        self.list: LogList = LogList(
            self.card,
            t,
            self.view,
            on_select=self._selected,
            on_open=self._open_turn_of,
            on_scroll=self._scrolled,
        )
        self.details = LogDetails(
            self, t, open_turn=self.app.open_turn, only_turn=self.only_turn, copy=self._copy
        )
        self._bind_keys()

    def _bind_keys(self) -> None:
        """Keys that work anywhere on this tab, through a binding tag of its own."""
        tag = f"LogsTab{id(self)}"
        for sequence, act in (
            ("<Control-f>", lambda event: self.find()),
            ("<F3>", lambda event: self.find_next(forward=True)),
            ("<Shift-F3>", lambda event: self.find_next(forward=False)),
            ("<Control-e>", lambda event: self.export()),
        ):
            self.bind_class(tag, sequence, act)

        def mark(widget: tk.Misc) -> None:
            widget.bindtags((tag, *widget.bindtags()))
            for child in widget.winfo_children():
                mark(child)

        mark(self)
        self.list.bind("<Control-c>", lambda event: self._copy_rows())
        self.list.bind("<space>", lambda event: self.toggle_pause())

    def _lay_out(self) -> None:
        t = self.theme
        width, height = self.winfo_width() / t.scale, self.winfo_height() / t.scale
        if width < 50:
            return
        top = self._flow(width) + GAP
        is_narrow = width < NARROW
        self._place(self.histogram, MARGIN, top, width - 2 * MARGIN, HISTOGRAM_HEIGHT)
        top += HISTOGRAM_HEIGHT + GAP
        room = max(60.0, height - top - GAP)
        if is_narrow:
            has_room = room > 300 and self.details.row is not None
            low = round(room * 0.45) if has_room else 0
            self._place(
                self.card, MARGIN, top, width - 2 * MARGIN, room - low - (GAP if low else 0)
            )
            if low:
                self._place(self.details, MARGIN, top + room - low, width - 2 * MARGIN, low)
            else:
                self.details.place_forget()
        else:
            side = min(DETAILS_WIDTH, width * 0.36)
            self._place(self.card, MARGIN, top, width - 2 * MARGIN - GAP - side, room)
            self._place(self.details, width - MARGIN - side, top, side, room)

    def _flow(self, width: float) -> float:
        """Place the controls in as many lines as they need; returns where they end."""
        t = self.theme
        is_searching = bool(self.search.text)
        field = 300.0
        items: list[tuple[tk.Widget, float, float]] = [(self.search, 0, 32), (self.regex, 0, 0)]
        if is_searching:
            items += [
                (self.found, 66, 20),
                (self.previous, 0, 0),
                (self.next, 0, 0),
                (self.only, 0, 0),
            ]
        items += [(chip, 0, 0) for chip in self.levels.values()]
        items += [(self.source, 0, 0), (self.type, 0, 0)]
        if self._turn_id:
            items.append((self.turn, 0, 0))
        hidden: set[tk.Widget] = {self.found, self.previous, self.next, self.only, self.turn}
        for widget in hidden - {item[0] for item in items}:
            widget.place_forget()
        rest = sum(wide or w.winfo_reqwidth() / t.scale + 2 for w, wide, _ in items[1:])
        if rest + 180 < width - 2 * MARGIN:
            field = min(field, width - 2 * MARGIN - rest - 12)  # one line, if need be a short field
        x, y = float(MARGIN), 12.0
        for widget, wide, high in items:
            is_control = isinstance(widget, Control)
            wide = field if widget is self.search else wide or widget.winfo_reqwidth() / t.scale
            high = high or widget.winfo_reqheight() / t.scale
            inset = RING if is_control else 0
            if x > MARGIN and x + wide - 2 * inset > width - MARGIN:
                x, y = float(MARGIN), y + 40
            self._place(widget, x - inset, y + (32 - high) / 2, wide, high)
            x += wide - 2 * inset + (2 if widget is self.previous else 8)
        y += 32
        if self.view.problem:
            self._place(self.trouble, MARGIN + 2, y + 4, width - 2 * MARGIN, 20)
            y += 22
        else:
            self.trouble.place_forget()
        return y

    def _found_width(self) -> float:
        """Room for "3 of 41", in steps so that the controls behind it do not tremble while counting."""
        wide = self.theme.measure(str(self.found.cget("text")) or "no match", "small")
        return max(54.0, -(-wide / self.theme.scale // 24) * 24)

    def _place(self, widget: tk.Widget, x: float, y: float, width: float, height: float) -> None:
        px = self.theme.px
        widget.place(
            x=px(x), y=px(y), width=max(1, px(x + width) - px(x)), height=max(1, px(height))
        )

    # --- rows

    def _take(self) -> None:
        """Make rows of waiting events for a few milliseconds."""
        if not self._waiting:
            return
        stop = perf_counter() + TAKE_S
        buffer, view = self.buffer, self.view
        done = 0
        for event in self._waiting:
            row_id = buffer.append(LogRow.of_event(event))
            if row_id is not None:
                view.appended(row_id)
            done += 1
            if done % 16 == 0 and perf_counter() > stop:
                break
        del self._waiting[:done]
        self._dirty = True

    def _later(self) -> None:
        if self._job is None:
            busy = bool(self._waiting) or self.view.is_working or self._export is not None
            self._job = self.after(12 if busy else TICK_MS, self._tick)

    def _tick(self) -> None:
        self._job = None
        self._take()
        if self.view.work(WORK_S):
            self._dirty = True
            self._show_found()
        if self._export is not None:
            self._go_on_exporting()
        now = perf_counter() * 1000
        if self._is_shown and self._dirty and not self.view.is_working:
            self._dirty = False
            self.list.changed()
            if bool(len(self.view)) != bool(self.list.winfo_ismapped()):
                self.card.changed()  # the first row has come, or the last one has gone
        due = False
        if self._is_shown:
            if now - self._counts_at >= COUNTS_MS:
                self._counts_at = now
                self._show_counts()
            if now - self._plot_at >= PLOT_MS:
                self._plot_at = now
                self.histogram.window = self.list.window_ms()
                self.histogram.redraw()
                due = True
        if self._waiting or self.view.is_working or self._export is not None or self._dirty:
            self._later()
        elif self._is_shown and not due and self._job is None:
            # The last rows of a burst still owe their figures and columns.
            self._job = self.after(COUNTS_MS, self._tick)

    def _load(self, what: Literal["", "first", "older"]) -> None:
        if not what or self._loading:
            return
        self._loading = what
        self._load_problem = ""
        params: dict[str, str | int | float] = {"limit": PAGE}
        if self.buffer.oldest_seq is not None:
            params["before_seq"] = self.buffer.oldest_seq
        self.app.backend.get("/api/events", self._loaded, self._not_loaded, params=params)
        self.card.changed()

    def _loaded(self, answer: Any) -> None:
        is_first = self._loading == "first"
        self._loading = ""
        found = [one for one in answer if isinstance(one, dict)] if isinstance(answer, list) else []
        rows = sorted((LogRow.of_envelope(one) for one in found), key=lambda row: row.seq or 0)
        buffer = self.buffer
        before = len(buffer)
        if is_first:
            self._merge(rows)
            added = len(buffer) - before
        else:
            added = buffer.prepend(rows)
            self.view.prepended(added)
        self._has_older = len(found) >= PAGE and added > 0 and len(buffer) < buffer.capacity
        self._dirty = True
        self._counts_at = self._plot_at = 0.0
        self._later()

    def _merge(self, stored: list[LogRow]) -> None:
        """Sort the newest stored events among the live rows that came before them."""
        buffer = self.buffer
        live = [buffer[row_id] for row_id in range(buffer.first, buffer.end)]
        buffer.clear()
        self.view.cleared()
        self.list.selected = None
        # Each list keeps its own order: the stored one is that of the sequence numbers.
        for row in merge(stored, live, key=lambda row: row.at_ms):
            buffer.append(row)
        self.view.set_filter(self.view.filter)

    def _not_loaded(self, failure: Failure) -> None:
        self._loading = ""
        self._load_problem = failure.message
        self.card.changed()

    def load_older(self) -> None:
        """Fetch the stored events before the oldest row."""
        if self._has_older:
            self._load("older")

    # --- filter and search

    def _apply_filter(self) -> None:
        on = frozenset(level for level, chip in self.levels.items() if chip.on)
        self.app.state["logs.levels_off"] = [
            LEVELS[level] for level in range(len(LEVELS)) if level not in on
        ]
        self.view.set_filter(LogFilter(on, self.source.value, self.type.value, self._turn_id))
        self._later()

    def only_turn(self, turn_id: str) -> None:
        """Show only the rows of a turn; "" shows all again."""
        self._turn_id = turn_id
        if turn_id:
            self.turn.text = f"Turn {turn_id[:10]}  \u00d7"
            self.turn.set_count(" ")
            self.turn.set_count("")
        self.turn.set(True)
        self._apply_filter()
        self._lay_out()

    def _search_soon(self) -> None:
        if self._search_job is not None:
            self.after_cancel(self._search_job)
        self._search_job = self.after(120, self._search_now)

    def _search_now(self) -> None:
        if self._search_job is not None:
            self.after_cancel(self._search_job)
            self._search_job = None
        text = self.search.text
        search: Search | None = None
        problem = ""
        if text:
            try:
                search = Search(text, is_regex=self.regex.on)
            except PatternError as error:
                problem = str(error)
        self.view.set_search(search, problem)
        self._dirty = True
        self._show_found()
        self._later()

    def _show_found(self) -> None:
        view = self.view
        self.search.mark(bool(view.problem))
        if view.search is None:
            text = ""
        elif view.problem:
            text = f"{view.matches:,} found"
        elif view.is_working:
            text = f"{view.matches:,} so far"
        else:
            number = view.match_number(self.list.selected) if self.list.selected is not None else 0
            if not view.matches:
                text = "no match"
            elif number:
                text = f"{number:,} of {view.matches:,}"
            else:
                text = f"{view.matches:,} found"
        self.found.show(text)
        self.found.configure(text=text)
        self.trouble.show(view.problem)
        state = (bool(self.search.text), view.problem, self._found_width())
        if state != self._flowed:
            self._flowed = state
            self._lay_out()

    def find_next(self, *, forward: bool) -> str:
        """Go to the next or previous row that matches, round at the ends."""
        if self._search_job is not None:
            self._search_now()
        view = self.view
        if view.search is None:
            self.find()
            return "break"
        if view.is_working and not view.matches:
            view.work(2 * WORK_S)
        start = self.list.selected
        if start is None:
            start = view.buffer.end if not forward else -(2**62)
        row_id = view.next_match(start, forward=forward)
        if row_id is not None:
            self.list.reveal(row_id)
            if self.list.following:
                self.list.pause()
        self._show_found()
        return "break"

    def panes(self) -> list[tk.Misc]:
        """Where F6 goes."""
        return [self.search.entry, self.histogram, self.list, self.card, self.details]

    def find(self) -> str:
        """Put the keyboard into the search field."""
        self.search.entry.focus_set()
        self.search.entry.selection_range(0, "end")
        return "break"

    def _escaped(self, event: Any) -> str | None:
        if self.search.text:
            self.search.set("")
            self._search_now()
            return "break"
        self.list.focus_set()
        return "break"

    def _show_only_matches(self, on: bool) -> None:
        self.view.only_matches = on
        self._dirty = True
        self._later()

    # --- the list

    def toggle_pause(self) -> str:
        """Stay at these rows, or follow the newest again."""
        if self.list.following:
            self.list.pause()
        else:
            self.list.follow()
        return "break"

    def follow_newest(self) -> None:
        """Go to the newest row and stay there."""
        self.list.follow()
        self._later()

    def show_everything(self) -> None:
        """Take all filters away."""
        for chip in self.levels.values():
            chip.set(True)
        self.source.set("")
        self.type.set("")
        self.only.set(False)
        self.view.only_matches = False
        self.only_turn("")

    @property
    def is_loading(self) -> bool:
        """Whether older events are on their way."""
        return bool(self._loading)

    @property
    def load_problem(self) -> str:
        """Why older events could not be loaded."""
        return self._load_problem

    def _selected(self, row_id: int) -> None:
        was_empty = self.details.row is None
        self.details.show(self.buffer[row_id] if row_id >= self.buffer.first else None)
        if was_empty:
            self._lay_out()
        self._show_found()
        self.card.changed()

    def _open_turn_of(self, row_id: int) -> None:
        row = self.buffer[row_id]
        if row.turn_id:
            self.app.open_turn(row.turn_id)
        else:
            self.details.json.focus_set()

    def _scrolled(self) -> None:
        self.card.changed()
        self.histogram.mark(self.list.window_ms())
        if not self.list.following and self.list.is_at_top and self._has_older:
            self.load_older()

    def _jump_to(self, at_ms: int) -> None:
        self.list.show_moment(at_ms)
        self.histogram.mark(self.list.window_ms())

    def _show_counts(self) -> None:
        buffer = self.buffer
        for level, chip in self.levels.items():
            chip.set_count(_short(buffer.levels[level]))
        if self._widths_changed():
            self._lay_out()
        self._offer(self.source, "All sources", _with_parents(buffer.sources))
        self._offer(self.type, "All types", _with_groups(buffer.types))
        self.card.changed()

    def _widths_changed(self) -> bool:
        widths = tuple(chip.winfo_reqwidth() for chip in self.levels.values())
        changed = widths != self._widths
        self._widths = widths
        return changed

    @staticmethod
    def _offer(box: Dropdown, title: str, names: dict[str, int]) -> None:
        choices = [Choice("", title)]
        choices += [Choice(name, name, hint=_short(count)) for name, count in sorted(names.items())]
        if box.value and box.value not in names:
            choices.append(Choice(box.value, box.value))
        if [c.value for c in choices] != [c.value for c in box.choices]:
            box.set_choices(choices)
        else:
            box.choices = choices

    # --- copy and export

    def _copy(self, text: str, said: str) -> None:
        self.clipboard_clear()
        self.clipboard_append(text)
        self.app.notify(said, "ok")

    def _copy_rows(self) -> str:
        rows = self.list.selected_rows()
        if rows:
            words = "1 row was copied." if len(rows) == 1 else f"{len(rows):,} rows were copied."
            self._copy(self.list.copied(), words)
        return "break"

    def export(self) -> str:
        """Ask where to, and write the rows shown as JSON lines or CSV."""
        name = f"luma-log-{datetime.now():%Y%m%d-%H%M%S}.jsonl"  # noqa: DTZ005 - local time in a name
        chosen = filedialog.asksaveasfilename(
            parent=self,
            title="Export the rows shown",
            initialfile=name,
            defaultextension=".jsonl",
            filetypes=[("JSON lines", "*.jsonl"), ("CSV table", "*.csv")],
        )
        if chosen:
            self.export_to(Path(chosen))
        return "break"

    def export_to(self, path: Path) -> None:
        """Write the rows shown to a file, in slices; ".csv" makes a table, anything else JSON lines."""
        self._export = self._exporting(path, self.view.shown_ids())
        self._later()

    def _exporting(self, path: Path, ids: list[int]) -> Iterator[float]:
        form: Literal["jsonl", "csv"] = "csv" if path.suffix.lower() == ".csv" else "jsonl"
        buffer = self.buffer
        rows = (buffer[row_id] for row_id in ids if row_id >= buffer.first)
        unfinished = path.with_name(path.name + ".part")
        try:
            with unfinished.open("w", encoding="utf-8", newline="") as file:
                for number, line in enumerate(export_lines(rows, form)):
                    file.write(line)
                    if number % 50 == 49:
                        yield number / max(1, len(ids))
            unfinished.replace(path)
        except OSError as error:
            unfinished.unlink(missing_ok=True)
            self.app.notify(f"{path} could not be written: {error.strerror}.", "error")
            return
        self.app.notify(f"{len(ids):,} rows were written to {path}.", "ok")

    def _go_on_exporting(self) -> None:
        stop = perf_counter() + WORK_S
        while self._export is not None and perf_counter() < stop:
            try:
                self.card.exported = next(self._export)
            except StopIteration:
                self._export = None
                self.card.exported = None
        self.card.changed()

    def _ended(self, event: Any) -> None:
        if event.widget is self:
            for job in (self._job, self._search_job):
                if job is not None:
                    self.after_cancel(job)


class _ListCard(Panel):
    """The card round the list: its head with the columns and its foot with the figures."""

    def __init__(self, master: tk.Misc, tab: LogsTab) -> None:
        super().__init__(master, tab.theme)
        self.tab = tab
        self.exported: float | None = None

    def paint(self) -> None:
        tab, p, t = self.tab, self.painter, self.theme
        rows = tab.list
        width, height = p.width, p.height
        p.card(0, 0, width, height)
        rows.place(
            x=1,
            y=t.px(HEAD),
            width=max(1, t.px(width) - 2),
            height=max(1, t.px(height - FOOT) - t.px(HEAD)),
        )
        x_time, _, x_source, x_type, x_message = rows.columns(t.px(width) - 2)
        titles = (("Time", x_time), ("Source", x_source), ("Type", x_type), ("Message", x_message))
        for title, left in titles:
            if left is not None:
                p.text(1 + left / t.scale, 15, title, "cap", "text3")
        p.line(0, HEAD - 1, width, HEAD - 1)
        p.line(0, height - FOOT, width, height - FOOT)
        middle = height - FOOT / 2
        right = width - 10
        if rows.following:
            right -= self.button(
                "pause", right, middle - 12, "Pause", tab.toggle_pause, icon="pause",
                height=24, hint="Space", anchor="e",
            )  # fmt: skip
        else:
            right -= self.button(
                "follow", right, middle - 12, "Follow newest", tab.follow_newest, icon="down",
                kind="soft", height=24, hint="End", anchor="e",
            )  # fmt: skip
        if width > 420:
            can_export = len(tab.view) > 0 and self.exported is None
            right -= 6 + self.button(
                "export", right - 6, middle - 12, "Export",
                tab.export if can_export else None, icon="download", height=24,
                anchor="e", tip="Write the rows shown as JSON lines or CSV   Ctrl+E",
            )  # fmt: skip
        figures = self._figures()
        clip = max(20.0, right - 24)
        p.text(
            16,
            middle,
            figures,
            "cap",
            "text3",
            clip=clip if p.text_width(figures, "cap") > clip else 0,
        )
        if not len(tab.view):
            self._paint_empty(width, height)

    def _figures(self) -> str:
        tab = self.tab
        held, shown = len(tab.buffer), len(tab.view)
        words = [f"{held:,} rows" if held != 1 else "1 row"]
        if shown != held:
            words.append(f"{shown:,} shown")
        if self.exported is not None:
            words.append(f"exporting {self.exported:.0%}")
        elif tab.list.following:
            words.append("following")
        else:
            newer = tab.list.newer
            words.append(f"paused, {newer:,} newer" if newer else "paused")
        if tab.is_loading:
            words.append("loading older events")
        elif tab.load_problem and held:
            words.append(f"older events: {tab.load_problem}")
        return "  \u00b7  ".join(words)

    def _paint_empty(self, width: float, height: float) -> None:
        tab = self.tab
        tab.list.place_forget()
        middle = height / 2
        if len(tab.buffer):
            icon, words = "filter", "No row passes these filters."
        elif tab.is_loading:
            icon, words = "clock", "Loading what happened before."
        elif tab.load_problem:
            icon, words = "warn", tab.load_problem
        else:
            icon, words = "logs", "Nothing has happened yet. Send a message and watch."
        self.painter.icon(width / 2, middle - 34, icon, 24, "text3")
        self.painter.text(width / 2, middle, words, "small", "text2", "center", clip=width - 40)
        choice: tuple[str, Callable[[], object]] | None = None
        if len(tab.buffer):
            choice = ("Show everything", tab.show_everything)
        elif tab.load_problem and not tab.is_loading:
            choice = ("Try again", tab.on_connected)
        if choice is not None:
            wide = self.painter.text_width(choice[0], "small") + 24
            self.button("way_out", (width - wide) / 2, middle + 20, *choice)


def _short(count: int) -> str:
    """A count that fits a chip: 8,412 or 61k."""
    return f"{count:,}" if count < 10_000 else f"{count // 1000:,}k"


def _with_parents(names: dict[str, int]) -> dict[str, int]:
    """Sources, and for "tts/piper" its part "tts" too."""
    found = dict(names)
    for name, count in names.items():
        parent, slash, _ = name.partition("/")
        if slash:
            found[parent] = found.get(parent, 0) + count
    found.pop("", None)
    return found


def _with_groups(names: dict[str, int]) -> dict[str, int]:
    """Types, and their groups of more than one ("turn.*")."""
    groups: dict[str, list[int]] = {}
    for name, count in names.items():
        groups.setdefault(name.partition(".")[0] + ".*", []).append(count)
    return {**{g: sum(c) for g, c in groups.items() if len(c) > 1}, **names}
