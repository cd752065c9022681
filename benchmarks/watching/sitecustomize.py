"""Watches a Luma that a benchmark has started, from inside: on PYTHONPATH, Python runs this file before the program.

Does nothing unless WATCH_SOCKET names a path and the process is main.py; its engines inherit both. One thread of its own answers
there, a line of JSON for a word: ``tasks`` (coroutines of the backend's loop by name), ``objects`` (living ones by type), ``pages``
(bytes that SQLite holds, whose cache of pages is bounded and fills with the database), ``heap`` (what malloc has given out and what it keeps free, MB, and Python's blocks), ``traced``
(what was allocated since the last time, by line; tracemalloc runs from the first on), ``beat`` (begin to measure the loop) and
``beats`` (end it, with what was measured).

The beat asks the loop to be called every 5 ms and notes how late that is, how long the loop's thread and the other threads of the
process computed meanwhile, and how long they stood in the system's queue for a core (schedstat of Linux): the loop waits for its own
core, and for whoever holds the interpreter and has none. A second thread notes where the loop is when a beat is overdue.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import ctypes.util
import gc
import json
import os
import socket
import sys
import threading
import time
import traceback
import tracemalloc
from collections import Counter
from pathlib import Path

EVERY_S = 0.005
LATE_S = 0.02
"""From here on it is noted what the loop was doing."""
MOST_STALLS = 400
LIST_EVERY = 200
"""Beats after which it is looked which threads there are."""
TRACED_FRAMES = 6


def _loop() -> asyncio.AbstractEventLoop:
    # The collector does not list it: the program freezes what its start has made.
    tasks: list[asyncio.Task[object]] = list(asyncio.tasks._all_tasks)  # type: ignore[attr-defined]  # of all loops; nothing public lists them
    return next(task.get_loop() for task in tasks if task.get_loop().is_running())


class Beat:
    """Measures how late the loop calls back.

    Attributes:
        beats: Seconds late; since the last beat, seconds the loop's thread has computed, the others, the loop's thread has waited for
            a core, the others.
        stalls: Of the longest: when, how late, and where the loop and the other threads were.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.beats: list[tuple[float, float, float, float, float]] = []
        self.stalls: list[dict[str, object]] = []
        self._loop = loop
        self._is_over = False
        self._over = threading.Event()
        self._due_s = 0.0
        self._thread_id = 0
        self._queue = -1
        self._queues: dict[str, int] = {}
        self._before = (0.0, 0.0, 0.0, 0.0)
        self._seen: dict[str, object] | None = None
        self._collecting_s = 0.0
        self._collected_s = 0.0
        loop.call_soon_threadsafe(self._begin)
        self._watcher = threading.Thread(target=self._watch, name="watching the loop", daemon=True)
        self._watcher.start()

    def end(self) -> None:
        """Measure no more."""
        self._is_over = True
        self._watcher.join()
        self._over.wait(1)
        if self._collect in gc.callbacks:
            gc.callbacks.remove(self._collect)
        for queue in self._queues.values():
            os.close(queue)

    def _begin(self) -> None:
        self._thread_id = threading.get_ident()
        self._list()
        gc.callbacks.append(self._collect)
        self._before = self._clocks()
        self._due_s = time.monotonic() + EVERY_S
        self._loop.call_later(EVERY_S, self._beat)

    def _list(self) -> None:
        mine = str(threading.get_native_id())
        now = set(os.listdir("/proc/self/task"))  # noqa: PTH208  names, fast
        for gone in self._queues.keys() - now:
            os.close(self._queues.pop(gone))
        for new in now - self._queues.keys():
            with contextlib.suppress(OSError):  # gone already
                self._queues[new] = os.open(f"/proc/self/task/{new}/schedstat", os.O_RDONLY)
        self._queue = self._queues[mine]

    def _clocks(self) -> tuple[float, float, float, float]:
        mine_s = time.thread_time()
        queued_s = _queued_s(self._queue)
        others_s = sum(map(_queued_s, self._queues.values())) - queued_s
        return mine_s, time.process_time() - mine_s, queued_s, others_s

    def _beat(self) -> None:
        now_s = time.monotonic()
        late_s = now_s - self._due_s
        clocks = self._clocks()
        spent = [after - before for after, before in zip(clocks, self._before, strict=True)]
        self.beats.append((late_s, spent[0], spent[1], spent[2], spent[3]))
        if late_s > LATE_S and len(self.stalls) < MOST_STALLS:
            seen, self._seen = self._seen, None
            self.stalls.append(
                {
                    "at_s": now_s,
                    "late_ms": round(late_s * 1000, 1),
                    "loop_ms": round(spent[0] * 1000, 1),
                    "others_ms": round(spent[1] * 1000, 1),
                    "queued_ms": round(spent[2] * 1000, 1),
                    "others_queued_ms": round(spent[3] * 1000, 1),
                    "collecting_ms": round(self._collected_s * 1000, 1),
                    **(seen or {}),
                }
            )
        self._seen = None
        self._collected_s = 0.0
        if self._is_over:
            self._over.set()
            return
        if len(self.beats) % LIST_EVERY == 0:
            self._list()
            clocks = self._clocks()
        self._before = clocks
        self._due_s = time.monotonic() + EVERY_S
        self._loop.call_later(EVERY_S, self._beat)

    def _collect(self, phase: str, info: dict[str, int]) -> None:
        if phase == "start":
            self._collecting_s = time.monotonic()
        else:
            self._collected_s += time.monotonic() - self._collecting_s

    def _watch(self) -> None:
        names = {}
        while not self._is_over:
            time.sleep(EVERY_S)
            if self._due_s and time.monotonic() - self._due_s > LATE_S and self._seen is None:
                frames = sys._current_frames()
                names = {one.ident: one.name for one in threading.enumerate()}
                self._seen = {
                    "loop": _where(frames.pop(self._thread_id, None), 12),
                    "threads": {
                        names.get(ident, "?"): _where(frame, 2)
                        for ident, frame in frames.items()
                        if names.get(ident) not in ("watching", "watching the loop")
                    },
                }


class _Mallinfo2(ctypes.Structure):
    _fields_ = [
        (name, ctypes.c_size_t)
        for name in ("arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks", "fsmblks", "uordblks", "fordblks", "keepcost")
    ]  # fmt: skip


def _malloc_mb() -> dict[str, float]:
    asked = getattr(ctypes.CDLL(None), "mallinfo2", None)  # glibc 2.33
    if asked is None:
        return {}
    asked.restype = _Mallinfo2
    found = asked()
    return {"used": (found.uordblks + found.hblkhd) / 2**20, "free": found.fordblks / 2**20}


def _queued_s(file: int) -> float:
    try:
        return int(os.pread(file, 64, 0).split()[1]) / 1e9
    except OSError:  # the thread has ended
        return 0.0


def _where(frame: object, most: int) -> list[str]:
    stack = traceback.extract_stack(frame)  # type: ignore[arg-type]  # a frame, or None for this one
    return [f"{Path(one.filename).name}:{one.lineno} {one.name}" for one in stack[-most:]]


class Watch:
    """Answers what is asked."""

    def __init__(self) -> None:
        self._found: asyncio.AbstractEventLoop | None = None
        self._beat: Beat | None = None
        self._snapshot: tracemalloc.Snapshot | None = None

    def serve(self, path: str) -> None:
        """Answer one caller after the other."""
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(path)
            listener.listen()
            while True:
                caller, _ = listener.accept()
                with caller, caller.makefile("rw") as lines:
                    for line in lines:
                        lines.write(json.dumps(self.answer(line.strip())) + "\n")
                        lines.flush()

    def answer(self, word: str) -> object:
        """The answer to one word."""
        if self._found is None:
            self._found = _loop()
        match word:
            case "tasks":
                return Counter(
                    getattr(task.get_coro(), "__qualname__", "?")
                    for task in asyncio.all_tasks(self._found)
                )
            case "objects":
                gc.collect()
                kinds = Counter(
                    f"{type(one).__module__}.{type(one).__qualname__}" for one in gc.get_objects()
                )
                return dict(kinds.most_common(400))
            case "pages":
                name = ctypes.util.find_library("sqlite3")
                used = ctypes.CDLL(name).sqlite3_memory_used
                used.restype = ctypes.c_int64
                return used()
            case "heap":
                return {**_malloc_mb(), "blocks": sys.getallocatedblocks()}
            case "traced":
                return self._traced()
            case "beat":
                self._beat = Beat(self._found)
                return True
            case "beats":
                assert self._beat is not None
                beat, self._beat = self._beat, None
                beat.end()
                return {"beats": beat.beats, "stalls": beat.stalls}
        return None

    def _traced(self) -> list[str]:
        if not tracemalloc.is_tracing():
            tracemalloc.start(TRACED_FRAMES)
            return []
        gc.collect()
        now = tracemalloc.take_snapshot()
        before, self._snapshot = self._snapshot, now
        if before is None:
            return []
        grown = now.compare_to(before, "traceback")[:40]
        return [
            f"{one.size_diff / 1024:+.1f} kB ({one.count_diff:+d}): " + " < ".join(
                f"{Path(frame.filename).name}:{frame.lineno}" for frame in reversed(one.traceback)
            )
            for one in grown
        ]  # fmt: skip


_path = os.environ.get("WATCH_SOCKET")  # noqa: TID251  a benchmark's, no setting
if _path and any(one.endswith("main.py") for one in sys.orig_argv):
    threading.Thread(target=Watch().serve, args=(_path,), name="watching", daemon=True).start()
