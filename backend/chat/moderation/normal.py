"""What viewers type, as it reads: folded characters, each with the place in the text it came from.

Folding takes every character apart (NFKD), drops what cannot be seen or only decorates (zero width, direction marks,
stacked accents), lowers its case and replaces look-alikes by the letter they look like. It is one look-up a character,
so its cost grows with the length alone. What is left to decide (is "1" an i or an l, is "!" a letter or a mark?) is
left to `automaton`, which knows the words.
"""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass

from backend.chat.moderation.confusables import LOOKS_LIKE

CACHE_CHARS = 20_000
"""Characters whose folding is remembered: more than any language uses, less than somebody can send."""

_INVISIBLE = frozenset("\u115f\u1160\u3164\uffa0\u17b4\u17b5\u034f\u180b\u180c\u180d\u180f")
"""Letters and marks without ink that Unicode files under visible categories."""

_BLANK = frozenset("\u2800")
"""Drawn as nothing, as wide as a letter: a space."""

_cache: dict[str, str] = {}


@dataclass(frozen=True, slots=True)
class Folded:
    """A text as it reads.

    Attributes:
        text: The folded characters.
        at: For each of them the index in the original that it came from, never falling.
        original: What was folded.
    """

    text: str
    at: list[int]
    original: str

    def span(self, start: int, end: int) -> tuple[int, int]:
        """Folded characters ``start`` to ``end`` (exclusive) as a range of the original, with the marks on them."""
        first = self.at[start]
        last = self.at[end - 1] + 1
        after = self.at[end] if end < len(self.at) else len(self.original)
        while last < after and not fold_char(self.original[last]):
            last += 1
        return first, last


def fold(text: str) -> Folded:
    """Fold a text; linear in its length."""
    if text.isascii():
        return Folded(text.lower(), list(range(len(text))), text)
    chars: list[str] = []
    at: list[int] = []
    for index, char in enumerate(text):
        plain = _cache.get(char)
        if plain is None:
            plain = fold_char(char)
        for one in plain:
            chars.append(one)
            at.append(index)
    return Folded("".join(chars), at, text)


def fold_char(char: str) -> str:
    """One character as it reads: nothing, one or several."""
    known = _cache.get(char)
    if known is not None:
        return known
    made = _made(char)
    if len(_cache) >= CACHE_CHARS:
        _cache.clear()
    _cache[char] = made
    return made


def is_mark(char: str) -> bool:
    """Whether it only decorates the character before it, or cannot be seen."""
    return not fold_char(char)


def masked(text: str, ranges: list[tuple[int, int]], sign: str = "*") -> str:
    """The text with everything in the ranges covered but white space; marks on what is covered go with it."""
    if not ranges:
        return text
    pieces: list[str] = []
    done = 0
    for start, end in sorted(ranges):
        start = max(start, done)
        if start >= end:
            continue
        pieces.append(text[done:start])
        pieces += [
            char if char.isspace() else sign for char in text[start:end] if not is_mark(char)
        ]
        done = end
    pieces.append(text[done:])
    return "".join(pieces)


def _made(char: str) -> str:
    if char in _BLANK:
        return " "
    if _is_dropped(char):
        return ""
    if (alike := LOOKS_LIKE.get(char)) is not None:
        return alike
    if char.isspace() or unicodedata.category(char) in ("Cc", "Cs", "Co", "Cn"):
        return " "
    found: list[str] = []
    for part in unicodedata.normalize("NFKD", char):
        if _is_dropped(part):
            continue
        alike = LOOKS_LIKE.get(part)
        if alike is None:
            lowered = part.casefold()
            alike = LOOKS_LIKE.get(lowered, lowered)
        found.append(" " if alike.isspace() else alike)
    return "".join(found)


def _is_dropped(char: str) -> bool:
    """Whether nothing of it is read: no ink, or a mark that letters are readable without."""
    if char.isascii():
        return False
    if char in _INVISIBLE:
        return True
    category = unicodedata.category(char)
    if category in ("Cf", "Me"):
        return True
    if category != "Mn":
        return False
    # Kept are marks that make another letter: voicing of kana, nukta and virama of Indian scripts (classes 7 to 9), and
    # vowel signs (class 0). The rest is accents, enclosing and stacked marks, Hebrew points, Arabic vowels.
    order = unicodedata.combining(char)
    return order not in (0, 7, 8, 9) or 0xFE00 <= ord(char) <= 0xFE0F or ord(char) >= 0xE0100
