"""From a scenario and a seed to everything that will happen: who writes what, when, and what else. Pure; one seed, one script."""

from __future__ import annotations

import random
import uuid
from collections.abc import Iterator
from dataclasses import dataclass

from simulator.personas import Kind, Person, cast, say
from simulator.scenarios import Happening, Scenario


@dataclass(frozen=True, slots=True)
class Line:
    """One message to be written.

    Attributes:
        id: The platform's message id, made from the seed.
        at_s: Seconds after the beginning.
        is_first: Their first message ever here.
        copies: How often the platform delivers it besides the first time.
        deleted_after_s: A moderator deletes it so long after it was written; None = never.
    """

    id: str
    at_s: float
    person: Person
    text: str
    bits: int = 0
    emotes: tuple[str, ...] = ()
    mentions_us: bool = False
    is_first: bool = False
    copies: int = 0
    deleted_after_s: float | None = None

    @property
    def rank(self) -> str:
        """What the queue's rules look at in it: people with the same are of one priority class."""
        badge = self.person.badges[0].partition("/")[0] if self.person.badges else "viewer"
        marks = (
            ("first", self.is_first),
            ("cheer", self.bits > 0),
            ("mention", self.mentions_us),
            ("question", any(mark in self.text for mark in "?？")),
        )
        return "+".join([badge, *(name for name, is_so in marks if is_so)])


@dataclass(frozen=True, slots=True)
class Script:
    """A whole run, in order of time."""

    lines: tuple[Line, ...]
    happenings: tuple[tuple[Happening, Person], ...]


def write(scenario: Scenario, seed: int, bot: str) -> Script:
    """Everything that will happen.

    Args:
        scenario: What kind of evening.
        seed: Decides everything that is left open.
        bot: Login of the channel's bot, for mentions.
    """
    dice = random.Random(seed)
    people = {
        kind: [cast(kind, number, dice) for number in range(count)]
        for kind, count in scenario.people.items()
    }
    moments = [
        (at_s, dice.choice(people[kind])) for at_s, kind in _everyday(scenario, people, dice)
    ]
    for wave in scenario.waves:
        crowd = people.setdefault(wave.kind, [])
        crowd += [cast(wave.kind, number, dice) for number in range(len(crowd), wave.people)]
        moments += [
            (wave.at_s + at_s, dice.choice(crowd[: wave.people]))
            for at_s in _moments(wave.rate, wave.seconds, dice)
        ]
    moments.sort(key=lambda moment: moment[0])
    new = {person.login for person in people.get("first_timer", ())}
    lines: list[Line] = []
    for at_s, person in moments:
        said = say(person, bot, dice)
        is_deleted = dice.random() < scenario.deleted
        lines.append(
            Line(
                id=str(uuid.UUID(int=dice.getrandbits(128), version=4)),
                at_s=at_s,
                person=person,
                text=said.text,
                bits=said.bits,
                emotes=said.emotes,
                mentions_us=said.mentions_us,
                is_first=person.login in new,
                copies=int(dice.random() < scenario.told_twice),
                deleted_after_s=dice.uniform(0.05, scenario.deleted_within_s)
                if is_deleted
                else None,
            )
        )
        new.discard(person.login)
    everybody = [person for crowd in people.values() for person in crowd]
    happenings = [
        (one, dice.choice(people.get(one.who) or everybody))
        for one in sorted(scenario.happenings, key=lambda one: one.at_s)
    ]
    return Script(tuple(lines), tuple(happenings))


def _everyday(
    scenario: Scenario, people: dict[Kind, list[Person]], dice: random.Random
) -> Iterator[tuple[float, Kind]]:
    kinds = [kind for kind, crowd in people.items() if crowd]
    left = max(0.0, 1 - sum(scenario.shares.get(kind, 0) for kind in kinds))
    heads = sum(len(people[kind]) for kind in kinds if kind not in scenario.shares)
    weights = [
        scenario.shares[kind] if kind in scenario.shares else left * len(people[kind]) / heads
        for kind in kinds
    ]
    for at_s in _moments(scenario.rate, scenario.seconds, dice):
        yield at_s, dice.choices(kinds, weights)[0]


def _moments(rate: float, seconds: float, dice: random.Random) -> Iterator[float]:
    """Times of a Poisson process: people do not write in step."""
    at_s = dice.expovariate(rate)
    while at_s < seconds:
        yield at_s
        at_s += dice.expovariate(rate)
