"""The chain: a broken engine costs one wait, text always gets its time, the operator is told once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from backend.contracts.entities import Audio, Speech, VoiceChoice, VoiceInfo
from backend.contracts.errors import (
    AppError,
    EngineFailedError,
    EngineUnavailableError,
    ProviderError,
)
from backend.core import clock
from backend.core.context import TurnContext, current_turn
from backend.engines.tts import VOICES
from backend.engines.tts.base import TTS
from backend.engines.tts.options import ChainOptions, ToneOptions

SAY = VoiceChoice()


class Acts:
    """An engine that does what it is told: an error to raise, "hang", or speaks."""

    def __init__(self, name: str, act: str | Exception = "", knows: tuple[str, ...] = ()) -> None:
        self.name = name
        self.act = act
        self.knows = knows
        self.asked: list[VoiceChoice] = []

    async def synthesize(self, text: str, voice: VoiceChoice) -> Speech:
        self.asked.append(voice)
        if isinstance(self.act, Exception):
            raise self.act
        if self.act == "hang":
            await asyncio.Event().wait()
        if voice.name and voice.name not in self.knows:
            raise EngineUnavailableError(f"no voice {voice.name}")
        return Speech(Audio(b"\1\0" * 800, 8000), self.name, voice.name or "own")

    async def voices(self) -> list[VoiceInfo]:
        if isinstance(self.act, AppError):
            raise self.act
        return [VoiceInfo(engine=self.name, name="own", title="Own")]

    def cache_key(self, voice: VoiceChoice) -> str:
        return f"{self.name} {voice.name}"

    def warm(self) -> None:
        self.asked.clear()

    async def close(self) -> None:
        self.act = "closed"


class Failures:
    """What the operator was told."""

    def __init__(self) -> None:
        self.told: list[tuple[str, AppError]] = []

    def __call__(self, engine: str, error: AppError) -> None:
        self.told.append((engine, error))

    @property
    def engines(self) -> list[str]:
        return [engine for engine, _ in self.told]


def chain(
    *engines: TTS, timeout_s: float = 0.2, told: Failures | None = None, **more: object
) -> TTS:
    return VOICES.create(
        "chain",
        ChainOptions(engines, timeout_s=timeout_s, on_failure=told, **more),  # type: ignore[arg-type]  # tests pass what fits
    )


@pytest.fixture
def moved(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Move the clock."""
    now_s = [clock.monotonic_s()]
    monkeypatch.setattr(clock, "monotonic_s", lambda: now_s[0])

    def move(seconds: float) -> None:
        now_s[0] += seconds

    return move


async def test_the_first_that_can_speaks() -> None:
    told = Failures()
    speech = await chain(
        Acts("a", EngineUnavailableError("no key")), Acts("b"), told=told
    ).synthesize("Hi.", SAY)
    assert speech.engine == "b"
    assert told.told == []  # a missing engine that nobody asked for is no news


async def test_a_failure_is_told_once_a_turn_not_with_every_sentence() -> None:
    told = Failures()
    speaking = chain(Acts("a", EngineFailedError("crashed")), Acts("b"), told=told)
    for turn in ("one", "two"):
        current_turn.set(TurnContext(turn, "c"))
        for _ in range(2):
            await speaking.synthesize("Hi.", SAY)
    assert told.engines == ["a", "a"]


async def test_a_missing_engine_that_was_asked_for_is_told() -> None:
    told = Failures()
    speaking = chain(Acts("a"), Acts("b", EngineUnavailableError("no key")), told=told)
    assert (await speaking.synthesize("Hi.", VoiceChoice(engine="b"))).engine == "a"
    assert told.engines == ["b"]


async def test_a_failure_is_told_and_the_next_speaks() -> None:
    told = Failures()
    speech = await chain(Acts("a", EngineFailedError("crashed")), Acts("b"), told=told).synthesize(
        "Hi.", SAY
    )
    assert speech.engine == "b"
    assert told.engines == ["a"]


async def test_when_all_fail_there_is_silence_about_as_long_as_reading() -> None:
    broken = chain(Acts("a", EngineFailedError("x")), Acts("b", EngineFailedError("x")))
    short = await broken.synthesize("Hi.", SAY)
    long = await broken.synthesize("A much longer sentence that takes its time to read.", SAY)
    assert short.engine == long.engine == "silence"
    assert 0.2 < short.audio.duration_s < long.audio.duration_s <= 3
    assert not any(long.audio.pcm)


async def test_a_defect_in_one_engine_does_not_silence_the_others() -> None:
    told = Failures()
    speech = await chain(Acts("a", ZeroDivisionError("oops")), Acts("b"), told=told).synthesize(
        "Hi.", SAY
    )
    assert speech.engine == "b"
    assert "ZeroDivisionError" in told.told[0][1].message


async def test_a_hang_costs_at_most_the_limit_and_the_next_still_has_time() -> None:
    told = Failures()
    began_s = clock.monotonic_s()
    speech = await chain(Acts("a", "hang"), Acts("b"), told=told).synthesize("Hi.", SAY)
    assert speech.engine == "b"
    assert clock.monotonic_s() - began_s < 0.2
    assert "a did not speak within" in told.told[0][1].message


async def test_two_that_hang_cost_no_more_than_one() -> None:
    began_s = clock.monotonic_s()
    speech = await chain(Acts("a", "hang"), Acts("b", "hang")).synthesize("Hi.", SAY)
    assert speech.engine == "silence"
    assert clock.monotonic_s() - began_s < 0.3


async def test_after_a_hang_the_next_sentences_do_not_wait(moved: Callable[[float], None]) -> None:
    told = Failures()
    stuck = Acts("a", "hang")
    speaking = chain(stuck, Acts("b"), timeout_s=0.05, told=told)
    for _ in range(5):
        assert (await speaking.synthesize("Hi.", SAY)).engine == "b"
    assert len(stuck.asked) == 1
    assert told.engines == ["a"]
    stuck.act = ""
    moved(16)
    assert (await speaking.synthesize("Hi.", SAY)).engine == "a"


async def test_an_engine_that_hangs_again_and_again_rests_longer(
    moved: Callable[[float], None],
) -> None:
    stuck = Acts("a", "hang")
    speaking = chain(stuck, Acts("b"), timeout_s=0.02)
    for wait_s in (16, 31):
        await speaking.synthesize("Hi.", SAY)
        moved(wait_s)
    await speaking.synthesize("Hi.", SAY)
    moved(31)
    await speaking.synthesize("Hi.", SAY)
    assert len(stuck.asked) == 3


async def test_the_only_engine_is_asked_again_in_the_next_turn(
    moved: Callable[[float], None],
) -> None:
    stuck = Acts("a", "hang")
    speaking = chain(stuck, timeout_s=0.02)
    current_turn.set(TurnContext("one", "c"))
    assert (await speaking.synthesize("Hi.", SAY)).engine == "silence"
    assert (await speaking.synthesize("Hi.", SAY)).engine == "silence"
    assert len(stuck.asked) == 1
    stuck.act = ""
    current_turn.set(TurnContext("two", "c"))
    assert (await speaking.synthesize("Hi.", SAY)).engine == "a"


async def test_a_quick_failure_is_tried_again_and_rests_after_three(
    moved: Callable[[float], None],
) -> None:
    broken = Acts("a", ProviderError("boom", kind="server", provider="a"))
    speaking = chain(broken, Acts("b"))
    for _ in range(6):
        assert (await speaking.synthesize("Hi.", SAY)).engine == "b"
    assert len(broken.asked) == 3


async def test_a_choice_that_names_an_engine_tries_it_first_with_its_own_voice() -> None:
    first, second = Acts("a"), Acts("b", knows=("soft",))
    speech = await chain(first, second).synthesize("Hi.", VoiceChoice(engine="b", name="soft"))
    assert (speech.engine, speech.voice) == ("b", "soft")
    second.act = EngineFailedError("x")
    speech = await chain(first, second).synthesize(
        "Hi.", VoiceChoice(engine="b", name="soft", rate=1.5)
    )
    assert speech.engine == "a"
    assert first.asked[-1].name == ""  # b's voice is not asked of a, the speed is
    assert first.asked[-1].rate == 1.5


async def test_a_name_alone_finds_the_engine_that_knows_it() -> None:
    speech = await chain(Acts("a"), Acts("b", knows=("soft",))).synthesize(
        "Hi.", VoiceChoice(name="soft")
    )
    assert (speech.engine, speech.voice) == ("b", "soft")


async def test_a_name_nobody_knows_is_spoken_by_the_first_anyway() -> None:
    speech = await chain(Acts("a"), Acts("b")).synthesize("Hi.", VoiceChoice(name="unknown"))
    assert (speech.engine, speech.voice) == ("a", "own")


async def test_an_alias_stands_for_a_voice_and_keeps_the_caller_s_speed() -> None:
    second = Acts("b", knows=("soft",))
    speaking = chain(
        Acts("a"), second, aliases={"narrator": VoiceChoice(engine="b", name="soft", pitch=40)}
    )
    await speaking.synthesize("Hi.", VoiceChoice(name="narrator", rate=1.5))
    asked = second.asked[0]
    assert (asked.name, asked.pitch, asked.rate) == ("soft", 40, 1.5)


async def test_the_order_can_be_changed() -> None:
    from backend.engines.tts.chain import Chain

    speaking = chain(Acts("a"), Acts("b"))
    assert isinstance(speaking, Chain)
    speaking.set_order(["b"])
    assert (await speaking.synthesize("Hi.", SAY)).engine == "b"
    with pytest.raises(EngineUnavailableError, match="choose from a, b"):
        speaking.set_order(["c"])


async def test_one_engine_that_cannot_list_voices_hides_no_others() -> None:
    voices = await chain(Acts("a", EngineFailedError("down")), Acts("b")).voices()
    assert [(voice.engine, voice.problem) for voice in voices] == [("a", "down"), ("b", None)]


async def test_leaving_is_not_a_failure() -> None:
    told = Failures()
    speaking = chain(Acts("a", "hang"), timeout_s=10, told=told)
    leaving = asyncio.create_task(speaking.synthesize("Hi.", SAY))
    await asyncio.sleep(0)
    leaving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await leaving
    assert told.told == []


async def test_the_tone_hums_at_its_pitch() -> None:
    import numpy as np

    from backend.audio.levels import from_pcm16

    speech = await VOICES.create("tone", ToneOptions()).synthesize("A long enough text.", SAY)
    samples = from_pcm16(speech.audio.pcm)
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(samples.size)))
    peak_hz = float(np.argmax(spectrum)) * speech.audio.rate_hz / samples.size
    assert abs(peak_hz - 220) < 2
