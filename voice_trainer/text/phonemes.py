"""A transcript as the phoneme ids that PiperVoice will use when the finished voice speaks, and when the embedded voice says each.

Public names: `phonemize(text, language) -> Phonemes`, `sentences(text, language)`, `starts_s(phonemes, events)`, `check_language(language)`,
`can_be_said(text, seconds)`, `id_map()`. The phonemes come from piper's own code, so that training and speaking cannot differ.
"""

from __future__ import annotations

import re
import threading
import unicodedata
from dataclasses import dataclass
from difflib import SequenceMatcher
from functools import cache
from typing import TYPE_CHECKING

from backend.audio import espeak

if TYPE_CHECKING:
    from piper import PiperVoice

BEGIN, END, PAD = "^", "$", "_"
SILENT = frozenset(" .,!?;:")
"""Symbols that are heard as a pause or not at all."""
SOUNDLESS = frozenset("ˈˌʲʰˤʷ\u0303\u0327\u0329\u032a\u032f\u030a\u031d\u033a\u033b˞")
"""Marks that change their neighbour and have no time of their own: stress, secondary articulation, diacritics."""

FASTEST_LETTERS_PER_S = 40.0
"""Of a text: a reader in a hurry reaches 25, so nothing that anybody said is lost."""
SHORTEST_TEXT = 20
"""Letters that are never too many: a clip may cut the end of its last word off."""

EVENT_FLAG = re.compile(r"\([^)]*\)")  # "(en)": espeak changes its language for a word

_lock = threading.Lock()  # espeak keeps one voice per process


@dataclass(frozen=True, slots=True)
class Phonemes:
    """One clip's text.

    Attributes:
        symbols: `BEGIN`, what piper says (one code point each), `END`.
        ids: The id of each symbol; no `PAD` between them.
        unknown: Symbols that espeak gave and the id map does not know; piper leaves them out as well.
    """

    symbols: tuple[str, ...]
    ids: tuple[int, ...]
    unknown: frozenset[str] = frozenset()


@cache
def id_map() -> dict[str, list[int]]:
    """Symbol to ids, as it is written into the voice's JSON."""
    from piper.phoneme_ids import DEFAULT_PHONEME_ID_MAP

    return {symbol: list(ids) for symbol, ids in DEFAULT_PHONEME_ID_MAP.items()}


def can_be_said(text: str, seconds: float) -> bool:
    """Whether somebody could say this text in the time; aligning one that is far too long takes seconds, for nothing."""
    return len(text) <= SHORTEST_TEXT + FASTEST_LETTERS_PER_S * seconds


def phonemize(text: str, language: str) -> Phonemes:
    """The phonemes of a transcript; the sentences of a clip follow each other without a break.

    Raises:
        ValueError: piper does not know the language.
    """
    return _as_ids([symbol for sentence in _spoken(text, language) for symbol in sentence])


def sentences(text: str, language: str) -> list[Phonemes]:
    """The same sentence by sentence, as PiperVoice speaks: a voice sees one at a time.

    Raises:
        ValueError: piper does not know the language.
    """
    return [_as_ids(sentence) for sentence in _spoken(text, language) if sentence]


def check_language(language: str) -> None:
    """Make sure that both the embedded voice and piper speak a language.

    Raises:
        ValueError: One does not; the message says which names there are.
    """
    try:
        espeak.synthesize("a", language)
    except espeak.UnknownVoiceError as error:
        raise ValueError(_unknown(language)) from error
    phonemize("a", language)


def is_spoken(symbol: str) -> bool:
    """Whether a symbol has a sound of its own: no pause, no mark, neither begin nor end."""
    return symbol not in SILENT and symbol not in SOUNDLESS and symbol not in (BEGIN, END)


def starts_s(phonemes: Phonemes, events: tuple[tuple[str, float, float], ...]) -> list[float]:
    """When each symbol begins in the embedded voice's rendering of the same text.

    Args:
        phonemes: From `phonemize`.
        events: From `backend.audio.espeak.Rendering.phonemes`: (IPA, start in s, end in s).

    Returns:
        One time per symbol, not falling. `BEGIN` starts at 0, `END` where the last sound ends. A symbol that begins
        when the next one does has no time of its own (a mark, a space between words that flow together).
    """
    sounds = [event for event in events if not EVENT_FLAG.fullmatch(event[0])]
    symbols = phonemes.symbols
    if not sounds:
        return [0.0] * len(symbols)
    event_of = _event_of_each(symbols, sounds)
    members: dict[int, list[int]] = {}
    for index, event in event_of.items():
        members.setdefault(event, []).append(index)
    starts: list[float | None] = [None] * len(symbols)
    starts[0], starts[-1] = 0.0, sounds[-1][2]
    for event, indices in members.items():
        _, start_s, end_s = sounds[event]
        timed = [index for index in indices if symbols[index] not in SOUNDLESS]
        for place, index in enumerate(timed):
            starts[index] = start_s + (end_s - start_s) * place / len(timed)
    for index in range(2, len(symbols) - 1):
        if symbols[index] in SILENT and index - 1 in event_of:
            starts[index] = sounds[event_of[index - 1]][2]  # a pause begins where the sound ends
    # Whatever has no time yet begins with the next one that has.
    following = sounds[-1][2]
    times = [0.0] * len(symbols)
    for index in range(len(symbols) - 1, -1, -1):
        own = starts[index]
        following = min(following, following if own is None else own)
        times[index] = following
    return times


def _event_of_each(
    symbols: tuple[str, ...], sounds: list[tuple[str, float, float]]
) -> dict[int, int]:
    """Which event says each symbol that is neither a pause nor an end; not falling."""
    mine = [
        index
        for index, symbol in enumerate(symbols)
        if symbol not in SILENT and symbol not in (BEGIN, END)
    ]
    theirs = [
        (mark, event)
        for event, (ipa, _, _) in enumerate(sounds)
        for mark in unicodedata.normalize("NFD", ipa)
    ]
    matcher = SequenceMatcher(
        None,
        "".join(symbols[index] for index in mine),
        "".join(mark for mark, _ in theirs),
        autojunk=False,
    )
    found: dict[int, int] = {}
    for block in matcher.get_matching_blocks():
        for step in range(block.size):
            found[mine[block.a + step]] = theirs[block.b + step][1]
    # What the two engines say differently goes with its neighbour.
    event = 0
    for index in mine:
        event = found.setdefault(index, event)
    return {index: found[index] for index in mine}


def _spoken(text: str, language: str) -> list[list[str]]:
    with _lock:
        try:
            return _speaker_of(language).phonemize(text)
        except RuntimeError as error:  # "Failed to set voice"
            raise ValueError(_unknown(language)) from error


def _as_ids(spoken: list[str]) -> Phonemes:
    known = id_map()
    symbols = [symbol for symbol in spoken if symbol in known and symbol not in (BEGIN, END, PAD)]
    symbols = [BEGIN, *symbols, END]
    return Phonemes(
        tuple(symbols),
        tuple(known[symbol][0] for symbol in symbols),
        frozenset(spoken) - known.keys(),
    )


@cache
def _speaker_of(language: str) -> PiperVoice:
    """Piper without a model: only its way from text to phonemes."""
    from piper import PiperVoice
    from piper.config import PhonemeType, PiperConfig

    config = PiperConfig(
        num_symbols=256,
        num_speakers=1,
        sample_rate=22_050,
        espeak_voice=language,
        phoneme_id_map=id_map(),
        phoneme_type=PhonemeType.ESPEAK,
    )
    return PiperVoice(session=None, config=config)  # phonemize() needs no session


def _unknown(language: str) -> str:
    return (
        f"There is no language {language[:40]!r} for a voice. Choose one that espeak knows by this name, "
        "like en-us, en-gb, de, es, fr, it or ja."
    )
