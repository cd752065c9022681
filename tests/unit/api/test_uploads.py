"""Forms that are read as they come."""

from __future__ import annotations

import random
import tracemalloc

import pytest

from backend.api.uploads import FormStream
from backend.contracts.errors import InvalidInputError

TYPE = "multipart/form-data; boundary=frontier"


class Kept:
    """A file that came, in memory."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.content = bytearray()
        self.state = "open"

    def write(self, piece: bytes) -> None:
        self.content += piece

    def close(self) -> None:
        self.state = "whole"

    def discard(self) -> None:
        self.state = "gone"


class Counted(Kept):
    """A file of which only the size is kept."""

    size = 0

    def write(self, piece: bytes) -> None:
        self.size += len(piece)


def form(*parts: tuple[str, bytes]) -> bytes:
    body = b"".join(
        b"--frontier\r\nContent-Disposition: form-data; "
        + head.encode()
        + b"\r\n\r\n"
        + data
        + b"\r\n"
        for head, data in parts
    )
    return body + b"--frontier--\r\n"


def test_a_form_is_the_same_however_it_is_cut_into_pieces() -> None:
    chance = random.Random(7)
    tricky = b"\r\n--front\r\n--frontie\r\n\r--\n" + bytes(range(256))
    body = form(
        ('name="speaker"', "Zoë".encode()),
        ('name="files"; filename="a \\"b\\".wav"', tricky),
        ('name="files"; filename="empty.wav"', b""),
        ('name="files"; filename="ü.wav"', tricky * 3),
    )
    for _ in range(200):
        stream = FormStream(TYPE, Kept, most_files=10)
        rest = body
        while rest:
            size = chance.randint(1, chance.choice((1, 7, 100, len(body))))
            stream.feed(rest[:size])
            rest = rest[size:]
        stream.finish()
        assert stream.fields == {"speaker": "Zoë"}
        assert [bytes(file.content) for file in stream.files] == [tricky, b"", tricky * 3]
        assert [file.state for file in stream.files] == ["whole"] * 3


def test_a_large_file_needs_no_memory() -> None:
    piece = bytes(1 << 16)
    stream = FormStream(TYPE, Counted, most_files=1)
    stream.feed(
        b'--frontier\r\nContent-Disposition: form-data; name="files"; filename="x.wav"\r\n\r\n'
    )
    tracemalloc.start()
    for _ in range(500):
        stream.feed(piece)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1 << 20
    stream.feed(b"\r\n--frontier--\r\n")
    stream.finish()
    assert stream.files[0].size == 500 * len(piece)


@pytest.mark.parametrize(
    "content_type",
    ["", "application/json", "multipart/form-data", f"multipart/form-data; boundary={'b' * 300}"],
)
def test_what_is_no_form_is_refused(content_type: str) -> None:
    with pytest.raises(InvalidInputError):
        FormStream(content_type, Kept, most_files=1)


def test_more_files_than_are_taken_are_refused_and_thrown_away() -> None:
    stream = FormStream(TYPE, Kept, most_files=2)
    with pytest.raises(InvalidInputError, match="At most 2 files"):
        stream.feed(form(*((f'name="files"; filename="{n}.wav"', b"x") for n in range(3))))
    stream.discard()
    assert [file.state for file in stream.files] == ["gone", "gone"]


def test_more_fields_than_are_needed_are_refused() -> None:
    stream = FormStream(TYPE, Kept, most_files=2)
    with pytest.raises(InvalidInputError, match="fields"):
        stream.feed(form(*((f'name="f{n}"', b"x") for n in range(30))))
