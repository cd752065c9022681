"""What a reply looks like while it is written and spoken: sentences so far, the draft after them, and what was heard.

No widgets here. The raw pieces of the model run ahead of the cleaned sentences; the draft is what of them no sentence
has covered yet.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

LONGEST_DRAFT = 8000

_HIDDEN = re.compile(r"<think>.*?(?:</think>|$)|\[[^\]\n]{0,40}\]|\*[^*\n]{1,60}\*", re.DOTALL)
_CLOSED = re.compile(r"<think>.*?</think>|\[[^\]\n]{0,40}\]|\*[^*\n]{1,60}\*", re.DOTALL)
_OPEN_TAIL = re.compile(
    r"(?:<think>(?:(?!</think>).)*|\[[^\]\n]{0,40}|<[a-z/]{0,8}|\*[^*\n]{0,60})$", re.DOTALL
)


def shown_draft(raw: str) -> str:
    """A raw piece without stage directions and thoughts, as the cleaned reply will read."""
    return _OPEN_TAIL.sub("", _HIDDEN.sub("", raw)).replace("\x00", "")


def after_sentence(draft: str, sentence: str) -> str:
    """What remains of a draft behind a sentence that was cut from it.

    Letters and digits are compared, everything else is skipped; where the two differ (moderation, markup), as much as the
    sentence is long goes.
    """
    wanted = [letter for letter in sentence.casefold() if letter.isalnum()]
    at = 0
    for letter in wanted:
        start = at
        while at < len(draft) and draft[at].casefold() != letter:
            if draft[at].isalnum() or at - start > 40:
                return draft[len(sentence) :].lstrip()
            at += 1
        if at == len(draft):
            return ""
        at += 1
    if at < len(sentence) - 4:  # words were masked
        at = len(sentence)
    while at < len(draft) and not draft[at].isalnum() and not draft[at].isspace():
        at += 1
    return draft[at:].lstrip()


def join(before: str, sentence: str) -> str:
    """The sentence with the space that belongs between it and the text before it; none between CJK sentences."""
    if not before or before[-1].isspace() or not sentence:
        return sentence
    if sentence[0].isspace():
        return sentence
    wide = ord(before[-1]) > 0x2E7F and ord(before[-1]) < 0x1F000
    return sentence if wide else " " + sentence


@dataclass
class ReplyText:
    """One reply.

    Attributes:
        sentences: Number of a sentence to its text as inserted (with its leading space), in order.
        draft: What the model wrote behind them.
        speaking: The sentence that sounds right now, 0 = none.
        share: How much of it was heard, 0-1.
        heard: Sentences heard whole.
        ended: True when nothing will be heard any more.
    """

    sentences: dict[int, str] = field(default_factory=dict)
    draft: str = ""
    speaking: int = 0
    share: float = 0.0
    heard: set[int] = field(default_factory=set)
    ended: bool = False
    _raw: str = ""
    _covered: str = ""
    _base: int = 0

    @property
    def text(self) -> str:
        """The sentences so far."""
        return "".join(self.sentences.values())

    def add_delta(self, piece: str) -> None:
        """The model wrote on."""
        if len(self._raw) < LONGEST_DRAFT:
            self._raw += piece
            self._show()

    def add_sentence(self, n: int, text: str) -> bool:
        """A sentence is ready; returns False when it was there already."""
        if n in self.sentences or not text:
            return False
        before = self.text
        self.sentences[n] = join(before, text)
        self._covered = after_sentence(self._visible(), text)
        # A tag still being written stays raw, or its second half would be shown.
        closed = max((m.end() for m in _CLOSED.finditer(self._raw)), default=0)
        tail = _OPEN_TAIL.search(self._raw, max(self._base, closed))
        self._base = tail.start() if tail else len(self._raw)
        self._show()
        return True

    def play(self, n: int) -> None:
        """A sentence began to sound."""
        self.heard |= {number for number in self.sentences if number < n}
        self.speaking = n
        self.share = 0.0

    def move(self, n: int, position_s: float, duration_s: float) -> None:
        """How far the sentence has come."""
        if n == self.speaking and duration_s > 0:
            self.share = min(1.0, max(self.share, position_s / duration_s))

    def end(self, *, interrupted: bool) -> None:
        """Nothing more will be heard; all of it was, unless it was interrupted."""
        if not interrupted:
            self.heard = set(self.sentences)
        self.draft = ""
        self._raw = self._covered = ""
        self._base = 0
        self.ended = True

    def replace(self, text: str) -> None:
        """The whole reply as it is remembered, for one that is over."""
        self.sentences = {1: text} if text else {}
        self.end(interrupted=False)

    def heard_text(self) -> str:
        """The beginning of the reply that was heard, to the end of a word."""
        out = ""
        for n, text in self.sentences.items():
            if n in self.heard:
                out += text
                continue
            if n == self.speaking and self.share > 0:
                end = round(len(text) * self.share)
                while end < len(text) and text[end].isalnum() and text[end].isascii():
                    end += 1
                out += text[:end]
            break
        return out

    def _visible(self) -> str:
        return self._covered + shown_draft(self._raw[self._base :])

    def _show(self) -> None:
        draft = self._visible()
        self.draft = join(self.text, draft) if self.sentences else draft.lstrip()
