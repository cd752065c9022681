"""When a failed mode rests and when it is taken back."""

from __future__ import annotations

import pytest

from backend.contracts.errors import (
    AppError,
    EngineUnavailableError,
    ProviderError,
    ProviderFailure,
)
from backend.modes.standing import Rules, Standing

RULES = Rules()


def failure(kind: ProviderFailure, retry_after_s: float | None = None) -> ProviderError:
    return ProviderError("No.", kind=kind, provider="x", retry_after_s=retry_after_s)


def rest_of(error: AppError) -> float:
    """How long it rests after this failure when every probe is good."""
    standing = Standing()
    assert standing.failed("orphiq", error, 0.0)
    while (at_s := standing.probe_at_s("orphiq")) is not None:
        standing.probed("orphiq", True, at_s)
        last_s = at_s
    return last_s


@pytest.mark.parametrize(
    ("error", "rest_s"),
    [
        (failure("unreachable"), RULES.rest_s),
        (failure("key"), RULES.key_rest_s),
        (failure("quota"), RULES.key_rest_s),
        (failure("rate"), RULES.rate_rest_s),
        (failure("rate", 42.0), 42.0),
        (EngineUnavailableError("No key."), RULES.rest_s),
    ],
)
def test_how_long_it_rests_depends_on_why_it_failed(error: AppError, rest_s: float) -> None:
    assert rest_of(error) == rest_s


@pytest.mark.parametrize("kind", ["server", "stalled", "malformed"])
def test_what_may_be_an_accident_is_forgiven_once(kind: ProviderFailure) -> None:
    standing = Standing()
    assert not standing.failed("orphiq", failure(kind), 0.0)
    standing.answered("orphiq")
    assert not standing.failed("orphiq", failure(kind), 1.0)
    assert standing.failed("orphiq", failure(kind), 2.0)


def test_a_message_it_cannot_take_says_nothing_against_it() -> None:
    standing = Standing()
    assert not any(standing.failed("orphiq", failure("request"), float(n)) for n in range(20))


def test_one_bad_probe_among_good_ones_begins_the_count_anew() -> None:
    standing = Standing()
    standing.failed("orphiq", failure("unreachable"), 0.0)
    assert not standing.probed("orphiq", True, 20.0)
    assert not standing.probed("orphiq", False, 23.0)
    assert not standing.probed("orphiq", True, 29.0)
    assert standing.probed("orphiq", True, 32.0)


def test_probes_of_what_stays_away_become_rarer_up_to_a_bound() -> None:
    standing = Standing()
    standing.failed("orphiq", failure("unreachable"), 0.0)
    now_s, waits = 0.0, []
    for _ in range(8):
        at_s = standing.probe_at_s("orphiq")
        assert at_s is not None
        waits.append(at_s - now_s)
        now_s = at_s
        standing.probed("orphiq", False, now_s)
    assert waits == [3.0, 6.0, 12.0, 24.0, 48.0, 60.0, 60.0, 60.0]


def test_one_that_fails_again_after_each_return_rests_ever_longer_up_to_a_bound() -> None:
    standing = Standing()
    now_s, rests = 0.0, []
    for _ in range(9):
        assert standing.failed("orphiq", failure("unreachable"), now_s)
        began_s = now_s
        while (at_s := standing.probe_at_s("orphiq")) is not None:
            now_s = at_s
            standing.probed("orphiq", True, now_s)
        rests.append(now_s - began_s)
        now_s += 1.0  # the very next turn fails
    assert rests == [10, 20, 40, 80, 160, 320, 600, 600, 600]


def test_a_failure_long_after_a_return_is_a_new_one() -> None:
    standing = Standing()
    standing.failed("orphiq", failure("unreachable"), 0.0)
    standing.probed("orphiq", True, 9.0)
    assert standing.probed("orphiq", True, 12.0)
    standing.failed("orphiq", failure("unreachable"), 12.0 + RULES.steady_s)
    began_s = 12.0 + RULES.steady_s
    standing.probed("orphiq", True, began_s + 7)
    assert standing.probed("orphiq", True, began_s + 10)
