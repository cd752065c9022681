"""What viewers type, as it reads: folded characters, each with the place in the text it came from.

Folding takes every character apart (NFKD), drops what cannot be seen or only decorates (zero width, direction marks,
stacked accents), lowers its case and replaces look-alikes by the letter they look like. It is one look-up a character,
so its cost grows with the length alone. What is left to decide (is "1" an i or an l, is "!" a letter or a mark?) is
left to `automaton`, which knows the words.
"""

from __future__ import annotations

import html
import re
import unicodedata
from dataclasses import dataclass

from backend.chat.moderation.confusables import LOOKS_LIKE

CACHE_CHARS = 20_000
"""Characters whose folding is remembered: more than any language uses, less than somebody can send."""

_INVISIBLE = frozenset("\u115f\u1160\u3164\uffa0\u17b4\u17b5\u034f\u180b\u180c\u180d\u180f")
"""Letters and marks without ink that Unicode files under visible categories."""

_BLANK = frozenset("\u2800")
"""Drawn as nothing, as wide as a letter: a space."""

_OVERRIDES = re.compile("[\u00ad\u061c\u180e\u200b\u202a-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]+")
"""Soft hyphens, spaces without width, marks that turn what follows around."""

_TAGS = re.compile("[\U000e0000-\U000e007f]+")

_ESCAPED = re.compile(
    r"&(?:amp;){0,3}(?:#\d{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z][A-Za-z0-9]{1,31});"
    r"|%[0-7][0-9a-fA-F]|\\u[0-9a-fA-F]{4}|\\u\{[0-9a-fA-F]{1,6}\}|\\x[0-9a-fA-F]{2}"
)
"""A character as pages (``&#98;``), addresses (``%62``) and programs (``\\u0062``) write it."""

_ASIDE = re.compile(
    r"<[^<>]{0,200}>|\([^()\n]{0,60}\)|\[[^\[\]\n]{0,60}\]|\*[^*\n]{1,60}\*|\{[^{}\n]{0,60}\}"
)
"""Marks of pages and voices (``<break/>``), stage directions, and whatever else is put between brackets."""

_LONG_TAG = re.compile(r"<[^<>]{12,200}>")

NOISE_CHARS = 16
"""Of a longer row of signs and spaces the two ends say all there is to be read."""

_cache: dict[str, str] = {}


@dataclass(frozen=True, slots=True)
class Folded:
    """A text as it reads.

    Attributes:
        text: The folded characters.
        at: For each of them the index in the original that it came from, never falling.
        original: What was folded.
        until: For each of them where that ends, where it may be longer than one character; None = it never is.
    """

    text: str
    at: list[int]
    original: str
    until: list[int] | None = None

    def span(self, start: int, end: int) -> tuple[int, int]:
        """Folded characters ``start`` to ``end`` (exclusive) as a range of the original, with the marks on them."""
        first = self.at[start]
        last = self.until[end - 1] if self.until is not None else self.at[end - 1] + 1
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


def unescaped(text: str) -> Folded | None:
    """The text folded with characters that are written as their numbers; None where there are none."""
    if "&" not in text and "%" not in text and "\\" not in text:
        return None
    chars: list[str] = []
    at: list[int] = []
    until: list[int] = []

    def add(plain: str, start: int, end: int) -> None:
        chars.extend(plain)
        at.extend([start] * len(plain))
        until.extend([end] * len(plain))

    done = 0
    for match in _ESCAPED.finditer(text):
        plain = _unescaped(match[0])
        if plain is None:
            continue
        for index in range(done, match.start()):
            add(fold_char(text[index]), index, index + 1)
        for char in plain:
            add(fold_char(char), match.start(), match.end())
        done = match.end()
    if not done:
        return None
    for index in range(done, len(text)):
        add(fold_char(text[index]), index, index + 1)
    return Folded("".join(chars), at, text, until)


def _unescaped(written: str) -> str | None:
    """What an escape stands for; None when for nothing."""
    if written[0] == "&":
        while written.startswith("&amp;"):
            written = "&" + written[5:]
        plain = html.unescape(written)
        return plain if plain != written else None
    code = int(written.lstrip("%\\xu").strip("{}"), 16)
    return chr(code) if code <= 0x10FFFF else None


def without_asides(text: str) -> str:
    """The text with blanks in place of everything between brackets, so that each character keeps its place."""
    if not any(sign in text for sign in "<([*{"):
        return text
    return _ASIDE.sub(lambda found: " " * len(found[0]), text)


def seen(text: str) -> str:
    """The text without what cannot be seen and only disguises it; joiners, which emoji and Persian need, stay."""
    if text.isascii():
        return text
    text = _OVERRIDES.sub("", text)
    # Letters that only a language model reads; the flags of England, Scotland and Wales are made of them.
    return text if "\U0001f3f4" in text else _TAGS.sub("", text)


def condensed(text: str) -> str:
    """The text without unseen characters, stacked marks and long tags, and no more than the ends of long rows of signs.

    It reads the same; whoever puts a thousand dots between two letters has put some there.
    """
    out: list[str] = []
    noise: list[str] = []

    def flush() -> None:
        half = NOISE_CHARS // 2
        out.extend(noise if len(noise) <= NOISE_CHARS else (*noise[:half], *noise[-half:]))
        noise.clear()

    for char in _LONG_TAG.sub("<>", text):
        plain = char if char.isascii() else fold_char(char)
        if not plain:
            continue
        if plain.isalnum():
            flush()
            out.append(char)
        else:
            noise.append(char)
    flush()
    return "".join(out)


def tail_at(text: str, count: int) -> int:
    """From where on the end of a text holds ``count`` characters, counted as `condensed` does."""
    noise = 0
    for index in range(len(text) - 1, -1, -1):
        plain = fold_char(text[index])
        if not plain:
            continue
        noise = 0 if plain.isalnum() else noise + 1
        count -= noise <= NOISE_CHARS
        if count <= 0:
            return index
    return 0


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
