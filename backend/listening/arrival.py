"""When a sample of a stream was heard, from when its pieces came: they come late, but never early.

A piece that is late says that somebody was busy; when all pieces are late from some moment on, sound was lost, and whatever is
compared with it by time is wrong until that is known.
"""

from __future__ import annotations

SETTLES_S = 0.25
"""Of so much time the earliest piece counts."""
JUMP_S = 0.02
"""By which it is later than before: sound was lost, or the device holds more back."""
LATE_S = 0.08
"""A piece so late may be a sign of that; it is known a little later."""
SHAKEN_S = 2.0
"""After a jump so much of the sound that is compared is from before it."""
NEW_S = 0.3
"""A larger jump is another stream: another device, or one that was away."""
DRIFT = 0.3


class Arrival:
    """Keeps the time of one stream.

    Args:
        rate_hz: Its samples a second.
    """

    def __init__(self, rate_hz: int) -> None:
        self._rate_hz = rate_hz
        self._began_s: float | None = None
        self._earliest_s = 0.0
        self._settles_s = 0.0
        self._late_s = 0.0
        self._shaken_s = float("-inf")
        self.streams = 0
        """How often it was another stream."""

    def note(self, samples: int, now_s: float) -> None:
        """So many samples have come until now, in all."""
        began_s = now_s - samples / self._rate_hz
        if self._began_s is None:
            self._began_s = self._earliest_s = began_s
            self._settles_s = now_s + SETTLES_S
            self.streams += 1
            return
        self._late_s = began_s - self._began_s
        self._earliest_s = min(self._earliest_s, began_s)
        if began_s < self._began_s:
            self._move(began_s, now_s)
        elif now_s >= self._settles_s:
            self._move(self._earliest_s, now_s)
            self._settles_s = now_s + SETTLES_S
            self._earliest_s = float("inf")

    def at_s(self, sample: int) -> float | None:
        """Monotonic time at which a sample was heard; None before anything was."""
        return None if self._began_s is None else self._began_s + sample / self._rate_hz

    def is_sure(self, at_s: float) -> bool:
        """Whether the time of what was heard then, and a little before, may be relied on to some ms."""
        return at_s - self._shaken_s > SHAKEN_S and self._late_s < LATE_S

    def _move(self, began_s: float, now_s: float) -> None:
        assert self._began_s is not None
        step_s = began_s - self._began_s
        if abs(step_s) < JUMP_S:
            self._began_s += step_s if step_s < 0 else DRIFT * step_s
            return
        self._began_s, self._shaken_s, self._late_s = began_s, now_s, 0.0
        if abs(step_s) > NEW_S:
            self.streams += 1
