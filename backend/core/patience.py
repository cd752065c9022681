"""Bounds of a streamed reply: deadlines that only progress moves, and what is said when there is too much or nothing.

A server may keep a connection busy with comments and empty pieces for ever; only what the caller calls progress moves
the deadline. Time in which the caller does something else does not count.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import TypeVar

from backend.contracts.errors import ProviderError
from backend.core import clock
from backend.core.http import Provider, stalled

T = TypeVar("T")


class Patience:
    """Waits for the pieces of one reply.

    Args:
        provider: Who is waited for.
        first_s: Longest wait for the first sign of progress.
        between_s: Longest wait between two.
        total_s: Longest wait altogether.
    """

    def __init__(
        self, provider: Provider, *, first_s: float, between_s: float, total_s: float
    ) -> None:
        self._provider = provider
        self._between_s = between_s
        self._total_s = total_s
        self._allowed_s = first_s
        self._left_s = first_s
        self._waited_s = 0.0
        self._progressed = False

    def spent(self, seconds: float) -> None:
        """Count time that was waited elsewhere: for the head of the answer."""
        self._left_s -= seconds
        self._waited_s += seconds

    def progress(self) -> None:
        """Something useful came: the wait between two pieces begins anew."""
        self._progressed = True
        self._allowed_s = self._left_s = self._between_s

    def hurry(self, seconds: float) -> None:
        """All that matters has come: wait at most ``seconds`` for the rest."""
        self._left_s = min(self._left_s, seconds)

    async def next(self, pieces: AsyncIterator[T]) -> T | None:
        """The next piece, None at the end.

        Raises:
            ProviderError: stalled, when a deadline has passed.
        """
        began_s = clock.monotonic_s()
        whole = self._total_s - self._waited_s
        try:
            async with asyncio.timeout(max(0.0, min(self._left_s, whole))):
                return await anext(pieces, None)
        except TimeoutError:
            if whole < self._left_s:
                what = f"the reply was not finished after {self._total_s:.3g} s"
            elif self._progressed:
                what = f"no token came for {self._allowed_s:.3g} s"
            else:
                what = f"no first token within {self._allowed_s:.3g} s"
            raise stalled(self._provider, what) from None
        finally:
            self.spent(clock.monotonic_s() - began_s)


def overlong(provider: Provider, most_chars: int) -> ProviderError:
    """More was written than anybody asked for."""
    return ProviderError(
        f"{provider.title} wrote more than {most_chars:,} letters, far beyond LLM_MAX_TOKENS; the"
        " reply was cut.",
        kind="malformed",
        provider=provider.name,
    )


def nothing_said(provider: Provider, *, thought: bool) -> ProviderError:
    """A whole reply without a word in it; ``thought`` when it held thoughts only."""
    what = (
        "only thought and said nothing. LLM_MAX_TOKENS may be too small for this model."
        if thought
        else "sent an empty reply. Try again, or choose another model"
        + (f" ({provider.model_setting})." if provider.model_setting else ".")
    )
    return ProviderError(f"{provider.title} {what}", kind="malformed", provider=provider.name)
