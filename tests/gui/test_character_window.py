"""The characters window: who there is, what can be changed, and what is sent for it."""

from __future__ import annotations

import tkinter as tk
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from backend.contracts.entities import Character, Personality, VoiceChoice, VoiceInfo
from backend.contracts.events import CharacterChanged
from frontend.character_window import CharacterWindow
from frontend.client import Failure
from frontend.widgets.character_form import FaceTile
from frontend.widgets.controls import Control
from frontend.widgets.focus import focused
from frontend.widgets.popup import Picker
from tests.gui.scene import Scene, scene, wire

pytestmark = pytest.mark.gui

HOSHI = Character(
    id="hoshi",
    name="Hoshi Kitsune",
    profile="A star fox.",
    personality=Personality(
        traits={"curious": 0.9, "playful": 0.5}, mood="cheerful", energy=0.8, likes=("tea", "stars")
    ),
    greeting="[joy] *waves* Hello {{user}}, I am {{char}}!",
    voice=VoiceChoice(engine="embedded", name="en-us+f3", rate=1.0, pitch=60),
    expressions=("neutral", "joy"),
    builtin=True,
)
MIKA = Character(id="mika", name="Mika", personality=Personality(mood="calm"), creator="me")
VOICES = [
    VoiceInfo(engine="embedded", name="en-us+f3", title="English, female 3", language="en-us"),
    VoiceInfo(engine="piper", name="amy", title="Amy", language="en-us"),
    VoiceInfo(engine="piper", name="broken", title="Broken", problem="The file is damaged."),
]


class Cast:
    """Characters as a backend keeps them."""

    def __init__(self) -> None:
        self.all = {each.id: each for each in (HOSHI, MIKA)}

    def answers(self) -> dict[str, Any]:
        return {
            "GET /api/characters": lambda _: wire(list(self.all.values())),
            "GET /api/voices": wire(VOICES),
            "POST /api/characters": self._create,
            "PATCH /api/characters/hoshi": lambda body: self._patch("hoshi", body),
            "PATCH /api/characters/mika": lambda body: self._patch("mika", body),
            "POST /api/characters/hoshi/duplicate": lambda _: self._add(
                HOSHI.model_copy(update={"id": "copy", "name": "Hoshi (copy)", "builtin": False})
            ),
            "POST /api/characters/hoshi/reset": lambda _: self._add(HOSHI),
            "DELETE /api/characters/mika": lambda _: self.all.pop("mika") and None,
            "POST /api/characters/import": lambda _: self._add(
                Character(id="aria", name="Aria", tags=("sea",))
            ),
            "POST /api/characters/mika/picture": lambda body: self._add(
                self.all["mika"].model_copy(
                    update={"expressions": ("neutral", body["fields"]["expression"])}
                )
            ),
            "POST /api/switch_character": {},
            "POST /api/tts": {"url": "/api/audio/s1/0", "duration_s": 1.5, "voice": "en-us+f3"},
            "POST /api/audio/stop": {},
        }

    def _add(self, character: Character) -> Any:
        self.all[character.id] = character
        return wire(character)

    def _create(self, body: Any) -> Any:
        return self._add(Character(id="new-character", name=body["name"]))

    def _patch(self, character_id: str, body: dict[str, Any]) -> Any:
        kept = self.all[character_id].model_dump()
        for key, value in body.items():
            kept[key] = {**kept[key], **value} if isinstance(value, dict) else value
        return self._add(Character.model_validate(kept))


@pytest.fixture
def cast() -> Cast:
    return Cast()


@pytest.fixture
def s(tmp_path: Path, cast: Cast) -> Iterator[Scene]:
    with scene(tmp_path, cast.answers()) as made:
        yield made


def opened(s: Scene, character_id: str = "") -> CharacterWindow:
    s.window.open_characters(character_id)
    s.settle()
    window = CharacterWindow.current()
    assert window is not None
    return window


def write(s: Scene, window: CharacterWindow, path: tuple[str, ...], text: str) -> None:
    box = window.form.texts[path]
    box.text.delete("1.0", "end")
    box.text.insert("1.0", text)
    s.settle()


# --- finding and showing ---


def test_the_picker_the_menu_and_a_key_lead_to_it(s: Scene) -> None:
    s.window.header.character.open()
    s.settle()
    picker = next(c for c in s.window.root.winfo_children() if isinstance(c, Picker))
    assert "characters" in picker.choices[-1].title
    picker.row = len(picker.shown) - 1
    picker._take()
    s.settle()
    assert CharacterWindow._current is not None
    CharacterWindow._current.close()
    s.settle()
    assert CharacterWindow._current is None
    command = next(c for c in s.window.commands if c.name == "file.characters")
    s.press(command.bind[0], s.window.root)
    assert CharacterWindow._current is not None


def test_it_opens_at_who_is_on_and_shows_everything_about_them(s: Scene) -> None:
    window = opened(s)
    form = window.form
    assert window.shown == "hoshi"
    assert form.name.text == "Hoshi Kitsune"
    assert form.texts[("profile",)].words == "A star fox."
    assert form.texts[("personality", "likes")].words == "tea\nstars"
    assert form.mood.text == "cheerful"
    assert form.sliders[("personality", "energy")].value == pytest.approx(0.8)
    assert form.trait_sliders["curious"].value == pytest.approx(0.9)
    assert form.sliders[("voice", "pitch")].value == pytest.approx(0.6)
    assert form.voice.value == "embedded/en-us+f3"
    assert list(form.faces) == ["neutral", "joy"]
    assert not window.save_button.enabled


def test_a_broken_voice_is_not_offered(s: Scene) -> None:
    window = opened(s)
    values = [choice.value for choice in window.form.voice.choices]
    assert values == ["", "embedded/en-us+f3", "piper/amy"]


def test_a_second_opening_raises_the_window_there_is(s: Scene) -> None:
    assert opened(s) is opened(s, "mika")
    assert opened(s).shown == "mika"


def test_a_character_who_came_with_luma_is_reset_and_not_deleted(s: Scene) -> None:
    window = opened(s, "hoshi")
    assert window.reset_button.winfo_manager()
    assert not window.delete_button.winfo_manager()
    window.show_character("mika")
    assert window.delete_button.winfo_manager()
    assert not window.reset_button.winfo_manager()


# --- changing ---


def test_only_what_was_changed_is_sent(s: Scene) -> None:
    window = opened(s, "hoshi")
    write(s, window, ("profile",), "A comet fox.")
    write(s, window, ("personality", "quirks"), "hums\n\n counts stars ")
    window.form.sliders[("voice", "rate")]._take(1.0)
    window.form.trait_sliders["playful"]._take(0.25)
    window.save()
    s.settle()
    assert s.backend.bodies("PATCH /api/characters/hoshi") == [
        {
            "profile": "A comet fox.",
            "personality": {
                "quirks": ["hums", "counts stars"],
                "traits": {"curious": 0.9, "playful": 0.25},
            },
            "voice": {"rate": 2.0},
        }
    ]
    assert not window.save_button.enabled
    assert window.draft == {}


def test_a_change_taken_back_by_hand_is_no_change(s: Scene) -> None:
    window = opened(s, "hoshi")
    write(s, window, ("profile",), "Other")
    assert window.save_button.enabled
    write(s, window, ("profile",), "A star fox.")
    assert not window.save_button.enabled


def test_changes_wait_while_another_character_is_looked_at_and_over_closing(s: Scene) -> None:
    window = opened(s, "hoshi")
    write(s, window, ("greeting",), "Good evening.")
    window.show_character("mika")
    assert window.form.texts[("greeting",)].words == ""
    assert not window.save_button.enabled
    window.close()
    s.settle()
    assert "Hoshi Kitsune has changes that are not saved yet" in " ".join(s.window.notices.texts)
    window = opened(s, "hoshi")
    assert window.form.texts[("greeting",)].words == "Good evening."
    window.revert()
    assert window.form.texts[("greeting",)].words == HOSHI.greeting
    assert s.window.drafts["hoshi"] == {}


def test_words_typed_while_saving_stay_a_change(s: Scene) -> None:
    window = opened(s, "mika")
    write(s, window, ("profile",), "One")
    window.save()
    write(s, window, ("profile",), "One and two")
    s.settle()
    assert window.form.texts[("profile",)].words == "One and two"
    assert window.draft == {("profile",): "One and two"}
    assert window.save_button.enabled


def test_a_change_made_elsewhere_reaches_the_form_but_not_over_what_is_being_written(
    s: Scene, cast: Cast
) -> None:
    window = opened(s, "mika")
    write(s, window, ("profile",), "Mine")
    cast.all["mika"] = cast.all["mika"].model_copy(
        update={"profile": "Theirs", "greeting": "New greeting"}
    )
    s.say(CharacterChanged(character_id="mika", name="Mika", change="updated"))
    assert window.form.texts[("profile",)].words == "Mine"
    assert window.form.texts[("greeting",)].words == "New greeting"


def test_without_a_name_nothing_is_saved(s: Scene) -> None:
    window = opened(s, "mika")
    window.form.name.entry.delete(0, "end")
    s.settle()
    assert "needs a name" in window.summary.cget("text")
    window.save()
    s.settle()
    assert s.backend.bodies("PATCH /api/characters/mika") == []


def test_a_refused_change_stays_with_the_reason(s: Scene) -> None:
    s.backend.answers["PATCH /api/characters/mika"] = Failure(
        "too_large", "profile has 99,999 characters; at most 32,768.", 413
    )
    window = opened(s, "mika")
    write(s, window, ("profile",), "x")
    window.save()
    s.settle()
    assert "at most 32,768" in window.summary.cget("text")
    assert window.draft == {("profile",): "x"}
    assert window.save_button.enabled


def test_traits_are_added_once_and_removed(s: Scene) -> None:
    window = opened(s, "hoshi")
    form = window.form
    for name in ("brave", "Brave", "  "):
        form.new_trait.set(name)
        form._add_trait()
    assert list(form.trait_sliders) == ["curious", "playful", "brave"]
    form._remove_trait("curious")
    assert window.draft[("personality", "traits")] == {"playful": 0.5, "brave": 0.6}


def test_another_voice_is_sent_with_its_engine(s: Scene) -> None:
    window = opened(s, "mika")
    window.form.voice._chosen("piper/amy")
    window.save()
    s.settle()
    assert s.backend.bodies("PATCH /api/characters/mika") == [
        {"voice": {"engine": "piper", "name": "amy"}}
    ]


# --- hearing ---


def test_the_greeting_is_heard_as_it_would_be_spoken_in_the_voice_not_yet_saved(s: Scene) -> None:
    window = opened(s, "hoshi")
    window.form.sliders[("voice", "pitch")]._take(0.2)
    window.form.hear.invoke()
    s.settle()
    body = s.backend.bodies("POST /api/tts")[0]
    assert body["text"] == "Hello you, I am Hoshi Kitsune!"
    assert (body["voice"]["pitch"], body["voice"]["name"]) == (20, "en-us+f3")
    assert "1.5 s" in window.form.said.cget("text")
    window.form.hear.invoke()
    s.settle()
    assert s.backend.bodies("POST /api/audio/stop") == [{}]
    assert window.form.hear.text == "Hear"


def test_a_voice_that_cannot_speak_says_why(s: Scene) -> None:
    s.backend.answers["POST /api/tts"] = Failure("engine", "Piper has no voice at amy.onnx.", 503)
    window = opened(s, "hoshi")
    window.form.hear.invoke()
    s.settle()
    assert "Piper has no voice" in window.form.said.cget("text")
    assert window.form.hear.text == "Hear"


# --- the list ---


def test_a_new_character_is_shown_with_its_name_ready_to_be_typed(s: Scene) -> None:
    window = opened(s)
    window.create()
    s.settle()
    assert window.shown == "new-character"
    assert focused(window) is window.form.name.entry
    window.form.name.entry.selection_present()
    assert [c.id for c in window.list.characters] == ["hoshi", "mika", "new-character"]


def test_a_copy_is_shown_and_can_be_deleted(s: Scene) -> None:
    window = opened(s, "hoshi")
    window.duplicate()
    s.settle()
    assert window.shown == "copy"
    assert window.delete_button.winfo_manager()


def test_deleting_asks_in_place_and_escape_keeps(s: Scene) -> None:
    window = opened(s, "mika")
    window.list.act(1, "<Delete>")
    s.settle()
    assert "Delete Mika?" in window._question_words.cget("text")
    window._escape()
    s.settle()
    assert window.winfo_exists()
    assert window._asking == ""
    window.delete_button.invoke()
    window.yes_button.invoke()
    s.settle()
    assert ("DELETE /api/characters/mika", None) in s.backend.asked
    assert [c.id for c in window.list.characters] == ["hoshi"]
    assert window.shown == "hoshi"
    assert "Mika was deleted" in window.summary.cget("text")


def test_a_reset_asks_and_brings_back_what_came(s: Scene) -> None:
    window = opened(s, "hoshi")
    write(s, window, ("profile",), "Changed")
    window.save()
    s.settle()
    window.reset_button.invoke()
    window.yes_button.invoke()
    s.settle()
    assert window.form.texts[("profile",)].words == "A star fox."


def test_enter_in_the_list_puts_one_on_stage(s: Scene) -> None:
    window = opened(s, "hoshi")
    window.list.focus_force()
    s.press("<Down>", window.list)
    s.press("<Return>", window.list)
    assert window.shown == "mika"
    assert s.backend.bodies("POST /api/switch_character")[0]["character_id"] == "mika"


# --- cards and pictures ---


def test_a_card_is_brought_in_and_shown(s: Scene, tmp_path: Path) -> None:
    window = opened(s)
    file = tmp_path / "aria.json"
    file.write_text("{}")
    window.bring_in(file)
    s.settle()
    assert window.shown == "aria"
    assert s.backend.bodies("POST /api/characters/import")[0]["files"] == [("file", file)]


def test_a_card_that_cannot_be_read_says_why(s: Scene, tmp_path: Path) -> None:
    s.backend.answers["POST /api/characters/import"] = Failure("card", "x.png holds no card.", 422)
    window = opened(s)
    window.bring_in(tmp_path / "x.png")
    s.settle()
    assert "holds no card" in window.summary.cget("text")
    assert window.shown == "hoshi"


def test_a_character_is_written_to_a_file(s: Scene, tmp_path: Path) -> None:
    s.backend.files["/api/characters/mika/export?kind=png&version=v3"] = b"a card"
    window = opened(s, "mika")
    window.export_to(tmp_path / "mika.png", "png", "v3")
    s.settle()
    assert (tmp_path / "mika.png").read_bytes() == b"a card"
    window.export_to(tmp_path / "no" / "mika.png", "png", "v3")
    s.settle()
    assert "cannot be written" in window.summary.cget("text")


def test_a_picture_goes_to_its_expression_and_a_wrong_name_is_said(
    s: Scene, tmp_path: Path
) -> None:
    window = opened(s, "mika")
    window.give_picture("joy", tmp_path / "joy.png")
    s.settle()
    sent = s.backend.bodies("POST /api/characters/mika/picture")[0]
    assert sent["fields"] == {"expression": "joy"}
    assert "joy" in window.form.faces
    window.form.new_face.set("Very happy!")
    window.form._add_face()
    assert window.form.new_face.trouble


# --- looks and keys ---


def descendants(widget: tk.Misc) -> Iterator[tk.Misc]:
    for child in widget.winfo_children():
        yield child
        yield from descendants(child)


@pytest.mark.parametrize(("scale", "size"), [(1.0, (900, 600)), (2.0, (1280, 800))])
def test_no_control_is_cut_off_at_the_right(
    tmp_path: Path, cast: Cast, scale: float, size: tuple[int, int]
) -> None:
    with scene(tmp_path, cast.answers(), scale=scale, size=size) as s:
        window = opened(s, "hoshi")
        window.geometry(f"{round(640 * scale)}x{round(420 * scale)}")
        s.settle(lambda: window.winfo_width() == round(640 * scale))
        right = window.winfo_rootx() + window.winfo_width()
        for widget in descendants(window):
            if isinstance(widget, Control) and widget.winfo_viewable():
                end = widget.winfo_rootx() + widget.winfo_width()
                assert end <= right, f"{widget.label} ends {end - right} px outside"
                assert widget.winfo_width() >= widget.winfo_reqwidth() or isinstance(
                    widget, FaceTile
                ), f"{widget.label} is squeezed"


def test_every_control_is_reached_by_tab_and_named(s: Scene) -> None:
    window = opened(s, "hoshi")
    reached = set()
    at: tk.Misc | None = window.list
    for _ in range(120):
        assert at is not None
        reached.add(str(at))
        at = at.tk_focusNext()
        if at is window.list:
            break
    for widget in descendants(window):
        if isinstance(widget, Control) and widget.enabled and widget.winfo_viewable():
            assert widget.label, f"{widget} has no name"
            assert str(widget) in reached, f"{widget.label} is not reached by Tab"


def test_tab_goes_from_the_list_through_the_form_to_save(s: Scene) -> None:
    window = opened(s, "mika")
    write(s, window, ("profile",), "x")
    order: list[tk.Misc] = []
    at: tk.Misc | None = window.list
    while at is not None and at not in order:
        order.append(at)
        at = at.tk_focusNext()
    form = window.form
    wanted = [window.list, window.talk_button, form.name.entry, form.texts[("profile",)].text, form.mood.entry,
              form.voice, form.hear, form.texts[("greeting",)].text, window.save_button]  # fmt: skip
    assert [order.index(each) for each in wanted] == sorted(order.index(each) for each in wanted)


def test_the_wheel_scrolls_the_form_and_leaves_the_sliders_alone(s: Scene) -> None:
    window = opened(s, "hoshi")
    slider = window.form.sliders[("personality", "energy")]
    before = slider.value
    slider.event_generate("<Button-5>")
    s.settle()
    assert slider.value == before
    assert window._scroll._canvas.canvasy(0) > 0


def test_a_change_of_theme_recolours_it(s: Scene) -> None:
    window = opened(s, "hoshi")
    s.window.set_theme("light")
    s.settle()
    assert window.cget("background") == s.window.theme.color("bg")
    assert window.form.name.entry.cget("background") == s.window.theme.color("raised")


def test_while_a_file_dialog_of_tk_has_the_keyboard_nothing_fails(s: Scene) -> None:
    window = opened(s, "hoshi")
    window.form.name.entry.focus_force()
    s.settle()
    failures: list[BaseException] = []
    s.window.root.report_callback_exception = lambda kind, error, trace: failures.append(error)
    # What tk_getOpenFile makes on X11: a toplevel that tkinter does not know.
    s.window.root.tk.eval(
        f"toplevel {window}.dialog; entry {window}.dialog.e; pack {window}.dialog.e"
    )
    s.window.root.update()
    s.window.root.tk.eval(f"focus -force {window}.dialog.e")
    s.settle()
    assert focused(window) is None
    window.form.name.set("x")
    window.form.name.mark(True)
    window.list.changed()
    s.settle()
    s.window.root.tk.eval(f"destroy {window}.dialog")
    s.settle()
    assert failures == []
