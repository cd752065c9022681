"""What a check-up looks at besides the live path: database, disk, GPU, port, models, clock, settings, libraries."""

from __future__ import annotations

import asyncio
import contextlib
import re
import ssl
import sys
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from backend.contracts.entities import ModelInfo, VoiceInfo
from backend.core import clock
from backend.monitoring.doctor import Outcome
from backend.monitoring.gpu import Gpu, GpuLoad, installed_torch, torch_advice
from backend.storage.checkup import DatabaseState

SLOW_WRITE_MS = 250.0
"""A spinning disk needs 10-30 ms; beyond this a turn is stored noticeably late."""

LOW_BYTES = 2 << 30
FULL_BYTES = 300 << 20
"""Below it the database, the sounds and a download of a voice get into each other's way."""

MADE = datetime(2026, 1, 1, tzinfo=UTC)
"""No clock of a computer that runs this program can be right and earlier."""

AHEAD = timedelta(minutes=1)

ANSWER_S = 3.0

KNOWN_BAD: Sequence[tuple[str, str, str]] = (
    ("pynvml", "", "makes every start of torch warn; run `pip uninstall pynvml`, nvidia-ml-py replaces it"),
    ("librosa", "1.", "needs Python 3.12; run `pip install librosa==0.11.0`"),
    ("twitchio", "2.", "speaks a protocol that Twitch has switched off; run `pip install twitchio==3.3.2`"),
    ("opentelemetry-instrumentation-fastapi", "", "hooks itself into every request and slows turns down; uninstall it"),
)  # fmt: skip
"""Library, how its version begins (empty = any), and what is wrong with it."""

_PIN = re.compile(r"^([A-Za-z0-9_.-]+)==([^\s;#]+)\s*(;?)")


async def database(try_out: Callable[[], Awaitable[DatabaseState]]) -> Outcome:
    """Write, reach the disk, read back, look through the file."""
    found = await try_out()
    if not found.is_same:
        return Outcome(
            "red",
            "A value that was written came back as another one.",
            "Another program writes into the database: give each Luma its own folder with --data-dir.",
            "DATA_DIR",
        )
    if found.damage:
        return Outcome(
            "red",
            f"The database is damaged: {found.damage}.",
            "Close Luma and start it again: it puts the file aside, unchanged, and begins a new one; copies lie in the"
            " folder backups.",
        )
    words = f"written to the disk in {found.write_ms:.0f} ms, read back in {found.read_ms:.0f} ms"
    if found.size_bytes is not None:
        size = in_bytes(found.size_bytes)
        words += (
            f"; {size}, whole" if found.damage == "" else f"; {size}, too large to look through"
        )
    if found.write_ms > SLOW_WRITE_MS:
        return Outcome(
            "amber",
            words,
            "The disk is slow: another program may be writing much, or the data folder lies on a network or USB disk."
            " DATA_DIR moves it.",
            "DATA_DIR",
        )
    return Outcome("green", words)


def disk(folders: Mapping[str, Path], free_bytes: Callable[[Path], int]) -> Outcome:
    """Room where things are written. Blocking.

    Args:
        folders: What lies there, and where.
        free_bytes: Bytes that may still be written at a place.
    """
    by_room = sorted((free_bytes(existing(path)), what) for what, path in folders.items())
    least, what = by_room[0]
    words = f"{in_bytes(least)} free for {what}"
    if least < FULL_BYTES:
        return Outcome(
            "red",
            f"Only {words}.",
            "Empty the bin, delete voices and models you do not use (Voice tab), or lower KEEP_AUDIO_MB.",
            "KEEP_AUDIO_MB",
        )
    if least < LOW_BYTES:
        return Outcome(
            "amber",
            f"{words}: little for training a voice or downloading a model.",
            "Make room, or move the models with MODELS_DIR.",
            "MODELS_DIR",
        )
    return Outcome("green", words)


def gpu_load() -> GpuLoad | None:
    """The load of the first GPU, asked once. Blocking."""
    card = Gpu()
    try:
        return card.measure()
    finally:
        card.close()


def existing(path: Path) -> Path:
    """The folder itself, or the nearest one above it that exists."""
    while not path.exists() and path != path.parent:
        path = path.parent
    return path


def gpu(measure: Callable[[], GpuLoad | None]) -> Outcome:
    """The graphics card, and whether torch can use it. Blocking.

    Args:
        measure: Its load, None without one.
    """
    load = measure()
    if load is None:
        return Outcome("green", "no NVIDIA GPU here; everything runs on the processor")
    advice = torch_advice(load.name, installed_torch())
    words = (
        f"{load.name}, {load.memory_bytes / 2**30:.1f} of {load.memory_total_bytes / 2**30:.1f} GB used,"
        f" {load.busy:.0%} busy"
    )
    if advice is not None:
        return Outcome("amber", f"{words}. {advice.error}", advice.fix)
    if load.memory_bytes > 0.95 * load.memory_total_bytes:
        return Outcome(
            "amber", words, "Its memory is nearly full: close games or other models that use it."
        )
    return Outcome("green", words)


@dataclass(frozen=True, slots=True)
class Door:
    """Where the backend listens.

    Attributes:
        host: As connected to; None when the request did not come over a network.
        port: Likewise.
        wanted_port: API_PORT; 0 = any.
        is_remote: Other machines can reach it.
        is_secure: HTTPS.
    """

    host: str | None
    port: int | None
    wanted_port: int
    is_remote: bool
    is_secure: bool


async def door(where: Door) -> Outcome:
    """Whether the own port answers, and who can reach it."""
    if where.host is None or where.port is None:
        return Outcome("left_out", "The backend is not asked over a network here.")
    try:
        async with asyncio.timeout(ANSWER_S):
            took_s = await _ask_health(where.host, where.port, is_secure=where.is_secure)
    except (OSError, TimeoutError, ValueError) as error:
        return Outcome(
            "red",
            f"Port {where.port} does not answer ({error or type(error).__name__}).",
            "A firewall or another program sits on the port: choose another one with API_PORT.",
            "API_PORT",
        )
    words = f"{where.host}:{where.port} answers in {took_s * 1000:.0f} ms"
    if where.is_remote and not where.is_secure:
        return Outcome(
            "amber",
            f"{words}; other machines can reach it, and everyone on the way can read what is said.",
            "Set TLS_CERT and TLS_KEY, or API_HOST=127.0.0.1 when only this computer needs it.",
            "API_HOST",
        )
    if where.is_remote:
        return Outcome("green", f"{words}; other machines can reach it, over HTTPS with the token")
    if where.wanted_port and where.port != where.wanted_port:
        return Outcome(
            "amber",
            f"{words}; {where.wanted_port} is taken by another program, so scripts with the usual address do not find"
            " Luma.",
            f"Close the program on port {where.wanted_port}, or set API_PORT to {where.port}.",
            "API_PORT",
        )
    return Outcome("green", f"{words}; only this computer can reach it")


async def _ask_health(host: str, port: int, *, is_secure: bool) -> float:
    """Seconds until our own health route has answered.

    Raises:
        OSError, ValueError: It did not, or somebody else did.
    """
    context = None
    if is_secure:
        # To our own socket, whose certificate names the outside: what is asked is whether it answers.
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    began_s = clock.monotonic_s()
    reader, writer = await asyncio.open_connection(host, port, ssl=context)
    try:
        writer.write(
            f"GET /api/health HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n\r\n".encode()
        )
        await writer.drain()
        answer = await reader.read(4096)
        while b"}" not in answer and (more := await reader.read(4096)):
            answer += more
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
    if b'"status"' not in answer or b'"ok"' not in answer:
        raise ValueError("another program answers there")
    return clock.monotonic_s() - began_s


async def models(
    listed: Callable[[], Awaitable[list[ModelInfo]]],
    voices: Callable[[], Awaitable[list[VoiceInfo]]],
    in_use: str,
) -> Outcome:
    """What lies on the disk, whole or in pieces.

    Args:
        listed: The catalogue with what of it is here.
        voices: Voices of the engines.
        in_use: Name of the stage's voice.
    """
    infos = await listed()
    broken = [voice for voice in await voices() if voice.problem and voice.path]
    mine = [voice for voice in broken if voice.name == in_use]
    if mine:
        return Outcome(
            "red",
            f"The voice {in_use!r} of the character on stage cannot be used: {mine[0].problem}",
            "Choose another voice, or export it again in the Voice tab.",
            tab="voice",
        )
    failed = [info for info in infos if info.state == "failed"]
    partial = [info for info in infos if info.state == "partial"]
    problems = [f"{voice.name}: {voice.problem}" for voice in broken]
    problems += [f"{info.title}: {info.problem or 'the download failed'}" for info in failed]
    problems += [
        f"{info.title} is half downloaded ({in_bytes(info.received_bytes)} of {in_bytes(info.size_bytes)})"
        for info in partial
    ]
    ready = sum(info.state == "ready" for info in infos)
    if problems:
        return Outcome(
            "amber",
            "; ".join(problems),
            "Download again or delete what is broken, in the Voice tab.",
            tab="voice",
        )
    if not ready:
        return Outcome("green", "none downloaded; the built-in voice and recogniser need none")
    return Outcome("green", f"{ready} downloaded, sizes as they should be")


def wall_clock(newest_at: datetime | None) -> Outcome:
    """Whether date and time can be right.

    Args:
        newest_at: When the newest stored event happened.
    """
    now = clock.now()
    shown = f"{now:%Y-%m-%d %H:%M:%S} UTC"
    fix = "Switch on 'set the time automatically' in the system's settings."
    if now < MADE:
        return Outcome(
            "red", f"The clock says {shown}: secure connections to providers are refused then.", fix
        )
    if newest_at is not None and newest_at > now + AHEAD:
        return Outcome(
            "amber",
            f"The clock says {shown}, but something was stored at {newest_at:%Y-%m-%d %H:%M:%S} UTC: it was set back.",
            fix,
        )
    return Outcome("green", shown)


def settings(notices: Iterable[str], restart_for: Sequence[str] = ()) -> Outcome:
    """What was said about the settings when they were read."""
    found = [notice for notice in notices if notice]
    if found:
        name = next(iter(re.findall(r"\b[A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+\b", " ".join(found))), "")
        return Outcome("amber", " ".join(found), "Correct or remove what is named.", name)
    if restart_for:
        return Outcome(
            "amber", f"{', '.join(restart_for)} changed, but not yet in use.", "Start Luma again."
        )
    return Outcome("green", "every setting was understood")


def libraries(requirements: Path, installed: Callable[[str], str | None] | None = None) -> Outcome:
    """Whether the libraries are those that were tried together. Blocking, some 20 ms.

    Args:
        requirements: The list with their versions.
        installed: Version of a library, None when it is absent.
    """
    find = installed or installed_version
    python = ".".join(map(str, sys.version_info[:3]))
    problems = []
    for name, beginning, why in KNOWN_BAD:
        there = find(name)
        if there is not None and there.startswith(beginning):
            problems.append(f"{name} {there} {why}")
    count = 0
    try:
        lines = requirements.read_text("utf-8").splitlines()
    except OSError:
        lines = []
    for name, wanted, marker in sorted(
        {found.groups() for found in map(_PIN.match, lines) if found}
    ):
        there = find(name)
        if there is None:
            if not marker:  # a marked one may not be for this system
                problems.append(f"{name} is missing")
            continue
        count += 1
        if _plain(there) != _plain(wanted):
            problems.append(f"{name} {there} instead of {wanted}")
    if problems:
        return Outcome(
            "amber",
            f"Not what was tried together: {'; '.join(problems[:8])}"
            + (f" and {len(problems) - 8} more" if len(problems) > 8 else ""),
            "Run `python3 launch.py` once: it installs the versions that fit.",
        )
    return Outcome("green", f"Python {python} and {count} libraries as they were tried together")


def _plain(version_text: str) -> str:
    """A version without its build and trailing zeros: "3.13" and "3.13.0+cpu" are one."""
    return re.sub(r"(\.0)+$", "", version_text.partition("+")[0])


def installed_version(name: str) -> str | None:
    """Version of a library, without importing it."""
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def in_bytes(count: float) -> str:
    """A size for people."""
    for unit, size in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= size:
            return f"{count / size:.1f} {unit}"
    return f"{count:.0f} B"
