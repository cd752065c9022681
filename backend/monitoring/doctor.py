"""The check-up: named checks, each with its own time, run side by side, told line by line, kept as a report.

Knows no service: a check is a name and a function that says how it went. Whatever a check does (hang, raise, refuse to
be cancelled), it costs its own line and nothing else. A turn always goes first.
"""

from __future__ import annotations

import asyncio
import logging
import platform
import re
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal
from uuid import uuid4

from backend.contracts.checkup import CheckLine, CheckState, CheckupReport, CheckupState
from backend.contracts.errors import AppError, ConflictError
from backend.contracts.events import CheckupFinished, CheckupLine, CheckupStarted
from backend.core import clock
from backend.core.bus import EventBus
from backend.core.logs import redact

logger = logging.getLogger(__name__)

TOTAL_S = 28.0
"""Longest check-up: nobody looks at a running list for longer."""

LOOK_S = 0.02
"""How often a running check is asked whether it has to give way."""

UNWILLING_S = 0.3
"""How long a cancelled check may take to clean up before it is left behind."""

LONGEST_CHARS = 600
"""Of a line's words: a provider's answer may be a whole page."""

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]+")


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a check went; see `CheckLine` for the words."""

    state: Literal["green", "amber", "red", "left_out"]
    detail: str
    fix: str = ""
    setting: str = ""
    tab: str = ""


@dataclass(frozen=True, slots=True)
class Check:
    """One thing to try.

    Attributes:
        name: Stable name, unique in a check-up.
        title: What it is called on screen.
        run: Tries it; an AppError counts as broken, its message as what happened and what to do.
        limit_s: Longest it may take.
        late_fix: What to do when it takes longer.
        lane: Checks of one lane run one after the other; "" runs beside everything.
        gives_way: Whether it stops when a turn begins.
        setting: Setting to open when it fails with an error.
    """

    name: str
    title: str
    run: Callable[[], Awaitable[Outcome]]
    limit_s: float = 5.0
    late_fix: str = ""
    lane: str = ""
    gives_way: bool = False
    setting: str = ""


class Doctor:
    """Runs check-ups, one at a time, and keeps the last report; all methods in the backend's loop.

    Args:
        bus: Where `checkup.*` goes.
        is_wanted: Why the live path is needed by somebody else right now ("a turn runs"); empty when it is free.
        about: Version of the program, for the report.
        total_s: Longest check-up.
    """

    def __init__(
        self,
        bus: EventBus,
        *,
        is_wanted: Callable[[], str],
        about: str,
        total_s: float = TOTAL_S,
    ) -> None:
        self._bus = bus
        self._is_wanted = is_wanted
        self._about = about
        self._total_s = total_s
        self._id = ""
        self._state: CheckupState = "never"
        self._lines: dict[str, CheckLine] = {}
        self._verdict = ""
        self._started_s = 0.0
        self._started_at = clock.now()
        self._elapsed_s = 0.0
        self._task: asyncio.Task[None] | None = None

    @property
    def is_running(self) -> bool:
        """Whether a check-up runs."""
        return self._task is not None and not self._task.done()

    @property
    def report(self) -> CheckupReport:
        """What the running or last check-up has found."""
        if self._state == "never":
            return CheckupReport(verdict="Nothing was checked yet.")
        elapsed_s = clock.monotonic_s() - self._started_s if self.is_running else self._elapsed_s
        return CheckupReport(
            id=self._id,
            state=self._state,
            verdict=self._verdict,
            machine=f"Luma {self._about}, {_machine()}",
            started_at=self._started_at,
            elapsed_s=round(elapsed_s, 2),
            lines=tuple(self._lines.values()),
        )

    def start(
        self, checks: Sequence[Check], *, left_out: Mapping[str, str] | None = None
    ) -> CheckupReport:
        """Begin; the report fills while it runs.

        Args:
            checks: What to try, in the order of the report; those of one lane run in this order.
            left_out: Names of checks that are not to be tried, and why.

        Raises:
            ConflictError: One runs already, or a turn does.
        """
        if self.is_running:
            raise ConflictError("A check-up runs already. Wait for its end, or cancel it.")
        if reason := self._is_wanted():
            raise ConflictError(f"{reason} The check-up begins when that is over: try again then.")
        self._id = uuid4().hex[:12]
        self._state = "running"
        self._verdict = "Checking."
        self._started_s = clock.monotonic_s()
        self._started_at = clock.now()
        self._lines = {
            check.name: CheckLine(name=check.name, title=check.title) for check in checks
        }
        for name, why in (left_out or {}).items():
            if name in self._lines:
                self._set(name, Outcome("left_out", why), None, tell=False)
        todo = [check for check in checks if self._lines[check.name].state == "waiting"]
        self._bus.publish(CheckupStarted(report=self.report))
        self._task = asyncio.create_task(self._run(todo), name="check-up")
        return self.report

    async def cancel(self) -> CheckupReport:
        """Stop; what was not tried is left out. Safe when none runs."""
        task = self._task
        if task is not None and not task.done():
            task.cancel()
            await asyncio.wait([task], timeout=2)
        return self.report

    async def wait(self) -> CheckupReport:
        """Wait for the end of the running check-up."""
        if self._task is not None:
            await asyncio.wait([self._task])
        return self.report

    async def _run(self, checks: Sequence[Check]) -> None:
        lanes: dict[str, list[Check]] = {}
        for check in checks:
            lanes.setdefault(check.lane or f"alone:{check.name}", []).append(check)
        outcome: Literal["done", "cancelled"] = "done"
        try:
            async with asyncio.timeout(self._total_s), asyncio.TaskGroup() as group:
                for lane in lanes.values():
                    group.create_task(self._run_lane(lane))
        except TimeoutError:
            self._leave("The check-up took too long as a whole.")
        except asyncio.CancelledError:
            outcome = "cancelled"
            self._leave("The check-up was cancelled.")
        except BaseExceptionGroup:
            logger.exception("the check-up failed")
            self._leave("The check-up itself failed; the log has the details.")
        self._end(outcome)

    async def _run_lane(self, checks: Iterable[Check]) -> None:
        for check in checks:
            if check.gives_way and (reason := self._is_wanted()):
                self._set(check.name, Outcome("left_out", reason), None)
                continue
            await self._try(check)

    async def _try(self, check: Check) -> None:
        """One check, whatever it does."""
        self._lines[check.name] = self._lines[check.name].model_copy(update={"state": "running"})
        self._tell(check.name)
        began_s = clock.monotonic_s()
        task = asyncio.ensure_future(check.run())
        gave_way = ""
        try:
            while not task.done():
                left_s = began_s + check.limit_s - clock.monotonic_s()
                if left_s <= 0:
                    break
                await asyncio.wait(
                    [task], timeout=min(LOOK_S, left_s) if check.gives_way else left_s
                )
                if check.gives_way and not task.done() and (gave_way := self._is_wanted()):
                    break
        finally:
            if not task.done():
                await _give_up(task)
        elapsed_ms = (clock.monotonic_s() - began_s) * 1000
        if gave_way:
            self._set(check.name, Outcome("left_out", gave_way), elapsed_ms)
        elif task.cancelled() or not task.done():
            words = f"It did not end within {check.limit_s:g} s."
            late = Outcome("red", words, check.late_fix, check.setting)
            self._set(check.name, late, elapsed_ms)
        else:
            self._set(check.name, _outcome(check, task), elapsed_ms)

    def _set(
        self, name: str, outcome: Outcome, elapsed_ms: float | None, *, tell: bool = True
    ) -> None:
        self._lines[name] = self._lines[name].model_copy(
            update={
                "state": outcome.state,
                "detail": _clean(outcome.detail),
                "fix": _clean(outcome.fix),
                "setting": outcome.setting,
                "tab": outcome.tab,
                "elapsed_ms": None if elapsed_ms is None else round(elapsed_ms, 1),
            }
        )
        if tell:
            self._tell(name)

    def _leave(self, why: str) -> None:
        for name, line in [*self._lines.items()]:
            if line.state in ("waiting", "running"):
                self._set(name, Outcome("left_out", why), None)

    def _tell(self, name: str) -> None:
        self._bus.publish(CheckupLine(checkup_id=self._id, line=self._lines[name]))

    def _end(self, outcome: Literal["done", "cancelled"]) -> None:
        self._elapsed_s = clock.monotonic_s() - self._started_s
        self._state = outcome
        self._verdict = verdict(self._lines.values(), is_cancelled=outcome == "cancelled")
        count = [line.state for line in self._lines.values()].count
        red = count("red")
        self._bus.publish(
            CheckupFinished(
                severity="ERROR" if red else "WARNING" if count("amber") else "INFO",
                checkup_id=self._id,
                outcome=outcome,
                green=count("green"),
                amber=count("amber"),
                red=red,
                verdict=self._verdict,
            )
        )


@cache
def _machine() -> str:
    """Python and system; looks into the interpreter's file, 5 ms the first time."""
    return f"Python {platform.python_version()}, {platform.platform(terse=True)}"


def verdict(lines: Iterable[CheckLine], *, is_cancelled: bool = False) -> str:
    """The whole in one sentence: what is broken first."""
    by_state: dict[CheckState, list[str]] = {}
    for line in lines:
        by_state.setdefault(line.state, []).append(line.title)
    red, amber = by_state.get("red", []), by_state.get("amber", [])
    left_out = len(by_state.get("left_out", []))
    if is_cancelled:
        words = "Cancelled."
    elif red:
        words = f"Broken: {', '.join(red)}."
    elif amber:
        words = f"Everything works; look at: {', '.join(amber)}."
    elif by_state.get("green"):
        words = "Everything works."
    else:
        words = "Nothing was checked."
    return words + (f" {left_out} left out." if left_out and not is_cancelled else "")


def _outcome(check: Check, task: asyncio.Future[Outcome]) -> Outcome:
    error = task.exception()
    if error is None:
        return task.result()
    if isinstance(error, AppError):
        return broken(error, check.setting)
    logger.error("the check %s failed", check.name, exc_info=error)
    return Outcome(
        "red",
        f"The check failed in an unexpected way: {type(error).__name__}: {error}",
        "The log has the details.",
    )


def broken(
    error: AppError, setting: str = "", *, state: Literal["amber", "red"] = "red"
) -> Outcome:
    """A failure as an outcome: our messages say what happened first, and then what to do."""
    what, stop, fix = error.message.partition(". ")
    return Outcome(state, what + ("." if stop else ""), fix, setting)


async def _give_up(task: asyncio.Future[Outcome]) -> None:
    """Cancel a check, and leave it behind when it does not want to end."""
    task.cancel()
    await asyncio.wait([task], timeout=UNWILLING_S)
    if not task.done():
        # Its exception, if it ever comes, is nobody's: asked for here, or the collector would complain.
        task.add_done_callback(lambda done: done.cancelled() or done.exception())


def _clean(text: str) -> str:
    """Words for a report that people paste anywhere: no secrets, no home folder, one line, bounded."""
    text = redact(_CONTROL.sub(" ", text)).strip()
    home = Path.home()
    if home != home.parent:  # in a container it may be the root
        text = text.replace(str(home), "~")
    return text if len(text) <= LONGEST_CHARS else text[: LONGEST_CHARS - 3] + "..."
