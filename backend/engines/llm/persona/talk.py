"""One conversation: what was said, who said it, how she feels about it, and what she answers.

A reply is put together from sentences: the answer itself, then now and then something of the person's she remembers, a
question back, or an aside. The same message never has to get the same reply: lines that rested longest come first, and
no reply is given again while it is among the last ones.
"""

from __future__ import annotations

import re
from collections import OrderedDict, deque
from collections.abc import Callable
from datetime import datetime
from random import Random

from backend.contracts.entities import Character
from backend.engines.llm.persona import games
from backend.engines.llm.persona.grammar import Speaker, Voice, load_voice
from backend.engines.llm.persona.languages import LANGUAGES, language_of
from backend.engines.llm.persona.manner import Manner
from backend.engines.llm.persona.people import Fact, Person, job_verb, plan_event, plan_verb
from backend.engines.llm.persona.reading import (
    Reading,
    Told,
    answer_in,
    bare_name,
    plain,
    read,
)

MAX_PEOPLE = 64
TRIES = 14
LONG = 2000

_MOOD = {
    "compliment": 0.35, "love": 0.35, "thanks": 0.2, "laugh": 0.2, "good_news": 0.3, "feel_good": 0.15, "hello": 0.1, "birthday": 0.3,
    "insult": -0.55, "shout": -0.15, "bad_news": -0.2, "feel_bad": -0.15, "sorry": 0.35, "bye": -0.05,
}  # fmt: skip
_AT_REST = {
    "cheerful": 0.35,
    "eager": 0.35,
    "happy": 0.35,
    "calm": 0.1,
    "composed": 0.1,
    "dreamy": 0.15,
    "grumpy": -0.2,
    "sad": -0.3,
    "gloomy": -0.3,
}

# Says what its rule is when the rule has the intent's own name; everything else is dispatched in _answer.
_DIRECT = frozenset(
    """bye night morning thanks sorry compliment insult love laugh who about model human smarter help_key help_voice help_luma age maker can_do doing
    dream fear feelings secret remember_q meaning weather joke fact song story advice feel_good feel_bad bad_news good_news feel_tired bored hungry
    birthday short emoji injection empty hearing gibberish game_menu my_likes my_dislikes what why""".split()
)
_CALM = frozenset(
    """bye night bad_news feel_bad injection help_key help_voice help_luma smarter model story song joke insult empty gibberish time date math
    game_menu human sorry""".split()
)
_CORE_QUESTIONS = frozenset(
    {"statement", "short", "answer", "yes", "no", "feel_good", "laugh", "thanks", "hello"}
)
_OFFERS = (
    ("riddle", "riddle"),
    ("story", "story"),
    ("fact", "fact"),
    ("joke", "joke"),
    ("song", "song"),
    ("want a game", "game_menu"),
    ("another", "more"),
    ("encore", "more"),
)
_PLAYABLE = ("riddle", "association", "twenty", "number", "rather", "rps")
_LEAVES_GAME = frozenset(
    {
        "bye",
        "night",
        "injection",
        "help_key",
        "help_luma",
        "help_voice",
        "model",
        "bad_news",
        "joke",
        "story",
        "song",
        "fact",
        "recall_name",
        "recall_pet",
        "recall_all",
        "insult",
    }
)
# Asked twice, these deserve an answer twice.
_REPEATABLE = frozenset(
    """more joke fact story song game_riddle game_rps game_rather game_number game_twenty game_association yes no time date math model smarter human
    who""".split()
)
_INVITES = re.compile(
    r"\b(?:go on|continue|keep going|tell me|more details|describe|want to|do tell)\b",
    re.IGNORECASE,
)
_MARKUP = re.compile(r"[\[\]{}<>*|_~`#\\]+")


class Talk:
    """The dialogue of one character with the people of one conversation. Not for several threads at once."""

    def __init__(self, character: Character, random: Random, clock: Callable[[], datetime]) -> None:
        self._manner = Manner.of(character)
        self._voice = load_voice(self._manner.voice)
        self._plain: Voice = load_voice("plain")
        self._speaker = Speaker(self._voice, random)
        self._fallback = Speaker(self._plain, random)
        self._random = random
        self._clock = clock
        self._people: OrderedDict[str, Person] = OrderedDict()
        self._mood_at_rest = _AT_REST.get(character.personality.mood.lower(), 0.15)
        self.mood = self._mood_at_rest
        self.turns = 0
        self._game: games.Game | None = None
        self._asked = ""
        self._asked_at = 0
        self._asked_kinds: deque[str] = deque(maxlen=10)
        self._heard: deque[tuple[str, str]] = deque(maxlen=8)
        self._last_show = ""
        self._last_reply = ""
        self._last_topic = ""
        self._own = _own_slots(character)

    # --- remembering what was said before this process ---

    def recall(self, text: str, author: str) -> None:
        """Take in an earlier message, without answering."""
        self.turns += 1
        message = plain(text)
        person = self._person(author)
        for told in read(message).told:
            person.learn(_safe_told(told), self.turns)
        self._heard.append((author, _key(message)))

    def recall_reply(self, text: str) -> None:
        """Take in an earlier reply of hers."""
        self._speaker.said.append(_key(text))

    # --- answering ---

    def reply(self, text: str, author: str) -> str:
        """Her answer, with emotion tags."""
        self.turns += 1
        message = plain(text)
        reading = read(message)
        person = self._person(author)
        learned = [
            kept
            for told in reading.told
            if (kept := person.learn(_safe_told(told), self.turns)) is not None
        ]
        self._feel(reading.intent)
        repeats = 1 + self._count_repeats(author, message)
        core = tail = ""
        for attempt in range(TRIES):
            core, intent = self._core(text, message, reading, person, learned, repeats)
            tail = self._tail(core, intent, person, force=attempt > 3)
            whole = self._manner.shape(
                " ".join(part for part in (core, tail) if part), self._random
            )
            if _key(whole) not in self._speaker.said:
                break
        self._heard.append((author, _key(message)))
        self._speaker.said.append(_key(whole))
        self._last_reply = whole
        return whole

    def _person(self, author: str) -> Person:
        person = self._people.get(author)
        if person is None:
            person = Person(name="" if author in ("", "you") else _safe(author)[:40])
            self._people[author] = person
            if len(self._people) > MAX_PEOPLE:
                self._people.popitem(last=False)
        self._people.move_to_end(author)
        return person

    def _feel(self, intent: str) -> None:
        self.mood += (self._mood_at_rest - self.mood) * 0.25
        self.mood = max(-1.0, min(1.0, self.mood + _MOOD.get(intent, 0.0)))

    def _count_repeats(self, author: str, message: str) -> int:
        key = _key(message)
        count = 0
        for who, heard in reversed(self._heard):
            if who != author:
                continue
            if heard != key:
                break
            count += 1
        return count

    def _say(self, rule: str, slots: dict[str, str] | None = None) -> str:
        values = {**self._own, **(slots or {})}
        values.update({key.capitalize(): _capital(value) for key, value in values.items()})
        # A name in every sentence sounds like a salesman.
        skip = frozenset({"name"}) if self._random.random() < 0.6 else frozenset[str]()
        if self._voice.has(rule):
            line = self._speaker.line(rule, values, skip=skip)
            if line:
                return line
        return self._fallback.line(rule, values, skip=skip)

    def _core(
        self,
        text: str,
        message: str,
        reading: Reading,
        person: Person,
        learned: list[Told],
        repeats: int,
    ) -> tuple[str, str]:
        slots = {"name": person.name} if person.name else {}
        intent = reading.intent
        if len(text) > LONG and intent in (
            "statement",
            "question",
            "gibberish",
            "emoji",
            "empty",
            "opinion",
        ):
            return self._say("toolong", slots), "toolong"
        if self._game is not None and intent not in _LEAVES_GAME:
            played = self._play(reading, slots)
            if played:
                return played, "game"
        if (
            repeats >= 2
            and intent not in _REPEATABLE
            and not intent.startswith(("recall_", "help_"))
        ):
            if intent == "hello":
                return self._say("hello_again", {**slots, "count": str(repeats)}), intent
            if repeats % 2 == 0 or repeats > 3:
                return self._say("repeat", {**slots, "count": str(repeats)}), "repeat"
        code = language_of(message, reading.words) if intent in _MAYBE_FOREIGN else ""
        if code:
            language, phrase, _ = LANGUAGES[code]
            return self._say(
                "foreign", {**slots, "phrase": phrase, "language": language}
            ), "foreign"
        if answered := self._answer_to_mine(message, reading, person, learned, slots):
            return answered
        if (
            learned
            and intent
            in (
                "statement",
                "hello",
                "short",
                "emoji",
                "question",
                "gibberish",
                "opinion",
                "yes",
                "no",
                "morning",
            )
            and not (reading.is_question and intent in ("question", "opinion"))
        ):
            return self._learned(learned, slots), "learned"
        if message.isupper() and len(message) > 12 and intent in ("statement", "question", "short"):
            return self._say("shout", slots), "shout"
        return self._answer(reading, person, slots), intent

    def _answer(self, reading: Reading, person: Person, slots: dict[str, str]) -> str:
        intent = reading.intent
        if intent in ("joke", "fact", "story", "song"):
            self._last_show = intent
        if intent in _DIRECT:
            return self._say(intent, slots)
        if intent.startswith("recall_"):
            return self._recalled(reading, person, slots)
        if intent.startswith("game_"):
            return self._begin(intent.removeprefix("game_"), slots)
        match intent:
            case "hello":
                return self._say("hello", slots)
            case "how":
                band = (
                    "how_low" if self.mood < -0.1 else "how_high" if self.mood > 0.45 else "how_mid"
                )
                return self._say(band, slots)
            case "home":
                return self._say("home_me", slots)
            case "favourite":
                return self._favourite(reading.detail, slots)
            case "time":
                return self._say("time", {**slots, "time": _spoken_time(self._clock())})
            case "date":
                return self._say("date", {**slots, "date": _spoken_date(self._clock())})
            case "math":
                return self._sum(reading.detail, slots)
            case "more":
                return self._show(self._last_show or "fact", slots)
            case "answer_rather":
                either = [reading.extra.get("a", ""), reading.extra.get("b", "")]
                return self._say("answer", {**slots, "answer": _safe(self._random.choice(either))})
            case "yes" | "no":
                offered = self._offered() if intent == "yes" else ""
                return self._show(offered, slots) if offered else self._say(intent, slots)
            case "opinion" | "question" | "statement":
                return self._about(reading, slots)
            case _:
                return self._say("statement", slots)

    def _offered(self) -> str:
        """What her last reply ended by offering: a joke, a story, a game; empty when nothing."""
        question = re.split(r"[.!…]\s", self._last_reply)[-1].lower()
        if not question.endswith("?"):
            return ""
        for word, show in _OFFERS:
            if word in question:
                return self._last_show if show == "more" else show
        return ""

    def _show(self, show: str, slots: dict[str, str]) -> str:
        self._last_show = show
        if show in _PLAYABLE:
            return self._begin(show, slots)
        return self._say(show, slots)

    def _about(self, reading: Reading, slots: dict[str, str]) -> str:
        topics = self._voice.topics()
        known = next((topics[word] for word in reversed(reading.words) if word in topics), "")
        topic = _safe(reading.topic)
        if topic:
            self._last_topic = topic
            slots = {**slots, "topic": topic}
        if known and (reading.intent != "statement" or self._random.random() < 0.75):
            line = self._say(known, slots)
            if line and _key(line) not in self._speaker.said:
                return line
        if reading.intent == "opinion" and topic:
            return self._say("opinion", slots)
        if reading.intent in ("question", "opinion"):
            return self._say("question", slots)
        if topic and self._random.random() < 0.4:
            return self._say("statement_topic", slots)
        return self._say("statement", slots)

    def _learned(self, learned: list[Told], slots: dict[str, str]) -> str:
        order = ("name", "pet", "plan", "job", "home", "like", "favourite")
        told = min(learned, key=lambda each: order.index(each.kind) if each.kind in order else 9)
        values = {**slots, **_slots_of(told)}
        if told.kind == "pet_unnamed":
            self._asked, self._asked_at = "pet_name", self.turns
        line = self._say(f"learn_{told.kind}", values)
        return line or self._say("statement", slots)

    def _recalled(self, reading: Reading, person: Person, slots: dict[str, str]) -> str:
        kind = reading.intent.removeprefix("recall_")
        if kind == "all":
            summary = person.summary()
            if not summary:
                return self._say("recall_none", {**slots, "what": "anything about you"})
            return self._say("recall_all", {**slots, "list": summary})
        if kind == "name":
            if person.name:
                return self._say("recall_name", {**slots, "value": person.name})
            return self._say("recall_none", {**slots, "what": "your name"})
        about = _singular(reading.detail.lower())
        if kind == "pet":
            wanted = "" if about in ("pet", "") else about
            pets = person.known("pet", wanted) or (
                person.known("pet") if _same_animal(wanted, person) else []
            )
            if pets:
                return self._say("recall_pet", {**slots, **_slots_of(pets[0])})
            return self._say("recall_none", {**slots, "what": f"your {wanted or 'pet'}'s name"})
        if kind in ("favourite", "attribute"):
            return self._recalled_named(kind, about, person, slots)
        found = person.known(kind)
        if found:
            values = _slots_of(found[0])
            if kind in ("like", "dislike"):
                values["value"] = " and ".join(told.value for told in reversed(found[:3]))
            return self._say(f"recall_{kind}", {**slots, **values})
        return self._say("recall_none", {**slots, "what": _WHAT.get(kind, "that")})

    def _recalled_named(self, kind: str, about: str, person: Person, slots: dict[str, str]) -> str:
        for each in (kind, "attribute", "favourite", "person", "pet", "pet_unnamed"):
            for told in person.known(each):
                if about and (about == told.about or about.split()[0] == told.about.split(" ")[0]):
                    values = _slots_of(told)
                    if each == "favourite":
                        values["about"] = f"favourite {told.about}"
                    rule = "recall_pet" if each == "pet" else "recall_attribute"
                    return self._say(rule, {**slots, **values})
        what = (
            f"your favourite {about}"
            if kind == "favourite"
            else f"your {about}"
            if about
            else "that"
        )
        return self._say("recall_none", {**slots, "what": _safe(what)})

    def _favourite(self, kind: str, slots: dict[str, str]) -> str:
        rule = f"fav {kind}"
        voice = self._voice if self._voice.has(rule) else self._plain
        kind, rule = (kind, rule) if voice.has(rule) else ("thing", "fav thing")
        voice = self._voice if self._voice.has(rule) else self._plain
        if kind == "thing" and self._manner.voice == "plain" and "own_like" in self._own:
            pick = self._own["own_like"]
        else:
            pick = self._speaker.pick([line.source for line in voice.rules[rule]], rule)
        self._asked, self._asked_at = f"favourite {kind}", self.turns
        return self._say("favourite", {**slots, "kind": kind, "pick": pick})

    def _sum(self, text: str, slots: dict[str, str]) -> str:
        found = re.match(r"(-?[\d.]+) ?(\D+?) ?(-?[\d.]+)$", text.strip())
        if found is None:
            return self._say("question", slots)
        left, sign, right = float(found[1]), found[2].strip().lower(), float(found[3])
        if sign in ("/", "divided by", "over") and right == 0:
            return self._say("math_no", slots)
        value = (
            left + right if sign in ("+", "plus")
            else left - right if sign in ("-", "minus")
            else left / right if sign in ("/", "divided by", "over")
            else left * right
        )  # fmt: skip
        word = {"+": "plus", "-": "minus", "*": "times", "x": "times", "/": "divided by"}.get(
            sign, sign
        )
        return self._say(
            "math",
            {
                **slots,
                "sum": f"{left:g} {word} {right:g}",
                "result": f"{value:,.6g}" if value % 1 else f"{value:,.0f}",
            },
        )

    # --- games and questions of hers ---

    def _begin(self, kind: str, slots: dict[str, str]) -> str:
        if kind == "stop":
            was_playing, self._game = self._game is not None, None
            return self._say("game_stop" if was_playing else "short", slots)
        self._last_show = kind
        text, self._game = games.start(
            kind, self._speaker, lambda rule, more: self._say(rule, {**slots, **more})
        )
        return text

    def _play(self, reading: Reading, slots: dict[str, str]) -> str:
        assert self._game is not None
        if reading.intent == "game_stop":
            self._game = None
            return self._say("game_stop", slots)
        if reading.intent.startswith("game_"):
            self._game = None
            return ""
        moved = games.move(
            self._game,
            reading,
            self._speaker,
            lambda rule, more: self._say(rule, {**slots, **more}),
        )
        if moved is None:
            if self._game.tries > 4:
                self._game = None  # they talk about something else by now
            return ""
        text, over = moved
        if over:
            self._game = None
        return text

    def _answer_to_mine(
        self,
        message: str,
        reading: Reading,
        person: Person,
        learned: list[Told],
        slots: dict[str, str],
    ) -> tuple[str, str] | None:
        """The reaction to an answer to a question she asked in her last reply; None when it is no answer."""
        asked = self._asked if self._asked_at == self.turns - 1 else ""
        if not asked and self.turns == 1 and not person.name:
            asked = "name"  # her greeting asked for it
        if not asked or reading.is_question or learned:
            return None
        if reading.intent not in (
            "statement",
            "short",
            "gibberish",
            "emoji",
            "yes",
            "no",
            "answer_rather",
        ):
            return None
        if asked == "name":
            name = bare_name(message)
            if not name or reading.intent in ("yes", "no", "short"):
                return None
            told = person.learn(Told("name", _safe(name)), self.turns)
            return (self._learned([told], slots), "learned") if told else None
        if asked == "pet_name" and (name := bare_name(message)):
            told = person.learn(Told("pet_name", _safe(name)), self.turns)
            if told is not None:
                return self._learned([told], slots), "learned"
        if reading.intent in ("yes", "no"):
            return None
        answer = _safe(answer_in(message))
        if not answer:
            return (self._say("answer_long", slots), "answer") if len(reading.words) > 3 else None
        if (
            asked in ("food", "music", "game", "season", "drink", "like", "animal")
            and reading.intent == "statement"
        ):
            person.learn(Told("like", answer), self.turns)
        elif asked.startswith("favourite ") and asked != "favourite thing":
            person.learn(Told("favourite", answer, asked.removeprefix("favourite ")), self.turns)
        return self._say("answer", {**slots, "answer": answer}), "answer"

    def _tail(self, core: str, intent: str, person: Person, *, force: bool) -> str:
        if intent in _CALM | {"game", "foreign", "repeat"} and not force:
            return ""
        sentences = len(re.findall(r"[.!?…]+(?=\s|$)", core))
        if sentences >= 3 and not force:
            return ""
        asks_already = core.rstrip().endswith("?")
        chance = self._random.random()
        if asks_already and not force:
            return ""
        if not force and _INVITES.search(core):
            return ""  # she has just asked for more; another question would talk over it
        fact = person.to_bring_up(self.turns)
        if (
            fact is not None
            and chance < 0.4
            and intent in _CORE_QUESTIONS | {"opinion", "question", "how", "fact"}
        ):
            return self._bring_up(fact, person)
        if chance < (0.62 if intent in _CORE_QUESTIONS else 0.45) or (force and chance < 0.7):
            return self._question(person)
        if chance > 0.88 or force:
            return self._say("aside", {})
        return ""

    def _bring_up(self, fact: Fact, person: Person) -> str:
        fact.used = self.turns
        slots = {"name": person.name} if person.name else {}
        return self._say(f"cb_{fact.told.kind}", {**slots, **_slots_of(fact.told)})

    def _question(self, person: Person) -> str:
        voice = self._voice if self._voice.has("ask") else self._plain
        speaker = self._speaker if voice is self._voice else self._fallback
        kinds = {line.source.split(":", 1)[0] for line in voice.rules["ask"]}
        unfit = set(self._asked_kinds)
        if person.name:
            unfit.add("name")
        if person.known("pet"):
            unfit.add("pet")
        if not person.name and self.turns <= 6 and "name" not in unfit:
            open_kinds = {"name"}
        else:
            open_kinds = kinds - unfit - {"name"} or kinds - {"name"}
        for _ in range(24):
            kind, _, question = speaker.line("ask", self._own).partition(": ")
            if kind in open_kinds:
                self._asked, self._asked_at = kind, self.turns
                self._asked_kinds.append(kind)
                return question
        return ""


_MAYBE_FOREIGN = frozenset(
    {
        "statement",
        "question",
        "hello",
        "gibberish",
        "emoji",
        "short",
        "no",
        "yes",
        "opinion",
        "who",
        "how",
        "thanks",
        "bye",
        "night",
    }
)
_WHAT = {
    "like": "what you like",
    "dislike": "what you don't like",
    "home": "where you're from",
    "job": "what you do",
    "age": "how old you are",
    "birthday": "when your birthday is",
    "plan": "your plans",
}


def _own_slots(character: Character) -> dict[str, str]:
    own = {"me": character.name}
    likes, dislikes = character.personality.likes, character.personality.dislikes
    if likes:
        own["own_like"] = _safe(likes[0])
    if len(likes) > 1:
        own["own_like2"] = _safe(likes[1])
    if dislikes:
        own["own_dislike"] = _safe(dislikes[0])
    return own


def _slots_of(told: Told) -> dict[str, str]:
    slots = {"value": told.value, "about": told.about}
    if told.kind == "job":
        slots["job_verb"] = job_verb(told.value)
    if told.kind == "plan":
        slots["plan"] = plan_verb(told.value)
        slots["event"] = plan_event(told.value)
    return slots


def _safe(value: str) -> str:
    """A value that cannot be read as a tag, an action or markup when it is said back."""
    return " ".join(_MARKUP.sub(" ", value).split())[:80]


def _safe_told(told: Told) -> Told:
    return Told(told.kind, _safe(told.value), _safe(told.about))


def _capital(value: str) -> str:
    return value[:1].upper() + value[1:]


def _singular(word: str) -> str:
    return {"pets": "pet", "dogs": "dog", "cats": "cat", "puppy": "puppy"}.get(word, word)


def _same_animal(wanted: str, person: Person) -> bool:
    """Whether one kind of pet is asked for in other words ("dog" for a corgi) or there is only one it can be."""
    breeds = {
        "dog": {
            "puppy",
            "corgi",
            "poodle",
            "labrador",
            "husky",
            "pug",
            "dachshund",
            "beagle",
            "dog",
        },
        "cat": {"kitten", "cat"},
        "bird": {"parrot", "budgie", "canary", "bird"},
        "rabbit": {"bunny", "rabbit"},
        "bunny": {"rabbit"},
        "puppy": {"dog"},
        "kitten": {"cat"},
    }
    return any(
        told.about in breeds.get(wanted, set()) or told.about == "pet"
        for told in person.known("pet")
    )


def _key(text: str) -> str:
    return (
        " ".join(re.findall(r"[^\W_]+", re.sub(r"\[\w+\]|\*[^*]*\*", " ", text).lower()))
        or text.strip()
    )


def _spoken_time(moment: datetime) -> str:
    hour = moment.hour % 12 or 12
    half = (
        "in the morning"
        if moment.hour < 12
        else "in the afternoon"
        if moment.hour < 18
        else "in the evening"
        if moment.hour < 22
        else "at night"
    )
    return f"{hour} o'clock {half}" if moment.minute == 0 else f"{hour}:{moment.minute:02d} {half}"


def _spoken_date(moment: datetime) -> str:
    return f"{moment:%A}, the {moment.day}{_ordinal(moment.day)} of {moment:%B} {moment.year}"


def _ordinal(day: int) -> str:
    return "th" if 11 <= day <= 13 else {1: "st", 2: "nd", 3: "rd"}.get(day % 10, "th")
