"""A profile at work: what each of its rules finds in a text, and the verdict on all of it.

Nothing here remembers anything or fails on any text; time grows with the text's length alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal

from backend.chat.moderation import private
from backend.chat.moderation.automaton import Automaton, Find, Phrase, phrases_of
from backend.chat.moderation.normal import (
    Folded,
    fold,
    is_mark,
    masked,
    tail_at,
    unescaped,
    without_asides,
)
from backend.chat.moderation.patterns import Pattern
from backend.chat.moderation.profile import (
    LANGUAGES,
    CapsRule,
    EmotesRule,
    LanguageRule,
    LengthRule,
    LinksRule,
    PatternRule,
    PrivateRule,
    Profile,
    RepetitionRule,
    Rule,
    Script,
    WordsRule,
    ZalgoRule,
    shipped_text,
    shipped_words,
)
from backend.chat.sentences import with_gaps
from backend.contracts.audience import Emote, ModerationAction, Role, Verdict

Direction = Literal["in", "out"]

LONGEST_CHARS = 2_000
"""Longer messages are not read at all: no platform sends them, and reading them would take the others' time."""

END_CHARS = 240
"""How much of a text's end is looked at for what it could begin; more is never held back."""

STRENGTH: dict[ModerationAction, int] = {
    "allow": 0,
    "mask": 1,
    "replace": 2,
    "hold": 3,
    "ignore": 4,
}

OUTGOING = (WordsRule, LinksRule, PrivateRule, PatternRule, LanguageRule)
"""Rules that say something of what she says; the others are about viewers."""

_SCRIPTS: tuple[tuple[int, int, Script], ...] = (
    (0x41, 0x24F, "latin"),
    (0x370, 0x3FF, "greek"),
    (0x400, 0x52F, "cyrillic"),
    (0x590, 0x5FF, "hebrew"),
    (0x600, 0x77F, "arabic"),
    (0x900, 0x97F, "devanagari"),
    (0xE00, 0xE7F, "thai"),
    (0x1100, 0x11FF, "hangul"),
    (0x1E00, 0x1EFF, "latin"),
    (0x1F00, 0x1FFF, "greek"),
    (0x3040, 0x30FF, "kana"),
    (0x3130, 0x318F, "hangul"),
    (0x3400, 0x9FFF, "han"),
    (0xAC00, 0xD7AF, "hangul"),
    (0xFF21, 0xFF5A, "latin"),
    (0xFF66, 0xFF9D, "kana"),
    (0x20000, 0x3FFFF, "han"),
)


@dataclass(frozen=True, slots=True)
class Hit:
    """What a rule found.

    Attributes:
        rule: Its name.
        action: What follows.
        reason: In words, without the text.
        ranges: Where, in the text as it came; empty = all of it.
        fix: How a rule about the whole text is satisfied where it only masks.
    """

    rule: str
    action: ModerationAction
    reason: str
    ranges: tuple[tuple[int, int], ...] = ()
    fix: Literal["", "lower", "cut", "strip"] = ""


@dataclass(slots=True)
class _Direction:
    """The rules of one direction, ready to run."""

    rules: list[Rule] = field(default_factory=list)
    automaton: Automaton = field(default_factory=lambda: Automaton(()))
    harmless: dict[int, _Harmless] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Harmless:
    """Words in which a find is none."""

    words: frozenset[str]
    stems: frozenset[str]
    phrases: tuple[str, ...]


class Compiled:
    """A profile, ready to run.

    Args:
        profile: The rules.
        is_family: The family-friendly switch.
    """

    def __init__(self, profile: Profile, *, is_family: bool = False) -> None:
        self.profile = profile
        self.is_family = is_family
        self._patterns: dict[str, Pattern] = {}
        self._hosts: dict[str, frozenset[str]] = {}
        self._ways: dict[Direction, _Direction] = {"in": self._of("in"), "out": self._of("out")}

    def _of(self, direction: Direction) -> _Direction:
        way = _Direction()
        phrases: list[Phrase] = []
        for rule in self.profile.rules:
            action = rule.incoming if direction == "in" else rule.outgoing
            if not rule.on or action == "allow" or (rule.family and not self.is_family):
                continue
            if direction == "out" and not isinstance(rule, OUTGOING):
                continue
            tag = len(way.rules)
            way.rules.append(rule)
            if isinstance(rule, WordsRule):
                phrases += _phrases(rule, tag)
                way.harmless[tag] = _harmless(rule)
            elif isinstance(rule, PatternRule):
                for source in rule.patterns:
                    self._patterns.setdefault(source, Pattern(source))
            elif isinstance(rule, LinksRule):
                self._hosts[rule.name] = frozenset(
                    host.casefold().removeprefix("www.") for host in rule.allow
                )
        way.automaton = Automaton(phrases, _common())
        return way

    def looks(self, direction: Direction) -> bool:
        """Whether any rule looks at texts of that direction."""
        return bool(self._ways[direction].rules)

    def repetition(self) -> RepetitionRule | None:
        """The rule about repeated messages, which whoever remembers messages applies."""
        for rule in self._ways["in"].rules:
            if isinstance(rule, RepetitionRule):
                return rule
        return None

    def is_exempt(self, rule: Rule, role: Role | None) -> bool:
        """Whether a rule does not look at what a role writes."""
        return role is not None and role in (
            self.profile.exempt if rule.exempt is None else rule.exempt
        )

    def open_from(self, text: str) -> int:
        """Where the end of an outgoing text that could begin a blocked phrase starts; its length when none could."""
        # A cut inside a word makes a word begin there, which at worst holds back a little too much.
        cut = tail_at(text, END_CHARS)
        found = len(text)
        for folded in _readings(text[cut:]):
            start = self._ways["out"].automaton.open_from(folded)
            if start < len(folded.text):
                found = min(found, cut + folded.at[start])
        return found

    def hits(
        self,
        text: str,
        direction: Direction,
        *,
        role: Role | None = None,
        emotes: Sequence[Emote] = (),
    ) -> list[Hit]:
        """Everything the rules find."""
        way = self._ways[direction]
        rules = [rule for rule in way.rules if not self.is_exempt(rule, role)]
        if not rules:
            return []
        if direction == "in" and len(text) > LONGEST_CHARS:
            return [Hit("length", "ignore", f"{len(text):,} characters; {LONGEST_CHARS:,} at most")]
        for rule in rules:
            # What is not taken for its length need not be read: a flood of long texts costs nothing.
            if isinstance(rule, LengthRule) and len(text) > rule.most and rule.incoming == "ignore":
                return self._others(rule, "ignore", text, fold(""), ())
        folded = fold(text)
        found = self.word_hits(text, direction, role=role)
        for rule in rules:
            if not isinstance(rule, WordsRule):
                action = rule.incoming if direction == "in" else rule.outgoing
                found += self._others(rule, action, text, folded, emotes)
        return found

    def word_hits(self, text: str, direction: Direction, *, role: Role | None = None) -> list[Hit]:
        """What the rules about words find."""
        way = self._ways[direction]
        if not way.automaton:
            return []
        words: dict[int, list[tuple[int, int]]] = {}
        for reading in _readings(text):
            for tag, spans in self._words(reading, way).items():
                words[tag] = _merged(dict.fromkeys((*words.get(tag, ()), *spans)))
        found: list[Hit] = []
        for tag, ranges in sorted(words.items()):
            rule = way.rules[tag]
            if not self.is_exempt(rule, role):
                action = rule.incoming if direction == "in" else rule.outgoing
                reason = _times(len(ranges), "blocked word")
                found.append(Hit(rule.name, action, reason, tuple(ranges)))
        return found

    def _words(self, folded: Folded, way: _Direction) -> dict[int, list[tuple[int, int]]]:
        found: dict[int, dict[tuple[int, int], None]] = {}
        for one in dict.fromkeys(way.automaton.find(folded)):
            harmless = way.harmless[one.phrase.tag]
            if not _is_harmless(one, folded.text, harmless):
                span = folded.span(one.start, one.end)
                found.setdefault(one.phrase.tag, {})[span] = None
        return {tag: _merged(ranges) for tag, ranges in found.items()}

    def _others(
        self,
        rule: Rule,
        action: ModerationAction,
        text: str,
        folded: Folded,
        emotes: Sequence[Emote],
    ) -> list[Hit]:
        match rule:
            case LinksRule():
                ranges = private.links(folded.text, self._hosts[rule.name])
                return _ranged(rule, action, folded, ranges, _times(len(ranges), "link"))
            case PrivateRule():
                data = private.private(folded.text, frozenset(rule.what))
                kinds = sorted({kind for kind, _, _ in data})
                spans = [(start, end) for _, start, end in data]
                return _ranged(rule, action, folded, spans, f"personal data ({', '.join(kinds)})")
            case PatternRule():
                fits = [
                    span
                    for source in rule.patterns
                    for span in self._patterns[source].find(folded.text)
                ]
                return _ranged(rule, action, folded, fits, "one of its expressions fits")
            case EmotesRule():
                places = _emotes(text, emotes)
                if len(places) > rule.most:
                    reason = f"{len(places)} emotes; {rule.most} at most"
                    return [Hit(rule.name, action, reason, tuple(places[rule.most :]))]
            case CapsRule():
                share, letters = _caps(text, emotes)
                if letters >= rule.least and share > rule.share:
                    reason = (
                        f"{share:.0%} of {letters} letters are capitals; {rule.share:.0%} at most"
                    )
                    return [Hit(rule.name, action, reason, fix="lower")]
            case LengthRule():
                if len(text) > rule.most:
                    reason = f"{len(text):,} characters; {rule.most:,} at most"
                    return [Hit(rule.name, action, reason, fix="cut")]
            case ZalgoRule():
                if (marks := _most_marks(text)) > rule.most:
                    reason = f"{marks} marks on one letter; {rule.most} at most"
                    return [Hit(rule.name, action, reason, fix="strip")]
            case LanguageRule():
                return _foreign(rule, action, text)
            case _:
                pass
        return []

    def verdict(self, text: str, hits: Sequence[Hit], safe_line: str) -> Verdict:
        """What all hits come to: the strongest decides, and covers are put together."""
        if not hits:
            return Verdict(text=text)
        worst = max(hits, key=lambda hit: STRENGTH[hit.action])
        told = ""
        if worst.action == "replace":
            told = safe_line
        elif worst.action in ("mask", "hold"):
            told = self.covered(text, hits)
        elif worst.action == "allow":
            told = text
        reason = "; ".join(dict.fromkeys(f"{hit.rule}: {hit.reason}" for hit in hits))
        if not told.strip() and worst.action != "ignore":
            worst = Hit(worst.rule, "ignore", worst.reason)
        return Verdict(action=worst.action, rule=worst.rule, text=told, reason=reason[:500])

    def covered(self, text: str, hits: Sequence[Hit]) -> str:
        """The text with covered what the masking rules found."""
        masks = [hit for hit in hits if hit.action in ("mask", "hold")]
        ranges = [span for hit in masks if hit.action == "mask" for span in hit.ranges]
        whole = any(hit.action == "mask" and not hit.ranges and not hit.fix for hit in masks)
        told = masked(text, [(0, len(text))] if whole else ranges)
        for hit in masks:
            if hit.fix == "lower":
                told = told.lower()
            elif hit.fix == "strip":
                told = "".join(char for char in told if not is_mark(char))
        for rule in self._ways["in"].rules:
            if isinstance(rule, LengthRule) and any(hit.fix == "cut" for hit in masks):
                told = told[: rule.most - 1].rstrip() + "…"
        return told


def _readings(text: str) -> Iterator[Folded]:
    """The ways in which words are read in a text: as it stands, unescaped, without asides, and as it is spoken."""
    yield fold(text)
    if (plain := unescaped(text)) is not None:
        yield plain
    if (short := without_asides(text)) != text:
        yield fold(short)
    if (heard := with_gaps(text)) != text:
        yield fold(heard)


def _phrases(rule: WordsRule, tag: int) -> list[Phrase]:
    found: list[Phrase] = []
    for word in rule.words:
        found += phrases_of(word, tag, digits_end=rule.digits_end)
    for name in rule.lists:
        for word in shipped_words(name):
            # The pieces of a phrase are words of course; only of single words is a split into words meant otherwise.
            splits = "all" if " " in word else "not-words"
            found += phrases_of(word, tag, digits_end=rule.digits_end, splits=splits)
    return found


def _harmless(rule: WordsRule) -> _Harmless:
    lines = [line.strip().casefold() for line in (*rule.exceptions, *shipped_text("exceptions"))]
    plain = [fold(line).text for line in lines if line]
    single = [line for line in plain if " " not in line]
    return _Harmless(
        words=frozenset(line for line in single if not line.endswith("*")),
        stems=frozenset(line.rstrip("*") for line in single if line.endswith("*")),
        phrases=tuple(line for line in plain if " " in line),
    )


def _common() -> frozenset[str]:
    return frozenset(
        fold(word).text for line in shipped_text("common") for word in line.split() if word
    )


def _is_harmless(find: Find, text: str, harmless: _Harmless) -> bool:
    """Whether what was found is part of a harmless word or phrase."""
    start, end = find.start, find.end
    while start > 0 and find.start - start < 40 and not text[start - 1].isspace():
        start -= 1
    while end < len(text) and end - find.end < 40 and not text[end].isspace():
        end += 1
    word = text[start:end].strip(".,;:!?()[]{}\"'*_~-/\\")
    if word.endswith("'s"):
        word = word[:-2]
    if word in harmless.words or word.removesuffix("s") in harmless.words:
        return True
    if harmless.stems and any(word[:n] in harmless.stems for n in range(3, len(word) + 1)):
        return True
    for phrase in harmless.phrases:
        around = max(0, find.start - len(phrase))
        at = text.find(phrase, around, find.end + len(phrase))
        if at >= 0 and at <= find.start and at + len(phrase) >= find.end:
            return True
    return False


def _ranged(
    rule: Rule,
    action: ModerationAction,
    folded: Folded,
    ranges: Sequence[tuple[int, int]],
    reason: str,
) -> list[Hit]:
    if not ranges:
        return []
    spans = _merged({folded.span(start, end): None for start, end in ranges})
    return [Hit(rule.name, action, reason, tuple(spans))]


def _merged(ranges: dict[tuple[int, int], None]) -> list[tuple[int, int]]:
    """Ranges that touch or overlap as one."""
    found: list[tuple[int, int]] = []
    for start, end in sorted(ranges):
        if found and start <= found[-1][1]:
            found[-1] = (found[-1][0], max(found[-1][1], end))
        else:
            found.append((start, end))
    return found


def _times(count: int, what: str) -> str:
    return f"a {what}" if count == 1 else f"{count} {what}s"


def _emotes(text: str, emotes: Sequence[Emote]) -> list[tuple[int, int]]:
    """Where emotes and emoji are, in order."""
    found = [(e.start, min(e.end, len(text))) for e in emotes if e.start < min(e.end, len(text))]
    taken = [False] * len(text)
    for start, end in found:
        taken[start:end] = [True] * (end - start)
    index = 0
    while index < len(text):
        code = ord(text[index])
        if not taken[index] and (0x1F300 <= code <= 0x1FAFF or 0x2600 <= code <= 0x27BF):
            end = index + 1
            # One family of four is one picture: joined ones, skin colours and variants belong together.
            while end < len(text) and (
                ord(text[end]) in (0x200D, 0xFE0F)
                or 0x1F3FB <= ord(text[end]) <= 0x1F3FF
                or text[end - 1] == "\u200d"
            ):
                end += 1
            found.append((index, end))
            index = end
        else:
            index += 1
    return sorted(found)


def _caps(text: str, emotes: Sequence[Emote]) -> tuple[float, int]:
    """Share of capitals among letters that have a case, and how many those are; emotes' names do not count."""
    ignored = [False] * len(text)
    for emote in emotes:
        for index in range(emote.start, min(emote.end, len(text))):
            ignored[index] = True
    upper = lower = 0
    for char, is_ignored in zip(text, ignored, strict=True):
        if not is_ignored:
            upper += char.isupper()
            lower += char.islower()
    letters = upper + lower
    return (upper / letters if letters else 0.0), letters


def _most_marks(text: str) -> int:
    """Most marks in a row."""
    most = row = 0
    for char in text:
        row = row + 1 if not char.isascii() and is_mark(char) else 0
        most = max(most, row)
    return most


def _foreign(rule: LanguageRule, action: ModerationAction, text: str) -> list[Hit]:
    wanted = set(rule.scripts)
    for code in rule.languages:
        wanted.update(LANGUAGES[code])
    if not wanted:
        return []
    letters = foreign = 0
    ranges: list[tuple[int, int]] = []
    seen: set[str] = set()
    for index, char in enumerate(text):
        if not char.isalpha():
            continue
        letters += 1
        script = script_of(char)
        if script and script not in wanted:
            foreign += 1
            seen.add(script)
            if ranges and ranges[-1][1] == index:
                ranges[-1] = (ranges[-1][0], index + 1)
            else:
                ranges.append((index, index + 1))
    if letters < rule.least or foreign <= rule.share * letters:
        return []
    return [Hit(rule.name, action, f"written in {', '.join(sorted(seen))}", tuple(ranges))]


def script_of(char: str) -> Script | Literal[""]:
    """The script of a letter; empty for those that no rule knows."""
    code = ord(char)
    for first, last, script in _SCRIPTS:
        if first <= code <= last:
            return script
    return ""
