"""Wire values of autonomy: what makes her act unasked, what she does then, and how she is."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from backend.contracts.audience import ViewerEventKind
from backend.contracts.wire import Wire

Group = Literal["idle", "time", "viewers", "chat"]
"""Of triggers, as AUTONOMOUS_TRIGGERS names them: after silence; by the clock; by what viewers do; by what the chat is like."""

Day = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
DAYS: tuple[Day, ...] = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")

ChatMood = Literal["happy", "excited", "calm", "sad", "angry", "quiet"]
Countable = Literal["messages", "chatters", "follows", "followers", "subscriptions", "bits"]
"""Messages and people who wrote, new followers, subscriptions and bits of this stream; followers of the channel in all."""

Style = Literal["casual", "formal", "excited", "calm"]

TimeOfDay = Annotated[str, StringConstraints(pattern=r"^([01][0-9]|2[0-3]):[0-5][0-9]$")]
"""On the wall's clock ("20:15")."""

PLACEHOLDERS: dict[str, str] = {
    "viewer": "friend",
    "viewers": "friends",
    "amount": "so many",
    "count": "so many",
    "text": "",
    "word": "that",
    "time": "this time",
    "silence": "a while",
    "name": "me",
    "game": "the game",
    "title": "this stream",
    "topic": "all sorts of things",
    "mood": "good",
    "chatters": "all of you",
}
"""What templates and prompts may name in braces, and what stands there when nobody knows."""

_BRACES = re.compile(r"\{([^{}]*)\}")

Word = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=60)]
Template = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=500)]
Cue = Annotated[str, StringConstraints(strip_whitespace=True, max_length=80)]
TriggerId = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9_-]{0,47}$")]

MOST_TRIGGERS = 200


class Given(BaseModel):
    """What people write: a misspelt field is said, not ignored."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class QuietHours(Given):
    """A time of day in which nothing happens; `until` before `start` is on the next day.

    Attributes:
        days: On which days it starts; none = on all.
    """

    start: TimeOfDay
    until: TimeOfDay
    days: tuple[Day, ...] = Field((), max_length=7)

    @model_validator(mode="after")
    def _has_length(self) -> QuietHours:
        if self.start == self.until:
            raise ValueError(
                f"quiet hours from {self.start} until {self.until} have no length; choose two times"
            )
        return self


# --- when ---


class Every(Given):
    """Again and again.

    Attributes:
        jitter: Share of the time by which it comes earlier or later.
    """

    kind: Literal["every"] = "every"
    minutes: float = Field(ge=0.25, le=1440)
    jitter: float = Field(0.2, ge=0, le=0.9)


class AtTime(Given):
    """At times of day.

    Attributes:
        days: On which days; none = on all.
    """

    kind: Literal["at"] = "at"
    times: tuple[TimeOfDay, ...] = Field(min_length=1, max_length=24)
    days: tuple[Day, ...] = Field((), max_length=7)


class Silence(Given):
    """After nobody, she included, has said anything for a while."""

    kind: Literal["silence"] = "silence"
    seconds: float = Field(ge=10, le=86_400)


class ByViewer(Given):
    """A viewer does something.

    Attributes:
        at_least: Bits, months, viewers of a raid, gifts: only from here on.
        reward: Of channel points: only this one; empty = every one.
    """

    kind: Literal["viewer"] = "viewer"
    does: ViewerEventKind
    at_least: int = Field(0, ge=0, le=10_000_000)
    reward: Annotated[str, StringConstraints(strip_whitespace=True, max_length=100)] = ""


class Milestone(Given):
    """A number is reached.

    Attributes:
        at: These numbers.
        every: And every so many; 0 = none.
    """

    kind: Literal["milestone"] = "milestone"
    of: Countable
    at: tuple[Annotated[int, Field(ge=1, le=1_000_000_000)], ...] = Field((), max_length=50)
    every: int = Field(0, ge=0, le=1_000_000_000)

    @model_validator(mode="after")
    def _has_a_number(self) -> Milestone:
        if not self.at and not self.every:
            raise ValueError(
                "a milestone needs numbers: at (for example [100]), or every (for example 100)"
            )
        return self


class Keyword(Given):
    """Somebody writes one of some words, whole and in any case."""

    kind: Literal["keyword"] = "keyword"
    words: tuple[Word, ...] = Field(min_length=1, max_length=50)


class Topic(Given):
    """Several messages are about something.

    Attributes:
        mentions: So many messages with one of the words …
        within_s: … in so many seconds.
    """

    kind: Literal["topic"] = "topic"
    words: tuple[Word, ...] = Field(min_length=1, max_length=50)
    mentions: int = Field(5, ge=2, le=1000)
    within_s: float = Field(120, ge=10, le=600)


class Rate(Given):
    """The chat gets faster or slower than so many messages a minute."""

    kind: Literal["rate"] = "rate"
    per_minute: float = Field(gt=0, le=100_000)
    crossing: Literal["above", "below"] = "above"


class Feeling(Given):
    """The chat feels some way."""

    kind: Literal["mood"] = "mood"
    mood: ChatMood


When = Annotated[
    Every | AtTime | Silence | ByViewer | Milestone | Keyword | Topic | Rate | Feeling,
    Field(discriminator="kind"),
]


# --- what ---


class Deed(Given):
    """What she does; any of it, at once.

    Attributes:
        texts: Templates ("Welcome, {viewer}!"); one is chosen. Where there is a prompt too, they stand in for who cannot write.
        prompt: What a language model is asked to write a line about; placeholders as in templates.
        style: How it is written; none = as she feels.
        max_chars: Of what is written.
        expression, motion: By name; what her avatar does not have does not happen.
        scene: Name of a scene that programs outside switch to.
        looks_at_chat: Whether a prompt is told the newest lines of the chat.
    """

    texts: tuple[Template, ...] = Field((), max_length=50)
    prompt: Annotated[str, StringConstraints(strip_whitespace=True, max_length=1000)] = ""
    style: Style | None = None
    max_chars: int = Field(240, ge=20, le=1000)
    expression: Cue = ""
    motion: Cue = ""
    scene: Cue = ""
    looks_at_chat: bool = True

    @model_validator(mode="after")
    def _is_something(self) -> Deed:
        if not (self.texts or self.prompt or self.expression or self.motion or self.scene):
            raise ValueError(
                "nothing would happen: give texts, a prompt, an expression, a motion or a scene"
            )
        for text in (*self.texts, self.prompt):
            for name in _BRACES.findall(text):
                if name not in PLACEHOLDERS:
                    raise ValueError(
                        f"{{{name[:40]}}} is no placeholder; there are {', '.join(PLACEHOLDERS)}"
                    )
        return self

    @property
    def speaks(self) -> bool:
        """Whether there is something to say."""
        return bool(self.texts or self.prompt)


class Trigger(Given):
    """What makes her act unasked.

    Attributes:
        cooldown_s: Not again before so many seconds.
        probability: How often something comes of it.
        quiet: Not in these hours.
        priority: Higher goes first.
        stale_s: What came of viewers and chat is forgotten after so long.
    """

    id: TriggerId
    title: Annotated[str, StringConstraints(strip_whitespace=True, max_length=80)] = ""
    is_on: bool = True
    when: When
    do: Deed
    cooldown_s: float = Field(60, ge=0, le=604_800)
    probability: float = Field(1, ge=0, le=1)
    quiet: tuple[QuietHours, ...] = Field((), max_length=10)
    priority: int = Field(50, ge=0, le=100)
    stale_s: float = Field(90, ge=5, le=3600)

    @property
    def name(self) -> str:
        """What it is called on screen."""
        return self.title or self.id


class TriggerRules(Given):
    """All of them, and what holds for all.

    Attributes:
        quiet: She does nothing unasked in these hours.
    """

    triggers: tuple[Trigger, ...] = Field((), max_length=MOST_TRIGGERS)
    quiet: tuple[QuietHours, ...] = Field((), max_length=10)

    @model_validator(mode="after")
    def _ids_are_different(self) -> TriggerRules:
        seen: set[str] = set()
        for trigger in self.triggers:
            if trigger.id in seen:
                raise ValueError(
                    f"two triggers are called {trigger.id!r}; each needs an id of its own"
                )
            seen.add(trigger.id)
        return self


# --- how it is ---


class MoodState(Wire):
    """How she feels.

    Attributes:
        mood: In a word ("cheerful").
        words: In words, for people ("cheerful, full of energy").
        valence: From -1, unhappy, to 1, happy.
        pleasure: The same from 0 to 1, for a bar.
        talkativeness: From 0 to 1: how soon she says something unasked.
        settles_s: Seconds until she is about as she is at rest; 0 = she is.
    """

    mood: str
    words: str
    valence: float = Field(ge=-1, le=1)
    pleasure: float = Field(ge=0, le=1)
    energy: float = Field(ge=0, le=1)
    talkativeness: float = Field(ge=0, le=1)
    style: Style
    settles_s: float = Field(0, ge=0)


class ChatClimate(Wire):
    """What the chat is like.

    Attributes:
        topics: What it writes most about, most first.
    """

    per_minute: float = 0
    mood: str = "quiet"
    topics: tuple[str, ...] = ()
    chatters: int = 0
    messages: int = 0


Readiness = Literal["ready", "due", "coming", "armed", "resting", "quiet", "off"]
"""Would be done now; is due and waits for something; comes in so many seconds; waits for something to happen; cools down; quiet
hours; switched off."""


class TriggerState(Wire):
    """How one trigger is, and why nothing comes of it.

    Attributes:
        when: In words ("every 5 min").
        in_s: Seconds until it is due, or may be again; None = nobody knows.
        of_s: Out of how many seconds.
        reasons: What is against it, in words; none = nothing is.
        last_at: When it last led to something.
        fired: How often.
        last: What came of it last, in words.
    """

    id: str
    title: str
    when: str
    group: Group
    priority: int
    readiness: Readiness
    in_s: float | None = None
    of_s: float | None = None
    reasons: tuple[str, ...] = ()
    last_at: datetime | None = None
    fired: int = 0
    last: str = ""


class AutonomyState(Wire):
    """All of autonomy.

    Attributes:
        acting: Id of the trigger that is being done; empty = none.
        reasons: What is against anything at all right now ("somebody speaks").
        triggers: The next ones first.
    """

    is_on: bool
    mood: MoodState
    chat: ChatClimate = ChatClimate()
    acting: str = ""
    reasons: tuple[str, ...] = ()
    triggers: tuple[TriggerState, ...] = ()
    last: str = ""


class DryRun(Wire):
    """What she would do now, and why.

    Attributes:
        trigger: Id of the trigger; empty = she would do nothing.
        would: In words ("says: Welcome!").
        why: In words.
        text: What she would say, or an example; empty when it was not written.
        prompt: What a language model would be asked.
        feels: What prompts say of how she feels; the replies on the stage are told the same while the module is on.
        triggers: Each trigger with what is against it, the chosen one first.
    """

    trigger: str = ""
    would: str = ""
    why: str = ""
    text: str = ""
    prompt: str = ""
    feels: str = ""
    triggers: tuple[TriggerState, ...] = ()
