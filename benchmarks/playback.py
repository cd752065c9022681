"""What leaves the speaker: starving, gaps, interruptions, thinking ahead, and what turns cost the loop.

The shipped turn, player and speaker play on a PulseAudio of their own whose output is recorded; only the language model
and the voice are simulated, so that their times are known. Every figure is taken from the recorded samples:

- starving: 50 sentences by a voice that needs 0.5 s for a second of sound and never pauses; any silence between the
  first and the last sample is the player's. The reference is the same text without clauses (whole sentences only).
- gap: silence between sentences that are there in time, in samples.
- interruption: from `Chat.interrupt` to the last loud sample, and to the last moment in which the voice still worked.
- ducking: from `Player.duck` to the last sample louder than the ducked volume.
- thinking ahead: end of speech to first sample, with and without `Chat.prepare`, stage times as in issue and docs.
- loop: the longest steps of the event loop while five conversations talk at once.

    python -m benchmarks.playback [--rounds 30] [--sentences 50]
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import itertools
import math
import os
import random
import statistics
import sys
import tempfile
import time
from array import array
from asyncio import events
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

from backend.chat.characters import Characters
from backend.chat.conversations import Chat
from backend.chat.sentences import SentenceSplitter
from backend.chat.turn import Lead, TurnRunner
from backend.clients import portaudio
from backend.contracts.entities import STAGE, Audio, Speech, VoiceChoice
from backend.core.bus import EventBus
from backend.core.clock import monotonic_s
from backend.engines.llm.base import Delta, Prompt
from backend.modes.mind import alone
from backend.outputs import speaker as speaker_module
from backend.outputs.speaker import Speaker
from backend.playback.player import Player
from backend.playback.sounds import SoundStore
from backend.storage.database import Database
from tests.integration.virtual_sound import RATE_HZ, Recorder, VirtualSound, missing, silences

CHAR_S = 0.03
"""Twice as fast as people speak: the ratio of speaking to making is what counts, and 50 sentences take a minute less."""
PEAK = 12_000
DUCKED = 0.25

OPENERS = ("Well", "You know", "Honestly", "To be fair", "Now that I think of it", "Oh")
CLAUSES = (
    "I have been looking at the stars all night",
    "the kettle began to sing again",
    "nobody in the harbour seemed to mind",
    "there were at least 12 of them on the roof",
    "it took me quite a while to find the door",
    "the lamp went out twice",
    "somebody had painted it green",
    "I would rather have had some tea",
    "we walked along the shore",
)
JOINTS = (", and ", ", but ", " because ", ", so ", " while ")


def text_of(sentences: int, seed: int = 7) -> str:
    """A reply of so many sentences, from two words to thirty."""
    rng = random.Random(seed)  # noqa: S311 - a text, not a secret
    made = []
    for _ in range(sentences):
        count = rng.choice((1, 1, 2, 2, 3))
        body = rng.choice(CLAUSES)
        for _ in range(count - 1):
            body += rng.choice(JOINTS) + rng.choice(CLAUSES)
        if rng.random() < 0.3:
            body = f"{rng.choice(OPENERS)}, {body}"
        made.append(body[0].upper() + body[1:] + rng.choice((".", ".", "!", "?")))
    return " ".join(made)


@dataclass
class Writer:
    """Writes a text at a rate, after a wait."""

    text: str = ""
    tokens_per_s: float = 50.0
    first_s: float = 0.0
    name: str = "simulated"
    model: str = ""

    async def stream(self, prompt: Prompt) -> AsyncGenerator[Delta, None]:
        del prompt
        await asyncio.sleep(self.first_s)
        began_s = monotonic_s()
        for n, start in enumerate(range(0, len(self.text), 5)):
            wait_s = began_s + n / self.tokens_per_s - monotonic_s()
            if wait_s > 0:
                await asyncio.sleep(wait_s)
            yield Delta(self.text[start : start + 5])

    async def check(self) -> str:
        return "ready"

    async def close(self) -> None:
        return None


@dataclass
class Voice:
    """A hum that is as long as the text and never silent, made in a share of its length."""

    factor: float = 0.5
    least_s: float = 0.0
    worked_s: float = 0.0
    """Monotonic time at which it worked last."""
    running: int = 0
    calls: int = 0
    made: list[float] = field(default_factory=list)

    async def synthesize(self, text: str, voice: VoiceChoice) -> Speech:
        del voice
        length_s = len(text) * CHAR_S
        self.running += 1
        self.calls += 1
        try:
            await asyncio.sleep(max(self.least_s, length_s * self.factor))
        finally:
            self.running -= 1
            self.worked_s = monotonic_s()
        self.made.append(length_s)
        return Speech(Audio(_hum(length_s), RATE_HZ), "simulated", "hum")


_SECOND = array(
    "h", (round(PEAK * math.cos(2 * math.pi * 220.5 * i / RATE_HZ)) for i in range(RATE_HZ))
)


def _hum(length_s: float) -> bytes:
    # Whole periods of 100 samples: one sentence goes on where the one before ended, so a gap is the only silence.
    count = max(1, round(length_s * RATE_HZ / 100)) * 100
    return (_SECOND.tobytes() * (count // RATE_HZ + 1))[: 2 * count]


@dataclass
class House:
    """Chat, player and speaker as shipped."""

    bus: EventBus
    chat: Chat
    player: Player
    llm: Writer
    voice: Voice


@asynccontextmanager
async def house(folder: Path) -> Any:
    database = Database("", folder)
    await database.open()
    bus = EventBus()
    bus.bind(asyncio.get_running_loop())
    characters = Characters(database, bus, folder / "avatars")
    await characters.open()
    sounds = SoundStore(folder / "turns", max_bytes=1 << 30, max_age_days=1)
    speaker = Speaker()
    player = Player(bus, speaker, lambda *_: None)
    player.duck_volume = DUCKED
    llm, voice = Writer(), Voice()
    runner = TurnRunner(bus, alone(lambda: llm), lambda: voice, sounds, player)
    chat = Chat(bus=bus, database=database, characters=characters, runner=runner)
    await chat.start()
    try:
        yield House(bus, chat, player, llm, voice)
    finally:
        await chat.stop()
        await speaker.close()
        await sounds.close()
        await database.close()


async def until(is_true: Callable[[], object], timeout_s: float = 20.0) -> None:
    async with asyncio.timeout(timeout_s):
        while not is_true():  # noqa: ASYNC110 - what is waited for happens in the recorder's thread
            await asyncio.sleep(0.002)


async def quiet(recorder: Recorder, seconds: float = 0.15) -> None:
    await asyncio.to_thread(recorder.wait_for_silence, seconds)


@dataclass
class Starved:
    """Silence between the first and the last sample of a reply."""

    lacked_s: float
    """Handed to the device because no sentence was there."""
    stretches: int
    silences: list[int]
    """As recorded, in samples: what the device dropped on a busy machine included."""
    length_s: float
    pieces: int

    def __str__(self) -> str:
        return (
            f"{self.lacked_s * 1000:.0f} ms lacked in {self.stretches} places ({self.pieces} pieces, {self.length_s:.0f} s);"
            f" recorded silence {_in_samples(self.silences)}"
        )


@contextmanager
def lacking() -> Iterator[list[tuple[float, bool]]]:
    """Each piece handed to the device: when, and whether it was silence."""
    handed: list[tuple[float, bool]] = []
    silence, write = speaker_module._Line.silence, speaker_module._Line.write
    drain = speaker_module._Line.drain
    is_draining = False

    def silent(line: Any) -> None:
        if not is_draining:
            handed.append((time.monotonic(), True))
        silence(line)

    def drained(line: Any) -> None:
        # The device is opened anew because it stuttered: a gap, but no sentence is lacking.
        nonlocal is_draining
        is_draining = True
        drain(line)
        is_draining = False

    def loud(line: Any, pcm: Any) -> bool:
        handed.append((time.monotonic(), False))
        return write(line, pcm)

    with (
        mock.patch.object(speaker_module._Line, "silence", silent),
        mock.patch.object(speaker_module._Line, "write", loud),
        mock.patch.object(speaker_module._Line, "drain", drained),
    ):
        yield handed


async def starving(one: House, recorder: Recorder, text: str) -> Starved:
    """A long reply by a slow voice."""
    one.llm = _replace(one, Writer(text))
    one.voice.factor, one.voice.calls = 0.5, 0
    recorder.forget()
    with lacking() as handed:
        await (await one.chat.send("go", conversation_id=STAGE)).result()
        await quiet(recorder, 0.3)
    loud = [n for n, (_, is_silent) in enumerate(handed) if not is_silent]
    between = [is_silent for _, is_silent in handed[loud[0] : loud[-1]]]
    sound = recorder.sound
    return Starved(
        sum(between) * speaker_module.PIECE_S,
        sum(b and not a for a, b in itertools.pairwise(between)),
        list(silences(sound)),
        len(sound) / RATE_HZ,
        one.voice.calls,
    )


def _replace(one: House, llm: Writer) -> Writer:
    one.chat._runner.mind = alone(lambda: llm)
    return llm


@contextmanager
def whole_sentences() -> Iterator[None]:
    """Sentences as before: no clauses."""
    whole = partial(SentenceSplitter, first_clause_chars=10_000)
    with mock.patch("backend.chat.reply.SentenceSplitter", whole):
        yield


async def interruptions(one: House, recorder: Recorder, rounds: int) -> dict[str, list[float]]:
    rng = random.Random(3)  # noqa: S311 - places to interrupt at
    found: dict[str, list[float]] = {"silent": [], "told": [], "voice": []}
    _replace(one, Writer(text_of(12), tokens_per_s=200))
    one.voice.factor = 0.5
    for _ in range(rounds):
        recorder.forget()
        one.voice.worked_s = 0.0
        handle = await one.chat.send("go", conversation_id=STAGE)
        await until(lambda: recorder.last_loud_s > 0)
        await asyncio.sleep(rng.uniform(0.2, 2.0))
        asked_s = time.monotonic()
        await one.chat.interrupt(STAGE)
        found["told"].append(time.monotonic() - asked_s)
        calls = one.voice.calls
        await handle.result()
        await quiet(recorder)
        assert one.voice.calls == calls, "something was spoken after the interruption"
        assert not one.voice.running
        found["silent"].append(recorder.last_loud_s - asked_s)
        found["voice"].append(max(0.0, one.voice.worked_s - asked_s))
    return found


async def ducking(one: House, recorder: Recorder, rounds: int) -> list[float]:
    found = []
    _replace(one, Writer(text_of(12), tokens_per_s=200))
    for _ in range(rounds):
        recorder.forget()
        await one.chat.send("go", conversation_id=STAGE)
        await until(lambda: recorder.last_loud_s > 0)
        await asyncio.sleep(0.3)
        asked_s = time.monotonic()
        one.player.duck(True)
        await asyncio.sleep(0.2)
        found.append(recorder.last_louder_s(round(PEAK * DUCKED * 1.1)) - asked_s)
        await one.chat.interrupt(STAGE)
        await quiet(recorder)
    return found


async def thinking_ahead(
    one: House, recorder: Recorder, rounds: int
) -> tuple[list[float], list[float]]:
    """End of speech to first sample without and with it: the draft stands after 0.35 s, the message after 0.6."""
    found: tuple[list[float], list[float]] = ([], [])
    _replace(one, Writer("I think so too, my friend. Let us go.", first_s=0.3))
    one.voice.factor, one.voice.least_s = 0.1, 0.15
    for n in range(2 * rounds):
        is_ahead = n % 2 == 1
        recorder.forget()
        spoken_s = time.monotonic()
        await asyncio.sleep(0.35)
        prepared = await one.chat.prepare("shall we go") if is_ahead else None
        await asyncio.sleep(max(0.0, spoken_s + 0.6 - time.monotonic()))
        lead = (Lead("endpointing", "wait", "ASR_SILENCE_MS=600", time.monotonic()),)
        handle = await one.chat.send(
            "Shall we go?", conversation_id=STAGE, spoken_s=spoken_s, lead=lead, prepared=prepared
        )
        await until(lambda: recorder.last_loud_s > 0)
        first_s = next(at for at, piece in recorder.pieces if max(piece, default=0) > 64)
        found[is_ahead].append(first_s - spoken_s)
        turn = await handle.result()
        total = sum(span.duration_ms for span in turn.spans)
        assert abs(total - turn.total_ms) < 1
        await quiet(recorder)
        one.chat._lanes[STAGE].history.clear()
    one.voice.least_s = 0.0
    return found


@contextmanager
def steps() -> Iterator[list[tuple[float, str]]]:
    """How long each step of the loop takes."""
    taken: list[tuple[float, str]] = []
    run = events.Handle._run

    def timed(handle: Any) -> None:
        began_s = time.thread_time()
        run(handle)
        taken.append((time.thread_time() - began_s, repr(handle._callback)[:160]))

    with mock.patch.object(events.Handle, "_run", timed):
        yield taken


async def loop_steps(one: House) -> list[tuple[float, str]]:
    """CPU time of the loop's steps while five conversations talk, one of them on stage and thinking ahead."""
    _replace(one, Writer(text_of(8), tokens_per_s=80))
    one.voice.factor = 0.3
    others = [(await one.chat.create(title=f"{n}")).id for n in range(4)]
    gc.collect()
    gc.freeze()  # as the program does when it is ready
    with steps() as taken:
        for _ in range(3):
            prepared = await one.chat.prepare("go")
            handles = [
                await one.chat.send("go", conversation_id=where, prepared=ahead)
                for where, ahead in [(STAGE, prepared), *((other, None) for other in others)]
            ]
            await asyncio.sleep(2.5)
            one.player.duck(True)
            one.player.sounding()
            await asyncio.sleep(0.5)
            for where in (STAGE, *others):
                await one.chat.interrupt(where)
            for handle in handles:
                await handle.result()
    return taken


def spread(times_s: list[float]) -> str:
    ordered = sorted(times_s)
    p95 = ordered[min(len(ordered) - 1, math.ceil(0.95 * len(ordered)) - 1)]
    return (
        f"p50 {statistics.median(ordered) * 1000:.0f} ms, p95 {p95 * 1000:.0f} ms,"
        f" worst {ordered[-1] * 1000:.0f} ms of {len(ordered)}"
    )


def _in_samples(found: list[int]) -> str:
    return f"{sum(found) / RATE_HZ * 1000:.0f} ms in {len(found)} silences, longest {max(found, default=0)} samples"


async def run(rounds: int, sentences: int) -> None:
    with tempfile.TemporaryDirectory() as folder, VirtualSound() as sound:
        # PortAudio reads them when it is loaded.
        os.environ.update(  # noqa: TID251 - not a setting of ours
            PULSE_SERVER=sound.server, ALSA_CONFIG_PATH=str(sound.alsa)
        )
        portaudio.refresh()
        async with house(Path(folder)) as one:
            with sound.recorder() as recorder:
                await until(lambda: recorder.pieces)
                await measure(one, recorder, rounds, sentences)


async def measure(one: House, recorder: Recorder, rounds: int, sentences: int) -> None:
    text = text_of(sentences)
    say(f"starving, RTF 0.5, {sentences} sentences", str(await starving(one, recorder, text)))
    with whole_sentences():
        say("  whole sentences for comparison", str(await starving(one, recorder, text)))
    one.voice.factor = 0.05
    _replace(one, Writer(text_of(12), tokens_per_s=1000))
    recorder.forget()
    await (await one.chat.send("go", conversation_id=STAGE)).result()
    await quiet(recorder, 0.3)
    say("gap between sentences that are there in time", _in_samples(list(silences(recorder.sound))))
    times = await interruptions(one, recorder, rounds)
    say("interruption to silence at the speaker", spread(times["silent"]))
    say("interruption to the turn's end", spread(times["told"]))
    say("interruption to the voice's last work", spread(times["voice"]))
    say("ducking to the ducked volume", spread(await ducking(one, recorder, max(5, rounds // 3))))
    without, ahead = await thinking_ahead(one, recorder, max(5, rounds // 3))
    say("end of speech to first sample", spread(without))
    say("  thinking ahead", spread(ahead))
    gain = statistics.median(without) - statistics.median(ahead)
    say("  gain", f"{gain * 1000:.0f} ms")
    taken = sorted(await loop_steps(one), reverse=True)
    say(f"longest of {len(taken):,} steps of the loop, five turns", f"{taken[0][0] * 1000:.1f} ms")
    for cost_s, what in itertools.islice(taken, 3):
        say(f"  {cost_s * 1000:.1f} ms", what)


def say(what: str, found: str) -> None:
    """One line of the report."""
    sys.stdout.write(f"{what}: {found}\n")
    sys.stdout.flush()


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--sentences", type=int, default=50)
    options = parser.parse_args()
    if lacking := missing():
        sys.exit(f"This needs a sound server of its own; not installed: {lacking}.")
    asyncio.run(run(options.rounds, options.sentences))


if __name__ == "__main__":
    main()
