"""A speech server (``POST /v1/audio/speech``) that answers well, or fails in six ways.

By hand: ``python -m tests.servers.tts --port 9002 --fault garbage --seed 5``, then TTS_OPENAI_URL=http://127.0.0.1:9002/v1.
"""

from __future__ import annotations

import argparse
import array
import asyncio
import io
import math
import random
import wave
from collections.abc import Awaitable, Callable

from tests.servers.wire import Request, Wire, WireServer

RATE_HZ = 16000
PAUSE_FOR_EVER_S = 3600.0


class TtsServer(WireServer):
    """Answers speech requests with a hum as long as the text.

    Attributes:
        fault: Name of the way to fail, empty for none; one of `FAULTS`.
        canary: Words that stand in every error, to be found where they must not be.
        said: The texts it was asked to speak.
    """

    def __init__(self, *, seed: int = 0, fault: str = "", port: int = 0) -> None:
        super().__init__(port)
        self.dice = random.Random(seed)
        self.fault = fault
        self.canary = f"kraken{self.dice.randrange(10**6, 10**7)}"
        self.said: list[str] = []

    async def answer(self, request: Request, wire: Wire) -> None:
        if not request.path.endswith("/audio/speech"):
            await wire.json({"error": "not here"}, "404 Not Found")
            return
        text = str(request.json["input"])
        self.said.append(text)
        if self.fault:
            await FAULTS[self.fault](self, text, wire)
        else:
            await wire.whole("200 OK", hum(text), "audio/wav")


def hum(text: str, char_s: float = 0.03) -> bytes:
    """A WAV file with a 220 Hz tone."""
    count = max(1600, round(len(text) * char_s * RATE_HZ))
    samples = array.array(
        "h", (round(8000 * math.sin(2 * math.pi * 220 * n / RATE_HZ)) for n in range(count))
    )
    file = io.BytesIO()
    with wave.open(file, "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(RATE_HZ)
        out.writeframes(samples.tobytes())
    return file.getvalue()


async def broken(server: TtsServer, text: str, wire: Wire) -> None:
    """5xx."""
    status = server.dice.choice(("500 Internal", "502 Bad", "503 Busy"))
    await wire.whole(status, f"{server.canary} {text}".encode(), "text/plain")


async def hang(server: TtsServer, text: str, wire: Wire) -> None:
    """No answer, or a head and no body."""
    if server.dice.random() < 0.5:
        await wire.head("200 OK", {"Content-Type": "audio/wav"})
    await asyncio.sleep(PAUSE_FOR_EVER_S)


async def garbage(server: TtsServer, text: str, wire: Wire) -> None:
    """Something else than sound, also under the name of sound."""
    noise = server.dice.randbytes(server.dice.randint(10, 100_000))
    body = server.dice.choice(
        (noise, b"RIFF" + noise, f"<html>{server.canary}</html>".encode(), hum(text)[:40])
    )
    kind = server.dice.choice(("audio/wav", "audio/mpeg", "text/html", "application/octet-stream"))
    await wire.whole("200 OK", body, kind)


async def nothing(server: TtsServer, text: str, wire: Wire) -> None:
    """An empty answer, or a WAV file without samples."""
    header = hum(text)[:40] + b"\x00\x00\x00\x00"
    await wire.whole("200 OK", server.dice.choice((b"", header)), "audio/wav")


async def slow(server: TtsServer, text: str, wire: Wire) -> None:
    """Good sound, drop by drop, that takes minutes."""
    sound = hum(text)
    await wire.head("200 OK", {"Content-Type": "audio/wav"})
    step = server.dice.randint(1, 16)
    for start in range(0, len(sound), step):
        await wire.piece(sound[start : start + step])
        await asyncio.sleep(0.05)
    await wire.end()


async def crash(server: TtsServer, text: str, wire: Wire) -> None:
    """The server dies before or in the middle of its answer."""
    if server.dice.random() < 0.5:
        sound = hum(text)
        await wire.head("200 OK", {"Content-Type": "audio/wav"})
        await wire.piece(sound[: server.dice.randrange(1, len(sound))])
        await asyncio.sleep(0.02)
    wire.abort()


Fault = Callable[[TtsServer, str, Wire], Awaitable[None]]

FAULTS: dict[str, Fault] = {
    "500": broken,
    "hang": hang,
    "garbage": garbage,
    "empty": nothing,
    "slow": slow,
    "crash": crash,
}


async def _run(port: int, fault: str, seed: int) -> None:
    async with TtsServer(seed=seed, fault=fault, port=port) as server:
        print(f"{server.url}/v1  fault: {fault or 'none'}  seed: {seed}", flush=True)  # noqa: T201 - its output
        await asyncio.Event().wait()


def main() -> None:
    """Serve until Ctrl-C."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--fault", default="", choices=["", *FAULTS])
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    try:
        asyncio.run(_run(given.port, given.fault, given.seed))
    except KeyboardInterrupt:
        return


if __name__ == "__main__":
    main()
