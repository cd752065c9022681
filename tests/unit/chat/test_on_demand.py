"""Text on demand: what is asked, what comes, what is kept within bounds."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from datetime import UTC, datetime
from typing import Any

import pytest

from backend.chat.on_demand import (
    MOST_AT_ONCE,
    Context,
    Line,
    OnDemand,
    Options,
    Result,
    Wanted,
    sentences_of,
)
from backend.chat.prompt import ABOUT_VIEWERS, VIEWERS
from backend.chat.styling import STYLES, Style
from backend.contracts.entities import STAGE, Character, Conversation, Turn, Usage
from backend.contracts.errors import (
    BusyError,
    EngineFailedError,
    InvalidInputError,
    NotFoundError,
    ProviderError,
)
from backend.engines.llm.base import LLM, Delta, Prompt
from backend.engines.llm.options import PersonaOptions
from backend.engines.llm.persona import Persona
from tests.fakes import WritesText, character

MIKA = character(profile="A lighthouse keeper.", expressions=("joy", "sad"))
NOTHING, AS_IT_IS = Context(), Options()
AT = datetime(2026, 1, 1, tzinfo=UTC)


class Said:
    """Conversations in which two turns were said."""

    async def conversation(self, conversation_id: str) -> Conversation:
        if conversation_id not in (STAGE, "other"):
            raise NotFoundError(f"There is no conversation {conversation_id!r}.")
        return Conversation(id=conversation_id, character_id="mika", created_at=AT, updated_at=AT)

    async def turns(
        self, conversation_id: str, limit: int = 50, before: str | None = None
    ) -> list[Turn]:
        found = [
            Turn(
                id=str(n),
                conversation_id=conversation_id,
                character_id="mika",
                number=n,
                author="Ann",
                source="api",
                message=f"question {n}",
                reply=f"answer {n}",
                outcome="done",
                total_ms=1,
                started_at=AT,
            )
            for n in (2, 1)
        ]
        return found[:limit]


async def known(character_id: str) -> Character:
    if character_id != "mika":
        raise NotFoundError(f"There is no character {character_id!r}.")
    return MIKA


class Clock:
    now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def demand(writer: LLM, clock: Clock | None = None) -> OnDemand:
    return OnDemand(lambda conversation_id: writer, Said(), known, now_s=clock or Clock())


async def write(
    writer: LLM,
    prompt: str = "gulls",
    *,
    options: Options = AS_IT_IS,
    context: Context = NOTHING,
    kind: str = "free",
) -> Result:
    wanted = Wanted(prompt, kind, context, options)  # type: ignore[arg-type]  # the words of Kind
    return await demand(writer).generate(wanted)


class Counts(WritesText):
    """Writes one line and counts its tokens."""

    async def stream(self, prompt: Prompt) -> AsyncGenerator[Delta, None]:
        self.prompts.append(prompt)
        yield Delta("Nine words.", by="openrouter, model small/one")
        yield Delta(usage=Usage(40, 2), finish="stop")


# --- what is asked ---


async def test_the_character_writes_with_what_was_said_and_what_is_known_of_the_stream() -> None:
    llm = WritesText(["Fine."])
    context = Context(turns=1, stream={"title": "Late\nnight", "viewers": "12"})
    await write(llm, context=context, options=Options(style="formal", max_length=80))
    asked = llm.prompts[0]
    system = asked.messages[0].text
    assert "A lighthouse keeper." in system
    assert "title: Late night; viewers: 12" in system
    assert "Write formally" in system
    assert "At most 80 characters" in system
    assert [m.text for m in asked.messages[1:]] == ["Ann: question 2", "answer 2", "gulls"]
    assert not asked.is_remembered
    assert asked.conversation_id == ""


async def test_without_a_character_nobody_is_played() -> None:
    llm = WritesText(["Fine."])
    await write(llm, context=Context(character=""))
    assert llm.prompts[0].character is None
    assert "lighthouse" not in llm.prompts[0].messages[0].text


async def test_lines_that_are_given_stand_in_place_of_the_history() -> None:
    llm = WritesText(["Fine."])
    lines = (Line("system", "Rhyme."), Line("user", "hi"), Line("assistant", "hello"))
    await write(llm, context=Context(turns=5, lines=lines))
    assert "Rhyme." in llm.prompts[0].messages[0].text
    assert [m.text for m in llm.prompts[0].messages[1:]] == ["hi", "hello", "gulls"]


async def test_where_viewers_spoke_lately_it_is_said_that_they_give_no_orders() -> None:
    class Seen(Said):
        async def turns(self, *given: Any, **more: Any) -> list[Turn]:
            found = await super().turns(*given, **more)
            return [turn.model_copy(update={"source": f"{VIEWERS}twitch"}) for turn in found]

    llm = WritesText(["Fine."])
    wanted = Wanted("gulls", "free", Context(turns=2), AS_IT_IS)
    await OnDemand(lambda _: llm, Seen(), known, now_s=Clock()).generate(wanted)
    assert llm.prompts[0].messages[0].text.endswith(ABOUT_VIEWERS)
    await write(llm, context=Context(turns=2))
    assert ABOUT_VIEWERS not in llm.prompts[1].messages[0].text


async def test_a_long_history_is_cut_to_the_budget_from_its_oldest_end() -> None:
    llm = WritesText(["Fine."])
    lines = tuple(Line("user", f"{n} " + "word " * 400) for n in range(20))
    await write(llm, context=Context(lines=lines))
    texts = [m.text for m in llm.prompts[0].messages[1:-1]]
    assert 1 <= len(texts) < 20
    assert texts[-1].startswith("19 ")


# --- what comes ---


async def test_the_text_is_free_of_tags_thoughts_and_wrapping() -> None:
    llm = WritesText(['<think>hm</think>Mika: "[joy] Gulls *waves* are ', 'birds. They fly."'])
    result = await write(llm)
    assert result.text == "Gulls are birds. They fly."
    assert result.emotion == "joy"


async def test_words_in_quotation_marks_inside_a_text_stay() -> None:
    result = await write(WritesText(['"Gulls" are birds, ', 'I say "always".']))
    assert result.text == '"Gulls" are birds, I say "always".'


async def test_pieces_come_sentence_by_sentence_and_are_the_text() -> None:
    llm = WritesText(["One. Tw", "o is here!\n\nThree", " at last"])
    async with demand(llm).write(Wanted("gulls")) as writing:
        async with aclosing(writing.pieces()) as pieces:
            found = [piece async for piece in pieces]
        assert found == ["One. ", "Two is here!\n\n", "Three at last"]
        assert writing.result().text == "".join(found)


@pytest.mark.parametrize(
    ("max_length", "text"),
    [
        (100, "Gulls are birds. They fly over the harbour."),
        (42, "Gulls are birds."),
        (16, "Gulls are birds."),
        (15, "Gulls are…"),
        (1, "…"),
    ],
)
async def test_a_limit_is_kept_at_the_end_of_a_sentence_else_of_a_word(
    max_length: int, text: str
) -> None:
    llm = WritesText(["Gulls are birds. They fly ", "over the harbour."])
    result = await write(llm, options=Options(max_length=max_length))
    assert result.text == text
    assert result.finish == ("stop" if max_length == 100 else "length")


async def test_a_text_without_spaces_is_cut_where_it_must_be() -> None:
    result = await write(WritesText(["港の灯りがついています" * 9]), options=Options(max_length=20))
    assert len(result.text) == 20


def test_sentences_joined_are_the_text() -> None:
    text = "One. “Two!” Three?\n- four\n\n五です。六です。"
    assert "".join(sentences_of(text)) == text
    assert len(sentences_of(text)) == 6


async def test_counted_tokens_are_told_as_counted_and_others_as_estimated() -> None:
    counted = await write(Counts([]))
    assert (counted.tokens_used, counted.is_estimated) == (42, False)
    assert counted.model == "small/one"
    assert counted.by == "openrouter, model small/one"
    guessed = await write(WritesText(["Fine."]))
    assert guessed.is_estimated
    assert guessed.tokens_used > guessed.completion_tokens > 0


async def test_say_is_word_for_word_and_asks_nobody() -> None:
    llm = WritesText([ProviderError("no", kind="key", provider="x")])
    result = await write(llm, "[joy] Exactly this.  And that!", kind="say")
    assert (result.text, result.emotion) == ("Exactly this.  And that!", "joy")
    assert not llm.prompts


async def test_nothing_written_is_an_error_and_no_empty_text() -> None:
    with pytest.raises(EngineFailedError, match="wrote nothing"):
        await write(WritesText(["[joy] <think>…</think> "]))


# --- the persona, without any network ---


async def test_the_persona_writes_in_four_styles() -> None:
    results = {}
    for style in STYLES:
        persona = Persona(PersonaOptions(seed=3))
        results[style] = await write(ByName(persona), "hello there", options=Options(style=style))
    assert results["formal"].model == "persona"
    for style in ("formal", "calm"):
        assert "!" not in results[style].text
    assert "!" in results["excited"].text


@pytest.mark.parametrize("style", [None, *STYLES])
async def test_the_persona_greets_and_rewrites_by_rules(style: Style | None) -> None:
    llm = ByName(Persona(PersonaOptions(seed=3)))
    stream = {"title": "Late night", "game": "Go"}
    greeting = await write(
        llm, "Ann", kind="greet", context=Context(stream=stream), options=Options(style=style)
    )
    for word in ("Ann", "Mika", "Late night", "Go"):
        assert word in greeting.text
    rewritten = await write(
        llm, "hey, I am gonna start now!", kind="rewrite", options=Options(style=style)
    )
    assert "start now" in rewritten.text
    if style in ("formal", "calm"):
        assert "!" not in rewritten.text + greeting.text
    elif style == "excited":
        assert "!" in rewritten.text


async def test_the_persona_remembers_nothing_of_a_text() -> None:
    persona = Persona(PersonaOptions(seed=3))
    await write(ByName(persona), "My name is Annabel and I love trains.")
    assert not persona._talks
    assert not persona._answered


class ByName:
    """The persona as its mode hands it on: it says who wrote."""

    name = "persona"
    model = ""

    def __init__(self, persona: Persona) -> None:
        self._persona = persona

    async def stream(self, prompt: Prompt) -> AsyncGenerator[Delta, None]:
        async with aclosing(self._persona.stream(prompt)) as deltas:
            async for delta in deltas:
                yield Delta(delta.text, delta.usage, delta.finish, by="persona")

    async def check(self) -> str:
        return "here"

    async def close(self) -> None:
        return None


# --- bounds ---


@pytest.mark.parametrize(
    ("wanted", "words"),
    [
        (Wanted(" "), "prompt is empty"),
        (Wanted("x" * 8001), "8,001 characters"),
        (Wanted("x", options=Options(max_length=0)), "max_length is 0"),
        (Wanted("x", options=Options(max_length=9000)), "max_length is 9000"),
    ],
)
async def test_what_cannot_be_asked_is_refused_with_words(wanted: Wanted, words: str) -> None:
    with pytest.raises(InvalidInputError, match=words):
        await demand(WritesText(["x"])).generate(wanted)


@pytest.mark.parametrize("context", [Context(conversation_id="nope"), Context(character="nobody")])
async def test_what_is_not_there_is_not_found(context: Context) -> None:
    with pytest.raises(NotFoundError):
        await write(WritesText(["x"]), context=context)


async def test_more_texts_than_are_set_for_a_minute_are_refused_until_time_has_passed() -> None:
    clock = Clock()
    writer = demand(WritesText(["Fine."]), clock)
    for _ in range(30):
        await writer.generate(Wanted("gulls"))
    with pytest.raises(BusyError, match=r"30 texts .*TEXT_REQUESTS_PER_MINUTE.*again in 2 s"):
        await writer.generate(Wanted("gulls"))
    clock.now_s += 2.1
    assert (await writer.generate(Wanted("gulls"))).text == "Fine."


async def test_only_so_many_are_written_at_once_and_leaving_makes_room_and_stops_the_writer() -> (
    None
):
    closed: list[int] = []

    class Endless(WritesText):
        async def stream(self, prompt: Prompt) -> AsyncGenerator[Delta, None]:
            try:
                yield Delta("One. Two. ")
                await asyncio.Event().wait()
            finally:
                closed.append(1)

    writer = demand(Endless([]))
    begun: asyncio.Queue[str] = asyncio.Queue()

    async def one() -> None:
        async with writer.write(Wanted("gulls")) as writing, aclosing(writing.pieces()) as pieces:
            async for piece in pieces:
                begun.put_nowait(piece)

    tasks = [asyncio.create_task(one()) for _ in range(MOST_AT_ONCE)]
    for _ in tasks:
        await begun.get()
    with pytest.raises(BusyError, match="being written already"):
        await writer.generate(Wanted("gulls"))
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert len(closed) == MOST_AT_ONCE
    async with writer.write(Wanted("gulls")):
        pass


async def test_a_provider_that_drips_for_ever_is_left() -> None:
    clock = Clock()

    class Drips(WritesText):
        async def stream(self, prompt: Prompt) -> AsyncGenerator[Delta, None]:
            while True:
                clock.now_s += 50
                yield Delta("more ")

    with pytest.raises(ProviderError, match="max_length"):
        await demand(Drips([]), clock).generate(Wanted("gulls", options=Options(max_length=8000)))
