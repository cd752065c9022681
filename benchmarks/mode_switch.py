"""Modes switched under load: every message gets its reply, once, whatever mode it falls into.

    python -m benchmarks.mode_switch [--switches 100] [--talkers 8] [--every-ms 100] [--no-failures]

A backend on a thread, a language model and a server with the Open-LLM-VTuber protocol on another. Talkers hold a
conversation each, ask over POST /api/chat and wait for the whole reply. Meanwhile the mode is switched: by turns for
everywhere and for one conversation, to a mode drawn by lot, and every tenth time the server of a mode goes away or comes
back. The reference in the same run: the same talkers, and nobody switches.

Counted afterwards in the database: turns per message, replies per turn, empty replies, turns that did not end well.
"""

from __future__ import annotations

import argparse
import random
import statistics
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from backend.app import create_app
from backend.contracts.modes import MODES
from backend.server import BackendThread
from config import LoadedSettings, Settings
from tests.servers.llm import LlmServer
from tests.servers.orphiq import OrphiqServer
from tests.servers.thread import ServerThread


@dataclass
class Figures:
    """What came of a run.

    Attributes:
        lost: Messages without a turn, or whose turn said nothing or did not end as done.
        doubled: Messages with more than one turn, turns with more than one reply.
        by_mode: Turns by the mode that answered.
        stood_in: Turns in which another mode took over.
        turn_ms: Message to whole reply, as the talker sees it.
        switch_ms: PUT /api/mode to its answer.
    """

    messages: int = 0
    switches: int = 0
    lost: int = 0
    doubled: int = 0
    by_mode: Counter[str] = field(default_factory=Counter)
    stood_in: int = 0
    turn_ms: list[float] = field(default_factory=list)
    switch_ms: list[float] = field(default_factory=list)


@dataclass
class Place:
    """A running backend and the two servers that its modes ask."""

    url: str
    token: str
    llm: LlmServer
    orphiq: OrphiqServer
    servers: ServerThread

    def client(self) -> httpx.Client:
        """A client with the token."""
        return httpx.Client(
            base_url=self.url,
            headers={"Authorization": f"Bearer {self.token}"},
            timeout=60,
            trust_env=False,
        )


@contextmanager
def place(folder: Path) -> Iterator[Place]:
    """A backend in which every mode can answer."""
    llm, orphiq = LlmServer(seed=5), OrphiqServer()
    with ServerThread(llm, orphiq) as servers:
        settings = Settings(
            api_port=0,
            data_dir=folder / "data",
            models_dir=folder / "models",
            logs_dir=folder / "logs",
            log_level="ERROR",
            api_requests_per_minute=1_000_000,
            llm_provider="openai_compatible",
            llm_fallbacks=(),
            llm_retries=0,
            llm_first_token_timeout_s=5.0,
            openai_compatible_url=llm.url,
            openai_compatible_model="small-1",
            orphiq_websocket_url=orphiq.url,
            autonomous_local_llm=False,
            tts_chain=("tone",),
            stt_chain=("script",),
            audio_sink="none",
        )
        app = create_app(LoadedSettings.of(settings))
        with BackendThread(settings, make_app=lambda: app) as backend:
            token = (settings.data_dir / "api_token").read_text().strip()
            yield Place(backend.url, token, llm, orphiq, servers)


def run(
    there: Place,
    *,
    switches: int,
    talkers: int,
    every_s: float,
    fails: bool = True,
    seed: int = 1,
    speak: bool = False,
) -> Figures:
    """Talk and switch; count what became of every message.

    Args:
        there: Where.
        switches: How often; 0 = the talkers talk as long as they would with 100.
        talkers: Conversations at once.
        every_s: Pause between two switches.
        fails: Whether servers go away and come back meanwhile.
        seed: Of what is drawn by lot.
        speak: Whether replies are spoken.
    """
    dice = random.Random(seed)  # noqa: S311 - repeatable, guards nothing
    figures = Figures()
    over = threading.Event()
    sent: dict[str, list[str]] = {}

    def talk(conversation_id: str) -> None:
        with there.client() as client:
            while not over.is_set():
                text = f"message {len(sent[conversation_id])} of {conversation_id}"
                body = {"message": text, "conversation_id": conversation_id, "speak": speak}
                began_s = time.monotonic()
                answer = client.post("/api/chat", json=body)
                figures.turn_ms.append((time.monotonic() - began_s) * 1000)
                answer.raise_for_status()
                sent[conversation_id].append(answer.json()["turn_id"])

    with there.client() as client:
        client.delete("/api/mode").raise_for_status()
        for _ in range(talkers):
            sent[str(client.post("/api/conversations", json={}).json()["id"])] = []
        with ThreadPoolExecutor(talkers) as pool:
            talking = [pool.submit(talk, where) for where in sent]
            try:
                _switch(there, client, list(sent), figures, dice, switches, every_s, fails=fails)
            finally:
                over.set()
        _all_back(there)
        for one in talking:
            one.result()
        for where, turns in sent.items():
            _count(client, where, turns, figures)
    return figures


def _switch(
    there: Place,
    client: httpx.Client,
    conversations: list[str],
    figures: Figures,
    dice: random.Random,
    switches: int,
    every_s: float,
    *,
    fails: bool,
) -> None:
    gone: set[str] = set()
    for n in range(switches or 100):
        time.sleep(every_s)
        if not switches:
            continue
        if fails and n % 10 == 9:
            name = dice.choice(("llm", "orphiq"))
            _come_or_go(there, name, goes=name not in gone)
            gone ^= {name}
        body: dict[str, Any] = {"mode": dice.choice(MODES), "by": "benchmark"}
        if n % 2:
            body["conversation_id"] = dice.choice(conversations)
        began_s = time.monotonic()
        client.put("/api/mode", json=body).raise_for_status()
        figures.switch_ms.append((time.monotonic() - began_s) * 1000)
        figures.switches += 1


def _come_or_go(there: Place, name: str, *, goes: bool) -> None:
    if name == "llm":
        there.servers.call(there.llm.set_fault("refused" if goes else ""))
    else:
        there.servers.call(there.orphiq.refuse() if goes else there.orphiq.listen())


def _all_back(there: Place) -> None:
    there.servers.call(there.llm.set_fault(""))
    there.servers.call(there.orphiq.refuse())
    there.servers.call(there.orphiq.listen())


def _count(client: httpx.Client, where: str, turns: list[str], figures: Figures) -> None:
    """What the database and the event log say of one conversation."""
    stored: list[dict[str, Any]] = []
    while True:
        params: dict[str, Any] = {"conversation_id": where, "limit": 100}
        if stored:
            params["before"] = stored[-1]["id"]
        page = client.get("/api/turns", params=params).json()
        if not page:
            break
        stored += page
    figures.messages += len(turns)
    by_id = Counter(turn["id"] for turn in stored)
    texts = Counter(turn["message"] for turn in stored)
    figures.doubled += sum(count - 1 for count in (by_id + texts).values() if count > 1)
    figures.doubled += max(0, len(stored) - len(turns))
    known = {turn["id"]: turn for turn in stored}
    for turn_id in turns:
        turn = known.get(turn_id)
        if turn is None or turn["outcome"] != "done" or not turn["reply"].strip():
            figures.lost += 1
            continue
        found = client.get("/api/events", params={"turn_id": turn_id, "limit": 200}).json()
        kinds = Counter(event["type"] for event in found)
        figures.doubled += max(0, kinds["chat.response"] - 1) + max(0, kinds["turn.started"] - 1)
        figures.lost += kinds["chat.response"] == 0
        figures.stood_in += kinds["turn.retried"] > 0
        details = " ".join(span["detail"] for span in turn["spans"])
        mode = next((mode for mode in MODES if f"mode {mode}" in details), "?")
        figures.by_mode[mode] += 1


def main() -> int:
    """Measure and print; 1 when a message was lost or answered twice."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--switches", type=int, default=100)
    parser.add_argument("--talkers", type=int, default=8)
    parser.add_argument("--every-ms", type=float, default=100.0)
    parser.add_argument("--no-failures", action="store_true")
    given = parser.parse_args()
    every_s = given.every_ms / 1000
    with tempfile.TemporaryDirectory() as folder, place(Path(folder)) as there:
        run(there, switches=5, talkers=given.talkers, every_s=0.05, fails=False)  # warm
        still = run(there, switches=0, talkers=given.talkers, every_s=every_s, fails=False)
        moved = run(
            there,
            switches=given.switches,
            talkers=given.talkers,
            every_s=every_s,
            fails=not given.no_failures,
        )
    for name, one in (("nobody switches", still), ("switched", moved)):
        print(
            f"{name}: {one.messages} messages, {one.switches} switches, {one.lost} lost,"
            f" {one.doubled} doubled, {one.stood_in} with a stand-in; by mode {dict(one.by_mode)};"
            f" turn p50 {_at(one.turn_ms, 50):.1f} p99 {_at(one.turn_ms, 99):.1f} ms"
        )
    print(f"switch p50 {_at(moved.switch_ms, 50):.1f} p99 {_at(moved.switch_ms, 99):.1f} ms")
    return 1 if moved.lost or moved.doubled or still.lost or still.doubled else 0


def _at(values: list[float], percent: int) -> float:
    return statistics.quantiles(values, n=100)[percent - 1] if len(values) > 1 else float("nan")


if __name__ == "__main__":
    sys.exit(main())
