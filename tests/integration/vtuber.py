"""A client that behaves like the web client of Open-LLM-VTuber, as far as a server can tell."""

from __future__ import annotations

import asyncio
import contextlib
import math
import time
from collections.abc import AsyncIterator
from typing import Any

import orjson
import websockets
from websockets.asyncio.client import ClientConnection

from tests.integration.conftest import Served

ACKNOWLEDGEMENTS = 3
"""The web client sends 7 to 10; more than one is what matters."""

Message = dict[str, Any]


class Vtuber:
    """One connection, and everything that came over it with the time at which it came."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket
        self.seen: list[Message] = []
        self.at_s: list[float] = []
        self.acknowledges = True
        self.uid = ""

    async def say(self, kind: str, **fields: object) -> None:
        await self.socket.send(orjson.dumps({"type": kind, **fields}).decode())

    async def next(self, timeout_s: float = 20.0) -> Message:
        async with asyncio.timeout(timeout_s):
            message: Message = orjson.loads(await self.socket.recv())
        self.seen.append(message)
        self.at_s.append(time.monotonic())
        if message["type"] == "backend-synth-complete" and self.acknowledges:
            for _ in range(ACKNOWLEDGEMENTS):
                await self.say("frontend-playback-complete")
        return message

    async def until(self, kind: str, text: str | None = None, timeout_s: float = 20.0) -> Message:
        """The next message of that type, and for `control` of that text."""
        while True:
            message = await self.next(timeout_s)
            if message["type"] == kind and text in (None, message.get("text")):
                return message

    async def welcome(self) -> list[Message]:
        """What comes after connecting."""
        found = [await self.next() for _ in range(5)]
        self.uid = found[2]["client_uid"]
        return found

    async def turn(self) -> list[Message]:
        """Everything up to the end of a chain."""
        first = len(self.seen)
        await self.until("control", "conversation-chain-end")
        return self.seen[first:]

    async def ask(self, text: str) -> list[Message]:
        """Type something and wait for the whole turn."""
        await self.say("text-input", text=text, images=[])
        return await self.turn()

    async def error(self) -> str:
        return str((await self.until("error"))["message"])

    async def nothing_more(self) -> list[Message]:
        """What came before the answer to a heartbeat that is sent now."""
        first = len(self.seen)
        await self.say("heartbeat")
        await self.until("heartbeat-ack")
        return self.seen[first:-1]

    async def speak(self, seconds: float = 0.5, *, kind: str = "mic-audio-data") -> None:
        """A hum into the microphone, as lists of 4,096 floats."""
        samples = [0.3 * math.sin(n / 5) for n in range(4096)]
        for _ in range(math.ceil(seconds * 16_000 / 4096)):
            await self.say(kind, audio=samples)


@contextlib.asynccontextmanager
async def vtuber(
    served: Served,
    *,
    uid: str = "",
    headers: dict[str, str] | None = None,
    welcomed: bool = True,
    **options: Any,
) -> AsyncIterator[Vtuber]:
    """Connect; with the token unless other headers are given."""
    sent = dict(served.bearer if headers is None else headers)
    if uid:
        sent["X-Client-UID"] = uid
    async with websockets.connect(
        served.url.replace("http://", "ws://") + "/client-ws",
        additional_headers=sent,
        proxy=None,
        compression=None,
        max_size=None,
        close_timeout=0.2,
        **options,
    ) as socket:
        client = Vtuber(socket)
        if welcomed:
            await client.welcome()
        yield client


def kinds(messages: list[Message]) -> list[str]:
    """Types in order, controls with their text."""
    return [
        f"control {message['text']}" if message["type"] == "control" else message["type"]
        for message in messages
    ]


def shown(messages: list[Message]) -> str:
    """What a client shows of a reply: it joins the sentences as they are."""
    return "".join(
        message["display_text"]["text"] for message in messages if message["type"] == "audio"
    )
