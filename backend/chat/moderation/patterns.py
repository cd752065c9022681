r"""Search expressions of the streamer's own, in time that grows with the text alone.

A small part of what regular expressions are: characters, ``.``, ``[a-z]``, ``\d \w \s`` and their opposites, groups,
``|``, ``* + ?`` and ``{2,5}``. There is nothing in it that needs going back, so no expression can stall on any text:
an automaton reads every character once forward, and for every find a bounded number back.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

MOST_STATES = 120
"""Bounds the cost of one character; an expression of some 100 characters fits."""

MOST_MATCH_CHARS = 200
"""How far back a find may have begun."""

MOST_REMEMBERED = 2_000
"""Steps of an expression that are remembered, each some 200 bytes."""

Accepts = Callable[[str], bool]


class PatternError(ValueError):
    """An expression that is none, or asks for what would need going back; says where."""


@dataclass(frozen=True, slots=True)
class _One:
    accepts: Accepts


@dataclass(frozen=True, slots=True)
class _Chain:
    parts: tuple[_Node, ...]


@dataclass(frozen=True, slots=True)
class _Either:
    parts: tuple[_Node, ...]


@dataclass(frozen=True, slots=True)
class _Repeat:
    part: _Node
    least: int
    most: int | None


_Node = _One | _Chain | _Either | _Repeat


class Pattern:
    """One expression; looks anywhere in a text, in lower case.

    Args:
        source: The expression.

    Raises:
        PatternError: It cannot be used; says why.
    """

    def __init__(self, source: str) -> None:
        self.source = source
        node = _Parser(source).whole()
        self._forward = _Machine(node, is_backward=False)
        self._backward = _Machine(node, is_backward=True)
        if self._forward.matches_nothing:
            raise PatternError("it also fits an empty text, so it would fit everywhere")

    def find(self, text: str) -> list[tuple[int, int]]:
        """Where it fits, as ranges that may touch or overlap; covers every character of every shortest find."""
        found: list[tuple[int, int]] = []
        machine = self._forward
        state = machine.start
        for index, char in enumerate(text):
            state = machine.step(state, char, restarts=True)
            if machine.is_end(state):
                found.append((self._began(text, index + 1), index + 1))
        return found

    def _began(self, text: str, end: int) -> int:
        """The farthest start of a find that ends there."""
        machine = self._backward
        state = machine.start
        began = end - 1
        for index in range(end - 1, max(-1, end - 1 - MOST_MATCH_CHARS), -1):
            state = machine.step(state, text[index], restarts=False)
            if not state:
                break
            if machine.is_end(state):
                began = index
        return began


class _Machine:
    """A set of places in the expression at once; sets that were met are remembered."""

    def __init__(self, node: _Node, *, is_backward: bool) -> None:
        self._is_backward = is_backward
        self._accepts: list[Accepts | None] = []
        self._after: list[list[int]] = []
        end = self._state(None)
        first = self._build(node, end)
        self._end = end
        self._known: dict[tuple[frozenset[int], str], frozenset[int]] = {}
        self.start = self._closed({first})
        self.matches_nothing = end in self.start

    def is_end(self, state: frozenset[int]) -> bool:
        return self._end in state

    def step(self, state: frozenset[int], char: str, *, restarts: bool) -> frozenset[int]:
        known = self._known.get((state, char))
        if known is None:
            reached: set[int] = set()
            for one in state:
                accepts = self._accepts[one]
                if accepts is not None and accepts(char):
                    reached.update(self._after[one])
            known = self._closed(reached)
            if restarts:
                known |= self.start
            if len(self._known) >= MOST_REMEMBERED:
                self._known.clear()
            self._known[state, char] = known
        return known

    def _closed(self, states: set[int]) -> frozenset[int]:
        """With everything that is reached without a character."""
        found = set(states)
        open_ones = list(states)
        while open_ones:
            one = open_ones.pop()
            if self._accepts[one] is None:
                for other in self._after[one]:
                    if other not in found:
                        found.add(other)
                        open_ones.append(other)
        return frozenset(found)

    def _state(self, accepts: Accepts | None, *after: int) -> int:
        if len(self._after) >= MOST_STATES:
            raise PatternError("it is too long, or repeats too much; write several shorter ones")
        self._accepts.append(accepts)
        self._after.append(list(after))
        return len(self._after) - 1

    def _build(self, node: _Node, then: int) -> int:
        """The state in which ``node`` begins and after which ``then`` follows."""
        match node:
            case _One():
                return self._state(node.accepts, then)
            case _Chain():
                parts = node.parts if self._is_backward else node.parts[::-1]
                for part in parts:
                    then = self._build(part, then)
                return then
            case _Either():
                return self._state(None, *(self._build(part, then) for part in node.parts))
            case _Repeat():
                if node.most is None:
                    again = self._state(None, then)
                    self._after[again].append(self._build(node.part, again))
                    then = again
                else:
                    for _ in range(node.most - node.least):
                        then = self._state(None, then, self._build(node.part, then))
                for _ in range(node.least):
                    then = self._build(node.part, then)
                return then


class _Parser:
    def __init__(self, source: str) -> None:
        self._source = source
        self._at = 0
        self._depth = 0

    def whole(self) -> _Node:
        if not self._source:
            raise PatternError("it is empty")
        if len(self._source) > 500:
            raise PatternError("it is longer than 500 characters; write several shorter ones")
        node = self._either()
        if self._at < len(self._source):
            raise self._wrong("a ) without its (")
        return node

    def _either(self) -> _Node:
        parts = [self._chain()]
        while self._peek() == "|":
            self._at += 1
            parts.append(self._chain())
        return parts[0] if len(parts) == 1 else _Either(tuple(parts))

    def _chain(self) -> _Node:
        parts: list[_Node] = []
        while (char := self._peek()) and char not in "|)":
            parts.append(self._repeated())
        return parts[0] if len(parts) == 1 else _Chain(tuple(parts))

    def _repeated(self) -> _Node:
        node = self._atom()
        while (char := self._peek()) and char in "*+?{":
            least, most = self._times()
            if self._peek() == "?":
                self._at += 1  # shortest or longest first: both find the same places
            node = _Repeat(node, least, most)
        return node

    def _times(self) -> tuple[int, int | None]:
        char = self._take()
        if char != "{":
            return {"*": (0, None), "+": (1, None), "?": (0, 1)}[char]
        end = self._source.find("}", self._at)
        words = self._source[self._at : end].split(",") if end >= 0 else []
        if not 1 <= len(words) <= 2 or not all(word.isdecimal() or not word for word in words):
            raise self._wrong("{ } takes one or two numbers: {3} or {2,5}")
        if not words[0]:
            raise self._wrong("{ } needs a smallest number: {0,5}")
        self._at = end + 1
        least = int(words[0][:6])
        most = least if len(words) == 1 else int(words[1][:6]) if words[1] else None
        if (most is not None and most < least) or least > MOST_STATES or (most or 0) > MOST_STATES:
            raise self._wrong(f"{{ }} goes from small to large and to {MOST_STATES} at most")
        return least, most

    def _atom(self) -> _Node:
        char = self._take()
        if char == "(":
            return self._group()
        if char == "[":
            return _One(self._set())
        if char == ".":
            return _One(lambda c: True)
        if char == "\\":
            return _One(self._escaped())
        if char in "*+?{":
            raise self._wrong(f"{char} has nothing before it that could be repeated")
        if char in "^$":
            raise self._wrong(f"{char} is not known: what is looked for may stand anywhere")
        lowered = char.casefold()
        return _One(lambda c: c == lowered)

    def _group(self) -> _Node:
        self._depth += 1
        if self._depth > 20:
            raise self._wrong("groups in groups in groups: at most 20 deep")
        if self._peek() == "?":
            if not self._source.startswith("?:", self._at):
                raise self._wrong("looking ahead or back, and names of groups, are not known")
            self._at += 2
        node = self._either()
        if self._peek() != ")":
            raise self._wrong("a ( without its )")
        self._at += 1
        self._depth -= 1
        return node

    def _escaped(self) -> Accepts:
        if not self._peek():
            raise self._wrong("it ends with a \\")
        char = self._take()
        known = _CLASSES.get(char)
        if known is not None:
            return known
        if char.isdigit():
            raise self._wrong("references to what a group has found are not known")
        if char.isalpha():
            raise self._wrong(f"\\{char} is not known; there are \\d \\w \\s \\D \\W \\S")
        return lambda c: c == char

    def _set(self) -> Accepts:
        is_not = self._peek() == "^"
        self._at += is_not
        tests: list[Accepts] = []
        while True:
            char = self._peek()
            if not char:
                raise self._wrong("a [ without its ]")
            self._at += 1
            if char == "]" and tests:
                break
            if char == "\\":
                tests.append(self._escaped())
                continue
            low = char.casefold()
            if self._peek() == "-" and self._source[self._at + 1 : self._at + 2] not in ("", "]"):
                high = self._source[self._at + 1].casefold()
                self._at += 2
                if len(low) != 1 or len(high) != 1 or high < low:
                    raise self._wrong("a range goes from the smaller to the larger character")
                tests.append(_between(low, high))
            else:
                tests.append(_is(low))
        found = tuple(tests)
        return lambda c: any(test(c) for test in found) is not is_not

    def _peek(self) -> str:
        return self._source[self._at : self._at + 1]

    def _take(self) -> str:
        self._at += 1
        return self._source[self._at - 1]

    def _wrong(self, why: str) -> PatternError:
        return PatternError(f"{why} (at character {self._at})")


def _is(wanted: str) -> Accepts:
    return lambda c: c == wanted


def _between(low: str, high: str) -> Accepts:
    return lambda c: low <= c <= high


_CLASSES: dict[str, Accepts] = {
    "d": lambda c: c.isdigit(),
    "D": lambda c: not c.isdigit(),
    "w": lambda c: c.isalnum() or c == "_",
    "W": lambda c: not (c.isalnum() or c == "_"),
    "s": lambda c: c.isspace(),
    "S": lambda c: not c.isspace(),
}
