"""Take emotion tags, stage directions and private thoughts out of a reply while it is being written.

``[joy]``, ``<expression:joy>`` and ``*waves*`` become cues; ``<think>…</think>`` is dropped. What remains is what may be
shown, stored and spoken. A tag may arrive in pieces; text that could still become one is held back, never longer than
`HOLD_CHARS`.
"""

from __future__ import annotations

import re

from backend.contracts.entities import Cue

HOLD_CHARS = 96
"""Longest stage direction; longer is taken for text. Bounds how long an open bracket can delay speech."""

_BRACKET = re.compile(r"\[([^\[\]\n]{1,64})\]")
_TAG_NAME = re.compile(r"[^\W\d_][\w' :-]{0,40}", re.UNICODE)
_ANGLE = re.compile(r"<\s*(expression|emotion|motion)\s*[:=]\s*([\w -]{1,40})\s*/?>", re.IGNORECASE)
_THINK_OPEN = re.compile(r"<\s*(think|thinking|thought|reasoning|analysis)\s*>", re.IGNORECASE)
_THINK_CLOSE = re.compile(r"<\s*/\s*(think|thinking|thought|reasoning|analysis)\s*>", re.IGNORECASE)
_ACTION = re.compile(r"\*(?=\S)([^*\n]{1,90})(?<=\S)\*")
_BOUNDARY = '.!?…。！？\n"”)]'

_STRESSED = frozenset(
    """this always does less unless perhaps sometimes things thing something nothing everything anything king bring
    during gross boss class pass miss kiss guess focus serious obvious famous various delicious hers ours yours theirs
    across towards besides series news plus bonus genius amazing interesting exciting boring""".split()
)

Part = str | Cue


class TagReader:
    """Feed it raw pieces of a reply, take text and cues out in order."""

    def __init__(self) -> None:
        self._held = ""
        self._in_thought = False
        self._skips_space = False
        self._last = "\n"  # the last character let through: an action is told from emphasis by what is before it

    def feed(self, piece: str) -> list[Part]:
        """Add raw text; return what is certain by now."""
        self._held += piece
        return self._read(is_end=False)

    def finish(self) -> list[Part]:
        """Return what is left when the reply has ended; an unclosed thought stays private."""
        parts = self._read(is_end=True)
        if self._held and not self._in_thought:
            self._emit(parts, self._held)
        self._held = ""
        return parts

    def _read(self, *, is_end: bool) -> list[Part]:
        parts: list[Part] = []
        while self._held:
            if self._in_thought:
                close = _THINK_CLOSE.search(self._held)
                if close is None:
                    self._held = self._held[-24:]  # enough to find a closing tag cut in two
                    break
                self._in_thought = False
                self._held = self._held[close.end() :].lstrip()
                continue
            start = _first_of(self._held, "[<*")
            if start != 0:
                self._emit(parts, self._held[:start] if start > 0 else self._held)
                self._held = self._held[start:] if start > 0 else ""
                continue
            if not self._read_mark(parts, is_end=is_end):
                break
        return parts

    def _read_mark(self, parts: list[Part], *, is_end: bool) -> bool:
        """Deal with the mark at the start of what is held; False when more text is needed."""
        held = self._held
        if held[0] == "<":
            if match := _THINK_OPEN.match(held):
                self._in_thought = True
            elif not (match := _THINK_CLOSE.match(held)):
                match = _ANGLE.match(held)
                if match:
                    kind = "motion" if match[1].lower() == "motion" else "expression"
                    parts.append(Cue(kind, match[2].strip().lower()))  # type: ignore[arg-type]  # two literals
            if match:
                self._drop(match.end())
                return True
            may_grow = (
                ">" not in held
                and "\n" not in held
                and bool(re.match(r"<\s*/?\s*[a-zA-Z]*[\w:= -]*$", held))
            )
            return self._wait_or_emit(parts, may_grow and len(held) < 64, is_end)
        if held[0] == "[":
            match = _BRACKET.match(held)
            if match is None:
                may_grow = "]" not in held and "\n" not in held and "[" not in held[1:]
                return self._wait_or_emit(parts, may_grow and len(held) <= 65, is_end)
            if match.end() == len(held) and not is_end:
                return False  # "(" may follow: then it is a link
            follows_link = held[match.end() : match.end() + 1] == "("
            if follows_link or not _TAG_NAME.fullmatch(match[1].strip()):
                self._emit(parts, match[0])
                self._held = held[match.end() :]
                return True
            parts.append(Cue("expression", match[1].strip().lower()))
            self._drop(match.end())
            return True
        return self._read_star(parts, is_end=is_end)

    def _read_star(self, parts: list[Part], *, is_end: bool) -> bool:
        held = self._held
        if held.startswith("**"):
            self._held = held[2:]  # bold: the words stay
            return True
        if len(held) == 1 and not is_end:
            return False
        if held[1:2].isspace() or len(held) == 1:  # "2 * 3", or the star of a list
            self._emit(parts, "*")
            self._held = held[1:]
            return True
        match = _ACTION.match(held)
        if match is None:
            if "*" not in held[1:] and "\n" not in held and len(held) <= HOLD_CHARS and not is_end:
                return False
            self._held = held[1:]
            return True
        after = held[match.end() :].lstrip(" ")[:1]
        if not after and not is_end:
            return False  # what follows tells emphasis from action
        inner = match[1].strip()
        before = self._last.rstrip(" ")[-1:] or "\n"
        in_sentence = before not in _BOUNDARY and after not in _BOUNDARY and after != ""
        if " " not in inner and in_sentence and not _is_doing(inner.lower()):
            self._emit(parts, inner)  # "I *really* mean it"
            self._held = held[match.end() :]
            return True
        parts.append(Cue("motion", inner.lower()))
        self._drop(match.end())
        return True

    def _wait_or_emit(self, parts: list[Part], may_grow: bool, is_end: bool) -> bool:
        if may_grow and not is_end:
            return False
        self._emit(parts, self._held[0])
        self._held = self._held[1:]
        return True

    def _drop(self, end: int) -> None:
        self._held = self._held[end:]
        # "Hi [joy] there" must not keep two spaces.
        self._skips_space = self._last[-1:].isspace()

    def _emit(self, parts: list[Part], text: str) -> None:
        if self._skips_space:
            text = text.lstrip(" ")
            if not text:
                return
            self._skips_space = False
        if not text:
            return
        if parts and isinstance(parts[-1], str):
            parts[-1] += text
        else:
            parts.append(text)
        self._last = (self._last + text)[-8:]


def _is_doing(word: str) -> bool:
    """Whether a starred word reads as something done ("waves", "giggling") rather than stressed."""
    return len(word) > 3 and word.endswith(("s", "ing")) and word not in _STRESSED


def _first_of(text: str, marks: str) -> int:
    """Index of the first of ``marks`` in ``text``, -1 when there is none."""
    found = [index for mark in marks if (index := text.find(mark)) >= 0]
    return min(found, default=-1)
