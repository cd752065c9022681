"""The one binding of the embedded voice: espeak-ng from the wheel espeakng-loader, by ctypes.

Speaks over 100 languages with no download and no numpy. One engine per process, so a lock is around it: call from any
thread. A sentence of 3 s takes 2 ms, the first one 20.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import re
import sys
import tempfile
import threading
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

MAX_CHARS = 2000
MAX_SECONDS = 180.0
NORMAL_WORDS_PER_MINUTE = 175
SLOWEST, FASTEST = 80, 450  # what espeak-ng speaks without stretching

# speak_lib.h
_SYNCHRONOUS = 2
_PHONEME_EVENTS, _PHONEMES_AS_IPA, _DONT_EXIT = 1, 2, 0x8000
_UTF8, _END_PAUSE = 1, 0x1000
_RATE, _VOLUME, _PITCH = 1, 2, 3
_EVENT_END, _EVENT_PHONEME = 0, 7
_PATH_BYTES = 140  # its buffer holds 160, "/espeak-ng-data" included

VOICE_NAME = re.compile(r"[A-Za-z]{2,8}(?:-[A-Za-z0-9]{1,12}){0,4}(?:\+[A-Za-z0-9_-]{1,24})?")


class EspeakError(Exception):
    """espeak-ng cannot be loaded or refused to speak."""


class UnknownVoiceError(EspeakError):
    """There is no such language or variant."""


@dataclass(frozen=True, slots=True)
class Rendering:
    """Spoken text.

    Attributes:
        pcm: PCM16 mono, little-endian.
        rate_hz: Samples per second (22,050).
        phonemes: (IPA, start in s, end in s), in order and without gaps inside a word.
    """

    pcm: bytes
    rate_hz: int
    phonemes: tuple[tuple[str, float, float], ...]


@dataclass(frozen=True, slots=True)
class Voice:
    """A language, or a variant of the timbre ("f3", used as "en-us+f3").

    Attributes:
        gender: "m", "f" or empty.
    """

    name: str
    title: str
    gender: str
    is_variant: bool


class _Event(ctypes.Structure):
    _fields_ = [
        ("type", ctypes.c_int),
        ("unique_identifier", ctypes.c_uint),
        ("text_position", ctypes.c_int),
        ("length", ctypes.c_int),
        ("audio_position", ctypes.c_int),
        ("sample", ctypes.c_int),
        ("user_data", ctypes.c_void_p),
        ("id", ctypes.c_char * 8),
    ]


class _Voice(ctypes.Structure):
    _fields_ = [
        ("name", ctypes.c_char_p),
        ("languages", ctypes.c_void_p),
        ("identifier", ctypes.c_char_p),
        ("gender", ctypes.c_ubyte),
        ("age", ctypes.c_ubyte),
        ("variant", ctypes.c_ubyte),
        ("xx1", ctypes.c_ubyte),
        ("score", ctypes.c_int),
        ("spare", ctypes.c_void_p),
    ]


_Callback = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(_Event)
)

_lock = threading.Lock()
_engine: _Engine | None = None


def synthesize(
    text: str,
    voice: str = "en-us",
    *,
    words_per_minute: float = NORMAL_WORDS_PER_MINUTE,
    pitch: float = 50.0,
    volume: float = 1.0,
) -> Rendering:
    """Speak a text. What cannot be spoken (no text, control characters) is left out; the rest is plain text, no markup.

    Args:
        text: Cut after `MAX_CHARS` characters.
        voice: Language, with a variant if wanted: "en-us", "de+f2".
        words_per_minute: Clamped to what sounds right (80-450).
        pitch: 0-100, 50 is normal.
        volume: 0-1.

    Raises:
        UnknownVoiceError: There is no such voice.
        EspeakError: The library is missing or broken.
    """
    with _lock:
        return _loaded().synthesize(speakable(text), voice, words_per_minute, pitch, volume)


def voices() -> list[Voice]:
    """All languages, then all variants.

    Raises:
        EspeakError: The library is missing or broken.
    """
    with _lock:
        engine = _loaded()
        return [*engine.languages.values(), *engine.variants.values()]


def speakable(text: str) -> str:
    """The text without characters that command espeak-ng (control-A), break it (lone surrogates) or mean nothing."""
    text = text[: MAX_CHARS * 4]
    # Cc, Cf, Cs, Co, Cn: control, format, surrogate, private and unassigned characters
    clean = "".join(" " if unicodedata.category(mark)[0] == "C" else mark for mark in text)
    clean = " ".join(clean.split())
    if len(clean) > MAX_CHARS:
        clean = clean[:MAX_CHARS]
        clean = clean.rpartition(" ")[0] or clean
    return clean


class _Engine:
    """The loaded library; the caller holds the lock."""

    def __init__(self) -> None:
        try:
            import espeakng_loader
        except ImportError as error:
            raise EspeakError(
                "The embedded voice needs the package espeakng-loader: pip install espeakng-loader"
            ) from error
        try:
            self._library: Any = ctypes.CDLL(str(espeakng_loader.get_library_path()))
        except OSError as error:
            raise EspeakError(f"espeak-ng cannot be loaded: {error}") from error
        self._library.espeak_ListVoices.restype = ctypes.POINTER(ctypes.POINTER(_Voice))
        self._library.espeak_ListVoices.argtypes = [ctypes.c_void_p]
        data = _short_path(Path(espeakng_loader.get_data_path()))
        options = _PHONEME_EVENTS | _PHONEMES_AS_IPA | _DONT_EXIT
        self.rate_hz = int(
            self._library.espeak_Initialize(_SYNCHRONOUS, 0, os.fsencode(data), options)
        )
        if self.rate_hz <= 0:
            raise EspeakError(f"espeak-ng does not find its data at {data}.")
        # It seeds the breath of its variants with the time; a program that speaks the same sentences in the same order
        # must hear the same, or no training that uses them can be repeated.
        self._library.espeak_ng_SetRandSeed(ctypes.c_long(1))
        self._pcm: list[bytes] = []
        self._samples = 0
        self._marks: list[tuple[str, float]] = []
        self._callback = _Callback(self._take)  # kept: the library holds only its address
        self._library.espeak_SetSynthCallback(self._callback)
        self._files: dict[str, str] = {}  # language, in all its spellings, to the voice file
        self.languages = {voice.name: voice for voice in self._list(None)}
        wanted = _Voice()
        tag = ctypes.create_string_buffer(b"variant")
        wanted.languages = ctypes.cast(tag, ctypes.c_void_p)
        self.variants = {
            voice.name: voice for voice in self._list(ctypes.byref(wanted)) if voice.is_variant
        }
        self._voice = ""

    def synthesize(
        self, text: str, voice: str, words_per_minute: float, pitch: float, volume: float
    ) -> Rendering:
        self._choose(voice)
        set_parameter: Callable[[int, int, int], int] = self._library.espeak_SetParameter
        set_parameter(_RATE, round(min(max(words_per_minute, SLOWEST), FASTEST)), 0)
        set_parameter(_PITCH, round(min(max(pitch, 0.0), 100.0)), 0)
        set_parameter(_VOLUME, round(min(max(volume, 0.0), 1.0) * 100), 0)
        self._pcm, self._marks, self._samples = [], [], 0
        if text:
            raw = text.encode()
            status = self._library.espeak_Synth(
                raw, ctypes.c_size_t(len(raw) + 1), 0, 0, 0, _UTF8 | _END_PAUSE, None, None
            )
            self._library.espeak_Synchronize()
            if status != 0:
                raise EspeakError(f"espeak-ng refused to speak (code {status}).")
        pcm, marks = b"".join(self._pcm), self._marks
        self._pcm, self._marks = [], []
        return Rendering(pcm, self.rate_hz, _with_ends(marks, len(pcm) / 2 / self.rate_hz))

    def _choose(self, voice: str) -> None:
        if voice == self._voice:
            return
        language, _, variant = voice.partition("+")
        if not VOICE_NAME.fullmatch(voice) or language.lower() not in self._files:
            raise UnknownVoiceError(
                f"The embedded voice does not know {voice[:60]!r}; try en-us, en-gb, de, ja or es-419."
            )
        if variant and variant not in self.variants:
            raise UnknownVoiceError(
                f"The embedded voice has no variant {variant!r}; try f1 to f5, m1 to m8 or whisper."
            )
        file = self._files[language.lower()] + (f"+{variant}" if variant else "")
        if self._library.espeak_SetVoiceByName(file.encode()) != 0:
            raise UnknownVoiceError(f"espeak-ng cannot load the voice {voice!r}.")
        self._voice = voice

    def _take(self, wave: Any, count: int, events: Any) -> int:
        """Called by the library with each piece of sound; a non-zero answer stops it."""
        if count > 0 and wave:
            self._pcm.append(ctypes.string_at(wave, count * 2))
            self._samples += count
        index = 0
        while events[index].type != _EVENT_END:
            event = events[index]
            if event.type == _EVENT_PHONEME:
                ipa = event.id.decode("utf-8", "ignore")
                self._marks.append((ipa, event.audio_position / 1000))
            index += 1
        return int(self._samples > MAX_SECONDS * self.rate_hz)

    def _list(self, wanted: Any) -> list[Voice]:
        found = []
        listed = self._library.espeak_ListVoices(wanted)
        index = 0
        while listed[index]:
            voice = listed[index].contents
            index += 1
            identifier = voice.identifier.decode()
            if identifier.startswith("mb/"):
                continue  # MBROLA: needs programs that are not here
            is_variant = identifier.startswith("!v/")
            if is_variant:
                name = identifier.removeprefix("!v/")
            else:
                spellings = _languages(voice.languages)
                name = spellings[0]
                for spelling in spellings:
                    self._files.setdefault(spelling.lower(), identifier)
            gender = {1: "m", 2: "f"}.get(voice.gender, "")
            found.append(Voice(name, voice.name.decode().replace("_", " "), gender, is_variant))
        return found


def _languages(address: int) -> list[str]:
    """The names in espeak's list: each a priority byte and a string, then a zero byte."""
    names = []
    while ctypes.string_at(address, 1) != b"\0":
        name = ctypes.string_at(address + 1)
        names.append(name.decode())
        address += len(name) + 2
    return names


def _loaded() -> _Engine:
    global _engine  # noqa: PLW0603 - the library itself is one per process
    if _engine is None:
        _engine = _Engine()
    return _engine


def _with_ends(
    marks: list[tuple[str, float]], duration_s: float
) -> tuple[tuple[str, float, float], ...]:
    """Give every phoneme its end: where the next one (or the silence, an empty mark) begins."""
    phonemes = []
    ends_s = [start_s for _, start_s in marks[1:]] + [duration_s]
    for (ipa, start_s), end_s in zip(marks, ends_s, strict=False):
        end_s = min(max(end_s, start_s), duration_s)
        if ipa and start_s < duration_s:
            phonemes.append((ipa, start_s, end_s))
    return tuple(phonemes)


def _short_path(data: Path) -> Path:
    """A path to its data that espeak-ng can hold: short, and plain ASCII on Windows."""
    if sys.platform == "win32":
        if str(data).isascii() and len(str(data)) <= _PATH_BYTES:
            return data
        buffer = ctypes.create_unicode_buffer(1024)
        length = ctypes.windll.kernel32.GetShortPathNameW(str(data), buffer, 1024)
        return Path(buffer.value) if 0 < length < 1024 else data
    if len(os.fsencode(data)) <= _PATH_BYTES:
        return data
    # The name says whose and which data it is; a link that another user put there is not followed.
    tag = hashlib.sha256(os.fsencode(data)).hexdigest()[:12]
    folder = Path(tempfile.gettempdir()) / f"luma-espeak-{os.getuid()}-{tag}"
    folder.mkdir(mode=0o700, exist_ok=True)
    if folder.is_symlink() or folder.stat().st_uid != os.getuid():
        raise EspeakError(f"{folder} belongs to somebody else; remove it.")
    link = folder / "espeak-ng-data"
    if not link.is_symlink():
        link.symlink_to(data, target_is_directory=True)
    return link
