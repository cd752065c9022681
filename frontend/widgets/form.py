"""A form made of what it asks for: one row per value, with its name, its meaning, and what is wrong with it right below.

Values are what travels as JSON; a name with a point in it ("points.mention") is a value inside a value.
"""

from __future__ import annotations

import tkinter as tk
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

from frontend.theme import Theme
from frontend.widgets.controls import RING, Chip, Dropdown, Switch, Words
from frontend.widgets.field import Field
from frontend.widgets.popup import Choice
from frontend.widgets.text_box import TextBox

Kind = Literal["switch", "number", "whole", "text", "long", "lines", "choice", "flags"]
"""On or off; a number; a whole one; a line; several lines; a list, one per line; one of several; any of several."""

LABEL = 196
NUMBER = 92


@dataclass(frozen=True, slots=True)
class Ask:
    """One value.

    Attributes:
        name: Its place in the values.
        about: What it means, below it.
        unit: Behind a number.
        choices: Value and words of each.
    """

    name: str
    title: str
    kind: Kind
    about: str = ""
    unit: str = ""
    choices: tuple[tuple[str, str], ...] = ()
    placeholder: str = ""


class Form(tk.Frame):
    """The rows.

    Args:
        master: Where it lives.
        theme: The window's theme.
        asks: What is asked for, in order.
        changed: Called after each change by a person.
        label: Width of the names.
    """

    def __init__(
        self,
        master: tk.Misc,
        theme: Theme,
        asks: Sequence[Ask],
        changed: Callable[[], object],
        *,
        surface: str = "surface",
        label: float = LABEL,
    ) -> None:
        super().__init__(master, borderwidth=0)
        self.theme = theme
        self.rows: dict[str, Row] = {}
        theme.tint(self, background=surface)
        for ask in asks:
            row = Row(self, theme, ask, changed, surface, label)
            row.pack(fill="x", pady=(0, theme.px(8)))
            self.rows[ask.name] = row

    def show(self, values: Mapping[str, Any]) -> None:
        """Show values; what is not among them stays."""
        for name, row in self.rows.items():
            found = value_at(values, name)
            if found is not MISSING:
                row.show(found)
            row.mark("")

    def values(self) -> tuple[dict[str, Any], dict[str, str]]:
        """What was entered, nested; and what is wrong with it by name, before anybody else has looked."""
        values: dict[str, Any] = {}
        troubles: dict[str, str] = {}
        for name, row in self.rows.items():
            value, trouble = row.value()
            if trouble:
                troubles[name] = trouble
            else:
                put_at(values, name, value)
        return values, troubles

    def mark(self, troubles: Mapping[str, str]) -> None:
        """Show what is wrong at its rows, and put the keyboard into the first."""
        for name, row in self.rows.items():
            row.mark(troubles.get(name, ""))
        first = next((row for name, row in self.rows.items() if name in troubles), None)
        if first is not None:
            first.focus_in()


class Row(tk.Frame):
    """One value: its name at the left, its control at the right, meaning and trouble below."""

    def __init__(
        self,
        master: tk.Misc,
        theme: Theme,
        ask: Ask,
        changed: Callable[[], object],
        surface: str,
        label: float,
    ) -> None:
        super().__init__(master, borderwidth=0)
        self.ask = ask
        self.control: tk.Widget
        self._theme = theme
        self._changed = changed
        self._surface = surface
        self._chips: dict[str, Chip] = {}
        px = theme.px
        theme.tint(self, background=surface)
        self.columnconfigure(1, weight=1)
        self.columnconfigure(0, minsize=px(label))
        name = Words(self, theme, ask.title, "small", "text", surface)
        name.grid(row=0, column=0, sticky="nw", pady=(px(7), 0), padx=(0, px(12)))
        self.control = self._make()
        whole = ask.kind in ("text", "long", "lines", "flags")
        # Drawn controls keep room for their ring; fields begin where those seem to.
        ring = 0 if ask.kind in ("switch", "choice", "flags") else px(RING)
        self.control.grid(row=0, column=1, sticky="ew" if whole else "w", padx=(ring, 0))
        if ask.unit:
            unit = Words(self, theme, ask.unit, "small", "text3", surface)
            unit.grid(row=0, column=1, sticky="w", padx=(px(NUMBER + 13), 0))
        if ask.about:
            self._wrapped(ask.about, "cap", "text3").grid(
                row=1, column=1, sticky="ew", padx=(px(RING), 0)
            )
        self.trouble = self._wrapped("", "small", "error")

    def show(self, value: Any) -> None:
        """Show a value without telling of a change."""
        control = self.control
        match self.ask.kind:
            case "switch":
                assert isinstance(control, Switch)
                control.set(bool(value))
            case "choice":
                assert isinstance(control, Dropdown)
                control.set("" if value is None else str(value))
            case "flags":
                chosen = set(value or ())
                for name, chip in self._chips.items():
                    chip.set(name in chosen)
            case "lines":
                assert isinstance(control, TextBox)
                control.set("\n".join(str(line) for line in value or ()))
            case "long":
                assert isinstance(control, TextBox)
                control.set(str(value or ""))
            case _:
                assert isinstance(control, Field)
                control.set(
                    _number(value) if self.ask.kind in ("number", "whole") else str(value or "")
                )

    def value(self) -> tuple[Any, str]:
        """What was entered, and what is wrong with it."""
        control = self.control
        match self.ask.kind:
            case "switch":
                assert isinstance(control, Switch)
                return control.on, ""
            case "choice":
                assert isinstance(control, Dropdown)
                return control.value, ""
            case "flags":
                return [name for name, chip in self._chips.items() if chip.on], ""
            case "lines":
                assert isinstance(control, TextBox)
                lines = (line.strip() for line in control.words.splitlines())
                return [line for line in lines if line], ""
            case "long":
                assert isinstance(control, TextBox)
                return control.words.strip(), ""
        assert isinstance(control, Field)
        text = control.text.strip()
        if self.ask.kind == "text":
            return text, ""
        try:
            number = float(text.replace(",", ".").replace("\u2212", "-"))
        except ValueError:
            return None, f"\u201c{text[:20]}\u201d is not a number." if text else "Give a number."
        if self.ask.kind == "whole":
            if number != int(number) if abs(number) < 1e15 else True:
                return None, "Give a whole number."
            return int(number), ""
        return number, ""

    def enable(self, enabled: bool) -> None:
        """Let it be edited or not."""
        control = self.control
        if isinstance(control, Field | Switch | Dropdown):
            control.enable(enabled)
        elif isinstance(control, TextBox):
            control.text.configure(state="normal" if enabled else "disabled")

    def mark(self, words: str) -> None:
        """Show what is wrong with it; empty = nothing."""
        self.trouble.configure(text=words)
        if words:
            self.trouble.grid(row=2, column=1, sticky="ew", padx=(self._theme.px(RING), 0))
        else:
            self.trouble.grid_remove()
        if isinstance(self.control, Field):
            self.control.mark(bool(words))

    def focus_in(self) -> None:
        """Put the keyboard here."""
        control = self.control
        if isinstance(control, Field):
            control.entry.focus_set()
        elif isinstance(control, TextBox):
            control.text.focus_set()
        else:
            control.focus_set()

    # --- inside

    def _make(self) -> tk.Widget:
        ask, theme = self.ask, self._theme
        surface = self._surface
        match ask.kind:
            case "switch":
                return Switch(self, theme, command=self._told, surface=surface, label=ask.title)
            case "choice":
                return Dropdown(
                    self, theme, [Choice(value, words) for value, words in ask.choices],
                    self._told, width=240, surface=surface, label=ask.title,
                )  # fmt: skip
            case "flags":
                frame = tk.Frame(self, borderwidth=0)
                theme.tint(frame, background=surface)
                for number, (value, words) in enumerate(ask.choices):
                    chip = Chip(frame, theme, words, self._told, surface=surface, height=24)
                    chip.grid(row=number // 4, column=number % 4, sticky="w")
                    self._chips[value] = chip
                return frame
            case "long" | "lines":
                return TextBox(
                    self, theme, self._told, label=ask.title, placeholder=ask.placeholder,
                    lines=2, most=8, surface=surface,
                )  # fmt: skip
        wide = NUMBER if ask.kind in ("number", "whole") else 200
        return Field(
            self, theme, placeholder=ask.placeholder, on_change=self._told, width=wide, height=30,
            surface=surface, label=ask.title,
        )  # fmt: skip

    def _told(self, _value: object) -> None:
        self.mark("")
        self._changed()

    def _wrapped(self, text: str, font: Any, color: str) -> tk.Label:
        theme = self._theme
        made = tk.Label(
            self,
            text=text,
            font=theme.font(font),
            anchor="w",
            justify="left",
            borderwidth=0,
            padx=0,
        )
        theme.tint(made, background=self._surface, foreground=color)
        made.bind("<Configure>", partial(_wrap, made, theme.px(100)))
        return made


class _Missing:
    """No such value."""


MISSING = _Missing()


def value_at(values: Mapping[str, Any], name: str) -> Any:
    """A value by its place; `MISSING` when there is none."""
    found: Any = values
    for part in name.split("."):
        if not isinstance(found, Mapping) or part not in found:
            return MISSING
        found = found[part]
    return found


def put_at(values: dict[str, Any], name: str, value: Any) -> None:
    """Put a value into its place."""
    *outer, last = name.split(".")
    for part in outer:
        values = values.setdefault(part, {})
    values[last] = value


def _number(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else "" if value is None else str(value)


def _wrap(label: tk.Label, least: int, event: Any) -> None:
    label.configure(wraplength=max(least, event.width))
