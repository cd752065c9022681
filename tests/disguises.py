"""Blocked phrases and every way of disguising them, for trying moderation.

Shares no table with the filter: the looks, signs and marks here were put together for the tests. Everything comes from
one seed, which whoever uses it prints.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random

ONSETS = "b d f g k l m n p r s t v z bl br dr fl gr kl kr pl pr sk sl sn st tr zw".split()
VOWELS = "a e i o u".split()
CODAS = "b d g k l m n p r s t x nk rt sk lm nd".split()

LEET = {
    "a": "4@",
    "b": "8",
    "e": "3",
    "g": "9",
    "i": "1!",
    "l": "1|",
    "o": "0",
    "s": "5$",
    "t": "7+",
    "z": "2",
}
ALIKE = {
    "a": "\u0430\u0251\u03b1", "b": "\u042c\u0299\u03b2", "c": "\u0441\u03f2", "d": "\u0501\u0111", "e": "\u0435\u0454\u025b", "f": "\u0192", "g": "\u0261", "h": "\u04bb\u043d", "i": "\u0456\u0131\u026a", "j": "\u0458",
    "k": "\u043a\u03ba", "l": "\u029f\u217c", "m": "\u043c\u1d0d", "n": "\u0274\u0578", "o": "\u043e\u03bf\u0585", "p": "\u0440\u03c1", "r": "\u0280\u0433", "s": "\u0455\ua731", "t": "\u0442\u03c4", "u": "\u03c5\u057d",
    "v": "\u0475\u03bd", "w": "\u051d\u1d21", "x": "\u0445\u03c7", "y": "\u0443\u03b3", "z": "\u1d22\u0290",
}  # fmt: skip
UNSEEN = "\u200b\u200c\u200d\u2060\ufeff\u00ad\u200e\u202e"
STACKED = "".join(
    chr(code)
    for code in (0x300, 0x301, 0x302, 0x308, 0x30A, 0x316, 0x323, 0x334, 0x335, 0x337, 0x35B, 0x489)
)
BETWEEN = [" ", ".", "-", "_", "*", "~", ",", ":", "/", " . ", "  ", "·", "•", "😀", "…", "'"]
FLAGS = [
    "\U0001f1e9\U0001f1ea",
    "\U0001f1eb\U0001f1f7",
    "\U0001f1f3\U0001f1f4",
    "\U0001f1e8\U0001f1ed",
]
TAGS = [
    "<br>",
    "<b></b>",
    "<break time='1s'/>",
    "</i><i>",
    "<!-- -->",
    "(laughs)",
    "*waves*",
    "[joy]",
    "(x)",
    "{y}",
]
BURIES = ["\u200b", "\u0336", "\u00ad", "\ufe0f", ".", "! ", "- "]
TURNED = {
    "a": "\u0250", "b": "q", "d": "p", "e": "\u01dd", "f": "\u025f", "g": "\u0183", "i": "\u1d09", "k": "\u029e", "l": "\ua781", "m": "\u026f",
    "n": "u", "p": "d", "r": "\u0279", "t": "\u0287", "u": "n", "v": "\u028c", "w": "\u028d",
}  # fmt: skip
BEFORE = [
    "You know,",
    "And then he said",
    "Well,",
    "My friend wrote",
    "They call it",
    "So here is",
    "Listen,",
]
AFTER = ["and that is all.", "my dear friends.", "was the answer!", "if you like.", "in the end."]


def words(random: Random, count: int) -> list[str]:
    """Invented words that no language has, each of two or three syllables."""
    found: dict[str, None] = {}
    while len(found) < count:
        word = "".join(
            random.choice(ONSETS) + random.choice(VOWELS) for _ in range(random.choice((2, 2, 3)))
        ) + random.choice(CODAS)
        found[word] = None
    return [*found]


def phrases(random: Random, count: int) -> list[str]:
    """Words, and phrases of two or three."""
    made = words(random, count * 2)
    found = made[: count * 7 // 10]
    rest = made[count * 7 // 10 :]
    while len(found) < count:
        found.append(" ".join(rest.pop() for _ in range(min(len(rest), random.choice((2, 2, 3))))))
    return found


def _each(text: str, random: Random, share: float, change: Callable[[str], str]) -> str:
    return "".join(
        change(char) if char.isalpha() and random.random() < share else char for char in text
    )


def cased(text: str, random: Random) -> str:
    """iN aNy CaSe."""
    return _each(text, random, 0.5, str.upper)


def leet(text: str, random: Random) -> str:
    """w1th d1g1t5 and $ign$."""
    return _each(text, random, 0.5, lambda c: random.choice(LEET.get(c, c)))


def alike(text: str, random: Random) -> str:
    """With letters of other alphabets."""
    return _each(text, random, 0.6, lambda c: random.choice(ALIKE.get(c, c)))


def wide(text: str, random: Random) -> str:
    """In full width."""
    return _each(text, random, 1.0, lambda c: chr(ord(c) + 0xFEE0) if c.isascii() else c)


def fancy(text: str, random: Random) -> str:
    """In one of the alphabets of mathematics and badges."""
    first = random.choice(
        (0x1D41A, 0x1D4EA, 0x1D51E, 0x1D5BA, 0x1D68A, 0x24D0, 0x1F150, 0x1F170, 0x1F1E6, 0x1F130)
    )
    return _each(text, random, 1.0, lambda c: chr(first + ord(c) - 97) if "a" <= c <= "z" else c)


def unseen(text: str, random: Random) -> str:
    """With characters nobody sees between the letters."""
    return _each(text, random, 0.6, lambda c: c + random.choice(UNSEEN))


def zalgo(text: str, random: Random) -> str:
    """With marks stacked on the letters."""
    return _each(
        text, random, 0.7, lambda c: c + "".join(random.choices(STACKED, k=random.randint(1, 6)))
    )


def repeated(text: str, random: Random) -> str:
    """wiiiith letters sssaid again."""
    return _each(text, random, 0.4, lambda c: c * random.randint(2, 5))


def spaced(text: str, random: Random) -> str:
    """w-i-t-h something between all letters."""
    mark = random.choice(BETWEEN)
    letters = [char for char in text if not char.isspace()]
    return mark.join(letters)


def parted(text: str, random: Random) -> str:
    """With a gap somewhere in it."""
    at = random.randint(1, len(text) - 1)
    return text[:at] + random.choice(BETWEEN) + text[at:]


def joined(text: str, random: Random) -> str:
    """Withoutspaces."""
    return text.replace(" ", "")


def ended(text: str, random: Random) -> str:
    """With a sentence's end in the middle of it."""
    at = random.randint(1, len(text) - 1)
    return text[:at].rstrip() + random.choice((". ", "! ", "? ", "… ", ".\n")) + text[at:].lstrip()


def _between(text: str, marks: list[str]) -> str:
    """Its letters with marks between them, one after the other."""
    letters = [char for char in text if not char.isspace()]
    return "".join(
        letter + (marks[n % len(marks)] if n + 1 < len(letters) else "")
        for n, letter in enumerate(letters)
    )


def counted(text: str, random: Random) -> str:
    """1. i 2. n."""
    letters = [char for char in text if not char.isspace()]
    mark = random.choice((". ", ") ", ": "))
    return " ".join(f"{n}{mark}{letter}" for n, letter in enumerate(letters, 1))


def numbered(text: str, random: Random) -> str:
    """w4i8t3h numbers between its letters."""
    return _between(text, [str(random.randint(1, 99)) for _ in range(3)])


def flagged(text: str, random: Random) -> str:
    """With flags between its letters."""
    return _between(text, random.sample(FLAGS, 2))


def escaped(text: str, random: Random) -> str:
    """As pages, addresses and programs write characters."""
    shape = random.choice(("&#{};", "&#x{:x};", "%{:02x}", "\\u{:04x}", "\\x{:02x}"))
    share = random.choice((0.4, 1.0))
    return _each(text, random, share, lambda c: shape.format(ord(c)))


def tagged(text: str, random: Random) -> str:
    """With a tag or a stage direction in the middle of it, or after each letter."""
    mark = random.choice(TAGS)
    if random.random() < 0.5:
        return _between(text, [mark])
    at = random.randint(1, len(text) - 1)
    return text[:at] + mark + text[at:]


def backwards(text: str, random: Random) -> str:
    """gnihtyreve, or the sdrow one by one; sometimes with the mark that turns it around again."""
    turned = text[::-1] if random.random() < 0.5 else " ".join(w[::-1] for w in text.split())
    return random.choice((turned, f"\u202e{turned}\u202c"))


def upside_down(text: str, random: Random) -> str:
    """Standing on its head."""
    turned = "".join(TURNED.get(char, char) for char in reversed(text))
    return backwards(text, random) if turned.isascii() else turned


def buried(text: str, random: Random) -> str:
    """With a thousand of something in the middle of it."""
    at = random.randint(1, len(text) - 1)
    return text[:at] + random.choice(BURIES) * random.choice((50, 250, 900)) + text[at:]


ALONE = (counted, numbered, flagged, escaped, tagged, backwards, upside_down, buried)
"""What changes too much to be put on top of something else."""

SHAPES = (joined, spaced, parted, ended)
"""How a phrase is laid out."""

LOOKS = (cased, leet, alike, wide, fancy)
"""What its letters look like."""

MARKS = (unseen, zalgo, repeated)
"""What is on and between its letters."""


def disguised(phrase: str, random: Random) -> tuple[str, str]:
    """The phrase in a disguise of its own or of up to three layers, and what was done."""
    if random.random() < 0.35:
        one = random.choice(ALONE)
        return one(phrase, random), one.__name__
    text, done = phrase, []
    for kinds, share in ((SHAPES, 0.6), (LOOKS, 0.6), (MARKS, 0.4)):
        if random.random() < share:
            change = random.choice(kinds)
            if change is repeated and fancy in done:
                continue
            text = change(text, random)
            done.append(change)
    return text, "+".join(one.__name__ for one in done) or "plain"


def reply(text: str, random: Random) -> str:
    """A reply with it, in a sentence of its own or within one."""
    return f"{random.choice(BEFORE)} {text} {random.choice(AFTER)} Nice to see you."


def pieces(text: str, random: Random) -> list[str]:
    """The text as a model might write it: cut anywhere."""
    found, at = [], 0
    while at < len(text):
        size = random.randint(1, 9)
        found.append(text[at : at + size])
        at += size
    return found
