"""Character cards: what comes in is kept, what is hostile is refused politely."""

from __future__ import annotations

import base64
import io
import json
import struct
import zlib
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from backend.chat import cards
from backend.chat.builtin import AVATARS, CAST, HOSHI
from backend.contracts.entities import Character, Personality
from backend.contracts.errors import AppError, InvalidInputError, TooLargeError
from backend.core import clock

PICTURE = (AVATARS / "hoshi" / "neutral.png").read_bytes()


def v2(**data: object) -> dict[str, Any]:
    return {"spec": "chara_card_v2", "spec_version": "2.0", "data": {"name": "Vex", **data}}


def small_png(size: tuple[int, int] = (8, 8)) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", size, "#336699").save(out, "PNG")
    return out.getvalue()


def png_with(*chunks: tuple[bytes, bytes], picture: bytes | None = None) -> bytes:
    parts = list(cards.png_chunks(picture or small_png()))
    parts[1:1] = chunks
    return cards.png_bytes(parts)


def packed(card: object) -> bytes:
    return base64.b64encode(json.dumps(card).encode())


def made(fields: dict[str, object]) -> Character:
    return Character.model_validate({**fields, "id": "x"})


@pytest.mark.parametrize("character", CAST, ids=lambda each: each.id)
@pytest.mark.parametrize("version", ["v2", "v3"])
def test_a_character_survives_the_way_out_and_back_as_json(
    character: Character, version: cards.CardVersion
) -> None:
    file = cards.write_card(character, "json", version)
    again = made(cards.read_card(file.data, file.filename).fields)
    for name in ("name", "profile", "personality", "greeting", "system_prompt", "voice", "tags"):
        assert getattr(again, name) == getattr(character, name), name
    assert again.alternate_greetings == character.alternate_greetings
    assert again.example_dialogue == character.example_dialogue
    assert again.persona_style == character.persona_style


def test_an_exported_png_holds_both_versions_and_is_still_a_picture() -> None:
    file = cards.write_card(HOSHI, "png", picture=PICTURE)
    texts = {
        body.split(b"\0")[0]: json.loads(base64.b64decode(body.split(b"\0")[1]))
        for kind, body in cards.png_chunks(file.data)
        if kind == b"tEXt"
    }
    assert texts[b"chara"]["spec"] == "chara_card_v2"
    assert texts[b"ccv3"]["spec"] == "chara_card_v3"
    with Image.open(io.BytesIO(file.data)) as image:
        assert image.size == (512, 512)
    assert made(cards.read_card(file.data).fields).name == "Hoshi Kitsune"


@pytest.mark.parametrize("form", ["tEXt", "zTXt", "iTXt", "iTXt compressed"])
def test_the_card_is_found_in_every_kind_of_text_chunk(form: str) -> None:
    text = packed(v2(description="from " + form))
    body = {
        "tEXt": b"chara\0" + text,
        "zTXt": b"chara\0\0" + zlib.compress(text),
        "iTXt": b"chara\0\0\0\0\0" + text,
        "iTXt compressed": b"chara\0\1\0\0\0" + zlib.compress(text),
    }[form]
    card = cards.read_card(png_with((form[:4].encode(), body)))
    assert card.fields["profile"] == "from " + form


def test_v3_is_preferred_and_v2_stands_in_for_a_broken_one() -> None:
    old = (b"tEXt", b"chara\0" + packed(v2(description="old")))
    new = (b"tEXt", b"ccv3\0" + packed({**v2(description="new"), "spec": "chara_card_v3"}))
    broken = (b"tEXt", b"ccv3\0!!! not base64 !!!")
    assert cards.read_card(png_with(old, new)).fields["profile"] == "new"
    assert cards.read_card(png_with(broken, old)).fields["profile"] == "old"


def test_v1_cards_are_read() -> None:
    old = {"name": "Ada", "description": "d", "first_mes": "hi", "mes_example": "<START>\nx"}
    fields = cards.read_card(json.dumps(old).encode()).fields
    assert (fields["name"], fields["greeting"]) == ("Ada", "hi")
    assert fields["example_dialogue"] == "<START>\nx"
    pygmalion = {"char_name": "Bo", "char_persona": "p", "char_greeting": "yo"}
    assert cards.read_card(json.dumps(pygmalion).encode()).fields["profile"] == "p"


def test_lorebook_and_unknown_fields_come_out_again_as_they_came_in() -> None:
    book = {"name": "lore", "entries": [{"keys": ["moon"], "content": "cheese", "enabled": True}]}
    card = v2(
        character_book=book,
        character_version="1.4",
        personality="curious, loud. Talks to kettles when nobody is looking at her.",
        extensions={"depth_prompt": {"depth": 4, "prompt": "x"}, "talkativeness": "0.5"},
        nickname="V",
    )
    character = made(cards.read_card(json.dumps(card).encode()).fields)
    assert character.personality.traits == {"curious": 0.7, "loud": 0.7}
    out = json.loads(cards.write_card(character, "json", "v3").data)["data"]
    assert out["character_book"] == book
    assert out["character_version"] == "1.4"
    assert out["personality"] == card["data"]["personality"]
    assert out["nickname"] == "V"
    assert out["extensions"]["depth_prompt"] == {"depth": 4, "prompt": "x"}


def test_an_edited_personality_replaces_the_text_it_came_with() -> None:
    character = made(cards.read_card(json.dumps(v2(personality="curious, loud")).encode()).fields)
    edited = character.model_copy(update={"personality": Personality(traits={"calm": 0.9})})
    assert json.loads(cards.write_card(edited, "json").data)["data"]["personality"] == "calm"


@pytest.mark.parametrize(
    ("dirty", "clean"),
    [
        ("<b>bold</b> move", "bold move"),
        ("a<script>alert(1)</script>b", "ab"),
        ("a<ScRiPt src=x>alert(1)", "a"),
        ("<scr<b>ipt>alert(1)</scr</b>ipt>", "alert(1)"),
        ("<img src=x onerror=alert(1)>hi", "hi"),
        ("<style>p{}</style>text", "text"),
        ("line<br>break", "line\nbreak"),
        ("<!-- hidden -->seen", "seen"),
        ("<USER> meets <BOT>, <3 and 2 < 3", "<USER> meets <BOT>, <3 and 2 < 3"),
        ("{{char}} & {{user}}", "{{char}} & {{user}}"),
        ("nul\0bell\x07 esc\x1b[31m rtl\u202e", "nulbell esc[31m rtl"),
        ("lone \ud800 half", "lone \ufffd half"),
        ("<user onclick=x>hi", "hi"),
    ],
)
def test_markup_and_control_characters_are_dropped(dirty: str, clean: str) -> None:
    assert cards.clean_text(dirty) == clean


@pytest.mark.parametrize(
    "tag", ["<img src=x onerror=go() <>", "<img/onerror=go()<>", "<a<3<>", "<<a<>b>"]
)
def test_a_tag_goes_as_a_browser_would_read_it(tag: str) -> None:
    assert cards.clean_text(f"before {tag} after") == "before  after"


@settings(max_examples=200, deadline=None)
@given(st.lists(st.sampled_from(["<", ">", "script", "/", "b", " ", "x", "=", "!--", "svg"])))
def test_no_spelling_of_a_tag_survives(pieces: list[str]) -> None:
    cleaned = cards.clean_text("".join(pieces)).lower()
    assert "<script" not in cleaned or ">" not in cleaned.split("<script", 1)[1]
    assert not cards._TAG.search(cleaned)


def test_cleaning_stays_fast_on_endless_tags() -> None:
    for text in (
        "<" * 100_000,
        "<script>" * 12_000,
        "<a " * 30_000,
        "<scr" * 20_000 + ">" * 20_000,
    ):
        assert len(cards.clean_text(text)) <= len(text)


def test_macros_take_names_and_names_are_not_expanded_again() -> None:
    text = "{{char}} greets {{USER}}; <BOT> and <user>, {{ user }}"
    filled = cards.fill_macros(text, char="Hoshi", user="{{char}}")
    assert filled == "Hoshi greets {{char}}; Hoshi and {{char}}, {{char}}"


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "JSON"),
        (b"hello", "JSON"),
        (b"[1, 2]", "list"),
        (b"{}", "no character card"),
        (b'{"spec": "chara_card_v2"}', "no data"),
        (b'{"spec": "chara_card_v2", "data": {"name": ["x"]}}', "name must be text"),
        (b'{"name": "x", "tags": "y"}', "tags must be a list"),
        (b'{"name": "x", "description": NaN}', "NaN"),
        (b'{"name": "x", "extensions": {"a": 1e999}}', "too large"),
        (b"PK\x03\x04....", "zip"),
        (b"\xff\xd8\xff\xe0", "PNG"),
        (b"\xff\xfe{}", "UTF-8"),
        (small_png(), "without a character card"),
        (small_png()[:-20], "cut short"),
        (small_png().replace(b"IDAT", b"IDAX"), "checksum"),
    ],
)
def test_what_is_wrong_is_said(data: bytes, says: str) -> None:
    with pytest.raises(InvalidInputError, match=says):
        cards.read_card(data, "card.png")


def test_bounds_hold() -> None:
    deep: object = "x"
    for _ in range(60):
        deep = {"a": deep}
    very_deep = b'{"name":"x","extensions":' + b'{"a":' * 200_000 + b"1" + b"}" * 200_001
    bomb = b"chara\0\0" + zlib.compress(b"A" * 30_000_000)
    for data in (
        json.dumps(v2(extensions={"deep": deep})).encode(),
        very_deep,
        json.dumps(v2(description="x" * 200_000)).encode(),
        json.dumps(v2(extensions={"many": [0] * 250_000})).encode(),
        json.dumps(v2(alternate_greetings=["hi"] * 100)).encode(),
        b" " * (cards.MAX_JSON_BYTES + 1),
        b"x" * (cards.MAX_CARD_BYTES + 1),
        png_with((b"zTXt", bomb)),
    ):
        with pytest.raises(TooLargeError):
            cards.read_card(data)


def test_a_picture_is_encoded_again_without_its_text() -> None:
    dirty = png_with((b"tEXt", b"Comment\0<script>"), (b"eXIf", b"MM\0*secret"), picture=PICTURE)
    picture = cards.read_picture(dirty)
    assert next(cards.png_chunks(picture.square))[0] == b"IHDR"
    assert b"script" not in picture.whole
    assert b"secret" not in picture.whole
    with Image.open(io.BytesIO(picture.square)) as image:
        assert image.size == (512, 512)


def test_a_portrait_is_cut_at_its_top() -> None:
    portrait = Image.new("RGB", (400, 600), "#00FF00")
    portrait.paste("#FF0000", (0, 0, 400, 100))
    out = io.BytesIO()
    portrait.save(out, "PNG")
    with Image.open(io.BytesIO(cards.read_picture(out.getvalue()).square)) as square:
        assert square.convert("RGB").getpixel((256, 10)) == (255, 0, 0)
    with Image.open(io.BytesIO(cards.read_picture(out.getvalue()).whole)) as whole:
        assert whole.size == (400, 600)


def test_a_picture_with_endless_pixels_is_refused_before_it_is_decoded() -> None:
    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    huge = cards.png_bytes(
        [(b"IHDR", header), (b"IDAT", zlib.compress(b"\0" * 100)), (b"IEND", b"")]
    )
    with pytest.raises(TooLargeError, match="60000 x 60000"):
        cards.read_picture(huge)


@pytest.mark.parametrize("data", [b"", b"GIF89a", b"\xff\xd8\xff\xe0junk", b"RIFF1234WEBPxxxx"])
def test_what_is_no_picture_is_refused(data: bytes) -> None:
    with pytest.raises(InvalidInputError, match="picture"):
        cards.read_picture(data)


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=400))
def test_random_bytes_end_in_an_error_with_advice(data: bytes) -> None:
    for prefix in (b"", cards.PNG_SIGNATURE, b"{", b'{"name":"x"'):
        with suppress(AppError):
            cards.read_card(prefix + data)


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_a_damaged_card_ends_in_an_error_or_a_character(data: st.DataObject) -> None:
    good = bytearray(png_with((b"tEXt", b"chara\0" + packed(v2(description="d")))))
    for _ in range(data.draw(st.integers(1, 6))):
        good[data.draw(st.integers(8, len(good) - 1))] = data.draw(st.integers(0, 255))
    for read in (cards.read_card, cards.read_picture):
        with suppress(AppError):
            read(bytes(good))


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4)
    ),
    max_leaves=20,
)


@settings(max_examples=150, deadline=None)
@given(
    st.dictionaries(
        st.sampled_from(
            ["name", "description", "personality", "first_mes", "tags", "extensions", "creator"]
        )
        | st.text(max_size=10),
        _JSON,
        max_size=8,
    )
)
def test_any_json_in_a_card_ends_in_an_error_or_a_character_that_can_be_exported(
    fields: dict[str, Any],
) -> None:
    card = {"spec": "chara_card_v2", "data": {"name": "x", **fields}}
    try:
        read = cards.read_card(json.dumps(card).encode())
        character = made(read.fields)
    except AppError:
        return
    again = cards.read_card(cards.write_card(character, "json", "v3").data)
    assert made(again.fields).name == character.name


@pytest.mark.parametrize("piece", ["<a", "<", "<!", "<script", "<a ", "{{ ", "a,"])
def test_no_text_keeps_the_cleaning_busy(piece: str) -> None:
    for text in ((piece * cards.MAX_TEXT)[: cards.MAX_TEXT], "<" + "a" * cards.MAX_TEXT):
        began_s = clock.monotonic_s()
        cards.clean_text(text)
        cards.personality_from_text(text)
        assert clock.monotonic_s() - began_s < 2  # it was 11 s; linear is 0.02 s
