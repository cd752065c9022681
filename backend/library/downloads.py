"""Downloads of models: only on a click, with progress, resume, cancel and a checksum before a file counts.

Pieces lie in ``models/downloads`` under the file's name with ``.part``; a cut download goes on where it stopped. A file
reaches its place by a rename, after its checksum was right.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from backend.contracts.entities import ModelInfo, ModelState
from backend.contracts.errors import (
    AppError,
    ConflictError,
    EngineFailedError,
    NotFoundError,
    ProviderError,
)
from backend.contracts.events import DownloadFinished, DownloadProgress, ModelRemoved, ModelSaved
from backend.core.bus import EventBus
from backend.core.clock import monotonic_s
from backend.core.http import HttpClient, Provider, Timeouts, refusal
from backend.library.catalogue import CATALOGUE, Entry, RemoteFile

logger = logging.getLogger(__name__)

AT_ONCE = 2
PROGRESS_S = 0.25
WRITE_BYTES = 1 << 20
SPARE_DISK_BYTES = 200 << 20
"""Kept free besides the model: a full disk would stop the database too."""

_TIMEOUTS = Timeouts(10.0, 30.0, 30.0, 24 * 3600.0)


@dataclass(slots=True)
class _Job:
    task: asyncio.Task[None]
    state: ModelState = "waiting"
    received_bytes: int = 0


class Downloads:
    """The models of the catalogue; all methods are for the backend's loop.

    Args:
        bus: Where progress goes.
        http: The client; the catalogue's hosts are public, so nothing has to be trusted.
        models_dir: Where models lie.
        catalogue: What there is.
    """

    def __init__(
        self,
        bus: EventBus,
        http: HttpClient,
        models_dir: Path,
        catalogue: Sequence[Entry] = CATALOGUE,
    ) -> None:
        self._bus = bus
        self._http = http
        self._folder = models_dir
        self._entries = {entry.id: entry for entry in catalogue}
        self._jobs: dict[str, _Job] = {}
        self._problems: dict[str, str] = {}
        self._slots = asyncio.Semaphore(AT_ONCE)

    async def list(self) -> list[ModelInfo]:
        """Every model of the catalogue, and what of it is here."""
        return await asyncio.to_thread(
            lambda: [self._info(entry) for entry in self._entries.values()]
        )

    async def get(self, model_id: str) -> ModelInfo:
        """One of them.

        Raises:
            NotFoundError: The catalogue has none of that id.
        """
        entry = self._entry(model_id)
        return await asyncio.to_thread(self._info, entry)

    async def start(self, model_id: str) -> ModelInfo:
        """Begin or go on with a download; it runs in the background.

        Raises:
            NotFoundError: The catalogue has none of that id.
            ConflictError: It is here already, or on its way.
        """
        entry = self._entry(model_id)
        if model_id in self._jobs:
            raise ConflictError(f"{entry.title} is being downloaded already.")
        if await asyncio.to_thread(self._is_ready, entry):
            raise ConflictError(f"{entry.title} is here already.")
        self._problems.pop(model_id, None)
        job = _Job(asyncio.create_task(self._run(entry), name=f"download {model_id}"))
        self._jobs[model_id] = job
        return await self.get(model_id)

    async def cancel(self, model_id: str) -> ModelInfo:
        """Stop a download; what came stays, so that it can go on later."""
        entry = self._entry(model_id)
        job = self._jobs.get(model_id)
        if job is None:
            raise ConflictError(f"{entry.title} is not being downloaded.")
        job.task.cancel()
        await asyncio.wait([job.task], timeout=5)
        return await self.get(model_id)

    async def delete(self, model_id: str) -> ModelInfo:
        """Remove a model, or what came of it, from disk.

        Raises:
            ConflictError: It is on its way, or there is nothing to remove.
        """
        entry = self._entry(model_id)
        if model_id in self._jobs:
            raise ConflictError(f"{entry.title} is being downloaded; cancel it first.")
        if not await asyncio.to_thread(self._remove, entry):
            raise ConflictError(f"Nothing of {entry.title} is on this machine.")
        self._problems.pop(model_id, None)
        self._bus.publish(ModelRemoved(model_id=model_id, name=entry.title))
        return await self.get(model_id)

    async def stop(self) -> None:
        """Stop everything; what came stays."""
        tasks = [job.task for job in self._jobs.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    # --- one download ---

    async def _run(self, entry: Entry) -> None:
        outcome: Literal["done", "cancelled", "failed"] = "failed"
        reason = ""
        try:
            async with self._slots:
                await self._fetch_all(entry)
            outcome = "done"
        except asyncio.CancelledError:
            outcome = "cancelled"
        except AppError as error:
            reason = _in_words(entry, error)
        except OSError as error:
            reason = f"{entry.title} could not be written: {error.strerror}. Is the disk full?"
        except Exception as error:
            logger.exception("download of %s failed", entry.id)
            reason = (
                f"The download failed inside Luma ({type(error).__name__}); the log says where."
            )
        finally:
            self._jobs.pop(entry.id, None)
        if reason:
            self._problems[entry.id] = reason
        self._bus.publish(
            DownloadFinished(
                model_id=entry.id,
                outcome=outcome,
                reason=reason,
                severity="WARNING" if outcome == "failed" else "INFO",
            )
        )
        if outcome == "done":
            path = str(self._folder / entry.files[-1].path)
            self._bus.publish(ModelSaved(model_id=entry.id, name=entry.title, path=path))

    async def _fetch_all(self, entry: Entry) -> None:
        job = self._jobs[entry.id]
        await asyncio.to_thread(self._check_disk, entry)
        before = 0
        for file in entry.files:
            if not (self._folder / file.path).is_file():
                await self._fetch(entry, file, job, before)
            before += file.size_bytes

    async def _fetch(self, entry: Entry, file: RemoteFile, job: _Job, before: int) -> None:
        part = self._part(file)
        await asyncio.to_thread(part.parent.mkdir, parents=True, exist_ok=True)
        for attempt in range(2):
            await self._receive(entry, file, part, job, before)
            job.state = "checking"
            found = await asyncio.to_thread(checksum_of, part, file.checksum.partition(":")[0])
            if found == file.checksum.partition(":")[2]:
                target = self._folder / file.path
                await asyncio.to_thread(_put, part, target)
                return
            # What was resumed may have been another version: once more from the start, then give up.
            await asyncio.to_thread(part.unlink, missing_ok=True)
            logger.warning("%s: checksum of %s is wrong (try %d)", entry.id, file.path, attempt + 1)
        raise EngineFailedError(
            f"{entry.title} arrived damaged twice: its checksum is not the publisher's. Try again later."
        )

    async def _receive(
        self, entry: Entry, file: RemoteFile, part: Path, job: _Job, before: int
    ) -> None:
        have = await asyncio.to_thread(_size, part)
        provider = Provider(entry.id, "The download server")
        headers = {"range": f"bytes={have}-"} if have else {}
        async with self._http.open(
            provider, "GET", file.url, headers=headers, timeouts=_TIMEOUTS
        ) as answer:
            if answer.status == 416:
                return  # nothing is missing; the checksum decides
            if answer.status not in (200, 206):
                raise refusal(provider, answer.status, answer.headers, await answer.excerpt())
            if answer.status == 200 or not _begins_at(
                answer.headers.get("content-range", ""), have
            ):
                have = 0
            total = have + int(answer.headers.get("content-length") or 0)
            # The server's word on the size counts up to twice the catalogue's: it must not be able to fill the disk.
            limit = min(max(total, file.size_bytes), 2 * file.size_bytes) + WRITE_BYTES
            job.state = "downloading"
            told_s = began_s = monotonic_s()
            first = have
            with await asyncio.to_thread(part.open, "r+b" if have else "wb") as out:
                await asyncio.to_thread(out.seek, have)
                buffer = bytearray()
                try:
                    async for piece in answer.pieces():
                        buffer += piece
                        have += len(piece)
                        if have > limit:
                            raise EngineFailedError(
                                f"The server sent more than the {limit:,} bytes of {file.path}; stopped."
                            )
                        if len(buffer) >= WRITE_BYTES:
                            full = bytes(buffer)
                            buffer.clear()
                            await asyncio.to_thread(out.write, full)
                        job.received_bytes = before + have
                        now_s = monotonic_s()
                        if now_s - told_s >= PROGRESS_S:
                            told_s = now_s
                            rate = (have - first) / (now_s - began_s)
                            whole = entry.size_bytes - file.size_bytes + (total or file.size_bytes)
                            self._bus.publish(
                                DownloadProgress(
                                    model_id=entry.id,
                                    received_bytes=before + have,
                                    total_bytes=whole,
                                    rate_bytes_s=round(rate),
                                    eta_s=round(max(0, whole - before - have) / rate, 1)
                                    if rate
                                    else None,
                                )
                            )
                finally:
                    # Also when it broke off or was cancelled: what came is kept.
                    out.write(buffer)  # at most 1 MiB, and a cancelled task may not wait
                    out.truncate()

    # --- on disk; worker threads ---

    def _entry(self, model_id: str) -> Entry:
        try:
            return self._entries[model_id]
        except KeyError:
            raise NotFoundError(
                f"There is no model {model_id[:80]!r}; there are {', '.join(self._entries)}."
            ) from None

    def _part(self, file: RemoteFile) -> Path:
        return self._folder / "downloads" / (file.path.replace("/", "-") + ".part")

    def _is_ready(self, entry: Entry) -> bool:
        return all((self._folder / file.path).is_file() for file in entry.files)

    def _info(self, entry: Entry) -> ModelInfo:
        here = 0
        for file in entry.files:
            for path in (self._folder / file.path, self._part(file)):
                if path.is_file():
                    here += path.stat().st_size
                    break
        job = self._jobs.get(entry.id)
        problem = self._problems.get(entry.id, "")
        state: ModelState
        if job is not None:
            state = job.state
        elif self._is_ready(entry):
            state = "ready"
        elif problem:
            state = "failed"
        else:
            state = "partial" if here else "absent"
        return ModelInfo(
            id=entry.id,
            kind=entry.kind,
            title=entry.title,
            about=entry.about,
            language=entry.language,
            licence=entry.licence,
            licence_url=entry.licence_url,
            size_bytes=entry.size_bytes,
            state=state,
            received_bytes=max(here, job.received_bytes if job else 0),
            problem=problem,
        )

    def _remove(self, entry: Entry) -> bool:
        found = False
        for file in entry.files:
            for path in (self._folder / file.path, self._part(file)):
                if path.is_file():
                    path.unlink()
                    found = True
            if entry.kind == "whisper":
                # what faster-whisper made of it; a folder that a person put there has no such note
                made = self._folder / "faster-whisper" / Path(file.path).stem
                if (made / "made-from.txt").is_file():
                    shutil.rmtree(made)
        return found

    def _check_disk(self, entry: Entry) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(self._folder).free
        if free < entry.size_bytes + SPARE_DISK_BYTES:
            raise EngineFailedError(
                f"{entry.title} needs {entry.size_bytes / 1e6:,.0f} MB and {free / 1e6:,.0f} MB are free in"
                f" {self._folder}. Make room, or set MODELS_DIR to another disk."
            )


def checksum_of(path: Path, algorithm: str) -> str:
    """Checksum of a file as hex; ``algorithm`` as in `RemoteFile`."""
    if algorithm == "git-sha1":
        data = path.read_bytes()
        # Identifies a small text file in its publisher's git history; guards against damage, not attack.
        digest = hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False)
        return digest.hexdigest()
    with path.open("rb") as file:
        return hashlib.file_digest(
            file, lambda: hashlib.new(algorithm, usedforsecurity=False)
        ).hexdigest()


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0


def _put(part: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    part.replace(target)


def _begins_at(content_range: str, position: int) -> bool:
    return content_range.strip().startswith(f"bytes {position}-")


def _in_words(entry: Entry, error: AppError) -> str:
    if isinstance(error, ProviderError) and error.kind in ("unreachable", "stalled"):
        return (
            f"{entry.title}: the download server cannot be reached. Check the network and press Download again;"
            " what came already is kept. Luma works without it."
        )
    return error.message
