"""Write backend/chat/moderation/confusables.py: which characters look like which Latin letter or digit.

Made from the names in Python's own Unicode tables ("LATIN LETTER SMALL CAPITAL A", "REGIONAL INDICATOR SYMBOL LETTER B")
and from a short list of our own for the scripts whose letters look like Latin ones. Characters that Unicode itself
takes apart (full width, mathematical, circled, with accents) are not listed: normalisation finds them.
"""

from __future__ import annotations

import re
import sys
import unicodedata
from pathlib import Path

TARGET = Path(__file__).resolve().parent.parent / "backend/chat/moderation/confusables.py"

BY_NAME = re.compile(
    r"(?:LATIN (?:SMALL |CAPITAL )?(?:LETTER |LIGATURE )(?:SMALL )?(?:CAPITAL )?"
    r"|(?:CROSSED )?NEGATIVE (?:SQUARED|CIRCLED) LATIN CAPITAL LETTER "
    r"|REGIONAL INDICATOR SYMBOL LETTER "
    r"|MODIFIER LETTER (?:SMALL |CAPITAL )+)"
    r"(?:(?:TURNED|REVERSED|SIDEWAYS|INVERTED|OPEN|CLOSED|BARRED|SCRIPT|INSULAR|DOTLESS|BLACKLETTER|STRETCHED|LONG"
    r"|TAILLESS|SMALL|CAPITAL|BROKEN|TOP HALF|BOTTOM HALF|MIDDLE) )*"
    r"(?P<letter>[A-Z]{1,2}|ALPHA|BETA|GAMMA|IOTA|UPSILON|CHI|OMEGA|SCHWA|ETH|ENG|ESH|EZH|THORN|WYNN)"
    r"(?: (?:WITH|ROTUNDA|WYNN).*)?"
)
"""Names that say which letter it is."""

NAMED = {
    "ALPHA": "a", "BETA": "b", "GAMMA": "y", "IOTA": "i", "UPSILON": "u", "CHI": "x", "OMEGA": "w", "SCHWA": "e",
    "ETH": "d", "ENG": "n", "ESH": "s", "EZH": "z", "THORN": "p", "WYNN": "p", "AE": "ae", "OE": "oe", "AA": "aa",
    "AO": "ao", "AU": "au", "AV": "av", "AY": "ay", "OO": "oo", "VY": "vy", "TZ": "tz", "HV": "hv", "OU": "ou",
    "FF": "ff", "FI": "fi", "FL": "fl", "IJ": "ij", "LJ": "lj", "NJ": "nj", "DZ": "dz", "DB": "db", "QP": "qp",
}  # fmt: skip

BY_LOOKS = {
    # Cyrillic, upper case where it looks different from lower case.
    "a": "\u0430\u0410\u04d9", "b": "\u0412\u0432\u042c\u044c\u0411\u0431", "c": "\u0441\u0421\u0501", "d": "\u0501\u0500",
    "e": "\u0435\u0415\u04bd\u0454\u0404", "h": "\u043d\u041d\u04bb\u04ba", "i": "\u0456\u0406\u04cf\u04c0",
    "j": "\u0458\u0408", "k": "\u043a\u041a\u049b", "m": "\u043c\u041c", "n": "\u0578\u057c\u043f\u041f",
    "o": "\u043e\u041e\u0585\u0555", "p": "\u0440\u0420", "q": "\u051b\u051a\u0566", "r": "\u0433\u0413",
    "s": "\u0455\u0405\u054f", "t": "\u0442\u0422", "u": "\u057d\u054d\u0446", "v": "\u0475\u0474",
    "w": "\u051d\u051c\u0561\u0448\u0429", "x": "\u0445\u0425\u04b3", "y": "\u0443\u0423\u04af\u04ae",
}  # fmt: skip

MORE_LOOKS = {
    # Greek; case decides, because an upper-case eta looks like an H and a lower-case one like an n.
    "a": "\u03b1\u0391", "b": "\u03b2\u0392", "e": "\u03b5\u0395\u03f5", "z": "\u03b6\u0396", "h": "\u0397",
    "n": "\u03b7\u039d", "i": "\u03b9\u0399", "k": "\u03ba\u039a", "m": "\u039c", "u": "\u03bc\u03c5", "v": "\u03bd",
    "o": "\u03bf\u039f\u03b8", "p": "\u03c1\u03a1", "t": "\u03c4\u03a4", "y": "\u03a5\u03b3", "x": "\u03c7\u03a7",
    "w": "\u03c9", "s": "\u03c3\u03c2", "c": "\u03f2\u03f9", "d": "\u03b4",
}  # fmt: skip

OTHER_LOOKS = {
    # Cherokee, Lisu, Coptic, Armenian, runes, signs that are drawn like letters, and punctuation that has variants.
    "a": "\u13aa\ua4ee\u2c80\u2c81\u2200", "b": "\u13f4\ua4d0\u2c82\u2c83\u0e3f\u20bf", "c": "\u13df\ua4da\u2ca4\u2ca5\u2201",
    "d": "\u13a0\ua4d3\u20ab", "e": "\u13ac\ua4f0\u212e\u2211\u2203\u2208", "f": "\ua4dd\u0192\u20a3", "g": "\u13c0\ua4d6",
    "h": "\u13bb\ua4e7\u2c8e", "i": "\u13a5\ua4f2\u2c92\u2223", "j": "\u13ab\ua4d9", "k": "\u13e6\ua4d7\u2c94\u20ad",
    "l": "\u13de\ua4e1\u20a4", "m": "\u13b7\ua4df\u2c98", "n": "\ua4e0\u2c9a\u20a6\u2229", "o": "\ua4f3\u2c9e\u2c9f\u25cb\u25ef\u2b55",
    "p": "\u13e2\ua4d1\u2ca2\u2ca3\u20b1", "r": "\u13a1\ua4e3\u13d2", "s": "\u13da\ua4e2\u2c8a", "t": "\u13a2\ua4d4\u2ca6\u20ae\u22a4\u20b8",
    "u": "\ua4f4\u222a\u22c3", "v": "\u13d9\ua4e6\u2228\u22c1", "w": "\u13b3\ua4ea\u20a9", "x": "\ua4eb\u2cac\u2cad\u00d7\u2715\u2716\u274c",
    "y": "\ua4ec\u2ca8", "z": "\u13c3\ua4dc", "'": "\u2018\u2019\u201a\u201b\u02bc\u02b9\u0060\u00b4\u2032",
    ".": "\u3002\uff61\u2024\u00b7\u2022\u2219\u22c5\u30fb", "-": "\u2010\u2011\u2012\u2013\u2014\u2212\u2015\ufe58",
    "|": "\u00a6\u2016\u01c0", "/": "\u2044\u2215\u29f8", "@": "\uff20",
}  # fmt: skip


LAST_LOOKS = {
    # Letters with strokes and hooks whose names do not say the plain letter, signs of money, and Latin letters upside down.
    "a": "\u20b3\u0414\u0434", "c": "\u20b5\u04ab\u04aa", "e": "\u042d\u044d", "f": "\u0493\u0492\u03dd\u03dc\u0584\u025f",
    "g": "\u050d\u050c\u0581\u20b2", "h": "\u0570\u04a3\u04a2\u04a5\u04a4", "k": "\u04a1\u04a0\u049d\u049c\u049f\u049e\u04c4\u04c3",
    "l": "\u056c\u05df\u2c61\u2c60", "m": "\u20a5", "n": "\u0438\u0418", "o": "\u00a4\u13a4\u0473\u0472\u04e9\u04e8",
    "p": "\u048f\u048e", "r": "\u044f\u042f\u0393\u20b9\u0491\u0490\u027e\u027f", "u": "\u0289\u0244\u1d7e\u1d7f", "v": "\u221a",
    "x": "\u0436\u0416", "z": "\u0499",
}  # fmt: skip


def table() -> dict[str, str]:
    """Character to what it looks like."""
    found: dict[str, str] = {}
    for code in range(0x80, sys.maxunicode + 1):
        char = chr(code)
        if unicodedata.category(char) in ("Cn", "Cs", "Co", "Mn", "Me", "Cf"):
            continue
        match = BY_NAME.fullmatch(unicodedata.name(char, ""))
        if match is None:
            continue
        letter = match["letter"]
        plain = NAMED.get(letter, letter.lower() if len(letter) == 1 else "")
        whole = "".join(
            c for c in unicodedata.normalize("NFKD", char) if not unicodedata.combining(c)
        )
        if plain and whole.casefold() != plain:
            found[char] = plain
    for looks in (BY_LOOKS, MORE_LOOKS, OTHER_LOOKS, LAST_LOOKS):
        for plain, chars in looks.items():
            found.update(dict.fromkeys(chars, plain))
    return found


def page() -> str:
    """The module."""
    groups: dict[str, list[str]] = {}
    for char, plain in sorted(table().items()):
        groups.setdefault(plain, []).append(char)
    lines = [
        '"""Characters by what they look like; made by scripts/make_confusables.py, not by hand."""',
        "",
        "from __future__ import annotations",
        "",
        "GROUPS: dict[str, str] = {",
    ]
    for plain, chars in sorted(groups.items()):
        lines.append(f"    {plain!a}: (")
        text = [ascii(char)[1:-1] for char in chars]
        row = ""
        for piece in [*text, ""]:
            if row and (not piece or len(row) + len(piece) > 84):
                lines.append(f'        "{row}"')
                row = ""
            row += piece
        lines.append("    ),")
    lines += [
        "}",
        '"""What it looks like, and the characters that do."""',
        "",
        "LOOKS_LIKE: dict[str, str] = {char: plain for plain, chars in GROUPS.items() for char in chars}",
        "",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    TARGET.write_text(page(), encoding="utf-8")
