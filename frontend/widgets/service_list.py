"""Services, modules and engines: how each is, since when it answers, what is wrong and what to do."""

from __future__ import annotations

import re
import tkinter as tk
from collections.abc import Callable, Sequence

from backend.contracts.entities import ServiceInfo, ServiceState
from frontend.theme import FontName, Theme
from frontend.widgets.panel import ButtonKind, Panel

HEAD = 44
LOOKS: dict[ServiceState, tuple[str, str]] = {
    "ready": ("check", "ok"),
    "starting": ("clock", "accent"),
    "degraded": ("warn", "warn"),
    "failed": ("x", "error"),
    "off": ("pause", "text3"),
}
WORDS: dict[ServiceState, str] = {
    "ready": "Ready",
    "starting": "Starting",
    "degraded": "Works, not fully",
    "failed": "Failed",
    "off": "Off",
}
_SETTING = re.compile(r"\b[A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+\b")


class ServiceList(Panel):
    """The card; the rows scroll inside it.

    Args:
        master: The widget it lies in.
        theme: Colours, fonts and sizes.
        switch: Called with a module's name and whether it is to be on.
        show_tab: Called with the name of a tab that a fix speaks of.
        open_setting: Called with the name of a setting that a fix speaks of.
        retry: Load again after a failure.
        check_up: Open the check-up of the live path.
    """

    def __init__(
        self,
        master: tk.Misc,
        theme: Theme,
        *,
        switch: Callable[[str, bool], None],
        show_tab: Callable[[str], None],
        open_setting: Callable[[str], None],
        retry: Callable[[], None],
        check_up: Callable[[], None],
    ) -> None:
        super().__init__(master, theme)
        self.services: list[ServiceInfo] = []
        self.problem = ""
        self.is_loaded = False
        self.switching: set[str] = set()
        self.rows = _Rows(self, theme)
        self.switch_module = switch
        self.show_tab = show_tab
        self.open_setting = open_setting
        self._retry = retry
        self._check_up = check_up

    def show(self, services: Sequence[ServiceInfo], problem: str = "") -> None:
        """Show how they are now."""
        self.services = list(services)
        self.problem = problem
        self.is_loaded = True
        self.changed()
        self.rows.changed()

    def change(self, service: ServiceInfo) -> None:
        """One of them is different now."""
        names = [known.name for known in self.services]
        if service.name in names:
            self.services[names.index(service.name)] = service
        else:
            self.services.append(service)
        self.changed()
        self.rows.changed()

    def paint(self) -> None:
        p, t = self.painter, self.theme
        width, height = p.width, p.height
        p.card(0, 0, width, height)
        wide = self.button(
            "checkup",
            width - 12,
            8,
            "Check-up",
            self._check_up,
            icon="status",
            height=26,
            anchor="e",
            tip="Try the whole live path, from microphone to speaker",
        )
        p.text(16, 21, "Services", "bodyb")
        start = 26 + p.text_width("Services", "bodyb")
        p.text(start, 21, self._summary(), "small", "text3", clip=width - wide - 24 - start)
        if self.services:
            self.rows.place(
                x=t.px(8),
                y=t.px(HEAD),
                width=max(1, t.px(width - 16)),
                height=max(1, t.px(height - HEAD - 8)),
            )
            return
        self.rows.place_forget()
        middle = height / 2
        if not self.is_loaded:
            p.text(width / 2, middle, "Asking the backend how it is.", "small", "text3", "center")
            return
        p.icon(width / 2, middle - 34, "warn" if self.problem else "status", 24, "text3")
        words = self.problem or "The backend names no services."
        p.text(width / 2, middle - 14, words, "small", "text2", "n", width=width - 48)
        wide = p.text_width("Try again", "small") + 24
        self.button("retry", (width - wide) / 2, middle + 44, "Try again", self._retry)

    def _summary(self) -> str:
        ready = sum(service.state == "ready" for service in self.services)
        bad = sum(service.state in ("failed", "degraded") for service in self.services)
        if not self.services:
            return ""
        words = f"{ready} ready"
        return words + (f"  \u00b7  {bad} {'needs' if bad == 1 else 'need'} you" if bad else "")


class _Rows(Panel):
    """The rows, in a canvas that scrolls."""

    def __init__(self, card: ServiceList, theme: Theme) -> None:
        super().__init__(card, theme, "surface")
        self.card = card
        self._is_high = False

    def paint(self) -> None:
        y = 4.0
        width = self.painter.width - (12 if self._is_high else 0)
        for service in self.card.services:
            y += self._paint_service(service, y, width)
        self.content_height = y
        is_high = y > self.painter.height
        if is_high != self._is_high and not (self._is_high and y > self.painter.height - 60):
            self._is_high = is_high  # the scroll bar came or went: once more with its room
            self.changed()

    def _paint_service(self, service: ServiceInfo, y: float, width: float) -> float:
        p = self.painter
        state = service.state
        icon, tone = LOOKS[state]
        is_bad = state in ("failed", "degraded")
        right = width - 10
        action = _action(service, self.card)
        is_module = service.kind == "module"
        if is_module:
            right -= 52
        wide = 0.0
        if action is not None:
            wide = p.text_width(action[0], "smallb") + 24
        words: list[tuple[str, str]] = []  # text and colour of the lines below the title
        detail = service.detail or WORDS[state]
        if state == "failed" and service.error:
            detail = service.error
        elif state == "degraded" and service.error:
            detail = f"{service.detail}: {service.error}" if service.detail else service.error
        has_button = action is not None
        inner = width - 46 if is_bad else right - 36
        words.append((detail, "text2" if is_bad else "text3"))
        if is_bad and service.fix:
            words.append((service.fix, "accent" if state == "failed" else "text2"))
        drawn: list[int] = []
        at = y + (34 if has_button else 25)  # below the button, where there is one
        for number, (text, colour) in enumerate(words):
            font: FontName = "capb" if number == 1 and state == "failed" else "cap"
            if is_bad:
                item = p.text(36, at, text[:400], font, colour, "nw", width=inner)
                box = self.bbox(item)
                at += ((box[3] - box[1]) / self.theme.scale if box else 17) + 2
            else:
                item = p.text(36, at, text, font, colour, "nw", clip=inner)
                at += 18
            drawn.append(item)
        height = max(49.0, at - y + 8)
        if state == "failed":
            self.tint(y, width, height - 4)
            for item in drawn:
                self.tag_raise(item)
        p.icon(16, y + 16, icon, 14, tone, 2)
        title_font: FontName = "small" if state == "off" else "smallb"
        figure = "" if service.latency_ms is None else _seconds(service.latency_ms)
        room = right - 36 - (p.text_width(figure, "monos") + 10 if figure else 0)
        room -= wide + 10 if action else 0
        p.text(
            36, y + 15, service.title, title_font, "text2" if state == "off" else "text", clip=room
        )
        if figure:
            shift = wide + 10 if action else 0
            p.text(right - shift, y + 15, figure, "monos", tone if is_bad else "text3", "e")
        if action is not None:
            # One filled button in the card: the first failure is the next step.
            failed = [known.name for known in self.card.services if known.state == "failed"]
            kind: ButtonKind = "accent" if failed[:1] == [service.name] else "soft"
            self.button(
                f"fix:{service.name}", right, y + 4, action[0], action[1],
                kind=kind, height=26, anchor="e", tip=service.fix,
            )  # fmt: skip
        if is_module:
            name, turn_on = service.name, not service.enabled
            press = None
            if name not in self.card.switching:
                press = lambda: self.card.switch_module(name, turn_on)  # noqa: E731
            tip = f"{'Switch on' if turn_on else 'Switch off'} {service.title}"
            self.switch(f"switch:{name}", width - 52, y + 17, service.enabled, press, tip)
        return height

    def tint(self, y: float, width: float, height: float) -> None:
        """The soft red behind a row that failed."""
        self.painter.box(0, y, width - 2, height, "error_soft", None, 6)


def _action(service: ServiceInfo, card: ServiceList) -> tuple[str, Callable[[], object]] | None:
    """The button that leads to where a problem can be solved."""
    if service.state not in ("failed", "degraded"):
        return None
    text = f"{service.fix} {service.error}"
    setting = _SETTING.search(text)
    if "Voice tab" in text:
        return "Voices", lambda: card.show_tab("voice")
    if setting is not None:
        return "Fix", lambda: card.open_setting(setting.group())
    if service.kind == "module" and service.enabled and service.state == "failed":
        return "Try again", lambda: card.switch_module(service.name, True)
    return None


def _seconds(ms: float) -> str:
    if ms < 10:
        return f"{ms:.1f} ms"
    return f"{ms:.0f} ms" if ms < 1_000 else f"{ms / 1000:.2f} s"
