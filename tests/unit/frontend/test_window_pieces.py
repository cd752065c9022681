"""Parts of the window that need no display."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from backend.contracts.entities import Character
from backend.contracts.settings import SettingInfo, SettingKind, SettingValue
from frontend.commands import GROUPS, OTHER_KEYS
from frontend.draw import ICONS, icon_image, round_picture, rounded_box
from frontend.settings_window import heading_of, read_value, shown_value, title_of
from frontend.stage import read_model, read_models
from frontend.theme import DARK, LIGHT, STAGES, mix, rgb
from frontend.widgets.conversation import before_sound, breaks_anywhere, seconds_in_words
from frontend.widgets.turn_panel import TurnView, compare
from frontend.window_state import LARGEST_BYTES, read_state, write_state
from tests.gui.scene import SLOW, USUAL, face

# --- colours ---


def contrast(first: str, second: str) -> float:
    """WCAG 2 contrast ratio."""

    def light(color: str) -> float:
        parts = []
        for value in rgb(color):
            share = value / 255
            parts.append(share / 12.92 if share <= 0.03928 else ((share + 0.055) / 1.055) ** 2.4)
        return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2]

    high, low = sorted((light(first), light(second)), reverse=True)
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("palette", [DARK, LIGHT], ids=["dark", "light"])
@pytest.mark.parametrize("words", ["text", "text2", "text3", "accent", "ok", "warn", "error"])
@pytest.mark.parametrize("ground", ["bg", "surface", "rail"])
def test_words_can_be_read_on_every_ground(
    palette: dict[str, str], words: str, ground: str
) -> None:
    # On the light rail the state words stand with a dot and an icon as well.
    least = 4.5 if ground != "rail" else 4.3
    assert contrast(palette[words], palette[ground]) >= least


@pytest.mark.parametrize("palette", [DARK, LIGHT], ids=["dark", "light"])
@pytest.mark.parametrize("stage", STAGES)
def test_stage_bars_stand_out_from_the_page(palette: dict[str, str], stage: str) -> None:
    assert contrast(palette[stage], palette["bg"]) >= 3.0


@pytest.mark.parametrize("palette", [DARK, LIGHT], ids=["dark", "light"])
def test_words_on_filled_buttons_can_be_read(palette: dict[str, str]) -> None:
    assert contrast(palette["on_accent"], palette["accent"]) >= 4.5
    assert contrast(palette["on_panic"], palette["panic"]) >= 4.5


def test_both_themes_have_the_same_tokens() -> None:
    assert set(DARK) == set(LIGHT)


def test_mixing_goes_from_the_first_to_the_second() -> None:
    assert mix("#000000", "#FFFFFF", 0) == "#000000"
    assert mix("#000000", "#FFFFFF", 1) == "#FFFFFF"
    assert mix("#000000", "#FFFFFF", 0.5) == "#808080"


# --- pictures ---


@pytest.mark.parametrize("name", sorted(ICONS))
@pytest.mark.parametrize("size", [8, 21, 60])
def test_every_icon_draws_something_within_its_square(name: str, size: int) -> None:
    image = icon_image(name, size, "#57C8FF", 1.7 * size / 21)
    assert image.size == (size, size)
    box = image.getchannel("A").getbbox()
    assert box is not None
    assert box[2] - box[0] >= size // 4


def test_a_box_without_fill_is_only_an_outline() -> None:
    image = rounded_box(40, 30, 8, None, "#FF0000", 2)
    assert image.getpixel((20, 15))[3] == 0  # type: ignore[index]
    assert image.getpixel((20, 0))[:3] == (255, 0, 0)  # type: ignore[index]
    assert image.getpixel((0, 0))[3] < 40  # type: ignore[index]


def test_a_picture_is_cut_round() -> None:
    image = round_picture(face("#1E7FA6"), 32)
    assert image.size == (32, 32)
    assert image.getpixel((0, 0))[3] == 0  # type: ignore[index]
    assert image.getpixel((16, 3))[:3] == (30, 127, 166)  # type: ignore[index]


def test_what_is_no_picture_is_refused() -> None:
    with pytest.raises(OSError, match="identify"):
        round_picture(b"<svg/>", 32)


# --- what the window remembers ---


def test_what_was_remembered_comes_back(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "window.json"
    write_state(path, {"tab": "logs", "name": "星"})
    assert read_state(path) == {"tab": "logs", "name": "星"}
    assert [file.name for file in path.parent.iterdir()] == ["window.json"]


@pytest.mark.parametrize("text", ["", "{", "[1, 2]", "\x00", '"x"'])
def test_a_damaged_memory_is_ignored(tmp_path: Path, text: str) -> None:
    path = tmp_path / "window.json"
    path.write_text(text, encoding="utf-8")
    assert read_state(path) == {}


def test_an_absurdly_large_memory_is_ignored(tmp_path: Path) -> None:
    path = tmp_path / "window.json"
    path.write_text(json.dumps({"x": "y" * LARGEST_BYTES}), encoding="utf-8")
    assert read_state(path) == {}


def test_a_place_that_cannot_be_written_does_not_stop_the_window(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("x")
    write_state(tmp_path / "file" / "window.json", {"a": 1})
    assert "not saved" in caplog.text


# --- a turn against the usual ---


def test_a_slow_turn_names_its_cause() -> None:
    first = 1220.0
    view = TurnView("Turn 9", spans=SLOW, first_audio_ms=first)
    found = compare(view, [(851.0, USUAL)] * 5)
    assert found.difference_ms == pytest.approx(369)
    assert found.cause == "llm_first_token"
    assert found.medians["tts"] == 231


def test_a_usual_turn_has_no_cause() -> None:
    view = TurnView("Turn 9", spans=USUAL, first_audio_ms=851.0)
    found = compare(view, [(851.0, USUAL)] * 5)
    assert (found.difference_ms, found.cause) == (0, "")


def test_two_turns_are_too_few_to_call_anything_usual() -> None:
    view = TurnView("Turn 3", spans=SLOW, first_audio_ms=1220.0)
    found = compare(view, [(851.0, USUAL)] * 2)
    assert (found.difference_ms, found.cause, found.medians) == (None, "", {})


def test_speaking_is_not_part_of_the_wait() -> None:
    assert [span.name for span in before_sound(USUAL)][-1] == "first_audio"


def test_a_wait_too_short_for_seconds_is_told_in_milliseconds() -> None:
    assert [seconds_in_words(ms) for ms in (4.4, 99, 100, 851, 12_340)] == [
        "4 ms", "99 ms", "0.10 s", "0.85 s", "12.34 s",
    ]  # fmt: skip


# --- lines ---


@pytest.mark.parametrize(
    ("text", "anywhere"),
    [
        ("Hello there, how are you?", False),
        ("おはようございます。今日もいい天気ですね。", True),
        ("我想听一个关于灯笼的故事", True),
        ("Right! In the evening you say こんばんは.", False),
        ("x" * 100, True),
        ("\u3042" * 45 + " and then she told us all about the lighthouse and its keeper.", True),
        (
            "Look, I found it after a very long search: https://"
            + "x" * 60
            + " and it is lovely, is it not?",
            False,
        ),
        ("", False),
    ],
)
def test_lines_break_anywhere_only_where_there_are_no_spaces(text: str, anywhere: bool) -> None:
    assert breaks_anywhere(text) is anywhere


# --- values of a newer backend ---


def test_fields_that_are_new_are_left_out() -> None:
    found = read_model(Character, {"id": "a", "name": "A", "aura": "blue"})
    assert found is not None
    assert found.name == "A"


def test_what_does_not_fit_is_left_out_of_a_list(caplog: pytest.LogCaptureFixture) -> None:
    found = read_models(Character, [{"id": "a", "name": "A"}, {"id": 3}, "x", None])
    assert [character.id for character in found] == ["a"]


def test_a_list_may_lie_in_an_object() -> None:
    assert len(read_models(Character, {"items": [{"id": "a", "name": "A"}]}, "items")) == 1
    assert read_models(Character, {"other": 1}, "items") == []


# --- settings ---


def setting(kind: SettingKind, **fields: object) -> SettingInfo:
    base: dict[str, object] = {
        "name": "LLM_MAX_TOKENS",
        "group": "Thinking",
        "meaning": "Longest reply.",
        "kind": kind,
        "value": None,
        "default": None,
        "allowed": "a whole number from 1 to 32768",
    }
    return SettingInfo.model_validate({**base, **fields})


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        ("integer", " 512 ", 512),
        ("number", "0.8", 0.8),
        ("number", "", None),
        ("list", "piper, embedded,,", ("piper", "embedded")),
        ("list", "", ()),
        ("path", "", None),
        ("path", "/a b/ü", "/a b/ü"),
        ("text", " x ", "x"),
    ],
)
def test_what_is_typed_becomes_the_settings_kind(
    kind: SettingKind, text: str, value: SettingValue
) -> None:
    assert read_value(setting(kind), text) == value


@pytest.mark.parametrize("text", ["abc", "1.5", "1e3", ""])
def test_what_is_no_whole_number_is_said(text: str) -> None:
    with pytest.raises(ValueError, match="not a whole number"):
        read_value(setting("integer", default=5), text)


@pytest.mark.parametrize("text", ["0", "40000"])
def test_a_number_outside_says_what_is_allowed(text: str) -> None:
    with pytest.raises(ValueError, match="from 1 to 32768"):
        read_value(setting("integer", lowest=1, highest=32768), text)


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, ""), (0.8, "0.8"), (2.0, "2"), (("a", "b"), "a, b"), (True, "True"), (5, "5")],
)
def test_a_value_is_shown_as_it_is_typed(value: SettingValue, text: str) -> None:
    assert shown_value(value) == text


@pytest.mark.parametrize(
    ("name", "group", "title", "heading"),
    [
        ("LLM_MAX_TOKENS", "Thinking", "LLM max tokens", ""),
        ("LLM_VISION_MODEL", "Thinking", "Model", "Role: vision"),
        ("OPENAI_API_KEY", "Providers", "API key", "OpenAI"),
        ("OPENAI_COMPATIBLE_URL", "Providers", "URL", "Any OpenAI-compatible server"),
        ("TTS_TIMEOUT_S", "Speaking", "TTS timeout", ""),
    ],
)
def test_settings_have_names_that_can_be_read(
    name: str, group: str, title: str, heading: str
) -> None:
    one = setting("text", name=name, group=group)
    assert (title_of(one), heading_of(one)) == (title, heading)


def test_every_key_of_the_keys_page_says_what_it_does() -> None:
    assert all(group and key and what for group, key, what in OTHER_KEYS)
    assert GROUPS == ("File", "Edit", "View", "Stage", "Stream", "Microphone", "Help")
