"""Character cards in and out: SillyTavern Character Card V1, V2 and V3, as PNG or JSON.

A card comes from strangers. Sizes, depths and counts are bounded before anything is built from them, compressed text is
inflated up to a limit only, markup and control characters are dropped, and pictures are decoded and encoded again. Every
way in which a card can be wrong ends in an AppError.

Sources: Character Card V2 spec (malfoyslastname/character-card-spec-v2), V3 spec (kwaroran/character-card-spec-v3),
PNG third edition (W3C) for chunks.
"""

from __future__ import annotations

import base64
import binascii
import io
import json
import math
import re
import struct
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from pydantic import ValidationError

from backend.contracts.entities import Character, Personality, VoiceChoice
from backend.contracts.errors import AppError, InvalidInputError, TooLargeError

MAX_CARD_BYTES = 24 * 1024 * 1024
MAX_JSON_BYTES = 8 * 1024 * 1024
MAX_DEPTH = 40
MAX_NODES = 200_000
MAX_CHUNKS = 20_000
MAX_PIXELS = 24_000_000
MAX_SIDE = 12_000
MAX_TEXT = 100_000
MAX_GREETINGS = 64
CARD_SIDE = 1024  # the whole picture is kept at most this large, for export
AVATAR_SIDE = 512

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
PICTURE_FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP")

OWN_EXTENSION = "luma"
REST = "luma/card"
"""Key in Character.extensions that holds the card fields Luma has no place for (character_book, assets …)."""

CardKind = Literal["png", "json"]
CardVersion = Literal["v2", "v3"]


@dataclass(frozen=True, slots=True)
class CardText:
    """What a card says, cleaned; `Characters` turns it into a character.

    Attributes:
        fields: Fields of Character, ready for validation.
        picture: The picture it came in, raw and still unchecked; None for JSON.
    """

    fields: dict[str, object]
    picture: bytes | None = None


@dataclass(frozen=True, slots=True)
class CardFile:
    """An exported card."""

    data: bytes
    filename: str
    media_type: str


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture from outside, decoded and encoded again as PNG.

    Attributes:
        whole: At most `CARD_SIDE` on its longer side.
        square: `AVATAR_SIDE` square: the top of a portrait, the middle of a landscape.
    """

    whole: bytes
    square: bytes


# --- reading ------------------------------------------------------------------------------------------------------


def read_card(data: bytes, filename: str = "") -> CardText:
    """Read a card of any version, PNG or JSON by its content, not its name.

    Raises:
        TooLargeError: If it is bigger, deeper or longer than `MAX_*` allow.
        InvalidInputError: If it is no card, with what is wrong and where.
    """
    name = _shown(filename) or "The file"
    if len(data) > MAX_CARD_BYTES:
        raise TooLargeError(
            f"{name} has {len(data):,} bytes; a card may have {MAX_CARD_BYTES:,}. Shrink its picture."
        )
    if data.startswith(PNG_SIGNATURE):
        return CardText(_fields(_card_in_png(data, name), name), picture=data)
    if data[:4] == b"PK\x03\x04":
        raise InvalidInputError(
            f"{name} is a zip archive (CHARX). Export the character as PNG or JSON instead."
        )
    if data[:3] in (b"\xff\xd8\xff", b"GIF") or data[:4] == b"RIFF":
        raise InvalidInputError(
            f"{name} is a picture without a card in it: only PNG carries one. Download the original PNG."
        )
    return CardText(_fields(_parse(data, name), name))


def _card_in_png(data: bytes, name: str) -> dict[str, object]:
    found: dict[str, list[bytes]] = {"ccv3": [], "chara": []}
    for kind, body in png_chunks(data):
        if kind not in (b"tEXt", b"zTXt", b"iTXt"):
            continue
        keyword, text = _text_of(kind, body)
        if keyword in found and text is not None:
            found[keyword].append(text)
    first_problem: AppError | None = None
    for text in (*found["ccv3"], *found["chara"]):
        try:
            return _parse(_unbase64(text, name), name)
        except AppError as error:  # a broken ccv3 may stand beside a good chara
            first_problem = first_problem or error
    if first_problem is not None:
        raise first_problem
    raise InvalidInputError(
        f"{name} is a picture without a character card (no chara or ccv3 text in it). Sites that shrink pictures "
        "drop the card: download the original PNG."
    )


def png_chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """The chunks of a PNG as (type, body), up to IEND.

    Raises:
        InvalidInputError: If it is no PNG, is cut short, or a checksum is wrong.
    """
    if not data.startswith(PNG_SIGNATURE):
        raise InvalidInputError("This is not a PNG file.")
    view = memoryview(data)
    at = len(PNG_SIGNATURE)
    for _ in range(MAX_CHUNKS):
        if at + 12 > len(data):
            raise InvalidInputError(f"The PNG is cut short at byte {at:,}. Download it again.")
        (length,) = struct.unpack_from(">I", data, at)
        kind = bytes(view[at + 4 : at + 8])
        end = at + 8 + length
        if end + 4 > len(data):
            raise InvalidInputError(
                f"The PNG is cut short: a chunk at byte {at:,} says {length:,} bytes. Download it again."
            )
        (wanted,) = struct.unpack_from(">I", data, end)
        if zlib.crc32(view[at + 4 : end]) != wanted:
            raise InvalidInputError(
                f"The PNG is damaged: wrong checksum of a chunk at byte {at:,}. Download it again."
            )
        yield kind, bytes(view[at + 8 : end])
        if kind == b"IEND":
            return
        at = end + 4
    raise TooLargeError(f"The PNG has more than {MAX_CHUNKS:,} chunks.")


def _text_of(kind: bytes, body: bytes) -> tuple[str, bytes | None]:
    """Keyword (lower case) and text of a text chunk; None as text when it cannot be read."""
    keyword_bytes, nul, rest = body.partition(b"\0")
    keyword = keyword_bytes[:79].decode("latin-1").lower()
    if not nul or keyword not in ("chara", "ccv3"):
        return keyword, None
    if kind == b"tEXt":
        return keyword, rest
    if kind == b"zTXt":
        return keyword, _inflate(rest[1:]) if rest[:1] == b"\0" else None
    if len(rest) < 2:
        return keyword, None
    compressed, method = rest[0], rest[1]
    _language, nul1, rest = rest[2:].partition(b"\0")
    _translated, nul2, text = rest.partition(b"\0")
    if not (nul1 and nul2):
        return keyword, None
    if compressed == 0:
        return keyword, text
    return keyword, _inflate(text) if method == 0 else None


def _inflate(data: bytes) -> bytes | None:
    # base64 is 4/3 of the JSON it holds.
    limit = MAX_JSON_BYTES * 4 // 3 + 4
    inflater = zlib.decompressobj()
    try:
        text = inflater.decompress(data, limit + 1)
    except zlib.error:
        return None
    if len(text) > limit:
        raise TooLargeError(
            f"The card's text unpacks to more than {limit:,} bytes. That is no character card."
        )
    return text


def _unbase64(text: bytes, name: str) -> bytes:
    if len(text) > MAX_JSON_BYTES * 4 // 3 + 4:
        raise TooLargeError(f"The card in {name} has more than {MAX_JSON_BYTES:,} bytes of text.")
    packed = b"".join(text.split())
    try:
        return base64.b64decode(packed + b"=" * (-len(packed) % 4), validate=True)
    except (binascii.Error, ValueError) as error:
        raise InvalidInputError(
            f"The card in {name} is damaged: its text is not base64."
        ) from error


def _parse(data: bytes, name: str) -> dict[str, object]:
    if len(data) > MAX_JSON_BYTES:
        raise TooLargeError(
            f"{name} has {len(data):,} bytes of text; a card may have {MAX_JSON_BYTES:,}."
        )
    try:
        value = json.loads(data.decode("utf-8-sig"), parse_constant=_refuse_constant)
    except UnicodeDecodeError as error:
        raise InvalidInputError(f"{name} is neither a PNG nor JSON in UTF-8.") from error
    except RecursionError as error:
        raise TooLargeError(f"{name} is nested more than {MAX_DEPTH} levels deep.") from error
    except ValueError as error:
        raise InvalidInputError(f"{name} is not readable JSON: {error}.") from error
    if not isinstance(value, dict):
        raise InvalidInputError(f"{name} holds a {type(value).__name__}, not a character card.")
    clean = bounded_json(value, name)
    assert isinstance(clean, dict)
    return clean


def _refuse_constant(name: str) -> object:
    raise ValueError(f"{name} is not a JSON number")


def bounded_json(value: object, name: str) -> object:
    """A copy of decoded JSON that is safe to store: bounded depth and size, finite numbers, storable text.

    Raises:
        TooLargeError, InvalidInputError: Naming what is beyond the bounds.
    """
    count = 0

    def copy(item: object, depth: int) -> object:
        nonlocal count
        count += 1
        if count > MAX_NODES:
            raise TooLargeError(f"{name} has more than {MAX_NODES:,} values.")
        if depth > MAX_DEPTH:
            raise TooLargeError(f"{name} is nested more than {MAX_DEPTH} levels deep.")
        match item:
            case None | bool():
                return item
            case str():
                return storable(item)
            case int():
                # What JSON readers elsewhere and the database can hold.
                return (
                    item if -(2**53) <= item <= 2**53 else float(item) if abs(item) < 10**300 else 0
                )
            case float():
                if not math.isfinite(item):
                    raise InvalidInputError(f"{name} holds a number that is too large.")
                return item
            case dict():
                return {storable(str(key)): copy(each, depth + 1) for key, each in item.items()}
            case list() | tuple():
                return [copy(each, depth + 1) for each in item]
            case _:
                raise InvalidInputError(
                    f"{name} holds a {type(item).__name__}; only JSON values can be kept."
                )

    return copy(value, 0)


# --- cleaning -----------------------------------------------------------------------------------------------------

_CONTROL = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff\ufff9-\ufffb]"
)
_SURROGATE = re.compile("[\ud800-\udfff]")
# Possessive: without them a "<aaa…" of 100,000 letters took 11 s.
_TAG = re.compile(r"<(?P<slash>/?)(?P<name>[a-zA-Z!?][^\s<>/]*+)[^<>]*+>")
# What a browser takes for a tag: up to the next ">", whatever is in between.
_ODD_TAG = re.compile(r"<(?!(?:user|bot|char|start)>)/?[a-zA-Z!?][^>]*+>", re.IGNORECASE)
_LINE_TAGS = frozenset({"br", "p", "div", "li", "tr", "hr"})
_KEPT_TAGS = frozenset({"user", "bot", "char", "start"})  # macros of the card formats, not markup
_MACRO = re.compile(r"\{\{\s*(char|user|bot)\s*\}\}|<(user|bot|char)>", re.IGNORECASE)


def storable(text: str) -> str:
    """The text without what cannot be stored or shown: control characters, lone surrogates, bidi overrides."""
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    return _CONTROL.sub("", _SURROGATE.sub("\ufffd", text))


def clean_text(text: str) -> str:
    """Plain text: no markup, no scripts, no control characters. Macros like ``<USER>`` and hearts like ``<3`` stay."""
    text = storable(text)
    if "<" not in text:
        return text.strip()
    for element in ("script", "style", "iframe", "object", "template", "svg"):
        text = _without_element(text, element)
    for _ in range(4):  # a tag can appear when one inside it goes: <scr<b>ipt>
        cleaned = _TAG.sub(_tag_text, text)
        if cleaned == text:
            # Up to the last ">" only: behind it every "<" would be looked at to the end of the text.
            end = text.rfind(">") + 1
            cleaned = _ODD_TAG.sub("", text[:end]) + text[end:]
            if cleaned == text:
                return text.strip()
        text = cleaned
    return text.replace("<", "").strip()


def _tag_text(match: re.Match[str]) -> str:
    name = match["name"].lower()
    if name in _KEPT_TAGS and not match["slash"]:
        return match[0] if match[0][1:-1].strip().lower() == name else ""
    return "\n" if name in _LINE_TAGS else ""


def _without_element(text: str, element: str) -> str:
    """Drop an element with what is inside it; one left open loses the rest of the text, as in a browser."""
    lower = text.lower()
    if len(lower) != len(text):  # İ and friends grow in lower case, positions would not match
        lower = "".join(letter.lower() if letter.isascii() else letter for letter in text)
    opening, closing = f"<{element}", f"</{element}"
    kept: list[str] = []
    at = 0
    while (start := lower.find(opening, at)) >= 0:
        after = lower[start + len(opening) : start + len(opening) + 1]
        if after.isalnum():
            kept.append(text[at : start + 1])
            at = start + 1
            continue
        kept.append(text[at:start])
        end = lower.find(closing, start)
        if end < 0:
            return "".join(kept)
        close = lower.find(">", end)
        if close < 0:
            return "".join(kept)
        at = close + 1
    kept.append(text[at:])
    return "".join(kept)


def fill_macros(text: str, *, char: str, user: str) -> str:
    """Put the names in: ``{{char}}``, ``{{user}}``, ``<BOT>``, ``<USER>``, any case. Names are never expanded again."""

    def name(match: re.Match[str]) -> str:
        return user if (match[1] or match[2]).lower() == "user" else char

    return _MACRO.sub(name, text)


def _shown(filename: str) -> str:
    """A file name as it may stand in a message."""
    short = storable(filename).replace("\\", "/").rsplit("/", 1)[-1].replace("\n", " ").strip()
    return short if len(short) <= 80 else short[:77] + "..."


# --- card to character --------------------------------------------------------------------------------------------

_READ = frozenset(
    {
        "name",
        "description",
        "personality",
        "scenario",
        "first_mes",
        "mes_example",
        "system_prompt",
        "post_history_instructions",
        "alternate_greetings",
        "creator",
        "creator_notes",
        "tags",
        "extensions",
    }
)


def _fields(card: dict[str, object], name: str) -> dict[str, object]:
    data = card.get("data")
    if not isinstance(data, dict):
        if "spec" in card:
            raise InvalidInputError(f"{name} says it is a {card['spec']!s:.40} but has no data.")
        data = card  # V1: everything at the top
        if not isinstance(data.get("name", data.get("char_name")), str):
            raise InvalidInputError(
                f"{name} is JSON but no character card: it has neither spec and data (V2, V3) nor a name (V1)."
            )
        if "char_name" in data and "name" not in data:  # Pygmalion's spelling of V1
            data = _from_pygmalion(data)

    def text(key: str) -> str:
        value = data.get(key)
        if value is None:
            return ""
        if isinstance(value, bool | dict | list):
            raise InvalidInputError(f"{name}: {key} must be text, it is a {type(value).__name__}.")
        if len(str(value)) > MAX_TEXT:
            raise TooLargeError(
                f"{name}: {key} has {len(str(value)):,} characters; at most {MAX_TEXT:,} are read."
            )
        return clean_text(str(value))

    def texts(key: str, most: int) -> list[str]:
        value = data.get(key)
        if value is None:
            return []
        if not isinstance(value, list):
            raise InvalidInputError(
                f"{name}: {key} must be a list, it is a {type(value).__name__}."
            )
        if len(value) > most:
            raise TooLargeError(f"{name}: {key} has {len(value):,} entries; at most {most}.")
        cleaned = (clean_text(each[:MAX_TEXT]) for each in value if isinstance(each, str))
        return [each for each in cleaned if each]

    brought = data.get("extensions")
    extensions: dict[str, object] = dict(brought) if isinstance(brought, dict) else {}
    own = extensions.pop(OWN_EXTENSION, None)
    extensions.pop(REST, None)
    rest: dict[str, object] = {key: value for key, value in data.items() if key not in _READ}
    personality = text("personality")
    if personality:
        rest["personality"] = personality
    if rest:
        extensions[REST] = rest
    fields: dict[str, object] = {
        "name": text("name"),
        "profile": text("description"),
        "personality": personality_from_text(personality),
        "scenario": text("scenario"),
        "greeting": text("first_mes"),
        "example_dialogue": text("mes_example"),
        "system_prompt": text("system_prompt"),
        "post_history_instructions": text("post_history_instructions"),
        "alternate_greetings": tuple(texts("alternate_greetings", MAX_GREETINGS)),
        "creator": text("creator")[:200],
        "creator_notes": text("creator_notes"),
        "tags": tuple(tag[:100] for tag in texts("tags", 500)[:64]),
        "extensions": extensions,
    }
    fields.update(_own_fields(own))
    return fields


def _from_pygmalion(data: Mapping[str, object]) -> dict[str, object]:
    names = {
        "char_name": "name",
        "char_persona": "description",
        "world_scenario": "scenario",
        "char_greeting": "first_mes",
        "example_dialogue": "mes_example",
    }
    return {names.get(key, key): value for key, value in data.items()}


def _own_fields(own: object) -> dict[str, object]:
    """What another Luma wrote into its card; anything wrong in it is left out."""
    if not isinstance(own, dict):
        return {}
    fields: dict[str, object] = {}
    for key, model in (("personality", Personality), ("voice", VoiceChoice)):
        if isinstance(own.get(key), dict):
            try:
                fields[key] = model.model_validate(own[key])
            except ValidationError:
                continue
    for key in ("language", "persona_style"):
        value = own.get(key)
        if isinstance(value, str) and re.fullmatch(r"[A-Za-z][A-Za-z0-9_-]{0,31}", value):
            fields[key] = value
    return fields


def personality_from_text(text: str) -> Personality:
    """Traits and habits out of a card's free text: short items become traits, sentences become quirks."""
    traits: dict[str, float] = {}
    quirks: list[str] = []
    for piece in re.split(r"[\n.;]+", text[:MAX_TEXT]):
        items = [item.strip(" \t-*•[](){}\"'") for item in re.split(r"[,+|]", piece)]
        items = [item for item in items if item]
        if items and all(len(item) <= 32 and len(item.split()) <= 3 for item in items):
            for item in items:
                if len(traits) < 24:
                    traits.setdefault(item.lower(), 0.7)
        elif piece.strip() and len(quirks) < 32:
            quirks.append(piece.strip()[:400])
    return Personality(traits=traits, quirks=tuple(quirks))


# --- character to card --------------------------------------------------------------------------------------------


def write_card(
    character: Character, kind: CardKind, version: CardVersion = "v3", picture: bytes | None = None
) -> CardFile:
    """The character as a card others can read. A PNG holds both V2 (``chara``) and V3 (``ccv3``).

    Args:
        character: Who.
        kind: "png" or "json".
        version: Which spec the JSON follows.
        picture: PNG made by us, needed for "png".
    """
    stem = re.sub(r"[^\w-]+", "-", character.name).strip("-")[:60] or character.id
    if kind == "json":
        body = json.dumps(card_data(character, version), ensure_ascii=False, indent=2)
        return CardFile(body.encode(), f"{stem}.json", "application/json")
    if picture is None:
        raise InvalidInputError(f"{character.name} has no picture to put the card in. Export JSON.")
    chunks = [
        (kind_, body)
        for kind_, body in png_chunks(picture)
        if kind_ not in (b"tEXt", b"zTXt", b"iTXt")
    ]
    for keyword, each in (("chara", "v2"), ("ccv3", "v3")):
        packed = base64.b64encode(
            json.dumps(card_data(character, each), ensure_ascii=False).encode()
        )
        chunks.insert(-1, (b"tEXt", keyword.encode() + b"\0" + packed))
    return CardFile(png_bytes(chunks), f"{stem}.png", "image/png")


def png_bytes(chunks: list[tuple[bytes, bytes]]) -> bytes:
    """A PNG file of these chunks."""
    parts = [PNG_SIGNATURE]
    for kind, body in chunks:
        parts += [
            struct.pack(">I", len(body)),
            kind,
            body,
            struct.pack(">I", zlib.crc32(body, zlib.crc32(kind))),
        ]
    return b"".join(parts)


def card_data(character: Character, version: str) -> dict[str, object]:
    """The card as JSON: what was read, what was brought along, and ours under ``extensions.luma``."""
    extensions = dict(character.extensions)
    kept = extensions.pop(REST, None)
    rest = dict(kept) if isinstance(kept, dict) else {}
    brought = rest.pop("personality", None)
    if isinstance(brought, str) and personality_from_text(brought) == character.personality:
        personality = brought
    else:
        personality = personality_text(character.personality)
    extensions[OWN_EXTENSION] = {
        "personality": character.personality.model_dump(mode="json"),
        "voice": character.voice.model_dump(mode="json"),
        "language": character.language,
        "persona_style": character.persona_style,
    }
    data: dict[str, object] = {
        **rest,
        "name": character.name,
        "description": character.profile,
        "personality": personality,
        "scenario": character.scenario,
        "first_mes": character.greeting,
        "mes_example": character.example_dialogue,
        "creator_notes": character.creator_notes,
        "system_prompt": character.system_prompt,
        "post_history_instructions": character.post_history_instructions,
        "alternate_greetings": list(character.alternate_greetings),
        "tags": list(character.tags),
        "creator": character.creator,
        "character_version": rest.get("character_version", ""),
        "extensions": extensions,
    }
    if version == "v2":
        return {"spec": "chara_card_v2", "spec_version": "2.0", "data": data}
    data.setdefault("group_only_greetings", [])
    data.setdefault("assets", [{"type": "icon", "uri": "ccdefault:", "name": "main", "ext": "png"}])
    return {"spec": "chara_card_v3", "spec_version": "3.0", "data": data}


def personality_text(personality: Personality) -> str:
    """A personality in words, strongest trait first."""
    traits = ", ".join(
        name for name, _ in sorted(personality.traits.items(), key=lambda item: -item[1])
    )
    parts = [traits, *personality.quirks]
    if personality.likes:
        parts.append("likes " + ", ".join(personality.likes))
    if personality.dislikes:
        parts.append("dislikes " + ", ".join(personality.dislikes))
    return "\n".join(part for part in parts if part)


# --- pictures -----------------------------------------------------------------------------------------------------


def read_picture(data: bytes, filename: str = "") -> Picture:
    """Decode a picture from outside and encode it again, so that nothing of the original file is ever served.

    Blocking (tens of milliseconds): call it in a worker thread.

    Raises:
        TooLargeError: If it has too many bytes or pixels.
        InvalidInputError: If it is no picture we read.
    """
    from PIL import Image  # 40 ms to import, and only pictures need it

    name = _shown(filename) or "The picture"
    if len(data) > MAX_CARD_BYTES:
        raise TooLargeError(
            f"{name} has {len(data):,} bytes; a picture may have {MAX_CARD_BYTES:,}."
        )
    if data.startswith(PNG_SIGNATURE):
        data = _bare_png(data, name)
    try:
        with Image.open(io.BytesIO(data), formats=PICTURE_FORMATS) as image:
            _check_size(image.width, image.height, name)
            image.draft("RGB", (CARD_SIDE, CARD_SIDE))  # JPEG decodes small at once
            picture = image.convert("RGBA")
    except (
        OSError,  # includes UnidentifiedImageError
        ValueError,
        SyntaxError,  # what Pillow's PNG reader raises for broken chunks
        EOFError,
        OverflowError,
        struct.error,
        zlib.error,
        IndexError,
        KeyError,
        TypeError,
        Image.DecompressionBombError,
    ) as error:
        raise InvalidInputError(
            f"{name} cannot be read as a picture. Use a PNG, JPEG, WebP, GIF or BMP."
        ) from error
    whole = picture.copy()
    whole.thumbnail((CARD_SIDE, CARD_SIDE), Image.Resampling.LANCZOS)
    side = min(picture.size)
    left = (picture.width - side) // 2
    square = picture.crop((left, 0, left + side, side)).resize(
        (AVATAR_SIDE, AVATAR_SIDE), Image.Resampling.LANCZOS
    )
    return Picture(whole=_encoded(whole), square=_encoded(square))


def _encoded(image: object) -> bytes:
    from PIL.Image import Image as PillowImage

    assert isinstance(image, PillowImage)
    out = io.BytesIO()
    image.save(out, "PNG", optimize=True)
    return out.getvalue()


def _bare_png(data: bytes, name: str) -> bytes:
    """The PNG with only the chunks a picture needs: no text, profiles or animations reach the decoder."""
    kept = [
        (kind, body)
        for kind, body in png_chunks(data)
        if kind in (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND")
    ]
    if not kept or kept[0][0] != b"IHDR" or len(kept[0][1]) != 13:
        raise InvalidInputError(f"{name} is a damaged PNG: it does not begin with its size.")
    width, height = struct.unpack_from(">II", kept[0][1])
    _check_size(width, height, name)
    return png_bytes(kept)


def _check_size(width: int, height: int, name: str) -> None:
    if width > MAX_SIDE or height > MAX_SIDE or width * height > MAX_PIXELS:
        raise TooLargeError(
            f"{name} is {width} x {height} pixels; at most {MAX_PIXELS // 1_000_000} megapixels and {MAX_SIDE} a side."
        )


def monogram(name: str) -> bytes:
    """A plain picture for a character without one: its first letter on a colour made from its name."""
    from PIL import Image, ImageDraw, ImageFont

    hue = zlib.crc32(name.encode()) % 360
    image = Image.new("RGB", (AVATAR_SIDE, AVATAR_SIDE), f"hsl({hue}, 45%, 38%)")
    draw = ImageDraw.Draw(image)
    font = ImageFont.load_default(size=AVATAR_SIDE // 2)
    draw.text(
        (AVATAR_SIDE / 2, AVATAR_SIDE / 2),
        name[:1].upper() or "?",
        font=font,
        fill=f"hsl({hue}, 60%, 90%)",
        anchor="mm",
    )
    return _encoded(image)
