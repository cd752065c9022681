"""Whisper in the engine host, with a model that lies on disk. Never downloads: that takes a click in the model manager."""

from __future__ import annotations

from pathlib import Path

from backend.contracts.entities import Audio, Transcript
from backend.contracts.errors import EngineUnavailableError
from backend.core.workers import Warm, run_in_thread
from backend.engines.stt.options import WhisperOptions
from backend.engines.stt.whisper_reading import transcript_of

HOST = "backend.engines.stt.whisper_host"


class Whisper:
    """Reads speech with openai-whisper."""

    name = "whisper"

    def __init__(self, options: WhisperOptions) -> None:
        self._options = options
        self._warmed: set[Path] = set()

    async def transcribe(self, audio: Audio, language: str | None = None) -> Transcript:
        options = self._options
        path = await run_in_thread(self._model_path)
        self._load(path)
        told = await options.host.call(
            f"{HOST}:transcribe",
            audio.pcm,
            audio.rate_hz,
            str(path),
            language=language or options.language or None,
            device=options.device,
            words=options.words,
            # A CPU reads a large model's 30 s in more than 30 s; that is slow, not stuck.
            timeout_s=options.timeout_s + 2 * audio.duration_s,
        )
        return transcript_of(told, self.name)

    def warm(self) -> None:
        try:
            self._load(self._model_path())
        except EngineUnavailableError:
            return  # no model yet; the first call with one loads it

    def missing(self) -> str:
        """What it cannot do without, and how to get it; empty when all is there. Looks at the disk."""
        try:
            self._model_path()
        except EngineUnavailableError as error:
            return error.message
        return ""

    async def close(self) -> None:
        """The host owns the process."""

    def _load(self, path: Path) -> None:
        """Have the model loaded in the background: that has a longer limit than reading."""
        if path not in self._warmed:
            self._warmed = {path}
            device = self._options.device
            self._options.host.warm([Warm(f"{HOST}:warm", (str(path),), {"device": device})])

    def _model_path(self) -> Path:
        """The model's file.

        Raises:
            EngineUnavailableError: If it is not on disk.
        """
        folder, model = self._options.folder, self._options.model
        if model.endswith(".pt") or "/" in model or "\\" in model:
            path = Path(model).expanduser().absolute()
            if path.is_file():
                return path
            raise EngineUnavailableError(
                f"There is no Whisper model at {path}. Set WHISPER_MODEL to a .pt file or a name such as base."
            )
        present = (
            {path.stem: path for path in sorted(folder.glob("*.pt"))} if folder.is_dir() else {}
        )
        if model in present:
            return present[model].absolute()
        there = f" (there are: {', '.join(present)})" if present else ""
        raise EngineUnavailableError(
            f"The Whisper model {model!r} is not in {folder}{there}. Download it on the page Voices (Voice tab), or set "
            "WHISPER_MODEL to a .pt file."
        )
