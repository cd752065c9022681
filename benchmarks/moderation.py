"""What moderation costs and what it finds: per message, per sentence and per turn, against the same turn without it.

Messages and sentences are the thousand harmless lines of the tests; blocked phrases are made and disguised by the tests'
generator, which shares no table with the filter, from a seed that is printed. Turns run with a model that has written its
reply already and a voice that costs nothing, so that what is compared is the path itself; with and without moderation take
turns. "Added" is what moderation adds to one sentence of a reply.

    python -m benchmarks.moderation [--turns 300] [--phrases 500] [--seed N]
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import tempfile
import time
from pathlib import Path
from random import Random, SystemRandom

from backend.chat.moderation.moderator import Moderator
from backend.chat.moderation.profile import Profile
from backend.chat.moderation.rules import Compiled
from backend.chat.trace import Trace
from backend.chat.turn import Answer, Request, TurnRunner
from backend.contracts.audience import Viewer
from backend.core.bus import EventBus
from backend.core.clock import monotonic_s
from backend.modes.mind import alone
from backend.outputs.none import NoSound
from backend.playback.player import Player
from backend.playback.sounds import SoundStore
from tests import disguises, harmless
from tests.fakes import Beeps, WritesText, character

REPLY_SENTENCES = 4
LONGEST_READ = 500
"""Characters that the profile "standard" reads of a message."""


def timed_us(work: list[str], run: object) -> list[float]:
    """Microseconds of ``run`` for each text."""
    assert callable(run)
    times = []
    for text in work:
        began = time.perf_counter()
        run(text)
        times.append((time.perf_counter() - began) * 1e6)
    return times


def in_words(times: list[float]) -> str:
    """Median and p99."""
    ordered = sorted(times)
    return f"p50 {statistics.median(ordered):8.1f} µs   p99 {ordered[int(len(ordered) * 0.99)]:8.1f} µs"


async def turns(folder: Path, count: int, lines: list[str]) -> tuple[list[float], list[float]]:
    """Milliseconds of turns without and with moderation, taking turns."""
    bus = EventBus()
    bus.bind(asyncio.get_running_loop())
    voice, sounds = (
        Beeps(seconds_per_char=0.0001),
        SoundStore(folder, max_bytes=10**9, max_age_days=1),
    )
    llm = WritesText([])
    moderator = Moderator(folder, bus)
    moderator.put(moderator.compiled("standard"))

    def runner(which: Moderator | None) -> TurnRunner:
        player = Player(bus, NoSound(), lambda cue, turn_id, conversation_id: None)
        return TurnRunner(bus, alone(lambda: llm), lambda: voice, sounds, player, moderator=which)

    took: dict[bool, list[float]] = {False: [], True: []}
    for n in range(count * 2):
        is_moderated = n % 2 == 1
        start = (n // 2 * REPLY_SENTENCES) % (len(lines) - REPLY_SENTENCES)
        llm.pieces = [
            f"{word} " for line in lines[start : start + REPLY_SENTENCES] for word in line.split()
        ]
        answer = Answer(Trace(monotonic_s()))
        request = Request(
            turn_id=f"{n:032x}", conversation_id="c", number=n, character=character(), text="hi",
            author="you", origin="api", speak=True, on_stage=False, received_s=answer.trace.received_s,
        )  # fmt: skip
        began = time.perf_counter()
        await runner(moderator if is_moderated else None).run(request, [], answer)
        took[is_moderated].append((time.perf_counter() - began) * 1000)
    await sounds.close()
    return took[False], took[True]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--turns", type=int, default=300)
    parser.add_argument("--phrases", type=int, default=500)
    parser.add_argument("--seed", type=int, default=SystemRandom().getrandbits(32))
    options = parser.parse_args()
    lines = harmless.lines()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        moderator = Moderator(folder)
        began = time.perf_counter()
        moderator.put(moderator.compiled("standard"))
        print(
            f"profile 'standard' read and made ready in {(time.perf_counter() - began) * 1000:.1f} ms"
        )
        viewers = iter(range(10**9))
        messages = timed_us(
            lines * 3,
            lambda text: moderator.check_in(
                text, Viewer(platform="t", id=str(next(viewers)), name="x")
            ),
        )
        print(f"a message               {in_words(messages)}")
        longest = timed_us(["b a d w @ r d ! " * (LONGEST_READ // 16)] * 30, moderator.check_in)
        print(f"the longest, hostile    {in_words(longest)}")
        release = [moderator.release()]

        def offer(text: str) -> None:
            if not release[0].offer(text).pieces:
                release[0] = moderator.release()

        print(f"a sentence of a reply   {in_words(timed_us(lines * 3, offer))}")
        plain, moderated = asyncio.run(turns(folder, options.turns, lines))
        before, after = statistics.median(plain), statistics.median(moderated)
        print(
            f"a turn of {REPLY_SENTENCES} sentences: {before:.3f} ms without, {after:.3f} ms with moderation:"
            f" {after / before:.2f} x; added to a sentence {(after - before) / REPLY_SENTENCES * 1000:.0f} µs"
        )
        for profile in ("relaxed", "standard", "family"):
            rules = Moderator(folder)
            rules.put(rules.compiled(profile))
            stopped = sum(
                rules.check_in(line, Viewer(platform="t", id=str(n), name="x")).action != "allow"
                or rules.check_out(line).action != "allow"
                for n, line in enumerate(lines)
            )
            held = sum(bool(rules.release().offer(line).held_tail) for line in lines)
            print(
                f"{profile:9} {stopped} of {len(lines)} harmless lines stopped; {held} ends would wait"
            )
        random = Random(options.seed)  # noqa: S311 - a seed that can be given again, no secret
        blocked = disguises.phrases(random, options.phrases)
        own = {"name": "own", "kind": "words", "words": blocked}
        rules = Moderator(folder)
        began = time.perf_counter()
        rules.put(Compiled(Profile.model_validate({"name": "t", "rules": [own]})))
        made_ms = (time.perf_counter() - began) * 1000
        missed = []
        for phrase in blocked:
            text, how = disguises.disguised(phrase, random)
            if rules.check_in(disguises.reply(text, random)).action == "allow":
                missed.append((phrase, text, how))
        print(
            f"{len(blocked)} phrases (made ready in {made_ms:.0f} ms), disguised with seed {options.seed}:"
            f" {len(blocked) - len(missed)} found, {len(missed)} missed {missed[:5]}"
        )


if __name__ == "__main__":
    main()
