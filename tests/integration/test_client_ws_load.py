"""The Open-LLM-VTuber socket under load: a thousand inputs in order, and twenty thousand frames of nonsense."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator
from typing import Any

import orjson
import pytest
import websockets

from tests.integration.conftest import Served, serve
from tests.integration.vtuber import Vtuber, kinds, shown, vtuber

CHAIN_START = "control conversation-chain-start"
CHAIN_END = "control conversation-chain-end"


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A backend that repeats what it is told; the voice detector needs no process."""
    yield from serve(
        tmp_path_factory.mktemp("luma"), asr_vad="energy", api_requests_per_minute=1_000_000
    )


async def inputs(client: Vtuber, count: int, at_once: int = 30) -> None:
    """Type as fast as may be, and check that every reply is whole and in its place."""
    sent = 0
    for n in range(count):
        while sent < min(count, n + at_once):
            await client.say("text-input", text=f"Number {sent} is here. And this is its end.")
            sent += 1
        turn = await client.turn()
        found = kinds(turn)
        assert found[0] == CHAIN_START
        assert found.count(CHAIN_START) == found.count(CHAIN_END) == 1
        assert found.count("backend-synth-complete") == 1
        assert shown(turn) == f"Number {n} is here. And this is its end. "


async def test_quick_inputs_of_two_clients_do_not_mix(served: Served) -> None:
    async with vtuber(served) as one, vtuber(served) as two:
        await asyncio.gather(inputs(one, 15), inputs(two, 15))


@pytest.mark.slow
@pytest.mark.timeout(600)
async def test_a_thousand_inputs_are_answered_one_after_the_other(served: Served) -> None:
    async with vtuber(served) as one, vtuber(served) as two:
        await asyncio.gather(inputs(one, 500), inputs(two, 500))


# --- nonsense ---

WORDS = (
    "type text audio images history_uid file text-input mic-audio-data mic-audio-end raw-audio-data ai-speak-signal"
    " interrupt-signal frontend-playback-complete audio-play-start fetch-history-list fetch-and-set-history create-new-history"
    " delete-history fetch-configs switch-config fetch-backgrounds request-init-config heartbeat add-client-to-group"
    " remove-client-from-group request-group-info expression-command motion-command text-generation-request display_text"
    " text-generation-cancel prompt context options max_length style set-backend-mode get-backend-mode mode"
    " invitee_uid target_uid expression_id rivet.yaml hoshi.yaml stage joy idle_time duration hello \x00 \u202e 😀"
).split(" ")


def nonsense(dice: random.Random, depth: int = 0) -> Any:
    """Any value JSON can hold."""
    kind = dice.randrange(9 if depth < 3 else 6)
    if kind < 3:
        return dice.choice(WORDS)
    if kind == 3:
        return dice.choice((0, 1, -1, 0.5, 1e308, -1e-308, 2**63, -(2**70), True, False, None))
    if kind == 4:
        return "x" * dice.choice((0, 1, 130, 5000))
    if kind == 5:
        return [dice.uniform(-2, 2) for _ in range(dice.choice((0, 1, 320, 4096)))]
    if kind == 6:
        return [nonsense(dice, depth + 1) for _ in range(dice.randrange(4))]
    return {dice.choice(WORDS): nonsense(dice, depth + 1) for _ in range(dice.randrange(4))}


def frame(dice: random.Random) -> str | bytes:
    """A frame between nearly right and no JSON at all."""
    kind = dice.randrange(10)
    if kind == 0:
        return dice.randbytes(dice.choice((0, 1, 2, 640, 6401)))
    if kind == 1:
        return dice.choice(("", "{", "[", "nul", '{"type":', "\ufeff{}", "[" * 2000, '"\\ud800"'))
    body = nonsense(dice)
    if isinstance(body, dict) or kind > 4:
        body = body if isinstance(body, dict) else {dice.choice(WORDS): body}
        body["type"] = dice.choice(WORDS)
        for name in dice.sample(WORDS, 2):
            body.setdefault(name, nonsense(dice, 2))
    try:
        text = orjson.dumps(body).decode()
    except orjson.JSONEncodeError:
        return "1" * 50
    return text if kind != 9 else text[: dice.randrange(len(text) + 1)]


async def flood(served: Served, seed: int, count: int) -> int:
    """Send nonsense, again and again where the server has had enough; how many sockets it took."""
    dice = random.Random(seed)
    sent = sockets = 0
    while sent < count:
        sockets += 1
        async with vtuber(served) as client:
            reading = asyncio.create_task(drain(client))
            try:
                for _ in range(min(700, count - sent)):  # below the burst that a socket may send
                    await client.socket.send(frame(dice))
                    sent += 1
                await client.say("the-end")
                await asyncio.wait_for(reading, 60)
            except websockets.ConnectionClosed:
                pass
            finally:
                reading.cancel()
                await asyncio.gather(reading, return_exceptions=True)
    return sockets


async def drain(client: Vtuber) -> None:
    """Read until the last frame was answered."""
    while "the-end" not in str((await client.next(60)).get("message")):
        continue


async def stays_well(served: Served, caplog: pytest.LogCaptureFixture, count: int) -> None:
    async with vtuber(served) as quiet:
        await asyncio.gather(*(flood(served, seed, count // 4) for seed in range(4)))
        assert kinds(await quiet.ask("Still here?"))[0] == CHAIN_START
    errors = [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]
    assert errors == []


async def test_nonsense_is_answered_and_harms_nobody(
    served: Served, caplog: pytest.LogCaptureFixture
) -> None:
    await stays_well(served, caplog, 800)


@pytest.mark.slow
@pytest.mark.timeout(900)
async def test_twenty_thousand_frames_of_nonsense_leave_no_traceback(
    served: Served, caplog: pytest.LogCaptureFixture
) -> None:
    await stays_well(served, caplog, 20_000)
