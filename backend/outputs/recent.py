"""The last seconds of what an output played, for whoever has to know the character's own voice again.

Written by the output's thread a few milliseconds at a time, read by the backend's loop; a deque of pairs needs no lock.
"""

from __future__ import annotations

from collections import deque
from itertools import islice
from typing import Any

from backend.core.clock import monotonic_s
from backend.outputs.base import KEPT_S, Sounding

JUMP_S = 0.012
"""What a device says about when a sound leaves it jitters by some ms; only a larger step is one, and only when it stays:"""
JUMP_PIECES = 8
PAUSE_S = 0.1
"""So large a step is one at once."""

REOPENED_S = 2.0
"""A device that was opened anew so soon after a sound may be earlier or later than the one before: its sound is not sure."""

_Piece = tuple[float, int, bytes, bool]


class Recent:
    """What left an output, with the time at which it did.

    Args:
        piece_s: Length of the pieces it is told of; sets how many are kept.
    """

    def __init__(self, piece_s: float) -> None:
        self._pieces: deque[_Piece] = deque(maxlen=round(KEPT_S / piece_s))
        self._end_s = 0.0
        self._rate_hz = 0
        self._is_running = False
        self._reopened = False
        self._strayed = 0

    def add(self, pcm: Any, rate_hz: int, leaves_s: float, *, ran_dry: bool = False) -> None:
        """Note a piece of PCM16 whose first sample leaves at ``leaves_s`` (monotonic).

        Args:
            pcm: The samples.
            rate_hz: Of the device.
            leaves_s: As the device says.
            ran_dry: Whether the device had nothing left before it.
        """
        sound = bytes(memoryview(pcm).cast("B"))
        stray_s = leaves_s - self._end_s
        is_sure = True
        # Follows the one before to the sample unless the device stopped, or the clocks say that something lies between.
        follows = (
            self._is_running and rate_hz == self._rate_hz and not ran_dry and abs(stray_s) < PAUSE_S
        )
        self._strayed = self._strayed + 1 if follows and abs(stray_s) >= JUMP_S else 0
        if follows and self._strayed < JUMP_PIECES:
            leaves_s = self._end_s + (stray_s * 0.02 if not self._strayed else 0.0)
        elif ran_dry or self._is_running:
            is_sure = False
        elif self._reopened:
            is_sure = stray_s > REOPENED_S
        self._strayed = self._strayed if self._strayed < JUMP_PIECES else 0
        self._is_running, self._reopened = True, False
        self._rate_hz = rate_hz
        self._end_s = leaves_s + len(sound) / 2 / rate_hz
        self._pieces.append((leaves_s, rate_hz, sound, is_sure))

    def silence(self, samples: int) -> None:
        """Samples of silence follow."""
        if self._rate_hz:
            self._end_s += samples / self._rate_hz

    def rested(self, *, reopened: bool = False) -> None:
        """The device has stopped, or was opened anew: what comes next begins when it says."""
        self._is_running = False
        self._reopened = self._reopened or reopened

    def take_back(self, samples: int) -> None:
        """Forget the newest samples: the device threw them away."""
        while samples > 0 and self._pieces:
            at_s, rate_hz, sound, is_sure = self._pieces.pop()
            kept = max(0, len(sound) // 2 - samples)
            samples -= len(sound) // 2 - kept
            if kept:
                self._pieces.append((at_s, rate_hz, sound[: 2 * kept], is_sure))
            self._end_s = at_s + kept / rate_hz

    def sounding(self, last_s: float = 3.0) -> list[Sounding]:
        """What left in the last seconds, what follows each other without a pause joined."""
        since_s = monotonic_s() - last_s
        pieces = list(self._pieces)
        first = next(
            (
                n
                for n, piece in enumerate(pieces)
                if piece[0] + len(piece[2]) / 2 / piece[1] > since_s
            ),
            len(pieces),
        )
        stretches: list[Sounding] = []
        together: list[bytes] = []
        began_s = end_s = 0.0
        rate_hz, began_sure = 0, True
        for at_s, hz, pcm, is_sure in islice(pieces, first, None):
            if together and (hz != rate_hz or not is_sure or abs(at_s - end_s) > JUMP_S / 2):
                stretches.append(Sounding(b"".join(together), rate_hz, began_s, began_sure))
                together = []
            if not together:
                began_s, rate_hz, began_sure = at_s, hz, is_sure
            together.append(pcm)
            end_s = at_s + len(pcm) / 2 / hz
        if together:
            stretches.append(Sounding(b"".join(together), rate_hz, began_s, began_sure))
        return stretches
