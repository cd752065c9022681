"""A full disk: the talk goes on, the operator is told once, and everything works again when there is room.

Once with a file system that really is full, once with the system's limit on the size of a file, which needs no rights.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import httpx
import pytest
import websockets

from tests.integration.program import Program
from tests.integration.program_load import (
    Client,
    Promises,
    check_kept,
    frame,
    hello,
    start,
)

pytestmark = pytest.mark.skipif(
    sys.platform != "linux", reason="mounts, and limits a running program"
)

DISK_MB = 16
TALKED = 6


class Disk(Protocol):
    """A place for data that can be filled and freed while a program uses it."""

    folder: Path

    def fill(self, program: Program) -> None:
        """Nothing can be stored from now on."""
        ...

    def free(self, program: Program) -> None:
        """There is room again."""
        ...


@dataclass
class SmallDisk:
    """A file system in memory."""

    folder: Path

    def fill(self, program: Program) -> None:
        block = bytes(1 << 16)
        with (self.folder / "ballast").open("wb", buffering=0) as file:
            while block:
                try:
                    file.write(block)
                except OSError:
                    block = block[: len(block) // 2]

    def free(self, program: Program) -> None:
        (self.folder / "ballast").unlink()


@dataclass
class SmallFiles:
    """Files of the program may not grow beyond a few bytes."""

    folder: Path

    def fill(self, program: Program) -> None:
        self._limit(program, 64)

    def free(self, program: Program) -> None:
        self._limit(program, -1)

    def _limit(self, program: Program, size: int) -> None:
        import resource

        # Of the soft limit, so that it can be lifted again.
        _, hard = resource.prlimit(program.process.pid, resource.RLIMIT_FSIZE)
        soft = hard if size < 0 else size
        resource.prlimit(program.process.pid, resource.RLIMIT_FSIZE, (soft, hard))


@pytest.fixture(params=["full file system", "file size limit"])
def disk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Disk]:
    folder = tmp_path / "small"
    folder.mkdir()
    if request.param == "file size limit":
        yield SmallFiles(folder)
        return
    mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK_MB}m", "tmpfs", str(folder)]
    try:
        done = subprocess.run(mount, capture_output=True, check=False)
    except FileNotFoundError:
        pytest.skip("there is no mount here")
    if done.returncode:
        pytest.skip(f"may not mount here: {done.stderr.decode().strip()}")
    try:
        yield SmallDisk(folder)
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def place(disk: Disk) -> Path:
    """A data folder on that disk, under a name beside it: what the program prints is kept elsewhere."""
    real = disk.folder / "data"
    real.mkdir()
    link = disk.folder.parent / "data"
    link.symlink_to(real)
    return link


class Operator:
    """Somebody who watches the stream: numbered events are promises, errors are what was told."""

    def __init__(self, promises: Promises) -> None:
        self.promises = promises
        self.errors: list[str] = []
        self.lines: list[str] = []
        self.is_listening = asyncio.Event()

    async def watch(self, client: Client) -> None:
        async with client.socket() as socket:
            self.promises.epoch = (await hello(socket, 0, ""))["epoch"]
            self.is_listening.set()
            with contextlib.suppress(websockets.ConnectionClosed):
                while True:
                    for message in await frame(socket):
                        self._note(message)

    def _note(self, message: dict[str, object]) -> None:
        seq = message.get("seq")
        if isinstance(seq, int):
            self.promises.saw(seq, str(message["id"]))
        if message.get("type") == "error.occurred":
            self.errors.append(str(message["message"]))
        elif message.get("type") == "log.line" and message["severity"] in ("ERROR", "WARNING"):
            self.lines.append(str(message["message"]))


async def talk(client: Client, conversation_id: str, text: str) -> str:
    """One turn; its id."""
    body = {"message": text, "conversation_id": conversation_id}
    answer = await client.json("POST", "/api/chat", body)
    assert answer["reply"] == text
    assert answer["audio"], "no sound was made"
    return str(answer["turn_id"])


async def save(client: Client, volume: float) -> httpx.Response:
    return await client.http.post("/api/config", json={"values": {"OUTPUT_VOLUME": volume}})


@pytest.mark.slow
async def test_on_a_full_disk_the_talk_goes_on_and_is_kept_when_there_is_room(disk: Disk) -> None:
    data_dir = place(disk)
    promises = Promises()
    with start(data_dir, {"LOGS_DIR": str(disk.folder / "logs")}) as program:
        async with Client(program) as client:
            operator = Operator(promises)
            watching = asyncio.create_task(operator.watch(client))
            await operator.is_listening.wait()
            where = (await client.json("POST", "/api/conversations", {}))["id"]
            turns = [await talk(client, where, "Before it is full.")]
            assert (await save(client, 0.5)).is_success
            settings = (data_dir / "settings.yaml").read_bytes()

            disk.fill(program)
            for n in range(TALKED):
                turns.append(
                    await talk(client, where, f"Number {n} on a full disk." + " And on." * 100)
                )
            refused = await save(client, 0.25)
            assert refused.status_code in range(400, 600)
            assert "could not be saved" in refused.json()["message"]
            assert (data_dir / "settings.yaml").read_bytes() == settings
            told = [each for each in operator.errors if "not stored" in each]
            assert len(told) == 1, operator.errors
            assert sum("could not store events" in each for each in operator.lines) == 1

            disk.free(program)
            turns.append(await talk(client, where, "After that."))
            for turn_id in turns:
                found = await client.json("GET", f"/api/turns/{turn_id}")
                assert found["reply"]
            assert (await save(client, 0.25)).is_success
            assert len([each for each in operator.errors if "not stored" in each]) == 1
            stored = dict(await client.events_after(0))
            assert promises.events.items() <= stored.items()
            program.process.send_signal(signal.SIGKILL)
            program.ended()
            await watching

    with start(data_dir) as program:
        async with Client(program) as client:
            for turn_id in turns:
                await client.json("GET", f"/api/turns/{turn_id}")
            stored = dict(await client.events_after(0))
            assert promises.events.items() <= stored.items()
            assert promises.epoch == (await client.json("GET", "/api/status"))["epoch"]
        assert program.stop()[0] == 0


@pytest.mark.slow
async def test_a_start_on_a_full_disk_says_so_and_works_later(disk: Disk) -> None:
    if isinstance(disk, SmallFiles):
        pytest.skip("the limit is for a program that runs")
    data_dir = place(disk)
    with start(data_dir) as program:
        async with Client(program) as client:
            turn_id = await talk(client, "stage", "Hello.")
        assert program.stop()[0] == 0
    disk.fill(program)
    with start(data_dir, {"LOGS_DIR": str(disk.folder / "logs")}) as program:
        assert program.ended() == 1
        last = program.said.splitlines()[-1]
        assert "no room left" in last or "No space left" in last, program.said
        assert "Traceback" not in program.said
    disk.free(program)
    with start(data_dir) as program:
        async with Client(program) as client:
            await check_kept(client, Promises())
            await client.json("GET", f"/api/turns/{turn_id}")
        assert program.stop()[0] == 0
