"""The whole program under 1,000 events a second: how long the window's own tick takes, and what it holds.

    python -m benchmarks.window_load [--seconds 60] [--rate 1000]

Needs a display (Xvfb will do). Backend and window run in one process, as they ship: real server, real event stream, real
widgets; a thread publishes turns as they happen (pieces, sentences, positions) and log lines. The time is shared by the
tabs; hidden ones go on working. "gap" is the time between two ticks beyond the 20 ms they are apart, with Tk's redraw in
it: what a hand on the mouse would feel. The reference is the least that could be called the same: a Tk window that reads
events from the same kind of queue, decodes them, and puts each into one Text.
"""

from __future__ import annotations

import argparse
import gc
import os
import queue
import sys
import tempfile
import threading
import time
import tkinter as tk
from pathlib import Path
from typing import Any

import psutil

from backend.contracts.events import (
    ChatDelta,
    ChatMessage,
    ChatResponse,
    ChatSentence,
    Event,
    LogLine,
    PlaybackFinished,
    PlaybackPosition,
    PlaybackStarted,
    TurnFinished,
    TurnStarted,
)

TABS = ("chat", "logs", "status", "voice")
WORDS = "The lantern refused to go out, and every night a traveller leaned in to blow.".split()
TARGET_P99_S = 0.050
WANTED_P99_S = 0.033
GROWTH_MB_PER_MIN = 30.0  # after the warm-up; buffers that fill up once are not a leak


def one_turn(number: int) -> list[Event]:
    """A turn as a backend publishes it, with the log lines around it: 100 events."""
    turn = f"bench-{number}"
    both: dict[str, Any] = {"turn_id": turn, "conversation_id": "stage"}
    events: list[Event] = [
        ChatMessage(text=f"Question {number}?", author="you", origin="window", **both),
        TurnStarted(number=number, origin="window", character_id="hoshi", **both),
    ]
    for n in range(1, 4):
        text = " ".join(WORDS)
        events += [ChatDelta(text=word + " ", **both) for word in WORDS]
        events.append(ChatSentence(text=text, n=n, emotion="joy", character_id="hoshi", **both))
        events.append(
            PlaybackStarted(
                n=n, text=text, url="/api/audio/x/1", duration_s=2, sink="speaker", **both
            )
        )
        events += [
            PlaybackPosition(n=n, position_s=i / 4, duration_s=2, level_dbfs=-14.0 - i, **both)
            for i in range(8)
        ]
    events += [
        PlaybackFinished(heard="all of it", **both),
        ChatResponse(text=" ".join(WORDS * 3), emotion="joy", character_id="hoshi", **both),
        TurnFinished(
            number=number,
            outcome="done",
            total_ms=900,
            first_audio_ms=700,
            character_id="hoshi",
            **both,
        ),
    ]
    while len(events) < 100:
        events.append(
            LogLine(logger="backend.bench", text=f"line {len(events)} of {turn}", turn_id=turn)
        )
    return events


class Publisher(threading.Thread):
    """Hands events to ``publish`` at a steady rate until stopped."""

    def __init__(self, rate: int, publish: Any) -> None:
        super().__init__(name="publisher", daemon=True)
        self.sent = 0
        self._rate = rate
        self._publish = publish
        self._stop_asked = threading.Event()

    def run(self) -> None:
        """Keep the pace in steps of 5 ms."""
        began = time.perf_counter()
        number = 0
        waiting: list[Event] = []
        while not self._stop_asked.is_set():
            due = int((time.perf_counter() - began) * self._rate)
            while self.sent < due:
                if not waiting:
                    number += 1
                    waiting = one_turn(number)[::-1]
                self._publish(waiting.pop())
                self.sent += 1
            self._stop_asked.wait(0.005)

    def end(self) -> None:
        """Stop and wait."""
        self._stop_asked.set()
        self.join()


def share(values: list[float], part: float) -> float:
    """The value below which that part of all lies."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(part * len(ordered)))] if ordered else 0.0


def memory_mb() -> float:
    """What this process holds."""
    return float(psutil.Process().memory_info().rss) / 1e6


def reference(seconds: float, rate: int) -> list[float]:
    """Tick times of a bare Tk window that decodes each event and inserts it into one Text."""
    import orjson

    arrived: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    publisher = Publisher(rate, lambda event: arrived.put(orjson.dumps(event.envelope())))
    root = tk.Tk()
    root.geometry("1280x800")
    text = tk.Text(root)
    text.pack(fill="both", expand=True)
    root.update()
    ticks: list[float] = []
    publisher.start()
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        began = time.perf_counter()
        while not arrived.empty():
            event = orjson.loads(arrived.get())
            text.insert("end", f"{event['at']} {event['type']} {event['message']}\n")
        text.see("end")
        ticks.append(time.perf_counter() - began)
        root.update()
        time.sleep(0.02)
    publisher.end()
    root.destroy()
    return ticks


def luma(seconds: float, rate: int, folder: Path) -> dict[str, Any]:
    """Ticks, gaps and memory of the real window on the real backend."""
    import config
    from backend.core.auth_token import load_or_create_token
    from backend.server import BackendThread, open_socket
    from frontend.client import BackendClient
    from frontend.gui import MainWindow

    loaded = config.load_settings(
        {"data_dir": str(folder), "api_port": 0, "models_dir": str(folder / "models")}
    )
    token = load_or_create_token(folder)
    made: list[Any] = []

    def make_app() -> Any:
        from backend.app import create_app

        made.append(create_app(loaded))
        return made[0]

    backend = BackendThread(loaded, listener=open_socket("127.0.0.1", 0), make_app=make_app)
    backend.start()
    bus = made[0].state.services.bus
    client = BackendClient(backend.url, token)
    window = MainWindow(client, None)
    until = time.perf_counter() + 10
    while client.connection.state != "connected" and time.perf_counter() < until:
        window.root.update()
        time.sleep(0.01)
    for name in TABS:
        window.show_tab(name)
        window.root.update()
    publisher = Publisher(rate, bus.publish_from_thread)
    result: dict[str, Any] = {"tabs": {}, "ticks": [], "gaps": []}
    try:
        publisher.start()
        _fill(window)
        _pump(window, min(10.0, seconds / 4))
        gc.collect()
        before_mb, before = memory_mb(), client.received
        began = time.perf_counter()
        for name in TABS:
            window.show_tab(name)
            window.ticks.clear()
            gaps = _pump(window, seconds / len(TABS))
            ticks = list(window.ticks)
            result["tabs"][name] = (ticks, gaps)
            result["ticks"] += ticks
            result["gaps"] += gaps
        took = time.perf_counter() - began
        gc.collect()
        result["rate"] = (client.received - before) / took
        result["growth_mb"] = memory_mb() - before_mb
        result["minutes"] = took / 60
        result["dropped"] = client.dropped
        result["waiting"] = len(client.inbox)
    finally:
        publisher.end()
        window.close()
        backend.stop()
    return result


def _fill(window: Any) -> None:
    """Fill what is bounded (the log's 100,000 rows, the chat's 500 messages), so that growth afterwards is a leak."""
    logs, chat = window.tabs["logs"], window.tabs["chat"]
    number = -1_000_000
    while len(logs.buffer) < logs.buffer.capacity:
        for event in one_turn(number):
            logs.on_event(event)
        number += 1
        if number % 20 == 0:
            logs.flush()
            window.root.update()
        if number > -998_900:  # it does not fill: go on without
            break
    for number in range(-500, 0):
        for event in one_turn(number):
            chat.on_event(event)
        if number % 10 == 0:
            chat.flush()
            window.root.update()


def _pump(window: Any, seconds: float) -> list[float]:
    """Run Tk's own loop for a while; the gaps between the window's ticks beyond their 20 ms."""
    gaps: list[float] = []
    last = [time.perf_counter()]
    work = window.work

    def timed() -> None:
        now = time.perf_counter()
        gaps.append(max(0.0, now - last[0] - 0.020))
        work()
        last[0] = time.perf_counter()

    window.work = timed
    window.root.after(int(seconds * 1000), window.root.quit)
    window.root.mainloop()
    window.work = work
    return gaps[1:]


def main() -> int:
    """Measure both and print; 0 if the targets are met."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--rate", type=int, default=1000)
    words = parser.parse_args()
    if sys.platform.startswith("linux") and not os.environ.get("DISPLAY"):  # noqa: TID251  asks the display, no setting
        print("This benchmark needs a display.")
        return 2
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        found = luma(words.seconds, words.rate, Path(folder))
    bare = reference(min(10.0, words.seconds / 4), words.rate)
    print(f"{words.rate} events/s asked, {found['rate']:.0f}/s received by the window")
    print(f"{'':10}{'tick p50':>10}{'p99':>8}{'max':>8}{'gap p50':>10}{'p99':>8}{'max':>8}   ms")
    rows = [(name, *found["tabs"][name]) for name in TABS]
    rows += [("all", found["ticks"], found["gaps"]), ("bare Tk", bare, [])]
    for name, ticks, gaps in rows:
        figures = [share(ticks, part) * 1e3 for part in (0.5, 0.99, 1.0)]
        line = f"{name:10}{figures[0]:10.1f}{figures[1]:8.1f}{figures[2]:8.1f}"
        if gaps:
            line += "{:10.1f}{:8.1f}{:8.1f}".format(
                *(share(gaps, part) * 1e3 for part in (0.5, 0.99, 1.0))
            )
        print(line)
    growth = found["growth_mb"] / max(found["minutes"], 1e-9)
    print(f"memory {found['growth_mb']:+.1f} MB in {found['minutes']:.1f} min ({growth:+.1f}/min)")
    print(
        f"live events dropped by the window {found['dropped']}, left in the inbox {found['waiting']}"
    )
    p99 = share(found["ticks"], 0.99)
    ratio = p99 / max(share(bare, 0.99), 1e-9)
    print(f"tick p99 {p99 * 1e3:.1f} ms: {ratio:.1f} x bare Tk", end="; ")
    print(f"wanted {WANTED_P99_S * 1e3:.0f} ms, at most {TARGET_P99_S * 1e3:.0f} ms")
    return 0 if p99 < TARGET_P99_S and growth < GROWTH_MB_PER_MIN else 1


if __name__ == "__main__":
    sys.exit(main())
