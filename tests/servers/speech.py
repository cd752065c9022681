"""A speech and transcription server on loopback that answers well, or in every way a real one has been seen to fail."""

from __future__ import annotations

import io
import math
import struct
from collections.abc import Callable
from typing import Any

from tests.servers.wire import Request, Wire, WireServer

RATE_HZ = 24000


def sound(seconds: float = 0.4, kind: str = "WAV") -> bytes:
    """A 220 Hz tone as a file."""
    import numpy as np
    import soundfile

    samples = 0.3 * np.sin(2 * math.pi * 220 * np.arange(int(seconds * RATE_HZ)) / RATE_HZ)
    file = io.BytesIO()
    subtype = {"OPUS": "OPUS", "MP3": "MPEG_LAYER_III"}.get(kind, "PCM_16")
    soundfile.write(
        file, samples, RATE_HZ, format="OGG" if kind == "OPUS" else kind, subtype=subtype
    )
    return file.getvalue()


def pcm(seconds: float = 0.4) -> bytes:
    """The same without a header."""
    return b"".join(
        struct.pack("<h", round(9830 * math.sin(2 * math.pi * 220 * n / RATE_HZ)))
        for n in range(int(seconds * RATE_HZ))
    )


class SpeechServer(WireServer):
    """Speaks a tone, reads "open the door"; ``how`` chooses a fault."""

    def __init__(self) -> None:
        super().__init__()
        self.how = "well"
        self.transcript: Any = {"text": " open the door ", "language": "english", "segments": []}

    async def answer(self, request: Request, wire: Wire) -> None:
        if self.how != "well":
            await FAULTS[self.how](wire)
        elif request.path.endswith("/audio/speech"):
            kind = request.json["response_format"]
            body = pcm() if kind == "pcm" else sound(kind=kind.upper())
            await wire.whole("200 OK", body, f"audio/{kind}")
        else:
            await wire.json(self.transcript)


async def _hang(wire: Wire) -> None:
    await wire.gone()


async def _stall(wire: Wire) -> None:
    await wire.head("200 OK", {"Content-Type": "audio/wav"})
    await wire.piece(sound()[:2000])
    await wire.gone()


async def _cut(wire: Wire) -> None:
    await wire.head("200 OK", {"Content-Type": "audio/wav"})
    await wire.piece(sound()[:2000])
    wire.abort()


async def _endless(wire: Wire) -> None:
    await wire.head("200 OK", {"Content-Type": "audio/wav"})
    while True:
        await wire.piece(b"\x11" * (1 << 20))


FAULTS: dict[str, Callable[[Wire], Any]] = {
    "hang": _hang,
    "stall": _stall,
    "cut": _cut,
    "endless": _endless,
    "error 500": lambda wire: wire.whole("500 Internal Server Error", b"boom", "text/plain"),
    "key refused": lambda wire: wire.json({"error": {"message": "bad key"}}, "401 Unauthorized"),
    "empty": lambda wire: wire.whole("200 OK", b"", "audio/wav"),
    "garbage": lambda wire: wire.whole("200 OK", b"\x8f\x00\x13\x37" * 999, "audio/wav"),
    "page": lambda wire: wire.whole("200 OK", b"<html>hello</html>", "text/html"),
    "no sound": lambda wire: wire.whole("200 OK", sound(0.001), "audio/wav"),
}
"""What a server does wrong, by name."""
