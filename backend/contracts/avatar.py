"""Wire values of the avatar: what a rig can do, what is shown, who asked for what, and how the mouth moves."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import Field

from backend.contracts.wire import Wire

Transition = Literal["instant", "smooth", "ease-in-out"]
"""How a face becomes the next one: at once; evenly; slow at both ends."""

RigKind = Literal["picture", "puppet", "vrm", "live2d"]
"""Still pictures, one a face; layers moved by rules (PNG or SVG); a VRM model; a Live2D model."""

Viseme = Literal[
    "sil", "PP", "FF", "TH", "DD", "kk", "CH", "SS", "nn", "RR", "aa", "E", "ih", "oh", "ou"
]
"""The fifteen mouth shapes that avatars know (the OVR LipSync set): silence, ten consonant groups, five vowels."""

CueKind = Literal["expression", "motion"]

CueOutcome = Literal[
    "scheduled",
    "shown",
    "waiting",
    "preempted",
    "resumed",
    "expired",
    "finished",
    "released",
    "refused",
    "dropped",
]
"""Comes with a sentence that is not heard yet; shown now; waits for what is more important; had to yield; is back after that;
its time was over; a motion played to its end; its owner let go; unknown or not allowed; thrown away because too much waited or
its sentence was never heard."""


class MouthTime(Wire):
    """One mouth shape and where it lies in the sound of its sentence, seconds from its start.

    Attributes:
        weight: How far the mouth goes there, 0-1.
    """

    viseme: Viseme
    start_s: float = Field(ge=0)
    end_s: float = Field(ge=0)
    weight: float = Field(1.0, ge=0, le=1)


class WordTime(Wire):
    """Where a word of a spoken sentence ends, in its text and in its sound.

    Attributes:
        end: Characters (code points) of the text up to its end.
        end_s: Seconds from the start of the sound.
    """

    end: int = Field(ge=0)
    end_s: float = Field(ge=0)


class Motion(Wire):
    """One animation of a rig.

    Attributes:
        group: The rig's own name for a set of motions ("Idle", "wave").
        index: Place within the group, from 0.
        name: By which it is asked for in words ("wave"); unique within the rig, lower case.
        duration_ms: Its length; 0 = not known.
    """

    group: str
    index: int = Field(0, ge=0)
    name: str
    duration_ms: float = Field(0, ge=0)


class Rig(Wire):
    """What an avatar can show.

    Attributes:
        id: Stable name, a folder's.
        url: What a page loads: rig.json of a puppet, the model of a VRM or Live2D rig; of pictures the folder, ending
            in "/", with one `<expression>.png` each.
        settings_url: Its rig.json, where it has one.
        expressions: Names, in the order of their numbers; "neutral" is always known.
        visemes: Mouth shapes it has; empty = the mouth only opens and closes, or not at all.
        problem: Why it cannot be shown, and what to do.
    """

    id: str
    kind: RigKind
    title: str
    url: str = ""
    settings_url: str = ""
    expressions: tuple[str, ...] = ()
    motions: tuple[Motion, ...] = ()
    visemes: tuple[Viseme, ...] = ()
    builtin: bool = False
    problem: str = ""


class MotionShown(Wire):
    """A motion that plays now."""

    group: str
    index: int
    name: str
    loop: bool = False
    owner: str = ""
    priority: int = 0
    started_at: datetime | None = None


class AvatarShown(Wire):
    """What one character shows now: the arbitrated result.

    Attributes:
        expression: Name of the face.
        owner: Who asked for it ("chat", "api", "command", "client", "autonomy"); empty at rest.
        priority: How much it matters; higher wins, of equals the newer.
        transition: How it came.
        until: When it ends; None = until changed.
        motion: What plays; None = the rig's own idling.
        waiting: Motions in the queue, next first.
        rig: Id of the rig that shows it.
    """

    character_id: str
    rig: str = ""
    expression: str = "neutral"
    owner: str = ""
    priority: int = 0
    transition: Transition = "smooth"
    until: datetime | None = None
    motion: MotionShown | None = None
    waiting: tuple[MotionShown, ...] = ()


class CueEntry(Wire):
    """One line of the conflict timeline: what became of a request at a moment.

    Attributes:
        id: Of the request; several lines belong to one.
        at: When.
        owner: Who asked.
        by: Who pre-empted it, where somebody did.
        reason: In words, where the outcome does not say it all.
        sentence: Number of the sentence it came with; None = none.
        playing_s: Position in the sound that was playing; None = silence.
        is_final: Nothing more becomes of the request. A motion that had to yield is not taken up again unless it loops.
    """

    id: int
    at: datetime
    character_id: str
    kind: CueKind
    name: str
    owner: str
    priority: int = 0
    outcome: CueOutcome
    by: str = ""
    reason: str = ""
    turn_id: str | None = None
    sentence: int | None = None
    playing_s: float | None = None
    is_final: bool = False
