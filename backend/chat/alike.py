"""What a message of a viewer says, as far as a queue must know: its words, whether it asks, whether two say the same.

Every pattern and loop here is linear in the text and looks at its first characters only: whatever is typed costs
microseconds.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable

from backend.contracts.audience import AudienceMessage

READ_CHARS = 600
"""Of a text; a platform's messages have at most 500."""
MOST_WORDS = 40
LONGEST_WORD = 40

_WORD = re.compile(r"[^\W_]+(?:['’][^\W_]+)*")
_NUMBER = re.compile(r"[-+]?\d+(?:[.,:/*x^+-]\d+)*")
_ASKS = frozenset(
    "who what when where why how which whose can could would will do does did is are am was were should shall may"
    " wer was wann wo warum wieso wie welche welcher kannst könntest magst hast bist gibt"
    " qué que quién cuándo dónde cómo cuál puedes eres"
    " qui quoi quand où pourquoi comment quel quelle est-ce peux"
    " quem quando onde porque como qual chi cosa dove perché come quale".split()
)
_MARKS = "?？؟⁇⁈⁉"


def words_of(text: str) -> frozenset[str]:
    """The words of a text, however they are written: width, case, stretched letters and signs make no difference."""
    plain = unicodedata.normalize("NFKC", text[:READ_CHARS])[:READ_CHARS].casefold()
    found: set[str] = set()
    for word in _WORD.findall(plain):
        if len(found) >= MOST_WORDS:
            break
        if _is_unspaced(word):
            # No spaces between words there: pairs of characters do instead.
            found.update(word[at : at + 2] for at in range(min(len(word) - 1, MOST_WORDS)))
        else:
            found.add(_unstretched(word)[:LONGEST_WORD])
    return frozenset(found)


def gist_of(text: str) -> frozenset[str]:
    """What two messages must have in common to say the same: their words, and all their numbers in order as one more.

    "vote 1" and "vote 2" have nothing to do with each other, nor have "2:1" and "1:2".
    """
    plain = unicodedata.normalize("NFKC", text[:READ_CHARS])[:READ_CHARS]
    numbers = _NUMBER.findall(plain)
    return words_of(text) | {" ".join(numbers)} if numbers else words_of(text)


def are_alike(one: frozenset[str], other: frozenset[str], share: float) -> bool:
    """Whether two of `gist_of` say the same: ``share`` of all their words in common, and every number."""
    if not one or not other:
        return False
    if one == other:
        return True
    common = len(one & other)
    if common < share * (len(one) + len(other) - common):
        return False
    return not any(char.isdigit() for word in one ^ other for char in word)


def asks(text: str) -> bool:
    """Whether it looks like a question."""
    start = text[:READ_CHARS]
    if any(mark in start for mark in _MARKS):
        return True
    first = _WORD.search(start)
    return first is not None and first[0].casefold() in _ASKS


def is_wordless(message: AudienceMessage) -> bool:
    """Whether nothing is left without its emotes that could be read."""
    text = message.text[:READ_CHARS]
    for emote in sorted(message.emotes[:READ_CHARS], key=lambda one: -one.start):
        if emote.start < emote.end:
            text = text[: emote.start] + " " + text[emote.end :]
    return not any(char.isalnum() for char in text)


def names_one_of(text: str, names: Iterable[str]) -> bool:
    """Whether one of the names stands in the text, all of its words."""
    words = words_of(text)
    return any(bool(own := words_of(name)) and own <= words for name in names)


def _is_unspaced(word: str) -> bool:
    return len(word) > 1 and any(
        "\u3040" <= char <= "\u30ff" or "\u3400" <= char <= "\u9fff" for char in word
    )


def _unstretched(word: str) -> str:
    """A word with at most two of a letter in a row: "pleeease" is "pleease" and, as most write it, the same as "pleeeease"."""
    if word.isdigit():
        return word
    kept: list[str] = []
    for char in word:
        if len(kept) < 2 or char != kept[-1] or char != kept[-2]:
            kept.append(char)
    return "".join(kept)
