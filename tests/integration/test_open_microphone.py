"""A minute of what the soak does for ten: nothing that an open microphone needs is left behind."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from benchmarks.open_microphone import NEEDED, judge, soak
from tests.integration.virtual_sound import VirtualSound, missing

WARM_MB = 12.0
"""What the backend's process may still need for the first time after 20 s; a leaked buffer of sound is that in some utterances."""
FIRST_TIME = 2
"""Threads and handles that may be there for the first time then; each round opens and closes dozens."""


@pytest.mark.slow
@pytest.mark.timeout(400)
@pytest.mark.skipif(
    bool(missing()), reason=f"needs a sound server of its own (not installed: {missing()})"
)
def test_a_minute_of_open_microphone_leaves_nothing_behind(tmp_path: Path) -> None:
    with VirtualSound() as sound:
        sound.add_room()
        result = asyncio.run(soak(tmp_path / "soak", sound, 1, round_s=10, recogniser="script"))

    rests = [one for one in result.samples if one.is_rest and one.at_s > result.length_s / 3]
    found = judge(result.samples, result.length_s)

    assert len(rests) >= 3
    assert found.children <= 0
    assert found.threads <= FIRST_TIME, result.samples
    assert found.handles <= FIRST_TIME, result.samples
    assert rests[-1].main_mb - rests[0].main_mb < WARM_MB, result.samples
    assert [name for name in NEEDED if not result.seen[name]] == []
    assert result.seen["back"] == result.seen["unplugged"] > 0
