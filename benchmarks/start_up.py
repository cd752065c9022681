"""How long Luma takes to start, and what it holds when idle, beside a bare window with a bare server.

    python -m benchmarks.start_up [--runs 5] [--idle 10]

Needs a display (Xvfb will do) and xdotool, which says when a window is visible. The reference is the least that could be
called the same: a Tk window, and FastAPI under uvicorn on a thread, answering /api/health.
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
    """One start, seconds from the launch of the process; memory with its children after the idle time."""

    health_s: float
    window_s: float
    idle_bytes: int
    idle_unique_bytes: int


def main() -> int:
    """Measure both, in turn, and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--idle", type=float, default=10.0, help="seconds before memory is read")
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
            f" idle {found[-1].idle_bytes / 1e6:.0f} MB with children,"
            f" of which {found[-1].idle_unique_bytes / 1e6:.0f} MB its own (USS)"
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
        began = time.monotonic()
        with subprocess.Popen(
            command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
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
            whole, unique = _memory(process.pid)
            process.send_signal(signal.SIGTERM)
            process.wait(20)
    return Start(health_s, window_s, whole, unique)


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


def _memory(pid: int) -> tuple[int, int]:
    process = psutil.Process(pid)
    family = [process, *process.children(recursive=True)]
    return (
        sum(member.memory_info().rss for member in family),
        sum(member.memory_full_info().uss for member in family),
    )


def _free_port() -> int:
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


if __name__ == "__main__":
    raise SystemExit(main())
