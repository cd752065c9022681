"""Which sounds of a language a set of sentences holds, and which prompts would add those that are rare.

Sounds are the phonemes of piper's phonemizer; a pair of neighbours is a diphone, "#" stands for a pause. What a language
has is what its list of prompts holds: the lists were written to hold all of it.
"""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import Any

from backend.audio.espeak import speakable
from voice_trainer.protocol import prompt_language, read_prompts

PAUSE = "#"
ENOUGH_PHONEME = 8
"""Times a phoneme must be heard: the aligner's Gaussians need some twenty frames of each, a phoneme lasts 6 to 10."""
ENOUGH_DIPHONE = 2
RARE_IN_LIST = 3
"""A phoneme that a list of over forty sentences holds less often is of foreign words: it is not asked for."""

_STRESS = "ˈˌ"
_EXTENDING = "ːˑ̆"
_MARKS = "ʲʷˠˤⁿʰᵝ.-"
_PAUSES = ".,;:!?…"
_VOWELS = "aeiouyɑɐɒæɛəɜɪɔʊʌœøɨᵻɯɵ"
_TONES = {"cmn": "ɜ"}  # espeak's second tone; the others are digits


@dataclass(frozen=True, slots=True)
class Coverage:
    """What of a language's sounds is there.

    Attributes:
        phonemes: Share of the phonemes that are heard often enough, 0-1: `ENOUGH_PHONEME` times, or as often as the whole
            list of prompts holds them where that is less.
        diphones: Share of the diphones of the prompts that are heard at least `ENOUGH_DIPHONE` times, weighted by how
            often the prompts hold them, 0-1.
        missing: Phonemes heard too rarely, the rarest first.
        suggestions: Ids of prompts that would add most, best first.
        is_known: The language has a list; without one the shares are 0 and nothing is suggested.
    """

    phonemes: float
    diphones: float
    missing: tuple[str, ...]
    suggestions: tuple[str, ...]
    is_known: bool


def phones(text: str, language: str) -> list[str]:
    """The phonemes of a text, without stress and tone; `PAUSE` at its ends and at punctuation.

    Raises:
        RuntimeError: The phonemizer does not know the language.
    """
    found = [PAUSE]
    for sentence in _phonemizer().phonemize(language, speakable(text)):
        for mark in sentence:
            _add(found, mark, language)
        if found[-1] != PAUSE:
            found.append(PAUSE)
    return found


def diphones(sounds: Sequence[str]) -> list[tuple[str, str]]:
    """Neighbours, in order."""
    return list(pairwise(sounds))


def measure(texts: Iterable[str], language: str, *, suggest: int = 10) -> Coverage:
    """What the transcripts hold of their language, and the prompts that would add the rest.

    Args:
        texts: Transcripts; prompts among them are not suggested again.
        language: espeak voice, "en-us".
        suggest: Prompts wanted at most.
    """
    name = prompt_language(language)
    if not name:
        return Coverage(0.0, 0.0, (), (), is_known=False)
    texts = list(texts)
    voice = _known_voice(language, name)
    heard = [phones(text, voice) for text in texts]
    single, double = _count(heard)
    prompts = read_prompts(name)
    sounds = [phones(prompt, voice) for prompt in prompts]
    wanted, pairs = _count(sounds)
    inventory = [one for one, times in wanted.items() if times >= RARE_IN_LIST]
    enough = [one for one in inventory if single[one] >= min(ENOUGH_PHONEME, wanted[one])]
    weight = sum(pairs.values())
    known = sum(
        times for pair, times in pairs.items() if double[pair] >= min(ENOUGH_DIPHONE, times)
    )
    missing = sorted(set(inventory) - set(enough), key=lambda one: (single[one], -wanted[one], one))
    recorded = {_plain(text) for text in texts}
    left = [number for number, prompt in enumerate(prompts) if _plain(prompt) not in recorded]
    chosen = _greedy([sounds[number] for number in left], suggest, single, double)
    return Coverage(
        len(enough) / max(len(inventory), 1),
        known / max(weight, 1),
        tuple(missing),
        tuple(f"{name}-{left[one] + 1}" for one in chosen),
        is_known=True,
    )


def order(texts: Sequence[str], language: str) -> list[str]:
    """The sentences so that every prefix holds as many different sounds as it can."""
    sounds = [phones(text, language) for text in texts]
    return [texts[one] for one in _greedy(sounds, len(texts), Counter(), Counter())]


def _greedy(
    sounds: Sequence[Sequence[str]],
    wanted: int,
    single: Counter[str],
    double: Counter[tuple[str, str]],
) -> list[int]:
    """Numbers of the sentences that add most, each judged after the ones before it.

    A sound that was heard n times counts 1 / (1 + n)^2: new ones first, rare ones next. Divided by the root of the length,
    for a long sentence holds more but is harder to read well.
    """
    single, double = Counter(single), Counter(double)
    units = [
        (Counter(one for one in line if one != PAUSE), Counter(diphones(line))) for line in sounds
    ]
    left = set(range(len(sounds)))
    chosen: list[int] = []
    while left and len(chosen) < wanted:

        def gain(number: int) -> float:
            ones, pairs = units[number]
            new = sum(1 / (1 + double[pair]) ** 2 for pair in pairs)
            new += 3 * sum(min(times, 3) / (1 + single[one]) for one, times in ones.items())
            return float(new / max(len(sounds[number]), 1) ** 0.5)

        best = max(sorted(left), key=gain)
        left.discard(best)
        chosen.append(best)
        single.update(units[best][0])
        double.update(units[best][1])
    return chosen


def _count(lines: Iterable[Sequence[str]]) -> tuple[Counter[str], Counter[tuple[str, str]]]:
    single: Counter[str] = Counter()
    double: Counter[tuple[str, str]] = Counter()
    for line in lines:
        single.update(one for one in line if one != PAUSE)
        double.update(diphones(line))
    return single, double


def _add(found: list[str], mark: str, language: str) -> None:
    """Join a code point to the sound before it where it only changes it."""
    if mark in _PAUSES:
        if found[-1] != PAUSE:
            found.append(PAUSE)
    elif mark in _STRESS or mark.isspace() or mark.isdigit() or mark in _TONES.get(language, ""):
        return
    elif mark == "ʲ" and found[-1][0] in _VOWELS:
        return  # only the way from one vowel to the next
    elif mark in _EXTENDING or mark in _MARKS or unicodedata.category(mark) == "Mn":
        if found[-1] != PAUSE:
            found[-1] += mark
    elif unicodedata.category(mark)[0] == "L":
        found.append(mark)


def _plain(text: str) -> str:
    """For comparing: letters and digits only."""
    return "".join(mark for mark in text.casefold() if mark.isalnum())


def _known_voice(language: str, fallback: str) -> str:
    try:
        phones("a", language)
    except RuntimeError:
        return fallback
    return language


@lru_cache(maxsize=1)
def _phonemizer() -> Any:  # piper's class, which is imported when first used
    from piper.phonemize_espeak import EspeakPhonemizer

    return EspeakPhonemizer()
