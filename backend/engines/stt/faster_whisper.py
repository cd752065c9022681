"""Whisper through CTranslate2 (faster-whisper) in the engine host: the same models, several times faster on a CPU.

A model is a folder in CTranslate2's format. One that only lies there as ``.pt``, as the model manager downloads it, is
converted once. Never downloads by itself.
"""

from __future__ import annotations

import asyncio
import importlib.util
import logging
from dataclasses import dataclass
from pathlib import Path

from backend.contracts.entities import Audio, Transcript
from backend.contracts.errors import AppError, EngineUnavailableError
from backend.core.workers import Warm, run_in_thread
from backend.engines.stt.options import FasterWhisperOptions
from backend.engines.stt.whisper_convert import mark
from backend.engines.stt.whisper_reading import transcript_of

logger = logging.getLogger(__name__)

HOST = "backend.engines.stt.faster_whisper_host"
CONVERT = "backend.engines.stt.whisper_convert:convert"
CONVERT_S = 600.0  # reading 3 GB from a slow disk and writing half of it
FILES = ("model.bin", "config.json", "tokenizer.json")
"""What a model's folder must hold; without the tokenizer the library would go and fetch one."""


@dataclass(frozen=True, slots=True)
class _Model:
    """Where a model is, or is going to be when `source` (a ``.pt`` file) is converted."""

    folder: Path
    source: Path | None = None


class FasterWhisper:
    """Reads speech with faster-whisper."""

    name = "faster_whisper"

    def __init__(self, options: FasterWhisperOptions) -> None:
        self._options = options
        self._warmed: Path | None = None
        self._preparing: asyncio.Task[None] | None = None

    async def transcribe(self, audio: Audio, language: str | None = None) -> Transcript:
        options = self._options
        model = await run_in_thread(self._model)
        await self._convert(model)
        self._load(model.folder)
        told = await options.host.call(
            f"{HOST}:transcribe",
            audio.pcm,
            audio.rate_hz,
            str(model.folder),
            language=language or options.language or None,
            device=options.device,
            words=options.words,
            window_s=options.window_s,
            # A CPU reads a large model's 30 s in more than 30 s; that is slow, not stuck.
            timeout_s=options.timeout_s + 2 * audio.duration_s,
        )
        return transcript_of(told, self.name)

    def warm(self) -> None:
        try:
            model = self._model()
        except EngineUnavailableError:
            return  # no model yet; the first call with one loads it
        if model.source is None:
            self._load(model.folder)
        elif self._preparing is None or self._preparing.done():
            self._preparing = asyncio.create_task(self._prepare(model), name="faster-whisper")

    def missing(self) -> str:
        """What it cannot do without, and how to get it; empty when all is there. Looks at the disk."""
        try:
            self._model()
        except EngineUnavailableError as error:
            return error.message
        return ""

    async def close(self) -> None:
        """End what was begun; the host owns the processes."""
        if self._preparing is not None and not self._preparing.done():
            self._preparing.cancel()
            await asyncio.wait([self._preparing])

    async def _prepare(self, model: _Model) -> None:
        """Convert and load, ahead of the first utterance."""
        try:
            await self._convert(model)
        except AppError as error:
            logger.warning("faster_whisper: %s", error.message)
        else:
            self._load(model.folder)

    async def _convert(self, model: _Model) -> None:
        """Make the model's folder from its source; of two at once the second finds it done."""
        if model.source is not None:
            arguments = (str(model.source), str(model.folder))
            await self._options.host.call(CONVERT, *arguments, timeout_s=CONVERT_S)

    def _load(self, folder: Path) -> None:
        """Have the model loaded in the background: that has a longer limit than reading."""
        if folder != self._warmed:
            self._warmed = folder
            device = self._options.device
            self._options.host.warm([Warm(f"{HOST}:warm", (str(folder),), {"device": device})])

    def _model(self) -> _Model:
        """The model's folder, and what it has to be made from.

        Raises:
            EngineUnavailableError: If the library or the model is not here.
        """
        if importlib.util.find_spec("faster_whisper") is None:
            raise EngineUnavailableError(
                "faster-whisper is not installed. Run: pip install -r requirements.txt"
            )
        options = self._options
        name = options.model
        if name.endswith(".pt") or "/" in name or "\\" in name:
            path = Path(name).expanduser().absolute()
            if path.is_file():
                return _made_from(path, options.folder.absolute() / path.stem)
            if _is_model(path):
                return _Model(path)
            raise EngineUnavailableError(
                f"There is no Whisper model at {path}. Set WHISPER_MODEL to a name such as base, to a .pt file, or to a "
                f"folder with {', '.join(FILES)}."
            )
        folder = options.folder.absolute() / name
        source = options.whisper_folder.absolute() / f"{name}.pt"
        if source.is_file():
            return _made_from(source, folder)
        if _is_model(folder):
            return _Model(folder)
        if folder.is_dir():
            lacks = ", ".join(file for file in FILES if not (folder / file).is_file())
            raise EngineUnavailableError(
                f"The model in {folder} is not complete: it lacks {lacks}. Copy it there again."
            )
        raise EngineUnavailableError(
            f"The Whisper model {name!r} is neither in {options.whisper_folder} nor in {options.folder}. Download it on "
            "the page Voices (Voice tab), or set WHISPER_MODEL."
        )


def _is_model(folder: Path) -> bool:
    return all((folder / file).is_file() for file in FILES)


def _made_from(source: Path, folder: Path) -> _Model:
    """The converted model if it was made from this file as it is now; one that a person put there counts as well."""
    if not _is_model(folder):
        return _Model(folder, source)
    note = folder / "made-from.txt"
    try:
        is_current = note.read_text("utf-8") == mark(source)
    except FileNotFoundError:
        return _Model(folder)
    return _Model(folder) if is_current else _Model(folder, source)
