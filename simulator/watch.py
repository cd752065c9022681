"""Follows Luma's event stream during a run, without gap or duplicate, and writes all of it into the ledger."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

import orjson
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from simulator.ledger import Ledger
from simulator.luma import Luma

TYPES = (
    "audience.*",
    "chat.disposition",
    "chat.sentence",
    "playback.started",
    "playback.finished",
    "channel.changed",
    "moderation.*",
    "error.occurred",
    "panic.changed",
    "config.changed",
    "mode.changed",
    "character.*",
    "conversation.changed",
    "commands.changed",
    "scene.*",
    "queue.rules_changed",
)
AGAIN_AFTER_S = 0.2


class Watcher:
    """One client that sees everything; it plays the stage's sound too, as an overlay does.

    Args:
        luma: Whom to watch.
        ledger: Where to write.
        on_event: Called after each event.
    """

    def __init__(self, luma: Luma, ledger: Ledger, on_event: Callable[[], None]) -> None:
        self._luma = luma
        self._ledger = ledger
        self._on_event = on_event
        self.reconnected = 0
        self.resets = 0
        self.ready = asyncio.Event()

    async def run(self) -> None:
        """Watch until it is cancelled; a dropped connection is taken up where it was lost."""
        since: int | None = None
        epoch: str | None = None
        while True:
            try:
                async with connect(
                    self._luma.url.replace("http", "ws", 1) + "/ws",
                    additional_headers=self._luma.bearer,
                    proxy=None,
                    compression=None,
                    max_size=None,
                ) as socket:
                    said = {"types": TYPES, "since": since, "epoch": epoch, "plays": True}
                    await socket.send(orjson.dumps({"hello": said}).decode())
                    async for frame in socket:
                        now_s = time.monotonic()
                        found = orjson.loads(frame)
                        for message in found if isinstance(found, list) else (found,):
                            if "type" in message:
                                since = message.get("seq") or since
                                self._ledger.told(message, now_s)
                            elif "hello" in message:
                                epoch = message["hello"]["epoch"]
                                since = message["hello"]["seq"] if since is None else since
                                self.ready.set()
                            elif "reset" in message:
                                self.resets += 1
                                since, epoch = message["reset"]["seq"], message["reset"]["epoch"]
                        self._on_event()
            except (OSError, ConnectionClosed, InvalidStatus, TimeoutError):
                pass  # told below: it is counted, and tried again
            self.reconnected += 1
            await asyncio.sleep(AGAIN_AFTER_S)


async def hello(luma: Luma, types: tuple[str, ...]) -> Any:
    """An open socket that asked for these types; close it."""
    socket = await connect(
        luma.url.replace("http", "ws", 1) + "/ws",
        additional_headers=luma.bearer,
        proxy=None,
        compression=None,
        max_size=None,
    )
    await socket.send(orjson.dumps({"hello": {"types": types}}).decode())
    await socket.recv()
    return socket
