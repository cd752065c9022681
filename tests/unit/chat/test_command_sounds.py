"""Sounds that commands play: which files have a name, and what becomes of those that cannot be played."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from backend.audio.wav import to_wav
from backend.chat import command_sounds as module
from backend.chat.command_sounds import CommandSounds
from backend.contracts.errors import AppError, InvalidInputError, TooLargeError
from backend.contracts.events import PlaybackFinished
from backend.core.bus import EventBus
from backend.core.workers import EngineHost
from backend.outputs.none import NoSound
from backend.playback.player import Player
from backend.playback.sounds import MOST_PASSING, SoundStore
from tests.fakes import Watch

HORN = to_wav(b"\x01\x00" * 8000, 8000)


class Stand:
    """Sounds over a real player and a real store."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "sounds"
        self.folder.mkdir()
        self.bus = EventBus()
        self.bus.bind(asyncio.get_running_loop())
        self.host = EngineHost()
        self.store = SoundStore(folder / "audio", max_bytes=1 << 20, max_age_days=1)
        self.player = Player(self.bus, NoSound(), lambda cue, turn_id, conversation_id: None)
        self.sounds = CommandSounds(
            self.folder, host=self.host, store=self.store, player=self.player
        )


async def test_a_sound_is_played_and_can_be_fetched(tmp_path: Path) -> None:
    stand = Stand(tmp_path)
    (stand.folder / "Air horn (1).wav").write_bytes(HORN)
    async with Watch(stand.bus) as seen:
        assert await stand.sounds.play("Air horn (1).wav") == 1.0
        finished = await seen.until("playback.finished")
    assert isinstance(finished, PlaybackFinished)
    assert (finished.heard, finished.interrupted) == ("", False)
    assert await stand.store.get(finished.turn_id or "", 1) == HORN
    assert not (tmp_path / "audio").exists()  # a horn a minute would push replies off the disk
    for _ in range(20):
        await stand.sounds.play("Air horn (1).wav")
        await asyncio.sleep(0)
    assert len(stand.store._passing) == MOST_PASSING


async def test_a_file_that_was_exchanged_is_read_anew(tmp_path: Path) -> None:
    stand = Stand(tmp_path)
    (stand.folder / "horn.wav").write_bytes(HORN)
    assert await stand.sounds.play("horn.wav") == 1.0
    (stand.folder / "horn.wav").write_bytes(to_wav(b"\x01\x00" * 4000, 8000))
    assert await stand.sounds.play("horn.wav") == 0.5


async def test_what_is_kept_in_memory_is_bounded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "KEPT_BYTES", 40_000)
    stand = Stand(tmp_path)
    for name in ("a.wav", "b.wav", "c.wav", "a.wav"):
        (stand.folder / name).write_bytes(HORN)
        await stand.sounds.play(name)
    assert list(stand.sounds._kept) == ["c.wav", "a.wav"]


@pytest.mark.parametrize(
    "name",
    [
        "../secret.wav",
        "/etc/passwd",
        "none.wav",
        "horn.exe",
        ".wav",
        "link.wav",
        "x\x00.wav",
        "a/b.wav",
    ],
)
async def test_nothing_outside_the_folder_has_a_name(tmp_path: Path, name: str) -> None:
    stand = Stand(tmp_path)
    (tmp_path / "secret.wav").write_bytes(HORN)
    (stand.folder / "horn.exe").write_bytes(HORN)
    (stand.folder / "link.wav").symlink_to(tmp_path / "secret.wav")
    for asked in (stand.sounds.check, stand.sounds.play):
        with pytest.raises(InvalidInputError, match="There is no sound"):
            await asked(name)


async def test_what_is_too_long_or_too_large_is_refused_in_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MOST_BYTES", 20_000)
    stand = Stand(tmp_path)
    (stand.folder / "large.wav").write_bytes(to_wav(bytes(30_000), 8000))
    with pytest.raises(TooLargeError, match="too large"):
        await stand.sounds.play("large.wav")
    listed = {one.name: one.problem for one in await stand.sounds.all()}
    assert "too large" in listed["large.wav"]


async def test_the_list_names_what_can_be_played_and_nothing_else(tmp_path: Path) -> None:
    stand = Stand(tmp_path)
    for name in ("b.OGG", "a.wav", "notes.txt", ".hidden.wav"):
        (stand.folder / name).write_bytes(HORN)
    (stand.folder / "folder.wav").mkdir()
    assert [one.name for one in await stand.sounds.all()] == ["a.wav", "b.OGG"]
    assert (
        await CommandSounds(
            tmp_path / "none", host=stand.host, store=stand.store, player=stand.player
        ).all()
        == []
    )


@pytest.mark.slow
async def test_other_kinds_are_decoded_in_a_process_of_their_own(tmp_path: Path) -> None:
    import numpy as np
    import soundfile

    stand = Stand(tmp_path)
    tone = np.sin(np.arange(24_000) / 10).astype("float32") / 2
    for name in ("a.ogg", "b.flac"):
        soundfile.write(stand.folder / name, tone, 24_000)
        assert await stand.sounds.play(name) == pytest.approx(1.0, abs=0.05)
    soundfile.write(stand.folder / "long.flac", np.tile(tone, 16), 24_000)
    (stand.folder / "junk.ogg").write_bytes(b"OggS" + bytes(500))
    for name in ("long.flac", "junk.ogg"):
        with pytest.raises(AppError):
            await stand.sounds.play(name)
    await stand.host.stop()
