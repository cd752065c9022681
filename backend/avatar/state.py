"""What every avatar shows right now, who asked for it, and what became of every request.

`show.Show` decides; this gives it the clock, sets one timer per character for what happens by itself, publishes
`avatar.changed` when something visible changed and `avatar.cue` for every line of the conflict timeline, and keeps the
newest lines. Whether a rig has what is asked for is checked before (`cues.Cues`).
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import count
from typing import Any, Protocol

from backend.avatar.show import USUAL_S, Asked, Line, Show
from backend.contracts.avatar import (
    AvatarShown,
    CueEntry,
    CueKind,
    Motion,
    MotionShown,
    Transition,
)
from backend.contracts.errors import InvalidInputError
from backend.contracts.events import AvatarChanged, AvatarCue
from backend.core import clock
from backend.core.bus import EventBus

MAX_DURATION_MS = 24 * 3600 * 1000
MOST_LINES = 2_000
"""Lines of the timeline that are kept: an evening's talk."""

MOST_SCHEDULED = 1_000
"""Cues of sentences that are not heard yet; a reply of 20,000 characters has fewer."""


class Handle(Protocol):
    """A timer that can be stopped."""

    def cancel(self) -> None:
        """Do not call."""
        ...


def _call_later(delay_s: float, call: Callable[[], None]) -> Handle:
    return asyncio.get_running_loop().call_later(delay_s, call)


@dataclass(frozen=True, slots=True)
class _Scheduled:
    character_id: str
    asked: Asked


class AvatarState:
    """The avatars of all characters. Belongs to the backend's loop.

    Args:
        bus: Where events go.
        now_s: Monotonic seconds.
        call_later: Calls something in so many seconds.
        position_s: Where the sound that plays is; None = silence.
        rig_of: Id of the rig that shows a character.
    """

    def __init__(
        self,
        bus: EventBus,
        *,
        now_s: Callable[[], float] = clock.monotonic_s,
        call_later: Callable[[float, Callable[[], None]], Handle] = _call_later,
        position_s: Callable[[], float | None] = lambda: None,
        rig_of: Callable[[str], str] = lambda character_id: "",
    ) -> None:
        self._bus = bus
        self._now_s = now_s
        self._call_later = call_later
        self._position_s = position_s
        self._rig_of = rig_of
        self._ids = count(1)
        self._shows: dict[str, Show] = {}
        self._timers: dict[str, tuple[float, Handle]] = {}
        self._scheduled: OrderedDict[int, _Scheduled] = OrderedDict()
        self._lines: deque[CueEntry] = deque(maxlen=MOST_LINES)

    # --- asking for something ---

    def show(
        self,
        character_id: str,
        expression: str,
        *,
        owner: str,
        duration_ms: float | None = None,
        priority: int = 0,
        transition: Transition = "smooth",
        turn_id: str | None = None,
        scheduled: int | None = None,
    ) -> AvatarShown:
        """Ask for an expression, for a while or until changed.

        Args:
            character_id: Whose face.
            expression: Its name, as the rig spells it.
            owner: Who asks.
            duration_ms: How long, from now; None or 0 = until the same owner asks for another one, or lets go.
            priority: Higher wins, of equals the newer.
            transition: How the face gets there.
            turn_id: The turn it belongs to.
            scheduled: What `schedule` returned, when it was announced.

        Raises:
            InvalidInputError: If the duration is negative or longer than a day.
        """
        if duration_ms is not None and not 0 <= duration_ms <= MAX_DURATION_MS:
            raise InvalidInputError(
                f"An expression cannot last {duration_ms:g} ms: give 0 (until changed) to {MAX_DURATION_MS} ms."
            )
        asked = self._asked("expression", expression, owner, priority, turn_id, scheduled)
        asked.transition = transition
        now_s = self._now_s()
        asked.until_s = now_s + duration_ms / 1000 if duration_ms else None
        return self._do(character_id, turn_id, lambda show: show.express(asked, now_s))

    def play(
        self,
        character_id: str,
        motion: Motion,
        *,
        owner: str,
        loop: bool = False,
        priority: int = 0,
        turn_id: str | None = None,
        scheduled: int | None = None,
    ) -> AvatarShown:
        """Ask for a motion: once, or again and again until the same owner asks for another loop, or lets go."""
        asked = self._asked("motion", motion.name, owner, priority, turn_id, scheduled)
        asked.group, asked.index, asked.loop = motion.group, motion.index, loop
        asked.duration_s = motion.duration_ms / 1000 or USUAL_S
        now_s = self._now_s()
        return self._do(character_id, turn_id, lambda show: show.perform(asked, now_s))

    def release(
        self,
        character_id: str,
        *,
        owner: str | frozenset[str] | None = None,
        kind: CueKind | None = None,
        name: str | None = None,
        turn_id: str | None = None,
    ) -> int:
        """Let go of what was asked for; return how many requests ended.

        Args:
            character_id: Whose avatar.
            owner: Whose requests, of one or of several; None = everybody's.
            kind: None = expressions and motions.
            name: Of which expression or motion; None = any.
            turn_id: The turn it belongs to, for the event.
        """
        now_s, ended = self._now_s(), 0

        def let_go(show: Show) -> None:
            nonlocal ended
            ended = show.release(now_s, owner=owner, kind=kind, name=name)

        if character_id in self._shows:
            self._do(character_id, turn_id, let_go)
        return ended

    def refuse(
        self, character_id: str, kind: CueKind, name: str, *, owner: str, reason: str
    ) -> None:
        """Note that something was asked for that cannot be shown."""
        asked = self._asked(kind, name[:64], owner, 0, None, None)
        self._note(
            character_id, Line(asked, "refused", self._now_s(), reason=reason, is_final=True)
        )

    # --- what comes with a sentence ---

    def schedule(
        self,
        character_id: str,
        kind: CueKind,
        name: str,
        *,
        owner: str,
        turn_id: str | None = None,
        sentence: int | None = None,
    ) -> int:
        """Note a cue whose sentence was made and is not heard yet; hand the number to `show`, `play` or `drop`."""
        asked = self._asked(kind, name, owner, 0, turn_id, None)
        asked.sentence = sentence
        self._scheduled[asked.id] = _Scheduled(character_id, asked)
        self._note(character_id, Line(asked, "scheduled", self._now_s()))
        if len(self._scheduled) > MOST_SCHEDULED:
            self.drop(next(iter(self._scheduled)), f"{MOST_SCHEDULED} cues wait already")
        return asked.id

    def drop(self, scheduled: int, reason: str) -> None:
        """Note that the sentence of a cue will not be heard; nothing to do when it was."""
        found = self._scheduled.pop(scheduled, None)
        if found is not None:
            line = Line(found.asked, "dropped", self._now_s(), reason=reason, is_final=True)
            self._note(found.character_id, line)

    # --- asking what is shown ---

    def shown(self, character_id: str) -> AvatarShown:
        """What the character shows now."""
        show = self._shows.get(character_id)
        if show is None:
            return AvatarShown(character_id=character_id, rig=self._rig_of(character_id))
        face = show.face
        values: dict[str, Any] = {}
        if face is not None:
            values = {
                "expression": face.name,
                "owner": face.owner,
                "priority": face.priority,
                "transition": face.transition,
                "until": None if face.until_s is None else self._moment(face.until_s),
            }
        motion = None if show.motion is None else self._motion_shown(show.motion)
        return AvatarShown(
            character_id=character_id,
            rig=self._rig_of(character_id),
            motion=motion,
            waiting=tuple(self._motion_shown(each) for each in show.waiting),
            **values,
        )

    def timeline(
        self,
        character_id: str | None = None,
        *,
        limit: int = 200,
        turn_id: str | None = None,
        after: int = 0,
    ) -> list[CueEntry]:
        """Newest lines of the conflict timeline, oldest of them first.

        Args:
            character_id: Of whom; None = of everybody.
            limit: How many at most.
            turn_id: Of which turn only.
            after: Only lines of requests newer than this one.
        """
        found = [
            line
            for line in self._lines
            if (character_id is None or line.character_id == character_id)
            and (turn_id is None or line.turn_id == turn_id)
            and line.id > after
        ]
        return found[max(0, len(found) - limit) :]

    def close(self) -> None:
        """Forget all timers."""
        for _, timer in self._timers.values():
            timer.cancel()
        self._timers.clear()

    # --- inside ---

    def _asked(
        self,
        kind: CueKind,
        name: str,
        owner: str,
        priority: int,
        turn_id: str | None,
        scheduled: int | None,
    ) -> Asked:
        known = self._scheduled.pop(scheduled, None) if scheduled is not None else None
        if known is None:
            return Asked(next(self._ids), kind, name, owner, priority, turn_id)
        asked = known.asked
        asked.kind, asked.name, asked.owner, asked.priority = kind, name, owner, priority
        return asked

    def _do(
        self, character_id: str, turn_id: str | None, change: Callable[[Show], object]
    ) -> AvatarShown:
        """Change a show, and tell what came of it."""
        show = self._shows.get(character_id)
        if show is None:
            show = self._shows[character_id] = Show(lambda line: self._note(character_id, line))
        before = show.visible
        change(show)
        shown = self.shown(character_id)
        if show.visible != before:
            self._bus.publish(
                AvatarChanged(
                    expression=shown.expression,
                    motion=shown.motion.name if shown.motion is not None else "",
                    owner=shown.owner,
                    character_id=character_id,
                    shown=shown,
                    turn_id=turn_id,
                )
            )
        if show.is_empty:
            self._shows.pop(character_id, None)  # only avatars that differ from rest are kept
        self._set_timer(character_id, show.next_s())
        return shown

    def _set_timer(self, character_id: str, due_s: float | None) -> None:
        running = self._timers.get(character_id)
        if running is not None:
            if running[0] == due_s:
                return
            running[1].cancel()
            del self._timers[character_id]
        if due_s is not None:
            handle = self._call_later(
                max(0.0, due_s - self._now_s()), lambda: self._due(character_id)
            )
            self._timers[character_id] = (due_s, handle)

    def _due(self, character_id: str) -> None:
        due_s, _ = self._timers.pop(character_id)
        if character_id in self._shows:
            # A timer may fire a little early, and must not find that nothing is due.
            now_s = max(self._now_s(), due_s)
            self._do(character_id, None, lambda show: show.advance(now_s))

    def _note(self, character_id: str, line: Line) -> None:
        asked = line.asked
        position_s = self._position_s()
        entry = CueEntry(
            id=asked.id,
            at=self._moment(line.at_s),
            character_id=character_id,
            kind=asked.kind,
            name=asked.name,
            owner=asked.owner,
            priority=asked.priority,
            outcome=line.outcome,
            by=line.by,
            reason=line.reason,
            turn_id=asked.turn_id,
            sentence=asked.sentence,
            playing_s=None if position_s is None else round(position_s, 3),
            is_final=line.is_final,
        )
        self._lines.append(entry)
        self._bus.publish(AvatarCue(entry=entry, turn_id=asked.turn_id))

    def _moment(self, at_s: float) -> datetime:
        return clock.now() + timedelta(seconds=at_s - self._now_s())

    def _motion_shown(self, asked: Asked) -> MotionShown:
        started_s = asked.started_s
        return MotionShown(
            group=asked.group,
            index=asked.index,
            name=asked.name,
            loop=asked.loop,
            owner=asked.owner,
            priority=asked.priority,
            started_at=None if started_s is None else self._moment(started_s),
        )
