"""The model of the conflict timeline: bars and rows out of lines and sounds."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from backend.contracts.avatar import CueEntry
from backend.contracts.entities import STAGE
from backend.contracts.events import PlaybackFinished, PlaybackStarted
from frontend.timeline import KEPT_BARS, MARK_S, Timeline

T0 = datetime(2026, 3, 14, 20, 0, tzinfo=UTC)
S0 = T0.timestamp()


def line(number: int, at_s: float, outcome: str, name: str = "joy", **more: Any) -> CueEntry:
    fields: dict[str, Any] = {"kind": "expression", "owner": "chat", "character_id": "hoshi"}
    return CueEntry(
        id=number,
        at=T0 + timedelta(seconds=at_s),
        name=name,
        outcome=outcome,
        **(fields | more),
    )


def sound(n: int, at_s: float, text: str = "Hello.", where: str = STAGE) -> PlaybackStarted:
    return PlaybackStarted(
        turn_id="t",
        n=n,
        text=text,
        url="/x",
        duration_s=2,
        sink="speaker",
        conversation_id=where,
        at=T0 + timedelta(seconds=at_s),
    )


def silence(at_s: float, *, interrupted: bool = False) -> PlaybackFinished:
    return PlaybackFinished(
        turn_id="t",
        heard="",
        interrupted=interrupted,
        conversation_id=STAGE,
        at=T0 + timedelta(seconds=at_s),
    )


def made(*lines: CueEntry) -> Timeline:
    timeline = Timeline()
    for one in lines:
        timeline.add(one)
    return timeline


def test_a_face_that_yields_and_comes_back_is_one_bar_of_three_pieces() -> None:
    timeline = made(
        line(1, 0, "shown"),
        line(2, 1, "shown", "angry", owner="command", priority=10),
        line(1, 1, "preempted", by="command"),
        line(2, 3, "expired", "angry", owner="command", is_final=True),
        line(1, 3, "resumed"),
        line(1, 5, "finished", is_final=True),
    )
    first, second = timeline.bars()
    assert [
        (piece.phase, piece.start_s - S0, (piece.end_s or 0) - S0) for piece in first.pieces
    ] == [
        ("shown", 0, 1),
        ("waiting", 1, 3),
        ("shown", 3, 5),
    ]
    assert first.pieces[1].by == "command"
    assert (second.end_s or 0) - S0 == 3
    assert not timeline.is_open


def test_the_top_row_is_what_was_seen_and_what_waits_lies_in_rows_below_that_are_used_again() -> (
    None
):
    timeline = made(
        line(1, 0, "shown"),
        line(2, 1, "shown", "angry"),
        line(1, 1, "preempted"),
        line(3, 2, "scheduled", "shy"),
        line(1, 3, "expired", is_final=True),
        line(4, 4, "scheduled", "sad"),
    )
    rows = [(bar.name, [(p.phase, p.row) for p in bar.pieces]) for bar in timeline.bars()]
    assert rows == [
        ("joy", [("shown", 0), ("waiting", 1)]),
        ("angry", [("shown", 0)]),
        ("shy", [("scheduled", 2)]),
        ("sad", [("scheduled", 1)]),
    ]


def test_more_than_fit_lie_in_the_last_row() -> None:
    timeline = made(*[line(n, n, "scheduled", f"face {n}") for n in range(9)])
    assert [bar.pieces[0].row for bar in timeline.bars()] == [1, 2, 3, 3, 3, 3, 3, 3, 3]


def test_a_scheduled_face_whose_sentence_is_never_heard_ends_with_a_mark() -> None:
    timeline = made(
        line(1, 0, "scheduled", sentence=2),
        line(1, 4, "dropped", reason="the sentence was never heard", is_final=True),
    )
    (bar,) = timeline.bars()
    assert [piece.phase for piece in bar.pieces] == ["scheduled", "lost"]
    assert bar.end_s == S0 + 4 + MARK_S
    words = bar.sentence_of(S0 + 9)
    assert words.endswith("dropped: the sentence was never heard")
    assert "sentence 2" in words


def test_a_refused_wish_is_a_mark_that_keeps_no_row() -> None:
    timeline = made(line(1, 0, "refused", "flip", kind="motion", is_final=True))
    (bar,) = timeline.bars()
    assert [piece.phase for piece in bar.pieces] == ["lost"]
    assert not timeline.is_open


def test_a_motion_that_yields_for_good_ends_there() -> None:
    timeline = made(
        line(1, 0, "shown", "wave", kind="motion"),
        line(1, 1, "preempted", "wave", kind="motion", by="api", is_final=True),
    )
    (bar,) = timeline.bars()
    assert bar.end_s == S0 + 1
    assert "pre-empted by the API" in bar.sentence_of(S0 + 2)


def test_the_same_line_twice_changes_nothing() -> None:
    timeline = made(line(1, 0, "shown"))
    version = timeline.version
    timeline.add(line(1, 0, "shown"))
    assert (timeline.version, timeline.total, len(timeline.bars())) == (version, 1, 1)


def test_sentences_follow_each_other_in_the_lane_of_her_voice() -> None:
    timeline = Timeline()
    assert timeline.on_event(sound(1, 0))
    assert timeline.on_event(sound(2, 2, "And then."))
    assert timeline.is_open
    assert timeline.on_event(silence(3, interrupted=True))
    spoken = [(bar.name, bar.start_s - S0, (bar.end_s or 0) - S0) for bar in timeline.bars()]
    assert spoken == [("Hello.", 0, 2), ("And then.", 2, 3)]
    assert timeline.bars()[1].outcome == "interrupted"
    assert not timeline.is_open


def test_a_sound_of_another_conversation_is_not_on_the_stage() -> None:
    timeline = Timeline()
    assert not timeline.on_event(sound(1, 0, where="client-7"))
    assert timeline.bars() == []


def test_loading_replaces_lines_and_keeps_the_sound() -> None:
    timeline = made(line(1, 0, "shown"))
    timeline.on_event(sound(1, 0))
    timeline.load([line(5, 2, "shown", "shy"), line(4, 1, "shown", "smug")])
    assert [bar.name for bar in timeline.bars()] == ["Hello.", "smug", "shy"]
    assert [entry.name for entry in timeline.lines] == ["smug", "shy"]


def test_only_what_touches_the_stretch_is_given() -> None:
    timeline = made(
        line(1, 0, "shown"),
        line(1, 1, "expired", is_final=True),
        line(2, 5, "shown", "angry"),
    )
    now = S0 + 60
    assert [bar.name for bar in timeline.between(S0 + 2, S0 + 4, now)] == []
    assert [bar.name for bar in timeline.between(S0 + 40, S0 + 50, now)] == ["angry"]
    assert [bar.name for bar in timeline.between(S0, S0 + 0.5, now)] == ["joy"]


def test_an_evening_of_wishes_is_bounded_and_the_newest_stay() -> None:
    timeline = Timeline()
    for number in range(KEPT_BARS + 500):
        timeline.add(line(number, number, "shown"))
        timeline.add(line(number, number + 0.5, "expired", is_final=True))
    bars = timeline.bars()
    assert len(bars) == KEPT_BARS
    assert bars[-1].key == f"expression:{KEPT_BARS + 499}"
    assert timeline.bar_of(line(3, 3, "shown")) is None
    assert not timeline.is_open
