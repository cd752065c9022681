"""Viewers through the doors of a running backend: taken, ranked, answered, deleted, kept; and their commands."""

from __future__ import annotations

import csv
import io
import signal
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from backend.audio.wav import to_wav
from tests.integration.conftest import Served, serve
from tests.integration.program import Program
from tests.integration.test_stream import backend_of, line

OPEN = {"queued", "held", "answering"}


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A backend whose replies take as long as their sound does."""
    yield from serve(tmp_path_factory.mktemp("luma"), audio_sink="overlay")


@pytest.fixture(autouse=True)
def _fresh(api: httpx.Client) -> Iterator[None]:
    yield
    api.post("/api/queue/delete", json={"everything": True})
    api.post("/api/resume")
    api.put("/api/queue/rules", json={})
    api.put("/api/moderation", json={"name": "standard", "family": False})


def write(api: httpx.Client, text: str, author: str = "ada", **more: Any) -> dict[str, Any]:
    answer = api.post(
        "/api/ingest/chat", json={"message": text, "author": author, "platform": "twitch", **more}
    )
    assert answer.status_code == 200, answer.text
    return answer.json()  # type: ignore[no-any-return]


def became(api: httpx.Client, message_id: str, author: str = "") -> dict[str, Any]:
    found = api.get("/api/dispositions", params={"author": author, "limit": 500}).json()
    (record,) = [one for one in found if one["message_id"] == message_id]
    return record  # type: ignore[no-any-return]


def until(condition: Callable[[], bool], seconds: float = 30.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.02)


def test_a_viewer_is_answered_and_it_is_said_in_which_turn(api: httpx.Client) -> None:
    told = write(api, "Hi!")
    assert told["disposition"] == "queued"
    until(lambda: became(api, told["message_id"])["disposition"] == "answered")
    record = became(api, told["message_id"])
    turn = api.get(f"/api/turns/{record['turn_id']}").json()
    assert (turn["author"], turn["message"]) == ("ada", "Hi!")


def test_the_same_delivery_is_taken_once(api: httpx.Client) -> None:
    api.post("/api/panic")
    for _ in range(3):
        write(api, "Do you sing?", message_id="abc-1")
    assert [one["message"]["id"] for one in api.get("/api/queue").json()["waiting"]] == ["abc-1"]


def test_the_queue_says_who_is_next_and_why(api: httpx.Client) -> None:
    api.post("/api/panic")
    write(api, "just looking", "ann")
    write(api, "how old are you?", "bob", bits=500, role="subscriber")
    state = api.get("/api/queue").json()
    assert state["is_held"]
    first, second = state["waiting"]
    assert first["message"]["viewer"]["name"] == "bob"
    assert first["reasons"][:2] == ["asks +20", "cheer of 500 bits +75"]
    assert first["score"] > second["score"]


def test_a_panic_holds_the_queue_and_resume_releases_it(api: httpx.Client) -> None:
    api.post("/api/panic")
    told = write(api, "Still there?")
    assert told["disposition"] == "queued"
    assert not api.get("/api/queue").json()["answering"]
    api.post("/api/resume")
    until(lambda: became(api, told["message_id"])["disposition"] == "answered")


async def test_a_deleted_message_is_cut_while_it_is_spoken(
    served: Served, api: httpx.Client
) -> None:
    async with line(
        served, {"types": ["playback.*", "chat.disposition", "turn.finished"]}
    ) as client:
        await client.next()
        told = write(api, "One two three four five six seven eight nine ten. " * 10)
        await client.until("type", "playback.started")
        await client.say({"do": "queue_delete", "id": 1, "message_id": told["message_id"]})
        assert (await client.until("done", 1))["deleted"] == 1
        finished = await client.until("type", "turn.finished")
    assert finished["data"]["outcome"] == "interrupted"
    assert became(api, told["message_id"])["disposition"] == "deleted"
    assert served.app.state.backend.player.sink.sounding(0.0) == []


async def test_the_socket_steers_as_the_routes_do(served: Served, api: httpx.Client) -> None:
    api.post("/api/panic")
    one, other = write(api, "one thing", "a"), write(api, "other thing", "b")
    async with line(served, {"types": ["queue.*"]}) as client:
        await client.next()
        await client.say({"do": "queue_now", "id": 1, "message_id": other["message_id"]})
        assert (await client.until("done", 1))["disposition"] == "queued"
        await client.say({"do": "queue_skip", "id": 2, "message_id": one["message_id"]})
        assert (await client.until("done", 2))["disposition"] == "skipped"
        await client.say({"do": "queue_approve", "id": 3, "message_id": "nothing"})
        assert (await client.until("failed", 3))["code"] == "not_found"
        await client.say({"do": "queue_rules", "id": 4, "rules": {"answers": "addressed"}})
        assert (await client.until("done", 4))["rules"]["answers"] == "addressed"
    state = api.get("/api/queue").json()
    assert [each["message"]["id"] for each in state["waiting"]] == [other["message_id"]]


async def test_a_key_that_knows_no_ids_steers_what_is_next(
    served: Served, api: httpx.Client
) -> None:
    api.post("/api/panic")
    one, other = write(api, "one thing", "a"), write(api, "other thing", "b")
    first, second = (write(api, f"look at https://evil.example/{n}", f"c{n}") for n in (1, 2))
    assert [each["disposition"] for each in (first, second)] == ["held", "held"]
    async with line(served, {"types": ["queue.*"]}) as client:
        await client.next()
        await client.say({"do": "queue_approve", "id": 1})
        approved = await client.until("done", 1)
        assert (approved["message_id"], approved["disposition"]) == (
            first["message_id"],
            "queued",
        )
        await client.say({"do": "queue_now", "id": 2, "message_id": "next"})
        assert (await client.until("done", 2))["message_id"] == one["message_id"]
        await client.say({"do": "queue_skip", "id": 3})
        skipped = await client.until("done", 3)
        assert (skipped["message_id"], skipped["disposition"]) == (one["message_id"], "skipped")
        await client.say({"do": "queue_approve", "id": 4})
        assert (await client.until("done", 4))["message_id"] == second["message_id"]
        await client.say({"do": "queue_approve", "id": 5})
        failed = await client.until("failed", 5)
        assert (failed["code"], failed["message"]) == (
            "not_found",
            "No message waits for approval.",
        )
    waiting = [each["message"]["id"] for each in api.get("/api/queue").json()["waiting"]]
    assert sorted(waiting) == sorted(each["message_id"] for each in (other, first, second))
    assert api.post("/api/queue/next/skip").json()["disposition"] == "skipped"


LINK = "<b>look</b> at https://evil.example, mail bob@example.com"


def test_a_held_message_is_gone_once_its_viewer_is_sent_away(api: httpx.Client) -> None:
    told = write(api, LINK, "eve", author_id="e1")
    assert told["disposition"] == "held"
    deleted = api.post("/api/queue/delete", json={"platform": "twitch", "viewer_id": "e1"}).json()
    assert deleted == {"deleted": 1}
    for what in ("approve", "now", "skip"):
        assert api.post(f"/api/queue/{told['message_id']}/{what}").status_code == 404
    assert became(api, told["message_id"])["disposition"] == "deleted"
    assert api.get("/api/queue").json()["held"] == []


def test_a_held_message_is_shown_as_it_is_and_answered_with_what_else_is_covered(
    api: httpx.Client,
) -> None:
    api.post("/api/panic")
    told = write(api, LINK, "kim")
    (held,) = api.get("/api/queue").json()["held"]
    assert held["message"]["text"] == LINK
    assert (held["is_held"], held["verdict"]["rule"]) == (True, "links")
    # Other rules count from the next message on: what was decided of this one stays decided.
    api.put("/api/moderation", json={"name": "off"})
    assert [each["message"]["id"] for each in api.get("/api/queue").json()["held"]] == [
        told["message_id"]
    ]
    assert api.post(f"/api/queue/{told['message_id']}/approve").json()["disposition"] == "queued"
    api.post("/api/resume")
    until(lambda: became(api, told["message_id"])["disposition"] == "answered")
    turn = api.get(f"/api/turns/{became(api, told['message_id'])['turn_id']}").json()
    assert "https://evil.example" in turn["message"]
    assert "bob@example.com" not in turn["message"]


def test_a_held_command_is_approved_and_not_answered(api: httpx.Client) -> None:
    told = write(api, "!help https://evil.example", "lou")
    assert told["disposition"] == "held"
    refused = api.post(f"/api/queue/{told['message_id']}/now")
    assert (refused.status_code, "approve it" in refused.json()["message"]) == (409, True)
    approved = api.post(f"/api/queue/{told['message_id']}/approve").json()
    assert approved["disposition"] == "command"


async def test_a_key_switches_the_rules_of_moderation(served: Served, api: httpx.Client) -> None:
    async with line(served, {"types": ["queue.*"]}) as client:
        await client.next()
        await client.say({"do": "moderation", "id": 1, "name": "relaxed", "family": True})
        told = await client.until("done", 1)
        assert (told["profile"], told["family"], told["problem"]) == ("relaxed", True, "")
        await client.say({"do": "moderation", "id": 2, "name": "nothing"})
        assert (await client.until("failed", 2))["code"] == "not_found"
    state = api.get("/api/moderation").json()
    assert (state["profile"]["name"], state["family"]) == ("relaxed", True)


def test_rules_are_set_and_checked(api: httpx.Client) -> None:
    rules = api.get("/api/queue/rules").json()
    assert rules["answers"] == "all"
    changed = {**rules, "answers": "addressed", "questions": False}
    assert api.put("/api/queue/rules", json=changed).json()["answers"] == "addressed"
    assert write(api, "nothing for her")["disposition"] == "not-addressed"
    for wrong in ({"most_waiting": 0}, {"points": {"cheer": "much"}}, {"unknown": 1}):
        assert api.put("/api/queue/rules", json=wrong).status_code == 422


def test_why_was_this_not_answered(api: httpx.Client) -> None:
    api.put("/api/queue/rules", json={"answers": "addressed"})
    author = "nosy Nick"
    ids = [write(api, f"remark {n}", author)["message_id"] for n in range(3)]
    found = api.get(
        "/api/dispositions", params={"author": "NOSY", "disposition": "not-addressed"}
    ).json()
    assert [one["message_id"] for one in found] == ids[::-1]
    assert found[0]["reason"] == "only messages that address her are answered"
    page = api.get("/api/dispositions", params={"author": author, "limit": 1}).json()
    after = api.get(
        "/api/dispositions", params={"author": author, "before": page[0]["seq"], "limit": 1}
    ).json()
    assert [after[0]["message_id"], page[0]["message_id"]] == ids[1:]
    assert api.get("/api/dispositions", params={"text": "remark 1"}).json()[0]["text"] == "remark 1"
    assert api.get("/api/dispositions", params={"since": "2100-01-01T00:00:00"}).json() == []


def test_messages_are_exported_and_no_cell_is_a_formula(api: httpx.Client) -> None:
    api.put("/api/queue/rules", json={"is_on": False})
    write(api, "=HYPERLINK(1)", "spread, sheet")
    answer = api.get("/api/dispositions/export", params={"author": "spread"})
    rows = list(csv.DictReader(io.StringIO(answer.content.decode("utf-8-sig"))))
    assert rows[-1]["text"] == "'=HYPERLINK(1)"
    assert rows[-1]["author"] == "spread, sheet"
    assert rows[-1]["disposition"] == "not-addressed"


@pytest.mark.parametrize("is_on_stage", [True, False])
def test_a_name_that_may_not_be_said_is_nowhere(api: httpx.Client, is_on_stage: bool) -> None:
    where = "stage" if is_on_stage else api.post("/api/conversations", json={}).json()["id"]
    text = f"how is it going on {where}?"
    write(api, text, "Wh0re xx", author_id="w1", conversation_id=where)

    def authors() -> list[str]:
        told = api.get("/api/events", params={"type": "chat.message", "limit": 200}).json()
        return [one["data"]["author"] for one in told if one["data"]["text"] == text]

    until(lambda: bool(authors()))
    assert authors() == ["viewer"]
    assert "Wh0re" not in api.get("/api/events", params={"limit": 200}).text
    assert "Wh0re" not in api.get("/api/dispositions", params={"limit": 500}).text


def test_another_conversation_has_no_queue(api: httpx.Client) -> None:
    conversation = api.post("/api/conversations", json={}).json()["id"]
    told = write(api, "Hello!", conversation_id=conversation)
    assert (told["disposition"], told["message_id"]) == ("answering", "")


@pytest.mark.parametrize("action", ["approve", "skip", "now"])
def test_a_message_that_does_not_wait_is_said(api: httpx.Client, action: str) -> None:
    assert api.post(f"/api/queue/none/{action}").status_code == 404


@pytest.mark.parametrize(
    "body", [{}, {"viewer_id": "a"}, {"message_id": "a", "everything": True}, {"everything": 7}]
)
def test_a_deletion_says_what(api: httpx.Client, body: dict[str, Any]) -> None:
    assert api.post("/api/queue/delete", json=body).status_code == 422


# --- commands ---


def test_a_command_is_added_used_changed_and_deleted(api: httpx.Client) -> None:
    body = {"name": "hug", "action": "prompt", "value": "{user} hugs you."}
    assert api.post("/api/commands", json=body).status_code == 201
    assert api.post("/api/commands", json=body).status_code == 409
    told = write(api, "!hug", "hugger")
    until(lambda: became(api, told["message_id"])["disposition"] == "answered")
    turn = api.get(f"/api/turns/{became(api, told['message_id'])['turn_id']}").json()
    assert turn["message"] == "hugger hugs you."
    changed = {"action": "prompt", "value": "no", "role": "moderator"}
    assert api.put("/api/commands/hug", json=changed).json()["command"]["role"] == "moderator"
    assert api.get("/api/commands/hug").json()["uses"] == 1
    told = write(api, "!hug", "hugger")
    assert (told["disposition"], told["reason"]) == ("command", "!hug is for moderators.")
    assert api.delete("/api/commands/hug").status_code == 204
    assert api.get("/api/commands/hug").status_code == 404
    assert write(api, "!hug", "hugger")["disposition"] == "not-addressed"


def test_commands_do_nothing_during_a_panic(api: httpx.Client) -> None:
    api.post("/api/panic")
    told = write(api, "!motion wave", "dancer")
    assert (told["disposition"], "the panic" in told["reason"]) == ("skipped", True)


async def test_a_viewer_changes_her_face(served: Served, api: httpx.Client) -> None:
    async with line(served, {"types": ["command.used", "avatar.changed"]}) as client:
        await client.next()
        told = write(api, "!expression joy", "artist")
        used = await client.until("type", "command.used")
    assert told["disposition"] == "command"
    assert used["data"]["message_id"] == told["message_id"]
    names = [one["command"]["name"] for one in api.get("/api/commands").json()]
    assert names[:4] == ["expression", "motion", "say", "help"]


async def test_a_viewer_plays_a_sound_and_calls_a_scene(served: Served, api: httpx.Client) -> None:
    folder = backend_of(served).engines.settings.data_dir / "sounds"
    folder.mkdir(exist_ok=True)
    (folder / "horn.wav").write_bytes(to_wav(b"\x01\x00" * 800, 8000))
    (folder / "broken.ogg").write_bytes(b"OggS")
    listed = {one["name"]: one["problem"] for one in api.get("/api/sounds").json()}
    assert listed == {"horn.wav": "", "broken.ogg": ""}
    for name, action, value in (("horn", "sound", "horn.wav"), ("home", "scene", "Kitchen")):
        body = {"name": name, "action": action, "value": value}
        assert api.post("/api/commands", json=body).status_code == 201
    no = api.post("/api/commands", json={"name": "x", "action": "scene", "value": "{args}"})
    assert (no.status_code, "any scene" in no.text) == (422, True)
    wanted = {"types": ["playback.*", "scene.called", "command.used"]}
    async with line(served, wanted) as client:
        await client.next()
        told = write(api, "!horn", "loud")
        started = await client.until("type", "playback.started")
        assert (told["reason"], started["data"]["text"]) == ("plays horn.wav", "")
        # As the overlay's page fetches it.
        query = {"token": served.overlay_token}
        sound = httpx.get(served.url + started["data"]["url"], params=query, trust_env=False)
        assert (sound.status_code, sound.headers["content-type"]) == (200, "audio/wav")
        write(api, "!home", "loud")
        called = await client.until("type", "scene.called")
    assert (called["data"]["scene"], called["data"]["by"], called["data"]["viewer"]) == (
        "Kitchen",
        "!home",
        "loud",
    )
    assert api.post("/api/sounds/none.wav/play").status_code == 422
    assert api.post("/api/sounds/horn.wav/play").json() == {"duration_s": 0.1}
    api.post("/api/panic")
    assert api.post("/api/sounds/horn.wav/play").status_code == 409
    for name in ("horn", "home"):
        api.delete(f"/api/commands/{name}")


@pytest.mark.parametrize(
    "text",
    ["!say " + "9" * 7990, "!motion \u0336\u0301" * 400, "\u202e!help", "!" * 8000, "\U0001f600" * 8000],
    ids=["digits", "zalgo", "turned", "marks", "emoji"],
)  # fmt: skip
def test_whatever_a_viewer_types_has_a_disposition(api: httpx.Client, text: str) -> None:
    told = write(api, text, "hostile")
    assert told["disposition"] not in {"failed", "partial"}
    assert became(api, told["message_id"])["disposition"]


# --- a crash ---


@pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL")
@pytest.mark.slow
def test_what_was_acknowledged_has_its_end_after_a_kill(tmp_path: Any) -> None:
    data_dir = tmp_path / "data"
    environment = {"LLM_PROVIDER": "echo", "TTS_CHAIN": "tone", "STT_CHAIN": "script", "API_PORT": "0"}  # fmt: skip
    acknowledged: dict[str, str] = {}
    for round_ in range(3):
        with Program(data_dir, "--headless", environment=environment) as program:
            with client_of(program) as api:
                kept = api.get("/api/dispositions", params={"limit": 2000}).json()
                states = {one["message_id"]: one["disposition"] for one in kept}
                assert acknowledged.keys() <= states.keys()
                assert not OPEN & {states[one] for one in acknowledged}
                for one, name in acknowledged.items():
                    assert name in OPEN or states[one] == name
                api.post("/api/panic") if round_ == 1 else None
                for n in range(40):
                    told = write(api, f"thought {round_} number {n}", f"v{n % 8}")
                    acknowledged[told["message_id"]] = told["disposition"]
            program.process.send_signal(signal.SIGKILL)
            program.process.wait(20)


def client_of(program: Program) -> httpx.Client:
    url = program.ready()
    token = (program.data_dir / "api_token").read_text().strip()
    return httpx.Client(
        base_url=url, headers={"Authorization": f"Bearer {token}"}, timeout=20, trust_env=False
    )
