"""Options of the whole suite, and the environment it sees: defaults, no developer's .env, no keyring."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from typing import Any

import pytest

from config import Settings


def pytest_addoption(parser: pytest.Parser) -> None:
    """Let a run of the fault tests be repeated exactly."""
    parser.addoption(
        "--fault-seed", type=int, default=None, help="seed of the fault tests; default: by chance"
    )


def pytest_configure(config: pytest.Config) -> None:
    """Throw the dice once, before worker processes are started."""
    if config.option.fault_seed is None:
        config.option.fault_seed = random.randrange(10**6)


def pytest_report_header(config: pytest.Config) -> str:
    """Say how to repeat it."""
    return f"fault seed: {config.option.fault_seed} (repeat with --fault-seed)"


@pytest.fixture
def fault_seed(request: pytest.FixtureRequest) -> int:
    """Seed of this run."""
    seed: int = request.config.option.fault_seed
    return seed


@pytest.fixture(autouse=True, scope="session")
def a_clean_environment() -> Iterator[None]:
    """No setting from outside, also not for the children that tests start."""
    with pytest.MonkeyPatch.context() as patch:
        for name in [*os.environ]:
            if name.lower() in Settings.model_fields:
                patch.delenv(name)
        patch.delenv("LUMA_CONFIG", raising=False)
        patch.setenv("LUMA_ENV_FILE", os.devnull)
        patch.setenv("PYTHON_KEYRING_BACKEND", "keyring.backends.null.Keyring")
        yield


@pytest.fixture(autouse=True, scope="session")
def tcl_ends_with_the_process() -> Iterator[None]:
    """Keep every Tcl interpreter: Tcl aborts when one is deleted by another thread, and the collector runs in any."""
    try:
        import tkinter
    except ImportError:
        yield
        return
    kept = []
    original = tkinter.Tk.__init__

    def make(self: tkinter.Tk, *arguments: Any, **more: Any) -> None:
        original(self, *arguments, **more)
        kept.append(self.tk)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tkinter.Tk, "__init__", make)
        yield
