"""A polite stop in the middle of everything: in time, and nothing that was said or seen is lost."""

from __future__ import annotations

import asyncio
import contextlib
import sys
import time
from pathlib import Path

import httpx
import pytest
import websockets

from tests.integration.program import Program
from tests.integration.program_load import Client, Promises, check_kept, frame, hello, start
from tests.servers.llm import LlmServer
from tests.servers.thread import ServerThread

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="sends a POSIX signal")

CONVERSATIONS = 5
SOCKETS = 3
STOP_S = 5.0
REPLY = "One sentence is spoken. Another one is spoken too. " + "And this never ends, " * 400
FAST_ENOUGH_S = 0.05


class Watching:
    """A client that follows the stream to its end."""

    def __init__(self) -> None:
        self.promises = Promises()
        self.spoken: set[str] = set()
        self.changed = asyncio.Event()
        self.is_listening = asyncio.Event()

    async def follow(self, client: Client) -> None:
        async with client.socket() as socket:
            self.promises.epoch = (await hello(socket, 0, ""))["epoch"]
            self.is_listening.set()
            with contextlib.suppress(websockets.ConnectionClosed):
                while True:
                    for message in await frame(socket):
                        if message.get("seq") is not None:
                            self.promises.saw(message["seq"], message["id"])
                        if message.get("type") == "speech.ready":
                            self.spoken.add(message["turn_id"])
                            self.changed.set()


async def say(client: Client, conversation_id: str) -> dict[str, object] | None:
    """The reply; None when the program ended before there was one."""
    body = {"message": "Talk for ever.", "conversation_id": conversation_id}
    with contextlib.suppress(httpx.TransportError):
        answer = await client.http.post("/api/chat", json=body)
        if answer.is_success:
            reply: dict[str, object] = answer.json()
            return reply
    return None


@pytest.mark.slow
async def test_stopped_while_five_turns_run_it_ends_in_time_and_keeps_them(tmp_path: Path) -> None:
    model = LlmServer(reply=REPLY)
    model.token_s = FAST_ENOUGH_S
    data_dir = tmp_path / "data"
    with ServerThread(model):
        engines = {
            "LLM_PROVIDER": "openai_compatible",
            "OPENAI_COMPATIBLE_URL": f"{model.url}/v1",
            "OPENAI_COMPATIBLE_MODEL": "small-1",
        }
        with start(data_dir, engines) as program:
            watching, turns, answers = await stop_while_talking(program)
    assert len(turns) == CONVERSATIONS
    with start(data_dir) as program:
        async with Client(program) as client:
            for each in watching:
                await check_kept(client, each.promises)
            for turn_id in turns:
                turn = await client.json("GET", f"/api/turns/{turn_id}")
                assert turn["outcome"] == "interrupted"
                assert turn["message"] == "Talk for ever."
                assert REPLY.startswith(turn["reply"])
                assert turn["reply"].startswith("One sentence is spoken.")
                ends = await client.json(
                    "GET", "/api/events", params={"type": "turn.finished", "turn_id": turn_id}
                )
                assert [end["data"]["outcome"] for end in ends] == ["interrupted"]
            for answer in answers:
                if answer is not None:
                    found = await client.json("GET", f"/api/turns/{answer['turn_id']}")
                    assert found["reply"] == answer["reply"]
        assert program.stop()[0] == 0


async def stop_while_talking(
    program: Program,
) -> tuple[list[Watching], set[str], list[dict[str, object] | None]]:
    """Open sockets, begin turns, ask for the end; what the clients saw, the running turns, and the answers."""
    async with Client(program) as client:
        watching = [Watching() for _ in range(SOCKETS)]
        follow = [asyncio.create_task(each.follow(client)) for each in watching]
        for each in watching:
            await each.is_listening.wait()
        made = [
            (await client.json("POST", "/api/conversations", {}))["id"]
            for _ in range(CONVERSATIONS - 1)
        ]
        talk = [asyncio.create_task(say(client, one)) for one in ("stage", *made)]
        async with asyncio.timeout(15):
            while len(watching[0].spoken) < CONVERSATIONS:
                watching[0].changed.clear()
                await watching[0].changed.wait()
        begun_s = time.monotonic()
        code, _ = await asyncio.to_thread(program.stop)
        took_s = time.monotonic() - begun_s
        assert code == 0, program.said
        assert took_s < STOP_S
        sys.stdout.write(f"stopped in {took_s:.2f} s\n")
        await asyncio.gather(*follow)
        answers = await asyncio.gather(*talk)
    return watching, watching[0].spoken, list(answers)
