"""How well a recogniser understands what a voice in training says: the share of words that came through.

A round trip: the test sentence, spoken by the weights, read back by a recogniser of this machine. Words are compared as
people hear them, without case and punctuation; where a language has no spaces, its signs are the words.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

_WORD = re.compile(r"[^\W_]+(?:['’][^\W_]+)*")
_NO_SPACES = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\u0e00-\u0eff]")
"""Kana, Han, Thai and Lao."""


def clear_words(said: str, heard: str) -> float | None:
    """Share of the words of ``said`` that are found in ``heard``, in order.

    Returns:
        0-1; None when nothing was to be said.

    Source: words less substitutions and deletions of the alignment behind the word error rate, over all words; unlike
    1 - WER it is never negative, because words that a recogniser adds are not counted.
    """
    wanted, found = words(said), words(heard)
    if not wanted:
        return None
    return round(_kept(wanted, found) / len(wanted), 4)


def words(text: str) -> list[str]:
    """The words of a text as they are compared."""
    found = []
    for word in _WORD.findall(unicodedata.normalize("NFKC", text).casefold()):
        word = word.replace("’", "'")
        found += list(word) if _NO_SPACES.search(word) else [word]
    return found


def _kept(wanted: Sequence[str], found: Sequence[str]) -> int:
    """Matches in the alignment with the fewest errors; of several, the one with the most matches."""
    # Each cell: (errors, -matches), the cheapest way to align the words up to here.
    row = [(n, 0) for n in range(len(found) + 1)]
    for i, word in enumerate(wanted, 1):
        before, row = row, [(i, 0)]
        for j, other in enumerate(found, 1):
            errors, matches = before[j - 1]
            straight = (errors, matches - 1) if word == other else (errors + 1, matches)
            dropped = (before[j][0] + 1, before[j][1])
            added = (row[j - 1][0] + 1, row[j - 1][1])
            row.append(min(straight, dropped, added))
    return -row[-1][1]
