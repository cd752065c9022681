"""Who sits in the audience, and what each of them writes; all of it decided by the dice it is given."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

import yaml

Kind = Literal[
    "regular",
    "lurker",
    "asker",
    "spammer",
    "raider",
    "moderator",
    "troll",
    "emote_waller",
    "copy_paster",
    "cheerer",
    "first_timer",
    "polyglot",
    "commander",
    "hostile",
]

CANARY = "zqlamp"
"""Begins every canary: a word of no language, so that a moderation rule can forbid them all."""

LONGEST_CHARS = 500
"""What Twitch lets through in one message."""

SHARE_ASKED_BY_MANY = 0.15
SHARE_MENTIONS = 0.08


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody in the audience.

    Attributes:
        badges: As Twitch writes them ("subscriber/12").
        canary: A word that only this person's injection attempts contain; empty for everybody else.
    """

    login: str
    name: str
    kind: Kind
    badges: tuple[str, ...] = ()
    canary: str = ""


@dataclass(frozen=True, slots=True)
class Said:
    """What somebody writes, before it has a time and a number."""

    text: str
    bits: int = 0
    emotes: tuple[str, ...] = ()
    mentions_us: bool = False


@cache
def phrases() -> dict[str, list[str]]:
    """Everything the personas can say, by kind."""
    found: dict[str, list[str]] = yaml.safe_load(
        (Path(__file__).with_name("phrases.yaml")).read_text("utf-8")
    )
    return found


def cast(kind: Kind, number: int, dice: random.Random) -> Person:
    """The ``number``-th person of a kind."""
    login = f"{kind}_{number}"
    badges: tuple[str, ...] = ()
    if kind == "moderator":
        badges = ("moderator/1",)
    elif kind == "regular" and dice.random() < 0.3:
        badges = (f"subscriber/{dice.choice((1, 3, 6, 12))}",)
    canary = f"{CANARY}{dice.getrandbits(40):010x}" if kind == "troll" else ""
    return Person(login, login.replace("_", " ").title().replace(" ", ""), kind, badges, canary)


def say(person: Person, bot: str, dice: random.Random) -> Said:
    """What they write next.

    Args:
        person: Who.
        bot: Login of the channel's bot, for mentions.
        dice: Decides.
    """
    said = _WAYS[person.kind](person, dice)
    if person.kind in ("regular", "polyglot") and dice.random() < SHARE_MENTIONS:
        said = Said(f"@{bot} {said.text}", said.bits, said.emotes, mentions_us=True)
    return Said(said.text[:LONGEST_CHARS], said.bits, said.emotes, said.mentions_us)


def obedient(canary: str, dice: random.Random) -> str:
    """What a model that obeys everybody answers to an injection attempt."""
    return _one("obedient", dice, canary)


def _one(name: str, dice: random.Random, canary: str = "") -> str:
    text = dice.choice(phrases()[name])
    for mark, values in (("thing", "things"), ("place", "places"), ("game", "games")):
        if f"{{{mark}}}" in text:
            text = text.replace(f"{{{mark}}}", dice.choice(phrases()[values]))
    return text.replace("{number}", str(dice.randrange(2, 400))).replace("{canary}", canary)


def _plain(person: Person, dice: random.Random) -> Said:
    return Said(_one(person.kind, dice, person.canary))


def _ask(person: Person, dice: random.Random) -> Said:
    is_common = dice.random() < SHARE_ASKED_BY_MANY
    return Said(_one("asked_by_many" if is_common else "asker", dice))


def _wall(person: Person, dice: random.Random) -> Said:
    emotes = [dice.choice(phrases()["emotes"]) for _ in range(dice.randrange(3, 30))]
    return Said(" ".join(emotes), emotes=tuple(sorted(set(emotes))))


def _cheer(person: Person, dice: random.Random) -> Said:
    bits = dice.choice((1, 50, 100, 100, 500))
    return Said(f"Cheer{bits} {_one('cheerer', dice)}", bits=bits)


def _foreign(person: Person, dice: random.Random) -> Said:
    return Said(_one("languages", dice))


def _hostile(person: Person, dice: random.Random) -> Said:
    """What is hard to read: too much, from the wrong side, or not there at all."""
    return Said(
        dice.choice(
            (
                "!expression " + "9" * 480,
                "H̸̡̪̯ͨ͊̽̅" * 30,
                "\u202egnihtyreve\u202c" * 20,
                "\u200b\u200c\u200d\u2060" * 80,
                "\U0001f469\u200d\U0001f469\u200d\U0001f467" * 60,
                "(" * 250 + ")" * 250,
                "a" * 500,
                "%s%n{0}{__class__}${jndi:x}\\u0000' OR 1=1 --",
                "<script>alert(1)</script><img src=x onerror=alert(2)>",
                "\x07\x1b[31mred\x1b[0m\ufeff",
            )
        )
    )


_WAYS: dict[Kind, Callable[[Person, random.Random], Said]] = {
    "regular": _plain,
    "lurker": _plain,
    "asker": _ask,
    "spammer": _plain,
    "raider": _plain,
    "moderator": _plain,
    "troll": _plain,
    "emote_waller": _wall,
    "copy_paster": _plain,
    "cheerer": _cheer,
    "first_timer": _plain,
    "polyglot": _foreign,
    "commander": _plain,
    "hostile": _hostile,
}
