"""The audience at work: Twitch on this machine, the model, and everybody who writes, in a process of its own.

A process of its own, so that what is measured beside it is Luma and not the flood's own work. It is told what to do in lines of
JSON on stdin and tells what it did in lines of JSON on stdout; `simulator.crowd_line` is the other end.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import itertools
import sys
import time
from typing import Any, Literal

import httpx
import orjson

from simulator.model import Model
from simulator.personas import Person
from simulator.scenarios import Happening, Scenario
from simulator.script import Line, Script, write
from tests.servers.twitch import PUBLIC_CLIENT, TwitchServer

Way = Literal["twitch", "irc", "ingest"]

BOT = "kira"
TELL_EVERY_S = 0.1
POSTS_AT_ONCE = 32


class Crowd:
    """Everything outside of Luma.

    Args:
        scenario: What happens.
        seed: Decides what is left open.
        way: How messages reach Luma.
        reply_s: How long the model's answers take, sound included.
    """

    def __init__(self, scenario: Scenario, seed: int, way: Way, reply_s: float) -> None:
        self._script: Script = write(scenario, seed, BOT)
        self._way = way
        self._twitch = TwitchServer()
        self._model = Model(
            seed=seed,
            reply_s=reply_s,
            texts={
                line.person.canary: line.text for line in self._script.lines if line.person.canary
            },
            tell=lambda effect: _tell({"effect": effect}),
        )
        self._sent: list[tuple[str, float, bool]] = []
        self._by: dict[str, Person] = {line.id: line.person for line in self._script.lines}
        self._tasks: set[asyncio.Task[None]] = set()
        self._posts = asyncio.Semaphore(POSTS_AT_ONCE)
        self._luma: httpx.AsyncClient | None = None

    async def run(self) -> None:
        """Serve until stdin ends or says so."""
        self._twitch.account(BOT)
        for person in {line.person for line in self._script.lines}:
            self._twitch.account(person.login, person.name)
        access, refresh = self._twitch.log_in(BOT)
        async with self._twitch, self._model:
            _tell(
                {
                    "ready": {
                        **self._twitch.settings,
                        "client_id": PUBLIC_CLIENT,
                        "token": access,
                        "refresh": refresh,
                        "channel": BOT,
                        "model_url": f"{self._model.url}/v1",
                        "lines": len(self._script.lines),
                    }
                }
            )
            # Nothing made from here on is worth looking through again and again.
            gc.collect()
            gc.freeze()
            try:
                async for order in _orders():
                    if "end" in order:
                        break
                    await self._obey(order)
            finally:
                for task in list(self._tasks):
                    task.cancel()
                await asyncio.gather(*self._tasks, return_exceptions=True)
                if self._luma is not None:
                    await self._luma.aclose()
            _tell({"over": self._counts()})

    async def _obey(self, order: dict[str, Any]) -> None:
        if "go" in order:
            if self._way == "ingest":
                self._luma = httpx.AsyncClient(
                    base_url=order["go"]["url"],
                    headers={"Authorization": f"Bearer {order['go']['token']}"},
                    timeout=30,
                    trust_env=False,
                )
            self._spawn(self._perform())
            self._spawn(self._report())
        elif "delete" in order:
            await self._delete(str(order["delete"]))
        elif "readers" in order:
            _tell({"readers": self._readers()})

    def _readers(self) -> int:
        if self._way == "irc":
            return sum(1 for channel in self._twitch.listeners.values() if channel == BOT)
        return len(self._twitch.reading())

    def _counts(self) -> dict[str, int]:
        return {
            "asked": self._model.asked,
            "obeyed": self._model.obeyed,
            "written_back": len(self._twitch.sent),
            "connections": self._twitch.connections,
            "most_at_once": self._twitch.most_at_once,
            "faults": len(self._twitch.errors) + len(self._model.errors),
        }

    async def _perform(self) -> None:
        begun_s = time.monotonic()
        todo: list[tuple[float, int, Line | tuple[Happening, Person]]] = []
        order = itertools.count()
        todo += [(line.at_s, next(order), line) for line in self._script.lines]
        if self._way != "ingest":
            todo += [(one.at_s, next(order), (one, who)) for one, who in self._script.happenings]
        todo.sort(key=lambda item: item[:2])
        _tell({"began": begun_s})
        for at_s, _, what in todo:
            if (wait_s := begun_s + at_s - time.monotonic()) > 0:
                await asyncio.sleep(wait_s)
            if isinstance(what, Line):
                await self._write(what)
            else:
                await self._happen(*what)
        _tell({"wrote_all": time.monotonic()})

    async def _write(self, line: Line) -> None:
        if self._way == "ingest":
            self._spawn(self._post(line))
            return
        # What nobody subscribed to at that moment is lost on Twitch too; a message that comes twice is not.
        is_heard = self._readers() > 0
        sent_s = time.monotonic()
        for copy in range(1 + line.copies):
            # Half of the copies carry the same delivery id, half another one: both happen.
            self._twitch.duplicates = int(copy == 0 and line.copies > 0 and line.bits % 2 == 0)
            await self._twitch.chat(
                line.person.login,
                line.text,
                channel=BOT,
                badges=line.person.badges,
                bits=line.bits,
                emotes=line.emotes,
                mentions=(BOT,) if line.mentions_us else (),
                is_first=line.is_first,
                message_id=line.id,
                name=line.person.name,
            )
        self._twitch.duplicates = 0
        self._sent.append((line.id, sent_s, is_heard))
        if line.deleted_after_s is not None:
            self._spawn(self._delete_later(line.id, line.deleted_after_s))

    async def _post(self, line: Line) -> None:
        person = line.person
        body = {
            "message": line.text,
            "message_id": line.id,
            "author": person.name,
            "author_id": person.login,
            "platform": "twitch",
            "role": person.badges[0].partition("/")[0] if person.badges else "viewer",
            "is_first": line.is_first,
            "bits": line.bits,
            "mentions_us": line.mentions_us,
        }
        async with self._posts:
            sent_s = time.monotonic()
            # Told before it is answered: what becomes of it may be told before that, too.
            self._sent.append((line.id, sent_s, True))
            for _ in range(1 + line.copies):
                status, said = await self._ask("/api/ingest/chat", body)
                if not 200 <= status < 300:
                    self._report_now()
                    _tell({"refused": {"id": line.id, "code": f"{status} {said.get('code', '')}"}})
        if line.deleted_after_s is not None:
            self._spawn(self._delete_later(line.id, line.deleted_after_s))

    async def _ask(self, path: str, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        assert self._luma is not None
        try:
            answer = await self._luma.post(path, json=body)
            return answer.status_code, orjson.loads(answer.content)
        except (httpx.HTTPError, orjson.JSONDecodeError) as error:
            _tell({"fault": f"POST {path}: {error!r}"})
            return 0, {}

    async def _delete_later(self, message_id: str, after_s: float) -> None:
        await asyncio.sleep(after_s)
        await self._delete(message_id)

    async def _delete(self, message_id: str) -> None:
        if self._way == "ingest":
            await self._ask("/api/queue/delete", {"message_id": message_id})
            _tell({"deleted": {"id": message_id, "at_s": time.monotonic()}})
            return
        is_heard = self._readers() > 0
        await self._twitch.delete(message_id, self._by[message_id].login, channel=BOT)
        if is_heard:
            _tell({"deleted": {"id": message_id, "at_s": time.monotonic()}})

    async def _happen(self, one: Happening, who: Person) -> None:
        twitch, login = self._twitch, who.login
        match one.do:
            case "raid":
                await twitch.raid(login, viewers=one.amount, channel=BOT)
            case "follow":
                await twitch.follow(login, channel=BOT)
            case "subscribe":
                await twitch.subscribe(login, months=one.amount, channel=BOT)
            case "gift":
                await twitch.gift(login, count=one.amount, channel=BOT)
            case "redeem":
                await twitch.redeem(login, "Hydrate", channel=BOT)
            case "drop":
                await twitch.drop()
            case "reconnect":
                await twitch.reconnect()
            case "ban":
                is_heard = self._readers() > 0
                await twitch.ban(login, channel=BOT)
                if is_heard:
                    _tell({"banned": {"login": login, "at_s": time.monotonic()}})
        _tell({"happened": {"do": one.do, "at_s": time.monotonic()}})

    async def _report(self) -> None:
        while True:
            await asyncio.sleep(TELL_EVERY_S)
            self._report_now()

    def _report_now(self) -> None:
        if self._sent:
            sent, self._sent = self._sent, []
            _tell({"sent": sent})

    def _spawn(self, work: Any) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            _tell({"fault": repr(error)})


def _tell(what: dict[str, Any]) -> None:
    sys.stdout.buffer.write(orjson.dumps(what) + b"\n")
    sys.stdout.buffer.flush()


async def _orders() -> Any:
    """What stdin says, line by line, until its end."""
    loop = asyncio.get_running_loop()
    while line := await loop.run_in_executor(None, sys.stdin.buffer.readline):
        yield orjson.loads(line)


async def _main() -> None:
    orders = _orders()
    begin = (await anext(orders))["begin"]
    await Crowd(
        Scenario.model_validate(begin["scenario"]), begin["seed"], begin["way"], begin["reply_s"]
    ).run()


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt, BrokenPipeError):
        asyncio.run(_main())
