"""Find blocked phrases in folded text, however they are disguised, and tell whether a text's end could begin one.

Two steps. An Aho-Corasick automaton runs over a coarse form of the letters: those that stand for each other (i, l, 1)
are one class, and a letter that is repeated counts once. It misses nothing and finds a little too much, so each find is
checked letter by letter: which letters stand there, where the word begins and ends, how it was split. Both steps cost
time in proportion to the text's length; the factor depends on the phrases alone.

Signs that can be letters ("$", "!") are read both ways, as different streams over the same text.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from backend.chat.moderation.normal import Folded, fold

LETTERS_FOR = {
    "a": "4@^", "b": "86", "c": "([<{¢©", "e": "3€", "g": "96", "h": "#", "i": "1!|l¡", "l": "1|!i£", "o": "0", "q": "9",
    "r": "®", "s": "5$§", "t": "7+", "u": "v", "v": "u", "x": "%", "y": "¥", "z": "2",
}  # fmt: skip
"""What else may stand for a letter."""

ALLOWED: dict[str, frozenset[str]] = {
    letter: frozenset(letter + others) for letter, others in LETTERS_FOR.items()
}

CLASS = {
    **dict.fromkeys("il1!|¡£", "i"),
    **dict.fromkeys("gqb698", "g"),
    **dict.fromkeys("uvw", "u"),
    **dict.fromkeys("o0", "o"), **dict.fromkeys("e3€", "e"), **dict.fromkeys("a4@^", "a"), **dict.fromkeys("s5$§", "s"),
    **dict.fromkeys("t7+", "t"), **dict.fromkeys("z2", "z"), **dict.fromkeys("c([<{¢©", "c"), "#": "h", "®": "r",
    "%": "x", "¥": "y",
}  # fmt: skip
"""Classes of what may stand for each other; a character that is in none is its own."""

STRONG = frozenset("@$€£§¢©®¥¡")
"""Signs that nobody puts between letters as decoration."""

WEAK = "!|(<+#^[{%"
"""Signs that are as often marks as letters."""

DRAWN = (
    ("/\\/\\", "m"), ("\\/\\/", "w"), ("|\\|", "n"), ("|\\/|", "m"), ("|_|", "u"), ("(_)", "u"), ("|-|", "h"), ("()", "o"),
    ("[]", "o"), ("\\/", "v"), ("/\\", "a"), ("|<", "k"), ("|)", "d"), ("|>", "p"), ("|3", "b"), ("|2", "r"), ("|=", "f"), ("><", "x"),
)  # fmt: skip
"""Letters drawn with several signs, the longest first."""

SPELLED = (("w", "vv"), ("f", "ph"), ("m", "rn"), ("m", "nn"), ("s", "z"))
"""Letters that are spelled with others throughout a word."""

UPSIDE_DOWN = str.maketrans("bdnpqugc", "qpudbnbo")
"""What a letter reads as where another one is turned to look like it; most letters have turned ones of their own."""

SHORTEST_BACKWARDS = 5
"""Backwards, shorter words are too often others."""

SHORTEST_NUMBERED = 4
"""So many letters are a word although there are numbers between them ("1. W 2. O 3. R 4. D")."""

MOST_FRAGMENTS_SHORT = 4
"""A word this short that is split must not contain a piece of digits alone: "as 5 of us" is no word."""

LINES = frozenset(
    "\u30fc\uff70\u3161\u1173\u4e00\u4e28\u4e36\u0640\u02d0\u02d1\ua4f8\ua4f9\u1427\u01c3\u01c2\u02c8\u02cc\ua788\ua789\u3005\u3006"
)
"""Letters and signs of other scripts that are drawn as lines and dots: behind a Latin letter they are marks."""

STARTS_TRIED = 4
MOST_STARTS = 16

_NUMBER = re.compile(r"\d+")


@dataclass(frozen=True, slots=True)
class Phrase:
    """Something that is looked for.

    Attributes:
        text: As its list has it.
        letters: Folded, without spaces.
        tag: Whatever its owner wants back with a find.
        opens, closes: Whether it may begin or end inside a word.
        digits_end: Whether digits beside it count as the end of the word ("badword123").
        splits: "all" = however it is split; "not-words" = not where every piece is an everyday word ("put a").
        words: Of one that is written backwards, how many words it has; it is split between them or not at all. 0 = it is
            written forwards.
        is_turned: Whether it is upside down: then not all of it is plain letters.
    """

    text: str
    letters: str
    tag: int
    opens: bool = False
    closes: bool = False
    digits_end: bool = True
    splits: str = "all"
    words: int = 0
    is_turned: bool = False


@dataclass(frozen=True, slots=True)
class Find:
    """A phrase that was found: folded characters ``start`` to ``end`` (exclusive)."""

    phrase: Phrase
    start: int
    end: int


@dataclass(slots=True)
class Stream:
    """The letters of a text under one reading of its signs.

    Attributes:
        chars: The letters, folded.
        at, until: Where in the folded text each begins and ends.
        gaps: How many gaps (anything that is no letter) there are before each letter; one entry more than letters.
        is_numbered: Whether numbers and flags are gaps in it.
    """

    chars: list[str] = field(default_factory=list)
    at: list[int] = field(default_factory=list)
    until: list[int] = field(default_factory=list)
    gaps: list[int] = field(default_factory=list)
    is_numbered: bool = False

    def starts_word(self, k: int, *, digits_end: bool) -> bool:
        """Whether a word can begin with letter ``k``."""
        return k == 0 or self._is_edge(k, k - 1, digits_end)

    def ends_word(self, k: int, *, digits_end: bool) -> bool:
        """Whether a word can end with letter ``k``."""
        return k + 1 == len(self.chars) or self._is_edge(k + 1, k + 1, digits_end)

    def _is_edge(self, k: int, other: int, digits_end: bool) -> bool:
        """Whether there is an edge before letter ``k``; ``other`` is the letter beyond it."""
        if self.gaps[k] != self.gaps[k - 1]:
            return True
        beyond = self.chars[other]
        if not beyond.isalnum():
            return True
        inside = self.chars[k - 1] if other == k else self.chars[k]
        return digits_end and beyond.isdigit() and not inside.isdigit()


def streams(folded: Folded) -> Iterator[Stream]:
    """The readings of a text: signs as marks, as letters, and each doubtful kind of sign on its own."""
    text = folded.text
    yield _stream(text, frozenset())
    present = {char for char in text if not char.isalnum()}
    strong = present & STRONG
    weak = [sign for sign in WEAK if sign in present]
    if strong:
        yield _stream(text, frozenset(strong))
    for sign in weak:
        yield _stream(text, frozenset(strong | {sign}))
    if len(weak) > 1:
        yield _stream(text, frozenset({*strong, *weak}))
    if "!" in present:
        # "mu! m!x": at the end of a word it is the mark it is everywhere else.
        yield _stream(text, frozenset({*strong, *weak}), marks_end=True)
    if present & {"\\", "|", "(", "[", ">"}:
        yield _stream(text, frozenset(strong), draws=True)
        yield _stream(text, frozenset({*strong, *weak}), draws=True)
    if not folded.original.isascii():
        original = folded.original
        unflagged = "".join(
            " " if "\U0001f1e6" <= original[place] <= "\U0001f1ff" else char
            for char, place in zip(text, folded.at, strict=True)
        )
        if unflagged != text:
            text = unflagged
            yield _stream(text, frozenset(strong))
    if _NUMBER.search(text):
        stream = _stream(_NUMBER.sub(_blank, text), frozenset(strong))
        stream.is_numbered = True
        yield stream


def _blank(found: re.Match[str]) -> str:
    return " " * len(found[0])


def _stream(
    text: str, signs: frozenset[str], *, draws: bool = False, marks_end: bool = False
) -> Stream:
    made = Stream()
    chars, at, until, gaps = made.chars, made.at, made.until, made.gaps
    gap = 0
    is_open = True
    index, end = 0, len(text)
    while index < end:
        char = text[index]
        width = 1
        is_last = marks_end and (index + 1 == end or text[index + 1].isspace())
        if draws and (drawn := _drawn(text, index)) is not None:
            char, width = drawn
        elif char in LINES and chars and chars[-1].isascii():
            gap += is_open
            is_open = False
            index += 1
            continue
        elif char.isalnum() or (char in signs and not (is_last and char == "!")):
            pass
        else:
            # Marks that belong to a letter (vowel signs) neither part a word nor are letters of their own.
            if char < "\x80" or not unicodedata.category(char).startswith("M"):
                gap += is_open
                is_open = False
            index += 1
            continue
        chars.append(char)
        at.append(index)
        until.append(index + width)
        gaps.append(gap)
        is_open = True
        index += width
    gaps.append(gap)
    return made


def _drawn(text: str, index: int) -> tuple[str, int] | None:
    if text[index] not in "/\\|([>":
        return None
    for signs, letter in DRAWN:
        if text.startswith(signs, index):
            return letter, len(signs)
    return None


def phrases_of(
    text: str, tag: int, *, digits_end: bool = True, splits: str = "all"
) -> list[Phrase]:
    """A line of a word list as phrases: ``word``, ``word*``, ``*word``, ``*word*``, ``two words``.

    A line gives several where its letters can be written in several ways (upper case that looks different, `SPELLED`).
    """
    line = text.strip()
    opens, closes = line.startswith("*"), line.endswith("*")
    core = line.strip("*").strip()
    found: dict[str, Phrase] = {}
    for spelled in (core, core.upper()):
        letters = "".join(char for char in fold(spelled).text if char.isalnum())
        if not letters:
            continue
        # Scripts without spaces between words have no whole words to look for.
        is_tight = any(_is_tight(char) for char in letters)
        variants = {letters: None}
        for letter, other in SPELLED:
            variants |= {known.replace(letter, other): None for known in variants}
        for variant in variants:
            found[variant] = Phrase(
                line, variant, tag, opens or is_tight, closes or is_tight, digits_end, splits
            )
        if not is_tight:
            _add_backwards(found, fold(spelled).text.split(), line, tag, digits_end=digits_end)
    return list(found.values())


def _add_backwards(
    found: dict[str, Phrase], words: Sequence[str], line: str, tag: int, *, digits_end: bool
) -> None:
    """The phrase as it is read from its end, word for word, and turned upside down."""
    words = ["".join(char for char in word if char.isalnum()) for word in words]
    words = [word for word in words if word]
    plain = "".join(words)
    if len(plain) < SHORTEST_BACKWARDS:
        return
    each = "".join(word[::-1] for word in words)
    back = (plain[::-1], each)
    turned = (letters.translate(UPSIDE_DOWN) for letters in (plain, *back))
    both = [*((letters, False) for letters in back), *((letters, True) for letters in turned)]
    for letters, is_turned in both:
        found.setdefault(
            letters,
            Phrase(
                line,
                letters,
                tag,
                digits_end=digits_end,
                words=len(words),
                is_turned=is_turned,
            ),
        )


def _is_tight(char: str) -> bool:
    code = ord(char)
    return 0x3040 <= code <= 0x30FF or 0x3400 <= code <= 0x9FFF or 0x0E00 <= code <= 0x0EFF


class Automaton:
    """All phrases at once.

    Args:
        phrases: What is looked for.
        common: Everyday words, folded: pieces that a split of a phrase with ``splits="not-words"`` may consist of.
    """

    def __init__(self, phrases: Iterable[Phrase], common: frozenset[str] = frozenset()) -> None:
        self._common = common
        self._next: list[dict[str, int]] = [{}]
        self._fail = [0]
        self._depth = [0]
        self._ends: list[list[Phrase]] = [[]]
        self._output = [0]
        self._through: list[list[Phrase]] = [[]]
        self.longest = 0
        """Letters of the longest phrase."""
        for phrase in phrases:
            self._add(phrase)
        self._link()

    def __bool__(self) -> bool:
        return len(self._next) > 1

    def _add(self, phrase: Phrase) -> None:
        node = 0
        for step in _coarse(phrase.letters):
            child = self._next[node].get(step)
            if child is None:
                child = len(self._next)
                self._next[node][step] = child
                self._next.append({})
                self._fail.append(0)
                self._depth.append(self._depth[node] + 1)
                self._ends.append([])
                self._output.append(0)
                self._through.append([])
            node = child
            # Of what is written backwards only the end is covered, once it is there: waiting for it would cost too often.
            if not phrase.words:
                self._through[node].append(phrase)
        self._ends[node].append(phrase)
        self.longest = max(self.longest, len(phrase.letters))

    def _link(self) -> None:
        queue = list(self._next[0].values())
        for node in queue:
            for step, child in self._next[node].items():
                back = self._fail[node]
                while back and step not in self._next[back]:
                    back = self._fail[back]
                self._fail[child] = self._next[back].get(step, 0)
                queue.append(child)
            back = self._fail[node]
            # The nearest shorter phrase that ends here too; 0 = none.
            self._output[node] = back if self._ends[back] else self._output[back]

    def find(self, folded: Folded) -> list[Find]:
        """Every phrase in the text, in no order; one place may be found more than once."""
        found: list[Find] = []
        if self:
            for stream in streams(folded):
                self._find(stream, found)
        return [one for one in found if not one.phrase.is_turned or not _is_plain(one, folded)]

    def _find(self, stream: Stream, found: list[Find]) -> None:
        steps, first, last = _runs(stream)
        node = 0
        for r, step in enumerate(steps):
            while node and step not in self._next[node]:
                node = self._fail[node]
            node = self._next[node].get(step, 0)
            here = node if self._ends[node] else self._output[node]
            while here:
                begin = r - self._depth[here] + 1
                for phrase in self._ends[here]:
                    one = self._checked(
                        phrase, stream, first[begin], last[begin], first[r], last[r]
                    )
                    if one is not None:
                        found.append(one)
                here = self._output[here]

    def _checked(
        self,
        phrase: Phrase,
        stream: Stream,
        first: int,
        first_end: int,
        last: int,
        last_end: int,
    ) -> Find | None:
        """The phrase, when it really stands there; letters by index in the stream."""
        for start in _starts(stream, phrase, first, first_end):
            end = self._matched(phrase, stream, start, last, last_end)
            if end is not None:
                return Find(phrase, stream.at[start], stream.until[end])
        return None

    def _matched(
        self, phrase: Phrase, stream: Stream, start: int, last: int, last_end: int
    ) -> int | None:
        letters = phrase.letters
        size = len(letters)
        chars, gaps = stream.chars, stream.gaps
        starts_word = stream.starts_word(start, digits_end=phrase.digits_end)
        states = {0}
        end: int | None = None
        tries = 0
        before = ""
        for k in range(start, last_end + 1):
            # Of a last letter that goes on ("d d d d") the first places count, or each would be looked at again.
            if tries == STARTS_TRIED or (end is not None and gaps[k] != gaps[end]):
                break
            char = chars[k]
            states = _stepped(states, letters, size, char, before)
            if not states:
                break
            before = char
            if k < last or size not in states:
                continue
            is_split = gaps[k] != gaps[start]
            ends_word = stream.ends_word(k, digits_end=phrase.digits_end)
            if not (starts_word or (phrase.opens and not is_split)):
                break
            if not (ends_word or (phrase.closes and not is_split)):
                continue
            if self._is_meant(phrase, stream, start, k, is_split=is_split):
                end = k
            else:
                tries += 1
        return end

    def _is_meant(
        self, phrase: Phrase, stream: Stream, start: int, end: int, *, is_split: bool
    ) -> bool:
        """Whether it can be read as the phrase: numbers are no words, and "put a" is none of one word."""
        chars = stream.chars
        if all(chars[k].isdigit() for k in range(start, end + 1)):
            return phrase.letters.isdigit()
        if phrase.words:
            return self._is_backwards(phrase, stream, start, end)
        if not is_split:
            # Without a number in it the other readings have found it, and know what numbers beside it mean.
            return not stream.is_numbered
        pieces = _pieces(stream, start, end)
        if stream.is_numbered and not _is_numbered(phrase, pieces):
            return False
        if not any(char.isalpha() for piece in pieces for char in piece):
            return False  # sums and scores: "+37 -42"
        if len(phrase.letters) <= MOST_FRAGMENTS_SHORT:
            has_number = any(piece.isdigit() for piece in pieces)
            if has_number and any(len(piece) > 1 for piece in pieces):
                return False
        if phrase.splits == "not-words":
            return not all(piece in self._common for piece in pieces)
        return True

    def _is_backwards(self, phrase: Phrase, stream: Stream, start: int, end: int) -> bool:
        """Whether what reads as a phrase from its end is split as that is, and is no everyday word."""
        if stream.is_numbered:
            return False
        pieces = _pieces(stream, start, end)
        return len(pieces) in (1, phrase.words) and not all(p in self._common for p in pieces)

    def open_from(self, folded: Folded) -> int:
        """Where the end of the text that could begin a phrase starts, in folded characters; its length when none could.

        What follows is thought to come after a gap.
        """
        earliest = len(folded.text)
        if self:
            for stream in streams(folded):
                earliest = min(earliest, self._open_from(stream, len(folded.text)))
        return earliest

    def _open_from(self, stream: Stream, length: int) -> int:
        steps, first, last = _runs(stream)
        node = 0
        # Only the end matters, and no phrase is longer than the automaton is deep.
        for step in steps[-2 * self.longest - 2 :]:
            while node and step not in self._next[node]:
                node = self._fail[node]
            node = self._next[node].get(step, 0)
        # A mark at the end of a sentence begins nothing, nor does a number.
        firm = len(stream.chars) - 1
        while firm >= 0 and (stream.chars[firm] in WEAK or stream.chars[firm].isdigit()):
            firm -= 1
        while node:
            begin = len(steps) - self._depth[node]
            # A letter that is repeated stands for one: of a long row of them a few tell as much as all.
            for k in range(first[begin], min(last[begin], firm, first[begin] + MOST_STARTS) + 1):
                if stream.starts_word(k, digits_end=True) and self._goes_on(node, stream, k):
                    return stream.at[k]
            node = self._fail[node]
        return length

    def _goes_on(self, node: int, stream: Stream, start: int) -> bool:
        """Whether the letters from ``start`` to the end begin a phrase that needs more of them."""
        chars = stream.chars[start:]
        is_counted = stream.gaps[start] != stream.gaps[len(stream.chars) - 1]
        for phrase in self._through[node]:
            if stream.is_numbered and not (is_counted and _may_be_numbered(phrase)):
                continue
            states, before = {0}, ""
            for char in chars:
                states = _stepped(states, phrase.letters, len(phrase.letters), char, before)
                before = char
                if not states:
                    break
            if any(read < len(phrase.letters) for read in states):
                return True
        return False


def _is_plain(one: Find, folded: Folded) -> bool:
    start, end = folded.span(one.start, one.end)
    return folded.original[start:end].isascii()


def _may_be_numbered(phrase: Phrase) -> bool:
    return not phrase.words and len(phrase.letters) >= SHORTEST_NUMBERED


def _is_numbered(phrase: Phrase, pieces: Sequence[str]) -> bool:
    """Whether pieces with numbers between them are the phrase: of a short one, only when each letter stands alone."""
    if len(phrase.letters) > SHORTEST_NUMBERED:
        return True
    return _may_be_numbered(phrase) and len(pieces) == len(phrase.letters)


def _starts(stream: Stream, phrase: Phrase, first: int, first_end: int) -> list[int]:
    """Letters of a run at which the phrase can begin, the likeliest first."""
    found: list[int] = []
    for k in range(first_end, first - 1, -1):
        if stream.starts_word(k, digits_end=phrase.digits_end):
            found.append(k)
            if len(found) == STARTS_TRIED:
                break
    if phrase.opens:
        k = first_end
        while k > first and stream.gaps[k] == stream.gaps[k - 1]:
            k -= 1
        found += [k, first_end]
    return found


def _stepped(states: set[int], letters: str, size: int, char: str, before: str) -> set[int]:
    """How many letters of the phrase are read after one more character."""
    after: set[int] = set()
    is_letter = char.isalpha()
    for read in states:
        if read < size:
            wanted = letters[read]
            if char == wanted or char in ALLOWED.get(wanted, ()):
                after.add(read + 1)
        if read:
            wanted = letters[read - 1]
            # A letter may be repeated, also by what stands for it; but "tilt" is no "tiit".
            if char == wanted or (
                char in ALLOWED.get(wanted, ()) and (not is_letter or char == before)
            ):
                after.add(read)
    return after


def _pieces(stream: Stream, start: int, end: int) -> list[str]:
    """The letters of a range, parted at gaps."""
    found: list[str] = []
    piece: list[str] = []
    for k in range(start, end + 1):
        if piece and stream.gaps[k] != stream.gaps[k - 1]:
            found.append("".join(piece))
            piece = []
        piece.append(stream.chars[k])
    return [*found, "".join(piece)]


def _runs(stream: Stream) -> tuple[list[str], list[int], list[int]]:
    """The classes of the letters, each run of one class once, and the first and last letter of each run."""
    steps: list[str] = []
    first: list[int] = []
    last: list[int] = []
    before = ""
    for k, char in enumerate(stream.chars):
        step = CLASS.get(char, char)
        if step == before:
            last[-1] = k
        else:
            steps.append(step)
            first.append(k)
            last.append(k)
            before = step
    return steps, first, last


def _coarse(letters: Sequence[str]) -> list[str]:
    steps: list[str] = []
    for char in letters:
        step = CLASS.get(char, char)
        if not steps or steps[-1] != step:
            steps.append(step)
    return steps
