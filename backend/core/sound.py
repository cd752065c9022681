"""Sound files from outside, decoded where they can do no harm."""

from __future__ import annotations

from backend.audio import wav
from backend.audio.errors import AudioError
from backend.contracts.entities import Audio
from backend.core.workers import EngineHost

PLAIN_BYTES = 8 << 20
"""Plain WAV up to this size is read here, in microseconds; a larger one would hold up the loop."""
PLAIN_HZ = range(8_000, 48_001)


async def decode_audio(
    host: EngineHost,
    data: bytes,
    *,
    name: str = "",
    rate_hz: int | None = None,
    max_s: float = 600.0,
    timeout_s: float = 60.0,
) -> Audio:
    """A sound file of any kind as mono sound, decoded in a process of its own unless it is plain WAV already.

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
    if rate_hz is None and (plain := _plain(data, max_s)) is not None:
        return plain
    pcm, its_rate_hz = await host.call(
        "backend.audio.decode:decode_pcm16",
        data,
        rate_hz=rate_hz,
        max_s=max_s,
        name=name,
        timeout_s=timeout_s,
    )
    return Audio(pcm, its_rate_hz)


def _plain(data: bytes, max_s: float) -> Audio | None:
    """The sound of a mono 16-bit WAV file; None for everything that needs a decoder, or its words of refusal."""
    if data[:4] != b"RIFF" or len(data) > PLAIN_BYTES:
        return None
    try:
        pcm, rate_hz = wav.read_wav(data)
    except AudioError:
        return None
    audio = Audio(pcm, rate_hz)
    return audio if pcm and rate_hz in PLAIN_HZ and audio.duration_s <= max_s else None
