"""The event bus: facts go out, nobody is waited for.

Two kinds of subscribers. Direct ones see an event at once. Committed ones (sockets: whoever outlives a crash of ours)
see it only after durable events before it, and it itself, are stored: what a client has seen is never lost. Order is
the order of publishing for both. Publishing never blocks and never raises.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager

import orjson

from backend.contracts.events import AnyEvent, Event, wire_time
from backend.core.logs import redact

logger = logging.getLogger(__name__)

LEVELS = {"DEBUG": 10, "INFO": 20, "WARNING": 30, "ERROR": 40}
TROUBLE = ("WARNING", "ERROR")
DEFAULT_LIMIT = 2000
BATCH = 512
"""Events stored and handed on in one step: one statement of the database, well below a reader's limit, a few ms of the loop's time with 100 readers."""
GATHER_S = 0.003
"""Pause after a batch while the next one gathers: a turn takes 3 transactions, not 4, and the writer's thread does not
take the interpreter from it in its first milliseconds. The first event after a pause goes at once."""
WAITING_LIMIT = 50_000
"""Events that may wait for the disk, or for the loop: some 50 MB, a minute of the heaviest use."""


class Published:
    """An event on its way: its number, and its texts made once for all readers and the table."""

    __slots__ = ("_data", "_message", "_wire", "event", "seq")

    def __init__(self, event: AnyEvent, seq: int | None) -> None:
        self.event = event
        self.seq = seq
        self._message: str | None = None
        self._data: str | None = None
        self._wire: bytes | None = None

    @property
    def message(self) -> str:
        """The event in one readable sentence, always valid Unicode."""
        if self._message is None:
            self._message = _valid(self.event.sentence())
        return self._message

    @property
    def data(self) -> str:
        """The event's own fields as JSON."""
        if self._data is None:
            try:
                self._data = self.event.own_json()
            except ValueError:
                # Half a surrogate pair, as a careless client sends it, is no UTF-8.
                self._data = orjson.dumps(_valid_json(self.event.own_data())).decode()
        return self._data

    @property
    def wire(self) -> bytes:
        """The envelope as JSON."""
        if self._wire is None:
            event = self.event
            self._wire = orjson.dumps(
                {
                    "seq": self.seq,
                    "id": event.id,
                    "type": event.type,
                    "at": wire_time(event.at),
                    "severity": event.severity,
                    "source": _valid(event.source),
                    "turn_id": event.turn_id,
                    "job_id": event.job_id,
                    "message": self.message,
                    "data": orjson.Fragment(self.data),
                }
            )
        return self._wire


def _without_secrets(event: AnyEvent) -> AnyEvent:
    changed = {
        name: clean
        for name in type(event).model_fields
        if name not in ("id", "type")
        and isinstance(text := getattr(event, name), str)
        and (clean := redact(text)) != text
    }
    return event.model_copy(update=changed) if changed else event


def _valid(text: str) -> str:
    if text.isascii():
        return text
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

    When the queue is full the live events in it go first; when only durable ones are left, `overflowed` is set, the
    queue is emptied and iteration ends: the reader must resume from its last number. One task reads.
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
        if self.overflowed or self._closed:
            return
        if self.wanted is not None and not self._wants(item):
            return
        if len(self._pending) >= self._limit:
            self._drop_live()
            if len(self._pending) >= self._limit:
                self.overflow()
                return
        if item.seq is None:
            self._live += 1
        self._pending.append(item)
        self._wake.set()

    def push_all(self, items: Sequence[Published], live: int) -> None:
        """Add events, ``live`` of them live; what fits is taken over in one step."""
        if self.wanted is None and len(self._pending) + len(items) <= self._limit:
            if not (self.overflowed or self._closed):
                self._pending.extend(items)
                self._live += live
                self._wake.set()
            return
        for item in items:
            self.push(item)

    def overflow(self) -> None:
        """End this reader because it has missed something: it must resume from its last number."""
        self.overflowed = True
        self.dropped += self._live
        self._pending.clear()
        self._live = 0
        self._wake.set()

    def _wants(self, item: Published) -> bool:
        assert self.wanted is not None
        try:
            return self.wanted(item.event)
        except Exception:
            # A broken filter is its reader's trouble: publishing never raises.
            self.overflow()  # before the log line, which is an event for the same filter
            logger.exception("a subscriber's filter failed on %s", item.event.type)
            return False

    def _drop_live(self) -> None:
        # All at once: dropping one at a time would walk a queue of durable events for each new event.
        if self._live:
            kept = [item for item in self._pending if item.seq is not None]
            self.dropped += len(self._pending) - len(kept)
            self._pending = deque(kept)
            self._live = 0

    async def take(self) -> list[Published]:
        """Wait for events and return all that are pending; empty when it is over."""
        await self._ready()
        items = list(self._pending)
        self._pending.clear()
        self._live = 0
        return items

    async def _ready(self) -> None:
        while not self._pending and not self.overflowed and not self._closed:
            self._wake.clear()
            await self._wake.wait()

    def close(self) -> None:
        """End iteration after what is pending."""
        self._closed = True
        self._wake.set()

    def __aiter__(self) -> Subscription:
        return self

    async def __anext__(self) -> AnyEvent:
        # One at a time: whoever leaves the loop early finds the rest still pending.
        await self._ready()
        if not self._pending:
            raise StopAsyncIteration
        item = self._pending.popleft()
        if item.seq is None:
            self._live -= 1
        return item.event


class EventBus:
    """Publish and subscribe inside one asyncio loop, with a door for other threads.

    Attributes:
        committed_seq: Number of the newest event that was stored and handed to committed subscribers.
        published: Events published so far.
        lost: Durable events that could not be stored, because the disk failed or hung for too long.
    """

    def __init__(self) -> None:
        self._direct: set[Subscription] = set()
        self._committed: set[Subscription] = set()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._persist: Persist | None = None
        self._waiting: deque[Published] = deque()
        self._queued = 0
        self._handed_on = 0
        self._pump_wake = asyncio.Event()
        self._storing = asyncio.Lock()
        self._drains: set[asyncio.Task[None]] = set()
        self._foreign: deque[AnyEvent] = deque()
        self._foreign_woken = False
        self._failing = False
        self._seq = 0
        self.committed_seq = 0
        self.published = 0
        self.lost = 0

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
        """Hand ``event`` to every subscriber. Call from the owning loop only.

        Trouble is told in words that may come from a provider or a library: secrets are taken out of it here, before it
        is stored or sent to anybody.
        """
        self.published += 1
        if event.severity in TROUBLE:
            event = _without_secrets(event)
        if event.durable:
            self._seq += 1
            item = Published(event, self._seq)
        else:
            item = Published(event, None)
        for subscription in self._direct:
            subscription.push(item)
        if item.seq is None and not self._waiting and not self._storing.locked():
            for subscription in self._committed:
                subscription.push(item)
        elif len(self._waiting) < WAITING_LIMIT:
            self._waiting.append(item)
            self._queued += 1
            self._pump_wake.set()
        elif item.seq is not None:
            self._lose(1, "the disk has not answered for %d events", WAITING_LIMIT)
            # They would see a hole; made to resume, they ask for what there is.
            for subscription in self._committed:
                subscription.overflow()
        return item

    def publish_from_thread(self, event: AnyEvent) -> None:
        """Same as `publish`, from any other thread; wakes the loop once for a burst."""
        if self._loop is None or self._loop.is_closed():
            return  # too early or too late: nobody could see it
        if len(self._foreign) >= WAITING_LIMIT:
            return  # the loop stands still; a log line more does not help it
        self._foreign.append(event)
        if not self._foreign_woken:
            self._foreign_woken = True
            try:
                self._loop.call_soon_threadsafe(self._take_foreign)
            except RuntimeError:  # the loop closed between the check and the call
                self._foreign_woken = False

    def _take_foreign(self) -> None:
        # The flag first: what is appended from here on wakes the loop again, so nothing is left lying.
        self._foreign_woken = False
        for _ in range(min(len(self._foreign), BATCH)):
            self.publish(self._foreign.popleft())
        if self._foreign and self._loop is not None and not self._foreign_woken:
            self._foreign_woken = True
            self._loop.call_soon(self._take_foreign)

    async def run(self) -> None:
        """Store what is published and hand it to committed subscribers; run as one task for the bus's whole life.

        After cancelling it, `flush` stores the rest.
        """
        while True:
            await self._pump_wake.wait()
            self._pump_wake.clear()
            await self.flush()
            if len(self._waiting) < BATCH:
                await asyncio.sleep(GATHER_S)

    async def flush(self) -> None:
        """Store everything published before the call; returns when it is committed and handed on."""
        if self._handed_on == self._queued and not self._storing.locked():
            return
        # A task of its own: a batch that is with the writer is handed on even if whoever waits is cancelled.
        drain = asyncio.ensure_future(self._drain(self._queued))
        self._drains.add(drain)
        drain.add_done_callback(self._drains.discard)
        await asyncio.shield(drain)

    async def _drain(self, goal: int) -> None:
        async with self._storing:
            while self._handed_on < goal:
                batch = [self._waiting.popleft() for _ in range(min(len(self._waiting), BATCH))]
                # Counted before anything can be cancelled: nobody may wait for a batch that is gone.
                self._handed_on += len(batch)
                durable = [item for item in batch if item.seq is not None]
                if (
                    durable
                    and self._persist is not None
                    and not await self._store(self._persist, durable)
                ):
                    # Handed on without numbers: a client must never hold one that the table does not have, because
                    # after a restart another event gets it.
                    batch = [Published(item.event, None) for item in batch]
                    durable = []
                if durable:
                    self.committed_seq = durable[-1].seq or self.committed_seq
                for subscription in self._committed:
                    subscription.push_all(batch, len(batch) - len(durable))
                # Readers take this batch before the next one comes, or a quick one would overflow like a slow one.
                await asyncio.sleep(0)

    async def _store(self, persist: Persist, durable: list[Published]) -> bool:
        try:
            await persist(durable)
        except Exception as error:  # noqa: BLE001 (supervised loop)
            # A full disk must not stop the stream; the events are lost for later, not for those who watch.
            self._lose(len(durable), "could not store events: %s", error)
            return False
        if self._failing:
            self._failing = False
            logger.warning("events are stored again; %d were lost in all", self.lost)
        return True

    def _lose(self, count: int, why: str, what: object) -> None:
        self.lost += count
        if not self._failing:  # once, not once per batch: every log line is an event itself
            self._failing = True
            logger.error(why, what)

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

    def close(self) -> None:
        """End every subscription after what is pending: the program stops."""
        for subscription in (*self._direct, *self._committed):
            subscription.close()


def severity_at_least(event: Event, lowest: str) -> bool:
    """Whether the event matters at least as much as ``lowest`` ("WARNING")."""
    return LEVELS[event.severity] >= LEVELS[lowest]
