"""Messages between the backend and an engine's process.

A frame is a JSON tree with its byte strings cut out and sent raw behind it, so that sound crosses without being encoded.
Nothing that arrives is ever executed or unpickled: an engine taken over by a hostile model file can lie, not command.
Standard library only, because every engine process imports this.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Mapping, Sequence
from typing import Any

PREFIX = struct.Struct("!II")  # bytes of JSON, number of byte strings
LENGTH = struct.Struct("!Q")
MAX_JSON_BYTES = 64 << 20
MAX_BLOB_BYTES = 512 << 20
MAX_BLOBS = 64
BLOB = "\0blob"  # a key no real dictionary has

Tree = Any
"""None, bool, int, float, str, bytes, and lists and str-keyed dictionaries of them; tuples arrive as lists."""


class WireError(Exception):
    """What arrived is no frame, or one too large to accept."""


def encode(tree: Tree) -> bytes:
    """One frame.

    Raises:
        TypeError: If something in it cannot cross (an array, an object).
    """
    blobs: list[bytes] = []
    text = json.dumps(_without_blobs(tree, blobs), separators=(",", ":")).encode()
    head = PREFIX.pack(len(text), len(blobs)) + b"".join(LENGTH.pack(len(b)) for b in blobs)
    return b"".join((head, text, *blobs))


def read(read_exactly: Callable[[int], bytes | None]) -> Tree | None:
    """The next frame, or None at the end of the stream.

    Args:
        read_exactly: Gives that many bytes, or None when the stream ends before.

    Raises:
        WireError: If it is no frame.
    """
    head = read_exactly(PREFIX.size)
    if head is None:
        return None
    json_bytes, blob_count = PREFIX.unpack(head)
    if json_bytes > MAX_JSON_BYTES or blob_count > MAX_BLOBS:
        raise WireError(f"a frame of {json_bytes:,} bytes with {blob_count} byte strings")
    lengths = []
    for _ in range(blob_count):
        raw = read_exactly(LENGTH.size)
        if raw is None:
            return None
        lengths.append(int(LENGTH.unpack(raw)[0]))
    if sum(lengths) > MAX_BLOB_BYTES:
        raise WireError(f"a frame with {sum(lengths):,} bytes of data")
    text = read_exactly(json_bytes)
    if text is None:
        return None
    blobs = []
    for length in lengths:
        blob = read_exactly(length) if length else b""
        if blob is None:
            return None
        blobs.append(blob)
    try:
        return _with_blobs(json.loads(text), blobs)
    except (ValueError, IndexError, TypeError, RecursionError) as error:
        raise WireError(str(error)) from error


def _without_blobs(tree: Tree, blobs: list[bytes]) -> Tree:
    if isinstance(tree, bytes | bytearray | memoryview):
        blobs.append(bytes(tree))
        if len(blobs) > MAX_BLOBS:
            raise TypeError(f"more than {MAX_BLOBS} byte strings in one message")
        return {BLOB: len(blobs) - 1}
    if isinstance(tree, Mapping):
        return {key: _without_blobs(value, blobs) for key, value in tree.items()}
    if isinstance(tree, Sequence) and not isinstance(tree, str):
        return [_without_blobs(value, blobs) for value in tree]
    return tree


def _with_blobs(tree: Tree, blobs: list[bytes]) -> Tree:
    if isinstance(tree, dict):
        if BLOB in tree:
            return blobs[tree[BLOB]]
        return {key: _with_blobs(value, blobs) for key, value in tree.items()}
    if isinstance(tree, list):
        return [_with_blobs(value, blobs) for value in tree]
    return tree
