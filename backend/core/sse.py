"""Read server-sent events from a stream of bytes, within bounds.

Accepts what servers really send: any of the three line ends, comments as keep-alives, events cut anywhere between two
pieces, a last event without its empty line. Source: https://html.spec.whatwg.org/multipage/server-sent-events.html
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
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
    buffer = bytearray()
    scanned = 0
    total = 0
    name, data, size = "", [], 0  # type: str, list[bytes], int
    first = True
    async for piece in pieces:
        total += len(piece)
        if total > max_total_bytes:
            raise SseOverflowError(f"a stream of more than {max_total_bytes:,} bytes")
        buffer += piece
        if first:
            if len(buffer) < 3 and b"\xef\xbb\xbf".startswith(buffer):
                continue  # half a byte order mark
            first = False
            if buffer.startswith(b"\xef\xbb\xbf"):
                del buffer[:3]
        start = 0
        while (end := _line_end(buffer, max(scanned, start))) is not None:
            line = bytes(buffer[start : end[0]])
            start = scanned = end[1]
            size += len(line)
            if size > max_event_bytes:
                raise SseOverflowError(f"an event of more than {max_event_bytes:,} bytes")
            if not line:
                if data:
                    yield SseEvent(name, b"\n".join(data))
                name, data, size = "", [], 0
            elif line.startswith(b":"):
                yield SseEvent("", b"")
            else:
                field, _, value = line.partition(b":")
                value = value.removeprefix(b" ")
                if field == b"data":
                    data.append(value)
                elif field == b"event":
                    name = value.decode("utf-8", "replace")
        del buffer[:start]
        # A carriage return at the very end may be half of CRLF: it is looked at again with the next piece.
        scanned = len(buffer) - 1 if buffer.endswith(b"\r") else len(buffer)
        if size + len(buffer) > max_event_bytes:
            raise SseOverflowError(f"an event of more than {max_event_bytes:,} bytes")
    rest = bytes(buffer).rstrip(b"\r")
    if rest.startswith(b"data:"):
        data.append(rest[5:].removeprefix(b" "))
    if data:
        yield SseEvent(name, b"\n".join(data), complete=False)


def _line_end(buffer: bytearray, start: int) -> tuple[int, int] | None:
    """Where the next line ends and the one after begins; None while that is not known yet."""
    newline = buffer.find(b"\n", start)
    carriage = buffer.find(b"\r", start, newline if newline >= 0 else len(buffer))
    if carriage < 0:
        return (newline, newline + 1) if newline >= 0 else None
    if carriage + 1 == len(buffer):
        return None
    return (carriage, carriage + 2) if buffer[carriage + 1] == 0x0A else (carriage, carriage + 1)
