"""The event bus: facts go out, nobody is waited for.

Two kinds of subscribers. Direct ones see an event at once. Committed ones (sockets: whoever outlives a crash of ours)
see it only after durable events before it, and it itself, are stored: what a client has seen is never lost. Order is
the order of publishing for both. Publishing never blocks and never raises.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager

import orjson

from backend.contracts.events import AnyEvent, Event

logger = logging.getLogger(__name__)

LEVELS = {"DEBUG": 10, "INFO": 20, "WARNING": 30, "ERROR": 40}
DEFAULT_LIMIT = 2000


class Published:
    """An event on its way: its number, and its texts made once for all readers and the table."""

    __slots__ = ("_data", "_message", "_wire", "event", "seq")

    def __init__(self, event: AnyEvent, seq: int | None) -> None:
        self.event = event
        self.seq = seq
        self._message: str | None = None
        self._data: bytes | None = None
        self._wire: bytes | None = None

    @property
    def message(self) -> str:
        """The event in one readable sentence, always valid Unicode."""
        if self._message is None:
            self._message = _valid(self.event.sentence())
        return self._message

    @property
    def data(self) -> bytes:
        """The event's own fields as JSON."""
        if self._data is None:
            own = self.event.own_data()
            try:
                self._data = orjson.dumps(own)
            except TypeError:
                # Half a surrogate pair, as a careless client sends it, is no UTF-8.
                self._data = orjson.dumps(_valid_json(own))
        return self._data

    @property
    def wire(self) -> bytes:
        """The envelope as JSON."""
        if self._wire is None:
            event = self.event
            at = event.at
            self._wire = orjson.dumps(
                {
                    "seq": self.seq,
                    "id": event.id,
                    "type": event.type,
                    "at": at.strftime("%Y-%m-%dT%H:%M:%S.") + f"{at.microsecond // 1000:03d}Z",
                    "severity": event.severity,
                    "source": event.source,
                    "turn_id": event.turn_id,
                    "job_id": event.job_id,
                    "message": self.message,
                    "data": orjson.Fragment(self.data),
                }
            )
        return self._wire


def _valid(text: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-8", "replace").decode()
    return text


def _valid_json(value: object) -> object:
    match value:
        case str():
            return _valid(value)
        case dict():
            return {_valid(str(key)): _valid_json(each) for key, each in value.items()}
        case list() | tuple():
            return [_valid_json(each) for each in value]
        case _:
            return value


Persist = Callable[[list[Published]], Awaitable[None]]


class Subscription:
    """One reader with a bounded queue; iterate it, or call `take` for all that is pending.

    When the queue is full the oldest live event goes first; when only durable ones are left, `overflowed` is set, the
    queue is emptied and iteration ends: the reader must resume from its last number.
    """

    def __init__(self, limit: int, wanted: Callable[[AnyEvent], bool] | None) -> None:
        self._pending: deque[Published] = deque()
        self._limit = limit
        self._live = 0
        self._wake = asyncio.Event()
        self._closed = False
        self.wanted = wanted
        self.overflowed = False
        self.dropped = 0

    def push(self, item: Published) -> None:
        """Add an event; called by the bus in its loop."""
        if self.overflowed or (self.wanted is not None and not self.wanted(item.event)):
            return
        if len(self._pending) >= self._limit:
            if self._live == 0:
                self.overflowed = True
                self._pending.clear()
                self._wake.set()
                return
            self._drop_oldest_live()
        if item.seq is None:
            self._live += 1
        self._pending.append(item)
        self._wake.set()

    def _drop_oldest_live(self) -> None:
        # All live ones at once: dropping one at a time would walk a queue of durable events for each new event.
        kept = [item for item in self._pending if item.seq is not None]
        self.dropped += len(self._pending) - len(kept)
        self._pending = deque(kept)
        self._live = 0
        if len(self._pending) >= self._limit:
            self.overflowed = True
            self._pending.clear()

    async def take(self) -> list[Published]:
        """Wait for events and return all that are pending; empty when it is over."""
        while not self._pending:
            if self.overflowed or self._closed:
                return []
            self._wake.clear()
            await self._wake.wait()
        items = list(self._pending)
        self._pending.clear()
        self._live = 0
        return items

    def close(self) -> None:
        """End iteration after what is pending."""
        self._closed = True
        self._wake.set()

    async def __aiter__(self) -> AsyncIterator[AnyEvent]:
        while items := await self.take():
            for item in items:
                yield item.event


class EventBus:
    """Publish and subscribe inside one asyncio loop, with a door for other threads."""

    def __init__(self) -> None:
        self._direct: set[Subscription] = set()
        self._committed: set[Subscription] = set()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._persist: Persist | None = None
        self._waiting: deque[Published] = deque()
        self._pump_wake = asyncio.Event()
        self._storing = asyncio.Lock()
        self._foreign: deque[AnyEvent] = deque()
        self._foreign_woken = False
        self._seq = 0
        self.committed_seq = 0
        self.published = 0

    @property
    def seq(self) -> int:
        """Number of the newest durable event, stored or about to be."""
        return self._seq

    def bind(
        self, loop: asyncio.AbstractEventLoop, *, seq: int = 0, persist: Persist | None = None
    ) -> None:
        """Say which loop owns the bus, from which number it goes on, and who stores; call once before publishing."""
        self._loop = loop
        self._seq = self.committed_seq = seq
        self._persist = persist

    def publish(self, event: AnyEvent) -> Published:
        """Hand ``event`` to every subscriber. Call from the owning loop only."""
        self.published += 1
        if event.durable:
            self._seq += 1
            item = Published(event, self._seq)
        else:
            item = Published(event, None)
        for subscription in tuple(self._direct):
            subscription.push(item)
        if item.seq is None and not self._waiting and not self._storing.locked():
            self._fan_out(item)
        else:
            self._waiting.append(item)
            self._pump_wake.set()
        return item

    def publish_from_thread(self, event: AnyEvent) -> None:
        """Same as `publish`, from any other thread; wakes the loop once for a burst."""
        if self._loop is None or self._loop.is_closed():
            return  # too early or too late: nobody could see it
        self._foreign.append(event)
        if not self._foreign_woken:
            self._foreign_woken = True
            try:
                self._loop.call_soon_threadsafe(self._take_foreign)
            except RuntimeError:  # the loop closed between the check and the call
                self._foreign_woken = False

    def _take_foreign(self) -> None:
        self._foreign_woken = False
        while self._foreign:
            self.publish(self._foreign.popleft())

    def _fan_out(self, item: Published) -> None:
        for subscription in tuple(self._committed):
            subscription.push(item)

    async def run(self) -> None:
        """Store what is published and hand it to committed subscribers; run as one task for the bus's whole life."""
        while True:
            await self._pump_wake.wait()
            self._pump_wake.clear()
            await self.flush()

    async def flush(self) -> None:
        """Store everything published so far; returns when it is committed."""
        async with self._storing:
            while self._waiting:
                batch = list(self._waiting)
                self._waiting.clear()
                durable = [item for item in batch if item.seq is not None]
                if durable and self._persist is not None:
                    try:
                        await self._persist(durable)
                    except Exception:
                        # A full disk must not stop the stream; the events are lost for later, not for those who watch.
                        logger.exception("could not store %d events", len(durable))
                if durable:
                    self.committed_seq = durable[-1].seq or self.committed_seq
                for item in batch:
                    self._fan_out(item)

    @contextmanager
    def subscribe(
        self,
        *,
        limit: int = DEFAULT_LIMIT,
        committed: bool = False,
        wanted: Callable[[AnyEvent], bool] | None = None,
    ) -> Iterator[Subscription]:
        """Receive every event published while the ``with`` block is open.

        Args:
            limit: Events that may wait for this reader.
            committed: Only what is stored; for readers outside this process.
            wanted: Filter, called for each event in the loop; must be quick.
        """
        subscription = Subscription(limit, wanted)
        group = self._committed if committed else self._direct
        group.add(subscription)
        try:
            yield subscription
        finally:
            group.discard(subscription)
            subscription.close()


def severity_at_least(event: Event, lowest: str) -> bool:
    """Whether the event matters at least as much as ``lowest`` ("WARNING")."""
    return LEVELS[event.severity] >= LEVELS[lowest]
