"""What an output played lately, with its times."""

from __future__ import annotations

from array import array

import pytest

from backend.outputs import recent as module
from backend.outputs.base import KEPT_S
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
    for n in range(4000):
        kept.add(piece(1), RATE_HZ, 80.0 + n * 0.005)
    (all_of_it,) = kept.sounding(100)
    assert len(all_of_it.pcm) / 2 / RATE_HZ == pytest.approx(KEPT_S, abs=0.01)
    (last,) = kept.sounding(0.5)
    assert len(last.pcm) / 2 / RATE_HZ == pytest.approx(0.5, abs=0.01)


def add(kept: Recent, at_s: list[float], *, dry: int = -1) -> None:
    for n, leaves_s in enumerate(at_s):
        kept.add(piece(1), RATE_HZ, leaves_s, ran_dry=n == dry)


def test_one_wrong_answer_of_a_busy_device_is_no_gap() -> None:
    kept = Recent(0.005)
    add(kept, [99 + n * 0.005 + (0.03 if n == 20 else 0.0) for n in range(40)])
    (sound,) = kept.sounding()
    assert sound.end_s == pytest.approx(99.2, abs=0.002)


def test_a_step_that_stays_is_one_and_what_follows_it_is_not_sure() -> None:
    kept = Recent(0.005)
    add(kept, [99 + n * 0.005 + (0.04 if n >= 20 else 0.0) for n in range(60)])
    before, after = kept.sounding()
    assert (before.is_sure, after.is_sure) == (True, False)
    assert after.end_s == pytest.approx(99.34, abs=0.002)


def test_after_running_dry_it_is_not_sure_however_small_the_gap() -> None:
    kept = Recent(0.005)
    add(kept, [99 + n * 0.005 + (0.003 if n >= 20 else 0.0) for n in range(40)], dry=20)
    assert [one.is_sure for one in kept.sounding()] == [True, False]


@pytest.mark.parametrize(("pause_s", "is_sure"), [(0.5, False), (2.5, True)])
def test_a_device_opened_anew_is_sure_when_nothing_sounded_lately(
    pause_s: float, is_sure: bool
) -> None:
    kept = Recent(0.005)
    add(kept, [97.0, 97.005])
    kept.rested(reopened=True)
    add(kept, [97.01 + pause_s])
    assert kept.sounding()[-1].is_sure is is_sure


def test_silence_between_two_sounds_and_a_rest_are_no_faults() -> None:
    kept = Recent(0.005)
    add(kept, [99.0, 99.005])
    kept.silence(round(0.2 * RATE_HZ))
    add(kept, [99.21, 99.215])
    kept.rested()
    add(kept, [99.5])
    found = kept.sounding()
    assert [one.at_s for one in found] == pytest.approx([99.0, 99.21, 99.5])
    assert all(one.is_sure for one in found)


@pytest.mark.parametrize("reopened", [False, True])
def test_a_device_that_was_started_again_begins_when_it_says_however_soon(reopened: bool) -> None:
    """It was placed right after the sound before it, and half its first word was taken for not sure."""
    kept = Recent(0.005)
    add(kept, [99.0, 99.005])
    kept.rested(reopened=reopened)
    add(kept, [99.07 + n * 0.005 for n in range(20)])
    before, after = kept.sounding()
    assert after.at_s == pytest.approx(99.07)
    assert len(after.pcm) == 20 * 2 * STEP
    assert (before.is_sure, after.is_sure) == (True, not reopened)
