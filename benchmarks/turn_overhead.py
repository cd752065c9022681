"""What the whole program adds to a turn: message to first audible sound, against a raw asyncio pipeline in the same run.

Stub servers for the model and the voice run in a process of their own. The raw pipeline asks them directly and does
nothing else; the real one is the backend over its REST stream: guard, queue, prompt, history, events, storage, voice
cache. "Added" is the time beyond what the stubs themselves take. Targets: added at most 3 x raw, first turn included;
turn 1,000 at most 1.2 x turn 10.

    python -m benchmarks.turn_overhead [--turns 1000]
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
import tempfile
import time
import wave
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path

from backend.server import BackendThread
from config import Settings

SENTENCE_TOKENS = 8
TOKENS = (*"The lamp in the harbour was lit ".split(" ")[:-1], "tonight {n}.", "Goodnight.")
RATE = 20.0
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


async def raw_turn(port: int, speed: str) -> float:
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
    while (await reader.readline()).strip() != b"0":
        pass
    _close_all()
    return took_ms


class Luma:
    """The real thing, asked as a client asks it."""

    def __init__(self, backend: BackendThread, token: str) -> None:
        self._port = backend.port
        self._headers = f"Authorization: Bearer {token}\r\n"
        self.conversation_id = ""

    async def open(self) -> None:
        """Begin a conversation."""
        found = await self._json("/api/conversations", {})
        self.conversation_id = str(found["id"])

    async def turn(self) -> float:
        """Milliseconds to the first audio event; returns when the turn is over."""
        began_s = time.perf_counter()
        reader = await _request(
            self._port,
            "/api/chat",
            {"message": "Hello", "stream": True, "conversation_id": self.conversation_id},
            self._headers,
        )
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

    async def save(self, values: dict[str, object]) -> None:
        """Change settings."""
        await self._json("/api/config", {"values": values})

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


async def _several(turn: Callable[[], Awaitable[float]], count: int) -> list[float]:
    return [await turn() for _ in range(count)]


def _row(name: str, values: list[float], ideal_ms: float) -> float:
    added = [value - ideal_ms for value in values]
    first, middle = added[0], statistics.median(added)
    slow = sorted(added)[int(len(added) * 0.95)]
    print(
        f"  {name:<22} added p50 {middle:7.2f} ms   p95 {slow:7.2f} ms   first turn {first:7.2f} ms"
    )
    return middle


async def compare(stub: int, backend: BackendThread, folder: Path, turns: int) -> None:
    """Run both pipelines and print the ratios."""
    token = (folder / "api_token").read_text().strip()
    luma = Luma(backend, token)
    await asyncio.sleep(WARM_UP_S)
    await luma.open()
    for speed, ideal_ms, count in (("slow", SENTENCE_TOKENS * 1000 / RATE, 12), ("fast", 0.0, 60)):
        url = f"http://127.0.0.1:{stub}/{speed}/v1"
        if speed != "slow":
            await luma.save({"openai_compatible_url": url})
            await asyncio.sleep(1)
        real = await _several(luma.turn, count)
        raw = await _several(lambda speed=speed: raw_turn(stub, speed), count)  # type: ignore[misc]  # bound now
        print(f"{RATE:g} tokens/s" if ideal_ms else "no delay")
        ratio = _row("Luma", real, ideal_ms) / _row("raw asyncio", raw, ideal_ms)
        first = (real[0] - ideal_ms) / (raw[0] - ideal_ms)
        print(f"  ratio p50 {ratio:.2f} (at most 3)   first turns {first:.2f}\n")
    await luma.open()
    long = await _several(luma.turn, turns)
    early, late = statistics.median(long[5:25]), statistics.median(long[-20:])
    print(f"turn 10: {early:.2f} ms   turn {turns}: {late:.2f} ms   ratio {late / early:.2f} (1.2)")


def main() -> None:
    """Start the stubs and the backend, compare, stop both."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--turns", type=int, default=1000)
    parser.add_argument("--stubs", action="store_true", help="only serve the stubs")
    given = parser.parse_args()
    if given.stubs:
        asyncio.run(_serve_stubs())
        return
    stubs = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.turn_overhead", "--stubs"],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert stubs.stdout is not None
    port = int(stubs.stdout.readline())
    try:
        with tempfile.TemporaryDirectory() as folder:
            data = Path(folder) / "data"
            settings = Settings(
                api_port=0,
                data_dir=data,
                models_dir=Path(folder) / "models",
                logs_dir=Path(folder) / "logs",
                llm_provider="openai_compatible",
                openai_compatible_url=f"http://127.0.0.1:{port}/slow/v1",
                openai_compatible_model="m",
                tts_chain=("openai_compatible",),
                tts_openai_url=f"http://127.0.0.1:{port}/v1",
                audio_sink="none",
                api_requests_per_minute=1_000_000,
            )
            with BackendThread(settings) as backend:
                asyncio.run(compare(port, backend, data, given.turns))
    finally:
        stubs.terminate()
        stubs.wait(5)


if __name__ == "__main__":
    main()
