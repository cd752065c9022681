"""How loaded the machine is, measured on a worker thread and published about once a second."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from pathlib import Path

from backend.contracts.entities import ServiceInfo
from backend.contracts.events import SystemStatus
from backend.core.bus import EventBus
from backend.core.clock import monotonic_s
from backend.monitoring.gpu import Gpu, GpuLoad, installed_torch, torch_advice

logger = logging.getLogger(__name__)


class SystemMonitor:
    """Publishes `system.status`, and keeps the newest for whoever asks.

    Args:
        bus: Where it goes.
        folder: Whose disk is watched.
        interval_s: Seconds between two measurements.
        gpu_interval_s: The same for the GPU, which costs the driver more.
    """

    def __init__(
        self, bus: EventBus, folder: Path, *, interval_s: float, gpu_interval_s: float
    ) -> None:
        self._bus = bus
        self._folder = folder
        self._interval_s = interval_s
        self._changed = asyncio.Event()
        self.gpu_interval_s = gpu_interval_s
        self.latest: SystemStatus | None = None
        self._gpu = Gpu()
        self._gpu_load: GpuLoad | None = None
        self._gpu_at_s = float("-inf")
        self._written: tuple[float, int] | None = None
        self._events: tuple[float, int] | None = None

    @property
    def interval_s(self) -> float:
        """Seconds between two measurements; a new value counts at once."""
        return self._interval_s

    @interval_s.setter
    def interval_s(self, seconds: float) -> None:
        if seconds != self._interval_s:
            self._interval_s = seconds
            self._changed.set()

    async def run(self) -> None:
        """Measure for ever; cancel to end."""
        try:
            while True:
                try:
                    status = await asyncio.to_thread(self._measure)
                except Exception:
                    logger.exception("the machine's load could not be measured")
                else:
                    self.latest = status.model_copy(update={"events_per_s": self._event_rate()})
                    self._bus.publish(self.latest)
                self._changed.clear()
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._changed.wait(), self._interval_s)
        finally:
            self._gpu.close()

    async def advice(self) -> list[ServiceInfo]:
        """What about this machine could be better, as rows of the status page."""
        name = self.latest.gpu_name if self.latest is not None else ""
        found = torch_advice(name, await asyncio.to_thread(installed_torch)) if name else None
        return [found] if found is not None else []

    def _event_rate(self) -> float:
        at_s, count = monotonic_s(), self._bus.published
        before, self._events = self._events, (at_s, count)
        if before is None or at_s <= before[0]:
            return 0.0
        return round((count - before[1]) / (at_s - before[0]), 1)

    def _measure(self) -> SystemStatus:
        import psutil

        process = psutil.Process()
        memory = process.memory_info().rss
        for child in process.children(recursive=True):
            with contextlib.suppress(psutil.Error):  # it ended while we looked
                memory += child.memory_info().rss
        written = 0.0
        with contextlib.suppress(AttributeError, psutil.Error, OSError):  # not on every system
            written = self._write_rate(process.io_counters().write_bytes)
        at_s = monotonic_s()
        if at_s - self._gpu_at_s >= self.gpu_interval_s:
            self._gpu_load = self._gpu.measure()
            self._gpu_at_s = at_s
        gpu = self._gpu_load
        return SystemStatus(
            cpu=psutil.cpu_percent() / 100,
            memory_bytes=memory,
            memory_total_bytes=psutil.virtual_memory().total,
            disk_free_bytes=psutil.disk_usage(str(self._folder)).free,
            disk_write_bytes_s=written,
            gpu=gpu.busy if gpu else None,
            gpu_memory_bytes=gpu.memory_bytes if gpu else None,
            gpu_memory_total_bytes=gpu.memory_total_bytes if gpu else None,
            gpu_name=gpu.name if gpu else "",
        )

    def _write_rate(self, total: int) -> float:
        at_s = monotonic_s()
        before, self._written = self._written, (at_s, total)
        if before is None or at_s <= before[0]:
            return 0.0
        return round((total - before[1]) / (at_s - before[0]), 1)
