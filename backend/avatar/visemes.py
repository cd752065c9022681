"""Shapes of the mouth from the phonemes of a sentence and their times.

What a voice calls its phonemes is read mark by mark: IPA as espeak-ng and Piper give it, some of it in ASCII ("tS", "s."), or the
letters of a voice that was trained on letters; stress, length, tone and other marks say nothing about the mouth. Pure and quick
(0.2 ms for a sentence of 5 s): it runs in the backend's loop between the voice and the loudspeaker.
"""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

from backend.contracts.avatar import MouthTime, Viseme
from backend.contracts.entities import PhonemeTime

LEVEL_S = 0.02
"""Length of sound behind each entry of ``levels``."""

MOST_LEAD_MS = 40
"""Lips move before their sound: in running speech -20 to 70 ms (Schwartz and Savariaux 2014, "No, there is no 150 ms lead of visual
speech on auditory speech", PLoS Comput Biol 10(7) e1003743). 40 ms is also below the 45 ms from which people notice that a
picture is early (ITU-R BT.1359-1)."""
_LEADS_MS: dict[Viseme, int] = {"PP": 20, "FF": 20, "oh": 40, "ou": 40, "sil": 0}
"""Rounding is prepared longest; a closure has its silence inside its own time. The mouth does not close before the sound ends."""
_LEAD_MS = 20

CLOSED_MS = 50
"""A closed mouth is seen from two to three frames on: at 60 a second three, at 30 two with one to spare."""
SHORTEST_MS = 25
"""What is shorter (a tapped r between two vowels) is not drawn; its time goes to its neighbour."""
KEPT_MS = 15
"""What a neighbour keeps when a closure takes its time."""
PAUSE_MS = 60
"""Shorter gaps between phonemes are how voices write times down, not pauses."""

LONGEST_S = 3600.0
"""What lies further out is no time in a sentence."""

MOST_WEIGHT = 1.0
SAME_WEIGHT = 0.15
"""Weights read off a sound that are this near to each other are one shape; larger steps are the mouth opening and closing."""

_CLOSURES = frozenset[Viseme](("PP", "FF"))

_VOWELS: dict[str, tuple[Viseme, float]] = {
    "a": ("aa", 1.0), "ɑ": ("aa", 1.0), "ä": ("aa", 1.0), "æ": ("aa", 0.85), "ɐ": ("aa", 0.8), "ʌ": ("aa", 0.75), "ɶ": ("aa", 0.9),
    "e": ("E", 0.7), "ɛ": ("E", 0.85), "ɜ": ("E", 0.7), "ɞ": ("E", 0.7), "ə": ("E", 0.5), "ɘ": ("E", 0.5), "ɚ": ("E", 0.5),
    "ɝ": ("E", 0.6), "ɤ": ("E", 0.6),
    "i": ("ih", 0.6), "ɪ": ("ih", 0.6), "ɨ": ("ih", 0.5), "ᵻ": ("ih", 0.5), "ɯ": ("ih", 0.45), "ı": ("ih", 0.5),  # noqa: RUF001 - IPA, not letters
    "o": ("oh", 0.8), "ɔ": ("oh", 0.9), "ɒ": ("oh", 0.9), "ø": ("oh", 0.7), "œ": ("oh", 0.75), "ɵ": ("oh", 0.6),
    "u": ("ou", 0.7), "ʊ": ("ou", 0.65), "ᵿ": ("ou", 0.6), "ʉ": ("ou", 0.6), "y": ("ou", 0.65), "ʏ": ("ou", 0.6),  # noqa: RUF001 - IPA, not letters
}  # fmt: skip
_CONSONANTS: dict[Viseme, str] = {
    "PP": "pbmɓʙ",
    # β and ɸ bring the lips as near to each other as f brings them to the teeth.
    "FF": "fvɱʋⱱβɸ",  # noqa: RUF001 - IPA, not letters
    "TH": "θðþ",
    "DD": "tdʈɖɗɾɽᶑ",
    "kk": "kɡgcɟqɢɠʛŋɴxɣχʁħʕʢʡɰçʝʜƙʄ",  # noqa: RUF001 - IPA, not letters
    "CH": "ʃʒɕʑʂʐʧʤʨʥɧ",
    "SS": "szʦʣɬɮſß",  # noqa: RUF001 - IPA, not letters
    "nn": "nlɲɳɫɭʎʟɺł",
    "RR": "rɹɻʀ",
    "ih": "j",
    "ou": "wɥʍ",
}  # fmt: skip
_CONSONANT_WEIGHTS: dict[Viseme, float] = {"PP": 1.0, "FF": 0.9, "ih": 0.45, "ou": 0.7}
_CONSONANT_WEIGHT = 0.65
_AS_NEIGHBOUR = frozenset("hɦʔ?ʼʿʾ")  # noqa: RUF001 - IPA, not letters
"""Made behind the mouth, which shows the vowel that follows."""
_ASCII = {
    "A": "ɑ", "E": "ɛ", "I": "ɪ", "O": "ɔ", "U": "ʊ", "V": "ʌ", "@": "ə", "3": "ɜ", "Q": "ɒ", "S": "ʃ", "Z": "ʒ",
    "T": "θ", "D": "ð", "N": "ŋ", "R": "ʁ", "H": "ħ",
}  # fmt: skip
"""Kirshenbaum's ASCII for IPA: espeak writes so what it has no IPA for ("tS", "dZ")."""

_SHAPES: dict[str, tuple[Viseme, float]] = dict(_VOWELS) | {
    mark: (shape, _CONSONANT_WEIGHTS.get(shape, _CONSONANT_WEIGHT))
    for shape, marks in _CONSONANTS.items()
    for mark in marks
}
_UNKNOWN: tuple[Viseme, float] = ("E", 0.5)
"""A sound that nobody knows still opens the mouth a little."""

_SYLLABLES = ("HIRAGANA", "KATAKANA", "HANGUL", "ETHIOPIC", "CHEROKEE", "BOPOMOFO")
"""Scripts whose letters are named by all their sounds ("KATAKANA LETTER KA")."""

_QUIET_DB, _LOUD_DB = -30.0, -6.0
"""Below the loudest of the sentence; between them an open mouth goes from half its way to all of it."""
_SILENT_DB = -45.0
"""Nothing sounds: the mouth of an open shape rests."""


@dataclass(slots=True)
class _Shape:
    """One shape while the times are worked out; ms from the start of the sound.

    Attributes:
        lead: How long before its own sound it begins.
    """

    viseme: Viseme
    start: int
    end: int
    weight: float
    lead: int = 0

    @property
    def length(self) -> int:
        return self.end - self.start


def from_phonemes(
    phonemes: Sequence[PhonemeTime], duration_s: float, levels: Sequence[float] = ()
) -> tuple[MouthTime, ...]:
    """Shapes in order that cover the sound without gap or overlap, "sil" where nothing is said; empty without phonemes.

    Args:
        phonemes: As the voice gave them; what lies outside the sound or is no time is left out.
        duration_s: Length of the sound.
        levels: dBFS of each `LEVEL_S` of the sound; loud vowels open wider. Empty = not known.
    """
    total = math.floor(duration_s * 1000) if 0 < duration_s < LONGEST_S else 0
    if total <= 0:
        return ()
    shapes = _spread(_timed(phonemes, total))
    if not shapes:
        return ()
    return _packed(_arranged(shapes, total, MOST_WEIGHT), levels)


def from_shapes(
    found: Sequence[tuple[Viseme, float, float, float]], duration_s: float
) -> tuple[MouthTime, ...]:
    """The same from shapes that were read off the sound: (viseme, start in s, end in s, weight), see `backend.audio.formants`."""
    total = math.floor(duration_s * 1000) if 0 < duration_s < LONGEST_S else 0
    shapes = [
        _Shape(viseme, round(start_s * 1000), min(total, round(end_s * 1000)), weight)
        for viseme, start_s, end_s, weight in found
    ]
    shapes = [one for one in shapes if one.length > 0 and one.viseme != "sil"]
    if total <= 0 or not shapes:
        return ()
    return _packed(_arranged(shapes, total, SAME_WEIGHT), ())


def from_levels(levels: Sequence[float], duration_s: float) -> tuple[MouthTime, ...]:
    """A mouth that only opens and closes with the loudness, for when nothing better is there in time.

    Args:
        levels: dBFS of each `LEVEL_S` of the sound.
        duration_s: Length of the sound.
    """
    loudest = max(levels, default=-math.inf)
    if loudest < _ABSOLUTE_SILENCE_DBFS:
        return ()
    found: list[tuple[Viseme, float, float, float]] = []
    for n, level in enumerate(levels):
        opening = (level - loudest - _QUIET_DB) / (_LOUD_DB - _QUIET_DB)
        if opening > 0:
            # Steps of a quarter: equal neighbours become one.
            weight = min(4, math.ceil(opening * 4)) / 4
            found.append(("aa", n * LEVEL_S, (n + 1) * LEVEL_S, 0.2 + 0.8 * weight))
    return from_shapes(found, duration_s)


_ABSOLUTE_SILENCE_DBFS = -70.0


@lru_cache(maxsize=4096)
def shapes_of(phoneme: str) -> tuple[tuple[Viseme | None, float, float], ...]:
    """What the mouth does for one phoneme: (shape, weight, share of its time) in order, shares add up to 1.

    None is the shape of the neighbour; empty = it is no sound (a stress mark of its own, punctuation, a change of language "(en)").
    """
    if phoneme.startswith("(") and phoneme.endswith(")"):
        return ()
    found: list[tuple[Viseme | None, float]] = []
    for mark in unicodedata.normalize("NFC", phoneme)[:16]:
        found += _of_mark(mark)
    # An affricate is its friction; the tongue is behind it all the time.
    kept = [
        one
        for n, one in enumerate(found)
        if not (one[0] == "DD" and n + 1 < len(found) and found[n + 1][0] in ("CH", "SS"))
    ]
    sounding = [one for one in kept if one[0] is not None] or kept[:1]
    # Diphthongs spend more of their time at where they begin.
    parts = [1.3, *[1.0] * (len(sounding) - 1)] if sounding else []
    return tuple(
        (v, weight, p / sum(parts)) for (v, weight), p in zip(sounding, parts, strict=True)
    )


def _of_mark(mark: str) -> list[tuple[Viseme | None, float]]:
    if mark in _SHAPES:
        return [_SHAPES[mark]]
    if mark in _AS_NEIGHBOUR:
        return [(None, 0.5)]
    if mark in _ASCII:
        return [_SHAPES[_ASCII[mark]]]
    if not mark.isalpha() or unicodedata.category(mark) == "Lm":
        return []
    plain = unicodedata.normalize("NFD", mark.lower())[0]
    if plain in _SHAPES:
        return [_SHAPES[plain]]
    return _of_name(unicodedata.name(mark, ""))


def _of_name(name: str) -> list[tuple[Viseme | None, float]]:
    """The shapes of a letter of another script, from what Unicode calls it ("CYRILLIC SMALL LETTER BE", "HANGUL SYLLABLE HAN")."""
    script, _, called = name.partition(" ")
    said = called.split()[-1].lower() if called else ""
    if not (said.isascii() and said.isalpha()) or script == "CJK":
        return [_UNKNOWN]
    if script in _SYLLABLES:
        found = [_SHAPES[mark] for mark in said if mark in _SHAPES]
        return list(found) or [_UNKNOWN]
    if said[:2] in ("sh", "ch", "zh"):
        return [_SHAPES["ʃ"]]
    # Letters are called by their sound with a vowel after it, or before it as "ef", "em", "es".
    first = said[1] if len(said) == 2 and said[0] == "e" else said[0]
    if first == "h":
        return [(None, 0.5)]
    return [_SHAPES.get(first, _UNKNOWN)]


def _timed(phonemes: Sequence[PhonemeTime], total: int) -> list[tuple[str, int, int]]:
    """Phonemes in order, in whole ms, within the sound and without overlap; closures last at least 1 ms."""
    kept = sorted(
        (round(one.start_s * 1000), round(one.end_s * 1000), n, one.phoneme)
        for n, one in enumerate(phonemes)
        if abs(one.start_s) < LONGEST_S and abs(one.end_s) < LONGEST_S
    )
    timed: list[tuple[str, int, int]] = []
    for n, (start, end, _, phoneme) in enumerate(kept):
        after = kept[n + 1][0] if n + 1 < len(kept) else total
        begins = max(start, 0, timed[-1][2] if timed else 0)
        ends = min(end, max(after, begins), total)
        if ends <= begins < total and any(v in _CLOSURES for v, _, _ in shapes_of(phoneme)):
            ends = begins + 1
        if ends > begins:
            timed.append((phoneme, begins, ends))
    return timed


def _spread(timed: list[tuple[str, int, int]]) -> list[_Shape]:
    """Each phoneme as its shapes; those without one of their own take the next one's, or the last one's before a pause."""
    shapes: list[_Shape] = []
    waiting: list[tuple[int, int]] = []
    for phoneme, start, end in timed:
        if waiting and start - waiting[-1][1] >= PAUSE_MS:
            waiting = _settle(waiting, shapes)
        if not shapes_of(phoneme):
            # A mark with a time of its own ("ː", "ʲ") is still the sound before it.
            if shapes and start - shapes[-1].end < PAUSE_MS and any(map(str.isalpha, phoneme)):
                shapes[-1].end = end
            continue
        at = start
        share = 0.0
        for viseme, weight, part in shapes_of(phoneme):
            share += part
            until = start + round((end - start) * min(1.0, share))
            if viseme is None:
                waiting.append((at, until))
            elif until > at or viseme in _CLOSURES:
                until = max(until, min(end, at + 1))
                for began, ended in waiting:
                    own = "E" if viseme in _CLOSURES else viseme
                    shapes.append(_Shape(own, began, ended, weight * 0.6))
                waiting = []
                if until > at:
                    shapes.append(_Shape(viseme, at, until, weight))
            at = until
    _settle(waiting, shapes)
    return shapes


def _settle(waiting: list[tuple[int, int]], shapes: list[_Shape]) -> list[tuple[int, int]]:
    for began, ended in waiting:
        last = shapes[-1] if shapes else None
        near = last is not None and began - last.end < PAUSE_MS and last.viseme not in _CLOSURES
        viseme = last.viseme if near and last is not None else "E"
        shapes.append(_Shape(viseme, began, ended, 0.4))
    return []


def _arranged(shapes: list[_Shape], total: int, same: float) -> list[_Shape]:
    """Shapes that cover the whole sound: pauses, no crumbs, lips early, closures long enough to be seen.

    Neighbours of one shape become one where their weights differ by no more than ``same``.
    """
    line = _joined(_with_pauses(shapes, total), same)
    line = _joined(_without_crumbs(line), same)
    _lead(line)
    _hold_closures(line)
    return _joined(line, same)


def _with_pauses(shapes: list[_Shape], total: int) -> list[_Shape]:
    line: list[_Shape] = []
    at = 0
    for shape in shapes:
        if shape.start > at:
            if line and shape.start - at < PAUSE_MS:
                line[-1].end = shape.start
            else:
                line.append(_Shape("sil", at, shape.start, 0.0))
        line.append(shape)
        at = shape.end
    if at < total:
        line.append(_Shape("sil", at, total, 0.0))
    return line


def _joined(line: list[_Shape], same: float) -> list[_Shape]:
    joined: list[_Shape] = []
    for shape in line:
        if shape.length <= 0:
            continue
        last = joined[-1] if joined else None
        if last and last.viseme == shape.viseme and abs(last.weight - shape.weight) <= same:
            lengths = last.length + shape.length
            last.weight = (last.weight * last.length + shape.weight * shape.length) / lengths
            last.end = shape.end
        else:
            joined.append(_Shape(shape.viseme, shape.start, shape.end, shape.weight, shape.lead))
    return joined


def _without_crumbs(line: list[_Shape]) -> list[_Shape]:
    """Give the time of what is too short to be seen to the shape after it, before a pause to the one before."""
    kept: list[_Shape] = []
    given = 0
    for n, shape in enumerate(line):
        length = shape.length + given
        is_crumb = length < SHORTEST_MS and shape.viseme not in _CLOSURES and shape.viseme != "sil"
        has_next = n + 1 < len(line) and line[n + 1].viseme != "sil"
        if is_crumb and has_next:
            given = length
        elif is_crumb and kept and kept[-1].viseme != "sil":
            kept[-1].end = shape.end
            given = 0
        else:
            start = shape.start - given
            kept.append(_Shape(shape.viseme, start, shape.end, shape.weight, lead=given))
            given = 0
    return kept


def _lead(line: list[_Shape]) -> None:
    """Begin shapes before their sound, at the cost of at most half of the one before."""
    for before, shape in pairwise(line):
        wanted = _LEADS_MS.get(shape.viseme, _LEAD_MS) - shape.lead
        lead = max(0, min(wanted, before.length // 2))
        if before.viseme in _CLOSURES:
            lead = min(lead, max(0, before.length - CLOSED_MS))
        before.end -= lead
        shape.start -= lead
        shape.lead += lead


def _hold_closures(line: list[_Shape]) -> None:
    """Hold short closures long enough to be seen, with time of their neighbours; of the one before first, as lips do."""
    for n, shape in enumerate(line):
        if shape.viseme not in _CLOSURES:
            continue
        if n and (missing := CLOSED_MS - shape.length) > 0:
            taken = max(0, min(missing, _spare(line[n - 1]), MOST_LEAD_MS - shape.lead))
            line[n - 1].end -= taken
            shape.start -= taken
            shape.lead += taken
        if n + 1 < len(line) and (missing := CLOSED_MS - shape.length) > 0:
            taken = min(missing, _spare(line[n + 1]))
            line[n + 1].start += taken
            shape.end += taken


def _spare(shape: _Shape) -> int:
    if shape.viseme in _CLOSURES:
        return max(0, shape.length - CLOSED_MS)
    return max(0, shape.length - (0 if shape.viseme == "sil" else KEPT_MS))


def _packed(line: list[_Shape], levels: Sequence[float]) -> tuple[MouthTime, ...]:
    loudest = max(levels, default=-math.inf)
    return tuple(
        MouthTime(
            viseme=one.viseme,
            start_s=one.start / 1000,
            end_s=one.end / 1000,
            weight=round(one.weight * _opening(one, levels, loudest), 2),
        )
        for one in line
    )


def _opening(shape: _Shape, levels: Sequence[float], loudest: float) -> float:
    """How much of its way a shape goes for how loud it is; closures do not depend on it."""
    if not levels or shape.viseme == "sil" or shape.viseme in _CLOSURES:
        return 1.0
    first = int((shape.start + shape.lead) / 1000 / LEVEL_S)
    last = max(first + 1, math.ceil(shape.end / 1000 / LEVEL_S))
    heard = max(levels[first:last], default=loudest)
    below = heard - loudest
    if below < _SILENT_DB:
        return 0.2
    share = (below - _QUIET_DB) / (_LOUD_DB - _QUIET_DB)
    return 0.5 + 0.5 * min(1.0, max(0.0, share))
