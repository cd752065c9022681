"""Modes that do as a test says, and a clock it moves."""

from __future__ import annotations

import asyncio
import heapq
import itertools
from collections.abc import AsyncGenerator, Mapping
from typing import Literal

from backend.contracts.avatar import AvatarShown, Transition
from backend.contracts.entities import Audio, Character, Cue
from backend.contracts.errors import AppError, NotFoundError, ProviderError
from backend.contracts.modes import ModeName
from backend.core.bus import EventBus
from backend.engines.llm.base import Delta, Message, Prompt
from backend.modes.base import InHouse, Part, SpokenPart
from backend.modes.switch import Choice, Modes

Mood = Literal["good", "down", "late", "empty", "buggy", "liar", "refuses", "choosy"]
"""Answers · unreachable · fails after its first words · says nothing · raises what it must not · lists itself as good and
fails every turn · finds each message wrong · answers, and finds each probe wrong."""


class Still:
    """An avatar that remembers what it was asked for; it has the faces that are named, or any."""

    def __init__(self, *faces: str) -> None:
        self.faces = faces
        self.asked: list[object] = []

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
        if self.faces and wanted not in self.faces:
            raise NotFoundError(f"There is no face like that; there is {', '.join(self.faces)}.")
        self.asked.append((wanted, owner, duration_ms, priority, transition))
        return self.shown(character)

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
        self.asked.append((name or group, index, owner, loop, priority))
        return self.shown(character)

    def shown(self, character: Character) -> AvatarShown:
        return AvatarShown(character_id=character.id)


class Moody(InHouse):
    """A mode that answers with its own name, in the mood it is in."""

    def __init__(self, name: ModeName, mood: Mood = "good") -> None:
        super().__init__(Still())
        self.name = name
        self.mood: Mood = mood
        self.lacks = ""
        self.asked: list[str] = []
        self.probes = 0
        self.heard: list[tuple[str, str]] = []
        self.closed = 0
        self.running = 0
        self.speaks: Audio | None = None
        self.gate: asyncio.Event | None = None

    @property
    def problem(self) -> str:
        return self.lacks

    async def respond(self, prompt: Prompt) -> AsyncGenerator[Part, None]:
        text = prompt.messages[-1].text
        self.asked.append(text)
        self.running += 1
        try:
            match self.mood:
                case "down" | "liar":
                    raise self.error("unreachable")
                case "refuses":
                    raise self.error("request")
                case "empty":
                    yield Cue("expression", "joy")
                    return
                case "buggy":
                    raise ZeroDivisionError
            yield Cue("expression", "joy")
            if self.speaks is not None:
                yield SpokenPart(f"{self.name} heard {text}.", self.speaks, by="the server")
            else:
                yield Delta(f"{self.name} heard ")
                if self.gate is not None:
                    await self.gate.wait()
                if self.mood == "late":
                    raise self.error("stalled")
                yield Delta(f"{text}.")
        finally:
            self.running -= 1

    async def interrupted(self, prompt: Prompt, heard: str) -> None:
        self.heard.append((prompt.messages[-1].text, heard))

    async def played(self, prompt: Prompt) -> None:
        self.heard.append((prompt.messages[-1].text, "all"))

    async def probe(self) -> str:
        self.probes += 1
        if self.mood in ("down", "empty", "buggy"):
            raise self.error("unreachable")
        if self.mood == "choosy":
            raise self.error("request")
        return "it answers"

    async def close(self) -> None:
        assert not self.running, "a mode is closed while a reply of it runs"
        self.closed += 1

    def error(self, kind: Literal["unreachable", "request", "stalled"]) -> AppError:
        return ProviderError(f"{self.name}: {kind}.", kind=kind, provider=self.name)


class Hours:
    """A clock that stands until it is moved; whoever sleeps wakes at the time he asked for."""

    def __init__(self) -> None:
        self.now_s = 1000.0
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []
        self._count = itertools.count()

    def __call__(self) -> float:
        return self.now_s

    async def sleep(self, seconds: float) -> None:
        woken = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self.now_s + seconds, next(self._count), woken))
        await woken

    async def pass_by(self, seconds: float) -> None:
        """Move the clock, and let everybody do what is due on the way."""
        end_s = self.now_s + seconds
        await settle()
        while self._sleepers and self._sleepers[0][0] <= end_s:
            at_s, _, woken = heapq.heappop(self._sleepers)
            self.now_s = max(self.now_s, at_s)
            if not woken.done():
                woken.set_result(None)
            await settle()
        self.now_s = end_s


class Kept:
    """Choices of conversations in memory."""

    def __init__(self) -> None:
        self.own: dict[str, str] = {}
        self.everywhere: list[Choice] = []
        self.interrupted: list[str | None] = []
        self.problem: AppError | None = None

    async def load(self) -> Mapping[str, str]:
        return dict(self.own)

    async def keep(self, choices: Mapping[str, str]) -> None:
        self.own = dict(choices)

    async def keep_everywhere(self, choice: Choice) -> None:
        if self.problem is not None:
            raise self.problem
        self.everywhere.append(choice)

    async def interrupt(self, conversation_id: str | None) -> None:
        self.interrupted.append(conversation_id)


class House:
    """Modes over moody ones."""

    def __init__(self) -> None:
        self.bus = EventBus()
        self.bus.bind(asyncio.get_running_loop())
        self.hours = Hours()
        self.kept = Kept()
        self.orphiq = Moody("orphiq")
        self.provider = Moody("external-api")
        self.persona = Moody("autonomous")
        self.told: list[tuple[str, str, str]] = []
        self.modes = Modes(
            self.bus,
            (self.orphiq, self.provider, self.persona),
            own=self.kept,
            keep=self.kept.keep_everywhere,
            interrupt=self.kept.interrupt,
            on_retry=lambda engine, other, kind, reason, wait_s: self.told.append(
                (engine, other, kind)
            ),
            now_s=self.hours,
            sleep=self.hours.sleep,
        )

    @property
    def all(self) -> tuple[Moody, ...]:
        return (self.orphiq, self.provider, self.persona)

    async def ask(self, text: str = "hi", where: str = "stage") -> str:
        """One turn's text."""
        parts = await self.parts(text, where)
        return "".join(part.text for part in parts if not isinstance(part, Cue))

    async def parts(self, text: str = "hi", where: str = "stage") -> list[Part]:
        return [part async for part in self.modes.mind(where).respond(said(text, where))]


def said(text: str, where: str = "stage") -> Prompt:
    """A prompt."""
    lines = (Message("system", "You are Mira."), Message("user", text))
    return Prompt(lines, character=Character(id="mira", name="Mira"), conversation_id=where)


async def settle() -> None:
    """Let everybody in the loop do what he can do now."""
    for _ in range(12):
        await asyncio.sleep(0)
