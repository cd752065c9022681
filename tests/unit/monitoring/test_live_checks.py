"""The pieces of the live path, each against parts that work, fail, or only look as if they worked."""

from __future__ import annotations

import asyncio
import math
from array import array
from collections.abc import AsyncGenerator, Sequence
from typing import Any

import pytest

from backend.audio import likeness
from backend.clients.loopback import Recording
from backend.contracts.entities import Audio, Speech, Transcript, VoiceChoice, VoiceInfo
from backend.contracts.errors import EngineUnavailableError, ProviderError
from backend.contracts.listening import ListeningState
from backend.core import clock
from backend.core.context import checkup_notes
from backend.engines.llm.base import Delta, Prompt
from backend.engines.vad import DETECTORS
from backend.engines.vad.options import EnergyOptions
from backend.monitoring import live_checks
from backend.monitoring.doctor import Outcome
from backend.monitoring.live_checks import CLIP_WORDS, Spoken, Stage, clip, words_read
from backend.outputs.base import Progress
from tests.fakes import ManualSink, WritesText, character

RATE = 16_000


def tone(seconds: float = 1.5, height: int = 3_000) -> bytes:
    turn = 2 * math.pi * 220 / RATE
    return array(
        "h", (round(height * math.sin(turn * n)) for n in range(round(seconds * RATE)))
    ).tobytes()


# --- microphone


async def heard(pcm: bytes, **state: Any) -> Outcome:
    async def record(seconds: float) -> Audio:
        return Audio(pcm, RATE)

    return await live_checks.microphone(record, lambda: ListeningState(**state))


async def test_sound_from_the_microphone_is_green_with_its_level() -> None:
    outcome = await heard(tone(), mode="open", device_now="Yeti")
    assert outcome.state == "green"
    assert "Yeti, -24 dBFS" in outcome.detail


@pytest.mark.parametrize(
    ("pcm", "state", "expected", "words"),
    [
        (bytes(48_000), {}, "amber", "nothing but silence"),
        (tone(height=40_000 // 2 + 12_767), {}, "amber", "cut off"),
        (tone(), {"muted": True}, "amber", "muted"),
        (tone(0.3), {}, "red", "Only 0.30 s"),
    ],
)
async def test_a_microphone_that_only_looks_as_if_it_worked(
    pcm: bytes, state: dict[str, Any], expected: str, words: str
) -> None:
    outcome = await heard(pcm, **state)
    assert outcome.state == expected
    assert words in outcome.detail
    assert outcome.fix


async def test_a_missing_microphone_is_broken_only_for_those_who_listen() -> None:
    async def record(seconds: float) -> Audio:
        raise EngineUnavailableError("This computer has no microphone. Plug one in.")

    off = await live_checks.microphone(record, lambda: ListeningState())
    on = await live_checks.microphone(record, lambda: ListeningState(mode="open"))
    assert (off.state, on.state) == ("amber", "red")
    assert (on.detail, on.fix) == ("This computer has no microphone.", "Plug one in.")


# --- detector and recogniser


async def test_the_energy_detector_passes() -> None:
    outcome = await live_checks.detector(DETECTORS.create("energy", EnergyOptions()), "energy", 0.5)
    assert outcome.state == "green", outcome.detail


class Says:
    """A detector that always says the same."""

    name = "says"
    frame_samples = 512

    def __init__(self, probability: float) -> None:
        self._probability = probability

    async def probabilities(self, sound: bytes) -> list[float]:
        return [self._probability] * (len(sound) // 1024)

    def reset(self) -> None:
        return None


async def test_a_detector_that_hears_nothing_or_everything_is_found_out() -> None:
    deaf = await live_checks.detector(Says(0.1), "says", 0.5)
    nervous = await live_checks.detector(Says(0.9), "says", 0.5)
    assert (deaf.state, nervous.state) == ("red", "amber")
    assert "Lower ASR_VAD_THRESHOLD" in deaf.fix
    assert "Raise ASR_VAD_THRESHOLD" in nervous.fix


async def test_a_detector_that_replaces_the_chosen_one_is_amber() -> None:
    energy = DETECTORS.create("energy", EnergyOptions())
    outcome = await live_checks.detector(energy, "silero", 0.5)
    assert outcome.state == "amber"
    assert "silero cannot be used" in outcome.detail


class Reads:
    """A recogniser that reads what it is told to."""

    name = "reads"

    def __init__(self, text: str, error: Exception | None = None, note: str = "") -> None:
        self.text, self.error, self.note = text, error, note

    async def transcribe(self, audio: Audio, language: str | None = None) -> Transcript:
        if self.note:
            notes = checkup_notes.get()
            assert notes is not None
            notes.append(self.note)
        if self.error:
            raise self.error
        return Transcript(self.text, engine=self.name)

    def warm(self) -> None:
        return None

    async def close(self) -> None:
        return None


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("One, two, three, four, five.", 5),
        ("1 2 3 4 5", 5),
        ("12345", 5),
        ("one two three four fine", 4),
        ("five four three two one", 1),
        ("", 0),
        ("thank you for watching", 0),
    ],
)
def test_words_are_counted_in_any_spelling_and_in_order(text: str, count: int) -> None:
    assert words_read(Transcript(text)) == count


@pytest.mark.parametrize(
    ("text", "state"),
    [(" ".join(CLIP_WORDS), "green"), ("one or two", "amber"), ("", "red"), ("hello", "red")],
)
async def test_a_recogniser_is_judged_by_what_it_read(text: str, state: str) -> None:
    outcome = await live_checks.recogniser(Reads(text))
    assert outcome.state == state
    assert bool(outcome.fix) == (state != "green")


async def test_a_recogniser_that_is_missing_or_replaced_says_so() -> None:
    missing = Reads("", EngineUnavailableError("No recogniser. Set STT_CHAIN."))
    assert (await live_checks.recogniser(missing)).state == "red"
    replaced = Reads("one two three four five", note="whisper: out of memory.")
    outcome = await live_checks.recogniser(replaced)
    assert outcome.state == "amber"
    assert "out of memory" in outcome.detail


@pytest.mark.parametrize(("seconds", "readings"), [(1.0, 1), (4.0, 2), (9.0, 1)])
async def test_a_slow_reading_is_repeated_only_where_there_is_time(
    monkeypatch: pytest.MonkeyPatch, seconds: float, readings: int
) -> None:
    now_s = 100.0
    count = 0
    monkeypatch.setattr(clock, "monotonic_s", lambda: now_s)

    class Takes(Reads):
        async def transcribe(self, audio: Audio, language: str | None = None) -> Transcript:
            nonlocal now_s, count
            now_s += seconds
            count += 1
            return await super().transcribe(audio, language)

    outcome = await live_checks.recogniser(Takes("one two three four five"))
    assert count == readings
    assert outcome.state == ("green" if seconds < clip().duration_s else "amber")


def test_the_bundled_clip_is_small_and_spoken() -> None:
    assert live_checks.CLIP.stat().st_size < 60_000
    assert 2 < clip().duration_s < 4
    assert clip().rate_hz == RATE


# --- language model


class Chain(WritesText):
    """As the chain of language models: says who answers, and notes who did not."""

    def __init__(self, pieces: Sequence[Any], by: str, note: str = "") -> None:
        super().__init__(pieces)
        self.by, self.note = by, note

    async def stream(self, prompt: Prompt) -> AsyncGenerator[Delta, None]:
        if self.note:
            notes = checkup_notes.get()
            assert notes is not None
            notes.append(self.note)
        async for delta in super().stream(prompt):
            yield Delta(delta.text, by=self.by)


async def answered(llm: Chain, wanted: str = "ollama", problem: str = "") -> Outcome:
    return await live_checks.mind(llm, wanted, problem, character())


async def test_who_answers_with_which_model_and_after_how_long_is_said() -> None:
    llm = Chain(["Hello", " there."], "ollama, model llama3.2")
    outcome = await answered(llm)
    assert outcome.state == "green"
    assert outcome.detail.startswith("ollama, model llama3.2, answers after ")
    assert llm.prompts[0].max_tokens == 24
    assert llm.prompts[0].conversation_id == "checkup"


async def test_another_one_answering_is_amber_with_the_reason() -> None:
    llm = Chain(
        ["Hi."], "persona", note="Ollama refused the connection. Start it, or see OLLAMA_URL."
    )
    outcome = await answered(llm)
    assert outcome.state == "amber"
    assert "persona answers instead of ollama. Ollama refused the connection." in outcome.detail
    assert outcome.setting == "OLLAMA_URL"
    left_out = await answered(Chain(["Hi."], "persona"), "openai", "OPENAI_API_KEY is not set.")
    assert (left_out.state, left_out.setting) == ("amber", "OPENAI_API_KEY")


async def test_the_persona_alone_is_fine_and_says_that_no_provider_is_set_up() -> None:
    outcome = await answered(Chain(["Hi."], "persona"), "persona")
    assert outcome.state == "green"
    assert "no provider is asked" in outcome.detail


async def test_an_empty_answer_is_red_and_a_failure_rises() -> None:
    assert (await answered(Chain([" "], "ollama"))).state == "red"
    with pytest.raises(ProviderError):
        await answered(Chain([ProviderError("Gone.", kind="unreachable", provider="x")], "ollama"))


# --- voice


class Speaks:
    """A chain of speech engines that makes given sound."""

    name = "chain"

    def __init__(self, made: Speech, note: str = "") -> None:
        self.made, self.note = made, note

    async def synthesize(self, text: str, voice: VoiceChoice) -> Speech:
        if self.note:
            notes = checkup_notes.get()
            assert notes is not None
            notes.append(self.note)
        return self.made

    async def voices(self) -> list[VoiceInfo]:
        return []

    def cache_key(self, voice: VoiceChoice) -> str:
        return ""

    def warm(self) -> None:
        return None

    async def close(self) -> None:
        return None


@pytest.mark.parametrize(
    ("engine", "pcm", "wanted", "state"),
    [
        ("piper", tone(), "", "green"),
        ("piper", tone(), "piper", "green"),
        ("embedded", tone(), "piper", "amber"),
        ("silence", bytes(32_000), "", "red"),
        ("piper", bytes(32_000), "", "red"),
    ],
)
async def test_a_voice_is_judged_by_what_comes_out(
    engine: str, pcm: bytes, wanted: str, state: str
) -> None:
    spoken = Spoken()
    made = Speech(Audio(pcm, RATE), engine, "kit")
    outcome = await live_checks.voice(Speaks(made), VoiceChoice(engine=wanted, name="kit"), spoken)
    assert outcome.state == state, outcome.detail
    assert (spoken.audio is None) == (state == "red")


# --- output


class Plays(ManualSink):
    """A sink that plays at once, into a loopback where one listens."""

    name = "speaker"

    def __init__(self, hears: Recording | None = None, as_heard: bytes | None = None) -> None:
        super().__init__()
        self.hears, self.as_heard = hears, as_heard

    async def play(self, audio: Audio, progress: Progress) -> float:
        progress(0.0, -20.0)
        if self.hears is not None:
            self.hears.pcm += bytes(RATE // 2)
            self.hears.pcm += audio.pcm if self.as_heard is None else self.as_heard
        return audio.duration_s


async def played(sink: Plays, recording: Recording | None = None, **stage: Any) -> Outcome:
    async def listen(device: str) -> Recording | None:
        if recording is not None:
            recording._arrive(bytes(2))
        return recording

    made: dict[str, Any] = {"device": "", "volume": 1.0, "is_muted": False} | stage
    speech = Spoken(Audio(clip().pcm, RATE))
    return await live_checks.output(Stage(sink, **made), speech, listen)


@pytest.fixture(autouse=True)
def no_tail(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live_checks, "TAIL_S", 0.0)


async def test_without_a_loopback_the_line_asks_the_listener() -> None:
    outcome = await played(Plays())
    assert outcome.state == "green"
    assert "it cannot be heard back here" in outcome.detail


async def test_what_comes_back_on_the_loopback_is_recognised() -> None:
    recording = Recording("the monitor of stage", RATE)
    outcome = await played(Plays(recording), recording)
    assert outcome.state == "green"
    assert "heard back" in outcome.detail


async def test_a_loopback_that_hears_nothing_or_something_else_is_found_out() -> None:
    silent, other = Recording("m", RATE), Recording("m", RATE)
    nothing = await played(Plays(silent, bytes(2 * RATE * 2)), silent)
    else_ = await played(Plays(other, tone(2.5)), other)
    assert (nothing.state, else_.state) == ("red", "amber")
    muted = Recording("m", RATE, is_muted=True)
    assert "the system has muted it" in (await played(Plays(muted), muted)).detail


async def test_a_sound_that_takes_longer_than_it_is_had_gaps(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now_s = 100.0
    monkeypatch.setattr(clock, "monotonic_s", lambda: now_s)
    recording = Recording("m", RATE)

    class Stutters(Plays):
        async def play(self, audio: Audio, progress: Progress) -> float:
            nonlocal now_s
            heard_s = await super().play(audio, progress)
            now_s += heard_s + 0.8
            return heard_s

    outcome = await played(Stutters(recording), recording)
    assert outcome.state == "amber"
    assert "gaps of 0.8 s" in outcome.detail


async def test_sound_for_overlay_pages_is_not_played_by_a_check_but_somebody_must_be_there() -> (
    None
):
    pages = Plays()
    pages.name = "overlay"
    assert (await played(pages, pages=2)).state == "green"
    nobody = await played(pages)
    assert (nobody.state, nobody.setting) == ("amber", "AUDIO_SINK")
    assert "overlay page" in nobody.fix


async def test_an_output_that_is_off_muted_or_without_a_voice() -> None:
    none = Plays()
    none.name = "none"
    assert (await played(none)).setting == "AUDIO_SINK"
    assert (await played(Plays(), is_muted=True)).setting == "OUTPUT_MUTED"
    assert (await played(Plays(), volume=0.0)).setting == "OUTPUT_VOLUME"
    stage = Stage(Plays(), "", 1.0, False)
    assert (await live_checks.output(stage, Spoken())).state == "left_out"


async def test_a_cancelled_test_sound_stops_at_once() -> None:
    sink = ManualSink()
    sink.name = "speaker"

    async def nobody(device: str) -> Recording | None:
        return None

    speech = Spoken(Audio(tone(), RATE))
    task = asyncio.ensure_future(live_checks.output(Stage(sink, "", 1.0, False), speech, nobody))
    await sink.playing.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert sink.stopped == 1


# --- likeness


def test_a_sound_is_found_where_it_lies_at_any_rate_and_volume() -> None:
    quiet = array("h", (value // 8 for value in array("h", clip().pcm)))
    heard_pcm = bytes(2 * RATE) + quiet.tobytes() + bytes(RATE)
    found = likeness.find(clip().pcm, RATE, heard_pcm, RATE)
    assert found.correlation > 0.9
    assert found.delay_s == pytest.approx(1.0, abs=0.02)


def test_silence_and_short_recordings_hold_nothing() -> None:
    assert likeness.find(clip().pcm, RATE, bytes(8 * RATE), RATE).correlation < 0.1
    assert likeness.find(clip().pcm, RATE, b"", RATE).correlation == 0
    assert likeness.find(b"", RATE, clip().pcm, RATE).correlation == 0
