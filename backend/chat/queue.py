"""Who of the viewers is answered next, by rules the streamer sees; and what becomes of everybody else's message.

A pure core: it is told the time (seconds that only grow) and tells what became of which message, as `Fate`s in order. It
knows no loop, no database and no chat; `backend.chat.desk` does. Every message that came in has, in the end, exactly one fate of
`FINAL`; only one that was merged may be deleted afterwards. Everything it keeps is bounded.
"""

from __future__ import annotations

from collections import Counter, OrderedDict, deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Literal

from backend.chat.alike import are_alike, asks, gist_of, is_wordless
from backend.contracts.audience import (
    AudienceMessage,
    DispositionName,
    QueuedMessage,
    QueueRules,
    QueueState,
    Verdict,
    Viewer,
)

SEEN_KEPT = 20_000
"""Ids of messages that are known when they come again: a minute and a half at 200 messages a second."""
GONE_KEPT = 5_000
"""Ids that were deleted before their message came, and viewers whose messages were."""
LATE_S = 1.0
"""What comes of a viewer so soon after all of theirs was deleted was written before: the shortest timeout is as long."""
VIEWERS_KEPT = 10_000
MOST_MERGED = 200
"""Messages joined with one; what is still the same after that needs no place."""
ANSWER_S = 8.0
"""What an answer is thought to take before the first one was given."""
LONGEST_ANSWER_S = 60.0
"""An answer that took longer does not count for more."""
ALONE = 3
"""What waits alone may wait this many times as long."""

ViewerKey = tuple[str, str]
End = Literal["answered", "failed", "skipped", "deleted"]


@dataclass(frozen=True, slots=True)
class Fate:
    """What became of a message."""

    message_id: str
    disposition: DispositionName
    reason: str = ""
    rule: str = ""
    into: str = ""
    turn_id: str | None = None


@dataclass(frozen=True, slots=True)
class Taken:
    """The message to be answered now.

    Attributes:
        text: What may be said of it.
        others: How many others wrote the same.
    """

    message: AudienceMessage
    text: str
    others: int
    waited_s: float


@dataclass(frozen=True, slots=True)
class Removal:
    """What was removed.

    Attributes:
        is_answering: The message that is being answered now is among them: cut the answer.
    """

    fates: tuple[Fate, ...] = ()
    is_answering: bool = False


@dataclass(slots=True)
class _Entry:
    message: AudienceMessage
    text: str
    verdict: Verdict
    since_s: float
    order: int
    words: frozenset[str]
    points: tuple[tuple[str, float], ...] = ()
    share: float = 0.0
    """Recent answers to the one of its authors who got the fewest."""
    rank: float = 0.0
    """Its score at second 0: all grow alike, so that it orders the queue at any time."""
    is_held: bool = False
    is_next: bool = False
    tries: int = 0
    merged: dict[str, ViewerKey] = field(default_factory=dict)
    is_gone: bool = False

    @property
    def is_paid(self) -> bool:
        return self.message.bits > 0 or bool(self.message.reward)


@dataclass(slots=True)
class _Author:
    """What is known of a viewer."""

    times: deque[float] = field(default_factory=deque)
    answers: float = 0.0
    counted_s: float = 0.0
    waiting: int = 0


class ChatQueue:
    """The queue.

    Args:
        rules: Who is answered, and in which order.
    """

    def __init__(self, rules: QueueRules | None = None) -> None:
        self.rules = rules or QueueRules()
        self._waiting: dict[str, _Entry] = {}
        self._held: dict[str, _Entry] = {}
        self._answering: _Entry | None = None
        self._by_word: dict[str, set[str]] = {}
        self._merged_into: dict[str, str] = {}
        self._authors: OrderedDict[ViewerKey, _Author] = OrderedDict()
        self._seen: OrderedDict[str, None] = OrderedDict()
        self._gone: OrderedDict[str, None] = OrderedDict()
        self._sent_away: OrderedDict[ViewerKey, float] = OrderedDict()
        self._order = 0
        self._stopped_s: float | None = None
        self._began_s = 0.0
        self._answer_s = ANSWER_S

    # --- coming in ---

    def is_new(self, message_id: str) -> bool:
        """Whether this id comes for the first time; asked once for each delivery."""
        if message_id in self._seen:
            return False
        self._seen[message_id] = None
        while len(self._seen) > SEEN_KEPT:
            self._seen.popitem(last=False)
        return True

    def admit(self, message: AudienceMessage, now_s: float) -> Fate | None:
        """What becomes of a message before anybody reads it; None = it may come in.

        Whoever pays, moderates or owns the channel is never too quick.
        """
        if message.id in self._gone:
            del self._gone[message.id]
            return Fate(message.id, "deleted", "a moderator deleted it before it came")
        away_s = self._sent_away.get(_key(message.viewer))
        if away_s is not None:
            if now_s - away_s <= LATE_S:
                why = "a moderator deleted all of its author's before it came"
                return Fate(message.id, "deleted", why)
            del self._sent_away[_key(message.viewer)]
        if _is_free(message):
            return None
        rules = self.rules
        author = self._author(message.viewer)
        while author.times and now_s - author.times[0] >= rules.per_viewer_s:
            author.times.popleft()
        if len(author.times) >= rules.per_viewer:
            return Fate(
                message.id,
                "rate-limited",
                f"{rules.per_viewer} messages of {_name(message)} came within {rules.per_viewer_s:g} s already",
                rule="per_viewer",
            )
        author.times.append(now_s)
        return None

    def offer(
        self,
        message: AudienceMessage,
        now_s: float,
        *,
        text: str = "",
        verdict: Verdict | None = None,
        is_command: bool = False,
        merges: bool = True,
    ) -> list[Fate]:
        """Take a message that may come in; its own fate is the last one.

        Args:
            message: As it came.
            now_s: The time.
            text: What may be said of it; empty = its text.
            verdict: What moderation says; "hold" makes it wait for `approve`.
            is_command: It asks by a command to be answered.
            merges: It may be joined with one that says the same.
        """
        verdict = verdict or Verdict()
        if (why := self._unanswered(message, is_command)) is not None:
            return [why]
        self._order += 1
        entry = _Entry(
            message=message,
            text=text or message.text,
            verdict=verdict,
            since_s=self._clock(now_s),
            order=self._order,
            words=gist_of(text or message.text) if merges else frozenset(),
        )
        entry.points = tuple(self._points(entry))
        if verdict.action == "hold":
            return self._hold(entry)
        return self._place(entry, now_s)

    def _unanswered(self, message: AudienceMessage, is_command: bool) -> Fate | None:
        rules = self.rules
        if not rules.is_on:
            return Fate(message.id, "not-addressed", "viewers are not answered now", rule="is_on")
        if is_command:
            return None
        is_paid = message.bits > 0 or bool(message.reward)
        if rules.skip_wordless and not is_paid and is_wordless(message):
            return Fate(message.id, "not-addressed", "it has no words", rule="skip_wordless")
        if rules.answers == "addressed" and not self._is_addressed(message):
            return Fate(
                message.id,
                "not-addressed",
                "only messages that address her are answered",
                rule="answers",
            )
        return None

    def _is_addressed(self, message: AudienceMessage) -> bool:
        rules = self.rules
        return bool(
            (rules.mentions and message.mentions_us)
            or (rules.replies and message.replies_to_us)
            or (rules.cheers and message.bits)
            or (rules.rewards and message.reward)
            or (rules.questions and asks(message.text))
        )

    def _hold(self, entry: _Entry) -> list[Fate]:
        entry.is_held = True
        fates: list[Fate] = []
        while len(self._held) >= self.rules.most_held:
            oldest = next(iter(self._held.values()))
            del self._held[oldest.message.id]
            fates.append(
                Fate(
                    oldest.message.id,
                    "queue-full",
                    f"more than {self.rules.most_held} wait for approval",
                    rule="most_held",
                )
            )
        self._held[entry.message.id] = entry
        verdict = entry.verdict
        fates.append(
            Fate(
                entry.message.id,
                "held",
                verdict.reason or "waits for the streamer's approval",
                rule=verdict.rule,
            )
        )
        return fates

    def _place(self, entry: _Entry, now_s: float, reason: str = "") -> list[Fate]:
        """Into the queue, or joined with another; whoever is worst goes when there are too many."""
        message, rules = entry.message, self.rules
        author = self._author(message.viewer)
        if rules.merges and not entry.is_paid and not entry.is_next:
            if (joined := self._join(entry, now_s)) is not None:
                return [joined]
        entry.share = self._answers(author, now_s)
        self._rank(entry)
        fates: list[Fate] = []
        self._add(entry)
        if author.waiting > rules.most_per_viewer and not entry.is_next:
            key = _key(message.viewer)
            worst = self._worst(one for one in self._listed() if _key(one.message.viewer) == key)
            self._drop(worst)
            fates.append(
                Fate(
                    worst.message.id,
                    "rate-limited",
                    f"{rules.most_per_viewer} messages of {_name(message)} wait already",
                    rule="most_per_viewer",
                )
            )
        fates += self._make_room()
        if any(fate.message_id == message.id for fate in fates):
            return fates
        return [*fates, Fate(message.id, "queued", reason or _in_words(entry))]

    def _make_room(self) -> list[Fate]:
        """The worst ones go while too many wait."""
        fates: list[Fate] = []
        while len(self._waiting) > self.rules.most_waiting:
            worst = self._worst(self._listed())
            self._drop(worst)
            fates.append(
                Fate(
                    worst.message.id,
                    "queue-full",
                    f"{self.rules.most_waiting} wait already, and all of them rank before it",
                    rule="most_waiting",
                )
            )
        return fates

    def _join(self, entry: _Entry, now_s: float) -> Fate | None:
        host = self._same(entry)
        if host is None:
            return None
        message, key = entry.message, _key(entry.message.viewer)
        if key == _key(host.message.viewer) or key in host.merged.values():
            return Fate(
                message.id,
                "rate-limited",
                f"{_name(message)} wrote the same, and it is not answered yet",
                rule="merges",
                into=host.message.id,
            )
        if len(host.merged) >= MOST_MERGED:
            return Fate(
                message.id,
                "queue-full",
                f"{MOST_MERGED} others wrote the same",
                rule="merges",
                into=host.message.id,
            )
        host.merged[message.id] = key
        self._merged_into[message.id] = host.message.id
        host.share = min(host.share, self._answers(self._author(message.viewer), now_s))
        self._rank(host)
        what = "is being answered" if host is self._answering else "waits already"
        return Fate(
            message.id,
            "merged",
            f"{_name(host.message)} wrote the same, which {what}",
            rule="merges",
            into=host.message.id,
        )

    def _same(self, entry: _Entry) -> _Entry | None:
        """One that waits, or is being answered, and says the same; the likeliest, then the oldest."""
        common: Counter[str] = Counter()
        for word in entry.words:
            common.update(self._by_word.get(word, ()))
        for message_id, _ in sorted(common.items(), key=lambda item: -item[1])[:8]:
            other = self._waiting.get(message_id) or self._answering
            if other is None or other.message.id != message_id or other.is_gone:
                continue
            if are_alike(entry.words, other.words, self.rules.merge_likeness):
                return other
        return None

    # --- going out ---

    def tick(self, now_s: float) -> list[Fate]:
        """What has become too old by now."""
        if self._stopped_s is not None:
            return []
        fates: list[Fate] = []
        old = [one for one in self._waiting.values() if now_s - one.since_s > self._limit_s(one)]
        for entry in sorted(old, key=_place_of):
            waited_s, limit_s = now_s - entry.since_s, self._limit_s(entry)
            if (len(self._waiting) == 1 or entry.is_next) and waited_s <= ALONE * limit_s:
                continue
            self._drop(entry)
            fates.append(
                Fate(
                    entry.message.id,
                    "too-old",
                    f"it waited {waited_s:.0f} s; {limit_s:.0f} s are allowed",
                    rule="max_wait_s",
                )
            )
        for entry in list(self._held.values()):
            if now_s - entry.since_s > self.rules.max_held_s:
                del self._held[entry.message.id]
                fates.append(
                    Fate(
                        entry.message.id,
                        "too-old",
                        f"nobody approved it within {self.rules.max_held_s:g} s",
                        rule="max_held_s",
                    )
                )
        return fates

    def take(self, now_s: float) -> Taken | None:
        """The best one, to be answered now; None when nobody waits, one is being answered, or it is stopped.

        Call `tick` first, and `end` when its turn is over.
        """
        if self._answering is not None or self._stopped_s is not None or not self._waiting:
            return None
        best = max(self._waiting.values(), key=_place_of)
        # Whoever says the same from now on is joined with the one being answered.
        self._remove(best, keep_words=True)
        self._answering = best
        self._began_s = now_s
        return Taken(best.message, best.text, len(best.merged), max(0.0, now_s - best.since_s))

    def end(
        self, how: End, now_s: float, *, reason: str = "", turn_id: str | None = None
    ) -> list[Fate]:
        """The answer is over. A failed one gets back into the queue as often as the rules say."""
        entry, self._answering = self._answering, None
        if entry is None:
            return []
        self._forget_words(entry)
        if entry.is_gone:
            self._forget_merged(entry)
            return []
        message_id = entry.message.id
        if how == "failed" and entry.tries < self.rules.retries:
            entry.tries += 1
            entry.since_s = self._clock(now_s)
            entry.share = self._answers(self._author(entry.message.viewer), now_s)
            self._rank(entry)
            self._add(entry)
            fates = [
                Fate(message_id, "queued", f"tried again: {reason}" if reason else "tried again")
            ]
            return [*fates, *self._make_room()]
        self._forget_merged(entry)
        if how == "answered":
            took_s = min(LONGEST_ANSWER_S, max(0.0, now_s - self._began_s))
            self._answer_s += 0.3 * (took_s - self._answer_s)
            for key in {_key(entry.message.viewer), *entry.merged.values()}:
                self._count_answer(key, now_s)
            self._share_anew(now_s)
        return [Fate(message_id, how, reason, turn_id=turn_id)]

    # --- steering ---

    def approve(self, message_id: str, now_s: float) -> list[Fate] | None:
        """Let one that was held into the queue; None when none of that id is held."""
        entry = self._held.pop(message_id, None)
        if entry is None:
            return None
        entry.is_held = False
        entry.since_s = self._clock(now_s)
        return self._place(entry, now_s, "approved by the streamer")

    def held(self, message_id: str) -> tuple[AudienceMessage, str] | None:
        """One that waits for approval, and what may be said of it; None when none of that id does."""
        entry = self._held.get(message_id)
        return None if entry is None else (entry.message, entry.text)

    def let_out(self, message_id: str) -> None:
        """Hold one no longer; something else becomes of it."""
        self._held.pop(message_id, None)

    def skip(self, message_id: str) -> Removal | None:
        """Do not answer one; None when it neither waits nor is being answered."""
        if self.answering == message_id:
            return Removal((self._leave_answer("skipped", "by the streamer"),), True)
        entry = self._waiting.get(message_id) or self._held.get(message_id)
        if entry is None:
            return None
        self._drop(entry)
        return Removal((Fate(message_id, "skipped", "by the streamer"),))

    def put_first(self, message_id: str, now_s: float) -> list[Fate] | None:
        """Answer one next, whatever its rank; None when it does not wait."""
        entry = self._held.pop(message_id, None)
        if entry is not None:
            entry.is_held = False
            entry.since_s = self._clock(now_s)
            entry.is_next = True
            return self._place(entry, now_s, "the streamer wants it answered next")
        entry = self._waiting.get(message_id)
        if entry is None:
            return None
        entry.is_next = True
        return [Fate(message_id, "queued", "the streamer wants it answered next")]

    def delete(self, message_id: str) -> Removal:
        """A moderator deleted a message: it goes, and those that were joined with it."""
        if self._answering is not None and self.answering == message_id:
            return Removal(tuple(self._delete(self._answering)), True)
        entry = self._waiting.get(message_id) or self._held.get(message_id)
        if entry is not None:
            return Removal(tuple(self._delete(entry)))
        if (host := self._host(message_id)) is not None:
            return Removal((self._unmerge(host, message_id),))
        if message_id not in self._seen:
            self._gone[message_id] = None
            while len(self._gone) > GONE_KEPT:
                self._gone.popitem(last=False)
        return Removal()

    def delete_viewer(self, platform: str, viewer_id: str, now_s: float) -> Removal:
        """A moderator sent a viewer away: all of theirs goes, what is still on its way too."""
        key = (platform, viewer_id)
        self._sent_away[key] = now_s
        self._sent_away.move_to_end(key)
        while len(self._sent_away) > GONE_KEPT:
            self._sent_away.popitem(last=False)
        fates: list[Fate] = []
        was_answering = False
        for entry in self._everything():
            if _key(entry.message.viewer) == key:
                was_answering |= entry is self._answering
                fates += self._delete(entry)
            else:
                theirs = [one for one, whose in entry.merged.items() if whose == key]
                fates += [self._unmerge(entry, one) for one in theirs]
        return Removal(tuple(fates), was_answering)

    def delete_all(self, platform: str = "") -> Removal:
        """The chat was cleared; of one platform, or of all."""
        fates: list[Fate] = []
        was_answering = False
        for entry in self._everything():
            if not platform or entry.message.platform == platform:
                was_answering |= entry is self._answering
                fates += self._delete(entry)
        return Removal(tuple(fates), was_answering)

    def empty(self, reason: str) -> list[Fate]:
        """Skip everything: the program stops."""
        everything = self._everything()
        for entry in everything:
            self._drop(entry)
        return [Fate(one.message.id, "skipped", reason) for one in everything]

    def use(self, rules: QueueRules, now_s: float) -> list[Fate]:
        """Go on by other rules."""
        self.rules = rules
        for entry in (*self._waiting.values(), *self._held.values()):
            entry.points = tuple(self._points(entry))
        self._share_anew(now_s)
        return self._make_room()

    def stop(self, now_s: float) -> None:
        """Answer nobody, and let nobody's time run, until `go_on`."""
        if self._stopped_s is None:
            self._stopped_s = now_s

    def go_on(self, now_s: float) -> None:
        """Answer again."""
        if self._stopped_s is None:
            return
        pause_s, self._stopped_s = max(0.0, now_s - self._stopped_s), None
        for entry in (*self._waiting.values(), *self._held.values()):
            entry.since_s += pause_s
            self._rank(entry)

    # --- looking ---

    @property
    def is_stopped(self) -> bool:
        """Whether nobody is answered until `go_on`."""
        return self._stopped_s is not None

    @property
    def is_answering(self) -> bool:
        """Whether an answer has not ended yet, one that is being cut included."""
        return self._answering is not None

    @property
    def answering(self) -> str | None:
        """Id of the message that is being answered."""
        entry = self._answering
        return None if entry is None or entry.is_gone else entry.message.id

    @property
    def has_any(self) -> bool:
        """Whether anything waits, is held or is being answered."""
        return bool(self._waiting or self._held or self._answering)

    def __len__(self) -> int:
        """How many wait, the held ones not counted."""
        return len(self._waiting)

    def state(self, now_s: float, limit: int | None = None) -> QueueState:
        """The first ``limit`` of everything, best first; None = all."""
        waiting = sorted(self._waiting.values(), key=_place_of, reverse=True)
        now_s = self._clock(now_s)
        answering = self._answering
        return QueueState(
            waiting=tuple(self._seen_as(one, now_s) for one in waiting[:limit]),
            held=tuple(self._seen_as(one, now_s) for one in list(self._held.values())[:limit]),
            answering=None
            if answering is None or answering.is_gone
            else self._seen_as(answering, now_s),
            is_held=self.is_stopped,
            is_on=self.rules.is_on,
        )

    def _seen_as(self, entry: _Entry, now_s: float) -> QueuedMessage:
        points = self.rules.points
        waited_s = max(0.0, now_s - entry.since_s)
        parts = [*entry.points, *self._others(entry)]
        if age := points.per_second * waited_s:
            parts.append((f"waits {waited_s:.0f} s", age))
        if taken := points.just_answered * entry.share:
            parts.append(("answered not long ago", -taken))
        reasons = [f"{words} {value:+.0f}" for words, value in parts if round(value)]
        if entry.is_next:
            reasons.insert(0, "the streamer wants it next")
        return QueuedMessage(
            message=entry.message,
            score=round(sum(value for _, value in parts), 1),
            reasons=tuple(reasons),
            waited_s=round(waited_s, 1),
            merged=tuple(entry.merged),
            is_held=entry.is_held,
            verdict=entry.verdict,
        )

    # --- inside ---

    def _clock(self, now_s: float) -> float:
        """The time that counts: it stands still while the queue is stopped."""
        return now_s if self._stopped_s is None else min(now_s, self._stopped_s)

    def _points(self, entry: _Entry) -> Iterator[tuple[str, float]]:
        message, points = entry.message, self.rules.points
        if message.mentions_us:
            yield "mentions her", points.mention
        if message.replies_to_us:
            yield "replies to her", points.reply
        if asks(message.text):
            yield "asks", points.question
        if message.bits:
            more = min(points.most_bits, points.per_100_bits * message.bits / 100)
            yield f"cheer of {message.bits:,} bits", points.cheer + more
        if message.reward:
            yield f"reward {message.reward[:60]}", points.reward
        match message.viewer.role:
            case "broadcaster":
                yield "owns the channel", points.broadcaster
            case "moderator":
                yield "moderates", points.moderator
            case "vip":
                yield "VIP", points.vip
            case "subscriber":
                yield "subscribes", points.subscriber
        if message.viewer.is_first:
            yield "writes for the first time", points.first_time

    def _others(self, entry: _Entry) -> list[tuple[str, float]]:
        if not (count := len(entry.merged)):
            return []
        points = self.rules.points
        value = min(points.most_asked_again, points.asked_again * count)
        who = "somebody else" if count == 1 else f"{count} others"
        return [(f"{who} wrote the same", value)]

    def _rank(self, entry: _Entry) -> None:
        points = self.rules.points
        entry.rank = (
            sum(value for _, value in entry.points)
            + sum(value for _, value in self._others(entry))
            - points.just_answered * entry.share
            - points.per_second * entry.since_s
        )

    def _limit_s(self, entry: _Entry) -> float:
        if not entry.is_paid:
            return self.rules.max_wait_s
        return max(self.rules.max_wait_s, self.rules.max_wait_paid_answers * self._answer_s)

    def _listed(self) -> Iterable[_Entry]:
        return self._waiting.values()

    def _worst(self, entries: Iterable[_Entry]) -> _Entry:
        return min(entries, key=_place_of)

    def _everything(self) -> list[_Entry]:
        answering = self._answering
        now = [answering] if answering is not None and not answering.is_gone else []
        return [*now, *self._waiting.values(), *self._held.values()]

    def _add(self, entry: _Entry) -> None:
        message_id = entry.message.id
        self._waiting[message_id] = entry
        self._author(entry.message.viewer).waiting += 1
        for word in entry.words:
            self._by_word.setdefault(word, set()).add(message_id)

    def _remove(self, entry: _Entry, *, keep_words: bool = False) -> None:
        """Out of what waits."""
        if self._waiting.pop(entry.message.id, None) is not None:
            author = self._author(entry.message.viewer)
            author.waiting = max(0, author.waiting - 1)
            if not keep_words:
                self._forget_words(entry)

    def _drop(self, entry: _Entry) -> None:
        """Out of everything."""
        if entry is self._answering:
            entry.is_gone = True
            return
        self._remove(entry)
        self._held.pop(entry.message.id, None)
        self._forget_merged(entry)

    def _delete(self, entry: _Entry) -> list[Fate]:
        fates = [Fate(entry.message.id, "deleted", "by a moderator")]
        fates += [
            Fate(one, "deleted", "joined with one that a moderator deleted", into=entry.message.id)
            for one in entry.merged
        ]
        self._drop(entry)
        return fates

    def _leave_answer(self, how: DispositionName, reason: str) -> Fate:
        assert self._answering is not None
        self._answering.is_gone = True
        return Fate(self._answering.message.id, how, reason)

    def _unmerge(self, host: _Entry, message_id: str) -> Fate:
        del host.merged[message_id]
        self._merged_into.pop(message_id, None)
        self._rank(host)
        return Fate(message_id, "deleted", "by a moderator")

    def _host(self, message_id: str) -> _Entry | None:
        host_id = self._merged_into.get(message_id)
        if host_id is None:
            return None
        answering = self._answering
        if answering is not None and answering.message.id == host_id:
            return None if answering.is_gone else answering
        return self._waiting.get(host_id)

    def _forget_words(self, entry: _Entry) -> None:
        for word in entry.words:
            known = self._by_word.get(word)
            if known is not None:
                known.discard(entry.message.id)
                if not known:
                    del self._by_word[word]

    def _forget_merged(self, entry: _Entry) -> None:
        for one in entry.merged:
            self._merged_into.pop(one, None)

    # --- viewers ---

    def _author(self, viewer: Viewer) -> _Author:
        return self._author_of(_key(viewer))

    def _author_of(self, key: ViewerKey) -> _Author:
        author = self._authors.get(key)
        if author is None:
            author = self._authors[key] = _Author()
            # Whoever waits is not forgotten: there are fewer of them than there is room.
            while len(self._authors) > VIEWERS_KEPT:
                oldest, known = next(iter(self._authors.items()))
                if known.waiting:
                    self._authors.move_to_end(oldest)
                else:
                    del self._authors[oldest]
        else:
            self._authors.move_to_end(key)
        return author

    def _answers(self, author: _Author, now_s: float) -> float:
        """Recent answers to a viewer, older ones counting less and less."""
        if not author.answers:
            return 0.0
        age_s = max(0.0, now_s - author.counted_s)
        return float(author.answers * 0.5 ** (age_s / self.rules.forget_s))

    def _count_answer(self, key: ViewerKey, now_s: float) -> None:
        author = self._author_of(key)
        author.answers = self._answers(author, now_s) + 1
        author.counted_s = now_s

    def _share_anew(self, now_s: float) -> None:
        # Between two answers all shares shrink alike, and by less than matters.
        for entry in (*self._waiting.values(), *self._held.values()):
            keys = {_key(entry.message.viewer), *entry.merged.values()}
            entry.share = min(self._answers(self._author_of(key), now_s) for key in keys)
            self._rank(entry)


def _place_of(entry: _Entry) -> tuple[bool, float, int]:
    """Its place in the queue, more goes first; of equals the older."""
    return entry.is_next, entry.rank, -entry.order


def _key(viewer: Viewer) -> ViewerKey:
    return viewer.platform, viewer.id


def _name(message: AudienceMessage) -> str:
    return message.viewer.name[:60] or "the viewer"


def _is_free(message: AudienceMessage) -> bool:
    """Whether no limit of speed holds for it."""
    paid = message.bits > 0 or bool(message.reward)
    return paid or message.viewer.role in ("broadcaster", "moderator")


def _in_words(entry: _Entry) -> str:
    return ", ".join(f"{words} {value:+.0f}" for words, value in entry.points)
