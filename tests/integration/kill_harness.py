"""Kill a real program at a random moment and see what it had promised.

The program prints one line for each thing it has acknowledged. It is killed the hard way (SIGKILL, TerminateProcess) while
it works; whole lines it had printed by then are promises that must have been kept.
"""

from __future__ import annotations

import random
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True, slots=True)
class Killed:
    """What was left of a program.

    Attributes:
        promises: The lines it had printed, in order, without the last one if it was cut.
        alive: Whether it was still working when it was killed.
        after_s: How long after its first line it was killed.
        errors: What it said on stderr.
    """

    promises: list[str]
    alive: bool
    after_s: float
    errors: str


def new_seed() -> int:
    """A seed from the clock, printed so that a failure can be repeated."""
    seed = time.time_ns() % 1_000_000_000  # chance is wanted here, and told
    sys.stdout.write(f"kill seed {seed}\n")
    return seed


def kill_at_random(
    command: Sequence[str],
    chance: random.Random,
    *,
    shortest_s: float = 0.0,
    longest_s: float,
    start_s: float = 30.0,
) -> Killed:
    """Start ``command`` in the repository's root and kill it some time after its first line.

    Args:
        command: Program and arguments; its first line says that it is ready.
        chance: Decides the moment.
        shortest_s, longest_s: The earliest and the latest moment.
        start_s: How long it may take to print its first line.
    """
    lines: list[str] = []
    begun = threading.Event()
    with subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout is not None
        assert child.stderr is not None

        def listen() -> None:
            assert child.stdout is not None
            for line in child.stdout:
                if line.endswith("\n"):
                    lines.append(line.rstrip("\n"))
                begun.set()
            begun.set()

        listener = threading.Thread(target=listen, daemon=True)
        listener.start()
        begun.wait(start_s)
        delay = chance.uniform(shortest_s, longest_s)
        try:
            child.wait(delay)
            alive = False
        except subprocess.TimeoutExpired:
            alive = True
        child.kill()
        errors = child.stderr.read()
        listener.join(10)
    return Killed(lines, alive, delay, errors)
