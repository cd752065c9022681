"""Anthropic's protocol."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator

import pytest

from backend.contracts.errors import EngineUnavailableError, ProviderError
from backend.core.http import HttpClient
from backend.engines.llm import LLMS
from backend.engines.llm.base import LLM, Delta, Message, Prompt
from backend.engines.llm.options import Limits, ProviderValues, options_for
from tests.servers.llm import FAULTS, LlmServer, Style

KEY = "sk-ant-verysecret-0123456789"
QUICK = Limits(connect_s=1, first_token_s=0.4, between_s=0.3, total_s=2)
PROMPT = Prompt((Message("system", "You are a gull."), Message("user", "hello")), max_tokens=200)


@pytest.fixture
async def server() -> AsyncIterator[LlmServer]:
    async with LlmServer(seed=1) as server:
        server.key = KEY
        yield server
    assert not server.errors


@pytest.fixture
async def http() -> AsyncIterator[HttpClient]:
    http = HttpClient()
    yield http
    await http.close()


def make(http: HttpClient, server: LlmServer, key: str = KEY) -> LLM:
    values = ProviderValues(key, server.url, "large-2")
    return LLMS.create("anthropic", options_for("anthropic", values, http, QUICK))


async def deltas(llm: LLM, prompt: Prompt = PROMPT) -> list[Delta]:
    return [delta async for delta in llm.stream(prompt)]


@pytest.mark.parametrize("seed", range(8))
async def test_a_reply_streams_with_its_usage_and_without_its_thoughts(
    http: HttpClient, server: LlmServer, seed: int
) -> None:
    server.style = Style.any(random.Random(seed))
    server.reply = "Grüße, 世界! 🦀"
    found = await deltas(make(http, server))
    assert "".join(delta.text for delta in found) == server.reply
    assert found[-1].finish == "stop"
    assert found[-1].usage is not None
    assert (found[-1].usage.prompt_tokens, found[-1].usage.completion_tokens) == (7, 3)


async def test_what_is_sent_follows_the_messages_protocol(
    http: HttpClient, server: LlmServer
) -> None:
    lines = (
        Message("system", "You are a gull."),
        Message("assistant", "Caw."),
        Message("user", "one"),
        Message("user", "two"),
        Message("system", "Be brief."),
    )
    await deltas(make(http, server), Prompt(lines, max_tokens=9, temperature=1.7, stop=(" ", "X")))
    request = server.requests[-1]
    assert request.path == "/v1/messages"
    assert request.headers["x-api-key"] == KEY
    assert request.headers["anthropic-version"] == "2023-06-01"
    assert request.json == {
        "model": "large-2",
        "max_tokens": 9,
        "system": "You are a gull.",
        "messages": [
            {"role": "user", "content": "…"},
            {"role": "assistant", "content": "Caw."},
            {"role": "user", "content": "one\n\ntwo\n\nBe brief."},
        ],
        "stream": True,
        "temperature": 1.0,
        "stop_sequences": ["X"],
    }


async def test_a_model_that_wants_no_temperature_gets_none(
    http: HttpClient, server: LlmServer
) -> None:
    server.refusals = [("400 Bad", {"error": {"message": "`temperature` is deprecated"}})]
    assert await deltas(make(http, server))
    assert "temperature" not in server.requests[-1].json


async def test_check_lists_models_and_tries_the_key(http: HttpClient, server: LlmServer) -> None:
    assert await make(http, server).check() == "2 models, large-2 is there"
    with pytest.raises(ProviderError, match="Set ANTHROPIC_API_KEY"):
        await make(http, server, "wrong").check()
    with pytest.raises(EngineUnavailableError, match="set ANTHROPIC_API_KEY"):
        await make(http, server, "").check()


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("seed", range(2))
async def test_every_fault_ends_in_time_and_the_next_reply_works(
    http: HttpClient, fault: str, seed: int
) -> None:
    async with LlmServer(seed=seed) as server:
        llm = make(http, server)
        await server.set_fault(fault)
        said: list[str] = []

        async def read() -> None:
            async for delta in llm.stream(PROMPT):
                said.append(delta.text)

        with pytest.raises(ProviderError) as caught:
            await asyncio.wait_for(read(), 4)
        assert KEY not in caught.value.message
        assert server.canary not in "".join(said)
        await server.set_fault("")
        assert "".join(delta.text for delta in await deltas(llm)) == server.replies[-1]
        assert not server.errors
