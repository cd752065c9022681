"""How a character speaks: a built-in voice by name, or the plain one coloured by the character's traits."""

from __future__ import annotations

import re
from dataclasses import dataclass
from random import Random

from backend.contracts.entities import Character
from backend.engines.llm.persona.grammar import voice_names


@dataclass(frozen=True, slots=True)
class Flavour:
    """What a trait does to plain sentences.

    Attributes:
        words: Words in trait names that mean it.
        openers: Put before a sentence now and then.
        closers: Put after the reply now and then.
        excited, soft, formal: Changes of punctuation and spelling.
    """

    words: tuple[str, ...]
    openers: tuple[str, ...] = ()
    closers: tuple[str, ...] = ()
    excited: bool = False
    soft: bool = False
    formal: bool = False


FLAVOURS = (
    Flavour(
        ("shy", "timid", "quiet", "anxious", "nervous", "bashful"),
        ("U-um...", "Ah...", "W-well...", "Oh..."),
        ("...if that's alright.", "...sorry, I'm rambling."),
        soft=True,
    ),
    Flavour(
        ("energetic", "hyper", "cheerful", "lively", "bubbly", "enthusiastic", "genki", "happy", "excited", "bright"),
        ("Woo!", "Yes yes!", "Ooh!", "Ha!"),
        ("Let's go!", "This is the best!"),
        excited=True,
    ),
    Flavour(
        ("formal", "polite", "elegant", "noble", "royal", "refined", "proper", "regal"),
        ("Indeed.", "If I may.", "Quite so.", "Very well."),
        ("I trust that is agreeable.",),
        formal=True,
    ),
    Flavour(
        ("tsundere", "proud", "arrogant", "cold", "smug", "haughty", "bratty", "sarcastic", "rude", "teasing", "mischievous"),
        ("Hmph.", "Tch.", "Obviously.", "Oh please."),
        ("Not that I care.", "Don't get the wrong idea.", "You're lucky I'm in a good mood."),
    ),
    Flavour(
        ("gloomy", "melancholic", "sad", "dark", "goth", "brooding", "pessimistic", "edgy", "grumpy"),
        ("Sigh.", "Well.", "As the night falls..."),
        ("Not that anything lasts.", "Such is life."),
        soft=True,
    ),
    Flavour(
        ("sweet", "kind", "gentle", "warm", "caring", "motherly", "loving", "friendly", "soft", "supportive"),
        ("Aw.", "Oh, sweetheart.", "There, there."),
        ("I'm glad you're here.", "Be kind to yourself today."),
    ),
    Flavour(
        ("wise", "smart", "intelligent", "scholarly", "serious", "stoic", "analytical", "calm", "mysterious", "philosophical"),
        ("Hmm.", "Consider this.", "Let me think."),
        ("There is more to it than meets the eye.", "Time will tell."),
    ),
    Flavour(
        ("chaotic", "wild", "crazy", "silly", "funny", "playful", "goofy", "weird", "random"),
        ("Heh!", "Plot twist!", "Boing!"),
        ("I regret nothing.", "Quack. Sorry, no idea where that came from."),
        excited=True,
    ),
    Flavour(
        ("pirate", "brave", "heroic", "bold", "adventurous", "fierce", "warrior", "knight"),
        ("Ha!", "By my honour!", "Onward!"),
        ("Adventure waits for nobody!", "Stand tall."),
    ),
)  # fmt: skip

_CONTRACTED = {
    "i'm": "I am", "don't": "do not", "can't": "cannot", "it's": "it is", "that's": "that is", "i'd": "I would", "i'll": "I will", "you're": "you are",
    "what's": "what is", "let's": "let us", "isn't": "is not", "i've": "I have", "won't": "will not", "doesn't": "does not", "there's": "there is",
    "you've": "you have", "haven't": "have not", "didn't": "did not",
}  # fmt: skip
_TAG = re.compile(r"^\[(\w+)\] ?")
_SENTENCE_START = re.compile(r"^[a-z]|(?<=[^.][.!] )[a-z]")
_ANY_TAG = re.compile(r"\[(\w+)\] ?")

# Nearest feelings, for characters whose pictures show others.
_NEAREST = {
    "joy": ("happy", "smile", "smiling", "cheerful", "excited", "laugh"), "sad": ("cry", "crying", "down", "unhappy"), "angry": ("mad", "annoyed", "anger"),
    "surprised": ("surprise", "shock", "shocked"), "smug": ("smirk", "proud", "joy", "happy"), "shy": ("blush", "embarrassed", "nervous"),
    "sleepy": ("tired", "sleep"), "love": ("heart", "affection", "joy", "happy"), "thinking": ("think", "curious", "confused"), "neutral": ("calm", "normal", "default"),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Manner:
    """Which voice, and what is done to its sentences.

    Attributes:
        voice: Name of a file in ``voices/``.
        flavours: From the character's traits, strongest first; empty for voices that have their own manner.
        expressions: What the avatar can show; empty = anything.
    """

    voice: str
    flavours: tuple[Flavour, ...] = ()
    expressions: tuple[str, ...] = ()

    @classmethod
    def of(cls, character: Character) -> Manner:
        """The manner of a character: `persona_style` when it names a voice, else made from its traits and words."""
        style = character.persona_style.lower()
        if style in voice_names() and style != "plain":
            return cls(style, (), character.expressions)
        weights: dict[int, float] = {}
        traits = character.personality.traits
        told = " ".join([*character.personality.quirks, *character.tags, character.profile[:600]])
        told_words = set(re.findall(r"[a-z]+", told.lower()))
        for n, flavour in enumerate(FLAVOURS):
            named = [
                strength
                for trait, strength in traits.items()
                if set(re.findall(r"[a-z]+", trait.lower())) & set(flavour.words)
            ]
            weight = max(named, default=0.0) or (0.4 if told_words & set(flavour.words) else 0.0)
            if weight > 0.25:
                weights[n] = weight
        if not weights and character.personality.energy > 0.75:
            weights[1] = 0.5
        strongest = sorted(weights, key=lambda n: -weights[n])[:2]
        return cls("plain", tuple(FLAVOURS[n] for n in strongest), character.expressions)

    def shape(self, reply: str, random: Random) -> str:
        """Colour a reply and keep only feelings that can be shown."""
        match = _TAG.match(reply)
        tag = self._shown(match[1]) if match else ""
        text = " ".join(_ANY_TAG.sub("", reply).split())
        text = _SENTENCE_START.sub(lambda m: m[0].upper(), text)
        if self.flavours and text:
            text = self._coloured(text, random)
        return f"[{tag}] {text}" if tag else text

    def _shown(self, tag: str) -> str:
        if not self.expressions or tag in self.expressions:
            return tag
        return next((other for other in _NEAREST.get(tag, ()) if other in self.expressions), "")

    def _coloured(self, text: str, random: Random) -> str:
        main = self.flavours[0]
        chosen = random.choice(self.flavours)
        sentences = len(re.findall(r"[.!?…](?=\s|$)", text))
        if chosen.openers and random.random() < 0.55 and sentences <= 3:
            text = f"{random.choice(chosen.openers)} {text}"
        elif chosen.closers and random.random() < 0.3 and sentences <= 2 and not text.endswith("?"):
            text = f"{text} {random.choice(chosen.closers)}"
        if main.formal:
            text = re.sub(
                r"[A-Za-z]+'[a-z]+",
                lambda m: _keep_case(m[0], _CONTRACTED.get(m[0].lower(), m[0])),
                text,
            ).replace("!", ".")
        if main.soft:
            text = re.sub(
                r"(?<!\.)\.(?=\s|$)", lambda m: "..." if random.random() < 0.35 else m[0], text
            )
            text = text.replace("....", "...").replace("!", ".")
        if main.excited:
            text = re.sub(
                r"(?<![.])\.(?=\s|$)", lambda m: "!" if random.random() < 0.7 else m[0], text
            )
        return text


def _keep_case(before: str, after: str) -> str:
    return after[:1].upper() + after[1:] if before[:1].isupper() else after
