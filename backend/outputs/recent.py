"""The last seconds of what an output played, for whoever has to know the character's own voice again.

Written by the output's thread a few milliseconds at a time, read by the backend's loop; a deque of pairs needs no lock.
"""

from __future__ import annotations

from collections import deque
from itertools import islice
from typing import Any

from backend.core.clock import monotonic_s
from backend.outputs.base import Sounding

KEPT_S = 3.0

JUMP_S = 0.012
"""What a device says about when a sound leaves it jitters by some ms; only a larger step is a pause."""


class Recent:
    """What left an output, with the time at which it did.

    Args:
        piece_s: Length of the pieces it is told of; sets how many are kept.
    """

    def __init__(self, piece_s: float) -> None:
        self._pieces: deque[tuple[float, int, bytes]] = deque(maxlen=round(KEPT_S / piece_s))
        self._end_s = 0.0
        self._rate_hz = 0

    def add(self, pcm: Any, rate_hz: int, leaves_s: float) -> None:
        """Note a piece of PCM16 whose first sample leaves at ``leaves_s`` (monotonic)."""
        sound = bytes(memoryview(pcm).cast("B"))
        # Follows the one before to the sample unless the clocks say that something lies between.
        if rate_hz == self._rate_hz and abs(leaves_s - self._end_s) < JUMP_S:
            leaves_s = self._end_s + (leaves_s - self._end_s) * 0.02
        self._rate_hz = rate_hz
        self._end_s = leaves_s + len(sound) / 2 / rate_hz
        self._pieces.append((leaves_s, rate_hz, sound))

    def take_back(self, samples: int) -> None:
        """Forget the newest samples: the device threw them away."""
        while samples > 0 and self._pieces:
            at_s, rate_hz, sound = self._pieces.pop()
            kept = max(0, len(sound) // 2 - samples)
            samples -= len(sound) // 2 - kept
            if kept:
                self._pieces.append((at_s, rate_hz, sound[: 2 * kept]))
            self._end_s = at_s + kept / rate_hz

    def sounding(self, last_s: float = KEPT_S) -> list[Sounding]:
        """What left in the last seconds, what follows each other without a pause joined."""
        since_s = monotonic_s() - last_s
        pieces = list(self._pieces)
        first = next(
            (n for n, (at_s, hz, pcm) in enumerate(pieces) if at_s + len(pcm) / 2 / hz > since_s),
            len(pieces),
        )
        stretches: list[Sounding] = []
        together: list[bytes] = []
        began_s = end_s = 0.0
        rate_hz = 0
        for at_s, hz, pcm in islice(pieces, first, None):
            if together and (hz != rate_hz or abs(at_s - end_s) > JUMP_S / 2):
                stretches.append(Sounding(b"".join(together), rate_hz, began_s))
                together = []
            if not together:
                began_s, rate_hz = at_s, hz
            together.append(pcm)
            end_s = at_s + len(pcm) / 2 / hz
        if together:
            stretches.append(Sounding(b"".join(together), rate_hz, began_s))
        return stretches
