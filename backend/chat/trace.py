"""The spans of a turn: contiguous pieces of time that sum to its total.

A span ends where the next begins, so "which stage is slow" needs no arithmetic and nothing can hide between two stages.
"""

from __future__ import annotations

from backend.contracts.entities import Span, StageName
from backend.core.clock import monotonic_s


class Trace:
    """Cuts a turn's time into spans; `mark` ends the piece that began at the last mark.

    Args:
        received_s: Monotonic time at which the message arrived.
    """

    def __init__(self, received_s: float) -> None:
        self.received_s = received_s
        self._cut_s = received_s
        self._spans: list[Span] = []

    def mark(
        self, name: str, stage: StageName, detail: str = "", *, at_s: float | None = None
    ) -> Span:
        """End the current piece and name it.

        Args:
            name: What it was ("llm_first_token").
            stage: The coloured group it belongs to.
            detail: The setting, provider or engine behind it.
            at_s: Monotonic time of the cut, if it was earlier than now (never before the last cut).
        """
        end_s = max(self._cut_s, monotonic_s() if at_s is None else at_s)
        span = Span(
            name=name,
            stage=stage,
            start_ms=(self._cut_s - self.received_s) * 1000,
            duration_ms=(end_s - self._cut_s) * 1000,
            detail=detail,
        )
        self._cut_s = end_s
        self._spans.append(span)
        return span

    @property
    def spans(self) -> tuple[Span, ...]:
        """The pieces so far, in order."""
        return tuple(self._spans)

    @property
    def total_ms(self) -> float:
        """From the message's arrival to the last mark."""
        return (self._cut_s - self.received_s) * 1000

    @property
    def elapsed_ms(self) -> float:
        """From the message's arrival to now."""
        return (monotonic_s() - self.received_s) * 1000
