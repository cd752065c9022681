"""What all tests of the window need."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest


@pytest.fixture(scope="package", autouse=True)
def _little_to_collect() -> Iterator[None]:
    """What was there before the first window is no garbage of a window: looking through it each time would take long."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.fixture(autouse=True)
def _collected_here(_little_to_collect: None) -> Iterator[None]:
    """Collect what windows leave on their own thread. On another (a test's server, the window's client) each picture would
    call Tk, which is asleep there, and hold that thread up for a second; the answer that is waited for would never come."""
    gc.disable()
    yield
    gc.collect()
    gc.enable()
