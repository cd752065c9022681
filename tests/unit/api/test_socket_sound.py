"""The sound of a socket: how much may come, and that frames and orders keep their order."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any, cast

import pytest

from backend.api.bodies import ListenBody
from backend.api.socket_sound import (
    BURST_S,
    PACE,
    Allowance,
    NotListeningError,
    SocketSound,
    TooMuchSoundError,
)

if TYPE_CHECKING:
    from backend.api.state import Services

SECOND = bytes(32_000)


class Ear:
    """Notes what it is given."""

    def __init__(self) -> None:
        self.heard: list[object] = []
        self.is_closed = False
        self.on_dropped: Any = None

    def feed(self, pcm: bytes) -> None:
        self.heard.append(pcm)

    async def end(self) -> None:
        self.heard.append("end")
        self.on_dropped("too_short", "That was too short.")

    async def close(self) -> None:
        self.is_closed = True


class Running:
    """As much of a backend as listening over a socket needs."""

    def __init__(self) -> None:
        self.ears: list[Ear] = []
        self.now_s = 100.0

    @property
    def chat(self) -> Running:
        return self

    @property
    def hearing(self) -> Running:
        return self

    async def conversation(self, conversation_id: str) -> str:
        return conversation_id

    async def open_ear(self, conversation_id: str, **_: object) -> Ear:
        self.ears.append(Ear())
        return self.ears[-1]


@pytest.fixture
def running() -> Running:
    return Running()


@pytest.fixture
def sound(running: Running) -> SocketSound:
    return SocketSound(cast("Services", running), lambda: running.now_s)


async def listen(sound: SocketSound) -> None:
    sound.expect_order()
    sound.begin_order()
    await sound.listen(ListenBody(conversation_id="stage"))
    sound.end_order()


def test_an_allowance_is_a_burst_and_then_a_pace() -> None:
    allowance = Allowance(at_s=0.0)
    assert allowance.take(BURST_S, 0.0)
    assert not allowance.take(0.1, 0.0)
    assert allowance.take(10 * PACE, 10.0)
    assert not allowance.take(0.1, 10.0)
    assert not allowance.take(BURST_S + 1, 10_000.0)
    assert allowance.take(BURST_S, 10_000.0)


async def test_live_sound_goes_on_for_hours_and_faster_sound_does_not(
    sound: SocketSound, running: Running
) -> None:
    await listen(sound)
    for _ in range(7200):
        running.now_s += 0.99
        sound.feed(SECOND)
    taken = 0
    with contextlib.suppress(TooMuchSoundError):
        while taken < 7200:
            running.now_s += 0.5
            sound.feed(SECOND)
            taken += 1
    assert taken == pytest.approx(BURST_S / (1 - 0.5 * PACE), abs=3)
    with pytest.raises(TooMuchSoundError, match=r"30 s at once"):
        sound.feed(SECOND)


async def test_frames_wait_for_the_orders_before_them(sound: SocketSound, running: Running) -> None:
    sound.expect_order()  # listen
    sound.feed(b"1111")
    sound.expect_order()  # that was all
    sound.feed(b"2222")
    sound.begin_order()
    await sound.listen(ListenBody(conversation_id="stage"))
    sound.end_order()
    ear = running.ears[0]
    assert ear.heard == [b"1111"]
    sound.begin_order()
    outcome = await sound.finish()
    sound.feed(b"3333")
    sound.end_order()
    assert ear.heard == [b"1111", "end", b"2222", b"3333"]
    assert await outcome == {
        "turn_id": None,
        "reason": "too_short",
        "detail": "That was too short.",
    }


async def test_frames_after_an_order_that_was_refused_are_dropped(sound: SocketSound) -> None:
    sound.expect_order()
    sound.feed(b"1111")
    sound.begin_order()
    sound.end_order()
    with pytest.raises(NotListeningError):
        sound.feed(b"2222")


async def test_listening_anew_closes_the_ear_before(sound: SocketSound, running: Running) -> None:
    await listen(sound)
    await listen(sound)
    assert [ear.is_closed for ear in running.ears] == [True, False]


async def test_an_ear_that_was_closed_elsewhere_is_said_in_words(
    sound: SocketSound, running: Running
) -> None:
    await listen(sound)
    running.ears[0].is_closed = True
    with pytest.raises(NotListeningError, match="switched off"):
        sound.feed(b"1111")
    with pytest.raises(NotListeningError, match="Say"):
        sound.feed(b"1111")
