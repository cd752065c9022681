"""A flood of viewers through the desk: does everybody get a disposition, a fair share, and does the loop stay free?

    python -m benchmarks.chat_queue [--rate 200] [--seconds 60] [--reply 2] [--seed 7]

First in real time: the desk, the chat and a database as the backend has them, with a model that takes as long for a reply as a spoken one
would; messages come at the given rate. The loop is called back every 5 ms and it is counted how late that is; the reference is the same
watch without messages. Then ten minutes at 50 messages a second through the queue alone, on a clock of its own: fairness (Jain's
index over answered and merged messages per viewer of the plain class) and waits.

Targets: a final disposition for every message, wait p95 at most 20 s, Jain at least 0.9, memory bounded. Exits with 1 when one is missed.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncGenerator, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import psutil
from sqlalchemy import func, select

from backend.chat.characters import Characters
from backend.chat.conversations import Chat
from backend.chat.desk import AudienceDesk
from backend.chat.queue import ChatQueue, Fate
from backend.chat.turn import TurnRunner
from backend.contracts.audience import FINAL, AudienceMessage, Viewer
from backend.contracts.events import AudienceWrote, ChatDisposition
from backend.core.bus import EventBus
from backend.engines.llm.base import Delta, Prompt
from backend.modes.mind import alone
from backend.outputs.none import NoSound
from backend.playback.player import Player
from backend.playback.sounds import SoundStore
from backend.storage.database import Database
from backend.storage.event_store import EventStore
from backend.storage.tables import audience_messages

PLAIN = 100
"""Viewers who are nothing special; how much they write differs by a factor of 25."""
OTHERS = (("subscriber", 12), ("vip", 3), ("moderator", 3))
WANTED_WAIT_S = 20.0
WANTED_JAIN = 0.9
WANTED_GROWTH_MB = 60.0
WATCH_S = 0.005
TOPICS = "cats dogs the weather your voice that game pizza anime music school space trains".split(
    " "
)
ASKED = (
    "what is your favourite {}?",
    "do you like {}",
    "tell us about {}!",
    "why do people love {}??",
)
WORDS = "so today i saw a big red thing near our house and then everybody laughed about how it looked like you know".split()


class Takes:
    """A model whose reply takes as long as a spoken one."""

    name = "takes"
    model = "time"

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    async def stream(self, prompt: Prompt) -> AsyncGenerator[Delta, None]:
        """One sentence, late."""
        await asyncio.sleep(self._seconds)
        yield Delta("That is what I think of it.")

    async def check(self) -> str:
        """Always there."""
        return "ready"

    async def close(self) -> None:
        """Nothing to close."""


class Crowd:
    """Seeded viewers and what they write."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)  # noqa: S311 (simulated viewers, nothing secret)
        self._count = 0
        plain = [Viewer(platform="sim", id=f"p{n}", name=f"plain{n}") for n in range(PLAIN)]
        special = [
            Viewer(platform="sim", id=f"{role}{n}", name=f"{role}{n}", role=role)
            for role, many in OTHERS
            for n in range(many)
        ]
        self.plain = [viewer.id for viewer in plain]
        self._viewers = [*plain, *special]
        self._weights = [1 / (1 + n) ** 0.7 for n in range(PLAIN)] + [0.15] * len(special)

    def next(self) -> AudienceMessage:
        """The next message."""
        chance = self._random
        self._count += 1
        viewer = chance.choices(self._viewers, self._weights)[0]
        if chance.random() < 0.3:
            text = chance.choice(ASKED).format(chance.choice(TOPICS))
        else:
            text = " ".join(chance.choices(WORDS, k=chance.randint(3, 12)))
        is_special = viewer.role != "viewer"
        return AudienceMessage(
            id=f"sim-{self._count}",
            platform="sim",
            viewer=viewer,
            text=text,
            at=datetime.now(UTC),
            bits=chance.choice((100, 500)) if is_special and chance.random() < 0.05 else 0,
            mentions_us=is_special and chance.random() < 0.1,
        )


def jain(counts: list[int]) -> float:
    """1 = all got the same; 1/n = one got everything."""
    squares = sum(one * one for one in counts)
    return sum(counts) ** 2 / (len(counts) * squares) if squares else 0.0


def percentile(values: list[float], share: float) -> float:
    """The value that this share does not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0


@dataclass
class Late:
    """How late the loop called back, and how long it computed meanwhile, in ms."""

    waited_ms: list[float]
    worked_ms: list[float]

    def __str__(self) -> str:
        return (
            f"p99 {percentile(self.waited_ms, 0.99):.1f} ms, most {max(self.waited_ms):.1f} ms;"
            f" computing itself p99 {percentile(self.worked_ms, 0.99):.1f} ms,"
            f" most {max(self.worked_ms):.1f} ms"
        )


async def lateness(seconds: float) -> Late:
    """Watch the loop; other programs make it late too, but only it makes its thread compute."""
    loop = asyncio.get_running_loop()
    late = Late([], [])
    end_s = loop.time() + seconds
    while (now_s := loop.time()) < end_s:
        worked_s = time.thread_time()
        await asyncio.sleep(WATCH_S)
        late.waited_ms.append((loop.time() - now_s - WATCH_S) * 1000)
        late.worked_ms.append((time.thread_time() - worked_s) * 1000)
    return late


async def flood(folder: Path, rate: float, seconds: float, reply_s: float, seed: int) -> list[str]:
    """In real time; gives what was missed."""
    process = psutil.Process()
    database = Database("", folder)
    await database.open()
    bus = EventBus()
    events = EventStore(database, bus)
    bus.bind(asyncio.get_running_loop(), persist=events.persist)
    running = asyncio.create_task(bus.run())
    characters = Characters(database, bus, folder / "avatars")
    await characters.open()
    sounds = SoundStore(folder / "turns", max_bytes=10**9, max_age_days=1)
    player = Player(bus, NoSound(), lambda cue, turn_id, conversation_id: None)
    model = Takes(reply_s)
    runner = TurnRunner(bus, alone(lambda: model), lambda: None, sounds, player)
    chat = Chat(bus=bus, database=database, characters=characters, runner=runner)
    await chat.start()
    desk = AudienceDesk(bus=bus, database=database, chat=chat, names=lambda: ("Luma",))
    await desk.open()

    came_s: dict[str, float] = {}
    last: dict[str, str] = {}
    waits_s: list[float] = []
    loop = asyncio.get_running_loop()
    wanted = AudienceWrote | ChatDisposition
    with bus.subscribe(limit=100_000, wanted=lambda event: isinstance(event, wanted)) as told:

        async def follow() -> None:
            async for event in told:
                if isinstance(event, AudienceWrote):
                    came_s[event.said.id] = loop.time()
                elif isinstance(event, ChatDisposition) and event.message_id in came_s:
                    if event.disposition == "answering" and last.get(event.message_id) == "queued":
                        waits_s.append(loop.time() - came_s[event.message_id])
                    last[event.message_id] = event.disposition

        following = asyncio.create_task(follow())
        idle = await lateness(min(5.0, seconds / 4))
        crowd = Crowd(seed)
        watching = asyncio.create_task(lateness(seconds))
        begun_s, sent, cpu_s = loop.time(), 0, time.process_time()
        memory_mb: list[float] = []
        while (passed_s := loop.time() - begun_s) < seconds:
            while sent < passed_s * rate:
                await desk.take(crowd.next())
                sent += 1
            if len(memory_mb) < passed_s:
                memory_mb.append(process.memory_info().rss / 2**20)
            await asyncio.sleep(1 / rate)
        late = await watching
        used = (time.process_time() - cpu_s) / seconds
        while desk.queue.has_any:  # noqa: ASYNC110 (seen from outside, as a window would)
            await asyncio.sleep(0.1)
        await desk.stored()
        await asyncio.sleep(0)
        following.cancel()
    rows = await database.read(
        lambda c: c.execute(
            select(audience_messages.c.disposition, func.count()).group_by(
                audience_messages.c.disposition
            )
        ).all()
    )
    await desk.close()
    await chat.stop()
    await sounds.close()
    running.cancel()
    await asyncio.gather(running, following, return_exceptions=True)
    await bus.flush()
    await database.close()

    kept = {name: count for name, count in rows}
    final = sum(count for name, count in kept.items() if name in FINAL)
    told_final = sum(name in FINAL for name in last.values())
    growth_mb = memory_mb[-1] - memory_mb[len(memory_mb) // 4]
    wait_s = percentile(waits_s, 0.95)
    say(f"{sent:,} messages in {seconds:g} s ({sent / seconds:.0f}/s), replies of {reply_s:g} s")
    say(f"  dispositions stored: {dict(sorted(kept.items()))}")
    say(f"  final: {final:,} stored, {told_final:,} told, of {sent:,} ({final / sent:.2%})")
    say(f"  wait of the answered: median {statistics.median(waits_s):.1f} s, p95 {wait_s:.1f} s")
    say(f"  loop late, idle:  {idle}")
    say(f"  loop late, flood: {late}")
    say(
        f"  processor {used:.0%} of a core; memory {memory_mb[0]:.0f} MB at first, {memory_mb[-1]:.0f} MB at last"
    )
    missed = []
    if final != sent or told_final != sent:
        missed.append("a final disposition for every message")
    if wait_s > WANTED_WAIT_S:
        missed.append("wait p95")
    if growth_mb > WANTED_GROWTH_MB:
        missed.append(f"memory grew by {growth_mb:.0f} MB")
    return missed


def share(rate: float, seconds: float, reply_s: float, seed: int) -> list[str]:
    """The queue alone on a clock of its own; gives what was missed."""
    crowd, queue = Crowd(seed), ChatQueue()
    whose: dict[str, str] = {}
    ends: Counter[str] = Counter()
    got: Counter[str] = Counter()
    wrote: Counter[str] = Counter()
    waits_s: list[float] = []
    free_s = 0.0

    def note(fates: list[Fate]) -> None:
        for fate in fates:
            if fate.disposition in FINAL:
                ends[fate.disposition] += 1
                if fate.disposition in ("answered", "merged"):
                    got[whose[fate.message_id]] += 1

    for said, now_s in moments(crowd, rate, seconds):
        note(queue.tick(now_s))
        if now_s >= free_s:
            note(queue.end("answered", now_s))
            if (taken := queue.take(now_s)) is not None:
                waits_s.append(taken.waited_s)
                free_s = now_s + reply_s
        whose[said.id] = said.viewer.id
        wrote[said.viewer.id] += 1
        queue.is_new(said.id)
        early = queue.admit(said, now_s)
        note([early] if early is not None else queue.offer(said, now_s))
    counts = [got[one] for one in crowd.plain]
    wait_s = percentile(waits_s, 0.95)
    say(f"{rate:g}/s for {seconds / 60:g} min on a clock of its own: {dict(sorted(ends.items()))}")
    writes = [wrote[one] for one in crowd.plain]
    say(f"  plain viewers wrote {min(writes)} to {max(writes)} messages each")
    say(f"  answered or merged: {min(counts)} to {max(counts)} each, Jain {jain(counts):.3f}")
    say(f"  what they wrote: Jain {jain(writes):.3f}; wait p95 {wait_s:.1f} s")
    missed = []
    if jain(counts) < WANTED_JAIN:
        missed.append("fairness")
    if wait_s > WANTED_WAIT_S:
        missed.append("wait p95 over ten minutes")
    return missed


def moments(crowd: Crowd, rate: float, seconds: float) -> Iterator[tuple[AudienceMessage, float]]:
    """Messages and when they come."""
    for n in range(int(rate * seconds)):
        yield crowd.next(), n / rate


def say(text: str) -> None:
    """One line of the result."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def main() -> int:
    """Run both and judge."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rate", type=float, default=200)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--reply", type=float, default=2)
    parser.add_argument("--seed", type=int, default=7)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        missed = asyncio.run(
            flood(Path(folder), asked.rate, asked.seconds, asked.reply, asked.seed)
        )
    missed += share(50, 600, asked.reply, asked.seed)
    say("missed: " + ", ".join(missed) if missed else "all targets met")
    return 1 if missed else 0


if __name__ == "__main__":
    raise SystemExit(main())
