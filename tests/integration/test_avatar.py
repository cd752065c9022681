"""An avatar over all doors of a running backend: REST, the event stream, the compatible socket, replies and commands."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.fakes import WritesText
from tests.integration.conftest import Served, serve
from tests.integration.test_stream import line
from tests.integration.vtuber import vtuber


@pytest.fixture
def api(served: Served) -> Iterator[httpx.Client]:
    with served.client() as client:
        client.post("/api/avatar/release")
        yield client
        client.post("/api/avatar/release")


def timeline(api: httpx.Client, **query: Any) -> list[str]:
    lines = api.get("/api/avatar/timeline", params=query).json()
    return [f"{each['kind']} {each['name']} {each['outcome']}" for each in lines]


def newest(api: httpx.Client) -> int:
    return max((each["id"] for each in api.get("/api/avatar/timeline").json()), default=0)


def until_over(api: httpx.Client, turn_id: str, count: int) -> list[str]:
    """The lines of a turn, when there are so many."""
    end_s = time.monotonic() + 30
    while len(found := timeline(api, turn_id=turn_id)) < count:
        assert time.monotonic() < end_s, found
        time.sleep(0.02)
    return found


# --- REST ---


def test_a_motion_is_asked_for_by_group_and_number_or_by_name(api: httpx.Client) -> None:
    shown = api.post("/api/motion", json={"motion_group": "gesture", "motion_index": 0}).json()
    assert shown["motion"]["name"] == "wave"
    assert shown["rig"] == shown["character_id"] == "hoshi"
    shown = api.post("/api/motion", json={"motion": "nod", "priority": 1}).json()
    assert (shown["motion"]["name"], shown["motion"]["owner"]) == ("nod", "api")
    shown = api.post("/api/motion", json={"motion": "dance", "loop": True}).json()
    assert [each["name"] for each in shown["waiting"]] == ["dance"]


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        ({"motion": "fly"}, 422, "wave (gesture 0)"),
        ({"motion_group": "gesture", "motion_index": 99}, 422, "'gesture 99'"),
        ({}, 422, "either motion"),
        ({"motion": "wave", "motion_group": "gesture"}, 422, "either motion"),
        ({"motion": "wave", "priority": 10**9}, 422, "priority"),
        ({"motion": "wave", "character_id": "nobody"}, 404, "nobody"),
        ({"motion": "wave", "conversation_id": "nowhere"}, 404, "nowhere"),
        ({"motion": "wave", "speed": 2}, 422, "speed"),
    ],
)
def test_a_motion_that_cannot_be_played_is_refused_with_what_there_is(
    api: httpx.Client, body: dict[str, Any], status: int, words: str
) -> None:
    answer = api.post("/api/motion", json=body)
    assert answer.status_code == status
    assert words in answer.json()["message"]


def test_priority_and_transition_of_an_expression_count(api: httpx.Client) -> None:
    joy = {"expression_id": "joy", "priority": 3, "transition": "instant"}
    shown = api.post("/api/expression", json=joy).json()
    assert (shown["expression"], shown["priority"], shown["transition"]) == ("joy", 3, "instant")
    shown = api.post("/api/expression", json={"expression_id": "sad"}).json()
    assert shown["expression"] == "joy"
    api.post("/api/avatar/release", json={"name": "joy"})
    shown = api.post("/api/expression", json={"expression_id": "sad", "transition": 250}).json()
    assert (shown["expression"], shown["transition"]) == ("sad", "smooth")
    wrong = api.post("/api/expression", json={"expression_id": "joy", "transition": "wobbly"})
    assert wrong.status_code == 422


def test_the_timeline_says_who_had_to_yield_to_whom(api: httpx.Client) -> None:
    since = newest(api)
    api.post("/api/expression", json={"expression_id": "joy"})
    api.post("/api/chat", json={"message": "!expression sad", "conversation_id": "stage"})
    api.post("/api/expression", json={"expression_id": "grumpy"})
    api.post("/api/avatar/release", json={"owner": "command"})
    assert timeline(api, after=since) == [
        "expression joy shown",
        "expression joy preempted",
        "expression sad shown",
        "expression grumpy refused",
        "expression sad released",
        "expression joy resumed",
    ]
    lines = api.get("/api/avatar/timeline", params={"after": since}).json()
    assert (lines[1]["owner"], lines[1]["by"]) == ("api", "command")
    assert "joy" in lines[3]["reason"]
    assert len(api.get("/api/avatar/timeline", params={"limit": 1}).json()) == 1


def test_release_ends_what_is_named_and_nothing_else(api: httpx.Client) -> None:
    api.post("/api/expression", json={"expression_id": "joy"})
    api.post("/api/motion", json={"motion": "dance", "loop": True})
    shown = api.post("/api/avatar/release", json={"kind": "motion"}).json()
    assert (shown["expression"], shown["motion"]) == ("joy", None)
    assert api.post("/api/avatar/release").json()["expression"] == "neutral"


# --- rigs ---


def test_rigs_are_listed_with_what_they_can_show(api: httpx.Client) -> None:
    rigs = {rig["id"]: rig for rig in api.get("/api/rigs").json()}
    assert rigs["hoshi"]["kind"] == "puppet"
    assert api.get("/api/rigs/hoshi").json() == rigs["hoshi"]
    assert api.get("/api/rigs/nobody").status_code == 404
    file = api.get(rigs["hoshi"]["url"])
    assert file.json()["title"] == rigs["hoshi"]["title"]
    assert "sandbox" in file.headers["content-security-policy"]
    assert file.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize(
    "path", ["..%2f..%2fapi_token", "%2e%2e/%2e%2e/x.json", ".git/x.json", "x.html", "none.json"]
)
def test_nothing_but_files_of_the_rig_is_handed_out(api: httpx.Client, path: str) -> None:
    assert api.get(f"/api/rigs/hoshi/files/{path}").status_code == 404


def test_an_overlay_reads_rigs_and_changes_nothing(served: Served) -> None:
    query = {"token": served.overlay_token}
    with served.stranger() as overlay:
        assert overlay.get("/api/rigs/hoshi/files/rig.json", params=query).status_code == 200
        assert overlay.get("/api/rigs/hoshi", params=query).status_code == 200
        assert overlay.get("/api/rigs/hoshi/files/rig.json").status_code == 401
        for path in ("/api/expression", "/api/motion", "/api/avatar/release"):
            assert overlay.post(path, params=query, json={}).status_code == 403
        assert overlay.get("/api/avatar/timeline", params=query).status_code == 403


def test_an_overlay_learns_no_path_of_this_machine_and_no_list(
    served: Served, api: httpx.Client
) -> None:
    own = served.app.state.backend.engines.settings.data_dir / "rigs"
    (own / "broken").mkdir(parents=True)
    asyncio.run_coroutine_threadsafe(
        served.app.state.backend.rigs.refresh(now=True), served.app.state.backend._loop
    ).result(10)
    assert str(own) in api.get("/api/rigs/broken").json()["problem"]
    assert "hoshi" in api.get("/api/rigs/nobodys").json()["message"]
    query = {"token": served.overlay_token}
    with served.stranger() as overlay:
        told = overlay.get("/api/rigs/broken", params=query).json()["problem"]
        assert told == "This avatar cannot be shown; Luma's window says why."
        missing = overlay.get("/api/rigs/nobodys", params=query)
        assert missing.status_code == 404
        assert "hoshi" not in missing.text


async def test_an_overlay_sees_the_avatar_on_stage_and_no_other(
    served: Served, api: httpx.Client
) -> None:
    api.post("/api/switch_character", json={"character_id": "hoshi"}).raise_for_status()
    since = api.get("/api/status").json()["seq"]
    hello = {"types": ["avatar.*"], "since": since}
    token = f"?token={served.overlay_token}"
    async with line(served, hello, query=token) as overlay:
        await overlay.until("hello")
        for who in ("nemu", "hoshi"):
            api.post("/api/expression", json={"character_id": who, "expression_id": "a secret"})
            face = {"character_id": who, "expression_id": "joy"}
            api.post("/api/expression", json=face).raise_for_status()
        seen = [await overlay.until("type") for _ in range(2)]
    # The refused one, on stage as well, is for the operator alone.
    assert "a secret" not in str(seen)
    whose = [
        each["data"].get("character_id") or each["data"]["entry"]["character_id"] for each in seen
    ]
    assert whose == ["hoshi"] * 2
    async with line(served, hello, query=token) as overlay:
        again = await overlay.until("type", "avatar.changed")
    assert again["data"]["character_id"] == "hoshi"
    for who in ("nemu", "hoshi"):
        api.post("/api/avatar/release", json={"character_id": who}).raise_for_status()


def test_a_character_is_given_another_rig(api: httpx.Client) -> None:
    made = api.post("/api/characters", json={"name": "Guest", "expressions": ["joy"]}).json()
    path = f"/api/characters/{made['id']}"
    assert api.get(f"/api/rigs/{made['id']}").json()["kind"] == "picture"
    assert api.patch(path, json={"rig": "sumi"}).json()["rig"] == "sumi"
    shown = api.post("/api/motion", json={"motion": "flap", "character_id": made["id"]}).json()
    assert shown["rig"] == "sumi"
    wrong = api.patch(path, json={"rig": "gone"})
    assert wrong.status_code == 422
    assert "hoshi" in wrong.json()["message"]
    assert api.patch(path, json={"rig": "../x"}).status_code == 422
    assert api.patch(path, json={"rig": ""}).json()["rig"] == ""
    api.delete(path)


# --- sockets ---


async def test_the_stream_takes_the_same_orders_and_tells_what_came_of_them(
    served: Served, api: httpx.Client
) -> None:
    async with line(served, {"types": ["avatar.*"]}) as client:
        await client.say({"do": "motion", "id": 1, "motion": "wave", "loop": True})
        assert (await client.until("done", 1))["motion"]["name"] == "wave"
        told = [await client.until("type") for _ in range(2)]
        assert {each["type"] for each in told} == {"avatar.changed", "avatar.cue"}
        changed = next(each for each in told if each["type"] == "avatar.changed")
        assert changed["data"]["shown"]["motion"]["loop"]
        await client.say({"do": "release", "id": 2, "kind": "motion"})
        assert (await client.until("done", 2))["motion"] is None
        await client.say({"do": "motion", "id": 3, "motion": "fly"})
        assert "wave (gesture 0)" in (await client.until("failed", 3))["message"]


async def test_compatible_clients_play_motions_in_both_spellings(
    served: Served, api: httpx.Client
) -> None:
    async with vtuber(served) as client:
        await client.say("motion-command", motion_group="gesture", motion_index=0)
        found = await client.until("motion-ack")
        assert (found["motion_group"], found["motion_index"]) == ("gesture", 0)
        assert found["result"] == {
            "status": "success",
            "loop": False,
            "priority": 0,
            "shown": "wave",
        }
        await client.say("motion-command", motionGroup="gesture", motionIndex=1, priority=5)
        assert (await client.until("motion-ack"))["result"]["shown"] == "nod"
        assert api.get("/api/avatar/state").json()["motion"]["owner"] == "client"
        await client.say("motion-command", motion_group="Idle", motion_index=7)
        assert "no motion 'Idle 7'" in await client.error()
        await client.say("motion-command", loop=True)
        assert "motion_group" in await client.error()
        await client.say("text-input", text="!expression smug")
        assert (await client.until("full-text"))["text"].endswith("shows smug.")
        await client.say("expression-command", expression_id="joy", transition="ease-in-out")
        assert (await client.until("expression-ack"))["result"]["transition"] == "ease-in-out"


# --- replies and typed commands ---


def test_what_a_reply_does_is_scheduled_with_its_sentence_and_shown_when_it_plays(
    served: Served, api: httpx.Client
) -> None:
    served.app.state.backend.engines.llm = WritesText(
        [
            "[joy] Hello you there. *waves happily* [sadness] How are ",
            "you? <motion:nod> [1:23] [moonwalk]",
        ]
    )
    told = api.post("/api/chat", json={"message": "hi", "conversation_id": "stage"}).json()
    lines = until_over(api, told["turn_id"], 8)
    assert [each for each in lines if each.endswith("scheduled")] == [
        "expression joy scheduled",
        "motion wave scheduled",
        "expression sad scheduled",
        "motion nod scheduled",
    ]
    assert {"expression joy shown", "motion wave shown", "expression sad shown"} <= set(lines)
    assert told["emotion"] == "sad"
    assert told["reply"] == "Hello you there. How are you? [1:23]"
    sentences = {
        each["name"]: each["sentence"]
        for each in api.get("/api/avatar/timeline", params={"turn_id": told["turn_id"]}).json()
    }
    assert sentences["joy"] == 1
    assert sentences["sad"] == 2


def test_a_private_conversation_moves_nobody_on_stage(served: Served, api: httpx.Client) -> None:
    served.app.state.backend.engines.llm = WritesText(["*bows* [joy] Good evening."])
    before = api.get("/api/avatar/state", params={"character_id": "sumi"}).json()
    body = {"message": "hi", "character_id": "sumi", "speak": False}
    told = api.post("/api/chat", json=body).json()
    assert told["emotion"] == "joy"
    assert timeline(api, turn_id=told["turn_id"]) == []
    assert api.get("/api/avatar/state", params={"character_id": "sumi"}).json() == before


def test_a_command_is_a_notice_and_no_turn(served: Served, api: httpx.Client) -> None:
    before = api.get("/api/conversations/stage/history").json()
    done = api.post("/api/chat", json={"message": "!motion wave", "conversation_id": "stage"})
    assert done.json()["reply"] == "Hoshi Kitsune plays wave."
    wrong = api.post("/api/chat", json={"message": "!motion fly", "conversation_id": "stage"})
    assert wrong.status_code == 200
    assert wrong.json()["outcome"] == "skipped"
    assert "wave (gesture 0)" in wrong.json()["error"]
    streamed = api.post(
        "/api/chat",
        json={"message": "!expression joy", "conversation_id": "stage", "stream": True},
    )
    assert "event: final" in streamed.text
    assert api.get("/api/conversations/stage/history").json() == before


def test_a_viewer_commands_nothing(served: Served, api: httpx.Client) -> None:
    served.app.state.backend.engines.llm = WritesText(["No."])
    since = newest(api)
    body = {"message": "!motion wave", "conversation_id": "stage", "author": "viewer"}
    assert api.post("/api/chat", json=body).json()["reply"] == "No."
    assert not timeline(api, after=since)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    yield from serve(tmp_path_factory.mktemp("avatar"), asr_vad="energy")
