"""The open database: one thread that writes, a few that read, and a start that migrates, backs up and heals.

Writes that are waiting together share one transaction (group commit), each behind its own savepoint, so that a failing one
fails alone. A write's future resolves after the commit: what was answered is stored, even if the program is killed the
next moment.
"""

from __future__ import annotations

import asyncio
import logging
import queue
import secrets
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, TypeVar

from sqlalchemy import Connection, Engine, create_engine, make_url
from sqlalchemy.exc import DBAPIError, NoSuchModuleError, SQLAlchemyError

from backend.contracts.errors import (
    AppError,
    BusyError,
    InvalidInputError,
    StorageDamagedError,
    StorageError,
)
from backend.storage import facts, schema, sqlite, tables
from backend.storage.migrations import VERSIONS

logger = logging.getLogger(__name__)

T = TypeVar("T")

WAITING_LIMIT = 4096
"""Writes, and reads, that may wait; more than that means the disk hangs."""
GROUP_LIMIT = 256
"""Writes in one transaction: a group takes milliseconds, so nobody waits long for his neighbours."""
READERS = 3
CLOSE_WAIT_S = 10.0


@dataclass(slots=True)
class _Write:
    fn: Callable[[Connection], Any]
    durable: bool
    future: asyncio.Future[Any]
    loop: asyncio.AbstractEventLoop
    result: Any = None
    error: BaseException | None = None


class Database:
    """The database.

    Args:
        url: SQLAlchemy URL; empty = SQLite at ``folder``/luma.db.
        folder: The data folder; backups go to its folder backups.
        versions: Where the migrations are.
        keep_backups: Copies made before migrations that are kept; the oldest go.
    """

    def __init__(
        self,
        url: str,
        folder: Path,
        *,
        versions: Path = VERSIONS,
        keep_backups: int = schema.BACKUPS_KEPT,
    ) -> None:
        self.notices: list[str] = []
        self.epoch = ""
        self._folder = folder
        self._url = url
        self._versions = versions
        self._keep_backups = keep_backups
        self._path: Path | None = None
        self._lock: IO[bytes] | None = None
        self._writer_engine: Engine | None = None
        self._reader_engine: Engine | None = None
        self._writer: Connection | None = None
        self._queue: queue.SimpleQueue[_Write | None] = queue.SimpleQueue()
        self._waiting_writes = 0
        self._waiting_reads = 0
        self._thread: threading.Thread | None = None
        self._readers: ThreadPoolExecutor | None = None
        self._running = False

    @property
    def path(self) -> Path | None:
        """The SQLite file; None for a database server, and before `open`."""
        return self._path

    # --- start and end ---

    async def open(self) -> None:
        """Open, heal and migrate; call once before anything else.

        Raises:
            StorageLockedError: If another program uses the database.
            StorageForeignError: If a newer Luma made it; it is left untouched.
            StorageError: If it cannot be opened, with what to do.
        """
        try:
            await asyncio.to_thread(self._open)
        except BaseException:
            await asyncio.to_thread(self._release)
            raise
        self._readers = ThreadPoolExecutor(READERS, thread_name_prefix="storage-reader")
        self._thread = threading.Thread(
            target=self._write_forever, name="storage-writer", daemon=True
        )
        self._running = True
        self._thread.start()

    def _open(self) -> None:
        self._prepare()
        assert self._writer_engine is not None
        try:
            schema.bring_up_to_date(self._writer_engine, self._versions, self._back_up)
            self._writer = self._writer_engine.connect()
            with self._writer.begin():
                epoch = facts.get(self._writer, "epoch")
                if epoch is None:
                    epoch = secrets.token_hex(8)
                    facts.put(self._writer, "epoch", epoch)
            self.epoch = epoch
        except SQLAlchemyError as error:
            raise self._explain(error) from error

    def _prepare(self) -> None:
        try:
            url = make_url(self._url) if self._url else None
        except SQLAlchemyError as error:
            raise InvalidInputError(
                "DATABASE_URL is not a database address such as sqlite:////path/luma.db or"
                " postgresql+psycopg://user:password@host/luma."
            ) from error
        if url is None or url.get_backend_name() == "sqlite":
            self._prepare_file(
                Path(url.database) if url and url.database else self._folder / "luma.db"
            )
            return
        try:
            self._writer_engine = create_engine(
                url, pool_size=1, max_overflow=1, json_serializer=sqlite.dumps, pool_pre_ping=True
            )
            self._reader_engine = create_engine(
                url, pool_size=READERS, max_overflow=0, pool_pre_ping=True
            ).execution_options(postgresql_readonly=True)
        except (ModuleNotFoundError, NoSuchModuleError) as error:
            raise StorageError(
                f"DATABASE_URL wants {url.drivername!r}, which is not installed ({error})."
                " For PostgreSQL use postgresql+psycopg:// and pip install 'psycopg[binary]'."
            ) from error

    def _prepare_file(self, path: Path) -> None:
        if str(path) == ":memory:":
            raise InvalidInputError("DATABASE_URL must name a file; sqlite:// in memory forgets.")
        self._path = path
        backups = self._folder / "backups"
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._lock = sqlite.lock(path)
            if path.exists():
                reason = sqlite.damage(path, list(tables.metadata.tables))
                if reason:
                    place = sqlite.set_aside(path, backups)
                    notice = (
                        f"The database was damaged ({reason}). It was put aside, unchanged, as {place};"
                        " Luma began a new one."
                    )
                    logger.error("%s", notice)
                    self.notices.append(notice)
                else:
                    sqlite.trusted(path)
        except OSError as error:
            raise StorageError(
                f"The database {path} cannot be opened ({error}). Check the folder and that you may"
                " write in it, or choose another data folder."
            ) from error
        self._writer_engine = sqlite.writer_engine(path)
        self._reader_engine = sqlite.reader_engine(path, READERS)

    def _back_up(self, revision: str) -> None:
        if self._path is None:
            logger.info("the database server's own backups are trusted before migrating")
            return
        try:
            place = sqlite.back_up(
                self._path, self._folder / "backups", revision, self._keep_backups
            )
        except OSError as error:
            raise StorageError(
                f"The database was not changed, because no backup could be written ({error})."
                f" Make room in {self._folder / 'backups'}."
            ) from error
        logger.info("backed up the database to %s before migrating", place)

    async def close(self) -> None:
        """Finish all waiting writes and close; safe when not open."""
        if self._running:
            self._running = False
            self._queue.put(None)
        await asyncio.to_thread(self._release)

    def _release(self) -> None:
        if self._thread is not None:
            self._thread.join(CLOSE_WAIT_S)
            if self._thread.is_alive():
                logger.error("the database did not finish writing within %s s", CLOSE_WAIT_S)
                return
            self._thread = None
        if self._readers is not None:
            self._readers.shutdown(wait=True, cancel_futures=True)
            self._readers = None
        if self._reader_engine is not None:
            self._reader_engine.dispose()
            self._reader_engine = None
        if self._writer is not None:
            try:
                if self._path is not None:
                    sqlite.tidy(self._writer)
                self._writer.close()
            except (SQLAlchemyError, sqlite.DriverError) as error:
                logger.warning("closing the database: %s", error)
            self._writer = None
        if self._writer_engine is not None:
            self._writer_engine.dispose()
            self._writer_engine = None
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    # --- writing ---

    async def write(self, fn: Callable[[Connection], T], *, durable: bool = False) -> T:
        """Run ``fn`` on the writer thread and return its value once it is committed.

        A cancelled write still happens: what the program decided to keep is kept.

        Args:
            fn: Reads and writes with the connection, never commits; values in, value out. May be called a second
                time if the group it was in had to be rolled back.
            durable: Wait until the disk itself has it (settings, job states), so that a power cut loses nothing.

        Raises:
            AppError: Whatever ``fn`` raised.
            BusyError: If too many writes wait.
            StorageError: If the database refused; nothing of this write is stored.
        """
        if not self._running:
            raise StorageError("The database is closed; nothing more can be stored.")
        if self._waiting_writes >= WAITING_LIMIT:
            raise BusyError(
                f"{WAITING_LIMIT} writes are waiting for the disk. Try again in a moment."
            )
        loop = asyncio.get_running_loop()
        write = _Write(fn, durable, loop.create_future(), loop)
        self._waiting_writes += 1
        self._queue.put(write)
        result: T = await asyncio.shield(write.future)
        return result

    def _write_forever(self) -> None:
        assert self._writer is not None
        while True:
            group, last = self._next_group()
            if group:
                self._run_group(self._writer, group)
                self._answer(group)
            if last:
                return

    def _next_group(self) -> tuple[list[_Write], bool]:
        group: list[_Write] = []
        item = self._queue.get()
        while item is not None:
            group.append(item)
            if len(group) >= GROUP_LIMIT:
                return group, False
            try:
                item = self._queue.get_nowait()
            except queue.Empty:
                return group, False
        return group, True

    def _run_group(self, connection: Connection, group: list[_Write]) -> None:
        durable = any(write.durable for write in group)
        try:
            if durable and self._path is not None:
                sqlite.set_durable(connection, True)
            try:
                self._transact(connection, group)
            except Exception as error:  # noqa: BLE001 (the writer lives on; every write is answered)
                if len(group) == 1:
                    group[0].error = self._explain(error)
                    return
                # The transaction as a whole failed (full disk, a statement that rolled everything back):
                # one by one, so that only the guilty write fails.
                for write in group:
                    write.result = write.error = None
                    try:
                        self._transact(connection, [write])
                    except Exception as alone:  # noqa: BLE001 (as above)
                        write.error = self._explain(alone)
        finally:
            if durable and self._path is not None:
                sqlite.set_durable(connection, False)

    def _transact(self, connection: Connection, group: list[_Write]) -> None:
        with connection.begin():
            if len(group) == 1:
                group[0].result = group[0].fn(connection)
                return
            for write in group:
                savepoint = connection.begin_nested()
                try:
                    write.result = write.fn(connection)
                    savepoint.commit()
                except Exception as error:  # noqa: BLE001 (handed to whoever asked for the write)
                    savepoint.rollback()
                    write.error = self._explain(error)

    def _answer(self, group: list[_Write]) -> None:
        by_loop: dict[asyncio.AbstractEventLoop, list[_Write]] = {}
        for write in group:
            by_loop.setdefault(write.loop, []).append(write)
        for loop, writes in by_loop.items():
            try:
                loop.call_soon_threadsafe(self._resolve, writes)
            except RuntimeError:  # the loop is closed: nobody waits any more
                self._waiting_writes -= len(writes)

    def _resolve(self, writes: list[_Write]) -> None:
        self._waiting_writes -= len(writes)
        for write in writes:
            if write.future.done():
                continue
            if write.error is None:
                write.future.set_result(write.result)
            else:
                write.future.set_exception(write.error)
                # A cancelled caller never asks; his failure is told here instead of by the garbage collector.
                write.future.exception()

    # --- reading ---

    async def read(self, fn: Callable[[Connection], T]) -> T:
        """Run ``fn`` on a reader thread and return its value; it sees one moment of the database.

        Raises:
            AppError: Whatever ``fn`` raised.
            BusyError: If too many reads wait.
            StorageError: If the database refused.
        """
        if not self._running or self._readers is None:
            raise StorageError("The database is closed; nothing can be read.")
        if self._waiting_reads >= WAITING_LIMIT:
            raise BusyError(f"{WAITING_LIMIT} reads are waiting. Try again in a moment.")
        self._waiting_reads += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(
                self._readers, self._run_read, fn
            )
        finally:
            self._waiting_reads -= 1

    def _run_read(self, fn: Callable[[Connection], T]) -> T:
        assert self._reader_engine is not None
        try:
            with self._reader_engine.connect() as connection:
                return fn(connection)
        except SQLAlchemyError as error:
            raise self._explain(error) from error

    def _explain(self, error: Exception) -> Exception:
        if isinstance(error, AppError) or not isinstance(error, SQLAlchemyError):
            return error
        cause = error.orig if isinstance(error, DBAPIError) and error.orig is not None else error
        if self._path is None:
            said = " ".join(str(cause).split())
            explained: StorageError = StorageError(
                f"The database server refused: {said}. If it cannot be reached, check DATABASE_URL and"
                " that the server runs."
            )
        else:
            explained = sqlite.explain(cause, self._path)
            if isinstance(explained, StorageDamagedError):
                sqlite.suspect(self._path)
        explained.__cause__ = error
        return explained
