"""Clients that keep a real program busy, write down what it acknowledged, and check later that it kept its word.

Acknowledged is what a client has seen: a reply, a number on the socket, a saved setting, a switched module, a character.
"""

from __future__ import annotations

import asyncio
import itertools
import random
import shutil
import sqlite3
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import orjson
import websockets
import yaml
from websockets.asyncio.client import ClientConnection, connect

from tests.integration.program import ROOT, Program

PAGE = 2000
PATIENCE_S = 15.0
WORDS = "the harbour lights are on tonight and nobody expected seven gulls to be on time".split()
MODULES = ("memory", "avatar")

# One goes to settings.yaml, one to the kept keys, neither is asked for while a turn runs.
NUMBER = "KEEP_EVENTS"
FIRST_NUMBER = 1_000_000
KEY = "STT_OPENAI_KEY"

ENGINES = {
    "LLM_PROVIDER": "echo",
    "LLM_FALLBACKS": "",
    "TTS_CHAIN": "embedded,tone",
    "STT_CHAIN": "script",
    "API_REQUESTS_PER_MINUTE": "1000000",
}


def start(
    data_dir: Path, environment: dict[str, str] | None = None, *, folder: Path = ROOT
) -> Program:
    """The program, headless, on a free port, with engines that need nothing."""
    return Program(
        data_dir,
        "--headless",
        "--port",
        "0",
        environment=ENGINES | (environment or {}),
        folder=folder,
        own_group=True,
    )


@dataclass(frozen=True, slots=True)
class Reply:
    """What the client was told of one turn."""

    message: str
    reply: str
    outcome: str
    sounds: tuple[str, ...]


@dataclass(slots=True)
class Ordered:
    """A value that only grows: what was asked for last, and what was acknowledged last."""

    asked: int = 0
    acknowledged: int = 0

    def holds(self, found: int) -> bool:
        """Whether the value can be what a program that keeps its word has."""
        return self.acknowledged <= found <= self.asked


@dataclass(slots=True)
class Promises:
    """All that one data folder has acknowledged, over every start of the program."""

    epoch: str = ""
    events: dict[int, str] = field(default_factory=dict)
    """Number -> id."""
    turns: dict[str, Reply] = field(default_factory=dict)
    characters: dict[str, str] = field(default_factory=dict)
    conversations: list[str] = field(default_factory=list)
    number: Ordered = field(default_factory=lambda: Ordered(0, 0))
    key: Ordered = field(default_factory=Ordered)
    modules: dict[str, Ordered] = field(
        default_factory=lambda: {name: Ordered() for name in MODULES}
    )
    unchecked: int = 0
    """Events up to this number were compared with the table before."""
    new_turns: set[str] = field(default_factory=set)

    @property
    def last_seq(self) -> int:
        """The newest number that was seen; 0 for none."""
        return max(self.events, default=0)

    def saw(self, seq: int, event_id: str) -> None:
        """Note an event that has a number."""
        assert self.events.setdefault(seq, event_id) == event_id, f"{seq} was told for two events"

    def counts(self) -> Counter[str]:
        """How many promises of each kind."""
        return Counter(
            events=len(self.events),
            turns=len(self.turns),
            characters=len(self.characters),
            settings=self.number.acknowledged + self.key.acknowledged,
            switches=sum(module.acknowledged for module in self.modules.values()),
        )


class Client:
    """Requests and sockets to one start of the program."""

    def __init__(self, program: Program) -> None:
        self.url = program.ready()
        token = (program.data_dir / "api_token").read_text().strip()
        self.bearer = {"Authorization": f"Bearer {token}"}
        self.http = httpx.AsyncClient(
            base_url=self.url, headers=self.bearer, timeout=PATIENCE_S, trust_env=False
        )

    async def __aenter__(self) -> Client:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.http.aclose()

    def socket(self) -> connect:
        """A connection of the event stream."""
        return connect(
            self.url.replace("http://", "ws://") + "/ws",
            additional_headers=self.bearer,
            proxy=None,
            compression=None,
            max_size=None,
            close_timeout=0.1,
        )

    async def json(self, method: str, path: str, body: object = None, **more: Any) -> Any:
        """The JSON of an answer that has to be a good one."""
        answer = await self.http.request(method, path, json=body, **more)
        assert answer.is_success, f"{method} {path}: {answer.status_code} {answer.text}"
        return answer.json()

    async def events_after(self, seq: int) -> list[tuple[int, str]]:
        """Every stored event with a higher number."""
        found: list[tuple[int, str]] = []
        while page := await self.json(
            "GET", "/api/events", params={"after": found[-1][0] if found else seq, "limit": PAGE}
        ):
            found += [(each["seq"], each["id"]) for each in page]
        return found


async def hello(socket: ClientConnection, since: int | None, epoch: str) -> dict[str, Any]:
    """Introduce a client that has seen everything up to ``since``; the server's answer."""
    said = {"since": since, "epoch": epoch or None}
    await socket.send(orjson.dumps({"hello": said}).decode())
    async with asyncio.timeout(PATIENCE_S):
        answer: dict[str, Any] = orjson.loads(await socket.recv())["hello"]
    return answer


async def frame(socket: ClientConnection) -> list[dict[str, Any]]:
    """The messages of the next frame."""
    async with asyncio.timeout(PATIENCE_S):
        found = orjson.loads(await socket.recv())
    return found if isinstance(found, list) else [found]


# --- load ---------------------------------------------------------------------------------------------------------


class Load:
    """People who talk, a script that saves settings and switches modules, and a window that follows it all.

    Args:
        client: To the running program.
        promises: Where to write down what was acknowledged.
        chance: Decides what they say and when.
    """

    def __init__(self, client: Client, promises: Promises, chance: random.Random) -> None:
        self._client = client
        self._promises = promises
        self._chance = chance
        self._numbers = itertools.count(1)
        self.is_over = False
        """Whether the program may be gone: from then on a broken connection is no fault."""

    async def run(self) -> None:
        """Go on until the program is gone."""
        for _ in range(2 - len(self._promises.conversations)):
            made = await self._client.json("POST", "/api/conversations", {})
            self._promises.conversations.append(made["id"])
        first, second = self._promises.conversations
        async with asyncio.TaskGroup() as people:
            for work in (
                self._follow(),
                self._talk({"conversation_id": "stage"}),
                self._talk({"conversation_id": first}),
                self._talk({"conversation_id": second, "stream": True}),
                self._talk({}, uid="anna"),
                self._talk({}, uid="berta"),
                self._repeat(self._interrupt),
                self._repeat(self._save),
                self._repeat(self._save_key),
                self._repeat(self._switch),
                self._repeat(self._invent),
            ):
                people.create_task(self._until_gone(work))

    async def _until_gone(self, work: Awaitable[None]) -> None:
        try:
            await work
        except (httpx.TransportError, websockets.ConnectionClosed, OSError):
            # Its end is noticed by the clients a moment before whoever killed it says so.
            for _ in range(100):
                if self.is_over:
                    return
                await asyncio.sleep(0.01)
            raise

    async def _repeat(self, work: Callable[[], Awaitable[None]]) -> None:
        while True:
            await work()
            await asyncio.sleep(self._chance.uniform(0, 0.02))

    async def _follow(self) -> None:
        promises = self._promises
        async with self._client.socket() as socket:
            since = promises.last_seq
            said = await hello(socket, since, promises.epoch)
            assert not promises.epoch or said["epoch"] == promises.epoch
            promises.epoch = said["epoch"]
            while True:
                for message in await frame(socket):
                    assert "reset" not in message, message
                    if message.get("seq") is not None:
                        assert message["seq"] == since + 1, "a gap or a duplicate on the socket"
                        since = message["seq"]
                        promises.saw(since, message["id"])

    async def _talk(self, body: dict[str, Any], uid: str = "") -> None:
        headers = {"X-Client-UID": uid} if uid else {}
        while True:
            words = " ".join(self._chance.choices(WORDS, k=self._chance.randrange(1, 30)))
            text = f"Message {next(self._numbers)}. {words}. Is that so?"
            whole = {"message": text, **body}
            if body.get("stream"):
                answer = await self._stream(whole)
            else:
                answer = await self._client.json("POST", "/api/chat", whole, headers=headers)
            self._promises.turns[answer["turn_id"]] = Reply(
                text,
                answer["reply"],
                answer["outcome"],
                tuple(sound["url"] for sound in answer["audio"]),
            )
            self._promises.new_turns.add(answer["turn_id"])

    async def _stream(self, body: dict[str, Any]) -> dict[str, Any]:
        """A reply as it is written; only its last event is a promise."""
        async with self._client.http.stream("POST", "/api/chat", json=body) as answer:
            assert answer.status_code == 200
            name = ""
            async for line in answer.aiter_lines():
                if line.startswith("event: "):
                    name = line.removeprefix("event: ")
                elif line.startswith("data: ") and name == "final":
                    final: dict[str, Any] = orjson.loads(line.removeprefix("data: "))
                    return final
        raise httpx.RemoteProtocolError("the stream ended before its final event")

    async def _interrupt(self) -> None:
        await asyncio.sleep(self._chance.uniform(0, 0.3))
        where = self._chance.choice(["stage", *self._promises.conversations])
        await self._client.json("POST", f"/api/conversations/{where}/interrupt", {})

    async def _save(self) -> None:
        value = self._promises.number
        value.asked += 1
        await self._config({NUMBER: FIRST_NUMBER + value.asked})
        value.acknowledged = value.asked

    async def _save_key(self) -> None:
        value = self._promises.key
        value.asked += 1
        await self._config({KEY: key_text(value.asked)})
        value.acknowledged = value.asked

    async def _config(self, values: dict[str, object]) -> None:
        saved = await self._client.json("POST", "/api/config", {"values": values})
        assert saved["changed"] == list(values)

    async def _switch(self) -> None:
        name = self._chance.choice(MODULES)
        value = self._promises.modules[name]
        value.asked += 1
        # Odd is off: every module used here is on at first.
        await self._client.json("POST", f"/api/modules/{name}", {"enabled": value.asked % 2 == 0})
        value.acknowledged = value.asked

    async def _invent(self) -> None:
        await asyncio.sleep(self._chance.uniform(0, 0.5))
        name = f"Invented {self._chance.randrange(10**9)}"
        made = await self._client.json("POST", "/api/characters", {"name": name})
        self._promises.characters[made["id"]] = name


def key_text(number: int) -> str:
    """A key, long so that half of one would be noticed."""
    return f"key-{number}-" + f"{number:04d}" * 200


# --- what has to be true afterwards --------------------------------------------------------------------------------


def check_files(data_dir: Path, promises: Promises, scratch: Path) -> None:
    """The files as the killed program left them: the database whole, the settings old or new, never half.

    Args:
        data_dir: Of the dead program; only read.
        promises: Made by it.
        scratch: A folder for a copy of the database: opening the original would heal it before the program can.
    """
    if (data_dir / "luma.db").exists():
        scratch.mkdir(parents=True, exist_ok=True)
        for file in data_dir.glob("luma.db*"):
            shutil.copy2(file, scratch)
        with closing(sqlite3.connect(scratch / "luma.db")) as look:
            assert look.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        shutil.rmtree(scratch)
    saved = data_dir / "settings.yaml"
    if promises.number.acknowledged or saved.exists():
        text = saved.read_text("utf-8")
        assert text.startswith("# Saved by Luma")
        assert text.endswith("\n")
        value = int(yaml.safe_load(text)[NUMBER.lower()])
        assert promises.number.holds(value - FIRST_NUMBER), (value, promises.number)
    kept = data_dir / "secrets.yaml"
    if promises.key.acknowledged or kept.exists():
        assert kept.stat().st_mode & 0o777 == 0o600
        key = yaml.safe_load(kept.read_text("utf-8"))["keys"][KEY.lower()]
        number = int(key.split("-")[1])
        assert key == key_text(number)
        assert promises.key.holds(number), (number, promises.key)


async def check_kept(client: Client, promises: Promises, *, everything: bool = False) -> int:
    """The program, started again, has all it had promised; returns how many promised sounds it does not have.

    Args:
        client: To the program.
        promises: Those of its data folder. What is found becomes the base of the next check.
        everything: Compare also what earlier checks have compared.
    """
    status = await client.json("GET", "/api/status")
    assert status["notices"] == []
    if not promises.epoch:
        promises.epoch = status["epoch"]
    assert status["epoch"] == promises.epoch
    await _check_events(client, promises, 0 if everything else promises.unchecked)
    await _check_resume(client, promises)
    missing = 0
    for turn_id in promises.turns if everything else promises.new_turns:
        told = promises.turns[turn_id]
        found = await client.json("GET", f"/api/turns/{turn_id}")
        assert (found["message"], found["reply"], found["outcome"]) == (
            told.message,
            told.reply,
            told.outcome,
        )
        for url in told.sounds if not everything else ():
            missing += (await client.http.get(url)).status_code != 200
    promises.new_turns.clear()
    known = {each["id"]: each["name"] for each in await client.json("GET", "/api/characters")}
    assert promises.characters.items() <= known.items()
    conversations = {each["id"] for each in await client.json("GET", "/api/conversations")}
    assert set(promises.conversations) <= conversations
    await _check_settings(client, promises)
    return missing


async def _check_events(client: Client, promises: Promises, after: int) -> None:
    stored = await client.events_after(after)
    seqs = [seq for seq, _ in stored]
    assert seqs == list(range(after + 1, after + 1 + len(seqs))), "a hole in the numbers"
    table = dict(stored)
    lost = {
        seq: event_id
        for seq, event_id in promises.events.items()
        if seq > after and table.get(seq) != event_id
    }
    assert not lost, (
        f"{len(lost)} events that a client saw are gone: {dict(list(lost.items())[:3])}"
    )


async def _check_resume(client: Client, promises: Promises) -> None:
    """A client that goes on after the last number it saw gets what is stored since, once, in order."""
    last = promises.last_seq
    async with client.socket() as socket:
        boundary = (await hello(socket, last, promises.epoch))["seq"]
        assert boundary >= last
        told: list[tuple[int, str]] = []
        while not told or told[-1][0] < boundary:
            if boundary == last:
                break
            for message in await frame(socket):
                assert "reset" not in message, message
                if message.get("seq") is not None:
                    told.append((message["seq"], message["id"]))
    assert [each for each in told if each[0] <= boundary] == [
        each for each in await client.events_after(last) if each[0] <= boundary
    ]
    for seq, event_id in told:
        promises.saw(seq, event_id)
    promises.unchecked = last


async def _check_settings(client: Client, promises: Promises) -> None:
    """What was saved is in effect; the values found are what later saves go on from."""
    config = {each["name"]: each for each in await client.json("GET", "/api/config")}
    if promises.number.asked and config[NUMBER]["value"] > FIRST_NUMBER:
        value = config[NUMBER]["value"] - FIRST_NUMBER
        assert promises.number.holds(value)
    else:
        assert not promises.number.acknowledged
    if promises.key.acknowledged:
        assert config[KEY]["value"], "the key is gone"
    modules = {each["name"]: each["enabled"] for each in await client.json("GET", "/api/modules")}
    for name, switched in promises.modules.items():
        possible = {number % 2 == 0 for number in range(switched.acknowledged, switched.asked + 1)}
        assert modules[name] in possible, f"{name} was switched back"
        # Agree on a number that fits what was found.
        if (switched.acknowledged % 2 == 0) != modules[name]:
            switched.acknowledged += 1
        switched.asked = switched.acknowledged
