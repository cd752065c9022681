"""The process an engine lives in: ``python -m backend.core.engine_child``, started by `backend.core.workers`.

Reads calls from standard input, runs them on a few threads, answers on what was standard output. Ends when its input
ends, that is when the backend ends, however that ended. Imports nothing of the app: 14 MB before the engine is loaded.
"""

from __future__ import annotations

import faulthandler
import os
import signal
import sys
import threading
import time
import traceback
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from typing import Any

from backend.core import engine_wire

THREADS = 4  # two sentences, a listing and a warm-up; the engines lock what cannot overlap

# Native code that never lets go of the interpreter would also keep it from seeing that the backend is gone.
STUCK_S = 60.0


class Child:
    """Runs calls until its input ends."""

    def __init__(self, source: int, sink: int) -> None:
        self._source = source
        self._sink = sink
        self._sending = threading.Lock()
        self._pending: set[int] = set()
        self._cancelled: set[int] = set()
        self._running = 0
        self._idle_since = time.monotonic()
        self._idle_s: float | None = None
        self._idle_is_known = threading.Event()
        self._importing = threading.Lock()
        self._pool = ThreadPoolExecutor(THREADS, thread_name_prefix="engine")

    def serve(self) -> None:
        """Take calls; returns when the backend has gone."""
        self._send({"ready": os.getpid()})
        while (call := engine_wire.read(self._read_exactly)) is not None:
            if "cancel" in call:
                if call["cancel"] in self._pending:
                    self._cancelled.add(call["cancel"])
                continue
            with self._sending:
                self._running += 1
                self._pending.add(call["id"])
            self._pool.submit(self._run, call)

    def watch(self) -> None:
        """Show signs of life, and end when the engine says it need not stay; a daemon thread."""
        while True:
            faulthandler.dump_traceback_later(STUCK_S, exit=True)
            if self._idle_s is None:
                self._idle_is_known.wait(STUCK_S / 4)
            else:
                time.sleep(min(STUCK_S / 4, self._idle_s))
            with self._sending:
                idle = 0.0 if self._running else time.monotonic() - self._idle_since
                if self._idle_s is not None and idle >= self._idle_s:
                    # a call that is on its way right now is sent again to the next process
                    os._exit(0)

    def _run(self, call: dict[str, Any]) -> None:
        number = call["id"]
        try:
            if number in self._cancelled:
                self._send({"id": number, "dropped": True})  # or its deadline would find us stuck
                return
            self._send({"id": number, "started": True})
            try:
                answer = {"id": number, "value": self._value(call)}
                frame = engine_wire.encode(answer)
            except Exception as error:  # noqa: BLE001 - every failure is the caller's to hear about
                frame = engine_wire.encode({"id": number, "error": _described(error)})
            self._send_frame(frame)
        finally:
            with self._sending:
                self._running -= 1
                self._idle_since = time.monotonic()
                self._pending.discard(number)
                self._cancelled.discard(number)

    def _value(self, call: dict[str, Any]) -> Any:
        module_name, _, attribute = call["function"].partition(":")
        module = import_module(module_name)
        if self._idle_s is None and (idle_s := getattr(module, "IDLE_S", None)) is not None:
            self._idle_s = idle_s
            self._idle_is_known.set()
        # Two threads that enter numpy by different doors (Python and onnxruntime's C code) find it half made.
        with self._importing:
            for library in getattr(module, "FIRST", ()):
                import_module(library)
        return getattr(module, attribute)(*call["args"], **call["kwargs"])

    def _send(self, message: dict[str, Any]) -> None:
        self._send_frame(engine_wire.encode(message))

    def _send_frame(self, frame: bytes) -> None:
        with self._sending:
            view = memoryview(frame)
            while view:
                try:
                    view = view[os.write(self._sink, view[: 1 << 20]) :]
                except OSError:
                    os._exit(0)  # nobody listens any more

    def _read_exactly(self, count: int) -> bytes | None:
        parts = bytearray()
        while len(parts) < count:
            part = os.read(self._source, min(count - len(parts), 1 << 20))
            if not part:
                return None
            parts += part
        return bytes(parts)


def _described(error: BaseException) -> dict[str, Any]:
    """An exception as data; `backend.core.workers` makes the AppError of its code again."""
    if isinstance(error, ModuleNotFoundError):
        return {
            "code": "engine.unavailable",
            "message": f"It needs the package {error.name!r}: pip install {error.name}",
        }
    told = {
        "code": getattr(error, "code", ""),
        "message": str(error),
        "type": type(error).__name__,
        "traceback": "".join(traceback.format_exception(error))[-8000:],
    }
    for name in ("kind", "provider", "retry_after_s"):
        if hasattr(error, name):
            told[name] = getattr(error, name)
    return told


def _private_pipes() -> tuple[int, int]:
    """Take standard input and output for ourselves: libraries that print must not break the conversation."""
    source, sink = os.dup(0), os.dup(1)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)
    if sys.platform == "win32":
        import msvcrt

        msvcrt.setmode(source, os.O_BINARY)
        msvcrt.setmode(sink, os.O_BINARY)
    return source, sink


def main() -> None:
    """Serve until the backend is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the backend, which then ends us
    faulthandler.enable()
    child = Child(*_private_pipes())
    threading.Thread(target=child.watch, name="watch", daemon=True).start()
    child.serve()
    # Not sys.exit: a thread stuck in native code would keep the process, and its memory, for ever.
    os._exit(0)


if __name__ == "__main__":
    main()
