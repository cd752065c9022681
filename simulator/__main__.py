"""``python -m simulator``: flood a Luma with an audience, print service levels, exit 1 when one is missed."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import get_args

from simulator import scenarios
from simulator.crowd import Way
from simulator.levels import Level
from simulator.luma import LumaError, attached
from simulator.run import Plan, run

MET, MISSED, WRONG = 0, 1, 2


def main(arguments: list[str] | None = None) -> int:
    """Run it; the exit code: 0 all met, 1 something missed, 2 it could not be run."""
    parser = _parser()
    wanted = parser.parse_args(arguments)
    if wanted.list:
        for name in scenarios.names():
            print(f"{name:14} {scenarios.load(name).about}")
        return MET
    begun_s = time.monotonic()

    def say(text: str) -> None:
        print(f"[{time.monotonic() - begun_s:6.1f} s] {text}", file=sys.stderr, flush=True)

    try:
        scenario = scenarios.load(wanted.scenario)
        scenario = scenarios.changed(scenario, rate=wanted.rate, seconds=wanted.seconds)
        luma = None
        if wanted.url:
            if wanted.token_file is None:
                parser.error(
                    "--url needs --token-file, the api_token in the data folder of that Luma"
                )
            luma = attached(wanted.url, wanted.token_file)
        seed = wanted.seed if wanted.seed is not None else time.time_ns() % 2**32
        say(f"scenario {scenario.name}, seed {seed}: {scenario.about}")
        plan = Plan(
            scenario=scenario,
            seed=seed,
            way=wanted.through,
            reply_s=wanted.reply_seconds,
            idle_s=wanted.idle_seconds,
            luma=luma,
            log_file=wanted.log,
        )
        levels = asyncio.run(run(plan, say))
    except (ValueError, LumaError) as error:
        print(error, file=sys.stderr)
        return WRONG
    except ExceptionGroup as group:
        if (known := group.subgroup(LumaError)) is None:
            raise
        print("\n".join(map(str, _causes(known))), file=sys.stderr)
        return WRONG
    except KeyboardInterrupt:
        return WRONG
    is_met = all(level.is_met is not False for level in levels)
    if wanted.json:
        print(
            json.dumps({"seed": seed, "is_met": is_met, "levels": [asdict(one) for one in levels]})
        )
    else:
        show(levels)
    return MET if is_met else MISSED


def _causes(group: ExceptionGroup[LumaError]) -> Iterator[LumaError]:
    """What happened, without the groups in groups that name nothing."""
    for error in group.exceptions:
        if isinstance(error, ExceptionGroup):
            yield from _causes(error)
        else:
            yield error


def show(levels: list[Level]) -> None:
    """The report for people."""
    for level in levels:
        mark = {True: "met   ", False: "MISSED", None: "      "}[level.is_met]
        target = f"   [{level.target}]" if level.target else ""
        print(f"{mark} {level.name}: {level.value}{target}")
        if level.is_met is False and level.blame:
            print(f"       look at: {level.blame}")
    missed = [level.name for level in levels if level.is_met is False]
    print(f"{len(missed)} missed: {', '.join(missed)}" if missed else "every target is met")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m simulator", description=__doc__)
    parser.add_argument(
        "--scenario", default="short", help="name of one that ships (--list), or a YAML file"
    )
    parser.add_argument("--list", action="store_true", help="say which scenarios ship, and end")
    parser.add_argument("--seed", type=int, help="decides everything left open; default: the time")
    parser.add_argument("--rate", type=float, help="messages a second instead of the scenario's")
    parser.add_argument(
        "--seconds", type=float, help="length of the flood instead of the scenario's"
    )
    parser.add_argument(
        "--through",
        choices=get_args(Way),
        default="twitch",
        help="how messages reach Luma: EventSub with a login, anonymous chat, or POST /api/ingest/chat",
    )
    parser.add_argument(
        "--reply-seconds", type=float, default=2.0, help="how long an answer takes, sound included"
    )
    parser.add_argument(
        "--idle-seconds",
        type=float,
        default=10.0,
        help="control commands without load, before and after",
    )
    parser.add_argument("--url", help="a Luma that runs already, instead of one of its own")
    parser.add_argument("--token-file", type=Path, help="the api_token of that one")
    parser.add_argument("--log", type=Path, help="file for the words of the Luma that is started")
    parser.add_argument("--json", action="store_true", help="print the levels as JSON")
    return parser


if __name__ == "__main__":
    sys.exit(main())
