"""Reporters that are closed at a test's end."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from voice_trainer.loop import Reporter

Reporting = Callable[..., Reporter]


@pytest.fixture
def reporting() -> Iterator[Reporting]:
    """Makes reporters of folders."""
    opened: list[Reporter] = []

    def make(folder: Path, **more: Any) -> Reporter:
        opened.append(Reporter(folder, **more))
        return opened[-1]

    yield make
    for one in opened:
        one.close()
