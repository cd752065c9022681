"""A turn from message to last heard sentence, what an interruption leaves behind, and what failures do."""

from __future__ import annotations

import asyncio
import itertools
from pathlib import Path

import pytest

from backend.chat.prompt import Exchange
from backend.chat.trace import Trace
from backend.chat.turn import Answer, Request, TurnRunner
from backend.contracts.entities import Audio, Speech, VoiceChoice
from backend.contracts.errors import ProviderError
from backend.core.bus import EventBus
from backend.core.clock import monotonic_s
from backend.modes.mind import alone
from backend.outputs.none import NoSound
from backend.playback.player import Player, heard_words, join
from backend.playback.sounds import SoundStore
from tests.fakes import Beeps, ManualSink, Watch, WritesText, character


class Stage:
    """A turn runner over fakes."""

    def __init__(self, tmp_path: Path, llm: WritesText, sink: object | None = None) -> None:
        self.bus = EventBus()
        self.bus.bind(asyncio.get_running_loop())
        self.llm = llm
        self.voice = Beeps()
        self.cues: list[str] = []
        self.player = Player(
            self.bus,
            sink or NoSound(),  # type: ignore[arg-type]
            lambda cue, turn_id, conversation_id: self.cues.append(cue.name),
        )
        self.sounds = SoundStore(tmp_path, max_bytes=10**9, max_age_days=1)
        self.runner = TurnRunner(
            self.bus, alone(lambda: self.llm), lambda: self.voice, self.sounds, self.player
        )
        self.answer = Answer(Trace(monotonic_s()))

    def request(self, *, on_stage: bool = True, speak: bool = True) -> Request:
        return Request(
            turn_id="ab" * 16,
            conversation_id="stage" if on_stage else "other",
            number=1,
            character=character(expressions=("joy", "Smug")),
            text="hi",
            author="you",
            origin="test",
            speak=speak,
            on_stage=on_stage,
            received_s=self.answer.trace.received_s,
        )

    async def run(self, *, on_stage: bool = True, speak: bool = True) -> Answer:
        history: list[Exchange] = []
        await self.runner.run(self.request(on_stage=on_stage, speak=speak), history, self.answer)
        await self.sounds.close()
        return self.answer


async def test_a_turn_reports_its_stages_in_order(tmp_path: Path) -> None:
    stage = Stage(tmp_path, WritesText(["[joy] Hello", " there. How", " are you?"]))
    async with Watch(stage.bus) as seen:
        answer = await stage.run()
    assert answer.outcome == "done"
    assert answer.reply == "Hello there. How are you?"
    assert answer.emotion == "joy"
    assert stage.voice.said == ["Hello there.", "How are you?"]
    assert stage.cues == ["joy"]
    assert [span.name for span in answer.trace.spans] == [
        "queue",
        "prompt",
        "llm_first_token",
        "first_sentence",
        "tts",
        "first_audio",
        "speaking",
    ]
    assert [e.type for e in seen.events if e.type.startswith("playback.")] == [
        "playback.started",
        "playback.next",
        "playback.started",
        "playback.finished",
    ]
    assert [e.n for e in seen.of("speech.ready")] == [1, 2]  # type: ignore[union-attr]
    assert {e.turn_id for e in seen.events} == {"ab" * 16}


async def test_spans_are_contiguous_and_sum_to_the_total(tmp_path: Path) -> None:
    stage = Stage(tmp_path, WritesText([0.02, "One. ", 0.02, "Two."]))
    answer = await stage.run(on_stage=False)
    spans = answer.trace.spans
    assert sum(span.duration_ms for span in spans) == pytest.approx(answer.trace.total_ms, abs=1)
    for left, right in itertools.pairwise(spans):
        assert right.start_ms == pytest.approx(left.start_ms + left.duration_ms, abs=1e-6)
    assert all(span.detail for span in spans)


async def test_thoughts_and_stage_directions_are_never_spoken_or_stored(tmp_path: Path) -> None:
    stage = Stage(
        tmp_path, WritesText(["<thi", "nk>I hate", " this</think>*wav", "es* Hi! [smug]"])
    )
    async with Watch(stage.bus) as seen:
        answer = await stage.run()
    assert answer.reply == "Hi!"
    assert stage.voice.said == ["Hi!"]
    assert stage.cues == ["waves", "Smug"]
    public = [e.text for e in seen.events if e.type == "chat.sentence"]
    assert public == ["Hi!"]


async def test_a_failing_model_is_told_to_the_operator_and_not_spoken(tmp_path: Path) -> None:
    error = ProviderError("Key refused (401): set OPENAI_API_KEY.", kind="key", provider="openai")
    stage = Stage(tmp_path, WritesText([error]))
    async with Watch(stage.bus) as seen:
        answer = await stage.run()
    assert (answer.outcome, answer.reply) == ("failed", "")
    assert stage.voice.said == []
    (told,) = seen.of("error.occurred")
    assert told.kind == "key"  # type: ignore[union-attr]
    assert "chat.sentence" not in seen.types


async def test_text_before_a_failure_is_kept(tmp_path: Path) -> None:
    error = ProviderError("Connection lost.", kind="unreachable", provider="openai")
    stage = Stage(tmp_path, WritesText(["First part. And th", error]))
    answer = await stage.run()
    assert answer.outcome == "failed"
    assert answer.reply == "First part. And th"
    assert "Connection lost." not in " ".join(stage.voice.said)


async def test_an_empty_reply_is_a_failure(tmp_path: Path) -> None:
    stage = Stage(tmp_path, WritesText(["<think>only thoughts</think>"]))
    async with Watch(stage.bus) as seen:
        answer = await stage.run()
    assert answer.outcome == "failed"
    assert len(seen.of("error.occurred")) == 1


async def test_text_appears_when_no_engine_can_speak(tmp_path: Path) -> None:
    class Silent(Beeps):
        async def synthesize(self, text: str, voice: VoiceChoice) -> Speech:
            return Speech(Audio(b"", 8000), "silence", "")

    stage = Stage(tmp_path, WritesText(["Hello. Bye."]))
    stage.voice = Silent()
    async with Watch(stage.bus) as seen:
        answer = await stage.run()
    assert answer.outcome == "done"
    assert answer.reply == "Hello. Bye."
    assert "speech.ready" not in seen.types


async def test_a_turn_without_voice_makes_no_sound(tmp_path: Path) -> None:
    stage = Stage(tmp_path, WritesText(["Hello."]))
    answer = await stage.run(on_stage=False, speak=False)
    assert stage.voice.said == []
    assert answer.reply == "Hello."
    assert answer.first_audio_ms is None


TEXT = "The lantern refused to go out. Every night a traveller leaned in to blow."


@pytest.mark.parametrize("cut", [n / 20 for n in range(20)])
async def test_an_interrupted_turn_remembers_only_what_was_heard(
    tmp_path: Path, cut: float
) -> None:
    sink = ManualSink()
    stage = Stage(tmp_path, WritesText([TEXT]), sink)
    async with Watch(stage.bus) as seen:
        task = asyncio.create_task(stage.run())
        await seen.until("playback.started")
        await sink.playing.wait()
        await seen.until("speech.ready", 2)
        total_s = sum(e.duration_s for e in seen.of("speech.ready"))  # type: ignore[union-attr,misc]
        await sink.advance(cut * total_s)
        await seen.settle()
        await seen.settle()
        task.cancel()
        async with asyncio.timeout(
            10
        ):  # the sink stands still: whoever waits for its end waits for ever
            with pytest.raises(asyncio.CancelledError):
                await task
    assert stage.answer.outcome == "interrupted"
    heard = stage.answer.reply
    assert TEXT.startswith(heard)
    assert sink.stopped >= 1
    # Words last as long as they have letters: what was heard is within one word of the cut.
    assert abs(len(heard) / len(TEXT) - cut) < 0.17
    (finished,) = seen.of("playback.finished")
    assert finished.interrupted  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("position", "heard"),
    [
        (0.0, ""),
        (0.2, ""),
        (0.4, "one"),
        (0.5, "one two"),
        (1.0, "one two three four"),
        (9.0, "one two three four"),
    ],
)
def test_a_word_counts_when_it_was_heard_to_its_end(position: float, heard: str) -> None:
    assert heard_words("one two three four", position, 1.0) == heard


def test_japanese_is_cut_by_characters() -> None:
    assert heard_words("おはようございます", 0.5, 1.0) == "おはよう"


def test_sentences_join_as_each_script_wants() -> None:
    assert join(["Hello.", "Bye."]) == "Hello. Bye."
    assert join(["おはよう。", "元気？"]) == "おはよう。元気？"


async def test_a_feeling_belongs_to_the_sentence_that_follows_it(tmp_path: Path) -> None:
    stage = Stage(tmp_path, WritesText(["Hm, it is 42. [jo", "y] Yay! [laughs] Hm."]))
    fired: list[tuple[str, int]] = []
    async with Watch(stage.bus) as seen:
        stage.player._on_cue = lambda cue, turn_id, where: fired.append(
            (cue.name, len(seen.of("playback.started")))
        )
        answer = await stage.run()
    assert [e.text for e in seen.of("chat.sentence")] == ["Hm, it is 42.", "Yay!", "Hm."]  # type: ignore[union-attr]
    assert [(e.n, e.emotion) for e in seen.of("chat.sentence")] == [(1, ""), (2, "joy"), (3, "joy")]  # type: ignore[union-attr]
    assert [name for name, _ in fired] == ["joy"]
    assert answer.emotion == "joy"


async def test_a_tag_the_character_has_no_face_for_is_dropped(tmp_path: Path) -> None:
    stage = Stage(tmp_path, WritesText(["[JOY] Hello. [confused] What? [neutral]"]))
    async with Watch(stage.bus):
        answer = await stage.run()
    assert answer.reply == "Hello. What?"
    assert stage.cues == ["joy", "neutral"]
    assert answer.emotion == "neutral"
