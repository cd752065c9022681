"""Commands to the avatar, until the change is seen: through REST and through the socket, against a bare request.

Luma (main.py --headless) runs in a process of its own. Here is a client with one HTTP connection and one socket that
reads `avatar.changed` and sends commands too. Every command asks for another expression than the one that is shown, so
each one changes what is shown. The bare request is `GET /api/health` on the same connection, in turns with the others.

One after the other: how long from sending to the answer, and to the event on the socket. Then many at once (16 HTTP
connections, 16 sockets): how many a second until the last change was seen. All of it passes guard, routing, checks, rules,
timeline, bus and, as it is durable, the database before the socket sees it.

    python -m benchmarks.avatar_commands [--commands 500] [--rounds 3]
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import orjson
from websockets.asyncio.client import ClientConnection, connect

from benchmarks.headless import Running, luma

FACES = ("joy", "sad", "angry", "surprised")
AT_ONCE = 16
WARM_UP_S = 4.0
PAUSE_S = 3.0
"""Between rounds: a socket may say 400 things a second, and 800 at once."""


class Http:
    """One kept-alive connection, as bare as it gets."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, to: Running
    ) -> None:
        self._reader, self._writer, self._to = reader, writer, to

    @classmethod
    @asynccontextmanager
    async def open(cls, to: Running) -> AsyncIterator[Http]:
        reader, writer = await asyncio.open_connection("127.0.0.1", to.port)
        try:
            yield cls(reader, writer, to)
        finally:
            writer.close()

    async def ask(self, method: str, path: str, body: bytes = b"") -> bytes:
        head = (
            f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1:{self._to.port}\r\n"
            f"Authorization: Bearer {self._to.token}\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(body)}\r\n\r\n"
        )
        self._writer.write(head.encode() + body)
        answer = await self._reader.readuntil(b"\r\n\r\n")
        if not answer.startswith(b"HTTP/1.1 200"):
            raise RuntimeError(f"{method} {path}: {answer[:80]!r}")
        length = int(answer.lower().partition(b"content-length:")[2].split(b"\r\n", 1)[0])
        return await self._reader.readexactly(length)

    async def express(self, face: str) -> None:
        await self.ask("POST", "/api/expression", orjson.dumps({"expression_id": face}))


class Line:
    """One socket: reads in the background, knows when a face was seen and a command answered."""

    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket
        self._answers: dict[int, asyncio.Future[None]] = {}
        self._count = 0
        self.changes = 0
        self.changed = asyncio.Event()
        self.reading = asyncio.create_task(self._read())

    @classmethod
    async def open(cls, to: Running, stack: AsyncExitStack, *types: str) -> Line:
        socket = await stack.enter_async_context(
            connect(
                f"ws://127.0.0.1:{to.port}/ws",
                additional_headers={"Authorization": f"Bearer {to.token}"},
                compression=None,
                max_size=None,
                proxy=None,
            )
        )
        await socket.send(orjson.dumps({"hello": {"types": types or ["none.at_all"]}}).decode())
        line = cls(socket)
        stack.callback(line.reading.cancel)
        return line

    async def _read(self) -> None:
        async for text in self._socket:
            found = orjson.loads(text)
            for each in found if isinstance(found, list) else (found,):
                if each.get("type") == "avatar.changed":
                    self.changes += 1
                    self.changed.set()
                elif "done" in each:
                    self._answers.pop(each["done"]).set_result(None)
                elif "failed" in each:
                    self._answers.pop(each["failed"]).set_exception(RuntimeError(str(each)))

    async def express(self, face: str) -> None:
        self._count += 1
        answer = self._answers[self._count] = asyncio.get_running_loop().create_future()
        command = {"do": "expression", "id": self._count, "expression_id": face}
        await self._socket.send(orjson.dumps(command).decode())
        await answer

    async def seen(self, changes: int) -> None:
        while self.changes < changes:
            self.changed.clear()
            await self.changed.wait()


@dataclass
class Times:
    """Milliseconds."""

    answered: list[float] = field(default_factory=list)
    shown: list[float] = field(default_factory=list)


async def one_by_one(
    line: Line, express: Callable[[str], Awaitable[None]], count: int, times: Times
) -> None:
    for n in range(count):
        wanted = line.changes + 1
        started_s = time.perf_counter()
        seen = asyncio.create_task(line.seen(wanted))
        await express(FACES[n % 2])
        times.answered.append((time.perf_counter() - started_s) * 1000)
        async with asyncio.timeout(10):
            await seen
        times.shown.append((time.perf_counter() - started_s) * 1000)


async def bare(http: Http, count: int, times: list[float]) -> None:
    for _ in range(count):
        started_s = time.perf_counter()
        await http.ask("GET", "/api/health")
        times.append((time.perf_counter() - started_s) * 1000)


async def at_once(
    line: Line, senders: Sequence[Callable[[str], Awaitable[None]]], count: int
) -> float:
    """Commands a second, counted when the last change was seen."""
    numbers = iter(range(count))
    before = line.changes

    async def send(express: Callable[[str], Awaitable[None]]) -> None:
        for n in numbers:
            await express(FACES[n % 4])

    started_s = time.perf_counter()
    await asyncio.gather(*(send(each) for each in senders))
    # Two senders may overtake each other, so two of the same face may follow; the last state counts.
    state = line.changes - 1
    while state != line.changes:
        state = line.changes
        ended_s = time.perf_counter()
        await asyncio.sleep(0.05)
    if line.changes - before < count / 2:
        raise RuntimeError(f"{count} commands, and only {line.changes - before} changes were seen")
    return count / (ended_s - started_s)


async def bare_at_once(connections: list[Http], count: int) -> float:
    numbers = iter(range(count))

    async def send(http: Http) -> None:
        for _ in numbers:
            await http.ask("GET", "/api/health")

    started_s = time.perf_counter()
    await asyncio.gather(*(send(each) for each in connections))
    return count / (time.perf_counter() - started_s)


async def measure(to: Running, commands: int, rounds: int) -> dict[str, Any]:
    """All of it, in turns."""
    await asyncio.sleep(WARM_UP_S)
    rest, socket, plain = Times(), Times(), list[float]()
    rates: dict[str, list[float]] = {"health": [], "rest": [], "socket": []}
    async with AsyncExitStack() as stack:
        line = await Line.open(to, stack, "avatar.changed")
        sockets = [await Line.open(to, stack) for _ in range(AT_ONCE)]
        for _ in range(rounds):
            # Fresh ones: the server closes what was silent for 5 s.
            async with Http.open(to) as http:
                await one_by_one(line, http.express, 20, Times())
                await bare(http, commands, plain)
                await one_by_one(line, http.express, commands, rest)
            await one_by_one(line, line.express, commands, socket)
            await asyncio.sleep(PAUSE_S)
            many = commands * 4
            async with AsyncExitStack() as opened:
                connections = [
                    await opened.enter_async_context(Http.open(to)) for _ in range(AT_ONCE)
                ]
                rates["health"].append(await bare_at_once(connections, many))
                asking = [each.express for each in connections]
                rates["rest"].append(await at_once(line, asking, many))
            rates["socket"].append(await at_once(line, [each.express for each in sockets], many))
            await asyncio.sleep(PAUSE_S)
    return {
        "bare": plain,
        "rest": rest,
        "socket": socket,
        "rates": {name: statistics.median(found) for name, found in rates.items()},
    }


def row(name: str, times: list[float], reference: float) -> str:
    """p50, p99 and how many times the reference."""
    p50 = statistics.median(times)
    p99 = statistics.quantiles(times, n=100)[98]
    return f"{name:36} {p50:8.2f} {p99:8.2f} {1000 / p50:9.0f} {p50 / reference:7.2f} x"


def main() -> None:
    """Start Luma, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--commands", type=int, default=500, help="in a round, one after the other")
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    with luma() as to:
        found = asyncio.run(measure(to, given.commands, given.rounds))
    reference = statistics.median(found["bare"])
    print(f"{'one after the other':36} {'p50 ms':>8} {'p99 ms':>8} {'a second':>9} {'ratio':>9}")
    print(row("GET /api/health", found["bare"], reference))
    print(row("POST /api/expression, answered", found["rest"].answered, reference))
    print(row("POST /api/expression, shown", found["rest"].shown, reference))
    print(row("/ws expression, answered", found["socket"].answered, reference))
    print(row("/ws expression, shown", found["socket"].shown, reference))
    rates = found["rates"]
    print(f"\n{AT_ONCE} at once, a second until the last was shown")
    for name, rate in rates.items():
        print(f"{name:36} {rate:8.0f} {rate / rates['health']:8.2f} x")


if __name__ == "__main__":
    main()
