"""Thirteen faults of a language model and six of a voice, through the whole turn over a real server.

Each ends in time, is told to the operator, is neither spoken nor stored, and the next turn works. What varies inside a
fault comes from the run's seed (--fault-seed).
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.integration.conftest import Served, serve
from tests.servers import llm as llm_faults
from tests.servers import tts as tts_faults
from tests.servers.llm import SENTENCES, LlmServer
from tests.servers.thread import ServerThread
from tests.servers.tts import TtsServer

KEY = "sk-battery-0123456789abcdef"
FIRST_TOKEN_S, TOKEN_S, VOICE_S = 0.6, 0.4, 2.5
ENDS_WITHIN_S = 5.0
"""First token, retries and fallback, or a voice that hangs: the issue's bound for one sentence's audio."""


class Stage:
    """The backend, the two servers it talks to, and what can be asked about a turn."""

    def __init__(
        self,
        served: Served,
        api: httpx.Client,
        llm: LlmServer,
        tts: TtsServer,
        thread: ServerThread,
    ) -> None:
        self.served = served
        self.api = api
        self.llm = llm
        self.tts = tts
        self.thread = thread
        self._model = 0
        self.conversation_id = ""

    def begin(self, seed: int, chain: tuple[str, ...] = ("openai_compatible", "tone")) -> None:
        """New dice, good servers, and engines that remember nothing of the test before."""
        self.thread.call(self.llm.set_fault(""))
        self.llm.dice.seed(seed)
        self.tts.dice.seed(seed)
        self.llm.style = None
        self.tts.fault = ""
        self.say_next(seed)
        self.conversation_id = self.api.post("/api/conversations", json={}).json()["id"]
        self.forget(chain)

    def forget(self, chain: tuple[str, ...] = ("openai_compatible", "tone")) -> None:
        """Build the engines anew, as saving a setting does."""
        self._model += 1
        changes = {"openai_compatible_model": f"model-{self._model}", "tts_chain": list(chain)}
        answer = self.api.post("/api/config", json={"values": changes})
        assert answer.status_code == 200, answer.text
        wanted = f"model-{self._model}"
        until_s = time.monotonic() + 20
        while wanted not in str(self.api.get("/api/config").json()):
            assert time.monotonic() < until_s

    def say_next(self, seed: int) -> None:
        """Choose what the model says; a number in each clause keeps the voice's cache from knowing it."""
        dice = random.Random(seed)
        chosen = [(text, dice.randrange(10**9)) for text in dice.sample(SENTENCES, 3)]
        self.llm.reply = " ".join(
            f"Number {number}, {text[:-1]} {number}{text[-1]}" for text, number in chosen
        )

    def ask(self) -> tuple[dict[str, Any], list[dict[str, Any]], float]:
        """One turn: the answer of /api/chat, the turn's stored events, and the seconds it took."""
        began_s = time.monotonic()
        answer = self.api.post(
            "/api/chat",
            json={"message": "Tell me something.", "conversation_id": self.conversation_id},
        )
        took_s = time.monotonic() - began_s
        assert answer.status_code == 200, answer.text
        reply: dict[str, Any] = answer.json()
        events = self.api.get("/api/events", params={"turn_id": reply["turn_id"]}).json()
        return reply, sorted(events, key=lambda event: event["seq"]), took_s


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    llm, tts = LlmServer(), TtsServer()
    with ServerThread(llm, tts) as thread:
        running = serve(
            tmp_path_factory.mktemp("faults"),
            llm_provider="openai_compatible",
            openai_compatible_url=llm.url,
            openai_compatible_key=KEY,
            openai_compatible_model="model-0",
            llm_first_token_timeout_s=FIRST_TOKEN_S,
            llm_token_timeout_s=TOKEN_S,
            llm_retries=1,
            llm_max_tokens=200,
            tts_chain=("openai_compatible", "tone"),
            tts_openai_url=tts.url + "/v1",
            tts_timeout_s=VOICE_S,
        )
        for served in running:
            with served.client() as api:
                stage = Stage(served, api, llm, tts, thread)
                _until_the_voice_is_warm(stage)
                yield stage
    assert not llm.errors
    assert not tts.errors


def _until_the_voice_is_warm(stage: Stage) -> None:
    # The first sound starts the process that decodes it; a loaded machine takes a while.
    for attempt in range(10):
        stage.begin(-attempt)
        _, events, _ = stage.ask()
        spoken = [event for event in events if event["type"] == "speech.ready"]
        if spoken and all(event["data"]["engine"] == "openai_compatible" for event in spoken):
            return
    pytest.fail("the speech server was never used")


def public(reply: dict[str, Any], events: list[dict[str, Any]], stage: Stage) -> str:
    """Everything of a turn that is shown, spoken or remembered."""
    texts = [reply["reply"], *(sound["text"] for sound in reply["audio"]), *stage.tts.said]
    for event in events:
        if event["type"] in ("chat.sentence", "chat.response", "speech.ready", "playback.started"):
            texts.append(event["data"]["text"])
    stored = stage.api.get(f"/api/turns/{reply['turn_id']}").json()
    texts.append(stored["reply"])
    texts += [sentence["text"] for sentence in stored["sentences"]]
    return "\n".join(texts)


def reasons(events: list[dict[str, Any]]) -> list[str]:
    return [
        event["data"]["reason"]
        for event in events
        if event["type"] in ("error.occurred", "turn.retried")
    ]


@pytest.mark.parametrize("fault", llm_faults.FAULTS)
def test_a_model_that_fails_is_told_not_spoken_and_the_next_turn_works(
    stage: Stage, fault: str, fault_seed: int
) -> None:
    stage.begin(fault_seed)
    stage.tts.said.clear()
    stage.thread.call(stage.llm.set_fault(fault))

    reply, events, took_s = stage.ask()

    told = reasons(events)
    shown = public(reply, events, stage)
    assert took_s < ENDS_WITHIN_S
    assert told, f"{fault} was not told to the operator"
    assert any(event["data"].get("kind") for event in events if event["severity"] != "INFO")
    assert stage.llm.canary not in shown
    assert KEY not in shown
    assert KEY not in str(events)
    for reason in told:
        assert reason not in shown
    assert reply["reply"].strip()
    if reply["outcome"] == "failed":  # it had begun: what came is kept, and nothing else
        written, sent = ("".join(text.split()) for text in (reply["reply"], stage.llm.reply))
        assert (sent * 100).startswith(written)
    assert events[-1]["type"] == "turn.finished"

    stage.thread.call(stage.llm.set_fault(""))
    stage.say_next(fault_seed + 1)
    reply, _, _ = stage.ask()
    assert reply["outcome"] == "done"
    assert reply["reply"].strip()

    stage.forget()
    stage.say_next(fault_seed + 2)
    reply, events, _ = stage.ask()
    assert reply["reply"] == stage.llm.reply
    assert not reasons(events)


@pytest.mark.parametrize("fault", tts_faults.FAULTS)
def test_a_voice_that_fails_costs_sound_at_most_and_the_next_turn_works(
    stage: Stage, fault: str, fault_seed: int
) -> None:
    dice = random.Random(fault_seed)
    chain = ("openai_compatible", "tone") if dice.random() < 0.5 else ("openai_compatible",)
    stage.begin(fault_seed + 7, chain)
    stage.tts.said.clear()
    stage.tts.fault = fault

    reply, events, took_s = stage.ask()

    told = [event for event in events if event["type"] == "error.occurred"]
    assert took_s < ENDS_WITHIN_S
    assert any(event["data"]["engine"] == "openai_compatible" for event in told)
    assert reply["outcome"] == "done"
    assert reply["reply"] == stage.llm.reply
    assert stage.tts.canary not in public(reply, events, stage)
    engines = {event["data"]["engine"] for event in events if event["type"] == "speech.ready"}
    assert engines == ({"tone"} if "tone" in chain else set())

    stage.tts.fault = ""
    stage.say_next(fault_seed + 8)
    reply, _, took_s = stage.ask()
    assert reply["reply"] == stage.llm.reply
    assert took_s < ENDS_WITHIN_S

    stage.forget()
    stage.say_next(fault_seed + 9)
    reply, events, _ = stage.ask()
    engines = {event["data"]["engine"] for event in events if event["type"] == "speech.ready"}
    assert engines == {"openai_compatible"}
    assert not reasons(events)
