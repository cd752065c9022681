"""The Status tab: how every part is, how loaded the machine is, where the time of the last turns went, what is set."""

from __future__ import annotations

import tkinter as tk
from typing import Any, ClassVar

from backend.contracts.entities import ServiceInfo, Turn
from backend.contracts.events import (
    CheckupFinished,
    CheckupLine,
    CheckupStarted,
    ConfigChanged,
    Event,
    ServiceChanged,
    SystemStatus,
    TurnFinished,
    TurnStarted,
)
from backend.contracts.settings import SettingInfo
from frontend.checkup_window import CheckupWindow
from frontend.client import Failure
from frontend.microphone import setting_of
from frontend.stage import read_models
from frontend.tabs import App
from frontend.widgets.config_card import ConfigCard, name_in_words
from frontend.widgets.latency import TimedTurn
from frontend.widgets.plot import LoadPlot
from frontend.widgets.scroll_page import ScrollPage, put
from frontend.widgets.service_list import ServiceList
from frontend.widgets.waterfall import TURNS, LatencyCard

MARGIN = 16
GAP = 12
SERVICES_WIDTH = 352
NARROW = 640
FOUR_PLOTS = 600
PLOT_MS = 500  # plots change at most twice a second


class StatusTab(tk.Frame):
    """Services, load, latency, configuration."""

    NAME: ClassVar[str] = "status"
    TITLE: ClassVar[str] = "Status"
    ICON: ClassVar[str] = "status"

    def __init__(self, master: tk.Misc, app: App) -> None:
        super().__init__(master, borderwidth=0, highlightthickness=0)
        self.app = app
        self.theme = app.theme
        self._is_shown = False
        self._load: SystemStatus | None = None
        self._plots_due = False
        self._plot_job: str | None = None
        self._sources: dict[str, str] = {}
        t = self.theme
        t.tint(self, background="bg")
        self.page = ScrollPage(self, t, self._arrange)
        self.page.pack(fill="both", expand=True)
        body = self.page.body
        self.services = ServiceList(
            body,
            t,
            switch=self._switch,
            show_tab=app.show_tab,
            open_setting=app.open_settings,
            retry=self._load_services,
            check_up=self.open_checkup,
        )
        self.cpu = LoadPlot(body, t, "CPU", "accent", lambda high: 1.0)
        self.memory = LoadPlot(body, t, "Memory", "llm", lambda high: high * 1.6)
        self.gpu = LoadPlot(body, t, "GPU", "stt", lambda high: 1.0)
        self.disk = LoadPlot(body, t, "Disk", "tts", lambda high: max(high * 1.1, 1e6))
        self.plots = (self.cpu, self.memory, self.gpu, self.disk)
        self.latency = LatencyCard(
            body,
            t,
            open_turn=app.open_turn,
            retry=self._load_turns,
            setting_of=lambda detail: setting_of(detail, [s.name for s in self.settings.settings]),
            open_setting=app.open_settings,
        )
        self.settings = ConfigCard(
            body, t, save=self._save, open_settings=app.open_settings, retry=self._load_config
        )
        self.page.watch_wheel()
        self.bind("<Destroy>", self._ended)

    # --- what the window calls

    def on_event(self, event: Event) -> None:
        """Gather what this tab shows."""
        match event:
            case SystemStatus():
                self._take_load(event)
            case ServiceChanged():
                self.services.switching.discard(event.service.name)
                self.services.change(event.service)
            case TurnStarted():
                self._sources[event.turn_id or ""] = event.origin
            case TurnFinished():
                source = self._sources.pop(event.turn_id or "", "")
                self.latency.add(TimedTurn.of_event(event, source))
            case CheckupStarted() | CheckupLine() | CheckupFinished():
                CheckupWindow.tell(event)
            case ConfigChanged():
                self._load_config()
                self._load_services()

    def flush(self) -> None:
        """Draw the plots if new figures came; everything else draws itself once before Tk goes idle."""
        if self._plots_due and self._is_shown and self._plot_job is None:
            self._plot_job = self.after(1, self._draw_plots)

    def on_show(self) -> None:
        """Draw again."""
        self._is_shown = True
        self._plots_due = True
        self.flush()
        self.services.rows.focus_quietly()

    def on_hide(self) -> None:
        """Stop drawing."""
        self._is_shown = False

    def on_theme(self) -> None:
        """Cards recolour themselves."""
        self.page.arrange_soon()

    def on_connected(self) -> None:
        """Load everything that is shown."""
        self._load_services()
        self._load_turns()
        self._load_config()
        CheckupWindow.connected()

    def open_checkup(self) -> None:
        """Open the check-up of the live path."""
        CheckupWindow.open(self.app, self)

    def panes(self) -> list[tk.Misc]:
        """Where F6 goes."""
        return [self.services, self.services.rows, self.latency, self.settings, self.settings.rows]

    # --- layout

    def _arrange(self, width: float, height: float) -> float:
        t = self.theme
        if width < NARROW:
            return self._arrange_narrow(width)
        left = SERVICES_WIDTH if width >= 1_000 else max(232.0, width * 0.34)
        x = MARGIN + left + GAP
        room = width - x - MARGIN
        plots = 104 if room >= FOUR_PLOTS else 2 * 84 + GAP
        latency, config = 264.0, 150.0
        needed = 12 + plots + GAP + latency + GAP + config + GAP
        extra = max(0.0, height - needed)
        latency += min(110.0, extra * 0.6)
        config = max(config, height - (12 + plots + GAP + latency + GAP) - GAP)
        total = 12 + plots + GAP + latency + GAP + config + GAP
        put(t, self.services, MARGIN, 12, left, total - 12 - GAP)
        self._place_plots(x, 12, room, plots)
        y = 12 + plots + GAP
        put(t, self.latency, x, y, room, latency)
        put(t, self.settings, x, y + latency + GAP, room, config)
        return total

    def _arrange_narrow(self, width: float) -> float:
        """One column: services, load, latency, configuration."""
        t = self.theme
        room = width - 2 * MARGIN
        y = 12.0
        put(t, self.services, MARGIN, y, room, 250)
        y += 250 + GAP
        plots = 104 if room >= FOUR_PLOTS else 2 * 84 + GAP
        self._place_plots(MARGIN, y, room, plots)
        y += plots + GAP
        put(t, self.latency, MARGIN, y, room, 280)
        y += 280 + GAP
        put(t, self.settings, MARGIN, y, room, 260)
        return y + 260 + GAP

    def _place_plots(self, x: float, y: float, width: float, height: float) -> None:
        columns = 4 if width >= FOUR_PLOTS else 2
        wide = (width - (columns - 1) * GAP) / columns
        high = height if columns == 4 else (height - GAP) / 2
        for number, plot in enumerate(self.plots):
            left = x + (number % columns) * (wide + GAP)
            put(self.theme, plot, left, y + (number // columns) * (high + GAP), wide, high)

    # --- load

    def _take_load(self, status: SystemStatus) -> None:
        self._load = status
        self._plots_due = True
        self.cpu.add(status.cpu, _percent(status.cpu), "this computer, all cores")
        self.memory.add(
            float(status.memory_bytes),
            _bytes(status.memory_bytes),
            f"Luma's, of {_bytes(status.memory_total_bytes)}",
        )
        self.disk.add(
            status.disk_write_bytes_s,
            f"{_bytes(status.disk_write_bytes_s)}/s",
            f"written; {_bytes(status.disk_free_bytes)} free",
        )
        if status.gpu is None:
            self.gpu.show_empty("No NVIDIA GPU here")
            return
        caption = status.gpu_name.removeprefix("NVIDIA ").removeprefix("GeForce ")
        if status.gpu_memory_bytes is not None and status.gpu_memory_total_bytes:
            used = status.gpu_memory_bytes / 1e9
            caption += f", {used:.1f} of {_bytes(status.gpu_memory_total_bytes)}"
        self.gpu.add(status.gpu, _percent(status.gpu), caption)

    def _draw_plots(self) -> None:
        self._plot_job = None
        if not self._is_shown:
            return
        if self._plots_due:
            self._plots_due = False
            for plot in self.plots:
                plot.redraw()
            self._plot_job = self.after(PLOT_MS, self._draw_plots)

    # --- services

    def _load_services(self) -> None:
        def take(answer: Any) -> None:
            self.services.show(read_models(ServiceInfo, answer, "services"))

        def fail(failure: Failure) -> None:
            self.services.show([], failure.message)

        self.app.backend.get("/api/status", take, fail)

    def _switch(self, name: str, on: bool) -> None:
        """Switch a module on or off."""
        self.services.switching.add(name)
        self.services.rows.changed()

        def done(answer: Any) -> None:
            self.services.switching.discard(name)
            for service in read_models(ServiceInfo, [answer]):
                self.services.change(service)
            self.services.rows.changed()

        def failed(failure: Failure) -> None:
            self.services.switching.discard(name)
            self.services.rows.changed()
            self.app.notify(failure.message, "error")

        self.app.backend.post(f"/api/modules/{name}", {"enabled": on}, done, failed)

    # --- latency

    def _load_turns(self) -> None:
        def take(answer: Any) -> None:
            turns = [TimedTurn.of_turn(turn) for turn in read_models(Turn, answer)]
            self.latency.show(turns[::-1])

        def fail(failure: Failure) -> None:
            self.latency.show(self.latency.turns, failure.message)

        self.app.backend.get("/api/turns", take, fail, params={"limit": TURNS})

    # --- configuration

    def _load_config(self) -> None:
        def take(answer: Any) -> None:
            self.settings.show(read_models(SettingInfo, answer))

        def fail(failure: Failure) -> None:
            self.settings.show(self.settings.settings, failure.message)

        self.app.backend.get("/api/config", take, fail)

    def _save(self, name: str, value: object) -> None:
        """Change one setting."""

        def saved(answer: Any) -> None:
            waiting = answer.get("restart_needed") if isinstance(answer, dict) else None
            words = f"{name_in_words(name)} was changed"
            self.app.notify(
                f"{words}; it applies after a restart." if waiting else f"{words}.", "ok"
            )
            self._load_config()

        def failed(failure: Failure) -> None:
            self.app.notify(failure.message, "error")
            self._load_config()

        self.app.backend.post("/api/config", {"values": {name: value}}, saved, failed)

    def _ended(self, event: Any) -> None:
        if event.widget is self and self._plot_job is not None:
            self.after_cancel(self._plot_job)


def _percent(share: float) -> str:
    return f"{share * 100:.0f} %"


def _bytes(count: float) -> str:
    for unit, size in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= size:
            number = count / size
            return (
                f"{number:.1f} {unit}" if number < 10 and unit != "kB" else f"{number:.0f} {unit}"
            )
    return f"{count:.0f} B"
