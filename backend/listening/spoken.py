"""Which of her words sounded when, as far as the ear has to know: what was heard then may be their echo."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from backend.playback.player import heard_words

KEPT_SENTENCES = 16


@dataclass(slots=True)
class _Sentence:
    text: str
    at_s: float
    duration_s: float
    end_s: float


class Spoken:
    """Her last sentences; all times are monotonic."""

    def __init__(self) -> None:
        self._sentences: deque[_Sentence] = deque(maxlen=KEPT_SENTENCES)

    def began(self, text: str, duration_s: float, now_s: float) -> None:
        """A sentence began to sound; the one before it has ended at the latest."""
        self.stopped(now_s)
        self._sentences.append(_Sentence(text, now_s, duration_s, now_s + duration_s))

    def stopped(self, now_s: float) -> None:
        """She fell silent."""
        if self._sentences:
            last = self._sentences[-1]
            last.end_s = min(last.end_s, now_s)

    def between(self, since_s: float, until_s: float) -> str:
        """The words of which something sounded in that time."""
        return " ".join(
            words
            for one in self._sentences
            if one.end_s > since_s and one.at_s < until_s and (words := _cut(one, since_s, until_s))
        )


def _cut(sentence: _Sentence, since_s: float, until_s: float) -> str:
    before = heard_words(sentence.text, since_s - sentence.at_s, sentence.duration_s)
    last_s = min(until_s, sentence.end_s) - sentence.at_s
    heard = heard_words(sentence.text, last_s, sentence.duration_s)
    # The word that was being said at the end has sounded, too.
    after = sentence.text[len(heard) :].split()
    return " ".join([heard[len(before) :].strip(), *after[:1]]).strip()
