"""Run the backend: uvicorn on the thread "backend", on a socket that is open before anything else starts.

The port is ours from the first moment, so whoever connects early waits instead of being refused, and a taken port is
found before the database is touched. The caller's thread stays free for the window.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import socket
import sys
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from config import LoadedSettings, Settings

if TYPE_CHECKING:
    import uvicorn
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

logger = logging.getLogger(__name__)

START_TIMEOUT_S = 60.0
"""A migration of a large database may take a while."""

GRACE_S = 1
"""How long running requests may go on at a stop (whole seconds: uvicorn wants an int)."""

STOP_TIMEOUT_S = 4.0
PORTS_TRIED = 20


HEAD_S = 10.0
"""Longest wait for a request's head: who connects and says nothing holds no connection for long."""
MAX_HEAD_BYTES = 128 * 1024
"""Of a head that is still incomplete; the guard refuses smaller ones with words."""
SPARE_CONNECTIONS = 300
"""Connections besides the sockets; below the 1,024 files a process may open on most systems."""

STRANGERS_LINES = (
    "Invalid HTTP request received.",
    "Unsupported upgrade request.",
    "ASGI callable returned without completing handshake.",  # said of each socket that the guard refuses
)
"""What uvicorn logs because of what anybody sent: any web page could fill the log with it."""


class BackendError(Exception):
    """The backend cannot run; the message says why and what to do."""


class PortTakenError(BackendError):
    """Somebody else listens on the port."""


def open_socket(host: str, port: int, *, may_move: bool = False) -> socket.socket:
    """Listen on the address; the socket is what `BackendThread` serves.

    Args:
        host: Name or address.
        port: 0 picks a free one.
        may_move: Whether the next free port will do when this one is taken.

    Raises:
        PortTakenError: If somebody else has it.
        BackendError: If the address is none of this machine's.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError as error:
        raise BackendError(
            f"API_HOST {host!r} is no address of this machine: {error.strerror}."
        ) from error
    family, _, _, _, address = found[0]
    last = port + PORTS_TRIED if may_move and port else port
    for number in (*range(port, min(last, 65535) + 1), *([0] if may_move else [])):
        try:
            return _listen(family, (address[0], number, *address[2:]))
        except OSError as error:
            if error.errno in (errno.EADDRINUSE, errno.EACCES) or _is_windows_taken(error):
                reason = "may not be used" if error.errno == errno.EACCES else "is taken"
                continue
            raise BackendError(
                f"API_HOST {host!r} is no address of this machine: {error.strerror}."
            ) from error
    raise PortTakenError(
        f"Port {port} on {host} {reason}: another program listens there."
        " Stop it, or choose another port with --port or API_PORT (0 picks a free one)."
    )


def _listen(family: int, address: tuple[Any, ...]) -> socket.socket:
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        if sys.platform == "win32":
            # There SO_REUSEADDR would let two programs share the port.
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_EXCLUSIVEADDRUSE, 1)
        else:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(2048)  # now: two sockets may share a port until one of them listens
        listener.setblocking(False)
    except BaseException:
        listener.close()
        raise
    return listener


def _is_windows_taken(error: OSError) -> bool:
    return getattr(error, "winerror", None) in (10013, 10048)


class BackendThread:
    """The backend on its own thread, from `start` to `stop`; also a context manager.

    Args:
        settings: What it runs with; load_settings' result also tells who decided what.
        listener: A socket from `open_socket`; None opens one at the settings' address.
        make_app: Builds the ASGI application, in the backend's thread; None is backend.app's.
    """

    def __init__(
        self,
        settings: Settings | LoadedSettings,
        *,
        listener: socket.socket | None = None,
        make_app: Callable[[], ASGIApp] | None = None,
    ) -> None:
        self._loaded = (
            settings if isinstance(settings, LoadedSettings) else LoadedSettings.of(settings)
        )
        self.settings = self._loaded.settings
        self._listener = listener or open_socket(self.settings.api_host, self.settings.api_port)
        self._make_app = make_app or self._app
        self._server: uvicorn.Server | None = None
        self._ready = threading.Event()
        self._ended = threading.Event()
        self._stop_asked = threading.Event()
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="backend", daemon=True)
        self.url = _url(self.settings.scheme, self._listener)

    @property
    def port(self) -> int:
        """The port it listens on."""
        return int(self.url.rpartition(":")[2])

    @property
    def is_running(self) -> bool:
        """Whether it answers."""
        return self._ready.is_set() and not self._ended.is_set()

    def begin(self) -> None:
        """Start without waiting; connections are accepted from now on and answered when it is ready."""
        self._thread.start()

    def wait_ready(self, timeout_s: float = START_TIMEOUT_S) -> None:
        """Wait until it answers.

        Raises:
            BackendError: If it fails or takes longer, with the reason.
        """
        if not self._ready.wait(timeout_s):
            raise BackendError(f"The backend was not ready after {timeout_s:g} s; see the log.")
        if self._failure is not None:
            raise BackendError(_reason(self._failure)) from self._failure
        if self._ended.is_set() and not self._stop_asked.is_set():
            raise BackendError("The backend ended while it started; see the log.")

    def start(self, timeout_s: float = START_TIMEOUT_S) -> None:
        """Start and wait until it answers; stops it again when it does not.

        Raises:
            BackendError: As for `wait_ready`.
        """
        self.begin()
        try:
            self.wait_ready(timeout_s)
        except BackendError:
            self.stop()
            raise

    def wait_ended(self, timeout_s: float | None = None) -> bool:
        """Wait until the thread has ended by itself or by `stop`; whether it has."""
        return self._ended.wait(timeout_s)

    def failure(self) -> str:
        """Why it ended by itself, in words; empty when it did not fail."""
        return "" if self._failure is None else _reason(self._failure)

    def stop(self, timeout_s: float = STOP_TIMEOUT_S) -> bool:
        """Stop taking requests, let running ones finish for a second, close everything; whether all was in time."""
        self._stop_asked.set()
        if self._server is not None:
            self._server.should_exit = True
        if self._thread.ident is None:
            self._listener.close()
            return True
        self._thread.join(timeout_s)
        if self._thread.is_alive():
            logger.error("the backend did not stop within %g s and is left behind", timeout_s)
            return False
        return True

    def __enter__(self) -> BackendThread:
        self.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.stop()

    def _app(self) -> ASGIApp:
        from backend.app import create_app

        app: ASGIApp = create_app(self._loaded)
        return app

    def _run(self) -> None:
        try:
            self._serve()
        except SystemExit:
            # uvicorn's way to say that the application refused to start; the reason was noted below.
            self._failure = self._failure or BackendError(
                "The backend could not start; see the log."
            )
        except BaseException as error:
            self._failure = error
            logger.exception("the backend failed")
        finally:
            with contextlib.suppress(OSError):
                self._listener.close()
            self._ended.set()
            self._ready.set()

    def _serve(self) -> None:
        import uvicorn

        ready = self._ready

        class Server(uvicorn.Server):
            async def startup(self, sockets: list[socket.socket] | None = None) -> None:
                await super().startup(sockets)
                if self.started:
                    ready.set()

        settings = self.settings
        for name, path in (("TLS_CERT", settings.tls_cert), ("TLS_KEY", settings.tls_key)):
            if path is not None and not path.is_file():
                raise BackendError(f"{name} names the file {path}, which is not there.")
        application = self._make_app()
        logging.getLogger("uvicorn.error").addFilter(_is_ours_to_tell)
        config = uvicorn.Config(
            self._noting_failure(application),
            http=_patient_protocol(settings.api_max_connections + SPARE_CONNECTIONS),
            log_config=None,
            access_log=False,
            lifespan="on",
            ws="websockets-sansio",
            # The guard closes at half of it, with words; this bounds what is held.
            ws_max_size=2 << 20,
            ws_per_message_deflate=False,  # halves the event rate on loopback
            proxy_headers=False,
            server_header=False,
            timeout_graceful_shutdown=GRACE_S,
            ssl_certfile=settings.tls_cert,
            ssl_keyfile=settings.tls_key,
        )
        server = Server(config)
        self._server = server
        if self._stop_asked.is_set():
            return
        server.run(sockets=[self._listener])

    def _noting_failure(self, application: ASGIApp) -> ASGIApp:
        """Keep what made the start fail: uvicorn only logs it."""

        async def run(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] != "lifespan":
                await application(scope, receive, send)
                return

            async def tell(message: Message) -> None:
                if message["type"] == "lifespan.startup.failed":
                    # Starlette sends the traceback as text, and uvicorn would print it in front of the reason.
                    message = {**message, "message": ""}
                await send(message)

            try:
                await application(scope, receive, tell)
            except asyncio.CancelledError:
                raise
            except BaseException as error:
                self._failure = error
                logger.exception("the backend could not start or stop")
                raise

        return run


def _is_ours_to_tell(record: logging.LogRecord) -> bool:
    return record.msg not in STRANGERS_LINES


def _patient_protocol(most: int) -> type[asyncio.Protocol]:
    """Uvicorn's HTTP/1.1 with bounds on what happens before a request is there, which the guard cannot see.

    Args:
        most: Connections open at once; more are closed unheard.
    """
    from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

    class Patient(HttpToolsProtocol):
        _deadline: asyncio.TimerHandle | None = None
        _head_bytes = 0
        _in_head = False

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as in uvicorn
            super().connection_made(transport)
            if len(self.connections) > most:
                transport.abort()
                return
            self._expect_head()

        def connection_lost(self, exc: Exception | None) -> None:
            self._head_is_there()
            super().connection_lost(exc)

        def data_received(self, data: bytes) -> None:
            self._head_bytes += len(data)
            super().data_received(data)
            if self.transport.is_closing() or self.transport.get_protocol() is not self:
                return
            if self._in_head and self._head_bytes > MAX_HEAD_BYTES:
                self.transport.abort()
            elif not self._in_head and (self.cycle is None or self.cycle.response_complete):
                self._expect_head()  # empty lines between requests keep nothing open

        def on_message_begin(self) -> None:
            super().on_message_begin()
            self._in_head = True
            self._head_bytes = 0
            self._expect_head()

        def on_headers_complete(self) -> None:
            self._in_head = False
            self._head_is_there()
            super().on_headers_complete()

        def handle_websocket_upgrade(self) -> None:
            super().handle_websocket_upgrade()
            # A header that is too long for it leaves it waiting for ever.
            if not getattr(self.transport.get_protocol(), "handshake_initiated", True):
                self.transport.abort()

        def _expect_head(self) -> None:
            if self._deadline is None:
                self._deadline = self.loop.call_later(HEAD_S, self.transport.abort)

        def _head_is_there(self) -> None:
            if self._deadline is not None:
                self._deadline.cancel()
                self._deadline = None

    return Patient


def _reason(error: BaseException) -> str:
    text = str(error) or type(error).__name__
    return text if isinstance(error, BackendError) else f"{text} ({type(error).__name__})"


def _url(scheme: str, listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    if host in ("0.0.0.0", "::"):  # noqa: S104 - recognising it, not binding it
        host = "127.0.0.1" if host == "0.0.0.0" else "::1"  # noqa: S104
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"
