"""What a running training costs a turn: the same turns with the trainer paused and at work, alternating in one run.

Luma (main.py --headless) in a process of its own, with the embedded voice and the echo model; the real trainer works on a
few synthetic recordings. A turn is timed from the request to its whole answer with all sounds made, by the client. Turns
come some seconds apart, so that the trainer has its threads back when one begins: its worst moment.

    python -m benchmarks.turn_during_training [--turns 15] [--rounds 3] [--gap 3.5]

Target: p50 at most 1.3 x.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

import httpx

from tests.integration.program import Program
from tests.studio import Desk

WANTED_RATIO = 1.3
WARM_UP = 5
TEXT = "Number {n}: the harbour was quiet tonight, and nobody was waiting for the last boat."


def turn(desk: Desk, where: str, n: int) -> float:
    """One turn in ms."""
    began = time.perf_counter()
    body = {"message": TEXT.format(n=n), "conversation_id": where}
    answer = desk.ask("POST", "/api/chat", body)
    took = (time.perf_counter() - began) * 1000
    assert answer["audio"], "the turn made no sound"
    return took


def main() -> int:
    """Measure and print; 1 when the target is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--turns", type=int, default=15, help="per block")
    parser.add_argument("--rounds", type=int, default=3, help="of two blocks each")
    parser.add_argument("--gap", type=float, default=3.5, help="seconds between two turns")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        base = Path(name)
        (base / "data").mkdir()
        environment = {
            "LLM_PROVIDER": "echo",
            "TTS_CHAIN": "embedded",
            "MODELS_DIR": str(base / "models"),
            "LUMA_ENV_FILE": os.devnull,
            "API_PORT": "0",
            "TRAINING_ON_CLOSE": "stop",
        }
        with Program(base / "data", "--headless", environment=environment) as program:
            token = (base / "data" / "api_token").read_text().strip() if program.ready() else ""
            with httpx.Client(
                base_url=program.ready(),
                headers={"Authorization": f"Bearer {token}"},
                timeout=60,
                trust_env=False,
            ) as http:
                ratio = measure(Desk(http), base, asked)
            program.stop()
    return 0 if ratio <= WANTED_RATIO else 1


def measure(desk: Desk, base: Path, asked: argparse.Namespace) -> float:
    """The ratio of the medians."""
    speaker = desk.clips(base / "recordings")
    job_id = desk.train(
        "bench",
        speaker,
        base="none",
        budget={"steps": 1_000_000},
        options={"sample_every": 1_000_000},
    )
    desk.until(job_id, "train", least=3)
    where = desk.ask("POST", "/api/conversations", {})["id"]
    taken: dict[str, list[float]] = {"paused": [], "training": []}
    speeds: list[float] = []
    n = 0
    for _ in range(WARM_UP):
        n += 1
        turn(desk, where, n)
    for _ in range(asked.rounds):
        for what, order in (("paused", "pause"), ("training", "resume")):
            desk.ask("POST", f"/api/voice/jobs/{job_id}/{order}")
            step = desk.until(job_id, "paused" if order == "pause" else "train")["step"]
            if what == "training":
                desk.until(job_id, "train", least=step + 2)
                began = time.perf_counter()
            for _ in range(asked.turns):
                time.sleep(asked.gap)
                n += 1
                taken[what].append(turn(desk, where, n))
            if what == "training":
                made = desk.job(job_id)["step"] - step
                speeds.append(made / (time.perf_counter() - began))
    desk.ask("POST", f"/api/voice/jobs/{job_id}/stop")
    desk.ended(job_id)
    for what, times in taken.items():
        late = sorted(times)[int(len(times) * 0.95)]
        sys.stdout.write(
            f"{what:10} {len(times)} turns   p50 {statistics.median(times):7.1f} ms   p95 {late:7.1f} ms\n"
        )
    ratio = statistics.median(taken["training"]) / statistics.median(taken["paused"])
    sys.stdout.write(
        f"a turn during a training takes {ratio:.2f} x (target {WANTED_RATIO}); the training made"
        f" {statistics.mean(speeds):.2f} steps/s between the turns\n"
    )
    return ratio


if __name__ == "__main__":
    sys.exit(main())
