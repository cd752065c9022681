"""The player plays in order, tells the truth about what was heard, and goes on when a device fails."""

from __future__ import annotations

import asyncio

import pytest

from backend.contracts.avatar import MouthTime
from backend.contracts.entities import Audio, Cue
from backend.contracts.errors import BusyError, ConflictError, EngineUnavailableError
from backend.contracts.events import PlaybackStarted
from backend.core.bus import EventBus
from backend.outputs.base import Progress
from backend.playback import player as module
from backend.playback.player import Player, SpokenPiece
from tests.fakes import ManualSink, Watch

SECOND = Audio(b"\x01\x00" * 8000, 8000)


def piece(n: int, text: str, *, audio: Audio | None = SECOND, cue: str = "") -> SpokenPiece:
    cues = (Cue("expression", cue),) if cue else ()
    return SpokenPiece(n, text, audio, f"/api/audio/x/{n}", cues)


def player(sink: ManualSink) -> tuple[EventBus, Player, list[str]]:
    bus = EventBus()
    bus.bind(asyncio.get_running_loop())
    cues: list[str] = []
    return bus, Player(bus, sink, lambda cue, turn_id, conversation_id: cues.append(cue.name)), cues


async def test_a_cue_fires_when_its_sentence_plays_and_not_before() -> None:
    sink = ManualSink()
    bus, play, cues = player(sink)
    async with Watch(bus) as seen:
        show = play.begin("t", "stage")
        await play.enqueue(show, piece(1, "One."))
        await play.enqueue(show, piece(2, "Two.", cue="joy"))
        await seen.until("playback.started")
        assert cues == []
        await sink.advance(1.0)
        await seen.until("playback.started", 2)
        assert cues == ["joy"]
        await sink.advance(1.0)
        await play.finish(show)
    assert show.heard == ["One.", "Two."]
    assert [e.type for e in seen.events if e.type == "playback.finished"] == ["playback.finished"]


async def test_a_sink_that_announces_gives_the_time_and_cues_wait_for_the_sound() -> None:
    class Announces(ManualSink):
        async def play(self, audio: Audio, progress: Progress) -> float:
            progress(-0.15, -120.0)
            return await super().play(audio, progress)

    sink = Announces()
    bus, play, cues = player(sink)
    play.set_volume(0.5)
    async with Watch(bus) as seen:
        show = play.begin("t", "stage")
        await play.enqueue(show, piece(1, "One.", cue="joy"))
        started = await seen.until("playback.started")
        assert isinstance(started, PlaybackStarted)
        assert (started.starts_in_s, started.volume) == (0.15, 0.5)
        await sink.advance(1.0)
        await play.finish(show)
    assert cues == ["joy"]
    positions = [e.position_s for e in seen.of("playback.position")]  # type: ignore[union-attr]
    assert min(positions) >= 0


async def test_what_is_played_again_without_a_mouth_gets_one() -> None:
    mouth = (MouthTime(viseme="aa", start_s=0, end_s=1),)

    async def mouth_of(audio: Audio) -> tuple[MouthTime, ...]:
        return mouth

    sink = ManualSink()
    bus = EventBus()
    bus.bind(asyncio.get_running_loop())
    play = Player(bus, sink, lambda *_: None, mouth_of)
    async with Watch(bus) as seen:
        play.play_again([piece(1, "Again.")], "old", "stage")
        started = await seen.until("playback.started")
        assert isinstance(started, PlaybackStarted)
        play.stop_playing_again()
    assert started.mouth == mouth


async def test_positions_only_grow_and_end_at_the_length() -> None:
    sink = ManualSink()
    bus, play, _ = player(sink)
    async with Watch(bus) as seen:
        show = play.begin("t", "stage")
        await play.enqueue(show, piece(1, "One."))
        for _ in range(4):
            await sink.advance(0.25)
            await seen.settle()
        await play.finish(show)
    positions = [e.position_s for e in seen.of("playback.position")]  # type: ignore[union-attr]
    assert positions == sorted(positions)
    assert positions[-1] == pytest.approx(1.0)


async def test_a_failing_device_is_told_once_and_the_text_goes_on() -> None:
    class Broken(ManualSink):
        async def play(self, audio: Audio, progress: Progress) -> float:
            raise EngineUnavailableError("The sound output cannot be opened.")

    bus, play, _ = player(Broken())
    async with Watch(bus) as seen:
        show = play.begin("t", "stage")
        for n in range(1, 4):
            await play.enqueue(show, piece(n, f"{n}."))
        await play.finish(show)
    assert show.heard == ["1.", "2.", "3."]
    assert len(seen.of("error.occurred")) == 1
    assert play.problem


async def test_an_earlier_turn_can_be_played_again_but_never_over_a_live_one() -> None:
    sink = ManualSink()
    bus, play, _ = player(sink)
    async with Watch(bus) as seen:
        play.play_again([piece(1, "Again.")], "old", "stage")
        await seen.until("playback.started")
        live = play.begin("new", "stage")
        finished = await seen.until("playback.finished")
        assert finished.turn_id == "old"
        await play.enqueue(live, piece(1, "Live."))
        with pytest.raises(ConflictError):
            play.play_again([piece(1, "Again.")], "old", "stage")
        await seen.until("playback.started", 2)
        await play.stop(live)


async def test_a_sound_waits_until_she_has_spoken_and_never_sounds_over_a_sentence() -> None:
    sink = ManualSink()
    bus, play, _ = player(sink)
    async with Watch(bus) as seen:
        show = play.begin("t", "stage")
        await play.enqueue(show, piece(1, "One."))
        await seen.until("playback.started")
        play.play_effect(SECOND, "/api/audio/horn/1", "horn")
        play.play_effect(SECOND, "/api/audio/bell/1", "bell")
        await play.enqueue(show, piece(2, "Two."))
        await sink.advance(2.0)
        await play.finish(show)
        await sink.advance(2.0)
        await seen.until("playback.finished", 3)
    ends = ("playback.started", "playback.finished")
    told = [(one.type, one.turn_id) for one in seen.events if one.type in ends]
    assert told == [
        ("playback.started", "t"),
        ("playback.started", "t"),
        ("playback.finished", "t"),
        ("playback.started", "horn"),
        ("playback.finished", "horn"),
        ("playback.started", "bell"),
        ("playback.finished", "bell"),
    ]
    started = seen.of("playback.started")[2]
    assert isinstance(started, PlaybackStarted)
    assert (started.text, [one.viseme for one in started.mouth]) == ("", ["sil"])


async def test_a_short_sound_goes_on_while_she_thinks_and_is_heard_to_its_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(
        module, "LET_END_S", 60.0
    )  # the sink's clock stands still until it is moved
    sink = ManualSink()
    bus, play, _ = player(sink)
    async with Watch(bus) as seen:
        play.play_effect(SECOND, "/api/audio/horn/1", "horn")
        play.play_effect(SECOND, "/api/audio/bell/1", "bell")
        await seen.until("playback.started")
        assert (play.is_speaking(), play.is_saying()) == (True, False)
        show = play.begin("t", "stage")
        await play.enqueue(show, piece(1, "One."))
        await seen.settle()
        assert [one.turn_id for one in seen.of("playback.started")] == ["horn"]
        await sink.advance(1.0)
        await seen.until("playback.started", 2)
        assert play.is_saying()
        await sink.advance(1.0)
        await play.finish(show)
        await seen.until("playback.started", 3)
        play.stop_playing_again()
    assert [one.turn_id for one in seen.of("playback.started")] == ["horn", "t", "bell"]
    ends = {one.turn_id: one.interrupted for one in seen.of("playback.finished")}  # type: ignore[union-attr]
    assert (ends["horn"], ends["t"]) == (False, False)


async def test_a_long_sound_fades_for_her_first_sentence() -> None:
    sink = ManualSink()
    bus, play, _ = player(sink)
    async with Watch(bus) as seen:
        play.play_effect(Audio(SECOND.pcm * 100, 8000), "/api/audio/horn/1", "horn")
        await seen.until("playback.started")
        show = play.begin("t", "stage")
        await play.enqueue(show, piece(1, "One."))
        await seen.until("playback.started", 2)
        await play.stop(show)
    first = seen.of("playback.finished")[0]
    assert (first.turn_id, first.interrupted, sink.stopped) == ("horn", True, 2)  # type: ignore[union-attr]


async def test_panic_and_stop_end_the_sounds_that_play_and_wait() -> None:
    sink = ManualSink()
    bus, play, _ = player(sink)
    async with Watch(bus) as seen:
        for _ in range(6):
            play.play_effect(SECOND, "/api/audio/horn/1", "horn")
        with pytest.raises(BusyError, match="5 sounds wait"):
            play.play_effect(SECOND, "/api/audio/horn/1", "horn")
        await seen.until("playback.started")
        play.silence(True)
        await seen.until("playback.finished")
        with pytest.raises(ConflictError, match="panic"):
            play.play_effect(SECOND, "/api/audio/horn/1", "horn")
        play.silence(False)
        await seen.settle()
        assert len(seen.of("playback.started")) == 1
        play.play_effect(SECOND, "/api/audio/bell/1", "bell")
        await seen.until("playback.started", 2)
        assert play.stop_playing_again()
        await seen.until("playback.finished", 2)
        assert not play.stop_playing_again()


async def test_muting_is_silence_and_keeps_the_volume() -> None:
    sink = ManualSink()
    _, play, _ = player(sink)
    play.set_volume(0.7)
    play.set_volume(muted=True)
    assert (sink.volume, play.volume) == (0.0, 0.7)
    play.set_volume(muted=False)
    assert sink.volume == 0.7


async def test_a_stop_believes_the_sink_about_what_was_heard() -> None:
    class Exact(ManualSink):
        def __init__(self) -> None:
            super().__init__()
            self.silent = asyncio.Event()

        async def play(self, audio: Audio, progress: Progress) -> float:
            progress(0.0, -20.0)
            await self.silent.wait()
            return 0.5

        def stop(self) -> None:
            self.silent.set()

    bus, play, _ = player(Exact())
    async with Watch(bus) as seen:
        show = play.begin("t", "stage")
        await play.enqueue(show, piece(1, "aaa bbb ccc ddd"))
        await play.enqueue(show, piece(2, "Never."))
        await seen.until("playback.position")
        await play.stop(show)
    assert show.heard_text == "aaa bbb"
    finished = seen.of("playback.finished")
    assert [e.interrupted for e in finished] == [True]  # type: ignore[union-attr]


async def test_a_device_that_fails_again_and_again_is_told_once_until_it_works(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "RETRY_DEVICE_S", 0.0)

    class Flaky(ManualSink):
        works = False

        async def play(self, audio: Audio, progress: Progress) -> float:
            if not self.works:
                raise RuntimeError("driver went away")
            return audio.duration_s

    sink = Flaky()
    bus, play, cues = player(sink)
    async with Watch(bus) as seen:
        show = play.begin("t", "stage")
        for n in range(1, 4):
            await play.enqueue(show, piece(n, f"{n}.", cue="joy"))
        while len(show.heard) < 3:
            await asyncio.sleep(0)
        await seen.settle()
        assert len(seen.of("error.occurred")) == 1
        assert not seen.of("playback.started")
        sink.works = True
        await play.enqueue(show, piece(4, "4."))
        await play.finish(show)
    assert show.heard == ["1.", "2.", "3.", "4."]
    assert cues == ["joy"] * 3
    assert play.problem == ""
    assert len(seen.of("playback.started")) == 1


async def test_a_face_that_fails_costs_no_sentence() -> None:
    bus, play, _ = player(ManualSink())

    def broken(*_: object) -> None:
        raise RuntimeError("a bug")

    play._on_cue = broken
    async with Watch(bus), asyncio.timeout(5):
        show = play.begin("t", "stage")
        for n in range(1, 12):
            await play.enqueue(show, piece(n, f"{n}.", audio=None, cue="joy"))
        await play.finish(show)
    assert len(show.heard) == 11


async def test_ducking_is_a_share_of_the_volume_and_ends_with_the_speech() -> None:
    sink = ManualSink()
    bus, play, _ = player(sink)
    play.set_volume(0.8)
    async with Watch(bus) as seen:
        play.duck(True)
        assert (sink.volume, play.is_ducked) == (0.8, False)  # nothing speaks
        show = play.begin("t", "stage")
        await play.enqueue(show, piece(1, "One."))
        await seen.until("playback.started")
        assert play.is_speaking()
        assert not play.is_speaking("other")
        play.duck(True)
        play.duck(True)
        assert sink.volume == pytest.approx(0.2)
        assert play.volume == 0.8
        play.set_volume(0.4)
        assert sink.volume == pytest.approx(0.1)
        play.set_volume(muted=True)
        assert sink.volume == 0.0
        play.set_volume(muted=False)
        play.duck(False)
        assert sink.volume == 0.4
        play.duck(True)
        await sink.advance(1.0)
        await play.finish(show)
    assert sink.volume == 0.4
    assert not play.is_ducked
    assert not play.is_speaking()
    told = [e.is_ducked for e in seen.of("playback.ducked")]  # type: ignore[union-attr]
    assert told == [True, False, True, False]


async def test_an_interruption_undoes_the_ducking() -> None:
    sink = ManualSink()
    bus, play, _ = player(sink)
    async with Watch(bus) as seen:
        show = play.begin("t", "stage")
        await play.enqueue(show, piece(1, "One."))
        await seen.until("playback.started")
        play.duck(True)
        await play.stop(show)
    assert sink.volume == 1.0
    assert not play.is_ducked


async def test_the_next_sentence_is_told_while_one_sounds_and_the_volume_whenever_it_changes() -> (
    None
):
    sink = ManualSink()
    bus, play, _ = player(sink)
    async with Watch(bus) as seen:
        show = play.begin("t", "stage")
        await play.enqueue(show, piece(1, "One."))
        await play.enqueue(show, piece(2, "Two."))
        told = await seen.until("playback.next")
        assert (told.n, told.url) == (2, "/api/audio/x/2")  # type: ignore[union-attr]
        play.set_volume(0.5)
        play.set_volume(0.5)
        play.duck(True)
        play.set_volume(muted=True)
        await sink.advance(2.0)
        await play.finish(show)
    volumes = [event.volume for event in seen.of("playback.volume")]  # type: ignore[union-attr]
    assert volumes == [0.5, 0.125, 0.0]


async def test_what_plays_now_is_known_with_its_place_and_forgotten_after() -> None:
    sink = ManualSink()
    bus, play, _ = player(sink)
    assert play.now_playing() is None
    async with Watch(bus) as seen:
        show = play.begin("t", "stage")
        await play.enqueue(show, piece(1, "One two."))
        await seen.until("playback.started")
        await sink.advance(0.5)
        await seen.until("playback.position", 2)
        playing = play.now_playing()
        assert playing is not None
        assert playing.started.text == "One two."
        assert 0.5 <= playing.position_s <= 1.0
        assert play.now_playing("another") is None
        await sink.advance(0.5)
        await play.finish(show)
    assert play.now_playing() is None


@pytest.mark.parametrize(
    ("text", "ends"),
    [
        ("Hello there, you.", [5, 12, 17]),
        ("  two  words ", [5, 12]),
        ("日本語。", [1, 2, 3, 4]),
        ("", []),
    ],
)
def test_words_end_in_text_and_time_and_the_last_with_the_sound(text: str, ends: list[int]) -> None:
    found = module.word_times(text, 2.0)
    assert [word.end for word in found] == ends
    times = [word.end_s for word in found]
    assert times == sorted(times)
    assert not times or times[-1] == pytest.approx(2.0)


@pytest.mark.parametrize("audio", [SECOND, None])
async def test_what_waited_when_silence_was_asked_for_never_begins(audio: Audio | None) -> None:
    sink = ManualSink()
    bus, play, cues = player(sink)
    async with Watch(bus) as seen:
        show = play.begin("t", "stage")
        await play.enqueue(show, piece(1, "One.", audio=audio, cue="joy"))
        play.hush("t")  # before its turn has come; whoever makes the sentences ends later
        await play.enqueue(show, piece(2, "Two.", audio=audio))
        await seen.settle()
        await play.stop(show)
    assert (show.heard, cues) == ([], [])
    assert not sink.playing.is_set()
    assert seen.of("playback.started") == []


async def test_a_sentence_that_waits_for_a_sound_to_end_never_begins_after_silence() -> None:
    sink = ManualSink()
    bus, play, _ = player(sink)
    async with Watch(bus) as seen:
        play.play_effect(SECOND, "/api/audio/gong/1", "gong")
        await seen.until("playback.started")
        show = play.begin("t", "stage")
        await play.enqueue(show, piece(1, "One."))
        await seen.settle()
        play.hush("t")
        await sink.advance(1.0)
        await play.stop(show)
    assert show.heard == []
    assert [e.turn_id for e in seen.of("playback.started")] == ["gong"]
