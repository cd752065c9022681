"""From the panic to silence: `POST /api/panic` while a reply is heard, until `playback.finished` is on the event stream.

Luma (main.py --headless) runs in a process of its own, with the echo model and the tone voice; the reference is `GET /api/panic` over the
same connection.

    python -m benchmarks.panic [--times 20]
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import time

import httpx
import orjson
from websockets.asyncio.client import connect

from benchmarks.headless import Running, luma

LONG = "One two three four five six seven eight nine ten. " * 10
SPEAKS_S = 0.3


async def once(running: Running, api: httpx.AsyncClient) -> float:
    """Milliseconds to silence."""
    headers = {"Authorization": f"Bearer {running.token}"}
    address = f"ws://127.0.0.1:{running.port}/ws"
    async with connect(address, additional_headers=headers, proxy=None) as socket:
        hello = {"types": ["playback.started", "playback.finished"], "batch": False}
        await socket.send(orjson.dumps({"hello": hello}).decode())
        say = {"do": "chat", "id": 1, "message": LONG, "conversation_id": "stage"}
        await socket.send(orjson.dumps(say).decode())
        while orjson.loads(await socket.recv()).get("type") != "playback.started":
            pass
        await asyncio.sleep(SPEAKS_S)
        begun_s = time.perf_counter()
        asked = asyncio.create_task(api.post("/api/panic"))
        while orjson.loads(await socket.recv()).get("type") != "playback.finished":
            pass
        silent_ms = (time.perf_counter() - begun_s) * 1000
        (await asked).raise_for_status()
    (await api.post("/api/resume")).raise_for_status()
    return silent_ms


async def measure(running: Running, times: int) -> None:
    """All of it, and the reference."""
    headers = {"Authorization": f"Bearer {running.token}"}
    base = f"http://127.0.0.1:{running.port}"
    async with httpx.AsyncClient(base_url=base, headers=headers, trust_env=False) as api:
        sink = {"values": {"AUDIO_SINK": "overlay"}}
        (await api.post("/api/config", json=sink)).raise_for_status()
        silences_ms, asks_ms = [], []
        for _ in range(times):
            silences_ms.append(await once(running, api))
            begun_s = time.perf_counter()
            await api.get("/api/panic")
            asks_ms.append((time.perf_counter() - begun_s) * 1000)
    ask_ms, silence_ms = statistics.median(asks_ms), statistics.median(silences_ms)
    p95_ms = sorted(silences_ms)[int(len(silences_ms) * 0.95) - 1]
    print(f"asking            p50 {ask_ms:6.1f} ms")
    print(
        f"panic to silence  p50 {silence_ms:6.1f} ms   p95 {p95_ms:6.1f} ms   ({silence_ms / ask_ms:.1f} x asking)"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--times", type=int, default=20)
    wanted = parser.parse_args()
    with luma() as running:
        asyncio.run(measure(running, wanted.times))


if __name__ == "__main__":
    main()
