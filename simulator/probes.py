"""Control commands, sent all along and timed: what the streamer's buttons feel like, with and without a flood."""

from __future__ import annotations

import asyncio
import itertools
import sys
import time
from collections import Counter, defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit

import orjson

from simulator.levels import BARE
from simulator.luma import Luma
from simulator.watch import hello

EVERY_S = 0.1
"""Between two commands of one kind."""
LATE_EVERY_S = 0.02
ROOT = Path(__file__).resolve().parent.parent
FACES = ("joy", "sad", "surprised", "angry")
ANSWERED_WITHIN_S = 10.0


@asynccontextmanager
async def bare_server() -> AsyncIterator[str]:
    """Where the reference listens, until the end of the block."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "simulator.bare"),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        cwd=ROOT,
    )
    assert process.stdout is not None
    assert process.stdin is not None
    try:
        yield f"http://127.0.0.1:{int(await process.stdout.readline())}"
    finally:
        process.stdin.close()
        await process.wait()


class Probes:
    """Sends commands until it is cancelled.

    Attributes:
        samples: Milliseconds by name of the command, of the phase that `phase` names.
        failed: What was not answered well.
        worst: The slowest under load, in milliseconds, and when it was over.
        late: Milliseconds by which the simulator itself was woken late, by phase.
    """

    def __init__(self, luma: Luma) -> None:
        self._luma = luma
        self.phase = "between"
        self.samples: dict[str, dict[str, list[float]]] = {
            "idle": defaultdict(list),
            "loaded": defaultdict(list),
            "between": defaultdict(list),
        }
        self.failed: Counter[str] = Counter()
        self.worst = (0.0, 0.0)
        self.late: dict[str, list[float]] = defaultdict(list)

    async def run(self) -> None:
        """Send them, each kind on a connection of its own."""
        url = self._luma.url
        async with bare_server() as bare, asyncio.TaskGroup() as kinds:
            kinds.create_task(self._requests(BARE, bare, "GET", "/"))
            kinds.create_task(self._requests("GET /api/health", url, "GET", "/api/health"))
            kinds.create_task(
                self._requests("POST /api/expression", url, "POST", "/api/expression")
            )
            kinds.create_task(self._pings())
            kinds.create_task(self._be_late())

    def _took(self, name: str, begun_s: float) -> None:
        took_ms = (time.perf_counter() - begun_s) * 1000
        self.samples[self.phase][name].append(took_ms)
        if self.phase == "loaded" and name != BARE and took_ms > self.worst[0]:
            self.worst = (took_ms, time.monotonic())

    async def _requests(self, name: str, url: str, method: str, path: str) -> None:
        faces = itertools.cycle(FACES)
        address = urlsplit(url)
        while True:
            writer = None
            try:
                reader, writer = await asyncio.open_connection(address.hostname, address.port)
                while True:
                    body = orjson.dumps({"expression_id": next(faces)}) if method == "POST" else b""
                    head = (
                        f"{method} {path} HTTP/1.1\r\nHost: {address.netloc}\r\n"
                        f"Authorization: Bearer {self._luma.token}\r\n"
                        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
                    )
                    begun_s = time.perf_counter()
                    writer.write(head.encode() + body)
                    async with asyncio.timeout(ANSWERED_WITHIN_S):
                        answer = await reader.readuntil(b"\r\n\r\n")
                        length = answer.lower().partition(b"content-length:")[2]
                        await reader.readexactly(int(length.split(b"\r\n", 1)[0]))
                    self._took(name, begun_s)
                    status = answer.split(b" ", 2)[1].decode()
                    if status != "200":
                        self.failed[f"{name} {status}"] += 1
                    await asyncio.sleep(EVERY_S)
                    if b"\nconnection: close" in answer.lower():
                        break  # as after every refusal: the next request needs another one
            except (OSError, asyncio.IncompleteReadError, ValueError, TimeoutError) as error:
                self.failed[f"{name} {type(error).__name__}"] += 1
                await asyncio.sleep(EVERY_S)
            finally:
                if writer is not None:
                    writer.close()

    async def _be_late(self) -> None:
        """How late this program itself is woken: what the machine adds to every figure above."""
        while True:
            due_s = time.perf_counter() + LATE_EVERY_S
            await asyncio.sleep(LATE_EVERY_S)
            self.late[self.phase].append((time.perf_counter() - due_s) * 1000)

    async def _pings(self) -> None:
        socket = await hello(self._luma, ("none.at_all",))
        try:
            for number in itertools.count():
                begun_s = time.perf_counter()
                await socket.send(orjson.dumps({"ping": number}).decode())
                async with asyncio.timeout(ANSWERED_WITHIN_S):
                    await socket.recv()
                self._took("ping on /ws", begun_s)
                await asyncio.sleep(EVERY_S)
        finally:
            await socket.close()
