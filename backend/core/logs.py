"""Logging: the standard library's, to rotating JSON lines, the terminal and `log.line` events, secrets removed.

Every text that leaves through here passes the `Redactor`; others (errors, events) use the same one through `redact`.
"""

from __future__ import annotations

import logging
import logging.handlers
import os
import re
import sys
import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Literal, Protocol, TextIO
from urllib.parse import quote, quote_plus

import orjson

from backend.contracts.events import LogLine, Severity
from backend.core import clock
from backend.core.context import current_turn

HIDDEN = "[hidden]"
SHORTEST_SECRET = 6
"""Characters; replacing shorter ones would eat ordinary words."""

LINES_PER_S = 200
BURST_LINES = 1000
LONGEST_LINE = 20_000
QUIET = ("uvicorn", "httpx", "httpcore", "websockets", "alembic", "asyncio", "PIL", "multipart")
"""Loggers whose INFO is noise to a streamer."""

_KEY_NAMES = (
    r"(?:access_?token|refresh_?token|id_?token|api[-_]?key|x-api-key|client_?secret|overlay_?token|token|"
    r"password|passwd|secret|authorization|auth|cookie|set-cookie)"
)
_PATTERNS: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(r"(?i)\b(bearer|basic)([\s.]+)[A-Za-z0-9._~+/=-]{6,}"), rf"\1\2{HIDDEN}"),
    (re.compile(r"\b(?:sk|pk|rk)-[A-Za-z0-9_-]{8,}"), HIDDEN),
    (re.compile(r"(?i)\boauth:[a-z0-9]{10,}"), f"oauth:{HIDDEN}"),
    (re.compile(rf"(?i)([?&;#]{_KEY_NAMES}=)[^&;#\s\"'<>\\]+"), rf"\1{HIDDEN}"),
    (re.compile(r"(?i)([?&](?:key|code|t)=)[^&;#\s\"'<>\\]{6,}"), rf"\1{HIDDEN}"),
    # From the slashes on: looking for the scheme before them took 15 s for a text like "a.a.a…".
    (re.compile(r"(://)[^/?#\s@\"']{1,1024}@"), rf"\1{HIDDEN}@"),
    (
        re.compile(
            rf"(?i)(\b{_KEY_NAMES}\b[\"']?\s*[:=]\s*[\"']?)(?!\[hidden\]|(?:bearer|basic)\b)[^\s\"',;&}})\]]{{6,}}"
        ),
        rf"\1{HIDDEN}",
    ),
)


class Redactor:
    """Takes secrets out of text: those it was told, and whatever looks like one. Thread-safe."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        self._known: set[str] = set()
        self._pattern: re.Pattern[str] | None = None
        self._lock = threading.Lock()
        for secret in secrets:
            self.add(secret)

    def add(self, secret: str) -> None:
        """Never let this value through again, also as it reads inside a URL or JSON."""
        secret = secret.strip()
        if len(secret) < SHORTEST_SECRET:
            return
        forms = {secret, quote(secret, safe=""), quote(secret), quote_plus(secret)}
        forms |= {orjson.dumps(form).decode()[1:-1] for form in list(forms)}
        forms |= {repr(form)[1:-1] for form in list(forms)}
        with self._lock:
            self._known |= forms
            # Longest first: a secret that begins with another one must not leave its end behind.
            ordered = sorted(self._known, key=len, reverse=True)
            self._pattern = re.compile("|".join(re.escape(form) for form in ordered))

    def redact(self, text: str) -> str:
        """The text without secrets; everything else stays as it is."""
        if self._pattern is not None:
            text = self._pattern.sub(HIDDEN, text)
        for pattern, replacement in _PATTERNS:
            text = pattern.sub(replacement, text)
        return text


REDACTOR = Redactor()
"""The one of this process."""


def redact(text: str) -> str:
    """The text without secrets."""
    return REDACTOR.redact(text)


class Publishes(Protocol):
    """Where lines go as events: the bus, which itself needs the redactor from here."""

    def publish_from_thread(self, event: LogLine) -> None:
        """Hand a line on, from any thread."""
        ...


class Logs:
    """The files and the terminal that `start_logging` opened; closed at the end."""

    def __init__(self, handlers: list[logging.Handler]) -> None:
        self._handlers = handlers
        self._hooks = (sys.excepthook, threading.excepthook)

    def close(self) -> None:
        """Write what is pending and let go of the files."""
        sys.excepthook, threading.excepthook = self._hooks
        logging.captureWarnings(capture=False)
        for handler in self._handlers:
            logging.getLogger().removeHandler(handler)
            with suppress(OSError):  # a full disk has no room for the last lines either
                handler.close()
        self._handlers = []


@dataclass(slots=True)
class _Detail:
    """Whether who watches (terminal, window) sees tracebacks; files always have them."""

    tracebacks: bool = False


_DETAIL = _Detail()


def set_level(level: str, *, debug: bool) -> None:
    """Change what is logged, at any time; debug means everything, and tracebacks for the operator."""
    _DETAIL.tracebacks = debug
    logging.getLogger().setLevel(logging.DEBUG if debug else level)
    for name in QUIET:
        logging.getLogger(name).setLevel(logging.INFO if debug else logging.WARNING)


def attach(bus: Publishes) -> Callable[[], None]:
    """Publish every line as a `log.line` event from now on; call what it returns to end that."""
    handler = _BusHandler(bus)
    logging.getLogger().addHandler(handler)
    return lambda: logging.getLogger().removeHandler(handler)


def start_logging(
    path: Path | None,
    *,
    level: str = "INFO",
    debug: bool = False,
    max_bytes: int = 10 * 1024 * 1024,
    backups: int = 5,
    console: TextIO | None = None,
) -> Logs:
    """Send every log record to ``path`` as JSON lines and, readable, to ``console``.

    Args:
        path: The log file; None for none. A folder that cannot be written costs the file, not the start.
        level: Least important level.
        debug: Everything, with tracebacks on the console.
        max_bytes: Size at which a new file begins.
        backups: Old files that are kept.
        console: Usually stderr; None for none.
    """
    handlers: list[logging.Handler] = []
    problem = ""
    if path is not None:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            handlers.append(_File(path, max_bytes, backups))
        except OSError as error:
            problem = f"There is no log file: {path} cannot be written ({error.strerror})."
    if console is not None:
        handlers.append(_Console(console))
    for handler in handlers:
        logging.getLogger().addHandler(handler)
    logs = Logs(handlers)
    set_level(level, debug=debug)
    logging.raiseExceptions = False  # a full disk must not fill the terminal, one trace per line
    logging.captureWarnings(capture=True)
    sys.excepthook = _log_uncaught
    threading.excepthook = _log_uncaught_in_thread
    if problem:
        logging.getLogger(__name__).warning("%s", problem)
    return logs


def part_of(logger_name: str) -> str:
    """The part of the program a logger belongs to: "backend.chat.turn" -> "chat"."""
    names = logger_name.split(".")
    if names[0] == "backend" and len(names) > 1:
        return "/".join(names[1:4]) if names[1] == "engines" else names[1]
    return names[0]


def _message(record: logging.LogRecord) -> str:
    try:
        text = record.getMessage()
    except Exception:  # noqa: BLE001 - wrong arguments of a log call must not lose the line
        text = f"{record.msg} {record.args!r}"
    # Cut after redaction: half a secret at the cut would not be recognised.
    return redact(text[: 4 * LONGEST_LINE])[:LONGEST_LINE]


def _traceback(record: logging.LogRecord) -> str:
    if record.exc_info and not record.exc_text:
        record.exc_text = _PLAIN.formatException(record.exc_info)
    parts = [record.exc_text or "", record.stack_info or ""]
    return redact("\n".join(part for part in parts if part)[-4 * LONGEST_LINE :])[-LONGEST_LINE:]


_PLAIN = logging.Formatter()


class _JsonLines(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        at = datetime.fromtimestamp(record.created, UTC)
        turn = current_turn.get()
        line = {
            "at": at.strftime("%Y-%m-%dT%H:%M:%S.") + f"{at.microsecond // 1000:03d}Z",
            "level": record.levelname,
            "logger": record.name,
            "message": _message(record),
            "thread": record.threadName,
        }
        if turn is not None:
            line["turn_id"] = turn.turn_id
        if traceback := _traceback(record):
            line["traceback"] = traceback
        # A lone surrogate (a file name that is no UTF-8) must not cost the line.
        safe = {k: (v or "").encode("utf-8", "replace").decode() for k, v in line.items()}
        return orjson.dumps(safe).decode()


class _File(logging.handlers.RotatingFileHandler):
    """Rotating, readable by this user only: what people said may be in it."""

    def __init__(self, path: Path, max_bytes: int, backups: int) -> None:
        super().__init__(path, maxBytes=max_bytes, backupCount=backups, encoding="utf-8")
        self.setFormatter(_JsonLines())

    def _open(self) -> TextIO:  # type: ignore[override]  # the base says TextIOWrapper, any text file will do
        handle = os.open(self.baseFilename, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        return os.fdopen(handle, "a", encoding="utf-8")


_UNSEEN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069]")
"""What a terminal obeys instead of showing it; a viewer's or a provider's text may hold it."""


class _Console(logging.StreamHandler[TextIO]):
    """One readable line each; tracebacks only for who asked for them."""

    def format(self, record: logging.LogRecord) -> str:
        at = datetime.fromtimestamp(record.created).astimezone()
        text = f"{at:%H:%M:%S} {record.levelname:<7} {part_of(record.name)}: {_message(record)}"
        if record.exc_info and not _DETAIL.tracebacks and record.exc_info[0] is not None:
            text += redact(f" ({record.exc_info[0].__name__}: {record.exc_info[1]})")
        elif _DETAIL.tracebacks and (traceback := _traceback(record)):
            text += f"\n{traceback}"
        text = _UNSEEN.sub(lambda found: ascii(found[0])[1:-1], text)
        text = text.replace(
            "\n", "\n  "
        )  # what goes on in the next line cannot pose as a line of ours
        encoding = getattr(self.stream, "encoding", None) or "utf-8"
        return text.encode(encoding, "backslashreplace").decode(encoding)


class _BusHandler(logging.Handler):
    """Publishes lines, at most `LINES_PER_S` for long; what is left out is counted and said."""

    def __init__(self, bus: Publishes) -> None:
        super().__init__()
        self._bus = bus
        self._busy = threading.local()
        self._allowance = float(BURST_LINES)
        self._filled_at = clock.monotonic_s()
        self._left_out = 0

    def emit(self, record: logging.LogRecord) -> None:
        if getattr(self._busy, "now", False):
            return  # publishing itself logged something
        self._busy.now = True
        try:
            if not self._may_pass():
                self._left_out += 1
                return
            if self._left_out:
                count, self._left_out = self._left_out, 0
                self._publish(
                    "WARNING", __name__, f"{count} lines were left out; the file has them"
                )
            turn = current_turn.get()
            self._publish(
                _severity(record.levelno),
                record.name,
                _message(record),
                _traceback(record) if _DETAIL.tracebacks else "",
                turn.turn_id if turn is not None else None,
            )
        except Exception:  # noqa: BLE001 - logging never breaks who logs
            self.handleError(record)
        finally:
            self._busy.now = False

    def _may_pass(self) -> bool:
        now = clock.monotonic_s()
        grown = self._allowance + (now - self._filled_at) * LINES_PER_S
        self._allowance, self._filled_at = min(float(BURST_LINES), grown), now
        if self._allowance < 1:
            return False
        self._allowance -= 1
        return True

    def _publish(
        self,
        severity: Severity,
        name: str,
        text: str,
        traceback: str = "",
        turn_id: str | None = None,
    ) -> None:
        line = LogLine(
            severity=severity,
            source=part_of(name),
            logger=name,
            text=text,
            traceback=traceback,
            turn_id=turn_id,
        )
        self._bus.publish_from_thread(line)


def _severity(level: int) -> Severity:
    names: tuple[tuple[int, Literal["ERROR", "WARNING", "INFO"]], ...] = (
        (logging.ERROR, "ERROR"),
        (logging.WARNING, "WARNING"),
        (logging.INFO, "INFO"),
    )
    return next((name for least, name in names if level >= least), "DEBUG")


def _log_uncaught(
    kind: type[BaseException], error: BaseException, trace: TracebackType | None
) -> None:
    if issubclass(kind, KeyboardInterrupt):
        return
    logging.getLogger("luma").critical("an error nobody caught", exc_info=(kind, error, trace))


def _log_uncaught_in_thread(args: threading.ExceptHookArgs) -> None:
    if args.exc_type is SystemExit or args.exc_value is None:
        return
    name = args.thread.name if args.thread is not None else "?"
    with suppress(Exception):
        logging.getLogger("luma").critical(
            "thread %s ended by an error nobody caught",
            name,
            exc_info=(args.exc_type, args.exc_value, args.exc_traceback),
        )
