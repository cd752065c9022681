"""What was read although nobody said it: decided once per utterance, from the text, the scores and the sound's measures.

A recogniser asked to read breath, a door or her own echo writes something all the same. Phrases that it makes up are
also what people say ("thank you", "bye"), so such a phrase alone is never enough: the sound or the scores must be weak
as well. Pure functions; the limits are held to by scripted outputs in tests/unit/listening/test_guards.py.
"""

from __future__ import annotations

import unicodedata

from backend.contracts.entities import Transcript
from backend.contracts.listening import DropReason
from backend.core import made_up

SILENT_DBFS = -62.0
"""Speech close to a microphone lies between -45 and -15; rooms without anybody between -75 and -55."""

QUIET_DBFS = -48.0
LEAST_SPEECH_S = 0.06
"""Shorter than any syllable."""

MOST_PER_S = 30.0
"""Letters in a second of speech. Talk has 12 to 18, an auctioneer 28."""

MOST_WIDE_PER_S = 14.0
"""The same for scripts whose letter is a syllable or a word: Japanese has 8 to 10 in a second, Chinese 5 to 7."""

HEARD_LATE_S = 0.35
"""Voice detectors miss up to this much at both ends of speech together."""

LEAST_PER_S = 1.2
"""Fewer letters than that and most of the speech was not read."""

LOOPS = ((1, 9), (2, 6), (3, 4))
"""Words in a stretch, and how often in a row it is a loop whatever the scores: "no no no no" and a chant are speech."""

WEAK_LOOPS = ((1, 6), (2, 4), (3, 3))
"""The same when the scores are bad too."""

FILLERS = frozenset(
    "uh um uhm hm hmm hmmm mm mmm mhm ah ahh eh er erm äh ähm euh えー えーと うーん んー 嗯 啊 呃 음 эм".split()
)
"""Sounds, not messages: a cough or a breath is read as one."""

SPHINX_NOISE = frozenset("the a and of to in it i that is on at he but oh or us an or".split())
"""What pocketsphinx hears in a click: English words of one syllable with a weak vowel."""


def check(
    transcript: Transcript, *, duration_s: float, speech_s: float, level_dbfs: float
) -> tuple[DropReason, str] | None:
    """Why this transcript is no message, None if it is one.

    Args:
        transcript: What the recogniser read.
        duration_s: Of the sound it was given, pauses and pre-roll included.
        speech_s: How long somebody spoke in it, as the voice detector counted.
        level_dbfs: RMS level of the spoken part.

    Returns:
        Reason and, for the person in front of the microphone, what was seen.
    """
    text = transcript.text.strip()
    if not made_up.plain(text):
        return _nothing_read(transcript)
    speech_s = min(speech_s, duration_s)
    if level_dbfs < SILENT_DBFS or speech_s < LEAST_SPEECH_S:
        return (
            "no_words",
            f"“{_short(text)}” was read in {speech_s:.2f} s of sound at {level_dbfs:.0f} dBFS, where nobody spoke",
        )
    if not made_up.spoken(text):
        return "no_words", f"“{_short(text)}” describes a sound"
    words = made_up.plain(text).split()
    if all(word in FILLERS for word in words) and len(words) <= 3:
        return "no_words", f"“{_short(text)}” is a sound, no message"
    if transcript.engine == "sphinx" and len(words) == 1 and words[0] in SPHINX_NOISE:
        return "no_words", f"“{words[0]}” is what the built-in recogniser reads in a noise"
    return (
        _loop(transcript, text, speech_s)
        or _phantom(transcript, text, speech_s, level_dbfs)
        or _too_fast(text, speech_s)
    )


def _nothing_read(transcript: Transcript) -> tuple[DropReason, str]:
    """No text; what the recogniser withheld tells why."""
    withheld = transcript.withheld.strip()
    if not withheld:
        return "no_words", "nothing was read"
    detail = f"the recogniser does not believe its own “{_short(withheld)}”"
    if made_up.is_credit(withheld) or made_up.is_courtesy(withheld):
        return "phantom", detail
    if (transcript.compression or 0.0) > made_up.MOST_COMPRESSION or made_up.is_looping(withheld):
        return "repetition", detail
    return "no_words", detail


def _loop(transcript: Transcript, text: str, speech_s: float) -> tuple[DropReason, str] | None:
    size, times, stretch = made_up.loop(text)
    limits = WEAK_LOOPS if _is_unsure(transcript) or _per_s(text, speech_s) > 1.0 else LOOPS
    most = next((most for least, most in reversed(limits) if size >= least), 0)
    if most and times >= most:
        return "repetition", f"“{_short(stretch)}” {times} times in a row"
    return None


def _phantom(
    transcript: Transcript, text: str, speech_s: float, level_dbfs: float
) -> tuple[DropReason, str] | None:
    if made_up.is_credit(text):
        # Somebody who reads credits aloud speaks for a second or more, and the recogniser is sure of it.
        is_sure = transcript.log_probability is not None and transcript.log_probability > -0.25
        if is_sure and (transcript.no_speech or 0.0) < 0.1 and _per_s(text, speech_s) < 0.8:
            return None
        return "phantom", f"“{_short(text)}” is a line of subtitle credits"
    if not made_up.is_courtesy(text):
        return None
    why = _weakness(transcript, text, speech_s, level_dbfs)
    return ("phantom", f"“{_short(text)}” is often made up, and {why}") if why else None


def _weakness(transcript: Transcript, text: str, speech_s: float, level_dbfs: float) -> str:
    """What speaks against a phrase having been said, empty = nothing."""
    no_speech, log_probability = transcript.no_speech, transcript.log_probability
    if no_speech is not None and no_speech > 0.5:
        return f"it is {no_speech:.0%} likely that nobody spoke"
    if log_probability is not None and log_probability < -0.7:
        return f"the recogniser is unsure ({log_probability:.2f})"
    if (
        no_speech is not None
        and log_probability is not None
        and no_speech > 0.2
        and log_probability < -0.35
    ):
        return f"the recogniser is unsure ({log_probability:.2f}) whether somebody spoke ({no_speech:.0%})"
    if level_dbfs < QUIET_DBFS:
        return f"it was very quiet ({level_dbfs:.0f} dBFS)"
    if _per_s(text, speech_s) > 0.8:
        return f"{speech_s:.2f} s are too short for it"
    if _letters(text)[0] < LEAST_PER_S * speech_s and speech_s > 3.0:
        return f"{speech_s:.1f} s are far too long for it"
    return ""


def _too_fast(text: str, speech_s: float) -> tuple[DropReason, str] | None:
    narrow, wide = _letters(text)
    if narrow + wide > 8 and _per_s(text, speech_s) > 1.0:
        return "phantom", f"{narrow + wide} letters cannot be said in {speech_s:.1f} s"
    return None


def _is_unsure(transcript: Transcript) -> bool:
    return (
        (transcript.compression or 0.0) > made_up.MOST_COMPRESSION
        or (transcript.log_probability or 0.0) < -0.6
        or (transcript.no_speech or 0.0) > 0.3
    )


def _per_s(text: str, speech_s: float) -> float:
    """How fast it was said, 1.0 = as fast as it is possible."""
    narrow, wide = _letters(text)
    return (narrow / MOST_PER_S + wide / MOST_WIDE_PER_S) / (speech_s + HEARD_LATE_S)


def _letters(text: str) -> tuple[int, int]:
    """Letters, and letters that are a syllable or a word each."""
    letters = [letter for letter in text if letter.isalnum()]
    wide = sum(
        unicodedata.east_asian_width(letter) in "WF" and not letter.isascii() for letter in letters
    )
    return len(letters) - wide, wide


def _short(text: str, most: int = 60) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"
