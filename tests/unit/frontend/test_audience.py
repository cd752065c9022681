"""What the window keeps of the audience: figures, topics, and hostile words made calm; all of it bounded."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from backend.contracts.audience import (
    AudienceMessage,
    MessageRecord,
    QueuedMessage,
    Verdict,
    Viewer,
    ViewerEvent,
)
from backend.contracts.events import AudienceDid, AudienceWrote, ChatDisposition, QueueChanged
from frontend.audience import MOST_LINES, Audience, look_of, plain, why
from frontend.rules.triggers_page import quiet_lines, quiet_of
from frontend.twitch_window import channel_of
from frontend.widgets.figure_row import figures_of
from frontend.widgets.queue_list import words_of
from tests.gui.stand import TableBackend

AT = datetime(2026, 3, 14, 20, 15, tzinfo=UTC)


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def message(number: int, name: str = "moss", text: str = "hello", **more: Any) -> AudienceMessage:
    viewer = Viewer(platform="twitch", id=name, name=name)
    given: dict[str, Any] = {"at": AT, **more}
    return AudienceMessage(id=f"m{number}", platform="twitch", viewer=viewer, text=text, **given)


def became(number: int, name: Any, after_s: float = 0, **more: Any) -> ChatDisposition:
    at = AT + timedelta(seconds=after_s)
    return ChatDisposition(message_id=f"m{number}", disposition=name, at=at, **more)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def audience(clock: Clock) -> Audience:
    return Audience(TableBackend(), lambda failure: None, clock)


def test_figures_count_what_was_answered_and_how_long_it_waited(audience: Audience) -> None:
    for number, name in enumerate(("ann", "bo", "cy", "ann")):
        audience.on_event(AudienceWrote(said=message(number, name)))
    audience.on_event(became(0, "answering", 4, turn_id="t1"))
    audience.on_event(became(0, "answered", 9, turn_id="t1"))
    audience.on_event(became(1, "merged", into="m0"))
    audience.on_event(became(2, "filtered", rule="links"))
    audience.on_event(became(3, "too-old"))

    now = audience.figures()

    assert (now.per_minute, now.chatters, now.decided, now.answered) == (4, 3, 4, 2)
    assert (now.waits_s, now.stopped, now.share) == ((4.0,), 1, 0.5)
    assert [one.value for one in figures_of(audience)] == ["4/min", "50 %", "4.0 s", "1"]


def test_figures_forget_what_is_older_than_ten_minutes(audience: Audience, clock: Clock) -> None:
    audience.on_event(AudienceWrote(said=message(0)))
    audience.on_event(became(0, "answered"))
    clock.now += 61
    assert (audience.figures().per_minute, audience.figures().chatters) == (0, 1)
    clock.now += 600
    now = audience.figures()
    assert (now.chatters, now.decided) == (0, 0)
    assert sum(bucket.messages for bucket in audience.history(60, 6)) == 1


def test_one_message_that_comes_twice_is_one_line(audience: Audience) -> None:
    audience.on_event(AudienceWrote(said=message(0)))
    audience.on_event(AudienceWrote(said=message(0)))
    assert len(audience.lines) == 1
    assert audience.figures().per_minute == 1


def test_a_deletion_after_the_end_is_not_counted_twice(audience: Audience) -> None:
    audience.on_event(AudienceWrote(said=message(0)))
    audience.on_event(became(0, "merged", into="m9"))
    audience.on_event(became(0, "deleted"))
    assert audience.figures().decided == 1
    assert look_of(audience.lines[0], audience).words == "deleted"


def test_a_raid_is_a_line_and_no_message(audience: Audience) -> None:
    viewer = Viewer(platform="twitch", id="o", name="otter")
    raid = ViewerEvent(id="e1", platform="twitch", kind="raid", viewer=viewer, amount=40, at=AT)
    audience.on_event(AudienceDid(what=raid))
    audience.on_event(AudienceDid(what=raid))
    (line,) = audience.lines
    assert (line.message.text, look_of(line, audience).words) == ("raids with 40 viewers", "raid")
    assert line.group == "all"
    assert audience.figures().per_minute == 0


def test_the_queue_shows_what_she_is_told() -> None:
    covered = Verdict(action="mask", rule="private", text="my number is ****")
    item = QueuedMessage(message=message(0, text="my number is 555"), score=1, verdict=covered)
    assert words_of(item) == "my number is ****"


def test_what_was_missed_comes_in_its_place_when_the_backend_is_back(audience: Audience) -> None:
    audience.on_event(AudienceWrote(said=message(0)))
    audience.on_event(AudienceWrote(said=message(9, at=AT + timedelta(seconds=9))))
    stored = [
        MessageRecord(
            seq=n, message_id=f"m{n}", platform="twitch", channel="mika", viewer_id="moss",
            author="moss", role="viewer", text="hello", bits=0, at=AT + timedelta(seconds=n),
            disposition=what, reason="", rule="", into="", turn_id=None, decided_at=AT,
        )
        for n, what in ((5, "skipped"), (0, "answered"))
    ]  # fmt: skip
    backend = audience._client
    assert isinstance(backend, TableBackend)
    backend.answers["GET /api/dispositions"] = [one.model_dump(mode="json") for one in stored]
    audience.load()
    backend.deliver()
    assert [line.message.id for line in audience.lines] == ["m0", "m5", "m9"]
    assert [line.disposition for line in audience.lines] == ["answered", "skipped", None]


def test_a_flood_keeps_the_newest_lines_only(audience: Audience) -> None:
    for number in range(MOST_LINES + 50):
        audience.on_event(AudienceWrote(said=message(number, f"v{number}")))
    assert len(audience.lines) == MOST_LINES
    assert audience.dropped == 50
    assert audience.line("m0") is None
    assert audience.line(f"m{MOST_LINES + 49}") is not None


def test_the_chip_and_the_reason_say_what_became_of_a_line(audience: Audience) -> None:
    said = message(0, "ossi")
    audience.on_event(AudienceWrote(said=said))
    line = audience.lines[0]
    assert look_of(line, audience).words == "just in"
    audience.on_event(became(0, "queued"))
    item = QueuedMessage(message=said, score=20, reasons=("question +10", "cheer +10"))
    audience.on_event(QueueChanged(waiting=(item,), total=3))
    assert look_of(line, audience).words == "next"
    assert why(line, audience) == "Place 1 of 3: question +10, cheer +10"
    audience.on_event(became(0, "held", rule="links", reason="an address of a page"))
    assert look_of(line, audience).words == "held: links"
    assert "by the rule links: an address of a page" in why(line, audience)


def test_topics_are_words_that_several_people_use(audience: Audience) -> None:
    texts = (("a", "the kettle again"), ("b", "KETTLE!"), ("a", "kettle kettle lantern"))
    for number, (name, text) in enumerate(texts):
        audience.on_event(AudienceWrote(said=message(number, name, text)))
    assert audience.topics() == [("kettle", 2)]


@pytest.mark.parametrize(
    ("hostile", "calm"),
    [
        ("a\u202eb\u2066c", "abc"),
        ("z\u0300\u0301\u0302\u0303\u0304\u0305a", "z\u0300\u0301a"),
        ("a\u200b\u200bb\nc", "ab c"),
        ("x" * 5000, "x" * 400),
        (
            "\U0001f468\u200d\U0001f469\u200d\U0001f467",
            "\U0001f468\u200d\U0001f469\u200d\U0001f467",
        ),
    ],
)
def test_hostile_text_becomes_one_calm_line(hostile: str, calm: str) -> None:
    assert plain(hostile) == calm


@pytest.mark.parametrize(
    ("typed", "name"),
    [
        ("https://www.twitch.tv/Mika_Live/", "mika_live"),
        ("@mika", "mika"),
        (" #mika ", "mika"),
        ("two words", ""),
        ("x" * 26, ""),
        ("\u043c\u0438\u043a\u0430", ""),
    ],
)
def test_a_channel_is_found_in_what_people_paste(typed: str, name: str) -> None:
    assert channel_of(typed) == name


def test_quiet_hours_are_read_as_people_write_them() -> None:
    hours = quiet_of(["23:00-8:00", "12:00 \u2013 13:30  Sat, sun"])
    assert quiet_lines(hours) == ["23:00-08:00", "12:00-13:30 sat sun"]
    for wrong in ("25:00-08:00", "08:00-08:00", "at night", "23:00-08:00 someday"):
        with pytest.raises(ValueError, match="\u201c"):
            quiet_of([wrong])
