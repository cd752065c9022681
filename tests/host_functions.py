"""What an engine can do wrong, to be called in its process."""

from __future__ import annotations

import ctypes
import os
import sys
import time
from pathlib import Path
from typing import Any

from backend.contracts.errors import EngineUnavailableError, ProviderError


def echo(value: Any) -> Any:
    return value


def pid() -> int:
    return os.getpid()


def environment() -> dict[str, str]:
    return dict(os.environ)


def modules() -> list[str]:
    return sorted(sys.modules)


def count(path: str) -> int:
    """How often it was called with that path, this time included."""
    with Path(path).open("a", encoding="utf-8") as file:
        file.write("x")
    return Path(path).stat().st_size


def wait_for(path: str) -> str:
    """Return when the file exists."""
    while not Path(path).exists():
        time.sleep(0.005)
    return path


def touch(path: str) -> None:
    Path(path).touch()


def touch_and_hang(path: str) -> None:
    Path(path).touch()
    time.sleep(600)


def touch_and_wait(path: str, other: str) -> str:
    Path(path).touch()
    return wait_for(other)


def hang() -> None:
    time.sleep(600)


def hang_with_the_interpreter() -> None:
    """Native code that does not let other threads run: PyDLL keeps the interpreter's lock."""
    sleep = ctypes.PyDLL(None).sleep
    sleep(600)


def segfault() -> None:
    ctypes.string_at(0)


def leave() -> None:
    os._exit(3)


def print_a_lot() -> str:
    sys.stdout.write("x" * 100_000)
    sys.stdout.flush()
    os.write(1, b"y" * 100_000)
    return "still here"


def raise_unavailable() -> None:
    raise EngineUnavailableError("There is no voice; make one.")


def raise_provider() -> None:
    raise ProviderError("slow down", kind="rate", provider="someone", retry_after_s=2.5)


def raise_value_error() -> None:
    raise ValueError("seven is not eight")


def need_a_package() -> None:
    import a_package_that_is_not_there  # type: ignore[import-not-found]  # noqa: F401 - that is the test


def give_an_object() -> object:
    return object()
