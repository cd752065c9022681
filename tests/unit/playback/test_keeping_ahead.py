"""A slow voice keeps ahead of the ear: a whole reply on a clock that the test owns, so that hours take no time."""

from __future__ import annotations

import asyncio
import random
import selectors
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from backend.chat.trace import Trace
from backend.chat.turn import Answer, Request, TurnRunner
from backend.contracts.entities import STAGE, Audio, Speech, VoiceChoice
from backend.core.bus import EventBus
from backend.core.clock import monotonic_s
from backend.engines.llm.base import Delta, Prompt
from backend.modes.mind import alone
from backend.outputs.base import Progress
from backend.outputs.none import NoSound
from backend.playback.player import Player
from backend.playback.sounds import SoundStore
from tests.fakes import character

CHAR_S = 0.06
RATE_HZ = 1000

CLAUSES = (
    "I have been looking at the stars all night",
    "the kettle began to sing again",
    "there were at least 12 of them on the roof",
    "the lamp went out twice",
    "we walked along the shore",
)


class OwnClock(asyncio.SelectorEventLoop):
    """A loop whose time jumps to the next thing that is due, when nothing else is to be done."""

    def __init__(self) -> None:
        super().__init__(selectors.SelectSelector())
        self.now_s = 0.0
        self._wait: Any = self._selector.select  # type: ignore[attr-defined]
        self._selector.select = self._jump  # type: ignore[attr-defined]

    def time(self) -> float:
        return self.now_s

    def _jump(self, timeout: float | None) -> Any:
        if timeout is None:
            return self._wait(None)
        found = self._wait(0)
        if not found:
            self.now_s += max(0.0, timeout)
        return found


@dataclass
class Writes:
    """A model that writes at 50 tokens a second."""

    text: str
    name: str = "writes"
    model: str = ""

    async def stream(self, prompt: Prompt) -> AsyncGenerator[Delta, None]:
        for start in range(0, len(self.text), 5):
            await asyncio.sleep(0.02)
            yield Delta(self.text[start : start + 5])

    async def check(self) -> str:
        return ""

    async def close(self) -> None:
        return None


@dataclass
class Slow:
    """A voice that takes a share of the sound's length."""

    factor: float

    async def synthesize(self, text: str, voice: VoiceChoice) -> Speech:
        length_s = len(text) * CHAR_S
        await asyncio.sleep(length_s * self.factor)
        return Speech(Audio(bytes(2 * round(length_s * RATE_HZ)), RATE_HZ), "slow", "slow")


@dataclass
class Ear(NoSound):
    """A sink in the loop's time, which notes how long it had nothing to play."""

    silences: list[float] = field(default_factory=list)
    began_s: float = -1.0
    ended_s: float = -1.0
    name: str = "ear"

    async def play(self, audio: Audio, progress: Progress) -> float:
        now_s = asyncio.get_running_loop().time()
        if self.ended_s < 0:
            self.began_s = now_s
        else:
            self.silences.append(now_s - self.ended_s)
        progress(0.0, -20.0)
        await asyncio.sleep(audio.duration_s)
        self.ended_s = asyncio.get_running_loop().time()
        return audio.duration_s


def reply_of(sentences: int) -> str:
    rng = random.Random(11)
    made = []
    for _ in range(sentences):
        body = rng.choice(CLAUSES)
        for _ in range(rng.choice((0, 0, 1, 1, 2))):
            body += rng.choice((", and ", ", but ", " because ")) + rng.choice(CLAUSES)
        made.append(body.capitalize() + ".")
    return " ".join(made)


def heard(folder: Path, text: str, factor: float) -> Ear:
    ear = Ear()

    async def talk() -> None:
        bus = EventBus()
        bus.bind(asyncio.get_running_loop())
        sounds = SoundStore(folder, max_bytes=1 << 30, max_age_days=1)
        player = Player(bus, ear, lambda *_: None)
        llm, voice = Writes(text), Slow(factor)
        runner = TurnRunner(bus, alone(lambda: llm), lambda: voice, sounds, player)
        request = Request(
            turn_id="ab" * 16,
            conversation_id=STAGE,
            number=1,
            character=character(),
            text="go",
            author="you",
            origin="test",
            speak=True,
            on_stage=True,
            received_s=monotonic_s(),
        )
        await runner.run(request, [], Answer(Trace(request.received_s)))

    with asyncio.Runner(loop_factory=OwnClock) as runner:
        runner.run(talk())
    return ear


def test_a_voice_at_half_speed_never_starves_over_50_sentences(tmp_path: Path) -> None:
    ear = heard(tmp_path, reply_of(50), 0.5)
    assert len(ear.silences) >= 49
    assert max(ear.silences) == pytest.approx(0, abs=1e-6)


def test_the_first_clause_is_heard_long_before_the_first_sentence_is_written(
    tmp_path: Path,
) -> None:
    text = "We walked along the shore, because the kettle began to sing and nobody in the harbour minded. Ha."
    ear = heard(tmp_path, text, 0.5)
    clause = text.index(",") + 1
    written_s = (clause + 12 + 5) / 5 * 0.02
    assert ear.began_s <= written_s + clause * CHAR_S * 0.5 + 0.05
    assert max(ear.silences) == pytest.approx(0, abs=1e-6)


def test_a_voice_too_slow_to_keep_up_does_starve(tmp_path: Path) -> None:
    """The measure can fail: a voice slower than the ear leaves silences."""
    assert max(heard(tmp_path, reply_of(5), 1.5).silences) > 0.5
