"""The Logs tab in a real window."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from time import thread_time
from typing import Any

import pytest

from backend.contracts.events import ErrorOccurred, LogLine
from frontend.client import Connection, Failure, ForeignEvent
from frontend.tabs.logs import LogsTab
from tests.gui.stand import Stand, words_on

pytestmark = pytest.mark.gui


def line(text: str, **fields: Any) -> LogLine:
    return LogLine(**{"logger": "test", "text": text, "source": "core", **fields})


def stored(count: int, first: int = 1) -> list[dict[str, Any]]:
    return [line(f"stored {n}").envelope(seq=n) for n in range(first + count - 1, first - 1, -1)]


@pytest.fixture
def stand() -> Iterator[Stand]:
    made = Stand({"GET /api/events": []})
    yield made
    made.close()


def rows_in_sight(tab: LogsTab) -> list[str]:
    shown = words_on(tab.list)
    return [text for text in shown if len(text) > 1]


def fill(stand: Stand, tab: LogsTab, count: int, **fields: Any) -> None:
    stand.feed(*[line(f"line {n}", **fields) for n in range(count)])
    stand.settle(lambda: len(tab.view) == count and bool(tab.list.winfo_viewable()))
    tab.list.redraw()


def test_a_live_line_is_shown_with_its_time_source_type_and_sentence(stand: Stand) -> None:
    tab = stand.hold(LogsTab)
    stand.feed(line("the kettle is angry", severity="WARNING"))
    stand.settle(lambda: "the kettle is angry" in words_on(tab.list))
    assert {"W", "core", "log.line"} <= set(words_on(tab.list))
    stand.settle(lambda: tab.levels[2].count == "1")


def test_an_event_type_this_window_does_not_know_is_shown_all_the_same(stand: Stand) -> None:
    tab = stand.hold(LogsTab)
    stand.feed(ForeignEvent(type="robot.waved", text="it waved", fields={"hand": "left"}))
    stand.settle(lambda: "it waved" in words_on(tab.list))
    tab.list.select(tab.view.row_id(0))
    assert '"hand": "left"' in tab.details.json.get("1.0", "end")


def test_stored_events_are_loaded_at_the_start_and_older_ones_at_the_top(stand: Stand) -> None:
    def page(params: dict[str, Any]) -> list[dict[str, Any]]:
        before = params.get("before_seq", 701)
        return stored(min(300, before - 1), max(1, before - 300))

    stand.backend.answers["GET /api/events"] = page
    tab = stand.hold(LogsTab)
    stand.settle(lambda: len(tab.view) == 300 and bool(tab.list.winfo_viewable()))
    tab.list.focus_force()
    tab.list.event_generate("<Home>")
    stand.settle(lambda: len(tab.buffer) == 600)
    tab.list.redraw()
    tab.list.event_generate("<Home>")
    stand.settle(lambda: len(tab.buffer) == 700)
    asked = len(stand.backend.asked)
    tab.list.event_generate("<Home>")
    stand.settle()
    assert len(stand.backend.asked) == asked, "there is nothing older to ask for"
    assert tab.buffer[tab.view.row_id(0)].text == "stored 1"


def test_a_failed_load_says_why_and_can_be_tried_again(stand: Stand) -> None:
    stand.backend.answers["GET /api/events"] = Failure("unreachable", "The backend sleeps.")
    tab = stand.hold(LogsTab)
    stand.settle(lambda: "The backend sleeps." in words_on(tab.card))
    stand.backend.answers["GET /api/events"] = stored(3)
    tab.card.invoke("way_out")
    stand.settle(lambda: len(tab.buffer) == 3)


def test_scrolling_up_pauses_counts_what_is_newer_and_end_follows_again(stand: Stand) -> None:
    tab = stand.hold(LogsTab)
    fill(stand, tab, 200)
    tab.list.event_generate("<Button-4>", x=50, y=50)
    assert not tab.list.following
    tab.list.redraw()
    before = rows_in_sight(tab)
    stand.feed(*[line(f"more {n}") for n in range(25)])
    stand.settle(lambda: len(tab.view) == 225)
    tab.list.redraw()
    assert rows_in_sight(tab) == before, "rows moved under the pointer"
    stand.settle(lambda: any("28 newer" in text for text in words_on(tab.card)))
    tab.list.focus_force()
    tab.list.event_generate("<End>")
    tab.list.redraw()
    assert tab.list.following
    assert "more 24" in rows_in_sight(tab)


def test_level_chips_hide_and_count_rows(stand: Stand) -> None:
    tab = stand.hold(LogsTab)
    stand.feed(line("quiet", severity="DEBUG"), line("loud", severity="ERROR"))
    stand.settle(lambda: "loud" in words_on(tab.list))
    tab.levels[0].invoke()
    stand.settle(lambda: "quiet" not in words_on(tab.list))
    assert tab.levels[0].count == "1"
    assert stand.state["logs.levels_off"] == ["DEBUG"]


def test_sources_and_types_seen_can_be_chosen(stand: Stand) -> None:
    tab = stand.hold(LogsTab)
    stand.feed(line("a", source="tts/piper"), ErrorOccurred(code="x", reason="b", source="llm"))
    stand.settle(lambda: [c.value for c in tab.source.choices] == ["", "llm", "tts", "tts/piper"])
    tab.source._chosen("tts")
    stand.settle(lambda: len(tab.view) == 1)
    tab.source._chosen("")
    tab.type._chosen("error.occurred")
    stand.settle(lambda: [tab.buffer[n].text for n in tab.view.shown_ids()] == ["b"])


def test_search_marks_matches_and_walks_through_them(stand: Stand) -> None:
    tab = stand.hold(LogsTab)
    fill(stand, tab, 100)
    tab.search.entry.insert(0, "line 9")
    stand.settle(lambda: tab.found.cget("text") == "11 found")
    tab.search.entry.focus_force()
    tab.search.entry.event_generate("<Return>")
    assert tab.found.cget("text") == "1 of 11"
    tab.find_next(forward=True)
    assert tab.found.cget("text") == "2 of 11"
    tab.find_next(forward=False)
    tab.find_next(forward=False)
    assert tab.found.cget("text") == "11 of 11"
    assert tab.buffer[tab.list.selected].text == "line 99"
    tab.list.redraw()
    marks = [
        mark
        for shown in tab.list._lines
        for mark in shown.marks
        if tab.list.itemcget(mark, "state") == "normal"
    ]
    assert len(marks) >= 10


def test_a_wrong_pattern_is_explained_on_the_tab(stand: Stand) -> None:
    tab = stand.hold(LogsTab)
    fill(stand, tab, 3)
    tab.regex.invoke()
    tab.search.entry.insert(0, "line (")
    stand.settle(lambda: tab.trouble.cget("text").startswith("Not a pattern: missing )"))
    assert tab.search.trouble
    tab.search.entry.insert("end", ")")
    stand.settle(lambda: tab.found.cget("text") == "3 found")
    assert not tab.search.trouble


def test_a_pattern_without_end_never_freezes_the_window(stand: Stand) -> None:
    tab = stand.hold(LogsTab)
    stand.feed(*[line("a" * 1_500 + "!") for _ in range(50)])
    stand.settle(lambda: len(tab.view) == 50)
    tab.regex.invoke()
    tab.search.entry.insert(0, "(a+)+$")
    begun = thread_time()
    stand.settle(lambda: "takes too long" in tab.trouble.cget("text"))
    assert thread_time() - begun < 3


def test_only_matches_hides_the_rest(stand: Stand) -> None:
    tab = stand.hold(LogsTab)
    fill(stand, tab, 20)
    tab.search.entry.insert(0, "line 1")
    stand.settle(lambda: tab.view.matches == 11)
    tab.only.invoke()
    stand.settle(lambda: "line 2" not in words_on(tab.list))
    assert len(tab.view) == 11


def test_a_chosen_row_shows_its_sentence_facts_and_json(stand: Stand) -> None:
    tab = stand.hold(LogsTab)
    stand.feed(line("it broke", turn_id="t9", severity="ERROR", traceback="Traceback:\n  deep"))
    stand.settle(lambda: "it broke" in words_on(tab.list))
    tab.list.focus_force()
    tab.list.event_generate("<Up>")
    stand.settle(lambda: "it broke" in words_on(tab.details))
    assert {"error", "core", "t9"} <= set(words_on(tab.details))
    shown = tab.details.json.get("1.0", "end")
    assert shown.startswith("Traceback:\n  deep")
    assert '"severity": "ERROR"' in shown
    tab.list.event_generate("<Return>")
    assert stand.turns == ["t9"]
    tab.details.invoke("copy")
    assert json.loads(tab.clipboard_get())["turn_id"] == "t9"


def test_only_this_turn_filters_and_can_be_taken_back(stand: Stand) -> None:
    tab = stand.hold(LogsTab)
    stand.feed(line("mine", turn_id="t1"), line("other", turn_id="t2"))
    stand.settle(lambda: len(tab.view) == 2)
    tab.list.select(tab.view.row_id(0))
    stand.settle()
    tab.details.invoke("only")
    stand.settle(lambda: len(tab.view) == 1)
    tab.turn.invoke()
    stand.settle(lambda: len(tab.view) == 2)


def test_rows_are_copied_as_lines_of_text(stand: Stand) -> None:
    tab = stand.hold(LogsTab)
    fill(stand, tab, 5)
    tab.list.focus_force()
    tab.list.event_generate("<Up>")
    tab.list.event_generate("<Shift-Up>")
    tab.list.event_generate("<Control-c>")
    copied = tab.clipboard_get().splitlines()
    assert [text.split("  ")[-1] for text in copied] == ["line 3", "line 4"]


@pytest.mark.parametrize("suffix", [".jsonl", ".csv"])
def test_the_rows_shown_are_exported(stand: Stand, tmp_path: Path, suffix: str) -> None:
    tab = stand.hold(LogsTab)
    fill(stand, tab, 120)
    target = tmp_path / f"out{suffix}"
    tab.export_to(target)
    stand.settle(lambda: bool(stand.notices))
    assert stand.notices == [(f"120 rows were written to {target}.", "ok")]
    text = target.read_text(encoding="utf-8")
    if suffix == ".csv":
        found = [row["message"] for row in csv.DictReader(text.splitlines())]
    else:
        found = [json.loads(row)["message"] for row in text.splitlines()]
    assert found == [f"line {n}" for n in range(120)]


def test_an_export_that_cannot_be_written_says_so(stand: Stand, tmp_path: Path) -> None:
    tab = stand.hold(LogsTab)
    fill(stand, tab, 1)
    tab.export_to(tmp_path / "missing" / "out.csv")
    stand.settle(lambda: bool(stand.notices))
    assert stand.notices[0][1] == "error"
    assert "could not be written: No such file or directory." in stand.notices[0][0]


def test_lines_gathered_before_the_first_load_lie_among_the_stored_events_by_time(
    stand: Stand,
) -> None:
    begun = datetime(2026, 1, 1, tzinfo=UTC)

    def at(minute: int) -> datetime:
        return begun + timedelta(minutes=minute)

    stand.backend.answers["GET /api/events"] = [
        line(f"stored {n}", at=at(n)).envelope(seq=n) for n in (6, 4, 2)
    ]
    tab = stand.hold(LogsTab, connect=False)
    stand.feed(line("live 3", at=at(3)), line("live 5", at=at(5)))
    tab.on_connected()
    stand.settle(lambda: len(tab.view) == 5)
    shown = [tab.buffer[n].text for n in tab.view.shown_ids()]
    assert shown == ["stored 2", "live 3", "stored 4", "live 5", "stored 6"]


def test_a_new_database_replaces_the_stored_rows_and_keeps_the_live_ones(stand: Stand) -> None:
    stand.backend.answers["GET /api/events"] = stored(5, first=100)
    tab = stand.hold(LogsTab)
    stand.settle(lambda: len(tab.view) == 5)
    stand.feed(line("a live line"))
    stand.settle(lambda: len(tab.view) == 6)
    stand.backend.connection = Connection("connected", "http://127.0.0.1:1", reset=True)
    stand.backend.answers["GET /api/events"] = [line("first of all").envelope(seq=1)]
    tab.on_connected()
    stand.settle(lambda: len(tab.view) == 2 and not tab.view.is_working)
    stand.feed(line("next", seq=2))
    stand.settle(lambda: len(tab.view) == 3)
    assert {tab.buffer[n].text for n in tab.view.shown_ids()} == {
        "a live line", "first of all", "next",
    }  # fmt: skip


def test_what_was_stored_while_the_window_was_away_is_added(stand: Stand) -> None:
    def events(params: dict[str, Any]) -> list[dict[str, Any]]:
        return stored(3, first=6)[::-1] if "after_seq" in params else stored(5)

    stand.backend.answers["GET /api/events"] = events
    tab = stand.hold(LogsTab)
    stand.settle(lambda: len(tab.view) == 5)
    tab.on_connected()
    stand.settle(lambda: len(tab.view) == 8)
    assert [tab.buffer[n].seq for n in tab.view.shown_ids()] == list(range(1, 9))


def test_a_click_in_the_histogram_jumps_there(stand: Stand) -> None:
    tab = stand.hold(LogsTab)
    fill(stand, tab, 200)
    tab.histogram.redraw()
    tab.histogram.event_generate("<ButtonPress-1>", x=20, y=20)
    assert not tab.list.following
    assert tab.list.is_at_top


@pytest.mark.parametrize("size", [(828, 522), (560, 380), (2560, 1400)])
def test_every_size_shows_the_list_and_a_way_to_search(stand: Stand, size: tuple[int, int]) -> None:
    stand.root.geometry(f"{size[0]}x{size[1]}")
    tab = stand.hold(LogsTab)
    fill(stand, tab, 50)
    tab.list.select(tab.view.row_id(49))
    stand.settle()
    for widget in (tab.search, tab.list, tab.type, tab.histogram):
        assert widget.winfo_ismapped()
        assert widget.winfo_rootx() + widget.winfo_width() <= tab.winfo_rootx() + tab.winfo_width()
    assert tab.list.winfo_height() >= 60


def test_a_thousand_events_a_second_leave_the_window_free(stand: Stand) -> None:
    """50 drains of 20 events each, as a window ticking every 20 ms sees them; the whole second must cost far less."""
    tab = stand.hold(LogsTab)
    fill(stand, tab, 100)
    worst, total = 0.0, 0.0
    for number in range(50):
        events = [line(f"burst {number} {n}") for n in range(20)]
        begun = thread_time()
        stand.feed(*events)
        stand.root.update()
        took = thread_time() - begun
        worst, total = max(worst, took), total + took
    stand.settle(lambda: len(tab.buffer) == 1_100)
    assert total < 0.6, "the tab eats the window's time"
    assert worst < 0.1


def test_switching_the_theme_recolours_the_rows(stand: Stand) -> None:
    tab = stand.hold(LogsTab)
    fill(stand, tab, 3)
    stand.theme.change("light")
    tab.on_theme()
    stand.settle()
    assert tab.list.cget("background") == "#FFFFFF"
    assert tab.list.itemcget(tab.list._lines[0].message, "fill") == "#171A20"
