"""Cut a reply into sentences that can be spoken, while it is still being written.

A sentence leaves as soon as its end mark and what follows it have arrived. The first clause of a reply leaves even
earlier, at a comma, so that the voice starts while the model writes. Nothing is lost or changed: the pieces joined give
the text back, but for white space.
"""

from __future__ import annotations

import re

FIRST_CLAUSE_CHARS = 24
"""A first clause shorter than this would sound chopped off; about 1.5 s of speech."""

LONGEST_CHARS = 280
"""A piece longer than this is cut at a comma or space: no engine should wait for, or choke on, an endless sentence."""

ABBREVIATIONS = frozenset(
    # English, German, French, Spanish: words that end in a dot and do not end a sentence.
    """mr mrs ms mx dr prof sr jr st vs etc approx dept est fig gen gov hon inc ltd co corp no vol pp ed rev sgt capt
    lt col cmdr messrs mt ave blvd rd jan feb mar apr jun jul aug sep sept oct nov dec mon tue wed thu fri sat sun
    e.g i.e a.m p.m u.s u.k u.s.a ph.d b.a m.a cf al resp viz ca
    bzw z.b d.h u.a usw evtl ggf nr str vgl inkl sog bspw hr fr
    mme mlle env p.ex c.-à-d sra srta ud uds pág""".split()
)

_CLOSERS = "\"'”’»)]}」』）】〉》"
_ENDS = ".!?…"
_WIDE_ENDS = "。！？｡"
_CLAUSE = re.compile(r"[,;:—–、，；：]")
_WORD_BEFORE = re.compile(r"(\S+)$")
_SPEAKABLE = re.compile(r"\w", re.UNICODE)


class SentenceSplitter:
    """Feed it pieces of text, take whole sentences out."""

    def __init__(self, *, first_clause_chars: int = FIRST_CLAUSE_CHARS) -> None:
        self._text = ""
        self._is_first = True
        self._scanned = 0
        self._first_clause_chars = first_clause_chars

    def feed(self, piece: str) -> list[str]:
        """Add text; return the sentences it completed, stripped, in order."""
        self._text += piece
        found: list[str] = []
        while (cut := self._next_cut()) is not None:
            sentence, self._text = self._text[:cut].strip(), self._text[cut:].lstrip()
            self._scanned = 0
            if not sentence:
                continue
            if not _SPEAKABLE.search(sentence) and found:
                found[-1] += " " + sentence  # a lone emoji belongs to what it follows
                continue
            found.append(sentence)
            self._is_first = False
        return found

    def finish(self) -> list[str]:
        """Return what is left, when the reply has ended."""
        found = self.feed("\n") if self._text.strip() else []
        self._text = ""
        return found

    def _next_cut(self) -> int | None:
        """Where the first complete sentence ends, None when none is complete yet."""
        text = self._text
        index = self._scanned
        while index < len(text):
            char = text[index]
            if char == "\n":
                return index + 1
            if char in _WIDE_ENDS:
                end = self._after_closers(index + 1)
                if end < len(text):
                    return end
                break  # a closing quote may still come
            if char in _ENDS:
                end = self._after_closers(index + 1)
                if end >= len(text):
                    break  # "3." may become "3.5"
                if text[end].isspace() and not self._is_abbreviation(index):
                    return end
                index = end
                continue
            if (
                self._is_first
                and index + 1 >= self._first_clause_chars
                and _CLAUSE.match(char)
                and self._ends_clause(index)
            ):
                return index + 1
            index += 1
        self._scanned = min(index, len(text))
        if len(text) > LONGEST_CHARS:
            return self._forced_cut()
        return None

    def _after_closers(self, index: int) -> int:
        text = self._text
        while index < len(text) and (text[index] in _CLOSERS or text[index] in _ENDS + _WIDE_ENDS):
            index += 1
        return index

    def _ends_clause(self, index: int) -> bool:
        text = self._text
        if text[index] in "、，；：":
            return True
        return index + 1 < len(text) and text[index + 1].isspace()

    def _is_abbreviation(self, dot: int) -> bool:
        if self._text[dot] != ".":
            return False
        match = _WORD_BEFORE.search(self._text[max(0, dot - 24) : dot])
        if match is None:
            return False
        word = match[1].lstrip("(\"'“‘«[")
        if len(word) == 1 and word.isalpha() and word.isupper() and word != "I":
            return True  # an initial: "J. R. R."
        if word.isdigit() and len(word) <= 2 and self._text[: dot - len(word)].strip() == "":
            return True  # "1. First" numbers a list
        return word.lower() in ABBREVIATIONS

    def _forced_cut(self) -> int:
        window = self._text[:LONGEST_CHARS]
        for pattern in (r".*[,;:—–、，；：]", r".*\s"):
            match = re.match(pattern, window, re.DOTALL)
            if match is not None and match.end() > LONGEST_CHARS // 4:
                return match.end()
        return LONGEST_CHARS


_URL = re.compile(r"\b(?:https?://|www\.)\S+")
_LINK = re.compile(r"\[([^\]\n]{0,200})\]\([^)\s]{0,500}\)")
_MARKS = re.compile(r"[*_`#~|<>\\^]+")
_EMOJI = re.compile(
    "[\U0001f000-\U0001faff\u2600-\u27bf\u2b00-\u2bff\u2190-\u21ff\ufe0e\ufe0f\u200d\u20e3\U000e0020-\U000e007f]+"
)
_SPACES = re.compile(r"\s+")
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff]")


def speakable(text: str) -> str:
    """What a voice should say for a sentence that is shown as ``text``; empty when there is nothing to say.

    Addresses become "link", marks of Markdown and emoji are left out.
    """
    text = _LINK.sub(r"\1", text)
    text = _URL.sub("link", text)
    text = _EMOJI.sub(" ", text)
    text = _CONTROL.sub("", text)
    text = _MARKS.sub(" ", text)
    text = _SPACES.sub(" ", text).strip()
    return text if _SPEAKABLE.search(text) else ""
