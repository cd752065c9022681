"""Piper voices: small neural voices that run on the CPU; any ``.onnx`` with its ``.onnx.json``.

Files are read and run in the engine host alone. Here voices are only found, and named by their files.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from backend.contracts.entities import Audio, PhonemeTime, Speech, VoiceChoice, VoiceInfo
from backend.contracts.errors import AppError, EngineUnavailableError
from backend.core import clock
from backend.core.workers import Warm, run_in_thread
from backend.engines.tts.base import is_speakable, silence
from backend.engines.tts.options import PiperOptions

HOST = "backend.engines.tts.piper_host"
LOOK_AGAIN_S = 2.0  # a voice copied into the folder is found that soon
INSPECT_S = 30.0
MOST_VOICES = 500


class Piper:
    """Speaks with voices on disk."""

    name = "piper"

    def __init__(self, options: PiperOptions) -> None:
        self._options = options
        self._found: dict[str, Path] = {}
        self._looked_at = float("-inf")
        self._warmed: set[Path] = set()

    async def synthesize(self, text: str, voice: VoiceChoice) -> Speech:
        found = await self._voices_on_disk()
        if voice.name and voice.name not in found:
            # It may have been made a moment ago: the character it was made for speaks with it at once.
            self._looked_at = float("-inf")
            found = await self._voices_on_disk()
        name, path = self._voice(found, voice)
        if not is_speakable(text):
            return silence(self.name, name)
        if path not in self._warmed:
            # Loading has a longer limit than a sentence: whoever waits may give up, the voice comes.
            self._warmed.add(path)
            self._options.host.warm([self._warm("load", path)])
        pcm, rate_hz, phonemes = await self._options.host.call(
            f"{HOST}:synthesize",
            str(path),
            text.encode("utf-8", "replace"),
            speaker=voice.speaker,
            rate=voice.rate,
            volume=voice.volume,
            timeout_s=self._options.timeout_s,
            **self._scales(),
        )
        times = tuple(PhonemeTime(ipa, start_s, end_s) for ipa, start_s, end_s in phonemes)
        if not pcm:
            return silence(self.name, name, rate_hz=rate_hz)
        return Speech(Audio(pcm, rate_hz), self.name, name, times)

    async def voices(self) -> list[VoiceInfo]:
        found = await self._voices_on_disk()
        # One by one: each is read whole once, which takes a slow disk seconds, and a broken one costs only itself.
        told = [await self._facts(path) for path in found.values()]
        return [
            VoiceInfo(
                engine=self.name,
                name=name,
                title=facts.get("title") or name,
                language=facts.get("language", ""),
                speakers=facts.get("speakers", 1),
                rate_hz=facts.get("rate_hz"),
                path=str(path),
                problem=facts.get("problem"),
            )
            for (name, path), facts in zip(found.items(), told, strict=True)
        ]

    async def _facts(self, path: Path) -> dict[str, Any]:
        try:
            facts: dict[str, Any] = await self._options.host.call(
                f"{HOST}:inspect", str(path), timeout_s=INSPECT_S
            )
        except AppError as error:
            return {"problem": error.message}
        return facts

    def cache_key(self, voice: VoiceChoice) -> str:
        try:
            name, path = self._voice(self._look(), voice)
            marks = [file.stat() for file in (path, Path(f"{path}.json"))]
        except (AppError, OSError):
            return "piper without a voice"
        identity = " ".join(f"{mark.st_size}:{mark.st_mtime_ns}" for mark in marks)
        settings = f"{voice.speaker} {voice.rate:g} {voice.volume:g} {self._scales()}"
        return f"piper 1 {name} {path} {identity} {settings}"

    def warm(self) -> None:
        try:
            _, path = self._voice(self._look(), VoiceChoice())
        except EngineUnavailableError:
            return  # no voice yet; the first call with one loads it
        self._warmed.add(path)
        self._options.host.warm([self._warm("warm", path)])

    def missing(self) -> str:
        """What it cannot do without, and how to get it; empty when all is there. Looks at the disk."""
        try:
            self._voice(self._look(), VoiceChoice())
        except EngineUnavailableError as error:
            return error.message
        return ""

    async def close(self) -> None:
        """The host owns the process."""

    def _warm(self, function: str, path: Path) -> Warm:
        return Warm(f"{HOST}:{function}", (str(path),), {"use_gpu": self._options.use_gpu})

    def _scales(self) -> dict[str, float | bool | None]:
        options = self._options
        return {
            "length_scale": options.length_scale,
            "noise_scale": options.noise_scale,
            "noise_w_scale": options.noise_w_scale,
            "use_gpu": options.use_gpu,
        }

    def _voice(self, found: dict[str, Path], voice: VoiceChoice) -> tuple[str, Path]:
        """The voice meant; a name is looked up among the files found, never made into a path."""
        options = self._options
        wanted = voice.name or options.voice
        if wanted:
            if wanted in found:
                return wanted, found[wanted]
            names = ", ".join(list(found)[:10]) or "none yet"
            raise EngineUnavailableError(
                f"Piper has no voice called {wanted[:80]!r} (there are: {names}). Put {wanted[:80]}.onnx with its "
                f".onnx.json into {options.folder}, or choose another voice."
            )
        if options.voice_path is not None:
            for name, path in found.items():
                if path == options.voice_path.absolute():
                    return name, path
            raise EngineUnavailableError(
                f"Piper has no voice at {options.voice_path}. Set PIPER_MODEL_PATH to a .onnx file with its .onnx.json."
            )
        for name, path in found.items():
            return name, path
        raise EngineUnavailableError(
            f"Piper has no voice in {options.folder}. Download one in the Voice tab, or set PIPER_MODEL_PATH to a "
            ".onnx file."
        )

    async def _voices_on_disk(self) -> dict[str, Path]:
        if clock.monotonic_s() - self._looked_at < LOOK_AGAIN_S:
            return self._found
        return await run_in_thread(self._look)

    def _look(self) -> dict[str, Path]:
        if clock.monotonic_s() - self._looked_at >= LOOK_AGAIN_S:
            self._found = _find(self._options.folder, self._options.voice_path)
            self._looked_at = clock.monotonic_s()
        return self._found


def _find(folder: Path, voice_path: Path | None) -> dict[str, Path]:
    """Voice files by name: the stem, or the path below the folder where two have the same stem."""
    paths = sorted(folder.absolute().rglob("*.onnx"))[:MOST_VOICES] if folder.is_dir() else []
    found: dict[str, Path] = {}
    for path in paths:
        name = path.stem
        if name in found:
            name = path.relative_to(folder.absolute()).with_suffix("").as_posix()
        found[name] = path
    if voice_path is not None and voice_path.is_file():
        path = voice_path.absolute()
        if path not in found.values():
            found[path.stem if path.stem not in found else str(path)] = path
    return found
