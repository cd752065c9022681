"""What every command of the trainer shares: how it tells what happens (`Reporter`) and how it is steered (`Steering`).

Standard library only, so that a refusal needs no heavy import. Both belong to one thread, the one that runs the command.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, TextIO

from voice_trainer.protocol import (
    CONTROL,
    PROGRESS_PER_S,
    Control,
    ProgressWriter,
    State,
    read_control,
)

logger = logging.getLogger(__name__)

Clock = Callable[[], float]

ENDING = threading.Event()
"""Set by this process's signal handlers: it was asked to end (SIGTERM, Ctrl-C)."""

PAUSE_LOOK_S = 0.1  # how often a paused trainer looks for new orders


class TrainerError(Exception):
    """The command cannot go on; the message is for the person who must act: what, with which value, what to do.

    Attributes:
        code: Stable name ("data.too_little", "disk.full", "base.broken"), written into the error line.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class Stopped(Exception):
    """Work ends early because it was asked to; no error, everything is saved.

    Attributes:
        by: "order" (control.json says stop: the job ends as cancelled) or "signal" (the process is asked to end: the
            job is interrupted and can be resumed).
    """

    def __init__(self, by: Literal["order", "signal"]) -> None:
        super().__init__(f"stopped by {by}")
        self.by = by


class Reporter:
    """Writes the lines of progress.jsonl, and words to a terminal when one looks on.

    ``progress`` may be called as often as one likes: at most `PROGRESS_PER_S` lines a second are written, and the latest
    figures are written before any other line.

    Args:
        folder: The job folder.
        echo: Where people read along; None = nobody does.
    """

    def __init__(
        self, folder: Path, *, echo: TextIO | None = None, clock: Clock = time.monotonic
    ) -> None:
        self._writer = ProgressWriter(folder)
        self.is_done = False
        self._echo = echo
        self._clock = clock
        self._next = float("-inf")
        self._waiting: dict[str, Any] | None = None
        self._is_mid_line = False
        self.current = State.QUEUED
        """The last state told."""

    def state(self, state: State, message: str = "") -> None:
        """A new phase has begun, or the job has ended."""
        self.current = state
        self._line("state", durable=True, state=state.value, message=message)
        self._say(f"{state.value}{': ' + message if message else ''}")

    def progress(self, *, fraction: float | None = None, message: str = "", **figures: Any) -> None:
        """Where the current phase is; ``figures`` as listed in `voice_trainer.protocol`."""
        self._waiting = {
            "state": self.current.value,
            "fraction": fraction,
            "message": message,
            **figures,
        }
        now = self._clock()
        if now >= self._next:
            self._next = now + 1 / PROGRESS_PER_S
            self.flush()

    def is_due(self) -> bool:
        """Whether the next `progress` will be written at once: what is costly to find out need not be found before."""
        return self._clock() >= self._next

    def flush(self) -> None:
        """Write the latest progress if it was held back."""
        if self._waiting is None:
            return
        figures, self._waiting = self._waiting, None
        try:
            self._writer.write("progress", **figures)
        except OSError as error:  # a full disk: the work decides whether it can go on
            logger.warning("Progress could not be written: %s", error)
        self._say_progress(figures)

    def checkpoint(
        self,
        id: str,
        *,
        step: int,
        path: str,
        loss: dict[str, float],
        is_best: bool,
        size_bytes: int,
    ) -> None:
        """A checkpoint lies whole on the disk; ``path`` is relative to the job folder."""
        self._line(
            "checkpoint",
            durable=True,
            id=id,
            step=step,
            path=path,
            loss=loss,
            is_best=is_best,
            size_bytes=size_bytes,
        )

    def dropped(self, id: str) -> None:
        """The files of a checkpoint were removed to make room."""
        self._line("dropped", id=id)

    def sample(
        self, *, step: int, path: str, text: str, duration_s: float, checkpoint: str = ""
    ) -> None:
        """The test sentence was spoken into a WAV file; ``path`` is relative to the job folder."""
        self._line(
            "sample", checkpoint=checkpoint, step=step, path=path, text=text, duration_s=duration_s
        )

    def picture(self, *, step: int, target: str, made: str) -> None:
        """Two spectrograms were drawn; paths relative to the job folder."""
        self._line("picture", step=step, target=target, made=made)

    def scores(self, checkpoint: str, **scores: float | None) -> None:
        """How well a checkpoint speaks; names as in the protocol."""
        self.line("scores", checkpoint=checkpoint, **scores)
        known = ", ".join(f"{name} {value:.3g}" for name, value in scores.items() if value is not None)  # fmt: skip
        self._say(f"scores of {checkpoint}: {known}")

    def warning(self, message: str) -> None:
        """Something the user should know; work goes on."""
        logger.warning("%s", message)
        self._line("warning", message=message)
        self._say(f"warning: {message}")

    def line(self, kind: str, **fields: Any) -> None:
        """Any other line of the protocol (file, clip, finding, report)."""
        self._line(kind, **fields)

    def done(self, result: dict[str, Any]) -> None:
        """The job succeeded: the very last line."""
        self.state(State.DONE)
        self._line("done", durable=True, result=result)
        self.is_done = True

    def error(self, code: str, message: str) -> None:
        """The job failed: the last line."""
        self.state(State.FAILED)
        self._line("error", durable=True, code=code, message=message)
        self._say(f"error: {message}")

    def close(self) -> None:
        """Write what was held back and close the file."""
        self.flush()
        self._writer.close()

    def _line(self, kind: str, *, durable: bool = False, **fields: Any) -> None:
        self.flush()
        self._writer.write(kind, durable=durable, **fields)

    def _say(self, text: str) -> None:
        if self._echo is None:
            return
        self._echo.write(("\n" if self._is_mid_line else "") + text + "\n")
        self._echo.flush()
        self._is_mid_line = False

    def _say_progress(self, figures: dict[str, Any]) -> None:
        if self._echo is None:
            return
        self._echo.write("\r" + in_words(figures).ljust(100)[:100])
        self._echo.flush()
        self._is_mid_line = True


def in_words(figures: dict[str, Any]) -> str:
    """A line of progress for people: "train 400/1,000, loss 0.412 (held back 0.455), 3.1 steps/s, 3 min left"."""
    parts = []
    if figures.get("step") is not None:
        of = f"/{figures['steps']:,}" if figures.get("steps") else ""
        parts.append(f"{figures['step']:,}{of}")
    elif figures.get("fraction") is not None:
        parts.append(f"{figures['fraction']:.0%}")
    loss = figures.get("loss") or {}
    if loss.get("train") is not None:
        held = loss.get("validation")
        parts.append(f"loss {loss['train']:.3f}" + (f" (held back {held:.3f})" if held else ""))
    if figures.get("steps_per_s"):
        parts.append(f"{figures['steps_per_s']:.2f} steps/s")
    if figures.get("eta_s") is not None:
        parts.append(duration_in_words(figures["eta_s"]) + " left")
    parts += [figures[name] for name in ("message", "verdict") if figures.get(name)]
    return f"{figures.get('state', '')} " + ", ".join(parts)


def duration_in_words(seconds: float) -> str:
    """Roughly: "40 s", "3 min", "2.5 h"."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


class Steering:
    """What control.json asks for, looked at between two steps (or two clips); a look that finds nothing new is one stat.

    Counters that stand in the file when the trainer starts have been served by an earlier run.

    Args:
        folder: The job folder.
        wait: How a pause waits, in s.
        ending: Set when the process was asked to end.
    """

    def __init__(
        self,
        folder: Path,
        *,
        wait: Callable[[float], None] = time.sleep,
        ending: threading.Event = ENDING,
    ) -> None:
        self._path = folder / CONTROL
        self._wait = wait
        self._ending = ending
        self._seen: tuple[int, int, int] | None = None
        self._control = Control()
        first = self.look()
        self._samples, self._checkpoints = first.sample, first.checkpoint

    @property
    def threads(self) -> int:
        """Upper limit of CPU threads at the last look; 0 = as the job says."""
        return self._control.threads

    def look(self) -> Control:
        """The current orders."""
        try:
            found = self._path.stat()
        except OSError:
            return self._control
        mark = (found.st_mtime_ns, found.st_size, found.st_ino)
        if mark != self._seen:
            self._seen = mark
            self._control = read_control(self._path.parent)
        return self._control

    def obey(self, reporter: Reporter, *, before_pause: Callable[[], None] | None = None) -> None:
        """Look; wait here while a pause is wanted. Call it between two steps.

        Args:
            reporter: Told of the pause and of its end.
            before_pause: Called once before waiting: save, free what is not needed.

        Raises:
            Stopped: The work shall end; save and let it rise.
        """
        control = self.look()
        if self._ending.is_set():
            raise Stopped("signal")
        if control.order == "pause":
            if before_pause is not None:
                before_pause()
            state = reporter.current
            reporter.state(State.PAUSED)
            while control.order == "pause" and not self._ending.is_set():
                self._wait(PAUSE_LOOK_S)
                control = self.look()
            if not self._ending.is_set() and control.order != "stop":
                reporter.state(state)
        if self._ending.is_set():
            raise Stopped("signal")
        if control.order == "stop":
            raise Stopped("order")

    def wants_sample(self) -> bool:
        """Whether a spoken test sentence was asked for since the last time this said yes."""
        wanted = self._control.sample > self._samples
        self._samples = max(self._samples, self._control.sample)
        return wanted

    def wants_checkpoint(self) -> bool:
        """Whether a checkpoint was asked for since the last time this said yes."""
        wanted = self._control.checkpoint > self._checkpoints
        self._checkpoints = max(self._checkpoints, self._control.checkpoint)
        return wanted


LAST_NICE, WAITED_FOR_NICE = 19, 8


def cpu_threads(wanted: int) -> int:
    """Threads to compute with: as many as wanted, 0 = one per physical core."""
    import psutil

    return wanted or psutil.cpu_count(logical=False) or 1


CORES_LOOK_S = 4.0
"""Between two looks at what the rest of the computer does."""

CORE_SHARE = 0.25
"""So much of a core may be used by others and it still counts as free."""


class Threads:
    """How many threads to compute with right now.

    A training step is shared out evenly, so its slowest thread decides, and one that shares its core with a game gets nearly
    nothing in the idle class while the others spin for it: with one of two cores taken, two threads made 0.95 steps a
    second and one thread 4.7. So only cores that nobody else uses count. A job that names its number keeps it.

    Args:
        wanted: Of the job, 0 = as many as are free.
        clock: Seconds.
        used: CPU seconds used so far by the whole machine and by this process.
    """

    def __init__(
        self,
        wanted: int,
        *,
        clock: Callable[[], float] = time.monotonic,
        used: Callable[[], tuple[float, float]] | None = None,
    ) -> None:
        import psutil

        self._is_free = wanted == 0
        self._most = cpu_threads(wanted)
        self._cores = psutil.cpu_count() or 1
        self._clock = clock
        self._used = used or _used_cpu_s
        self._now = self._most
        self._at_s = clock()
        self._before = self._used()

    def now(self, limit: int = 0) -> int:
        """Threads for the next step, at least 1.

        Args:
            limit: Upper limit for now, 0 = none.
        """
        if self._is_free and self._clock() - self._at_s >= CORES_LOOK_S:
            self._look()
        return min(self._now, limit) if limit > 0 else self._now

    def _look(self) -> None:
        at_s, used = self._clock(), self._used()
        elapsed_s = at_s - self._at_s
        all_s, own_s = used[0] - self._before[0], used[1] - self._before[1]
        self._at_s, self._before = at_s, used
        others = max(0.0, all_s - own_s) / elapsed_s
        self._now = min(self._most, max(1, int(self._cores - others + CORE_SHARE)))


def _used_cpu_s() -> tuple[float, float]:
    import psutil

    # `guest` is a part of `user` already; waiting for a disk is no use of a core.
    spent = psutil.cpu_times()._asdict()
    unused = ("idle", "iowait", "guest", "guest_nice")
    own = psutil.Process().cpu_times()
    return sum(v for k, v in spent.items() if k not in unused), own.user + own.system


def lower_priority(*, somebody_waits: bool = False) -> None:
    """Let everything else on this computer go first: the scheduler's idle class where there is one, else nice 19.

    Args:
        somebody_waits: For work of seconds that a person waits for (making clips, examining): only below normal, since the
            idle class gets next to nothing while a game or a stream keeps every core busy.
    """
    if sys.platform == "win32":
        import psutil

        wanted = (
            psutil.BELOW_NORMAL_PRIORITY_CLASS if somebody_waits else psutil.IDLE_PRIORITY_CLASS
        )
        psutil.Process().nice(wanted)
        return
    level = WAITED_FOR_NICE if somebody_waits else LAST_NICE
    os.nice(level)
    if sys.platform == "linux":
        if not somebody_waits:
            try:
                os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
            except OSError as error:  # some containers forbid it; nice 19 stands
                logger.info("No idle scheduling here (%s); nice 19 it is.", error)
        if os.getsid(0) == os.getpid():
            # Linux shares time between sessions first and heeds priorities only inside of one, so the session must yield
            # too; not a terminal's, where the trainer is a guest.
            with contextlib.suppress(OSError):
                Path("/proc/self/autogroup").write_text(str(level), encoding="ascii")
