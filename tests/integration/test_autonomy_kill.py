"""The program killed while she speaks unasked: what she did counts as done, and everything that was counted goes on."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.integration.program import Program
from tests.integration.program_load import start
from tests.servers.twitch import TwitchServer

pytestmark = [
    pytest.mark.skipif(sys.platform == "win32", reason="kills process groups"),
    pytest.mark.slow,
]

RAID = {
    "id": "raid",
    "when": {"kind": "viewer", "does": "raid"},
    "do": {"texts": ["Welcome {viewer}, it is so very good to see all of you here tonight!"]},
    "cooldown_s": 3600,
}
DAILY = {"name": "daily", "action": "expression", "value": "joy", "cooldown_s": 3600}


async def asked(program: Program, method: str, path: str, body: object = None) -> Any:
    status, content = await asyncio.to_thread(program.ask, method, path, body)
    assert status < 300, content
    return json.loads(content) if content else None


async def until(look: Callable[[], Any], what: str) -> Any:
    end_s = time.monotonic() + 20
    while not (found := await look()):
        assert time.monotonic() < end_s, f"it never happened: {what}"
        await asyncio.sleep(0.05)
    return found


async def joined(program: Program) -> None:
    async def is_joined() -> bool:
        state = await asked(program, "GET", "/api/twitch")
        return bool(state["channel"]["state"] == "joined")

    await until(is_joined, "joining")


async def became(program: Program, text: str) -> dict[str, Any]:
    """What became of the newest message with this text."""

    async def found() -> dict[str, Any] | None:
        rows = await asked(program, "GET", "/api/dispositions")
        return next((row for row in rows if row["text"] == text), None)

    return dict(await until(found, text))


async def test_killed_in_her_first_word_she_goes_on_where_she_was(tmp_path: Path) -> None:
    async with TwitchServer() as server:
        server.account("kira", "Kira")
        environment = {name.upper(): value for name, value in server.settings.items()}
        environment |= {
            "AUDIO_SINK": "overlay",  # in real time, also where nobody listens
            "TWITCH_CHANNEL": "kira",
            "MODULES_ON": "speak,memory,avatar,twitch,autonomy",
        }
        with start(tmp_path / "data", environment) as program:
            await asked(program, "PUT", "/api/triggers", {"triggers": [RAID]})
            await asked(program, "POST", "/api/commands", DAILY)
            await joined(program)
            await server.chat("ann", "!daily")
            await became(program, "!daily")
            await asyncio.sleep(1.5)  # uses of commands are stored within a second
            await server.raid("bob", viewers=50)

            async def speaks() -> bool:
                state = await asked(program, "GET", "/overlay/state")
                return state["playing"] is not None and state["playing"]["position_s"] > 0

            await until(speaks, "her first word")
            mood = (await asked(program, "GET", "/api/autonomy"))["mood"]
            program.process.send_signal(signal.SIGKILL)
            program.process.wait()
        with start(tmp_path / "data", environment) as program:
            await joined(program)
            state = await asked(program, "GET", "/api/autonomy")
            (row,) = state["triggers"]
            assert (row["readiness"], state["chat"]["messages"]) == ("resting", 1)
            assert state["mood"]["valence"] == pytest.approx(mood["valence"], abs=0.1)
            await server.chat("cleo", "!daily")
            await server.raid("dan", viewers=60)
            await server.chat("eve", "hello there")
            await became(program, "hello there")
            rows = await asked(program, "GET", "/api/dispositions")
            cleo = next(row for row in rows if row["author"].lower() == "cleo")
            assert "rests for" in cleo["reason"]
            told = await asked(program, "GET", "/api/events?type=autonomy.acted")
            assert told == []
