"""JSON out of strangers' models, read only when it is quick to read.

A parser holds up everything else in the process until it is done: a few megabytes of "[],[],…" cost seconds, and as many
megabytes of a real model a few hundredths. So what is in a file is counted before it is parsed.
"""

from __future__ import annotations

import orjson

from backend.contracts.errors import InvalidInputError

MOST_CONTAINERS = 150_000
"""Objects and lists; a large VRM has about 30,000."""

MOST_VALUES = 500_000
"""What commas part; a motion of a minute has about 100,000."""

STEP_BYTES = 1 << 20
"""Counted in steps, so that others go in between."""


def loads(data: bytes, name: str) -> object:
    """Parse a file's JSON.

    Args:
        data: What is in it.
        name: What it is called, for messages.

    Raises:
        InvalidInputError: It is none, or one that takes too long to read.
    """
    containers = values = 0
    for start in range(0, len(data), STEP_BYTES):
        step = data[start : start + STEP_BYTES]
        containers += step.count(b"[") + step.count(b"{")
        values += step.count(b",")
        if containers > MOST_CONTAINERS or values > MOST_VALUES:
            raise InvalidInputError(
                f"{name} describes too much: at most {MOST_CONTAINERS:,} objects and lists and {MOST_VALUES:,} values are read."
            )
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError as error:
        raise InvalidInputError(f"{name} is broken, it is no JSON: {error}.") from error
