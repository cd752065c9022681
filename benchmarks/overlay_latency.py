"""How soon the overlay's mouth moves after a sentence has become sound, and how far mouth and sound are apart.

A backend with the shipped fakes (echo, tone) and AUDIO_SINK=overlay, and the overlay in a real Chromium without a graphics card.

Latency: from `speech.ready` (its time stamp) to the first frame in which the page draws the mouth open, for sentences of real turns.
By design 150 ms of it are the announcement that lets the page fetch and decode the sound; the voice's own silence before its first
sound counts too. Beside it, in the same run: from `speech.ready` to the moment when that event reaches a bare WebSocket client.

Deviation: sentences of tone bursts with a known mouth; in the page the onsets of the sound that leaves (an analyser at its output,
plus the output's own delay) against the frames that open the mouth.

    python -m benchmarks.overlay_latency [--turns 30] [--bursts 60]
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import threading
from collections.abc import Sequence
from contextlib import ExitStack
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

from playwright.sync_api import Page, sync_playwright
from websockets.sync.client import connect

from tests.browser.conftest import FLAGS, chromium
from tests.browser.stagecraft import bursts, mouth_of_bursts, perform, put_on_stage
from tests.integration.conftest import Served, serve

SENTENCES = ("Hello out there.", "Many thanks for the raid!", "Every lantern wants a name.")

# Each frame that is drawn: [wall clock of the frame (ms), its performance time, opening, loudness at the output, delay of the output].
WATCH = """
(() => {
  const connect = AudioNode.prototype.connect;
  AudioNode.prototype.connect = function (to, ...rest) {
    if (to === this.context.destination && !globalThis.tapped) {
      const tap = this.context.createAnalyser();
      tap.fftSize = 256;
      tap.smoothingTimeConstant = 0;
      globalThis.tapped = [this.context, tap];
      connect.call(this, tap);
    }
    return connect.call(this, to, ...rest);
  };
  globalThis.drawn = [];
  globalThis.levels = [];
  const wave = new Float32Array(256);
  const frame = (now) => {
    requestAnimationFrame(frame);
    const mouth = globalThis.lumaStage?.voice.mouthAt(now) ?? {};
    globalThis.drawn.push([performance.timeOrigin + performance.now(), now, Math.max(0, ...Object.values(mouth))]);
  };
  requestAnimationFrame(frame);
  setInterval(() => {
    if (!globalThis.tapped) return;
    const [context, tap] = globalThis.tapped;
    tap.getFloatTimeDomainData(wave);
    const level = Math.sqrt(wave.reduce((sum, v) => sum + v * v, 0) / wave.length);
    globalThis.levels.push([performance.now() + context.outputLatency * 1000, level]);
  }, 1);
})();
"""


def share(values: Sequence[float], of: float) -> float:
    """The value below which a share of them lies."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(of * len(ordered)))]


def onsets(values: list[tuple[float, float]], threshold: float) -> list[float]:
    """When a value rises over the threshold after 120 ms below it."""
    found: list[float] = []
    loud_at = values[0][0]
    for (_, before), (at, now) in pairwise(values):
        if now > threshold >= before and at - loud_at > 120:
            found.append(at)
        if now > threshold:
            loud_at = at
    return found


class Ready(threading.Thread):
    """A bare client of the stream: when each `speech.ready` was made and when it arrived, wall clock in ms."""

    def __init__(self, served: Served) -> None:
        super().__init__(daemon=True)
        self.seen: list[tuple[float, float]] = []
        self._open = ExitStack()
        self._socket = self._open.enter_context(
            connect(
                served.socket_url, additional_headers=served.bearer, proxy=None, compression=None
            )
        )
        self._socket.send(json.dumps({"hello": {"types": ["speech.ready"], "batch": False}}))
        self._socket.recv()
        self.start()

    def run(self) -> None:
        for text in self._socket:
            event = json.loads(text)
            arrived_ms = datetime.now().astimezone().timestamp() * 1000
            made_ms = datetime.fromisoformat(event["at"]).timestamp() * 1000
            self.seen.append((made_ms, arrived_ms))

    def close(self) -> None:
        """End it."""
        self._open.close()
        self.join(2)


def latency(page: Page, served: Served, turns: int) -> tuple[list[float], list[float]]:
    """Milliseconds from `speech.ready` to the open mouth, and to a bare client, for the first sentence of each turn."""
    ready = Ready(served)
    seen_ms: list[float] = []
    with served.client() as client:
        for n in range(turns):
            page.evaluate("drawn.length = 0")
            before = len(ready.seen)
            text = f"{SENTENCES[n % len(SENTENCES)]} Number {n}."
            client.post(
                "/api/chat", json={"message": text, "conversation_id": "stage"}
            ).raise_for_status()
            page.wait_for_timeout(250)
            while page.evaluate("lumaStage.voice.positionAt(performance.now()) !== null"):
                page.wait_for_timeout(50)
            drawn: list[list[float]] = page.evaluate("drawn")
            made_ms = ready.seen[before][0]
            opened = [wall for wall, _, opening in drawn if opening > 0.15 and wall > made_ms]
            seen_ms.append(opened[0] - made_ms)
    ready.close()
    return seen_ms, [arrived - made for made, arrived in ready.seen]


def deviation(page: Page, served: Served, count: int) -> list[float]:
    """Milliseconds from each onset of the sound to the frame that opens the mouth for it; negative = the mouth is first."""
    sound, mouth = bursts(count), mouth_of_bursts(count)
    page.evaluate("drawn.length = 0; levels.length = 0;")
    perform(served, ("bursts", sound, mouth), turn="c" * 32)
    page.wait_for_timeout(sound.duration_s * 1000 + 1500)
    found: dict[str, Any] = page.evaluate("({drawn, levels})")
    eyes = onsets([(at, opening) for _, at, opening in found["drawn"]], 0.5)
    ears = onsets([(at, level) for at, level in found["levels"]], 0.02)
    return [min((eye - ear for eye in eyes), key=abs) for ear in ears]


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--turns", type=int, default=30)
    parser.add_argument("--bursts", type=int, default=60)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        backend = serve(Path(folder), audio_sink="overlay")
        served = next(backend)
        put_on_stage(served, "hoshi")
        browser = playwright.chromium.launch(executable_path=chromium(), args=list(FLAGS))
        page = browser.new_page(viewport={"width": 800, "height": 900})
        page.add_init_script(WATCH)
        page.goto(f"{served.url}/overlay?token={served.overlay_token}")
        page.locator("html[data-avatar=hoshi]").wait_for(state="attached")
        page.wait_for_timeout(3000)
        seen, bare = latency(page, served, options.turns)
        apart = deviation(page, served, options.bursts)
        frames: list[list[float]] = page.evaluate("drawn")
        browser.close()
        assert next(backend, None) is None
    steps = [later[1] - earlier[1] for earlier, later in pairwise(frames)]
    print(
        f"frames: {1000 / statistics.median(steps):.0f} a second (p95 {share(steps, 0.95):.0f} ms apart)"
    )
    print(
        f"speech.ready -> mouth moves:  p50 {share(seen, 0.5):.0f} ms, p95 {share(seen, 0.95):.0f} ms ({len(seen)} turns)"
    )
    print(
        f"speech.ready -> bare client:  p50 {share(bare, 0.5):.1f} ms, p95 {share(bare, 0.95):.1f} ms"
    )
    sizes = [abs(value) for value in apart]
    print(
        f"mouth against sound: median {statistics.median(apart):+.0f} ms, size p50 {share(sizes, 0.5):.0f} ms,"
        f" p95 {share(sizes, 0.95):.0f} ms ({len(apart)} onsets)"
    )


if __name__ == "__main__":
    main()
