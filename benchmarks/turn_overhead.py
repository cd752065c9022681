"""What the whole program adds to a turn: message to first audible sound, against a raw asyncio pipeline in the same run.

Four parts: stub servers for model and voice in a process of their own; Luma (main.py --headless) in another; and in this one the client and
the raw pipeline, which take turns, so that both meet the same machine. "Added" is the time beyond what the stubs
themselves take. Targets: Luma adds at most 3 x what the raw pipeline adds, first turn included; turn 1,000 takes at most
1.2 x turn 10.

What they do. Raw pipeline: two HTTP requests on fresh connections, JSON out, server-sent events in, the sentence's end
found with a regular expression, the WAV read to its last byte; it serves nobody and keeps nothing. Luma, asked over
POST /api/chat as any client asks it: the request checked and routed, the same two requests, and between them queue,
prompt from character and history, tags, sentences, events, voice cache and sound store; the client stops its watch at
the audio event. Raw service: the raw pipeline behind a bare asyncio HTTP server in its own process, asked by the same
client as Luma: the least that any program of this shape can take.

    python -m benchmarks.turn_overhead [--turns 1000] [--pairs 100]
"""

from __future__ import annotations

import argparse
import asyncio
import io
import json
import re
import statistics
import subprocess
import sys
import time
import wave
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from benchmarks.headless import luma

ROOT = Path(__file__).resolve().parent.parent
SENTENCE_TOKENS = 8
TOKENS = ("Lamp", "{n}", "in", "the", "harbour", "was", "lit", "tonight.", "Goodnight.")
"""A number makes every reply another one, which no cache has; not at its end, where its dot could be an ordinal's."""
RATE = 20.0
COMPARED = 40
"""Turns 10, and last turns, that are compared."""
WARM_UP_S = 4.0
"""From the start to the first turn: nobody types faster, and the voice's process is started by then."""


# --- the stubs ----------------------------------------------------------------------------------------------------


def _sound() -> bytes:
    file = io.BytesIO()
    with wave.open(file, "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(24000)
        out.writeframes(b"\x10\x00\xf0\xff" * 6000)
    return file.getvalue()


async def _serve_stubs() -> None:
    sound = _sound()
    count = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal count
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = re.search(rb"content-length: *(\d+)", head, re.IGNORECASE)
                await reader.readexactly(int(length[1]) if length else 0)
                path = head.split(b" ", 2)[1]
                if b"/audio/speech" in path:
                    writer.write(
                        b"HTTP/1.1 200 OK\r\nContent-Type: audio/wav\r\nContent-Length: %d\r\n\r\n"
                        % len(sound)
                        + sound
                    )
                    continue
                if b"/chat/completions" not in path:
                    writer.write(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
                    continue
                count += 1
                writer.write(
                    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
                )
                pause_s = 1 / RATE if b"/slow/" in path else 0.0
                for token in TOKENS:
                    await asyncio.sleep(pause_s)
                    delta = {"content": token.format(n=count) + " "}
                    _chunk(writer, {"choices": [{"index": 0, "delta": delta}]})
                _chunk(writer, {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
                writer.write(b"e\r\ndata: [DONE]\n\n\r\n0\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


def _chunk(writer: asyncio.StreamWriter, value: object) -> None:
    data = f"data: {json.dumps(value)}\n\n".encode()
    writer.write(b"%x\r\n%s\r\n" % (len(data), data))


# --- the two pipelines --------------------------------------------------------------------------------------------


async def _request(port: int, path: str, body: object, headers: str = "") -> asyncio.StreamReader:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    data = json.dumps(body).encode()
    writer.write(
        f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Type: application/json\r\n"
        f"{headers}Content-Length: {len(data)}\r\n\r\n".encode()
        + data
    )
    reader_writers.append(writer)
    return reader


reader_writers: list[asyncio.StreamWriter] = []
"""Kept until the turn is over, then closed."""


async def _lines(reader: asyncio.StreamReader) -> tuple[str, bytes]:
    line = await reader.readline()
    name, _, value = line.partition(b":")
    return name.decode(), value.strip()


def _close_all() -> None:
    for writer in reader_writers:
        writer.close()
    reader_writers.clear()


async def raw_turn(port: int, speed: str, heard: Callable[[], None] = lambda: None) -> float:
    """Milliseconds to the first sound: ask, read tokens until a sentence is whole, fetch its sound."""
    began_s = time.perf_counter()
    reader = await _request(
        port,
        f"/{speed}/v1/chat/completions",
        {"model": "m", "stream": True, "messages": [{"role": "user", "content": "Hello"}]},
    )
    text = ""
    while not re.search(r"[.!?]\s", text):
        name, value = await _lines(reader)
        if name == "data" and value.startswith(b"{"):
            text += json.loads(value)["choices"][0]["delta"].get("content", "")
    sound = await _request(port, "/v1/audio/speech", {"input": text, "voice": "x"})
    length = 0
    while (found := await _lines(sound))[0].strip():
        if found[0].lower() == "content-length":
            length = int(found[1])
    await sound.readexactly(length)
    took_ms = (time.perf_counter() - began_s) * 1000
    heard()
    while (await reader.readline()).strip() != b"0":
        pass
    _close_all()
    return took_ms


async def _serve_raw(stub: int) -> None:
    """The raw pipeline as a service: one request in, the events of Luma's that matter out."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        length = re.search(rb"content-length: *(\d+)", head, re.IGNORECASE)
        await reader.readexactly(int(length[1]) if length else 0)
        speed = head.split(b" ", 2)[1].decode().split("/")[1]
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n")

        def heard() -> None:
            writer.write(b"event: audio\ndata: {}\n\n")

        await raw_turn(stub, speed, heard)
        writer.write(b"event: final\ndata: {}\n\n")
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


async def _watched(reader: asyncio.StreamReader, began_s: float) -> float:
    """Milliseconds to the first audio event of a stream; returns when the turn is over."""
    took_ms = 0.0
    event = b""
    while event != b"final":
        name, value = await _lines(reader)
        if not name and not value and reader.at_eof():
            raise RuntimeError("the turn ended without its final event")
        if name == "event":
            event = value
            if value == b"audio" and not took_ms:
                took_ms = (time.perf_counter() - began_s) * 1000
            if value == b"error":
                raise RuntimeError(str(await _lines(reader)))
    _close_all()
    if not took_ms:
        raise RuntimeError("the turn had no sound")
    return took_ms


async def service_turn(port: int, speed: str) -> float:
    """The same through the raw service."""
    began_s = time.perf_counter()
    return await _watched(await _request(port, f"/{speed}/chat", {"message": "Hello"}), began_s)


class Luma:
    """The real thing, asked as a client asks it."""

    def __init__(self, port: int, token: str) -> None:
        self._port = port
        self._headers = f"Authorization: Bearer {token}\r\n"
        self.conversation_id = ""

    async def open(self) -> None:
        """Begin a conversation."""
        found = await self._json("/api/conversations", {})
        self.conversation_id = str(found["id"])

    async def turn(self) -> float:
        """Milliseconds to the first audio event; returns when the turn is over."""
        began_s = time.perf_counter()
        body = {"message": "Hello", "stream": True, "conversation_id": self.conversation_id}
        return await _watched(await _request(self._port, "/api/chat", body, self._headers), began_s)

    async def _json(self, path: str, body: object) -> dict[str, object]:
        reader = await _request(self._port, path, body, self._headers)
        length = 0
        while (found := await _lines(reader))[0].strip():
            if found[0].lower() == "content-length":
                length = int(found[1])
        answer: dict[str, object] = json.loads(await reader.readexactly(length))
        _close_all()
        return answer


# --- the comparison -----------------------------------------------------------------------------------------------


def _row(name: str, values: list[float], ideal_ms: float) -> float:
    added = [value - ideal_ms for value in values]
    first, middle = added[0], statistics.median(added)
    slow = sorted(added)[int(len(added) * 0.95)]
    print(
        f"  {name:<12} added p50 {middle:7.2f} ms   p95 {slow:7.2f} ms   first turn {first:7.2f} ms"
    )
    return middle


async def compare(stub: int, service: int, luma: Luma, speed: str, pairs: int) -> None:
    """Let both pipelines answer in turns and print the ratios."""
    ideal_ms = SENTENCE_TOKENS * 1000 / RATE if speed == "slow" else 0.0
    await asyncio.sleep(WARM_UP_S)
    await raw_turn(stub, speed)  # this process's own first time is no part of the comparison
    await luma.open()
    real: list[float] = []
    raw: list[float] = []
    served: list[float] = []
    for _ in range(pairs):
        real.append(await luma.turn())
        raw.append(await raw_turn(stub, speed))
        served.append(await service_turn(service, speed))
    print(f"{RATE:g} tokens/s" if ideal_ms else "no delay")
    middle = _row("Luma", real, ideal_ms)
    typical = _row("raw pipeline", raw, ideal_ms)
    beside = _row("raw service", served, ideal_ms)
    print(
        f"  Luma / raw pipeline: p50 {middle / typical:.2f} (at most 3),"
        f" Luma's first turn / raw p50 {(real[0] - ideal_ms) / typical:.2f};"
        f"  Luma / raw service: p50 {middle / beside:.2f}\n"
    )


async def long_conversation(luma: Luma, turns: int) -> None:
    """Turn 10 of new conversations against the last turns of a long one, alternately."""
    await luma.open()
    old = luma.conversation_id
    for _ in range(turns - COMPARED):
        await luma.turn()
    late: list[float] = []
    early: list[float] = []
    for _ in range(COMPARED):
        await luma.open()
        for _ in range(9):
            await luma.turn()
        early.append(await luma.turn())
        luma.conversation_id = old
        late.append(await luma.turn())
    early_ms, late_ms = statistics.median(early), statistics.median(late)
    print(
        f"turn 10: {early_ms:.2f} ms   turn {turns}: {late_ms:.2f} ms"
        f"   ratio {late_ms / early_ms:.2f} (at most 1.2; medians of {COMPARED})"
    )


@contextmanager
def _luma(stub: int, speed: str) -> Iterator[Luma]:
    """The program itself, with the stubs for model and voice."""
    with luma(
        llm_provider="openai_compatible",
        openai_compatible_url=f"http://127.0.0.1:{stub}/{speed}/v1",
        openai_compatible_model="m",
        tts_chain=["openai_compatible"],
        tts_openai_url=f"http://127.0.0.1:{stub}/v1",
    ) as running:
        yield Luma(running.port, running.token)


@contextmanager
def _process(*words: str) -> Iterator[int]:
    """Another process of this file; yields the port it prints."""
    with subprocess.Popen(
        [sys.executable, "-m", "benchmarks.turn_overhead", *words],
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        try:
            yield int(process.stdout.readline())
        finally:
            process.terminate()


def main() -> None:
    """Start the stubs, the raw service and the backend, compare, stop them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--turns", type=int, default=1000, help="length of the long conversation")
    parser.add_argument("--pairs", type=int, default=100, help="turns compared without delay")
    parser.add_argument("part", nargs="*", help=argparse.SUPPRESS)  # what _process starts
    given = parser.parse_args()
    match given.part:
        case ["stubs"]:
            asyncio.run(_serve_stubs())
        case ["raw", stub]:
            asyncio.run(_serve_raw(int(stub)))
        case _:
            with _process("stubs") as stub, _process("raw", str(stub)) as service:
                with _luma(stub, "slow") as luma:
                    asyncio.run(compare(stub, service, luma, "slow", given.pairs // 5))
                with _luma(stub, "fast") as luma:
                    asyncio.run(compare(stub, service, luma, "fast", given.pairs))
                    if given.turns:
                        asyncio.run(long_conversation(luma, given.turns))


if __name__ == "__main__":
    main()
