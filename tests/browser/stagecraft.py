"""What the browser tests of the stage do with a running backend: put somebody on stage, let something be heard."""

from __future__ import annotations

import asyncio
import math
from array import array
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from backend.contracts.avatar import MouthTime
from backend.contracts.entities import STAGE, Audio
from backend.contracts.events import Event, SpeechReady
from backend.playback.player import SpokenPiece
from tests.integration.conftest import Served

RATE_HZ = 16_000
T = TypeVar("T")


def in_backend(served: Served, work: Callable[[Any], T]) -> T:
    """Run ``work(backend)`` in the backend's loop."""

    async def run(backend: Any) -> T:
        return work(backend)

    return await_in_backend(served, run)


def await_in_backend(served: Served, work: Callable[[Any], Coroutine[Any, Any, T]]) -> T:
    """Run ``await work(backend)`` in the backend's loop."""
    backend = served.app.state.backend
    return asyncio.run_coroutine_threadsafe(work(backend), backend._loop).result(30)


def tell(served: Served, event: Event) -> None:
    """Publish an event as its part would."""
    in_backend(served, lambda backend: backend.bus.publish(event))


def put_on_stage(served: Served, character_id: str) -> None:
    """Give the stage to a character."""
    with served.client() as client:
        answer = client.post("/api/switch_character", json={"character_id": character_id})
        assert answer.status_code == 200, answer.text


def bursts(count: int, *, sound_s: float = 0.25, pause_s: float = 0.25) -> Audio:
    """Pause, sound, pause, sound …: each sound a loud tone."""
    quiet = array("h", bytes(2 * round(pause_s * RATE_HZ)))
    loud = array("h")
    for n in range(round(sound_s * RATE_HZ)):
        loud.append(round(16_000 * math.sin(2 * math.pi * 330 * n / RATE_HZ)))
    whole = array("h")
    for _ in range(count):
        whole += quiet + loud
    return Audio((whole + quiet).tobytes(), RATE_HZ)


def mouth_of_bursts(
    count: int, *, sound_s: float = 0.25, pause_s: float = 0.25, viseme: str = "aa"
) -> tuple[MouthTime, ...]:
    """The mouth that goes with `bursts`: open while it sounds."""
    step = sound_s + pause_s
    return tuple(
        MouthTime.model_validate(
            {"viseme": viseme, "start_s": n * step + pause_s, "end_s": (n + 1) * step}
        )
        for n in range(count)
    )


def perform(served: Served, *pieces: tuple[str, Audio, tuple[MouthTime, ...]], turn: str) -> None:
    """Let sentences be heard on the stage's sink, as the player does it with a turn."""

    async def begin(backend: Any) -> None:
        spoken = [
            SpokenPiece(n, text, audio, backend.sounds.put(turn, n, audio), mouth=mouth)
            for n, (text, audio, mouth) in enumerate(pieces, 1)
        ]
        for piece in spoken:
            # A turn's sounds are the stage's, and so the overlay's, from this event on.
            backend.bus.publish(
                SpeechReady(
                    n=piece.n,
                    text=piece.text,
                    url=piece.url,
                    duration_s=piece.audio.duration_s,
                    engine="test",
                    voice="test",
                    elapsed_ms=1,
                    mouth=piece.mouth,
                    turn_id=turn,
                    conversation_id=STAGE,
                )
            )
        await backend.bus.flush()
        backend.player.play_again(spoken, turn, STAGE)

    await_in_backend(served, begin)


def hush(served: Served) -> None:
    """End what is heard."""
    in_backend(served, lambda backend: backend.player.stop_playing_again())
