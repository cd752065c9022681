"""Sounds that commands play on the stage: files that the streamer put into one folder, and nothing outside of it.

They are read and decoded off the loop when they are first played, and kept in memory as they are played, within bounds. The
player lets them sound between her replies.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from pathlib import Path
from uuid import uuid4

from backend.contracts.audience import StageSound
from backend.contracts.entities import Audio
from backend.contracts.errors import InvalidInputError, TooLargeError
from backend.core.sound import decode_audio
from backend.core.workers import EngineHost, run_in_thread
from backend.playback.player import Player
from backend.playback.sounds import SoundStore

SUFFIXES = (".wav", ".ogg", ".flac", ".mp3")
MOST_BYTES = 8 << 20
LONGEST_S = 15.0
MOST_LISTED = 500
DECODING_S = 10.0
KEPT_BYTES = 16 << 20
"""Of decoded sounds: a dozen long ones, or a hundred short ones."""

_FILE = re.compile(r"[\w][\w .()-]{0,120}")

Stamp = tuple[int, int]
"""Size and time of change: a file that was exchanged is read anew."""


class CommandSounds:
    """For the backend's loop.

    Args:
        folder: Where they lie; need not exist.
        host: Where files that are no plain WAV are decoded.
        store: Where what is played can be fetched.
        player: The stage's.
    """

    def __init__(
        self,
        folder: Path,
        *,
        host: EngineHost,
        store: SoundStore,
        player: Player,
    ) -> None:
        self._folder = folder
        self._host = host
        self._store = store
        self._player = player
        self._kept: OrderedDict[str, tuple[Stamp, Audio]] = OrderedDict()

    async def all(self) -> list[StageSound]:
        """The files that can be named, by name."""
        return await run_in_thread(self._list)

    async def check(self, name: str) -> None:
        """See that there is such a sound.

        Raises:
            InvalidInputError: There is none of that name.
        """
        await run_in_thread(self._stamp, name)

    async def play(self, name: str) -> float:
        """Play one as soon as she is silent; gives its length in seconds.

        Raises:
            InvalidInputError: There is none of that name, or it is no sound.
            TooLargeError: It is too large or too long.
            BusyError, ConflictError: Too many wait, or everything is stopped.
        """
        audio = await self._sound(name)
        sound_id = uuid4().hex
        self._player.play_effect(audio, self._store.pass_on(sound_id, audio), sound_id)
        return audio.duration_s

    async def _sound(self, name: str) -> Audio:
        stamp = await run_in_thread(self._stamp, name)
        kept = self._kept.get(name)
        if kept is not None and kept[0] == stamp:
            self._kept.move_to_end(name)
            return kept[1]
        data = await run_in_thread(self._read, name)
        audio = await decode_audio(
            self._host, data, name=name, max_s=LONGEST_S, timeout_s=DECODING_S
        )
        self._kept[name] = stamp, audio
        self._kept.move_to_end(name)
        while sum(len(one.pcm) for _, one in self._kept.values()) > KEPT_BYTES:
            self._kept.popitem(last=False)
        return audio

    # --- in a thread ---

    def _list(self) -> list[StageSound]:
        found: list[StageSound] = []
        try:
            names = sorted(path.name for path in self._folder.iterdir())
        except OSError:
            return []
        for name in names:
            try:
                size, _ = self._stamp(name)
            except InvalidInputError:
                continue  # a note, a folder: nothing that a command could name
            problem = _too_large(name) if size > MOST_BYTES else ""
            found.append(StageSound(name=name, bytes=size, problem=problem))
            if len(found) == MOST_LISTED:
                break
        return found

    def _path(self, name: str) -> Path:
        path = self._folder / name
        is_plain = _FILE.fullmatch(name) is not None and path.suffix.lower() in SUFFIXES
        if not is_plain or path.is_symlink() or not path.is_file():
            raise InvalidInputError(
                f"There is no sound {name[:64]!r} in {self._folder}. Put a file there"
                f" ({', '.join(SUFFIXES)}) and name it without a folder."
            )
        return path

    def _stamp(self, name: str) -> Stamp:
        try:
            status = self._path(name).stat()
        except OSError as error:
            raise InvalidInputError(f"The sound {name[:64]!r} cannot be read: {error}.") from error
        return status.st_size, status.st_mtime_ns

    def _read(self, name: str) -> bytes:
        try:
            with self._path(name).open("rb") as file:
                data = file.read(MOST_BYTES + 1)
        except OSError as error:
            raise InvalidInputError(f"The sound {name[:64]!r} cannot be read: {error}.") from error
        if len(data) > MOST_BYTES:
            raise TooLargeError(_too_large(name))
        return data


def _too_large(name: str) -> str:
    return (
        f"{name} has more than {MOST_BYTES >> 20} MB, which is too large for a sound of a command."
    )
