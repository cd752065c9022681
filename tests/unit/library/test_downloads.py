"""Downloads come whole or not at all, go on where they stopped, and say what is wrong in words."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from backend.contracts.errors import ConflictError, NotFoundError
from backend.core.bus import EventBus
from backend.core.http import HttpClient
from backend.library.catalogue import CATALOGUE, Entry, RemoteFile
from backend.library.downloads import Downloads
from tests.fakes import Watch

DATA = bytes(range(256)) * 4000


@dataclass
class FileServer:
    """Serves DATA; the test says how badly."""

    data: bytes = DATA
    cut_after: int | None = None
    knows_range: bool = True
    status: int = 200
    hold: asyncio.Event | None = None
    ranges: list[str] = field(default_factory=list)
    url: str = ""

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
            start = 0
            if "range: bytes=" in head:
                self.ranges.append(head.split("range: bytes=")[1].split("\r\n")[0])
                if self.knows_range:
                    start = int(self.ranges[-1].rstrip("-"))
            body = self.data[start:]
            status = "206 Partial Content" if start else f"{self.status} OK"
            extra = (
                f"Content-Range: bytes {start}-{len(self.data) - 1}/{len(self.data)}\r\n"
                if start
                else ""
            )
            writer.write(
                f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n{extra}\r\n".encode()
            )
            cut, self.cut_after = self.cut_after, None
            if self.hold is not None:
                writer.write(body[: len(body) // 2])
                await writer.drain()
                await self.hold.wait()
                body = body[len(body) // 2 :]
            writer.write(body if cut is None else body[:cut])
            await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()


@asynccontextmanager
async def serving(server: FileServer) -> AsyncIterator[FileServer]:
    listener = await asyncio.start_server(server.answer, "127.0.0.1", 0)
    server.url = f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}/model.pt"
    async with listener:
        yield server


@dataclass
class Shop:
    downloads: Downloads
    bus: EventBus
    http: HttpClient
    folder: Path

    @property
    def file(self) -> Path:
        return self.folder / "whisper" / "model.pt"


def shop(folder: Path, url: str, data: bytes = DATA) -> Shop:
    bus = EventBus()
    bus.bind(asyncio.get_running_loop())
    http = HttpClient()
    http.trust(url)
    entry = Entry(
        "whisper-test",
        "whisper",
        "Whisper test",
        "",
        "",
        "MIT",
        "",
        (
            RemoteFile(
                url, "whisper/model.pt", len(data), f"sha256:{hashlib.sha256(data).hexdigest()}"
            ),
        ),
    )
    return Shop(Downloads(bus, http, folder, [entry]), bus, http, folder)


async def finished(shop: Shop, seen: Watch, count: int = 1) -> str:
    event = await seen.until("download.finished", count)
    return f"{event.outcome} {event.reason}".strip()  # type: ignore[union-attr]


async def test_a_model_arrives_whole(tmp_path: Path) -> None:
    async with serving(FileServer()) as server:
        here = shop(tmp_path, server.url)
        async with Watch(here.bus) as seen:
            assert (await here.downloads.get("whisper-test")).state == "absent"
            await here.downloads.start("whisper-test")
            assert await finished(here, seen) == "done"
        assert here.file.read_bytes() == DATA
        assert (await here.downloads.get("whisper-test")).state == "ready"
        assert seen.of("model.saved")
        with pytest.raises(ConflictError):
            await here.downloads.start("whisper-test")
        await here.http.close()


@pytest.mark.parametrize("knows_range", [True, False])
async def test_a_cut_download_goes_on_where_it_stopped(tmp_path: Path, knows_range: bool) -> None:
    async with serving(FileServer(cut_after=300_000, knows_range=knows_range)) as server:
        here = shop(tmp_path, server.url)
        async with Watch(here.bus) as seen:
            await here.downloads.start("whisper-test")
            assert (await finished(here, seen)).startswith("failed")
            info = await here.downloads.get("whisper-test")
            assert info.state == "failed"
            assert info.problem
            part = (tmp_path / "downloads" / "whisper-model.pt.part").read_bytes()
            assert DATA.startswith(part)
            assert part
            await here.downloads.start("whisper-test")
            assert await finished(here, seen, 2) == "done"
        assert here.file.read_bytes() == DATA
        assert server.ranges == [f"{len(part)}-"]
        await here.http.close()


async def test_a_cancelled_download_keeps_what_came_and_goes_on(tmp_path: Path) -> None:
    async with serving(FileServer(hold=asyncio.Event())) as server:
        here = shop(tmp_path, server.url)
        async with Watch(here.bus) as seen:
            await here.downloads.start("whisper-test")
            while not list((tmp_path / "downloads").glob("*.part")):
                await asyncio.sleep(0.01)
            with pytest.raises(ConflictError):
                await here.downloads.start("whisper-test")
            info = await here.downloads.cancel("whisper-test")
            assert await finished(here, seen) == "cancelled"
            assert info.state in ("partial", "absent")
            assert server.hold is not None
            server.hold.set()
            await here.downloads.start("whisper-test")
            assert await finished(here, seen, 2) == "done"
        assert here.file.read_bytes() == DATA
        await here.http.close()


async def test_a_wrong_checksum_is_never_taken(tmp_path: Path) -> None:
    async with serving(FileServer(data=b"x" * len(DATA))) as server:
        here = shop(tmp_path, server.url)
        async with Watch(here.bus) as seen:
            await here.downloads.start("whisper-test")
            assert "checksum" in await finished(here, seen)
        assert not here.file.exists()
        await here.http.close()


async def test_a_damaged_part_is_fetched_again_from_the_start(tmp_path: Path) -> None:
    async with serving(FileServer()) as server:
        here = shop(tmp_path, server.url)
        part = tmp_path / "downloads" / "whisper-model.pt.part"
        part.parent.mkdir()
        part.write_bytes(b"garbage" * 1000)
        async with Watch(here.bus) as seen:
            await here.downloads.start("whisper-test")
            assert await finished(here, seen) == "done"
        assert here.file.read_bytes() == DATA
        await here.http.close()


async def test_a_server_without_end_is_stopped(tmp_path: Path) -> None:
    async with serving(FileServer(data=DATA * 3)) as server:
        here = shop(tmp_path, server.url)
        async with Watch(here.bus) as seen:
            await here.downloads.start("whisper-test")
            assert (await finished(here, seen)).startswith("failed")
        assert not here.file.exists()
        await here.http.close()


async def test_being_offline_is_said_kindly(tmp_path: Path) -> None:
    here = shop(tmp_path, "http://127.0.0.1:9/model.pt")
    async with Watch(here.bus) as seen:
        await here.downloads.start("whisper-test")
        assert "cannot be reached" in await finished(here, seen)
    await here.http.close()


async def test_what_was_downloaded_can_be_deleted(tmp_path: Path) -> None:
    async with serving(FileServer()) as server:
        here = shop(tmp_path, server.url)
        async with Watch(here.bus) as seen:
            await here.downloads.start("whisper-test")
            await finished(here, seen)
        assert (await here.downloads.delete("whisper-test")).state == "absent"
        with pytest.raises(ConflictError):
            await here.downloads.delete("whisper-test")
        with pytest.raises(NotFoundError):
            await here.downloads.delete("../../etc/passwd")
        await here.http.close()


@pytest.mark.parametrize("is_ours", [True, False])
async def test_what_was_made_of_a_model_goes_with_it(tmp_path: Path, is_ours: bool) -> None:
    here = shop(tmp_path, "http://127.0.0.1:1/model.pt")
    here.file.parent.mkdir(parents=True)
    here.file.write_bytes(DATA)
    made = tmp_path / "faster-whisper" / "model"
    made.mkdir(parents=True)
    (made / ("made-from.txt" if is_ours else "model.bin")).write_text("x")
    await here.downloads.delete("whisper-test")
    assert made.exists() is not is_ours
    await here.http.close()


def test_every_entry_has_a_checksum_a_licence_and_a_place_inside_the_models_folder() -> None:
    assert len({entry.id for entry in CATALOGUE}) == len(CATALOGUE)
    lengths = {"sha256": 64, "md5": 32, "git-sha1": 40}
    for entry in CATALOGUE:
        assert entry.licence
        assert entry.licence_url.startswith("https://")
        for file in entry.files:
            algorithm, _, digest = file.checksum.partition(":")
            assert len(digest) == lengths[algorithm]
            assert file.url.startswith("https://")
            assert file.path.split("/")[0] == entry.kind
            assert ".." not in file.path


async def test_a_server_that_promises_more_cannot_fill_the_disk(tmp_path: Path) -> None:
    async with serving(FileServer(data=DATA * 8)) as server:
        here = shop(tmp_path, server.url)
        async with Watch(here.bus) as seen:
            await here.downloads.start("whisper-test")
            assert "sent more than" in await finished(here, seen)
        (part,) = (tmp_path / "downloads").iterdir()
        assert part.stat().st_size < 2 * len(DATA) + (2 << 20)
        assert not here.file.exists()
        await here.http.close()
