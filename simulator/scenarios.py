"""What an audience does in one run: a small YAML file, read and checked here."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field

from simulator.personas import Kind

SHIPPED = Path(__file__).with_name("scenarios")


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Wave(_Strict):
    """More of one kind for a while: a raid's people, a wave of spam."""

    at_s: float = Field(ge=0)
    seconds: float = Field(gt=0)
    kind: Kind
    rate: float = Field(gt=0)
    people: int = Field(ge=1)


class Happening(_Strict):
    """Something that is no message.

    Attributes:
        amount: Viewers of a raid, months of a subscription, gifts.
    """

    at_s: float = Field(ge=0)
    do: Literal["raid", "follow", "subscribe", "gift", "redeem", "drop", "reconnect", "ban"]
    who: Kind = "regular"
    amount: int = Field(1, ge=1)


class Scenario(_Strict):
    """One run.

    Attributes:
        rate: Messages a second from everybody in `people`, waves not counted.
        people: How many of each kind there are.
        shares: Which part of the messages each kind writes; kinds that are not listed write as much as they are many.
        fair: The kind whose people are compared for fairness: alike in everything the queue's rules look at.
        deleted: Share of messages that a moderator deletes within `deleted_within_s`.
        deleted_while_answered: Share of the answered ones that are deleted while she answers.
        tempted: Share of the injection attempts that the streamer has answered next, so that the model sees some.
        told_twice: Share of messages that the platform delivers twice.
        panics_at_s: When the streamer panics; each lasts `panic_s`.
        judges_fairness, judges_memory: Whether the run is long enough for these to be a target.
    """

    name: str = ""
    about: str
    rate: float = Field(gt=0, le=2000)
    seconds: float = Field(gt=0, le=86_400)
    people: dict[Kind, int]
    shares: dict[Kind, float] = {}
    waves: tuple[Wave, ...] = ()
    happenings: tuple[Happening, ...] = ()
    fair: Kind = "asker"
    deleted: float = Field(0.01, ge=0, le=1)
    deleted_within_s: float = Field(8, gt=0)
    deleted_while_answered: float = Field(0.1, ge=0, le=1)
    tempted: float = Field(0.1, ge=0, le=1)
    told_twice: float = Field(0.02, ge=0, le=1)
    panics_at_s: tuple[float, ...] = ()
    panic_s: float = Field(2.0, gt=0)
    judges_fairness: bool = False
    judges_memory: bool = False


def names() -> list[str]:
    """The scenarios that ship."""
    return sorted(path.stem for path in SHIPPED.glob("*.yaml"))


def load(name: str) -> Scenario:
    """A scenario that ships, by name, or one of the user's own, by path.

    Raises:
        ValueError: There is none, or something in it cannot be used.
    """
    path = SHIPPED / f"{name}.yaml" if name in names() else Path(name)
    try:
        found = yaml.safe_load(path.read_text("utf-8"))
    except (OSError, yaml.YAMLError) as error:
        raise ValueError(
            f"There is no scenario {name!r} ({error}). Choose {', '.join(names())}, or name a YAML file."
        ) from error
    return Scenario.model_validate({"name": path.stem, **(found or {})})


def changed(scenario: Scenario, *, rate: float | None, seconds: float | None) -> Scenario:
    """The same at another rate, or for another time; what would come after its end is left out."""
    rate = scenario.rate if rate is None else rate
    seconds = scenario.seconds if seconds is None else seconds
    said = scenario.model_dump() | {
        "rate": rate,
        "seconds": seconds,
        "waves": [
            wave.model_dump() | {"seconds": min(wave.seconds, seconds - wave.at_s)}
            for wave in scenario.waves
            if wave.at_s < seconds
        ],
        "happenings": [one.model_dump() for one in scenario.happenings if one.at_s < seconds],
        "panics_at_s": [at_s for at_s in scenario.panics_at_s if at_s < seconds],
    }
    return Scenario.model_validate(said)
