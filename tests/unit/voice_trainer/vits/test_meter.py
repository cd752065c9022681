"""What a training tells: smoothed losses, what is left, and whether it still gets better."""

from __future__ import annotations

import math

import pytest
import torch

from voice_trainer.vits.meter import Meter, eta_s, flat_for, fraction, verdict
from voice_trainer.vits.step import Losses


def losses(value: float) -> Losses:
    return Losses(*[torch.tensor(value)] * 7)


def test_losses_are_smoothed_from_the_first_one() -> None:
    meter = Meter()
    for value in (1.0, 2.0):
        meter.add(losses(value), 0.5)
    assert meter.read()
    assert meter.losses["mel"] == pytest.approx(1.02)
    assert meter.steps_per_s == pytest.approx(2.0)


def test_a_number_that_is_none_is_noticed() -> None:
    meter = Meter()
    meter.add(losses(math.nan), 0.5)
    assert not meter.read()


def test_a_restored_meter_goes_on_where_it_was() -> None:
    one, other = Meter(), Meter()
    for value in (1.0, 3.0):
        one.add(losses(value), None)
    other.restore(one.state())
    for meter in (one, other):
        meter.add(losses(2.0), None)
        meter.read()
    assert one.losses == other.losses
    assert other.steps_per_s == 0.0


def test_the_nearest_limit_says_what_is_left() -> None:
    known = {"step": 100, "steps": 200, "spent_s": 50.0}
    assert eta_s(**known, seconds=None, steps_per_s=2.0) == 50.0
    assert eta_s(**known, seconds=60.0, steps_per_s=2.0) == 10.0
    assert eta_s(step=1, steps=None, spent_s=0.0, seconds=None, steps_per_s=0.0) is None
    assert fraction(**known, seconds=60.0) == pytest.approx(50 / 60)


def test_a_falling_loss_is_still_improving() -> None:
    falling = [(step, 1.0 * 0.97 ** (step / 100)) for step in range(100, 1100, 100)]
    assert flat_for(falling) == 0
    assert verdict(falling) == "still improving"


def test_a_flat_loss_says_since_when() -> None:
    flat = [(100, 1.0), (200, 0.8), (300, 0.799), (400, 0.797), (500, 0.801), (600, 0.796)]
    assert flat_for(flat) == 400
    assert verdict(flat).startswith("flat for 400 steps: you can stop")


def test_a_slow_but_steady_fall_counts_as_one() -> None:
    slow = [(step, 1.0 - 0.00004 * step) for step in range(0, 3000, 100)]
    assert verdict(slow) == "still improving"


def test_two_points_are_too_few_to_judge() -> None:
    assert verdict([(1, 1.0), (2, 1.0)]) == "too early to say"
    assert verdict([]) == "too early to say"
