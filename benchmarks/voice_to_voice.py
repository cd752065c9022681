"""From the end of a spoken sentence to the first sound of the answer, measured at a virtual microphone and a virtual speaker.

    python -m benchmarks.voice_to_voice [--turns 12]

Luma runs in a process of its own (main.py --headless) and finds both devices through PortAudio. Two recorders of the same kind
listen to the room that the microphone hears and to the speaker, so that what they are late cancels out.

``staged``: stages of known length, the end after 0.2 s of silence (ASR_SILENCE_MS=200), a recogniser that takes 0.15 s, a model whose
first token takes 0.3 s (stub servers on this machine), and the shipped base of the quick trainer as a Piper voice, whose time for
the sentence is measured alone. The reference is their sum. ``embedded``: the embedded recogniser, persona and voice, as on a fresh
machine, with the default silence; the reference is the sum of what its stages took in the turn's own trace.

Targets: staged at most 1.10 x the sum, both under 1.2 s. Needs PulseAudio (tests/integration/virtual_sound.py says what).
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import httpx

from backend.audio import espeak
from tests.integration.program import Program
from tests.integration.virtual_sound import LOUD, RATE_HZ, Recorder, VirtualSound, missing

if TYPE_CHECKING:
    from collections.abc import Iterator

SAID = "Please read the last message again."
SPEAKER = "en-us+f3"
END_S, STT_S, LLM_S = 0.2, 0.15, 0.3
ANSWER = "That was answer number {n} of the evening. And this is the rest of it."
WANTED_RATIO, WANTED_S = 1.10, 1.2


# --- stubs --------------------------------------------------------------------------------------------------------------


async def _serve_stubs() -> None:
    count = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal count
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = re.search(rb"content-length: *(\d+)", head, re.IGNORECASE)
                await reader.readexactly(int(length[1]) if length else 0)
                path = head.split(b" ", 2)[1]
                if b"/audio/transcriptions" in path:
                    await asyncio.sleep(STT_S)
                    _json(writer, {"text": SAID, "language": "en", "duration": 2.0, "segments": []})
                elif b"/chat/completions" in path:
                    count += 1
                    await _write(writer, ANSWER.format(n=count))
                else:
                    _json(writer, {"data": []})
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


def _json(writer: asyncio.StreamWriter, value: object) -> None:
    data = json.dumps(value).encode()
    writer.write(
        b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
        % len(data)
        + data
    )


async def _write(writer: asyncio.StreamWriter, text: str) -> None:
    writer.write(
        b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
    )
    await asyncio.sleep(LLM_S)
    for word in re.findall(r"\s*\S+", text):
        data = f"data: {json.dumps({'choices': [{'index': 0, 'delta': {'content': word}}]})}\n\n".encode()
        writer.write(b"%x\r\n%s\r\n" % (len(data), data))
    writer.write(b"e\r\ndata: [DONE]\n\n\r\n0\r\n\r\n")


@contextmanager
def stubs() -> Iterator[int]:
    """The port of a process with the stub servers."""
    child = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.voice_to_voice", "--stubs"],
        stdout=subprocess.PIPE,
        cwd=Path(__file__).resolve().parent.parent,
        text=True,
    )
    assert child.stdout is not None
    try:
        yield int(child.stdout.readline())
    finally:
        child.terminate()
        child.wait(5)
        child.stdout.close()


def make_voice(folder: Path) -> None:
    """The shipped base of the quick trainer as a Piper voice; in a process of its own, for torch stays where it is loaded."""
    program = (
        "import sys; from pathlib import Path; from voice_trainer.export import write_quick; from voice_trainer.quick import base; "
        "folder = Path(sys.argv[1]); folder.mkdir(parents=True); "
        "write_quick(base.load(16_000), folder / 'base.onnx', language='en-us', texts=['Good evening.', 'How are you?'])"
    )
    subprocess.run([sys.executable, "-c", program, str(folder)], check=True)


# --- one turn -------------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Turn:
    """What one exchange took, in s.

    Attributes:
        heard_s: From the last loud sample in the room to the first at the speaker.
        spans_s: By name, from the turn's own trace.
    """

    heard_s: float
    spans_s: dict[str, float]


def first_loud_s(recorder: Recorder, after_s: float) -> float | None:
    """When something became loud after a moment."""
    for at, piece in list(recorder.pieces):
        for n, value in enumerate(piece):
            if abs(value) > LOUD:
                loud_s = at - (len(piece) - n) / RATE_HZ
                if loud_s > after_s:
                    return loud_s
                break
    return None


def last_loud_s(recorder: Recorder) -> float:
    """When it was loud last."""
    for at, piece in reversed(list(recorder.pieces)):
        for back, value in enumerate(reversed(piece)):
            if abs(value) > LOUD:
                return at - back / RATE_HZ
    raise AssertionError("nothing was said in the room")


def exchange(sound: VirtualSound, http: httpx.Client, room: Recorder, stage: Recorder) -> Turn:
    """Say the sentence, hear the answer to its end."""
    seen = {turn["id"] for turn in http.get("/api/turns", params={"limit": 5}).json()}
    room.forget()
    stage.forget()
    made = espeak.synthesize(SAID, SPEAKER, words_per_minute=140)
    began_s = time.monotonic()
    sound.say(made.pcm, made.rate_hz).wait(10)
    stage.wait_for(lambda: first_loud_s(stage, began_s), 15)
    end_s = last_loud_s(room)
    answer_s = first_loud_s(stage, began_s)
    assert answer_s is not None
    patience_s = time.monotonic() + 30
    while True:
        turns = [turn for turn in http.get("/api/turns", params={"limit": 5}).json() if turn["id"] not in seen]  # fmt: skip
        if turns:
            break
        assert time.monotonic() < patience_s, "the turn never ended"
        time.sleep(0.05)
    spans = {span["name"]: span["duration_ms"] / 1000 for span in turns[0]["spans"]}
    stage.wait_for_silence(0.5)
    return Turn(answer_s - end_s, spans)


def wait_until_it_listens(http: httpx.Client) -> None:
    """Until the microphone is open and the engines are warm."""
    end_s = time.monotonic() + 60
    while http.get("/api/listening").json()["state"] != "listening":
        assert time.monotonic() < end_s, http.get("/api/listening").json()
        time.sleep(0.1)
    time.sleep(4)


@contextmanager
def running(base: Path, sound: VirtualSound, **settings: str) -> Iterator[httpx.Client]:
    """Luma in a process of its own, with both devices."""
    (base / "data").mkdir(parents=True)
    environment = {
        "LUMA_ENV_FILE": os.devnull,
        "API_PORT": "0",
        "AUDIO_SINK": "speaker",
        "OUTPUT_DEVICE": "stage",
        "ASR_MODE": "open",
        "ASR_INPUT_DEVICE": "headset",
        "ASR_GUARD": "headphones",
        "MODELS_DIR": str(base / "models"),
        "PULSE_SERVER": sound.server,
        "ALSA_CONFIG_PATH": str(sound.alsa),
        **settings,
    }
    with Program(base / "data", "--headless", environment=environment) as program:
        url = program.ready()
        token = (base / "data" / "api_token").read_text().strip()
        with httpx.Client(
            base_url=url, headers={"Authorization": f"Bearer {token}"}, timeout=60, trust_env=False
        ) as http:
            wait_until_it_listens(http)
            yield http
        program.stop()


def measure(sound: VirtualSound, http: httpx.Client, turns: int) -> list[Turn]:
    """So many exchanges after one that nobody counts."""
    with sound.recorder("room") as room, sound.recorder("stage") as stage:
        room.wait_for(lambda: room.pieces)
        stage.wait_for(lambda: stage.pieces)
        return [exchange(sound, http, room, stage) for _ in range(turns + 1)][1:]


def speaking_s(http: httpx.Client, texts: list[str]) -> float:
    """How long the voice needs for the first sentence of an answer, alone; median."""
    took = []
    for text in texts:
        began_s = time.perf_counter()
        http.post("/api/tts", json={"text": text}).raise_for_status()
        took.append(time.perf_counter() - began_s)
    return statistics.median(took)


def spread(values: list[float]) -> str:
    """Median and 95th percentile in ms."""
    ordered = sorted(values)
    return f"{statistics.median(values) * 1000:.0f} / {ordered[int(0.95 * (len(ordered) - 1))] * 1000:.0f} ms"


def staged(sound: VirtualSound, base: Path, turns: int) -> bool:
    """Known stages against their sum."""
    make_voice(base / "models" / "piper")
    with stubs() as port:
        url = f"http://127.0.0.1:{port}/v1"
        with running(
            base,
            sound,
            ASR_SILENCE_MS=f"{END_S * 1000:.0f}",
            STT_CHAIN="openai_compatible",
            STT_OPENAI_URL=url,
            LLM_PROVIDER="openai_compatible",
            OPENAI_COMPATIBLE_URL=url,
            OPENAI_COMPATIBLE_MODEL="stub",
            TTS_CHAIN="piper",
        ) as http:
            found = measure(sound, http, turns)
            alone_s = speaking_s(http, [ANSWER.format(n=n).split(". ")[0] + "." for n in range(900, 909)])  # fmt: skip
    total_s = END_S + STT_S + LLM_S + alone_s
    heard = [turn.heard_s for turn in found]
    middle = statistics.median(heard)
    print(f"staged: sum {total_s * 1000:.0f} ms (voice alone {alone_s * 1000:.0f}), heard after {spread(heard)}: {middle / total_s:.2f} x")  # fmt: skip
    _print_spans(found)
    return middle <= WANTED_RATIO * total_s and middle < WANTED_S


def embedded(sound: VirtualSound, base: Path, turns: int) -> bool:
    """What a fresh machine has."""
    with running(
        base, sound, STT_CHAIN="sphinx", LLM_PROVIDER="persona", TTS_CHAIN="embedded"
    ) as http:
        found = measure(sound, http, turns)
    heard = [turn.heard_s for turn in found]
    sums = [
        sum(span for name, span in turn.spans_s.items() if name not in ("speaking", "remaining_speech"))
        for turn in found
    ]  # fmt: skip
    middle = statistics.median(heard)
    print(f"embedded: stages {spread(sums)}, heard after {spread(heard)}: {middle / statistics.median(sums):.2f} x")  # fmt: skip
    _print_spans(found)
    return middle < WANTED_S


def _print_spans(turns: list[Turn]) -> None:
    names = list(dict.fromkeys(name for turn in turns for name in turn.spans_s))
    for name in names:
        print(f"  {name:20} {spread([turn.spans_s.get(name, 0.0) for turn in turns])}")


def main() -> int:
    """Measure and print; 1 when a target is missed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--turns", type=int, default=12)
    parser.add_argument("--only", choices=("staged", "embedded"))
    parser.add_argument("--stubs", action="store_true", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.stubs:
        asyncio.run(_serve_stubs())
    if missing():
        print(f"not installed: {missing()}")
        return 2
    works = True
    with VirtualSound() as sound, tempfile.TemporaryDirectory() as name:
        sound.add_room()
        for part in (staged, embedded):
            if asked.only in (None, part.__name__):
                works = part(sound, Path(name) / part.__name__, asked.turns) and works
    return 0 if works else 1


if __name__ == "__main__":
    sys.exit(main())
