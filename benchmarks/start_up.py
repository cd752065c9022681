"""How long Luma takes to start, and what it holds when idle, beside a bare window with a bare server.

    python -m benchmarks.start_up [--runs 5] [--idle 10]

Run it with an environment made of requirements.txt alone: what developers have installed is imported where libraries
look for it. Needs a display (Xvfb will do) and xdotool, which says when a window is visible. The reference is the least
that could be called the same: a Tk window, and FastAPI under uvicorn on a thread, answering /api/health.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path

import psutil

ROOT = Path(__file__).resolve().parent.parent

REFERENCE = """
import threading, tkinter, uvicorn
from fastapi import FastAPI
app = FastAPI()
@app.get("/api/health")
def health(): return {"status": "ok"}
server = uvicorn.Server(uvicorn.Config(app, port=PORT, log_config=None))
threading.Thread(target=server.run, daemon=True).start()
window = tkinter.Tk(className="Luma"); window.title("Luma"); window.geometry("1280x800")
window.mainloop()
"""


@dataclass(frozen=True, slots=True)
class Start:
    """One start, seconds from the launch of the process; memory and work with its children after the idle time.

    Attributes:
        rss_bytes: Resident sizes added up; pages that two processes share count twice.
        pss_bytes: What the machine really gives: shared pages count in parts. 0 where the system does not say.
        parts: The same per process, the program first.
        busy: Share of one core that the program and its children use while nobody does anything.
    """

    health_s: float
    window_s: float
    rss_bytes: int
    pss_bytes: int
    parts: tuple[tuple[int, int], ...]
    busy: float


def main() -> int:
    """Measure both, in turn, and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument(
        "--idle", type=float, default=10.0, help="seconds before memory is read, and CPU is watched"
    )
    words = parser.parse_args()
    if not shutil.which("xdotool") or not os.environ.get("DISPLAY"):  # noqa: TID251  asks the display, no setting
        print("This benchmark needs a display and xdotool.")
        return 1
    luma: list[Start] = []
    bare: list[Start] = []
    for run in range(words.runs + 1):
        for kind, found in (("luma", luma), ("bare", bare)):
            start = _measure(kind, words.idle if run == words.runs else 0.5)
            if run:  # the first run of each warms the disk cache
                found.append(start)
    for name, found in (("Luma", luma), ("bare window and server", bare)):
        health = statistics.median(s.health_s for s in found)
        window = statistics.median(s.window_s for s in found)
        print(
            f"{name}: health after {health:.2f} s, window after {window:.2f} s (medians of {len(found)});"
            f" idle {found[-1].rss_bytes / 1e6:.0f} MB (RSS), {found[-1].pss_bytes / 1e6:.0f} MB (PSS) with children:"
            f" {', '.join(f'{rss / 1e6:.0f}/{pss / 1e6:.0f}' for rss, pss in found[-1].parts)};"
            f" {found[-1].busy:.1%} of a core"
        )
    both = [max(s.health_s, s.window_s) for s in luma]
    reference = statistics.median(max(s.health_s, s.window_s) for s in bare)
    print(
        f"start until both: {statistics.median(both):.2f} s, {statistics.median(both) / reference:.2f} x the bare one"
        " (wanted: under 2 s)"
    )
    return 0


def _measure(kind: str, idle_s: float) -> Start:
    with tempfile.TemporaryDirectory() as folder:
        port = _free_port()
        if kind == "luma":
            command = [sys.executable, "main.py", "--data-dir", folder, "--port", str(port)]
        else:
            command = [sys.executable, "-c", REFERENCE.replace("PORT", str(port))]
        environment = dict(os.environ)  # noqa: TID251  what the child inherits, no setting
        environment.pop("PYTHONDONTWRITEBYTECODE", None)  # users' starts find their code compiled
        began = time.monotonic()
        with subprocess.Popen(
            command, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        ) as process:
            health_s = window_s = 0.0
            while not (health_s and window_s):
                if not health_s and _answers(port):
                    health_s = time.monotonic() - began
                if not window_s and _is_visible(process.pid):
                    window_s = time.monotonic() - began
                if process.poll() is not None or time.monotonic() - began > 60:
                    raise SystemExit(f"{kind} did not start: exit code {process.poll()}")
                time.sleep(0.01)
            time.sleep(idle_s)
            parts = _memory(process.pid)
            before_s = _cpu_s(process.pid)
            time.sleep(idle_s)
            busy = (_cpu_s(process.pid) - before_s) / idle_s
            process.send_signal(signal.SIGTERM)
            process.wait(20)
    return Start(
        health_s,
        window_s,
        sum(rss for rss, _ in parts),
        sum(pss for _, pss in parts),
        parts,
        busy,
    )


def _answers(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/api/health", timeout=1) as answer:
            return bool(json.load(answer)["status"] == "ok")
    except (urllib.error.URLError, OSError):
        return False


def _is_visible(pid: int) -> bool:
    found = subprocess.run(
        ["xdotool", "search", "--onlyvisible", "--name", "Luma"],
        capture_output=True,
        text=True,
        check=False,
    )
    return bool(found.stdout.strip()) and psutil.pid_exists(pid)


def _family(pid: int) -> list[psutil.Process]:
    process = psutil.Process(pid)
    return [process, *process.children(recursive=True)]


def _memory(pid: int) -> tuple[tuple[int, int], ...]:
    """Resident and proportional size of each process."""
    found = [member.memory_full_info() for member in _family(pid)]
    return tuple((each.rss, getattr(each, "pss", 0)) for each in found)


def _cpu_s(pid: int) -> float:
    times = [member.cpu_times() for member in _family(pid)]
    return sum(each.user + each.system for each in times)


def _free_port() -> int:
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


if __name__ == "__main__":
    raise SystemExit(main())
