"""What every registered mode keeps, whoever wrote it; those that ask a server ask a local one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass

import pytest

from backend.contracts.entities import Cue
from backend.contracts.errors import AppError
from backend.contracts.modes import MODES, ModeName
from backend.core.http import HttpClient
from backend.engines.llm import LLMS
from backend.engines.llm.base import Delta, Prompt
from backend.engines.llm.options import Limits, PersonaOptions, ProviderValues, options_for
from backend.modes import ADAPTERS
from backend.modes.base import BackendAdapter, ExpressionRequest, MotionRequest, SpokenPart
from backend.modes.options import AutonomousOptions, ExternalApiOptions, OrphiqOptions
from tests.fake_modes import Still, said
from tests.servers.llm import LlmServer
from tests.servers.orphiq import OrphiqServer

WRITES = frozenset({"text-generation-request"})
LIMITS = Limits(connect_s=2, first_token_s=2, between_s=2, total_s=5)


@dataclass
class Made:
    """A mode, and what it moves."""

    mode: BackendAdapter
    body: Still


@pytest.fixture
async def servers() -> AsyncIterator[tuple[LlmServer, OrphiqServer]]:
    async with LlmServer(seed=3) as llm, OrphiqServer(knows=WRITES) as orphiq:
        yield llm, orphiq


@pytest.fixture(params=ADAPTERS.names)
async def made(
    request: pytest.FixtureRequest, servers: tuple[LlmServer, OrphiqServer]
) -> AsyncIterator[Made]:
    http, body = HttpClient(), Still()
    llm_server, orphiq_server = servers
    persona = LLMS.create("persona", PersonaOptions(seed=1))
    values = ProviderValues("", llm_server.url, "small-1")
    llm = LLMS.create("ollama", options_for("ollama", values, http, LIMITS))
    options: object
    match request.param:
        case "orphiq":
            options = OrphiqOptions(url=orphiq_server.url, body=body)
        case "autonomous":
            options = AutonomousOptions(persona=persona, local=(llm,), body=body)
        case other:
            assert other == "external-api", f"say here how {other} is made"
            options = ExternalApiOptions(
                llm=lambda: llm,
                who=lambda: "ollama, model small-1",
                problem=lambda: "",
                setting=lambda: "LLM_PROVIDER",
                body=body,
            )
    mode = ADAPTERS.create(request.param, options)
    yield Made(mode, body)
    await mode.close()
    await http.close()


async def text(mode: BackendAdapter, prompt: Prompt) -> str:
    said = ""
    async for part in mode.respond(prompt):
        assert isinstance(part, Delta | Cue | SpokenPart)
        said += "" if isinstance(part, Cue) else part.text
    return said


async def test_its_name_is_the_one_it_is_registered_by(
    made: Made, request: pytest.FixtureRequest
) -> None:
    assert made.mode.name == request.node.callspec.params["made"]
    assert made.mode.name in MODES


def test_every_mode_is_registered() -> None:
    assert set(ADAPTERS.names) == set(MODES)


async def test_it_answers_twice_in_a_conversation(made: Made) -> None:
    assert (await text(made.mode, said("hello"))).strip()
    await made.mode.played(said("hello"))
    assert (await text(made.mode, said("and then?"))).strip()


async def test_conversations_are_answered_side_by_side(made: Made) -> None:
    replies = await asyncio.gather(*(text(made.mode, said("hello", f"c{n}")) for n in range(4)))
    assert all(reply.strip() for reply in replies)


async def test_it_can_be_left_early_told_so_and_asked_again(made: Made) -> None:
    async with aclosing(made.mode.respond(said("hello"))) as parts:
        async for part in parts:
            if not isinstance(part, Cue):
                break
    await made.mode.interrupted(said("hello"), "half")
    assert (await text(made.mode, said("hello?"))).strip()


async def test_cancelling_whoever_reads_ends_it(made: Made) -> None:
    task = asyncio.create_task(text(made.mode, said("hello")))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (await text(made.mode, said("hello?"))).strip()


async def test_being_told_how_a_reply_of_somebody_else_went_does_no_harm(made: Made) -> None:
    await made.mode.played(said("never asked", "c9"))
    await made.mode.interrupted(said("never asked", "c9"), "nothing")


async def test_it_writes_text_that_belongs_to_no_conversation(made: Made) -> None:
    pieces = [piece.text async for piece in made.mode.generate_text(said("greet them", "x"))]
    assert "".join(pieces).strip()


async def test_it_says_who_answers_and_how_it_is(made: Made) -> None:
    health = await made.mode.health()
    assert (health.mode, health.is_available) == (made.mode.name, True)
    assert health.detail
    assert made.mode.who
    assert made.mode.problem == ""
    assert made.mode.setting.isupper()


async def test_a_probe_says_in_a_line_that_it_works(made: Made) -> None:
    found = await made.mode.probe()
    assert found
    assert "\n" not in found


async def test_a_probe_of_what_is_gone_fails_where_it_needs_somebody(
    made: Made, servers: tuple[LlmServer, OrphiqServer]
) -> None:
    llm, orphiq = servers
    await llm.set_fault("refused")
    await orphiq.refuse()
    needs_somebody: set[ModeName] = {"orphiq", "external-api"}
    if made.mode.name in needs_somebody:
        with pytest.raises(AppError):
            await made.mode.probe()
        with pytest.raises(AppError):
            await text(made.mode, said("hello"))
    else:
        assert await made.mode.probe()
        assert (await text(made.mode, said("hello"))).strip()


async def test_faces_and_motions_reach_the_avatar_and_its_state_can_be_asked(made: Made) -> None:
    character = said("x").character
    assert character is not None
    await made.mode.trigger_expression(
        character, ExpressionRequest("joy", duration_ms=500, priority=3, transition="instant")
    )
    await made.mode.trigger_motion(character, MotionRequest(name="wave", loop=True, priority=2))
    await made.mode.trigger_motion(character, MotionRequest(group="idle", index=1))
    assert made.body.asked == [
        ("joy", "api", 500, 3, "instant"),
        ("wave", 0, "api", True, 2),
        ("idle", 1, "api", False, 0),
    ]
    assert (await made.mode.get_character_state(character)).character_id == character.id


async def test_it_is_told_whether_a_reply_may_be_thought_ahead(made: Made) -> None:
    """Only where nobody keeps a memory of what was thrown away."""
    assert made.mode.can_think_ahead == (made.mode.name != "orphiq")
