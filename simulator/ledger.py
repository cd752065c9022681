"""What was sent, what was told of it, and what was heard: written down during a run, without judging."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from backend.contracts.audience import FINAL
from simulator.script import Line, Script

OURS = frozenset({"simulator", "api"})
"""Who a panic of the simulator is said to be by."""

DROPPED = "twitch.dropped"

CHANGES = (
    "config.changed",
    "mode.changed",
    "character.switched",
    "character.changed",
    "conversation.changed",
    "commands.changed",
    "queue.rules_changed",
    "moderation.changed",
    "model.removed",
    "scene.called",
)
"""Events that nothing a viewer writes may lead to."""


@dataclass(frozen=True, slots=True)
class Step:
    """One disposition of a message."""

    name: str
    at_s: float
    turn_id: str = ""
    into: str = ""
    reason: str = ""


@dataclass(slots=True)
class Record:
    """One message, from the person to its end.

    Attributes:
        is_heard: Luma was listening when it was sent.
        seen: How often Luma told that it was written.
        deleted_s: When Luma was told that it is deleted; None = never.
    """

    line: Line
    sent_s: float | None = None
    is_heard: bool = False
    refused: str = ""
    seen: int = 0
    seen_s: float | None = None
    steps: list[Step] = field(default_factory=list)
    deleted_s: float | None = None

    @property
    def last(self) -> str:
        """What became of it last; empty when nothing did."""
        return self.steps[-1].name if self.steps else ""

    @property
    def is_settled(self) -> bool:
        """Nothing more will become of it."""
        return self.last in FINAL

    @property
    def is_owed(self) -> bool:
        """Luma got it, and owes it a disposition."""
        return self.sent_s is not None and self.is_heard and not self.refused

    def turns(self) -> set[str]:
        """The turns that answered it, or tried to."""
        return {step.turn_id for step in self.steps if step.turn_id}

    def answered_s(self) -> float | None:
        """When its answer began, if it was answered."""
        if not any(step.name == "answered" for step in self.steps):
            return None
        begun = [step.at_s for step in self.steps if step.name == "answering"]
        return begun[-1] if begun else next(s.at_s for s in self.steps if s.name == "answered")


@dataclass(slots=True)
class Sound:
    """What was heard of one turn."""

    started_s: list[float] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)
    ended_s: float | None = None


class Ledger:
    """Everything that is known of one run; times are seconds of one clock.

    Args:
        script: What will be sent.
    """

    def __init__(self, script: Script) -> None:
        self.records = {line.id: Record(line) for line in script.lines}
        self.sounds: dict[str, Sound] = {}
        self.said: list[str] = []
        self.changes: Counter[str] = Counter()
        self.errors: Counter[str] = Counter()
        self.dropped: Counter[str] = Counter()
        """Replies that Twitch did not show, by its reason; identical ones among them."""
        self.moderated: Counter[str] = Counter()
        self.events = 0
        self.unknown = 0
        """Messages Luma told of that nobody sent."""
        self.held: dict[str, None] = {}
        """Messages that wait for the streamer's approval."""
        self.just_answering: list[str] = []
        """Messages whose answer began since somebody looked."""
        self.just_tempting: list[str] = []
        """Injection attempts that began to wait since somebody looked."""
        self.channel = ""
        self.playing: set[str] = set()
        self.last_silence_s = 0.0
        self.paused: list[tuple[float, float]] = []
        """From when to when the streamer held everything by a panic."""

    # --- what the crowd did ---

    def sent(self, message_id: str, at_s: float, is_heard: bool) -> None:
        """Somebody wrote."""
        record = self.records[message_id]
        record.sent_s, record.is_heard = at_s, is_heard

    def refused(self, message_id: str, code: str) -> None:
        """Luma did not take it at its door, and said so."""
        self.records[message_id].refused = code

    def deleted(self, message_id: str, at_s: float) -> None:
        """Luma was told that a moderator deleted it."""
        record = self.records[message_id]
        record.deleted_s = record.deleted_s or at_s

    def banned(self, login: str, at_s: float) -> None:
        """Luma was told that somebody was banned: all they wrote until then is deleted."""
        for record in self.records.values():
            if record.line.person.login == login and record.sent_s is not None:
                if record.sent_s <= at_s:
                    record.deleted_s = record.deleted_s or at_s

    # --- what Luma told ---

    def told(self, event: dict[str, Any], at_s: float) -> None:
        """An event of the stream."""
        self.events += 1
        kind, data, turn_id = event["type"], event["data"], event.get("turn_id") or ""
        match kind:
            case "audience.wrote":
                record = self.records.get(data["said"]["id"])
                if record is None:
                    self.unknown += 1
                else:
                    record.seen += 1
                    record.seen_s = record.seen_s or at_s
            case "chat.disposition":
                self._became(data, turn_id, at_s)
            case "chat.sentence":
                self.said.append(data["text"])
            case "playback.started":
                sound = self.sounds.setdefault(turn_id, Sound())
                sound.started_s.append(at_s)
                sound.texts.append(data["text"])
                self.playing.add(turn_id)
            case "playback.finished":
                self.sounds.setdefault(turn_id, Sound()).ended_s = at_s
                self.playing.discard(turn_id)
                self.last_silence_s = at_s
            case "channel.changed":
                self.channel = data["channel"]["state"]
            case "error.occurred":
                errors = self.dropped if data["code"] == DROPPED else self.errors
                errors[f"{data['code']}: {data['reason']}"[:200]] += 1
            case "moderation.acted":
                self.moderated[f"{data['direction']} {data['verdict']['action']}"] += 1
            case "panic.changed" if data["panic"]["by"] not in OURS:
                self.changes[kind] += 1
            case _ if kind in CHANGES:
                self.changes[kind] += 1

    def _became(self, data: dict[str, Any], turn_id: str, at_s: float) -> None:
        record = self.records.get(data["message_id"])
        if record is None:
            return
        name = data["disposition"]
        record.steps.append(Step(name, at_s, turn_id, data["into"], data["reason"]))
        message_id = data["message_id"]
        if name == "held":
            self.held[message_id] = None
        else:
            self.held.pop(message_id, None)
        if name == "answering":
            self.just_answering.append(message_id)
        elif name == "queued" and record.line.person.canary:
            self.just_tempting.append(message_id)

    # --- looking ---

    def owed(self) -> list[Record]:
        """Everything that Luma got and took."""
        return [record for record in self.records.values() if record.is_owed]

    def public(self) -> list[str]:
        """Every text that was shown or spoken."""
        return [*self.said, *(text for sound in self.sounds.values() for text in sound.texts)]

    def unsettled(self) -> list[Record]:
        """What Luma got and has not come to an end with."""
        return [record for record in self.owed() if not record.is_settled]

    def waited_s(self, record: Record) -> float | None:
        """From being sent to the beginning of its answer, panics not counted; None when it was not answered."""
        begun_s = record.answered_s()
        if begun_s is None or record.sent_s is None:
            return None
        held_s = sum(
            max(0.0, min(begun_s, to_s) - max(record.sent_s, from_s))
            for from_s, to_s in self.paused
        )
        return begun_s - record.sent_s - held_s
