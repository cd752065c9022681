"""Which word of a sentence ends when, from the times of the phonemes that a voice made of it.

Voices tell phonemes with times, but not which word each belongs to, and say more than is written ("42", "Dr."). So the
letters are laid along the phonemes at the least cost, as one lays one text along another to compare them (Needleman and
Wunsch, 1970): a letter may meet a sound it can stand for, be silent, or a sound may have no letter; words begin after
pauses rather than inside them. Letters of other scripts meet any sound, as many as there are for each of them.
"""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Sequence
from functools import lru_cache
from itertools import pairwise

from backend.contracts.entities import PhonemeTime

DIGIT_LETTERS = 4
"""A digit is said with about as many sounds."""

SILENT = 0.45
ADDED = 0.55
ADDED_IN_NUMBER = 0.15
UNKNOWN = 0.3
VOWEL = 0.15
UNLIKE = 1.2
PAUSE_INSIDE = 0.8
PAUSE_BETWEEN = -0.5
PAUSE_AT_MARK = -1.5

PAUSE_S = 0.05
NARROWEST = 14
"""Sounds by which the path may stray from the straight line at least; a share of the sentence in long ones."""

STRAYS = 0.12

_VOWELS = frozenset("aeiouyæœøɐɑɒɔəɘɚɛɜɝɞɤɨɪɯɵɶʉʊʌʏᵻ")  # noqa: RUF001 - IPA, not letters
_SPELLED = {
    "p": "p", "b": "b", "t": "td", "d": "dt", "ɾ": "tdr", "ʔ": "t", "k": "kcqxg", "ɡ": "gk", "g": "gk",  # noqa: RUF001 - IPA, not letters
    "f": "fpv", "v": "vwfb", "β": "bv", "θ": "tzc", "ð": "td", "s": "scxzß", "z": "zsx", "ʃ": "scth",
    "ʒ": "szgj", "ʂ": "sr", "ɕ": "sc", "ç": "cghj", "x": "cghjx", "χ": "cgh", "ɣ": "g", "h": "hjg", "ɦ": "h",  # noqa: RUF001 - IPA
    "m": "mn", "n": "n", "ɲ": "ng", "ŋ": "ng", "l": "l", "ɫ": "l", "ʎ": "ly", "ɹ": "r", "r": "r", "ʁ": "r",
    "ʀ": "r", "ɻ": "r", "j": "yijue", "w": "wuoq", "ɥ": "uy",
}  # fmt: skip
_ENDS = '.,;:!?…—–)"”'


class _Letter:
    __slots__ = ("begins", "is_digit", "mark", "word")

    def __init__(self, mark: str, word: int, begins: float, *, is_digit: bool) -> None:
        self.mark = mark
        self.word = word
        self.begins = begins
        """Cost of a pause before it."""
        self.is_digit = is_digit


def word_ends(words: Sequence[str], phonemes: Sequence[PhonemeTime]) -> list[float]:
    """The end of each word in seconds, never before the one before; a word without a sound ends with the one before.

    Args:
        words: As they are shown; what is not spoken (emoji) costs nothing.
        phonemes: In order, with times.
    """
    sounds = [phoneme for phoneme in phonemes if phoneme.end_s > phoneme.start_s]
    letters = _letters(words, len(sounds))
    ends = [0.0] * len(words)
    if letters and sounds:
        for letter, sound in _path(letters, sounds):
            word = letters[letter].word
            ends[word] = max(ends[word], sounds[sound].end_s)
    for n in range(1, len(ends)):
        ends[n] = max(ends[n], ends[n - 1])
    return ends


def _letters(words: Sequence[str], sounds: int) -> list[_Letter]:
    spelled = [unicodedata.normalize("NFKD", word.casefold()) for word in words]
    marks = [mark for word in spelled for mark in word if mark.isalnum()]
    foreign = sum(_is_foreign(mark) for mark in marks)
    known = sum(DIGIT_LETTERS if mark.isdigit() else not _is_foreign(mark) for mark in marks)
    # A kana is two sounds, a Chinese character three or four.
    each = max(1, round((sounds - known) / foreign)) if foreign else 1
    letters: list[_Letter] = []
    pause = PAUSE_BETWEEN
    for n, word in enumerate(spelled):
        begins = pause
        for mark in word:
            if not mark.isalnum():
                continue
            count = DIGIT_LETTERS if mark.isdigit() else each if _is_foreign(mark) else 1
            for _ in range(count):
                plain = "" if mark.isdigit() else mark
                letters.append(_Letter(plain, n, begins, is_digit=mark.isdigit()))
                begins = 0.0 if mark.isdigit() else PAUSE_INSIDE
            pause = PAUSE_BETWEEN
        if word[-1:] in _ENDS:
            pause = PAUSE_AT_MARK
    return letters


def _is_foreign(mark: str) -> bool:
    return mark.isalpha() and not mark.isascii() and mark != "ß"


def _path(letters: list[_Letter], sounds: list[PhonemeTime]) -> list[tuple[int, int]]:
    """Pairs (letter, sound) of the cheapest path; each sound belongs to one letter."""
    rows, columns = len(letters), len(sounds)
    slope = columns / rows
    width = max(NARROWEST, round(STRAYS * columns), 2 * math.ceil(slope))
    kinds = [_kind(sound.phoneme) for sound in sounds]
    rests = [
        False,
        *(after.start_s - before.end_s > PAUSE_S for before, after in pairwise(sounds)),
    ]
    # best[i][j]: cheapest way to have used i letters and j sounds; came[i][j]: 0 both, 1 a letter, 2 a sound
    before: dict[int, float] = {0: 0.0}
    for j in range(1, min(columns, width) + 1):
        before[j] = before[j - 1] + ADDED
    came: list[dict[int, int]] = [dict.fromkeys(before, 2)]
    for i in range(1, rows + 1):
        letter = letters[i - 1]
        mark = letter.mark
        added = ADDED_IN_NUMBER if letter.is_digit else ADDED
        centre = i * slope
        row: dict[int, float] = {}
        ways: dict[int, int] = {}
        here = math.inf
        for j in range(max(0, int(centre) - width), min(columns, int(centre) + width + 1) + 1):
            cost, way = before.get(j, math.inf) + SILENT, 1
            if j:
                both = before.get(j - 1, math.inf)
                if both < cost:
                    both += _likeness(mark, kinds[j - 1])
                    if rests[j - 1]:
                        both += letter.begins
                    if both < cost:
                        cost, way = both, 0
                alone = here + added
                if rests[j - 1]:
                    alone += 0.0 if letter.is_digit else PAUSE_INSIDE
                if alone < cost:
                    cost, way = alone, 2
            row[j], ways[j] = cost, way
            here = cost
        before = row
        came.append(ways)
    pairs: list[tuple[int, int]] = []
    i, j = rows, columns
    while i or j:
        way = came[i].get(j, 1) if i else 2
        if way == 0:
            i, j = i - 1, j - 1
            pairs.append((i, j))
        elif way == 1:
            i -= 1
        else:
            j -= 1
            pairs.append((max(0, i - 1), j))
    pairs.reverse()
    return pairs


@lru_cache(maxsize=2048)
def _kind(phoneme: str) -> str:
    """The letters that can stand for a phoneme; "*" for a vowel."""
    first = next((mark for mark in phoneme if mark in _VOWELS or mark in _SPELLED), "")
    if first in _VOWELS:
        return "*"
    return "".join(_SPELLED[mark] for mark in phoneme if mark in _SPELLED)


@lru_cache(maxsize=8192)
def _likeness(letter: str, kind: str) -> float:
    if not letter:
        return 0.1  # a digit: any sound
    if letter in kind:
        return 0.0
    if not kind or not letter.isascii():
        return UNKNOWN
    if kind == "*":
        return VOWEL if letter in "aeiouyw" else UNLIKE
    return UNLIKE
