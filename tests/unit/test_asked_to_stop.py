"""A signal ends the waiting program at whatever moment it comes."""

from __future__ import annotations

import itertools
import signal
import sys
import threading
from types import FrameType
from typing import Any

import main

PATIENCE_S = 5.0


def asked_at(event: int) -> bool:
    """Ask for the end just before that step of a wait, on the thread that waits; whether it is known then."""
    stop = main._Stop()
    steps = itertools.count()

    def trace(_frame: FrameType, _what: str, _detail: object) -> Any:
        if next(steps) == event:
            sys.settrace(None)
            stop._on_signal(signal.SIGTERM, None)
        return trace

    def wait() -> None:
        sys.settrace(trace)
        while not stop.wait(0.001):
            pass
        sys.settrace(None)

    thread = threading.Thread(target=wait, daemon=True)
    thread.start()
    thread.join(PATIENCE_S)
    assert not thread.is_alive(), f"asked at step {event}, it waits for ever"
    return stop.is_set()


def test_a_signal_at_any_step_of_the_wait_ends_it() -> None:
    assert all(asked_at(event) for event in range(40))


def test_asking_twice_and_before_the_wait_is_the_same() -> None:
    stop = main._Stop()
    assert not stop.wait(0.0)
    stop.ask()
    stop.ask()
    assert stop.wait(PATIENCE_S)
    told: list[bool] = []
    stop.also(lambda: told.append(True))
    assert told == [True]
