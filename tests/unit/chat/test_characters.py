"""Characters as a user keeps them: shipped ones and one's own."""

from __future__ import annotations

import io
import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from backend.chat.builtin import AVATARS, CAST, EXPRESSIONS
from backend.chat.characters import Characters
from backend.contracts.errors import (
    AppError,
    ConflictError,
    InvalidInputError,
    NotFoundError,
    TooLargeError,
)
from backend.contracts.events import CharacterChanged
from backend.core.bus import EventBus, Subscription
from backend.storage.database import Database


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    database = Database(f"sqlite:///{tmp_path / 'luma.db'}", tmp_path)
    await database.open()
    yield database
    await database.close()


@pytest.fixture
def bus() -> EventBus:
    return EventBus()


@pytest.fixture
def seen(bus: EventBus) -> Iterator[Subscription]:
    with bus.subscribe() as subscription:
        yield subscription


@pytest.fixture
async def characters(database: Database, bus: EventBus, tmp_path: Path) -> Characters:
    characters = Characters(database, bus, tmp_path / "avatars")
    await characters.open()
    return characters


async def reopened(database: Database, bus: EventBus, tmp_path: Path) -> Characters:
    again = Characters(database, bus, tmp_path / "avatars")
    await again.open()
    return again


def picture(colour: str = "#336699", size: tuple[int, int] = (40, 60)) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", size, colour).save(out, "PNG")
    return out.getvalue()


async def changes(seen: Subscription) -> list[tuple[str, str]]:
    return [
        (item.event.character_id, item.event.change)
        for item in await seen.take()
        if isinstance(item.event, CharacterChanged)
    ]


async def test_a_newcomer_finds_the_shipped_characters_in_order(characters: Characters) -> None:
    assert [each.id for each in await characters.list()] == ["hoshi", "sumi", "rivet", "nemu"]
    assert (await characters.default()).id == "hoshi"


def test_the_shipped_characters_are_distinct_and_complete() -> None:
    assert len({each.voice for each in CAST}) == len(CAST)
    assert len({each.greeting for each in CAST}) == len(CAST)
    for each in CAST:
        assert each.greeting
        assert each.system_prompt
        assert each.example_dialogue
        assert each.builtin
        assert len(each.expressions) >= 8
        for expression in each.expressions:
            with Image.open(AVATARS / each.id / f"{expression}.png") as image:
                assert image.size == (512, 512)
    total = sum(path.stat().st_size for path in AVATARS.rglob("*.png"))
    assert total < 1_500_000


async def test_every_expression_of_a_shipped_character_has_its_own_picture(
    characters: Characters,
) -> None:
    for each in CAST:
        paths = {characters.avatar_path(each.id, expression) for expression in EXPRESSIONS}
        assert None not in paths
        assert len(paths) == len(EXPRESSIONS)


async def test_an_unknown_expression_shows_the_neutral_face(characters: Characters) -> None:
    assert characters.avatar_path("hoshi", "bored") == characters.avatar_path("hoshi")


@pytest.mark.parametrize(
    ("character_id", "expression"),
    [
        ("hoshi", "../../../luma.db"),
        ("..", "neutral"),
        ("nobody", "neutral"),
        ("hoshi", ""),
        ("hoshi", "a/b"),
    ],
)
async def test_no_path_leads_out_of_the_avatars(
    characters: Characters, character_id: str, expression: str
) -> None:
    assert characters.avatar_path(character_id, expression) is None


async def test_making_a_character_stores_and_tells_it(
    characters: Characters, seen: Subscription, database: Database, bus: EventBus, tmp_path: Path
) -> None:
    made = await characters.create(
        {"name": "  Vex   the Bold ", "personality": {"traits": {"bold": 0.9}}, "greeting": "Ho!"}
    )
    assert (made.id, made.name, made.builtin) == ("vex-the-bold", "Vex the Bold", False)
    assert await changes(seen) == [("vex-the-bold", "created")]
    again = await reopened(database, bus, tmp_path)
    assert await again.get("vex-the-bold") == made


async def test_names_may_repeat_and_be_in_any_script(characters: Characters) -> None:
    ids = [
        (await characters.create({"name": name})).id for name in ("Vex", "vex!", "星の狐", "Hoshi")
    ]
    assert ids[:2] == ["vex", "vex-2"]
    assert len(set(ids)) == 4
    assert ids[3] == "hoshi-2"


async def test_an_unknown_id_lists_the_known_ones(characters: Characters) -> None:
    with pytest.raises(NotFoundError, match="hoshi, sumi, rivet, nemu"):
        await characters.get("hosh")


async def test_editing_changes_only_what_is_given(
    characters: Characters, seen: Subscription
) -> None:
    before = await characters.get("sumi")
    after = await characters.update(
        "sumi", {"profile": "An owl.", "personality": {"energy": 0.9}, "voice": {"rate": 1.5}}
    )
    assert after.profile == "An owl."
    assert after.personality.energy == 0.9
    assert after.personality.traits == before.personality.traits
    assert after.voice == before.voice.model_copy(update={"rate": 1.5})
    assert after.greeting == before.greeting
    assert await changes(seen) == [("sumi", "updated")]


async def test_an_edited_shipped_character_stays_edited_and_can_be_reset(
    characters: Characters, database: Database, bus: EventBus, tmp_path: Path
) -> None:
    await characters.update("rivet", {"name": "Bolt"})
    await characters.set_picture("rivet", picture())
    again = await reopened(database, bus, tmp_path)
    assert (await again.get("rivet")).name == "Bolt"
    assert (await again.reset("rivet")).name == "Rivet"
    path = again.avatar_path("rivet", "joy")
    assert path is not None
    assert path.is_relative_to(AVATARS)


async def test_an_unedited_shipped_character_follows_the_shipped_version(
    characters: Characters,
    database: Database,
    bus: EventBus,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    await characters.update("sumi", {"profile": "Mine now."})
    newer = tuple(each.model_copy(update={"profile": "Shipped anew."}) for each in CAST)
    monkeypatch.setattr("backend.chat.characters.CAST", newer)
    again = await reopened(database, bus, tmp_path)
    assert (await again.get("hoshi")).profile == "Shipped anew."
    assert (await again.get("sumi")).profile == "Mine now."


async def test_shipped_characters_cannot_be_deleted_and_own_ones_not_reset(
    characters: Characters,
) -> None:
    with pytest.raises(ConflictError, match="Hoshi Kitsune came with Luma"):
        await characters.delete("hoshi")
    own = await characters.create({"name": "Vex"})
    with pytest.raises(ConflictError, match="nothing to reset"):
        await characters.reset(own.id)


async def test_a_copy_has_the_pictures_and_can_be_deleted(
    characters: Characters, seen: Subscription, tmp_path: Path
) -> None:
    copy = await characters.duplicate("nemu")
    assert copy.name == "Nemu (copy)"
    assert not copy.builtin
    assert copy.persona_style == "rabbit"
    path = characters.avatar_path(copy.id, "shy")
    assert path is not None
    assert path.read_bytes() == (AVATARS / "nemu" / "shy.png").read_bytes()
    await characters.delete(copy.id)
    assert not path.exists()
    assert await changes(seen) == [(copy.id, "created"), (copy.id, "deleted")]
    with pytest.raises(NotFoundError):
        await characters.get(copy.id)


async def test_a_card_goes_out_and_comes_back_as_somebody_new(characters: Characters) -> None:
    file = await characters.export_card("hoshi", "png")
    assert file.filename == "Hoshi-Kitsune.png"
    back = await characters.import_card(file.data, file.filename)
    assert back.id == "hoshi-kitsune"
    assert not back.builtin
    original = await characters.get("hoshi")
    assert back.personality == original.personality
    assert back.voice == original.voice
    path = characters.avatar_path(back.id)
    assert path is not None
    with Image.open(path) as image:
        assert image.size == (512, 512)
    second = await characters.export_card(back.id, "json", "v2")
    assert json.loads(second.data)["data"]["first_mes"] == original.greeting


async def test_a_character_without_a_picture_is_exported_with_a_monogram(
    characters: Characters,
) -> None:
    own = await characters.create({"name": "Vex"})
    assert own.avatar_url == ""
    file = await characters.export_card(own.id, "png")
    with Image.open(io.BytesIO(file.data)) as image:
        assert image.size == (512, 512)


async def test_an_own_picture_of_one_expression_leaves_the_others_as_they_were(
    characters: Characters,
) -> None:
    await characters.set_picture("hoshi", picture("#FF0000"), "joy")
    copy = await characters.duplicate("hoshi")
    for who in ("hoshi", copy.id):
        joy, smug = characters.avatar_path(who, "joy"), characters.avatar_path(who, "smug")
        assert joy is not None
        assert smug is not None
        with Image.open(joy) as image:
            assert image.convert("RGB").getpixel((200, 200)) == (255, 0, 0)
        assert smug.read_bytes() == (AVATARS / "hoshi" / "smug.png").read_bytes()


async def test_an_own_neutral_picture_hides_the_shipped_ones(characters: Characters) -> None:
    changed = await characters.set_picture("hoshi", picture("#FF0000"))
    path = characters.avatar_path("hoshi", "joy")
    assert path is not None
    assert not path.is_relative_to(AVATARS)
    assert changed.avatar_url == "/api/avatars/hoshi/neutral.png"


async def test_a_card_without_a_name_is_refused(characters: Characters) -> None:
    with pytest.raises(InvalidInputError, match="no name"):
        await characters.import_card(b'{"spec": "chara_card_v2", "data": {"description": "x"}}')
    assert len(await characters.list()) == len(CAST)


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({}, "needs a name"),
        ({"name": ""}, "name is empty"),
        ({"name": "<b></b>"}, "name is empty"),
        ({"name": 5}, "name must be text"),
        ({"name": "x", "colour": "red"}, "'colour'"),
        ({"name": "x", "id": "y"}, "'id'"),
        ({"name": "x", "builtin": True}, "'builtin'"),
        ({"name": "x", "personality": {"energy": 3}}, "energy"),
        ({"name": "x", "personality": {"traits": {"bold": 7}}}, "0 to 1"),
        ({"name": "x", "personality": {"traits": {"bold": True}}}, "0 to 1"),
        ({"name": "x", "personality": {"traits": [1]}}, "traits"),
        ({"name": "x", "personality": "nice"}, "personality"),
        ({"name": "x", "voice": {"rate": 99}}, "rate"),
        ({"name": "x", "voice": 4}, "voice"),
        ({"name": "x", "expressions": ["../evil"]}, "expressions"),
        ({"name": "x", "tags": "a,b"}, "tags"),
        ({"name": "x", "extensions": {"a": object()}}, "extensions"),
        ({"name": "x", "persona_style": "../x"}, "persona_style"),
    ],
)
async def test_a_wrong_field_is_named(
    characters: Characters, fields: dict[str, Any], says: str
) -> None:
    with pytest.raises(InvalidInputError, match=says):
        await characters.create(fields)


@pytest.mark.parametrize(
    "fields",
    [
        {"name": "x" * 200},
        {"name": "x", "profile": "y" * 200_000},
        {"name": "x", "alternate_greetings": ["hi"] * 100},
        {"name": "x", "personality": {"traits": {f"t{n}": 0.5 for n in range(30)}}},
        {"name": "x", "personality": {"likes": ["y" * 500]}},
    ],
)
async def test_too_much_is_refused(characters: Characters, fields: dict[str, Any]) -> None:
    with pytest.raises(TooLargeError):
        await characters.create(fields)


async def test_a_wrong_picture_or_expression_name_is_refused(characters: Characters) -> None:
    for data, expression in ((b"nothing", "joy"), (picture(), "../joy"), (picture(), "card")):
        with pytest.raises(AppError):
            await characters.set_picture("hoshi", data, expression)
    path = characters.avatar_path("hoshi")
    assert path is not None
    assert path.is_relative_to(AVATARS)
