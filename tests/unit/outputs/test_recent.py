"""What an output played lately, with its times."""

from __future__ import annotations

from array import array

import pytest

from backend.outputs import recent as module
from backend.outputs.recent import Recent

RATE_HZ = 16_000
STEP = 80


def piece(value: int) -> array[int]:
    return array("h", [value] * STEP)


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "monotonic_s", lambda: 100.0)


def test_pieces_that_follow_each_other_are_one_sound_with_its_time() -> None:
    kept = Recent(0.005)
    jitter = (0.0, 0.001, -0.002, 0.0015)
    for n, late in enumerate(jitter):
        kept.add(piece(n + 1), RATE_HZ, 99.0 + n * 0.005 + late)
    (sound,) = kept.sounding()
    assert sound.pcm == b"".join(piece(n + 1).tobytes() for n in range(4))
    assert sound.at_s == 99.0
    assert sound.end_s == pytest.approx(99.02, abs=0.002)


def test_a_pause_and_another_rate_begin_a_new_sound() -> None:
    kept = Recent(0.005)
    kept.add(piece(1), RATE_HZ, 99.0)
    kept.add(piece(2), RATE_HZ, 99.5)
    kept.add(piece(3), 8_000, 99.505)
    assert [(one.at_s, one.rate_hz) for one in kept.sounding()] == [
        (99.0, RATE_HZ),
        (99.5, RATE_HZ),
        (99.505, 8_000),
    ]


def test_a_clock_that_drifts_is_followed() -> None:
    kept = Recent(0.005)
    for n in range(500):  # a device that runs 0.1 % slow
        kept.add(piece(1), RATE_HZ, 96.0 + n * 0.005 * 1.001)
    (sound,) = kept.sounding()
    assert sound.end_s == pytest.approx(96.0 + 500 * 0.005 * 1.001, abs=0.002)


def test_what_a_device_threw_away_never_sounded() -> None:
    kept = Recent(0.005)
    for n in range(4):
        kept.add(piece(n + 1), RATE_HZ, 99.0 + n * 0.005)
    kept.take_back(STEP + 30)
    (sound,) = kept.sounding()
    assert len(sound.pcm) // 2 == 4 * STEP - STEP - 30
    kept.take_back(10**6)
    assert kept.sounding() == []


def test_only_the_last_seconds_are_kept_and_only_those_asked_for_given() -> None:
    kept = Recent(0.005)
    for n in range(2000):
        kept.add(piece(1), RATE_HZ, 90.0 + n * 0.005)
    (all_of_it,) = kept.sounding()
    assert len(all_of_it.pcm) / 2 / RATE_HZ == pytest.approx(module.KEPT_S, abs=0.01)
    (last,) = kept.sounding(0.5)
    assert len(last.pcm) / 2 / RATE_HZ == pytest.approx(0.5, abs=0.01)
