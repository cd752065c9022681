"""What autonomy costs the loop: a tick with 200 triggers, and a message of a fast chat.

    python -m benchmarks.autonomy

Everything is divided by the cost of adding a hundred numbers in the same run.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from datetime import UTC, datetime
from random import Random

from backend.autonomy.chatter import Chatter
from backend.autonomy.scheduler import Moment, Scheduler
from backend.autonomy.triggers import checked
from backend.contracts.audience import AudienceMessage, Viewer
from backend.contracts.autonomy import MOST_TRIGGERS

ROUNDS = 300


def rules() -> dict[str, object]:
    """As many triggers as there may be, of every kind that looks at a clock."""
    kinds: list[dict[str, object]] = [
        {"kind": "every", "minutes": 5},
        {"kind": "at", "times": ["08:00", "20:15", "23:30"]},
        {"kind": "silence", "seconds": 120},
        {"kind": "keyword", "words": ["dragon", "sea", "lamp"]},
    ]
    return {
        "quiet": [{"start": "23:00", "until": "08:00"}],
        "triggers": [
            {"id": f"t{n}", "when": kinds[n % len(kinds)], "do": {"texts": ["Hi"]}}
            for n in range(MOST_TRIGGERS)
        ],
    }


def median_us(work: Callable[[], object]) -> float:
    """Microseconds of one call."""
    took = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        work()
        took.append(time.perf_counter() - began)
    return statistics.median(took) * 1e6


def main() -> None:
    """Print the figures."""
    scheduler = Scheduler(Random(1).random)  # noqa: S311 - the same every time
    wall = datetime(2026, 5, 1, 12, 0, tzinfo=UTC)
    scheduler.use(checked(rules()), Moment(0.0, wall))
    seconds = iter(range(10**9))

    def tick() -> None:
        now = Moment(float(next(seconds)) / 10, wall)
        scheduler.tick(now)
        if scheduler.choose(now) is not None:
            scheduler.end(now, is_done=True)

    chatter = Chatter()
    said = [
        AudienceMessage(
            id=str(n),
            platform="p",
            viewer=Viewer(platform="p", id=str(n % 500), name=f"viewer {n % 500}"),
            text="have you seen the dragon of the sea, it is wonderful",
            at=wall,
        )
        for n in range(ROUNDS)
    ]
    messages = iter(said * 2)
    reference = median_us(lambda: sum(range(100)))
    for name, work in (
        (f"tick and choose, {MOST_TRIGGERS} triggers", tick),
        ("states for the window", lambda: scheduler.states(Moment(1e4, wall))),
        (
            "a message of the chat",
            lambda: chatter.wrote(next(messages), float(next(seconds)) / 200),
        ),
    ):
        cost = median_us(work)
        print(f"{name:34} {cost:9.1f} µs   {cost / reference:8.1f} x adding a hundred numbers")


if __name__ == "__main__":
    main()
