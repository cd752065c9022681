"""Wire values of the check-up: what was tried on the live path, how it went, and what to do."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from backend.contracts.entities import Wire

CheckState = Literal["waiting", "running", "green", "amber", "red", "left_out"]
"""To come; being tried; works; works, but something should be known; does not work; not tried, with the reason."""

CheckupState = Literal["never", "running", "done", "cancelled"]

STATE_WORDS: dict[CheckState, str] = {
    "waiting": "waiting",
    "running": "checking",
    "green": "works",
    "amber": "look at it",
    "red": "broken",
    "left_out": "left out",
}
"""A state beside its colour: colour alone says nothing to many."""


class CheckLine(Wire):
    """One line of the report.

    Attributes:
        name: Stable name of the check ("stt").
        title: What is tried, for people.
        detail: What was found, with figures.
        fix: What to do; empty when nothing need be done.
        setting: Setting that the fix speaks of ("STT_CHAIN"); empty for none.
        tab: Tab of the window where it can be mended ("voice"); empty for none.
        elapsed_ms: How long it took; None before its end.
    """

    name: str
    title: str
    state: CheckState = "waiting"
    detail: str = ""
    fix: str = ""
    setting: str = ""
    tab: str = ""
    elapsed_ms: float | None = None


class CheckupReport(Wire):
    """What the last check-up found; while one runs, what it has found so far.

    Attributes:
        id: Of this run; empty when there was none.
        verdict: The whole in one sentence.
        machine: System, Python and version of Luma.
        lines: In the order they are shown.
    """

    id: str = ""
    state: CheckupState = "never"
    verdict: str = ""
    machine: str = ""
    started_at: datetime | None = None
    elapsed_s: float = 0.0
    lines: tuple[CheckLine, ...] = ()

    def count(self, state: CheckState) -> int:
        """How many lines are so."""
        return sum(line.state == state for line in self.lines)


def line_text(line: CheckLine) -> str:
    """A line as text, with its fix on a second one."""
    words = STATE_WORDS[line.state].upper() if line.state == "red" else STATE_WORDS[line.state]
    text = f"{words:<11} {line.title}: {line.detail or '...'}"
    return f"{text}\n{'':<11} -> {line.fix}" if line.fix else text


def report_text(report: CheckupReport) -> str:
    """The whole report as text: what is copied and printed."""
    when = f"{report.started_at:%Y-%m-%d %H:%M:%S} UTC" if report.started_at else "never"
    head = f"Luma check-up, {when}\n{report.machine}\n"
    body = "\n".join(line_text(line) for line in report.lines)
    return f"{head}\n{body}\n\n{report.verdict}\n"
