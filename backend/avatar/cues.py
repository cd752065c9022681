"""From words to what an avatar does: who may ask for what, by which name, and when it is shown.

People and programs ask by number or name and are told what there is when they are wrong. Replies ask by tags and stage
directions ("[joy]", "*waves happily*"), which are read kindly: what a rig does not have simply does not happen.
"""

from __future__ import annotations

import logging
import re
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeVar

from backend.avatar.rigs import Known, Rigs
from backend.avatar.state import AvatarState
from backend.contracts.avatar import AvatarShown, CueKind, Motion, Transition
from backend.contracts.entities import Character, Cue
from backend.contracts.errors import AppError, InvalidInputError

logger = logging.getLogger(__name__)

CUE_MS = 20_000
"""An expression from a reply fades back when nothing else is felt for this long."""

MOST_COMING = 1_000
MOST_LISTED = 40
"""Names in a message that lists what there is."""

ALIKE = (
    ("joy", "happy", "happiness", "joyful", "smile", "smiling", "grin", "fun", "laugh", "cheerful"),
    ("sad", "sadness", "sorrow", "unhappy", "cry", "frown"),
    ("angry", "anger", "mad", "annoyed", "furious"),
    ("surprised", "surprise", "shock", "shocked", "astonished", "gasp"),
    ("shy", "blush", "embarrassed", "bashful"),
    ("sleepy", "tired", "yawn", "drowsy"),
    ("love", "loving", "heart", "adoring", "adore"),
    ("thinking", "think", "thoughtful", "pondering", "ponder", "curious"),
    ("smug", "smirk", "proud"),
    ("neutral", "calm", "relaxed"),
)
"""Words that models write for the same face."""

Found = TypeVar("Found")

_ALIKE = {word: group for group in ALIKE for word in group}


@dataclass(frozen=True, slots=True)
class _Coming:
    character_id: str
    turn_id: str


class Cues:
    """The one way to the avatars. Belongs to the backend's loop.

    Args:
        avatar: What is shown.
        rigs: What can be shown.
        character: Finds a character by its id.
        is_on: Whether replies may move the avatar.
    """

    def __init__(
        self,
        avatar: AvatarState,
        rigs: Rigs,
        character: Callable[[str], Character | None],
        is_on: Callable[[], bool] = lambda: True,
    ) -> None:
        self.avatar = avatar
        self.rigs = rigs
        self._character = character
        self._is_on = is_on
        self._coming: OrderedDict[int, _Coming] = OrderedDict()

    # --- asked for by people and programs ---

    def express(
        self,
        character: Character,
        wanted: int | str,
        *,
        owner: str,
        duration_ms: float | None = None,
        priority: int = 0,
        transition: Transition = "smooth",
    ) -> AvatarShown:
        """Show an expression by its number or name.

        Raises:
            InvalidInputError: The rig has no such expression; lists those it has.
        """
        known = self.rigs.of(character)
        faces = tuple(known.faces.values())
        name: str | None = None
        if isinstance(wanted, str):
            name = find_expression(known, wanted)
        elif 0 <= wanted < len(faces):
            name = faces[wanted]
        if name is None:
            there = f"numbered from 0: {_listed(faces)}"
            raise self._refused(character, "expression", str(wanted), owner, there)
        return self.avatar.show(
            character.id,
            name,
            owner=owner,
            duration_ms=duration_ms,
            priority=priority,
            transition=transition,
        )

    def perform(
        self,
        character: Character,
        *,
        owner: str,
        group: str | None = None,
        index: int = 0,
        name: str | None = None,
        loop: bool = False,
        priority: int = 0,
    ) -> AvatarShown:
        """Play a motion by its group and place in it, or by its name.

        Raises:
            InvalidInputError: The rig has no such motion; lists those it has.
        """
        known = self.rigs.of(character)
        motion: Motion | None = None
        if name is not None:
            motion = find_motion(known, name)
        else:
            for each in known.rig.motions:
                if each.group == (group or "") and each.index == index:
                    motion = each
        if motion is None:
            asked = name if name is not None else f"{group or ''} {index}".strip()
            there = _listed(
                [f"{each.name} ({each.group} {each.index})" for each in known.rig.motions]
            )
            raise self._refused(character, "motion", asked, owner, there)
        return self.avatar.play(character.id, motion, owner=owner, loop=loop, priority=priority)

    def shown(self, character: Character) -> AvatarShown:
        """What a character shows now."""
        return self.avatar.shown(character.id)

    def _refused(
        self, character: Character, kind: CueKind, asked: str, owner: str, there: str
    ) -> InvalidInputError:
        reason = f"{character.name} has no {kind} {asked[:64]!r}; there are {there or 'none'}."
        self.avatar.refuse(character.id, kind, asked, owner=owner, reason=reason)
        return InvalidInputError(reason)

    # --- found in replies ---

    def vocabulary(self, character: Character) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """What a character can be told that it shows: expressions, and motions by name."""
        rig = self.rigs.of(character).rig
        return rig.expressions, tuple(motion.name for motion in rig.motions)

    def read(self, cue: Cue, character: Character) -> Cue | None:
        """A tag or stage direction as the rig understands it; None for what it does not have.

        A word in brackets is an expression before it is a motion, a stage direction the other way round.
        """
        known = self.rigs.of(character)
        looks: tuple[CueKind, ...] = ("expression", "motion")
        if cue.kind == "motion":
            looks = ("motion", "expression")
        for kind in looks:
            if kind == "motion" and (motion := read_motion(known, cue.name)) is not None:
                return Cue("motion", motion.name, dict(cue.data))
            if kind == "expression" and (name := read_expression(known, cue.name)) is not None:
                return Cue("expression", name, dict(cue.data))
        logger.debug("%s has nothing for %.60r", known.rig.id, cue.name)
        return None

    def schedule(self, cue: Cue, character: Character, turn_id: str, sentence: int) -> Cue:
        """Note a cue whose sentence was made; give what comes back to `fire` when the sentence plays."""
        number = self.avatar.schedule(
            character.id, cue.kind, cue.name, owner="chat", turn_id=turn_id, sentence=sentence
        )
        self._coming[number] = _Coming(character.id, turn_id)
        while len(self._coming) > MOST_COMING:
            self._coming.popitem(last=False)
        return Cue(cue.kind, cue.name, {**cue.data, "scheduled": number})

    def fire(self, cue: Cue, turn_id: str, character_id: str) -> None:
        """Show what a sentence brings with it: it plays now.

        Args:
            cue: As `schedule` or `read` gave it.
            turn_id: Its turn.
            character_id: Whose, when it was not scheduled.
        """
        number = cue.data.get("scheduled")
        scheduled = number if isinstance(number, int) else None
        coming = self._coming.pop(scheduled, None) if scheduled is not None else None
        character = self._character(coming.character_id if coming is not None else character_id)
        if character is None:
            if scheduled is not None:
                self.avatar.drop(scheduled, "the character was deleted meanwhile")
            return
        if not self._is_on():
            if scheduled is not None:
                self.avatar.drop(scheduled, "the module avatar is off")
            return
        try:
            if cue.kind == "expression":
                self.avatar.show(
                    character.id,
                    cue.name,
                    owner="chat",
                    duration_ms=CUE_MS,
                    turn_id=turn_id,
                    scheduled=scheduled,
                )
            elif (motion := find_motion(self.rigs.of(character), cue.name)) is not None:
                self.avatar.play(
                    character.id, motion, owner="chat", turn_id=turn_id, scheduled=scheduled
                )
            elif scheduled is not None:
                self.avatar.drop(scheduled, "the rig was changed meanwhile")
        except AppError as error:
            logger.debug("turn %s: %s", turn_id, error.message)

    def end(self, turn_id: str) -> None:
        """A turn is over: what has not been shown of it never will be."""
        for number, coming in list(self._coming.items()):
            if coming.turn_id == turn_id:
                del self._coming[number]
                self.avatar.drop(number, "its sentence was never heard")


# --- finding by words ---


def find_expression(known: Known, wanted: str) -> str | None:
    """The rig's own spelling of an expression, found by name or alias."""
    word = wanted.strip().casefold()
    return known.faces.get(word) or known.faces.get(known.aliases.get(word, "").casefold())


def find_motion(known: Known, wanted: str) -> Motion | None:
    """A motion, found by name or alias."""
    word = wanted.strip().casefold()
    return known.moves.get(word) or known.moves.get(known.aliases.get(word, "").casefold())


def read_expression(known: Known, words: str) -> str | None:
    """An expression that some words mean: by name, alias, a word alike, or one of them in another form."""
    for word in _tries(words):
        for like in (word, *_ALIKE.get(word, ())):
            if (found := find_expression(known, like)) is not None:
                return found
    return _by_stem(known, words, _stems_of_faces)


def read_motion(known: Known, words: str) -> Motion | None:
    """A motion that some words mean: by name, alias, or one of them in another form ("waves" is "wave")."""
    for word in _tries(words):
        if (found := find_motion(known, word)) is not None:
            return found
    return _by_stem(known, words, _stems_of_motions)


def stem(word: str) -> str:
    """An English word without its ending, so that "waves", "waving" and "waved" are "wav", as is "wave"."""
    for endings in (("es", "s"), ("ing", "ed")):  # "greetings" has two
        for ending in endings:
            base = word.removesuffix(ending)
            if base != word and len(base) >= 2 and not (ending == "s" and base.endswith("s")):
                word = base
                break
    if len(word) > 3 and word[-1] == word[-2] and word[-1] not in "sl":  # "nodding"
        word = word[:-1]
    return word.removesuffix("e") if len(word) > 2 else word


def _tries(words: str) -> list[str]:
    """The whole of it, then word by word."""
    whole = " ".join(words.casefold().split())
    return list(dict.fromkeys((whole, *_words(whole))))


def _words(text: str) -> list[str]:
    return re.findall(r"[^\W_]+(?:['_-][^\W_]+)*", text.casefold())[:16]


def _by_stem(
    known: Known, words: str, make: Callable[[Known], Mapping[str, Found]]
) -> Found | None:
    stems: Mapping[str, Found] | None = known.stems.get(make.__name__)
    if stems is None:
        stems = known.stems[make.__name__] = make(known)
    for word in _words(words):
        if (found := stems.get(stem(word))) is not None:
            return found
    return None


def _stems_of_motions(known: Known) -> Mapping[str, Motion]:
    named = {stem(word): motion for word, motion in reversed(tuple(known.moves.items()))}
    others = {
        stem(word): motion
        for word, name in known.aliases.items()
        if " " not in word and (motion := find_motion(known, name)) is not None
    }
    return {**others, **named}


def _stems_of_faces(known: Known) -> Mapping[str, str]:
    named = {stem(word): face for word, face in reversed(tuple(known.faces.items()))}
    alike = {
        stem(word): found
        for word, group in _ALIKE.items()
        for like in group
        if (found := find_expression(known, like)) is not None
    }
    others = {
        stem(word): face
        for word, name in known.aliases.items()
        if " " not in word and (face := find_expression(known, name)) is not None
    }
    return {**alike, **others, **named}


def _listed(names: list[str] | tuple[str, ...]) -> str:
    more = f" and {len(names) - MOST_LISTED} more" if len(names) > MOST_LISTED else ""
    return ", ".join(names[:MOST_LISTED]) + more
