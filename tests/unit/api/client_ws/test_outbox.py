"""What waits for one client: in order, bounded, and sound that can be taken back."""

from __future__ import annotations

import asyncio

from backend.api.client_ws import outbox as module
from backend.api.client_ws.outbox import Outbox


async def test_frames_come_out_in_order_and_sound_can_be_taken_back() -> None:
    outbox = Outbox()
    outbox.put({"type": "control", "text": "a"})
    outbox.put({"type": "audio", "audio": "x" * 100})
    outbox.put({"type": "control", "text": "b"})
    outbox.drop_sound()
    assert [await outbox.take(), await outbox.take()] == [
        '{"type":"control","text":"a"}',
        '{"type":"control","text":"b"}',
    ]


async def test_who_has_much_waits_until_some_was_read() -> None:
    outbox = Outbox()
    outbox.put({"type": "audio", "audio": "x" * (module.FULL_BYTES + 1)})
    waiting = asyncio.create_task(outbox.room())
    await asyncio.sleep(0)
    assert not waiting.done()
    await outbox.take()
    await asyncio.wait_for(waiting, 1)


async def test_too_much_ends_it_and_keeps_nobody_waiting() -> None:
    outbox = Outbox()
    reading = asyncio.create_task(outbox.take())
    for _ in range(module.MOST_FRAMES + 1):
        outbox.put({"type": "heartbeat-ack"})
    assert outbox.is_over
    assert await asyncio.wait_for(reading, 1) is None
    await asyncio.wait_for(outbox.room(), 1)
    outbox.put({"type": "heartbeat-ack"})
    assert await outbox.take() is None
