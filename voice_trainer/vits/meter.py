"""What a training tells while it runs: losses, speed, what is left, and in words whether it still gets better."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence

import torch

from voice_trainer.vits.step import Losses

SMOOTHING_STEPS = 50
SPEED_STEPS = 100
CLEARLY = 0.01
"""Share by which the distance of mels must fall to count as better: below it nobody hears a difference."""
FEWEST_POINTS = 4
FLAT_SHARE = 0.25


class Meter:
    """Gathers the losses of steps without waiting for the device; `read` waits once for all of them."""

    def __init__(self) -> None:
        self._waiting: list[torch.Tensor] = []
        self._smooth: dict[str, float] = {}
        self._times: deque[float] = deque(maxlen=SPEED_STEPS)

    def add(self, losses: Losses, seconds: float | None) -> None:
        """A step is done; seconds: how long it took, None when that would mislead."""
        self._waiting.append(losses.stacked())
        if seconds is not None:
            self._times.append(seconds)

    def read(self) -> bool:
        """Take the waiting losses in; returns whether all of them are numbers."""
        if not self._waiting:
            return True
        rows = torch.stack(self._waiting).cpu().tolist()
        self._waiting.clear()
        for row in rows:
            if not all(math.isfinite(value) for value in row):
                return False
            for name, value in zip(Losses.NAMES, row, strict=True):
                before = self._smooth.get(name, value)
                self._smooth[name] = before + (value - before) / SMOOTHING_STEPS
        return True

    @property
    def losses(self) -> dict[str, float]:
        """Each part, smoothed over the last steps; empty before the first."""
        return dict(self._smooth)

    @property
    def steps_per_s(self) -> float:
        """Over the last steps; 0 before the first."""
        return len(self._times) / sum(self._times) if self._times and sum(self._times) > 0 else 0.0

    def state(self) -> dict[str, float]:
        """For a checkpoint."""
        self.read()
        return dict(self._smooth)

    def restore(self, state: dict[str, float]) -> None:
        """The reverse of `state`; the speed is measured anew."""
        self._waiting.clear()
        self._times.clear()
        self._smooth = {name: float(value) for name, value in state.items()}


def eta_s(
    *, step: int, steps: int | None, spent_s: float, seconds: float | None, steps_per_s: float
) -> float | None:
    """Seconds until the first limit is reached; None while nothing is known."""
    left = []
    if steps is not None and steps_per_s > 0:
        left.append((steps - step) / steps_per_s)
    if seconds is not None:
        left.append(seconds - spent_s)
    return max(0.0, min(left)) if left else None


def fraction(*, step: int, steps: int | None, spent_s: float, seconds: float | None) -> float:
    """How much of the budget is used, 0-1."""
    shares = [step / steps if steps else 0.0, spent_s / seconds if seconds else 0.0]
    return min(1.0, max(shares))


def flat_for(history: Sequence[tuple[int, float]]) -> int:
    """Steps since the loss was last clearly lower than all before.

    Args:
        history: (step, loss on clips that were held back), in order.
    """
    mark_step, mark = history[0]
    for step, loss in history[1:]:
        if loss < mark * (1 - CLEARLY):
            mark_step, mark = step, loss
    return history[-1][0] - mark_step


def verdict(history: Sequence[tuple[int, float]]) -> str:
    """In plain words: is it worth going on?"""
    if len(history) < FEWEST_POINTS:
        return "too early to say"
    flat = flat_for(history)
    began, now = history[0][0], history[-1][0]
    since_points = sum(1 for step, _ in history if step > now - flat)
    if since_points >= FEWEST_POINTS - 1 and flat >= FLAT_SHARE * (now - began):
        return f"flat for {flat:,} steps: you can stop; listen whether it still gets clearer"
    return "still improving"
