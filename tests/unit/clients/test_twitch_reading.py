"""What Twitch tells, read: EventSub events and IRC lines, good and hostile."""

from __future__ import annotations

import string
import time
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backend.clients.twitch_irc import Line, _lines, parse, read_line
from backend.clients.twitch_reading import Deleted, Told, Us, is_named, read_event, time_of
from backend.contracts.audience import AudienceMessage, ViewerEvent

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
US = Us("7", "kirabot", ("luma",))

KINDS = (
    "channel.chat.message channel.chat.notification channel.chat.message_delete channel.chat.clear_user_messages"
    " channel.chat.clear channel.follow channel.channel_points_custom_reward_redemption.add nonsense"
).split()
FIELDS = (
    "message message_id text fragments type emote id mention user_id cheer bits reply parent_message_id parent_user_id badges"
    " set_id chatter_user_id chatter_user_login chatter_user_name notice_type sub resub sub_gift community_sub_gift raid total"
    " cumulative_months viewer_count community_gift_id announcement target_user_id user_input reward title message_type"
).split()
NOTICES = "sub resub sub_gift community_sub_gift raid announcement".split()
ANYTHING = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=20)
    | st.sampled_from(NOTICES),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(FIELDS), inner, max_size=5)
    ),
    max_leaves=12,
)
EVENTS = st.dictionaries(st.sampled_from(FIELDS), ANYTHING, max_size=12)


def read(kind: str, event: dict[str, Any], us: Us = US) -> list[Told]:
    return list(read_event(kind, event, told_id="told-1", at=NOON, channel="kira", us=us))


def line(text: str, us: Us = US) -> list[Told]:
    return list(read_line(parse(text), channel="kira", us=us))


# --- EventSub ---


@given(kind=st.sampled_from(KINDS), event=EVENTS)
def test_no_event_whatever_it_holds_raises(kind: str, event: dict[str, Any]) -> None:
    for told in read(kind, event):
        assert isinstance(told, AudienceMessage | ViewerEvent | Deleted)
        if isinstance(told, AudienceMessage):
            assert all(emote.start < emote.end <= len(told.text) for emote in told.emotes)


@given(text=st.text(min_size=1, max_size=600), name=st.text(max_size=60))
def test_a_message_arrives_letter_for_letter(text: str, name: str) -> None:
    event = {
        "message_id": "m",
        "chatter_user_id": "1",
        "chatter_user_login": "mia",
        "chatter_user_name": name,
        "message": {"text": text, "fragments": [{"type": "text", "text": text}]},
    }
    (message,) = read("channel.chat.message", event)
    assert isinstance(message, AudienceMessage)
    assert message.text == text
    assert message.viewer.name == (name or "mia")


def test_places_of_emotes_are_counted_in_letters_also_behind_emoji() -> None:
    parts: list[dict[str, Any]] = [
        {"type": "text", "text": "👋🏽 hé "},
        {"type": "emote", "text": "Kappa", "emote": {"id": "25"}},
        {"type": "text", "text": " !"},
    ]
    text = "".join(str(part["text"]) for part in parts)
    (message,) = read("channel.chat.message", {"message": {"text": text, "fragments": parts}})
    assert isinstance(message, AudienceMessage)
    (emote,) = message.emotes
    assert text[emote.start : emote.end] == "Kappa"
    assert message.id == "told-1"


def test_a_message_far_too_long_is_cut_and_amounts_stay_sane() -> None:
    event = {"message": {"text": "x" * 10**6}, "cheer": {"bits": 10**30}, "badges": [{}] * 10**5}
    message = read("channel.chat.message", event)[0]
    assert isinstance(message, AudienceMessage)
    assert len(message.text) == 2000
    assert message.bits == 10**9


@pytest.mark.parametrize(
    ("parent", "us", "expected"),
    [
        ("7", US, True),
        ("8", US, False),
        ("7", Us("7", "kira", is_owner=True), False),
        ("", Us(), False),
    ],
)
def test_a_reply_to_the_bot_is_one_to_us_and_one_to_the_streamer_is_not(
    parent: str, us: Us, expected: bool
) -> None:
    event = {
        "message": {"text": "yes"},
        "reply": {"parent_user_id": parent, "parent_message_id": "p"},
    }
    message = read("channel.chat.message", event, us)[0]
    assert isinstance(message, AudienceMessage)
    assert message.replies_to_us is expected


def test_gifts_of_one_purchase_are_one_event() -> None:
    together = {"notice_type": "community_sub_gift", "community_sub_gift": {"total": 20}}
    single = {"notice_type": "sub_gift", "sub_gift": {"community_gift_id": "g"}}
    alone = {"notice_type": "sub_gift", "sub_gift": {"community_gift_id": None}}
    kind = "channel.chat.notification"
    assert [one.amount for one in read(kind, together) if isinstance(one, ViewerEvent)] == [20]
    assert read(kind, single) == []
    assert [one.amount for one in read(kind, alone) if isinstance(one, ViewerEvent)] == [1]


def test_who_follows_again_has_followed_once() -> None:
    event = {"user_id": "5", "user_login": "mia", "followed_at": "x"}
    first, second = read("channel.follow", event), read("channel.follow", event)
    assert isinstance(first[0], ViewerEvent)
    assert first == second


@pytest.mark.parametrize(
    ("text", "is_one"),
    [
        ("luma", True),
        ("hey LUMA!", True),
        ("@Luma: hi", True),
        ("illuminate", False),
        ("luma_fan", False),
        ("lumas", False),
        ("lumalumaluma luma", True),
        ("", False),
    ],
)
def test_her_name_counts_as_a_word_of_its_own(text: str, is_one: bool) -> None:
    assert is_named(text, US) is is_one


@given(st.text(max_size=60))
def test_any_moment_is_read_or_replaced(written: str) -> None:
    assert time_of(written, NOON).tzinfo is not None


def test_moments_with_nanoseconds_are_read() -> None:
    assert time_of("2026-03-04T05:06:07.123456789Z", NOON).second == 7
    assert time_of("2026-03-04T05:06:07", NOON) == NOON


# --- IRC ---


@given(st.text(max_size=300))
def test_no_line_whatever_it_holds_raises(text: str) -> None:
    line(text)
    for one in _lines(text):
        assert isinstance(one, Line)


TAG_VALUES = st.text(alphabet=string.printable.replace(" ", "") + "é👋", max_size=30)


@settings(max_examples=200)
@given(
    tags=st.dictionaries(
        st.sampled_from(
            "id badges bits emotes user-id display-name tmi-sent-ts msg-id target-msg-id target-user-id first-msg".split()
        ),
        TAG_VALUES,
    ),
    command=st.sampled_from(["PRIVMSG", "CLEARMSG", "CLEARCHAT", "USERNOTICE", "PING", ""]),
    text=st.text(max_size=100),
)
def test_no_tags_whatever_they_hold_raise(tags: dict[str, str], command: str, text: str) -> None:
    written = ";".join(f"{name}={value}" for name, value in tags.items())
    for told in line(f"@{written} :mia!mia@x {command} #kira :{text}"):
        if isinstance(told, AudienceMessage):
            assert all(emote.start < emote.end <= len(told.text) for emote in told.emotes)


def test_a_line_of_chat_is_read_whole() -> None:
    (message,) = line(
        "@badges=subscriber/12,vip/1;display-name=Mia\\sM;emotes=25:0-4,12-16/1902:6-10;first-msg=1;id=abc;"
        "reply-parent-msg-id=p1;tmi-sent-ts=1700000000000;user-id=42 :mia!mia@mia.tmi.twitch.tv PRIVMSG #kira"
        " :Kappa Keepo Kappa : luma"
    )
    assert isinstance(message, AudienceMessage)
    assert message.text == "Kappa Keepo Kappa : luma"
    assert [message.text[e.start : e.end] for e in message.emotes] == ["Kappa", "Keepo", "Kappa"]
    assert (message.viewer.name, message.viewer.login, message.viewer.role) == (
        "Mia M",
        "mia",
        "vip",
    )
    assert (message.id, message.reply_to, message.viewer.is_first) == ("abc", "p1", True)
    assert message.mentions_us
    assert message.at == datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC)


def test_a_viewer_cannot_begin_a_line_of_their_own() -> None:
    # Letters that end lines elsewhere do not end them in IRC.
    text = (
        "@id=a :mia!m@m PRIVMSG #kira :hi\u2028@id=b :x!x@x PRIVMSG #kira :fake\x85\x0b\x0c end\r\n"
    )
    (one,) = _lines(text)
    assert "fake" in one.last


def test_an_action_is_read_without_its_frame() -> None:
    (message,) = line("@id=a :mia!m@m PRIVMSG #kira :\x01ACTION waves\x01")
    assert isinstance(message, AudienceMessage)
    assert message.text == "waves"


def test_reading_takes_linear_time() -> None:
    hostile = [
        "@" + ";" * 100_000 + " :a PRIVMSG #k :x",
        "@id=a;emotes=" + "25:0-1/" * 50_000 + " :a PRIVMSG #k :x",
        "@id=a;badges=" + "a/1," * 50_000 + " :a PRIVMSG #k :x",
        "@id=" + "\\" * 100_000 + " :a PRIVMSG #k :x",
        " " * 100_000,
        ":" * 100_000,
        "@id=a :a PRIVMSG #k :" + "luma_" * 100_000,
        "@id=a;tmi-sent-ts=" + "9" * 10_000 + " :a PRIVMSG #k :x",
    ]
    began = time.process_time()
    for text in hostile:
        line(text)
    list(_lines("\n" * 1_000_000))
    assert time.process_time() - began < 1.0


def test_ids_are_no_longer_than_what_is_kept_of_them() -> None:
    event = {"message_id": "m" * 500, "chatter_user_id": "u" * 500, "message": {"text": "hi"}}
    (told,) = read_event("channel.chat.message", event, told_id="", at=NOON, channel="c", us=US)
    assert isinstance(told, AudienceMessage)
    assert (len(told.id), len(told.viewer.id)) == (128, 128)
    del event["message_id"]
    (told,) = read_event(
        "channel.chat.message", event, told_id="t" * 500, at=NOON, channel="c", us=US
    )
    assert isinstance(told, AudienceMessage)
    assert len(told.id) == 128
    line = parse(f"@id={'i' * 500};user-id={'u' * 500} :ann!ann@x PRIVMSG #c :hi")
    (read,) = read_line(line, channel="c", us=US)
    assert isinstance(read, AudienceMessage)
    assert (len(read.id), len(read.viewer.id)) == (128, 128)


@pytest.mark.parametrize("written", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00"])
def test_a_moment_outside_of_all_calendars_is_replaced(written: str) -> None:
    assert time_of(written, NOON) == NOON
