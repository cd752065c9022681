"""The fake recogniser that ships: it reads its script aloud, line by line. No library, no process."""

from __future__ import annotations

from backend.audio import wav
from backend.contracts.entities import Audio, Transcript, TranscriptSegment
from backend.engines.stt.options import ScriptOptions

QUIETEST_DBFS = -60.0


class Script:
    """Gives the next line for every utterance."""

    name = "script"

    def __init__(self, options: ScriptOptions) -> None:
        self._options = options
        self._next = 0

    async def transcribe(self, audio: Audio, language: str | None = None) -> Transcript:
        if not self._options.texts or wav.level_dbfs(audio.pcm) < QUIETEST_DBFS:
            return Transcript("", engine=self.name)
        text = self._options.texts[self._next % len(self._options.texts)]
        self._next += 1
        segments = (TranscriptSegment(text, 0.0, audio.duration_s),)
        return Transcript(text, language or self._options.language, segments, self.name)

    def warm(self) -> None:
        """Nothing to load."""

    async def close(self) -> None:
        """Nothing to let go of."""
