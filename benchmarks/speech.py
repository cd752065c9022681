"""How long a sentence takes to become sound through the engine host, against espeak called directly in the same run.

Rounds alternate and the median counts. Then the same while Whisper reads: engines in processes of their own (as built)
against engines as threads of one process. A random Piper voice and a random Whisper model are made for it; their speed
is not that of real ones, the way to them is.

    python -m benchmarks.speech [--rounds 200]
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from backend.audio import espeak
from backend.contracts.entities import Audio, Speech, VoiceChoice
from backend.core.workers import EngineHost
from backend.engines.stt import RECOGNISERS
from backend.engines.stt.options import WhisperOptions
from backend.engines.tts import VOICES
from backend.engines.tts.options import (
    CacheOptions,
    ChainOptions,
    EmbeddedOptions,
    PiperOptions,
    ToneOptions,
)
from tests import tiny_models

TEXT = "Hello stream, welcome back, it is good to see you."
SAY = VoiceChoice()
WANTED_RATIO = 3.0
"""Times the direct call; what a process boundary may cost a short sentence."""


def direct() -> float:
    """Milliseconds of the bare library."""
    began = time.perf_counter()
    espeak.synthesize(TEXT)
    return (time.perf_counter() - began) * 1000


async def timed(speak: Callable[[], Awaitable[Speech]]) -> tuple[float, float]:
    """Milliseconds, and seconds of sound."""
    began = time.perf_counter()
    speech = await speak()
    return (time.perf_counter() - began) * 1000, speech.audio.duration_s


def line(name: str, times_ms: list[float], reference_ms: float, sound_s: float) -> None:
    """Print one row."""
    middle = statistics.median(times_ms)
    late = sorted(times_ms)[int(len(times_ms) * 0.95)]
    rtf = f"RTF {middle / 1000 / sound_s:.4f}" if sound_s else ""
    sys.stdout.write(
        f"{name:34} p50 {middle:7.2f} ms   p95 {late:7.2f} ms   {middle / reference_ms:5.2f} x   {rtf}\n"
    )


async def sentences(host: EngineHost, folder: Path, rounds: int) -> float:
    """Each way to a sentence, rounds alternating; returns the ratio that counts."""
    tiny_models.piper_voice(folder / "piper")
    embedded = VOICES.create("embedded", EmbeddedOptions(host))
    piper = VOICES.create("piper", PiperOptions(host, folder / "piper"))
    cache = VOICES.create("cache", CacheOptions(embedded, folder / "cache"))
    ways = {
        "embedded": embedded,
        "piper (tiny test voice)": piper,
        "cache": cache,
        "chain of cache of embedded": VOICES.create("chain", ChainOptions((cache,))),
        "tone (no process)": VOICES.create("tone", ToneOptions()),
    }
    for name in ("embedded", "piper (tiny test voice)"):
        first_ms, _ = await timed(lambda way=ways[name]: way.synthesize(TEXT, SAY))  # type: ignore[misc]  # mypy cannot type defaults of lambdas
        sys.stdout.write(f"{name}: first sentence, process and model included, {first_ms:.0f} ms\n")
    for way in ways.values():
        await way.synthesize(TEXT, SAY)
        await way.close()
    reference: list[float] = []
    taken: dict[str, list[float]] = {name: [] for name in ways}
    lengths: dict[str, float] = {}
    direct()
    for _ in range(rounds):
        reference.append(direct())
        for name, way in ways.items():
            took_ms, lengths[name] = await timed(lambda way=way: way.synthesize(TEXT, SAY))  # type: ignore[misc]  # as above
            taken[name].append(took_ms)
    middle = statistics.median(reference)
    line("espeak directly (reference)", reference, middle, lengths["embedded"])
    for name, times_ms in taken.items():
        line(name, times_ms, middle, lengths[name])
    return statistics.median(taken["embedded"]) / middle


async def recovery(host: EngineHost) -> None:
    """A crash, then the next sentence."""
    embedded = VOICES.create("embedded", EmbeddedOptions(host))
    took = []
    for _ in range(5):
        [pid] = [
            int(info.detail.removeprefix("process "))
            for info in host.health()
            if info.name == "engine/embedded"
        ]
        import psutil

        psutil.Process(pid).kill()
        took_ms, _ = await timed(lambda: embedded.synthesize(TEXT, SAY))
        took.append(took_ms)
    sys.stdout.write(
        f"a sentence right after its engine was killed: {statistics.median(took):.0f} ms\n"
    )


async def beside_whisper(host: EngineHost, folder: Path, rounds: int) -> None:
    """Sentences while Whisper reads: its own process, then a thread of this one."""
    path = tiny_models.whisper_model(folder / "whisper" / "base.pt")
    said = espeak.synthesize(TEXT * 3)
    audio = Audio(said.pcm, said.rate_hz)
    embedded = VOICES.create("embedded", EmbeddedOptions(host))
    whisper = RECOGNISERS.create("whisper", WhisperOptions(host, path.parent, timeout_s=120))
    await whisper.transcribe(audio)
    alone = [direct() for _ in range(rounds)]
    stop = asyncio.Event()

    async def keep_reading() -> None:
        while not stop.is_set():
            await whisper.transcribe(audio)

    reading = asyncio.create_task(keep_reading())
    apart = [(await timed(lambda: embedded.synthesize(TEXT, SAY)))[0] for _ in range(rounds)]
    stop.set()
    await reading

    from backend.engines.stt import (
        whisper_host,  # after the measurement: it brings torch into this process
    )

    whisper_host.transcribe(audio.pcm, audio.rate_hz, str(path), language=None)
    over = threading.Event()

    def keep_reading_here() -> None:
        while not over.is_set():
            whisper_host.transcribe(audio.pcm, audio.rate_hz, str(path), language=None)

    thread = threading.Thread(target=keep_reading_here)
    thread.start()
    together = [await asyncio.to_thread(direct) for _ in range(rounds)]
    over.set()
    await asyncio.to_thread(thread.join)
    middle = statistics.median(alone)
    line("espeak directly, nothing beside it", alone, middle, 0)
    line("embedded, Whisper reading apart", apart, middle, 0)
    line("espeak, Whisper in the same process", together, middle, 0)


async def measure(rounds: int) -> float:
    """Everything; returns the ratio that counts."""
    host = EngineHost()
    try:
        with tempfile.TemporaryDirectory() as name:
            ratio = await sentences(host, Path(name), rounds)
            await recovery(host)
            await beside_whisper(host, Path(name), rounds)
    finally:
        await host.stop()
    return ratio


def main() -> int:
    """Measure and judge."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=200)
    ratio = asyncio.run(measure(parser.parse_args().rounds))
    verdict = "ok" if ratio <= WANTED_RATIO else "too slow"
    sys.stdout.write(
        f"embedded / direct: {ratio:.2f} x, wanted at most {WANTED_RATIO:g}: {verdict}\n"
    )
    return 0 if ratio <= WANTED_RATIO else 1


if __name__ == "__main__":
    sys.exit(main())
