"""Replies that a language model on this machine gave before, for prompts that come again word for word.

What autonomy asks ("say something about the game") repeats itself; a small model takes seconds for it each time. The key
is everything that makes a reply: who answers, every line of the prompt, temperature, length, model. So that she does not
parrot, a prompt first collects several replies, they take turns, and each is used up after a few times.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from hashlib import blake2b

from backend.core import clock
from backend.engines.llm.base import Prompt

VARIANTS = 3
"""Replies that take turns for one prompt."""

MOST_USES = 2
"""So often a kept reply is given; then the model writes another one."""

FRESH_S = 3600.0
"""What was said an hour ago may be out of place."""

COLD = 0.05
"""Below this temperature a model says the same every time: one reply is all there is."""


@dataclass(slots=True)
class _Kept:
    at_s: float
    replies: OrderedDict[str, int] = field(default_factory=OrderedDict)
    """Text to uses; the one that was given longest ago first."""
    asked: int = 0
    """How often the model was asked for this prompt."""


class ReplyCache:
    """Bounded, for the backend's loop; the prompt that was asked longest ago goes first.

    Args:
        limit: Prompts whose replies are kept; 0 = none.
        now_s: Monotonic clock.
    """

    def __init__(self, limit: int, now_s: Callable[[], float] = clock.monotonic_s) -> None:
        self._limit = limit
        self._now_s = now_s
        self._kept: OrderedDict[bytes, _Kept] = OrderedDict()
        self.hits = 0
        self.misses = 0

    def __len__(self) -> int:
        return len(self._kept)

    def find(self, key: bytes, temperature: float) -> str | None:
        """A reply given before; None when the model is to write one."""
        if not self._limit:
            return None
        kept = self._kept.get(key)
        if kept is not None and self._now_s() - kept.at_s > FRESH_S:
            del self._kept[key]
            kept = None
        if kept is None or not self._has_enough(kept, temperature):
            self.misses += 1
            return None
        self._kept.move_to_end(key)
        text, uses = kept.replies.popitem(last=False)
        if temperature < COLD:
            kept.replies[text] = 0
        elif uses + 1 < MOST_USES:
            kept.replies[text] = uses + 1
        else:
            kept.asked = 0  # one is used up: it is collected anew
        self.hits += 1
        return text

    def keep(self, key: bytes, text: str) -> None:
        """Keep a whole reply."""
        if not self._limit or not text.strip():
            return
        kept = self._kept.setdefault(key, _Kept(self._now_s()))
        kept.asked += 1
        kept.replies.setdefault(text, 0)
        while len(kept.replies) > VARIANTS:
            kept.replies.popitem(last=False)
        self._kept.move_to_end(key)
        while len(self._kept) > self._limit:
            self._kept.popitem(last=False)

    def clear(self) -> None:
        """Forget all of it."""
        self._kept.clear()

    def _has_enough(self, kept: _Kept, temperature: float) -> bool:
        if not kept.replies:
            return False
        wanted = 1 if temperature < COLD else VARIANTS
        # A model that repeats itself never gives enough different ones: then what there is must do.
        return len(kept.replies) >= wanted or kept.asked >= 2 * VARIANTS


def key_of(prompt: Prompt, model: str) -> bytes:
    """What a reply to this prompt is kept under."""
    whole = blake2b(digest_size=16)
    character = prompt.character
    parts = [
        character.model_dump_json() if character is not None else "",
        model,
        repr((prompt.temperature, prompt.max_tokens, prompt.stop)),
    ]
    for message in prompt.messages:
        parts += (message.role, message.text)
    for part in parts:
        data = part.encode("utf-8", "surrogatepass")
        whole.update(len(data).to_bytes(8, "big"))
        whole.update(data)
    return whole.digest()
