"""The file that says what an avatar can show: rig.json, format 1, and what the readers of models give in its place.

docs/rigs.md is the page for people who make rigs. What a file says is checked here, once; behind this everybody relies
on it.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    model_validator,
)

from backend.contracts.avatar import Motion, RigKind, Viseme

FORMAT = 1
RIG_FILE = "rig.json"
NEUTRAL = "neutral"
MOST_EXPRESSIONS = 256
MOST_MOTIONS = 512
MOST_ALIASES = 512


def _like(pattern: str, what: str) -> AfterValidator:
    # Python's: the validator's own engine unrolls repeated classes of all letters into megabytes.
    compiled = re.compile(pattern)

    def check(text: str) -> str:
        if not compiled.fullmatch(text):
            raise ValueError(f"{text[:80]!r} is no {what}")
        return text

    return AfterValidator(check)


Title = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=100)]
Name = Annotated[
    str,
    StringConstraints(max_length=64),
    _like(r"[^\W_][\w .'-]*", "name: a letter or digit, then letters, digits, spaces and _ . ' -"),
]
"""Of an expression or motion."""

Group = Annotated[
    str, StringConstraints(max_length=64), _like(r"[^\x00-\x1f\x7f<>\"]*", "name of a group")
]
"""The model's own name for a set of motions; Live2D models have an empty one."""

Word = Annotated[
    str, StringConstraints(strip_whitespace=True, to_lower=True, min_length=1, max_length=64)
]
FilePath = Annotated[
    str,
    StringConstraints(max_length=255),
    _like(
        r"(?:[^\\/:\x00-\x1f.][^\\/:\x00-\x1f]*/){0,7}[^\\/:\x00-\x1f.][^\\/:\x00-\x1f]*",
        "path in the rig's folder",
    ),
]
"""Below the rig's folder, with forward slashes; no part begins with a dot."""


class RigMotion(BaseModel):
    """One animation, as a file names it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    group: Group = "motion"
    index: int = Field(0, ge=0, le=10_000)
    name: Name
    duration_ms: float = Field(0, ge=0, le=3_600_000, allow_inf_nan=False)

    def motion(self) -> Motion:
        """As it travels."""
        return Motion(
            group=self.group,
            index=self.index,
            name=self.name.lower(),
            duration_ms=self.duration_ms,
        )


class RigParts(BaseModel):
    """What a model can show, as its reader (`vrm.read`, `live2d.read`) finds it.

    Attributes:
        file: What the page loads, below the folder.
        title: As the model calls itself; empty = the folder's name.
        expressions: In the model's order.
        visemes: Mouth shapes it has; empty = the mouth only opens and closes.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    file: FilePath
    title: str = ""
    expressions: tuple[Name, ...] = Field((), max_length=MOST_EXPRESSIONS)
    motions: tuple[RigMotion, ...] = Field((), max_length=MOST_MOTIONS)
    visemes: tuple[Viseme, ...] = ()


class RigFile(BaseModel):
    """A rig.json.

    Attributes:
        kind: Which renderer draws it.
        file: What a VRM or Live2D rig loads; empty = the only one in the folder.
        expressions: Names, in the order of their numbers.
        visemes: Mouth shapes it has.
        aliases: Other words for an expression or a motion ("happy": "joy", "bows": "bow").
        author, licence: Who made it and under which terms, in words.
        puppet, picture, vrm, live2d: The renderer's own part; read by the page alone.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal[1]
    title: Title
    kind: RigKind
    file: FilePath | Literal[""] = ""
    expressions: tuple[Name, ...] = Field((), max_length=MOST_EXPRESSIONS)
    motions: tuple[RigMotion, ...] = Field((), max_length=MOST_MOTIONS)
    visemes: tuple[Viseme, ...] = ()
    aliases: dict[Word, Name] = Field(default_factory=dict, max_length=MOST_ALIASES)
    author: Annotated[str, StringConstraints(max_length=200)] = ""
    licence: Annotated[str, StringConstraints(max_length=200)] = ""
    puppet: dict[str, object] = Field(default_factory=dict)
    picture: dict[str, object] = Field(default_factory=dict)
    vrm: dict[str, object] = Field(default_factory=dict)
    live2d: dict[str, object] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _is_one_of_each(self) -> RigFile:
        _one_of_each("expression", [name.casefold() for name in self.expressions])
        _one_of_each("motion", [motion.name.casefold() for motion in self.motions])
        _one_of_each("motion", [f"{each.group} {each.index}" for each in self.motions])
        _one_of_each("viseme", self.visemes)
        known = {name.casefold() for name in self.expressions} | {NEUTRAL}
        known |= {motion.name.casefold() for motion in self.motions}
        if self.kind in ("puppet", "picture"):
            for word, name in self.aliases.items():
                if name.casefold() not in known:
                    raise ValueError(
                        f"the alias {word!r} stands for {name!r}, which it does not have"
                    )
        return self


def _one_of_each(what: str, names: Sequence[str]) -> None:
    twice = sorted(name for name, times in Counter(names).items() if times > 1)
    if twice:
        raise ValueError(f"there are two of the {what} {twice[0]!r}")
