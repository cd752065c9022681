"""Lines with choices in them, and what was said lately.

A line is plain text with ``(this|that|)`` for a choice, ``<slot>`` for a value, ``{rule}`` for a line of another rule.
It may begin with an emotion tag, ``[joy]``. Values are put in as they are and never read as a line, so what people
write cannot change the grammar. A line whose slot has no value is not used.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from random import Random

VOICES_FOLDER = Path(__file__).parent / "voices"
MAX_NESTING = 6


@dataclass(frozen=True, slots=True)
class Slot:
    """A value to put in."""

    name: str


@dataclass(frozen=True, slots=True)
class Rule:
    """A line of another rule to put in."""

    name: str


@dataclass(frozen=True, slots=True)
class Choice:
    """One of several pieces; those whose values are missing are passed over."""

    options: tuple[tuple[Piece, ...], ...]
    needs: tuple[frozenset[str], ...] = ()


Piece = str | Slot | Rule | Choice


@dataclass(frozen=True, slots=True)
class Line:
    """One compiled line.

    Attributes:
        source: As written; its identity.
        pieces: What it is made of.
        needs: Slots it cannot do without, whatever is chosen.
    """

    source: str
    pieces: tuple[Piece, ...]
    needs: frozenset[str]


_MARKS = re.compile(r"[()|]|<([a-z_0-9A-Z]+)>|\{([a-z_0-9]+)\}")


def compile_line(source: str) -> Line:
    """Read one line; raises ValueError when a bracket is left open."""
    stack: list[tuple[list[tuple[Piece, ...]], list[Piece]]] = [([], [])]
    at = 0
    for mark in _MARKS.finditer(source):
        if mark.start() > at:
            stack[-1][1].append(source[at : mark.start()])
        at = mark.end()
        if mark[1]:
            stack[-1][1].append(Slot(mark[1]))
        elif mark[2]:
            stack[-1][1].append(Rule(mark[2]))
        elif mark[0] == "(":
            stack.append(([], []))
        elif len(stack) == 1:
            raise ValueError(f"{mark[0]!r} outside of brackets in {source!r}")
        else:
            options, current = stack[-1]
            options.append(tuple(current))
            current.clear()
            if mark[0] == ")":
                stack.pop()
                found = tuple(options)
                stack[-1][1].append(Choice(found, tuple(_needs(each) for each in found)))
    if at < len(source):
        stack[-1][1].append(source[at:])
    if len(stack) != 1:
        raise ValueError(f"a bracket is left open in {source!r}")
    pieces = tuple(stack[0][1])
    return Line(source, pieces, _needs(pieces))


def _needs(pieces: tuple[Piece, ...]) -> frozenset[str]:
    needs: set[str] = set()
    for piece in pieces:
        if isinstance(piece, Slot):
            needs.add(piece.name)
        elif isinstance(piece, Choice):
            needs |= frozenset.intersection(*piece.needs)
    return frozenset(needs)


@dataclass(frozen=True, slots=True)
class Voice:
    """A manner of speaking: rules, each with its lines."""

    name: str
    rules: Mapping[str, tuple[Line, ...]]

    def has(self, rule: str) -> bool:
        """Whether it has lines for this."""
        return rule in self.rules

    def topics(self) -> dict[str, str]:
        """Words that have opinions of their own, each with its rule."""
        return {
            word: rule
            for rule in self.rules
            if rule.startswith("topic ")
            for word in rule.removeprefix("topic ").split("|")
        }


@lru_cache(maxsize=16)
def load_voice(name: str) -> Voice:
    """Read ``voices/<name>.txt``: ``= rule`` heads, one line per line, ``#`` comments."""
    rules: dict[str, list[Line]] = {}
    current: list[Line] | None = None
    for raw in (VOICES_FOLDER / f"{name}.txt").read_text(encoding="utf-8").splitlines():
        text = raw.strip()
        if not text or text.startswith("#"):
            continue
        if text.startswith("= "):
            current = rules.setdefault(text[2:].strip(), [])
        elif current is None:
            raise ValueError(f"{name}: the line {text!r} stands before the first rule")
        else:
            current.append(compile_line(text))
    return Voice(name, {rule: tuple(lines) for rule, lines in rules.items()})


def voice_names() -> list[str]:
    """Every manner of speaking there is."""
    return sorted(path.stem for path in VOICES_FOLDER.glob("*.txt"))


class Speaker:
    """Says lines of a voice with variety: those not used for longest come first."""

    def __init__(self, voice: Voice, random: Random) -> None:
        self.voice = voice
        self.random = random
        self._used: dict[str, int] = {}
        self._clock = 0
        self.said: deque[str] = deque(maxlen=48)

    def line(
        self, rule: str, slots: Mapping[str, str], *, skip: frozenset[str] = frozenset()
    ) -> str:
        """One line of ``rule`` with the values in it; empty when no line can be used.

        Args:
            rule: Its name.
            slots: Values by slot name.
            skip: Slots to do without where another line can.
        """
        usable = [line for line in self.voice.rules.get(rule, ()) if line.needs <= slots.keys()]
        chosen = self._choose([line for line in usable if not line.needs & skip] or usable)
        return "" if chosen is None else self._expand(chosen.pieces, slots, skip, 0)

    def pick(self, options: Sequence[str], kind: str) -> str:
        """One of some fixed texts, least recently used first."""
        ranked = sorted(
            options, key=lambda text: (self._used.get(f"{kind}\0{text}", 0), self.random.random())
        )
        self._clock += 1
        self._used[f"{kind}\0{ranked[0]}"] = self._clock
        return ranked[0]

    def _choose(self, lines: Sequence[Line]) -> Line | None:
        if not lines:
            return None
        ranked = sorted(
            lines, key=lambda line: (self._used.get(line.source, 0), self.random.random())
        )
        # Among the third that rested longest, by chance: a strict round would be noticed as one.
        chosen = ranked[self.random.randrange((len(ranked) + 2) // 3)]
        self._clock += 1
        self._used[chosen.source] = self._clock
        return chosen

    def _expand(
        self, pieces: tuple[Piece, ...], slots: Mapping[str, str], skip: frozenset[str], depth: int
    ) -> str:
        parts: list[str] = []
        for piece in pieces:
            match piece:
                case str():
                    parts.append(piece)
                case Slot():
                    parts.append(slots[piece.name])
                case Choice():
                    usable = [
                        (option, needs)
                        for option, needs in zip(piece.options, piece.needs, strict=True)
                        if needs <= slots.keys()
                    ]
                    wanted = [option for option, needs in usable if not needs & skip]
                    options = wanted or [option for option, _ in usable]
                    if options:
                        parts.append(self._expand(self.random.choice(options), slots, skip, depth))
                case Rule():
                    lines = [
                        line
                        for line in self.voice.rules.get(piece.name, ())
                        if line.needs <= slots.keys()
                    ]
                    chosen = self._choose(lines) if depth < MAX_NESTING else None
                    if chosen is not None:
                        parts.append(self._expand(chosen.pieces, slots, skip, depth + 1))
        return "".join(parts)
