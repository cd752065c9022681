"""Names of expressions and motions as models give them, made such that a person can type them and a cue can carry them.

`avatar/names.js` does the same in the pages: there a name leads back to the model's own one.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

LONGEST = 64
_OTHER = re.compile(r"[^\w .'-]")
_START = re.compile(r"^[\W_]+")


def usable(name: str) -> str:
    """The name with every other character than letters, digits, spaces and _ . ' - as "_"; it may become empty."""
    return _START.sub("", _OTHER.sub("_", name))[:LONGEST]


def distinct(names: Iterable[str]) -> list[str]:
    """The usable ones, each once, however it is written; in their order."""
    found: dict[str, str] = {}
    for name in map(usable, names):
        if name:
            found.setdefault(name.casefold(), name)
    return list(found.values())
