"""Sound files from outside, decoded where they can do no harm."""

from __future__ import annotations

from backend.contracts.entities import Audio
from backend.core.workers import EngineHost


async def decode_audio(
    host: EngineHost,
    data: bytes,
    *,
    name: str = "",
    rate_hz: int | None = None,
    max_s: float = 600.0,
    timeout_s: float = 60.0,
) -> Audio:
    """A sound file of any kind as mono sound, decoded in a process of its own.

    Args:
        host: Where to.
        data: The file's content; what it is is recognised by the content alone.
        name: What to call it in messages.
        rate_hz: Rate wanted; None keeps its own (at most 48 kHz).
        max_s: A longer sound is refused.
        timeout_s: Longest wait.

    Raises:
        InvalidInputError: It is no sound that can be read, with the reason.
        TooLargeError: It is longer or larger than is accepted.
        EngineFailedError: It made the decoder crash or hang.
    """
    pcm, its_rate_hz = await host.call(
        "backend.audio.decode:decode_pcm16",
        data,
        rate_hz=rate_hz,
        max_s=max_s,
        name=name,
        timeout_s=timeout_s,
    )
    return Audio(pcm, its_rate_hz)
