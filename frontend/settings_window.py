"""The settings window: every setting by group, what it means, and why one cannot be changed here.

Rows are made from what ``GET /api/config`` says, so a setting of a newer backend appears by itself. Nothing is sent before
Save; a wrong value stays in its row with the reason.
"""

from __future__ import annotations

import re
import tkinter as tk
from collections.abc import Callable
from functools import partial
from tkinter import filedialog
from typing import Any, Protocol

from backend.contracts.settings import SettingInfo, SettingValue
from frontend.client import Failure
from frontend.owner import WindowOwner
from frontend.setting_names import CHOICES, HEARING, INSIDE, MODES, TITLES
from frontend.stage import PROVIDER_TITLES, read_models
from frontend.theme import SCALES, Theme
from frontend.widgets.controls import Button, Dropdown, Radio, Switch, Words, picture_label
from frontend.widgets.field import Field
from frontend.widgets.popup import Choice
from frontend.widgets.toplevel import OneWindow

WINDOW = "Window"
SIZE = (900, 660)
SMALLEST = (640, 400)
SIDE = 190
LABEL = 250
ICONS = {
    WINDOW: "panel",
    "Server": "cpu",
    "Storage": "folder",
    "Logging": "logs",
    "Thinking": "spark",
    "Providers": "key",
    "Modes": "open",
    "Autonomy": "spark",
    "Speaking": "volume",
    "Hearing": "voice",
    "Modules": "filter",
    "Twitch": "chat",
    "Moderation": "shield",
}
ROLES = {
    "MEMORY": "Role: memory",
    "VISION": "Role: vision",
    "INTERNET": "Role: internet",
    "AUTONOMY": "Role: autonomy",
    "MODERATION": "Role: moderation",
}
PROVIDERS = {
    "OPENROUTER": "OpenRouter",
    "OPENAI_COMPATIBLE": "Any OpenAI-compatible server",
    "OPENAI": "OpenAI",
    "ANTHROPIC": "Anthropic",
    "OLLAMA": "Ollama",
    "LLAMACPP": "llama.cpp",
    "LMSTUDIO": "LM Studio",
}
THEMES = (("system", "Like the system"), ("dark", "Dark"), ("light", "Light"))


class Owner(WindowOwner, Protocol):
    """What the settings window needs of the main window."""

    @property
    def state(self) -> dict[str, Any]:
        """What the window remembers."""

    def set_theme(self, choice: str) -> None:
        """Switch to dark, light or system."""

    def set_scale(self, scale: float) -> None:
        """Draw everything at another size."""


def heading_of(setting: SettingInfo) -> str:
    """The line a setting stands under within its group; empty for none."""
    if setting.name.startswith("LLM_"):
        role = setting.name.split("_")[1]
        return ROLES.get(role, "")
    if setting.group == "Providers":
        for prefix, title in PROVIDERS.items():
            if setting.name.startswith(prefix + "_"):
                return title
    if setting.group == "Modes":
        return next((title for title, names in MODES.items() if setting.name in names), "")
    if setting.group == "Hearing":
        # One of a newer backend stands where the other names of its kind do.
        usual = "Reading what was said" if "ASR_" not in setting.name else INSIDE
        return next((title for title, names in HEARING.items() if setting.name in names), usual)
    return ""


def in_order(settings: list[SettingInfo]) -> list[SettingInfo]:
    """Settings under their headings: those of hearing as a person looks for them, others as they come."""
    places = {name: n for n, name in enumerate(TITLES)}
    headings = list(HEARING)

    def place(setting: SettingInfo) -> tuple[int, int]:
        if setting.group != "Hearing":
            return (0, 0)
        return headings.index(heading_of(setting)), places.get(setting.name, len(places))

    return sorted(settings, key=place)


def read_value(setting: SettingInfo, text: str) -> SettingValue:
    """What was typed for a setting, as the kind of value it is.

    Raises:
        ValueError: With a message for the person who typed it.
    """
    text = text.strip()
    if setting.kind in ("integer", "number"):
        if not text and setting.default is None:
            return None
        try:
            value = int(text) if setting.kind == "integer" else float(text)
        except ValueError:
            kind = "a whole number" if setting.kind == "integer" else "a number"
            raise ValueError(f"{text[:40]!r} is not {kind}.") from None
        low, high = setting.lowest, setting.highest
        if (low is not None and value < low) or (high is not None and value > high):
            raise ValueError(f"{text[:40]} is outside: {setting.allowed}.")
        return value
    if setting.kind == "list":
        return tuple(part.strip() for part in re.split(r"[,\n]", text) if part.strip())
    if setting.kind == "path" and not text and setting.default is None:
        return None
    return text


def shown_value(value: SettingValue) -> str:
    """A value as it is edited."""
    if value is None:
        return ""
    if isinstance(value, tuple | list):
        return ", ".join(str(part) for part in value)
    if isinstance(value, float):
        return f"{value:g}"
    return str(value)


class SettingRow(tk.Frame):
    """One setting: name and meaning at the left, its control at the right, the reason or fault below."""

    def __init__(
        self,
        master: tk.Misc,
        theme: Theme,
        setting: SettingInfo,
        pending: dict[str, SettingValue],
        changed: Callable[[], object],
    ) -> None:
        super().__init__(master)
        self.setting = setting
        self.trouble = ""
        self._theme = theme
        self._pending = pending
        self._changed = changed
        px = theme.px
        theme.tint(self, background="surface")
        words = tk.Frame(self, width=px(LABEL))
        theme.tint(words, background="surface")
        words.pack(side="left", fill="y", padx=(0, px(12)))
        name = tk.Frame(words)
        theme.tint(name, background="surface")
        name.pack(fill="x", anchor="w")
        label = tk.Label(name, text=title_of(setting), font=theme.font("smallb"), borderwidth=0)
        theme.tint(label, background="surface", foreground="text")
        label.pack(side="left")
        if setting.restart_needed:
            self._chip(name, "after a restart")
        meaning = tk.Label(
            words,
            text=f"{setting.meaning}\n{setting.name}",
            font=theme.font("cap"),
            justify="left",
            anchor="w",
            wraplength=px(LABEL),
            borderwidth=0,
        )
        theme.tint(meaning, background="surface", foreground="text3")
        meaning.pack(fill="x", anchor="w", pady=(px(2), 0))
        width = tk.Frame(
            words, width=px(LABEL), height=1
        )  # all labels one width, all controls one edge
        theme.tint(width, background="surface")
        width.pack()
        right = tk.Frame(self)
        theme.tint(right, background="surface")
        right.pack(side="left", fill="x", expand=True, anchor="n")
        line = tk.Frame(right)
        theme.tint(line, background="surface")
        line.pack(fill="x")
        self.control = self._make_control(line)
        self._note = tk.Label(
            right,
            font=theme.font("cap"),
            justify="left",
            anchor="w",
            wraplength=px(330),
            borderwidth=0,
        )
        theme.tint(self._note, background="surface", foreground="text3")
        self._note.pack(fill="x", pady=(px(3), 0), padx=px(3))
        self._show_note()

    def take_fault(self, text: str) -> None:
        """Show why the backend refused this value."""
        self.trouble = text
        self._show_note()

    def _chip(self, master: tk.Misc, text: str) -> None:
        chip = tk.Label(master, text=text, font=self._theme.font("cap"), borderwidth=0)
        self._theme.tint(chip, background="raised", foreground="text3")
        chip.pack(side="left", padx=(self._theme.px(8), 0), ipadx=self._theme.px(5))

    def _make_control(self, line: tk.Frame) -> tk.Widget:
        setting, theme = self.setting, self._theme
        value = self._pending.get(setting.name, setting.value)
        usable = not setting.locked
        label = title_of(setting)
        control: tk.Widget
        if setting.kind == "switch":
            control = Switch(line, theme, command=self._keep, on=bool(value), label=label)
            control.enable(usable)
            control.pack(side="left", anchor="w")
        elif setting.kind == "choice":
            choices = [
                Choice(
                    name,
                    CHOICES.get(setting.name, {}).get(name)
                    or PROVIDER_TITLES.get(name, name or "as the main role"),
                )
                for name in setting.choices
            ]
            if "" not in setting.choices and setting.default == "":
                usual = CHOICES.get(setting.name, {}).get("") or "as the main role"
                choices.insert(0, Choice("", usual))
            control = Dropdown(
                line,
                theme,
                choices,
                self._keep,
                value=str(value or ""),
                width=220,
                surface="surface",
                label=label,
            )
            control.enable(usable)
            control.pack(side="left", fill="x", expand=True)
        else:
            control = self._make_field(line, value, usable, label)
        if setting.locked:
            picture_label(line, theme, "lock", 15, "text3", "surface").pack(
                side="left", padx=theme.px(8)
            )
        elif self._differs(setting.value) and setting.kind != "secret":
            Button(
                line,
                theme,
                icon="refresh",
                kind="plain",
                surface="surface",
                height=26,
                label=f"Back to the default: {shown_value(setting.default) or 'empty'}",
                command=lambda: self._keep(None, reset=True),
            ).pack(side="left", padx=(theme.px(4), 0))
        return control

    def _make_field(
        self, line: tk.Frame, value: SettingValue, usable: bool, label: str
    ) -> tk.Widget:
        setting, theme = self.setting, self._theme
        secret = setting.kind == "secret"
        empty = shown_value(setting.default) or setting.allowed
        if empty == "text":
            empty = ""
        if secret:
            empty = str(setting.value) or "Not set. Paste the key here."
        field = Field(
            line,
            theme,
            placeholder=empty[:60],
            on_change=self._typed,
            secret=secret,
            surface="surface",
            label=label,
            height=30,
        )
        if not secret or setting.name in self._pending:
            field.set(shown_value(value))
        field.enable(usable)
        field.pack(side="left", fill="x", expand=True, padx=theme.px(3))
        if setting.kind == "path" and usable:
            Button(
                line,
                theme,
                icon="folder",
                kind="plain",
                surface="surface",
                height=26,
                label="Choose",
                command=lambda: self._browse(field),
            ).pack(side="left")
        if secret and setting.value and usable:
            Button(
                line,
                theme,
                icon="trash",
                kind="plain",
                surface="surface",
                height=26,
                label="Forget this key",
                command=lambda: self._keep(None, reset=True),
            ).pack(side="left")
        return field

    def _differs(self, value: SettingValue) -> bool:
        return shown_value(value) != shown_value(self.setting.default)

    def _browse(self, field: Field) -> None:
        ask_folder = self.setting.name.endswith("_DIR")
        name = (
            filedialog.askdirectory(parent=self)
            if ask_folder
            else filedialog.askopenfilename(parent=self)
        )
        if name:
            field.set(name)
            self._typed(name)

    def _typed(self, text: str) -> None:
        setting = self.setting
        if setting.kind == "secret" and not text:
            self._pending.pop(setting.name, None)
            self.trouble = ""
            self._show_note()
            self._changed()
            return
        try:
            value = read_value(setting, text)
        except ValueError as error:
            self.trouble = str(error)
            self._pending.pop(setting.name, None)
            self._show_note()
            self._changed()
            return
        self._keep(value)

    def _keep(self, value: SettingValue, *, reset: bool = False) -> None:
        self.trouble = ""
        if not reset and shown_value(value) == shown_value(self.setting.value):
            self._pending.pop(self.setting.name, None)
        else:
            self._pending[self.setting.name] = value
        if reset:
            self._show_reset()
        self._show_note()
        self._changed()

    def _show_reset(self) -> None:
        default = self.setting.default
        if isinstance(self.control, Field):
            self.control.set("" if self.setting.kind == "secret" else shown_value(default))
        elif isinstance(self.control, Switch):
            self.control.set(bool(default))
        elif isinstance(self.control, Dropdown):
            self.control.set(str(default or ""))

    def _show_note(self) -> None:
        setting, theme = self.setting, self._theme
        if isinstance(self.control, Field):
            self.control.mark(bool(self.trouble))
        if self.trouble:
            text, color = self.trouble, "error"
        elif setting.locked:
            text, color = f"Cannot be changed here: {setting.locked}.", "warn"
        elif setting.name in self._pending:
            kept = self._pending[setting.name]
            if kept is None and setting.kind == "secret":
                text, color = "The key is forgotten when you save.", "accent"
            else:
                text, color = "Changed, not saved yet.", "accent"
        elif setting.kind in ("number", "integer", "list") and setting.allowed:
            text, color = setting.allowed, "text3"
        else:
            text, color = "", "text3"
        theme.tint(self._note, foreground=color)
        self._note.configure(text=text)


def title_of(setting: SettingInfo) -> str:
    """A readable name: LLM_MAX_TOKENS reads "LLM max tokens"."""
    if setting.name in TITLES:
        return TITLES[setting.name]
    name = setting.name.removeprefix("ASR_")
    for role in ROLES:
        name = name.replace(f"LLM_{role}_", "")
    if setting.group == "Providers":
        for prefix in PROVIDERS:
            if name.startswith(prefix + "_"):
                name = name[len(prefix) + 1 :]
                break
    upper = {"LLM", "TTS", "STT", "API", "URL", "TLS", "GPU", "KB", "MB", "CORS"}
    words = [
        word if word in upper else "OpenAI" if word == "OPENAI" else word.lower()
        for word in name.split("_")
        if word != "S" or name == "S"
    ]
    text = " ".join(words)
    return text[:1].upper() + text[1:]


class SettingsWindow(OneWindow):
    """The window; one at a time, `open` raises the one there is."""

    @classmethod
    def open(cls, owner: Owner, field: str = "") -> SettingsWindow:
        """Show it, at a setting where one is named."""
        window = cls.one(lambda: cls(owner))
        window.show_setting(field)
        return window

    def __init__(self, owner: Owner) -> None:
        super().__init__(owner.root, owner.theme, "Luma settings")
        self._owner = owner
        theme, px = owner.theme, owner.theme.px
        self.settings: list[SettingInfo] = []
        self.rows: dict[str, SettingRow] = {}
        self.pending: dict[str, SettingValue] = {}
        self.shown_group = WINDOW
        self._wanted = ""
        side = tk.Frame(self, width=px(SIDE))
        theme.tint(side, background="rail")
        side.pack(side="left", fill="y")
        side.pack_propagate(False)
        self._side = side
        self._search = Field(
            side,
            theme,
            placeholder="Search",
            on_change=self._searched,
            icon="search",
            surface="rail",
            width=SIDE - 24,
        )
        self._search.pack(padx=px(12), pady=px(12))
        self._groups: dict[str, Button] = {}
        foot = self._foot(16, 10)
        self._save_button = Button(
            foot, theme, "Save", self.save, kind="accent", icon="check", tip="Save   Ctrl+S"
        )
        self._save_button.pack(side="right")
        self._revert_button = Button(foot, theme, "Undo changes", self._revert, icon="refresh")
        self._revert_button.pack(side="right", padx=px(4))
        self._summary = Words(foot, theme, "", "small", "text2")
        self._summary.pack(side="left", fill="x", expand=True)
        self._scroll = self._scrolled(8, 16)
        self.bind("<Control-s>", lambda _: self.save())
        self.bind("<Control-f>", lambda _: self._search.entry.focus_set())
        self._show_groups()
        self._show_group(WINDOW)
        self._count()
        self._appear(SIZE, SMALLEST)
        self._search.entry.focus_force()  # the user asked for this window: typing searches at once
        self.load()

    # --- what others call -----------------------------------------------------------------------------------------

    def load(self) -> None:
        """Ask the backend for its settings."""
        self._owner.backend.get("/api/config", self._took, self._not_loaded)

    def show_setting(self, name: str) -> None:
        """Scroll to a setting; it is looked for again once the settings have arrived."""
        self._wanted = name
        setting = next((s for s in self.settings if s.name == name), None)
        if setting is not None:
            self._show_group(setting.group)
            row = self.rows.get(name)
            if row is not None:
                self._scroll.see(row)
                (row.control.entry if isinstance(row.control, Field) else row.control).focus_force()
            self._wanted = ""

    def save(self) -> None:
        """Send what was changed."""
        if not self.pending:
            return
        values = {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in self.pending.items()
        }
        self._save_button.enable(False)
        self._owner.backend.post("/api/config", {"values": values}, self._saved, self._refused)

    def close(self) -> None:
        """Close; what was not saved is gone, and said so."""
        if self.pending:
            count = len(self.pending)
            self._owner.notify(f"{count} setting{'s' if count > 1 else ''} not saved.", "warn")
        self.destroy()

    # --- inside ---------------------------------------------------------------------------------------------------

    def _took(self, value: Any) -> None:
        if not self.winfo_exists():
            return
        self.settings = read_models(SettingInfo, value, "settings", "items")
        self._show_groups()
        scrolled = self._scroll.scrolled
        self._show_again()
        self._scroll.scroll_to(scrolled)
        if self._wanted:
            self.show_setting(self._wanted)

    def _not_loaded(self, failure: Failure) -> None:
        if self.winfo_exists():
            self._summary.show(failure.message, "error")

    def _show_groups(self) -> None:
        names = [WINDOW, *dict.fromkeys(setting.group for setting in self.settings)]
        if list(self._groups) == names:
            return
        for button in self._groups.values():
            button.destroy()
        px = self._theme.px
        self._groups = {}
        for name in names:
            button = Button(
                self._side,
                self._theme,
                name,
                partial(self._choose_group, name),
                icon=ICONS.get(name, "gear"),
                kind="plain",
                surface="rail",
                height=32,
                width=SIDE - 24,
                align="w",
            )
            button.pack(padx=px(9), anchor="w")
            self._groups[name] = button

    def _choose_group(self, name: str) -> None:
        """A group was pressed: that ends a search."""
        self._search.set("")
        self._show_group(name)

    def _show_again(self) -> None:
        """What is shown, with the settings as they are now."""
        if self._search.text:
            self._searched(self._search.text)
        else:
            self._show_group(self.shown_group)

    def _show_group(self, name: str) -> None:
        """Rows of one group."""
        self.shown_group = name
        for key, button in self._groups.items():
            button.set(kind="soft" if key == name else "plain")
        found = in_order([setting for setting in self.settings if setting.group == name])
        self._fill(name, found, window=name == WINDOW)

    def _searched(self, text: str) -> None:
        words = text.casefold().split()
        if not words:
            self._show_group(self.shown_group)
            return
        found = [
            setting
            for setting in self.settings
            if all(
                word in f"{setting.name} {title_of(setting)} {setting.meaning}".casefold()
                for word in words
            )
        ]
        self._fill(f"{len(found)} found", found[:40])

    def _fill(self, title: str, settings: list[SettingInfo], *, window: bool = False) -> None:
        theme, px = self._theme, self._theme.px
        inner = self._scroll.inner
        for child in inner.winfo_children():
            child.destroy()
        self.rows = {}
        Words(inner, theme, title, "h1").pack(fill="x", pady=(0, px(10)))
        if window:
            self._fill_window(self._card(inner))
        if not settings and not window:
            words = "Nothing fits these words." if self._search.text else "Loading..."
            Words(inner, theme, words, "small", "text3").pack(fill="x")
        card: tk.Frame | None = None
        heading: str | None = None
        for setting in settings:
            under = heading_of(setting)
            if card is None or under != heading:
                heading = under
                if under:
                    Words(inner, theme, under, "bodyb").pack(fill="x", pady=(px(6), px(6)))
                card = self._card(inner)
            row = SettingRow(card, theme, setting, self.pending, self._count)
            row.pack(fill="x", padx=px(14), pady=px(9))
            self.rows[setting.name] = row
        self._scroll.to_top()

    def _card(self, master: tk.Misc) -> tk.Frame:
        card = tk.Frame(master, highlightthickness=1)
        self._theme.tint(
            card, background="surface", highlightbackground="line", highlightcolor="line"
        )
        card.pack(fill="x", padx=(0, self._theme.px(8)), pady=(0, self._theme.px(10)))
        return card

    def _fill_window(self, card: tk.Frame) -> None:
        """The window's own settings act at once and live in its memory, not in the backend."""
        theme, px = self._theme, self._theme.px
        row = self._own_row(card, "Theme", "Dark or light; follows the system where it says.")
        radios: dict[str, Radio] = {}

        def choose(choice: str, _on: bool) -> None:
            for name, radio in radios.items():
                radio.set(name == choice)
            self._owner.set_theme(choice)

        now = str(self._owner.state.get("theme", "system"))
        for name, words in THEMES:
            radio = radios[name] = Radio(row, theme, words, partial(choose, name), on=name == now)
            radio.pack(anchor="w")
        row = self._own_row(card, "Size", "Everything in the window, from 100 to 250 %.")
        choices = [Choice(f"{scale}", f"{scale * 100:.0f} %") for scale in SCALES]
        Dropdown(
            row,
            theme,
            choices,
            self._rescale,
            value=f"{theme.scale}",
            width=140,
            surface="surface",
            label="Size",
        ).pack(anchor="w")
        row = self._own_row(card, "Keys", "Every command has a key or is in the list of Ctrl+K.")
        words = "F1: all keys    Ctrl+K: all commands    Esc: silence"
        Words(row, theme, words, "small", "text2", "surface").pack(fill="x", pady=px(4))

    def _own_row(self, card: tk.Frame, title: str, meaning: str) -> tk.Frame:
        theme, px = self._theme, self._theme.px
        line = tk.Frame(card)
        theme.tint(line, background="surface")
        line.pack(fill="x", padx=px(14), pady=px(9))
        words = tk.Frame(line, width=px(LABEL))
        theme.tint(words, background="surface")
        words.pack(side="left", anchor="n", padx=(0, px(12)))
        Words(words, theme, title, "smallb", "text", "surface").pack(fill="x")
        label = tk.Label(
            words,
            text=meaning,
            font=theme.font("cap"),
            justify="left",
            anchor="w",
            wraplength=px(LABEL),
            width=1,
            borderwidth=0,
        )
        theme.tint(label, background="surface", foreground="text3")
        label.pack(fill="x")
        spacer = tk.Frame(words, width=px(LABEL), height=1)
        theme.tint(spacer, background="surface")
        spacer.pack()
        right = tk.Frame(line)
        theme.tint(right, background="surface")
        right.pack(side="left", fill="x", expand=True, anchor="n")
        return right

    def _rescale(self, value: str) -> None:
        # The window is built anew at the other size, and this one with it.
        owner = self._owner
        pending, group = self.pending, self.shown_group
        self.pending = {}
        self.destroy()
        owner.set_scale(float(value))
        window = SettingsWindow.open(owner)
        window.pending = pending
        window._show_group(group)
        window._count()

    def _revert(self) -> None:
        self.pending.clear()
        self._show_again()
        self._count()

    def _count(self) -> None:
        count = len(self.pending)
        faulty = sum(bool(row.trouble) for row in self.rows.values())
        self._save_button.enable(count > 0 and not faulty)
        self._revert_button.enable(count > 0 or faulty > 0)
        if faulty:
            self._summary.show(f"{faulty} cannot be saved like this", "error")
        elif count:
            restart = any(
                setting.restart_needed for setting in self.settings if setting.name in self.pending
            )
            more = "; some wait for a restart" if restart else ""
            self._summary.show(f"{count} change{'s' if count > 1 else ''}{more}", "accent")
        else:
            self._summary.show("")

    def _saved(self, value: Any) -> None:
        waiting = value.get("restart_needed", ()) if isinstance(value, dict) else ()
        if waiting:
            names = ", ".join(str(name) for name in waiting)
            self._owner.notify(f"Saved. {names} take effect after a restart.", "ok")
        else:
            self._owner.notify("Saved.", "ok")
        if self.winfo_exists():
            self.pending.clear()
            self._count()
            self._summary.show("Saved.", "ok")
            self.load()

    def _refused(self, failure: Failure) -> None:
        if not self.winfo_exists():
            self._owner.notify(failure.message, "error")
            return
        for name, row in self.rows.items():
            if name in failure.message:
                row.take_fault(failure.message)
        self._count()
        self._summary.show(failure.message, "error")
