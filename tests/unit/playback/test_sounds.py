"""The store of sounds keeps what is new in memory, within bounds, and everything on disk."""

from __future__ import annotations

from pathlib import Path

from backend.contracts.entities import Audio
from backend.playback import sounds
from backend.playback.sounds import SoundStore

RATE_HZ = 16_000
TURN = "ab" * 8


def store(folder: Path) -> SoundStore:
    return SoundStore(folder, max_bytes=1 << 30, max_age_days=1)


async def test_long_sounds_do_not_pile_up_in_memory_and_are_served_from_the_disk(
    tmp_path: Path,
) -> None:
    kept = store(tmp_path)
    minute = Audio(b"\1\0" * RATE_HZ * 60, RATE_HZ)
    for n in range(1, 9):
        kept.put(TURN, n, minute)
    assert [len(await kept.get(TURN, n)) for n in range(1, 9)] == [44 + len(minute.pcm)] * 8
    await kept.close()
    assert sum(map(len, kept._recent.values())) <= sounds.KEEP_BYTES
    assert [len(await kept.get(TURN, n)) for n in range(1, 9)] == [44 + len(minute.pcm)] * 8


async def test_many_short_sounds_are_kept_up_to_a_number(tmp_path: Path) -> None:
    kept = store(tmp_path)
    for n in range(sounds.KEEP_IN_MEMORY + 20):
        kept.put(TURN, n, Audio(b"\1\0" * 100, RATE_HZ))
    await kept.close()
    assert len(kept._recent) == sounds.KEEP_IN_MEMORY
    assert await kept.get(TURN, 0)


async def test_a_sound_that_is_made_anew_counts_once(tmp_path: Path) -> None:
    kept = store(tmp_path)
    for _ in range(5):
        kept.put(TURN, 1, Audio(b"\1\0" * 100, RATE_HZ))
    await kept.close()
    assert kept._bytes == sum(map(len, kept._recent.values())) == 244
