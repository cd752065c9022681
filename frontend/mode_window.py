"""The window of modes: who answers, why, how each mode is, what it needs, and what changed when.

A choice acts at once. Settings of a mode are saved by its own button, then tried with the code of a turn.
"""

from __future__ import annotations

import tkinter as tk
from functools import partial
from typing import Any, Protocol

from backend.contracts.modes import ModeChange, ModeHealth, ModeName
from backend.contracts.settings import SettingValue
from frontend.client import Failure
from frontend.modes import ICONS, MEANINGS, TITLES, Modes
from frontend.owner import WindowOwner
from frontend.setting_names import TITLES as TITLES_OF_SETTINGS
from frontend.settings_window import SettingRow
from frontend.stage import Stage
from frontend.theme import Theme
from frontend.widgets.controls import Button, Chip, Words, picture_label
from frontend.widgets.row_list import RowList
from frontend.widgets.toplevel import OneWindow

SIZE = (760, 740)
SMALLEST = (600, 380)
WRAP = 640
HISTORY_ROWS = 5
ROW_HEIGHT = 26
SETTINGS: dict[ModeName, tuple[str, ...]] = {
    "orphiq": ("ORPHIQ_",),
    "external-api": ("EXTERNAL_API_",),
    "autonomous": ("AUTONOMOUS_",),
}
"""What the names of a mode's settings begin with."""
PROBE_TIMEOUT_S = 45.0
SECOND_MS = 1000


class Owner(WindowOwner, Protocol):
    """What this window needs of the main window."""

    @property
    def stage(self) -> Stage:
        """Settings and services."""

    @property
    def modes(self) -> Modes:
        """Who answers."""

    def open_settings(self, field: str = "") -> None:
        """Open the settings window, scrolled to a setting."""


class ModeWindow(OneWindow):
    """The window; one at a time, `open` raises the one there is."""

    @classmethod
    def open(cls, owner: Owner) -> ModeWindow:
        """Show it."""
        window = cls.one(lambda: cls(owner))
        window.scopes["everywhere"].focus_force()
        return window

    def __init__(self, owner: Owner) -> None:
        super().__init__(owner.root, owner.theme, "Luma: who answers")
        self._owner = owner
        self._modes = owner.modes
        self._asked_at = 0.0
        theme, px = owner.theme, owner.theme.px
        foot = self._foot()
        Button(foot, theme, "Close", self.close, key="Esc", height=30).pack(side="right")
        Button(
            foot,
            theme,
            "Keys and models",
            partial(owner.open_settings, "LLM_PROVIDER"),
            icon="key",
            kind="plain",
            height=30,
        ).pack(side="left")
        self._scroll = self._scrolled()
        body = self._scroll.inner
        self._build_head(body)
        self.cards = {mode: ModeCard(body, owner, mode, self) for mode in TITLES}
        for card in self.cards.values():
            card.pack(fill="x", padx=(0, px(8)), pady=(0, px(10)))
        self._build_history(body)
        self._ends = [
            self._modes.listen(self._show),
            owner.stage.listen(("provider",), self.settings_changed),
        ]
        self._show()
        self._appear(SIZE, SMALLEST)
        self._modes.load()
        self._count()

    # --- what others call

    @property
    def here_only(self) -> bool:
        """Whether a choice is for the stage alone."""
        return self.scopes["here"].on

    @property
    def cancels(self) -> bool:
        """Whether a choice stops the running reply."""
        return self.endings["cancel"].on

    def choose(self, mode: ModeName) -> None:
        """Let a mode answer."""
        self._modes.choose(
            mode, here_only=self.here_only, cancels=self.cancels, failed=self._not_chosen
        )

    def settings_changed(self) -> None:
        """Settings have other values: rows that are not being edited show them."""
        self._show()
        for card in self.cards.values():
            card.show_settings()

    def close(self) -> None:
        """Close; what was typed and not saved is gone, and said so."""
        count = sum(len(card.pending) for card in self.cards.values())
        if count:
            self._owner.notify(f"{count} setting{'s' if count > 1 else ''} not saved.", "warn")
        self.destroy()

    # --- building

    def _build_head(self, body: tk.Misc) -> None:
        theme, px = self._theme, self._theme.px
        Words(body, theme, "Who answers", "h1").pack(fill="x")
        self.verdict = Words(body, theme, "", "small", "text2")
        self.verdict.pack(fill="x", pady=(px(2), px(8)))
        self.scopes = self._chips(
            body,
            "A choice is for",
            (("everywhere", "everywhere"), ("here", "the stage only")),
            self._scoped,
        )
        self.follow = Button(
            self.scopes["here"].master,
            theme,
            "As everywhere again",
            self._modes.give_up_own,
            icon="refresh",
            kind="plain",
            height=26,
            tip="The stage follows the choice for everywhere",
        )
        self.automatic = Button(
            self.scopes["here"].master,
            theme,
            "Let Luma choose",
            self._modes.let_choose,
            icon="refresh",
            kind="plain",
            height=26,
            tip="A provider answers when one is set up, else the built-in persona",
        )
        self.endings = self._chips(
            body,
            "A running reply",
            (("finish", "finishes as it began"), ("cancel", "is stopped")),
            self._ended,
        )
        spacer = tk.Frame(body, height=px(8))
        theme.tint(spacer, background="bg")
        spacer.pack()

    def _chips(
        self, body: tk.Misc, title: str, choices: tuple[tuple[str, str], ...], command: Any
    ) -> dict[str, Chip]:
        theme, px = self._theme, self._theme.px
        line = tk.Frame(body)
        theme.tint(line, background="bg")
        line.pack(fill="x", pady=(0, px(2)))
        holder = tk.Frame(line, width=px(120), height=px(32))
        theme.tint(holder, background="bg")
        holder.pack_propagate(False)
        holder.pack(side="left")
        Words(holder, theme, title, "small", "text2").pack(fill="both", expand=True)
        made: dict[str, Chip] = {}
        for number, (name, words) in enumerate(choices):
            chip = Chip(line, theme, words, lambda _, name=name: command(name), on=number == 0)  # type: ignore[misc]  # a lambda that keeps its loop variable
            chip.pack(side="left")
            made[name] = chip
        return made

    def _build_history(self, body: tk.Misc) -> None:
        theme, px = self._theme, self._theme.px
        Words(body, theme, "What changed", "bodyb").pack(fill="x", pady=(px(4), px(6)))
        holder = tk.Frame(body, highlightthickness=1)
        theme.tint(holder, background="surface", highlightbackground="line", highlightcolor="line")
        holder.pack(fill="x", padx=(0, px(8)), pady=(0, px(12)))
        self.history = HistoryList(holder, theme)
        self.history.configure(height=px(HISTORY_ROWS * ROW_HEIGHT + 4))
        self.history.pack(fill="x", padx=px(4), pady=px(4))

    # --- showing

    def _show(self) -> None:
        modes = self._modes
        here = modes.here
        if here is None:
            words = modes.trouble or "Asking the backend who answers..."
            self.verdict.show(words, "warn" if modes.trouble else "text2")
        else:
            title = TITLES.get(here.mode, here.mode)
            where = "On the stage" if here.is_own else "Everywhere"
            words = f"{where}: {title} answers"
            if modes.has_fallback:
                words += f", because {TITLES.get(here.chosen, here.chosen)} does not work"
            words += f". {_sentence(here.reason)}" if here.reason else "."
            if modes.is_automatic and not here.is_own:
                words += " Luma chooses."
            self.verdict.show(words, "warn" if modes.has_fallback else "text2")
        is_own = bool(here and here.is_own)
        everywhere = modes.everywhere
        if is_own and everywhere is not None:
            title = TITLES.get(everywhere.chosen, everywhere.chosen)
            self.follow.tooltip.text = f"Elsewhere {title} answers; the stage follows that again"
        if not self.here_only and here is not None and not modes.is_automatic:
            self.automatic.pack(side="left", padx=(self._theme.px(8), 0))
        else:
            self.automatic.pack_forget()
        if is_own:
            self.follow.pack(side="left", padx=(self._theme.px(8), 0))
        else:
            self.follow.pack_forget()
        for card in self.cards.values():
            card.show()
        changes = {
            (change.at, change.after, change.conversation_id): change
            for state in (modes.everywhere, modes.here)
            for change in (state.history if state is not None else ())
        }
        self.history.show(sorted(changes.values(), key=lambda one: one.at, reverse=True))

    def _scoped(self, name: str) -> None:
        for key, chip in self.scopes.items():
            chip.set(key == name)
        self._show()

    def _ended(self, name: str) -> None:
        for key, chip in self.endings.items():
            chip.set(key == name)

    def _not_chosen(self, failure: Failure) -> None:
        if self._is_open:
            self.verdict.show(failure.message, "error")

    def _count(self) -> None:
        """Once a second: how long until a resting mode is tried again."""
        self._job = self.after(SECOND_MS, self._count)
        for card in self.cards.values():
            card.count_down()


class ModeCard(tk.Frame):
    """One mode: how it is, the way to use it, to set it up and to try it."""

    def __init__(self, master: tk.Misc, owner: Owner, mode: ModeName, window: ModeWindow) -> None:
        super().__init__(master, highlightthickness=1)
        self.mode: ModeName = mode
        self.pending: dict[str, SettingValue] = {}
        self.rows: dict[str, SettingRow] = {}
        self.is_unfolded = False
        self._owner = owner
        self._window = window
        self._left_s: float | None = None
        self._is_trying = False
        theme = self._theme = owner.theme
        px = theme.px
        theme.tint(self, background="surface", highlightbackground="line", highlightcolor="line")
        head = tk.Frame(self)
        theme.tint(head, background="surface")
        head.pack(fill="x", padx=px(14), pady=(px(10), 0))
        picture_label(head, theme, ICONS[mode], 18, "text2", "surface").pack(
            side="left", padx=(0, px(8))
        )
        Words(head, theme, TITLES[mode], "bodyb", "text", "surface").pack(side="left")
        self.state_words = Words(head, theme, "", "smallb", "text3", "surface")
        self.state_words.pack(side="left", fill="x", expand=True, padx=px(10))
        self.use_button = Button(
            head,
            theme,
            "Use",
            partial(window.choose, mode),
            icon="check",
            surface="surface",
            height=28,
        )
        self.use_button.pack(side="right")
        self.try_button = Button(
            head,
            theme,
            "Test",
            self.probe,
            icon="bolt",
            surface="surface",
            height=28,
            tip="Asks it the way a turn does; nothing is said, nothing is remembered",
        )
        self.try_button.pack(side="right")
        self.fold_button = Button(
            head, theme, "Set up", self.unfold, icon="gear", surface="surface", height=28
        )
        self.fold_button.pack(side="right")
        self.meaning = self._label("text3")
        self.meaning.configure(text=MEANINGS[mode])
        self.detail = self._label("text2")
        self.answer = self._label("text2")
        self._settings = tk.Frame(self)
        theme.tint(self._settings, background="surface")
        bottom = tk.Frame(self, height=px(10))
        theme.tint(bottom, background="surface")
        bottom.pack(side="bottom")
        self._say(self.answer, "", "text2")
        self.show()

    # --- what the window calls

    def show(self) -> None:
        """How it is now."""
        modes, theme = self._owner.modes, self._theme
        here = modes.everywhere if not self._window.here_only else modes.here
        here = here or modes.here
        health = modes.health(self.mode)
        is_used = here is not None and here.mode == self.mode
        is_chosen = here is not None and here.chosen == self.mode
        self._left_s = health.next_probe_s if health is not None else None
        self._show_state(health, is_used, is_chosen)
        detail = health.detail if health is not None else ""
        self._say(self.detail, detail, "warn" if health and not health.is_available else "text2")
        is_left_to_luma = modes.is_automatic and not self._window.here_only
        self.use_button.enable(here is not None and (not is_chosen or is_left_to_luma))
        self.use_button.set("Chosen" if is_chosen and not is_left_to_luma else "Use")
        self.try_button.enable(here is not None and not self._is_trying)
        is_missing = health is not None and not health.is_available and not health.is_resting
        self.fold_button.set(kind="soft" if is_missing and not self.is_unfolded else "ghost")
        edge = "accent" if is_used else "line"
        theme.tint(self, highlightbackground=edge, highlightcolor=edge)

    def show_settings(self) -> None:
        """Make the rows anew, unless somebody is typing."""
        if self.is_unfolded and not self.pending:
            self._fill()

    def count_down(self) -> None:
        """A second has passed."""
        if self._left_s:
            self._left_s = max(0.0, self._left_s - 1)
            modes = self._owner.modes
            here = modes.here
            self._show_state(
                modes.health(self.mode),
                here is not None and here.mode == self.mode,
                here is not None and here.chosen == self.mode,
            )

    def unfold(self, *, force: bool = False) -> None:
        """Show its settings, or put them away."""
        self.is_unfolded = force or not self.is_unfolded
        self.fold_button.set("Set up" if not self.is_unfolded else "Less")
        if self.is_unfolded:
            self._fill()
            px = self._theme.px
            self._settings.pack(fill="x", padx=px(14), pady=(px(8), 0))
        else:
            self._settings.pack_forget()

    def probe(self) -> None:
        """Ask it as a turn would."""
        self._is_trying = True
        self.try_button.enable(False)
        self._say(self.answer, "Asking...", "text2")
        self._owner.backend.post(
            "/api/mode/test",
            {"mode": self.mode},
            self._tried,
            self._not_tried,
            timeout_s=PROBE_TIMEOUT_S,
        )

    def save(self) -> None:
        """Send what was changed."""
        if not self.pending:
            return
        values = {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in self.pending.items()
        }
        self._owner.backend.post("/api/config", {"values": values}, self._saved, self._refused)

    # --- inside

    def _label(self, color: str) -> tk.Label:
        theme, px = self._theme, self._theme.px
        label = tk.Label(
            self,
            font=theme.font("small"),
            justify="left",
            anchor="w",
            wraplength=px(WRAP),
            borderwidth=0,
        )
        theme.tint(label, background="surface", foreground=color)
        label.bind("<Configure>", lambda e: label.configure(wraplength=max(px(200), e.width)))
        label.pack(fill="x", padx=px(14), pady=(px(3), 0))
        return label

    def _say(self, label: tk.Label, words: str, color: str) -> None:
        label.configure(text=words[:600])
        self._theme.tint(label, foreground=color)
        if words:
            label.pack(
                fill="x",
                padx=self._theme.px(14),
                pady=(self._theme.px(3), 0),
                after=self._above(label),
            )
        else:
            label.pack_forget()

    def _above(self, label: tk.Label) -> tk.Misc:
        return self.detail if label is self.answer and self.detail.winfo_manager() else self.meaning

    def _show_state(self, health: ModeHealth | None, is_used: bool, is_chosen: bool) -> None:
        words: str
        if health is None:
            words, color = "", "text3"
        elif health.is_resting:
            again = f", tried again in {self._left_s:.0f} s" if self._left_s else ", being tried"
            words, color = f"does not answer{again}", "warn"
        elif not health.is_available:
            words, color = "not set up", "warn" if is_chosen else "text3"
        elif is_used:
            words, color = "answers now", "ok"
        else:
            words, color = "ready", "ok"
        if is_used and not is_chosen:
            words, color = "stands in", "warn"
        self.state_words.show(words, color)

    def _fill(self) -> None:
        theme, px = self._theme, self._theme.px
        for child in self._settings.winfo_children():
            child.destroy()
        self.rows = {}
        stage = self._owner.stage
        places = {name: place for place, name in enumerate(TITLES_OF_SETTINGS)}
        found = sorted(
            (s for name, s in stage.settings.items() if name.startswith(SETTINGS[self.mode])),
            key=lambda one: places.get(one.name, len(places)),
        )
        for setting in found:
            row = SettingRow(self._settings, theme, setting, self.pending, self._count)
            row.pack(fill="x", pady=px(6))
            self.rows[setting.name] = row
        if not found:
            words = "This backend has no settings for this mode."
            Words(self._settings, theme, words, "small", "text3", "surface").pack(fill="x")
        line = tk.Frame(self._settings)
        theme.tint(line, background="surface")
        line.pack(fill="x", pady=(px(4), 0))
        self.save_button = Button(
            line, theme, "Save and test", self.save, icon="check", kind="accent", surface="surface"
        )
        self.save_button.pack(side="right")
        self.summary = Words(line, theme, "", "small", "text2", "surface")
        self.summary.pack(side="left", fill="x", expand=True)
        self._count()

    def _count(self) -> None:
        count = len(self.pending)
        faulty = any(row.trouble for row in self.rows.values())
        self.save_button.enable(count > 0 and not faulty)
        words = "One value cannot be saved like this." if faulty else ""
        if count and not faulty:
            words = f"{count} change{'s' if count > 1 else ''}, not saved yet"
        self.summary.show(words, "error" if faulty else "accent")

    def _saved(self, _value: Any) -> None:
        if self.winfo_exists():
            self.pending.clear()
            self._owner.stage.load_settings()
            self._count()
            self.summary.show("Saved.", "ok")
            self.probe()

    def _refused(self, failure: Failure) -> None:
        if not self.winfo_exists():
            self._owner.notify(failure.message, "error")
            return
        for name, row in self.rows.items():
            if name in failure.message:
                row.take_fault(failure.message)
        self._count()
        self.summary.show(failure.message, "error")

    def _tried(self, value: Any) -> None:
        if self.winfo_exists():
            self._end_try()
            words = str(value.get("detail") or "It answers.") if isinstance(value, dict) else ""
            elapsed = value.get("elapsed_ms") if isinstance(value, dict) else None
            if isinstance(elapsed, int | float):
                words += f" ({elapsed:,.0f} ms)"
            self._say(self.answer, f"\u2713 {words}", "ok")

    def _not_tried(self, failure: Failure) -> None:
        if self.winfo_exists():
            self._end_try()
            self._say(self.answer, failure.message, "error")

    def _end_try(self) -> None:
        self._is_trying = False
        self.try_button.enable(True)
        self._owner.modes.load()


class HistoryList(RowList):
    """Changes of the mode, newest first."""

    row_height = float(ROW_HEIGHT)

    def __init__(self, master: tk.Misc, theme: Theme) -> None:
        super().__init__(master, theme)
        self.changes: list[ModeChange] = []
        self.label = "Changes of the mode, newest first"

    def show(self, changes: list[ModeChange]) -> None:
        """Show these."""
        if changes != self.changes:
            self.changes = changes
            self.changed()

    def count(self) -> int:
        return len(self.changes)

    def tip_of(self, number: int) -> str:
        return change_words(self.changes[number])

    def paint_row(self, number: int, y: float, width: float) -> None:
        p = self.painter
        change = self.changes[number]
        middle = y + ROW_HEIGHT / 2
        at = change.at.astimezone()
        p.text(10, middle, f"{at:%d %b  %H:%M:%S}", "monos", "text3")
        icon, color = ("warn", "warn") if change.is_automatic else ("person", "text2")
        p.icon(134, middle, icon, 13, color)
        what = f"{TITLES.get(change.before, change.before)} \u2192 {TITLES.get(change.after, change.after)}"
        p.text(150, middle, what, "smallb", clip=220)
        words = ("by itself: " if change.is_automatic else "") + change.reason
        if change.conversation_id:
            words += "  (stage only)"
        p.text(376, middle, words, "cap", "text2", clip=max(20.0, width - 386))

    def paint(self) -> None:
        super().paint()
        if not self.changes:
            p = self.painter
            words = "Nothing has changed since the start."
            p.text(p.width / 2, p.height / 2, words, "small", "text3", "center")


def change_words(change: ModeChange) -> str:
    """A change as one sentence."""
    how = "by itself" if change.is_automatic else "by choice"
    return (
        f"{change.at.astimezone():%H:%M:%S}  {TITLES.get(change.before, change.before)} \u2192"
        f" {TITLES.get(change.after, change.after)}, {how}: {change.reason}"
    )


def _sentence(words: str) -> str:
    words = words[:1].upper() + words[1:]
    return words if words.endswith((".", "!", "?")) else f"{words}."
