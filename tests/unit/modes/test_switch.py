"""Who answers: choices, fallbacks within a turn, returns, and what is told of them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing

import pytest

from backend.contracts.entities import Audio, Cue
from backend.contracts.errors import ConflictError, InvalidInputError, ProviderError
from backend.contracts.events import ErrorOccurred, ModeChanged
from backend.engines.llm.base import Delta
from backend.modes import mind as mind_module
from backend.modes import switch
from tests.fake_modes import House, Moody, said, settle
from tests.fakes import Watch


@pytest.fixture
async def house() -> AsyncIterator[House]:
    house = House()
    await house.modes.start("auto")
    yield house
    await house.modes.close()


def changes(seen: Watch) -> list[ModeChanged]:
    return [event for event in seen.events if isinstance(event, ModeChanged)]


# --- choosing ---


async def test_by_itself_the_provider_answers_when_one_is_set_up(house: House) -> None:
    assert await house.ask() == "external-api heard hi."
    house.provider.lacks = "No provider is set up."
    assert await house.ask() == "autonomous heard hi."
    state = await house.modes.state()
    assert (state.mode, state.chosen) == ("autonomous", "autonomous")


async def test_a_choice_holds_from_the_next_turn_on_and_is_kept_and_told(house: House) -> None:
    async with Watch(house.bus) as seen:
        state = await house.modes.set("orphiq", reason="chosen by window")
    assert await house.ask() == "orphiq heard hi."
    assert (state.mode, state.chosen, state.reason) == ("orphiq", "orphiq", "chosen by window")
    assert house.kept.everywhere == ["orphiq"]
    (change,) = changes(seen)
    assert (change.change.before, change.change.after) == ("external-api", "orphiq")
    assert not change.change.is_automatic
    assert change.severity == "INFO"
    assert change.state.mode == "orphiq"


async def test_a_conversation_may_have_a_mode_of_its_own(house: House) -> None:
    await house.modes.set("autonomous", conversation_id="c1", reason="chosen by client")
    assert await house.ask(where="c1") == "autonomous heard hi."
    assert await house.ask(where="stage") == "external-api heard hi."
    await house.modes.set("orphiq")
    assert await house.ask(where="c1") == "autonomous heard hi."
    state = await house.modes.state("c1")
    assert (state.is_own, state.mode, state.conversation_id) == (True, "autonomous", "c1")
    assert not (await house.modes.state()).is_own
    state = await house.modes.clear("c1")
    assert (state.is_own, state.mode) == (False, "orphiq")
    assert house.kept.own == {}


async def test_own_modes_are_known_after_a_restart(house: House) -> None:
    await house.modes.set("autonomous", conversation_id="c1")
    again = House()
    again.kept.own = {**house.kept.own, "c2": "something of another version"}
    await again.modes.start("orphiq")
    assert await again.ask(where="c1") == "autonomous heard hi."
    assert await again.ask(where="c2") == "orphiq heard hi."
    await again.modes.close()


async def test_a_mode_that_is_not_set_up_cannot_be_chosen(house: House) -> None:
    house.orphiq.lacks = "Set ORPHIQ_WEBSOCKET_URL."
    with pytest.raises(ConflictError, match="ORPHIQ_WEBSOCKET_URL"):
        await house.modes.set("orphiq")
    with pytest.raises(InvalidInputError, match="take its choice back"):
        await house.modes.set("auto", conversation_id="c1")
    assert house.kept.everywhere == []


async def test_one_that_the_settings_name_and_that_is_not_set_up_is_stood_in_for(
    house: House,
) -> None:
    house.orphiq.lacks = "Set ORPHIQ_WEBSOCKET_URL."
    house.modes.settings_changed("orphiq", {})
    assert await house.ask() == "external-api heard hi."
    state = await house.modes.state()
    assert (state.mode, state.chosen) == ("external-api", "orphiq")
    assert state.reason == "Set ORPHIQ_WEBSOCKET_URL."
    assert house.orphiq.asked == []


async def test_a_choice_that_cannot_be_kept_counts_until_the_next_start_and_says_so(
    house: House,
) -> None:
    house.kept.problem = ConflictError("BACKEND_MODE cannot be changed here: set in .env.")
    async with Watch(house.bus) as seen:
        state = await house.modes.set("orphiq", reason="chosen by window")
    assert state.mode == "orphiq"
    assert state.reason == "chosen by window (until the next start)"
    (told,) = [event for event in seen.events if isinstance(event, ErrorOccurred)]
    assert "set in .env" in told.reason
    assert told.severity == "WARNING"


async def test_choosing_what_stands_in_already_is_told_too(house: House) -> None:
    await house.modes.set("orphiq")
    house.orphiq.mood = "down"
    await house.ask()
    async with Watch(house.bus) as seen:
        await house.modes.set("external-api", reason="chosen by window")
    (change,) = changes(seen)
    assert change.state.chosen == change.state.mode == "external-api"


async def test_a_running_turn_is_cancelled_only_when_that_is_asked(house: House) -> None:
    await house.modes.set("orphiq")
    await house.modes.set("autonomous", conversation_id="c1", running="cancel")
    await house.modes.set("external-api", running="cancel")
    assert house.kept.interrupted == ["c1", None]


async def test_the_choices_of_conversations_are_bounded(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(switch, "OWN_CHOICES", 3)
    for n in range(5):
        await house.modes.set("autonomous", conversation_id=f"c{n}")
    assert list(house.kept.own) == ["c2", "c3", "c4"]
    house.modes.forget("c3")
    await house.modes.set("autonomous", conversation_id="c5")
    assert list(house.kept.own) == ["c2", "c4", "c5"]


# --- a turn ---


async def test_what_fails_before_its_first_word_is_answered_by_the_next_in_the_same_turn(
    house: House,
) -> None:
    await house.modes.set("orphiq")
    house.orphiq.mood = house.provider.mood = "down"
    mind = house.modes.mind("stage")
    async with Watch(house.bus) as seen:
        parts = [part async for part in mind.respond(said("hi"))]
    text = "".join(part.text for part in parts if isinstance(part, Delta))
    assert text == "autonomous heard hi."
    assert house.told == [
        ("orphiq", "external-api", "unreachable"),
        ("external-api", "autonomous", "unreachable"),
    ]
    assert mind.mode == "autonomous"
    assert mind.words("persona") == "BACKEND_MODE: persona; mode autonomous"
    told = changes(seen)
    assert [(c.change.before, c.change.after) for c in told] == [
        ("orphiq", "external-api"),
        ("external-api", "autonomous"),
    ]
    assert all(c.change.is_automatic and c.severity == "WARNING" for c in told)
    assert told[0].change.reason == "orphiq: unreachable."


@pytest.mark.parametrize("mood", ["empty", "buggy", "refuses"])
async def test_silence_and_bugs_of_a_mode_cost_no_message(house: House, mood: str) -> None:
    house.provider.mood = mood  # type: ignore[assignment]  # one of its moods
    assert await house.ask() == "autonomous heard hi."
    assert house.modes.adapter().name == "external-api", "one failure may be an accident"


async def test_the_face_of_a_reply_that_never_came_is_not_shown(house: House) -> None:
    house.provider.mood = "empty"
    parts = await house.parts()
    assert [part.name for part in parts if isinstance(part, Cue)] == ["joy"]
    assert parts.index(Cue("expression", "joy")) == 0


async def test_after_the_first_words_a_failure_ends_the_reply_there(house: House) -> None:
    house.provider.mood = "late"
    reply = house.modes.mind("stage").respond(said("hi"))
    assert await anext(reply) == Cue("expression", "joy")
    first = await anext(reply)
    assert isinstance(first, Delta)
    assert first.text == "external-api heard "
    with pytest.raises(ProviderError, match="stalled"):
        await anext(reply)
    assert house.persona.asked == []


async def test_when_nobody_is_left_the_failure_is_the_last_ones(house: House) -> None:
    house.provider.mood = house.persona.mood = "down"
    with pytest.raises(ProviderError, match="autonomous: unreachable"):
        await house.ask()
    house.persona.mood = "good"
    assert await house.ask() == "autonomous heard hi.", "the last one never rests"


async def test_leaving_a_reply_early_reaches_the_mode_and_it_is_told_what_was_heard(
    house: House,
) -> None:
    house.provider.gate = asyncio.Event()
    mind = house.modes.mind("stage")
    async with aclosing(mind.respond(said("hi"))) as parts:
        async for part in parts:
            if isinstance(part, Delta):
                break
        assert house.provider.running == 1
    assert house.provider.running == 0
    await mind.interrupted(said("hi"), "external")
    assert house.provider.heard == [("hi", "external")]
    assert house.persona.heard == []


async def test_a_mode_that_takes_for_ever_to_hear_how_it_went_holds_nobody_up(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mind_module, "TELL_S", 0.0)
    mind = house.modes.mind("stage")
    async for _ in mind.respond(said("hi")):
        pass

    async def never(*_: object) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(house.provider, "played", never)
    await mind.played(said("hi"))


async def test_a_mode_that_breaks_when_it_hears_how_it_went_costs_no_turn(
    house: House, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    mind = house.modes.mind("stage")
    async for _ in mind.respond(said("hi")):
        pass

    async def broken(*_: object) -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr(house.provider, "played", broken)
    monkeypatch.setattr(house.provider, "interrupted", broken)
    await mind.played(said("hi"))
    await mind.interrupted(said("hi"), "external")
    assert [record.levelname for record in caplog.records] == ["ERROR", "ERROR"]


async def test_sentences_with_sound_count_as_an_answer(house: House) -> None:
    await house.modes.set("orphiq")
    house.orphiq.speaks = Audio(b"\0\0" * 10, 8000)
    assert await house.ask() == "orphiq heard hi."
    assert house.persona.asked == house.provider.asked == []


# --- rest and return ---


async def test_it_comes_back_when_it_is_healthy_again(house: House) -> None:
    await house.modes.set("orphiq")
    house.orphiq.mood = "down"
    await house.ask()
    await house.ask("two")
    assert house.orphiq.asked == ["hi"], "what rests is not asked"
    state = await house.modes.state()
    (health,) = [each for each in state.modes if each.mode == "orphiq"]
    assert health.is_resting
    assert not health.is_available
    assert health.next_probe_s == 3.0
    await house.hours.pass_by(30)
    assert house.orphiq.probes == 3
    house.orphiq.mood = "good"
    async with Watch(house.bus) as seen:
        await house.hours.pass_by(60)
    assert await house.ask("three") == "orphiq heard three."
    (change,) = changes(seen)
    assert (change.change.after, change.severity) == ("orphiq", "INFO")
    assert change.change.reason == "orphiq works again: it answers"


async def test_a_probe_whose_request_is_refused_shows_that_the_server_is_there(
    house: House,
) -> None:
    await house.modes.set("orphiq")
    house.orphiq.mood = "down"
    await house.ask()
    house.orphiq.mood = "choosy"
    await house.hours.pass_by(60)
    assert await house.ask("two") == "orphiq heard two."


async def test_why_one_is_not_taken_back_is_what_it_said_last(house: House) -> None:
    await house.modes.set("orphiq")
    house.orphiq.mood = "down"
    await house.ask()
    (health,) = [each for each in (await house.modes.state()).modes if each.mode == "orphiq"]
    assert health.detail.endswith(": orphiq: unreachable.")
    house.orphiq.mood = "choosy"
    await house.hours.pass_by(4)
    (health,) = [each for each in (await house.modes.state()).modes if each.mode == "orphiq"]
    assert health.detail.endswith(": orphiq: request.")
    house.orphiq.mood = "good"
    await house.hours.pass_by(60)
    (health,) = [each for each in (await house.modes.state()).modes if each.mode == "orphiq"]
    assert health.is_available
    assert "request" not in health.detail


async def test_a_server_that_probes_well_and_fails_every_turn_does_not_flap(house: House) -> None:
    await house.modes.set("orphiq")
    house.orphiq.mood = "liar"
    for _ in range(1800):
        assert (await house.ask()).startswith("external-api")
        await house.hours.pass_by(1.0)
    automatic = [c for c in (await house.modes.state()).history if c.is_automatic]
    assert len(automatic) <= 16, "in half an hour of a turn a second"


async def test_choosing_a_resting_mode_asks_it_again_at_once(house: House) -> None:
    await house.modes.set("orphiq")
    house.orphiq.mood = "down"
    await house.ask()
    house.orphiq.mood = "good"
    await house.modes.set("orphiq")
    assert await house.ask() == "orphiq heard hi."


async def test_changed_settings_wake_the_mode_they_are_of(house: House) -> None:
    house.provider.mood = "down"
    await house.ask()
    house.provider.mood = "good"
    house.modes.settings_changed("auto", {"external-api": None})
    assert await house.ask() == "external-api heard hi."


async def test_a_mode_made_anew_lets_a_running_reply_end_before_the_old_one_is_closed(
    house: House,
) -> None:
    await house.modes.set("orphiq")
    house.orphiq.gate = asyncio.Event()
    running = asyncio.create_task(house.ask())
    await settle()
    newer = Moody("orphiq")
    house.modes.settings_changed("orphiq", {"orphiq": newer})
    assert await house.ask("two") == "orphiq heard two."
    assert newer.asked == ["two"]
    assert house.orphiq.closed == 0
    house.orphiq.gate.set()
    assert await running == "orphiq heard hi."
    await settle()
    assert house.orphiq.closed == 1


async def test_a_reply_thought_ahead_is_of_use_only_while_the_same_would_answer(
    house: House,
) -> None:
    mind = house.modes.mind("stage")
    assert mind.is_like(house.modes.mind("stage"))
    house.modes.settings_changed("auto", {})
    assert mind.is_like(house.modes.mind("stage"))
    house.modes.settings_changed("auto", {"external-api": None})
    assert not mind.is_like(house.modes.mind("stage"))
    house.orphiq.can_think_ahead = False
    await house.modes.set("orphiq")
    assert not house.modes.mind("stage").can_think_ahead


async def test_the_history_is_bounded_and_says_what_happened_where(house: House) -> None:
    for _ in range(switch.HISTORY):
        await house.modes.set("orphiq")
        await house.modes.set("autonomous")
    await house.modes.set("orphiq", conversation_id="c1")
    everywhere, own = await house.modes.state(), await house.modes.state("c1")
    assert len(own.history) == switch.HISTORY
    assert len(everywhere.history) == switch.HISTORY - 1
    assert own.history[-1].conversation_id == "c1"


async def test_text_outside_conversations_falls_back_without_counting_as_a_failed_turn(
    house: House,
) -> None:
    await house.modes.set("orphiq")
    house.orphiq.mood = "down"
    text = "".join([d.text async for d in house.modes.model("stage").stream(said("hi"))])
    assert text == "external-api heard hi."
    assert house.modes.adapter().name == "orphiq"
