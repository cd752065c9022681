"""Cut a reply into sentences that can be spoken, while it is still being written.

A sentence leaves as soon as its end mark and the space after it have arrived, where both may mean something else
("am 3. Oktober", "'Why?' he asked") with the character after that. The first clause of a long first sentence leaves
even earlier, so that the voice starts while the model writes; what follows is no longer than can be spoken in time by a
voice that needs half a second for a second of sound. Nothing is lost or changed: the pieces
joined give the text back, but for white space.
"""

from __future__ import annotations

import math
import re

FIRST_CLAUSE_CHARS = 24
"""A first clause shorter than this would sound chopped off; about 1.5 s of speech."""

SHORT_REST_CHARS = 12
"""A sentence that ends so soon after a clause is short: it stays whole."""

NO_CLAUSE_CHARS = 60
"""A sentence that has no comma up to here is cut before an "and" or "because"."""

SHORTEST_LIMIT_CHARS = 40
"""Pieces are not cut shorter than this only to keep a slow voice ahead."""

LONGEST_CHARS = 280
"""A piece longer than this is cut at a comma or space: no engine should wait for, or choke on, an endless sentence."""

LONGEST_CODE_CHARS = 2000
"""A block of code is one piece, which is shown and not spoken; longer is taken for text."""

SHORT_CHARS = 40
"""A hesitation ("Hmm... let me think...") shorter than this goes on."""

ABBREVIATIONS = frozenset(
    # English, German, French, Spanish: words that end in a dot and do not end a sentence.
    """mr mrs ms mx dr prof sr jr st vs etc approx dept est fig gen gov hon inc ltd co corp ed rev sgt capt
    lt col cmdr messrs mt ave blvd rd jan feb mar apr jun jul aug sep sept oct nov dec
    e.g i.e u.s u.k u.s.a ph.d b.a m.a cf al resp viz ca
    bzw z.b d.h u.a evtl ggf str vgl inkl sog bspw hr fr
    mme mlle env p.ex c.-à-d sra srta ud uds pág""".split()
)

BEFORE_NUMBERS = frozenset("no nos nr vol pp p fig art op bd kap abs".split())
"""Abbreviations only when a number follows: "No. 5" is one, "No. Never." is not."""

MAYBE_LAST = frozenset("etc usw u.s.w a.m p.m".split())
"""Abbreviations that end a sentence when a capital letter follows."""

AFTER_ORDINALS = frozenset(
    """januar jänner februar märz april mai juni juli august september oktober november dezember jahrhundert klasse
    stock platz mal tag woche""".split()
)
"""What follows a number whose dot does not end the sentence, as in "am 3. Oktober" (German)."""

CONJUNCTIONS = frozenset(
    """and but because so while which although though unless until whereas or
    und aber weil dass obwohl während denn oder
    et mais parce puisque tandis ou
    y pero porque aunque mientras""".split()
)
"""English, German, French, Spanish words that a clause can begin with."""

_PAIRS = {
    "“": "”",
    "„": "“",
    "«": "»",
    "»": "«",
    "(": ")",
    "[": "]",
    "「": "」",
    "『": "』",
    "（": "）",
}
_CLOSERS = "\"'”’»)]}」』）】〉》"
_ENDS = ".!?…\u061f\u06d4\u0964"  # the last three: Arabic, Urdu, Hindi
_WIDE_ENDS = "。！？｡"
_WIDE_CLAUSES = "、，；："
_CLAUSE = re.compile(r"[,;:—–、，；：]")
_WORD_BEFORE = re.compile(r"(\S+)$")
_SPEAKABLE = re.compile(r"\w", re.UNICODE)
_NEXT_WORD = re.compile(r"\w*", re.UNICODE)
_EMOJI = re.compile(
    "[\U0001f000-\U0001faff\u2600-\u27bf\u2b00-\u2bff\u2190-\u21ff\ufe0e\ufe0f\u200d\u20e3\U000e0020-\U000e007f]+"
)
_EMOJI_AFTER = re.compile(rf"(?:[ \t]*{_EMOJI.pattern})+[ \t]*")
_FENCE = "```"


class SentenceSplitter:
    """Feed it pieces of text, take whole sentences out."""

    def __init__(self, *, first_clause_chars: int = FIRST_CLAUSE_CHARS) -> None:
        self._text = ""
        self._is_first = True
        self._scanned = 0
        self._first_clause_chars = first_clause_chars
        self._given = 0
        self._is_too_long = False
        self._first = 0

    def feed(self, piece: str) -> list[str]:
        """Add text; return the sentences it completed, stripped, in order."""
        self._text += piece
        found: list[str] = []
        while (cut := self._next_cut()) is not None:
            sentence, self._text = self._text[:cut].strip(), self._text[cut:].lstrip()
            self._scanned = 0
            self._is_too_long = False
            if not sentence:
                continue
            if not _SPEAKABLE.search(sentence) and found:
                found[-1] += " " + sentence  # a lone emoji belongs to what it follows
                continue
            found.append(sentence)
            self._is_first = False
            self._first = self._first or len(sentence)
            self._given += len(sentence)
        return found

    def pause(self) -> list[str]:
        """Return what is complete if nothing but what has come belongs to it: a tag or stage direction follows."""
        text = self._text.rstrip()
        bare = text.rstrip(_CLOSERS)
        if not bare or bare[-1] not in _ENDS + _WIDE_ENDS or not _SPEAKABLE.search(bare):
            return []
        if bare[-1] == "." and self._is_full_stop(len(bare) - 1, len(text)) is False:
            return []
        return self.feed("\n")

    def finish(self) -> list[str]:
        """Return what is left, when the reply has ended."""
        found = self.feed("\n") if self._text.strip() else []
        self._text = ""
        return found

    def _next_cut(self) -> int | None:
        """Where the first complete sentence ends, None when none is complete yet."""
        text = self._text
        if text.startswith(_FENCE) and len(text) < LONGEST_CODE_CHARS:
            return self._end_of_code()
        index = self._scanned
        clause_from, limit = self._limits()
        while index < len(text):
            char = text[index]
            if char == "\n":
                return index + 1
            if char in _WIDE_ENDS or char in _ENDS:
                end = self._after_closers(index + 1)
                if end >= len(text):
                    break  # "3." may become "3.5", and a closing quote may still come
                is_wide = char in _WIDE_ENDS or text[end - 1] in _WIDE_ENDS
                if is_wide or text[end].isspace() or _EMOJI.match(text[end]):
                    is_end = self._is_end(index, end)
                    cut = self._after_emoji(end) if is_end else None
                    if is_end is None or (cut is not None and cut >= len(text)):
                        break
                    if cut is not None:
                        return cut
                index = end
                continue
            if index + 1 >= limit and not self._is_too_long:
                if len(text) <= index + SHORT_REST_CHARS and "\n" not in text[index:]:
                    break
                self._is_too_long = True
                if (cut := self._last_clause(limit)) is not None:
                    return cut
            if index + 1 >= clause_from:
                is_worth = self._is_cut(index, limit)
                if is_worth is None:
                    break
                if is_worth:
                    return index + 1
            index += 1
        self._scanned = min(index, len(text))
        if len(text) > LONGEST_CHARS:
            return self._forced_cut()
        return None

    def _limits(self) -> tuple[float, float]:
        """From where on a clause leaves by itself, and where a piece has become too long for what is spoken so far."""
        if self._first_clause_chars > LONGEST_CHARS:
            return math.inf, math.inf
        if self._is_first:
            return self._first_clause_chars, math.inf
        # At a real-time factor of 0.5 all that was given took half its length to speak, and was heard from the end of
        # the first piece's half on: half of both is left to be heard when the next piece is begun, and that takes half.
        limit = max(SHORTEST_LIMIT_CHARS, self._given + self._first)
        return (limit, limit) if limit < LONGEST_CHARS else (math.inf, math.inf)

    def _is_cut(self, index: int, limit: float) -> bool | None:
        """Whether a clause ends with the mark, or before the "and", at ``index``; None = not known yet."""
        text = self._text
        if _CLAUSE.match(text[index]):
            if index + 1 >= len(text) and text[index] not in _WIDE_CLAUSES:
                return None
            if not self._ends_clause(index):
                return False
        elif text[index].isspace() and index + 1 >= min(NO_CLAUSE_CHARS, limit):
            word = _NEXT_WORD.match(text, index + 1)
            if word is None or word.end() >= len(text):
                return None
            if word[0].lower() not in CONJUNCTIONS:
                return False
        else:
            return False
        if not self._is_open_to_cut(index):
            return False
        rest = text[index + 1 :].lstrip(" \t")
        if any(mark in _ENDS + _WIDE_ENDS + "\n" for mark in rest[:SHORT_REST_CHARS]):
            return False
        return True if len(rest) >= SHORT_REST_CHARS else None

    def _last_clause(self, limit: float) -> int | None:
        """Where the last clause ends before ``limit``."""
        for index in range(min(int(limit), len(self._text)) - 1, FIRST_CLAUSE_CHARS - 2, -1):
            # Before an "and" too, however early: the alternative is a voice that falls silent.
            if self._is_cut(index, FIRST_CLAUSE_CHARS):
                return index + 1
        return None

    def _is_open_to_cut(self, index: int) -> bool:
        """Whether no number, abbreviation, quotation or bracket would be torn apart at ``index``."""
        text = self._text
        before, after = text[:index], text[index + 1 :].lstrip()
        if before[-1:].isdigit() and after[:1].isdigit():
            return False  # "1, 2, 3", "March 3, 2024"
        word = _WORD_BEFORE.search(before[-24:])
        if word is not None and word[1].rstrip(".").lower() in ABBREVIATIONS | BEFORE_NUMBERS:
            return False  # "e.g., this"
        if before.count('"') % 2:
            return False
        closing: list[str] = []
        for mark in before:
            if closing and mark == closing[-1]:
                closing.pop()
            elif mark in _PAIRS:
                closing.append(_PAIRS[mark])
        return not closing

    def _end_of_code(self) -> int | None:
        close = self._text.find(_FENCE, len(_FENCE))
        line_end = self._text.find("\n", close) if close >= 0 else -1
        return line_end + 1 if line_end >= 0 else None

    def _is_end(self, mark: int, end: int) -> bool | None:
        """Whether the mark at ``mark``, whose closing quotes reach to ``end``, ends a sentence; None = not known yet."""
        text = self._text
        after = end
        while after < len(text) and text[after].isspace():
            if text[after] == "\n":
                return True
            after += 1
        following = text[after] if after < len(text) else ""
        closer = text[end - 1] in _CLOSERS
        if text[mark] in _WIDE_ENDS:
            # 「いいよ」と言った: the quotation goes on.
            return not (text[end - 1] in "」』" and following and following in "とっ")
        if closer:
            # "Why?" he asked
            return not following.islower() if following else None
        hesitates = text[mark] == "…" or text[mark : mark + 2] == ".."
        if hesitates and mark < SHORT_CHARS:
            return not following.islower() if following else None
        if text[mark] != "." or hesitates:
            return True
        return self._is_full_stop(mark, after)

    def _is_full_stop(self, dot: int, after: int) -> bool | None:
        """Whether a single dot followed by a space ends a sentence rather than an abbreviation or a number."""
        text = self._text + " "
        found = _WORD_BEFORE.search(text[max(0, dot - 24) : dot])
        if found is None:
            return True
        word = found[1].lstrip("(\"'“‘«[„")
        plain = word.lower()
        following = text[after : after + 1].strip()
        if len(word) == 1 and word.isalpha() and word != "I":
            return False  # an initial, "J. R. R.", or "z. B."
        if word.isdigit() and len(word) <= 2:
            if text[: dot - len(word)].strip() == "":
                return False  # "1. First" numbers a list
            if not following:
                return None
            if following.islower():
                return False
            next_word = _NEXT_WORD.match(text, after)
            if next_word is not None and next_word.end() >= len(self._text):
                return None
            return next_word is None or next_word[0].lower() not in AFTER_ORDINALS
        if plain in BEFORE_NUMBERS:
            return not following.isdigit() if following else None
        if plain in MAYBE_LAST:
            return following.isupper() if following else None
        return plain not in ABBREVIATIONS

    def _after_emoji(self, end: int) -> int:
        """Past the emoji that follow an end: they belong to the sentence they comment."""
        found = _EMOJI_AFTER.match(self._text, end)
        return found.end() if found is not None else end

    def _after_closers(self, index: int) -> int:
        text = self._text
        while index < len(text) and (text[index] in _CLOSERS or text[index] in _ENDS + _WIDE_ENDS):
            index += 1
        return index

    def _ends_clause(self, index: int) -> bool:
        text = self._text
        if text[index] in _WIDE_CLAUSES:
            return True
        return index + 1 < len(text) and text[index + 1].isspace()

    def _forced_cut(self) -> int:
        window = self._text[:LONGEST_CHARS]
        for pattern in (r".*[,;:—–、，；：]", r".*\s"):
            match = re.match(pattern, window, re.DOTALL)
            if match is not None and match.end() > LONGEST_CHARS // 4:
                return match.end()
        return LONGEST_CHARS


_URL = re.compile(r"\b(?:https?://|www\.)[^\s<>\"'、。，）」]*[^\s<>\"'、。，）」.,;:!?)\]]")
_CODE = re.compile(r"```.*?(?:```|\Z)", re.DOTALL)
_EMOTICON = re.compile(
    r"(?<![\w(])(?:[:;=][-'^]?[)(DPpO3/|*]+|[xX]D+|</?3|\\?o/|>[_.]<|[Tt;]_[Tt;]|[\^oO0]_+[\^oO0])(?!\w)"
)
_LIST_MARK = re.compile(r"^\s*(?:[-•▪*+]|>+)\s+")
_TIMES = re.compile(r"(?<=\w) \* (?=\w)")
_TILDE = re.compile(r"(?<=\w)~+(?=\s|$)")
_WITH = re.compile(r"(?<!\S)w/(?=\s)")
_WITHOUT = re.compile(r"(?<!\S)w/o(?=\s)")
_EMPTY = re.compile(r"[(\[{]\s*[)\]}]")
_LOOSE_COMMA = re.compile(r",(?=\s*[,.!?…])")
_LINK = re.compile(r"\[([^\]\n]{0,200})\]\([^)\s]{0,500}\)")
_MARKS = re.compile(r"[*_`#~|<>\\^]+")
_SPACES = re.compile(r"\s+")
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff]")


def speakable(text: str) -> str:
    """What a voice should say for a sentence that is shown as ``text``; empty when there is nothing to say.

    Addresses become "link"; code, marks of Markdown, emoji and emoticons are left out. Numbers, units, currencies and
    abbreviations stay as they are: the voice's own language reads them better than rules for English could.
    """
    text = _CODE.sub(" ", text)
    text = _LINK.sub(r"\1", text)
    text = _URL.sub("link", text)
    text = _LIST_MARK.sub("", text)
    text = _EMOTICON.sub(" ", text)
    text = _EMOJI.sub(" ", text)
    text = _CONTROL.sub("", text)
    text = _WITHOUT.sub("without", _WITH.sub("with", text))
    text = _TIMES.sub(" × ", text).replace("^2", "²").replace("^3", "³")
    text = _TILDE.sub(",", text)
    text = _MARKS.sub(" ", text)
    text = _EMPTY.sub(" ", text)
    text = _LOOSE_COMMA.sub("", text)
    text = _SPACES.sub(" ", text).strip()
    return text if _SPEAKABLE.search(text) else ""


def with_gaps(text: str) -> str:
    """The text with blanks in place of the code, addresses behind links and emoticons that a voice leaves out.

    Every other character stays in its place: what stands before and after them is heard side by side.
    """
    if "```" in text:
        text = _CODE.sub(_blank, text)
    if "](" in text:
        text = _LINK.sub(lambda found: f" {found[1]}".ljust(len(found[0])), text)
    return _EMOTICON.sub(_blank, text)


def _blank(found: re.Match[str]) -> str:
    return " " * len(found[0])
