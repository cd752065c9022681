"""A drawn part of a page: one canvas with zones that can be pressed, hovered and reached from the keyboard.

A panel draws itself whole in `paint` whenever its data, size or colours change (coalesced, a few milliseconds). While it
draws it names its zones; the panel then does the rest: hover, tooltip, one Tab stop with the arrow keys moving between
zones, focus ring, Return and Space. Parts that change many times a second belong in a canvas of their own.
"""

from __future__ import annotations

import tkinter as tk
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from PIL import ImageTk

from frontend.draw import Painter, fit, shape
from frontend.theme import FontName, Theme

Press = Callable[[], None]
ButtonKind = Literal["ghost", "accent", "soft", "plain", "danger"]

TIP_DELAY_MS = 500
KINDS: dict[ButtonKind, tuple[str, str | None, str | None]] = {
    "ghost": ("text2", "raised", "line"),
    "accent": ("on_accent", "accent", None),
    "soft": ("accent", "accent_soft", None),
    "plain": ("text2", None, None),
    "danger": ("error", "raised", "line"),
}
"""Kind of button to colour of its words, fill and outline."""


@dataclass(slots=True)
class Zone:
    """A part of a panel that can be pressed. Lengths in design pixels, within the panel's content."""

    key: str
    x: float
    y: float
    width: float
    height: float
    press: Press | None
    tip: str = ""
    radius: float = 6
    hovers: list[tuple[int, dict[str, Any], dict[str, Any]]] = field(default_factory=list)
    """Canvas item, its looks at rest, its looks under the pointer."""

    def holds(self, x: float, y: float) -> bool:
        """Whether a point lies in it."""
        return self.x <= x < self.x + self.width and self.y <= y < self.y + self.height


class Panel(tk.Canvas):
    """Base of drawn parts; a subclass draws in `paint`.

    Args:
        master: The widget it lies in.
        theme: Colours, fonts and sizes.
        surface: Token of its background.
    """

    def __init__(self, master: tk.Misc, theme: Theme, surface: str = "bg") -> None:
        super().__init__(
            master,
            highlightthickness=0,
            borderwidth=0,
            background=theme.color(surface),
            takefocus=1,
        )
        self.theme = theme
        self.surface = surface
        self.painter = Painter(self, theme)
        self.content_height = 0.0
        """What `paint` used, in design pixels; more than the panel's height makes it scroll."""
        self._zones: dict[str, Zone] = {}
        self._hot: str | None = None
        self._current: str | None = None
        self._pending: str | None = None
        self._hold: list[ImageTk.PhotoImage] = []
        self._tip = Tip(self, theme)
        self._thumb: int | None = None
        self._grabbed: float | None = None
        for sequence, act in (
            ("<Configure>", lambda event: self.changed()),
            ("<Destroy>", lambda event: self._ended()),
            ("<Motion>", self._moved),
            ("<Leave>", lambda event: self._hover(None)),
            ("<ButtonPress-1>", self._pressed),
            ("<B1-Motion>", self._dragged),
            ("<ButtonRelease-1>", self._released),
            ("<FocusIn>", lambda event: self._ring()),
            ("<FocusOut>", lambda event: self._ring()),
            ("<Return>", lambda event: self._activate()),
            ("<KP_Enter>", lambda event: self._activate()),
            ("<space>", lambda event: self._activate()),
            ("<Right>", lambda event: self._step(1)),
            ("<Down>", lambda event: self._step(1)),
            ("<Left>", lambda event: self._step(-1)),
            ("<Up>", lambda event: self._step(-1)),
            ("<Home>", lambda event: self._jump(0)),
            ("<End>", lambda event: self._jump(-1)),
            ("<Prior>", lambda event: self._page(-1)),
            ("<Next>", lambda event: self._page(1)),
            ("<MouseWheel>", self._wheeled),
            ("<Button-4>", lambda event: self._scroll_by(-48)),
            ("<Button-5>", lambda event: self._scroll_by(48)),
        ):
            self.bind(sequence, act)

    # --- for subclasses

    def paint(self) -> None:
        """Draw everything; name zones with `zone`, `button` and the like."""
        raise NotImplementedError

    def changed(self) -> None:
        """Draw again soon; many calls make one drawing."""
        if self._pending is None:
            self._pending = self.after_idle(self.repaint)

    def repaint(self) -> None:
        """Draw again now."""
        if self._pending is not None:
            self.after_cancel(self._pending)
            self._pending = None
        if self.winfo_width() <= 1:
            return
        self.configure(background=self.theme.color(self.surface))
        self._zones = {}
        self._hold = []
        self.painter.clear()
        self._thumb = None
        self.content_height = 0.0
        self.paint()
        self._fit_scroll()
        if self._hot in self._zones:
            self._look(self._zones[self._hot], hot=True)
        elif self._hot is not None:
            self._hot = None
            self.configure(cursor="")
        self._ring()

    def zone(
        self,
        key: str,
        x: float,
        y: float,
        width: float,
        height: float,
        press: Press | None,
        *,
        tip: str = "",
        radius: float = 6,
    ) -> Zone:
        """Name a part that can be pressed; later ones lie above earlier ones."""
        made = Zone(key, x, y, width, height, press, tip, radius)
        self._zones[key] = made
        return made

    def button(
        self,
        key: str,
        x: float,
        y: float,
        text: str = "",
        press: Press | None = None,
        *,
        icon: str = "",
        kind: ButtonKind = "ghost",
        width: float = 0,
        height: float = 28,
        hint: str = "",
        tip: str = "",
        anchor: Literal["w", "e"] = "w",
        color: str = "",
        on: bool = False,
    ) -> float:
        """A button; without `press` it is drawn as not available. Returns its width."""
        words, fill, outline = KINDS[kind]
        if on:
            words, fill, outline = "accent", "accent_soft", "accent"
        font: FontName = "smallb" if kind in ("accent", "soft") else "small"
        if press is None:
            words, fill = "text3", "surface" if fill else None
        words = color if color and press is not None else words
        p = self.painter
        inner = p.text_width(text, font) if text else 0.0
        inner += (20 if text else 14) if icon else 0
        inner += p.text_width(hint, "cap") + 8 if hint else 0
        width = width or inner + (24 if text else 14)
        left = x - width if anchor == "e" else x
        made = self.zone(key, left, y, width, height, press, tip=tip)
        self._backing(made, fill, outline)
        at = left + (width - inner) / 2
        middle = y + height / 2
        if icon:
            p.icon(at + 7, middle, icon, 14, words)
            at += 20
        if text:
            p.text(at, middle, text, font, words, clip=max(8.0, left + width - 6 - at))
            at += p.text_width(text, font) + 8
        if hint:
            faded = self.theme.mix(words, fill or self.surface, 0.12)
            p.text(at, middle, hint, "cap", faded)
        return width

    def link(
        self, key: str, x: float, y: float, text: str, press: Press, anchor: Literal["w", "e"] = "w"
    ) -> float:
        """Words that can be pressed, around the height y. Returns their width."""
        width = self.painter.text_width(text, "smallb")
        left = x - width if anchor == "e" else x
        made = self.zone(key, left - 4, y - 11, width + 8, 22, press, radius=4)
        item = self.painter.text(left, y, text, "smallb", "accent")
        calm, hot = self.theme.color("accent"), self.theme.mix("accent", "text", 0.45)
        made.hovers.append((item, {"fill": calm}, {"fill": hot}))
        return width

    def switch(
        self, key: str, x: float, y: float, on: bool, press: Press | None, tip: str = ""
    ) -> None:
        """A switch, 34 by 18, around the height y; drawn by ourselves so that it follows the scale."""
        self.zone(key, x - 3, y - 12, 40, 24, press, tip=tip, radius=12)
        fill = "accent" if on else "raised"
        if press is None:
            fill = "line2" if on else "surface"
        self.painter.box(x, y - 9, 34, 18, fill, None if on else "line2", 9)
        knob = ("on_accent" if on else "text3") if press is not None else "text3"
        self.painter.dot(x + (25 if on else 9), y, 5.5, knob)

    def dropdown(
        self,
        key: str,
        x: float,
        y: float,
        width: float,
        text: str,
        choices: Callable[[], Sequence[tuple[str, str]]],
        choose: Callable[[str], None],
        *,
        current: str = "",
        height: float = 32,
        tip: str = "",
    ) -> None:
        """A button that opens a menu of (value, label) and hands over the chosen value."""

        def open_menu() -> None:
            self.popup(choices(), choose, current, x, y + height + 2)

        made = self.zone(key, x, y, width, height, open_menu, tip=tip)
        self._backing(made, "raised", "line")
        self.painter.text(x + 12, y + height / 2, text, "small", clip=width - 38)
        self.painter.icon(x + width - 16, y + height / 2, "down", 14, "text3")

    def popup(
        self,
        choices: Sequence[tuple[str, str]],
        choose: Callable[[str], None],
        current: str,
        x: float,
        y: float,
    ) -> None:
        """A menu of (value, label) at a place of the content; the current one is marked."""
        t = self.theme
        menu = tk.Menu(
            self,
            tearoff=False,
            font=t.font("small"),
            background=t.color("surface"),
            foreground=t.color("text"),
            activebackground=t.color("sel"),
            activeforeground=t.color("text"),
            relief="flat",
            borderwidth=1,
            activeborderwidth=0,
        )
        for number, (value, label) in enumerate(choices):
            # A long menu gets a second column rather than running off the screen.
            menu.add_command(
                label=("\u2713  " if value == current else "     ") + label[:60],
                command=lambda value=value: choose(value),  # type: ignore[misc]
                columnbreak=number > 0 and number % 24 == 0,
            )
        top = y - self.canvasy(0) / t.scale
        try:
            menu.tk_popup(self.winfo_rootx() + t.px(x), self.winfo_rooty() + t.px(top))
        finally:
            menu.grab_release()

    def progress(
        self, x: float, y: float, width: float, share: float | None, color: str = "accent"
    ) -> None:
        """A bar, 6 high; without a share only its groove."""
        self.painter.box(x, y, width, 6, "line", None, 3)
        if share:
            self.painter.box(x, y, max(6.0, width * min(1.0, share)), 6, color, None, 3)

    def row(
        self,
        key: str,
        x: float,
        y: float,
        width: float,
        height: float,
        press: Press | None,
        *,
        fill: str | None = None,
        tip: str = "",
        radius: float = 0,
    ) -> Zone:
        """A line of a list that can be pressed, with its fill."""
        made = self.zone(key, x, y, width, height, press, tip=tip, radius=max(radius, 4))
        if radius:
            self._backing(made, fill, None, radius)
        else:
            rest = self.theme.color(fill or self.row_surface())
            item = self.painter.rect(x, y, width, height, rest)
            hot = self.theme.mix(rest, "hover", 0.6 if fill is None else 0.25)
            if press is not None:
                made.hovers.append((item, {"fill": rest}, {"fill": hot}))
        return made

    def row_surface(self) -> str:
        """Token of what rows lie on."""
        return "surface"

    def focus_zone(self, key: str) -> None:
        """Move the keyboard to a zone."""
        self._current = key
        self.focus_set()
        self._ring()

    def zone_keys(self) -> list[str]:
        """The zones drawn now, in order."""
        return list(self._zones)

    def invoke(self, key: str) -> None:
        """Press a zone."""
        press = self._zones[key].press
        if press is not None:
            press()

    # --- inside

    def _ended(self) -> None:
        if self._pending is not None:
            self.after_cancel(self._pending)
            self._pending = None

    def _backing(
        self, zone: Zone, fill: str | None, outline: str | None, radius: float = 6
    ) -> None:
        t = self.theme
        size = (t.px(zone.x + zone.width) - t.px(zone.x), t.px(zone.y + zone.height) - t.px(zone.y))
        hot_fill = t.mix(fill, "text", 0.10) if fill else t.color("hover")
        hot = shape(t, *size, t.px(radius), hot_fill, outline)
        self._hold.append(hot)
        if fill:
            calm = shape(t, *size, t.px(radius), fill, outline)
            item = self.painter.image(zone.x, zone.y, calm)
            looks: dict[str, Any] = {"image": calm, "state": "normal"}
        else:
            item = self.painter.image(zone.x, zone.y, hot)
            looks = {"image": hot, "state": "hidden"}
            self.itemconfigure(item, state="hidden")
        if zone.press is not None:
            zone.hovers.append((item, looks, {"image": hot, "state": "normal"}))

    def _at(self, event: Any) -> Zone | None:
        x = self.canvasx(event.x) / self.theme.scale
        y = self.canvasy(event.y) / self.theme.scale
        for zone in reversed(self._zones.values()):
            if zone.holds(x, y):
                return zone
        return None

    def _moved(self, event: Any) -> None:
        self._hover(self._at(event))

    def _hover(self, zone: Zone | None) -> None:
        key = zone.key if zone else None
        if key == self._hot:
            return
        old = self._zones.get(self._hot or "")
        if old:
            self._look(old, hot=False)
        self._hot = key
        self._tip.hide()
        if zone is not None:
            self._look(zone, hot=True)
            if zone.tip:
                self._tip.show_soon(zone.tip)
        self.configure(cursor="hand2" if zone is not None and zone.press is not None else "")

    def _look(self, zone: Zone, *, hot: bool) -> None:
        for item, calm, lit in zone.hovers:
            self.itemconfigure(item, **(lit if hot else calm))

    def _pressed(self, event: Any) -> None:
        self._tip.hide()
        self.focus_set()
        if self._thumb is not None and event.x >= self.winfo_width() - self.theme.px(12):
            self._grabbed = self.canvasy(event.y) - self.canvasy(0)
            self._scroll_to_thumb(event.y)
            return
        zone = self._at(event)
        if zone is not None:
            self._current = zone.key
            self._ring(visible=False)
            if zone.press is not None:
                zone.press()

    def _dragged(self, event: Any) -> None:
        if self._grabbed is not None:
            self._scroll_to_thumb(event.y)

    def _released(self, event: Any) -> None:
        self._grabbed = None

    def _activate(self) -> str:
        zone = self._zones.get(self._current or "")
        if zone is None:
            self._step(1)
        elif zone.press is not None:
            zone.press()
        return "break"

    def _stops(self) -> list[str]:
        return [key for key, zone in self._zones.items() if zone.press is not None]

    def _step(self, by: int) -> str:
        stops = self._stops()
        if stops:
            place = stops.index(self._current) if self._current in stops else (-1 if by > 0 else 0)
            self._current = stops[min(len(stops) - 1, max(0, place + by))]
            self._ring()
        return "break"

    def _jump(self, place: int) -> str:
        stops = self._stops()
        if stops:
            self._current = stops[place]
            self._ring()
        return "break"

    def _page(self, by: int) -> str:
        self._scroll_by(by * (self.winfo_height() / self.theme.scale - 40))
        return "break"

    def _ring(self, *, visible: bool = True) -> None:
        """Draw the focus ring round the current zone, and bring it into sight."""
        self.delete("ring")
        if not visible or self.focus_displayof() is not self:
            return
        if self._current not in self._zones:
            stops = self._stops()
            if not stops:
                return
            self._current = stops[0]
        zone = self._zones[self._current]
        t = self.theme
        left, top = t.px(zone.x) - 2, t.px(zone.y) - 2
        wide, high = t.px(zone.width) + 4, t.px(zone.height) + 4
        picture = shape(t, wide, high, t.px(zone.radius) + 2, None, "accent", max(2, t.px(2)))
        self._hold.append(picture)
        self.create_image(max(0, left), top, image=picture, anchor="nw", tags="ring")
        self._see(zone)

    # --- scrolling

    def _fit_scroll(self) -> None:
        t = self.theme
        height = max(self.winfo_height(), t.px(self.content_height))
        self.configure(scrollregion=(0, 0, self.winfo_width(), height))
        if height <= self.winfo_height():
            self.yview_moveto(0)
            return
        self._place_thumb()

    def _place_thumb(self) -> None:
        if self._thumb is not None:
            self.delete(self._thumb)
            self._thumb = None
        first, last = self.yview()
        if last - first >= 1:
            return
        t, view = self.theme, self.winfo_height()
        length = max(t.px(30), round((last - first) * view))
        room = view - length
        hidden = 1 - (last - first)
        top = round(self.canvasy(0)) + round(room * (first / hidden))
        picture = shape(t, t.px(5), length - t.px(4), t.px(3), "line2")
        self._hold.append(picture)
        self._thumb = self.create_image(
            self.winfo_width() - t.px(8), top + t.px(2), image=picture, anchor="nw"
        )

    def _scroll_to_thumb(self, y: int) -> None:
        first, last = self.yview()
        self.yview_moveto(y / max(1, self.winfo_height()) - (last - first) / 2)
        self._place_thumb()

    def _scroll_by(self, length: float) -> None:
        first, last = self.yview()
        if last - first < 1:
            total = max(1.0, self.content_height * self.theme.scale)
            self.yview_moveto(first + self.theme.px(length) / total)
            self._place_thumb()
            self._hover(None)

    def _wheeled(self, event: Any) -> None:
        self._scroll_by(-48 if event.delta > 0 else 48)

    def _see(self, zone: Zone) -> None:
        t = self.theme
        top, bottom = t.px(zone.y), t.px(zone.y + zone.height)
        seen = self.canvasy(0)
        total = max(self.winfo_height(), t.px(self.content_height))
        if top < seen:
            self.yview_moveto(max(0, top - t.px(8)) / total)
        elif bottom > seen + self.winfo_height():
            self.yview_moveto((bottom + t.px(8) - self.winfo_height()) / total)
        else:
            return
        self._place_thumb()


class Tip:
    """The small words beside the pointer."""

    def __init__(self, owner: tk.Misc, theme: Theme) -> None:
        self._owner = owner
        self._theme = theme
        self._timer: str | None = None
        self._window: tk.Toplevel | None = None
        owner.bind("<Destroy>", lambda event: self.hide(), add="+")

    def show_soon(self, text: str) -> None:
        """Show after half a second, unless hidden before."""
        self.hide()
        self._timer = self._owner.after(TIP_DELAY_MS, lambda: self._show(text))

    def hide(self) -> None:
        """Take it away, or do not show it at all."""
        if self._timer is not None:
            self._owner.after_cancel(self._timer)
            self._timer = None
        if self._window is not None:
            self._window.destroy()
            self._window = None

    def _show(self, text: str) -> None:
        self._timer = None
        t = self._theme
        self._window = window = tk.Toplevel(self._owner, background=t.color("line2"))
        window.wm_overrideredirect(True)
        tk.Label(
            window,
            text=text[:600],
            font=t.font("cap"),
            background=t.color("raised"),
            foreground=t.color("text"),
            padx=t.px(8),
            pady=t.px(4),
            justify="left",
            wraplength=t.px(360),
        ).pack(padx=1, pady=1)
        window.update_idletasks()
        x = self._owner.winfo_pointerx() + t.px(12)
        y = self._owner.winfo_pointery() + t.px(16)
        x = min(x, window.winfo_screenwidth() - window.winfo_reqwidth() - 4)
        if y + window.winfo_reqheight() > window.winfo_screenheight():
            y = self._owner.winfo_pointery() - window.winfo_reqheight() - t.px(8)
        window.wm_geometry(f"+{x}+{y}")


__all__ = ["ButtonKind", "Panel", "Press", "Tip", "Zone", "fit"]
