"""OpenAI's protocol as servers really speak it, good ways and thirteen bad ones."""

from __future__ import annotations

import asyncio
import random
import re
from collections.abc import AsyncIterator
from contextlib import aclosing

import pytest

from backend.contracts.errors import AppError, EngineUnavailableError, ProviderError
from backend.core.http import HttpClient
from backend.engines.llm import LLMS
from backend.engines.llm.base import LLM, Delta, Message, Prompt
from backend.engines.llm.openai_compatible import OpenAICompatible, ThoughtFilter, merged
from backend.engines.llm.options import Limits, ProviderValues, options_for
from tests.servers.llm import FAULTS, LlmServer, Style

KEY = "sk-verysecret-0123456789"
QUICK = Limits(connect_s=1, first_token_s=0.4, between_s=0.3, total_s=2)
PROMPT = Prompt((Message("system", "You are a gull."), Message("user", "hello")), max_tokens=200)


@pytest.fixture
async def server() -> AsyncIterator[LlmServer]:
    async with LlmServer(seed=1) as server:
        yield server
    assert not server.errors


@pytest.fixture
async def http() -> AsyncIterator[HttpClient]:
    http = HttpClient()
    yield http
    await http.close()


def make(http: HttpClient, server: LlmServer, model: str = "small-1") -> LLM:
    values = ProviderValues(KEY, server.url, model)
    return LLMS.create("openai", options_for("openai", values, http, QUICK))


async def deltas(llm: LLM, prompt: Prompt = PROMPT) -> list[Delta]:
    return [delta async for delta in llm.stream(prompt)]


async def text(llm: LLM, prompt: Prompt = PROMPT) -> str:
    return "".join(delta.text for delta in await deltas(llm, prompt))


async def read_into(said: list[str], llm: LLM) -> None:
    async for delta in llm.stream(PROMPT):
        said.append(delta.text)


@pytest.mark.parametrize("seed", range(60))
async def test_every_way_of_answering_well_gives_the_same_text(http: HttpClient, seed: int) -> None:
    async with LlmServer(seed=seed) as server:
        server.style = Style.any(random.Random(seed))
        for said in ("Hi.", "Grüße, 世界! 🦀 <b>done</b>"):
            server.reply = said
            found = await deltas(make(http, server))
            assert "".join(delta.text for delta in found) == said, server.style
            assert found[-1].finish == "stop"
            assert all(not delta.finish for delta in found[:-1])
            if server.style.usage and not server.style.as_json:
                assert found[-1].usage is not None
                assert found[-1].usage.prompt_tokens == 7
        assert not server.errors


async def test_one_connection_serves_many_turns(http: HttpClient, server: LlmServer) -> None:
    llm = make(http, server)
    for _ in range(5):
        await text(llm)
    assert server.connections == 1


async def test_what_is_sent_is_the_prompt(http: HttpClient, server: LlmServer) -> None:
    await text(
        make(http, server), Prompt(PROMPT.messages, max_tokens=9, temperature=0.3, stop=("A",))
    )
    request = server.requests[-1]
    assert request.path == "/v1/chat/completions"
    assert request.headers["authorization"] == f"Bearer {KEY}"
    assert request.json == {
        "model": "small-1",
        "messages": [
            {"role": "system", "content": "You are a gull."},
            {"role": "user", "content": "hello"},
        ],
        "stream": True,
        "stream_options": {"include_usage": True},
        "temperature": 0.3,
        "max_tokens": 9,
        "stop": ["A"],
    }


async def test_openrouter_is_told_which_program_asks(http: HttpClient, server: LlmServer) -> None:
    values = ProviderValues(KEY, server.url)
    llm = LLMS.create("openrouter", options_for("openrouter", values, http, QUICK))
    await text(llm)
    assert server.requests[-1].headers["x-title"] == "Luma"
    assert server.requests[-1].json["model"] == "openrouter/auto"


@pytest.mark.parametrize(
    ("complaint", "field", "there"),
    [
        ("Unsupported parameter: 'max_tokens' … Use 'max_completion_tokens' instead.",
         "max_completion_tokens", True),
        ("Unsupported value: 'temperature' does not support 0.8 with this model.",
         "temperature", False),
        ("Unrecognized request argument supplied: `stream_options`", "stream_options", False),
        ("'stop' is not supported with this model.", "stop", False),
    ],
)  # fmt: skip
async def test_a_server_with_its_own_dialect_is_understood_once_and_for_all(
    http: HttpClient, server: LlmServer, complaint: str, field: str, there: bool
) -> None:
    llm = make(http, server)
    prompt = Prompt(PROMPT.messages, stop=("END",))
    server.refusals = [("400 Bad Request", {"error": {"message": complaint}})]
    assert await text(llm, prompt)
    assert (field in server.requests[-1].json) is there
    before = len(server.requests)
    assert await text(llm, prompt)
    assert len(server.requests) == before + 1


async def test_a_model_without_a_system_role_gets_it_from_the_user(
    http: HttpClient, server: LlmServer
) -> None:
    server.refusals = [
        ("500 Error", {"error": {"message": "Conversation roles must alternate user/assistant"}})
    ]
    assert await text(make(http, server))
    assert server.requests[-1].json["messages"] == [
        {"role": "user", "content": "You are a gull.\n\nhello"}
    ]


async def test_the_same_refusal_is_not_argued_with_for_ever(
    http: HttpClient, server: LlmServer
) -> None:
    body = {"error": {"message": "'temperature' 'stop' stream_options` max_completion_tokens"}}
    server.refusals = [("400 Bad Request", body)] * 20
    with pytest.raises(ProviderError) as caught:
        await text(make(http, server))
    assert caught.value.kind == "request"
    assert len(server.requests) <= 6


async def test_without_a_model_the_first_of_the_server_is_asked(
    http: HttpClient, server: LlmServer
) -> None:
    options = options_for("ollama", ProviderValues(url=server.url), http, QUICK)
    llm = LLMS.create("ollama", options)
    await text(llm)
    assert llm.model == "small-1"
    assert server.requests[-1].json["model"] == "small-1"
    assert "authorization" not in server.requests[-1].headers


async def test_a_server_without_models_says_how_to_get_one(
    http: HttpClient, server: LlmServer
) -> None:
    server.models = []
    llm = LLMS.create("ollama", options_for("ollama", ProviderValues(url=server.url), http, QUICK))
    with pytest.raises(EngineUnavailableError, match="ollama pull"):
        await text(llm)


async def test_without_its_key_it_names_the_setting_and_asks_nobody(
    http: HttpClient, server: LlmServer
) -> None:
    options = options_for("openrouter", ProviderValues(url=server.url), http, QUICK)
    llm = LLMS.create("openrouter", options)
    with pytest.raises(EngineUnavailableError, match="set OPENROUTER_API_KEY"):
        await text(llm)
    with pytest.raises(EngineUnavailableError):
        await llm.check()
    assert not server.requests


async def test_check_says_what_is_there(http: HttpClient, server: LlmServer) -> None:
    assert await make(http, server).check() == "2 models, small-1 is there"
    with pytest.raises(ProviderError, match=r"no model 'gone', but small-1, large-2.*OPENAI_MODEL"):
        await make(http, server, "gone").check()


async def test_check_tries_the_key(http: HttpClient, server: LlmServer) -> None:
    server.key = "another"
    with pytest.raises(ProviderError, match="Set OPENAI_API_KEY") as caught:
        await make(http, server).check()
    assert caught.value.kind == "key"


async def test_a_reply_far_beyond_the_bound_is_cut(http: HttpClient, server: LlmServer) -> None:
    await server.set_fault("no-end")
    said: list[str] = []
    with pytest.raises(ProviderError, match="wrote more than 2,400 letters"):
        await read_into(said, make(http, server))
    assert 2000 < len("".join(said)) <= 2400


ALLOWED_KINDS = {
    "429": {"rate"}, "401": {"key"}, "500": {"server"}, "refused": {"unreachable"},
    "hang": {"stalled"}, "stall": {"stalled"}, "cut": {"server"}, "html": {"malformed"},
    "malformed": {"malformed", "server"}, "empty": {"malformed"}, "5mb-token": {"malformed"},
    "slow-loris": {"stalled"}, "no-end": {"malformed", "stalled"},
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("seed", range(4))
async def test_every_fault_ends_in_time_with_its_kind_and_the_next_reply_works(
    http: HttpClient, fault: str, seed: int
) -> None:
    async with LlmServer(seed=seed) as server:
        llm = make(http, server)
        await server.set_fault(fault)
        said: list[str] = []
        with pytest.raises(ProviderError) as caught:
            await asyncio.wait_for(read_into(said, llm), 4)
        error = caught.value
        assert error.kind in ALLOWED_KINDS[fault], error.message
        assert KEY not in error.message
        assert server.canary not in "".join(said)
        assert len(error.message) < 700
        assert error.provider == "openai"
        await server.set_fault("")
        server.reply = "Back again."
        assert await text(llm) == "Back again."
        assert not server.errors


async def test_the_text_before_a_failure_has_been_given(
    http: HttpClient, server: LlmServer
) -> None:
    server.reply = "one two three four"
    await server.set_fault("cut")
    said: list[str] = []
    with pytest.raises(ProviderError, match="in the middle"):
        await read_into(said, make(http, server))
    assert said
    assert server.reply.startswith("".join(said))


async def test_leaving_early_closes_the_connection(http: HttpClient, server: LlmServer) -> None:
    await server.set_fault("no-end")
    async with aclosing(make(http, server).stream(PROMPT)) as stream:
        async for _ in stream:
            break
    await server.set_fault("")
    assert await text(make(http, server))


async def test_cancelling_a_hanging_request_takes_no_time(
    http: HttpClient, server: LlmServer
) -> None:
    await server.set_fault("hang")
    task = asyncio.create_task(text(make(http, server)))
    while not server.requests:
        await asyncio.sleep(0)
    task.cancel()
    async with asyncio.timeout(0.2):
        with pytest.raises(asyncio.CancelledError):
            await task


async def test_a_slow_listener_is_not_the_servers_failure(
    http: HttpClient, server: LlmServer
) -> None:
    server.reply = "one two three four five"
    found = []
    async for delta in make(http, server).stream(PROMPT):
        found.append(delta.text)
        if len(found) == 1:
            await asyncio.sleep(QUICK.between_s + 0.1)
    assert "".join(found) == server.reply


async def test_only_thoughts_say_that_the_bound_may_be_too_small(
    http: HttpClient, server: LlmServer
) -> None:
    server.reply = "<think>hmm hmm hmm</think>"
    with pytest.raises(ProviderError, match="LLM_MAX_TOKENS"):
        await text(make(http, server))


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("<think>a</think>Hello", "Hello"),
        ("<think>\na < b </thin \n</think>\n\nHello", "Hello"),
        ("Hi <thinking>x</thinking>there", "Hi there"),
        ("a < b and <thin ice> <3", "a < b and <thin ice> <3"),
        ("ends with <thi", "ends with <thi"),
        ("<think>never closed", ""),
        ("\n\nHello ", "Hello "),
    ],
)
def test_thoughts_are_taken_out_wherever_the_text_is_cut(written: str, said: str) -> None:
    for size in range(1, len(written) + 1):
        thoughts = ThoughtFilter()
        found = "".join(thoughts.feed(part) for part in re.findall(rf"(?s).{{1,{size}}}", written))
        assert found + thoughts.finish() == said, size


def test_neighbours_of_the_same_role_become_one() -> None:
    lines = (Message("user", "a"), Message("user", "b"), Message("assistant", "c"))
    assert merged(lines) == [Message("user", "a\n\nb"), Message("assistant", "c")]


async def test_a_wrong_address_names_the_setting(http: HttpClient) -> None:
    with pytest.raises(EngineUnavailableError, match="OPENAI_COMPATIBLE_URL"):
        options_for("openai_compatible", ProviderValues(), http)
    with pytest.raises(AppError, match="OLLAMA_URL"):
        options_for("ollama", ProviderValues(url="localhost:11434"), http)


def test_the_names_of_one_protocol_share_one_class() -> None:
    for name in ("openai", "openrouter", "ollama", "llamacpp", "lmstudio", "openai_compatible"):
        assert LLMS.load(name) is OpenAICompatible
