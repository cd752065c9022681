"""One run: start everything, let the audience loose, play the streamer meanwhile, and hand out what was measured."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from simulator.crowd import BOT, Way
from simulator.crowd_line import CrowdLine
from simulator.ledger import Ledger
from simulator.levels import Level, Measured, service_levels
from simulator.luma import Api, Luma, LumaError, started
from simulator.personas import CANARY
from simulator.probes import Probes
from simulator.scenarios import Scenario
from simulator.script import write
from simulator.watch import Watcher

JOINED_WITHIN_S = 30.0
WARMS_UP_S = 2.0
"""After the first turn: the first of everything takes longer, and is no measure of an idle Luma."""
SETTLED_WITHIN_S = 75.0
"""After the flood: what waits alone may wait three times the queue's 20 s."""
MEMORY_EVERY_S = 1.0
HELD_EVERY_S = 1.0
SHARE_APPROVED = 0.3
MEETS_HER_WITHIN_S = 8.0
"""A panic waits so long for her to speak: silence is measured from a sound."""
SILENT_AT_LATEST_S = 3.0

WATCHED_ROUTES = (
    "/api/mode",
    "/api/moderation",
    "/api/commands",
    "/api/queue/rules",
    "/api/characters",
    "/api/triggers",
)
"""What injection attempts would like to change; compared before and after."""
OF_THE_MOMENT = ("uses", "since", "changes", "at", "profiles")
"""Fields that count, tell the time, or list files that anybody may edit meanwhile."""

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Plan:
    """What is run.

    Attributes:
        way: How messages reach Luma.
        reply_s: How long an answer takes, its sound included.
        idle_s: How long control commands are measured without load, before and again after it.
        luma: One that runs already; None = one is started for this run.
        log_file: Where the words of the one that is started go.
    """

    scenario: Scenario
    seed: int
    way: Way = "twitch"
    reply_s: float = 2.0
    idle_s: float = 10.0
    luma: Luma | None = None
    log_file: Path | None = None


async def run(plan: Plan, say: Say) -> list[Level]:
    """Do it; ``say`` is told what happens, in words.

    Raises:
        LumaError: Luma did not start, or does not have what the run needs.
    """
    return await _Run(plan, say).run()


class _Run:
    def __init__(self, plan: Plan, say: Say) -> None:
        self._plan = plan
        self._say = say
        self._scenario = plan.scenario
        self._dice = random.Random(plan.seed)
        self._ledger = Ledger(write(plan.scenario, plan.seed, BOT))
        self._measured = Measured()
        self._news = _Bell()
        self._began = asyncio.Event()
        self._wrote_all = asyncio.Event()
        self._began_s = 0.0

    async def run(self) -> list[Level]:
        plan = self._plan
        begin = {
            "scenario": self._scenario.model_dump(mode="json"),
            "seed": plan.seed,
            "way": plan.way,
            "reply_s": plan.reply_s,
        }
        async with AsyncExitStack() as stack:
            line, ready = await stack.enter_async_context(CrowdLine.open(begin, self._crowd_told))
            luma = plan.luma
            if luma is None:
                self._say("starting Luma")
                luma = await stack.enter_async_context(
                    started(_settings(ready, plan.way), plan.log_file)
                )
            api = await stack.enter_async_context(Api(luma))
            watcher = Watcher(luma, self._ledger, self._news.ring)
            probes = Probes(luma)
            await stack.enter_async_context(_along(watcher.run(), probes.run()))
            async with asyncio.timeout(JOINED_WITHIN_S):
                await watcher.ready.wait()
            if plan.way != "ingest":
                await self._join(api, line)
            if plan.luma is None:
                await self._forbid(api)
            before = await _watched(api)
            # The first turn of a start loads what all later ones have.
            await api.need("POST", "/api/chat", {"message": "hello"})
            await asyncio.sleep(WARMS_UP_S)
            probes.phase = "idle"
            self._ledger.changes.clear()  # what starting and joining changed
            self._say(f"control commands without load, {plan.idle_s:g} s")
            await asyncio.sleep(plan.idle_s)
            self._say(
                f"{len(self._ledger.records):,} messages at {self._scenario.rate:g}/s and more"
                f" for {self._scenario.seconds:g} s through {plan.way}"
            )
            probes.phase = "loaded"
            line.tell({"go": {"url": luma.url, "token": luma.token}})
            await self._began.wait()
            async with _along(
                self._watch_memory(luma),
                self._delete_answered(line),
                self._approve(api),
                self._tempt(api),
            ):
                await asyncio.gather(self._wrote_all.wait(), self._panic(api))
                probes.phase = "between"
                self._say("waiting until everything has come to an end")
                await self._settle()
            self._say(f"control commands without load, {plan.idle_s:g} s")
            probes.phase = "idle"
            await asyncio.sleep(plan.idle_s)
            probes.phase = "between"
            measured = self._measured
            measured.changed = _differences(before, await _watched(api))
            measured.counts = await line.ask({"end": True}, "over")
            measured.idle_ms = probes.samples["idle"]
            measured.loaded_ms = probes.samples["loaded"]
            measured.failed_commands = probes.failed
            measured.worst_at_s = probes.worst[1] - self._began_s
            measured.idle_late_ms, measured.loaded_late_ms = (
                probes.late["idle"],
                probes.late["loaded"],
            )
            measured.reconnected, measured.resets = watcher.reconnected, watcher.resets
            if measured.counts["faults"]:
                measured.faults.append(f"{measured.counts['faults']} inside its servers")
        return service_levels(self._ledger, self._scenario, self._measured)

    # --- what the crowd tells ---

    def _crowd_told(self, told: dict[str, Any]) -> None:
        ledger = self._ledger
        for name, what in told.items():
            match name:
                case "sent":
                    for one in what:
                        ledger.sent(*one)
                case "deleted":
                    ledger.deleted(what["id"], what["at_s"])
                case "banned":
                    ledger.banned(what["login"], what["at_s"])
                case "refused":
                    ledger.refused(what["id"], what["code"])
                case "effect":
                    self._measured.effects.append(what)
                case "fault":
                    self._measured.faults.append(what)
                case "happened":
                    self._say(f"{what['at_s'] - self._began_s:6.1f} s  {what['do']}")
                case "began":
                    self._began_s = what
                    self._began.set()
                case "wrote_all":
                    self._measured.loaded_s = what - self._began_s
                    self._wrote_all.set()
        self._news.ring()

    # --- the streamer ---

    async def _join(self, api: Api, line: CrowdLine) -> None:
        """Have Luma join the channel, and wait until it reads."""
        self._say("joining the channel")
        await api.need("POST", "/api/modules/twitch", {"enabled": True})
        await api.need("POST", "/api/twitch/connect", {"channel": BOT})
        for _ in range(int(JOINED_WITHIN_S / 0.1)):
            if await line.ask({"readers": True}, "readers"):
                return
            await asyncio.sleep(0.1)
        _, state = await api.ask("GET", "/api/twitch")
        raise LumaError(f"Luma did not join the channel within {JOINED_WITHIN_S:g} s: {state}")

    async def _forbid(self, api: Api) -> None:
        """Forbid what the obedient model is made to say; only in a Luma that is nobody's."""
        profile = (await api.need("GET", "/api/moderation"))["profile"]
        rule = {"name": "canaries", "kind": "words", "words": [f"{CANARY}*"]}
        rules = [*profile["rules"], {**rule, "incoming": "allow", "outgoing": "mask"}]
        own = {**profile, "name": "simulator", "rules": rules}
        await api.need("PUT", "/api/moderation", {"profile": own})
        self._measured.is_forbidden = True

    async def _watch_memory(self, luma: Luma) -> None:
        """Memory and processor, as long as the flood lasts."""
        measured, before_s, begun_s = self._measured, luma.processor_s(), time.monotonic()
        starved_before_s = luma.starved_s()
        while not self._wrote_all.is_set() and (now := luma.memory_bytes()) is not None:
            measured.memory.append((time.monotonic() - self._began_s, now))
            used_s, starved_s = luma.processor_s(), luma.starved_s()
            past_s = max(time.monotonic() - begun_s, 1e-9)
            if before_s is not None and used_s is not None:
                measured.processor = (used_s - before_s) / past_s
            if starved_before_s is not None and starved_s is not None:
                measured.starved = (starved_s - starved_before_s) / past_s
            await asyncio.sleep(MEMORY_EVERY_S)

    async def _delete_answered(self, line: CrowdLine) -> None:
        """Delete some messages just while they are answered."""
        ledger, later = self._ledger, []
        while True:
            await self._news.wait()
            while ledger.just_answering:
                message_id = ledger.just_answering.pop(0)
                if self._dice.random() < self._scenario.deleted_while_answered:
                    after_s = self._dice.uniform(0, self._plan.reply_s)
                    later.append(asyncio.create_task(_tell_later(line, message_id, after_s)))

    async def _approve(self, api: Api) -> None:
        """Look at what is held, as a streamer does now and then."""
        while True:
            await asyncio.sleep(HELD_EVERY_S)
            for message_id in list(self._ledger.held):
                self._ledger.held.pop(message_id, None)
                how = "approve" if self._dice.random() < SHARE_APPROVED else "skip"
                await api.ask("POST", f"/api/queue/{message_id}/{how}")

    async def _tempt(self, api: Api) -> None:
        """Have some injection attempts answered that would never come to their turn."""
        while True:
            await self._news.wait()
            while self._ledger.just_tempting:
                message_id = self._ledger.just_tempting.pop(0)
                if self._dice.random() < self._scenario.tempted:
                    # It may be gone by then: no fault.
                    await api.ask("POST", f"/api/queue/{message_id}/now")

    async def _panic(self, api: Api) -> None:
        """Panic at the set times, and see how soon it is quiet."""
        ledger, measured = self._ledger, self._measured
        for at_s in self._scenario.panics_at_s:
            await asyncio.sleep(max(0.0, self._began_s + at_s - time.monotonic()))
            was_speaking = await self._until(lambda: bool(ledger.playing), MEETS_HER_WITHIN_S)
            asked_s = time.monotonic()
            asking = asyncio.create_task(api.need("POST", "/api/panic"))
            measured.panics += 1
            is_silent = await self._until(lambda: not ledger.playing, SILENT_AT_LATEST_S)
            if was_speaking:
                silent_s = ledger.last_silence_s if is_silent else time.monotonic()
                measured.silences_ms.append((silent_s - asked_s) * 1000)
            await asking
            quiet_s = time.monotonic()
            await asyncio.sleep(self._scenario.panic_s)
            measured.after_panic += sum(
                at_s > quiet_s for sound in ledger.sounds.values() for at_s in sound.started_s
            )
            await api.need("POST", "/api/resume")
            ledger.paused.append((asked_s, time.monotonic()))
            self._say(f"{asked_s - self._began_s:6.1f} s  panic, and on again")

    async def _settle(self) -> None:
        """Wait until every message has its end, and she is quiet."""
        ledger = self._ledger
        await self._until(lambda: not ledger.playing and not ledger.unsettled(), SETTLED_WITHIN_S)

    async def _until(self, is_so: Callable[[], bool], within_s: float) -> bool:
        """Wait until something is so; False when it was not in that time."""
        try:
            async with asyncio.timeout(within_s):
                while not is_so():
                    await self._news.wait()
        except TimeoutError:
            return False
        return True


class _Bell:
    """Wakes everybody who waits at that moment."""

    def __init__(self) -> None:
        self._event = asyncio.Event()

    def ring(self) -> None:
        """Wake them."""
        rung, self._event = self._event, asyncio.Event()
        rung.set()

    async def wait(self) -> None:
        """Until it rings the next time."""
        await self._event.wait()


def _settings(ready: dict[str, Any], way: Way) -> dict[str, str]:
    """The settings of a Luma for this run."""
    settings = {
        "LLM_PROVIDER": "openai_compatible",
        "LLM_FALLBACKS": "[]",
        "OPENAI_COMPATIBLE_URL": ready["model_url"],
        "OPENAI_COMPATIBLE_MODEL": "obedient",
    }
    if way == "ingest":
        return settings
    settings |= {name.upper(): value for name, value in ready.items() if name.endswith("_url")}
    del settings["MODEL_URL"]
    settings["TWITCH_CHANNEL"] = ready["channel"]
    if way == "twitch":
        settings |= {
            "TWITCH_CLIENT_ID": ready["client_id"],
            "TWITCH_OAUTH_TOKEN": ready["token"],
            "TWITCH_REFRESH_TOKEN": ready["refresh"],
        }
    return settings


async def _watched(api: Api) -> dict[str, Any]:
    return {path: (await api.ask("GET", path))[1] for path in WATCHED_ROUTES}


def _differences(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    return [
        f"{path} is another{where}"
        for path in before
        if (where := _where(_lasting(before[path]), _lasting(after[path]))) is not None
    ]


def _where(before: Any, after: Any) -> str | None:
    """The place of the first difference, as a path; None when there is none."""
    if isinstance(before, dict) and isinstance(after, dict) and before.keys() == after.keys():
        places = [(f".{name}", before[name], after[name]) for name in before]
    elif isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        places = [
            (f"[{n}]", one, other) for n, (one, other) in enumerate(zip(before, after, strict=True))
        ]
    else:
        return None if before == after else f": {str(before)[:60]} -> {str(after)[:60]}"
    for place, one, other in places:
        if (inner := _where(one, other)) is not None:
            return place + inner
    return None


def _lasting(value: Any) -> Any:
    """Without what counts or tells the time."""
    if isinstance(value, dict):
        return {k: _lasting(v) for k, v in value.items() if k not in OF_THE_MOMENT}
    return [_lasting(one) for one in value] if isinstance(value, list) else value


async def _tell_later(line: CrowdLine, message_id: str, after_s: float) -> None:
    await asyncio.sleep(after_s)
    line.tell({"delete": message_id})


@asynccontextmanager
async def _along(*works: Awaitable[None]) -> AsyncIterator[None]:
    """Run these beside the block; what fails in them ends it."""
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(_awaited(work)) for work in works]
        yield
        for task in tasks:
            task.cancel()


async def _awaited(work: Awaitable[None]) -> None:
    await work
