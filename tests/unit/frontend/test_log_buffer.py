"""The rows behind the Logs tab: ring, filter, search, export."""

from __future__ import annotations

import csv
import json
from io import StringIO
from time import thread_time

import pytest

from backend.contracts.entities import Span
from backend.contracts.events import LogLine, TurnFinished
from frontend.widgets.log_buffer import (
    LogBuffer,
    LogFilter,
    LogRow,
    LogView,
    PatternError,
    Search,
    as_csv,
    as_jsonl,
    export_lines,
    one_line,
)


def row(text: str = "hello", **fields: object) -> LogRow:
    values: dict[str, object] = {
        "at_ms": 1_000_000,
        "level": 1,
        "source": "chat",
        "type": "log.line",
        "text": text,
    }
    return LogRow(**{**values, **fields})  # type: ignore[arg-type]


def filled(texts: list[str], capacity: int = 1_000, **fields: object) -> LogView:
    view = LogView(LogBuffer(capacity))
    for text in texts:
        add(view, row(text, **fields))
    return view


def add(view: LogView, new: LogRow) -> None:
    row_id = view.buffer.append(new)
    if row_id is not None:
        view.appended(row_id)


def finish(view: LogView) -> None:
    while view.is_working:
        view.work()


def texts(view: LogView) -> list[str]:
    return [view.buffer[row_id].text for row_id in view.shown_ids()]


# --- ring


def test_the_oldest_rows_leave_when_the_ring_is_full() -> None:
    view = filled([str(n) for n in range(25)], capacity=10)
    assert texts(view) == [str(n) for n in range(15, 25)]
    assert len(view.buffer) == 10
    assert sum(view.buffer.levels) == 10
    assert view.buffer.sources == {"chat": 10}


def test_a_row_that_left_cannot_be_read() -> None:
    view = filled(["a", "b", "c"], capacity=2)
    with pytest.raises(IndexError, match="row 0 is not held"):
        view.buffer[0]


def test_a_stored_event_is_held_once_however_often_it_arrives() -> None:
    view = filled([])
    for seq in (4, 5, 5, 4, 6):
        add(view, row(str(seq), seq=seq))
    assert view.buffer.prepend([row("3", seq=3), row("4", seq=4)]) == 1
    view.prepended(1)
    assert texts(view) == ["3", "4", "5", "6"]


def test_older_rows_are_added_only_while_there_is_room() -> None:
    view = filled(["live"], capacity=3)
    older = [row(str(n), seq=n) for n in range(1, 6)]
    assert view.buffer.prepend(older) == 2
    view.prepended(2)
    assert texts(view) == ["4", "5", "live"]


def test_the_histogram_counts_rows_warnings_and_errors_in_their_place() -> None:
    buffer = LogBuffer(100)
    for second, level in ((0, 1), (0, 3), (30, 2), (59, 1), (59, 1)):
        buffer.append(row(at_ms=1_000_000_000 + second * 1000, level=level))
    columns = buffer.histogram(6, 60, 1_000_000_000 + 60_000)
    assert columns == [(2, 0, 1), (0, 0, 0), (0, 0, 0), (1, 1, 0), (0, 0, 0), (2, 0, 0)]


def test_a_histogram_of_hours_counts_every_row() -> None:
    buffer = LogBuffer(100)
    for hour in range(5):
        buffer.append(row(at_ms=1_000_000_000_000 + hour * 3_600_000))
    columns = buffer.histogram(24, 6 * 3600, 1_000_000_000_000 + 5 * 3_600_000)
    assert sum(column[0] for column in columns) == 5


# --- what a row keeps


def test_an_event_becomes_one_readable_row_with_all_its_data() -> None:
    event = TurnFinished(
        number=7,
        outcome="done",
        total_ms=1234.5,
        conversation_id="stage",
        turn_id="t7",
        seq=99,
        spans=(Span(name="queue", stage="wait", start_ms=0, duration_ms=3),),
    )
    made = LogRow.of_event(event)
    assert made.text == "turn 7 done in 1,234 ms"
    assert (made.turn_id, made.seq, made.type) == ("t7", 99, "turn.finished")
    envelope = made.envelope()
    assert envelope["message"] == made.text
    assert envelope["data"]["spans"][0]["name"] == "queue"
    assert next(iter(envelope)) == "type"


def test_a_stored_envelope_makes_the_same_row_as_the_event_itself() -> None:
    event = LogLine(logger="x", text="hello", source="core", severity="WARNING")
    live, stored = LogRow.of_event(event), LogRow.of_envelope(event.envelope(5))
    assert (live.at_ms, live.level, live.text) == (stored.at_ms, stored.level, stored.text)
    assert stored.envelope()["data"] == live.envelope()["data"]


def test_an_envelope_of_nonsense_still_makes_a_row() -> None:
    made = LogRow.of_envelope({"severity": 7, "at": "yesterday", "seq": "x", "message": None})
    assert (made.at_ms, made.level, made.seq, made.text) == (0, 1, None, "")


def test_hostile_text_becomes_one_harmless_bounded_line() -> None:
    assert one_line("a\nb\tc\x1b[31m\u202egpj\u2066") == "a b c [31mgpj"
    assert len(one_line("x" * 1_000_000)) == 2_000


def test_an_enormous_event_is_kept_shortened() -> None:
    made = LogRow.of_event(LogLine(logger="x", text="y" * 200_000))
    assert len(made.raw) < 20_000
    assert made.envelope()["data"]["begins"].startswith('{"logger": "x", "text": "yyy')


# --- filter


def test_a_filter_shows_only_matching_levels_sources_types_and_turns() -> None:
    view = filled([])
    add(view, row("one", level=3, source="tts/piper", type="speech.ready", turn_id="t1"))
    add(view, row("two", level=1, source="tts", type="speech.ready", turn_id="t2"))
    add(view, row("three", level=1, source="ttsx", type="turn.started", turn_id="t1"))
    add(view, row("four", level=0, source="chat", type="turn.finished", turn_id="t1"))
    for wanted, left in (
        (LogFilter(frozenset({3})), ["one"]),
        (LogFilter(source="tts"), ["one", "two"]),
        (LogFilter(type="turn.*"), ["three", "four"]),
        (LogFilter(type="turn.finished"), ["four"]),
        (LogFilter(turn_id="t1"), ["one", "three", "four"]),
        (LogFilter(frozenset()), []),
        (LogFilter(), ["one", "two", "three", "four"]),
    ):
        view.set_filter(wanted)
        finish(view)
        assert texts(view) == left


def test_rows_that_arrive_while_a_filter_works_are_neither_lost_nor_doubled() -> None:
    view = filled([str(n) for n in range(3_000)], capacity=10_000)
    view.set_filter(LogFilter(levels=frozenset({1})))
    view.work(0.0)
    number = 3_000
    while view.is_working:
        add(view, row(str(number)))
        number += 1
        view.work(0.0)
    assert texts(view) == [str(n) for n in range(number)]


def test_a_filter_survives_rows_leaving_the_ring_meanwhile() -> None:
    view = filled([str(n) for n in range(5_000)], capacity=5_000)
    view.set_filter(LogFilter(levels=frozenset({1})))
    view.work(0.0)
    for n in range(5_000, 8_000):
        add(view, row(str(n)))
    finish(view)
    assert texts(view) == [str(n) for n in range(3_000, 8_000)]


def test_the_first_row_of_a_moment_is_found() -> None:
    view = filled([])
    for second in range(10):
        add(view, row(str(second), at_ms=second * 1000))
    assert view.index_at(4_500) == 5
    assert view.index_at(-1) == 0
    assert view.index_at(99_999) == 10


# --- search


def test_words_are_found_whatever_their_capitals_and_next_goes_round() -> None:
    view = filled(["First audio", "nothing", "the FIRST AUDIO again", "last"])
    view.set_search(Search("first audio"))
    finish(view)
    assert view.matches == 2
    assert view.match_number(2) == 2
    assert view.match_number(1) == 0
    assert view.next_match(0) == 2
    assert view.next_match(2) == 0
    assert view.next_match(0, forward=False) == 2


def test_a_pattern_is_found_and_its_places_are_marked() -> None:
    search = Search("tts|first.?audio", is_regex=True)
    view = filled(["first audio after 3 ms", "no", "TTS said"])
    view.set_search(search)
    finish(view)
    assert view.matches == 2
    assert search.places("first audio of tts") == [(0, 11), (15, 18)]


def test_marks_of_words_follow_the_text() -> None:
    assert Search("aB").places("xabxAB") == [(1, 3), (4, 6)]
    assert (
        Search("z").places("İz") == []
    )  # its small form is longer: better no mark than a wrong one


def test_a_wrong_pattern_is_explained_with_its_place() -> None:
    with pytest.raises(PatternError, match=r"Not a pattern: .* at character 12"):
        Search("first audio)", is_regex=True)
    with pytest.raises(PatternError, match="301 characters, 300 are allowed"):
        Search("x" * 301, is_regex=True)


def test_a_pattern_that_never_ends_is_stopped_and_explained() -> None:
    view = filled(["a" * 1_900 + "!"] * 200)
    view.set_search(Search("(a+)+$", is_regex=True))
    slices = []
    while view.is_working:
        begun = thread_time()
        view.work(0.004)
        slices.append(thread_time() - begun)
    assert "takes too long" in view.problem
    assert max(slices) < 0.05, "a slice holds the window up"
    add(view, row("a" * 1_900 + "!"))
    assert view.matches == 0


def test_new_rows_join_the_matches() -> None:
    view = filled(["alpha", "beta"])
    view.set_search(Search("alpha"))
    finish(view)
    add(view, row("alpha 2"))
    assert view.matches == 2


def test_rows_that_arrive_while_searching_are_found_too() -> None:
    view = filled(["x"] * 300, capacity=1_000)
    view.set_search(Search("x"))
    view.work(0.0)
    add(view, row("x"))
    finish(view)
    assert view.matches == 301


def test_only_matches_hides_everything_else() -> None:
    view = filled(["alpha", "beta", "alpha"])
    view.set_search(Search("alpha"))
    view.only_matches = True
    finish(view)
    assert texts(view) == ["alpha", "alpha"]
    view.set_search(None)
    assert len(view) == 3


def test_matches_of_rows_that_left_the_ring_are_forgotten() -> None:
    view = filled(["x"] * 10, capacity=10)
    view.set_search(Search("x"))
    finish(view)
    for _ in range(8):
        add(view, row("y"))
    assert view.matches == 2
    assert view.next_match(-1) == 8


def test_a_hundred_thousand_rows_are_filtered_and_searched_in_short_slices() -> None:
    view = filled([f"first audio after {n} ms" for n in range(100_000)], capacity=100_000)
    worst = 0.0
    view.set_filter(LogFilter(levels=frozenset({1}), source="chat"))
    view.set_search(Search("after 9"))
    while view.is_working:
        begun = thread_time()
        view.work(0.004)
        worst = max(worst, thread_time() - begun)
    assert view.matches == 11_111
    # 4 ms wanted, 8 ms allowed; Windows counts a thread's time in steps of 16 ms.
    assert worst < 0.05


# --- export


def test_a_csv_file_cannot_run_as_a_formula() -> None:
    evil = '=HYPERLINK("http://x","click")'
    cells = next(csv.reader(StringIO(as_csv(row(evil, source="@sum", raw='{"data": {}}')))))
    assert cells[6] == "'" + evil
    assert cells[2] == "'@sum"


def test_an_export_reads_back_as_what_was_shown() -> None:
    rows = [LogRow.of_event(LogLine(logger="a", text=f'line "{n}", ü')) for n in range(3)]
    lines = list(export_lines(rows, "jsonl"))
    assert [json.loads(line)["message"] for line in lines] == [one.text for one in rows]
    table = list(csv.DictReader(StringIO("".join(export_lines(rows, "csv")))))
    assert [line["message"] for line in table] == [one.text for one in rows]
    assert json.loads(table[0]["data"])["logger"] == "a"
    assert as_jsonl(rows[0]).endswith("}\n")
