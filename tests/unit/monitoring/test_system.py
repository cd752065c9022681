"""The machine's load reaches the bus, and a missing GPU is nothing special."""

import asyncio
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from backend.core.bus import EventBus
from backend.monitoring.gpu import Gpu, torch_advice
from backend.monitoring.system import SystemMonitor
from tests.fakes import Watch


async def test_the_load_is_published_and_kept(tmp_path: Path) -> None:
    bus = EventBus()
    bus.bind(asyncio.get_running_loop())
    monitor = SystemMonitor(bus, tmp_path, interval_s=0.01, gpu_interval_s=1)
    async with Watch(bus) as seen:
        task = asyncio.create_task(monitor.run())
        second = await seen.until("system.status", 2)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert monitor.latest is not None
    assert second.memory_bytes > 10_000_000  # type: ignore[union-attr]
    assert second.memory_total_bytes > second.memory_bytes  # type: ignore[union-attr]
    assert second.disk_free_bytes > 0  # type: ignore[union-attr]
    assert 0 <= second.cpu <= 1  # type: ignore[union-attr]
    assert second.events_per_s > 0  # type: ignore[union-attr]


def test_a_gpu_is_read_through_its_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    driver = SimpleNamespace(
        nvmlInit=lambda: None,
        nvmlShutdown=lambda: None,
        nvmlDeviceGetHandleByIndex=lambda index: index,
        nvmlDeviceGetUtilizationRates=lambda handle: SimpleNamespace(gpu=41),
        nvmlDeviceGetMemoryInfo=lambda handle: SimpleNamespace(used=6, total=12),
        nvmlDeviceGetName=lambda handle: b"RTX 4070",
    )
    monkeypatch.setitem(sys.modules, "pynvml", driver)
    monkeypatch.setattr("backend.monitoring.gpu.has_driver", lambda: True)
    load = Gpu().measure()
    assert load is not None
    assert (load.name, load.busy, load.memory_bytes, load.memory_total_bytes) == (
        "RTX 4070",
        0.41,
        6,
        12,
    )


def test_no_driver_means_no_gpu_and_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing() -> None:
        raise RuntimeError("NVML Shared Library Not Found")

    monkeypatch.setitem(sys.modules, "pynvml", SimpleNamespace(nvmlInit=missing))
    monkeypatch.setattr("backend.monitoring.gpu.has_driver", lambda: True)
    gpu = Gpu()
    assert gpu.measure() is None
    assert gpu.measure() is None
    gpu.close()


def test_a_gpu_that_torch_cannot_use_is_pointed_out() -> None:
    advice = torch_advice("RTX 4070", "2.13.0+cpu")
    assert advice is not None
    assert advice.state == "degraded"
    assert "launch.py" in advice.fix


@pytest.mark.parametrize(
    ("gpu", "torch"), [("", "2.13.0+cpu"), ("RTX 4070", "2.13.0"), ("RTX 4070", "")]
)
def test_without_a_gpu_or_with_its_build_there_is_nothing_to_point_out(
    gpu: str, torch: str
) -> None:
    assert torch_advice(gpu, torch) is None
