"""An hour of open microphone in ten minutes: does memory, do threads, handles or coroutines grow?

    python -m benchmarks.open_microphone [--minutes 10] [--seed 4] [--recogniser sphinx] [--trace]

Luma runs in a process of its own (main.py --headless) with a virtual microphone and a virtual speaker (PulseAudio), the shipped
voice detector, recogniser and voice. Ten minutes of the microphone and of five sockets that send sound beside it are an hour of
sound; what happens in an hour happens meanwhile: sentences of `benchmarks.endpointing` with pauses, two in a row and one word,
coughs, noise, silence, interrupting her, her own voice in the microphone, all microphones unplugged and back, muting, push-to-talk, gain and
guard, and sockets that come, listen, and go with and without a word. After each round everybody is silent, and what is counted
then has to be equal: threads, handles (files, pipes, sockets) and children of all its processes.

The first third warms up. Memory is what all processes have for themselves with no file behind it (Anonymous and Swap of smaps_rollup:
parts of libraries come and go with what other programs use of them), over the rests of the other two thirds: the median slope between all pairs of them (Theil-Sen), with the slope that chance alone gives (its 95 % interval). Targets: less than 1 MB
an hour beyond chance, 0 threads, 0 handles, 0 children, 0 coroutines. Exits with 1 when one is missed.

The page cache of the database is taken off: it is bounded (8 MB a connection) and fills with the rows of the first hours. SQLite says
how much it holds (a watch inside, see `watching/sitecustomize.py`, which also counts coroutines and objects). ``--trace`` says where
what has become more was made, which makes everything slower and costs memory itself.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import os
import random
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import psutil
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from backend.audio.levels import FloatArray, to_pcm16
from benchmarks.endpointing import (
    FINISHED,
    GOES_ON,
    HANGING,
    NOISES,
    SHORT,
    VOICES,
    WITH_PAUSE,
    cough,
    noise,
    say,
)
from tests.integration.program import Program
from tests.integration.virtual_sound import VirtualSound, missing

RATE_HZ = 16_000
ROUND_S = 50.0
SOCKETS = 5
SPOKEN = 0.12
"""How often somebody speaks into one: all of them together keep the recogniser no busier than the microphone does."""
LONG = " ".join(f"Now comes sentence number {n}, and it goes on for a while." for n in range(1, 7))
SAMPLE_EVERY_S = 10.0
REST_S = 60.0
"""Longest wait for everybody to be done after a round."""
STILL_S = 1.5
"""So long nothing has to happen before it counts as a rest."""
WANTED_MB = 1.0
MOST_LINES, LONGEST_LINE = 20, 1500
HOUR_S = 3600.0
WATCHING = Path(__file__).parent / "watching"

NEEDED = (
    "utterance.transcribed",
    "utterance.dropped",
    "turn.finished",
    "turn.interrupted",
    "listening.changed",
)
"""An hour in which none of one of these happened is no proof."""


# --- counting ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Sample:
    """What all processes of the program have at a moment.

    Attributes:
        at_s: Since the program listens.
        is_rest: Nobody says anything.
        own_mb: Memory of their own, with no file behind it.
        pss_mb: That, and their part of files and libraries.
        rss_mb: All their memory, what is shared counted again in each.
        main_mb: ``own_mb`` of the backend's process alone.
        children: Processes besides the backend's.
        pages_mb: What the backend's SQLite holds; 0 when it is not watched.
        tasks: Coroutines of the backend's loop; 0 when it is not watched.
        kinds: What they are, with their number.
    """

    at_s: float
    is_rest: bool
    own_mb: float
    pss_mb: float
    rss_mb: float
    main_mb: float
    threads: int
    handles: int
    children: int
    pages_mb: float = 0.0
    tasks: int = 0
    kinds: tuple[tuple[str, int], ...] = ()


def look(
    pid: int,
    at_s: float,
    *,
    is_rest: bool = False,
    pages_mb: float = 0.0,
    tasks: dict[str, int] | None = None,
) -> Sample:
    """Count now."""
    own = pss = rss = main = 0.0
    threads = handles = children = 0
    tasks = tasks or {}
    for process in _family(pid):
        try:
            memory = _memory_mb(process.pid)
            rss += process.memory_info().rss / 2**20
            threads += process.num_threads()
            handles += process.num_fds()
        except (psutil.Error, OSError):
            continue  # gone meanwhile
        pss += memory["Pss"]
        mine = memory["Anonymous"] + memory["Swap"]
        own += mine
        main = mine if process.pid == pid else main
        children += process.pid != pid
    return Sample(
        at_s, is_rest, own, pss, rss, main, threads, handles, children, pages_mb,
        sum(tasks.values()), tuple(sorted(tasks.items())),
    )  # fmt: skip


def _family(pid: int) -> list[psutil.Process]:
    process = psutil.Process(pid)
    return [process, *process.children(recursive=True)]


def _memory_mb(pid: int) -> dict[str, float]:
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]
    return {line.split(":")[0]: int(line.split()[1]) / 1024 for line in lines}


# --- judging ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether something grows.

    Attributes:
        growth_mb: In an hour of conversation.
        chance_mb: Half of the 95 % interval of that figure.
        ratio: Mean of the last third of the memory over the first one's.
        faults: What is missed, in words; empty = nothing grows.
    """

    growth_mb: float
    chance_mb: float
    ratio: float
    threads: int
    handles: int
    children: int
    tasks: int
    faults: tuple[str, ...]


def judge(samples: list[Sample], length_s: float, *, wanted_mb: float = WANTED_MB) -> Verdict:
    """Compare the rests after the first third.

    Args:
        samples: In the order of time, rests among them.
        length_s: Of everything; it stands for an hour.
        wanted_mb: Growth of memory in that time that is not to be reached beyond chance.
    """
    rests = [one for one in samples if one.is_rest and one.at_s > length_s / 3]
    growth, chance = slope(
        [one.at_s / length_s for one in rests], [one.own_mb - one.pages_mb for one in rests]
    )
    first = [one.own_mb - one.pages_mb for one in samples if one.at_s <= length_s / 3]
    last = [one.own_mb - one.pages_mb for one in samples if one.at_s > length_s * 2 / 3]
    middle = len(rests) // 2
    more = {
        name: max(getattr(one, name) for one in rests[middle:])
        - max(getattr(one, name) for one in rests[:middle])
        for name in ("threads", "handles", "children", "tasks")
    }
    faults = [f"{count} {name} more than before" for name, count in more.items() if count > 0]
    if growth - chance >= wanted_mb:
        faults.append(f"memory grows by {growth:.2f} ± {chance:.2f} MB an hour")
    return Verdict(
        growth,
        chance,
        statistics.fmean(last) / statistics.fmean(first),
        more["threads"],
        more["handles"],
        more["children"],
        more["tasks"],
        tuple(faults),
    )


def slope(times: list[float], values: list[float]) -> tuple[float, float]:
    """Theil-Sen slope, and half of its 95 % interval by Sen's rank method (Kendall's tau).

    Source: P. K. Sen, Estimates of the regression coefficient based on Kendall's tau, JASA 63 (1968).
    """
    slopes = sorted(
        (values[b] - values[a]) / (times[b] - times[a])
        for a, b in combinations(range(len(times)), 2)
    )
    count, pairs = len(times), len(slopes)
    spread = 1.96 * math.sqrt(count * (count - 1) * (2 * count + 5) / 18)
    low = max(0, round((pairs - spread) / 2))
    high = min(pairs - 1, round((pairs + spread) / 2))
    return statistics.median(slopes), (slopes[high] - slopes[low]) / 2


# --- what is heard ------------------------------------------------------------------------------------------------------


def _silence(seconds: float) -> FloatArray:
    return np.zeros(round(seconds * RATE_HZ), np.float32)


class Talk:
    """Sounds of an hour, by chance but the same for a seed."""

    def __init__(self, seed: int) -> None:
        self.dice = random.Random(seed)  # noqa: S311  a conversation, no secret
        self._rng = np.random.default_rng(seed)

    def sentence(self) -> bytes:
        """Something said, whole or with pauses, in a quiet or a noisy room."""
        voice, dice = self.dice.choice(VOICES), self.dice
        kind = dice.choice(("plain", "plain", "pause", "hanging", "two", "word", "noisy"))
        if kind in ("plain", "noisy"):
            sound = say(dice.choice(FINISHED), voice)
        elif kind == "word":
            sound = say(dice.choice(SHORT), voice)
        else:
            places = {"pause": (WITH_PAUSE, 0.3), "hanging": (HANGING, 0.7), "two": (GOES_ON, 0.4)}
            texts, pause_s = places[kind]
            first, second = dice.choice(texts)
            sound = np.concatenate([say(first, voice), _silence(pause_s), say(second, voice)])
        sound = np.concatenate([_silence(0.2), sound, _silence(0.8)])
        level_db = dice.choice((-55, -60, -70)) if kind != "noisy" else -38
        room = noise(dice.choice(NOISES), sound.size, self._rng) * np.float32(10 ** (level_db / 20))
        return to_pcm16(np.clip(sound + room, -1, 1).astype(np.float32))

    def disturbance(self) -> bytes:
        """A cough, or noise for a while."""
        if self.dice.random() < 0.6:
            return to_pcm16(np.concatenate([cough(self._rng), _silence(0.3)]))
        loud = noise(self.dice.choice(NOISES), round(1.5 * RATE_HZ), self._rng)
        return to_pcm16(np.clip(loud * np.float32(10 ** (-35 / 20)), -1, 1).astype(np.float32))

    def silence(self, seconds: float) -> bytes:
        """A room in which nobody says anything."""
        hum = noise("pink", round(seconds * RATE_HZ), self._rng) * np.float32(10 ** (-65 / 20))
        return to_pcm16(hum)


# --- the program and its clients ------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Luma:
    """The running program.

    Attributes:
        seen: Events by type, and by outcome for turns.
        last_s: When something last happened that is no level or status.
    """

    program: Program
    http: httpx.AsyncClient
    socket_url: str
    bearer: dict[str, str]
    watch_path: str = ""
    seen: Counter[str] = field(default_factory=Counter)
    last_s: float = 0.0
    is_speaking: asyncio.Event = field(default_factory=asyncio.Event)
    sound_s: float = 0.0

    def socket(self) -> connect:
        """A connection to the event stream."""
        return connect(
            self.socket_url,
            additional_headers=self.bearer,
            proxy=None,
            compression=None,
            max_size=None,
            close_timeout=1,
        )

    async def post(self, path: str, body: object) -> None:
        """One request; a refusal is part of the hour."""
        try:
            answer = await self.http.post(path, json=body)
        except httpx.TransportError:
            # The server may close a connection that was idle in the moment in which it is used again.
            assert self.program.process.poll() is None, self.program.said[-4000:]
            answer = await self.http.post(path, json=body)
        assert answer.status_code < 500, f"{path}: {answer.status_code} {answer.text}"
        self.seen[f"{answer.status_code} {path}"] += 1

    async def state(self) -> dict[str, Any]:
        """Of the microphone."""
        try:
            answer = await self.http.get("/api/listening")
        except httpx.TransportError:  # as in `post`
            answer = await self.http.get("/api/listening")
        found: dict[str, Any] = answer.json()
        return found

    async def follow(self) -> None:
        """Read all events, as a window does."""
        async with self.socket() as socket:
            await socket.send(json.dumps({"hello": {"since": None}}))
            async for frame in socket:
                found = json.loads(frame)
                for event in found if isinstance(found, list) else [found]:
                    self._note(event)

    def _note(self, event: dict[str, Any]) -> None:
        kind = event.get("type", "")
        self.seen[kind] += 1
        if kind in ("listening.level", "system.status", ""):
            return
        self.last_s = time.monotonic()
        if kind == "playback.started":
            self.is_speaking.set()
        elif kind == "playback.finished":
            self.is_speaking.clear()
        elif kind == "turn.finished":
            self.seen[f"turn.{event['data']['outcome']}"] += 1

    async def asked(self, word: str) -> Any:
        """What the watch inside answers."""
        reader, writer = await asyncio.open_unix_connection(self.watch_path, limit=2**26)
        writer.write(word.encode() + b"\n")
        try:
            return json.loads(await reader.readline())
        finally:
            writer.close()
            with suppress(OSError):  # the answer may still be on its way to nobody
                await writer.wait_closed()


def environment_for(
    folder: Path, sound: VirtualSound, *, watch: bool, **settings: str
) -> dict[str, str]:
    """Of a program that hears the virtual room and speaks in it."""
    found = {
        "LUMA_ENV_FILE": os.devnull,
        "API_PORT": "0",
        "API_REQUESTS_PER_MINUTE": "1000000",
        "AUDIO_SINK": "speaker",
        "OUTPUT_DEVICE": "stage",
        "STT_CHAIN": "sphinx",
        "LLM_PROVIDER": "echo",
        "LLM_FALLBACKS": "",
        "TTS_CHAIN": "embedded",
        "MODELS_DIR": str(folder / "models"),
        "PULSE_SERVER": sound.server,
        "ALSA_CONFIG_PATH": str(sound.alsa),
        **settings,
    }
    if watch:
        found |= {"PYTHONPATH": str(WATCHING), "WATCH_SOCKET": str(folder / "watch")}
    return found


@asynccontextmanager
async def running(folder: Path, environment: dict[str, str]) -> AsyncIterator[Luma]:
    """Luma, listening to the headset, and somebody who follows its events."""
    (folder / "data").mkdir(parents=True)
    with Program(folder / "data", "--headless", environment=environment) as program:
        url = await asyncio.to_thread(program.ready)
        token = (folder / "data" / "api_token").read_text().strip()
        bearer = {"Authorization": f"Bearer {token}"}
        async with httpx.AsyncClient(
            base_url=url, headers=bearer, timeout=30, trust_env=False
        ) as http:
            luma = Luma(
                program,
                http,
                url.replace("http://", "ws://") + "/ws",
                bearer,
                environment.get("WATCH_SOCKET", ""),
            )
            follower = asyncio.create_task(luma.follow())
            try:
                # Not in the environment: what is set there cannot be changed in the course of the hour.
                wanted = {"device": "headset", "mode": "open"}
                (await http.post("/api/audio/input", json=wanted)).raise_for_status()
                await until(lambda: _listens(luma), 60)
                yield luma
                assert not follower.done(), "the event stream broke off"
            finally:
                follower.cancel()
                with suppress(asyncio.CancelledError):
                    await follower
        await asyncio.to_thread(program.stop)


async def _listens(luma: Luma) -> bool:
    return bool((await luma.state())["state"] == "listening")


async def until(is_true: Callable[[], Awaitable[bool]], timeout_s: float) -> None:
    """Wait for something to become true.

    Raises:
        TimeoutError: It does not.
    """
    async with asyncio.timeout(timeout_s):
        while not await is_true():  # noqa: ASYNC110  it is asked over HTTP
            await asyncio.sleep(0.1)


# --- what happens -----------------------------------------------------------------------------------------------------


class Hour:
    """The people of the hour: somebody at the microphone, somebody at the switches, programs that send sound."""

    def __init__(self, luma: Luma, sound: VirtualSound, talk: Talk) -> None:
        self._luma = luma
        self._sound = sound
        self._talk = talk

    async def round(self, number: int, seconds: float) -> None:
        """Everything at once, then silence: returns when nobody says anything any more.

        Raises:
            AssertionError: It does not become still.
        """
        luma = self._luma
        end_s = time.monotonic() + seconds
        began_s = time.monotonic()
        with self._her_voice_comes_back(number % 3 == 2):
            async with asyncio.TaskGroup() as people:
                people.create_task(self.speak(end_s))
                people.create_task(self._switch(number, end_s))
                for which in range(SOCKETS):
                    people.create_task(self.send_sound(which, end_s))
        await luma.post(
            "/api/audio/input",
            {"device": "headset", "mode": "open", "muted": False, "gain_db": 0, "guard": "guard"},
        )
        await luma.post("/api/conversations/stage/interrupt", {})
        await self._rest()
        luma.sound_s += time.monotonic() - began_s

    async def _rest(self) -> None:
        luma = self._luma
        try:
            async with asyncio.timeout(REST_S):
                while (  # noqa: ASYNC110  it is asked over HTTP
                    time.monotonic() - luma.last_s < STILL_S
                    or (await luma.state())["state"] != "listening"
                ):
                    await asyncio.sleep(0.1)
        except TimeoutError:
            raise AssertionError(
                f"not at rest after {REST_S:g} s: {await luma.state()}\n{luma.program.said[-4000:]}"
            ) from None

    @contextmanager
    def _her_voice_comes_back(self, is_loud: bool) -> Iterator[None]:
        if not is_loud:
            yield
            return
        loop = self._sound.ask(
            "load-module", "module-loopback", "source=stage.monitor", "sink=room", "latency_msec=60"
        )
        try:
            yield
        finally:
            self._sound.ask("unload-module", loop.stdout.decode().strip())

    async def speak(self, end_s: float) -> None:
        """Somebody at the microphone, until that moment (monotonic)."""
        dice = self._talk.dice
        while (left_s := end_s - time.monotonic()) > 4:
            choice = dice.random()
            if choice < 0.2:
                await self._play(self._talk.disturbance())
            elif choice < 0.4:
                await self._interrupt(left_s)
            else:
                await self._play(self._talk.sentence())
            await asyncio.sleep(dice.uniform(0.3, 2.0))

    async def _interrupt(self, left_s: float) -> None:
        """Talk into a long answer."""
        self._luma.is_speaking.clear()
        await self._luma.post(
            "/api/ingest/chat",
            {"message": LONG, "author": "someone", "conversation_id": "stage"},
        )
        with suppress(TimeoutError):
            async with asyncio.timeout(min(4, left_s)):
                await self._luma.is_speaking.wait()
        await asyncio.sleep(self._talk.dice.uniform(0.2, 1.5))
        await self._play(
            self._talk.sentence() if self._talk.dice.random() < 0.7 else self._talk.disturbance()
        )

    async def _play(self, pcm: bytes) -> None:
        def play() -> None:
            with suppress(BrokenPipeError):  # unplugged
                self._sound.say(pcm, RATE_HZ).wait(20)

        await asyncio.to_thread(play)

    async def _switch(self, number: int, end_s: float) -> None:
        """One thing a round, so that the others are heard in between."""
        luma, dice = self._luma, self._talk.dice

        async def have(**wanted: object) -> None:
            await luma.post("/api/audio/input", wanted)

        async def wait(seconds: float) -> None:
            await asyncio.sleep(max(0.0, min(seconds, end_s - time.monotonic())))

        await wait(dice.uniform(1, 3))
        match number % 5:
            case 0:
                for _ in range(3):
                    await have(muted=True)
                    await wait(1.5)
                    await have(muted=False)
                    await wait(4)
            case 1:
                await have(mode="push_to_talk")
                for _ in range(3):
                    await luma.post("/api/listening/talk", {"down": True})
                    await wait(2.5)
                    await luma.post("/api/listening/talk", {"down": False})
                    await wait(1)
                await have(mode="open")
            case 2:
                await self._unplug()
            case 3:
                for _ in range(3):
                    await have(mode="off")
                    await wait(0.5)
                    await have(mode="open")
                    await wait(4)
            case 4:
                for guard in ("strict", "headphones", "guard"):
                    await have(guard=guard, gain_db=dice.choice((-6, 0, 6)))
                    await wait(3)

    async def _unplug(self) -> None:
        """The sound system's devices go, and come back."""
        await asyncio.to_thread(self._sound.kill)
        with suppress(TimeoutError):
            await until(self._has_a_problem, 8)
        self._luma.seen["unplugged"] += 1
        await asyncio.to_thread(self._plug_in)
        await until(lambda: _is_open(self._luma), 30)
        self._luma.seen["back"] += 1

    def _plug_in(self) -> None:
        self._sound.start()
        self._sound.ask(
            "load-module", "module-null-sink", "sink_name=room", "rate=48000", "channels=1",
            "format=s16le",
        )  # fmt: skip

    async def _has_a_problem(self) -> bool:
        return bool((await self._luma.state())["state"] == "problem")

    async def send_sound(self, which: int, end_s: float) -> None:
        """A program that connects, sends what it hears, and goes: politely, in the middle of a word, or without a word."""
        dice = random.Random(f"{which} {end_s}")  # noqa: S311  a conversation, no secret
        while time.monotonic() < end_s - 3:
            async with self._luma.socket() as socket:
                reader = asyncio.create_task(_drain(socket))
                await socket.send(json.dumps({"hello": {"since": None, "types": ["chat.*"]}}))
                with suppress(ConnectionClosed):
                    await self._say_something(socket, dice, end_s)
                reader.cancel()
                with suppress(asyncio.CancelledError):
                    await reader

    async def _say_something(
        self, socket: ClientConnection, dice: random.Random, end_s: float
    ) -> None:
        rate_hz = dice.choice((16_000, 16_000, 48_000))
        order = {"do": "listen", "id": "1", "rate_hz": rate_hz, "auto_end": dice.random() < 0.8}
        if dice.random() < 0.5:
            order["conversation_id"] = "stage"
        await socket.send(json.dumps(order))
        pcm = self._talk.silence(dice.uniform(4, 8))
        if dice.random() < SPOKEN:
            pcm += self._talk.sentence()
        pcm += self._talk.silence(dice.uniform(2, 6))
        step = 2 * (RATE_HZ // 20)
        began_s = time.monotonic()
        for sent, at in enumerate(range(0, len(pcm), step)):
            if time.monotonic() > end_s - 1:
                break
            piece = pcm[at : at + step]
            if rate_hz == 48_000:
                piece = np.repeat(np.frombuffer(piece, "<i2"), 3).tobytes()
            await socket.send(piece)
            self._luma.sound_s += len(pcm[at : at + step]) / 2 / RATE_HZ
            await asyncio.sleep(max(0.0, began_s + (sent + 1) / 20 - time.monotonic()))
        for word in dice.choice(((), ("listen_stop",), ("listen_end", "listen_stop"))):
            await socket.send(json.dumps({"do": word, "id": word}))
        await asyncio.sleep(dice.choice((0.0, 0.3)))


async def _drain(socket: ClientConnection) -> None:
    with suppress(ConnectionClosed):
        async for _ in socket:
            pass


async def _is_open(luma: Luma) -> bool:
    return (await luma.state())["state"] not in ("problem", "starting", "off")


# --- the run ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Result:
    """What was counted, and what happened meanwhile."""

    samples: list[Sample]
    length_s: float
    seen: Counter[str]
    sound_s: float
    grown: list[str]
    troubles: list[dict[str, Any]]


async def soak(
    folder: Path,
    sound: VirtualSound,
    minutes: float,
    *,
    round_s: float = ROUND_S,
    seed: int = 4,
    recogniser: str = "sphinx",
    watch: bool = False,
    trace: bool = False,
    tell: Callable[[Sample], None] = lambda sample: None,
) -> Result:
    """Let the hour pass.

    Args:
        folder: Empty, for the program's data.
        sound: With a room.
        minutes: As long as it takes.
        round_s: From rest to rest, at most.
        seed: Of everything that happens by chance.
        recogniser: Name of the engine that reads.
        watch: Whether to look inside the program as well.
        trace: Whether to ask there where objects were made, which slows everything down.
        tell: Called with each sample.
    """
    samples: list[Sample] = []
    grown: list[str] = []
    talk = Talk(seed)
    environment = environment_for(folder, sound, watch=watch, STT_CHAIN=recogniser)
    async with running(folder, environment) as luma:
        pid = luma.program.process.pid
        began_s = time.monotonic()

        async def take(*, is_rest: bool = False) -> None:
            tasks = await luma.asked("tasks") if watch else None
            at_s = time.monotonic() - began_s
            pages_mb = (await luma.asked("pages")) / 2**20 if watch else 0.0
            samples.append(
                await asyncio.to_thread(
                    look, pid, at_s, is_rest=is_rest, pages_mb=pages_mb, tasks=tasks
                )
            )
            tell(samples[-1])
            if watch and is_rest:
                heap = await luma.asked("heap")
                grown.append(f"{at_s:.0f} s: " + ", ".join(f"{name} {value:,.1f}" for name, value in heap.items()))  # fmt: skip

        async def take_all() -> None:
            while True:
                await asyncio.sleep(SAMPLE_EVERY_S)
                await take()

        if trace:
            await luma.asked("traced")
        hour = Hour(luma, sound, talk)
        before: dict[str, int] = {}
        number = 0
        length_s = minutes * 60
        while (left_s := length_s - (time.monotonic() - began_s)) > round_s / 2:
            taking = asyncio.create_task(take_all())
            try:
                await hour.round(number, min(round_s, left_s))
            finally:
                taking.cancel()
                with suppress(asyncio.CancelledError):
                    await taking
            await take(is_rest=True)
            number += 1
            if watch and not before and time.monotonic() - began_s > length_s / 3:
                before = await luma.asked("objects")
                if trace:
                    await luma.asked("traced")
        length_s = time.monotonic() - began_s
        if watch:
            after = await luma.asked("objects")
            more = {name: count - before.get(name, 0) for name, count in after.items()}
            grown += [f"{name} {count:+d}" for name, count in sorted(more.items(), key=lambda one: -one[1])[:25]]  # fmt: skip
            grown += await luma.asked("traced") if trace else []
            rests = [Counter(dict(one.kinds)) for one in samples if one.is_rest]
            grown += [f"{name} {count:+d} running" for name, count in (rests[-1] - rests[len(rests) // 3]).items()]  # fmt: skip
    lines = (folder / "logs" / "luma.jsonl").read_text().splitlines()
    troubles = [one for one in map(json.loads, lines) if one["level"] in ("WARNING", "ERROR")]
    return Result(samples, length_s, luma.seen, luma.sound_s, grown, troubles)


def row(sample: Sample) -> str:
    """A line of the table."""
    return (
        f"{sample.at_s:6.0f} {'rest' if sample.is_rest else '    '} {sample.own_mb:8.1f} {sample.main_mb:8.1f} {sample.pages_mb:8.1f} {sample.pss_mb:8.1f} {sample.rss_mb:8.1f}"
        f" {sample.threads:8d} {sample.handles:8d} {sample.children:9d} {sample.tasks:6d}"
    )


HEAD = (
    "   at s        own MB  main MB pages MB   PSS MB   RSS MB  threads  handles  children  tasks"
)


def main() -> int:
    """Run it; 1 when a target is missed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--seed", type=int, default=4)
    parser.add_argument(
        "--recogniser",
        default="sphinx",
        help='"script" where there is not a core for it: sphinx computes 15 minutes in an hour',
    )
    parser.add_argument("--trace", action="store_true", help="say where what grows is made (slow)")
    asked = parser.parse_args()
    if missing():
        print(f"not installed: {missing()}")
        return 2
    print(HEAD, flush=True)
    with VirtualSound() as sound, tempfile.TemporaryDirectory() as name:
        sound.add_room()
        result = asyncio.run(
            soak(
                Path(name),
                sound,
                asked.minutes,
                round_s=min(ROUND_S, asked.minutes * 60 / 9),
                seed=asked.seed,
                recogniser=asked.recogniser,
                watch=True,
                trace=asked.trace,
                tell=lambda sample: print(row(sample), flush=True),
            )
        )
    verdict = judge(result.samples, result.length_s)
    print("\n" + "\n".join(f"  {count:7,} {name}" for name, count in sorted(result.seen.items())))
    print("\n".join(result.grown))
    absent = [name for name in NEEDED if not result.seen[name]]
    print(
        f"\n{result.sound_s / 60:.0f} minutes of sound in {result.length_s / 60:.1f}; load {os.getloadavg()[1]:.1f}\n"
        f"memory {verdict.growth_mb:+.2f} MB an hour (chance ± {verdict.chance_mb:.2f}), last third / first third {verdict.ratio:.3f} x;"
        f" threads {verdict.threads:+d}, handles {verdict.handles:+d}, children {verdict.children:+d}"
        f", coroutines {verdict.tasks:+d}"
    )
    print(f"{len(result.troubles)} warnings and errors in the log")
    for line in result.troubles[-MOST_LINES:]:
        print(f"  {line['message'][:LONGEST_LINE]} {line.get('traceback', '')[-LONGEST_LINE:]}")
    faults = [*verdict.faults, *(f"there was no {name}" for name in absent)]
    print("missed: " + "; ".join(faults) if faults else "nothing grows")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
