"""What the mouth costs beside the voice, and how well the sound alone says what the phonemes say.

The same sentences are spoken through the engine's process by the embedded voice and, where their files are given, by Piper voices.
In the same run, alternating, per second of sound:

- voice: the synthesis, as a turn asks for it (the reference);
- phonemes: shapes from the voice's phonemes with the loudness, in the backend's loop;
- sound: shapes read off the sound, through the engine host as a turn asks for them, and the computation alone.

Agreement: the sound's shapes against the phonemes', every 20 ms, for voices and languages that the table was not made from
(`scripts/make_mouth_table.py`): open or closed; which of five vowels where both are open (chance is 0.2); how often lips that are shut
for p, b, m are not open.

    python -m benchmarks.lip_sync [--sentences 20] [--piper VOICE.onnx ...]
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

from backend.audio import formants
from backend.avatar.mouths import Mouths, told
from backend.avatar.visemes import from_shapes
from backend.contracts.avatar import MouthTime, Viseme
from backend.contracts.entities import Audio, PhonemeTime
from backend.core.workers import EngineHost

OPEN = {"aa", "E", "ih", "oh", "ou"}
VOICES = (
    "en-us+f1",
    "en-us+m1",
    "en-gb+f5",
    "de+f5",
    "fr+m5",
    "es+m4",
    "pl+f3",
    "ja+m2",
    "pt-br+f3",
    "ru+m2",
    "nl+m1",
)
"""Timbres that the table was not made from, and six languages."""
TEXTS = Path(__file__).resolve().parent.parent / "voice_trainer" / "text" / "lists"
FRAME_S = 0.02


@dataclass
class Figures:
    """Of one voice; times in ms for each second of sound."""

    name: str
    seconds: float = 0.0
    voice_ms: list[float] = field(default_factory=list)
    phonemes_ms: list[float] = field(default_factory=list)
    host_ms: list[float] = field(default_factory=list)
    sound_ms: list[float] = field(default_factory=list)
    told: list[str] = field(default_factory=list)
    heard: list[str] = field(default_factory=list)

    def agreement(self) -> tuple[float, float, float]:
        """Open or closed; vowel where both are open; lips shut for p, b, m that are not open."""
        pairs = list(zip(self.told, self.heard, strict=True))
        both = [(a, b) for a, b in pairs if a in OPEN and b in OPEN]
        lips = [b for a, b in pairs if a == "PP"]
        return (
            sum((a in OPEN) == (b in OPEN) for a, b in pairs) / len(pairs),
            sum(a == b for a, b in both) / max(1, len(both)),
            sum(b not in OPEN for b in lips) / max(1, len(lips)),
        )


async def main(args: argparse.Namespace) -> None:
    """Measure every voice and print the table."""
    host = EngineHost()
    mouths = Mouths(host, wait_s=30)
    await mouths.of(Audio(bytes(44_100), 22_050))
    measured: list[Figures] = []
    try:
        for voice in VOICES:
            measured.append(
                await measure(host, mouths, voice, "", sentences(voice, args.sentences))
            )
        for path in args.piper:
            texts = sentences("en-us", args.sentences)
            measured.append(await measure(host, mouths, path.stem, str(path), texts))
    finally:
        await host.stop()
    print(
        f"{'voice':24} {'sound s':>8} | ms for a second: {'voice':>6} {'phonemes':>8} {'of it':>6} {'sound':>6} {'of it':>6}"
        f" {'alone':>6} | {'open':>5} {'vowel':>5} {'lips':>5}"
    )
    for one in measured:
        print(line(one))
    agreements = [one.agreement() for one in measured]
    means = [statistics.mean(values) for values in zip(*agreements, strict=True)]
    print(
        f"mean agreement: open or closed {means[0]:.2f}, vowel {means[1]:.2f}, lips {means[2]:.2f}"
    )


def line(one: Figures) -> str:
    """One voice in one line."""
    voice, phonemes, sound, alone = (
        statistics.median(values)
        for values in (one.voice_ms, one.phonemes_ms, one.host_ms, one.sound_ms)
    )
    is_open, vowel, lips = one.agreement()
    return (
        f"{one.name[:24]:24} {one.seconds:8.1f} |                  {voice:6.2f} {phonemes:8.3f} {phonemes / voice:6.1%}"
        f" {sound:6.2f} {sound / voice:6.1%} {alone:6.2f} | {is_open:5.2f} {vowel:5.2f} {lips:5.2f}"
    )


def sentences(voice: str, count: int) -> list[str]:
    """The last ones of the list: the table was made from the first."""
    language = voice.partition("+")[0]
    file = TEXTS / f"{language if (TEXTS / f'{language}.txt').is_file() else 'en-us'}.txt"
    lines = [one for one in file.read_text("utf-8").splitlines() if one and one[0] != "#"]
    return lines[-count:]


async def measure(
    host: EngineHost, mouths: Mouths, name: str, path: str, texts: list[str]
) -> Figures:
    """Speak every sentence, and work out its mouth both ways."""
    figures = Figures(name)
    await speak(host, name, path, texts[0])
    for text in texts:
        began_s = time.perf_counter()
        pcm, rate_hz, phonemes = await speak(host, name, path, text)
        audio = Audio(pcm, rate_hz)
        took_s = [time.perf_counter() - began_s]
        if not pcm or not phonemes:
            continue
        began_s = time.perf_counter()
        by_phonemes = told(audio, tuple(PhonemeTime(*one) for one in phonemes))
        took_s.append(time.perf_counter() - began_s)
        began_s = time.perf_counter()
        by_sound = await mouths.of(audio)
        took_s.append(time.perf_counter() - began_s)
        began_s = time.perf_counter()
        found = formants.mouth(pcm, rate_hz)
        took_s.append(time.perf_counter() - began_s)
        again = from_shapes([(cast(Viseme, v), a, b, w) for v, a, b, w in found], audio.duration_s)
        assert again == by_sound, "the host and this process read the sound differently"
        figures.seconds += audio.duration_s
        per_s = [took * 1000 / audio.duration_s for took in took_s]
        for values, value in zip(
            (figures.voice_ms, figures.phonemes_ms, figures.host_ms, figures.sound_ms),
            per_s,
            strict=True,
        ):
            values.append(value)
        count = int(audio.duration_s / FRAME_S)
        figures.told += frames(by_phonemes, count)
        figures.heard += frames(by_sound, count)
    return figures


async def speak(
    host: EngineHost, name: str, path: str, text: str
) -> tuple[bytes, int, list[tuple[str, float, float]]]:
    """As the engines ask for it."""
    if path:
        spoken = await host.call(
            "backend.engines.tts.piper_host:synthesize", path, text.encode(), timeout_s=60
        )
    else:
        spoken = await host.call(
            "backend.engines.tts.embedded_host:synthesize",
            text.encode(),
            name,
            words_per_minute=175.0,
            pitch=50.0,
            volume=1.0,
            timeout_s=60,
        )
    pcm, rate_hz, phonemes = spoken
    return pcm, rate_hz, [(ipa, start_s, end_s) for ipa, start_s, end_s in phonemes]


def frames(mouth: tuple[MouthTime, ...], count: int) -> list[str]:
    """The shape in the middle of each 20 ms."""
    shapes: list[str] = []
    at = 0
    for n in range(count):
        while at + 1 < len(mouth) and mouth[at].end_s <= (n + 0.5) * FRAME_S:
            at += 1
        shapes.append(mouth[at].viseme if mouth else "sil")
    return shapes


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--sentences", type=int, default=20)
    parser.add_argument("--piper", type=Path, nargs="*", default=[], help="Piper voices (.onnx)")
    asyncio.run(main(parser.parse_args()))
