"""What every registered language model keeps, whoever wrote it; those that ask a server ask the local one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing

import pytest

from backend.contracts.entities import Character
from backend.core.http import HttpClient
from backend.engines.llm import LLMS
from backend.engines.llm.base import LLM, Message, Prompt
from backend.engines.llm.options import (
    REMOTE,
    EchoOptions,
    FallbackOptions,
    Limits,
    PersonaOptions,
    ProviderValues,
    options_for,
)
from tests.servers.llm import LlmServer

KEY = "sk-contract-0123456789"
LIMITS = Limits(connect_s=2, first_token_s=2, between_s=2, total_s=5)
CHARACTER = Character(id="mira", name="Mira", profile="A lighthouse keeper.")


def prompt(text: str = "Hello, how are you?") -> Prompt:
    lines = (Message("system", "You are Mira."), Message("user", text))
    return Prompt(lines, character=CHARACTER, author="Ann", conversation_id="c1")


@pytest.fixture
async def server() -> AsyncIterator[LlmServer]:
    async with LlmServer(seed=3) as server:
        server.key = KEY
        yield server
    assert not server.errors


@pytest.fixture(params=LLMS.names)
async def llm(request: pytest.FixtureRequest, server: LlmServer) -> AsyncIterator[LLM]:
    http = HttpClient()
    name: str = request.param

    def make(name: str) -> LLM:
        if name == "echo":
            return LLMS.create(name, EchoOptions())
        if name == "persona":
            return LLMS.create(name, PersonaOptions(seed=1))
        if name == "fallback":
            return LLMS.create(name, FallbackOptions([make("openai"), make("echo")]))
        assert name in REMOTE, f"say here how {name} is made"
        values = ProviderValues(KEY, server.url, "small-1")
        return LLMS.create(name, options_for(name, values, http, LIMITS))

    llm = make(name)
    yield llm
    await llm.close()
    await http.close()


async def read(llm: LLM, asked: Prompt) -> str:
    said = ""
    async for delta in llm.stream(asked):
        said += delta.text
    return said


async def test_its_name_is_the_one_it_is_registered_by(
    llm: LLM, request: pytest.FixtureRequest
) -> None:
    assert llm.name == request.node.callspec.params["llm"]
    assert isinstance(llm.model, str)


async def test_it_replies_in_pieces_that_make_a_text(llm: LLM) -> None:
    pieces = [delta.text async for delta in llm.stream(prompt()) if delta.text]
    assert len(pieces) > 1
    assert "".join(pieces).strip()


async def test_its_last_piece_says_how_it_ended(llm: LLM) -> None:
    found = [delta async for delta in llm.stream(prompt())]
    assert found[-1].finish in ("stop", "length")
    assert all(not delta.finish for delta in found[:-1])


async def test_two_conversations_at_once_do_not_mix(llm: LLM) -> None:
    texts = await asyncio.gather(*(read(llm, prompt(f"word{n}")) for n in range(4)))
    assert all(text.strip() for text in texts)


async def test_it_can_be_left_in_the_middle_and_asked_again(llm: LLM) -> None:
    async with aclosing(llm.stream(prompt())) as stream:
        async for delta in stream:
            if delta.text:
                break
    assert await read(llm, prompt())


async def test_it_can_be_cancelled_at_any_moment(llm: LLM) -> None:
    for turns in range(6):
        task = asyncio.create_task(read(llm, prompt()))
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        async with asyncio.timeout(1):
            await asyncio.wait([task])
        assert task.cancelled() or task.result()
    assert await read(llm, prompt())


async def test_it_keeps_replying_when_the_history_is_long_and_odd(llm: LLM) -> None:
    lines = [Message("system", "You are Mira.")]
    for n in range(60):
        lines += [Message("user", f"line {n} 🦀 {{char}} <b>"), Message("assistant", "「はい。」")]
    lines.append(Message("user", "and now?"))
    asked = Prompt(tuple(lines), character=CHARACTER, author="Ann", conversation_id="c2")
    assert (await read(llm, asked)).strip()


async def test_check_says_in_one_line_that_it_works(llm: LLM) -> None:
    found = await llm.check()
    assert found
    assert "\n" not in found


async def test_closing_twice_is_safe(llm: LLM) -> None:
    await llm.close()
    await llm.close()
