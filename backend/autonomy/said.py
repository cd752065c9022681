"""What she said in the last hours, so that she does not say it again.

Two texts are alike when they share most of their runs of letters: names and small words may differ. That works without
spaces, and without knowing the language.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

MOST = 300
"""Texts that are remembered; an evening of them."""
HOURS = 6.0
RUN = 4
"""Letters in a run."""
ALIKE = 0.6
READ_CHARS = 1_000
KEPT = 60
"""Texts that are kept over a crash."""


@dataclass(frozen=True, slots=True)
class _Said:
    at: datetime
    text: str
    runs: frozenset[str]


class Said:
    """Newest last; moments are aware."""

    def __init__(self, hours: float = HOURS) -> None:
        self._age = timedelta(hours=hours)
        self._said: deque[_Said] = deque(maxlen=MOST)

    def __len__(self) -> int:
        return len(self._said)

    def add(self, text: str, at: datetime) -> None:
        """She said this."""
        runs = runs_of(text)
        if runs:
            self._said.append(_Said(at, text[:READ_CHARS], runs))

    def likeness(self, text: str, at: datetime) -> float:
        """How much it is like what she said, 0-1."""
        runs = runs_of(text)
        return max((_alike(runs, one.runs) for one in self._lately(at)), default=0.0)

    def is_repeat(self, text: str, at: datetime) -> bool:
        """Whether she said about that."""
        return self.likeness(text, at) >= ALIKE

    def newest(self, count: int, at: datetime) -> list[str]:
        """The last things she said, oldest first."""
        return [one.text for one in self._lately(at)][-count:]

    def dump(self) -> list[list[str]]:
        """What must be known after a crash."""
        return [[one.at.isoformat(), one.text] for one in list(self._said)[-KEPT:]]

    def load(self, kept: Iterable[object]) -> None:
        """Go on with what was kept; what cannot be read is left out."""
        for each in kept:
            match each:
                case [str(at), str(text)]:
                    try:
                        moment = datetime.fromisoformat(at)
                    except ValueError:
                        continue
                    if moment.tzinfo is not None:
                        self.add(text, moment)

    def _lately(self, at: datetime) -> list[_Said]:
        # Compared with both sides: the clock may have gone back.
        return [one for one in self._said if abs(at - one.at) < self._age]


def runs_of(text: str) -> frozenset[str]:
    """Runs of letters; of a shorter text, all of it."""
    letters = "".join(char for char in text[:READ_CHARS].casefold() if char.isalnum())
    if len(letters) <= RUN:
        return frozenset((letters,)) if letters else frozenset()
    return frozenset(letters[at : at + RUN] for at in range(len(letters) - RUN + 1))


def _alike(one: frozenset[str], other: frozenset[str]) -> float:
    """Share of the shorter text that the other has too; a short one inside a long one is no repeat of it."""
    if not one or not other:
        return 0.0
    shorter, longer = sorted((one, other), key=len)
    if len(longer) > 3 * len(shorter):
        return len(one & other) / len(one | other)
    return len(one & other) / len(shorter)
