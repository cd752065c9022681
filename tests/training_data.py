"""Recordings to train on, made on the spot: a speaker that is a machine, and accepted clips of it."""

from __future__ import annotations

import math
from array import array
from pathlib import Path

from backend.audio.wav import to_wav
from backend.training.clips import Made
from backend.training.voice_data import VoiceData

RATE_HZ = 22_050
SENTENCES = (
    "The quick brown fox jumps over the lazy dog.",
    "Every good game begins with a long story.",
    "We are live in five, four, three, two, one.",
    "Nobody has ever found the hidden door before.",
)


async def speaker_with_clips(
    data: VoiceData, folder: Path, *, name: str = "Machine", count: int = 4, seconds: float = 4.0
) -> tuple[str, list[int]]:
    """Add a synthetic speaker with accepted clips; its id and theirs."""
    speaker = await data.speakers.add(name, "en-us", synthetic=True)
    ids = []
    for n in range(count):
        path = folder / f"{speaker.id}-{n}.wav"
        path.write_bytes(tone(seconds, 200.0 + 40 * n))
        row = await data.clips.arrive(
            Made(
                uid=f"{speaker.id}-{n}",
                path=path,
                upload_id="",
                source="made here",
                start_s=0.0,
                end_s=seconds,
                duration_s=seconds,
                text=SENTENCES[n % len(SENTENCES)],
                text_from="prompt",
                speaker=speaker.id,
                emotion="",
                language="en-us",
                grade="A",
                reasons=(),
                measures={},
            ),
            "",
        )
        assert row is not None
        assert row.id is not None
        ids.append(row.id)
    await data.clips.change(ids, status="accepted")
    return speaker.id, ids


def tone(seconds: float, frequency_hz: float) -> bytes:
    """A quiet hum as WAV."""
    turn = 2 * math.pi * frequency_hz / RATE_HZ
    samples = array(
        "h", (round(8000 * math.sin(turn * n)) for n in range(round(seconds * RATE_HZ)))
    )
    return to_wav(samples.tobytes(), RATE_HZ)
