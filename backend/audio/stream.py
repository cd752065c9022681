"""A sound file piece by piece: hours of it in the memory of seconds. What is read and refused is `backend.audio.decode`'s."""

from __future__ import annotations

import contextlib
import stat
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from backend.audio.clip_measures import flat_tops
from backend.audio.decode import (
    BLOCK_FRAMES,
    KEPT_HZ,
    demuxer_of,
    ffmpeg_command,
    ffmpeg_error,
    open_soundfile,
    read_block,
    too_long,
)
from backend.audio.errors import AudioError, AudioTooLargeError
from backend.audio.levels import FloatArray
from backend.audio.resample import Resampler

PIECE_S = 5.0
LONGEST_S = 100 * 3600.0
SAME_SIDE = 0.25  # of the channels' power is left in their mean: they do not cancel each other
SILENT_SIDE = 0.01  # of the loudest channel's power: nobody speaks in this one


@dataclass(slots=True)
class SoundStream:
    """An open sound file.

    Attributes:
        source_hz: Samples per second of the file (through ffmpeg: of what it gives, 48,000).
        channels: Of the file (through ffmpeg: 1).
        rate_hz: Samples per second of what is given: the file's own, at most 48,000.
        flat_tops: (start, length) in seconds of what was clipped in any channel, so far read.
        read_s: Seconds read so far.
        problem: Why the file breaks off before its end, empty when it does not.
    """

    source_hz: int
    channels: int
    rate_hz: int
    _read: Callable[[], FloatArray]
    flat_tops: list[tuple[float, float]] = field(default_factory=list)
    problem: str = ""
    _frames: int = 0
    _broken: int = 0

    @property
    def read_s(self) -> float:
        """Seconds read so far."""
        return self._frames / self.source_hz

    def pieces(
        self, name: str, max_s: float = LONGEST_S, piece_s: float = PIECE_S
    ) -> Iterator[FloatArray]:
        """Mono float32 pieces in [-1, 1], shape (n_samples,), in order.

        Channels are averaged, except that one voice in one channel, or in opposite phase, is taken from one channel.

        Args:
            name: What to call the file in messages.
            max_s: A longer sound is refused, once so much was given.
            piece_s: Length of a piece before resampling; the last one is what is left.

        Raises:
            AudioError: Nothing can be read, or most of it is no sound.
            AudioTooLargeError: It is longer than ``max_s``.
        """
        resampler = Resampler(self.source_hz, self.rate_hz)
        frames = max(round(piece_s * self.source_hz), 1)
        channel: int | None = None
        is_chosen = self.channels == 1
        while len(raw := self._gather(frames)):
            if self._frames > max_s * self.source_hz:
                raise AudioTooLargeError(too_long(name, max_s))
            self._note_flat_tops(raw)
            if not is_chosen and raw.any():
                channel, is_chosen = _only_channel(raw), True
            mono = raw.mean(axis=1) if channel is None else np.ascontiguousarray(raw[:, channel])
            yield resampler.push(mono)
        if not self._frames:
            raise AudioError(self.problem or f"{name} holds no sound.")
        if self._broken > self._frames / 2:
            raise AudioError(f"{name} is broken: most of its samples are not numbers.")
        rest = resampler.push(np.empty(0, np.float32), is_last=True)
        if rest.size:
            yield rest

    def _gather(self, frames: int) -> FloatArray:
        """At least so many frames, finite and in [-1, 1], shape (n_frames, channels); fewer at the end only."""
        blocks: list[FloatArray] = []
        count = 0
        while count < frames and not self.problem:
            try:
                block = self._read()
            except AudioError as error:
                self.problem = str(error)  # what was read so far is sound
                break
            if not len(block):
                break
            count += len(block)
            blocks.append(block)
        if not blocks:
            return np.empty((0, self.channels), np.float32)
        raw = np.concatenate(blocks)
        finite = np.isfinite(raw).all(axis=1)
        if not finite.all():
            self._broken += len(raw) - int(finite.sum())
            raw = np.nan_to_num(raw, nan=0.0, posinf=1.0, neginf=-1.0)
        self._frames += len(raw)
        return np.clip(raw, -1.0, 1.0)

    def _note_flat_tops(self, raw: FloatArray) -> None:
        before = self._frames - len(raw)
        for channel in range(self.channels):
            for first, length in flat_tops(np.ascontiguousarray(raw[:, channel])):
                self.flat_tops.append(((before + first) / self.source_hz, length / self.source_hz))


@contextmanager
def open_stream(path: Path, *, name: str = "") -> Iterator[SoundStream]:
    """Open a sound file of any size.

    Raises:
        AudioError: If it is no sound that can be read, in words for the person who sent it.
    """
    name = name[:100] or path.name
    try:
        found = path.lstat()
    except OSError as error:
        raise AudioError(f"{name} cannot be opened ({error.strerror}).") from error
    if not stat.S_ISREG(found.st_mode):
        raise AudioError(f"{name} is no plain file; send the sound file itself.")
    if found.st_size == 0:
        raise AudioError(f"{name} is empty.")
    with contextlib.ExitStack() as stack:
        if demuxer := demuxer_of(path):
            yield _by_ffmpeg(path.absolute(), demuxer, name, stack)
        else:
            file = stack.enter_context(open_soundfile(path, name))
            rate_hz = min(file.samplerate, KEPT_HZ)
            yield SoundStream(
                file.samplerate, file.channels, rate_hz, lambda: read_block(file, name)
            )


def _by_ffmpeg(path: Path, demuxer: str, name: str, stack: contextlib.ExitStack) -> SoundStream:
    command = ffmpeg_command(path, demuxer, KEPT_HZ, LONGEST_S, name)
    said = stack.enter_context(tempfile.TemporaryFile())
    process = stack.enter_context(
        subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=said, bufsize=0
        )
    )
    stack.callback(process.kill)  # runs before the wait at the end of the process' own `with`
    output = process.stdout
    assert output is not None
    rest = b""
    has_given = False

    def read() -> FloatArray:
        nonlocal rest, has_given
        data = rest
        while len(data) < 2 and (more := output.read(2 * BLOCK_FRAMES)):
            data += more
        data, rest = data[: len(data) // 2 * 2], data[len(data) // 2 * 2 :]
        if data:
            has_given = True
        elif not has_given:
            said.seek(0)
            raise ffmpeg_error(said.read(10_000), path, name)
        return np.frombuffer(data, "<i2").astype(np.float32)[:, None] / 32768.0

    return SoundStream(KEPT_HZ, 1, KEPT_HZ, read)


def _only_channel(raw: FloatArray) -> int | None:
    """The channel to take alone; None = the mean of all is as good."""
    power = np.mean(np.square(raw, dtype=np.float64), axis=0)
    loudest = int(np.argmax(power))
    mixed = float(np.mean(np.square(raw.mean(axis=1), dtype=np.float64)))
    cancels = mixed < SAME_SIDE * float(power.mean())
    is_alone = bool((np.delete(power, loudest) < SILENT_SIDE * power[loudest]).all())
    return loudest if cancels or is_alone else None
