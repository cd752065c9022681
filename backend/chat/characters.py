"""Everybody Luma can be: list, make, edit, copy, delete, bring in and hand out.

The list lives in memory and is written through to the database: a character is read on every turn. The characters Luma
ships with are rows like all others; one nobody has edited follows the shipped version, and `reset` brings it back.
Pictures of one's own lie in ``<avatars_dir>/<id>/<expression>.png`` and come before the shipped ones.
"""

from __future__ import annotations

import asyncio
import logging
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal
from uuid import uuid4

from pydantic import ValidationError

from backend.chat import cards
from backend.chat.builtin import AVATARS, BY_ID, CAST
from backend.contracts.entities import Character
from backend.contracts.errors import (
    AppError,
    ConflictError,
    InvalidInputError,
    NotFoundError,
    TooLargeError,
)
from backend.contracts.events import CharacterChanged
from backend.core import clock
from backend.core.bus import EventBus
from backend.storage import characters as rows
from backend.storage.database import Database

logger = logging.getLogger(__name__)

NEUTRAL = "neutral"
WHOLE_PICTURE = "card"
"""Name of the uncropped picture beside the expressions."""

MAX_CHARACTERS = 1000
# Also a file name on every system: Windows takes "con.png" for a device.
_ID = re.compile(r"(?!(?:con|prn|aux|nul|com[0-9]|lpt[0-9])$)[a-z0-9][a-z0-9_-]{0,63}")

_TEXT_LIMITS = {
    "name": 100,
    "profile": cards.MAX_TEXT,
    "system_prompt": cards.MAX_TEXT,
    "scenario": cards.MAX_TEXT,
    "greeting": cards.MAX_TEXT,
    "example_dialogue": cards.MAX_TEXT,
    "post_history_instructions": cards.MAX_TEXT,
    "creator": 200,
    "creator_notes": cards.MAX_TEXT,
    "language": 32,
    "persona_style": 32,
    "rig": 64,
}
_LIST_LIMITS = {"alternate_greetings": (cards.MAX_GREETINGS, cards.MAX_TEXT), "tags": (64, 100)}
_PERSONALITY_LIMITS = {"quirks": (32, 400), "likes": (32, 200), "dislikes": (32, 200)}
_MAX_TRAITS = 24
_MAX_EXPRESSIONS = 64

EDITABLE = frozenset(
    {
        *_TEXT_LIMITS,
        *_LIST_LIMITS,
        "personality",
        "voice",
        "expressions",
        "extensions",
    }
)
"""Fields a client may set; the others are ours."""


class Characters:
    """All characters. Belongs to the backend's loop."""

    def __init__(self, database: Database, bus: EventBus, avatars_dir: Path) -> None:
        self._database = database
        self._bus = bus
        self._avatars_dir = avatars_dir
        self._all: dict[str, Character] = {}

    async def open(self) -> None:
        """Read the database and bring the shipped characters up to date; call once before anything else."""
        self._all = {each.id: each for each in await self._database.read(rows.list_all)}
        now = clock.now()
        for shipped in CAST:
            stored = self._all.get(shipped.id)
            if stored is not None and stored.updated_at != stored.created_at:
                continue  # edited: it is the user's now
            times = (stored.created_at, stored.updated_at) if stored else (now, now)
            fresh = shipped.model_copy(update={"created_at": times[0], "updated_at": times[1]})
            if fresh != stored:
                await self._store(fresh)

    async def list(self) -> list[Character]:
        """Shipped ones first, in their order, then the others by name."""
        order = {each.id: n for n, each in enumerate(CAST)}
        return sorted(
            self._all.values(),
            key=lambda each: (order.get(each.id, len(order)), each.name.casefold(), each.id),
        )

    async def get(self, character_id: str) -> Character:
        """The character with this id.

        Raises:
            NotFoundError: If there is none; lists the ids there are.
        """
        try:
            return self._all[character_id]
        except KeyError:
            known = ", ".join([each.id for each in await self.list()][:20])
            raise NotFoundError(
                f"There is no character {character_id[:80]!r}. Known ids: {known}."
            ) from None

    def known(self, character_id: str) -> Character | None:
        """The character with this id, if there is one."""
        return self._all.get(character_id)

    async def default(self) -> Character:
        """Who greets a newcomer."""
        return self._all.get(CAST[0].id) or (await self.list())[0]

    async def create(self, fields: Mapping[str, object]) -> Character:
        """Make a character of `EDITABLE` fields; ``name`` is required.

        Raises:
            InvalidInputError, TooLargeError: Naming the field that is wrong and what is allowed.
            ConflictError: If there are `MAX_CHARACTERS` already.
        """
        if "name" not in fields:
            raise InvalidInputError("A character needs a name.")
        checked = _checked(fields)
        now = clock.now()
        character = _validated(
            {
                **checked,
                "id": self._free_id(str(checked["name"])),
                "created_at": now,
                "updated_at": now,
            }
        )
        await self._store(character)
        self._tell(character, "created")
        return character

    async def update(self, character_id: str, changes: Mapping[str, object]) -> Character:
        """Change some fields; ``personality`` and ``voice`` may be given in part.

        Raises:
            NotFoundError, InvalidInputError, TooLargeError: As for `get` and `create`.
        """
        before = await self.get(character_id)
        merged = dict(changes)
        for key, model in (("personality", before.personality), ("voice", before.voice)):
            if isinstance(merged.get(key), Mapping):
                merged[key] = {**model.model_dump(), **merged[key]}  # type: ignore[dict-item]  # just checked
        checked = _checked(merged)
        if not checked:
            return before
        after = _validated({**_own_values(before), **checked, "updated_at": clock.now()})
        await self._store(after)
        self._tell(after, "updated")
        return after

    async def duplicate(self, character_id: str, name: str | None = None) -> Character:
        """A copy under another name, with its pictures; a copy of a shipped character may be deleted."""
        original = await self.get(character_id)
        copied = {key: value for key, value in _own_values(original).items() if key in EDITABLE}
        if original.id in BY_ID and not original.rig:
            copied["rig"] = original.id  # by its own id, a copy would only have the pictures
        copied["name"] = name if name is not None else f"{original.name[:90]} (copy)"
        checked = _checked(copied)
        new_id = self._free_id(str(checked["name"]))
        has_pictures = await asyncio.to_thread(
            _copy_pictures, self._picture_folders(original.id), self._avatars_dir / new_id
        )
        now = clock.now()
        copy = _validated(
            {
                **checked,
                "id": new_id,
                "avatar_url": _avatar_url(new_id) if has_pictures else "",
                "created_at": now,
                "updated_at": now,
            }
        )
        await self._store(copy)
        self._tell(copy, "created")
        return copy

    async def reset(self, character_id: str) -> Character:
        """Bring a shipped character back to how it came, pictures included.

        Raises:
            ConflictError: If it did not ship with Luma.
        """
        stored = await self.get(character_id)
        shipped = BY_ID.get(character_id)
        if shipped is None:
            raise ConflictError(
                f"{stored.name} did not come with Luma, so there is nothing to reset it to."
            )
        await asyncio.to_thread(shutil.rmtree, self._avatars_dir / character_id, True)
        now = clock.now()
        fresh = shipped.model_copy(update={"created_at": now, "updated_at": now})
        await self._store(fresh)
        self._tell(fresh, "updated")
        return fresh

    async def delete(self, character_id: str) -> None:
        """Remove a character and its pictures; what was said stays in the conversations.

        Raises:
            ConflictError: If it shipped with Luma.
        """
        character = await self.get(character_id)
        if character_id in BY_ID:
            raise ConflictError(
                f"{character.name} came with Luma and cannot be deleted. Reset it, or edit a copy."
            )
        await self._database.write(lambda connection: rows.delete(connection, character_id))
        self._all.pop(character_id, None)
        await asyncio.to_thread(shutil.rmtree, self._avatars_dir / character_id, True)
        self._tell(character, "deleted")

    async def import_card(self, data: bytes, filename: str = "") -> Character:
        """Make a character from a card file (V1, V2, V3; PNG or JSON).

        A card with a broken picture is still read; the picture is left out.

        Raises:
            InvalidInputError, TooLargeError: What is wrong with the file.
        """
        card = await asyncio.to_thread(cards.read_card, data, filename)
        if not card.fields.get("name"):
            raise InvalidInputError(
                f"The card {filename[:80]!r} has no name in it, so no character can be made of it."
            )
        card.fields["name"] = str(card.fields["name"])[: _TEXT_LIMITS["name"]]
        picture: cards.Picture | None = None
        if card.picture is not None:
            try:
                picture = await asyncio.to_thread(cards.read_picture, card.picture, filename)
            except AppError as error:
                logger.warning("card %.80r: picture left out: %s", filename, error)
        character = await self.create(card.fields)
        if picture is not None:
            character = await self._keep_picture(character, picture, NEUTRAL)
        return character

    async def export_card(
        self, character_id: str, kind: cards.CardKind = "png", version: cards.CardVersion = "v3"
    ) -> cards.CardFile:
        """The character as a card file. A PNG holds V2 and V3 both; ``version`` decides for JSON."""
        character = await self.get(character_id)
        if kind not in ("png", "json") or version not in ("v2", "v3"):
            raise InvalidInputError(
                f"A card is a png or json of version v2 or v3, not {kind!s:.20} {version!s:.20}."
            )
        if kind == "json":
            return cards.write_card(character, kind, version)
        path = self.avatar_path(character_id, WHOLE_PICTURE)

        def write() -> cards.CardFile:
            picture = path.read_bytes() if path is not None else cards.monogram(character.name)
            return cards.write_card(character, kind, version, picture)

        return await asyncio.to_thread(write)

    async def set_picture(
        self, character_id: str, data: bytes, expression: str = NEUTRAL, filename: str = ""
    ) -> Character:
        """Give the character a picture for one expression; an own neutral one hides the shipped ones.

        Raises:
            InvalidInputError, TooLargeError: If the picture or the expression's name cannot be used.
        """
        character = await self.get(character_id)
        if not _ID.fullmatch(expression) or expression == WHOLE_PICTURE:
            raise InvalidInputError(
                f"{expression[:80]!r} cannot name an expression: use small letters, digits, - and _ (like joy)."
            )
        picture = await asyncio.to_thread(cards.read_picture, data, filename)
        return await self._keep_picture(character, picture, expression)

    def avatar_path(self, character_id: str, expression: str = NEUTRAL) -> Path | None:
        """The PNG to show; an expression without one of its own shows the neutral face. None if there is no picture."""
        if character_id not in self._all or not _ID.fullmatch(expression):
            return None
        folders = self._picture_folders(character_id)
        for name in (expression, NEUTRAL):
            for folder in folders:
                path = folder / f"{name}.png"
                if path.is_file():
                    return path
        return None

    def _picture_folders(self, character_id: str) -> tuple[Path, ...]:
        """Where pictures are looked for, the first first; a neutral face of one's own is a new look altogether."""
        own = self._avatars_dir / character_id
        if (own / f"{NEUTRAL}.png").is_file():
            return (own,)
        return (own, AVATARS / character_id)

    async def _keep_picture(
        self, character: Character, picture: cards.Picture, expression: str
    ) -> Character:
        folder = self._avatars_dir / character.id

        def save() -> None:
            folder.mkdir(parents=True, exist_ok=True)
            _write_whole(folder / f"{expression}.png", picture.square)
            if expression == NEUTRAL:
                _write_whole(folder / f"{WHOLE_PICTURE}.png", picture.whole)

        await asyncio.to_thread(save)
        known = character.expressions
        changed = character.model_copy(
            update={
                "avatar_url": _avatar_url(character.id),
                "expressions": known if expression in known else (*known, expression),
                "updated_at": clock.now(),
            }
        )
        await self._store(changed)
        self._tell(changed, "updated")
        return changed

    def _free_id(self, name: str) -> str:
        if len(self._all) >= MAX_CHARACTERS:
            raise ConflictError(
                f"There are {MAX_CHARACTERS:,} characters already. Delete some you no longer use."
            )
        stem = re.sub(r"[^a-z0-9]+", "-", name.casefold()).strip("-")[:48].strip("-")
        if not stem or not _ID.fullmatch(stem):
            stem = f"character-{uuid4().hex[:6]}"
        taken = {*self._all, *BY_ID}
        if stem not in taken and not (self._avatars_dir / stem).exists():
            return stem
        n = 2
        while f"{stem}-{n}" in taken or (self._avatars_dir / f"{stem}-{n}").exists():
            n += 1
        return f"{stem}-{n}"

    async def _store(self, character: Character) -> None:
        self._all[character.id] = character  # at once: two calls in flight must not get the same id
        await self._database.write(lambda connection: rows.put(connection, character))

    def _tell(self, character: Character, change: Literal["created", "updated", "deleted"]) -> None:
        self._bus.publish(
            CharacterChanged(character_id=character.id, name=character.name, change=change)
        )


def _avatar_url(character_id: str) -> str:
    return f"/api/avatars/{character_id}/{NEUTRAL}.png"


def _write_whole(path: Path, data: bytes) -> None:
    """Write so that a reader sees the old file or the new one, never half."""
    part = path.with_suffix(".part")
    part.write_bytes(data)
    part.replace(path)


def _copy_pictures(sources: tuple[Path, ...], target: Path) -> bool:
    found = [source for source in sources if source.is_dir()]
    for source in reversed(found):  # the first is copied last: its pictures win
        shutil.copytree(source, target, dirs_exist_ok=True)
    return bool(found)


def _own_values(character: Character) -> dict[str, Any]:
    """The fields as they are, nested values kept as values."""
    return {key: getattr(character, key) for key in Character.model_fields}


def _validated(values: Mapping[str, object]) -> Character:
    try:
        return Character.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        given = repr(first.get("input"))
        raise InvalidInputError(
            f"{where} cannot be {given if len(given) <= 80 else given[:77] + '...'}: {first['msg']}."
        ) from error


def _checked(fields: Mapping[str, object]) -> dict[str, object]:
    """The fields cleaned and within their bounds, not yet typed."""
    unknown = sorted(set(fields) - EDITABLE)
    if unknown:
        raise InvalidInputError(
            f"A character has no field {unknown[0][:80]!r} that can be set. Fields: {', '.join(sorted(EDITABLE))}."
        )
    checked: dict[str, object] = {}
    for key, value in fields.items():
        if key in _TEXT_LIMITS:
            checked[key] = _text(key, value, _TEXT_LIMITS[key])
        elif key in _LIST_LIMITS:
            checked[key] = _texts(key, value, *_LIST_LIMITS[key])
        elif key == "personality":
            checked[key] = _personality(value)
        elif key == "expressions":
            checked[key] = _expressions(value)
        elif key == "extensions":
            checked[key] = _extensions(value)
        else:
            checked[key] = value.model_dump() if hasattr(value, "model_dump") else value
    if "name" in checked:
        checked["name"] = " ".join(str(checked["name"]).split())
        if not checked["name"]:
            raise InvalidInputError("name is empty: a character needs a name that can be shown.")
    style = checked.get("persona_style")
    if isinstance(style, str) and style and not _ID.fullmatch(style.lower()):
        raise InvalidInputError(
            f"persona_style cannot be {style!r}: use a style's name, or nothing."
        )
    rig = checked.get("rig")
    if isinstance(rig, str) and rig and not _ID.fullmatch(rig):
        raise InvalidInputError(
            f"rig cannot be {rig!r}: use the id of a rig (small letters, digits, - and _), or nothing."
        )
    return checked


def _text(key: str, value: object, limit: int) -> str:
    if not isinstance(value, str):
        raise InvalidInputError(f"{key} must be text, it is a {type(value).__name__}.")
    if len(value) > limit:
        raise TooLargeError(f"{key} has {len(value):,} characters; at most {limit:,}.")
    return cards.clean_text(value)


def _texts(key: str, value: object, most: int, limit: int) -> tuple[str, ...]:
    if not isinstance(value, list | tuple):
        raise InvalidInputError(f"{key} must be a list of texts, it is a {type(value).__name__}.")
    if len(value) > most:
        raise TooLargeError(f"{key} has {len(value):,} entries; at most {most}.")
    cleaned = (_text(key, each, limit) for each in value)
    return tuple(each for each in cleaned if each)


def _personality(value: object) -> dict[str, object]:
    if hasattr(value, "model_dump"):
        value = value.model_dump()
    if not isinstance(value, Mapping):
        raise InvalidInputError(f"personality must be an object, it is a {type(value).__name__}.")
    checked: dict[str, object] = dict(value)
    for key, (most, limit) in _PERSONALITY_LIMITS.items():
        if key in checked:
            checked[key] = _texts(f"personality.{key}", checked[key], most, limit)
    if "mood" in checked:
        checked["mood"] = _text("personality.mood", checked["mood"], 60)
    traits = checked.get("traits")
    if traits is not None:
        if not isinstance(traits, Mapping):
            raise InvalidInputError('personality.traits must be an object like {"curious": 0.9}.')
        if len(traits) > _MAX_TRAITS:
            raise TooLargeError(
                f"personality.traits has {len(traits)} entries; at most {_MAX_TRAITS}."
            )
        strengths: dict[str, float] = {}
        for name, strength in traits.items():
            if (
                isinstance(strength, bool)
                or not isinstance(strength, int | float)
                or not 0 <= strength <= 1
            ):
                raise InvalidInputError(
                    f"personality.traits: {str(name)[:60]!r} cannot be {strength!r:.40}; a strength is 0 to 1."
                )
            strengths[_text("personality.traits", name, 60)] = float(strength)
        checked["traits"] = strengths
    return checked


def _expressions(value: object) -> tuple[str, ...]:
    names = _texts("expressions", value, _MAX_EXPRESSIONS, 64)
    for name in names:
        if not _ID.fullmatch(name):
            raise InvalidInputError(
                f"expressions: {name!r} cannot be used; small letters, digits, - and _ (like joy)."
            )
    return tuple(dict.fromkeys(names))


def _extensions(value: object) -> dict[str, object]:
    if not isinstance(value, Mapping):
        raise InvalidInputError(f"extensions must be an object, it is a {type(value).__name__}.")
    clean = cards.bounded_json(dict(value), "extensions")
    assert isinstance(clean, dict)
    return clean
