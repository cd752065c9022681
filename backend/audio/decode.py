"""Any sound file to mono samples, bounded in time and memory whatever the file says about itself.

WAV, FLAC, OGG and MP3 through soundfile; M4A, WEBM, AAC and WMA through ffmpeg where it is installed. What a file is
called does not matter. Files come from strangers: inside the backend this runs in a process of its own.
"""

from __future__ import annotations

import io
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from backend.audio.errors import AudioError, AudioTooLargeError
from backend.audio.levels import FloatArray, to_pcm16
from backend.audio.resample import Resampler

IDLE_S = 60.0  # its process ends when nothing was decoded for so long

MAX_BYTES = 200 << 20
MAX_CHANNELS = 16
LOWEST_HZ, HIGHEST_HZ = 2_000, 768_000
KEPT_HZ = 48_000  # higher rates are brought down to this while reading
BLOCK_FRAMES = 8_192  # what is lost where a damaged file breaks off
FFMPEG_S = 60.0

# ffmpeg is told what the file is: left to guess it would also follow playlists to other files.
FFMPEG_MAGIC = (
    (4, b"ftyp", "mov"),
    (0, b"\x1a\x45\xdf\xa3", "matroska"),
    (0, b"\xff\xf1", "aac"),
    (0, b"\xff\xf9", "aac"),
    (0, b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", "asf"),
)


@dataclass(frozen=True, slots=True)
class Sound:
    """Decoded sound.

    Attributes:
        samples: Mono float32 in [-1, 1], shape (n_samples,).
        rate_hz: Samples per second.
    """

    samples: FloatArray
    rate_hz: int

    @property
    def duration_s(self) -> float:
        """Length in seconds."""
        return self.samples.size / self.rate_hz


def decode(
    source: bytes | Path, *, rate_hz: int | None = None, max_s: float = 600.0, name: str = ""
) -> Sound:
    """Read a sound file. A file that breaks off gives what is there.

    Args:
        source: The file, or its content.
        rate_hz: Rate wanted; None keeps the file's own (at most 48 kHz).
        max_s: A longer sound is refused.
        name: What to call it in messages.

    Raises:
        AudioError: If it is no sound that can be read, in words for the person who sent it.
    """
    name = name[:100] or (source.name if isinstance(source, Path) else "The file")
    size = source.stat().st_size if isinstance(source, Path) else len(source)
    if size == 0:
        raise AudioError(f"{name} is empty.")
    if size > MAX_BYTES:
        raise AudioTooLargeError(
            f"{name} has {size / 1e6:,.0f} MB; up to {MAX_BYTES / 1e6:,.0f} MB are read. Cut it into pieces."
        )
    if demuxer := demuxer_of(source):
        return _by_ffmpeg(source, demuxer, rate_hz or KEPT_HZ, max_s, name)
    return _by_soundfile(source, rate_hz, max_s, name)


def decode_pcm16(
    data: bytes, *, rate_hz: int | None = None, max_s: float = 600.0, name: str = ""
) -> tuple[bytes, int]:
    """`decode` for the engine host: PCM16 mono and its rate."""
    sound = decode(data, rate_hz=rate_hz, max_s=max_s, name=name)
    return to_pcm16(sound.samples), sound.rate_hz


def demuxer_of(source: bytes | Path) -> str:
    """What ffmpeg shall take the file for, by its first bytes; empty when soundfile reads it (or nothing does)."""
    head = source[:16] if isinstance(source, bytes) else _head(source)
    for offset, magic, demuxer in FFMPEG_MAGIC:
        if head[offset : offset + len(magic)] == magic:
            return demuxer
    return ""


def open_soundfile(source: bytes | Path, name: str) -> Any:
    """A ``soundfile.SoundFile`` that reads forwards; its rate and channels are ones that are read.

    Raises:
        AudioError: If it is no sound that can be read.
    """
    import soundfile

    class Forwards(soundfile.SoundFile):  # type: ignore[misc]  # soundfile has no types
        """Reads on where it is: soundfile seeks after every piece, and MP3 then has holes at the seams."""

        def seekable(self) -> bool:
            return False

    try:
        file = Forwards(io.BytesIO(source) if isinstance(source, bytes) else source)
    except (soundfile.LibsndfileError, RuntimeError, ValueError, TypeError) as error:
        raise AudioError(
            f"{name} is no sound file that can be read ({_reason(error)}). WAV, FLAC, OGG and MP3 always work."
        ) from error
    try:
        if not LOWEST_HZ <= file.samplerate <= HIGHEST_HZ:
            raise AudioError(
                f"{name} says it has {file.samplerate:,} samples a second; {LOWEST_HZ:,} to {HIGHEST_HZ:,} are read."
            )
        if not 1 <= file.channels <= MAX_CHANNELS:
            raise AudioError(
                f"{name} says it has {file.channels} channels; 1 to {MAX_CHANNELS} are read."
            )
    except AudioError:
        file.close()
        raise
    return file


def read_block(file: Any, name: str) -> FloatArray:
    """The next samples of `open_soundfile`, shape (n_frames, channels); none at the end.

    Raises:
        AudioError: The file is damaged here.
    """
    import soundfile

    try:
        return np.asarray(file.read(BLOCK_FRAMES, dtype="float32", always_2d=True))
    except (soundfile.LibsndfileError, RuntimeError) as error:
        raise AudioError(f"{name} is damaged ({_reason(error)}).") from error


def ffmpeg_command(path: Path, demuxer: str, rate_hz: int, max_s: float, name: str) -> list[str]:
    """The command that writes the sound of a file to its output, PCM16 mono.

    Raises:
        AudioError: ffmpeg is not installed.
    """
    program = shutil.which("ffmpeg")
    if program is None:
        raise AudioError(
            f"{name} is an M4A, WEBM, AAC or WMA file: install ffmpeg to read it, or send WAV, FLAC, OGG or MP3."
        )
    command = [program, "-nostdin", "-hide_banner", "-v", "error", "-threads", "1"]
    command += ["-protocol_whitelist", "file", "-f", demuxer, "-i", f"file:{path}"]
    command += ["-map", "0:a:0", "-t", f"{max_s + 1:g}", "-ac", "1", "-ar", str(rate_hz)]
    return [*command, "-f", "s16le", "-fs", str(int((max_s + 1) * rate_hz * 2)), "pipe:1"]


def ffmpeg_error(output: bytes, path: Path, name: str) -> AudioError:
    """Why ffmpeg gave nothing, without our own paths."""
    lines = output.decode(errors="replace").strip().splitlines()
    reason = lines[-1].replace(str(path), name) if lines else "no sound in it"
    return AudioError(f"{name} cannot be read: {reason[:200]}.")


def _by_soundfile(source: bytes | Path, rate_hz: int | None, max_s: float, name: str) -> Sound:
    with open_soundfile(source, name) as file:
        kept_hz = rate_hz or min(file.samplerate, KEPT_HZ)
        resampler = Resampler(file.samplerate, kept_hz)
        most_frames = int(max_s * file.samplerate)
        pieces: list[FloatArray] = []
        frames = broken = 0
        while True:
            try:
                block = read_block(file, name)
            except AudioError:
                if frames:
                    break  # damaged further on: what was read so far is sound
                raise
            if not len(block):
                break
            frames += len(block)
            if frames > most_frames:
                raise AudioTooLargeError(too_long(name, max_s))
            mono = block.mean(axis=1)
            broken += int(mono.size - np.isfinite(mono).sum())
            mono = np.nan_to_num(mono, nan=0.0, posinf=1.0, neginf=-1.0)
            pieces.append(resampler.push(np.clip(mono, -1.0, 1.0)))
    if not frames:
        raise AudioError(f"{name} holds no sound.")
    if broken > frames / 2:
        raise AudioError(f"{name} is broken: most of its samples are not numbers.")
    pieces.append(resampler.push(np.empty(0, np.float32), is_last=True))
    return Sound(np.concatenate(pieces), kept_hz)


def _by_ffmpeg(source: bytes | Path, demuxer: str, rate_hz: int, max_s: float, name: str) -> Sound:
    with tempfile.TemporaryDirectory(prefix="luma-decode-") as folder:
        if isinstance(source, bytes):
            path = Path(folder) / "input"  # a file, because M4A must be read back and forth
            path.write_bytes(source)
        else:
            path = source.resolve()
        command = ffmpeg_command(path, demuxer, rate_hz, max_s, name)
        try:
            done = subprocess.run(command, capture_output=True, timeout=FFMPEG_S, check=False)
        except subprocess.TimeoutExpired as error:
            raise AudioError(f"{name} could not be read within {FFMPEG_S:g} s.") from error
    samples = np.frombuffer(done.stdout[: len(done.stdout) // 2 * 2], "<i2").astype(np.float32)
    if not samples.size:
        raise ffmpeg_error(done.stderr, path, name)
    if samples.size > max_s * rate_hz:
        raise AudioTooLargeError(too_long(name, max_s))
    return Sound(samples / 32768.0, rate_hz)


def _head(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(16)


def too_long(name: str, max_s: float) -> str:
    """What is said of a sound that is too long."""
    length = f"{max_s / 60:g} minutes" if max_s >= 120 else f"{max_s:g} s"
    return f"{name} is longer than {length}; cut it into pieces."


def _reason(error: Exception) -> str:
    text = getattr(error, "error_string", None) or str(error)
    return str(text).rstrip(".")[:120]
