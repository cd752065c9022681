"""Small games: riddles, word association, twenty questions, guess the number, would you rather, rock paper scissors.

A game says what happens; how it is said comes from the voice. Each move returns text and whether the game is over.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field

from backend.engines.llm.persona.grammar import Speaker
from backend.engines.llm.persona.reading import Reading

Say = Callable[[str, dict[str, str]], str]

RIDDLES: tuple[tuple[str, str, tuple[str, ...], str], ...] = (
    ("What has hands but cannot clap?", "a clock", ("clock", "watch"), "It hangs on a wall and never stops counting."),
    ("What gets wetter the more it dries?", "a towel", ("towel",), "You find it in the bathroom."),
    ("What has a neck but no head?", "a bottle", ("bottle", "shirt"), "Something to drink comes out of it."),
    ("I have cities but no houses, and rivers but no water. What am I?", "a map", ("map", "atlas"), "Travellers unfold me."),
    ("What can you catch but not throw?", "a cold", ("cold", "flu"), "It makes you sneeze."),
    ("The more you take away, the bigger I get. What am I?", "a hole", ("hole", "pit"), "You make me with a shovel."),
    ("What goes up and never comes down?", "your age", ("age",), "There's a cake for it."),
    ("What has keys but opens no door?", "a piano", ("piano", "keyboard"), "It makes music."),
    ("I follow you all day and leave you at night. What am I?", "your shadow", ("shadow",), "I need light to live."),
    ("What has many teeth but never bites?", "a comb", ("comb", "zipper"), "It knows your hair well."),
    ("What breaks when you say its name?", "silence", ("silence", "quiet"), "You hear it when everybody sleeps."),
    ("What runs but has no legs?", "a river", ("river", "water", "nose", "tap"), "It ends in the sea."),
    ("What is full of holes and still holds water?", "a sponge", ("sponge",), "It lives by the sink."),
    ("What belongs to you but others use it more?", "your name", ("name",), "I asked you for it, maybe."),
)  # fmt: skip

RATHER: tuple[tuple[str, str], ...] = (
    ("be able to fly, but only one metre high", "be invisible, but only when nobody looks"),
    ("live in a lighthouse", "live in a treehouse"),
    ("talk to animals", "speak every language"),
    ("have a tail", "have wings that only work on Sundays"),
    ("travel to the past", "travel to the future"),
    ("always be ten minutes late", "always be an hour early"),
    ("eat only soup for a year", "never eat soup again"),
    ("sleep on a cloud", "sleep in a hammock between two stars"),
    ("find a dragon's egg", "find a pirate's map"),
    ("have a song play whenever you enter a room", "have confetti fall whenever you sneeze"),
    ("explore the deep sea", "explore deep space"),
    ("know how every story ends", "never hear an ending again"),
)

_LINKS: dict[str, tuple[str, ...]] = {
    "sun": ("summer", "yellow", "shade"), "moon": ("tide", "night", "rabbit"), "star": ("wish", "compass", "night"), "night": ("owl", "lamp", "dream"),
    "dream": ("pillow", "cloud"), "cloud": ("rain", "sheep"), "rain": ("umbrella", "puddle"), "water": ("wave", "well"), "sea": ("ship", "salt"),
    "fire": ("camp", "dragon"), "dragon": ("cave", "gold"), "gold": ("crown", "treasure"), "king": ("crown", "castle"), "castle": ("ghost", "tower"),
    "ghost": ("attic", "sheet"), "cat": ("whiskers", "box"), "dog": ("bone", "walk"), "fox": ("forest", "tail"), "bird": ("feather", "nest"),
    "tree": ("leaf", "squirrel"), "forest": ("path", "mushroom"), "house": ("chimney", "key"), "key": ("lock", "piano"), "music": ("piano", "dance"),
    "dance": ("shoes", "moon"), "food": ("spoon", "picnic"), "pizza": ("oven", "party"), "cake": ("candle", "birthday"), "tea": ("biscuit", "kettle"),
    "coffee": ("morning", "mug"), "book": ("library", "page"), "school": ("bell", "chalk"), "work": ("desk", "coffee"), "game": ("dice", "winner"),
    "car": ("road", "wheel"), "road": ("journey", "map"), "red": ("rose", "apple"), "blue": ("sky", "whale"), "green": ("frog", "moss"),
    "winter": ("snow", "scarf"), "snow": ("sledge", "silence"), "summer": ("ice cream", "cricket"), "love": ("letter", "heart"), "heart": ("beat", "drum"),
    "time": ("clock", "river"), "apple": ("pie", "orchard"), "computer": ("mouse", "screen"), "space": ("rocket", "silence"), "robot": ("bolt", "beep"),
    "fish": ("pond", "hook"), "bread": ("butter", "baker"), "sleep": ("blanket", "snore"), "light": ("shadow", "lamp"), "door": ("knock", "mystery"),
}  # fmt: skip
_LOOSE = (
    "lantern", "marble", "whistle", "pocket", "thunder", "ribbon", "compass", "honey", "echo", "feather", "acorn", "postcard", "bubble", "velvet",
    "pebble", "carousel", "mitten", "cinnamon", "telescope", "puddle", "harbour", "button", "firefly", "sandwich", "meadow", "ladder", "biscuit", "anchor",
)  # fmt: skip

_FEATURES: dict[str, str] = {
    "alive": r"alive|living|breathe|animal|creature|person|human",
    "animal": r"animal|creature|mammal|insect|bird",
    "big": r"big|large|huge|bigger|tall|heavy",
    "small": r"small|tiny|little|smaller|hold|pocket|carry|hand",
    "food": r"eat|edible|food|taste|tasty|drink|sweet",
    "inside": r"inside|indoors?|house|home|room|kitchen",
    "outside": r"outside|outdoors?|nature|forest|garden|sky|sea",
    "metal": r"metal|iron|steel",
    "flies": r"fl(?:y|ies)|wings?|air|sky",
    "water": r"water|swim|wet|sea|ocean|river|liquid",
    "moves": r"move|walk|run|legs|wheels",
    "light": r"light|shine|glow|bright|burn|hot|warm",
    "sound": r"sound|noise|loud|music|hear|sing",
    "old": r"old|ancient|past",
    "useful": r"use|useful|tool|work|help|everyday|every day",
    "round": r"round|circle|ball",
    "soft": r"soft|fluffy|fur|furry|hair|cuddl",
    "manmade": r"man ?made|made by|artificial|object|thing|machine|electric|technology|built",
}
_THINGS: dict[str, frozenset[str]] = {
    "lighthouse": frozenset("big outside light old useful manmade round".split()),
    "cat": frozenset("alive animal small inside outside moves sound soft".split()),
    "moon": frozenset("big outside light old round moves".split()),
    "umbrella": frozenset("small outside useful manmade metal round water".split()),
    "apple": frozenset("small food round outside inside".split()),
    "piano": frozenset("big inside sound manmade useful old".split()),
    "bicycle": frozenset("outside metal moves useful manmade".split()),
    "owl": frozenset("alive animal flies outside sound soft moves".split()),
    "candle": frozenset("small inside light manmade useful old".split()),
    "whale": frozenset("alive animal big water moves sound outside".split()),
    "spoon": frozenset("small inside metal useful manmade".split()),
    "snowman": frozenset("outside round manmade water".split()),
}


@dataclass(slots=True)
class Game:
    """A game being played.

    Attributes:
        kind: "riddle", "association", "twenty", "number", "rather".
        secret: What is to be found.
        accepted: Answers that count.
        hint: Help for the second try.
        tries: Moves made so far.
        seen: Words that were used.
    """

    kind: str
    secret: str = ""
    accepted: tuple[str, ...] = ()
    hint: str = ""
    tries: int = 0
    seen: list[str] = field(default_factory=list)


def start(kind: str, speaker: Speaker, say: Say) -> tuple[str, Game | None]:
    """Begin a game: what is said, and the game unless it is over already."""
    go = say("game_go", {})
    match kind:
        case "riddle":
            asked = speaker.pick([riddle[0] for riddle in RIDDLES], "riddle")
            question, secret, accepted, hint = next(each for each in RIDDLES if each[0] == asked)
            return f"{go} {question}", Game("riddle", secret, accepted, hint)
        case "rather":
            first = speaker.pick([option[0] for option in RATHER], "rather")
            pair = next(each for each in RATHER if each[0] == first)
            return f"{go} Would you rather {pair[0]}, or {pair[1]}?", Game(
                "rather", pair[0], (pair[1],)
            )
        case "number":
            return (
                f"{go} I'm thinking of a number from one to fifty. What's your guess?",
                Game("number", str(speaker.random.randint(1, 50))),
            )
        case "twenty":
            return (
                f"{go} I'm thinking of something. Twenty questions, yes or no. Off you go!",
                Game("twenty", speaker.pick(sorted(_THINGS), "twenty")),
            )
        case "association":
            word = speaker.pick(_LOOSE, "association")
            return (
                f"{go} I say a word and you say the first thing it makes you think of. My word is: {word}.",
                Game("association", word, seen=[word]),
            )
        case _:
            return f"{go} Rock, paper or scissors?", Game("rps")


def move(game: Game, reading: Reading, speaker: Speaker, say: Say) -> tuple[str, bool] | None:
    """The reply to a move and whether the game is over; None when the message is no move."""
    game.tries += 1
    words = set(reading.words)
    match game.kind:
        case "riddle":
            if words & set(game.accepted):
                return f"{say('game_right', {})} It's {game.secret}.", True
            if (
                game.tries >= 3
                or re.search(
                    r"give up|no idea|(?:do not|dunno|not) know|tell me|what is it",
                    reading.text,
                    re.I,
                )
                or reading.intent == "no"
            ):
                return say("game_giveup", {"answer": game.secret}), True
            return (
                f"{say('game_wrong', {})} "
                + (
                    f"A hint: {game.hint}"
                    if game.tries == 1
                    else f"It begins with the letter {game.accepted[0][0].upper()}."
                )
            ), False
        case "number":
            return _number(game, reading, say)
        case "rather":
            answer = _chosen(game, reading)
            return (
                (say("wyr_react", {"answer": answer}), True)
                if answer
                else (say("answer_long", {}), True)
            )
        case "twenty":
            return _twenty(game, reading, say)
        case "association":
            return _associate(game, reading, speaker, say)
        case _:
            return _rps(reading, speaker, say)


def _number(game: Game, reading: Reading, say: Say) -> tuple[str, bool] | None:
    numbers = [int(word) for word in reading.words if word.isdecimal() and len(word) < 6]
    if not numbers:
        if re.search(r"give up|no idea|tell me", reading.text, re.I):
            return say("game_giveup", {"answer": game.secret}), True
        return None
    guess, secret = numbers[0], int(game.secret)
    if guess == secret:
        return (
            f"{say('game_right', {})} {secret} in {game.tries} {'try' if game.tries == 1 else 'tries'}.",
            True,
        )
    return f"{say('num_low' if guess < secret else 'num_high', {})} Not {guess}.", False


def _chosen(game: Game, reading: Reading) -> str:
    first, second = game.secret, game.accepted[0]
    words = set(reading.words) - {
        "i",
        "would",
        "the",
        "a",
        "to",
        "be",
        "have",
        "in",
        "only",
        "rather",
    }
    if words & {"first", "former", "one", "1"}:
        return first
    if words & {"second", "latter", "two", "2", "last"}:
        return second
    score_first = len(words & set(first.lower().split()))
    score_second = len(words & set(second.lower().split()))
    if score_first == score_second:
        return ""
    return first if score_first > score_second else second


def _twenty(game: Game, reading: Reading, say: Say) -> tuple[str, bool] | None:
    if game.secret in reading.words:
        return (
            f"{say('game_right', {})} A {game.secret}, in {game.tries} {'question' if game.tries == 1 else 'questions'}.",
            True,
        )
    if game.tries >= 20 or re.search(r"give up|no idea|tell me", reading.text, re.I):
        return say("game_giveup", {"answer": f"a {game.secret}"}), True
    if not reading.is_question and len(reading.words) > 3:
        return None
    asked = " ".join(reading.words)
    features = _THINGS[game.secret]
    wanted = [name for name, pattern in _FEATURES.items() if re.search(rf"\b(?:{pattern})", asked)]
    left = 20 - game.tries
    count = f" {left} left." if left % 5 == 0 or left < 4 else ""
    if not wanted:
        return say(
            "game_unsure" if reading.is_question and len(reading.words) > 4 else "game_no", {}
        ) + count, False
    return say(
        "game_yes" if any(name in features for name in wanted) else "game_no", {}
    ) + count, False


def _associate(game: Game, reading: Reading, speaker: Speaker, say: Say) -> tuple[str, bool] | None:
    if len(reading.words) > 4 or not reading.words:
        return None
    word = reading.words[-1]
    linked = [
        each for each in _LINKS.get(word, _LINKS.get(word.rstrip("s"), ())) if each not in game.seen
    ]
    answer = (
        linked[0]
        if linked
        else speaker.pick([each for each in _LOOSE if each not in game.seen[-20:]], "association")
    )
    game.seen = [*game.seen[-30:], word, answer]
    if game.tries >= 8:
        return f"{say('game_stop', {})} We went from {game.secret} to {word}.", True
    react = say("assoc_react", {"word": word}).rstrip(": ")
    return f"{react} {word[:40].capitalize()} makes me think of {answer}.", False


def _rps(reading: Reading, speaker: Speaker, say: Say) -> tuple[str, bool] | None:
    beats = {"rock": "scissors", "paper": "rock", "scissors": "paper"}
    theirs = next(
        (name for word in reading.words for name in beats if word in (name, name.rstrip("s"))), ""
    )
    if not theirs:
        return None
    mine = speaker.random.choice(sorted(beats))
    if mine == theirs:
        return say("rps_draw", {"mine": mine}), False
    return say("rps_win" if beats[mine] == theirs else "rps_lose", {"mine": mine}), True
