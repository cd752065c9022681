"""Everything else over HTTP: characters, speech, sound, settings, modules, events, pages."""

from __future__ import annotations

import io
import json
import math
import wave
from array import array

import httpx
import pytest
from PIL import Image

from tests.integration.conftest import Served


def test_the_document_describes_every_route_and_says_what_each_does(api: httpx.Client) -> None:
    document = api.get("/openapi.json").json()
    assert len(document["paths"]) > 35
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            assert operation.get("description"), (method, path)


def test_the_docs_page_needs_nothing_from_the_network(api: httpx.Client) -> None:
    page = api.get("/docs")
    assert page.headers["content-type"].startswith("text/html")
    assert "script-src 'self'" in page.headers["content-security-policy"]
    assert "http://" not in page.text
    assert "https://" not in page.text
    for name in ("swagger-ui.css", "swagger-ui-bundle.js", "docs.js"):
        assert f"/docs/{name}" in page.text
        assert api.get(f"/docs/{name}").status_code == 200
    assert api.get("/docs/README.md").status_code == 404
    assert api.get("/docs/..%2Fvendor%2FREADME.md").status_code == 404


def test_a_character_lives_from_making_to_deleting(api: httpx.Client) -> None:
    made = api.post("/api/characters", json={"name": "Nova", "personality": {"mood": "curious"}})
    assert made.status_code == 201
    where = f"/api/characters/{made.json()['id']}"
    changed = api.patch(
        where, json={"profile": "Likes trains.", "personality": {"energy": 0.9}}
    ).json()
    assert (
        changed["profile"],
        changed["personality"]["mood"],
        changed["personality"]["energy"],
    ) == ("Likes trains.", "curious", 0.9)
    copy = api.post(f"{where}/duplicate", json={"name": "Nova Two"}).json()
    assert copy["name"] == "Nova Two"
    assert copy["profile"] == "Likes trains."
    for one in (where, f"/api/characters/{copy['id']}"):
        assert api.delete(one).status_code == 204
        assert api.get(one).status_code == 404


def test_where_a_deleted_character_was_on_the_default_one_answers(api: httpx.Client) -> None:
    made = api.post("/api/characters", json={"name": "Short-lived"}).json()["id"]
    api.post("/api/switch_character", json={"character_id": made})
    try:
        assert api.delete(f"/api/characters/{made}").status_code == 204
        stage = api.get("/api/conversations/stage").json()
        assert stage["character_id"] == api.get("/api/characters").json()[0]["id"]
        answer = api.post("/api/chat", json={"message": "Hello?", "conversation_id": "stage"})
        assert answer.status_code == 200
        assert answer.json()["reply"]
    finally:
        api.post("/api/conversations/stage/clear")


def test_a_shipped_character_cannot_be_deleted(api: httpx.Client) -> None:
    shipped = next(c for c in api.get("/api/characters").json() if c["builtin"])
    assert api.delete(f"/api/characters/{shipped['id']}").status_code == 409


@pytest.mark.parametrize(
    ("kind", "media_type"), [("png", "image/png"), ("json", "application/json")]
)
@pytest.mark.parametrize("version", ["v2", "v3"])
def test_a_card_that_goes_out_comes_back_in(
    api: httpx.Client, kind: str, media_type: str, version: str
) -> None:
    original = api.get("/api/characters").json()[0]
    card = api.get(
        f"/api/characters/{original['id']}/export", params={"kind": kind, "version": version}
    )
    assert card.headers["content-type"] == media_type
    assert "attachment" in card.headers["content-disposition"]
    back = api.post("/api/characters/import", files={"file": (f"card.{kind}", card.content)})
    assert back.status_code == 201, back.text
    assert back.json()["name"].startswith(original["name"])
    assert back.json()["profile"] == original["profile"]
    api.delete(f"/api/characters/{back.json()['id']}")


def test_what_is_no_card_is_refused_in_words(api: httpx.Client) -> None:
    for data in (b"", b"hello", b"\x89PNG\r\n\x1a\n broken", b'{"spec": "something else"}'):
        answer = api.post("/api/characters/import", files={"file": ("x.png", data)})
        assert answer.status_code == 422
        assert answer.json()["message"]


def test_a_picture_becomes_the_face_of_an_expression(api: httpx.Client) -> None:
    made = api.post("/api/characters", json={"name": "Painted"}).json()["id"]
    picture = io.BytesIO()
    Image.new("RGB", (64, 64), (200, 30, 60)).save(picture, "PNG")
    answer = api.post(
        f"/api/characters/{made}/picture",
        files={"file": ("p.png", picture.getvalue())},
        data={"expression": "joy"},
    )
    assert answer.status_code == 200, answer.text
    assert "joy" in answer.json()["expressions"]
    face = api.get(f"/api/avatars/{made}/joy.png")
    assert face.headers["content-type"] == "image/png"
    assert "sandbox" in face.headers["content-security-policy"]
    with Image.open(io.BytesIO(face.content)) as shown:
        assert shown.convert("RGB").getpixel((shown.width // 2, shown.height // 2)) == (200, 30, 60)
    api.delete(f"/api/characters/{made}")


def test_text_becomes_sound_at_an_url(api: httpx.Client) -> None:
    spoken = api.post("/api/tts", json={"text": "Good evening."}).json()
    assert spoken["engine"] == "tone"
    sound = api.get(spoken["url"])
    assert sound.headers["content-type"] == "audio/wav"
    with wave.open(io.BytesIO(sound.content)) as file:
        assert file.getnframes() / file.getframerate() == pytest.approx(
            spoken["duration_s"], abs=0.01
        )
    assert api.post("/api/tts", json={"text": "x", "character_id": "nobody"}).status_code == 404
    assert api.post("/api/tts", json={"text": "x" * 2001}).status_code == 422


def wav_file(seconds: float = 0.5) -> bytes:
    out = io.BytesIO()
    with wave.open(out, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16000)
        file.writeframes(
            array(
                "h", (round(9000 * math.sin(n / 8)) for n in range(round(16000 * seconds)))
            ).tobytes()
        )
    return out.getvalue()


def test_a_sound_file_becomes_text(api: httpx.Client) -> None:
    answer = api.post(
        "/api/stt", files={"file": ("speech.wav", wav_file())}, data={"language": "en"}
    )
    assert answer.status_code == 200, answer.text
    heard = answer.json()
    assert heard["engine"] == "script"
    assert heard["duration_s"] == pytest.approx(0.5, abs=0.01)
    assert "text" in heard
    assert "segments" in heard
    event = api.get("/api/events", params={"type": "utterance.transcribed", "limit": 1}).json()[0]
    assert event["data"]["text"] == heard["text"]


@pytest.mark.parametrize("data", [b"", b"not a sound", b"RIFF\xff\xff\xff\xffWAVEfmt "])
def test_what_is_no_sound_is_refused_in_words(api: httpx.Client, data: bytes) -> None:
    answer = api.post("/api/stt", files={"file": ("speech.wav", data)})
    assert answer.status_code == 422, answer.text
    assert answer.json()["message"]


def test_hearing_that_is_switched_off_says_so(api: httpx.Client) -> None:
    try:
        assert api.post("/api/modules/hear", json={"enabled": False}).json()["state"] == "off"
        answer = api.post("/api/stt", files={"file": ("speech.wav", wav_file())})
        assert answer.status_code == 409
        assert "hear" in answer.json()["message"]
    finally:
        assert api.post("/api/modules/hear", json={"enabled": True}).json()["state"] == "ready"


def test_volume_and_muting_are_kept_as_settings(api: httpx.Client) -> None:
    assert api.post("/api/audio/output", json={"volume": 0.5, "muted": True}).json() == {
        "sink": "none",
        "device": "",
        "volume": 0.5,
        "muted": True,
        "problem": "",
    }
    assert api.get("/api/devices").json()["output"]["volume"] == 0.5
    settings = {one["name"]: one["value"] for one in api.get("/api/config").json()}
    assert settings["OUTPUT_VOLUME"] == 0.5
    assert settings["OUTPUT_MUTED"] is True
    api.post("/api/audio/output", json={"volume": 1, "muted": False})
    assert api.post("/api/audio/output", json={"device": "no such thing"}).status_code == 404


def test_an_earlier_turn_is_played_again_and_stopped(api: httpx.Client) -> None:
    turn = api.post("/api/chat", json={"message": "Once more, please."}).json()["turn_id"]
    assert api.post(f"/api/turns/{turn}/play").json() == {"sentences": 1}
    assert api.post("/api/audio/stop").status_code == 200
    assert api.post(f"/api/turns/{turn}/play", json={"n": 7}).status_code == 404
    assert api.post("/api/turns/unknown/play").status_code == 404


def test_an_expression_is_named_or_numbered_and_unknown_ones_are_listed(api: httpx.Client) -> None:
    shown = api.post("/api/expression", json={"expression_id": "joy", "duration": 60000}).json()
    assert shown["expression"] == "joy"
    assert shown["until"]
    number = api.post("/api/expression", json={"expression_id": 0}).json()
    assert number["character_id"] == shown["character_id"]
    answer = api.post("/api/expression", json={"expression_id": "confusion of the stars"})
    assert answer.status_code == 422
    assert "joy" in answer.json()["message"]
    assert api.post("/api/expression", json={"expression_id": 999}).status_code == 422
    api.post("/api/expression", json={"expression_id": "neutral"})


def test_settings_are_saved_all_or_none_and_secrets_are_masked(api: httpx.Client) -> None:
    answer = api.post(
        "/api/config", json={"values": {"LLM_TEMPERATURE": 0.3, "LLM_MAX_TOKENS": -5}}
    )
    assert answer.status_code == 422
    assert "LLM_MAX_TOKENS" in answer.json()["message"]
    before = {one["name"]: one["value"] for one in api.get("/api/config").json()}
    assert before["LLM_TEMPERATURE"] != 0.3
    saved = api.post("/api/config", json={"values": {"LLM_TEMPERATURE": 0.3}}).json()
    assert saved["changed"] == ["LLM_TEMPERATURE"]
    assert {one["name"]: one["value"] for one in api.get("/api/config").json()}[
        "LLM_TEMPERATURE"
    ] == 0.3
    assert api.post("/api/config", json={"values": {"NO_SUCH_SETTING": 1}}).status_code == 422
    assert api.post("/api/config", json={"values": {}}).status_code == 422


def test_modules_are_switched_and_unknown_ones_are_listed(api: httpx.Client) -> None:
    names = [module["name"] for module in api.get("/api/modules").json()]
    assert {"hear", "speak", "avatar"} <= set(names)
    answer = api.post("/api/modules/teleport", json={"enabled": True})
    assert answer.status_code == 404
    assert "speak" in answer.json()["message"]


def test_events_are_filtered_paged_and_exported(api: httpx.Client) -> None:
    for n in range(6):
        api.post("/api/chat", json={"message": f"note number {n}", "speak": False})
    wanted = {"type": ["chat.message"], "text": "NOTE NUMBER"}
    first = api.get("/api/events", params={**wanted, "limit": 4}).json()
    rest = api.get("/api/events", params={**wanted, "limit": 4, "before": first[-1]["seq"]}).json()
    assert [event["data"]["text"] for event in first + rest] == [
        f"note number {n}" for n in (5, 4, 3, 2, 1, 0)
    ]
    newer = api.get("/api/events", params={**wanted, "after": first[1]["seq"]}).json()
    assert [event["data"]["text"] for event in newer] == ["note number 5"]
    group = api.get("/api/events", params={"type": "turn.*", "limit": 50}).json()
    assert {event["type"] for event in group} == {"turn.started", "turn.finished"}
    lines = api.get("/api/events/export", params=wanted).text.splitlines()
    assert [json.loads(line)["data"]["text"] for line in lines] == [
        f"note number {n}" for n in range(6)
    ]
    assert api.get("/api/events", params={"type": "c*t"}).status_code == 422
    assert api.get("/api/events", params={"since": "yesterday"}).status_code == 422


def test_status_tells_every_part_with_its_state(api: httpx.Client) -> None:
    status = api.get("/api/status").json()
    assert status["version"]
    assert status["seq"] > 0
    names = {service["name"] for service in status["services"]}
    assert {"hear", "speak"} <= names
    assert all(
        service["state"] in ("off", "starting", "ready", "degraded", "failed")
        for service in status["services"]
    )


def test_a_bug_in_a_route_is_a_500_without_details(served: Served, api: httpx.Client) -> None:
    running = served.app.state.services
    monitor, running.monitor = running.monitor, None
    try:
        answer = api.get("/api/status")
    finally:
        running.monitor = monitor
    assert answer.status_code == 500
    assert set(answer.json()) == {"code", "message"}
    assert "NoneType" not in answer.text
