"""When a sample was heard: late pieces, lost ones, another stream."""

from __future__ import annotations

import pytest

from backend.listening.arrival import NEW_S, SHAKEN_S, Arrival

RATE_HZ = 16_000
PIECE = 320  # 20 ms


def fed(arrival: Arrival, first: int, count: int, *, late_s: float = 0.0) -> int:
    """Pieces in time, each 20 ms, as heard from 100 s on; return how many there are now."""
    for n in range(first + 1, first + count + 1):
        arrival.note(n * PIECE, 100 + n * 0.02 + late_s)
    return first + count


def test_late_pieces_that_catch_up_move_nothing() -> None:
    arrival = Arrival(RATE_HZ)
    n = fed(arrival, 0, 100)
    for _ in range(5):  # 100 ms late, all at once
        n += 1
        arrival.note(n * PIECE, 102.1)
    n = fed(arrival, n, 100)
    assert arrival.at_s(0) == pytest.approx(100, abs=0.002)
    assert arrival.is_sure(104.2)


def test_while_pieces_are_late_nothing_is_sure() -> None:
    arrival = Arrival(RATE_HZ)
    n = fed(arrival, 0, 100)
    arrival.note((n + 1) * PIECE, 102.12)
    assert not arrival.is_sure(102.12)
    arrival.note((n + 6) * PIECE, 102.121)
    assert arrival.is_sure(102.13)


@pytest.mark.parametrize("lost_s", [0.03, 0.1])
def test_lost_sound_is_noticed_and_forgotten_after_a_while(lost_s: float) -> None:
    arrival = Arrival(RATE_HZ)
    n = fed(arrival, 0, 100)
    n = fed(arrival, n, 50, late_s=lost_s)
    assert arrival.at_s(n * PIECE) == pytest.approx(100 + n * 0.02 + lost_s, abs=0.005)
    assert not arrival.is_sure(103)
    assert arrival.is_sure(103 + SHAKEN_S)
    assert arrival.streams == 1


def test_a_long_gap_is_another_stream() -> None:
    arrival = Arrival(RATE_HZ)
    n = fed(arrival, 0, 100)
    fed(arrival, n, 50, late_s=NEW_S + 0.2)
    assert arrival.streams == 2


def test_a_clock_that_drifts_is_followed() -> None:
    arrival = Arrival(RATE_HZ)
    for n in range(1, 3000):  # 200 ppm slow
        arrival.note(n * PIECE, 100 + n * 0.02 * 1.0002)
    assert arrival.at_s(3000 * PIECE) == pytest.approx(160.012, abs=0.003)
    assert arrival.is_sure(160.1)
