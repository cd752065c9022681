"""The line to the process in which the audience is: what it is told, and what it tells (`simulator.crowd`)."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import orjson

ROOT = Path(__file__).resolve().parent.parent
LONGEST_LINE_BYTES = 1 << 24
ENDS_WITHIN_S = 15.0


class CrowdError(Exception):
    """The audience's process is gone."""


class CrowdLine:
    """The audience, from outside.

    Args:
        process: Its process.
        on_told: Called with everything it tells besides "ready", "readers" and "over".
    """

    def __init__(
        self, process: asyncio.subprocess.Process, on_told: Callable[[dict[str, Any]], None]
    ) -> None:
        self._process = process
        self._on_told = on_told
        self._answers: dict[str, asyncio.Future[Any]] = {}
        self._reading = asyncio.create_task(self._read())

    @classmethod
    @asynccontextmanager
    async def open(
        cls, begin: dict[str, Any], on_told: Callable[[dict[str, Any]], None]
    ) -> AsyncIterator[tuple[CrowdLine, dict[str, Any]]]:
        """Start it; gives the line, and what it says when it is ready."""
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "simulator.crowd"),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            cwd=ROOT,
            limit=LONGEST_LINE_BYTES,
        )
        line = cls(process, on_told)
        try:
            ready = line._expect("ready")
            line.tell({"begin": begin})
            yield line, await ready
        finally:
            line._reading.cancel()
            if process.stdin is not None:
                process.stdin.close()
            try:
                await asyncio.wait_for(process.wait(), ENDS_WITHIN_S)
            except TimeoutError:
                process.kill()
                await process.wait()

    def tell(self, what: dict[str, Any]) -> None:
        """Tell it to do something."""
        assert self._process.stdin is not None
        self._process.stdin.write(orjson.dumps(what) + b"\n")

    async def ask(self, what: dict[str, Any], answer: str) -> Any:
        """Tell it something, and wait for what it answers."""
        found = self._expect(answer)
        self.tell(what)
        async with asyncio.timeout(ENDS_WITHIN_S):
            return await found

    def _expect(self, answer: str) -> asyncio.Future[Any]:
        found: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._answers[answer] = found
        return found

    async def _read(self) -> None:
        assert self._process.stdout is not None
        while line := await self._process.stdout.readline():
            told: dict[str, Any] = orjson.loads(line)
            for name in told.keys() & self._answers.keys():
                self._answers.pop(name).set_result(told[name])
                break
            else:
                self._on_told(told)
        for waiting in self._answers.values():
            if not waiting.done():
                waiting.set_exception(CrowdError("The audience's process ended by itself."))
