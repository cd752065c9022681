"""How long the recogniser will take, from how long it took: what decides whether reading along and in advance is worth it."""

from __future__ import annotations

from collections import deque

REMEMBERED = 6
ALONG_RTF = 0.35
"""Reading along repeats itself with every partial; above this real-time factor it would take the machine from the reply."""
ALONG_EVERY_S = 0.7
IN_ADVANCE_S = 2.0
"""A reading in advance that takes longer would only be in the way when the speaker goes on after all."""


class Pace:
    """The last readings of the recognisers in use."""

    def __init__(self) -> None:
        self._taken: deque[tuple[float, float]] = deque(maxlen=REMEMBERED)

    def note(self, duration_s: float, elapsed_s: float) -> None:
        """So much sound took so long to read."""
        self._taken.append((max(duration_s, 0.1), elapsed_s))

    def forget(self) -> None:
        """The recognisers are others now."""
        self._taken.clear()

    def expected_s(self, duration_s: float) -> float | None:
        """How long so much sound may take, rather too long than too short; None before anything was read."""
        # Some engines take as long for a word as for half a minute: shorter sound is not expected to be faster.
        return max(
            (elapsed_s * max(1.0, duration_s / its_s) for its_s, elapsed_s in self._taken),
            default=None,
        )

    def along_after_s(self, duration_s: float) -> float | None:
        """Seconds from one partial transcript to the next at this length; None = the recogniser is too slow, or unknown."""
        expected_s = self.expected_s(duration_s)
        if expected_s is None or expected_s > ALONG_RTF * max(duration_s, 2 * ALONG_EVERY_S):
            return None
        return max(ALONG_EVERY_S, 3 * expected_s)

    def is_in_advance_worth_it(self, duration_s: float) -> bool:
        """Whether to read what was said so far in a pause that may be the end."""
        expected_s = self.expected_s(duration_s)
        return expected_s is None or expected_s <= IN_ADVANCE_S
