"""The window's line to the backend: REST and the event stream on the thread "gui-client".

The Tk thread calls `get`, `post` and the like, which return at once; what comes back (events, results, changes of the
connection) waits in `inbox` until the Tk thread drains it. Events are decoded on this thread, so a burst costs the window
only the drawing.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import threading
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Literal
from urllib.parse import urlsplit

import httpx
import orjson
from pydantic import Field, ValidationError

from backend.contracts.events import EVENT_TYPES, Event, parse_event

logger = logging.getLogger(__name__)

ConnectionState = Literal["connecting", "connected", "lost", "refused", "closed"]
Then = Callable[[Any], None]
Failed = Callable[["Failure"], None]

TIMEOUT_S = 30.0
CONNECT_TIMEOUT_S = 3.0
FIRST_WAIT_S = (
    0.2  # a restarting backend is back within a second; asking often costs nothing on loopback
)
LONGEST_WAIT_S = 5.0
PING_S = 10.0
LIVE_LIMIT = 20_000  # items waiting: from here on live events are dropped
INBOX_LIMIT = 100_000  # from here on everything is, and the window reloads instead
LARGEST_FRAME = 16 * 1024 * 1024
LARGEST_DOWNLOAD = 256 * 1024 * 1024
CLOSE_TIMEOUT_S = 0.8
SENT_EVERY_S = 0.25

_FIELDS = {
    event.model_fields["type"].default: frozenset(event.model_fields) for event in EVENT_TYPES
}


class ForeignEvent(Event):
    """An event of a type this version does not know, kept so that the Logs tab can show it.

    Attributes:
        text: The sentence its backend made.
        fields: Its own data.
    """

    type: str = "unknown"
    text: str = ""
    fields: dict[str, Any] = Field(default_factory=dict)

    def sentence(self) -> str:
        return self.text or self.type

    def own_data(self) -> dict[str, Any]:
        return self.fields


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a request did not work.

    Attributes:
        code: Stable code of the backend ("not_found"), or "unreachable", "timeout", "malformed".
        message: What happened and what to do, for a person.
        status: HTTP status, 0 when no answer came.
    """

    code: str
    message: str
    status: int = 0


@dataclass(frozen=True, slots=True)
class Connection:
    """The state of the event stream, for the status bar.

    Attributes:
        state: "connecting" at first, "lost" while it is tried again, "refused" when the token is wrong.
        url: Where the backend is.
        detail: Why it is not connected, in words.
        version: The backend's version once known.
        reset: True on a "connected" after which everything must be loaded again (first time, or another database).
    """

    state: ConnectionState
    url: str
    detail: str = ""
    version: str = ""
    reset: bool = False


Call = tuple[Callable[[Any], None], Any]
Item = Event | Connection | Call


class _CancelledUploadError(Exception):
    """The person has stopped the upload."""


class _Sent:
    """How many bytes of an upload have gone; also where it is stopped."""

    def __init__(self, tell: Callable[[int], None], cancelled: threading.Event | None) -> None:
        self._tell = tell
        self._cancelled = cancelled
        self._bytes = 0
        self._told = time.monotonic()

    def add(self, count: int) -> None:
        """More bytes have gone."""
        if self._cancelled is not None and self._cancelled.is_set():
            raise _CancelledUploadError
        self._bytes += count
        now = time.monotonic()
        if now - self._told >= SENT_EVERY_S:
            self._told = now
            self._tell(self._bytes)


class _Reading:
    """A file that counts what is read of it; httpx takes it as it takes a file."""

    def __init__(self, file: BinaryIO, count: _Sent) -> None:
        self._file = file
        self._count = count

    def read(self, size: int = -1) -> bytes:
        """The next bytes."""
        data = self._file.read(size)
        self._count.add(len(data))
        return data

    def seek(self, place: int, whence: int = 0) -> int:
        """Move; httpx measures a file by going to its end."""
        return self._file.seek(place, whence)

    def tell(self) -> int:
        """Where it is."""
        return self._file.tell()

    def __iter__(self) -> Iterator[bytes]:
        while data := self.read(65_536):
            yield data


class Stream:
    """An answer that comes piece by piece; `cancel` ends it at its source."""

    def __init__(self, ended: Callable[[], object] = lambda: None) -> None:
        self.is_cancelled = False
        self._end = ended

    def cancel(self) -> None:
        """Take nothing more of it; what was on its way is not handed over either."""
        if not self.is_cancelled:
            self.is_cancelled = True
            self._end()


class BackendClient:
    """REST and events of one backend.

    Results arrive through `inbox`: ``then(value)`` or ``failed(failure)`` run on the thread that drains it.

    Args:
        base_url: "http://127.0.0.1:8765".
        token: API token; never logged.
        backend_file: backend.json of the data folder. Once it named the backend we are connected to, a restart on another
            port is followed.
        types: Event types wanted ("chat.*"); empty = all.
    """

    def __init__(
        self,
        base_url: str,
        token: str,
        *,
        backend_file: Path | None = None,
        types: tuple[str, ...] = (),
    ) -> None:
        self.base_url = base_url.rstrip("/")
        self.connection = Connection("connecting", self.base_url)
        self.inbox: deque[Item] = deque()
        self.received = 0
        """Events received so far; the status bar makes its rate of it."""
        self.dropped = 0
        self._token = token
        self._types = types
        self._backend_file = backend_file
        self._follows = False
        self._waiting: deque[Callable[[], Awaitable[None]]] = deque()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._wake: asyncio.Event | None = None
        self._closing = threading.Event()
        self._thread: threading.Thread | None = None
        self._last_seq: int | None = None
        self._epoch = ""
        self._overflowed = False
        self._http: httpx.AsyncClient | None = None
        self._socket: Any = None
        self._commands: dict[int, tuple[Then | None, Failed | None]] = {}
        self._next_command = 0

    # --- the Tk thread's side -------------------------------------------------------------------------------------

    def start(self) -> None:
        """Start the thread; it connects by itself and keeps trying."""
        self._thread = threading.Thread(target=self._run, name="gui-client", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop; waits at most 0.8 s."""
        self._closing.set()
        self._stir()
        if self._thread is not None:
            self._thread.join(CLOSE_TIMEOUT_S)

    def get(
        self,
        path: str,
        then: Then | None = None,
        failed: Failed | None = None,
        *,
        params: Mapping[str, str | int | float] | None = None,
        timeout_s: float = TIMEOUT_S,
    ) -> None:
        """GET a path ("/api/status"); ``then`` gets the decoded JSON."""
        self._submit("GET", path, then, failed, timeout_s, params=dict(params or {}))

    def post(
        self,
        path: str,
        body: Any = None,
        then: Then | None = None,
        failed: Failed | None = None,
        *,
        timeout_s: float = TIMEOUT_S,
    ) -> None:
        """POST JSON."""
        self._submit("POST", path, then, failed, timeout_s, body=body)

    def put(
        self,
        path: str,
        body: Any = None,
        then: Then | None = None,
        failed: Failed | None = None,
        *,
        timeout_s: float = TIMEOUT_S,
    ) -> None:
        """PUT JSON."""
        self._submit("PUT", path, then, failed, timeout_s, body=body)

    def patch(
        self,
        path: str,
        body: Any = None,
        then: Then | None = None,
        failed: Failed | None = None,
        *,
        timeout_s: float = TIMEOUT_S,
    ) -> None:
        """PATCH JSON."""
        self._submit("PATCH", path, then, failed, timeout_s, body=body)

    def delete(
        self,
        path: str,
        body: Any = None,
        then: Then | None = None,
        failed: Failed | None = None,
        *,
        timeout_s: float = TIMEOUT_S,
    ) -> None:
        """DELETE."""
        self._submit("DELETE", path, then, failed, timeout_s, body=body)

    def upload(
        self,
        path: str,
        files: list[tuple[str, Path]],
        fields: Mapping[str, str] | None = None,
        then: Then | None = None,
        failed: Failed | None = None,
        *,
        timeout_s: float = 300.0,
        sent: Callable[[int], None] | None = None,
        cancelled: threading.Event | None = None,
    ) -> None:
        """POST files as multipart: (field name, path) each.

        They are read in pieces on the client's thread as they are sent, so a long recording takes no memory. ``sent`` is
        told, at most four times a second, how many bytes of them have gone; ``cancelled`` ends the upload when it is set,
        and ``failed`` then gets the code "cancelled".
        """

        async def work() -> None:
            with contextlib.ExitStack() as stack:
                count = _Sent(lambda done: self._deliver(sent, done), cancelled)
                try:
                    parts = [
                        (name, (file.name, _Reading(stack.enter_context(file.open("rb")), count)))
                        for name, file in files
                    ]
                    await self._request(
                        "POST", path, then, failed, timeout_s, files=parts, data=dict(fields or {})
                    )
                except _CancelledUploadError:
                    self._deliver(failed, Failure("cancelled", "The upload was stopped."))
                except OSError as error:
                    words = error.strerror or str(error)
                    name = Path(error.filename).name if error.filename else "The file"
                    self._deliver(failed, Failure("file", f"{name} cannot be read: {words}."))

        self._enqueue(work)

    def download(
        self,
        path: str,
        then: Callable[[bytes], None],
        failed: Failed | None = None,
        *,
        timeout_s: float = 120.0,
    ) -> None:
        """GET a file; ``then`` gets its bytes (at most 256 MiB)."""

        async def work() -> None:
            await self._request("GET", path, then, failed, timeout_s, raw=True)

        self._enqueue(work)

    def stream(
        self,
        path: str,
        body: Any,
        piece: Callable[[str, Any], None],
        failed: Failed | None = None,
        *,
        timeout_s: float = TIMEOUT_S,
    ) -> Stream:
        """POST JSON and take the answer as server-sent events: ``piece(event, data)`` for each, in order.

        Args:
            path: Where to.
            body: Sent as JSON.
            piece: Called for each event until the stream is cancelled.
            failed: Called when it could not begin or broke off.
            timeout_s: Longest silence between two pieces.
        """
        ended: list[Callable[[], object]] = []
        made = Stream(lambda: [end() for end in ended])

        async def work() -> None:
            task = asyncio.current_task()
            loop = asyncio.get_running_loop()
            if task is not None:
                ended.append(lambda: loop.call_soon_threadsafe(task.cancel))
            if not made.is_cancelled:
                await self._stream(path, body, piece, failed, timeout_s, made)

        self._enqueue(work)
        return made

    def command(
        self,
        name: str,
        fields: Mapping[str, Any] | None = None,
        then: Then | None = None,
        failed: Failed | None = None,
    ) -> None:
        """Send a command over the event socket; ``then`` gets the answer."""

        async def work() -> None:
            if self._socket is None:
                self._deliver(failed, self._unreachable())
                return
            self._next_command += 1
            self._commands[self._next_command] = (then, failed)
            frame = orjson.dumps({**(fields or {}), "do": name, "id": self._next_command})
            try:
                await self._socket.send(frame.decode())
            except Exception as error:  # noqa: BLE001 - whatever the socket raises means: not sent
                self._commands.pop(self._next_command, None)
                logger.debug("command %s was not sent: %s", name, error)
                self._deliver(failed, self._unreachable())

        self._enqueue(work)

    def call_later(self, then: Then, value: Any = None) -> None:
        """Run ``then(value)`` on the draining thread; for other threads of the window (the tray)."""
        self._deliver(then, value)

    def drain(
        self,
        budget_s: float,
        on_event: Callable[[Event], None],
        on_connection: Callable[[Connection], None],
    ) -> int:
        """Hand out what has arrived until the budget is used; returns how many things that were.

        By time, not by count: typing must never lag behind a burst. A callback that raises is logged and the next one runs.
        """
        end = time.perf_counter() + budget_s
        count = 0
        while self.inbox:
            item = self.inbox.popleft()
            count += 1
            try:
                if isinstance(item, Event):
                    on_event(item)
                elif isinstance(item, Connection):
                    on_connection(item)
                else:
                    item[0](item[1])
            except Exception:
                logger.exception("the window failed on %s", type(item).__name__)
            if time.perf_counter() >= end:
                break
        if self._overflowed and not self.inbox:
            self._overflowed = False
            on_connection(
                Connection(self.connection.state, self.base_url, self.connection.detail, reset=True)
            )
        return count

    # --- the client's thread --------------------------------------------------------------------------------------

    def _submit(
        self,
        method: str,
        path: str,
        then: Then | None,
        failed: Failed | None,
        timeout_s: float,
        body: Any = None,
        params: dict[str, str | int | float] | None = None,
    ) -> None:
        async def work() -> None:
            await self._request(method, path, then, failed, timeout_s, body=body, params=params)

        self._enqueue(work)

    def _enqueue(self, work: Callable[[], Awaitable[None]]) -> None:
        self._waiting.append(work)
        self._stir()

    def _stir(self) -> None:
        loop, wake = self._loop, self._wake
        if loop is not None and wake is not None:
            with contextlib.suppress(RuntimeError):  # the loop is already closed
                loop.call_soon_threadsafe(wake.set)

    def _run(self) -> None:
        try:
            asyncio.run(self._main())
        except Exception:
            logger.exception("the connection thread stopped")

    async def _main(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._wake = asyncio.Event()
        limits = httpx.Limits(max_connections=16)
        # No proxies from the environment: the token must reach the backend only.
        async with httpx.AsyncClient(
            limits=limits, trust_env=False, follow_redirects=False
        ) as self._http:
            running = {asyncio.create_task(self._listen())}
            while not self._closing.is_set():
                while self._waiting:
                    task = asyncio.ensure_future(self._waiting.popleft()())
                    running.add(task)
                    task.add_done_callback(running.discard)
                await self._wake.wait()
                self._wake.clear()
            for task in list(running):
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)

    async def _request(
        self,
        method: str,
        path: str,
        then: Callable[[Any], None] | None,
        failed: Failed | None,
        timeout_s: float,
        *,
        raw: bool = False,
        body: Any = None,
        params: dict[str, str | int | float] | None = None,
        files: Any = None,
        data: dict[str, str] | None = None,
    ) -> None:
        assert self._http is not None
        headers = self._headers()
        content: bytes | None = None
        if files is None and method != "GET" and body is not None:
            content = orjson.dumps(body)
            headers["Content-Type"] = "application/json"
        try:
            response = await self._http.request(
                method,
                self.base_url + path,
                headers=headers,
                content=content,
                params=params or None,
                files=files,
                data=data,
                timeout=httpx.Timeout(timeout_s, connect=CONNECT_TIMEOUT_S),
            )
        except httpx.TimeoutException:
            self._deliver(
                failed, Failure("timeout", f"No answer to {method} {path} within {timeout_s:g} s.")
            )
            return
        except (httpx.HTTPError, httpx.InvalidURL):
            self._deliver(failed, self._unreachable())
            return
        if response.status_code >= 400:
            self._deliver(failed, _failure_of(response))
            return
        if raw:
            self._deliver(then, response.content[:LARGEST_DOWNLOAD])
            return
        try:
            value = orjson.loads(response.content) if response.content else None
        except orjson.JSONDecodeError:
            self._deliver(
                failed,
                Failure(
                    "malformed",
                    f"{path} answered with something that is not JSON.",
                    response.status_code,
                ),
            )
            return
        self._deliver(then, value)

    async def _stream(
        self,
        path: str,
        body: Any,
        piece: Callable[[str, Any], None],
        failed: Failed | None,
        timeout_s: float,
        made: Stream,
    ) -> None:
        assert self._http is not None

        def hand(pair: tuple[str, Any]) -> None:
            if not made.is_cancelled:
                piece(*pair)

        try:
            async with self._http.stream(
                "POST",
                self.base_url + path,
                headers={
                    **self._headers(),
                    "Content-Type": "application/json",
                    "Accept": "text/event-stream",
                },
                content=orjson.dumps(body),
                timeout=httpx.Timeout(timeout_s, connect=CONNECT_TIMEOUT_S),
            ) as response:
                if response.status_code >= 400:
                    await response.aread()
                    self._deliver(failed, _failure_of(response))
                    return
                name, data = "message", ""
                async for line in response.aiter_lines():
                    if line.startswith("event:"):
                        name = line[6:].strip()
                    elif line.startswith("data:"):
                        data += line[5:].strip()
                    elif not line and data:
                        with contextlib.suppress(orjson.JSONDecodeError):
                            self._deliver(hand, (name, orjson.loads(data)))
                        name, data = "message", ""
        except httpx.TimeoutException:
            words = f"{path} said nothing for {timeout_s:g} s."
            self._deliver(failed, Failure("timeout", words))
        except (httpx.HTTPError, httpx.InvalidURL):
            self._deliver(failed, self._unreachable())

    async def _is_named(self) -> None:
        """Note whether backend.json is the file of the backend we talk to; it is written once that is ready."""
        for wait_s in (0.0, 0.5, 2.0, 10.0):
            await asyncio.sleep(wait_s)
            found = await asyncio.to_thread(_read_backend_file, self._backend_file)
            if found is not None and found[0] == self.base_url:
                self._follows = True
                return

    async def _listen(self) -> None:
        """Keep the event stream open until closing."""
        wait_s = FIRST_WAIT_S
        while not self._closing.is_set():
            began = time.monotonic()
            try:
                await self._session()
                detail, state = "The backend closed the connection.", "lost"
            except asyncio.CancelledError:
                raise
            except Exception as error:  # noqa: BLE001 - every reason means: say so and try again
                detail, state = _connection_trouble(error, self.base_url)
            self._fail_commands()
            if time.monotonic() - began > LONGEST_WAIT_S:
                wait_s = FIRST_WAIT_S
            if self.connection.state != state or self.connection.detail != detail:
                self._set(Connection(state, self.base_url, detail))  # type: ignore[arg-type]  # one of the literals
            await asyncio.sleep(wait_s * random.uniform(0.8, 1.2))  # noqa: S311 - jitter
            wait_s = min(LONGEST_WAIT_S, wait_s * 1.6)
            await self._follow_restart()

    def _headers(self) -> dict[str, str]:
        """Who asks: the token opens, the other name tells the timeline that it was this window."""
        return {"Authorization": f"Bearer {self._token}", "X-Luma-Client": "window"}

    async def _session(self) -> None:
        """One connection, from hello to its end."""
        import websockets

        parts = urlsplit(self.base_url)
        scheme = "wss" if parts.scheme == "https" else "ws"
        async with websockets.connect(
            f"{scheme}://{parts.netloc}/ws",
            additional_headers=self._headers(),
            open_timeout=CONNECT_TIMEOUT_S,
            close_timeout=0.2,
            ping_interval=PING_S,
            max_size=LARGEST_FRAME,
            compression=None,
            proxy=None,
        ) as socket:
            hello: dict[str, Any] = {"since": self._last_seq, "batch": True, "severity": "DEBUG"}
            if self._types:
                hello["types"] = list(self._types)
            if self._epoch:
                hello["epoch"] = self._epoch
            await socket.send(orjson.dumps({"hello": hello}).decode())
            self._socket = socket
            try:
                async for frame in socket:
                    self._read(frame)
            finally:
                self._socket = None

    def _read(self, frame: str | bytes) -> None:
        """One frame: an event, several, or an answer."""
        try:
            value = orjson.loads(frame)
        except orjson.JSONDecodeError:
            logger.warning("the event stream sent something that is not JSON")
            return
        for item in value if isinstance(value, list) else (value,):
            if not isinstance(item, dict):
                continue
            if "type" in item:
                self._take(item)
            elif "hello" in item:
                self._greeted(item["hello"])
            elif "reset" in item:
                self._reset(item["reset"])
            elif "done" in item or "failed" in item:
                self._answered(item)

    def _take(self, envelope: dict[str, Any]) -> None:
        event = read_event(envelope)
        if event is None:
            return
        if event.seq is not None:
            if self._last_seq is not None and event.seq <= self._last_seq:
                return
            self._last_seq = event.seq
        self.received += 1
        waiting = len(self.inbox)
        if waiting >= INBOX_LIMIT:
            self._overflowed = True
            self.dropped += 1
        elif waiting >= LIVE_LIMIT and event.seq is None:
            self.dropped += 1
        else:
            self.inbox.append(event)

    def _greeted(self, hello: Any) -> None:
        hello = hello if isinstance(hello, dict) else {}
        epoch = str(hello.get("epoch", ""))
        first = not self._epoch and self._last_seq is None
        if first:  # later, a difference is told by a reset
            seq = hello.get("seq")
            self._last_seq = seq if isinstance(seq, int) else None
        self._epoch = epoch
        version = str(hello.get("version", ""))
        self._set(Connection("connected", self.base_url, version=version, reset=first))
        if self._backend_file is not None and not self._follows:
            self._enqueue(self._is_named)

    def _reset(self, reset: Any) -> None:
        """Another database, or a newer past than ours: forget the position and load by REST."""
        reset = reset if isinstance(reset, dict) else {}
        seq = reset.get("seq")
        self._last_seq = seq if isinstance(seq, int) else None
        self._epoch = str(reset.get("epoch", self._epoch))
        self._set(
            Connection("connected", self.base_url, version=self.connection.version, reset=True)
        )

    def _answered(self, item: dict[str, Any]) -> None:
        number = item.get("done", item.get("failed"))
        then, failed = self._commands.pop(number, (None, None)) if number else (None, None)
        if "done" in item:
            self._deliver(then, item)
        else:
            failure = Failure(str(item.get("code", "failed")), str(item.get("message", "")))
            self._deliver(failed, failure)

    def _fail_commands(self) -> None:
        for _, failed in self._commands.values():
            self._deliver(failed, self._unreachable())
        self._commands.clear()

    async def _follow_restart(self) -> None:
        """Look where a restarted backend listens now."""
        if self._backend_file is None or not self._follows:
            return
        found = await asyncio.to_thread(_read_backend_file, self._backend_file)
        if found is None:
            return
        url, token = found
        if token:
            self._token = token
        if url != self.base_url:
            logger.info("the backend listens at %s now", url)
            self.base_url = url

    def _set(self, connection: Connection) -> None:
        self.connection = connection
        self.inbox.append(connection)

    def _deliver(self, callback: Callable[[Any], None] | None, value: Any) -> None:
        if callback is not None:
            self.inbox.append((callback, value))

    def _unreachable(self) -> Failure:
        return Failure(
            "unreachable",
            f"The backend at {self.base_url} does not answer. It is tried again by itself.",
        )


def read_event(envelope: dict[str, Any]) -> Event | None:
    """An event from its envelope; None when it is none.

    Fields and types that a newer backend added do not hurt: unknown fields are left out, unknown types become
    `ForeignEvent`.
    """
    try:
        return parse_event(envelope)
    except (ValidationError, KeyError, TypeError):
        pass
    data = envelope.get("data")
    data = data if isinstance(data, dict) else {}
    known = _FIELDS.get(envelope.get("type"))
    if known is not None:
        with contextlib.suppress(ValidationError, KeyError, TypeError):
            fields = {name: value for name, value in data.items() if name in known}
            return parse_event({**envelope, "data": fields})
    try:
        return ForeignEvent(
            type=envelope["type"],
            **{
                name: envelope[name]
                for name in ("id", "at", "severity", "source", "turn_id", "job_id", "seq")
                if envelope.get(name) is not None
            },
            text=str(envelope.get("message", "")),
            fields=data,
        )
    except (ValidationError, KeyError, TypeError):
        logger.warning("an event could not be read: %s", str(envelope)[:200])
        return None


def _failure_of(response: httpx.Response) -> Failure:
    status = response.status_code
    try:
        value = orjson.loads(response.content)
        code, message = value["code"], value["message"]
    except (orjson.JSONDecodeError, KeyError, TypeError):
        code, message = "http", f"The backend answered {status} {response.reason_phrase}."
    return Failure(str(code), str(message), status)


def _connection_trouble(error: Exception, url: str) -> tuple[str, ConnectionState]:
    from websockets.exceptions import ConnectionClosed, InvalidStatus

    if isinstance(error, InvalidStatus) and error.response.status_code in (401, 403):
        return (
            f"The backend at {url} refuses this token. Give its data folder, or --token-file.",
            "refused",
        )
    if isinstance(error, ConnectionClosed):
        if error.rcvd is not None and error.rcvd.code == 4008:
            return "The window was too slow for the events; it catches up.", "lost"
        return "The backend closed the connection.", "lost"
    return f"No backend answers at {url}. It is tried again by itself.", "lost"


def _read_backend_file(file: Path | None) -> tuple[str, str] | None:
    """URL and token of the backend that a data folder belongs to; None when it does not say."""
    if file is None:
        return None
    try:
        value = orjson.loads(file.read_bytes())
        url = str(value["url"]).rstrip("/")
    except (OSError, orjson.JSONDecodeError, KeyError, TypeError):
        return None
    try:
        token = (file.parent / "api_token").read_text(encoding="utf-8").strip()
    except OSError:
        token = ""
    return url, token
