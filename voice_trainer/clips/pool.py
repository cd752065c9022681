"""Cuts files in processes of their own, two at once: native decoders may crash, hang or eat memory and cost one file.

Messages are JSON in both directions: what a crashed decoder left in its process is never unpickled here. After every
block the child waits to be told to go on, so a pause holds it and a dead parent ends it.
"""

from __future__ import annotations

import contextlib
import errno
import json
import logging
import multiprocessing
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, cast

import psutil

from backend.audio.errors import AudioError
from voice_trainer.clips.cut import Cue, Order, Told, cut_file, file_sha256
from voice_trainer.clips.segment import Limits

logger = logging.getLogger(__name__)

PROCESSES = 2
BLOCK_CPU_S = 90.0  # a block of a minute takes about one; measured in work, so that a busy computer is no reason
BLOCK_WALL_S = 900.0
LOOK_S = 0.25
MEMORY_BYTES = 3 << 30
MESSAGE_BYTES = 4 << 20

CRASHED = "{name} makes the reader of its format crash ({how}). Convert it to WAV with another program, or leave it out."
STUCK = "{name} could not be read: one minute of it took longer than {seconds:.0f} s. Convert it to WAV, or leave it out."


@dataclass(frozen=True, slots=True)
class Result:
    """What became of a file.

    Attributes:
        order: What was to be done.
        problem: Why nothing or not all of it could be used; empty when it is fine.
        told: Its figures, see `voice_trainer.clips.cut.cut_file`; empty with a problem.
    """

    order: Order
    sha256: str
    problem: str
    told: Told


class Pool:
    """Processes that cut files; a context manager that ends them.

    Args:
        target: Runs in the child with its end of the pipe; another one for tests.
        block_cpu_s: Longest work between two signs of life.
    """

    def __init__(
        self,
        processes: int = PROCESSES,
        *,
        target: Callable[[Connection], None] | None = None,
        block_cpu_s: float = BLOCK_CPU_S,
    ) -> None:
        self._count = processes
        self._target = target or serve
        self._block_cpu_s = block_cpu_s
        self._children: list[_Child] = []

    def __enter__(self) -> Pool:
        return self

    def __exit__(self, *_: object) -> None:
        for child in self._children:
            child.kill()

    def run(
        self,
        orders: Sequence[Order],
        *,
        on_clip: Callable[[Told], None],
        on_seconds: Callable[[Order, float], None],
        on_result: Callable[[Result], None],
        obey: Callable[[], None],
        most: Callable[[], int] = lambda: 0,
    ) -> None:
        """Cut all files; what happens is told as it happens.

        Args:
            orders: One per file, in the order they begin.
            on_clip: Given the line of every finished clip.
            on_seconds: Given how much of a file has been read.
            on_result: Given the end of every file, whatever it is.
            obey: Called several times a second; waits while a pause is wanted, raises to stop.
            most: How many processes may work right now (at least 1); 0 = all.

        Raises:
            OSError: A clip could not be written (the disk is full).
        """
        waiting = list(reversed(orders))
        seen: dict[str, str] = {}
        while waiting or any(child.order for child in self._children):
            obey()
            self._release(most())
            while waiting and (child := self._idle()) is not None:
                child.begin(waiting.pop())
            busy = {child.pipe: child for child in self._children if child.order}
            ready = wait(list(busy), LOOK_S)
            for pipe in ready:
                child = busy[cast(Connection, pipe)]
                self._listen(child, seen, on_clip, on_seconds, on_result)
            for child in list(self._children):
                if child.is_held:
                    child.is_alive_at_work()
                elif child.order and child.pipe not in ready and child.is_stuck(self._block_cpu_s):
                    problem = STUCK.format(name=child.order.name, seconds=self._block_cpu_s)
                    self._lose(child, problem, on_result)

    def _release(self, most: int) -> None:
        """Let children go on that wait between two blocks, as many as may work now."""
        at_work = sum(bool(child.order) and not child.is_held for child in self._children)
        for child in self._children:
            if child.is_held and (most == 0 or at_work < max(most, 1)):
                at_work += 1
                child.go_on()

    def _idle(self) -> _Child | None:
        for child in self._children:
            if child.order is None:
                return child
        if len(self._children) < self._count:
            child = _Child(self._target)
            self._children.append(child)
            return child
        return None

    def _listen(
        self,
        child: _Child,
        seen: dict[str, str],
        on_clip: Callable[[Told], None],
        on_seconds: Callable[[Order, float], None],
        on_result: Callable[[Result], None],
    ) -> None:
        order = child.order
        assert order is not None
        try:
            message = json.loads(child.pipe.recv_bytes(MESSAGE_BYTES))
        except (EOFError, OSError, ValueError):
            problem = CRASHED.format(name=order.name, how=child.how_it_ended())
            self._lose(child, problem, on_result)
            return
        child.is_alive_at_work()
        match message["kind"]:
            case "clip":
                on_clip(message["line"])
            case "seconds":
                on_seconds(order, float(message["seconds"]))
                child.is_held = True  # goes on in the next round, if it may
            case "sha256":
                child.sha256 = str(message["sha256"])
                twin = seen.setdefault(child.sha256, order.name)
                if twin is not order.name:
                    child.order = None
                    child.skip()
                    problem = f"{order.name} is the same sound as {twin}; it was cut once."
                    on_result(Result(order, child.sha256, problem, {}))
                else:
                    child.go_on()
            case "end":
                child.order = None
                on_result(Result(order, child.sha256, str(message["problem"]), message["told"]))
            case "failed":
                raise OSError(int(message["errno"]), str(message["message"]))

    def _lose(self, child: _Child, problem: str, on_result: Callable[[Result], None]) -> None:
        order, sha256 = child.order, child.sha256
        assert order is not None
        child.kill()
        self._children.remove(child)
        logger.warning("%s", problem)
        on_result(Result(order, sha256, problem, {}))


class _Child:
    """One process, and the file it is at."""

    def __init__(self, target: Callable[[Connection], None]) -> None:
        # spawn, not fork: the trainer has threads, and a fork would inherit their locks
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        self.pipe: Connection = ours
        self.order: Order | None = None
        self.sha256 = ""
        self.is_held = False  # between two blocks, waiting to be told to go on
        self._process: BaseProcess = context.Process(target=target, args=(theirs,), daemon=True)
        self._process.start()
        theirs.close()
        self._cpu_s = 0.0
        self._looks = 0

    def begin(self, order: Order) -> None:
        self.order, self.sha256 = order, ""
        self.is_alive_at_work()
        self._send(_to_json(order))

    def go_on(self) -> None:
        self.is_held = False
        self._send({"go": True})

    def skip(self) -> None:
        self._send({"go": False})

    def is_alive_at_work(self) -> None:
        """It has just given a sign of life: its time begins anew."""
        self._cpu_s = self._used_cpu_s()
        self._looks = 0

    def is_stuck(self, cpu_s: float) -> bool:
        self._looks += 1
        return self._used_cpu_s() - self._cpu_s > cpu_s or self._looks * LOOK_S > BLOCK_WALL_S

    def how_it_ended(self) -> str:
        self._process.join(5.0)
        code = self._process.exitcode
        return f"signal {-code}" if code is not None and code < 0 else f"exit {code}"

    def kill(self) -> None:
        with contextlib.suppress(psutil.Error):
            for grandchild in psutil.Process(self._process.pid).children(recursive=True):
                grandchild.kill()  # an ffmpeg
        self._process.kill()
        self._process.join()
        self._process.close()
        self.pipe.close()

    def _used_cpu_s(self) -> float:
        try:
            process = psutil.Process(self._process.pid)
            times = [process.cpu_times(), *(one.cpu_times() for one in process.children())]
        except psutil.Error:
            return self._cpu_s
        return float(sum(one.user + one.system for one in times))

    def _send(self, message: Told) -> None:
        with contextlib.suppress(OSError):  # it died: reading from it will say so
            self.pipe.send_bytes(json.dumps(message).encode())


def serve(pipe: Connection) -> None:
    """The child: takes orders until the parent is gone."""
    _limit_memory()
    while True:
        try:
            order = _from_json(json.loads(pipe.recv_bytes()))
        except (EOFError, OSError):
            return
        try:
            _serve_one(pipe, order)
        except (EOFError, BrokenPipeError):
            return


def _serve_one(pipe: Connection, order: Order) -> None:
    def send(kind: str, **fields: Any) -> None:
        pipe.send_bytes(json.dumps({"kind": kind, **fields}, default=float).encode())

    def may_go_on() -> bool:
        return bool(json.loads(pipe.recv_bytes())["go"])

    def breathe(seconds: float) -> None:
        send("seconds", seconds=seconds)
        may_go_on()

    try:
        path = Path(order.path)
        if not path.is_file() or path.is_symlink():
            raise AudioError(f"{order.name} is not there any more, or is no plain file.")
        sha256 = file_sha256(path)
        send("sha256", sha256=sha256)
        if not may_go_on():
            return
        told = cut_file(order, sha256, lambda line: send("clip", line=line), breathe)
        problem = "" if told["clips"] else f"Nobody speaks in {order.name}."
        send("end", problem=problem, told=told)
    except AudioError as error:
        send("end", problem=str(error), told={})
    except MemoryError:
        send("end", problem=f"{order.name} needs too much memory; cut it into pieces.", told={})
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EROFS):
            send("failed", errno=error.errno, message=error.strerror)
        elif isinstance(error, BrokenPipeError):
            raise
        else:
            send("end", problem=f"{order.name} cannot be read ({error.strerror}).", told={})
    except Exception as error:
        # One file must not end the work on the others, and whoever maintains this wants to know.
        logger.exception("%s could not be cut.", order.name)
        problem = (
            f"{order.name} could not be cut ({type(error).__name__}: {error}). Please report this."
        )
        send("end", problem=problem[:500], told={})


def _to_json(order: Order) -> Told:
    return {**asdict(order), "skip": sorted(order.skip)}


def _from_json(found: Told) -> Order:
    found["limits"] = Limits(**found["limits"])
    found["cues"] = tuple(Cue(**cue) for cue in found["cues"])
    found["skip"] = frozenset(found["skip"])
    return Order(**found)


def _limit_memory() -> None:
    """A bomb is refused by the system, and a crash leaves no dump of what others said."""
    if sys.platform == "win32":
        return
    import resource

    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_DATA, (MEMORY_BYTES, MEMORY_BYTES))


def usable_cores() -> int:
    """Processors this process may use."""
    if sys.platform == "linux":
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def sizes(orders: Sequence[Order]) -> Iterator[tuple[Order, int]]:
    """Each file with its bytes, 0 for one that is not there."""
    for order in orders:
        try:
            yield order, Path(order.path).stat().st_size
        except OSError:
            yield order, 0
