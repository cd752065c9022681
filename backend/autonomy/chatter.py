"""What the chat is like: how fast, about what, in which mood, and how much there was of it.

Every message costs microseconds whatever is typed, only its first characters are read, and all that is kept is bounded: counts
per second and per half minute, the newest lines, and a short hash per person.
"""

from __future__ import annotations

import hashlib
import unicodedata
from collections import Counter, OrderedDict, deque
from collections.abc import Mapping
from dataclasses import dataclass, field

from backend.chat.alike import words_of
from backend.contracts.audience import AudienceMessage, ViewerEvent
from backend.contracts.autonomy import ChatClimate, ChatMood, Countable, Keyword, Topic

LINES = 40
"""Newest lines that are kept for prompts."""
LINE_CHARS = 200
MOST_ARRIVING = 500
"""Lines of which moderation has not said anything yet."""
RATE_S = 60
SLICE_S = 30.0
SLICES = 20
"""Of half a minute: what is talked about is known for ten minutes."""
WORDS_PER_SLICE = 1_000
TOPIC_SLICES = 6
MOST_CHATTERS = 50_000
CHATTERS_STORED = 2_000
"""Of those who wrote last, so that after a crash they are not counted again."""
TOPICS = 3
LEAST_MENTIONS = 3
MOOD_MESSAGES = 60
MOOD_S = 120.0
"""The mood is that of so many messages in so many seconds."""
FEW = 5
"""With fewer messages in that time the chat is quiet."""

_HAPPY = frozenset(
    "love lovely cute nice great awesome amazing good best beautiful thanks thank happy yay wow haha lol lmao xd hehe"
    " cool sweet funny adorable gg hype pog poggers liebe süß toll super schön danke geil genial merci bravo génial"
    " gracias lindo linda bonito genial grazie bello obrigado かわいい 草 好き 可爱 哈哈 ㅋㅋ".split()
)
_SAD = frozenset(
    "sad cry crying miss sorry lonely tired depressed rip traurig schade müde triste triste solo llorar"
    " 悲しい 泣 难过".split()
)
_ANGRY = frozenset(
    "hate stupid idiot dumb trash worst boring ugly annoying shut sucks cringe garbage useless pathetic loser angry mad"
    " dumm blöd hässlich langweilig scheiße hasse nul moche ennuyeux stupide feo fea aburrido odio brutto noioso chato".split()
)
_INSULTS = frozenset(
    "stupid idiot dumb trash ugly useless pathetic loser garbage worst hate shut sucks cringe boring annoying"
    " dumm blöd hässlich hasse langweilig nul moche stupide feo fea brutto".split()
)
_PRAISE = frozenset(
    "love lovely cute awesome amazing best beautiful adorable sweet great liebe süß toll schön génial lindo linda"
    " bonita bello bella かわいい 好き 可爱".split()
)
_COMMON = frozenset(
    "the and you are that this with for was have but not what just your she her his they them there from like all can"
    " how who why when where will would could about get got has had its it's i'm don't yes yeah okay one out now really"
    " very too more some than then were been also into over only here der die das und ich nicht ist ein eine mit auf"
    " que los las una por para con les des est pas pour dans".split()
)


@dataclass(frozen=True, slots=True)
class ChatLine:
    """A line as prompts may see it."""

    message_id: str
    name: str
    text: str


@dataclass(slots=True)
class _Slice:
    began_s: float
    words: Counter[str] = field(default_factory=Counter)


class Chatter:
    """The chat so far; times are monotonic seconds that never go back."""

    def __init__(self) -> None:
        self._lines: OrderedDict[str, ChatLine] = OrderedDict()
        self._arriving: OrderedDict[str, ChatLine] = OrderedDict()
        self._seconds: deque[list[float]] = deque(maxlen=RATE_S + 1)
        self._slices: deque[_Slice] = deque(maxlen=SLICES)
        self._moods: deque[tuple[float, str, bool]] = deque(maxlen=MOOD_MESSAGES)
        self._people: dict[int, None] = {}
        self._forgotten = 0
        """People who are counted, and of whom it is not known any more who they were."""
        self._watched: dict[str, frozenset[str]] = {}
        self._hits: dict[str, deque[list[float]]] = {}
        self.counts: dict[Countable, int] = dict.fromkeys(
            ("messages", "chatters", "follows", "followers", "subscriptions", "bits"), 0
        )

    # --- what happens ---

    def wrote(self, message: AudienceMessage, now_s: float) -> frozenset[str]:
        """A message came; gives its words."""
        words = words_of(message.text)
        self._count_second(now_s)
        self.counts["messages"] += 1
        if len(self._people) < MOST_CHATTERS:
            self._people[_mark(message.viewer.platform, message.viewer.id)] = None
            self.counts["chatters"] = self._forgotten + len(self._people)
        self._arriving[message.id] = ChatLine(
            message.id, plain(message.viewer.name, 40), plain(message.text, LINE_CHARS)
        )
        while len(self._arriving) > MOST_ARRIVING:
            self._arriving.popitem(last=False)
        self._count_words(words, now_s)
        self._moods.append((now_s, _mood_of(words), _is_loud(message.text)))
        return words

    def passed(self, message_id: str) -> None:
        """Moderation has nothing against a message: prompts may see it."""
        line = self._arriving.pop(message_id, None)
        if line is not None and line.text:
            self._lines[message_id] = line
            while len(self._lines) > LINES:
                self._lines.popitem(last=False)

    def took_back(self, message_id: str) -> None:
        """A message was filtered, masked or deleted: no prompt sees it."""
        self._arriving.pop(message_id, None)
        self._lines.pop(message_id, None)

    def did(self, event: ViewerEvent) -> None:
        """A viewer did something."""
        if event.kind == "follow":
            self.counts["follows"] += 1
            if self.counts["followers"]:
                self.counts["followers"] += 1
        elif event.kind in ("subscribe", "gift"):
            self.counts["subscriptions"] += event.amount if event.kind == "gift" else 1
        elif event.kind == "cheer":
            self.counts["bits"] += event.amount

    def watch(self, topics: Mapping[str, Topic | Keyword]) -> None:
        """Count messages with these words from now on."""
        self._watched = {
            name: frozenset(word for given in each.words for word in words_of(given))
            for name, each in topics.items()
        }
        self._hits = {name: self._hits.get(name, deque(maxlen=700)) for name in self._watched}

    # --- the stream ---

    def begin_stream(self) -> None:
        """Another stream: what is counted for each begins anew."""
        self._people, self._forgotten = {}, 0
        for name in self.counts:
            if name != "followers":
                self.counts[name] = 0

    def dump(self) -> dict[str, object]:
        """What must be known after a crash."""
        newest = list(self._people)[-CHATTERS_STORED:]
        return {"counts": dict(self.counts), "people": newest}

    def load(self, kept: Mapping[str, object]) -> None:
        """Go on counting; what cannot be read is left out."""
        counts, people = kept.get("counts"), kept.get("people")
        for name, count in (counts if isinstance(counts, dict) else {}).items():
            if name in self.counts and isinstance(count, int) and 0 <= count < 1e12:
                self.counts[name] = count
        marks = people if isinstance(people, list) else []
        self._people = dict.fromkeys(mark for mark in marks if isinstance(mark, int))
        self._forgotten = max(0, self.counts["chatters"] - len(self._people))
        self.counts["chatters"] = self._forgotten + len(self._people)

    # --- what it is like ---

    def per_minute(self, now_s: float) -> float:
        """Messages in the last minute."""
        return sum(count for at_s, count in self._seconds if now_s - at_s < RATE_S)

    def hits(self, name: str, within_s: float, now_s: float) -> int:
        """How many messages had one of the words of a watched topic."""
        return int(
            sum(count for at_s, count in self._hits.get(name, ()) if now_s - at_s < within_s)
        )

    def has_word(self, name: str, words: frozenset[str]) -> bool:
        """Whether a message with these words has one of those that are watched under a name."""
        return not words.isdisjoint(self._watched.get(name, frozenset()))

    def mood(self, now_s: float) -> ChatMood:
        """How it feels."""
        recent = [(mood, loud) for at_s, mood, loud in self._moods if now_s - at_s < MOOD_S]
        if len(recent) < FEW:
            return "quiet"
        moods = Counter(mood for mood, _ in recent if mood)
        angry, sad, happy = moods["angry"], moods["sad"], moods["happy"]
        least = len(recent) / 5
        if angry >= least and angry > happy:
            return "angry"
        if sad >= least and sad > happy:
            return "sad"
        is_loud = sum(loud for _, loud in recent) >= len(recent) / 3
        if is_loud or self.per_minute(now_s) >= 60:
            return "excited"
        return "happy" if happy >= least else "calm"

    def topics(self, now_s: float) -> tuple[str, ...]:
        """What it writes most about, most first."""
        total: Counter[str] = Counter()
        for each in list(self._slices)[-TOPIC_SLICES:]:
            if now_s - each.began_s < TOPIC_SLICES * SLICE_S:
                total.update(each.words)
        return tuple(word for word, count in total.most_common(TOPICS) if count >= LEAST_MENTIONS)

    def climate(self, now_s: float) -> ChatClimate:
        """All of that."""
        return ChatClimate(
            per_minute=self.per_minute(now_s),
            mood=self.mood(now_s),
            topics=self.topics(now_s),
            chatters=self.counts["chatters"],
            messages=self.counts["messages"],
        )

    def lines(self, most: int = 12) -> list[ChatLine]:
        """The newest lines, oldest first."""
        return list(self._lines.values())[-most:]

    # --- inside ---

    def _count_second(self, now_s: float) -> None:
        second = float(int(now_s))
        if self._seconds and self._seconds[-1][0] == second:
            self._seconds[-1][1] += 1
        else:
            self._seconds.append([second, 1])

    def _count_words(self, words: frozenset[str], now_s: float) -> None:
        if not self._slices or now_s - self._slices[-1].began_s >= SLICE_S:
            self._slices.append(_Slice(now_s))
        counted = self._slices[-1].words
        for word in words:
            if 3 <= len(word) and word not in _COMMON and not word.isdigit():
                if word in counted or len(counted) < WORDS_PER_SLICE:
                    counted[word] += 1
        second = float(int(now_s))
        for name, wanted in self._watched.items():
            if not words.isdisjoint(wanted):
                hits = self._hits[name]
                if hits and hits[-1][0] == second:
                    hits[-1][1] += 1
                else:
                    hits.append([second, 1])


def _mark(platform: str, viewer_id: str) -> int:
    """A viewer in few bytes, the same in every run."""
    name = f"{platform} {viewer_id}".encode(errors="replace")
    return int.from_bytes(hashlib.blake2b(name, digest_size=6).digest())


def is_insult(words: frozenset[str]) -> bool:
    """Whether words that are meant for her hurt."""
    return not words.isdisjoint(_INSULTS) and words.isdisjoint(_PRAISE)


def is_praise(words: frozenset[str]) -> bool:
    """Whether words that are meant for her are kind."""
    return not words.isdisjoint(_PRAISE) and words.isdisjoint(_INSULTS)


def plain(text: str, most: int) -> str:
    """Other people's words on one line, without what could be taken for a tag, a direction, markup or a command."""
    shown = []
    for char in text[: 4 * most]:
        kind = unicodedata.category(char)
        if kind in ("Cf", "Cc", "Cs", "Co", "Cn", "Zl", "Zp") or char in '[]{}<>*\\`|"':
            shown.append(" ")
        else:
            shown.append(char)
    return " ".join("".join(shown).split())[:most].strip().lstrip("!/.")


def _mood_of(words: frozenset[str]) -> str:
    if not words.isdisjoint(_ANGRY):
        return "angry"
    if not words.isdisjoint(_SAD):
        return "sad"
    return "" if words.isdisjoint(_HAPPY) else "happy"


def _is_loud(text: str) -> bool:
    start = text[:LINE_CHARS]
    if "!!" in start:
        return True
    letters = [char for char in start if char.isalpha()]
    return len(letters) >= 4 and sum(char.isupper() for char in letters) > 0.7 * len(letters)
