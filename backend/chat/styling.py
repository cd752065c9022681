"""Say the same casually, formally, excitedly or calmly, by rules alone: for when no language model is there to do it.

English words are exchanged; in other languages marks alone change. What is in quotation marks or looks like an address
is left as it is.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Literal, get_args

Style = Literal["casual", "formal", "excited", "calm"]
STYLES: tuple[Style, ...] = get_args(Style)

_CONTRACTIONS = {
    "i am": "I'm", "i have": "I've", "i will": "I'll", "i would": "I'd", "you are": "you're", "you have": "you've", "you will": "you'll",
    "we are": "we're", "we have": "we've", "we will": "we'll", "they are": "they're", "it is": "it's", "that is": "that's", "there is": "there's",
    "what is": "what's", "let us": "let's", "do not": "don't", "does not": "doesn't", "did not": "didn't", "is not": "isn't", "are not": "aren't",
    "was not": "wasn't", "cannot": "can't", "can not": "can't", "will not": "won't", "would not": "wouldn't", "have not": "haven't",
    "has not": "hasn't", "could not": "couldn't", "should not": "shouldn't",
}  # fmt: skip
_WHOLE = {short.lower(): whole for whole, short in _CONTRACTIONS.items() if whole != "can not"}
_PLAIN_WORDS = {
    "hello": "hey", "good evening": "hey", "greetings": "hey", "thank you": "thanks", "yes": "yeah", "everybody": "everyone", "children": "kids",
    "going to": "gonna", "want to": "wanna", "perhaps": "maybe", "excellent": "awesome", "very good": "great",
}  # fmt: skip
_FINE_WORDS = {
    "hey": "hello", "hi": "hello", "hiya": "hello", "yo": "hello", "thanks": "thank you", "thx": "thank you", "yeah": "yes", "yep": "yes", "yup": "yes",
    "nope": "no", "nah": "no", "gonna": "going to", "wanna": "want to", "gotta": "have to", "kinda": "rather", "sorta": "rather", "guys": "everyone",
    "folks": "everyone", "kids": "children", "awesome": "excellent", "cool": "pleasant", "pls": "please", "plz": "please", "u": "you", "ur": "your",
    "ok": "very well", "okay": "very well", "wow": "remarkable", "lol": "", "lmao": "", "omg": "", "haha": "",
}  # fmt: skip

_KEPT = re.compile(r"https?://\S+|\S+@\S+|“[^”\n]{1,200}”|\"[^\"\n]{1,200}\"|`[^`\n]{1,200}`")
_EMOJI = re.compile("[\U0001f000-\U0001faff\u2600-\u27bf\ufe0f\u200d]+ ?")
_SHOUTED = re.compile(r"\b[A-Z]{4,}\b")
_LAST_DOT = re.compile(r"(?<=[^\W_])(?:\.|…|\.{3})(?=\s|$)")
_SENTENCE_START = re.compile(r"^\W*[a-z]|(?<=[.!?] )[a-z]")
_OPENER = re.compile(r"^\W*(?:wow|yes|woo|yay|oh|ooh)\b", re.IGNORECASE)


def restyled(text: str, style: Style, *, is_start: bool = True) -> str:
    """``text`` in a style; the same every time.

    Args:
        text: What to say.
        style: How.
        is_start: Whether it is the beginning of what is said; only there something may be put before it.
    """
    change = {"casual": _casual, "formal": _formal, "excited": _excited, "calm": _calm}[style]
    text = _around_kept(text, change)
    if style == "excited" and is_start and text and not _OPENER.match(text):
        text = "Wow! " + text
    return text


def _casual(text: str) -> str:
    return _exchanged(_exchanged(text, _CONTRACTIONS), _PLAIN_WORDS)


def _formal(text: str) -> str:
    text = _EMOJI.sub("", text.replace("’", "'"))
    text = _exchanged(_exchanged(text, _WHOLE), _FINE_WORDS)
    text = _quiet(text)
    text = re.sub(r" +(?=[.,;!?])", "", re.sub(r"[ \t]{2,}", " ", text))
    return _SENTENCE_START.sub(lambda m: m[0].upper(), text)


def _excited(text: str) -> str:
    return _LAST_DOT.sub("!", text)


def _calm(text: str) -> str:
    return _quiet(_SHOUTED.sub(lambda m: m[0].capitalize(), text))


def _quiet(text: str) -> str:
    text = re.sub(r"[!?]*\?[!?]*", "?", text)
    return re.sub(r"!+(?=$|[\s\"'”)\]])", ".", text)


def _exchanged(text: str, words: dict[str, str]) -> str:
    found = re.compile(
        r"\b(?:" + "|".join(sorted(map(re.escape, words), key=len, reverse=True)) + r")\b",
        re.IGNORECASE,
    )

    def instead(match: re.Match[str]) -> str:
        new = words[" ".join(match[0].lower().split())]
        return new[:1].upper() + new[1:] if match[0][:1].isupper() else new

    return found.sub(instead, text)


def _around_kept(text: str, change: Callable[[str], str]) -> str:
    """Apply a change to all that may be changed; capitals are seen in the text as a whole."""
    kept: list[str] = []

    def put_away(match: re.Match[str]) -> str:
        kept.append(match[0])
        return f"\ue000{len(kept) - 1}\ue001"

    changed = change(_KEPT.sub(put_away, text.replace("\ue000", "").replace("\ue001", "")))
    return re.sub(r"\ue000(\d+)\ue001", lambda m: kept[int(m[1])], changed).strip()
