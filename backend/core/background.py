"""What runs beside: tasks nobody waits for.

The event loop keeps no task alive by itself, and one that fails says so only when it is thrown away, if ever. So who
starts tasks owns a `Background`: it holds them, logs what they die of, and ends them with itself.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any


class Background:
    """The tasks of one owner; all calls on the loop.

    Args:
        logger: The owner's: what went wrong is its.
    """

    def __init__(self, logger: logging.Logger) -> None:
        self._logger = logger
        self._tasks: set[asyncio.Task[None]] = set()

    def __len__(self) -> int:
        """How many run."""
        return len(self._tasks)

    def spawn(self, work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        """Start it; ``name`` says in the log what it does. Who wants its error too may await the task."""
        task = asyncio.get_running_loop().create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def cancel(self, *, but: asyncio.Task[None] | None = None) -> None:
        """Have all end that run now, except one, without waiting for it."""
        for task in self._tasks:
            if task is not but:
                task.cancel()

    async def close(self) -> None:
        """Have all end that run now; when this returns they have, and none raises here."""
        tasks = [*self._tasks]
        self.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._logger.error("%s stopped", task.get_name(), exc_info=error)
