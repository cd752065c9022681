"""Service levels from what was written down: what counts as met, and what does not."""

from __future__ import annotations

import math
from typing import Any

import pytest

from simulator.ledger import Ledger
from simulator.levels import BARE, Level, Measured, jain, percentile, service_levels
from simulator.personas import CANARY, Kind, Person
from simulator.scenarios import Scenario
from simulator.script import Line, Script

SCENARIO = Scenario(
    about="a test",
    rate=1,
    seconds=10,
    people={"asker": 10},
    judges_fairness=True,
    judges_memory=True,
)


def line(number: int, *, who: int = 0, kind: Kind = "asker", copies: int = 0) -> Line:
    canary = f"{CANARY}{number:010x}" if kind == "troll" else ""
    person = Person(f"{kind}_{who}", f"{kind}{who}", kind, canary=canary)
    return Line(f"m{number}", float(number), person, "what is that?", copies=copies)


def ledger_of(*lines: Line) -> Ledger:
    """A run in which all were sent, one a second, to a Luma that listened and saw them."""
    ledger = Ledger(Script(lines, ()))
    for one in lines:
        ledger.sent(one.id, one.at_s, True)
        ledger.told(event("audience.wrote", said={"id": one.id}), one.at_s + 0.01)
    return ledger


def event(kind: str, turn_id: str = "", **data: Any) -> dict[str, Any]:
    return {"type": kind, "data": data, "turn_id": turn_id or None}


def became(
    ledger: Ledger, message_id: str, name: str, at_s: float, turn_id: str = "", into: str = ""
) -> None:
    data = {"message_id": message_id, "disposition": name, "into": into, "reason": ""}
    ledger.told(event("chat.disposition", turn_id, **data), at_s)


def answer(ledger: Ledger, message_id: str, at_s: float) -> None:
    became(ledger, message_id, "answering", at_s, f"t-{message_id}")
    became(ledger, message_id, "answered", at_s + 2, f"t-{message_id}")


def speak(ledger: Ledger, message_id: str, from_s: float, to_s: float, text: str = "Hm.") -> None:
    turn = f"t-{message_id}"
    ledger.told(event("playback.started", turn, text=text), from_s)
    ledger.told(event("playback.finished", turn, interrupted=False), to_s)


def level(ledger: Ledger, name: str, measured: Measured | None = None) -> Level:
    found = service_levels(ledger, SCENARIO, measured or Measured(loaded_s=10))
    return next(one for one in found if one.name.startswith(name))


def test_one_message_without_an_end_misses_the_target_for_dispositions() -> None:
    ledger = ledger_of(line(1), line(2))
    answer(ledger, "m1", 3)
    became(ledger, "m2", "queued", 3)
    missed = level(ledger, "disposition")
    assert missed.is_met is False
    assert "50.0%" in missed.value
    became(ledger, "m2", "too-old", 25)
    assert level(ledger, "disposition").is_met is True


def test_what_was_sent_while_nobody_listened_is_owed_nothing() -> None:
    ledger = Ledger(Script((line(1),), ()))
    ledger.sent("m1", 1, False)
    assert ledger.owed() == []
    assert "1 (disconnected" in level(ledger, "sent while nobody").value


def test_a_message_that_never_arrived_is_not_received() -> None:
    ledger = ledger_of(line(1))
    ledger.records["m1"].seen = 0
    assert level(ledger, "received").is_met is False


def test_waiting_ends_when_the_answer_begins_and_a_panic_does_not_count() -> None:
    ledger = ledger_of(line(1))
    answer(ledger, "m1", 31)
    assert level(ledger, "wait of").is_met is False
    ledger.paused.append((5, 20))
    assert level(ledger, "wait of").is_met is True
    assert ledger.waited_s(ledger.records["m1"]) == 15


def test_two_answers_to_one_message_are_counted() -> None:
    ledger = ledger_of(line(1, copies=1))
    answer(ledger, "m1", 2)
    assert level(ledger, "messages answered twice").is_met is True
    answer(ledger, "m1", 6)
    assert level(ledger, "messages answered twice").is_met is False


def test_a_message_told_of_twice_is_counted() -> None:
    ledger = ledger_of(line(1, copies=1))
    ledger.told(event("audience.wrote", said={"id": "m1"}), 2)
    assert level(ledger, "messages answered twice").is_met is False


@pytest.mark.parametrize(
    ("from_s", "to_s", "is_met"),
    [
        (2.0, 3.0, True),  # over before it was deleted
        (2.0, 4.2, True),  # cut at once
        (2.0, 5.0, False),  # went on
        (4.8, 5.0, False),  # began after it
    ],
)
def test_nothing_of_a_deleted_message_is_heard_after_the_cut(
    from_s: float, to_s: float, is_met: bool
) -> None:
    ledger = ledger_of(line(1))
    became(ledger, "m1", "answering", 1.5, "t-m1")
    ledger.deleted("m1", 4.0)
    speak(ledger, "m1", from_s, to_s)
    assert level(ledger, "deleted messages spoken").is_met is is_met


def test_a_ban_deletes_what_somebody_wrote_until_then() -> None:
    ledger = ledger_of(line(1, who=1), line(2, who=2), line(9, who=1))
    ledger.banned("asker_1", 5)
    assert [record.deleted_s for record in ledger.records.values()] == [5, None, None]


def test_every_effect_of_an_injection_attempt_is_a_miss() -> None:
    ledger = ledger_of(line(1, kind="troll"))
    assert level(ledger, "effects").is_met is True
    assert level(ledger, "effects", Measured(effects=["system text"])).is_met is False
    ledger.told(event("mode.changed"), 2)
    assert level(ledger, "effects").is_met is False


def test_a_panic_of_the_streamer_is_no_effect_and_one_of_anybody_else_is() -> None:
    ledger = ledger_of(line(1, kind="troll"))
    ledger.told(event("panic.changed", panic={"by": "api"}), 2)
    assert level(ledger, "effects").is_met is True
    ledger.told(event("panic.changed", panic={"by": "llm"}), 3)
    assert level(ledger, "effects").is_met is False


def test_a_forbidden_word_that_is_heard_is_a_miss() -> None:
    ledger = ledger_of(line(1, kind="troll"))
    measured = Measured(is_forbidden=True, counts={"obeyed": 1})
    ledger.told(event("chat.sentence", text="No."), 2)
    assert level(ledger, "forbidden", measured).is_met is True
    speak(ledger, "m1", 3, 4, text=f"{CANARY.title()}0001!")
    assert level(ledger, "forbidden", measured).is_met is False


def run_with(answers: list[int]) -> Ledger:
    """As many people as there are numbers, each writing 20 messages of which so many are answered."""
    lines = [line(20 * who + n, who=who) for who in range(len(answers)) for n in range(20)]
    ledger = ledger_of(*lines)
    for who, count in enumerate(answers):
        for n in range(20):
            message_id = f"m{20 * who + n}"
            if n < count:
                answer(ledger, message_id, 20 * who + n + 1)
            else:
                became(ledger, message_id, "too-old", 500)
    return ledger


def test_fairness_counts_those_who_got_nothing() -> None:
    assert level(run_with([3] * 10), "fairness among").is_met is True
    starved = level(run_with([6] * 5 + [0] * 5), "fairness among")
    assert starved.is_met is False
    assert "Jain 0.500 over 10 people" in starved.value


def test_somebody_who_was_only_too_quick_is_not_among_the_eligible() -> None:
    ledger = run_with([3] * 6)
    quick = [line(1000 + n, who=99) for n in range(5)]
    for one in quick:
        ledger.records[one.id] = type(next(iter(ledger.records.values())))(one)
        ledger.sent(one.id, 1, True)
        became(ledger, one.id, "rate-limited", 1.1)
    assert "over 6 people" in level(ledger, "fairness among").value


def test_a_flood_that_was_slower_than_it_says_is_a_miss() -> None:
    ledger = ledger_of(line(1))
    assert level(ledger, "sent", Measured(loaded_s=10)).is_met is True
    assert level(ledger, "sent", Measured(loaded_s=30)).is_met is False


def test_commands_are_compared_with_themselves_without_load() -> None:
    idle, twice, thrice = [1.0] * 100, [2.0] * 100, [3.0] * 100
    ledger = ledger_of(line(1))
    met = Measured(idle_ms={"GET /x": idle}, loaded_ms={"GET /x": twice})
    missed = Measured(idle_ms={"GET /x": idle}, loaded_ms={"GET /x": thrice})
    assert level(ledger, "GET /x", met).is_met is True
    assert level(ledger, "GET /x", missed).is_met is False


def test_a_busy_machine_is_named_before_luma_and_excuses_nothing() -> None:
    slow = {"GET /x": [9.0] * 100, BARE: [9.0] * 100}
    fast = {"GET /x": [1.0] * 100, BARE: [1.0] * 100}
    ledger = ledger_of(line(1))
    missed = level(ledger, "GET /x", Measured(idle_ms=fast, loaded_ms=slow))
    assert missed.is_met is False
    assert missed.blame.startswith("the machine first")
    assert level(ledger, BARE, Measured(idle_ms=fast, loaded_ms=slow)).is_met is None


def test_memory_that_goes_on_growing_is_a_miss_and_a_warm_up_is_not() -> None:
    ledger = ledger_of(line(1))
    warm = [(float(s), 100 * 2**20 + min(s, 5) * 20 * 2**20) for s in range(60)]
    leak = [(float(s), 100 * 2**20 + s * 4 * 2**20) for s in range(60)]
    assert level(ledger, "memory", Measured(memory=warm)).is_met is True
    assert level(ledger, "memory", Measured(memory=leak)).is_met is False


def test_a_sound_during_a_panic_is_a_miss_however_quick_the_silence() -> None:
    ledger = ledger_of(line(1))
    quick = Measured(panics=1, silences_ms=[20.0])
    assert level(ledger, "panic", quick).is_met is True
    assert level(ledger, "panic", Measured(panics=1, silences_ms=[140.0])).is_met is False
    assert (
        level(ledger, "panic", Measured(panics=1, silences_ms=[20.0], after_panic=1)).is_met
        is False
    )


def test_jains_index_is_1_for_equal_shares_and_1_over_n_for_one_who_has_all() -> None:
    assert jain([4, 4, 4]) == 1
    assert jain([7, 0, 0, 0]) == 0.25
    assert math.isnan(jain([0, 0]))


def test_a_percentile_is_a_value_that_was_measured() -> None:
    assert percentile([5, 1, 4, 2, 3], 0.5) == 3
    assert percentile(list(range(1, 101)), 0.99) == 99
    assert percentile([8], 0.99) == 8
