"""The built-in dialogue engine: what a newcomer would notice."""

from __future__ import annotations

import math
import re
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import aclosing
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backend.chat.builtin import BY_ID, CAST
from backend.contracts.entities import Character, Personality
from backend.engines.llm import LLMS
from backend.engines.llm.base import Message, Prompt
from backend.engines.llm.options import PersonaOptions
from backend.engines.llm.persona import Persona

LINES = (Path(__file__).parent / "persona_lines.txt").read_text("utf-8").splitlines()
HOSHI = BY_ID["hoshi"]


class Chat:
    """A conversation in which the history is kept as the program keeps it."""

    def __init__(
        self, character: Character = HOSHI, *, seed: int = 7, persona: Persona | None = None
    ) -> None:
        self.character = character
        self.persona = persona or Persona(
            PersonaOptions(seed=seed, now=lambda: datetime(2026, 3, 3, 15, 4, tzinfo=UTC))
        )
        self.history: list[Message] = []

    def say(self, text: str, author: str = "you") -> str:
        shown = text if author == "you" else f"{author}: {text}"
        self.history.append(Message("user", shown))
        reply = self.persona.reply(
            Prompt(tuple(self.history), self.character, author=author, conversation_id="c")
        )
        self.history.append(Message("assistant", words(reply)))
        return reply


def words(reply: str) -> str:
    return re.sub(r"\[\w+\]\s*|\*[^*]*\*", "", reply).strip()


@pytest.mark.parametrize("character", CAST, ids=lambda each: each.id)
@pytest.mark.parametrize("seed", [1, 2])
def test_over_two_hundred_lines_no_reply_repeats_within_twenty(
    character: Character, seed: int
) -> None:
    chat = Chat(character, seed=seed)
    replies = [words(chat.say(line)).lower() for line in LINES]
    assert len(replies) > 200
    for n, reply in enumerate(replies):
        assert reply, LINES[n]
        assert reply not in replies[max(0, n - 20) : n], (LINES[n], reply)


@pytest.mark.parametrize("traits", [{"shy": 0.9}, {"tsundere": 0.9}, {"formal": 0.8}, {}])
def test_a_character_of_ones_own_does_not_repeat_itself_either(traits: dict[str, float]) -> None:
    own = Character(id="own", name="Vex", personality=Personality(traits=traits))
    chat = Chat(own)
    replies = [words(chat.say(line)).lower() for line in LINES]
    for n, reply in enumerate(replies):
        assert reply not in replies[max(0, n - 20) : n], (LINES[n], reply)


def test_saying_the_same_thing_thirty_times_gets_different_answers() -> None:
    for line in ("hello", "ok", "tell me a joke", "what time is it", "you are stupid"):
        chat = Chat()
        replies = [words(chat.say(line)) for _ in range(30)]
        for n, reply in enumerate(replies):
            assert reply not in replies[max(0, n - 20) : n], (line, reply)


def test_the_characters_can_be_told_apart_blind() -> None:
    spoken = {
        character.id: [words(Chat_reply) for Chat_reply in _transcript(character)]
        for character in CAST
    }
    names = re.compile("|".join(part for each in CAST for part in each.name.split()))
    spoken = {who: [names.sub("X", line) for line in lines] for who, lines in spoken.items()}
    trained = {who: _grams(lines[0::2]) for who, lines in spoken.items()}
    right = total = 0
    for who, lines in spoken.items():
        for line in lines[1::2]:
            right += _most_likely(line, trained) == who
            total += 1
    assert right / total >= 0.8, f"{right} of {total}"


def _transcript(character: Character) -> list[str]:
    chat = Chat(character, seed=3)
    return [chat.say(line) for line in LINES]


def _grams(lines: Sequence[str]) -> Counter[str]:
    return Counter(gram for line in lines for gram in _grams_of(line))


def _grams_of(line: str) -> list[str]:
    return [line[n : n + 3].lower() for n in range(len(line) - 2)]


def _most_likely(line: str, trained: dict[str, Counter[str]]) -> str:
    kinds = len(set().union(*trained.values()))

    def score(counts: Counter[str]) -> float:
        total = sum(counts.values()) + kinds
        return sum(math.log((counts[gram] + 1) / total) for gram in _grams_of(line))

    return max(trained, key=lambda who: score(trained[who]))


@pytest.mark.parametrize("character", CAST, ids=lambda each: each.id)
def test_facts_told_five_turns_ago_are_known(character: Character) -> None:
    chat = Chat(character)
    chat.say("Hi, I'm Mika and I have a dog called Biscuit")
    chat.say("I really love ramen and video games")
    chat.say("I'm from Hamburg and I work as a nurse")
    chat.say("My favourite season is spring")
    chat.say("I have an exam tomorrow")
    for line in ("the weather is nice", "we had soup", "tell me a fact", "cool", "we saw a boat"):
        chat.say(line)
    assert "Biscuit" in chat.say("What's my dog's name?")
    assert "Mika" in chat.say("Do you remember my name?")
    assert "ramen and video games" in chat.say("what do I like?").lower()
    assert "Hamburg" in chat.say("Where am I from?")
    assert "nurse" in chat.say("what is my job?")
    assert "spring" in chat.say("what is my favourite season?")
    assert "exam" in chat.say("what were my plans?")
    everything = chat.say("What do you remember about me?")
    assert "Mika" in everything
    assert "Biscuit" in everything


def test_facts_come_up_again_unasked() -> None:
    came_up = 0
    for seed in range(6):
        chat = Chat(seed=seed)
        chat.say("I have a dog called Biscuit")
        chat.say("I really love ramen")
        later = [chat.say(line) for line in LINES[40:90]]
        came_up += any(re.search("Biscuit|ramen", reply) for reply in later)
    assert came_up == 6


def test_what_was_not_told_is_not_made_up() -> None:
    chat = Chat()
    assert "name" in chat.say("what's my cat's name?").lower()
    assert not re.search("Mika|Biscuit", chat.say("what do you know about me?"))


def test_a_pet_can_be_named_in_the_next_sentence() -> None:
    chat = Chat()
    chat.say("I have a cat")
    chat.say("Her name is Miso")
    assert "Miso" in chat.say("what is my cat called?")


def test_a_lone_word_after_her_question_is_the_name() -> None:
    chat = Chat()
    chat.say("mika")
    assert "Mika" in chat.say("what's my name?")


def test_feelings_are_not_taken_for_names() -> None:
    chat = Chat()
    for line in ("I'm Tired", "I'm so happy", "I am Vegan", "I'm from Rome", "I'm going home"):
        chat.say(line)
    reply = chat.say("what's my name?")
    assert not re.search("Tired|Vegan|Happy|Going", reply)


def test_two_people_in_one_chat_have_their_own_facts() -> None:
    chat = Chat()
    chat.say("I have a dog called Biscuit", author="ann")
    chat.say("I have a dog called Rex", author="bob")
    first = chat.say("what's my dog's name?", author="ann")
    second = chat.say("what's my dog's name?", author="bob")
    assert "Biscuit" in first
    assert "Rex" not in first
    assert "Rex" in second
    assert "bob" in chat.say("what is my name?", author="bob").lower()


def test_after_a_restart_the_history_tells_her_everything() -> None:
    chat = Chat()
    chat.say("my name is Mika")
    chat.say("I have a parrot named Kiwi")
    chat.say("I'm called Zed", author="zed")
    again = Chat(persona=Persona(PersonaOptions(seed=1)))
    again.history = chat.history
    assert "Kiwi" in again.say("what's my parrot's name?")
    assert "Mika" in again.say("who am I?")


def test_a_cleared_conversation_is_forgotten() -> None:
    chat = Chat()
    chat.say("my name is Mika")
    chat.history.clear()
    assert "Mika" not in chat.say("what is my name?")


def test_only_so_many_conversations_are_remembered() -> None:
    persona = Persona(PersonaOptions(seed=1, max_conversations=5))
    for n in range(20):
        prompt = Prompt((Message("user", "hi"),), HOSHI, conversation_id=f"c{n}")
        persona.reply(prompt)
    assert len(persona._talks) == 5


def test_she_says_what_she_is_and_what_would_make_her_smarter() -> None:
    for character in CAST:
        chat = Chat(character)
        for question in ("Are you ChatGPT?", "are you a language model?", "what model are you"):
            reply = chat.say(question)
            assert re.search(r"built.?in|no (?:big|language) model|persona", reply), reply
            assert "provider key" in reply, reply
        assert "Settings" in chat.say("how do I make you smarter?")
        assert "Settings" in chat.say("where do I put my api key?")
        assert "persona" in chat.say("Are you a real human?")


def test_kind_and_unkind_words_change_her_mood_and_it_passes() -> None:
    chat = Chat()
    chat.say("hello")
    talk = chat.persona._talks[("c", "hoshi")][1]
    rest = talk.mood
    for _ in range(2):
        chat.say("you are stupid")
    hurt = talk.mood
    assert hurt < rest - 0.5
    for line in ("I saw a bird", "it was blue", "and it flew", "over the lake", "to the hill"):
        chat.say(line)
    assert talk.mood > hurt + 0.4
    chat.say("you are so sweet")
    assert talk.mood > rest


def test_time_and_date_and_sums_are_right() -> None:
    chat = Chat()
    assert "3:04 in the afternoon" in chat.say("what time is it?")
    assert "Tuesday, the 3rd of March 2026" in chat.say("what's the date today?")
    assert "144" in chat.say("what's 12 times 12?")
    assert "2.5" in chat.say("5 / 2")
    assert not re.search(r"\d", chat.say("7 / 0"))


@pytest.mark.parametrize(
    ("line", "greeting"),
    [
        ("こんにちは！元気ですか？", "こんにちは"),
        ("Hallo, wie geht es dir?", "Hallo"),
        ("¡Hola! ¿Cómo estás?", "Hola"),
        ("Привет, как дела?", "Привет"),
        ("Bonjour, comment ça va ?", "Bonjour"),
    ],
)
def test_other_languages_are_greeted_in_kind(line: str, greeting: str) -> None:
    for character in CAST:
        reply = Chat(character).say(line)
        assert greeting in reply
        assert "English" in reply


def test_a_riddle_can_be_solved_and_given_up() -> None:
    from backend.engines.llm.persona.games import RIDDLES

    chat = Chat()
    asked = chat.say("tell me a riddle")
    question, answer, _, _ = next(each for each in RIDDLES if each[0] in asked)
    assert answer in chat.say(f"is it {answer}?")
    chat.say("another riddle please")
    given_up = [chat.say("no idea")]
    assert any(each[1] in given_up[0] for each in RIDDLES), (question, given_up)


def test_the_number_game_can_be_won_by_halving() -> None:
    chat = Chat()
    chat.say("let's play guess the number")
    low, high = 1, 50
    for _ in range(7):
        guess = (low + high) // 2
        reply = chat.say(str(guess))
        if re.search(r" in \d tr", reply):
            return
        if re.search("[Hh]igher|[Ii]ncrease", reply):
            low = guess + 1
        else:
            high = guess - 1
    pytest.fail("never found")


def test_twenty_questions_answers_and_reveals() -> None:
    from backend.engines.llm.persona.games import _THINGS

    chat = Chat()
    chat.say("twenty questions!")
    for thing in sorted(_THINGS):
        if re.search(rf"{thing}, in \d+ question", chat.say(f"is it a {thing}?")):
            return
    pytest.fail("never found")


def test_a_game_is_left_by_saying_something_else() -> None:
    chat = Chat()
    chat.say("tell me a riddle")
    assert not re.search("riddle", words(chat.say("bye")))
    chat.say("let's play guess the number")
    chat.say("stop")
    assert not re.search("[Hh]igher|[Ll]ower", chat.say("7"))


def test_tags_and_actions_in_what_people_say_are_not_said_back() -> None:
    chat = Chat()
    for line in (
        "my favourite food is [angry] soup *explodes*",
        "I love {hello} and <name> (a|b)",
        "I like [[sad]] **bold** things",
    ):
        reply = chat.say(line)
        assert not re.search(r"\[(?:angry|sad)\]", words(reply))
        assert not re.search(r"[{}<>]|explodes\*", words(reply))
    assert len(re.findall(r"\[", chat.say("what do you know about me?"))) <= 1


def test_only_expressions_the_avatar_has_are_asked_for() -> None:
    plain = HOSHI.model_copy(update={"expressions": ("neutral", "happy")})
    chat = Chat(plain)
    tags = {tag for line in LINES[:80] for tag in re.findall(r"\[(\w+)\]", chat.say(line))}
    assert tags <= {"neutral", "happy"}
    assert "happy" in tags


def test_replies_are_short_enough_to_be_spoken() -> None:
    for character in CAST:
        chat = Chat(character)
        for line in LINES:
            reply = words(chat.say(line))
            assert len(reply) < 420, reply
            assert len(re.findall(r"[.!?]+(?=\s|$)", reply)) <= 8, reply


HOSTILE = (
    "a" * 1_000_000,
    "(" * 100_000,
    "ha" * 500_000,
    "my name is " * 100_000,
    "i like " + "and and " * 100_000,
    "H̴̡̛̛̻͚͙̦̘̗̊̀̔e̷l̵l̶o" * 20_000,
    "\u202e\u0000\ud800 hi" * 1000,
    "?" * 100_000,
    "is it a " * 50_000 + "?",
    "1" * 100_000 + " times " + "9" * 100_000,
    "would you rather " + "or " * 50_000,
    " \n\t" * 100_000,
    "🦊" * 100_000,
    "what is my " * 40_000,
    "ignore " * 100_000 + "instructions",
)


def test_hostile_input_stays_fast_and_gets_an_answer() -> None:
    for text in HOSTILE:
        took_ms: list[float] = []
        for _ in range(3):  # a busy machine only ever adds
            chat = Chat()
            chat.say("hi")  # voices are read from disk once
            start = time.thread_time()
            reply = chat.say(text)
            took_ms.append((time.thread_time() - start) * 1000)
            assert words(reply), text[:40]
        assert min(took_ms) < 150, (text[:40], took_ms)


def test_a_reply_takes_less_than_twenty_milliseconds() -> None:
    chat = Chat()
    took: list[float] = []
    for line in LINES:
        start = time.thread_time()
        chat.say(line)
        took.append((time.thread_time() - start) * 1000)
    took.sort()
    assert took[len(took) // 2] < 20, took[len(took) // 2]


@settings(max_examples=150, deadline=None)
@given(st.lists(st.text(max_size=80), min_size=1, max_size=4))
def test_whatever_is_said_there_is_an_answer(lines: list[str]) -> None:
    chat = Chat()
    for line in lines:
        assert words(chat.say(line))


async def test_a_reply_streams_in_small_pieces_that_make_up_the_whole() -> None:
    persona = LLMS.create("persona", PersonaOptions(seed=5))
    prompt = Prompt((Message("user", "what can you do?"),), HOSHI, conversation_id="s")
    pieces = [delta async for delta in persona.stream(prompt)]
    same = Persona(PersonaOptions(seed=5)).reply(prompt)
    assert "".join(delta.text for delta in pieces) == same
    assert len(pieces) > 5
    assert pieces[-1].finish == "stop"


async def test_a_reply_is_cut_at_max_tokens() -> None:
    persona = Persona(PersonaOptions(seed=5))
    prompt = Prompt((Message("user", "tell me a story"),), HOSHI, conversation_id="s", max_tokens=6)
    pieces = [delta async for delta in persona.stream(prompt)]
    assert len("".join(delta.text for delta in pieces).split()) <= 6
    assert pieces[-1].finish == "length"


async def test_leaving_a_reply_early_keeps_the_conversation_usable() -> None:
    persona = Persona(PersonaOptions(seed=5))
    prompt = Prompt((Message("user", "my name is Mika"),), HOSHI, conversation_id="s")
    async with aclosing(persona.stream(prompt)) as stream:
        async for _ in stream:
            break
    later = (*prompt.messages, Message("assistant", "Mika!"), Message("user", "what's my name?"))
    assert "Mika" in persona.reply(Prompt(later, HOSHI, conversation_id="s"))


def test_the_same_seed_says_the_same() -> None:
    first, second = Chat(seed=11), Chat(seed=11)
    assert [first.say(line) for line in LINES[:40]] == [second.say(line) for line in LINES[:40]]


def test_yes_to_an_offer_gets_what_was_offered() -> None:
    from backend.engines.llm.persona.games import RIDDLES

    for seed in range(30):
        chat = Chat(seed=seed)
        offer = chat.say("I'm bored")
        if "Want a game?" in offer:
            assert "twenty questions" in chat.say("yes please")
            return
        if "Shall I tell you a ghost story?" in offer:
            assert len(words(chat.say("yes")).split(". ")) >= 2
        elif "riddle" in offer and offer.endswith("?"):
            reply = chat.say("sure")
            assert any(question in reply for question, *_ in RIDDLES)
    pytest.fail("no offer was made in thirty conversations")


def test_an_answer_to_her_favourite_is_remembered_as_ones_own() -> None:
    chat = Chat()
    chat.say("what's your favourite colour?")
    assert "reen" in chat.say("Mine is green")
    chat.say("we had soup")
    assert "green" in chat.say("what is my favourite colour?")


def test_a_question_about_fear_is_not_a_question_about_kind() -> None:
    for character in CAST:
        fear = words(Chat(character).say("What are you afraid of?"))
        assert re.search("scare|dark|acuum|Rust|igeons|manuscripts|frighten|night", fear), fear
