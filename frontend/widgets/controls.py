"""Drawn controls: button, switch, check, radio, chip, slider, meter, drop-down, scroll bar.

Each is a small canvas of its own, so it is a real focus stop, scales with the theme and repaints itself when the theme
changes. Space and Enter work wherever a click does, and a two pixel ring shows the keyboard's place. ``surface`` is the
token of what lies behind the control.
"""

from __future__ import annotations

import tkinter as tk
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Literal

from frontend.draw import Painter, fit, icon, shape
from frontend.theme import FontName, Theme
from frontend.widgets.popup import Choice, Picker
from frontend.widgets.tooltip import Tooltip

Kind = Literal["ghost", "accent", "danger", "plain", "soft"]

RING = 3  # design pixels kept free around a control for its focus ring


class Control(tk.Canvas, ABC):
    """Base of the drawn controls: size, hover, focus ring, tooltip, repainting.

    Args:
        master: Where it lives.
        theme: The window's theme.
        width: Design pixels without the ring.
        height: Likewise.
        surface: Token of the background behind it.
        label: What it is called, for people who cannot see it and for tests.
        tip: Tooltip; empty shows the label where the control shows no words.
    """

    def __init__(
        self,
        master: tk.Misc,
        theme: Theme,
        width: float,
        height: float,
        *,
        surface: str = "bg",
        label: str = "",
        tip: str = "",
    ) -> None:
        super().__init__(
            master,
            width=theme.px(width + 2 * RING),
            height=theme.px(height + 2 * RING),
            highlightthickness=0,
            borderwidth=0,
            takefocus=1,
        )
        self.theme = theme
        self.label = label
        self.surface = surface
        self.hovered = False
        self.focused = False
        self.enabled = True
        self.painter = Painter(self, theme)
        self.tooltip = Tooltip(self, theme, tip)
        self._job: str | None = None
        theme.tint(self, background=surface)
        theme.on_change(self, self.redraw)
        self.bind("<Configure>", lambda _: self.redraw_soon())
        self.bind("<Enter>", lambda _: self._hover(True), add="+")
        self.bind("<Leave>", lambda _: self._hover(False), add="+")
        self.bind("<FocusIn>", lambda _: self._focus(True), add="+")
        self.bind("<FocusOut>", lambda _: self._focus(False), add="+")
        self.bind("<Destroy>", lambda _: self._stop(), add="+")

    def enable(self, enabled: bool = True) -> None:
        """Let it be used, or show that it cannot be used now."""
        if enabled != self.enabled:
            self.enabled = enabled
            self.configure(takefocus=1 if enabled else 0)
            self.redraw_soon()

    def resize(self, width: float) -> None:
        """Ask for another width, design pixels without the ring."""
        self.configure(width=self.theme.px(width + 2 * RING))
        self.redraw_soon()

    def redraw_soon(self) -> None:
        """Draw once before Tk goes idle, however often it is asked."""
        if self._job is None:
            self._job = self.after_idle(self.redraw)

    def redraw(self) -> None:
        """Draw everything."""
        self._stop()
        if self.winfo_width() <= 1:
            return
        self.painter.clear()
        self.paint(self.painter, self.painter.width - 2 * RING, self.painter.height - 2 * RING)
        if self.focused:
            t = self.theme
            ring = shape(
                t,
                self.winfo_width(),
                self.winfo_height(),
                t.px(self.ring_radius()),
                None,
                "accent",
                max(1, t.px(2)),
            )
            self.painter.image(0, 0, ring)

    def ring_radius(self) -> float:
        """Corner of the focus ring."""
        return 6 + RING

    @abstractmethod
    def paint(self, p: Painter, w: float, h: float) -> None:
        """Draw the control; its own area begins at (RING, RING)."""

    def _hover(self, hovered: bool) -> None:
        self.hovered = hovered
        self.redraw()

    def _focus(self, focused: bool) -> None:
        self.focused = focused
        self.redraw()

    def _stop(self) -> None:
        if self._job is not None:
            self.after_cancel(self._job)
            self._job = None


class Button(Control):
    """A button with an icon, words, and the key that does the same.

    Kinds: ghost (grey), accent (the one next step of a card), danger (red), plain (no box until hovered), soft (tinted).
    """

    def __init__(
        self,
        master: tk.Misc,
        theme: Theme,
        text: str = "",
        command: Callable[[], object] | None = None,
        *,
        icon: str = "",
        kind: Kind = "ghost",
        key: str = "",
        surface: str = "bg",
        height: float = 28,
        width: float = 0,
        color: str = "",
        label: str = "",
        tip: str = "",
        icon_size: float = 14,
        align: Literal["center", "w"] = "center",
    ) -> None:
        self.text = text
        self._align = align
        self.icon = icon
        self.kind: Kind = kind
        self.key = key
        self.color = color
        self.command = command
        self._icon_size = icon_size
        self._fixed = width
        super().__init__(
            master,
            theme,
            width or self._natural(theme, text, icon, key, height),
            height,
            surface=surface,
            label=label or text or tip,
            tip=tip or ("" if text else label),
        )
        self.configure(cursor="hand2")
        self.bind("<ButtonPress-1>", lambda _: self._press())
        self.bind("<ButtonRelease-1>", self._release)
        for sequence in ("<space>", "<Return>", "<KP_Enter>"):
            self.bind(sequence, lambda _: self._keyed())
        self._pressed = False

    def set(
        self, text: str | None = None, icon: str | None = None, kind: Kind | None = None
    ) -> None:
        """Change what it shows."""
        old = (self.text, self.icon, self.kind)
        self.text = self.text if text is None else text
        self.icon = self.icon if icon is None else icon
        self.kind = kind or self.kind
        if old == (self.text, self.icon, self.kind):
            return
        if self.text:
            self.label = self.text
        if not self._fixed:
            high = int(self.cget("height")) / self.theme.scale - 2 * RING
            self.resize(self._natural(self.theme, self.text, self.icon, self.key, high))
        self.redraw_soon()

    def invoke(self) -> None:
        """Do what a click does."""
        if self.enabled and self.command is not None:
            self.command()

    def paint(self, p: Painter, w: float, h: float) -> None:
        color, fill, outline = self._colours()
        if not self.enabled:
            color = self.theme.mix(color, self.surface, 0.55)
        if fill:
            p.box(RING, RING, w, h, fill, outline, 6)
        font: FontName = "smallb" if self.kind in ("accent", "danger") else "small"
        key = self.key if w > 60 else ""
        words = self.text.replace("\u2026", "...")
        total = p.text_width(words, font) if words else 0
        total += (20 if self.icon and words else 0) + (p.text_width(key, "cap") + 8 if key else 0)
        x = RING + max(6, (w - total) / 2) if words else RING + w / 2
        if words and self._align == "w":
            x = RING + 10
        middle = RING + h / 2
        if self.icon:
            p.icon(x + (7 if words else 0), middle, self.icon, self._icon_size, color)
            x += 20
        if words:
            p.text(x, middle - 0.5, words, font, color, clip=w - 12 - (20 if self.icon else 0))
            x += p.text_width(words, font) + 8
        if key:
            p.text(x, middle, key, "cap", self.theme.mix(color, fill or self.surface, 0.25))

    def _colours(self) -> tuple[str, str | None, str | None]:
        hot = (self.hovered or self._pressed) and self.enabled
        t = self.theme
        if self.kind == "accent":
            fill = t.mix("accent", "text" if hot else "accent", 0.15)
            if not self.enabled:
                return self.color or "text2", "raised", None
            return self.color or "on_accent", fill, None
        if self.kind == "danger":
            return self.color or "on_panic", t.mix("panic", "on_panic", 0.12 if hot else 0), None
        if self.kind == "soft":
            return self.color or "accent", t.mix("accent_soft", "accent", 0.12 if hot else 0), None
        if self.kind == "plain":
            base = self.color or ("text" if hot else "text2")
            return base, "hover" if hot else None, None
        return self.color or "text2", "hover" if hot else "raised", "line"

    @staticmethod
    def _natural(theme: Theme, text: str, icon: str, key: str, height: float) -> float:
        if not text:
            return height
        words = theme.measure(text, "smallb") / theme.scale
        keys = theme.measure(key, "cap") / theme.scale + 10 if key else 0
        return 22 + words + (20 if icon else 0) + keys

    def _press(self) -> None:
        self._pressed = True
        self.redraw()

    def _release(self, event: tk.Event[tk.Misc]) -> None:
        inside = 0 <= event.x < self.winfo_width() and 0 <= event.y < self.winfo_height()
        pressed, self._pressed = self._pressed, False
        self.redraw()
        if pressed and inside:
            self.invoke()

    def _keyed(self) -> str:
        self.invoke()
        return "break"


class Toggle(Control):
    """Base of what is on or off: switch, check, radio, chip."""

    def __init__(
        self,
        master: tk.Misc,
        theme: Theme,
        width: float,
        height: float,
        command: Callable[[bool], object] | None,
        *,
        on: bool,
        surface: str,
        label: str,
        tip: str = "",
    ) -> None:
        self.on = on
        self.command = command
        super().__init__(master, theme, width, height, surface=surface, label=label, tip=tip)
        self.configure(cursor="hand2")
        self.bind("<ButtonRelease-1>", self._clicked)
        for sequence in ("<space>", "<Return>", "<KP_Enter>"):
            self.bind(sequence, self._keyed)

    def set(self, on: bool) -> None:
        """Show another state without calling the command."""
        if on != self.on:
            self.on = on
            self.redraw_soon()

    def invoke(self) -> None:
        """Do what a click does."""
        if self.enabled:
            self.on = not self.on
            self.redraw()
            if self.command is not None:
                self.command(self.on)

    def _clicked(self, _event: object) -> None:
        self.invoke()

    def _keyed(self, _event: object) -> str:
        self.invoke()
        return "break"


class Switch(Toggle):
    """A sliding switch, with words to its right where given."""

    def __init__(
        self,
        master: tk.Misc,
        theme: Theme,
        text: str = "",
        command: Callable[[bool], object] | None = None,
        *,
        on: bool = False,
        surface: str = "surface",
        label: str = "",
        tip: str = "",
    ) -> None:
        self.text = text
        width = 40 + (10 + theme.measure(text, "small") / theme.scale if text else 0)
        super().__init__(
            master, theme, width, 22, command, on=on, surface=surface, label=label or text, tip=tip
        )

    def ring_radius(self) -> float:
        return 14

    def paint(self, p: Painter, w: float, h: float) -> None:
        y = RING + h / 2
        if self.on:
            fill, outline, knob = "accent", None, "on_accent"
        else:
            fill, outline, knob = "hover" if self.hovered else "raised", "text3", "text3"
        if not self.enabled:
            fill, outline, knob = ("line2" if self.on else "raised"), "line2", "text3"
        p.box(RING, y - 10, 40, 20, fill, outline, 10)
        p.dot(RING + (30 if self.on else 10), y, 6 if self.hovered else 5.5, knob)
        if self.text:
            p.text(RING + 50, y, self.text, "small", "text" if self.enabled else "text3")


class Check(Toggle):
    """A box with a check mark and words."""

    def __init__(
        self,
        master: tk.Misc,
        theme: Theme,
        text: str,
        command: Callable[[bool], object] | None = None,
        *,
        on: bool = False,
        surface: str = "surface",
        tip: str = "",
    ) -> None:
        self.text = text
        width = 26 + theme.measure(text, "small") / theme.scale
        super().__init__(
            master, theme, width, 22, command, on=on, surface=surface, label=text, tip=tip
        )

    def paint(self, p: Painter, w: float, h: float) -> None:
        y = RING + h / 2
        if self.on:
            p.box(RING, y - 9, 18, 18, "accent" if self.enabled else "line2", None, 4)
            p.icon(RING + 9, y, "check", 13, "on_accent", 2)
        else:
            p.box(RING, y - 9, 18, 18, "hover" if self.hovered else "raised", "text3", 4)
        p.text(RING + 26, y, self.text, "small", "text" if self.enabled else "text3")


class Radio(Toggle):
    """One of several; the owner sets the others off."""

    def __init__(
        self,
        master: tk.Misc,
        theme: Theme,
        text: str,
        command: Callable[[bool], object] | None = None,
        *,
        on: bool = False,
        surface: str = "surface",
    ) -> None:
        self.text = text
        width = 26 + theme.measure(text, "small") / theme.scale
        super().__init__(master, theme, width, 22, command, on=on, surface=surface, label=text)

    def invoke(self) -> None:
        if self.enabled and not self.on:
            super().invoke()

    def paint(self, p: Painter, w: float, h: float) -> None:
        y = RING + h / 2
        if self.on:
            p.dot(RING + 9, y, 9, "accent" if self.enabled else "line2")
            p.dot(RING + 9, y, 4, "on_accent")
        else:
            p.box(RING, y - 9, 18, 18, "hover" if self.hovered else "raised", "text3", 9)
        p.text(RING + 26, y, self.text, "small", "text" if self.enabled else "text3")


class Chip(Toggle):
    """A pill that is chosen or not, with an optional state dot and a count behind its words."""

    def __init__(
        self,
        master: tk.Misc,
        theme: Theme,
        text: str,
        command: Callable[[bool], object] | None = None,
        *,
        on: bool = False,
        surface: str = "bg",
        dot: str = "",
        count: str = "",
        height: float = 24,
        font: FontName = "small",
        tip: str = "",
    ) -> None:
        self.text = text
        self.dot = dot
        self.count = count
        self._font: FontName = font
        super().__init__(
            master, theme, 40, height, command, on=on, surface=surface, label=text, tip=tip
        )
        self._measure()

    def set_count(self, count: str) -> None:
        """Change the figure behind the words."""
        if count != self.count:
            self.count = count
            self._measure()
            self.redraw_soon()

    def ring_radius(self) -> float:
        return 15

    def paint(self, p: Painter, w: float, h: float) -> None:
        y = RING + h / 2
        if self.dot:
            fill = "surface" if self.on else "bg"
            p.box(RING, RING, w, h, "hover" if self.hovered else fill, "line2", h / 2)
        elif self.on:
            p.box(RING, RING, w, h, "accent_soft", "accent", h / 2)
        else:
            p.box(RING, RING, w, h, "hover" if self.hovered else "raised", None, h / 2)
        x = RING + 10
        if self.dot:
            p.dot(x + 4, y, 4, self.dot if self.on else "line2")
            x += 14
        color = "accent" if self.on and not self.dot else "text" if self.on else "text2"
        p.text(x, y - 0.5, self.text, self._font, color if self.enabled else "text3")
        if self.count:
            p.text(RING + w - 10, y, self.count, "cap", "text3", "e")

    def _measure(self) -> None:
        t = self.theme
        width = 20 + t.measure(self.text, self._font) / t.scale + (14 if self.dot else 0)
        if self.count:
            width += 6 + t.measure(self.count, "cap") / t.scale
        self.resize(width)


class Slider(Control):
    """A value from 0 to 1: drag, wheel, arrow keys (5 %), Home and End."""

    def __init__(
        self,
        master: tk.Misc,
        theme: Theme,
        command: Callable[[float], object],
        *,
        value: float = 0.0,
        width: float = 160,
        surface: str = "bg",
        label: str,
        tip: str = "",
    ) -> None:
        self.value = value
        self.command = command
        super().__init__(master, theme, width, 18, surface=surface, label=label, tip=tip)
        self.configure(cursor="hand2")
        self.dragging = False
        self.bind("<ButtonPress-1>", self._grab)
        self.bind("<B1-Motion>", self._drag)
        self.bind("<ButtonRelease-1>", self._drop)
        for sequence, step in (
            ("<Left>", -0.05),
            ("<Down>", -0.05),
            ("<Right>", 0.05),
            ("<Up>", 0.05),
            ("<Home>", -1.0),
            ("<End>", 1.0),
            ("<Button-4>", 0.05),
            ("<Button-5>", -0.05),
        ):
            self.bind(sequence, lambda _, step=step: self._step(step))  # type: ignore[misc]  # a lambda that keeps its loop variable
        self.bind("<MouseWheel>", lambda event: self._step(0.05 if event.delta > 0 else -0.05))

    def set(self, value: float) -> None:
        """Show another value without calling the command; ignored while it is dragged."""
        if not self.dragging and abs(value - self.value) > 0.001:
            self.value = min(1.0, max(0.0, value))
            self.redraw_soon()

    def ring_radius(self) -> float:
        return 12

    def paint(self, p: Painter, w: float, h: float) -> None:
        y = RING + h / 2
        span = w - 14
        at = RING + 7 + span * self.value
        p.box(RING + 7, y - 2, span, 4, "line2", None, 2)
        if self.value > 0.01:
            fill = "accent" if self.enabled else "text3"
            p.box(RING + 7, y - 2, span * self.value, 4, fill, None, 2)
        p.dot(at, y, 8 if self.hovered else 7, "accent" if self.enabled else "text3")
        p.dot(at, y, 3, self.surface)

    def _grab(self, event: tk.Event[tk.Misc]) -> None:
        if self.enabled:
            self.dragging = True
            self.focus_set()
            self._drag(event)

    def _drag(self, event: tk.Event[tk.Misc]) -> None:
        if self.dragging:
            t = self.theme
            span = self.winfo_width() - 2 * t.px(RING + 7)
            self._take((event.x - t.px(RING + 7)) / max(1, span))

    def _drop(self, _event: object) -> None:
        self.dragging = False

    def _step(self, step: float) -> str:
        if self.enabled:
            self._take(self.value + step)
        return "break"

    def _take(self, value: float) -> None:
        value = min(1.0, max(0.0, value))
        if value != self.value:
            self.value = value
            self.redraw()
            self.command(value)


class Meter(tk.Canvas):
    """A level meter of small bars from -60 to 0 dBFS; only bars that change are touched."""

    FLOOR_DB = -60.0

    def __init__(
        self,
        master: tk.Misc,
        theme: Theme,
        *,
        width: float = 120,
        height: float = 10,
        surface: str = "bg",
        step: float = 5,
    ) -> None:
        super().__init__(
            master,
            width=theme.px(width),
            height=theme.px(height),
            highlightthickness=0,
            borderwidth=0,
        )
        self.label = "Output level"
        self.level_db = self.FLOOR_DB
        self._theme = theme
        self._surface = surface
        self._step = step
        self._bars: list[int] = []
        self._lit = 0
        theme.tint(self, background=surface)
        theme.on_change(self, self._build)
        self.bind("<Configure>", lambda _: self._build())

    def show(self, level_db: float) -> None:
        """Show a level."""
        self.level_db = level_db
        lit = round(len(self._bars) * max(0.0, min(1.0, 1 - level_db / self.FLOOR_DB)))
        if lit != self._lit:
            for number in range(min(lit, self._lit), max(lit, self._lit)):
                self.itemconfigure(self._bars[number], fill=self._colour(number, number < lit))
            self._lit = lit

    def _build(self) -> None:
        self.delete("all")
        t = self._theme
        wide, high = self.winfo_width(), self.winfo_height()
        count = max(1, int(wide / t.px(self._step)))
        step = wide / count
        gap = max(1, t.px(2))
        self._bars = [0] * count
        self._lit = 0
        for number in range(count):
            x = round(number * step)
            self._bars[number] = self.create_rectangle(
                x, 0, round((number + 1) * step) - gap, high, width=0
            )
            self.itemconfigure(self._bars[number], fill=self._colour(number, False))
        self.show(self.level_db)

    def _colour(self, number: int, lit: bool) -> str:
        share = number / max(1, len(self._bars))
        token = "ok" if share < 0.72 else "warn" if share < 0.88 else "error"
        t = self._theme
        return t.color(token) if lit else t.mix(token, self._surface, 0.82)


class Dropdown(Control):
    """One choice out of several, opened as a list: click, Space, Enter or Down; Up and Down change it when closed too."""

    def __init__(
        self,
        master: tk.Misc,
        theme: Theme,
        choices: Sequence[Choice] = (),
        command: Callable[[str], object] | None = None,
        *,
        value: str = "",
        width: float = 160,
        height: float = 30,
        surface: str = "bg",
        label: str,
        tip: str = "",
        empty: str = "",
    ) -> None:
        self.choices = list(choices)
        self.value = value
        self.command = command
        self.empty = empty
        super().__init__(master, theme, width, height, surface=surface, label=label, tip=tip)
        self.configure(cursor="hand2")
        self.bind("<ButtonPress-1>", lambda _: self.open())
        for sequence in ("<space>", "<Return>", "<KP_Enter>", "<Down>", "<Up>"):
            self.bind(sequence, lambda _: self.open())

    def set(self, value: str) -> None:
        """Show another choice without calling the command."""
        if value != self.value:
            self.value = value
            self.redraw_soon()

    def set_choices(self, choices: Sequence[Choice], value: str | None = None) -> None:
        """Offer other choices."""
        self.choices = list(choices)
        if value is not None:
            self.value = value
        self.redraw_soon()

    def paint(self, p: Painter, w: float, h: float) -> None:
        fill = "hover" if self.hovered and self.enabled else "raised"
        p.box(RING, RING, w, h, fill, "line", 6)
        chosen = next((choice for choice in self.choices if choice.value == self.value), None)
        words = chosen.title if chosen else (self.value or self.empty)
        color = "text" if chosen and self.enabled else "text3"
        p.text(RING + 10, RING + h / 2 - 0.5, words, "small", color, clip=w - 40)
        p.icon(RING + w - 16, RING + h / 2, "down", 14, "text2")

    def open(self) -> str:
        """Show the list."""
        if self.enabled and self.choices:
            self.focus_set()  # the list gives the keyboard back to where it was: here
            self.tooltip.hide()
            Picker(self, self.theme, self.choices, self._chosen, value=self.value)
        return "break"

    def _chosen(self, value: str) -> None:
        if value != self.value:
            self.value = value
            self.redraw()
            if self.command is not None:
                self.command(value)


class Scrollbar(tk.Canvas):
    """A slim scroll bar that hides where everything fits; use it like ttk.Scrollbar (``command=view.yview``)."""

    def __init__(
        self,
        master: tk.Misc,
        theme: Theme,
        command: Callable[..., object],
        *,
        surface: str = "bg",
        width: float = 10,
    ) -> None:
        super().__init__(
            master, width=theme.px(width), height=1, highlightthickness=0, borderwidth=0
        )
        self.command = command
        self.first, self.last = 0.0, 1.0
        self._theme = theme
        self._hovered = False
        self._grip = 0.0
        self._dragging = False
        self._thumb = self.create_rectangle(0, 0, 0, 0, width=0)
        theme.tint(self, background=surface)
        theme.on_change(self, self._place)
        self.bind("<Configure>", lambda _: self._place())
        self.bind("<Enter>", lambda _: self._hover(True))
        self.bind("<Leave>", lambda _: self._hover(False))
        self.bind("<ButtonPress-1>", self._press)
        self.bind("<B1-Motion>", self._drag)
        self.bind("<ButtonRelease-1>", lambda _: self._release())
        for sequence, step in (("<Button-4>", -3), ("<Button-5>", 3)):
            self.bind(sequence, lambda _, step=step: self.command("scroll", step, "units"))  # type: ignore[misc]  # a lambda that keeps its loop variable

    def set(self, first: float | str, last: float | str) -> None:
        """The visible part, as Tk's scrolled widgets report it."""
        new = float(first), float(last)
        if new != (self.first, self.last):
            self.first, self.last = new
            self._place()

    def _place(self) -> None:
        t = self._theme
        high = self.winfo_height()
        if self.last - self.first >= 0.9999 or high <= 1:
            self.coords(self._thumb, -9, -9, -9, -9)
            return
        shown = self.last - self.first
        least = min(1.0, t.px(28) / high)
        size = max(shown, least)
        top = self.first / max(1e-9, 1 - shown) * (1 - size)
        slim = t.px(5 if not (self._hovered or self._dragging) else 7)
        left = (self.winfo_width() - slim) // 2
        self.coords(self._thumb, left, top * high, left + slim, (top + size) * high)
        token = "text3" if self._hovered or self._dragging else "line2"
        self.itemconfigure(self._thumb, fill=t.color(token))

    def _hover(self, hovered: bool) -> None:
        self._hovered = hovered
        self._place()

    def _press(self, event: tk.Event[tk.Misc]) -> None:
        _, top, _, bottom = self.coords(self._thumb)
        if not top <= event.y <= bottom:
            self._grip = (bottom - top) / 2
            self._dragging = True
            self._drag(event)
        else:
            self._grip = event.y - top
            self._dragging = True

    def _drag(self, event: tk.Event[tk.Misc]) -> None:
        if not self._dragging:
            return
        _, top, _, bottom = self.coords(self._thumb)
        room = max(1.0, self.winfo_height() - (bottom - top))
        share = min(1.0, max(0.0, (event.y - self._grip) / room))
        self.command("moveto", share * (1 - (self.last - self.first)))

    def _release(self) -> None:
        self._dragging = False
        self._place()


def picture_label(
    master: tk.Misc, theme: Theme, name: str, size: float, color: str, surface: str
) -> tk.Label:
    """A label that shows an icon and follows the theme."""
    label = tk.Label(master, borderwidth=0)
    theme.tint(label, background=surface)

    def show() -> None:
        picture = icon(theme, name, size, color)
        label.configure(image=picture)
        label.image = picture  # type: ignore[attr-defined]  # Tk forgets pictures nobody holds

    theme.on_change(label, show)
    show()
    return label


class Words(tk.Label):
    """A line of words in a theme font and colour, cut with "..." where it does not fit (the whole is in the tooltip)."""

    def __init__(
        self,
        master: tk.Misc,
        theme: Theme,
        text: str = "",
        font: FontName = "body",
        color: str = "text",
        surface: str = "bg",
        anchor: Literal["w", "e", "center"] = "w",
    ) -> None:
        super().__init__(
            master, font=theme.font(font), anchor=anchor, borderwidth=0, padx=0, pady=0
        )
        self._theme = theme
        self._font: FontName = font
        self._whole = ""
        self._tip = Tooltip(self, theme)
        theme.tint(self, background=surface, foreground=color)
        self.bind("<Configure>", lambda _: self._cut())
        self.show(text)

    def show(self, text: str, color: str = "") -> None:
        """Show other words, in another colour where given."""
        if color:
            self._theme.tint(self, foreground=color)
        if text != self._whole:
            self._whole = text
            self.configure(text=text[:400])
            self._cut()

    def _cut(self) -> None:
        width = self.winfo_width()
        if width <= 1:
            return
        shown = fit(self._theme, self._whole, self._font, width)
        self._tip.text = self._whole if shown.endswith("...") else ""
        if shown != self.cget("text"):
            self.configure(text=shown)
