"""Who answers, chosen through every door: the next turn really comes from there, and nothing else changes."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.asyncio.client import connect

from backend.modes.standing import Rules
from benchmarks import mode_switch
from tests.integration.conftest import Served, serve
from tests.integration.vtuber import vtuber
from tests.servers.llm import LlmServer
from tests.servers.thread import ServerThread

HELLO = "A model wrote this."


@pytest.fixture(scope="module")
def servers() -> Iterator[ServerThread]:
    with ServerThread() as thread:
        yield thread


@pytest.fixture(scope="module")
def model(servers: ServerThread) -> Iterator[LlmServer]:
    server = LlmServer(reply=HELLO)
    servers.call(server.listen())
    yield server
    servers.call(server.refuse())


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    for running in serve(tmp_path_factory.mktemp("modes"), autonomous_local_llm=False):
        # As always, and quicker: nobody waits ten seconds in a test.
        backend = running.app.state.backend
        backend.modes._standing.rules = Rules(rest_s=0.05, probe_s=0.02)
        yield running


@pytest.fixture(autouse=True)
def as_at_first(served: Served, api: httpx.Client) -> Iterator[None]:
    yield
    assert api.delete("/api/mode").json()["chosen"] == "external-api"


def say(api: httpx.Client, text: str, conversation_id: str = "stage") -> dict[str, Any]:
    body = {"message": text, "conversation_id": conversation_id, "speak": False}
    answer = api.post("/api/chat", json=body)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def put(api: httpx.Client, mode: str, **more: object) -> dict[str, Any]:
    answer = api.put("/api/mode", json={"mode": mode, **more})
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def change(api: httpx.Client, served: Served, **values: object) -> None:
    answer = api.post("/api/config", json={"values": values})
    assert answer.status_code == 200, answer.text
    until(
        lambda: all(
            getattr(served.app.state.backend.engines.settings, name) == value
            for name, value in values.items()
            if not name.endswith("_key") and value is not None
        )
    )


def until(is_true: Callable[[], object], timeout_s: float = 30.0) -> None:
    end_s = time.monotonic() + timeout_s
    while not is_true():
        assert time.monotonic() < end_s, "it never happened"
        time.sleep(0.01)


def trace(api: httpx.Client, reply: dict[str, Any]) -> str:
    spans = api.get(f"/api/turns/{reply['turn_id']}").json()["spans"]
    return " · ".join(span["detail"] for span in spans)


def new(api: httpx.Client) -> str:
    return str(api.post("/api/conversations", json={}).json()["id"])


def test_the_mode_that_is_chosen_answers_the_next_turn_and_the_trace_says_so(
    api: httpx.Client,
) -> None:
    reply = say(api, "what is said is said again")
    assert reply["reply"] == "what is said is said again"
    assert "LLM_PROVIDER: echo; mode external-api" in trace(api, reply)
    state = put(api, "autonomous", by="window")
    assert (state["mode"], state["reason"]) == ("autonomous", "chosen by window")
    reply = say(api, "what is said is said again")
    assert reply["reply"] != "what is said is said again"
    assert "BACKEND_MODE: persona; mode autonomous" in trace(api, reply)
    assert api.get("/api/status").json()["mode"]["mode"] == "autonomous"
    config = {row["name"]: row["value"] for row in api.get("/api/config").json()}
    assert config["BACKEND_MODE"] == "autonomous"
    events = api.get("/api/events", params={"type": "mode.changed", "limit": 1}).json()
    assert events[0]["data"]["change"]["after"] == "autonomous"
    assert [line["after"] for line in state["history"]][-1] == "autonomous"


def test_a_conversation_may_have_its_own_mode_and_give_it_back(api: httpx.Client) -> None:
    own, other = new(api), new(api)
    put(api, "autonomous", conversation_id=own)
    assert say(api, "once more", own)["reply"] != "once more"
    assert say(api, "once more", other)["reply"] == "once more"
    state = api.get("/api/mode", params={"conversation_id": own}).json()
    assert (state["is_own"], state["mode"]) == (True, "autonomous")
    assert api.get("/api/mode").json()["mode"] == "external-api"
    api.delete("/api/mode", params={"conversation_id": own})
    assert say(api, "once more", own)["reply"] == "once more"


def test_what_cannot_be_chosen_is_refused_with_what_to_do(api: httpx.Client) -> None:
    orphiq = api.put("/api/mode", json={"mode": "orphiq"})
    assert orphiq.status_code == 409
    assert "ORPHIQ_WEBSOCKET_URL" in orphiq.json()["message"]
    assert api.put("/api/mode", json={"mode": "nobody"}).status_code == 422
    gone = api.put("/api/mode", json={"mode": "autonomous", "conversation_id": "gone"})
    assert gone.status_code == 404
    auto = api.put("/api/mode", json={"mode": "auto", "conversation_id": new(api)})
    assert auto.status_code == 422


def test_a_mode_saved_as_a_setting_counts_from_the_next_turn(
    api: httpx.Client, served: Served
) -> None:
    change(api, served, backend_mode="autonomous")
    assert say(api, "once more")["reply"] != "once more"
    change(api, served, backend_mode="external-api")
    assert say(api, "once more")["reply"] == "once more"


def test_a_custom_endpoint_typed_in_the_settings_answers_with_its_own_key(
    api: httpx.Client, served: Served, model: LlmServer
) -> None:
    model.key = "sk-custom-0123456789"
    try:
        change(
            api,
            served,
            external_api_endpoint=model.url,
            external_api_key=model.key,
            external_api_model="small-1",
        )
        reply = say(api, "hello")
        assert reply["reply"] == HELLO
        expected = "EXTERNAL_API_PROVIDER: openai_compatible, model small-1; mode external-api"
        assert expected in trace(api, reply)
    finally:
        model.key = ""
        names = ("external_api_endpoint", "external_api_key", "external_api_model")
        change(api, served, **dict.fromkeys(names))
    until(lambda: served.app.state.backend.engines.settings.external_provider == "")
    assert say(api, "hello")["reply"] == "hello"


def test_a_model_on_this_machine_answers_in_the_autonomous_mode_and_its_replies_are_kept(
    api: httpx.Client, served: Served, model: LlmServer
) -> None:
    put(api, "autonomous")
    change(api, served, ollama_url=model.url, autonomous_local_llm=True)
    try:
        until(lambda: say(api, "are you there?", new(api))["reply"] == HELLO)
        for _ in range(8):
            reply = say(api, "the same prompt", new(api))
            assert reply["reply"] == HELLO
        assert "(a kept reply)" in trace(api, reply)
        detail = next(
            mode["detail"]
            for mode in api.get("/api/mode").json()["modes"]
            if mode["mode"] == "autonomous"
        )
        assert "replies were kept ones" in detail
        change(api, served, autonomous_cache_replies=0, autonomous_personality="playful")
        until(lambda: say(api, "are you there?", new(api))["reply"] == HELLO)
        assert "(a kept reply)" not in trace(api, say(api, "the same prompt", new(api)))
        assert "above all: playful" in json.dumps(model.requests[-1].json)
    finally:
        names = ("ollama_url", "autonomous_cache_replies", "autonomous_personality")
        change(api, served, autonomous_local_llm=False, **dict.fromkeys(names))
    assert say(api, "hello")["reply"] != HELLO


def test_a_provider_that_goes_away_costs_no_message_and_is_taken_back(
    api: httpx.Client, served: Served, model: LlmServer, servers: ServerThread
) -> None:
    change(
        api,
        served,
        llm_provider="openai_compatible",
        openai_compatible_url=model.url,
        openai_compatible_model="small-1",
        llm_retries=0,
    )
    try:
        assert say(api, "hello")["reply"] == HELLO
        servers.call(model.set_fault("refused"))
        reply = say(api, "hello")
        assert reply["outcome"] == "done"
        assert reply["reply"].strip()
        assert reply["reply"] != HELLO
        state = api.get("/api/mode").json()
        assert (state["mode"], state["chosen"]) == ("autonomous", "external-api")
        (resting,) = [mode for mode in state["modes"] if mode["is_resting"]]
        assert resting["mode"] == "external-api"
        events = api.get("/api/events", params={"turn_id": reply["turn_id"]}).json()
        (retried,) = [event for event in events if event["type"] == "turn.retried"]
        assert retried["data"]["next_engine"] == "persona"
        servers.call(model.set_fault(""))
        until(lambda: api.get("/api/mode").json()["mode"] == "external-api")
        assert say(api, "hello")["reply"] == HELLO
        last = api.get("/api/mode").json()["history"][-2:]
        assert [line["after"] for line in last] == ["autonomous", "external-api"]
        assert all(line["is_automatic"] for line in last)
    finally:
        servers.call(model.set_fault(""))
        change(api, served, llm_provider="echo", llm_retries=2)


def test_a_running_turn_finishes_with_who_began_it_or_is_cancelled(
    api: httpx.Client, served: Served, model: LlmServer
) -> None:
    change(
        api,
        served,
        llm_provider="openai_compatible",
        openai_compatible_url=model.url,
        openai_compatible_model="small-1",
    )
    model.token_s, model.reply = 0.1, "One is said. Two is said as well. Three comes later."
    try:
        for running, outcome in (("finish", "done"), ("cancel", "interrupted")):
            where = new(api)
            sending = _Asking(served, where)
            until(partial(_has_begun, api, where))
            put(api, "autonomous", running=running)
            reply = sending.result()
            assert reply["outcome"] == outcome
            assert reply["reply"].startswith("One is said.")
            assert ("Three" in reply["reply"]) == (outcome == "done")
            assert "mode external-api" in trace(api, reply)
            assert "mode autonomous" in trace(api, say(api, "and now?", where))
            put(api, "external-api")
    finally:
        model.token_s, model.reply = 0.0, HELLO
        change(api, served, llm_provider="echo")


class _Asking:
    """A message whose reply is waited for elsewhere."""

    def __init__(self, served: Served, where: str) -> None:
        self._pool = ThreadPoolExecutor(1)
        self._client = served.client()
        self._found = self._pool.submit(say, self._client, "hello", where)

    def result(self) -> dict[str, Any]:
        found = self._found.result(20)
        self._client.close()
        self._pool.shutdown()
        return found


def _has_begun(api: httpx.Client, where: str) -> bool:
    """Whether a sentence was said there."""
    found = api.get("/api/events", params={"type": "chat.sentence", "limit": 5}).json()
    return any(event["data"]["conversation_id"] == where for event in found)


def test_a_conversations_own_mode_outlives_a_restart_and_not_the_conversation(
    tmp_path: Path,
) -> None:
    run = serve(tmp_path, autonomous_local_llm=False)
    served = next(run)
    with served.client() as api:
        own, gone = new(api), new(api)
        for where in (own, gone):
            put(api, "autonomous", conversation_id=where)
        assert api.delete(f"/api/conversations/{gone}").status_code < 300
    with pytest.raises(StopIteration):
        next(run)
    run = serve(tmp_path, autonomous_local_llm=False)
    served = next(run)
    with served.client() as api:
        assert say(api, "once more", own)["reply"] != "once more"
        assert say(api, "once more")["reply"] == "once more"
        assert not served.app.state.backend.modes.is_own(gone)
    with pytest.raises(StopIteration):
        next(run)


async def test_a_client_chooses_for_itself_and_keeps_it_in_a_new_history(served: Served) -> None:
    async with vtuber(served) as client, vtuber(served) as other:
        await client.say("set-backend-mode", mode="autonomous")
        assert await client.until("backend-mode-set") == {
            "type": "backend-mode-set",
            "mode": "autonomous",
        }
        assert "echo this" not in str(await client.ask("echo this"))
        assert "echo this" in str(await other.ask("echo this"))
        await client.say("create-new-history")
        await client.until("new-history-created")
        await client.say("get-backend-mode")
        told = await client.until("backend-mode")
        assert told["mode"] == "autonomous"
        assert set(told["available"]) == {"external-api", "autonomous"}
        await other.say("get-backend-mode")
        assert (await other.until("backend-mode"))["mode"] == "external-api"
        await client.say("set-backend-mode", mode="orphiq")
        assert "ORPHIQ_WEBSOCKET_URL" in await client.error()
        await client.say("set-backend-mode", mode="nobody")
        assert "external-api" in await client.error()


async def test_silence_makes_her_speak_only_where_the_triggers_name_it(served: Served) -> None:
    with served.client() as api:
        try:
            await asyncio.to_thread(lambda: put(api, "autonomous"))
            async with vtuber(served) as client:
                await client.say("ai-speak-signal", idle_time=12)
                await client.turn()
                await asyncio.to_thread(lambda: change(api, served, autonomous_triggers=()))
                await client.say("ai-speak-signal", idle_time=12)
                assert await client.nothing_more() == []
        finally:
            await asyncio.to_thread(lambda: change(api, served, autonomous_triggers=None))


async def test_the_event_stream_takes_the_same_command_and_tells_the_change(
    served: Served,
) -> None:
    async with connect(served.socket_url, additional_headers=served.bearer, proxy=None) as line:
        hello = {"types": ["mode.*"], "batch": False}
        await line.send(json.dumps({"hello": hello}))
        await line.recv()
        await line.send(json.dumps({"do": "mode", "id": 7, "mode": "autonomous"}))
        done = event = None
        while done is None or event is None:
            each = json.loads(await asyncio.wait_for(line.recv(), 10))
            if each.get("done") == 7:
                done = each
            # The change of the test before may be told late.
            elif each["data"]["state"]["mode"] == "autonomous":
                event = each
    assert done["mode"]["mode"] == "autonomous"
    assert event["message"] == "mode external-api → autonomous: chosen by api"


def test_switching_under_load_loses_no_message_and_doubles_none(tmp_path: Path) -> None:
    with mode_switch.place(tmp_path) as there:
        figures = mode_switch.run(there, switches=12, talkers=3, every_s=0.03)
    assert figures.messages > 5
    assert (figures.lost, figures.doubled, figures.switches) == (0, 0, 12)
    assert len(figures.by_mode) >= 2
    assert "?" not in figures.by_mode
