"""Work away from the loop: plain threads for plain work, child processes for native engines.

Every engine module that is called gets a process of its own (a bare one costs 14 MB and 100 ms, with espeak 23 MB; a
call crosses and returns in 0.12 ms, a megabyte of sound in 3 ms). So torch, Piper or a hostile audio file can hang, crash or eat memory and take nothing with them but the call
that did it: the process is replaced at once, warmed again, and calls that were only waiting are sent again.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import os
import queue
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import backend
from backend.contracts import errors
from backend.contracts.entities import ServiceInfo
from backend.contracts.errors import AppError, EngineFailedError, ProviderError
from backend.core import clock, engine_wire

logger = logging.getLogger(__name__)

T = TypeVar("T")
P = ParamSpec("P")

ROOT = Path(backend.__file__).resolve().parent.parent

STOOD_STILL_S = 1.0  # a deadline so late: the computer slept, or the backend stood still
START_S = 30.0  # an interpreter that has not said hello by then never will
WARM_S = 120.0  # a large Whisper model from a slow disk
CHILD_THREADS = 4  # as many as backend.core.engine_child runs at once
PATIENCE = 3  # crashes in a row before restarts slow down
LONGEST_PAUSE_S = 30.0

# What an engine needs of our environment. Keys and tokens live there too, so nothing else is passed on.
PASSED_ON = frozenset(
    "PATH HOME USERPROFILE SYSTEMROOT SYSTEMDRIVE WINDIR TEMP TMP TMPDIR LANG LC_ALL LC_CTYPE TZ LD_LIBRARY_PATH "
    "DYLD_LIBRARY_PATH XDG_CACHE_HOME LOCALAPPDATA APPDATA PROGRAMDATA NUMBER_OF_PROCESSORS PROCESSOR_ARCHITECTURE "
    "VIRTUAL_ENV PYTHONHOME".split()
)
PASSED_ON_PREFIXES = ("CUDA_", "NVIDIA_", "OMP_", "MKL_", "OPENBLAS_", "NUMBA_", "HIP_", "ROCR_")

BY_CODE = {
    kind.code: kind
    for kind in vars(errors).values()
    if isinstance(kind, type) and issubclass(kind, AppError)
}


async def run_in_thread(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Run plain blocking work (files, Python code) on a worker thread: values in, a value out."""
    return await asyncio.to_thread(function, *args, **kwargs)


@dataclass(frozen=True, slots=True)
class Warm:
    """A call made in the background whenever an engine's process starts, to have its model loaded."""

    function: str
    args: tuple[Any, ...] = ()
    kwargs: Mapping[str, Any] = field(default_factory=dict)


@dataclass(eq=False, slots=True)
class _Call:
    """One call on its way."""

    number: int
    function: str
    frame: bytes
    timeout_s: float
    answer: asyncio.Future[Any]
    deadline: asyncio.TimerHandle | None = None
    is_started: bool = False
    is_warming: bool = False

    def fail(self, error: Exception) -> None:
        self.close()
        if not self.answer.done():
            self.answer.set_exception(error)
            if self.is_warming:
                self.answer.exception()  # nobody awaits it; the health of the engine tells

    def close(self) -> None:
        if self.deadline is not None:
            self.deadline.cancel()


class EngineHost:
    """Runs functions of engine modules in child processes; all calls in the backend's loop.

    Args:
        on_change: Told of every change of an engine's state, in the loop.
    """

    def __init__(self, on_change: Callable[[ServiceInfo], None] | None = None) -> None:
        self._on_change = on_change
        self._lanes: dict[str, _Lane] = {}
        self._numbers = itertools.count(1)
        self._is_stopping = False

    async def call(
        self, function: str, /, *args: Any, timeout_s: float = 5.0, **kwargs: Any
    ) -> Any:
        """Run ``"package.module:function"`` in the module's own process.

        Arguments and value are None, bool, int, float, str, bytes, and lists and str-keyed dictionaries of them; bytes
        cross uncopied, tuples arrive as lists. Cancelling the caller drops the value; a call not yet begun never runs.

        Args:
            function: Where it is. Modules keep their loaded model in globals.
            *args: Given to it.
            **kwargs: Given to it.
            timeout_s: Longest wait, waiting for a free thread and a starting process included.

        Raises:
            EngineFailedError: It crashed, raised something unforeseen, or took longer.
            AppError: Whatever AppError it raised, as itself.
        """
        if self._is_stopping:
            raise EngineFailedError(f"{_engine(function)} is not available: Luma is stopping.")
        lane = self._lane(function)
        call = self._make(function, args, kwargs, timeout_s)
        lane.put(call)
        try:
            return await call.answer
        except asyncio.CancelledError:
            lane.abandon(call)
            raise

    def warm(self, calls: Iterable[str | Warm]) -> None:
        """Start processes and make these calls in the background, now and after every restart; never raises."""
        for given in calls:
            warm = given if isinstance(given, Warm) else Warm(given)
            if not self._is_stopping:
                self._lane(warm.function).add_warm(warm)

    def health(self) -> list[ServiceInfo]:
        """Every engine that was called so far."""
        return [lane.info() for lane in self._lanes.values()]

    async def stop(self) -> None:
        """End all processes, within 2 s; running calls fail."""
        self._is_stopping = True
        processes = [process for lane in self._lanes.values() if (process := lane.close())]
        await asyncio.gather(*(asyncio.to_thread(process.join, 1.0) for process in processes))

    def _lane(self, function: str) -> _Lane:
        module = function.partition(":")[0]
        if module not in self._lanes:
            self._lanes[module] = _Lane(_engine(function), self._make, self._on_change)
        return self._lanes[module]

    def _make(
        self, function: str, args: tuple[Any, ...], kwargs: Mapping[str, Any], timeout_s: float
    ) -> _Call:
        number = next(self._numbers)
        frame = engine_wire.encode(
            {"id": number, "function": function, "args": args, "kwargs": dict(kwargs)}
        )
        loop = asyncio.get_running_loop()
        return _Call(number, function, frame, timeout_s, loop.create_future())


class _Lane:
    """One engine: its process, the calls it has, and how often it died."""

    def __init__(
        self,
        engine: str,
        make: Callable[[str, tuple[Any, ...], Mapping[str, Any], float], _Call],
        on_change: Callable[[ServiceInfo], None] | None,
    ) -> None:
        self.engine = engine
        self._make = make
        self._on_change = on_change
        self._calls: dict[int, _Call] = {}
        self._warm: dict[str, Warm] = {}
        self._process: _Process | None = None
        self._is_ready = False
        self._started_at = 0.0
        self._crashes = 0
        self._blocked_until = 0.0
        self._error = ""
        self._told: ServiceInfo | None = None

    # --- calls ---

    def put(self, call: _Call) -> None:
        """Send a call, starting the process if there is none."""
        if self._process is None:
            wait_s = self._blocked_until - clock.monotonic_s()
            if wait_s > 0:
                call.fail(
                    EngineFailedError(
                        f"{self.engine} crashed {self._crashes} times in a row and rests for {wait_s:.1f} s more. "
                        f"Last: {self._error}"
                    )
                )
                return
            self._start()
        self._send(call)

    def abandon(self, call: _Call) -> None:
        """The caller has left: the call need not begin; if it has begun its deadline still guards the process."""
        if call.number in self._calls and self._process is not None:
            self._process.send(engine_wire.encode({"cancel": call.number}))

    def add_warm(self, warm: Warm) -> None:
        """Remember a warm-up and make it."""
        self._warm[f"{warm.function}{warm.args}{warm.kwargs}"] = warm
        if self._process is not None:
            self._put_warm(warm)
        elif self._blocked_until <= clock.monotonic_s():
            self._start()

    def _put_warm(self, warm: Warm) -> None:
        call = self._make(warm.function, warm.args, warm.kwargs, WARM_S)
        call.is_warming = True
        self._send(call)

    def _send(self, call: _Call) -> None:
        assert self._process is not None
        call.is_started = False
        self._calls[call.number] = call
        if call.deadline is None:
            loop = asyncio.get_running_loop()
            call.deadline = loop.call_later(call.timeout_s, self._on_deadline, call)
        self._process.send(call.frame)

    # --- the process ---

    def _start(self) -> None:
        self._is_ready = False
        self._started_at = clock.monotonic_s()
        self._process = _Process(self.engine, self._on_message, self._on_exit)
        self._tell()
        # A warm-up that killed the process twice is left out: a real call then says what is wrong.
        if self._crashes < 2:
            for warm in self._warm.values():
                self._put_warm(warm)

    def close(self) -> _Process | None:
        """Fail what runs and let the process end."""
        process, self._process = self._process, None
        for call in self._take_calls():
            call.fail(EngineFailedError(f"{self.engine} was stopped with Luma."))
        if process is not None:
            process.close()
        return process

    def info(self) -> ServiceInfo:
        """How this engine is."""
        detail = ""
        if self._process is None:
            state = "failed" if self._blocked_until > clock.monotonic_s() else "off"
        elif any(call.is_warming for call in self._calls.values()) or not self._is_ready:
            state = "starting"
        else:
            state = "degraded" if self._crashes else "ready"
            detail = f"process {self._process.pid}"
        return ServiceInfo.model_validate(
            {
                "name": f"engine/{self.engine}",
                "title": f"{self.engine} engine",
                "kind": "engine",
                "state": state,
                "detail": detail,
                "error": self._error,
                "fix": "It is restarted by itself; the log has its last words."
                if self._error
                else "",
            }
        )

    def _tell(self) -> None:
        if self._on_change is not None:
            info = self.info()
            if info != self._told:
                self._told = info
                self._on_change(info)

    def _on_message(self, process: _Process, message: Any) -> None:
        if process is not self._process:
            return
        if "ready" in message:
            self._is_ready = True
            self._tell()
            return
        call = self._calls.get(message.get("id", 0))
        if call is None:
            return
        if "started" in message:
            call.is_started = True
            return
        del self._calls[call.number]
        call.close()
        if "dropped" in message:  # its caller had left before it began
            self._tell()
            return
        if "error" in message:
            call.fail(self._error_of(call, message["error"]))
            if call.is_warming:
                self._error = str(message["error"].get("message", ""))
                logger.info("%s cannot be warmed up: %s", self.engine, self._error)
        else:
            self._crashes = 0
            self._error = ""
            if not call.answer.done():
                call.answer.set_result(message["value"])
        self._tell()

    def _error_of(self, call: _Call, told: Mapping[str, Any]) -> AppError:
        message = str(told.get("message", ""))
        kind = BY_CODE.get(str(told.get("code", "")))
        if kind is ProviderError:
            return ProviderError(
                message,
                kind=told.get("kind", "malformed"),
                provider=str(told.get("provider", self.engine)),
                retry_after_s=told.get("retry_after_s"),
            )
        if kind is not None:
            return kind(message)
        logger.warning("%s failed in %s\n%s", self.engine, call.function, told.get("traceback", ""))
        return EngineFailedError(f"{self.engine} failed: {told.get('type', 'error')}: {message}")

    def _on_deadline(self, call: _Call) -> None:
        loop = asyncio.get_running_loop()
        if call.deadline is not None and loop.time() - call.deadline.when() > STOOD_STILL_S:
            # Time in which nothing could be computed or read does not count.
            call.deadline = loop.call_later(call.timeout_s, self._on_deadline, call)
            return
        if self._calls.pop(call.number, None) is None or self._process is None:
            return
        waited = f"{self.engine} did not answer within {call.timeout_s:g} s"
        running = sum(other.is_started for other in self._calls.values())
        age_s = clock.monotonic_s() - self._started_at
        is_stuck = call.is_started or (running < CHILD_THREADS and age_s > START_S)
        # A large model may take longer to load than a sentence may; killing it would begin that again for ever.
        is_loading = not call.is_warming and any(o.is_warming for o in self._calls.values())
        if is_loading or not is_stuck:
            self._process.send(engine_wire.encode({"cancel": call.number}))
            why = "it is still loading" if is_loading else "it was busy"
            why = why if self._is_ready else "it was still starting"
            call.fail(EngineFailedError(f"{waited}: {why}."))
            return
        # Told here as well: whoever called may have left.
        logger.warning("%s and was restarted", waited)
        call.fail(EngineFailedError(f"{waited} and was restarted."))
        self._replace(f"{waited}.", innocent=list(self._calls.values()))

    def _on_exit(self, process: _Process, code: int | None, last_words: str) -> None:
        if process is not self._process:
            return
        running = [call for call in self._calls.values() if call.is_started]
        waiting = [call for call in self._calls.values() if not call.is_started]
        if code == 0 and not running:  # it was idle for long enough
            self._process = None
            self._calls = {}
            if any(not call.is_warming for call in waiting):
                self._start()
                for call in waiting:
                    self._send(call)
            self._tell()
            return
        what = f"{self.engine} crashed: {_exit_words(code)}."
        logger.error("%s Last words:\n%s", what, last_words)
        for call in running:
            call.fail(EngineFailedError(f"{what} It was restarted."))
        self._replace(what, innocent=waiting)

    def _replace(self, what: str, innocent: list[_Call]) -> None:
        """Put a new process in place of a dead or stuck one and send it what was not its fault."""
        old, self._process = self._process, None
        if old is not None:
            old.kill()
        self._error = what
        self._crashes += 1
        self._calls = {}
        innocent = [call for call in innocent if not call.is_warming and not call.answer.done()]
        if self._crashes >= PATIENCE:
            pause_s = min(0.5 * 2 ** (self._crashes - PATIENCE), LONGEST_PAUSE_S)
            self._blocked_until = clock.monotonic_s() + pause_s
            for call in innocent:
                call.fail(EngineFailedError(f"{what} It crashes again and again and rests."))
        else:
            self._start()
            for call in innocent:
                self._send(call)
        self._tell()

    def _take_calls(self) -> list[_Call]:
        calls, self._calls = list(self._calls.values()), {}
        return calls


class _Process:
    """The child process and the threads at its pipes; reports into the loop that made it."""

    def __init__(
        self,
        engine: str,
        on_message: Callable[[_Process, Any], None],
        on_exit: Callable[[_Process, int | None, str], None],
    ) -> None:
        self.pid = 0
        self._engine = engine
        self._on_message = on_message
        self._on_exit = on_exit
        self._loop = asyncio.get_running_loop()
        self._frames: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._is_killed = False
        self._child: subprocess.Popen[bytes] | None = None
        self._last_words: deque[str] = deque(maxlen=60)
        self._thread = threading.Thread(target=self._run, name=f"engine-{engine}", daemon=True)
        self._thread.start()

    def send(self, frame: bytes) -> None:
        """Queue a frame; never blocks."""
        self._frames.put(frame)

    def close(self) -> None:
        """End its input, so that it ends."""
        self._frames.put(None)

    def kill(self) -> None:
        """End it at once."""
        with self._lock:
            self._is_killed = True
            if self._child is not None:
                self._child.kill()
        self._frames.put(None)

    def join(self, timeout_s: float) -> None:
        """Wait for its end, then insist; a worker thread."""
        self._thread.join(timeout_s)
        if self._thread.is_alive():
            self.kill()
            self._thread.join(timeout_s)

    def _run(self) -> None:
        """Start the process, write to it until told to stop, then collect it."""
        try:
            # Starting a process takes 1-30 ms, too long for the loop.
            child = subprocess.Popen(
                [sys.executable, "-X", "utf8", "-m", "backend.core.engine_child"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                cwd=ROOT,
                env=clean_environment(),
                creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0)
                | getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),
            )
        except OSError as error:
            self._report(self._on_exit, None, str(error))
            return
        with child:
            with self._lock:
                self._child = child
                self.pid = child.pid
                if self._is_killed:
                    child.kill()
            assert child.stdin is not None
            reader = threading.Thread(target=self._read, args=(child,), daemon=True)
            listener = threading.Thread(target=self._listen, args=(child,), daemon=True)
            reader.start()
            listener.start()
            try:
                while (frame := self._frames.get()) is not None:
                    child.stdin.write(frame)
                    child.stdin.flush()
                child.stdin.close()
            except OSError:
                # It is gone; the reader tells. Closing drops what could not be written any more.
                with contextlib.suppress(OSError):
                    child.stdin.close()
            reader.join()
            listener.join(1.0)

    def _read(self, child: subprocess.Popen[bytes]) -> None:
        assert child.stdout is not None
        stdout = child.stdout

        def read_exactly(count: int) -> bytes | None:
            data = stdout.read(count)
            return data if len(data) == count else None

        try:
            while (message := engine_wire.read(read_exactly)) is not None:
                self._report(self._on_message, message)
        except engine_wire.WireError as error:
            self._last_words.append(f"It answered with something that is no answer: {error}")
            child.kill()
        code = child.wait()
        self._frames.put(None)
        self._report(self._on_exit, code, "\n".join(self._last_words))

    def _listen(self, child: subprocess.Popen[bytes]) -> None:
        assert child.stderr is not None
        while line := child.stderr.readline(4096):
            text = line.decode(errors="replace").rstrip()
            self._last_words.append(text)
            logger.debug("%s: %s", self._engine, text)

    def _report(self, to: Callable[..., None], *args: Any) -> None:
        try:
            self._loop.call_soon_threadsafe(to, self, *args)
        except RuntimeError:
            logger.debug("%s ended after the backend's loop", self._engine)


def _engine(function: str) -> str:
    """The engine's name for a person: "piper" of "backend.engines.tts.piper_host:synthesize"."""
    return function.partition(":")[0].rpartition(".")[2].removesuffix("_host")


def clean_environment() -> dict[str, str]:
    """Our environment without keys and tokens: what a child of ours may know."""
    ours = os.environ  # noqa: TID251 - not settings: what native libraries need to be found
    passed_on = {
        name: value
        for name, value in ours.items()
        if name.upper() in PASSED_ON or name.upper().startswith(PASSED_ON_PREFIXES)
    }
    # Libraries that could fetch models by themselves are told not to: nothing is downloaded without a click.
    return passed_on | {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1"}


def _exit_words(code: int | None) -> str:
    if code is None:
        return "its process could not be started"
    if code >= 0:
        return f"its process ended with exit code {code}"
    if code == -9:
        return "its process was killed (SIGKILL; was the memory full?)"
    try:
        return f"its process died of {signal.Signals(-code).name}"
    except ValueError:
        return f"its process died of signal {-code}"
