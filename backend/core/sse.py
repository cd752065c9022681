"""Read server-sent events from a stream of bytes, within bounds.

Accepts what servers really send: any of the three line ends, comments as keep-alives, events cut anywhere between two
pieces, a last event without its empty line. Source: https://html.spec.whatwg.org/multipage/server-sent-events.html
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass

MAX_EVENT_BYTES = 1 << 20
MAX_STREAM_BYTES = 32 << 20


class SseOverflowError(ValueError):
    """More came than a well-behaved server sends."""


@dataclass(frozen=True, slots=True)
class SseEvent:
    """One event.

    Attributes:
        event: Its name, empty when it has none.
        data: Its data lines joined by newlines; empty for a bare comment, which only says that the server lives.
        complete: False for what was left when the stream ended without the empty line after it.
    """

    event: str
    data: bytes
    complete: bool = True


async def sse_events(
    pieces: AsyncIterator[bytes],
    *,
    max_event_bytes: int = MAX_EVENT_BYTES,
    max_total_bytes: int = MAX_STREAM_BYTES,
) -> AsyncGenerator[SseEvent, None]:
    """Yield the events in order; comments come as events without data, so that a caller can see signs of life.

    Raises:
        SseOverflowError: If one event or the whole stream is larger than allowed.
    """
    batches = sse_batches(pieces, max_event_bytes=max_event_bytes, max_total_bytes=max_total_bytes)
    async with aclosing(batches):
        async for batch in batches:
            for event in batch:
                yield event


async def sse_batches(
    pieces: AsyncIterator[bytes],
    *,
    max_event_bytes: int = MAX_EVENT_BYTES,
    max_total_bytes: int = MAX_STREAM_BYTES,
) -> AsyncGenerator[list[SseEvent], None]:
    """The same, all events that came in one piece at once: one wait, and one deadline, for all of them."""
    reader = _Reader(max_event_bytes, max_total_bytes)
    async for piece in pieces:
        batch: list[SseEvent] = []
        try:
            reader.feed(piece, batch)
        except SseOverflowError:
            if batch:
                yield batch  # what came whole before it counts
            raise
        if batch:
            yield batch
    if last := reader.finish():
        yield [last]


class _Reader:
    """Makes events of bytes."""

    def __init__(self, max_event_bytes: int, max_total_bytes: int) -> None:
        self._max_event_bytes = max_event_bytes
        self._max_total_bytes = max_total_bytes
        self._buffer = bytearray()
        self._scanned = 0
        self._total = 0
        self._is_first = True
        self._name = ""
        self._data: list[bytes] = []
        self._size = 0

    def feed(self, piece: bytes, events: list[SseEvent]) -> None:
        """Add the events that ``piece`` completes."""
        buffer = self._buffer
        self._total += len(piece)
        if self._total > self._max_total_bytes:
            raise SseOverflowError(f"a stream of more than {self._max_total_bytes:,} bytes")
        buffer += piece
        if self._is_first:
            if len(buffer) < 3 and b"\xef\xbb\xbf".startswith(buffer):
                return  # half a byte order mark
            self._is_first = False
            if buffer.startswith(b"\xef\xbb\xbf"):
                del buffer[:3]
        start = 0
        while (end := _line_end(buffer, max(self._scanned, start))) is not None:
            line = bytes(buffer[start : end[0]])
            start = self._scanned = end[1]
            self._line(line, events)
        del buffer[:start]
        # A carriage return at the very end may be half of CRLF: it is looked at again with the next piece.
        self._scanned = len(buffer) - 1 if buffer.endswith(b"\r") else len(buffer)
        if self._size + len(buffer) > self._max_event_bytes:
            raise self._too_large()

    def finish(self) -> SseEvent | None:
        """What was left without the empty line after it."""
        rest = bytes(self._buffer).rstrip(b"\r")
        if rest.startswith(b"data:"):
            self._data.append(rest[5:].removeprefix(b" "))
        return SseEvent(self._name, b"\n".join(self._data), complete=False) if self._data else None

    def _line(self, line: bytes, events: list[SseEvent]) -> None:
        self._size += len(line)
        if self._size > self._max_event_bytes:
            raise self._too_large()
        if not line:
            if self._data:
                events.append(SseEvent(self._name, b"\n".join(self._data)))
            self._name, self._data, self._size = "", [], 0
        elif line.startswith(b":"):
            events.append(SseEvent("", b""))
        else:
            field, _, value = line.partition(b":")
            value = value.removeprefix(b" ")
            if field == b"data":
                self._data.append(value)
            elif field == b"event":
                self._name = value.decode("utf-8", "replace")

    def _too_large(self) -> SseOverflowError:
        return SseOverflowError(f"an event of more than {self._max_event_bytes:,} bytes")


def _line_end(buffer: bytearray, start: int) -> tuple[int, int] | None:
    """Where the next line ends and the one after begins; None while that is not known yet."""
    newline = buffer.find(b"\n", start)
    carriage = buffer.find(b"\r", start, newline if newline >= 0 else len(buffer))
    if carriage < 0:
        return (newline, newline + 1) if newline >= 0 else None
    if carriage + 1 == len(buffer):
        return None
    return (carriage, carriage + 2) if buffer[carriage + 1] == 0x0A else (carriage, carriage + 1)
