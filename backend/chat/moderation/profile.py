"""Profiles: files that say which rules look at a text, and what follows.

Some ship with the program (`profiles/`), the streamer's own lie in ``<data_dir>/moderation`` and go before shipped ones of
the same name. What is wrong in a file is said with its line.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    field_validator,
)

from backend.chat.moderation.patterns import Pattern, PatternError
from backend.chat.moderation.private import Private
from backend.contracts.audience import ModerationAction, Role
from backend.contracts.errors import InvalidInputError, NotFoundError

SHIPPED = Path(__file__).parent / "profiles"
WORDS = Path(__file__).parent / "words"
LISTS = ("slurs", "sexual", "profanity", "harassment")

NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,39}")
LARGEST_FILE = 512 << 10
MOST_PROFILES = 100

Line = Annotated[str, StringConstraints(min_length=1, max_length=100, strip_whitespace=True)]
Lines = Annotated[tuple[Line, ...], Field(max_length=5_000)]
RuleName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9 _-]{0,39}$")]

Script = Literal[
    "latin", "cyrillic", "greek", "arabic", "hebrew", "devanagari", "thai", "han", "kana", "hangul"
]

LANGUAGES: dict[str, tuple[Script, ...]] = {
    **dict.fromkeys(
        ("en", "de", "fr", "es", "it", "pt", "nl", "pl", "sv", "da", "no", "fi", "cs", "tr", "hu", "ro", "id", "vi"),
        ("latin",),
    ),
    **dict.fromkeys(("ru", "uk", "bg"), ("cyrillic",)), "sr": ("cyrillic", "latin"), "el": ("greek",), "ar": ("arabic",),
    "fa": ("arabic",), "he": ("hebrew",), "hi": ("devanagari",), "th": ("thai",), "zh": ("han",), "ja": ("kana", "han"),
    "ko": ("hangul",),
}  # fmt: skip
"""Languages by the scripts they are written in."""


class _Rule(BaseModel):
    """What all rules have.

    Attributes:
        on: Whether it looks at all.
        family: Only where the family-friendly switch is on.
        incoming, outgoing: What follows for a viewer's message, and for what she wants to say.
        exempt: Roles it does not look at; none = the profile's.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: RuleName
    on: bool = True
    family: bool = False
    incoming: ModerationAction = "ignore"
    outgoing: ModerationAction = "mask"
    exempt: tuple[Role, ...] | None = None


class WordsRule(_Rule):
    """Words and phrases, in every disguise. ``word`` stands alone, ``word*`` begins, ``*word*`` is anywhere.

    Attributes:
        lists: Lists that ship.
        words: Lines of one's own.
        exceptions: Harmless words that one of these is part of.
        digits_end: Whether "word123" is the word.
    """

    kind: Literal["words"]
    lists: tuple[Literal["slurs", "sexual", "profanity", "harassment"], ...] = ()
    words: Lines = ()
    exceptions: Lines = ()
    digits_end: bool = True


class LinksRule(_Rule):
    """Addresses of pages, also spelled; those of ``allow`` and what is under them may stay."""

    kind: Literal["links"]
    allow: Lines = ()


class PrivateRule(_Rule):
    """Personal data."""

    kind: Literal["private"]
    what: tuple[Private, ...] = ("email", "phone", "iban", "card", "ip", "address")


class RepetitionRule(_Rule):
    """The same message again: from one viewer, or from several (then it is long).

    Attributes:
        most: So often in ``seconds`` is too often.
        copies: So many viewers with one text of ``copy_chars`` and more.
    """

    kind: Literal["repetition"]
    most: int = Field(3, ge=2, le=100)
    seconds: float = Field(60, gt=0, le=3600)
    copies: int = Field(4, ge=2, le=1000)
    copy_chars: int = Field(60, ge=10, le=500)


class EmotesRule(_Rule):
    """More than ``most`` emotes and emoji in one message."""

    kind: Literal["emotes"]
    most: int = Field(15, ge=0, le=500)


class CapsRule(_Rule):
    """More than ``share`` of the letters upper case, where there are ``least`` letters."""

    kind: Literal["caps"]
    share: float = Field(0.8, gt=0, le=1)
    least: int = Field(15, ge=1, le=500)


class LengthRule(_Rule):
    """Longer than ``most`` characters."""

    kind: Literal["length"]
    most: int = Field(500, ge=1, le=2_000)


class ZalgoRule(_Rule):
    """More than ``most`` stacked or invisible marks on one letter."""

    kind: Literal["zalgo"]
    most: int = Field(3, ge=1, le=50)


class LanguageRule(_Rule):
    """Written in scripts other than those of ``languages`` and ``scripts``, by more than ``share`` of the letters."""

    kind: Literal["language"]
    languages: tuple[str, ...] = ()
    scripts: tuple[Script, ...] = ()
    share: float = Field(0.3, ge=0, lt=1)
    least: int = Field(3, ge=1, le=500)

    @field_validator("languages")
    @classmethod
    def _known(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for code in value:
            if code not in LANGUAGES:
                raise ValueError(
                    f"{code!r} is none of {', '.join(LANGUAGES)}; name its script instead"
                )
        return value


class PatternRule(_Rule):
    """Search expressions, as `patterns` knows them; in lower case, without disguises."""

    kind: Literal["pattern"]
    patterns: Annotated[
        tuple[Annotated[str, StringConstraints(max_length=500)], ...], Field(max_length=50)
    ] = ()

    @field_validator("patterns")
    @classmethod
    def _usable(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for source in value:
            try:
                Pattern(source)
            except PatternError as error:
                raise ValueError(f"{source!r} cannot be used: {error}") from None
        return value


Rule = Annotated[
    WordsRule
    | LinksRule
    | PrivateRule
    | RepetitionRule
    | EmotesRule
    | CapsRule
    | LengthRule
    | ZalgoRule
    | LanguageRule
    | PatternRule,
    Field(discriminator="kind"),
]

SafeLine = Annotated[str, StringConstraints(min_length=1, max_length=200, strip_whitespace=True)]


class Profile(BaseModel):
    """A set of rules.

    Attributes:
        name: Its file's name.
        title: As people call it.
        exempt: Roles whose messages no rule looks at.
        safe_lines: What she says instead, one after the other.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Annotated[str, StringConstraints(pattern=rf"^{NAME.pattern}$")]
    title: Annotated[str, StringConstraints(max_length=80)] = ""
    description: Annotated[str, StringConstraints(max_length=500)] = ""
    exempt: tuple[Role, ...] = ("broadcaster",)
    safe_lines: Annotated[tuple[SafeLine, ...], Field(min_length=1, max_length=50)] = (
        "Let us talk about something else.",
    )
    rules: Annotated[tuple[Rule, ...], Field(max_length=100)] = ()

    @field_validator("rules")
    @classmethod
    def _own_names(cls, value: tuple[Rule, ...]) -> tuple[Rule, ...]:
        names = [rule.name for rule in value]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"two rules are called {name!r}; give each its own name")
        return value


@dataclass(frozen=True, slots=True)
class Listed:
    """A profile that can be chosen.

    Attributes:
        problem: Why it cannot be used, with file and line; empty = it can.
    """

    name: str
    title: str
    is_shipped: bool
    problem: str = ""


_Listing = list[Listed]
"""`Profiles` has a method of the name `list`."""


class Profiles:
    """The files; reads and writes them when asked.

    Args:
        folder: Where the streamer's own are; need not exist.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def shipped(self) -> _Listing:
        """Those that ship."""
        return [Listed(path.stem, path.stem, True) for path in sorted(SHIPPED.glob("*.yaml"))]

    def list(self) -> _Listing:
        """All that can be chosen, shipped ones first."""
        found: dict[str, Listed] = {}
        own = sorted(self._folder.glob("*.yaml"))[:MOST_PROFILES] if self._folder.is_dir() else []
        for path in (*sorted(SHIPPED.glob("*.yaml")), *own):
            is_shipped = path.parent == SHIPPED
            try:
                profile = read(path)
            except InvalidInputError as error:
                found[path.stem] = Listed(path.stem, path.stem, is_shipped, error.message)
            else:
                found[path.stem] = Listed(path.stem, profile.title or path.stem, is_shipped)
        return [*found.values()]

    def load(self, name: str) -> Profile:
        """One of them.

        Raises:
            NotFoundError: There is none of that name; lists those that exist.
            InvalidInputError: Its file cannot be used; says where.
        """
        if NAME.fullmatch(name):
            for folder in (self._folder, SHIPPED):
                path = folder / f"{name}.yaml"
                if path.is_file():
                    return read(path)
        known = ", ".join(each.name for each in self.list())
        raise NotFoundError(f"There is no moderation profile {name[:64]!r}. There are: {known}.")

    def save(self, profile: Profile) -> Path:
        """Write one as the streamer's own; a shipped one of the same name is then hidden by it."""
        is_new = not (self._folder / f"{profile.name}.yaml").exists()
        if (
            is_new
            and self._folder.is_dir()
            and len(list(self._folder.glob("*.yaml"))) >= MOST_PROFILES
        ):
            raise InvalidInputError(
                f"There are {MOST_PROFILES} profiles already; delete one in {self._folder} first."
            )
        self._folder.mkdir(parents=True, exist_ok=True)
        path = self._folder / f"{profile.name}.yaml"
        values = profile.model_dump(mode="json", exclude_defaults=True) | {"name": profile.name}
        for rule, told in zip(profile.rules, values.get("rules", ()), strict=True):
            told["kind"] = rule.kind
        text = yaml.safe_dump(values, allow_unicode=True, sort_keys=False, width=100)
        beside = path.with_suffix(".new")
        beside.write_text(text, encoding="utf-8")
        beside.replace(path)
        return path

    def delete(self, name: str) -> None:
        """Delete one of the streamer's own; a shipped one of the same name shows again.

        Raises:
            NotFoundError: There is none of that name.
        """
        path = self._folder / f"{name}.yaml"
        if not NAME.fullmatch(name) or not path.is_file():
            raise NotFoundError(f"There is no moderation profile {name[:64]!r} of your own.")
        path.unlink()


def read(path: Path) -> Profile:
    """A profile's file.

    Raises:
        InvalidInputError: It cannot be read or used; says the line.
    """
    try:
        if path.stat().st_size > LARGEST_FILE:
            raise InvalidInputError(f"{path} is larger than {LARGEST_FILE >> 10} KiB; split it.")
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInputError(f"{path} cannot be read ({error}).") from None
    return parsed(text, path.stem, str(path))


def parsed(text: str, name: str, where: str) -> Profile:
    """A profile from YAML; see `read`."""
    try:
        tree = yaml.compose(text, Loader=yaml.SafeLoader)
        values = yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f" line {mark.line + 1}" if mark is not None else ""
        why = getattr(error, "problem", None) or str(error)
        raise InvalidInputError(f"{where}{line}: this is no YAML ({why}).") from None
    except RecursionError:
        raise InvalidInputError(f"{where}: it is nested too deeply.") from None
    if not isinstance(values, dict):
        raise InvalidInputError(
            f"{where} line 1: a profile is a list of keys and values (rules: …)."
        )
    try:
        return Profile.model_validate({**values, "name": name})
    except ValidationError as error:
        raise InvalidInputError(_in_words(error, tree, where)) from None


def _in_words(error: ValidationError, tree: Any, where: str) -> str:
    """The first mistakes, each with its line."""
    told = []
    for one in error.errors()[:3]:
        # Pydantic names the kind of a rule as a step; the file has no such level.
        path = [step for step in one["loc"] if step not in KINDS]
        line = _line(tree, path)
        key = ".".join(str(step) for step in path) or "the file"
        message = one["msg"].removeprefix("Value error, ")
        told.append(f"{where} line {line}: {key}: {message}.")
    more = error.error_count() - 3
    return " ".join(told) + (f" And {more} more." if more > 0 else "")


def _line(node: Any, path: Iterable[str | int]) -> int:
    """The line of what a path leads to, or of the nearest that exists."""
    line = node.start_mark.line + 1
    for step in path:
        child = None
        if isinstance(node, yaml.MappingNode):
            for key, value in node.value:
                if key.value == step:
                    line, child = key.start_mark.line + 1, value
        elif (
            isinstance(node, yaml.SequenceNode) and isinstance(step, int) and step < len(node.value)
        ):
            child = node.value[step]
            line = child.start_mark.line + 1
        if child is None:
            break
        node = child
    return int(line)


KINDS = frozenset(
    (
        "words",
        "links",
        "private",
        "repetition",
        "emotes",
        "caps",
        "length",
        "zalgo",
        "language",
        "pattern",
    )
)


@lru_cache(maxsize=8)
def shipped_words(name: str) -> tuple[str, ...]:
    """The lines of a list that ships."""
    lines = (WORDS / f"{name}.b64").read_text(encoding="utf-8").splitlines()
    return tuple(
        base64.b64decode(line).decode() for line in lines if line and not line.startswith("#")
    )


@lru_cache(maxsize=4)
def shipped_text(name: str) -> tuple[str, ...]:
    """The lines of a plain file that ships."""
    lines = (WORDS / f"{name}.txt").read_text(encoding="utf-8").splitlines()
    return tuple(line.strip() for line in lines if line.strip() and not line.startswith("#"))
