"""Events to 100 WebSocket clients: ours against `websockets.broadcast` + orjson, in one run, with the same clients.

    python benchmarks/fan_out.py [--clients 100] [--events 5000] [--rounds 3]

The clients run in another process, parse every event and check that no number is missing or repeated. Ours is the real
route `GET /ws` behind the guard, under uvicorn; the events are durable ones of the bus, without a database (storing is
measured by benchmarks of its own). The reference encodes each event once and broadcasts it as a frame.
"""

from __future__ import annotations

import argparse
import asyncio
import multiprocessing
import socket
import statistics
import sys
import time
from collections.abc import Awaitable, Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

TEXT = "The lights in the harbour come on one by one, and the fog answers."
YIELD_EVERY = 10
"""Events published before the loop gets its turn: a sentence and what comes with it."""


def client_process(pipe: Connection, count: int) -> None:
    """Connect ``count`` clients to whatever address comes through the pipe, read, check, report; until told to stop."""
    import orjson
    from websockets.asyncio.client import connect

    async def follow(
        url: str, headers: dict[str, str], first: int, events: int, ready: Any
    ) -> None:
        async with connect(
            url, additional_headers=headers, compression=None, max_size=None, proxy=None
        ) as line:
            await line.send('{"hello": {"types": ["chat.sentence"]}}')
            expected = first
            greeted = False
            while expected < first + events:
                found = orjson.loads(await line.recv())
                for event in found if isinstance(found, list) else (found,):
                    if "hello" in event:
                        greeted = True
                        ready()
                        continue
                    assert greeted
                    assert event["seq"] == expected, (event["seq"], expected)
                    assert event["data"]["text"] == TEXT
                    expected += 1

    async def measure(url: str, headers: dict[str, str], first: int, events: int) -> float:
        waiting = count
        begun = asyncio.Event()

        def ready() -> None:
            nonlocal waiting
            waiting -= 1
            if waiting == 0:
                begun.set()

        async with asyncio.TaskGroup() as tasks:
            for _ in range(count):
                tasks.create_task(follow(url, headers, first, events, ready))
            await begun.wait()
            pipe.send("ready")
            started_s = time.perf_counter()
        return time.perf_counter() - started_s

    while (job := pipe.recv()) is not None:
        pipe.send(asyncio.run(measure(*job)))


async def ours(events: int, clients: int, pipe: Connection) -> float:
    """Seconds from the first event to the last client's last one, through `GET /ws`."""
    import uvicorn
    from fastapi import FastAPI

    from backend import guard
    from backend.api import stream
    from backend.contracts.events import ChatSentence
    from backend.core.bus import EventBus

    token = "t" * 43
    bus = EventBus()
    bus.bind(asyncio.get_running_loop())

    class Stored:
        epoch = "benchmark"

        async def first_seq(self) -> int:
            return 1

    class Parts:
        def __init__(self) -> None:
            self.bus = bus
            self.database = self.events = Stored()

    app = FastAPI(version="0")
    app.state.services = Parts()
    app.include_router(stream.router)
    app.add_middleware(
        guard.Guard,
        access=guard.Access(token, token[::-1] + "o", lambda: token),
        options=guard.Options(max_sockets=clients + 10, max_sockets_per_client=clients + 10),
    )
    config = uvicorn.Config(
        app,
        port=0,
        log_config=None,
        access_log=False,
        ws="websockets-sansio",
        ws_per_message_deflate=False,
    )
    started = asyncio.Event()

    class Server(uvicorn.Server):
        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            started.set()

    server = Server(config)
    pump = asyncio.create_task(bus.run())
    serving = asyncio.create_task(server.serve())
    await started.wait()
    port = server.servers[0].sockets[0].getsockname()[1]

    async def publish(n: int) -> None:
        bus.publish(ChatSentence(text=TEXT, n=n, conversation_id="stage"))

    try:
        return await run(
            pipe, f"ws://127.0.0.1:{port}/ws", {"Authorization": f"Bearer {token}"}, events, publish
        )
    finally:
        server.should_exit = True
        await serving
        pump.cancel()
        await asyncio.gather(pump, return_exceptions=True)


async def reference(events: int, clients: int, pipe: Connection) -> float:
    """The same with `websockets.broadcast` and an envelope encoded once by orjson."""
    import orjson
    from websockets.asyncio.server import ServerConnection, broadcast, serve

    from backend.contracts.events import ChatSentence

    connected: set[ServerConnection] = set()

    async def serve_one(line: ServerConnection) -> None:
        await line.recv()
        await line.send('{"hello": {}}')
        connected.add(line)
        await line.wait_closed()

    async with serve(serve_one, "127.0.0.1", 0, compression=None) as server:
        port = server.sockets[0].getsockname()[1]

        async def publish(n: int) -> None:
            event = ChatSentence(text=TEXT, n=n, conversation_id="stage")
            broadcast(connected, orjson.dumps(event.envelope(n)).decode())

        return await run(pipe, f"ws://127.0.0.1:{port}", {}, events, publish)


async def run(
    pipe: Connection,
    url: str,
    headers: dict[str, str],
    events: int,
    publish: Callable[[int], Awaitable[None]],
) -> float:
    """Publish to clients that are all connected; returns what they measured."""
    pipe.send((url, headers, 1, events))
    assert await asyncio.to_thread(pipe.recv) == "ready"
    for n in range(1, events + 1):
        await publish(n)
        if n % YIELD_EVERY == 0:
            await asyncio.sleep(0)
    seconds: float = await asyncio.to_thread(pipe.recv)
    return seconds


def main() -> None:
    """Measure both by turns and print the ratio."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--clients", type=int, default=100)
    parser.add_argument("--events", type=int, default=3000)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    context = multiprocessing.get_context("spawn")
    pipe, other = context.Pipe()
    process = context.Process(target=client_process, args=(other, arguments.clients), daemon=True)
    process.start()
    rates: dict[str, list[float]] = {"ours": [], "websockets.broadcast": []}
    for _ in range(arguments.rounds):
        for name, measured in (("ours", ours), ("websockets.broadcast", reference)):
            seconds = asyncio.run(measured(arguments.events, arguments.clients, pipe))
            rates[name].append(arguments.events * arguments.clients / seconds)
    pipe.send(None)
    process.join(10)
    for name, found in rates.items():
        print(f"{name:22} {statistics.median(found):12,.0f} deliveries/s")
    ratio = statistics.median(rates["ours"]) / statistics.median(rates["websockets.broadcast"])
    # Both rates are bounded by the clients, who parse everything on the second core.
    print(f"ratio {ratio:.2f} x (at least 1 x, 3 x wanted)")
    sys.exit(0 if ratio >= 1 else 1)


if __name__ == "__main__":
    main()
