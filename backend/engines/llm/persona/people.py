"""What each person has told: kept apart by person, used later, bounded."""

from __future__ import annotations

from dataclasses import dataclass, field

from backend.engines.llm.persona.reading import Told

MAX_KEPT = 24


@dataclass(slots=True)
class Fact:
    """One thing told.

    Attributes:
        told: What.
        turn: When it was told last.
        used: When it was brought up last, 0 = not yet.
    """

    told: Told
    turn: int
    used: int = 0


@dataclass(slots=True)
class Person:
    """One person in a conversation.

    Attributes:
        name: What to call them, empty while unknown.
        facts: What they told, oldest first.
    """

    name: str = ""
    facts: list[Fact] = field(default_factory=list)

    def learn(self, told: Told, turn: int) -> Told | None:
        """Keep something; returns it as it was understood, None when it was known already or means nothing."""
        if told.kind == "name":
            changed = told.value != self.name
            self.name = told.value
            return told if changed else None
        if told.kind == "pet_name":
            # "Her name is Biscuit" names the pet that was mentioned without a name.
            nameless = self._newest("pet_unnamed")
            if nameless is None:
                return None
            self.facts.remove(nameless)
            told = Told("pet", told.value, nameless.told.value)
        if told.kind == "pet_unnamed" and any(
            fact.told.kind == "pet" and fact.told.about == told.value for fact in self.facts
        ):
            return None
        for fact in self.facts:
            if fact.told == told:
                fact.turn = turn
                return None
        single = told.kind in ("home", "job", "age", "birthday")
        named = told.kind in ("favourite", "attribute", "person")
        self.facts = [
            fact
            for fact in self.facts
            if not (
                (
                    fact.told.kind == told.kind
                    and (single or (named and fact.told.about == told.about))
                )
                or (told.kind == "pet" and fact.told == Told("pet_unnamed", told.about))
                # who starts to like something no longer dislikes it
                or (
                    {fact.told.kind, told.kind} == {"like", "dislike"}
                    and fact.told.value.lower() == told.value.lower()
                )
            )
        ]
        self.facts.append(Fact(told, turn))
        if len(self.facts) > MAX_KEPT:
            del self.facts[0]
        return told

    def _newest(self, kind: str) -> Fact | None:
        return next((fact for fact in reversed(self.facts) if fact.told.kind == kind), None)

    def known(self, kind: str, about: str = "") -> list[Told]:
        """Everything of a kind, newest first."""
        return [
            fact.told
            for fact in reversed(self.facts)
            if fact.told.kind == kind and (not about or fact.told.about == about)
        ]

    def to_bring_up(self, turn: int, *, rested: int = 3, again: int = 14) -> Fact | None:
        """A fact told at least ``rested`` turns ago and not brought up for ``again`` turns."""
        fitting = [
            fact
            for fact in self.facts
            if fact.told.kind in ("pet", "like", "home", "job", "plan")
            and turn - fact.turn >= rested
            and (not fact.used or turn - fact.used >= again)
        ]
        # Plans go stale first, then what was never brought up.
        return min(
            fitting, key=lambda fact: (fact.used, fact.told.kind != "plan", fact.turn), default=None
        )

    def summary(self) -> str:
        """Everything in one clause of speech; empty when nothing is known."""
        parts: list[str] = []
        if self.name:
            parts.append(f"your name is {self.name}")
        for told in self.known("pet")[:2]:
            parts.append(f"your {told.about} is called {told.value}")
        if likes := self.known("like")[:3]:
            parts.append("you like " + _joined([told.value for told in likes]))
        if dislikes := self.known("dislike")[:2]:
            parts.append("you can't stand " + _joined([told.value for told in dislikes]))
        for told in self.known("home"):
            parts.append(f"you're from {told.value}")
        for told in self.known("job"):
            parts.append(f"you {job_verb(told.value)}")
        for told in self.known("age"):
            parts.append(f"you're {told.value}")
        for told in self.known("favourite")[:1]:
            parts.append(f"your favourite {told.about} is {told.value}")
        for told in self.known("plan")[:1]:
            parts.append(f"you wanted to {plan_verb(told.value)}")
        for told in (*self.known("person")[:1], *self.known("attribute")[:1]):
            parts.append(f"your {told.about} is {told.value}")
        return _joined(parts[:5])


def job_verb(value: str) -> str:
    """The job as what somebody does: "a nurse" becomes "are a nurse"."""
    return value if value.split(" ", 1)[0] in ("work", "study", "teach") else f"are {value}"


def plan_verb(value: str) -> str:
    """The plan as what somebody wants to do: "an exam tomorrow" becomes "get through an exam tomorrow"."""
    return f"get through {value}" if value.split(" ", 1)[0] in ("a", "an", "your") else value


def plan_event(value: str) -> str:
    """The plan as a thing one can ask about: "an exam tomorrow" becomes "the exam"."""
    first, _, rest = value.partition(" ")
    if first in ("a", "an", "your"):
        named = rest
        for day in (" tomorrow", " tonight", " today", " next week", " this weekend"):
            named = named.removesuffix(day)
        return f"the {named}"
    return f"the plan to {value}"


def _joined(parts: list[str]) -> str:
    return (
        parts[0]
        if len(parts) == 1
        else ", ".join(parts[:-1]) + " and " + parts[-1]
        if parts
        else ""
    )
