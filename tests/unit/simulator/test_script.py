"""What the audience of a run will do, and that one seed is one run."""

from __future__ import annotations

from pathlib import Path

import pytest

from simulator import scenarios
from simulator.personas import CANARY, LONGEST_CHARS
from simulator.scenarios import Scenario
from simulator.script import write

EVENING = Scenario(
    about="an evening",
    rate=20,
    seconds=60,
    people={"regular": 20, "asker": 10, "troll": 4, "first_timer": 5, "hostile": 3, "cheerer": 2},
    shares={"asker": 0.25},
    told_twice=0.1,
    deleted=0.1,
)


def test_one_seed_is_one_run_and_another_seed_another() -> None:
    assert write(EVENING, 7, "kira") == write(EVENING, 7, "kira")
    assert write(EVENING, 7, "kira") != write(EVENING, 8, "kira")


def test_messages_come_in_order_at_about_the_rate_and_share_that_were_asked_for() -> None:
    lines = write(EVENING, 1, "kira").lines
    assert [line.at_s for line in lines] == sorted(line.at_s for line in lines)
    assert 1000 < len(lines) < 1400
    asked = sum(line.person.kind == "asker" for line in lines) / len(lines)
    assert 0.2 < asked < 0.3
    assert len({line.id for line in lines}) == len(lines)


def test_a_wave_brings_its_own_people_for_its_own_time() -> None:
    wave = {"at_s": 10, "seconds": 5, "kind": "raider", "rate": 100, "people": 40}
    raided = Scenario.model_validate({**EVENING.model_dump(), "waves": [wave]})
    raiders = [line for line in write(raided, 1, "kira").lines if line.person.kind == "raider"]
    assert 400 < len(raiders) < 600
    assert all(10 <= line.at_s < 15 for line in raiders)
    assert len({line.person.login for line in raiders}) == 40


def test_only_the_first_message_of_a_newcomer_is_their_first() -> None:
    lines = [line for line in write(EVENING, 3, "kira").lines if line.person.kind == "first_timer"]
    first = [line for line in lines if line.is_first]
    assert len(lines) > len(first) == len({line.person.login for line in lines})


def test_every_troll_has_a_canary_that_nobody_else_writes() -> None:
    lines = write(EVENING, 4, "kira").lines
    canaries = {line.person.canary for line in lines if line.person.kind == "troll"}
    assert len(canaries) == 4
    assert all(canary.startswith(CANARY) for canary in canaries)
    for line in lines:
        assert (CANARY in line.text) == (line.person.kind == "troll")


def test_nobody_writes_more_than_the_platform_lets_through() -> None:
    assert all(0 < len(line.text) <= LONGEST_CHARS for line in write(EVENING, 5, "kira").lines)


def test_askers_are_of_one_priority_class() -> None:
    lines = write(EVENING, 6, "kira").lines
    assert {line.rank for line in lines if line.person.kind == "asker"} == {"viewer+question"}
    cheers = [line for line in lines if line.person.kind == "cheerer"]
    assert all("cheer" in line.rank for line in cheers)


@pytest.mark.parametrize("name", scenarios.names())
def test_every_shipped_scenario_can_be_read(name: str) -> None:
    scenario = scenarios.load(name)
    assert scenario.name == name
    short = scenarios.changed(scenario, rate=None, seconds=2)
    assert all(line.at_s < 2 for line in write(short, 1, "kira").lines)


def test_a_name_that_is_no_scenario_lists_those_there_are(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="calm-evening, flood"):
        scenarios.load("no-such")
    wrong = tmp_path / "own.yaml"
    wrong.write_text("about: x\nrate: 1\nseconds: 1\npeople: {ghost: 1}\n")
    with pytest.raises(ValueError, match="ghost"):
        scenarios.load(str(wrong))


def test_a_mention_names_the_bot() -> None:
    lines = [line for line in write(EVENING, 9, "kira").lines if line.mentions_us]
    assert lines
    assert all(line.text.startswith("@kira ") for line in lines)


def test_a_shorter_run_leaves_out_what_would_come_after_its_end() -> None:
    flood = scenarios.changed(scenarios.load("long-flood"), rate=5, seconds=130)
    assert flood.rate == 5
    assert [one.at_s for one in flood.happenings] == [118]
    assert flood.panics_at_s == (90,)
    assert [(wave.at_s, wave.seconds) for wave in flood.waves] == [(120, 10)]
