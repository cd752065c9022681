"""Recognisers in order of preference: a Whisper where a model is on disk, else the embedded one; the transcript says which."""

from __future__ import annotations

import logging
from typing import Protocol, runtime_checkable

from backend.contracts.entities import Audio, Transcript
from backend.contracts.errors import AppError, EngineUnavailableError
from backend.engines.stt.options import ChainOptions

logger = logging.getLogger(__name__)


@runtime_checkable
class Needs(Protocol):
    """A recogniser that needs a file which may not be here."""

    def missing(self) -> str:
        """What is missing; looks at the disk."""
        ...


class Chain:
    """Reads with the first recogniser that can."""

    name = "chain"

    def __init__(self, options: ChainOptions) -> None:
        self._options = options

    async def transcribe(self, audio: Audio, language: str | None = None) -> Transcript:
        problems: list[AppError] = []
        for engine in self._options.engines:
            try:
                return await engine.transcribe(audio, language)
            except AppError as error:
                problems.append(error)
                self._tell(engine.name, error)
        if not problems:
            raise EngineUnavailableError("No speech recogniser is chosen. Set STT_CHAIN.")
        # What the first choice lacks is what helps; a failure says more than an absence.
        failed = [error for error in problems if not isinstance(error, EngineUnavailableError)]
        raise (failed or problems)[0]

    def warm(self) -> None:
        """Load the first that can read; those behind it wait until they are needed: a loaded Whisper has 500 MB."""
        for engine in self._options.engines:
            engine.warm()
            if not (isinstance(engine, Needs) and engine.missing()):
                return

    async def close(self) -> None:
        for engine in self._options.engines:
            await engine.close()

    def _tell(self, name: str, error: AppError) -> None:
        if isinstance(error, EngineUnavailableError):
            logger.debug("%s cannot read: %s", name, error)
            return
        logger.warning("%s: %s", name, error.message)
        if self._options.on_failure is not None:
            self._options.on_failure(name, error)
