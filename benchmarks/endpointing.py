"""Where utterances are cut: sentences with pauses, noise, two in a row, coughs, through the shipped detector and rules.

    python -m benchmarks.endpointing [--vad silero|energy] [--words marked|bare|none] [--silence-ms 600] [--write]

Every scene is sound at 16 kHz with known places of speech, spoken by the embedded engine. The rules read the words so far from
what was really said (a recogniser that is always right), with marks as Whisper writes them or bare as the embedded one does. Counted: utterances missed, cut in two,
joined, begun too late (the first syllable is gone), false ones, and how long the end took. The reference is the same detector with
a fixed silence and no words.
"""

from __future__ import annotations

import argparse
import asyncio
import random
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import numpy as np

from backend.audio import espeak
from backend.audio.levels import FloatArray, frame_levels_dbfs, from_pcm16, to_pcm16
from backend.audio.resample import resample
from backend.core.workers import EngineHost
from backend.engines.vad import DETECTORS
from backend.engines.vad.options import EnergyOptions, SileroOptions
from backend.listening.endpointing import Began, Ended, Endpointer, Paused, Rules

RATE_HZ = 16_000
VOICES = ("en-us", "en-us+f3", "en-us+m3", "en-gb", "en-us+belinda", "en-us+Michael")
LEVEL_DBFS = -23.0
QUIET_DBFS = -40.0

FINISHED = (
    "What is the weather like today?", "I played that game until four in the morning.",
    "Tell me a story about a robot.", "Can you sing something for us?", "My cat sits on the keyboard again.",
    "We should try the blue door first.", "That was the best moment of the stream.",
    "How many points do we have now?", "Good evening, I am glad to be here.", "Please read the last message again.",
    "She lives in a small house by the sea.", "Nobody told me about the party.", "What would you do with a million?",
    "The boss has three hundred lives left.", "I like your new hat.", "Which song comes next?",
    "Let us take a short break.", "You are late again.", "This level is much too hard for me.", "Thank you for the gift.",
)  # fmt: skip
WITH_PAUSE = (
    ("I went to the shop,", "and then it started to rain."), ("When the sun comes up,", "we will go home."),
    ("If you want,", "we can play one more round."), ("First the red one,", "then the green one."),
    ("I think", "we should go left."), ("My friend told me", "that you can sing."), ("Well,", "that is a good question."),
    ("The thing is,", "I never finished it."), ("Hoshi,", "what do you think of this?"), ("It was cold,", "but nobody cared."),
)  # fmt: skip
HANGING = (
    ("I wanted to ask you about the", "new computer on my desk."), ("We could go left, because", "the door is open."),
    ("Do you know if", "the shop is open today?"), ("I would like to have a", "cup of tea now."),
    ("There was a man who", "lived in the forest."), ("She said that it was and", "then she left."),
)  # fmt: skip
GOES_ON = (
    ("I like this game.", "Let us play it again."), ("That was close!", "Did you see it?"), ("No.", "I do not think so."),
    ("Wait a moment.", "I have to find the key."), ("Hello Hoshi.", "How are you?"), ("You are right.", "It is too late now."),
)  # fmt: skip
SHORT = ("Yes.", "No.", "Stop!", "Hello.", "Maybe.", "Go on.", "What?", "Really?")
NOISES = ("white", "pink", "hum", "typing", "fan")


@dataclass(frozen=True, slots=True)
class Spoken:
    """One utterance of a scene.

    Attributes:
        start_s, end_s: Where its sound is.
        words: What was said by when: (end of a piece in s, text so far).
    """

    start_s: float
    end_s: float
    words: tuple[tuple[float, str], ...]


@dataclass(frozen=True, slots=True)
class Scene:
    """Sound and what is said in it."""

    kind: str
    samples: FloatArray
    spoken: tuple[Spoken, ...]


@cache
def say(text: str, voice: str) -> FloatArray:
    """A text at 16 kHz without silence around it, at the usual level."""
    made = espeak.synthesize(text, voice)
    samples = resample(from_pcm16(made.pcm), made.rate_hz, RATE_HZ)
    loud = np.flatnonzero(np.abs(samples) > 0.01)
    samples = samples[loud[0] : loud[-1] + 1]
    return samples * np.float32(10 ** (LEVEL_DBFS / 20) / np.sqrt(np.mean(samples**2)))


def noise(kind: str, count: int, rng: np.random.Generator) -> FloatArray:
    """A disturbance with an RMS of 1."""
    if kind == "hum":
        time_s = np.arange(count) / RATE_HZ
        found = sum(np.sin(2 * np.pi * 50 * n * time_s) / n for n in (1, 2, 3, 4, 6))
    elif kind == "typing":
        found = rng.normal(0, 0.02, count)
        for at in np.cumsum(rng.uniform(0.08, 0.35, 400)):
            first = int(at * RATE_HZ)
            if first + 400 < count:
                found[first : first + 400] += rng.normal(0, 1, 400) * np.exp(-np.arange(400) / 60)
    else:
        slope = {"white": 0.0, "pink": 0.5, "fan": 1.0}[kind]
        shape = np.fft.rfft(rng.normal(0, 1, count))
        shape /= np.maximum(np.arange(shape.size), 20.0) ** slope
        found = np.fft.irfft(shape, count)
    return np.asarray(found / np.sqrt(np.mean(np.square(found))), dtype=np.float32)


def cough(rng: np.random.Generator) -> FloatArray:
    """A burst of noise through a throat, 0.12 to 0.18 s: what must not count as speech."""
    count = int(rng.uniform(0.12, 0.18) * RATE_HZ)
    burst = noise("pink", count, rng) * np.exp(-np.arange(count) / (0.05 * RATE_HZ))
    return np.asarray(burst * 10 ** (LEVEL_DBFS / 20) * 2, dtype=np.float32)


class Tape:
    """Sound being laid down, with notes of what was said where."""

    def __init__(self, rng: np.random.Generator) -> None:
        self._rng = rng
        self._pieces: list[FloatArray] = []
        self.length_s = 0.0
        self.spoken: list[Spoken] = []

    def wait(self, seconds: float) -> None:
        """Nobody speaks."""
        self._add(np.zeros(round(seconds * RATE_HZ), np.float32))

    def add(self, sound: FloatArray) -> None:
        """Something that is no speech."""
        self._add(sound)

    def speak(self, pieces: tuple[str, ...], voice: str, pauses_s: tuple[float, ...] = ()) -> None:
        """One utterance of pieces with pauses between them."""
        start_s, words = self.length_s, []
        for n, piece in enumerate(pieces):
            if n:
                self.wait(pauses_s[n - 1])
            self._add(say(piece, voice))
            words.append((self.length_s, " ".join(pieces[: n + 1])))
        self.spoken.append(Spoken(start_s, self.length_s, tuple(words)))

    def scene(self, kind: str, *, level_db: float = 0.0, disturbance: str = "", snr_db: float = 0.0) -> Scene:  # fmt: skip
        """What was laid down, quieter or with noise over it; a room is never quite silent."""
        samples = np.concatenate(self._pieces) * np.float32(10 ** (level_db / 20))
        samples = samples + noise("pink", samples.size, self._rng) * np.float32(10 ** (-70 / 20))
        if disturbance:
            level_dbfs = LEVEL_DBFS + level_db - snr_db
            samples = samples + noise(disturbance, samples.size, self._rng) * np.float32(
                10 ** (level_dbfs / 20)
            )
        return Scene(kind, np.clip(samples, -1, 1).astype(np.float32), tuple(self.spoken))

    def _add(self, sound: FloatArray) -> None:
        self._pieces.append(sound)
        self.length_s += sound.size / RATE_HZ


def scenes(seed: int = 4) -> Iterator[Scene]:
    """All of them, the same for a seed."""
    rng = np.random.default_rng(seed)
    dice = random.Random(seed)  # noqa: S311  a scene, no secret

    def tape() -> Tape:
        made = Tape(rng)
        made.wait(1.0)
        return made

    def voice() -> str:
        return dice.choice(VOICES)

    for text in FINISHED:
        made = tape()
        made.speak((text,), voice())
        made.wait(2.5)
        yield made.scene("plain")
    for pieces in WITH_PAUSE * 2:
        made = tape()
        made.speak(pieces, voice(), (dice.uniform(0.2, 0.45),))
        made.wait(2.5)
        yield made.scene("pause")
    for pieces in HANGING:
        made = tape()
        made.speak(pieces, voice(), (dice.uniform(0.6, 0.85),))
        made.wait(2.5)
        yield made.scene("hanging")
    for pieces in GOES_ON:
        made = tape()
        made.speak(pieces, voice(), (dice.uniform(0.2, 0.5),))
        made.wait(2.5)
        yield made.scene("a second sentence")
    for n, text in enumerate(FINISHED):
        made = tape()
        made.speak((text,), voice())
        made.wait(2.5)
        yield made.scene("noisy", disturbance=NOISES[n % len(NOISES)], snr_db=dice.choice((10, 15, 20)))  # fmt: skip
    for n in range(10):
        made = tape()
        made.speak((FINISHED[n],), voice())
        made.wait(dice.uniform(1.3, 2.0))
        made.speak((FINISHED[-1 - n],), voice())
        made.wait(2.5)
        yield made.scene("two in a row")
    for text in FINISHED[:6]:
        made = tape()
        made.speak((text,), voice())
        made.wait(2.5)
        yield made.scene("quiet", level_db=QUIET_DBFS - LEVEL_DBFS)
    for text in SHORT:
        made = tape()
        made.speak((text,), voice())
        made.wait(2.5)
        yield made.scene("one word")
    for n in range(10):
        made = tape()
        made.add(cough(rng))
        made.wait(3.0)
        yield made.scene("cough" if n % 2 else "noise alone", disturbance="" if n % 2 else NOISES[n // 2], snr_db=12)  # fmt: skip


WORDS = ("marked", "bare", "none")
"""What the rules get to read: as Whisper writes it, without marks as the embedded recogniser does, or nothing."""

MARKS = str.maketrans("", "", ".,!?")

READING_S = 0.15
"""How long the recogniser needs for what was said so far."""

FIRST_SYLLABLE_S = 0.03
"""An utterance that begins so much after its speech has lost the beginning of it."""

RESULTS = Path(__file__).parent / "results" / "endpointing.md"


@dataclass(slots=True)
class Found:
    """An utterance that the rules made."""

    start_s: float
    end_s: float
    speech_end_s: float
    known_s: float
    """When they said that it was over."""


@dataclass(slots=True)
class Count:
    """What went wrong in scenes of one kind."""

    utterances: int = 0
    missed: int = 0
    cut: int = 0
    joined: int = 0
    late: int = 0
    false: int = 0
    waits_ms: list[float] = field(default_factory=list)

    def add(self, other: Count) -> None:
        """Count another one in."""
        for name in ("utterances", "missed", "cut", "joined", "late", "false"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.waits_ms += other.waits_ms

    @property
    def wrong(self) -> int:
        """Utterances that came out wrong, and false ones."""
        return self.missed + self.cut + self.joined + self.late + self.false


def text_at(scene: Scene, at_s: float) -> str:
    """What a recogniser that is always right reads of the utterance that goes on."""
    for one in reversed(scene.spoken):
        if at_s < one.start_s:
            continue
        before_s, before = one.start_s, ""
        for end_s, text in one.words:
            if at_s < end_s:
                more = text[len(before) :].split()
                share = (at_s - before_s) / (end_s - before_s)
                return " ".join([before, *more[: int(len(more) * share)]]).strip()
            before_s, before = end_s, text
        return before
    return ""


def cut(scene: Scene, probabilities: list[float], rules: Rules, words: str) -> list[Found]:
    """The utterances the rules make of a scene; for ``words`` see `WORDS`."""
    size = rules.frame_samples
    levels = frame_levels_dbfs(scene.samples, size, size)
    endpointer = Endpointer(rules)
    found: list[Found] = []
    read: list[tuple[float, int, str]] = []
    for n, probability in enumerate(probabilities):
        now_s = (n + 1) * size / RATE_HZ
        while read and read[0][0] <= now_s:
            _, number, text = read.pop(0)
            endpointer.read(number, text, "en")
        for signal in endpointer.feed(probability, float(levels[n])):
            if isinstance(signal, Paused) and words != "none":
                heard = text_at(scene, signal.end / RATE_HZ)
                if words == "bare":
                    heard = heard.lower().translate(MARKS)
                read.append((now_s + READING_S, signal.n, heard))
            elif isinstance(signal, Began):
                read.clear()
            elif isinstance(signal, Ended) and not signal.is_too_short:
                found.append(
                    Found(
                        signal.start / RATE_HZ,
                        signal.end / RATE_HZ,
                        signal.speech_end / RATE_HZ,
                        now_s,
                    )
                )
    return found


def judge(scene: Scene, found: list[Found]) -> Count:
    """Compare with what was said."""
    count = Count(utterances=len(scene.spoken))
    taken: set[int] = set()
    for spoken in scene.spoken:
        mine = [
            n for n, one in enumerate(found)
            if one.start_s < spoken.end_s - 0.05 and one.speech_end_s > spoken.start_s + 0.05
        ]  # fmt: skip
        if not mine:
            count.missed += 1
            continue
        count.cut += len(mine) > 1
        count.joined += bool(taken & set(mine))
        count.late += found[mine[0]].start_s > spoken.start_s + FIRST_SYLLABLE_S and not taken & set(mine)  # fmt: skip
        taken |= set(mine)
        count.waits_ms.append((found[mine[-1]].known_s - spoken.end_s) * 1000)
    count.false += len(set(range(len(found))) - taken)
    return count


async def probabilities_of(name: str, all_scenes: list[Scene]) -> tuple[list[list[float]], int]:
    """What the detector says of every frame of every scene, and its frame's length."""
    host = EngineHost()
    try:
        detector = DETECTORS.create(
            name, SileroOptions(host) if name == "silero" else EnergyOptions()
        )
        told = []
        for scene in all_scenes:
            detector.reset()
            told.append(await detector.probabilities(to_pcm16(scene.samples)))
        return told, detector.frame_samples
    finally:
        await host.stop()


def run(name: str, silence_ms: int, words: str) -> dict[str, Count]:
    """All scenes with the rules, and in ``"reference"`` with a fixed silence."""
    made = list(scenes())
    told, size = asyncio.run(probabilities_of(name, made))
    rules = Rules(silence_ms=silence_ms, frame_samples=size)
    counts: dict[str, Count] = defaultdict(Count)
    for scene, probabilities in zip(made, told, strict=True):
        ours = judge(scene, cut(scene, probabilities, rules, words))
        counts[scene.kind].add(ours)
        counts["all"].add(ours)
        counts["reference"].add(judge(scene, cut(scene, probabilities, rules, "none")))
    return counts


def table(counts: dict[str, Count]) -> str:
    """The counts in Markdown."""
    lines = [
        "| Scene | utterances | missed | cut in two | joined | beginning lost | false | end known after, p50 / p95 ms |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for kind, one in counts.items():
        waits = one.waits_ms or [float("nan")]
        p50, p95 = np.percentile(waits, [50, 95])
        wait = f"{p50:.0f} / {p95:.0f}" if one.waits_ms else "–"
        lines.append(
            f"| {kind} | {one.utterances} | {one.missed} | {one.cut} | {one.joined} | {one.late} | {one.false} | {wait} |"
        )
    return "\n".join(lines)


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--vad", choices=("silero", "energy"), default="silero")
    parser.add_argument("--silence-ms", type=int, default=600)
    parser.add_argument(
        "--words", choices=WORDS, default="marked", help="what the rules get to read"
    )
    parser.add_argument("--write", action="store_true", help=f"into {RESULTS.name}")
    asked = parser.parse_args()
    names = ("silero", "energy") if asked.write else (asked.vad,)
    kinds = ("marked", "bare") if asked.write else (asked.words,)
    parts = []
    for name, words in ((name, words) for name in names for words in kinds):
        counts = run(name, asked.silence_ms, words)
        whole, reference = counts["all"], counts["reference"]
        parts.append(
            f"## {name}, ASR_SILENCE_MS={asked.silence_ms}, words {words}\n\n{table(counts)}\n\n"
            f"{whole.wrong} of {whole.utterances} wrong, a fixed silence {reference.wrong}: "
            f"{whole.wrong / max(1, reference.wrong):.2f} x; the end is known after "
            f"{np.median(whole.waits_ms) / np.median(reference.waits_ms):.2f} x the time."
        )
    text = "\n\n".join(parts)
    print(text)
    if asked.write:
        RESULTS.write_text(
            "# Where utterances are cut\n\nGenerated by `python -m benchmarks.endpointing --write`; that page says what is "
            f'counted. "reference" is a fixed silence without words.\n\n{text}\n',
            encoding="utf-8",
        )


if __name__ == "__main__":
    main()
