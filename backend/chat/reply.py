"""A reply as it comes in, taken apart: sentences that can be spoken, and the cues between them, in order."""

from __future__ import annotations

from backend.chat.sentences import SentenceSplitter
from backend.chat.tags import TagReader
from backend.contracts.entities import Cue


class ReplyReader:
    """Feed it what a language model writes; take sentences and cues out."""

    def __init__(self) -> None:
        self._splitter = SentenceSplitter()
        self._tags = TagReader()

    def feed(self, piece: str) -> list[str | Cue]:
        """What ``piece`` completes."""
        found: list[str | Cue] = []
        for part in self._tags.feed(piece):
            found += self._parted(part)
        return found

    def finish(self) -> list[str | Cue]:
        """What is left when the reply has ended."""
        found: list[str | Cue] = []
        for part in self._tags.finish():
            found += self._parted(part)
        return [*found, *self._splitter.finish()]

    def _parted(self, part: str | Cue) -> list[str | Cue]:
        if not isinstance(part, Cue):
            return [*self._splitter.feed(part)]
        # What was complete before the tag does not show its feeling.
        return [*self._splitter.pause(), part]


def cleaned(text: str) -> tuple[str, list[Cue]]:
    """A sentence as it may be shown, and the cues that were in it."""
    tags = TagReader()
    words: list[str] = []
    cues: list[Cue] = []
    for part in (*tags.feed(text), *tags.finish()):
        if isinstance(part, Cue):
            cues.append(part)
        else:
            words.append(part)
    return "".join(words).strip(), cues
