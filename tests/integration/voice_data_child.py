"""Takes recordings in, cuts them and edits the clips for ever, and says what it has been promised; for tests that kill it.

``python -m tests.integration.voice_data_child FOLDER SEED``. Each line is something that must be true from then on; a line
that begins with "try" says of which clip it may or may not be true.
"""

from __future__ import annotations

import asyncio
import itertools
import random
import sys
from collections.abc import Callable
from pathlib import Path

from backend.training import processing
from backend.training.uploads import Label
from tests.voice_data import Studio, studio, tone

SECONDS = 4


def say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


async def main(folder: Path, seed: int) -> None:
    chance = random.Random(seed)
    processing._options = lambda phase, denoise: {
        "phase": phase,
        "denoise": denoise,
        "pause_s": 0.004,
    }
    async with studio(folder) as at:
        # Once undisturbed: the test's clock begins with the first line, on a busy computer too.
        said = await bring_in_one(at, chance, lambda line: None)
        say(said)
        async with asyncio.TaskGroup() as group:
            group.create_task(bring_in(at, chance))
            group.create_task(edit(at, chance))


async def bring_in(at: Studio, chance: random.Random) -> None:
    while True:
        say(await bring_in_one(at, chance, say))


async def bring_in_one(at: Studio, chance: random.Random, say: Callable[[str], None]) -> str:
    sound = tone(SECONDS, chance.uniform(100, 4000))
    upload = await at.upload(sound)
    say(f"upload {upload}")
    job = await at.data.processing.start([upload], Label(speaker="ann"), transcribe=False)
    say(f"job {job} {upload}")
    run = at.jobs.running(job)
    if run is not None and run.task is not None:
        await run.task
    return f"cut {upload}"


async def edit(at: Studio, chance: random.Random) -> None:
    clips = at.data.clips
    for n in itertools.count():
        rows = await clips.of_speaker("ann")
        if not rows:
            await asyncio.sleep(0.01)
            continue
        row = chance.choice(rows)
        assert row.id is not None
        say(f"try {row.uid}")
        match chance.randrange(5):
            case 0 | 1:
                await clips.change([row.id], transcript=f"text {n}")
                say(f"text {row.uid} text {n}")
            case 2:
                await clips.delete([row.id])
                say(f"gone {row.uid}")
                say(f"try {row.uid}")
                await clips.undo()
                say(f"back {row.uid}")
            case 3 if row.duration_s > 0.8:
                new = await clips.trim(row.id, 0.1, row.duration_s - 0.1)
                say(f"sound {row.uid} {new.sha256}")
            case _:
                await clips.change([row.id], status=chance.choice(["accepted", "rejected"]))
                say(f"kept {row.uid}")


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), int(sys.argv[2])))
