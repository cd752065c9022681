"""Who has the stage, and doing one thing on it: she never talks over a person, and viewers' questions have their share.

`Floor` says why nothing may be done right now; `Actions` does it as a turn of her own, which can be interrupted like any other.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from backend.avatar.cues import Cues
from backend.chat.conversations import VIEWERS, TurnHandle
from backend.contracts.autonomy import Deed
from backend.contracts.entities import STAGE, Character, Cue, Turn
from backend.contracts.errors import AppError

logger = logging.getLogger(__name__)

ORIGIN = "autonomy"
OWNER = "autonomy"
PRIORITY = -10
"""Of her own expressions and motions: everybody else's go first."""
SHOWN_MS = 15_000

SETTLE_S = 2.5
"""A person who has just fallen silent may go on."""
LOST_S = 60.0
"""An utterance of which nothing more is heard has ended."""
MOST_OPEN = 100
MOST_CREDIT = 2.0


class Stage(Protocol):
    """The conversation on stage; `backend.chat.conversations.Chat` does it."""

    def running_turn(self, conversation_id: str = STAGE) -> str | None:
        """Id of the turn that runs there."""
        ...

    def waiting_turns(self, conversation_id: str = STAGE) -> list[str]:
        """Ids of the turns whose messages wait there, the next first."""
        ...

    async def send(
        self,
        text: str,
        *,
        origin: str = "api",
        conversation_id: str | None = None,
        before: Callable[[str], None] | None = None,
        is_recital: bool = False,
    ) -> TurnHandle:
        """Take words to say."""
        ...

    async def interrupt(self, conversation_id: str = STAGE) -> bool:
        """Stop the running turn."""
        ...


class Floor:
    """Who has the stage right now. Times are monotonic seconds.

    Args:
        stage: Its turns.
        is_held: Whether everything is stopped by the panic.
        is_playing: Whether anything sounds.
        hears: Whether the microphone hears somebody, or reads what was said.
    """

    def __init__(
        self,
        stage: Stage,
        *,
        is_held: Callable[[], bool],
        is_playing: Callable[[], bool],
        hears: Callable[[], bool],
    ) -> None:
        self._stage = stage
        self._is_held = is_held
        self._is_playing = is_playing
        self._hears = hears
        self.share = 0.25
        """Of the stage that is hers while viewers wait: so much of a thing of her own for each of their answers."""
        self._credit = 1.0
        self._waiting = 0
        self._speaking: OrderedDict[str, float] = OrderedDict()
        self._heard_s = float("-inf")
        self._origin = ""

    # --- what happens ---

    def speaks(self, utterance_id: str, now_s: float) -> None:
        """Somebody begins to speak."""
        self._speaking[utterance_id] = now_s
        while len(self._speaking) > MOST_OPEN:
            self._speaking.popitem(last=False)

    def spoke(self, utterance_id: str, now_s: float) -> None:
        """It was read, or came to nothing."""
        if self._speaking.pop(utterance_id, None) is not None:
            self._heard_s = now_s

    def turn_began(self, origin: str) -> None:
        """A turn runs on stage."""
        self._origin = origin

    def turn_ended(self, now_s: float) -> None:
        """It is over."""
        if self._origin.startswith(VIEWERS):
            self._credit = min(MOST_CREDIT, self._credit + self.share)
        elif self._origin != ORIGIN:
            self._heard_s = now_s
        self._origin = ""

    def viewers_wait(self, count: int) -> None:
        """So many messages of viewers wait."""
        self._waiting = count

    def took(self) -> None:
        """She does something of her own."""
        if self._waiting:
            self._credit = max(0.0, self._credit - 1.0)

    # --- who has it ---

    def somebody_speaks(self, now_s: float) -> bool:
        """Whether a person speaks, or what was said is being read."""
        while self._speaking and now_s - next(iter(self._speaking.values())) > LOST_S:
            self._speaking.popitem(last=False)
        return bool(self._speaking) or self._hears()

    def why_not(self, now_s: float) -> str:
        """What is against anything at all right now, in words; empty = the stage is hers."""
        if self._is_held():
            return "everything is stopped by the panic"
        if self.somebody_speaks(now_s):
            return "somebody speaks"
        if self._stage.waiting_turns(STAGE):
            return "a message waits for its answer"
        has_share = self._credit >= 1.0 or not self._waiting
        if self._stage.running_turn(STAGE) is not None:
            # Behind a viewer's answer she may line up: the stage would never be free for her otherwise.
            if not (self._origin.startswith(VIEWERS) and self._waiting and has_share):
                return (
                    "she is speaking" if self._origin == ORIGIN else "a message is being answered"
                )
        elif self._is_playing():
            return "something is being played"
        if now_s - self._heard_s < SETTLE_S:
            return "somebody has just spoken"
        if not has_share:
            return f"{self._waiting} viewers wait for answers (AUTONOMY_SHARE={self.share:g})"
        return ""


@dataclass(frozen=True, slots=True)
class Done:
    """What came of it.

    Attributes:
        is_done: Anything was said or shown.
        action: What, in one word each ("says+shows").
        detail: What she said, or why nothing came of it.
        again: Somebody came first: it may be tried again.
    """

    is_done: bool
    action: str
    detail: str
    again: bool = False
    turn_id: str = ""


class Actions:
    """Does one thing at a time.

    Args:
        stage: Where she speaks.
        cues: Her avatar.
        moves: Whether the module "avatar" is on.
        call_scene: Tells of a scene.
        floor: Who has the stage.
        is_sounding: Whether her voice is heard.
    """

    def __init__(
        self,
        stage: Stage,
        cues: Cues,
        *,
        moves: Callable[[], bool],
        call_scene: Callable[[str], None],
        floor: Floor,
        is_sounding: Callable[[], bool],
    ) -> None:
        self._stage = stage
        self._cues = cues
        self._moves = moves
        self._call_scene = call_scene
        self._floor = floor
        self._is_sounding = is_sounding
        self._turn_id = ""

    @property
    def turn_id(self) -> str:
        """The turn in which she speaks unasked; empty = none."""
        return self._turn_id

    async def do(self, deed: Deed, text: str, emotion: str, character: Character) -> Done:
        """Say, show and call what a deed holds; returns when it was heard."""
        acts: list[str] = []
        details: list[str] = []
        handle: TurnHandle | None = None
        if text:
            try:
                handle = await self._stage.send(
                    text,
                    origin=ORIGIN,
                    conversation_id=STAGE,
                    before=self._began,
                    is_recital=True,
                )
            except AppError as error:
                return Done(False, "nothing", error.message, again=True)
            acts.append("says")
            details.append(text)
        try:
            for act, trouble in self._move(deed, emotion, character):
                (details if trouble else acts).append(trouble or act)
            if deed.scene:
                self._call_scene(deed.scene)
                acts.append("scene")
                details.append(f"scene {deed.scene}")
            if handle is None:
                return Done(bool(acts), "+".join(acts) or "nothing", "; ".join(details))
            return self._after(await handle.result(), acts, details)
        finally:
            self._turn_id = ""

    async def give_way(self) -> None:
        """Somebody begins to speak: what has not begun to sound does not."""
        if not self._is_sounding():
            await self.cut()

    async def cut(self) -> None:
        """Stop what she says unasked."""
        if self._turn_id and self._stage.running_turn(STAGE) == self._turn_id:
            await self._stage.interrupt(STAGE)

    def _began(self, turn_id: str) -> None:
        self._turn_id = turn_id

    def _move(self, deed: Deed, emotion: str, character: Character) -> list[tuple[str, str]]:
        """Each act that was done, or the trouble with it."""
        if not self._moves():
            return []
        found: list[tuple[str, str]] = []
        wishes = (("expression", deed.expression or emotion), ("motion", deed.motion))
        for kind, wanted in wishes:
            if not wanted:
                continue
            is_face = kind == "expression"
            cue = self._cues.read(Cue("expression" if is_face else "motion", wanted), character)
            if cue is None:
                if wanted != emotion:  # a model may feel what a rig cannot show
                    found.append(("", f"{character.name} has no {kind} {wanted[:40]!r}"))
                continue
            try:
                if cue.kind == "expression":
                    self._cues.express(
                        character, cue.name, owner=OWNER, duration_ms=SHOWN_MS, priority=PRIORITY
                    )
                    found.append(("shows", ""))
                else:
                    self._cues.perform(character, owner=OWNER, name=cue.name, priority=PRIORITY)
                    found.append(("moves", ""))
            except AppError as error:
                found.append(("", error.message))
        return found

    def _after(self, turn: Turn, acts: list[str], details: list[str]) -> Done:
        if turn.outcome == "done":
            return Done(True, "+".join(acts), "; ".join(details), turn_id=turn.id)
        if turn.reply:
            return Done(True, "+".join(acts), f"{turn.reply} (interrupted)", turn_id=turn.id)
        why = turn.error or "somebody came first"
        if "scene" in acts:  # a scene is called once for one occasion
            rest = "+".join(act for act in acts if act != "says")
            return Done(True, rest, f"{'; '.join(details[1:])}; not said: {why}", turn_id=turn.id)
        return Done(False, "nothing", why, again=not turn.error, turn_id=turn.id)
