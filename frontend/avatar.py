"""What the window knows of the avatar on stage: what it can show, what it shows, who wanted what; and the requests.

Loaded once per connection and whenever another character is on, kept true by events.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Any, Literal

from backend.contracts.avatar import AvatarShown, CueEntry, Motion, MotionShown, Rig, Transition
from backend.contracts.events import AvatarChanged, AvatarCue, Event, LiveEvent
from frontend.client import BackendClient, Failure
from frontend.stage import Stage, read_model, read_models
from frontend.timeline import Timeline

logger = logging.getLogger(__name__)

AvatarTopic = Literal["rig", "shown", "timeline"]
OPERATOR = ("window", "page")
"""Whose requests are the operator's own."""

SKEW_S = 1.0
"""A backend whose clock is off by more is on another machine: its times are counted from its own clock."""

NO_ROUTE = (
    "This backend cannot do that yet: it is older than this window. Update it, and start it again."
)


class Avatar:
    """The facts and the requests that change them; Tk thread only.

    Args:
        client: Line to the backend.
        stage: Who is on.
        failed: Shows a failure to the user.
    """

    def __init__(
        self, client: BackendClient, stage: Stage, failed: Callable[[Failure], None]
    ) -> None:
        self.rig: Rig | None = None
        """What the character on stage can show; None before it is known."""
        self.shown: AvatarShown | None = None
        self.timeline = Timeline()
        self.trouble = ""
        """Why nothing is known, in words."""
        self.is_loaded = False
        self._client = client
        self._stage = stage
        self._failed = failed
        self._rigs: dict[str, Rig] = {}
        self._listeners: list[tuple[frozenset[AvatarTopic], Callable[[], None]]] = []
        self._loaded_for = self._loaded_rig = ""
        self._skew_s = 0.0
        stage.listen(("character", "characters"), self._character_changed)

    def listen(
        self, topics: Iterable[AvatarTopic], callback: Callable[[], None]
    ) -> Callable[[], None]:
        """Call back when one of the topics changed; returns what ends it."""
        entry = (frozenset(topics), callback)
        self._listeners.append(entry)
        return lambda: self._listeners.remove(entry) if entry in self._listeners else None

    @property
    def now_s(self) -> float:
        """The backend's time, seconds since 1970."""
        return datetime.now(UTC).timestamp() + self._skew_s

    @property
    def expressions(self) -> tuple[str, ...]:
        """Names of the faces, neutral first; those of the character while there is no rig."""
        character = self._stage.character
        known = self.rig.expressions if self.rig is not None else ()
        known = known or (character.expressions if character else ())
        return tuple(dict.fromkeys(("neutral", *known)))

    @property
    def motions(self) -> tuple[Motion, ...]:
        """What it can play."""
        return self.rig.motions if self.rig is not None else ()

    # --- requests

    def load(self) -> None:
        """Ask for everything about the character on stage."""
        whose = self._stage.character_id
        if not whose:
            return
        self._loaded_for, self._loaded_rig = whose, self._rig_setting
        query: dict[str, str | int | float] = {"character_id": whose}
        self._client.get("/api/avatar/state", self._took_state, self._not_loaded, params=query)
        self._client.get("/api/rigs", self._took_rigs, self._quiet)
        self.load_timeline()

    def load_timeline(self) -> None:
        """Ask for the lines the backend remembers; live ones may have been lost on the way."""
        whose = self._stage.character_id
        if whose:
            query: dict[str, str | int | float] = {"character_id": whose, "limit": 1000}
            self._client.get(
                "/api/avatar/timeline", self._took_timeline, self._no_timeline, params=query
            )

    def show(
        self,
        expression: str,
        *,
        duration_ms: float = 0,
        priority: int | None = None,
        transition: Transition = "smooth",
    ) -> None:
        """Show a face; 0 ms = until changed."""
        body: dict[str, Any] = {"expression_id": expression, "transition": transition}
        if duration_ms:
            body["duration"] = duration_ms
        if priority is not None:
            body["priority"] = priority
        self._client.post("/api/expression", body, self._took_state, self._refused)

    def play(self, motion: Motion, *, loop: bool = False, priority: int | None = None) -> None:
        """Play a motion, once or until something else is wanted."""
        body: dict[str, Any] = {
            "motion_group": motion.group,
            "motion_index": motion.index,
            "loop": loop,
        }
        if priority is not None:
            body["priority"] = priority
        self._client.post("/api/motion", body, self._took_state, self._refused)

    def release(self, *, everybody: bool = False) -> None:
        """End what the operator asked for, here or on the control page; or what anybody did: the avatar at rest."""
        body = {} if everybody else {"owner": list(OPERATOR)}
        self._client.post("/api/avatar/release", body, self._took_state, self._refused)

    # --- events

    def on_event(self, event: Event) -> None:
        """Keep the facts true."""
        if isinstance(event, LiveEvent):  # stored ones may be told again, long after
            self._note_clock(event.at)
        match event:
            case AvatarChanged() if event.character_id == self._stage.character_id:
                if event.shown is not None:
                    self.shown = event.shown
                else:
                    self.shown = AvatarShown(
                        character_id=event.character_id,
                        expression=event.expression,
                        owner=event.owner,
                    )
                self._tell("shown")
            case AvatarCue() if event.entry.character_id == self._stage.character_id:
                self.timeline.add(event.entry)
                self._tell("timeline")
            case _ if self.timeline.on_event(event):
                self._tell("timeline")

    # --- inside

    def _character_changed(self) -> None:
        if self._stage.character_id and self._stage.character_id != self._loaded_for:
            self.rig = None
            self.shown = None
            self.timeline.clear()
            self._tell("rig")
            self._tell("shown")
            self._tell("timeline")
            self.load()
        elif self._loaded_for and self._rig_setting != self._loaded_rig:
            self.load()  # somebody gave the character another avatar

    @property
    def _rig_setting(self) -> str:
        character = self._stage.character
        return character.rig if character is not None else ""

    def _note_clock(self, at: datetime) -> None:
        skew = at.timestamp() - datetime.now(UTC).timestamp()
        self._skew_s = skew if abs(skew) > SKEW_S else 0.0

    def _took_state(self, value: Any) -> None:
        if not isinstance(value, dict):
            return
        self.is_loaded, self.trouble = True, ""
        shown = read_model(AvatarShown, value)
        if shown is not None and shown.character_id == self._stage.character_id:
            self.shown = shown
            self._tell("shown")
            self._choose_rig()

    def _took_rigs(self, value: Any) -> None:
        self._rigs = {rig.id: rig for rig in read_models(Rig, value, "rigs", "items")}
        self._choose_rig()

    def _choose_rig(self) -> None:
        """The rig that shows the character, once both are known."""
        wanted = self.shown.rig if self.shown is not None else ""
        rig = self._rigs.get(wanted or self._stage.character_id)
        if rig is not None and rig != self.rig:
            self.rig = rig
            self._tell("rig")

    def _took_timeline(self, value: Any) -> None:
        self.timeline.load(read_models(CueEntry, value, "timeline", "entries", "items"))
        self._tell("timeline")

    def _not_loaded(self, failure: Failure) -> None:
        self.is_loaded = True
        self.trouble = NO_ROUTE if failure.status == 404 else failure.message
        self._tell("shown")

    def _no_timeline(self, failure: Failure) -> None:
        logger.info("no timeline: %s", failure.message)

    def _quiet(self, failure: Failure) -> None:
        logger.info("no rigs: %s", failure.message)

    def _refused(self, failure: Failure) -> None:
        if failure.status == 404 and "/api/" in failure.message:
            failure = Failure(failure.code, NO_ROUTE, failure.status)
        self._failed(failure)

    def _tell(self, topic: AvatarTopic) -> None:
        for topics, callback in list(self._listeners):
            if topic in topics:
                callback()


def motion_words(motion: MotionShown) -> str:
    """A motion as it is named."""
    return motion.name or f"{motion.group} {motion.index}"
