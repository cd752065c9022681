"""The mode orphiq against a server that answers as recorded."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager

import pytest

from backend.contracts.errors import EngineUnavailableError, NotFoundError, ProviderError
from backend.engines.llm.base import Delta, Message, Prompt
from backend.modes.base import ExpressionRequest, MotionRequest, Part, SpokenPart
from backend.modes.options import OrphiqOptions
from backend.modes.orphiq import MOST_FORWARDED, Orphiq
from tests.fake_modes import Still
from tests.fakes import character
from tests.servers.orphiq import OrphiqServer

MIKA = character()


@asynccontextmanager
async def mode(server: OrphiqServer, **options: float) -> AsyncIterator[Orphiq]:
    made = Orphiq(OrphiqOptions(url=server.url, body=Still("joy"), **options))  # type: ignore[arg-type]  # times only
    try:
        yield made
    finally:
        await made.close()


def said(text: str, conversation_id: str = "stage", *earlier: str) -> Prompt:
    lines = [Message("system", "You are Mika.")]
    lines += [Message("assistant" if n % 2 else "user", each) for n, each in enumerate(earlier)]
    return Prompt((*lines, Message("user", text)), MIKA, conversation_id=conversation_id)


async def reply(orphiq: Orphiq, prompt: Prompt) -> list[Part]:
    async with aclosing(orphiq.respond(prompt)) as parts:
        return [part async for part in parts]


def spoken(parts: list[Part]) -> list[SpokenPart]:
    return [part for part in parts if isinstance(part, SpokenPart)]


async def test_sentences_come_with_their_sound_and_a_face_is_not_named_twice() -> None:
    async with OrphiqServer() as server, mode(server) as orphiq:
        server.reply = [("[smirk] Well.", [3]), ("And so on.", [3]), ("Bye.", [])]
        parts = spoken(await reply(orphiq, said("hello")))
        assert [part.text for part in parts] == ["[smirk] Well.", "And so on.", "Bye."]
        assert [[cue.name for cue in part.cues] for part in parts] == [[], ["joy"], []]
        assert all(part.audio is not None for part in parts)
        assert parts[0].by == "orphiq, mao_pro"
        assert server.said("text-input")[0]["text"] == "hello", "no system text of ours goes there"
        assert orphiq.who.startswith("mao_pro at ws://127.0.0.1")


async def test_conversations_have_memories_of_their_own() -> None:
    async with OrphiqServer() as server, mode(server) as orphiq:
        for name in ("one", "two", "one"):
            prompt = said(f"I am {name}", name, "before", "yes")
            await reply(orphiq, prompt)
            await orphiq.played(prompt)
        texts = {uid: message["text"] for uid, message in server.heard if "text" in message}
        assert set(texts.values()) == {"I am one", "I am two"}
        assert server.connections == 2


async def test_what_is_cleared_here_is_forgotten_there() -> None:
    async with OrphiqServer() as server, mode(server) as orphiq:
        await reply(orphiq, said("a secret"))
        await reply(orphiq, said("still there?", "stage", "a secret", "oh"))
        assert len(server.said("create-new-history")) == 1
        await reply(orphiq, said("what did I say?"))
        assert len(server.said("create-new-history")) == 2
        assert server.connections == 1


async def test_the_server_learns_what_was_heard_of_a_cut_reply() -> None:
    async with OrphiqServer(fault="never ends") as server, mode(server) as orphiq:
        prompt = said("hello")
        async with aclosing(orphiq.respond(prompt)) as parts:
            await anext(parts)
        await orphiq.interrupted(prompt, "Hi there,")
        await server.until(lambda: bool(server.said("interrupt-signal")))
        assert server.said("interrupt-signal")[0]["text"] == "Hi there,"


async def test_without_an_address_it_says_which_setting_to_make() -> None:
    for url, words in (("", "not set"), ("http//x", "cannot be used")):
        orphiq = Orphiq(OrphiqOptions(url=url, body=Still("joy")))
        assert words in orphiq.problem
        assert "ORPHIQ_WEBSOCKET_URL" in orphiq.problem
        health = await orphiq.health()
        assert not health.is_available
        with pytest.raises(EngineUnavailableError, match="ORPHIQ_WEBSOCKET_URL"):
            await reply(orphiq, said("hello"))
        await orphiq.close()


async def test_a_probe_asks_the_server_and_says_who_is_there() -> None:
    async with OrphiqServer() as server, mode(server, connect_s=1.0) as orphiq:
        assert "mao_pro" in await orphiq.probe()
        await reply(orphiq, said("hello"))
        assert "mao_pro" in await orphiq.probe()
        await server.refuse()
        with pytest.raises(ProviderError) as failed:
            await orphiq.probe()
        assert failed.value.kind in ("unreachable", "server")


async def test_faces_and_motions_are_shown_here_and_forwarded_there() -> None:
    knows = frozenset({"expression-command", "motion-command"})
    async with OrphiqServer(knows=knows) as server, mode(server) as orphiq:
        await orphiq.trigger_expression(MIKA, ExpressionRequest("joy"))
        assert not server.heard, "nobody is connected yet: shown here alone"
        await reply(orphiq, said("hello"))
        await orphiq.trigger_expression(MIKA, ExpressionRequest("joy", duration_ms=500))
        await orphiq.trigger_motion(MIKA, MotionRequest(name="wave"))
        await server.until(lambda: bool(server.said("motion-command")))
        assert server.said("expression-command")[0]["duration"] == 500
        with pytest.raises(NotFoundError):
            await orphiq.trigger_expression(MIKA, ExpressionRequest("nope"))
        assert len(server.said("expression-command")) == 1
        assert (await orphiq.get_character_state(MIKA)).character_id == "mika"


async def test_commands_that_nobody_takes_do_not_pile_up() -> None:
    async with OrphiqServer() as server, mode(server) as orphiq:
        await reply(orphiq, said("hello"))
        for _ in range(3 * MOST_FORWARDED):
            await orphiq.trigger_expression(MIKA, ExpressionRequest("joy"))
        assert len(orphiq._tasks) == MOST_FORWARDED


async def test_text_on_demand_is_written_there_without_touching_a_memory() -> None:
    knows = frozenset({"text-generation-request"})
    async with OrphiqServer(knows=knows) as server, mode(server) as orphiq:
        prompt = said("gulls", "stage", "hi", "hello")
        async with aclosing(orphiq.generate_text(prompt)) as deltas:
            found = [delta async for delta in deltas]
        assert "".join(delta.text for delta in found) == "Written about gulls"
        assert isinstance(found[0], Delta)
        assert "orphiq" in found[0].by or "ws://" in found[0].by
        sent = server.said("text-generation-request")[0]
        assert [line["role"] for line in sent["context"]["history"]] == [
            "system",
            "user",
            "assistant",
        ]
        assert not server.said("create-new-history")
        assert not server.said("text-input")
