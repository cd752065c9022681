"""The Stream tab: lines and what became of them, the queue, autonomy, the Twitch login and the editors of rules."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from time import thread_time
from typing import Any

import pytest

from backend.contracts.audience import (
    AudienceMessage,
    ChannelState,
    CustomCommand,
    KnownCommand,
    MessageRecord,
    QueuedMessage,
    QueueRules,
    QueueState,
    StageSound,
    StreamState,
    Viewer,
)
from backend.contracts.autonomy import (
    AutonomyState,
    Deed,
    DryRun,
    MoodState,
    Silence,
    Trigger,
    TriggerRules,
    TriggerState,
)
from backend.contracts.events import (
    AudienceWrote,
    ChannelChanged,
    ChannelWrote,
    ChatDisposition,
    QueueChanged,
    StreamChanged,
    TwitchLoginChanged,
)
from backend.contracts.twitch import TwitchLogin, TwitchState
from frontend.audience import MOST_LINES
from frontend.client import Failure
from frontend.rules_window import RulesWindow
from frontend.twitch_window import TwitchWindow
from tests.gui.scene import Scene, scene, wire
from tests.gui.stand import words_on

pytestmark = pytest.mark.gui

OFF = TwitchState(channel=ChannelState(platform="twitch", state="off"), login=TwitchLogin())
MOOD = MoodState(
    mood="happy",
    words="happy, a little smug",
    valence=0.5,
    pleasure=0.74,
    energy=0.72,
    talkativeness=0.5,
    style="casual",
)
SILENCE = Trigger(
    id="silence", title="Silence breaker", when=Silence(seconds=90), do=Deed(texts=("So...",))
)
STATE = AutonomyState(
    is_on=True,
    mood=MOOD,
    triggers=(
        TriggerState(
            id="silence", title="Silence breaker", when="after 90 s", group="idle", priority=50,
            readiness="coming", in_s=48, of_s=90,
        ),
    ),
)  # fmt: skip
COMMAND = CustomCommand(name="discord", action="text", value="Come to our Discord")
PROFILE = {
    "name": "standard", "title": "Standard", "description": "", "exempt": ["broadcaster"],
    "safe_lines": ["Next question, please."],
    "rules": [
        {"name": "links", "kind": "links", "on": True, "family": False, "incoming": "hold", "outgoing": "mask", "exempt": None, "allow": []},
        {"name": "length", "kind": "length", "on": True, "family": False, "incoming": "ignore", "outgoing": "allow", "exempt": None, "most": 500},
    ],
}  # fmt: skip
MODERATION = {
    "profile": PROFILE,
    "family": False,
    "problem": "",
    "profiles": [{"name": "standard", "title": "Standard", "shipped": True, "problem": ""}],
    "lists": [],
    "llm": "off",
}
ANSWERS: dict[str, Any] = {
    "GET /api/queue": wire(QueueState()),
    "GET /api/queue/rules": wire(QueueRules()),
    "PUT /api/queue/rules": lambda body: body,
    "GET /api/dispositions": [],
    "GET /api/twitch": wire(OFF),
    "GET /api/autonomy": wire(STATE),
    "POST /api/autonomy/dry-run": wire(
        DryRun(
            would="says: So...", why="it was quiet for 90 s", feels="Right now you feel content."
        )
    ),
    "POST /api/modules/autonomy": {},
    "GET /api/triggers": wire(TriggerRules(triggers=(SILENCE,))),
    "PUT /api/triggers": lambda body: body,
    "GET /api/commands": wire([KnownCommand(command=COMMAND, uses=3)]),
    "POST /api/commands": lambda body: {"command": body},
    "GET /api/sounds": wire(
        [StageSound(name="horn.wav", bytes=9), StageSound(name="long.ogg", bytes=9, problem="x")]
    ),
    "POST /api/sounds/long.ogg/play": {"duration_s": 1.0},
    "GET /api/moderation": MODERATION,
    "PUT /api/moderation": lambda body: MODERATION | {"profile": body.get("profile", PROFILE)},
    "POST /api/moderation/try": {
        "verdict": {"action": "hold", "rule": "links", "text": "", "reason": "an address"}
    },
    **{f"POST /api/queue/m{n}/{what}": {} for n in range(4) for what in ("approve", "skip", "now")},
}


@pytest.fixture
def s(tmp_path: Path) -> Iterator[Scene]:
    with scene(tmp_path, ANSWERS, tab="stream") as made:
        made.settle(lambda: made.window.audience.autonomy is not None)
        yield made


def tab(s: Scene) -> Any:
    return s.window.tabs["stream"]


def said(number: int, text: str = "hello", name: str = "moss", **more: Any) -> AudienceMessage:
    return AudienceMessage(
        id=f"m{number}", platform="twitch", channel="mika", text=text,
        viewer=Viewer(platform="twitch", id=name, name=name), at=datetime.now(UTC), **more,
    )  # fmt: skip


def record(number: int, at: datetime, disposition: Any, author: str) -> MessageRecord:
    return MessageRecord(
        seq=number, message_id=f"r{number}", platform="twitch", channel="mika", viewer_id=author,
        author=author, role="viewer", text="hello", bits=0, at=at, disposition=disposition,
        reason="", rule="", into="", turn_id=None, decided_at=at,
    )  # fmt: skip


def wrote(number: int, text: str = "hello", name: str = "moss") -> AudienceWrote:
    return AudienceWrote(said=said(number, text, name))


def became(number: int, what: Any, **more: Any) -> ChatDisposition:
    return ChatDisposition(message_id=f"m{number}", disposition=what, **more)


def drawn(s: Scene) -> list[str]:
    """What the chat shows, once it has drawn."""
    chat = tab(s).chat
    chat.refresh()
    chat.repaint()
    return words_on(chat)


def asked(s: Scene, name: str) -> list[Any]:
    return [body for what, body in s.backend.asked if what == name]


# --- the chat ---


def test_every_line_says_what_became_of_it(s: Scene) -> None:
    s.say(
        wrote(0, "hi"), became(0, "answered", turn_id="t1"),
        wrote(1, "buy followers"), became(1, "filtered", rule="links"),
        wrote(2, "hi again"), became(2, "merged", into="m0"),
        wrote(3, "my number is 555"), became(3, "held", rule="private"),
    )  # fmt: skip
    words = drawn(s)
    for chip in ("answered", "filtered: links", "merged into moss", "held: private"):
        assert chip in words
    assert {"Drop", "Allow"} <= set(words)


def test_a_held_line_is_allowed_or_dropped_where_it_stands(s: Scene) -> None:
    s.say(wrote(0), became(0, "held", rule="private"))
    drawn(s)
    chat = tab(s).chat
    chat.invoke("allow:m0")
    s.press("<Delete>", chat)
    assert [name for name, _ in s.backend.asked if name.startswith("POST /api/queue")] == [
        "POST /api/queue/m0/approve",
        "POST /api/queue/m0/skip",
    ]


def test_the_keyboard_says_why_and_opens_the_turn(s: Scene) -> None:
    s.say(wrote(0), became(0, "too-old", reason="it waited 22 s"), wrote(1))
    chat = tab(s).chat
    s.press("<End>", chat)
    s.press("<Up>", chat)
    tab(s)._show_why()
    assert tab(s).why_words.cget("text") == "It waited too long: it waited 22 s."


def test_scrolling_up_stands_still_and_counts_what_is_new(s: Scene) -> None:
    s.say(*[wrote(n, f"line {n}") for n in range(60)])
    drawn(s)
    chat = tab(s).chat
    chat._scroll_by(-300)
    before = drawn(s)
    s.say(*[wrote(n, f"line {n}") for n in range(60, 72)])
    assert drawn(s) == before
    assert chat.fresh == 12
    tab(s)._show_why()
    assert tab(s).newest.text == "12 newer"
    tab(s).newest.invoke()
    assert "line 71" in drawn(s)
    assert chat.fresh == 0


def test_filters_show_their_lines_only(s: Scene) -> None:
    s.say(wrote(0, "one"), became(0, "answered"), wrote(1, "two"), became(1, "skipped"))
    tab(s).chips["answered"].invoke()
    assert "one" in drawn(s)
    assert "two" not in drawn(s)
    tab(s).chips["held"].invoke()
    assert "No such line among the newest." in drawn(s)


def test_an_empty_chat_leads_to_reading_without_a_login(s: Scene) -> None:
    assert "Connect to Twitch" in drawn(s)
    tab(s).chat.invoke("empty")
    window = TwitchWindow.current()
    assert isinstance(window, TwitchWindow)
    window.channel.set("twitch.tv/Mika")
    s.backend.answers["POST /api/twitch/connect"] = wire(
        TwitchState(
            channel=ChannelState(
                platform="twitch", state="joined", mode="anonymous", channel="mika"
            ),
            login=TwitchLogin(),
        )
    )
    window.connect()
    s.settle()
    assert asked(s, "POST /api/twitch/connect") == [
        {"channel": "mika", "anonymous": False}
    ]  # as whoever logs in
    assert tab(s).channel_button.text == "twitch.tv/mika, reading"
    assert "You are in mika. Nobody has written yet." in drawn(s)


def test_the_channel_says_what_is_known_of_the_stream(s: Scene) -> None:
    stream = StreamState(
        platform="twitch", channel="mika", title="Cozy evening", game="Tetris", followers=1200
    )
    s.say(StreamChanged(stream=stream))
    tip = tab(s).channel_button.tooltip
    assert "Not live · Cozy evening · Tetris · 1,200 followers" in tip.text
    s.say(StreamChanged(stream=stream.model_copy(update={"is_live": True, "viewers": 12})))
    assert "Live, 12 watch" in tip.text
    s.say(StreamChanged(stream=StreamState(platform="twitch")))
    assert "followers" not in tip.text


def test_a_flood_leaves_the_window_free(s: Scene) -> None:
    """Six seconds of 200 messages a second, each with two facts, in drains of 8 ms."""
    events: list[Any] = []
    for number in range(1200):
        events += [
            wrote(number, f"line {number} kettle", f"v{number % 90}"),
            became(number, "too-old"),
        ]
    s.backend.say(*events)
    slowest = 0.0
    while s.backend.inbox:
        began = thread_time()  # the machine may be busy with others
        s.window.work()
        slowest = max(slowest, thread_time() - began)
    tab(s).chat.refresh()
    began = thread_time()
    tab(s).chat.repaint()
    tab(s).figures.refresh()
    assert slowest < 0.1
    assert thread_time() - began < 0.25
    assert len(tab(s).audience.lines) == 1200 < MOST_LINES
    assert len(tab(s).chat.find_all()) < 400


# --- queue, speech, autonomy ---


def test_the_queue_says_why_each_stands_there_and_answers_one_now(s: Scene) -> None:
    rows = tuple(
        QueuedMessage(
            message=said(n, f"text {n}"), score=9 - n, reasons=(f"reason {n}",), waited_s=3
        )
        for n in range(3)
    )
    s.say(QueueChanged(waiting=rows, total=7))
    queue = tab(s).queue
    queue.repaint()
    assert "3.0 s: reason 0" in words_on(queue)
    assert tab(s).queue_card.sub_words.cget("text") == "7 waiting"
    queue.focus_force()
    s.settle()
    s.press("<Down>", queue)
    s.press("<Return>", queue)
    s.press("<Delete>", queue)
    assert asked(s, "POST /api/queue/m1/now") == [{}]
    assert asked(s, "POST /api/queue/m1/skip") == [{}]


def test_what_is_held_is_counted_on_the_rail(s: Scene) -> None:
    s.say(QueueChanged(held=(QueuedMessage(message=said(0), score=1, is_held=True),)))
    assert s.window._rail.entries["stream"].count == 1


def test_skipping_takes_the_message_that_is_answered(s: Scene) -> None:
    s.say(wrote(0, name="ossi"), became(0, "answering", turn_id="t1"))
    card = tab(s).speaking
    card.repaint()
    assert "Hoshi Kitsune answers ossi" in words_on(card)
    card.invoke("skip")
    assert asked(s, "POST /api/queue/m0/skip") == [{}]


def test_a_dry_run_says_what_she_would_do_and_why(s: Scene) -> None:
    card = tab(s).autonomy
    card.repaint()
    assert {"Silence breaker", "0:48"} <= set(words_on(card))
    card.invoke("dry-run")
    s.settle()
    card.repaint()
    assert {"Says: So...", "because it was quiet for 90 s"} <= set(words_on(card))
    assert "Right now you feel content." in card._zones["answer"].tip
    card.invoke("switch")
    assert asked(s, "POST /api/modules/autonomy") == [{"enabled": False}]


def test_a_dry_run_of_one_trigger_says_what_writers_are_told_of_her_mood(s: Scene) -> None:
    shown = page(s, "triggers")
    shown.show_item("silence")
    shown.dry_run()
    s.settle()
    assert shown.words.cget("text").startswith("Now: says: So..., because it was quiet for 90 s")
    assert "Right now you feel content." in shown.words._whole


def test_a_backend_without_a_part_is_said_in_words(tmp_path: Path) -> None:
    with scene(tmp_path, {}, tab="stream") as s:
        s.settle(lambda: "autonomy" in s.window.audience.missing)
        card = tab(s).autonomy
        card.repaint()
        assert any("older than this window" in words for words in words_on(card))


def test_all_messages_are_saved_to_a_file(s: Scene, tmp_path: Path) -> None:
    s.backend.files["/api/dispositions/export"] = b"seq,text\r\n1,hello\r\n"
    path = tmp_path / "audience.csv"
    tab(s).toggle_plots()
    tab(s).export(path)
    s.settle(lambda: tab(s).plots.progress_words == "All messages are in audience.csv.")
    assert path.read_bytes() == b"seq,text\r\n1,hello\r\n"


def test_the_button_says_where_it_leads(s: Scene) -> None:
    button = tab(s).plot_button
    before = button.tooltip.text
    tab(s).toggle_plots()
    assert "live chat" in button.tooltip.text
    tab(s).toggle_plots()
    assert "plots" in before == button.tooltip.text


def test_figures_know_what_was_written_before_the_window_was_there(tmp_path: Path) -> None:
    now = datetime.now(UTC)
    records = [
        record(1, now - timedelta(seconds=30), "answered", "mia"),
        record(2, now - timedelta(seconds=20), "filtered", "moss"),
        record(3, now - timedelta(minutes=5), "held", "mia"),
        record(4, now - timedelta(hours=9), "answered", "lars"),
    ]
    with scene(tmp_path, ANSWERS | {"GET /api/dispositions": wire(records)}, tab="stream") as s:
        s.settle(lambda: len(s.window.audience.lines) == 4)
        s.backend.connect()  # told twice, they count once
        s.settle()
        figures = s.window.audience.figures()
    assert (figures.per_minute, figures.chatters) == (2, 2)
    assert (figures.answered, figures.decided, figures.stopped) == (1, 2, 2)


def test_a_small_window_has_the_line_to_write_in_in_sight(tmp_path: Path) -> None:
    with scene(tmp_path, ANSWERS, tab="stream", size=(720, 480)) as s:
        s.settle(lambda: s.window.audience.autonomy is not None)
        page, field = tab(s).page, tab(s).say.field
        low = field.winfo_rooty() + field.winfo_height()
        assert low <= page.winfo_rooty() + page.winfo_height()


def test_a_chip_says_what_became_of_a_line_in_a_narrow_list(tmp_path: Path) -> None:
    with scene(tmp_path, ANSWERS, tab="stream", size=(960, 520)) as s:
        s.say(wrote(0, "hello there, how are you?"), became(0, "rate-limited"))
        assert tab(s).chat.painter.width < 520
        assert "writes too much" in drawn(s)


# --- what the streamer writes ---


def joined(**more: Any) -> ChannelChanged:
    state = ChannelState(platform="twitch", state="joined", channel="mika", **more)
    return ChannelChanged(channel=state)


def typed(s: Scene, text: str) -> None:
    box = tab(s).say
    box.field._variable.set(text)
    s.press("<Return>", box.field.entry)


def test_enter_asks_her_says_aloud_or_writes_as_the_keys_chose(s: Scene) -> None:
    s.backend.answers["POST /api/say"] = {"turn_id": "t", "conversation_id": "stage"}
    s.backend.answers["POST /api/twitch/say"] = {"is_sent": True}
    s.say(joined(mode="login", can_write=True, user="luma_bot"))
    box = tab(s).say
    typed(s, " how was your day? ")
    assert s.backend.commands[-1] == (
        "chat",
        {"message": "how was your day?", "conversation_id": "stage", "origin": "window"},
    )
    s.press("<Down>", box.field.entry)
    typed(s, "Back in five!")
    assert asked(s, "POST /api/say") == [{"text": "Back in five!"}]
    s.press("<Down>", box.field.entry)
    assert box.field._ghost.cget("text") == "Write to chat as luma_bot"
    typed(s, "The schedule is below.")
    assert asked(s, "POST /api/twitch/say") == [{"text": "The schedule is below."}]
    assert box.field.text == ""
    s.press("<Up>", box.field.entry)
    assert (box.way, s.window.state["stream.way"]) == ("say", "say")


def test_the_chat_is_not_written_into_without_a_login_and_the_box_says_why(s: Scene) -> None:
    box = tab(s).say
    box.choose("write")
    assert "Ctrl+Shift+T connects" in box.field._ghost.cget("text")
    s.say(joined(mode="anonymous"))
    typed(s, "hello")
    assert asked(s, "POST /api/twitch/say") == []
    assert box.field.text == "hello"
    assert not box.button.enabled
    assert "without a login" in box.button.tooltip.text
    assert any("without a login" in words for words in s.window.notices.texts)


def test_words_that_were_refused_stand_in_the_box_again(s: Scene) -> None:
    s.backend.answers["POST /api/twitch/say"] = Failure(
        "input.invalid", "Moderation keeps it out of the chat (the rule links: an address).", 422
    )
    s.say(joined(mode="login", can_write=True))
    box = tab(s).say
    box.choose("write")
    typed(s, "see example.com")
    assert box.field.text == "see example.com"
    assert any("Moderation keeps it out" in words for words in s.window.notices.texts)
    s.backend.answers["POST /api/twitch/say"] = {"is_sent": False, "detail": "followers only"}
    typed(s, "see example.com")
    assert box.field.text == "see example.com"
    assert any("followers only" in words for words in s.window.notices.texts)


def test_what_was_written_from_here_is_a_line_of_the_chat_once(s: Scene) -> None:
    wrote_it = ChannelWrote(
        platform="twitch", channel="mika", author="luma_bot", text="Back in five!", message_id="x1"
    )
    s.say(wrote_it, wrote_it)
    words = drawn(s)
    assert words.count("Back in five!") == 1
    assert {"luma_bot", "written from here"} <= set(words)
    assert s.window.audience.figures().per_minute == 0


def test_writing_stays_on_the_stream_tab_and_tab_leads_there_from_the_chat(s: Scene) -> None:
    tab(s).chat.focus_force()
    s.press("<Tab>")
    assert s.window.root.focus_get() is tab(s).say.ways
    s.press("<Control-l>")
    assert s.window.current == "stream"
    assert s.window.root.focus_get() is tab(s).say.field.entry


# --- Twitch ---


def test_logging_in_shows_the_code_then_who_has_logged_in(s: Scene) -> None:
    waiting = TwitchLogin(
        state="waiting", code="WDJB-MJHT", url="https://www.twitch.tv/activate",
        code_ends_at=datetime.now(UTC) + timedelta(minutes=29, seconds=30),
    )  # fmt: skip
    s.backend.answers["POST /api/twitch/login"] = wire(waiting)
    s.backend.answers["GET /api/twitch"] = wire(OFF.model_copy(update={"login": waiting}))
    window = TwitchWindow.open(s.window)
    s.settle()
    window.login_button.invoke()
    s.settle(lambda: hasattr(window, "code"))
    assert window.code.cget("text") == "WDJB-MJHT"
    assert "The code is good for 29:" in window.left_words.cget("text")
    s.say(TwitchLoginChanged(login=TwitchLogin(state="in", user="mika", is_renewable=True)))
    assert not window.code.winfo_exists()
    assert window.ways["login"].on


def test_with_a_login_a_channel_can_be_read_without_it(s: Scene) -> None:
    login = TwitchLogin(state="in", user="mika", is_renewable=True)
    s.backend.answers["GET /api/twitch"] = wire(OFF.model_copy(update={"login": login}))
    s.backend.answers["POST /api/twitch/connect"] = wire(OFF)
    window = TwitchWindow.open(s.window)
    s.settle(lambda: window.ways["login"].on)
    window.ways["anonymous"].invoke()
    window.channel.set("kira")
    window.connect()
    s.settle()
    assert asked(s, "POST /api/twitch/connect") == [{"channel": "kira", "anonymous": True}]


def test_a_login_without_an_application_says_what_to_enter(s: Scene) -> None:
    s.backend.answers["POST /api/twitch/login"] = Failure(
        "input.invalid", "TWITCH_CLIENT_ID is not set.", 422
    )
    window = TwitchWindow.open(s.window)
    s.settle()
    window.login_button.invoke()
    s.settle()
    assert window.login_trouble.cget("text") == "TWITCH_CLIENT_ID is not set."
    assert window._id_button is not None


def test_a_lost_channel_is_said_on_the_tab(s: Scene) -> None:
    state = ChannelState(
        platform="twitch", state="reconnecting", channel="mika", detail="No network."
    )
    s.say(ChannelChanged(channel=state))
    assert tab(s).channel_button.text == "Reconnecting..."


# --- rules ---


def page(s: Scene, name: str) -> Any:
    window = RulesWindow.open(s.window, name)
    s.settle()
    return window.pages[name]


def test_a_wrong_rule_of_the_queue_is_said_at_its_field(s: Scene) -> None:
    shown = page(s, "queue")
    row = shown.forms[2].rows["max_wait_s"]
    row.control._variable.set("0.5")
    shown.save()
    assert "greater than or equal to 2" in row.trouble.cget("text")
    assert asked(s, "PUT /api/queue/rules") == []
    row.control._variable.set("30")
    shown.save()
    s.settle()
    assert asked(s, "PUT /api/queue/rules")[0] == wire(QueueRules(max_wait_s=30))


def test_a_command_is_added_once_its_name_can_be_used(s: Scene) -> None:
    shown = page(s, "commands")
    assert [item.title for item in shown.list.items] == ["!discord"]
    shown.add()
    rows = {name: row for form in shown.forms for name, row in form.rows.items()}
    rows["name"].control._variable.set("two words")
    rows["value"].control.set("Hello {user}")
    shown.save()
    assert "one word" in rows["name"].trouble.cget("text")
    rows["name"].control._variable.set("!Hello")
    shown.save()
    s.settle()
    body = asked(s, "POST /api/commands")[0]
    assert (body["name"], body["action"], body["value"]) == ("hello", "say", "Hello {user}")


def test_a_command_that_plays_a_sound_chooses_among_the_files(s: Scene) -> None:
    shown = page(s, "commands")
    shown.add()
    shown.forms[0].rows["name"].control._variable.set("horn")
    shown.forms[1].rows["action"].control._chosen("sound")
    assert shown.forms[0].rows["name"].value()[0] == "horn"
    files = shown.forms[1].rows["value"].control
    assert [choice.title for choice in files.choices] == ["horn.wav", "long.ogg (too large)"]
    assert files.value == "horn.wav"
    files._chosen("long.ogg")
    shown.play()
    shown.save()
    s.settle()
    assert len(asked(s, "POST /api/sounds/long.ogg/play")) == 1
    body = asked(s, "POST /api/commands")[0]
    assert (body["name"], body["action"], body["value"]) == ("horn", "sound", "long.ogg")


def test_a_trigger_is_changed_to_another_occasion(s: Scene) -> None:
    shown = page(s, "triggers")
    shown.show_item("silence")
    kind = shown.forms[1].rows["when.kind"]
    kind.control._chosen("at")
    times = shown.forms[1].rows["when.times"]
    times.control.set("25:00")
    shown.save()
    assert times.trouble.cget("text")
    times.control.set("20:15\n21:00")
    shown.save()
    s.settle()
    saved = TriggerRules.model_validate(asked(s, "PUT /api/triggers")[0]).triggers[0]
    assert saved.when.model_dump()["times"] == ("20:15", "21:00")
    assert saved.do.texts == ("So...",)


def test_moderation_is_tried_and_told_what_is_wrong_with_a_rule(s: Scene) -> None:
    shown = page(s, "moderation")
    shown.text.set("see example dot com")
    shown.try_out()
    s.settle()
    assert shown.verdict.cget("text") == "It waits for your word by the rule links: an address"
    shown.show_item("length")
    most = shown.forms[1].rows["most"]
    most.control._variable.set("9000")
    s.backend.answers["PUT /api/moderation"] = Failure(
        "input.invalid", "profile.rules.1.length.most must be less than or equal to 2000, not 9000.", 422
    )  # fmt: skip
    shown.save()
    s.settle()
    assert "less than or equal to 2000" in most.trouble.cget("text")
    assert asked(s, "PUT /api/moderation")[0]["profile"]["rules"][1]["most"] == 9000


def test_what_is_not_saved_is_not_left_by_accident(s: Scene) -> None:
    shown = page(s, "moderation")
    shown.forms[0].rows["on"].control.invoke()
    assert not shown.pick("length")
    assert "Save what you entered" in shown.words.cget("text")
    RulesWindow.open(s.window).close()
    assert "Not saved: Moderation." in s.window.notices.texts
