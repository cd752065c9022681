"""What a client is told of its turns, on a clock that the test moves."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import orjson
import pytest

from backend.api.client_ws.outbox import Outbox
from backend.api.client_ws.turns import BY_ITSELF, ORIGIN, Show, Turns, spelled
from backend.chat.turn import Request
from backend.contracts.entities import Audio, Cue
from backend.playback.player import Performance, SpokenPiece
from tests.fakes import RATE_HZ, character


class Clock:
    """Monotonic time that stands still until it is moved."""

    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


class Stand:
    """A client's turns, and what it was told."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.outbox = Outbox()
        self.turns = Turns(self.outbox, now_s=self.clock)

    def told(self) -> list[dict[str, Any]]:
        found = [orjson.loads(frame.text) for frame in self.outbox._frames]
        self.outbox._frames.clear()
        return found

    def kinds(self) -> list[str]:
        return [
            f"{m['type']} {m['text']}" if m["type"] == "control" else m["type"] for m in self.told()
        ]

    def begin(self, turn_id: str = "t1", origin: str = ORIGIN) -> tuple[Show, Performance]:
        show = self.turns.performer(
            Request(
                turn_id=turn_id,
                conversation_id="c",
                number=1,
                character=character(),
                text="what was said",
                author="you",
                origin=origin,
                speak=True,
                on_stage=False,
                received_s=0.0,
            )
        )
        assert show is not None
        return show, show.begin(turn_id, "c")


@pytest.fixture
def stand() -> Stand:
    return Stand()


def piece(n: int, text: str, seconds: float = 1.0, *cues: Cue) -> SpokenPiece:
    return SpokenPiece(n, text, Audio(b"\x10\x00" * round(RATE_HZ * seconds), RATE_HZ), "", cues)


START = ["control conversation-chain-start", "full-text"]


def test_what_the_client_typed_is_not_repeated_to_it_and_what_it_said_is(stand: Stand) -> None:
    stand.turns.typed.add("t1")
    stand.begin("t1")
    assert stand.kinds() == START
    stand.turns.show = None
    stand.turns.is_open = False
    stand.begin("t2")
    assert stand.kinds() == [*START, "user-input-transcription"]


def test_what_asked_her_to_speak_by_herself_is_not_shown(stand: Stand) -> None:
    stand.begin(origin=BY_ITSELF)
    assert stand.kinds() == START


def test_a_message_over_rest_is_not_performed_at_the_client(stand: Stand) -> None:
    show, _ = stand.begin()
    assert stand.turns.performer(replace(show.request, origin="api")) is None


async def test_a_turn_closes_once_it_is_stored_and_not_before(stand: Stand) -> None:
    show, performance = stand.begin()
    await show.enqueue(performance, piece(1, "One."))
    finishing = asyncio.create_task(show.finish(performance))
    await asyncio.sleep(0)
    stand.turns.acknowledged()
    await finishing
    assert performance.heard == ["One."]
    assert stand.kinds()[-1] == "backend-synth-complete"
    stand.turns.stored("another turn")
    assert stand.kinds() == []
    stand.turns.stored("t1")
    assert stand.kinds() == ["force-new-message", "control conversation-chain-end"]


async def test_the_next_turn_closes_the_one_before_it(stand: Stand) -> None:
    show, performance = stand.begin()
    await show.finish(performance)
    stand.told()
    stand.begin("t2")
    assert stand.kinds()[:3] == ["force-new-message", "control conversation-chain-end", START[0]]
    stand.turns.stored("t1")
    assert stand.kinds() == [], "its chain was closed; the new one goes on"


async def test_a_turn_with_nothing_to_play_waits_for_nobody(stand: Stand) -> None:
    show, performance = stand.begin()
    async with asyncio.timeout(1):
        await show.finish(performance)


async def test_an_interruption_drops_the_sound_that_was_not_sent(stand: Stand) -> None:
    show, performance = stand.begin()
    stand.told()
    await show.enqueue(performance, piece(1, "One."))
    await show.enqueue(performance, piece(2, "Two."))
    stand.turns.is_asked_to_stop = True
    await show.stop(performance)
    stand.turns.stored("t1")
    assert stand.kinds() == ["force-new-message", "control conversation-chain-end"]


async def test_who_did_not_ask_for_silence_is_told_to_fall_silent(stand: Stand) -> None:
    show, performance = stand.begin()
    stand.told()
    await show.stop(performance)
    assert stand.kinds() == ["control interrupt"]


async def test_without_marks_what_was_heard_follows_from_the_lengths(stand: Stand) -> None:
    show, performance = stand.begin()
    await show.enqueue(performance, piece(1, "One two."))
    await show.enqueue(performance, piece(2, "Three four.", 2.0))
    await show.enqueue(performance, piece(3, "Five.", 2.0))
    stand.clock.now_s += 2.1
    await show.stop(performance)
    assert performance.heard == ["One two.", "Three"]


async def test_with_marks_what_was_heard_follows_from_them(stand: Stand) -> None:
    show, performance = stand.begin()
    await show.enqueue(performance, piece(1, "One two."))
    await show.enqueue(performance, piece(2, "Three four.", 2.0))
    stand.clock.now_s += 5.0  # the client's page was busy
    assert stand.turns.started("One two. ") is not None
    assert performance.first_sound_s == stand.clock.now_s
    stand.clock.now_s += 0.6
    assert stand.turns.started("made up") is None
    await show.stop(performance)
    assert performance.heard == ["One"]


async def test_expressions_come_with_their_sentence_by_name(stand: Stand) -> None:
    show, performance = stand.begin()
    stand.told()
    cues = (Cue("expression", "joy"), Cue("motion", "wave"))
    await show.enqueue(performance, piece(1, "Hi.", 0.1, *cues))
    await show.enqueue(performance, SpokenPiece(2, "Silent.", None, ""))
    joyful, silent = stand.told()
    assert joyful["actions"] == {"expressions": ["joy"]}
    assert (silent["audio"], silent["volumes"], silent["actions"]) == (None, [], {})
    assert silent["display_text"]["text"] == "Silent. "


def test_thinking_begun_for_the_microphone_is_used_by_its_turn(stand: Stand) -> None:
    stand.turns.open()
    stand.turns.open()
    assert stand.kinds() == START
    stand.begin()
    assert stand.kinds() == ["user-input-transcription"]


def test_nothing_understood_ends_the_thinking_with_words(stand: Stand) -> None:
    stand.turns.open()
    stand.told()
    stand.turns.give_up("Nothing was heard.")
    assert stand.kinds() == ["error", "control conversation-chain-end"]


def test_nothing_understood_leaves_a_reply_alone_that_is_shown(stand: Stand) -> None:
    stand.begin()
    stand.told()
    stand.turns.give_up("Nothing was heard.")
    assert stand.kinds() == ["error"]


def test_a_turn_that_ends_while_something_is_read_does_not_end_the_thinking(stand: Stand) -> None:
    stand.turns.open()
    stand.told()
    stand.turns.stored("t0", is_reading=True)
    assert stand.kinds() == []
    stand.turns.stored("t0")
    assert stand.kinds() == ["control conversation-chain-end"]


@pytest.mark.parametrize(
    ("heard", "expected"),
    [
        ("Hi there. How are", "Hi there. How are"),
        ("Hithere.How", "Hi there. How"),
        (" Hi\n there. ", "Hi there."),
        ("Hi there. How are you? And more", "Hi there. How are you?"),
        ("Hi thexx", "Hi the"),
        ("", ""),
        ("   ", ""),
        ("Nothing of the kind", None),
    ],
)
def test_what_was_heard_is_spelled_as_it_was_said(heard: str, expected: str | None) -> None:
    assert spelled(heard, ["Hi there.", "How are you?"]) == expected


def test_what_was_heard_in_a_language_without_spaces() -> None:
    assert spelled("こんにちは。元気", ["こんにちは。", "元気ですか？"]) == "こんにちは。元気"
