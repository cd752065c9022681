"""NVIDIA GPUs, through the driver's own library; nothing is imported or opened where there is none."""

from __future__ import annotations

import ctypes
import logging
import sys
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from backend.contracts.entities import ServiceInfo

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class GpuLoad:
    """One measurement of the first GPU.

    Attributes:
        name: As the driver calls it.
        busy: 0-1, share of the last sample period in which it computed.
        memory_bytes, memory_total_bytes: Used by everybody, and there.
    """

    name: str
    busy: float
    memory_bytes: int
    memory_total_bytes: int


def torch_advice(gpu_name: str, torch_version: str) -> ServiceInfo | None:
    """A row for the status page when the GPU lies idle because torch was installed for the CPU; None when all is well.

    Args:
        gpu_name: The GPU there is, empty without one.
        torch_version: As installed ("2.13.0+cpu"), empty without torch.
    """
    if not gpu_name or not torch_version.endswith("+cpu"):
        return None
    return ServiceInfo(
        name="torch",
        title="PyTorch",
        kind="system",
        state="degraded",
        detail=f"{gpu_name} is not used",
        error=f"PyTorch {torch_version} is the build for the CPU, and this machine has {gpu_name}.",
        fix="Close Luma and run `python3 launch.py` again: it installs the build for the GPU.",
    )


def installed_torch() -> str:
    """Version of torch as installed, without importing it; empty when it is not."""
    try:
        return version("torch")
    except PackageNotFoundError:
        return ""


def has_driver() -> bool:
    """Whether NVIDIA's library may be there: without it its binding, 2 MB, need not be imported."""
    if not sys.platform.startswith("linux"):
        return True
    try:
        ctypes.CDLL("libnvidia-ml.so.1")
    except OSError:
        return False
    return True


class Gpu:
    """The first GPU of the machine. Blocking (about 1 ms): call in a worker thread."""

    def __init__(self) -> None:
        self._nvml: Any = None
        self._handle: Any = None
        self._is_absent = False

    def measure(self) -> GpuLoad | None:
        """Its load now, None when there is none or its driver does not answer."""
        if self._is_absent:
            return None
        try:
            if self._nvml is None:
                if not has_driver():
                    self._is_absent = True
                    return None
                import pynvml

                pynvml.nvmlInit()
                self._nvml = pynvml
                self._handle = pynvml.nvmlDeviceGetHandleByIndex(0)
            busy = self._nvml.nvmlDeviceGetUtilizationRates(self._handle).gpu / 100
            memory = self._nvml.nvmlDeviceGetMemoryInfo(self._handle)
            name = self._nvml.nvmlDeviceGetName(self._handle)
        except ImportError:
            self._is_absent = True
            return None
        except Exception as error:  # noqa: BLE001  the binding raises its own errors and ctypes' ones
            # No driver, or it went away (an update, a suspended laptop): no load to show, nothing to stop for.
            logger.debug("no GPU to watch: %s", error)
            self._is_absent = True
            return None
        return GpuLoad(
            name.decode() if isinstance(name, bytes) else str(name),
            busy,
            int(memory.used),
            int(memory.total),
        )

    def close(self) -> None:
        """Let go of the driver."""
        if self._nvml is not None:
            self._nvml.nvmlShutdown()
            self._nvml = None
