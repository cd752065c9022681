"""The mode without a network: the persona, or a model on this machine when one answers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

import pytest

from backend.contracts.errors import EngineUnavailableError, ProviderError
from backend.engines.llm import LLMS
from backend.engines.llm.base import Delta, Prompt
from backend.engines.llm.options import PersonaOptions
from backend.modes.autonomous import FAILED_S, LOOK_AGAIN_S, Autonomous
from backend.modes.options import AutonomousOptions
from tests.fake_modes import Hours, Still, said, settle
from tests.fakes import WritesText


class Local(WritesText):
    """A model on this machine that may not be running."""

    def __init__(self, pieces: list[str | float | Exception], name: str = "ollama") -> None:
        super().__init__(pieces, name)
        self.is_there = True
        self.checks = 0

    async def check(self) -> str:
        self.checks += 1
        if not self.is_there:
            raise ProviderError("Nobody listens.", kind="unreachable", provider=self.name)
        return "3 models"


class Room:
    def __init__(self, *local: Local, **options: object) -> None:
        self.persona = WritesText(["I am the persona."], "persona")
        self.persona.model = ""
        self.hours = Hours()
        self.told: list[tuple[str, str, str]] = []
        self.mode = Autonomous(
            AutonomousOptions(
                persona=self.persona,
                local=local,
                body=Still(),
                on_retry=lambda engine, other, kind, reason, wait_s: self.told.append(
                    (engine, other, kind)
                ),
                **options,  # type: ignore[arg-type]  # as the test wants them
            ),
            now_s=self.hours,
        )

    async def ask(self, text: str = "hi") -> tuple[str, str]:
        """What is said, and by whom."""
        deltas = [part async for part in self.mode.respond(said(text)) if isinstance(part, Delta)]
        by = next((delta.by for delta in deltas if delta.by), "")
        return "".join(delta.text for delta in deltas), by


async def test_the_persona_answers_when_no_model_does() -> None:
    local = Local(["I am a llama."])
    local.is_there = False
    room = Room(local)
    assert await room.mode.probe() == "persona: ready"
    assert await room.ask() == ("I am the persona.", "persona")
    assert room.mode.who == "persona"


async def test_a_local_model_answers_when_one_does() -> None:
    first, second = Local(["One."], "ollama"), Local(["Two."], "lmstudio")
    first.is_there = False
    room = Room(first, second)
    assert await room.mode.probe() == "lmstudio: 3 models"
    assert await room.ask() == ("Two.", "lmstudio, model fake-1")
    assert (await room.mode.health()).detail.startswith("lmstudio, model fake-1")


async def test_no_turn_waits_for_the_looking() -> None:
    local = Local(["I am a llama."])
    room = Room(local)
    assert (await room.ask())[0] == "I am the persona."
    await settle()
    assert (await room.ask())[0] == "I am a llama."
    assert local.checks == 1
    local.is_there = False
    await room.hours.pass_by(LOOK_AGAIN_S)
    await room.ask()
    await settle()
    assert (await room.ask())[0] == "I am the persona."
    await room.mode.close()


async def test_a_model_that_fails_before_its_first_word_is_replaced_within_the_reply() -> None:
    local = Local([EngineUnavailableError("No model is loaded.")])
    room = Room(local)
    await room.mode.probe()
    assert await room.ask() == ("I am the persona.", "persona")
    assert room.told == [("ollama", "persona", "unavailable")]
    await room.mode.probe()
    assert (await room.ask())[0] == "I am the persona."
    assert len(room.told) == 1, "what lists itself and fails is left out for a while"
    local.pieces = ["Hello."]
    await room.hours.pass_by(FAILED_S)
    await room.mode.probe()
    assert (await room.ask())[0] == "Hello."


async def test_after_its_first_word_its_failure_ends_the_reply() -> None:
    room = Room(Local(["Hel", ProviderError("Gone.", kind="stalled", provider="ollama")]))
    await room.mode.probe()
    with pytest.raises(ProviderError, match="Gone"):
        await room.ask()
    assert (await room.ask())[0] == "I am the persona."


async def test_replies_of_a_model_are_kept_and_those_of_the_persona_are_not() -> None:
    local = Local(["Hello."])
    room = Room(local)
    await room.mode.probe()
    for _ in range(7):
        assert (await room.ask())[0] == "Hello."
    assert len(local.prompts) == 6
    assert (await room.ask())[1] == "ollama, model fake-1 (a kept reply)"
    assert "2 of 8 replies were kept ones" in (await room.mode.health()).detail

    alone = Room()
    for _ in range(7):
        await alone.ask()
    assert len(alone.persona.prompts) == 7


async def test_half_a_reply_is_not_kept() -> None:
    class Cut(Local):
        async def stream(self, prompt: Prompt) -> AsyncGenerator[Delta, None]:
            self.prompts.append(prompt)
            yield Delta("Once upon a")
            yield Delta(finish="length")

    room = Room(Cut([]))
    await room.mode.probe()
    for _ in range(8):
        await room.ask()
    assert len(room.mode.cache) == 0


async def test_a_personality_is_told_to_a_model_and_played_by_the_persona() -> None:
    room = Room(personality="playful, sweet")
    await room.ask()
    (prompt,) = room.persona.prompts
    assert prompt.messages[0].text.endswith("Right now you are above all: playful, sweet.")
    assert prompt.character is not None
    assert prompt.character.personality.traits == {"playful": 0.9, "sweet": 0.9}

    plain = Room()
    await plain.ask()
    assert plain.persona.prompts[0] == said("hi")


@pytest.mark.parametrize("personality", ["robot", "sweet"])
async def test_a_personality_is_heard_in_what_the_persona_says(
    personality: str,
) -> None:
    def talk(name: str) -> Autonomous:
        persona = LLMS.create("persona", PersonaOptions(seed=3))
        return Autonomous(
            AutonomousOptions(persona=persona, local=(), body=Still(), personality=name)
        )

    async def replies(mode: Autonomous) -> str:
        texts = []
        for text in ("hello", "I like plums", "I am sad", "tell me a story", "what is new?"):
            deltas = [d async for d in mode.respond(said(text)) if isinstance(d, Delta)]
            texts.append("".join(d.text for d in deltas))
        return "\n".join(texts)

    assert await replies(talk(personality)) != await replies(talk(""))


async def test_closing_ends_the_looking() -> None:
    class Hangs(Local):
        async def check(self) -> str:
            await asyncio.Event().wait()
            return ""

    room = Room(Hangs([]))
    await room.ask()
    await room.mode.close()
    assert not [t for t in asyncio.all_tasks() if t.get_name() == "looking for a local model"]
