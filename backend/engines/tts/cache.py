"""Sentences spoken before, kept on disk: the sound as WAV, beside it what is known of it as JSON.

The key is a hash of the text and of everything the engine says changes the sound. Files are written whole or not at all,
a damaged pair is removed and spoken anew, and the longest unused go when there is more than the limit.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import os
import threading
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any, ParamSpec

import orjson

from backend.audio import wav
from backend.audio.errors import AudioError
from backend.contracts.entities import Audio, PhonemeTime, Speech, VoiceChoice, VoiceInfo
from backend.core import clock
from backend.core.workers import run_in_thread
from backend.engines.tts.base import TTS, is_speakable
from backend.engines.tts.options import CacheOptions

logger = logging.getLogger(__name__)

P = ParamSpec("P")

FORMAT = 1


class Cache:
    """An engine that remembers what it said."""

    def __init__(self, options: CacheOptions) -> None:
        self.name = options.inner.name
        self._inner: TTS = options.inner
        self._store = _Store(options.folder / self.name, options.limit_bytes)
        self._writing: set[asyncio.Task[None]] = set()

    async def synthesize(self, text: str, voice: VoiceChoice) -> Speech:
        if not is_speakable(text):
            return await self._inner.synthesize(text, voice)
        key = hashlib.sha256(
            orjson.dumps([FORMAT, text.encode("utf-8", "replace").decode(), self.cache_key(voice)])
        ).hexdigest()
        if self._store.may_have(key):
            kept = await run_in_thread(self._store.get, key)
            if kept is not None:
                return kept
        began_s = clock.monotonic_s()
        speech = await self._inner.synthesize(text, voice)
        if speech.engine == self.name and speech.audio.pcm:
            latency_ms = (clock.monotonic_s() - began_s) * 1000
            self._in_background(self._store.put, key, speech, latency_ms)
        return speech

    async def voices(self) -> list[VoiceInfo]:
        return await self._inner.voices()

    def cache_key(self, voice: VoiceChoice) -> str:
        return self._inner.cache_key(voice)

    def warm(self) -> None:
        self._inner.warm()
        self._in_background(self._store.look)

    async def close(self) -> None:
        await asyncio.gather(*self._writing, return_exceptions=True)
        await self._inner.close()

    def _in_background(self, work: Callable[P, None], *args: P.args, **kwargs: P.kwargs) -> None:
        task = asyncio.create_task(run_in_thread(work, *args, **kwargs))
        self._writing.add(task)
        task.add_done_callback(self._written)

    def _written(self, task: asyncio.Task[None]) -> None:
        self._writing.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.warning("%s: a sentence could not be kept: %s", self.name, error)


class _Store:
    """The files; called from worker threads."""

    def __init__(self, folder: Path, limit_bytes: int) -> None:
        self._folder = folder
        self._limit = limit_bytes
        self._lock = threading.Lock()
        self._sizes: OrderedDict[str, int] | None = None  # longest unused first
        self._total = 0

    def look(self) -> None:
        """Find out what is there."""
        with self._lock:
            self._known()

    def may_have(self, key: str) -> bool:
        """Whether it is worth a worker thread's time to ask; callable from the loop."""
        sizes = self._sizes
        return sizes is None or key in sizes

    def get(self, key: str) -> Speech | None:
        with self._lock:
            sizes = self._known()
            if key not in sizes:
                return None
            try:
                speech = self._read(key)
            except (OSError, ValueError, KeyError, TypeError) as error:
                logger.info("a kept sentence is damaged and was removed: %s", error)
                self._remove(key)
                return None
            sizes.move_to_end(key)
            os.utime(self._path(key, "json"))  # its place in the order after a restart
            return speech

    def put(self, key: str, speech: Speech, latency_ms: float) -> None:
        sound = wav.to_wav(speech.audio.pcm, speech.audio.rate_hz)
        facts = orjson.dumps(
            {
                "format": FORMAT,
                "engine": speech.engine,
                "voice": speech.voice,
                "latency_ms": round(latency_ms, 1),
                "duration_s": round(speech.audio.duration_s, 3),
                "sha256": hashlib.sha256(sound).hexdigest(),
                "phonemes": [[p.phoneme, p.start_s, p.end_s] for p in speech.phonemes],
            }
        )
        size = len(sound) + len(facts)
        if size > self._limit:
            return
        with self._lock:
            sizes = self._known()
            self._folder.mkdir(parents=True, exist_ok=True)
            self._write(self._path(key, "wav"), sound)
            self._write(self._path(key, "json"), facts)  # last: what has no facts does not exist
            self._total += size - sizes.get(key, 0)
            sizes[key] = size
            sizes.move_to_end(key)
            while self._total > self._limit:
                self._remove(next(iter(sizes)))

    def _known(self) -> OrderedDict[str, int]:
        if self._sizes is None:
            entries = []
            for facts in self._folder.glob("*.json") if self._folder.is_dir() else ():
                sound = facts.with_suffix(".wav")
                try:
                    mark = facts.stat()
                    size = mark.st_size + sound.stat().st_size
                except OSError:
                    facts.unlink(missing_ok=True)
                    continue
                entries.append((mark.st_mtime_ns, facts.stem, size))
            self._sizes = OrderedDict((key, size) for _, key, size in sorted(entries))
            self._total = sum(self._sizes.values())
            self._sweep(self._sizes)
        return self._sizes

    def _sweep(self, sizes: OrderedDict[str, int]) -> None:
        """Remove what a crash left half-written."""
        for file in self._folder.glob("*") if self._folder.is_dir() else ():
            if file.suffix == ".part" or (file.suffix == ".wav" and file.stem not in sizes):
                file.unlink(missing_ok=True)

    def _read(self, key: str) -> Speech:
        facts: dict[str, Any] = orjson.loads(self._path(key, "json").read_bytes())
        sound = self._path(key, "wav").read_bytes()
        if facts["format"] != FORMAT or hashlib.sha256(sound).hexdigest() != facts["sha256"]:
            raise AudioError("it is not what was written")
        pcm, rate_hz = wav.read_wav(sound)
        phonemes = tuple(PhonemeTime(str(p), float(s), float(e)) for p, s, e in facts["phonemes"])
        audio = Audio(pcm, rate_hz)
        return Speech(audio, str(facts["engine"]), str(facts["voice"]), phonemes, cached=True)

    def _write(self, path: Path, data: bytes) -> None:
        part = path.with_name(path.name + ".part")
        part.write_bytes(data)
        part.replace(path)

    def _remove(self, key: str) -> None:
        if self._sizes is not None:
            self._total -= self._sizes.pop(key, 0)
        for kind in ("json", "wav"):
            self._path(key, kind).unlink(missing_ok=True)

    def _path(self, key: str, kind: str) -> Path:
        return self._folder / f"{key}.{kind}"
