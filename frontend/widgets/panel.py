"""A drawn part of a page: one canvas with zones that can be pressed, hovered and reached from the keyboard.

A panel draws itself whole in `paint` whenever its data, size or colours change (coalesced, a few milliseconds). While it
draws it names its zones; the panel then does the rest: hover, tooltip, one Tab stop with the arrow keys moving between
zones, focus ring, Return and Space. Parts that change many times a second belong in a canvas of their own.
"""

from __future__ import annotations

import tkinter as tk
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from time import monotonic
from typing import Any, Literal

from PIL import ImageTk

from frontend.draw import Painter, shape
from frontend.theme import FontName, Theme
from frontend.widgets.focus import focused
from frontend.widgets.tooltip import DELAY_MS, Tooltip

Press = Callable[[], object]
ButtonKind = Literal["ghost", "accent", "soft", "plain", "danger"]

MOVING_SHARE, MOVING_S, MOVING_MS, UNSEEN_MS = 0.25, 1.4, 40, 500
"""A bar without a share: length of its moving part, time for one way, and between two places, seen and not seen."""

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
    is_stop: bool = True
    """Whether the arrow keys stop at it."""
    hovers: list[tuple[int, dict[str, Any], dict[str, Any]]] = field(default_factory=list)
    """Canvas item, its looks at rest, its looks under the pointer."""

    def holds(self, x: float, y: float) -> bool:
        """Whether a point lies in it."""
        return self.x <= x < self.x + self.width and self.y <= y < self.y + self.height


class Panel(tk.Canvas, ABC):
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
        self.is_quiet = False
        """Whether the focus came without the keyboard, so that no ring need show where it is."""
        self._hot: str | None = None
        self._current: str | None = None
        self._pending: str | None = None
        self._hold: list[ImageTk.PhotoImage] = []
        self._tip = Tooltip(self, theme)
        self._tip_job: str | None = None
        self._moving: list[tuple[int, float, float, float]] = []
        """Parts of bars that move to and fro: canvas item, x, y, room."""
        self._move_job: str | None = None
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
            ("<FocusOut>", lambda event: self._lost_focus()),
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
            self.bind(sequence, act, add="+")
        theme.on_change(self, self.changed)

    # --- for subclasses

    @abstractmethod
    def paint(self) -> None:
        """Draw everything; name zones with `zone`, `button` and the like."""

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
        self._moving = []
        self.painter.clear()
        self._thumb = None
        self.content_height = 0.0
        self.paint()
        self._fit_scroll()
        if self._hot in self._zones:
            self._look(self._zones[self._hot], hot=True)
        elif self._hot is not None:
            self._hot = None
            self._hide_tip()
            self.configure(cursor="")
        self.configure(
            takefocus=1 if self._stops() else 0
        )  # Tab leaves out what has nothing to press
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
        is_stop: bool = True,
    ) -> Zone:
        """Name a part that can be pressed; later ones lie above earlier ones."""
        made = Zone(key, x, y, width, height, press, tip, radius, is_stop)
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
        """A switch, 40 by 20, around the height y."""
        self.zone(key, x, y - 10, 40, 20, press, tip=tip, radius=10)
        fill, outline, knob = ("accent", None, "on_accent") if on else ("raised", "text3", "text3")
        if press is None:
            fill, outline, knob = "line2" if on else "raised", "line2", "text3"
        self.painter.box(x, y - 10, 40, 20, fill, outline, 10)
        self.painter.dot(x + (30 if on else 10), y, 5.5, knob)

    def progress(
        self, x: float, y: float, width: float, share: float | None, color: str = "accent"
    ) -> None:
        """A bar, 6 high; without a share only its groove."""
        self.painter.box(x, y, width, 6, "line", None, 3)
        if share:
            self.painter.box(x, y, max(6.0, width * min(1.0, share)), 6, color, None, 3)

    def working(self, x: float, y: float, width: float, share: float | None) -> None:
        """A bar of something that works: where the share is not known, a part of it moves to and fro."""
        self.progress(x, y, width, share)
        if share is not None:
            return
        t = self.theme
        part = max(6.0, width * MOVING_SHARE)
        picture = shape(t, t.px(part), t.px(6), t.px(3), "accent")
        item = self.painter.image(x, y, picture)
        self._moving.append((item, x, y, width - part))
        if self._move_job is None:
            self._move()

    def add_row(
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

    def focus_quietly(self) -> None:
        """Take the keyboard; the ring shows with the first key."""
        self.is_quiet = True
        self.focus_set()

    def focus_zone(self, key: str) -> None:
        """Move the keyboard to a zone."""
        self._current = key
        self.is_quiet = False
        self.focus_set()
        self._ring()

    def place_of(self, key: str) -> tuple[int, int, int] | None:
        """Where a zone is seen: x, y and height in real pixels; None when it is not drawn."""
        zone = self._zones.get(key)
        if zone is None:
            return None
        px = self.theme.px
        return px(zone.x), px(zone.y) - round(self.canvasy(0)), px(zone.height)

    def zone_keys(self) -> list[str]:
        """The zones drawn now, in order."""
        return list(self._zones)

    def invoke(self, key: str) -> None:
        """Press a zone."""
        press = self._zones[key].press
        if press is not None:
            press()

    # --- inside

    def _move(self) -> None:
        """Put the moving parts where they are now; goes on while there are any."""
        self._move_job = None
        if not self._moving:
            return
        place = (monotonic() / MOVING_S) % 2
        place = 2 - place if place > 1 else place
        place = place * place * (3 - 2 * place)  # slower at both ends
        for item, x, y, room in self._moving:
            self.coords(item, self.theme.px(x + place * room), self.theme.px(y))
        self._move_job = self.after(MOVING_MS if self.winfo_ismapped() else UNSEEN_MS, self._move)

    def _ended(self) -> None:
        if self._move_job is not None:
            self.after_cancel(self._move_job)
            self._move_job = None
        if self._pending is not None:
            self.after_cancel(self._pending)
            self._pending = None
        self._hide_tip()

    def _show_tip(self, zone: Zone) -> None:
        self._tip_job = None
        t = self.theme
        self._tip.text = zone.tip
        top = t.px(zone.y + zone.height) - round(self.canvasy(0))
        self._tip.show_at(self.winfo_rootx() + t.px(zone.x), self.winfo_rooty() + top)
        self._tip.text = ""  # shown for its zone only, not whenever the pointer enters the panel

    def _hide_tip(self) -> None:
        if self._tip_job is not None:
            self.after_cancel(self._tip_job)
            self._tip_job = None
        self._tip.hide()

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
        self._hide_tip()
        if zone is not None:
            self._look(zone, hot=True)
            if zone.tip:
                self._tip_job = self.after(DELAY_MS, lambda: self._show_tip(zone))
        self.configure(cursor="hand2" if zone is not None and zone.press is not None else "")

    def _look(self, zone: Zone, *, hot: bool) -> None:
        for item, calm, lit in zone.hovers:
            self.itemconfigure(item, **(lit if hot else calm))

    def _pressed(self, event: Any) -> None:
        self._hide_tip()
        self.focus_quietly()
        if self._thumb is not None and event.x >= self.winfo_width() - self.theme.px(12):
            self._grabbed = self.canvasy(event.y) - self.canvasy(0)
            self._scroll_to_thumb(event.y)
            return
        zone = self._at(event)
        if zone is not None:
            self._current = zone.key
            self._ring()
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
        return [key for key, zone in self._zones.items() if zone.press is not None and zone.is_stop]

    def _step(self, by: int) -> str:
        self.is_quiet = False
        stops = self._stops()
        if stops:
            place = stops.index(self._current) if self._current in stops else (-1 if by > 0 else 0)
            self._current = stops[min(len(stops) - 1, max(0, place + by))]
            self._ring()
        return "break"

    def _jump(self, place: int) -> str:
        self.is_quiet = False
        stops = self._stops()
        if stops:
            self._current = stops[place]
            self._ring()
        return "break"

    def _page(self, by: int) -> str:
        self._scroll_by(by * (self.winfo_height() / self.theme.scale - 40))
        return "break"

    def _lost_focus(self) -> None:
        self.is_quiet = False
        self._ring()

    def _ring(self) -> None:
        """Draw the focus ring round the current zone, and bring it into sight."""
        self.delete("ring")
        if self.is_quiet or focused(self) is not self:
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
