"""Options of the whole suite, and the environment it sees: defaults, no developer's .env, no keyring."""

from __future__ import annotations

import gc
import os
import random
import shutil
import sys
from collections.abc import Generator, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

import launch
from config import Settings

OPENED = pytest.StashKey[ExitStack]()
"""What a run has opened and closes at its end."""
HAD_WINDOWS = pytest.StashKey[bool]()
"""Whether the test before had one."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """Let a run of the fault tests be repeated exactly."""
    parser.addoption(
        "--fault-seed", type=int, default=None, help="seed of the fault tests; default: by chance"
    )
    parser.addoption(
        "--kills", type=int, default=3, help="how often the voice trainer is killed; default: 3"
    )


def pytest_configure(config: pytest.Config) -> None:
    """Throw the dice once, before worker processes are started; give windows a display where there is none."""
    if config.option.fault_seed is None:
        config.option.fault_seed = random.randrange(10**6)
    config.stash[OPENED] = ExitStack()
    is_worker = hasattr(
        config, "workerinput"
    )  # of pytest-xdist: two windows would fight for the keyboard
    if sys.platform.startswith("linux") and (is_worker or not os.environ.get("DISPLAY")):
        if shutil.which("Xvfb"):
            os.environ["DISPLAY"] = config.stash[OPENED].enter_context(launch.own_display())
            os.environ.pop("WAYLAND_DISPLAY", None)


def pytest_unconfigure(config: pytest.Config) -> None:
    """End the display."""
    if OPENED in config.stash:
        config.stash[OPENED].close()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip the window's tests where no window can be."""
    if sys.platform.startswith("linux") and not os.environ.get("DISPLAY"):
        reason = "no display, and no Xvfb to make one: sudo apt install xvfb"
        for item in items:
            if item.get_closest_marker("gui"):
                item.add_marker(pytest.mark.skip(reason=reason))


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Collect what tests of windows left before a backend's thread does: there each picture and variable would call Tk and
    wait a second for a window that has closed. Only now does pytest itself hold nothing of the test before."""
    is_gui = item.get_closest_marker("gui") is not None
    if not is_gui and item.config.stash.get(HAD_WINDOWS, False):
        gc.collect()
    item.config.stash[HAD_WINDOWS] = is_gui


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Let a report travel between processes: a lone surrogate in what a test logged cannot."""
    report = yield
    report.sections = [
        (title, text.encode("utf-8", "backslashreplace").decode())
        for title, text in report.sections
    ]
    return report


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
