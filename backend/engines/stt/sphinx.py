"""The recogniser that is always there: pocketsphinx, English, basic. Fine for commands, a stopgap for talk."""

from __future__ import annotations

from backend.contracts.entities import Audio, Transcript, TranscriptSegment
from backend.contracts.errors import EngineUnavailableError
from backend.engines.stt.options import SphinxOptions

HOST = "backend.engines.stt.sphinx_host"


class Sphinx:
    """Reads English with pocketsphinx in the engine host."""

    name = "sphinx"

    def __init__(self, options: SphinxOptions) -> None:
        self._options = options

    async def transcribe(self, audio: Audio, language: str | None = None) -> Transcript:
        if language and language.lower().partition("-")[0] != "en":
            raise EngineUnavailableError(
                f"The embedded recogniser reads English only, not {language!r}. Download a Whisper model in the model "
                "manager."
            )
        words = await self._options.host.call(
            f"{HOST}:transcribe",
            audio.pcm,
            audio.rate_hz,
            timeout_s=self._options.timeout_s + audio.duration_s,
        )
        if not words:
            return Transcript("", engine=self.name)
        text = " ".join(word for word, _, _ in words)
        segment = TranscriptSegment(text, words[0][1], words[-1][2])
        times = tuple(TranscriptSegment(word, start_s, end_s) for word, start_s, end_s in words)
        return Transcript(text, "en", (segment,), self.name, times)

    def warm(self) -> None:
        self._options.host.warm([f"{HOST}:warm"])

    async def close(self) -> None:
        """The host owns the process."""
