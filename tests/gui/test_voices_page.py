"""The Voices page of the Voice tab in a real window."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from backend.contracts.entities import Character, ModelInfo, ModelState, VoiceChoice, VoiceInfo
from backend.contracts.events import (
    CharacterSwitched,
    DownloadFinished,
    DownloadProgress,
    ModelSaved,
    PlaybackFinished,
)
from frontend.client import Failure
from frontend.tabs.voices import VoicesPage, settings_beside
from frontend.widgets.audition_card import SAMPLE
from tests.gui.stand import Stand, words_on

pytestmark = pytest.mark.gui


def voice(engine: str, name: str, title: str = "", **fields: Any) -> dict[str, Any]:
    made = VoiceInfo(engine=engine, name=name, title=title or name, **fields)
    return made.model_dump(mode="json")


def model(name: str, state: ModelState = "absent", **fields: Any) -> dict[str, Any]:
    return ModelInfo(
        **{
            "id": name,
            "kind": "whisper",
            "title": name.title(),
            "about": "good",
            "language": "99 languages",
            "licence": "MIT",
            "licence_url": "https://example.org/licence",
            "size_bytes": 145_000_000,
            "state": state,
            **fields,
        }
    ).model_dump(mode="json")


def character(who: str, **voice_fields: Any) -> dict[str, Any]:
    made = Character(id=who.lower(), name=who, voice=VoiceChoice(**voice_fields))
    return made.model_dump(mode="json")


@pytest.fixture
def stand() -> Iterator[Stand]:
    made = Stand(
        {
            "GET /api/voices": [
                voice("piper", "zoe", "Zoe", language="English", path="/m/zoe.onnx"),
                voice("piper", "many", "Many", language="English", speakers=3),
                voice("embedded", "ja+f1", "Japanese f1", language="Japanese"),
                voice("piper", "broken", problem="broken.onnx.json is no JSON. Import it again."),
            ],
            "GET /api/models": [model("tiny", "ready"), model("base")],
            "GET /api/conversations/stage": {"character_id": "hoshi"},
            "GET /api/characters": [character("Hoshi", engine="embedded", name="ja+f1"), character("Mika")],
            "POST /api/tts": {"url": "/api/audio/s1/1", "engine": "piper", "voice": "zoe", "duration_s": 40.0},
            "POST /api/audio/stop": {"stopped": True},
        }
    )  # fmt: skip
    yield made
    made.close()


def select(tab: VoicesPage, name: str) -> int:
    number = [shown.name for shown in tab.voices.shown].index(name)
    tab.voices.rows.choose(number)
    tab.voices.rows.repaint()
    return number


def test_voices_are_listed_with_their_problems_and_the_characters_own_is_marked(
    stand: Stand,
) -> None:
    tab = stand.hold(VoicesPage)
    words = words_on(tab.voices.rows)
    assert {"Zoe", "Japanese f1", "built in", "Hoshi"} <= set(words)
    assert "many  \u00b7  3 speakers" in words
    assert "broken.onnx.json is no JSON. Import it again." in words
    assert tab.voices.current is not None
    assert tab.voices.current.name == "ja+f1", "begins at the voice she has"


def test_voices_are_searched_and_sorted(stand: Stand) -> None:
    tab = stand.hold(VoicesPage)
    assert [one.title for one in tab.voices.shown] == ["broken", "Japanese f1", "Many", "Zoe"]
    tab.voices.invoke("sort:title")
    assert [one.title for one in tab.voices.shown] == ["Zoe", "Many", "Japanese f1", "broken"]
    tab.voices.invoke("sort:language")
    assert tab.voices.shown[-1].language == "Japanese"
    tab.voices.search.entry.insert(0, "piper engl")
    stand.settle()
    assert [one.title for one in tab.voices.shown] == ["Many", "Zoe"]
    tab.voices.search.entry.insert("end", "ish zebra")
    stand.settle()
    assert "No voice fits these words." in words_on(tab.voices)
    tab.voices.invoke("way_out")
    assert len(tab.voices.shown) == 4


def test_a_voice_says_the_text_and_can_be_stopped(stand: Stand) -> None:
    tab = stand.hold(VoicesPage)
    select(tab, "zoe")
    tab.voices.rows.focus_force()
    tab.voices.rows.event_generate("<space>")
    assert tab.audition.is_playing
    stand.settle()
    body = dict(stand.backend.asked)["POST /api/tts"]
    assert body["text"] == SAMPLE
    assert body["play"] is True
    assert (body["voice"]["engine"], body["voice"]["name"]) == ("piper", "zoe")
    assert "40.0 s by Piper zoe" in words_on(tab.audition)
    tab.audition.playing.invoke()
    assert not tab.audition.is_playing
    assert "POST /api/audio/stop" in dict(stand.backend.asked)


def test_the_end_of_the_sound_is_shown(stand: Stand) -> None:
    tab = stand.hold(VoicesPage)
    select(tab, "zoe")
    tab.play()
    stand.settle()
    stand.feed(PlaybackFinished(turn_id="other", heard="", conversation_id="stage"))
    assert tab.audition.is_playing
    stand.feed(PlaybackFinished(turn_id="s1", heard="", conversation_id="stage"))
    assert not tab.audition.is_playing


def test_speed_and_speaker_are_heard_and_given(stand: Stand) -> None:
    tab = stand.hold(VoicesPage)
    stand.backend.answers["PATCH /api/characters/hoshi"] = character(
        "Hoshi", engine="piper", name="many"
    )
    select(tab, "many")
    tab.audition.speakers._chosen("2")
    tab.audition.speed.command(1.0)
    tab.play()
    stand.settle()
    asked = dict(stand.backend.asked)
    assert (
        asked["POST /api/tts"]["voice"]["speaker"],
        asked["POST /api/tts"]["voice"]["rate"],
    ) == (2, 2.0)
    tab.audition.giving.invoke()
    stand.settle()
    assert dict(stand.backend.asked)["PATCH /api/characters/hoshi"] == {
        "voice": {"engine": "piper", "name": "many", "rate": 2.0, "speaker": 2}
    }
    assert stand.notices == [("Hoshi speaks with Many now.", "ok")]
    tab.voices.rows.repaint()
    assert "Hoshi" in words_on(tab.voices.rows)


def test_a_voice_that_cannot_speak_says_why(stand: Stand) -> None:
    stand.backend.answers["POST /api/tts"] = Failure(
        "engine.unavailable", "Piper has no voice.", 503
    )
    tab = stand.hold(VoicesPage)
    select(tab, "zoe")
    tab.play()
    stand.settle()
    assert "Piper has no voice." in words_on(tab.audition)
    assert not tab.audition.is_playing


def test_another_engine_stepping_in_is_not_hidden(stand: Stand) -> None:
    tab = stand.hold(VoicesPage)
    stand.backend.answers["POST /api/tts"] = {
        "url": "/api/audio/s1/1", "engine": "embedded", "voice": "en", "duration_s": 1.0,
    }  # fmt: skip
    select(tab, "zoe")
    tab.play()
    stand.settle()
    assert "Piper could not speak; built in did instead. Status says why." in tab.audition.trouble


def test_nothing_to_say_is_said(stand: Stand) -> None:
    tab = stand.hold(VoicesPage)
    select(tab, "zoe")
    tab.audition.text.delete("1.0", "end")
    tab.play()
    stand.settle()
    assert "Write what it should say first." in words_on(tab.audition)


def test_a_broken_voice_cannot_be_played_or_given(stand: Stand) -> None:
    tab = stand.hold(VoicesPage)
    select(tab, "broken")
    assert not tab.audition.playing.enabled
    assert not tab.audition.giving.enabled
    tab.voices.rows.act(tab.voices.rows.current, "<space>")
    tab.voices.rows.act(tab.voices.rows.current, "<Return>")
    assert not [name for name, _ in stand.backend.asked if not name.startswith("GET")]


def test_deleting_a_voice_asks_in_its_row_first(stand: Stand) -> None:
    stand.backend.answers["DELETE /api/voices/zoe"] = None
    tab = stand.hold(VoicesPage)
    select(tab, "zoe")
    rows = tab.voices.rows
    rows.focus_force()
    rows.event_generate("<Delete>")
    stand.settle()
    assert "Delete Zoe from this computer?" in words_on(rows)
    rows.invoke("keep")
    stand.settle()
    assert "DELETE /api/voices/zoe" not in dict(stand.backend.asked)
    rows.event_generate("<Delete>")
    stand.settle()
    rows.invoke("sure")
    stand.settle()
    assert "DELETE /api/voices/zoe" in dict(stand.backend.asked)
    assert stand.notices == [("Zoe was deleted.", "ok")]


def test_a_voice_that_is_gone_cannot_be_heard_or_given_any_more(stand: Stand) -> None:
    stand.backend.answers["DELETE /api/voices/zoe"] = None
    tab = stand.hold(VoicesPage)
    select(tab, "zoe")
    assert tab.audition.voice is not None
    known: Any = stand.backend.answers["GET /api/voices"]
    left = [one for one in known if one["name"] != "zoe"]
    tab.voices.search.entry.insert(0, "zoe")
    stand.settle()
    stand.backend.answers["GET /api/voices"] = left
    tab._delete(tab.audition.voice)
    stand.settle()
    assert tab.audition.voice is None
    assert not tab.audition.playing.enabled
    assert not tab.audition.giving.enabled


def test_an_imported_voice_is_the_current_one(stand: Stand, tmp_path: Path) -> None:
    amy = voice("piper", "amy", "Amy")
    stand.backend.answers["POST /api/voices/import"] = amy
    tab = stand.hold(VoicesPage)
    known: Any = stand.backend.answers["GET /api/voices"]
    stand.backend.answers["GET /api/voices"] = [*known, amy]
    tab.bring_in(tmp_path / "amy.onnx", tmp_path / "amy.onnx.json")
    stand.settle(lambda: tab.audition.voice is not None and tab.audition.voice.name == "amy")
    assert tab.voices.current.name == "amy"


def test_a_built_in_voice_cannot_be_deleted(stand: Stand) -> None:
    tab = stand.hold(VoicesPage)
    number = select(tab, "ja+f1")
    tab.voices.rows.act(number, "<Delete>")
    assert tab.voices.asking is None
    assert not [key for key in tab.voices.rows.zone_keys() if key.startswith("delete:")]


def test_an_import_takes_the_settings_beside_the_voice(stand: Stand, tmp_path: Path) -> None:
    onnx = tmp_path / "amy.onnx"
    assert settings_beside(onnx) is None
    beside = tmp_path / "amy.onnx.json"
    beside.write_text("{}")
    assert settings_beside(onnx) == beside
    stand.backend.answers["POST /api/voices/import"] = voice("piper", "amy", "Amy")
    tab = stand.hold(VoicesPage)
    tab.bring_in(onnx, beside)
    stand.root.update()
    assert "Checking amy.onnx" in words_on(tab.voices)
    stand.settle()
    asked = dict(stand.backend.asked)["POST /api/voices/import"]
    assert asked["files"] == [("model", onnx), ("settings", beside)]
    assert stand.notices == [("Amy is ready to use.", "ok")]


def test_a_refused_import_says_why(stand: Stand, tmp_path: Path) -> None:
    stand.backend.answers["POST /api/voices/import"] = Failure(
        "input.invalid", "evil: needs code.", 422
    )
    tab = stand.hold(VoicesPage)
    tab.bring_in(tmp_path / "evil.onnx", tmp_path / "evil.onnx.json")
    stand.settle()
    assert stand.notices == [("evil: needs code.", "error")]
    assert tab.voices.importing.enabled


def test_a_download_is_followed_from_click_to_ready(stand: Stand) -> None:
    tab = stand.hold(VoicesPage)
    rows = tab.models.rows
    assert {"Tiny", "Base", "145 MB", "Licence: MIT", "Download"} <= set(words_on(rows))
    stand.backend.answers["POST /api/models/base/download"] = model("base", "waiting")
    rows.invoke("download:base")
    stand.settle()
    assert "Waiting for another download" in words_on(rows)
    stand.feed(
        DownloadProgress(model_id="base", received_bytes=58_000_000, total_bytes=145_000_000,
                         rate_bytes_s=3_000_000, eta_s=95)
    )  # fmt: skip
    stand.settle()
    assert "40 %  ·  58 MB of 145 MB  ·  3 MB/s  ·  1 min 35 s left" in words_on(rows)
    stand.backend.answers["GET /api/models"] = [model("tiny", "ready"), model("base", "ready")]
    stand.feed(DownloadFinished(model_id="base", outcome="done"))
    stand.settle()
    assert "2 of 2 here  ·  290 MB" in words_on(tab.models)


def test_a_download_is_cancelled_resumed_and_deleted(stand: Stand) -> None:
    stand.backend.answers["GET /api/models"] = [
        model("base", "downloading", received_bytes=1_000_000)
    ]
    tab = stand.hold(VoicesPage)
    rows = tab.models.rows
    stand.backend.answers["POST /api/models/base/cancel"] = model(
        "base", "partial", received_bytes=29_000_000
    )
    rows.invoke("cancel:base")
    stand.settle()
    assert {"20 % is here already", "Go on"} <= set(words_on(rows))
    rows.invoke("delete:base")
    stand.settle()
    assert "Delete Base?" in words_on(rows)
    stand.backend.answers["DELETE /api/models/base"] = model("base")
    rows.invoke("sure")
    stand.settle()
    assert "Download" in words_on(rows)


def test_a_failed_download_shows_what_the_backend_said(stand: Stand) -> None:
    problem = (
        "Base: the download server cannot be reached. Check the network and press Download again."
    )
    stand.backend.answers["GET /api/models"] = [model("base", "failed", problem=problem)]
    tab = stand.hold(VoicesPage)
    assert {problem, "Try again"} <= set(words_on(tab.models.rows))


def test_a_new_voice_appears_by_itself(stand: Stand) -> None:
    tab = stand.hold(VoicesPage)
    stand.backend.answers["GET /api/voices"] = [voice("piper", "new", "New")]
    stand.feed(ModelSaved(model_id="piper-new", name="New", path="/x"))
    stand.settle()
    assert [one.title for one in tab.voices.shown] == ["New"]


def test_another_character_on_stage_takes_the_buttons_over(stand: Stand) -> None:
    tab = stand.hold(VoicesPage)
    stand.feed(CharacterSwitched(character_id="mika", name="Mika", conversation_id="stage"))
    stand.settle()
    select(tab, "zoe")
    assert tab.audition.giving.text == "Use for Mika"


def test_nothing_loaded_says_why_and_can_be_tried_again(stand: Stand) -> None:
    answers = dict(stand.backend.answers)
    for name in answers:
        stand.backend.answers[name] = Failure("unreachable", "The backend sleeps.")
    tab = stand.hold(VoicesPage)
    assert "The backend sleeps." in words_on(tab.voices)
    assert "The backend sleeps." in words_on(tab.models)
    stand.backend.answers.update(answers)
    tab.voices.invoke("way_out")
    tab.models.invoke("retry")
    stand.settle()
    assert tab.voices.shown
    assert tab.models.models


def test_the_text_is_remembered(stand: Stand) -> None:
    tab = stand.hold(VoicesPage)
    tab.audition.text.delete("1.0", "end")
    tab.audition.text.insert("1.0", "Hello there.")
    tab.on_hide()
    assert stand.state["voice.text"] == "Hello there."


def test_thousands_of_voices_are_drawn_by_the_dozen(stand: Stand) -> None:
    stand.backend.answers["GET /api/voices"] = [
        voice("embedded", f"v{n}", f"\u202eVoice {n} " + "W" * 500, language="L" * 200)
        for n in range(3_000)
    ]
    tab = stand.hold(VoicesPage)
    rows = tab.voices.rows
    assert len(rows.find_all()) < 300
    rows.focus_force()
    rows.event_generate("<End>")
    stand.settle()
    assert rows.current == 2_999
    for item in rows.find_all():
        box = rows.bbox(item)
        if box and str(rows.type(item)) == "text":
            assert box[2] <= rows.winfo_width()


@pytest.mark.parametrize("size", [(828, 522), (560, 380), (2400, 1300)])
def test_every_size_shows_every_card(stand: Stand, size: tuple[int, int]) -> None:
    stand.root.geometry(f"{size[0]}x{size[1]}")
    tab = stand.hold(VoicesPage)
    for card in (tab.voices, tab.audition, tab.models):
        assert card.winfo_ismapped()
        assert card.winfo_x() + card.winfo_width() <= size[0]
    tab.audition.text.focus_force()
    stand.settle()
    top = tab.audition.winfo_rooty() - tab.winfo_rooty()
    assert top + tab.audition.winfo_height() <= size[1] + 12, (
        "the card with the keyboard is in sight"
    )
