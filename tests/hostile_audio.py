"""Over 300 sound files as an enemy, a bug or an accident would make them; shares no code with what reads them.

    python -m tests.hostile_audio FOLDER      writes all of them, for trying other programs

Headers that lie, bombs, floats that are no numbers, files cut at every structure and with bytes changed, programs and
archives with the ending of sound, tags of impossible size, playlists that point outside, odd names, links and pipes.
Everything is the same in every run. `Bait` is what the files try to reach: it must stay unread and unrun.
"""

from __future__ import annotations

import gzip
import io
import json
import math
import os
import pickle
import random
import shutil
import socket
import struct
import subprocess
import sys
import wave
import zipfile
from array import array
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

RATE_HZ = 16_000
MAX32, MAX64 = 0xFFFFFFFF, 0xFFFFFFFFFFFFFFFF
LONG_S = 3 * 3600


@dataclass(frozen=True)
class Hostile:
    """A file to send.

    Attributes:
        path: Where it lies.
        filename: What its sender calls it.
        kind: What is wrong with it, in a word.
    """

    path: Path
    filename: str
    kind: str


@dataclass(frozen=True)
class Bait:
    """What must stay untouched.

    Attributes:
        secret: A sound outside of the folder of uploads; links and playlists point to it.
        trace: A file that exists as soon as anything in an upload was run.
    """

    secret: Path
    trace: Path


def make(folder: Path, bait: Bait, *, every: int = 1) -> list[Hostile]:
    """Write the files; with ``every`` = 10 every tenth of them.

    Args:
        folder: Where they go; the bait lies elsewhere.
        bait: Made here too.
        every: Which share of them.
    """
    folder.mkdir(parents=True, exist_ok=True)
    bait.secret.parent.mkdir(parents=True, exist_ok=True)
    bait.secret.write_bytes(wav(tone(5.0)))
    made = []
    for number, (kind, filename, write) in enumerate(_all(bait)):
        if number % every:
            continue
        # Stored as an upload is stored: under a number, with the name kept beside it.
        path = folder / f"{number:03d}"
        write(path)
        made.append(Hostile(path, filename, kind))
    return made


def count() -> int:
    """How many there are."""
    nowhere = Path("nowhere")
    return sum(1 for _ in _all(Bait(nowhere / "a", nowhere / "b")))


# --- sounds that are fine -----------------------------------------------------------------------------------------------


def tone(seconds: float, hz: float = 220.0, rate_hz: int = RATE_HZ) -> bytes:
    """PCM16."""
    step = 2 * math.pi * hz / rate_hz
    return array(
        "h", (int(9000 * math.sin(step * n)) for n in range(int(seconds * rate_hz)))
    ).tobytes()


def wav(pcm: bytes, rate_hz: int = RATE_HZ) -> bytes:
    """A sound WAV file."""
    target = io.BytesIO()
    with wave.open(target, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate_hz)
        file.writeframes(pcm)
    return target.getvalue()


@cache
def encoded(kind: str) -> bytes:
    """Half a second of tone in a compressed format; with no encoder for it, its first bytes and noise."""
    pcm = tone(0.5)
    if kind in ("flac", "ogg", "mp3"):
        import soundfile

        target = io.BytesIO()
        samples = memoryview(pcm).cast("h")
        import numpy

        soundfile.write(target, numpy.asarray(samples), RATE_HZ, format=kind.upper())
        return target.getvalue()
    program = shutil.which("ffmpeg")
    if program is None:
        magic = {"m4a": b"\0\0\0\x20ftypM4A ", "webm": b"\x1a\x45\xdf\xa3"}[kind]
        return magic + random.Random(kind).randbytes(3000)
    form = {"m4a": ["-c:a", "aac", "-f", "ipod"], "webm": ["-c:a", "libopus", "-f", "webm"]}[kind]
    command = [program, "-v", "error", "-i", "pipe:0", *form, "-fflags", "+bitexact"]
    command += ["-flags:a", "+bitexact", "-movflags", "frag_keyframe+empty_moov", "pipe:1"]
    if kind == "webm":
        del command[command.index("-movflags") : command.index("-movflags") + 2]
    return subprocess.run(command, input=wav(pcm), capture_output=True, check=True).stdout


# --- pieces of containers ---------------------------------------------------------------------------------------------


def chunk(name: bytes, data: bytes, size: int | None = None) -> bytes:
    """A RIFF chunk that says it has ``size`` bytes."""
    said = len(data) if size is None else size
    return name + struct.pack("<I", said & MAX32) + data + b"\0" * (len(data) % 2)


def fmt(
    tag: int = 1,
    channels: int = 1,
    rate_hz: int = RATE_HZ,
    bits: int = 16,
    byte_rate: int | None = None,
    align: int | None = None,
) -> bytes:
    """The body of a format chunk."""
    width = channels * bits // 8 if align is None else align
    rate = rate_hz * width if byte_rate is None else byte_rate
    return struct.pack(
        "<HHIIHH", tag, channels, rate_hz & MAX32, rate & MAX32, width & 0xFFFF, bits
    )


def riff(
    *chunks: bytes, size: int | None = None, magic: bytes = b"RIFF", form: bytes = b"WAVE"
) -> bytes:
    """A RIFF file that says it has ``size`` bytes."""
    body = form + b"".join(chunks)
    return magic + struct.pack("<I", (len(body) if size is None else size) & MAX32) + body


def box(name: bytes, data: bytes = b"", size: int | None = None) -> bytes:
    """An MP4 box."""
    return struct.pack(">I", (len(data) + 8 if size is None else size) & MAX32) + name + data


def syncsafe(value: int) -> bytes:
    """A size as ID3v2 writes it."""
    return bytes((value >> shift) & 0x7F for shift in (21, 14, 7, 0))


# --- the collection ---------------------------------------------------------------------------------------------------

Writer = Callable[[Path], None]
Entry = tuple[str, str, Writer]


def _bytes(make_data: Callable[[], bytes]) -> Writer:
    def write(path: Path) -> None:
        path.write_bytes(make_data())

    return write


def _all(bait: Bait) -> Iterator[Entry]:
    for source in (
        _wave_headers,
        _riff_sizes,
        _other_headers,
        _floats,
        _cut,
        _changed,
        _bombs,
        _tags,
        _names,
    ):
        yield from source()
    yield from _strangers(bait)
    yield from _playlists(bait)
    yield from _no_files(bait)


def _plain(kind: str, items: dict[str, Callable[[], bytes]]) -> Iterator[Entry]:
    for name, make_data in items.items():
        yield kind, name, _bytes(make_data)


def _wave_headers() -> Iterator[Entry]:
    pcm = tone(0.5)

    def lie(**fields: int) -> Callable[[], bytes]:
        return lambda: riff(chunk(b"fmt ", fmt(**fields)), chunk(b"data", pcm))

    yield from _plain(
        "header",
        {
            **{f"channels {n}.wav": lie(channels=n) for n in (0, 3, 16, 17, 255, 256, 1024, 1025, 32767, 65535)},
            **{f"rate {n}.wav": lie(rate_hz=n) for n in (0, 1, 7, 1999, 2**31 - 1, 2**31, MAX32)},
            **{f"bits {n}.wav": lie(bits=n) for n in (0, 1, 7, 8, 12, 24, 33, 64, 4096, 65535)},
            **{f"align {n}.wav": lie(align=n) for n in (0, 1, 3, 65535)},
            **{f"byte rate {n}.wav": lie(byte_rate=n) for n in (0, 1, MAX32)},
            **{
                f"tag {n}.wav": lie(tag=n)
                for n in (0, 2, 3, 6, 7, 0x11, 0x22, 0x31, 0x50, 0x55, 0x161, 0xFFFE, 0xFFFF)
            },
        },
    )  # fmt: skip


def _riff_sizes() -> Iterator[Entry]:
    pcm = tone(0.5)
    good, data = chunk(b"fmt ", fmt()), chunk(b"data", pcm)

    def junk(name: bytes, size: int) -> Callable[[], bytes]:
        return lambda: riff(good, chunk(name, b"\1" * 64, size), data)

    yield from _plain(
        "sizes",
        {
            **{f"riff {n}.wav": (lambda n=n: riff(good, data, size=n)) for n in (0, 1, 4, 2**31, MAX32)},
            **{
                f"data {n}.wav": (lambda n=n: riff(good, chunk(b"data", pcm, n)))
                for n in (0, 1, 3, 2**31 - 1, 2**31, MAX32 - 1, MAX32)
            },
            **{
                f"fmt {n}.wav": (lambda n=n: riff(chunk(b"fmt ", fmt(), n), data))
                for n in (0, 2, 14, 15, 17, 18, 2**31, MAX32)
            },
            "no fmt.wav": lambda: riff(data),
            "no data.wav": lambda: riff(good),
            "two fmt.wav": lambda: riff(good, chunk(b"fmt ", fmt(channels=9, bits=8)), data),
            "two data.wav": lambda: riff(good, data, data, data),
            "data first.wav": lambda: riff(data, good),
            "only riff.wav": lambda: riff(),
            "list.wav": junk(b"LIST", MAX32),
            "fact.wav": junk(b"fact", 2**31),
            "cue.wav": lambda: riff(good, chunk(b"cue ", struct.pack("<I", MAX32) * 6), data),
            "smpl.wav": lambda: riff(good, chunk(b"smpl", b"\xff" * 36), data),
            "bext.wav": lambda: riff(good, chunk(b"bext", b"\xff" * 602), data),
            "peak.wav": lambda: riff(good, chunk(b"PEAK", b"\xff" * 16), data),
            "nested.wav": lambda: riff(good, *[riff(good) for _ in range(500)], data),
            "thousand chunks.wav": lambda: riff(good, *[chunk(b"junk", b"ab")] * 20_000, data),
        },
    )  # fmt: skip


def _other_headers() -> Iterator[Entry]:
    pcm = tone(0.5)
    big = pcm[1:] + b"\0"

    def aiff(
        frames: int = 8000,
        channels: int = 1,
        size: int | None = None,
        rate: bytes = b"\x40\x0c\xfa",
    ) -> bytes:
        common = struct.pack(">HIH", channels, frames & MAX32, 16) + rate.ljust(10, b"\0")
        sound = (
            b"SSND"
            + struct.pack(">I", (len(big) + 8 if size is None else size) & MAX32)
            + bytes(8)
            + big
        )
        body = b"AIFF" + b"COMM" + struct.pack(">I", 18) + common + sound
        return b"FORM" + struct.pack(">I", len(body)) + body

    def au(
        offset: int = 24,
        size: int = MAX32,
        coding: int = 3,
        rate_hz: int = RATE_HZ,
        channels: int = 1,
    ) -> bytes:
        return (
            b".snd"
            + struct.pack(">IIIII", offset & MAX32, size & MAX32, coding, rate_hz & MAX32, channels)
            + big
        )

    def rf64(size: int) -> bytes:
        ds64 = chunk(b"ds64", struct.pack("<QQQI", size & MAX64, size & MAX64, size & MAX64, MAX32))
        return riff(
            ds64, chunk(b"fmt ", fmt()), chunk(b"data", pcm, MAX32), magic=b"RF64", size=MAX32
        )

    def caf(size: int, rate: float = 16000.0, channels: int = 1) -> bytes:
        desc = struct.pack(">d4sIIIII", rate, b"lpcm", 2, 2, 1, channels & MAX32, 16)
        return (
            b"caff\0\1\0\0desc"
            + struct.pack(">q", len(desc))
            + desc
            + b"data"
            + struct.pack(">q", size)
            + bytes(4)
            + pcm
        )

    yield from _plain(
        "container",
        {
            "frames.aiff": lambda: aiff(frames=MAX32),
            "channels 0.aiff": lambda: aiff(channels=0),
            "channels 65535.aiff": lambda: aiff(channels=65535),
            "size.aiff": lambda: aiff(size=MAX32),
            "rate inf.aiff": lambda: aiff(rate=b"\x7f\xff" + b"\xff" * 8),
            "rate minus.aiff": lambda: aiff(rate=b"\xc0\x0c\xfa"),
            "offset.au": lambda: au(offset=MAX32),
            "offset 0.au": lambda: au(offset=0),
            "rate.au": lambda: au(rate_hz=MAX32),
            "channels.au": lambda: au(channels=65535),
            "coding.au": lambda: au(coding=250),
            "exabytes.wav": lambda: rf64(2**63 - 1),
            "minus.wav": lambda: rf64(2**63),
            "all.wav": lambda: rf64(MAX64),
            "size.caf": lambda: caf(2**62),
            "minus.caf": lambda: caf(-(2**63)),
            "rate.caf": lambda: caf(-1, rate=1e300),
            "rate nan.caf": lambda: caf(-1, rate=math.nan),
            "channels.caf": lambda: caf(-1, channels=65535),
            "voc.voc": lambda: b"Creative Voice File\x1a" + struct.pack("<HHH", 26, 0x10A, 0x1129) + b"\1\xff\xff\xff" + pcm,
            "ircam.sf": lambda: b"\x64\xa3\1\0" + struct.pack("<fII", 1e30, 65535, 2) + pcm,
            "mat.mat": lambda: struct.pack("<IIIII", 0, MAX32, MAX32, 0, 11) + b"samplerate\0" + pcm,
        },
    )  # fmt: skip


def _floats() -> Iterator[Entry]:
    def made(value: float, wide: bool, *, each: int = 1) -> Callable[[], bytes]:
        kind = "d" if wide else "f"

        def build() -> bytes:
            values = [0.3 * math.sin(n / 9) for n in range(8000)]
            values[::each] = [value] * len(values[::each])
            head = fmt(tag=3, bits=64 if wide else 32)
            return riff(chunk(b"fmt ", head), chunk(b"data", array(kind, values).tobytes()))

        return build

    yield from _plain(
        "floats",
        {
            "nan.wav": made(math.nan, False),
            "inf.wav": made(math.inf, False),
            "minus inf.wav": made(-math.inf, False),
            "nan wide.wav": made(math.nan, True),
            "some nan.wav": made(math.nan, False, each=5),
            "some inf.wav": made(-math.inf, True, each=3),
            "huge.wav": made(3e38, False, each=2),
            "huge wide.wav": made(1e308, True, each=2),
            "tiny.wav": made(1e-45, False),
        },
    )


def _cut() -> Iterator[Entry]:
    lengths = (1, 3, 4, 8, 12, 16, 20, 27, 36, 40, 44, 45, 58, 86, 120, 200, 500)
    for kind in ("wav", "flac", "ogg", "mp3", "m4a", "webm"):
        for length in (*lengths[: 17 if kind == "wav" else 14], -1, -100):

            def cut(kind: str = kind, length: int = length) -> bytes:
                return (wav(tone(0.5)) if kind == "wav" else encoded(kind))[:length]

            yield "cut", f"cut at {length}.{kind}", _bytes(cut)


def _changed() -> Iterator[Entry]:
    for kind in ("wav", "flac", "ogg", "mp3", "m4a", "webm"):
        for seed in range(8):

            def changed(kind: str = kind, seed: int = seed) -> bytes:
                chance = random.Random(f"{kind}{seed}")
                data = bytearray(wav(tone(0.5)) if kind == "wav" else encoded(kind))
                reach = 200 if seed % 2 else len(data)
                for _ in range(1 + seed * 4):
                    data[chance.randrange(min(reach, len(data)))] = chance.choice(
                        (0, 255, 127, 128, chance.randrange(256))
                    )
                return bytes(data)

            yield "changed", f"changed {seed}.{kind}", _bytes(changed)


def _bombs() -> Iterator[Entry]:
    def silence(kind: str, rate_hz: int) -> Writer:
        def write(path: Path) -> None:
            import numpy
            import soundfile

            with soundfile.SoundFile(path, "w", rate_hz, 1, format=kind) as file:
                block = numpy.zeros(rate_hz * 60, numpy.int16)
                for _ in range(LONG_S // 60):
                    file.write(block)

        return write

    def sparse(path: Path) -> None:
        with path.open("wb") as file:
            file.write(
                riff(chunk(b"fmt ", fmt(channels=2, rate_hz=48_000)), b"data\xff\xff\xff\xff")
            )
            file.truncate(8 << 30)

    def streaminfo(samples: int, block: int = 4096, rate_hz: int = RATE_HZ) -> Callable[[], bytes]:
        def build() -> bytes:
            data = bytearray(encoded("flac"))
            packed = (rate_hz << 44) | (0 << 41) | (15 << 36) | samples
            data[8:12] = struct.pack(">HH", block, block)
            data[18:26] = struct.pack(">Q", packed)
            return bytes(data)

        return build

    yield "bomb", "three hours of nothing.flac", silence("FLAC", 8000)
    yield "bomb", "three hours of nothing.ogg", silence("OGG", 8000)
    yield "bomb", "three hours of nothing.mp3", silence("MP3", 8000)
    yield "bomb", "eight gigabytes of nothing.wav", sparse
    yield from _plain(
        "bomb",
        {
            "claims 2^36 samples.flac": streaminfo(2**36 - 1),
            "claims 2^32 samples.flac": streaminfo(2**32),
            "claims one sample.flac": streaminfo(1),
            "claims big blocks.flac": streaminfo(8000, block=65535),
            "claims no blocks.flac": streaminfo(8000, block=0),
            "claims a rate of 0.flac": streaminfo(8000, rate_hz=0),
            "claims a rate of 1048575.flac": streaminfo(8000, rate_hz=2**20 - 1),
            "zip of zeros.wav": lambda: _zip({"a.wav": bytes(20 << 20)}),
            "gzip of zeros.wav.gz": lambda: gzip.compress(bytes(20 << 20), mtime=0),
        },
    )


def _tags() -> Iterator[Entry]:
    def id3(size: int, body: bytes = b"", version: int = 4, flags: int = 0) -> Callable[[], bytes]:
        return lambda: b"ID3" + bytes((version, 0, flags)) + syncsafe(size) + body + encoded("mp3")

    def frame(name: bytes, size: int, body: bytes) -> bytes:
        return name + syncsafe(size) + b"\0\0" + body

    def blocks(*found: tuple[int, int, bytes]) -> Callable[[], bytes]:
        """Blocks of metadata after STREAMINFO: (type, size said, body)."""

        def build() -> bytes:
            data = encoded("flac")
            extra = b"".join(
                bytes((kind,)) + struct.pack(">I", size & 0xFFFFFF)[1:] + body
                for kind, size, body in found
            )
            return data[:4] + b"\0" + data[5:42] + extra + data[42:]

        return build

    def page(data: bytes, *, segments: int, flags: int = 2, serial: int = 1) -> bytes:
        return (
            b"OggS\0"
            + bytes((flags,))
            + bytes(8)
            + struct.pack("<III", serial, 0, 0)
            + bytes((segments,))
            + data
        )

    comment = b"\3vorbis" + struct.pack("<I", MAX32) + b"x" * 40
    yield from _plain(
        "tags",
        {
            "size max.mp3": id3(2**28 - 1),
            "size 0.mp3": id3(0),
            "one megabyte.mp3": id3(1 << 20, bytes(1 << 20)),
            "sixteen megabytes.mp3": id3(16 << 20, bytes(16 << 20)),
            "says less.mp3": id3(10, bytes(5000)),
            "version 255.mp3": id3(100, bytes(100), version=255),
            "all flags.mp3": id3(100, b"\xff" * 100, flags=255),
            "frame too long.mp3": id3(200, frame(b"TIT2", 2**28 - 1, b"x" * 190)),
            "picture is html.mp3": id3(300, frame(b"APIC", 280, b"\0text/html\0\3\0<script>alert(1)</script>".ljust(290))),
            "link.mp3": id3(300, frame(b"APIC", 100, b"\0-->\0\3\0file:///etc/passwd".ljust(290))),
            "many tags.mp3": lambda: (b"ID3\4\0\0" + syncsafe(10) + bytes(10)) * 5000 + encoded("mp3"),
            "ape.mp3": lambda: encoded("mp3") + b"APETAGEX" + struct.pack("<IIII", 2000, MAX32, MAX32, MAX32) + bytes(8),
            "id3v1.mp3": lambda: encoded("mp3") + b"TAG" + b"\xff" * 125,
            "xing.mp3": lambda: encoded("mp3").replace(b"Xing", b"Xing\0\0\0\x0f\xff\xff\xff\xff\xff\xff\xff\xff"),
            "only sync.mp3": lambda: b"\xff\xfb\x90\x00" * 20_000,
            "sync and nothing.mp3": lambda: b"\xff\xfb\x90\x00" + bytes(100_000),
            "picture.flac": blocks((6, 2**24 - 1, b"\0\0\0\3\xff\xff\xff\xff")),
            "comments.flac": blocks((4, 16, struct.pack("<II", 4, MAX32) + b"abcd" * 2)),
            "comment length.flac": blocks((4, 8, struct.pack("<II", MAX32, MAX32))),
            "type 127.flac": blocks((127, 4, b"abcd")),
            "seektable.flac": blocks((3, 18, b"\xff" * 18)),
            "cuesheet.flac": blocks((5, 396, b"\xff" * 396)),
            "endless blocks.flac": blocks(*[(1, 0, b"")] * 50_000),
            "no last block.flac": lambda: encoded("flac")[:42] + bytes((1, 255, 255, 255)),
            "segments.ogg": lambda: page(b"\xff" * 255, segments=255),
            "no segments.ogg": lambda: page(b"", segments=0) * 10_000,
            "comment.ogg": lambda: encoded("ogg")[:58] + page(bytes((len(comment),)) + comment, segments=1, flags=0),
            "serials.ogg": lambda: b"".join(page(b"\1x", segments=1, serial=n) for n in range(5000)),
        },
    )  # fmt: skip


NAMES = (
    "../../../../etc/passwd.wav", "..\\..\\windows\\system32\\a.wav", "/etc/shadow.wav", "C:\\a.wav", "a\0b.wav", "line\nbreak.wav",
    "tab\tand\rreturn.wav", "\x1b[31mred\x1b[0m.wav", "-i.wav", "--help.wav", "-map 0.wav", "$(touch trace).wav", "`touch trace`.wav",
    "; touch trace ;.wav", "| touch trace |.wav", "&& touch trace.wav", "%s%s%s%n.wav", "{0.__class__}.wav", "CON.wav", "NUL", "aux.wav.",
    "a" * 250 + ".wav", "é" * 120 + ".wav", "\u202evaw.exe", "\u200b.wav", "file:///etc/passwd.wav", "http://127.0.0.1:9/a.wav", "concat:a.wav|b.wav",
    "subfile,,start,0,end,10,,:a.wav", "pipe:0", "", ".", "..", ".wav", "a.wav/", "<b>bold</b>.wav", "'; DROP TABLE clips; --.wav", "\ud800.wav",
)  # fmt: skip


def _names() -> Iterator[Entry]:
    for index, name in enumerate(NAMES):
        yield "name", name, _bytes(lambda index=index: wav(tone(0.4 + index / 100)))


def _zip(files: dict[str, bytes]) -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(zipfile.ZipInfo(name), data)
    return target.getvalue()


def _strangers(bait: Bait) -> Iterator[Entry]:
    touch = f"touch {bait.trace}"

    class Gadget:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return os.system, (touch,)

    def script(path: Path) -> None:
        path.write_text(f"#!/bin/sh\n{touch}\n")
        path.chmod(0o755)

    yield "stranger", "script.wav", script
    yield from _plain(
        "stranger",
        {
            "text.wav": lambda: b"This is no sound.\n" * 500,
            "page.mp3": lambda: b"<!doctype html><script>alert(1)</script>",
            "program.wav": lambda: b"\x7fELF\2\1\1" + bytes(9) + random.Random(1).randbytes(4000),
            "setup.flac": lambda: b"MZ\x90\0" + random.Random(2).randbytes(4000),
            "code.ogg": lambda: f"import os; os.system({touch!r})\n".encode(),
            "pickle.wav": lambda: pickle.dumps(Gadget()),
            "archive.wav": lambda: _zip({"../../a.wav": wav(tone(0.1)), "b.py": b"x"}),
            "pdf.mp3": lambda: b"%PDF-1.7\n" + bytes(2000),
            "png.wav": lambda: b"\x89PNG\r\n\x1a\n" + bytes(2000),
            "json.flac": lambda: json.dumps({"path": "/etc/passwd"}).encode(),
            "sqlite.wav": lambda: b"SQLite format 3\0" + bytes(4000),
            "svg.ogg": lambda: (
                b'<svg xmlns="http://www.w3.org/2000/svg"><image href="file:///etc/passwd"/></svg>'
            ),
            "midi.wav": lambda: b"MThd\0\0\0\6\0\1\xff\xff\0\x60MTrk\xff\xff\xff\xff" + bytes(50),
            "zeros.wav": lambda: bytes(50_000),
            "ones.mp3": lambda: b"\xff" * 50_000,
            "noise.mp3": lambda: random.Random(3).randbytes(200_000),
            "noise.aac": lambda: b"\xff\xf1" + random.Random(4).randbytes(50_000),
            "noise.wma": lambda: (
                bytes.fromhex("3026b2758e66cf11") + random.Random(5).randbytes(50_000)
            ),
            "noise.webm": lambda: b"\x1a\x45\xdf\xa3" + random.Random(6).randbytes(50_000),
            "noise.m4a": lambda: box(b"ftyp", b"M4A \0\0\0\0") + random.Random(7).randbytes(50_000),
            "empty.wav": lambda: b"",
            "one byte.wav": lambda: b"R",
            "flac as wav.wav": lambda: encoded("flac"),
            "wav as mp3.mp3": lambda: wav(tone(0.5)),
            "mp3 as flac.flac": lambda: encoded("mp3"),
            "sound and program.wav": lambda: wav(tone(0.5)) + b"\x7fELF" + bytes(5000),
        },
    )


def _playlists(bait: Bait) -> Iterator[Entry]:
    secret = str(bait.secret)
    url = f"file://{secret}"

    def movie(*tracks: bytes, brand: bytes = b"M4A ") -> bytes:
        return box(b"ftyp", brand + bytes(4)) + box(b"moov", b"".join(tracks))

    def outside(kind: bytes, where: bytes, flags: int = 0) -> Callable[[], bytes]:
        """A track whose samples lie in another file."""

        def build() -> bytes:
            entry = box(kind, struct.pack(">I", flags) + where)
            dinf = box(b"dinf", box(b"dref", struct.pack(">II", 0, 1) + entry))
            sound = (
                bytes(6)
                + struct.pack(">H", 1)
                + bytes(8)
                + struct.pack(">HHHHI", 1, 16, 0, 0, RATE_HZ << 16)
            )
            stbl = box(b"stsd", struct.pack(">II", 0, 1) + box(b"sowt", sound))
            stbl += box(b"stts", struct.pack(">IIII", 0, 1, 8000, 1))
            stbl += box(b"stsc", struct.pack(">IIIII", 0, 1, 1, 8000, 1))
            stbl += box(b"stsz", struct.pack(">III", 0, 2, 8000)) + box(
                b"stco", struct.pack(">III", 0, 1, 44)
            )
            minf = box(b"smhd", bytes(8)) + dinf + box(b"stbl", stbl)
            mdhd = box(b"mdhd", struct.pack(">IIIIIHH", 0, 0, 0, RATE_HZ, 8000, 0, 0))
            hdlr = box(b"hdlr", bytes(8) + b"soun" + bytes(13))
            tkhd = box(b"tkhd", struct.pack(">IIIIII", 7, 0, 0, 1, 0, 8000) + bytes(60))
            mvhd = box(b"mvhd", struct.pack(">IIIII", 0, 0, 0, RATE_HZ, 8000) + bytes(80))
            return movie(
                mvhd,
                box(b"trak", tkhd + box(b"mdia", mdhd + hdlr + box(b"minf", minf))),
                brand=b"qt  ",
            )

        return build

    hls = f"#EXTM3U\n#EXT-X-TARGETDURATION:5\n#EXTINF:5,\n{url}\n#EXT-X-ENDLIST\n"
    reference = box(
        b"rmra",
        box(b"rmda", box(b"rdrf", bytes(4) + b"url " + struct.pack(">I", len(url)) + url.encode())),
    )
    yield from _plain(
        "playlist",
        {
            "list.m3u": lambda: f"#EXTM3U\n{secret}\n".encode(),
            "hls.m4a": lambda: hls.encode(),
            "hls.mp3": lambda: hls.encode(),
            "hls after ftyp.m4a": lambda: box(b"ftyp", b"M4A \0\0\0\0") + hls.encode(),
            "list.pls": lambda: f"[playlist]\nFile1={secret}\nNumberOfEntries=1\n".encode(),
            "concat.mp3": lambda: f"ffconcat version 1.0\nfile '{secret}'\n".encode(),
            "list.asx": lambda: f'<asx version="3.0"><entry><ref href="{url}"/></entry></asx>'.encode(),
            "list.xspf": lambda: f"<?xml version='1.0'?><playlist><trackList><track><location>{url}</location></track></trackList></playlist>".encode(),
            "list.smil": lambda: f'<smil><body><audio src="{url}"/></body></smil>'.encode(),
            "list.cue": lambda: f'FILE "{secret}" WAVE\n  TRACK 01 AUDIO\n    INDEX 01 00:00:00\n'.encode(),
            "session.sdp": lambda: b"v=0\no=- 0 0 IN IP4 127.0.0.1\nc=IN IP4 127.0.0.1\nm=audio 9999 RTP/AVP 0\n",
            "dash.mpd": lambda: f'<MPD><Period><AdaptationSet><Representation><BaseURL>{url}</BaseURL></Representation></AdaptationSet></Period></MPD>'.encode(),
            "entity.wav": lambda: f'<!DOCTYPE x [<!ENTITY e SYSTEM "{url}">]><x>&e;</x>'.encode(),
            "outside url.mov": outside(b"url ", url.encode() + b"\0"),
            "outside alias.mov": outside(b"alis", _alias(secret)),
            "outside self.mov": outside(b"url ", b"", 1),
            "reference.mov": lambda: movie(reference, brand=b"qt  "),
            "box size 0.m4a": lambda: movie(box(b"trak", b"", 0)),
            "box size max.m4a": lambda: movie(box(b"trak", b"x" * 20, MAX32)),
            "box size 1.m4a": lambda: movie(struct.pack(">I4sQ", 1, b"trak", MAX64)),
            "deep boxes.m4a": lambda: movie(_deep(4000)),
            "samples.m4a": lambda: movie(box(b"trak", box(b"mdia", box(b"minf", box(b"stbl", box(b"stsz", struct.pack(">III", 0, 0, MAX32))))))),
            "unknown size.webm": lambda: b"\x1a\x45\xdf\xa3\x80\x18\x53\x80\x67\x01" + b"\xff" * 7 + bytes(500),
            "long size.webm": lambda: b"\x1a\x45\xdf\xa3\x01\x7f\xff\xff\xff\xff\xff\xff" + bytes(500),
            "deep.webm": lambda: b"\x1a\x45\xdf\xa3\x80" + b"\x18\x53\x80\x67\x1f\xff\xff\xff" * 3000,
        },
    )  # fmt: skip


def _alias(path: str) -> bytes:
    """A Mac alias that names a file by its path."""
    raw = path.encode()
    return (
        bytes(150) + struct.pack(">HH", 2, len(raw)) + raw + bytes(len(raw) % 2) + b"\xff\xff\0\0"
    )


def _deep(levels: int) -> bytes:
    data = b""
    for _ in range(levels):
        data = box(b"moov", data)
    return data


def _no_files(bait: Bait) -> Iterator[Entry]:
    def link(to: Path) -> Writer:
        return lambda path: path.symlink_to(to)

    def unix_socket(path: Path) -> None:
        where = Path.cwd()
        os.chdir(path.parent)  # the name of a socket has at most 107 bytes
        try:
            with socket.socket(socket.AF_UNIX) as server:
                server.bind(path.name)
        finally:
            os.chdir(where)

    if sys.platform == "win32":
        return
    yield "link", "link to a secret.wav", link(bait.secret)
    yield "link", "link to zeros.wav", link(Path("/dev/zero"))
    yield "link", "link to nothing.wav", link(Path("/nowhere/at/all"))
    yield "link", "link to itself.wav", lambda path: path.symlink_to(path.name)
    yield "link", "link to the terminal.wav", link(Path("/dev/stdin"))
    yield "pipe", "pipe.wav", lambda path: os.mkfifo(path)
    yield "pipe", "socket.wav", unix_socket
    yield "folder", "folder.wav", lambda path: path.mkdir()
    yield "missing", "missing.wav", lambda path: None


if __name__ == "__main__":
    target = Path(sys.argv[1])
    files = make(target / "files", Bait(target / "outside" / "secret.wav", target / "trace"))
    sys.stdout.write(f"{len(files)} files in {target / 'files'}\n")
