"""How good a clip is for training, in one letter and in words. Numbers in, words out; no sound is read here.

A: as it should be. B: usable, something is not ideal. C: better recorded again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Grade = Literal["A", "B", "C"]

SHORTEST_S, LONGEST_S = 2.0, 10.0  # what trainers like; outside it is still used
TOO_SHORT_S, TOO_LONG_S = 1.0, 12.0


@dataclass(frozen=True, slots=True)
class Limit:
    """A measure and where it stops being good.

    Attributes:
        measure: Its name in the measures of a clip.
        reason: What is said when it is not good.
        fair: From here on the clip is B.
        poor: From here on the clip is C.
        high_is_bad: Which side of the limits is the bad one.
    """

    measure: str
    reason: str
    fair: float
    poor: float
    high_is_bad: bool = True

    def grade(self, value: float) -> Grade:
        """The grade of this measure alone."""
        sign = 1 if self.high_is_bad else -1
        if sign * value > sign * self.poor:
            return "C"
        return "B" if sign * value > sign * self.fair else "A"


LIMITS = (
    # A tenth of a millisecond of flat tops a second is heard by nobody; 2 ms a second crackle.
    Limit("clipped", "clipped", 0.0001, 0.002),
    Limit("snr_db", "noise", 28.0, 16.0, high_is_bad=False),
    # Dry rooms read up to 0.29, heavy echo of 0.5 s 0.37 and more (the estimate reads low).
    Limit("echo_s", "room echo", 0.34, 0.48),
    # Telephone sound ends at 4 kHz, voices of 16 kHz at 8.
    Limit("bandwidth_hz", "narrow band", 7_000.0, 4_500.0, high_is_bad=False),
    Limit("duration_s", "too short", SHORTEST_S - 0.05, TOO_SHORT_S, high_is_bad=False),
    Limit("duration_s", "too long", LONGEST_S + 0.5, TOO_LONG_S + 0.05),
    # Quieter than this, what 16 bits round away is heard after amplifying.
    Limit("source_lufs", "too quiet", -48.0, -60.0, high_is_bad=False),
    # Right transcripts read 0.31 to 0.37, wrong ones 0.49 and more.
    Limit("match", "words differ", 0.41, 0.46),
    Limit("speech_share", "mostly silence", 0.4, 0.2, high_is_bad=False),
)


def grade(measures: Mapping[str, float]) -> tuple[Grade, tuple[str, ...]]:
    """The grade of a clip and why it is not A, the worst reason first. What was not measured counts for nothing."""
    found = [
        (limit.grade(measures[limit.measure]), limit.reason)
        for limit in LIMITS
        if limit.measure in measures
    ]
    bad = sorted(
        ((letter, reason) for letter, reason in found if letter != "A"),
        key=lambda one: one[0],
        reverse=True,
    )
    return (bad[0][0] if bad else "A"), tuple(reason for _, reason in bad)
