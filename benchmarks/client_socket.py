"""The socket of Open-LLM-VTuber clients under load: inputs in a row, two clients at once, and frames of nonsense.

Luma (main.py --headless, an echo for a model, a tone for a voice) runs in a process of its own. A client types as fast as
may be, 30 inputs ahead of the answers (32 may wait), and acknowledges each turn. Every chain is checked: begun once, ended
once, nothing of another reply in it, nothing of another client. Then four sockets send what nearly is a message, and what
is none; after it a client has a turn, and the log is searched for errors. The reference is the same turn over
`POST /api/chat`, one after the other, before and after.

    python -m benchmarks.client_socket [--inputs 1000] [--frames 20000] [--seed 1]
"""

from __future__ import annotations

import argparse
import asyncio
import random
import statistics
import sys
import time
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import httpx
import orjson
import websockets
from websockets.asyncio.client import ClientConnection, connect

from benchmarks.headless import Running, luma
from tests.integration.test_client_ws_load import frame

AHEAD = 30
FLOODERS = 4
FRAMES_A_SOCKET = 700
"""A socket may send 800 at once."""
REFERENCE_TURNS = 100


def dial(client: Running) -> connect:
    """A client's socket."""
    return connect(
        f"ws://127.0.0.1:{client.port}/client-ws",
        additional_headers=client.headers,
        proxy=None,
        compression=None,
        max_size=None,
        close_timeout=0.5,
    )


def errors_of(client: Running) -> list[str]:
    """Lines of the log that somebody should look at, and tracebacks."""
    return [
        line
        for line in client.log.read_text("utf-8", "replace").splitlines()
        if "Traceback" in line or '"level":"error"' in line.lower().replace(" ", "")
    ]


@dataclass
class Seen:
    """What one client saw of its turns.

    Attributes:
        starts, ends: Chains begun and ended.
        interleaved: Chains with something of another reply in them, or begun inside another.
        foreign: Sentences of another client.
        took_s: From each input to the end of its chain, the wait behind the others included.
    """

    starts: int = 0
    ends: int = 0
    interleaved: int = 0
    foreign: int = 0
    took_s: list[float] = field(default_factory=list)


async def inputs(client: Running, name: str, count: int) -> Seen:
    """Type ``count`` numbered lines and look at what comes."""
    seen = Seen()
    sent_s: list[float] = []
    is_open = wrong = False
    texts: list[str] = []

    async with dial(client) as socket:

        async def type_ahead() -> None:
            while len(sent_s) < min(count, seen.ends + AHEAD):
                sent_s.append(time.perf_counter())
                text = f"{name} number {len(sent_s) - 1} is here. And this is its end."
                await _send(socket, "text-input", text=text)

        await type_ahead()
        while seen.ends < count:
            message = orjson.loads(await asyncio.wait_for(socket.recv(), 60))
            match message["type"], message.get("text"):
                case "control", "conversation-chain-start":
                    seen.starts += 1
                    wrong = is_open
                    is_open, texts = True, []
                case "audio", _:
                    shown = message["display_text"]["text"]
                    texts.append(shown)
                    seen.foreign += " number " in shown and not shown.startswith(f"{name} ")
                    wrong = wrong or not is_open
                case "backend-synth-complete", _:
                    await _send(socket, "frontend-playback-complete")
                case "control", "conversation-chain-end":
                    expected = f"{name} number {seen.ends} is here. And this is its end. "
                    seen.interleaved += wrong or not is_open or "".join(texts) != expected
                    seen.took_s.append(time.perf_counter() - sent_s[seen.ends])
                    seen.ends += 1
                    is_open = False
                    await type_ahead()
    return seen


async def flood(client: Running, seed: int, count: int) -> tuple[int, int]:
    """Send nonsense over one socket after the other; how many sockets it took, and how many the server closed."""
    dice = random.Random(seed)  # noqa: S311 - repeatable nonsense, not secrets
    sent = sockets = closed = 0
    while sent < count:
        sockets += 1
        async with dial(client) as socket:
            reading = asyncio.create_task(_drain(socket))
            try:
                for _ in range(min(FRAMES_A_SOCKET, count - sent)):
                    await socket.send(frame(dice))
                    sent += 1
                await _send(socket, "the-end")
                await asyncio.wait_for(asyncio.shield(reading), 120)
            except websockets.ConnectionClosed:
                closed += 1
            finally:
                reading.cancel()
                await asyncio.gather(reading, return_exceptions=True)
    return sockets, closed


async def _drain(socket: ClientConnection) -> None:
    while "the-end" not in str(orjson.loads(await socket.recv()).get("message")):
        continue


async def _send(socket: ClientConnection, kind: str, **fields: Any) -> None:
    await socket.send(orjson.dumps({"type": kind, **fields}).decode())


async def reference(client: Running) -> float:
    """Median seconds of the same turn over REST."""
    took = []
    async with httpx.AsyncClient(
        base_url=f"http://127.0.0.1:{client.port}", headers=client.headers, trust_env=False
    ) as http:
        made = await http.post("/api/conversations", json={})
        where = made.json()["id"]
        for n in range(REFERENCE_TURNS):
            began_s = time.perf_counter()
            text = f"One number {n} is here. And this is its end."
            answer = await http.post(
                "/api/chat", json={"message": text, "conversation_id": where}, timeout=30
            )
            answer.raise_for_status()
            took.append(time.perf_counter() - began_s)
    return statistics.median(took)


def _row(title: str, seen: Seen, took_s: float) -> None:
    print(
        f"{title:22} {len(seen.took_s):5} inputs in {took_s:6.1f} s = {len(seen.took_s) / took_s:6.1f}/s;"
        f" starts {seen.starts}, ends {seen.ends}, interleaved {seen.interleaved}, of others {seen.foreign}"
    )


async def measure(arguments: argparse.Namespace) -> int:
    """All of it; the number of things that are wrong."""
    wrong = 0
    with luma(asr_vad="energy", stt_chain=["script"]) as client:
        before_s = await reference(client)
        began_s = time.perf_counter()
        one = await inputs(client, "Alone", arguments.inputs)
        alone_s = time.perf_counter() - began_s
        _row("one client", one, alone_s)
        began_s = time.perf_counter()
        half = arguments.inputs // 2
        both = await asyncio.gather(inputs(client, "Ann", half), inputs(client, "Ben", half))
        both_s = time.perf_counter() - began_s
        for name, seen in zip(("Ann", "Ben"), both, strict=True):
            _row(f"two clients: {name}", seen, both_s)
        for seen in (one, *both):
            wrong += abs(seen.starts - seen.ends) + seen.interleaved + seen.foreign
        after_s = await reference(client)
        turn_s = (before_s + after_s) / 2
        print(
            f"a turn over POST /api/chat: {turn_s * 1000:.1f} ms; over the socket, back to back:"
            f" {alone_s / arguments.inputs * 1000:.1f} ms = {alone_s / arguments.inputs / turn_s:.2f} x"
        )
        began_s = time.perf_counter()
        share = arguments.frames // FLOODERS
        ended = await asyncio.gather(
            *(flood(client, arguments.seed + n, share) for n in range(FLOODERS))
        )
        took_s = time.perf_counter() - began_s
        sockets, closed = (sum(each[n] for each in ended) for n in (0, 1))
        alive = await inputs(client, "After", 3)
        errors = errors_of(client)
        print(
            f"{share * FLOODERS:,} frames of nonsense in {took_s:.1f} s over {sockets} sockets ({closed} closed by"
            f" Luma): {len(errors)} errors in the log; afterwards {alive.ends} of 3 inputs answered"
        )
        for line in errors[:5]:
            print("  ", line[:300])
        wrong += len(errors) + abs(3 - alive.ends)
    return wrong


def main() -> None:
    """Measure, print, and say by the exit code whether all was right."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--inputs", type=int, default=1000)
    parser.add_argument("--frames", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=1)
    with suppress(KeyboardInterrupt):
        sys.exit(1 if asyncio.run(measure(parser.parse_args())) else 0)


if __name__ == "__main__":
    main()
