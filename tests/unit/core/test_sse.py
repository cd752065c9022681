"""Server-sent events, however the bytes are cut."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend.core.sse import SseEvent, SseOverflowError, sse_events


async def pieces(parts: Iterable[bytes]) -> AsyncIterator[bytes]:
    for part in parts:
        yield part


async def read(*parts: bytes, **bounds: int) -> list[SseEvent]:
    return [event async for event in sse_events(pieces(parts), **bounds)]


async def test_an_event_ends_at_the_empty_line() -> None:
    assert await read(b"data: one\n\ndata: two\n\n") == [SseEvent("", b"one"), SseEvent("", b"two")]


async def test_names_and_several_data_lines_are_kept() -> None:
    assert await read(b"event: error\ndata: a\ndata:b\nid: 7\n\n") == [SseEvent("error", b"a\nb")]


async def test_a_comment_is_a_sign_of_life_without_data() -> None:
    assert await read(b": OPENROUTER PROCESSING\n\n") == [SseEvent("", b"")]


async def test_a_stream_that_ends_early_says_that_its_last_event_is_incomplete() -> None:
    assert await read(b"data: one\n\ndata: tw") == [
        SseEvent("", b"one"),
        SseEvent("", b"tw", complete=False),
    ]


@pytest.mark.parametrize("newline", [b"\n", b"\r\n", b"\r"])
async def test_every_line_end_and_every_cut_gives_the_same_events(newline: bytes) -> None:
    text = "\ufeffdata: grüße 🦀\n\n: hi\nevent: x\ndata: {}\n\n".encode().replace(b"\n", newline)
    whole = await read(text)
    assert [event.data for event in whole if event.data] == ["grüße 🦀".encode(), b"{}"]
    for middle in range(1, len(text)):
        assert await read(text[:middle], text[middle:]) == whole


@given(st.lists(st.binary(max_size=40), max_size=20), st.data())
async def test_any_bytes_in_any_pieces_read_alike(parts: list[bytes], data: st.DataObject) -> None:
    whole = b"".join(parts)
    assert await read(*parts) == await read(whole)


async def test_an_event_beyond_the_bound_is_refused_while_it_comes() -> None:
    seen = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal seen
        yield b"data: "
        while True:
            seen += 1000
            yield b"x" * 1000

    with pytest.raises(SseOverflowError, match="an event of more than 10,000 bytes"):
        async for _ in sse_events(endless(), max_event_bytes=10_000):
            pass
    assert seen <= 11_000


async def test_a_stream_beyond_the_bound_is_refused() -> None:
    with pytest.raises(SseOverflowError, match="a stream of more than 100 bytes"):
        await read(*[b": hello\n\n"] * 50, max_total_bytes=100)
