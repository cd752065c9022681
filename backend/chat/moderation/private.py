"""Find what points out of the chat or at a person: links, e-mail, phone, IBAN, card, IP and street addresses.

All of it reads folded text (lower case, no disguises) with bounded looks around single characters, so its cost grows with
the text's length alone. Ranges are of folded characters.
"""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv4Address
from typing import Literal

Private = Literal["email", "phone", "iban", "card", "ip", "address"]

Range = tuple[int, int]

TOP_LEVEL = frozenset(
    """com net org info biz gg tv ly ru de fr es co uk eu io dev app xyz shop store online site club live stream gl cc ws
    su ua pl nl br jp cn kr edu gov mil ca au ch se dk fi cz top icu vip lol ink wiki page link click art fun pro tech
    zone agency moe gift games gay porn sex xxx onion""".split()
)
"""Endings that make a name with a dot an address by themselves; words of everyday languages are not among them."""

SHORT_HOSTS = frozenset(("youtu.be", "t.me", "goo.gl", "is.gd", "wa.me", "bit.do", "git.io"))
"""Known addresses whose ending is a word ("be", "me")."""

SPOKEN_DOTS = frozenset(
    (
        "dot",
        "punkt",
        "punto",
        "point",
        "ponto",
        "(dot)",
        "[dot]",
        "{dot}",
        "<dot>",
        "[.]",
        "(.)",
        "d0t",
    )
)
DOTS_IN_WORDS = ("(dot)", "[dot]", "{dot}", "<dot>", "[.]", "(.)", "{.}", "(punkt)", "[punkt]")
SPOKEN_ATS = frozenset(("at", "(at)", "[at]", "{at}", "<at>", "arroba", "klammeraffe", "arobase"))

LONGEST_LABEL = 63
LONGEST_HOST = 253

STREET_BEFORE = frozenset(
    "rue avenue boulevard calle avenida plaza via viale piazza rua travessa ulica".split()
)
STREET_AFTER = frozenset(
    "street road avenue lane drive boulevard court terrace crescent st rd ave ln blvd".split()
)
STREET_ENDS = ("strasse", "straße", "gasse", "allee")

IBAN_LENGTHS = {
    "at": 20, "be": 16, "bg": 22, "ch": 21, "cy": 28, "cz": 24, "de": 22, "dk": 18, "ee": 20, "es": 24, "fi": 18,
    "fr": 27, "gb": 22, "gr": 27, "hr": 21, "hu": 28, "ie": 22, "is": 26, "it": 27, "li": 21, "lt": 20, "lu": 20,
    "lv": 21, "mc": 27, "mt": 31, "nl": 18, "no": 15, "pl": 28, "pt": 25, "ro": 24, "se": 24, "si": 19, "sk": 24,
    "tr": 26, "ua": 29,
}  # fmt: skip


def links(text: str, allowed: frozenset[str] = frozenset()) -> list[Range]:
    """Addresses, also spelled ("example dot com"), but those of allowed hosts and what is under them."""
    found: list[Range] = []
    for start, end, host in _hosts(text):
        if not _is_allowed(host, allowed):
            found.append((start, end))
    return found


def _is_allowed(host: str, allowed: frozenset[str]) -> bool:
    labels = host.removeprefix("www.").split(".")
    return any(".".join(labels[n:]) in allowed for n in range(len(labels)))


def _hosts(text: str) -> Iterator[tuple[int, int, str]]:
    """Start, end and host of every address."""
    words = _words(text)
    done = -1
    for n, (start, end) in enumerate(words):
        if start < done:
            continue
        word = text[start:end]
        scheme = word.find("://")
        if scheme >= 0 or word.startswith("www."):
            yield start, end, _host_of(word[scheme + 3 :] if scheme >= 0 else word)
            continue
        if any(bracket in word for bracket in "([{<"):
            for spelled_dot in DOTS_IN_WORDS:
                word = word.replace(spelled_dot, ".")
        if "." in word and (host := _host_in(word)):
            yield start, end, host
            continue
        spelled = _spelled(text, words, n)
        if spelled is not None:
            last, host = spelled
            done = words[last][1]
            yield start, done, host


def _host_of(address: str) -> str:
    """The host that a browser opens: what stands before an "@" is a name, and a backslash is a slash."""
    for sign in "/\\?#":
        address = address.partition(sign)[0]
    return address.rpartition("@")[2].partition(":")[0].rstrip(".")


def _host_in(word: str) -> str:
    """The host that a word without a scheme is; empty when it is none ("3.14", "wait...what")."""
    word = word.strip("()[]{}<>\"',;!?*")
    word = word.lstrip("/").replace("\\", "/")
    host, slash, _ = word.partition("/")
    host = host.partition("#")[0].partition("?")[0].partition(":")[0].rstrip(".")
    labels = host.split(".")
    if len(host) > LONGEST_HOST or len(labels) < 2 or "@" in host:
        return ""
    if not all(_is_label(label) for label in labels):
        return ""
    ending = labels[-1]
    if ending in TOP_LEVEL or host in SHORT_HOSTS:
        return host
    return host if slash and 2 <= len(ending) <= 6 and ending.isalpha() else ""


def _is_label(label: str) -> bool:
    return 0 < len(label) <= LONGEST_LABEL and all(char.isalnum() or char in "-_" for char in label)


def _spelled(text: str, words: list[Range], n: int) -> tuple[int, str] | None:
    """An address in several words from word ``n`` on: the last word, and the host."""
    labels = [text[slice(*words[n])].strip("()[]\"',;!?")]
    if not labels[0].replace(".", "").replace("-", "").isalnum():
        return None
    at = n
    while at + 2 < len(words) and len(labels) < 5:
        dot = text[slice(*words[at + 1])]
        if dot not in SPOKEN_DOTS and dot != ".":
            break
        label = text[slice(*words[at + 2])].strip("()[]\"',;!?.")
        host = label.partition("/")[0]
        if not _is_label(host):
            break
        labels.append(host)
        at += 2
        if "/" in label:
            break
    if len(labels) < 2 or labels[-1] not in TOP_LEVEL:
        return None
    return at, ".".join(labels)


def _words(text: str) -> list[Range]:
    found: list[Range] = []
    start = -1
    for index, char in enumerate(text):
        if char.isspace():
            if start >= 0:
                found.append((start, index))
            start = -1
        elif start < 0:
            start = index
    if start >= 0:
        found.append((start, len(text)))
    return found


def private(text: str, kinds: frozenset[Private]) -> list[tuple[Private, int, int]]:
    """Personal data of the kinds asked for."""
    found: list[tuple[Private, int, int]] = []
    if "email" in kinds:
        found += [("email", start, end) for start, end in emails(text)]
    if "iban" in kinds:
        found += [("iban", start, end) for start, end in ibans(text)]
    if kinds & {"card", "phone"}:
        for start, end, digits, has_plus, parts in _numbers(text):
            if "card" in kinds and 13 <= len(digits) <= 19 and is_card(digits):
                found.append(("card", start, end))
            elif "phone" in kinds and _is_phone(digits, has_plus=has_plus, parts=parts):
                found.append(("phone", start, end))
    if "ip" in kinds:
        found += [("ip", start, end) for start, end in ips(text)]
    if "address" in kinds:
        found += [("address", start, end) for start, end in addresses(text)]
    return found


def emails(text: str) -> list[Range]:
    """E-mail addresses, also with "(at)" and "dot" spelled."""
    found: list[Range] = []
    at = text.find("@")
    while at >= 0:
        start = at
        while (
            start > 0
            and at - start < 64
            and (text[start - 1].isalnum() or text[start - 1] in "._%+-")
        ):
            start -= 1
        end = at + 1
        while (
            end < len(text)
            and end - at <= LONGEST_HOST
            and (text[end].isalnum() or text[end] in ".-_")
        ):
            end += 1
        host = text[at + 1 : end].rstrip(".")
        labels = host.split(".")
        if (
            start < at
            and len(labels) > 1
            and all(_is_label(one) for one in labels)
            and labels[-1].isalpha()
        ):
            found.append((start, at + 1 + len(host)))
        at = text.find("@", max(end, at + 1))
    words = _words(text)
    for n in range(len(words) - 2):
        if text[slice(*words[n + 1])] in SPOKEN_ATS:
            host = text[slice(*words[n + 2])]
            is_plain = "." in host and bool(_host_in(host))
            spelled = None if is_plain else _spelled(text, words, n + 2)
            name = text[slice(*words[n])]
            if not name.strip("._-").replace(".", "").isalnum():
                continue
            # "look at example.com" is a link, and none of somebody's mail unless the sign is meant.
            if is_plain and text[slice(*words[n + 1])] != "at":
                found.append((words[n][0], words[n + 2][1]))
            elif spelled is not None:
                found.append((words[n][0], words[spelled[0]][1]))
    return found


def _numbers(text: str) -> Iterator[tuple[int, int, str, bool, int]]:
    """Digits written as one number: start, end, digits, whether a plus is before them, in how many groups."""
    index = 0
    while index < len(text):
        if not text[index].isdecimal():
            index += 1
            continue
        start = index
        digits: list[str] = []
        groups = 1
        end = index
        while index < len(text) and len(digits) < 24:
            if text[index].isdecimal():
                digits.append(str(int(text[index])))
                index += 1
                end = index
                continue
            gap = index
            while gap < len(text) and gap - index < 3 and text[gap] in " -./()":
                gap += 1
            if gap == index or gap >= len(text) or not text[gap].isdecimal():
                break
            groups += 1
            index = gap
        before = text[start - 1] if start else ""
        has_plus = before == "+" or "".join(digits[:2]) == "00"
        glued = before.isalpha() or (end < len(text) and text[end].isalpha())
        if not glued:
            yield start - (before == "+"), end, "".join(digits), has_plus, groups
        index = max(index, end)


def _is_phone(digits: str, *, has_plus: bool, parts: int) -> bool:
    if has_plus:
        return 8 <= len(digits) <= 17
    if digits.startswith("0"):
        return 9 <= len(digits) <= 13
    # Without a prefix only the usual grouping of ten digits tells it from a score or a date.
    return parts >= 3 and 10 <= len(digits) <= 11


def is_card(digits: str) -> bool:
    """Whether the last digit of a card's number fits (Luhn, ISO/IEC 7812-1)."""
    total = 0
    for place, digit in enumerate(reversed(digits)):
        value = int(digit)
        if place % 2:
            value = value * 2 - 9 * (value > 4)
        total += value
    return total % 10 == 0 and len(set(digits)) > 1


def ibans(text: str) -> list[Range]:
    """International bank account numbers whose check digits fit (ISO 13616)."""
    found: list[Range] = []
    for start in range(len(text) - 14):
        if (
            text[start : start + 2] not in IBAN_LENGTHS
            or not text[start + 2 : start + 4].isdecimal()
        ):
            continue
        if start and text[start - 1].isalnum():
            continue
        wanted = IBAN_LENGTHS[text[start : start + 2]]
        signs: list[str] = []
        end = start
        while end < len(text) and len(signs) < wanted and end - start < 60:
            if text[end].isalnum() and text[end].isascii():
                signs.append(text[end])
            elif text[end] not in " -.":
                break
            end += 1
        if len(signs) == wanted and is_iban("".join(signs)):
            found.append((start, end))
    return found


def is_iban(signs: str) -> bool:
    """Whether its check digits fit (mod 97)."""
    return int("".join(str(int(sign, 36)) for sign in signs[4:] + signs[:4])) % 97 == 1


def ips(text: str) -> list[Range]:
    """IPv4 addresses that reach somebody: not those of one's own machine or home."""
    found: list[Range] = []
    for start, end in _words(text):
        word = text[start:end]
        core = word.strip("()[],;!?\"'").partition("/")[0].partition(":")[0].rstrip(".")
        parts = core.split(".")
        if len(parts) != 4 or not all(p.isascii() and p.isdigit() and len(p) <= 3 for p in parts):
            continue
        numbers = [int(part) for part in parts]
        if max(numbers) <= 255 and IPv4Address(bytes(numbers)).is_global and numbers[0] > 9:
            found.append((start, end))
    return found


def addresses(text: str) -> list[Range]:
    """A street with a house number: "12 Long Road", "Lange Straße 12", "rue Haute 12"."""
    words = _words(text)
    plain = [text[start:end].strip(".,;:!?()\"'") for start, end in words]
    found: list[Range] = []
    for n, word in enumerate(plain):
        if word in STREET_AFTER:
            for back in (3, 2):
                if (
                    n >= back
                    and _is_house(plain[n - back])
                    and _are_names(text, words, n - back, n)
                ):
                    found.append((words[n - back][0], words[n][1]))
                    break
        elif word in STREET_BEFORE:
            for ahead in range(2, 5):
                if n + ahead < len(words) and _is_house(plain[n + ahead]):
                    found.append((words[n][0], words[n + ahead][1]))
                    break
            else:
                if n and _is_house(plain[n - 1]) and n + 1 < len(words):
                    found.append((words[n - 1][0], words[n + 1][1]))
        elif word.endswith(STREET_ENDS) or (word.endswith("str") and len(word) > 5):
            if n + 1 < len(words) and _is_house(plain[n + 1]):
                found.append((words[n][0], words[n + 1][1]))
    return found


def _is_house(word: str) -> bool:
    return 1 <= len(word) <= 5 and word[0].isdecimal() and word[:-1].isdecimal() | (len(word) == 1)


def _are_names(text: str, words: list[Range], first: int, last: int) -> bool:
    """Whether only words of letters stand between, none of them the end of a sentence."""
    return all(
        text[slice(*words[n])].replace("-", "").replace("'", "").isalpha()
        for n in range(first + 1, last)
    )
