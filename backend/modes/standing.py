"""Which modes are left alone because they failed, and when they are taken back.

Rules over times that are handed in, without a clock or a task of their own. A mode that failed rests; it comes back after
several good probes in a row and a least time. One that fails again soon after its return rests twice as long, so a server
that answers probes and fails turns cannot make the modes flap.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from backend.contracts.errors import AppError, EngineFailedError, ProviderError
from backend.contracts.modes import ModeName


@dataclass(frozen=True, slots=True)
class Rules:
    """When a mode rests, and for how long.

    Attributes:
        rest_s: Least rest; doubles with every relapse.
        key_rest_s: The same without a working key or credit: somebody has to do something about it first.
        rate_rest_s: The same after too many requests, when the provider does not say itself.
        longest_rest_s: Never longer at least.
        steady_s: A failure this long after a return is a new one, no relapse.
        probe_s: First wait for a probe, and the wait between good ones; doubles after each bad one.
        longest_probe_s: Never longer between two probes.
        good_probes: So many in a row bring it back.
        patience: Failed turns in a row after which it rests, where one may be an accident.
    """

    rest_s: float = 10.0
    key_rest_s: float = 300.0
    rate_rest_s: float = 15.0
    longest_rest_s: float = 600.0
    steady_s: float = 120.0
    probe_s: float = 3.0
    longest_probe_s: float = 60.0
    good_probes: int = 2
    patience: int = 2


@dataclass(slots=True)
class _One:
    """What is remembered of a mode."""

    failed_turns: int = 0
    rests_since_s: float | None = None
    rest_s: float = 0.0
    wait_s: float = 0.0
    probe_at_s: float = 0.0
    good: int = 0
    relapses: int = 0
    returned_s: float | None = None


class Standing:
    """The modes that rest."""

    def __init__(self, rules: Rules = Rules()) -> None:
        self.rules = rules
        self._ones: dict[ModeName, _One] = {}

    def is_resting(self, mode: ModeName) -> bool:
        """Whether it is left alone."""
        return self._one(mode).rests_since_s is not None

    def resting(self) -> list[ModeName]:
        """All that are left alone."""
        return [mode for mode, one in self._ones.items() if one.rests_since_s is not None]

    def probe_at_s(self, mode: ModeName) -> float | None:
        """When it is to be tried next; None while it does not rest."""
        one = self._one(mode)
        return one.probe_at_s if one.rests_since_s is not None else None

    def failed(self, mode: ModeName, error: AppError, now_s: float) -> bool:
        """A turn of it failed before anything was said; True = it rests from now on."""
        one = self._one(mode)
        if one.rests_since_s is not None:
            return False
        one.failed_turns += 1
        rest_s = self._rest_s(one, error)
        if rest_s is None:
            return False
        rules = self.rules
        is_relapse = one.returned_s is not None and now_s - one.returned_s < rules.steady_s
        one.relapses = one.relapses + 1 if is_relapse else 0
        # 2**20 s is two weeks: beyond it the number only grows.
        one.rest_s = min(rules.longest_rest_s, rest_s * 2.0 ** min(one.relapses, 20))
        one.rests_since_s = now_s
        one.wait_s = rules.probe_s
        one.probe_at_s = now_s + one.wait_s
        one.good = 0
        return True

    def answered(self, mode: ModeName) -> None:
        """A turn of it was answered."""
        self._one(mode).failed_turns = 0

    def probed(self, mode: ModeName, is_good: bool, now_s: float) -> bool:
        """What a probe found; True = it is taken back from now on."""
        one, rules = self._one(mode), self.rules
        if one.rests_since_s is None:
            return False
        if not is_good:
            one.good = 0
            one.wait_s = min(rules.longest_probe_s, one.wait_s * 2)
            one.probe_at_s = now_s + one.wait_s
            return False
        one.good += 1
        one.wait_s = rules.probe_s
        until_s = one.rests_since_s + one.rest_s
        if one.good >= rules.good_probes and now_s >= until_s:
            one.rests_since_s = None
            one.failed_turns = 0
            one.returned_s = now_s
            return True
        # The last good one falls on the end of the rest, however long that is.
        lacking = max(1, rules.good_probes - one.good)
        one.probe_at_s = max(now_s + rules.probe_s, until_s - (lacking - 1) * rules.probe_s)
        return False

    def forget(self, mode: ModeName) -> None:
        """It is another one now: its settings were changed, or somebody chose it again."""
        self._ones.pop(mode, None)

    def keep_only(self, modes: Iterable[ModeName]) -> None:
        """Forget what is no mode any more."""
        for mode in set(self._ones) - set(modes):
            del self._ones[mode]

    def _one(self, mode: ModeName) -> _One:
        return self._ones.setdefault(mode, _One())

    def _rest_s(self, one: _One, error: AppError) -> float | None:
        """How long it rests at least after this failure; None = it is asked again for the next message."""
        rules = self.rules
        if isinstance(error, EngineFailedError):
            return rules.rest_s if one.failed_turns >= rules.patience else None
        if not isinstance(error, ProviderError):
            return rules.rest_s
        match error.kind:
            case "request":
                return None
            case "key" | "quota":
                return rules.key_rest_s
            case "rate":
                return rules.rate_rest_s if error.retry_after_s is None else error.retry_after_s
            case "unreachable":
                return rules.rest_s
            case _:
                return rules.rest_s if one.failed_turns >= rules.patience else None
