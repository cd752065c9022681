"""The flood simulator against a Luma of its own: a real process, the real way through Twitch, some seconds."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

from tests.integration.program import ROOT

NOT_OF_TIME = (
    "sent",
    "received",
    "disposition",
    "answered",
    "messages answered twice",
    "deleted messages spoken",
    "effects of injection attempts",
    "forbidden words said",
)
"""Levels that a busy machine cannot spoil; the others are for runs on a quiet one."""


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "simulator", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )


@pytest.mark.slow
@pytest.mark.timeout(260)
@pytest.mark.parametrize("way", ["twitch", "irc", "ingest"])
def test_a_short_flood_is_served_through_every_way_in(way: str) -> None:
    done = run("--through", way, "--idle-seconds", "2", "--seconds", "8", "--json")
    assert done.returncode in (0, 1), done.stderr
    report = json.loads(done.stdout)
    levels: dict[str, dict[str, Any]] = {one["name"]: one for one in report["levels"]}
    for name in NOT_OF_TIME:
        assert levels[name]["is_met"] is not False, (report["seed"], levels[name])
    assert levels["disposition"]["is_met"] is True
    assert "faults of the simulator" not in levels, levels


def test_a_wrong_scenario_is_said_in_words_and_exits_with_2() -> None:
    done = run("--scenario", "no-such")
    assert done.returncode == 2
    assert "Choose calm-evening" in done.stderr
    assert "Traceback" not in done.stderr
