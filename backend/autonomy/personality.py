"""How she feels: traits that stay, a mood and an energy that react to what happens and go back to rest.

Pure and deterministic: the same events at the same times give the same mood. Both numbers stay within their bounds whatever
happens, because each reaction goes a share of the way to the bound. They decide how she writes, and how soon she says
something unasked.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from backend.contracts.autonomy import MoodState, Style
from backend.contracts.entities import Personality

Happening = Literal[
    "follow",
    "subscribe",
    "gift",
    "raid",
    "cheer",
    "redeem",
    "insult",
    "praise",
    "silence",
    "talk",
    "busy",
    "milestone",
]

VALENCE_HALF_S = 480.0
ENERGY_HALF_S = 720.0
"""Half of what something has done to her is forgotten after this."""

LONG_STREAM_S = 2 * 3600.0
"""From here on she gets tired …"""
TIRED_S = 8 * 3600.0
"""… until here, by …"""
TIRED_BY = 0.5
"""… this share of her energy at rest."""

REACTIONS: Mapping[Happening, tuple[float, float]] = {
    "follow": (0.12, 0.08),
    "subscribe": (0.22, 0.14),
    "gift": (0.28, 0.2),
    "raid": (0.35, 0.4),
    "cheer": (0.18, 0.14),
    "redeem": (0.06, 0.06),
    "insult": (-0.3, 0.06),
    "praise": (0.12, 0.05),
    "silence": (-0.05, -0.07),
    "talk": (0.02, 0.02),
    "busy": (0.08, 0.15),
    "milestone": (0.15, 0.12),
}
"""The share of the way to the bound that each thing takes mood and energy."""

TRAIT_EFFECTS: Mapping[str, tuple[float, float, float]] = {
    "cheerful": (0.25, 0.1, 0.1),
    "happy": (0.25, 0.05, 0.05),
    "sweet": (0.2, 0.0, 0.0),
    "kind": (0.15, 0.0, 0.0),
    "playful": (0.15, 0.15, 0.15),
    "curious": (0.05, 0.1, 0.2),
    "energetic": (0.1, 0.3, 0.2),
    "hyper": (0.1, 0.4, 0.3),
    "bold": (0.05, 0.15, 0.2),
    "talkative": (0.0, 0.05, 0.4),
    "chatty": (0.0, 0.05, 0.4),
    "shy": (-0.05, -0.1, -0.35),
    "quiet": (0.0, -0.15, -0.4),
    "calm": (0.05, -0.2, -0.15),
    "sleepy": (0.0, -0.35, -0.25),
    "lazy": (0.0, -0.3, -0.2),
    "grumpy": (-0.3, -0.05, -0.1),
    "melancholic": (-0.25, -0.15, -0.1),
    "sarcastic": (-0.1, 0.0, 0.1),
    "teasing": (0.0, 0.05, 0.15),
    "smug": (0.05, 0.0, 0.1),
}
"""What a trait at full strength adds to mood, energy and talkativeness at rest."""

FORMAL = frozenset({"formal", "polite", "elegant", "noble", "royal", "refined", "dignified"})
TOUGH = frozenset({"bold", "confident", "smug", "sarcastic", "stoic", "tough"})
TENDER = frozenset({"shy", "sensitive", "anxious", "insecure", "tender"})

MOODS: Mapping[str, float] = {
    "cheerful": 0.45,
    "happy": 0.45,
    "excited": 0.5,
    "playful": 0.4,
    "content": 0.25,
    "curious": 0.2,
    "calm": 0.1,
    "relaxed": 0.15,
    "neutral": 0.0,
    "serious": 0.0,
    "sleepy": 0.0,
    "bored": -0.15,
    "grumpy": -0.35,
    "sad": -0.4,
    "melancholic": -0.35,
    "angry": -0.5,
}
"""Moods at rest as characters name them."""

PAUSE_S = 1800.0
"""A run that begins later than this after the last one is another stream: she has rested."""
NEAR = 0.05
"""Closer to rest than this nobody would notice."""


@dataclass(frozen=True, slots=True)
class Rest:
    """How she is when nothing happens.

    Attributes:
        sensitivity: How strongly bad things work; 1 = as on anybody.
    """

    valence: float
    energy: float
    talkativeness: float
    sensitivity: float
    is_formal: bool


def rest_of(personality: Personality) -> Rest:
    """A character at rest."""
    valence = MOODS.get(personality.mood.strip().casefold(), 0.1)
    energy, talk = personality.energy, 0.5
    sensitivity = 1.0
    is_formal = False
    for name, strength in personality.traits.items():
        trait = name.strip().casefold()
        weight = min(1.0, max(0.0, strength if strength == strength else 0.0))
        by_valence, by_energy, by_talk = TRAIT_EFFECTS.get(trait, (0.0, 0.0, 0.0))
        valence += by_valence * weight
        energy += by_energy * weight * 0.5  # the character's own number says most of it
        talk += by_talk * weight
        sensitivity += 0.5 * weight * ((trait in TENDER) - (trait in TOUGH))
        is_formal = is_formal or (trait in FORMAL and weight > 0.5)
    return Rest(
        valence=_within(valence, -0.8, 0.8),
        energy=_within(energy, 0.05, 0.95),
        talkativeness=_within(talk, 0.05, 1.0),
        sensitivity=_within(sensitivity, 0.25, 2.0),
        is_formal=is_formal,
    )


class Temper:
    """The mood of the one on stage. Times are monotonic seconds; one that lies behind counts as now.

    Args:
        personality: Of the character.
        now_s: The moment.
    """

    def __init__(self, personality: Personality, now_s: float) -> None:
        self._rest = rest_of(personality)
        self._at_s = now_s
        self._began_s = now_s
        self._valence = self._rest.valence
        self._energy = self._rest.energy

    def become(self, personality: Personality, now_s: float) -> None:
        """Somebody else is on stage, or is edited: the mood stays, and goes to another rest."""
        self.settle(now_s)
        self._rest = rest_of(personality)

    def settle(self, now_s: float) -> None:
        """Let time pass."""
        passed_s = max(0.0, now_s - self._at_s)
        if not passed_s:
            return
        rest = self._rest
        energy = self._rested_energy(now_s)
        self._valence = rest.valence + (self._valence - rest.valence) * _kept(
            passed_s, VALENCE_HALF_S
        )
        self._energy = energy + (self._energy - energy) * _kept(passed_s, ENERGY_HALF_S)
        self._at_s += passed_s

    def react(self, what: Happening, now_s: float, amount: int = 1) -> None:
        """Something has happened; an ``amount`` of viewers, bits or gifts makes it stronger, less and less."""
        self.settle(now_s)
        valence, energy = REACTIONS[what]
        much = 1 + math.log10(max(1, amount)) / 2
        if valence < 0:
            valence *= self._rest.sensitivity
        self._valence = _toward(self._valence, valence * much, -1.0, 1.0)
        self._energy = _toward(self._energy, energy * much, 0.0, 1.0)

    def state(self, now_s: float) -> MoodState:
        """How she feels."""
        self.settle(now_s)
        valence, energy = self._valence, self._energy
        mood = mood_word(valence, energy)
        return MoodState(
            mood=mood,
            words=f"{mood}, {energy_words(energy)}",
            valence=round(valence, 3),
            pleasure=round((valence + 1) / 2, 3),
            energy=round(energy, 3),
            talkativeness=round(self.talkativeness, 3),
            style=self.style,
            settles_s=round(self._settles_s(now_s)),
        )

    @property
    def talkativeness(self) -> float:
        """How much she likes to talk right now, 0-1."""
        return _within(
            self._rest.talkativeness
            + 0.4 * (self._energy - 0.5)
            + 0.15 * (self._valence - self._rest.valence),
            0.0,
            1.0,
        )

    @property
    def style(self) -> Style:
        """How she writes now."""
        if self._energy > 0.75 and self._valence > -0.2:
            return "excited"
        if self._rest.is_formal:
            return "formal"
        return "calm" if self._energy < 0.35 or self._valence < -0.45 else "casual"

    def gap_s(self, base_s: float) -> float:
        """How long she waits between things she says of her own: from half to twice ``base_s``."""
        return base_s * 2 ** (1 - 2 * self.talkativeness)

    def hint(self) -> str:
        """How she feels, for a prompt; coarse, so that the same prompt comes again while nothing changes."""
        mood = mood_word(self._valence, self._energy)
        return f"Right now you feel {mood} and {energy_words(self._energy)}; let it show a little, do not speak of it."

    def streams_since(self, began_s: float) -> None:
        """The stream began then: from there on she gets tired."""
        self._began_s = began_s

    def dump(self, now_s: float) -> dict[str, float]:
        """What must be known after a crash."""
        self.settle(now_s)
        return {
            "valence": self._valence,
            "energy": self._energy,
            "streaming_s": max(0.0, now_s - self._began_s),
        }

    def load(self, kept: Mapping[str, object], now_s: float, since_s: float) -> None:
        """Go on with what was kept ``since_s`` seconds ago; what makes no sense is left out."""
        since_s = max(0.0, since_s)
        self.settle(now_s)
        if (valence := _number(kept.get("valence"))) is not None:
            self._valence = _within(valence, -1.0, 1.0)
        if (energy := _number(kept.get("energy"))) is not None:
            self._energy = _within(energy, 0.0, 1.0)
        streaming_s = _number(kept.get("streaming_s")) or 0.0
        if since_s < PAUSE_S:
            self._began_s = now_s - min(max(0.0, streaming_s), 7 * 86_400) - since_s
        rest = self._rest
        self._valence = rest.valence + (self._valence - rest.valence) * _kept(
            since_s, VALENCE_HALF_S
        )
        energy_at_rest = self._rested_energy(now_s)
        self._energy = energy_at_rest + (self._energy - energy_at_rest) * _kept(
            since_s, ENERGY_HALF_S
        )

    def _rested_energy(self, now_s: float) -> float:
        """Her energy at rest, after streaming for so long."""
        tired = (now_s - self._began_s - LONG_STREAM_S) / (TIRED_S - LONG_STREAM_S)
        return self._rest.energy * (1 - TIRED_BY * _within(tired, 0.0, 1.0))

    def _settles_s(self, now_s: float) -> float:
        away = (
            (abs(self._valence - self._rest.valence), VALENCE_HALF_S),
            (abs(self._energy - self._rested_energy(now_s)), ENERGY_HALF_S),
        )
        return max((math.log2(far / NEAR) * half for far, half in away if far > NEAR), default=0.0)


def mood_word(valence: float, energy: float) -> str:
    """A mood in one word."""
    if valence > 0.5:
        return "thrilled" if energy > 0.75 else "happy" if energy > 0.4 else "blissful"
    if valence > 0.15:
        return "excited" if energy > 0.75 else "cheerful" if energy > 0.4 else "content"
    if valence > -0.15:
        return "alert" if energy > 0.75 else "calm" if energy > 0.3 else "dreamy"
    if valence > -0.45:
        return "annoyed" if energy > 0.55 else "bored" if energy > 0.3 else "gloomy"
    return "angry" if energy > 0.55 else "sad"


def energy_words(energy: float) -> str:
    """An energy in words."""
    for least, words in (
        (0.8, "full of energy"),
        (0.6, "lively"),
        (0.4, "relaxed"),
        (0.2, "tired"),
    ):
        if energy > least:
            return words
    return "nearly asleep"


def _toward(value: float, share: float, low: float, high: float) -> float:
    """A share of the way to the upper bound, or to the lower one where it is negative."""
    share = _within(share, -0.9, 0.9)
    return value + share * (high - value) if share > 0 else value + share * (value - low)


def _kept(passed_s: float, half_s: float) -> float:
    return math.exp2(-min(passed_s / half_s, 200.0))


def _within(value: float, low: float, high: float) -> float:
    return min(high, max(low, value))


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if math.isfinite(value) else None
