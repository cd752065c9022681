"""Modules: services by name that are switched on and off while the program runs, each on its own risk.

What is on is kept by the caller's `keep` and asked back with `load`, so it outlives a restart; the settings decide only
until somebody has switched. A module that fails, hangs or dies is shown as failed and stops nobody else.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field

from backend.contracts.entities import ServiceInfo
from backend.contracts.errors import AppError, NotFoundError
from backend.contracts.events import ServiceChanged
from backend.core.bus import EventBus
from backend.core.service import Service

logger = logging.getLogger(__name__)

START_TIMEOUT_S = 15.0
STOP_TIMEOUT_S = 2.5

Load = Callable[[], Awaitable[Mapping[str, bool]]]
Keep = Callable[[str, bool], Awaitable[None]]


@dataclass(slots=True)
class _Module:
    """A service and what became of it."""

    service: Service
    enabled: bool
    is_running: bool = False
    is_starting: bool = False
    error: str = ""
    fix: str = ""
    # One switch at a time: on, off, on in quick succession ends on.
    switching: asyncio.Lock = field(default_factory=asyncio.Lock)


class Modules:
    """The modules of a running backend; all calls in its loop.

    Args:
        bus: Told of every change of state.
        services: The modules, in the order they are shown.
        initially_on: Names that are on as long as nobody has switched them.
        load: What was switched before, by name.
        keep: Remembers one switch.
        start_timeout_s: Longest wait for a module to start.
        stop_timeout_s: Longest wait for one to stop.
    """

    def __init__(
        self,
        bus: EventBus,
        services: Iterable[Service],
        *,
        initially_on: Collection[str],
        load: Load,
        keep: Keep,
        start_timeout_s: float = START_TIMEOUT_S,
        stop_timeout_s: float = STOP_TIMEOUT_S,
    ) -> None:
        self._bus = bus
        self._load = load
        self._keep = keep
        self._start_timeout_s = start_timeout_s
        self._stop_timeout_s = stop_timeout_s
        self._modules = {
            service.name: _Module(service, enabled=service.name in initially_on)
            for service in services
        }

    async def start(self) -> None:
        """Start every module that is on, at once; returns when each has started or failed."""
        try:
            kept = await self._load()
        except Exception:
            logger.exception("could not read which modules are on; the settings decide")
            kept = {}
        for name, module in self._modules.items():
            module.enabled = kept.get(name, module.enabled)
        async with asyncio.TaskGroup() as group:
            for module in self._modules.values():
                if module.enabled:
                    group.create_task(self._start(module), name=f"start {module.service.name}")

    async def stop(self) -> None:
        """Stop every module, at once, each within its time; what is on stays remembered."""
        async with asyncio.TaskGroup() as group:
            for module in self._modules.values():
                group.create_task(self._stop(module), name=f"stop {module.service.name}")

    def list(self) -> list[ServiceInfo]:
        """How every module is right now."""
        return [self._info(module) for module in self._modules.values()]

    def is_on(self, name: str) -> bool:
        """Whether the module is switched on and runs.

        Raises:
            NotFoundError: If there is no such module.
        """
        return self._find(name).is_running

    async def set_enabled(self, name: str, enabled: bool) -> ServiceInfo:
        """Switch a module on or off and remember it; returns how it is then.

        A module that cannot start stays switched on and says why, so that it starts next time.

        Raises:
            NotFoundError: If there is no such module; lists the names.
        """
        module = self._find(name)
        module.enabled = enabled
        await self._keep(name, enabled)
        # What was asked last counts, also for those who waited.
        await (self._start(module) if module.enabled else self._stop(module))
        return self._info(module)

    def _find(self, name: str) -> _Module:
        try:
            return self._modules[name]
        except KeyError:
            raise NotFoundError(
                f"There is no module {name!r}; there are {', '.join(self._modules)}."
            ) from None

    async def _start(self, module: _Module) -> None:
        async with module.switching:
            if module.is_running or not module.enabled:
                return
            module.is_starting, module.error, module.fix = True, "", ""
            self._tell(module)
            try:
                async with asyncio.timeout(self._start_timeout_s):
                    await module.service.start()
                module.is_running = True
            except TimeoutError:
                module.error = f"It did not start within {self._start_timeout_s:g} s."
                module.fix = "Switch it off and on again."
            except AppError as error:
                module.error = error.message
            except Exception as error:
                logger.exception("module %s could not start", module.service.name)
                module.error = f"{type(error).__name__}: {error}"
                module.fix = "The log has the details."
            finally:
                module.is_starting = False
            if not module.is_running:
                await self._end(module)  # what it got hold of before it failed
            self._tell(module)

    async def _stop(self, module: _Module) -> None:
        async with module.switching:
            if not module.is_running and not module.error:
                return
            module.error = module.fix = ""
            module.is_running = False
            await self._end(module)
            self._tell(module)

    async def _end(self, module: _Module) -> None:
        try:
            async with asyncio.timeout(self._stop_timeout_s):
                await module.service.stop()
        except TimeoutError:
            logger.error(
                "module %s did not stop within %g s", module.service.name, self._stop_timeout_s
            )
        except Exception:
            logger.exception("module %s failed while it stopped", module.service.name)

    def _info(self, module: _Module) -> ServiceInfo:
        try:
            info = module.service.health()
        except Exception as error:
            logger.exception("module %s cannot tell how it is", module.service.name)
            info = ServiceInfo(
                name=module.service.name,
                title=module.service.name,
                state="failed",
                error=f"{type(error).__name__}: {error}",
            )
        changes: dict[str, object] = {"name": module.service.name, "enabled": module.enabled}
        if module.is_starting:
            changes["state"] = "starting"
        elif module.error:
            changes |= {"state": "failed", "error": module.error, "fix": module.fix or info.fix}
        elif not module.is_running:
            changes |= {"state": "off", "error": "", "fix": ""}
        return info.model_copy(update=changes)

    def _tell(self, module: _Module) -> None:
        self._bus.publish(ServiceChanged(service=self._info(module)))
