"""Killed while recordings come in and clips are edited: nothing that was acknowledged is lost, nothing is doubled."""

from __future__ import annotations

import hashlib
import json
import os
import random
import sys
from pathlib import Path

import pytest

from tests.integration.kill_harness import kill_at_random, new_seed
from tests.integration.voice_data_child import SECONDS
from tests.voice_data import Studio, studio

CHILD = [sys.executable, "-m", "tests.integration.voice_data_child"]

pytestmark = [
    pytest.mark.skipif(sys.platform == "win32", reason="the cutter kills with signals"),
    pytest.mark.timeout(600),
]


async def check(folder: Path, promises: list[str]) -> dict[str, int]:
    """Open again, let jobs go on, and compare with what was promised; returns counts of what was."""
    async with studio(folder) as at:
        for job in await at.jobs.history("process"):
            if (run := at.jobs.running(job.id)) is not None and run.task is not None:
                await run.task
            # Also one whose trainer was found alive and then ended without a word: nothing is lost, and it goes on.
            if (await at.jobs.stored(job.id)).job.state == "interrupted":
                await at.jobs.resume(job.id)
                run = at.jobs.running(job.id)
                assert run is not None
                assert run.task is not None
                await run.task
        assert at.notices == []
        await compare(at, promises)
        await at.data.clips._write_manifest()
        await whole(at)
    return {
        kind: sum(line.startswith(f"{kind} ") for line in promises)
        for kind in ("upload", "job", "cut", "text", "sound", "back", "kept")
    }


async def compare(at: Studio, promises: list[str]) -> None:
    rows = {row.uid: row for row in await at.data.clips.of_speaker("ann")}
    cut: dict[str, int] = {}
    for row in rows.values():
        cut[row.upload_id] = cut.get(row.upload_id, 0) + 1
    texts: dict[str, str] = {}
    sounds: dict[str, str] = {}
    gone: set[str] = set()
    open_: str = ""
    for line in promises:
        kind, _, rest = line.partition(" ")
        name, _, value = rest.partition(" ")
        match kind:
            case "upload" | "cut":
                at.data.uploads.known(name)
            case "job":
                assert cut.get(value, 0) + (open_ in gone) >= SECONDS - 1, line
            case "try":
                open_ = name
            case "text":
                texts[name], open_ = value, ""
            case "sound":
                sounds[name], open_ = value, ""
            case "gone":
                gone.add(name)
            case "back":
                gone.discard(name)
                open_ = ""
            case "kept":
                open_ = ""
    assert all(count <= SECONDS for count in cut.values()), cut
    for uid, text in texts.items():
        if uid != open_:
            assert rows[uid].transcript == text
    for uid, sha256 in sounds.items():
        if uid != open_:
            assert rows[uid].sha256 == sha256
    assert not gone & rows.keys() - {open_}


async def whole(at: Studio) -> None:
    """Rows, files and the manifest say the same."""
    rows = {f"{row.uid}.wav": row for row in await at.data.clips.of_speaker("ann")}
    files = {
        name: hashlib.sha256(data).hexdigest()
        for name, data in at.sounds.items()
        if not name.endswith(".before.wav")
    }
    kept_for_undo = {f"{uid}.wav" for uid in at.data.clips._journal.uids}
    assert rows.keys() <= files.keys()
    assert files.keys() - rows.keys() <= kept_for_undo
    assert {name: row.sha256 for name, row in rows.items()} == {name: files[name] for name in rows}
    lines = (at.training / "clips" / "manifest.jsonl").read_text().splitlines()
    listed = {each["file"]: each["sha256"] for each in map(json.loads, lines)}
    assert listed == {name: row.sha256 for name, row in rows.items()}
    assert not (at.training / "aside").exists()


@pytest.mark.parametrize("times", [1, pytest.param(8, marks=pytest.mark.slow)])
async def test_a_kill_loses_no_recording_no_clip_and_no_edit(tmp_path: Path, times: int) -> None:
    seed = int(os.environ.get("LUMA_KILL_SEED", 0)) or new_seed()
    chance = random.Random(seed)
    folder = tmp_path / "data"
    total: dict[str, int] = {}
    promises: list[str] = []
    kills = 0
    # A kill before the first promise shows nothing: then, on a slow machine, there are some more.
    while kills < times or (kills < times + 8 and not has_shown(total, times)):
        kills += 1
        killed = kill_at_random(
            [*CHILD, str(folder), str(chance.randrange(10**6))],
            chance,
            shortest_s=0.3,
            longest_s=1.5,
        )
        assert killed.alive, killed.errors
        promises = [each for each in promises if each.startswith("upload")] + killed.promises
        counts = await check(folder, killed.promises)
        total = {kind: total.get(kind, 0) + counts[kind] for kind in counts}
    sys.stdout.write(f"{kills} kills, promises kept: {total}\n")
    async with studio(folder) as at:
        for line in promises:
            if line.startswith("upload "):
                at.data.uploads.known(line.split()[1])
    assert has_shown(total, times), total


def has_shown(total: dict[str, int], times: int) -> bool:
    """Whether there were promises to keep: about as many as kills, of each kind."""
    if not total:
        return False
    return total["cut"] >= times and total["text"] + total["sound"] + total["kept"] >= times
